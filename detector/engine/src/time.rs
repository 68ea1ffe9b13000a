//! Event times: whole seconds in UTC, read and written as RFC 3339. The engine never reads a clock.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};

use crate::limits::DAY_SECS;

/// Seconds since 1970-01-01T00:00:00Z. CloudTrail writes whole seconds (`eventTime`, when the
/// request completed).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Parses RFC 3339 (`2026-03-02T10:00:00Z`, fractions and offsets allowed) and the basic form
    /// `20260302T100000Z`.
    ///
    /// `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Fractions are truncated, not rounded: the record happened in that second.
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Some(Self(time.timestamp()));
        }
        // With all its digits: of a text that lacks one, another time would be read.
        let whole = Some(text).filter(|text| text.len() == "20260302T100000Z".len())?;
        chrono::NaiveDateTime::parse_from_str(whole, "%Y%m%dT%H%M%SZ")
            .ok()
            .map(|t| Self(t.and_utc().timestamp()))
    }

    /// The first second of a calendar day in UTC; `None` for an invalid date.
    #[must_use]
    pub fn from_date(year: i32, month: u32, day: u32) -> Option<Self> {
        Some(Self(
            NaiveDate::from_ymd_opt(year, month, day)?
                .and_hms_opt(0, 0, 0)?
                .and_utc()
                .timestamp(),
        ))
    }

    /// This time plus `secs` seconds; saturates at the ends of the range instead of wrapping.
    #[must_use]
    pub fn plus(self, secs: i64) -> Self {
        Self(self.0.saturating_add(secs))
    }

    /// The start of the span of `secs` seconds that contains this time. Spans are counted from
    /// 1970 in UTC.
    #[must_use]
    pub fn start_of(self, secs: i64) -> Self {
        Self(self.0.div_euclid(secs).saturating_mul(secs))
    }

    /// Whether this time is more than a day after another, at which its event was known.
    #[must_use]
    pub fn is_ahead_of(self, known: Self) -> bool {
        self > known.plus(DAY_SECS)
    }

    /// Absolute difference to another time in seconds.
    #[must_use]
    pub fn distance(self, other: Self) -> i64 {
        self.0.saturating_sub(other.0).saturating_abs()
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::<Utc>::from_timestamp(self.0, 0) {
            Some(time) => {
                let (y, mo, d) = (time.year(), time.month(), time.day());
                write!(
                    f,
                    "{y:04}-{mo:02}-{d:02}T{:02}:{:02}:{:02}Z",
                    time.hour(),
                    time.minute(),
                    time.second()
                )
            }
            // Times outside the calendar also need a text: stored keys contain times.
            None => write!(f, "@{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_and_prints_the_extended_one() {
        for text in [
            "2026-03-02T10:00:00Z",
            "20260302T100000Z",
            "2026-03-02T11:00:00+01:00",
            "2026-03-02T10:00:00.9Z",
        ] {
            assert_eq!(
                EventTime::parse(text).unwrap().to_string(),
                "2026-03-02T10:00:00Z",
                "{text}"
            );
        }
        assert_eq!(EventTime::parse("yesterday"), None);
        assert_eq!(EventTime::from_date(2026, 2, 30), None);
    }

    #[test]
    fn what_is_printed_is_read_back() {
        for secs in [0, -1, 1_772_445_600, 253_402_300_799, -62_135_596_800] {
            let time = EventTime(secs);
            assert_eq!(EventTime::parse(&time.to_string()), Some(time), "{time}");
        }
        assert_eq!(EventTime(i64::MAX).to_string(), format!("@{}", i64::MAX));
    }

    #[test]
    fn text_orders_as_time_does() {
        let times = [-1, 0, 59, 60, 86_399, 86_400, 1_772_445_600].map(EventTime);
        assert!(times.is_sorted_by_key(ToString::to_string));
    }

    #[test]
    fn nothing_wraps_at_the_ends_of_time() {
        let (first, last) = (EventTime(i64::MIN), EventTime(i64::MAX));
        assert_eq!(last.plus(1), last);
        assert_eq!(first.plus(-1), first);
        assert_eq!(first.distance(last), i64::MAX);
        assert_eq!(last.distance(first), i64::MAX);
        assert_eq!(EventTime(7).distance(EventTime(9)), 2);
    }

    #[test]
    fn forms_that_look_like_times_are_none() {
        for text in [
            "",
            "2026-03-02",
            "2026-03-02T10:00:00",
            "2026-02-30T10:00:00Z",
            "20260302T1005Z",
            "1772445600",
            "2026-03-02T25:00:00Z",
        ] {
            assert_eq!(EventTime::parse(text), None, "{text:?}");
        }
    }
}
