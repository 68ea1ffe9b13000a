//! Facts: matches that window rules count, by rule and group.

use std::collections::{BTreeMap, btree_map::Entry};

use crate::{
    copies::{CopiedEvent, keep},
    evidence::Evidence,
    ids::SharedStr,
    time::EventTime,
};

/// Identifies one group of a window rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowKey {
    /// `id` of the rule.
    pub rule: SharedStr,
    /// Group-by fields and their values.
    pub group: Vec<(SharedStr, SharedStr)>,
}

/// One match counted by a window rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// Index of the matching rule among those that the correlation lists.
    pub slot: usize,
    /// Identity of the event and its secret. The same in every copy.
    pub key: SharedStr,
    /// Event time of the match.
    pub time: EventTime,
    /// The value that is counted, for rules that count distinct values (`value_count`).
    pub value: Option<SharedStr>,
    /// For rules with a `rate_multiplier`: the smallest count that is too high for this principal
    /// and secret.
    pub least: Option<u64>,
    /// The event behind the fact.
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

/// Facts with equal ids are the same fact.
pub(crate) type FactId = (EventTime, usize, SharedStr, Option<SharedStr>);

/// Facts of one group, each kept once, with its best evidence.
#[derive(Debug, Default)]
pub struct FactSet {
    facts: BTreeMap<FactId, Fact>,
}

impl FactSet {
    /// Adds a fact. Neither the order nor repetition changes the result.
    pub fn add(&mut self, fact: Fact) {
        match self.facts.entry(fact.id()) {
            Entry::Occupied(mut known) => keep(known.get_mut(), fact),
            Entry::Vacant(place) => drop(place.insert(fact)),
        }
    }

    /// Drops facts before a time; returns whether any remain.
    pub(crate) fn forget(&mut self, before: EventTime) -> bool {
        // Time is the first part of the id, so that the oldest facts come first.
        while let Some(first) = self
            .facts
            .first_entry()
            .filter(|first| first.key().0 < before)
        {
            first.remove();
        }
        !self.facts.is_empty()
    }

    /// The facts between two times, both inclusive, in time order.
    pub fn between(&self, from: EventTime, to: EventTime) -> impl Iterator<Item = &Fact> {
        // Not a filter over all facts: a long history asks for a short range again and again. No
        // fact is before the first id of its second.
        let first = (from, 0, SharedStr::from(""), None);
        let facts = self.facts.range(first..).map(|(_, fact)| fact);
        facts.take_while(move |fact| fact.time <= to)
    }
}

/// A time range of a window rule, over all its groups; both ends inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRange {
    /// `id` of the rule.
    pub rule: SharedStr,
    /// First event time.
    pub from: EventTime,
    /// Last event time.
    pub to: EventTime,
}

/// A time range of one group of a window rule; both ends inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowRange {
    /// Rule and group.
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
