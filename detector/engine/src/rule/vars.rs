//! Values for the placeholders of `|expand`, and rules with those values in their places.

use std::collections::BTreeMap;

use rsigma_eval::{PipelineState, pipeline::Transformation};
use rsigma_parser::{Detection as Selection, DetectionItem, Modifier, SigmaRule, SigmaValue};

use crate::{
    sanitize::without_byte_order_mark,
    yaml::{self, YamlFault},
};

/// Values of the placeholders that rules with `|expand` name between percent signs.
pub type Placeholders = BTreeMap<String, Vec<String>>;

/// What to do about a file of values that cannot be used.
const REMEDY: &str =
    "write names with a value or a list of values, as in `approved_regions: [eu-west-1]`";

/// Why a file of values cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceholderError {
    /// It is not YAML.
    #[error("{0}; {REMEDY}")]
    Yaml(#[from] yaml_serde::Error),
    /// YAML that the parser should not be given.
    #[error("{}", placed(*.0))]
    Refused(#[from] YamlFault),
    /// It holds no names.
    #[error("is not a mapping; {REMEDY}")]
    NoMapping,
    /// A name, as it was written, whose value is neither text nor number nor a list of such.
    #[error("{0} has no usable value; {REMEDY}")]
    NoValue(String),
}

/// Reads placeholder values: a YAML mapping of names to a value or a list of values, by itself or
/// under `vars:` as in a Sigma processing pipeline.
///
/// # Errors
///
/// What is wrong and how to mend it.
pub fn read(text: &str) -> Result<Placeholders, PlaceholderError> {
    let text = without_byte_order_mark(text);
    yaml::check(text)?;
    let file: yaml_serde::Value = yaml_serde::from_str(text)?;
    let map = file.get("vars").unwrap_or(&file).as_mapping();
    let mut vars = Placeholders::new();
    for (name, value) in map.ok_or(PlaceholderError::NoMapping)? {
        let (name, values) = word(name)
            .zip(words(value))
            .ok_or_else(|| PlaceholderError::NoValue(format!("{name:?}")))?;
        vars.insert(name, values);
    }
    Ok(vars)
}

/// The fault, with its line where one is known.
fn placed(fault: YamlFault) -> String {
    match fault.line() {
        Some(line) => format!("line {line}: {fault}; {REMEDY}"),
        None => format!("{fault}; {REMEDY}"),
    }
}

/// A text, or a number as it would be written.
fn word(value: &yaml_serde::Value) -> Option<String> {
    match value {
        yaml_serde::Value::String(text) => Some(text.clone()),
        yaml_serde::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// One or several of those. A list of nothing would make a rule match nothing, silently.
fn words(value: &yaml_serde::Value) -> Option<Vec<String>> {
    let words = match value {
        yaml_serde::Value::Sequence(items) => items.iter().map(word).collect::<Option<Vec<_>>>(),
        one => word(one).map(|one| vec![one]),
    };
    words.filter(|words| !words.is_empty())
}

/// A placeholder that has no value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the placeholder `%{name}%` has no value; set it in the file given by --vars")]
pub(super) struct MissingPlaceholder {
    pub(super) name: String,
}

/// Puts the values of `|expand` placeholders into a rule.
pub(super) fn expand(rule: &mut SigmaRule, vars: &Placeholders) -> Result<(), MissingPlaceholder> {
    // Nearly every rule has none.
    if !rule.detection.named.values().any(has_expand) {
        return Ok(());
    }
    let values = vars
        .iter()
        .map(|(name, values)| (name.clone(), values.clone()));
    let mut state = PipelineState::new(values.collect());
    // The only transformation that is asked for, and it cannot fail; were it to, its placeholder
    // would be left and named.
    Transformation::ValuePlaceholders
        .apply(rule, &mut state, &[], &[], false)
        .ok();
    let mut selections = rule.detection.named.values_mut();
    selections.try_for_each(without_expand)
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
fn without_expand(selection: &mut Selection) -> Result<(), MissingPlaceholder> {
    match selection {
        Selection::AllOf(items) => items.iter_mut().try_for_each(item_without_expand),
        Selection::AnyOf(many) | Selection::And(many) => {
            many.iter_mut().try_for_each(without_expand)
        }
        Selection::ArrayMatch { body, .. } => without_expand(body),
        Selection::Conditional { named, .. } => named.values_mut().try_for_each(without_expand),
        Selection::Keywords(_) => Ok(()),
    }
}

fn item_without_expand(item: &mut DetectionItem) -> Result<(), MissingPlaceholder> {
    if !item.field.has_modifier(Modifier::Expand) {
        return Ok(());
    }
    let left = item.values.iter().find_map(|value| match value {
        SigmaValue::String(text) => placeholder(&text.original),
        _ => None,
    });
    if let Some(name) = left {
        let name = name.to_owned();
        return Err(MissingPlaceholder { name });
    }
    // With the modifier, the Sigma engine takes a value for a template, to be filled from the
    // event.
    item.field.modifiers.retain(|m| *m != Modifier::Expand);
    Ok(())
}

/// The name of the first placeholder in a text, which stands between two percent signs.
fn placeholder(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('%')?;
    rest.split_once('%').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_texts_and_numbers_alone_or_in_lists() {
        let vars = read("vars:\n  regions: [eu-west-1, 7]\n  one: x").unwrap();
        assert_eq!(vars["regions"], ["eu-west-1", "7"]);
        assert_eq!(vars["one"], ["x"]);
        for wrong in ["a: []", "a: {b: c}", "a: [[b]]", "a: true", "[]"] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.ends_with(REMEDY), "{wrong}: {error}");
        }
    }

    #[test]
    fn values_nested_too_deep_are_refused_with_their_line() {
        let error = read(&format!("a: b\nc: {}", "[".repeat(100_000))).unwrap_err();
        let error = error.to_string();
        assert!(
            error.starts_with("line 2: `[` and `{` are nested"),
            "{error}"
        );
    }

    #[test]
    fn a_placeholder_stands_between_two_percent_signs() {
        assert_eq!(placeholder("a%one%b%two%"), Some("one"));
        assert_eq!(placeholder("100% sure"), None);
        assert_eq!(placeholder("%%"), Some(""));
    }
}
