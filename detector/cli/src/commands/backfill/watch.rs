//! An execution watched to its end: with a bar, or where nobody looks with a line now and then.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use secretrail_engine::time::EventTime;

use crate::args::backfill::BackfillJobArgs;
use crate::commands::backfill::progress::{ExecutionProgress, ExecutionState};
use crate::commands::backfill::reached::StateMachineExecution;
use crate::commands::backfill::step_functions::StepFunctions;
use crate::host::{ProcessHost, RunFailure, say};
use crate::input::progress::parts_bar;

/// Time between two looks at a job, and between two lines about it where there is no bar.
const LOOK: Duration = Duration::from_secs(2);
const LINE: Duration = Duration::from_secs(60);

/// How a run is watched.
pub(super) struct RunWatcher<'w> {
    machines: &'w StepFunctions,
    /// Over all executions of the run; hidden where nobody looks.
    bar: ProgressBar,
    quiet: bool,
    /// When the run began.
    began: Instant,
    /// When the last line was.
    reported: Instant,
}

impl<'w> RunWatcher<'w> {
    /// Of a run over so many parts.
    pub(super) fn new(
        machines: &'w StepFunctions,
        parts: usize,
        args: &BackfillJobArgs,
        host: &ProcessHost,
    ) -> Self {
        let is_shown = !args.quiet && !args.no_progress && host.stderr_is_terminal;
        let began = Instant::now();
        Self {
            machines,
            bar: parts_bar(parts as u64, is_shown),
            quiet: args.quiet,
            began,
            reported: began,
        }
    }

    /// Waits until an execution is over that this run has not started.
    pub(super) fn joined(
        &mut self,
        arn: String,
        host: &mut ProcessHost,
    ) -> Result<StateMachineExecution, RunFailure> {
        say(
            host,
            &format!("secretrail: {arn} is under way; watching it\n"),
        );
        self.until_end(arn, host)
    }

    /// Waits until an execution is over.
    pub(super) fn until_end(
        &mut self,
        arn: String,
        host: &mut ProcessHost,
    ) -> Result<StateMachineExecution, RunFailure> {
        // What the executions before this one have done.
        let before = self.bar.position();
        loop {
            let Some(progress) = self.machines.execution(&arn)? else {
                let message = format!("{arn}: there is no such execution any more");
                return Err(RunFailure::Input(message));
            };
            self.show(&progress, before, host);
            if progress.state != ExecutionState::Runs {
                return Ok(StateMachineExecution { arn, progress });
            }
            std::thread::sleep(LOOK);
        }
    }

    fn show(&mut self, progress: &ExecutionProgress, before: u64, host: &mut ProcessHost) {
        // Without a terminal there is no bar, and a line for each look would fill the log.
        if self.bar.is_hidden() && !self.quiet && self.reported.elapsed() >= LINE {
            let now = later(host.now, self.began.elapsed());
            say(host, &line(progress, now));
            self.reported = Instant::now();
        }
        self.bar.set_position(before + progress.done);
        self.bar.set_message(format!("{} failed", progress.failed));
    }

    /// Takes the bar away.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// The time of the host is that of the beginning: it does not move during a run.
fn later(began: EventTime, elapsed: Duration) -> EventTime {
    began.plus(i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX))
}

fn line(progress: &ExecutionProgress, now: EventTime) -> String {
    let pace = progress.pace(now);
    let pace = pace.map(|pace| format!("; {pace}")).unwrap_or_default();
    format!("secretrail: {}{pace}\n", progress.words())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_the_pace_once_there_is_one() {
        let mut progress = ExecutionProgress {
            state: ExecutionState::Runs,
            started: EventTime(0),
            done: 0,
            failed: 0,
            all: 4,
            why: None,
        };
        let start = "secretrail: running, 0 of 4 items done, 0 failed\n";
        assert_eq!(line(&progress, EventTime(60)), start);
        progress.done = 2;
        let now = later(EventTime(0), Duration::from_millis(60_900));
        assert_eq!(
            line(&progress, now),
            "secretrail: running, 2 of 4 items done, 0 failed; 2 items a minute, \
             about 1 minutes left\n"
        );
    }
}
