//! What a record says that concerns us: a secret read, a key use, or a change to who can read.

use std::str::FromStr;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashTable;

use crate::document::JsonNode;
use crate::ids::{RecordHome, SecretRef, SecretStore, SharedStr};
use crate::named::named;
use crate::principal::Principal;
use crate::time::EventTime;
use crate::wire::CloudTrailRecord;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallOutcome {
    /// No `errorCode`.
    Success,
    /// The caller was not allowed to.
    Denied,
    /// Any other error.
    Failed,
}

impl CallOutcome {
    /// Every outcome.
    pub const ALL: [Self; 3] = [Self::Success, Self::Denied, Self::Failed];

    /// The name in JSON and rules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

impl FromStr for CallOutcome {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, UnknownOutcome> {
        named(&Self::ALL, Self::as_str, text).ok_or_else(|| UnknownOutcome(text.to_owned()))
    }
}

/// A word that is the name of no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an outcome; use success, denied or failed")]
pub struct UnknownOutcome(String);

/// What `sourceIPAddress` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// An IPv4 or IPv6 address.
    Ip,
    /// The name of an AWS service.
    Service,
    /// The words `AWS Internal`.
    Internal,
    /// Anything else, or nothing.
    Unknown,
}

impl SourceKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Ip, Self::Service, Self::Internal, Self::Unknown];

    /// The name in JSON and rules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Service => "service",
            Self::Internal => "internal",
            Self::Unknown => "unknown",
        }
    }

    /// Reads `sourceIPAddress`.
    #[must_use]
    pub fn of(address: Option<&str>) -> Self {
        match address {
            Some(text) if text.parse::<std::net::IpAddr>().is_ok() => Self::Ip,
            // Of key uses for Parameter Store. Calls of the console have these words as their user
            // agent, and an address here.
            Some("AWS Internal") => Self::Internal,
            Some(text)
                if text.ends_with(".amazonaws.com") || text.ends_with(".amazonaws.com.cn") =>
            {
                Self::Service
            }
            _ => Self::Unknown,
        }
    }
}

/// Where a call came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallSource {
    /// `sourceIPAddress`.
    pub ip: Option<SharedStr>,
    /// What the address is.
    pub kind: SourceKind,
    /// `userAgent`.
    pub user_agent: Option<SharedStr>,
    /// `vpcEndpointId` of the API call. `None` on KMS events, where the endpoint is AWS's own.
    pub vpc_endpoint: Option<SharedStr>,
}

/// Raw fields of a record that the loaded rules ask for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeptFields {
    /// Field name as the rules write it, and its value. Absent fields are not listed.
    pub fields: Vec<(SharedStr, JsonNode<'static>)>,
    /// The whole record, when a rule searches it for keywords.
    pub whole: Option<Box<JsonNode<'static>>>,
}

/// What every observation has.
#[derive(Debug, Clone, PartialEq)]
pub struct EventHeader {
    /// `eventID`; of an addendum that updates an event, `addendum.originalEventID`. A hash of the
    /// record where it has none.
    pub event_id: SharedStr,
    /// `sharedEventID`.
    pub shared_id: Option<SharedStr>,
    /// Whether the record is an `UPDATED_DATA` addendum to the event, which replaces it.
    pub updated: bool,
    /// `eventTime`.
    pub time: EventTime,
    /// `eventName`.
    pub api: SharedStr,
    /// `recipientAccountId`.
    pub account: SharedStr,
    /// `awsRegion`.
    pub region: SharedStr,
    /// Who called.
    pub principal: Arc<Principal>,
    /// `userIdentity.accessKeyId`; differs between a read and its Decrypt.
    pub access_key_id: Option<SharedStr>,
    /// From where.
    pub source: Arc<CallSource>,
    /// How it ended.
    pub outcome: CallOutcome,
    /// What denied it: `identity_policy`, `resource_policy`, `service_control_policy`,
    /// `permissions_boundary`, `session_policy`, `vpc_endpoint_policy`, `kms_key`, or other words
    /// of the message. `None` unless it was denied and the message says so.
    pub denied_by: Option<SharedStr>,
    /// `errorCode`.
    pub error_code: Option<SharedStr>,
    /// Path or key of the object it came in.
    pub object: SharedStr,
    /// When the object was delivered; the event's own time where the name of the object does not
    /// tell.
    pub delivered: EventTime,
    /// Raw fields for rules.
    pub kept: KeptFields,
}

