//! Events that cannot be finalised are set aside.

use super::{due, end, ids, set};
use crate::{
    state::{SetAside, StateStore},
    time::EventTime,
};

pub(super) async fn pending_events_are_due_later<S: StateStore>(store: &S) {
    assert_eq!(store.pending_since().await.expect("the oldest"), None);
    // Some in one group and segment, which a store may keep together, and some not.
    let ends = vec![
        end("e1", 100, "ann"),
        end("e2", 100, "ann"),
        end("e3", 100, "bob"),
        end("e4", 150, "cy"),
    ];
    let put = store.put_pending_events(ends, EventTime(100)).await;
    put.expect("put");
    let oldest = store.pending_since().await.expect("the oldest");
    assert_eq!(oldest, Some(EventTime(100)));
    // All that wait since 100, however they are stored.
    for _ in 0..10 {
        let found = store.due_pending_events(EventTime(100), 1).await;
        let found = found.expect("due");
        if found.ends.is_empty() {
            break;
        }
        let receipt = found.receipt;
        let aside = store.set_aside_pending_events(receipt, EventTime(500));
        let aside = aside.await.expect("set aside");
        assert_ne!(aside, SetAside::Later(0));
    }
    assert_eq!(ids(&due(store, 100).await), set(&[]));
    assert_eq!(ids(&due(store, 499).await), set(&["e4"]));
    let oldest = store.pending_since().await.expect("the oldest");
    assert_eq!(oldest, Some(EventTime(150)));
    // They are not lost.
    assert_eq!(ids(&due(store, 500).await), set(&["e1", "e2", "e3", "e4"]));
}
