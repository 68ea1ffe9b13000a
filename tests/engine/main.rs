//! Tests of the engine and the pack, in one binary: no AWS, no command, no disk but the data of
//! the tests.

#![allow(
    clippy::too_many_lines,
    reason = "a test tells what happens from its beginning to its end"
)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that panics is a test that fails"
)]

use proptest::prelude::ProptestConfig;

mod baseline; // history to a proposed access policy
mod bounds; // cost grows with the input and not with its square
mod cases; // records in tests/cases, with the ledger and alerts they must give
mod completeness; // absence is judged when the digests of its time are compared
mod doors; // events that come through several doors, and those that no file has
mod envelopes; // what wraps, compresses or damages records
mod formats; // what is published and stored, frozen
mod geo; // where addresses are registered
mod held_back; // the same incidents online as in a replay
mod in_parts; // what does not fit into memory is read in parts, with the same alerts
mod invariance; // order, repetition, delay and split of the input change nothing
mod lakes; // rows of Security Lake, Athena, CloudTrail Lake and Sentinel
mod ledger; // one small situation each: what the ledger says about it
mod lineage; // who is behind a session
mod mutation; // every line of every condition in the pack matters
mod pack; // every rule of the pack: examples, shape
mod pairing; // the pairing against one that is too simple to be wrong
mod plan; // the evaluation plan of the pack against asking every rule
mod rules; // rule files: what is refused, how groups and windows behave
mod slow_thief; // what a thief does while a baseline is learned
mod state; // the store in memory: repetition and order change nothing
mod tidy; // the house rules that a compiler does not check

/// In how many random worlds a property is tried: in so many, or in as many as `PROPTEST_CASES` says,
/// for a longer search.
fn worlds(usual: u32) -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(usual),
    }
}
