//! Secret hygiene: reads of versions after their retirement, and secrets that nobody reads.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ExposureLedger,
    identity::apart,
    rows::{SecretFindings, versions},
    timeline::{Timeline, VersionKey},
};
use crate::{
    ids::{SecretRef, SharedStr},
    time::EventTime,
};

/// Seconds after a rotation in which a read of the version before is ordinary: programs fall back
/// to it until they have the new one.
const FALLBACK_SECS: i64 = 3_600;

/// What is wrong with a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HygieneProblem {
    /// A version was read more than an hour after another took its place.
    RetiredRead {
        /// When that one became current.
        since: EventTime,
        /// Number of such reads.
        reads: u64,
        /// The last of them.
        last: EventTime,
        /// Stable identities of those who read it, sorted.
        principals: Vec<SharedStr>,
    },
    /// Nobody has read it for as long as was asked.
    Unread {
        /// The last read; `None` if there is none in the logs.
        last: Option<EventTime>,
        /// Time of the last record about secrets of its account and region.
        as_of: EventTime,
    },
}

/// A problem of a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HygieneFinding {
    /// The secret; with the version of [`HygieneProblem::RetiredRead`].
    pub secret: SecretRef,
    /// What is wrong.
    pub problem: HygieneProblem,
}

impl ExposureLedger {
    /// The problems of all secrets that the logs name and that were not deleted, sorted. `unread`
    /// is after how many seconds without a read a secret counts as not read; of an account and
    /// region whose logs are shorter, nothing is said about it.
    #[must_use]
    pub fn hygiene(&mut self, unread: i64) -> Vec<HygieneFinding> {
        self.tidy();
        let mut found = Vec::new();
        for (name, facts) in &self.secrets {
            for one in apart(facts).into_values() {
                let secret = SecretFindings::new(name, &one, &self.newest);
                for region in secret.regions() {
                    self.of_region(&secret, region, unread, &mut found);
                }
            }
        }
        found.sort();
        found
    }

    fn of_region(
        &self,
        secret: &SecretFindings<'_, '_>,
        region: &str,
        unread: i64,
        found: &mut Vec<HygieneFinding>,
    ) {
        let timeline = secret.timeline(region);
        if timeline.deleted.is_some() {
            return;
        }
        let retired = retired(secret, region, &timeline).into_iter();
        found.extend(retired.map(|(index, reads)| HygieneFinding {
            secret: secret.secret(region, &VersionKey::Epoch(index), &timeline),
            problem: reads.problem(),
        }));
        let unnamed = secret.secret(region, &VersionKey::Loose(None), &timeline);
        let place = (unnamed.account.clone(), unnamed.region.clone());
        let times = secret.reads_in(region).flat_map(|(_, times)| times);
        let last = times.max().copied();
        let span = self.oldest.get(&place).zip(self.newest.get(&place));
        if let Some((oldest, newest)) = span
            && newest.0.saturating_sub(last.unwrap_or(*oldest).0) >= unread
        {
            let as_of = *newest;
            found.push(HygieneFinding {
                secret: unnamed,
                problem: HygieneProblem::Unread { last, as_of },
            });
        }
    }
}

/// The reads of versions after their retirement, by epoch.
fn retired(
    secret: &SecretFindings<'_, '_>,
    region: &str,
    timeline: &Timeline,
) -> BTreeMap<usize, RetiredReads> {
    let mut retired = BTreeMap::new();
    for (kind, times) in secret.reads_in(region) {
        for time in times {
            for version in versions(timeline, kind, *time) {
                let VersionKey::Epoch(index) = version else {
                    continue;
                };
                let next = timeline.epochs.get(index + 1);
                let since = next.and_then(|next| next.since.as_ref()?.time);
                if let Some(since) = since.filter(|since| since.plus(FALLBACK_SECS) < *time) {
                    let reads = retired.entry(index);
                    let reads: &mut RetiredReads =
                        reads.or_insert_with(|| RetiredReads::new(since));
                    reads.add(*time, kind.principal.id.as_ref());
                }
            }
        }
    }
    retired
}

/// Reads of one retired version.
struct RetiredReads {
    since: EventTime,
    reads: u64,
    last: EventTime,
    principals: BTreeSet<SharedStr>,
}

impl RetiredReads {
    fn new(since: EventTime) -> Self {
        Self {
            since,
            reads: 0,
            last: since,
            principals: BTreeSet::new(),
        }
    }

    fn add(&mut self, time: EventTime, principal: Option<&SharedStr>) {
        self.reads += 1;
        self.last = self.last.max(time);
        self.principals.extend(principal.cloned());
    }

    fn problem(self) -> HygieneProblem {
        HygieneProblem::RetiredRead {
            since: self.since,
            reads: self.reads,
            last: self.last,
            principals: self.principals.into_iter().collect(),
        }
    }
}
