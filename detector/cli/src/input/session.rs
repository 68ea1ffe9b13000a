//! A run over logs: finds the objects under its paths, reads them on several threads, sorts what
//! they hold by time, and evaluates it slice by slice, so that memory does not grow with the
//! history.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
};

use ahash::HashSet;
use secretrail_engine::{
    access::Access,
    alert::Alert,
    coverage::CoverageHours,
    exposure::changes::VersionChanges,
    gaps::LogDelivery,
    ids::SharedStr,
    pipeline::{BatchOutcome, Pipeline, history::HistoryPipeline},
    policy::AccessPolicy,
    report::ReadReport,
    rule::RuleSet,
    sanitize,
    seen::SeenTimes,
    selection::{Selection, SelectionTally},
    state::StateError,
};

use super::{
    aws,
    between::AlertsBetween,
    checkpoint::Checkpoint,
    issues::IssueSpool,
    manifest,
    object::{InputObject, InputProblem},
    overwrite,
    progress::bytes_bar,
    read,
    reading::ReadingResult,
    runs::SortedRuns,
    s3::store,
    store::ObjectStore,
    unmatched::UnmatchedPatterns,
    walk::{self, WalkedObjects},
};
use crate::{
    args::settings::RunSettings,
    host::{ProcessHost, RunFailure, say},
    text::{number, plural},
};

/// The result of a run.
pub(crate) struct SessionResult {
    pub(crate) alerts: Vec<Alert>,
    pub(crate) accesses: Vec<Arc<Access>>,
    pub(crate) report: ReadReport,
    pub(crate) problems: Vec<InputProblem>,
    pub(crate) objects: Vec<InputObject>,
    /// Deliveries of the objects in extract files; only from [`find`].
    extracted: Vec<LogDelivery>,
    /// Accounts, regions and hours with KMS events.
    pub(crate) coverage: CoverageHours,
    /// The store of the objects in S3.
    pub(crate) store: Box<dyn ObjectStore>,
    /// The calls of the logs that issued credentials; none with rules that do not keep them.
    pub(crate) issues: IssueSpool,
    /// The changes to the versions of secrets; only from [`find`], with rules that keep them.
    pub(crate) changes: VersionChanges,
    /// What the selection by time, account and region took and left out.
    pub(crate) selected: SelectionTally,
    /// The lines of the run summary about incidents; empty where alerts were not grouped.
    pub(crate) about_incidents: Vec<String>,
    /// One line for each pattern of the filter that matched nothing.
    pub(crate) unmatched: Vec<String>,
    /// What is remembered at the end, by key; only from [`EvaluationTask::remembering`].
    #[cfg_attr(
        not(feature = "s3"),
        expect(dead_code, reason = "only `prime` asks for it, which needs AWS")
    )]
    pub(crate) memory: Vec<(SharedStr, SeenTimes)>,
}

impl SessionResult {
    /// An empty result for these objects.
    fn nothing(objects: Vec<InputObject>, store: Box<dyn ObjectStore>, issues: IssueSpool) -> Self {
        Self {
            alerts: Vec::new(),
            accesses: Vec::new(),
            report: ReadReport::default(),
            problems: Vec::new(),
            objects,
            extracted: Vec::new(),
            coverage: CoverageHours::default(),
            store,
            issues,
            changes: VersionChanges::default(),
            selected: SelectionTally::default(),
            about_incidents: Vec::new(),
            unmatched: Vec::new(),
            memory: Vec::new(),
        }
    }

    /// Deliveries of all objects with a known account, region and time.
    pub(crate) fn deliveries(&self) -> impl Iterator<Item = LogDelivery> {
        let extracted = self.extracted.iter().cloned();
        extracted.chain(self.objects.iter().filter_map(delivery))
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
        let objects = walk(settings, &*store, false)?;
        Ok(Self { store, objects })
    }
}

/// Finds the objects under the paths of a run: logs, and with `digests` also digests. Missing
/// extract files of backfill jobs are among the problems.
///
/// # Errors
///
/// [`RunFailure::Usage`]: an output is one of them.
pub(crate) fn walk(
    settings: &RunSettings,
    store: &dyn ObjectStore,
    digests: bool,
) -> Result<WalkedObjects, RunFailure> {
    let mut objects = walk::walk(&settings.paths, &settings.selection, store, digests);
    manifest::check(&mut objects, &settings.selection, store);
    overwrite::refuse_found(settings.written(), &objects.objects)?;
    Ok(objects)
}

/// Finds the logs to extract under the paths of a run, without extract files among them.
pub(crate) fn logs(
    settings: &RunSettings,
    store: &dyn ObjectStore,
) -> Result<WalkedObjects, RunFailure> {
    let mut found = walk(settings, store, false)?;
    // The destination may lie below the paths: an earlier extract must not be extracted again.
    found.objects.retain(|object| !object.is_extract_file);
    Ok(found)
}

