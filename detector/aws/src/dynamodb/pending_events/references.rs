//! References to due pending events, and which of them are finalised together.

use std::{collections::BTreeMap, sync::Arc};

use secretrail_engine::{pending_event::PendingEvent, time::EventTime};

use crate::dynamodb::keys::CorrelationSegment;

/// Most references in one item of partition `due`.
pub(super) const REFERENCES: usize = 500;

/// Events that are finalised together, at most, as far as they are not stored in one item: an item
/// of partition `due` refers to no more, and an actor with more of them in a segment is busy.
const MANY_EVENTS: usize = 1_000;

/// Length in seconds of the parts in which the events of busy actors are finalised.
const BUSY_SECS: i64 = 10;

/// A reference in partition `due` to an item of pending events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DueReference {
    pub(super) place: CorrelationSegment,
    /// Digest of the content of the item.
    pub(super) digest: String,
    /// Number of events that were written with it; at least as many as are in the item.
    pub(super) ends: usize,
}

impl DueReference {
    pub(super) fn written(&self) -> String {
        let CorrelationSegment { pk, segment } = &self.place;
        format!("{pk} {segment} {} {}", self.digest, self.ends)
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        Some(Self {
            place: CorrelationSegment {
                pk: parts.next()?.to_owned(),
                segment: parts.next()?.to_owned(),
            },
            digest: parts.next()?.to_owned(),
            ends: parts.next().and_then(|n| n.parse().ok()).unwrap_or(1),
        })
    }
}

/// Events by the start of their wait, correlation group and segment.
pub(super) type WaitingGroups = BTreeMap<(EventTime, CorrelationSegment), Vec<Arc<PendingEvent>>>;

/// Events by correlation group and segment. Those of busy actors come apart, by the time at which
/// some seconds begin: whatever their order in a file, what is near in time is finalised together.
pub(super) fn by_correlation_group(
    ends: &[Arc<PendingEvent>],
    arrived: EventTime,
) -> (WaitingGroups, BTreeMap<EventTime, WaitingGroups>) {
    let mut usual = WaitingGroups::new();
    for end in ends {
        let head = end.observation.head();
        let place = CorrelationSegment::of(&end.correlation_group, head.time);
        usual
            .entry((end.waits_since(arrived), place))
            .or_default()
            .push(end.clone());
    }
    let mut busy: BTreeMap<EventTime, WaitingGroups> = BTreeMap::new();
    for (place, ends) in usual.extract_if(.., |_, ends| ends.len() > MANY_EVENTS) {
        for end in ends {
            let time = EventTime(end.time.0.div_euclid(BUSY_SECS) * BUSY_SECS);
            let of_time = busy.entry(time).or_default();
            of_time.entry(place.clone()).or_default().push(end);
        }
    }
    (usual, busy)
}

/// References that are written together: an item of partition `due` is finalised whole.
pub(super) fn references_together(references: &[DueReference]) -> Vec<&[DueReference]> {
    let mut together = Vec::new();
    let (mut start, mut events) = (0, 0);
    for (index, reference) in references.iter().enumerate() {
        let is_full = index - start >= REFERENCES || events + reference.ends > MANY_EVENTS;
        if is_full && index > start {
            together.extend(references.get(start..index));
            (start, events) = (index, 0);
        }
        events += reference.ends;
    }
    together.extend(references.get(start..).filter(|rest| !rest.is_empty()));
    together
}
