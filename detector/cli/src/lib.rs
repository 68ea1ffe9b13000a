//! The offline face: arguments to settings, settings to a run. [`run`] is the whole command without its process, so that
//! tests can call it.

pub mod args;
pub mod baseline;
pub mod checkpoint;
pub mod closing;
pub mod compare;
pub mod config;
pub mod exit;
pub mod explain;
pub mod extract;
pub mod fleet;
pub mod gaps;
pub mod load;
pub mod output;
pub mod read;
pub mod reduce;
pub mod remote;
pub mod replay;
pub mod report;
pub mod rules;
pub mod settings;
pub mod summary;
pub mod verify;
pub mod walk;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use ahash::HashSet;
use clap::{CommandFactory, Parser};
use secretrail_engine::access::Access;
use secretrail_engine::alert::Alert;
use secretrail_engine::coverage::CoverageMark;
use secretrail_engine::gaps::Delivery;
use secretrail_engine::pipeline::Pipeline;
use secretrail_engine::policy::Policy;
use secretrail_engine::report::Report;
use secretrail_engine::rule::RuleSet;
use secretrail_engine::state::memory::MemoryStore;
use secretrail_engine::time::EventTime;

use crate::args::{Cli, Command};
use crate::checkpoint::Checkpoint;
use crate::output::Out;
use crate::remote::Reach;
use crate::settings::Settings;
use crate::walk::{Object, Objects, Problem};

/// What the command has from its process.
pub struct Host {
    /// Standard input.
    pub stdin: Box<dyn Read + Send>,
    /// Standard output: data only.
    pub stdout: Box<dyn Write>,
    /// Standard error: everything else.
    pub stderr: Box<dyn Write>,
    /// Whether standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether standard error is a terminal.
    pub stderr_is_terminal: bool,
    /// Whether `NO_COLOR` is set.
    pub no_color: bool,
    /// Where defaults of options are.
    pub config: Option<config::Source>,
    /// The time now.
    pub now: EventTime,
}

/// Why a run ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Rules or policy.
    #[error("{0}")]
    Rules(String),
    /// Input without which there is nothing to do.
    #[error("{0}")]
    Input(String),
    /// Arguments that clap cannot judge.
    #[error("{0}")]
    Usage(String),
    /// The output.
    #[error("cannot write {name}: {error}")]
    Output {
        /// Where to.
        name: String,
        /// Why not.
        error: io::Error,
    },
    /// A fault of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

/// Runs the command and gives its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>, host: &mut Host) -> u8 {
    let args = match config::with_defaults(
        Cli::command,
        args.into_iter().collect(),
        host.config.as_ref(),
    ) {
        Ok(args) => args,
        Err(failure) => {
            say(host, &format!("secretrail: {failure}\n"));
            return exit::USAGE;
        }
    };
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            say(host, &error.render().to_string());
            return exit::USAGE;
        }
        Err(help) => {
            // Nobody is left to be told that help could not be printed.
            host.stdout
                .write_all(help.render().to_string().as_bytes())
                .ok();
            return exit::DONE;
        }
    };
    match execute(cli.command, host) {
        Ok(code) => code,
        Err(Failure::Output { error, .. }) if error.kind() == io::ErrorKind::BrokenPipe => {
            exit::DONE
        }
        Err(failure) => {
            say(host, &format!("secretrail: {failure}\n"));
            match failure {
                Failure::Rules(_) => exit::RULES,
                Failure::Input(_) => exit::INPUT,
                Failure::Usage(_) => exit::USAGE,
                Failure::Output { .. } | Failure::Internal(_) => exit::OUTPUT,
            }
        }
    }
}

/// Standard error may be closed, and then nobody wants to know.
fn say(host: &mut Host, text: &str) {
    host.stderr
        .write_all(text.as_bytes())
        .and_then(|()| host.stderr.flush())
        .ok();
}

/// Data to standard output.
fn print(host: &mut Host, text: &str) -> Result<(), Failure> {
    let written = host
        .stdout
        .write_all(text.as_bytes())
        .and_then(|()| host.stdout.flush());
    written.map_err(|error| Failure::Output {
        name: "standard output".to_owned(),
        error,
    })
}

