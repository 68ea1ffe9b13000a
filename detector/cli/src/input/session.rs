//! A run over logs: finds the objects under its paths, reads them on several threads and evaluates
//! them as one batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::HashSet;
use secretrail_engine::access::Access;
use secretrail_engine::alert::Alert;
use secretrail_engine::coverage::CoverageMark;
use secretrail_engine::gaps::LogDelivery;
use secretrail_engine::pipeline::{BatchOutcome, Pipeline};
use secretrail_engine::policy::AccessPolicy;
use secretrail_engine::report::ReadReport;
use secretrail_engine::rule::RuleSet;
use secretrail_engine::sanitize;
use secretrail_engine::scan::ScanResult;
use secretrail_engine::selection::SelectionTally;
use secretrail_engine::state::StateError;
use secretrail_engine::state::memory::MemoryStore;
use secretrail_engine::time::EventTime;

use super::checkpoint::Checkpoint;
use super::object::{InputObject, InputProblem};
use super::progress::bytes_bar;
use super::read;
use super::reading::ReadingResult;
use super::s3::store;
use super::store::ObjectStore;
use super::unmatched::UnmatchedPatterns;
use super::walk::{self, WalkedObjects};
use super::{aws, manifest};
use crate::args::settings::RunSettings;
use crate::host::{ProcessHost, RunFailure, say};
use crate::text::{number, plural};

/// The result of a run.
pub(crate) struct SessionResult {
    pub(crate) alerts: Vec<Alert>,
    pub(crate) accesses: Vec<Arc<Access>>,
    pub(crate) report: ReadReport,
    pub(crate) problems: Vec<InputProblem>,
    pub(crate) objects: Vec<InputObject>,
    /// Deliveries of all objects with a known account, region and time.
    pub(crate) deliveries: Vec<LogDelivery>,
    /// Accounts, regions and hours with KMS events.
    pub(crate) coverage: HashSet<CoverageMark>,
    /// The store of the objects in S3.
    pub(crate) store: Box<dyn ObjectStore>,
    /// What the selection by time, account and region took and left out.
    pub(crate) selected: SelectionTally,
    /// One line for each pattern of the filter that matched nothing.
    pub(crate) unmatched: Vec<String>,
}

impl SessionResult {
    /// An empty result for these objects.
    pub(crate) fn nothing(objects: Vec<InputObject>, store: Box<dyn ObjectStore>) -> Self {
        Self {
            alerts: Vec::new(),
            accesses: Vec::new(),
            report: ReadReport::default(),
            problems: Vec::new(),
            objects,
            deliveries: Vec::new(),
            coverage: HashSet::default(),
            store,
            selected: SelectionTally::default(),
            unmatched: Vec::new(),
        }
    }
}

/// The objects to read, and the store of those in S3.
pub(crate) struct OpenedInput {
    pub(crate) store: Box<dyn ObjectStore>,
    pub(crate) objects: WalkedObjects,
}

impl OpenedInput {
    /// Finds the objects under the paths.
    pub(crate) fn new(settings: &RunSettings) -> Result<Self, RunFailure> {
        // A run over files needs no connection: loading the AWS configuration costs time, and a
        // broken one must not stop the run.
        let connection = aws::connect(settings, false)?;
        let store = store(connection.as_ref(), &settings.aws);
        let objects = walk(settings, &*store, false);
        Ok(Self { store, objects })
    }
}

/// Finds the objects under the paths of a run: logs, and with `digests` also digests. Missing
/// extract files of backfill jobs are among the problems.
pub(crate) fn walk(
    settings: &RunSettings,
    store: &dyn ObjectStore,
    digests: bool,
) -> WalkedObjects {
    let mut objects = walk::walk(&settings.paths, &settings.selection, store, digests);
    manifest::check(&mut objects, store);
    objects
}

/// Finds the logs to extract under the paths of a run, without extract files among them.
pub(crate) fn logs(settings: &RunSettings, store: &dyn ObjectStore) -> WalkedObjects {
    let mut found = walk(settings, store, false);
    // The destination may lie below the paths: an earlier extract must not be extracted again.
    found.objects.retain(|object| !object.is_extract_file);
    found
}

/// Finds, reads and evaluates everything as one batch.
pub(crate) fn find(
    settings: &RunSettings,
    rules: &RuleSet,
    policy: Option<&AccessPolicy>,
    host: &mut ProcessHost,
) -> Result<SessionResult, RunFailure> {
    find_in(OpenedInput::new(settings)?, settings, rules, policy, host)
}

/// Reads and evaluates objects as one batch.
pub(crate) fn find_in(
    opened: OpenedInput,
    settings: &RunSettings,
    rules: &RuleSet,
    policy: Option<&AccessPolicy>,
    host: &mut ProcessHost,
) -> Result<SessionResult, RunFailure> {
    let OpenedInput { store, objects } = opened;
    let mut reading = read_all(&objects, settings, rules, &*store, host)?;
    let mut report = objects.report;
    report.add(&std::mem::take(&mut reading.scan_result.report));
    let mut problems = objects.problems;
    problems.extend(reading.problems);
    let mut deliveries = reading.deliveries;
    deliveries.extend(objects.objects.iter().filter_map(delivery));
    // Cloned: the pipeline consumes it, and the gaps are computed after the run.
    let coverage = reading.scan_result.coverage.clone();
    let mut selected = objects.selected;
    selected.add(&reading.scan_result.selected);
    let mut patterns = UnmatchedPatterns::new(&settings.selection);
    patterns.see(&reading.scan_result.observations);
    let pipeline = pipeline(settings, rules, policy);
    let outcome = take_in(&pipeline, reading.scan_result, host.now)?;
    report.add(&outcome.report);
    Ok(SessionResult {
        alerts: outcome.alerts,
        accesses: outcome.accesses,
        report,
        problems,
        deliveries,
        objects: objects.objects,
        coverage,
        store,
        selected,
        unmatched: patterns.lines(),
    })
}

