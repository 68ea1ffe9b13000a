//! Copies: several records of one event, and the choice of the one to keep.
//!
//! CloudTrail delivers at least once, replaces an event by an addendum, and writes an event that
//! concerns two accounts to both, where the owner's record has less about the caller. All code that
//! keeps one of several copies uses the ranking in this module, so that the choice does not depend
//! on the order or number of deliveries.

use std::{cmp::Reverse, collections::hash_map::Entry, sync::Arc};

use ahash::{HashMap, HashSet};

use crate::{
    evidence::Evidence,
    ids::SharedStr,
    observation::{EventHeader, Observation, ReadRequest},
    pending_event::PendingEvent,
    time::EventTime,
};

/// An event that may have copies.
pub trait CopiedEvent {
    /// Of two copies, the one with the higher rank is kept. Copies of equal rank have the same
    /// content.
    fn rank(&self) -> impl Ord + '_;
}

impl CopiedEvent for EventHeader {
    fn rank(&self) -> impl Ord + '_ {
        // Names do not make a copy better; they only make the choice between equal records
        // deterministic.
        (standing(self, 0), Reverse((&self.event_id, &self.object)))
    }
}

impl CopiedEvent for PendingEvent {
    fn rank(&self) -> impl Ord + '_ {
        let head = self.observation.head();
        (
            standing(head, detail(&self.observation)),
            Reverse((&head.event_id, &head.object)),
        )
    }
}

impl CopiedEvent for Evidence {
    fn rank(&self) -> impl Ord + '_ {
        // Early evidence of an event gives way to final evidence, even if a better copy has arrived
        // in between: that copy is finalised in its turn.
        (
            self.is_finalized(),
            standing(&self.head, 0),
            Reverse(self.order()),
        )
    }
}

impl<C: CopiedEvent> CopiedEvent for Arc<C> {
    fn rank(&self) -> impl Ord + '_ {
        (**self).rank()
    }
}

/// What [`standing`] compares.
pub(crate) type Standing = (Option<EventTime>, u8, usize, usize, u64);

/// Rank of a record among copies: the update that was delivered last replaces the event; otherwise
/// the richer identity wins, then what tells more, since forms such as query results may lack
/// fields, and then the digest of the record, which depends on nothing else. `known` is how many of
/// the fields beside the header the record has.
pub(crate) fn standing(head: &EventHeader, known: usize) -> Standing {
    let updated = head.updated.then_some(head.delivered);
    (
        updated,
        head.richness(),
        known,
        fields_of(head),
        head.content,
    )
}

/// How many of the fields that a form may lack a copy has.
fn fields_of(head: &EventHeader) -> usize {
    let source = &head.source;
    let known = [
        head.error_code.is_some(),
        head.denied_by.is_some(),
        source.ip.is_some(),
        source.user_agent.is_some(),
        source.vpc_endpoint.is_some(),
    ];
    number_of(&known)
}

/// The same of the fields beside the header: what the call was about.
fn detail(observation: &Observation) -> usize {
    match observation {
        Observation::Read(read) => match &read.request {
            ReadRequest::Named(secrets) => {
                usize::from(secrets.iter().any(|secret| secret.name.is_some()))
            }
            ReadRequest::Path { path, .. } => usize::from(path.name.is_some()),
            _ => 1,
        },
        Observation::KmsDecrypt(kms_decrypt) => number_of(&[
            kms_decrypt.secret.is_some(),
            kms_decrypt.key_arn.is_some(),
            kms_decrypt.version_id.is_some(),
        ]),
        Observation::Change(change) => usize::from(change.secret.is_some()),
    }
}

fn number_of(known: &[bool]) -> usize {
    known.iter().filter(|known| **known).count()
}

/// Replaces the known copy with another one, if that one ranks higher.
pub fn keep<C: CopiedEvent>(known: &mut C, copy: C) {
    if copy.rank() > known.rank() {
        *known = copy;
    }
}

