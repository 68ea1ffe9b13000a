//! Counts of everything that was read, as both front ends print them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    access::{Access, DecryptStatus},
    alert::Alert,
    limits::MAX_RECORD_BYTES,
    object::{ObjectKind, ObjectPath},
    observation::Observation,
    record_shape::{RecordShape, ShapeCounts},
    row::FormFields,
    rule_meta::RuleLevel,
    time::EventTime,
};

/// Why an object was skipped.
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
    /// Its name ends as those of other files do, such as `.md` or `.png`.
    NotALog,
    /// A pipe, socket or device, or a link to one; it was not opened.
    NotAFile,
    /// It has no bytes.
    Empty,
    /// It is JSON without CloudTrail records.
    NoRecords,
}

/// Why a record was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkippedRecord {
    /// It looks like a record, but its JSON is broken beyond repair.
    Malformed,
    /// Something else than a record, without any of its fields.
    NotARecord,
    /// It has fields of a record inside an envelope that is not known.
    UnknownEnvelope,
    /// Longer than [`crate::limits::MAX_RECORD_BYTES`].
    TooLarge,
    /// The object ends in the middle of it.
    Truncated,
    /// `eventTime` is missing or is not a time.
    NoTime,
}

/// Status of an object after reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectStatus {
    /// It was read.
    Read,
    /// It was skipped, with the reason.
    Skipped(SkippedObject),
    /// It could not be read, with the error.
    Failed(String),
}

impl SkippedObject {
    /// Why an object with this path and name is skipped; `None` when it is to be read.
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
        by_kind.or_else(|| (!is_named_as_log(name)).then_some(Self::NotALog))
    }

    /// The reason as text for reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Digest => "digest",
            Self::Insight => "insight",
            Self::NetworkActivity => "network activity",
            Self::Aggregated => "aggregated",
            Self::OtherService => "other service",
            Self::NotALog => "not a log file",
            Self::NotAFile => "pipe, socket or device",
            Self::Empty => "empty",
            Self::NoRecords => "no CloudTrail records",
        }
    }
}

/// Endings of what is certainly no log. Everything else is read and judged by its content: objects
/// of Firehose have no ending, and collectors have their own.
const OTHER_ENDINGS: [&str; 39] = [
    "7z", "avi", "avro", "bin", "bmp", "class", "css", "db", "deb", "dll", "doc", "docx", "dylib",
    "exe", "gif", "go", "html", "ico", "jar", "java", "jpeg", "jpg", "js", "lock", "md", "mp4",
    "o", "orc", "pdf", "png", "py", "rs", "sh", "so", "svg", "toml", "ts", "xlsx", "yml",
];

/// By extension.
fn is_named_as_log(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let Some((_, ending)) = file.rsplit_once('.') else {
        // The key of a folder in S3 ends in `/`; its object is empty.
        return !file.is_empty();
    };
    !OTHER_ENDINGS
        .iter()
        .any(|other| ending.eq_ignore_ascii_case(other))
}

impl SkippedRecord {
    /// The reason as text for reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotARecord => "not a record",
            Self::UnknownEnvelope => "in an unknown envelope",
            Self::TooLarge => "too large",
            Self::Truncated => "truncated",
            Self::NoTime => "without a time",
        }
    }
}

/// Keys of an envelope that are shown, and envelopes whose keys are.
const ENVELOPE_KEYS: usize = 8;
const UNKNOWN_ENVELOPES: usize = 3;

/// The error about an object without bytes where a log must be: CloudTrail writes none.
const EMPTY: &str = "is empty (0 bytes); CloudTrail writes no empty log: fetch it again";

