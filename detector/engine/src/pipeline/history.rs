//! Processes a history in event-time order, slice by slice: finalised results are returned at once,
//! so that only open state is held. The result equals that of a run that holds everything.
//!
//! Held are the pending events of the last seconds, the accesses after the earliest of them, the
//! facts of windows that later facts may still complete, alerts that an earlier one may still
//! precede, and sightings.

mod open;

use std::{collections::BTreeMap, sync::Arc};

use ahash::{HashMap, HashSet};

use self::open::{GroupPieces, OpenGroup};
use super::{
    BatchOutcome, Pipeline,
    alerts::AlertsById,
    covered::needed_for_covered,
    early::early_remembered,
    finalize::{JoinedEvents, all_rows, count},
    pending_alerts::{PendingAlerts, TouchedWindow},
    since,
};
use crate::{
    access::Access,
    alert::{Alert, AlertId},
    copies::BestCopies,
    correlate::{AccessRow, CrossingPairs},
    coverage::CoverageMark,
    ids::SharedStr,
    observation::{Observation, SecretChange},
    parallel,
    pending_event::{CorrelationKey, PendingEvent},
    report::ReadReport,
    rule::{RuleSet, WindowRule},
    scan::ScanResult,
    seen::{SeenTimes, Sighting},
    state::{StateError, StateStore, memory::MemoryStore},
    time::EventTime,
};

/// Later than any event.
const END_OF_TIME: EventTime = EventTime(i64::MAX);

/// A history that is processed slice by slice.
pub struct HistoryPipeline<'p, 'a> {
    pipeline: &'p Pipeline<'a>,
    clock: EventTime,
    /// The latest known delivery.
    newest: Option<EventTime>,
    store: MemoryStore,
    pending_alerts: PendingAlerts,
    correlation_groups: HashMap<CorrelationKey, OpenGroup>,
    best: BestCopies,
    /// Finalised accesses that wait for earlier ones that are still open.
    waiting: Vec<Arc<Access>>,
    alerts: BTreeMap<(EventTime, AlertId), Alert>,
    /// The lookback grain before which sightings have been dropped.
    forgotten: i64,
}

impl<'p, 'a> HistoryPipeline<'p, 'a> {
    /// A history that ends at `clock`: what was delivered within the allowed lateness before it
    /// stays pending.
    #[must_use]
    pub fn new(pipeline: &'p Pipeline<'a>, clock: EventTime) -> Self {
        Self {
            pipeline,
            clock,
            newest: None,
            store: MemoryStore::default(),
            pending_alerts: PendingAlerts::default(),
            correlation_groups: HashMap::default(),
            best: BestCopies::default(),
            waiting: Vec::new(),
            alerts: BTreeMap::new(),
            forgotten: i64::MIN,
        }
    }

    /// Records KMS coverage and the latest delivery of the whole history: before the first slice,
    /// in as many calls as needed.
    ///
    /// # Errors
    ///
    /// None: the store in memory does not fail.
    pub async fn mark(
        &mut self,
        coverage: HashSet<CoverageMark>,
        newest: Option<EventTime>,
    ) -> Result<(), StateError> {
        self.newest = self.newest.max(newest);
        // Novelty in the first slice depends on how early the logs of the account begin.
        if self.pipeline.rules.asks_for_seen() {
            self.store
                .put_seen(since(&[], &coverage), self.pipeline.lookback)
                .await?;
        }
        self.store
            .mark_coverage(coverage.into_iter().collect())
            .await
    }

    /// Processes the next slice: everything before `upto` that was not in an earlier one. The
    /// result is complete and in order: nothing earlier follows.
    ///
    /// # Errors
    ///
    /// None: the store in memory does not fail.
    pub async fn advance(
        &mut self,
        slice: ScanResult,
        upto: EventTime,
    ) -> Result<BatchOutcome, StateError> {
        let mut outcome = BatchOutcome {
            changes: changes(&slice),
            ..BatchOutcome::default()
        };
        let (ends, _) = self
            .pipeline
            .look_at(
                &self.store,
                slice,
                None,
                &mut self.pending_alerts,
                &mut outcome.report,
            )
            .await?;
        ends.into_iter().for_each(|end| self.hold(end));
        let pieces = self.pieces(upto);
        self.finalize(&pieces, &mut outcome.report).await?;
        // Accesses and alerts are reported in time order: nothing after the first pending event
        // that is still open.
        let first = self
            .correlation_groups
            .values()
            .filter_map(OpenGroup::first)
            .min();
        let before = first.map_or(upto, |first| first.min(upto));
        self.best.forget(before);
        self.tell(before, &mut outcome).await?;
        Ok(outcome)
    }