/// Removes duplicate deliveries of pending events. Copies that differ are pending events of their
/// own: they stay, and are marked as such, as is one without `sharedEventID` beside one with it.
#[must_use]
pub fn distinct(ends: Vec<Arc<PendingEvent>>) -> Vec<Arc<PendingEvent>> {
    // The digest nearly always decides. Stored beside the pointer, it can be compared without
    // following it.
    let mut ends: Vec<_> = ends
        .into_iter()
        .map(|end| (end.observation.head().event, end))
        .collect();
    ends.sort_unstable_by(|(a_event, a), (b_event, b)| {
        a_event
            .cmp(b_event)
            .then_with(|| a.id.cmp(&b.id))
            .then_with(|| b.rank().cmp(&a.rank()))
    });
    ends.dedup_by(|(later_event, later), (kept_event, kept)| {
        later_event == kept_event && later.id == kept.id
    });
    let unshared = ends
        .iter()
        .filter_map(|(_, end)| end.observation.head().unshared_event);
    let unshared: HashSet<u64> = unshared.collect();
    for copies in ends.chunk_by_mut(|(a, _), (b, _)| a == b) {
        if copies.len() > 1 || copies.iter().any(|(event, _)| unshared.contains(event)) {
            for (_, end) in copies {
                Arc::make_mut(end).may_have_copies = true;
            }
        }
    }
    ends.into_iter().map(|(_, end)| end).collect()
}

/// What records of one event have in common that stand under its own id, for [`conflicting`].
#[must_use]
pub fn claimed_event(head: &EventHeader) -> u64 {
    head.unshared_event.unwrap_or(head.event)
}

/// Number of events whose id stands on an earlier event too, of pairs of an id and
/// [`claimed_event`] in ascending order.
pub fn conflicting<I: PartialEq, E: PartialEq>(sorted: impl IntoIterator<Item = (I, E)>) -> u64 {
    let (mut conflicts, mut last) = (0, None);
    for (id, event) in sorted {
        if let Some((known, other)) = &last
            && *known == id
            && *other != event
        {
            conflicts += 1;
        }
        last = Some((id, event));
    }
    conflicts
}

/// The best copy of each event that may have copies.
#[derive(Debug, Default)]
pub struct BestCopies {
    best: HashMap<EventCopies, Arc<PendingEvent>>,
    /// [`EventHeader::unshared_event`] of copies with `sharedEventID`, with their times. A copy
    /// without it comes from a form that cannot tell, and is never better: its content would hide
    /// that the copies of other accounts are the same event.
    shared: HashMap<u64, EventTime>,
}

/// What copies share: the kind of observation, and the event. The digest of the event nearly always
/// decides.
#[derive(Debug, PartialEq, Eq, Hash)]
struct EventCopies {
    event: u64,
    kind: u8,
    /// `sharedEventID`, or the event id.
    id: SharedStr,
}

impl BestCopies {
    /// Adds a copy; events that cannot have copies are not stored.
    ///
    /// A copy may have come without the others, and then has no mark that says so. One of those has
    /// it.
    pub fn add(&mut self, end: &Arc<PendingEvent>) {
        if end.may_have_copies {
            self.keep(end);
        }
    }

    /// Adds events as a store returns them: those that came in different batches have no mark that
    /// says that they are copies.
    pub fn add_unmarked(&mut self, ends: &[Arc<PendingEvent>]) {
        let event = |end: &PendingEvent| end.observation.head().event;
        let mut known = HashSet::default();
        let repeated: HashSet<u64> = ends
            .iter()
            .map(|end| event(end))
            .filter(|event| !known.insert(*event))
            .collect();
        for end in ends {
            if end.may_have_copies || repeated.contains(&event(end)) {
                self.keep(end);
            }
        }
    }

