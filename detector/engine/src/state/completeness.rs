//! What a store keeps for the comparison of digests with the files that were processed.

use std::{future::Future, sync::Arc};

use crate::{
    completeness::{ComparedDigest, DigestRange, WaitingDigest},
    ids::SharedStr,
    pending_event::PendingEvent,
    state::StateError,
    time::EventTime,
};

/// Digests that are due, and a receipt to close them with.
#[derive(Debug, Default)]
pub struct DueDigests {
    /// The digests, some of them perhaps more than once.
    pub digests: Vec<WaitingDigest>,
    /// For [`CompletenessStore::close_digests`].
    pub receipt: Vec<SharedStr>,
}

/// Held events that are due, and a receipt to close them with.
#[derive(Debug, Default)]
pub struct DueHeldEvents {
    /// The events, some of them perhaps more than once.
    pub ends: Vec<Arc<PendingEvent>>,
    /// For [`CompletenessStore::close_held_events`].
    pub receipt: Vec<SharedStr>,
}

/// What the completeness check needs from a store. Reads see every write that has returned.
pub trait CompletenessStore: Sync {
    /// Notes digests whose files are to be looked for at a time. Noting one again, for another
    /// time, may return it twice.
    fn put_digests(
        &self,
        digests: Vec<WaitingDigest>,
        look_at: EventTime,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// The digests that were to be looked at until a time and are not closed, the longest due
    /// first. A store may return only some of them, about `most`; none only when there are none.
    fn due_digests(
        &self,
        until: EventTime,
        most: usize,
    ) -> impl Future<Output = Result<DueDigests, StateError>> + Send;

    /// Closes the digests of a receipt. Closing twice does nothing.
    fn close_digests(
        &self,
        receipt: Vec<SharedStr>,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Records digests all of whose files are accounted for.
    fn put_compared(
        &self,
        digests: Vec<ComparedDigest>,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// For each range, the recorded digests of its account and region whose end is in it, in any
    /// order. A store may have dropped those that ended days ago.
    fn compared(
        &self,
        ranges: &[DigestRange],
    ) -> impl Future<Output = Result<Vec<Vec<ComparedDigest>>, StateError>> + Send;

    /// Holds events whose other half is missing, to be looked at again at a time. Holding one
    /// again, for another time, may return it twice.
    fn hold_events(
        &self,
        ends: Vec<Arc<PendingEvent>>,
        look_at: EventTime,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// The held events that were to be looked at until a time and are not closed, the longest due
    /// first. A store may return only some of them, about `most`; none only when there are none.
    fn due_held_events(
        &self,
        until: EventTime,
        most: usize,
    ) -> impl Future<Output = Result<DueHeldEvents, StateError>> + Send;

    /// Closes the held events of a receipt. Closing twice does nothing.
    fn close_held_events(
        &self,
        receipt: Vec<SharedStr>,
    ) -> impl Future<Output = Result<(), StateError>> + Send;
}
