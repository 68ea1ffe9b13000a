//! Sigma filters: the Sigma engine weaves each into the rules that it names.

use rsigma_eval::{Engine, EvalError};
use rsigma_parser::{FilterRule, FilterRuleTarget, SigmaRule};

use crate::rule::{
    fault::LoadError,
    load::{
        build::is_called,
        lists::without_long_lists,
        meaning::as_specified,
        parsed::{ParsedFilter, ParsedRule},
    },
    values::ValueLists,
};

/// Applies filters to rules, and gives what is wrong with some of them.
pub(super) fn apply(
    filters: Vec<ParsedFilter<'_>>,
    rules: &mut [ParsedRule<'_>],
    lists: &mut ValueLists,
) -> Vec<LoadError> {
    let mut errors = Vec::new();
    if filters.is_empty() {
        return errors;
    }
    let mut engine = Engine::new();
    engine.extend_compiled_rules(rules.iter().map(|parsed| parsed.compiled.clone()));
    for mut filter in filters {
        if let Err((word, message)) = as_specified(&mut filter.rule.detection) {
            errors.push(filter.source.error(&word, "filter", message));
        }
        errors.extend(resolve(&mut filter, rules));
        if let Err(error) = weave(&filter.rule, &mut engine, lists) {
            errors.push(filter.source.sigma_error(&error.to_string(), "filter"));
        }
        for parsed in rules.iter_mut().filter(|p| concerns(&filter.rule, &p.rule)) {
            add_selections(&filter.rule, &mut parsed.rule);
        }
    }
    // The engine keeps its rules in the order in which it was given them.
    for (parsed, filtered) in rules.iter_mut().zip(engine.rules()) {
        parsed.compiled = filtered.clone();
    }
    errors
}

/// Weaves a filter into the rules that it names, with its long lists beside them.
fn weave(
    filter: &FilterRule,
    engine: &mut Engine,
    lists: &mut ValueLists,
) -> Result<(), EvalError> {
    match without_long_lists(&filter.detection, lists)? {
        None => engine.apply_filter(filter),
        Some(detection) => engine.apply_filter(&FilterRule {
            detection,
            ..filter.clone()
        }),
    }
}

/// Puts the id in the place of every name by which a filter means a rule: a filter may name rules
/// as correlations do, but the Sigma engine knows them by id, or by title where they have none.
fn resolve(filter: &mut ParsedFilter<'_>, rules: &[ParsedRule<'_>]) -> Vec<LoadError> {
    let FilterRule { rules: target, .. } = &mut filter.rule;
    let FilterRuleTarget::Specific(names) = target else {
        return Vec::new();
    };
    let mut errors = Vec::new();
    for name in names {
        match rules.iter().find(|parsed| is_called(&parsed.rule, name)) {
            Some(ParsedRule { rule, .. }) => {
                *name = rule.id.clone().unwrap_or_else(|| rule.title.clone());
            }
            None => {
                let message = format!("`{name}` is no loaded rule; name one by id or name");
                errors.push(filter.source.error(name, "filter.rules", message));
            }
        }
    }
    errors
}

/// Whether a filter with ids for names is about a rule.
fn concerns(filter: &FilterRule, rule: &SigmaRule) -> bool {
    match &filter.rules {
        FilterRuleTarget::Any => true,
        FilterRuleTarget::Specific(names) => names
            .iter()
            .any(|name| rule.id.as_ref() == Some(name) || rule.title == *name),
    }
}

/// Lets a rule ask for the fields of a filter. They must be kept from the record too; the condition
/// stays the compiled one, which does not know these names.
fn add_selections(filter: &FilterRule, rule: &mut SigmaRule) {
    let count = rule.detection.named.len();
    let selections = filter.detection.named.values().enumerate();
    rule.detection.named.extend(
        selections
            .map(|(i, selection)| (format!("__filter_fields_{}", count + i), selection.clone())),
    );
}

#[cfg(test)]
mod tests {
    use crate::rule::load::load;

    const RULE: &str = "title: T
id: t
name: named
logsource: {product: aws, category: secret_access}
detection: {sel: {access.outcome: success}, condition: sel}
---
";

    fn filter(rules: &str) -> String {
        format!(
            "{RULE}title: F
logsource: {{product: aws, category: secret_access}}
filter:
    rules: {rules}
    ours: {{requestParameters.secretId: x}}
    condition: not ours
"
        )
    }

    #[test]
    fn the_fields_of_a_filter_are_kept_from_the_record() {
        let (rules, _) = load([("r.yml", &*filter("[named]"))]).unwrap();
        let wanted = &rules.wanted().of_accesses.names;
        assert!(wanted.contains("requestParameters.secretId"), "{wanted:?}");
    }

    #[test]
    fn a_filter_of_no_rule_is_refused_at_the_name() {
        let errors = load([("r.yml", &*filter("[other]"))]).unwrap_err();
        assert_eq!((errors[0].line, &*errors[0].field), (10, "filter.rules"));
    }
}
