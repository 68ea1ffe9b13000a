//! The state table, read and written as DynamoDB's JSON.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use secretrail_aws::names::{PK, SK};
use serde_json::{Map, Value, json};

use crate::aws_api::{ApiError, AwsApi, DYNAMODB};

/// Most items of one `BatchGetItem`.
const BATCH: usize = 100;

/// How often what DynamoDB left out of a batch is asked for again.
const ROUNDS: usize = 10;

/// An item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableItem(Map<String, Value>);

impl TableItem {
    fn value(&self, name: &str, kind: &str) -> Option<&str> {
        self.0.get(name)?.get(kind)?.as_str()
    }

    /// An attribute that is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name, "S")
    }

    /// An attribute that is a whole number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        self.value(name, "N")?.parse().ok()
    }

    /// An attribute that is bytes.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        STANDARD.decode(self.value(name, "B")?).ok()
    }

    /// Partition key and sort key.
    fn key(&self) -> Option<ItemPlace> {
        Some((self.text(PK)?.to_owned(), self.text(SK)?.to_owned()))
    }
}

/// Partition key and sort key of an item.
pub type ItemPlace = (String, String);

/// The state table of a deployment.
pub struct StateTable<'a> {
    api: &'a AwsApi,
    /// Name of the table.
    pub name: &'a str,
}

impl<'a> StateTable<'a> {
    /// A table; makes no calls yet.
    #[must_use]
    pub fn new(api: &'a AwsApi, name: &'a str) -> Self {
        Self { api, name }
    }

    /// One item; `None` if it is not there.
    ///
    /// # Errors
    ///
    /// [`ApiError`]: it could not be read.
    pub fn item(&self, pk: &str, sk: &str) -> Result<Option<TableItem>, ApiError> {
        let input = json!({
            "TableName": self.name,
            "Key": place(pk, sk),
            "ConsistentRead": true,
        });
        let answer = self.api.json(&DYNAMODB, "GetItem", &input)?;
        Ok(answer.get("Item").and_then(item))
    }

    /// Those of these items that are there.
    ///
    /// # Errors
    ///
    /// [`ApiError`]: they could not be read.
    pub fn items(&self, places: &[ItemPlace]) -> Result<BTreeMap<ItemPlace, TableItem>, ApiError> {
        let mut found = BTreeMap::new();
        for places in places.chunks(BATCH) {
            let keys = places.iter().map(|(pk, sk)| place(pk, sk));
            let mut asked = json!({self.name: {
                "Keys": keys.collect::<Vec<Value>>(), "ConsistentRead": true,
            }});
            for _ in 0..ROUNDS {
                let input = json!({"RequestItems": asked});
                let answer = self.api.json(&DYNAMODB, "BatchGetItem", &input)?;
                let items = answer.get("Responses").and_then(|all| all.get(self.name));
                let items = items.and_then(Value::as_array).into_iter().flatten();
                let items = items.filter_map(item);
                found.extend(items.filter_map(|item| Some((item.key()?, item))));
                asked = answer.get("UnprocessedKeys").cloned().unwrap_or_default();
                if asked.as_object().is_none_or(Map::is_empty) {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// The items of a partition from a sort key on, at most so many; backwards, the last ones.
    ///
    /// # Errors
    ///
    /// [`ApiError`]: they could not be read.
    pub fn partition(
        &self,
        pk: &str,
        from: &str,
        most: usize,
        backwards: bool,
    ) -> Result<Vec<TableItem>, ApiError> {
        let mut found = Vec::new();
        let mut input = json!({
            "TableName": self.name,
            "KeyConditionExpression": "#pk = :pk AND #sk >= :from",
            "ExpressionAttributeNames": {"#pk": PK, "#sk": SK},
            "ExpressionAttributeValues": {":pk": {"S": pk}, ":from": {"S": from}},
            "ConsistentRead": true,
            "ScanIndexForward": !backwards,
            "Limit": most,
        });
        loop {
            let answer = self.api.json(&DYNAMODB, "Query", &input)?;
            let items = answer.get("Items").and_then(Value::as_array);
            found.extend(items.into_iter().flatten().filter_map(item));
            let Some(last) = answer
                .get("LastEvaluatedKey")
                .filter(|_| found.len() < most)
            else {
                found.truncate(most);
                return Ok(found);
            };
            if let Some(input) = input.as_object_mut() {
                input.insert("ExclusiveStartKey".to_owned(), last.clone());
            }
        }
    }

    /// Writes an item, unless it has changed since it was read: `version` is an attribute that
    /// changes with it and its text then, `None` if there was no item. Returns whether it was
    /// written.
    ///
    /// # Errors
    ///
    /// [`ApiError`]: it could not be written.
    pub fn put_if(&self, item: &Value, version: Option<(&str, &str)>) -> Result<bool, ApiError> {
        let mut input = match version {
            None => json!({
                "ConditionExpression": "attribute_not_exists(#pk)",
                "ExpressionAttributeNames": {"#pk": PK},
            }),
            Some((name, text)) => json!({
                "ConditionExpression": "#version = :version",
                "ExpressionAttributeNames": {"#version": name},
                "ExpressionAttributeValues": {":version": {"S": text}},
            }),
        };
        if let Some(input) = input.as_object_mut() {
            input.insert("TableName".to_owned(), json!(self.name));
            input.insert("Item".to_owned(), item.clone());
        }
        match self.api.json(&DYNAMODB, "PutItem", &input) {
            Ok(_) => Ok(true),
            Err(error) if error.code() == "ConditionalCheckFailedException" => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes several items or none, each on its condition.
    ///
    /// # Errors
    ///
    /// [`ApiError`]: they could not be written; with the code `TransactionCanceledException`, a
    /// condition was not met.
    pub fn transact(&self, writes: &[Value]) -> Result<(), ApiError> {
        let input = json!({"TransactItems": writes});
        self.api.json(&DYNAMODB, "TransactWriteItems", &input)?;
        Ok(())
    }
}

/// The key of an item.
#[must_use]
pub fn place(pk: &str, sk: &str) -> Value {
    json!({PK: {"S": pk}, SK: {"S": sk}})
}

fn item(value: &Value) -> Option<TableItem> {
    value.as_object().cloned().map(TableItem)
}
