//! Merges extract files by event time, so that memory does not grow with the history. The heads of
//! all files are read first, for what they say about their logs; each file is then opened at its
//! first event time and read once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::mpsc;

use ahash::HashMap;
use indicatif::ProgressBar;
use secretrail_engine::extract_file::{
    ExtractEntry, ExtractFileError, ExtractFileReader, ExtractHeader, Inflated,
};
use secretrail_engine::object::RecordOrigin;
use secretrail_engine::parallel;
use secretrail_engine::pipeline::BatchOutcome;
use secretrail_engine::pipeline::history::HistoryPipeline;
use secretrail_engine::policy::AccessPolicy;
use secretrail_engine::rule::RuleSet;
use secretrail_engine::scan::{ObjectScanner, ScanResult};
use secretrail_engine::selection::{Selection, SelectionTally};
use secretrail_engine::state::StateError;
use secretrail_engine::time::EventTime;

use crate::args::OutputFormat;
use crate::args::settings::RunSettings;
use crate::host::RunFailure;
use crate::input::known::KnownObjects;
use crate::input::object::{InputObject, InputProblem};
use crate::input::pieces::ObjectPieces;
use crate::input::progress::bytes_bar;
use crate::input::read::readers;
use crate::input::reading::ReadingResult;
use crate::input::session::{OpenedInput, SessionResult, internal, pipeline, refused};
use crate::input::store::ObjectStore;
use crate::input::unmatched::UnmatchedPatterns;

/// Bytes of an extract file fetched at a time, and held while it is open: most and least.
const PIECE: u64 = 256 * 1024;
const LEAST_PIECE: u64 = 16 * 1024;

/// Bytes held for all files that are open at once: those of a thousand accounts overlap in time.
const PIECES: u64 = 128 * 1024 * 1024;

/// The error about a file with several extracts, which cannot be merged by time.
const SEVERAL: &str = "contains more than one extract, and only the first was read; \
    put each into a file of its own, or choose -f json";

const UNSORTED: &str = "its records are not sorted by time; extract the logs again";

/// Records evaluated at a time.
const SLICE: usize = 16_384;

/// Heads of extract files read at a time.
const HEADS: usize = 32;

/// Whether a run can merge: all inputs are extract files, and the output format can be written in
/// slices.
#[must_use]
pub(crate) fn fits(opened: &OpenedInput, settings: &RunSettings) -> bool {
    let objects = &opened.objects.objects;
    settings.checkpoint.is_none()
        && matches!(
            settings.format,
            OutputFormat::Jsonl | OutputFormat::Ocsf | OutputFormat::Csv
        )
        && !objects.is_empty()
        && objects.iter().all(|object| object.is_extract_file)
}

/// Reads the extract files, and emits their results slice by slice, in order of time. The returned
/// result has everything else: counts and problems.
///
/// # Errors
///
/// [`RunFailure`]: the extract files cannot replace their logs in this run, or `emit` failed.
pub(crate) fn run(
    opened: OpenedInput,
    settings: &RunSettings,
    rules: &RuleSet,
    policy: Option<&AccessPolicy>,
    now: EventTime,
    emit: &mut dyn FnMut(BatchOutcome) -> Result<(), RunFailure>,
) -> Result<SessionResult, RunFailure> {
    let OpenedInput { store, objects } = opened;
    let progress = bytes_bar(settings, &objects.objects);
    let mut task = MergeTask::new(settings, rules, &*store, &progress);
    let pipeline = pipeline(settings, rules, policy);
    let mut history = HistoryPipeline::new(&pipeline, now);
    let (heads, mut reading) = task
        .heads(&objects.objects, &mut history)
        .map_err(internal)?;
    if !reading.refused.is_empty() {
        return Err(refused(&reading.refused));
    }
    // The heads hold the counts of their objects.
    let mut report = objects.report;
    report.add(&std::mem::take(&mut reading.scan_result.report));
    let mut seen = SeenRecords::new(
        &settings.selection,
        [&objects.selected, &reading.scan_result.selected],
    );
    task.piece = piece(heads.iter().map(|head| (head.from, head.last)));
    let failed = merge(&task, heads, history, &mut seen, &mut |outcome| {
        report.add(&outcome.report);
        emit(outcome)
    })?;
    progress.finish_and_clear();
    report.objects_failed += failed.len() as u64;
    let mut problems = objects.problems;
    problems.extend(reading.problems);
    problems.extend(failed);
    problems.sort();
    Ok(SessionResult {
        report,
        problems,
        ..seen.result(objects.objects, store)
    })
}

