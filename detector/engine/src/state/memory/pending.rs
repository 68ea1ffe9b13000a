//! Pending events by correlation group and by identity.

use std::{ops::RangeInclusive, sync::Arc};

use hashbrown::{HashTable, hash_table::Entry};

use crate::{
    pending_event::{CorrelationKey, PendingEvent, PendingEventId},
    time::EventTime,
};

/// A pending event in the store.
pub(super) struct WaitingEvent {
    pub(super) end: Arc<PendingEvent>,
    /// Since when it waits for its other half.
    pub(super) since: EventTime,
    /// Whether it is still to be finalised.
    pub(super) open: bool,
}

/// Index of the correlation group, and of the event in it.
pub(super) type PendingPlace = (usize, usize);

/// Pending events by correlation group. The tables hold fingerprints and indices instead of keys: a
/// replay has every event in memory already, and cloned keys would cost more than all the rest.
#[derive(Default)]
pub(super) struct PendingTable {
    correlation_groups: Vec<Vec<WaitingEvent>>,
    /// For each correlation group, the indices of its events in time order; those that were added
    /// last are not sorted in yet.
    by_time: Vec<TimeOrder>,
    /// Fingerprint and index of each correlation group.
    correlation_group_of: HashTable<(u64, usize)>,
    /// Fingerprint and place of each event.
    known: HashTable<(u64, PendingPlace)>,
}

/// Indices of events in time order.
#[derive(Default)]
struct TimeOrder(Vec<(EventTime, usize)>);

impl PendingTable {
    /// Reserves room for so many more events.
    pub(super) fn reserve(&mut self, more: usize) {
        self.known.reserve(more, fingerprint_of);
    }

    /// Adds an event unless it exists, and returns whether it was added.
    pub(super) fn add(&mut self, end: &Arc<PendingEvent>, arrived: EventTime) -> bool {
        let id = &end.id;
        let Entry::Vacant(vacant) = self.known.entry(
            id.fingerprint(),
            |known| is_end(&self.correlation_groups, known, id),
            fingerprint_of,
        ) else {
            return false;
        };
        // Only now: a duplicate needs no lookup of its group.
        let correlation_group = place_of_correlation_group(
            &mut self.correlation_groups,
            &mut self.correlation_group_of,
            &end.correlation_group,
        );
        let Some(ends) = self.correlation_groups.get_mut(correlation_group) else {
            return false;
        };
        vacant.insert((id.fingerprint(), (correlation_group, ends.len())));
        ends.push(WaitingEvent {
            end: end.clone(),
            since: end.waits_since(arrived),
            open: true,
        });
        true
    }

    /// The events of a correlation group at these times, open or closed.
    pub(super) fn between(
        &mut self,
        key: &CorrelationKey,
        times: RangeInclusive<EventTime>,
    ) -> impl Iterator<Item = &WaitingEvent> {
        let found = self.correlation_group_of.find(key.fingerprint(), |known| {
            is_correlation_group(&self.correlation_groups, known, key)
        });
        let index = found.map(|(_, index)| *index);
        let events = index.and_then(|index| self.correlation_groups.get(index));
        let events = events.map(Vec::as_slice).unwrap_or_default();
        // Sorted only when it is asked for: a history of months may be one group, and is asked for
        // part by part.
        let order = index.and_then(|index| {
            if self.by_time.len() <= index {
                self.by_time.resize_with(index + 1, TimeOrder::default);
            }
            self.by_time.get_mut(index)
        });
        let order = order.map(|order| order.between(events, times));
        order
            .unwrap_or_default()
            .iter()
            .filter_map(|(_, index)| events.get(*index))
    }

    /// Open events that have been pending since a time or longer, by correlation group.
    pub(super) fn due(&self, since: EventTime) -> Vec<(&WaitingEvent, PendingPlace)> {
        let mut due = Vec::new();
        for (correlation_group, ends) in self.correlation_groups.iter().enumerate() {
            let placed = ends
                .iter()
                .zip(0..)
                .map(|(end, index)| (end, (correlation_group, index)));
            due.extend(placed.filter(|(waiting, _)| waiting.open && waiting.since <= since));
        }
        due
    }

    /// Lets an event wait as if since a time.
    pub(super) fn wait_since(
        &mut self,
        (correlation_group, index): PendingPlace,
        since: EventTime,
    ) {
        let ends = self.correlation_groups.get_mut(correlation_group);
        if let Some(waiting) = ends.and_then(|ends| ends.get_mut(index)) {
            waiting.since = since;
        }
    }

    pub(super) fn close(&mut self, (correlation_group, index): PendingPlace) {
        let ends = self.correlation_groups.get_mut(correlation_group);
        if let Some(waiting) = ends.and_then(|ends| ends.get_mut(index)) {
            // It stays in its group: without it, its other half could be paired a second time.
            waiting.open = false;
        }
    }
}

impl TimeOrder {
    /// The events of a group at these times.
    fn between(
        &mut self,
        events: &[WaitingEvent],
        times: RangeInclusive<EventTime>,
    ) -> &[(EventTime, usize)] {
        let known = self.0.len();
        if known < events.len() {
            let added = events.iter().zip(0..).skip(known);
            self.0
                .extend(added.map(|(event, index)| (event.end.time, index)));
            self.0.sort_unstable();
        }
        let first = self.0.partition_point(|(time, _)| time < times.start());
        let rest = self.0.get(first..).unwrap_or_default();
        let length = rest.partition_point(|(time, _)| time <= times.end());
        rest.get(..length).unwrap_or_default()
    }
}

/// The index of a correlation group, which is created if needed.
fn place_of_correlation_group(
    correlation_groups: &mut Vec<Vec<WaitingEvent>>,
    correlation_group_of: &mut HashTable<(u64, usize)>,
    key: &CorrelationKey,
) -> usize {
    let next = correlation_groups.len();
    let entry = correlation_group_of.entry(
        key.fingerprint(),
        |known| is_correlation_group(correlation_groups, known, key),
        fingerprint_of,
    );
    let (_, correlation_group) = *entry.or_insert((key.fingerprint(), next)).get();
    if correlation_group == next {
        correlation_groups.push(Vec::new());
    }
    correlation_group
}

fn fingerprint_of<P>((fingerprint, _): &(u64, P)) -> u64 {
    *fingerprint
}

/// Whether the event at a place has this identity. The fingerprint nearly always decides, and the
/// identities themselves are elsewhere in memory.
fn is_end(
    correlation_groups: &[Vec<WaitingEvent>],
    (fingerprint, (correlation_group, index)): &(u64, PendingPlace),
    id: &PendingEventId,
) -> bool {
    if *fingerprint != id.fingerprint() {
        return false;
    }
    let known = correlation_groups
        .get(*correlation_group)
        .and_then(|ends| ends.get(*index));
    known.is_some_and(|known| known.end.id == *id)
}

/// Whether the group at an index has this key.
fn is_correlation_group(
    correlation_groups: &[Vec<WaitingEvent>],
    (fingerprint, correlation_group): &(u64, usize),
    key: &CorrelationKey,
) -> bool {
    if *fingerprint != key.fingerprint() {
        return false;
    }
    let known = correlation_groups
        .get(*correlation_group)
        .and_then(|ends| ends.first());
    // A group is never empty here: it is made for an event, which is pushed before the next lookup.
    known.is_some_and(|known| known.end.correlation_group == *key)
}
