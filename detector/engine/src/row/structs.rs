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
    match reader.value(0, false) {
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
    fn value(&mut self, depth: usize, is_item: bool) -> Option<Value> {
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
        let begun = self.rest;
        let nested = if self.takes("{") {
            self.fields(depth)
        } else if self.takes("[") {
            self.items(depth)
        } else {
            None
        };
        if nested.is_some() {
            return nested;
        }
        // Also a text of the caller may begin with a bracket.
        self.rest = begun;
        let end = self.end_of_scalar(is_item)?;
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
            let value = self.value(depth + 1, false)?;
            // Of two, one stands in a value that the caller chose: neither can be believed.
            let known = fields.insert(name, value);
            if known.is_some() {
                return None;
            }
            if !self.takes(", ") && !self.rest.starts_with('}') {
                return None;
            }
        }
        Some(Value::Object(fields))
    }

    fn items(&mut self, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        while !self.takes("]") {
            items.push(self.value(depth + 1, true)?);
            if !self.takes(", ") && !self.rest.starts_with(']') {
                return None;
            }
        }
        Some(Value::Array(items))
    }

    /// Where a text ends: before the brackets that end its struct, or before `, name=`; an item of
    /// a list before any comma.
    fn end_of_scalar(&self, is_item: bool) -> Option<usize> {
        let mut from = 0;
        loop {
            let at = from + self.rest.get(from..)?.find([',', '}', ']'])?;
            let after = self.rest.get(at..)?;
            if let Some(next) = after.strip_prefix(',') {
                let ends = next
                    .strip_prefix(' ')
                    .is_some_and(|next| is_item || is_field(next));
                if ends {
                    return Some(at);
                }
                from = at + 1;
                continue;
            }
            let rest = after.trim_start_matches(['}', ']']);
            if rest.is_empty() || rest.starts_with(", ") {
                return Some(at);
            }
            // Past the whole run of brackets: each is looked at once.
            from = at + after.len() - rest.len();
        }
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// Whether the name of a field and `=` follow.
fn is_field(text: &str) -> bool {
    let is_letter = |letter: &u8| letter.is_ascii_alphanumeric() || *letter == b'_';
    let length = text
        .bytes()
        .take(LONGEST_NAME)
        .take_while(is_letter)
        .count();
    length > 0 && text.as_bytes().get(length) == Some(&b'=')
}

/// Longest name of a field.
const LONGEST_NAME: usize = 64;

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
            (
                "{secretId=a, description=[prod] x}",
                json!({"secretId": "a", "description": "[prod] x"}),
            ),
            ("{a=x}} y, b=z}", json!({"a": "x}} y", "b": "z"})),
        ] {
            assert_eq!(parsed(text), expected, "{text}");
        }
    }

    #[test]
    fn time_grows_with_the_text() {
        let many = 1 << 20;
        for text in [
            format!("{{a={}x", "}".repeat(many)),
            format!("[{}", "a, ".repeat(many)),
            format!("{{a=x{}", ", b".repeat(many)),
        ] {
            parsed(&text);
        }
    }

    #[test]
    fn what_is_none_stays_as_it_is() {
        let deep = format!("{}x{}", "{a=".repeat(40), "}".repeat(40));
        // A caller has written a second secret into a description.
        let spoofed = "{description=x, secretId=decoy, secretId=app}";
        for text in ["{a", "{a=b", "[a", "{a=b}x", &deep, spoofed] {
            assert_eq!(parsed(text), Value::from(text), "{text}");
        }
    }
}