/// Finds, reads and evaluates everything, and returns all results at once.
pub(crate) fn find(
    settings: &RunSettings,
    rules: &RuleSet,
    policy: Option<&AccessPolicy>,
    host: &mut ProcessHost,
) -> Result<SessionResult, RunFailure> {
    let mut all = BatchOutcome::default();
    let mut changes = VersionChanges::default();
    let opened = OpenedInput::new(settings)?;
    let task = EvaluationTask {
        keeps_deliveries: true,
        ..EvaluationTask::new(settings, rules, policy)
    };
    let found = run(opened, task, host, &mut |mut outcome, _| {
        all.alerts.append(&mut outcome.alerts);
        all.accesses.append(&mut outcome.accesses);
        changes.add(&outcome.changes);
        Ok(())
    })?;
    Ok(SessionResult {
        alerts: all.alerts,
        accesses: all.accesses,
        changes,
        ..found
    })
}

/// What is evaluated, and how.
#[derive(Clone, Copy)]
pub(crate) struct EvaluationTask<'t> {
    settings: &'t RunSettings,
    rules: &'t RuleSet,
    policy: Option<&'t AccessPolicy>,
    keeps_deliveries: bool,
    remembers: bool,
    /// The selection whose patterns should match something.
    asked: &'t Selection,
}

impl<'t> EvaluationTask<'t> {
    /// An evaluation with these rules and this policy.
    pub(crate) fn new(
        settings: &'t RunSettings,
        rules: &'t RuleSet,
        policy: Option<&'t AccessPolicy>,
    ) -> Self {
        Self {
            settings,
            rules,
            policy,
            keeps_deliveries: false,
            remembers: false,
            asked: &settings.selection,
        }
    }

    /// For a run whose memory is asked for: what rules about novelty would know after it.
    #[cfg(feature = "s3")]
    pub(crate) fn remembering(self) -> Self {
        Self {
            remembers: true,
            ..self
        }
    }

    /// For a run that reads more than was asked for, and selects from it by itself.
    pub(crate) fn asked(self, asked: &'t Selection) -> Self {
        Self { asked, ..self }
    }
}

/// Receives the results of a run, slice by slice, in order of time.
pub(crate) type Emit<'e> = dyn FnMut(BatchOutcome, &mut ProcessHost) -> Result<(), RunFailure> + 'e;

/// Reads all objects, and emits their results slice by slice, in order of time. The returned result
/// has everything else: counts and problems.
///
/// Events are sorted by time first; beyond the budget of the settings in temporary files.
///
/// # Errors
///
/// [`RunFailure`]: extract files cannot replace their logs in this run, temporary files cannot be
/// written, or `emit` failed.
pub(crate) fn run(
    opened: OpenedInput,
    task: EvaluationTask<'_>,
    host: &mut ProcessHost,
    emit: &mut Emit<'_>,
) -> Result<SessionResult, RunFailure> {
    let OpenedInput { store, objects } = opened;
    let settings = task.settings;
    let runs = SortedRuns::new(&settings.temp_dir, settings.held_bytes);
    let mut reading = read_all(&objects, task, &*store, &runs, host)?;
    let mut silences = silences(&objects.objects, &mut reading, settings, host);
    let mut report = objects.report;
    report.add(&std::mem::take(&mut reading.scan_result.report));
    report.conflicting_copies = runs.conflicting_copies()?;
    let mut problems = objects.problems;
    problems.extend(reading.problems);
    let mut selected = objects.selected;
    selected.add(&reading.scan_result.selected);
    let mut patterns = UnmatchedPatterns::new(task.asked);
    let pipeline = pipeline(settings, task.rules, task.policy);
    let history = history(&pipeline, &reading.coverage, &runs, host)?;
    let memory = evaluate(
        history,
        &runs,
        task.remembers,
        &mut patterns,
        &mut |mut outcome| {
            silences.put_into(&mut outcome);
            report.add(&outcome.report);
            emit(outcome, host)
        },
    )?;
    if let Some(outcome) = silences.rest() {
        report.add(&outcome.report);
        emit(outcome, host)?;
    }
    Ok(SessionResult {
        report,
        problems,
        extracted: reading.deliveries,
        coverage: reading.coverage,
        selected,
        unmatched: patterns.lines(),
        memory,
        ..SessionResult::nothing(objects.objects, store, runs.into_issues())
    })
}

