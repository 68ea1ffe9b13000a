//! A table of items, in batches: what DynamoDB takes at once, what it leaves over, and what it counts.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, DeleteRequest, KeysAndAttributes, PutRequest, TransactWriteItem, WriteRequest,
};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use secretrail_engine::state::StateError;

use crate::retry::{Failed, Retry};

/// Partition and sort key of every item.
pub(crate) const PK: &str = "pk";
/// Sort key.
pub(crate) const SK: &str = "sk";

/// Items that `BatchWriteItem` takes.
const WRITES: usize = 25;
/// Keys that `BatchGetItem` takes.
const READS: usize = 100;
/// Calls that are made at the same time.
const AT_ONCE: usize = 16;

/// An item, by the names of its attributes.
pub(crate) type Attributes = HashMap<String, AttributeValue>;

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) pk: String,
    pub(crate) sk: String,
}

impl Key {
    pub(crate) fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self {
            pk: pk.into(),
            sk: sk.into(),
        }
    }

    pub(crate) fn attributes(&self) -> Attributes {
        HashMap::from([
            (PK.to_owned(), text(&self.pk)),
            (SK.to_owned(), text(&self.sk)),
        ])
    }

    /// The key of an item.
    pub(crate) fn of(item: &Attributes) -> Option<Self> {
        Some(Self::new(text_of(item, PK)?, text_of(item, SK)?))
    }
}

pub(crate) fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

pub(crate) fn number(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(crate) fn bytes(bytes: Vec<u8>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

pub(crate) fn text_of<'i>(item: &'i Attributes, name: &str) -> Option<&'i str> {
    item.get(name)
        .and_then(|value| value.as_s().ok())
        .map(String::as_str)
}

pub(crate) fn number_of(item: &Attributes, name: &str) -> Option<i64> {
    item.get(name)
        .and_then(|value| value.as_n().ok())
        .and_then(|text| text.parse().ok())
}

pub(crate) fn bytes_of<'i>(item: &'i Attributes, name: &str) -> Option<&'i [u8]> {
    item.get(name)
        .and_then(|value| value.as_b().ok())
        .map(AsRef::as_ref)
}

/// What to do to an item, whatever is there.
#[derive(Debug, Clone)]
enum Write {
    Put(Attributes),
    Delete,
}

/// A table and the calls made to it.
#[derive(Debug)]
pub(crate) struct Table {
    client: Client,
    name: String,
    retry: Retry,
    calls: AtomicU64,
}

impl Table {
    pub(crate) fn new(client: Client, name: String, retry: Retry) -> Self {
        Self {
            client,
            name,
            retry,
            calls: AtomicU64::new(0),
        }
    }

