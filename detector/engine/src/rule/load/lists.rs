//! Takes long lists of values out of rules before the Sigma engine compiles them.

use rsigma_eval::{
    CompiledMatcher, EvalError,
    compiler::{CompiledDetection, compile_detection},
};
use rsigma_parser::{
    Detection as Selection, DetectionItem, Detections, FieldSpec, Modifier, SigmaString, SigmaValue,
};

use crate::rule::values::{LONG_LIST, TextTest, ValueList, ValueLists};

/// A detection without its long lists; `None` when it has none. In their places it asks for the
/// fields that say whether they match.
///
/// # Errors
///
/// A value is invalid.
pub(super) fn without_long_lists(
    detection: &Detections,
    lists: &mut ValueLists,
) -> Result<Option<Detections>, EvalError> {
    // Nearly every rule has none, and is not copied.
    if !detection.named.values().any(has_long_list) {
        return Ok(None);
    }
    let mut detection = detection.clone();
    for selection in detection.named.values_mut() {
        take_from(selection, lists)?;
    }
    Ok(Some(detection))
}

fn has_long_list(selection: &Selection) -> bool {
    match selection {
        Selection::AllOf(items) => items.iter().any(|item| item.values.len() >= LONG_LIST),
        Selection::AnyOf(many) | Selection::And(many) => many.iter().any(has_long_list),
        Selection::Keywords(values) => values.len() >= LONG_LIST,
        // Selections of the members of an array see no fields of the event.
        Selection::ArrayMatch { .. } | Selection::Conditional { .. } => false,
    }
}

fn take_from(selection: &mut Selection, lists: &mut ValueLists) -> Result<(), EvalError> {
    match selection {
        Selection::AllOf(items) => {
            for item in items.iter_mut().filter(|i| i.values.len() >= LONG_LIST) {
                if let Some(list) = value_list(item)? {
                    *item = asks_for(list, &item.field, lists);
                }
            }
        }
        Selection::AnyOf(many) | Selection::And(many) => {
            for one in many {
                take_from(one, lists)?;
            }
        }
        Selection::Keywords(values) if values.len() >= LONG_LIST => {
            if let Some(list) = keywords(values) {
                let item = asks_for(list, &FieldSpec::new(None, Vec::new()), lists);
                *selection = Selection::AllOf(vec![item]);
            }
        }
        Selection::Keywords(_) | Selection::ArrayMatch { .. } | Selection::Conditional { .. } => {}
    }
    Ok(())
}

/// What asks, in the place of an item, whether a list matches.
fn asks_for(list: ValueList, field: &FieldSpec, lists: &mut ValueLists) -> DetectionItem {
    let negated = field.has_modifier(Modifier::Neq).then_some(Modifier::Neq);
    DetectionItem {
        field: FieldSpec::new(Some(lists.add(list)), negated.into_iter().collect()),
        values: vec![SigmaValue::Bool(true)],
    }
}

/// The values of an item as a list; `None` for an item that the Sigma engine must read itself.
fn value_list(item: &DetectionItem) -> Result<Option<ValueList>, EvalError> {
    let (Some(field), Some(test)) = (&item.field.name, text_test(&item.field.modifiers)) else {
        return Ok(None);
    };
    let (texts, rest) = texts_and_rest(&item.values);
    // A reference that the Sigma engine reports as unresolved.
    if texts.iter().any(|text| text.original.contains("${source.")) {
        return Ok(None);
    }
    let rest = match rest.as_slice() {
        [] => None,
        rest => Some(compiled(item, rest)?),
    };
    let cased = item.field.has_modifier(Modifier::Cased);
    Ok(ValueList::new(Some(field), (test, cased), &texts, rest))
}

/// Keywords as a list: any text of the event contains one of them.
fn keywords(values: &[SigmaValue]) -> Option<ValueList> {
    let (texts, _) = texts_and_rest(values);
    // Numbers match no text of an event. References are left to the Sigma engine.
    if texts.iter().any(|text| text.original.contains("${source.")) {
        return None;
    }
    ValueList::new(None, (TextTest::Contains, false), &texts, None)
}

/// How an item compares texts; `None` when it transforms its values, or needs more than one of
/// them.
fn text_test(modifiers: &[Modifier]) -> Option<TextTest> {
    let mut test = None;
    for modifier in modifiers {
        let asked = match modifier {
            Modifier::Cased | Modifier::Neq => continue,
            Modifier::Contains => TextTest::Contains,
            Modifier::StartsWith => TextTest::StartsWith,
            Modifier::EndsWith => TextTest::EndsWith,
            _ => return None,
        };
        // Two tests contradict each other: the Sigma engine says so.
        if test.replace(asked).is_some() {
            return None;
        }
    }
    Some(test.unwrap_or(TextTest::Is))
}

