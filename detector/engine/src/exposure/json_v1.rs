//! The published JSON form of an exposure, `secretrail.exposure/1`: one row for each revealed
//! version of a secret. Every key is always present; unknown values are `null`. Times are RFC 3339
//! in UTC.

use serde::Serialize;

use super::{Exposure, LIMIT, Supersession, checklist, live::LiveVersion};
use crate::{
    access::json_v1::SecretV1, incident::json_v1::ActionV1, lineage::json_v1::OriginsV1,
    policy::PolicyVerdict, time::EventTime,
};

/// Name and version of the schema.
pub const SCHEMA: &str = "secretrail.exposure/1";

/// An exposure as JSON.
#[derive(Debug, Serialize)]
pub struct ExposureV1<'a> {
    schema: &'a str,
    /// As in `secretrail.access/1`.
    secret: SecretV1<'a>,
    /// A UUID in Secrets Manager, a number in Parameter Store; `null` where the logs do not say.
    version_id: Option<&'a str>,
    /// `paired`: the KMS Decrypt names the version; `requested`: the request does; `by_time`: it
    /// was current when it was read; `unknown`: the log cannot say whether it was revealed.
    certainty: &'a str,
    /// When it was revealed first and last.
    first: String,
    last: String,
    /// To whom: stable identities, sorted.
    principals: Vec<&'a str>,
    /// Addresses and services that they called from, sorted.
    sources: Vec<&'a str>,
    /// Who is behind the access keys.
    #[serde(flatten)]
    origins: OriginsV1<'a>,
    /// Ids of the incidents that revealed it, sorted.
    incidents: Vec<&'a str>,
    /// When the logs end: `current`, `previous`, `superseded`, `deleted` or `unknown`.
    status: &'a str,
    /// Whether nothing is known to have taken its place: `superseded` is `null`, unless `live`
    /// says more.
    open: bool,
    /// What took its place; `null` while nothing did.
    superseded: Option<SupersededV1<'a>>,
    /// Copies of the secret elsewhere.
    replicas: Vec<ReplicaV1<'a>>,
    /// Who else reads the secret, the most reads first.
    readers: Vec<ReaderV1<'a>>,
    /// Time of the last record about secrets of this account and region: what happened after it is
    /// not known. `null` without any.
    as_of: Option<String>,
    /// What the service says now; `null` where nobody has asked, or it did not answer.
    live: Option<LiveV1<'a>>,
    /// What closes it, in this order.
    actions: Vec<ActionV1>,
    /// What no log can show.
    limit: &'a str,
}

#[derive(Debug, Serialize)]
struct SupersededV1<'a> {
    /// `eventTime`; the first read of the new version where the change is not in the logs; `null`
    /// if it was before the logs begin.
    time: Option<String>,
    /// Who did it; `null` where the change is not in the logs, as the next three.
    by: Option<&'a str>,
    /// The version that took its place.
    version_id: Option<&'a str>,
    event_id: Option<&'a str>,
    api: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct LiveV1<'a> {
    /// When the service was asked.
    asked: String,
    /// As `status`.
    status: &'a str,
    /// The version that is current then; `null` where the service names none.
    current: Option<&'a str>,
    /// When that was created.
    since: Option<String>,
    /// Regions in which the secret has a copy then.
    replicas: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
struct ReplicaV1<'a> {
    account: &'a str,
    region: &'a str,
}

#[derive(Debug, Serialize)]
struct ReaderV1<'a> {
    principal: &'a str,
    reads: u64,
    last: String,
    /// What the access policy says of it for this secret and region: `yes`, `no` or `undeclared`;
    /// `null` without a policy.
    expected: Option<&'static str>,
}

impl<'a> From<&'a Exposure> for ExposureV1<'a> {
    fn from(row: &'a Exposure) -> Self {
        Self {
            schema: SCHEMA,
            secret: SecretV1::from(&row.secret),
            version_id: row.secret.version_id.as_deref(),
            certainty: row.certainty.as_str(),
            first: row.first.to_string(),
            last: row.last.to_string(),
            principals: row.principals.iter().map(|id| &**id).collect(),
            sources: row.sources.iter().map(|source| &**source).collect(),
            origins: OriginsV1::from(&row.origins),
            incidents: row.incidents.iter().map(|id| &**id).collect(),
            status: row.status.as_str(),
            open: row.is_open(),
            superseded: row.superseded.as_ref().map(SupersededV1::from),
            replicas: row.replicas.iter().map(ReplicaV1::from).collect(),
            readers: row.readers.iter().map(ReaderV1::from).collect(),
            as_of: row.as_of.map(|time| time.to_string()),
            live: row.live.as_ref().map(LiveV1::from),
            actions: checklist::of_one(row)
                .into_iter()
                .map(ActionV1::from)
                .collect(),
            limit: LIMIT,
        }
    }
}

impl<'a> From<&'a Supersession> for SupersededV1<'a> {
    fn from(superseded: &'a Supersession) -> Self {
        Self {
            time: superseded.time.as_ref().map(EventTime::to_string),
            by: superseded.by.as_deref(),
            version_id: superseded.version_id.as_deref(),
            event_id: superseded.event_id.as_deref(),
            api: superseded.api.as_deref(),
        }
    }
}

impl<'a> From<&'a LiveVersion> for LiveV1<'a> {
    fn from(live: &'a LiveVersion) -> Self {
        Self {
            asked: live.asked.to_string(),
            status: live.status.as_str(),
            current: live.current.as_deref(),
            since: live.since.as_ref().map(EventTime::to_string),
            replicas: live.replicas.iter().map(|region| &**region).collect(),
        }
    }
}

impl<'a> From<&'a super::ReplicaHome> for ReplicaV1<'a> {
    fn from(home: &'a super::ReplicaHome) -> Self {
        Self {
            account: &home.account,
            region: &home.region,
        }
    }
}

impl<'a> From<&'a super::SecretReader> for ReaderV1<'a> {
    fn from(reader: &'a super::SecretReader) -> Self {
        Self {
            principal: &reader.principal,
            reads: reader.reads,
            last: reader.last.to_string(),
            expected: reader.expected.map(PolicyVerdict::as_str),
        }
    }
}
