//! Selections as the Sigma specification means them, where the Sigma engine reads them otherwise.

mod patterns;

use rsigma_parser::{
    ConditionExpr, Detection as Selection, DetectionItem, Detections, Modifier, SigmaString,
    SigmaValue,
};

use crate::rule::needs::is_meant;

/// Rewrites selections so that the Sigma engine does what the specification says.
///
/// # Errors
///
/// What cannot be meant: a word at its place, and the message.
pub(super) fn as_specified(detections: &mut Detections) -> Result<(), (String, String)> {
    if detections.conditions.is_empty() {
        let message = "names no selection; write which of them must match";
        return Err(("condition".to_owned(), message.to_owned()));
    }
    for condition in &detections.conditions {
        means_something(condition, detections)?;
    }
    let mut named: Vec<_> = detections.named.iter().collect();
    named.sort_by_key(|(name, _)| *name);
    for (name, selection) in named {
        asks_something(name, selection)?;
    }
    for selection in detections.named.values_mut() {
        let taken = std::mem::replace(selection, Selection::AllOf(Vec::new()));
        *selection = rewritten(taken)?;
    }
    Ok(())
}

/// Refuses selections and fields without any value: they would never match.
fn asks_something(name: &str, selection: &Selection) -> Result<(), (String, String)> {
    let refused = |name: &str, message: &str| Err((name.to_owned(), message.to_owned()));
    match selection {
        Selection::AllOf(items) => {
            if items.is_empty() {
                return refused(name, "the selection is empty; name fields and values");
            }
            match items.iter().find(|item| item.values.is_empty()) {
                Some(item) => {
                    let field = item.field.name.as_deref().unwrap_or(name);
                    refused(
                        field,
                        "the list of values is empty, and would match nothing",
                    )
                }
                None => Ok(()),
            }
        }
        Selection::AnyOf(many) | Selection::And(many) => many
            .iter()
            .try_for_each(|selection| asks_something(name, selection)),
        Selection::Keywords(values) if values.iter().all(is_null) => refused(
            name,
            "the selection is empty; name fields and values, or words",
        ),
        _ => Ok(()),
    }
}

/// Refuses `1 of x*` where no selection is called so: it would never match.
fn means_something(
    condition: &ConditionExpr,
    detections: &Detections,
) -> Result<(), (String, String)> {
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => parts
            .iter()
            .try_for_each(|part| means_something(part, detections)),
        ConditionExpr::Not(part) => means_something(part, detections),
        ConditionExpr::Identifier(_) => Ok(()),
        ConditionExpr::Selector { pattern, .. } => {
            let mut names = detections.named.keys();
            if names.any(|name| is_meant(pattern, name)) {
                return Ok(());
            }
            let message = "the condition asks for selections of which there is none";
            Err(("condition".to_owned(), message.to_owned()))
        }
    }
}

fn rewritten(selection: Selection) -> Result<Selection, (String, String)> {
    let each = |many: Vec<Selection>| many.into_iter().map(rewritten).collect::<Result<_, _>>();
    Ok(match selection {
        Selection::AllOf(items) => all_of(items)?,
        Selection::AnyOf(many) => Selection::AnyOf(each(many)?),
        Selection::And(many) => Selection::And(each(many)?),
        Selection::Keywords(values) => Selection::Keywords(values.into_iter().map(word).collect()),
        other => other,
    })
}

fn all_of(items: Vec<DetectionItem>) -> Result<Selection, (String, String)> {
    let (mut plain, mut parts) = (Vec::new(), Vec::new());
    for item in items {
        match item.field.name.as_deref() {
            None => parts.push(keywords(item)?),
            Some("<<") => {
                let message = "a merge key that cannot be resolved; write its fields out";
                return Err(("<<".to_owned(), message.to_owned()));
            }
            Some(_) if may_be_null(&item) => parts.push(null_or(item)?),
            Some(_) => {
                let mut items = patterns::across_lines(anchored(sound(item)?));
                match (items.len(), items.pop()) {
                    (1, Some(item)) => plain.push(item),
                    (_, last) => {
                        let items = items.into_iter().chain(last);
                        let each = items.map(|item| Selection::AllOf(vec![item]));
                        parts.push(Selection::AnyOf(each.collect()));
                    }
                }
            }
        }
    }
    if parts.is_empty() {
        return Ok(Selection::AllOf(plain));
    }
    if !plain.is_empty() {
        parts.insert(0, Selection::AllOf(plain));
    }
    Ok(Selection::And(parts))
}

