//! What must be remembered between batches, behind one trait. Every store passes one suite of tests ([`contract`]).
//!
//! All writes are idempotent: the same batch may be written any number of times, by any number of writers.

#[cfg(any(test, feature = "testkit"))]
pub mod contract;
pub mod item_v1;
pub mod memory;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::alert::{Alert, AlertId, Evidence};
use crate::ids::Text;
use crate::limits::COVERAGE_BUCKET_SECS;
use crate::observation::{Head, Observation};
use crate::seen::{Memory, Times};
use crate::time::EventTime;

/// The group of a window rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowKey {
    /// Id of the rule.
    pub rule: Text,
    /// Fields and values of the group.
    pub group: Vec<(Text, Text)>,
}

/// One match counted by a window rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// Which of the rules of the window matched.
    pub slot: usize,
    /// What the fact is about: event and secret. The same in every copy.
    pub key: Text,
    /// Event time.
    pub time: EventTime,
    /// What is counted, for rules that count distinct values.
    pub value: Option<Text>,
    /// For rules about relative rates: the count that is too many for this principal and secret.
    pub least: Option<u64>,
    /// The event.
    pub evidence: Evidence,
}

impl Fact {
    fn id(&self) -> FactId {
        (self.time, self.slot, self.key.clone(), self.value.clone())
    }
}

/// What makes two facts the same.
type FactId = (EventTime, usize, Text, Option<Text>);

/// Facts of one group, each once, with the evidence that tells most.
#[derive(Debug, Default)]
pub struct FactSet {
    facts: BTreeMap<FactId, Fact>,
}

impl FactSet {
    /// Adds a fact. The result is the same in any order and any number of times.
    pub fn add(&mut self, fact: Fact) {
        match self.facts.entry(fact.id()) {
            Entry::Occupied(mut known) if fact.evidence.tells_more_than(&known.get().evidence) => {
                known.insert(fact);
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(place) => {
                place.insert(fact);
            }
        }
    }

    /// Forgets facts before a time, and says whether any are left.
    pub(crate) fn forget(&mut self, before: EventTime) -> bool {
        while let Some(first) = self
            .facts
            .first_entry()
            .filter(|first| first.key().0 < before)
        {
            first.remove();
        }
        !self.facts.is_empty()
    }

    /// The facts between two times, both included, in the order of their times.
    pub fn between(&self, from: EventTime, to: EventTime) -> impl Iterator<Item = &Fact> {
        self.facts
            .values()
            .filter(move |fact| (from..=to).contains(&fact.time))
    }
}

/// A part of a window: all facts of a group between two times, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowRange {
    /// The group.
    pub key: WindowKey,
    /// First event time.
    pub from: EventTime,
    /// Last event time.
    pub to: EventTime,
}

/// What one actor did in one region: reads and key uses in it may belong together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SceneKey {
    fingerprint: u64,
    /// [`crate::principal::Principal::actor_key`]; empty where the record names nobody.
    pub actor: Text,
    /// `awsRegion`.
    pub region: Text,
}

impl SceneKey {
    /// The scene of an actor in a region.
    #[must_use]
    pub fn new(actor: Text, region: Text) -> Self {
        Self {
            fingerprint: fingerprint(&(&actor, &region)),
            actor,
            region,
        }
    }
}

impl Hash for SceneKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.fingerprint);
    }
}

/// A number that stands for a value in maps; made where the value is made, so that maps need not follow it into memory.
fn fingerprint(value: &impl Hash) -> u64 {
    ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(value)
}

/// A read, key use or change that waits for its other half, or that others may need to find theirs.
#[derive(Debug, Clone, PartialEq)]
pub struct LooseEnd {
    /// Identity: the same event is the same loose end, however often it is delivered.
    pub id: LooseEndId,
    /// Where its other half would be.
    pub scene: SceneKey,
    /// Event time. This and what follows is what everybody asks of it first; it stands here so that a million of them need
    /// not be followed into memory for it.
    pub time: EventTime,
    /// When its object was delivered.
    pub delivered: EventTime,
    /// Whether there may be copies of its event: it is shared with another account, or was updated.
    pub may_have_copies: bool,
    /// The observation.
    pub observation: Observation,
}

