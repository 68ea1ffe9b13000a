//! Notes of alerts wait, each for its destination, until they are removed.

use std::{slice::from_ref, sync::Arc};

use super::{alert, create};
use crate::{
    alert::Alert,
    outbox::{DestinationState, NoteTopic, OutboxNote, WaitingMessage},
    rule_meta::RuleLevel,
    state::OutboxStore,
    time::EventTime,
};

/// Destination of all alerts, and of critical ones.
pub(super) const ALL: &str = "all";
pub(super) const WORST: &str = "worst";

/// What waits for a destination since before a time.
pub(super) async fn waiting<S: OutboxStore>(
    store: &S,
    destination: &str,
    before: i64,
) -> Vec<WaitingMessage> {
    let waiting = store.outbox(destination, EventTime(before), 10).await;
    waiting.expect("the outbox")
}

/// The alerts that wait for a destination, the longest due first.
async fn alerts<S: OutboxStore>(store: &S, destination: &str) -> Vec<Alert> {
    let waiting = waiting(store, destination, 1_000).await;
    waiting
        .iter()
        .filter_map(WaitingMessage::alert)
        .cloned()
        .collect()
}

/// Removes what waits for a destination.
pub(super) async fn publish_all<S: OutboxStore>(store: &S, destination: &str) {
    let waiting = waiting(store, destination, 1_000).await;
    let notes: Vec<OutboxNote> = waiting.into_iter().map(|waiting| waiting.note).collect();
    store.remove_notes(&notes).await.expect("remove the notes");
}

/// An alert that both destinations take.
fn critical(event_id: &str) -> Alert {
    let mut alert = alert(event_id);
    Arc::make_mut(&mut alert.rule).level = RuleLevel::Critical;
    alert
}

pub(super) async fn alerts_wait_until_they_are_published<S: OutboxStore>(store: &S) {
    let (one, two) = (alert("e1"), alert("e2"));
    assert_eq!(store.oldest_note(ALL).await.expect("the oldest"), None);
    create(store, &[&one], 10).await;
    create(store, &[&two], 20).await;
    assert_eq!(alerts(store, ALL).await, [one.clone(), two.clone()]);
    assert_eq!(waiting(store, ALL, 20).await.len(), 1);
    let oldest = store.oldest_note(ALL).await.expect("the oldest");
    assert_eq!(oldest, Some(EventTime(10)));
    let topic = NoteTopic::Alert(one.id.clone());
    let note = OutboxNote::new(ALL.into(), topic, EventTime(10));
    for attempt in ["publish", "publish again"] {
        store.remove_notes(from_ref(&note)).await.expect(attempt);
    }
    assert_eq!(alerts(store, ALL).await, from_ref(&two));
    assert_eq!(create(store, &[&one], 30).await, [false], "it still exists");
    assert_eq!(alerts(store, ALL).await, from_ref(&two), "and is out");
    let oldest = store.oldest_note(ALL).await.expect("the oldest");
    assert_eq!(oldest, Some(EventTime(20)));
}

pub(super) async fn each_destination_has_its_notes<S: OutboxStore>(store: &S) {
    let (high, critical) = (alert("e1"), critical("e2"));
    create(store, &[&high], 10).await;
    create(store, &[&critical], 11).await;
    assert_eq!(alerts(store, ALL).await, [high.clone(), critical.clone()]);
    assert_eq!(alerts(store, WORST).await, from_ref(&critical));
    assert_eq!(alerts(store, "unknown").await, []);
    publish_all(store, ALL).await;
    assert_eq!(alerts(store, ALL).await, []);
    assert_eq!(alerts(store, WORST).await, [critical]);
}

pub(super) async fn what_is_put_off_is_in_nobodys_way<S: OutboxStore>(store: &S) {
    let (one, two) = (alert("e1"), alert("e2"));
    create(store, &[&one], 10).await;
    create(store, &[&two], 11).await;
    let [first, _] = waiting(store, ALL, 1_000).await.try_into().expect("two");
    let later = first.note.put_off(EventTime(100), 60);
    for attempt in ["put off", "put off again"] {
        let replaced = vec![(first.note.clone(), later.clone())];
        store.replace_notes(replaced).await.expect(attempt);
    }
    assert_eq!(alerts(store, ALL).await, [two, one]);
    let due = waiting(store, ALL, 160).await;
    assert_eq!(due.len(), 1, "it is not due");
    let due = waiting(store, ALL, 161).await;
    assert_eq!(due.last().map(|waiting| &waiting.note), Some(&later));
    // Its age is that of the alert.
    let oldest = store.oldest_note(ALL).await.expect("the oldest");
    assert_eq!(oldest, Some(EventTime(10)));
}

pub(super) async fn notes_of_a_destination_are_dropped_together<S: OutboxStore>(store: &S) {
    let both = [critical("e1"), critical("e2")];
    create(store, &[&both[0], &both[1]], 10).await;
    assert_eq!(store.drop_notes(WORST, 10).await.expect("drop"), 2);
    assert_eq!(store.drop_notes(WORST, 10).await.expect("drop"), 0);
    assert_eq!(alerts(store, WORST).await, []);
    assert_eq!(alerts(store, ALL).await.len(), 2);
}

/// The destinations that a store knows.
async fn states<S: OutboxStore>(store: &S) -> Vec<DestinationState> {
    store.destinations().await.expect("destinations")
}

pub(super) async fn of_two_changes_of_a_destination_one_counts<S: OutboxStore>(store: &S) {
    create(store, &[&critical("e1")], 10).await;
    let known = states(store).await;
    let ids: Vec<&str> = known.iter().map(|state| &*state.id).collect();
    assert_eq!(ids, [ALL, WORST]);
    let mut state = known.into_iter().next().expect("two");
    state.fail(EventTime(100), 60);
    state.take(5, 2, EventTime(100));
    (state.busy_until, state.removed) = (Some(EventTime(7)), Some(EventTime(8)));
    let change = async |state: &DestinationState| store.change_destination(state).await;
    assert!(change(&state).await.expect("change"));
    let mut other = state.clone();
    other.succeed();
    assert!(!change(&other).await.expect("change"), "it was changed");
    let changed = DestinationState {
        version: state.version + 1,
        ..state
    };
    assert_eq!(states(store).await.first(), Some(&changed));
    assert!(change(&changed).await.expect("change"));
    // One that no alert was created for.
    let new = DestinationState::new("new".into());
    assert!(change(&new).await.expect("change"));
    assert!(!change(&new).await.expect("change"), "it exists");
    assert_eq!(states(store).await.len(), 3);
}
