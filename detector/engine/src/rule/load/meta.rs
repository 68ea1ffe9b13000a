//! What a rule says of itself, from the Sigma parser's types.

use crate::rule_meta::RuleLevel;

/// What a rule says of itself; rules about one event and about many have the same fields in types
/// of their own.
macro_rules! meta {
    ($rule:expr, $block:expr, $asks_for_seen:expr, $file:expr) => {
        std::sync::Arc::new($crate::rule_meta::RuleMeta {
            id: $rule
                .id
                .clone()
                .or_else(|| $rule.name.clone())
                .unwrap_or_else(|| $rule.title.clone()),
            title: $rule.title.clone(),
            level: $crate::rule::load::meta::level($rule.level),
            tags: $rule.tags.clone(),
            description: $rule.description.clone().unwrap_or_default(),
            false_positives: $rule.falsepositives.clone(),
            next_steps: $block.next_steps.clone(),
            asks_for_seen: $asks_for_seen,
            references: $rule.references.clone(),
            file: $file.to_owned(),
        })
    };
}
pub(super) use meta;

/// The level of a rule: `medium` where it names none.
pub(super) fn level(level: Option<rsigma_parser::Level>) -> RuleLevel {
    level
        .and_then(|level| level.as_str().parse().ok())
        .unwrap_or(RuleLevel::Medium)
}
