//! How far an execution of the state machine is.

use secretrail_engine::sanitize;
use secretrail_engine::time::EventTime;

use crate::text::number;

/// How an execution stands.
#[cfg_attr(
    not(feature = "s3"),
    expect(dead_code, reason = "executions are looked up with the SDK only")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExecutionState {
    /// It is under way.
    Runs,
    /// It came to its end.
    Succeeded,
    /// It did not.
    Failed,
}

/// How far an execution is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExecutionProgress {
    /// How it stands.
    pub state: ExecutionState,
    /// When it was started.
    pub started: EventTime,
    /// Items that are done.
    pub done: u64,
    /// Items that failed, with all their retries.
    pub failed: u64,
    /// All items; 0 before they were counted.
    pub all: u64,
    /// Why it failed.
    pub why: Option<String>,
}

impl ExecutionProgress {
    /// In words.
    #[must_use]
    pub(super) fn words(&self) -> String {
        let state = match self.state {
            ExecutionState::Runs => "running",
            ExecutionState::Succeeded => "ended",
            ExecutionState::Failed => "failed",
        };
        let why = self
            .why
            .as_ref()
            .map(|why| format!(": {}", sanitize::line(why)))
            .unwrap_or_default();
        format!(
            "{state}, {} of {} items done, {} failed{why}",
            self.done, self.all, self.failed
        )
    }

    /// How fast it is, and how long it will take; `None` unless it is under way and has come so far
    /// that this can be told.
    #[must_use]
    pub(super) fn pace(&self, now: EventTime) -> Option<String> {
        // By a clock that is behind that of AWS, it has not begun yet.
        let secs = u64::try_from(now.0.saturating_sub(self.started.0))
            .ok()
            .filter(|secs| *secs > 0)?;
        let left = self.all.checked_sub(self.done + self.failed)?;
        if self.state != ExecutionState::Runs || self.done == 0 {
            return None;
        }
        // Rounded up: somebody waits for it.
        let minutes = (left.saturating_mul(secs) / self.done).div_ceil(60);
        let a_minute = self.done.saturating_mul(60) / secs;
        Some(format!(
            "{} items a minute, about {} minutes left",
            number(a_minute),
            number(minutes)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_told_while_there_is_one() {
        let started = EventTime(1_000);
        let running = ExecutionProgress {
            state: ExecutionState::Runs,
            started,
            done: 300,
            failed: 10,
            all: 1_000,
            why: None,
        };
        let pace = |progress: &ExecutionProgress, secs: i64| progress.pace(started.plus(secs));
        assert_eq!(
            pace(&running, 60).as_deref(),
            Some("300 items a minute, about 3 minutes left")
        );
        assert_eq!(
            pace(&running, 7_200).as_deref(),
            Some("2 items a minute, about 276 minutes left")
        );
        for other in [
            ExecutionProgress {
                done: 0,
                ..running.clone()
            },
            ExecutionProgress {
                all: 0,
                ..running.clone()
            },
            ExecutionProgress {
                state: ExecutionState::Succeeded,
                ..running.clone()
            },
        ] {
            assert_eq!(pace(&other, 60), None, "{other:?}");
        }
        // By a clock that is behind that of AWS.
        assert_eq!((pace(&running, 0), pace(&running, -5)), (None, None));
    }
}
