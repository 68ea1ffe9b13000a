//! Events that came directly, until they are looked for in the files: those of a batch share an
//! item, in the order of their arrival.

use std::sync::Arc;

use secretrail_engine::{
    evidence::Evidence,
    fact::Fact,
    ids::SharedStr,
    limits::{DAY_SECS, DIRECT_EVENT_SECS},
    state::{DueDirectEvents, StateError, item_v1},
    time::EventTime,
};

use super::{keys, table::DynamoTable};

/// How long an event is kept, in seconds, if no sweep looks for it: longer than the table may take
/// to be swept again after an outage.
const KEEP_SECS: i64 = DIRECT_EVENT_SECS + 2 * DAY_SECS;

/// Direct events in the table.
pub(super) struct StoredDirectEvents {
    table: Arc<DynamoTable>,
}

impl StoredDirectEvents {
    pub(super) fn new(table: Arc<DynamoTable>) -> Self {
        Self { table }
    }

    pub(super) async fn put(
        &self,
        events: Vec<Evidence>,
        arrived: EventTime,
    ) -> Result<(), StateError> {
        // Stored in the form of facts, which share what they have in common.
        let facts = events.into_iter().map(|event| (Vec::new(), fact(event)));
        let packed = item_v1::pack_facts(facts.collect());
        self.table
            .put_waiting(keys::DIRECT, arrived, packed, KEEP_SECS)
            .await
    }

    /// What is due. An item that cannot be read is closed with the others: its events are in the
    /// files in all likelihood.
    pub(super) async fn due(
        &self,
        until: EventTime,
        most: usize,
    ) -> Result<DueDirectEvents, StateError> {
        let facts = self
            .table
            .due_waiting(keys::DIRECT, until, most, item_v1::unpack_facts);
        let (facts, receipt) = facts.await?;
        let events = facts.into_iter().map(|(_, fact)| fact.evidence);
        Ok(DueDirectEvents {
            events: events.collect(),
            receipt,
        })
    }

    pub(super) async fn close(&self, receipt: Vec<SharedStr>) -> Result<(), StateError> {
        self.table.close_waiting(keys::DIRECT, &receipt).await
    }
}

fn fact(evidence: Evidence) -> Fact {
    Fact {
        slot: 0,
        key: evidence.fact_key(),
        time: evidence.head.time,
        value: None,
        least: None,
        evidence,
    }
}
