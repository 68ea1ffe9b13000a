//! Keys of log objects: account, region and day from the path, and whether the object holds events.
//!
//! Layouts: `[prefix/]AWSLogs/<account>/CloudTrail/<region>/YYYY/MM/DD/<file>`, with an
//! organisation id before the account for organisation trails. Segments are compared whole:
//! `CloudTrail-Digest` is not `CloudTrail`. Security Lake:
//! `…/region=<region>/accountId=<account>/eventDay=YYYYMMDD/<file>`.
//!
//! Sources: AWS CloudTrail user guide, "Finding your CloudTrail log files"; Security Lake user
//! guide, "Collecting data from AWS services".

use crate::{
    digest::short_digest_of_bytes,
    ids::{SharedStr, is_account},
    inflate,
    shallow::{TopLevel, text_of},
    time::EventTime,
};

/// Content of an object, judged by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// CloudTrail events, or an object outside any `AWSLogs` tree, whose path does not show its
    /// content.
    Events,
    /// Digest files for log integrity (`CloudTrail-Digest`).
    Digest,
    /// Insights events (`CloudTrail-Insight`).
    Insight,
    /// Network activity events (`CloudTrail-NetworkActivity`); they repeat API calls as a VPC
    /// endpoint saw them.
    NetworkActivity,
    /// Aggregated events (`CloudTrail-Aggregated`), which are not records.
    Aggregated,
    /// Logs of another service under `AWSLogs/<account>/`, such as `Config` or
    /// `elasticloadbalancing`.
    OtherService,
}

/// Information from the path of an object, or of a folder above it. `None` for parts that the path
/// does not contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPath<'a> {
    /// Content of the object.
    pub kind: ObjectKind,
    /// 12-digit account id under `AWSLogs`.
    pub account: Option<&'a str>,
    /// Region segment, e.g. `eu-west-1`: where the calls were made.
    pub region: Option<&'a str>,
    /// Period that the date segments cover, in UTC: start of its first day, and start of the first
    /// day after it.
    pub days: Option<(EventTime, EventTime)>,
    /// Delivery time from the file name (`…_YYYYMMDDTHHmmZ_…`), in UTC to the minute. The records
    /// are older.
    pub delivered: Option<EventTime>,
}

/// The object that contained a record.
#[derive(Debug, Clone)]
pub struct RecordOrigin {
    /// Path or key.
    pub object: SharedStr,
    /// Delivery time from its name, in UTC; `None` when the name has no time.
    pub delivered: Option<EventTime>,
}

/// How the origins of records begin that came as events of EventBridge, ahead of their files.
const DIRECT: &str = "via:eventbridge";

/// Whether records of this origin came as events of EventBridge: best effort, and ahead of the file
/// that is sure to have them.
#[must_use]
pub fn is_direct(object: &str) -> bool {
    object.starts_with(DIRECT)
}

/// The origin of the record in an event of EventBridge with this id (`id` of the event).
#[must_use]
pub fn direct_origin(id: &str) -> RecordOrigin {
    RecordOrigin {
        object: format!("{DIRECT}/{id}").into(),
        delivered: None,
    }
}

/// The origin of the records in a payload of a subscription of CloudWatch Logs, by the names of its
/// log group and stream and a digest of the payload: `via:cloudwatch-logs/GROUP/STREAM#DIGEST`; of
/// another payload, `via:stream#DIGEST`.
#[must_use]
pub fn payload_origin(payload: &[u8]) -> RecordOrigin {
    let first = inflate::beginning(payload, PAYLOAD_HEAD);
    let top = TopLevel::of(&first);
    let name = |key| top.get(key).and_then(text_of);
    let digest = short_digest_of_bytes(payload);
    let object = match (name("logGroup"), name("logStream")) {
        (Some(group), Some(stream)) => {
            format!("via:cloudwatch-logs/{group}/{stream}#{digest:016x}")
        }
        _ => format!("via:stream#{digest:016x}"),
    };
    RecordOrigin {
        object: object.into(),
        delivered: None,
    }
}

/// Bytes of a payload in which its names are: names of log groups and streams have at most 512
/// characters.
const PAYLOAD_HEAD: u64 = 4_096;

/// The origin of records in the object with this path or key.
#[must_use]
pub fn origin(object: &str) -> RecordOrigin {
    RecordOrigin {
        object: SharedStr::from(object),
        delivered: parse(object).delivered,
    }
}

