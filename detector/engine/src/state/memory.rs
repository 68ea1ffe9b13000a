//! The store of a replay and of tests: maps in memory, gone when it is dropped.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::HashMap;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::alert::{Alert, AlertId};
use crate::coverage::{CoverageMark, Hours};
use crate::fact::{Fact, FactSet, RuleRange, WindowKey, WindowRange};
use crate::ids::Text;
use crate::loose_end::{LooseEnd, LooseEndId, SceneKey, SceneRange};
use crate::seen::{self, Memory, Sighting, Times};
use crate::state::{Due, StateError, StateStore};
use crate::time::EventTime;

/// A loose end, since when it waits, and whether it is open.
type Waiting = (Arc<LooseEnd>, EventTime, bool);

#[derive(Default)]
struct Tables {
    facts: HashMap<WindowKey, FactSet>,
    /// Rules of each window that have facts at any time.
    slots: HashMap<Text, BTreeSet<usize>>,
    loose: Loose,
    shared: HashMap<Text, Vec<Arc<LooseEnd>>>,
    /// Account, region, and hours.
    coverage: HashMap<(Text, Text), Hours>,
    seen: HashMap<Text, Times>,
    /// Each with when it was created, and whether it was published.
    alerts: HashMap<AlertId, (Alert, EventTime, bool)>,
}

/// Loose ends by scene. The tables hold fingerprints and places instead of keys: a replay has every loose end in its
/// hands already, and a key of its own for each would cost more than all the rest.
#[derive(Default)]
struct Loose {
    scenes: Vec<Vec<Waiting>>,
    /// Fingerprint and place of each scene.
    scene_of: HashTable<(u64, usize)>,
    /// Fingerprint of each loose end, its scene, and its place in that.
    known: HashTable<(u64, Place)>,
}

/// Scene, and place in it.
type Place = (usize, usize);

impl Loose {
    /// Where a loose end is.
    fn place(&self, id: &LooseEndId) -> Option<Place> {
        let is = |(fingerprint, place): &(u64, Place)| {
            *fingerprint == id.fingerprint() && is_at(&self.scenes, *place, id)
        };
        self.known
            .find(id.fingerprint(), is)
            .map(|(_, place)| *place)
    }

    fn scene(&self, key: &SceneKey) -> Option<&Vec<Waiting>> {
        let is = |(fingerprint, scene): &(u64, usize)| {
            *fingerprint == key.fingerprint() && is_of(&self.scenes, *scene, key)
        };
        self.scene_of
            .find(key.fingerprint(), is)
            .and_then(|(_, scene)| self.scenes.get(*scene))
    }

    /// Adds a loose end unless it is there, and says whether it was added.
    fn add(&mut self, end: &Arc<LooseEnd>, arrived: EventTime) -> bool {
        let Self {
            scenes,
            scene_of,
            known,
        } = self;
        let (id, key) = (&end.id, &end.scene);
        let is = |(fingerprint, place): &(u64, Place)| {
            *fingerprint == id.fingerprint() && is_at(scenes, *place, id)
        };
        let Entry::Vacant(vacant) =
            known.entry(id.fingerprint(), is, |(fingerprint, _)| *fingerprint)
        else {
            return false;
        };
        let is = |(fingerprint, scene): &(u64, usize)| {
            *fingerprint == key.fingerprint() && is_of(scenes, *scene, key)
        };
        let new = (key.fingerprint(), scenes.len());
        let (_, scene) = *scene_of
            .entry(key.fingerprint(), is, |(fingerprint, _)| *fingerprint)
            .or_insert(new)
            .get();
        if scene == scenes.len() {
            scenes.push(Vec::new());
        }
        let Some(ends) = scenes.get_mut(scene) else {
            return false;
        };
        vacant.insert((id.fingerprint(), (scene, ends.len())));
        ends.push((end.clone(), end.delivered.max(arrived), true));
        true
    }

    fn close(&mut self, place: Place) {
        if let Some((_, _, open)) = self
            .scenes
            .get_mut(place.0)
            .and_then(|ends| ends.get_mut(place.1))
        {
            *open = false;
        }
    }
}

fn is_at(scenes: &[Vec<Waiting>], (scene, index): Place, id: &LooseEndId) -> bool {
    scenes
        .get(scene)
        .and_then(|ends| ends.get(index))
        .is_some_and(|(end, _, _)| end.id == *id)
}

fn is_of(scenes: &[Vec<Waiting>], scene: usize, key: &SceneKey) -> bool {
    scenes
        .get(scene)
        .and_then(|ends| ends.first())
        .is_some_and(|(end, _, _)| end.scene == *key)
}

