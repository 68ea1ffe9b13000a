//! The stores of state: each keeps the contract, both do the same, and many writers at once do as one does.

use std::sync::atomic::{AtomicUsize, Ordering};

use e2e::cloud::{config, make_table, runtime, store};
use e2e::local::Server;
use secretrail_engine::state::contract;

#[test]
fn dynamodb_keeps_the_contract() {
    let server = Server::dynamodb();
    let config = config(&server.url);
    let runtime = runtime();
    let tables = AtomicUsize::new(0);
    let empty = || {
        let name = format!("table{}", tables.fetch_add(1, Ordering::Relaxed));
        tokio::task::block_in_place(|| runtime.handle().block_on(make_table(&config, &name)));
        store(&config, &name)
    };
    runtime.block_on(contract::run(empty));
}
