//! Spans: the times of one correlation group in which pending events are due, joined part by part.
//!
//! A span is begun where no pair can reach across, and every part takes over what the one before
//! it has decided. So each event gets the answer that a join of everything would give, however long
//! its actor has been active, and only a part is in memory.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use super::correlation_group;
use crate::{
    copies::BestCopies,
    correlate::{self, CrossingPairs},
    limits::{
        CORRELATION_GROUP_SECS, LONGEST_CHAIN_SECS, PAIRING_TOLERANCE_SECS, SETTLE_MARGIN_SECS,
    },
    pending_event::{CorrelationKey, CorrelationRange, PendingEvent},
    time::EventTime,
};

/// The times of one correlation group in which some due events may be part of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DueSpan {
    correlation_group: CorrelationKey,
    from: EventTime,
    to: EventTime,
}

/// The spans of pending events. Events that may be part of one row are in one span.
pub(super) fn spans_of(due: &[Arc<PendingEvent>]) -> Vec<DueSpan> {
    let mut times: BTreeMap<&CorrelationKey, Vec<EventTime>> = BTreeMap::new();
    // A store returns the events of a group together, as far as possible.
    for ends in due.chunk_by(|a, b| a.correlation_group == b.correlation_group) {
        if let Some(first) = ends.first() {
            let known = times.entry(&first.correlation_group).or_default();
            known.extend(ends.iter().map(|end| end.time));
        }
    }
    let mut spans: Vec<DueSpan> = Vec::new();
    for (correlation_group, mut times) in times {
        times.sort_unstable();
        // Sparse activity is many spans, which are read side by side; continuous activity is one,
        // which is read part by part.
        let near = times.chunk_by(|a, b| a.distance(*b) <= 2 * PAIRING_TOLERANCE_SECS);
        spans.extend(near.filter_map(|times| {
            Some(DueSpan {
                correlation_group: correlation_group.clone(),
                // A due KMS Decrypt may belong to an earlier read or a later one.
                from: times.first()?.plus(-PAIRING_TOLERANCE_SECS),
                to: times.last()?.plus(PAIRING_TOLERANCE_SECS),
            })
        }));
    }
    spans
}

/// How far the join of a span is.
pub(super) struct SpanJoin {
    span: DueSpan,
    /// Where the next part begins.
    at: EventTime,
    /// Whether a part can begin there without the one before it is still to be found out.
    begins: bool,
    /// The pairs that cross that time.
    pub(super) crossing: CrossingPairs,
}

impl SpanJoin {
    /// Nothing is joined yet.
    pub(super) fn new(span: DueSpan) -> Self {
        Self {
            at: span.from,
            begins: true,
            crossing: CrossingPairs::default(),
            span,
        }
    }

    /// What must be read for the next part.
    pub(super) fn range(&self) -> CorrelationRange {
        let before = if self.begins {
            SETTLE_MARGIN_SECS
        } else {
            PAIRING_TOLERANCE_SECS
        };
        CorrelationRange {
            correlation_group: self.span.correlation_group.clone(),
            from: self.at.plus(-before),
            to: self.piece_from(self.at).end.plus(SETTLE_MARGIN_SECS),
        }
    }

    /// The times of a part. The last part ends with the span.
    pub(super) fn piece_from(&self, from: EventTime) -> Range<EventTime> {
        let end = self.at.plus(CORRELATION_GROUP_SECS);
        from..end.min(self.span.to.plus(1).max(self.at))
    }

    /// The times of a part whose rows are reported, when the part has begun before the span.
    pub(super) fn reported(&self, part: &Range<EventTime>) -> Range<EventTime> {
        part.start.max(self.span.from)..part.end
    }

    /// Where the next part begins; `None` when that is further back than was read.
    pub(super) fn begin(&self, ends: &[Arc<PendingEvent>], best: &BestCopies) -> Option<EventTime> {
        let before = ends.iter().filter(|end| end.time < self.at);
        let latest = before.map(|end| end.time).max();
        let is_quiet = latest.is_none_or(|time| time < self.at.plus(-PAIRING_TOLERANCE_SECS));
        if !self.begins || is_quiet {
            return Some(self.at);
        }
        // What is known of both sides of a time decides whether it can be the beginning.
        let known = ends
            .iter()
            .filter(|end| end.time < self.at.plus(2 * PAIRING_TOLERANCE_SECS) && best.is_best(end));
        let cut = correlate::latest_cut(
            correlation_group(known.map(|end| &**end)),
            self.earliest()..=self.at,
        );
        let is_too_long = self.span.from.distance(self.at) >= LONGEST_CHAIN_SECS;
        cut.or_else(|| is_too_long.then_some(self.at))
    }

    /// The first time of which both sides were read far enough to tell whether it is a beginning.
    fn earliest(&self) -> EventTime {
        self.at
            .plus(2 * PAIRING_TOLERANCE_SECS - SETTLE_MARGIN_SECS)
    }

