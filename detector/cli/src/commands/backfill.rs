//! `backfill`: plans an extraction, runs it in AWS with Step Functions and Lambda, and checks that
//! it is complete.

mod estimate;
mod items;
mod job;
mod plan;
mod progress;
mod reached;
mod status;
mod step_functions;
mod watch;

#[cfg(test)]
mod tests;

use secretrail_engine::manifest::ManifestBatch;

use self::{
    items::{MOST_ITEMS, MapItems},
    reached::{ReachedJob, StateMachineExecution},
    watch::RunWatcher,
};
use crate::{
    args::backfill::{BackfillCommand, BackfillJobArgs, BackfillRunArgs},
    host::{ProcessHost, RunFailure},
};

/// Runs the command and returns its exit code.
///
/// # Errors
///
/// [`RunFailure`]: the run ended early.
pub fn run(command: &BackfillCommand, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    match command {
        BackfillCommand::Plan(args) => plan::run(args, host),
        BackfillCommand::Run(args) | BackfillCommand::Resume(args) => start(args, host),
        BackfillCommand::Status(args) => status(args, host),
    }
}

/// Starts the missing batches of a job and waits for its end.
fn start(args: &BackfillRunArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let job = ReachedJob::open(&args.job)?;
    let there = job.there()?;
    let under_way = job.under_way(&there)?;
    let missing = job.missing(&there);
    let mut watch = RunWatcher::new(&job.machines, missing.len(), &args.job, host);
    // A running execution is waited for: its extract files would otherwise be made twice.
    let (joined, missing) = match under_way {
        Some(StateMachineExecution { arn, .. }) => {
            let joined = watch.joined(arn, host)?;
            (Some(joined), job.missing(&job.there()?))
        }
        None => (None, missing),
    };
    let started = start_missing(args, &job, &missing, &mut watch, host)?;
    watch.finish();
    status::tell(&job, started.or(joined).as_ref(), args.job.quiet, host)
}

/// Starts executions over these batches, one after the other, and returns the last. Each batch is
/// tried once: one that fails again needs a person to look at it.
fn start_missing(
    args: &BackfillRunArgs,
    job: &ReachedJob,
    missing: &[&ManifestBatch],
    watch: &mut RunWatcher<'_>,
    host: &mut ProcessHost,
) -> Result<Option<StateMachineExecution>, RunFailure> {
    let mut last = None;
    // One at a time: the limit of concurrent invocations applies to each execution.
    let rows = items::rows(&job.manifest, missing, &job.place);
    for (number, rows) in rows.chunks(MOST_ITEMS).enumerate() {
        let items = MapItems::of(number, rows);
        let arn = job.start(&args.state_machine, items, host.now)?;
        last = Some(watch.until_end(arn, host)?);
    }
    Ok(last)
}

/// Prints the progress of a job.
fn status(args: &BackfillJobArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let job = ReachedJob::open(args)?;
    let execution = job.last_execution(&job.there()?)?;
    status::tell(&job, execution.as_ref(), args.quiet, host)
}