/// An evaluation that knows the hours with KMS events, and when the last event was delivered.
fn history<'p, 'a>(
    pipeline: &'p Pipeline<'a>,
    coverage: &CoverageHours,
    runs: &SortedRuns,
    host: &ProcessHost,
) -> Result<HistoryPipeline<'p, 'a>, RunFailure> {
    let mut history = HistoryPipeline::new(pipeline, host.now);
    let coverage = coverage.by_place().map(|marks| (marks, None));
    for (marks, newest) in coverage.chain([(HashSet::default(), runs.newest())]) {
        pollster::block_on(history.mark(marks, newest)).map_err(internal)?;
    }
    Ok(history)
}

/// The alerts about accounts and regions whose logs stay away at the end, while others go on. None
/// in a run that asks for single principals or secrets.
fn silences(
    objects: &[InputObject],
    reading: &mut ReadingResult,
    settings: &RunSettings,
    host: &ProcessHost,
) -> AlertsBetween {
    let selection = &settings.selection;
    if !selection.filter.is_empty() {
        return AlertsBetween::new(Vec::new());
    }
    let mut delivering = std::mem::take(&mut reading.delivering);
    for LogDelivery {
        account,
        region,
        time,
    } in objects.iter().filter_map(delivery)
    {
        // A time that is ahead of the clock would make all others late.
        delivering.add(&account, &region, time.min(host.now));
    }
    let mut alerts = delivering.silences();
    alerts.retain(|alert| selection.contains(alert.time));
    AlertsBetween::new(alerts)
}

/// Evaluates all events in slices by time, and returns what is remembered at the end, if that is
/// asked for. A thread merges the next slice while one is evaluated.
fn evaluate(
    mut history: HistoryPipeline<'_, '_>,
    runs: &SortedRuns,
    remembers: bool,
    patterns: &mut UnmatchedPatterns<'_>,
    emit: &mut dyn FnMut(BatchOutcome) -> Result<(), RunFailure>,
) -> Result<Vec<(SharedStr, SeenTimes)>, RunFailure> {
    std::thread::scope(|scope| {
        let (sender, slices) = mpsc::sync_channel(1);
        let merge = scope.spawn(move || {
            // The receiver is gone when the run has failed.
            runs.slices(|slice, upto| sender.send((slice, upto)).is_ok())
        });
        for (slice, upto) in slices {
            patterns.see(&slice.observations);
            emit(pollster::block_on(history.advance(slice, upto)).map_err(internal)?)?;
        }
        // A panic of the merge is a bug; it is propagated.
        merge
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    if !remembers {
        emit(pollster::block_on(history.finish()).map_err(internal)?)?;
        return Ok(Vec::new());
    }
    let ended = pollster::block_on(history.finish_with_memory());
    let (outcome, memory) = ended.map_err(internal)?;
    emit(outcome)?;
    Ok(memory)
}

/// Reads every object that is not in the checkpoint, and records it there.
fn read_all(
    objects: &WalkedObjects,
    task: EvaluationTask<'_>,
    store: &dyn ObjectStore,
    runs: &SortedRuns,
    host: &mut ProcessHost,
) -> Result<ReadingResult, RunFailure> {
    let EvaluationTask {
        settings, rules, ..
    } = task;
    let progress = bytes_bar(settings, &objects.objects);
    let checkpoint = match &settings.checkpoint {
        Some(path) => {
            let (selection, paths) = (&settings.selection, &settings.paths);
            Some(Checkpoint::open(path, rules, selection, paths)?)
        }
        None => None,
    };
    if let Some(checkpoint) = &checkpoint {
        say_resumed(checkpoint, settings, host);
    }
    let task = read::ReadTask {
        objects: &objects.objects,
        rules,
        selection: &settings.selection,
        asked: task.asked,
        threads: settings.threads,
        checkpoint: checkpoint.as_ref(),
        runs,
        keeps_deliveries: task.keeps_deliveries,
    };
    let sources = read::RemoteSources {
        stdin: &mut *host.stdin,
        store,
    };
    let reading = read::read(&task, sources, &progress);
    progress.finish_and_clear();
    // Before the checkpoint is closed: what it has recorded saves the next run from reading it.
    runs.check()?;
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

/// The store in memory fails only because of a bug.
fn internal(error: StateError) -> RunFailure {
    RunFailure::Internal(error.to_string())
}

/// The pipeline with the settings of this run.
fn pipeline<'a>(
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

/// Why extract files cannot be used, which lack what the run reads: one line for each reason, even
/// if it applies to a thousand files.
fn refused(refused: &[InputProblem]) -> RunFailure {
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
    RunFailure::Input(lines.join("\nsecretrail: "))
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
        assert_eq!(refused(&all).exit_code(), crate::exit::INPUT);
        assert_eq!(
            refused(&all).to_string(),
            "b: is empty\nsecretrail: a and 1 more: was made for other rules"
        );
    }
}
