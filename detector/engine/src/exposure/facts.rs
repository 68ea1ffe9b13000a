//! What the logs say about the secrets of one name: who read which version, and what changed. A
//! set, to which facts are added in any order, any number of times.

use std::sync::Arc;

use ahash::HashMap;

use super::Certainty;
use crate::{
    access::{Access, AccessMethod},
    digest::short_digest,
    geo::SourceGeo,
    ids::{ArnParts, SecretRef, SecretStore, SharedStr},
    observation::{
        CallOutcome, CallSource, SecretChange, SourceKind, VersionStep,
        change::{CURRENT, PREVIOUS},
    },
    principal::{Principal, PrincipalKind},
    revealed::RevealedVersion,
    time::EventTime,
};

/// Length of the random suffix of a secret's ARN, including its hyphen.
const SUFFIX: usize = 7;

/// Secrets that records without an ARN cannot keep apart: of one name, in one account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName {
    /// The service that has it.
    pub store: SecretStore,
    /// 12-digit account id.
    pub account: SharedStr,
    /// Empty in Secrets Manager, where replicas have the name of their primary.
    pub region: SharedStr,
    /// Its name.
    pub name: SharedStr,
}

impl SecretName {
    /// The name of a secret; `None` where the record does not name it.
    #[must_use]
    pub fn of(secret: &SecretRef) -> Option<Self> {
        let region = match secret.store {
            SecretStore::SecretsManager => "".into(),
            SecretStore::Ssm => secret.region.clone(),
        };
        Some(Self {
            store: secret.store,
            account: secret.account.clone(),
            region,
            name: secret.name.clone()?,
        })
    }
}

/// The random suffix of a secret's ARN; `None` for parameters, and while only a name is known.
pub(super) fn suffix_in(arn: Option<&str>) -> Option<&str> {
    let arn = arn.filter(|arn| ArnParts::parse(arn).is_some_and(|arn| arn.service != "ssm"))?;
    arn.get(arn.len().checked_sub(SUFFIX)?..)
}

/// What the stage or version in a request means for the versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum ReadScope {
    /// One version: the named one, or else that of the stage.
    One,
    /// One version, of which only the KMS Decrypt was seen: nothing says what was asked for.
    Unasked,
    /// All versions up to then: `GetParameterHistory`.
    All,
}

impl ReadScope {
    fn of(method: AccessMethod) -> Self {
        match method {
            AccessMethod::History => Self::All,
            AccessMethod::DecryptOnly | AccessMethod::DirectDecrypt => Self::Unasked,
            AccessMethod::Api | AccessMethod::Batch | AccessMethod::ByPath => Self::One,
        }
    }
}

/// A caller that is not named.
fn nobody() -> Principal {
    Principal {
        id: None,
        actor: None,
        identity_type: None,
        kind: PrincipalKind::Unknown,
        account: None,
        name: None,
        session: None,
        via: None,
        console: false,
        principal_id: None,
    }
}

/// A source that is not named.
fn nowhere() -> CallSource {
    CallSource {
        ip: None,
        kind: SourceKind::Unknown,
        user_agent: None,
        vpc_endpoint: None,
        geo: SourceGeo::default(),
    }
}

/// Reads that differ in nothing but their time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ReadKind {
    /// The secret, without what was asked for.
    pub(super) arn: Option<SharedStr>,
    pub(super) region: SharedStr,
    pub(super) partition: SharedStr,
    pub(super) principal: Arc<Principal>,
    pub(super) source: Arc<CallSource>,
    pub(super) access_key: Option<SharedStr>,
    /// The version that the request named or the KMS Decrypt revealed.
    pub(super) version_id: Option<SharedStr>,
    /// The stage or label that was asked for.
    pub(super) stage: Option<SharedStr>,
    /// Whether the request named the version.
    pub(super) asked_version: bool,
    pub(super) scope: ReadScope,
    pub(super) certainty: Certainty,
    /// Whether the selection of the run takes it.
    pub(super) is_selected: bool,
}

impl ReadKind {
    fn of(access: &Access, is_selected: bool) -> Self {
        let secret = &access.secret;
        Self {
            arn: secret.arn.clone(),
            region: secret.region.clone(),
            partition: secret.partition.clone(),
            principal: access.head.principal.clone(),
            source: access.head.source.clone(),
            access_key: access.head.access_key_id.clone(),
            version_id: secret.version_id.clone(),
            stage: secret.version_stage.clone(),
            asked_version: access.asked_version,
            scope: ReadScope::of(access.method),
            certainty: Certainty::of(access),
            is_selected,
        }
    }

