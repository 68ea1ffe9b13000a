//! Observation parts: what of many log objects concerns us, in one small file. `secretrail.observations/1`.
//!
//! Gzip of JSON lines: a header; a line for each object, with what became of it, its counts, and where KMS events were seen;
//! the records that concern us as they were, by event time; and an end with counts, so that a part that was cut off is
//! known. Several parts may follow each other in one file. Equal content gives equal bytes. A record is kept as it was, and
//! not as it was understood, so that a replay of parts is a replay of the logs, with whatever rules.
//!
//! Times are seconds since 1970 in UTC. Frozen; a change makes a `/2`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use crate::coverage::CoverageMark;
use crate::digest::digest;
use crate::ids::Text;
use crate::object::Origin;
use crate::report::{Fate, Report, SkippedRecord};
use crate::rule::RuleSet;
use crate::rule::needs::NeededCalls;
use crate::rule_meta::RuleMeta;
use crate::scan::Harvest;
use crate::selection::Selection;
use crate::time::EventTime;

/// Name and version of this form.
pub const SCHEMA: &str = "secretrail.observations/1";

/// How the name of a part ends.
pub const ENDING: &str = ".observations.jsonl.gz";

/// Longest line in bytes: a record is much shorter, an object of many years and accounts may have many coverage marks.
const MAX_LINE_BYTES: u64 = 256 * 1024 * 1024;

/// Whether a name is that of a part.
#[must_use]
pub fn is_part(name: &str) -> bool {
    name.ends_with(ENDING)
}

/// The name of the part that is made of these objects, each with what tells its versions apart, for this purpose.
#[must_use]
pub fn name(header: &Header, objects: impl Iterator<Item = (String, String)>) -> String {
    // Cannot fail: every key is text.
    let mut parts = vec![
        SCHEMA.to_owned(),
        serde_json::to_string(&header.purpose()).unwrap_or_default(),
    ];
    parts.extend(objects.flat_map(|(name, tag)| [name, tag]));
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    format!("part-{}{ENDING}", digest(&parts))
}

/// What a part was made for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    schema: String,
    /// Calls of which other records than reads, key uses and changes were kept; `None` for every record.
    pub calls: Option<Vec<NeededCalls>>,
    /// First event time asked for.
    pub from: Option<i64>,
    /// First event time after those asked for.
    pub to: Option<i64>,
    /// Accounts asked for; empty for all.
    pub accounts: Vec<String>,
    /// Regions asked for; empty for all.
    pub regions: Vec<String>,
    /// Event times of the first record and of the last; `None` without records.
    pub span: Option<(i64, i64)>,
}

impl Header {
    /// The header of parts for these rules and this part of the logs. What else is selected is left to the replay.
    #[must_use]
    pub fn new(rules: &RuleSet, selection: &Selection) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            calls: rules.record_calls().map(|mut calls| {
                calls
                    .iter_mut()
                    .filter_map(|calls| calls.names.as_mut())
                    .for_each(|names| names.sort());
                calls.sort();
                calls
            }),
            from: selection.from.map(|time| time.0),
            to: selection.to.map(|time| time.0),
            accounts: selection.accounts.clone(),
            regions: selection.regions.clone(),
            span: None,
        }
    }

    /// The header without what its records decide: equal for parts of one run.
    #[must_use]
    pub fn purpose(&self) -> Self {
        Self {
            span: None,
            ..self.clone()
        }
    }

    /// The part of the logs that was asked for.
    #[must_use]
    pub fn selection(&self) -> Selection {
        Selection {
            from: self.from.map(EventTime),
            to: self.to.map(EventTime),
            accounts: self.accounts.clone(),
            regions: self.regions.clone(),
            ..Selection::default()
        }
    }

    /// Why the part cannot stand for its logs in a run with these rules and this selection; `None` when it can.
    #[must_use]
    pub fn lacks(&self, rules: &RuleSet, selection: &Selection) -> Option<String> {
        let needs: Vec<&RuleMeta> = rules.needing_beyond(self.calls.as_deref()).collect();
        if let Some(first) = needs.first() {
            let more = if needs.len() > 1 {
                format!(" and {} more", needs.len() - 1)
            } else {
                String::new()
            };
            return Some(format!(
                "the rule \"{}\" ({}){more} asks for records that were left out when the logs were extracted; extract again with \
                 these rules",
                first.title, first.file
            ));
        }
        let earlier = |ours: Option<i64>, theirs: Option<EventTime>| {
            ours.is_some_and(|ours| theirs.is_none_or(|theirs| theirs.0 < ours))
        };
        let later = |ours: Option<i64>, theirs: Option<EventTime>| {
            ours.is_some_and(|ours| theirs.is_none_or(|t| t.0 > ours))
        };
        let within = |ours: &[String], theirs: &[String]| {
            ours.is_empty()
                || (!theirs.is_empty() && theirs.iter().all(|their| ours.contains(their)))
        };
        let fits = !earlier(self.from, selection.from)
            && !later(self.to, selection.to)
            && within(&self.accounts, &selection.accounts)
            && within(&self.regions, &selection.regions);
        (!fits).then(|| {
            "the logs were extracted for less than is asked for now; use the same --from, --to, --account and --region, or \
             extract again"
                .to_owned()
        })
    }
}

