//! The calls of the logs that issued credentials: collected while the logs are read, in memory up
//! to a budget and beyond it in a temporary file, and searched when it is known whose keys matter.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use ahash::{HashMap, HashSet};
use secretrail_engine::{
    alert::Alert,
    exposure::Exposure,
    ids::SharedStr,
    incident::{
        Incident, IncidentPeriods,
        grouping::{GroupedAlerts, IncidentGrouping},
    },
    lineage::{
        issue::CredentialIssue,
        origin::{KeyUse, SessionOrigins},
        search::LineageSearch,
    },
    principal::Principal,
};

use crate::{host::RunFailure, temp_file};

/// Bytes that are held in memory; what is more is written.
const HELD: usize = 32 * 1024 * 1024;

/// Collects the calls of many threads.
pub struct IssueSpool {
    folder: PathBuf,
    most: usize,
    held: Mutex<HeldIssues>,
}

#[derive(Default)]
struct HeldIssues {
    /// Calls that are not written yet.
    bytes: Vec<u8>,
    file: Option<File>,
    failure: Option<RunFailure>,
}

/// Why calls cannot be written or read.
#[derive(Debug, thiserror::Error)]
enum SpoolError {
    /// The file system refused.
    #[error("{0}")]
    File(#[from] io::Error),
    /// A call is damaged.
    #[error("a temporary file is damaged: {0}")]
    Issue(#[from] postcard::Error),
}

impl IssueSpool {
    /// A spool whose file is in this folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self::holding(folder, HELD)
    }

    fn holding(folder: &Path, most: usize) -> Self {
        Self {
            folder: folder.to_owned(),
            most,
            held: Mutex::default(),
        }
    }

    /// Takes calls. After a failure they are dropped.
    pub fn take(&self, issues: &mut Vec<CredentialIssue>) {
        if issues.is_empty() {
            return;
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.failure.is_none()
            && let Err(error) = held.add(issues.drain(..), self.most, &self.folder)
        {
            held.failure = Some(temp_file::failure(&self.folder, &error));
        }
        issues.clear();
    }

    /// Searches for the calls that issued these keys, and those of their callers.
    ///
    /// # Errors
    ///
    /// [`RunFailure::TempDir`]: the temporary file could not be written or read.
    pub fn search(
        &self,
        keys: impl IntoIterator<Item = SharedStr>,
    ) -> Result<LineageSearch, RunFailure> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = held.failure.take() {
            return Err(failure);
        }
        let mut search = LineageSearch::new(keys);
        while search.is_open() {
            let pass = held.pass(&mut search);
            pass.map_err(|error| temp_file::failure(&self.folder, &error))?;
            search.end_pass();
        }
        Ok(search)
    }
}

impl HeldIssues {
    fn add(
        &mut self,
        issues: impl Iterator<Item = CredentialIssue>,
        most: usize,
        folder: &Path,
    ) -> Result<(), SpoolError> {
        for issue in issues {
            push(&issue, &mut self.bytes)?;
            if self.bytes.len() >= most {
                self.write(folder)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, folder: &Path) -> Result<(), SpoolError> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(temp_file::create(folder)?),
        };
        file.write_all(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }

    /// Passes all calls to a search.
    fn pass(&mut self, search: &mut LineageSearch) -> Result<(), SpoolError> {
        if let Some(file) = &mut self.file {
            file.rewind()?;
            read(&mut BufReader::new(file), search)?;
        }
        read(&mut &*self.bytes, search)
    }
}

/// Writes a call: the lengths of the key and of the rest, and both.
fn push(issue: &CredentialIssue, out: &mut Vec<u8>) -> Result<(), postcard::Error> {
    let rest = postcard::to_stdvec(issue)?;
    for length in [issue.key.len(), rest.len()] {
        out.extend_from_slice(&(length as u64).to_le_bytes());
    }
    out.extend_from_slice(issue.key.as_bytes());
    out.extend_from_slice(&rest);
    Ok(())
}

/// Passes the calls in some bytes to a search. Only those that it looks for are decoded.
fn read(bytes: &mut impl Read, search: &mut LineageSearch) -> Result<(), SpoolError> {
    let (mut key, mut rest) = (Vec::new(), Vec::new());
    while let Some(length) = length(bytes)? {
        let after = self::length(bytes)?.unwrap_or_default();
        fill(&mut key, length, bytes)?;
        fill(&mut rest, after, bytes)?;
        let is_wanted = std::str::from_utf8(&key).is_ok_and(|key| search.wants(key));
        if is_wanted {
            search.add(postcard::from_bytes(&rest)?);
        }
    }
    Ok(())
}

/// A length; `None` at the end.
fn length(bytes: &mut impl Read) -> io::Result<Option<u64>> {
    let mut length = [0; 8];
    match bytes.read(&mut length)? {
        0 => Ok(None),
        read => {
            bytes.read_exact(length.get_mut(read..).unwrap_or_default())?;
            Ok(Some(u64::from_le_bytes(length)))
        }
    }
}

fn fill(buffer: &mut Vec<u8>, length: u64, bytes: &mut impl Read) -> io::Result<()> {
    buffer.clear();
    let read = bytes.by_ref().take(length).read_to_end(buffer)?;
    match read as u64 == length {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Who used the keys of alerts.
#[derive(Debug, Default)]
pub(crate) struct KeyUsers(HashMap<SharedStr, Arc<Principal>>);

impl KeyUsers {
    /// Notes who used the keys of alerts, as far as they say.
    pub(crate) fn add(&mut self, alerts: &[Alert]) {
        let accesses = alerts.iter().flat_map(|alert| &alert.accesses);
        for access in accesses {
            if let Some(key) = &access.head.access_key_id {
                let user = self.0.entry(key.clone());
                user.or_insert_with(|| access.head.principal.clone());
            }
        }
    }

    fn uses(&self, keys: &[SharedStr]) -> Vec<KeyUse> {
        let keys = keys.iter();
        keys.map(|key| KeyUse {
            key: key.clone(),
            principal: self.0.get(key).cloned(),
        })
        .collect()
    }
}

/// Looks up who is behind incidents.
///
/// # Errors
///
/// As [`IssueSpool::search`].
pub(crate) fn add_origins(
    incidents: &mut [Incident],
    users: &KeyUsers,
    issues: &IssueSpool,
) -> Result<(), RunFailure> {
    let keys = incidents.iter().flat_map(|i| &i.access_keys.first);
    let search = issues.search(keys.cloned().collect::<HashSet<_>>())?;
    for incident in incidents {
        let uses = users.uses(&incident.access_keys.first);
        incident.origins = SessionOrigins::of(&uses, &search);
    }
    Ok(())
}

/// Groups alerts into incidents, and looks up who is behind these.
///
/// # Errors
///
/// As [`IssueSpool::search`].
pub(crate) fn grouped(
    alerts: Vec<Alert>,
    issues: &IssueSpool,
) -> Result<GroupedAlerts, RunFailure> {
    let mut grouped = IncidentGrouping::all(IncidentPeriods::default(), alerts);
    let mut users = KeyUsers::default();
    users.add(&grouped.alerts);
    add_origins(&mut grouped.incidents, &users, issues)?;
    Ok(grouped)
}

/// Looks up who is behind the reads of exposures.
///
/// # Errors
///
/// As [`IssueSpool::search`].
pub(crate) fn add_origins_of_reads(
    exposures: &mut [Exposure],
    issues: &IssueSpool,
) -> Result<(), RunFailure> {
    let keys = exposures.iter().flat_map(|row| &row.access_keys);
    let search = issues.search(keys.cloned().collect::<HashSet<_>>())?;
    for row in exposures {
        row.origins = SessionOrigins::of(&row.key_uses, &search);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use secretrail_engine::{
        lineage::issue::{CallerStanding, IssueCaller},
        principal::PrincipalKind,
    };

    use super::*;

    /// The call by which the session before it got a key.
    fn issue(n: usize) -> CredentialIssue {
        CredentialIssue {
            key: format!("ASIA{n}").into(),
            secs: 0,
            event_id: format!("e{n}").into(),
            api: "AssumeRole".into(),
            role: None,
            session: None,
            caller: IssueCaller {
                standing: CallerStanding::Session,
                kind: PrincipalKind::Workload,
                principal: None,
                session: None,
                access_key: Some(format!("ASIA{}", n.wrapping_sub(1)).into()),
                source: None,
                mfa: None,
                source_identity: None,
            },
        }
    }

    #[test]
    fn what_is_searched_is_the_same_in_memory_and_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        for most in [0, 1_000, usize::MAX] {
            let spool = IssueSpool::holding(folder.path(), most);
            for n in (0..100).rev() {
                let mut one = vec![issue(n)];
                spool.take(&mut one);
                assert!(one.is_empty());
            }
            assert_eq!(locked_file(&spool), most < 10_000);
            for _ in 0..2 {
                let search = spool.search(["ASIA3".into()]).unwrap();
                let used = KeyUse {
                    key: "ASIA3".into(),
                    principal: None,
                };
                let found = SessionOrigins::of(&[used], &search);
                let chain = found.first[0].chain.iter().map(|issue| &*issue.event_id);
                assert_eq!(chain.collect::<Vec<_>>(), ["e0", "e1", "e2", "e3"]);
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    fn locked_file(spool: &IssueSpool) -> bool {
        spool.held.lock().unwrap().file.is_some()
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named_with_the_remedy() {
        let spool = IssueSpool::holding(Path::new("/nowhere/at/all"), 0);
        spool.take(&mut vec![issue(1)]);
        let failure = spool.search([]).unwrap_err().to_string();
        assert!(failure.contains("/nowhere/at/all: "), "{failure}");
        assert!(failure.contains("--temp-dir"), "{failure}");
    }
}