    /// A read that revealed a version, whoever made it.
    fn of_revealed(version: &RevealedVersion) -> Self {
        let secret = &version.secret;
        Self {
            arn: secret.arn.clone(),
            region: secret.region.clone(),
            partition: secret.partition.clone(),
            principal: Arc::new(nobody()),
            source: Arc::new(nowhere()),
            access_key: None,
            version_id: secret.version_id.clone(),
            stage: secret.version_stage.clone(),
            asked_version: version.asked_version,
            scope: ReadScope::of(version.method),
            certainty: version.certainty,
            is_selected: true,
        }
    }

    /// The version that was current when it was read; `None` unless the read asked for the current
    /// one and the KMS Decrypt says which it got.
    pub(super) fn saw_current(&self) -> Option<&SharedStr> {
        self.saw(|stage| stage.is_none_or(|stage| stage == CURRENT))
    }

    /// The version that was current before; `None` unless the read asked for that one.
    pub(super) fn saw_previous(&self) -> Option<&SharedStr> {
        self.saw(|stage| stage == Some(PREVIOUS))
    }

    fn saw(&self, is_stage: impl Fn(Option<&str>) -> bool) -> Option<&SharedStr> {
        let is_proof = self.certainty == Certainty::Paired
            && self.scope == ReadScope::One
            && !self.asked_version;
        let version_id = self.version_id.as_ref()?;
        (is_proof && is_stage(self.stage.as_deref())).then_some(version_id)
    }
}

/// A step in the life of the versions, and who took it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeFact {
    /// `eventTime`.
    pub time: EventTime,
    /// The event behind the record, which its copies share.
    pub event: SharedStr,
    /// What it does to the versions.
    pub step: VersionStep,
    /// The full ARN of the secret; `None` while only its name is known.
    pub arn: Option<SharedStr>,
    /// Region of the secret.
    pub region: SharedStr,
    /// Stable identity of the caller; `None` when the record identifies nobody.
    pub by: Option<SharedStr>,
    /// `eventID`.
    pub event_id: SharedStr,
    /// `eventName`.
    pub api: SharedStr,
}

impl ChangeFact {
    /// The steps of a change of a secret.
    pub(super) fn of<'c>(
        change: &'c SecretChange,
        secret: &'c SecretRef,
    ) -> impl Iterator<Item = Self> + 'c {
        let head = &change.head;
        // Replicas in another account have the account in the ARN, and the region of the call is
        // that of the secret.
        change.steps.iter().map(|step| Self {
            time: head.time,
            event: head.event_key(),
            step: step.clone(),
            arn: secret.arn.clone(),
            region: secret.region.clone(),
            by: head.principal.id.clone(),
            event_id: head.event_id.clone(),
            api: head.api.clone(),
        })
    }
}

/// The facts about the secrets of one name.
#[derive(Debug, Clone, Default)]
pub(super) struct SecretFacts {
    /// Times of reads, with a digest of each read: copies of one are one.
    pub(super) reads: HashMap<ReadKind, Vec<(EventTime, u64)>>,
    pub(super) changes: Vec<ChangeFact>,
}

impl SecretFacts {
    pub(super) fn add_read(&mut self, access: &Access, is_selected: bool) {
        if access.head.outcome != CallOutcome::Success {
            return;
        }
        let read = (access.head.time, short_digest(&[&access.fact_key()]));
        let kind = ReadKind::of(access, is_selected);
        self.reads.entry(kind).or_default().push(read);
    }

    pub(super) fn add_revealed(&mut self, version: &RevealedVersion) {
        let kind = ReadKind::of_revealed(version);
        let times = self.reads.entry(kind).or_default();
        times.push((version.first, 0));
    }

    pub(super) fn add_change(&mut self, change: &SecretChange, secret: &SecretRef) {
        self.changes.extend(ChangeFact::of(change, secret));
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (kind, mut times) in other.reads {
            self.reads.entry(kind).or_default().append(&mut times);
        }
        self.changes.extend(other.changes);
    }

    /// Sorts, and drops copies.
    pub(super) fn tidy(&mut self) {
        for times in self.reads.values_mut() {
            times.sort_unstable();
            times.dedup();
        }
        self.changes.sort();
        // Copies of one event in several accounts: of each step, the first.
        self.changes.dedup_by(|b, a| {
            (a.time, &a.event, &a.step) == (b.time, &b.event, &b.step) && a.arn == b.arn
        });
    }
}

/// A place of replicas as a record names it: a region, or the ARN of the replica.
pub(super) fn place<'p>(named: &'p str, account: &'p str) -> (&'p str, &'p str) {
    match ArnParts::parse(named) {
        Some(arn) => (arn.account, arn.region),
        None => (account, named),
    }
}
