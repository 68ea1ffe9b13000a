//! The `fleet` commands: an extraction planned here, done by Step Functions and Lambda where the logs are, and checked here.

mod job;
mod progress;
mod step_functions;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use secretrail_engine::digest::digest;
use secretrail_engine::manifest::{self, Batch, Line, Manifest, ManifestText};
use secretrail_engine::part::Header;
use secretrail_engine::time::EventTime;

use self::job::JobPlace;
use self::progress::{Progress, State};
use self::step_functions::StepFunctions;
use crate::args::fleet::{FleetCommand, Job, Plan, Run};
use crate::args::settings::Settings;
use crate::args::{self, Aws};
use crate::exit;
use crate::host::{Failure, Host, print, say};
use crate::input::object::Object;
use crate::input::progress::parts_bar;
use crate::input::s3::store;
use crate::input::store::ObjectStore;
use crate::input::{aws, batches, manifest as job_manifest, rules_and_policy, session};
use crate::output::run_summary::{self, input_code};
use crate::text::number;

/// Batches of one execution: what its children give back, nothing each, has to fit into 256 KB.
const MOST_ITEMS: usize = 50_000;

/// Time between two looks at a job, and between two lines about it where there is no bar.
const LOOK: Duration = Duration::from_secs(2);
const LINE: Duration = Duration::from_secs(60);

/// What the estimate assumes of an invocation: seconds to start, bytes as stored in a second, seconds for a request of which
/// so many are under way, and gigabytes of memory. Assumptions, nothing of it was measured on AWS.
mod assumed {
    pub(super) const START_SECS: f64 = 0.5;
    pub(super) const BYTES_A_SEC: f64 = 40e6;
    pub(super) const OBJECT_SECS: f64 = 0.04 / 16.0;
    pub(super) const MEMORY_GB: f64 = 1.769;
}

/// Prices in dollars, us-east-1, as we know them: an estimate, to be checked against AWS.
mod price {
    pub(super) const LAMBDA_GB_SEC: f64 = 0.000_016_666_7;
    pub(super) const LAMBDA_REQUEST: f64 = 0.2e-6;
    pub(super) const S3_GET: f64 = 0.4e-6;
    pub(super) const S3_PUT: f64 = 5e-6;
    /// State transitions of the child execution of a batch, without retries.
    pub(super) const CHILD: f64 = 3.0 * 25e-6;
}

/// Runs the command and gives its exit code.
///
/// # Errors
///
/// [`Failure`].
pub fn run(command: &FleetCommand, host: &mut Host) -> Result<u8, Failure> {
    match command {
        FleetCommand::Plan(args) => plan(args, host),
        FleetCommand::Run(args) | FleetCommand::Resume(args) => start(args, host),
        FleetCommand::Status(args) => status(args, host),
    }
}

fn plan(args: &Plan, host: &mut Host) -> Result<u8, Failure> {
    let destination = args::Destination {
        output: None,
        quiet: args.quiet,
        no_progress: true,
    };
    let settings = Settings::plain(&args.input, &destination, host)?;
    let place = JobPlace::of(&args.output)?;
    let rules = rules_and_policy::rules(&args.files)?.set;
    let connection = aws::connect(&settings, true)?;
    let store = store(connection.as_ref(), &settings.aws);
    let mut found = session::walk(&settings, &*store, false);
    found.objects.retain(|object| !object.is_part);
    if let Some(local) = found
        .objects
        .iter()
        .find(|object| object.remote().is_none())
    {
        let message = format!(
            "{}: a fleet reads logs in S3; `secretrail extract` reads what is here",
            local.name
        );
        return Err(Failure::Usage(message));
    }
    let header = Header::new(&rules, &settings.selection);
    let batches = batches::by_delivery(&found.objects, args.part_size, manifest::MOST_OBJECTS);
    let batch = |objects: Vec<&Object>| {
        Batch::new(
            &header,
            objects
                .into_iter()
                .filter_map(Object::remote)
                .cloned()
                .collect(),
        )
    };
    let manifest = Manifest::new(header.clone(), batches.into_iter().map(batch).collect());
    let code = input_code(&found.problems, host);
    if manifest.batches.is_empty() {
        return Ok(exit::INPUT);
    }
    place.put(&*store, manifest::NAME, manifest.write().text)?;
    if !args.quiet {
        print(host, &estimate(&manifest, &place, args.concurrency))?;
    }
    Ok(code)
}