    /// The same span, begun earlier.
    pub(super) fn further_back(&self) -> Self {
        Self {
            span: self.span.clone(),
            at: self.earliest(),
            begins: true,
            crossing: CrossingPairs::default(),
        }
    }

    /// What is left after a part; `None` at the end of the span.
    pub(super) fn after(&self, at: EventTime, crossing: CrossingPairs) -> Option<Self> {
        (at <= self.span.to).then(|| Self {
            span: self.span.clone(),
            at,
            begins: false,
            crossing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events_for_tests::{decrypt_secret, get_secret, pending_decrypt, pending_read};

    /// A span from one time to another, for due events at each few seconds.
    fn span(from: i64, to: i64) -> SpanJoin {
        let (first, last) = (from + PAIRING_TOLERANCE_SECS, to - PAIRING_TOLERANCE_SECS);
        let due = (first..=last).map(|secs| pending_read(get_secret("r", secs, "x")));
        let spans = spans_of(&due.collect::<Vec<_>>());
        let [span] = spans.as_slice() else {
            panic!("{spans:?}")
        };
        SpanJoin::new(span.clone())
    }

    #[test]
    fn due_events_that_are_near_each_other_are_one_span() {
        let mut elsewhere = get_secret("r3", 7, "x");
        Arc::make_mut(&mut elsewhere.head).region = "us-east-1".into();
        let far = 2 * PAIRING_TOLERANCE_SECS + 1;
        let reads = [
            get_secret("r1", 100 + far, "x"),
            elsewhere,
            get_secret("r2", 100, "x"),
            get_secret("r4", 90, "x"),
        ];
        let spans = spans_of(&reads.map(pending_read));
        let mut spans: Vec<_> = spans
            .iter()
            .map(|span| (&*span.correlation_group.region, span.from.0, span.to.0))
            .collect();
        spans.sort_unstable();
        let later = (95 + far, 105 + far);
        assert_eq!(
            spans,
            [
                ("eu-west-1", 85, 105),
                ("eu-west-1", later.0, later.1),
                ("us-east-1", 2, 12)
            ]
        );
    }

    #[test]
    fn a_span_is_read_with_its_margins_and_part_by_part() {
        let part = CORRELATION_GROUP_SECS;
        let join = span(0, part);
        let range = join.range();
        let margin = SETTLE_MARGIN_SECS;
        assert_eq!((range.from.0, range.to.0), (-margin, part + margin));
        let times = join.piece_from(EventTime(0));
        assert_eq!(times, EventTime(0)..EventTime(part));
        let rest = join.after(times.end, CrossingPairs::default()).unwrap();
        let range = rest.range();
        let (first, last) = (part - PAIRING_TOLERANCE_SECS, part + 1 + margin);
        assert_eq!((range.from.0, range.to.0), (first, last));
        assert_eq!(
            rest.begin(&[], &BestCopies::default()),
            Some(EventTime(part))
        );
        let end = rest.piece_from(EventTime(part)).end;
        assert!(rest.after(end, CrossingPairs::default()).is_none());
    }

    #[test]
    fn a_span_begins_where_no_pair_reaches_across() {
        let best = BestCopies::default();
        let begin = |ends: &[Arc<PendingEvent>]| span(100, 110).begin(ends, &best);
        assert_eq!(
            begin(&[pending_read(get_secret("r", 94, "x"))]),
            Some(EventTime(100))
        );
        // A pair of one second is made, whatever is around it.
        let pair = [
            pending_read(get_secret("r", 98, "x")),
            pending_decrypt(decrypt_secret("k", 98, "x")),
        ];
        assert_eq!(begin(&pair), Some(EventTime(100)));
        let apart = [
            pending_read(get_secret("r", 97, "x")),
            pending_decrypt(decrypt_secret("k", 101, "x")),
        ];
        assert_eq!(begin(&apart), Some(EventTime(97)));
    }

    #[test]
    fn a_span_is_begun_further_back_but_not_for_ever() {
        let best = BestCopies::default();
        let mut ends = Vec::new();
        for secs in (-2 * LONGEST_CHAIN_SECS..=200).step_by(4) {
            ends.push(pending_read(get_secret("r", secs, "x")));
            ends.push(pending_decrypt(decrypt_secret("k", secs + 2, "x")));
        }
        let mut join = span(100, 110);
        let mut rounds = 0;
        let begins = loop {
            let range = join.range();
            let known = ends
                .iter()
                .filter(|end| (range.from..=range.to).contains(&end.time));
            let known: Vec<_> = known.cloned().collect();
            if let Some(begins) = join.begin(&known, &best) {
                break begins;
            }
            join = join.further_back();
            rounds += 1;
        };
        assert!(
            begins.distance(EventTime(100)) >= LONGEST_CHAIN_SECS,
            "{begins:?}"
        );
        assert!(rounds < 100, "{rounds}");
    }
}
