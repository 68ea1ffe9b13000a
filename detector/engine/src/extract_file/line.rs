//! The lines of an extract file after its header.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use crate::{extract_file::entry::ExtractEntry, object::RecordOrigin, time::EventTime};

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WrittenLine<'a> {
    Object(&'a ExtractEntry),
    End(ExtractEnd),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ParsedLine {
    Object(Box<ExtractEntry>),
    End(ExtractEnd),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ExtractEnd {
    pub(super) objects: usize,
    pub(super) records: usize,
}

impl fmt::Display for ExtractEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count| if count == 1 { "" } else { "s" };
        let (objects, records) = (self.objects, self.records);
        write!(
            f,
            "{records} record{} of {objects} object{}",
            plural(records),
            plural(objects)
        )
    }
}

/// How a line with a record begins; no other line does.
pub(super) const RECORD: &str = "{\"of\":";

const TIME: &str = ",\"time\":";

const DELIVERED: &str = ",\"delivered\":";

const TEXT: &str = ",\"record\":";

/// A record in an extract file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtractRecord<'a> {
    /// Index of its object in the extract file, from 0.
    pub object: usize,
    /// Its event time.
    pub time: EventTime,
    /// Delivery time of the member of an archive that held it; `None` where it is that of its
    /// object.
    pub delivered: Option<EventTime>,
    /// The record as in the logs, but on one line.
    pub text: &'a str,
}

impl<'a> ExtractRecord<'a> {
    /// Parses a line. The text is taken as written: its reader finds out whether it is JSON.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        // Not as JSON: an extract file is read many times, and its records are then scanned anyway,
        // which should take most of the time.
        let line = std::str::from_utf8(line).ok()?.trim_end();
        let rest = line.strip_prefix(RECORD)?.strip_suffix('}')?;
        let (object, rest) = rest.split_once(TIME)?;
        let (times, text) = rest.split_once(TEXT)?;
        let seconds = |text: &str| text.parse().ok().map(EventTime);
        let (time, delivered) = match times.split_once(DELIVERED) {
            Some((time, delivered)) => (time, Some(seconds(delivered)?)),
            None => (times, None),
        };
        Some(Self {
            object: object.parse().ok()?,
            time: seconds(time)?,
            delivered,
            text,
        })
    }

    /// Its line, without the line break.
    pub(super) fn to_line(self) -> String {
        // A line break in JSON is white space; inside a string it would be escaped.
        let text = self.text.replace(['\n', '\r'], " ");
        let delivered = self
            .delivered
            .map(|time| format!("{DELIVERED}{}", time.0))
            .unwrap_or_default();
        let (object, time) = (self.object, self.time.0);
        format!("{RECORD}{object}{TIME}{time}{delivered}{TEXT}{text}}}")
    }

    /// Its origin, of that of its object.
    #[must_use]
    pub fn origin<'o>(&self, object: &'o RecordOrigin) -> Cow<'o, RecordOrigin> {
        self.delivered.map_or(Cow::Borrowed(object), |delivered| {
            Cow::Owned(RecordOrigin {
                delivered: Some(delivered),
                ..object.clone()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_from_its_line() {
        for text in [
            "{}",
            "{\"record\":{\"time\":1}}",
            "{\",\\\"record\\\":\":1}",
            "not JSON",
        ] {
            for delivered in [None, Some(EventTime(40))] {
                let record = ExtractRecord {
                    object: 12,
                    time: EventTime(-3),
                    delivered,
                    text,
                };
                let line = record.to_line();
                assert_eq!(
                    ExtractRecord::parse(line.as_bytes()),
                    Some(record),
                    "{line}"
                );
                let ended = format!("{line}\n");
                assert_eq!(ExtractRecord::parse(ended.as_bytes()), Some(record));
            }
        }
    }

    #[test]
    fn a_truncated_line_is_no_record() {
        let line = b"{\"of\":1,\"time\":2,\"delivered\":3,\"record\":[]}";
        for cut in 0..line.len() {
            assert_eq!(ExtractRecord::parse(&line[..cut]), None, "{cut}");
        }
        assert_eq!(
            ExtractRecord::parse(b"{\"of\":-1,\"time\":2,\"record\":[]}"),
            None
        );
        assert_eq!(
            ExtractRecord::parse(b"{\"of\":1,\"time\":2,\"record\":\"\xff\"}"),
            None
        );
    }
}
