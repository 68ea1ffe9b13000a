//! The key of a log object: account, region and day from its path, and whether it holds events at all.
//!
//! Layouts: `[prefix/]AWSLogs/<account>/CloudTrail/<region>/YYYY/MM/DD/<file>`, with an organisation id before the account
//! for organisation trails. Segments are compared whole: `CloudTrail-Digest` is not `CloudTrail`.
//! Source: AWS CloudTrail user guide, "Finding your CloudTrail log files".

use crate::ids::Text;
use crate::time::EventTime;

/// What the path of an object says about its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// CloudTrail events, or an object outside any `AWSLogs` tree, about which the path says nothing.
    Events,
    /// Digest files for log integrity (`CloudTrail-Digest`).
    Digest,
    /// Insights events (`CloudTrail-Insight`).
    Insight,
    /// Network activity events (`CloudTrail-NetworkActivity`); they repeat API calls as a VPC endpoint saw them.
    NetworkActivity,
    /// Aggregated events (`CloudTrail-Aggregated`), which are not records.
    Aggregated,
    /// Logs of another service under `AWSLogs/<account>/`, such as `Config` or `elasticloadbalancing`.
    OtherService,
}

/// What the path of an object, or of a folder on the way to one, says. Parts that the path does not reach are `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPath<'a> {
    /// What the object holds.
    pub kind: ObjectKind,
    /// Account id under `AWSLogs`.
    pub account: Option<&'a str>,
    /// Region segment: where the calls were made.
    pub region: Option<&'a str>,
    /// First day that the date segments cover, and the first day after it, in UTC.
    pub days: Option<(EventTime, EventTime)>,
    /// Time of delivery from the file name (`…_YYYYMMDDTHHmmZ_…`), in UTC to the minute. Records are older.
    pub delivered: Option<EventTime>,
}

/// The object that a record came in.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Path or key.
    pub object: Text,
    /// Time of delivery, where its name tells.
    pub delivered: Option<EventTime>,
}

/// The shared form of an object's name.
#[must_use]
pub fn origin(object: &str) -> Origin {
    Origin {
        object: Text::from(object),
        delivered: parse(object).delivered,
    }
}

/// Reads a key or path with `/` between its segments. Never fails: what is not recognised is `None`.
#[must_use]
pub fn parse(key: &str) -> ObjectPath<'_> {
    let mut path = ObjectPath {
        kind: ObjectKind::Events,
        account: None,
        region: None,
        days: None,
        delivered: None,
    };
    path.delivered = key.rsplit('/').next().and_then(delivered);
    let segments: Vec<&str> = key.split('/').filter(|s| !s.is_empty()).collect();
    let Some(root) = segments.iter().rposition(|s| *s == "AWSLogs") else {
        return path;
    };
    let mut rest = segments
        .get(root + 1..)
        .unwrap_or_default()
        .iter()
        .copied()
        .peekable();
    if rest.peek().is_some_and(|s| s.starts_with("o-")) {
        rest.next();
    }
    path.account = rest
        .next()
        .filter(|s| s.len() == 12 && s.bytes().all(|b| b.is_ascii_digit()));
    if path.account.is_none() {
        return path;
    }
    path.kind = match rest.next() {
        Some("CloudTrail") | None => ObjectKind::Events,
        Some("CloudTrail-Digest") => ObjectKind::Digest,
        Some("CloudTrail-Insight") => ObjectKind::Insight,
        Some("CloudTrail-NetworkActivity") => ObjectKind::NetworkActivity,
        Some("CloudTrail-Aggregated") => ObjectKind::Aggregated,
        Some(_) => ObjectKind::OtherService,
    };
    path.region = rest.next();
    path.days = days(&rest.collect::<Vec<_>>());
    path
}

