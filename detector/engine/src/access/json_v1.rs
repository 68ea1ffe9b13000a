//! The published form of an access: `secretrail.access/1`. Frozen; a change makes a `/2`.
//!
//! Every key is always there; what is not known is `null`. Times are RFC 3339 in UTC. The same mirror serves JSON lines
//! and CSV, where the objects become columns joined by dots.

use serde::Serialize;

use super::Access;

/// Name and version of this form.
pub const SCHEMA: &str = "secretrail.access/1";

/// One line of the ledger.
#[derive(Debug, Serialize)]
pub struct AccessV1<'a> {
    schema: &'static str,
    /// Event time.
    time: String,
    /// `eventID` of the read; of the Decrypt where there is no read.
    event_id: &'a str,
    /// `eventName`.
    api: &'a str,
    /// `api`, `batch`, `by_path`, `history`, `direct_decrypt` or `decrypt_only`.
    method: &'static str,
    /// `recipientAccountId`.
    account: &'a str,
    /// `awsRegion`.
    region: &'a str,
    secret: SecretV1<'a>,
    principal: PrincipalV1<'a>,
    source: SourceV1<'a>,
    /// `success`, `denied` or `failed`.
    outcome: &'static str,
    /// The gate that denied it, as in `identity_policy` or `kms_key`.
    denied_by: Option<&'a str>,
    /// `errorCode`.
    error_code: Option<&'a str>,
    /// Whether the caller's account is not the secret's or the trail's.
    cross_account: bool,
    decrypt: DecryptV1<'a>,
    /// Path or key of the log object.
    object: &'a str,
}

#[derive(Debug, Serialize)]
struct SecretV1<'a> {
    store: &'static str,
    arn: Option<&'a str>,
    name: Option<&'a str>,
    version_id: Option<&'a str>,
    version_stage: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct PrincipalV1<'a> {
    arn: Option<&'a str>,
    actor: Option<&'a str>,
    r#type: Option<&'a str>,
    kind: &'static str,
    account: Option<&'a str>,
    via: Option<&'a str>,
    console: bool,
    access_key_id: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct SourceV1<'a> {
    ip: Option<&'a str>,
    kind: &'static str,
    user_agent: Option<&'a str>,
    vpc_endpoint: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct DecryptV1<'a> {
    status: &'static str,
    event_id: Option<&'a str>,
    key_arn: Option<&'a str>,
    delta_secs: Option<i64>,
}

impl<'a> From<&'a Access> for AccessV1<'a> {
    fn from(access: &'a Access) -> Self {
        let Access { head, method, secret, decrypt, .. } = access;
        let principal = &head.principal;
        Self {
            schema: SCHEMA,
            time: head.time.to_string(),
            event_id: &head.event_id,
            api: &head.api,
            method: method.as_str(),
            account: &head.account,
            region: &head.region,
            secret: SecretV1 {
                store: secret.store.as_str(),
                arn: secret.arn.as_deref(),
                name: secret.name.as_deref(),
                version_id: secret.version_id.as_deref(),
                version_stage: secret.version_stage.as_deref(),
            },
            principal: PrincipalV1 {
                arn: principal.id.as_deref(),
                actor: principal.actor.as_deref(),
                r#type: principal.identity_type.as_deref(),
                kind: principal.kind.as_str(),
                account: principal.account.as_deref(),
                via: principal.via.as_deref(),
                console: principal.console,
                access_key_id: access.head.access_key_id.as_deref(),
            },
            source: SourceV1 {
                ip: head.source.ip.as_deref(),
                kind: head.source.kind.as_str(),
                user_agent: head.source.user_agent.as_deref(),
                vpc_endpoint: head.source.vpc_endpoint.as_deref(),
            },
            outcome: head.outcome.as_str(),
            denied_by: head.denied_by.as_deref(),
            error_code: head.error_code.as_deref(),
            cross_account: access.cross_account(),
            decrypt: DecryptV1 {
                status: decrypt.status.as_str(),
                event_id: decrypt.event_id.as_deref(),
                key_arn: decrypt.key_arn.as_deref(),
                delta_secs: decrypt.delta_secs,
            },
            object: &head.object,
        }
    }
}
