//! Objects to one harvest, on several threads. What a thread finds does not depend on the others; the order in which
//! they finish changes nothing after the pipeline has sorted.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use ahash::{HashSet, RandomState};
use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;
use memmap2::MmapMut;
use secretrail_engine::gaps::Delivery;
use secretrail_engine::gunzip::Room;
use secretrail_engine::limits::{MAX_RECORD_BYTES, WHOLE_OBJECT_BYTES};
use secretrail_engine::object;
use secretrail_engine::object::Origin;
use secretrail_engine::part::{Entry, Extracted, PartError, PartReader};
use secretrail_engine::report::{Fate, SkippedRecord};
use secretrail_engine::rule::RuleSet;
use secretrail_engine::scan::{Harvest, Input, Scanner};
use secretrail_engine::selection::Selection;

use super::checkpoint::Checkpoint;
use super::object::{Content, Object, Place, Problem, ReadError};
use super::store::ObjectStore;
use super::walk;

/// Files beyond this size in bytes are streamed instead of being read in one go.
const WHOLE_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Readers for each thread that was asked for, when objects come from S3, and the most of them: each holds an object.
const WAITING: usize = 8;
const MOST_WAITING: usize = 32;

/// What was read.
#[derive(Debug, Default)]
pub struct Reading {
    /// What the objects hold.
    pub harvest: Harvest,
    /// What could not be read, in the order of names.
    pub problems: Vec<Problem>,
    /// Places and times of delivery of the objects in parts.
    pub deliveries: Vec<Delivery>,
    /// Parts that cannot stand for their logs in this run.
    pub refused: Vec<Problem>,
}

/// What is read, for whom.
pub struct Task<'t> {
    /// Objects.
    pub objects: &'t [Object],
    /// Rules.
    pub rules: &'t RuleSet,
    /// Which part of the logs.
    pub selection: &'t Selection,
    /// Threads.
    pub threads: usize,
    /// Where to note what was read, so that it need not be read again.
    pub checkpoint: Option<&'t Checkpoint>,
}

/// What the threads share.
struct Work<'w> {
    task: &'w Task<'w>,
    next: AtomicUsize,
    stdin: Mutex<&'w mut (dyn Read + Send)>,
    store: &'w dyn ObjectStore,
    progress: &'w ProgressBar,
    known: Known<'w>,
}

/// Objects in parts that were read: two parts may hold one object.
pub struct Known<'s> {
    selection: &'s Selection,
    /// Their hashes.
    known: Mutex<HashSet<u64>>,
    hasher: RandomState,
}

/// Where objects come from that are not on this machine.
pub struct Sources<'s> {
    /// Standard input.
    pub stdin: &'s mut (dyn Read + Send),
    /// S3.
    pub store: &'s dyn ObjectStore,
}

/// Threads that read: whoever waits for S3 leaves its processor to the others, so that downloads and parsing overlap.
#[must_use]
pub fn readers(threads: usize, objects: &[Object]) -> usize {
    let remote = objects
        .iter()
        .any(|object| matches!(object.place, Place::S3(_)));
    if remote {
        threads.saturating_mul(WAITING).min(MOST_WAITING)
    } else {
        threads
    }
}

/// Reads every object.
pub fn read(task: &Task<'_>, sources: Sources<'_>, progress: &ProgressBar) -> Reading {
    let Sources { stdin, store } = sources;
    let threads = readers(task.threads, task.objects);
    let (next, known) = (AtomicUsize::new(0), Known::new(task.selection));
    let work = Work {
        task,
        next,
        stdin: Mutex::new(stdin),
        store,
        progress,
        known,
    };
    let mut parts: Vec<Reading> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(task.objects.len()).max(1))
            .map(|_| scope.spawn(|| work.run()))
            .collect();
        // A worker that panicked is a bug; its panic goes on here.
        workers
            .into_iter()
            .map(|w| {
                w.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    if let Some(checkpoint) = task.checkpoint {
        parts.push(work.noted(checkpoint));
    }
    let mut all = Reading::default();
    for part in parts {
        all.harvest.append(part.harvest);
        all.problems.extend(part.problems);
        all.deliveries.extend(part.deliveries);
        all.refused.extend(part.refused);
    }
    all.problems.sort();
    all.refused.sort();
    all
}

/// What of an object was not read: itself, or records of it.
pub fn untold<'a>(
    name: &str,
    fate: &Fate,
    skipped: impl IntoIterator<Item = (&'a SkippedRecord, &'a u64)>,
) -> Vec<Problem> {
    let problem = |message| Problem {
        name: name.to_owned(),
        message,
    };
    match fate {
        Fate::Failed(message) => vec![problem(message.clone())],
        Fate::PassedOver(_) => Vec::new(),
        Fate::Read => skipped
            .into_iter()
            .map(|(reason, count)| problem(passed_over(*reason, *count)))
            .collect(),
    }
}

