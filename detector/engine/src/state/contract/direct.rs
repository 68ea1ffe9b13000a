//! Events that came directly wait until they were looked for in the files.

use std::collections::BTreeSet;

use super::{fact, set};
use crate::{evidence::Evidence, ids::SharedStr, state::StateStore, time::EventTime};

fn event(event_id: &str) -> Evidence {
    fact(event_id, 100, "x").evidence
}

async fn put<S: StateStore>(store: &S, ids: &[&str], arrived: i64) {
    let events = ids.iter().map(|id| event(id)).collect();
    let put = store.put_direct_events(events, EventTime(arrived)).await;
    put.expect("put direct events");
}

/// The ids of the events that are due, and the receipt.
async fn due<S: StateStore>(store: &S, until: i64) -> (BTreeSet<SharedStr>, Vec<SharedStr>) {
    let due = store
        .due_direct_events(EventTime(until), 1_000)
        .await
        .expect("due direct events");
    for found in &due.events {
        assert_eq!(found, &event(&found.head.event_id), "it comes back whole");
    }
    let ids = due.events.iter().map(|event| event.head.event_id.clone());
    (ids.collect(), due.receipt)
}

pub(super) async fn direct_events_wait_until_they_are_closed<S: StateStore>(store: &S) {
    assert_eq!(due(store, i64::MAX).await, (set(&[]), Vec::new()));
    put(store, &["e1", "e2"], 200).await;
    // Twice, as queues deliver.
    put(store, &["e1", "e2"], 200).await;
    put(store, &["e3"], 300).await;
    assert_eq!(due(store, 199).await.0, set(&[]));
    let (ids, receipt) = due(store, 299).await;
    assert_eq!(ids, set(&["e1", "e2"]), "by arrival, not by event time");
    for _ in 0..2 {
        let closed = store.close_direct_events(receipt.clone()).await;
        closed.expect("close direct events");
    }
    assert_eq!(due(store, i64::MAX).await.0, set(&["e3"]));
    let first = store.due_direct_events(EventTime(i64::MAX), 1).await;
    assert_eq!(first.expect("due direct events").events.len(), 1);
}
