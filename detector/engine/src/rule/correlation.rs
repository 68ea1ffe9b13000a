//! Sigma correlations to windows. What is not monotone, or not ours to count, is refused.

use std::sync::Arc;

use rsigma_parser::{
    ConditionExpr, ConditionOperator, CorrelationCondition, CorrelationRule, CorrelationType,
    WindowMode,
};

use crate::rule::load::{Build, LoadError, Loader, meta};
use crate::rule::{Member, Window, WindowCondition, fields};
use crate::rule_meta::RuleMeta;

impl Loader<'_> {
    /// The window of a correlation; the rules that it names feed it from now on.
    pub(super) fn correlation(
        &self,
        at: usize,
        rule: &CorrelationRule,
        all: &[(usize, CorrelationRule)],
        build: &mut Build,
    ) -> Result<Window, LoadError> {
        let fault = |needle: &str, field: &str, message: String| {
            self.source(at)
                .error(needle, &format!("title: {}", rule.title), field, message)
        };
        let missing = if rule.window != WindowMode::Sliding {
            Some((
                "window",
                "correlation.window",
                "only sliding windows are supported; remove it",
            ))
        } else if rule.rules.is_empty() {
            Some((
                "correlation:",
                "correlation.rules",
                "names no rule; list ids or names",
            ))
        } else if rule.group_by.is_empty() {
            let message = "is missing; name at least one field, as in `principal.arn`";
            Some(("correlation:", "correlation.group-by", message))
        } else if rule.timespan.seconds == 0 {
            Some((
                "timespan",
                "correlation.timespan",
                "must be longer than nothing, as in `10m`",
            ))
        } else {
            None
        };
        if let Some((needle, field, message)) = missing {
            return Err(fault(needle, field, message.to_owned()));
        }
        let (condition, value) = condition(rule).map_err(|(field, message)| {
            fault(field.rsplit('.').next().unwrap_or(field), field, message)
        })?;
        let mut members = Vec::new();
        for (slot, name) in rule.rules.iter().enumerate() {
            let is_correlation = || {
                all.iter()
                    .any(|(_, c)| c.id.as_ref() == Some(name) || c.name.as_ref() == Some(name))
            };
            let Some(detection) = build.named(name) else {
                let message = if is_correlation() {
                    "is a correlation; correlations of correlations are not supported, name rules about single events"
                } else {
                    "is not exactly one loaded rule; name it by its id or name, and load its file too"
                };
                return Err(fault(
                    name,
                    "correlation.rules",
                    format!("`{name}` {message}"),
                ));
            };
            let member = member(rule, name, &value);
            feed(build, detection, slot, rule.generate, &member).map_err(|(field, remedy)| {
                fault(
                    &field,
                    &field,
                    format!("`{name}` has no such field; {remedy}"),
                )
            })?;
            members.push(member);
        }
        let block = self.block(at, &rule.title, &rule.custom_attributes)?;
        if block.times_usual.is_some() {
            let by = |field: &str| rule.group_by.iter().any(|group| group == field);
            let by_pair = by("principal.arn") && (by("secret.name") || by("secret.arn"));
            if rule.correlation_type != CorrelationType::EventCount || !by_pair {
                let message = "compares the reads of one secret by one principal; use `type: event_count` and \
                               `group-by: [principal.arn, secret.name]`";
                return Err(fault(
                    "times_usual",
                    "secretrail.times_usual",
                    message.to_owned(),
                ));
            }
        }
        let suppress = block
            .suppress
            .as_deref()
            .map(|s| self.span(at, s, "secretrail.suppress"))
            .transpose()?;
        let span_secs = i64::try_from(rule.timespan.seconds).unwrap_or(i64::MAX / 4);
        let meta: Arc<RuleMeta> = meta!(rule, self.source(at).file);
        Ok(Window {
            id: meta.id.as_str().into(),
            meta,
            alerts: true,
            condition,
            span_secs,
            suppress_secs: suppress.unwrap_or(span_secs),
            times_usual: block.times_usual,
            group: rule.group_by.iter().map(|g| g.as_str().into()).collect(),
            members,
        })
    }
}

