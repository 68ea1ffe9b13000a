//! Rules whose alerts a correlation covers: where the correlation matches, its alert says more than
//! many single ones. Lost log files look like many principals who hide a read.

use super::{RuleSet, WindowMember, WindowRule};
use crate::{
    fact::{Fact, WindowKey},
    ids::SharedStr,
};

/// How a window rule belongs to others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CoverLinks {
    /// Rules whose alerts are not raised about the facts of a match of this one.
    pub(crate) covers: Vec<CoveredRule>,
    /// Index of the window that covers its alerts, and has its facts.
    pub(crate) by: Option<usize>,
}

/// A rule about single events whose alerts a correlation covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CoveredRule {
    /// Index of the window that raises its alerts.
    pub(crate) window: usize,
    /// Which of the rules of the correlation it is.
    pub(crate) slot: usize,
    /// Where the values of its group are, in the order of its fields.
    pub(crate) fields: Vec<CoveredField>,
}

/// Where a fact of the correlation has the value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CoveredField {
    /// In its group, at this position.
    Group(usize),
    /// It is the value that is counted.
    Value,
}

impl CoveredField {
    /// Where a correlation that counts a rule so has a field of the rule; `None` if nowhere.
    fn of(field: &String, counted: &WindowMember) -> Option<Self> {
        let in_group = counted.group.iter().position(|known| known == field);
        let is_value = counted.value.as_slice() == std::slice::from_ref(field);
        let value = is_value.then_some(Self::Value);
        in_group.map(Self::Group).or(value)
    }
}

impl CoveredRule {
    /// The rule with its group, whose fields must be those of the correlation's group or what it
    /// counts; `None` where one is not, and the name of that field.
    pub(crate) fn new(
        window: usize,
        slot: usize,
        rule: &WindowRule,
        correlation: &WindowRule,
    ) -> Result<Self, String> {
        let own = rule.members.first().map(|member| member.group.as_slice());
        let counted = correlation.members.get(slot);
        let mut fields = Vec::new();
        for field in own.unwrap_or_default() {
            let place = counted.and_then(|counted| CoveredField::of(field, counted));
            fields.push(place.ok_or_else(|| field.clone())?);
        }
        Ok(Self {
            window,
            slot,
            fields,
        })
    }

    /// The group of the rule that a fact of the correlation belongs to; `rule` is the window that
    /// raises its alerts.
    pub(crate) fn group_of(
        &self,
        rule: &WindowRule,
        key: &WindowKey,
        fact: &Fact,
    ) -> Vec<(SharedStr, SharedStr)> {
        let fields = rule.group.iter().zip(&self.fields);
        let values = fields.map(|(name, field)| {
            let value = match field {
                CoveredField::Group(position) => key.group.get(*position).map(|(_, v)| v.clone()),
                CoveredField::Value => fact.value.clone(),
            };
            (name.clone(), value.unwrap_or_else(|| "".into()))
        });
        values.collect()
    }
}

impl RuleSet {
    /// How long facts of a window are read after their time, in seconds: those of a correlation
    /// also decide which alerts stand of the rules that it covers, by all facts of their buckets.
    #[must_use]
    pub fn looks_back_secs(&self, window: &WindowRule) -> i64 {
        let covers = window.cover.covers.iter();
        let covered = covers.filter_map(|covered| self.windows.get(covered.window));
        let buckets = covered.map(|rule| rule.suppress_secs.saturating_add(rule.span_secs));
        window
            .span_secs
            .saturating_add(buckets.max().unwrap_or_default())
    }

    /// Of the facts of one rule about an event, which begin at a position, drops the one whose
    /// correlation has the event too: what is raised about it depends on the facts of that.
    pub(super) fn drop_covered(&self, facts: &mut Vec<(usize, WindowKey, Fact)>, begin: usize) {
        let own = facts.iter().enumerate().skip(begin);
        let covered = own.clone().find(|(_, (window, ..))| {
            let by = self.windows.get(*window).and_then(|rule| rule.cover.by);
            by.is_some_and(|by| own.clone().any(|(_, (other, ..))| *other == by))
        });
        if let Some((index, _)) = covered {
            facts.remove(index);
        }
    }
}
