//! Observations: the secret reads, KMS Decrypts and secret changes in the records.

pub mod change;

use std::{str::FromStr, sync::Arc};

use ahash::RandomState;
use hashbrown::HashTable;

use crate::{
    document::JsonNode,
    geo::{GeoDatabases, SourceGeo},
    ids::{RecordHome, SecretRef, SecretStore, SharedStr},
    parse_enum::parse_enum,
    principal::Principal,
    time::EventTime,
    wire::CloudTrailRecord,
};

pub use self::change::{SecretChange, VersionStep};

/// Outcome of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallOutcome {
    /// No `errorCode`.
    Success,
    /// The caller lacked permission.
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
        parse_enum(&Self::ALL, Self::as_str, text).ok_or_else(|| UnknownOutcome(text.to_owned()))
    }
}

/// Error: the text is not the name of an outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an outcome; use success, denied or failed")]
pub struct UnknownOutcome(String);

/// Kind of value in `sourceIPAddress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// An IPv4 or IPv6 address.
    Ip,
    /// The name of an AWS service, e.g. `cloudformation.amazonaws.com`.
    Service,
    /// The text `AWS Internal`.
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

    /// Classifies `sourceIPAddress`.
    #[must_use]
    pub fn of(address: Option<&str>) -> Self {
        match address {
            Some(text) if text.parse::<std::net::IpAddr>().is_ok() => Self::Ip,
            // In KMS Decrypts for Parameter Store. Calls from the console have this text as their
            // user agent, and an IP address here.
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

/// Origin of a call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallSource {
    /// `sourceIPAddress`; `None` when it is missing or empty.
    pub ip: Option<SharedStr>,
    /// Kind of the address.
    pub kind: SourceKind,
    /// `userAgent`; `None` when it is missing or empty.
    pub user_agent: Option<SharedStr>,
    /// `vpcEndpointId` of the API call. `None` on KMS Decrypts, where the endpoint is AWS's own.
    pub vpc_endpoint: Option<SharedStr>,
    /// Where the address is registered.
    pub geo: SourceGeo,
}

impl CallSource {
    /// The address or service, and where the address is registered: `203.0.113.9 (NL, AS64500
    /// Example Hosting)`. `None` without an address.
    #[must_use]
    pub fn described(&self) -> Option<String> {
        let ip = self.ip.as_deref()?;
        Some(match self.geo.to_string() {
            geo if geo.is_empty() => ip.to_owned(),
            geo => format!("{ip} ({geo})"),
        })
    }
}

/// Raw fields of a record that the loaded rules need.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeptFields {
    /// Field names as in the rules, with their values. Absent fields are omitted.
    pub fields: Vec<(SharedStr, JsonNode<'static>)>,
    /// The whole record, if a rule searches it for keywords.
    pub whole: Option<Box<JsonNode<'static>>>,
}

impl KeptFields {
    /// The value of a field, by its name as in the rules; `None` when it was absent or not asked
    /// for.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&JsonNode<'static>> {
        let mut fields = self.fields.iter();
        fields
            .find(|(kept, _)| &**kept == name)
            .map(|(_, node)| node)
    }
}