fn estimate(manifest: &Manifest, place: &JobPlace, concurrency: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "an estimate has two digits")]
    let float = |number: u64| number as f64;
    let head = &manifest.head;
    let (invocations, objects) = (float(head.batches), float(head.objects));
    let secs = |bytes: f64, objects: f64, invocations: f64| {
        invocations * assumed::START_SECS
            + bytes / assumed::BYTES_A_SEC
            + objects * assumed::OBJECT_SECS
    };
    let all = secs(float(head.bytes), objects, invocations);
    let of_batch =
        |batch: &Batch| secs(float(batch.bytes()), float(batch.objects.len() as u64), 1.0);
    let longest = manifest.batches.iter().map(of_batch).fold(0.0, f64::max);
    let minutes = (all / float(concurrency.min(head.batches))).max(longest) / 60.0;
    let cost = all * assumed::MEMORY_GB * price::LAMBDA_GB_SEC
        + invocations
            * (price::LAMBDA_REQUEST + price::CHILD + price::S3_PUT + 2.0 * price::S3_GET)
        + objects * price::S3_GET;
    let mut text = String::new();
    let bytes = float(head.bytes) / 1e6;
    writeln!(text, "manifest       {}", place.0.name(manifest::NAME)).ok();
    writeln!(
        text,
        "objects        {}, {bytes:.1} MB as they are stored",
        number(head.objects)
    )
    .ok();
    writeln!(
        text,
        "invocations    {}, the longest about {longest:.0} s",
        number(head.batches)
    )
    .ok();
    writeln!(
        text,
        "time           about {minutes:.1} minutes with {} at a time",
        number(concurrency)
    )
    .ok();
    writeln!(
        text,
        "cost           about {cost:.2} dollars (us-east-1, without KMS and transfer)"
    )
    .ok();
    writeln!(
        text,
        "next           secretrail fleet run {} --state-machine ARN",
        place.0.name("")
    )
    .ok();
    text
}

/// What a job is reached through.
struct Clients {
    store: Box<dyn ObjectStore>,
    machines: StepFunctions,
}

impl Clients {
    fn new(options: &Aws) -> Result<Self, Failure> {
        let connection = aws::connect_to(options)?;
        Ok(Self {
            store: store(Some(&connection), options),
            machines: StepFunctions::new(connection),
        })
    }
}

fn start(args: &Run, host: &mut Host) -> Result<u8, Failure> {
    let Job {
        job,
        aws,
        quiet,
        no_progress,
    } = &args.job;
    let (place, clients) = (JobPlace::of(job)?, Clients::new(aws)?);
    let store = &*clients.store;
    let manifest = place.manifest(store)?;
    let there = place.0.there(store)?;
    let mut last = match place.execution(store, &there)? {
        Some(arn) => {
            let progress = clients.machines.execution(&arn)?;
            progress
                .filter(|progress| progress.state == State::Runs)
                .map(|progress| (arn, progress))
        }
        None => None,
    };
    let mut missing = job_manifest::missing(&manifest, &there);
    let bar = parts_bar(
        missing.len() as u64,
        !quiet && !no_progress && host.stderr_is_terminal,
    );
    let began = Instant::now();
    let mut lines = Lines {
        machines: &clients.machines,
        bar: &bar,
        quiet: *quiet,
        began,
        told: began,
    };
    if let Some((arn, progress)) = &mut last {
        say(
            host,
            &format!("secretrail: {arn} is under way; watching it\n"),
        );
        *progress = watch(arn, &mut lines, host)?;
        missing = job_manifest::missing(&manifest, &place.0.there(store)?);
    }
    // Each batch once: what fails again needs somebody to look at it.
    for (number, rows) in rows(&manifest, &missing, &place)
        .chunks(MOST_ITEMS)
        .enumerate()
    {
        let items = format!("manifest,head,offset,length,part\n{}", rows.concat());
        let name = format!("items-{}.csv", digest(&[&items]));
        let run = format!(
            "secretrail-{}-{number}-{}",
            stamp(host.now),
            name.get(6..14).unwrap_or_default()
        );
        let ask = serde_json::json!({"bucket": place.0.bucket, "prefix": place.0.prefix, "items": place.0.key(&name)});
        place.put(store, &name, items)?;
        let arn = clients
            .machines
            .start(&args.state_machine, &run, &ask.to_string())?;
        place.put_execution(store, &arn)?;
        let progress = watch(&arn, &mut lines, host)?;
        last = Some((arn, progress));
    }
    bar.finish_and_clear();
    told(
        &place,
        &manifest,
        store,
        last.as_ref()
            .map(|(arn, progress)| (arn.as_str(), progress)),
        *quiet,
        host,
    )
}

/// Letters that names of executions may have.
fn stamp(now: EventTime) -> String {
    now.to_string().replace([':', '-'], "")
}

