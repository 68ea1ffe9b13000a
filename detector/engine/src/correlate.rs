//! Reads and key uses of one actor in one region to accesses. The result is a function of the set that is given, never of
//! its order: among all candidate pairs the nearest in time wins, then the earlier, then the event ids decide.
//!
//! Refuses to know: clocks, coverage and stores. A read without a key use comes out as [`DecryptStatus::Pending`]; whether
//! that means absent or unknown is for the caller to say.

use std::cmp::Ordering;
use std::sync::Arc;

use ahash::HashMap;

use crate::access::{Access, Decrypt, DecryptStatus, Method};
use crate::ids::{Arn, Home, SecretKey, SecretPlace, SecretRef, Store};
use crate::limits::PAIRING_TOLERANCE_SECS;
use crate::observation::{Ask, Head, KeyUse, Outcome, SecretChange, SecretRead};
use crate::time::EventTime;

/// What one actor did in one region. Each event is listed once, in any order.
#[derive(Debug, Default)]
pub struct Scene {
    /// Secret reads.
    pub reads: Vec<Arc<SecretRead>>,
    /// Key uses.
    pub key_uses: Vec<Arc<KeyUse>>,
    /// Changes that decrypt secrets themselves.
    pub changes: Vec<Arc<SecretChange>>,
}

/// An access and the records that it was made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The access.
    pub access: Arc<Access>,
    /// The read.
    pub read: Option<Arc<Head>>,
    /// The key use.
    pub key_use: Option<Arc<Head>>,
    /// Whether a missing key use would prove anything, given KMS events around it.
    pub absence_proves: bool,
}

/// What a scene comes to.
#[derive(Debug, Default)]
pub struct Paired {
    /// The accesses.
    pub rows: Vec<Row>,
    /// Key uses that a change of the same secret explains: not reads.
    pub explained: Vec<Arc<Head>>,
}

/// Joins the reads, key uses and changes of one actor in one region.
#[must_use]
pub fn correlate(mut scene: Scene) -> Paired {
    scene.reads.sort_by(|a, b| by_time(&a.head, &b.head));
    scene.key_uses.sort_by(|a, b| by_time(&a.head, &b.head));
    scene.changes.sort_by(|a, b| by_time(&a.head, &b.head));
    let mut join = Join::new(&scene);
    join.match_nearest();
    join.fold_children();
    join.match_batches();
    join.match_denied();
    join.into_rows()
}

fn by_time(a: &Head, b: &Head) -> Ordering {
    (a.time, &a.event_id).cmp(&(b.time, &b.event_id))
}

/// What a key use was given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Taker {
    read: usize,
    /// Which of the secrets that the read names; 0 for paths, histories and batches.
    target: usize,
}

struct Join<'s> {
    scene: &'s Scene,
    /// For each read, for each secret that it names: the key use.
    taken: Vec<Vec<Option<usize>>>,
    /// For each read that does not say what came back: the key uses that do.
    many: Vec<Vec<usize>>,
    /// For each key use, its read.
    taker: Vec<Option<Taker>>,
    /// For each read, the batch that caused it.
    batch: Vec<Option<usize>>,
    /// For each batch, which of its secrets have a read of their own.
    claimed: Vec<Vec<bool>>,
    uses_of: HashMap<SecretPlace<'s>, Vec<usize>>,
}

/// Sorts first what should be paired first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate<'s> {
    distance: i64,
    unspecific: bool,
    earlier: EventTime,
    read_id: &'s str,
    use_id: &'s str,
    read: usize,
    target: usize,
    key_use: usize,
}

impl<'s> Join<'s> {
    fn new(scene: &'s Scene) -> Self {
        let named = |read: &Arc<SecretRead>| match &read.ask {
            Ask::Named(secrets) | Ask::Batch(secrets) => secrets.len(),
            _ => 0,
        };
        let mut uses_of: HashMap<SecretPlace<'s>, Vec<usize>> = HashMap::default();
        for (index, key_use) in scene.key_uses.iter().enumerate() {
            if let (Some(secret), true) = (&key_use.secret, is_plain(key_use)) {
                uses_of.entry(secret.place()).or_default().push(index);
            }
        }
        Self {
            scene,
            taken: scene.reads.iter().map(|r| vec![None; named(r)]).collect(),
            many: vec![Vec::new(); scene.reads.len()],
            taker: vec![None; scene.key_uses.len()],
            batch: vec![None; scene.reads.len()],
            claimed: scene.reads.iter().map(|r| vec![false; named(r)]).collect(),
            uses_of,
        }
    }

