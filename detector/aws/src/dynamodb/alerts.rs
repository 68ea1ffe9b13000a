//! Alerts: an alert, its outbox notes, one for each destination, and what incidents need of it are
//! created together, once; a note is deleted after publication. A provisional alert has another
//! note until it is confirmed or withdrawn.

mod form;
mod provisional;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::transact_write_items::TransactWriteItemsError,
    types::{
        CancellationReason, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
        builders::PutBuilder, error::TransactionCanceledException,
    },
};
use secretrail_engine::{
    alert::{Alert, AlertId},
    state::{StateError, item_v1},
    time::EventTime,
};

use self::form::{AlertStanding, EVENT_TIME, EXTENT, FORM, StoredForm};
use crate::{
    dynamodb::{
        incidents,
        item::{Attributes, number, text, text_of, truth},
        keys,
        outbox::{CREATED, StoredOutbox, unpacked, write_all},
        table::{DynamoTable, PutResult, as_write},
    },
    retry::FailedCall,
};

const ATTEMPT: &str = "attempt";
/// On an alert that was created as a provisional one, whatever became of it.
const PROVISIONAL: &str = "provisional";
/// On an alert that is withdrawn.
const WITHDRAWN: &str = "withdrawn";

/// Most alerts in one transaction, which may have 4 MB.
const TOGETHER: usize = 10;

/// Most writes in one transaction.
pub(super) const WRITES_TOGETHER: usize = 100;

/// Alerts in the table.
pub(super) struct StoredAlerts {
    table: Arc<DynamoTable>,
    keep_secs: i64,
    outbox: Arc<StoredOutbox>,
}

/// An alert that may have to be created.
struct NewAlert {
    /// Index in the caller's list.
    index: usize,
    item: Attributes,
    /// Its notes, and what incidents need of it.
    notes: Vec<Attributes>,
    /// When the item may be written.
    condition: &'static str,
}

/// How often alerts are looked at that another writer creates, and withdraws, at the same time.
const ROUNDS: usize = 3;

/// An alert that does not exist.
const IS_NEW: &str = "attribute_not_exists(pk)";
/// An alert that may be created, even if it was withdrawn.
const IS_NEW_OR_WITHDRAWN: &str = "attribute_not_exists(pk) OR attribute_exists(withdrawn)";

/// Alerts that existed already, by position in a transaction, and the attempt that created each.
type Existing = HashMap<usize, Option<String>>;

impl StoredAlerts {
    pub(super) fn new(table: Arc<DynamoTable>, keep_secs: i64, outbox: Arc<StoredOutbox>) -> Self {
        Self {
            table,
            keep_secs,
            outbox,
        }
    }

    pub(super) async fn create(
        &self,
        alerts: Vec<Alert>,
        now: EventTime,
    ) -> Result<Vec<bool>, StateError> {
        let attempt = attempt();
        // A sweep finds the alerts of the early evaluation again: most exist already, and a read is
        // cheaper than a failed write.
        let mut known = self.standing_of(&alerts).await?;
        let mut created = vec![false; alerts.len()];
        for _ in 0..ROUNDS {
            self.confirm(&mut known).await?;
            let new: Vec<NewAlert> = first_of_each(&alerts)
                .filter(|(index, _)| created.get(*index) == Some(&false))
                .filter(|(_, alert)| known.get(&alert.id).is_none_or(|known| known.withdrawn))
                .map(|(index, alert)| self.new_alert(index, alert, &attempt, now))
                .collect();
            if new.is_empty() {
                break;
            }
            let asked: Vec<usize> = new.iter().map(|new| new.index).collect();
            for (all, now) in created
                .iter_mut()
                .zip(self.create_all(&alerts, new, &attempt).await?)
            {
                *all |= now;
            }
            // What another writer has created meanwhile may lack what is known here, and may be
            // withdrawn before it is confirmed.
            let met = asked.iter().filter(|at| created.get(**at) == Some(&false));
            let met = met.filter_map(|at| alerts.get(*at));
            known.extend(self.standing(met.map(id_of)).await?);
        }
        for (alert, created) in alerts.iter().zip(&created) {
            if let Some(known) = known.get(&alert.id).filter(|_| !created) {
                self.grow(alert, known, now).await?;
            }
        }
        Ok(created)
    }

