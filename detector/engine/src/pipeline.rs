//! The pipeline of both front ends: from a scan result, a store and the time to alerts and
//! accesses.
//!
//! Order of work: write facts and pending events, finalise what is due, read the windows that were
//! touched, create alerts. A replay does all of it slice by slice ([`history::HistoryPipeline`]),
//! and a test or an example of a rule at once ([`Pipeline::run`]); online, each batch does the
//! first part ([`Pipeline::ingest`]) and a sweep the rest ([`Pipeline::sweep`]), each in parts that
//! fit into memory. Every step may be repeated. Rules evaluate a read twice: early, so that an
//! alert need not wait for the KMS Decrypt, and finally, when its Decrypt status is known. The
//! alerts of both are one, because their ids are equal.

mod alerts;
mod completeness;
mod covered;
mod direct;
mod early;
mod finalize;
pub mod history;
mod large_windows;
mod online;
mod pending_alerts;
mod provisional;
mod set_aside;
mod versions;

use std::{collections::BTreeSet, sync::Arc};

use ahash::{HashMap, HashSet};

pub use self::online::{OpenSweep, OpenWindows};
use self::{early::early_remembered, pending_alerts::PendingAlerts};
use crate::{
    access::{Access, AccessMethod},
    alert::Alert,
    copies::{claimed_event, conflicting, distinct},
    coverage::CoverageMark,
    evidence::Evidence,
    exposure::changes::SecretName,
    ids::SharedStr,
    limits::{ALLOWED_LATENESS_SECS, COVERAGE_BUCKET_SECS},
    observation::{CallOutcome as Ending, Observation, SecretChange},
    parallel,
    pending_event::PendingEvent,
    policy::AccessPolicy,
    report::ReadReport,
    rule::{EvalScope, Matches, RuleSet, RuleTarget, event::DerivedEvent},
    scan::ScanResult,
    seen::{self, AccessKeys, LookbackPeriods, SeenTimes, SeenVerdicts, Sighting},
    selection::Selection,
    state::{DueEvents, StateError, StateStore},
    time::EventTime,
};

/// Configuration of the pipeline.
pub struct Pipeline<'a> {
    /// The loaded rules.
    pub rules: &'a RuleSet,
    /// Access policy; without one, rules about `expected.*` match nothing.
    pub policy: Option<&'a AccessPolicy>,
    /// Accesses, changes and records outside of it raise no alerts and are not listed.
    pub selection: &'a Selection,
    /// Allowed lateness: seconds after the delivery of a pending event during which its other half
    /// may still arrive.
    pub allowed_lateness_secs: i64,
    /// Lookback and warm-up for `seen.*`.
    pub lookback: LookbackPeriods,
    /// Number of threads; the result is the same for any number.
    pub threads: usize,
    /// Whether events that came directly ([`Self::ingest_direct`]) are looked for in the files that
    /// are ingested.
    pub checks_direct: bool,
    /// Whether digests of CloudTrail are compared with the files that were ingested, and a half
    /// that is missing waits for those of its time.
    pub waits_for_digests: bool,
    /// Number of facts that may be in memory when windows are read. Windows with more are read
    /// twice; the result is the same for any number.
    pub facts_at_once: usize,
}

/// The result of a batch.
#[derive(Debug, Default)]
pub struct BatchOutcome {
    /// Alerts that this batch created, by time and id.
    pub alerts: Vec<Alert>,
    /// Alerts of earlier batches that turned out to be wrong.
    pub withdrawn: Vec<Alert>,
    /// Accesses that this batch finalised, in the order of [`Access::ledger_order`].
    pub accesses: Vec<Arc<Access>>,
    /// The secret changes of a slice of a history, with copies; empty online.
    pub changes: Vec<Arc<SecretChange>>,
    /// The secrets whose versions records of a batch have changed; online only. Their incidents
    /// are to be looked at again ([`regroup::reexposed`](crate::regroup::reexposed)).
    pub changed_secrets: BTreeSet<SecretName>,
    /// Counts, in addition to those of the scan result.
    pub report: ReadReport,
}

