//! The outbox: a note for each alert or incident and destination, and the state of each
//! destination.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_sdk_dynamodb::types::TransactWriteItem;
use secretrail_engine::{
    alert::{Alert, AlertId},
    incident::announced::AnnouncedIncident,
    outbox::{
        Destination, DestinationState, GROUPING, NoteTopic, OutboxNote, WaitingContent,
        WaitingMessage,
    },
    state::{OutboxStore, StateError, item_v1},
    time::EventTime,
};

use super::{
    DynamoStore,
    alerts::{attempt, cancellation_reasons, failed, is_refused},
    item::{Attributes, CONTENT, ItemKey, SK, bytes_of, number, number_of, text, text_of},
    keys,
    table::{ConditionalPut, DynamoTable, PutResult},
};
use crate::names::{FAILURES, RETRY_AT, VERSION};

/// When an alert or a note was created.
pub(super) const CREATED: &str = "created";
/// How often an alert was refused; absent when it never was.
const REFUSALS: &str = "refusals";

/// Attributes of a destination, as [`DestinationState`] describes them.
const BUSY_UNTIL: &str = "busy_until";
const SENT: &str = "sent";
const REMOVED: &str = "removed";
/// Who wrote it: a writer whose response was lost knows its own write.
const WRITER: &str = "writer";

/// How long the state of a destination is kept that was removed, in seconds: longer than any
/// invocation runs that still has the old settings.
const REMOVED_SECS: i64 = 2 * 86_400;

/// Wait before an alert is read again that cannot be read, in seconds: another version of the
/// function may read it.
const UNREADABLE_SECS: i64 = 600;

/// Notes among which the oldest is looked for.
const OLDEST_AMONG: usize = 100;

/// Notes in the table.
pub(super) struct StoredOutbox {
    table: Arc<DynamoTable>,
    keep_secs: i64,
    destinations: Vec<Destination>,
    /// Whether this process knows that the table knows them.
    is_registered: AtomicBool,
}

impl StoredOutbox {
    pub(super) fn new(
        table: Arc<DynamoTable>,
        keep_secs: i64,
        destinations: Vec<Destination>,
    ) -> Self {
        Self {
            table,
            keep_secs,
            destinations,
            is_registered: AtomicBool::new(false),
        }
    }

