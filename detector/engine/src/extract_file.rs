//! Extract files: the relevant content of many log objects in one small file. Schema
//! `secretrail.extract/1`.
//!
//! Gzip of JSON lines: a header; a line for each object, with its status, its counts, and where KMS
//! events were seen; the relevant records as they were, by event time; and an end with counts,
//! which reveals truncation. Several extract files may be concatenated. Equal content gives equal
//! bytes. Records are kept verbatim, not in parsed form, so that a replay of extract files equals a
//! replay of the logs, with any rules.
//!
//! Times are seconds since 1970 in UTC. The format is frozen; a change makes a `/2`.

mod header;

mod stretches;

mod entry;
mod line;

mod read;
mod write;

use crate::digest::digest;

pub use self::{
    entry::{CoveredPlace, ExtractEntry, ExtractedObject},
    header::{ExtractHeader, ExtractShortfall, SCHEMA},
    line::ExtractRecord,
    read::{ExtractFileError, ExtractFileReader, Inflated},
    write::write,
};

/// Suffix of the name of an extract file.
pub const ENDING: &str = ".extract.jsonl.gz";

/// Whether a name is that of an extract file.
#[must_use]
pub fn is_extract_file(name: &str) -> bool {
    name.ends_with(ENDING)
}

/// Name of the extract file for this purpose and these objects, each with the tag of its version.
#[must_use]
pub fn name(header: &ExtractHeader, objects: impl Iterator<Item = (String, String)>) -> String {
    // Cannot fail: every key is text.
    let purpose = serde_json::to_string(&header.purpose()).unwrap_or_default();
    let mut parts = vec![SCHEMA.to_owned(), purpose];
    parts.extend(objects.flat_map(|(name, tag)| [name, tag]));
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    format!("secretrail-{}{ENDING}", digest(&parts))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::BufReader};

    use flate2::bufread::MultiGzDecoder;

    use super::*;
    use crate::{
        coverage::CoverageMark,
        report::{ObjectStatus, SkippedRecord},
        rule::RuleSet,
        scan::KeptRecord,
        selection::Selection,
        time::EventTime,
    };

    fn header() -> ExtractHeader {
        ExtractHeader {
            calls: Some(Vec::new()),
            ..ExtractHeader::new(&RuleSet::default(), &Selection::default())
        }
    }

    fn object(name: &str, records: &[(i64, &str)]) -> ExtractedObject {
        let mark = |hour| CoverageMark {
            account: "1".into(),
            region: "r".into(),
            bucket: hour,
            hours: 1,
        };
        let entry = ExtractEntry {
            name: name.into(),
            tag: "t".to_owned(),
            in_tree: true,
            delivered: Some(7),
            object_status: ObjectStatus::Read,
            bytes: 1,
            records: 2,
            shapes: BTreeMap::new(),
            unknown_envelopes: [].into(),
            repaired: 0,
            mistyped: 0,
            without_zone: 0,
            ahead: 0,
            unreadable: None,
            key_validations: 0,
            skipped: BTreeMap::from([(SkippedRecord::Malformed, 1)]),
            coverage: ExtractEntry::coverage([mark(4), mark(3)]),
        };
        let records = records.iter();
        ExtractedObject {
            entry,
            records: records
                .map(|(time, text)| KeptRecord::new(EventTime(*time), (*text).to_owned()))
                .collect(),
        }
    }

    fn read(bytes: &[u8]) -> Result<Vec<String>, ExtractFileError> {
        let mut found = Vec::new();
        let mut part = ExtractFileReader::new(BufReader::new(MultiGzDecoder::new(bytes)))?;
        while let Some(mut reader) = part {
            let names: Vec<&str> = reader.entries.iter().map(|e| &*e.name).collect();
            found.push(format!("{names:?}"));
            while let Some(record) = reader.next_record()? {
                let ExtractRecord {
                    object, time, text, ..
                } = record;
                found.push(format!("{object} {} {text}", time.0));
            }
            part = reader.next_extract_file()?;
        }
        Ok(found)
    }

    fn lines(part: &[u8]) -> Vec<String> {
        let text = std::io::read_to_string(MultiGzDecoder::new(part)).unwrap();
        text.lines().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn what_is_read_is_what_was_written_by_time() {
        let (b, a) = (
            object("b", &[(5, "{\"x\":\n1}"), (1, "{}")]),
            object("a", &[(3, "{\"of\":9}")]),
        );
        let part = write(&header(), vec![b.clone(), a.clone()]);
        let other = write(&header(), vec![a, b]);
        assert_eq!(part, other, "equal content, equal bytes");
        let expected = [
            r#"["a", "b"]"#,
            "1 1 {}",
            "0 3 {\"of\":9}",
            "1 5 {\"x\": 1}",
        ];
        assert_eq!(read(&part).unwrap(), expected);
        let both = [part.clone(), write(&header(), Vec::new()), part.clone()].concat();
        assert_eq!(
            read(&both).unwrap(),
            [&expected[..], &["[]"], &expected].concat()
        );
        for cut in 0..part.len() {
            let cut_off = read(&part[..cut]);
            assert!(cut == 0 || cut_off.is_err(), "{cut} of {}", part.len());
        }
    }

    #[test]
    fn the_form_is_frozen() {
        let part = write(
            &header(),
            vec![object("a", &[(3, "{\"eventTime\":\"…\"}")])],
        );
        let expected = [
            concat!(
                r#"{"schema":"secretrail.extract/1","calls":[],"from":null,"to":null,"#,
                r#""accounts":[],"regions":[],"span":[3,3]}"#,
            ),
            concat!(
                r#"{"object":{"name":"a","tag":"t","in_tree":true,"delivered":7,"object_status":"read","#,
                r#""bytes":1,"records":2,"repaired":0,"key_validations":0,"#,
                r#""skipped":{"malformed":1},"coverage":[["1","r",[3,4]]]}}"#,
            ),
            r#"{"of":0,"time":3,"record":{"eventTime":"…"}}"#,
            r#"{"end":{"objects":1,"records":1}}"#,
        ];
        assert_eq!(lines(&part), expected);
    }

    #[test]
    fn a_name_is_made_of_purpose_and_objects() {
        let objects = |tag: &str| [("s3://b/k".to_owned(), tag.to_owned())].into_iter();
        let of = |header: &ExtractHeader, tag| name(header, objects(tag));
        let one = of(&header(), "e1");
        assert!(is_extract_file(&one) && !is_extract_file("k.json.gz"));
        let read = ExtractHeader {
            span: Some((1, 2)),
            ..header()
        };
        assert_eq!(of(&read, "e1"), one, "the span is not part of the purpose");
        let later = ExtractHeader {
            from: Some(1),
            ..header()
        };
        assert_ne!(of(&later, "e1"), one);
        assert_ne!(of(&header(), "e2"), one, "another version of the object");
    }
}