/// An access with the keys under which it is remembered.
type KeyedAccess<'k> = (&'k Arc<Access>, AccessKeys);

/// Number of events that are evaluated on several threads before their matches are merged in order.
const ASKED: usize = 4_096;

/// Number of facts that are collected before they are written.
const FACTS: usize = 16_384;

impl<'a> Pipeline<'a> {
    /// A pipeline with the default allowed lateness.
    #[must_use]
    pub fn new(
        rules: &'a RuleSet,
        policy: Option<&'a AccessPolicy>,
        selection: &'a Selection,
    ) -> Self {
        Self {
            rules,
            policy,
            selection,
            allowed_lateness_secs: ALLOWED_LATENESS_SECS,
            lookback: LookbackPeriods::default(),
            threads: 1,
            checks_direct: false,
            waits_for_digests: false,
            facts_at_once: usize::MAX,
        }
    }

    /// The time for finalisation, from the clock and the latest delivery. If logs come from the
    /// future, the clock is wrong, and the logs are the only clock.
    #[must_use]
    pub fn time(&self, clock: EventTime, newest: Option<EventTime>) -> EventTime {
        newest
            .filter(|newest| *newest > clock)
            .map_or(clock, |newest| newest.plus(self.allowed_lateness_secs))
    }

    /// Processes a whole history at once: finalises everything that was delivered up to the allowed
    /// lateness before `now`.
    ///
    /// # Errors
    ///
    /// The store failed. Running the same batch again completes the work and changes nothing twice.
    pub async fn run<S: StateStore>(
        &self,
        store: &S,
        scan_result: ScanResult,
        now: EventTime,
    ) -> Result<BatchOutcome, StateError> {
        let mut outcome = BatchOutcome::default();
        let mut pending_alerts = PendingAlerts::default();
        let (ends, _) = self
            .look_at(
                store,
                scan_result,
                None,
                &mut pending_alerts,
                &mut outcome.report,
            )
            .await?;
        // Nothing waits here: everything delivered before the allowed lateness is due at once.
        store.put_pending_events(ends, EventTime(i64::MIN)).await?;
        self.finalize_due(store, now, pending_alerts, &mut outcome)
            .await?;
        Ok(outcome)
    }

    /// Writes the content of a batch, except its pending events, which are returned with the
    /// provisional alerts, and runs the early evaluation. Without a time of arrival, all events are
    /// present, and are finalised next.
    async fn look_at<S: StateStore>(
        &self,
        store: &S,
        scan_result: ScanResult,
        arrived: Option<EventTime>,
        pending_alerts: &mut PendingAlerts,
        report: &mut ReadReport,
    ) -> Result<(Vec<Arc<PendingEvent>>, PendingAlerts), StateError> {
        let mut observations = counted(scan_result.observations, arrived, report);
        pending_alerts.add(self.rules, scan_result.matches);
        self.evaluate_events(store, &observations, pending_alerts, |end| {
            self.early(&end.observation)
        })
        .await?;
        if self.rules.asks_for_seen() {
            let mut times = since(&observations, &scan_result.coverage);
            // Online, another sweep may finalise a later access before this one. In a replay all
            // accesses are finalised next, and recorded before they are judged; but not copies that
            // are not kept, which online may have come first.
            let early = observations
                .iter()
                .filter(|end| arrived.is_some() || end.may_have_copies);
            times.extend(early_remembered(early));
            times.extend(observations.iter().filter_map(|end| created(end)));
            self.remember(store, times).await?;
        }
        // Written before the pending events are: whoever finds these due must find the marks as
        // well.
        let coverage = scan_result.coverage.into_iter().collect();
        store.mark_coverage(coverage).await?;
        // What is finalised next need not be reported before.
        let provisional = match arrived {
            Some(_) => {
                self.note_changes(store, &observations).await?;
                self.provisional(store, &observations, Vec::new()).await?
            }
            None => PendingAlerts::default(),
        };
        observations.retain(may_pair);
        Ok((observations, provisional))
    }

