//! Loose ends: reads, key uses and changes that wait for their other half, and the scenes in which
//! it is looked for.

use std::hash::{Hash, Hasher};

use crate::ids::SharedStr;
use crate::observation::{EventHeader, Observation};
use crate::time::EventTime;

/// What one actor did in one region: reads and key uses in it may belong together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CorrelationKey {
    fingerprint: u64,
    /// [`crate::principal::Principal::actor_key`]; empty where the record names nobody.
    pub actor: SharedStr,
    /// `awsRegion`.
    pub region: SharedStr,
}

impl CorrelationKey {
    /// The scene of an actor in a region.
    #[must_use]
    pub fn new(actor: SharedStr, region: SharedStr) -> Self {
        Self {
            fingerprint: fingerprint(&(&actor, &region)),
            actor,
            region,
        }
    }

    /// A number that is the same for the same scene, and seldom for another.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

impl Hash for CorrelationKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.fingerprint);
    }
}

/// A part of a scene: what happened in it between two times, both included.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CorrelationRange {
    /// The scene.
    pub correlation_group: CorrelationKey,
    /// First event time.
    pub from: EventTime,
    /// Last event time.
    pub to: EventTime,
}

/// A number that stands for a value in maps; made where the value is made, so that maps need not
/// follow it into memory.
fn fingerprint(value: &impl Hash) -> u64 {
    ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(value)
}

/// A read, key use or change that waits for its other half, or that others may need to find theirs.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingEvent {
    /// Identity: the same event is the same loose end, however often it is delivered.
    pub id: PendingEventId,
    /// Where its other half would be.
    pub correlation_group: CorrelationKey,
    /// Event time. This and what follows is what everybody asks of it first; it stands here so that
    /// a million of them need not be followed into memory for it.
    pub time: EventTime,
    /// When its object was delivered.
    pub delivered: EventTime,
    /// Whether there may be copies of its event: it is shared with another account, or was updated.
    pub may_have_copies: bool,
    /// The observation.
    pub observation: Observation,
}

impl PendingEvent {
    /// Puts an observation into its scene.
    #[must_use]
    pub fn new(observation: Observation) -> Self {
        let head = observation.head();
        // Records that name nobody share a scene for each region; they are few, and pair with
        // nothing of a known actor.
        let actor = head.principal.actor_key().unwrap_or_else(|| "".into());
        Self {
            id: PendingEventId::of(&observation),
            correlation_group: CorrelationKey::new(actor, head.region.clone()),
            time: head.time,
            delivered: head.delivered,
            may_have_copies: head.shared_id.is_some() || head.updated,
            observation,
        }
    }

    /// The same with fingerprints that many others have, as it happens once in 2⁶⁴ times.
    #[cfg(test)]
    pub(crate) fn colliding(mut self) -> Self {
        (self.id.fingerprint, self.correlation_group.fingerprint) = (7, 7);
        self
    }
}

/// Identity of a loose end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PendingEventId {
    fingerprint: u64,
    kind: u8,
    updated: bool,
    event_id: SharedStr,
}

impl PendingEventId {
    /// The identity of an observation.
    #[must_use]
    pub fn of(observation: &Observation) -> Self {
        match observation {
            Observation::Read(read) => Self::read(&read.head),
            Observation::KmsDecrypt(kms_decrypt) => Self::kms_decrypt(&kms_decrypt.head),
            Observation::Change(change) => Self::new(2, &change.head),
        }
    }

    /// The identity of a read.
    #[must_use]
    pub fn read(head: &EventHeader) -> Self {
        Self::new(0, head)
    }

    /// The identity of a key use.
    #[must_use]
    pub fn kms_decrypt(head: &EventHeader) -> Self {
        Self::new(1, head)
    }

    /// A number that is the same for the same identity, and seldom for another.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Read, key use or change.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// What it is made of: kind, event id, and whether it is an update. Unlike its order, the same
    /// on every machine.
    #[must_use]
    pub fn parts(&self) -> (u8, &str, bool) {
        (self.kind, &self.event_id, self.updated)
    }

    /// The identity with these parts.
    #[must_use]
    pub fn from_parts(kind: u8, event_id: SharedStr, updated: bool) -> Self {
        Self {
            fingerprint: fingerprint(&(kind, updated, &event_id)),
            kind,
            updated,
            event_id,
        }
    }

    fn new(kind: u8, head: &EventHeader) -> Self {
        Self::from_parts(kind, head.event_id.clone(), head.updated)
    }
}

impl Hash for PendingEventId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.fingerprint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_what_it_is_made_of() {
        let id = PendingEventId::from_parts(1, "e1".into(), true);
        let (kind, event_id, updated) = id.parts();
        assert_eq!(
            PendingEventId::from_parts(kind, event_id.into(), updated),
            id
        );
        assert_eq!(id.kind(), 1);
        // The read and the key use of one event id, and an event and its update, are different.
        for other in [(0, true), (1, false)] {
            let other = PendingEventId::from_parts(other.0, "e1".into(), other.1);
            assert_ne!(other, id);
            assert_ne!(other.fingerprint(), id.fingerprint());
        }
    }

    #[test]
    fn a_correlation_group_is_of_one_actor_in_one_region() {
        let correlation_group =
            |actor: &str, region: &str| CorrelationKey::new(actor.into(), region.into());
        assert_eq!(
            correlation_group("a", "r").fingerprint(),
            correlation_group("a", "r").fingerprint()
        );
        assert_ne!(correlation_group("a", "r"), correlation_group("a", "s"));
        // The two texts do not run into each other.
        assert_ne!(
            correlation_group("ab", "c").fingerprint(),
            correlation_group("a", "bc").fingerprint()
        );
    }
}
