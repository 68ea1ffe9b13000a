//! An access: one principal, one secret, one read, with the evidence of its KMS Decrypt.

pub mod json_v1;

use std::{str::FromStr, sync::Arc};

use crate::{
    ids::{SecretKey, SecretRef, SharedStr},
    observation::EventHeader,
    parse_enum::parse_enum,
};

/// How the secret was accessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccessMethod {
    /// A read that names the secret.
    Api,
    /// `BatchGetSecretValue`, or the `GetSecretValue` that it causes for each secret.
    Batch,
    /// `GetParametersByPath`.
    ByPath,
    /// `GetParameterHistory`.
    History,
    /// `Decrypt` was called on the secret's ciphertext directly, without the store.
    DirectDecrypt,
    /// A KMS Decrypt for which no read was seen within the allowed lateness.
    DecryptOnly,
}

impl AccessMethod {
    /// Every method.
    pub const ALL: [Self; 6] = [
        Self::Api,
        Self::Batch,
        Self::ByPath,
        Self::History,
        Self::DirectDecrypt,
        Self::DecryptOnly,
    ];

    /// The method that an API other than the usual ones is for.
    pub(crate) fn of_api(api: &str) -> Option<Self> {
        match api {
            "BatchGetSecretValue" => Some(Self::Batch),
            "GetParametersByPath" => Some(Self::ByPath),
            "GetParameterHistory" => Some(Self::History),
            _ => None,
        }
    }

    /// The name in JSON and rules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Batch => "batch",
            Self::ByPath => "by_path",
            Self::History => "history",
            Self::DirectDecrypt => "direct_decrypt",
            Self::DecryptOnly => "decrypt_only",
        }
    }
}

impl FromStr for AccessMethod {
    type Err = UnknownMethod;

    fn from_str(text: &str) -> Result<Self, UnknownMethod> {
        parse_enum(&Self::ALL, Self::as_str, text).ok_or_else(|| UnknownMethod(text.to_owned()))
    }
}

/// A text that is not the name of a method.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a method; use one of {methods}",
    methods = AccessMethod::ALL.map(AccessMethod::as_str).join(", ")
)]
pub struct UnknownMethod(String);

/// What is known about the KMS Decrypt of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DecryptStatus {
    /// The Decrypt was found.
    Paired,
    /// No Decrypt arrived within the allowed lateness, although KMS events of that account and
    /// region were seen around that time.
    Absent,
    /// No Decrypt was found, which proves nothing: no KMS events there, a batched read, or possibly
    /// a plain `String` parameter.
    Unknown,
    /// The allowed lateness is not over.
    Pending,
    /// The read was denied, failed or requested no decryption, or the access is itself a KMS
    /// Decrypt.
    NotExpected,
}

impl DecryptStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [
        Self::Paired,
        Self::Absent,
        Self::Unknown,
        Self::Pending,
        Self::NotExpected,
    ];

    /// The name in JSON and rules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paired => "paired",
            Self::Absent => "absent",
            Self::Unknown => "unknown",
            Self::Pending => "pending",
            Self::NotExpected => "not_expected",
        }
    }
}

/// The KMS Decrypt of an access.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessDecrypt {
    /// What is known about it.
    pub status: DecryptStatus,
    /// `eventID` of the Decrypt that was joined to the read; `None` without one, and when the
    /// access is itself a KMS Decrypt.
    pub event_id: Option<SharedStr>,
    /// ARN of the KMS key; `None` when it is not known.
    pub key_arn: Option<SharedStr>,
    /// Event time of the Decrypt minus that of the read, in seconds; `None` unless they are paired.
    pub delta_secs: Option<i64>,
}

impl AccessDecrypt {
    /// A status without further evidence.
    #[must_use]
    pub fn only(status: DecryptStatus) -> Self {
        Self {
            status,
            event_id: None,
            key_arn: None,
            delta_secs: None,
        }
    }
}

/// One principal × one secret × one read.
#[derive(Debug, Clone, PartialEq)]
pub struct Access {
    /// The read; the KMS Decrypt when there is no read.
    pub head: Arc<EventHeader>,
    /// How the secret was accessed.
    pub method: AccessMethod,
    /// The secret; its ARN comes from the KMS Decrypt when the read used another name.
    pub secret: SecretRef,
    /// The secret as the request named it, which is known before the KMS Decrypt.
    pub asked: SecretKey,
    /// Whether the request named the version; otherwise the version is the one that the KMS
    /// Decrypt revealed. `false` in an access that was read from JSON.
    pub asked_version: bool,
    /// The KMS Decrypt.
    pub decrypt: AccessDecrypt,
}

