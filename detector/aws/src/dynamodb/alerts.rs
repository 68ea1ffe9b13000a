//! Alerts and their outbox: an alert and the note that it is to be published are created together, once; the note goes when
//! it has been published.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::error::TransactionCanceledException;
use aws_sdk_dynamodb::types::{
    CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use secretrail_engine::alert::{Alert, AlertId};
use secretrail_engine::state::StateError;
use secretrail_engine::state::item_v1::{self, Packed};
use secretrail_engine::time::EventTime;

use super::table::{Attributes, Key, Range, SK, bytes_of, number, number_of, text, text_of};
use super::{CONTENT, DynamoStore};
use crate::retry::Failed;

const OUTBOX: &str = "outbox";
const CREATED: &str = "created";
const ATTEMPT: &str = "attempt";

/// Alerts in one transaction: each is two of the hundred writes that it takes, and all are 4 MB at most.
const TOGETHER: usize = 10;

fn alert_key(id: &AlertId) -> Key {
    Key::new(format!("alert#{}", id.0), "-")
}

fn outbox_key(id: &str) -> Key {
    Key::new(OUTBOX, id)
}

/// An alert that may have to be created.
struct New {
    /// Its place among those that were asked for.
    index: usize,
    item: Attributes,
    note: Attributes,
}

impl DynamoStore {
    pub(super) async fn create(
        &self,
        alerts: Vec<Alert>,
        now: EventTime,
    ) -> Result<Vec<bool>, StateError> {
        let mut created = vec![false; alerts.len()];
        let mut places: HashMap<AlertId, usize> = HashMap::new();
        for (index, alert) in alerts.iter().enumerate() {
            places.entry(alert.id.clone()).or_insert(index);
        }
        let known = self
            .table
            .get(places.keys().map(alert_key), Some("pk, sk"))
            .await?;
        // Whoever finds this in the item knows that it was written by this call, and not by another before it.
        let attempt = format!("{:032x}", fastrand::u128(..));
        let mut new: Vec<New> = Vec::new();
        for (index, alert) in alerts.iter().enumerate() {
            if places.get(&alert.id) == Some(&index) && !known.contains_key(&alert_key(&alert.id)) {
                new.push(self.new_alert(index, alert, &attempt, now));
            }
        }
        while !new.is_empty() {
            let rest = new.split_off(new.len().min(TOGETHER));
            for index in self.create_some(new, &attempt).await? {
                if let Some(created) = created.get_mut(index) {
                    *created = true;
                }
            }
            new = rest;
        }
        Ok(created)
    }

    fn new_alert(&self, index: usize, alert: &Alert, attempt: &str, now: EventTime) -> New {
        let Packed { bytes, .. } = item_v1::pack_alert(alert);
        let key = alert_key(&alert.id);
        let mut item = key.attributes();
        item.extend([
            (CONTENT.to_owned(), super::bytes(bytes)),
            (CREATED.to_owned(), number(now.0)),
            (ATTEMPT.to_owned(), text(attempt)),
            self.expiry(self.retention.alerts_secs),
        ]);
        let mut note = outbox_key(&alert.id.0).attributes();
        note.extend([
            (CREATED.to_owned(), number(now.0)),
            self.expiry(self.retention.alerts_secs),
        ]);
        New { index, item, note }
    }

    /// Creates alerts of which others may create some at the same time; gives the places of those that were created here.
    async fn create_some(
        &self,
        mut new: Vec<New>,
        attempt: &str,
    ) -> Result<Vec<usize>, StateError> {
        let mut ours = Vec::new();
        let mut failed = 0;
        while !new.is_empty() {
            let writes = new
                .iter()
                .flat_map(|new| [self.once(&new.item), self.always(&new.note)])
                .flatten();
            let Err(error) = self.table.transact(writes.collect()).await else {
                ours.extend(new.iter().map(|new| new.index));
                break;
            };
            failed += 1;
            let there = already_there(&error);
            if there.is_empty() {
                // A clash with another transaction passes; so does whatever else says that it may.
                let why = Failed::of(&error);
                let retry = why.retry || canceled(&error).is_some();
                if !retry || !self.table.retry().again(failed) {
                    return Err(self.table.failed("TransactWriteItems", &why));
                }
                self.table.retry().wait(failed).await;
                continue;
            }
            let mut left = Vec::with_capacity(new.len());
            for (position, new) in new.into_iter().enumerate() {
                match there.get(&position) {
                    None => left.push(new),
                    // The answer to an earlier try was lost: the alert that is there is this one.
                    Some(by) if by.as_deref() == Some(attempt) => ours.push(new.index),
                    Some(_) => {}
                }
            }
            new = left;
        }
        Ok(ours)
    }

    fn once(&self, item: &Attributes) -> Option<TransactWriteItem> {
        let put = self
            .put_item(item)
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        Some(TransactWriteItem::builder().put(put.build().ok()?).build())
    }

    fn always(&self, item: &Attributes) -> Option<TransactWriteItem> {
        Some(
            TransactWriteItem::builder()
                .put(self.put_item(item).build().ok()?)
                .build(),
        )
    }

    fn put_item(&self, item: &Attributes) -> PutBuilder {
        Put::builder()
            .table_name(self.table.name())
            .set_item(Some(item.clone()))
    }

    pub(super) async fn waiting(
        &self,
        created_before: EventTime,
        most: usize,
    ) -> Result<Vec<Alert>, StateError> {
        let range = Range {
            pk: OUTBOX.to_owned(),
            from: "0".to_owned(),
            to: "~".to_owned(),
        };
        let notes = self.table.query(range, usize::MAX).await?;
        let waits = |note: &&Attributes| {
            number_of(note, CREATED).is_some_and(|created| created < created_before.0)
        };
        let ids: Vec<AlertId> = notes
            .iter()
            .filter(waits)
            .filter_map(|note| text_of(note, SK))
            .take(most)
            .map(|id| AlertId(id.into()))
            .collect();
        let items = self.table.get(ids.iter().map(alert_key), None).await?;
        let mut alerts = Vec::with_capacity(ids.len());
        for item in items.values() {
            let bytes = bytes_of(item, CONTENT).unwrap_or_default();
            alerts
                .push(item_v1::unpack_alert(bytes).map_err(|error| self.unreadable(item, &error))?);
        }
        // The item expires with its note, or a moment before it.
        let lost = ids.iter().filter(|id| !items.contains_key(&alert_key(id)));
        self.table.delete(lost.map(|id| outbox_key(&id.0))).await?;
        Ok(alerts)
    }

    pub(super) async fn take_out(&self, ids: &[AlertId]) -> Result<(), StateError> {
        self.table
            .delete(ids.iter().map(|id| outbox_key(&id.0)))
            .await
    }
}

fn canceled(error: &SdkError<TransactWriteItemsError>) -> Option<&TransactionCanceledException> {
    match error.as_service_error()? {
        TransactWriteItemsError::TransactionCanceledException(canceled) => Some(canceled),
        _ => None,
    }
}

/// Of the alerts of a transaction, two writes each, those that were there already, and by which attempt.
fn already_there(error: &SdkError<TransactWriteItemsError>) -> HashMap<usize, Option<String>> {
    let reasons = canceled(error)
        .map(TransactionCanceledException::cancellation_reasons)
        .unwrap_or_default();
    let exists = |(index, reason): (usize, &CancellationReason)| {
        let by = || {
            reason
                .item()
                .and_then(|item| text_of(item, ATTEMPT))
                .map(str::to_owned)
        };
        (reason.code() == Some("ConditionalCheckFailed")).then(|| (index / 2, by()))
    };
    reasons.iter().enumerate().filter_map(exists).collect()
}
