//! Gaps in the logs: missing deliveries, hours without KMS events, and missing records.
//!
//! Deliveries are compared with the usual interval of the account and region: few files of a quiet
//! account are no gap.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    access::{Access, AccessMethod, DecryptStatus},
    coverage::{CoverageHours, CoverageMark},
    ids::SharedStr,
    limits::COVERAGE_BUCKET_SECS,
    observation::CallOutcome,
    time::EventTime,
};

/// Deliveries of an account and region below which the usual interval is not known.
const ENOUGH_FILES: usize = 12;
/// A gap is longer than this many times the 95th percentile of the intervals …
const RATE_MULTIPLIER: i64 = 3;
/// … and longer than this many seconds: CloudTrail delivers about every five minutes, and may skip
/// one.
const SHORTEST_SECS: i64 = 900;

/// What is missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum MissingKind {
    /// Log files: none was delivered in this period.
    Deliveries {
        /// 95th percentile of the intervals between deliveries, in seconds.
        usual_secs: i64,
    },
    /// KMS events: none was logged around these reads.
    KmsEvents {
        /// Number of reads whose Decrypt could not have been seen.
        reads: u64,
    },
    /// Records: their other halves were logged.
    Records {
        /// Number of missing Decrypts: of reads without one, although other KMS events were logged.
        decrypts: u64,
        /// Number of missing reads: of Decrypts without one.
        reads: u64,
    },
}

/// A period in which the logs of an account and region are incomplete.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CoverageGap {
    /// Account id.
    pub account: SharedStr,
    /// Region, e.g. `eu-west-1`.
    pub region: SharedStr,
    /// Start of the period.
    pub from: EventTime,
    /// End of the period.
    pub to: EventTime,
    /// What is missing.
    pub missing: MissingKind,
}

/// The delivery of a log file, from its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDelivery {
    /// Account id.
    pub account: SharedStr,
    /// Region, e.g. `eu-west-1`.
    pub region: SharedStr,
    /// Delivery time.
    pub time: EventTime,
}

/// Reads in a row without their Decrypts that are taken for a time without KMS events: single ones
/// may be lost in other ways.
const ENOUGH_READS: usize = 3;

/// Seconds to which the times of such a gap are rounded.
const MINUTE: i64 = 60;

/// Numbers of missing reads and Decrypts.
#[derive(Debug, Clone, Copy, Default)]
struct MissedCounts {
    reads: u64,
    decrypts: u64,
}

/// Missing records by account, region and hour (a [`CoverageMark`], whether or not the hour is
/// covered). Sorted, so that consecutive hours are adjacent.
type MissedByHour = BTreeMap<CoverageMark, MissedCounts>;

/// Finds gaps, sorted by account, region and time. `asked` is the time that the run selects: a gap
/// may be at its edges. `coverage` has the hours with KMS events.
#[must_use]
pub fn find<'a>(
    asked: [Option<EventTime>; 2],
    deliveries: impl IntoIterator<Item = LogDelivery>,
    accesses: impl IntoIterator<Item = &'a Access>,
    coverage: &CoverageHours,
) -> Vec<CoverageGap> {
    let mut halves = MissedHalves::default();
    for access in accesses {
        halves.count(access, coverage);
    }
    let mut gaps = missed_deliveries(asked, deliveries);
    gaps.extend(halves.silences());
    gaps.extend(merged(halves.uncovered, MissingKind::kms_events));
    gaps.extend(merged(halves.lost, MissingKind::records));
    gaps.sort();
    gaps
}

/// Missing records by account, region and hour.
#[derive(Default)]
struct MissedHalves {
    /// In hours without KMS events.
    uncovered: MissedByHour,
    /// In hours with KMS events.
    lost: MissedByHour,
    /// By account and region, the times of reads that decrypt in such hours and of KMS Decrypts,
    /// and whether a Decrypt was seen.
    expected: BTreeMap<(SharedStr, SharedStr), Vec<(EventTime, bool)>>,
}

