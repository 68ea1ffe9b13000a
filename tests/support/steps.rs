//! Small worlds of steps for stores of state: the same properties for the store in memory and for
//! the table.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use proptest::prelude::*;
use proptest::{collection::vec, strategy::ValueTree, test_runner::TestRunner};
use secretrail_engine::{
    actor::ActorKind,
    alert::Alert,
    coverage::CoverageMark,
    evidence::Evidence,
    fact::{Fact, RuleRange, WindowKey, WindowRange},
    ids::SharedStr,
    incident::IncidentPeriods,
    outbox::{NoteTopic, OutboxNote},
    pending_event::{CorrelationRange, PendingEvent},
    regroup::regroup,
    rule::RuleSet,
    rule_meta::RuleLevel,
    seen::{LookbackPeriods, Sighting},
    state::{ActorRange, IncidentStore, contract},
    time::EventTime,
};
use serde_json::json;

use crate::{at, decrypt_secret, read, scan_result, secret_arn};

/// Something to do with a store, from a world so small that operations meet.
#[derive(Debug, Clone)]
pub enum Step {
    /// Facts: group, second, value.
    Facts(Vec<(u8, u32, u8)>),
    /// Loose ends (id, second, whether it is a read), and when they arrive.
    Ends(Vec<(u8, u32, bool)>, i64),
    /// Settles what has waited since then.
    Close(i64),
    /// Marks of coverage.
    Cover(Vec<u8>),
    /// Keys and when they were seen.
    See(Vec<(u8, i64)>),
    /// Alerts, and when they are created.
    Create(Vec<u8>, i64),
    /// Provisional alerts, since when their events wait, and when they are created.
    Provisional(Vec<(u8, i64)>, i64),
    /// Withdraws alerts.
    Withdraw(Vec<u8>, i64),
    /// Alerts that are out.
    Publish(Vec<u8>),
    /// Groups alerts, and when.
    Group(Vec<u8>, i64),
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        vec((0_u8..3, 0_u32..1_500, 0_u8..4), 1..6).prop_map(Step::Facts),
        (vec((0_u8..8, 0_u32..1_500, any::<bool>()), 1..6), 0_i64..50)
            .prop_map(|(ends, at)| Step::Ends(ends, at)),
        (0_i64..2_000).prop_map(Step::Close),
        vec(0_u8..6, 1..4).prop_map(Step::Cover),
        vec((0_u8..3, 0_i64..200), 1..5).prop_map(Step::See),
        (vec(0_u8..5, 1..4), 0_i64..50).prop_map(|(alerts, at)| Step::Create(alerts, at)),
        (vec((0_u8..5, 0_i64..50), 1..4), 0_i64..50)
            .prop_map(|(alerts, at)| Step::Provisional(alerts, at)),
        (vec(0_u8..5, 1..4), 0_i64..50).prop_map(|(alerts, at)| Step::Withdraw(alerts, at)),
        vec(0_u8..5, 1..3).prop_map(Step::Publish),
        (vec(0_u8..5, 1..4), 0_i64..9_000).prop_map(|(alerts, at)| Step::Group(alerts, at)),
    ]
}

/// What is seen is remembered for as long as these worlds last.
const LOOKBACK: LookbackPeriods = LookbackPeriods {
    lookback_secs: 900,
    warm_up_secs: 0,
};

fn end(id: u8, secs: u32, is_read: bool) -> Arc<PendingEvent> {
    // An event is what it is, however often it comes.
    let (who, id) = (
        format!("w{}", id % 3),
        format!("{}{id}-{secs}", if is_read { "r" } else { "k" }),
    );
    let secs = i64::from(secs);
    let mut record = if is_read {
        read(&id, &who, secs, "s")
    } else {
        decrypt_secret(&id, &who, secs, "s")
    };
    if secs % 5 == 0 {
        record["sharedEventID"] = json!(format!("shared{}", secs % 4));
    }
    let found = scan_result(&[record], &RuleSet::default()).observations;
    found.into_iter().next().unwrap()
}

fn evidence(secs: u32) -> Evidence {
    Evidence {
        head: end(0, secs, true).observation.head().clone(),
        secret: None,
        access: None,
    }
}

fn window(group: u8) -> WindowKey {
    contract::window(&format!("p{group}"))
}

