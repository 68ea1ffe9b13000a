//! When something was seen: one item for each key, read before it is written, and written on the condition that nobody else
//! wrote in between.

use std::collections::HashMap;
use std::sync::PoisonError;

use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use secretrail_engine::digest::digest;
use secretrail_engine::ids::Text;
use secretrail_engine::seen::{Memory, Sighting, Times};
use secretrail_engine::state::StateError;
use secretrail_engine::time::EventTime;

use super::table::{Attributes, Key, text, text_of};
use super::{DynamoStore, REMEMBERED, grains_kept};
use crate::retry::Failed;

const TIMES: &str = "times";

/// Writes of one transaction.
const TOGETHER: usize = 100;

fn seen_key(key: &str) -> Key {
    Key::new(format!("seen#{}", digest(&[key])), "-")
}

/// The times of an item: seconds since 1970, separated by spaces.
fn times_of(item: &Attributes) -> Times {
    let times = text_of(item, TIMES)
        .unwrap_or_default()
        .split(' ')
        .filter_map(|time| time.parse().ok());
    let mut all = Times::default();
    // They were condensed when they were written.
    times.for_each(|time| all.add(EventTime(time), 1));
    all
}

fn written(times: &Times) -> String {
    times
        .iter()
        .map(|time| time.0.to_string())
        .collect::<Vec<_>>()
        .join(" ")
}

impl DynamoStore {
    pub(super) async fn seen_times(&self, keys: &[Text]) -> Result<Vec<Times>, StateError> {
        let items = self
            .table
            .get(keys.iter().map(|key| seen_key(key)), None)
            .await?;
        Ok(keys
            .iter()
            .map(|key| items.get(&seen_key(key)).map(times_of).unwrap_or_default())
            .collect())
    }

    pub(super) async fn remember_seen(
        &self,
        times: Vec<Sighting>,
        memory: Memory,
    ) -> Result<(), StateError> {
        let grain = |time: EventTime| time.0.div_euclid(memory.grain_secs());
        let mut new: HashMap<Text, Vec<EventTime>> = HashMap::new();
        {
            let known = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            for Sighting { key, time } in times {
                let is_there = known
                    .get(&(key.clone(), grain(time)))
                    .is_some_and(|first| *first <= time);
                if !is_there {
                    new.entry(key).or_default().push(time);
                }
            }
        }
        let mut failed = 0;
        // What did not go through is read again, with what another has written meanwhile.
        while !new.is_empty() {
            let before = failed;
            for writes in self.outstanding(&new, memory).await?.chunks(TOGETHER) {
                if let Err(error) = self.table.transact(writes.to_vec()).await {
                    failed += 1;
                    let why = Failed::of(&error);
                    let retry =
                        why.retry || why.code.as_deref() == Some("TransactionCanceledException");
                    if !retry || !self.table.retry().again(failed) {
                        return Err(self.table.failed("TransactWriteItems", &why));
                    }
                }
            }
            if failed == before {
                break;
            }
            self.table.retry().wait(failed).await;
        }
        let mut known = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > REMEMBERED {
            known.clear();
        }
        for (key, time) in new
            .into_iter()
            .flat_map(|(key, times)| times.into_iter().map(move |time| (key.clone(), time)))
        {
            let first = known.entry((key, grain(time))).or_insert(time);
            *first = (*first).min(time);
        }
        Ok(())
    }

    /// What is still to be written so that every key has its times.
    async fn outstanding(
        &self,
        new: &HashMap<Text, Vec<EventTime>>,
        memory: Memory,
    ) -> Result<Vec<TransactWriteItem>, StateError> {
        let items = self
            .table
            .get(new.keys().map(|key| seen_key(key)), None)
            .await?;
        let write = |(key, times): (&Text, &Vec<EventTime>)| {
            let item = items.get(&seen_key(key));
            let mut after = item.map(times_of).unwrap_or_default();
            times
                .iter()
                .for_each(|time| after.add(*time, memory.grain_secs()));
            after.keep(grains_kept());
            let (before, after) = (item.and_then(|item| text_of(item, TIMES)), written(&after));
            (before != Some(&*after))
                .then(|| self.on_condition(key, before, &after))
                .flatten()
        };
        Ok(new.iter().filter_map(write).collect())
    }

    /// A write that goes through only if the item is as it was read.
    fn on_condition(
        &self,
        key: &Text,
        before: Option<&str>,
        after: &str,
    ) -> Option<TransactWriteItem> {
        let mut item = seen_key(key).attributes();
        item.extend([
            ("key".to_owned(), text(key)),
            (TIMES.to_owned(), text(after)),
            self.expiry(self.retention.seen_secs),
        ]);
        let put = Put::builder()
            .table_name(self.table.name())
            .set_item(Some(item));
        let put = match before {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(before) => put
                .condition_expression("#times = :before")
                .expression_attribute_names("#times", TIMES)
                .expression_attribute_values(":before", text(before)),
        };
        Some(TransactWriteItem::builder().put(put.build().ok()?).build())
    }
}
