//! From the facts about the secrets of one name to their revealed versions.

use std::collections::{BTreeMap, BTreeSet};

use ahash::HashMap;

use super::{
    Certainty, Exposure, ReplicaHome, SecretReader, Supersession, VersionStatus,
    facts::{ChangeFact, ReadKind, ReadScope, SecretFacts, SecretName, place},
    identity::{OneSecret, apart},
    scope::ExposureScopes,
    timeline::{SeenVersions, Timeline, TimelinePlace, VersionKey},
};
use crate::{
    ids::{ArnParts, SecretRef, SecretStore, SharedStr},
    lineage::origin::{KeyUse, SessionOrigins},
    observation::VersionStep,
    time::EventTime,
};

/// Adds the exposures of the secrets of one name.
pub(super) fn of_name(
    name: &SecretName,
    facts: &SecretFacts,
    newest: &HashMap<(SharedStr, SharedStr), EventTime>,
    scopes: &ExposureScopes,
    rows: &mut Vec<Exposure>,
) {
    for one in apart(facts).into_values() {
        let found = FoundReads::of(name, &one, scopes);
        if !found.exposed.is_empty() {
            SecretFindings::new(name, &one, newest).add(&found, rows);
        }
    }
}

/// The reads of one secret: those that are exposures, and those of its readers.
#[derive(Default)]
struct FoundReads<'f> {
    exposed: Vec<(&'f ReadKind, EventTime, Vec<SharedStr>)>,
    readers: BTreeMap<SharedStr, SecretReader>,
}

impl<'f> FoundReads<'f> {
    fn of(name: &SecretName, one: &OneSecret<'f>, scopes: &ExposureScopes) -> Self {
        let mut found = Self::default();
        for (kind, times) in &one.reads {
            let taking = scopes.of_kind(&name.name, kind);
            let may_be = kind.is_selected && !(scopes.is_limited() && taking.is_empty());
            for time in times {
                let incidents: Vec<SharedStr> = match may_be {
                    true => taking.at(*time).cloned().collect(),
                    false => Vec::new(),
                };
                if may_be && !(scopes.is_limited() && incidents.is_empty()) {
                    found.exposed.push((kind, *time, incidents));
                } else if let Some(principal) = &kind.principal.id {
                    let reader = found.readers.entry(principal.clone());
                    let reader = reader.or_insert_with(|| reader_of(kind, principal, *time));
                    reader.reads += 1;
                    reader.last = reader.last.max(*time);
                }
            }
        }
        found
    }

    fn readers(&self) -> Vec<SecretReader> {
        let mut readers: Vec<SecretReader> = self.readers.values().cloned().collect();
        readers.sort_by_key(|reader| std::cmp::Reverse(reader.reads));
        readers
    }
}

/// Who made reads of a kind, before any is counted.
fn reader_of(kind: &ReadKind, principal: &SharedStr, time: EventTime) -> SecretReader {
    SecretReader {
        principal: principal.clone(),
        reads: 0,
        last: time,
        role: kind.principal.role_of_person().map(SharedStr::from),
        expected: None,
    }
}

/// What is known of a revealed version so far.
struct DraftRow {
    certainty: Certainty,
    first: EventTime,
    last: EventTime,
    principals: BTreeSet<SharedStr>,
    sessions: BTreeSet<SharedStr>,
    access_keys: BTreeSet<SharedStr>,
    key_uses: BTreeSet<KeyUse>,
    sources: BTreeSet<SharedStr>,
    incidents: BTreeSet<SharedStr>,
}

impl DraftRow {
    fn new(time: EventTime) -> Self {
        Self {
            certainty: Certainty::Unknown,
            first: time,
            last: time,
            principals: BTreeSet::new(),
            sessions: BTreeSet::new(),
            access_keys: BTreeSet::new(),
            key_uses: BTreeSet::new(),
            sources: BTreeSet::new(),
            incidents: BTreeSet::new(),
        }
    }

