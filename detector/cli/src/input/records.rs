//! Finds raw records in logs and extract files, by event id.

use std::collections::{BTreeMap, BTreeSet};

use memchr::memmem::Finder;
use secretrail_engine::{
    extract_file::{ExtractFileError, ExtractFileReader},
    parallel,
    scan::records_with,
};
use serde_json::Value;

use super::{
    container::{Container, ContainerBytes},
    object::{InputObject, InputProblem, ObjectReadError},
    read::readers,
    store::ObjectStore,
};

/// A record as AWS wrote it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawRecord {
    /// Name of the log that holds it.
    pub(crate) object: String,
    /// Its JSON.
    pub(crate) json: String,
}

/// The records of events in these objects, by event time; and what could not be read.
pub(crate) fn records(
    ids: &BTreeSet<String>,
    objects: &[InputObject],
    threads: usize,
    store: &dyn ObjectStore,
) -> (Vec<RawRecord>, Vec<InputProblem>) {
    let search = EventSearch { ids, store };
    let found = parallel::map(readers(threads, objects), objects, |object| {
        let mut records = Vec::new();
        let read = search.object(object, &mut records);
        (records, read)
    });
    // Records before the damage of an object are used, and the damage is reported.
    let (mut records, mut problems) = (Vec::new(), Vec::new());
    for (object, (found, read)) in objects.iter().zip(found) {
        records.extend(found);
        problems.extend(
            read.err()
                .map(|error| InputProblem::new(&*object.name, error)),
        );
    }
    records.sort_by_cached_key(RawRecord::order);
    (records, problems)
}

/// The records of events in the objects that are known to hold them, by event time. `events` are
/// names of objects, each with the ids of its events. What is not found or cannot be read is left
/// out: extract files hold records of other objects, and standard input is read once.
pub(crate) fn records_of_objects(
    events: &BTreeMap<&str, BTreeSet<String>>,
    objects: &[InputObject],
    threads: usize,
    store: &dyn ObjectStore,
) -> Vec<RawRecord> {
    let holding: Vec<(&InputObject, &BTreeSet<String>)> = objects
        .iter()
        .filter_map(|object| Some((object, events.get(object.name.as_str())?)))
        .collect();
    let found = parallel::map(threads, &holding, |(object, ids)| {
        let mut records = Vec::new();
        // The run has already reported what cannot be read.
        EventSearch { ids, store }.object(object, &mut records).ok();
        records
    });
    let mut records: Vec<RawRecord> = found.into_iter().flatten().collect();
    records.sort_by_cached_key(RawRecord::order);
    records
}

impl RawRecord {
    /// Sort key: event time. Copies of a record in two logs are both shown, in a stable order.
    fn order(&self) -> (Option<String>, String, String) {
        let time = event_time(&self.json);
        (time, self.object.clone(), self.json.clone())
    }
}

/// A search for events by id.
struct EventSearch<'s> {
    ids: &'s BTreeSet<String>,
    store: &'s dyn ObjectStore,
}

impl EventSearch<'_> {
    /// The records of these events in an object, up to the first read error.
    fn object(
        &self,
        object: &InputObject,
        found: &mut Vec<RawRecord>,
    ) -> Result<(), ObjectReadError> {
        let bytes = object.place.fetch(self.store)?.bytes;
        if object.is_extract_file {
            return self
                .parts(&bytes, found)
                .map_err(|error| ObjectReadError::Content(error.to_string()));
        }
        match Container::of(&bytes) {
            Some(container) => container.read(ContainerBytes::Bytes(bytes), &mut |_, content| {
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes)?;
                self.log(&bytes, object, found)
            }),
            None => self.log(&bytes, object, found),
        }
    }

    /// The records of these events in a log, up to the first error.
    fn log(
        &self,
        bytes: &[u8],
        object: &InputObject,
        found: &mut Vec<RawRecord>,
    ) -> Result<(), ObjectReadError> {
        // Prefilter: a record is parsed only if it contains one of the ids.
        let finders: Vec<Finder<'_>> = self.ids.iter().map(Finder::new).collect();
        let (records, read) = records_with(bytes, |unit| {
            finders.iter().any(|finder| finder.find(unit).is_some())
        });
        for json in records {
            if self.is_one(&json) {
                let object = object.name.clone();
                found.push(RawRecord { object, json });
            }
        }
        read.map_err(|error| ObjectReadError::Content(error.to_string()))
    }

    /// The records of these events in an extract file, with the names of their logs.
    fn parts(&self, bytes: &[u8], found: &mut Vec<RawRecord>) -> Result<(), ExtractFileError> {
        let mut next = ExtractFileReader::inflating(bytes)?;
        while let Some(mut part) = next {
            let entries = part.entries.iter();
            let names: Vec<String> = entries.map(|entry| entry.name.to_string()).collect();
            while let Some(record) = part.next_record()? {
                if self.is_one(record.text) {
                    found.push(RawRecord {
                        object: names.get(record.object).cloned().unwrap_or_default(),
                        json: record.text.to_owned(),
                    });
                }
            }
            next = part.next_extract_file()?;
        }
        Ok(())
    }

    /// Whether a record is one of the events, or replaces one. An id elsewhere in it does not
    /// count.
    fn is_one(&self, record: &str) -> bool {
        let Ok(value) = serde_json::from_str::<Value>(record) else {
            return false;
        };
        // An alert about a record that was updated has the id of the original.
        let ids = ["/eventID", "/addendum/originalEventID"].map(|place| value.pointer(place));
        let mut ids = ids.into_iter().flatten().filter_map(Value::as_str);
        ids.any(|id| self.ids.contains(id))
    }
}

