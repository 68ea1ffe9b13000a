//! One log object in an extract file: its status, its counts, and where KMS events were seen.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize, Serializer};

use crate::{
    coverage::CoverageMark,
    extract_file::stretches::HourStretches,
    ids::SharedStr,
    limits::{COVERAGE_BUCKET_SECS, EXTRACTED_TIMES},
    object::RecordOrigin,
    record_shape::RecordShape,
    report::{ObjectStatus, ReadReport, SkippedRecord},
    scan::{KeptRecord, ScanResult, UnreadableRecord},
    time::EventTime,
};

/// One log object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtractEntry {
    /// Its path or key, as in the accesses of its records.
    pub name: SharedStr,
    /// Distinguishes its versions: the ETag in S3, the size of a file.
    pub tag: String,
    /// Whether its path in an `AWSLogs` tree has already selected account and region.
    pub in_tree: bool,
    /// Delivery time from its name, in seconds since 1970, UTC; `None` when the name has none.
    pub delivered: Option<i64>,
    /// Whether it was read, skipped, or failed.
    pub object_status: ObjectStatus,
    /// Number of bytes of JSON.
    pub bytes: u64,
    /// Number of records.
    pub records: u64,
    /// Number of records by the form in which they were found.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shapes: BTreeMap<RecordShape, u64>,
    /// Keys of unknown envelopes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unknown_envelopes: BTreeSet<String>,
    /// Number of records that were read after a repair of their JSON.
    pub repaired: u64,
    /// Number of fields of another type than documented.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mistyped: u64,
    /// Number of records whose time has no zone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub without_zone: u64,
    /// Number of observations dated more than a day after their delivery.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ahead: u64,
    /// A record that could not be read and names one of our services; `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<UnreadableRecord>,
    /// Number of KMS Decrypts that only validate access to a key.
    pub key_validations: u64,
    /// Number of records that could not be used, by reason.
    pub skipped: BTreeMap<SkippedRecord, u64>,
    /// Where and when KMS events were seen, by account and region.
    pub coverage: Vec<CoveredPlace>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Hours in which KMS events of one account and region were seen. In JSON: `[account, region,
/// hours]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "(SharedStr, SharedStr, HourStretches)")]
pub struct CoveredPlace {
    /// `recipientAccountId`: 12-digit account id.
    pub account: SharedStr,
    /// `awsRegion`, e.g. `eu-west-1`.
    pub region: SharedStr,
    /// Hours since 1970 in UTC, ascending.
    pub(super) hours: HourStretches,
}

impl From<(SharedStr, SharedStr, HourStretches)> for CoveredPlace {
    fn from((account, region, hours): (SharedStr, SharedStr, HourStretches)) -> Self {
        Self {
            account,
            region,
            hours,
        }
    }
}

impl Serialize for CoveredPlace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.account, &self.region, &self.hours).serialize(serializer)
    }
}

impl ExtractEntry {
    /// Counts of the object, as in a replay of the object itself.
    #[must_use]
    pub fn report(&self) -> ReadReport {
        let mut report = ReadReport {
            bytes: self.bytes,
            records: self.records,
            shapes: self
                .shapes
                .iter()
                .map(|(shape, count)| (*shape, *count))
                .collect(),
            unknown_envelopes: self.unknown_envelopes.clone(),
            records_repaired: self.repaired,
            fields_mistyped: self.mistyped,
            times_without_zone: self.without_zone,
            times_ahead: self.ahead,
            key_validations: self.key_validations,
            records_skipped: self.skipped.clone(),
            ..ReadReport::default()
        };
        // The status from the extraction: judging it again would need the bytes.
        match &self.object_status {
            ObjectStatus::Read => report.objects = 1,
            ObjectStatus::Skipped(reason) => report.skip_object(*reason),
            ObjectStatus::Failed(_) => report.objects_failed = 1,
        }
        report
    }

    /// The origin of its records.
    #[must_use]
    pub fn origin(&self) -> RecordOrigin {
        RecordOrigin {
            object: self.name.clone(),
            delivered: self.delivered.map(EventTime),
        }
    }

    /// Where and when KMS events were seen: a mark for each stretch of hours in a row.
    pub fn marks(&self) -> impl Iterator<Item = CoverageMark> + '_ {
        self.coverage.iter().flat_map(|place| {
            place.hours.iter().map(|(bucket, hours)| CoverageMark {
                account: place.account.clone(),
                region: place.region.clone(),
                bucket,
                hours,
            })
        })
    }

    /// Number of stretches of hours in all places.
    pub(super) fn stretches(&self) -> usize {
        self.coverage.iter().map(|place| place.hours.len()).sum()
    }

    /// Whether all its times are such as records have.
    pub(super) fn has_usual_times(&self) -> bool {
        let hours = self.coverage.iter().flat_map(|place| place.hours.iter());
        let ends = hours.flat_map(|(first, hours)| [first, first.saturating_add(hours - 1)]);
        ends.map(|hour| hour.saturating_mul(COVERAGE_BUCKET_SECS))
            .chain(self.delivered)
            .all(|secs| EXTRACTED_TIMES.contains(&secs))
    }

    /// Groups coverage marks by account and region.
    #[must_use]
    pub fn coverage(marks: impl IntoIterator<Item = CoverageMark>) -> Vec<CoveredPlace> {
        // Marks come from a hash set. Sorted, they are the same in every run, and so is the extract
        // file.
        let mut places: BTreeMap<(SharedStr, SharedStr), BTreeSet<i64>> = BTreeMap::new();
        for mark in marks {
            let hours = mark.bucket..mark.bucket.saturating_add(mark.hours);
            let place = places.entry((mark.account, mark.region)).or_default();
            place.extend(hours);
        }
        places
            .into_iter()
            .map(|((account, region), hours)| CoveredPlace {
                account,
                region,
                hours: hours.into_iter().collect(),
            })
            .collect()
    }
}

/// An object and its relevant records, each with its event time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtractedObject {
    /// Its entry in the extract file.
    pub entry: ExtractEntry,
    /// Its records, in any order; their delivery is `None` where it is that of the entry.
    pub records: Vec<KeptRecord>,
}

impl ExtractedObject {
    /// The content of one object. Takes the records out of `scan_result`, which must come from a
    /// scanner with [`ObjectScanner::keeping`](crate::scan::ObjectScanner::keeping).
    #[must_use]
    pub fn of(
        origin: &RecordOrigin,
        tag: String,
        in_tree: bool,
        object_status: &ObjectStatus,
        scan_result: &mut ScanResult,
    ) -> Self {
        let report = &scan_result.report;
        let entry = ExtractEntry {
            name: origin.object.clone(),
            tag,
            in_tree,
            delivered: origin.delivered.map(|time| time.0),
            object_status: object_status.clone(),
            bytes: report.bytes,
            records: report.records,
            shapes: report.shapes.iter().collect(),
            unknown_envelopes: report.unknown_envelopes.clone(),
            repaired: report.records_repaired,
            mistyped: report.fields_mistyped,
            without_zone: report.times_without_zone,
            ahead: report.times_ahead,
            unreadable: scan_result.unreadable.clone(),
            key_validations: report.key_validations,
            skipped: report.records_skipped.clone(),
            coverage: ExtractEntry::coverage(scan_result.coverage.iter().cloned()),
        };
        let mut records = std::mem::take(&mut scan_result.kept);
        for record in &mut records {
            // Only a member of an archive was delivered at another time than the entry says.
            record.delivered = record
                .delivered
                .filter(|own| Some(*own) != origin.delivered);
        }
        Self { entry, records }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{object::origin, report::SkippedObject};

    fn extracted(object_status: &ObjectStatus) -> ExtractedObject {
        let mut scan_result = ScanResult::default();
        scan_result.report.bytes = 10;
        scan_result.report.records = 3;
        scan_result.report.key_validations = 1;
        scan_result.report.records_repaired = 2;
        scan_result
            .report
            .records_skipped
            .insert(SkippedRecord::Malformed, 4);
        let mark = |hour| CoverageMark {
            account: "1".into(),
            region: "r".into(),
            bucket: hour,
            hours: 1,
        };
        scan_result.coverage.extend([mark(5), mark(3)]);
        for delivered in [7, 9] {
            let mut record = KeptRecord::new(EventTime(1), "{}".to_owned());
            record.delivered = Some(EventTime(delivered));
            scan_result.kept.push(record);
        }
        let object = RecordOrigin {
            delivered: Some(EventTime(9)),
            ..origin("a")
        };
        let extracted = ExtractedObject::of(
            &object,
            "t".to_owned(),
            true,
            object_status,
            &mut scan_result,
        );
        assert!(
            scan_result.kept.is_empty(),
            "they are moved, and not held twice"
        );
        let delivered = extracted.records.iter().map(|record| record.delivered);
        assert_eq!(
            delivered.collect::<Vec<_>>(),
            [Some(EventTime(7)), None],
            "one delivery stands in the entry"
        );
        extracted
    }

    #[test]
    fn an_extract_file_has_the_counts_of_its_logs() {
        let skipped = SkippedObject::NoRecords;
        for (object_status, objects, failed, passed) in [
            (ObjectStatus::Read, 1, 0, None),
            (ObjectStatus::Failed("why".to_owned()), 0, 1, None),
            (ObjectStatus::Skipped(skipped), 0, 0, Some(1)),
        ] {
            let report = extracted(&object_status).entry.report();
            assert_eq!((report.objects, report.objects_failed), (objects, failed));
            assert_eq!(report.objects_skipped.get(&skipped).copied(), passed);
            assert_eq!((report.bytes, report.records), (10, 3));
            assert_eq!((report.key_validations, report.records_repaired), (1, 2));
            assert_eq!(report.records_skipped[&SkippedRecord::Malformed], 4);
        }
    }

    #[test]
    fn an_entry_comes_back_from_its_json() {
        let entry = extracted(&ObjectStatus::Failed("why".to_owned())).entry;
        let json = serde_json::to_string(&entry).unwrap();
        let back: ExtractEntry = serde_json::from_str(&json).unwrap();
        assert_eq!(back, entry);
        assert_eq!(back.origin().delivered, Some(EventTime(9)));
        let hours: HashSet<i64> = back.marks().map(|mark| mark.bucket).collect();
        assert_eq!(hours, HashSet::from([3, 5]));
    }
}
