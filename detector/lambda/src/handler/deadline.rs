//! The end of an invocation, and what may still be started before it.

use std::time::{Duration, Instant};

/// Time before the end of an invocation in which nothing new is started.
const RESERVE: Duration = Duration::from_secs(5);

/// Time before the end of an invocation at which running work is cancelled and returned for retry.
const LAST_MOMENT: Duration = Duration::from_millis(1_500);

/// Whether there is time to start something before the invocation ends at `until`.
pub(super) fn has_time(until: Instant) -> bool {
    until.saturating_duration_since(Instant::now()) >= RESERVE
}

/// When to cancel running work, so that there is time for a response: a function that Lambda kills
/// returns none, not even a partial one.
pub(super) fn last_moment(until: Instant) -> Instant {
    let now = Instant::now();
    until - LAST_MOMENT.min(until.saturating_duration_since(now))
}

/// When the first part of a sweep ends, so that three quarters of the time are for it, and the rest
/// for what comes after it.
pub(super) fn share_of(until: Instant) -> Instant {
    let now = Instant::now();
    now + until.saturating_duration_since(now).mul_f64(0.75)
}

/// When a third of the time is over that is left.
pub(super) fn third_of(until: Instant) -> Instant {
    let now = Instant::now();
    now + until.saturating_duration_since(now) / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_begun_in_the_last_seconds() {
        let now = Instant::now();
        assert!(has_time(now + RESERVE + Duration::from_secs(60)));
        assert!(!has_time(now + RESERVE - Duration::from_secs(1)));
        assert!(!has_time(now), "nor after the end");
    }

    #[test]
    fn the_second_part_of_a_sweep_has_time_too() {
        let now = Instant::now();
        let until = now + Duration::from_secs(60);
        let first = share_of(until);
        assert!(first >= now + Duration::from_secs(45) && first < now + Duration::from_secs(46));
        assert!(share_of(now) >= now);
    }

    #[test]
    fn work_is_given_up_before_the_end_and_never_before_now() {
        let now = Instant::now();
        let until = now + Duration::from_secs(60);
        assert_eq!(last_moment(until), until - LAST_MOMENT);
        let soon = now + Duration::from_millis(10);
        let moment = last_moment(soon);
        assert!(moment <= Instant::now() && moment >= now);
        assert_eq!(last_moment(now), now, "the end is over: at once");
    }
}
