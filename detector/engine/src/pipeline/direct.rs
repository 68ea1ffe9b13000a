//! Events that come directly, through EventBridge, ahead of their files.
//!
//! EventBridge delivers as well as it can, and files are the truth. So a direct event is judged
//! early and no further: it is no pending event, shows no coverage, and is remembered by nobody as
//! seen. Its alerts and facts have the ids that those of the file's copy have, so that the file
//! only adds what is missing. What is left for later is a question: after a day, has a file brought
//! the event? If none has, that is an alert of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ahash::HashSet;

use super::{
    BatchOutcome, Pipeline, counted,
    early::early_remembered,
    finalize::{logged_near, mark_of},
    large_windows::CollectedEvidence,
    may_pair,
    pending_alerts::{PendingAlerts, TouchedGroups},
};
use crate::{
    alert::{Alert, WindowMatch},
    evidence::Evidence,
    fact::{Fact, WindowKey, WindowRange},
    ids::{SecretRef, SharedStr},
    limits::{COVERAGE_BUCKET_SECS, DAY_SECS, DIRECT_EVENT_SECS},
    observation::{Observation, ReadRequest},
    pending_event::{CorrelationKey, CorrelationRange, PendingEvent},
    rule::missing::MISSING,
    scan::ScanResult,
    seen,
    state::{DueDirectEvents, StateError, StateStore},
    time::EventTime,
};

/// Direct events that are looked for in the files at a time.
const AT_A_TIME: usize = 1_000;

/// Seconds after which an event is not looked for any more, if no sweep has done so: its copy in
/// the files is kept for two days.
const CHECKED_FOR_SECS: i64 = 2 * DAY_SECS;

/// Name under which facts tell which changes files have: those of the other kinds are pending
/// events, which tell it themselves.
const CHANGES_IN_FILES: &str = "changes-in-files";