impl Access {
    /// Whether the caller's account is not the account of the secret or of the trail.
    #[must_use]
    pub fn cross_account(&self) -> bool {
        // The owner's copy of a call has the caller's account in the identity, the caller's copy
        // has the owner's account in the ARN of the secret.
        let Some(caller) = self.head.principal.account.as_deref() else {
            return false;
        };
        [&self.head.account, &self.secret.account]
            .into_iter()
            .any(|account| !account.is_empty() && **account != *caller)
    }

    /// Event and requested secret: the same for every copy of the event, before and after the KMS
    /// Decrypt is known.
    #[must_use]
    pub fn fact_key(&self) -> SharedStr {
        // The asked name, not the final one: early and final evidence of a read must be one fact.
        format!("{}\n{}", self.head.event_key(), self.asked.to_text()).into()
    }

    /// The order of the output: time, event id, secret, KMS Decrypt, method.
    #[must_use]
    pub fn ledger_order(&self) -> impl Ord + '_ {
        (
            self.head.time,
            (&self.head.event_id, self.head.event),
            &self.secret,
            &self.decrypt,
            self.method,
        )
    }
}

/// A read of the parameter `/db` by the role `app`, for tests to change.
#[cfg(test)]
pub(crate) fn sample() -> Access {
    let line = r#"{"schema":"secretrail.access/1","time":"2026-03-02T10:00:00Z","event_id":"e1",
        "api":"GetParameter","method":"api","account":"111122223333","region":"eu-west-1",
        "secret":{"store":"ssm","name":"/db",
        "arn":"arn:aws:ssm:eu-west-1:111122223333:parameter/db"},
        "principal":{"arn":"arn:aws:iam::111122223333:role/app","kind":"workload",
        "account":"111122223333","console":false},
        "source":{"ip":"198.51.100.7","kind":"ip"},"outcome":"success","cross_account":false,
        "decrypt":{"status":"unknown"},"object":"a.json"}"#;
    let line: json_v1::AccessV1<'_> = serde_json::from_str(line).unwrap();
    line.read().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{RecordHome, SecretStore},
        principal::Principal,
    };

    fn access(caller: Option<&str>, trail: &str, owner: &str) -> Access {
        let mut access = sample();
        access.secret.account = owner.into();
        let head = Arc::make_mut(&mut access.head);
        head.account = trail.into();
        head.principal = Arc::new(Principal {
            account: caller.map(Into::into),
            ..(*head.principal).clone()
        });
        access
    }

    #[test]
    fn either_copy_of_a_call_between_accounts_shows_that_it_is_one() {
        let (caller, owner) = ("111122223333", "999988887777");
        assert!(access(Some(caller), caller, owner).cross_account());
        assert!(access(Some(caller), owner, owner).cross_account());
        assert!(!access(Some(owner), owner, owner).cross_account());
        // Many records lack the caller's account, or have an empty one.
        assert!(!access(None, owner, owner).cross_account());
        assert!(!access(Some(owner), "", owner).cross_account());
    }

    #[test]
    fn an_access_is_the_same_fact_when_more_becomes_known() {
        let early = sample();
        let home = RecordHome {
            partition: "aws",
            account: "111122223333",
            region: "eu-west-1",
        };
        let arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:db-AbC123";
        let finalized = Access {
            secret: SecretRef::secret(arn, home),
            decrypt: AccessDecrypt::only(DecryptStatus::Paired),
            ..early.clone()
        };
        assert_eq!(early.fact_key(), finalized.fact_key());
        let other = Access {
            asked: SecretRef::unnamed(SecretStore::Ssm, home).key(),
            ..early.clone()
        };
        assert_ne!(early.fact_key(), other.fact_key());
        // Copies of one event in several accounts are one fact.
        let copy = |event_id: &str| Access {
            head: Arc::new(EventHeader {
                event_id: event_id.into(),
                shared_id: Some("s1".into()),
                ..(*early.head).clone()
            }),
            ..early.clone()
        };
        assert_eq!(copy("e1").fact_key(), copy("e2").fact_key());
    }
}