    fn add(&mut self, kind: &ReadKind, time: EventTime, incidents: &[SharedStr]) {
        self.certainty = self.certainty.max(kind.certainty);
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        self.principals.extend(kind.principal.id.clone());
        self.sessions.extend(kind.principal.actor.clone());
        self.access_keys.extend(kind.access_key.clone());
        self.key_uses
            .extend(kind.access_key.clone().map(|key| KeyUse {
                key,
                principal: Some(kind.principal.clone()),
            }));
        self.sources
            .extend(kind.source.described().map(SharedStr::from));
        self.incidents.extend(incidents.iter().cloned());
    }
}

/// What is known of one secret.
pub(super) struct SecretFindings<'r, 'f> {
    name: &'r SecretName,
    one: &'r OneSecret<'f>,
    newest: &'r HashMap<(SharedStr, SharedStr), EventTime>,
    seen: BTreeMap<&'f str, SeenVersions>,
    any: BTreeSet<SharedStr>,
    /// Regions of primaries, and of their replicas, as the logs show.
    replicated: BTreeSet<(&'f str, &'f str)>,
    /// When replicas became secrets of their own, by region.
    detached: BTreeMap<&'f str, EventTime>,
}

impl<'r, 'f> SecretFindings<'r, 'f> {
    pub(super) fn new(
        name: &'r SecretName,
        one: &'r OneSecret<'f>,
        newest: &'r HashMap<(SharedStr, SharedStr), EventTime>,
    ) -> Self {
        let reads = one.reads.iter();
        let any = reads.filter_map(|(kind, _)| kind.version_id.clone());
        let detached = one
            .changes
            .iter()
            .filter(|c| c.step == VersionStep::Detached);
        let mut rows = Self {
            name,
            one,
            newest,
            seen: BTreeMap::new(),
            any: any.collect(),
            replicated: BTreeSet::new(),
            detached: detached.rev().map(|c| (&*c.region, c.time)).collect(),
        };
        rows.look();
        rows.replicate();
        rows
    }

    /// Collects what reads show of the current versions, by region.
    fn look(&mut self) {
        for (kind, times) in &self.one.reads {
            let seen = self.seen.entry(&kind.region).or_default();
            if let Some(version) = kind.saw_current() {
                let times = times.iter().map(|time| (*time, version.clone()));
                seen.current.extend(times);
            }
            if let Some(version) = kind.saw_previous() {
                let times = times.iter().map(|time| (*time, version.clone()));
                seen.previous.extend(times);
            }
        }
        for seen in self.seen.values_mut() {
            seen.current.sort();
            seen.previous.sort();
            seen.any.clone_from(&self.any);
        }
    }

    /// Collects which regions follow which.
    fn replicate(&mut self) {
        for change in self.one.changes.iter().copied() {
            let VersionStep::Replicated { places } = &change.step else {
                continue;
            };
            for named in places {
                let replica = match ArnParts::parse(named) {
                    None => &**named,
                    Some(arn) if *arn.account == *self.name.account => arn.region,
                    // In another account it is another secret.
                    Some(_) => continue,
                };
                self.replicated.insert((&change.region, replica));
            }
        }
    }

    /// Whether a replica is a secret of its own when a change is made.
    fn is_own(&self, region: &str, change: &ChangeFact) -> bool {
        let since = self.detached.get(region);
        since.is_some_and(|since| *since <= change.time)
    }

    /// Whether a change holds in a region: replicas follow their primary, as far as the logs show
    /// that they are its replicas.
    fn holds(&self, change: &ChangeFact, region: &str) -> bool {
        if &*change.region == region {
            return true;
        }
        // A replica that was detached before the logs begin has the same ARN, and follows nobody.
        let is_replica = self.replicated.contains(&(&*change.region, region));
        let follows = is_replica && !self.is_own(region, change);
        // To delete a primary, its replicas must be removed first.
        let spreads = !matches!(
            change.step,
            VersionStep::Deleted | VersionStep::Restored | VersionStep::Detached
        );
        self.name.store == SecretStore::SecretsManager && follows && spreads
    }

