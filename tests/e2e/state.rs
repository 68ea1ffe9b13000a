//! The stores of state: each keeps the contract, both do the same, and many writers at once do as
//! one does.

use std::sync::atomic::{AtomicUsize, Ordering};

use e2e::{
    cloud::{config, make_table, runtime, store, store_for},
    local::Server,
    steps::{
        additions, look, repetition_changes_nothing, sequences, take, whoever_came_first, write_as,
    },
};
use secretrail_aws::dynamodb::DynamoStore;
use secretrail_engine::{
    access::AccessMethod,
    actor::ActorKind,
    alert::Alert,
    exposure::changes::VersionChange,
    ids::{RecordHome, SecretRef},
    incident::{IncidentPeriods, announced::AnnouncedIncident},
    observation::VersionStep,
    outbox::Destination,
    regroup::{reexposed, regroup},
    revealed::{Certainty, RevealedVersion, RevealedVersions},
    state::{ActorRange, IncidentStore, contract, memory::MemoryStore},
    time::EventTime,
};
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
        self.store_for(contract::destinations())
    }

    fn store_for(&self, destinations: Vec<Destination>) -> DynamoStore {
        store_for(&self.config, &self.name(), destinations)
    }
}

fn memory() -> MemoryStore {
    MemoryStore::with_destinations(contract::destinations())
}

#[test]
fn dynamodb_keeps_the_contract() {
    let tables = Tables::start();
    tables
        .runtime
        .block_on(contract::run(|destinations| tables.store_for(destinations)));
}

#[test]
fn both_stores_do_the_same_whatever_is_done() {
    let tables = Tables::start();
    for steps in sequences(40, 1..15) {
        let (lookback, dynamodb) = (memory(), tables.store());
        // A second process on the same table knows nothing but what is in it.
        let other = store(&tables.config, dynamodb.name());
        tables.runtime.block_on(async {
            for (index, step) in steps.iter().enumerate() {
                let one = if index % 2 == 0 { &dynamodb } else { &other };
                assert_eq!(
                    take(one, step).await,
                    take(&lookback, step).await,
                    "{step:?} of {steps:?}"
                );
                assert_eq!(
                    look(&other).await,
                    look(&lookback).await,
                    "after {step:?} of {steps:?}"
                );
            }
        });
    }
}

#[test]
fn many_writers_at_once_do_as_one_does() {
    const WRITERS: usize = 6;
    let tables = Tables::start();
    for steps in additions(10) {
        let (lookback, name) = (memory(), tables.name());
        tables.runtime.block_on(async {
            let mut writers = tokio::task::JoinSet::new();
            for writer in 0..WRITERS {
                let (store, steps) = (store(&tables.config, &name), steps.clone());
                writers.spawn(async move { write_as(writer, WRITERS, &store, &steps).await });
            }
            let winners: usize = writers.join_all().await.into_iter().sum();
            let alone = write_as(0, 1, &lookback, &steps).await;
            assert_eq!(winners, alone, "each alert has one winner");
            let (one, other) = (
                look(&store(&tables.config, &name)).await,
                look(&lookback).await,
            );
            assert_eq!(whoever_came_first(&one), whoever_came_first(&other));
        });
    }
}

#[test]
fn every_step_on_a_table_may_be_repeated() {
    let tables = Tables::start();
    for steps in sequences(10, 1..15) {
        let (twice, once) = (tables.store(), tables.store());
        let repeated = repetition_changes_nothing(&twice, &once, &steps);
        tables.runtime.block_on(repeated);
    }
}

