//! Exposure: which versions of which secrets were revealed, to whom, and whether they still work.
//!
//! The KMS Decrypt of a read says which version it got; the changes of the secret say which version
//! was current when, and what took its place. Both are facts of a set, to which they are added in
//! any order and any number of times: late ones correct the result.

pub mod changes;
pub mod checklist;
mod facts;
pub mod hygiene;
mod identity;
pub mod json_v1;
pub mod live;
mod rows;
pub mod scope;
mod supersession;
mod timeline;

use ahash::HashMap;

pub use crate::revealed::{Certainty, VersionStatus};

use self::{
    facts::{ChangeFact, SecretFacts, SecretName},
    live::LiveVersion,
    scope::ExposureScopes,
};
use crate::{
    access::Access,
    ids::{SecretRef, SharedStr},
    lineage::origin::{KeyUse, SessionOrigins},
    observation::{EventHeader, SecretChange},
    policy::{AccessPolicy, PolicyVerdict},
    revealed::RevealedVersion,
    time::EventTime,
};

/// What no log can show, said in every form.
pub const LIMIT: &str = "A superseded version is no longer handed out by default. That does not \
    prove that the database or service behind it rejects the old value: check it there.";

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
    /// Number of its reads in the logs that are no part of an exposure.
    pub reads: u64,
    /// The last of them.
    pub last: EventTime,
    /// The role of a person, which a grant may name instead; `None` for others.
    pub role: Option<SharedStr>,
    /// Whether a grant of the access policy names it for this secret and region; `None` without a
    /// policy.
    pub expected: Option<PolicyVerdict>,
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
    /// Who used which of these keys, sorted.
    pub key_uses: Vec<KeyUse>,
    /// Who is behind these keys; nobody until they are looked for.
    pub origins: SessionOrigins,
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
    /// Who else reads the secret, the most reads first; none of `principals`.
    pub readers: Vec<SecretReader>,
    /// Time of the last record about secrets of its account and region; `None` without any.
    pub as_of: Option<EventTime>,
    /// What the service says of it now; `None` where nobody has asked, or it did not answer.
    pub live: Option<LiveVersion>,
}

