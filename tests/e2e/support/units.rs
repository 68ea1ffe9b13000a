//! What calls to DynamoDB cost, counted from their requests and answers.
//!
//! Source: Amazon DynamoDB developer guide, "DynamoDB read and write operations" and "DynamoDB item
//! sizes and formats", checked 2026-11.

use std::ops::AddAssign;

use serde_json::Value;

/// Units of a table on demand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Units {
    /// Requests.
    pub requests: usize,
    /// Write units: each begun KB of an item, twice in a transaction.
    pub write: usize,
    /// Read units: each begun 4 KB, strongly consistent.
    pub read: usize,
}

impl AddAssign for Units {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.write += other.write;
        self.read += other.read;
    }
}

impl Units {
    /// The units of one call.
    #[must_use]
    pub fn of(operation: &str, request: &Value, answer: &Value) -> Self {
        let (write, read) = match operation {
            "PutItem" => (written(&request["Item"]), 0),
            "BatchWriteItem" => (
                lists(&request["RequestItems"])
                    .map(|write| written(&write["PutRequest"]["Item"]))
                    .sum(),
                0,
            ),
            "TransactWriteItems" => (
                list(&request["TransactItems"])
                    .map(|write| 2 * written(&write["Put"]["Item"]))
                    .sum(),
                0,
            ),
            "BatchGetItem" => (0, got(request, answer)),
            "Query" => {
                let size: usize = list(&answer["Items"]).map(size_of).sum();
                (0, read(size))
            }
            other => panic!("{other} is not counted"),
        };
        Self {
            requests: 1,
            write,
            read,
        }
    }
}

/// Units of an item that is written; of one that is deleted, which the request does not have, one.
fn written(item: &Value) -> usize {
    size_of(item).div_ceil(1_024).max(1)
}

fn read(bytes: usize) -> usize {
    bytes.div_ceil(4_096).max(1)
}

/// Each item is rounded up by itself, and one that is missing costs a unit.
fn got(request: &Value, answer: &Value) -> usize {
    let tables = request["RequestItems"].as_object().into_iter().flatten();
    let asked: usize = tables.map(|(_, asked)| list(&asked["Keys"]).count()).sum();
    let found: Vec<usize> = lists(&answer["Responses"]).map(size_of).collect();
    asked.saturating_sub(found.len()) + found.into_iter().map(read).sum::<usize>()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// What the lists of all tables have.
fn lists(tables: &Value) -> impl Iterator<Item = &Value> {
    let tables = tables.as_object().into_iter().flatten();
    tables.flat_map(|(_, items)| list(items))
}

/// Bytes of an item: of the names of its attributes and of their values.
fn size_of(item: &Value) -> usize {
    let attributes = item.as_object().into_iter().flatten();
    attributes
        .map(|(name, value)| name.len() + size_of_value(value))
        .sum()
}

fn size_of_value(value: &Value) -> usize {
    let typed = value.as_object().and_then(|value| value.iter().next());
    let Some((kind, value)) = typed else { return 0 };
    let text = |value: &Value| value.as_str().map_or(0, str::len);
    match kind.as_str() {
        "S" => text(value),
        "N" => text(value).div_ceil(2) + 1,
        // In Base64.
        "B" => text(value) / 4 * 3,
        "SS" => list(value).map(text).sum(),
        "L" => {
            3 + list(value)
                .map(|value| 1 + size_of_value(value))
                .sum::<usize>()
        }
        "BOOL" | "NULL" => 1,
        other => panic!("an attribute of type {other} is not counted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn items_are_rounded_up_each_by_itself() {
        let item = |size: usize| json!({"a": {"S": "x".repeat(size)}});
        let put = |size| json!({"PutRequest": {"Item": item(size)}});
        let delete = json!({"DeleteRequest": {"Key": item(3)}});
        let request = json!({"RequestItems": {"t": [put(1_023), put(1_024), delete]}});
        let units = Units::of("BatchWriteItem", &request, &Value::Null);
        assert_eq!((units.requests, units.write, units.read), (1, 4, 0));
        let request = json!({"RequestItems": {"t": {"Keys": [item(1), item(1), item(1)]}}});
        let answer = json!({"Responses": {"t": [item(4_095), item(4_096)]}});
        assert_eq!(Units::of("BatchGetItem", &request, &answer).read, 4);
        let answer = json!({"Items": [item(4_000), item(4_000)]});
        assert_eq!(Units::of("Query", &Value::Null, &answer).read, 2);
        assert_eq!(
            Units::of("Query", &Value::Null, &json!({"Items": []})).read,
            1
        );
    }
}
