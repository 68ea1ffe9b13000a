//! What a rule needs to be asked: the fields it reads, and the services whose records it can match.

use std::collections::BTreeSet;

use rsigma_parser::{
    ConditionExpr, Detection as Selection, DetectionItem, Modifier, Quantifier, SelectorPattern,
    SigmaRule, SigmaValue,
};
use serde::{Deserialize, Serialize};

/// What a detection asks for.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    /// Fields that it reads, those of `|fieldref` too.
    pub(crate) fields: BTreeSet<String>,
    /// Whether it searches the whole record.
    pub(crate) keywords: bool,
}

impl Uses {
    /// Adds what a selection asks for.
    pub(crate) fn selection(&mut self, selection: &Selection) {
        match selection {
            Selection::AllOf(items) => {
                for item in items {
                    match &item.field.name {
                        Some(name) => {
                            self.fields.insert(name.clone());
                        }
                        None => self.keywords = true,
                    }
                    let texts = || item.values.iter().filter_map(plain);
                    if item.field.has_modifier(Modifier::FieldRef) {
                        self.fields.extend(texts());
                    }
                }
            }
            Selection::AnyOf(many) | Selection::And(many) => {
                many.iter().for_each(|s| self.selection(s))
            }
            Selection::Keywords(_) => self.keywords = true,
            Selection::ArrayMatch { field, .. } => {
                self.fields.insert(field.clone());
            }
            Selection::Conditional { named, .. } => named.values().for_each(|s| self.selection(s)),
        }
    }
}

/// Calls of which a matching record must be one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NeededCalls {
    /// `eventSource`, without regard to case.
    pub source: String,
    /// `eventName`s, without regard to case; `None` for any.
    pub names: Option<Vec<String>>,
}

impl NeededCalls {
    /// Whether all these calls are among others.
    #[must_use]
    pub fn are_in(&self, others: &[Self]) -> bool {
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        others
            .iter()
            .filter(|other| same(&other.source, &self.source))
            .any(|other| match (&self.names, &other.names) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(ours), Some(theirs)) => ours
                    .iter()
                    .all(|our| theirs.iter().any(|their| same(our, their))),
            })
    }
}

/// The calls that a matching record must be one of; `None` when the rule does not say.
pub(super) fn needed_calls(rule: &SigmaRule) -> Option<Vec<NeededCalls>> {
    let mut all = Vec::new();
    for condition in &rule.detection.conditions {
        all.extend(needed_by(condition, rule)?);
    }
    (!all.is_empty()).then_some(all)
}

fn needed_by(expr: &ConditionExpr, rule: &SigmaRule) -> Option<Vec<NeededCalls>> {
    let named = |name: &str| needed_in(rule.detection.named.get(name)?);
    match expr {
        ConditionExpr::And(parts) => parts.iter().find_map(|p| needed_by(p, rule)),
        ConditionExpr::Or(parts) => union(parts.iter().map(|p| needed_by(p, rule))),
        ConditionExpr::Not(_) => None,
        ConditionExpr::Identifier(name) => named(name),
        ConditionExpr::Selector {
            quantifier,
            pattern,
        } => {
            let fits = |name: &&String| match pattern {
                SelectorPattern::Them => !name.starts_with('_'),
                SelectorPattern::Pattern(pattern) => crate::glob::Glob::new(pattern).matches(name),
            };
            let mut needed = rule.detection.named.keys().filter(fits).map(|n| named(n));
            match quantifier {
                Quantifier::All => needed.find_map(|n| n),
                Quantifier::Any | Quantifier::Count(_) => union(needed),
            }
        }
    }
}

fn needed_in(selection: &Selection) -> Option<Vec<NeededCalls>> {
    match selection {
        Selection::AllOf(items) => {
            let plain_values = |field: &str| {
                let is = |item: &&DetectionItem| {
                    item.field.name.as_deref() == Some(field) && item.field.modifiers.is_empty()
                };
                let values = items
                    .iter()
                    .find(is)?
                    .values
                    .iter()
                    .map(plain)
                    .collect::<Option<Vec<_>>>();
                values.filter(|v| !v.is_empty())
            };
            let names = plain_values("eventName");
            let sources = plain_values("eventSource")?;
            Some(
                sources
                    .into_iter()
                    .map(|source| NeededCalls {
                        source,
                        names: names.clone(),
                    })
                    .collect(),
            )
        }
        Selection::AnyOf(many) => union(many.iter().map(needed_in)),
        Selection::And(many) => many.iter().find_map(needed_in),
        Selection::Keywords(_) | Selection::ArrayMatch { .. } | Selection::Conditional { .. } => {
            None
        }
    }
}

fn union(parts: impl Iterator<Item = Option<Vec<NeededCalls>>>) -> Option<Vec<NeededCalls>> {
    let mut all = Vec::new();
    for part in parts {
        all.extend(part?);
    }
    (!all.is_empty()).then_some(all)
}

/// The text of a value without wildcards.
fn plain(value: &SigmaValue) -> Option<String> {
    match value {
        SigmaValue::String(text) => text.as_plain(),
        _ => None,
    }
}
