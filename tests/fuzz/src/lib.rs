//! What the fuzz targets share: short ways through the engine, and simple code to compare it with.

pub mod reference;

use std::{collections::BTreeSet, io::Read, sync::LazyLock};

use secretrail_engine::{
    object::origin,
    rule::{RuleSet, load::load},
    scan::{ObjectScanner, ScanInput, ScanResult},
    selection::Selection,
};

/// A record that every scan must find, with its event id.
pub const GOOD_ID: &str = "9f3c5b1e-good";

/// The record as one line of a log file.
#[must_use]
pub fn good_line() -> String {
    format!(
        r#"{{"Records":[{{"eventVersion":"1.11","userIdentity":{{"type":"Root","accountId":"111122223333","arn":"arn:aws:iam::111122223333:root"}},"eventTime":"2026-03-02T10:00:00Z","eventSource":"secretsmanager.amazonaws.com","eventName":"GetSecretValue","awsRegion":"eu-west-1","requestParameters":{{"secretId":"prod/db"}},"eventID":"{GOOD_ID}","recipientAccountId":"111122223333"}}]}}"#
    )
}

/// Rules that ask for accesses, changes and raw fields.
static RULES: LazyLock<RuleSet> = LazyLock::new(|| {
    let text = "
title: access
id: access
logsource: {product: aws, category: secret_access}
detection: {selection: {secret.name|contains: d}, condition: selection}
---
title: change
id: change
logsource: {product: aws, category: secret_change}
detection: {selection: {eventName|startswith: Put}, condition: selection}
---
title: record
id: record
logsource: {product: aws, service: cloudtrail}
detection:
  selection: {userIdentity.type: Root, requestParameters.a.b|contains: x}
  missing: {errorCode: null}
  condition: selection or missing
";
    match load([("fuzz.yml", text)]) {
        Ok((rules, _)) => rules,
        Err(errors) => panic!("{errors:?}"),
    }
});

/// What a scan has found.
#[derive(Debug, PartialEq)]
pub struct Scanned {
    /// Whether the object was read to its end.
    pub is_whole: bool,
    /// Number of records.
    pub records: u64,
    /// Number of records that were skipped, for any reason.
    pub skipped: u64,
    /// The observations, as debug text.
    pub observations: Vec<String>,
    /// The records that were kept.
    pub kept: Vec<String>,
}

impl Scanned {
    /// Whether the record of [`good_line`] was found.
    #[must_use]
    pub fn has_good(&self) -> bool {
        self.observations.iter().any(|text| text.contains(GOOD_ID))
    }

    /// What was found, without counts and in no order.
    #[must_use]
    pub fn found(&self) -> BTreeSet<&str> {
        self.observations.iter().map(String::as_str).collect()
    }
}

/// Scans an object in memory.
#[must_use]
pub fn scan(bytes: &[u8]) -> Scanned {
    scan_with(ScanInput::Bytes(bytes))
}

/// Scans an object as a stream.
#[must_use]
pub fn scan_stream(reader: &mut dyn Read) -> Scanned {
    scan_with(ScanInput::Stream(reader))
}

fn scan_with(input: ScanInput<'_>) -> Scanned {
    let selection = Selection::default();
    let mut result = ScanResult::default();
    let mut scanner = ObjectScanner::new(&RULES, &selection).keeping(None);
    let read = scanner.read(input, &origin("fuzz.json"), false, &mut result);
    let scanned = scanned(read.is_ok(), result);
    // What is observed or kept was counted as a record.
    let most = scanned.observations.len().max(scanned.kept.len());
    assert!(most as u64 <= scanned.records, "{scanned:?}");
    scanned
}

/// Scans the text of one record, as a scan of an extract file does.
#[must_use]
pub fn scan_record(text: &str) -> Scanned {
    let selection = Selection::default();
    let mut result = ScanResult::default();
    let mut scanner = ObjectScanner::new(&RULES, &selection);
    scanner.record(text, &origin("fuzz.json"), false, &mut result);
    scanned(true, result)
}

/// Scans an object with other rules.
pub fn scan_for(rules: &RuleSet, bytes: &[u8]) {
    let selection = Selection::default();
    let mut result = ScanResult::default();
    let mut scanner = ObjectScanner::new(rules, &selection);
    let read = scanner.read(
        ScanInput::Bytes(bytes),
        &origin("fuzz.json"),
        false,
        &mut result,
    );
    assert!(read.is_ok());
}

fn scanned(is_whole: bool, result: ScanResult) -> Scanned {
    let report = &result.report;
    let in_shapes: u64 = report.shapes.iter().map(|(_, count)| count).sum();
    assert_eq!(in_shapes, report.records, "every record has a shape");
    let observations = result.observations.iter();
    Scanned {
        is_whole,
        records: result.report.records,
        skipped: result.report.records_skipped.values().sum(),
        observations: observations
            .map(|end| format!("{:?}", end.observation))
            .collect(),
        kept: result.kept.into_iter().map(|kept| kept.text).collect(),
    }
}

/// Whether the bytes begin as those of a compressed object, or as text in UTF-16.
#[must_use]
pub fn is_encoded(bytes: &[u8]) -> bool {
    let starts: [&[u8]; 11] = [
        &[0x1f, 0x8b],
        &[0x28, 0xb5, 0x2f, 0xfd],
        b"BZh",
        &[0xff, 0xfe],
        &[0xfe, 0xff],
        // Forms that are refused.
        b"\xfd7zXZ\0",
        b"\x04\x22\x4d\x18",
        b"\xff\x06\0\0sNaPpY",
        b"7z\xbc\xaf\x27\x1c",
        b"PK\x03\x04",
        b"Rar!\x1a\x07",
    ];
    starts.iter().any(|start| bytes.starts_with(start))
        // A chunk that can be skipped, in zstd.
        || bytes.get(..4).is_some_and(|b| b[0] & 0xf0 == 0x50 && b[1..] == [0x2a, 0x4d, 0x18])
        || bytes.get(257..).is_some_and(|b| b.starts_with(b"ustar"))
        // UTF-16 without a mark.
        || bytes.get(..2).is_some_and(|b| b.contains(&0))
}

/// A number that depends on all bytes, to cut them where no input can choose to be cut.
#[must_use]
pub fn seed_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The bytes in pieces of pseudo-random lengths below `most`.
pub fn cut(bytes: &[u8], mut seed: u64, most: usize) -> Vec<&[u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let length = (seed >> 33) as usize % most + 1;
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}
