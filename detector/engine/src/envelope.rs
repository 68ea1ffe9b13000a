//! Envelopes: what other systems wrap CloudTrail records in, and the records inside.
//!
//! A unit is a record if its own top level says what happened, where and when. Anything else is
//! unwrapped, at most [`MAX_ENVELOPES`] deep, or counted; it is never ignored.

pub(crate) mod copies;
mod parts;

use std::borrow::Cow;

use ahash::HashSet;

pub(crate) use self::parts::LISTS;
use self::{
    copies::{
        KnownRecords, event_ids, is_copy, is_explained, names_a_service, services_named,
        was_a_record,
    },
    parts::{InnerValue, inner_values},
};
use crate::{
    record_shape::RecordShape,
    row::{self, RowRecord},
    shallow::{TopLevel, text_of, values},
};

/// Envelopes within each other, as in an EventBridge event in an SNS message in an SQS body.
pub const MAX_ENVELOPES: usize = 4;
/// Objects, arrays and texts within each other on the way to a record.
const MAX_STEPS: usize = 32;

/// A record that was found in an envelope.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FoundRecord {
    /// Its JSON.
    pub(crate) bytes: Vec<u8>,
    /// Its outermost envelope; `None` for a record that only an array or object holds.
    pub(crate) shape: Option<RecordShape>,
    /// As in [`RowRecord::repaired`].
    pub(crate) repaired: Option<bool>,
}

/// Why a unit gave no record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoRecord {
    /// It has nothing of a record.
    Other,
    /// It is an envelope that is known and holds no record: a control message, a column.
    Empty,
    /// It holds a field of CloudTrail records, and no record that could be found.
    UnknownEnvelope {
        /// The keys of the envelope, which is not known.
        keys: Vec<String>,
        /// Values in known envelopes that gave no record; empty where the envelope is not known.
        lost: Vec<Vec<u8>>,
    },
}

/// What a unit holds that is no record itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unwrapped {
    /// The records in it.
    pub(crate) records: Vec<FoundRecord>,
    /// Values beside them that name a service and gave no record.
    pub(crate) lost: Vec<Vec<u8>>,
    /// Number of rows of a table with fewer cells than it has columns.
    pub(crate) cut_rows: u64,
}

/// The records in a unit that is none itself: in its envelopes.
pub(crate) fn unwrapped(unit: &[u8]) -> Result<Unwrapped, NoRecord> {
    let mut search = RecordSearch::default();
    search.value(unit, Place::default(), None);
    let RecordSearch {
        found: records,
        lost,
        cut_rows,
        is_known,
        insights,
    } = search;
    if !records.is_empty() || cut_rows > 0 {
        return Ok(Unwrapped {
            records,
            lost,
            cut_rows,
        });
    }
    let top = TopLevel::of(unit);
    if top.is_whole() && (is_column(&top) || is_empty_list(&top)) {
        return Err(NoRecord::Empty);
    }
    let is_lost = !lost.is_empty();
    if !is_lost && (!names_a_service(unit) || is_explained(unit, insights)) {
        return Err(if is_known {
            NoRecord::Empty
        } else {
            NoRecord::Other
        });
    }
    let keys = top.iter().map(|(key, _)| key.to_owned()).collect();
    Err(NoRecord::UnknownEnvelope { keys, lost })
}

/// Whether an object is a log without records: a list of records is empty, and nothing else in it
/// may be one.
fn is_empty_list(top: &TopLevel<'_>) -> bool {
    let mut lists = top
        .iter()
        .filter(|(key, _)| LISTS.contains(&&*key.to_lowercase()));
    lists.any(|(_, value)| is_empty(value)) && !top.iter().any(|(_, value)| names_a_service(value))
}

/// Whether a value is an array without elements.
fn is_empty(value: &[u8]) -> bool {
    let inside = value.strip_prefix(b"[").and_then(|v| v.strip_suffix(b"]"));
    inside.is_some_and(|inside| inside.trim_ascii().is_empty())
}

/// Columns of a result of CloudTrail Lake that may stand beside the one with the record.
const COLUMNS: [&str; 18] = [
    "eventSource",
    "eventName",
    "eventTime",
    "eventID",
    "eventType",
    "eventCategory",
    "awsRegion",
    "recipientAccountId",
    "sharedEventID",
    "requestID",
    "sourceIPAddress",
    "userAgent",
    "userIdentity",
    "errorCode",
    "errorMessage",
    "requestParameters",
    "responseElements",
    "resources",
];

