//! The result of reading: records and problems.

use secretrail_engine::{
    coverage::CoverageHours,
    gaps::LogDelivery,
    limits::MAX_RECORD_BYTES,
    report::{ObjectStatus, ReadReport, SkippedRecord},
    scan::ScanResult,
    silence::DeliveringPlaces,
};

use crate::{input::object::InputProblem, text::plural};

/// The result of reading objects.
#[derive(Debug, Default)]
pub struct ReadingResult {
    /// Counts of the objects; their observations and matches are in the sorted runs.
    pub scan_result: ScanResult,
    /// Where and when KMS events were seen.
    pub coverage: CoverageHours,
    /// What could not be read, sorted by name.
    pub problems: Vec<InputProblem>,
    /// Deliveries of the objects in extract files.
    pub deliveries: Vec<LogDelivery>,
    /// When they were delivered, by account and region; always kept.
    pub delivering: DeliveringPlaces,
    /// Extract files that cannot replace their logs in this run.
    pub refused: Vec<InputProblem>,
}

impl ReadingResult {
    /// Adds what a scan has found, except for what the sorted runs have taken.
    pub(crate) fn add(&mut self, mut scan_result: ScanResult) {
        self.coverage.extend(scan_result.coverage.drain());
        self.scan_result.append(scan_result);
    }

    /// Adds the result of another thread.
    pub(crate) fn append(&mut self, other: Self) {
        self.scan_result.append(other.scan_result);
        self.coverage.append(other.coverage);
        self.problems.extend(other.problems);
        self.deliveries.extend(other.deliveries);
        self.delivering.append(other.delivering);
        self.refused.extend(other.refused);
    }

    /// Counts and names an object that could not be read, or not to its end.
    pub(crate) fn fail(&mut self, name: &str, why: impl ToString) {
        self.scan_result.report.objects_failed += 1;
        self.problems.push(InputProblem::new(name, why));
    }
}

/// The problems with an object: the object itself, or records of it that were skipped.
pub fn problems_of(
    name: &str,
    object_status: &ObjectStatus,
    report: &ReadReport,
) -> Vec<InputProblem> {
    match object_status {
        ObjectStatus::Failed(message) => vec![InputProblem::new(name, message)],
        ObjectStatus::Skipped(_) => Vec::new(),
        ObjectStatus::Read => report
            .records_skipped
            .iter()
            .filter_map(|(reason, count)| {
                let message = skip_message(*reason, *count, report)?;
                Some(InputProblem::new(name, message))
            })
            .collect(),
    }
}

/// `None` for what is no problem.
fn skip_message(reason: SkippedRecord, count: u64, report: &ReadReport) -> Option<String> {
    let why = match reason {
        SkippedRecord::Malformed => "broken JSON".to_owned(),
        // Counted only: the file may hold other logs beside these.
        SkippedRecord::NotARecord => return None,
        SkippedRecord::UnknownEnvelope => {
            let keys: Vec<&str> = report
                .unknown_envelopes
                .iter()
                .map(String::as_str)
                .collect();
            let keys = keys.join("; ");
            format!("in an unknown envelope with the keys {keys}")
        }
        SkippedRecord::TooLarge => format!("longer than the limit of {MAX_RECORD_BYTES} bytes"),
        SkippedRecord::Truncated => "truncated".to_owned(),
        SkippedRecord::NoTime => "no valid eventTime".to_owned(),
    };
    let records = plural(count, "record");
    // How many were found is counted: where a document ends is not known once it is broken.
    let others = match report.records {
        0 => String::new(),
        1 => "; 1 other was read".to_owned(),
        read => format!("; {read} others were read"),
    };
    // A document that breaks off loses what follows in it, too.
    let rest = match reason {
        SkippedRecord::Truncated if report.records > 0 => {
            format!("; what follows it in the same document was not read{others}")
        }
        _ => others,
    };
    Some(format!("{records} skipped ({why}){rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_object_is_reported_once_and_without_its_records() {
        let mut report = ReadReport {
            records: 1,
            ..ReadReport::default()
        };
        report.records_skipped.insert(SkippedRecord::Truncated, 3);
        let failed = ObjectStatus::Failed("is truncated".to_owned());
        let problems = problems_of("a.json", &failed, &report);
        assert_eq!(problems, [InputProblem::new("a.json", "is truncated")]);
        let read = problems_of("a.json", &ObjectStatus::Read, &report);
        assert_eq!(
            read,
            [InputProblem::new(
                "a.json",
                "3 records skipped (truncated); what follows it in the same document was not \
                 read; 1 other was read"
            )]
        );
        report.records = 0;
        let alone = problems_of("a.json", &ObjectStatus::Read, &report);
        let message = "3 records skipped (truncated)";
        assert_eq!(alone, [InputProblem::new("a.json", message)]);
    }

    #[test]
    fn an_unknown_envelope_is_named_by_its_keys_and_other_logs_are_no_problem() {
        let mut report = ReadReport::default();
        report.skip_record(SkippedRecord::NotARecord);
        report.skip_unknown_envelope(&["a".to_owned(), "b".to_owned()]);
        let problems = problems_of("a.json", &ObjectStatus::Read, &report);
        let message = "1 record skipped (in an unknown envelope with the keys a, b)";
        assert_eq!(problems, [InputProblem::new("a.json", message)]);
    }
}