/// One object of the logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name in the ledger.
    pub name: Text,
    /// What tells its versions apart: the ETag in S3, the size of a file.
    pub tag: String,
    /// Whether its place in an `AWSLogs` tree has decided on account and region.
    pub in_tree: bool,
    /// When it was delivered, by its name.
    pub delivered: Option<i64>,
    /// What became of it.
    pub fate: Fate,
    /// Bytes of JSON.
    pub bytes: u64,
    /// Records.
    pub records: u64,
    /// Records with bytes that are not UTF-8.
    pub repaired: u64,
    /// Key uses that only check access to a key.
    pub key_validations: u64,
    /// Records that could not be used, by reason.
    pub skipped: BTreeMap<SkippedRecord, u64>,
    /// Account, region, and hours since 1970 in which KMS events were seen.
    pub coverage: Vec<(Text, Text, Vec<i64>)>,
}

impl Entry {
    /// Counts of the object, as a replay of it would have them.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = Report {
            bytes: self.bytes,
            records: self.records,
            records_repaired: self.repaired,
            key_validations: self.key_validations,
            records_skipped: self.skipped.clone(),
            ..Report::default()
        };
        match &self.fate {
            Fate::Read => report.objects = 1,
            Fate::PassedOver(reason) => report.skip_object(*reason),
            Fate::Failed(_) => report.objects_failed = 1,
        }
        report
    }

    /// Where its records come from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin {
            object: self.name.clone(),
            delivered: self.delivered.map(EventTime),
        }
    }

    /// Where KMS events were seen.
    pub fn marks(&self) -> impl Iterator<Item = CoverageMark> + '_ {
        self.coverage.iter().flat_map(|(account, region, hours)| {
            hours.iter().map(|hour| CoverageMark {
                account: account.clone(),
                region: region.clone(),
                bucket: *hour,
            })
        })
    }

    /// Coverage marks in the form of an entry.
    #[must_use]
    pub fn coverage(marks: impl IntoIterator<Item = CoverageMark>) -> Vec<(Text, Text, Vec<i64>)> {
        let mut places: BTreeMap<(Text, Text), BTreeSet<i64>> = BTreeMap::new();
        for mark in marks {
            places
                .entry((mark.account, mark.region))
                .or_default()
                .insert(mark.bucket);
        }
        places
            .into_iter()
            .map(|((account, region), hours)| (account, region, hours.into_iter().collect()))
            .collect()
    }
}

/// An object, and its records that concern us, each with its event time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extracted {
    /// The object.
    pub entry: Entry,
    /// Its records, in any order.
    pub records: Vec<(EventTime, String)>,
}