impl ObjectKind {
    /// Classifies the segment after the account; segments are compared whole.
    fn of_segment(segment: &str) -> Self {
        match segment {
            "CloudTrail" => Self::Events,
            "CloudTrail-Digest" => Self::Digest,
            "CloudTrail-Insight" => Self::Insight,
            "CloudTrail-NetworkActivity" => Self::NetworkActivity,
            "CloudTrail-Aggregated" => Self::Aggregated,
            _ => Self::OtherService,
        }
    }
}

/// Parses a key or path with `/` between its segments. Never fails: unrecognised parts are `None`.
#[must_use]
pub fn parse(key: &str) -> ObjectPath<'_> {
    let segments: Vec<&str> = key.split('/').filter(|s| !s.is_empty()).collect();
    let tree = account_tree(&segments);
    if tree.is_none()
        && let Some(partitions) = partitions(&segments)
    {
        return partitions;
    }
    let below = tree.map_or(&[][..], |(_, below)| below);
    ObjectPath {
        // A folder above these segments may contain events, so it must be searched.
        kind: below
            .first()
            .map_or(ObjectKind::Events, |s| ObjectKind::of_segment(s)),
        account: tree.map(|(account, _)| account),
        region: below.get(1).copied(),
        days: days(below.get(2..).unwrap_or_default()),
        delivered: key.rsplit('/').next().and_then(delivered),
    }
}

/// The partitions of Security Lake in a path; `None` without an account among them.
fn partitions<'k>(segments: &[&'k str]) -> Option<ObjectPath<'k>> {
    let value = |name: &str| {
        let pairs = segments
            .iter()
            .filter_map(|segment| segment.split_once('='));
        let mut values = pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value)
    };
    let account = value("accountId").filter(|account| is_account(account))?;
    let day = value("eventDay").and_then(|day| {
        let (year, month, day) = (day.get(..4)?, day.get(4..6)?, day.get(6..8)?);
        days(&[year, month, day])
    });
    Some(ObjectPath {
        kind: ObjectKind::Events,
        account: Some(account),
        region: value("region"),
        days: day,
        delivered: None,
    })
}

