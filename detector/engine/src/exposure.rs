//! Exposure: which versions of which secrets were revealed, to whom, and whether they still work.
//!
//! The KMS Decrypt of a read says which version it got; the changes of the secret say which version
//! was current when, and what took its place. Both are facts of a set, to which they are added in
//! any order and any number of times: late ones correct the result.

pub mod checklist;
mod facts;
pub mod hygiene;
pub mod json_v1;
mod rows;
pub mod scope;
mod timeline;

use ahash::HashMap;

use self::{
    facts::{SecretFacts, SecretName},
    scope::ExposureScopes,
};
use crate::{
    access::Access,
    ids::{SecretRef, SharedStr},
    observation::{EventHeader, SecretChange},
    parse_enum::parse_enum,
    time::EventTime,
};

/// What no log can show, said in every form.
pub const LIMIT: &str = "A superseded version is no longer handed out by default. That does not \
    prove that the database or service behind it rejects the old value: check it there.";

/// How sure it is which version was revealed, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Certainty {
    /// The log cannot say whether this version was revealed: a batch without a KMS Decrypt, a
    /// parameter that was read without one, old values of a parameter, a direct decrypt of
    /// ciphertext that may be older.
    Unknown,
    /// The version that was current when the secret was read.
    ByTime,
    /// The version that the request named.
    Requested,
    /// The version that the KMS Decrypt names.
    Paired,
}

impl Certainty {
    /// Every certainty.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::ByTime, Self::Requested, Self::Paired];

    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::ByTime => "by_time",
            Self::Requested => "requested",
            Self::Paired => "paired",
        }
    }
}

/// What a revealed version is when the logs end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VersionStatus {
    /// `AWSCURRENT`; of a parameter, the latest version.
    Current,
    /// `AWSPREVIOUS`: the version before the current one, which can still be read by that stage.
    Previous,
    /// Older than that; of a parameter, any version but the latest.
    Superseded,
    /// The secret was deleted, or is scheduled to be.
    Deleted,
    /// The logs do not say: the version was never seen as the current one, a change may have
    /// replaced it, or the logs of the secret's account and region are missing.
    Unknown,
}

impl VersionStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [
        Self::Current,
        Self::Previous,
        Self::Superseded,
        Self::Deleted,
        Self::Unknown,
    ];

    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
            Self::Superseded => "superseded",
            Self::Deleted => "deleted",
            Self::Unknown => "unknown",
        }
    }

    /// The status of a name in JSON.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        parse_enum(&Self::ALL, Self::as_str, name)
    }
}

/// What took the place of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supersession {
    /// `eventTime`; the first read of the new version where the change is not in the logs; `None`
    /// if it was before the logs begin.
    pub time: Option<EventTime>,
    /// Stable identity of the caller, as [`Principal::id`]; `None` where the change is not in the
    /// logs.
    ///
    /// [`Principal::id`]: crate::principal::Principal::id
    pub by: Option<SharedStr>,
    /// The version that is current from then on; `None` where the record does not name it.
    pub version_id: Option<SharedStr>,
    /// `eventID`; `None` where the change is not in the logs.
    pub event_id: Option<SharedStr>,
    /// `eventName`; `None` where the change is not in the logs.
    pub api: Option<SharedStr>,
}

/// Where a secret has a copy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplicaHome {
    /// 12-digit account id.
    pub account: SharedStr,
    /// Region, as in `eu-west-1`.
    pub region: SharedStr,
}

/// Who else reads a secret, and breaks if a rotation is not for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretReader {
    /// Stable identity of the principal.
    pub principal: SharedStr,
    /// Number of reads in the logs that are no part of the exposure.
    pub reads: u64,
    /// The last of them.
    pub last: EventTime,
}

