//! A history in the order of its event times, a slice at a time: what is settled is given away, so that only what is open
//! is held. The result is that of a run that holds everything.
//!
//! Held are the loose ends of the last seconds, the accesses after the earliest of them, the facts of windows that later
//! facts may still complete, alerts that an earlier one may still precede, and when what was last seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::{HashMap, HashSet};

use super::drafts::{Drafts, Touched};
use super::settle::{copy_key, keep_best, scene};
use super::{Outcome, Pipeline, since};
use crate::access::Access;
use crate::alert::{Alert, AlertId};
use crate::correlate;
use crate::coverage::CoverageMark;
use crate::fact::WindowRange;
use crate::ids::Text;
use crate::limits::{PAIRING_TOLERANCE_SECS, SCENE_SECS, SETTLE_MARGIN_SECS};
use crate::loose_end::{LooseEnd, LooseEndId, SceneKey};
use crate::parallel;
use crate::report::Report;
use crate::scan::Harvest;
use crate::state::memory::MemoryStore;
use crate::state::{Due, StateError, StateStore};
use crate::time::EventTime;

/// A history that is taken in slice by slice.
pub struct History<'p, 'a> {
    pipeline: &'p Pipeline<'a>,
    clock: EventTime,
    /// The latest delivery, as far as it is known.
    newest: Option<EventTime>,
    store: MemoryStore,
    drafts: Drafts,
    scenes: HashMap<SceneKey, Open>,
    /// Of events with copies, the best one so far.
    best: HashMap<(u8, Text), Arc<LooseEnd>>,
    /// Accesses that are settled, and wait for earlier ones that are not.
    waiting: Vec<Arc<Access>>,
    alerts: BTreeMap<(EventTime, AlertId), Alert>,
    /// The grain of the memory up to which what was seen was forgotten.
    forgotten: i64,
}

impl<'p, 'a> History<'p, 'a> {
    /// A history that ends now, by this clock: what was delivered within the horizon before it stays pending.
    #[must_use]
    pub fn new(pipeline: &'p Pipeline<'a>, clock: EventTime) -> Self {
        Self {
            pipeline,
            clock,
            newest: None,
            store: MemoryStore::default(),
            drafts: Drafts::default(),
            scenes: HashMap::default(),
            best: HashMap::default(),
            waiting: Vec::new(),
            alerts: BTreeMap::new(),
            forgotten: i64::MIN,
        }
    }

    /// Remembers where KMS events were seen, and the latest delivery, in all of the history: before the first slice, in
    /// as many calls as it takes.
    ///
    /// # Errors
    ///
    /// None: memory does not fail.
    pub async fn mark(
        &mut self,
        coverage: HashSet<CoverageMark>,
        newest: Option<EventTime>,
    ) -> Result<(), StateError> {
        self.newest = self.newest.max(newest);
        if self.pipeline.rules.asks_for_seen() {
            self.store
                .put_seen(since(&[], &coverage), self.pipeline.memory)
                .await?;
        }
        self.store
            .mark_coverage(coverage.into_iter().collect())
            .await
    }

    /// Takes the next slice: everything before `upto` that was not in an earlier one. What is given is complete and in
    /// order: nothing earlier follows.
    ///
    /// # Errors
    ///
    /// None: memory does not fail.
    pub async fn advance(
        &mut self,
        slice: Harvest,
        upto: EventTime,
    ) -> Result<Outcome, StateError> {
        let mut outcome = Outcome::default();
        let ends = self
            .pipeline
            .look_at(
                &self.store,
                slice,
                None,
                &mut self.drafts,
                &mut outcome.report,
            )
            .await?;
        for end in ends {
            if end.may_have_copies {
                keep_best(&mut self.best, end.clone());
            }
            self.scenes
                .entry(end.scene.clone())
                .or_insert_with(Open::new)
                .ends
                .push(end);
        }
        let due = self.due();
        let pieces: Vec<Piece> = self
            .scenes
            .values_mut()
            .flat_map(|open| open.pieces(upto, due))
            .collect();
        self.scenes.retain(|_, open| !open.ends.is_empty());
        self.settle(&pieces, &mut outcome.report).await?;
        let before = self
            .scenes
            .values()
            .filter_map(Open::first)
            .min()
            .unwrap_or(upto)
            .min(upto);
        self.best.retain(|_, end| end.time >= before);
        self.tell(before, &mut outcome).await?;
        Ok(outcome)
    }