    /// Creates alerts; for each index up to a number, whether its alert was created here.
    async fn create_all(
        &self,
        alerts: &[Alert],
        mut new: Vec<NewAlert>,
        attempt: &str,
    ) -> Result<Vec<bool>, StateError> {
        let mut created = vec![false; alerts.len()];
        let places = new.iter().filter_map(|new| alerts.get(new.index));
        let places: Vec<&Alert> = places.collect();
        if !new.is_empty() {
            // Before the first note: a sweep finds the notes of the destinations that are known.
            self.outbox.register().await?;
            // Before the alerts: whoever finds an alert about an address finds what it takes in.
            incidents::mark_places(&self.table, &places, self.keep_secs).await?;
        }
        while !new.is_empty() {
            let rest = new.split_off(together(&new));
            for index in self.create_together(new, attempt).await? {
                if let Some(created) = created.get_mut(index) {
                    *created = true;
                }
            }
            new = rest;
        }
        Ok(created)
    }

    async fn standing_of(
        &self,
        alerts: &[Alert],
    ) -> Result<HashMap<AlertId, AlertStanding>, StateError> {
        self.standing(alerts.iter().map(id_of)).await
    }

    /// What became of the alerts that are in the table.
    async fn standing(
        &self,
        ids: impl Iterator<Item = &AlertId> + Send,
    ) -> Result<HashMap<AlertId, AlertStanding>, StateError> {
        let asked = ids.map(|id| (keys::alert(id), id.clone()));
        let asked: HashMap<_, _> = asked.collect();
        // With its content: a read costs as much without.
        let items = self.table.get(asked.keys().cloned().collect(), None);
        let known = items.await?.into_iter().filter_map(|(key, item)| {
            let standing = AlertStanding {
                provisional: item.contains_key(PROVISIONAL),
                withdrawn: item.contains_key(WITHDRAWN),
                form: StoredForm::of(&item),
                item,
            };
            Some((asked.get(&key)?.clone(), standing))
        });
        Ok(known.collect())
    }

    fn new_alert(&self, index: usize, alert: &Alert, attempt: &str, now: EventTime) -> NewAlert {
        let mut item = self.item(alert, now);
        item.extend([(ATTEMPT.to_owned(), text(attempt))]);
        let mut notes = self.outbox.notes(alert, now);
        notes.push(self.short(alert));
        NewAlert {
            index,
            item,
            notes,
            condition: IS_NEW_OR_WITHDRAWN,
        }
    }

    fn item(&self, alert: &Alert, created: EventTime) -> Attributes {
        let packed = item_v1::pack_alert(alert);
        let mut item = keys::alert(&alert.id).attributes();
        item.extend([
            (FORM.to_owned(), text(&packed.digest)),
            (CREATED.to_owned(), number(created.0)),
            (EVENT_TIME.to_owned(), number(alert.time.0)),
            (EXTENT.to_owned(), text(&alert.extent())),
        ]);
        item.extend(self.table.packed(packed, self.keep_secs));
        item
    }

    /// Replaces an alert that exists by what is kept of it now that this form is known, however
    /// many others do.
    async fn grow(
        &self,
        alert: &Alert,
        standing: &AlertStanding,
        now: EventTime,
    ) -> Result<(), StateError> {
        let mut tries = self.table.tries();
        let mut standing = standing.clone();
        while let Some(before) = standing.form.as_ref().filter(|_| !standing.withdrawn) {
            // Most are known, and need not be unpacked.
            if alert.common.is_none() && alert.extent() <= before.extent {
                break;
            }
            let Some(known) = self.readable(&standing.item) else {
                break;
            };
            // Whoever writes one that was provisional without that mark has confirmed it.
            let kept = known.followed_by(alert, standing.provisional);
            if kept == known {
                break;
            }
            if has_moved(&known, &kept) {
                incidents::mark_places(&self.table, &[&kept], self.keep_secs).await?;
            }
            let writes = self.growth(&kept, &known, (&standing, before), now);
            if let PutResult::Written = write_all(&self.table, writes).await? {
                break;
            }
            if !tries.again() {
                return Err(self.table.contended(&keys::alert(&alert.id)));
            }
            tries.wait().await;
            let mut again = self.standing(std::iter::once(&alert.id)).await?;
            let Some(current) = again.remove(&alert.id) else {
                break;
            };
            standing = current;
        }
        Ok(())
    }

