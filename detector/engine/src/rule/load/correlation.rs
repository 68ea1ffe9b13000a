//! Sigma correlations to windows. What is not monotone, or not ours to count, is refused.

use rsigma_parser::{
    ConditionExpr, ConditionOperator, CorrelationCondition, CorrelationRule, CorrelationType,
    WindowMode,
};

use crate::rule::{
    USUAL_SECRETS, WindowCondition, WindowMember, WindowRule,
    cover::CoverLinks,
    fault::LoadError,
    fields,
    load::{
        block::{AddedRule, ExtensionBlock},
        build::RuleSetBuild,
        meta::meta,
        parsed::ParsedCorrelation,
    },
};

/// Adds the window of a correlation to a set in the making; the rules that it names feed it from
/// now on.
pub(super) fn add(
    parsed: &ParsedCorrelation<'_>,
    all: &[ParsedCorrelation<'_>],
    build: &mut RuleSetBuild,
) -> Result<AddedRule, LoadError> {
    let ParsedCorrelation { source, rule } = parsed;
    let asked = CorrelationTerms::of(rule).map_err(|refusal| refusal.at(parsed))?;
    // Before the window is pushed: the rules feed the index that it is about to get.
    let block = block(parsed)?;
    if block.rate_multiplier.is_some() {
        check_rate_multiplier(rule, &asked).map_err(|refusal| refusal.at(parsed))?;
    }
    let is_rated = block.rate_multiplier.is_some();
    let members =
        members(rule, &asked, is_rated, all, build).map_err(|refusal| refusal.at(parsed))?;
    let suppress_secs = block.suppress_secs(source)?;
    // A span beyond this is longer than any log; sums with event times must not overflow.
    let span_secs = i64::try_from(rule.timespan.seconds).unwrap_or(i64::MAX / 4);
    build.warn_of_status(rule.status, &rule.title, source);
    let meta = meta!(rule, block, counts_new(build), source.file);
    let id = meta.id.clone();
    let counts_values = rule.correlation_type == CorrelationType::ValueCount;
    build.set.windows.push(WindowRule {
        id: meta.id.as_str().into(),
        meta,
        alerts: true,
        condition: asked.condition,
        span_secs,
        // One bucket per span by default: a sliding window would otherwise alert at every further
        // event.
        suppress_secs: suppress_secs.unwrap_or(span_secs),
        rate_multiplier: block.rate_multiplier,
        needs_policy: (block.rate_multiplier.is_some() && !counts_values)
            || needs_policy(rule, build),
        group: rule.group_by.iter().map(|g| g.as_str().into()).collect(),
        members,
        cover: CoverLinks::default(),
    });
    Ok(AddedRule { id, block })
}

/// Whether a correlation can only fire with an access policy: its rules can, where one of them must
/// have a fact.
fn needs_policy(rule: &CorrelationRule, build: &RuleSetBuild) -> bool {
    let mut members = rule.rules.iter().filter_map(|name| {
        let detection = build.set.detections.get(build.named(name)?)?;
        Some(detection.needs_policy)
    });
    match rule.correlation_type {
        CorrelationType::Temporal | CorrelationType::TemporalOrdered => members.any(|needs| needs),
        _ => members.all(|needs| needs),
    }
}

/// Our block in a correlation.
fn block(parsed: &ParsedCorrelation<'_>) -> Result<ExtensionBlock, LoadError> {
    let ParsedCorrelation { source, rule } = parsed;
    let block = ExtensionBlock::read(source, &rule.custom_attributes)?;
    if block.covered_by.is_none() {
        return Ok(block);
    }
    let message = "is for rules about single events; remove it";
    Err(source.error("covered-by", "secretrail.covered-by", message))
}

/// What is wrong in a correlation.
#[derive(Debug)]
struct CorrelationFault {
    /// A word at its place in the file.
    near: String,
    field: String,
    message: String,
}

impl CorrelationFault {
    fn new(near: &str, field: &str, message: impl Into<String>) -> Self {
        Self {
            near: near.to_owned(),
            field: field.to_owned(),
            message: message.into(),
        }
    }

    /// A key that stands in the file by the last part of its name.
    fn of_key(field: &str, message: impl Into<String>) -> Self {
        Self::new(field.rsplit('.').next().unwrap_or(field), field, message)
    }

    fn at(self, parsed: &ParsedCorrelation<'_>) -> LoadError {
        let Self {
            near,
            field,
            message,
        } = self;
        parsed.source.error(&near, &field, message)
    }
}

/// When a correlation fires, and the fields whose values it counts.
#[derive(Debug)]
struct CorrelationTerms {
    condition: WindowCondition,
    counted: Vec<String>,
}

impl CorrelationTerms {
    fn of(rule: &CorrelationRule) -> Result<Self, CorrelationFault> {
        check_shape(rule)?;
        match &rule.condition {
            CorrelationCondition::Extended(expr) => Ok(Self {
                condition: expression(rule, expr)?,
                counted: Vec::new(),
            }),
            CorrelationCondition::Threshold {
                predicates, field, ..
            } => Self::at_least(least(predicates)?, rule, field.as_deref()),
        }
    }

    /// A correlation that fires from a number on.
    fn at_least(
        least: u64,
        rule: &CorrelationRule,
        field: Option<&[String]>,
    ) -> Result<Self, CorrelationFault> {
        let rules = rule.rules.len() as u64;
        // A temporal correlation without a number asks for all of its rules.
        let several = if least <= 1 { rules } else { least.min(rules) };
        let condition = match rule.correlation_type {
            CorrelationType::EventCount => WindowCondition::Events(least),
            CorrelationType::ValueCount if field.is_some() => WindowCondition::Values(least),
            CorrelationType::ValueCount => {
                let message = "`value_count` needs `field:`, whose values it counts";
                return Err(CorrelationFault::of_key("correlation.condition", message));
            }
            CorrelationType::Temporal => WindowCondition::Rules(several),
            CorrelationType::TemporalOrdered => WindowCondition::Ordered(rules),
            other => {
                let known = "use event_count, value_count, temporal or temporal_ordered";
                let message = format!("`{}` is not supported; {known}", other.as_str());
                return Err(CorrelationFault::of_key("correlation.type", message));
            }
        };
        let counted = match condition {
            WindowCondition::Values(_) => field.unwrap_or_default().to_vec(),
            _ => Vec::new(),
        };
        Ok(Self { condition, counted })
    }
}

/// Refuses what a correlation must not lack, and kinds of windows that are not counted here.
fn check_shape(rule: &CorrelationRule) -> Result<(), CorrelationFault> {
    if rule.window != WindowMode::Sliding {
        let message = "only sliding windows are supported; remove it";
        Err(CorrelationFault::of_key("correlation.window", message))
    } else if rule.rules.is_empty() {
        let message = "names no rule; list ids or names";
        Err(CorrelationFault::new(
            "correlation:",
            "correlation.rules",
            message,
        ))
    } else if let Some(unknown) = unknown_in_aliases(rule) {
        let message = format!("`{unknown}` is none of the rules of the correlation");
        Err(CorrelationFault::new(
            unknown,
            "correlation.aliases",
            message,
        ))
    } else if rule.timespan.seconds == 0 {
        let message = "must be longer than nothing, as in `10m`";
        Err(CorrelationFault::of_key("correlation.timespan", message))
    } else {
        Ok(())
    }
}

/// A rule that has other names for fields by `aliases`, and that is not in the correlation.
fn unknown_in_aliases(rule: &CorrelationRule) -> Option<&str> {
    let mapped = rule.aliases.iter().flat_map(|alias| alias.mapping.keys());
    let mut unknown: Vec<&String> = mapped.filter(|name| !rule.rules.contains(name)).collect();
    unknown.sort();
    unknown.first().map(|name| name.as_str())
}

/// The number that every bound allows. Bounds from above are refused: a window that has fired must
/// not be taken back by a record that comes late.
fn least(predicates: &[(ConditionOperator, u64)]) -> Result<u64, CorrelationFault> {
    let mut least = 1;
    for (operator, count) in predicates {
        let bound = match operator {
            ConditionOperator::Gte => *count,
            ConditionOperator::Gt => count.saturating_add(1),
            _ => {
                let message = "`lt`, `lte`, `eq` and `neq` would withdraw alerts \
                               when a late record arrives; use `gte` or `gt`";
                return Err(CorrelationFault::of_key("correlation.condition", message));
            }
        };
        least = least.max(bound);
    }
    Ok(least)
}

/// An expression over the rules of a correlation.
fn expression(
    rule: &CorrelationRule,
    expr: &ConditionExpr,
) -> Result<WindowCondition, CorrelationFault> {
    let message = if !matches!(rule.correlation_type, CorrelationType::Temporal) {
        "an expression needs `type: temporal`; use `gte: …`"
    } else if has_not(expr) {
        "`not` would withdraw alerts when a late record arrives; remove it"
    } else {
        return Ok(WindowCondition::Expression(
            expr.clone(),
            rule.rules.clone(),
        ));
    };
    Err(CorrelationFault::of_key("correlation.condition", message))
}

fn has_not(expr: &ConditionExpr) -> bool {
    match expr {
        ConditionExpr::Not(_) => true,
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => parts.iter().any(has_not),
        ConditionExpr::Identifier(_) | ConditionExpr::Selector { .. } => false,
    }
}

/// What the window reads from each of its rules, which feed it from now on.
fn members(
    rule: &CorrelationRule,
    asked: &CorrelationTerms,
    is_rated: bool,
    all: &[ParsedCorrelation<'_>],
    build: &mut RuleSetBuild,
) -> Result<Vec<WindowMember>, CorrelationFault> {
    let mut members = Vec::new();
    for (slot, name) in rule.rules.iter().enumerate() {
        let detection = build.named(name).ok_or_else(|| not_one_rule(name, all))?;
        let member = member(rule, name, &asked.counted);
        let feed = WindowFeed {
            detection,
            slot,
            generate: rule.generate,
            knows_usual: is_rated && !asked.counted.is_empty(),
        };
        feed.connect(&member, build).map_err(|(field, wrong)| {
            let message = format!("`{name}` has no such field; {wrong}");
            CorrelationFault::new(&field, &field, message)
        })?;
        members.push(member);
    }
    Ok(members)
}

/// Whether one of the rules that the next window counts asks what was seen before.
fn counts_new(build: &RuleSetBuild) -> bool {
    let window = build.set.windows.len();
    let mut counted = build.set.detections.iter().filter(|rule| {
        let mut feeds = rule.feeds.iter();
        feeds.any(|(fed, _)| *fed == window)
    });
    counted.any(|rule| rule.meta.asks_for_seen)
}

/// Why a name does not mean one rule about single events.
fn not_one_rule(name: &str, all: &[ParsedCorrelation<'_>]) -> CorrelationFault {
    let is_correlation = all.iter().any(|other| {
        let rule = &other.rule;
        rule.id.as_deref() == Some(name) || rule.name.as_deref() == Some(name)
    });
    let message = if is_correlation {
        "is a correlation; correlations of correlations are not supported, \
         name rules about single events"
    } else {
        "does not name exactly one loaded rule; use the id or name of one, and load its file"
    };
    CorrelationFault::new(name, "correlation.rules", format!("`{name}` {message}"))
}

/// What the window reads from events of one rule: aliases map its names to the rule's own.
fn member(rule: &CorrelationRule, name: &str, counted: &[String]) -> WindowMember {
    WindowMember {
        group: rule.group_by.iter().map(|f| alias(rule, name, f)).collect(),
        value: counted.iter().map(|f| alias(rule, name, f)).collect(),
        // Events without a field of the group belong to nobody in particular, and would all count
        // together.
        lenient: false,
    }
}

/// What a rule calls a field of the correlation.
fn alias(rule: &CorrelationRule, name: &str, field: &String) -> String {
    let alias = rule.aliases.iter().find(|alias| alias.alias == *field);
    let mapped = alias.and_then(|alias| alias.mapping.get(name));
    mapped.unwrap_or(field).clone()
}

/// A rule that feeds the window that comes next.
struct WindowFeed {
    detection: usize,
    /// Which of the window's rules it is.
    slot: usize,
    /// Whether it may raise alerts of its own nevertheless.
    generate: bool,
    /// Whether the usual number of what is counted is needed.
    knows_usual: bool,
}

impl WindowFeed {
    /// Connects the rule. Errors hold the field, and what is wrong with it.
    fn connect(
        self,
        member: &WindowMember,
        build: &mut RuleSetBuild,
    ) -> Result<(), (String, fields::UnknownField)> {
        let window = build.set.windows.len();
        let Some(rule) = build.set.detections.get_mut(self.detection) else {
            return Ok(());
        };
        let target = rule.target;
        rule.feeds.push((window, self.slot));
        for field in member.group.iter().chain(&member.value) {
            fields::check(field, target).map_err(|wrong| (field.clone(), wrong))?;
            // The rule itself may be evaluated early; the fields of the window may not.
            rule.judged = rule.judged.needing(field);
        }
        if self.knows_usual {
            rule.judged = rule.judged.needing(USUAL_SECRETS);
            build.set.ask_for_field(target, USUAL_SECRETS);
        }
        for field in member.group.iter().chain(&member.value) {
            build.set.ask_for_field(target, field);
        }
        // One correlation that allows the rule its own alerts is enough.
        *build.generated.entry(self.detection).or_default() |= self.generate;
        Ok(())
    }
}

/// Refuses a rate where there is no usual one to compare with.
fn check_rate_multiplier(
    rule: &CorrelationRule,
    asked: &CorrelationTerms,
) -> Result<(), CorrelationFault> {
    let by = |field: &str| rule.group_by.iter().any(|group| group == field);
    let by_pair = by("principal.arn") && (by("secret.name") || by("secret.arn"));
    if rule.correlation_type == CorrelationType::EventCount && by_pair {
        return Ok(());
    }
    let counts_secrets = asked.counted.iter().map(String::as_str).eq(["secret.id"]);
    if counts_secrets && by("principal.arn") {
        return Ok(());
    }
    let message = "needs reads of one secret by one principal, or different secrets of one; \
                   use `type: event_count` and `group-by: [principal.arn, secret.name]`, or \
                   `type: value_count`, `field: secret.id` and `group-by: [principal.arn]`";
    Err(CorrelationFault::new(
        "rate_multiplier",
        "secretrail.rate_multiplier",
        message,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{RuleSet, load::load};

    fn text(body: &str) -> String {
        let rule = |name: &str| {
            format!(
                "title: {name}
name: {name}
logsource: {{product: aws, category: secret_access}}
detection: {{sel: {{access.outcome: success}}, condition: sel}}
---
"
            )
        };
        let head = "title: C\nid: c\ncorrelation:\n    rules: [one, two]\n";
        [rule("one"), rule("two"), head.to_owned(), body.to_owned()].concat()
    }

    fn window(body: &str) -> WindowRule {
        let (mut rules, _) = load([("r.yml", &*text(body))]).unwrap();
        rules.windows.swap_remove(0)
    }

    fn refused(body: &str) -> (String, String) {
        let error = load([("r.yml", &*text(body))]).unwrap_err().swap_remove(0);
        let text = text(body);
        let line = text.lines().nth(error.line - 1).unwrap();
        (error.field, line.trim().to_owned())
    }

    const BY: &str = "    group-by: [principal.arn]\n    timespan: 1h\n";

    #[test]
    fn bounds_from_below_become_the_number_that_is_asked_for() {
        let fires = |kind: &str| window(&format!("    type: {kind}\n{BY}")).condition;
        assert_eq!(
            fires("event_count\n    condition: {gt: 4}"),
            WindowCondition::Events(5)
        );
        assert_eq!(
            fires("event_count\n    condition: {gte: 2, gt: 6}"),
            WindowCondition::Events(7)
        );
        // A temporal correlation asks for all its rules, or for as many as it has.
        assert_eq!(fires("temporal"), WindowCondition::Rules(2));
        assert_eq!(
            fires("temporal\n    condition: {gte: 9}"),
            WindowCondition::Rules(2)
        );
        assert_eq!(fires("temporal_ordered"), WindowCondition::Ordered(2));
    }

    #[test]
    fn what_could_take_an_alert_back_is_refused_at_its_condition() {
        let field = "correlation.condition".to_owned();
        for condition in ["{lt: 3}", "{eq: 3}", "{gte: 1, lte: 9}"] {
            let line = format!("condition: {condition}");
            let body = format!("    type: event_count\n{BY}    {line}\n");
            assert_eq!(refused(&body), (field.clone(), line));
        }
        let line = "condition: one and not two".to_owned();
        let body = format!("    type: temporal\n{BY}    {line}\n");
        assert_eq!(refused(&body), (field, line));
    }

    #[test]
    fn a_rule_is_named_by_what_means_it_alone() {
        let body = format!("    type: event_count\n{BY}    condition: {{gte: 2}}\n");
        let named = |name: &str| text(&body).replace("[one, two]", name);
        let message = |name: &str| {
            let errors = load([("r.yml", &*named(name))]).unwrap_err();
            assert_eq!(errors[0].field, "correlation.rules");
            errors[0].message.clone()
        };
        assert!(message("[c]").contains("is a correlation"));
        assert!(message("[three]").contains("does not name exactly one loaded rule"));
    }

    #[test]
    fn aliases_are_of_the_rules_of_the_correlation() {
        let body = format!(
            "    type: event_count\n{BY}    condition: {{gte: 2}}\n    aliases:\n      \
             who: {{one: a, three: b}}\n"
        );
        let errors = load([("r.yml", &*text(&body))]).unwrap_err();
        assert_eq!(errors[0].field, "correlation.aliases");
        assert!(errors[0].message.contains("`three`"));
    }

    #[test]
    fn a_rule_that_only_feeds_a_correlation_is_silent() {
        let body = format!("    type: event_count\n{BY}    condition: {{gte: 2}}\n");
        let alerting = |text: &str| {
            let (rules, _): (RuleSet, _) = load([("r.yml", text)]).unwrap();
            let ids = rules.alerting().map(|meta| meta.id.clone());
            ids.collect::<Vec<_>>()
        };
        assert_eq!(alerting(&text(&body)), ["c"]);
        let generating =
            text(&body).replace("rules: [one, two]", "generate: true\n    rules: [one]");
        assert_eq!(alerting(&generating), ["one", "two", "c"]);
    }
}