/// The texts and patterns among values, and the other values.
fn texts_and_rest(values: &[SigmaValue]) -> (Vec<&SigmaString>, Vec<&SigmaValue>) {
    let (mut texts, mut rest) = (Vec::new(), Vec::new());
    for value in values {
        match value {
            SigmaValue::String(text) => texts.push(text),
            value => rest.push(value),
        }
    }
    (texts, rest)
}

/// The matcher of some values of an item.
fn compiled(item: &DetectionItem, values: &[&SigmaValue]) -> Result<CompiledMatcher, EvalError> {
    let mut field = item.field.clone();
    field
        .modifiers
        .retain(|modifier| *modifier != Modifier::Neq);
    let item = DetectionItem {
        field,
        values: values.iter().copied().cloned().collect(),
    };
    match compile_detection(&Selection::AllOf(vec![item]))? {
        CompiledDetection::AllOf(items) => {
            let matchers = items.into_iter().map(|item| item.matcher);
            Ok(CompiledMatcher::AnyOf(matchers.collect()))
        }
        _ => Ok(CompiledMatcher::AnyOf(Vec::new())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rsigma_eval::{CompiledRule, JsonEvent, compile_rule, evaluate_rule};
    use rsigma_parser::{SigmaRule, parse_sigma_yaml};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        network::NetworkLists,
        rule::{load::load, values::ListedEvent},
    };

    /// A rule with one selection.
    fn rule(selection: Selection) -> SigmaRule {
        let text = "title: T
logsource: {product: aws, category: secret_access}
detection: {sel: {f: x}, condition: sel}
";
        let mut rule = parse_sigma_yaml(text).unwrap().rules.remove(0);
        rule.detection.named.insert("sel".to_owned(), selection);
        rule
    }

    fn matches(rule: &CompiledRule, lists: &ValueLists, event: &Value) -> bool {
        let event = &JsonEvent::borrow(event);
        evaluate_rule(rule, &ListedEvent { event, lists }).is_some()
    }

    fn compiled(selection: Selection) -> CompiledRule {
        compile_rule(&rule(selection)).unwrap()
    }

    /// Whether a selection matches events, by the Sigma engine and by lists.
    fn both(selection: &Selection, events: &[Value]) -> Vec<(bool, bool)> {
        let mut lists = ValueLists::default();
        let item = match selection {
            Selection::AllOf(items) => {
                let list = value_list(&items[0]).unwrap().unwrap();
                asks_for(list, &items[0].field, &mut lists)
            }
            Selection::Keywords(values) => {
                let field = FieldSpec::new(None, Vec::new());
                asks_for(keywords(values).unwrap(), &field, &mut lists)
            }
            _ => unreachable!(),
        };
        let (theirs, ours) = (
            compiled(selection.clone()),
            compiled(Selection::AllOf(vec![item])),
        );
        let both = events.iter().map(|event| {
            (
                matches(&theirs, &lists, event),
                matches(&ours, &lists, event),
            )
        });
        both.collect()
    }

    fn texts(texts: &[String]) -> Vec<SigmaValue> {
        let texts = texts.iter().map(|text| SigmaString::new(text));
        texts.map(SigmaValue::String).collect()
    }

    fn item(modifiers: Vec<Modifier>, values: Vec<SigmaValue>) -> Selection {
        let field = FieldSpec::new(Some("f".to_owned()), modifiers);
        Selection::AllOf(vec![DetectionItem { field, values }])
    }

    fn modifiers() -> impl Strategy<Value = Vec<Modifier>> {
        let test = prop_oneof![
            Just(vec![]),
            Just(vec![Modifier::Contains]),
            Just(vec![Modifier::StartsWith]),
            Just(vec![Modifier::EndsWith]),
        ];
        let more = proptest::sample::subsequence(vec![Modifier::Cased, Modifier::Neq], 0..=2);
        (test, more).prop_map(|(test, more)| [test, more].concat())
    }

    /// Letters whose cases are special: `K` (kelvin) and `ſ` have a form in ASCII, `ς` and `σ` one
    /// capital, `ß` and `ı` none, and `İ` becomes two characters.
    const LETTERS: &str = "[abAKkKsſSσςΣßẞıiİ.*?\\\\/-]{0,5}";

    fn values_and_texts() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
        // From so many on, the Sigma engine has one way for lists of any length.
        let values = proptest::collection::vec(LETTERS, 9..14);
        (values, proptest::collection::vec(LETTERS, 1..20))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        #[test]
        fn a_list_means_what_the_sigma_engine_means(
            (values, found) in values_and_texts(),
            modifiers in modifiers(),
            rest in proptest::sample::subsequence(vec![
                SigmaValue::Null, SigmaValue::Integer(7), SigmaValue::Bool(true),
            ], 0..=3),
        ) {
            let events: Vec<Value> = found.iter().map(|text| json!({"f": text})).collect();
            let more = [json!({}), json!({"f": null}), json!({"f": 7}), json!({"f": "7"}),
                json!({"f": true}), json!({"f": 1.5}), json!({"f": {"g": "a"}}),
                json!({"f": found}), json!({"f": [[found[0]], 7]})];
            let events = [events, more.to_vec()].concat();
            let selection = item(modifiers, [texts(&values), rest].concat());
            // With wildcards, the Sigma engine takes a text with `İ` for one that ends elsewhere: its
            // small form has more bytes. It finds `*i` at the end of `İ?`.
            let has_wildcards = values.iter().any(|value| value.contains(['*', '?']));
            for (event, (theirs, ours)) in events.iter().zip(both(&selection, &events)) {
                let is_misread = has_wildcards && event.to_string().contains('İ');
                prop_assert!(theirs == ours || is_misread, "{} in {:?}", event, selection);
            }
        }

        #[test]
        fn keywords_mean_what_the_sigma_engine_means((values, found) in values_and_texts()) {
            let events: Vec<Value> = found.iter().map(|text| json!({"g": [1, text]})).collect();
            let selection = Selection::Keywords(texts(&values));
            for (event, (theirs, ours)) in events.iter().zip(both(&selection, &events)) {
                prop_assert_eq!(theirs, ours, "{} in {:?}", event, selection);
            }
        }
    }

    #[test]
    fn what_the_sigma_engine_must_read_itself_is_left_to_it() {
        let is_taken = |modifiers: Vec<Modifier>, value: &str| {
            let Selection::AllOf(items) = item(modifiers, texts(&[value.to_owned()])) else {
                unreachable!()
            };
            value_list(&items[0]).unwrap().is_some()
        };
        assert!(is_taken(vec![Modifier::EndsWith, Modifier::Cased], "x"));
        assert!(!is_taken(vec![Modifier::Re], "x"));
        assert!(!is_taken(vec![Modifier::Contains, Modifier::All], "x"));
        assert!(!is_taken(
            vec![Modifier::Contains, Modifier::StartsWith],
            "x"
        ));
        assert!(!is_taken(vec![], "${source.x}"));
    }

    /// A rule, and a filter of it, with long lists.
    fn long_lists(values: &str, filter: &str) -> String {
        let list = |form: &str| {
            let values =
                (0..LONG_LIST).map(|n| format!("\"{}\"", form.replace('N', &n.to_string())));
            values.collect::<Vec<_>>().join(", ")
        };
        let (values, filter) = (list(values), list(filter));
        format!(
            "title: T
id: t
logsource: {{product: aws, category: secret_access}}
detection: {{sel: {{secret.name: [{values}]}}, condition: sel}}
---
title: F
logsource: {{product: aws, category: secret_access}}
filter:
    rules: [t]
    ours: {{access.api|contains: [{filter}]}}
    condition: not ours
"
        )
    }

    #[test]
    fn rules_and_filters_have_their_lists_beside_them() {
        use crate::{
            access::sample,
            rule::{EvalScope, RuleTarget, event::DerivedEvent},
        };

        let access = sample();
        let event = DerivedEvent::access(&access, None, None, NetworkLists::none());
        let fires = |values: &str, filter: &str| {
            let (rules, _) = load([("r.yml", &*long_lists(values, filter))]).unwrap();
            rules.any_match(EvalScope::finalized(RuleTarget::Access), &event)
        };
        assert!(fires("/D?", "PutN"));
        assert!(!fires("/D?N", "PutN"));
        assert!(!fires("/D?", "getp"), "GetParameter is filtered");
    }

    #[test]
    fn wildcards_of_a_long_list_stand_for_line_breaks_too() {
        let mut values: Vec<String> = (0..LONG_LIST).map(|n| format!("x{n}")).collect();
        values.push("*allow*2?2*".to_owned());
        let events = ["allow\n 2\n2\n}", "2\n2 allow"].map(|text| json!({"f": text}));
        let lines = |modifiers| both(&item(modifiers, texts(&values)), &events);
        let ours: Vec<bool> = lines(vec![]).into_iter().map(|(_, ours)| ours).collect();
        assert_eq!(ours, [true, false]);
    }
}
