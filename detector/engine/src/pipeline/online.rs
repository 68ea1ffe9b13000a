//! The online forms of the pipeline: batches as they arrive, and sweeps over what is due, both in
//! parts of any size. Windows are read when all parts are done, each once, however many parts have
//! touched it.

use super::{
    BatchOutcome, Pipeline,
    alerts::AlertsById,
    finalize::in_ledger_order,
    pending_alerts::{PendingAlerts, TouchedGroups},
};
use crate::{
    scan::ScanResult,
    state::{StateError, StateStore},
    time::EventTime,
};

/// Windows that parts of a batch have touched, and that are evaluated when it is complete.
#[derive(Default)]
pub struct OpenWindows {
    touched: TouchedGroups,
    /// Those of provisional alerts.
    provisional: TouchedGroups,
    /// When the first part of the batch arrived: all its events are due together.
    arrived: Option<EventTime>,
}

impl OpenWindows {
    /// Number of groups: what it takes in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.touched.len() + self.provisional.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What parts of a sweep have finalised, and the windows that they have touched.
pub struct OpenSweep<R> {
    touched: TouchedGroups,
    receipts: Vec<R>,
    events: usize,
    /// Whether nothing else is due.
    is_complete: bool,
}

impl<R> OpenSweep<R> {
    /// Number of events and of groups: what it takes in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.touched.len() + self.events
    }

    /// Whether nothing was due.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.receipts.is_empty()
    }
}

impl<R> Default for OpenSweep<R> {
    fn default() -> Self {
        Self {
            touched: TouchedGroups::default(),
            receipts: Vec::new(),
            events: 0,
            is_complete: false,
        }
    }
}

