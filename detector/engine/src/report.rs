//! What happened to everything that was read, in counts: what both faces print.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::access::{Access, DecryptStatus};
use crate::alert::Alert;
use crate::object::{ObjectKind, ObjectPath};
use crate::observation::Observation;
use crate::rule_meta::Level;

/// Why an object was not read for events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkippedObject {
    /// `CloudTrail-Digest`.
    Digest,
    /// `CloudTrail-Insight`.
    Insight,
    /// `CloudTrail-NetworkActivity`.
    NetworkActivity,
    /// `CloudTrail-Aggregated`.
    Aggregated,
    /// Logs of another service in an `AWSLogs` tree.
    OtherService,
    /// The name does not end as a log's does.
    NotALog,
    /// It has no bytes.
    Empty,
    /// It is JSON without CloudTrail records.
    NoRecords,
}

/// Why a record was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkippedRecord {
    /// Not JSON, or not the JSON of a record.
    Malformed,
    /// Longer than [`crate::limits::MAX_RECORD_BYTES`].
    TooLarge,
    /// The object ends in the middle of it.
    Truncated,
    /// `eventTime` is missing or is not a time.
    NoTime,
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It was read.
    Read,
    /// It was passed over, and why.
    PassedOver(SkippedObject),
    /// It could not be read, and why.
    Failed(String),
}

impl SkippedObject {
    /// Why an object with this path and name is not to be read for events; `None` when it is.
    #[must_use]
    pub fn by_name(path: &ObjectPath<'_>, name: &str) -> Option<Self> {
        let by_kind = match path.kind {
            ObjectKind::Events => None,
            ObjectKind::Digest => Some(Self::Digest),
            ObjectKind::Insight => Some(Self::Insight),
            ObjectKind::NetworkActivity => Some(Self::NetworkActivity),
            ObjectKind::Aggregated => Some(Self::Aggregated),
            ObjectKind::OtherService => Some(Self::OtherService),
        };
        let is_log = || {
            let ending = name
                .rsplit('/')
                .next()
                .and_then(|file| file.rsplit_once('.'))
                .map(|(_, ending)| ending);
            ending.is_some_and(|e| {
                ["json", "jsonl", "ndjson", "gz"]
                    .iter()
                    .any(|known| e.eq_ignore_ascii_case(known))
            })
        };
        by_kind.or_else(|| (!is_log()).then_some(Self::NotALog))
    }

    /// Words for the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Digest => "digest",
            Self::Insight => "insight",
            Self::NetworkActivity => "network activity",
            Self::Aggregated => "aggregated",
            Self::OtherService => "other service",
            Self::NotALog => "not a log file",
            Self::Empty => "empty",
            Self::NoRecords => "no CloudTrail records",
        }
    }
}

impl SkippedRecord {
    /// Words for the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too large",
            Self::Truncated => "truncated",
            Self::NoTime => "without a time",
        }
    }
}

/// Counts of one object or of many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Objects read.
    pub objects: u64,
    /// Objects that could not be read, or not to their end.
    pub objects_failed: u64,
    /// Objects passed over, by reason.
    pub objects_skipped: BTreeMap<SkippedObject, u64>,
    /// Bytes of JSON.
    pub bytes: u64,
    /// Records.
    pub records: u64,
    /// Records that could not be used, by reason.
    pub records_skipped: BTreeMap<SkippedRecord, u64>,
    /// Records that had bytes that are not UTF-8; they were read with replacement characters.
    pub records_repaired: u64,
    /// Key uses that only check access to a key.
    pub key_validations: u64,
    /// Records that came again, as redeliveries or as copies in another account.
    pub duplicates: u64,
    /// Distinct secret reads.
    pub reads: u64,
    /// Distinct key uses.
    pub key_uses: u64,
    /// Distinct changes.
    pub changes: u64,
    /// Key uses that a change of the same secret explains.
    pub explained: u64,
    /// Pairs of which one half came after the horizon of the other.
    pub late: u64,
    /// Accesses, by what is known of their key use.
    pub accesses: BTreeMap<DecryptStatus, u64>,
    /// Alerts, by level.
    pub alerts: BTreeMap<Level, u64>,
}

impl Report {
    /// Counts an object that is passed over.
    pub fn skip_object(&mut self, reason: SkippedObject) {
        *self.objects_skipped.entry(reason).or_default() += 1;
    }

    /// Decides what became of an object of which this is the report, and counts it. `explicit` says that the user named it,
    /// `in_tree` that it is where CloudTrail writes: then it must hold records.
    pub fn settle(&mut self, result: Result<(), String>, in_tree: bool, explicit: bool) -> Fate {
        let has_bytes = self.bytes > 0;
        let is_cut = self.records_skipped.contains_key(&SkippedRecord::Truncated);
        let fate = match result {
            Err(message) => Fate::Failed(message),
            Ok(()) if self.records > 0 || (has_bytes && self.records_skipped.is_empty()) => {
                Fate::Read
            }
            // Where CloudTrail writes, something else is a file that was damaged; and so is what ends in the middle.
            Ok(()) if explicit || (has_bytes && (in_tree || is_cut)) => {
                Fate::Failed("holds no CloudTrail records".to_owned())
            }
            Ok(()) if has_bytes => Fate::PassedOver(SkippedObject::NoRecords),
            Ok(()) => Fate::PassedOver(SkippedObject::Empty),
        };
        match &fate {
            Fate::Read => self.objects += 1,
            Fate::Failed(_) => self.objects_failed += 1,
            Fate::PassedOver(reason) => {
                self.records_skipped.clear();
                self.skip_object(*reason);
            }
        }
        fate
    }

    /// Counts a record that cannot be used.
    pub fn skip_record(&mut self, reason: SkippedRecord) {
        *self.records_skipped.entry(reason).or_default() += 1;
    }

    /// Counts an observation, or a copy of one that tells less than another.
    pub fn count_observation(&mut self, observation: &Observation, is_best: bool) {
        let count = match observation {
            _ if !is_best => &mut self.duplicates,
            Observation::Read(_) => &mut self.reads,
            Observation::KeyUse(_) => &mut self.key_uses,
            Observation::Change(_) => &mut self.changes,
        };
        *count += 1;
    }

    /// Counts an access.
    pub fn count_access(&mut self, access: &Access) {
        *self.accesses.entry(access.decrypt.status).or_default() += 1;
    }

    /// Counts an alert.
    pub fn count_alert(&mut self, alert: &Alert) {
        *self.alerts.entry(alert.rule.level).or_default() += 1;
    }

    /// Adds the counts of another report.
    pub fn add(&mut self, other: &Self) {
        fn merge<K: Ord + Copy>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
            for (key, count) in from {
                *into.entry(*key).or_default() += count;
            }
        }
        self.objects += other.objects;
        self.objects_failed += other.objects_failed;
        self.bytes += other.bytes;
        self.records += other.records;
        self.records_repaired += other.records_repaired;
        self.key_validations += other.key_validations;
        self.duplicates += other.duplicates;
        self.reads += other.reads;
        self.key_uses += other.key_uses;
        self.changes += other.changes;
        self.explained += other.explained;
        self.late += other.late;
        merge(&mut self.objects_skipped, &other.objects_skipped);
        merge(&mut self.records_skipped, &other.records_skipped);
        merge(&mut self.accesses, &other.accesses);
        merge(&mut self.alerts, &other.alerts);
    }
}
