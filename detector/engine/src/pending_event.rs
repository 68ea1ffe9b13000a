//! Pending events: reads, KMS Decrypts and changes whose other half has not been seen yet, and the
//! correlation groups in which it is searched.

use std::hash::{Hash, Hasher};

use crate::{
    ids::SharedStr,
    observation::{EventHeader, Observation},
    time::EventTime,
};

/// A correlation group: one actor in one region. Only events of the same group can be joined.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CorrelationKey {
    fingerprint: u64,
    /// [`crate::principal::Principal::actor_key`]; empty when the record identifies nobody.
    pub actor: SharedStr,
    /// `awsRegion`.
    pub region: SharedStr,
}

impl CorrelationKey {
    /// The group of an actor in a region.
    #[must_use]
    pub fn new(actor: SharedStr, region: SharedStr) -> Self {
        Self {
            fingerprint: fingerprint(&(&actor, &region)),
            actor,
            region,
        }
    }

    /// A hash of the key; different groups rarely share one.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

impl Hash for CorrelationKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.fingerprint);
    }
}

/// A time range of a correlation group; both ends inclusive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CorrelationRange {
    /// The group.
    pub correlation_group: CorrelationKey,
    /// First event time.
    pub from: EventTime,
    /// Last event time.
    pub to: EventTime,
}

/// A hash for use in maps. It is computed once and stored beside the value, so that map lookups
/// need not follow pointers.
fn fingerprint(value: &impl Hash) -> u64 {
    // Fixed seeds: keys are made at different times, and equal ones must have equal fingerprints.
    ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(value)
}

/// A read, KMS Decrypt or change that waits for its other half, or that others may need to find
/// theirs.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingEvent {
    /// Identity; the same for every delivery of the same record.
    pub id: PendingEventId,
    /// The group in which its other half would be.
    pub correlation_group: CorrelationKey,
    /// Event time. This field and the next two repeat parts of `observation`, so that scanning a
    /// million pending events need not follow its pointers.
    pub time: EventTime,
    /// Delivery time of its object; the event time when the object name has none.
    pub delivered: EventTime,
    /// Whether its event may have copies: it is shared with another account, is an update, or
    /// another record of it is known.
    pub may_have_copies: bool,
    /// The observation.
    pub observation: Observation,
}

impl PendingEvent {
    /// Assigns an observation to its correlation group.
    #[must_use]
    pub fn new(observation: Observation) -> Self {
        let head = observation.head();
        // Records that identify nobody share one group per region; they are few, and never pair
        // with events of a known actor.
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

    /// Since when it waits for its other half, if it arrived then: from its delivery on, or from a
    /// later arrival, so that the other half, which may be as late, has as much time.
    #[must_use]
    pub fn waits_since(&self, arrived: EventTime) -> EventTime {
        if self.is_ahead_of(arrived) {
            // Dated by a broken clock, or by somebody who would rather have it never finalised.
            arrived
        } else {
            self.delivered.max(arrived)
        }
    }

    /// Whether it is dated more than a day after its arrival.
    #[must_use]
    pub fn is_ahead_of(&self, arrived: EventTime) -> bool {
        // What did not arrive at a time of its own is part of a history.
        arrived.0 != i64::MIN && self.delivered.is_ahead_of(arrived)
    }

    /// The same with fingerprints that others share, as happens once in 2⁶⁴ times.
    #[cfg(test)]
    pub(crate) fn colliding(mut self) -> Self {
        (self.id.fingerprint, self.correlation_group.fingerprint) = (7, 7);
        self
    }
}

/// Identity of a pending event: kind, event id, whether it is an update, and the digest of its
/// record. Records of one event that differ are pending events of their own, so that the choice
/// between them does not depend on which came first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PendingEventId {
    fingerprint: u64,
    kind: u8,
    updated: bool,
    event_id: SharedStr,
    content: u64,
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

    /// The identity of a KMS Decrypt.
    #[must_use]
    pub fn kms_decrypt(head: &EventHeader) -> Self {
        Self::new(1, head)
    }

    /// A hash of the identity; different identities rarely share one.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Kind of observation: 0 for a read, 1 for a KMS Decrypt, 2 for a change.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// Kind (see [`Self::kind`]), event id, whether it is an update, and the digest of its record
    /// ([`EventHeader::content`]). Unlike the order of ids, these are the same on every machine.
    #[must_use]
    pub fn parts(&self) -> (u8, &str, bool, u64) {
        (self.kind, &self.event_id, self.updated, self.content)
    }

    /// Rebuilds an identity from its [`Self::parts`].
    #[must_use]
    pub fn from_parts(kind: u8, event_id: SharedStr, updated: bool, content: u64) -> Self {
        Self {
            fingerprint: fingerprint(&(kind, updated, &event_id, content)),
            kind,
            updated,
            event_id,
            content,
        }
    }

    fn new(kind: u8, head: &EventHeader) -> Self {
        Self::from_parts(kind, head.event_id.clone(), head.updated, head.content)
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
    use crate::limits::DAY_SECS;

    #[test]
    fn an_identity_is_what_it_is_made_of() {
        let id = PendingEventId::from_parts(1, "e1".into(), true, 7);
        let (kind, event_id, updated, content) = id.parts();
        assert_eq!(
            PendingEventId::from_parts(kind, event_id.into(), updated, content),
            id
        );
        assert_eq!(id.kind(), 1);
        // The read and the KMS Decrypt of one event id, an event and its update, and records with
        // other content are different.
        for other in [(0, true, 7), (1, false, 7), (1, true, 8)] {
            let other = PendingEventId::from_parts(other.0, "e1".into(), other.1, other.2);
            assert_ne!(other, id);
            assert_ne!(other.fingerprint(), id.fingerprint());
        }
    }

    #[test]
    fn a_date_more_than_a_day_ahead_does_not_keep_an_event_waiting() {
        let mut event = (*crate::state::contract::end("e1", 100, "ann")).clone();
        let mut since = |delivered, arrived| {
            event.delivered = EventTime(delivered);
            event.waits_since(EventTime(arrived)).0
        };
        assert_eq!(since(100, 90), 100);
        assert_eq!(since(100, 110), 110);
        assert_eq!(since(90 + DAY_SECS, 90), 90 + DAY_SECS);
        assert_eq!(since(91 + DAY_SECS, 90), 90);
        assert_eq!(since(100, i64::MIN), 100);
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
        // The boundary between the two texts counts.
        assert_ne!(
            correlation_group("ab", "c").fingerprint(),
            correlation_group("a", "bc").fingerprint()
        );
    }
}
