//! `backfill`: plans an extraction, runs it in AWS with Step Functions and Lambda, and checks that
//! it is complete.

mod clean;
mod estimate;
mod failed;
mod items;
mod job;
mod plan;
mod planner;
mod progress;
mod reached;
mod status;
mod step_functions;
mod watch;

#[cfg(test)]
mod tests;

use self::{
    items::execution_arn,
    job::JobLocation,
    progress::ExecutionState,
    reached::{ReachedJob, StateMachineExecution, not_arn},
    watch::RunWatcher,
};
use crate::{
    args::backfill::{BackfillCommand, BackfillJobArgs, BackfillRunArgs},
    exit,
    host::{ProcessHost, RunFailure, print},
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
        BackfillCommand::Stop(args) => stop(args, host),
        BackfillCommand::Clean(args) => clean::run(args, host),
    }
}

/// Starts the missing batches of a job and waits for its end.
fn start(args: &BackfillRunArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    JobLocation::of(&args.job.job)?;
    if execution_arn(&args.state_machine, "").is_none() {
        return Err(not_arn(&args.state_machine));
    }
    let mut job = ReachedJob::open(&args.job)?;
    let there = job.there()?;
    let under_way = job.under_way(&there)?;
    let mut watch = RunWatcher::new(job.missing(&there).len(), &args.job, host);
    // A running execution is waited for: its extract files would otherwise be made twice.
    let joined = match under_way {
        Some(StateMachineExecution { arn, .. }) => Some(watch.joined(&mut job, arn, host)?),
        None => None,
    };
    // What made one execution fail would do so with the next.
    let has_failed = joined
        .as_ref()
        .is_some_and(|joined| joined.progress.state == ExecutionState::Failed);
    let started = match has_failed {
        true => None,
        // Each batch is tried once: one that fails again needs a person to look at it.
        false => match job.start(&args.state_machine)? {
            Some(arn) => Some(watch.until_end(&mut job, arn, host)?),
            None => None,
        },
    };
    watch.finish();
    status::tell(&job, started.or(joined).as_ref(), args.job.quiet, host)
}

/// Prints the progress of a job.
fn status(args: &BackfillJobArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let job = ReachedJob::open(args)?;
    let execution = job.last_execution(&job.there()?)?;
    status::tell(&job, execution.as_ref(), args.quiet, host)
}

/// Stops the execution of a job; what it has extracted stays.
fn stop(args: &BackfillJobArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let job = ReachedJob::open(args)?;
    let text = match job.under_way(&job.there()?)? {
        Some(StateMachineExecution { arn, .. }) => {
            job.machines.stop(&arn)?;
            format!("stopped        {arn}\nnext           secretrail backfill resume\n")
        }
        None => "stopped        no execution is running\n".to_owned(),
    };
    if !args.quiet {
        print(host, &text)?;
    }
    Ok(exit::DONE)
}
