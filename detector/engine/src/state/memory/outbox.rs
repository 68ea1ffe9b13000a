//! The outbox in memory.

use std::collections::{BTreeMap, BTreeSet};

use super::MemoryStore;
use crate::{
    alert::Alert,
    ids::SharedStr,
    incident::announced::AnnouncedIncident,
    outbox::{
        Destination, DestinationState, GROUPING, NoteTopic, OutboxNote, WaitingContent,
        WaitingMessage,
    },
    state::{OutboxStore, StateError},
    time::EventTime,
};

/// Place of a note: destination, when it is due, topic.
type NotePlace = (SharedStr, EventTime, NoteTopic);

/// Notes and destinations.
#[derive(Default)]
pub(super) struct OutboxTable {
    /// For which notes are written.
    destinations: Vec<Destination>,
    notes: BTreeMap<NotePlace, OutboxNote>,
    states: BTreeMap<SharedStr, DestinationState>,
}

fn place(note: &OutboxNote) -> NotePlace {
    (note.destination.clone(), note.due, note.topic.clone())
}

impl OutboxTable {
    pub(super) fn new(destinations: Vec<Destination>) -> Self {
        let ids = destinations.iter().map(|destination| &destination.id);
        let states = ids.map(|id| (id.clone(), DestinationState::new(id.clone())));
        Self {
            states: states.collect(),
            destinations,
            notes: BTreeMap::new(),
        }
    }

    /// Adds the notes of an alert that is created or withdrawn.
    pub(super) fn add(&mut self, alert: &Alert, created: EventTime) {
        // A replay has no destinations, and many alerts.
        if !self.destinations.is_empty() {
            // Of an alert that is withdrawn, or raised again, only that is published.
            let topic = NoteTopic::of_alert(alert);
            self.notes.retain(|(_, _, known), _| *known != topic);
            let notes = self.destinations.iter();
            let notes = notes.filter_map(|destination| destination.note_of_alert(alert, created));
            self.notes.extend(notes.map(|note| (place(&note), note)));
        }
    }

    /// Adds the note of an alert that is to be grouped again, if alerts are grouped.
    pub(super) fn add_grouping(&mut self, alert: &Alert, now: EventTime) {
        let mut destinations = self.destinations.iter();
        let is_grouped = |destination: &&Destination| &*destination.id == GROUPING;
        let note = destinations.find(is_grouped);
        let note = note.and_then(|destination| destination.note_of_alert(alert, now));
        self.notes.extend(note.map(|note| (place(&note), note)));
    }

    /// Adds the notes of an incident that has changed.
    pub(super) fn add_incident(&mut self, incident: &AnnouncedIncident) {
        for (due, destination) in incident.replaces.iter().flat_map(|due| {
            let destinations = self.destinations.iter();
            destinations.map(move |destination| (*due, destination))
        }) {
            for note in destination.notes_due(incident, due) {
                self.notes.remove(&place(&note));
            }
        }
        let notes = self.destinations.iter();
        let notes = notes.filter_map(|destination| destination.note_of_incident(incident));
        self.notes.extend(notes.map(|note| (place(&note), note)));
    }

    fn of<'t>(&'t self, destination: &'t str) -> impl Iterator<Item = &'t OutboxNote> {
        let notes = self.notes.values();
        notes.filter(move |note| &*note.destination == destination)
    }
}

impl OutboxStore for MemoryStore {
    async fn outbox(
        &self,
        destination: &str,
        due_before: EventTime,
        most: usize,
    ) -> Result<Vec<WaitingMessage>, StateError> {
        let tables = self.tables();
        let notes = tables.outbox.of(destination);
        let due = notes.filter(|note| note.due < due_before);
        let waiting = due.filter_map(|note| {
            let content = match &note.topic {
                NoteTopic::Alert(id) => {
                    let known = tables.alerts.get(id)?;
                    WaitingContent::Alert(Box::new(known.alert.clone()))
                }
                NoteTopic::Incident(id) => {
                    let known = tables.incidents.get(id)?;
                    let known = known.is_current(note.created).then(|| known.clone());
                    WaitingContent::Incident(Box::new(known?))
                }
            };
            Some(WaitingMessage {
                note: note.clone(),
                content,
            })
        });
        Ok(waiting.take(most).collect())
    }

    async fn oldest_note(&self, destination: &str) -> Result<Option<EventTime>, StateError> {
        let tables = self.tables();
        let notes = tables.outbox.of(destination);
        Ok(notes.map(OutboxNote::waits_since).min())
    }

    async fn remove_notes(&self, notes: &[OutboxNote]) -> Result<(), StateError> {
        let mut tables = self.tables();
        for note in notes {
            tables.outbox.notes.remove(&place(note));
        }
        Ok(())
    }

    async fn replace_notes(&self, notes: Vec<(OutboxNote, OutboxNote)>) -> Result<(), StateError> {
        let mut tables = self.tables();
        for (old, new) in notes {
            if tables.outbox.notes.remove(&place(&old)).is_some() {
                tables.outbox.notes.insert(place(&new), new);
            }
        }
        Ok(())
    }

    async fn drop_notes(&self, destination: &str, most: usize) -> Result<usize, StateError> {
        let mut tables = self.tables();
        let dropped: BTreeSet<NotePlace> = tables
            .outbox
            .of(destination)
            .take(most)
            .map(place)
            .collect();
        tables
            .outbox
            .notes
            .retain(|place, _| !dropped.contains(place));
        Ok(dropped.len())
    }

    async fn destinations(&self) -> Result<Vec<DestinationState>, StateError> {
        let tables = self.tables();
        Ok(tables.outbox.states.values().cloned().collect())
    }

    async fn change_destination(&self, state: &DestinationState) -> Result<bool, StateError> {
        let mut tables = self.tables();
        let known = tables.outbox.states.get(&state.id);
        let is_current = known.map_or(0, |known| known.version) == state.version;
        if is_current {
            let version = state.version + 1;
            let changed = DestinationState {
                version,
                ..state.clone()
            };
            tables.outbox.states.insert(state.id.clone(), changed);
        }
        Ok(is_current)
    }
}
