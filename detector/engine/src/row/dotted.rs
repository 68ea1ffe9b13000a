//! Records whose nested fields stand at the top, each under its path: `userIdentity.arn`. Splunk
//! and others write them so; arrays have braces behind their name, as in `resources{}.ARN`.

use serde_json::{Map, Value};

use super::columns::put;
use crate::shallow::TopLevel;

/// Fields of a record that hold others.
const NESTED: [&str; 7] = [
    "userIdentity",
    "requestParameters",
    "responseElements",
    "additionalEventData",
    "resources",
    "addendum",
    "tlsDetails",
];

/// The record with its fields in their places; `None` if it has no field under a path. A field that
/// is there as a whole counts, and its parts beside it do not.
pub(crate) fn nested(top: &TopLevel<'_>) -> Option<Vec<u8>> {
    if !top.is_whole() || !top.iter().any(|(key, _)| is_path(key)) {
        return None;
    }
    let (mut record, mut paths) = (Map::new(), Vec::new());
    for (key, value) in top.iter() {
        let value: Value = serde_json::from_slice(value).ok()?;
        match is_path(key) {
            true if value.is_null() => {}
            true => paths.push((key.replace("{}", ""), value)),
            false => drop(record.insert(key.to_owned(), value)),
        }
    }
    paths.retain(|(path, _)| {
        let whole = record.get(head(path));
        whole.is_none_or(|whole| whole.is_null())
    });
    for name in NESTED {
        if paths.iter().any(|(path, _)| head(path) == name) {
            record.remove(name);
        }
    }
    for (path, value) in paths {
        let names: Vec<&str> = path.split('.').collect();
        match names.as_slice() {
            ["resources", field] => add_resources(&mut record, field, value),
            names => put(&mut record, names, value),
        }
    }
    Some(Value::Object(record).to_string().into_bytes())
}

fn head(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

fn is_path(key: &str) -> bool {
    let name = head(key).trim_end_matches("{}");
    (key.contains('.') || key.ends_with("{}")) && NESTED.contains(&name)
}

/// Puts one field of each resource into its place in the list.
fn add_resources(record: &mut Map<String, Value>, field: &str, value: Value) {
    let values = match value {
        Value::Array(values) => values,
        one => vec![one],
    };
    let list = record.entry("resources");
    let Value::Array(list) = list.or_insert_with(|| Value::Array(Vec::new())) else {
        return;
    };
    for (index, value) in values.into_iter().enumerate() {
        if list.len() == index {
            list.push(Value::Object(Map::new()));
        }
        if let Some(Value::Object(resource)) = list.get_mut(index) {
            resource.insert(field.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(record: &Value) -> Option<Value> {
        let text = record.to_string();
        let found = nested(&TopLevel::of(text.as_bytes()))?;
        Some(serde_json::from_slice(&found).unwrap())
    }

    #[test]
    fn fields_under_paths_are_put_into_their_places() {
        let flat = json!({
            "eventName": "GetParameters",
            "userIdentity.type": "AssumedRole",
            "userIdentity.sessionContext.sessionIssuer.arn": "arn:aws:iam::111122223333:role/app",
            "requestParameters.names{}": ["/a", "/b"],
            "requestParameters.withDecryption": true,
            "requestParameters.encryptionContext.SecretARN": "arn:x",
            "resources{}.ARN": ["arn:a", "arn:b"],
            "resources{}.type": ["t", "u"],
            "responseElements": null,
            "requestParameters.note": null,
            "p_row.id": 1,
        });
        let expected = json!({
            "eventName": "GetParameters",
            "userIdentity": {"type": "AssumedRole", "sessionContext": {"sessionIssuer":
                {"arn": "arn:aws:iam::111122223333:role/app"}}},
            "requestParameters": {"names": ["/a", "/b"], "withDecryption": true,
                "encryptionContext": {"SecretARN": "arn:x"}},
            "resources": [{"ARN": "arn:a", "type": "t"}, {"ARN": "arn:b", "type": "u"}],
            "responseElements": null,
            "p_row.id": 1,
        });
        assert_eq!(of(&flat), Some(expected));
    }

    #[test]
    fn a_field_that_is_there_as_a_whole_counts() {
        let both = json!({"userIdentity": {"arn": "whole"}, "userIdentity.arn": "part"});
        assert_eq!(of(&both), Some(json!({"userIdentity": {"arn": "whole"}})));
        let empty = json!({"userIdentity": null, "userIdentity.arn": "part"});
        assert_eq!(of(&empty), Some(json!({"userIdentity": {"arn": "part"}})));
        assert_eq!(of(&json!({"userIdentity": {}, "a.b": 1})), None);
    }
}