    fn keep(&mut self, end: &Arc<PendingEvent>) {
        if let Some(unshared) = end.observation.head().unshared_event {
            self.shared.insert(unshared, end.time);
        }
        match self.best.entry(event_of(end)) {
            Entry::Occupied(mut known) => keep(known.get_mut(), end.clone()),
            Entry::Vacant(place) => drop(place.insert(end.clone())),
        }
    }

    /// Whether this is the copy of its event to keep.
    #[must_use]
    pub fn is_best(&self, end: &PendingEvent) -> bool {
        // Many logs have no copies at all, and this runs for every pending event.
        self.best.is_empty()
            || self
                .best
                .get(&event_of(end))
                .is_none_or(|best| best.id == end.id)
                && !self.shared.contains_key(&end.observation.head().event)
    }

    /// Drops copies of events before a time.
    pub fn forget(&mut self, before: EventTime) {
        self.best.retain(|_, end| end.time >= before);
        self.shared.retain(|_, time| *time >= before);
    }

    /// The copies to keep.
    pub fn into_pending_events(self) -> impl Iterator<Item = Arc<PendingEvent>> {
        self.best.into_values()
    }
}

fn event_of(end: &PendingEvent) -> EventCopies {
    let head = end.observation.head();
    EventCopies {
        event: head.event,
        kind: end.id.kind(),
        id: head.shared_id.as_ref().unwrap_or(&head.event_id).clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        access::{AccessDecrypt, AccessMethod, DecryptStatus},
        correlate,
        events_for_tests::get_secret,
        fact::{Fact, FactSet},
        observation::{Observation, SecretRead},
    };

    fn read(event_id: &str, change: impl Fn(&mut EventHeader)) -> Arc<SecretRead> {
        let mut read = get_secret(event_id, 0, "x");
        change(Arc::make_mut(&mut read.head));
        Arc::new(read)
    }

    fn end(event_id: &str, change: impl Fn(&mut EventHeader)) -> Arc<PendingEvent> {
        Arc::new(PendingEvent::new(Observation::Read(read(event_id, change))))
    }

    /// A copy with less about the caller, as in the trail of the account that owns the secret.
    fn poorer(head: &mut EventHeader) {
        let principal = Arc::make_mut(&mut head.principal);
        (principal.actor, principal.name) = (None, None);
    }

    /// Every order of a few items, each followed by all of them again.
    fn orders<T: Clone>(things: &[T]) -> Vec<Vec<T>> {
        let mut orders = vec![Vec::new()];
        for thing in things {
            let longer = |order: &Vec<T>| {
                (0..=order.len())
                    .map(|at| {
                        let mut longer = order.clone();
                        longer.insert(at, thing.clone());
                        longer
                    })
                    .collect::<Vec<_>>()
            };
            orders = orders.iter().flat_map(longer).collect();
        }
        orders
            .iter()
            .map(|order| [order, things].concat())
            .collect()
    }

    /// Event, object, and whether the caller is known.
    fn reported(
        ends: impl IntoIterator<Item = Arc<PendingEvent>>,
    ) -> BTreeSet<(String, String, bool)> {
        ends.into_iter()
            .map(|end| {
                let head = end.observation.head();
                let known = head.principal.actor.is_some();
                (head.event_id.to_string(), head.object.to_string(), known)
            })
            .collect()
    }

    fn set(reported: &[(&str, &str, bool)]) -> BTreeSet<(String, String, bool)> {
        let owned = reported
            .iter()
            .map(|(id, object, known)| ((*id).into(), (*object).into(), *known));
        owned.collect()
    }

    #[test]
    fn an_update_is_kept_before_a_richer_identity_and_that_before_a_name() {
        let update = end("e", |head| {
            poorer(head);
            (head.updated, head.object) = (true, "z".into());
        });
        let rich = end("e", |head| head.object = "y".into());
        let poor = end("e", |head| {
            poorer(head);
            head.object = "a".into();
        });
        let first = end("e", |head| head.object = "b".into());
        assert!(update.rank() > rich.rank() && rich.rank() > poor.rank());
        assert!(first.rank() > rich.rank(), "of equals the first by name");
    }

    #[test]
    fn a_copy_that_lacks_a_field_never_replaces_one_that_has_it() {
        for content in [1, 2] {
            let whole = end("e", |head| {
                head.content = content;
                head.error_code = Some("AccessDenied".into());
            });
            let poor = end("e", |head| head.content = 3 - content);
            assert!(whole.rank() > poor.rank(), "{content}");
            let mut unnamed = (*poor).clone();
            let mut read = get_secret("e", 0, "x");
            let store = crate::ids::SecretStore::SecretsManager;
            let secret = crate::ids::SecretRef::unnamed(store, crate::events_for_tests::HOME);
            read.request = ReadRequest::Named(vec![secret]);
            Arc::make_mut(&mut read.head).content = 3;
            unnamed.observation = Observation::Read(Arc::new(read));
            let unnamed = Arc::new(unnamed);
            assert!(poor.rank() > unnamed.rank());
        }
    }

    #[test]
    fn redeliveries_are_one_in_any_order_and_number() {
        let update = end("e1", |head| head.updated = true);
        let delivered = [
            end("e1", |head| head.object = "b".into()),
            end("e1", |head| head.object = "a".into()),
            end("e1", poorer),
            end("e2", |head| head.shared_id = Some("s".into())),
            update.clone(),
        ];
        for ends in orders(&delivered) {
            let kept = distinct(ends);
            assert_eq!(kept.len(), 3, "an update is not a redelivery");
            assert!(kept.contains(&update));
            assert_eq!(
                reported(
                    kept.into_iter()
                        .filter(|end| !end.observation.head().updated)
                ),
                set(&[("e1", "a", true), ("e2", "object", true)])
            );
        }
    }

    #[test]
    fn copies_that_differ_are_marked_and_one_is_best() {
        let delivered = [
            end("e1", |head| head.content = 1),
            end("e1", |head| head.content = 2),
            // The same record in another object.
            end("e1", |head| {
                (head.content, head.object) = (2, "z".into());
            }),
            // Another event under the same id.
            end("e1", |head| (head.event, head.content) = (9, 3)),
        ];
        for ends in orders(&delivered) {
            let kept = distinct(ends);
            assert_eq!(kept.len(), 3);
            let (mut marked, mut unmarked) = (BestCopies::default(), BestCopies::default());
            kept.iter().for_each(|end| marked.add(end));
            unmarked.add_unmarked(&kept);
            for best in [marked, unmarked] {
                let best = kept.iter().filter(|end| best.is_best(end));
                let best = best.map(|end| end.observation.head().content);
                assert_eq!(best.collect::<BTreeSet<_>>(), [2, 3].into());
            }
        }
    }

    #[test]
    fn the_update_that_was_delivered_last_is_kept() {
        let update = |delivered, content, change: fn(&mut EventHeader)| {
            end("e", move |head| {
                (head.updated, head.content) = (true, content);
                head.delivered = EventTime(delivered);
                change(head);
            })
        };
        let (first, last) = (update(1, 2, |_| {}), update(2, 1, poorer));
        let original = end("e", |head| head.delivered = EventTime(3));
        assert!(last.rank() > first.rank() && first.rank() > original.rank());
    }

    #[test]
    fn events_under_an_id_that_was_used_are_counted() {
        let events = [("a", 1), ("a", 1), ("b", 1), ("b", 2), ("b", 3), ("c", 3)];
        assert_eq!(conflicting(events), 2);
        assert_eq!(conflicting([("a", 1)]), 0);
    }

    #[test]
    fn one_copy_of_an_event_is_best_in_any_order_and_number() {
        let shared = |head: &mut EventHeader| head.shared_id = Some("s".into());
        let caller = end("e1", shared);
        let owner = end("e2", |head| {
            shared(head);
            poorer(head);
        });
        let (original, update) = (end("e3", |_| {}), end("e3", |head| head.updated = true));
        let alone = end("e4", |_| {});
        for ends in orders(&[&caller, &owner, &original, &update, &alone]) {
            let mut best = BestCopies::default();
            ends.iter().for_each(|end| best.add(end));
            assert!(best.is_best(&caller) && !best.is_best(&owner));
            assert!(best.is_best(&update) && !best.is_best(&original));
            assert!(best.is_best(&alone));
        }
        assert!(BestCopies::default().is_best(&owner));
    }

    #[test]
    fn a_copy_without_the_shared_id_is_never_best_beside_one_with_it() {
        let caller = end("e1", |head| {
            (head.shared_id, head.event, head.unshared_event) = (Some("s".into()), 5, Some(9));
        });
        let owner = end("e2", |head| {
            (head.shared_id, head.event, head.unshared_event) = (Some("s".into()), 5, Some(8));
            poorer(head);
        });
        // Of a query that returns neither the shared id nor all fields, and an update of it.
        let unshared = end("e1", |head| (head.event, head.content) = (9, 99));
        let update = end("e1", |head| {
            (head.event, head.content, head.updated) = (9, 98, true);
        });
        for ends in orders(&[&caller, &owner, &unshared, &update].map(Arc::clone)) {
            let kept = distinct(ends);
            assert!(kept.iter().all(|end| end.may_have_copies));
            let (mut marked, mut unmarked) = (BestCopies::default(), BestCopies::default());
            kept.iter().for_each(|end| marked.add(end));
            unmarked.add_unmarked(&kept);
            for best in [marked, unmarked] {
                let best: Vec<_> = kept.iter().filter(|end| best.is_best(end)).collect();
                assert_eq!(best, [&caller]);
            }
        }
        let ids = [&caller, &unshared].map(|end| ("e1", claimed_event(end.observation.head())));
        assert_eq!(conflicting(ids), 0);
    }

    #[test]
    fn copies_are_forgotten_with_their_time() {
        let mut best = BestCopies::default();
        let later = end("e2", |head| {
            (head.shared_id, head.time) = (Some("t".into()), EventTime(5));
        });
        best.add(&end("e1", |head| head.shared_id = Some("s".into())));
        best.add(&later);
        best.forget(EventTime(5));
        assert_eq!(best.into_pending_events().collect::<Vec<_>>(), [later]);
    }

    #[test]
    fn a_fact_keeps_what_was_finalized_in_any_order_and_number() {
        let said = |status, change: fn(&mut EventHeader)| {
            let read = read("e", change);
            let secret = crate::events_for_tests::full_secret("x");
            let mut row =
                correlate::row(&read, AccessMethod::Api, secret.clone(), secret.key(), None);
            Arc::make_mut(&mut row.access).decrypt = AccessDecrypt::only(status);
            Fact {
                slot: 0,
                key: "e".into(),
                time: EventTime(0),
                value: None,
                least: None,
                evidence: Evidence::access(row.access),
            }
        };
        let early = said(DecryptStatus::Pending, |_| {});
        let poor = said(DecryptStatus::Absent, poorer);
        let (finalized, again) = (
            said(DecryptStatus::Absent, |_| {}),
            said(DecryptStatus::Absent, |head| head.object = "z".into()),
        );
        let best_of = |facts: &[Fact]| {
            let mut set = FactSet::default();
            facts.iter().cloned().for_each(|fact| set.add(fact));
            let all: Vec<Fact> = set.between(EventTime(0), EventTime(0)).cloned().collect();
            all
        };
        for facts in orders(&[early.clone(), poor.clone(), finalized.clone(), again]) {
            assert_eq!(best_of(&facts).as_slice(), std::slice::from_ref(&finalized));
        }
        assert_eq!(best_of(&[early, poor.clone()]), [poor]);
    }
}