    /// One key use to one named secret; as many as there are to a path or a history.
    fn match_nearest(&mut self) {
        let mut candidates = Vec::new();
        for (index, read) in self.scene.reads.iter().enumerate() {
            if !read.decrypts || self.is_pass_through(index) {
                continue;
            }
            match &read.ask {
                Ask::Named(secrets) => {
                    for (target, secret) in secrets.iter().enumerate() {
                        let fitting = self
                            .uses_near(secret, read.head.time)
                            .filter(|u| self.fits(*u, secret));
                        candidates.extend(fitting.map(|u| self.candidate(index, target, u, false)));
                    }
                }
                Ask::History(secret) => {
                    let uses = self.uses_near(secret, read.head.time);
                    candidates.extend(uses.map(|u| self.candidate(index, 0, u, true)));
                }
                Ask::Path { path, recursive } => {
                    let uses = self
                        .all_near(read.head.time)
                        .filter(|u| self.is_under(*u, path, *recursive));
                    candidates.extend(uses.map(|u| self.candidate(index, 0, u, true)));
                }
                Ask::Batch(_) | Ask::BatchFilters => {}
            }
        }
        self.take(candidates);
    }

    /// The `GetSecretValue` events that a batch causes: nearest first, one for each secret that the batch names.
    fn fold_children(&mut self) {
        let mut children = Vec::new();
        for (parent, batch) in self.scene.reads.iter().enumerate() {
            let listed = match &batch.ask {
                Ask::Batch(secrets) => Some(secrets),
                Ask::BatchFilters => None,
                _ => continue,
            };
            for (child, read) in self.reads_near(batch.head.time) {
                let Ask::Named(secrets) = &read.ask else {
                    continue;
                };
                let [secret] = secrets.as_slice() else {
                    continue;
                };
                if &*read.head.api != "GetSecretValue" {
                    continue;
                }
                let distance = read.head.time.distance(batch.head.time);
                let slot = listed.map(|l| l.iter().position(|s| s.agrees_with(secret)));
                if slot != Some(None) {
                    let ids = (&*batch.head.event_id, &*read.head.event_id);
                    children.push((distance, ids, parent, slot.flatten(), child));
                }
            }
        }
        children.sort_unstable();
        for (_, _, parent, slot, child) in children {
            let free = slot.and_then(|s| self.claimed.get_mut(parent)?.get_mut(s));
            if free.as_ref().is_some_and(|claimed| **claimed) {
                continue;
            }
            if let Some(batch @ None) = self.batch.get_mut(child) {
                *batch = Some(parent);
                if let Some(claimed) = free {
                    *claimed = true;
                }
            }
        }
    }

    /// Key uses that no child of a batch took: for the secrets it names, one each; for filters, all that are near.
    fn match_batches(&mut self) {
        let mut candidates = Vec::new();
        for (index, read) in self.scene.reads.iter().enumerate() {
            match &read.ask {
                Ask::Batch(secrets) if read.decrypts => {
                    for (target, secret) in secrets.iter().enumerate() {
                        if self.claimed.get(index).and_then(|c| c.get(target)) == Some(&false) {
                            let uses = self
                                .uses_near(secret, read.head.time)
                                .filter(|u| self.fits(*u, secret));
                            candidates
                                .extend(uses.map(|u| self.candidate(index, target, u, false)));
                        }
                    }
                }
                Ask::BatchFilters if read.decrypts => {
                    let uses = self.all_near(read.head.time).filter(|u| {
                        let secret = self.scene.key_uses.get(*u).and_then(|k| k.secret.as_ref());
                        secret.is_some_and(|s| s.store == Store::SecretsManager)
                    });
                    candidates.extend(uses.map(|u| self.candidate(index, 0, u, true)));
                }
                _ => {}
            }
        }
        self.take(candidates);
    }

