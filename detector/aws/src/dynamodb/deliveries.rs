//! The hours in which log files of each account and region were delivered: one item for each, read
//! before it is written, and written on the condition that no other writer has changed it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use secretrail_engine::{
    ids::SharedStr,
    silence::{DeliveringPlace, DeliveryHours},
    state::StateError,
};

use super::{
    item::{Attributes, ItemKey, SK, text, text_of},
    keys,
    table::{AT_ONCE, ConditionalPut, DynamoTable, PutResult},
};

/// Attribute with the hours.
const HOURS: &str = "hours";

/// An account and a region.
type Place = (SharedStr, SharedStr);

/// Deliveries in the table.
pub(super) struct StoredDeliveries {
    table: Arc<DynamoTable>,
    keep_secs: i64,
    /// Hours that are known to be stored.
    stored: Mutex<HashMap<Place, DeliveryHours>>,
}

impl StoredDeliveries {
    pub(super) fn new(table: Arc<DynamoTable>, keep_secs: i64) -> Self {
        Self {
            table,
            keep_secs,
            stored: Mutex::default(),
        }
    }

    /// Adds hours. Most are known to be stored: a place costs one write an hour.
    pub(super) async fn note(&self, places: Vec<DeliveringPlace>) -> Result<(), StateError> {
        let mut new: HashMap<Place, DeliveryHours> = HashMap::new();
        for place in places {
            let DeliveringPlace {
                account,
                region,
                hours,
            } = place;
            let known = new.entry((account, region)).or_insert(hours);
            *known = known.with(hours);
        }
        {
            let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
            new.retain(|place, hours| stored.get(place).is_none_or(|stored| !stored.has(*hours)));
        }
        if new.is_empty() {
            return Ok(());
        }
        let keys = new.keys().map(key).collect();
        let items = self.table.get(keys, None).await?;
        let writes: Vec<_> = new
            .into_iter()
            .map(|(place, hours)| (items.get(&key(&place)).cloned(), place, hours))
            .collect();
        stream::iter(writes)
            .map(|(item, place, hours)| self.write(item, place, hours))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn write(
        &self,
        mut item: Option<Attributes>,
        place: Place,
        hours: DeliveryHours,
    ) -> Result<(), StateError> {
        let mut tries = self.table.tries();
        loop {
            let before = item.as_ref().and_then(|item| text_of(item, HOURS));
            // What another version has written there is begun anew.
            let known = before.and_then(|before| before.parse::<DeliveryHours>().ok());
            let all = known.map_or(hours, |known| known.with(hours));
            if known != Some(all) {
                let mut new = key(&place).attributes();
                new.extend([
                    (HOURS.to_owned(), text(&all.to_string())),
                    self.table.expiry(self.keep_secs),
                ]);
                let version = before.map(|before| (HOURS, text(before)));
                let put = ConditionalPut { item: new, version };
                if let PutResult::Kept(other) = self.table.put_if(&put).await? {
                    if !tries.again() {
                        return Err(self.table.contended(&key(&place)));
                    }
                    item = other;
                    tries.wait().await;
                    continue;
                }
            }
            let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
            stored.insert(place, all);
            return Ok(());
        }
    }

    /// All places that have delivered. What cannot be read is left out: it is begun anew.
    pub(super) async fn all(&self) -> Result<Vec<DeliveringPlace>, StateError> {
        let items = self.table.query(keys::all_deliveries(), usize::MAX).await?;
        let places = items.iter().filter_map(|item| {
            let (account, region) = text_of(item, SK)?.split_once('#')?;
            Some(DeliveringPlace {
                account: account.into(),
                region: region.into(),
                hours: text_of(item, HOURS)?.parse().ok()?,
            })
        });
        Ok(places.collect())
    }
}

fn key((account, region): &Place) -> ItemKey {
    keys::deliveries(account, region)
}
