//! Parsers for the values of options: times, ages, sizes, account ids and names.

use std::ffi::OsStr;

use chrono::{FixedOffset, NaiveDate, NaiveTime};
use clap::{
    Arg, Command,
    builder::{PossibleValue, PossibleValuesParser, StringValueParser, TypedValueParser},
};
use secretrail_engine::{
    access::AccessMethod, ids::is_account, observation::CallOutcome, rule_meta::RuleLevel,
    time::EventTime,
};

/// The syntax that a value should have. clap adds the option and the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a time.
    #[error(
        "write 2026-03-02, 2026-03-02 11:00 or 2026-03-02T11:00:00Z; times without a zone are UTC"
    )]
    Time,
    /// Not a number of bytes.
    #[error("write a number of bytes, such as 64M or 1G")]
    Bytes,
    /// Not an age.
    #[error("write a number and s, m, h, d or w, such as 30d")]
    Age,
    /// Not a ratio.
    #[error("write a number of 1 or more, as in 3")]
    Ratio,
    /// Not an account id, and nothing that looks like one.
    #[error("an account id has 12 digits, such as 111122223333")]
    Account,
    /// An account id with hyphens or spaces between its digits.
    #[error("an account id has 12 digits and nothing between them; write {0}")]
    Hyphens(String),
}

/// The end of a selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTime {
    /// The time as typed; of a date, its first second.
    pub typed: EventTime,
    /// The first time after the selection; after a date, the first second of the next day.
    pub end: EventTime,
}

/// A time, or a date, which means its first second in UTC.
pub(crate) fn time(text: &str) -> Result<EventTime, ValueError> {
    end_time(text).map(|time| time.typed)
}

/// The end of a selection: a time, or a date, which means the end of that day in UTC.
pub(crate) fn end_time(text: &str) -> Result<EndTime, ValueError> {
    let text = text.trim();
    if let Some(time) = EventTime::parse(text).or_else(|| pasted(text)) {
        return Ok(EndTime {
            typed: time,
            end: time,
        });
    }
    let typed = date(text).ok_or(ValueError::Time)?;
    Ok(EndTime {
        typed,
        end: typed.plus(86_400),
    })
}

/// The first second of a date.
fn date(text: &str) -> Option<EventTime> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(EventTime(
        date.and_time(NaiveTime::MIN).and_utc().timestamp(),
    ))
}

/// A date and a time of day as people paste them: with a space or a `T` between them, with or
/// without seconds, fractions and a zone. Without a zone, UTC.
fn pasted(text: &str) -> Option<EventTime> {
    let (date, rest) = text.split_at_checked("2026-03-02".len())?;
    let midnight = self::date(date)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let zone = rest.find(|c: char| c.is_ascii_alphabetic() || "+- ".contains(c));
    let (clock, zone) = rest.split_at_checked(zone.unwrap_or(rest.len()))?;
    let clock = clock.replace(',', ".");
    let time = ["%H:%M", "%H:%M:%S%.f"]
        .iter()
        .find_map(|form| NaiveTime::parse_from_str(&clock, form).ok())?;
    let of_day = time.signed_duration_since(NaiveTime::MIN).num_seconds();
    Some(midnight.plus(of_day - offset_secs(zone.trim())?))
}

/// The offset of a zone from UTC in seconds: `Z`, `UTC`, `GMT`, `+01:00`, `+0100` or `+01`.
fn offset_secs(zone: &str) -> Option<i64> {
    if ["", "Z", "UTC", "GMT"]
        .iter()
        .any(|utc| zone.eq_ignore_ascii_case(utc))
    {
        return Some(0);
    }
    // `UTC+01:00`, as the console of AWS writes it.
    let zone = zone.strip_prefix("UTC").unwrap_or(zone);
    let is_offset = zone
        .chars()
        .all(|c| c.is_ascii_digit() || "+-:".contains(c));
    let whole = match zone.len() {
        3 => format!("{zone}:00"),
        5 | 6 => zone.to_owned(),
        _ => return None,
    };
    let offset: FixedOffset = whole.parse().ok().filter(|_| is_offset)?;
    Some(i64::from(offset.local_minus_utc()))
}

/// An account id: 12 digits.
pub(crate) fn account(text: &str) -> Result<String, ValueError> {
    let text = text.trim();
    if is_account(text) {
        return Ok(text.to_owned());
    }
    let digits = text.replace(['-', ' '], "");
    Err(if is_account(&digits) {
        ValueError::Hyphens(digits)
    } else {
        ValueError::Account
    })
}

/// A number of bytes, with K, M or G for powers of 1,024. Zero is rejected: nothing would fit.
pub(crate) fn bytes(text: &str) -> Result<u64, ValueError> {
    let units = [('K', 1 << 10), ('M', 1 << 20), ('G', 1 << 30)];
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(*name)?, *unit)))
        .unwrap_or((text, 1));
    match number.parse::<u64>() {
        Ok(number) if number > 0 => number.checked_mul(unit).ok_or(ValueError::Bytes),
        _ => Err(ValueError::Bytes),
    }
}

/// A ratio, one or more.
pub(crate) fn ratio(text: &str) -> Result<f64, ValueError> {
    let ratio = text.parse::<f64>().ok();
    let ratio = ratio.filter(|ratio| ratio.is_finite() && *ratio >= 1.0);
    ratio.ok_or(ValueError::Ratio)
}

