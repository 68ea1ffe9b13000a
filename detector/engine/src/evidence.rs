//! Evidence: one event behind an alert. Windows count it, alerts show it, stores keep it.

use std::sync::Arc;

use crate::{
    access::{Access, DecryptStatus},
    digest::short_digest,
    ids::{SecretRef, SharedStr},
    observation::EventHeader,
};

/// One event behind an alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Header of the record.
    pub head: Arc<EventHeader>,
    /// The secret concerned, if any.
    pub secret: Option<SecretRef>,
    /// The access; `None` for changes and other records.
    pub access: Option<Arc<Access>>,
}

impl Evidence {
    /// Evidence from an access.
    #[must_use]
    pub fn access(access: Arc<Access>) -> Self {
        Self {
            head: access.head.clone(),
            secret: Some(access.secret.clone()),
            access: Some(access),
        }
    }

    /// Evidence from a change or another record, with the secret concerned, if any.
    #[must_use]
    pub fn event(head: Arc<EventHeader>, secret: Option<SecretRef>) -> Self {
        Self {
            head,
            secret,
            access: None,
        }
    }

    /// Identity of the event and, for accesses, its secret; the same for all copies.
    #[must_use]
    pub fn fact_key(&self) -> SharedStr {
        match &self.access {
            Some(access) => access.fact_key(),
            None => self.head.event_key(),
        }
    }

    /// Whether it is an access whose Decrypt status is final (no longer `pending`).
    #[must_use]
    pub fn is_finalized(&self) -> bool {
        self.access
            .as_ref()
            .is_some_and(|a| a.decrypt.status != DecryptStatus::Pending)
    }

    /// Digest of its place in the order: equal where the evidence is the same.
    pub(crate) fn order_digest(&self) -> u64 {
        let head = &*self.head;
        let event = format!("{} {:x} {:x}", head.time.0, head.event, head.content);
        let access = self.access.as_ref();
        let access = access.map(|a| (&a.decrypt, a.method));
        let about = format!("{:?} {access:?}", self.secret);
        short_digest(&[&head.event_id, &event, &about, &head.object])
    }

    /// Sort key: time and event id, then the fields that distinguish copies.
    pub(crate) fn order(&self) -> impl Ord + '_ {
        let access = self.access.as_ref();
        (
            self.head.time,
            (&self.head.event_id, self.head.event, self.head.content),
            &self.secret,
            access.map(|a| (&a.decrypt, a.method)),
            &self.head.object,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::{self, AccessDecrypt},
        copies::CopiedEvent,
    };

    fn sample(status: DecryptStatus) -> Evidence {
        Evidence::access(Arc::new(Access {
            decrypt: AccessDecrypt::only(status),
            ..access::sample()
        }))
    }

    fn with_head(evidence: &Evidence, change: impl Fn(&mut EventHeader)) -> Evidence {
        let mut evidence = evidence.clone();
        change(Arc::make_mut(&mut evidence.head));
        evidence
    }

    #[test]
    fn of_two_copies_the_finalized_one_ranks_higher_then_the_update_then_the_first() {
        let (pending, finalized) = (
            sample(DecryptStatus::Pending),
            sample(DecryptStatus::Unknown),
        );
        let updated = with_head(&pending, |head| head.updated = true);
        assert!(finalized.rank() > updated.rank());
        assert!(updated.rank() > pending.rank());
        // Of equal copies the same one is kept, whichever comes first.
        let later = with_head(&pending, |head| head.object = "b.json".into());
        assert!(pending.rank() > later.rank());
    }

    #[test]
    fn what_it_is_about_does_not_change_when_the_kms_decrypt_is_known() {
        let (pending, finalized) = (
            sample(DecryptStatus::Pending),
            sample(DecryptStatus::Paired),
        );
        assert_eq!(pending.fact_key(), finalized.fact_key());
        let record = Evidence::event(pending.head.clone(), None);
        assert_eq!(record.fact_key(), pending.head.event_key());
        assert!(!record.is_finalized());
    }

    #[test]
    fn evidence_is_in_the_order_of_times_then_events() {
        let evidence = |secs, event_id: &str| {
            let mut evidence = sample(DecryptStatus::Paired);
            let head = Arc::make_mut(&mut evidence.head);
            (head.time, head.event_id) = (crate::time::EventTime(secs), event_id.into());
            evidence
        };
        let sorted = [evidence(1, "b"), evidence(2, "a"), evidence(2, "b")];
        assert!(sorted.is_sorted_by(|a, b| a.order() < b.order()));
        // One event about two secrets: ordered by secret, not a copy.
        let mut other = evidence(1, "b");
        other.secret = None;
        assert!(other.order() != sorted[0].order());
    }
}
