//! Values with `*` and `?`, which stand for any characters: for the Sigma engine, for all but line
//! breaks. Policies are often printed on many lines.

use rsigma_parser::{
    DetectionItem, Modifier, SigmaString, SigmaValue,
    value::{SpecialChar, StringPart},
};

use crate::rule::values::LONG_LIST;

const ANY: StringPart = StringPart::Special(SpecialChar::WildcardMulti);

/// How a value is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// As the item says.
    Own,
    Contains,
    StartsWith,
    EndsWith,
    /// By a regular expression.
    Regex,
}

/// An item whose patterns match line breaks too: by a test without wildcards where there is one,
/// by a regular expression otherwise. Of several items, one is enough.
pub(super) fn across_lines(item: DetectionItem) -> Vec<DetectionItem> {
    if is_left(&item) {
        return vec![item];
    }
    let compared = item.values.iter().map(|value| compared(&item, value));
    let compared: Vec<(Comparison, SigmaValue)> = compared.collect();
    // All values of an item are compared in one way, and of several items one would be enough.
    let (first, all) = (compared.first(), item.field.has_modifier(Modifier::All));
    let is_mixed = compared
        .iter()
        .any(|(how, _)| Some(how) != first.map(|(how, _)| how));
    if all && is_mixed {
        let values = item.values.iter().map(|value| regex_of(&item, value));
        return vec![with(&item, Comparison::Regex, values.collect())];
    }
    let ways = [
        Comparison::Own,
        Comparison::Contains,
        Comparison::StartsWith,
        Comparison::EndsWith,
        Comparison::Regex,
    ];
    let items = ways.into_iter().filter_map(|way| {
        let own = compared.iter().filter(|(how, _)| *how == way);
        let values: Vec<SigmaValue> = own.map(|(_, value)| value.clone()).collect();
        (!values.is_empty()).then(|| with(&item, way, values))
    });
    items.collect()
}

/// Whether an item has no patterns, or is compared by the Sigma engine alone.
fn is_left(item: &DetectionItem) -> bool {
    let known = [Modifier::Contains, Modifier::Cased, Modifier::All];
    // Long lists are searched without the Sigma engine.
    item.values.len() >= LONG_LIST
        || !item
            .field
            .modifiers
            .iter()
            .all(|modifier| known.contains(modifier))
        || !item.values.iter().any(has_wildcards)
}

fn has_wildcards(value: &SigmaValue) -> bool {
    matches!(value, SigmaValue::String(text) if !text.is_plain())
}

/// The item with other values, which are compared in another way.
fn with(item: &DetectionItem, way: Comparison, values: Vec<SigmaValue>) -> DetectionItem {
    let test = match way {
        Comparison::Own => {
            return DetectionItem {
                values,
                ..item.clone()
            };
        }
        Comparison::Contains => Modifier::Contains,
        Comparison::StartsWith => Modifier::StartsWith,
        Comparison::EndsWith => Modifier::EndsWith,
        Comparison::Regex => Modifier::Re,
    };
    let mut field = item.field.clone();
    // An expression says itself whether it regards case.
    field.modifiers.retain(|modifier| match modifier {
        Modifier::Contains => false,
        Modifier::Cased => way != Comparison::Regex,
        _ => true,
    });
    field.modifiers.insert(0, test);
    DetectionItem { field, values }
}

/// How a value is compared, and with what.
fn compared(item: &DetectionItem, value: &SigmaValue) -> (Comparison, SigmaValue) {
    let SigmaValue::String(text) = value else {
        return (Comparison::Own, value.clone());
    };
    if text.is_plain() {
        return (Comparison::Own, value.clone());
    }
    match parts(item, text).as_slice() {
        [StringPart::Plain(start), any] if *any == ANY => (Comparison::StartsWith, plain(start)),
        [any, StringPart::Plain(end)] if *any == ANY => (Comparison::EndsWith, plain(end)),
        [before, StringPart::Plain(inside), after] if *before == ANY && *after == ANY => {
            (Comparison::Contains, plain(inside))
        }
        _ => (Comparison::Regex, regex_of(item, value)),
    }
}

/// The parts of a value that is compared as a whole.
fn parts(item: &DetectionItem, text: &SigmaString) -> Vec<StringPart> {
    let around = item.field.has_modifier(Modifier::Contains).then_some(ANY);
    let mut parts: Vec<StringPart> = around
        .iter()
        .chain(&text.parts)
        .chain(&around)
        .cloned()
        .collect();
    parts.dedup_by(|a, b| *a == ANY && *b == ANY);
    parts
}

/// A value as a regular expression for a whole text.
fn regex_of(item: &DetectionItem, value: &SigmaValue) -> SigmaValue {
    let text = match value {
        SigmaValue::String(text) => text.clone(),
        SigmaValue::Integer(number) => SigmaString::new(&number.to_string()),
        other => return other.clone(),
    };
    let cased = item.field.has_modifier(Modifier::Cased);
    let mut pattern = if cased { "(?s)^" } else { "(?si)^" }.to_owned();
    for part in parts(item, &text) {
        match part {
            StringPart::Plain(text) => pattern.push_str(&regex_syntax::escape(&text)),
            StringPart::Special(SpecialChar::WildcardMulti) => pattern.push_str(".*"),
            StringPart::Special(SpecialChar::WildcardSingle) => pattern.push('.'),
        }
    }
    pattern.push('$');
    plain(&pattern)
}

fn plain(text: &str) -> SigmaValue {
    SigmaValue::String(SigmaString {
        parts: vec![StringPart::Plain(text.to_owned())],
        original: text.to_owned(),
    })
}
