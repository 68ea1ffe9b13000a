//! `prime`: the memory of a deployment (`seen.*`) from the logs before it. The history is replayed
//! here with the rules of the function, and what is remembered of it at the end is merged into the
//! state table, as the function merges what it sees. Its alerts are not sent.

mod function;
mod memory;
mod text;

use std::{sync::Arc, time::Instant};

use secretrail_engine::{
    ids::SharedStr,
    seen::{LookbackPeriods, SeenTimes, is_since_key},
};

use self::{
    function::PrimedFunction,
    memory::{MemoryItem, MemoryMerge, items},
    text::PrimedText,
};
use crate::{
    args::{OutputDestination, deployment::PrimeArgs, input::AwsArgs, settings::RunSettings},
    aws_api::AwsApi,
    deployment::{aws_of, table::StateTable},
    exit,
    host::{ProcessHost, RunFailure, print, say},
    input::{
        aws::connect_to,
        progress::items_bar,
        s3,
        session::{self, EvaluationTask, OpenedInput, SessionResult},
    },
    output::{ending::RunReading, run_summary::close},
};

/// Said where nothing is written because of what could not be read.
const UNREAD: &str = "nothing was written: some input could not be read, and what was only there \
    would look new; run this again when it can be read, or with --partial";

/// Said where no rule needs a memory.
const NEEDLESS: &str =
    "no rule of the function asks what was seen before: there is nothing to prime\n";

/// Times by key, in the order of the keys.
type Memory = Vec<(SharedStr, SeenTimes)>;

/// Runs the command and returns its exit code.
///
/// # Errors
///
/// [`RunFailure`]: the run ended early.
pub fn run(args: &PrimeArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let aws = aws_of(&args.stack);
    let connection = connect_to(&aws)?;
    let api = AwsApi::new(Arc::clone(&connection));
    let api = api.map_err(|error| RunFailure::Input(error.to_string()))?;
    let function = PrimedFunction::find(&api, args)?;
    let table = StateTable::new(&api, &function.table);
    let store = s3::store(Some(&connection), &aws);
    let (rules, policy) = function.rules(&table, &*store, args)?;
    if !rules.asks_for_seen() {
        print(host, NEEDLESS)?;
        return Ok(exit::DONE);
    }
    let settings = settings(args, aws, function.lookback, host)?;
    let task = EvaluationTask::new(&settings, &rules, policy.as_ref()).remembering();
    let (found, memory, code) = read(&settings, task, host)?;
    if RunReading::of(&found, &settings.selection).is_nothing() {
        return Ok(code);
    }
    if code != exit::DONE && !args.partial {
        say(host, &format!("secretrail: {UNREAD}\n"));
        return Ok(code);
    }
    let merge = MemoryMerge {
        table: &table,
        lookback: function.lookback,
        now: host.now,
        is_dry: args.dry_run,
    };
    merged(&merge, &memory, &found, &settings, host)?;
    Ok(code)
}

/// Reads the history: the counts of the run, what is remembered of it, and the exit code of the
/// input.
fn read(
    settings: &RunSettings,
    task: EvaluationTask<'_>,
    host: &mut ProcessHost,
) -> Result<(SessionResult, Memory, u8), RunFailure> {
    let started = Instant::now();
    let opened = OpenedInput::new(settings)?;
    let mut found = session::run(opened, task, host, &mut |_, _| Ok(()))?;
    let memory = std::mem::take(&mut found.memory);
    let code = close(settings, &found, started, None, host);
    Ok((found, memory, code))
}

/// Reads what the function remembers: everything within its lookback.
fn settings(
    args: &PrimeArgs,
    aws: AwsArgs,
    lookback: LookbackPeriods,
    host: &ProcessHost,
) -> Result<RunSettings, RunFailure> {
    let input = args.input(args.since.unwrap_or(lookback.lookback_secs), aws);
    let destination = OutputDestination {
        output: None,
        quiet: args.quiet,
        no_progress: args.no_progress,
    };
    let settings = RunSettings::plain(&input, &destination, host)?;
    Ok(RunSettings {
        lookback,
        ..settings
    })
}

/// Merges the memory into the table, and says what was done.
fn merged(
    merge: &MemoryMerge<'_>,
    memory: &[(SharedStr, SeenTimes)],
    found: &SessionResult,
    settings: &RunSettings,
    host: &mut ProcessHost,
) -> Result<(), RunFailure> {
    // When the logs of an account begin is written last. From then on the function takes for new
    // what it does not remember, and nothing may be missing.
    let (since, others): (Vec<MemoryItem<'_>>, Vec<_>) =
        items(memory).partition(|item| is_since_key(item.name));
    let text = PrimedText {
        table: merge.table.name,
        is_dry: merge.is_dry,
        now: merge.now,
        warm_up_secs: merge.lookback.warm_up_secs,
        span: found.report.events.span(),
        accounts: merge.accounts(&since)?,
    };
    for warning in text.warnings() {
        say(host, &format!("secretrail: warning: {warning}\n"));
    }
    let bar = items_bar(memory.len() as u64, settings.show_progress && !merge.is_dry);
    let done = merge.all(&others, &bar).and_then(|counts| {
        let begun = merge.all(&since, &bar)?;
        Ok(counts.and(begun))
    });
    bar.finish_and_clear();
    print(host, &text.lines(memory, done?))
}