fn fact((group, secs, value): (u8, u32, u8)) -> (WindowKey, Fact) {
    let key = format!("e{secs}").into();
    let value = Some(format!("v{value}").into());
    (
        window(group),
        Fact {
            slot: 0,
            key,
            time: at(secs.into()),
            value,
            least: None,
            evidence: evidence(secs),
        },
    )
}

/// An alert; those with even numbers are for both destinations.
fn alert(number: u8) -> Alert {
    let mut alert = contract::alert(&number.to_string());
    if number.is_multiple_of(2) {
        Arc::make_mut(&mut alert.rule).level = RuleLevel::Critical;
    }
    // Two actors; some are near enough for one incident, others are not.
    alert.actor.key = format!("actor {}", number % 2).into();
    alert.time = at(i64::from(number) * 10_000);
    alert.began = alert.time;
    alert.events[0].time = alert.time;
    alert.origin.addresses = vec!["198.51.100.7".into()];
    alert
}

fn mark(number: u8) -> CoverageMark {
    CoverageMark::at(
        secret_arn("a").into(),
        format!("region{}", number % 2).into(),
        at(i64::from(number) * 3_600),
    )
}

/// Does a step, and says everything that can be seen of it.
///
/// # Panics
///
/// When the store fails.
pub async fn take<S: IncidentStore>(store: &S, step: &Step) -> String {
    match step {
        Step::Facts(facts) => store
            .put_facts(facts.iter().copied().map(fact).collect())
            .await
            .unwrap(),
        Step::Ends(ends, arrived) => {
            let ends = ends
                .iter()
                .map(|(id, secs, is_read)| end(*id, *secs, *is_read))
                .collect();
            store.put_pending_events(ends, at(*arrived)).await.unwrap();
        }
        Step::Close(since) => loop {
            let due = store.due_pending_events(at(*since), 3).await.unwrap();
            if due.ends.is_empty() {
                break;
            }
            store.close_pending_events(due.receipt).await.unwrap();
        },
        Step::Cover(marks) => store
            .mark_coverage(marks.iter().copied().map(mark).collect())
            .await
            .unwrap(),
        Step::See(times) => {
            let times = times
                .iter()
                .map(|(key, time)| Sighting {
                    key: SharedStr::from(format!("key{key}")),
                    time: EventTime(*time),
                })
                .collect();
            store.put_seen(times, LOOKBACK).await.unwrap();
        }
        Step::Create(alerts, now) => {
            let created = store
                .create_alerts(alerts.iter().copied().map(alert).collect(), at(*now))
                .await
                .unwrap();
            return format!("{created:?}");
        }
        Step::Provisional(alerts, now) => {
            let alerts = alerts.iter();
            let alerts = alerts.map(|(number, since)| (alert(*number), at(*since)));
            let created = store.create_provisional_alerts(alerts.collect(), at(*now));
            return format!("{:?}", created.await.unwrap());
        }
        Step::Withdraw(alerts, now) => {
            let ids: Vec<_> = alerts.iter().map(|number| alert(*number).id).collect();
            let withdrawn = store.withdraw_alerts(&ids, at(*now)).await.unwrap();
            return format!("{withdrawn:?}");
        }
        Step::Publish(alerts) => {
            let ids: Vec<_> = alerts.iter().map(|number| alert(*number).id).collect();
            let mut notes = waiting(store, 5_000).await;
            notes.retain(|note| match &note.topic {
                NoteTopic::Alert(id) => ids.contains(id),
                NoteTopic::Incident(_) => false,
            });
            store.remove_notes(&notes).await.unwrap();
        }
        Step::Group(alerts, now) => {
            let alerts: Vec<Alert> = alerts.iter().copied().map(alert).collect();
            let periods = IncidentPeriods::default();
            let regrouped = regroup(store, &alerts, periods, at(*now)).await.unwrap();
            let incidents: BTreeMap<_, _> = regrouped.incidents.into_iter().collect();
            return format!("{incidents:?} {:?}", regrouped.changed);
        }
    }
    String::new()
}

