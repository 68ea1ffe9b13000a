//! The lines of an explanation: what a condition, its selections and their items asked for, and
//! what was there.

use rsigma_eval::{
    Event,
    explain::{ConditionTrace, DetectionTrace, ItemTrace, MatchReason, explain_rule},
    result::MatcherKind,
};

use super::{EventTrace, ExplainLine};
use crate::rule::{
    DetectionRule,
    values::{ListTrace, ListedEvent, ValueLists},
};

/// How the line of a selection begins; its name follows.
pub(super) const SELECTION: &str = "selection ";

/// What a rule makes of an event.
pub(super) fn trace(
    detection: &DetectionRule,
    lists: &ValueLists,
    event: &impl Event,
    label: String,
) -> EventTrace {
    let explanation = explain_rule(&detection.compiled, &ListedEvent { event, lists });
    let mut lines = ConditionLines {
        lines: Vec::new(),
        listed: &|field| lists.trace(field, event),
    };
    for condition in &explanation.conditions {
        lines.condition(condition, 0);
    }
    EventTrace {
        rule: String::new(),
        event: label,
        matched: explanation.matched,
        lines: lines.lines,
    }
}

/// Lines so far, from the outside of a condition in.
struct ConditionLines<'l> {
    lines: Vec<ExplainLine>,
    /// What a field that stands for a long list asked for.
    listed: &'l dyn Fn(&str) -> Option<ListTrace>,
}

impl ConditionLines<'_> {
    fn push(&mut self, depth: usize, holds: bool, text: String) {
        self.lines.push(ExplainLine { depth, holds, text });
    }

    fn condition(&mut self, trace: &ConditionTrace, depth: usize) {
        let holds = trace.matched();
        match trace {
            ConditionTrace::Selection {
                name, detection, ..
            } => self.selection(name, holds, detection, depth),
            ConditionTrace::And { children, .. } => {
                self.push(depth, holds, "all of these".to_owned());
                self.conditions(children, depth + 1);
            }
            ConditionTrace::Or { children, .. } => {
                self.push(depth, holds, "any of these".to_owned());
                self.conditions(children, depth + 1);
            }
            ConditionTrace::Not { child, .. } => {
                self.push(depth, holds, "not this".to_owned());
                self.condition(child, depth + 1);
            }
            ConditionTrace::Quantified {
                quantifier,
                need,
                got,
                branches,
                ..
            } => {
                let what = format!("{quantifier} of {} selections", branches.len());
                let text = format!("{what}: {got} of the {need} that are needed");
                self.push(depth, holds, text);
                for branch in branches {
                    self.selection(&branch.name, branch.matched, &branch.detection, depth + 1);
                }
            }
        }
    }

    fn conditions(&mut self, all: &[ConditionTrace], depth: usize) {
        all.iter().for_each(|one| self.condition(one, depth));
    }

    fn selection(&mut self, name: &str, holds: bool, trace: &DetectionTrace, depth: usize) {
        self.push(depth, holds, format!("{SELECTION}{name}"));
        self.detection(trace, depth + 1);
    }

    fn detection(&mut self, trace: &DetectionTrace, depth: usize) {
        let holds = trace.matched();
        match trace {
            DetectionTrace::AllOf { items, .. } => {
                items.iter().for_each(|item| self.item(item, depth));
            }
            DetectionTrace::AnyOf { branches, .. } => {
                self.push(depth, holds, "any of these".to_owned());
                self.detections(branches.iter(), depth + 1);
            }
            // A mapping, some of whose fields have arrays; like `AllOf`, it needs no line of its
            // own.
            DetectionTrace::And { branches, .. } => self.detections(branches.iter(), depth),
            DetectionTrace::Keywords { item, .. } => self.item(item, depth),
            DetectionTrace::ArrayMatch {
                field,
                quantifier,
                member_count,
                matched_count,
                members,
                ..
            } => {
                let what = format!("{quantifier} of the {member_count} members of {field}");
                self.push(depth, holds, format!("{what}: {matched_count} match"));
                self.detections(members.iter().map(|m| &m.detection), depth + 1);
            }
            DetectionTrace::Conditional { condition, .. } => self.condition(condition, depth),
            DetectionTrace::Other { kind, .. } => self.push(depth, holds, kind.clone()),
        }
    }

    fn detections<'t>(&mut self, all: impl Iterator<Item = &'t DetectionTrace>, depth: usize) {
        all.for_each(|one| self.detection(one, depth));
    }

    fn item(&mut self, trace: &ItemTrace, depth: usize) {
        let field = trace.field.as_deref();
        let line = match field.and_then(|field| (self.listed)(field)) {
            Some(list) => {
                let trace = ItemTrace {
                    actual: list.actual,
                    ..trace.clone()
                };
                item(list.asked, &trace, depth)
            }
            None => item(asked(trace), trace, depth),
        };
        self.lines.push(line);
    }
}

/// What one field was asked for.
fn asked(trace: &ItemTrace) -> String {
    let field = trace.field.as_deref().unwrap_or("any text");
    let pattern = trace.pattern.as_deref();
    let pattern = pattern.map_or_else(String::new, |pattern| format!(" {pattern}"));
    format!("{field} {}{pattern}", word(trace.matcher))
}

/// What one field was asked for, and what it was instead.
fn item(asked: String, trace: &ItemTrace, depth: usize) -> ExplainLine {
    let actual = match (&trace.actual, trace.reason) {
        (_, MatchReason::FieldAbsent) => "; it is absent".to_owned(),
        (_, MatchReason::CaseMismatch) => "; only upper and lower case differ".to_owned(),
        (Some(actual), _) if !trace.matched => format!("; it is {actual}"),
        _ => String::new(),
    };
    ExplainLine {
        depth,
        holds: trace.matched,
        text: asked + &actual,
    }
}

/// How a matcher reads between a field and its pattern.
fn word(kind: MatcherKind) -> &'static str {
    match kind {
        MatcherKind::Exact => "is",
        MatcherKind::Contains => "contains",
        MatcherKind::StartsWith => "starts with",
        MatcherKind::EndsWith => "ends with",
        MatcherKind::Regex => "matches",
        MatcherKind::OneOf => "is one of",
        MatcherKind::Cidr => "is in",
        MatcherKind::Numeric => "compares to",
        MatcherKind::Exists => "exists",
        MatcherKind::FieldRef => "equals the field",
        MatcherKind::Null => "is absent",
        MatcherKind::Bool => "is",
        MatcherKind::Expand => "is",
        MatcherKind::Timestamp => "has the time",
        MatcherKind::Keyword => "contains the word",
    }
}
