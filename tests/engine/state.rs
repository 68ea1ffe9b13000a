//! The store in memory, which every other store is compared with: repetition and order change
//! nothing.

use secretrail_engine::state::{contract, memory::MemoryStore};
use test_support::steps::{
    additions, look, repetition_changes_nothing, sequences, whoever_came_first, write_as,
};

fn memory() -> MemoryStore {
    MemoryStore::with_destinations(contract::destinations())
}

#[test]
fn every_step_may_be_repeated() {
    for steps in sequences(40, 1..15) {
        let (twice, once) = (memory(), memory());
        pollster::block_on(repetition_changes_nothing(&twice, &once, &steps));
    }
}

#[test]
fn what_is_added_may_come_in_any_order() {
    const WRITERS: usize = 6;
    for steps in additions(10) {
        let (many, one) = (memory(), memory());
        pollster::block_on(async {
            let mut winners = 0;
            for writer in 0..WRITERS {
                winners += write_as(writer, WRITERS, &many, &steps).await;
            }
            let alone = write_as(0, 1, &one, &steps).await;
            assert_eq!(winners, alone, "each alert has one creator: {steps:?}");
            let (many, one) = (look(&many).await, look(&one).await);
            assert_eq!(
                whoever_came_first(&many),
                whoever_came_first(&one),
                "{steps:?}"
            );
        });
    }
}