/// The answers to everything that a store can be asked.
///
/// # Panics
///
/// When the store fails, or gives one loose end twice.
pub async fn look<S: IncidentStore>(store: &S) -> Vec<String> {
    let mut seen = Vec::new();
    let ranges: Vec<WindowRange> = (0..3)
        .flat_map(|group| {
            [(0, 2_000), (500, 800)].map(|(from, to)| WindowRange {
                key: window(group),
                from: at(from),
                to: at(to),
            })
        })
        .collect();
    let facts = store.facts(&ranges).await.unwrap();
    seen.extend(facts.iter().map(|facts| said(facts)));
    facts_are_the_same_in_parts(store, &ranges, &facts).await;
    what_is_due_is_found_in_parts(store).await;
    let slots = ["rule", "none"].map(|rule| RuleRange {
        rule: SharedStr::from(rule),
        from: at(0),
        to: at(2_000),
    });
    seen.push(format!("{:?}", store.slots(&slots).await.unwrap()));
    let ids = |ends: Vec<Arc<PendingEvent>>| {
        let ids: Vec<_> = ends
            .iter()
            .map(|end| end.observation.head().event_id.to_string())
            .collect();
        let distinct: BTreeSet<_> = ids.iter().cloned().collect();
        assert_eq!(ids.len(), distinct.len(), "each once");
        format!("{distinct:?}")
    };
    for since in [0, 40, 700, 5_000] {
        seen.push(ids(store
            .due_pending_events(at(since), usize::MAX)
            .await
            .unwrap()
            .ends));
    }
    let correlation_groups: Vec<_> = (0..3)
        .map(|who| end(who, 0, true).correlation_group.clone())
        .flat_map(|correlation_group| {
            [(0, 2_000), (590, 610)].map(|(from, to)| CorrelationRange {
                correlation_group: correlation_group.clone(),
                from: at(from),
                to: at(to),
            })
        })
        .collect();
    seen.extend(
        store
            .pending_events_in(&correlation_groups)
            .await
            .unwrap()
            .into_iter()
            .map(ids),
    );
    let shared: Vec<SharedStr> = (0..4).map(|i| format!("shared{i}").into()).collect();
    seen.push(ids(store.pending_events_sharing(&shared).await.unwrap()));
    let marks: Vec<_> = (0..8).map(mark).collect();
    seen.push(format!("{:?}", store.covered(&marks).await.unwrap()));
    let keys: Vec<SharedStr> = (0..4).map(|i| format!("key{i}").into()).collect();
    seen.push(format!("{:?}", store.seen(&keys).await.unwrap()));
    seen.extend(alerts_left(store).await);
    seen.extend(incidents(store).await);
    seen
}

/// What tells facts apart.
fn said(facts: &[Fact]) -> String {
    let said = facts.iter().map(|f| (f.time, &f.key, &f.value));
    format!("{:?}", said.collect::<BTreeSet<_>>())
}

/// However few facts are taken into memory: a range has all of its facts, or is left out.
async fn facts_are_the_same_in_parts<S: IncidentStore>(
    store: &S,
    ranges: &[WindowRange],
    all: &[Vec<Fact>],
) {
    for most in [0, 1, 3, 1_000] {
        let some = store.facts_up_to(ranges, most).await.unwrap();
        assert_eq!(some.len(), all.len());
        for (some, all) in some.iter().zip(all) {
            let same = some.as_ref().is_none_or(|some| said(some) == said(all));
            assert!(same, "{most} at once: {some:?} of {all:?}");
            assert!(some.is_some() || most < 1_000, "there are fewer");
        }
    }
    let mut parts = vec![Vec::new(); ranges.len()];
    let mut take = |index: usize, fact: Fact| parts[index].push(fact);
    store.facts_in_parts(ranges, &mut take).await.unwrap();
    for (part, all) in parts.iter().zip(all) {
        assert_eq!(said(part), said(all));
    }
}

/// What is due is found in parts of any size, while none of it is closed.
async fn what_is_due_is_found_in_parts<S: IncidentStore>(store: &S) {
    let ids = |ends: &[Arc<PendingEvent>]| -> BTreeSet<_> {
        ends.iter().map(|end| format!("{:?}", end.id)).collect()
    };
    let all = store.due_pending_events(at(5_000), usize::MAX).await;
    let all = ids(&all.unwrap().ends);
    let mut found = BTreeSet::new();
    let mut due = store.due_pending_events(at(5_000), 2).await.unwrap();
    while !due.ends.is_empty() {
        found.extend(ids(&due.ends));
        let next = store.due_pending_events_after(at(5_000), 2, &due.receipt);
        due = next.await.unwrap();
    }
    assert_eq!(found, all);
}

