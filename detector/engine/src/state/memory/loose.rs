//! Loose ends by scene and by identity.

use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::loose_end::{CorrelationKey, PendingEvent, PendingEventId};
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
    scenes: Vec<Vec<WaitingEvent>>,
    /// Fingerprint and place of each scene.
    scene_of: HashTable<(u64, usize)>,
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
            |known| is_end(&self.scenes, known, id),
            fingerprint_of,
        ) else {
            return false;
        };
        // Only now: what is delivered again needs no scene to be looked for.
        let scene = place_of_scene(&mut self.scenes, &mut self.scene_of, &end.scene);
        let Some(ends) = self.scenes.get_mut(scene) else {
            return false;
        };
        vacant.insert((id.fingerprint(), (scene, ends.len())));
        ends.push(WaitingEvent {
            end: end.clone(),
            since: end.delivered.max(arrived),
            open: true,
        });
        true
    }

    /// Where a loose end is.
    pub(super) fn place(&self, id: &PendingEventId) -> Option<PendingPlace> {
        let found = self
            .known
            .find(id.fingerprint(), |known| is_end(&self.scenes, known, id));
        found.map(|(_, place)| *place)
    }

    /// The loose ends of a scene, open or closed.
    pub(super) fn of_scene(&self, key: &CorrelationKey) -> impl Iterator<Item = &WaitingEvent> {
        let found = self.scene_of.find(key.fingerprint(), |known| {
            is_scene(&self.scenes, known, key)
        });
        let scene = found.and_then(|(_, scene)| self.scenes.get(*scene));
        scene.into_iter().flatten()
    }

    /// Open loose ends that have waited since a time or longer, those of one scene after each
    /// other.
    pub(super) fn due(&self, since: EventTime) -> Vec<(&WaitingEvent, PendingPlace)> {
        let mut due = Vec::new();
        for (scene, ends) in self.scenes.iter().enumerate() {
            let placed = ends
                .iter()
                .zip(0..)
                .map(|(end, index)| (end, (scene, index)));
            due.extend(placed.filter(|(waiting, _)| waiting.open && waiting.since <= since));
        }
        due
    }

    pub(super) fn close(&mut self, (scene, index): PendingPlace) {
        let ends = self.scenes.get_mut(scene);
        if let Some(waiting) = ends.and_then(|ends| ends.get_mut(index)) {
            waiting.open = false;
        }
    }
}

/// Where a scene is; an empty one is made where there is none.
fn place_of_scene(
    scenes: &mut Vec<Vec<WaitingEvent>>,
    scene_of: &mut HashTable<(u64, usize)>,
    key: &CorrelationKey,
) -> usize {
    let next = scenes.len();
    let entry = scene_of.entry(
        key.fingerprint(),
        |known| is_scene(scenes, known, key),
        fingerprint_of,
    );
    let (_, scene) = *entry.or_insert((key.fingerprint(), next)).get();
    if scene == next {
        scenes.push(Vec::new());
    }
    scene
}

fn fingerprint_of<P>((fingerprint, _): &(u64, P)) -> u64 {
    *fingerprint
}

/// Whether a loose end stands at a place. Fingerprints nearly always tell, and the keys themselves
/// are far away in memory.
fn is_end(
    scenes: &[Vec<WaitingEvent>],
    (fingerprint, (scene, index)): &(u64, PendingPlace),
    id: &PendingEventId,
) -> bool {
    if *fingerprint != id.fingerprint() {
        return false;
    }
    let known = scenes.get(*scene).and_then(|ends| ends.get(*index));
    known.is_some_and(|known| known.end.id == *id)
}

/// Whether the loose ends at a place are those of a scene.
fn is_scene(
    scenes: &[Vec<WaitingEvent>],
    (fingerprint, scene): &(u64, usize),
    key: &CorrelationKey,
) -> bool {
    if *fingerprint != key.fingerprint() {
        return false;
    }
    let known = scenes.get(*scene).and_then(|ends| ends.first());
    known.is_some_and(|known| known.end.scene == *key)
}