/// What a run found.
struct Found {
    alerts: Vec<Alert>,
    accesses: Vec<Arc<Access>>,
    report: Report,
    problems: Vec<Problem>,
    objects: Vec<Object>,
    /// Places and times of delivery of all objects of which they are known.
    deliveries: Vec<Delivery>,
    /// Where KMS events were seen.
    coverage: HashSet<CoverageMark>,
    /// What the objects were read through.
    reach: Reach,
}

impl Found {
    /// Nothing, in these objects.
    fn nothing(objects: Vec<Object>, reach: Reach) -> Self {
        Self {
            alerts: Vec::new(),
            accesses: Vec::new(),
            report: Report::default(),
            problems: Vec::new(),
            objects,
            deliveries: Vec::new(),
            coverage: HashSet::default(),
            reach,
        }
    }
}

/// What is to be read, and through what.
struct Opened {
    reach: Reach,
    objects: Objects,
}

impl Opened {
    /// Finds the objects under the paths.
    fn new(settings: &Settings) -> Result<Self, Failure> {
        let reach = Reach::new(settings, false)?;
        let objects = reach.walk(settings, false);
        Ok(Self { reach, objects })
    }
}

fn execute(command: Command, host: &mut Host) -> Result<u8, Failure> {
    let started = Instant::now();
    match command {
        Command::Replay(args) => replay::run(&args, host),
        Command::Gaps(args) => gaps::run(&args, host),
        Command::Verify(args) => verify::run(&args, host),
        Command::Summary(args) => summary::run(&args, host),
        Command::Extract(args) => extract::run(&args, host),
        Command::Fleet(command) => fleet::run(&command, host),
        Command::Explain(args) => explain::run(&args, host),
        Command::Baseline(args) => baseline::run(&args, host),
        Command::Rules(command) => rules::run(&command, host),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "secretrail", &mut text);
            print(host, &String::from_utf8_lossy(&text)).map(|()| exit::DONE)
        }
        Command::Man => print(host, &manual()?).map(|()| exit::DONE),
        Command::Accesses(args) => {
            let settings = Settings::new(&args.input, &args.output, host)?;
            if settings.format != args::Format::Parquet {
                settings.must_be_rows("accesses")?;
            }
            let mut out = Out::open(&settings)?;
            let (rules, opened) = (RuleSet::default(), Opened::new(&settings)?);
            let found = if reduce::fits(&opened, &settings) {
                reduce::run(opened, &settings, &rules, None, host.now, &mut |outcome| {
                    out.accesses(&outcome.accesses)?;
                    out.pass_on(host)
                })?
            } else {
                let found = find_in(opened, &settings, &rules, None, host)?;
                out.accesses(&found.accesses)?;
                found
            };
            out.finish(host)?;
            let code = close(&settings, &found, started, None, host);
            std::mem::forget(found);
            Ok(code)
        }
    }
}