/// Reads every object that is not in the checkpoint, and records it there.
fn read_all(
    objects: &WalkedObjects,
    settings: &RunSettings,
    rules: &RuleSet,
    store: &dyn ObjectStore,
    host: &mut ProcessHost,
) -> Result<ReadingResult, RunFailure> {
    let progress = bytes_bar(settings, &objects.objects);
    let checkpoint = match &settings.checkpoint {
        Some(path) => Some(Checkpoint::open(path, rules, &settings.selection)?),
        None => None,
    };
    if let Some(checkpoint) = &checkpoint {
        say_resumed(checkpoint, settings, host);
    }
    let task = read::ReadTask {
        objects: &objects.objects,
        rules,
        selection: &settings.selection,
        threads: settings.threads,
        checkpoint: checkpoint.as_ref(),
    };
    let sources = read::RemoteSources {
        stdin: &mut *host.stdin,
        store,
    };
    let reading = read::read(&task, sources, &progress);
    progress.finish_and_clear();
    if !reading.refused.is_empty() {
        return Err(refused(&reading.refused));
    }
    // The checkpoint stays while anything is left for another run, such as a path that was not
    // found.
    let everything = reading.problems.is_empty() && objects.problems.is_empty();
    if let Some(message) = checkpoint.and_then(|checkpoint| checkpoint.close(everything)) {
        say(host, &format!("secretrail: {message}\n"));
    }
    Ok(reading)
}

fn say_resumed(checkpoint: &Checkpoint, settings: &RunSettings, host: &mut ProcessHost) {
    if checkpoint.is_empty() || settings.quiet {
        return;
    }
    let (files, name) = (plural(checkpoint.len() as u64, "file"), checkpoint.name());
    let text = format!("secretrail: resuming from {name}: {files} already read\n");
    say(host, &text);
}

/// The delivery of an object; `None` if its path lacks account, region or time.
fn delivery(object: &InputObject) -> Option<LogDelivery> {
    let (account, region) = object.home.as_ref()?;
    Some(LogDelivery {
        account: account.as_str().into(),
        region: region.as_str().into(),
        time: object.delivered?,
    })
}

/// Evaluates a scan result, with a store in memory.
fn take_in(
    pipeline: &Pipeline<'_>,
    scan_result: ScanResult,
    now: EventTime,
) -> Result<BatchOutcome, RunFailure> {
    let store = MemoryStore::default();
    let newest = scan_result
        .observations
        .iter()
        .map(|end| end.delivered)
        .max();
    let now = pipeline.time(now, newest);
    let mut outcome =
        pollster::block_on(pipeline.run(&store, scan_result, now)).map_err(internal)?;
    let pending = pollster::block_on(pipeline.pending(&store)).map_err(internal)?;
    outcome.report.add(&pending.report);
    if !pending.accesses.is_empty() {
        outcome.accesses.extend(pending.accesses);
        outcome
            .accesses
            .sort_by(|a, b| a.ledger_order().cmp(&b.ledger_order()));
    }
    // The process is about to end: freeing millions of allocations one by one would only delay it.
    std::mem::forget(store);
    Ok(outcome)
}

/// The store in memory fails only because of a bug.
pub(crate) fn internal(error: StateError) -> RunFailure {
    RunFailure::Internal(error.to_string())
}

/// The pipeline with the settings of this run.
pub(crate) fn pipeline<'a>(
    settings: &'a RunSettings,
    rules: &'a RuleSet,
    policy: Option<&'a AccessPolicy>,
) -> Pipeline<'a> {
    Pipeline {
        threads: settings.threads,
        lookback: settings.lookback,
        ..Pipeline::new(rules, policy, &settings.selection)
    }
}

/// Why extract files cannot be used: one line for each reason, even if it applies to a thousand
/// files.
pub(crate) fn refused(refused: &[InputProblem]) -> RunFailure {
    let mut reasons: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    for InputProblem { name, message } in refused {
        reasons.entry(message).or_insert((name, 0)).1 += 1;
    }
    let mut lines = Vec::new();
    for (message, (name, count)) in reasons {
        let more = if count > 1 {
            format!(" and {} more", number(count as u64 - 1))
        } else {
            String::new()
        };
        lines.push(format!(
            "{}{more}: {}",
            sanitize::line(name),
            sanitize::line(message)
        ));
    }
    // The caller prefixes the first line.
    RunFailure::Rules(lines.join("\nsecretrail: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extract_files_that_are_refused_for_one_reason_are_one_line() {
        let problem = |name: &str, message: &str| InputProblem::new(name, message);
        let all = [
            problem("a", "was made for other rules"),
            problem("b", "is empty"),
            problem("c", "was made for other rules"),
        ];
        assert_eq!(
            refused(&all).to_string(),
            "b: is empty\nsecretrail: a and 1 more: was made for other rules"
        );
    }
}
