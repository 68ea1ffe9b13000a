//! `extract`: logs to extract files. The same logs, rules and selection give the same files with
//! the same names, so that an interrupted run can be resumed.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use secretrail_engine::{
    extract_file::{self, ExtractHeader, ExtractedObject},
    parallel,
    report::ReadReport,
    rule::RuleSet,
    scan::{ObjectScanner, ScanResult},
    selection::{Selection, SelectionTally},
};

use crate::{
    args::{self, path::hint, settings::RunSettings},
    host::{ProcessHost, RunFailure, say},
    input::{
        aws, batches,
        object::{InputObject, InputProblem},
        progress::bytes_bar,
        read::readers,
        reader::{ObjectReader, origin},
        reading::problems_of,
        rules_and_policy,
        s3::store,
        session,
        store::{ObjectStore, StoreError, WritablePrefix},
        walk::WalkedObjects,
    },
    output::{
        ending::RunReading,
        run_summary::{self, end, input_code},
        target,
    },
    text::{number, plural},
};

/// The destination of the extract files.
enum ExtractDestination {
    Folder(PathBuf),
    Bucket(WritablePrefix),
}

impl ExtractDestination {
    /// Rejects `-`, and what is almost a path in S3: they would become folders with strange names.
    fn of(path: &Path) -> Result<Self, RunFailure> {
        if path == Path::new("-") {
            return Err(RunFailure::Usage(NOT_STDOUT.to_owned()));
        }
        if let Some(bucket) = WritablePrefix::of(path) {
            return Ok(Self::Bucket(bucket));
        }
        match hint(path).filter(|hint| hint.contains("s3://")) {
            Some(hint) => Err(RunFailure::Usage(format!("{}: {hint}", path.display()))),
            None => Ok(Self::Folder(path.to_owned())),
        }
    }

    fn is_in_s3(&self) -> bool {
        matches!(self, Self::Bucket(_))
    }

    /// Names of the existing extract files.
    fn parts(&self, store: &dyn ObjectStore) -> Result<BTreeSet<String>, RunFailure> {
        let mut names = match self {
            Self::Folder(path) => names_in(path)?,
            Self::Bucket(prefix) => prefix.there(store)?,
        };
        // Other files in the folder are ignored, also incomplete ones, which have another
        // extension.
        names.retain(|name| extract_file::is_extract_file(name));
        Ok(names)
    }

    /// Writes an extract file, which appears only once it is complete.
    fn put(&self, name: &str, bytes: Vec<u8>, store: &dyn ObjectStore) -> Result<(), PutError> {
        match self {
            Self::Folder(path) => Ok(target::write_made_file(&path.join(name), &bytes)?),
            Self::Bucket(prefix) => Ok(prefix.put(store, name, bytes)?),
        }
    }
}

/// Names of the files in a folder, which is created if necessary: better to fail before hours of
/// reading than after.
fn names_in(folder: &Path) -> Result<BTreeSet<String>, RunFailure> {
    let name = folder.display().to_string();
    if let Err(error) = std::fs::create_dir_all(folder) {
        return Err(RunFailure::Output { name, error });
    }
    let entries =
        std::fs::read_dir(folder).map_err(|error| RunFailure::Input(format!("{name}: {error}")))?;
    Ok(entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect())
}

