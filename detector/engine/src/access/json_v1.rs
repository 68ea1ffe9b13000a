//! The published JSON form of an access, `secretrail.access/1`. The format is frozen; a change
//! makes a `/2`.
//!
//! Every key is always present; unknown values are `null`. Times are RFC 3339 in UTC. The CSV and
//! Parquet output of the command has a column for each path of this form. [`AccessV1::read`] reads
//! it back.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Access, AccessDecrypt, AccessMethod, DecryptStatus};
use crate::{
    geo::SourceGeo,
    ids::{RecordHome, SecretRef, SecretStore, SharedStr},
    observation::{CallOutcome, CallSource, EventHeader, KeptFields, SourceKind},
    parse_enum::parse_enum,
    principal::{Principal, PrincipalKind},
    time::EventTime,
};

/// Name and version of the schema.
pub const SCHEMA: &str = "secretrail.access/1";

/// An access as JSON: one line of the output.
#[derive(Debug, Serialize, Deserialize)]
pub struct AccessV1<'a> {
    schema: Cow<'a, str>,
    /// `eventTime`.
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
    /// What denied it, as in `identity_policy` or `kms_key`.
    denied_by: Option<Cow<'a, str>>,
    /// `errorCode`.
    error_code: Option<Cow<'a, str>>,
    /// Whether the caller's account is not the secret's or the trail's.
    cross_account: bool,
    decrypt: DecryptV1<'a>,
    /// Path or key of the log object.
    object: Cow<'a, str>,
}

/// A secret as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SecretV1<'a> {
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
    /// ISO 3166-1 alpha-2; `null` without `--geoip`, as the next two.
    #[serde(default)]
    country: Option<Cow<'a, str>>,
    #[serde(default)]
    asn: Option<u32>,
    #[serde(default)]
    as_org: Option<Cow<'a, str>>,
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
        let head = &access.head;
        Self {
            schema: SCHEMA.into(),
            time: head.time.to_string().into(),
            event_id: (&*head.event_id).into(),
            api: (&*head.api).into(),
            method: access.method.as_str().into(),
            account: (&*head.account).into(),
            region: (&*head.region).into(),
            secret: SecretV1::from(&access.secret),
            principal: PrincipalV1::from(&**head),
            source: SourceV1::from(&*head.source),
            outcome: head.outcome.as_str().into(),
            denied_by: lent(&head.denied_by),
            error_code: lent(&head.error_code),
            cross_account: access.cross_account(),
            decrypt: DecryptV1::from(&access.decrypt),
            object: (&*head.object).into(),
        }
    }
}

impl<'a> From<&'a SecretRef> for SecretV1<'a> {
    fn from(secret: &'a SecretRef) -> Self {
        Self {
            store: secret.store.as_str().into(),
            arn: lent(&secret.arn),
            name: lent(&secret.name),
            version_id: lent(&secret.version_id),
            version_stage: lent(&secret.version_stage),
        }
    }
}

impl<'a> From<&'a EventHeader> for PrincipalV1<'a> {
    fn from(head: &'a EventHeader) -> Self {
        let principal = &head.principal;
        Self {
            arn: lent(&principal.id),
            actor: lent(&principal.actor),
            r#type: lent(&principal.identity_type),
            kind: principal.kind.as_str().into(),
            account: lent(&principal.account),
            via: lent(&principal.via),
            console: principal.console,
            access_key_id: lent(&head.access_key_id),
        }
    }
}

impl<'a> From<&'a CallSource> for SourceV1<'a> {
    fn from(source: &'a CallSource) -> Self {
        Self {
            ip: lent(&source.ip),
            kind: source.kind.as_str().into(),
            user_agent: lent(&source.user_agent),
            vpc_endpoint: lent(&source.vpc_endpoint),
            country: lent(&source.geo.country),
            asn: source.geo.asn,
            as_org: lent(&source.geo.as_org),
        }
    }
}

impl<'a> From<&'a AccessDecrypt> for DecryptV1<'a> {
    fn from(decrypt: &'a AccessDecrypt) -> Self {
        Self {
            status: decrypt.status.as_str().into(),
            event_id: lent(&decrypt.event_id),
            key_arn: lent(&decrypt.key_arn),
            delta_secs: decrypt.delta_secs,
        }
    }
}

