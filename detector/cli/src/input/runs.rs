//! Observations in the order of their event times, whatever the order of the logs: held in memory
//! up to a budget, and beyond it in sorted runs, which are temporary files. A merge of the runs
//! gives them back slice by slice, so that memory does not grow with the history.

mod block;
mod entry;
mod file;
mod ids;
mod merge;

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use secretrail_engine::{observation::EventHeader, scan::ScanResult, time::EventTime};

use self::{
    entry::{RunEntry, TimedEntry},
    file::{RunFileError, RunReader, RunWriter},
    ids::EventIds,
    merge::{RunMerge, RunSource},
};
use crate::{host::RunFailure, input::issues::IssueSpool, temp_file};

/// Runs that are merged into a longer one, so that few files are open at once. A merge holds a
/// block of each, about 0.3 MB.
const FAN_IN: usize = 64;

/// Collects entries of many threads.
pub struct SortedRuns {
    folder: PathBuf,
    /// Bytes after which entries are written.
    most: u64,
    held: Mutex<HeldEntries>,
    /// Runs by level: each of a level was merged from [`FAN_IN`] of the one below it. Locked while
    /// one is written.
    levels: Mutex<Vec<Vec<RunReader>>>,
    /// Whether a run could not be written.
    has_failed: AtomicBool,
    failure: Mutex<Option<RunFailure>>,
    /// Calls that issued credentials, which have no place in the order.
    issues: IssueSpool,
}

#[derive(Default)]
struct HeldEntries {
    entries: Vec<TimedEntry>,
    bytes: u64,
    /// The latest delivery of an observation.
    newest: Option<EventTime>,
    ids: EventIds,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SortedRuns {
    /// Holds up to `bytes` in memory, half of them while the other half is written to a file in
    /// this folder.
    #[must_use]
    pub fn new(folder: &Path, bytes: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            most: bytes / 2,
            held: Mutex::default(),
            levels: Mutex::default(),
            has_failed: AtomicBool::new(false),
            failure: Mutex::default(),
            issues: IssueSpool::new(folder),
        }
    }

    /// Takes the observations, matches and issues out of a scan result. After a failure they are
    /// dropped.
    pub fn take(&self, scan_result: &mut ScanResult) {
        self.issues.take(&mut scan_result.issues);
        let entries = TimedEntry::take_from(scan_result);
        if entries.is_empty() || self.has_failed() {
            return;
        }
        let bytes: usize = entries.iter().map(TimedEntry::bytes).sum();
        let newest = entries.iter().filter_map(delivered).max();
        let mut held = locked(&self.held);
        let heads = entries.iter().filter_map(head);
        if let Err(error) = held.ids.add(heads, &self.folder) {
            self.fail(&error);
        }
        held.entries.extend(entries);
        held.bytes = held.bytes.saturating_add(bytes as u64);
        held.newest = held.newest.max(newest);
        if held.bytes <= self.most {
            return;
        }
        // Before the entries are taken out: only one thread writes, and the others wait as soon as
        // they have collected as much again.
        let mut levels = locked(&self.levels);
        let entries = std::mem::take(&mut held.entries);
        held.bytes = 0;
        drop(held);
        if let Err(error) = self.write(entries, &mut levels) {
            self.fail(&error);
        }
    }

    fn fail(&self, error: &impl ToString) {
        self.has_failed.store(true, Ordering::Relaxed);
        let failure = temp_file::failure(&self.folder, error);
        locked(&self.failure).get_or_insert(failure);
    }

    /// Whether a run could not be written: nothing more needs to be read.
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// Fails if a run could not be written.
    ///
    /// # Errors
    ///
    /// [`RunFailure::TempDir`].
    pub fn check(&self) -> Result<(), RunFailure> {
        locked(&self.failure).take().map_or(Ok(()), Err)
    }

    fn write(
        &self,
        mut entries: Vec<TimedEntry>,
        levels: &mut Vec<Vec<RunReader>>,
    ) -> Result<(), RunFileError> {
        sort(&mut entries);
        let mut writer = RunWriter::new(&self.folder)?;
        for entry in entries {
            writer.push(entry)?;
        }
        let mut run = writer.finish()?;
        for level in 0.. {
            let Some(runs) = levels.get_mut(level) else {
                levels.push(vec![run]);
                break;
            };
            runs.push(run);
            if runs.len() < FAN_IN {
                break;
            }
            let runs = std::mem::take(runs).into_iter().map(RunSource::File);
            run = RunMerge::new(runs.collect())?.write(RunWriter::new(&self.folder)?)?;
        }
        Ok(())
    }

    /// The calls that issued credentials.
    pub(crate) fn into_issues(self) -> IssueSpool {
        self.issues
    }

    /// The latest delivery of all observations.
    pub fn newest(&self) -> Option<EventTime> {
        locked(&self.held).newest
    }

    /// Number of events whose `eventID` stands on another event too. Asked once.
    ///
    /// # Errors
    ///
    /// [`RunFailure::TempDir`]: a temporary file could not be written or read.
    pub fn conflicting_copies(&self) -> Result<u64, RunFailure> {
        let ids = std::mem::take(&mut locked(&self.held).ids);
        ids.conflicts(&self.folder)
            .map_err(|error| temp_file::failure(&self.folder, &error))
    }