/// The rows that the state machine maps over: where in the manifest each missing batch is.
fn rows(manifest: &Manifest, missing: &[&Batch], place: &JobPlace) -> Vec<String> {
    let ManifestText {
        head,
        batches: lines,
        ..
    } = manifest.write();
    let missing: BTreeSet<&str> = missing.iter().map(|batch| batch.part.as_str()).collect();
    // A key with a comma or a quote is quoted.
    let key = place.0.key(manifest::NAME).replace('"', "\"\"");
    let all = manifest
        .batches
        .iter()
        .zip(lines)
        .filter(|(batch, _)| missing.contains(&*batch.part));
    let row = |(batch, line): (&Batch, Line)| {
        format!(
            "\"{key}\",{},{},{},{}\n",
            head.length, line.offset, line.length, batch.part
        )
    };
    all.map(row).collect()
}

/// How a run is watched: with a bar, or where nobody looks with a line now and then.
struct Lines<'l> {
    machines: &'l StepFunctions,
    bar: &'l ProgressBar,
    quiet: bool,
    /// When it began, and when the last line was.
    began: Instant,
    told: Instant,
}

/// Waits until an execution is over.
fn watch(arn: &str, lines: &mut Lines<'_>, host: &mut Host) -> Result<Progress, Failure> {
    let Lines { machines, bar, .. } = *lines;
    let before = bar.position();
    loop {
        let progress = machines.execution(arn)?;
        let gone = || Failure::Input(format!("{arn}: there is no such execution any more"));
        let progress = progress.ok_or_else(gone)?;
        if bar.is_hidden() && !lines.quiet && lines.told.elapsed() >= LINE {
            let now = host
                .now
                .plus(i64::try_from(lines.began.elapsed().as_secs()).unwrap_or(i64::MAX));
            let pace = progress
                .pace(now)
                .map(|pace| format!("; {pace}"))
                .unwrap_or_default();
            say(host, &format!("secretrail: {}{pace}\n", progress.words()));
            lines.told = Instant::now();
        }
        bar.set_position(before + progress.done);
        bar.set_message(format!("{} failed", progress.failed));
        if progress.state != State::Runs {
            return Ok(progress);
        }
        std::thread::sleep(LOOK);
    }
}

fn status(args: &Job, host: &mut Host) -> Result<u8, Failure> {
    let (place, clients) = (JobPlace::of(&args.job)?, Clients::new(&args.aws)?);
    let store = &*clients.store;
    let manifest = place.manifest(store)?;
    let there = place.0.there(store)?;
    let arn = place.execution(store, &there)?;
    let progress = match &arn {
        Some(arn) => clients.machines.execution(arn)?,
        None => None,
    };
    told(
        &place,
        &manifest,
        store,
        arn.as_deref().zip(progress.as_ref()),
        args.quiet,
        host,
    )
}

/// Says how far a job is, and names what is missing.
fn told(
    place: &JobPlace,
    manifest: &Manifest,
    store: &dyn ObjectStore,
    execution: Option<(&str, &Progress)>,
    quiet: bool,
    host: &mut Host,
) -> Result<u8, Failure> {
    let there = place.0.there(store)?;
    let missing = job_manifest::missing(manifest, &there);
    let runs = execution.is_some_and(|(_, progress)| progress.state == State::Runs);
    let bytes: u64 = missing.iter().map(|batch| batch.bytes()).sum();
    let mut text = String::new();
    if let Some((arn, progress)) = execution {
        writeln!(text, "execution      {arn}").ok();
        writeln!(text, "state          {}", progress.words()).ok();
        if let Some(pace) = progress.pace(host.now) {
            writeln!(text, "pace           {pace}").ok();
        }
    }
    let done = manifest.head.batches - missing.len() as u64;
    let share = manifest
        .head
        .bytes
        .saturating_sub(bytes)
        .saturating_mul(100)
        .checked_div(manifest.head.bytes);
    let share = share.unwrap_or(100);
    writeln!(
        text,
        "parts          {} of {}, {share} % of the bytes",
        number(done),
        number(manifest.head.batches)
    )
    .ok();
    if missing.is_empty() {
        writeln!(
            text,
            "next           secretrail replay {}",
            place.0.name("")
        )
        .ok();
    }
    if !quiet {
        print(host, &text)?;
    }
    if !runs {
        say(
            host,
            &run_summary::problems(&job_manifest::told(&place.0.name(""), &missing)),
        );
    }
    Ok(if missing.is_empty() {
        exit::DONE
    } else {
        exit::INPUT
    })
}