impl Exposure {
    /// Whether nothing is known to have taken its place: a value that must be assumed to work.
    /// Also of a secret that was deleted, whose value may still be valid where it is used.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let live = self.live.as_ref();
        match live.map(|live| (live.status, &live.current)) {
            Some((VersionStatus::Current, _)) => true,
            Some((VersionStatus::Previous | VersionStatus::Superseded, _)) => false,
            // Another version was current when the secret was deleted.
            Some((VersionStatus::Deleted, Some(current)))
                if self
                    .secret
                    .version_id
                    .as_ref()
                    .is_some_and(|own| own != current) =>
            {
                false
            }
            Some((VersionStatus::Deleted | VersionStatus::Unknown, _)) | None => {
                self.superseded.is_none()
            }
        }
    }

    /// Adds which of the other readers the access policy expects.
    pub fn see_policy(&mut self, policy: &AccessPolicy) {
        for reader in &mut self.readers {
            let ids = std::iter::once(&reader.principal).chain(&reader.role);
            let ids: Vec<&str> = ids.map(|id| &**id).collect();
            reader.expected = Some(policy.answer(&self.secret, &ids).verdict);
        }
    }

    /// What it is as far as is known: when the service was asked, or else when the logs end.
    #[must_use]
    pub fn status_now(&self) -> VersionStatus {
        let live = self.live.as_ref().map(|live| live.status);
        live.filter(|status| *status != VersionStatus::Unknown)
            .unwrap_or(self.status)
    }

    /// Sorts exposures: open ones first.
    pub fn sort(rows: &mut [Self]) {
        rows.sort_by(|a, b| a.order().cmp(&b.order()));
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

    /// Adds a read that revealed a version, whoever made it.
    fn add_revealed(&mut self, version: &RevealedVersion) {
        let secret = &version.secret;
        if version.is_home {
            self.see_at(&secret.account, &secret.region, version.first);
        }
        if let Some(name) = SecretName::of(secret) {
            self.secrets.entry(name).or_default().add_revealed(version);
        }
    }

    /// Adds changes of the secrets of a name.
    fn add_facts(&mut self, name: SecretName, changes: &[ChangeFact]) {
        for change in changes {
            self.see_at(&name.account, &change.region, change.time);
        }
        let facts = self.secrets.entry(name).or_default();
        facts.changes.extend(changes.iter().cloned());
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
        self.see_at(&head.account, &head.region, head.time);
    }

    fn see_at(&mut self, account: &SharedStr, region: &SharedStr, time: EventTime) {
        let place = (account.clone(), region.clone());
        let known = self.newest.entry(place.clone()).or_insert(time);
        *known = time.max(*known);
        let known = self.oldest.entry(place).or_insert(time);
        *known = time.min(*known);
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
        Exposure::sort(&mut rows);
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::{hygiene::HygieneProblem, live::LiveSecret, *};
    use crate::{
        access::{AccessDecrypt, AccessMethod, DecryptStatus},
        events_for_tests::{HOME, full_secret, head},
        ids::RecordHome,
        observation::{CallOutcome, CallSource, SourceKind, VersionStep},
        principal::Principal,
    };

    const OWN: &str = "arn:aws:iam::111122223333:role/app";
    const THIEF: &str = "arn:aws:iam::111122223333:user/thief";

    /// A read of `prod/db` by a principal, which got this version.
    fn read(id: &str, secs: i64, who: &str, version: Option<&str>) -> Access {
        let mut head = head(id, "GetSecretValue", secs);
        head.principal = Arc::new(Principal {
            id: Some(who.into()),
            actor: Some(format!("{who}/session").into()),
            ..(*head.principal).clone()
        });
        head.source = Arc::new(CallSource {
            ip: Some("198.51.100.7".into()),
            kind: SourceKind::Ip,
            ..(*head.source).clone()
        });
        let mut secret = full_secret("prod/db");
        secret.version_id = version.map(Into::into);
        let status = match version {
            Some(_) => DecryptStatus::Paired,
            None => DecryptStatus::Unknown,
        };
        Access {
            head: Arc::new(head),
            method: AccessMethod::Api,
            asked: secret.key(),
            asked_version: false,
            secret,
            decrypt: AccessDecrypt::only(status),
        }
    }

    /// A change of `prod/db`.
    fn change(id: &str, secs: i64, api: &str, step: VersionStep) -> SecretChange {
        SecretChange {
            head: Arc::new(head(id, api, secs)),
            secret: Some(full_secret("prod/db")),
            others: Vec::new(),
            decrypts: false,
            steps: vec![step],
        }
    }

    fn current(version: &str) -> VersionStep {
        VersionStep::Current {
            version_id: Some(version.into()),
            instead_of: None,
        }
    }

    fn put(id: &str, secs: i64, version: &str) -> SecretChange {
        change(id, secs, "PutSecretValue", current(version))
    }

    /// What the thief got, of these facts.
    fn exposed(accesses: &[Access], changes: &[SecretChange]) -> Vec<Exposure> {
        let mut ledger = ExposureLedger::default();
        for change in changes {
            ledger.add_change(change);
        }
        for access in accesses {
            let is_selected = access.head.principal.id.as_deref() == Some(THIEF);
            ledger.add_access(access, is_selected);
        }
        ledger.exposures(&ExposureScopes::default())
    }

    /// Version, status, certainty and time of the supersession of each row.
    fn shown(rows: &[Exposure]) -> Vec<(Option<&str>, VersionStatus, Certainty, Option<i64>)> {
        let rows = rows.iter().map(|row| {
            let since = row.superseded.as_ref().and_then(|by| by.time);
            (
                row.secret.version_id.as_deref(),
                row.status,
                row.certainty,
                since.map(|time| time.0),
            )
        });
        rows.collect()
    }

    use Certainty::{ByTime, Paired, Requested, Unknown};
    use VersionStatus::{Current, Deleted, Previous, Superseded};

    #[test]
    fn what_the_service_says_counts_more_than_logs_that_have_ended() {
        let secret = |current: &str, previous: Option<&str>, since: i64| LiveSecret {
            current: Some(current.into()),
            previous: previous.map(Into::into),
            since: Some(EventTime(since)),
            ..LiveSecret::default()
        };
        let seen = |version: Option<&str>, changes: &[SecretChange], live: LiveSecret| {
            let mut rows = exposed(&[read("r", 10, THIEF, version)], changes);
            rows[0].see_live(live, EventTime(1_000));
            (rows[0].status_now(), rows[0].is_open())
        };
        let rotated = [put("p", 20, "v2")];
        let of_v1 = |changes: &[SecretChange], live| seen(Some("v1"), changes, live);
        assert_eq!(of_v1(&[], secret("v1", None, 5)), (Current, true));
        assert_eq!(of_v1(&[], secret("v2", Some("v1"), 20)), (Previous, false));
        assert_eq!(
            of_v1(&[], secret("v3", Some("v2"), 20)),
            (Superseded, false)
        );
        // It was moved back after the logs had ended.
        assert_eq!(
            of_v1(&rotated, secret("v1", Some("v2"), 5)),
            (Current, true)
        );
        let gone = LiveSecret {
            is_deleted: true,
            ..LiveSecret::default()
        };
        assert_eq!(of_v1(&[], gone.clone()), (Deleted, true));
        assert_eq!(of_v1(&rotated, gone), (Deleted, false));
        // Until the end of the recovery window the service still names its versions.
        let going = |current| LiveSecret {
            is_deleted: true,
            ..secret(current, None, 20)
        };
        assert_eq!(of_v1(&[], going("v1")), (Deleted, true));
        assert_eq!(of_v1(&[], going("v2")), (Deleted, false));
        // A version without a name is another one than one that was made later.
        let newer = secret("v9", None, i64::MAX);
        assert_eq!(seen(None, &[], newer), (Superseded, false));
        assert!(seen(None, &[], secret("v9", None, 5)).1);
    }

    #[test]
    fn a_late_read_of_the_old_version_does_not_replace_the_new_one() {
        let made = put("p", 100, "v2");
        let stolen = read("t", 105, THIEF, Some("v2"));
        // Somebody still gets the version before, which no other record names.
        for secs in [100, 101, 120] {
            let late = read("l", secs, OWN, Some("v1"));
            let rows = exposed(&[stolen.clone(), late], std::slice::from_ref(&made));
            assert_eq!(
                shown(&rows),
                [(Some("v2"), Current, Paired, None)],
                "{secs}"
            );
        }
        // Long after the change, another version is one that the logs lack.
        let other = read("o", 5_000, OWN, Some("v3"));
        let rows = exposed(&[stolen, other], std::slice::from_ref(&made));
        assert_eq!(shown(&rows), [(Some("v2"), Previous, Paired, Some(5_000))]);
        let old = read("t", 110, THIEF, Some("v1"));
        let rows = exposed(&[old], std::slice::from_ref(&made));
        assert_eq!(shown(&rows), [(Some("v1"), Previous, Paired, Some(100))]);
    }

    #[test]
    fn the_previous_stage_may_be_moved_or_taken_away() {
        let stolen = [read("r", 100, THIEF, Some("v1"))];
        let rotated = put("p", 200, "v2");
        let labelled = |secs, to: Option<&str>| {
            let step = VersionStep::Labelled {
                version_id: to.map(Into::into),
                labels: vec!["AWSPREVIOUS".into()],
            };
            change("m", secs, "UpdateSecretVersionStage", step)
        };
        for (secs, to, status) in [
            (300, None, Superseded),
            (300, Some("v0"), Superseded),
            (300, Some("v1"), Previous),
            // Before the rotation, it was about the version before.
            (150, None, Previous),
        ] {
            let changes = [rotated.clone(), labelled(secs, to)];
            let rows = exposed(&stolen, &changes);
            assert_eq!(
                (rows[0].status, rows[0].is_open()),
                (status, false),
                "{to:?}"
            );
        }
    }

    #[test]
    fn a_version_is_open_until_another_takes_its_place() {
        let stolen = [read("r", 100, THIEF, Some("v1"))];
        let open = exposed(&stolen, &[]);
        assert_eq!(shown(&open), [(Some("v1"), Current, Paired, None)]);
        assert!(open[0].is_open());
        let rotated = exposed(&stolen, &[put("p", 200, "v2")]);
        assert_eq!(shown(&rotated), [(Some("v1"), Previous, Paired, Some(200))]);
        assert!(!rotated[0].is_open());
        let superseded = rotated[0].superseded.as_ref().unwrap();
        assert_eq!(superseded.by.as_deref(), Some(OWN));
        assert_eq!(superseded.version_id.as_deref(), Some("v2"));
        let twice = exposed(&stolen, &[put("p", 200, "v2"), put("q", 300, "v3")]);
        assert_eq!(shown(&twice), [(Some("v1"), Superseded, Paired, Some(200))]);
        // What was taken back is current again.
        let back = exposed(&stolen, &[put("p", 200, "v2"), put("q", 300, "v1")]);
        assert_eq!(shown(&back), [(Some("v1"), Current, Paired, None)]);
    }

    #[test]
    fn a_rotation_closes_when_the_stage_moves_and_not_before() {
        let stolen = [read("r", 100, THIEF, Some("v1"))];
        let started = VersionStep::RotationStarted {
            version_id: Some("v2".into()),
        };
        let pending = VersionStep::Labelled {
            version_id: Some("v2".into()),
            labels: vec!["AWSPENDING".into()],
        };
        let begun = [
            change("a", 200, "RotateSecret", started),
            change("b", 205, "PutSecretValue", pending),
        ];
        assert!(exposed(&stolen, &begun)[0].is_open());
        let failed = change("c", 210, "RotationFailed", VersionStep::RotationFailed);
        let row = exposed(&stolen, &[&begun[..], &[failed]].concat()).remove(0);
        assert!(row.is_open());
        assert_eq!(row.failed_rotation, Some(EventTime(210)));
        // Of some rotations nothing but the event of the service is logged.
        let done = change("d", 210, "RotationSucceeded", VersionStep::Rotated);
        let managed = exposed(&stolen, &[&begun[..], std::slice::from_ref(&done)].concat());
        assert_eq!(shown(&managed), [(Some("v1"), Previous, Paired, Some(210))]);
        // Where the stage was moved, the event says nothing new.
        let moved = put("e", 208, "v2");
        let both = [&begun[..], &[moved, done]].concat();
        let new = [
            read("r", 100, THIEF, Some("v1")),
            read("s", 300, THIEF, Some("v2")),
        ];
        assert_eq!(
            shown(&exposed(&new, &both)),
            [
                (Some("v2"), Current, Paired, None),
                (Some("v1"), Previous, Paired, Some(208))
            ]
        );
    }

    #[test]
    fn reads_show_a_change_that_the_logs_lack() {
        let reads = [
            read("a", 100, THIEF, Some("v1")),
            read("b", 5_000, OWN, Some("v2")),
        ];
        let rows = exposed(&reads, &[]);
        assert_eq!(shown(&rows), [(Some("v1"), Previous, Paired, Some(5_000))]);
        assert_eq!(rows[0].superseded.as_ref().unwrap().by, None);
        // A read that named an old version, or its stage, shows nothing of the kind.
        let mut named = read("c", 6_000, OWN, Some("v1"));
        named.asked_version = true;
        let mut staged = read("d", 6_000, OWN, Some("v1"));
        staged.secret.version_stage = Some("AWSPREVIOUS".into());
        for old in [named, staged] {
            let rows = exposed(&[&reads[..], &[old]].concat(), &[]);
            assert_eq!(rows[0].status, Previous);
        }
        // Nor does one that a cache answers a moment later.
        let late = [
            read("a", 100, THIEF, Some("v1")),
            read("b", 230, OWN, Some("v1")),
        ];
        let rows = exposed(&late, &[put("p", 200, "v2")]);
        assert_eq!(rows[0].status, Previous);
    }

    #[test]
    fn an_update_in_doubt_closes_nothing() {
        let stolen = read("r", 100, THIEF, Some("v1"));
        let unsure = VersionStep::MayBeCurrent {
            version_id: Some("v2".into()),
        };
        let update = [change("u", 200, "UpdateSecret", unsure)];
        let row = exposed(std::slice::from_ref(&stolen), &update).remove(0);
        assert_eq!((row.status, row.is_open()), (VersionStatus::Unknown, true));
        let same = [stolen.clone(), read("s", 900, OWN, Some("v1"))];
        assert_eq!(exposed(&same, &update)[0].status, Current);
        let other = [stolen, read("s", 900, OWN, Some("v2"))];
        let rows = exposed(&other, &update);
        assert_eq!(shown(&rows), [(Some("v1"), Previous, Paired, Some(200))]);
    }

    #[test]
    fn without_a_decrypt_the_time_says_which_version_it_was() {
        let reads = [read("a", 100, THIEF, None), read("b", 300, THIEF, None)];
        let changes = [put("p", 50, "v1"), put("q", 200, "v2")];
        assert_eq!(
            shown(&exposed(&reads, &changes)),
            [
                (Some("v2"), Current, ByTime, None),
                (Some("v1"), Previous, ByTime, Some(200))
            ]
        );
        // Without a record that names it, it is still known what became of it.
        let unnamed = exposed(&reads[..1], &[put("q", 200, "v2")]);
        assert_eq!(shown(&unnamed), [(None, Previous, ByTime, Some(200))]);
        let mut asked = read("a", 100, THIEF, None);
        asked.secret.version_id = Some("v1".into());
        asked.asked_version = true;
        let row = exposed(&[asked], &[put("p", 50, "v1")]);
        assert_eq!(shown(&row), [(Some("v1"), Current, Requested, None)]);
        let mut batch = read("a", 100, THIEF, None);
        batch.method = AccessMethod::Batch;
        assert_eq!(exposed(&[batch], &changes)[0].certainty, Unknown);
    }

    #[test]
    fn a_version_of_a_direct_decrypt_is_superseded_when_another_becomes_current() {
        let mut direct = read("r", 100, THIEF, Some("v1"));
        direct.method = AccessMethod::DirectDecrypt;
        let direct = [direct];
        let none = exposed(&direct, &[]);
        assert_eq!(
            shown(&none),
            [(Some("v1"), VersionStatus::Unknown, Paired, None)]
        );
        // It may have been the one before already.
        let before = exposed(&direct, &[put("p", 50, "v2")]);
        assert!(before[0].is_open());
        let after = exposed(&direct, &[put("p", 200, "v2")]);
        assert_eq!(shown(&after), [(Some("v1"), Superseded, Paired, Some(200))]);
        let unnamed = VersionStep::Current {
            version_id: None,
            instead_of: None,
        };
        let unnamed = exposed(&direct, &[change("p", 200, "PutSecretValue", unnamed)]);
        assert!(
            unnamed[0].is_open(),
            "it may be the one that became current"
        );
    }

    #[test]
    fn what_was_denied_or_failed_reveals_nothing() {
        for outcome in [CallOutcome::Denied, CallOutcome::Failed] {
            let mut denied = read("r", 100, THIEF, None);
            Arc::make_mut(&mut denied.head).outcome = outcome;
            assert!(exposed(&[denied], &[]).is_empty());
        }
    }

    #[test]
    fn a_deleted_secret_stays_open() {
        let stolen = [read("r", 100, THIEF, Some("v1"))];
        let deleted = change("d", 200, "DeleteSecret", VersionStep::Deleted);
        let row = exposed(&stolen, std::slice::from_ref(&deleted)).remove(0);
        assert_eq!((row.status, row.is_open()), (Deleted, true));
        let restored = change("e", 300, "RestoreSecret", VersionStep::Restored);
        assert_eq!(exposed(&stolen, &[deleted, restored])[0].status, Current);
    }

    #[test]
    fn a_secret_that_was_made_again_is_another_one() {
        let deleted = change("d", 200, "DeleteSecret", VersionStep::Deleted);
        let again = change("c", 300, "CreateSecret", current("w1"));
        let other = |mut change: SecretChange| {
            let arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db-New123";
            change.secret = Some(SecretRef::secret(arn, HOME));
            change
        };
        let named = |mut change: SecretChange| {
            change.secret = Some(SecretRef::secret("prod/db", HOME));
            change
        };
        let mut unnamed = read("r", 100, THIEF, None);
        unnamed.secret = SecretRef::secret("prod/db", HOME);
        let unnamed = [unnamed];
        let by_arn = [read("r", 100, THIEF, Some("v1"))];
        for (reads, changes) in [
            (&by_arn, [named(deleted.clone()), other(again.clone())]),
            (&by_arn, [deleted.clone(), other(again.clone())]),
            // Without the ARN of the new one, the call that made it shows as much.
            (&by_arn, [named(deleted.clone()), named(again.clone())]),
            // Nor is the new one what had its name before, where nothing has the old ARN, or any.
            (&unnamed, [named(deleted.clone()), other(again.clone())]),
            (&unnamed, [named(deleted), named(again)]),
        ] {
            let row = exposed(reads, &changes).remove(0);
            assert_eq!((row.status, row.is_open()), (Deleted, true), "{changes:?}");
            assert_eq!(row.secret.arn, reads[0].secret.arn);
            let actions = format!("{:?}", checklist::checklist(&[row]));
            assert!(actions.contains("was deleted, which does not end its value"));
            assert!(
                !actions.contains("update-secret-version-stage"),
                "{actions}"
            );
        }
    }

    /// A read of the parameter `/db`.
    fn parameter(id: &str, secs: i64, name: &str) -> Access {
        let mut access = read(id, secs, THIEF, None);
        access.secret = SecretRef::parameter(name, HOME);
        access.asked_version = access.secret.version_id.is_some();
        access.asked = access.secret.key();
        access.decrypt = AccessDecrypt::only(DecryptStatus::Paired);
        access
    }

    fn parameter_change(id: &str, secs: i64, api: &str, step: VersionStep) -> SecretChange {
        SecretChange {
            secret: Some(SecretRef::parameter("/a/db", HOME)),
            ..change(id, secs, api, step)
        }
    }

    #[test]
    fn versions_of_parameters_are_numbers_that_begin_anew() {
        let one = parameter_change("p", 10, "PutParameter", current("1"));
        let two = parameter_change("q", 200, "PutParameter", current("2"));
        let stolen = [parameter("r", 100, "/a/db")];
        let rows = exposed(&stolen, &[one.clone(), two]);
        assert_eq!(shown(&rows), [(Some("1"), Superseded, ByTime, Some(200))]);
        let gone = parameter_change("d", 200, "DeleteParameter", VersionStep::Deleted);
        let again = parameter_change("e", 300, "PutParameter", current("1"));
        let anew = exposed(&stolen, &[one.clone(), gone, again]);
        assert_eq!(shown(&anew), [(Some("1"), Superseded, ByTime, Some(300))]);
        // By label, and by number.
        let label = VersionStep::Labelled {
            version_id: Some("1".into()),
            labels: vec!["live".into()],
        };
        let labelled = parameter_change("l", 20, "LabelParameterVersion", label);
        let two = parameter_change("q", 50, "PutParameter", current("2"));
        let by_label = [parameter("r", 100, "/a/db:live")];
        let rows = exposed(&by_label, &[one.clone(), labelled, two.clone()]);
        assert_eq!(shown(&rows), [(Some("1"), Superseded, ByTime, Some(50))]);
        let by_number = exposed(
            &[parameter("r", 100, "/a/db:2")],
            &[one.clone(), two.clone()],
        );
        assert_eq!(shown(&by_number), [(Some("2"), Current, Requested, None)]);
        let mut history = parameter("r", 100, "/a/db");
        history.method = AccessMethod::History;
        let rows = exposed(&[history], &[one.clone(), two]);
        let versions: Vec<_> = rows
            .iter()
            .map(|row| row.secret.version_id.clone())
            .collect();
        assert_eq!(versions, [Some("2".into()), Some("1".into())]);
        let mut plain = parameter("r", 100, "/a/db");
        plain.decrypt = AccessDecrypt::only(DecryptStatus::Unknown);
        assert_eq!(exposed(&[plain], &[one])[0].certainty, Unknown);
    }

    fn in_region(mut access: Access, region: &str) -> Access {
        let arn = access.secret.arn.unwrap().replace("eu-west-1", region);
        let home = RecordHome { region, ..HOME };
        let version_id = access.secret.version_id.take();
        access.secret = SecretRef {
            version_id,
            ..SecretRef::secret(&arn, home)
        };
        Arc::make_mut(&mut access.head).region = region.into();
        access
    }

    #[test]
    fn replicas_follow_their_primary_until_they_are_detached() {
        let stolen = [in_region(read("r", 100, THIEF, Some("v1")), "sa-east-1")];
        let regions = VersionStep::Replicated {
            places: vec!["sa-east-1".into(), "us-east-1".into()],
        };
        let copied = change("c", 50, "ReplicateSecretToRegions", regions);
        let rotated = put("p", 200, "v2");
        let row = exposed(&stolen, &[copied.clone(), rotated.clone()]).remove(0);
        assert_eq!(row.status, Previous);
        let homes: Vec<&str> = row.replicas.iter().map(|home| &*home.region).collect();
        assert_eq!(homes, ["eu-west-1", "us-east-1"]);
        assert_eq!(row.primary.as_deref(), Some("eu-west-1"));
        // Without that record it may be on its own.
        let rows = exposed(&stolen, std::slice::from_ref(&rotated));
        assert_eq!((rows[0].status, rows[0].is_open()), (Current, true));
        let mut detached = change("s", 150, "StopReplicationToReplica", VersionStep::Detached);
        detached.secret = Some(stolen[0].secret.clone());
        let alone = exposed(&stolen, &[copied, detached, rotated]).remove(0);
        assert_eq!((alone.status, alone.is_open()), (Current, true));
    }

    #[test]
    fn one_name_in_two_regions_is_two_secrets() {
        let other = "arn:aws:secretsmanager:us-east-1:111122223333:secret:prod/db-ZZZ999";
        let home = RecordHome {
            region: "us-east-1",
            ..HOME
        };
        let mut elsewhere = put("p", 200, "w2");
        elsewhere.secret = Some(SecretRef::secret(other, home));
        let row = exposed(&[read("r", 100, THIEF, Some("v1"))], &[elsewhere]).remove(0);
        assert_eq!((row.status, row.replicas.len()), (Current, 0));
    }

    #[test]
    fn a_name_without_arn_is_the_secret_of_that_time() {
        let mut named = put("p", 200, "v2");
        named.secret = Some(SecretRef::secret("prod/db", HOME));
        let row = exposed(&[read("r", 100, THIEF, Some("v1"))], &[named]).remove(0);
        assert_eq!(row.status, Previous);
    }

    #[test]
    fn where_no_logs_are_nothing_is_known_to_be_current() {
        let mut abroad = read("r", 100, THIEF, Some("v1"));
        abroad.secret.account = "444455556666".into();
        let row = exposed(&[abroad], &[]).remove(0);
        assert_eq!((row.status, row.as_of), (VersionStatus::Unknown, None));
    }

    #[test]
    fn who_got_it_is_no_other_reader() {
        let mut ledger = ExposureLedger::default();
        for (access, is_selected) in [
            (read("a", 100, THIEF, Some("v1")), false),
            (read("b", 110, OWN, Some("v1")), false),
            (read("c", 120, THIEF, Some("v1")), true),
        ] {
            ledger.add_access(&access, is_selected);
        }
        let row = ledger.exposures(&ExposureScopes::default()).remove(0);
        let readers: Vec<&str> = row.readers.iter().map(|r| &*r.principal).collect();
        assert_eq!((readers, row.first), (vec![OWN], EventTime(120)));
    }

    #[test]
    fn readers_are_those_who_read_it_beside() {
        let reads = [
            read("a", 100, THIEF, Some("v1")),
            read("b", 110, OWN, Some("v1")),
            read("c", 120, OWN, Some("v1")),
        ];
        let row = exposed(&reads, &[]).remove(0);
        let reader = SecretReader {
            principal: OWN.into(),
            reads: 2,
            last: EventTime(120),
            role: None,
            expected: None,
        };
        assert_eq!(row.readers, [reader]);
        // Those that the policy does not expect are to be looked at before the value is replaced.
        let expected = |grants: &str| {
            let mut row = row.clone();
            let text = format!("version: 1\ngrants:\n{grants}");
            row.see_policy(&text.parse::<AccessPolicy>().unwrap());
            row.readers[0].expected
        };
        let grant = |secret: &str, principal: &str| {
            expected(&format!(
                "  - secrets: [\"{secret}\"]\n    principals: [\"{principal}\"]\n"
            ))
        };
        let arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db-??????";
        assert_eq!(grant(arn, OWN), Some(PolicyVerdict::Yes));
        assert_eq!(grant(arn, THIEF), Some(PolicyVerdict::No));
        let other = arn.replace("prod/db", "other");
        assert_eq!(grant(&other, OWN), Some(PolicyVerdict::Undeclared));
        assert_eq!(row.principals, [THIEF.into()]);
        assert_eq!(row.as_of, Some(EventTime(120)));
    }

    /// A fact in a second, by its number.
    fn fact(kind: u8, secs: i64, id: usize) -> (Option<Access>, Option<SecretChange>) {
        let id = format!("e{id}");
        let version = format!("v{}", kind % 3);
        let step = |step| (None, Some(change(&id, secs, "PutSecretValue", step)));
        match kind % 12 {
            0..3 => (Some(read(&id, secs, THIEF, Some(&version))), None),
            3..5 => (Some(read(&id, secs, OWN, Some(&version))), None),
            5 => (Some(read(&id, secs, THIEF, None)), None),
            6 | 7 => step(current(&version)),
            8 => step(VersionStep::Current {
                version_id: None,
                instead_of: Some(version.as_str().into()),
            }),
            9 => step(VersionStep::MayBeCurrent {
                version_id: Some(version.as_str().into()),
            }),
            10 => step(VersionStep::Rotated),
            _ => step(VersionStep::Deleted),
        }
    }

    fn ledger_of<'f>(
        facts: impl Iterator<Item = &'f (Option<Access>, Option<SecretChange>)>,
    ) -> ExposureLedger {
        let mut ledger = ExposureLedger::default();
        for (access, change) in facts {
            if let Some(access) = access {
                let is_selected = access.head.principal.id.as_deref() == Some(THIEF);
                ledger.add_access(access, is_selected);
            }
            if let Some(change) = change {
                ledger.add_change(change);
            }
        }
        ledger
    }

    #[test]
    fn old_versions_that_are_read_and_secrets_that_are_not_are_found() {
        const DAY: i64 = 86_400;
        let mut ledger = ExposureLedger::default();
        ledger.add_change(&put("p", 0, "v1"));
        ledger.add_change(&put("q", DAY, "v2"));
        let old = |id: &str, secs: i64| {
            let mut access = read(id, secs, OWN, Some("v1"));
            access.asked_version = true;
            access
        };
        ledger.add_access(&read("a", 100, OWN, Some("v1")), true);
        // Within an hour of a rotation a fallback is ordinary.
        ledger.add_access(&old("b", DAY + 3_000), true);
        assert!(ledger.hygiene(90 * DAY).is_empty());
        ledger.add_access(&old("c", DAY + 4_000), true);
        let found = ledger.hygiene(90 * DAY);
        let problem = HygieneProblem::RetiredRead {
            since: EventTime(DAY),
            reads: 1,
            last: EventTime(DAY + 4_000),
            principals: vec![OWN.into()],
        };
        assert_eq!(found[0].problem, problem);
        assert_eq!(found[0].secret.version_id.as_deref(), Some("v1"));
        // Something else is read three months later.
        let mut other = read("d", 100 * DAY, OWN, Some("w1"));
        other.secret = full_secret("other");
        ledger.add_access(&other, true);
        let found = ledger.hygiene(90 * DAY);
        let unread = found.iter().find_map(|finding| match finding.problem {
            HygieneProblem::Unread { last, as_of } => Some((last, as_of)),
            HygieneProblem::RetiredRead { .. } => None,
        });
        assert_eq!(
            unread,
            Some((Some(EventTime(DAY + 4_000)), EventTime(100 * DAY)))
        );
        assert_eq!(ledger.hygiene(120 * DAY).len(), 1);
    }

    proptest! {
        #[test]
        fn the_rows_are_a_function_of_the_set_of_facts(
            kinds in prop::collection::vec((0_u8..36, 0_i64..400), 1..24),
            order in any::<u64>(),
            split in 0_usize..24,
        ) {
            let facts: Vec<_> = kinds
                .iter()
                .enumerate()
                .map(|(id, (kind, secs))| fact(*kind, *secs, id))
                .collect();
            let rows = ledger_of(facts.iter()).exposures(&ExposureScopes::default());
            // Shuffled, in two parts, some facts in both.
            let mut shuffled: Vec<usize> = (0..facts.len()).collect();
            shuffled.sort_by_key(|index| (*index as u64 + 1).wrapping_mul(order | 1));
            let (one, other) = shuffled.split_at(split.min(facts.len()));
            let mut merged = ledger_of(other.iter().chain(one.iter().take(3)).map(|i| &facts[*i]));
            merged.merge(ledger_of(one.iter().rev().map(|i| &facts[*i])));
            prop_assert_eq!(merged.exposures(&ExposureScopes::default()), rows);
        }
    }
}
