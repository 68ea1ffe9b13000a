//! Raw records in the report: those behind the most suspicious incidents. The others stay in the
//! logs, where `explain --raw` finds them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use ahash::HashMap;
use secretrail_engine::{
    alert::{Alert, IncidentId},
    incident::Incident,
    sanitize,
};
use serde::Serialize;
use serde_json::Value;

use super::ledger::harmless;
use crate::{
    args::settings::RunSettings,
    input::{
        records::{RawRecord, records_of_objects},
        session::SessionResult,
    },
};

/// Most incidents with records in the page.
const INCIDENTS: usize = 30;

/// Most events of an incident whose records are in the page.
const EVENTS: usize = 10;

/// Longest record in characters; longer ones are truncated.
const MAX_CHARS: usize = 16_384;

/// A raw record of the page.
#[derive(Debug, Serialize)]
pub(super) struct EmbeddedRecord {
    /// `eventID`, and for an update that of the event that it replaces.
    ids: Vec<String>,
    object: String,
    /// Its JSON, with line breaks.
    json: String,
}

impl EmbeddedRecord {
    pub(super) fn of(record: &RawRecord) -> Self {
        let value: Value = serde_json::from_str(&record.json).unwrap_or_default();
        let ids = ["/eventID", "/addendum/originalEventID"].map(|place| value.pointer(place));
        let ids = ids.into_iter().flatten().filter_map(Value::as_str);
        Self {
            ids: ids.map(harmless).collect(),
            object: harmless(&record.object),
            json: shown(&value),
        }
    }
}

/// A record with line breaks, sanitised line by line.
fn shown(record: &Value) -> String {
    let pretty = format!("{record:#}");
    let lines = pretty.lines().map(sanitize::line);
    let mut text = lines.collect::<Vec<_>>().join("\n");
    if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The records of the first incidents: of each, the events of its most serious alerts.
pub(crate) fn of_incidents(
    incidents: &[Incident],
    alerts: &[Alert],
    found: &SessionResult,
    settings: &RunSettings,
) -> Vec<RawRecord> {
    let events = wanted(incidents, alerts);
    records_of_objects(&events, &found.objects, settings.threads, &*found.store)
}

/// Ids of events by the objects that hold them.
fn wanted<'a>(
    incidents: &'a [Incident],
    alerts: &'a [Alert],
) -> BTreeMap<&'a str, BTreeSet<String>> {
    let mut wanted: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for mut own in members(incidents, alerts) {
        own.sort_by_key(|alert| Reverse(alert.rule.level));
        let mut met = BTreeSet::new();
        let events = own.iter().flat_map(|alert| &alert.events);
        for event in events.filter(|event| met.insert(&event.id)).take(EVENTS) {
            let ids = wanted.entry(&event.object).or_default();
            ids.insert(event.id.to_string());
        }
    }
    wanted
}

/// The alerts of each of the first incidents.
fn members<'a>(
    incidents: &'a [Incident],
    alerts: &'a [Alert],
) -> impl Iterator<Item = Vec<&'a Alert>> {
    let first = incidents.iter().take(INCIDENTS);
    let mut members: HashMap<&IncidentId, Vec<&Alert>> =
        first.map(|incident| (&incident.id, Vec::new())).collect();
    for alert in alerts {
        let known = alert.incident.as_ref().and_then(|id| members.get_mut(id));
        if let Some(own) = known {
            own.push(alert);
        }
    }
    members.into_values()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_keeps_its_lines_and_loses_what_turns_text() {
        let record = RawRecord {
            object: "a\u{202e}.json".to_owned(),
            json: json!({"eventID": "e", "userAgent": "x\u{202e}y\u{1b}[31m"}).to_string(),
        };
        let embedded = EmbeddedRecord::of(&record);
        assert_eq!(embedded.ids, ["e"]);
        assert_eq!(embedded.object, r"a\u{202e}.json");
        assert_eq!(embedded.json.lines().count(), 4);
        assert!(!embedded.json.contains(['\u{202e}', '\u{1b}']));
    }

    #[test]
    fn a_long_record_is_truncated() {
        let long = shown(&json!({"userAgent": "é".repeat(MAX_CHARS)}));
        assert!(long.chars().count() == MAX_CHARS + 1 && long.ends_with('…'));
    }
}
