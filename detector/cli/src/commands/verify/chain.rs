//! Digests and logs to verdicts. Whatever a proven digest says is proven: the hash of the digest before it, and the hashes
//! of its logs.

use std::collections::{BTreeMap, BTreeSet};

use ahash::{HashMap, HashSet};
use secretrail_engine::object;
use secretrail_engine::selection::Selection;
use secretrail_engine::time::EventTime;

use super::digest::{DigestFile, Keys};
use crate::input::walk;

/// What can be said of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is not what CloudTrail wrote.
    Altered,
    /// CloudTrail wrote it, and it is not there.
    Missing,
    /// A chain of digests starts anew: logging was stopped, or whatever was before is gone.
    Restarted,
    /// Nothing here shows that it is what CloudTrail wrote.
    Unproven,
    /// It is what CloudTrail wrote.
    Intact,
}

impl Verdict {
    /// The name in every form of output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Altered => "altered",
            Self::Missing => "missing",
            Self::Restarted => "restarted",
            Self::Unproven => "unproven",
            Self::Intact => "intact",
        }
    }
}

/// A verdict about a digest or a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The verdict.
    pub verdict: Verdict,
    /// Its key, from `AWSLogs/` or what stands before it on.
    pub key: String,
    /// Whether it is a digest.
    pub digest: bool,
    /// Why.
    pub why: String,
}

/// A digest that is there.
#[derive(Debug)]
pub struct Read {
    /// What it says.
    pub file: DigestFile,
    /// SHA-256 of its inflated bytes, in hexadecimal digits.
    pub hash: String,
    /// Its signature, where the metadata of its object is at hand.
    pub signature: Option<String>,
}

/// Everything that is there.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Digests by their tree key.
    pub digests: BTreeMap<String, Read>,
    /// Hashes of logs by their tree key.
    pub logs: HashMap<String, String>,
    /// What stands where digests stand and is none, with why, by its tree key.
    pub spoiled: BTreeMap<String, String>,
    /// What is there and could not be read, by its tree key; it is told elsewhere.
    pub unread: HashSet<String>,
}

/// What a key is in any copy of the tree: what stands before `AWSLogs/` is left out.
#[must_use]
pub fn tree_key(key: &str) -> &str {
    let at = if key.starts_with("AWSLogs/") {
        Some(0)
    } else {
        key.rfind("/AWSLogs/").map(|at| at + 1)
    };
    at.and_then(|at| key.get(at..)).unwrap_or(key)
}

/// Judges everything in the selection, in the order of verdicts and keys.
#[must_use]
pub fn judge(evidence: &Evidence, keys: &Keys, selection: &Selection) -> Vec<Finding> {
    let mut judge = Judge {
        evidence,
        keys,
        selection,
        findings: Vec::new(),
        listed: HashSet::default(),
    };
    judge.chains();
    for (key, why) in &evidence.spoiled {
        judge.find(Verdict::Altered, key, true, why.clone());
    }
    judge.unlisted();
    judge.findings.sort();
    judge.findings
}

struct Judge<'e> {
    evidence: &'e Evidence,
    keys: &'e Keys,
    selection: &'e Selection,
    findings: Vec<Finding>,
    listed: HashSet<&'e str>,
}

/// What is known of a digest.
#[derive(Clone, PartialEq, Eq)]
enum Proof {
    Proven,
    Broken(String),
    Unproven(String),
}

impl<'e> Judge<'e> {
    fn find(&mut self, verdict: Verdict, key: &str, digest: bool, why: impl Into<String>) {
        self.findings.push(Finding {
            verdict,
            key: key.to_owned(),
            digest,
            why: why.into(),
        });
    }