/// The span of `YYYY`, `YYYY/MM` or `YYYY/MM/DD`.
fn days(segments: &[&str]) -> Option<(EventTime, EventTime)> {
    let number = |index: usize, width: usize| {
        segments
            .get(index)
            .filter(|s| s.len() == width && s.bytes().all(|b| b.is_ascii_digit()))?
            .parse::<u32>()
            .ok()
    };
    let year = i32::try_from(number(0, 4)?).ok()?;
    match (number(1, 2), number(2, 2)) {
        (Some(month), Some(day)) => {
            let start = EventTime::from_date(year, month, day)?;
            Some((start, start.plus(86_400)))
        }
        (Some(12), None) => Some((
            EventTime::from_date(year, 12, 1)?,
            EventTime::from_date(year + 1, 1, 1)?,
        )),
        (Some(month), None) => Some((
            EventTime::from_date(year, month, 1)?,
            EventTime::from_date(year, month + 1, 1)?,
        )),
        _ => Some((
            EventTime::from_date(year, 1, 1)?,
            EventTime::from_date(year + 1, 1, 1)?,
        )),
    }
}

fn delivered(file: &str) -> Option<EventTime> {
    let stamp = file
        .split('_')
        .find(|part| part.len() == 14 && part.ends_with('Z') && part.get(8..9) == Some("T"))?;
    let number = |from, to| {
        stamp
            .get(from..to)
            .filter(|n| n.bytes().all(|b| b.is_ascii_digit()))?
            .parse::<u32>()
            .ok()
    };
    let day = EventTime::from_date(
        i32::try_from(number(0, 4)?).ok()?,
        number(4, 6)?,
        number(6, 8)?,
    )?;
    let (hour, minute) = (
        number(9, 11).filter(|h| *h < 24)?,
        number(11, 13).filter(|m| *m < 60)?,
    );
    Some(day.plus(i64::from(hour * 3_600 + minute * 60)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "111122223333_CloudTrail_eu-west-1_20260302T1005Z_AbCdEfGh12345678.json.gz";

    #[test]
    fn reads_every_layout() {
        for prefix in [
            "AWSLogs",
            "some/prefix/AWSLogs",
            "/mnt/AWSLogs/o-abcdefghij",
            "o-abcdefghij/AWSLogs/o-abcdefghij",
        ] {
            let key = format!("{prefix}/111122223333/CloudTrail/eu-west-1/2026/03/02/{FILE}");
            let path = parse(&key);
            assert_eq!(
                (path.kind, path.account, path.region),
                (ObjectKind::Events, Some("111122223333"), Some("eu-west-1"))
            );
            assert_eq!(
                path.days,
                Some((
                    EventTime::from_date(2026, 3, 2).unwrap(),
                    EventTime::from_date(2026, 3, 3).unwrap()
                ))
            );
            assert_eq!(path.delivered, EventTime::parse("2026-03-02T10:05:00Z"));
        }
        for no_stamp in [
            "20260302T2405Z",
            "20260302T1060Z",
            "20260230T1005Z",
            "2026030aT1005Z",
            "20260302T+105Z",
        ] {
            assert_eq!(
                parse(&FILE.replace("20260302T1005Z", no_stamp)).delivered,
                None,
                "{no_stamp}"
            );
        }
    }

    #[test]
    fn reads_folders_on_the_way() {
        let span = |key| parse(key).days.map(|(a, b)| (a.to_string(), b.to_string()));
        assert_eq!(parse("AWSLogs/111122223333").account, Some("111122223333"));
        assert_eq!(
            span("AWSLogs/111122223333/CloudTrail/eu-west-1/2026/12"),
            Some(("2026-12-01T00:00:00Z".into(), "2027-01-01T00:00:00Z".into()))
        );
        assert_eq!(span("AWSLogs/111122223333/CloudTrail/eu-west-1"), None);
    }

    #[test]
    fn compares_whole_segments() {
        let kind = |segment| {
            parse(&format!(
                "AWSLogs/111122223333/{segment}/eu-west-1/2026/03/02/{FILE}"
            ))
            .kind
        };
        assert_eq!(kind("CloudTrail-Digest"), ObjectKind::Digest);
        assert_eq!(kind("CloudTrail-Insight"), ObjectKind::Insight);
        assert_eq!(
            kind("CloudTrail-NetworkActivity"),
            ObjectKind::NetworkActivity
        );
        assert_eq!(kind("CloudTrail-Aggregated"), ObjectKind::Aggregated);
        assert_eq!(kind("Config"), ObjectKind::OtherService);
        assert_eq!(
            parse("my-CloudTrail-Digest-copies/events.json").kind,
            ObjectKind::Events
        );
    }
}
