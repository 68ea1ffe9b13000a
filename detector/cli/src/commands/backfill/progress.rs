//! Progress of an execution of the state machine.

use secretrail_engine::{sanitize, time::EventTime};

use crate::text::{number, plural};

/// State of an execution.
#[cfg_attr(
    not(feature = "s3"),
    expect(dead_code, reason = "executions are looked up with the SDK only")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExecutionState {
    /// It is running.
    Runs,
    /// It succeeded.
    Succeeded,
    /// It failed, timed out or was aborted.
    Failed,
}

/// Progress of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExecutionProgress {
    /// Its state.
    pub state: ExecutionState,
    /// Time of its start, in UTC.
    pub started: EventTime,
    /// Number of items that succeeded.
    pub done: u64,
    /// Number of items that failed after all retries.
    pub failed: u64,
    /// Number of all items; 0 before Step Functions has counted them.
    pub all: u64,
    /// Error and cause; `None` if it has not failed.
    pub why: Option<String>,
}

impl ExecutionProgress {
    /// State, counts and error as text.
    #[must_use]
    pub(super) fn words(&self) -> String {
        let state = match self.state {
            ExecutionState::Runs => "running",
            ExecutionState::Succeeded => "succeeded",
            ExecutionState::Failed => "failed",
        };
        let why = self
            .why
            .as_ref()
            .map(|why| format!(": {}", sanitize::line(why)))
            .unwrap_or_default();
        format!(
            "{state}, {} of {} done, {} failed{why}",
            number(self.done),
            plural(self.all, "item"),
            number(self.failed)
        )
    }

    /// Items per minute and estimated time left; `None` unless it is running and has completed
    /// items.
    #[must_use]
    pub(super) fn pace(&self, now: EventTime) -> Option<String> {
        // If the local clock is behind that of AWS, the execution seems not to have started.
        let secs = u64::try_from(now.0.saturating_sub(self.started.0))
            .ok()
            .filter(|secs| *secs > 0)?;
        let left = self.all.checked_sub(self.done + self.failed)?;
        if self.state != ExecutionState::Runs || self.done == 0 {
            return None;
        }
        // Rounded up: better too long than too short.
        let minutes = (left.saturating_mul(secs) / self.done).div_ceil(60);
        let a_minute = self.done.saturating_mul(60) / secs;
        Some(format!(
            "{} a minute, about {} left",
            plural(a_minute, "item"),
            plural(minutes, "minute")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_known_only_while_items_complete() {
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
        // With a local clock behind that of AWS.
        assert_eq!((pace(&running, 0), pace(&running, -5)), (None, None));
    }
}
