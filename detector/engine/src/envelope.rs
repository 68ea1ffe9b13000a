//! Envelopes: what other systems wrap CloudTrail records in, and the records inside.
//!
//! A unit is a record if its own top level says what happened, where and when. Anything else is
//! unwrapped, at most [`MAX_ENVELOPES`] deep, or counted; it is never ignored.

use std::borrow::Cow;

use ahash::HashSet;
use memchr::memmem;

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
}

/// The records in a unit that is none itself: in its envelopes.
pub(crate) fn unwrapped(unit: &[u8]) -> Result<Unwrapped, NoRecord> {
    let mut search = RecordSearch::default();
    search.value(unit, Place::default());
    let RecordSearch {
        found: records,
        lost,
        is_known,
    } = search;
    if !records.is_empty() {
        return Ok(Unwrapped { records, lost });
    }
    let top = TopLevel::of(unit);
    if top.is_whole() && (is_column(&top) || is_empty_list(&top)) {
        return Err(NoRecord::Empty);
    }
    if !names_a_service(unit) {
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
    let is_text = |key| top.get(key).is_some_and(|value| value.starts_with(b"\""));
    let is_number = |value: &[u8]| value.first().is_some_and(u8::is_ascii_digit);
    let source = top.get("eventSource");
    is_text("eventName")
        && (is_text("eventTime") || top.get("eventTime").is_some_and(is_number))
        && source.is_some_and(|source| source.starts_with(b"\"") && !source.starts_with(b"\"aws:"))
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

/// Whether bytes have a field of CloudTrail records and the name of an AWS service, as JSON or as
/// text in JSON.
fn names_a_service(bytes: &[u8]) -> bool {
    // Insights events name a service inside `insightDetails`, and are no calls.
    memmem::find(bytes, b"eventSource").is_some()
        && memmem::find(bytes, b".amazonaws.com").is_some()
        && memmem::find(bytes, b"insightDetails").is_none()
}

/// A search for records.
#[derive(Default)]
struct RecordSearch {
    found: Vec<FoundRecord>,
    /// Values of lists and texts that name a service and gave no record.
    lost: Vec<Vec<u8>>,
    /// Whether an envelope was recognised that rightly holds no record.
    is_known: bool,
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

/// Part of an envelope in which records may be.
struct InnerValue<'v> {
    value: &'v [u8],
    /// The envelope; `None` for a list under a common name.
    shape: Option<RecordShape>,
}

/// Keys of lists of records, in lower case: the splitter splits those at the top level of an
/// object. A list is no envelope of its own.
pub(crate) const LISTS: [&str; 8] = [
    "records",
    "tables",
    "events",
    "data",
    "logevents",
    "queryresultrows",
    "results",
    "messages",
];

/// Keys of lists beside which there may be records, too, so that they are not split at once.
const OTHER_LISTS: [&str; 3] = ["hits", "rows", "logs"];

/// Envelopes by the path of keys to what they hold. More specific ones come first: shippers hold
/// a record twice, parsed and as text, and the first that gives one counts.
const ENVELOPES: [(&[&str], RecordShape); 26] = [
    (&["CloudTrailEvent"], RecordShape::LookupEvents),
    (&["eventJson"], RecordShape::Lake),
    (&["eventjson"], RecordShape::Lake),
    (&["detail"], RecordShape::EventBridge),
    (&["_source"], RecordShape::Elasticsearch),
    (&["hits", "hits"], RecordShape::Elasticsearch),
    (&["data", "aws"], RecordShape::Wazuh),
    (&["content", "attributes"], RecordShape::Datadog),
    (&["attributes", "attributes"], RecordShape::Datadog),
    (&["attributes"], RecordShape::Datadog),
    (&["logEvents"], RecordShape::CloudWatchLogs),
    (&["result", "_raw"], RecordShape::Splunk),
    (&["result"], RecordShape::Splunk),
    (&["_raw"], RecordShape::Splunk),
    (&["event", "original"], RecordShape::Beats),
    (&["event"], RecordShape::SplunkHec),
    (&["event.original"], RecordShape::Beats),
    (&["@message"], RecordShape::CloudWatchLogs),
    (&["Sns", "Message"], RecordShape::Sns),
    (&["Message"], RecordShape::Sns),
    (&["Body"], RecordShape::Sqs),
    (&["body"], RecordShape::Sqs),
    (&["message"], RecordShape::Beats),
    (&["content"], RecordShape::Datadog),
    (&["fields"], RecordShape::Elasticsearch),
    (&["log"], RecordShape::Beats),
];

impl RecordSearch {
    /// Searches a value: an object, an array, or text with JSON in it. Returns whether it gave a
    /// record.
    fn value(&mut self, value: &[u8], place: Place) -> bool {
        let before = self.found.len();
        match value.first() {
            Some(b'{') => self.object(value, place),
            Some(b'[') => self.values(value, place),
            Some(b'"') => {
                // Text may hold several values, as JSON lines do.
                let text = text_of(value).unwrap_or_default();
                let text = text.trim();
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
            return self.lose(text);
        };
        let (before, lost) = (self.found.len(), self.lost.len());
        let values = values(text);
        for value in &values {
            let lost = self.lost.len();
            // What is lost in a value is named by its innermost part.
            if !self.value(value, place) && self.lost.len() == lost {
                self.lose(value);
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

    /// Notes a value that gave no record although it names a service.
    fn lose(&mut self, value: &[u8]) {
        let text = text_of(value);
        let value = text.as_deref().map_or(value, str::as_bytes);
        let top = TopLevel::of(value);
        if names_a_service(value) && !(top.is_whole() && is_column(&top)) {
            self.lost.push(value.trim_ascii().to_owned());
        }
    }

    fn row(&mut self, row: RowRecord) {
        self.found.push(FoundRecord {
            bytes: row.bytes,
            shape: Some(row.shape),
        });
    }

    fn object(&mut self, value: &[u8], place: Place) {
        let top = TopLevel::of(value);
        if is_record(&top) {
            self.found.push(FoundRecord {
                bytes: value.to_owned(),
                shape: place.shape.or_else(|| row_shape(&top)),
            });
            return;
        }
        self.is_known |= is_without_records(&top);
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
                self.lose(inner.value);
            }
        } else if let Some(row) = row::record(value, &top) {
            self.row(row);
        } else {
            self.table(&top);
        }
    }

    /// Searches the parts of an object in which records may be. Returns whether one gave a record.
    fn inner(&mut self, top: &TopLevel<'_>, place: Place) -> bool {
        let first = self.found.len();
        let mut gave: Vec<&[u8]> = Vec::new();
        // A record may be damaged in one place and whole in another. A list is no such copy.
        let mut damaged = Vec::new();
        for InnerValue { value, shape } in inner_values(top) {
            let is_list = value.starts_with(b"[");
            let Some(place) = place.inside(shape, is_list) else {
                continue;
            };
            // `hits.hits` is a part of `hits`: what gave records is not searched again around them.
            if gave.iter().any(|other| overlap(other, value)) {
                continue;
            }
            let lost = self.lost.len();
            let has_records = if gave.is_empty() {
                self.value(value, place)
            } else {
                names_a_service(value) && self.beside(first, value, place)
            };
            if has_records {
                gave.push(value);
            } else if !is_list {
                damaged.extend(self.lost.drain(lost..));
            }
        }
        if gave.is_empty() {
            self.lost.append(&mut damaged);
        }
        !gave.is_empty()
    }

    /// Searches a part of an object beside one that gave records, from the one at `first` on.
    /// Shippers hold a record twice, parsed and as text: only those count that were not found
    /// before. Returns whether there were such.
    fn beside(&mut self, first: usize, value: &[u8], place: Place) -> bool {
        let mut search = Self::default();
        search.value(value, place);
        self.lost.append(&mut search.lost);
        if search.found.is_empty() {
            return false;
        }
        let known: HashSet<_> = self
            .found
            .iter()
            .skip(first)
            .map(|found| identity(&found.bytes))
            .collect();
        let mut found = search.found;
        found.retain(|found| !known.contains(&identity(&found.bytes)));
        drop(known);
        let has_new = !found.is_empty();
        self.found.append(&mut found);
        has_new
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
            let cells = names.iter().map(|name| &**name).zip(values(row));
            if let Some(row) = row::record_of_cells(cells) {
                self.row(row);
            }
        }
    }
}

/// Whether two parts of one text share bytes.
fn overlap(one: &[u8], other: &[u8]) -> bool {
    let (one, other) = (one.as_ptr_range(), other.as_ptr_range());
    one.start < other.end && other.start < one.end
}

/// What two copies of a record in one envelope share; without an `eventID`, all of it.
fn identity(record: &[u8]) -> Vec<Cow<'_, str>> {
    let top = TopLevel::of(record);
    let keys = ["eventID", "eventSource", "eventName", "eventTime"];
    let known: Vec<_> = keys.iter().filter_map(|key| top.text(key)).collect();
    if known.len() == keys.len() {
        known
    } else {
        vec![String::from_utf8_lossy(record)]
    }
}

/// The parts of an object in which records may be, the likeliest first.
fn inner_values<'v>(top: &TopLevel<'v>) -> Vec<InnerValue<'v>> {
    let mut inner: Vec<InnerValue<'v>> = Vec::new();
    // A row of Logs Insights: one object for each column.
    if top.text("field").as_deref() == Some("@message") {
        inner.extend(top.get("value").map(|value| InnerValue {
            value,
            shape: Some(RecordShape::CloudWatchLogs),
        }));
    }
    for (path, shape) in ENVELOPES {
        let value = match path {
            [key] => top.get(key),
            [key, next] => top.get(key).and_then(|value| TopLevel::of(value).get(next)),
            _ => None,
        };
        inner.extend(value.map(|value| InnerValue {
            value,
            shape: Some(shape_of(shape, top)),
        }));
    }
    for (key, value) in top.iter() {
        let name = key.to_lowercase();
        if LISTS.contains(&&*name) || OTHER_LISTS.contains(&&*name) {
            let shape = (key == "Records").then_some(RecordShape::Records);
            inner.push(InnerValue { value, shape });
        }
    }
    inner
}

/// `message` is also the text of an event of CloudWatch Logs, which has a time in milliseconds.
fn shape_of(shape: RecordShape, top: &TopLevel<'_>) -> RecordShape {
    let is_log_event = shape == RecordShape::Beats && top.get("timestamp").is_some();
    if is_log_event && top.get("@timestamp").is_none() {
        RecordShape::CloudWatchLogs
    } else {
        shape
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