/// Counts of one object or of many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Objects that were read.
    pub objects: u64,
    /// Objects that could not be read, or not to their end.
    pub objects_failed: u64,
    /// Objects skipped, by reason.
    pub objects_skipped: BTreeMap<SkippedObject, u64>,
    /// Bytes of JSON, decompressed.
    pub bytes: u64,
    /// Records that were read.
    pub records: u64,
    /// Records skipped, by reason.
    pub records_skipped: BTreeMap<SkippedRecord, u64>,
    /// Records read, by the form in which they were found.
    pub shapes: ShapeCounts,
    /// Which fields the rows of lakes and query results have.
    pub form_fields: FormFields,
    /// Keys of unknown envelopes, as `a, b`: the first few of them.
    pub unknown_envelopes: BTreeSet<String>,
    /// Relevant records with broken JSON that were read after repair.
    pub records_repaired: u64,
    /// Those of them in which something could not be read: half of a character, bytes that are no
    /// UTF-8, or what is nested too deep.
    pub records_altered: u64,
    /// Fields of relevant records with another type than documented, whose value is lost.
    pub fields_mistyped: u64,
    /// Relevant records whose `eventTime` has no time zone, so that UTC was assumed.
    pub times_without_zone: u64,
    /// Observations that are dated more than a day after their delivery.
    pub times_ahead: u64,
    /// Key-validation Decrypts, which are ignored.
    pub key_validations: u64,
    /// Duplicate records: redeliveries, and copies in another account.
    pub duplicates: u64,
    /// Number of events whose `eventID` stands on another event too: each is kept.
    pub conflicting_copies: u64,
    /// First and last time of the observations.
    pub events: EventSpan,
    /// Distinct secret reads.
    pub reads: u64,
    /// Distinct KMS Decrypts.
    pub kms_decrypts: u64,
    /// Distinct secret changes.
    pub changes: u64,
    /// KMS Decrypts that a change of the same secret explains.
    pub explained: u64,
    /// Pairs of which one half arrived after the allowed lateness of the other.
    pub late: u64,
    /// Accesses, by what is known about their KMS Decrypt.
    pub accesses: BTreeMap<DecryptStatus, u64>,
    /// Alerts, by level.
    pub alerts: BTreeMap<RuleLevel, u64>,
    /// Alerts that the final evaluation has withdrawn.
    pub alerts_withdrawn: u64,
}

/// First and last of some times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventSpan(Option<(EventTime, EventTime)>);

impl EventSpan {
    /// Adds a time.
    pub fn add(&mut self, time: EventTime) {
        self.add_span(Self(Some((time, time))));
    }

    fn add_span(&mut self, other: Self) {
        self.0 = match (self.0, other.0) {
            (Some(own), Some(other)) => Some((own.0.min(other.0), own.1.max(other.1))),
            (own, other) => own.or(other),
        };
    }

    /// The first and the last; `None` without any.
    #[must_use]
    pub fn span(self) -> Option<(EventTime, EventTime)> {
        self.0
    }
}

impl ReadReport {
    /// Counts a skipped object.
    pub fn skip_object(&mut self, reason: SkippedObject) {
        *self.objects_skipped.entry(reason).or_default() += 1;
    }

    /// Determines and counts the status of the object that this report is about. `explicit`: the
    /// user named the object. `in_tree`: it is in a folder that CloudTrail writes to. In both cases
    /// it must hold records.
    pub fn finalize(
        &mut self,
        result: Result<(), impl fmt::Display>,
        in_tree: bool,
        explicit: bool,
    ) -> ObjectStatus {
        let object_status = match result {
            Err(error) => ObjectStatus::Failed(error.to_string()),
            Ok(()) => self.object_status_at_end(in_tree, explicit),
        };
        match &object_status {
            ObjectStatus::Read => self.objects += 1,
            ObjectStatus::Failed(_) => self.objects_failed += 1,
            ObjectStatus::Skipped(reason) => {
                // It held no records, so none are missing.
                self.records_skipped.clear();
                self.skip_object(*reason);
            }
        }
        object_status
    }

