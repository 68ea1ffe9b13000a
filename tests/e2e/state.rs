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
    outbox::Destination,
    state::{contract, memory::MemoryStore},
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