    /// The writes that replace an alert by another form of it.
    fn growth(
        &self,
        alert: &Alert,
        known: &Alert,
        (standing, before): (&AlertStanding, &StoredForm),
        now: EventTime,
    ) -> Vec<TransactWriteItem> {
        // Its notes in the outbox stay: they know it by when it was created.
        let mut item = self.item(alert, before.created);
        if standing.provisional && alert.common.is_none() {
            item.insert(PROVISIONAL.to_owned(), truth());
        }
        let put = before.unchanged(self.put(&item));
        let (old, new) = (incidents::place_of(known), incidents::place_of(alert));
        let moved = (old != new).then(|| self.table.delete_any(&old));
        let note = self.outbox.grouping_note(alert, before.created, now);
        let others = [Some(self.short(alert)), note].into_iter().flatten();
        let others = others.filter_map(|item| self.table.put_any(item));
        let put = as_write(put).into_iter();
        put.chain(moved.flatten()).chain(others).collect()
    }

    /// A stored alert; `None` when it cannot be read. Then it stays: nobody can say what it is.
    fn readable(&self, item: &Attributes) -> Option<Alert> {
        let alert = unpacked(&self.table, item);
        alert.map_err(|error| self.table.note_set_aside(error)).ok()
    }

    /// What incidents need of an alert.
    fn short(&self, alert: &Alert) -> Attributes {
        let packed = item_v1::pack_short_alert(alert);
        let mut item = incidents::place_of(alert).attributes();
        item.extend(self.table.packed(packed, self.keep_secs));
        item
    }

    /// Creates alerts that other writers may create at the same time; returns the indices of those
    /// that were created here.
    async fn create_together(
        &self,
        mut new: Vec<NewAlert>,
        attempt: &str,
    ) -> Result<Vec<usize>, StateError> {
        let mut ours = Vec::new();
        let mut tries = self.table.tries();
        while !new.is_empty() {
            let Err(error) = self.table.transact(self.writes(&new)).await else {
                ours.extend(new.iter().map(|new| new.index));
                break;
            };
            let is_last = !tries.again();
            let existing = existing(&error, &new);
            if existing.is_empty() {
                let why = failed(&error);
                if !why.retry || is_last {
                    return Err(self.table.failed("TransactWriteItems", &why));
                }
                tries.wait().await;
            } else {
                // An existing alert cancels the whole transaction: the others are tried again
                // without it, at once.
                ours.extend(created_before(&new, &existing, attempt));
                new = without(new, &existing);
            }
        }
        Ok(ours)
    }

    /// The writes for each alert. The notes are in the same transaction, so that no unpublished
    /// alert exists without one; they need no condition, because they are written only if the alert
    /// is.
    fn writes(&self, new: &[NewAlert]) -> Vec<TransactWriteItem> {
        new.iter()
            .flat_map(|new| {
                let once = self
                    .put(&new.item)
                    .condition_expression(new.condition)
                    .return_values_on_condition_check_failure(
                        ReturnValuesOnConditionCheckFailure::AllOld,
                    );
                let notes = new.notes.iter().map(|note| self.put(note));
                std::iter::once(once).chain(notes)
            })
            .filter_map(as_write)
            .collect()
    }

    fn put(&self, item: &Attributes) -> PutBuilder {
        self.table.put_builder(item.clone())
    }
}

fn id_of(alert: &Alert) -> &AlertId {
    &alert.id
}

