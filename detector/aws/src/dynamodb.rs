//! State in one DynamoDB table. Every item has a partition key `pk` and a sort key `sk`; all but
//! the permanent ones have an expiry `ttl` in epoch seconds.
//!
//! | item | `pk` | `sk` |
//! |---|---|---|
//! | facts of a window | `window#` digest of rule and first group field | segment `#` digest |
//! | rules of a window that have facts | `slots#` id of the window | hour `#` slot of the rule |
//! | pending events of a group | `pending#` digest of actor and region | segment `#event#` digest |
//! | ids of closed pending events | the same | segment `#closed#` digest |
//! | copies of events in several accounts | `shared#` sharedEventID | digest |
//! | references to due pending events | `due` | start of the wait `#` digest |
//! | the same, of many events of one actor | `due` | start of the wait `#` event time `#` digest |
//! | events that came directly | `direct` | time of arrival `#` digest |
//! | coverage | `coverage#` account `#` region | hour |
//! | hours with deliveries of an account and region | `deliveries` | account `#` region |
//! | sightings (`seen.*`) | `seen#` digest of the key | `-` |
//! | alert | `alert#` id | `-` |
//! | alert of an actor | `alerts-of#` digest of the actor | time `#` id |
//! | principals from a place | `principals-from#` digest of the place | hour `#` digest |
//! | incident that was announced | `incident#` id | `-` |
//! | decision about an incident (by the command) | `incident#` id | `decision` |
//! | incident of an actor: reference | `incidents-of#` digest of the actor | beginning `#` id |
//! | incident: reference | `incidents` | beginning `#` id |
//! | incident whose exposure is open: reference | `open-exposures` | first read `#` id |
//! | changes to the versions of a secret | `versions#` digest of its name | `change#` digest |
//! | incident that revealed it: mark | the same | `exposed-by#` beginning `#` digest of the actor |
//! | outbox note: alert for a destination | `outbox#` destination | due time `#` id |
//! | outbox note: incident for a destination | `outbox#` destination | due time `#incident#` id |
//! | outbox note of earlier versions, for all destinations | `outbox` | id |
//! | state of a destination (permanent, unless it was removed) | `destinations` | destination |
//! | note: alert to be confirmed or withdrawn | `provisional` | id |
//! | object ledger | `object#` digest of bucket and key | `-` |
//! | digests of CloudTrail that wait for their files | `digests` | time to look at it `#` digest |
//! | digests of CloudTrail whose files are accounted for | `compared#` account `#` region | end |
//! | pending events that wait for a digest | `held` | time to look at them `#` digest |
//! | time of the last object with events (permanent) | `last-object` | `-` |
//! | data of the front end (permanent) | `kept#` name | `-` |
//!
//! Content with several concurrent writers is only ever added: the digest of the content is part of
//! the key, so that no writer overwrites another. Alerts (created once), sightings (merged),
//! destinations and incidents (changed) are written conditionally. Every read is strongly
//! consistent. A *digest* is that of the content, unless stated otherwise. A *segment* is ten
//! minutes of event time. A *slot* is [`Fact::slot`], the position of a rule in its window.

mod alerts;
mod completeness;
mod coverage;
mod deliveries;
mod direct_events;
mod exposed;
mod incidents;
mod item;
mod kept;
mod keys;
mod ledger;
mod outbox;
mod pending_events;
mod seen;
mod table;
mod waiting;
mod windows;
mod written;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use aws_sdk_dynamodb::Client;
use secretrail_engine::{
    alert::{Alert, AlertId, IncidentId},
    coverage::CoverageMark,
    evidence::Evidence,
    exposure::changes::VersionChange,
    fact::{Fact, RuleRange, WindowKey, WindowRange},
    ids::SharedStr,
    incident::{announced::AnnouncedIncident, decision::IncidentDecision},
    outbox::Destination,
    pending_event::{CorrelationRange, PendingEvent},
    seen::{LookbackPeriods, SeenTimes, Sighting},
    silence::DeliveringPlace,
    state::{DueDirectEvents, DueEvents, SetAside, StateError, StateStore},
    time::EventTime,
};