    /// Calls made so far, each try counted once; what the SDK repeats by itself is not.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self, call: &str, failed: &Failed) -> StateError {
        StateError {
            message: format!("{call} on table {}: {}", self.name, failed.message),
        }
    }

    fn called(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Puts items, replacing what has their keys. Of two with one key the later is put.
    pub(crate) async fn put(
        &self,
        items: impl IntoIterator<Item = (Key, Attributes)>,
    ) -> Result<(), StateError> {
        let put = |(key, mut item): (Key, Attributes)| {
            item.extend(key.attributes());
            (key, Write::Put(item))
        };
        self.write(items.into_iter().map(put).collect()).await
    }

    /// Deletes items; what is not there is passed over.
    pub(crate) async fn delete(
        &self,
        keys: impl IntoIterator<Item = Key>,
    ) -> Result<(), StateError> {
        self.write(keys.into_iter().map(|key| (key, Write::Delete)).collect())
            .await
    }

    async fn write(&self, writes: BTreeMap<Key, Write>) -> Result<(), StateError> {
        let requests: Vec<WriteRequest> = writes
            .into_iter()
            .map(|(key, write)| write.request(&key))
            .collect();
        stream::iter(chunks(requests, WRITES))
            .map(|chunk| self.write_some(chunk))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
    }

    async fn write_some(&self, mut requests: Vec<WriteRequest>) -> Result<(), StateError> {
        let mut failed = 0;
        loop {
            self.called();
            let sent = self
                .client
                .batch_write_item()
                .request_items(&self.name, requests.clone())
                .send()
                .await;
            match sent {
                Ok(answer) => {
                    let left = answer
                        .unprocessed_items
                        .and_then(|mut left| left.remove(&self.name));
                    requests = left.unwrap_or_default();
                    if requests.is_empty() {
                        return Ok(());
                    }
                }
                Err(error) => {
                    let why = Failed::of(&error);
                    if !why.retry || !self.retry.again(failed + 1) {
                        return Err(self.failed("BatchWriteItem", &why));
                    }
                }
            }
            failed += 1;
            if !self.retry.again(failed) {
                let left = requests.len();
                let message = format!(
                    "BatchWriteItem on table {}: {left} items left unprocessed",
                    self.name
                );
                return Err(StateError { message });
            }
            self.retry.wait(failed).await;
        }
    }

    /// The items with these keys, as they are after every write that has returned. What is not there is left out.
    pub(crate) async fn get(
        &self,
        keys: impl IntoIterator<Item = Key>,
        only: Option<&str>,
    ) -> Result<HashMap<Key, Attributes>, StateError> {
        let mut keys: Vec<Key> = keys.into_iter().collect();
        keys.sort();
        keys.dedup();
        let keys: Vec<Attributes> = keys.iter().map(Key::attributes).collect();
        let parts: Vec<Vec<Attributes>> = stream::iter(chunks(keys, READS))
            .map(|chunk| self.get_some(chunk, only))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(parts
            .into_iter()
            .flatten()
            .filter_map(|item| Some((Key::of(&item)?, item)))
            .collect())
    }

    async fn get_some(
        &self,
        mut asked: Vec<Attributes>,
        only: Option<&str>,
    ) -> Result<Vec<Attributes>, StateError> {
        let mut found = Vec::new();
        let mut failed = 0;
        loop {
            let request = KeysAndAttributes::builder()
                .set_keys(Some(asked.clone()))
                .consistent_read(true)
                .set_projection_expression(only.map(str::to_owned))
                .build();
            // Cannot fail: the keys are set.
            let request = request.map_err(|error| StateError {
                message: error.to_string(),
            })?;
            self.called();
            match self
                .client
                .batch_get_item()
                .request_items(&self.name, request)
                .send()
                .await
            {
                Ok(answer) => {
                    found.extend(
                        answer
                            .responses
                            .and_then(|mut all| all.remove(&self.name))
                            .unwrap_or_default(),
                    );
                    let left = answer
                        .unprocessed_keys
                        .and_then(|mut left| left.remove(&self.name));
                    asked = left.map(|left| left.keys).unwrap_or_default();
                    if asked.is_empty() {
                        return Ok(found);
                    }
                }
                Err(error) => {
                    let why = Failed::of(&error);
                    if !why.retry || !self.retry.again(failed + 1) {
                        return Err(self.failed("BatchGetItem", &why));
                    }
                }
            }
            failed += 1;
            if !self.retry.again(failed) {
                let message = format!(
                    "BatchGetItem on table {}: {} keys left unprocessed",
                    self.name,
                    asked.len()
                );
                return Err(StateError { message });
            }
            self.retry.wait(failed).await;
        }
    }

    /// For each range, the items of the partition with sort keys in it, both ends included, as they are after every write
    /// that has returned.
    pub(crate) async fn query_all(
        &self,
        ranges: Vec<Range>,
    ) -> Result<Vec<Vec<Attributes>>, StateError> {
        stream::iter(ranges)
            .map(|range| self.query(range, usize::MAX))
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    /// The first items of a range; at least `most`, if there are so many.
    pub(crate) async fn query(
        &self,
        range: Range,
        most: usize,
    ) -> Result<Vec<Attributes>, StateError> {
        let mut found = Vec::new();
        let mut start = None;
        loop {
            self.called();
            let answer = self
                .client
                .query()
                .table_name(&self.name)
                .consistent_read(true)
                .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
                .expression_attribute_values(":pk", text(&range.pk))
                .expression_attribute_values(":from", text(&range.from))
                .expression_attribute_values(":to", text(&range.to))
                .set_limit(i32::try_from(most).ok())
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| self.failed("Query", &Failed::of(&error)))?;
            found.extend(answer.items.unwrap_or_default());
            start = answer.last_evaluated_key;
            if start.is_none() || found.len() >= most {
                return Ok(found);
            }
        }
    }

    /// Writes all or nothing, each on its condition.
    pub(crate) async fn transact(
        &self,
        writes: Vec<TransactWriteItem>,
    ) -> Result<(), SdkError<TransactWriteItemsError>> {
        self.called();
        self.client
            .transact_write_items()
            .set_transact_items(Some(writes))
            .send()
            .await
            .map(drop)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn retry(&self) -> Retry {
        self.retry
    }
}

/// The things in their order, so many at a time.
fn chunks<T>(things: Vec<T>, size: usize) -> Vec<Vec<T>> {
    let mut all = Vec::with_capacity(things.len().div_ceil(size));
    let mut things = things.into_iter().peekable();
    while things.peek().is_some() {
        all.push(things.by_ref().take(size).collect());
    }
    all
}

/// Sort keys of one partition, from and to, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) pk: String,
    pub(crate) from: String,
    pub(crate) to: String,
}

impl Write {
    fn request(&self, key: &Key) -> WriteRequest {
        let builder = WriteRequest::builder();
        // The builders fail only without what is set here.
        match self {
            Self::Put(item) => builder
                .set_put_request(
                    PutRequest::builder()
                        .set_item(Some(item.clone()))
                        .build()
                        .ok(),
                )
                .build(),
            Self::Delete => builder
                .set_delete_request(
                    DeleteRequest::builder()
                        .set_key(Some(key.attributes()))
                        .build()
                        .ok(),
                )
                .build(),
        }
    }
}
