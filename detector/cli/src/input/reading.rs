//! What was read, and what could not be.

use secretrail_engine::gaps::LogDelivery;
use secretrail_engine::limits::MAX_RECORD_BYTES;
use secretrail_engine::report::{ObjectStatus, SkippedRecord};
use secretrail_engine::scan::ScanResult;

use crate::input::object::InputProblem;

/// What was read.
#[derive(Debug, Default)]
pub struct ReadingResult {
    /// What the objects hold.
    pub scan_result: ScanResult,
    /// What could not be read, in the order of names.
    pub problems: Vec<InputProblem>,
    /// Places and times of delivery of the objects in parts.
    pub deliveries: Vec<LogDelivery>,
    /// Parts that cannot stand for their logs in this run.
    pub refused: Vec<InputProblem>,
}

impl ReadingResult {
    /// Counts an object that could not be read, or not to its end.
    pub(crate) fn fail(&mut self, name: &str, why: impl ToString) {
        self.scan_result.report.objects_failed += 1;
        self.problems.push(InputProblem::new(name, why));
    }
}

/// What of an object was not read: itself, or records of it.
pub fn untold<'a>(
    name: &str,
    object_status: &ObjectStatus,
    skipped: impl IntoIterator<Item = (&'a SkippedRecord, &'a u64)>,
) -> Vec<InputProblem> {
    match object_status {
        ObjectStatus::Failed(message) => vec![InputProblem::new(name, message)],
        ObjectStatus::PassedOver(_) => Vec::new(),
        ObjectStatus::Read => skipped
            .into_iter()
            .map(|(reason, count)| InputProblem::new(name, passed_over(*reason, *count)))
            .collect(),
    }
}

fn passed_over(reason: SkippedRecord, count: u64) -> String {
    let why = match reason {
        SkippedRecord::Malformed => "is not JSON of a record".to_owned(),
        SkippedRecord::TooLarge => format!("is longer than the limit of {MAX_RECORD_BYTES} bytes"),
        SkippedRecord::Truncated => "is cut off".to_owned(),
        SkippedRecord::NoTime => "has no readable eventTime".to_owned(),
    };
    let rest = "was passed over; the others were read";
    if count == 1 {
        format!("1 record {why} and {rest}")
    } else {
        format!("{count} times, a record {why} and {rest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_object_is_told_once_and_its_records_are_not() {
        let skipped = [(SkippedRecord::Truncated, 3)];
        let skipped = || skipped.iter().map(|(reason, count)| (reason, count));
        let failed = ObjectStatus::Failed("is cut off".to_owned());
        let problems = untold("a.json", &failed, skipped());
        assert_eq!(problems, [InputProblem::new("a.json", "is cut off")]);
        let read = untold("a.json", &ObjectStatus::Read, skipped());
        assert_eq!(
            read,
            [InputProblem::new(
                "a.json",
                "3 times, a record is cut off and was passed over; the others were read"
            )]
        );
    }
}