    fn hold(&mut self, end: Arc<PendingEvent>) {
        self.best.add(&end);
        let open = self.correlation_groups.entry(end.correlation_group.clone());
        open.or_insert_with(OpenGroup::new).ends.push(end);
    }

    /// The pieces that can be joined when everything before `upto` is present.
    fn pieces(&mut self, upto: EventTime) -> Vec<GroupPieces> {
        let due = self.due();
        let mut all = Vec::new();
        for (correlation_group, open) in &mut self.correlation_groups {
            let pieces = open.pieces(upto, due);
            if !pieces.is_empty() {
                all.push(GroupPieces {
                    correlation_group: correlation_group.clone(),
                    crossing: std::mem::take(&mut open.crossing),
                    pieces,
                });
            }
        }
        self.correlation_groups
            .retain(|_, open| !open.ends.is_empty());
        all
    }

    /// Ends the history: finalises the rest, and lists what is pending.
    ///
    /// # Errors
    ///
    /// None: the store in memory does not fail.
    pub async fn finish(mut self) -> Result<BatchOutcome, StateError> {
        self.end().await
    }

    /// Like [`Self::finish`], with all that is remembered for `seen.*` at the end, by key: what the
    /// function would have in its table if it had seen this history, except for what is older than
    /// the lookback.
    ///
    /// # Errors
    ///
    /// None: the store in memory does not fail.
    pub async fn finish_with_memory(
        mut self,
    ) -> Result<(BatchOutcome, Vec<(SharedStr, SeenTimes)>), StateError> {
        // What is pending at the end is recorded as the function does it on arrival.
        let open = self.correlation_groups.values().flat_map(|open| &open.ends);
        let pending: Vec<Sighting> = early_remembered(open).collect();
        if self.pipeline.rules.asks_for_seen() {
            self.pipeline.remember(&self.store, pending).await?;
        }
        let outcome = self.end().await?;
        Ok((outcome, self.store.all_seen()))
    }

    async fn end(&mut self) -> Result<BatchOutcome, StateError> {
        let mut first = self.advance(ScanResult::default(), END_OF_TIME).await?;
        // The rest is near a pending event that is not due. A part of it may be due.
        let mut rest = BatchOutcome::default();
        let mut pending = self.finalize_rest(&mut rest.report).await?;
        self.tell(END_OF_TIME, &mut rest).await?;
        self.pipeline.keep_pending(&mut pending);
        let mut open = BatchOutcome::default();
        open.list_accesses(pending);
        rest.append(open);
        sort_by_ledger(&mut rest.accesses);
        first.append(rest);
        Ok(first)
    }

    /// Joins all that is left. Rows with a half that is due are finalised; the others are returned
    /// as they look now.
    async fn finalize_rest(
        &mut self,
        report: &mut ReadReport,
    ) -> Result<Vec<Arc<Access>>, StateError> {
        let open: Vec<OpenGroup> = std::mem::take(&mut self.correlation_groups)
            .into_values()
            .collect();
        let due = self.due();
        let rest = parallel::map(self.pipeline.threads, &open, |open| {
            self.join_rest(open, due)
        });
        let (mut joined, mut pending) = (Vec::new(), Vec::new());
        for (due, counts, open) in rest {
            report.add(&counts);
            joined.push(due);
            pending.extend(open.into_iter().map(|row| row.access));
        }
        self.wait(joined, report).await?;
        Ok(pending)
    }

    /// Finalises joined events, which then wait for earlier ones.
    async fn wait(
        &mut self,
        joined: Vec<JoinedEvents>,
        report: &mut ReadReport,
    ) -> Result<(), StateError> {
        let mut rows = all_rows(joined, report);
        self.pipeline.decide_absence(&self.store, &mut rows).await?;
        self.waiting.extend(rows.into_iter().map(|row| row.access));
        Ok(())
    }

