//! Every limit of the engine as a named constant: value, unit, source, and what happens beyond it.

use std::ops::RangeInclusive;

/// Largest difference in seconds between the event times of a read and its KMS Decrypt.
///
/// In real logs the difference is 0 s for every pair; five seconds allow for the clocks of two
/// services.
pub const PAIRING_TOLERANCE_SECS: i64 = 5;

/// Default allowed lateness in seconds: how long after the delivery of a pending event its other
/// half may still arrive.
///
/// The longest measured delivery delay is 594 s. Absence is decided once, when the allowed lateness
/// has passed.
pub const ALLOWED_LATENESS_SECS: i64 = 900;

/// Length in seconds of the buckets in which the presence of KMS events is recorded per account and
/// region.
///
/// A read counts as covered when KMS events were seen in its own bucket or in an adjacent one.
pub const COVERAGE_BUCKET_SECS: i64 = 3_600;

/// Largest record in bytes of JSON. CloudTrail writes at most 256 KB for a trail and 1 MB in Lake.
///
/// A larger record is counted as skipped; the records around it are read.
pub const MAX_RECORD_BYTES: usize = 2 * 1024 * 1024;

/// Inflated size in bytes that any gzip object may reach, whatever its compressed size.
///
/// CloudTrail objects have at most 50 MB compressed and inflate 8 to 20 times.
pub const MAX_INFLATED_BYTES: u64 = 1024 * 1024 * 1024;

/// Above [`MAX_INFLATED_BYTES`], the largest number of bytes that one compressed byte may inflate
/// to.
///
/// An object beyond both limits is rejected as a gzip bomb; what was read before the limit is kept.
pub const MAX_INFLATE_RATIO: u64 = 100;

/// Size in bytes up to which a gzip object is inflated in one call; larger ones are streamed.
pub const WHOLE_OBJECT_BYTES: usize = 24 * 1024 * 1024;

/// Size in bytes of the chunks in which a stream is read.
pub const STREAM_CHUNK_BYTES: usize = 1024 * 1024;

/// Largest number of log objects in an extract file; a file that claims more is refused.
///
/// A header and an entry for each are held in memory. Ten million objects are three years of a
/// hundred busy accounts and regions; more are extracted in parts.
pub const EXTRACTED_OBJECTS: usize = 10_000_000;

/// Largest number of separate stretches of hours with KMS events in an extract file, besides one
/// for each of its objects; a file that claims more is refused.
///
/// An object of CloudTrail has one stretch. 40 accounts in 17 regions whose logs pause every night
/// have 750,000 in three years, if all their logs are merged to one object.
pub const EXTRACTED_STRETCHES: usize = 2_000_000;

/// First and last second, since 1970 in UTC, of times in an extract file: the years 0 to 9999, as
/// in the texts of records. A file with another time is refused as damaged.
pub const EXTRACTED_TIMES: RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

/// Deepest nesting of `[` and `{` in the YAML of rules, policies and placeholder values.
///
/// Beyond it a file is refused before it is parsed: the time of the parser grows with the square
/// of the depth. The parser itself refuses values nested more than 128 deep.
pub const YAML_NESTING: usize = 500;

/// Most values that the aliases of a YAML file may add to those that are written.
///
/// Beyond it a file is refused: a few kilobytes could become gigabytes.
pub const YAML_EXPANDED: usize = 1_000_000;

/// Largest number of accesses listed in an alert; the alert also has the total.
pub const ALERT_ACCESSES: usize = 10;

/// Largest number of secrets listed in an alert; the alert also has the total.
pub const ALERT_SECRETS: usize = 100;

/// Largest number of sources, regions, sessions, access keys and clients listed in an alert, each;
/// further ones are left out.
pub const ALERT_TRAITS: usize = 20;

/// Longest quiet time in seconds between neighbouring alerts of one incident.
pub const INCIDENT_GAP_SECS: i64 = 6 * 3_600;

/// Longest incident in seconds, from its first to its last alert; what follows is a new one.
pub const INCIDENT_MAX_SECS: i64 = 3 * 24 * 3_600;

/// Longest time in seconds that one alert of an incident lasts, from when it began.
///
/// Windows of a month only hold back repetitions; most stories are over in a day.
pub const INCIDENT_REACH_SECS: i64 = 24 * 3_600;

/// Seconds of event time in which an alert that any one event raises takes the time of the first of
/// them: a store writes it again once an hour at most, however often its rule matches. An incident
/// may end up to an hour before the last event of such an alert.
pub const HELD_BACK_SECS: i64 = 3_600;

