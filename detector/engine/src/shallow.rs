//! The top level of a JSON object or array, in its bytes: keys and values as they stand, without
//! parsing what is nested in them. Damage inside a value does not matter.

use std::borrow::Cow;

use memchr::{memchr2, memchr3};

/// The keys and values of an object.
#[derive(Debug, Default)]
pub(crate) struct TopLevel<'u> {
    entries: Vec<(Cow<'u, str>, &'u [u8])>,
    is_whole: bool,
}

impl<'u> TopLevel<'u> {
    /// Reads an object; anything else has no entries. Of a repeated key the last value counts.
    pub(crate) fn of(unit: &'u [u8]) -> Self {
        let mut entries = Vec::new();
        let mut rest = match unit.trim_ascii_start().strip_prefix(b"{") {
            Some(rest) => rest.trim_ascii_start(),
            None => return Self::default(),
        };
        while let Some((key, after)) = string_at(rest) {
            let Some(value) = after.trim_ascii_start().strip_prefix(b":") else {
                break;
            };
            let (value, after) = value_at(value.trim_ascii_start());
            entries.push((decoded(key), value));
            rest = next_item(after);
        }
        Self {
            entries,
            is_whole: rest.starts_with(b"}"),
        }
    }

    /// Whether the object was read to its end: behind damage there may be more.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The value of a key, as it stands.
    pub(crate) fn get(&self, key: &str) -> Option<&'u [u8]> {
        // The last one, as in `JsonNode::get`: a key written twice must mean the same to every
        // reader.
        let mut entries = self.entries.iter().rev();
        entries
            .find(|(name, _)| name == key)
            .map(|(_, value)| *value)
    }

    /// The value of a key if it is a string, decoded; `None` for anything else.
    pub(crate) fn text(&self, key: &str) -> Option<Cow<'u, str>> {
        self.get(key).and_then(text_of)
    }

    /// Forgets a key and its values.
    pub(crate) fn remove(&mut self, key: &str) {
        self.entries.retain(|(name, _)| name != key);
    }

    /// Keys and values, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'u [u8])> {
        self.entries.iter().map(|(key, value)| (&**key, *value))
    }
}

/// The values in a text of JSON: of an array, or one after the other, with or without commas.
pub(crate) fn values(text: &[u8]) -> Vec<&[u8]> {
    let text = text.trim_ascii();
    let mut rest = next_item(inside_array(text).unwrap_or(text));
    let mut values = Vec::new();
    while !rest.is_empty() {
        let (value, after) = value_at(rest);
        if value.is_empty() {
            // A closing bracket too many costs only itself.
            rest = next_item(rest.get(1..).unwrap_or_default());
            continue;
        }
        values.push(value);
        rest = next_item(after);
    }
    values
}

/// What is between the brackets of an array; `None` where the text is no array, or more than one.
fn inside_array(text: &[u8]) -> Option<&[u8]> {
    let inside = text.strip_prefix(b"[")?;
    let (_, after) = value_at(text);
    // An array that is cut has no closing bracket.
    after
        .is_empty()
        .then(|| inside.strip_suffix(b"]").unwrap_or(inside))
}

/// The text of a JSON string; `None` for any other value.
pub(crate) fn text_of(value: &[u8]) -> Option<Cow<'_, str>> {
    let inside = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    Some(decoded(inside))
}

/// The text between the quotes of a string, with its escapes resolved. What is no valid escape
/// stands for itself, and what is no UTF-8 for a replacement character.
fn decoded(inside: &[u8]) -> Cow<'_, str> {
    if memchr::memchr(b'\\', inside).is_none() {
        return String::from_utf8_lossy(inside);
    }
    let quoted = [b"\"", inside, b"\""].concat();
    let text = crate::repair::repaired(&quoted);
    let text = serde_json::from_str::<String>(&text);
    Cow::Owned(text.unwrap_or_else(|_| String::from_utf8_lossy(inside).into_owned()))
}

/// The next item of an object or array, after white space and a comma.
fn next_item(rest: &[u8]) -> &[u8] {
    let rest = rest.trim_ascii_start();
    rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start()
}

/// The inside of the string that begins here, and what follows it.
fn string_at(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inside = text.strip_prefix(b"\"")?;
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', inside.get(at..)?)?;
        if inside.get(at) == Some(&b'"') {
            let (inside, rest) = inside.split_at_checked(at)?;
            return Some((inside, rest.get(1..).unwrap_or_default()));
        }
        at += 2;
    }
}

