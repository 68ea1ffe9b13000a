//! What the logs cannot show: deliveries that are missing, hours in which KMS events are, and
//! records that are.
//!
//! A delivery is missed against the account's own rhythm: quiet accounts get few files, and that is
//! no gap.

use std::collections::{BTreeMap, BTreeSet};

use ahash::HashSet;

use crate::access::{Access, DecryptStatus, Method};
use crate::coverage::CoverageMark;
use crate::ids::Text;
use crate::limits::COVERAGE_BUCKET_SECS;
use crate::observation::Outcome;
use crate::time::EventTime;

/// Files of an account and region below which its rhythm is not known.
const ENOUGH_FILES: usize = 12;
/// A gap is so many times as long as nineteen of twenty intervals …
const TIMES_USUAL: i64 = 3;
/// … and so many seconds at least: CloudTrail delivers about every five minutes, and may skip one.
const SHORTEST_SECS: i64 = 900;

/// What is missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// Log files: none was delivered in this time.
    Deliveries {
        /// Longest of nineteen of twenty intervals between deliveries, in seconds.
        usual_secs: i64,
    },
    /// KMS events: none was logged around these reads.
    KmsEvents {
        /// Reads whose Decrypt could not have been seen.
        reads: u64,
    },
    /// Records: their other halves are there.
    Records {
        /// Reads without their Decrypt, although other KMS events were logged.
        decrypts: u64,
        /// Decrypts without their read.
        reads: u64,
    },
}

/// A stretch of time in which something cannot be seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// Account.
    pub account: Text,
    /// Region.
    pub region: Text,
    /// Start.
    pub from: EventTime,
    /// End.
    pub to: EventTime,
    /// What is missing.
    pub missing: Missing,
}

/// A place and a time of delivery, from the path of a log file.
pub type Delivery = (Text, Text, EventTime);

/// Finds gaps, by account, region and time. `coverage` says where KMS events were seen.
#[must_use]
pub fn find<'a>(
    deliveries: impl IntoIterator<Item = Delivery>,
    accesses: impl IntoIterator<Item = &'a Access>,
    coverage: &HashSet<CoverageMark>,
) -> Vec<Gap> {
    let mut gaps = missed_deliveries(deliveries);
    let mut uncovered: Hours = BTreeMap::new();
    let mut lost: Hours = BTreeMap::new();
    for access in accesses {
        let head = &access.head;
        let mark = CoverageMark::at(head.account.clone(), head.region.clone(), head.time);
        let hour = (head.account.clone(), head.region.clone(), mark.bucket);
        match (access.method, access.decrypt.status) {
            (Method::DecryptOnly, _) => lost.entry(hour).or_default().1 += 1,
            (_, DecryptStatus::Absent) => lost.entry(hour).or_default().0 += 1,
            (_, DecryptStatus::Unknown)
                if head.outcome == Outcome::Success
                    && !mark.around().iter().any(|m| coverage.contains(m)) =>
            {
                uncovered.entry(hour).or_default().0 += 1;
            }
            _ => {}
        }
    }
    gaps.extend(merged(uncovered, |(reads, _)| Missing::KmsEvents { reads }));
    gaps.extend(merged(lost, |(decrypts, reads)| Missing::Records {
        decrypts,
        reads,
    }));
    gaps.sort();
    gaps
}

/// Counts by account, region and hour.
type Hours = BTreeMap<(Text, Text, i64), (u64, u64)>;

fn missed_deliveries(deliveries: impl IntoIterator<Item = Delivery>) -> Vec<Gap> {
    let mut stamps: BTreeMap<(Text, Text), BTreeSet<EventTime>> = BTreeMap::new();
    for (account, region, time) in deliveries {
        stamps.entry((account, region)).or_default().insert(time);
    }
    let mut gaps = Vec::new();
    for ((account, region), stamps) in stamps
        .into_iter()
        .filter(|(_, stamps)| stamps.len() >= ENOUGH_FILES)
    {
        let stamps: Vec<EventTime> = stamps.into_iter().collect();
        let pairs = || stamps.iter().zip(stamps.iter().skip(1));
        let mut intervals: Vec<i64> = pairs().map(|(a, b)| b.0 - a.0).collect();
        intervals.sort_unstable();
        let usual_secs = intervals
            .get(intervals.len() * 19 / 20)
            .or(intervals.last())
            .copied()
            .unwrap_or(0);
        let long = (usual_secs.saturating_mul(TIMES_USUAL)).max(SHORTEST_SECS);
        for (from, to) in pairs().filter(|(a, b)| b.0 - a.0 > long) {
            let missing = Missing::Deliveries { usual_secs };
            gaps.push(Gap {
                account: account.clone(),
                region: region.clone(),
                from: *from,
                to: *to,
                missing,
            });
        }
    }
    gaps
}

/// A stretch of hours, the last one not included, and its counts.
struct Stretch {
    account: Text,
    region: Text,
    hours: (i64, i64),
    counts: (u64, u64),
}

/// Hours that follow each other as one stretch.
fn merged(hours: Hours, missing: fn((u64, u64)) -> Missing) -> impl Iterator<Item = Gap> {
    let mut all: Vec<Stretch> = Vec::new();
    for ((account, region, hour), counts) in hours {
        match all.last_mut() {
            Some(last)
                if (&last.account, &last.region, last.hours.1) == (&account, &region, hour) =>
            {
                last.hours.1 = hour + 1;
                last.counts = (last.counts.0 + counts.0, last.counts.1 + counts.1);
            }
            _ => all.push(Stretch {
                account,
                region,
                hours: (hour, hour + 1),
                counts,
            }),
        }
    }
    let time = |hour: i64| EventTime(hour.saturating_mul(COVERAGE_BUCKET_SECS));
    all.into_iter().map(
        move |Stretch {
                  account,
                  region,
                  hours: (from, to),
                  counts,
              }| Gap {
            account,
            region,
            from: time(from),
            to: time(to),
            missing: missing(counts),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_missed_against_the_usual_rhythm() {
        let check = |minutes: &[i64], expected: &[(i64, i64)]| {
            let delivery = |m: &i64| (Text::from("1"), Text::from("r"), EventTime(m * 60));
            let gaps = find(minutes.iter().map(delivery), [], &HashSet::default());
            let found: Vec<_> = gaps.iter().map(|g| (g.from.0 / 60, g.to.0 / 60)).collect();
            assert_eq!(found, expected);
        };
        let every = |step: i64, n: i64| (0..n).map(|i| i * step).collect::<Vec<_>>();
        check(&every(5, 40), &[]);
        let mut hole = every(5, 60);
        hole.retain(|m| !(100..160).contains(m));
        check(&hole, &[(95, 160)]);
        check(&every(120, 20), &[]);
        check(&[0, 5, 300], &[]);
    }
}
