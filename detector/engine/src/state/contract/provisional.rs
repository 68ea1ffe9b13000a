//! Provisional alerts are confirmed or withdrawn.

use std::slice::from_ref;

use super::{alert, create, outbox, waiting};
use crate::{
    alert::{Alert, AlertId},
    state::{OutboxStore, StateStore},
    time::EventTime,
};

/// All tests of provisional alerts.
pub(super) async fn all<S: OutboxStore>(empty: impl Fn() -> S) {
    alerts_wait_to_be_confirmed(&empty()).await;
    withdrawn_alerts_are_published_again(&empty()).await;
    any_alert_can_be_withdrawn(&empty()).await;
}

async fn provisional<S: StateStore>(store: &S, alerts: &[(&Alert, i64)], now: i64) -> Vec<bool> {
    let alerts = alerts.iter();
    let alerts = alerts.map(|(alert, since)| ((*alert).clone(), EventTime(*since)));
    let created = store.create_provisional_alerts(alerts.collect(), EventTime(now));
    created.await.expect("create provisional alerts")
}

/// Ids of the alerts that are open and have waited since a time.
async fn unconfirmed<S: StateStore>(store: &S, since: i64) -> Vec<AlertId> {
    let ids = store.provisional_alerts(EventTime(since)).await;
    let mut ids = ids.expect("provisional alerts");
    ids.sort();
    ids
}

async fn retract<S: StateStore>(store: &S, alerts: &[&Alert], now: i64) -> Vec<Alert> {
    let ids: Vec<AlertId> = alerts.iter().map(|alert| alert.id.clone()).collect();
    let withdrawn = store.retract_alerts(&ids, EventTime(now)).await;
    let mut withdrawn = withdrawn.expect("retract alerts");
    withdrawn.sort_by(|a, b| a.id.cmp(&b.id));
    withdrawn
}

async fn withdraw<S: StateStore>(store: &S, alerts: &[&Alert], now: i64) -> Vec<Alert> {
    let ids: Vec<AlertId> = alerts.iter().map(|alert| alert.id.clone()).collect();
    let withdrawn = store.withdraw_alerts(&ids, EventTime(now)).await;
    let mut withdrawn = withdrawn.expect("withdraw alerts");
    withdrawn.sort_by(|a, b| a.id.cmp(&b.id));
    withdrawn
}

/// Three alerts in the order of their ids.
fn three_alerts() -> [Alert; 3] {
    let mut alerts = [alert("e1"), alert("e2"), alert("e3")];
    alerts.sort_by(|a, b| a.id.cmp(&b.id));
    alerts
}

fn withdrawn(alert: &Alert) -> Alert {
    Alert {
        withdrawn: true,
        ..alert.clone()
    }
}

async fn alerts_wait_to_be_confirmed<S: OutboxStore>(store: &S) {
    let [one, two, later] = three_alerts();
    let asked = [(&one, 10), (&two, 10), (&later, 30)];
    assert_eq!(provisional(store, &asked, 10).await, [true; 3]);
    assert_eq!(provisional(store, &asked[..1], 20).await, [false]);
    assert_eq!(
        waiting(store, 11).await.len(),
        3,
        "they are reported at once"
    );
    assert_eq!(unconfirmed(store, 9).await, []);
    let both = [one.id.clone(), two.id.clone()];
    assert_eq!(unconfirmed(store, 10).await, both);
    assert_eq!(create(store, &[&one], 40).await, [false], "it was reported");
    assert_eq!(unconfirmed(store, 10).await, from_ref(&two.id));
    // What was confirmed stays.
    assert_eq!(withdraw(store, &[&one, &two], 50).await, [withdrawn(&two)]);
    assert_eq!(unconfirmed(store, 10).await, []);
    assert_eq!(unconfirmed(store, 30).await, from_ref(&later.id));
}

async fn withdrawn_alerts_are_published_again<S: OutboxStore>(store: &S) {
    let [one, two, _] = three_alerts();
    provisional(store, &[(&one, 10), (&two, 10)], 10).await;
    outbox::publish_all(store, outbox::ALL).await;
    withdraw(store, &[&two], 50).await;
    assert_eq!(withdraw(store, &[&two], 60).await, [], "once");
    assert_eq!(waiting(store, 50).await, []);
    assert_eq!(waiting(store, 51).await, [withdrawn(&two)]);
    // Only a final alert takes a withdrawal back.
    assert_eq!(provisional(store, &[(&two, 10)], 70).await, [false]);
    assert_eq!(create(store, &[&two], 80).await, [true]);
    assert_eq!(waiting(store, 81).await, from_ref(&two));
    assert_eq!(unconfirmed(store, 100).await, from_ref(&one.id));
    assert_eq!(withdraw(store, &[&two], 90).await, []);
}

async fn any_alert_can_be_withdrawn<S: OutboxStore>(store: &S) {
    let [one, two, unknown] = three_alerts();
    create(store, &[&one], 10).await;
    provisional(store, &[(&two, 10)], 10).await;
    outbox::publish_all(store, outbox::ALL).await;
    let all = [&one, &two, &unknown];
    let both = [withdrawn(&one), withdrawn(&two)];
    assert_eq!(retract(store, &all, 50).await, both);
    assert_eq!(retract(store, &all, 60).await, [], "once");
    assert_eq!(unconfirmed(store, 100).await, []);
    assert_eq!(waiting(store, 51).await, both);
    // What is found again is raised again, and may be withdrawn again.
    assert_eq!(create(store, &[&one], 80).await, [true]);
    assert_eq!(retract(store, &[&one], 90).await, [withdrawn(&one)]);
}
