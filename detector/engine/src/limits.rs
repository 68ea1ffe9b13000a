//! Every bound of the engine as a named constant: its value, its unit, where it comes from, and
//! what happens beyond it.

/// Longest distance in seconds between the event times of a read and its key use that are still
/// paired.
///
/// In real logs the distance is 0 s for every pair; five seconds leave room for clocks of two
/// services.
pub const PAIRING_TOLERANCE_SECS: i64 = 5;

/// Default time in seconds after the delivery of a loose end during which its other half may still
/// arrive.
///
/// The longest measured delivery delay is 594 s. After the horizon a verdict about absence is made,
/// once.
pub const ALLOWED_LATENESS_SECS: i64 = 900;

/// Length in seconds of the buckets in which the presence of KMS events is remembered per account
/// and region.
///
/// A read counts as covered when KMS events were seen in its own bucket or in a neighbouring one.
pub const COVERAGE_BUCKET_SECS: i64 = 3_600;

/// Largest single record in bytes of JSON. CloudTrail writes at most 256 KB for a trail and 1 MB in
/// Lake.
///
/// A larger one is counted as skipped, and the records around it are read.
pub const MAX_RECORD_BYTES: usize = 2 * 1024 * 1024;

/// Inflated size in bytes that every gzip object may reach, whatever its compressed size.
///
/// CloudTrail objects have at most 50 MB compressed and inflate 8 to 20 times.
pub const MAX_INFLATED_BYTES: u64 = 1024 * 1024 * 1024;

/// Beyond [`MAX_INFLATED_BYTES`], the most bytes that one compressed byte may inflate to.
///
/// An object that goes further is refused as a gzip bomb; what was read up to there is kept.
pub const MAX_INFLATE_RATIO: u64 = 100;

/// Size in bytes up to which a gzip object is inflated in one go; larger ones are streamed.
pub const WHOLE_OBJECT_BYTES: usize = 24 * 1024 * 1024;

/// Size in bytes of the pieces in which a stream is read.
pub const STREAM_CHUNK_BYTES: usize = 1024 * 1024;

/// Accesses listed in an alert; the total stands beside them.
pub const ALERT_ACCESSES: usize = 10;

/// Secrets listed in an alert; the total stands beside them.
pub const ALERT_SECRETS: usize = 100;

/// How far around a loose end, in seconds of event time, others are looked at when it is settled.
///
/// Chains of equally near candidates longer than this are cut; it is twelve times the tolerance.
pub const SETTLE_MARGIN_SECS: i64 = 12 * PAIRING_TOLERANCE_SECS;

/// Longest time in seconds in which what one actor does, without a pause longer than the tolerance,
/// is joined as one when a history is taken in slices.
///
/// What goes on for longer is cut, with [`SETTLE_MARGIN_SECS`] on both sides of the cut.
pub const CORRELATION_GROUP_SECS: i64 = 10 * SETTLE_MARGIN_SECS;

/// Default time in seconds after which a principal or region that was seen once is new again: 90
/// days, as long as CloudTrail's own event history.
pub const SEEN_LOOKBACK_SECS: i64 = 90 * 86_400;

/// Default time in seconds that an account's logs must go back before anything is called new: a
/// week, because many jobs run once a week.
pub const SEEN_WARM_UP_SECS: i64 = 7 * 86_400;

/// Parts of the memory in which the last time of something is remembered: 90 for a memory of 90
/// days, so that a store writes once a day what is seen all day long.
pub const SEEN_GRAINS: i64 = 90;

// What other files rely on without asking.
const _: () = {
    // What is inflated in one go is not held against the limits of a bomb.
    assert!(WHOLE_OBJECT_BYTES as u64 <= MAX_INFLATED_BYTES);
    // Around an end there is its other half, and around that one whoever else it may belong to.
    assert!(SETTLE_MARGIN_SECS >= 2 * PAIRING_TOLERANCE_SECS);
    // A scene that is cut overlaps the next one by the margins, and has to get on between them.
    assert!(CORRELATION_GROUP_SECS > 2 * SETTLE_MARGIN_SECS);
};
