//! Names in the state table, for the function and for programs that look at the table without the
//! SDK. They are a stored format, as in [`crate::dynamodb`].

use secretrail_engine::{digest::digest, time::EventTime};

/// Partition key of every item.
pub const PK: &str = "pk";
/// Sort key of every item.
pub const SK: &str = "sk";
/// The packed content of an item.
pub const CONTENT: &str = "content";
/// When an item expires, in seconds since 1970.
pub const TTL: &str = "ttl";
/// Number of changes of an item that is changed conditionally.
pub const VERSION: &str = "version";

/// Sort key of an item that is alone in its partition, and of an incident.
pub const ALONE: &str = "-";

/// Sort key of what a person has decided about an incident.
pub const DECISION: &str = "decision";
/// The decision in its item: JSON, see
/// [`IncidentDecision`](secretrail_engine::incident::decision::IncidentDecision).
pub const DECIDED: &str = "decided";

/// Partition of the references to all incidents.
pub const INCIDENTS: &str = "incidents";
/// Partition of the states of destinations.
pub const DESTINATIONS: &str = "destinations";
/// Partition of the time of the last object with events.
pub const LAST_OBJECT: &str = "last-object";
/// Of the last object: when it was recorded, in seconds since 1970.
pub const AT: &str = "at";
/// Of an object: `processed`, `skipped` or `failed`.
pub const STATE: &str = "state";
/// Of an object: counts, the reason for skipping it, or the error.
pub const DETAILS: &str = "details";
/// Of a destination: failures in a row.
pub const FAILURES: &str = "failures";
/// Of a destination: when it is tried again, in seconds since 1970.
pub const RETRY_AT: &str = "retry_at";

/// Partition of an incident.
#[must_use]
pub fn incident(id: &str) -> String {
    format!("incident#{id}")
}

/// Of an object: the version that was processed last: its version id, or its ETag in buckets
/// without versioning; empty when its notification had neither.
pub const OBJECT_VERSION: &str = "object_version";

/// Partition of the entry of an object. Digests of CloudTrail name keys without versions.
#[must_use]
pub fn object(bucket: &str, key: &str) -> String {
    format!("object#{}", digest(&[bucket, key]))
}

/// Partition of the hours of an account and region of which KMS events were logged.
#[must_use]
pub fn coverage(account: &str, region: &str) -> String {
    format!("coverage#{account}#{region}")
}

/// Partition of sightings: those of a key, or of the profile of a principal
/// ([`item_of`](secretrail_engine::seen::item_of)).
#[must_use]
pub fn seen(item: &str) -> String {
    format!("seen#{}", digest(&[item]))
}

/// Partition of named data of the function.
#[must_use]
pub fn kept(name: &str) -> String {
    format!("kept#{name}")
}

/// A time at the beginning of a sort key: padded, as text sorts. Times before 1970, from broken
/// clocks, share one.
#[must_use]
pub fn second(time: EventTime) -> String {
    format!("{:012}", time.0.clamp(0, 999_999_999_999))
}
