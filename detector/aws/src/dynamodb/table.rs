//! Access to the table in batches: limits of DynamoDB, unprocessed items, expiry, and a count of
//! the calls.

mod conditional;
mod query;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_sdk_dynamodb::{
    Client,
    error::{BuildError, SdkError},
    operation::transact_write_items::TransactWriteItemsError,
    types::{
        AttributeValue, Delete, DeleteRequest, KeysAndAttributes, Put, PutRequest,
        ReturnValuesOnConditionCheckFailure, TransactWriteItem, WriteRequest, builders::PutBuilder,
    },
};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use secretrail_engine::{
    state::{
        StateError,
        item_v1::{ItemError, PackedItem},
    },
    time::EventTime,
};

pub(super) use self::conditional::{ConditionalPut, PutResult};
use crate::{
    dynamodb::item::{Attributes, CONTENT, ItemKey, TTL, bytes, bytes_of, number},
    retry::{FailedAttempts, FailedCall, RetryPolicy},
};

/// Most items that `BatchWriteItem` accepts.
const WRITES: usize = 25;
/// Most keys that `BatchGetItem` accepts.
const READS: usize = 100;
/// Calls made at the same time.
pub(super) const AT_ONCE: usize = 16;

/// Returns the current time.
pub type Clock = Arc<dyn Fn() -> EventTime + Send + Sync>;

/// An unconditional write of an item.
#[derive(Debug, Clone, PartialEq)]
enum ItemWrite {
    Put(Attributes),
    Delete,
}

/// A table and the calls made to it.
pub(super) struct DynamoTable {
    client: Client,
    name: String,
    retry: RetryPolicy,
    clock: Clock,
    calls: AtomicU64,
    /// Why items were set aside, since that was last asked for.
    set_aside: Mutex<Vec<StateError>>,
}

