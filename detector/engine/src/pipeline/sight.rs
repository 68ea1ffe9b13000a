//! What is asked and remembered about an event before its other half is known, so that nobody waits
//! for it.

use std::sync::Arc;

use super::Pipeline;
use crate::access::{Access, Method};
use crate::correlate;
use crate::evidence::Evidence;
use crate::loose_end::LooseEnd;
use crate::observation::{Ask as Asked, KeyUse, Observation, SecretChange, SecretRead};
use crate::rule::event::OwnEvent;
use crate::rule::{Ask, Hits, Target};
use crate::seen::{self, Sighting};

impl Pipeline<'_> {
    /// What rules say of an observation that nothing else is known about.
    pub(super) fn at_sight(&self, observation: &Observation) -> Hits {
        match observation {
            Observation::Read(read) => self.read_at_sight(read),
            Observation::KeyUse(key_use) => self.key_use_at_sight(key_use),
            Observation::Change(change) => self.change_at_sight(change),
        }
    }

    fn read_at_sight(&self, read: &SecretRead) -> Hits {
        // The child of a batch looks like any other read until it is settled: who asks for
        // methods waits for that.
        if !self.selection.filter.methods.is_empty() {
            return Hits::default();
        }
        let ask = Ask {
            target: Target::Access,
            settled: false,
            // Facts are never taken back: one about a path would stay beside those about the
            // secrets that turn out to have come back.
            counts: matches!(read.ask, Asked::Named(_)),
        };
        let mut hits = Hits::default();
        for access in accesses_at_sight(read) {
            hits.append(self.judge(&access, ask, None));
        }
        hits
    }

    /// Whoever calls KMS without a service in between is not the other half of anything, so that
    /// his access is settled.
    fn key_use_at_sight(&self, key_use: &KeyUse) -> Hits {
        match &key_use.secret {
            Some(secret) if key_use.direct => {
                let row = correlate::alone(key_use, secret, Method::DirectDecrypt);
                self.judge(&row.access, Ask::settled(Target::Access), None)
            }
            _ => Hits::default(),
        }
    }

    fn change_at_sight(&self, change: &SecretChange) -> Hits {
        let secret = change.secret.as_ref();
        if !self.selection.takes_other(&change.head, secret) {
            return Hits::default();
        }
        let event = OwnEvent::change(&change.head, secret);
        let evidence = Evidence {
            head: change.head.clone(),
            secret: change.secret.clone(),
            access: None,
        };
        let ask = Ask::settled(Target::Change);
        self.rules.hits(ask, &event, &evidence)
    }
}

/// The accesses of a read as far as its own record tells. A batch tells through the reads that it
/// causes.
fn accesses_at_sight(read: &SecretRead) -> impl Iterator<Item = Arc<Access>> {
    let (method, secrets) = match &read.ask {
        Asked::Named(secrets) => (Method::Api, secrets.as_slice()),
        Asked::Path { path, .. } => (Method::ByPath, std::slice::from_ref(path)),
        Asked::History(secret) => (Method::History, std::slice::from_ref(secret)),
        Asked::Batch(_) | Asked::BatchFilters => (Method::Batch, [].as_slice()),
    };
    secrets
        .iter()
        .map(move |secret| correlate::row(read, method, secret.clone(), secret.key(), None).access)
}

/// What can be remembered of reads before their key uses are known, so that whatever is settled
/// first is judged by it.
pub(super) fn remembered_at_sight(
    observations: &[Arc<LooseEnd>],
) -> impl Iterator<Item = Sighting> {
    observations
        .iter()
        // Only the best of the copies of an event tells who it was, and another may come later.
        .filter(|end| !end.may_have_copies)
        .filter_map(|end| match &end.observation {
            Observation::Read(read) if matches!(read.ask, Asked::Named(_)) => Some(read),
            _ => None,
        })
        .flat_map(|read| accesses_at_sight(read))
        .flat_map(|access| seen::remembered(&access))
}
