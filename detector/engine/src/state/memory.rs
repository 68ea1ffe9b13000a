//! The store of a replay and of tests: maps in memory, gone when it is dropped.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::HashMap;

use super::{CoverageMark, Fact, LooseEnd, LooseEndId, SceneKey, StateError, StateStore, WindowKey, WindowRange};
use crate::alert::{Alert, AlertId};
use crate::ids::Text;
use crate::seen::Span;
use crate::time::EventTime;

type FactId = (EventTime, usize, Text, Option<Text>);

#[derive(Default)]
struct Tables {
    facts: HashMap<WindowKey, BTreeMap<FactId, Fact>>,
    /// Loose ends by scene, each with whether it is open.
    scenes: Vec<Vec<(Arc<LooseEnd>, bool)>>,
    scene_of: HashMap<SceneKey, usize>,
    /// Scene and place in it.
    known: HashMap<LooseEndId, (usize, usize)>,
    shared: HashMap<Text, Vec<Arc<LooseEnd>>>,
    coverage: BTreeSet<CoverageMark>,
    seen: HashMap<Text, Span>,
    alerts: HashMap<AlertId, (Alert, bool)>,
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

impl StateStore for MemoryStore {
    async fn put_facts(&self, facts: Vec<(WindowKey, Fact)>) -> Result<(), StateError> {
        let mut tables = self.tables();
        for (key, fact) in facts {
            let id = (fact.time, fact.slot, fact.key.clone(), fact.value.clone());
            let window = tables.facts.entry(key).or_default();
            match window.get_mut(&id) {
                Some(known) if fact.evidence.tells_more_than(&known.evidence) => *known = fact,
                Some(_) => {}
                None => {
                    window.insert(id, fact);
                }
            }
        }
        Ok(())
    }

    async fn facts(&self, ranges: &[WindowRange]) -> Result<Vec<Vec<Fact>>, StateError> {
        let tables = self.tables();
        let read = |range: &WindowRange| {
            let facts = tables.facts.get(&range.key).into_iter().flatten();
            facts.filter(|(id, _)| (range.from..=range.to).contains(&id.0)).map(|(_, fact)| fact.clone()).collect()
        };
        Ok(ranges.iter().map(read).collect())
    }

    async fn put_loose_ends(&self, ends: Vec<Arc<LooseEnd>>) -> Result<(), StateError> {
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
                scene.push((end, true));
            }
        }
        Ok(())
    }

    async fn due_loose_ends(&self, delivered: EventTime) -> Result<Vec<Arc<LooseEnd>>, StateError> {
        let tables = self.tables();
        let is_due = |(end, open): &&(Arc<LooseEnd>, bool)| *open && end.observation.head().delivered <= delivered;
        Ok(tables.scenes.iter().flatten().filter(is_due).map(|(end, _)| end.clone()).collect())
    }

    async fn loose_ends_in(
        &self,
        scenes: &[(SceneKey, EventTime, EventTime)],
    ) -> Result<Vec<Vec<Arc<LooseEnd>>>, StateError> {
        let tables = self.tables();
        let read = |(scene, from, to): &(SceneKey, EventTime, EventTime)| {
            let ends = tables.scene_of.get(scene).and_then(|index| tables.scenes.get(*index)).into_iter().flatten();
            let near = |(end, _): &&(Arc<LooseEnd>, bool)| (*from..=*to).contains(&end.observation.head().time);
            ends.filter(near).map(|(end, _)| end.clone()).collect()
        };
        Ok(scenes.iter().map(read).collect())
    }

    async fn loose_ends_sharing(&self, shared_ids: &[Text]) -> Result<Vec<Arc<LooseEnd>>, StateError> {
        let tables = self.tables();
        Ok(shared_ids.iter().filter_map(|id| tables.shared.get(id)).flatten().cloned().collect())
    }

    async fn close_loose_ends(&self, ids: &[LooseEndId]) -> Result<(), StateError> {
        let mut tables = self.tables();
        for id in ids {
            let place = tables.known.get(id).copied();
            let end = place.and_then(|(scene, index)| tables.scenes.get_mut(scene)?.get_mut(index));
            if let Some((_, open)) = end {
                *open = false;
            }
        }
        Ok(())
    }

    async fn mark_coverage(&self, marks: Vec<CoverageMark>) -> Result<(), StateError> {
        self.tables().coverage.extend(marks);
        Ok(())
    }

    async fn covered(&self, marks: &[CoverageMark]) -> Result<Vec<bool>, StateError> {
        let tables = self.tables();
        Ok(marks.iter().map(|mark| tables.coverage.contains(mark)).collect())
    }

    async fn seen(&self, keys: &[Text]) -> Result<Vec<Option<Span>>, StateError> {
        let tables = self.tables();
        Ok(keys.iter().map(|key| tables.seen.get(key).copied()).collect())
    }

    async fn put_seen(&self, spans: Vec<(Text, Span)>) -> Result<(), StateError> {
        let mut tables = self.tables();
        for (key, span) in spans {
            let known = tables.seen.entry(key).or_insert(span);
            *known = known.merged(span);
        }
        Ok(())
    }

    async fn create_alerts(&self, alerts: Vec<Alert>) -> Result<Vec<bool>, StateError> {
        let mut tables = self.tables();
        let mut created = Vec::with_capacity(alerts.len());
        for alert in alerts {
            let new = !tables.alerts.contains_key(&alert.id);
            if new {
                tables.alerts.insert(alert.id.clone(), (alert, false));
            }
            created.push(new);
        }
        Ok(created)
    }

    async fn unpublished(&self) -> Result<Vec<Alert>, StateError> {
        Ok(self.tables().alerts.values().filter(|(_, published)| !published).map(|(alert, _)| alert.clone()).collect())
    }

    async fn mark_published(&self, ids: &[AlertId]) -> Result<(), StateError> {
        let mut tables = self.tables();
        for id in ids {
            if let Some((_, published)) = tables.alerts.get_mut(id) {
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
