//! KMS coverage: where and when KMS events were seen. Only there does a missing Decrypt prove
//! anything.

use std::collections::BTreeMap;

use ahash::{HashMap, HashSet};

use crate::{ids::SharedStr, limits::COVERAGE_BUCKET_SECS, time::EventTime};

/// Hours in a row in which KMS events were seen in one account and region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoverageMark {
    /// `recipientAccountId`: 12-digit account id.
    pub account: SharedStr,
    /// `awsRegion`, e.g. `eu-west-1`.
    pub region: SharedStr,
    /// The first hour: event time divided by [`COVERAGE_BUCKET_SECS`], hours since 1970 in UTC.
    pub bucket: i64,
    /// Number of hours, at least 1. An event marks one; an extract file may tell of years.
    pub hours: i64,
}

impl CoverageMark {
    /// The mark of an event.
    #[must_use]
    pub fn at(account: SharedStr, region: SharedStr, time: EventTime) -> Self {
        Self {
            account,
            region,
            bucket: time.0.div_euclid(COVERAGE_BUCKET_SECS),
            hours: 1,
        }
    }

    /// The first hour and those beside it: any of them proves coverage.
    #[must_use]
    pub fn around(&self) -> [Self; 3] {
        [-1, 0, 1].map(|step| self.after(step))
    }

    /// The first hour, so many before it, and the next: where KMS events in any of them show that
    /// they are logged.
    pub fn since(&self, hours_before: i64) -> impl Iterator<Item = Self> + '_ {
        (-hours_before..=1).map(|step| self.after(step))
    }

    /// The hour so many hours after the first one.
    fn after(&self, hours: i64) -> Self {
        Self {
            bucket: self.bucket.saturating_add(hours),
            hours: 1,
            ..self.clone()
        }
    }

    /// Its hours, each as a mark of its own.
    pub fn each(&self) -> impl Iterator<Item = Self> + '_ {
        let hours = self.bucket..self.bucket.saturating_add(self.hours);
        hours.map(|bucket| Self {
            bucket,
            hours: 1,
            ..self.clone()
        })
    }
}

/// The marks of a history of any length, as ranges of hours by account and region.
#[derive(Debug, Default)]
pub struct CoverageHours(HashMap<(SharedStr, SharedStr), HourRanges>);

impl CoverageHours {
    /// Adds the hours of a mark.
    pub fn add(&mut self, mark: &CoverageMark) {
        let place = (mark.account.clone(), mark.region.clone());
        let last = mark.bucket.saturating_add(mark.hours - 1);
        self.0.entry(place).or_default().add(mark.bucket, last);
    }

    /// Adds the marks of another history.
    pub fn append(&mut self, other: Self) {
        for (place, hours) in other.0 {
            let known = self.0.entry(place).or_default();
            for (first, last) in hours.0 {
                known.add(first, last);
            }
        }
    }

    /// Whether the first hour of a mark was added.
    #[must_use]
    pub fn contains(&self, mark: &CoverageMark) -> bool {
        let place = (mark.account.clone(), mark.region.clone());
        let hours = self.0.get(&place);
        hours.is_some_and(|hours| hours.contains(mark.bucket))
    }

    /// All hours as marks of ranges, those of one account and region at a time.
    pub fn by_place(&self) -> impl Iterator<Item = HashSet<CoverageMark>> {
        self.0.iter().map(|((account, region), hours)| {
            let ranges = hours.0.iter();
            let marks = ranges.map(|(first, last)| CoverageMark {
                account: account.clone(),
                region: region.clone(),
                bucket: *first,
                hours: last.saturating_sub(*first).saturating_add(1),
            });
            marks.collect()
        })
    }
}

impl FromIterator<CoverageMark> for CoverageHours {
    fn from_iter<I: IntoIterator<Item = CoverageMark>>(marks: I) -> Self {
        let mut coverage = Self::default();
        coverage.extend(marks);
        coverage
    }
}

impl Extend<CoverageMark> for CoverageHours {
    fn extend<I: IntoIterator<Item = CoverageMark>>(&mut self, marks: I) {
        marks.into_iter().for_each(|mark| self.add(&mark));
    }
}