/// Whether an object is one column of a row: the row is an array of such objects.
fn is_column(top: &TopLevel<'_>) -> bool {
    let mut fields = top.iter();
    match (fields.next(), fields.next()) {
        // A record may be below such a key, too.
        (Some((key, value)), None) => {
            let is_scalar = !value.starts_with(b"{") && !value.starts_with(b"[");
            let mut names = COLUMNS.iter();
            (is_scalar || !names_a_service(value)) && names.any(|n| n.eq_ignore_ascii_case(key))
        }
        _ => false,
    }
}

/// Whether the top level of an object has what makes a record: service, call and time.
///
/// The `eventSource` of notifications of S3, SQS and others begins with `aws:`.
pub(crate) fn is_record(top: &TopLevel<'_>) -> bool {
    // A text that is cut has no second quote: what it would have said is not known.
    let is_text = |key| top.get(key).is_some_and(is_whole_text);
    let is_number = |value: &[u8]| value.first().is_some_and(u8::is_ascii_digit);
    let source = top.get("eventSource");
    is_text("eventName")
        && (is_text("eventTime") || top.get("eventTime").is_some_and(is_number))
        && source.is_some_and(|source| source.starts_with(b"\"") && !source.starts_with(b"\"aws:"))
}

fn is_whole_text(value: &[u8]) -> bool {
    value.len() > 1 && value.starts_with(b"\"") && value.ends_with(b"\"")
}

/// The shape of a record that has the fields of a row beside its own; `None` if it has none.
pub(crate) fn row_shape(record: &TopLevel<'_>) -> Option<RecordShape> {
    let is_row = record.iter().any(|(key, _)| key.starts_with("p_"));
    is_row.then_some(RecordShape::Panther)
}

/// The record that a row of a table tells of; `None` if it is no row of a known form, or holds a
/// whole record in one of its columns.
///
/// Also with the very names of a record, its cells may hold structs as text.
pub(crate) fn record_of_row(row: &[u8]) -> Option<RowRecord> {
    let top = TopLevel::of(row);
    let holds_record = inner_values(&top).iter().any(|inner| {
        let text = text_of(inner.value);
        text.is_some_and(|text| text.contains("eventSource"))
    });
    row::record(row, &top).filter(|_| !holds_record)
}

/// Whether an object is a record by its own top level, and has no column with a whole record, which
/// tells more.
pub(crate) fn is_record_itself(top: &TopLevel<'_>) -> bool {
    is_record(top) && !top.iter().any(|(key, value)| is_whole_record(key, value))
}

/// Whether a column holds a whole record as text.
fn is_whole_record(key: &str, value: &[u8]) -> bool {
    let mut names = WHOLE_COLUMNS.iter();
    value.starts_with(b"\"")
        && names.any(|name| name.eq_ignore_ascii_case(key))
        && text_of(value).is_some_and(|text| names_a_service(text.as_bytes()))
}

/// Columns with a whole record as text.
const WHOLE_COLUMNS: [&str; 6] = [
    "CloudTrailEvent",
    "eventJson",
    "_raw",
    "message",
    "@message",
    "event.original",
];

/// A search for records.
#[derive(Default)]
struct RecordSearch {
    found: Vec<FoundRecord>,
    /// Values of lists and texts that name a service and gave no record.
    lost: Vec<Vec<u8>>,
    /// Number of rows of a table with fewer cells than it has columns.
    cut_rows: u64,
    /// Whether an envelope was recognised that rightly holds no record.
    is_known: bool,
    /// Number of services that Insights events name: these are no calls.
    insights: usize,
}

/// Where in the envelopes a value stands.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// The outermost envelope.
    shape: Option<RecordShape>,
    envelopes: usize,
    steps: usize,
}

impl Place {
    /// The place of a value inside, in this envelope if it is in one; `None` where it is too deep.
    fn inside(self, own: Option<RecordShape>, is_list: bool) -> Option<Self> {
        // What the elements of a list stand in is counted with each of them.
        let is_counted = own.is_some() && !is_list;
        let place = Self {
            shape: self.shape.or(own),
            envelopes: self.envelopes + usize::from(is_counted),
            steps: self.steps + 1,
        };
        (place.envelopes <= MAX_ENVELOPES && place.steps <= MAX_STEPS).then_some(place)
    }
}

impl RecordSearch {
    /// Searches a value: an object, an array, or text with JSON in it. Returns whether it gave a
    /// record.
    fn value(&mut self, value: &[u8], place: Place, without: Option<&str>) -> bool {
        let before = self.found.len();
        match value.first() {
            Some(b'{') => self.object(value, place, without),
            Some(b'[') => self.values(value, place),
            Some(b'"') => {
                // Text may hold several values, as JSON lines do.
                let text = text_of(value).unwrap_or_default();
                let text = text.trim_start_matches('\u{feff}').trim();
                if text.starts_with(['{', '[', '"']) {
                    let shape = place.shape.or(Some(RecordShape::Text));
                    self.values(text.as_bytes(), Place { shape, ..place });
                }
            }
            _ => {}
        }
        self.found.len() > before
    }