/// The fields that all observations have.
#[derive(Debug, Clone, PartialEq)]
pub struct EventHeader {
    /// `eventID`; for an addendum that updates an event, `addendum.originalEventID`; a digest of
    /// the record's values if it has no id.
    pub event_id: SharedStr,
    /// Digest of what the copies of an event agree on: its id, `eventSource`, `eventName`,
    /// `eventTime`, and the caller with its region. Records with one id and different digests are
    /// different events.
    pub event: u64,
    /// The same digest of a copy that lacks `sharedEventID`, as in the results of some queries;
    /// `None` if this record has none either.
    pub unshared_event: Option<u64>,
    /// Digest of the values of the record that the engine and the loaded rules look at. Records
    /// that differ in it may be copies of one event.
    pub content: u64,
    /// `sharedEventID`; `None` unless several accounts receive the event.
    pub shared_id: Option<SharedStr>,
    /// Whether the record is an `UPDATED_DATA` addendum, which replaces the event.
    pub updated: bool,
    /// `eventTime`.
    pub time: EventTime,
    /// `eventName`, e.g. `GetSecretValue`.
    pub api: SharedStr,
    /// `recipientAccountId`; where it is missing, the caller's account.
    pub account: SharedStr,
    /// `awsRegion`: where the call was made.
    pub region: SharedStr,
    /// The caller, from `userIdentity`.
    pub principal: Arc<Principal>,
    /// `userIdentity.accessKeyId`; differs between a read and its Decrypt.
    pub access_key_id: Option<SharedStr>,
    /// Origin of the call.
    pub source: Arc<CallSource>,
    /// Outcome of the call.
    pub outcome: CallOutcome,
    /// What denied the call: `identity_policy`, `resource_policy`, `service_control_policy`,
    /// `permissions_boundary`, `session_policy`, `vpc_endpoint_policy`, `kms_key`, or other words
    /// from `errorMessage`. `None` unless the call was denied and the message says why.
    pub denied_by: Option<SharedStr>,
    /// `errorCode`; `None` on success.
    pub error_code: Option<SharedStr>,
    /// Path or key of the object that contained the record.
    pub object: SharedStr,
    /// Delivery time of the object, from its name; the event time when the name has none.
    pub delivered: EventTime,
    /// Raw fields that the loaded rules need.
    pub kept: KeptFields,
}

impl EventHeader {
    /// The event behind the record: the same for redeliveries, updates, and copies in several
    /// accounts.
    #[must_use]
    pub fn event_key(&self) -> SharedStr {
        let id = self.shared_id.as_ref().unwrap_or(&self.event_id);
        format!("{id}\n{:016x}", self.event).into()
    }

    /// How much this copy of an event reveals about the caller; the copy with the highest value is
    /// kept.
    #[must_use]
    pub fn richness(&self) -> u8 {
        // When the caller is in another account, the copy of the secret's owner lacks all three.
        let Principal { actor, name, .. } = &*self.principal;
        u8::from(actor.is_some()) * 4
            + u8::from(self.access_key_id.is_some()) * 2
            + u8::from(name.is_some())
    }
}

/// What a secret read requests.
#[derive(Debug, Clone, PartialEq)]
pub enum ReadRequest {
    /// These secrets by name: `GetSecretValue`, `GetParameter`, `GetParameters`, and every denied
    /// or failed read.
    Named(Vec<SecretRef>),
    /// These secrets in one batch; CloudTrail also logs a `GetSecretValue` for each.
    Batch(Vec<SecretRef>),
    /// All secrets that match the filters of a batch.
    BatchFilters,
    /// All parameters under this path.
    Path {
        /// The path, as a resource.
        path: SecretRef,
        /// Whether deeper levels than the next are included.
        recursive: bool,
    },
    /// All versions of this parameter.
    History(SecretRef),
}

/// An API call that requests secret values.
#[derive(Debug, Clone, PartialEq)]
pub struct SecretRead {
    /// Common fields.
    pub head: Arc<EventHeader>,
    /// The requested secrets.
    pub request: ReadRequest,
    /// Whether a KMS Decrypt is expected: the read succeeded, and requested values that may be
    /// encrypted in decrypted form.
    pub decrypts: bool,
    /// Whether KMS denied the read, after the policies of the secret allowed it.
    pub denied_by_kms: bool,
    /// ARN of the KMS key, if the message of the denied read names it.
    pub denied_key: Option<SharedStr>,
}

/// A KMS `Decrypt` for a secret.
#[derive(Debug, Clone, PartialEq)]
pub struct KmsDecrypt {
    /// Common fields.
    pub head: Arc<EventHeader>,
    /// The secret in the encryption context; `None` on denied calls, which are logged without one.
    pub secret: Option<SecretRef>,
    /// `SecretVersionId` in the encryption context; `None` for parameters.
    pub version_id: Option<SharedStr>,
    /// ARN of the KMS key.
    pub key_arn: Option<SharedStr>,
    /// Whether the caller called KMS directly, without a service in between.
    pub direct: bool,
}

/// A record that is relevant to Secretrail.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// A secret read.
    Read(Arc<SecretRead>),
    /// A KMS Decrypt for a secret.
    KmsDecrypt(Arc<KmsDecrypt>),
    /// A change to secrets, keys or trails.
    Change(Arc<SecretChange>),
}

