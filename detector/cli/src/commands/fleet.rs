//! The `fleet` commands: an extraction planned here, done by Step Functions and Lambda where the
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

use secretrail_engine::manifest::Batch;

use self::items::{Items, MOST_ITEMS};
use self::reached::{Execution, ReachedJob};
use self::watch::Watch;
use crate::args::fleet::{FleetCommand, Job, Run};
use crate::host::{Failure, Host};

/// Runs the command and gives its exit code.
///
/// # Errors
///
/// [`Failure`].
pub fn run(command: &FleetCommand, host: &mut Host) -> Result<u8, Failure> {
    match command {
        FleetCommand::Plan(args) => plan::run(args, host),
        FleetCommand::Run(args) | FleetCommand::Resume(args) => start(args, host),
        FleetCommand::Status(args) => status(args, host),
    }
}

/// Starts what is missing of a job and watches it to its end.
fn start(args: &Run, host: &mut Host) -> Result<u8, Failure> {
    let job = ReachedJob::open(&args.job)?;
    let there = job.there()?;
    let under_way = job.under_way(&there)?;
    let missing = job.missing(&there);
    let mut watch = Watch::new(&job.machines, missing.len(), &args.job, host);
    // What runs already makes parts that would otherwise be made twice.
    let (joined, missing) = match under_way {
        Some(Execution { arn, .. }) => {
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
    args: &Run,
    job: &ReachedJob,
    missing: &[&Batch],
    watch: &mut Watch<'_>,
    host: &mut Host,
) -> Result<Option<Execution>, Failure> {
    let mut last = None;
    // Not side by side: how many invocations run at the same time is limited in each execution.
    let rows = items::rows(&job.manifest, missing, &job.place);
    for (number, rows) in rows.chunks(MOST_ITEMS).enumerate() {
        let items = Items::of(number, rows);
        let arn = job.start(&args.state_machine, items, host.now)?;
        last = Some(watch.until_end(arn, host)?);
    }
    Ok(last)
}

/// Says how far a job is.
fn status(args: &Job, host: &mut Host) -> Result<u8, Failure> {
    let job = ReachedJob::open(args)?;
    let execution = job.last_execution(&job.there()?)?;
    status::tell(&job, execution.as_ref(), args.quiet, host)
}
