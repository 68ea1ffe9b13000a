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

use super::{
    item::{SK, text_of},
    keys,
    table::DynamoTable,
};

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
        let items = packed.into_iter().map(|packed| {
            let key = keys::direct_events(arrived, &packed.digest);
            (key, self.table.packed(packed, KEEP_SECS))
        });
        self.table.put(items.collect()).await
    }

    pub(super) async fn due(
        &self,
        until: EventTime,
        most: usize,
    ) -> Result<DueDirectEvents, StateError> {
        let items = self
            .table
            .query(keys::direct_events_until(until), most)
            .await?;
        let mut due = DueDirectEvents::default();
        let mut unreadable = None;
        for item in &items {
            let Some(name) = text_of(item, SK) else {
                continue;
            };
            // One that cannot be read is closed with the others, and reported: it is in nobody's
            // way, and its events are in the files in all likelihood.
            match self
                .table
                .contents(std::slice::from_ref(item), item_v1::unpack_facts)
            {
                Ok(facts) => due
                    .events
                    .extend(facts.into_iter().map(|(_, fact)| fact.evidence)),
                Err(error) => unreadable = Some(error),
            }
            due.receipt.push(name.into());
        }
        if let Some(error) = unreadable {
            self.table.note_set_aside(error);
        }
        Ok(due)
    }

    pub(super) async fn close(&self, receipt: Vec<SharedStr>) -> Result<(), StateError> {
        let keys = receipt.iter().map(|name| keys::direct_events_named(name));
        self.table.delete(keys.collect()).await
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
