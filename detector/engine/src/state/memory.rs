//! The store of a replay and of tests: maps in memory, gone when it is dropped.

use std::collections::BTreeSet;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::HashMap;

use super::{
    CoverageMark, Due, Fact, FactSet, Hours, LooseEnd, LooseEndId, SceneKey, StateError, StateStore, WindowKey,
    WindowRange,
};
use crate::alert::{Alert, AlertId};
use crate::ids::Text;
use crate::seen::{self, Memory, Times};
use crate::time::EventTime;

/// A loose end, since when it waits, and whether it is open.
type Waiting = (Arc<LooseEnd>, EventTime, bool);

#[derive(Default)]
struct Tables {
    facts: HashMap<WindowKey, FactSet>,
    /// Rules of each window that have facts at any time.
    slots: HashMap<Text, BTreeSet<usize>>,
    /// Loose ends by scene.
    scenes: Vec<Vec<Waiting>>,
    scene_of: HashMap<SceneKey, usize>,
    /// Scene and place in it.
    known: HashMap<LooseEndId, (usize, usize)>,
    shared: HashMap<Text, Vec<Arc<LooseEnd>>>,
    /// Account, region, and hours.
    coverage: HashMap<(Text, Text), Hours>,
    seen: HashMap<Text, Times>,
    /// Each with when it was created, and whether it was published.
    alerts: HashMap<AlertId, (Alert, EventTime, bool)>,
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
            None => drop(tables.slots.insert(key.rule.clone(), BTreeSet::from([fact.slot]))),
        }
        tables.facts.entry(key).or_default().add(fact);
    }

    /// Forgets the facts of each rule before a time.
    pub(crate) fn forget_facts(&self, oldest: &HashMap<Text, EventTime>) {
        let is_kept =
            |key: &WindowKey, set: &mut FactSet| oldest.get(&key.rule).is_none_or(|oldest| set.forget(*oldest));
        self.tables().facts.retain(is_kept);
    }

    /// Forgets what was last seen before a time; since when there are logs is not forgotten.
    pub(crate) fn forget_seen(&self, oldest: EventTime, memory: Memory) {
        self.tables().seen.retain(|key, times| seen::is_since_key(key) || times.forget(oldest, memory.grain_secs()));
    }
}

impl StateStore for MemoryStore {
    type Receipt = Vec<LooseEndId>;

    async fn put_facts(&self, facts: Vec<(WindowKey, Fact)>) -> Result<(), StateError> {
        facts.into_iter().for_each(|(key, fact)| self.add_fact(key, fact));
        Ok(())
    }

    async fn facts(&self, ranges: &[WindowRange]) -> Result<Vec<Vec<Fact>>, StateError> {
        let tables = self.tables();
        let read = |range: &WindowRange| {
            let set = tables.facts.get(&range.key).into_iter();
            set.flat_map(|set| set.between(range.from, range.to)).cloned().collect()
        };
        Ok(ranges.iter().map(read).collect())
    }

    async fn slots(&self, windows: &[(Text, EventTime, EventTime)]) -> Result<Vec<BTreeSet<usize>>, StateError> {
        let tables = self.tables();
        let of = |(rule, _, _): &(Text, EventTime, EventTime)| tables.slots.get(rule).cloned().unwrap_or_default();
        Ok(windows.iter().map(of).collect())
    }

    async fn put_loose_ends(&self, ends: Vec<Arc<LooseEnd>>, arrived: EventTime) -> Result<(), StateError> {
        let mut tables = self.tables();
        let Tables { scenes, scene_of, known, shared, .. } = &mut *tables;
        for end in ends {
            let Entry::Vacant(place) = known.entry(end.id.clone()) else { continue };
            let index = *scene_of.entry(end.scene.clone()).or_insert_with(|| {
                scenes.push(Vec::new());
                scenes.len() - 1
            });
            if let Some(id) = end.observation.head().shared_id.clone() {
                shared.entry(id).or_default().push(end.clone());
            }
            if let Some(scene) = scenes.get_mut(index) {
                place.insert((index, scene.len()));
                let waits_from = end.observation.head().delivered.max(arrived);
                scene.push((end, waits_from, true));
            }
        }
        Ok(())
    }

