//! The ledger of objects: what has been done with each, so that a second notification of the same object costs one read, and
//! when the last one came. Beside it, what a face keeps under names.

use std::collections::HashMap;

use secretrail_engine::digest::digest;
use secretrail_engine::state::StateError;

use secretrail_engine::time::EventTime;

use super::table::{Attributes, Key, bytes, bytes_of, number, number_of, text, text_of};
use super::{CONTENT, DynamoStore, Retention};

/// An object as it was when its notification was sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Bucket.
    pub bucket: String,
    /// Key, decoded.
    pub key: String,
    /// Version id, or the ETag where the bucket keeps no versions; empty when the notification has neither.
    pub version: String,
}

/// What has been done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectState {
    /// Read to its end.
    Processed,
    /// Passed over: it holds no events.
    Skipped,
    /// Could not be read, or not to its end. It may be tried again.
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

fn object_key(object: &ObjectKey) -> Key {
    Key::new(
        format!(
            "object#{}",
            digest(&[&object.bucket, &object.key, &object.version])
        ),
        "-",
    )
}

fn last_object() -> Key {
    Key::new("last-object", "-")
}

fn kept_key(name: &str) -> Key {
    Key::new(format!("kept#{name}"), "-")
}

impl DynamoStore {
    /// For each object, whether it needs no work any more.
    ///
    /// # Errors
    ///
    /// The table could not be read.
    pub async fn are_done(&self, objects: &[&ObjectKey]) -> Result<Vec<bool>, StateError> {
        // Without a version nobody can say that it is the same object.
        let asked = objects.iter().filter(|object| !object.version.is_empty());
        let items = self
            .table
            .get(asked.map(|object| object_key(object)), None)
            .await?;
        let done = |object: &&ObjectKey| {
            let state = items
                .get(&object_key(object))
                .and_then(|item| text_of(item, "state"));
            state.is_some_and(|state| state != ObjectState::Failed.as_str())
        };
        Ok(objects.iter().map(done).collect())
    }

    /// Notes what has been done with objects, and what there was to say about each.
    ///
    /// # Errors
    ///
    /// The table could not be written.
    pub async fn note_objects(
        &self,
        objects: &[(ObjectKey, ObjectState, String)],
    ) -> Result<(), StateError> {
        let Retention { alerts_secs, .. } = self.retention;
        let item =
            |(object, state, details): &(ObjectKey, ObjectState, String)| -> (Key, Attributes) {
                let attributes = [
                    ("bucket".to_owned(), text(&object.bucket)),
                    ("key".to_owned(), text(&object.key)),
                    ("state".to_owned(), text(state.as_str())),
                    ("details".to_owned(), text(details)),
                    self.expiry(alerts_secs),
                ];
                (object_key(object), HashMap::from(attributes))
            };
        let last = HashMap::from([("at".to_owned(), number((self.clock)().0))]);
        let last = (!objects.is_empty()).then(|| (last_object(), last));
        self.table.put(objects.iter().map(item).chain(last)).await
    }

    /// When an object was last noted; `None` when none ever was.
    ///
    /// # Errors
    ///
    /// The table could not be read.
    pub async fn last_object(&self) -> Result<Option<EventTime>, StateError> {
        let items = self.table.get([last_object()], None).await?;
        Ok(items
            .get(&last_object())
            .and_then(|item| number_of(item, "at"))
            .map(EventTime))
    }

    /// Keeps bytes under a name, in place of what was there. At most about 300 KB.
    ///
    /// # Errors
    ///
    /// The table could not be written.
    pub async fn keep(&self, name: &str, content: Vec<u8>) -> Result<(), StateError> {
        let item = HashMap::from([(CONTENT.to_owned(), bytes(content))]);
        self.table.put([(kept_key(name), item)]).await
    }

    /// What is kept under a name.
    ///
    /// # Errors
    ///
    /// The table could not be read.
    pub async fn kept(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let items = self.table.get([kept_key(name)], None).await?;
        Ok(items
            .get(&kept_key(name))
            .and_then(|item| bytes_of(item, CONTENT))
            .map(<[u8]>::to_vec))
    }
}