use self::{
    alerts::StoredAlerts, completeness::StoredCompleteness, coverage::StoredCoverage,
    deliveries::StoredDeliveries, direct_events::StoredDirectEvents, exposed::StoredExposures,
    incidents::StoredIncidents, ledger::ObjectLedger, outbox::StoredOutbox,
    pending_events::StoredPendingEvents, seen::StoredSeenTimes, table::DynamoTable,
    windows::StoredWindows,
};
pub use self::{
    ledger::{ObjectEntry, ObjectKey, ObjectState},
    pending_events::PendingReceipt,
    table::Clock,
    windows::FactRetention,
};
use crate::retry::RetryPolicy;

/// How long items are kept, in seconds from when they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Facts: the longest window of the rules, plus the time in which late deliveries still count.
    pub facts_secs: i64,
    /// Pending events and coverage: the allowed lateness, and as long as late halves are joined.
    pub ends_secs: i64,
    /// Alerts and objects: as long as CloudTrail or a queue may redeliver.
    pub alerts_secs: i64,
    /// Sightings: the lookback of rules about novelty.
    pub seen_secs: i64,
}

impl Default for Retention {
    /// CloudTrail retries deliveries for 30 days when it cannot reach the bucket.
    fn default() -> Self {
        Self {
            facts_secs: 7 * 86_400,
            ends_secs: 2 * 86_400,
            alerts_secs: 45 * 86_400,
            seen_secs: 100 * 86_400,
        }
    }
}

/// State in a DynamoDB table.
pub struct DynamoStore {
    table: Arc<DynamoTable>,
    windows: StoredWindows,
    pending_events: StoredPendingEvents,
    coverage: StoredCoverage,
    direct_events: StoredDirectEvents,
    deliveries: StoredDeliveries,
    seen: StoredSeenTimes,
    alerts: StoredAlerts,
    outbox: Arc<StoredOutbox>,
    incidents: StoredIncidents,
    completeness: StoredCompleteness,
    exposures: StoredExposures,
    ledger: ObjectLedger,
}

impl DynamoStore {
    /// A store in an existing table, for alerts to these destinations.
    #[must_use]
    pub fn new(
        client: Client,
        table: String,
        retention: Retention,
        retry: RetryPolicy,
        clock: Clock,
        destinations: Vec<Destination>,
    ) -> Self {
        // One table for all parts, so that its calls are counted and limited together.
        let table = Arc::new(DynamoTable::new(client, table, retry, clock));
        let kept = retention.alerts_secs;
        let outbox = Arc::new(StoredOutbox::new(table.clone(), kept, destinations));
        Self {
            windows: StoredWindows::new(table.clone(), retention.facts_secs),
            pending_events: StoredPendingEvents::new(table.clone(), retention.ends_secs),
            coverage: StoredCoverage::new(table.clone(), retention.ends_secs),
            direct_events: StoredDirectEvents::new(table.clone()),
            // Shorter than alerts, which are not raised again while they are there.
            deliveries: StoredDeliveries::new(table.clone(), kept / 2),
            seen: StoredSeenTimes::new(table.clone(), retention.seen_secs),
            alerts: StoredAlerts::new(table.clone(), kept, outbox.clone()),
            incidents: StoredIncidents::new(table.clone(), kept, outbox.clone()),
            exposures: StoredExposures::new(table.clone(), kept),
            outbox,
            completeness: StoredCompleteness::new(table.clone(), retention.ends_secs),
            ledger: ObjectLedger::new(table.clone(), kept),
            table,
        }
    }

    /// Sets how long facts are kept that are written from now on.
    pub fn keep_facts_for(&self, kept: FactRetention) {
        self.windows.keep_for(kept);
    }

