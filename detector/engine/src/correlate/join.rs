//! Which key use belongs to which read, step by step: what is surest first.

use ahash::HashMap;

use crate::correlate::scene::{
    IndexedUse, Scene, SceneIndex, fits, get_secret_value, is_of_secrets_manager, is_under,
};
use crate::ids::SecretRef;
use crate::observation::{Ask, KeyUse, Outcome, SecretRead};
use crate::time::EventTime;

/// What a key use was given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Taker {
    pub(super) read: usize,
    /// Which of the secrets that the read names; 0 for paths, histories and batches.
    pub(super) target: usize,
}

/// What has been joined so far. Reads and key uses are numbers in the scene.
pub(super) struct Join<'s> {
    pub(super) index: SceneIndex<'s>,
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
}

/// A pair that may be made. Sorts first what should be paired first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate<'s> {
    distance: i64,
    /// Whether the read does not name the secret: of equally near reads, the one that does gets the
    /// key use.
    unspecific: bool,
    earlier: EventTime,
    read_id: &'s str,
    use_id: &'s str,
    taker: Taker,
    key_use: usize,
}

impl<'s> Candidate<'s> {
    fn named(taker: Taker, read: &'s SecretRead, used: IndexedUse<'s>) -> Self {
        let (index, key_use) = used;
        Self {
            distance: read.head.time.distance(key_use.head.time),
            unspecific: false,
            earlier: read.head.time.min(key_use.head.time),
            read_id: &read.head.event_id,
            use_id: &key_use.head.event_id,
            taker,
            key_use: index,
        }
    }

    fn unspecific(index: usize, read: &'s SecretRead, used: IndexedUse<'s>) -> Self {
        let taker = Taker {
            read: index,
            target: 0,
        };
        Self {
            unspecific: true,
            ..Self::named(taker, read, used)
        }
    }
}

/// A read that a batch may have caused. Sorts first what should be claimed first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Child<'s> {
    distance: i64,
    batch_id: &'s str,
    read_id: &'s str,
    batch: usize,
    /// Which of the secrets that the batch names; `None` when it names none.
    target: Option<usize>,
    read: usize,
}

impl<'s> Join<'s> {
    pub(super) fn new(scene: &'s Scene) -> Self {
        let reads = &scene.reads;
        Self {
            index: SceneIndex::new(scene),
            taken: reads.iter().map(|r| vec![None; named(r).len()]).collect(),
            many: vec![Vec::new(); reads.len()],
            taker: vec![None; scene.key_uses.len()],
            batch: vec![None; reads.len()],
            claimed: reads.iter().map(|r| vec![false; named(r).len()]).collect(),
        }
    }

    /// One key use to one named secret; as many as there are to a path or a history.
    pub(super) fn match_nearest(&mut self) {
        let mut candidates = Vec::new();
        for (index, read) in self.index.scene.reads.iter().enumerate() {
            // A read that is told twice must not compete with itself for its only key use.
            if read.decrypts && !self.index.is_pass_through(read) {
                self.add_candidates(index, read, &mut candidates);
            }
        }
        self.take(candidates);
    }

    fn add_candidates(
        &self,
        index: usize,
        read: &'s SecretRead,
        candidates: &mut Vec<Candidate<'s>>,
    ) {
        let time = read.head.time;
        match &read.ask {
            Ask::Named(_) => {
                takers(index, read).for_each(|taker| self.add_named(taker, read, candidates));
            }
            Ask::History(secret) => {
                // Every version of the parameter is decrypted, each by a key use of its own.
                let uses = self.index.uses_of(secret, time);
                candidates.extend(uses.map(|used| Candidate::unspecific(index, read, used)));
            }
            Ask::Path { path, recursive } => {
                let uses = self.index.uses_near(time);
                let under = uses.filter(|(_, key_use)| is_under(key_use, path, *recursive));
                candidates.extend(under.map(|used| Candidate::unspecific(index, read, used)));
            }
            // Their turn comes when their children have taken what is theirs.
            Ask::Batch(_) | Ask::BatchFilters => {}
        }
    }

    fn add_named(&self, taker: Taker, read: &'s SecretRead, candidates: &mut Vec<Candidate<'s>>) {
        let Some(secret) = named(read).get(taker.target) else {
            return;
        };
        let uses = self.index.uses_of(secret, read.head.time);
        let fitting = uses.filter(|(_, key_use)| fits(key_use, secret));
        candidates.extend(fitting.map(|used| Candidate::named(taker, read, used)));
    }

    /// The `GetSecretValue` events that a batch causes: nearest first, one for each secret that the
    /// batch names.
    pub(super) fn fold_children(&mut self) {
        let mut children = Vec::new();
        for (index, batch) in self.index.scene.reads.iter().enumerate() {
            match &batch.ask {
                Ask::Batch(secrets) => {
                    self.add_children(index, batch, Some(secrets), &mut children)
                }
                Ask::BatchFilters => self.add_children(index, batch, None, &mut children),
                _ => {}
            }
        }
        children.sort_unstable();
        for child in children {
            self.claim(&child);
        }
    }

