//! Waits for the end of an execution, with a progress bar or, without a terminal, a line a minute.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use secretrail_engine::time::EventTime;

use crate::{
    args::backfill::BackfillJobArgs,
    commands::backfill::{
        progress::{ExecutionProgress, ExecutionState},
        reached::StateMachineExecution,
        step_functions::StepFunctions,
    },
    host::{ProcessHost, RunFailure, say},
    input::progress::parts_bar,
};

/// Time between two polls, and between two lines about the progress if there is no bar.
const LOOK: Duration = Duration::from_secs(2);
const LINE: Duration = Duration::from_secs(60);

/// Waits for executions and shows their progress.
pub(super) struct RunWatcher<'w> {
    machines: &'w StepFunctions,
    /// Over all executions of the run; hidden without a terminal.
    bar: ProgressBar,
    quiet: bool,
    /// Start of the run.
    began: Instant,
    /// Time of the last line.
    reported: Instant,
}

impl<'w> RunWatcher<'w> {
    /// A watcher for a run over this many extract files.
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

    /// Waits for the end of an execution that another run started.
    pub(super) fn joined(
        &mut self,
        arn: String,
        host: &mut ProcessHost,
    ) -> Result<StateMachineExecution, RunFailure> {
        say(
            host,
            &format!("secretrail: {arn} is already running; waiting for it\n"),
        );
        self.until_end(arn, host)
    }

    /// Waits for the end of an execution.
    pub(super) fn until_end(
        &mut self,
        arn: String,
        host: &mut ProcessHost,
    ) -> Result<StateMachineExecution, RunFailure> {
        // Items done by the executions before this one.
        let before = self.bar.position();
        loop {
            let Some(progress) = self.machines.execution(&arn)? else {
                let message = format!("{arn}: the execution no longer exists");
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
        // Without a terminal there is no bar, and a line for each poll would flood the log.
        if self.bar.is_hidden() && !self.quiet && self.reported.elapsed() >= LINE {
            let now = later(host.now, self.began.elapsed());
            say(host, &line(progress, now));
            self.reported = Instant::now();
        }
        self.bar.set_position(before + progress.done);
        self.bar.set_message(format!("{} failed", progress.failed));
    }

    /// Removes the bar.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// The current time: that of the host is the start of the run and does not advance.
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
    fn a_line_shows_the_pace_once_there_is_one() {
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
             about 1 minute left\n"
        );
    }
}
