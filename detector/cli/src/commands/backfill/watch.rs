//! Waits for the end of an execution, with a progress bar or, without a terminal, a line a minute.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use secretrail_engine::{sanitize, time::EventTime};

use crate::{
    args::backfill::BackfillJobArgs,
    commands::backfill::{
        progress::{ExecutionProgress, ExecutionState},
        reached::{ReachedJob, StateMachineExecution},
        step_functions::MachineError,
    },
    host::{ProcessHost, RunFailure, say},
    input::progress::parts_bar,
};

/// Longest time between two polls: an execution has its own quota of requests. A short one is seen
/// sooner.
const LOOK: Duration = Duration::from_secs(10);
/// Time between two lines about the progress if there is no bar.
const LINE: Duration = Duration::from_secs(60);
/// Longest time for which Step Functions is asked in vain: a night with the lid closed, or with
/// credentials that nobody renews.
const PATIENCE: Duration = Duration::from_secs(12 * 3_600);

/// Waits for executions and shows their progress.
pub(super) struct RunWatcher {
    /// Over all executions of the run; hidden without a terminal.
    bar: ProgressBar,
    quiet: bool,
    /// Start of the run.
    began: Instant,
    /// Time of the last line.
    reported: Instant,
}

impl RunWatcher {
    /// A watcher for a run over this many extract files.
    pub(super) fn new(parts: usize, args: &BackfillJobArgs, host: &ProcessHost) -> Self {
        let is_shown = !args.quiet && !args.no_progress && host.stderr_is_terminal;
        let began = Instant::now();
        Self {
            bar: parts_bar(parts as u64, is_shown),
            quiet: args.quiet,
            began,
            reported: began,
        }
    }

    /// Waits for the end of an execution that another run started.
    pub(super) fn joined(
        &mut self,
        job: &mut ReachedJob,
        arn: String,
        host: &mut ProcessHost,
    ) -> Result<StateMachineExecution, RunFailure> {
        say(
            host,
            &format!("secretrail: {arn} is already running; waiting for it\n"),
        );
        self.until_end(job, arn, host)
    }

    /// Waits for the end of an execution. It runs in AWS: neither a network that is away nor
    /// credentials that have expired end the wait.
    pub(super) fn until_end(
        &mut self,
        job: &mut ReachedJob,
        arn: String,
        host: &mut ProcessHost,
    ) -> Result<StateMachineExecution, RunFailure> {
        // Items done by the executions before this one.
        let before = self.bar.position();
        let mut pause = Duration::from_millis(500);
        let mut outage = Outage::default();
        loop {
            match job.machines.execution(&arn) {
                Ok(Some(progress)) => {
                    outage = Outage::default();
                    self.show(&progress, before, host);
                    if progress.state != ExecutionState::Runs {
                        return Ok(StateMachineExecution { arn, progress });
                    }
                }
                Ok(None) => {
                    let message = format!("{arn}: the execution no longer exists");
                    return Err(RunFailure::Input(message));
                }
                Err(error) => {
                    if let Some(message) = outage.after(error, Instant::now())? {
                        say(host, &format!("secretrail: {message}\n"));
                    }
                    // Credentials may have been renewed in files that are read once.
                    job.reconnect()?;
                }
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LOOK);
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

/// A time in which Step Functions cannot be asked.
#[derive(Debug, Default)]
struct Outage {
    since: Option<Instant>,
}

impl Outage {
    /// What to say after a failed call, once in an outage.
    fn after(&mut self, error: MachineError, now: Instant) -> Result<Option<String>, MachineError> {
        let lasted = self.since.map(|since| now.duration_since(since));
        if !error.may_pass || lasted.is_some_and(|lasted| lasted > PATIENCE) {
            return Err(error);
        }
        if self.since.is_some() {
            return Ok(None);
        }
        self.since = Some(now);
        let message = sanitize::line(&error.message);
        Ok(Some(format!(
            "{message}\nsecretrail: the execution goes on in AWS; asking again until it answers"
        )))
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
    fn an_outage_is_reported_once_and_ends_the_wait_only_after_a_night() {
        let failed = |may_pass| MachineError {
            message: "arn: the credentials have expired".to_owned(),
            may_pass,
        };
        let (mut outage, now) = (Outage::default(), Instant::now());
        let first = outage.after(failed(true), now).unwrap().unwrap();
        assert!(first.contains("have expired\nsecretrail: the execution goes on in AWS"));
        let later = now + Duration::from_secs(3_600);
        assert_eq!(outage.after(failed(true), later), Ok(None));
        let night = now + PATIENCE + Duration::from_secs(1);
        assert_eq!(outage.after(failed(true), night), Err(failed(true)));
        let mut other = Outage::default();
        assert_eq!(
            other.after(failed(false), now),
            Err(failed(false)),
            "denied"
        );
    }

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