    /// Status of an object that was read to its end.
    fn object_status_at_end(&self, in_tree: bool, explicit: bool) -> ObjectStatus {
        let has_bytes = self.bytes > 0;
        // Part of it may have been a record, or it was one.
        let is_cut = [
            SkippedRecord::Truncated,
            SkippedRecord::TooLarge,
            SkippedRecord::Malformed,
            SkippedRecord::NoTime,
        ]
        .iter()
        .any(|reason| self.records_skipped.contains_key(reason));
        // A log with an empty list of records is valid.
        if self.records > 0 || (has_bytes && self.records_skipped.is_empty()) {
            return ObjectStatus::Read;
        }
        // It has fields of records, so it is a log that this version cannot read.
        if let Some(keys) = self.unknown_envelopes.first() {
            return ObjectStatus::Failed(format!(
                "holds no CloudTrail records that this version can read, but fields of them in an \
                 unknown envelope with the keys {keys}; unwrap the records first"
            ));
        }
        // Where CloudTrail writes, anything else is a damaged file; so is a truncated one anywhere.
        if explicit || in_tree || is_cut {
            return ObjectStatus::Failed(self.why_nothing());
        }
        ObjectStatus::Skipped(if has_bytes {
            SkippedObject::NoRecords
        } else {
            SkippedObject::Empty
        })
    }

    /// Why an object gave no records.
    fn why_nothing(&self) -> String {
        if self.bytes == 0 {
            EMPTY.to_owned()
        } else if self.records_skipped.contains_key(&SkippedRecord::TooLarge) {
            format!("holds only records longer than the limit of {MAX_RECORD_BYTES} bytes")
        } else {
            "holds no CloudTrail records".to_owned()
        }
    }

    /// Counts a record that was read.
    pub fn count_record(&mut self, shape: RecordShape) {
        self.records += 1;
        self.shapes.add(shape, 1);
    }

    /// Takes back a record that turned out not to be readable. It is skipped, for a reason.
    pub fn uncount_record(&mut self, shape: RecordShape) {
        self.records = self.records.saturating_sub(1);
        self.shapes.remove(shape);
    }

    /// Counts an unknown envelope, and notes its keys.
    pub fn skip_unknown_envelope(&mut self, keys: &[String]) {
        self.skip_record(SkippedRecord::UnknownEnvelope);
        let shown = keys.get(..ENVELOPE_KEYS).unwrap_or(keys).join(", ");
        let more = if keys.len() > ENVELOPE_KEYS {
            ", …"
        } else {
            ""
        };
        self.note_envelope(format!("{shown}{more}"));
    }

    fn note_envelope(&mut self, keys: String) {
        // A few show what the log is; a hostile file could have a new one in every record.
        if self.unknown_envelopes.len() < UNKNOWN_ENVELOPES {
            self.unknown_envelopes.insert(keys);
        }
    }

    /// Counts a skipped record.
    pub fn skip_record(&mut self, reason: SkippedRecord) {
        *self.records_skipped.entry(reason).or_default() += 1;
    }

    /// Counts an observation; as a duplicate unless it is the best of its copies.
    pub fn count_observation(&mut self, observation: &Observation, is_best: bool) {
        let count = match observation {
            _ if !is_best => &mut self.duplicates,
            Observation::Read(_) => &mut self.reads,
            Observation::KmsDecrypt(_) => &mut self.kms_decrypts,
            Observation::Change(_) => &mut self.changes,
        };
        *count += 1;
    }

    /// Counts an access.
    pub fn count_access(&mut self, access: &Access) {
        *self.accesses.entry(access.decrypt.status).or_default() += 1;
    }

    /// Counts a record that was read after repair, and whether something was lost in it.
    pub fn count_repaired(&mut self, loses: bool) {
        self.records_repaired += 1;
        self.records_altered += u64::from(loses);
    }

    /// Counts an alert.
    pub fn count_alert(&mut self, alert: &Alert) {
        *self.alerts.entry(alert.rule.level).or_default() += 1;
    }

