//! Alerts are found by their actors, and incidents are changed by one writer at a time.

use std::{collections::BTreeSet, slice::from_ref};

use super::{alert, create, outbox};
use crate::{
    actor::{Actor, ActorKind},
    alert::{Alert, AlertId, WindowMatch},
    incident::{IncidentPeriods, announced::AnnouncedIncident, grouping::IncidentGrouping},
    outbox::{NoteTopic, WaitingContent},
    rule_meta::RuleLevel,
    state::{ActorRange, IncidentStore},
    time::EventTime,
};

/// A principal.
fn principal(name: &str) -> Actor {
    Actor {
        kind: ActorKind::Principal,
        key: name.into(),
        name: name.into(),
    }
}

/// An alert about a principal, from an address and its network.
fn alert_of(name: &str, secs: i64) -> Alert {
    let mut alert = alert(&format!("{name} {secs}"));
    alert.actor = principal(name);
    alert.time = EventTime(secs);
    alert.origin.addresses = vec!["198.51.100.7".into()];
    alert.origin.networks = vec!["198.51.100.0/24".into()];
    alert
}

/// An incident of one alert about a principal, at a time, that is announced.
#[must_use]
pub fn announced(name: &str, secs: i64) -> AnnouncedIncident {
    let periods = IncidentPeriods::default();
    let mut grouped = IncidentGrouping::all(periods, vec![alert_of(name, secs)]);
    let incident = grouped.incidents.pop().expect("an alert makes an incident");
    AnnouncedIncident::opened(&incident, EventTime(secs))
}

fn range(kind: ActorKind, key: &str, from: i64, to: i64) -> ActorRange {
    ActorRange {
        actor: (kind, key.into()),
        from: EventTime(from),
        to: EventTime(to),
    }
}

fn about(name: &str, from: i64, to: i64) -> ActorRange {
    range(ActorKind::Principal, name, from, to)
}

/// Ids of the alerts of each range.
async fn found<S: IncidentStore>(store: &S, ranges: &[ActorRange]) -> Vec<BTreeSet<AlertId>> {
    let found = store.alerts_about(ranges).await.expect("alerts");
    let ids = found.into_iter().map(|alerts| alerts.into_iter());
    ids.map(|alerts| alerts.map(|alert| alert.id).collect())
        .collect()
}

fn ids(alerts: &[&Alert]) -> BTreeSet<AlertId> {
    alerts.iter().map(|alert| alert.id.clone()).collect()
}

pub(super) async fn alerts_are_found_by_their_actors<S: IncidentStore>(store: &S) {
    let (early, late, other) = (
        alert_of("ann", 100),
        alert_of("ann", 200),
        alert_of("bob", 100),
    );
    create(store, &[&early, &late, &other], 300).await;
    let asked = [
        about("ann", 100, 200),
        about("ann", 101, 199),
        about("ann", 0, 100),
        about("bob", 0, 500),
        range(ActorKind::Log, "ann", 0, 500),
    ];
    let expected = [
        ids(&[&early, &late]),
        ids(&[]),
        ids(&[&early]),
        ids(&[&other]),
        ids(&[]),
    ];
    assert_eq!(found(store, &asked).await, expected);
    let whole = store.alerts_about(&asked[2..3]).await.expect("alerts");
    let [one] = whole.first().expect("one range").as_slice() else {
        panic!("one alert");
    };
    assert_eq!(
        (
            &one.actor,
            &one.origin,
            &one.traits,
            &one.secrets,
            one.began
        ),
        (
            &early.actor,
            &early.origin,
            &early.traits,
            &early.secrets,
            early.began
        )
    );
    assert_eq!(
        (&one.rule, one.events.first()),
        (&early.rule, early.events.first())
    );
}

pub(super) async fn withdrawn_alerts_are_not_found<S: IncidentStore>(store: &S) {
    let (one, two) = (alert_of("ann", 100), alert_of("ann", 101));
    let both = vec![(one.clone(), EventTime(10)), (two.clone(), EventTime(10))];
    let created = store.create_provisional_alerts(both, EventTime(10)).await;
    assert_eq!(created.expect("create"), [true, true]);
    let asked = [about("ann", 0, 200)];
    assert_eq!(found(store, &asked).await, [ids(&[&one, &two])]);
    let withdrawn = store
        .withdraw_alerts(from_ref(&one.id), EventTime(20))
        .await;
    assert_eq!(withdrawn.expect("withdraw").len(), 1);
    assert_eq!(found(store, &asked).await, [ids(&[&two])]);
    create(store, &[&one], 30).await;
    assert_eq!(
        found(store, &asked).await,
        [ids(&[&one, &two])],
        "it is back"
    );
}

/// An alert of a window that counts so many events, the last of them at a time.
fn alert_of_window(count: u64, first: i64, last: i64) -> Alert {
    let mut alert = alert_of("ann", last);
    alert.id = alert_of("ann", 0).id;
    let event = alert.events.first_mut();
    event.expect("an event").time = EventTime(first);
    alert.window_match = Some(WindowMatch {
        group: Vec::new(),
        bucket: 0,
        start: EventTime(0),
        end: EventTime(last),
        count,
    });
    alert
}