    /// A read that KMS denied and the denied Decrypt: neither names a secret, so the second must do.
    fn match_denied(&mut self) {
        let denied_uses = |k: &KeyUse| k.head.outcome != Outcome::Success && !k.direct;
        let mut free: HashMap<EventTime, Vec<usize>> = HashMap::default();
        for (index, key_use) in self.scene.key_uses.iter().enumerate().rev() {
            if denied_uses(key_use) {
                free.entry(key_use.head.time).or_default().push(index);
            }
        }
        for (index, read) in self.scene.reads.iter().enumerate() {
            if !read.denied_by_kms {
                continue;
            }
            if let Some(key_use) = free.get_mut(&read.head.time).and_then(Vec::pop) {
                self.give(
                    key_use,
                    Taker {
                        read: index,
                        target: 0,
                    },
                    false,
                );
            }
        }
    }

    fn take(&mut self, mut candidates: Vec<Candidate<'s>>) {
        candidates.sort_unstable();
        for Candidate {
            read,
            target,
            key_use,
            unspecific,
            ..
        } in candidates
        {
            let slot_free =
                unspecific || self.taken.get(read).and_then(|t| t.get(target)) == Some(&None);
            if slot_free && self.taker.get(key_use) == Some(&None) {
                self.give(key_use, Taker { read, target }, unspecific);
            }
        }
    }

    fn give(&mut self, key_use: usize, taker: Taker, unspecific: bool) {
        if let Some(slot) = self.taker.get_mut(key_use) {
            *slot = Some(taker);
        }
        if unspecific {
            if let Some(many) = self.many.get_mut(taker.read) {
                many.push(key_use);
            }
        } else if let Some(slot) = self
            .taken
            .get_mut(taker.read)
            .and_then(|t| t.get_mut(taker.target))
        {
            *slot = Some(key_use);
        }
    }

