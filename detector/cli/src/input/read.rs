//! Reads objects on several threads: events go into sorted runs, everything else into one reading
//! result. Threads are independent: the order in which they finish does not change the results.

use std::{
    io::{BufReader, Read},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use indicatif::ProgressBar;
use secretrail_engine::{
    extract_file::ExtractedObject,
    object::RecordOrigin,
    report::ObjectStatus,
    rule::RuleSet,
    scan::{ObjectScanner, ScanResult},
    selection::Selection,
};

use crate::input::{
    checkpoint::Checkpoint,
    known::KnownObjects,
    object::{InputObject, InputProblem, ObjectPlace, ObjectReadError},
    pieces::{ObjectPieces, PIECE},
    reader::{ObjectReader, origin},
    reading::{ReadingResult, problems_of},
    runs::SortedRuns,
    store::ObjectStore,
};

/// Readers for each thread if objects come from S3, and the most readers: each holds an object.
const WAITING: usize = 8;
const MOST_WAITING: usize = 32;

/// The objects to read, and how.
pub struct ReadTask<'t> {
    /// The objects to read.
    pub objects: &'t [InputObject],
    /// Rules, which decide on the records to keep.
    pub rules: &'t RuleSet,
    /// Which events of the logs to use.
    pub selection: &'t Selection,
    /// Which of them are asked for, and counted.
    pub asked: &'t Selection,
    /// Number of threads, before the factor for S3.
    pub threads: usize,
    /// Where to record progress; `None` without `--checkpoint`.
    pub checkpoint: Option<&'t Checkpoint>,
    /// Where observations and matches go.
    pub runs: &'t SortedRuns,
    /// Whether the run asks for the deliveries of objects in extract files.
    pub keeps_deliveries: bool,
}

/// State shared by the threads.
struct SharedWork<'w> {
    task: &'w ReadTask<'w>,
    next: AtomicUsize,
    stdin: Mutex<&'w mut (dyn Read + Send)>,
    store: &'w dyn ObjectStore,
    progress: &'w ProgressBar,
    known: KnownObjects<'w>,
}

/// Sources of objects that are not local files.
pub struct RemoteSources<'s> {
    /// Standard input.
    pub stdin: &'s mut (dyn Read + Send),
    /// Objects in S3.
    pub store: &'s dyn ObjectStore,
}

/// Number of threads that read. Objects in S3 get more: while some wait for downloads, others
/// parse.
#[must_use]
pub fn readers(threads: usize, objects: &[InputObject]) -> usize {
    let remote = objects
        .iter()
        .any(|object| matches!(object.place, ObjectPlace::S3(_)));
    if remote {
        threads.saturating_mul(WAITING).min(MOST_WAITING)
    } else {
        threads
    }
}

/// Reads all objects, or up to the first failure of the sorted runs.
pub fn read(
    task: &ReadTask<'_>,
    sources: RemoteSources<'_>,
    progress: &ProgressBar,
) -> ReadingResult {
    let RemoteSources { stdin, store } = sources;
    let work = SharedWork {
        task,
        next: AtomicUsize::new(0),
        stdin: Mutex::new(stdin),
        store,
        progress,
        known: KnownObjects::new(task),
    };
    let threads = readers(task.threads, task.objects);
    let mut readings = work.run_on(threads.min(task.objects.len()).max(1));
    if let Some(checkpoint) = task.checkpoint {
        readings.push(work.noted(checkpoint));
    }
    let mut unread = ReadingResult::default();
    work.known.finish(&mut unread);
    readings.push(unread);
    SharedWork::merged(readings)
}