    /// Joins what is left of a group: what is due, its counts, and what is pending.
    fn join_rest(
        &self,
        open: &OpenGroup,
        due: EventTime,
    ) -> (JoinedEvents, ReadReport, Vec<AccessRow>) {
        let mut counts = ReadReport::default();
        let left = open.ends.iter().filter(|end| end.time >= open.reported);
        count(
            left.filter(|end| end.delivered <= due),
            &self.best,
            &mut counts,
        );
        let times = open.reported..END_OF_TIME;
        let (result, _) = self
            .pipeline
            .correlate(&open.ends, &self.best, &open.crossing, times);
        let explained = result.explained.iter();
        let explained = explained.filter(|head| head.delivered <= due).count() as u64;
        let (rows, pending) = result.rows.into_iter().partition(|row| {
            let mut halves = row.read.iter().chain(&row.kms_decrypt);
            halves.any(|half| half.delivered <= due)
        });
        (self.pipeline.joined(rows, explained), counts, pending)
    }

    fn due(&self) -> EventTime {
        let now = self.pipeline.time(self.clock, self.newest);
        now.plus(-self.pipeline.allowed_lateness_secs)
    }

    /// Joins complete pieces.
    async fn finalize(
        &mut self,
        groups: &[GroupPieces],
        report: &mut ReadReport,
    ) -> Result<(), StateError> {
        let joined = parallel::map(self.pipeline.threads, groups, |pieces| self.join(pieces));
        let mut all = Vec::with_capacity(joined.len());
        for (pieces, (joined, counts, crossing)) in groups.iter().zip(joined) {
            report.add(&counts);
            all.push(joined);
            if let Some(open) = self.correlation_groups.get_mut(&pieces.correlation_group) {
                open.crossing = crossing;
            }
        }
        self.wait(all, report).await
    }

    /// Joins the pieces of a group, one after the other.
    fn join(&self, group: &GroupPieces) -> (JoinedEvents, ReadReport, CrossingPairs) {
        let (mut counts, mut crossing) = (ReadReport::default(), group.crossing.clone());
        let (mut rows, mut explained) = (Vec::new(), 0);
        for piece in &group.pieces {
            // Events in the margins are counted with the pieces that own them.
            let own = piece
                .ends
                .iter()
                .filter(|end| piece.times.contains(&end.time));
            count(own, &self.best, &mut counts);
            let (mut result, next) =
                self.pipeline
                    .correlate(&piece.ends, &self.best, &crossing, piece.times.clone());
            rows.append(&mut result.rows);
            explained += result.explained.len() as u64;
            crossing = next;
        }
        (self.pipeline.joined(rows, explained), counts, crossing)
    }

    /// Reports what is before a time, evaluates the rules for it, and drops what no later fact
    /// needs.
    async fn tell(
        &mut self,
        before: EventTime,
        outcome: &mut BatchOutcome,
    ) -> Result<(), StateError> {
        let pipeline = self.pipeline;
        let accesses = self.accesses_before(before);
        pipeline
            .judge_finalized(&self.store, accesses, &mut self.pending_alerts, outcome)
            .await?;
        // The windows below are read from the store: no fact may still wait in memory.
        self.pending_alerts.write(&self.store, 0).await?;
        let mut alerts = AlertsById::new();
        pipeline.single_alerts(self.pending_alerts.singles_before(before), &mut alerts);
        let complete = self.complete(before);
        pipeline
            .window_alerts(
                &self.store,
                &self.pending_alerts.lone,
                complete,
                &mut alerts,
            )
            .await?;
        let covers = &mut self.pending_alerts.covers;
        let covers = pipeline.complete_covers(covers, before);
        let verdict = pipeline.uncovered(&self.store, &covers).await?;
        alerts.extend(verdict.raised);
        let alerts = alerts.into_values();
        self.alerts
            .extend(alerts.map(|alert| ((alert.time, alert.id.clone()), alert)));
        outcome.list_alerts(self.alerts_before(before));
        self.forget(before);
        Ok(())
    }

