//! The lines of an explanation: what a condition, its selections and their items asked for, and
//! what was there.

use rsigma_eval::explain::{ConditionTrace, DetectionTrace, ItemTrace, MatchReason, explain_rule};
use rsigma_eval::{Event, result::MatcherKind};

use super::{EventTrace, ExplainLine};
use crate::rule::DetectionRule;

/// How the line of a selection begins; its name follows.
pub(super) const SELECTION: &str = "selection ";

/// What a rule makes of an event.
pub(super) fn trace(detection: &DetectionRule, event: &impl Event, label: String) -> EventTrace {
    let explanation = explain_rule(&detection.compiled, event);
    let mut lines = ConditionLines::default();
    for condition in &explanation.conditions {
        lines.condition(condition, 0);
    }
    EventTrace {
        rule: String::new(),
        event: label,
        matched: explanation.matched,
        lines: lines.0,
    }
}

/// Lines so far, from the outside of a condition in.
#[derive(Default)]
struct ConditionLines(Vec<ExplainLine>);

impl ConditionLines {
    fn push(&mut self, depth: usize, holds: bool, text: String) {
        self.0.push(ExplainLine { depth, holds, text });
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
                self.0.extend(items.iter().map(|i| item(i, depth)));
            }
            DetectionTrace::AnyOf { branches, .. } => {
                self.push(depth, holds, "any of these".to_owned());
                self.detections(branches.iter(), depth + 1);
            }
            // A mapping, some of whose fields have arrays; like `AllOf`, it needs no line of its
            // own.
            DetectionTrace::And { branches, .. } => self.detections(branches.iter(), depth),
            DetectionTrace::Keywords { item: keyword, .. } => self.0.push(item(keyword, depth)),
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
}

/// What one field was asked for, and what it was instead.
fn item(trace: &ItemTrace, depth: usize) -> ExplainLine {
    let field = trace.field.as_deref().unwrap_or("any text");
    let pattern = trace.pattern.as_deref();
    let pattern = pattern.map_or_else(String::new, |pattern| format!(" {pattern}"));
    let asked = format!("{}{pattern}", word(trace.matcher));
    let actual = match (&trace.actual, trace.reason) {
        (_, MatchReason::FieldAbsent) => "; it is absent".to_owned(),
        (_, MatchReason::CaseMismatch) => "; only upper and lower case differ".to_owned(),
        (Some(actual), _) if !trace.matched => format!("; it is {actual}"),
        _ => String::new(),
    };
    ExplainLine {
        depth,
        holds: trace.matched,
        text: format!("{field} {asked}{actual}"),
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
