//! Values for the placeholders of `|expand`, and rules with those values in their places.

use std::collections::BTreeMap;

use rsigma_eval::PipelineState;
use rsigma_eval::pipeline::Transformation;
use rsigma_parser::{Detection as Selection, Modifier, SigmaRule, SigmaValue};

/// Values of the placeholders that rules with `|expand` name between percent signs.
pub type Vars = BTreeMap<String, Vec<String>>;

/// Reads placeholder values: a YAML mapping of names to a value or a list of values, by itself or
/// under `vars:` as in a Sigma processing pipeline.
///
/// # Errors
///
/// What is wrong and how to mend it.
pub fn read(text: &str) -> Result<Vars, String> {
    let remedy =
        "write names with a value or a list of values, as in `approved_regions: [eu-west-1]`";
    let file: yaml_serde::Value =
        yaml_serde::from_str(text).map_err(|error| format!("{error}; {remedy}"))?;
    let map = file
        .get("vars")
        .unwrap_or(&file)
        .as_mapping()
        .ok_or_else(|| format!("is not a mapping; {remedy}"))?;
    let word = |value: &yaml_serde::Value| match value {
        yaml_serde::Value::String(text) => Some(text.clone()),
        yaml_serde::Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let mut vars = Vars::new();
    for (name, value) in map {
        let values = match value {
            yaml_serde::Value::Sequence(items) => {
                items.iter().map(word).collect::<Option<Vec<_>>>()
            }
            one => word(one).map(|one| vec![one]),
        };
        let named = word(name).zip(values.filter(|values| !values.is_empty()));
        let (name, values) =
            named.ok_or_else(|| format!("{name:?} has no usable value; {remedy}"))?;
        vars.insert(name, values);
    }
    Ok(vars)
}

/// Puts the values of `|expand` placeholders into a rule. The error is the name of one that has
/// none.
pub(super) fn expand(rule: &mut SigmaRule, vars: &Vars) -> Result<(), String> {
    let mut named: Vec<&mut Selection> = rule.detection.named.values_mut().collect();
    if !named.iter().any(|selection| has_expand(selection)) {
        return Ok(());
    }
    let mut state = PipelineState::new(
        vars.iter()
            .map(|(name, values)| (name.clone(), values.clone()))
            .collect(),
    );
    // The only transformation that is asked for, and it cannot fail; were it to, its placeholder
    // would be left and named.
    Transformation::ValuePlaceholders
        .apply(rule, &mut state, &[], &[], false)
        .ok();
    named = rule.detection.named.values_mut().collect();
    named.into_iter().try_for_each(without_expand)
}

fn has_expand(selection: &Selection) -> bool {
    match selection {
        Selection::AllOf(items) => items
            .iter()
            .any(|item| item.field.has_modifier(Modifier::Expand)),
        Selection::AnyOf(many) | Selection::And(many) => many.iter().any(has_expand),
        Selection::ArrayMatch { body, .. } => has_expand(body),
        Selection::Conditional { named, .. } => named.values().any(has_expand),
        Selection::Keywords(_) => false,
    }
}

/// Takes the modifier away where every placeholder has its value.
fn without_expand(selection: &mut Selection) -> Result<(), String> {
    match selection {
        Selection::AllOf(items) => items
            .iter_mut()
            .filter(|i| i.field.has_modifier(Modifier::Expand))
            .try_for_each(|i| {
                let texts = i.values.iter().filter_map(|value| match value {
                    SigmaValue::String(text) => Some(text.original.as_str()),
                    _ => None,
                });
                let left = texts
                    .filter_map(|text| {
                        text.split('%')
                            .nth(1)
                            .filter(|_| text.matches('%').count() > 1)
                    })
                    .next();
                match left {
                    Some(name) => Err(name.to_owned()),
                    None => {
                        i.field.modifiers.retain(|m| *m != Modifier::Expand);
                        Ok(())
                    }
                }
            }),
        Selection::AnyOf(many) | Selection::And(many) => {
            many.iter_mut().try_for_each(without_expand)
        }
        Selection::ArrayMatch { body, .. } => without_expand(body),
        Selection::Conditional { named, .. } => named.values_mut().try_for_each(without_expand),
        Selection::Keywords(_) => Ok(()),
    }
}
