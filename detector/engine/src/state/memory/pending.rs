//! Loose ends by scene and by identity.

use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::pending_event::{CorrelationKey, PendingEvent, PendingEventId};
use crate::time::EventTime;

/// A loose end in the store.
pub(super) struct WaitingEvent {
    pub(super) end: Arc<PendingEvent>,
    /// Since when it waits for its other half.
    pub(super) since: EventTime,
    /// Whether it is still to be settled.
    pub(super) open: bool,
}

/// Scene, and place in it.
pub(super) type PendingPlace = (usize, usize);

/// Loose ends by scene. The tables hold fingerprints and places instead of keys: a replay has every
/// loose end in its hands already, and a key of its own for each would cost more than all the rest.
#[derive(Default)]
pub(super) struct PendingTable {
    correlation_groups: Vec<Vec<WaitingEvent>>,
    /// Fingerprint and place of each scene.
    correlation_group_of: HashTable<(u64, usize)>,
    /// Fingerprint of each loose end, its scene, and its place in that.
    known: HashTable<(u64, PendingPlace)>,
}

impl PendingTable {
    /// Makes room, so that the table does not grow again and again.
    pub(super) fn reserve(&mut self, more: usize) {
        self.known.reserve(more, fingerprint_of);
    }

    /// Adds a loose end unless it is there, and says whether it was added.
    pub(super) fn add(&mut self, end: &Arc<PendingEvent>, arrived: EventTime) -> bool {
        let id = &end.id;
        let Entry::Vacant(vacant) = self.known.entry(
            id.fingerprint(),
            |known| is_end(&self.correlation_groups, known, id),
            fingerprint_of,
        ) else {
            return false;
        };
        // Only now: what is delivered again needs no scene to be looked for.
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
            since: end.delivered.max(arrived),
            open: true,
        });
        true
    }

    /// Where a loose end is.
    pub(super) fn place(&self, id: &PendingEventId) -> Option<PendingPlace> {
        let found = self.known.find(id.fingerprint(), |known| {
            is_end(&self.correlation_groups, known, id)
        });
        found.map(|(_, place)| *place)
    }

    /// The loose ends of a scene, open or closed.
    pub(super) fn of_correlation_group(
        &self,
        key: &CorrelationKey,
    ) -> impl Iterator<Item = &WaitingEvent> {
        let found = self.correlation_group_of.find(key.fingerprint(), |known| {
            is_correlation_group(&self.correlation_groups, known, key)
        });
        let correlation_group = found
            .and_then(|(_, correlation_group)| self.correlation_groups.get(*correlation_group));
        correlation_group.into_iter().flatten()
    }

    /// Open loose ends that have waited since a time or longer, those of one scene after each
    /// other.
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

    pub(super) fn close(&mut self, (correlation_group, index): PendingPlace) {
        let ends = self.correlation_groups.get_mut(correlation_group);
        if let Some(waiting) = ends.and_then(|ends| ends.get_mut(index)) {
            waiting.open = false;
        }
    }
}

/// Where a scene is; an empty one is made where there is none.
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

/// Whether a loose end stands at a place. Fingerprints nearly always tell, and the keys themselves
/// are far away in memory.
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

/// Whether the loose ends at a place are those of a scene.
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
    known.is_some_and(|known| known.end.correlation_group == *key)
}