/// Refuses values that a modifier cannot take.
fn sound(item: DetectionItem) -> Result<DetectionItem, (String, String)> {
    let modifiers = &item.field.modifiers;
    let is_known = |modifier: &Modifier| item.field.has_modifier(*modifier);
    let of_text = [
        Modifier::Contains,
        Modifier::StartsWith,
        Modifier::EndsWith,
        Modifier::Re,
        Modifier::Cidr,
    ];
    let name = item.field.name.clone().unwrap_or_default();
    if of_text.iter().any(is_known) && item.values.iter().any(is_null) {
        let message = format!("`null` cannot be compared by {modifiers:?}; write `{name}: null`");
        return Err((name, message));
    }
    let is_bool = |value: &SigmaValue| matches!(value, SigmaValue::Bool(_));
    if is_known(&Modifier::Exists) && !item.values.iter().all(is_bool) {
        let message = "`|exists` is true or false".to_owned();
        return Err((name, message));
    }
    Ok(item)
}

/// A beginning or an end with wildcards in it, as a whole value: the Sigma engine would look for it
/// at the other side.
fn anchored(mut item: DetectionItem) -> DetectionItem {
    let [mut starts, mut ends] = [false; 2];
    for modifier in &item.field.modifiers {
        match modifier {
            Modifier::StartsWith => starts = true,
            Modifier::EndsWith => ends = true,
            Modifier::Cased | Modifier::All | Modifier::Neq => {}
            _ => return item,
        }
    }
    let has_wildcards = |value: &SigmaValue| match value {
        SigmaValue::String(text) => !text.is_plain(),
        _ => false,
    };
    if starts == ends || !item.values.iter().any(has_wildcards) {
        return item;
    }
    let anchors = [Modifier::StartsWith, Modifier::EndsWith];
    item.field
        .modifiers
        .retain(|modifier| !anchors.contains(modifier));
    for value in &mut item.values {
        let text = match &*value {
            SigmaValue::String(text) => text.original.clone(),
            SigmaValue::Integer(number) => number.to_string(),
            _ => continue,
        };
        let slashes = text.bytes().rev().take_while(|byte| *byte == b'\\').count();
        let text = match (starts, slashes % 2) {
            (true, 0) => format!("{text}*"),
            // The last backslash is one, and escapes nothing.
            (true, _) => format!("{text}\\*"),
            (false, _) => format!("*{text}"),
        };
        *value = SigmaValue::String(SigmaString::new(&text));
    }
    item
}

/// Keywords with modifiers: each is contained in the event, or all of them are.
fn keywords(item: DetectionItem) -> Result<Selection, (String, String)> {
    let mut all = false;
    for modifier in &item.field.modifiers {
        match modifier {
            Modifier::All => all = true,
            // Keywords are contained anyway.
            Modifier::Contains => {}
            other => {
                let name = format!("{other:?}").to_lowercase();
                let message = format!("keywords cannot have `|{name}`; use `|all`, or a field");
                return Err((name, message));
            }
        }
    }
    let words = item.values.into_iter().map(word);
    Ok(if all {
        Selection::And(words.map(|word| Selection::Keywords(vec![word])).collect())
    } else {
        Selection::Keywords(words.collect())
    })
}

/// A keyword as text: numbers are contained in texts as they are written.
fn word(value: SigmaValue) -> SigmaValue {
    match value {
        SigmaValue::Integer(number) => SigmaValue::String(SigmaString::new(&number.to_string())),
        SigmaValue::Float(number) => SigmaValue::String(SigmaString::new(&number.to_string())),
        value => value,
    }
}

/// Whether `null` is one of several values that are compared as they are.
fn may_be_null(item: &DetectionItem) -> bool {
    let is_plain = item.field.modifiers.iter().all(|m| *m == Modifier::Cased);
    is_plain && item.values.len() > 1 && item.values.iter().any(is_null)
}

fn is_null(value: &SigmaValue) -> bool {
    matches!(value, SigmaValue::Null)
}

/// One of the values, or no value: a list is an OR.
fn null_or(mut item: DetectionItem) -> Result<Selection, (String, String)> {
    let mut absent = item.clone();
    absent.field.modifiers.clear();
    absent.values = vec![SigmaValue::Null];
    item.values.retain(|value| !is_null(value));
    let mut any = vec![Selection::AllOf(vec![absent])];
    if !item.values.is_empty() {
        any.push(all_of(vec![item])?);
    }
    Ok(Selection::AnyOf(any))
}

#[cfg(test)]
mod tests {
    use crate::{
        document::LazyDocument,
        rule::{EvalScope, RuleTarget, event::RecordEvent, load::load},
    };

    fn matches(selection: &str, record: &str) -> bool {
        let text = format!(
            "title: T\nlogsource: {{product: aws, service: cloudtrail}}\n\
             detection:\n  s: {selection}\n  condition: s\n"
        );
        let (rules, _) = load([("r.yml", &*text)]).unwrap();
        let document = LazyDocument::new(record);
        rules.any_match(
            EvalScope::finalized(RuleTarget::Record),
            &RecordEvent(&document),
        )
    }

