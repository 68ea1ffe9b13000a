//! Counts the records that a selection by time, account and region takes and leaves out: all of
//! them, also those that no rule needs.

use std::borrow::Cow;

use super::UnitSink;
use crate::{
    ids::{account_of_digits, is_account},
    normalize::time_of,
    shallow::TopLevel,
};

impl UnitSink<'_, '_> {
    /// Counts a record for the selection, if it is limited: only then the record is looked at.
    #[inline]
    pub(super) fn select(&mut self, record: &[u8]) {
        if self.scanner.counted.is_limited() {
            self.select_top(&TopLevel::of(record));
        }
    }

    /// Like [`Self::select`], for a record whose top level is known.
    pub(super) fn select_top(&mut self, top: &TopLevel<'_>) {
        let selection = self.scanner.counted;
        if !selection.is_limited() {
            return;
        }
        let (account, region) = (account(top), scalar(top, "awsRegion"));
        let time = top.get("eventTime").and_then(time_of);
        let place = [account.as_deref(), region.as_deref()];
        let selected = &mut self.scan_result.selected;
        selected.record(selection, self.in_tree, place, time);
    }
}

/// `recipientAccountId`, whole where a converter made a number of it.
pub(super) fn account<'u>(top: &TopLevel<'u>) -> Option<Cow<'u, str>> {
    let text = scalar(top, "recipientAccountId")?;
    match is_account(&text) {
        true => Some(text),
        false => account_of_digits(&text).map_or(Some(text), |whole| Some(Cow::Owned(whole))),
    }
}

/// A text, or the digits of a number, as some converters write account ids.
fn scalar<'u>(top: &TopLevel<'u>, key: &str) -> Option<Cow<'u, str>> {
    top.text(key).or_else(|| top.get(key).and_then(digits))
}

fn digits(value: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(value.trim_ascii()).ok()?;
    let are_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    are_digits.then_some(Cow::Borrowed(text))
}

#[cfg(test)]
mod tests {
    use crate::{
        object::origin,
        rule::RuleSet,
        scan::{ObjectScanner, ScanInput, ScanResult},
        selection::{Selection, SelectionTally},
        time::EventTime,
    };

    const RECORD: &str = r#"{"eventTime":"2026-03-02T10:00:00Z","awsRegion":"eu-west-1",
        "eventSource":"s3.amazonaws.com","eventName":"ListBuckets",
        "requestParameters":{"eventTime":"2020-01-01T00:00:00Z"},
        "recipientAccountId":"111122223333"}"#;

    fn counted(selection: &Selection, record: &str) -> SelectionTally {
        let rules = RuleSet::default();
        let mut scanned = ScanResult::default();
        ObjectScanner::new(&rules, selection)
            .read(
                ScanInput::Bytes(record.as_bytes()),
                &origin("a.json"),
                false,
                &mut scanned,
            )
            .unwrap();
        assert_eq!(scanned.report.records, 1);
        scanned.selected
    }

    #[test]
    fn only_a_limited_selection_looks_at_records() {
        let all = counted(&Selection::default(), RECORD);
        assert_eq!(all, SelectionTally::default());
        let other = Selection {
            regions: vec!["us-east-1".to_owned()],
            ..Selection::default()
        };
        let tally = counted(&other, RECORD);
        assert_eq!((tally.taken, tally.left_out), (0, 1));
        assert!(tally.accounts.contains("111122223333") && tally.regions.contains("eu-west-1"));
    }

    #[test]
    fn an_account_is_known_by_its_digits_in_any_type() {
        let own = Selection {
            accounts: vec!["111122223333".to_owned()],
            ..Selection::default()
        };
        let number = RECORD.replace("\"111122223333\"", "111122223333");
        assert_eq!(counted(&own, &number).taken, 1);
        let with_zero = Selection {
            accounts: vec!["011122223333".to_owned()],
            ..Selection::default()
        };
        let number = RECORD.replace("\"111122223333\"", "11122223333");
        assert_eq!(counted(&with_zero, &number).taken, 1);
        let wrapped =
            format!(r#"{{"detail-type":"AWS API Call via CloudTrail","detail":{RECORD}}}"#);
        assert_eq!(counted(&own, &wrapped).taken, 1);
    }

    #[test]
    fn the_time_is_that_of_the_record_and_not_of_a_field_in_it() {
        let selection = Selection {
            from: EventTime::parse("2026-01-01T00:00:00Z"),
            ..Selection::default()
        };
        assert_eq!(counted(&selection, RECORD).taken, 1);
        // A time in another form counts as well; what is none is not known to be outside.
        for (time, taken) in [
            ("\"2026-03-02 10:00:00\"", 1),
            ("\"2019-03-02 10:00:00\"", 0),
            ("1551520800", 0),
            ("1551520800.5", 0),
            ("\"1551520800000\"", 0),
            ("\"yesterday\"", 1),
        ] {
            let other = RECORD.replacen("\"2026-03-02T10:00:00Z\"", time, 1);
            assert_eq!(counted(&selection, &other).taken, taken, "{time}");
        }
    }
}