impl MissedHalves {
    fn count(&mut self, access: &Access, coverage: &CoverageHours) {
        let head = &access.head;
        let hour = CoverageMark::at(head.account.clone(), head.region.clone(), head.time);
        match (access.method, access.decrypt.status) {
            (AccessMethod::DecryptOnly, _) => {
                self.expect(access, true);
                self.lost.entry(hour).or_default().reads += 1;
            }
            (AccessMethod::DirectDecrypt, _) => self.expect(access, true),
            (_, DecryptStatus::Absent) => {
                self.expect(access, false);
                self.lost.entry(hour).or_default().decrypts += 1;
            }
            (_, DecryptStatus::Paired) => self.expect(access, true),
            // Also unknown: batched reads, and parameters that may not be encrypted. The log is
            // incomplete only where no KMS event was logged at all.
            (_, DecryptStatus::Unknown)
                if head.outcome == CallOutcome::Success
                    && !hour.around().iter().any(|m| coverage.contains(m)) =>
            {
                self.uncovered.entry(hour).or_default().decrypts += 1;
            }
            _ => {}
        }
    }

    fn expect(&mut self, access: &Access, is_found: bool) {
        let head = &access.head;
        let place = (head.account.clone(), head.region.clone());
        let expected = self.expected.entry(place).or_default();
        expected.push((head.time, is_found));
    }

    /// Times within hours with KMS events in which no Decrypt was logged: many reads in a row lack
    /// theirs. These reads are no longer counted by hour.
    fn silences(&mut self) -> Vec<CoverageGap> {
        let mut gaps = Vec::new();
        for ((account, region), mut expected) in std::mem::take(&mut self.expected) {
            // Of one second, those with a Decrypt come first: they belong to both sides.
            expected.sort_unstable_by_key(|(time, is_found)| (*time, !is_found));
            // A longer time without any read says nothing about what was logged in it.
            let is_near = |a: EventTime, b: EventTime| b.0 - a.0 <= COVERAGE_BUCKET_SECS;
            let runs = expected.chunk_by(|a, b| a.1 == b.1 && is_near(a.0, b.0));
            for run in runs {
                let Some(((first, false), (last, _))) = run.first().zip(run.last()) else {
                    continue;
                };
                if run.len() < ENOUGH_READS || last.0 - first.0 < MINUTE {
                    continue;
                }
                for (time, _) in run {
                    self.forget(CoverageMark::at(account.clone(), region.clone(), *time));
                }
                gaps.push(CoverageGap {
                    account: account.clone(),
                    region: region.clone(),
                    from: first.start_of(MINUTE),
                    to: last.start_of(MINUTE).plus(MINUTE),
                    missing: MissingKind::KmsEvents {
                        reads: run.len() as u64,
                    },
                });
            }
        }
        gaps
    }

    /// Takes back a missing Decrypt of an hour.
    fn forget(&mut self, hour: CoverageMark) {
        if let Some(missed) = self.lost.get_mut(&hour) {
            missed.decrypts = missed.decrypts.saturating_sub(1);
            if missed.decrypts == 0 && missed.reads == 0 {
                self.lost.remove(&hour);
            }
        }
    }
}

impl MissingKind {
    /// No KMS event was logged: each missing Decrypt is one read without coverage.
    fn kms_events(missed: MissedCounts) -> Self {
        Self::KmsEvents {
            reads: missed.decrypts,
        }
    }

    fn records(missed: MissedCounts) -> Self {
        Self::Records {
            decrypts: missed.decrypts,
            reads: missed.reads,
        }
    }
}

fn missed_deliveries(
    asked: [Option<EventTime>; 2],
    deliveries: impl IntoIterator<Item = LogDelivery>,
) -> Vec<CoverageGap> {
    // Files with the same delivery time, of which busy accounts have many, are one delivery.
    let mut times: BTreeMap<(SharedStr, SharedStr), BTreeSet<EventTime>> = BTreeMap::new();
    for delivery in deliveries {
        let place = (delivery.account, delivery.region);
        times.entry(place).or_default().insert(delivery.time);
    }
    times
        .into_iter()
        .flat_map(|((account, region), times)| {
            let times: Vec<EventTime> = times.into_iter().collect();
            gaps_between(&account, &region, &times, asked)
        })
        .collect()
}

/// Intervals between deliveries for one account and region that are much longer than usual.
fn gaps_between(
    account: &SharedStr,
    region: &SharedStr,
    times: &[EventTime],
    asked: [Option<EventTime>; 2],
) -> Vec<CoverageGap> {
    let Some(usual_secs) = usual_interval(times) else {
        return Vec::new();
    };
    let long = usual_secs
        .saturating_mul(RATE_MULTIPLIER)
        .max(SHORTEST_SECS);
    let [from, to] = asked;
    let before = from.zip(times.first().copied());
    let after = times.last().copied().zip(to);
    let at_edges = before.into_iter().chain(after);
    at_edges
        .chain(intervals(times))
        .filter(|(from, to)| to.0.saturating_sub(from.0) > long)
        .map(|(from, to)| CoverageGap {
            account: account.clone(),
            region: region.clone(),
            from,
            to,
            missing: MissingKind::Deliveries { usual_secs },
        })
        .collect()
}