impl Observation {
    /// The common fields.
    #[must_use]
    pub fn head(&self) -> &Arc<EventHeader> {
        match self {
            Self::Read(read) => &read.head,
            Self::KmsDecrypt(kms_decrypt) => &kms_decrypt.head,
            Self::Change(change) => &change.head,
        }
    }
}

/// Shares equal values, so that a million records do not hold a million copies of a user agent.
#[derive(Debug, Default)]
pub struct Interner {
    texts: InternerShelf<SharedStr>,
    principals: InternerShelf<Arc<Principal>>,
    sources: InternerShelf<Arc<CallSource>>,
    secrets: InternerShelf<Arc<SecretMention>>,
    hasher: RandomState,
    geo: GeoDatabases,
}

/// A secret as a record refers to it, with the parsed reference.
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

/// Values stored with their hashes: a lookup compares few values by content, and growing the table
/// compares none.
#[derive(Debug)]
struct InternerShelf<T>(HashTable<(u64, T)>);

/// Number of values after which an interner starts anew: sharing saves memory but is not
/// guaranteed.
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
        // Emptied at once, not value by value: a value in use returns with its next record, and no
        // order of age has to be maintained.
        if self.0.len() >= INTERNED {
            self.0.clear();
        }
        self.0
            .insert_unique(hash, (hash, value.clone()), |(hash, _)| *hash);
        value
    }
}

impl Interner {
    /// One that looks up where addresses are registered.
    #[must_use]
    pub fn with_geo(geo: &GeoDatabases) -> Self {
        Self {
            geo: geo.clone(),
            ..Self::default()
        }
    }

    /// The shared form of a text.
    pub fn text(&mut self, text: &str) -> SharedStr {
        let hash = self.hasher.hash_one(text);
        if let Some(known) = self.texts.find(hash, |known| **known == *text) {
            return known.clone();
        }
        self.texts.keep(hash, text.into())
    }

    /// The shared form of a secret reference, parsed as by [`SecretRef::secret`] or
    /// [`SecretRef::parameter`].
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
        // One secret may be written in many ways, each with an entry of its own: their texts are
        // shared too.
        secret.texts().for_each(|text| *text = self.text(text));
        SecretMention {
            store,
            id: self.text(id),
            place: place_of(home).map(|text| self.text(text)),
            secret,
        }
    }

    /// The shared form of a record's principal. Most records repeat a known principal, and then
    /// nothing is allocated.
    pub fn principal(&mut self, record: &CloudTrailRecord<'_>) -> Arc<Principal> {
        let reported = Principal::of(record);
        let hash = self.hasher.hash_one(&reported);
        if let Some(known) = self.principals.find(hash, |known| known.is(&reported)) {
            return known.clone();
        }
        let principal = Arc::new(reported.owned(|text| self.text(text)));
        self.principals.keep(hash, principal)
    }

    /// The shared form of a principal that was stored; its texts need not be shared.
    pub fn stored_principal(&mut self, principal: Principal) -> Arc<Principal> {
        let hash = self.hasher.hash_one(&principal);
        if let Some(known) = self.principals.find(hash, |known| **known == principal) {
            return known.clone();
        }
        self.principals.keep(hash, Arc::new(principal))
    }

    /// The shared form of a source.
    pub fn source(
        &mut self,
        ip: Option<&str>,
        user_agent: Option<&str>,
        vpc_endpoint: Option<&str>,
    ) -> Arc<CallSource> {
        self.source_at(ip, user_agent, vpc_endpoint, |geo| {
            ip.map(|ip| geo.find(ip)).unwrap_or_default()
        })
    }

    /// The same of a source whose place was looked up before.
    pub fn stored_source(
        &mut self,
        ip: Option<&str>,
        user_agent: Option<&str>,
        vpc_endpoint: Option<&str>,
        geo: SourceGeo,
    ) -> Arc<CallSource> {
        self.source_at(ip, user_agent, vpc_endpoint, |_| geo)
    }

    fn source_at(
        &mut self,
        ip: Option<&str>,
        user_agent: Option<&str>,
        vpc_endpoint: Option<&str>,
        geo: impl FnOnce(&GeoDatabases) -> SourceGeo,
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
            geo: geo(&self.geo),
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
    fn equal_values_are_shared() {
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