    /// Takes out the accesses before a time, in the order of [`Access::ledger_order`].
    fn accesses_before(&mut self, before: EventTime) -> Vec<Arc<Access>> {
        let (mut now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|access| access.head.time < before);
        self.waiting = later;
        sort_by_ledger(&mut now);
        now
    }

    /// Takes out the alerts that no later alert can precede.
    fn alerts_before(&mut self, before: EventTime) -> Vec<Alert> {
        // A window that is not complete may still produce an alert as early as its first fact.
        let PendingAlerts {
            touched, covers, ..
        } = &self.pending_alerts;
        let open = touched.first().into_iter().chain(covers.first()).min();
        let before = open.map_or(before, |open| open.min(before));
        // No id is less than the empty one.
        let later = self.alerts.split_off(&(before, AlertId("".into())));
        let now = std::mem::replace(&mut self.alerts, later);
        now.into_values().collect()
    }

    /// Takes out the touched windows in the buckets that are over. The rest stays touched.
    fn complete(&mut self, before: EventTime) -> Vec<TouchedWindow> {
        let rules = self.pipeline.rules;
        let mut complete = Vec::new();
        self.pending_alerts
            .touched
            .retain(|(window, key), (first, last)| {
                let Some(rule) = rules.windows.get(*window) else {
                    return false;
                };
                // A later fact may raise the count of a bucket that is not over, and a history
                // reports each alert once, with its final count.
                let over = over(before, rule.suppress_secs);
                if *first >= over {
                    return true;
                }
                let ends = (*first, over.plus(-1).min(last.plus(rule.span_secs)));
                complete.push(TouchedWindow::new(
                    *window,
                    key.clone(),
                    rule.span_secs,
                    ends,
                ));
                *first = over;
                *last >= over
            });
        complete.sort_by(TouchedWindow::by_window);
        complete
    }

    fn forget(&mut self, before: EventTime) {
        let windows = self.pipeline.rules.windows.iter();
        let oldest: HashMap<SharedStr, EventTime> = windows
            .map(|window| {
                let from = needed_from(self.pipeline.rules, window, before);
                (window.meta.id.as_str().into(), from)
            })
            .collect();
        self.store.forget_facts(&oldest);
        self.pending_alerts.lone.forget_facts(&oldest);
        // At the end nothing is judged any more, and the memory may be asked for.
        if before == END_OF_TIME {
            return;
        }
        // Sightings are stored by grain: it is enough to go through all of them when a new grain
        // begins.
        let lookback = self.pipeline.lookback;
        let oldest = before.plus(-lookback.lookback_secs);
        let grain = oldest.0.div_euclid(lookback.grain_secs());
        if grain > self.forgotten {
            self.forgotten = grain;
            self.store.forget_seen(oldest, lookback);
        }
    }
}

/// The time of the earliest fact that an incomplete window may contain.
fn needed_from(rules: &RuleSet, window: &WindowRule, before: EventTime) -> EventTime {
    let own = over(before, window.suppress_secs).plus(-window.span_secs);
    let for_covered = needed_for_covered(rules, window, before);
    for_covered.map_or(own, |needed| needed.min(own))
}

fn sort_by_ledger(accesses: &mut [Arc<Access>]) {
    accesses.sort_by(|a, b| a.ledger_order().cmp(&b.ledger_order()));
}

/// The start of the bucket that contains a time: earlier buckets are over.
pub(super) fn over(before: EventTime, bucket_secs: i64) -> EventTime {
    // At the end of a history every bucket is over, also the one that is not full.
    if before.0 == i64::MAX {
        return before;
    }
    before.start_of(bucket_secs)
}

