//! The open events of a correlation group, and the pieces of it that can be joined without the
//! rest.

use std::{ops::Range, sync::Arc};

use crate::{
    correlate::CrossingPairs,
    limits::{CORRELATION_GROUP_SECS, PAIRING_TOLERANCE_SECS, SETTLE_MARGIN_SECS},
    pending_event::{CorrelationKey, PendingEvent},
    time::EventTime,
};

/// The open events of a correlation group.
pub(super) struct OpenGroup {
    pub(super) ends: Vec<Arc<PendingEvent>>,
    /// Events before this time were reported, and are held because they are around later ones.
    pub(super) reported: EventTime,
    /// The pairs of reported events with later ones.
    pub(super) crossing: CrossingPairs,
}

/// Pending events that can be joined now, and the times of which results are reported.
#[derive(Debug, PartialEq)]
pub(super) struct GroupPiece {
    pub(super) ends: Vec<Arc<PendingEvent>>,
    pub(super) times: Range<EventTime>,
}

/// The next pieces of a correlation group, in order.
pub(super) struct GroupPieces {
    pub(super) correlation_group: CorrelationKey,
    /// The pairs that cross the beginning of the first piece.
    pub(super) crossing: CrossingPairs,
    pub(super) pieces: Vec<GroupPiece>,
}

/// The times of a piece.
struct PieceSpan {
    /// The reported range: from this time to before the next one.
    times: Range<EventTime>,
    /// The last time whose events may affect the piece.
    needed: EventTime,
    /// Events from here on are around the next piece.
    held: EventTime,
}

impl OpenGroup {
    pub(super) fn new() -> Self {
        Self {
            ends: Vec::new(),
            reported: EventTime(i64::MIN),
            crossing: CrossingPairs::default(),
        }
    }

    /// The earliest time that was not reported.
    pub(super) fn first(&self) -> Option<EventTime> {
        self.ends
            .iter()
            .map(|end| end.time)
            .filter(|time| *time >= self.reported)
            .min()
    }

    /// The pieces that are complete when everything before `upto` is present, and was delivered by
    /// `due`.
    pub(super) fn pieces(&mut self, upto: EventTime, due: EventTime) -> Vec<GroupPiece> {
        self.ends.sort_by_key(|end| end.time);
        let mut pieces = Vec::new();
        while let Some(span) = self.next_span() {
            let near = self.ends.partition_point(|end| end.time <= span.needed);
            let near = self.ends.iter().take(near);
            // Later pieces wait too: the pieces of a group are reported in order.
            if span.needed >= upto || near.clone().any(|end| end.delivered > due) {
                return pieces;
            }
            self.reported = span.times.end;
            pieces.push(GroupPiece {
                ends: near.cloned().collect(),
                times: span.times,
            });
            let done = self.ends.partition_point(|end| end.time < span.held);
            self.ends.drain(..done);
        }
        // Everything was reported, and nothing is left that could be near a later event.
        self.ends.clear();
        pieces
    }

    /// The next piece that was not reported, if it were complete. Events that are further apart
    /// than the tolerance are independent; where they follow each other for too long, they are
    /// split.
    fn next_span(&self) -> Option<PieceSpan> {
        let first = self.ends.partition_point(|end| end.time < self.reported);
        let mut times = self.ends.iter().skip(first).map(|end| end.time);
        let from = times.next()?;
        let mut last = from;
        for time in times {
            if time > last.plus(PAIRING_TOLERANCE_SECS) {
                break;
            }
            // A busy actor may never pause: without a cut, its whole history would be held.
            if time.distance(from) > CORRELATION_GROUP_SECS {
                return Some(PieceSpan::cut(from));
            }
            last = time;
        }
        Some(PieceSpan::whole(from, last))
    }
}

impl PieceSpan {
    /// Up to a pause, after which nothing belongs to the piece.
    fn whole(from: EventTime, last: EventTime) -> Self {
        let to = last.plus(1);
        Self {
            times: from..to,
            // Until the tolerance has passed, another event may still continue the piece.
            needed: last.plus(PAIRING_TOLERANCE_SECS),
            held: to,
        }
    }

