//! KMS coverage: where and when KMS events were seen. Only there does a missing Decrypt prove
//! anything.

use std::collections::BTreeMap;

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
        // The hour may close a hole: the ranges on both sides of it become one.
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
}