/// 95th percentile of the intervals in seconds; `None` when there are too few deliveries.
fn usual_interval(times: &[EventTime]) -> Option<i64> {
    if times.len() < ENOUGH_FILES {
        return None;
    }
    let mut lengths: Vec<i64> = intervals(times).map(|(from, to)| to.0 - from.0).collect();
    lengths.sort_unstable();
    // Not the mean, which the gaps themselves would raise.
    lengths.get(lengths.len() * 19 / 20).copied()
}

fn intervals(times: &[EventTime]) -> impl Iterator<Item = (EventTime, EventTime)> {
    let next = times.iter().skip(1);
    times.iter().copied().zip(next.copied())
}

/// Consecutive hours, and the records that are missing in them.
struct GapStretch {
    first: CoverageMark,
    hours: i64,
    missed: MissedCounts,
}

impl GapStretch {
    /// Whether an hour follows directly.
    fn goes_on_in(&self, hour: &CoverageMark) -> bool {
        let first = &self.first;
        (&hour.account, &hour.region) == (&first.account, &first.region)
            && hour.bucket == first.bucket + self.hours
    }

    fn add(&mut self, missed: MissedCounts) {
        self.hours += 1;
        self.missed.reads += missed.reads;
        self.missed.decrypts += missed.decrypts;
    }

    fn gap(self, missing: fn(MissedCounts) -> MissingKind) -> CoverageGap {
        let CoverageMark {
            account,
            region,
            bucket,
            ..
        } = self.first;
        CoverageGap {
            account,
            region,
            from: start_of(bucket),
            to: start_of(bucket + self.hours),
            missing: missing(self.missed),
        }
    }
}

fn start_of(hour: i64) -> EventTime {
    EventTime(hour.saturating_mul(COVERAGE_BUCKET_SECS))
}

