//! The stores of state: each keeps the contract, both do the same, and many writers at once do as one does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use e2e::cloud::{config, make_table, runtime, store};
use e2e::local::Server;
use e2e::{at, decrypt_secret, harvest, read, secret_arn};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use secretrail_aws::dynamodb::DynamoStore;
use secretrail_engine::alert::{Alert, Evidence};
use secretrail_engine::ids::Text;
use secretrail_engine::rule::RuleSet;
use secretrail_engine::seen::Memory;
use secretrail_engine::state::memory::MemoryStore;
use secretrail_engine::state::{
    CoverageMark, Fact, LooseEnd, StateStore, WindowKey, WindowRange, contract,
};
use secretrail_engine::time::EventTime;
use serde_json::json;
use tokio::runtime::Runtime;

struct Tables {
    _server: Server,
    config: aws_config::SdkConfig,
    runtime: Runtime,
    made: AtomicUsize,
}

impl Tables {
    fn start() -> Self {
        let server = Server::dynamodb();
        let config = config(&server.url);
        Self {
            _server: server,
            config,
            runtime: runtime(),
            made: AtomicUsize::new(0),
        }
    }

    fn name(&self) -> String {
        let name = format!("table{}", self.made.fetch_add(1, Ordering::Relaxed));
        tokio::task::block_in_place(|| {
            self.runtime
                .handle()
                .block_on(make_table(&self.config, &name))
        });
        name
    }

    fn store(&self) -> DynamoStore {
        store(&self.config, &self.name())
    }
}

#[test]
fn dynamodb_keeps_the_contract() {
    let tables = Tables::start();
    tables.runtime.block_on(contract::run(|| tables.store()));
}

/// Something to do with a store, from a world so small that operations meet.
#[derive(Debug, Clone)]
enum Step {
    Facts(Vec<(u8, u32, u8)>),
    Ends(Vec<(u8, u32, bool)>, i64),
    Close(i64),
    Cover(Vec<u8>),
    See(Vec<(u8, i64)>),
    Create(Vec<u8>, i64),
    Publish(Vec<u8>),
}

fn a_step() -> impl Strategy<Value = Step> {
    use proptest::collection::vec;
    prop_oneof![
        vec((0_u8..3, 0_u32..1_500, 0_u8..4), 1..6).prop_map(Step::Facts),
        (vec((0_u8..8, 0_u32..1_500, any::<bool>()), 1..6), 0_i64..50)
            .prop_map(|(ends, at)| Step::Ends(ends, at)),
        (0_i64..2_000).prop_map(Step::Close),
        vec(0_u8..6, 1..4).prop_map(Step::Cover),
        vec((0_u8..3, 0_i64..200), 1..5).prop_map(Step::See),
        (vec(0_u8..5, 1..4), 0_i64..50).prop_map(|(alerts, at)| Step::Create(alerts, at)),
        vec(0_u8..5, 1..3).prop_map(Step::Publish),
    ]
}

const MEMORY: Memory = Memory {
    memory_secs: 900,
    learning_secs: 0,
};

fn end(id: u8, secs: u32, is_read: bool) -> Arc<LooseEnd> {
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
    let found = harvest(&[record], &RuleSet::default()).observations;
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

fn alert(number: u8) -> Alert {
    contract::alert(&number.to_string())
}

fn mark(number: u8) -> CoverageMark {
    CoverageMark::at(
        secret_arn("a").into(),
        format!("region{}", number % 2).into(),
        at(i64::from(number) * 3_600),
    )
}

/// Does a step, and says everything that can be seen of it.
async fn take<S: StateStore>(store: &S, step: &Step) -> String {
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
            store.put_loose_ends(ends, at(*arrived)).await.unwrap();
        }
        Step::Close(since) => loop {
            let due = store.due_loose_ends(at(*since), 3).await.unwrap();
            if due.ends.is_empty() {
                break;
            }
            store.close_loose_ends(due.receipt).await.unwrap();
        },
        Step::Cover(marks) => store
            .mark_coverage(marks.iter().copied().map(mark).collect())
            .await
            .unwrap(),
        Step::See(times) => {
            let times = times
                .iter()
                .map(|(key, time)| (Text::from(format!("key{key}")), EventTime(*time)))
                .collect();
            store.put_seen(times, MEMORY).await.unwrap();
        }
        Step::Create(alerts, now) => {
            let created = store
                .create_alerts(alerts.iter().copied().map(alert).collect(), at(*now))
                .await
                .unwrap();
            return format!("{created:?}");
        }
        Step::Publish(alerts) => {
            let ids: Vec<_> = alerts.iter().map(|number| alert(*number).id).collect();
            store.mark_published(&ids).await.unwrap();
        }
    }
    String::new()
}