    /// From the newest digest of each chain back to its start.
    fn chains(&mut self) {
        let digests = &self.evidence.digests;
        // Newest first, so that whoever follows a digest has been judged before it.
        let mut order: Vec<(&String, &Read)> = digests.iter().collect();
        order.sort_by(|(a_key, a), (b_key, b)| (b.file.end(), b_key).cmp(&(a.file.end(), a_key)));
        let followers: HashMap<&str, &Read> = digests
            .values()
            .filter_map(|read| {
                Some((
                    tree_key(read.file.previous_digest_s3_object.as_deref()?),
                    read,
                ))
            })
            .collect();
        let mut proofs: HashMap<&str, Proof> = HashMap::default();
        let mut missing: BTreeMap<&str, &str> = BTreeMap::new();
        for (key, read) in order {
            let follower = followers.get(key.as_str()).copied();
            let follower_proof = follower
                .and_then(|follower| proofs.get(tree_key(&follower.file.digest_s3_object)))
                .cloned();
            let proof = self.proof(key, read, follower, follower_proof.as_ref());
            match &proof {
                Proof::Proven => self.find(Verdict::Intact, key, true, "signed, and in the chain"),
                Proof::Broken(why) => self.find(Verdict::Altered, key, true, why.clone()),
                Proof::Unproven(why) => self.find(Verdict::Unproven, key, true, why.clone()),
            }
            self.logs(read, &proof);
            match read.file.previous_digest_s3_object.as_deref().map(tree_key) {
                Some(previous) if !digests.contains_key(previous) => {
                    drop(missing.insert(previous, key))
                }
                Some(_) => {}
                None => self.started(key, read),
            }
            proofs.insert(key, proof);
        }
        for (key, follower) in missing {
            let is_there =
                self.evidence.unread.contains(key) || self.evidence.spoiled.contains_key(key);
            if is_there || self.is_outside(key) {
                continue;
            }
            self.find(
                Verdict::Missing,
                key,
                true,
                format!("{follower} follows it, and it is not there"),
            );
        }
    }

    /// Whether nobody looked for an object.
    fn is_outside(&self, key: &str) -> bool {
        !walk::may_hold(&object::parse(key), self.selection)
    }

    /// A digest without one before it starts a chain. That is news where the same trail has an older one.
    fn started(&mut self, key: &str, read: &Read) {
        let chain = chain_of(key);
        let older = self
            .evidence
            .digests
            .iter()
            .filter(|(other, _)| other.as_str() < key && chain_of(other) == chain);
        let last = older
            .filter_map(|(_, other)| other.file.end())
            .filter(|end| Some(*end) <= read.file.start())
            .max();
        if let Some(last) = last {
            let start = &read.file.digest_start_time;
            let why = format!(
                "the chain starts anew at {start}; the one before it ends at {last}: logging was stopped, or digests are gone"
            );
            self.find(Verdict::Restarted, key, true, why);
        }
    }

    fn proof(
        &self,
        key: &str,
        read: &Read,
        follower: Option<&Read>,
        follower_proof: Option<&Proof>,
    ) -> Proof {
        let Read {
            file,
            hash,
            signature,
        } = read;
        if tree_key(&file.digest_s3_object) != key {
            return Proof::Broken(format!("it says that it is {}", file.digest_s3_object));
        }
        let expected =
            follower.and_then(|follower| follower.file.previous_digest_hash_value.as_deref());
        let fits = expected.map(|expected| expected.eq_ignore_ascii_case(hash));
        match (fits, follower_proof) {
            (Some(false), Some(Proof::Proven)) => {
                return Proof::Broken(
                    "it has another hash than the digest after it says".to_owned(),
                );
            }
            // Hash and signature of what is before stand in a digest that is proven.
            (Some(true), Some(Proof::Proven)) => return Proof::Proven,
            _ => {}
        }
        let signature = signature
            .as_deref()
            .or_else(|| follower.and_then(|f| f.file.previous_digest_signature.as_deref()));
        let Some(signature) = signature else {
            let why = "no signature is at hand: it stands in the digest after it, and in the metadata of its object in S3";
            return Proof::Unproven(why.to_owned());
        };
        if !file
            .digest_signature_algorithm
            .eq_ignore_ascii_case("SHA256withRSA")
        {
            return Proof::Unproven(format!(
                "signed with {}, which is not known",
                file.digest_signature_algorithm
            ));
        }
        let fingerprint = &file.digest_public_key_fingerprint;
        match self
            .keys
            .signed(fingerprint, &file.signed_text(hash), signature)
        {
            Some(true) => Proof::Proven,
            Some(false) => {
                Proof::Broken("its signature is not that of its key over these bytes".to_owned())
            }
            None if fits == Some(false) => Proof::Unproven(
                "it has another hash than the digest after it says, which is not proven either"
                    .to_owned(),
            ),
            None => Proof::Unproven(format!("the public key {fingerprint} is not at hand")),
        }
    }

