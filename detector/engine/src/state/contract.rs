//! The tests that every state store must pass. A store's own tests call [`run`] with a function
//! that makes an empty store with these destinations.

mod completeness;
mod direct;
mod exposed;
mod incidents;
mod merged;
mod outbox;
mod provisional;
mod set_aside;

use std::{collections::BTreeSet, sync::Arc};

pub use self::{exposed::version_change, incidents::announced};
use crate::{
    alert::Alert,
    coverage::CoverageMark,
    document::LazyDocument,
    evidence::Evidence,
    extract::{WantedFields, extract},
    fact::{Fact, RuleRange, WindowKey, WindowRange},
    ids::SharedStr,
    object::origin,
    observation::{Interner, Observation},
    outbox::{DeliveredKinds, Destination, WaitingMessage},
    pending_event::{CorrelationRange, PendingEvent},
    rule_meta::{RuleLevel, RuleMeta},
    seen::{LookbackPeriods, Sighting},
    state::{IncidentStore, OutboxStore, StateStore},
    time::EventTime,
    wire::CloudTrailRecord,
};

/// Before every event time.
const LONG_AGO: EventTime = EventTime(i64::MIN);

/// Runs all tests.
///
/// # Panics
///
/// On the first violation of the contract.
pub async fn run<S: IncidentStore>(empty: impl Fn(Vec<Destination>) -> S) {
    let empty = || empty(destinations());
    facts_are_kept_once(&empty()).await;
    facts_are_read_by_group_and_range(&empty()).await;
    slots_are_reported_by_range(&empty()).await;
    pending_events_are_due_until_they_are_closed(&empty()).await;
    pending_events_are_found_by_correlation_group_open_or_closed(&empty()).await;
    set_aside::pending_events_are_due_later(&empty()).await;
    denied_reads_come_back_whole(&empty()).await;
    late_pending_events_wait_as_long_as_others(&empty()).await;
    copies_are_found_by_shared_id(&empty()).await;
    coverage_is_remembered(&empty()).await;
    direct::direct_events_wait_until_they_are_closed(&empty()).await;
    completeness::all(&empty).await;
    what_was_seen_is_remembered_by_grain(&empty()).await;
    alerts_are_created_once(&empty()).await;
    outbox::alerts_wait_until_they_are_published(&empty()).await;
    outbox::each_destination_has_its_notes(&empty()).await;
    outbox::what_is_put_off_is_in_nobodys_way(&empty()).await;
    outbox::notes_of_a_destination_are_dropped_together(&empty()).await;
    outbox::of_two_changes_of_a_destination_one_counts(&empty()).await;
    provisional::all(&empty).await;
    incidents::alerts_are_found_by_their_actors(&empty()).await;
    incidents::withdrawn_alerts_are_not_found(&empty()).await;
    incidents::alerts_that_have_grown_are_found_as_they_are(&empty()).await;
    merged::run(&empty).await;
    incidents::principals_are_found_by_where_they_come_from(&empty()).await;
    incidents::of_two_changes_of_an_incident_one_counts(&empty()).await;
    incidents::incidents_wait_until_they_are_published(&empty()).await;
    incidents::what_is_due_later_may_change_before(&empty()).await;
    exposed::run(empty).await;
    nothing_is_asked_for_in_vain(&empty()).await;
}

/// A destination of all alerts, and one of critical ones.
#[must_use]
pub fn destinations() -> Vec<Destination> {
    let levels = [
        (outbox::ALL, RuleLevel::Informational),
        (outbox::WORST, RuleLevel::Critical),
    ];
    let destinations = levels.map(|(id, min_level)| Destination {
        id: SharedStr::from(id),
        min_level,
        kinds: DeliveredKinds::Both,
        digest_below: None,
    });
    destinations.into()
}

