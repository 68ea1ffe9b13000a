//! Who may read secrets by hand, and when: `people` of a policy.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Datelike, Utc, Weekday};

use super::matching::{any_covers, any_names, names, patterns_text};
use crate::{access::Access, glob::GlobPattern, ids::SecretRef, limits::DAY_SECS, time::EventTime};

/// An entry of `people`.
#[derive(Debug)]
pub(super) struct PersonGrant {
    pub(super) secrets: Vec<GlobPattern>,
    pub(super) principals: Vec<GlobPattern>,
    /// `None` for the whole day.
    pub(super) hours: Option<HoursOfDay>,
    /// `None` for every day.
    pub(super) days: Option<Vec<Weekday>>,
}

impl PersonGrant {
    pub(super) fn covers(&self, subjects: &[String], secret: &SecretRef) -> bool {
        any_covers(&self.secrets, subjects, secret)
    }

    /// Whether the entry names the person, and allows the time.
    pub(super) fn allows(&self, access: &Access) -> bool {
        let time = access.head.time;
        names(&self.principals, access)
            && self.hours.is_none_or(|hours| hours.contain(time))
            && self.is_on_its_days(time)
    }

    /// Whether it names a principal under one of its ids, at whatever time.
    pub(super) fn names_id(&self, principal: &[&str]) -> bool {
        let mut ids = principal.iter();
        ids.any(|id| any_names(&self.principals, id))
    }

    fn is_on_its_days(&self, time: EventTime) -> bool {
        let Some(days) = &self.days else {
            return true;
        };
        // Night shifts belong to the day on which they begin.
        let begin = self.hours.map_or(time, |hours| hours.begin_of(time));
        days.iter().any(|day| weekday(begin) == Some(*day))
    }
}

impl fmt::Display for PersonGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [principals, secrets] =
            [&self.principals, &self.secrets].map(|list| patterns_text(list));
        write!(f, "{principals} may read {secrets}")?;
        if let Some(days) = &self.days {
            let mut days = days.clone();
            days.sort_by_key(Weekday::num_days_from_monday);
            days.dedup();
            let days: Vec<String> = days.iter().map(ToString::to_string).collect();
            write!(f, " on {}", days.join(", "))?;
        }
        match &self.hours {
            Some(hours) => write!(f, " at {hours} UTC"),
            None => Ok(()),
        }
    }
}

/// A span of the day in UTC, over midnight where its end is not after its begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HoursOfDay {
    /// Minute of the day, from 0.
    begin: i64,
    /// The first minute that is not in it, up to 1,440.
    end: i64,
}

const DAY_MINUTES: i64 = DAY_SECS / 60;

impl HoursOfDay {
    fn contain(self, time: EventTime) -> bool {
        let minute = minute_of(time);
        if self.is_over_midnight() {
            minute >= self.begin || minute < self.end
        } else {
            (self.begin..self.end).contains(&minute)
        }
    }

    fn is_over_midnight(self) -> bool {
        self.end <= self.begin
    }

    /// A time of the day on which the span around this time begins.
    fn begin_of(self, time: EventTime) -> EventTime {
        let is_after_midnight = self.is_over_midnight() && minute_of(time) < self.end;
        time.plus(if is_after_midnight { -DAY_SECS } else { 0 })
    }
}

impl fmt::Display for HoursOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [begin, end] = [self.begin, self.end];
        let (from, to) = (begin / 60, end / 60);
        write!(f, "{from:02}:{:02}-{to:02}:{:02}", begin % 60, end % 60)
    }
}

impl FromStr for HoursOfDay {
    type Err = ();

    /// Reads `08:00-18:30`; the end may be `24:00`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (begin, end) = text.split_once('-').ok_or(())?;
        let [begin, end] = [minute(begin), minute(end)];
        let (begin, end) = (begin.ok_or(())?, end.ok_or(())?);
        // An empty span, or the whole day: nobody means the first, and who means the second writes
        // no hours.
        if begin == end || begin == DAY_MINUTES {
            return Err(());
        }
        Ok(Self { begin, end })
    }
}

