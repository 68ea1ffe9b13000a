//! What a rule needs to be asked: the fields it reads, and the services whose records it can match.

use std::collections::BTreeSet;

use rsigma_parser::{
    ConditionExpr, Detection as Selection, DetectionItem, Modifier, Quantifier, SelectorPattern,
    SigmaRule, SigmaValue,
};
use serde::{Deserialize, Serialize};

use crate::glob::GlobPattern;

/// What a detection asks for.
#[derive(Debug, Default)]
pub(crate) struct DetectionNeeds {
    /// Fields that it reads, those of `|fieldref` too.
    pub(crate) fields: BTreeSet<String>,
    /// Whether it searches the whole record.
    pub(crate) keywords: bool,
    /// Classes of sources that it names.
    pub(crate) classes: BTreeSet<String>,
    /// Lists of networks that it names.
    pub(crate) lists: BTreeSet<String>,
}

impl DetectionNeeds {
    /// What the selections of a rule ask for.
    pub(crate) fn of(rule: &SigmaRule) -> Self {
        let mut uses = Self::default();
        let selections = rule.detection.named.values();
        selections.for_each(|selection| uses.selection(selection));
        uses
    }

    /// What one selection asks for.
    pub(super) fn of_selection(selection: &Selection) -> Self {
        let mut uses = Self::default();
        uses.selection(selection);
        uses
    }

    fn selection(&mut self, selection: &Selection) {
        match selection {
            Selection::AllOf(items) => items.iter().for_each(|item| self.item(item)),
            Selection::AnyOf(many) | Selection::And(many) => {
                many.iter().for_each(|s| self.selection(s));
            }
            Selection::Keywords(_) => self.keywords = true,
            Selection::ArrayMatch { field, .. } => drop(self.fields.insert(field.clone())),
            Selection::Conditional { named, .. } => named.values().for_each(|s| self.selection(s)),
        }
    }

    fn item(&mut self, item: &DetectionItem) {
        match &item.field.name {
            Some(name) => drop(self.fields.insert(name.clone())),
            None => self.keywords = true,
        }
        let values = item.values.iter().filter_map(plain);
        match item.field.name.as_deref() {
            Some("source.class") if item.field.modifiers.is_empty() => self.classes.extend(values),
            Some("source.lists") if !item.field.has_modifier(Modifier::Exists) => {
                self.lists.extend(values)
            }
            _ => {}
        }
        // Its values are names of other fields, which must be there as well.
        if item.field.has_modifier(Modifier::FieldRef) {
            self.fields.extend(item.values.iter().filter_map(plain));
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
        let mut same_source = others.iter().filter(|other| self.is_of_source(other));
        same_source.any(|other| match (&self.names, &other.names) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(ours), Some(theirs)) => ours
                .iter()
                .all(|our| theirs.iter().any(|their| our.eq_ignore_ascii_case(their))),
        })
    }

    /// Adds these calls to others, which have one entry for each service.
    pub(super) fn add_to(self, all: &mut Vec<Self>) {
        match all.iter_mut().find(|known| known.is_of_source(&self)) {
            None => all.push(self),
            Some(known) => known.add_names_of(&self),
        }
    }

    /// Whether others are calls of the same service.
    fn is_of_source(&self, other: &Self) -> bool {
        self.source.eq_ignore_ascii_case(&other.source)
    }

    /// Adds other calls of the same service.
    fn add_names_of(&mut self, other: &Self) {
        match (&mut self.names, &other.names) {
            (Some(known), Some(more)) => {
                let listed: BTreeSet<&String> = known.iter().collect();
                let new = more.iter().filter(|name| !listed.contains(name));
                let new: Vec<String> = new.cloned().collect();
                known.extend(new);
            }
            // Any call of the service, whatever the other asks for.
            _ => self.names = None,
        }
    }
}

/// The calls that a matching record must be one of; `None` when the rule does not say.
///
/// Most rules ask for a few calls of one service. Records of other services are then skipped
/// before they are parsed, so this must never leave out a call that could match: `None` is always
/// right.
pub(super) fn needed_calls(rule: &SigmaRule) -> Option<Vec<NeededCalls>> {
    union(rule.detection.conditions.iter().map(|c| needed_by(c, rule)))
}

