//! An access: one principal, one secret, one read, with the evidence of its key use.

pub mod json_v1;

use std::str::FromStr;
use std::sync::Arc;

use crate::ids::{SecretKey, SecretRef, Text};
use crate::observation::Head;

/// By which kind of call the secret was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// A read that names the secret.
    Api,
    /// `BatchGetSecretValue`, or the `GetSecretValue` that it causes for each secret.
    Batch,
    /// `GetParametersByPath`.
    ByPath,
    /// `GetParameterHistory`.
    History,
    /// KMS was called with the secret's ciphertext, without the store in between.
    DirectDecrypt,
    /// A key use for which no read was seen within the horizon.
    DecryptOnly,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 6] = [
        Self::Api,
        Self::Batch,
        Self::ByPath,
        Self::History,
        Self::DirectDecrypt,
        Self::DecryptOnly,
    ];

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

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [
            Self::Api,
            Self::Batch,
            Self::ByPath,
            Self::History,
            Self::DirectDecrypt,
            Self::DecryptOnly,
        ];
        let known = all.into_iter().find(|method| method.as_str() == text);
        let words = all.map(Self::as_str).join(", ");
        known.ok_or_else(|| format!("`{text}` is not a method; use one of {words}"))
    }
}

/// What is known of the key use behind a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DecryptStatus {
    /// The key use was found.
    Paired,
    /// None came within the horizon, although KMS events of that account and region were seen around that time.
    Absent,
    /// None came, but that proves nothing: no KMS events there, a batched read, or possibly a plain `String` parameter.
    Unknown,
    /// The horizon is not over.
    Pending,
    /// The read was denied, failed, asked for no decryption, or the access is itself a key use.
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

/// The key use behind an access.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decrypt {
    /// What is known.
    pub status: DecryptStatus,
    /// `eventID` of the Decrypt that was joined to the read; `None` when the access is itself a key use.
    pub event_id: Option<Text>,
    /// ARN of the key.
    pub key_arn: Option<Text>,
    /// Event time of the Decrypt minus that of the read, in seconds.
    pub delta_secs: Option<i64>,
}

impl Decrypt {
    /// Evidence with nothing but a status.
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
    /// The read, or the key use where there is none.
    pub head: Arc<Head>,
    /// By which kind of call.
    pub method: Method,
    /// The secret; its ARN comes from the key use where the read named it otherwise.
    pub secret: SecretRef,
    /// What the request called it, which is known before the key use is.
    pub asked: SecretKey,
    /// The key use.
    pub decrypt: Decrypt,
}

impl Access {
    /// Whether the caller's account is not the account of the secret or of the trail.
    #[must_use]
    pub fn cross_account(&self) -> bool {
        let caller = self.head.principal.account.as_deref();
        let elsewhere = |account: &Text| {
            !account.is_empty() && caller.is_some_and(|caller| caller != &**account)
        };
        elsewhere(&self.head.account) || elsewhere(&self.secret.account)
    }

    /// What the access is about, the same for every copy of its event and whatever becomes known later: event and secret.
    #[must_use]
    pub fn fact_key(&self) -> Text {
        format!("{}\n{}", self.head.event_key(), self.asked.to_text()).into()
    }

    /// The order of the ledger: time, event id, secret, key use.
    #[must_use]
    pub fn ledger_order(&self) -> impl Ord + '_ {
        (
            self.head.time,
            &self.head.event_id,
            &self.secret,
            &self.decrypt,
            self.method,
        )
    }
}