    /// Passes on everything in slices in the order of event times, each with the time up to which
    /// everything was passed on (exclusive), until `take` wants no more.
    ///
    /// # Errors
    ///
    /// [`RunFailure::TempDir`]: a temporary file could not be read.
    pub fn slices(
        &self,
        take: impl FnMut(ScanResult, EventTime) -> bool,
    ) -> Result<(), RunFailure> {
        let mut entries = std::mem::take(&mut locked(&self.held).entries);
        sort(&mut entries);
        let runs = std::mem::take(&mut *locked(&self.levels));
        let files = runs.into_iter().flatten().map(RunSource::File);
        let sources = files.chain([RunSource::Memory(entries.into_iter())]);
        RunMerge::new(sources.collect())
            .and_then(|merge| merge.slices(take))
            .map_err(|error| temp_file::failure(&self.folder, &error))
    }
}

/// Logs are mostly in order, and a stable sort makes use of it.
fn sort(entries: &mut [TimedEntry]) {
    entries.sort_by_key(|entry| entry.time);
}

fn head(entry: &TimedEntry) -> Option<&EventHeader> {
    match &entry.entry {
        RunEntry::Observation(event) => Some(event.observation.head()),
        RunEntry::Single(_) | RunEntry::Fact(_) => None,
    }
}

fn delivered(entry: &TimedEntry) -> Option<EventTime> {
    match &entry.entry {
        RunEntry::Observation(event) => Some(event.delivered),
        RunEntry::Single(_) | RunEntry::Fact(_) => None,
    }
}

#[cfg(test)]
mod for_tests {
    use secretrail_engine::{
        object::origin,
        rule::load::load,
        scan::{ObjectScanner, ScanInput, ScanResult},
        selection::Selection,
    };

    /// Rules about records, so that a scan has matches: one about single events, and a window.
    const RULES: &str = "title: call
id: call
logsource: {product: aws, service: cloudtrail}
detection: {call: {eventName|contains: e}, condition: call}
---
title: other call
id: other-call
logsource: {product: aws, service: cloudtrail}
detection: {call: {eventName|contains: e}, condition: call}
---
title: many
id: many
correlation:
  type: value_count
  rules: [call]
  group-by: [userIdentity.arn]
  timespan: 100s
  condition: {field: eventName, gte: 2}
";

    /// The scan result of the example logs.
    pub(super) fn scanned_examples() -> ScanResult {
        let (rules, _) = load([("rules.yml", RULES)]).unwrap();
        let selection = Selection::default();
        let mut scanner = ObjectScanner::new(&rules, &selection);
        let mut found = ScanResult::default();
        let logs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/examples/logs");
        let files = walkdir::WalkDir::new(logs).into_iter();
        for file in files
            .map(Result::unwrap)
            .filter(|file| file.file_type().is_file())
        {
            let bytes = std::fs::read(file.path()).unwrap();
            let origin = origin(&file.path().to_string_lossy());
            let input = ScanInput::Bytes(&bytes);
            scanner.read(input, &origin, false, &mut found).unwrap();
        }
        assert!(found.observations.len() > 100);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::for_tests::scanned_examples;
    use super::*;

    /// Times of all entries, those of each slice, and the number of files, with this budget.
    fn passed_on(bytes: u64) -> (Vec<i64>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let runs = SortedRuns::new(folder.path(), bytes);
        let mut all = scanned_examples();
        while let Some(event) = all.observations.pop() {
            let mut one = ScanResult::default();
            one.observations.push(event);
            runs.take(&mut one);
            assert!(one.observations.is_empty());
        }
        runs.take(&mut all);
        runs.check().unwrap();
        let files = locked(&runs.levels).iter().map(Vec::len).sum();
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "no names"
        );
        let mut times = Vec::new();
        runs.slices(|slice, upto| {
            let of_slice: Vec<_> = slice.observations.iter().map(|event| event.time).collect();
            assert!(of_slice.iter().all(|time| *time < upto));
            times.extend(of_slice.iter().map(|time| time.0));
            true
        })
        .unwrap();
        (times, files)
    }

    #[test]
    fn what_comes_out_is_sorted_and_the_same_with_any_budget() {
        let (all, none) = passed_on(u64::MAX);
        assert!(all.is_sorted() && all.len() > 100);
        assert_eq!(none, 0, "small inputs write no file");
        let (times, files) = passed_on(20_000);
        assert!(times == all && (2..FAN_IN).contains(&files), "{files}");
        let (times, files) = passed_on(0);
        assert!(times == all && files < 2 * FAN_IN, "{files}");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named_with_the_remedy() {
        let runs = SortedRuns::new(Path::new("/nowhere/at/all"), 0);
        assert!(!runs.has_failed());
        runs.take(&mut scanned_examples());
        assert!(runs.has_failed());
        let failure = runs.check().unwrap_err();
        let text = failure.to_string();
        assert!(text.contains("/nowhere/at/all: "), "{text}");
        assert!(text.contains("--temp-dir"), "{text}");
        assert_eq!(failure.exit_code(), crate::exit::OUTPUT);
    }
}
