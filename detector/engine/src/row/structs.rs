//! Structs, arrays and maps as Presto prints them: `{type=Root, arn=null}`, `[{arn=…}]`. Nothing is
//! escaped in them, so that a value ends only where the name of a next field follows.

use serde_json::{Map, Value};

/// The value that a text holds; the text itself if it is neither struct nor array.
pub(super) fn parsed(text: &str) -> Value {
    let text = text.trim();
    if !text.starts_with(['{', '[']) {
        return scalar(text);
    }
    if let Ok(json) = serde_json::from_str(text) {
        return json;
    }
    let mut reader = StructReader { rest: text };
    match reader.value(0) {
        Some(value) if reader.rest.trim().is_empty() => value,
        _ => Value::from(text),
    }
}

fn scalar(text: &str) -> Value {
    match text {
        "null" | "" => Value::Null,
        text => Value::from(text),
    }
}

/// Structs within each other: more than any record has.
const DEEPEST: usize = 16;

struct StructReader<'t> {
    rest: &'t str,
}

impl StructReader<'_> {
    fn takes(&mut self, text: &str) -> bool {
        let after = self.rest.strip_prefix(text);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    /// A value up to the comma or bracket that ends it; `None` if it has no end.
    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEEPEST {
            return None;
        }
        // Maps hold nested values as JSON.
        let mut json = serde_json::Deserializer::from_str(self.rest).into_iter::<Value>();
        if self.rest.starts_with(['{', '['])
            && let Some(Ok(value)) = json.next()
            && !is_empty(&value)
        {
            self.rest = self.rest.get(json.byte_offset()..)?;
            return Some(value);
        }
        if self.takes("{") {
            return self.fields(depth);
        }
        if self.takes("[") {
            return self.items(depth);
        }
        let end = self.end_of_scalar()?;
        let (text, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        Some(scalar(text))
    }

    fn fields(&mut self, depth: usize) -> Option<Value> {
        let mut fields = Map::new();
        while !self.takes("}") {
            let (name, rest) = self.rest.split_once('=')?;
            let name = name.trim().to_owned();
            self.rest = rest;
            let value = self.value(depth + 1)?;
            // The first counts: a later one may stand in the value of a caller.
            fields.entry(name).or_insert(value);
            if !self.takes(", ") && !self.rest.starts_with('}') {
                return None;
            }
        }
        Some(Value::Object(fields))
    }

    fn items(&mut self, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        while !self.takes("]") {
            items.push(self.value(depth + 1)?);
            if !self.takes(", ") && !self.rest.starts_with(']') {
                return None;
            }
        }
        Some(Value::Array(items))
    }

    /// Where a text ends: before a closing bracket that ends its struct, or before `, name=`.
    fn end_of_scalar(&self) -> Option<usize> {
        let mut from = 0;
        loop {
            let found = self.rest.get(from..)?.find([',', '}', ']'])?;
            let at = from + found;
            let after = self.rest.get(at..)?;
            let ends = match after.strip_prefix(", ") {
                Some(next) => is_field(next) || !self.rest.contains('='),
                None => !after.starts_with(',') && closes(after),
            };
            if ends {
                return Some(at);
            }
            from = at + 1;
        }
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// Whether the name of a field and `=` follow.
fn is_field(text: &str) -> bool {
    let name = text.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    })
}

/// Whether brackets end values here: what follows them is another, a comma, or the end.
fn closes(text: &str) -> bool {
    let after = text.trim_start_matches(['}', ']']);
    after.is_empty() || after.starts_with(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn structs_arrays_and_maps_are_read_as_presto_prints_them() {
        for (text, expected) in [
            (
                "{type=AssumedRole, arn=arn:aws:sts::1:assumed-role/app/a=b,c, invokedby=null, \
                 sessioncontext={attributes={mfaauthenticated=false}, sessionissuer={arn=x}}}",
                json!({"type": "AssumedRole", "arn": "arn:aws:sts::1:assumed-role/app/a=b,c",
                    "invokedby": null, "sessioncontext": {"attributes":
                    {"mfaauthenticated": "false"}, "sessionissuer": {"arn": "x"}}}),
            ),
            (
                "[{arn=a, accountid=1, type=null}, {arn=b, accountid=2, type=t}]",
                json!([{"arn": "a", "accountid": "1", "type": null},
                    {"arn": "b", "accountid": "2", "type": "t"}]),
            ),
            (
                r#"{encryptionAlgorithm=S, encryptionContext={"SecretARN":"a, b=c}"}}"#,
                json!({"encryptionAlgorithm": "S", "encryptionContext": {"SecretARN": "a, b=c}"}}),
            ),
            (r#"{"secretId":"x"}"#, json!({"secretId": "x"})),
            ("{names=[/a, /b]}", json!({"names": ["/a", "/b"]})),
            ("{a=, b={}, c=[]}", json!({"a": null, "b": {}, "c": []})),
            ("null", json!(null)),
            ("plain", json!("plain")),
        ] {
            assert_eq!(parsed(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_none_stays_as_it_is() {
        let deep = format!("{}x{}", "{a=".repeat(40), "}".repeat(40));
        for text in ["{a", "{a=b", "[a", "{a=b}x", "{a={b=c}", &deep] {
            assert_eq!(parsed(text), Value::from(text), "{text}");
        }
    }
}