/// The minute of the day of `hh:mm`.
fn minute(text: &str) -> Option<i64> {
    let (hour, minute) = text.trim().split_once(':')?;
    let is_written = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    if !is_written(hour) || !is_written(minute) {
        return None;
    }
    let (hour, minute): (i64, i64) = (hour.parse().ok()?, minute.parse().ok()?);
    let of_day = hour * 60 + minute;
    (minute < 60 && of_day <= DAY_MINUTES).then_some(of_day)
}

fn minute_of(time: EventTime) -> i64 {
    time.0.rem_euclid(DAY_SECS) / 60
}

fn weekday(time: EventTime) -> Option<Weekday> {
    let time = DateTime::<Utc>::from_timestamp(time.0, 0);
    time.map(|time| time.weekday())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        access::sample,
        policy::{AccessPolicy, PolicyVerdict},
        principal::PrincipalKind,
    };

    fn verdict(policy: &str, time: &str, kind: PrincipalKind) -> (PolicyVerdict, PolicyVerdict) {
        let policy: AccessPolicy = policy.parse().unwrap();
        let mut access = sample();
        let head = Arc::make_mut(&mut access.head);
        head.time = EventTime::parse(time).unwrap();
        let principal = Arc::make_mut(&mut head.principal);
        principal.kind = kind;
        principal.id = Some("arn:aws:iam::111122223333:user/ann".into());
        let judged = policy.judge(&access);
        (judged.person, judged.principal)
    }

    fn policy(when: &str) -> String {
        format!(
            "version: 1\npeople:\n  - principals: [\"arn:aws:iam::111122223333:user/a*\"]\n    \
             secrets: [\"*\"]\n{when}grants: []\n"
        )
    }

    #[test]
    fn a_person_is_expected_in_the_hours_and_on_the_days() {
        use PolicyVerdict::{No, Undeclared, Yes};
        let office = policy("    hours: \"08:00-18:30\"\n    days: [mon, tue, wed, thu, fri]\n");
        let night = policy("    hours: \"22:00-06:00\"\n    days: [fri]\n");
        let always = policy("");
        let other = always.replace("user/a*", "user/b*");
        let elsewhere = always.replace("\"*\"", "\"arn:aws:ssm:*:111122223333:parameter/x\"");
        // 2026-03-02 was a Monday.
        for (policy, time, expected) in [
            (&office, "2026-03-02T08:00:00Z", Yes),
            (&office, "2026-03-02T18:29:59Z", Yes),
            (&office, "2026-03-02T18:30:00Z", No),
            (&office, "2026-03-02T07:59:59Z", No),
            (&office, "2026-03-01T10:00:00Z", No),
            (&night, "2026-03-06T23:00:00Z", Yes),
            // The night from Friday to Saturday, and the one before it.
            (&night, "2026-03-07T05:59:59Z", Yes),
            (&night, "2026-03-06T05:00:00Z", No),
            (&night, "2026-03-07T06:00:00Z", No),
            (&always, "2026-03-01T03:00:00Z", Yes),
            (&other, "2026-03-02T10:00:00Z", No),
            (&elsewhere, "2026-03-02T10:00:00Z", Undeclared),
        ] {
            let judged = verdict(policy, time, PrincipalKind::Human);
            assert_eq!(judged, (expected, expected), "{time} {policy}");
        }
        let software = verdict(&always, "2026-03-02T10:00:00Z", PrincipalKind::Workload);
        assert_eq!(software, (Undeclared, Undeclared), "not by hand");
    }

    #[test]
    fn hours_are_read_as_they_are_written() {
        for text in ["08:00-18:30", "22:00-06:00", "00:00-24:00"] {
            assert_eq!(text.parse::<HoursOfDay>().unwrap().to_string(), text);
        }
        for wrong in [
            "",
            "8-18",
            "08:00",
            "08:00-25:00",
            "08:60-10:00",
            "24:00-08:00",
            "08:00-08:00",
            "+8:00-10:00",
            "24:01-03:00",
        ] {
            assert!(wrong.parse::<HoursOfDay>().is_err(), "{wrong}");
        }
    }
}