/// The value that begins here, and what follows it. It is empty only at a closing bracket.
fn value_at(text: &[u8]) -> (&[u8], &[u8]) {
    let length = match text.first() {
        Some(b'"') => string_at(text).map_or(text.len(), |(_, rest)| text.len() - rest.len()),
        Some(b'{') => nested(text, b'{', b'}'),
        Some(b'[') => nested(text, b'[', b']'),
        _ => text
            .iter()
            .position(|b| b",}]\"{[".contains(b) || b.is_ascii_whitespace())
            .unwrap_or(text.len()),
    };
    text.split_at_checked(length).unwrap_or((text, b""))
}

/// Length of the object or array that begins here. Only its own kind of bracket is counted: in
/// valid JSON the other kind matches by itself.
fn nested(text: &[u8], open: u8, close: u8) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(found) = text
        .get(at..)
        .and_then(|rest| memchr3(b'"', open, close, rest))
    {
        at += found;
        match text.get(at) {
            Some(b'"') => match text.get(at..).and_then(string_at) {
                Some((_, rest)) => {
                    at = text.len() - rest.len();
                    continue;
                }
                None => return text.len(),
            },
            Some(b) if *b == open => depth += 1,
            _ => depth -= 1,
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn entries(text: &str) -> Vec<(String, String)> {
        let top = TopLevel::of(text.as_bytes());
        top.iter()
            .map(|(k, v)| (k.to_owned(), String::from_utf8_lossy(v).into_owned()))
            .collect()
    }

    #[test]
    fn only_the_top_level_is_read() {
        let text =
            r#" { "a" : {"b":[{"c":"}"}]} , "d":[1,{"e":"]"}],"f":"\"}","g":-1.5e3,"h":null } "#;
        let expected = [
            ("a", r#"{"b":[{"c":"}"}]}"#),
            ("d", r#"[1,{"e":"]"}]"#),
            ("f", r#""\"}""#),
            ("g", "-1.5e3"),
            ("h", "null"),
        ];
        let expected: Vec<_> = expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(entries(text), expected);
        for none in ["", "[]", "1", "{", "{1:2}", "{\"a\" 1}"] {
            assert!(entries(none).is_empty(), "{none}");
        }
    }

    #[test]
    fn keys_and_texts_are_decoded_and_the_last_of_a_key_counts() {
        let text = br#"{"event\u0053ource":"kms\u002eamazonaws.com","a":"\ud800x","a":"\q"}"#;
        let top = TopLevel::of(text);
        assert_eq!(
            top.text("eventSource").as_deref(),
            Some("kms.amazonaws.com")
        );
        assert_eq!(top.text("a").as_deref(), Some("\\q"));
        assert_eq!(text_of(br#""\ud800x""#).as_deref(), Some("\u{fffd}x"));
        assert_eq!(text_of(b"1"), None);
    }

    #[test]
    fn values_are_of_an_array_or_follow_each_other() {
        let texts = |text: &str| -> Vec<String> {
            let values = values(text.as_bytes()).into_iter();
            values
                .map(|v| String::from_utf8_lossy(v).into_owned())
                .collect()
        };
        assert_eq!(
            texts(r#"[{"a":[1]} , "b,", [2], 3]"#),
            [r#"{"a":[1]}"#, "\"b,\"", "[2]", "3"]
        );
        assert_eq!(
            texts("{\"a\":1}\n{\"b\":2}{\"c\":3}"),
            ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]
        );
        assert!(texts("").is_empty() && texts("[]").is_empty());
        assert_eq!(texts("1}2]3"), ["1", "2", "3"]);
        assert_eq!(texts("[1]\n[2]"), ["[1]", "[2]"]);
        assert_eq!(texts("[[1],[2]]"), ["[1]", "[2]"]);
        assert_eq!(texts("[1,{\"a\":2}"), ["1", "{\"a\":2}"]);
    }

    proptest! {
        #[test]
        fn it_reads_what_a_parser_reads(value in any_json(3)) {
            let text = serde_json::json!({"k": value, "l": [value.clone()]}).to_string();
            let top = TopLevel::of(text.as_bytes());
            let parsed: Value = serde_json::from_slice(top.get("k").unwrap()).unwrap();
            prop_assert_eq!(&parsed, &value);
            let items = values(top.get("l").unwrap());
            prop_assert_eq!(items.len(), 1);
            prop_assert_eq!(&serde_json::from_slice::<Value>(items[0]).unwrap(), &value);
        }

        #[test]
        fn nonsense_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = [b"{\"a\":", bytes.as_slice()].concat();
            let _ = TopLevel::of(&text);
            let _ = values(&bytes);
        }
    }

    fn any_json(depth: u32) -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Into::into),
            "[a\"\\\\{}\\[\\],: \n]{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(depth, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                proptest::collection::btree_map("[a-c\"]{1,2}", inner, 0..4)
                    .prop_map(|map| { Value::Object(map.into_iter().collect()) }),
            ]
        })
    }
}