impl EventHeader {
    /// The event behind the record: the same for redeliveries, updates, and the copies of several
    /// accounts.
    #[must_use]
    pub fn event_key(&self) -> &SharedStr {
        self.shared_id.as_ref().unwrap_or(&self.event_id)
    }

    /// How much of the caller this copy of an event tells; the higher one is kept.
    #[must_use]
    pub fn richness(&self) -> u8 {
        // The copy that the owner of a secret gets of a call from another account has none of them.
        let Principal { actor, name, .. } = &*self.principal;
        u8::from(actor.is_some()) * 4
            + u8::from(self.access_key_id.is_some()) * 2
            + u8::from(name.is_some())
    }
}

/// What a secret read asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum ReadRequest {
    /// These secrets, each by name: `GetSecretValue`, `GetParameter`, `GetParameters`, and every
    /// denied or failed read.
    Named(Vec<SecretRef>),
    /// These secrets in one batch; each also has a `GetSecretValue` of its own.
    Batch(Vec<SecretRef>),
    /// Whatever the filters of a batch match.
    BatchFilters,
    /// Every parameter under this path.
    Path {
        /// The path as a resource.
        path: SecretRef,
        /// Whether parameters below the next level count.
        recursive: bool,
    },
    /// All versions of this parameter.
    History(SecretRef),
}

/// An API call that asks for secret values.
#[derive(Debug, Clone, PartialEq)]
pub struct SecretRead {
    /// What every observation has.
    pub head: Arc<EventHeader>,
    /// What was asked for.
    pub ask: ReadRequest,
    /// Whether the values are encrypted and were asked for decrypted, so that a key use must
    /// follow.
    pub decrypts: bool,
    /// Whether KMS denied the read that the secret's own policies allowed.
    pub denied_by_kms: bool,
}

/// A KMS `Decrypt` for a secret.
#[derive(Debug, Clone, PartialEq)]
pub struct KmsDecrypt {
    /// What every observation has.
    pub head: Arc<EventHeader>,
    /// The secret of the encryption context; `None` on denied calls, which are logged without one.
    pub secret: Option<SecretRef>,
    /// `SecretVersionId` of the encryption context.
    pub version_id: Option<SharedStr>,
    /// ARN of the key.
    pub key_arn: Option<SharedStr>,
    /// Whether someone called KMS without a service in between.
    pub direct: bool,
}

/// A call that changes who can read, or whether we can see it.
#[derive(Debug, Clone, PartialEq)]
pub struct SecretChange {
    /// What every observation has.
    pub head: Arc<EventHeader>,
    /// The secret it is about; `None` for trails, keys and denied calls.
    pub secret: Option<SecretRef>,
    /// Whether the call itself decrypts the secret, so that key uses beside it are not reads.
    pub decrypts: bool,
}

/// A record that concerns us.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// Somebody asked for secret values.
    Read(Arc<SecretRead>),
    /// A key was used for a secret.
    KmsDecrypt(Arc<KmsDecrypt>),
    /// Something about secrets, keys or trails was changed.
    Change(Arc<SecretChange>),
}

impl Observation {
    /// What every observation has.
    #[must_use]
    pub fn head(&self) -> &Arc<EventHeader> {
        match self {
            Self::Read(read) => &read.head,
            Self::KmsDecrypt(kms_decrypt) => &kms_decrypt.head,
            Self::Change(change) => &change.head,
        }
    }
}