/// The secret changes of a slice.
fn changes(slice: &ScanResult) -> Vec<Arc<SecretChange>> {
    let events = slice.observations.iter();
    let changes = events.filter_map(|event| match &event.observation {
        Observation::Change(change) => Some(change.clone()),
        Observation::Read(_) | Observation::KmsDecrypt(_) => None,
    });
    changes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::DecryptStatus,
        events_for_tests::{decrypt_secret, get_secret, pending_decrypt, pending_read},
        observation::SecretRead,
        rule::{RuleSet, load::load},
        selection::Selection,
    };

    #[test]
    fn a_bucket_is_over_when_all_of_it_is_before() {
        let over = |secs| over(EventTime(secs), 20).0;
        assert_eq!([over(19), over(20), over(-1), over(-20)], [0, 20, -20, -20]);
        assert_eq!(over(i64::MAX), i64::MAX, "at the end every bucket is");
    }

    fn slice(ends: impl IntoIterator<Item = Arc<PendingEvent>>) -> ScanResult {
        ScanResult {
            observations: ends.into_iter().collect(),
            ..ScanResult::default()
        }
    }

    /// Event and status of each access.
    fn reported(outcome: &BatchOutcome) -> Vec<(&str, DecryptStatus)> {
        let accesses = outcome.accesses.iter();
        accesses
            .map(|access| (&*access.head.event_id, access.decrypt.status))
            .collect()
    }

    #[test]
    fn what_waits_for_its_other_half_holds_back_what_comes_after_it() {
        let (rules, selection) = (RuleSet::default(), Selection::default());
        let pipeline = Pipeline::new(&rules, None, &selection);
        let mut history = HistoryPipeline::new(&pipeline, EventTime(1_000_000));
        let other = SecretRead {
            decrypts: false,
            ..get_secret("r2", 12, "y")
        };
        let read = pending_read(get_secret("r1", 10, "x"));
        pollster::block_on(async {
            let first = history.advance(slice([read, pending_read(other)]), EventTime(14));
            let first = first.await.unwrap();
            assert_eq!(reported(&first), [], "a Decrypt may come up to second 15");
            let kms_decrypt = pending_decrypt(decrypt_secret("k", 15, "x"));
            let second = history
                .advance(slice([kms_decrypt]), EventTime(100))
                .await
                .unwrap();
            let paired = ("r1", DecryptStatus::Paired);
            assert_eq!(
                reported(&second),
                [paired, ("r2", DecryptStatus::NotExpected)]
            );
            assert_eq!(reported(&history.finish().await.unwrap()), []);
        });
    }

    #[test]
    fn what_is_not_due_at_the_end_is_pending_and_what_was_reported_is_not_repeated() {
        let (rules, selection) = (RuleSet::default(), Selection::default());
        let pipeline = Pipeline::new(&rules, None, &selection);
        let mut history = HistoryPipeline::new(&pipeline, EventTime(1_000));
        pollster::block_on(async {
            let ends = [get_secret("r1", 10, "x"), get_secret("r2", 500, "x")].map(pending_read);
            let first = history.advance(slice(ends), EventTime(600)).await.unwrap();
            assert_eq!(reported(&first), [("r1", DecryptStatus::Unknown)]);
            let rest = history.finish().await.unwrap();
            assert_eq!(reported(&rest), [("r2", DecryptStatus::Pending)]);
        });
    }

    #[test]
    fn a_window_is_reported_when_its_bucket_is_over_with_its_last_count() {
        let text = "title: base
id: base
logsource: {product: aws, category: secret_access}
detection: {read: {access.outcome: success}, condition: read}
---
title: many
id: many
correlation:
  type: event_count
  rules: [base]
  group-by: [principal.arn]
  timespan: 100s
  condition: {gte: 2}
";
        let (rules, _) = load([("rules.yml", text)]).unwrap();
        let selection = Selection::default();
        let pipeline = Pipeline::new(&rules, None, &selection);
        let mut history = HistoryPipeline::new(&pipeline, EventTime(1_000_000));
        let read = |id: &str, secs| pending_read(get_secret(id, secs, "x"));
        let counts = |outcome: &BatchOutcome| -> Vec<u64> {
            let window_matches = outcome
                .alerts
                .iter()
                .filter_map(|alert| alert.window_match.as_ref());
            window_matches
                .map(|window_match| window_match.count)
                .collect()
        };
        pollster::block_on(async {
            let ends = [read("r1", 10), read("r2", 20)];
            let first = history.advance(slice(ends), EventTime(60)).await.unwrap();
            assert_eq!(
                counts(&first),
                [0; 0],
                "the bucket goes on until second 100"
            );
            let second = history
                .advance(slice([read("r3", 70)]), EventTime(200))
                .await
                .unwrap();
            assert_eq!(counts(&second), [3]);
            assert_eq!(counts(&history.finish().await.unwrap()), [0; 0]);
        });
    }

    /// Rules about novelty, so that sightings are recorded.
    const NOVELTY: &str = "title: new