/// What the selection and its filter did with the records so far.
struct SeenRecords<'s> {
    selected: SelectionTally,
    patterns: UnmatchedPatterns<'s>,
}

impl<'s> SeenRecords<'s> {
    /// Starts with what paths and heads have shown.
    fn new(selection: &'s Selection, tallies: [&SelectionTally; 2]) -> Self {
        let mut selected = SelectionTally::default();
        for tally in tallies {
            selected.add(tally);
        }
        Self {
            selected,
            patterns: UnmatchedPatterns::new(selection),
        }
    }

    fn see(&mut self, slice: &ScanResult) {
        self.selected.add(&slice.selected);
        self.patterns.see(&slice.observations);
    }

    /// A result with what was seen and nothing else.
    fn result(self, objects: Vec<InputObject>, store: Box<dyn ObjectStore>) -> SessionResult {
        SessionResult {
            unmatched: self.patterns.lines(),
            selected: self.selected,
            ..SessionResult::nothing(objects, store)
        }
    }
}

/// Evaluates the records of all files in slices by time; returns what could not be read. Reading is
/// half of the work: a thread reads the next slice while one is evaluated.
fn merge(
    task: &MergeTask<'_>,
    heads: Vec<ExtractFileHead<'_>>,
    mut history: HistoryPipeline<'_, '_>,
    seen: &mut SeenRecords<'_>,
    emit: &mut dyn FnMut(BatchOutcome) -> Result<(), RunFailure>,
) -> Result<Vec<InputProblem>, RunFailure> {
    let merge = ExtractFileMerge::new(task, heads);
    let problems = std::thread::scope(|scope| {
        // One slice ahead and no more, or a fast reader would fill the memory.
        let (sender, slices) = mpsc::sync_channel(1);
        let reader = scope.spawn(move || merge.slices(&sender));
        for (slice, upto) in slices {
            seen.see(&slice);
            emit(pollster::block_on(history.advance(slice, upto)).map_err(internal)?)?;
        }
        // A panic of the reader is a bug; it is propagated.
        Ok::<_, RunFailure>(
            reader
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        )
    })?;
    emit(pollster::block_on(history.finish()).map_err(internal)?)?;
    Ok(problems)
}

/// Bytes to fetch at a time, given the first and last times of all files.
fn piece(spans: impl Iterator<Item = (EventTime, EventTime)>) -> u64 {
    let (mut starts, mut ends): (Vec<EventTime>, Vec<EventTime>) = spans.unzip();
    starts.sort_unstable();
    ends.sort_unstable();
    let mut ended = ends.iter().peekable();
    let (mut open, mut most) = (0_u64, 1);
    for start in starts {
        while ended.next_if(|end| **end < start).is_some() {
            open -= 1;
        }
        open += 1;
        most = most.max(open);
    }
    (PIECES / most).clamp(LEAST_PIECE, PIECE)
}

/// An extract file that is not open yet.
struct ExtractFileHead<'o> {
    object: &'o InputObject,
    /// Event times of its first and last record.
    from: EventTime,
    last: EventTime,
    /// Which of its objects are used; `None` for all.
    taken: Option<Vec<bool>>,
}

impl ExtractFileHead<'_> {
    /// The origin of the records of each object; `None` for objects that are not used.
    fn origins(&self, entries: &[ExtractEntry]) -> Vec<Option<(RecordOrigin, bool)>> {
        let mut origins = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let taken = self.taken.as_ref();
            let is_taken = taken.is_none_or(|taken| taken.get(index) == Some(&true));
            origins.push(is_taken.then(|| (entry.origin(), entry.in_tree)));
        }
        origins
    }
}

struct MergeTask<'t> {
    settings: &'t RunSettings,
    rules: &'t RuleSet,
    store: &'t dyn ObjectStore,
    progress: &'t ProgressBar,
    /// Hidden bar for reading heads, which are small.
    quiet: ProgressBar,
    /// Bytes of a file fetched at a time.
    piece: u64,
}

type PiecewiseReader<'t> = ExtractFileReader<Inflated<ObjectPieces<'t>>>;

impl<'t> MergeTask<'t> {
    fn new(
        settings: &'t RunSettings,
        rules: &'t RuleSet,
        store: &'t dyn ObjectStore,
        progress: &'t ProgressBar,
    ) -> Self {
        Self {
            settings,
            rules,
            store,
            progress,
            quiet: ProgressBar::hidden(),
            piece: PIECE,
        }
    }