/// The account id under `AWSLogs`, and the segments below it.
fn account_tree<'s, 'k>(segments: &'s [&'k str]) -> Option<(&'k str, &'s [&'k str])> {
    // The last one: a copied bucket may be inside a folder of that name.
    let root = segments.iter().rposition(|s| *s == "AWSLogs")?;
    let mut below = segments.get(root + 1..)?;
    if let [organisation, rest @ ..] = below
        && organisation.starts_with("o-")
    {
        below = rest;
    }
    let (account, below) = below.split_first()?;
    is_account(account).then_some((account, below))
}

/// The period that `YYYY`, `YYYY/MM` or `YYYY/MM/DD` covers.
fn days(segments: &[&str]) -> Option<(EventTime, EventTime)> {
    let year = i32::try_from(number(segments.first()?, 4)?).ok()?;
    let month = segments.get(1).and_then(|s| number(s, 2));
    let day = month.and(segments.get(2).and_then(|s| number(s, 2)));
    let start = EventTime::from_date(year, month.unwrap_or(1), day.unwrap_or(1))?;
    let end = match (month, day) {
        (_, Some(_)) => start.plus(86_400),
        (Some(month), None) if month < 12 => EventTime::from_date(year, month + 1, 1)?,
        _ => EventTime::from_date(year + 1, 1, 1)?,
    };
    Some((start, end))
}

/// The time in the name of a log, `<account>_CloudTrail_<region>_YYYYMMDDTHHmmZ_<16
/// characters>.json.gz`.
fn delivered(file: &str) -> Option<EventTime> {
    // Found by its form, not its position: copies may have prefixes.
    let stamp = file
        .split('_')
        .find(|part| part.len() == 14 && part.ends_with('Z') && part.get(8..9) == Some("T"))?;
    let (date, time) = (number(stamp.get(..8)?, 8)?, number(stamp.get(9..13)?, 4)?);
    let year = i32::try_from(date / 10_000).ok()?;
    let start = EventTime::from_date(year, date / 100 % 100, date % 100)?;
    let (hour, minute) = (time / 100, time % 100);
    // An invalid time is `None`; it must not wrap into the next day.
    (hour < 24 && minute < 60).then(|| start.plus(i64::from(hour * 3_600 + minute * 60)))
}

/// A number of exactly this many digits. Rust's own parser accepts a sign, which no date has.
fn number(text: &str, width: usize) -> Option<u32> {
    let is_number = text.len() == width && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
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
        let span = |key: &str| parse(key).days.map(|(a, b)| (a.to_string(), b.to_string()));
        assert_eq!(parse("AWSLogs/111122223333").account, Some("111122223333"));
        assert_eq!(
            span("AWSLogs/111122223333/CloudTrail/eu-west-1/2026/12"),
            Some(("2026-12-01T00:00:00Z".into(), "2027-01-01T00:00:00Z".into()))
        );
        assert_eq!(
            span("AWSLogs/111122223333/CloudTrail/eu-west-1/2026/"),
            Some(("2026-01-01T00:00:00Z".into(), "2027-01-01T00:00:00Z".into()))
        );
        assert_eq!(
            span("AWSLogs/111122223333/CloudTrail/eu-west-1/2028/02"),
            Some(("2028-02-01T00:00:00Z".into(), "2028-03-01T00:00:00Z".into()))
        );
        for none in [
            "",
            "/26",
            "/2026/13",
            "/2026/02/30",
            "/+026",
            "/2026/+2/01x/..",
        ] {
            let span = span(&format!("AWSLogs/111122223333/CloudTrail/eu-west-1{none}"));
            // A month that is not a number is ignored, like anything else after a year.
            assert_eq!(
                span.is_some(),
                none.starts_with("/2026/+2"),
                "{none}: {span:?}"
            );
        }
    }

    #[test]
    fn what_is_no_account_makes_no_tree() {
        for key in [
            "AWSLogs/11112222333/CloudTrail-Digest/eu-west-1",
            "AWSLogs/1111-2222-3333/Config/eu-west-1",
            "AWSLogs/o-abcdefghij/CloudTrail-Digest",
            "AWSLogs/",
            "AWSLogs",
            "",
        ] {
            let path = parse(key);
            assert_eq!((path.account, path.region), (None, None), "{key}");
            assert_eq!(path.kind, ObjectKind::Events, "{key}");
        }
    }

    #[test]
    fn partitions_of_security_lake_are_read() {
        let key = "aws/CLOUD_TRAIL_MGMT/2.0/region=eu-west-1/accountId=111122223333/\
            eventDay=20260302/part-0.gz.parquet";
        let path = parse(key);
        assert_eq!(
            (path.kind, path.account, path.region),
            (ObjectKind::Events, Some("111122223333"), Some("eu-west-1"))
        );
        let day = path
            .days
            .map(|(from, to)| (from.to_string(), to.to_string()));
        let expected = ("2026-03-02T00:00:00Z".into(), "2026-03-03T00:00:00Z".into());
        assert_eq!(day, Some(expected));
        // Folders on the way, and what is none.
        let above = parse("region=eu-west-1/accountId=111122223333");
        assert_eq!((above.account, above.days), (Some("111122223333"), None));
        assert_eq!(parse("region=eu-west-1/accountId=me/x").account, None);
        assert_eq!(parse("accountId=111122223333/eventDay=2026030").days, None);
    }

    #[test]
    fn the_innermost_tree_counts() {
        let key = "AWSLogs/999999999999/Config/AWSLogs/111122223333/CloudTrail//eu-west-1";
        let path = parse(key);
        assert_eq!(path.account, Some("111122223333"));
        assert_eq!(path.kind, ObjectKind::Events);
        assert_eq!(path.region, Some("eu-west-1"), "empty segments are skipped");
    }

    #[test]
    fn a_stamp_is_found_behind_a_prefix() {
        let stamped = |name: &str| parse(name).delivered.map(|time| time.to_string());
        assert_eq!(
            stamped(&format!("copies/2026_{FILE}")).as_deref(),
            Some("2026-03-02T10:05:00Z")
        );
        // Digest names have a time with seconds, at the end.
        let digest =
            "111122223333_CloudTrail-Digest_eu-west-1_t_eu-west-1_20260302T100500Z.json.gz";
        assert_eq!(stamped(digest), None);
        assert_eq!(stamped(&format!("{FILE}/")), None, "a folder has no stamp");
    }

    #[test]
    fn a_payload_is_named_by_its_log() {
        let text = br#"{"messageType":"DATA_MESSAGE","owner":"111122223333","logGroup":"trail/a",
            "logStream":"111122223333_CloudTrail_eu-west-1","subscriptionFilters":["f"],"logEv"#;
        let named = |payload: &[u8]| payload_origin(payload).object.to_string();
        let plain = named(text);
        let expected = "via:cloudwatch-logs/trail/a/111122223333_CloudTrail_eu-west-1#";
        assert!(plain.starts_with(expected), "{plain}");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, text).unwrap();
        let packed = named(&gzip.finish().unwrap());
        assert!(packed.starts_with(expected), "{packed}");
        assert_ne!(packed, plain, "another payload");
        assert!(named(b"{\"eventName\":1}").starts_with("via:stream#"));
        assert!(named(b"").starts_with("via:stream#"));
        assert!(!is_direct(&plain) && is_direct(&direct_origin("b1").object));
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