/// `eventTime` as written; its text sorts by time.
fn event_time(record: &str) -> Option<String> {
    let value: Value = serde_json::from_str(record).ok()?;
    value.get("eventTime")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::input::{object::ObjectPlace, store::NoObjectStore};

    fn log(name: &str, text: &str) -> (tempfile::NamedTempFile, InputObject) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let place = ObjectPlace::File(file.path().to_owned());
        (file, InputObject::at(place, name.to_owned(), name, true))
    }

    fn ids<const N: usize>(ids: [&str; N]) -> BTreeSet<String> {
        ids.map(str::to_owned).into()
    }

    #[test]
    fn records_come_by_time_and_only_by_their_own_id() {
        let late = r#"{"eventID":"e1","eventTime":"2026-03-02T10:00:05Z"}"#;
        let soon = r#"{"eventID":"e2","eventTime":"2026-03-02T10:00:01Z"}"#;
        let update = r#"{"eventID":"e3","eventTime":"2026-03-02T10:00:06Z","addendum":{"originalEventID":"e1"}}"#;
        let about = r#"{"eventID":"e4","requestParameters":{"originalEventID":"e1"}}"#;
        let text = format!(r#"{{"Records":[{late},{about},{update}]}}"#);
        let (_a, first) = log("a.json", &text);
        let (_b, second) = log("b.json", &format!(r#"{{"Records":[{soon}]}}"#));
        let (records, problems) = records(&ids(["e1", "e2"]), &[first, second], 2, &NoObjectStore);
        let found: Vec<_> = records
            .iter()
            .map(|record| (record.object.as_str(), record.json.as_str()))
            .collect();
        let expected = [("b.json", soon), ("a.json", late), ("a.json", update)];
        assert_eq!(found, expected);
        assert_eq!(problems, []);
    }

    #[test]
    fn an_event_is_looked_for_only_where_it_is_known_to_be() {
        let text = r#"{"Records":[{"eventID":"e1"},{"eventID":"e2"}]}"#;
        let (_a, first) = log("a.json", text);
        let (_b, second) = log("b.json", text);
        let gone = ObjectPlace::File("/nowhere/c.json".into());
        let gone = InputObject::at(gone, "c.json".to_owned(), "c.json", true);
        let events = [("a.json", "e1"), ("c.json", "e2"), ("d.json", "e2")];
        let events = events.map(|(object, id)| (object, ids([id])));
        let objects = [first, second, gone];
        let records = records_of_objects(&events.into(), &objects, 2, &NoObjectStore);
        let found: Vec<_> = records
            .iter()
            .map(|record| (record.object.as_str(), record.json.as_str()))
            .collect();
        assert_eq!(found, [("a.json", r#"{"eventID":"e1"}"#)]);
    }

    #[test]
    fn what_comes_before_the_damage_is_found_and_the_damage_is_reported() {
        let gone = ObjectPlace::File("/nowhere/a.json".into());
        let gone = InputObject::at(gone, "gone.json".to_owned(), "gone.json", true);
        let (_file, there) = log("a.json", r#"{"Records":[{"eventID":"e1"}]}"#);
        let (records, problems) = records(&ids(["e1"]), &[gone, there], 1, &NoObjectStore);
        assert_eq!((records.len(), problems.len()), (1, 1));
        assert_eq!(problems[0].name, "gone.json");
    }
}