    fn values(&mut self, text: &[u8], place: Place) {
        // Nesting is limited: text in text can be built deeper than the stack.
        let Some(place) = place.inside(None, true) else {
            return self.lose(text, self.insights);
        };
        let (before, lost) = (self.found.len(), self.lost.len());
        let values = values(text);
        for value in &values {
            let (lost, insights) = (self.lost.len(), self.insights);
            // What is lost in a value is named by its innermost part.
            if !self.value(value, place, None) && self.lost.len() == lost {
                self.lose(value, insights);
            }
        }
        // A row of CloudTrail Lake is a list of columns, of which one may hold the whole record.
        if self.found.len() == before
            && let Some(row) = row::record_of_list(&values)
        {
            self.lost.truncate(lost);
            self.row(row);
        }
    }

    /// Notes a value that gave no record although it names a service or was a record. `insights` is
    /// the number of services that Insights events had named before it.
    fn lose(&mut self, value: &[u8], insights: usize) {
        let text = text_of(value);
        let value = text.as_deref().map_or(value, str::as_bytes);
        let top = TopLevel::of(value);
        // A column beside others is reported with its row.
        let is_lost = (names_a_service(value) || was_a_record(value, &top))
            && !is_explained(value, self.insights - insights)
            && !(top.is_whole() && is_column(&top));
        if is_lost {
            self.lost.push(value.trim_ascii().to_owned());
        }
    }

    fn row(&mut self, row: RowRecord) {
        self.found.push(FoundRecord {
            bytes: row.bytes,
            shape: Some(row.shape),
            repaired: row.repaired,
        });
    }

    fn object(&mut self, value: &[u8], place: Place, without: Option<&str>) {
        // A record ends the search: what its caller wrote into it is no envelope.
        let mut top = TopLevel::of(value);
        if is_record_itself(&top) {
            self.found.push(FoundRecord {
                bytes: value.to_owned(),
                shape: place.shape.or_else(|| row_shape(&top)),
                repaired: None,
            });
            return;
        }
        // An Insights event names a service, and is no call. No caller chooses the keys of an
        // event, but many a text in it.
        if top.get("insightDetails").is_some() {
            self.insights += services_named(value);
            return;
        }
        self.is_known |= is_without_records(&top);
        if let Some(key) = without {
            top.remove(key);
        }
        let insights = self.insights;
        if self.inner(&top, place) {
            return;
        }
        // A column that holds a whole record tells more than those beside it: where it is damaged,
        // they must not stand for it.
        let whole = inner_values(&top).into_iter().find(|inner| {
            let text = text_of(inner.value);
            text.is_some_and(|text| names_a_service(text.as_bytes()))
        });
        if let Some(inner) = whole {
            if self.lost.is_empty() {
                self.lose(inner.value, insights);
            }
            return;
        }
        // What a cut row would have said is not known; a cut table has the rows before the cut.
        let row = top.is_whole().then(|| row::record(value, &top)).flatten();
        match row {
            Some(row) => self.row(row),
            None => self.table(&top),
        }
    }

    /// Searches the parts of an object in which records may be. Returns whether one gave a record.
    fn inner(&mut self, top: &TopLevel<'_>, place: Place) -> bool {
        let first = self.found.len();
        let mut known = None;
        // A record may be damaged in one place and whole in another. A list is no such copy.
        let mut damaged = Vec::new();
        let parts = inner_values(top);
        for part in &parts {
            let is_list = part.value.starts_with(b"[");
            let Some(place) = place.inside(part.shape, is_list) else {
                continue;
            };
            let lost = self.lost.len();
            let has_records = if self.found.len() == first {
                self.value(part.value, place, part.without)
            } else {
                let known = known.get_or_insert_with(|| KnownRecords::of(self.found.get(first..)));
                names_a_service(part.value) && self.beside(known, part, place)
            };
            if !has_records && !is_list {
                damaged.extend(self.lost.drain(lost..));
            }
        }
        if self.found.len() == first {
            self.lost.append(&mut damaged);
            return false;
        }
        self.strangers(first, top, &parts);
        for (part, key) in parts.iter().filter_map(|part| Some((part, part.without?))) {
            let mut rest = TopLevel::of(part.value);
            rest.remove(key);
            self.strangers(first, &rest, &inner_values(&rest));
        }
        true
    }

    /// Searches a part of an object beside one that gave records. Shippers hold a record twice,
    /// parsed and as text: only those count that are not known. Returns whether there were such.
    fn beside(&mut self, known: &mut KnownRecords, part: &InnerValue<'_>, place: Place) -> bool {
        let mut search = Self::default();
        search.value(part.value, place, part.without);
        self.lost.append(&mut search.lost);
        self.cut_rows += search.cut_rows;
        self.insights += search.insights;
        let before = self.found.len();
        let found = search.found.into_iter();
        self.found.extend(found.filter(|found| !known.has(found)));
        known.add(self.found.get(before..));
        self.found.len() > before
    }