    /// Up to a split of continuous activity. The piece is joined with what may decide about its
    /// last events; the next one begins with what was decided about its own.
    fn cut(from: EventTime) -> Self {
        let to = from.plus(CORRELATION_GROUP_SECS);
        Self {
            times: from..to,
            needed: to.plus(SETTLE_MARGIN_SECS),
            held: to.plus(-PAIRING_TOLERANCE_SECS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        events_for_tests::get_secret,
        observation::{Observation, SecretRead},
    };

    const LATER: EventTime = EventTime(1_000_000);

    fn open(times: impl IntoIterator<Item = i64>) -> OpenGroup {
        let mut open = OpenGroup::new();
        let read = |secs: i64| Observation::Read(Arc::new(get_secret("r", secs, "x")));
        let ends = times
            .into_iter()
            .map(|secs| Arc::new(PendingEvent::new(read(secs))));
        open.ends.extend(ends);
        open
    }

    fn times(ends: &[Arc<PendingEvent>]) -> Vec<i64> {
        ends.iter().map(|end| end.time.0).collect()
    }

    /// The times of each piece.
    fn pieces(open: &mut OpenGroup, upto: i64) -> Vec<Vec<i64>> {
        let pieces = open.pieces(EventTime(upto), LATER);
        pieces.iter().map(|piece| times(&piece.ends)).collect()
    }

    #[test]
    fn a_pause_longer_than_the_tolerance_parts_a_correlation_group() {
        assert_eq!(pieces(&mut open([5, 0, 10]), 100), [[0, 5, 10]]);
        assert_eq!(pieces(&mut open([0, 6]), 100), [[0], [6]]);
    }

    #[test]
    fn a_piece_waits_until_nothing_can_go_on_with_it() {
        let mut correlation_group = open([0, 3]);
        assert!(
            pieces(&mut correlation_group, 8).is_empty(),
            "second 8 is still to come"
        );
        assert_eq!(correlation_group.first(), Some(EventTime(0)));
        assert_eq!(pieces(&mut correlation_group, 9), [[0, 3]]);
        assert_eq!(
            (correlation_group.first(), correlation_group.ends.len()),
            (None, 0)
        );
    }

    #[test]
    fn what_is_not_due_holds_back_itself_and_what_comes_after_it() {
        let mut correlation_group = open([0, 100, 200]);
        let late = get_secret("late", 100, "x");
        let mut head = (*late.head).clone();
        head.delivered = EventTime(5_000);
        let late = SecretRead {
            head: Arc::new(head),
            ..late
        };
        correlation_group.ends[1] = Arc::new(PendingEvent::new(Observation::Read(Arc::new(late))));
        let reported = correlation_group.pieces(LATER, EventTime(4_999));
        assert_eq!(
            reported.iter().map(|p| times(&p.ends)).collect::<Vec<_>>(),
            [[0]]
        );
        assert_eq!(times(&correlation_group.ends), [100, 200]);
        let reported = correlation_group.pieces(LATER, EventTime(5_000));
        assert_eq!(reported.len(), 2);
    }

    #[test]
    fn what_never_pauses_is_split_with_a_margin_and_each_second_is_reported_once() {
        let (cut, margin) = (CORRELATION_GROUP_SECS, SETTLE_MARGIN_SECS);
        let mut correlation_group = open((0..=2 * cut + 5).step_by(5));
        let reported = correlation_group.pieces(EventTime(cut + margin), LATER);
        assert!(
            reported.is_empty(),
            "the margin after the split is not complete"
        );
        let reported = correlation_group.pieces(EventTime(i64::MAX), LATER);
        let [first, second, third] = reported.as_slice() else {
            panic!("{} pieces", reported.len())
        };
        assert_eq!(times(&first.ends).last(), Some(&(cut + margin)));
        let held = PAIRING_TOLERANCE_SECS;
        assert_eq!(times(&second.ends).first(), Some(&(cut - held)));
        assert_eq!(times(&third.ends).first(), Some(&(2 * cut - held)));
        for secs in 0..=2 * cut + 5 {
            let owners = reported
                .iter()
                .filter(|piece| piece.times.contains(&EventTime(secs)));
            assert_eq!(owners.count(), 1, "{secs}");
        }
    }

    #[test]
    fn a_correlation_group_is_split_only_beyond_the_longest_period() {
        let reported = open((0..=CORRELATION_GROUP_SECS).step_by(5)).pieces(LATER, LATER);
        assert_eq!(reported.len(), 1);
        let reported = open((0..=CORRELATION_GROUP_SECS + 5).step_by(5)).pieces(LATER, LATER);
        assert_eq!(reported.len(), 2);
    }
}