/// An alert about a read of a secret, before its KMS Decrypt is known, or with it.
fn revealing(certainty: Certainty) -> Alert {
    let change = contract::version_change("c", 0, "v1");
    let arn = change.fact.arn.unwrap();
    let home = RecordHome {
        partition: "aws",
        account: "111122223333",
        region: "eu-west-1",
    };
    let mut secret = SecretRef::secret(&arn, home);
    secret.version_id = (certainty == Certainty::Paired).then(|| "v1".into());
    let version = RevealedVersion {
        first: EventTime(100),
        secret,
        asked_version: false,
        method: AccessMethod::Api,
        certainty,
        is_home: true,
    };
    let mut alert = contract::alert("e1");
    alert.actor.kind = ActorKind::Principal;
    alert.secrets = vec![arn.clone()];
    alert.traits.revealed = vec![arn];
    alert.traits.versions = RevealedVersions::of([version], 10);
    alert
}

/// What becomes known of an incident, and of the secret that it revealed.
enum Known {
    Alert(Box<Alert>),
    Change(VersionChange),
}

async fn learn<S: IncidentStore>(store: &S, known: &Known, now: EventTime) {
    let periods = IncidentPeriods::default();
    match known {
        Known::Alert(alert) => {
            let alerts = std::slice::from_ref(&**alert);
            store.create_alerts(alerts.to_vec(), now).await.unwrap();
            regroup(store, alerts, periods, now).await.unwrap();
        }
        Known::Change(change) => {
            let secrets = [change.secret.clone()];
            let changes = vec![change.clone()];
            store.put_version_changes(changes).await.unwrap();
            reexposed(store, &secrets, periods, now).await.unwrap();
        }
    }
}

/// The only incident that was announced.
async fn announced<S: IncidentStore>(store: &S) -> AnnouncedIncident {
    let range = ActorRange {
        actor: revealing(Certainty::ByTime).actor.identity(),
        from: EventTime(0),
        to: EventTime(10_000),
    };
    let mut found = store.announced(&[range]).await.unwrap().remove(0);
    assert_eq!(found.len(), 1);
    found.remove(0)
}

/// All orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let Some(last) = count.checked_sub(1) else {
        return vec![Vec::new()];
    };
    let shorter = orders(last).into_iter();
    shorter
        .flat_map(|order| {
            (0..count).map(move |place| {
                let mut longer = order.clone();
                longer.insert(place, last);
                longer
            })
        })
        .collect()
}

#[test]
fn an_exposure_closes_in_either_store_whatever_comes_first() {
    let tables = Tables::start();
    let pending = VersionChange {
        fact: secretrail_engine::exposure::changes::ChangeFact {
            step: VersionStep::RotationFailed,
            ..contract::version_change("f", 200, "v2").fact
        },
        ..contract::version_change("f", 200, "v2")
    };
    let all = [
        Known::Alert(Box::new(revealing(Certainty::ByTime))),
        Known::Alert(Box::new(revealing(Certainty::Paired))),
        Known::Change(pending),
        Known::Change(contract::version_change("m", 300, "v3")),
    ];
    for order in orders(all.len()) {
        let (memory, dynamodb) = (memory(), tables.store());
        tables.runtime.block_on(async {
            for (time, index) in order.iter().enumerate() {
                let now = EventTime(1_000 + i64::try_from(time).unwrap() * 100);
                learn(&memory, &all[*index], now).await;
                learn(&dynamodb, &all[*index], now).await;
            }
            let (one, other) = (announced(&memory).await, announced(&dynamodb).await);
            assert_eq!(one.exposure, other.exposure, "{order:?}");
            assert_eq!(one.exposure.map(|e| e.is_open), Some(false), "{order:?}");
            assert_eq!(one.open_since(), None);
            let open = dynamodb.open_exposures(EventTime(9_999), 10).await;
            assert_eq!(open.unwrap(), []);
        });
    }
    // Without the change that moves the stage, it stays open in any order.
    for order in orders(3) {
        let dynamodb = tables.store();
        tables.runtime.block_on(async {
            for index in order {
                learn(&dynamodb, &all[index], EventTime(1_000)).await;
            }
            let known = announced(&dynamodb).await;
            assert_eq!(known.open_since(), Some(EventTime(100)));
            let open = dynamodb.open_exposures(EventTime(9_999), 10).await;
            assert_eq!(open.unwrap(), [known.id]);
        });
    }
}
