//! What took the place of a version, from what is known of it.

use super::{Supersession, facts::ChangeFact};
use crate::{ids::SharedStr, time::EventTime};

/// Seconds after a change in which a read may still get the version before.
pub(super) const LAG_SECS: i64 = 60;

impl Supersession {
    pub(super) fn by(change: &ChangeFact) -> Self {
        Self {
            time: Some(change.time),
            by: change.by.clone(),
            version_id: None,
            event_id: Some(change.event_id.clone()),
            api: Some(change.api.clone()),
        }
    }

    /// By something that is not in the logs, not later than at this time.
    pub(super) fn unseen(time: Option<EventTime>, version_id: Option<SharedStr>) -> Self {
        Self {
            time,
            by: None,
            version_id,
            event_id: None,
            api: None,
        }
    }

    pub(super) fn of(self, version_id: Option<SharedStr>) -> Self {
        Self { version_id, ..self }
    }

    /// Whether reads get what it made current, without exception.
    pub(super) fn is_over(&self, now: EventTime) -> bool {
        self.time.is_none_or(|time| time.plus(LAG_SECS) < now)
    }
}
