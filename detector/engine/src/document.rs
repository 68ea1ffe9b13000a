//! A whole record with every field, for rules: it borrows from the bytes, and is parsed only for
//! records that a rule needs.
//!
//! Field lookup follows Sigma engines: the whole name first, then segment by segment at the dots,
//! through every element of an array (`resources.ARN`) or one of them (`resources[0].ARN`).

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use rsigma_eval::EventValue;
use serde::{
    de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor},
    ser::{Serialize, Serializer},
};

use crate::repair::repaired;

/// The text of a record, parsed once, when a field is first needed.
pub struct LazyDocument<'a> {
    text: &'a str,
    node: OnceLock<JsonNode<'a>>,
    is_repaired: AtomicBool,
}

impl<'a> LazyDocument<'a> {
    /// Wraps the JSON of a record. Text that does not parse has no fields.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            node: OnceLock::new(),
            is_repaired: AtomicBool::new(false),
        }
    }

    /// The JSON text.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The parsed record, after a repair if a strict parser refuses it; [`JsonNode::Null`] when it
    /// is broken beyond that.
    pub fn node(&self) -> &JsonNode<'a> {
        self.node.get_or_init(|| {
            JsonNode::parse(self.text).unwrap_or_else(|_| {
                self.is_repaired.store(true, Ordering::Relaxed);
                JsonNode::repaired(self.text.as_bytes()).unwrap_or(JsonNode::Null)
            })
        })
    }

    /// Whether somebody asked for the parsed record, and it had to be repaired.
    pub(crate) fn is_repaired(&self) -> bool {
        self.is_repaired.load(Ordering::Relaxed)
    }
}

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum JsonNode<'a> {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number within `i64`.
    Int(i64),
    /// Any other number, including larger whole ones.
    Float(f64),
    /// A string.
    Str(Cow<'a, str>),
    /// An array.
    List(Vec<JsonNode<'a>>),
    /// An object, in the order of the text.
    Map(Vec<(Cow<'a, str>, JsonNode<'a>)>),
}

impl<'a> JsonNode<'a> {
    /// Parses a record.
    ///
    /// # Errors
    ///
    /// The text is not one JSON value.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Parses a record after a repair; `None` when it is broken beyond that.
    pub(crate) fn repaired(bytes: &[u8]) -> Option<JsonNode<'static>> {
        JsonNode::parse(&repaired(bytes))
            .ok()
            .map(JsonNode::into_owned)
    }

    /// The text of a string; `None` for any other value.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a key, the last one if it is repeated; `None` when it is absent, or when this
    /// is not an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => {
                let mut latest = entries.iter().rev();
                latest.find(|(k, _)| k == key).map(|(_, v)| v)
            }
            _ => None,
        }
    }

    /// Looks up a field by its Sigma name. `None` when it is absent; several values through an
    /// array become one list.
    #[must_use]
    pub fn field(&self, path: &str) -> Option<Cow<'_, JsonNode<'a>>> {
        // Keys of an encryption context or of tags may contain dots.
        if let Some(value) = self.get(path) {
            return Some(Cow::Borrowed(value));
        }
        if !path.contains(['.', '[']) {
            return None;
        }
        let mut found = Vec::new();
        self.collect(path, &mut found);
        match found.as_slice() {
            [] => None,
            [one] => Some(Cow::Borrowed(one)),
            many => Some(Cow::Owned(Self::List(
                many.iter().map(|n| (*n).clone()).collect(),
            ))),
        }
    }

    /// Adds the values at the end of a path of segments, through every element of the arrays on the
    /// way.
    fn collect<'n>(&'n self, path: &str, found: &mut Vec<&'n Self>) {
        match self {
            // The path stays the same: an array is not a step in it.
            Self::List(items) => items.iter().for_each(|item| item.collect(path, found)),
            Self::Map(_) => {
                if let Some(node) = self.at(path) {
                    return found.push(node);
                }
                // A key may have dots of its own: the shortest one that leads somewhere counts.
                let known = found.len();
                for (dot, _) in path.match_indices('.') {
                    let (segment, rest) = path.split_at(dot);
                    if let Some(node) = self.at(segment) {
                        node.collect(rest.trim_start_matches('.'), found);
                    }
                    if found.len() > known {
                        return;
                    }
                }
            }
            _ => {}
        }
    }

    /// The value of one path segment: of a key, or of one element of the array under that key.
    fn at(&self, segment: &str) -> Option<&Self> {
        let (name, index) = indexed(segment);
        match (self.get(name)?, index) {
            (node, None) => Some(node),
            (Self::List(items), Some(index)) => {
                // A negative index counts from the end, as in the Sigma engine.
                let at = usize::try_from(index)
                    .ok()
                    .or_else(|| items.len().checked_add_signed(isize::try_from(index).ok()?))?;
                items.get(at)
            }
            _ => None,
        }
    }

    /// Whether any string in it, at any depth, satisfies the predicate.
    #[must_use]
    pub fn any_string(&self, predicate: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::Str(text) => predicate(text),
            Self::List(items) => items.iter().any(|item| item.any_string(predicate)),
            Self::Map(entries) => entries.iter().any(|(_, value)| value.any_string(predicate)),
            _ => false,
        }
    }

    /// Adds every string in it, at any depth, to `out`. Keys are not included.
    pub fn strings<'n>(&'n self, out: &mut Vec<Cow<'n, str>>) {
        match self {
            Self::Str(text) => out.push(Cow::Borrowed(text)),
            Self::List(items) => items.iter().for_each(|item| item.strings(out)),
            Self::Map(entries) => entries.iter().for_each(|(_, value)| value.strings(out)),
            _ => {}
        }
    }

    /// The value as JSON without spaces, its keys in one order: the same for every text with these
    /// values.
    #[must_use]
    pub fn canonical(&self) -> String {
        serde_json::to_string(&self.sorted()).unwrap_or_default()
    }

    /// The same value with sorted keys. Of a repeated key the last value counts, as everywhere.
    fn sorted(&self) -> JsonNode<'_> {
        match self {
            Self::Map(entries) => {
                let by_key: BTreeMap<&str, JsonNode<'_>> = entries
                    .iter()
                    .map(|(key, value)| (&**key, value.sorted()))
                    .collect();
                let entries = by_key.into_iter();
                JsonNode::Map(
                    entries
                        .map(|(key, value)| (Cow::Borrowed(key), value))
                        .collect(),
                )
            }
            Self::List(items) => JsonNode::List(items.iter().map(JsonNode::sorted).collect()),
            Self::Str(text) => JsonNode::Str(Cow::Borrowed(text)),
            Self::Null => JsonNode::Null,
            Self::Bool(value) => JsonNode::Bool(*value),
            Self::Int(value) => JsonNode::Int(*value),
            Self::Float(value) => JsonNode::Float(*value),
        }
    }

    /// Converts to the value type of the Sigma engine.
    #[must_use]
    pub fn to_event_value(&self) -> EventValue<'_> {
        match self {
            Self::Null => EventValue::Null,
            Self::Bool(value) => EventValue::Bool(*value),
            Self::Int(value) => EventValue::Int(*value),
            Self::Float(value) => EventValue::Float(*value),
            Self::Str(text) => EventValue::Str(Cow::Borrowed(text)),
            Self::List(items) => {
                EventValue::Array(items.iter().map(Self::to_event_value).collect())
            }
            Self::Map(entries) => EventValue::Map(
                entries
                    .iter()
                    .map(|(k, v)| (Cow::Borrowed(k.as_ref()), v.to_event_value()))
                    .collect(),
            ),
        }
    }

    /// The same value, without borrowing from the text.
    #[must_use]
    pub fn into_owned(self) -> JsonNode<'static> {
        match self {
            Self::Null => JsonNode::Null,
            Self::Bool(value) => JsonNode::Bool(value),
            Self::Int(value) => JsonNode::Int(value),
            Self::Float(value) => JsonNode::Float(value),
            Self::Str(text) => JsonNode::Str(Cow::Owned(text.into_owned())),
            Self::List(items) => {
                JsonNode::List(items.into_iter().map(JsonNode::into_owned).collect())
            }
            Self::Map(entries) => JsonNode::Map(
                entries
                    .into_iter()
                    .map(|(k, v)| (Cow::Owned(k.into_owned()), v.into_owned()))
                    .collect(),
            ),
        }
    }
}

