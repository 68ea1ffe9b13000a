//! Writes extract files.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use serde::Serialize;

use crate::{
    extract_file::{
        entry::ExtractedObject,
        header::ExtractHeader,
        line::{ExtractEnd, ExtractRecord, WrittenLine},
    },
    time::EventTime,
};

/// Writes an extract file. Objects may come in any order.
#[must_use]
pub fn write(header: &ExtractHeader, mut objects: Vec<ExtractedObject>) -> Vec<u8> {
    // Records name their object by its index in this order, so that equal content gives equal
    // bytes.
    objects.sort_by(|a, b| a.entry.name.cmp(&b.entry.name));
    let records = by_time(&mut objects);
    let ends = records.first().zip(records.last());
    let mut out = LineEncoder(GzEncoder::new(Vec::new(), Compression::new(6)));
    out.json(&ExtractHeader {
        span: ends.map(|(first, last)| (first.time.0, last.time.0)),
        ..header.clone()
    });
    for object in &objects {
        out.json(&WrittenLine::Object(&object.entry));
    }
    for record in &records {
        out.line(&record.extract_record().to_line());
    }
    out.json(&WrittenLine::End(ExtractEnd {
        objects: objects.len(),
        records: records.len(),
    }));
    out.finish()
}

/// A record, and the index of its object in the sorted list. Lines are in this order, also within
/// one second, so that equal content gives equal bytes.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct TimedRecord {
    time: EventTime,
    object: usize,
    delivered: Option<EventTime>,
    text: String,
}

impl TimedRecord {
    fn extract_record(&self) -> ExtractRecord<'_> {
        ExtractRecord {
            object: self.object,
            time: self.time,
            delivered: self.delivered,
            text: &self.text,
        }
    }
}

/// Takes the records out of their objects, and sorts them.
fn by_time(objects: &mut [ExtractedObject]) -> Vec<TimedRecord> {
    let mut records = Vec::new();
    for (index, object) in objects.iter_mut().enumerate() {
        let taken = std::mem::take(&mut object.records).into_iter();
        records.extend(taken.map(|record| TimedRecord {
            time: record.time,
            object: index,
            delivered: record.delivered,
            text: record.text,
        }));
    }
    // Across all objects: a replay merges extract files by time without holding them in memory.
    records.sort();
    records
}

/// Lines, compressed to memory, which cannot fail.
struct LineEncoder(GzEncoder<Vec<u8>>);

impl LineEncoder {
    fn line(&mut self, text: &str) {
        let written = self.0.write_all(text.as_bytes());
        written
            .and_then(|()| self.0.write_all(b"\n"))
            .unwrap_or_default();
    }

    /// A line of JSON. Cannot fail: every key is text.
    fn json(&mut self, value: &impl Serialize) {
        self.line(&serde_json::to_string(value).unwrap_or_default());
    }

    fn finish(self) -> Vec<u8> {
        self.0.finish().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        coverage::CoverageMark,
        object::origin,
        report::ObjectStatus,
        scan::{KeptRecord, ScanResult},
    };

    fn object(name: &str, records: &[(i64, &str)]) -> ExtractedObject {
        let records = records.iter();
        let mut scan_result = ScanResult {
            kept: records
                .map(|(time, text)| KeptRecord::new(EventTime(*time), (*text).to_owned()))
                .collect(),
            ..ScanResult::default()
        };
        let origin = origin(name);
        ExtractedObject::of(
            &origin,
            "t".to_owned(),
            false,
            &ObjectStatus::Read,
            &mut scan_result,
        )
    }

    fn lines(objects: Vec<ExtractedObject>) -> Vec<String> {
        let part = write(&ExtractHeader::default(), objects);
        let text = std::io::read_to_string(flate2::bufread::MultiGzDecoder::new(&*part)).unwrap();
        text.lines().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn a_line_break_in_a_record_makes_no_line() {
        let lines = lines(vec![object("a", &[(1, "{\r\n\"x\":\n1}")])]);
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[2], r#"{"of":0,"time":1,"record":{  "x": 1}}"#);
    }

    #[test]
    fn records_of_one_second_are_in_one_order() {
        let one = object("a", &[(1, "{\"y\":1}"), (1, "{\"x\":1}"), (0, "{}")]);
        let other = object("b", &[(1, "{}")]);
        let sorted = lines(vec![one.clone(), other.clone()]);
        assert_eq!(lines(vec![other, one]), sorted);
        let of: Vec<&str> = sorted[3..7].iter().map(|line| &**line).collect();
        let expected = [
            r#"{"of":0,"time":0,"record":{}}"#,
            r#"{"of":0,"time":1,"record":{"x":1}}"#,
            r#"{"of":0,"time":1,"record":{"y":1}}"#,
            r#"{"of":1,"time":1,"record":{}}"#,
        ];
        assert_eq!(of, expected);
    }

    #[test]
    fn an_extract_file_without_records_has_no_span() {
        assert!(lines(vec![object("a", &[])])[0].ends_with("\"span\":null}"));
        assert!(lines(vec![object("a", &[(7, "{}"), (5, "{}")])])[0].ends_with("[5,7]}"));
    }

    #[test]
    fn places_are_written_in_order() {
        let mark = |region: &str, hour| CoverageMark {
            account: "1".into(),
            region: region.into(),
            bucket: hour,
            hours: 1,
        };
        let mut object = object("a", &[]);
        object.entry.coverage = crate::extract_file::ExtractEntry::coverage([
            mark("z", 9),
            mark("a", 4),
            mark("a", 3),
            mark("a", 4),
        ]);
        let expected = r#""coverage":[["1","a",[3,4]],["1","z",[9]]]}}"#;
        assert!(lines(vec![object])[1].ends_with(expected));
    }
}