id: new
logsource: {product: aws, category: secret_access}
detection: {new: {seen.principal: first}, condition: new}
";

    #[test]
    fn the_memory_at_the_end_is_that_of_a_function_that_saw_the_same() {
        let (rules, _) = load([("rules.yml", NOVELTY)]).unwrap();
        let selection = Selection::default();
        let pipeline = Pipeline::new(&rules, None, &selection);
        const DAY: i64 = 86_400;
        let mut all: Vec<_> = (1..20)
            .map(|day| pending_read(get_secret(&format!("r{day}"), day * DAY, "x")))
            .collect();
        all.push(pending_decrypt(decrypt_secret("k1", DAY, "x")));
        // Not due yet: it is in the memory of the function since it arrived.
        let now = EventTime(30 * DAY);
        all.push(pending_read(get_secret("late", now.0 - 60, "y")));
        let replayed = pollster::block_on(async {
            let mut history = HistoryPipeline::new(&pipeline, now);
            let (early, late) = all.split_at(9);
            // The Decrypt is of the first day.
            let first = early.iter().chain(&late[10..11]).cloned();
            let rest = late
                .iter()
                .filter(|end| end.time > EventTime(9 * DAY))
                .cloned();
            history
                .advance(slice(first), EventTime(9 * DAY + 1))
                .await
                .unwrap();
            history.advance(slice(rest), now).await.unwrap();
            history.finish_with_memory().await.unwrap().1
        });
        let online = MemoryStore::default();
        pollster::block_on(async {
            for end in all.iter().rev() {
                let batch = slice([end.clone()]);
                pipeline.ingest(&online, batch, now).await.unwrap();
            }
            // What was delivered long ago waits from its arrival on.
            let later = now.plus(crate::limits::ALLOWED_LATENESS_SECS + 1);
            pipeline.sweep(&online, later, 2).await.unwrap();
            while pipeline.sweep(&online, later, 2).await.unwrap().1 {}
        });
        let mut expected = online.all_seen();
        // How the last read was made is known when it is final.
        let method = "profile\narn:aws:iam::111122223333:role/app\tmapi";
        let known = |all: &[(SharedStr, SeenTimes)]| -> Vec<_> {
            let of_method = all.iter().filter(|(key, _)| &**key == method);
            of_method.map(|(_, times)| times.iter().count()).collect()
        };
        assert_eq!((known(&replayed), known(&expected)), (vec![19], vec![20]));
        let mut replayed = replayed;
        // Of the beginning of an account's logs, the first time counts.
        for memory in [&mut replayed, &mut expected] {
            memory.retain(|(key, _)| &**key != method && !crate::seen::is_since_key(key));
        }
        assert!(replayed.len() >= 4, "{replayed:?}");
        assert_eq!(replayed, expected);
    }

    #[test]
    fn what_is_older_than_the_lookback_is_not_in_the_memory_but_the_beginning_of_the_logs_is() {
        let (rules, _) = load([("rules.yml", NOVELTY)]).unwrap();
        let selection = Selection::default();
        let pipeline = Pipeline::new(&rules, None, &selection);
        const DAY: i64 = 86_400;
        let memory = pollster::block_on(async {
            let mut history = HistoryPipeline::new(&pipeline, EventTime(400 * DAY));
            for day in [1, 200] {
                let read = pending_read(get_secret(&format!("r{day}"), day * DAY, "x"));
                let upto = EventTime(day * DAY + 60);
                history.advance(slice([read]), upto).await.unwrap();
            }
            history.finish_with_memory().await.unwrap().1
        });
        let first = |key: &str| {
            let times = memory.iter().find(|(known, _)| &**known == key);
            times.and_then(|(_, times)| times.first())
        };
        assert_eq!(first("since\n111122223333"), Some(EventTime(DAY)));
        let principal = "principal\narn:aws:iam::111122223333:role/app";
        assert_eq!(first(principal), Some(EventTime(200 * DAY)));
    }
}