/// Why a text is not in one of the published forms.
#[derive(Debug, thiserror::Error)]
#[error("{0}; it was changed, or written by another version")]
pub struct UnknownForm(pub(crate) String);

/// Parses the name of an enum value.
pub(crate) fn known<T: Copy>(
    all: &[T],
    name: impl Fn(T) -> &'static str,
    text: &str,
) -> Result<T, UnknownForm> {
    parse_enum(all, name, text).ok_or_else(|| UnknownForm(format!("`{text}` is not a known value")))
}

/// Parses a time: RFC 3339 in UTC.
pub(crate) fn time(text: &str) -> Result<EventTime, UnknownForm> {
    EventTime::parse(text).ok_or_else(|| UnknownForm(format!("`{text}` is not a time")))
}

/// Checks name and version of the schema.
pub(crate) fn is_of(schema: &str, expected: &str) -> Result<(), UnknownForm> {
    if schema == expected {
        Ok(())
    } else {
        Err(UnknownForm(format!("`{schema}` is not {expected}")))
    }
}

pub(crate) fn some(text: &Option<Cow<'_, str>>) -> Option<SharedStr> {
    text.as_deref().map(SharedStr::from)
}

pub(crate) fn lent(text: &Option<SharedStr>) -> Option<Cow<'_, str>> {
    text.as_deref().map(Cow::Borrowed)
}

impl AccessV1<'_> {
    /// Reads the access back. The form lacks raw fields, the delivery time (the event time is used)
    /// and the owner of a secret without an ARN (the account of the trail is used).
    ///
    /// # Errors
    ///
    /// The JSON has another form, or was edited.
    pub fn read(&self) -> Result<Access, UnknownForm> {
        is_of(&self.schema, SCHEMA)?;
        let secret = self.secret()?;
        Ok(Access {
            head: Arc::new(self.head()?),
            method: known(&AccessMethod::ALL, AccessMethod::as_str, &self.method)?,
            // The form lacks the requested name of the secret; the best known name is used.
            asked: secret.key(),
            asked_version: false,
            secret,
            decrypt: self.decrypt.read()?,
        })
    }

    fn secret(&self) -> Result<SecretRef, UnknownForm> {
        let SecretV1 {
            store,
            arn,
            name,
            version_id,
            version_stage,
        } = &self.secret;
        let store = known(&SecretStore::ALL, SecretStore::as_str, store)?;
        let home = RecordHome {
            partition: "aws",
            account: &self.account,
            region: &self.region,
        };
        // Only the ARN has the partition, account and region of a secret.
        let of_arn = match (store, arn) {
            (SecretStore::SecretsManager, Some(arn)) => SecretRef::secret(arn, home),
            (SecretStore::Ssm, Some(arn)) => SecretRef::parameter(arn, home),
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

    fn head(&self) -> Result<EventHeader, UnknownForm> {
        let time = time(&self.time)?;
        Ok(EventHeader {
            event_id: (&*self.event_id).into(),
            event: 0,
            unshared_event: None,
            content: 0,
            shared_id: None,
            updated: false,
            time,
            api: (&*self.api).into(),
            account: (&*self.account).into(),
            region: (&*self.region).into(),
            principal: Arc::new(self.principal.read()?),
            access_key_id: some(&self.principal.access_key_id),
            source: Arc::new(self.source.read()?),
            outcome: known(&CallOutcome::ALL, CallOutcome::as_str, &self.outcome)?,
            denied_by: some(&self.denied_by),
            error_code: some(&self.error_code),
            object: (&*self.object).into(),
            delivered: time,
            kept: KeptFields::default(),
        })
    }
}

impl PrincipalV1<'_> {
    fn read(&self) -> Result<Principal, UnknownForm> {
        Ok(Principal {
            id: some(&self.arn),
            actor: some(&self.actor),
            identity_type: some(&self.r#type),
            kind: known(&PrincipalKind::ALL, PrincipalKind::as_str, &self.kind)?,
            account: some(&self.account),
            name: None,
            session: None,
            via: some(&self.via),
            console: self.console,
            principal_id: None,
        })
    }
}

impl SourceV1<'_> {
    fn read(&self) -> Result<CallSource, UnknownForm> {
        Ok(CallSource {
            ip: some(&self.ip),
            kind: known(&SourceKind::ALL, SourceKind::as_str, &self.kind)?,
            user_agent: some(&self.user_agent),
            vpc_endpoint: some(&self.vpc_endpoint),
            geo: SourceGeo {
                country: some(&self.country),
                asn: self.asn,
                as_org: some(&self.as_org),
            },
        })
    }
}