impl DynamoTable {
    pub(super) fn new(client: Client, name: String, retry: RetryPolicy, clock: Clock) -> Self {
        Self {
            client,
            name,
            retry,
            clock,
            calls: AtomicU64::new(0),
            set_aside: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn now(&self) -> EventTime {
        (self.clock)()
    }

    pub(super) fn tries(&self) -> FailedAttempts {
        self.retry.tries()
    }

    /// Calls made so far, each try counted once; retries by the SDK are not counted.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Notes that an item was set aside because of this error.
    pub(super) fn note_set_aside(&self, error: StateError) {
        // The list is usable even after a panic.
        let mut noted = self
            .set_aside
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        noted.push(error);
    }

    /// The errors of items that were set aside since the last call.
    pub(super) fn take_set_aside(&self) -> Vec<StateError> {
        let mut noted = self
            .set_aside
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut taken = std::mem::take(&mut *noted);
        // An alert is read by who groups and by who publishes it.
        taken.sort_by_cached_key(ToString::to_string);
        taken.dedup_by_key(|error| error.to_string());
        taken
    }

    fn called(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// The attribute that makes an item expire so many seconds from now.
    pub(super) fn expiry(&self, secs: i64) -> (String, AttributeValue) {
        (TTL.to_owned(), number(self.now().plus(secs).0))
    }

    /// An item of packed content that expires so many seconds from now.
    pub(super) fn packed(&self, packed: PackedItem, secs: i64) -> Attributes {
        HashMap::from([(CONTENT.to_owned(), bytes(packed.bytes)), self.expiry(secs)])
    }

    /// Unpacks the content of items. Items without content, such as ids of closed events, are
    /// skipped.
    pub(super) fn contents<T>(
        &self,
        items: &[Attributes],
        unpack: impl Fn(&[u8]) -> Result<Vec<T>, ItemError>,
    ) -> Result<Vec<T>, StateError> {
        let mut all = Vec::new();
        for item in items {
            if let Some(bytes) = bytes_of(item, CONTENT) {
                all.extend(unpack(bytes).map_err(|error| self.unreadable(item, &error))?);
            }
        }
        Ok(all)
    }

    pub(super) fn unreadable(&self, item: &Attributes, error: &ItemError) -> StateError {
        let key = ItemKey::of(item)
            .map(|key| format!("{} {}", key.pk, key.sk))
            .unwrap_or_default();
        StateError::unreadable(format!("item {key} of table {}: {error}", self.name))
    }

    pub(super) fn failed(&self, call: &str, failed: &FailedCall) -> StateError {
        StateError::new(format!("{call} on table {}: {}", self.name, failed.message))
    }

    /// All tries were used up, and parts of a batch are still unprocessed.
    fn unprocessed(&self, call: &str, left: usize, things: &str) -> StateError {
        StateError::new(format!(
            "{call} on table {}: {left} {things} left unprocessed after all retries",
            self.name
        ))
    }

    /// Puts items, replacing existing ones. Of two items with one key the later is put.
    pub(super) async fn put(&self, items: Vec<(ItemKey, Attributes)>) -> Result<(), StateError> {
        let writes = items
            .into_iter()
            .map(|(key, item)| (key, ItemWrite::Put(item)));
        self.write(writes.collect()).await
    }

    /// Deletes items; missing ones are ignored.
    pub(super) async fn delete(&self, keys: Vec<ItemKey>) -> Result<(), StateError> {
        let writes = keys.into_iter().map(|key| (key, ItemWrite::Delete));
        self.write(writes.collect()).await
    }

    /// Writes in any order: if one write must precede another, await the first.
    async fn write(&self, writes: Vec<(ItemKey, ItemWrite)>) -> Result<(), StateError> {
        stream::iter(chunks(requests(writes), WRITES))
            .map(|chunk| self.write_some(chunk))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
    }

    async fn write_some(&self, mut requests: Vec<WriteRequest>) -> Result<(), StateError> {
        let mut tries = self.tries();
        loop {
            match self.batch_write(requests.clone()).await {
                Ok(left) if left.is_empty() => return Ok(()),
                // Only the unprocessed requests are sent again; the others were executed.
                Ok(left) if tries.again() => requests = left,
                Ok(left) => return Err(self.unprocessed("BatchWriteItem", left.len(), "items")),
                // All of it may have been written, or nothing: writing the same items again changes
                // nothing.
                Err(why) if why.retry && tries.again() => {}
                Err(why) => return Err(self.failed("BatchWriteItem", &why)),
            }
            tries.wait().await;
        }
    }

    /// One call; returns the unprocessed requests.
    async fn batch_write(
        &self,
        requests: Vec<WriteRequest>,
    ) -> Result<Vec<WriteRequest>, FailedCall> {
        self.called();
        let answer = self
            .client
            .batch_write_item()
            .request_items(&self.name, requests)
            .send()
            .await
            .map_err(|error| FailedCall::of(&error))?;
        let left = answer
            .unprocessed_items
            .and_then(|mut left| left.remove(&self.name));
        Ok(left.unwrap_or_default())
    }

    /// The items with these keys, strongly consistent. Missing items are omitted. With `only`, a
    /// projection expression, just these attributes.
    pub(super) async fn get(
        &self,
        keys: Vec<ItemKey>,
        only: Option<&str>,
    ) -> Result<HashMap<ItemKey, Attributes>, StateError> {
        let parts: Vec<Vec<Attributes>> = stream::iter(chunks(distinct(keys), READS))
            .map(|chunk| self.get_some(chunk, only))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(parts
            .into_iter()
            .flatten()
            .filter_map(|item| Some((ItemKey::of(&item)?, item)))
            .collect())
    }

    async fn get_some(
        &self,
        mut asked: Vec<Attributes>,
        only: Option<&str>,
    ) -> Result<Vec<Attributes>, StateError> {
        let mut found = Vec::new();
        let mut tries = self.tries();
        loop {
            // Cannot fail: the keys are set.
            let request = consistent(asked.clone(), only)
                .map_err(|error| StateError::new(error.to_string()))?;
            match self.batch_get(request, &mut found).await {
                Ok(left) if left.is_empty() => return Ok(found),
                // The items that were found stay: only the rest is asked for again.
                Ok(left) if tries.again() => asked = left,
                Ok(left) => return Err(self.unprocessed("BatchGetItem", left.len(), "keys")),
                Err(why) if why.retry && tries.again() => {}
                Err(why) => return Err(self.failed("BatchGetItem", &why)),
            }
            tries.wait().await;
        }
    }

    /// One call; adds what it found, and returns the unprocessed keys.
    async fn batch_get(
        &self,
        request: KeysAndAttributes,
        found: &mut Vec<Attributes>,
    ) -> Result<Vec<Attributes>, FailedCall> {
        self.called();
        let answer = self
            .client
            .batch_get_item()
            .request_items(&self.name, request)
            .send()
            .await
            .map_err(|error| FailedCall::of(&error))?;
        let items = answer.responses.and_then(|mut all| all.remove(&self.name));
        found.extend(items.unwrap_or_default());
        let left = answer
            .unprocessed_keys
            .and_then(|mut left| left.remove(&self.name));
        Ok(left.map(|left| left.keys).unwrap_or_default())
    }

    /// A write of an item for a transaction.
    pub(super) fn put_builder(&self, item: Attributes) -> PutBuilder {
        Put::builder().table_name(&self.name).set_item(Some(item))
    }

    /// A write of an item for a transaction, whatever there is.
    pub(super) fn put_any(&self, item: Attributes) -> Option<TransactWriteItem> {
        as_write(self.put_builder(item))
    }

    /// A write of an item for a transaction, which fails when it has another version than when it
    /// was read; 0 when there was none.
    pub(super) fn put_version(
        &self,
        item: Attributes,
        name: &str,
        version: u64,
    ) -> Option<TransactWriteItem> {
        let put = self
            .put_builder(item)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        as_write(match version {
            0 => put.condition_expression("attribute_not_exists(pk)"),
            version => put
                .condition_expression("#version = :version")
                .expression_attribute_names("#version", name)
                .expression_attribute_values(":version", number(version)),
        })
    }

    /// A deletion of an item for a transaction, which fails when there is none.
    pub(super) fn delete_existing(&self, key: &ItemKey) -> Option<TransactWriteItem> {
        self.delete_if(key, Some("attribute_exists(pk)"))
    }

    /// A deletion of an item for a transaction, if there is one.
    pub(super) fn delete_any(&self, key: &ItemKey) -> Option<TransactWriteItem> {
        self.delete_if(key, None)
    }

    fn delete_if(&self, key: &ItemKey, condition: Option<&str>) -> Option<TransactWriteItem> {
        let delete = Delete::builder()
            .table_name(&self.name)
            .set_key(Some(key.attributes()))
            .set_condition_expression(condition.map(str::to_owned));
        // Cannot fail: table and key are set.
        let delete = delete.build().ok()?;
        Some(TransactWriteItem::builder().delete(delete).build())
    }

    /// Writes all items or none, each on its condition.
    pub(super) async fn transact(
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
}

/// The write of an item in a transaction.
pub(super) fn as_write(put: PutBuilder) -> Option<TransactWriteItem> {
    // Cannot fail: table and item are set.
    let put = put.build().ok()?;
    Some(TransactWriteItem::builder().put(put).build())
}

/// One request for each key: `BatchWriteItem` rejects two for one item.
fn requests(writes: Vec<(ItemKey, ItemWrite)>) -> Vec<WriteRequest> {
    let writes: BTreeMap<ItemKey, ItemWrite> = writes.into_iter().collect();
    writes
        .into_iter()
        .map(|(key, write)| write.request(&key))
        .collect()
}

/// Keys in the form of a request, each once: `BatchGetItem` rejects duplicate keys.
fn distinct(mut keys: Vec<ItemKey>) -> Vec<Attributes> {
    keys.sort();
    keys.dedup();
    keys.iter().map(ItemKey::attributes).collect()
}

/// Strongly consistent: the writer of the last of several related items must see all of them.
fn consistent(keys: Vec<Attributes>, only: Option<&str>) -> Result<KeysAndAttributes, BuildError> {
    KeysAndAttributes::builder()
        .set_keys(Some(keys))
        .consistent_read(true)
        .set_projection_expression(only.map(str::to_owned))
        .build()
}

/// The things in their order, `size` at a time.
fn chunks<T>(things: Vec<T>, size: usize) -> Vec<Vec<T>> {
    let mut all = Vec::with_capacity(things.len().div_ceil(size));
    let mut things = things.into_iter().peekable();
    while things.peek().is_some() {
        all.push(things.by_ref().take(size).collect());
    }
    all
}

impl ItemWrite {
    fn request(self, key: &ItemKey) -> WriteRequest {
        let builder = WriteRequest::builder();
        // The builders fail only without what is set here.
        match self {
            Self::Put(mut item) => {
                item.extend(key.attributes());
                let put = PutRequest::builder().set_item(Some(item));
                builder.set_put_request(put.build().ok()).build()
            }
            Self::Delete => {
                let delete = DeleteRequest::builder().set_key(Some(key.attributes()));
                builder.set_delete_request(delete.build().ok()).build()
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::dynamodb::item::text;
    use aws_sdk_dynamodb::config::{BehaviorVersion, Config};

    /// A table without calls, at second 1,000.
    pub(crate) fn uncalled() -> DynamoTable {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .build();
        DynamoTable::new(
            Client::from_conf(config),
            "state".to_owned(),
            RetryPolicy::default(),
            Arc::new(|| EventTime(1_000)),
        )
    }

    fn put_items(requests: &[WriteRequest]) -> Vec<&Attributes> {
        requests
            .iter()
            .filter_map(|request| request.put_request().map(PutRequest::item))
            .collect()
    }

    #[test]
    fn of_two_writes_to_one_key_the_later_is_sent() {
        let item = |value: &str| HashMap::from([("x".to_owned(), text(value))]);
        let (a, b) = (ItemKey::new("p", "a"), ItemKey::new("p", "b"));
        let requests = requests(vec![
            (b.clone(), ItemWrite::Put(item("first"))),
            (a.clone(), ItemWrite::Put(item("gone"))),
            (b.clone(), ItemWrite::Put(item("last"))),
            (a.clone(), ItemWrite::Delete),
        ]);
        assert_eq!(requests.len(), 2);
        let deleted = requests[0].delete_request().map(DeleteRequest::key);
        assert_eq!(deleted, Some(&a.attributes()));
        let mut whole = item("last");
        whole.extend(b.attributes());
        assert_eq!(put_items(&requests), [&whole]);
    }

    #[test]
    fn batches_take_what_dynamodb_takes() {
        let sizes = |count: usize, size| -> Vec<usize> {
            let all = chunks((0..count).collect(), size);
            assert!(all.iter().flatten().copied().eq(0..count));
            all.iter().map(Vec::len).collect()
        };
        assert!(sizes(0, WRITES).is_empty());
        assert_eq!(sizes(25, WRITES), [25]);
        assert_eq!(sizes(26, WRITES), [25, 1]);
        assert_eq!(sizes(201, READS), [100, 100, 1]);
    }

    #[test]
    fn a_key_is_asked_for_once_and_consistently() {
        let key = |sk: &str| ItemKey::new("p", sk);
        let keys = distinct(vec![key("b"), key("a"), key("b")]);
        assert_eq!(keys, [key("a").attributes(), key("b").attributes()]);
        let request = consistent(keys, Some("pk, sk")).unwrap();
        assert_eq!(request.consistent_read(), Some(true));
        assert_eq!(request.projection_expression(), Some("pk, sk"));
        assert_eq!(request.keys().len(), 2);
    }

    #[test]
    fn items_expire_so_many_seconds_from_now() {
        let packed = PackedItem {
            digest: "d".to_owned(),
            bytes: vec![1],
        };
        let item = uncalled().packed(packed, 60);
        assert_eq!(item.get(TTL), Some(&AttributeValue::N("1060".to_owned())));
    }

    #[test]
    fn contents_are_those_of_the_items_that_have_any() {
        let table = uncalled();
        let with = |content: &[u8]| {
            let mut item = ItemKey::new("p", "s").attributes();
            item.insert(CONTENT.to_owned(), bytes(content.to_vec()));
            item
        };
        let items = [
            with(&[1, 2]),
            ItemKey::new("p", "shut").attributes(),
            with(&[3]),
        ];
        let found = table.contents(&items, |bytes| Ok(bytes.to_vec())).unwrap();
        assert_eq!(found, [1, 2, 3]);
        let error = secretrail_engine::state::item_v1::unpack_facts;
        let fault = table.contents(&items, error).unwrap_err().to_string();
        assert!(fault.starts_with("item p s of table state: "), "{fault}");
    }
}
