//! KMS coverage: where and when KMS events were seen. Only there does a missing Decrypt prove
//! anything.

use std::collections::BTreeMap;

use ahash::{HashMap, HashSet};

use crate::ids::SharedStr;
use crate::limits::COVERAGE_BUCKET_SECS;
use crate::time::EventTime;

/// An hour in which KMS events were seen in one account and region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoverageMark {
    /// `recipientAccountId`: 12-digit account id.
    pub account: SharedStr,
    /// `awsRegion`, e.g. `eu-west-1`.
    pub region: SharedStr,
    /// Event time divided by [`COVERAGE_BUCKET_SECS`]: hours since 1970 in UTC.
    pub bucket: i64,
}

impl CoverageMark {
    /// The mark of an event.
    #[must_use]
    pub fn at(account: SharedStr, region: SharedStr, time: EventTime) -> Self {
        Self {
            account,
            region,
            bucket: time.0.div_euclid(COVERAGE_BUCKET_SECS),
        }
    }

    /// This mark and those of the adjacent hours: any of them proves coverage.
    #[must_use]
    pub fn around(&self) -> [Self; 3] {
        [-1, 0, 1].map(|step| Self {
            bucket: self.bucket.saturating_add(step),
            ..self.clone()
        })
    }
}

/// Hours of one account and region, stored as ranges: three years without a gap take one entry.
#[derive(Debug, Default)]
pub struct HourRanges(BTreeMap<i64, i64>);

impl HourRanges {
    /// Adds an hour.
    pub fn add(&mut self, hour: i64) {
        if self.contains(hour) {
            return;
        }
        let end = self.0.remove(&hour.saturating_add(1)).unwrap_or(hour);
        let before = self
            .0
            .range_mut(..hour)
            .next_back()
            .filter(|(_, end)| **end == hour.saturating_sub(1));
        match before {
            Some((_, last)) => *last = end,
            None => drop(self.0.insert(hour, end)),
        }
    }

    /// Whether an hour was added.
    #[must_use]
    pub fn contains(&self, hour: i64) -> bool {
        self.0
            .range(..=hour)
            .next_back()
            .is_some_and(|(_, end)| *end >= hour)
    }

    fn hours(&self) -> impl Iterator<Item = i64> {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }
}

/// Coverage marks of a history of any length.
#[derive(Debug, Default)]
pub struct CoverageHours(HashMap<(SharedStr, SharedStr), HourRanges>);

impl CoverageHours {
    /// Whether this mark was added.
    #[must_use]
    pub fn contains(&self, mark: &CoverageMark) -> bool {
        let place = (mark.account.clone(), mark.region.clone());
        let hours = self.0.get(&place);
        hours.is_some_and(|hours| hours.contains(mark.bucket))
    }

    /// Adds the marks of another history.
    pub fn append(&mut self, other: Self) {
        for (place, hours) in other.0 {
            let known = self.0.entry(place).or_default();
            hours.hours().for_each(|hour| known.add(hour));
        }
    }

    /// All marks, those of one account and region at a time: one by one they need far more memory.
    pub fn by_place(&self) -> impl Iterator<Item = HashSet<CoverageMark>> {
        self.0.iter().map(|((account, region), hours)| {
            let mark = |bucket| CoverageMark {
                account: account.clone(),
                region: region.clone(),
                bucket,
            };
            hours.hours().map(mark).collect()
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
        for mark in marks {
            let place = (mark.account, mark.region);
            self.0.entry(place).or_default().add(mark.bucket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_those_that_were_added_in_any_order() {
        let added = [5, 3, 4, 9, -1, 3, 0, 8, 7];
        let mut hours = HourRanges::default();
        added.iter().for_each(|hour| hours.add(*hour));
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
    fn the_marks_of_two_histories_are_those_of_both_by_place() {
        let mark = |region: &str, bucket| CoverageMark {
            account: "1".into(),
            region: region.into(),
            bucket,
        };
        let (mut all, mut other) = (CoverageHours::default(), CoverageHours::default());
        all.extend([mark("a", 1), mark("b", 1)]);
        other.extend([mark("a", 2), mark("a", 5), mark("b", 1)]);
        all.append(other);
        assert!(all.contains(&mark("a", 5)) && !all.contains(&mark("a", 3)));
        assert!(!all.contains(&mark("c", 1)));
        let mut places: Vec<HashSet<_>> = all.by_place().collect();
        places.sort_by_key(HashSet::len);
        let expected = [
            vec![mark("b", 1)],
            vec![mark("a", 1), mark("a", 2), mark("a", 5)],
        ];
        assert_eq!(places, expected.map(|marks| marks.into_iter().collect()));
    }
}
