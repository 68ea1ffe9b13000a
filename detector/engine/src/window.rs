//! Evaluates window rules: facts of one group to window matches.
//!
//! A window matches at fact `t` when the facts in `(t − span, t]` meet the condition. Of all
//! matches in a bucket the one with the highest count is reported; of equal counts, the earliest.
//! A window that any one fact fills is its bucket, or the first day of it that has a fact
//! (`held_back`). The result is a function of the set of facts, and more facts never remove a
//! bucket.

pub(crate) mod cover;
pub(crate) mod held_back;

use std::collections::{BTreeSet, VecDeque};

use ahash::{HashMap, HashSet};
use rsigma_parser::{ConditionExpr, Quantifier, SelectorPattern};

use crate::{
    alert::WindowMatch,
    fact::Fact,
    glob::GlobPattern,
    ids::SharedStr,
    rule::{WindowCondition, WindowRule},
    time::EventTime,
};

/// Evaluates the windows that end at a fact in `ends` (both inclusive), and returns the match of
/// each bucket with the facts of its window.
///
/// The facts must be all those of the group from `span` before the first end on; of windows that
/// any one fact fills, they may be any part of them.
#[must_use]
pub fn evaluate<'f>(
    window: &WindowRule,
    group: &[(SharedStr, SharedStr)],
    facts: &'f [Fact],
    ends: (EventTime, EventTime),
) -> Vec<(WindowMatch, Vec<&'f Fact>)> {
    // Most groups have fewer facts than any match needs, and are not worth sorting.
    if (facts.len() as u64) < window.condition.least() {
        return Vec::new();
    }
    let sorted = sorted(facts);
    if window.holds_back() {
        return held_back::evaluate(window, group, &sorted, ends);
    }
    let mut window_matches: Vec<_> = peaks(window, &sorted, ends)
        .into_iter()
        .filter_map(|(bucket, peak)| {
            let mut facts = sorted.get(peak.first..=peak.last)?.to_vec();
            let end = facts.last()?.time;
            if let WindowCondition::Ordered(rules) = window.condition {
                keep_in_order(&mut facts, rules);
            }
            let window_match = WindowMatch {
                group: group.to_vec(),
                bucket,
                start: end.plus(-window.span_secs),
                end,
                count: peak.count,
            };
            Some((window_match, facts))
        })
        .collect();
    window_matches.sort_by_key(|(window_match, _)| window_match.bucket);
    window_matches
}

/// Keeps the facts that can be part of the order: what a rule matched before the rule that precedes
/// it has nothing to do with it.
fn keep_in_order(facts: &mut Vec<&Fact>, rules: u64) {
    let first = |slot: usize, earliest: EventTime| {
        let mut of_rule = facts.iter().filter(|fact| fact.slot == slot);
        let fact = of_rule.find(|fact| fact.time >= earliest)?;
        Some(fact.time)
    };
    let starts: Option<Vec<EventTime>> = starts_in_order(rules, first).collect();
    let Some(starts) = starts else { return };
    facts.retain(|fact| {
        let start = starts.get(fact.slot);
        start.is_some_and(|start| fact.time >= *start)
    });
}

/// For each rule of an order, the earliest fact that is not older than that of the rule before:
/// that leaves the most room for the rules after it. `None` where there is none. `first` gives the
/// first fact of a rule from a time on.
fn starts_in_order(
    rules: u64,
    first: impl Fn(usize, EventTime) -> Option<EventTime>,
) -> impl Iterator<Item = Option<EventTime>> {
    let mut earliest = EventTime(i64::MIN);
    (0..usize::try_from(rules).unwrap_or(usize::MAX)).map(move |slot| {
        earliest = first(slot, earliest)?;
        Some(earliest)
    })
}

/// Facts in canonical order: stores return them in any order, and the result must not depend on it,
/// not even in a tie.
fn sorted(facts: &[Fact]) -> Vec<&Fact> {
    let mut sorted: Vec<&Fact> = facts.iter().collect();
    sorted.sort_by(|a, b| {
        (a.time, &a.key, a.slot, &a.value).cmp(&(b.time, &b.key, b.slot, &b.value))
    });
    sorted
}