/// The calls that one condition needs.
fn needed_by(expr: &ConditionExpr, rule: &SigmaRule) -> Option<Vec<NeededCalls>> {
    match expr {
        // All must hold, so the calls of any one of them are enough to know.
        ConditionExpr::And(parts) => parts.iter().find_map(|p| needed_by(p, rule)),
        ConditionExpr::Or(parts) => union(parts.iter().map(|p| needed_by(p, rule))),
        ConditionExpr::Not(_) => None,
        ConditionExpr::Identifier(name) => needed_in(rule.detection.named.get(name)?),
        ConditionExpr::Selector {
            quantifier,
            pattern,
        } => {
            let selections = rule.detection.named.iter();
            let mut needed = selections
                .filter(|(name, _)| is_meant(pattern, name))
                .map(|(_, selection)| needed_in(selection));
            match quantifier {
                Quantifier::All => needed.find_map(|n| n),
                Quantifier::Any | Quantifier::Count(_) => union(needed),
            }
        }
    }
}

/// Whether a pattern of a condition, as in `1 of sel*`, means a selection. `them` leaves out those
/// that begin with an underscore, as the specification says.
pub(crate) fn is_meant(pattern: &SelectorPattern, selection: &str) -> bool {
    match pattern {
        SelectorPattern::Them => !selection.starts_with('_'),
        SelectorPattern::Pattern(pattern) => GlobPattern::new(pattern).matches(selection),
    }
}

/// Whether a rule can only match with an access policy: without one, `expected.*` is absent.
pub(super) fn needs_policy(rule: &SigmaRule) -> bool {
    let conditions = &rule.detection.conditions;
    !conditions.is_empty() && conditions.iter().all(|c| condition_needs_policy(c, rule))
}

fn condition_needs_policy(expr: &ConditionExpr, rule: &SigmaRule) -> bool {
    let needs = |part: &ConditionExpr| condition_needs_policy(part, rule);
    match expr {
        ConditionExpr::And(parts) => parts.iter().any(needs),
        ConditionExpr::Or(parts) => parts.iter().all(needs),
        ConditionExpr::Not(_) => false,
        ConditionExpr::Identifier(name) => {
            let selection = rule.detection.named.get(name);
            selection.is_some_and(selection_needs_policy)
        }
        ConditionExpr::Selector {
            quantifier,
            pattern,
        } => {
            let selections = rule.detection.named.iter();
            let mut meant = selections.filter(|(name, _)| is_meant(pattern, name));
            match quantifier {
                Quantifier::All => meant.any(|(_, selection)| selection_needs_policy(selection)),
                _ => meant.all(|(_, selection)| selection_needs_policy(selection)),
            }
        }
    }
}

fn selection_needs_policy(selection: &Selection) -> bool {
    match selection {
        Selection::AllOf(items) => items.iter().any(|item| {
            let name = item.field.name.as_deref().unwrap_or_default();
            let must_be_absent = item.field.has_modifier(Modifier::Exists)
                && item.values.contains(&SigmaValue::Bool(false));
            let is_asked = !item.values.contains(&SigmaValue::Null) && !must_be_absent;
            let of_policy = name.starts_with("expected.") || name == "secret.decoy";
            of_policy && is_asked && !item.field.has_modifier(Modifier::Neq)
        }),
        Selection::AnyOf(many) => many.iter().all(selection_needs_policy),
        Selection::And(many) => many.iter().any(selection_needs_policy),
        _ => false,
    }
}

/// The calls that a selection needs.
fn needed_in(selection: &Selection) -> Option<Vec<NeededCalls>> {
    match selection {
        Selection::AllOf(items) => {
            let names = plain_values(items, "eventName");
            let sources = plain_values(items, "eventSource")?.into_iter();
            let of = |source| NeededCalls {
                source,
                names: names.clone(),
            };
            Some(sources.map(of).collect())
        }
        Selection::AnyOf(many) => union(many.iter().map(needed_in)),
        Selection::And(many) => many.iter().find_map(needed_in),
        Selection::Keywords(_) | Selection::ArrayMatch { .. } | Selection::Conditional { .. } => {
            None
        }
    }
}