fn passed_over(reason: SkippedRecord, count: u64) -> String {
    let why = match reason {
        SkippedRecord::Malformed => "is not JSON of a record".to_owned(),
        SkippedRecord::TooLarge => format!("is longer than the limit of {MAX_RECORD_BYTES} bytes"),
        SkippedRecord::Truncated => "is cut off".to_owned(),
        SkippedRecord::NoTime => "has no readable eventTime".to_owned(),
    };
    let rest = "was passed over; the others were read";
    if count == 1 {
        format!("1 record {why} and {rest}")
    } else {
        format!("{count} times, a record {why} and {rest}")
    }
}

impl<'s> Known<'s> {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(selection: &'s Selection) -> Self {
        Self {
            selection,
            known: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// Takes an object of a part over; `None` when it is not asked for, or was in another part.
    #[must_use]
    pub fn take(&self, entry: &Entry, out: &mut Reading) -> Option<Origin> {
        let parsed = object::parse(&entry.name);
        if !walk::may_hold(&parsed, self.selection) {
            return None;
        }
        let hash = self.hasher.hash_one((&entry.name, &entry.tag));
        if !self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(hash)
        {
            return None;
        }
        out.harvest.report.add(&entry.report());
        out.harvest.coverage.extend(entry.marks());
        out.problems
            .extend(untold(&entry.name, &entry.fate, &entry.skipped));
        let origin = entry.origin();
        if let (Some(account), Some(region), Some(time)) =
            (parsed.account, parsed.region, origin.delivered)
        {
            out.deliveries.push(Delivery {
                account: account.into(),
                region: region.into(),
                time,
            });
        }
        Some(origin)
    }
}

impl Work<'_> {
    fn run(&self) -> Reading {
        let Task {
            objects,
            rules,
            selection,
            checkpoint,
            ..
        } = self.task;
        let mut scanner = Scanner::new(rules, selection);
        if checkpoint.is_some() {
            scanner = scanner.keeping(rules.record_calls());
        }
        let mut reader = Reader::new(scanner, self.store, self.progress);
        let mut out = Reading::default();
        let mut read = Vec::new();
        while let Some(object) = objects.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if object.is_part {
                self.part(object, &mut reader.scanner, &mut out);
                continue;
            }
            if checkpoint.is_some_and(|checkpoint| checkpoint.has(&object.name, &object.tag())) {
                self.progress.inc(object.size());
                continue;
            }
            let mut harvest = Harvest::default();
            let origin = origin(object);
            let result = self.object(object, &origin, &mut reader, &mut harvest);
            let fate = harvest.report.settle(
                result.map_err(|error| error.to_string()),
                object.in_tree,
                object.explicit,
            );
            out.problems
                .extend(untold(&object.name, &fate, &harvest.report.records_skipped));
            if let Some(checkpoint) = checkpoint.filter(|_| !matches!(fate, Fate::Failed(_))) {
                read.push(Extracted::of(
                    &origin,
                    object.tag(),
                    object.in_tree,
                    &fate,
                    &mut harvest,
                ));
                checkpoint.note(&mut read, false);
            }
            out.harvest.append(harvest);
        }
        if let Some(checkpoint) = checkpoint {
            checkpoint.note(&mut read, true);
        }
        out
    }

    /// What an earlier run has noted.
    fn noted(&self, checkpoint: &Checkpoint) -> Reading {
        let mut out = Reading::default();
        let Task {
            rules, selection, ..
        } = self.task;
        let mut scanner = Scanner::new(rules, selection);
        match checkpoint.earlier() {
            Ok(Some(file)) => self.parts(
                checkpoint.name(),
                BufReader::new(file),
                &mut scanner,
                &mut out,
            ),
            Ok(None) => {}
            Err(message) => out.refused.push(Problem {
                name: checkpoint.name().to_owned(),
                message,
            }),
        }
        out
    }

    fn part(&self, object: &Object, scanner: &mut Scanner<'_>, out: &mut Reading) {
        match object.place.open(self.store) {
            Ok(Content::File(file)) => {
                self.parts(&object.name, BufReader::new(file), scanner, out);
            }
            Ok(Content::Bytes(bytes)) => self.parts(&object.name, &*bytes, scanner, out),
            Err(error) => {
                out.harvest.report.objects_failed += 1;
                out.problems.push(Problem::new(&*object.name, error));
            }
        }
        self.progress.inc(object.size());
    }

    /// Reads parts that follow each other.
    fn parts(&self, name: &str, bytes: impl BufRead, scanner: &mut Scanner<'_>, out: &mut Reading) {
        if let Err(error) = self.parts_in(name, bytes, scanner, out) {
            out.harvest.report.objects_failed += 1;
            out.problems.push(Problem::new(name, error));
        }
    }