/// The alerts of each actor, and the incidents that were announced.
async fn incidents<S: IncidentStore>(store: &S) -> Vec<String> {
    let ranges = [0, 1].map(|number| ActorRange {
        actor: (ActorKind::Principal, format!("actor {number}").into()),
        from: at(0),
        to: at(100_000),
    });
    let mut seen = Vec::new();
    for mut alerts in store.alerts_about(&ranges).await.unwrap() {
        alerts.sort_by(|a, b| a.id.cmp(&b.id));
        // What a store may leave out.
        alerts.iter_mut().for_each(|alert| alert.accesses.clear());
        seen.push(format!("{alerts:?}"));
    }
    for mut known in store.announced(&ranges).await.unwrap() {
        known.sort_by(|a, b| a.id.cmp(&b.id));
        seen.push(format!("{known:?}"));
    }
    seen
}

/// The alerts that wait to be confirmed, and those that wait to be published, before some times.
async fn alerts_left<S: IncidentStore>(store: &S) -> Vec<String> {
    let mut seen = Vec::new();
    for before in [10, 100] {
        let mut open = store.provisional_alerts(at(before)).await.unwrap();
        open.sort();
        seen.push(format!("{open:?}"));
        seen.push(format!("{:?}", waiting(store, before).await));
    }
    seen
}

/// The notes of alerts that wait to be published since before a time, the longest due first.
async fn waiting<S: IncidentStore>(store: &S, before: i64) -> Vec<OutboxNote> {
    let mut notes = Vec::new();
    for destination in contract::destinations() {
        let waiting = store.outbox(&destination.id, at(before), usize::MAX);
        notes.extend(
            waiting
                .await
                .unwrap()
                .into_iter()
                .map(|waiting| waiting.note),
        );
    }
    notes
}

/// So many sequences of steps, the same in every run.
///
/// # Panics
///
/// Never: every sequence can be made.
#[must_use]
pub fn sequences(count: usize, length: Range<usize>) -> Vec<Vec<Step>> {
    let mut runner = TestRunner::deterministic();
    (0..count)
        .map(|_| {
            vec(a_step(), length.clone())
                .new_tree(&mut runner)
                .expect("steps can be made")
                .current()
        })
        .collect()
}

/// Sequences of what is only added. What is closed, withdrawn, published or grouped depends on what
/// was there; what is added can come in any order.
#[must_use]
pub fn additions(count: usize) -> Vec<Vec<Step>> {
    let mut all = sequences(count, 12..24);
    for steps in &mut all {
        for step in steps.iter_mut() {
            // When an alert was created depends on who was first.
            if let Step::Create(_, at) = step {
                *at = 7;
            }
        }
        steps.retain(|step| {
            !matches!(
                step,
                Step::Close(_)
                    | Step::Publish(_)
                    | Step::Provisional(..)
                    | Step::Withdraw(..)
                    | Step::Group(..)
            )
        });
    }
    all
}

/// One of so many writers takes all steps, beginning at its own. Gives the number of alerts of
/// which it is the creator.
pub async fn write_as<S: IncidentStore>(
    writer: usize,
    writers: usize,
    store: &S,
    steps: &[Step],
) -> usize {
    let start = writer * steps.len() / writers;
    let mut created = 0;
    for step in steps.iter().cycle().skip(start).take(steps.len()) {
        created += take(store, step).await.matches("true").count();
    }
    created
}

/// Of the answers to [`look`] those that do not depend on who came first: when a loose end began to
/// wait, and when an alert was created, is the first writer's to say.
#[must_use]
pub fn whoever_came_first(seen: &[String]) -> Vec<&String> {
    let same = |(index, _): &(usize, &String)| !(7..11).contains(index) && *index < seen.len() - 4;
    seen.iter()
        .enumerate()
        .filter(same)
        .map(|(_, s)| s)
        .collect()
}

/// Takes every step twice on a store and once on its like: the second time changes nothing.
///
/// # Panics
///
/// When it does.
pub async fn repetition_changes_nothing<S: IncidentStore>(twice: &S, once: &S, steps: &[Step]) {
    for step in steps {
        assert_eq!(
            take(twice, step).await,
            take(once, step).await,
            "{step:?} of {steps:?}"
        );
        let again = take(twice, step).await;
        assert!(
            !again.contains("true"),
            "an alert is created once: {step:?} of {steps:?}"
        );
        assert_eq!(
            look(twice).await,
            look(once).await,
            "after {step:?} of {steps:?}"
        );
    }
}