/// Keeps everything in memory.
#[derive(Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
}

impl MemoryStore {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        // A writer that panicked left maps that are still maps.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryStore {
    /// Adds one fact.
    pub(crate) fn add_fact(&self, key: WindowKey, fact: Fact) {
        let mut tables = self.tables();
        match tables.slots.get_mut(&key.rule) {
            Some(slots) => drop(slots.insert(fact.slot)),
            None => drop(
                tables
                    .slots
                    .insert(key.rule.clone(), BTreeSet::from([fact.slot])),
            ),
        }
        tables.facts.entry(key).or_default().add(fact);
    }

    /// Closes loose ends.
    pub(crate) fn close(&self, ids: &[LooseEndId]) {
        let mut tables = self.tables();
        for id in ids {
            if let Some(place) = tables.loose.place(id) {
                tables.loose.close(place);
            }
        }
    }

    /// Forgets the facts of each rule before a time.
    pub(crate) fn forget_facts(&self, oldest: &HashMap<Text, EventTime>) {
        let is_kept = |key: &WindowKey, set: &mut FactSet| {
            oldest
                .get(&key.rule)
                .is_none_or(|oldest| set.forget(*oldest))
        };
        self.tables().facts.retain(is_kept);
    }

    /// Forgets what was last seen before a time; since when there are logs is not forgotten.
    pub(crate) fn forget_seen(&self, oldest: EventTime, memory: Memory) {
        self.tables().seen.retain(|key, times| {
            seen::is_since_key(key) || times.forget(oldest, memory.grain_secs())
        });
    }
}

impl StateStore for MemoryStore {
    type Receipt = Vec<Place>;

    async fn put_facts(&self, facts: Vec<(WindowKey, Fact)>) -> Result<(), StateError> {
        facts
            .into_iter()
            .for_each(|(key, fact)| self.add_fact(key, fact));
        Ok(())
    }

    async fn facts(&self, ranges: &[WindowRange]) -> Result<Vec<Vec<Fact>>, StateError> {
        let tables = self.tables();
        let read = |range: &WindowRange| {
            let set = tables.facts.get(&range.key).into_iter();
            set.flat_map(|set| set.between(range.from, range.to))
                .cloned()
                .collect()
        };
        Ok(ranges.iter().map(read).collect())
    }

    async fn slots(&self, windows: &[RuleRange]) -> Result<Vec<BTreeSet<usize>>, StateError> {
        let tables = self.tables();
        Ok(windows
            .iter()
            .map(|range| tables.slots.get(&range.rule).cloned().unwrap_or_default())
            .collect())
    }

    async fn put_loose_ends(
        &self,
        mut ends: Vec<Arc<LooseEnd>>,
        arrived: EventTime,
    ) -> Result<(), StateError> {
        // Those of one scene after each other: it is looked for in memory once.
        ends.sort_by_cached_key(|end| end.scene.fingerprint());
        let mut tables = self.tables();
        let Tables { loose, shared, .. } = &mut *tables;
        loose
            .known
            .reserve(ends.len(), |(fingerprint, _)| *fingerprint);
        for end in ends {
            if loose.add(&end, arrived)
                && end.may_have_copies
                && let Some(id) = end.observation.head().shared_id.clone()
            {
                shared.entry(id).or_default().push(end);
            }
        }
        Ok(())
    }

    async fn due_loose_ends(
        &self,
        since: EventTime,
        most: usize,
    ) -> Result<Due<Self::Receipt>, StateError> {
        let tables = self.tables();
        let mut due: Vec<(&Waiting, Place)> = Vec::new();
        for (scene, ends) in tables.loose.scenes.iter().enumerate() {
            let placed = ends
                .iter()
                .enumerate()
                .map(|(index, end)| (end, (scene, index)));
            due.extend(placed.filter(|((_, waits_from, open), _)| *open && *waits_from <= since));
        }
        if due.len() > most {
            due.sort_by_key(|((_, waits_from, _), _)| *waits_from);
            due.truncate(most);
        }
        let (ends, receipt) = due
            .into_iter()
            .map(|((end, _, _), place)| (end.clone(), place))
            .unzip();
        Ok(Due { ends, receipt })
    }

    async fn loose_ends_in(
        &self,
        scenes: &[SceneRange],
    ) -> Result<Vec<Vec<Arc<LooseEnd>>>, StateError> {
        let tables = self.tables();
        let read = |SceneRange { scene, from, to }: &SceneRange| {
            let ends = tables.loose.scene(scene).into_iter().flatten();
            let near = |(end, _, _): &&Waiting| (*from..=*to).contains(&end.time);
            ends.filter(near).map(|(end, _, _)| end.clone()).collect()
        };
        Ok(scenes.iter().map(read).collect())
    }