impl Extracted {
    /// What one object came to. The records are taken out of its harvest, which was made by a scanner that keeps them.
    #[must_use]
    pub fn of(
        origin: &Origin,
        tag: String,
        in_tree: bool,
        fate: &Fate,
        harvest: &mut Harvest,
    ) -> Self {
        let report = &harvest.report;
        let entry = Entry {
            name: origin.object.clone(),
            tag,
            in_tree,
            delivered: origin.delivered.map(|time| time.0),
            fate: fate.clone(),
            bytes: report.bytes,
            records: report.records,
            repaired: report.records_repaired,
            key_validations: report.key_validations,
            skipped: report.records_skipped.clone(),
            coverage: Entry::coverage(harvest.coverage.iter().cloned()),
        };
        Self {
            entry,
            records: std::mem::take(&mut harvest.kept),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum LineOut<'a> {
    Object(&'a Entry),
    End(End),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum LineIn {
    Object(Box<Entry>),
    End(End),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    objects: usize,
    records: usize,
}

/// How a line with a record begins; nothing else does.
const RECORD: &str = "{\"of\":";

/// Object, time and text of a line with a record. The text is as it was written: whoever reads it sees whether it is JSON.
fn record_line(line: &[u8]) -> Option<(usize, i64, &str)> {
    let rest = std::str::from_utf8(line)
        .ok()?
        .trim_end()
        .strip_prefix(RECORD)?
        .strip_suffix('}')?;
    let (of, rest) = rest.split_once(",\"time\":")?;
    let (time, record) = rest.split_once(",\"record\":")?;
    Some((of.parse().ok()?, time.parse().ok()?, record))
}

/// Writes a part. Objects may come in any order.
#[must_use]
pub fn write(header: &Header, mut objects: Vec<Extracted>) -> Vec<u8> {
    objects.sort_by(|a, b| a.entry.name.cmp(&b.entry.name));
    let mut records: Vec<(EventTime, usize, String)> = Vec::new();
    for (index, object) in objects.iter_mut().enumerate() {
        records.extend(
            std::mem::take(&mut object.records)
                .into_iter()
                .map(|(time, text)| (time, index, text)),
        );
    }
    records.sort();
    let span = records
        .first()
        .zip(records.last())
        .map(|(first, last)| (first.0.0, last.0.0));
    let mut out = GzEncoder::new(Vec::new(), Compression::new(6));
    // Cannot fail: the bytes go to memory, and every key is text.
    let mut line = |text: String| {
        out.write_all(text.as_bytes())
            .and_then(|()| out.write_all(b"\n"))
            .unwrap_or_default()
    };
    let json = |line: &LineOut<'_>| serde_json::to_string(line).unwrap_or_default();
    line(
        serde_json::to_string(&Header {
            span,
            ..header.clone()
        })
        .unwrap_or_default(),
    );
    objects
        .iter()
        .for_each(|object| line(json(&LineOut::Object(&object.entry))));
    for (time, index, text) in &records {
        // A line break in JSON is white space: inside a string it would be escaped.
        let text = text.replace(['\n', '\r'], " ");
        line(format!(
            "{RECORD}{index},\"time\":{},\"record\":{text}}}",
            time.0
        ));
    }
    line(json(&LineOut::End(End {
        objects: objects.len(),
        records: records.len(),
    })));
    out.finish().unwrap_or_default()
}

/// Why a part could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// It ends too early, or its bytes are damaged.
    #[error("the part is cut off or damaged ({0}); extract it again")]
    Broken(String),
    /// It was written by something else.
    #[error("is not a part that this version reads ({0}); it reads {SCHEMA}")]
    Foreign(String),
}

/// Reads a part, record by record. Further parts in the same bytes follow with [`Self::next_part`].
pub struct PartReader<R> {
    source: R,
    line: Vec<u8>,
    /// What it was made for.
    pub header: Header,
    /// Its objects; whoever has no more need of them may take them away.
    pub entries: Vec<Entry>,
    objects: usize,
    read: usize,
    /// A line that was read and not given yet.
    held: bool,
    ended: bool,
}

impl<R: BufRead> PartReader<R> {
    /// Reads header and objects, from inflated bytes; `None` where there is nothing any more.
    ///
    /// # Errors
    ///
    /// See [`PartError`].
    pub fn new(source: R) -> Result<Option<Self>, PartError> {
        let (line, header, entries) = (Vec::new(), Header::default(), Vec::new());
        let mut reader = Self {
            source,
            line,
            header,
            entries,
            objects: 0,
            read: 0,
            held: false,
            ended: false,
        };
        Ok(reader.open()?.then_some(reader))
    }

    /// Goes on to the part that follows this one, which must have been read to its end; `None` when none does.
    ///
    /// # Errors
    ///
    /// See [`PartError`].
    pub fn next_part(mut self) -> Result<Option<Self>, PartError> {
        Ok(self.open()?.then_some(self))
    }

    fn open(&mut self) -> Result<bool, PartError> {
        if !self.next_line()? {
            return Ok(false);
        }
        let foreign = |error: serde_json::Error| PartError::Foreign(error.to_string());
        self.header = serde_json::from_slice(&self.line).map_err(foreign)?;
        if self.header.schema != SCHEMA {
            return Err(PartError::Foreign(self.header.schema.clone()));
        }
        (self.entries, self.objects, self.read, self.ended) = (Vec::new(), 0, 0, false);
        loop {
            if !self.next_line()? {
                return Err(PartError::Broken("it has no end".to_owned()));
            }
            if self.line.starts_with(RECORD.as_bytes()) {
                self.held = true;
                return Ok(true);
            }
            match serde_json::from_slice(&self.line)
                .map_err(|error| PartError::Broken(error.to_string()))?
            {
                LineIn::Object(entry) => {
                    self.entries.push(*entry);
                    self.objects += 1;
                }
                LineIn::End(end) => return self.close(end).map(|()| true),
            }
        }
    }

    /// The next record: the number of its object, its event time, and its text.
    ///
    /// # Errors
    ///
    /// See [`PartError`].
    pub fn next_record(&mut self) -> Result<Option<(usize, EventTime, &str)>, PartError> {
        if self.ended {
            return Ok(None);
        }
        if !std::mem::take(&mut self.held) && !self.next_line()? {
            return Err(PartError::Broken("it has no end".to_owned()));
        }
        if !self.line.starts_with(RECORD.as_bytes()) {
            let line = serde_json::from_slice(&self.line)
                .map_err(|error| PartError::Broken(error.to_string()))?;
            let LineIn::End(end) = line else {
                return Err(PartError::Broken("an object follows a record".to_owned()));
            };
            return self.close(end).map(|()| None);
        }
        self.read += 1;
        let not_one = || PartError::Broken("a line is not a record".to_owned());
        let (of, time, record) = record_line(&self.line).ok_or_else(not_one)?;
        if of >= self.objects {
            return Err(PartError::Broken(format!(
                "a record of object {of} of {}",
                self.objects
            )));
        }
        Ok(Some((of, EventTime(time), record)))
    }

    fn close(&mut self, end: End) -> Result<(), PartError> {
        self.ended = true;
        let read = End {
            objects: self.objects,
            records: self.read,
        };
        if end == read {
            Ok(())
        } else {
            Err(PartError::Broken(format!(
                "it should hold {end:?} and holds {read:?}"
            )))
        }
    }

    fn next_line(&mut self) -> Result<bool, PartError> {
        self.line.clear();
        let read = (&mut self.source)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut self.line);
        read.map_err(|error| PartError::Broken(error.to_string()))?;
        Ok(!self.line.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use flate2::bufread::MultiGzDecoder;

    use super::*;

    fn object(name: &str, records: &[(i64, &str)]) -> Extracted {
        let entry = Entry {
            name: name.into(),
            tag: "t".to_owned(),
            in_tree: true,
            delivered: Some(7),
            fate: Fate::Read,
            bytes: 1,
            records: 2,
            repaired: 0,
            key_validations: 0,
            skipped: BTreeMap::from([(SkippedRecord::Malformed, 1)]),
            coverage: vec![("1".into(), "r".into(), vec![3, 4])],
        };
        Extracted {
            entry,
            records: records
                .iter()
                .map(|(time, text)| (EventTime(*time), (*text).to_owned()))
                .collect(),
        }
    }

    fn read(bytes: &[u8]) -> Result<Vec<String>, PartError> {
        let mut found = Vec::new();
        let mut part = PartReader::new(BufReader::new(MultiGzDecoder::new(bytes)))?;
        while let Some(mut reader) = part {
            found.push(format!(
                "{:?}",
                reader.entries.iter().map(|e| &*e.name).collect::<Vec<_>>()
            ));
            while let Some((of, time, text)) = reader.next_record()? {
                found.push(format!("{of} {} {text}", time.0));
            }
            part = reader.next_part()?;
        }
        Ok(found)
    }

    #[test]
    fn what_is_read_is_what_was_written_by_time() {
        let header = Header {
            schema: SCHEMA.to_owned(),
            ..Header::default()
        };
        let (b, a) = (
            object("b", &[(5, "{\"x\":\n1}"), (1, "{}")]),
            object("a", &[(3, "{\"of\":9}")]),
        );
        let part = write(&header, vec![b.clone(), a.clone()]);
        assert_eq!(
            part,
            write(&header, vec![a, b]),
            "equal content, equal bytes"
        );
        let expected = [
            r#"["a", "b"]"#,
            "1 1 {}",
            "0 3 {\"of\":9}",
            "1 5 {\"x\": 1}",
        ];
        assert_eq!(read(&part).unwrap(), expected);
        let both = [part.clone(), write(&header, Vec::new()), part.clone()].concat();
        assert_eq!(
            read(&both).unwrap(),
            [&expected[..], &["[]"], &expected].concat()
        );
        for cut in 0..part.len() {
            let cut_off = read(&part[..cut]);
            assert!(cut == 0 || cut_off.is_err(), "{cut} of {}", part.len());
        }
    }
}
