//! The `extract` command: logs to observation parts. The same logs, rules and selection give the same parts under the same
//! names, so that an interrupted run goes on where it was.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use secretrail_engine::parallel;
use secretrail_engine::part::{self, Extracted, Header};
use secretrail_engine::report::Report;
use secretrail_engine::rule::RuleSet;
use secretrail_engine::scan::{Harvest, Scanner};
use secretrail_engine::selection::Selection;

use crate::args;
use crate::args::settings::Settings;
use crate::host::{Failure, Host, say};
use crate::input::object::{Object, Problem};
use crate::input::progress::bytes_bar;
use crate::input::read::readers;
use crate::input::reader::{Reader, origin};
use crate::input::reading::untold;
use crate::input::s3::store;
use crate::input::store::{ObjectStore, Prefix, StoreError};
use crate::input::{aws, batches, rules_and_policy, session};
use crate::output::out;
use crate::output::run_summary::{self, input_code};
use crate::text::number;

/// Where parts go.
enum Place {
    Folder(PathBuf),
    Bucket(Prefix),
}

impl Place {
    fn of(path: &Path) -> Self {
        Prefix::of(path).map_or_else(|| Self::Folder(path.to_owned()), Self::Bucket)
    }

    /// Names of the parts that are there.
    fn parts(&self, store: &dyn ObjectStore) -> Result<BTreeSet<String>, Failure> {
        let mut names: BTreeSet<String> = match self {
            Self::Folder(path) => {
                let name = path.display().to_string();
                std::fs::create_dir_all(path).map_err(|error| Failure::Output {
                    name: name.clone(),
                    error,
                })?;
                let entries = std::fs::read_dir(path)
                    .map_err(|error| Failure::Input(format!("{name}: {error}")))?;
                entries
                    .filter_map(|entry| {
                        Some(entry.ok()?.file_name().to_string_lossy().into_owned())
                    })
                    .collect()
            }
            Self::Bucket(prefix) => prefix.there(store)?,
        };
        names.retain(|name| part::is_part(name));
        Ok(names)
    }

    fn put(&self, name: &str, bytes: Vec<u8>, store: &dyn ObjectStore) -> Result<(), PutError> {
        match self {
            Self::Folder(path) => Ok(out::write_file(&path.join(name), &bytes)?),
            Self::Bucket(prefix) => Ok(prefix.put(store, name, bytes)?),
        }
    }
}

/// Why a part could not be written.
#[derive(Debug, thiserror::Error)]
enum PutError {
    #[error("{0}")]
    File(#[from] Failure),
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// What a batch came to.
struct Done {
    report: Report,
    problems: Vec<Problem>,
    /// Bytes of the part; `None` when it was there.
    written: Option<u64>,
}

/// Runs the command and gives its exit code.
///
/// # Errors
///
/// [`Failure`].
pub fn run(args: &args::Extract, host: &mut Host) -> Result<u8, Failure> {
    let started = Instant::now();
    let destination = args::Destination {
        output: None,
        quiet: args.quiet,
        no_progress: args.no_progress,
    };
    let settings = Settings::plain(&args.input, &destination, host)?;
    if settings.reads_stdin() {
        let message = "extract reads files and S3, not standard input: a part names the objects that it came from";
        return Err(Failure::Usage(message.to_owned()));
    }
    let rules = rules_and_policy::rules(&args.files)?.set;
    let place = Place::of(&args.output);
    let connection = aws::connect(&settings, matches!(place, Place::Bucket(..)))?;
    let store = store(connection.as_ref(), &settings.aws);
    let mut there = place.parts(&*store)?;
    if args.force {
        there.clear();
    }
    let mut found = session::walk(&settings, &*store, false);
    found.objects.retain(|object| !object.is_part);
    let header = Header::new(&rules, &settings.selection);
    let progress = bytes_bar(&settings, &found.objects);
    let batches = batches::by_delivery(&found.objects, args.part_size, usize::MAX);
    let job = Job {
        header: &header,
        selection: &settings.selection,
        store: &*store,
        progress: &progress,
    };
    let threads = readers(settings.threads, &found.objects);
    let done = parallel::map(threads, &batches, |batch| {
        let name = job.name(batch);
        if there.contains(&name) {
            progress.inc(batch.iter().map(|object| object.size()).sum());
            return Ok(Done {
                report: Report::default(),
                problems: Vec::new(),
                written: None,
            });
        }
        let (bytes, report, problems) = job.extract(batch);
        let written = Some(bytes.len() as u64);
        place.put(&name, bytes, &*store).map(|()| Done {
            report,
            problems,
            written,
        })
    });
    progress.finish_and_clear();
    let mut report = found.report;
    let mut problems = found.problems;
    let (mut bytes, mut written, mut kept) = (0, 0_u64, 0_u64);
    for done in done {
        let done = done.map_err(|error| Failure::Output {
            name: args.output.display().to_string(),
            error: std::io::Error::other(error.to_string()),
        })?;
        report.add(&done.report);
        problems.extend(done.problems);
        match done.written {
            Some(length) => (bytes, written) = (bytes + length, written + 1),
            None => kept += 1,
        }
    }
    problems.sort();
    let code = input_code(&problems, host);
    if !settings.quiet {
        let mut lines = run_summary::read(&report, settings.threads, started.elapsed());
        let share = report
            .bytes
            .checked_div(bytes)
            .map(|times| format!(", one byte for {}", number(times)));
        let share = share.unwrap_or_default();
        let (bytes, kept) = (number(bytes), number(kept));
        lines.push(format!(
            "parts          {} written ({bytes} bytes{share}), {kept} were there",
            number(written)
        ));
        say(host, &run_summary::said(&lines));
    }
    Ok(code)
}

/// What all batches have in common.
struct Job<'j> {
    header: &'j Header,
    selection: &'j Selection,
    store: &'j dyn ObjectStore,
    progress: &'j indicatif::ProgressBar,
}

impl Job<'_> {
    /// The name of the part of a batch: by what it is made of, and for what.
    fn name(&self, batch: &[&Object]) -> String {
        part::name(
            self.header,
            batch
                .iter()
                .map(|object| (object.name.clone(), object.tag())),
        )
    }

    fn extract(&self, batch: &[&Object]) -> (Vec<u8>, Report, Vec<Problem>) {
        let none = RuleSet::default();
        let scanner = Scanner::new(&none, self.selection).keeping(self.header.calls.clone());
        let (mut report, mut problems) = (Report::default(), Vec::new());
        let mut reader = Reader::new(scanner, self.store, self.progress);
        let mut one = |object: &&Object| {
            let (mut harvest, origin) = (Harvest::default(), origin(object));
            let result = reader.read(object, &origin, &mut harvest);
            let fate = harvest.report.settle(
                result.map_err(|error| error.to_string()),
                object.in_tree,
                object.explicit,
            );
            problems.extend(untold(&object.name, &fate, &harvest.report.records_skipped));
            report.add(&harvest.report);
            Extracted::of(&origin, object.tag(), object.in_tree, &fate, &mut harvest)
        };
        let objects = batch.iter().map(&mut one).collect();
        (part::write(self.header, objects), report, problems)
    }
}