/// Everything that a store can be asked.
async fn look<S: StateStore>(store: &S) -> Vec<String> {
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
    for facts in store.facts(&ranges).await.unwrap() {
        seen.push(format!(
            "{:?}",
            facts
                .iter()
                .map(|f| (f.time, &f.key, &f.value))
                .collect::<BTreeSet<_>>()
        ));
    }
    let slots = [
        (Text::from("rule"), at(0), at(2_000)),
        (Text::from("none"), at(0), at(2_000)),
    ];
    seen.push(format!("{:?}", store.slots(&slots).await.unwrap()));
    let ids = |ends: Vec<Arc<LooseEnd>>| {
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
            .due_loose_ends(at(since), usize::MAX)
            .await
            .unwrap()
            .ends));
    }
    let scenes: Vec<_> = (0..3)
        .map(|who| end(who, 0, true).scene.clone())
        .flat_map(|scene| {
            [(0, 2_000), (590, 610)].map(|(from, to)| (scene.clone(), at(from), at(to)))
        })
        .collect();
    seen.extend(
        store
            .loose_ends_in(&scenes)
            .await
            .unwrap()
            .into_iter()
            .map(ids),
    );
    let shared: Vec<Text> = (0..4).map(|i| format!("shared{i}").into()).collect();
    seen.push(ids(store.loose_ends_sharing(&shared).await.unwrap()));
    let marks: Vec<_> = (0..8).map(mark).collect();
    seen.push(format!("{:?}", store.covered(&marks).await.unwrap()));
    let keys: Vec<Text> = (0..4).map(|i| format!("key{i}").into()).collect();
    seen.push(format!("{:?}", store.seen(&keys).await.unwrap()));
    for before in [10, 100] {
        let waiting = store.unpublished(at(before), usize::MAX).await.unwrap();
        seen.push(format!(
            "{:?}",
            waiting
                .into_iter()
                .map(|alert| alert.id)
                .collect::<BTreeSet<_>>()
        ));
    }
    seen
}

#[test]
fn both_stores_do_the_same_whatever_is_done() {
    let tables = Tables::start();
    let mut runner = TestRunner::deterministic();
    for _ in 0..40 {
        let steps = proptest::collection::vec(a_step(), 1..15)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let (memory, dynamodb) = (MemoryStore::default(), tables.store());
        // A second process on the same table knows nothing but what is in it.
        let other = store(&tables.config, dynamodb.name());
        tables.runtime.block_on(async {
            for (index, step) in steps.iter().enumerate() {
                let one = if index % 2 == 0 { &dynamodb } else { &other };
                assert_eq!(
                    take(one, step).await,
                    take(&memory, step).await,
                    "{step:?} of {steps:?}"
                );
                assert_eq!(
                    look(&other).await,
                    look(&memory).await,
                    "after {step:?} of {steps:?}"
                );
            }
        });
    }
}

#[test]
fn many_writers_at_once_do_as_one_does() {
    let tables = Tables::start();
    let mut runner = TestRunner::deterministic();
    for _ in 0..10 {
        let steps = proptest::collection::vec(a_step(), 12..24)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        // What is closed or published depends on what was there: only what is added can come in any order.
        let steps: Vec<Step> = steps
            .into_iter()
            .filter(|step| !matches!(step, Step::Close(_) | Step::Publish(_)))
            .collect();
        let (memory, name) = (MemoryStore::default(), tables.name());
        let winners = tables.runtime.block_on(async {
            let mut writers = tokio::task::JoinSet::new();
            for writer in 0..6 {
                let (store, mut steps) = (store(&tables.config, &name), steps.clone());
                let middle = writer * steps.len() / 6;
                steps.rotate_left(middle);
                writers.spawn(async move {
                    let mut created = 0;
                    for step in &steps {
                        created += take(&store, step).await.matches("true").count();
                    }
                    created
                });
            }
            writers.join_all().await.into_iter().sum::<usize>()
        });
        let mut alone = 0;
        tables.runtime.block_on(async {
            for step in &steps {
                alone += take(&memory, step).await.matches("true").count();
            }
            assert_eq!(winners, alone, "each alert has one winner");
            let (one, other) = (
                look(&store(&tables.config, &name)).await,
                look(&memory).await,
            );
            // When a loose end began to wait, and when an alert was created, is whoever came first's to say.
            let same =
                |(index, _): &(usize, &String)| !(7..11).contains(index) && *index < one.len() - 2;
            let kept = |seen: &[String]| {
                seen.iter()
                    .enumerate()
                    .filter(same)
                    .map(|(_, s)| s.clone())
                    .collect::<Vec<_>>()
            };
            assert_eq!(kept(&one), kept(&other));
        });
    }
}