    #[test]
    fn keywords_are_contained_one_or_all() {
        let record = r#"{"a":"the quick fox","b":{"c":"port 8080"},"n":7}"#;
        for (selection, expected) in [
            ("['QUICK', 'slow']", true),
            ("{'|all': ['quick', '8080']}", true),
            ("{'|all': ['quick', 'slow']}", false),
            ("{'|contains|all': ['quick', 'fox']}", true),
            ("{'|contains': ['slow', 'fox']}", true),
            ("[8080]", true),
            ("{'|all': [8080, 'fox']}", true),
            ("[9090]", false),
        ] {
            assert_eq!(matches(selection, record), expected, "{selection}");
        }
    }

    #[test]
    fn null_in_a_list_is_one_of_its_values() {
        let absent = r#"{"a":1}"#;
        for (selection, record, expected) in [
            ("{x: [null, y]}", absent, true),
            ("{x: [null, y]}", r#"{"x":null}"#, true),
            ("{x: [null, y]}", r#"{"x":"y"}"#, true),
            ("{x: [null, y]}", r#"{"x":"z"}"#, false),
            ("{x: [null, null]}", absent, true),
            ("{a: 1, x: ['', null]}", absent, true),
            ("{a: 2, x: ['', null]}", absent, false),
            ("[{a: 2}, {x: [null, y]}]", absent, true),
        ] {
            assert_eq!(matches(selection, record), expected, "{selection} {record}");
        }
    }

    #[test]
    fn a_key_may_have_dots() {
        let record = r#"{"r":{"a.b":{"c":"x"},"k.v":"y"}}"#;
        assert!(matches("{r.a.b.c: x}", record) && matches("{r.k.v: y}", record));
    }

    #[test]
    fn a_beginning_may_have_wildcards_in_it() {
        let record = r#"{"a":"abcd","b":"x\\y"}"#;
        for (selection, expected) in [
            ("{a|startswith: 'a?c'}", true),
            ("{a|startswith: ['b?', 'z']}", false),
            ("{a|startswith: ['b?', ab]}", true),
            ("{a|endswith: 'b*d'}", true),
            ("{a|endswith: 'b?'}", false),
            ("{a|startswith|cased: 'A?'}", false),
            ("{b|startswith: ['?\\']}", true),
        ] {
            assert_eq!(matches(selection, record), expected, "{selection}");
        }
    }

    #[test]
    fn wildcards_stand_for_line_breaks_too() {
        let record = r#"{"p":"{\n  \"Effect\": \"Allow\",\n  \"A\": \"222\"\n}","q":"Ab"}"#;
        for (selection, expected) in [
            ("{p: '*allow*222*'}", true),
            ("{p: '*Allow*'}", true),
            ("{p: '{*'}", true),
            ("{p: '*}'}", true),
            ("{p: '{?  *'}", true),
            ("{p|contains: 'Allow*222'}", true),
            ("{p|contains: ['Deny', 'Allow*222']}", true),
            ("{p|contains|cased: 'allow*222'}", false),
            ("{p|contains|all: ['Effect', 'Allow*222']}", true),
            ("{p|contains|all: ['Deny', 'Allow*222']}", false),
            ("{p|startswith: '{?  *Allow'}", true),
            ("{p|endswith: '222*}'}", true),
            ("{p: ['x', '*Deny*', '*222*', '{*}']}", true),
            ("{p: ['x', '*Deny*', '222*', '{*]']}", false),
            ("{p: [null, '*222*']}", true),
            ("{p: [null, '*333*']}", false),
            ("{p: '*'}", true),
            ("{q: ['a?', x]}", true),
            ("{q|cased: 'a?'}", false),
            ("{q: 'a*b*'}", true),
        ] {
            assert_eq!(matches(selection, record), expected, "{selection}");
        }
        // What stands for itself in a pattern is no regular expression.
        assert!(matches("{a: 'x.y*(z'}", "{\"a\":\"x.y\\n(z\"}"));
        assert!(!matches("{a: 'x.y*(z'}", "{\"a\":\"x-y\\n(z\"}"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        let refused = |selection: &str, condition: &str| {
            let text = format!(
                "title: T\nlogsource: {{product: aws, service: cloudtrail}}\n\
                 detection:\n  s: {selection}\n  condition: {condition}\n"
            );
            let errors = load([("r.yml", &*text)]).unwrap_err();
            errors[0].message.clone()
        };
        assert!(refused("{'|re': ['a.b']}", "s").contains("`|re`"));
        assert!(refused("{a|contains: [null, x]}", "s").contains("`null`"));
        assert!(refused("{a|exists: maybe}", "s").contains("`|exists`"));
        assert!(refused("{a: x}", "s or 1 of x*").contains("there is none"));
        assert!(refused("{a: x}", "[]").contains("names no selection"));
        for empty in ["~", "[~]", "{}", "[]"] {
            assert!(refused(empty, "s").contains("empty"), "{empty}");
        }
        assert!(refused("{a: x, b: []}", "s").contains("list of values is empty"));
    }
}