    /// Calls to DynamoDB so far, each try counted once.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.table.calls()
    }

    /// The name of the table.
    #[must_use]
    pub fn name(&self) -> &str {
        self.table.name()
    }

    /// For each object, whether it was already processed or skipped.
    ///
    /// # Errors
    ///
    /// The table could not be read.
    pub async fn are_done(&self, objects: &[&ObjectKey]) -> Result<Vec<bool>, StateError> {
        self.ledger.are_done(objects).await
    }

    /// For each key of a bucket, whether some version of it was processed or skipped.
    ///
    /// # Errors
    ///
    /// The table could not be read.
    pub async fn are_known(&self, bucket: &str, keys: &[String]) -> Result<Vec<bool>, StateError> {
        self.ledger.are_known(bucket, keys).await
    }

    /// Records the state of objects, replacing earlier entries.
    ///
    /// # Errors
    ///
    /// The table could not be written.
    pub async fn note_objects(&self, entries: &[ObjectEntry]) -> Result<(), StateError> {
        self.ledger.note(entries).await
    }

    /// Records that logs arrived without an object, for [`Self::last_object`].
    ///
    /// # Errors
    ///
    /// The table could not be written.
    pub async fn note_logs(&self) -> Result<(), StateError> {
        self.ledger.note_logs().await
    }

    /// Adds hours in which log files of places were delivered.
    ///
    /// # Errors
    ///
    /// The table could not be read or written.
    pub async fn note_deliveries(&self, places: Vec<DeliveringPlace>) -> Result<(), StateError> {
        self.deliveries.note(places).await
    }

    /// All places of which log files were delivered in the last weeks.
    ///
    /// # Errors
    ///
    /// The table could not be read.
    pub async fn deliveries(&self) -> Result<Vec<DeliveringPlace>, StateError> {
        self.deliveries.all().await
    }

    /// When an object with events, or logs without one, came last; `None` when none ever did.
    ///
    /// # Errors
    ///
    /// The table could not be read.
    pub async fn last_object(&self) -> Result<Option<EventTime>, StateError> {
        self.ledger.last_object().await
    }

    /// What people have decided about incidents, by their ids.
    ///
    /// # Errors
    ///
    /// The table could not be read.
    pub async fn decisions(
        &self,
        ids: &[&IncidentId],
    ) -> Result<HashMap<IncidentId, IncidentDecision>, StateError> {
        self.incidents.decisions(ids).await
    }

    /// Announced incidents, those of these ids that there are.
    ///
    /// # Errors
    ///
    /// The table could not be read.
    pub async fn incidents(
        &self,
        ids: &[&IncidentId],
    ) -> Result<Vec<AnnouncedIncident>, StateError> {
        self.incidents.of_ids(ids).await
    }

    /// Why items were set aside since the last call: they cannot be read.
    #[must_use]
    pub fn take_set_aside(&self) -> Vec<StateError> {
        self.table.take_set_aside()
    }

    /// Replaces outbox notes of earlier versions, which were for all destinations together, by
    /// notes for each: about `most` of those created before a time. Returns how many.
    ///
    /// # Errors
    ///
    /// The table could not be read or written. The next call repeats the work.
    pub async fn split_notes(
        &self,
        created_before: EventTime,
        most: usize,
    ) -> Result<usize, StateError> {
        self.outbox.split_notes(created_before, most).await
    }

    /// Stores bytes under a name, replacing earlier ones. At most about 300 KB.
    ///
    /// # Errors
    ///
    /// The table could not be written.
    pub async fn keep(&self, name: &str, content: Vec<u8>) -> Result<(), StateError> {
        kept::keep(&self.table, name, content).await
    }

    /// The bytes stored under a name; `None` when there are none.
    ///
    /// # Errors
    ///
    /// The table could not be read.
    pub async fn kept(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        kept::kept(&self.table, name).await
    }
}

impl StateStore for DynamoStore {
    type Receipt = PendingReceipt;

    async fn put_facts(&self, facts: Vec<(WindowKey, Fact)>) -> Result<(), StateError> {
        self.windows.put(facts).await
    }

    async fn facts_up_to(
        &self,
        ranges: &[WindowRange],
        most: usize,
    ) -> Result<Vec<Option<Vec<Fact>>>, StateError> {
        self.windows.facts_up_to(ranges, most).await
    }

    async fn facts_in_parts(
        &self,
        ranges: &[WindowRange],
        take: &mut (dyn FnMut(usize, Fact) + Send),
    ) -> Result<(), StateError> {
        self.windows.facts_in_parts(ranges, take).await
    }