    async fn remember<S: StateStore>(
        &self,
        store: &S,
        times: impl IntoIterator<Item = Sighting>,
    ) -> Result<(), StateError> {
        let times = seen::condensed(times, self.lookback);
        store.put_seen(times, self.lookback).await
    }

    /// Finalises all that is due, evaluates the rules for it, and creates these alerts and the
    /// pending ones.
    async fn finalize_due<S: StateStore>(
        &self,
        store: &S,
        now: EventTime,
        mut pending_alerts: PendingAlerts,
        outcome: &mut BatchOutcome,
    ) -> Result<(), StateError> {
        let since = now.plus(-self.allowed_lateness_secs);
        let DueEvents { ends, receipt } = store.due_pending_events(since, usize::MAX).await?;
        let finalized = self
            .finalize(store, &ends, true, &mut outcome.report)
            .await?;
        self.judge_finalized(store, finalized, &mut pending_alerts, outcome)
            .await?;
        self.create(store, pending_alerts, now, outcome).await?;
        store.close_pending_events(receipt).await
    }

    /// Evaluates the rules for finalised accesses, and lists the selected ones.
    async fn judge_finalized<S: StateStore>(
        &self,
        store: &S,
        mut accesses: Vec<Arc<Access>>,
        pending_alerts: &mut PendingAlerts,
        outcome: &mut BatchOutcome,
    ) -> Result<(), StateError> {
        let scope = EvalScope::finalized(RuleTarget::Access);
        if self.rules.asks_for_seen() {
            let keyed = self.keyed(&accesses);
            // All of them, selected or not: what the filter hides still makes a principal known.
            let seen = self.seen_before(store, &keyed).await?;
            self.evaluate_events(store, &keyed, pending_alerts, |(access, keys)| {
                self.judge(access, scope, Some(seen.judge_by(access, keys)))
            })
            .await?;
        } else {
            self.evaluate_events(store, &accesses, pending_alerts, |access| {
                self.judge(access, scope, None)
            })
            .await?;
        }
        accesses.retain(|access| self.selection.takes(access));
        outcome.list_accesses(accesses);
        Ok(())
    }