/// An age (`90m`, `30d`) in seconds.
pub(crate) fn age(text: &str) -> Result<i64, ValueError> {
    let unit = text.chars().next_back().ok_or(ValueError::Age)?;
    let secs = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(ValueError::Age),
    };
    let number = text.strip_suffix(unit).unwrap_or(text);
    match number.parse::<i64>() {
        Ok(number) if number >= 0 => number.checked_mul(secs).ok_or(ValueError::Age),
        _ => Err(ValueError::Age),
    }
}

/// The levels of rules, by name.
pub(crate) fn levels() -> impl TypedValueParser<Value = RuleLevel> {
    let names = PossibleValuesParser::new(RuleLevel::ALL.map(RuleLevel::as_str));
    names.try_map(|name| name.parse::<RuleLevel>())
}

/// The outcomes of calls, by name.
pub(crate) fn outcomes() -> impl TypedValueParser<Value = CallOutcome> {
    let names = PossibleValuesParser::new(CallOutcome::ALL.map(CallOutcome::as_str));
    names.try_map(|name| name.parse::<CallOutcome>())
}

/// The methods of accesses, by name.
pub(crate) fn methods() -> impl TypedValueParser<Value = AccessMethod> {
    let names = PossibleValuesParser::new(AccessMethod::ALL.map(AccessMethod::as_str));
    names.try_map(|name| name.parse::<AccessMethod>())
}

/// Any name of a rule. Shells are offered the built-in ones, by the names of their files: these say
/// more than ids.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RuleNameParser;

impl TypedValueParser for RuleNameParser {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let names = secretrail_pack::names();
        Some(Box::new(
            names.map(|(name, title)| PossibleValue::new(name).help(title)),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_begins_with_its_first_second_and_ends_with_its_last() {
        let midnight = EventTime::parse("2026-03-02T00:00:00Z").unwrap();
        assert_eq!(time("2026-03-02"), Ok(midnight));
        assert_eq!(time("1970-01-02"), Ok(EventTime(86_400)));
        let day = end_time("2026-03-02").unwrap();
        assert_eq!((day.typed, day.end), (midnight, midnight.plus(86_400)));
        let moment = end_time("2026-03-02T10:00:00Z").unwrap();
        assert_eq!(moment.typed, moment.end);
        for wrong in [
            "2026-02-30",
            "yesterday",
            "",
            "2026-03-02 25:00",
            "2026-03-02 11",
        ] {
            assert_eq!(time(wrong), Err(ValueError::Time), "{wrong}");
        }
    }

    #[test]
    fn times_are_read_in_the_forms_that_people_paste() {
        let eleven = Ok(EventTime::parse("2026-03-02T11:00:00Z").unwrap());
        for text in [
            "2026-03-02 11:00",
            "2026-03-02T11:00Z",
            "2026-03-02T11:00",
            "2026-03-02 11:00:00",
            "2026-03-02 11:00:00.123",
            "2026-03-02 11:00:00,123",
            "2026-03-02 11:00 UTC",
            "2026-03-02 11:00:00Z",
            " 2026-03-02t11:00:00z ",
            "2026-03-02 12:00+01:00",
            "2026-03-02 12:00 +0100",
            "2026-03-02T09:00:00-02",
            "2026-03-02 12:00:00 UTC+01:00",
            "20260302T110000Z",
        ] {
            assert_eq!(time(text), eleven, "{text}");
        }
        for wrong in [
            "2026-03-02 11:00 CET",
            "2026-03-02 11:00+1",
            "2026-03-02 11:00x",
        ] {
            assert_eq!(time(wrong), Err(ValueError::Time), "{wrong}");
        }
    }

    #[test]
    fn an_account_id_has_twelve_digits_and_hyphens_are_refused_with_the_remedy() {
        assert_eq!(account("111122223333").as_deref(), Ok("111122223333"));
        let error = account("1111-2222-3333").unwrap_err();
        assert!(error.to_string().ends_with("write 111122223333"), "{error}");
        for wrong in ["11112222333", "1111222233334", "prod", "", "11112222333３"] {
            assert_eq!(account(wrong), Err(ValueError::Account), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024_and_never_nothing() {
        assert_eq!(bytes("512"), Ok(512));
        assert_eq!((bytes("64M"), bytes("2G")), (Ok(64 << 20), Ok(2 << 30)));
        for wrong in ["0", "0K", "-1", "M", "1T", "99999999999G", ""] {
            assert_eq!(bytes(wrong), Err(ValueError::Bytes), "{wrong}");
        }
    }

    #[test]
    fn ratios_are_one_or_more() {
        assert_eq!(ratio("2.5"), Ok(2.5));
        for wrong in ["0.5", "-1", "nan", "inf", "x"] {
            assert_eq!(ratio(wrong), Err(ValueError::Ratio), "{wrong}");
        }
    }

    #[test]
    fn ages_have_a_unit() {
        assert_eq!((age("90m"), age("2w")), (Ok(5_400), Ok(1_209_600)));
        for wrong in ["30", "d", "-1d", "1y", "9223372036854775807w", "", "3é"] {
            assert_eq!(age(wrong), Err(ValueError::Age), "{wrong}");
        }
    }
}
