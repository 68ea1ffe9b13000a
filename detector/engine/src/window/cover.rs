//! Facts of rules whose alerts a correlation covers: those outside its matches raise alerts of
//! their own rule, the others do not. Both follow from the set of facts alone, whatever their
//! order; but unlike a window, a single alert may have to be withdrawn when more facts come.

use std::collections::{BTreeMap, BTreeSet};

use super::{WindowTally, ends_window, sorted};
use crate::{
    fact::{Fact, WindowKey},
    ids::SharedStr,
    rule::{WindowRule, cover::CoveredRule},
    time::EventTime,
};

/// Values of the fields that a rule groups by.
type Group = Vec<(SharedStr, SharedStr)>;

/// The facts of a covered rule in a time range.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct SplitFacts {
    /// Facts outside every match of the correlation, by group of their own rule, in time order.
    pub(crate) alone: BTreeMap<Group, Vec<Fact>>,
    /// Groups and buckets of the facts within a match.
    pub(crate) covered: BTreeSet<(Group, i64)>,
}

/// Splits the facts of a covered rule. `facts` must be all those of one group of the correlation
/// from a span of it before `from` to a span after `to`; only facts from `from` to `to` (both
/// inclusive) are in the result.
#[must_use]
pub(crate) fn split(
    correlation: &WindowRule,
    (covered, rule): (&CoveredRule, &WindowRule),
    (key, facts): (&WindowKey, &[Fact]),
    (from, to): (EventTime, EventTime),
) -> SplitFacts {
    let sorted = sorted(facts);
    let is_matched = in_matches(correlation, &sorted);
    let mut split = SplitFacts::default();
    let own = sorted
        .iter()
        .zip(is_matched)
        .filter(|(fact, _)| fact.slot == covered.slot && (from..=to).contains(&fact.time));
    for (fact, is_matched) in own {
        let group = covered.group_of(rule, key, fact);
        if is_matched {
            let bucket = fact.time.0.div_euclid(rule.suppress_secs);
            split.covered.insert((group, bucket));
        } else {
            let fact = as_own((*fact).clone());
            split.alone.entry(group).or_default().push(fact);
        }
    }
    split
}

/// A fact of the correlation as a fact of the rule that it covers, which counts no values.
pub(crate) fn as_own(fact: Fact) -> Fact {
    Fact {
        slot: 0,
        value: None,
        least: None,
        ..fact
    }
}

/// For each fact, whether it is in a window that meets the condition.
fn in_matches(correlation: &WindowRule, sorted: &[&Fact]) -> Vec<bool> {
    let mut is_matched = vec![false; sorted.len()];
    let mut tally = WindowTally::default();
    // Everything before it has been marked if it was to be.
    let mut marked = 0;
    let ever = (EventTime(i64::MIN), EventTime(i64::MAX));
    for (last, fact) in sorted.iter().enumerate() {
        tally.add(fact);
        tally.forget(sorted, fact.time.plus(-correlation.span_secs));
        if !ends_window(sorted, last, ever) || tally.meets(&correlation.condition).is_none() {
            continue;
        }
        let first = tally.first.max(marked);
        for is_matched in is_matched.iter_mut().take(last + 1).skip(first) {
            *is_matched = true;
        }
        marked = last + 1;
    }
    is_matched
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        events_for_tests::head,
        evidence::Evidence,
        rule::{RuleSet, load::load},
    };

    /// Three principals within ten seconds cover single alerts, of which there is one in a minute.
    pub(crate) const RULES: &str = "title: one
name: one
id: one-id
logsource: {product: aws, category: secret_access}
detection: {read: {access.method: decrypt_only}, condition: read}
secretrail: {suppress: 60s, group-by: [principal.arn, secret.account], covered-by: many}
---
title: many
name: many
id: many-id
correlation:
  type: value_count
  rules: [one]
  group-by: [secret.account]
  timespan: 10s
  condition: {field: principal.arn, gte: 3}
";

    fn rules() -> RuleSet {
        load([("rules.yml", RULES)]).unwrap().0
    }

    fn fact(secs: i64, principal: &str) -> Fact {
        let key = format!("{principal} {secs}");
        Fact {
            slot: 0,
            key: key.as_str().into(),
            time: EventTime(secs),
            value: Some(principal.into()),
            least: None,
            evidence: Evidence {
                head: Arc::new(head(&key, "Decrypt", secs)),
                secret: None,
                access: None,
            },
        }
    }

    /// Times of the facts that are alone, and principals and buckets of the others.
    fn split_at(facts: &[Fact], range: (i64, i64)) -> (Vec<i64>, Vec<(String, i64)>) {
        let rules = rules();
        let (one, many) = (&rules.windows[0], &rules.windows[1]);
        let key = WindowKey {
            rule: "many-id".into(),
            group: vec![("secret.account".into(), "1".into())],
        };
        let range = (EventTime(range.0), EventTime(range.1));
        let split = split(many, (&many.cover.covers[0], one), (&key, facts), range);
        let mut alone: Vec<i64> = split.alone.values().flatten().map(|f| f.time.0).collect();
        alone.sort_unstable();
        let covered = split.covered.into_iter();
        let covered = covered.map(|(group, bucket)| {
            assert_eq!((&*group[0].0, &*group[1].1), ("principal.arn", "1"));
            (group[0].1.to_string(), bucket)
        });
        (alone, covered.collect())
    }

    const EVER: (i64, i64) = (i64::MIN, i64::MAX);

    #[test]
    fn what_a_match_counts_is_covered_and_the_rest_is_alone() {
        let facts = [
            fact(0, "a"),
            fact(20, "a"),
            fact(25, "b"),
            fact(29, "c"),
            fact(70, "c"),
        ];
        let covered = [("a", 0), ("b", 0), ("c", 0)].map(|(p, b)| (p.to_owned(), b));
        assert_eq!(split_at(&facts, EVER), (vec![0, 70], covered.to_vec()));
        // The start of a window is exclusive.
        let apart = [fact(20, "a"), fact(25, "b"), fact(30, "c")];
        assert_eq!(split_at(&apart, EVER), (vec![20, 25, 30], vec![]));
    }

    #[test]
    fn only_the_facts_of_the_range_are_in_the_result() {
        let facts = [fact(20, "a"), fact(25, "b"), fact(29, "c")];
        let covered = (Vec::new(), vec![("b".to_owned(), 0)]);
        assert_eq!(split_at(&facts, (21, 28)), covered);
    }

    proptest! {
        /// A fact is covered when it is in a window of ten seconds with three principals.
        #[test]
        fn splitting_equals_the_definition(
            facts in prop::collection::vec((0i64..60, "[a-d]"), 0..25),
        ) {
            let facts: Vec<Fact> = facts.iter().map(|(secs, p)| fact(*secs, p)).collect();
            let is_covered = |time: i64| (time..time + 10).any(|end| {
                let within = facts.iter().filter(|f| f.time.0 > end - 10 && f.time.0 <= end);
                let ends_here = facts.iter().any(|f| f.time.0 == end);
                let principals: BTreeSet<_> = within.map(|f| f.value.clone()).collect();
                ends_here && principals.len() >= 3
            });
            let mut alone: Vec<i64> = facts.iter().map(|f| f.time.0).collect();
            alone.retain(|time| !is_covered(*time));
            alone.sort_unstable();
            prop_assert_eq!(split_at(&facts, EVER).0, alone);
        }
    }
}