fn read(event_id: &str, secs: i64, actor: &str, shared: Option<&str>) -> Observation {
    let shared = shared
        .map(|id| format!(r#""sharedEventID":"{id}","#))
        .unwrap_or_default();
    let text = format!(
        r#"{{"eventTime":"{}","eventID":"{event_id}",{shared}
        "eventSource":"secretsmanager.amazonaws.com","eventName":"GetSecretValue",
        "awsRegion":"eu-west-1","recipientAccountId":"111122223333",
        "userIdentity":{{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/{actor}"}},
        "requestParameters":{{"secretId":"prod/db"}}}}"#,
        EventTime(secs)
    );
    let record: CloudTrailRecord<'_> = serde_json::from_str(&text).expect("the record is JSON");
    extract(
        &record,
        &LazyDocument::new(&text),
        &origin("contract"),
        &WantedFields::default(),
        &mut Interner::default(),
    )
    .expect("it is a read")
}

/// An unpaired read by an actor, for tests of stores.
#[must_use]
pub fn end(event_id: &str, secs: i64, actor: &str) -> Arc<PendingEvent> {
    Arc::new(PendingEvent::new(read(event_id, secs, actor, None)))
}

/// All events that have been pending since a time.
async fn due<S: StateStore>(store: &S, since: i64) -> Vec<Arc<PendingEvent>> {
    store
        .due_pending_events(EventTime(since), usize::MAX)
        .await
        .expect("due")
        .ends
}

fn ids(ends: &[Arc<PendingEvent>]) -> BTreeSet<SharedStr> {
    ends.iter()
        .map(|end| end.observation.head().event_id.clone())
        .collect()
}

fn set(ids: &[&str]) -> BTreeSet<SharedStr> {
    ids.iter().map(|id| SharedStr::from(*id)).collect()
}

/// A fact about an event, for tests of stores.
#[must_use]
pub fn fact(event_id: &str, secs: i64, value: &str) -> Fact {
    let head = read(event_id, secs, "ann", None).head().clone();
    let evidence = Evidence {
        head,
        secret: None,
        access: None,
    };
    Fact {
        slot: 0,
        key: event_id.into(),
        time: EventTime(secs),
        value: Some(value.into()),
        least: None,
        evidence,
    }
}

/// A group of a window, for tests of stores.
#[must_use]
pub fn window(name: &str) -> WindowKey {
    WindowKey {
        rule: "rule".into(),
        group: vec![("principal.arn".into(), name.into())],
    }
}

/// An alert about an event, for tests of stores.
#[must_use]
pub fn alert(event_id: &str) -> Alert {
    let meta = RuleMeta {
        id: "rule".into(),
        title: "title".into(),
        level: RuleLevel::High,
        file: "rule.yml".into(),
        ..RuleMeta::default()
    };
    let id = Alert::single_id(&meta, event_id);
    Alert::new(
        id,
        Arc::new(meta),
        None,
        vec![fact(event_id, 100, "x").evidence],
    )
}

async fn put_facts<S: StateStore>(store: &S, group: &str, facts: Vec<Fact>) {
    let facts = facts.into_iter().map(|fact| (window(group), fact));
    store.put_facts(facts.collect()).await.expect("put facts");
}

/// The keys of the facts of a group between two times.
async fn keys<S: StateStore>(store: &S, group: &str, from: i64, to: i64) -> Vec<SharedStr> {
    let range = WindowRange {
        key: window(group),
        from: EventTime(from),
        to: EventTime(to),
    };
    let found = store.facts(&[range]).await.expect("facts").concat();
    let mut keys: Vec<SharedStr> = found.into_iter().map(|fact| fact.key).collect();
    keys.sort();
    keys
}

async fn facts_are_kept_once<S: StateStore>(store: &S) {
    let (one, two) = (fact("e1", 100, "x"), fact("e2", 110, "y"));
    put_facts(store, "ann", vec![one.clone(), two.clone(), one]).await;
    // Redelivered together with a new fact: batches may overlap.
    put_facts(store, "ann", vec![two, fact("e3", 120, "x")]).await;
    assert_eq!(
        keys(store, "ann", 100, 120).await,
        ["e1", "e2", "e3"].map(SharedStr::from)
    );
}

async fn facts_are_read_by_group_and_range<S: StateStore>(store: &S) {
    let facts = [("e1", 100), ("e2", 110), ("e3", 120)].map(|(id, secs)| fact(id, secs, "x"));
    put_facts(store, "ann", facts.into()).await;
    put_facts(store, "bob", vec![fact("e4", 110, "z")]).await;
    assert_eq!(
        keys(store, "ann", 100, 110).await,
        ["e1", "e2"].map(SharedStr::from),
        "both ends are included"
    );
    assert_eq!(keys(store, "ann", 101, 119).await, ["e2".into()]);
    let ranges = ["nobody", "bob", "ann"].map(|group| WindowRange {
        key: window(group),
        from: EventTime(0),
        to: EventTime(1_000),
    });
    let found = store.facts(&ranges).await.expect("facts");
    let counts: Vec<usize> = found.iter().map(Vec::len).collect();
    assert_eq!(counts, [0, 1, 3], "in the order of the ranges");
}

async fn slots_are_reported_by_range<S: StateStore>(store: &S) {
    let asked =
        [("rule", 100, 120), ("another rule", 0, 1_000)].map(|(rule, from, to)| RuleRange {
            rule: rule.into(),
            from: EventTime(from),
            to: EventTime(to),
        });
    put_facts(store, "ann", vec![fact("e1", 100, "x")]).await;
    assert_eq!(
        store.slots(&asked).await.expect("slots"),
        [BTreeSet::from([0]), BTreeSet::new()]
    );
    let of_another_rule = Fact {
        slot: 2,
        ..fact("e5", 115, "x")
    };
    put_facts(store, "bob", vec![of_another_rule]).await;
    assert_eq!(
        store.slots(&asked).await.expect("slots").first(),
        Some(&BTreeSet::from([0, 2])),
        "of any group"
    );
}

/// Closes the events that have been pending since a time, and returns their ids.
async fn close_due<S: StateStore>(store: &S, since: i64) -> BTreeSet<SharedStr> {
    let due = store
        .due_pending_events(EventTime(since), 10)
        .await
        .expect("due");
    store
        .close_pending_events(due.receipt)
        .await
        .expect("close");
    ids(&due.ends)
}

async fn pending_events_are_due_until_they_are_closed<S: StateStore>(store: &S) {
    let ends = vec![
        end("e1", 100, "ann"),
        end("e2", 200, "ann"),
        end("e3", 150, "bob"),
    ];
    for attempt in ["put", "put again"] {
        store
            .put_pending_events(ends.clone(), LONG_AGO)
            .await
            .expect(attempt);
    }
    assert_eq!(ids(&due(store, 99).await), set(&[]));
    assert_eq!(ids(&due(store, 150).await), set(&["e1", "e3"]));
    assert_eq!(due(store, 1_000).await.len(), 3, "each once");
    assert_eq!(close_due(store, 100).await, set(&["e1"]));
    assert_eq!(close_due(store, 100).await, set(&[]));
    // Queues redeliver, even days later: a final evaluation must not be repeated.
    store
        .put_pending_events(ends, LONG_AGO)
        .await
        .expect("redelivery");
    assert_eq!(ids(&due(store, 1_000).await), set(&["e2", "e3"]));
}

async fn pending_events_are_found_by_correlation_group_open_or_closed<S: StateStore>(store: &S) {
    let one = end("e1", 100, "ann");
    let correlation_group = one.correlation_group.clone();
    let ends = vec![one, end("e2", 200, "ann"), end("e3", 150, "bob")];
    store.put_pending_events(ends, LONG_AGO).await.expect("put");
    close_due(store, 100).await;
    // A late KMS Decrypt looks for its read, which may have been finalised without it.
    for (from, expected) in [(100, &["e1", "e2"][..]), (101, &["e2"]), (201, &[])] {
        let around = CorrelationRange {
            correlation_group: correlation_group.clone(),
            from: EventTime(from),
            to: EventTime(200.max(from)),
        };
        let found = store.pending_events_in(&[around]).await.expect("in range");
        assert_eq!(
            found.iter().map(|ends| ids(ends)).collect::<Vec<_>>(),
            [set(expected)]
        );
    }
}

async fn denied_reads_come_back_whole<S: StateStore>(store: &S) {
    let mut denied = (*end("e1", 100, "ann")).clone();
    if let Observation::Read(read) = &mut denied.observation {
        let read = Arc::make_mut(read);
        (read.decrypts, read.denied_by_kms) = (false, true);
        read.denied_key = Some("arn:aws:kms:eu-west-1:111122223333:key/k".into());
    }
    let ends = vec![Arc::new(denied)];
    let put = store.put_pending_events(ends.clone(), LONG_AGO).await;
    put.expect("put");
    assert_eq!(due(store, 100).await, ends);
}

async fn late_pending_events_wait_as_long_as_others<S: StateStore>(store: &S) {
    // The first was delivered 400 s late. Counted from its event time it would be due at once,
    // before its other half, which is as late, could arrive.
    store
        .put_pending_events(vec![end("e1", 100, "ann")], EventTime(500))
        .await
        .expect("put");
    store
        .put_pending_events(vec![end("e2", 700, "ann")], EventTime(500))
        .await
        .expect("put");
    assert_eq!(ids(&due(store, 499).await), set(&[]));
    assert_eq!(ids(&due(store, 699).await), set(&["e1"]));
    assert_eq!(ids(&due(store, 700).await), set(&["e1", "e2"]));
}

async fn copies_are_found_by_shared_id<S: StateStore>(store: &S) {
    // The copies in the two accounts have different actors, and so different correlation groups.
    let [one, other] = [("e1", "ann"), ("e2", "bob")]
        .map(|(event, actor)| Arc::new(PendingEvent::new(read(event, 100, actor, Some("s1")))));
    let ends = vec![one, other, end("e3", 100, "ann")];
    store.put_pending_events(ends, LONG_AGO).await.expect("put");
    // Every copy asks, and each is found once.
    let asked = ["s1".into(), "s2".into(), "s1".into()];
    let found = store.pending_events_sharing(&asked).await.expect("sharing");
    assert_eq!((found.len(), ids(&found)), (2, set(&["e1", "e2"])));
}

fn mark(region: &str, secs: i64) -> CoverageMark {
    CoverageMark::at("111122223333".into(), region.into(), EventTime(secs))
}

async fn coverage_is_remembered<S: StateStore>(store: &S) {
    store
        .mark_coverage(vec![mark("eu-west-1", 100), mark("eu-west-1", 200)])
        .await
        .expect("mark");
    // Coverage is recorded by hour: the first mark is in the hour of both, the second two hours
    // later.
    let asked = [
        mark("eu-west-1", 300),
        mark("eu-west-1", 7_300),
        mark("us-east-1", 100),
    ];
    assert_eq!(
        store.covered(&asked).await.expect("covered"),
        [true, false, false]
    );
    let hours = CoverageMark {
        hours: 3,
        ..mark("us-east-1", 7_200)
    };
    store.mark_coverage(vec![hours]).await.expect("mark");
    let asked = [0, 7_200, 10_800, 14_400, 18_000].map(|secs| mark("us-east-1", secs));
    assert_eq!(
        store.covered(&asked).await.expect("covered"),
        [false, true, true, true, false]
    );
}

/// Records times twice, as every delivery may be repeated.
async fn put_seen_twice<S: StateStore>(store: &S, times: &[(&str, i64)]) {
    let sightings: Vec<Sighting> = times
        .iter()
        .map(|(key, time)| Sighting {
            key: SharedStr::from(*key),
            time: EventTime(*time),
        })
        .collect();
    let lookback = LookbackPeriods {
        lookback_secs: 900,
        warm_up_secs: 0,
    };
    for attempt in ["remember", "remember again"] {
        let sightings = sightings.clone();
        store.put_seen(sightings, lookback).await.expect(attempt);
    }
}

async fn what_was_seen_is_remembered_by_grain<S: StateStore>(store: &S) {
    put_seen_twice(store, &[("a", 55), ("b", 1), ("a", 77)]).await;
    // Added later with earlier times: the first time of a grain counts, in any order.
    put_seen_twice(store, &[("a", 51), ("a", 59)]).await;
    put_seen_twice(store, &[]).await;
    let asked = ["b".into(), "never".into(), "a".into()];
    let found = store.seen(&asked).await.expect("look up");
    let found: Vec<Vec<i64>> = found
        .iter()
        .map(|times| times.iter().map(|time| time.0).collect())
        .collect();
    assert_eq!(found, [vec![1], vec![], vec![51, 77]]);
}

/// For each alert, whether this call created it.
async fn create<S: StateStore>(store: &S, alerts: &[&Alert], now: i64) -> Vec<bool> {
    let alerts = alerts.iter().copied().cloned().collect();
    let created = store.create_alerts(alerts, EventTime(now)).await;
    created.expect("create alerts")
}

/// Alerts that wait to be published since before a time, by id.
async fn waiting<S: OutboxStore>(store: &S, before: i64) -> Vec<Alert> {
    let waiting = outbox::waiting(store, outbox::ALL, before).await;
    let alerts = waiting.iter().filter_map(WaitingMessage::alert);
    let mut alerts: Vec<Alert> = alerts.cloned().collect();
    alerts.sort_by(|a, b| a.id.cmp(&b.id));
    alerts
}

async fn alerts_are_created_once<S: OutboxStore>(store: &S) {
    let (one, two) = (alert("e1"), alert("e2"));
    assert_eq!(create(store, &[&one], 10).await, [true]);
    // The second `two` is a duplicate within one call.
    assert_eq!(
        create(store, &[&two, &one, &two], 20).await,
        [true, false, false]
    );
    assert!(waiting(store, 10).await.is_empty());
    let first = waiting(store, 20).await;
    assert_eq!(
        first,
        [one],
        "as it was created, and when it was created first"
    );
    assert_eq!(waiting(store, 21).await.len(), 2);
}

async fn nothing_is_asked_for_in_vain<S: OutboxStore>(store: &S) {
    // DynamoDB rejects requests without items: a store must not send them.
    store.put_facts(Vec::new()).await.expect("no facts");
    store
        .put_pending_events(Vec::new(), LONG_AGO)
        .await
        .expect("no ends");
    let nothing = store
        .due_pending_events(EventTime(i64::MAX), 10)
        .await
        .expect("due");
    assert!(nothing.ends.is_empty());
    store
        .close_pending_events(nothing.receipt)
        .await
        .expect("close nothing");
    store.remove_notes(&[]).await.expect("remove no notes");
    store.mark_coverage(Vec::new()).await.expect("no marks");
    store
        .put_seen(Vec::new(), LookbackPeriods::default())
        .await
        .expect("nothing seen");
    assert!(store.facts(&[]).await.expect("no ranges").is_empty());
    assert!(
        store
            .create_alerts(Vec::new(), LONG_AGO)
            .await
            .expect("no alerts")
            .is_empty()
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        actor::Actor,
        alert::{AlertId, IncidentId},
        completeness::{ComparedDigest, DigestRange, WaitingDigest},
        exposure::changes::{SecretName, VersionChange},
        incident::announced::AnnouncedIncident,
        outbox::{DestinationState, OutboxNote},
        seen::SeenTimes,
        state::{
            ActorRange, DueDirectEvents, DueEvents, ExposedMark, SetAside, StateError,
            completeness::{CompletenessStore, DueDigests, DueHeldEvents},
            memory::MemoryStore,
        },
    };

    /// A violation of the contract.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Broken {
        OneFactIsLost,
        FactsAreNotCutToTheirRange,
        SlotsAreLost,
        CopiesAreNotFound,
        CorrelationGroupsForgetWhatIsClosed,
        NothingIsClosed,
        EverythingIsCovered,
        SightingsAreLost,
        AlertsAreCreatedAgain,
        NothingIsPublished,
        NothingIsProvisional,
        WithdrawalsAreNotTold,
        NotesAreRemovedForAll,
        LevelsAreIgnored,
        RefusedAlertsStay,
        EveryChangeCounts,
        ChangesAreLost,
        NothingIsDropped,
        NothingIsSetAside,
        TheLongestWaitIsNotKnown,
        RangesOfActorsAreIgnored,
        PrincipalsAreNotFound,
        EveryIncidentCounts,
        IncidentsAreLost,
        DirectEventsAreDueAtOnce,
        DirectEventsAreNotClosed,
        DigestsAreDueAtOnce,
        DigestsAreNotClosed,
        EveryDigestIsCompared,
        HeldEventsAreLost,
        HeldEventsAreNotClosed,
        OneVersionChangeIsLost,
        OneMarkIsLost,
        EveryExposureIsOld,
    }

    /// A store that violates the contract in one way.
    struct BrokenStore(MemoryStore, Broken);

    impl BrokenStore {
        fn new(mut destinations: Vec<Destination>, promise: Broken) -> Self {
            if promise == Broken::LevelsAreIgnored {
                let lowest = RuleLevel::Informational;
                destinations
                    .iter_mut()
                    .for_each(|one| one.min_level = lowest);
            }
            Self(MemoryStore::with_destinations(destinations), promise)
        }

        fn breaks(&self, promise: Broken) -> bool {
            self.1 == promise
        }
    }

    impl CompletenessStore for BrokenStore {
        async fn put_digests(
            &self,
            digests: Vec<WaitingDigest>,
            look_at: EventTime,
        ) -> Result<(), StateError> {
            self.0.put_digests(digests, look_at).await
        }

        async fn due_digests(
            &self,
            until: EventTime,
            most: usize,
        ) -> Result<DueDigests, StateError> {
            let until = match self.breaks(Broken::DigestsAreDueAtOnce) {
                true => EventTime(i64::MAX),
                false => until,
            };
            self.0.due_digests(until, most).await
        }

        async fn close_digests(&self, receipt: Vec<SharedStr>) -> Result<(), StateError> {
            if self.breaks(Broken::DigestsAreNotClosed) {
                return Ok(());
            }
            self.0.close_digests(receipt).await
        }

        async fn put_compared(&self, digests: Vec<ComparedDigest>) -> Result<(), StateError> {
            self.0.put_compared(digests).await
        }

        async fn compared(
            &self,
            ranges: &[DigestRange],
        ) -> Result<Vec<Vec<ComparedDigest>>, StateError> {
            let mut ranges = ranges.to_vec();
            if self.breaks(Broken::EveryDigestIsCompared) {
                ranges
                    .iter_mut()
                    .for_each(|range| range.from = EventTime(i64::MIN));
            }
            self.0.compared(&ranges).await
        }

        async fn hold_events(
            &self,
            ends: Vec<Arc<PendingEvent>>,
            look_at: EventTime,
        ) -> Result<(), StateError> {
            if self.breaks(Broken::HeldEventsAreLost) {
                return Ok(());
            }
            self.0.hold_events(ends, look_at).await
        }

        async fn due_held_events(
            &self,
            until: EventTime,
            most: usize,
        ) -> Result<DueHeldEvents, StateError> {
            self.0.due_held_events(until, most).await
        }

        async fn close_held_events(&self, receipt: Vec<SharedStr>) -> Result<(), StateError> {
            if self.breaks(Broken::HeldEventsAreNotClosed) {
                return Ok(());
            }
            self.0.close_held_events(receipt).await
        }
    }

    impl StateStore for BrokenStore {
        type Receipt = <MemoryStore as StateStore>::Receipt;

        async fn put_facts(&self, mut facts: Vec<(WindowKey, Fact)>) -> Result<(), StateError> {
            if self.breaks(Broken::OneFactIsLost) {
                facts.pop();
            }
            self.0.put_facts(facts).await
        }

        async fn facts_up_to(
            &self,
            ranges: &[WindowRange],
            most: usize,
        ) -> Result<Vec<Option<Vec<Fact>>>, StateError> {
            let mut ranges = ranges.to_vec();
            if self.breaks(Broken::FactsAreNotCutToTheirRange) {
                ranges
                    .iter_mut()
                    .for_each(|range| range.to = range.to.plus(60));
            }
            self.0.facts_up_to(&ranges, most).await
        }

        async fn facts_in_parts(
            &self,
            ranges: &[WindowRange],
            take: &mut (dyn FnMut(usize, Fact) + Send),
        ) -> Result<(), StateError> {
            self.0.facts_in_parts(ranges, take).await
        }

        async fn slots(&self, windows: &[RuleRange]) -> Result<Vec<BTreeSet<usize>>, StateError> {
            let mut slots = self.0.slots(windows).await?;
            if self.breaks(Broken::SlotsAreLost) {
                slots.iter_mut().for_each(BTreeSet::clear);
            }
            Ok(slots)
        }

        async fn put_pending_events(
            &self,
            ends: Vec<Arc<PendingEvent>>,
            arrived: EventTime,
        ) -> Result<(), StateError> {
            self.0.put_pending_events(ends, arrived).await
        }

        async fn put_version_changes(
            &self,
            mut changes: Vec<VersionChange>,
        ) -> Result<(), StateError> {
            if self.breaks(Broken::OneVersionChangeIsLost) {
                changes.pop();
            }
            self.0.put_version_changes(changes).await
        }

        async fn due_pending_events(
            &self,
            since: EventTime,
            most: usize,
        ) -> Result<DueEvents<Self::Receipt>, StateError> {
            self.0.due_pending_events(since, most).await
        }

        async fn due_pending_events_after(
            &self,
            since: EventTime,
            most: usize,
            receipt: &Self::Receipt,
        ) -> Result<DueEvents<Self::Receipt>, StateError> {
            self.0.due_pending_events_after(since, most, receipt).await
        }

        async fn pending_events_in(
            &self,
            correlation_groups: &[CorrelationRange],
        ) -> Result<Vec<Vec<Arc<PendingEvent>>>, StateError> {
            let mut found = self.0.pending_events_in(correlation_groups).await?;
            if self.breaks(Broken::CorrelationGroupsForgetWhatIsClosed) {
                let open = ids(&due(&self.0, i64::MAX).await);
                let is_open =
                    |end: &Arc<PendingEvent>| open.contains(&end.observation.head().event_id);
                found.iter_mut().for_each(|ends| ends.retain(is_open));
            }
            Ok(found)
        }

        async fn pending_events_sharing(
            &self,
            shared_ids: &[SharedStr],
        ) -> Result<Vec<Arc<PendingEvent>>, StateError> {
            if self.breaks(Broken::CopiesAreNotFound) {
                return Ok(Vec::new());
            }
            self.0.pending_events_sharing(shared_ids).await
        }

        async fn close_pending_events(&self, receipt: Self::Receipt) -> Result<(), StateError> {
            if self.breaks(Broken::NothingIsClosed) {
                return Ok(());
            }
            self.0.close_pending_events(receipt).await
        }

        async fn set_aside_pending_events(
            &self,
            receipt: Self::Receipt,
            since: EventTime,
        ) -> Result<SetAside, StateError> {
            if self.breaks(Broken::NothingIsSetAside) {
                return Ok(SetAside::Later(receipt.len()));
            }
            self.0.set_aside_pending_events(receipt, since).await
        }

        async fn pending_since(&self) -> Result<Option<EventTime>, StateError> {
            if self.breaks(Broken::TheLongestWaitIsNotKnown) {
                return Ok(None);
            }
            self.0.pending_since().await
        }

        async fn put_direct_events(
            &self,
            events: Vec<Evidence>,
            arrived: EventTime,
        ) -> Result<(), StateError> {
            self.0.put_direct_events(events, arrived).await
        }

        async fn due_direct_events(
            &self,
            until: EventTime,
            most: usize,
        ) -> Result<DueDirectEvents, StateError> {
            let until = match self.breaks(Broken::DirectEventsAreDueAtOnce) {
                true => EventTime(i64::MAX),
                false => until,
            };
            self.0.due_direct_events(until, most).await
        }

        async fn close_direct_events(&self, receipt: Vec<SharedStr>) -> Result<(), StateError> {
            if self.breaks(Broken::DirectEventsAreNotClosed) {
                return Ok(());
            }
            self.0.close_direct_events(receipt).await
        }

        async fn mark_coverage(&self, marks: Vec<CoverageMark>) -> Result<(), StateError> {
            self.0.mark_coverage(marks).await
        }

        async fn covered(&self, marks: &[CoverageMark]) -> Result<Vec<bool>, StateError> {
            if self.breaks(Broken::EverythingIsCovered) {
                return Ok(vec![true; marks.len()]);
            }
            self.0.covered(marks).await
        }

        async fn seen(&self, keys: &[SharedStr]) -> Result<Vec<SeenTimes>, StateError> {
            self.0.seen(keys).await
        }

        async fn put_seen(
            &self,
            times: Vec<Sighting>,
            lookback: LookbackPeriods,
        ) -> Result<(), StateError> {
            if self.breaks(Broken::SightingsAreLost) {
                return Ok(());
            }
            self.0.put_seen(times, lookback).await
        }

        async fn create_alerts(
            &self,
            alerts: Vec<Alert>,
            now: EventTime,
        ) -> Result<Vec<bool>, StateError> {
            let created = self.0.create_alerts(alerts, now).await?;
            let again = self.breaks(Broken::AlertsAreCreatedAgain);
            Ok(created
                .into_iter()
                .map(|created| created || again)
                .collect())
        }

        async fn create_provisional_alerts(
            &self,
            alerts: Vec<(Alert, EventTime)>,
            now: EventTime,
        ) -> Result<Vec<bool>, StateError> {
            self.0.create_provisional_alerts(alerts, now).await
        }

        async fn provisional_alerts(&self, since: EventTime) -> Result<Vec<AlertId>, StateError> {
            if self.breaks(Broken::NothingIsProvisional) {
                return Ok(Vec::new());
            }
            self.0.provisional_alerts(since).await
        }

        async fn withdraw_alerts(
            &self,
            ids: &[AlertId],
            now: EventTime,
        ) -> Result<Vec<Alert>, StateError> {
            let withdrawn = self.0.withdraw_alerts(ids, now).await?;
            if self.breaks(Broken::WithdrawalsAreNotTold) {
                self.0.drop_notes(outbox::ALL, usize::MAX).await?;
            }
            Ok(withdrawn)
        }

        async fn retract_alerts(
            &self,
            ids: &[AlertId],
            now: EventTime,
        ) -> Result<Vec<Alert>, StateError> {
            self.0.retract_alerts(ids, now).await
        }
    }

    impl OutboxStore for BrokenStore {
        async fn outbox(
            &self,
            destination: &str,
            due_before: EventTime,
            most: usize,
        ) -> Result<Vec<WaitingMessage>, StateError> {
            self.0.outbox(destination, due_before, most).await
        }

        async fn oldest_note(&self, destination: &str) -> Result<Option<EventTime>, StateError> {
            self.0.oldest_note(destination).await
        }

        async fn remove_notes(&self, notes: &[OutboxNote]) -> Result<(), StateError> {
            if self.breaks(Broken::NothingIsPublished) {
                return Ok(());
            }
            if self.breaks(Broken::NotesAreRemovedForAll) {
                for destination in destinations() {
                    let of_it = |note: &OutboxNote| OutboxNote {
                        destination: destination.id.clone(),
                        ..note.clone()
                    };
                    let notes: Vec<OutboxNote> = notes.iter().map(of_it).collect();
                    self.0.remove_notes(&notes).await?;
                }
            }
            self.0.remove_notes(notes).await
        }

        async fn replace_notes(
            &self,
            notes: Vec<(OutboxNote, OutboxNote)>,
        ) -> Result<(), StateError> {
            if self.breaks(Broken::RefusedAlertsStay) {
                return Ok(());
            }
            self.0.replace_notes(notes).await
        }

        async fn drop_notes(&self, destination: &str, most: usize) -> Result<usize, StateError> {
            if self.breaks(Broken::NothingIsDropped) {
                return Ok(0);
            }
            self.0.drop_notes(destination, most).await
        }

        async fn destinations(&self) -> Result<Vec<DestinationState>, StateError> {
            self.0.destinations().await
        }

        async fn change_destination(&self, state: &DestinationState) -> Result<bool, StateError> {
            if self.breaks(Broken::ChangesAreLost) {
                return Ok(true);
            }
            let is_current = self.0.change_destination(state).await?;
            Ok(is_current || self.breaks(Broken::EveryChangeCounts))
        }
    }

    impl IncidentStore for BrokenStore {
        async fn alerts_about(&self, ranges: &[ActorRange]) -> Result<Vec<Vec<Alert>>, StateError> {
            let mut ranges = ranges.to_vec();
            if self.breaks(Broken::RangesOfActorsAreIgnored) {
                ranges
                    .iter_mut()
                    .for_each(|range| range.from = EventTime(i64::MIN));
            }
            self.0.alerts_about(&ranges).await
        }

        async fn principals_from(
            &self,
            ranges: &[ActorRange],
        ) -> Result<Vec<Vec<Actor>>, StateError> {
            if self.breaks(Broken::PrincipalsAreNotFound) {
                return Ok(ranges.iter().map(|_| Vec::new()).collect());
            }
            self.0.principals_from(ranges).await
        }

        async fn announced(
            &self,
            ranges: &[ActorRange],
        ) -> Result<Vec<Vec<AnnouncedIncident>>, StateError> {
            self.0.announced(ranges).await
        }

        async fn announce(&self, incidents: &[AnnouncedIncident]) -> Result<Vec<bool>, StateError> {
            let are_current = match self.breaks(Broken::IncidentsAreLost) {
                true => vec![true; incidents.len()],
                false => self.0.announce(incidents).await?,
            };
            let counts = self.breaks(Broken::EveryIncidentCounts);
            Ok(are_current.into_iter().map(|one| one || counts).collect())
        }

        async fn version_changes(
            &self,
            secrets: &[SecretName],
        ) -> Result<Vec<VersionChange>, StateError> {
            self.0.version_changes(secrets).await
        }

        async fn mark_exposed(&self, mut marks: Vec<ExposedMark>) -> Result<(), StateError> {
            if self.breaks(Broken::OneMarkIsLost) {
                marks.pop();
            }
            self.0.mark_exposed(marks).await
        }

        async fn exposed_by(&self, secrets: &[SecretName]) -> Result<Vec<ExposedMark>, StateError> {
            self.0.exposed_by(secrets).await
        }

        async fn open_exposures(
            &self,
            since: EventTime,
            most: usize,
        ) -> Result<Vec<IncidentId>, StateError> {
            let since = match self.breaks(Broken::EveryExposureIsOld) {
                true => EventTime(i64::MAX),
                false => since,
            };
            self.0.open_exposures(since, most).await
        }
    }

    #[test]
    fn a_store_that_breaks_a_promise_is_found_out() {
        for promise in [
            Broken::OneFactIsLost,
            Broken::FactsAreNotCutToTheirRange,
            Broken::SlotsAreLost,
            Broken::CopiesAreNotFound,
            Broken::CorrelationGroupsForgetWhatIsClosed,
            Broken::NothingIsClosed,
            Broken::EverythingIsCovered,
            Broken::SightingsAreLost,
            Broken::AlertsAreCreatedAgain,
            Broken::NothingIsPublished,
            Broken::NothingIsProvisional,
            Broken::WithdrawalsAreNotTold,
            Broken::NotesAreRemovedForAll,
            Broken::LevelsAreIgnored,
            Broken::RefusedAlertsStay,
            Broken::EveryChangeCounts,
            Broken::ChangesAreLost,
            Broken::NothingIsDropped,
            Broken::NothingIsSetAside,
            Broken::TheLongestWaitIsNotKnown,
            Broken::RangesOfActorsAreIgnored,
            Broken::PrincipalsAreNotFound,
            Broken::EveryIncidentCounts,
            Broken::IncidentsAreLost,
            Broken::DirectEventsAreDueAtOnce,
            Broken::DirectEventsAreNotClosed,
            Broken::DigestsAreDueAtOnce,
            Broken::DigestsAreNotClosed,
            Broken::EveryDigestIsCompared,
            Broken::HeldEventsAreLost,
            Broken::HeldEventsAreNotClosed,
            Broken::OneVersionChangeIsLost,
            Broken::OneMarkIsLost,
            Broken::EveryExposureIsOld,
        ] {
            let suite = || pollster::block_on(run(|all| BrokenStore::new(all, promise)));
            assert!(std::panic::catch_unwind(suite).is_err(), "{promise:?}");
        }
    }
}