/// Why an extract file could not be written.
#[derive(Debug, thiserror::Error)]
enum PutError {
    #[error("{0}")]
    File(#[from] RunFailure),
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// The error about standard input, which has no name.
const NOT_STDIN: &str = "extract reads files and S3, not pipes: an extract file names the objects \
    that it was made from";

/// The error about standard output.
const NOT_STDOUT: &str = "extract writes several files, not one to standard output: name a folder \
    or a prefix in S3 with -o, as in `-o parts`";

/// The error about a filter. What is joined with an access is not of its principal or secret.
const NO_FILTER: &str = "extract keeps all accesses of its logs: select principals, secrets, \
    sources, outcomes, methods and access keys where the extract files are read";

/// Runs the command and returns its exit code.
///
/// # Errors
///
/// [`RunFailure`]: the run ended early.
pub fn run(args: &args::ExtractArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let started = Instant::now();
    let settings = settings(args, host)?;
    let rules = rules_and_policy::rules_alone(&args.files, host)?.set;
    let place = ExtractDestination::of(&args.output)?;
    let connection = aws::connect(&settings, place.is_in_s3())?;
    let store = store(connection.as_ref(), &settings.aws);
    let there = there(args, &place, &*store)?;
    let found = session::logs(&settings, &*store)?;
    if let Some(object) = found.objects.iter().find(|object| object.is_stream()) {
        return Err(RunFailure::Usage(format!("{}: {NOT_STDIN}", object.name)));
    }
    let job = ExtractJob {
        header: &ExtractHeader::new(&rules, &settings.selection),
        selection: &settings.selection,
        store: &*store,
        progress: &bytes_bar(&settings, &found.objects),
        place: &place,
        there: &there,
    };
    let total = job.total(found, args, settings.threads)?;
    let code = input_code(&total.problems, host);
    if !settings.quiet {
        let words = total.words(settings.threads, started.elapsed());
        say(host, &words);
    }
    // Of files that already existed, an earlier run has said what they hold.
    if total.kept > 0 {
        return Ok(code);
    }
    let reading = RunReading {
        report: &total.report,
        selection: &settings.selection,
        selected: &total.selected,
    };
    Ok(code.max(end(reading, host)))
}

fn settings(args: &args::ExtractArgs, host: &ProcessHost) -> Result<RunSettings, RunFailure> {
    let destination = args::OutputDestination {
        output: None,
        quiet: args.quiet,
        no_progress: args.no_progress,
    };
    let settings = RunSettings::plain(&args.input, &destination, host)?;
    if settings.reads_stdin() {
        return Err(RunFailure::Usage(NOT_STDIN.to_owned()));
    }
    if !settings.selection.filter.is_empty() {
        return Err(RunFailure::Usage(NO_FILTER.to_owned()));
    }
    Ok(settings)
}

/// Names of the extract files that need not be made.
fn there(
    args: &args::ExtractArgs,
    place: &ExtractDestination,
    store: &dyn ObjectStore,
) -> Result<BTreeSet<String>, RunFailure> {
    // Also with `--force`: this creates the folder.
    let there = place.parts(store)?;
    Ok(if args.force { BTreeSet::new() } else { there })
}

/// The result of a batch.
#[derive(Default)]
struct ExtractBatchResult {
    report: ReadReport,
    selected: SelectionTally,
    problems: Vec<InputProblem>,
    /// Size of the extract file in bytes; `None` if it already existed.
    written: Option<u64>,
}

/// State shared by all batches.
struct ExtractJob<'j> {
    header: &'j ExtractHeader,
    selection: &'j Selection,
    store: &'j dyn ObjectStore,
    progress: &'j ProgressBar,
    place: &'j ExtractDestination,
    /// Names of the extract files that need not be made.
    there: &'j BTreeSet<String>,
}

impl ExtractJob<'_> {
    /// Makes the extract files of all objects, on several threads. A file that cannot be written
    /// fails the run after all others are done: those need not be made again.
    fn total(
        &self,
        found: WalkedObjects,
        args: &args::ExtractArgs,
        threads: usize,
    ) -> Result<ExtractTotals, RunFailure> {
        let batches = batches::by_delivery(&found.objects, args.part_size, usize::MAX);
        let threads = readers(threads, &found.objects);
        let all = parallel::map(threads, &batches, |batch| self.done(batch));
        self.progress.finish_and_clear();
        let mut total = ExtractTotals::new(found.report, found.problems);
        total.selected = found.selected;
        for done in all {
            total.add(done.map_err(|error| RunFailure::Output {
                name: args.output.display().to_string(),
                error: std::io::Error::other(error.to_string()),
            })?);
        }
        total.problems.sort();
        Ok(total)
    }