/// The manual page: the command, then each of its subcommands.
fn manual() -> Result<String, Failure> {
    let mut page = Vec::new();
    let mut command = Cli::command();
    command.build();
    let write = |command: &clap::Command, page: &mut Vec<u8>| {
        clap_mangen::Man::new(command.clone()).render(page)
    };
    let all = std::iter::once(&command)
        .chain(command.get_subcommands().filter(|c| c.get_name() != "help"));
    for command in all {
        write(command, &mut page).map_err(|error| Failure::Internal(error.to_string()))?;
    }
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Reads everything and takes it through the pipeline as one batch.
fn find(
    settings: &Settings,
    rules: &RuleSet,
    policy: Option<&Policy>,
    host: &mut Host,
) -> Result<Found, Failure> {
    find_in(Opened::new(settings)?, settings, rules, policy, host)
}

fn find_in(
    opened: Opened,
    settings: &Settings,
    rules: &RuleSet,
    policy: Option<&Policy>,
    host: &mut Host,
) -> Result<Found, Failure> {
    let Opened { reach, objects } = opened;
    let fetch = |object: &walk::Remote| reach.fetch(object);
    let progress = settings.progress(&objects.objects);
    let checkpoint = settings.checkpoint.as_deref();
    let checkpoint = checkpoint
        .map(|path| Checkpoint::open(path, rules, &settings.selection))
        .transpose()?;
    if let Some(checkpoint) = checkpoint
        .as_ref()
        .filter(|checkpoint| !checkpoint.is_empty() && !settings.quiet)
    {
        let (count, name) = (closing::number(checkpoint.len() as u64), checkpoint.name());
        say(
            host,
            &format!("secretrail: {count} files were read by an earlier run, as {name} says\n"),
        );
    }
    let task = read::Task {
        objects: &objects.objects,
        rules,
        selection: &settings.selection,
        threads: settings.threads,
        checkpoint: checkpoint.as_ref(),
    };
    let sources = read::Sources {
        stdin: &mut *host.stdin,
        fetch: &fetch,
    };
    let mut reading = read::read(&task, sources, &progress);
    progress.finish_and_clear();
    if !reading.refused.is_empty() {
        return Err(Failure::Rules(closing::refused(&reading.refused)));
    }
    let everything = reading.problems.is_empty() && objects.problems.is_empty();
    if let Some(message) = checkpoint.and_then(|checkpoint| checkpoint.close(everything)) {
        say(host, &format!("secretrail: {message}\n"));
    }
    let mut report = objects.report;
    report.add(&std::mem::take(&mut reading.harvest.report));
    let mut problems = objects.problems;
    problems.extend(reading.problems);
    let of = |object: &Object| {
        let (account, region) = object.home.as_ref()?;
        Some((
            account.as_str().into(),
            region.as_str().into(),
            object.delivered?,
        ))
    };
    let mut deliveries = std::mem::take(&mut reading.deliveries);
    deliveries.extend(objects.objects.iter().filter_map(of));
    let coverage = reading.harvest.coverage.clone();
    let pipeline = pipeline(settings, rules, policy);
    let store = MemoryStore::default();
    let newest = reading
        .harvest
        .observations
        .iter()
        .map(|end| end.delivered)
        .max();
    let now = pipeline.time(host.now, newest);
    let internal =
        |error: secretrail_engine::state::StateError| Failure::Internal(error.to_string());
    let mut outcome =
        pollster::block_on(pipeline.run(&store, reading.harvest, now)).map_err(internal)?;
    report.add(&outcome.report);
    let pending = pollster::block_on(pipeline.pending(&store)).map_err(internal)?;
    report.add(&pending.report);
    if !pending.accesses.is_empty() {
        outcome.accesses.extend(pending.accesses);
        outcome
            .accesses
            .sort_by(|a, b| a.ledger_order().cmp(&b.ledger_order()));
    }
    // The process is about to end: giving millions of pieces of memory back one by one would only delay it.
    std::mem::forget(store);
    Ok(Found {
        alerts: outcome.alerts,
        accesses: outcome.accesses,
        report,
        problems,
        deliveries,
        objects: objects.objects,
        coverage,
        reach,
    })
}

/// The path as this run is set.
fn pipeline<'a>(
    settings: &'a Settings,
    rules: &'a RuleSet,
    policy: Option<&'a Policy>,
) -> Pipeline<'a> {
    let Settings {
        threads,
        memory,
        selection,
        ..
    } = settings;
    Pipeline {
        threads: *threads,
        memory: *memory,
        ..Pipeline::new(rules, policy, selection)
    }
}

/// Says what could not be read and what was, and gives the exit code of the input.
fn close(
    settings: &Settings,
    found: &Found,
    started: Instant,
    rules: Option<usize>,
    host: &mut Host,
) -> u8 {
    let code = input_code(&found.problems, host);
    if !settings.quiet {
        say(
            host,
            &closing::words(&found.report, settings.threads, started.elapsed(), rules),
        );
    }
    code
}

/// Says what could not be read, and gives the exit code of the input.
fn input_code(problems: &[Problem], host: &mut Host) -> u8 {
    say(host, &closing::problems(problems));
    if problems.is_empty() {
        exit::DONE
    } else {
        exit::INPUT
    }
}