    async fn slots(&self, ranges: &[RuleRange]) -> Result<Vec<BTreeSet<usize>>, StateError> {
        self.windows.slots(ranges).await
    }

    async fn put_pending_events(
        &self,
        ends: Vec<Arc<PendingEvent>>,
        arrived: EventTime,
    ) -> Result<(), StateError> {
        self.pending_events.put(ends, arrived).await
    }

    async fn due_pending_events(
        &self,
        since: EventTime,
        most: usize,
    ) -> Result<DueEvents<PendingReceipt>, StateError> {
        self.pending_events.due(since, most, None).await
    }

    async fn due_pending_events_after(
        &self,
        since: EventTime,
        most: usize,
        receipt: &PendingReceipt,
    ) -> Result<DueEvents<PendingReceipt>, StateError> {
        self.pending_events.due(since, most, Some(receipt)).await
    }

    async fn pending_events_in(
        &self,
        ranges: &[CorrelationRange],
    ) -> Result<Vec<Vec<Arc<PendingEvent>>>, StateError> {
        self.pending_events.within(ranges).await
    }

    async fn pending_events_sharing(
        &self,
        shared_ids: &[SharedStr],
    ) -> Result<Vec<Arc<PendingEvent>>, StateError> {
        self.pending_events.sharing(shared_ids).await
    }

    async fn close_pending_events(&self, receipt: PendingReceipt) -> Result<(), StateError> {
        self.pending_events.close(receipt).await
    }

    async fn set_aside_pending_events(
        &self,
        receipt: PendingReceipt,
        since: EventTime,
    ) -> Result<SetAside, StateError> {
        self.pending_events.set_aside(receipt, since).await
    }

    async fn pending_since(&self) -> Result<Option<EventTime>, StateError> {
        self.pending_events.since().await
    }

    async fn put_direct_events(
        &self,
        events: Vec<Evidence>,
        arrived: EventTime,
    ) -> Result<(), StateError> {
        self.direct_events.put(events, arrived).await
    }

    async fn due_direct_events(
        &self,
        until: EventTime,
        most: usize,
    ) -> Result<DueDirectEvents, StateError> {
        self.direct_events.due(until, most).await
    }

    async fn close_direct_events(&self, receipt: Vec<SharedStr>) -> Result<(), StateError> {
        self.direct_events.close(receipt).await
    }

    async fn put_version_changes(&self, changes: Vec<VersionChange>) -> Result<(), StateError> {
        self.exposures.put_changes(changes).await
    }

    async fn mark_coverage(&self, marks: Vec<CoverageMark>) -> Result<(), StateError> {
        self.coverage.mark(marks).await
    }

    async fn covered(&self, marks: &[CoverageMark]) -> Result<Vec<bool>, StateError> {
        self.coverage.covered(marks).await
    }

    async fn seen(&self, keys: &[SharedStr]) -> Result<Vec<SeenTimes>, StateError> {
        self.seen.times(keys).await
    }

    async fn put_seen(
        &self,
        times: Vec<Sighting>,
        lookback: LookbackPeriods,
    ) -> Result<(), StateError> {
        self.seen.put(times, lookback).await
    }

    async fn create_alerts(
        &self,
        alerts: Vec<Alert>,
        now: EventTime,
    ) -> Result<Vec<bool>, StateError> {
        self.alerts.create(alerts, now).await
    }

    async fn create_provisional_alerts(
        &self,
        alerts: Vec<(Alert, EventTime)>,
        now: EventTime,
    ) -> Result<Vec<bool>, StateError> {
        self.alerts.create_provisional(alerts, now).await
    }

    async fn provisional_alerts(&self, since: EventTime) -> Result<Vec<AlertId>, StateError> {
        self.alerts.provisional(since).await
    }

    async fn withdraw_alerts(
        &self,
        ids: &[AlertId],
        now: EventTime,
    ) -> Result<Vec<Alert>, StateError> {
        self.alerts.withdraw(ids, now).await
    }

    async fn retract_alerts(
        &self,
        ids: &[AlertId],
        now: EventTime,
    ) -> Result<Vec<Alert>, StateError> {
        self.alerts.retract(ids, now).await
    }
}
