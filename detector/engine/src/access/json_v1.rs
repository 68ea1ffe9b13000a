//! The published form of an access: `secretrail.access/1`. Frozen; a change makes a `/2`.
//!
//! Every key is always there; what is not known is `null`. Times are RFC 3339 in UTC. The same mirror serves JSON lines
//! and CSV, where the objects become columns joined by dots. What was written can be read back.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Access, Decrypt, DecryptStatus, Method};
use crate::ids::{Home, SecretRef, Store, Text};
use crate::named::named;
use crate::observation::{Head, Kept, Outcome, Source, SourceKind};
use crate::principal::{Principal, PrincipalKind};
use crate::time::EventTime;

/// Name and version of this form.
pub const SCHEMA: &str = "secretrail.access/1";

/// One line of the ledger.
#[derive(Debug, Serialize, Deserialize)]
pub struct AccessV1<'a> {
    schema: Cow<'a, str>,
    /// Event time.
    time: Cow<'a, str>,
    /// `eventID` of the read; of the Decrypt where there is no read.
    event_id: Cow<'a, str>,
    /// `eventName`.
    api: Cow<'a, str>,
    /// `api`, `batch`, `by_path`, `history`, `direct_decrypt` or `decrypt_only`.
    method: Cow<'a, str>,
    /// `recipientAccountId`.
    account: Cow<'a, str>,
    /// `awsRegion`.
    region: Cow<'a, str>,
    secret: SecretV1<'a>,
    principal: PrincipalV1<'a>,
    source: SourceV1<'a>,
    /// `success`, `denied` or `failed`.
    outcome: Cow<'a, str>,
    /// The gate that denied it, as in `identity_policy` or `kms_key`.
    denied_by: Option<Cow<'a, str>>,
    /// `errorCode`.
    error_code: Option<Cow<'a, str>>,
    /// Whether the caller's account is not the secret's or the trail's.
    cross_account: bool,
    decrypt: DecryptV1<'a>,
    /// Path or key of the log object.
    object: Cow<'a, str>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SecretV1<'a> {
    store: Cow<'a, str>,
    arn: Option<Cow<'a, str>>,
    name: Option<Cow<'a, str>>,
    version_id: Option<Cow<'a, str>>,
    version_stage: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PrincipalV1<'a> {
    arn: Option<Cow<'a, str>>,
    actor: Option<Cow<'a, str>>,
    r#type: Option<Cow<'a, str>>,
    kind: Cow<'a, str>,
    account: Option<Cow<'a, str>>,
    via: Option<Cow<'a, str>>,
    console: bool,
    access_key_id: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SourceV1<'a> {
    ip: Option<Cow<'a, str>>,
    kind: Cow<'a, str>,
    user_agent: Option<Cow<'a, str>>,
    vpc_endpoint: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct DecryptV1<'a> {
    status: Cow<'a, str>,
    event_id: Option<Cow<'a, str>>,
    key_arn: Option<Cow<'a, str>>,
    delta_secs: Option<i64>,
}

impl<'a> From<&'a Access> for AccessV1<'a> {
    fn from(access: &'a Access) -> Self {
        let Access {
            head,
            method,
            secret,
            decrypt,
            ..
        } = access;
        let principal = &head.principal;
        Self {
            schema: SCHEMA.into(),
            time: head.time.to_string().into(),
            event_id: (&*head.event_id).into(),
            api: (&*head.api).into(),
            method: method.as_str().into(),
            account: (&*head.account).into(),
            region: (&*head.region).into(),
            secret: SecretV1 {
                store: secret.store.as_str().into(),
                arn: lent(&secret.arn),
                name: lent(&secret.name),
                version_id: lent(&secret.version_id),
                version_stage: lent(&secret.version_stage),
            },
            principal: PrincipalV1 {
                arn: lent(&principal.id),
                actor: lent(&principal.actor),
                r#type: lent(&principal.identity_type),
                kind: principal.kind.as_str().into(),
                account: lent(&principal.account),
                via: lent(&principal.via),
                console: principal.console,
                access_key_id: lent(&access.head.access_key_id),
            },
            source: SourceV1 {
                ip: lent(&head.source.ip),
                kind: head.source.kind.as_str().into(),
                user_agent: lent(&head.source.user_agent),
                vpc_endpoint: lent(&head.source.vpc_endpoint),
            },
            outcome: head.outcome.as_str().into(),
            denied_by: lent(&head.denied_by),
            error_code: lent(&head.error_code),
            cross_account: access.cross_account(),
            decrypt: DecryptV1 {
                status: decrypt.status.as_str().into(),
                event_id: lent(&decrypt.event_id),
                key_arn: lent(&decrypt.key_arn),
                delta_secs: decrypt.delta_secs,
            },
            object: (&*head.object).into(),
        }
    }
}

