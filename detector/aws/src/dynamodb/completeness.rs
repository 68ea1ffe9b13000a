//! Digests that wait for their files, digests that were compared, and events that are held until
//! the digest of their hour is. All of it is only added, under the time at which it is looked at.

use std::{collections::HashMap, sync::Arc};

use secretrail_engine::{
    completeness::{ComparedDigest, DigestRange, WaitingDigest},
    ids::SharedStr,
    limits::DAY_SECS,
    pending_event::PendingEvent,
    state::{
        StateError,
        completeness::{CompletenessStore, DueDigests, DueHeldEvents},
        item_v1::{self, ItemError},
    },
    time::EventTime,
    trail_digest::DigestHour,
};

use super::{
    DynamoStore,
    item::{Attributes, SK, number, number_of, text_of},
    keys,
    table::DynamoTable,
    written::RecentlyWritten,
};

/// How long a digest that waits is kept, in seconds, if no sweep looks at it: longer than the table
/// may take to be swept again after an outage.
const KEEP_DIGESTS_SECS: i64 = 7 * DAY_SECS;

/// Attribute with the start of the hour of a digest.
const START: &str = "start";

/// Digests and held events in the table.
pub(super) struct StoredCompleteness {
    table: Arc<DynamoTable>,
    /// How long pending events are kept, in seconds, and what decides about them.
    keep_secs: i64,
    /// Compared digests that this process has written.
    compared: RecentlyWritten<(SharedStr, SharedStr, i64)>,
}

impl StoredCompleteness {
    pub(super) fn new(table: Arc<DynamoTable>, keep_secs: i64) -> Self {
        Self {
            table,
            keep_secs,
            compared: RecentlyWritten::default(),
        }
    }

    async fn put_compared(&self, digests: Vec<ComparedDigest>) -> Result<(), StateError> {
        let identities = digests.iter().map(identity);
        // Queues deliver a digest more than once.
        let new: Vec<_> = self.compared.missing(identities);
        let items = digests
            .iter()
            .filter(|digest| new.contains(&identity(digest)));
        let items = items.map(|digest| {
            let start = (START.to_owned(), number(digest.hour.start.0));
            let expiry = self.table.expiry(self.keep_secs);
            (keys::compared(digest), HashMap::from([start, expiry]))
        });
        self.table.put(items.collect()).await?;
        self.compared.add(new);
        Ok(())
    }

    async fn compared(
        &self,
        ranges: &[DigestRange],
    ) -> Result<Vec<Vec<ComparedDigest>>, StateError> {
        let asked = ranges.iter().map(keys::compared_in).collect();
        let found = self.table.query_all(asked).await?;
        let found = ranges.iter().zip(found).map(|(range, items)| {
            let items = items.iter();
            items.filter_map(|item| compared_of(range, item)).collect()
        });
        Ok(found.collect())
    }
}

fn unpack_one(bytes: &[u8]) -> Result<Vec<WaitingDigest>, ItemError> {
    Ok(vec![item_v1::unpack_digest(bytes)?])
}

fn identity(digest: &ComparedDigest) -> (SharedStr, SharedStr, i64) {
    let ComparedDigest {
        account,
        region,
        hour,
    } = digest;
    (account.clone(), region.clone(), hour.end.0)
}

fn compared_of(range: &DigestRange, item: &Attributes) -> Option<ComparedDigest> {
    let end = keys::end_of_compared(text_of(item, SK)?)?;
    Some(ComparedDigest {
        account: range.account.clone(),
        region: range.region.clone(),
        hour: DigestHour {
            start: EventTime(number_of(item, START)?),
            end,
        },
    })
}

impl CompletenessStore for DynamoStore {
    async fn put_digests(
        &self,
        digests: Vec<WaitingDigest>,
        look_at: EventTime,
    ) -> Result<(), StateError> {
        let packed = digests.iter().map(item_v1::pack_digest).collect();
        self.table
            .put_waiting(keys::DIGESTS, look_at, packed, KEEP_DIGESTS_SECS)
            .await
    }

    async fn due_digests(&self, until: EventTime, most: usize) -> Result<DueDigests, StateError> {
        let due = self
            .table
            .due_waiting(keys::DIGESTS, until, most, unpack_one);
        let (digests, receipt) = due.await?;
        Ok(DueDigests { digests, receipt })
    }

    async fn close_digests(&self, receipt: Vec<SharedStr>) -> Result<(), StateError> {
        self.table.close_waiting(keys::DIGESTS, &receipt).await
    }

    async fn put_compared(&self, digests: Vec<ComparedDigest>) -> Result<(), StateError> {
        self.completeness.put_compared(digests).await
    }

    async fn compared(
        &self,
        ranges: &[DigestRange],
    ) -> Result<Vec<Vec<ComparedDigest>>, StateError> {
        self.completeness.compared(ranges).await
    }

    async fn hold_events(
        &self,
        ends: Vec<Arc<PendingEvent>>,
        look_at: EventTime,
    ) -> Result<(), StateError> {
        let packed = item_v1::pack_pending(&ends);
        let keep_secs = self.completeness.keep_secs;
        self.table
            .put_waiting(keys::HELD, look_at, packed, keep_secs)
            .await
    }

    async fn due_held_events(
        &self,
        until: EventTime,
        most: usize,
    ) -> Result<DueHeldEvents, StateError> {
        let due = self
            .table
            .due_waiting(keys::HELD, until, most, item_v1::unpack_pending);
        let (ends, receipt) = due.await?;
        Ok(DueHeldEvents { ends, receipt })
    }

    async fn close_held_events(&self, receipt: Vec<SharedStr>) -> Result<(), StateError> {
        self.table.close_waiting(keys::HELD, &receipt).await
    }
}