/// What the window reads from events of one rule: aliases map its names to the rule's own.
fn member(rule: &CorrelationRule, name: &str, value: &[String]) -> Member {
    let alias = |field: &String| {
        let mapped = rule
            .aliases
            .iter()
            .find(|a| a.alias == *field)
            .and_then(|a| a.mapping.get(name));
        mapped.unwrap_or(field).clone()
    };
    Member {
        group: rule.group_by.iter().map(alias).collect(),
        value: value.iter().map(alias).collect(),
        lenient: false,
    }
}

/// Lets a rule feed the window that comes next. Errors hold field and remedy.
fn feed(
    build: &mut Build,
    detection: usize,
    slot: usize,
    generate: bool,
    member: &Member,
) -> Result<(), (String, String)> {
    let window = build.set.windows.len();
    let Some(rule) = build.set.detections.get_mut(detection) else {
        return Ok(());
    };
    for field in member.group.iter().chain(&member.value) {
        fields::check(field, rule.target).map_err(|remedy| (field.clone(), remedy))?;
        rule.late |= fields::is_late(field);
        build.set.asks_for_seen |= fields::is_seen(field);
        build.set.wanted.take(rule.target, field);
    }
    *build.generated.entry(detection).or_default() |= generate;
    rule.feeds.push((window, slot));
    Ok(())
}

/// The condition of a correlation and the fields whose values it counts. Errors hold field and
/// message.
fn condition(
    rule: &CorrelationRule,
) -> Result<(WindowCondition, Vec<String>), (&'static str, String)> {
    let (predicates, field) = match &rule.condition {
        CorrelationCondition::Threshold {
            predicates, field, ..
        } => (predicates.as_slice(), field.clone()),
        CorrelationCondition::Extended(expr) => {
            if let CorrelationType::Temporal = rule.correlation_type {
                return match has_not(expr) {
                    true => Err((
                        "correlation.condition",
                        "`not` could take an alert back when a late record arrives; remove it"
                            .into(),
                    )),
                    false => Ok((
                        WindowCondition::Expression(expr.clone(), rule.rules.clone()),
                        Vec::new(),
                    )),
                };
            }
            return Err((
                "correlation.condition",
                "an expression needs `type: temporal`; use `gte: …`".into(),
            ));
        }
    };
    let mut least = 1;
    for (operator, count) in predicates {
        let bound = match operator {
            ConditionOperator::Gte => *count,
            ConditionOperator::Gt => count.saturating_add(1),
            _ => {
                let message = "`lt`, `lte`, `eq` and `neq` could take an alert back when a late record arrives; use `gte` or `gt`";
                return Err(("correlation.condition", message.into()));
            }
        };
        least = least.max(bound);
    }
    let rules = rule.rules.len() as u64;
    let all = if least <= 1 { rules } else { least.min(rules) };
    match (rule.correlation_type, field) {
        (CorrelationType::EventCount, _) => Ok((WindowCondition::Events(least), Vec::new())),
        (CorrelationType::ValueCount, Some(fields)) => Ok((WindowCondition::Values(least), fields)),
        (CorrelationType::ValueCount, None) => Err((
            "correlation.condition",
            "`value_count` needs `field:`, whose values it counts".into(),
        )),
        (CorrelationType::Temporal, _) => Ok((WindowCondition::Rules(all), Vec::new())),
        (CorrelationType::TemporalOrdered, _) => Ok((WindowCondition::Ordered(rules), Vec::new())),
        (other, _) => {
            let known = "use event_count, value_count, temporal or temporal_ordered";
            Err((
                "correlation.type",
                format!("`{}` is not supported; {known}", other.as_str()),
            ))
        }
    }
}

fn has_not(expr: &ConditionExpr) -> bool {
    match expr {
        ConditionExpr::Not(_) => true,
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => parts.iter().any(has_not),
        ConditionExpr::Identifier(_) | ConditionExpr::Selector { .. } => false,
    }
}