/// A version of a secret that was revealed.
#[derive(Debug, Clone, PartialEq)]
pub struct Exposure {
    /// The secret, with the version.
    pub secret: SecretRef,
    /// How sure it is that this version was revealed.
    pub certainty: Certainty,
    /// When it was revealed first.
    pub first: EventTime,
    /// When it was revealed last.
    pub last: EventTime,
    /// Stable identities of those to whom it was revealed, sorted.
    pub principals: Vec<SharedStr>,
    /// Full sessions of these, sorted.
    pub sessions: Vec<SharedStr>,
    /// Their access keys, sorted.
    pub access_keys: Vec<SharedStr>,
    /// Addresses and services that they called from, sorted; see [`CallSource::described`].
    ///
    /// [`CallSource::described`]: crate::observation::CallSource::described
    pub sources: Vec<SharedStr>,
    /// Ids of the incidents that revealed it, sorted.
    pub incidents: Vec<SharedStr>,
    /// What it is when the logs end.
    pub status: VersionStatus,
    /// What took its place; `None` while nothing did.
    pub superseded: Option<Supersession>,
    /// The last rotation that failed, if none succeeded afterwards.
    pub failed_rotation: Option<EventTime>,
    /// Region of the primary, where values are replaced; `None` if the logs do not say which of
    /// several copies that is.
    pub primary: Option<SharedStr>,
    /// Other copies of the secret, sorted.
    pub replicas: Vec<ReplicaHome>,
    /// Who else reads the secret, the most reads first.
    pub readers: Vec<SecretReader>,
    /// Time of the last record about secrets of its account and region; `None` without any.
    pub as_of: Option<EventTime>,
}

impl Exposure {
    /// Whether nothing is known to have taken its place: a value that must be assumed to work.
    /// Also of a secret that was deleted, whose value may still be valid where it is used.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.superseded.is_none()
    }

    /// Sort key: open ones first, by the first time, then by name.
    fn order(&self) -> impl Ord + '_ {
        let secret = &self.secret;
        let name = (&secret.arn, &secret.name, &secret.account, &secret.region);
        (
            !self.is_open(),
            self.first,
            name,
            &secret.version_id,
            self.last,
        )
    }
}

/// The facts about all secrets of the logs.
#[derive(Debug, Clone, Default)]
pub struct ExposureLedger {
    secrets: HashMap<SecretName, SecretFacts>,
    /// The first time of each account and region.
    oldest: HashMap<(SharedStr, SharedStr), EventTime>,
    /// The last time of each account and region.
    newest: HashMap<(SharedStr, SharedStr), EventTime>,
}

impl ExposureLedger {
    /// Adds an access, and whether the selection of the run takes it. Others count as those of
    /// readers, and show which version was current.
    pub fn add_access(&mut self, access: &Access, is_selected: bool) {
        self.see(&access.head);
        if let Some(name) = SecretName::of(&access.secret) {
            let facts = self.secrets.entry(name).or_default();
            facts.add_read(access, is_selected);
        }
    }

    /// Adds a change.
    pub fn add_change(&mut self, change: &SecretChange) {
        self.see(&change.head);
        if change.steps.is_empty() {
            return;
        }
        for secret in change.secret.iter().chain(&change.others) {
            if let Some(name) = SecretName::of(secret) {
                let facts = self.secrets.entry(name).or_default();
                facts.add_change(change, secret);
            }
        }
    }

    /// Adds the facts of another part of the logs.
    pub fn merge(&mut self, other: Self) {
        for (name, facts) in other.secrets {
            self.secrets.entry(name).or_default().merge(facts);
        }
        for (place, time) in other.newest {
            let known = self.newest.entry(place).or_insert(time);
            *known = time.max(*known);
        }
        for (place, time) in other.oldest {
            let known = self.oldest.entry(place).or_insert(time);
            *known = time.min(*known);
        }
    }

    fn see(&mut self, head: &EventHeader) {
        let place = (head.account.clone(), head.region.clone());
        let known = self.newest.entry(place.clone()).or_insert(head.time);
        *known = head.time.max(*known);
        let known = self.oldest.entry(place).or_insert(head.time);
        *known = head.time.min(*known);
    }

    /// Sorts the facts, and drops copies.
    fn tidy(&mut self) {
        self.secrets.values_mut().for_each(SecretFacts::tidy);
    }

    /// The versions that were revealed: to the incidents of the scopes, or without scopes to all
    /// that the selection takes. Open ones come first.
    #[must_use]
    pub fn exposures(&mut self, scopes: &ExposureScopes) -> Vec<Exposure> {
        self.tidy();
        let mut rows = Vec::new();
        for (name, facts) in &self.secrets {
            rows::of_name(name, facts, &self.newest, scopes, &mut rows);
        }
        rows.sort_by(|a: &Exposure, b| a.order().cmp(&b.order()));
        rows
    }
}

#[cfg(test)]
mod tests;