/// Gives equal values one home, so that a million records do not hold a million copies of a user
/// agent.
#[derive(Debug, Default)]
pub struct Interner {
    texts: InternerShelf<SharedStr>,
    principals: InternerShelf<Arc<Principal>>,
    sources: InternerShelf<Arc<CallSource>>,
    secrets: InternerShelf<Arc<SecretMention>>,
    hasher: RandomState,
}

/// What a record called a secret, where, and what that means.
#[derive(Debug)]
struct SecretMention {
    store: SecretStore,
    id: SharedStr,
    /// Account, region and partition of the record.
    place: [SharedStr; 3],
    secret: SecretRef,
}

impl SecretMention {
    fn is(&self, store: SecretStore, id: &str, home: RecordHome<'_>) -> bool {
        self.store == store
            && *self.id == *id
            && self.place.iter().map(|text| &**text).eq(place_of(home))
    }
}

/// Values beside their hashes, so that few others are followed into memory when one is looked for,
/// and none when the table grows.
#[derive(Debug)]
struct InternerShelf<T>(HashTable<(u64, T)>);

/// Values kept before the interner forgets and starts anew: sharing is a saving, not a promise.
const INTERNED: usize = 50_000;

impl<T> Default for InternerShelf<T> {
    fn default() -> Self {
        Self(HashTable::new())
    }
}

impl<T: Clone> InternerShelf<T> {
    fn find(&self, hash: u64, is: impl Fn(&T) -> bool) -> Option<&T> {
        self.0
            .find(hash, |(known, value)| *known == hash && is(value))
            .map(|(_, value)| value)
    }

    fn keep(&mut self, hash: u64, value: T) -> T {
        // Emptied at once, not value by value: what is in use comes back with its next record, and
        // no order of age has to be kept for that.
        if self.0.len() >= INTERNED {
            self.0.clear();
        }
        self.0
            .insert_unique(hash, (hash, value.clone()), |(hash, _)| *hash);
        value
    }
}

impl Interner {
    /// The shared form of a text.
    pub fn text(&mut self, text: &str) -> SharedStr {
        let hash = self.hasher.hash_one(text);
        if let Some(known) = self.texts.find(hash, |known| **known == *text) {
            return known.clone();
        }
        self.texts.keep(hash, text.into())
    }

    /// What a record calls a secret, as [`SecretRef::secret`] or [`SecretRef::parameter`] reads it.
    pub fn secret(&mut self, store: SecretStore, id: &str, home: RecordHome<'_>) -> SecretRef {
        let hash = self.hasher.hash_one((store, id, place_of(home)));
        if let Some(known) = self.secrets.find(hash, |known| known.is(store, id, home)) {
            return known.secret.clone();
        }
        let called = self.called(store, id, home);
        self.secrets.keep(hash, Arc::new(called)).secret.clone()
    }

    fn called(&mut self, store: SecretStore, id: &str, home: RecordHome<'_>) -> SecretMention {
        let mut secret = match store {
            SecretStore::SecretsManager => SecretRef::secret(id, home),
            SecretStore::Ssm => SecretRef::parameter(id, home),
        };
        // The name of a secret comes back in many spellings, each with its own entry: the texts
        // inside are shared between them too.
        secret.texts().for_each(|text| *text = self.text(text));
        SecretMention {
            store,
            id: self.text(id),
            place: place_of(home).map(|text| self.text(text)),
            secret,
        }
    }

    /// The shared form of a record's principal. Most records repeat one that is known, and then
    /// nothing is made.
    pub fn principal(&mut self, record: &CloudTrailRecord<'_>) -> Arc<Principal> {
        let reported = Principal::of(record);
        let hash = self.hasher.hash_one(&reported);
        if let Some(known) = self.principals.find(hash, |known| known.is(&reported)) {
            return known.clone();
        }
        let principal = Arc::new(reported.owned(|text| self.text(text)));
        self.principals.keep(hash, principal)
    }

