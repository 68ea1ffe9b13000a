//! What was read, and what could not be.

use secretrail_engine::gaps::Delivery;
use secretrail_engine::limits::MAX_RECORD_BYTES;
use secretrail_engine::report::{Fate, SkippedRecord};
use secretrail_engine::scan::Harvest;

use crate::input::object::Problem;

/// What was read.
#[derive(Debug, Default)]
pub struct Reading {
    /// What the objects hold.
    pub harvest: Harvest,
    /// What could not be read, in the order of names.
    pub problems: Vec<Problem>,
    /// Places and times of delivery of the objects in parts.
    pub deliveries: Vec<Delivery>,
    /// Parts that cannot stand for their logs in this run.
    pub refused: Vec<Problem>,
}

impl Reading {
    /// Counts an object that could not be read, or not to its end.
    pub(crate) fn fail(&mut self, name: &str, why: impl ToString) {
        self.harvest.report.objects_failed += 1;
        self.problems.push(Problem::new(name, why));
    }
}

/// What of an object was not read: itself, or records of it.
pub fn untold<'a>(
    name: &str,
    fate: &Fate,
    skipped: impl IntoIterator<Item = (&'a SkippedRecord, &'a u64)>,
) -> Vec<Problem> {
    match fate {
        Fate::Failed(message) => vec![Problem::new(name, message)],
        Fate::PassedOver(_) => Vec::new(),
        Fate::Read => skipped
            .into_iter()
            .map(|(reason, count)| Problem::new(name, passed_over(*reason, *count)))
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
        let failed = Fate::Failed("is cut off".to_owned());
        let problems = untold("a.json", &failed, skipped());
        assert_eq!(problems, [Problem::new("a.json", "is cut off")]);
        let read = untold("a.json", &Fate::Read, skipped());
        assert_eq!(
            read,
            [Problem::new(
                "a.json",
                "3 times, a record is cut off and was passed over; the others were read"
            )]
        );
    }
}
