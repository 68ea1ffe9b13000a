//! Digests wait until their files are accounted for, and events without their other half until the
//! digest of their hour is compared.

use std::{collections::BTreeSet, sync::Arc};

use super::{end, ids, set};
use crate::{
    completeness::{ComparedDigest, DigestRange, WaitingDigest},
    ids::SharedStr,
    pending_event::PendingEvent,
    state::StateStore,
    time::EventTime,
    trail_digest::DigestHour,
};

/// Runs the tests of the completeness check.
pub(super) async fn all<S: StateStore>(empty: &impl Fn() -> S) {
    digests_wait_until_they_are_closed(&empty()).await;
    compared_digests_are_found_by_their_end(&empty()).await;
    held_events_wait_until_they_are_closed(&empty()).await;
}

fn digest(key: &str, version_id: Option<&str>) -> WaitingDigest {
    WaitingDigest {
        bucket: "b".to_owned(),
        key: key.to_owned(),
        version_id: version_id.map(str::to_owned),
        start: 100,
        end: 3_700,
        arrived: 4_000,
    }
}

/// The digests that are due, and the receipt.
async fn due<S: StateStore>(store: &S, until: i64) -> (BTreeSet<WaitingDigest>, Vec<SharedStr>) {
    let due = store.due_digests(EventTime(until), 1_000).await;
    let due = due.expect("due digests");
    (due.digests.into_iter().collect(), due.receipt)
}

async fn digests_wait_until_they_are_closed<S: StateStore>(store: &S) {
    assert_eq!(due(store, i64::MAX).await, (BTreeSet::new(), Vec::new()));
    let (first, second) = (digest("d1", Some("v1")), digest("d2", None));
    let third = digest("d3", None);
    for _ in 0..2 {
        let both = vec![first.clone(), second.clone()];
        let put = store.put_digests(both, EventTime(5_000)).await;
        put.expect("put digests");
    }
    let put = store
        .put_digests(vec![third.clone()], EventTime(6_000))
        .await;
    put.expect("put digests");
    assert!(due(store, 4_999).await.0.is_empty(), "it is not their time");
    let (found, receipt) = due(store, 5_999).await;
    assert_eq!(found, [first, second].into(), "they come back whole");
    for _ in 0..2 {
        let closed = store.close_digests(receipt.clone()).await;
        closed.expect("close digests");
    }
    assert_eq!(due(store, i64::MAX).await.0, [third].into());
    let one = store.due_digests(EventTime(i64::MAX), 1).await;
    assert_eq!(one.expect("due digests").digests.len(), 1);
}

fn compared(region: &str, end: i64) -> ComparedDigest {
    ComparedDigest {
        account: "111122223333".into(),
        region: region.into(),
        hour: DigestHour {
            start: EventTime(end - 3_600),
            end: EventTime(end),
        },
    }
}

async fn compared_digests_are_found_by_their_end<S: StateStore>(store: &S) {
    // In the future, so that no store drops them.
    const AT: i64 = 4_000_000_000;
    let all = [
        compared("eu-west-1", AT),
        compared("eu-west-1", AT + 3_600),
        compared("us-east-1", AT),
    ];
    for _ in 0..2 {
        let put = store.put_compared(all.to_vec()).await;
        put.expect("put compared digests");
    }
    let range = |region: &str, from: i64, to: i64| DigestRange {
        account: "111122223333".into(),
        region: region.into(),
        from: EventTime(AT + from),
        to: EventTime(AT + to),
    };
    let ranges = [
        range("eu-west-1", 0, 3_600),
        range("eu-west-1", 1, 3_600),
        range("eu-west-1", -10, 3_599),
        range("us-east-1", -10, 0),
        range("us-east-1", 1, 9_000),
        range("ap-south-1", -9_000, 9_000),
    ];
    let found = store.compared(&ranges).await.expect("compared digests");
    let found: Vec<BTreeSet<_>> = found.into_iter().map(|f| f.into_iter().collect()).collect();
    let [first, second, elsewhere] = all;
    let expected = [
        vec![first.clone(), second.clone()],
        vec![second],
        vec![first],
        vec![elsewhere],
        Vec::new(),
        Vec::new(),
    ];
    let expected: Vec<BTreeSet<_>> = expected.map(|e| e.into_iter().collect()).into();
    assert_eq!(found, expected);
}

/// The held events that are due, and the receipt.
async fn held<S: StateStore>(store: &S, until: i64) -> (Vec<Arc<PendingEvent>>, Vec<SharedStr>) {
    let due = store.due_held_events(EventTime(until), 1_000).await;
    let due = due.expect("due held events");
    (due.ends, due.receipt)
}

async fn held_events_wait_until_they_are_closed<S: StateStore>(store: &S) {
    assert!(held(store, i64::MAX).await.1.is_empty());
    let (first, second) = (end("e1", 100, "ann"), end("e2", 200, "bob"));
    for _ in 0..2 {
        let hold = store
            .hold_events(vec![first.clone()], EventTime(5_000))
            .await;
        hold.expect("hold events");
    }
    let hold = store.hold_events(vec![second], EventTime(6_000)).await;
    hold.expect("hold events");
    assert!(held(store, 4_999).await.0.is_empty());
    let (found, receipt) = held(store, 5_000).await;
    assert_eq!(found, [first], "it comes back whole");
    for _ in 0..2 {
        let closed = store.close_held_events(receipt.clone()).await;
        closed.expect("close held events");
    }
    assert_eq!(ids(&held(store, i64::MAX).await.0), set(&["e2"]));
    let pending = store.due_pending_events(EventTime(i64::MAX), 10).await;
    assert!(
        pending.expect("pending events").ends.is_empty(),
        "they are kept apart"
    );
}