/// Whether an alert of a principal is found elsewhere, or at another time, than it was.
fn has_moved(known: &Alert, kept: &Alert) -> bool {
    (&known.actor, &known.origin, known.time) != (&kept.actor, &kept.origin, kept.time)
}

/// Stored in an item, to recognise what one call wrote: a response may be lost.
pub(super) fn attempt() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// The first alert with each id, and its index.
fn first_of_each(alerts: &[Alert]) -> impl Iterator<Item = (usize, &Alert)> {
    let mut met: HashSet<&AlertId> = HashSet::new();
    alerts
        .iter()
        .enumerate()
        .filter(move |(_, alert)| met.insert(&alert.id))
}

/// How many of the first alerts one transaction takes.
fn together(new: &[NewAlert]) -> usize {
    let mut writes = 0;
    let fitting = new.iter().take(TOGETHER).take_while(|new| {
        writes += new.writes();
        writes <= WRITES_TOGETHER
    });
    // One that is too large by itself is refused by DynamoDB, which says why.
    fitting.count().max(1)
}

impl NewAlert {
    /// Number of writes: the alert and its notes.
    fn writes(&self) -> usize {
        1 + self.notes.len()
    }
}

fn canceled(error: &SdkError<TransactWriteItemsError>) -> Option<&TransactionCanceledException> {
    match error.as_service_error()? {
        TransactWriteItemsError::TransactionCanceledException(canceled) => Some(canceled),
        _ => None,
    }
}

/// A failed transaction. A conflict with another one is temporary; so is every error marked as
/// such.
pub(super) fn failed(error: &SdkError<TransactWriteItemsError>) -> FailedCall {
    let failed = FailedCall::of(error);
    FailedCall {
        retry: failed.retry || canceled(error).is_some(),
        ..failed
    }
}

/// Of the alerts of a canceled transaction, those that existed already.
fn existing(error: &SdkError<TransactWriteItemsError>, new: &[NewAlert]) -> Existing {
    let reasons = cancellation_reasons(error);
    let mut existing = Existing::new();
    let mut write = 0;
    for (position, new) in new.iter().enumerate() {
        // One reason for each write, in their order; the alert comes before its notes.
        let reason = reasons.get(write).filter(|reason| is_refused(reason));
        existing.extend(reason.map(|reason| (position, attempt_of(reason))));
        write += new.writes();
    }
    existing
}

/// Why each write of a canceled transaction failed; nothing when it failed otherwise.
pub(super) fn cancellation_reasons(
    error: &SdkError<TransactWriteItemsError>,
) -> &[CancellationReason] {
    canceled(error)
        .map(TransactionCanceledException::cancellation_reasons)
        .unwrap_or_default()
}