    /// Adds the counts of another report.
    pub fn add(&mut self, other: &Self) {
        self.objects += other.objects;
        self.objects_failed += other.objects_failed;
        self.bytes += other.bytes;
        self.records += other.records;
        self.records_repaired += other.records_repaired;
        self.records_altered += other.records_altered;
        self.fields_mistyped += other.fields_mistyped;
        self.times_without_zone += other.times_without_zone;
        self.times_ahead += other.times_ahead;
        for (shape, count) in other.shapes.iter() {
            self.shapes.add(shape, count);
        }
        self.form_fields.add(&other.form_fields);
        for keys in &other.unknown_envelopes {
            self.note_envelope(keys.clone());
        }
        self.key_validations += other.key_validations;
        self.duplicates += other.duplicates;
        self.conflicting_copies += other.conflicting_copies;
        self.events.add_span(other.events);
        self.reads += other.reads;
        self.kms_decrypts += other.kms_decrypts;
        self.changes += other.changes;
        self.explained += other.explained;
        self.late += other.late;
        self.alerts_withdrawn += other.alerts_withdrawn;
        add_counts(&mut self.objects_skipped, &other.objects_skipped);
        add_counts(&mut self.records_skipped, &other.records_skipped);
        add_counts(&mut self.accesses, &other.accesses);
        add_counts(&mut self.alerts, &other.alerts);
    }
}