impl Pipeline<'_> {
    /// Judges events that came directly at `now`: creates early alerts, and notes the events, so
    /// that [`Self::sweep`] looks for them in the files when it [checks](Pipeline::checks_direct)
    /// them.
    ///
    /// # Errors
    ///
    /// The store failed. Running the same batch again completes the work and changes nothing twice.
    pub async fn ingest_direct<S: StateStore>(
        &self,
        store: &S,
        scan_result: ScanResult,
        now: EventTime,
    ) -> Result<BatchOutcome, StateError> {
        let mut outcome = BatchOutcome::default();
        let observations = counted(scan_result.observations, Some(now), &mut outcome.report);
        if self.checks_direct {
            let noted = observations.iter().map(|observed| noted(observed));
            store.put_direct_events(noted.collect(), now).await?;
        }
        let mut pending_alerts = PendingAlerts::default();
        pending_alerts.add(self.rules, scan_result.matches);
        self.evaluate_events(store, &observations, &mut pending_alerts, |observed| {
            self.early(&observed.observation)
        })
        .await?;
        // Not recorded: what only a direct event tells of is not known, and makes nothing known.
        let own = early_remembered(observations.iter()).collect();
        let provisional = self.provisional(store, &observations, own).await?;
        self.create(store, pending_alerts, now, &mut outcome)
            .await?;
        // Until the file is here and its events are finalised.
        let since = now.plus(self.allowed_lateness_secs);
        let mut touched = TouchedGroups::default();
        let alerts = self
            .alerts_of_part(store, provisional, &mut touched)
            .await?;
        let alerts = self
            .alerts_of_windows(store, touched.windows, alerts)
            .await?;
        self.create_provisional(store, alerts, since, now, &mut outcome)
            .await?;
        Ok(outcome)
    }

    /// Notes the changes of files that do not become pending events, so that direct events are
    /// found among them.
    pub(super) async fn note_changes<S: StateStore>(
        &self,
        store: &S,
        observations: &[Arc<PendingEvent>],
    ) -> Result<(), StateError> {
        if !self.checks_direct {
            return Ok(());
        }
        let changes = observations.iter().filter(|end| !may_pair(end));
        let facts: Vec<_> = changes.map(|end| change_in_file(end)).collect();
        if facts.is_empty() {
            return Ok(());
        }
        store.put_facts(facts).await
    }

    /// Looks in the files for events that came directly a day ago or earlier, and alerts on those
    /// that no file has.
    pub(super) async fn report_missing<S: StateStore>(
        &self,
        store: &S,
        now: EventTime,
        outcome: &mut BatchOutcome,
    ) -> Result<(), StateError> {
        if !self.checks_direct {
            return Ok(());
        }
        // Some of them: the next sweep goes on, and what else a sweep does is not kept waiting.
        let DueDirectEvents {
            mut events,
            receipt,
        } = store
            .due_direct_events(now.plus(-DIRECT_EVENT_SECS), AT_A_TIME)
            .await?;
        if receipt.is_empty() {
            return Ok(());
        }
        // What the files have of these may have expired, after an outage of days.
        events.retain(|event| event.head.time.plus(CHECKED_FOR_SECS) >= now);
        let missing = self.missing(store, events).await?;
        let alerts = self.missing_alerts(store, missing).await?;
        let created = store.create_alerts(alerts.clone(), now).await?;
        outcome.list_created(alerts, &created);
        // Only now: after a crash before this line, the same alerts are created again.
        store.close_direct_events(receipt).await
    }

    /// Those of the events that no file has, in accounts whose files are read at all.
    async fn missing<S: StateStore>(
        &self,
        store: &S,
        mut events: Vec<Evidence>,
    ) -> Result<Vec<Evidence>, StateError> {
        let (pending, changes) = (ranges(&events, group_of), ranges(&events, changes_of));
        let pending = pending
            .into_iter()
            .map(|(correlation_group, (from, to))| CorrelationRange {
                correlation_group,
                from,
                to,
            });
        let pending: Vec<_> = pending.collect();
        let changes = changes
            .into_iter()
            .map(|(key, (from, to))| WindowRange { key, from, to });
        let changes: Vec<_> = changes.collect();
        let mut in_files: HashSet<SharedStr> = HashSet::default();
        for end in store.pending_events_in(&pending).await?.iter().flatten() {
            in_files.insert(end.observation.head().event_key());
        }
        for fact in store.facts(&changes).await?.into_iter().flatten() {
            in_files.insert(fact.key);
        }
        events.retain(|event| !in_files.contains(&event.head.event_key()));
        self.retain_logged(store, &mut events).await?;
        Ok(events)
    }

    /// Keeps the events of accounts whose files are read: where there are none, all events are
    /// missing, and that is how it was set up.
    async fn retain_logged<S: StateStore>(
        &self,
        store: &S,
        events: &mut Vec<Evidence>,
    ) -> Result<(), StateError> {
        let accounts: BTreeSet<SharedStr> = events.iter().map(|e| e.head.account.clone()).collect();
        let keys: Vec<SharedStr> = accounts.iter().map(|a| seen::since_key(a)).collect();
        let known = store.seen(&keys).await?.into_iter();
        let known = known
            .zip(accounts)
            .filter(|(times, _)| times.first().is_some());
        let logged: BTreeSet<SharedStr> = known.map(|(_, account)| account).collect();
        // Of the others, KMS events near the event show it.
        let hours = events.iter().map(|event| mark_of(&event.head));
        let hours = hours.filter(|hour| !logged.contains(&hour.account));
        let covered = logged_near(store, hours.collect(), DAY_SECS / COVERAGE_BUCKET_SECS).await?;
        events.retain(|event| {
            logged.contains(&event.head.account) || covered.contains(&mark_of(&event.head))
        });
        Ok(())
    }

    /// One alert for each account, region and day, with all events that are known to be missing
    /// there by now.
    async fn missing_alerts<S: StateStore>(
        &self,
        store: &S,
        missing: Vec<Evidence>,
    ) -> Result<Vec<Alert>, StateError> {
        let mut days: BTreeSet<(WindowKey, i64)> = BTreeSet::new();
        let mut facts = Vec::new();
        for evidence in missing {
            let (key, time) = (window_of(&evidence), evidence.head.time);
            days.insert((key.clone(), time.0.div_euclid(DAY_SECS)));
            facts.push((key, fact(evidence)));
        }
        if facts.is_empty() {
            return Ok(Vec::new());
        }
        // Written first: of several sweeps, the last one to read sees the events of all.
        store.put_facts(facts).await?;
        let ranges = days.iter().map(|(key, day)| WindowRange {
            key: key.clone(),
            from: EventTime(day.saturating_mul(DAY_SECS)),
            to: EventTime(day.saturating_mul(DAY_SECS).saturating_add(DAY_SECS - 1)),
        });
        let ranges: Vec<_> = ranges.collect();
        let mut found: Vec<MissingDay> = Vec::new();
        found.resize_with(ranges.len(), MissingDay::default);
        // A trail that was stopped may lack all events of a day: of most, only the number is held.
        store
            .facts_in_parts(&ranges, &mut |index, fact| {
                if let Some(day) = found.get_mut(index) {
                    day.add(fact.evidence);
                }
            })
            .await?;
        let alerts = days.into_iter().zip(found);
        Ok(alerts
            .filter_map(|((key, day), missing)| missing.alert(key, day))
            .collect())
    }
}

