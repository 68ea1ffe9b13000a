//! What must be remembered between batches, behind one trait. Every store passes one suite of tests
//! ([`contract`]).
//!
//! All writes are idempotent: the same batch may be written any number of times, by any number of
//! writers.

#[cfg(any(test, feature = "testkit"))]
pub mod contract;
pub mod item_v1;
pub mod memory;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use crate::alert::{Alert, AlertId};
use crate::coverage::CoverageMark;
use crate::fact::{Fact, RuleRange, WindowKey, WindowRange};
use crate::ids::SharedStr;
use crate::pending_event::{CorrelationRange, PendingEvent};
use crate::seen::{LookbackPeriods, SeenTimes, Sighting};
use crate::time::EventTime;

/// Why a store could not do its work. Nothing is half done that a retry would not complete.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StateError {
    /// What went wrong, naming the store and the call.
    pub message: String,
}

/// Loose ends that are due, and what to close them with.
#[derive(Debug)]
pub struct DueEvents<R> {
    /// The loose ends, each once.
    pub ends: Vec<Arc<PendingEvent>>,
    /// For [`StateStore::close_loose_ends`].
    pub receipt: R,
}

/// What the pipeline asks of a store. Reads see every write that has returned.
pub trait StateStore: Sync {
    /// What a store needs to know to close the loose ends that it gave.
    type Receipt: Send;

    /// Adds facts to windows. A fact that is there stays, and takes over the evidence that tells
    /// more.
    fn put_facts(
        &self,
        facts: Vec<(WindowKey, Fact)>,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// The facts of each range, in any order.
    fn facts(
        &self,
        ranges: &[WindowRange],
    ) -> impl Future<Output = Result<Vec<Vec<Fact>>, StateError>> + Send;

    /// For each range, which of the window's rules have facts in any group in it, or near it: more
    /// may be told than there are, never fewer. Whoever knows that a rule has none need not read
    /// the groups of the others.
    fn slots(
        &self,
        windows: &[RuleRange],
    ) -> impl Future<Output = Result<Vec<BTreeSet<usize>>, StateError>> + Send;

    /// Adds loose ends that are not there yet. One that was closed stays closed. They wait from
    /// `arrived` on, or from their delivery if that is later: what comes late gives its other half
    /// as much time as what came in time.
    fn put_pending_events(
        &self,
        ends: Vec<Arc<PendingEvent>>,
        arrived: EventTime,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Open loose ends that have waited since `since` or longer, in any order. A store may give a
    /// part of them, about as many as `most`, those that have waited longest; nothing is given only
    /// when nothing is due.
    fn due_pending_events(
        &self,
        since: EventTime,
        most: usize,
    ) -> impl Future<Output = Result<DueEvents<Self::Receipt>, StateError>> + Send;

    /// For each range, every loose end of its scene, open or closed, with an event time in it.
    fn pending_events_in(
        &self,
        correlation_groups: &[CorrelationRange],
    ) -> impl Future<Output = Result<Vec<Vec<Arc<PendingEvent>>>, StateError>> + Send;

    /// Every loose end with one of these `sharedEventID`s: the copies of an event in other
    /// accounts.
    fn pending_events_sharing(
        &self,
        shared_ids: &[SharedStr],
    ) -> impl Future<Output = Result<Vec<Arc<PendingEvent>>, StateError>> + Send;

    /// Closes the loose ends of a receipt: they are not due any more, but are still found by scene.
    /// Closing twice does nothing.
    fn close_pending_events(
        &self,
        receipt: Self::Receipt,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Remembers that KMS events were seen.
    fn mark_coverage(
        &self,
        marks: Vec<CoverageMark>,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// For each mark, whether it was remembered.
    fn covered(
        &self,
        marks: &[CoverageMark],
    ) -> impl Future<Output = Result<Vec<bool>, StateError>> + Send;

    /// For each key, the times that were remembered under it; none for a key that never was.
    fn seen(
        &self,
        keys: &[SharedStr],
    ) -> impl Future<Output = Result<Vec<SeenTimes>, StateError>> + Send;

    /// Remembers times under keys. A store may forget what is older than the memory asks for, but
    /// not the first time of a key.
    fn put_seen(
        &self,
        times: Vec<Sighting>,
        lookback: LookbackPeriods,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Creates alerts that are not there yet, and says for each whether it was created now. Of
    /// several writers at once, one is told so.
    fn create_alerts(
        &self,
        alerts: Vec<Alert>,
        now: EventTime,
    ) -> impl Future<Output = Result<Vec<bool>, StateError>> + Send;

    /// Alerts that were created before a time and not yet marked as published, in any order. A
    /// store may give a part of them, about as many as `most`; nothing is given only when there are
    /// none.
    fn unpublished(
        &self,
        created_before: EventTime,
        most: usize,
    ) -> impl Future<Output = Result<Vec<Alert>, StateError>> + Send;

    /// Marks alerts as published. Marking twice, or what is not there, does nothing.
    fn mark_published(
        &self,
        ids: &[AlertId],
    ) -> impl Future<Output = Result<(), StateError>> + Send;
}
