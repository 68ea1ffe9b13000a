//! What the services say of a revealed version now: later than any log, and without who did it.

use super::{Exposure, VersionStatus};
use crate::{ids::SharedStr, time::EventTime};

/// What a service says of the versions of a secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveSecret {
    /// Its current version; of a parameter, the latest. `None` where the service names none.
    pub current: Option<SharedStr>,
    /// When that was created: it became current then, or later. `None` where the service does not
    /// say.
    pub since: Option<EventTime>,
    /// The version with the stage `AWSPREVIOUS`; `None` without one, and of parameters.
    pub previous: Option<SharedStr>,
    /// Whether it is deleted, or scheduled to be.
    pub is_deleted: bool,
    /// Regions in which it has a copy now, sorted.
    pub replicas: Vec<SharedStr>,
}

/// What a service says of a revealed version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveVersion {
    /// When the service was asked.
    pub asked: EventTime,
    /// What the version is then.
    pub status: VersionStatus,
    /// The version that is current then; `None` where the service names none.
    pub current: Option<SharedStr>,
    /// When that was created.
    pub since: Option<EventTime>,
    /// Regions in which the secret has a copy then, sorted.
    pub replicas: Vec<SharedStr>,
}

impl Exposure {
    /// Adds what the service says of its secret.
    pub fn see_live(&mut self, secret: LiveSecret, asked: EventTime) {
        self.live = Some(LiveVersion {
            asked,
            status: self.live_status(&secret),
            current: secret.current,
            since: secret.since,
            replicas: secret.replicas,
        });
    }

    fn live_status(&self, secret: &LiveSecret) -> VersionStatus {
        let own = self.secret.version_id.as_deref();
        // A version that is not known was read while another than one made later was current.
        let is_newer = own.is_none() && secret.since.is_some_and(|since| since > self.last);
        if secret.is_deleted {
            VersionStatus::Deleted
        } else if own.is_some() && own == secret.current.as_deref() {
            VersionStatus::Current
        } else if own.is_some() && own == secret.previous.as_deref() {
            VersionStatus::Previous
        } else if secret.current.is_some() && (own.is_some() || is_newer) {
            VersionStatus::Superseded
        } else {
            VersionStatus::Unknown
        }
    }
}