/// Hours of one account and region, stored as ranges: three years without a gap take one entry.
#[derive(Debug, Default)]
struct HourRanges(BTreeMap<i64, i64>);

impl HourRanges {
    /// Adds the hours from one to another, both included.
    fn add(&mut self, first: i64, last: i64) {
        let (mut first, mut last) = (first, last);
        // All ranges that overlap with these hours, or touch them, become one with them.
        while let Some((start, end)) = self.last_up_to(last.saturating_add(1)) {
            if end < first.saturating_sub(1) {
                break;
            }
            self.0.remove(&start);
            (first, last) = (first.min(start), last.max(end));
        }
        self.0.insert(first, last);
    }

    /// Whether an hour was added.
    fn contains(&self, hour: i64) -> bool {
        self.last_up_to(hour).is_some_and(|(_, end)| end >= hour)
    }

    /// The last range that starts at an hour or before it.
    fn last_up_to(&self, hour: i64) -> Option<(i64, i64)> {
        let (start, end) = self.0.range(..=hour).next_back()?;
        Some((*start, *end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_those_that_were_added_in_any_order() {
        let added = [5, 3, 4, 9, -1, 3, 0, 8, 7];
        let mut hours = HourRanges::default();
        added.iter().for_each(|hour| hours.add(*hour, *hour));
        assert_eq!(
            (-3..12)
                .filter(|hour| hours.contains(*hour))
                .collect::<Vec<_>>(),
            [-1, 0, 3, 4, 5, 7, 8, 9]
        );
        assert_eq!(
            hours.0.into_iter().collect::<Vec<_>>(),
            [(-1, 0), (3, 5), (7, 9)]
        );
    }

    #[test]
    fn ranges_that_overlap_or_touch_are_one() {
        let ranges = |added: &[(i64, i64)]| {
            let mut hours = HourRanges::default();
            added
                .iter()
                .for_each(|(first, last)| hours.add(*first, *last));
            hours.0.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(ranges(&[(0, 2), (8, 9), (4, 6)]), [(0, 2), (4, 6), (8, 9)]);
        assert_eq!(ranges(&[(0, 2), (4, 6), (8, 9), (3, 7)]), [(0, 9)]);
        assert_eq!(ranges(&[(0, 9), (3, 4)]), [(0, 9)]);
        assert_eq!(ranges(&[(3, 4), (0, 9)]), [(0, 9)]);
        let ends = [(i64::MIN, i64::MIN), (i64::MAX, i64::MAX)];
        assert_eq!(ranges(&ends), ends);
    }

    #[test]
    fn a_mark_of_many_hours_is_that_of_each() {
        let mut mark = CoverageMark::at("1".into(), "r".into(), EventTime(7_200));
        mark.hours = 3;
        let each: Vec<i64> = mark.each().map(|mark| mark.bucket).collect();
        assert_eq!(each, [2, 3, 4]);
        let mut covered = CoverageHours::default();
        covered.add(&mark);
        assert!(mark.each().all(|mark| covered.contains(&mark)));
        mark.bucket = 5;
        assert!(!covered.contains(&mark));
    }

    #[test]
    fn the_marks_of_two_histories_are_those_of_both_by_place() {
        let range = |region: &str, bucket, hours| CoverageMark {
            account: "1".into(),
            region: region.into(),
            bucket,
            hours,
        };
        let mark = |region: &str, bucket| range(region, bucket, 1);
        let (mut all, mut other) = (CoverageHours::default(), CoverageHours::default());
        all.extend([mark("a", 1), mark("b", 1)]);
        other.extend([mark("a", 2), mark("a", 5), mark("b", 1)]);
        all.append(other);
        assert!(all.contains(&mark("a", 5)) && !all.contains(&mark("a", 3)));
        assert!(!all.contains(&mark("c", 1)));
        let mut places: Vec<HashSet<_>> = all.by_place().collect();
        places.sort_by_key(HashSet::len);
        let expected = [vec![mark("b", 1)], vec![range("a", 1, 2), mark("a", 5)]];
        assert_eq!(places, expected.map(|marks| marks.into_iter().collect()));
    }
}