    fn add_children(
        &self,
        index: usize,
        batch: &'s SecretRead,
        listed: Option<&[SecretRef]>,
        children: &mut Vec<Child<'s>>,
    ) {
        for (read_index, read) in self.index.reads_near(batch.head.time) {
            let Some(secret) = get_secret_value(read) else {
                continue;
            };
            let target = listed.map(|l| l.iter().position(|s| s.agrees_with(secret)));
            // A batch that lists its secrets did not cause the read of another one.
            if target == Some(None) {
                continue;
            }
            children.push(Child {
                distance: read.head.time.distance(batch.head.time),
                batch_id: &batch.head.event_id,
                read_id: &read.head.event_id,
                batch: index,
                target: target.flatten(),
                read: read_index,
            });
        }
    }

    fn claim(&mut self, child: &Child<'_>) {
        let claimed = child
            .target
            .and_then(|target| self.claimed.get_mut(child.batch)?.get_mut(target));
        // A second read of the secret, in the same seconds, is somebody's own.
        if claimed.as_deref() == Some(&true) {
            return;
        }
        if let Some(batch @ None) = self.batch.get_mut(child.read) {
            *batch = Some(child.batch);
            if let Some(claimed) = claimed {
                *claimed = true;
            }
        }
    }

    /// Key uses that no child of a batch took: for the secrets it names, one each; for filters, all
    /// that are near.
    pub(super) fn match_batches(&mut self) {
        let mut candidates = Vec::new();
        for (index, read) in self.index.scene.reads.iter().enumerate() {
            match &read.ask {
                Ask::Batch(_) if read.decrypts => {
                    let takers = takers(index, read).filter(|taker| !self.is_claimed(*taker));
                    takers.for_each(|taker| self.add_named(taker, read, &mut candidates));
                }
                Ask::BatchFilters if read.decrypts => {
                    let uses = self.index.uses_near(read.head.time);
                    let uses = uses.filter(|(_, key_use)| is_of_secrets_manager(key_use));
                    candidates.extend(uses.map(|used| Candidate::unspecific(index, read, used)));
                }
                _ => {}
            }
        }
        self.take(candidates);
    }

    /// A read that KMS denied and the denied Decrypt: neither names a secret, so the second must
    /// do.
    pub(super) fn match_denied(&mut self) {
        let mut free: HashMap<EventTime, Vec<usize>> = HashMap::default();
        // Backwards, so that the first of each second is the one that is popped first.
        for (index, key_use) in self.index.scene.key_uses.iter().enumerate().rev() {
            if is_denied(key_use) {
                free.entry(key_use.head.time).or_default().push(index);
            }
        }
        for (index, read) in self.index.scene.reads.iter().enumerate() {
            if !read.denied_by_kms {
                continue;
            }
            if let Some(key_use) = free.get_mut(&read.head.time).and_then(Vec::pop) {
                let taker = Taker {
                    read: index,
                    target: 0,
                };
                self.give(key_use, taker, false);
            }
        }
    }

    /// Makes the pairs whose halves are still free. Taking the sorted candidates one by one is the
    /// same as looking for the best of all that are left again and again.
    fn take(&mut self, mut candidates: Vec<Candidate<'s>>) {
        candidates.sort_unstable();
        for candidate in candidates {
            let Candidate {
                taker,
                key_use,
                unspecific,
                ..
            } = candidate;
            let read_is_free = unspecific || self.use_taken_by(taker).is_none();
            if read_is_free && self.taker_of(key_use).is_none() {
                self.give(key_use, taker, unspecific);
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
            return;
        }
        let targets = self.taken.get_mut(taker.read);
        if let Some(taken) = targets.and_then(|targets| targets.get_mut(taker.target)) {
            *taken = Some(key_use);
        }
    }

    /// The read that a key use was given to.
    pub(super) fn taker_of(&self, key_use: usize) -> Option<Taker> {
        self.taker.get(key_use).copied().flatten()
    }

    /// The key use that was given to a secret that a read names.
    pub(super) fn use_taken_by(&self, taker: Taker) -> Option<usize> {
        let targets = self.taken.get(taker.read)?;
        targets.get(taker.target).copied().flatten()
    }

    /// The key uses that tell what a read of a path, a history or filters gave.
    pub(super) fn uses_given_to(&self, read: usize) -> &[usize] {
        self.many.get(read).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a read was caused by a batch.
    pub(super) fn is_child(&self, read: usize) -> bool {
        self.batch.get(read).is_some_and(Option::is_some)
    }

    /// Whether a batch caused any read.
    pub(super) fn has_children(&self, batch: usize) -> bool {
        self.batch.contains(&Some(batch))
    }

    /// Whether a secret that a batch names has a read of its own.
    pub(super) fn is_claimed(&self, taker: Taker) -> bool {
        let targets = self.claimed.get(taker.read);
        targets.and_then(|targets| targets.get(taker.target)) == Some(&true)
    }
}

/// The secrets that a read names.
fn named(read: &SecretRead) -> &[SecretRef] {
    match &read.ask {
        Ask::Named(secrets) | Ask::Batch(secrets) => secrets,
        _ => &[],
    }
}

fn takers(index: usize, read: &SecretRead) -> impl Iterator<Item = Taker> + use<> {
    (0..named(read).len()).map(move |target| Taker {
        read: index,
        target,
    })
}

/// A service was not allowed to use the key for its caller. CloudTrail logs that without the
/// encryption context.
fn is_denied(key_use: &KeyUse) -> bool {
    key_use.head.outcome != Outcome::Success && !key_use.direct
}