    /// Notes values under keys of no envelope, beside those that gave records from the one at
    /// `first` on: each that names a service and is no copy of these records.
    fn strangers(&mut self, first: usize, top: &TopLevel<'_>, parts: &[InnerValue<'_>]) {
        let searched: HashSet<*const u8> = parts.iter().map(|part| part.value.as_ptr()).collect();
        let mut ids = None;
        for (key, value) in top.iter() {
            let is_nested = match value.first() {
                Some(b'{' | b'[') => true,
                Some(b'"') => text_of(value).is_some_and(|t| t.trim().starts_with(['{', '['])),
                _ => false,
            };
            let is_field = COLUMNS.iter().any(|name| name.eq_ignore_ascii_case(key));
            let is_strange = is_nested && !is_field && !searched.contains(&value.as_ptr());
            if !is_strange || !names_a_service(value) {
                continue;
            }
            let ids = ids.get_or_insert_with(|| event_ids(self.found.get(first..)));
            if !is_copy(value, ids) {
                self.lose(value, self.insights);
            }
        }
    }

    /// A table of a query: the names of its columns, and rows of their values.
    fn table(&mut self, top: &TopLevel<'_>) {
        let (Some(columns), Some(rows)) = (top.get("columns"), top.get("rows")) else {
            return;
        };
        let columns = values(columns);
        let names: Vec<Cow<'_, str>> = columns
            .iter()
            .filter_map(|column| TopLevel::of(column).text("name"))
            .collect();
        for row in values(rows) {
            let cells = values(row);
            // Which cell is missing is not known, nor what one would have said that is cut.
            let is_cut = row.starts_with(b"[") && !row.ends_with(b"]");
            if is_cut || cells.len() < names.len() {
                self.cut_rows += 1;
                continue;
            }
            let cells = names.iter().map(|name| &**name).zip(cells);
            if let Some(row) = row::record_of_cells(cells) {
                self.row(row);
            }
        }
    }
}

