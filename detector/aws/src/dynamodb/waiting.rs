//! Items that wait in a partition until they are looked at again: only added, under the time of
//! that, and deleted when they were looked at.

use secretrail_engine::{
    ids::SharedStr,
    state::{
        StateError,
        item_v1::{ItemError, PackedItem},
    },
    time::EventTime,
};

use super::{
    item::{Attributes, ItemKey, SK, text_of},
    keys,
    table::DynamoTable,
};

impl DynamoTable {
    /// Adds items that are looked at again at a time, and kept for so many seconds.
    pub(super) async fn put_waiting(
        &self,
        partition: &str,
        look_at: EventTime,
        packed: Vec<PackedItem>,
        keep_secs: i64,
    ) -> Result<(), StateError> {
        let items = packed.into_iter().map(|packed| {
            let key = keys::looked_at(partition, look_at, &packed.digest);
            (key, self.packed(packed, keep_secs))
        });
        self.put(items.collect()).await
    }

    /// What is looked at again by a time, and the sort keys of its items. One that cannot be read
    /// is closed with the others, and reported, so that it is in nobody's way.
    pub(super) async fn due_waiting<T>(
        &self,
        partition: &str,
        until: EventTime,
        most: usize,
        unpack: impl Fn(&[u8]) -> Result<Vec<T>, ItemError>,
    ) -> Result<(Vec<T>, Vec<SharedStr>), StateError> {
        let range = keys::looked_at_until(partition, until);
        let items = self.query(range, most).await?;
        let names = items.iter().filter_map(|item| text_of(item, SK));
        let receipt = names.map(SharedStr::from).collect();
        Ok((self.readable(&items, unpack), receipt))
    }

    /// Deletes items that were looked at, by their sort keys.
    pub(super) async fn close_waiting(
        &self,
        partition: &str,
        receipt: &[SharedStr],
    ) -> Result<(), StateError> {
        let keys = receipt.iter().map(|name| ItemKey::new(partition, &**name));
        self.delete(keys.collect()).await
    }

    /// Unpacks the content of items. Those that cannot be read are noted and left out.
    pub(super) fn readable<T>(
        &self,
        items: &[Attributes],
        unpack: impl Fn(&[u8]) -> Result<Vec<T>, ItemError>,
    ) -> Vec<T> {
        let mut all = Vec::new();
        for item in items {
            match self.contents(std::slice::from_ref(item), &unpack) {
                Ok(contents) => all.extend(contents),
                Err(error) => self.note_set_aside(error),
            }
        }
        all
    }
}