    /// Makes the extract file of a batch, unless it exists.
    fn done(&self, batch: &[&InputObject]) -> Result<ExtractBatchResult, PutError> {
        let name = self.name(batch);
        // The name is derived from rules, selection and objects: the file would be the same again.
        if self.there.contains(&name) {
            let bytes = batch.iter().map(|object| object.size()).sum();
            self.progress.inc(bytes);
            return Ok(ExtractBatchResult::default());
        }
        // Written at once: an interruption costs at most one batch for each thread.
        let (bytes, mut done) = self.extract(batch);
        done.written = Some(bytes.len() as u64);
        self.place.put(&name, bytes, self.store)?;
        Ok(done)
    }

    /// The name of the extract file of a batch, derived from rules, selection and objects.
    fn name(&self, batch: &[&InputObject]) -> String {
        let objects = batch
            .iter()
            .map(|object| (object.name.clone(), object.tag()));
        extract_file::name(self.header, objects)
    }

    /// The bytes of the extract file of a batch.
    fn extract(&self, batch: &[&InputObject]) -> (Vec<u8>, ExtractBatchResult) {
        // Rules only decide which calls are kept; they are not evaluated here.
        let none = RuleSet::default();
        let scanner = ObjectScanner::new(&none, self.selection).keeping(self.header.calls.clone());
        let mut reader = ObjectReader::new(scanner, self.store, self.progress);
        let mut done = ExtractBatchResult::default();
        let objects = batch.iter().map(|object| done.object(object, &mut reader));
        let objects = objects.collect();
        (extract_file::write(self.header, objects), done)
    }
}

impl ExtractBatchResult {
    /// Reads an object. The extract file also records objects that cannot be read, so that its
    /// readers report the same problems as readers of the logs.
    fn object(&mut self, object: &InputObject, reader: &mut ObjectReader<'_>) -> ExtractedObject {
        let (mut scan_result, origin) = (ScanResult::default(), origin(object));
        let tag = object.tag();
        let result = reader.read(object, &origin, &mut scan_result);
        let object_status = scan_result
            .report
            .finalize(result, object.in_tree, object.explicit);
        self.problems.extend(problems_of(
            &object.name,
            &object_status,
            &scan_result.report,
        ));
        self.report.add(&scan_result.report);
        self.selected.add(&scan_result.selected);
        ExtractedObject::of(
            &origin,
            tag,
            object.in_tree,
            &object_status,
            &mut scan_result,
        )
    }
}

/// The results of all batches.
struct ExtractTotals {
    report: ReadReport,
    selected: SelectionTally,
    problems: Vec<InputProblem>,
    /// Total size in bytes of the written extract files.
    bytes: u64,
    written: u64,
    kept: u64,
}

impl ExtractTotals {
    /// Starts with the counts and problems of the walk.
    fn new(report: ReadReport, problems: Vec<InputProblem>) -> Self {
        Self {
            report,
            selected: SelectionTally::default(),
            problems,
            bytes: 0,
            written: 0,
            kept: 0,
        }
    }

    fn add(&mut self, done: ExtractBatchResult) {
        self.report.add(&done.report);
        self.selected.add(&done.selected);
        self.problems.extend(done.problems);
        match done.written {
            Some(bytes) => {
                self.bytes += bytes;
                self.written += 1;
            }
            None => self.kept += 1,
        }
    }