/// The missing events of an account, region and day.
#[derive(Default)]
struct MissingDay {
    /// First and last time.
    times: Option<(EventTime, EventTime)>,
    evidence: CollectedEvidence,
}

impl MissingDay {
    fn add(&mut self, event: Evidence) {
        if self.evidence.has(&event) {
            return;
        }
        let time = event.head.time;
        let (first, last) = self.times.unwrap_or((time, time));
        self.times = Some((first.min(time), last.max(time)));
        self.evidence.add(event);
    }

    fn alert(self, key: WindowKey, day: i64) -> Option<Alert> {
        let (first, last) = self.times?;
        let window_match = WindowMatch {
            bucket: day,
            // Exclusive.
            start: first.plus(-1),
            end: last,
            count: self.evidence.events() as u64,
            group: key.group,
        };
        let id = Alert::window_id(&MISSING, &window_match.group, day);
        Some(self.evidence.alert(id, MISSING.clone(), window_match))
    }
}

/// What is kept of a direct event.
fn noted(observed: &PendingEvent) -> Evidence {
    let secret = match &observed.observation {
        Observation::Read(read) => secret_of(&read.request),
        Observation::KmsDecrypt(kms_decrypt) => kms_decrypt.secret.clone(),
        Observation::Change(change) => change.secret.clone(),
    };
    Evidence::event(observed.observation.head().clone(), secret)
}

/// The first secret that a read asks for; `None` where it names none.
fn secret_of(request: &ReadRequest) -> Option<SecretRef> {
    match request {
        ReadRequest::Named(secrets) | ReadRequest::Batch(secrets) => secrets.first().cloned(),
        ReadRequest::Path { path: secret, .. } | ReadRequest::History(secret) => {
            Some(secret.clone())
        }
        ReadRequest::BatchFilters => None,
    }
}

fn fact(evidence: Evidence) -> Fact {
    Fact {
        slot: 0,
        key: evidence.head.event_key(),
        time: evidence.head.time,
        value: None,
        least: None,
        evidence,
    }
}

fn change_in_file(change: &PendingEvent) -> (WindowKey, Fact) {
    let evidence = noted(change);
    (changes_of(&evidence), fact(evidence))
}

/// The group in which the pending event of the file's copy is.
fn group_of(event: &Evidence) -> CorrelationKey {
    let actor = event.head.principal.actor_key();
    CorrelationKey::new(
        actor.unwrap_or_else(|| "".into()),
        event.head.region.clone(),
    )
}

/// Where it is noted that a file has a change.
fn changes_of(event: &Evidence) -> WindowKey {
    WindowKey {
        rule: CHANGES_IN_FILES.into(),
        group: vec![("account".into(), event.head.account.clone())],
    }
}

/// The group of the alert about missing events.
fn window_of(event: &Evidence) -> WindowKey {
    let group = [
        ("recipientAccountId", &event.head.account),
        ("awsRegion", &event.head.region),
    ];
    WindowKey {
        rule: MISSING.id.as_str().into(),
        group: group
            .map(|(field, value)| (field.into(), value.clone()))
            .into(),
    }
}

/// The first and the last time of the events of each group.
fn ranges<K: Ord>(
    events: &[Evidence],
    group: impl Fn(&Evidence) -> K,
) -> Vec<(K, (EventTime, EventTime))> {
    let mut ranges: BTreeMap<(K, i64), (EventTime, EventTime)> = BTreeMap::new();
    for event in events {
        let time = event.head.time;
        // By the minute: what else an actor did between two of its events is not read.
        let place = (group(event), time.0.div_euclid(60));
        let range = ranges.entry(place).or_insert((time, time));
        *range = (range.0.min(time), range.1.max(time));
    }
    let ranges = ranges.into_iter();
    ranges.map(|((group, _), range)| (group, range)).collect()
}
