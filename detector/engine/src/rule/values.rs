//! Long lists of values in rules: an automaton for each, beside the Sigma engine.
//!
//! The Sigma engine compares an event with one value after the other, and compiles each value with
//! a wildcard to a regular expression: 100,000 of them take half a minute and two gigabytes. A long
//! list is therefore taken out of its rule when the rule is loaded, and the rule asks for a field
//! that says whether the list matches. The meaning is that of the Sigma engine.

mod plain;
mod wildcards;

use std::borrow::Cow;

use rsigma_eval::{CompiledMatcher, Event, EventValue, matcher::ascii_lowercase_cow};
use rsigma_parser::SigmaString;
use serde_json::Value;

use self::{plain::PlainValues, wildcards::WildcardIndex};

/// Values from which on a list is a long one. The Sigma engine is as fast with fewer.
pub(crate) const LONG_LIST: usize = 64;

/// How the name of a field begins that says whether a list matches. No field of an event does.
const MARK: &str = "\u{1}list ";

/// How a text is compared with the values of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextTest {
    /// It is one of them.
    Is,
    /// It contains one of them.
    Contains,
    /// It starts with one of them.
    StartsWith,
    /// It ends with one of them.
    EndsWith,
}

impl TextTest {
    fn as_str(self) -> &'static str {
        match self {
            Self::Is => "is",
            Self::Contains => "contains",
            Self::StartsWith => "starts with",
            Self::EndsWith => "ends with",
        }
    }
}

/// A long list of values, of which a field must have one.
#[derive(Debug, Clone)]
pub(crate) struct ValueList {
    /// The field; `None` for any text of the event.
    field: Option<String>,
    test: TextTest,
    cased: bool,
    plain: PlainValues,
    wildcards: Option<WildcardIndex>,
    /// Whether patterns see the text in lower case. It matters only for `İ`, which becomes two
    /// characters.
    lowers: bool,
    /// The values that are no text, compiled by the Sigma engine.
    rest: Option<CompiledMatcher>,
    /// Number of values.
    len: usize,
}

impl ValueList {
    /// A list of texts and patterns, and the matcher of its other values. `None` if there are too
    /// many for an automaton.
    pub(crate) fn new(
        field: Option<&str>,
        (test, cased): (TextTest, bool),
        values: &[&SigmaString],
        rest: Option<CompiledMatcher>,
    ) -> Option<Self> {
        let (plain, wildcards): (Vec<&SigmaString>, Vec<&SigmaString>) =
            values.iter().partition(|value| value.is_plain());
        // As the Sigma engine does, which lowers the text once for a set of plain values.
        let lowers = !cased && !plain.is_empty() && rest.is_none();
        let plain = plain.into_iter().filter_map(SigmaString::as_plain);
        let plain = plain.map(|text| if cased { text } else { text.to_lowercase() });
        let patterns: Vec<_> = wildcards
            .iter()
            .map(|value| value.parts.as_slice())
            .collect();
        let wildcards = match patterns.as_slice() {
            [] => None,
            patterns => Some(WildcardIndex::new(patterns, test, cased)?),
        };
        Some(Self {
            field: field.map(str::to_owned),
            test,
            cased,
            plain: PlainValues::new(plain.collect(), test)?,
            wildcards,
            lowers,
            rest,
            len: values.len(),
        })
    }

    /// Whether the list matches an event; `None` if the event lacks the field.
    fn verdict(&self, event: &impl Event) -> Option<bool> {
        let Some(field) = &self.field else {
            return Some(event.any_string_value(&|text| self.matches_text(text)));
        };
        let value = event.get_field(field)?;
        let rest = self.rest.as_ref();
        Some(self.matches(&value) || rest.is_some_and(|rest| rest.matches(&value, event)))
    }

    /// Numbers and truth values are compared as texts, and of several values one is enough.
    fn matches(&self, value: &EventValue<'_>) -> bool {
        match value {
            EventValue::Str(text) => self.matches_text(text),
            EventValue::Int(number) => self.matches_text(&number.to_string()),
            EventValue::Float(number) => self.matches_text(&number.to_string()),
            EventValue::Bool(is) => self.matches_text(if *is { "true" } else { "false" }),
            EventValue::Array(values) => values.iter().any(|value| self.matches(value)),
            _ => false,
        }
    }

    fn matches_text(&self, text: &str) -> bool {
        let lower = if self.cased {
            text.into()
        } else {
            ascii_lowercase_cow(text)
        };
        self.plain.matches(&lower)
            || self
                .wildcards
                .as_ref()
                .is_some_and(|list| list.matches(if self.lowers { &lower } else { text }))
    }
}

/// The long lists of a set of rules.
#[derive(Debug, Default, Clone)]
pub(crate) struct ValueLists(Vec<ValueList>);

/// What a list asked for, and what was there instead.
pub(crate) struct ListTrace {
    pub(crate) asked: String,
    /// The value of the field as JSON; `None` if the event lacks it.
    pub(crate) actual: Option<Value>,
}

impl ValueLists {
    /// Adds a list, and gives the field that says whether it matches.
    pub(crate) fn add(&mut self, list: ValueList) -> String {
        self.0.push(list);
        format!("{MARK}{}", self.0.len() - 1)
    }

    /// The list that a field stands for; `None` for every other field.
    fn get(&self, field: &str) -> Option<&ValueList> {
        // The mark begins with a control character, which no field of a rule can have.
        let number = field.strip_prefix(MARK)?;
        self.0.get(number.parse::<usize>().ok()?)
    }

    /// What a field that stands for a list asked of an event; `None` for every other field.
    pub(crate) fn trace(&self, field: &str, event: &impl Event) -> Option<ListTrace> {
        let list = self.get(field)?;
        let name = list.field.as_deref();
        let actual = name.and_then(|name| event.get_field(name).map(|value| value.to_json()));
        Some(ListTrace {
            asked: format!(
                "{} {} one of {} values",
                name.unwrap_or("any text"),
                list.test.as_str(),
                list.len
            ),
            actual,
        })
    }
}

/// An event that also says which lists match it.
pub(crate) struct ListedEvent<'e, E> {
    pub(crate) event: &'e E,
    pub(crate) lists: &'e ValueLists,
}

impl<E: Event> Event for ListedEvent<'_, E> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        match self.lists.get(path) {
            Some(list) => list.verdict(self.event).map(EventValue::Bool),
            None => self.event.get_field(path),
        }
    }

    fn any_string_value(&self, predicate: &dyn Fn(&str) -> bool) -> bool {
        self.event.any_string_value(predicate)
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        self.event.all_string_values()
    }

    fn to_json(&self) -> Value {
        self.event.to_json()
    }
}