/// Whether the condition of the write does not hold.
pub(super) fn is_refused(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

fn attempt_of(reason: &CancellationReason) -> Option<String> {
    let item = reason.item()?;
    text_of(item, ATTEMPT).map(str::to_owned)
}

/// Indices of alerts that this attempt created: the response to an earlier try was lost.
fn created_before(
    new: &[NewAlert],
    existing: &Existing,
    attempt: &str,
) -> impl Iterator<Item = usize> {
    new.iter()
        .enumerate()
        .filter(move |(position, _)| {
            existing
                .get(position)
                .is_some_and(|by| by.as_deref() == Some(attempt))
        })
        .map(|(_, new)| new.index)
}

/// The alerts that do not exist yet.
fn without(new: Vec<NewAlert>, existing: &Existing) -> Vec<NewAlert> {
    new.into_iter()
        .enumerate()
        .filter(|(position, _)| !existing.contains_key(position))
        .map(|(_, new)| new)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamodb::{item::number_of, table::tests::uncalled};
    use aws_sdk_dynamodb::{config::http::HttpResponse, types::Put};
    use aws_sdk_s3::primitives::SdkBody;
    use secretrail_engine::state::contract::{alert, destinations};

    /// With two destinations, of which one takes these alerts.
    fn alerts() -> StoredAlerts {
        let table = Arc::new(uncalled());
        let outbox = StoredOutbox::new(table.clone(), 60, destinations());
        StoredAlerts::new(table, 60, Arc::new(outbox))
    }

    fn new(count: usize, attempt: &str) -> Vec<NewAlert> {
        (0..count)
            .map(|n| alerts().new_alert(10 * n, &alert(&format!("e{n}")), attempt, EventTime(7)))
            .collect()
    }

    fn canceled_by(reasons: Vec<CancellationReason>) -> SdkError<TransactWriteItemsError> {
        let canceled = TransactionCanceledException::builder()
            .set_cancellation_reasons(Some(reasons))
            .build();
        SdkError::service_error(
            TransactWriteItemsError::TransactionCanceledException(canceled),
            HttpResponse::new(400.try_into().unwrap(), SdkBody::empty()),
        )
    }

    fn reason(code: &str, item: Option<&Attributes>) -> CancellationReason {
        CancellationReason::builder()
            .code(code)
            .set_item(item.cloned())
            .build()
    }

    #[test]
    fn an_alert_and_its_note_are_written_together() {
        let writes = alerts().writes(&new(2, "mine"));
        let puts: Vec<&Put> = writes.iter().filter_map(TransactWriteItem::put).collect();
        let of: Vec<(&str, Option<&str>)> = puts
            .iter()
            .filter_map(|put| Some((text_of(put.item(), "pk")?, put.condition_expression())))
            .collect();
        let once = Some(IS_NEW_OR_WITHDRAWN);
        let key = |n: &str| format!("alert#{}", alert(n).id.0);
        let of_actor = incidents::place_of(&alert("e0")).pk;
        assert_eq!(
            of,
            [
                (&*key("e0"), once),
                ("outbox#all", None),
                (&*of_actor, None),
                (&*key("e1"), once),
                ("outbox#all", None),
                (&*of_actor, None),
            ]
        );
        assert_eq!(number_of(puts[1].item(), CREATED), Some(7));
        assert_eq!(number_of(puts[1].item(), "ttl"), Some(1_060));
    }

    #[test]
    fn an_alert_that_is_asked_for_twice_is_created_once() {
        let all = [alert("a"), alert("b"), alert("a"), alert("c")];
        let found: Vec<usize> = first_of_each(&all).map(|(n, _)| n).collect();
        assert_eq!(found, [0, 1, 3]);
    }

    #[test]
    fn alerts_that_others_created_are_left_to_them() {
        let (ours, theirs) = (new(3, "mine"), new(3, "theirs"));
        let none = reason("None", None);
        let error = canceled_by(vec![
            reason("ConditionalCheckFailed", Some(&theirs[0].item)),
            none.clone(),
            none.clone(),
            none.clone(),
            none.clone(),
            none.clone(),
            reason("ConditionalCheckFailed", Some(&ours[2].item)),
            none.clone(),
            none,
        ]);
        let existing = existing(&error, &ours);
        let mine: Vec<usize> = created_before(&ours, &existing, "mine").collect();
        assert_eq!(mine, [20], "its response was lost");
        let left: Vec<usize> = without(ours, &existing)
            .iter()
            .map(|new| new.index)
            .collect();
        assert_eq!(left, [10], "to be tried again");
    }

    #[test]
    fn a_conflict_of_transactions_is_no_existing_alert() {
        let error = canceled_by(vec![
            reason("TransactionConflict", None),
            reason("None", None),
        ]);
        assert!(existing(&error, &new(1, "mine")).is_empty());
        assert!(canceled(&error).is_some());
        let late = SdkError::timeout_error("nothing came");
        assert!(existing(&late, &new(1, "mine")).is_empty() && canceled(&late).is_none());
    }

    #[test]
    fn a_transaction_has_few_alerts_and_few_writes() {
        let with_notes = |notes: usize| {
            let mut new = new(12, "mine");
            new.iter_mut()
                .for_each(|new| new.notes = vec![Attributes::new(); notes]);
            together(&new)
        };
        assert_eq!(
            [0, 9, 10, 49, 50, 200].map(with_notes),
            [10, 10, 9, 2, 1, 1]
        );
    }
}
