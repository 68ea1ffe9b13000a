//! The `backfill` commands: an extraction planned here, done by Step Functions and Lambda where the
//! logs are, and checked here.

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

use self::items::{MOST_ITEMS, MapItems};
use self::reached::{ReachedJob, StateMachineExecution};
use self::watch::RunWatcher;
use crate::args::backfill::{BackfillCommand, BackfillJobArgs, BackfillRunArgs};
use crate::host::{ProcessHost, RunFailure};

/// Runs the command and gives its exit code.
///
/// # Errors
///
/// [`Failure`].
pub fn run(command: &BackfillCommand, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    match command {
        BackfillCommand::Plan(args) => plan::run(args, host),
        BackfillCommand::Run(args) | BackfillCommand::Resume(args) => start(args, host),
        BackfillCommand::Status(args) => status(args, host),
    }
}

/// Starts what is missing of a job and watches it to its end.
fn start(args: &BackfillRunArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let job = ReachedJob::open(&args.job)?;
    let there = job.there()?;
    let under_way = job.under_way(&there)?;
    let missing = job.missing(&there);
    let mut watch = RunWatcher::new(&job.machines, missing.len(), &args.job, host);
    // What runs already makes parts that would otherwise be made twice.
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

/// Starts executions over these batches, one after the other, and gives the last. Each batch once:
/// what fails again needs somebody to look at it.
fn start_missing(
    args: &BackfillRunArgs,
    job: &ReachedJob,
    missing: &[&ManifestBatch],
    watch: &mut RunWatcher<'_>,
    host: &mut ProcessHost,
) -> Result<Option<StateMachineExecution>, RunFailure> {
    let mut last = None;
    // Not side by side: how many invocations run at the same time is limited in each execution.
    let rows = items::rows(&job.manifest, missing, &job.place);
    for (number, rows) in rows.chunks(MOST_ITEMS).enumerate() {
        let items = MapItems::of(number, rows);
        let arn = job.start(&args.state_machine, items, host.now)?;
        last = Some(watch.until_end(arn, host)?);
    }
    Ok(last)
}

/// Says how far a job is.
fn status(args: &BackfillJobArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let job = ReachedJob::open(args)?;
    let execution = job.last_execution(&job.there()?)?;
    status::tell(&job, execution.as_ref(), args.quiet, host)
}
