//! Provisional alerts: created with a second note, which is deleted when the alert is confirmed or
//! withdrawn. Whoever deletes the note decides.
//!
//! A final alert of the same id deletes the note alone. A withdrawal deletes it, writes the alert
//! again with `withdrawn`, and puts a note into the outbox, all in one transaction: of two calls
//! that want to decide, the second finds no note and does nothing.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::TransactWriteItem;
use secretrail_engine::{
    alert::{Alert, AlertId},
    state::StateError,
    time::EventTime,
};

use super::{
    AlertStanding, IS_NEW, NewAlert, PROVISIONAL, StoredAlerts, StoredForm, WITHDRAWN, attempt,
    first_of_each,
};
use crate::dynamodb::{
    incidents,
    item::{Attributes, ItemKey, SK, number, number_of, text_of, truth},
    keys,
    outbox::{exchange, write_all},
    table::{PutResult, as_write},
};

/// An alert that stands; for those that an earlier version has created.
const STANDS: &str = "attribute_exists(pk) AND attribute_not_exists(withdrawn)";

/// Since when the event of the alert waits to be finalised.
const SINCE: &str = "since";

impl StoredAlerts {
    pub(in crate::dynamodb) async fn create_provisional(
        &self,
        alerts: Vec<(Alert, EventTime)>,
        now: EventTime,
    ) -> Result<Vec<bool>, StateError> {
        let attempt = attempt();
        let (alerts, since): (Vec<Alert>, Vec<EventTime>) = alerts.into_iter().unzip();
        let known = self.standing_of(&alerts).await?;
        let new = first_of_each(&alerts)
            .filter(|(_, alert)| !known.contains_key(&alert.id))
            .map(|(index, alert)| {
                let since = since.get(index).copied().unwrap_or(now);
                let mut new = self.new_alert(index, alert, &attempt, now);
                new.item.insert(PROVISIONAL.to_owned(), truth());
                new.notes.push(self.provisional_note(&alert.id, since));
                NewAlert {
                    condition: IS_NEW,
                    ..new
                }
            })
            .collect();
        self.create_all(&alerts, new, &attempt).await
    }

    fn provisional_note(&self, id: &AlertId, since: EventTime) -> Attributes {
        let mut note = keys::provisional(id).attributes();
        let since = (SINCE.to_owned(), number(since.0));
        note.extend([since, self.table.expiry(self.keep_secs)]);
        note
    }

    pub(in crate::dynamodb) async fn provisional(
        &self,
        since: EventTime,
    ) -> Result<Vec<AlertId>, StateError> {
        // Few alerts are raised within the allowed lateness.
        let notes = self
            .table
            .query(keys::all_provisional(), usize::MAX)
            .await?;
        let due = notes.iter().filter(|note| {
            let began = number_of(note, SINCE);
            began.is_some_and(|began| began <= since.0)
        });
        let ids = due.filter_map(|note| text_of(note, SK));
        Ok(ids.map(|id| AlertId(id.into())).collect())
    }

    /// Confirms the alerts that are provisional. What was withdrawn meanwhile is marked so.
    pub(super) async fn confirm(
        &self,
        known: &mut HashMap<AlertId, AlertStanding>,
    ) -> Result<(), StateError> {
        let standing = known.iter();
        let open = standing.filter(|(_, known)| known.provisional && !known.withdrawn);
        let open: Vec<AlertId> = open.map(|(id, _)| id.clone()).collect();
        for id in open {
            if !self.delete_provisional_note(&id).await? {
                // Another call has confirmed or withdrawn it.
                let now = self.item_of(&id).await?;
                if let Some(known) = known.get_mut(&id) {
                    known.withdrawn = now.is_some_and(|item| item.contains_key(WITHDRAWN));
                }
            }
        }
        Ok(())
    }

    async fn item_of(&self, id: &AlertId) -> Result<Option<Attributes>, StateError> {
        let key = keys::alert(id);
        let mut found = self.table.get(vec![key.clone()], None).await?;
        Ok(found.remove(&key))
    }

