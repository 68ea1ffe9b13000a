//! State that is kept between batches, behind one trait. Every store passes the same tests
//! ([`contract`]).
//!
//! All writes are idempotent: the same batch may be written any number of times, by any number of
//! writers.

pub mod completeness;
#[cfg(any(test, feature = "testkit"))]
pub mod contract;
pub mod item_v1;
pub mod memory;

use std::{collections::BTreeSet, future::Future, sync::Arc};

use self::completeness::CompletenessStore;
use crate::{
    actor::{Actor, ActorKey},
    alert::{Alert, AlertId, IncidentId},
    coverage::CoverageMark,
    evidence::Evidence,
    exposure::changes::{SecretName, VersionChange},
    fact::{Fact, RuleRange, WindowKey, WindowRange},
    ids::SharedStr,
    incident::announced::AnnouncedIncident,
    outbox::{DestinationState, OutboxNote, WaitingMessage},
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
    /// Whether the store has content that cannot be read: a retry fails in the same way.
    pub unreadable: bool,
}

impl StateError {
    /// A call failed.
    #[must_use]
    pub fn new(message: String) -> Self {
        Self {
            message,
            unreadable: false,
        }
    }

    /// Stored content cannot be read.
    #[must_use]
    pub fn unreadable(message: String) -> Self {
        Self {
            message,
            unreadable: true,
        }
    }
}

/// What became of due events that were to be set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetAside {
    /// They are due later: so many events, or groups of events.
    Later(usize),
    /// They were stored together, and are stored one by one now: of the next that are due, fewer
    /// can be asked for.
    Separated,
}

/// Pending events that are due, and a receipt to close them with.
#[derive(Debug)]
pub struct DueEvents<R> {
    /// The pending events, each once.
    pub ends: Vec<Arc<PendingEvent>>,
    /// For [`StateStore::close_pending_events`].
    pub receipt: R,
}

/// Events that came directly and are due, and a receipt to close them with.
#[derive(Debug, Default)]
pub struct DueDirectEvents {
    /// The events, some of them perhaps more than once.
    pub events: Vec<Evidence>,
    /// For [`StateStore::close_direct_events`].
    pub receipt: Vec<SharedStr>,
}

/// What the pipeline needs from a store. Reads see every write that has returned.
pub trait StateStore: CompletenessStore {
    /// What a store needs to close the pending events that it returned.
    type Receipt: Send;