/// Merges consecutive hours into one gap.
fn merged(
    hours: MissedByHour,
    missing: fn(MissedCounts) -> MissingKind,
) -> impl Iterator<Item = CoverageGap> {
    let mut all: Vec<GapStretch> = Vec::new();
    for (hour, missed) in hours {
        // Sorted by place, then hour: the hour before, if any, is the last one.
        match all.last_mut().filter(|last| last.goes_on_in(&hour)) {
            Some(last) => last.add(missed),
            None => all.push(GapStretch {
                first: hour,
                hours: 1,
                missed,
            }),
        }
    }
    all.into_iter().map(move |stretch| stretch.gap(missing))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::access::{AccessDecrypt, sample};

    #[test]
    fn a_delivery_is_missed_against_the_usual_rhythm() {
        let check = |minutes: &[i64], expected: &[(i64, i64)]| {
            let delivery = |m: &i64| LogDelivery {
                account: "1".into(),
                region: "r".into(),
                time: EventTime(m * 60),
            };
            let gaps = |asked| {
                let deliveries = minutes.iter().map(delivery);
                let gaps = find(asked, deliveries, [], &CoverageHours::default());
                let minutes = gaps.iter().map(|g| (g.from.0 / 60, g.to.0 / 60));
                minutes.collect::<Vec<_>>()
            };
            assert_eq!(gaps([None, None]), expected);
            // A day before the first and after the last.
            let edges = [-24 * HOUR, 48 * HOUR].map(|secs| Some(EventTime(secs)));
            let at_edges = usize::from(minutes.len() >= ENOUGH_FILES) * 2;
            assert_eq!(gaps(edges).len(), expected.len() + at_edges);
        };
        let every = |step: i64, n: i64| (0..n).map(|i| i * step).collect::<Vec<_>>();
        check(&every(5, 40), &[]);
        let mut hole = every(5, 60);
        hole.retain(|m| !(100..160).contains(m));
        check(&hole, &[(95, 160)]);
        check(&every(120, 20), &[]);
        check(&[0, 5, 300], &[]);
    }
    const HOUR: i64 = COVERAGE_BUCKET_SECS;

    fn access(hour: i64, method: AccessMethod, status: DecryptStatus) -> Access {
        let mut access = sample();
        let head = Arc::make_mut(&mut access.head);
        (head.account, head.region) = ("1".into(), "r".into());
        head.time = EventTime(hour * HOUR + 60);
        access.method = method;
        access.decrypt = AccessDecrypt::only(status);
        access
    }

    fn reported(accesses: &[Access], covered: &[i64]) -> Vec<(i64, i64, MissingKind)> {
        let coverage = covered
            .iter()
            .map(|hour| CoverageMark::at("1".into(), "r".into(), EventTime(hour * HOUR)))
            .collect::<CoverageHours>();
        find([None, None], [], accesses, &coverage)
            .into_iter()
            .map(|gap| (gap.from.0 / HOUR, gap.to.0 / HOUR, gap.missing))
            .collect()
    }

    #[test]
    fn hours_that_follow_each_other_are_one_gap() {
        let unknown = |hour: i64| access(hour, AccessMethod::Api, DecryptStatus::Unknown);
        let accesses = [unknown(14), unknown(10), unknown(11), unknown(11)];
        let expected = [
            (10, 12, MissingKind::KmsEvents { reads: 3 }),
            (14, 15, MissingKind::KmsEvents { reads: 1 }),
        ];
        assert_eq!(reported(&accesses, &[]), expected);
        // KMS events of an hour prove coverage of the hours beside it.
        let expected = [10, 14].map(|hour| (hour, hour + 1, MissingKind::KmsEvents { reads: 1 }));
        assert_eq!(reported(&accesses, &[12]), expected);
    }

    #[test]
    fn halves_that_are_missing_are_distinguished() {
        let accesses = [
            access(3, AccessMethod::Api, DecryptStatus::Absent),
            access(3, AccessMethod::DecryptOnly, DecryptStatus::NotExpected),
            access(4, AccessMethod::DecryptOnly, DecryptStatus::NotExpected),
            access(4, AccessMethod::Api, DecryptStatus::Paired),
            access(4, AccessMethod::Api, DecryptStatus::Pending),
        ];
        let missing = MissingKind::Records {
            decrypts: 1,
            reads: 2,
        };
        assert_eq!(reported(&accesses, &[3, 4]), [(3, 5, missing)]);
    }

    #[test]
    fn an_hour_without_kms_events_for_a_while_is_found_at_minutes() {
        let at = |secs: i64, status: DecryptStatus| {
            let mut access = access(3, AccessMethod::Api, status);
            Arc::make_mut(&mut access.head).time = EventTime(3 * HOUR + secs);
            access
        };
        let (paired, absent) = (DecryptStatus::Paired, DecryptStatus::Absent);
        let hour = CoverageMark::at("1".into(), "r".into(), EventTime(3 * HOUR));
        let gaps = |accesses: &[Access]| {
            let gaps = find(
                [None, None],
                [],
                accesses,
                &[hour.clone()].into_iter().collect(),
            );
            let gaps = gaps.into_iter().map(|gap| {
                let (from, to) = (gap.from.0 - 3 * HOUR, gap.to.0 - 3 * HOUR);
                (from, to, gap.missing)
            });
            gaps.collect::<Vec<_>>()
        };
        let mut accesses = vec![at(2_500, paired), at(100, paired), at(630, absent)];
        accesses.extend([at(1_234, absent), at(2_465, absent), at(60, absent)]);
        let silence = (600, 2_520, MissingKind::KmsEvents { reads: 3 });
        let records = MissingKind::Records {
            decrypts: 1,
            reads: 0,
        };
        assert_eq!(gaps(&accesses), [(0, HOUR, records.clone()), silence]);
        // Two are no silence, and neither are many of one second.
        let few = [at(60, absent), at(900, absent), at(901, paired)];
        let missing = |decrypts| MissingKind::Records { decrypts, reads: 0 };
        assert_eq!(gaps(&few), [(0, HOUR, missing(2))]);
        let burst = [at(60, absent), at(61, absent), at(61, absent)];
        assert_eq!(gaps(&burst), [(0, HOUR, missing(3))]);
    }

    #[test]
    fn a_read_that_failed_needs_no_kms_events() {
        let mut failed = access(3, AccessMethod::Api, DecryptStatus::Unknown);
        Arc::make_mut(&mut failed.head).outcome = CallOutcome::Failed;
        assert_eq!(reported(&[failed], &[]), []);
    }
}