/// Whether an object is a known envelope that holds no record: a control message of a subscription,
/// a column of Logs Insights, a digest, an event of another kind on EventBridge.
fn is_without_records(top: &TopLevel<'_>) -> bool {
    let kind = top.text("detail-type");
    top.text("messageType").as_deref() == Some("CONTROL_MESSAGE")
        || top
            .text("field")
            .is_some_and(|field| field.starts_with('@') && field != "@message")
        || kind.is_some_and(|kind| !kind.ends_with("via CloudTrail"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    fn record(id: &str) -> Value {
        json!({"eventVersion": "1.11", "userIdentity": {"type": "Root"},
               "eventTime": "2026-03-02T10:00:00Z", "eventSource": "secretsmanager.amazonaws.com",
               "eventName": "GetSecretValue", "eventID": id,
               "requestParameters": {"secretId": "prod/a\"b\\c"}})
    }

    fn found(unit: &Value) -> Vec<(String, Option<RecordShape>)> {
        let found = unwrapped(unit.to_string().as_bytes()).unwrap_or_default();
        assert_eq!(found.lost.len(), 0, "{unit}");
        let found = found.records.into_iter().map(|found| {
            let value: Value = serde_json::from_slice(&found.bytes).unwrap();
            let id = value["eventID"].as_str().unwrap().to_owned();
            assert_eq!(value["requestParameters"]["secretId"], "prod/a\"b\\c");
            (id, found.shape)
        });
        found.collect()
    }

    /// Each envelope with the records e1 and, where it holds several, e2.
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn envelopes() -> Vec<(RecordShape, Value)> {
        let (one, two) = (record("e1"), record("e2"));
        let (text, other) = (one.to_string(), two.to_string());
        let kind = "AWS API Call via CloudTrail";
        let event = |detail: &Value| json!({"version": "0", "detail-type": kind, "detail": detail});
        vec![
            (RecordShape::EventBridge, event(&one)),
            (
                RecordShape::Elasticsearch,
                json!({"_index": "i", "_source": one}),
            ),
            (
                RecordShape::Elasticsearch,
                json!({"took": 1, "hits": {"total": 2, "hits": [{"_source": one}, {"_source": two}]}}),
            ),
            (
                RecordShape::Beats,
                json!({"@timestamp": "t", "message": text, "event": {"original": text}}),
            ),
            (
                RecordShape::Beats,
                json!({"event": {"original": text, "kind": "event"}}),
            ),
            (
                RecordShape::SplunkHec,
                json!({"time": 1, "sourcetype": "aws:cloudtrail", "event": one}),
            ),
            (RecordShape::SplunkHec, json!({"event": text})),
            (
                RecordShape::Splunk,
                json!({"preview": false, "result": {"_raw": text, "host": "h"}}),
            ),
            (RecordShape::Splunk, json!({"_raw": text})),
            (
                RecordShape::Datadog,
                json!({"id": "1", "content": {"service": "cloudtrail", "attributes": one}}),
            ),
            (
                RecordShape::Wazuh,
                json!({"rule": {"id": "1"}, "data": {"aws": one}}),
            ),
            (
                RecordShape::CloudWatchLogs,
                json!({"messageType": "DATA_MESSAGE", "logGroup": "g", "logEvents": [
                    {"id": "1", "timestamp": 1, "message": text},
                    {"id": "2", "timestamp": 2, "message": other}]}),
            ),
            (
                RecordShape::CloudWatchLogs,
                json!({"timestamp": 1, "message": text, "ingestionTime": 2}),
            ),
            (
                RecordShape::CloudWatchLogs,
                json!({"status": "Complete", "results": [
                    [{"field": "@timestamp", "value": "t"}, {"field": "@message", "value": text}]]}),
            ),
            (
                RecordShape::LookupEvents,
                json!({"EventId": "e1", "CloudTrailEvent": text}),
            ),
            (
                RecordShape::LookupEvents,
                json!({"EventId": "e1", "CloudTrailEvent": one}),
            ),
            (
                RecordShape::Lake,
                json!({"QueryResultRows": [[{"eventJson": text}], [{"eventJson": other}]]}),
            ),
            (RecordShape::Sqs, json!({"MessageId": "m", "Body": text})),
            (
                RecordShape::Sns,
                json!({"Type": "Notification", "Message": text}),
            ),
            (
                RecordShape::Sns,
                json!({"EventSource": "aws:sns", "Sns": {"Message": text}}),
            ),
            (RecordShape::Records, json!({"Records": one})),
            (
                RecordShape::Records,
                json!({"Records": {"Records": [one, two]}}),
            ),
        ]
    }

    #[test]
    fn every_envelope_gives_its_records_once() {
        for (shape, envelope) in envelopes() {
            let found = found(&envelope);
            let ids: Vec<&str> = found.iter().map(|(id, _)| &**id).collect();
            let several = envelope.to_string().matches("e2").count() > 0;
            assert_eq!(
                ids,
                if several { &["e1", "e2"][..] } else { &["e1"] },
                "{envelope}"
            );
            assert!(
                found.iter().all(|(_, of)| *of == Some(shape)),
                "{found:?} {envelope}"
            );
        }
    }

    /// Number of records in a unit, and of parts that are reported as lost.
    fn counted(unit: &str) -> (usize, usize) {
        match unwrapped(unit.as_bytes()) {
            Ok(Unwrapped { records, lost, .. }) => (records.len(), lost.len()),
            Err(NoRecord::UnknownEnvelope { lost, .. }) => (0, lost.len()),
            Err(NoRecord::Empty | NoRecord::Other) => (0, 0),
        }
    }

    #[test]
    fn a_record_that_was_cut_or_broken_anywhere_is_reported_as_lost() {
        let good = record("e1").to_string();
        let start = good.find("eventSource").unwrap();
        for cut in start + 11..good.len() - 1 {
            let Some(broken) = good.get(..cut) else {
                continue;
            };
            for text in [
                broken.to_owned(),
                format!("[{good},{broken}"),
                format!("{good}\n{broken}"),
            ] {
                let whole = usize::from(text.len() > broken.len());
                let unit = json!({"Message": text}).to_string();
                // With its source, call and time it is one, and is found broken when it is parsed.
                let (records, lost) = counted(&unit);
                assert_eq!(records + lost, whole + 1, "{unit}");
            }
        }
    }

    #[test]
    fn a_record_without_its_source_is_reported_and_other_documents_are_not() {
        let good = record("e1").to_string();
        let bent = json!({"eventVersion": "1.11", "eventTime": "2026-03-02T10:00:00Z",
            "eventSourc": "ssm.amazonaws.com", "eventName": "GetParameter",
            "awsRegion": "eu-west-1"});
        assert_eq!(counted(&format!("{{\"detail\":[{good},{bent}]}}")), (1, 1));
        let notice = json!({"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "x",
            "awsRegion": "eu-west-1", "eventTime": "2026-03-02T10:00:00Z", "s3": {}});
        let message = json!({"message": "{\"eventTime\": no JSON of ours"});
        for other in [notice, message, json!({"eventTime": "t", "eventName": "x"})] {
            let unit = format!("{{\"detail\":[{good},{other}]}}");
            assert_eq!(counted(&unit), (1, 0), "{unit}");
        }
    }

    #[test]
    fn four_envelopes_are_unwrapped_and_five_are_counted() {
        let wrap = |inner: &Value| json!({"Message": inner.to_string()});
        let mut wrapped = record("e1");
        for _ in 0..MAX_ENVELOPES {
            wrapped = wrap(&wrapped);
            assert_eq!(found(&wrapped), [("e1".to_owned(), Some(RecordShape::Sns))]);
        }
        let result = unwrapped(wrap(&wrapped).to_string().as_bytes());
        let Err(NoRecord::UnknownEnvelope { keys, lost }) = result else {
            panic!("{result:?}");
        };
        assert_eq!((keys, lost.len()), (vec!["Message".to_owned()], 1));
    }

    #[test]
    fn what_is_damaged_in_an_envelope_is_lost_and_not_hidden_by_what_stands_beside_it() {
        let (one, other) = (record("e1"), record("e2").to_string());
        let (cut, _) = other.split_once("eventTime").unwrap();
        let event = |message: &str| json!({"id": "1", "timestamp": 1, "message": message});
        let row = json!({"EventId": "e2", "EventName": "GetSecretValue", "Username": "u",
            "EventTime": "2026-03-02T10:00:00Z", "EventSource": "ssm.amazonaws.com"});
        let with = |key: &str, value: &str| {
            let mut row = row.clone();
            row[key] = value.into();
            row
        };
        for (unit, records) in [
            (
                json!({"messageType": "DATA_MESSAGE",
                    "logEvents": [event(&one.to_string()), event(cut)]}),
                1,
            ),
            (json!({"Body": format!("{one}\n{cut}")}), 1),
            (
                json!({"Records": {"Records": [one, {"foo": record("e2")}]}}),
                1,
            ),
            (with("CloudTrailEvent", cut), 0),
            (with("eventJson", cut), 0),
            (json!({"detail-type": "other", "detail": {"x": one}}), 0),
            (json!({"resources": [one]}), 0),
        ] {
            let unit = unit.to_string();
            match unwrapped(unit.as_bytes()) {
                Ok(found) => assert_eq!((found.records.len(), found.lost.len()), (records, 1)),
                Err(NoRecord::UnknownEnvelope { .. }) => assert_eq!(records, 0, "{unit}"),
                Err(other) => panic!("{other:?} {unit}"),
            }
        }
        // Held twice, as by shippers: one whole copy is enough.
        let twice = json!({"message": one.to_string(), "event": {"original": cut}});
        assert_eq!(found(&twice).len(), 1);
    }

    #[test]
    fn what_stands_beside_a_record_is_read_once() {
        let (one, two) = (record("e1"), record("e2"));
        let ids = |unit: &Value| {
            let found = found(unit);
            found.into_iter().map(|(id, _)| id).collect::<BTreeSet<_>>()
        };
        for unit in [
            json!({"Body": {"events": [one], "data": [two]}}),
            json!({"detail": one, "message": two.to_string()}),
            json!({"message": one.to_string(), "event": {"original": two.to_string()}}),
            json!({"hits": {"hits": [{"_source": one}]}, "results": [two, one]}),
        ] {
            assert!(ids(&unit).iter().eq(["e1", "e2"]), "{unit}");
        }
        // Copies in other words, and a list that is searched under two names.
        let spaced = serde_json::to_string_pretty(&one).unwrap();
        let mut unnamed = one.clone();
        unnamed.as_object_mut().unwrap().remove("eventID");
        for unit in [
            json!({"message": spaced, "event": {"original": one.to_string()}}),
            json!({"content": {"attributes": one, "message": spaced}}),
            json!({"hits": {"hits": [{"_source": one}]}}),
        ] {
            assert!(ids(&unit).iter().eq(["e1"]), "{unit}");
        }
        let twice = json!({"hits": {"hits": [{"_source": unnamed}]}}).to_string();
        assert_eq!(unwrapped(twice.as_bytes()).unwrap().records.len(), 1);
        // A damaged second list is no damaged copy.
        let cut = json!({"Body": {"events": [one], "data": [{"x": two}]}}).to_string();
        let found = unwrapped(cut.as_bytes()).unwrap();
        assert_eq!((found.records.len(), found.lost.len()), (1, 1));
    }

    #[test]
    fn what_stands_under_a_strange_key_beside_a_record_is_a_copy_or_told() {
        let (one, two) = (record("e1"), record("e2"));
        let text = one.to_string();
        for (unit, lost) in [
            (json!({"detail": one, "other": two}), 1),
            (json!({"event": one, "raw": two.to_string()}), 1),
            (json!({"Records": [one], "x": {"y": two}}), 1),
            (
                json!({"hits": {"hits": [{"_source": one}], "other": two}}),
                1,
            ),
            // Copies in a shipper's own form, columns, and a word of a caller.
            (
                json!({"data": {"aws": one}, "full_log": json!({"aws": one}).to_string()}),
                0,
            ),
            (json!({"_raw": text, "eventSource": "kms.amazonaws.com"}), 0),
            (
                json!({"detail": one, "resources": ["eventSource", "kms.amazonaws.com"]}),
                0,
            ),
            (
                json!({"message": text, "note": "eventSource=kms.amazonaws.com"}),
                0,
            ),
        ] {
            let found = unwrapped(unit.to_string().as_bytes()).unwrap();
            assert_eq!((found.records.len(), found.lost.len()), (1, lost), "{unit}");
        }
    }

    #[test]
    fn neither_escapes_nor_the_words_of_a_caller_hide_a_record() {
        let escape = |text: String| text.replace("eventSource", "event\\u0053ource");
        let (one, two) = (record("e1"), record("e2"));
        let list = escape(json!({"Body": {"events": [one], "data": [two]}}).to_string());
        assert_eq!(unwrapped(list.as_bytes()).unwrap().records.len(), 2);
        let text = json!({"detail": one, "message": escape(two.to_string())});
        assert_eq!(found(&text).len(), 2);
        let strange =
            json!({"Message": format!("{one}\n{}", escape(json!({"x": two}).to_string()))});
        let found = unwrapped(strange.to_string().as_bytes()).unwrap();
        assert_eq!((found.records.len(), found.lost.len()), (1, 1));

        let mut agent = two.clone();
        agent["userAgent"] = json!("insightDetails");
        let unit = json!({"foo": agent});
        let none = unwrapped(unit.to_string().as_bytes());
        assert!(
            matches!(none, Err(NoRecord::UnknownEnvelope { .. })),
            "{none:?}"
        );
        let insight =
            json!({"eventTime": "t", "insightDetails": {"eventSource": "ssm.amazonaws.com"}});
        for unit in [
            json!({"detail": insight}),
            json!({"Message": format!("{insight}\n{insight}")}),
        ] {
            let none = unwrapped(unit.to_string().as_bytes());
            assert_eq!(none, Err(NoRecord::Other), "{unit}");
        }
        let beside = json!({"Message": format!("{insight}\n{}", json!({"foo": two}))});
        let none = unwrapped(beside.to_string().as_bytes());
        assert!(
            matches!(none, Err(NoRecord::UnknownEnvelope { .. })),
            "{none:?}"
        );
    }

    #[test]
    fn a_text_holds_what_a_file_may_hold() {
        let (one, two) = (record("e1"), record("e2"));
        for text in [
            format!("[{one}]\n[{two}]"),
            format!("{one}}}\n{two}"),
            format!("{one}]{two}"),
            format!("[]\n[{one},{two}"),
            format!("\u{feff}{one}{two}"),
        ] {
            for unit in [
                json!({"Message": text}),
                json!({"Body": text}),
                json!({"logEvents": [{"message": text}]}),
            ] {
                assert_eq!(found(&unit).len(), 2, "{unit}");
            }
        }
    }

    #[test]
    fn a_column_with_the_whole_record_tells_more_than_those_beside_it() {
        let mut row = json!({"eventName": "GetSecretValue", "eventTime": "2026-03-02T10:00:00Z",
                             "eventSource": "secretsmanager.amazonaws.com"});
        for column in [
            "_raw",
            "eventJson",
            "eventjson",
            "cloudtrailevent",
            "message",
        ] {
            let whole = record("e1").to_string();
            row[column] = json!(whole);
            assert_eq!(found(&row).len(), 1, "{column}");
            assert_eq!(found(&json!({"_source": row})).len(), 1, "{column}");
            row[column] = json!(whole.replace("\"eventID", ""));
            let cut = unwrapped(row.to_string().as_bytes());
            assert!(
                matches!(cut, Err(NoRecord::UnknownEnvelope { .. })),
                "{cut:?}"
            );
            row.as_object_mut().unwrap().remove(column);
        }
    }

    #[test]
    fn a_row_that_is_cut_is_counted() {
        let table = json!({
            "columns": [{"name": "eventTime"}, {"name": "eventName"}, {"name": "eventSource"}],
            "rows": [["2026-03-02T10:00:00Z", "GetSecretValue", "secretsmanager.amazonaws.com"],
                     ["2026-03-02T10:00:01Z", "GetSecretValue"]],
        });
        let found = unwrapped(table.to_string().as_bytes()).unwrap();
        assert_eq!((found.records.len(), found.cut_rows), (1, 1));
    }

    #[test]
    fn a_cut_table_gives_the_rows_before_the_cut() {
        let table = json!({
            "columns": [{"name": "eventTime"}, {"name": "eventSource"}, {"name": "eventName"}],
            "rows": [
                ["2026-03-02T10:00:00Z", "secretsmanager.amazonaws.com", "GetSecretValue"],
                ["2026-03-02T10:00:01Z", "secretsmanager.amazonaws.com", "GetSecretValue"],
            ],
        });
        let table = table.to_string();
        for cut in 1..=20 {
            let found = unwrapped(&table.as_bytes()[..table.len() - cut]).unwrap();
            // The last bracket is taken for that of the list.
            let whole = 1 + usize::from(cut == 1);
            let counted = (found.records.len(), found.cut_rows);
            assert_eq!(counted, (whole, 2 - whole as u64), "{cut}");
        }
    }

    #[test]
    fn a_part_is_searched_once_under_all_its_names() {
        let mut unit = json!([{"foo": record("e1")}]);
        for list in ["logEvents", "hits", "logEvents", "hits", "data", "hits"].repeat(4) {
            unit = json!([{list: unit}]);
        }
        let unit = json!({"Body": unit[0]}).to_string();
        let none = unwrapped(unit.as_bytes());
        let Err(NoRecord::UnknownEnvelope { lost, .. }) = none else {
            panic!("{none:?}")
        };
        assert_eq!(lost.len(), 1);
    }

    #[test]
    fn a_list_is_no_envelope_of_its_own() {
        let kind = "AWS API Call via CloudTrail";
        let event = json!({"detail-type": kind, "detail": record("e1")});
        let notice = json!({"Type": "Notification", "Message": event.to_string()});
        let queue = json!({"Records": [{"body": notice.to_string()}]});
        let logged = json!({
            "messageType": "DATA_MESSAGE",
            "logEvents": [{"id": "1", "timestamp": 1, "message": queue.to_string()}],
        });
        let expected = [("e1".to_owned(), Some(RecordShape::CloudWatchLogs))];
        assert_eq!(found(&logged), expected);
    }

    #[test]
    fn lists_need_no_name_and_any_case() {
        for list in [
            json!({"records": [record("e1")]}),
            json!({"DATA": {"Rows": [record("e1")]}}),
            json!([[record("e1")]]),
        ] {
            assert_eq!(found(&list), [("e1".to_owned(), None)], "{list}");
        }
        assert_eq!(
            found(&json!([record("e1").to_string()]))[0].1,
            Some(RecordShape::Text)
        );
    }

    #[test]
    fn unwrapping_stops_at_a_record() {
        let mut outer = record("e1");
        outer["requestParameters"]["detail"] = record("e2");
        outer["detail"] = record("e3");
        assert_eq!(found(&outer), [("e1".to_owned(), None)]);
    }

    #[test]
    fn a_record_says_what_happened_where_and_when_at_its_own_top_level() {
        let is_record = |value: &Value| is_record(&TopLevel::of(value.to_string().as_bytes()));
        assert!(is_record(&record("e1")));
        for key in ["eventTime", "eventSource", "eventName"] {
            for wrong in [Value::Null, json!({"a": 1}), json!(["x"]), json!(true)] {
                let mut other = record("e1");
                other[key] = wrong;
                assert!(!is_record(&other), "{other}");
            }
        }
        let mut numbered = record("e1");
        numbered["eventTime"] = json!(1_772_445_600);
        assert!(is_record(&numbered));
        numbered["eventSource"] = json!("aws:s3");
        assert!(!is_record(&numbered));
    }

    #[test]
    fn what_gives_no_record_is_told_apart() {
        let none = |value: Value| unwrapped(value.to_string().as_bytes()).unwrap_err();
        let key = |key: &str| NoRecord::UnknownEnvelope {
            keys: vec![key.to_owned()],
            lost: Vec::new(),
        };
        assert_eq!(
            none(json!({"note": {"eventSource": "kms.amazonaws.com"}})),
            key("note")
        );
        assert_eq!(none(json!({"a": record("e1").to_string()})), key("a"));
        let column = json!({"eventSource": "secretsmanager.amazonaws.com"});
        assert_eq!(none(column), NoRecord::Empty);
        assert_eq!(
            none(json!({"name": "web", "message": "hello"})),
            NoRecord::Other
        );
        assert_eq!(
            none(json!({"messageType": "CONTROL_MESSAGE", "logEvents": []})),
            NoRecord::Empty
        );
        let insight =
            json!({"eventTime": "t", "insightDetails": {"eventSource": "ssm.amazonaws.com"}});
        assert_eq!(none(insight), NoRecord::Other);
    }

    #[test]
    fn nesting_without_end_is_given_up() {
        let deep = format!("{}{}", "{\"records\":".repeat(50_000), "[".repeat(50_000));
        assert!(unwrapped(deep.as_bytes()).is_err());
    }
}
