//! Loose ends to accesses: of copies the best, joined within their scenes, and what is missing decided.

use std::collections::hash_map::Entry;
use std::ops::Deref;
use std::sync::Arc;

use ahash::{HashMap, HashSet};

use super::Pipeline;
use crate::access::{Access, Decrypt, DecryptStatus};
use crate::correlate::{self, Row, Scene};
use crate::coverage::CoverageMark;
use crate::ids::Text;
use crate::limits::SETTLE_MARGIN_SECS;
use crate::loose_end::{LooseEnd, LooseEndId, SceneKey, SceneRange};
use crate::observation::Observation;
use crate::parallel;
use crate::report::Report;
use crate::state::{StateError, StateStore};
use crate::time::EventTime;

impl Pipeline<'_> {
    /// Joins the loose ends with everything around them, to accesses in the order of the ledger. With `finally`, what is
    /// missing is absent or unknown; without, it is pending.
    pub(super) async fn settle<S: StateStore>(
        &self,
        store: &S,
        due: &[Arc<LooseEnd>],
        finally: bool,
        report: &mut Report,
    ) -> Result<Vec<Arc<Access>>, StateError> {
        let around = store.loose_ends_in(&scenes_of(due)).await?;
        // What is due is part of what is around it; in a replay it is all of it, and need not be looked for.
        let all_due = around.iter().map(Vec::len).sum::<usize>() == due.len();
        let due_ids: HashSet<LooseEndId> = due
            .iter()
            .filter(|_| !all_due)
            .map(|end| end.id.clone())
            .collect();
        let is_due = |id: LooseEndId| all_due || due_ids.contains(&id);
        let copied: Vec<&Arc<LooseEnd>> = around
            .iter()
            .flatten()
            .filter(|end| end.may_have_copies)
            .collect();
        let shared: Vec<Text> = copied
            .iter()
            .filter_map(|end| end.observation.head().shared_id.clone())
            .collect();
        let twins = store.loose_ends_sharing(&shared).await?;
        let best = (!copied.is_empty() || !twins.is_empty()).then(|| best_copies(&around, &twins));
        let is_best = |end: &LooseEnd| {
            best.as_ref()
                .is_none_or(|best| best.get(&copy_key(end)) == Some(&end.id))
        };
        due.iter()
            .for_each(|end| report.count_observation(&end.observation, is_best(end)));
        let scenes = parallel::map(self.threads, &around, |ends| {
            let paired = correlate::correlate(scene(
                ends.iter().map(|end| &**end).filter(|end| is_best(end)),
            ));
            let explained = paired
                .explained
                .iter()
                .filter(|h| is_due(LooseEndId::key_use(h)))
                .count() as u64;
            let mut rows = paired.rows;
            rows.retain(|row| {
                let ids = [
                    row.read.as_deref().map(LooseEndId::read),
                    row.key_use.as_deref().map(LooseEndId::key_use),
                ];
                let mut ids = ids.into_iter().flatten();
                // A row of which one half was settled before has been told, and is told again only to be completed.
                all_due
                    || if finally {
                        ids.any(is_due)
                    } else {
                        ids.all(is_due)
                    }
            });
            let late = self.late(&rows);
            (rows, explained, late)
        });
        let mut rows: Vec<Row> = Vec::with_capacity(due.len());
        for (of_scene, explained, late) in scenes {
            report.explained += explained;
            report.late += late;
            rows.extend(of_scene);
        }
        if finally {
            self.decide_absence(store, &mut rows).await?;
        }
        let mut accesses: Vec<_> = rows
            .into_iter()
            .map(|row| (row.access.head.time, row.access))
            .collect();
        accesses.sort_unstable_by(|(a_time, a), (b_time, b)| {
            a_time
                .cmp(b_time)
                .then_with(|| a.ledger_order().cmp(&b.ledger_order()))
        });
        Ok(accesses.into_iter().map(|(_, access)| access).collect())
    }

    /// How many of the rows that are asked for have a half that came after the horizon.
    pub(super) fn late(&self, rows: &[Row]) -> u64 {
        let is_late = |row: &&Row| {
            let halves = row.read.as_ref().zip(row.key_use.as_ref());
            halves.is_some_and(|(read, key_use)| {
                read.delivered.distance(key_use.delivered) > self.horizon_secs
            })
        };
        rows.iter()
            .filter(|row| self.selection.takes(&row.access))
            .filter(is_late)
            .count() as u64
    }

    pub(super) async fn decide_absence<S: StateStore>(
        &self,
        store: &S,
        rows: &mut [Row],
    ) -> Result<(), StateError> {
        let open: Vec<&mut Row> = rows
            .iter_mut()
            .filter(|row| row.access.decrypt.status == DecryptStatus::Pending)
            .collect();
        let head = |row: &Row| row.access.head.clone();
        let marks: Vec<CoverageMark> = open
            .iter()
            .flat_map(|row| {
                let head = head(row);
                CoverageMark::at(head.account.clone(), head.region.clone(), head.time).around()
            })
            .collect();
        let covered = store.covered(&marks).await?;
        for (row, covered) in open.into_iter().zip(covered.chunks(3)) {
            let proven = row.absence_proves && covered.contains(&true);
            Arc::make_mut(&mut row.access).decrypt = Decrypt::only(if proven {
                DecryptStatus::Absent
            } else {
                DecryptStatus::Unknown
            });
        }
        Ok(())
    }
}

