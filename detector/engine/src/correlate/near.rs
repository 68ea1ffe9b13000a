//! The order in which pairs of one distance are made, and events near a time.

use ahash::HashMap;

use crate::{
    correlate::{
        spelling::{Spelling, asked_to_agree, filed_to_agree},
        steps,
    },
    ids::SecretRef,
    limits::PAIRING_TOLERANCE_SECS,
    time::EventTime,
};

/// The distances in seconds at which a pair is made, nearest first.
pub(super) fn distances() -> impl Iterator<Item = i64> {
    0..=PAIRING_TOLERANCE_SECS
}

/// For events in time order: each with every time at this distance, in the order of the earlier of
/// both.
///
/// Of equally near pairs the earlier is made first. Where an event looks ahead and another looks
/// back to it, the order between both does not matter: they look for events of different seconds.
pub(super) fn at_distance(
    times: &[EventTime],
    distance: i64,
) -> impl Iterator<Item = (usize, EventTime)> {
    let (mut ahead, mut back) = (0, 0);
    std::iter::from_fn(move || {
        steps::count();
        let first = times.get(ahead);
        // At no distance, both directions are one.
        let last = times.get(back).filter(|_| distance > 0);
        let earlier = last.map(|time| time.plus(-distance));
        match (first, earlier) {
            (Some(time), earlier) if earlier.is_none_or(|earlier| *time <= earlier) => {
                ahead += 1;
                Some((ahead - 1, time.plus(distance)))
            }
            (_, Some(earlier)) => {
                back += 1;
                Some((back - 1, earlier))
            }
            _ => None,
        }
    })
}

/// Times of events about secrets, to know whether there is one near another.
#[derive(Default)]
pub(super) struct SecretTimes<'s>(HashMap<Spelling<'s>, Vec<EventTime>>);

impl<'s> SecretTimes<'s> {
    /// Adds an event; events come in time order.
    pub(super) fn add(&mut self, secret: &'s SecretRef, time: EventTime) {
        for spelling in filed_to_agree(secret) {
            steps::count();
            self.0.entry(spelling).or_default().push(time);
        }
    }

    /// Whether there is an event within the tolerance about a secret that agrees with this one.
    pub(super) fn has_near(&self, secret: &SecretRef, time: EventTime) -> bool {
        asked_to_agree(secret).any(|spelling| {
            steps::count();
            let times = self.0.get(&spelling).map(Vec::as_slice);
            let times = times.unwrap_or_default();
            let from = time.plus(-PAIRING_TOLERANCE_SECS);
            let next = times.get(times.partition_point(|other| *other < from));
            next.is_some_and(|next| *next <= time.plus(PAIRING_TOLERANCE_SECS))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events_for_tests::HOME;

    #[test]
    fn pairs_of_one_distance_come_in_the_order_of_their_earlier_half() {
        let times = [0, 2, 2, 5].map(EventTime);
        let pairs = |distance| -> Vec<(usize, i64)> {
            at_distance(&times, distance)
                .map(|(index, time)| (index, time.0))
                .collect()
        };
        assert_eq!(pairs(0), [(0, 0), (1, 2), (2, 2), (3, 5)]);
        let earlier = [-2, 0, 0, 0, 2, 2, 3, 5];
        let with_earlier: Vec<_> = pairs(2)
            .iter()
            .map(|(index, time)| times[*index].0.min(*time))
            .collect();
        assert_eq!(with_earlier, earlier);
        assert_eq!(at_distance(&[], 3).count(), 0);
    }

    #[test]
    fn both_ends_of_the_tolerance_are_near() {
        let secret = SecretRef::secret("x", HOME);
        let mut times = SecretTimes::default();
        for time in [10, 30] {
            times.add(&secret, EventTime(time));
        }
        for (time, near) in [(4, false), (5, true), (15, true), (16, false), (25, true)] {
            assert_eq!(times.has_near(&secret, EventTime(time)), near, "{time}");
        }
        let other = SecretRef::secret("y", HOME);
        assert!(!times.has_near(&other, EventTime(10)));
        // Times at the ends of the range do not wrap around.
        assert!(!times.has_near(&secret, EventTime(i64::MAX)));
        assert!(!times.has_near(&secret, EventTime(i64::MIN)));
    }
}
