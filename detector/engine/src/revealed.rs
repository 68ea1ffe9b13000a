//! Which versions of secrets reads revealed: how sure that is, and what became of the versions.

use std::collections::hash_map::Entry;

use ahash::HashMap;

use crate::{
    access::{Access, AccessMethod, DecryptStatus},
    ids::{SecretRef, SecretStore, SharedStr},
    observation::CallOutcome,
    parse_enum::parse_enum,
    time::EventTime,
};

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

    /// The certainty of a name in JSON.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        parse_enum(&Self::ALL, Self::as_str, name)
    }

    /// How sure it is which version a read got.
    #[must_use]
    pub fn of(access: &Access) -> Self {
        let is_paired = access.decrypt.status == DecryptStatus::Paired;
        let has_version = access.secret.version_id.is_some();
        match (access.secret.store, access.method) {
            // The KMS Decrypt is the access: its encryption context has the version of a secret,
            // and none of a parameter, whose ciphertext may be older.
            (_, AccessMethod::DirectDecrypt | AccessMethod::DecryptOnly) if has_version => {
                Self::Paired
            }
            (
                _,
                AccessMethod::DirectDecrypt | AccessMethod::DecryptOnly | AccessMethod::History,
            ) => Self::Unknown,
            (SecretStore::SecretsManager, _) if is_paired && has_version => Self::Paired,
            (store, _)
                if access.asked_version && (is_paired || store == SecretStore::SecretsManager) =>
            {
                Self::Requested
            }
            // A batch may have returned nothing, and a parameter may be no secret, or not
            // decrypted.
            (SecretStore::SecretsManager, AccessMethod::Batch) if !is_paired => Self::Unknown,
            (SecretStore::Ssm, _) if !is_paired => Self::Unknown,
            _ => Self::ByTime,
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

/// A version of a secret that a read revealed, as far as its records say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevealedVersion {
    /// When it was revealed first.
    pub first: EventTime,
    /// The secret, with the version if it is known, or the stage or label that was asked for.
    pub secret: SecretRef,
    /// Whether the request named the version.
    pub asked_version: bool,
    /// How the secret was read.
    pub method: AccessMethod,
    /// How sure it is which version it was.
    pub certainty: Certainty,
    /// Whether the record is one of the secret's own account and region, whose logs have its
    /// changes as well.
    pub is_home: bool,
}

impl RevealedVersion {
    /// What an access revealed; `None` if it failed, or does not name the secret.
    #[must_use]
    pub fn of(access: &Access) -> Option<Self> {
        let (head, secret) = (&access.head, &access.secret);
        let is_read = head.outcome == CallOutcome::Success && secret.name.is_some();
        is_read.then(|| Self {
            first: head.time,
            secret: secret.clone(),
            asked_version: access.asked_version,
            method: access.method,
            certainty: Certainty::of(access),
            is_home: head.account == secret.account && head.region == secret.region,
        })
    }

    /// Whether its KMS Decrypt is known.
    fn has_decrypt(&self) -> bool {
        match self.secret.store {
            SecretStore::SecretsManager => self.certainty == Certainty::Paired,
            SecretStore::Ssm => self.certainty > Certainty::Unknown,
        }
    }
}

/// The versions that the reads of an alert or an incident revealed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevealedVersions {
    /// The first of them, by the time of their first read.
    pub first: Vec<RevealedVersion>,
    /// Whether there are more than are listed.
    pub are_more: bool,
}

impl RevealedVersions {
    /// Distinct versions, at most so many, each with the time of its first read.
    #[must_use]
    pub fn of(versions: impl IntoIterator<Item = RevealedVersion>, most: usize) -> Self {
        let mut firsts: HashMap<RevealedVersion, EventTime> = HashMap::default();
        for mut version in versions {
            let time = std::mem::replace(&mut version.first, EventTime(0));
            match firsts.entry(version) {
                Entry::Occupied(mut known) => {
                    let first = known.get_mut();
                    *first = time.min(*first);
                }
                Entry::Vacant(new) => drop(new.insert(time)),
            }
        }
        let versions = firsts.into_iter();
        let mut first: Vec<RevealedVersion> = versions
            .map(|(version, first)| RevealedVersion { first, ..version })
            .collect();
        first.sort_unstable();
        let are_more = first.len() > most;
        first.truncate(most);
        Self { first, are_more }
    }