/// A scalar of the Sigma engine as text, for comparing and counting values.
///
/// `None` for null, arrays and objects: an event with such a value is not counted.
#[must_use]
pub fn scalar_text(value: &EventValue<'_>) -> Option<String> {
    value.as_str().map(Cow::into_owned)
}

/// `name[2]` → name and index; a segment without a valid index is all name.
fn indexed(segment: &str) -> (&str, Option<i64>) {
    let parsed = segment
        .strip_suffix(']')
        .and_then(|s| s.split_once('['))
        .and_then(|(n, i)| Some((n, i.parse().ok()?)));
    parsed.map_or((segment, None), |(name, index)| (name, Some(index)))
}

impl<'de: 'a, 'a> Deserialize<'de> for JsonNode<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

/// Accepts any value. It borrows strings from the text, unlike `serde_json::Value`.
struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = JsonNode<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(JsonNode::Str(Cow::Borrowed(text)))
    }

    // A string with escapes cannot be borrowed.
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(JsonNode::Str(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(JsonNode::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(JsonNode::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        // The Sigma engine reads a number that is too large for `i64` in the same way.
        Ok(i64::try_from(value).map_or(JsonNode::Float(value as f64), JsonNode::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(JsonNode::Float(value))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(JsonNode::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(JsonNode::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((JsonKey(key), value)) = map.next_entry()? {
            entries.push((key, value));
        }
        Ok(JsonNode::Map(entries))
    }
}

impl Serialize for JsonNode<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Str(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(entries) => {
                serializer.collect_map(entries.iter().map(|(key, value)| (key, value)))
            }
        }
    }
}

/// A key, borrowed wherever it has no escapes. A plain `Cow` would always be owned: serde borrows
/// only with an attribute on a field, and the keys of a map have no field.
struct JsonKey<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonKey<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = JsonKey<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(JsonKey(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(JsonKey(Cow::Owned(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsigma_eval::{Event, JsonEvent};

    #[test]
    fn fields_are_found_where_the_sigma_engine_finds_them() {
        let text = r#"{
            "a": {"b": [{"c": 1}, {"c": "two"}, {"d": null}], "e": {}},
            "f.g": true,
            "h": [[{"i": 2.5}], {"i": -7}],
            "n": null
        }"#;
        let node = JsonNode::parse(text).unwrap();
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        let event = JsonEvent::borrow(&value);
        let paths = [
            "a",
            "a.b",
            "a.b.c",
            "a.b.d",
            "a.b[1].c",
            "a.b[-1].d",
            "a.b[9].c",
            "a.e",
            "a.e.x",
            "f.g",
            "h.i",
            "n",
            "n.x",
            "zz",
            "a.b[x]",
        ];
        for path in paths {
            let mine = node.field(path);
            assert_eq!(
                mine.as_ref().map(|n| n.to_event_value()),
                event.get_field(path),
                "{path}"
            );
        }
    }

    #[test]
    fn several_values_through_an_array_are_one_list_and_one_is_itself() {
        let node =
            JsonNode::parse(r#"{"r":[{"ARN":"a"},{},{"ARN":"b"}],"one":[{"ARN":"c"}]}"#).unwrap();
        let both = JsonNode::List(vec![JsonNode::Str("a".into()), JsonNode::Str("b".into())]);
        assert_eq!(node.field("r.ARN").as_deref(), Some(&both));
        assert_eq!(
            node.field("one.ARN").as_deref(),
            Some(&JsonNode::Str("c".into()))
        );
        assert_eq!(node.field("r[1].ARN"), None);
        assert_eq!(node.field("r[-4].ARN"), None, "before the first");
    }

    #[test]
    fn the_whole_name_comes_before_its_segments() {
        let node = JsonNode::parse(r#"{"a.b":1,"a":{"b":2},"c[0]":3,"c":[4]}"#).unwrap();
        assert_eq!(node.field("a.b").as_deref(), Some(&JsonNode::Int(1)));
        assert_eq!(node.field("c[0]").as_deref(), Some(&JsonNode::Int(3)));
        assert_eq!(
            node.field("a").and_then(|a| a.get("b").cloned()),
            Some(JsonNode::Int(2))
        );
    }

    #[test]
    fn text_is_borrowed_unless_it_has_escapes() {
        let node = JsonNode::parse(r#"{"plain":"x","esc\u0061ped":"a\"b"}"#).unwrap();
        let JsonNode::Map(entries) = &node else {
            panic!("{node:?}")
        };
        let borrowed: Vec<_> = entries
            .iter()
            .map(|(key, value)| {
                let is_value = matches!(value, JsonNode::Str(Cow::Borrowed(_)));
                (matches!(key, Cow::Borrowed(_)), is_value)
            })
            .collect();
        assert_eq!(borrowed, [(true, true), (false, false)]);
        assert_eq!(node.get("escaped"), Some(&JsonNode::Str("a\"b".into())));
    }

    #[test]
    fn numbers_beyond_whole_ones_are_no_other_whole_number() {
        let node = JsonNode::parse("[9223372036854775807,9223372036854775808,-1,1.0]").unwrap();
        let expected = [
            JsonNode::Int(i64::MAX),
            JsonNode::Float(9_223_372_036_854_775_808.0),
            JsonNode::Int(-1),
            JsonNode::Float(1.0),
        ];
        assert_eq!(node, JsonNode::List(expected.to_vec()));
    }

    #[test]
    fn what_is_written_is_what_was_read_in_its_order() {
        let text = r#"{"z":[1,-2,0.5,null,true],"a":{"b":"\n"},"a":2}"#;
        let node = JsonNode::parse(text).unwrap();
        assert_eq!(serde_json::to_string(&node).unwrap(), text);
        assert_eq!(serde_json::to_string(&node.into_owned()).unwrap(), text);
    }

    #[test]
    fn strings_are_found_at_any_depth_and_keys_are_none() {
        let node = JsonNode::parse(r#"{"key":[{"a":"x"},["y",1]],"b":"z"}"#).unwrap();
        let mut strings = Vec::new();
        node.strings(&mut strings);
        assert_eq!(strings, ["x", "y", "z"]);
        assert!(node.any_string(&|text| text == "y"));
        assert!(!node.any_string(&|text| text == "key" || text == "1"));
    }

    #[test]
    fn a_text_that_does_not_parse_has_no_fields() {
        for text in ["", "{", "{} {}", r#"{"a":1"#] {
            let document = LazyDocument::new(text);
            assert_eq!(document.node(), &JsonNode::Null);
            assert_eq!(document.text(), text);
        }
    }
}
