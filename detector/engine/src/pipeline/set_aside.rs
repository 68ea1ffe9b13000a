//! Pending events that cannot be finalised, and how long those that can have been waiting.

use super::Pipeline;
use crate::{
    state::{DueEvents, SetAside, StateError, StateStore},
    time::EventTime,
};

impl Pipeline<'_> {
    /// Sets aside the pending event that has waited longest, or those that are stored with it,
    /// until `secs` after `now`: it cannot be finalised. `None` when none is due.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn set_aside<S: StateStore>(
        &self,
        store: &S,
        now: EventTime,
        secs: i64,
    ) -> Result<Option<SetAside>, StateError> {
        let due_since = now.plus(-self.allowed_lateness_secs);
        let DueEvents { ends, receipt } = store.due_pending_events(due_since, 1).await?;
        if ends.is_empty() {
            return Ok(None);
        }
        let since = due_since.plus(secs);
        let aside = store.set_aside_pending_events(receipt, since).await?;
        Ok(Some(aside))
    }

    /// Seconds for which the pending event that has waited longest is overdue; 0 when none is due.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn overdue_secs<S: StateStore>(
        &self,
        store: &S,
        now: EventTime,
    ) -> Result<i64, StateError> {
        let due_since = now.plus(-self.allowed_lateness_secs);
        let since = store.pending_since().await?;
        let overdue = since.map_or(0, |since| due_since.0.saturating_sub(since.0));
        Ok(overdue.max(0))
    }
}
