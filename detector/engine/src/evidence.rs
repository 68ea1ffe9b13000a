//! Evidence: one event that an alert rests on. Windows count it, alerts show it, stores keep it.

use std::sync::Arc;

use crate::access::{Access, DecryptStatus};
use crate::ids::{SecretRef, Text};
use crate::observation::Head;

/// One event that an alert rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The record.
    pub head: Arc<Head>,
    /// The secret it is about.
    pub secret: Option<SecretRef>,
    /// The access; `None` for changes and other records.
    pub access: Option<Arc<Access>>,
}

impl Evidence {
    /// Evidence of an access.
    #[must_use]
    pub fn access(access: Arc<Access>) -> Self {
        Self {
            head: access.head.clone(),
            secret: Some(access.secret.clone()),
            access: Some(access),
        }
    }

    /// What the event is about, the same for all its copies.
    #[must_use]
    pub fn fact_key(&self) -> Text {
        match &self.access {
            Some(access) => access.fact_key(),
            None => self.head.event_key().clone(),
        }
    }

    /// Whether the key use of the access has been settled.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.access
            .as_ref()
            .is_some_and(|a| a.decrypt.status != DecryptStatus::Pending)
    }

    /// By time and event, then by what tells copies apart; for sorting.
    pub(crate) fn order(&self) -> impl Ord + '_ {
        let access = self.access.as_ref();
        (
            self.head.time,
            &self.head.event_id,
            &self.secret,
            access.map(|a| (&a.decrypt, a.method)),
            &self.head.object,
        )
    }
}