    fn open(
        &self,
        object: &'t InputObject,
        progress: &'t ProgressBar,
    ) -> Result<Option<PiecewiseReader<'t>>, ExtractFileError> {
        let pieces = ObjectPieces::new(object, self.store, self.piece, progress);
        ExtractFileReader::inflating(pieces)
    }

    /// Reads the heads of all files and passes their coverage to the history. Returns the files
    /// with records to use, latest start first.
    fn heads(
        &self,
        objects: &'t [InputObject],
        history: &mut HistoryPipeline<'_, '_>,
    ) -> Result<(Vec<ExtractFileHead<'t>>, ReadingResult), StateError> {
        let known = KnownObjects::new(&self.settings.selection);
        let (mut heads, mut reading) = (Vec::new(), ReadingResult::default());
        let threads = readers(self.settings.threads, objects);
        for some in objects.chunks(HEADS) {
            let newest = self.some_heads(some, threads, &known, &mut heads, &mut reading);
            // Absence is judged by the coverage of all files: the history needs it before the first
            // record.
            let coverage = std::mem::take(&mut reading.scan_result.coverage);
            pollster::block_on(history.mark(coverage, newest))?;
            // This run does not report gaps in deliveries.
            reading.deliveries.clear();
        }
        // Files are popped from the end, earliest start first.
        heads.sort_by(|a, b| (b.from, &b.object.name).cmp(&(a.from, &a.object.name)));
        reading.refused.sort();
        Ok((heads, reading))
    }

    /// Reads some heads in parallel, and returns the latest delivery of their objects.
    fn some_heads(
        &self,
        objects: &'t [InputObject],
        threads: usize,
        known: &KnownObjects<'_>,
        heads: &mut Vec<ExtractFileHead<'t>>,
        reading: &mut ReadingResult,
    ) -> Option<EventTime> {
        let read = parallel::map(threads, objects, |object| {
            let part = self.open(object, &self.quiet)?;
            Ok(part.map(|part| (part.header, part.entries)))
        });
        let mut newest = None;
        for (object, read) in objects.iter().zip(read) {
            let read: Result<_, ExtractFileError> = read;
            match read {
                Ok(Some((header, entries))) => {
                    newest = newest.max(latest(&header, &entries));
                    heads.extend(self.head(object, &header, &entries, known, reading));
                }
                // An empty file.
                Ok(None) => {}
                Err(error) => reading.fail(&object.name, error),
            }
        }
        newest
    }

    /// Selects the objects of a file to use; `None` if it cannot replace its logs in this run, or
    /// has no records of these objects.
    fn head(
        &self,
        object: &'t InputObject,
        header: &ExtractHeader,
        entries: &[ExtractEntry],
        known: &KnownObjects<'_>,
        reading: &mut ReadingResult,
    ) -> Option<ExtractFileHead<'t>> {
        if let Some(lacks) = header.lacks(self.rules, &self.settings.selection) {
            reading
                .refused
                .push(InputProblem::new(&*object.name, lacks));
            return None;
        }
        let taken: Vec<bool> = entries
            .iter()
            .map(|entry| known.take(entry, reading).is_some())
            .collect();
        let (from, last) = header.span.filter(|_| taken.contains(&true))?;
        let (from, last) = (EventTime(from), EventTime(last));
        Some(ExtractFileHead {
            object,
            from,
            last,
            taken: taken.contains(&false).then_some(taken),
        })
    }
}

/// The latest delivery of a file; for objects without a known delivery, the last event time.
fn latest(header: &ExtractHeader, entries: &[ExtractEntry]) -> Option<EventTime> {
    let last = header.span.map(|(_, last)| last);
    entries
        .iter()
        .filter_map(|entry| entry.delivered.or(last))
        .max()
        .map(EventTime)
}

/// An extract file while its records are read.
struct OpenExtractFile<'t> {
    reader: PiecewiseReader<'t>,
    name: &'t str,
    /// The origin of the records of each object, and whether its path in an `AWSLogs` tree
    /// determines account and region.
    origins: Vec<Option<(RecordOrigin, bool)>>,
    /// The next record: index of its object, event time and JSON.
    of: usize,
    time: EventTime,
    text: String,
}

/// Extract files, merged by time.
struct ExtractFileMerge<'t> {
    task: &'t MergeTask<'t>,
    scanner: ObjectScanner<'t>,
    /// Files that are not open yet, latest start first.
    waiting: Vec<ExtractFileHead<'t>>,
    /// Times of the next records, and the numbers of their files.
    open: BinaryHeap<Reverse<(EventTime, usize)>>,
    parts: HashMap<usize, OpenExtractFile<'t>>,
    opened: usize,
    problems: Vec<InputProblem>,
}