    fn words(&self, threads: usize, elapsed: Duration) -> String {
        let mut lines = run_summary::read(&self.report, threads, elapsed);
        lines.extend(run_summary::left_out(&self.selected));
        // Nothing is written if everything exists.
        let share = self
            .report
            .bytes
            .checked_div(self.bytes)
            .map(|times| format!(", reduced {}:1", number(times)))
            .unwrap_or_default();
        lines.push(format!(
            "extract files  {} written ({}{share}), {} already existed",
            number(self.written),
            plural(self.bytes, "byte"),
            number(self.kept)
        ));
        run_summary::said(&lines)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        commands::tests::{LOGS, ran},
        exit,
        input::store::NoObjectStore,
    };

    fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
        let names = names_in(folder).unwrap().into_iter();
        names
            .map(|name| {
                let bytes = std::fs::read(folder.join(&name)).unwrap();
                (name, bytes)
            })
            .collect()
    }

    #[test]
    fn an_interrupted_run_can_be_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().to_str().unwrap();
        let args = ["extract", LOGS, "-o", to, "--part-size", "4K"];
        let first = ran(&args);
        assert!(first.err.contains("written (") && first.err.contains(", 0 already existed"));
        let made = files(folder.path());
        assert!(made.len() > 2, "{}", first.err);
        std::fs::remove_file(folder.path().join(&made[1].0)).unwrap();
        let second = ran(&args);
        let kept = format!(", {} already existed", made.len() - 1);
        assert!(second.err.contains("extract files  1 written (") && second.err.contains(&kept));
        assert!(files(folder.path()) == made);
    }

    #[test]
    fn extract_files_among_the_logs_are_no_logs() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().to_str().unwrap();
        assert_eq!(ran(&["extract", LOGS, "-o", to, "-q"]).code, exit::DONE);
        let before = files(folder.path());
        let again = ran(&["extract", LOGS, to, "-o", to, "-q"]);
        assert_eq!((again.code, again.err.as_str()), (exit::DONE, ""));
        assert!(files(folder.path()) == before);
    }

    #[test]
    fn other_files_in_the_folder_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
        let place = ExtractDestination::of(folder.path()).unwrap();
        assert!(place.parts(&NoObjectStore).unwrap().is_empty());
        place.put("a.txt", b"1".to_vec(), &NoObjectStore).unwrap();
        assert_eq!(std::fs::read(folder.path().join("a.txt")).unwrap(), b"1");
    }

    #[test]
    fn a_wrong_destination_fails_before_anything_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let below = file.path().join("parts");
        let refused = ran(&["extract", "/nowhere", "-o", below.to_str().unwrap()]);
        assert_eq!(refused.code, exit::OUTPUT);
        assert!(!refused.err.contains("/nowhere"), "{}", refused.err);
        let almost = ran(&["extract", LOGS, "-o", "s3:/bucket/parts"]);
        assert_eq!(almost.code, exit::USAGE);
        assert!(
            almost.err.contains("write s3://bucket/parts"),
            "{}",
            almost.err
        );
        let stdout = ran(&["extract", LOGS, "-o", "-"]);
        assert_eq!(stdout.code, exit::USAGE);
        assert!(stdout.err.contains("name a folder"), "{}", stdout.err);
        let stdin = ran(&["extract", "-", "-o", "parts"]);
        assert_eq!(stdin.code, exit::USAGE);
        assert!(stdin.err.starts_with("extract reads files and S3"));
    }

    #[test]
    fn the_reduction_is_given_only_for_written_files() {
        let report = ReadReport {
            bytes: 5_000,
            ..ReadReport::default()
        };
        let mut total = ExtractTotals::new(report, Vec::new());
        total.add(ExtractBatchResult::default());
        let words = total.words(1, Duration::from_secs(1));
        assert!(
            words.ends_with("0 written (0 bytes), 1 already existed\n"),
            "{words}"
        );
        total.add(ExtractBatchResult {
            written: Some(50),
            ..ExtractBatchResult::default()
        });
        let words = total.words(1, Duration::from_secs(1));
        assert!(
            words.contains("1 written (50 bytes, reduced 100:1), 1"),
            "{words}"
        );
    }
}