    /// Ends the history: settles what is left, and lists what is pending.
    ///
    /// # Errors
    ///
    /// None: memory does not fail.
    pub async fn finish(mut self) -> Result<Outcome, StateError> {
        let end_of_time = EventTime(i64::MAX);
        let mut first = self.advance(Harvest::default(), end_of_time).await?;
        // What is left is near a loose end that is not due. What was told of it, and of its copies, is not due again.
        let (mut left, mut closed, mut told) = (Vec::new(), Vec::new(), HashMap::default());
        for (scene, open) in std::mem::take(&mut self.scenes) {
            closed.extend(
                open.ends
                    .iter()
                    .filter(|end| end.time < open.told)
                    .map(|end| end.id.clone()),
            );
            left.extend(open.ends);
            told.insert(scene, open.told);
        }
        let known: HashSet<LooseEndId> = left.iter().map(|end| end.id.clone()).collect();
        for copy in std::mem::take(&mut self.best)
            .into_values()
            .filter(|end| !known.contains(&end.id))
        {
            closed.push(copy.id.clone());
            left.push(copy);
        }
        self.store.put_loose_ends(left, EventTime(i64::MIN)).await?;
        self.store.close(&closed);
        let Due { ends, receipt } = self.store.due_loose_ends(self.due(), usize::MAX).await?;
        let mut outcome = Outcome::default();
        let mut settled = self
            .pipeline
            .settle(&self.store, &ends, true, &mut outcome.report)
            .await?;
        let is_new = |access: &Arc<Access>| {
            let actor = access
                .head
                .principal
                .actor_key()
                .unwrap_or_else(|| "".into());
            let told = told.get(&SceneKey::new(actor, access.head.region.clone()));
            told.is_none_or(|told| access.head.time >= *told)
        };
        settled.retain(is_new);
        self.waiting.append(&mut settled);
        self.tell(end_of_time, &mut outcome).await?;
        self.store.close_loose_ends(receipt).await?;
        let mut pending = self.pipeline.pending(&self.store).await?;
        pending.accesses.retain(is_new);
        outcome.report.add(&pending.report);
        outcome.accesses.append(&mut pending.accesses);
        outcome
            .accesses
            .sort_by(|a, b| a.ledger_order().cmp(&b.ledger_order()));
        first.report.add(&outcome.report);
        first.accesses.append(&mut outcome.accesses);
        first.alerts.append(&mut outcome.alerts);
        Ok(first)
    }

    fn due(&self) -> EventTime {
        self.pipeline
            .time(self.clock, self.newest)
            .plus(-self.pipeline.horizon_secs)
    }

    /// Joins what is complete.
    async fn settle(&mut self, pieces: &[Piece], report: &mut Report) -> Result<(), StateError> {
        let best = &self.best;
        let is_best = |end: &LooseEnd| {
            best.get(&copy_key(end))
                .is_none_or(|best| best.id == end.id)
        };
        let joined = parallel::map(self.pipeline.threads, pieces, |piece| {
            let mut report = Report::default();
            piece
                .ends
                .iter()
                .filter(|end| piece.owns(end.time))
                .for_each(|end| report.count_observation(&end.observation, is_best(end)));
            let paired = correlate::correlate(scene(
                piece
                    .ends
                    .iter()
                    .map(|end| &**end)
                    .filter(|end| is_best(end)),
            ));
            report.explained += paired
                .explained
                .iter()
                .filter(|head| piece.owns(head.time))
                .count() as u64;
            let mut rows = paired.rows;
            rows.retain(|row| piece.owns(row.access.head.time));
            report.late += self.pipeline.late(&rows);
            (rows, report)
        });
        let mut rows = Vec::new();
        for (mut of_piece, counts) in joined {
            rows.append(&mut of_piece);
            report.add(&counts);
        }
        self.pipeline.decide_absence(&self.store, &mut rows).await?;
        self.waiting.extend(rows.into_iter().map(|row| row.access));
        Ok(())
    }

    /// Gives what is before a time, asks the rules about it, and forgets what no later fact needs.
    async fn tell(&mut self, before: EventTime, outcome: &mut Outcome) -> Result<(), StateError> {
        let Self {
            pipeline,
            store,
            drafts,
            ..
        } = self;
        let (mut now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|access| access.head.time < before);
        self.waiting = later;
        now.sort_by(|a, b| a.ledger_order().cmp(&b.ledger_order()));
        pipeline.judge_settled(store, now, drafts, outcome).await?;
        drafts.write(store, 0).await?;
        let mut alerts = BTreeMap::new();
        let (now, later) =
            std::mem::take(&mut drafts.singles)
                .into_iter()
                .partition(|(_, (_, evidence))| {
                    evidence.iter().any(|evidence| evidence.head.time < before)
                });
        drafts.singles = later;
        pipeline.single_alerts(now, &mut alerts);
        let complete = self.complete(before);
        let Self {
            pipeline,
            store,
            drafts,
            ..
        } = self;
        pipeline
            .window_alerts(store, &drafts.lone, complete, &mut alerts)
            .await?;
        self.alerts.extend(
            alerts
                .into_values()
                .map(|alert| ((alert.time, alert.id.clone()), alert)),
        );
        // A window that is not complete may still have an alert as early as its first fact.
        let open = drafts.touched.values().map(|(first, _)| *first).min();
        let later = self.alerts.split_off(&(
            open.map_or(before, |open| open.min(before)),
            AlertId("".into()),
        ));
        outcome.alerts = std::mem::replace(&mut self.alerts, later)
            .into_values()
            .collect();
        outcome
            .alerts
            .iter()
            .for_each(|alert| outcome.report.count_alert(alert));
        self.forget(before);
        Ok(())
    }