    async fn loose_ends_sharing(
        &self,
        shared_ids: &[Text],
    ) -> Result<Vec<Arc<LooseEnd>>, StateError> {
        let tables = self.tables();
        Ok(shared_ids
            .iter()
            .filter_map(|id| tables.shared.get(id))
            .flatten()
            .cloned()
            .collect())
    }

    async fn close_loose_ends(&self, receipt: Self::Receipt) -> Result<(), StateError> {
        let mut tables = self.tables();
        receipt
            .into_iter()
            .for_each(|place| tables.loose.close(place));
        Ok(())
    }

    async fn mark_coverage(&self, marks: Vec<CoverageMark>) -> Result<(), StateError> {
        let mut tables = self.tables();
        for CoverageMark {
            account,
            region,
            bucket,
        } in marks
        {
            tables
                .coverage
                .entry((account, region))
                .or_default()
                .add(bucket);
        }
        Ok(())
    }

    async fn covered(&self, marks: &[CoverageMark]) -> Result<Vec<bool>, StateError> {
        let tables = self.tables();
        let is_covered = |CoverageMark {
                              account,
                              region,
                              bucket,
                          }: &CoverageMark| {
            tables
                .coverage
                .get(&(account.clone(), region.clone()))
                .is_some_and(|hours| hours.contains(*bucket))
        };
        Ok(marks.iter().map(is_covered).collect())
    }

    async fn seen(&self, keys: &[Text]) -> Result<Vec<Times>, StateError> {
        let tables = self.tables();
        Ok(keys
            .iter()
            .map(|key| tables.seen.get(key).cloned().unwrap_or_default())
            .collect())
    }

    async fn put_seen(&self, times: Vec<Sighting>, memory: Memory) -> Result<(), StateError> {
        let mut tables = self.tables();
        for Sighting { key, time } in times {
            tables
                .seen
                .entry(key)
                .or_default()
                .add(time, memory.grain_secs());
        }
        Ok(())
    }

    async fn create_alerts(
        &self,
        alerts: Vec<Alert>,
        now: EventTime,
    ) -> Result<Vec<bool>, StateError> {
        let mut tables = self.tables();
        let mut created = Vec::with_capacity(alerts.len());
        for alert in alerts {
            let new = !tables.alerts.contains_key(&alert.id);
            if new {
                tables.alerts.insert(alert.id.clone(), (alert, now, false));
            }
            created.push(new);
        }
        Ok(created)
    }

    async fn unpublished(
        &self,
        created_before: EventTime,
        _most: usize,
    ) -> Result<Vec<Alert>, StateError> {
        let tables = self.tables();
        let waiting = tables
            .alerts
            .values()
            .filter(|(_, created, published)| !published && *created < created_before);
        Ok(waiting.map(|(alert, _, _)| alert.clone()).collect())
    }

    async fn mark_published(&self, ids: &[AlertId]) -> Result<(), StateError> {
        let mut tables = self.tables();
        for id in ids {
            if let Some((_, _, published)) = tables.alerts.get_mut(id) {
                *published = true;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::contract;

    #[test]
    fn keeps_the_contract() {
        pollster::block_on(contract::run(MemoryStore::default));
    }

    #[test]
    fn loose_ends_with_one_fingerprint_are_told_apart() {
        let ends: Vec<Arc<LooseEnd>> = [("e1", "ann"), ("e2", "ann"), ("e3", "bob")]
            .into_iter()
            .map(|(id, actor)| {
                let end = (*contract::end(id, 100, actor)).clone();
                Arc::new(end.colliding())
            })
            .collect();
        pollster::block_on(async {
            let store = MemoryStore::default();
            for _ in 0..2 {
                store
                    .put_loose_ends(ends.clone(), EventTime(0))
                    .await
                    .unwrap();
            }
            let due = async || store.due_loose_ends(EventTime(100), 10).await.unwrap().ends;
            assert_eq!(due().await, ends);
            let scenes = [1, 2].map(|index| SceneRange {
                scene: ends[index].scene.clone(),
                from: EventTime(100),
                to: EventTime(100),
            });
            assert_eq!(
                store.loose_ends_in(&scenes).await.unwrap(),
                [ends[..2].to_vec(), ends[2..].to_vec()]
            );
            store.close(&[ends[1].id.clone()]);
            assert_eq!(due().await, [ends[0].clone(), ends[2].clone()]);
        });
    }
}