    /// Adds facts to windows. An existing fact stays, and takes over richer evidence.
    fn put_facts(
        &self,
        facts: Vec<(WindowKey, Fact)>,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// The facts of each range, in any order; `None` for ranges that are left out, so that not many
    /// more than `most` facts are in memory. Those are read with [`Self::facts_in_parts`].
    fn facts_up_to(
        &self,
        ranges: &[WindowRange],
        most: usize,
    ) -> impl Future<Output = Result<Vec<Option<Vec<Fact>>>, StateError>> + Send;

    /// Passes on the facts of ranges one by one, each with the index of its range, in any order. A
    /// fact that was written several times may be passed on as often, each time with the evidence
    /// that it was written with.
    fn facts_in_parts(
        &self,
        ranges: &[WindowRange],
        take: &mut (dyn FnMut(usize, Fact) + Send),
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// The facts of each range, in any order, however many there are.
    fn facts(
        &self,
        ranges: &[WindowRange],
    ) -> impl Future<Output = Result<Vec<Vec<Fact>>, StateError>> + Send {
        async {
            let found = self.facts_up_to(ranges, usize::MAX).await?;
            Ok(found.into_iter().map(Option::unwrap_or_default).collect())
        }
    }

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

    /// Like [`Self::due_pending_events`], of those that come after the ones of a receipt, which are
    /// still open.
    fn due_pending_events_after(
        &self,
        since: EventTime,
        most: usize,
        receipt: &Self::Receipt,
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

    /// Lets the events of a receipt wait as if since a time, or stores them one by one if they are
    /// stored together. For events that cannot be finalised: they are not lost, and not in the way.
    fn set_aside_pending_events(
        &self,
        receipt: Self::Receipt,
        since: EventTime,
    ) -> impl Future<Output = Result<SetAside, StateError>> + Send;

    /// Since when the open event that has waited longest is pending; `None` when none is open. A
    /// store may take one for open that was closed.
    fn pending_since(&self) -> impl Future<Output = Result<Option<EventTime>, StateError>> + Send;

    /// Notes events that came directly at a time, to be looked for in the files later. Noting one
    /// again, at another time, may return it twice.
    fn put_direct_events(
        &self,
        events: Vec<Evidence>,
        arrived: EventTime,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// The events that came directly at a time or before and are not closed, those that came first
    /// first. A store may return only some of them, about `most`; none only when there are none.
    fn due_direct_events(
        &self,
        until: EventTime,
        most: usize,
    ) -> impl Future<Output = Result<DueDirectEvents, StateError>> + Send;

    /// Closes the events of a receipt. Closing twice does nothing.
    fn close_direct_events(
        &self,
        receipt: Vec<SharedStr>,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Adds changes to the versions of secrets. Adding one again changes nothing.
    fn put_version_changes(
        &self,
        changes: Vec<VersionChange>,
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
    /// thereby confirmed. What is kept of an alert that exists is [`Alert::followed_by`]; if that
    /// is another form, it is to be grouped again.
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

    /// Withdraws alerts that exist, provisional or not, which are then to be published again;
    /// returns those that this call has withdrawn. Those that were withdrawn before are left alone.
    fn retract_alerts(
        &self,
        ids: &[AlertId],
        now: EventTime,
    ) -> impl Future<Output = Result<Vec<Alert>, StateError>> + Send;
}

/// What a front end needs that publishes alerts and incidents. Such a store is made with its
/// destinations: an alert is created, or withdrawn, together with a note for each of them that
/// takes it.
pub trait OutboxStore: StateStore {
    /// What is to be published to a destination, whose notes are due before a time, the longest due
    /// first. A store may return only some of them, about `most`; none only when there are none.
    fn outbox(
        &self,
        destination: &str,
        due_before: EventTime,
        most: usize,
    ) -> impl Future<Output = Result<Vec<WaitingMessage>, StateError>> + Send;

    /// Since when the oldest of the notes of a destination waits ([`OutboxNote::waits_since`]), due
    /// or not; `None` without notes.
    /// A store may look at the first hundred only.
    fn oldest_note(
        &self,
        destination: &str,
    ) -> impl Future<Output = Result<Option<EventTime>, StateError>> + Send;

    /// Removes notes. An unknown note is ignored.
    fn remove_notes(
        &self,
        notes: &[OutboxNote],
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Replaces notes, each by one of the same topic and destination. A note that is not there is
    /// ignored.
    fn replace_notes(
        &self,
        notes: Vec<(OutboxNote, OutboxNote)>,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Removes about `most` notes of a destination, whatever they are about; returns how many.
    fn drop_notes(
        &self,
        destination: &str,
        most: usize,
    ) -> impl Future<Output = Result<usize, StateError>> + Send;

    /// All destinations for which there may be notes, in the order of their ids.
    fn destinations(
        &self,
    ) -> impl Future<Output = Result<Vec<DestinationState>, StateError>> + Send;

    /// Writes the state of a destination, unless another writer has changed it since it was read;
    /// returns whether it was written. The store counts the version up.
    fn change_destination(
        &self,
        state: &DestinationState,
    ) -> impl Future<Output = Result<bool, StateError>> + Send;
}

/// A time span of what is known of an actor, both ends inclusive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorRange {
    /// The actor.
    pub actor: ActorKey,
    /// The first time.
    pub from: EventTime,
    /// The last time.
    pub to: EventTime,
}

/// That the incident of an actor that begins at a time has revealed versions of a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExposedMark {
    /// The secret.
    pub secret: SecretName,
    /// The actor.
    pub actor: ActorKey,
    /// When the incident began, as far as was known.
    pub first: EventTime,
}

/// What incidents are made from. Alerts are found by their actors from when they are created until
/// they are withdrawn.
pub trait IncidentStore: OutboxStore {
    /// For each range, the alerts about the actor whose time is in it, in any order. They may lack
    /// their accesses, and all events but the first.
    fn alerts_about(
        &self,
        ranges: &[ActorRange],
    ) -> impl Future<Output = Result<Vec<Vec<Alert>>, StateError>> + Send;

    /// For each range, whose actor is an address, a network or a VPC endpoint, the principals whose
    /// alerts come from there and have a time in it: possibly too many, never too few.
    fn principals_from(
        &self,
        ranges: &[ActorRange],
    ) -> impl Future<Output = Result<Vec<Vec<Actor>>, StateError>> + Send;

    /// For each range, the incidents of the actor that were announced and begin in it.
    fn announced(
        &self,
        ranges: &[ActorRange],
    ) -> impl Future<Output = Result<Vec<Vec<AnnouncedIncident>>, StateError>> + Send;

    /// Writes incidents, in any order, each unless another writer has changed it since it was read,
    /// with notes for the destinations that take it, which replace those of
    /// [`AnnouncedIncident::replaces`]; returns for each whether it was written. The store counts
    /// the versions up.
    fn announce(
        &self,
        incidents: &[AnnouncedIncident],
    ) -> impl Future<Output = Result<Vec<bool>, StateError>> + Send;

    /// The changes to the versions of secrets, in any order, some perhaps more than once.
    fn version_changes(
        &self,
        secrets: &[SecretName],
    ) -> impl Future<Output = Result<Vec<VersionChange>, StateError>> + Send;

    /// Notes incidents by the secrets that they revealed. Noting one again changes nothing.
    fn mark_exposed(
        &self,
        marks: Vec<ExposedMark>,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// The notes about secrets, in any order.
    fn exposed_by(
        &self,
        secrets: &[SecretName],
    ) -> impl Future<Output = Result<Vec<ExposedMark>, StateError>> + Send;

    /// Incidents that stand, and whose exposure is open since a time or longer
    /// ([`AnnouncedIncident::exposure`]), at most so many, the oldest first.
    fn open_exposures(
        &self,
        since: EventTime,
        most: usize,
    ) -> impl Future<Output = Result<Vec<IncidentId>, StateError>> + Send;
}