    /// What facts have touched in the buckets that are over. The rest stays touched.
    fn complete(&mut self, before: EventTime) -> Vec<Touched> {
        let rules = self.pipeline.rules;
        let mut complete = Vec::new();
        self.drafts.touched.retain(|(window, key), (first, last)| {
            let Some(rule) = rules.windows.get(*window) else {
                return false;
            };
            let over = over(before, rule.suppress_secs);
            if *first >= over {
                return true;
            }
            let ends = (*first, over.plus(-1).min(last.plus(rule.span_secs)));
            let range = WindowRange {
                key: key.clone(),
                from: first.plus(-rule.span_secs),
                to: ends.1,
            };
            complete.push(Touched {
                window: *window,
                range,
                ends,
            });
            *first = over;
            *last >= over
        });
        complete.sort_by(|a, b| (a.window, &a.range.key).cmp(&(b.window, &b.range.key)));
        complete
    }

    fn forget(&mut self, before: EventTime) {
        let windows = self.pipeline.rules.windows.iter();
        let oldest: HashMap<Text, EventTime> = windows
            .map(|window| {
                (
                    window.meta.id.as_str().into(),
                    over(before, window.suppress_secs).plus(-window.span_secs),
                )
            })
            .collect();
        self.store.forget_facts(&oldest);
        self.drafts.lone.forget_facts(&oldest);
        let memory = self.pipeline.memory;
        let oldest = before.plus(-memory.memory_secs);
        let grain = oldest.0.div_euclid(memory.grain_secs());
        if grain > self.forgotten {
            self.forgotten = grain;
            self.store.forget_seen(oldest, memory);
        }
    }
}

/// The start of the bucket that a time is in: those before it are over.
fn over(before: EventTime, bucket_secs: i64) -> EventTime {
    if before.0 == i64::MAX {
        return before;
    }
    EventTime(before.0.div_euclid(bucket_secs).saturating_mul(bucket_secs))
}

/// What is open of a scene.
struct Open {
    ends: Vec<Arc<LooseEnd>>,
    /// What is before this was told, and is held for what is near it.
    told: EventTime,
}

/// Loose ends that can be joined now, and which of what they come to is told: what is between two times.
struct Piece {
    ends: Vec<Arc<LooseEnd>>,
    from: EventTime,
    to: EventTime,
}

impl Piece {
    fn owns(&self, time: EventTime) -> bool {
        self.from <= time && time < self.to
    }
}

impl Open {
    fn new() -> Self {
        Self {
            ends: Vec::new(),
            told: EventTime(i64::MIN),
        }
    }

    /// The earliest time that was not told.
    fn first(&self) -> Option<EventTime> {
        self.ends
            .iter()
            .map(|end| end.time)
            .filter(|time| *time >= self.told)
            .min()
    }

    /// What is complete when everything before `upto` is here. Ends that are further apart than the tolerance have nothing
    /// to do with each other; where they follow each other for too long, they are cut, with a margin on both sides.
    fn pieces(&mut self, upto: EventTime, due: EventTime) -> Vec<Piece> {
        self.ends.sort_by_key(|end| end.time);
        let mut pieces = Vec::new();
        loop {
            let first = self.ends.partition_point(|end| end.time < self.told);
            let Some(from) = self.ends.get(first).map(|end| end.time) else {
                self.ends.clear();
                return pieces;
            };
            let mut last = from;
            let mut rest = self.ends.iter().skip(first).map(|end| end.time);
            let after = rest.find(|time| {
                let goes_on =
                    *time <= last.plus(PAIRING_TOLERANCE_SECS) && time.distance(from) <= SCENE_SECS;
                last = if goes_on { *time } else { last };
                !goes_on
            });
            let is_cut = after.is_some_and(|time| time <= last.plus(PAIRING_TOLERANCE_SECS));
            let (to, needed, held) = if is_cut {
                let cut = from.plus(SCENE_SECS);
                (
                    cut,
                    cut.plus(SETTLE_MARGIN_SECS),
                    cut.plus(-SETTLE_MARGIN_SECS),
                )
            } else {
                (
                    last.plus(1),
                    last.plus(PAIRING_TOLERANCE_SECS),
                    last.plus(1),
                )
            };
            let near = self.ends.partition_point(|end| end.time <= needed);
            let ends: Vec<_> = self.ends.iter().take(near).cloned().collect();
            if needed >= upto || ends.iter().any(|end| end.delivered > due) {
                return pieces;
            }
            pieces.push(Piece { ends, from, to });
            self.told = to;
            self.ends
                .drain(..self.ends.partition_point(|end| end.time < held));
        }
    }
}