    /// Makes the destinations known in the table, once for each process.
    pub(super) async fn register(&self) -> Result<(), StateError> {
        if self.destinations.is_empty() || self.is_registered.load(Ordering::Relaxed) {
            return Ok(());
        }
        let known = self.states().await?;
        let known: HashMap<_, _> = known.iter().map(|state| (&state.id, state)).collect();
        for Destination { id, .. } in &self.destinations {
            let state = match known.get(id) {
                None => DestinationState::new(id.clone()),
                Some(state) if state.removed.is_some() => DestinationState {
                    removed: None,
                    ..(*state).clone()
                },
                Some(_) => continue,
            };
            // Where another writer was faster, it is known too.
            self.change(&state).await?;
        }
        self.is_registered.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The notes of an alert that is created or withdrawn, as items.
    pub(super) fn notes(&self, alert: &Alert, created: EventTime) -> Vec<Attributes> {
        let notes = self.destinations.iter();
        let notes = notes.filter_map(|to| to.note_of_alert(alert, created));
        notes.map(|note| self.item(&note)).collect()
    }

    /// The notes of an incident that has changed, as items.
    pub(super) fn incident_notes(&self, incident: &AnnouncedIncident) -> Vec<Attributes> {
        let notes = self.destinations.iter();
        let notes = notes.filter_map(|to| to.note_of_incident(incident));
        notes.map(|note| self.item(&note)).collect()
    }

    /// The note of an alert that is to be grouped again, as an item; `None` when alerts are not
    /// grouped.
    pub(super) fn grouping_note(
        &self,
        alert: &Alert,
        created: EventTime,
        now: EventTime,
    ) -> Option<Attributes> {
        let mut destinations = self.destinations.iter();
        let grouping = destinations.find(|destination| &*destination.id == GROUPING)?;
        let note = grouping.note_of_alert(alert, created)?;
        // Not the place of the note that the alert was created with: its creator removes that.
        let due = now.max(created.plus(1));
        Some(self.item(&OutboxNote { due, ..note }))
    }

    /// The places of the notes that a change of an incident replaces.
    pub(super) fn replaced_notes(&self, incident: &AnnouncedIncident) -> Vec<ItemKey> {
        let taking = self.destinations.iter();
        let taking = taking.filter(|to| to.takes_incident(incident));
        let dues = incident.replaces.iter();
        let notes = dues.flat_map(|due| taking.clone().flat_map(|to| to.notes_due(incident, *due)));
        notes.map(|note| keys::note(&note)).collect()
    }

    fn item(&self, note: &OutboxNote) -> Attributes {
        let mut item = keys::note(note).attributes();
        item.extend([
            (CREATED.to_owned(), number(note.created.0)),
            self.table.expiry(self.keep_secs),
        ]);
        if note.refusals > 0 {
            item.insert(REFUSALS.to_owned(), number(note.refusals));
        }
        item
    }

    pub(super) async fn waiting(
        &self,
        destination: &str,
        due_before: EventTime,
        most: usize,
    ) -> Result<Vec<WaitingMessage>, StateError> {
        loop {
            let range = keys::outbox_due(destination, due_before);
            let items = self.table.query(range, most).await?;
            let notes = items.iter().filter_map(|item| note_of(destination, item));
            let notes: Vec<OutboxNote> = notes.collect();
            let is_last = notes.is_empty();
            let waiting = self.with_contents(notes).await?;
            if !waiting.is_empty() || is_last {
                return Ok(waiting);
            }
            // None of them can be published, and they are gone or put off.
        }
    }

    /// The contents of notes. Notes that mean nothing are deleted: the alert expired a moment
    /// before its note, or was withdrawn or raised again since, or the incident has changed. What
    /// cannot be read is put off.
    async fn with_contents(
        &self,
        notes: Vec<OutboxNote>,
    ) -> Result<Vec<WaitingMessage>, StateError> {
        let asked = notes.iter().map(|note| item_of(&note.topic)).collect();
        let items = self.table.get(asked, None).await?;
        let (mut waiting, mut lost, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        for note in notes {
            let item = items.get(&item_of(&note.topic));
            let current = item.filter(|item| is_current(&note, item));
            match current.map(|item| self.content(&note.topic, item)) {
                Some(Ok(content)) => waiting.push(WaitingMessage { content, note }),
                Some(Err(error)) => {
                    self.table.note_set_aside(error);
                    let later = note.put_off(self.table.now(), UNREADABLE_SECS);
                    unreadable.push((note, later));
                }
                None => lost.push(keys::note(&note)),
            }
        }
        self.table.delete(lost).await?;
        self.replace(unreadable).await?;
        Ok(waiting)
    }

    fn content(&self, topic: &NoteTopic, item: &Attributes) -> Result<WaitingContent, StateError> {
        Ok(match topic {
            NoteTopic::Alert(_) => WaitingContent::Alert(Box::new(unpacked(&self.table, item)?)),
            NoteTopic::Incident(_) => {
                WaitingContent::Incident(Box::new(unpacked_incident(&self.table, item)?))
            }
        })
    }

    pub(super) async fn oldest(&self, destination: &str) -> Result<Option<EventTime>, StateError> {
        let range = keys::outbox(destination);
        let items = self.table.query(range, OLDEST_AMONG).await?;
        let notes = items.iter().filter_map(|item| note_of(destination, item));
        Ok(notes.map(|note| note.waits_since()).min())
    }

    /// Deletes notes. The alerts stay, so that the same alert is not created again.
    pub(super) async fn remove(&self, notes: &[OutboxNote]) -> Result<(), StateError> {
        let notes = notes.iter().map(keys::note);
        self.table.delete(notes.collect()).await
    }

    pub(super) async fn replace(
        &self,
        notes: Vec<(OutboxNote, OutboxNote)>,
    ) -> Result<(), StateError> {
        for (old, new) in notes {
            // Few alerts are refused.
            exchange(&self.table, &keys::note(&old), &[], vec![self.item(&new)]).await?;
        }
        Ok(())
    }

    pub(super) async fn drop_some(
        &self,
        destination: &str,
        most: usize,
    ) -> Result<usize, StateError> {
        let notes = self.table.query(keys::outbox(destination), most).await?;
        let notes: Vec<ItemKey> = notes.iter().filter_map(ItemKey::of).collect();
        let count = notes.len();
        self.table.delete(notes).await?;
        Ok(count)
    }

    /// Replaces notes of earlier versions, one for all destinations, that were created before a
    /// time: about `most`, and returns how many.
    pub(super) async fn split_notes(
        &self,
        created_before: EventTime,
        most: usize,
    ) -> Result<usize, StateError> {
        let notes = self.table.query(keys::notes_for_all(), most).await?;
        let ids: Vec<AlertId> = notes
            .iter()
            .filter(|note| number_of(note, CREATED).is_some_and(|at| at < created_before.0))
            .filter_map(|note| text_of(note, SK))
            .map(|id| AlertId(id.into()))
            .collect();
        if ids.is_empty() {
            return Ok(0);
        }
        self.register().await?;
        let asked = ids.iter().map(keys::alert).collect();
        let (mut split, mut unreadable) = (Vec::new(), HashSet::new());
        for (key, item) in &self.table.get(asked, None).await? {
            match self.split_note(item, created_before) {
                Ok(notes) => split.extend(notes),
                // Its note stays where it is, until it expires.
                Err(error) => {
                    self.table.note_set_aside(error);
                    unreadable.insert(key.clone());
                }
            }
        }
        self.table.put(split).await?;
        // Only now: after a crash between the two, the same notes are written again.
        let old = ids
            .iter()
            .filter(|id| !unreadable.contains(&keys::alert(id)));
        let old: Vec<ItemKey> = old.map(keys::note_for_all).collect();
        let count = old.len();
        self.table.delete(old).await?;
        Ok(count)
    }

    /// The notes of an alert that an earlier version has created, one for each destination.
    fn split_note(
        &self,
        item: &Attributes,
        created_before: EventTime,
    ) -> Result<Vec<(ItemKey, Attributes)>, StateError> {
        let created = number_of(item, CREATED).map_or(created_before, EventTime);
        let notes = self.notes(&unpacked(&self.table, item)?, created);
        let notes = notes.into_iter();
        Ok(notes
            .filter_map(|note| Some((ItemKey::of(&note)?, note)))
            .collect())
    }

    pub(super) async fn states(&self) -> Result<Vec<DestinationState>, StateError> {
        let items = self.table.query(keys::destinations(), usize::MAX).await?;
        Ok(items.iter().filter_map(state_of).collect())
    }

    pub(super) async fn change(&self, state: &DestinationState) -> Result<bool, StateError> {
        let writer = attempt();
        let is_new = state.version == 0;
        let put = ConditionalPut {
            item: self.state_item(state, &writer),
            version: (!is_new).then(|| (VERSION, number(state.version))),
        };
        Ok(match self.table.put_if(&put).await? {
            PutResult::Written => true,
            PutResult::Kept(item) => {
                item.is_some_and(|item| text_of(&item, WRITER) == Some(&*writer))
            }
        })
    }

    fn state_item(&self, state: &DestinationState, writer: &str) -> Attributes {
        let mut item = keys::destination(&state.id).attributes();
        item.extend([
            (VERSION.to_owned(), number(state.version + 1)),
            (FAILURES.to_owned(), number(state.failures)),
            (WRITER.to_owned(), text(writer)),
        ]);
        if !state.sent.is_empty() {
            let sent: Vec<String> = state.sent.iter().map(|at| at.0.to_string()).collect();
            item.insert(SENT.to_owned(), text(&sent.join(" ")));
        }
        for (name, time) in [
            (RETRY_AT, state.retry_at),
            (BUSY_UNTIL, state.busy_until),
            (REMOVED, state.removed),
        ] {
            item.extend(time.map(|time| (name.to_owned(), number(time.0))));
        }
        item.extend(state.removed.map(|_| self.table.expiry(REMOVED_SECS)));
        item
    }
}

/// The note of an item; `None` when it is none.
fn note_of(destination: &str, item: &Attributes) -> Option<OutboxNote> {
    let key = text_of(item, SK)?;
    let refusals = number_of(item, REFUSALS).unwrap_or(0);
    Some(OutboxNote {
        destination: destination.into(),
        topic: keys::topic_of_note(key)?,
        created: EventTime(number_of(item, CREATED)?),
        due: keys::due_of_note(key)?,
        refusals: u32::try_from(refusals).unwrap_or(u32::MAX),
    })
}

/// A time of an item; `None` when it has none.
fn time_of(item: &Attributes, name: &str) -> Option<EventTime> {
    number_of(item, name).map(EventTime)
}

/// The state of a destination in an item; `None` when it has none.
fn state_of(item: &Attributes) -> Option<DestinationState> {
    let sent = text_of(item, SENT).unwrap_or_default().split(' ');
    let failures = number_of(item, FAILURES).unwrap_or(0);
    Some(DestinationState {
        id: text_of(item, SK)?.into(),
        failures: u32::try_from(failures).unwrap_or(u32::MAX),
        retry_at: time_of(item, RETRY_AT),
        busy_until: time_of(item, BUSY_UNTIL),
        sent: sent
            .filter_map(|at| at.parse().ok())
            .map(EventTime)
            .collect(),
        removed: time_of(item, REMOVED),
        version: u64::try_from(number_of(item, VERSION)?).ok()?,
    })
}

/// Whether a note still says what is to be published.
fn is_current(note: &OutboxNote, item: &Attributes) -> bool {
    time_of(item, CREATED).is_some_and(|created| match note.topic {
        NoteTopic::Alert(_) => created == note.created,
        // As `AnnouncedIncident::is_current`.
        NoteTopic::Incident(_) => note.created <= created,
    })
}

/// The item of what a note is about.
fn item_of(topic: &NoteTopic) -> ItemKey {
    match topic {
        NoteTopic::Alert(id) => keys::alert(id),
        NoteTopic::Incident(id) => keys::incident(id),
    }
}

/// The incident in an item.
pub(super) fn unpacked_incident(
    table: &DynamoTable,
    item: &Attributes,
) -> Result<AnnouncedIncident, StateError> {
    let bytes = bytes_of(item, CONTENT).unwrap_or_default();
    item_v1::unpack_incident(bytes).map_err(|error| table.unreadable(item, &error))
}

/// The alert in an item.
pub(super) fn unpacked(table: &DynamoTable, item: &Attributes) -> Result<Alert, StateError> {
    let bytes = bytes_of(item, CONTENT).unwrap_or_default();
    item_v1::unpack_alert(bytes).map_err(|error| table.unreadable(item, &error))
}

/// Deletes an item, and with it others, and writes some, or does nothing when there is no such
/// item; returns whether there was.
pub(super) async fn exchange(
    table: &DynamoTable,
    old: &ItemKey,
    others: &[ItemKey],
    items: Vec<Attributes>,
) -> Result<bool, StateError> {
    let existing = table.delete_existing(old).into_iter();
    let others = others.iter().filter_map(|key| table.delete_any(key));
    let puts = items.into_iter().filter_map(|item| table.put_any(item));
    let written = write_all(table, existing.chain(others).chain(puts).collect()).await?;
    Ok(matches!(written, PutResult::Written))
}

/// Writes all or, when a condition does not hold, nothing; the item that is there then is that of
/// the first such write, if it asks for it. When a response was lost, what was written may count as
/// not written: the item tells.
pub(super) async fn write_all(
    table: &DynamoTable,
    writes: Vec<TransactWriteItem>,
) -> Result<PutResult, StateError> {
    let mut tries = table.tries();
    loop {
        let Err(error) = table.transact(writes.clone()).await else {
            return Ok(PutResult::Written);
        };
        let mut reasons = cancellation_reasons(&error).iter();
        if let Some(refused) = reasons.find(|reason| is_refused(reason)) {
            return Ok(PutResult::Kept(refused.item.clone()));
        }
        let why = failed(&error);
        if !why.retry || !tries.again() {
            return Err(table.failed("TransactWriteItems", &why));
        }
        tries.wait().await;
    }
}

impl OutboxStore for DynamoStore {
    async fn outbox(
        &self,
        destination: &str,
        due_before: EventTime,
        most: usize,
    ) -> Result<Vec<WaitingMessage>, StateError> {
        self.outbox.waiting(destination, due_before, most).await
    }

    async fn oldest_note(&self, destination: &str) -> Result<Option<EventTime>, StateError> {
        self.outbox.oldest(destination).await
    }

    async fn remove_notes(&self, notes: &[OutboxNote]) -> Result<(), StateError> {
        self.outbox.remove(notes).await
    }

    async fn replace_notes(&self, notes: Vec<(OutboxNote, OutboxNote)>) -> Result<(), StateError> {
        self.outbox.replace(notes).await
    }

    async fn drop_notes(&self, destination: &str, most: usize) -> Result<usize, StateError> {
        self.outbox.drop_some(destination, most).await
    }

    async fn destinations(&self) -> Result<Vec<DestinationState>, StateError> {
        self.outbox.states().await
    }

    async fn change_destination(&self, state: &DestinationState) -> Result<bool, StateError> {
        self.outbox.change(state).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamodb::{item::PK, table::tests::uncalled};
    use secretrail_engine::state::contract::{alert, destinations};

    fn outbox() -> StoredOutbox {
        StoredOutbox::new(Arc::new(uncalled()), 60, destinations())
    }

    #[test]
    fn a_note_is_read_back() {
        let first = OutboxNote::new("all".into(), NoteTopic::Alert(alert("e1").id), EventTime(7));
        let second = first.put_off(EventTime(100), 60);
        for note in [first, second] {
            let item = outbox().item(&note);
            assert_eq!(note_of("all", &item), Some(note));
            assert_eq!(number_of(&item, "ttl"), Some(1_060));
        }
        assert_eq!(note_of("all", &keys::destination("x").attributes()), None);
    }

    #[test]
    fn an_alert_has_a_note_for_each_destination_that_takes_it() {
        let notes = outbox().notes(&alert("e1"), EventTime(7));
        let partitions: Vec<_> = notes.iter().filter_map(|note| text_of(note, PK)).collect();
        assert_eq!(partitions, ["outbox#all"]);
    }

    #[test]
    fn the_state_of_a_destination_is_read_back() {
        let mut state = DestinationState::new("all".into());
        for change in [
            (|_| {}) as fn(&mut DestinationState),
            |state| state.fail(EventTime(5), 60),
            |state| assert_eq!(state.take(3, 2, EventTime(9)), 2),
            |state| state.busy_until = Some(EventTime(7)),
            |state| state.removed = Some(EventTime(8)),
        ] {
            change(&mut state);
            let item = outbox().state_item(&state, "me");
            // Only what was removed expires.
            assert_eq!(item.contains_key("ttl"), state.removed.is_some());
            let written = DestinationState {
                version: state.version + 1,
                ..state.clone()
            };
            assert_eq!(state_of(&item), Some(written));
        }
    }
}