/// Largest number of alerts listed in an incident; it also has the total.
pub const INCIDENT_ALERTS: usize = 200;

/// Largest number of secrets listed in an incident; it also has the total.
pub const INCIDENT_SECRETS: usize = 50;

/// Largest number of revealed versions that an incident keeps; beyond it, nothing is known to be
/// superseded.
pub const INCIDENT_VERSIONS: usize = 200;

/// Largest number of sources, regions, sessions, access keys and clients listed in an incident,
/// each; it also has the totals.
pub const INCIDENT_TRAITS: usize = 20;

/// Largest number of calls that issued credentials between a session and who is behind it. AWS sets
/// no limit; what is before the last of them stays unknown.
pub const LINEAGE_LINKS: usize = 16;

/// Largest number of origins that are listed together, and of keys listed with each.
pub const LINEAGE_ORIGINS: usize = 20;

/// Largest number of rules listed in an incident; it also has the total.
pub const INCIDENT_RULES: usize = 50;

/// Margin in seconds of event time around pending events: other events within it are considered
/// when they are joined.
///
/// Whether a pair is made depends on later events only up to seven times the tolerance: at each
/// distance of a read from its KMS Decrypt on those that far ahead, which makes three times the
/// tolerance, as much again for batches, which come last, and once for reads that are logged twice.
pub const SETTLE_MARGIN_SECS: i64 = 12 * PAIRING_TOLERANCE_SECS;

/// Longest period in seconds of one actor's activity that is joined at once. Longer activity is
/// joined in pieces, each with the decisions of the one before it, so that the result is the same.
pub const CORRELATION_GROUP_SECS: i64 = 5 * SETTLE_MARGIN_SECS;

/// How far back in seconds of event time the beginning of an actor's activity is searched, when a
/// part of it is joined. Only activity in which equally near events follow each other at every few
/// seconds, without a pause, is begun in the middle beyond it.
pub const LONGEST_CHAIN_SECS: i64 = 3_600;

/// Default lookback in seconds: a principal or region that was not seen for this long is new again.
/// 90 days, as long as CloudTrail's own event history.
pub const SEEN_LOOKBACK_SECS: i64 = 90 * 86_400;

/// Default warm-up in seconds: how far back an account's logs must reach before anything is called
/// new. A week, because many jobs run once a week.
pub const SEEN_WARM_UP_SECS: i64 = 7 * 86_400;

/// Seconds of a day.
pub const DAY_SECS: i64 = 86_400;

/// Seconds in which a file must bring an event that came directly. CloudTrail delivers most files
/// within minutes and promises no time.
pub const DIRECT_EVENT_SECS: i64 = DAY_SECS;

/// Seconds after its delivery for which an event whose other half is missing waits for the digest
/// of its hour. CloudTrail delivers a digest within an hour after the hour that it is about.
pub const DIGEST_WAIT_SECS: i64 = 4 * 3_600;

/// Seconds after which what somebody does on several days has become a habit. Until then it stays
/// new, so that an intruder does not become known by his first reads.
pub const HABIT_SECS: i64 = 3 * DAY_SECS;

/// Seconds after which what somebody did on one day counts as a habit, as of a job that runs once
/// in two weeks.
pub const OLD_HABIT_SECS: i64 = 10 * DAY_SECS;

/// Days with reads that must be known before the usual number of secrets in a day is.
pub const PROFILE_DAYS: i64 = 5;

/// Percentile of days that counts as a busy one: not the maximum, which one odd day would raise.
pub const PROFILE_QUANTILE: usize = 90;

/// Number of grains in the lookback; sightings are stored by grain. With a lookback of 90 days a
/// grain is one day, so that a store writes once a day what is seen all day long.
pub const SEEN_GRAINS: i64 = 90;

// Assumptions of other modules, checked by the compiler.
const _: () = {
    // Objects inflated in one call are not checked against the limits for gzip bombs.
    assert!(WHOLE_OBJECT_BYTES as u64 <= MAX_INFLATED_BYTES);
    // Alerts that any one event raises are about a day at most.
    assert!(DAY_SECS <= INCIDENT_REACH_SECS && DAY_SECS % HELD_BACK_SECS == 0);
    // The margin must include every later event that decides a pair.
    assert!(SETTLE_MARGIN_SECS >= 7 * PAIRING_TOLERANCE_SECS);
};
