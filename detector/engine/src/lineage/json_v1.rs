//! The published JSON form of an origin, a part of other forms. Every key is always present;
//! unknown values are `null`. Times are RFC 3339 in UTC.

use serde::Serialize;

use super::{
    issue::CredentialIssue,
    origin::{OriginEvidence, SessionOrigin, SessionOrigins},
};
use crate::principal::PrincipalKind;

/// Who is behind many keys, as the keys of another object.
#[derive(Debug, Serialize)]
pub struct OriginsV1<'a> {
    /// Who is behind the access keys; nobody where the logs do not say, and where nobody has
    /// looked, as online.
    origin: OriginV1<'a>,
    /// Others who are behind them; with the first at most twenty.
    other_origins: Vec<OriginV1<'a>>,
    origins_total: usize,
}

impl<'a> From<&'a SessionOrigins> for OriginsV1<'a> {
    fn from(origins: &'a SessionOrigins) -> Self {
        let mut all = origins.first.iter().map(OriginV1::from);
        Self {
            origin: all.next().unwrap_or_else(OriginV1::unknown),
            other_origins: all.collect(),
            origins_total: origins.total,
        }
    }
}

/// Who is behind some keys, as JSON.
#[derive(Debug, Serialize)]
struct OriginV1<'a> {
    /// Stable identity of the first person or software; `null` where the logs do not say.
    principal: Option<&'a str>,
    /// `human`, `workload`, `service`, `root` or `unknown`.
    kind: &'a str,
    /// `record`: the first call, or a key of that user; `session_name`: no record shows who created
    /// the session that is named after its person. `null` without a principal.
    known_by: Option<&'a str>,
    /// `userIdentity.arn`: the full session.
    session: Option<&'a str>,
    /// Where the first call came from: an address, or the service that created the session.
    source: Option<&'a str>,
    /// Whether the first caller has proved a second factor.
    mfa: Option<bool>,
    /// The source identity that was set first.
    source_identity: Option<&'a str>,
    /// The access keys behind which it is.
    access_keys: Vec<&'a str>,
    /// The calls that issued credentials, the first one first, up to the first of these keys.
    chain: Vec<LinkV1<'a>>,
}

/// A call that issued credentials.
#[derive(Debug, Serialize)]
struct LinkV1<'a> {
    /// `eventTime`.
    time: String,
    event_id: &'a str,
    /// `eventName`.
    api: &'a str,
    /// Who called: stable identity, full session, key, source and second factor.
    principal: Option<&'a str>,
    session: Option<&'a str>,
    access_key: Option<&'a str>,
    source: Option<&'a str>,
    mfa: Option<bool>,
    /// What was issued: the role, its session, and the access key.
    role: Option<&'a str>,
    issued_session: Option<&'a str>,
    issued_key: &'a str,
}

impl<'a> From<&'a SessionOrigin> for OriginV1<'a> {
    fn from(origin: &'a SessionOrigin) -> Self {
        Self {
            principal: origin.principal.as_deref(),
            kind: origin.kind.as_str(),
            known_by: origin.evidence.map(OriginEvidence::as_str),
            session: origin.session.as_deref(),
            source: origin.source.as_deref(),
            mfa: origin.mfa,
            source_identity: origin.source_identity.as_deref(),
            access_keys: origin.access_keys.iter().map(|key| &**key).collect(),
            chain: origin.chain.iter().map(|issue| LinkV1::of(issue)).collect(),
        }
    }
}

impl OriginV1<'_> {
    /// Nobody is known.
    fn unknown() -> Self {
        Self {
            principal: None,
            kind: PrincipalKind::Unknown.as_str(),
            known_by: None,
            session: None,
            source: None,
            mfa: None,
            source_identity: None,
            access_keys: Vec::new(),
            chain: Vec::new(),
        }
    }
}

impl<'a> LinkV1<'a> {
    fn of(issue: &'a CredentialIssue) -> Self {
        let caller = &issue.caller;
        Self {
            time: issue.time().to_string(),
            event_id: &issue.event_id,
            api: &issue.api,
            principal: caller.principal.as_deref(),
            session: caller.session.as_deref(),
            access_key: caller.access_key.as_deref(),
            source: caller.source.as_deref(),
            mfa: caller.mfa,
            role: issue.role.as_deref(),
            issued_session: issue.session.as_deref(),
            issued_key: &issue.key,
        }
    }
}