fn add_counts<K: Ord + Copy>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, count) in from {
        *into.entry(*key).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object;

    /// The status of an object with these counts, read to its end, for each `in_tree` and
    /// `explicit`.
    fn object_statuses(report: &ReadReport) -> [ObjectStatus; 4] {
        [(false, false), (true, false), (false, true), (true, true)].map(|(in_tree, explicit)| {
            let sound: Result<(), &str> = Ok(());
            report.clone().finalize(sound, in_tree, explicit)
        })
    }

    fn without(reason: Option<SkippedRecord>) -> ReadReport {
        let mut report = ReadReport {
            bytes: 20,
            ..ReadReport::default()
        };
        reason.into_iter().for_each(|r| report.skip_record(r));
        report
    }

    #[test]
    fn one_record_makes_an_object_read_whatever_was_skipped() {
        let mut report = without(Some(SkippedRecord::Truncated));
        report.records = 1;
        assert_eq!(object_statuses(&report), [const { ObjectStatus::Read }; 4]);
    }

    #[test]
    fn an_empty_list_of_records_is_sound() {
        assert_eq!(
            object_statuses(&without(None)),
            [const { ObjectStatus::Read }; 4]
        );
    }

    #[test]
    fn what_is_no_log_fails_only_where_a_log_must_be() {
        let failed = ObjectStatus::Failed("holds no CloudTrail records".to_owned());
        let other = ObjectStatus::Skipped(SkippedObject::NoRecords);
        let no_record = without(Some(SkippedRecord::NotARecord));
        assert_eq!(
            object_statuses(&no_record),
            [other, failed.clone(), failed.clone(), failed.clone()]
        );
        // What was or may have been a record fails anywhere.
        for reason in [
            SkippedRecord::Truncated,
            SkippedRecord::Malformed,
            SkippedRecord::NoTime,
        ] {
            let lost = without(Some(reason));
            assert_eq!(object_statuses(&lost), [(); 4].map(|()| failed.clone()));
        }
        // Part of what is over the limit may be a record.
        let large = without(Some(SkippedRecord::TooLarge));
        for status in object_statuses(&large) {
            assert!(matches!(status, ObjectStatus::Failed(why) if why.contains("the limit of")));
        }
        // CloudTrail writes no log without bytes: its copy broke off.
        let empty = ObjectStatus::Failed(EMPTY.to_owned());
        assert_eq!(
            object_statuses(&ReadReport::default()),
            [
                ObjectStatus::Skipped(SkippedObject::Empty),
                empty.clone(),
                empty.clone(),
                empty
            ]
        );
    }

    #[test]
    fn records_of_a_skipped_object_are_not_missing() {
        let mut report = without(Some(SkippedRecord::NotARecord));
        report.finalize(Ok::<_, &str>(()), false, false);
        assert!(report.records_skipped.is_empty());
        assert_eq!(report.objects_skipped[&SkippedObject::NoRecords], 1);
        assert_eq!((report.objects, report.objects_failed), (0, 0));
    }

    #[test]
    fn an_error_is_reported_as_it_is_and_keeps_what_was_counted() {
        let mut report = without(Some(SkippedRecord::NoTime));
        report.records = 3;
        let object_status = report.finalize(Err("the gzip data is truncated"), true, true);
        assert_eq!(
            object_status,
            ObjectStatus::Failed("the gzip data is truncated".to_owned())
        );
        assert_eq!((report.objects_failed, report.records), (1, 3));
        assert_eq!(report.records_skipped[&SkippedRecord::NoTime], 1);
    }

    #[test]
    fn only_what_may_be_a_log_is_read() {
        for (name, expected) in [
            (
                "AWSLogs/111122223333/CloudTrail/",
                Some(SkippedObject::NotALog),
            ),
            ("AWSLogs/111122223333/CloudTrail/eu-west-1/x.json.gz", None),
            ("x.JSON", None),
            ("x.ndjson", None),
            // Content decides where the name does not.
            ("2026/03/02/10/stream-1-2026-03-02-10-00-00-0a1b", None),
            ("GetSecretValue.json.cloudtrail", None),
            ("x.log", None),
            ("x.json.zst", None),
            ("x.csv.zip", None),
            ("x.csv.docx", Some(SkippedObject::NotALog)),
            ("a.json/README.MD", Some(SkippedObject::NotALog)),
            (
                "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/x.json.gz",
                Some(SkippedObject::Digest),
            ),
            // The folder takes precedence over the extension.
            (
                "AWSLogs/111122223333/vpcflowlogs/eu-west-1/x.log",
                Some(SkippedObject::OtherService),
            ),
        ] {
            let skipped = SkippedObject::by_name(&object::parse(name), name);
            assert_eq!(skipped, expected, "{name}");
        }
    }

    #[test]
    fn every_count_is_added() {
        // Every field by name: a new one must be added here, too.
        let one = ReadReport {
            objects: 1,
            objects_failed: 2,
            objects_skipped: [(SkippedObject::Empty, 3)].into(),
            bytes: 4,
            records: 5,
            records_skipped: [(SkippedRecord::NoTime, 6)].into(),
            records_repaired: 7,
            records_altered: 4,
            key_validations: 8,
            duplicates: 9,
            conflicting_copies: 3,
            form_fields: {
                let mut fields = FormFields::default();
                fields.note(RecordShape::Ocsf, br#"{"eventName":"x"}"#);
                fields
            },
            events: EventSpan(Some((EventTime(3), EventTime(4)))),
            reads: 10,
            kms_decrypts: 11,
            changes: 12,
            explained: 13,
            late: 14,
            accesses: [(DecryptStatus::Paired, 15)].into(),
            alerts: [(RuleLevel::High, 16)].into(),
            alerts_withdrawn: 20,
            shapes: [(RecordShape::Sns, 17)].into_iter().collect(),
            unknown_envelopes: ["a".to_owned()].into(),
            fields_mistyped: 18,
            times_without_zone: 19,
            times_ahead: 21,
        };
        let mut sum = ReadReport::default();
        sum.add(&one);
        assert_eq!(sum, one);
        sum.add(&one);
        sum.events.add(EventTime(1));
        assert_eq!(sum.events.span(), Some((EventTime(1), EventTime(4))));
        assert_eq!(sum.objects_skipped[&SkippedObject::Empty], 6);
        assert_eq!(sum.alerts[&RuleLevel::High], 32);
    }
}
