//! The suite that every state store must pass. A store's own tests call [`run`] with a function that makes an empty store.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::alert::Alert;
use crate::coverage::CoverageMark;
use crate::document::Document;
use crate::evidence::Evidence;
use crate::extract::{Wanted, extract};
use crate::fact::{Fact, RuleRange, WindowKey, WindowRange};
use crate::ids::Text;
use crate::loose_end::{LooseEnd, SceneRange};
use crate::object::origin;
use crate::observation::{Interner, Observation};
use crate::rule_meta::{Level, RuleMeta};
use crate::seen::{Memory, Sighting};
use crate::state::StateStore;
use crate::time::EventTime;
use crate::wire::Record;

/// Before everything.
const LONG_AGO: EventTime = EventTime(i64::MIN);

/// Runs the whole suite.
///
/// # Panics
///
/// On the first promise that the store breaks.
pub async fn run<S: StateStore>(empty: impl Fn() -> S) {
    facts_are_kept_once_and_read_by_range(&empty()).await;
    loose_ends_are_due_until_they_are_closed(&empty()).await;
    late_loose_ends_wait_as_long_as_others(&empty()).await;
    copies_are_found_by_shared_id(&empty()).await;
    coverage_is_remembered(&empty()).await;
    what_was_seen_is_remembered_by_grain(&empty()).await;
    alerts_are_created_once_and_published_once(&empty()).await;
    nothing_is_asked_for_in_vain(&empty()).await;
}

