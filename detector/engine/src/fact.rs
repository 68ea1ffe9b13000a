//! Facts: matches that window rules count, by window and group.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::copies::{CopiedEvent, keep};
use crate::evidence::Evidence;
use crate::ids::SharedStr;
use crate::time::EventTime;

/// The group of a window rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowKey {
    /// Id of the rule.
    pub rule: SharedStr,
    /// Fields and values of the group.
    pub group: Vec<(SharedStr, SharedStr)>,
}

/// One match counted by a window rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// Which of the rules of the window matched.
    pub slot: usize,
    /// What the fact is about: event and secret. The same in every copy.
    pub key: SharedStr,
    /// Event time.
    pub time: EventTime,
    /// What is counted, for rules that count distinct values.
    pub value: Option<SharedStr>,
    /// For rules about relative rates: the count that is too many for this principal and secret.
    pub least: Option<u64>,
    /// The event.
    pub evidence: Evidence,
}

impl Fact {
    pub(crate) fn id(&self) -> FactId {
        (self.time, self.slot, self.key.clone(), self.value.clone())
    }
}

impl CopiedEvent for Fact {
    fn rank(&self) -> impl Ord + '_ {
        self.evidence.rank()
    }
}

/// What makes two facts the same.
pub(crate) type FactId = (EventTime, usize, SharedStr, Option<SharedStr>);

/// Facts of one group, each once, with the evidence that tells most.
#[derive(Debug, Default)]
pub struct FactSet {
    facts: BTreeMap<FactId, Fact>,
}

impl FactSet {
    /// Adds a fact. The result is the same in any order and any number of times.
    pub fn add(&mut self, fact: Fact) {
        match self.facts.entry(fact.id()) {
            Entry::Occupied(mut known) => keep(known.get_mut(), fact),
            Entry::Vacant(place) => drop(place.insert(fact)),
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

/// The time in which a window rule is asked about, over all its groups; both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRange {
    /// Id of the rule.
    pub rule: SharedStr,
    /// First event time.
    pub from: EventTime,
    /// Last event time.
    pub to: EventTime,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::sample;
    use std::sync::Arc;

    fn fact(secs: i64, value: &str) -> Fact {
        Fact {
            slot: 0,
            key: "key".into(),
            time: EventTime(secs),
            value: Some(value.into()),
            least: None,
            evidence: Evidence::access(Arc::new(sample())),
        }
    }

    fn times(set: &FactSet, from: i64, to: i64) -> Vec<i64> {
        let facts = set.between(EventTime(from), EventTime(to));
        facts.map(|fact| fact.time.0).collect()
    }

    #[test]
    fn facts_are_there_once_in_the_order_of_their_times() {
        let mut set = FactSet::default();
        for fact in [fact(3, "a"), fact(1, "a"), fact(2, "b"), fact(1, "a")] {
            set.add(fact);
        }
        assert_eq!(times(&set, 0, 9), [1, 2, 3]);
        assert_eq!(times(&set, 1, 2), [1, 2]);
        // Another value is another fact, even of the same event.
        set.add(fact(1, "b"));
        assert_eq!(times(&set, 1, 1), [1, 1]);
    }

    #[test]
    fn the_better_evidence_is_kept_in_any_order() {
        let poor = fact(1, "a");
        let mut rich = poor.clone();
        Arc::make_mut(&mut rich.evidence.head).updated = true;
        for order in [[&poor, &rich], [&rich, &poor]] {
            let mut set = FactSet::default();
            order.into_iter().for_each(|fact| set.add(fact.clone()));
            let kept: Vec<&Fact> = set.between(EventTime(0), EventTime(9)).collect();
            assert_eq!(kept, [&rich]);
        }
    }

    #[test]
    fn what_is_forgotten_is_before_a_time_and_not_at_it() {
        let mut set = FactSet::default();
        [1, 2, 3].iter().for_each(|secs| set.add(fact(*secs, "a")));
        assert!(set.forget(EventTime(2)));
        assert_eq!(times(&set, 0, 9), [2, 3]);
        assert!(!set.forget(EventTime(4)));
    }
}
