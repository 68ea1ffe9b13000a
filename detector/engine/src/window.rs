//! Facts of one group to firings: the law of windows.
//!
//! A window fires at fact `t` when the facts in `(t − span, t]` meet the condition; of all firings in a bucket the one with
//! the highest count is told, the earliest of equals. The result is a function of the set of facts, and more facts never
//! take a bucket away.

use std::collections::{BTreeSet, VecDeque};

use ahash::{HashMap, HashSet};
use rsigma_parser::{ConditionExpr, Quantifier, SelectorPattern};

use crate::alert::Firing;
use crate::fact::Fact;
use crate::ids::Text;
use crate::rule::{Window, WindowCondition};
use crate::time::EventTime;

/// Evaluates the windows that end at a fact in `ends`, and gives each bucket's firing with the facts of its window.
///
/// The facts must be all those of the group from `span` before the first end on.
#[must_use]
pub fn evaluate<'f>(
    window: &Window,
    group: &[(Text, Text)],
    facts: &'f [Fact],
    ends: (EventTime, EventTime),
) -> Vec<(Firing, Vec<&'f Fact>)> {
    if (facts.len() as u64) < window.condition.least() {
        return Vec::new();
    }
    let mut sorted: Vec<&Fact> = facts.iter().collect();
    sorted.sort_by(|a, b| {
        (a.time, &a.key, a.slot, &a.value).cmp(&(b.time, &b.key, b.slot, &b.value))
    });
    let mut best: HashMap<i64, (u64, usize, usize)> = HashMap::default();
    let mut tally = Tally::default();
    let mut start = 0;
    for (index, fact) in sorted.iter().enumerate() {
        tally.add(fact);
        while let Some(old) = sorted
            .get(start)
            .filter(|old| old.time.0 <= fact.time.0.saturating_sub(window.span_secs))
        {
            tally.remove(old);
            start += 1;
        }
        // Facts of one second are seen together.
        let last_of_second = sorted
            .get(index + 1)
            .is_none_or(|next| next.time != fact.time);
        if !last_of_second || fact.time < ends.0 || fact.time > ends.1 {
            continue;
        }
        if let Some(count) = tally
            .meets(&window.condition)
            .filter(|count| *count >= fact.least.unwrap_or(0))
        {
            let bucket = fact.time.0.div_euclid(window.suppress_secs);
            let entry = best.entry(bucket).or_insert((count, start, index));
            if count > entry.0 {
                *entry = (count, start, index);
            }
        }
    }
    let mut firings: Vec<_> = best
        .into_iter()
        .filter_map(|(bucket, (count, start, index))| {
            let end = sorted.get(index)?.time;
            let firing = Firing {
                group: group.to_vec(),
                bucket,
                start: end.plus(-window.span_secs),
                end,
                count,
            };
            Some((firing, sorted.get(start..=index)?.to_vec()))
        })
        .collect();
    firings.sort_by_key(|(firing, _)| firing.bucket);
    firings
}

/// Whether a window can fire in any group when these of its rules have facts and the others have none.
#[must_use]
pub fn may_fire(window: &Window, slots: &BTreeSet<usize>) -> bool {
    match &window.condition {
        WindowCondition::Events(_) | WindowCondition::Values(_) => true,
        WindowCondition::Rules(least) | WindowCondition::Ordered(least) => {
            slots.len() as u64 >= *least
        }
        WindowCondition::Expression(expr, names) => {
            let present = slots
                .iter()
                .filter_map(|slot| names.get(*slot))
                .map(String::as_str)
                .collect();
            holds(expr, &present, names)
        }
    }
}

/// What is in the window now.
#[derive(Default)]
struct Tally<'f> {
    keys: HashMap<&'f str, usize>,
    values: HashMap<&'f str, usize>,
    slots: HashMap<usize, VecDeque<EventTime>>,
}

impl<'f> Tally<'f> {
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

    fn remove(&mut self, fact: &'f Fact) {
        take_one(&mut self.keys, &fact.key);
        if let Some(value) = &fact.value {
            take_one(&mut self.values, value);
        }
        if let Some(times) = self.slots.get_mut(&fact.slot) {
            times.pop_front();
            if times.is_empty() {
                self.slots.remove(&fact.slot);
            }
        }
    }

    /// The count, when it is enough.
    fn meets(&self, condition: &WindowCondition) -> Option<u64> {
        let enough = |count: usize, least: u64| Some(count as u64).filter(|count| *count >= least);
        match condition {
            WindowCondition::Events(least) => enough(self.keys.len(), *least),
            WindowCondition::Values(least) => enough(self.values.len(), *least),
            WindowCondition::Rules(least) => enough(self.slots.len(), *least),
            WindowCondition::Expression(expr, names) => {
                let present: HashSet<&str> = self
                    .slots
                    .keys()
                    .filter_map(|slot| names.get(*slot))
                    .map(String::as_str)
                    .collect();
                holds(expr, &present, names).then_some(self.slots.len() as u64)
            }
            WindowCondition::Ordered(rules) => self.in_order(*rules).then_some(*rules),
        }
    }

    /// Whether each rule has a fact that is not older than one of the rule before it.
    fn in_order(&self, rules: u64) -> bool {
        let mut earliest = EventTime(i64::MIN);
        for slot in 0..usize::try_from(rules).unwrap_or(usize::MAX) {
            match self
                .slots
                .get(&slot)
                .and_then(|times| times.iter().find(|t| **t >= earliest))
            {
                Some(time) => earliest = *time,
                None => return false,
            }
        }
        true
    }
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
        // Refused when the rule was loaded.
        ConditionExpr::Not(_) => false,
        ConditionExpr::Identifier(name) => present.contains(name.as_str()),
        ConditionExpr::Selector {
            quantifier,
            pattern,
        } => {
            let fits = |name: &&String| match pattern {
                SelectorPattern::Them => true,
                SelectorPattern::Pattern(pattern) => crate::glob::Glob::new(pattern).matches(name),
            };
            let mut named = names.iter().filter(fits);
            let here = |name: &String| present.contains(name.as_str());
            match quantifier {
                Quantifier::All => named.all(here),
                Quantifier::Any => named.any(here),
                Quantifier::Count(least) => named.filter(|n| here(n)).count() as u64 >= *least,
            }
        }
    }
}
