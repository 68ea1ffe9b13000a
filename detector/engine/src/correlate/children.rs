//! Finds the `GetSecretValue` events that batches have caused: nearest first, one for each secret
//! that the batch names.

use crate::{
    correlate::{
        correlation_group::get_secret_value,
        join::{BatchClaim, JoinState, PairAssignment},
        near::{at_distance, distances},
        queues::Queues,
        spelling::{SpellingIds, asked_to_agree, filed_to_agree},
    },
    ids::SecretRef,
    observation::ReadRequest,
    time::EventTime,
};

/// Batches that look for their children, and the reads that may be one.
///
/// No record says that a batch caused it. The child looks like a read of the same actor in the same
/// seconds, so that only time and secret can link them.
#[derive(Default)]
pub(super) struct ChildSearch<'s> {
    spellings: SpellingIds<'s>,
    /// In time order.
    batches: Vec<BatchSearch>,
    /// Reads by spelling and time.
    by_secret: Queues<(usize, EventTime)>,
    by_time: Queues<EventTime>,
}

struct BatchSearch {
    batch: usize,
    time: EventTime,
    /// The secrets that it names; `None` when it chooses them by filters.
    targets: Option<Vec<TargetSearch>>,
}

struct TargetSearch {
    target: usize,
    spellings: Vec<usize>,
}

/// Receives a batch and a read that it may have caused.
pub(super) trait ChildSink {
    fn child(&mut self, join: &mut JoinState<'_>, child: usize, claim: BatchClaim);
}

/// Assigns every child.
pub(super) struct ClaimChildren;

impl ChildSink for ClaimChildren {
    fn child(&mut self, join: &mut JoinState<'_>, child: usize, claim: BatchClaim) {
        join.claim(child, claim);
    }
}

impl<'s> ChildSearch<'s> {
    /// All batches and all reads of a single secret.
    pub(super) fn new(join: &JoinState<'s>) -> Self {
        let mut search = Self::default();
        for (batch, read) in join.reads() {
            let targets = match &read.request {
                ReadRequest::Batch(secrets) => Some(search.targets(secrets)),
                ReadRequest::BatchFilters => None,
                _ => continue,
            };
            search.batches.push(BatchSearch {
                batch,
                time: read.head.time,
                targets,
            });
        }
        if !search.batches.is_empty() {
            search.file(join);
        }
        search
    }

    fn targets(&mut self, secrets: &'s [SecretRef]) -> Vec<TargetSearch> {
        let mut targets = Vec::with_capacity(secrets.len());
        for (target, secret) in secrets.iter().enumerate() {
            let spellings = asked_to_agree(secret).map(|spelling| self.spellings.ask(spelling));
            targets.push(TargetSearch {
                target,
                spellings: spellings.collect(),
            });
        }
        targets
    }

    fn file(&mut self, join: &JoinState<'s>) {
        for (index, read) in join.reads() {
            let Some(secret) = get_secret_value(read) else {
                continue;
            };
            let time = read.head.time;
            self.by_time.push(time, index);
            if self.spellings.is_empty() {
                continue;
            }
            for spelling in filed_to_agree(secret) {
                if let Some(spelling) = self.spellings.known(&spelling) {
                    self.by_secret.push((spelling, time), index);
                }
            }
        }
    }

    /// Assigns the children, nearest first.
    pub(super) fn assign(mut self, join: &mut JoinState<'s>) {
        for distance in distances() {
            self.visit(distance, join, &mut ClaimChildren);
        }
    }

    /// Passes every batch and read that fit at a distance to a sink, in the order in which children
    /// are assigned.
    pub(super) fn visit(
        &mut self,
        distance: i64,
        join: &mut JoinState<'s>,
        sink: &mut impl ChildSink,
    ) {
        let times: Vec<EventTime> = self.batches.iter().map(|search| search.time).collect();
        for (index, time) in at_distance(&times, distance) {
            let Some(BatchSearch { batch, targets, .. }) = self.batches.get_mut(index) else {
                continue;
            };
            let batch = *batch;
            match targets {
                Some(targets) => {
                    for search in &*targets {
                        visit_target(batch, search, time, &mut self.by_secret, join, sink);
                    }
                    // A second read of the secret, in the same seconds, is an independent one.
                    targets.retain(|search| !join.is_claimed(search.of(batch)));
                }
                None => visit_all(batch, time, &mut self.by_time, join, sink),
            }
        }
    }
}

impl TargetSearch {
    fn of(&self, batch: usize) -> PairAssignment {
        PairAssignment {
            read: batch,
            target: self.target,
        }
    }
}

/// Finds the read of a secret that a batch names.
fn visit_target(
    batch: usize,
    search: &TargetSearch,
    time: EventTime,
    by_secret: &mut Queues<(usize, EventTime)>,
    join: &mut JoinState<'_>,
    sink: &mut impl ChildSink,
) {
    if join.is_claimed(search.of(batch)) {
        return;
    }
    let keys = search.spellings.iter().map(|spelling| (*spelling, time));
    let found = by_secret.first_of(keys, |read| join.batch_of(read).is_none());
    if let Some(child) = found {
        let claim = BatchClaim {
            batch,
            target: Some(search.target),
        };
        sink.child(join, child, claim);
    }
}

/// Finds the reads of a batch by filters, which may have returned any secret.
fn visit_all(
    batch: usize,
    time: EventTime,
    by_time: &mut Queues<EventTime>,
    join: &mut JoinState<'_>,
    sink: &mut impl ChildSink,
) {
    let claim = BatchClaim {
        batch,
        target: None,
    };
    while let Some(child) = by_time.first(&time, |read| join.batch_of(read).is_none()) {
        sink.child(join, child, claim);
        // A sink that only looks has seen that there is one.
        if join.batch_of(child).is_none() {
            return;
        }
    }
}