impl<'t> ExtractFileMerge<'t> {
    fn new(task: &'t MergeTask<'t>, waiting: Vec<ExtractFileHead<'t>>) -> Self {
        Self {
            task,
            scanner: ObjectScanner::new(task.rules, &task.settings.selection),
            waiting,
            open: BinaryHeap::new(),
            parts: HashMap::default(),
            opened: 0,
            problems: Vec::new(),
        }
    }

    /// Reads all records and sends them in slices, each with the time up to which it is complete
    /// (exclusive). Returns what could not be read.
    fn slices(mut self, sender: &mpsc::SyncSender<(ScanResult, EventTime)>) -> Vec<InputProblem> {
        let (mut slice, mut taken, mut last) = (ScanResult::default(), 0, EventTime(i64::MIN));
        while let Some(time) = self.next_time() {
            // Never within a second: events of one second belong together, and `upto` is exclusive.
            if taken >= SLICE && time > last {
                if sender.send((std::mem::take(&mut slice), time)).is_err() {
                    // The receiver is gone: the run has failed.
                    return self.problems;
                }
                taken = 0;
            }
            self.take(&mut slice);
            (taken, last) = (taken + 1, time);
        }
        sender.send((slice, last.plus(1))).ok();
        self.problems
    }

    /// The time of the next record, after opening the files that start by then; `None` at the end.
    fn next_time(&mut self) -> Option<EventTime> {
        loop {
            let next = self.open.peek().map(|Reverse((time, _))| *time);
            match self
                .waiting
                .pop_if(|head| next.is_none_or(|next| head.from <= next))
            {
                Some(head) => self.start(head),
                None => return next,
            }
        }
    }

    fn start(&mut self, head: ExtractFileHead<'t>) {
        let mut reader = match self.task.open(head.object, self.task.progress) {
            Ok(Some(reader)) => reader,
            Ok(None) => return,
            Err(error) => return self.fail(&head.object.name, error),
        };
        let entries = std::mem::take(&mut reader.entries);
        let origins = head.origins(&entries);
        let part = OpenExtractFile {
            reader,
            name: &head.object.name,
            origins,
            of: 0,
            time: head.from,
            text: String::new(),
        };
        self.go_on(self.opened, part);
        self.opened += 1;
    }

    /// Adds the next record to the slice.
    fn take(&mut self, slice: &mut ScanResult) {
        let Some(Reverse((_, number))) = self.open.pop() else {
            return;
        };
        let Some(part) = self.parts.remove(&number) else {
            return;
        };
        if let Some(Some((origin, in_tree))) = part.origins.get(part.of) {
            self.scanner.record(&part.text, origin, *in_tree, slice);
        }
        self.go_on(number, part);
    }

    /// Reads the next record of a file, or closes the file.
    fn go_on(&mut self, number: usize, mut part: OpenExtractFile<'t>) {
        let (name, before) = (part.name, part.time);
        match part.next() {
            // A record from the past would belong to a slice that was already evaluated.
            Ok(true) if part.time < before => self.fail(name, UNSORTED),
            Ok(true) => {
                self.open.push(Reverse((part.time, number)));
                self.parts.insert(number, part);
            }
            Ok(false) => match part.reader.next_extract_file() {
                Ok(None) => {}
                Ok(Some(_)) => self.fail(name, SEVERAL),
                Err(error) => self.fail(name, error),
            },
            Err(error) => self.fail(name, error),
        }
    }

    fn fail(&mut self, name: &str, message: impl ToString) {
        self.problems.push(InputProblem::new(name, message));
    }
}

impl OpenExtractFile<'_> {
    fn next(&mut self) -> Result<bool, ExtractFileError> {
        let Some(record) = self.reader.next_record()? else {
            return Ok(false);
        };
        (self.of, self.time) = (record.object, record.time);
        self.text.clear();
        self.text.push_str(record.text);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_files_are_open_at_once_the_less_is_held_of_each() {
        let spans = |count: i64, every: i64| {
            (0..count).map(move |n| (EventTime(n * every), EventTime(n * every + 99)))
        };
        assert_eq!(piece(spans(0, 1)), PIECE);
        assert_eq!(piece(spans(100_000, 100)), PIECE, "one after the other");
        assert_eq!(piece(spans(2_048, 0)), PIECES / 2_048);
        assert_eq!(piece(spans(100_000, 1)), PIECE, "a hundred at a time");
        assert_eq!(piece(spans(1_000_000, 0)), LEAST_PIECE);
    }
}