    fn candidate(
        &self,
        read: usize,
        target: usize,
        key_use: usize,
        unspecific: bool,
    ) -> Candidate<'s> {
        let head =
            |h: Option<&'s Arc<Head>>| h.map_or((EventTime(0), ""), |h| (h.time, &*h.event_id));
        let (read_time, read_id) = head(self.scene.reads.get(read).map(|r| &r.head));
        let (use_time, use_id) = head(self.scene.key_uses.get(key_use).map(|k| &k.head));
        let distance = read_time.distance(use_time);
        Candidate {
            distance,
            unspecific,
            earlier: read_time.min(use_time),
            read_id,
            use_id,
            read,
            target,
            key_use,
        }
    }

    /// Key uses within the tolerance for what a reference may mean.
    fn uses_near<'t>(
        &'t self,
        secret: &'t SecretRef,
        time: EventTime,
    ) -> impl Iterator<Item = usize> + use<'t, 's> {
        secret.places().flat_map(move |key| {
            let all = self
                .uses_of
                .get(&key)
                .map(Vec::as_slice)
                .unwrap_or_default();
            let time_of = |index: &usize| {
                self.scene
                    .key_uses
                    .get(*index)
                    .map_or(EventTime(0), |k| k.head.time)
            };
            let start = all.partition_point(|u| time_of(u) < time.plus(-PAIRING_TOLERANCE_SECS));
            let end = all.partition_point(|u| time_of(u) <= time.plus(PAIRING_TOLERANCE_SECS));
            all.get(start..end).unwrap_or_default().iter().copied()
        })
    }

    /// Reads within the tolerance.
    fn reads_near(
        &self,
        time: EventTime,
    ) -> impl Iterator<Item = (usize, &'s Arc<SecretRead>)> + use<'s> {
        let all = &self.scene.reads;
        let start = all.partition_point(|r| r.head.time < time.plus(-PAIRING_TOLERANCE_SECS));
        let end = all.partition_point(|r| r.head.time <= time.plus(PAIRING_TOLERANCE_SECS));
        all.iter()
            .enumerate()
            .skip(start)
            .take(end.saturating_sub(start))
    }

    /// Key uses for any secret within the tolerance.
    fn all_near(&self, time: EventTime) -> impl Iterator<Item = usize> + use<'_, 's> {
        let all = &self.scene.key_uses;
        let start = all.partition_point(|k| k.head.time < time.plus(-PAIRING_TOLERANCE_SECS));
        let end = all.partition_point(|k| k.head.time <= time.plus(PAIRING_TOLERANCE_SECS));
        (start..end).filter(|u| {
            all.get(*u)
                .is_some_and(|k| is_plain(k) && k.secret.is_some())
        })
    }

    /// Whether a key use agrees with the ARN and the version that a read names.
    fn fits(&self, key_use: usize, secret: &SecretRef) -> bool {
        self.scene.key_uses.get(key_use).is_some_and(|k| {
            let version = match (&secret.version_id, &k.version_id) {
                (Some(asked), Some(used)) => asked == used,
                _ => true,
            };
            version && k.secret.as_ref().is_some_and(|s| secret.is_completed_by(s))
        })
    }

    fn is_under(&self, key_use: usize, path: &SecretRef, recursive: bool) -> bool {
        let secret = self
            .scene
            .key_uses
            .get(key_use)
            .and_then(|k| k.secret.as_ref());
        let Some(secret) = secret.filter(|s| {
            s.store == path.store && s.account == path.account && s.region == path.region
        }) else {
            return false;
        };
        let name = secret
            .name
            .as_deref()
            .unwrap_or_default()
            .trim_start_matches('/');
        let folder = path.name.as_deref().unwrap_or_default().trim_matches('/');
        let below = if folder.is_empty() {
            Some(name)
        } else {
            name.strip_prefix(folder).and_then(|r| r.strip_prefix('/'))
        };
        below.is_some_and(|rest| recursive || !rest.contains('/'))
    }

    fn into_rows(self) -> Paired {
        let mut paired = Paired::default();
        for (index, read) in self.scene.reads.iter().enumerate() {
            if !self.is_pass_through(index) {
                self.rows_of(index, read, &mut paired.rows);
            }
        }
        for (index, key_use) in self.scene.key_uses.iter().enumerate() {
            if self.taker.get(index) == Some(&None) {
                self.row_alone(key_use, &mut paired);
            }
        }
        paired
    }

    fn rows_of(&self, index: usize, read: &Arc<SecretRead>, rows: &mut Vec<Row>) {
        let many = self.many.get(index).map(Vec::as_slice).unwrap_or_default();
        let children = || self.batch.contains(&Some(index));
        let (method, asked) = match &read.ask {
            Ask::Named(secrets) => {
                let batched = self.batch.get(index).is_some_and(Option::is_some);
                return self.named_rows(
                    index,
                    read,
                    secrets,
                    if batched { Method::Batch } else { Method::Api },
                    rows,
                );
            }
            Ask::Batch(secrets) => {
                return self.named_rows(index, read, secrets, Method::Batch, rows);
            }
            Ask::BatchFilters if many.is_empty() && children() => return,
            Ask::BatchFilters => {
                let head = &read.head;
                let partition = head
                    .principal
                    .actor
                    .as_deref()
                    .and_then(Arn::parse)
                    .map_or("aws", |arn| arn.partition);
                let home = Home {
                    partition,
                    account: &head.account,
                    region: &head.region,
                };
                (
                    Method::Batch,
                    SecretRef::unnamed(Store::SecretsManager, home),
                )
            }
            Ask::Path { path, .. } => (Method::ByPath, path.clone()),
            Ask::History(secret) => (Method::History, secret.clone()),
        };
        if many.is_empty() {
            rows.push(row(read, method, asked.clone(), asked.key(), None));
        }
        for key_use in many.iter().filter_map(|u| self.scene.key_uses.get(*u)) {
            let secret = key_use.secret.clone().unwrap_or_else(|| asked.clone());
            let key = secret.key();
            rows.push(row(read, method, secret, key, Some(key_use)));
        }
    }

    fn named_rows(
        &self,
        index: usize,
        read: &Arc<SecretRead>,
        secrets: &[SecretRef],
        method: Method,
        rows: &mut Vec<Row>,
    ) {
        for (target, secret) in secrets.iter().enumerate() {
            if self.claimed.get(index).and_then(|c| c.get(target)) == Some(&true) {
                continue;
            }
            let key_use = self
                .taken
                .get(index)
                .and_then(|t| t.get(target))
                .copied()
                .flatten();
            let key_use = key_use.and_then(|u| self.scene.key_uses.get(u));
            let full = key_use.and_then(|k| k.secret.as_ref());
            let known = full.map_or_else(|| secret.clone(), |full| secret.completed(full));
            rows.push(row(read, method, known, secret.key(), key_use));
        }
    }

    /// A `GetSecretValue` that Parameter Store made for a `GetParameter` of the same secret: one read, told twice.
    fn is_pass_through(&self, index: usize) -> bool {
        let Some(read) = self.scene.reads.get(index) else {
            return false;
        };
        let (Ask::Named(secrets), Some(_), "GetSecretValue") =
            (&read.ask, &read.head.principal.via, &*read.head.api)
        else {
            return false;
        };
        let [secret] = secrets.as_slice() else {
            return false;
        };
        self.reads_near(read.head.time).any(|(_, other)| {
            let refers = match &other.ask {
                Ask::Named(named) => named.iter().any(|s| s.agrees_with(secret)),
                _ => false,
            };
            refers && other.head.api.starts_with("GetParameter")
        })
    }

    fn row_alone(&self, key_use: &Arc<KeyUse>, paired: &mut Paired) {
        let Some(secret) = &key_use.secret else {
            return;
        };
        if !key_use.direct && self.is_explained(key_use, secret) {
            paired.explained.push(key_use.head.clone());
            return;
        }
        let method = if key_use.direct {
            Method::DirectDecrypt
        } else {
            Method::DecryptOnly
        };
        paired.rows.push(alone(key_use, secret, method));
    }

    fn is_explained(&self, key_use: &KeyUse, secret: &SecretRef) -> bool {
        self.scene.changes.iter().any(|change| {
            let near = change.head.time.distance(key_use.head.time) <= PAIRING_TOLERANCE_SECS;
            near && change.decrypts
                && change
                    .secret
                    .as_ref()
                    .is_some_and(|s| s.agrees_with(secret))
        })
    }
}