pub(super) async fn alerts_that_have_grown_are_found_as_they_are<S: IncidentStore>(store: &S) {
    let asked = [about("ann", 0, 1_000)];
    let times = async || {
        let found = store.alerts_about(&asked).await.expect("alerts");
        let [one] = found.first().expect("one range").as_slice() else {
            panic!("one alert");
        };
        (one.events.first().expect("an event").time.0, one.time.0)
    };
    let small = alert_of_window(2, 150, 200);
    assert_eq!(create(store, &[&small], 1).await, [true]);
    assert_eq!(times().await, (150, 200));
    for larger in [
        alert_of_window(3, 120, 300),
        alert_of_window(3, 110, 250),
        alert_of_window(3, 100, 250),
    ] {
        let first = larger.events.first().expect("an event").time.0;
        assert_eq!(create(store, &[&larger], 2).await, [false], "it exists");
        assert_eq!(times().await, (first, larger.time.0));
        // What was found out earlier does not come back.
        assert_eq!(create(store, &[&small], 3).await, [false]);
        assert_eq!(times().await, (first, larger.time.0));
    }
    let waiting = outbox::waiting(store, outbox::ALL, 1_000).await;
    let [one] = waiting.as_slice() else {
        panic!("it is published once");
    };
    let alert = one.alert().expect("an alert");
    assert_eq!((alert.time.0, one.note.created.0), (250, 1));
}

pub(super) async fn principals_are_found_by_where_they_come_from<S: IncidentStore>(store: &S) {
    create(store, &[&alert_of("ann", 100), &alert_of("bob", 90_000)], 1).await;
    let asked = [
        range(ActorKind::Address, "198.51.100.7", 100, 100),
        range(ActorKind::Address, "198.51.100.0/24", 0, 100_000),
        range(ActorKind::Address, "203.0.113.9", 0, 100_000),
    ];
    let found = store.principals_from(&asked).await.expect("principals");
    let names = found.iter().map(|actors| {
        let names = actors.iter().map(|actor| &*actor.key);
        names.collect::<BTreeSet<_>>()
    });
    let names: Vec<BTreeSet<&str>> = names.collect();
    assert_eq!(
        names,
        [["ann"].into(), ["ann", "bob"].into(), BTreeSet::new()]
    );
}

/// The incidents that wait for a destination.
async fn waiting<S: IncidentStore>(store: &S, destination: &str) -> Vec<AnnouncedIncident> {
    let waiting = outbox::waiting(store, destination, 1_000).await;
    let incidents = waiting
        .into_iter()
        .filter_map(|waiting| match waiting.content {
            WaitingContent::Incident(incident) => Some(*incident),
            WaitingContent::Alert(_) => None,
        });
    incidents.collect()
}

/// Announces an incident; whether it was written.
async fn announce<S: IncidentStore>(store: &S, incident: &AnnouncedIncident) -> bool {
    let written = store.announce(from_ref(incident)).await;
    written.expect("announce") == [true]
}

/// An incident as it is after it was written.
fn written(incident: &AnnouncedIncident) -> AnnouncedIncident {
    AnnouncedIncident {
        version: incident.version + 1,
        ..incident.clone()
    }
}

pub(super) async fn of_two_changes_of_an_incident_one_counts<S: IncidentStore>(store: &S) {
    let opened = announced("ann", 100);
    assert!(announce(store, &opened).await);
    assert!(!announce(store, &opened).await, "it exists");
    let stored = written(&opened);
    let asked = [
        about("ann", 0, 200),
        about("ann", 0, 99),
        about("bob", 0, 200),
    ];
    let known = async || store.announced(&asked).await.expect("announced");
    assert_eq!(known().await, [vec![stored.clone()], vec![], vec![]]);
    let worse = AnnouncedIncident {
        score: 99,
        ..stored
    };
    assert!(announce(store, &worse).await);
    assert!(!announce(store, &worse).await, "it was changed");
    assert_eq!(known().await.concat(), [written(&worse)]);
}

pub(super) async fn incidents_wait_until_they_are_published<S: IncidentStore>(store: &S) {
    let opened = announced("ann", 100);
    assert!(announce(store, &opened).await);
    let stored = written(&opened);
    assert_eq!(waiting(store, outbox::ALL).await, from_ref(&stored));
    assert_eq!(
        waiting(store, outbox::WORST).await,
        [],
        "it is not critical"
    );
    let worse = AnnouncedIncident {
        due: EventTime(300),
        highest: RuleLevel::Critical,
        replaces: Some(stored.due),
        ..stored
    };
    assert!(announce(store, &worse).await);
    let worse = written(&worse);
    // Only the change is published, to both.
    for destination in [outbox::ALL, outbox::WORST] {
        assert_eq!(waiting(store, destination).await, from_ref(&worse));
        let notes = outbox::waiting(store, destination, 1_000).await;
        let note = notes.into_iter().next().expect("a note").note;
        assert_eq!((note.due.0, note.created.0), (300, 300));
        assert_eq!(note.topic, NoteTopic::Incident(worse.id.clone()));
        let later = note.put_off(EventTime(400), 60);
        let replaced = store.replace_notes(vec![(note, later.clone())]).await;
        replaced.expect("put off");
        assert_eq!(outbox::waiting(store, destination, 460).await, []);
        assert_eq!(waiting(store, destination).await, from_ref(&worse));
        store.remove_notes(&[later]).await.expect("remove");
        assert_eq!(waiting(store, destination).await, []);
    }
}

/// What was not sent in time is sent as it is now; what was due later, and is not any more, is not
/// sent.
pub(super) async fn what_is_due_later_may_change_before<S: IncidentStore>(store: &S) {
    let mut incident = announced("ann", 100);
    for due in [500, 600] {
        incident.due = EventTime(due);
        assert!(announce(store, &incident).await);
        incident = written(&incident);
    }
    assert_eq!(
        waiting(store, outbox::ALL).await,
        [incident.clone(), incident.clone()]
    );
    incident.due = EventTime(499);
    assert!(announce(store, &incident).await);
    assert_eq!(waiting(store, outbox::ALL).await, [written(&incident)]);
}
