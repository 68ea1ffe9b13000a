//! The object ledger: the state of each object, so that a duplicate notification costs one read and
//! that the files which a digest names are found, and when the last one with events was processed.

use std::{collections::HashMap, sync::Arc};

use secretrail_engine::{state::StateError, time::EventTime};

use super::{
    item::{Attributes, ItemKey, number, number_of, text, text_of},
    keys,
    table::DynamoTable,
};
use crate::names::{AT, DETAILS, OBJECT_VERSION, STATE};

/// An object version, as its notification names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Name of the bucket.
    pub bucket: String,
    /// Key, decoded if the notification encodes it.
    pub key: String,
    /// Version id, or the ETag in buckets without versioning; empty when the notification has
    /// neither.
    pub version: String,
}

impl ObjectKey {
    fn table_key(&self) -> ItemKey {
        keys::object(&self.bucket, &self.key)
    }
}

/// State of an object after processing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectState {
    /// Read to its end.
    Processed,
    /// Skipped: it holds no events.
    Skipped,
    /// Could not be read, or not to its end. It may be retried.
    Failed,
}

impl ObjectState {
    /// The name in the table and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

/// An entry of the object ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEntry {
    /// The object.
    pub object: ObjectKey,
    /// Its state.
    pub state: ObjectState,
    /// Counts, the reason for skipping it, or the error, as text.
    pub details: String,
}

/// The object ledger in the table.
pub(super) struct ObjectLedger {
    table: Arc<DynamoTable>,
    keep_secs: i64,
}

impl ObjectLedger {
    pub(super) fn new(table: Arc<DynamoTable>, keep_secs: i64) -> Self {
        Self { table, keep_secs }
    }

    pub(super) async fn are_done(&self, objects: &[&ObjectKey]) -> Result<Vec<bool>, StateError> {
        // Without a version, nothing shows that it is the same object.
        let asked = objects.iter().filter(|object| !object.version.is_empty());
        let items = self
            .table
            .get(asked.map(|object| object.table_key()).collect(), None)
            .await?;
        let done = objects.iter().map(|object| {
            let item = items.get(&object.table_key());
            item.is_some_and(|item| is_done(item) && is_of_version(item, &object.version))
        });
        Ok(done.collect())
    }

    /// For each key of a bucket, whether some version of it needs no more work.
    pub(super) async fn are_known(
        &self,
        bucket: &str,
        keys: &[String],
    ) -> Result<Vec<bool>, StateError> {
        let asked: Vec<ItemKey> = keys.iter().map(|key| keys::object(bucket, key)).collect();
        let items = self.table.get(asked.clone(), None).await?;
        let known = asked.iter().map(|key| items.get(key).is_some_and(is_done));
        Ok(known.collect())
    }

    pub(super) async fn note(&self, entries: &[ObjectEntry]) -> Result<(), StateError> {
        // This one does not expire: it shows for how long nothing has arrived.
        let last = has_events(entries).then(|| self.last());
        // Unconditional: an object that was processed, and that a slower invocation records as
        // failed, is read once more, which changes nothing.
        let items = entries.iter().map(|entry| self.item(entry));
        self.table.put(items.chain(last).collect()).await
    }

    /// That logs with events have just arrived.
    fn last(&self) -> (ItemKey, Attributes) {
        let at = (AT.to_owned(), number(self.table.now().0));
        (keys::last_object(), HashMap::from([at]))
    }

    pub(super) async fn note_logs(&self) -> Result<(), StateError> {
        self.table.put(vec![self.last()]).await
    }

    fn item(&self, entry: &ObjectEntry) -> (ItemKey, Attributes) {
        let attributes = [
            ("bucket".to_owned(), text(&entry.object.bucket)),
            ("key".to_owned(), text(&entry.object.key)),
            (STATE.to_owned(), text(entry.state.as_str())),
            (DETAILS.to_owned(), text(&entry.details)),
            (OBJECT_VERSION.to_owned(), text(&entry.object.version)),
            self.table.expiry(self.keep_secs),
        ];
        (entry.object.table_key(), HashMap::from(attributes))
    }

    pub(super) async fn last_object(&self) -> Result<Option<EventTime>, StateError> {
        let key = keys::last_object();
        let items = self.table.get(vec![key.clone()], None).await?;
        Ok(items
            .get(&key)
            .and_then(|item| number_of(item, AT))
            .map(EventTime))
    }
}

/// Whether any of the objects held events. Digests, files of other services and objects that could
/// not be read arrive also when the trail is silent.
fn has_events(entries: &[ObjectEntry]) -> bool {
    let mut states = entries.iter().map(|entry| entry.state);
    states.any(|state| state == ObjectState::Processed)
}

/// Whether the entry is about a version of its object. Without a version, nothing shows that it is
/// the same object.
fn is_of_version(item: &Attributes, version: &str) -> bool {
    !version.is_empty() && text_of(item, OBJECT_VERSION) == Some(version)
}

/// Whether an object needs no more work. Failures may be temporary.
fn is_done(item: &Attributes) -> bool {
    text_of(item, STATE).is_some_and(|state| state != ObjectState::Failed.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamodb::table::tests::uncalled;

    fn entry(state: ObjectState) -> ObjectEntry {
        ObjectEntry {
            object: ObjectKey {
                bucket: "b".to_owned(),
                key: "k".to_owned(),
                version: "v".to_owned(),
            },
            state,
            details: "12 records, 3 skipped".to_owned(),
        }
    }

    #[test]
    fn what_failed_is_read_again() {
        let ledger = ObjectLedger::new(Arc::new(uncalled()), 60);
        for (state, expected) in [
            (ObjectState::Processed, true),
            (ObjectState::Skipped, true),
            (ObjectState::Failed, false),
        ] {
            let (_, item) = ledger.item(&entry(state));
            assert_eq!(is_done(&item), expected, "{state:?}");
        }
        assert!(!is_done(&Attributes::new()), "a foreign item");
    }

    #[test]
    fn only_events_show_that_the_trail_is_alive() {
        use ObjectState::{Failed, Processed, Skipped};
        let alive = |states: &[ObjectState]| {
            let entries: Vec<ObjectEntry> = states.iter().copied().map(entry).collect();
            has_events(&entries)
        };
        assert!(alive(&[Skipped, Processed]));
        assert!(!alive(&[Skipped, Failed]) && !alive(&[]));
    }

    #[test]
    fn another_version_is_another_object() {
        let ledger = ObjectLedger::new(Arc::new(uncalled()), 60);
        let one = entry(ObjectState::Processed);
        let (key, item) = ledger.item(&one);
        assert!(is_of_version(&item, "v") && !is_of_version(&item, "w"));
        assert!(!is_of_version(&item, ""));
        let unversioned = ObjectEntry {
            object: ObjectKey {
                version: String::new(),
                ..one.object.clone()
            },
            ..one.clone()
        };
        let (same, item) = ledger.item(&unversioned);
        assert_eq!(key, same, "digests of CloudTrail name keys alone");
        assert!(
            !is_of_version(&item, ""),
            "nothing shows that it is the same"
        );
        // The parts are distinguished: moving a character from one to the next gives another key.
        let moved = ObjectKey {
            bucket: "bk".to_owned(),
            key: String::new(),
            ..one.object
        };
        assert_ne!(key, moved.table_key());
    }
}