/// The reported window of a bucket: its count, and the positions of its first and last fact in the
/// sorted list.
#[derive(Clone, Copy)]
struct WindowPeak {
    count: u64,
    first: usize,
    last: usize,
}

/// The window with the highest count in each bucket, by bucket number.
fn peaks(
    window: &WindowRule,
    sorted: &[&Fact],
    ends: (EventTime, EventTime),
) -> HashMap<i64, WindowPeak> {
    let mut peaks: HashMap<i64, WindowPeak> = HashMap::default();
    let mut tally = WindowTally::default();
    for (last, fact) in sorted.iter().enumerate() {
        tally.add(fact);
        tally.forget(sorted, fact.time.plus(-window.span_secs));
        if !ends_window(sorted, last, ends) {
            continue;
        }
        let count = tally.meets(&window.condition);
        if let Some(count) = count.filter(|count| *count >= fact.least.unwrap_or(0)) {
            // Only the end of a window decides its bucket: a late fact before the end may raise the
            // count, but does not move the alert.
            let bucket = fact.time.0.div_euclid(window.suppress_secs);
            let peak = WindowPeak {
                count,
                first: tally.first,
                last,
            };
            let known = peaks.entry(bucket).or_insert(peak);
            if count > known.count {
                *known = peak;
            }
        }
    }
    peaks
}

/// Whether one of the windows to evaluate ends at this fact.
fn ends_window(sorted: &[&Fact], index: usize, ends: (EventTime, EventTime)) -> bool {
    let time = sorted.get(index).map(|fact| fact.time);
    // Facts within one second have no order: a window ends at the last of them, and contains all.
    let is_last_of_second = time != sorted.get(index + 1).map(|next| next.time);
    is_last_of_second && time.is_some_and(|time| (ends.0..=ends.1).contains(&time))
}

/// Whether a window can match in any group when only these of its rules have facts.
#[must_use]
pub fn may_fire(window: &WindowRule, slots: &BTreeSet<usize>) -> bool {
    match &window.condition {
        WindowCondition::Events(_) | WindowCondition::Values(_) => true,
        WindowCondition::Rules(least) | WindowCondition::Ordered(least) => {
            slots.len() as u64 >= *least
        }
        WindowCondition::Expression(expr, names) => {
            holds(expr, &names_of(slots.iter(), names), names)
        }
    }
}

/// The names of a window's rules in these slots.
fn names_of<'n>(slots: impl Iterator<Item = &'n usize>, names: &'n [String]) -> HashSet<&'n str> {
    slots
        .filter_map(|slot| names.get(*slot))
        .map(String::as_str)
        .collect()
}

/// Content of the current window. Entries whose count falls to zero are removed, so that the number
/// of entries is the number of distinct ones.
#[derive(Default)]
struct WindowTally<'f> {
    keys: HashMap<&'f str, usize>,
    values: HashMap<&'f str, usize>,
    /// Times of the facts of each rule, in order.
    slots: HashMap<usize, VecDeque<EventTime>>,
    /// Position in the sorted list of the first fact in the window.
    first: usize,
}

impl<'f> WindowTally<'f> {
    fn add(&mut self, fact: &'f Fact) {
        *self.keys.entry(&fact.key).or_default() += 1;
        if let Some(value) = &fact.value {
            *self.values.entry(value).or_default() += 1;
        }
        self.slots
            .entry(fact.slot)
            .or_default()
            .push_back(fact.time);
    }