/// The values of which a field must have one; `None` when it may have others, by a wildcard or a
/// modifier.
fn plain_values(items: &[DetectionItem], field: &str) -> Option<Vec<String>> {
    let item = items.iter().find(|item| {
        item.field.name.as_deref() == Some(field) && item.field.modifiers.is_empty()
    })?;
    let values: Option<Vec<String>> = item.values.iter().map(plain).collect();
    values.filter(|values| !values.is_empty())
}

/// All the calls; `None` when one part does not say, or none does.
fn union(parts: impl Iterator<Item = Option<Vec<NeededCalls>>>) -> Option<Vec<NeededCalls>> {
    let mut all = Vec::new();
    for part in parts {
        // A part that may match any call makes the whole match any.
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

#[cfg(test)]
mod tests {
    use super::*;
    use rsigma_parser::parse_sigma_yaml;

    fn needed(detection: &str) -> Option<Vec<NeededCalls>> {
        let text = format!("title: t\nlogsource: {{product: aws}}\ndetection: {detection}");
        let parsed = parse_sigma_yaml(&text).unwrap();
        needed_calls(parsed.rules.first().unwrap())
    }

    fn calls(source: &str, names: Option<&[&str]>) -> NeededCalls {
        NeededCalls {
            source: source.to_owned(),
            names: names.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
        }
    }

    #[test]
    fn a_rule_needs_what_its_condition_cannot_do_without() {
        let s3 = "{eventSource: s3.amazonaws.com, eventName: [GetObject, PutObject]}";
        let iam = "{eventSource: iam.amazonaws.com}";
        let of_s3 = calls("s3.amazonaws.com", Some(&["GetObject", "PutObject"]));
        let of_iam = calls("iam.amazonaws.com", None);
        let with =
            |condition: &str| needed(&format!("{{a: {s3}, b: {iam}, condition: {condition}}}"));
        assert_eq!(with("a"), Some(vec![of_s3.clone()]));
        assert_eq!(with("a and not b"), Some(vec![of_s3.clone()]));
        assert_eq!(with("a or b"), Some(vec![of_s3, of_iam]));
        assert_eq!(with("a or not b"), None);
    }

    #[test]
    fn what_may_be_any_call_is_not_narrowed() {
        for detection in [
            "{a: {eventSource|endswith: .amazonaws.com}, condition: a}",
            "{a: {eventSource: s3*}, condition: a}",
            "{a: {eventName: GetObject}, condition: a}",
            "{a: [word], condition: a}",
            "{a: {eventSource: x}, b: {errorCode: y}, condition: 1 of them}",
        ] {
            assert_eq!(needed(detection), None, "{detection}");
        }
        // An underscore keeps a selection out of `them`.
        let narrowed = needed("{a: {eventSource: x}, _b: {errorCode: y}, condition: 1 of them}");
        assert_eq!(narrowed, Some(vec![calls("x", None)]));
    }

    #[test]
    fn calls_are_compared_without_regard_to_case() {
        let ours = calls("KMS.amazonaws.com", Some(&["decrypt"]));
        let theirs = calls("kms.amazonaws.com", Some(&["Encrypt", "Decrypt"]));
        assert!(ours.are_in(std::slice::from_ref(&theirs)));
        assert!(ours.are_in(&[calls("kms.amazonaws.com", None)]));
        assert!(!theirs.are_in(std::slice::from_ref(&ours)));
        assert!(!calls("kms.amazonaws.com", None).are_in(&[theirs]));
    }

    #[test]
    fn names_are_added_once_and_any_name_swallows_them() {
        let mut known = calls("s", Some(&["a", "b"]));
        known.add_names_of(&calls("s", Some(&["b", "c"])));
        assert_eq!(known, calls("s", Some(&["a", "b", "c"])));
        known.add_names_of(&calls("s", None));
        assert_eq!(known, calls("s", None));
        known.add_names_of(&calls("s", Some(&["a"])));
        assert_eq!(known, calls("s", None));
    }
}
