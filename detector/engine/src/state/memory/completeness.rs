//! Digests and held events in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::MemoryStore;
use crate::{
    completeness::{ComparedDigest, DigestRange, WaitingDigest},
    ids::SharedStr,
    pending_event::PendingEvent,
    state::{
        StateError,
        completeness::{CompletenessStore, DueDigests, DueHeldEvents},
    },
    time::EventTime,
};

/// See [`CompletenessStore`].
#[derive(Default)]
pub(super) struct CompletenessTables {
    /// By the time to look at them and identity.
    digests: BTreeMap<SharedStr, (EventTime, WaitingDigest)>,
    compared: BTreeSet<ComparedDigest>,
    /// By the time to look at them and identity.
    held: BTreeMap<SharedStr, (EventTime, Arc<PendingEvent>)>,
}

/// Names sort by the time to look at what they name.
fn name(look_at: EventTime, identity: &str) -> SharedStr {
    let at = look_at.0.max(0);
    format!("{at:012}#{identity}").into()
}

fn due<T: Clone>(
    waiting: &BTreeMap<SharedStr, (EventTime, T)>,
    until: EventTime,
    most: usize,
) -> (Vec<T>, Vec<SharedStr>) {
    let due = waiting.iter().filter(|(_, (look_at, _))| *look_at <= until);
    let due = due.take(most);
    due.map(|(name, (_, thing))| (thing.clone(), name.clone()))
        .unzip()
}

impl CompletenessStore for MemoryStore {
    async fn put_digests(
        &self,
        digests: Vec<WaitingDigest>,
        look_at: EventTime,
    ) -> Result<(), StateError> {
        let mut tables = self.tables();
        for digest in digests {
            let identity = format!("{}/{}", digest.bucket, digest.key);
            let digests = &mut tables.completeness.digests;
            digests.insert(name(look_at, &identity), (look_at, digest));
        }
        Ok(())
    }

    async fn due_digests(&self, until: EventTime, most: usize) -> Result<DueDigests, StateError> {
        let (digests, receipt) = due(&self.tables().completeness.digests, until, most);
        Ok(DueDigests { digests, receipt })
    }

    async fn close_digests(&self, receipt: Vec<SharedStr>) -> Result<(), StateError> {
        let mut tables = self.tables();
        for name in receipt {
            tables.completeness.digests.remove(&name);
        }
        Ok(())
    }

    async fn put_compared(&self, digests: Vec<ComparedDigest>) -> Result<(), StateError> {
        self.tables().completeness.compared.extend(digests);
        Ok(())
    }

    async fn compared(
        &self,
        ranges: &[DigestRange],
    ) -> Result<Vec<Vec<ComparedDigest>>, StateError> {
        let tables = self.tables();
        let compared = &tables.completeness.compared;
        let found = ranges.iter().map(|range| {
            let of_place = compared.iter().filter(|digest| {
                let is_there = digest.account == range.account && digest.region == range.region;
                is_there && (range.from..=range.to).contains(&digest.hour.end)
            });
            of_place.cloned().collect()
        });
        Ok(found.collect())
    }

    async fn hold_events(
        &self,
        ends: Vec<Arc<PendingEvent>>,
        look_at: EventTime,
    ) -> Result<(), StateError> {
        let mut tables = self.tables();
        for end in ends {
            let identity = format!("{:?}", end.id.parts());
            let held = &mut tables.completeness.held;
            held.insert(name(look_at, &identity), (look_at, end));
        }
        Ok(())
    }

    async fn due_held_events(
        &self,
        until: EventTime,
        most: usize,
    ) -> Result<DueHeldEvents, StateError> {
        let (ends, receipt) = due(&self.tables().completeness.held, until, most);
        Ok(DueHeldEvents { ends, receipt })
    }

    async fn close_held_events(&self, receipt: Vec<SharedStr>) -> Result<(), StateError> {
        let mut tables = self.tables();
        for name in receipt {
            tables.completeness.held.remove(&name);
        }
        Ok(())
    }
}