    /// The logs that a digest lists.
    fn logs(&mut self, read: &'e Read, proof: &Proof) {
        for log in &read.file.log_files {
            let key = tree_key(&log.s3_object);
            self.listed.insert(key);
            let digest = tree_key(&read.file.digest_s3_object);
            match (self.evidence.logs.get(key), proof) {
                _ if self.evidence.unread.contains(key) || self.is_outside(key) => {}
                (None, Proof::Broken(_)) => {
                    self.find(
                        Verdict::Unproven,
                        key,
                        false,
                        format!("not there; {digest}, which was altered, lists it"),
                    );
                }
                (None, _) => self.find(
                    Verdict::Missing,
                    key,
                    false,
                    format!("{digest} lists it, and it is not there"),
                ),
                (Some(_), Proof::Broken(_)) => {
                    self.find(
                        Verdict::Unproven,
                        key,
                        false,
                        format!("{digest}, which lists it, was altered"),
                    );
                }
                (Some(hash), _) if !hash.eq_ignore_ascii_case(&log.hash_value) => {
                    self.find(
                        Verdict::Altered,
                        key,
                        false,
                        format!("it has another hash than {digest} says"),
                    );
                }
                (Some(_), Proof::Proven) => {
                    self.find(Verdict::Intact, key, false, "as its digest says")
                }
                (Some(_), Proof::Unproven(_)) => {
                    self.find(
                        Verdict::Unproven,
                        key,
                        false,
                        format!("as {digest} says, which is not proven itself"),
                    );
                }
            }
        }
    }

    /// Logs that no digest lists.
    fn unlisted(&mut self) {
        let mut newest: BTreeMap<(String, String), EventTime> = BTreeMap::new();
        for (key, read) in &self.evidence.digests {
            if let (Some(place), Some(end)) = (place(key), read.file.end()) {
                let known = newest.entry(place).or_insert(end);
                *known = (*known).max(end);
            }
        }
        let holes: HashSet<_> = self
            .findings
            .iter()
            .filter(|f| f.digest && matches!(f.verdict, Verdict::Altered | Verdict::Missing))
            .filter_map(|f| place(&f.key))
            .collect();
        let unlisted: BTreeSet<&String> = self
            .evidence
            .logs
            .keys()
            .filter(|key| !self.listed.contains(key.as_str()))
            .collect();
        for key in unlisted {
            let place = place(key);
            let end = place.as_ref().and_then(|place| newest.get(place).copied());
            let why = match (end, object::parse(key).delivered) {
                (None, _) => {
                    "there are no digests of its account and region; is log file validation on?"
                        .to_owned()
                }
                (Some(end), Some(at)) if at >= end => {
                    format!("newer than the newest digest, which ends at {end}")
                }
                (Some(_), _) if place.is_some_and(|place| holes.contains(&place)) => {
                    "no digest lists it; one that was altered or is missing may have".to_owned()
                }
                (Some(_), _) => "no digest lists it: CloudTrail may not have written it".to_owned(),
            };
            self.find(Verdict::Unproven, key, false, why);
        }
    }
}

/// Account and region.
pub(super) fn place(key: &str) -> Option<(String, String)> {
    let parsed = object::parse(key);
    Some((parsed.account?.to_owned(), parsed.region?.to_owned()))
}

/// What the digests of one trail in one region have in common: their names up to the time.
fn chain_of(key: &str) -> Option<(&str, &str)> {
    let (folder, file) = key.rsplit_once('/')?;
    let (name, _) = file.rsplit_once('_')?;
    // The folder without its day.
    let tree = folder
        .match_indices('/')
        .rev()
        .nth(2)
        .and_then(|(at, _)| folder.get(..at))
        .unwrap_or(folder);
    Some((tree, name))
}