impl DecryptV1<'_> {
    fn read(&self) -> Result<AccessDecrypt, UnknownForm> {
        Ok(AccessDecrypt {
            status: known(&DecryptStatus::ALL, DecryptStatus::as_str, &self.status)?,
            event_id: some(&self.event_id),
            key_arn: some(&self.key_arn),
            delta_secs: self.delta_secs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"schema":"secretrail.access/1","time":"2026-03-02T10:00:00Z",
        "event_id":"e1","api":"GetSecretValue","method":"api","account":"111122223333",
        "region":"eu-west-1","secret":{"store":"secretsmanager",
        "arn":"arn:aws-cn:secretsmanager:cn-north-1:999988887777:secret:my-secret-AbC123",
        "name":"my-secret","version_id":null,"version_stage":"AWSPREVIOUS"},
        "principal":{"arn":"arn:aws:iam::111122223333:role/team/app",
        "actor":"arn:aws:sts::111122223333:assumed-role/app/i-1","type":"AssumedRole",
        "kind":"workload","account":"111122223333","via":null,"console":false,
        "access_key_id":"ASIA1"},"source":{"ip":"198.51.100.7","kind":"ip",
        "user_agent":"aws-cli","vpc_endpoint":null,
        "country":"NL","asn":64500,"as_org":"Example Hosting"},"outcome":"success","denied_by":null,
        "error_code":null,"cross_account":true,"decrypt":{"status":"paired","event_id":"e2",
        "key_arn":"arn:aws:kms:cn-north-1:999988887777:key/k","delta_secs":0},
        "object":"a.json"}"#;

    fn read(line: &str) -> Result<Access, UnknownForm> {
        serde_json::from_str::<AccessV1<'_>>(line).unwrap().read()
    }

    #[test]
    fn what_was_read_is_written_as_it_was() {
        let written = serde_json::to_string(&AccessV1::from(&read(LINE).unwrap())).unwrap();
        assert_eq!(written, LINE.replace("\n        ", ""));
    }

    #[test]
    fn the_place_of_a_secret_is_read_from_its_arn() {
        let secret = read(LINE).unwrap().secret;
        let place = (&*secret.partition, &*secret.account, &*secret.region);
        assert_eq!(place, ("aws-cn", "999988887777", "cn-north-1"));
        // Without an ARN, account and region of the trail are used.
        let arn = "\"arn:aws-cn:secretsmanager:cn-north-1:999988887777:secret:my-secret-AbC123\"";
        let secret = read(&LINE.replace(arn, "null")).unwrap().secret;
        assert_eq!(
            (&*secret.account, &*secret.region),
            ("111122223333", "eu-west-1")
        );
        assert_eq!(secret.name.as_deref(), Some("my-secret"));
    }

    #[test]
    fn words_of_another_version_are_refused() {
        for (known, other, reported) in [
            (
                "access/1",
                "access/2",
                "`secretrail.access/2` is not secretrail.access/1",
            ),
            ("\"api\":\"Get", "\"api\":\"Got", ""),
            (
                "\"method\":\"api\"",
                "\"method\":\"fax\"",
                "`fax` is not a known value",
            ),
            ("\"workload\"", "\"robot\"", "`robot` is not a known value"),
            (
                "\"paired\"",
                "\"married\"",
                "`married` is not a known value",
            ),
            (
                "\"success\"",
                "\"victory\"",
                "`victory` is not a known value",
            ),
            (
                "2026-03-02T10",
                "2026-13-02T10",
                "`2026-13-02T10:00:00Z` is not a time",
            ),
        ] {
            let line = LINE.replacen(known, other, 1);
            assert_ne!(line, LINE, "{known}");
            match read(&line) {
                Err(foreign) => assert!(foreign.to_string().contains(reported), "{foreign}"),
                // The set of API names is open.
                Ok(_) => assert_eq!(reported, "", "{other}"),
            }
        }
    }
}
