//! Long activity in pieces: what one piece has decided about the events of the next, and where a
//! piece can begin without the one before it.
//!
//! A pair depends on what its halves could be paired with instead, that on other pairs, and so on.
//! Later events reach back only some seconds, because of equally near pairs the earlier one is
//! made. Earlier events may reach far ahead, and what they have taken is handed on.

use std::{collections::BTreeSet, ops::RangeInclusive};

use ahash::HashMap;

use crate::{
    correlate::{
        children::{ChildSearch, ChildSink, ClaimChildren},
        correlation_group::CorrelationGroup,
        join::{BatchClaim, JoinState, PairAssignment},
        near::distances,
        nearest::{DecryptSearch, MakePairs, PairSink},
    },
    ids::SharedStr,
    limits::PAIRING_TOLERANCE_SECS,
    observation::EventHeader,
    time::EventTime,
};

/// The pairs of an event before a time with one from then on.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct CrossingPairs {
    pairs: Vec<CrossingPair>,
    children: Vec<CrossingChild>,
}

/// Event id and [`EventHeader::event`]: different events may claim one id.
type EventName = (SharedStr, u64);

#[derive(Debug, Clone, PartialEq)]
struct CrossingPair {
    kms_decrypt: EventName,
    read: EventName,
    target: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct CrossingChild {
    child: EventName,
    batch: EventName,
    target: Option<usize>,
}

impl CrossingPairs {
    /// The decisions of a join across a time.
    pub(super) fn of(join: &JoinState<'_>, time: EventTime) -> Self {
        let mut crossing = Self::default();
        let reads = &join.group.reads;
        // In a short piece, a pair may cross both its ends.
        for (index, kms_decrypt) in join.group.kms_decrypts.iter().enumerate() {
            let used = &kms_decrypt.head;
            let Some(assignment) = join.assignment_of(index).filter(|_| is_beside(used, time))
            else {
                continue;
            };
            if let Some(read) = reads.get(assignment.read)
                && is_between(time, used, &read.head)
            {
                crossing.pairs.push(CrossingPair {
                    kms_decrypt: named(used),
                    read: named(&read.head),
                    target: assignment.target,
                });
            }
        }
        for (index, child) in reads.iter().enumerate() {
            let head = &child.head;
            let Some(claim) = join.batch_of(index).filter(|_| is_beside(head, time)) else {
                continue;
            };
            if let Some(batch) = reads.get(claim.batch)
                && is_between(time, head, &batch.head)
            {
                crossing.children.push(CrossingChild {
                    child: named(head),
                    batch: named(&batch.head),
                    target: claim.target,
                });
            }
        }
        crossing
    }

    /// Repeats the decisions in the join of the next piece, which has the events of both sides.
    pub(super) fn apply(&self, join: &mut JoinState<'_>) {
        if self.pairs.is_empty() && self.children.is_empty() {
            return;
        }
        let group = join.group;
        let reads = numbered(group.reads.iter().map(|read| &*read.head));
        let uses = numbered(group.kms_decrypts.iter().map(|used| &*used.head));
        for pair in &self.pairs {
            let found = uses.get(&pair.kms_decrypt).zip(reads.get(&pair.read));
            if let Some((kms_decrypt, read)) = found {
                let assignment = PairAssignment {
                    read: *read,
                    target: pair.target,
                };
                join.give(*kms_decrypt, assignment);
            }
        }
        for child in &self.children {
            let found = reads.get(&child.child).zip(reads.get(&child.batch));
            if let Some((index, batch)) = found {
                let claim = BatchClaim {
                    batch: *batch,
                    target: child.target,
                };
                join.claim(*index, claim);
            }
        }
    }
}

fn named(head: &EventHeader) -> EventName {
    (head.event_id.clone(), head.event)
}

fn numbered<'h>(heads: impl Iterator<Item = &'h EventHeader>) -> HashMap<EventName, usize> {
    heads.map(named).zip(0..).collect()
}

fn is_beside(head: &EventHeader, time: EventTime) -> bool {
    head.time.distance(time) <= PAIRING_TOLERANCE_SECS
}

fn is_between(time: EventTime, a: &EventHeader, b: &EventHeader) -> bool {
    (a.time < time) != (b.time < time)
}

/// The latest of these times that no pair can cross, whatever is before and after the group; `None`
/// when there is none.
///
/// Only events of one second decide which pairs of that second are made. A pair that crosses a time
/// has halves that are left by then: where no such halves fit, none is made.
#[must_use]
pub fn latest_cut(
    mut group: CorrelationGroup,
    among: RangeInclusive<EventTime>,
) -> Option<EventTime> {
    group.sort();
    let mut join = JoinState::new(&group, EventTime(i64::MIN));
    let mut blocked = BlockedTimes::default();
    let mut reads = DecryptSearch::of_reads(&join);
    reads.visit(0, &mut join, &mut MakePairs);
    let mut children = ChildSearch::new(&join);
    children.visit(0, &mut join, &mut ClaimChildren);
    // What batches could take is judged by what is left at this point. More may be taken before
    // their turn comes, which would only leave fewer halves.
    let mut batches = DecryptSearch::of_batches(&join);
    for distance in distances().skip(1) {
        reads.visit(distance, &mut join, &mut blocked);
        children.visit(distance, &mut join, &mut blocked);
        batches.visit(distance, &mut join, &mut blocked);
    }
    let (from, to) = (among.start().0, among.end().0);
    let mut times = (from..=to).rev();
    times.find(|time| !blocked.0.contains(time)).map(EventTime)
}

/// The times that a pair may cross.
#[derive(Default)]
struct BlockedTimes(BTreeSet<i64>);

impl BlockedTimes {
    fn block(&mut self, a: &EventHeader, b: &EventHeader) {
        let (first, last) = (a.time.min(b.time).0, a.time.max(b.time).0);
        self.0.extend(first + 1..=last);
    }
}

impl PairSink for BlockedTimes {
    fn pair(&mut self, join: &mut JoinState<'_>, assignment: PairAssignment, kms_decrypt: usize) {
        let group = join.group;
        let read = group.reads.get(assignment.read);
        if let Some((read, used)) = read.zip(group.kms_decrypts.get(kms_decrypt)) {
            self.block(&read.head, &used.head);
        }
    }
}

impl ChildSink for BlockedTimes {
    fn child(&mut self, join: &mut JoinState<'_>, child: usize, claim: BatchClaim) {
        let group = join.group;
        let batch = group.reads.get(claim.batch);
        if let Some((batch, child)) = batch.zip(group.reads.get(child)) {
            self.block(&batch.head, &child.head);
        }
    }
}