    /// Accesses within their allowed lateness, as they look now. Writes nothing, and evaluates no
    /// rules.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn pending<S: StateStore>(&self, store: &S) -> Result<BatchOutcome, StateError> {
        let mut outcome = BatchOutcome::default();
        let open = store
            .due_pending_events(EventTime(i64::MAX), usize::MAX)
            .await?;
        // Open events are counted when they are finalised.
        let mut ignored = ReadReport::default();
        let mut accesses = self
            .finalize(store, &open.ends, false, &mut ignored)
            .await?;
        self.keep_pending(&mut accesses);
        outcome.list_accesses(accesses);
        Ok(outcome)
    }

    /// Keeps what is listed of accesses within their allowed lateness.
    fn keep_pending(&self, accesses: &mut Vec<Arc<Access>>) {
        // A KMS Decrypt whose read may still come is not an access yet.
        accesses.retain(|access| {
            access.method != AccessMethod::DecryptOnly && self.selection.takes(access)
        });
    }

    /// Evaluates the rules for many items, on several threads, and collects the matches in the
    /// order of the items.
    async fn evaluate_events<S: StateStore, T: Sync>(
        &self,
        store: &S,
        things: &[T],
        pending_alerts: &mut PendingAlerts,
        matches: impl Fn(&T) -> Matches + Sync,
    ) -> Result<(), StateError> {
        if self.rules.is_empty() {
            return Ok(());
        }
        // In rounds, so that the matches of a long history are not all in memory at once.
        for things in things.chunks(ASKED) {
            for matches in parallel::map(self.threads, things, &matches) {
                pending_alerts.add(self.rules, matches);
            }
            pending_alerts.write(store, FACTS).await?;
        }
        Ok(())
    }

    /// Accesses with the keys under which they are remembered.
    fn keyed<'k>(&self, accesses: &'k [Arc<Access>]) -> Vec<KeyedAccess<'k>> {
        parallel::map(self.threads, accesses, |access| AccessKeys::of(access))
            .into_iter()
            .zip(accesses)
            .map(|(keys, access)| (access, keys))
            .collect()
    }

    /// Records these accesses, selected or not, and returns all known sightings of their kind.
    /// Recording an access before it is judged does not make it known: only earlier sightings
    /// count.
    async fn seen_before<S: StateStore>(
        &self,
        store: &S,
        accesses: &[KeyedAccess<'_>],
    ) -> Result<seen::NoveltyJudge, StateError> {
        let times = accesses.iter();
        let times = times.flat_map(|(access, keys)| seen::remembered_by(access, keys));
        self.remember(store, times).await?;
        self.novelty(store, accesses, Vec::new()).await
    }

    /// All known sightings of the kind of these accesses, and some that the store need not have.
    async fn novelty<S: StateStore>(
        &self,
        store: &S,
        accesses: &[KeyedAccess<'_>],
        own: Vec<Sighting>,
    ) -> Result<seen::NoveltyJudge, StateError> {
        let keys = seen::needed(accesses.iter().map(|(access, keys)| (&***access, keys)));
        let known = store.seen(&keys).await?;
        let mut known: HashMap<SharedStr, SeenTimes> = keys.into_iter().zip(known).collect();
        for Sighting { key, time } in own {
            let times = known.entry(key).or_default();
            times.add(time, self.lookback.grain_secs());
        }
        Ok(seen::NoveltyJudge::new(self.lookback, known))
    }

    /// The matches of the rules for an access.
    fn judge(&self, access: &Arc<Access>, scope: EvalScope, seen: Option<SeenVerdicts>) -> Matches {
        if !self.selection.takes(access) {
            return Matches::default();
        }
        let expected = self.policy.map(|policy| policy.judge(access));
        let event = DerivedEvent::access(access, expected, seen, self.rules.networks());
        let evidence = Evidence::access(access.clone());
        self.rules.matches(scope, &event, &evidence)
    }
}

impl BatchOutcome {
    /// Adds a later result.
    pub fn append(&mut self, mut other: Self) {
        self.alerts.append(&mut other.alerts);
        self.withdrawn.append(&mut other.withdrawn);
        self.accesses.append(&mut other.accesses);
        self.changes.append(&mut other.changes);
        self.changed_secrets.append(&mut other.changed_secrets);
        self.report.add(&other.report);
    }

    /// Lists those alerts that were created here: one that another writer created first is
    /// reported by that writer.
    fn list_created(&mut self, alerts: Vec<Alert>, created: &[bool]) {
        let created = alerts.into_iter().zip(created).filter(|(_, new)| **new);
        self.list_alerts(created.map(|(alert, _)| alert).collect());
    }

    fn list_alerts(&mut self, alerts: Vec<Alert>) {
        for alert in &alerts {
            self.report.count_alert(alert);
        }
        self.alerts.extend(alerts);
    }

    fn list_accesses(&mut self, accesses: Vec<Arc<Access>>) {
        for access in &accesses {
            self.report.count_access(access);
        }
        self.accesses = accesses;
    }
}

/// The observations of a batch, each once, after they are counted.
fn counted(
    observations: Vec<Arc<PendingEvent>>,
    arrived: Option<EventTime>,
    report: &mut ReadReport,
) -> Vec<Arc<PendingEvent>> {
    let delivered = observations.len();
    let observations = distinct(observations);
    report.duplicates += (delivered - observations.len()) as u64;
    for observed in &observations {
        report.events.add(observed.observation.head().time);
    }
    if let Some(arrived) = arrived {
        report.conflicting_copies += conflicting_copies(&observations);
        let ahead = observations.iter().filter(|end| end.is_ahead_of(arrived));
        report.times_ahead += ahead.count() as u64;
    }
    observations
}

/// That an event created a secret.
pub(crate) fn created(end: &PendingEvent) -> Option<Sighting> {
    match &end.observation {
        Observation::Change(change) => seen::remembered_change(change),
        Observation::Read(_) | Observation::KmsDecrypt(_) => None,
    }
}

/// Number of events of a batch whose id stands on another event too.
fn conflicting_copies(observations: &[Arc<PendingEvent>]) -> u64 {
    let heads = observations.iter().map(|end| end.observation.head());
    let events: BTreeSet<_> = heads
        .map(|head| (&head.event_id, claimed_event(head)))
        .collect();
    conflicting(events)
}

/// The earliest time in the logs of each account.
pub(crate) fn since(
    observations: &[Arc<PendingEvent>],
    coverage: &HashSet<CoverageMark>,
) -> Vec<Sighting> {
    let mut earliest: HashMap<&SharedStr, EventTime> = HashMap::default();
    let events = observations.iter().map(|end| end.observation.head());
    let events = events.map(|head| (&head.account, head.time));
    // KMS events count as well: an account without reads for weeks was logged all the same.
    for (account, time) in events.chain(coverage.iter().map(last_second)) {
        let known = earliest.entry(account).or_insert(time);
        *known = (*known).min(time);
    }
    let earliest = earliest.into_iter().map(|(account, time)| Sighting {
        key: seen::since_key(account),
        time,
    });
    earliest.collect()
}

/// A mark stands for an hour in which there was an event, perhaps at its very end.
fn last_second(mark: &CoverageMark) -> (&SharedStr, EventTime) {
    let next = mark.bucket.saturating_add(1);
    let secs = next.saturating_mul(COVERAGE_BUCKET_SECS);
    (&mark.account, EventTime(secs.saturating_sub(1)))
}

/// Whether the observation can be part of a pair, or explain a KMS Decrypt.
fn may_pair(end: &Arc<PendingEvent>) -> bool {
    match &end.observation {
        // A failed change decrypted nothing, and most changes never decrypt.
        Observation::Change(change) => change.decrypts && change.head.outcome == Ending::Success,
        Observation::Read(_) | Observation::KmsDecrypt(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        events_for_tests::{get_secret, put_secret},
        observation::SecretChange,
    };

    #[test]
    fn logs_from_the_future_are_their_own_clock() {
        let (rules, selection) = (RuleSet::default(), Selection::default());
        let pipeline = Pipeline::new(&rules, None, &selection);
        let time = |newest: Option<i64>| pipeline.time(EventTime(100), newest.map(EventTime)).0;
        assert_eq!([time(None), time(Some(100))], [100, 100]);
        assert_eq!(
            time(Some(101)),
            101 + ALLOWED_LATENESS_SECS,
            "the latest of them is due"
        );
    }

    #[test]
    fn an_account_has_logs_since_its_first_event_or_hour_of_coverage() {
        let ends = [500, 300].map(|secs| {
            let read = Arc::new(get_secret("r", secs, "x"));
            Arc::new(PendingEvent::new(Observation::Read(read)))
        });
        let account = &ends[0].observation.head().account;
        let hours = [(account.clone(), 1), ("999988887777".into(), 2)];
        let marks = hours.map(|(account, hour)| {
            let time = EventTime(hour * COVERAGE_BUCKET_SECS + 7);
            CoverageMark::at(account, "eu-west-1".into(), time)
        });
        let mut times: Vec<_> = since(&ends, &marks.into_iter().collect())
            .into_iter()
            .map(|sighting| (sighting.key, sighting.time.0))
            .collect();
        times.sort();
        let expected = [
            (&**account, 300),
            ("999988887777", 3 * COVERAGE_BUCKET_SECS - 1),
        ];
        assert_eq!(
            times,
            expected.map(|(account, secs)| (seen::since_key(account), secs))
        );
    }

    #[test]
    fn a_change_is_kept_only_if_it_explains_kms_decrypts() {
        let kept = |change: SecretChange| {
            may_pair(&Arc::new(PendingEvent::new(Observation::Change(Arc::new(
                change,
            )))))
        };
        let mut failed = put_secret("c", 0, "x");
        Arc::make_mut(&mut failed.head).outcome = Ending::Failed;
        let harmless = SecretChange {
            decrypts: false,
            ..put_secret("c", 0, "x")
        };
        assert!(kept(put_secret("c", 0, "x")) && !kept(failed) && !kept(harmless));
    }
}
