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

use crate::closing::{self, number};
use crate::read::{self, Reader, origin};
use crate::remote::{Prefix, Reach};
use crate::settings::Settings;
use crate::walk::{self, Object, Problem};
use crate::{Failure, Host, args, input_code, load, output, say};

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
    fn parts(&self, reach: &Reach) -> Result<BTreeSet<String>, Failure> {
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
            Self::Bucket(prefix) => prefix.there(reach)?,
        };
        names.retain(|name| part::is_part(name));
        Ok(names)
    }

    fn put(&self, name: &str, bytes: Vec<u8>, reach: &Reach) -> Result<(), String> {
        match self {
            Self::Folder(path) => {
                output::write_file(&path.join(name), &bytes).map_err(|failure| failure.to_string())
            }
            Self::Bucket(prefix) => prefix.put(reach, name, bytes),
        }
    }
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
    let rules = load::rules(&args.files)?.set;
    let place = Place::of(&args.output);
    let reach = Reach::new(&settings, matches!(place, Place::Bucket(..)))?;
    let mut there = place.parts(&reach)?;
    if args.force {
        there.clear();
    }
    let mut found = reach.walk(&settings, false);
    found.objects.retain(|object| !object.is_part);
    let header = Header::new(&rules, &settings.selection);
    let progress = settings.progress(&found.objects);
    let batches = batches(&found.objects, args.part_size, usize::MAX);
    let job = Job {
        header: &header,
        selection: &settings.selection,
        reach: &reach,
        progress: &progress,
    };
    let threads = read::readers(settings.threads, &found.objects);
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
        place.put(&name, bytes, &reach).map(|()| Done {
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
        let done = done.map_err(|message| Failure::Output {
            name: args.output.display().to_string(),
            error: std::io::Error::other(message),
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
        let mut lines = closing::read(&report, settings.threads, started.elapsed());
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
        say(host, &closing::said(&lines));
    }
    Ok(code)
}

/// Objects by their time of delivery, in batches of about so many bytes, and no more than so many objects.
pub(crate) fn batches(objects: &[Object], most_bytes: u64, most: usize) -> Vec<Vec<&Object>> {
    let mut sorted: Vec<(&Object, u64)> = objects
        .iter()
        .map(|object| (object, object.size()))
        .collect();
    sorted.sort_by(|(a, _), (b, _)| (a.delivered, &a.name).cmp(&(b.delivered, &b.name)));
    let mut batches: Vec<Vec<&Object>> = Vec::new();
    let mut bytes = 0;
    for (object, size) in sorted {
        match batches.last_mut() {
            Some(batch) if bytes + size <= most_bytes && batch.len() < most => batch.push(object),
            _ => {
                batches.push(vec![object]);
                bytes = 0;
            }
        }
        bytes += size;
    }
    batches
}

/// What all batches have in common.
struct Job<'j> {
    header: &'j Header,
    selection: &'j Selection,
    reach: &'j Reach,
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
        let fetch = |remote: &walk::Remote| self.reach.fetch(remote);
        let mut reader = Reader::new(scanner, &fetch, self.progress);
        let mut one = |object: &&Object| {
            let (mut harvest, origin) = (Harvest::default(), origin(object));
            let result = reader.read(object, &origin, &mut harvest);
            let fate = harvest
                .report
                .settle(result, object.in_tree, object.explicit);
            problems.extend(read::untold(
                &object.name,
                &fate,
                &harvest.report.records_skipped,
            ));
            report.add(&harvest.report);
            Extracted::of(&origin, object.tag(), object.in_tree, &fate, &mut harvest)
        };
        let objects = batch.iter().map(&mut one).collect();
        (part::write(self.header, objects), report, problems)
    }
}
