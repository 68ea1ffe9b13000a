//! Writes parts.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use crate::part::entry::Extracted;
use crate::part::header::Header;
use crate::part::line::{End, LineOut, PartRecord};
use crate::time::EventTime;

/// Writes a part. Objects may come in any order.
#[must_use]
pub fn write(header: &Header, mut objects: Vec<Extracted>) -> Vec<u8> {
    objects.sort_by(|a, b| a.entry.name.cmp(&b.entry.name));
    let records = by_time(&mut objects);
    let ends = records.first().zip(records.last());
    let mut out = LineEncoder(GzEncoder::new(Vec::new(), Compression::new(6)));
    out.json(&Header {
        span: ends.map(|(first, last)| (first.time.0, last.time.0)),
        ..header.clone()
    });
    for object in &objects {
        out.json(&LineOut::Object(&object.entry));
    }
    for record in &records {
        out.line(&record.part_record().to_line());
    }
    out.json(&LineOut::End(End {
        objects: objects.len(),
        records: records.len(),
    }));
    out.finish()
}

/// A record, and which of the sorted objects it is of. The order is that of the lines: of records
/// of one second too, or equal content would not give equal bytes.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct TimedRecord {
    time: EventTime,
    object: usize,
    text: String,
}

impl TimedRecord {
    fn part_record(&self) -> PartRecord<'_> {
        PartRecord {
            object: self.object,
            time: self.time,
            text: &self.text,
        }
    }
}

/// Takes the records out of their objects.
fn by_time(objects: &mut [Extracted]) -> Vec<TimedRecord> {
    let mut records = Vec::new();
    for (index, object) in objects.iter_mut().enumerate() {
        let taken = std::mem::take(&mut object.records).into_iter();
        records.extend(taken.map(|(time, text)| TimedRecord {
            time,
            object: index,
            text,
        }));
    }
    records.sort();
    records
}

/// Lines, compressed to memory; which cannot fail.
struct LineEncoder(GzEncoder<Vec<u8>>);

impl LineEncoder {
    fn line(&mut self, text: &str) {
        let written = self.0.write_all(text.as_bytes());
        written
            .and_then(|()| self.0.write_all(b"\n"))
            .unwrap_or_default();
    }

    /// A line of JSON. Its keys are texts, so that it can be written.
    fn json(&mut self, value: &impl Serialize) {
        self.line(&serde_json::to_string(value).unwrap_or_default());
    }

    fn finish(self) -> Vec<u8> {
        self.0.finish().unwrap_or_default()
    }
}