    fn parts_in(
        &self,
        name: &str,
        bytes: impl BufRead,
        scanner: &mut Scanner<'_>,
        out: &mut Reading,
    ) -> Result<(), PartError> {
        let mut next = PartReader::new(BufReader::new(MultiGzDecoder::new(bytes)))?;
        while let Some(mut part) = next {
            if let Some(lacks) = part.header.lacks(self.task.rules, self.task.selection) {
                out.refused.push(Problem::new(name, lacks));
                return Ok(());
            }
            // Objects that another part held already, or that nobody asks for, have no origin here.
            let mut origins = Vec::with_capacity(part.entries.len());
            for entry in &part.entries {
                origins.push((self.known.take(entry, out), entry.in_tree));
            }
            while let Some(record) = part.next_record()? {
                if let Some((Some(origin), in_tree)) = origins.get(record.object) {
                    scanner.record(record.text, origin, *in_tree, &mut out.harvest);
                }
            }
            next = part.next_part()?;
        }
        Ok(())
    }

    fn object(
        &self,
        object: &Object,
        origin: &Origin,
        reader: &mut Reader<'_>,
        harvest: &mut Harvest,
    ) -> Result<(), ReadError> {
        if !matches!(object.place, Place::Stdin) {
            return reader.read(object, origin, harvest);
        }
        // The walk lets standard input be named once, so nobody else waits for it.
        let mut stdin = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
        let input = Input::Stream(&mut **stdin);
        reader.scan(input, object, origin, harvest)
    }
}

/// Where the records of an object come from.
#[must_use]
pub fn origin(object: &Object) -> Origin {
    Origin {
        object: object.name.as_str().into(),
        delivered: object.delivered,
    }
}

/// Reads files and objects in S3, one after the other, with buffers that are kept. One for each thread.
pub struct Reader<'r> {
    scanner: Scanner<'r>,
    store: &'r dyn ObjectStore,
    progress: &'r ProgressBar,
    buffer: Vec<u8>,
}

/// Memory for any object that is inflated in one go: what no object needs of it is never touched. In large pages, where
/// there are such, it is ready sooner and found faster. `None` where there is none to be had in this way.
fn room() -> Option<Room> {
    let room = MmapMut::map_anon(WHOLE_OBJECT_BYTES).ok()?;
    #[cfg(target_os = "linux")]
    // Small pages do as well.
    room.advise(memmap2::Advice::HugePage).ok();
    Some(Box::new(room))
}

impl<'r> Reader<'r> {
    /// A reader.
    #[must_use]
    pub fn new(
        scanner: Scanner<'r>,
        store: &'r dyn ObjectStore,
        progress: &'r ProgressBar,
    ) -> Self {
        let scanner = match room() {
            Some(room) => scanner.inflating_into(room),
            None => scanner,
        };
        Self {
            scanner,
            store,
            progress,
            buffer: Vec::new(),
        }
    }

    /// Reads an object to its end.
    ///
    /// # Errors
    ///
    /// [`ReadError`]: why it could not be read, or not whole; what came before is in the harvest.
    pub fn read(
        &mut self,
        object: &Object,
        origin: &Origin,
        harvest: &mut Harvest,
    ) -> Result<(), ReadError> {
        match object.place.open(self.store)? {
            Content::Bytes(bytes) => {
                let result = self.scan(Input::Bytes(&bytes), object, origin, harvest);
                self.progress.inc(bytes.len() as u64);
                result
            }
            Content::File(file) => self.read_file(file, object, origin, harvest),
        }
    }

    fn read_file(
        &mut self,
        mut file: File,
        object: &Object,
        origin: &Origin,
        harvest: &mut Harvest,
    ) -> Result<(), ReadError> {
        let meta = file.metadata()?;
        // Devices and pipes have no length that could be trusted.
        if meta.len() > WHOLE_FILE_BYTES || !meta.is_file() {
            let progress = self.progress;
            let mut stream = progress.wrap_read(&mut file);
            return self.scan(Input::Stream(&mut stream), object, origin, harvest);
        }
        // Taken out of the reader for the time of the scan, and put back for the next file.
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        file.read_to_end(&mut buffer)?;
        let result = self.scan(Input::Bytes(&buffer), object, origin, harvest);
        self.buffer = buffer;
        self.progress.inc(meta.len());
        result
    }

    fn scan(
        &mut self,
        input: Input<'_>,
        object: &Object,
        origin: &Origin,
        harvest: &mut Harvest,
    ) -> Result<(), ReadError> {
        self.scanner
            .read(input, origin, object.in_tree, harvest)
            .map_err(|error| ReadError::Content(error.to_string()))
    }
}
