//! State that is kept between batches, behind one trait. Every store passes the same tests
//! ([`contract`]).
//!
//! All writes are idempotent: the same batch may be written any number of times, by any number of
//! writers.

#[cfg(any(test, feature = "testkit"))]
pub mod contract;
pub mod item_v1;
pub mod memory;

use std::{collections::BTreeSet, future::Future, sync::Arc};

use crate::{
    alert::{Alert, AlertId},
    coverage::CoverageMark,
    fact::{Fact, RuleRange, WindowKey, WindowRange},
    ids::SharedStr,
    pending_event::{CorrelationRange, PendingEvent},
    seen::{LookbackPeriods, SeenTimes, Sighting},
    time::EventTime,
};

/// Why an operation of a store failed. A retry completes whatever was partly done.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StateError {
    /// The cause, with the store and the call.
    pub message: String,
}

/// Pending events that are due, and a receipt to close them with.
#[derive(Debug)]
pub struct DueEvents<R> {
    /// The pending events, each once.
    pub ends: Vec<Arc<PendingEvent>>,
    /// For [`StateStore::close_pending_events`].
    pub receipt: R,
}

/// What the pipeline needs from a store. Reads see every write that has returned.
pub trait StateStore: Sync {
    /// What a store needs to close the pending events that it returned.
    type Receipt: Send;

    /// Adds facts to windows. An existing fact stays, and takes over richer evidence.
    fn put_facts(
        &self,
        facts: Vec<(WindowKey, Fact)>,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// The facts of each range, in any order.
    fn facts(
        &self,
        ranges: &[WindowRange],
    ) -> impl Future<Output = Result<Vec<Vec<Fact>>, StateError>> + Send;

    /// For each range, the slots ([`Fact::slot`]) that have facts of any group in it or near it:
    /// possibly too many, never too few. When a rule lacks one of the slots that it needs, its
    /// groups need not be read.
    fn slots(
        &self,
        windows: &[RuleRange],
    ) -> impl Future<Output = Result<Vec<BTreeSet<usize>>, StateError>> + Send;

    /// Adds pending events that do not exist yet. A closed one stays closed. They wait from
    /// `arrived` on, or from their delivery if that is later, so that the other half of a late
    /// event has as much time as that of any other.
    fn put_pending_events(
        &self,
        ends: Vec<Arc<PendingEvent>>,
        arrived: EventTime,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Open events that have been pending since `since` or longer, in any order. A store may return
    /// only some of them, about `most`, those that have waited longest; none only when nothing is
    /// due.
    fn due_pending_events(
        &self,
        since: EventTime,
        most: usize,
    ) -> impl Future<Output = Result<DueEvents<Self::Receipt>, StateError>> + Send;

    /// For each range, all pending events of its correlation group with an event time in it, open
    /// or closed.
    fn pending_events_in(
        &self,
        correlation_groups: &[CorrelationRange],
    ) -> impl Future<Output = Result<Vec<Vec<Arc<PendingEvent>>>, StateError>> + Send;

    /// All pending events with one of these `sharedEventID`s: the copies of an event in other
    /// accounts.
    fn pending_events_sharing(
        &self,
        shared_ids: &[SharedStr],
    ) -> impl Future<Output = Result<Vec<Arc<PendingEvent>>, StateError>> + Send;

    /// Closes the events of a receipt: they are no longer due, but still found by correlation
    /// group. Closing twice does nothing.
    fn close_pending_events(
        &self,
        receipt: Self::Receipt,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Records that KMS events were seen.
    fn mark_coverage(
        &self,
        marks: Vec<CoverageMark>,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// For each mark, whether it was recorded.
    fn covered(
        &self,
        marks: &[CoverageMark],
    ) -> impl Future<Output = Result<Vec<bool>, StateError>> + Send;

    /// For each key, the times that were recorded under it; none for an unknown key.
    fn seen(
        &self,
        keys: &[SharedStr],
    ) -> impl Future<Output = Result<Vec<SeenTimes>, StateError>> + Send;

    /// Records times under keys. A store may drop times older than the lookback, but not the first
    /// time of a key.
    fn put_seen(
        &self,
        times: Vec<Sighting>,
        lookback: LookbackPeriods,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Creates alerts that do not exist yet, or were withdrawn; for each, whether this call created
    /// it. Of several concurrent writers, one gets `true`. A provisional alert that exists is
    /// thereby confirmed.
    fn create_alerts(
        &self,
        alerts: Vec<Alert>,
        now: EventTime,
    ) -> impl Future<Output = Result<Vec<bool>, StateError>> + Send;

    /// Creates provisional alerts that do not exist yet, withdrawn or not, each with the time since
    /// which its event waits to be finalised; for each, whether this call created it.
    fn create_provisional_alerts(
        &self,
        alerts: Vec<(Alert, EventTime)>,
        now: EventTime,
    ) -> impl Future<Output = Result<Vec<bool>, StateError>> + Send;

    /// Provisional alerts whose event has waited since a time or longer, and that are neither
    /// confirmed nor withdrawn, in any order.
    fn provisional_alerts(
        &self,
        since: EventTime,
    ) -> impl Future<Output = Result<Vec<AlertId>, StateError>> + Send;

    /// Withdraws provisional alerts, which are then to be published again; returns those that this
    /// call has withdrawn. Those that were confirmed or withdrawn before are left alone.
    fn withdraw_alerts(
        &self,
        ids: &[AlertId],
        now: EventTime,
    ) -> impl Future<Output = Result<Vec<Alert>, StateError>> + Send;

    /// Alerts that were created before a time and are not marked as published, in any order. A
    /// store may return only some of them, about `most`; none only when there are none.
    fn unpublished(
        &self,
        created_before: EventTime,
        most: usize,
    ) -> impl Future<Output = Result<Vec<Alert>, StateError>> + Send;

    /// Marks alerts as published. Marking twice, or an unknown id, does nothing.
    fn mark_published(
        &self,
        ids: &[AlertId],
    ) -> impl Future<Output = Result<(), StateError>> + Send;
}