impl SharedWork<'_> {
    fn run_on(&self, threads: usize) -> Vec<ReadingResult> {
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| self.run())).collect();
            let join = workers.into_iter().map(|worker| {
                // A panic of a worker is a bug; it is propagated.
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            join.collect()
        })
    }

    fn run(&self) -> ReadingResult {
        let mut scanner =
            ObjectScanner::new(self.task.rules, self.task.selection).counting(self.task.asked);
        if self.task.checkpoint.is_some() {
            // Only a checkpoint needs the text of records, and keeping it takes memory.
            scanner = scanner.keeping(self.task.rules.extracted_calls());
        }
        let mut reader =
            ObjectReader::new(scanner, self.store, self.progress).passing_on_to(self.task.runs);
        let (mut out, mut read) = (ReadingResult::default(), Vec::new());
        // Each thread takes the next object when it is free: sizes differ by a factor of a
        // thousand.
        let next = || self.next.fetch_add(1, Ordering::Relaxed);
        while !self.task.runs.has_failed()
            && let Some(object) = self.task.objects.get(next())
        {
            if object.is_extract_file {
                self.part(object, reader.scanner(), &mut out);
            } else if self.is_noted(object) {
                self.progress.inc(object.size());
            } else {
                self.log(object, &mut reader, &mut read, &mut out);
            }
        }
        if let Some(checkpoint) = self.task.checkpoint {
            checkpoint.note(&mut read, true);
        }
        out
    }

    /// Whether an earlier run recorded this version of the object.
    fn is_noted(&self, object: &InputObject) -> bool {
        let checkpoint = self.task.checkpoint;
        checkpoint.is_some_and(|checkpoint| {
            !checkpoint.is_empty()
                && !object.is_stream()
                && checkpoint.has(&object.name, &object.tag())
        })
    }

    /// What an earlier run recorded.
    fn noted(&self, checkpoint: &Checkpoint) -> ReadingResult {
        let mut out = ReadingResult::default();
        match checkpoint.earlier() {
            Ok(Some(file)) => {
                let mut scanner = ObjectScanner::new(self.task.rules, self.task.selection);
                let bytes = BufReader::new(file);
                let name = checkpoint.name();
                self.known.parts(name, bytes, &mut scanner, &mut out);
            }
            Ok(None) => {}
            Err(error) => out
                .refused
                .push(InputProblem::new(checkpoint.name(), error)),
        }
        out
    }

    fn part(&self, object: &InputObject, scanner: &mut ObjectScanner<'_>, out: &mut ReadingResult) {
        let pieces = ObjectPieces::new(object, self.store, PIECE, self.progress);
        match pieces.opened() {
            Ok(pieces) => self.known.parts(&object.name, pieces, scanner, out),
            Err(error) => out.fail(&object.name, error),
        }
    }

    /// Reads a log. Logs that were read without errors are recorded in the checkpoint.
    fn log(
        &self,
        object: &InputObject,
        reader: &mut ObjectReader<'_>,
        read: &mut Vec<ExtractedObject>,
        out: &mut ReadingResult,
    ) {
        let mut scan_result = ScanResult::default();
        let origin = origin(object);
        // A stream has other content in the next run.
        let is_kept = self.task.checkpoint.is_some() && !object.is_stream();
        let tag = is_kept.then(|| object.tag());
        let result = self.records(object, &origin, reader, &mut scan_result);
        let object_status = scan_result
            .report
            .finalize(result, object.in_tree, object.explicit);
        out.problems.extend(problems_of(
            &object.name,
            &object_status,
            &scan_result.report,
        ));
        if let Some((checkpoint, tag)) = self.task.checkpoint.zip(tag)
            && !matches!(object_status, ObjectStatus::Failed(_))
        {
            read.push(ExtractedObject::of(
                &origin,
                tag,
                object.in_tree,
                &object_status,
                &mut scan_result,
            ));
            checkpoint.note(read, false);
        }
        self.task.runs.take(&mut scan_result);
        out.add(scan_result);
    }

    fn records(
        &self,
        object: &InputObject,
        origin: &RecordOrigin,
        reader: &mut ObjectReader<'_>,
        scan_result: &mut ScanResult,
    ) -> Result<(), ObjectReadError> {
        if !matches!(object.place, ObjectPlace::Stdin) {
            return reader.read(object, origin, scan_result);
        }
        // Standard input occurs at most once, so no other thread waits for it.
        let mut stdin = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
        reader.read_stream(&mut **stdin, object, origin, scan_result)
    }

    /// Merges the results of all threads. Problems are sorted by name, because threads finish in
    /// any order.
    fn merged(readings: Vec<ReadingResult>) -> ReadingResult {
        let mut all = ReadingResult::default();
        for reading in readings {
            all.append(reading);
        }
        all.problems.sort();
        all.refused.sort();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::store::RemoteObject;

    fn object(place: ObjectPlace) -> InputObject {
        InputObject::at(place, "a.json".to_owned(), "a.json", true)
    }

    #[test]
    fn more_readers_than_threads_wait_for_s3_but_not_for_a_disk() {
        let file = [object(ObjectPlace::File("a.json".into()))];
        assert_eq!(readers(2, &file), 2);
        let remote = RemoteObject {
            bucket: "b".to_owned(),
            key: "a.json".to_owned(),
            etag: String::new(),
            size: 1,
        };
        let remote = [object(ObjectPlace::S3(remote))];
        assert_eq!(readers(2, &remote), 16);
        assert_eq!(readers(64, &remote), MOST_WAITING);
    }

    #[test]
    fn every_object_is_read_once_by_whichever_thread() {
        let folder = tempfile::tempdir().unwrap();
        let path = |n: usize| folder.path().join(format!("{n}.json"));
        let write = |n: usize| std::fs::write(path(n), r#"{"Records":[]}"#).unwrap();
        (0..20).for_each(write);
        let mut objects: Vec<InputObject> = (0..20)
            .map(|n| object(ObjectPlace::File(path(n))))
            .collect();
        objects.push(object(ObjectPlace::File(path(99))));
        let (rules, selection) = (RuleSet::default(), Selection::default());
        let task = ReadTask {
            objects: &objects,
            rules: &rules,
            selection: &selection,
            asked: &selection,
            threads: 4,
            checkpoint: None,
            runs: &SortedRuns::new(folder.path(), u64::MAX),
            keeps_deliveries: false,
        };
        let sources = RemoteSources {
            stdin: &mut std::io::empty(),
            store: &crate::input::store::NoObjectStore,
        };
        let reading = read(&task, sources, &ProgressBar::hidden());
        assert_eq!(reading.scan_result.report.objects, 20);
        assert_eq!(reading.problems.len(), 1, "the file that does not exist");
    }
}