fn read(event_id: &str, secs: i64, actor: &str, shared: Option<&str>) -> Observation {
    let shared = shared
        .map(|id| format!(r#""sharedEventID":"{id}","#))
        .unwrap_or_default();
    let text = format!(
        r#"{{"eventTime":"{}","eventID":"{event_id}",{shared}"eventSource":"secretsmanager.amazonaws.com",
        "eventName":"GetSecretValue","awsRegion":"eu-west-1","recipientAccountId":"111122223333",
        "userIdentity":{{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/{actor}"}},
        "requestParameters":{{"secretId":"prod/db"}}}}"#,
        EventTime(secs)
    );
    let record: Record<'_> = serde_json::from_str(&text).expect("the record is JSON");
    extract(
        &record,
        &Document::new(&text),
        &origin("contract"),
        &Wanted::default(),
        &mut Interner::default(),
    )
    .expect("it is a read")
}

/// A read of an actor that nobody has paired yet, for tests of stores.
#[must_use]
pub fn end(event_id: &str, secs: i64, actor: &str) -> Arc<LooseEnd> {
    Arc::new(LooseEnd::new(read(event_id, secs, actor, None)))
}

/// Everything that has waited since a time, however little a store gives at once.
async fn due<S: StateStore>(store: &S, since: i64) -> Vec<Arc<LooseEnd>> {
    store
        .due_loose_ends(EventTime(since), usize::MAX)
        .await
        .expect("due")
        .ends
}

fn ids(ends: &[Arc<LooseEnd>]) -> BTreeSet<Text> {
    ends.iter()
        .map(|end| end.observation.head().event_id.clone())
        .collect()
}

fn set(ids: &[&str]) -> BTreeSet<Text> {
    ids.iter().map(|id| Text::from(*id)).collect()
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
        level: Level::High,
        tags: Vec::new(),
        false_positives: Vec::new(),
        references: Vec::new(),
        file: "rule.yml".into(),
    };
    let id = Alert::single_id(&meta, event_id);
    Alert::new(
        id,
        Arc::new(meta),
        None,
        vec![fact(event_id, 100, "x").evidence],
    )
}

async fn facts_are_kept_once_and_read_by_range<S: StateStore>(store: &S) {
    let put = |key: &str, facts: Vec<Fact>| {
        store.put_facts(facts.into_iter().map(|f| (window(key), f)).collect())
    };
    put(
        "ann",
        vec![
            fact("e1", 100, "x"),
            fact("e2", 110, "y"),
            fact("e1", 100, "x"),
        ],
    )
    .await
    .expect("put");
    put("ann", vec![fact("e2", 110, "y"), fact("e3", 120, "x")])
        .await
        .expect("put again");
    put("bob", vec![fact("e4", 110, "z")])
        .await
        .expect("put another group");
    let range = |key: &str, from, to| WindowRange {
        key: window(key),
        from: EventTime(from),
        to: EventTime(to),
    };
    let ranges = [
        range("ann", 100, 120),
        range("ann", 101, 119),
        range("bob", 0, 1_000),
        range("nobody", 0, 1_000),
    ];
    let found = store.facts(&ranges).await.expect("facts");
    let keys: Vec<BTreeSet<Text>> = found
        .iter()
        .map(|f| f.iter().map(|f| f.key.clone()).collect())
        .collect();
    assert_eq!(
        keys,
        [
            set(&["e1", "e2", "e3"]),
            set(&["e2"]),
            set(&["e4"]),
            set(&[])
        ]
    );
    assert_eq!(
        found.first().map(Vec::len),
        Some(3),
        "the same fact is kept once"
    );
    let asked = [("rule", 100, 120), ("another rule", 0, 1_000)];
    let asked = asked.map(|(rule, from, to)| RuleRange {
        rule: Text::from(rule),
        from: EventTime(from),
        to: EventTime(to),
    });
    assert_eq!(
        store.slots(&asked).await.expect("slots"),
        [BTreeSet::from([0]), BTreeSet::new()]
    );
    put(
        "ann",
        vec![Fact {
            slot: 2,
            ..fact("e5", 115, "x")
        }],
    )
    .await
    .expect("put another slot");
    assert_eq!(
        store.slots(&asked).await.expect("slots").first(),
        Some(&BTreeSet::from([0, 2]))
    );
}

async fn loose_ends_are_due_until_they_are_closed<S: StateStore>(store: &S) {
    let ends = vec![
        end("e1", 100, "ann"),
        end("e2", 200, "ann"),
        end("e3", 150, "bob"),
    ];
    let put = || store.put_loose_ends(ends.clone(), LONG_AGO);
    put().await.expect("put");
    put().await.expect("put again");
    assert_eq!(ids(&due(store, 99).await), set(&[]));
    assert_eq!(ids(&due(store, 150).await), set(&["e1", "e3"]));
    assert_eq!(due(store, 1_000).await.len(), 3);
    for attempt in ["close", "close again"] {
        let first = store.due_loose_ends(EventTime(100), 10).await.expect("due");
        store.close_loose_ends(first.receipt).await.expect(attempt);
    }
    put().await.expect("redelivery");
    assert_eq!(
        ids(&due(store, 1_000).await),
        set(&["e2", "e3"]),
        "what was closed stays closed"
    );
    let scene = ends.first().map(|e| e.scene.clone()).expect("there is one");
    let around = |from, to| {
        [SceneRange {
            scene: scene.clone(),
            from: EventTime(from),
            to: EventTime(to),
        }]
    };
    let found = store.loose_ends_in(&around(100, 200)).await.expect("scene");
    assert_eq!(
        found.iter().map(|f| ids(f)).collect::<Vec<_>>(),
        [set(&["e1", "e2"])],
        "closed ones are still found"
    );
    let found = store.loose_ends_in(&around(101, 200)).await.expect("scene");
    assert_eq!(
        found.iter().map(|f| ids(f)).collect::<Vec<_>>(),
        [set(&["e2"])]
    );
}

async fn late_loose_ends_wait_as_long_as_others<S: StateStore>(store: &S) {
    store
        .put_loose_ends(vec![end("e1", 100, "ann")], EventTime(500))
        .await
        .expect("put");
    store
        .put_loose_ends(vec![end("e2", 700, "ann")], EventTime(500))
        .await
        .expect("put");
    assert_eq!(ids(&due(store, 499).await), set(&[]));
    assert_eq!(ids(&due(store, 699).await), set(&["e1"]));
    assert_eq!(ids(&due(store, 700).await), set(&["e1", "e2"]));
}

async fn copies_are_found_by_shared_id<S: StateStore>(store: &S) {
    let twin = |event, actor| Arc::new(LooseEnd::new(read(event, 100, actor, Some("s1"))));
    let ends = vec![twin("e1", "ann"), twin("e2", "bob"), end("e3", 100, "ann")];
    store.put_loose_ends(ends, LONG_AGO).await.expect("put");
    let found = store
        .loose_ends_sharing(&["s1".into(), "s2".into()])
        .await
        .expect("sharing");
    assert_eq!(ids(&found), set(&["e1", "e2"]));
}

async fn coverage_is_remembered<S: StateStore>(store: &S) {
    let mark = |region: &str, secs| {
        CoverageMark::at("111122223333".into(), region.into(), EventTime(secs))
    };
    store
        .mark_coverage(vec![mark("eu-west-1", 100), mark("eu-west-1", 200)])
        .await
        .expect("mark");
    let asked = [
        mark("eu-west-1", 300),
        mark("eu-west-1", 7_300),
        mark("us-east-1", 100),
    ];
    assert_eq!(
        store.covered(&asked).await.expect("covered"),
        [true, false, false]
    );
}

async fn what_was_seen_is_remembered_by_grain<S: StateStore>(store: &S) {
    let memory = Memory {
        memory_secs: 900,
        learning_secs: 0,
    };
    let put = async |times: &[(&str, i64)]| {
        let times: Vec<_> = times
            .iter()
            .map(|(key, time)| Sighting {
                key: Text::from(*key),
                time: EventTime(*time),
            })
            .collect();
        for _ in 0..2 {
            store
                .put_seen(times.clone(), memory)
                .await
                .expect("remember");
        }
    };
    put(&[("a", 55), ("b", 1), ("a", 77)]).await;
    put(&[("a", 51), ("a", 59)]).await;
    put(&[]).await;
    let found = store
        .seen(&["b".into(), "never".into(), "a".into()])
        .await
        .expect("look up");
    let found: Vec<Vec<i64>> = found
        .iter()
        .map(|times| times.iter().map(|t| t.0).collect())
        .collect();
    assert_eq!(found, [vec![1], vec![], vec![51, 77]]);
}

async fn alerts_are_created_once_and_published_once<S: StateStore>(store: &S) {
    let (one, two) = (alert("e1"), alert("e2"));
    let create = |alerts: Vec<Alert>, at| store.create_alerts(alerts, EventTime(at));
    let waiting = async |before| {
        let alerts = store
            .unpublished(EventTime(before), 10)
            .await
            .expect("outbox");
        alerts.into_iter().map(|a| a.id).collect::<BTreeSet<_>>()
    };
    assert_eq!(create(vec![one.clone()], 10).await.expect("create"), [true]);
    assert_eq!(
        create(vec![two.clone(), one.clone(), two.clone()], 20)
            .await
            .expect("create"),
        [true, false, false]
    );
    assert_eq!(waiting(10).await, BTreeSet::new());
    assert_eq!(
        waiting(20).await,
        BTreeSet::from([one.id.clone()]),
        "created when it was created first"
    );
    assert_eq!(
        store.unpublished(EventTime(20), 10).await.expect("outbox"),
        vec![one.clone()],
        "as it was created"
    );
    assert_eq!(waiting(21).await.len(), 2);
    for attempt in ["publish", "publish again"] {
        store
            .mark_published(std::slice::from_ref(&one.id))
            .await
            .expect(attempt);
    }
    assert_eq!(waiting(100).await, BTreeSet::from([two.id.clone()]));
    assert_eq!(
        create(vec![one], 30).await.expect("create"),
        [false],
        "a published alert is not created again"
    );
    assert_eq!(waiting(100).await, BTreeSet::from([two.id]));
}

async fn nothing_is_asked_for_in_vain<S: StateStore>(store: &S) {
    store.put_facts(Vec::new()).await.expect("no facts");
    store
        .put_loose_ends(Vec::new(), LONG_AGO)
        .await
        .expect("no ends");
    let nothing = store
        .due_loose_ends(EventTime(i64::MAX), 10)
        .await
        .expect("due");
    assert!(nothing.ends.is_empty());
    store
        .close_loose_ends(nothing.receipt)
        .await
        .expect("close nothing");
    store
        .mark_published(&[alert("never").id])
        .await
        .expect("publish what is not there");
    store.mark_coverage(Vec::new()).await.expect("no marks");
    store
        .put_seen(Vec::new(), Memory::default())
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