/// What copies of one event have in common.
pub(super) fn copy_key(end: &LooseEnd) -> (u8, Text) {
    (end.id.kind(), end.observation.head().event_key().clone())
}

/// Keeps a copy of an event unless a better one is known.
pub(super) fn keep_best<E: Deref<Target = LooseEnd>>(best: &mut HashMap<(u8, Text), E>, end: E) {
    match best.entry(copy_key(&end)) {
        Entry::Occupied(mut known)
            if end.observation.head().preference()
                > known.get().observation.head().preference() =>
        {
            known.insert(end);
        }
        Entry::Occupied(_) => {}
        Entry::Vacant(place) => {
            place.insert(end);
        }
    }
}

/// Of the copies of each event, the one to keep.
fn best_copies(
    around: &[Vec<Arc<LooseEnd>>],
    twins: &[Arc<LooseEnd>],
) -> HashMap<(u8, Text), LooseEndId> {
    let mut best: HashMap<(u8, Text), &LooseEnd> = HashMap::default();
    around
        .iter()
        .flatten()
        .chain(twins)
        .for_each(|end| keep_best(&mut best, &**end));
    best.into_iter()
        .map(|(key, end)| (key, end.id.clone()))
        .collect()
}

/// For each scene of the loose ends, the time that could matter for them.
fn scenes_of(due: &[Arc<LooseEnd>]) -> Vec<SceneRange> {
    let mut spans: HashMap<&SceneKey, (EventTime, EventTime)> = HashMap::default();
    // A store gives the ends of a scene together, as far as it can.
    for ends in due.chunk_by(|a, b| a.scene == b.scene) {
        let Some(first) = ends.first() else { continue };
        let span = spans
            .entry(&first.scene)
            .or_insert((first.time, first.time));
        *span = ends.iter().fold(*span, |(from, to), end| {
            (from.min(end.time), to.max(end.time))
        });
    }
    let mut scenes: Vec<_> = spans
        .into_iter()
        .map(|(scene, (from, to))| SceneRange {
            scene: scene.clone(),
            from: from.plus(-SETTLE_MARGIN_SECS),
            to: to.plus(SETTLE_MARGIN_SECS),
        })
        .collect();
    scenes.sort();
    scenes
}

pub(super) fn scene<'e>(ends: impl Iterator<Item = &'e LooseEnd>) -> Scene {
    let mut scene = Scene::default();
    for end in ends {
        match &end.observation {
            Observation::Read(read) => scene.reads.push(read.clone()),
            Observation::KeyUse(key_use) => scene.key_uses.push(key_use.clone()),
            Observation::Change(change) => scene.changes.push(change.clone()),
        }
    }
    scene
}
