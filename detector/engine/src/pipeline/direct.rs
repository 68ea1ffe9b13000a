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
    may_pair,
    pending_alerts::{PendingAlerts, TouchedGroups},
};
use crate::{
    alert::{Alert, WindowMatch},
    coverage::CoverageMark,
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
        loop {
            let DueDirectEvents { events, receipt } = store
                .due_direct_events(now.plus(-DIRECT_EVENT_SECS), AT_A_TIME)
                .await?;
            if receipt.is_empty() {
                return Ok(());
            }
            let missing = self.missing(store, events).await?;
            let alerts = self.missing_alerts(store, missing).await?;
            let created = store.create_alerts(alerts.clone(), now).await?;
            outcome.list_created(alerts, &created);
            // Only now: after a crash before this line, the same alerts are created again.
            store.close_direct_events(receipt).await?;
        }
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
        let places: BTreeSet<_> = events.iter().map(place_of).collect();
        let places: Vec<_> = places
            .into_iter()
            .filter(|(account, ..)| !logged.contains(account))
            .collect();
        let marks: Vec<CoverageMark> = places.iter().flat_map(marks_near).collect();
        let covered = store.covered(&marks).await?;
        let covered = covered.chunks(MARKS_NEAR).zip(places);
        let covered: BTreeSet<_> = covered
            .filter_map(|(covered, place)| covered.contains(&true).then_some(place))
            .collect();
        events.retain(|event| {
            logged.contains(&event.head.account) || covered.contains(&place_of(event))
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
        let found = store.facts(&ranges.collect::<Vec<_>>()).await?;
        let alerts = days.into_iter().zip(found);
        Ok(alerts
            .filter_map(|((key, day), facts)| missing_alert(key, day, facts))
            .collect())
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
        // By the hour: an actor with an event today and another that was late by days has not all
        // events between the two read.
        let place = (group(event), time.0.div_euclid(3_600));
        let range = ranges.entry(place).or_insert((time, time));
        *range = (range.0.min(time), range.1.max(time));
    }
    let ranges = ranges.into_iter();
    ranges.map(|((group, _), range)| (group, range)).collect()
}

/// Account, region and hour.
fn place_of(event: &Evidence) -> (SharedStr, SharedStr, i64) {
    let head = &event.head;
    let hour = head.time.0.div_euclid(COVERAGE_BUCKET_SECS);
    (head.account.clone(), head.region.clone(), hour)
}

/// Marks of a day before the hour of a place, of the hour, and of the next.
const MARKS_NEAR: usize = (DAY_SECS / COVERAGE_BUCKET_SECS) as usize + 2;

/// See [`MARKS_NEAR`].
fn marks_near((account, region, hour): &(SharedStr, SharedStr, i64)) -> Vec<CoverageMark> {
    let time = EventTime(hour.saturating_mul(COVERAGE_BUCKET_SECS));
    let at = CoverageMark::at(account.clone(), region.clone(), time);
    let first = at.bucket.saturating_sub(DAY_SECS / COVERAGE_BUCKET_SECS);
    let marks = (0..MARKS_NEAR).zip(first..);
    marks
        .map(|(_, bucket)| CoverageMark {
            bucket,
            ..at.clone()
        })
        .collect()
}

fn missing_alert(key: WindowKey, day: i64, facts: Vec<Fact>) -> Option<Alert> {
    let start = facts.iter().map(|fact| fact.time).min()?;
    let end = facts.iter().map(|fact| fact.time).max()?;
    let window_match = WindowMatch {
        bucket: day,
        // Exclusive.
        start: start.plus(-1),
        end,
        count: facts.len() as u64,
        group: key.group,
    };
    let id = Alert::window_id(&MISSING, &window_match.group, day);
    let evidence = facts.into_iter().map(|fact| fact.evidence).collect();
    Some(Alert::new(
        id,
        MISSING.clone(),
        Some(window_match),
        evidence,
    ))
}