impl LooseEnd {
    /// Puts an observation into its scene.
    #[must_use]
    pub fn new(observation: Observation) -> Self {
        let head = observation.head();
        let actor = head.principal.actor_key().unwrap_or_else(|| "".into());
        Self {
            id: LooseEndId::of(&observation),
            scene: SceneKey::new(actor, head.region.clone()),
            time: head.time,
            delivered: head.delivered,
            may_have_copies: head.shared_id.is_some() || head.updated,
            observation,
        }
    }
}

/// Identity of a loose end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LooseEndId {
    fingerprint: u64,
    kind: u8,
    updated: bool,
    event_id: Text,
}

impl LooseEndId {
    /// The identity of an observation.
    #[must_use]
    pub fn of(observation: &Observation) -> Self {
        match observation {
            Observation::Read(read) => Self::read(&read.head),
            Observation::KeyUse(key_use) => Self::key_use(&key_use.head),
            Observation::Change(change) => Self::new(2, &change.head),
        }
    }

    /// The identity of a read.
    #[must_use]
    pub fn read(head: &Head) -> Self {
        Self::new(0, head)
    }

    /// The identity of a key use.
    #[must_use]
    pub fn key_use(head: &Head) -> Self {
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

    /// What it is made of: kind, event id, and whether it is an update. Unlike its order, the same on every machine.
    #[must_use]
    pub fn parts(&self) -> (u8, &str, bool) {
        (self.kind, &self.event_id, self.updated)
    }

    /// The identity with these parts.
    #[must_use]
    pub fn from_parts(kind: u8, event_id: Text, updated: bool) -> Self {
        Self {
            fingerprint: fingerprint(&(kind, updated, &event_id)),
            kind,
            updated,
            event_id,
        }
    }

    fn new(kind: u8, head: &Head) -> Self {
        Self::from_parts(kind, head.event_id.clone(), head.updated)
    }
}

impl Hash for LooseEndId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.fingerprint);
    }
}

/// An hour in which KMS events of an account and region were seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoverageMark {
    /// `recipientAccountId`.
    pub account: Text,
    /// `awsRegion`.
    pub region: Text,
    /// Event time divided by [`COVERAGE_BUCKET_SECS`].
    pub bucket: i64,
}

impl CoverageMark {
    /// The mark of an event.
    #[must_use]
    pub fn at(account: Text, region: Text, time: EventTime) -> Self {
        Self {
            account,
            region,
            bucket: time.0.div_euclid(COVERAGE_BUCKET_SECS),
        }
    }

    /// This mark and its neighbours: one of them is enough to prove coverage.
    #[must_use]
    pub fn around(&self) -> [Self; 3] {
        [-1, 0, 1].map(|step| Self {
            bucket: self.bucket.saturating_add(step),
            ..self.clone()
        })
    }
}

/// Hours of one place, as ranges: three years without a gap are one.
#[derive(Debug, Default)]
pub struct Hours(BTreeMap<i64, i64>);

impl Hours {
    /// Adds an hour.
    pub fn add(&mut self, hour: i64) {
        if self.contains(hour) {
            return;
        }
        let end = self.0.remove(&hour.saturating_add(1)).unwrap_or(hour);
        let before = self
            .0
            .range_mut(..hour)
            .next_back()
            .filter(|(_, end)| **end == hour.saturating_sub(1));
        match before {
            Some((_, last)) => *last = end,
            None => drop(self.0.insert(hour, end)),
        }
    }

    /// Whether an hour was added.
    #[must_use]
    pub fn contains(&self, hour: i64) -> bool {
        self.0
            .range(..=hour)
            .next_back()
            .is_some_and(|(_, end)| *end >= hour)
    }
}

/// Why a store could not do its work. Nothing is half done that a retry would not complete.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StateError {
    /// Whether the same call may succeed later.
    pub retry: bool,
    /// What went wrong, naming the store and the call.
    pub message: String,
}

/// Loose ends that are due, and what to close them with.
#[derive(Debug)]
pub struct Due<R> {
    /// The loose ends, each once.
    pub ends: Vec<Arc<LooseEnd>>,
    /// For [`StateStore::close_loose_ends`].
    pub receipt: R,
}

/// What the pipeline asks of a store. Reads see every write that has returned.
pub trait StateStore: Sync {
    /// What a store needs to know to close the loose ends that it gave.
    type Receipt: Send;