impl Pipeline<'_> {
    /// Processes a batch that arrived at `now`: creates early alerts, and stores pending events for
    /// a later [`Self::sweep`].
    ///
    /// # Errors
    ///
    /// The store failed. Running the same batch again completes the work and changes nothing twice.
    pub async fn ingest<S: StateStore>(
        &self,
        store: &S,
        scan_result: ScanResult,
        now: EventTime,
    ) -> Result<BatchOutcome, StateError> {
        let mut open = OpenWindows::default();
        let mut outcome = self.ingest_part(store, scan_result, now, &mut open).await?;
        let alerts = self.close_windows(store, open, now).await?;
        outcome.append(alerts);
        Ok(outcome)
    }

    /// Processes a part of a batch: all but the windows that must be read, which are added to
    /// `open`. So a batch of any size is processed in memory for a part of it, and each window is
    /// read once.
    ///
    /// # Errors
    ///
    /// The store failed. Running the same batch again completes the work and changes nothing twice.
    pub async fn ingest_part<S: StateStore>(
        &self,
        store: &S,
        scan_result: ScanResult,
        now: EventTime,
        open: &mut OpenWindows,
    ) -> Result<BatchOutcome, StateError> {
        let mut outcome = BatchOutcome {
            changed_secrets: self.note_version_changes(store, &scan_result).await?,
            ..BatchOutcome::default()
        };
        let mut pending_alerts = PendingAlerts::default();
        let (ends, provisional) = self
            .look_at(
                store,
                scan_result,
                Some(now),
                &mut pending_alerts,
                &mut outcome.report,
            )
            .await?;
        let arrived = *open.arrived.get_or_insert(now);
        store.put_pending_events(ends, arrived).await?;
        let alerts = self
            .alerts_of_part(store, pending_alerts, &mut open.touched)
            .await?;
        self.create_alerts(store, alerts, now, &mut outcome).await?;
        let alerts = self
            .alerts_of_part(store, provisional, &mut open.provisional)
            .await?;
        self.create_provisional(store, alerts, now, now, &mut outcome)
            .await?;
        Ok(outcome)
    }

    /// Evaluates the windows that parts of a batch have touched. Only now is the batch processed.
    ///
    /// # Errors
    ///
    /// The store failed. Running the same batch again completes the work and changes nothing twice.
    pub async fn close_windows<S: StateStore>(
        &self,
        store: &S,
        open: OpenWindows,
        now: EventTime,
    ) -> Result<BatchOutcome, StateError> {
        let mut outcome = BatchOutcome::default();
        let none = AlertsById::new();
        self.create_of(store, open.touched, none, now, &mut outcome)
            .await?;
        let none = AlertsById::new();
        let alerts = self
            .alerts_of_windows(store, open.provisional.windows, none)
            .await?;
        self.create_provisional(store, alerts, now, now, &mut outcome)
            .await?;
        Ok(outcome)
    }

    /// Finalises about `most` of the pending events whose allowed lateness has passed at `now`, the
    /// longest waiting first. Returns also whether there were any.
    ///
    /// # Errors
    ///
    /// The store failed. The next sweep repeats the work and changes nothing twice.
    pub async fn sweep<S: StateStore>(
        &self,
        store: &S,
        now: EventTime,
        most: usize,
    ) -> Result<(BatchOutcome, bool), StateError> {
        let mut open = OpenSweep::default();
        let (mut outcome, some) = self.sweep_part(store, now, most, &mut open).await?;
        outcome.append(self.close_sweep(store, open, now).await?);
        Ok((outcome, some))
    }

    /// Finalises about `most` of the pending events that are due and not in `open`, the longest
    /// waiting first. They are still due until `open` is closed. Returns also whether there were
    /// any.
    ///
    /// # Errors
    ///
    /// The store failed. The next sweep repeats the work and changes nothing twice.
    pub async fn sweep_part<S: StateStore>(
        &self,
        store: &S,
        now: EventTime,
        most: usize,
        open: &mut OpenSweep<S::Receipt>,
    ) -> Result<(BatchOutcome, bool), StateError> {
        let mut outcome = BatchOutcome::default();
        let since = now.plus(-self.allowed_lateness_secs);
        let due = match open.receipts.last() {
            Some(last) => store.due_pending_events_after(since, most, last).await?,
            None => store.due_pending_events(since, most).await?,
        };
        if due.ends.is_empty() {
            open.is_complete = true;
            return Ok((outcome, false));
        }
        let mut rows = self
            .final_rows(store, &due.ends, &mut outcome.report)
            .await?;
        self.hold_absences(store, &mut rows, &due.ends, now).await?;
        let finalized = in_ledger_order(rows);
        let mut pending_alerts = PendingAlerts::default();
        self.judge_finalized(store, finalized, &mut pending_alerts, &mut outcome)
            .await?;
        let alerts = self
            .alerts_of_part(store, pending_alerts, &mut open.touched)
            .await?;
        self.create_alerts(store, alerts, now, &mut outcome).await?;
        open.events += due.ends.len();
        open.receipts.push(due.receipt);
        Ok((outcome, true))
    }

    /// Evaluates the windows that parts of a sweep have touched, and closes their pending events.
    ///
    /// # Errors
    ///
    /// The store failed. The next sweep repeats the work and changes nothing twice.
    pub async fn close_sweep<S: StateStore>(
        &self,
        store: &S,
        open: OpenSweep<S::Receipt>,
        now: EventTime,
    ) -> Result<BatchOutcome, StateError> {
        let mut outcome = BatchOutcome::default();
        let none = AlertsById::new();
        self.create_of(store, open.touched, none, now, &mut outcome)
            .await?;
        // Only now: after a crash before this line, the same events are finalised again, with the
        // same result.
        for receipt in open.receipts {
            store.close_pending_events(receipt).await?;
        }
        if open.is_complete {
            self.withdraw_unconfirmed(store, now, &mut outcome).await?;
            self.judge_held(store, now, &mut outcome).await?;
            self.report_missing(store, now, &mut outcome).await?;
        }
        Ok(outcome)
    }
}
