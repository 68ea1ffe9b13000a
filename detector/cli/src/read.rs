//! Objects to one harvest, on several threads. What a thread finds does not depend on the others; the order in which
//! they finish changes nothing after the pipeline has sorted.

use std::fs::File;
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::ProgressBar;
use secretrail_engine::extract::Origin;
use secretrail_engine::limits::MAX_RECORD_BYTES;
use secretrail_engine::report::{Report, SkippedObject, SkippedRecord};
use secretrail_engine::rule::RuleSet;
use secretrail_engine::scan::{Harvest, Input, Scanner, Selection};

use crate::walk::{Object, Place, Problem, Remote};

/// Files beyond this size in bytes are streamed instead of being read in one go.
const WHOLE_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Readers for each thread that was asked for, when objects come from S3, and the most of them: each holds an object.
const WAITING: usize = 8;
const MOST_WAITING: usize = 32;

/// Gives the bytes of an object in S3, or why not.
pub type Fetch<'f> = dyn Fn(&Remote) -> Result<Vec<u8>, String> + Sync + 'f;

/// What was read.
#[derive(Debug, Default)]
pub struct Reading {
    /// What the objects hold.
    pub harvest: Harvest,
    /// What could not be read, in the order of names.
    pub problems: Vec<Problem>,
}

/// What the threads share.
struct Work<'w> {
    objects: &'w [Object],
    next: AtomicUsize,
    stdin: Mutex<&'w mut (dyn Read + Send)>,
    fetch: &'w Fetch<'w>,
    progress: &'w ProgressBar,
}

/// Where objects come from that are not on this machine.
pub struct Sources<'s> {
    /// Standard input.
    pub stdin: &'s mut (dyn Read + Send),
    /// S3.
    pub fetch: &'s Fetch<'s>,
}

/// Reads every object.
pub fn read(
    objects: &[Object],
    rules: &RuleSet,
    selection: &Selection,
    threads: usize,
    sources: Sources<'_>,
    progress: &ProgressBar,
) -> Reading {
    let Sources { stdin, fetch } = sources;
    // Whoever waits for S3 leaves its processor to the others, so that downloads and parsing overlap.
    let remote = objects.iter().any(|object| matches!(object.place, Place::S3(_)));
    let threads = if remote { threads.saturating_mul(WAITING).min(MOST_WAITING) } else { threads };
    let work = Work { objects, next: AtomicUsize::new(0), stdin: Mutex::new(stdin), fetch, progress };
    let parts: Vec<Reading> = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads.min(objects.len()).max(1)).map(|_| scope.spawn(|| work.run(rules, selection))).collect();
        // A worker that panicked is a bug; its panic goes on here.
        workers.into_iter().map(|w| w.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let mut all = Reading::default();
    for part in parts {
        all.harvest.append(part.harvest);
        all.problems.extend(part.problems);
    }
    all.problems.sort();
    all
}

fn passed_over(reason: SkippedRecord, count: u64) -> String {
    let why = match reason {
        SkippedRecord::Malformed => "is not JSON of a record".to_owned(),
        SkippedRecord::TooLarge => format!("is longer than the limit of {MAX_RECORD_BYTES} bytes"),
        SkippedRecord::Truncated => "is cut off".to_owned(),
        SkippedRecord::NoTime => "has no readable eventTime".to_owned(),
    };
    let rest = "was passed over; the others were read";
    if count == 1 { format!("1 record {why} and {rest}") } else { format!("{count} times, a record {why} and {rest}") }
}

impl Work<'_> {
    fn run(&self, rules: &RuleSet, selection: &Selection) -> Reading {
        let mut scanner = Scanner::new(rules, selection);
        let mut buffer = Vec::new();
        let mut out = Reading::default();
        while let Some(object) = self.objects.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let before = out.harvest.report.clone();
            let result = self.object(object, &mut scanner, &mut buffer, &mut out.harvest);
            let report = &mut out.harvest.report;
            let mut problem = |message| out.problems.push(Problem { name: object.name.clone(), message });
            if let Err(message) = result {
                report.objects_failed += 1;
                problem(message);
                continue;
            }
            let cut = |report: &Report| report.records_skipped.get(&SkippedRecord::Truncated).copied().unwrap_or(0);
            let is_cut = cut(report) > cut(&before);
            match report.count_object(&before) {
                None => {
                    for (reason, count) in &report.records_skipped {
                        let more = count - before.records_skipped.get(reason).copied().unwrap_or(0);
                        if more > 0 {
                            problem(passed_over(*reason, more));
                        }
                    }
                }
                // Where CloudTrail writes, something else is a file that was damaged; and so is what ends in the middle.
                Some(reason)
                    if object.explicit || (reason == SkippedObject::NoRecords && (object.in_tree || is_cut)) =>
                {
                    report.objects_failed += 1;
                    problem("holds no CloudTrail records".to_owned());
                }
                Some(reason) => {
                    report.records_skipped = before.records_skipped;
                    report.skip_object(reason);
                }
            }
        }
        out
    }

    fn object(
        &self,
        object: &Object,
        scanner: &mut Scanner<'_>,
        buffer: &mut Vec<u8>,
        harvest: &mut Harvest,
    ) -> Result<(), String> {
        let origin = Origin { object: object.name.as_str().into(), delivered: object.delivered };
        let mut read =
            |input: Input<'_>| scanner.read(input, &origin, object.in_tree, harvest).map_err(|e| e.to_string());
        match &object.place {
            Place::Stdin => {
                let mut stdin = self.stdin.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                read(Input::Stream(&mut **stdin))
            }
            Place::S3(remote) => {
                let bytes = (self.fetch)(remote)?;
                let result = read(Input::Bytes(&bytes));
                self.progress.inc(remote.size);
                result
            }
            Place::File(path) => {
                let mut file = File::open(path).map_err(|error| error.to_string())?;
                let meta = file.metadata().map_err(|error| error.to_string())?;
                if meta.len() > WHOLE_FILE_BYTES || !meta.is_file() {
                    read(Input::Stream(&mut self.progress.wrap_read(&mut file)))
                } else {
                    buffer.clear();
                    file.read_to_end(buffer).map_err(|error| error.to_string())?;
                    let result = read(Input::Bytes(buffer));
                    self.progress.inc(meta.len());
                    result
                }
            }
        }
    }
}