    /// The shared form of a source.
    pub fn source(
        &mut self,
        ip: Option<&str>,
        user_agent: Option<&str>,
        vpc_endpoint: Option<&str>,
    ) -> Arc<CallSource> {
        let hash = self.hasher.hash_one((ip, user_agent, vpc_endpoint));
        let known = self.sources.find(hash, |known| {
            known.ip.as_deref() == ip
                && known.user_agent.as_deref() == user_agent
                && known.vpc_endpoint.as_deref() == vpc_endpoint
        });
        if let Some(known) = known {
            return known.clone();
        }
        let source = CallSource {
            kind: SourceKind::of(ip),
            ip: ip.map(|text| self.text(text)),
            user_agent: user_agent.map(|text| self.text(text)),
            vpc_endpoint: vpc_endpoint.map(|text| self.text(text)),
        };
        self.sources.keep(hash, Arc::new(source))
    }
}

fn place_of(home: RecordHome<'_>) -> [&str; 3] {
    [home.account, home.region, home.partition]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events_for_tests::HOME;

    #[test]
    fn a_source_is_an_address_a_service_or_aws_itself() {
        let cases = [
            (Some("198.51.100.7"), SourceKind::Ip),
            (Some("2001:db8::1"), SourceKind::Ip),
            (Some("rds.amazonaws.com"), SourceKind::Service),
            (Some("kms.amazonaws.com.cn"), SourceKind::Service),
            (Some("AWS Internal"), SourceKind::Internal),
            (Some("198.51.100.7:443"), SourceKind::Unknown),
            (Some("amazonaws.com.example.org"), SourceKind::Unknown),
            (None, SourceKind::Unknown),
        ];
        for (address, kind) in cases {
            assert_eq!(SourceKind::of(address), kind, "{address:?}");
        }
    }

    #[test]
    fn a_word_that_is_no_outcome_is_refused_with_those_that_are() {
        for outcome in CallOutcome::ALL {
            assert_eq!(outcome.as_str().parse(), Ok(outcome));
        }
        let error = "Denied".parse::<CallOutcome>().unwrap_err().to_string();
        assert_eq!(
            error,
            "`Denied` is not an outcome; use success, denied or failed"
        );
    }

    #[test]
    fn what_is_said_again_is_shared() {
        let mut interner = Interner::default();
        let first = interner.secret(SecretStore::SecretsManager, "db", HOME);
        let again = interner.secret(SecretStore::SecretsManager, "db", HOME);
        let (name, same) = (first.name.clone().unwrap(), again.name.unwrap());
        assert!(Arc::ptr_eq(&name, &same));
        assert!(Arc::ptr_eq(&name, &interner.text("db")));

        let ip = Some("198.51.100.7");
        let source = interner.source(ip, None, None);
        assert!(Arc::ptr_eq(&source, &interner.source(ip, None, None)));
        assert_ne!(source, interner.source(None, ip, None));
    }

    #[test]
    fn one_text_means_another_secret_elsewhere() {
        let mut interner = Interner::default();
        let here = interner.secret(SecretStore::Ssm, "db", HOME);
        let region = RecordHome {
            region: "us-east-1",
            ..HOME
        };
        let account = RecordHome {
            account: "444455556666",
            ..HOME
        };
        for (store, home) in [
            (SecretStore::Ssm, region),
            (SecretStore::Ssm, account),
            (SecretStore::SecretsManager, HOME),
        ] {
            assert_ne!(interner.secret(store, "db", home).key(), here.key());
        }
    }

    #[test]
    fn what_was_forgotten_is_made_anew() {
        let mut interner = Interner::default();
        let first = interner.text("db");
        for number in 0..INTERNED {
            interner.text(&number.to_string());
        }
        let again = interner.text("db");
        assert_eq!(first, again);
        assert!(!Arc::ptr_eq(&first, &again), "the shelf has been emptied");
    }
}