    /// Removes facts that have left the window. The start of a window is exclusive: a fact that is
    /// exactly one span old is outside.
    fn forget(&mut self, sorted: &[&'f Fact], start: EventTime) {
        while let Some(old) = sorted.get(self.first).filter(|old| old.time <= start) {
            self.remove(old);
            self.first += 1;
        }
    }

    fn remove(&mut self, fact: &'f Fact) {
        take_one(&mut self.keys, &fact.key);
        if let Some(value) = &fact.value {
            take_one(&mut self.values, value);
        }
        if let Some(times) = self.slots.get_mut(&fact.slot) {
            // Facts enter and leave in time order: the oldest is at the front.
            times.pop_front();
            if times.is_empty() {
                self.slots.remove(&fact.slot);
            }
        }
    }

    /// The count, if it meets the condition.
    fn meets(&self, condition: &WindowCondition) -> Option<u64> {
        match condition {
            // By key: an event that matches two rules of the correlation is one event.
            WindowCondition::Events(least) => at_least(*least, self.keys.len()),
            WindowCondition::Values(least) => at_least(*least, self.values.len()),
            WindowCondition::Rules(least) => at_least(*least, self.slots.len()),
            WindowCondition::Expression(expr, names) => {
                let present = names_of(self.slots.keys(), names);
                holds(expr, &present, names).then_some(self.slots.len() as u64)
            }
            WindowCondition::Ordered(rules) => self.in_order(*rules).then_some(*rules),
        }
    }

    /// Whether each rule has a fact that is not older than one of the preceding rule.
    fn in_order(&self, rules: u64) -> bool {
        // Found by halves: the times of a rule are in order, and there may be a day of them.
        let first = |slot: usize, earliest: EventTime| {
            let times = self.slots.get(&slot)?;
            let next = times.partition_point(|time| *time < earliest);
            times.get(next).copied()
        };
        starts_in_order(rules, first).all(|start| start.is_some())
    }
}

fn at_least(least: u64, count: usize) -> Option<u64> {
    Some(count as u64).filter(|count| *count >= least)
}

fn take_one<'f>(counts: &mut HashMap<&'f str, usize>, key: &'f str) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn holds(expr: &ConditionExpr, present: &HashSet<&str>, names: &[String]) -> bool {
    match expr {
        ConditionExpr::And(parts) => parts.iter().all(|p| holds(p, present, names)),
        ConditionExpr::Or(parts) => parts.iter().any(|p| holds(p, present, names)),
        // Rejected when the rule was loaded: a later fact would remove the alert.
        ConditionExpr::Not(_) => false,
        ConditionExpr::Identifier(name) => present.contains(name.as_str()),
        ConditionExpr::Selector {
            quantifier,
            pattern,
        } => {
            let selected = names.iter().filter(|name| selects(pattern, name));
            are_present(
                quantifier,
                selected.map(|name| present.contains(name.as_str())),
            )
        }
    }
}

fn are_present(quantifier: &Quantifier, mut present: impl Iterator<Item = bool>) -> bool {
    match quantifier {
        Quantifier::All => present.all(|is_present| is_present),
        Quantifier::Any => present.any(|is_present| is_present),
        Quantifier::Count(least) => {
            present.filter(|is_present| *is_present).count() as u64 >= *least
        }
    }
}