    /// Regions in which it was read or changed.
    pub(super) fn regions(&self) -> BTreeSet<&'f str> {
        let reads = self.one.reads.iter().map(|(kind, _)| &*kind.region);
        let changes = self.one.changes.iter().map(|change| &*change.region);
        reads.chain(changes).collect()
    }

    /// The reads in a region, and their times.
    pub(super) fn reads_in(
        &self,
        region: &str,
    ) -> impl Iterator<Item = (&'f ReadKind, &[EventTime])> {
        let reads = self.one.reads.iter();
        let here = reads.filter(move |(kind, _)| &*kind.region == region);
        here.map(|(kind, times)| (*kind, times.as_slice()))
    }

    pub(super) fn timeline(&self, region: &str) -> Timeline {
        let changes = self.one.changes.iter().copied();
        let changes: Vec<&ChangeFact> = changes.filter(|c| self.holds(c, region)).collect();
        let place = TimelinePlace {
            account: &self.name.account,
            region,
        };
        match self.seen.get(region) {
            Some(seen) => Timeline::of(place, &changes, seen),
            None => Timeline::of(place, &changes, &SeenVersions::default()),
        }
    }

    fn add(&self, found: &FoundReads<'_>, rows: &mut Vec<Exposure>) {
        let mut timelines: BTreeMap<&str, Timeline> = BTreeMap::new();
        let mut drafts: BTreeMap<(&str, VersionKey), DraftRow> = BTreeMap::new();
        for (kind, time, incidents) in &found.exposed {
            let region = &*kind.region;
            let timeline = timelines.entry(region);
            let timeline = timeline.or_insert_with(|| self.timeline(region));
            for version in versions(timeline, kind, *time) {
                let draft = drafts.entry((region, version));
                let draft = draft.or_insert_with(|| DraftRow::new(*time));
                draft.add(kind, *time, incidents);
            }
        }
        let readers = found.readers();
        for ((region, version), draft) in drafts {
            if let Some(timeline) = timelines.get(region) {
                rows.push(self.row(region, &version, timeline, draft, &readers));
            }
        }
    }

    fn row(
        &self,
        region: &str,
        version: &VersionKey,
        timeline: &Timeline,
        draft: DraftRow,
        readers: &[SecretReader],
    ) -> Exposure {
        let (status, superseded) = self.status(region, version, timeline, draft.first);
        let replicas = self.replicas(region);
        let place = (self.name.account.clone(), region.into());
        let readers = readers.iter();
        let others = readers.filter(|reader| !draft.principals.contains(&reader.principal));
        Exposure {
            readers: others.cloned().collect(),
            secret: self.secret(region, version, timeline),
            certainty: draft.certainty,
            first: draft.first,
            last: draft.last,
            principals: draft.principals.into_iter().collect(),
            sessions: draft.sessions.into_iter().collect(),
            access_keys: draft.access_keys.into_iter().collect(),
            key_uses: draft.key_uses.into_iter().collect(),
            origins: SessionOrigins::default(),
            sources: draft.sources.into_iter().collect(),
            incidents: draft.incidents.into_iter().collect(),
            status,
            failed_rotation: timeline.failed.filter(|failed| *failed >= draft.first),
            superseded,
            primary: self.primary(region, &replicas),
            replicas,
            as_of: self.newest.get(&place).copied(),
            live: None,
        }
    }

    pub(super) fn secret(
        &self,
        region: &str,
        version: &VersionKey,
        timeline: &Timeline,
    ) -> SecretRef {
        let kinds = self.one.reads.iter().map(|(kind, _)| *kind);
        let mut here = kinds.filter(|kind| &*kind.region == region);
        let partition = here.clone().next().map(|kind| kind.partition.clone());
        let changes = self.one.changes.iter().filter(|c| &*c.region == region);
        let arn = here.find_map(|kind| kind.arn.clone());
        SecretRef {
            store: self.name.store,
            partition: partition.unwrap_or_else(|| "aws".into()),
            account: self.name.account.clone(),
            region: region.into(),
            name: Some(self.name.name.clone()),
            arn: arn.or_else(|| changes.filter_map(|c| c.arn.clone()).next()),
            partial_name: None,
            version_id: match version {
                VersionKey::Epoch(index) => timeline
                    .epochs
                    .get(*index)
                    .and_then(|epoch| epoch.version_id.clone()),
                VersionKey::Loose(version_id) => version_id.clone(),
            },
            version_stage: None,
        }
    }

    fn status(
        &self,
        region: &str,
        version: &VersionKey,
        timeline: &Timeline,
        revealed: EventTime,
    ) -> (VersionStatus, Option<Supersession>) {
        let is_deleted = timeline.deleted.is_some();
        let index = match version {
            VersionKey::Epoch(index) => index,
            VersionKey::Loose(version_id) => {
                let known = version_id.as_ref();
                let superseded = known.and_then(|_| timeline.replaced_after(revealed));
                let status = match (is_deleted, &superseded) {
                    (true, _) => VersionStatus::Deleted,
                    (false, Some(_)) => VersionStatus::Superseded,
                    (false, None) => VersionStatus::Unknown,
                };
                return (status, superseded);
            }
        };
        let is_secret = self.name.store == SecretStore::SecretsManager;
        // The secret that now has the name is another one: nothing took the place of its value.
        if is_secret && timeline.was_deleted(*index) {
            return (VersionStatus::Deleted, None);
        }
        let next = timeline.epochs.get(index + 1);
        let superseded = next.and_then(|next| next.since.clone());
        // Without a record of its account and region, nothing would show a change.
        let place = (self.name.account.clone(), region.into());
        let is_seen = region.is_empty() || self.newest.contains_key(&place);
        let status = match (&superseded, is_deleted) {
            (_, true) => VersionStatus::Deleted,
            (None, _) if timeline.doubt.is_some() || !is_seen => VersionStatus::Unknown,
            (None, _) => VersionStatus::Current,
            (Some(_), _) if is_secret && timeline.is_previous(*index) => VersionStatus::Previous,
            (Some(_), _) => VersionStatus::Superseded,
        };
        (status, superseded)
    }

    /// The region of the primary: changes are made there.
    fn primary(&self, region: &str, replicas: &[ReplicaHome]) -> Option<SharedStr> {
        let is_own = self.detached.contains_key(region);
        if replicas.is_empty() || is_own || self.name.store == SecretStore::Ssm {
            return Some(region.into());
        }
        let mut changes = self.one.changes.iter().rev();
        let change = changes.find(|change| {
            let is_at_primary = matches!(
                change.step,
                VersionStep::Current { .. }
                    | VersionStep::RotationStarted { .. }
                    | VersionStep::Replicated { .. }
            );
            is_at_primary && !self.detached.contains_key(&*change.region)
        });
        change.map(|change| change.region.clone())
    }

    /// Copies of the secret elsewhere.
    fn replicas(&self, region: &str) -> Vec<ReplicaHome> {
        if self.name.store == SecretStore::Ssm {
            return Vec::new();
        }
        let account = &*self.name.account;
        let regions = self.one.reads.iter().map(|(kind, _)| &*kind.region);
        let regions = regions.chain(self.one.changes.iter().map(|change| &*change.region));
        let mut all: BTreeSet<(&str, &str)> = regions.map(|region| (account, region)).collect();
        for change in &self.one.changes {
            match &change.step {
                VersionStep::Replicated { places } => {
                    all.extend(places.iter().map(|named| place(named, account)));
                }
                VersionStep::Unreplicated { places } => {
                    for named in places {
                        all.remove(&place(named, account));
                    }
                }
                _ => {}
            }
        }
        all.remove(&(account, region));
        let all = all.into_iter().filter(|(_, region)| !region.is_empty());
        all.map(|(account, region)| ReplicaHome {
            account: account.into(),
            region: region.into(),
        })
        .collect()
    }
}

/// The versions that a read revealed.
pub(super) fn versions(
    timeline: &Timeline,
    kind: &ReadKind,
    time: EventTime,
) -> BTreeSet<VersionKey> {
    let one = match (&kind.version_id, kind.scope) {
        (_, ReadScope::All) => return timeline.until(time),
        (Some(version_id), _) => timeline.named(version_id, time),
        (None, _) => timeline.staged(kind.stage.as_deref(), time),
    };
    BTreeSet::from([one])
}