    /// Adds facts to windows. A fact that is there stays, and takes over the evidence that tells more.
    fn put_facts(
        &self,
        facts: Vec<(WindowKey, Fact)>,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// The facts of each range, in any order.
    fn facts(
        &self,
        ranges: &[WindowRange],
    ) -> impl Future<Output = Result<Vec<Vec<Fact>>, StateError>> + Send;

    /// For each window, which of its rules have facts in any group between two times, or near them: more may be told than
    /// there are, never fewer. Whoever knows that a rule has none need not read the groups of the others.
    fn slots(
        &self,
        windows: &[(Text, EventTime, EventTime)],
    ) -> impl Future<Output = Result<Vec<BTreeSet<usize>>, StateError>> + Send;

    /// Adds loose ends that are not there yet. One that was closed stays closed. They wait from `arrived` on, or from
    /// their delivery if that is later: what comes late gives its other half as much time as what came in time.
    fn put_loose_ends(
        &self,
        ends: Vec<Arc<LooseEnd>>,
        arrived: EventTime,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Open loose ends that have waited since `since` or longer, in any order. A store may give a part of them, about as
    /// many as `most`, those that have waited longest; nothing is given only when nothing is due.
    fn due_loose_ends(
        &self,
        since: EventTime,
        most: usize,
    ) -> impl Future<Output = Result<Due<Self::Receipt>, StateError>> + Send;

    /// For each scene, every loose end, open or closed, with an event time in the range, both ends included.
    fn loose_ends_in(
        &self,
        scenes: &[(SceneKey, EventTime, EventTime)],
    ) -> impl Future<Output = Result<Vec<Vec<Arc<LooseEnd>>>, StateError>> + Send;

    /// Every loose end with one of these `sharedEventID`s: the copies of an event in other accounts.
    fn loose_ends_sharing(
        &self,
        shared_ids: &[Text],
    ) -> impl Future<Output = Result<Vec<Arc<LooseEnd>>, StateError>> + Send;

    /// Closes the loose ends of a receipt: they are not due any more, but are still found by scene. Closing twice does
    /// nothing.
    fn close_loose_ends(
        &self,
        receipt: Self::Receipt,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Remembers that KMS events were seen.
    fn mark_coverage(
        &self,
        marks: Vec<CoverageMark>,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// For each mark, whether it was remembered.
    fn covered(
        &self,
        marks: &[CoverageMark],
    ) -> impl Future<Output = Result<Vec<bool>, StateError>> + Send;

    /// For each key, the times that were remembered under it; none for a key that never was.
    fn seen(&self, keys: &[Text]) -> impl Future<Output = Result<Vec<Times>, StateError>> + Send;

    /// Remembers times under keys. A store may forget what is older than the memory asks for, but not the first time of
    /// a key.
    fn put_seen(
        &self,
        times: Vec<(Text, EventTime)>,
        memory: Memory,
    ) -> impl Future<Output = Result<(), StateError>> + Send;

    /// Creates alerts that are not there yet, and says for each whether it was created now. Of several writers at once,
    /// one is told so.
    fn create_alerts(
        &self,
        alerts: Vec<Alert>,
        now: EventTime,
    ) -> impl Future<Output = Result<Vec<bool>, StateError>> + Send;

    /// Alerts that were created before a time and not yet marked as published, in any order. A store may give a part of
    /// them, about as many as `most`; nothing is given only when there are none.
    fn unpublished(
        &self,
        created_before: EventTime,
        most: usize,
    ) -> impl Future<Output = Result<Vec<Alert>, StateError>> + Send;

    /// Marks alerts as published. Marking twice, or what is not there, does nothing.
    fn mark_published(
        &self,
        ids: &[AlertId],
    ) -> impl Future<Output = Result<(), StateError>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_those_that_were_added_in_any_order() {
        let added = [5, 3, 4, 9, -1, 3, 0, 8, 7];
        let mut hours = Hours::default();
        added.iter().for_each(|hour| hours.add(*hour));
        assert_eq!(
            (-3..12)
                .filter(|hour| hours.contains(*hour))
                .collect::<Vec<_>>(),
            [-1, 0, 3, 4, 5, 7, 8, 9]
        );
        assert_eq!(
            hours.0.into_iter().collect::<Vec<_>>(),
            [(-1, 0), (3, 5), (7, 9)]
        );
    }
}
