//! Parsers for the values of options: times, ages and sizes.

use chrono::{NaiveDate, NaiveTime};
use secretrail_engine::time::EventTime;

/// The syntax that a value should have. clap adds the option and the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(&'static str);

const TIME: ValueError = ValueError("write 2026-03-02T10:00:00Z or 2026-03-02");
const BYTES: ValueError = ValueError("write a number of bytes, such as 64M or 1G");
const AGE: ValueError = ValueError("write a number and s, m, h, d or w, such as 30d");

/// A time in RFC 3339, or a date, which means its first second in UTC.
pub(crate) fn time(text: &str) -> Result<EventTime, ValueError> {
    if let Some(time) = EventTime::parse(text) {
        return Ok(time);
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| TIME)?;
    let midnight = date.and_time(NaiveTime::MIN).and_utc();
    Ok(EventTime(midnight.timestamp()))
}

/// A number of bytes, with K, M or G for powers of 1,024. Zero is rejected: nothing would fit.
pub(crate) fn bytes(text: &str) -> Result<u64, ValueError> {
    let units = [('K', 1 << 10), ('M', 1 << 20), ('G', 1 << 30)];
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(*name)?, *unit)))
        .unwrap_or((text, 1));
    match number.parse::<u64>() {
        Ok(number) if number > 0 => number.checked_mul(unit).ok_or(BYTES),
        _ => Err(BYTES),
    }
}

/// An age (`90m`, `30d`) in seconds.
pub(crate) fn age(text: &str) -> Result<i64, ValueError> {
    let unit = text.chars().next_back().ok_or(AGE)?;
    let secs = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(AGE),
    };
    let number = text.strip_suffix(unit).unwrap_or(text);
    match number.parse::<i64>() {
        Ok(number) if number >= 0 => number.checked_mul(secs).ok_or(AGE),
        _ => Err(AGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_its_first_second() {
        assert_eq!(time("2026-03-02"), time("2026-03-02T00:00:00Z"));
        assert_eq!(time("1970-01-02"), Ok(EventTime(86_400)));
        for wrong in ["2026-02-30", "yesterday", "", "2026-03-02 11:00"] {
            assert_eq!(time(wrong), Err(TIME), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024_and_never_nothing() {
        assert_eq!(bytes("512"), Ok(512));
        assert_eq!((bytes("64M"), bytes("2G")), (Ok(64 << 20), Ok(2 << 30)));
        for wrong in ["0", "0K", "-1", "M", "1T", "99999999999G", ""] {
            assert_eq!(bytes(wrong), Err(BYTES), "{wrong}");
        }
    }

    #[test]
    fn ages_have_a_unit() {
        assert_eq!((age("90m"), age("2w")), (Ok(5_400), Ok(1_209_600)));
        for wrong in ["30", "d", "-1d", "1y", "9223372036854775807w", "", "3é"] {
            assert_eq!(age(wrong), Err(AGE), "{wrong}");
        }
    }
}