/// A successful key use by a service for its caller: what a read expects.
fn is_plain(key_use: &KeyUse) -> bool {
    !key_use.direct && key_use.head.outcome == Outcome::Success
}

/// The access of a key use that stands for itself.
#[must_use]
pub fn alone(key_use: &KeyUse, secret: &SecretRef, method: Method) -> Row {
    let decrypt = Decrypt {
        key_arn: key_use.key_arn.clone(),
        ..Decrypt::only(DecryptStatus::NotExpected)
    };
    let secret = SecretRef {
        version_id: key_use.version_id.clone(),
        ..secret.clone()
    };
    let access = Arc::new(Access {
        head: key_use.head.clone(),
        method,
        asked: secret.key(),
        secret,
        decrypt,
    });
    Row {
        access,
        read: None,
        key_use: Some(key_use.head.clone()),
        absence_proves: false,
    }
}

/// The access of a read and the key use behind it, if one was found. `asked` is what the request called the secret.
#[must_use]
pub fn row(
    read: &SecretRead,
    method: Method,
    secret: SecretRef,
    asked: SecretKey,
    key_use: Option<&Arc<KeyUse>>,
) -> Row {
    let decrypt = match key_use {
        Some(key_use) => Decrypt {
            status: DecryptStatus::Paired,
            event_id: Some(key_use.head.event_id.clone()),
            key_arn: key_use.key_arn.clone(),
            delta_secs: Some(key_use.head.time.0.saturating_sub(read.head.time.0)),
        },
        None if read.decrypts => Decrypt::only(DecryptStatus::Pending),
        None => Decrypt::only(DecryptStatus::NotExpected),
    };
    // Only a single read of Secrets Manager always decrypts: a batch may reuse a data key, a parameter may be plain text.
    let absence_proves = method == Method::Api && secret.store == Store::SecretsManager;
    Row {
        access: Arc::new(Access {
            head: read.head.clone(),
            method,
            secret,
            asked,
            decrypt,
        }),
        read: Some(read.head.clone()),
        key_use: key_use.map(|k| k.head.clone()),
        absence_proves,
    }
}