    async fn due_loose_ends(&self, since: EventTime, most: usize) -> Result<Due<Self::Receipt>, StateError> {
        let tables = self.tables();
        let is_due = |(_, waits_from, open): &&Waiting| *open && *waits_from <= since;
        let mut due: Vec<&Waiting> = tables.scenes.iter().flatten().filter(is_due).collect();
        if due.len() > most {
            due.sort_by_key(|(_, waits_from, _)| *waits_from);
            due.truncate(most);
        }
        let ends: Vec<_> = due.into_iter().map(|(end, _, _)| end.clone()).collect();
        Ok(Due { receipt: ends.iter().map(|end| end.id.clone()).collect(), ends })
    }

    async fn loose_ends_in(
        &self,
        scenes: &[(SceneKey, EventTime, EventTime)],
    ) -> Result<Vec<Vec<Arc<LooseEnd>>>, StateError> {
        let tables = self.tables();
        let read = |(scene, from, to): &(SceneKey, EventTime, EventTime)| {
            let ends = tables.scene_of.get(scene).and_then(|index| tables.scenes.get(*index)).into_iter().flatten();
            let near = |(end, _, _): &&Waiting| (*from..=*to).contains(&end.observation.head().time);
            ends.filter(near).map(|(end, _, _)| end.clone()).collect()
        };
        Ok(scenes.iter().map(read).collect())
    }

    async fn loose_ends_sharing(&self, shared_ids: &[Text]) -> Result<Vec<Arc<LooseEnd>>, StateError> {
        let tables = self.tables();
        Ok(shared_ids.iter().filter_map(|id| tables.shared.get(id)).flatten().cloned().collect())
    }

    async fn close_loose_ends(&self, receipt: Self::Receipt) -> Result<(), StateError> {
        let mut tables = self.tables();
        for id in receipt {
            let place = tables.known.get(&id).copied();
            let end = place.and_then(|(scene, index)| tables.scenes.get_mut(scene)?.get_mut(index));
            if let Some((_, _, open)) = end {
                *open = false;
            }
        }
        Ok(())
    }

    async fn mark_coverage(&self, marks: Vec<CoverageMark>) -> Result<(), StateError> {
        let mut tables = self.tables();
        for CoverageMark { account, region, bucket } in marks {
            tables.coverage.entry((account, region)).or_default().add(bucket);
        }
        Ok(())
    }

    async fn covered(&self, marks: &[CoverageMark]) -> Result<Vec<bool>, StateError> {
        let tables = self.tables();
        let is_covered = |CoverageMark { account, region, bucket }: &CoverageMark| {
            tables.coverage.get(&(account.clone(), region.clone())).is_some_and(|hours| hours.contains(*bucket))
        };
        Ok(marks.iter().map(is_covered).collect())
    }

    async fn seen(&self, keys: &[Text]) -> Result<Vec<Times>, StateError> {
        let tables = self.tables();
        Ok(keys.iter().map(|key| tables.seen.get(key).cloned().unwrap_or_default()).collect())
    }

    async fn put_seen(&self, times: Vec<(Text, EventTime)>, memory: Memory) -> Result<(), StateError> {
        let mut tables = self.tables();
        for (key, time) in times {
            tables.seen.entry(key).or_default().add(time, memory.grain_secs());
        }
        Ok(())
    }

    async fn create_alerts(&self, alerts: Vec<Alert>, now: EventTime) -> Result<Vec<bool>, StateError> {
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

    async fn unpublished(&self, created_before: EventTime, _most: usize) -> Result<Vec<Alert>, StateError> {
        let tables = self.tables();
        let waiting = tables.alerts.values().filter(|(_, created, published)| !published && *created < created_before);
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
}