    /// Whether nothing is known to have been revealed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Number of the listed versions whose KMS Decrypt is known.
    #[must_use]
    pub fn with_decrypt(&self) -> usize {
        self.first.iter().filter(|one| one.has_decrypt()).count()
    }
}

/// A version that an incident revealed, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExposedVersion {
    /// The ARN of the secret where it is known, otherwise its name.
    pub secret: SharedStr,
    /// 12-digit account id of the secret.
    pub account: SharedStr,
    /// Region of the secret.
    pub region: SharedStr,
    /// `None` where the logs do not name it.
    pub version_id: Option<SharedStr>,
    /// How sure it is that this version was revealed.
    pub certainty: Certainty,
    /// When it was revealed first.
    pub first: EventTime,
    /// What it is as far as the logs go.
    pub status: VersionStatus,
    /// Whether nothing is known to have taken its place.
    pub is_open: bool,
    /// When another version took its place; `None` while it is open, or if that was before the
    /// logs begin.
    pub superseded: Option<EventTime>,
}

/// What an incident revealed, and whether it still works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentExposure {
    /// The revealed versions: open ones first, then by the time of their first read.
    pub versions: Vec<ExposedVersion>,
    /// Whether more were revealed than are listed: these cannot be seen to be superseded.
    pub are_more: bool,
}

impl IncidentExposure {
    /// Number of the listed versions that nothing is known to have superseded.
    #[must_use]
    pub fn open(&self) -> usize {
        self.versions.iter().filter(|one| one.is_open).count()
    }

    /// Whether a revealed version may still work.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.are_more || self.open() > 0
    }

    /// When the last of the revealed versions was superseded; `None` while one is open, and where
    /// that was before the logs begin.
    #[must_use]
    pub fn closed(&self) -> Option<EventTime> {
        let times = self.versions.iter().filter_map(|one| one.superseded);
        times.max().filter(|_| !self.is_open())
    }

    /// Seconds from the first read to when the last of the versions was superseded; `None` as
    /// [`Self::closed`].
    #[must_use]
    pub fn lasted(&self) -> Option<i64> {
        let first = self.versions.iter().map(|one| one.first).min()?;
        // A version may have been read after its end.
        let secs = self.closed()?.0.saturating_sub(first.0);
        Some(secs.max(0))
    }
}

/// A time span in words: `4 h 12 min`, `3 d 2 h`, `40 s`.
#[must_use]
pub fn span_text(secs: i64) -> String {
    let (days, hours) = (secs / 86_400, secs / 3_600 % 24);
    let (minutes, secs) = (secs / 60 % 60, secs % 60);
    let parts = match (days, hours, minutes) {
        (0, 0, 0) => [(secs, "s"), (0, "")],
        (0, 0, _) => [(minutes, "min"), (0, "")],
        (0, ..) => [(hours, "h"), (minutes, "min")],
        _ => [(days, "d"), (hours, "h")],
    };
    let [first, second] = parts;
    match second {
        (0, _) => format!("{} {}", first.0, first.1),
        (number, unit) => format!("{} {} {number} {unit}", first.0, first.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access;

    fn version(name: &str, first: i64) -> RevealedVersion {
        let mut access = access::sample();
        access.secret.name = Some(name.into());
        let version = RevealedVersion::of(&access).unwrap();
        RevealedVersion {
            first: EventTime(first),
            ..version
        }
    }

    #[test]
    fn each_version_is_listed_once_by_its_first_read_in_any_order() {
        let read = [version("b", 30), version("a", 20), version("b", 10)];
        let expected = vec![version("b", 10), version("a", 20)];
        for turn in 0..read.len() {
            let mut read = read.to_vec();
            read.rotate_left(turn);
            let all = RevealedVersions::of(read.clone(), 2);
            assert_eq!((&all.first, all.are_more), (&expected, false));
            let some = RevealedVersions::of(read, 1);
            assert_eq!((&some.first[..], some.are_more), (&expected[..1], true));
        }
    }

    #[test]
    fn spans_have_two_units_at_most() {
        for (secs, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_661, "1 h 1 min"),
            (7_200, "2 h"),
            (15_120, "4 h 12 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(span_text(secs), text);
        }
    }
}