/// Why something that looks like one of our forms is none.
#[derive(Debug, thiserror::Error)]
#[error("{0}; it was changed, or written by another version")]
pub struct Foreign(pub(crate) String);

/// The value of a closed set by its name.
pub(crate) fn known<T: Copy>(
    all: &[T],
    name: impl Fn(T) -> &'static str,
    text: &str,
) -> Result<T, Foreign> {
    named(all, name, text).ok_or_else(|| Foreign(format!("`{text}` is not known")))
}

/// A time as every form has it.
pub(crate) fn time(text: &str) -> Result<EventTime, Foreign> {
    EventTime::parse(text).ok_or_else(|| Foreign(format!("`{text}` is not a time")))
}

/// Whether something is of the form that is expected.
pub(crate) fn is_of(schema: &str, expected: &str) -> Result<(), Foreign> {
    if schema == expected {
        Ok(())
    } else {
        Err(Foreign(format!("`{schema}` is not {expected}")))
    }
}

pub(crate) fn some(text: &Option<Cow<'_, str>>) -> Option<Text> {
    text.as_deref().map(Text::from)
}

pub(crate) fn lent(text: &Option<Text>) -> Option<Cow<'_, str>> {
    text.as_deref().map(Cow::Borrowed)
}

impl AccessV1<'_> {
    /// The access again. What this form does not tell is not known: raw fields, when the object was delivered, and the owner
    /// of a secret without an ARN, which is taken to be the account of the trail.
    ///
    /// # Errors
    ///
    /// It is of another form, or has been changed.
    pub fn read(&self) -> Result<Access, Foreign> {
        is_of(&self.schema, SCHEMA)?;
        let secret = self.secret()?;
        let decrypt = &self.decrypt;
        Ok(Access {
            head: Arc::new(self.head()?),
            method: known(&Method::ALL, Method::as_str, &self.method)?,
            asked: secret.key(),
            secret,
            decrypt: Decrypt {
                status: known(&DecryptStatus::ALL, DecryptStatus::as_str, &decrypt.status)?,
                event_id: some(&decrypt.event_id),
                key_arn: some(&decrypt.key_arn),
                delta_secs: decrypt.delta_secs,
            },
        })
    }

    fn secret(&self) -> Result<SecretRef, Foreign> {
        let SecretV1 {
            store,
            arn,
            name,
            version_id,
            version_stage,
        } = &self.secret;
        let store = known(&Store::ALL, Store::as_str, store)?;
        let home = Home {
            partition: "aws",
            account: &self.account,
            region: &self.region,
        };
        let of_arn = match (store, arn) {
            (Store::SecretsManager, Some(arn)) => SecretRef::secret(arn, home),
            (Store::Ssm, Some(arn)) => SecretRef::parameter(arn, home),
            (_, None) => SecretRef::unnamed(store, home),
        };
        Ok(SecretRef {
            name: some(name),
            arn: some(arn),
            partial_name: None,
            version_id: some(version_id),
            version_stage: some(version_stage),
            ..of_arn
        })
    }

    fn head(&self) -> Result<Head, Foreign> {
        let (principal, source, time) = (&self.principal, &self.source, time(&self.time)?);
        Ok(Head {
            event_id: (&*self.event_id).into(),
            shared_id: None,
            updated: false,
            time,
            api: (&*self.api).into(),
            account: (&*self.account).into(),
            region: (&*self.region).into(),
            principal: Arc::new(Principal {
                id: some(&principal.arn),
                actor: some(&principal.actor),
                identity_type: some(&principal.r#type),
                kind: known(&PrincipalKind::ALL, PrincipalKind::as_str, &principal.kind)?,
                account: some(&principal.account),
                name: None,
                session: None,
                via: some(&principal.via),
                console: principal.console,
                principal_id: None,
            }),
            access_key_id: some(&principal.access_key_id),
            source: Arc::new(Source {
                ip: some(&source.ip),
                kind: known(&SourceKind::ALL, SourceKind::as_str, &source.kind)?,
                user_agent: some(&source.user_agent),
                vpc_endpoint: some(&source.vpc_endpoint),
            }),
            outcome: known(&Outcome::ALL, Outcome::as_str, &self.outcome)?,
            denied_by: some(&self.denied_by),
            error_code: some(&self.error_code),
            object: (&*self.object).into(),
            delivered: time,
            kept: Kept::default(),
        })
    }
}