fn selects(pattern: &SelectorPattern, name: &str) -> bool {
    match pattern {
        SelectorPattern::Them => true,
        SelectorPattern::Pattern(pattern) => GlobPattern::new(pattern).matches(name),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{events_for_tests::head, evidence::Evidence, rule::load::load};

    const EVER: (EventTime, EventTime) = (EventTime(i64::MIN), EventTime(i64::MAX));

    /// A window of ten seconds, one alert every twenty.
    fn window(condition: WindowCondition) -> WindowRule {
        let text = "title: base
id: base
logsource: {product: aws, category: secret_access}
detection: {read: {access.outcome: success}, condition: read}
---
title: many
id: many
correlation:
  type: event_count
  rules: [base]
  group-by: [principal.arn]
  timespan: 10s
  condition: {gte: 2}
secretrail: {suppress: 20s}
";
        let (mut rules, _) = load([("rules.yml", text)]).unwrap();
        let mut window = rules.windows.remove(0);
        window.condition = condition;
        window
    }

    fn fact(secs: i64, slot: usize, key: &str) -> Fact {
        let evidence = Evidence {
            head: Arc::new(head(key, "GetSecretValue", secs)),
            secret: None,
            access: None,
        };
        Fact {
            slot,
            key: key.into(),
            time: EventTime(secs),
            value: Some(key.into()),
            least: None,
            evidence,
        }
    }

    fn facts(times: &[i64]) -> Vec<Fact> {
        let facts = times.iter().enumerate();
        facts
            .map(|(index, secs)| fact(*secs, 0, &format!("e{index}")))
            .collect()
    }

    /// Bucket, end, count and number of facts of each window match.
    fn fired(window: &WindowRule, facts: &[Fact]) -> Vec<(i64, i64, u64, usize)> {
        evaluate(window, &[], facts, EVER)
            .into_iter()
            .map(|(window_match, facts)| {
                (
                    window_match.bucket,
                    window_match.end.0,
                    window_match.count,
                    facts.len(),
                )
            })
            .collect()
    }

    #[test]
    fn a_bucket_is_that_of_the_end_before_and_after_the_epoch() {
        let window = window(WindowCondition::Events(2));
        // Both windows reach back into the previous bucket.
        assert_eq!(fired(&window, &facts(&[18, 20])), [(1, 20, 2, 2)]);
        assert_eq!(fired(&window, &facts(&[-2, -1])), [(-1, -1, 2, 2)]);
        assert_eq!(fired(&window, &facts(&[-1, 0])), [(0, 0, 2, 2)]);
    }

    #[test]
    fn the_highest_window_of_a_bucket_is_reported_and_of_equals_the_earliest() {
        let window = window(WindowCondition::Events(2));
        assert_eq!(fired(&window, &facts(&[0, 1, 11, 12])), [(0, 1, 2, 2)]);
        assert_eq!(fired(&window, &facts(&[0, 1, 11, 12, 13])), [(0, 13, 3, 3)]);
    }

    #[test]
    fn a_late_fact_grows_the_alert_of_its_bucket_and_moves_none() {
        let window = window(WindowCondition::Events(2));
        let times = [25, 30];
        assert_eq!(fired(&window, &facts(&times)), [(1, 30, 2, 2)]);
        assert_eq!(fired(&window, &facts(&[25, 30, 21])), [(1, 30, 3, 3)]);
        assert_eq!(fired(&window, &facts(&[25, 30, 16])), [(1, 25, 2, 2)]);
    }

    #[test]
    fn facts_of_one_second_are_seen_together() {
        let window = window(WindowCondition::Events(2));
        assert_eq!(fired(&window, &facts(&[5, 5, 5])), [(0, 5, 3, 3)]);
        // At either edge, all facts that are one span old are outside.
        assert_eq!(fired(&window, &facts(&[0, 10, 10])), [(0, 10, 2, 2)]);
    }

    #[test]
    fn what_precedes_the_first_rule_of_an_order_is_no_evidence() {
        let window = window(WindowCondition::Ordered(2));
        let at = |secs, slot| fact(secs, slot, &secs.to_string());
        let facts = [at(1, 1), at(3, 0), at(4, 1), at(5, 0), at(6, 1)];
        let found = evaluate(&window, &[], &facts, EVER);
        let times = found[0].1.iter().map(|fact| fact.time.0);
        assert_eq!(times.collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn only_windows_that_end_in_the_given_range_are_reported() {
        let window = window(WindowCondition::Events(2));
        let facts = facts(&[0, 3, 6, 9]);
        let reported = |from, to| {
            let window_matches = evaluate(&window, &[], &facts, (EventTime(from), EventTime(to)));
            window_matches
                .into_iter()
                .map(|(f, _)| (f.end.0, f.count))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            reported(4, 6),
            [(6, 3)],
            "with the facts before the first end"
        );
        assert_eq!(reported(7, 8), []);
    }

    #[test]
    fn an_event_or_value_counts_once_as_long_as_one_of_it_is_in_the_window() {
        let again = vec![fact(0, 0, "a"), fact(5, 1, "a"), fact(12, 0, "b")];
        assert_eq!(
            fired(&window(WindowCondition::Events(2)), &again),
            [(0, 12, 2, 2)]
        );
        assert_eq!(
            fired(&window(WindowCondition::Values(2)), &again),
            [(0, 12, 2, 2)]
        );
        assert_eq!(fired(&window(WindowCondition::Events(2)), &again[..2]), []);
        let without_value = again.into_iter().map(|fact| Fact {
            value: None,
            ..fact
        });
        let without_value: Vec<Fact> = without_value.collect();
        assert_eq!(
            fired(&window(WindowCondition::Values(1)), &without_value),
            []
        );
    }

    #[test]
    fn a_rate_multiplier_raises_the_threshold() {
        let window = window(WindowCondition::Events(2));
        let usual = |times: &[i64]| -> Vec<Fact> {
            let facts = facts(times).into_iter();
            facts
                .map(|fact| Fact {
                    least: Some(3),
                    ..fact
                })
                .collect()
        };
        assert_eq!(fired(&window, &usual(&[0, 1])), []);
        assert_eq!(fired(&window, &usual(&[0, 1, 2])), [(0, 2, 3, 3)]);
    }

    #[test]
    fn what_is_ordered_is_ordered_within_the_window() {
        let window = window(WindowCondition::Ordered(2));
        let fires = |first: &[i64], second: &[i64]| {
            let first = first.iter().map(|secs| fact(*secs, 0, "first"));
            let second = second.iter().map(|secs| fact(*secs, 1, "second"));
            !fired(&window, &first.chain(second).collect::<Vec<_>>()).is_empty()
        };
        assert!(fires(&[0], &[9]));
        assert!(!fires(&[0], &[10]), "the first has passed");
        assert!(fires(&[0, 8], &[12]), "another first has not");
        assert!(!fires(&[5], &[4]));
        assert!(fires(&[5], &[4, 6]));
    }

    fn expression(text: &str) -> WindowCondition {
        let names = ["list_all", "read_one", "read_many"].map(String::from);
        WindowCondition::Expression(rsigma_parser::parse_condition(text).unwrap(), names.into())
    }

    #[test]
    fn an_expression_holds_for_the_rules_that_are_present() {
        let cases: [(&str, &[usize], bool); 9] = [
            ("list_all and read_one", &[0, 1], true),
            ("list_all and read_one", &[0, 2], false),
            ("list_all or read_one", &[1], true),
            ("1 of read_*", &[2], true),
            ("1 of read_*", &[0], false),
            ("all of read_*", &[1, 2], true),
            ("all of read_*", &[0, 1], false),
            ("2 of them", &[0, 2], true),
            ("2 of them", &[2], false),
        ];
        for (text, slots, expected) in cases {
            let window = window(expression(text));
            let facts: Vec<Fact> = slots.iter().map(|slot| fact(0, *slot, "e")).collect();
            assert_eq!(
                !fired(&window, &facts).is_empty(),
                expected,
                "{text} {slots:?}"
            );
            let slots = slots.iter().copied().collect();
            assert_eq!(may_fire(&window, &slots), expected, "{text} {slots:?}");
        }
    }

    fn a_condition() -> impl Strategy<Value = WindowCondition> {
        prop_oneof![
            (1_u64..4).prop_map(WindowCondition::Events),
            (1_u64..4).prop_map(WindowCondition::Values),
            (1_u64..4).prop_map(WindowCondition::Rules),
            (1_u64..4).prop_map(WindowCondition::Ordered),
            Just(expression("list_all and 1 of read_*")),
        ]
    }

    proptest! {
        #[test]
        fn more_facts_take_no_bucket_away_and_their_order_says_nothing(
            condition in a_condition(),
            times in proptest::collection::vec((0_i64..60, 0_usize..3, 0_u8..6), 1..20),
            left_out in any::<prop::sample::Index>(),
        ) {
            let window = window(condition);
            let facts: Vec<Fact> = times
                .iter()
                .map(|(secs, slot, key)| fact(*secs, *slot, &format!("e{key}")))
                .collect();
            let all = fired(&window, &facts);
            let mut backwards = facts.clone();
            backwards.reverse();
            prop_assert_eq!(&fired(&window, &backwards), &all);
            let mut fewer = facts;
            fewer.remove(left_out.index(times.len()));
            for (bucket, _, count, _) in fired(&window, &fewer) {
                prop_assert!(all.iter().any(|more| more.0 == bucket && more.2 >= count));
            }
        }
    }
}