    /// Deletes the note; returns whether it was there.
    async fn delete_provisional_note(&self, id: &AlertId) -> Result<bool, StateError> {
        self.decide(id, &[], Vec::new()).await
    }

    pub(in crate::dynamodb) async fn withdraw(
        &self,
        ids: &[AlertId],
        now: EventTime,
    ) -> Result<Vec<Alert>, StateError> {
        let mut withdrawn = Vec::new();
        if !ids.is_empty() {
            self.outbox.register().await?;
        }
        for id in ids {
            // An alert may expire a moment before its note.
            let item = self.item_of(id).await?;
            let Some(alert) = item.and_then(|item| self.as_withdrawn(&item)) else {
                self.delete_provisional_note(id).await?;
                continue;
            };
            let mut items = vec![self.withdrawn_item(&alert, now)];
            items.extend(self.outbox.notes(&alert, now));
            let short = incidents::place_of(&alert);
            if self.decide(id, &[short], items).await? {
                withdrawn.push(alert);
            }
        }
        Ok(withdrawn)
    }

    /// Withdraws alerts that stand, confirmed or not.
    pub(in crate::dynamodb) async fn retract(
        &self,
        ids: &[AlertId],
        now: EventTime,
    ) -> Result<Vec<Alert>, StateError> {
        let mut withdrawn = Vec::new();
        let known = self.standing(ids.iter()).await?;
        for id in ids {
            if known.get(id).is_none_or(|known| known.withdrawn) {
                continue;
            }
            self.outbox.register().await?;
            let mut tries = self.table.tries();
            // Until it is withdrawn, by this call or another one.
            while let Some(item) = self.item_of(id).await? {
                if item.contains_key(WITHDRAWN) {
                    break;
                }
                let Some(alert) = self.as_withdrawn(&item) else {
                    break;
                };
                let writes = self.retraction(&alert, &item, now);
                if let PutResult::Written = write_all(&self.table, writes).await? {
                    withdrawn.push(alert);
                    break;
                }
                if !tries.again() {
                    return Err(self.table.contended(&keys::alert(id)));
                }
                tries.wait().await;
            }
        }
        Ok(withdrawn)
    }

    /// The writes that withdraw an alert, unless it has changed since it was read.
    fn retraction(
        &self,
        alert: &Alert,
        before: &Attributes,
        now: EventTime,
    ) -> Vec<TransactWriteItem> {
        let item = self.withdrawn_item(alert, now);
        let put = self.put(&item);
        let put = match StoredForm::of(before) {
            Some(form) => form.unchanged(put),
            None => put.condition_expression(STANDS),
        };
        let gone = [keys::provisional(&alert.id), incidents::place_of(alert)];
        let gone = gone.iter().filter_map(|key| self.table.delete_any(key));
        let notes = self.outbox.notes(alert, now).into_iter();
        let notes = notes.filter_map(|note| self.table.put_any(note));
        as_write(put).into_iter().chain(gone).chain(notes).collect()
    }

    /// A stored alert as a withdrawn one; `None` when it cannot be read. Then it stands: nobody can
    /// say what would be withdrawn.
    fn as_withdrawn(&self, item: &Attributes) -> Option<Alert> {
        let alert = self.readable(item)?;
        Some(Alert {
            withdrawn: true,
            ..alert
        })
    }

    fn withdrawn_item(&self, alert: &Alert, now: EventTime) -> Attributes {
        let mut item = self.item(alert, now);
        item.insert(WITHDRAWN.to_owned(), truth());
        item
    }

    /// Deletes the note of a provisional alert and other items, and writes some, or does nothing
    /// when there is no note; returns whether there was.
    async fn decide(
        &self,
        id: &AlertId,
        others: &[ItemKey],
        items: Vec<Attributes>,
    ) -> Result<bool, StateError> {
        exchange(&self.table, &keys::provisional(id), others, items).await
    }
}
