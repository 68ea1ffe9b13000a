//! Hours of the day, apart from the others, in which a reader reads now and then.

use std::collections::BTreeMap;

use crate::baseline::{
    pairs::{ENOUGH_READS, Uses},
    reader::ReaderHistory,
};

/// Hours without reads that part two blocks.
const GAP_HOURS: i64 = 3;

/// Days from which on reads at an hour are more than a chance.
const DAYS: usize = 3;

/// A job reads on nearly all days: on so many of a hundred.
const JOB_PERCENT: usize = 75;

/// A remark about reads at hours of their own, on some days only: a job would read on all days.
/// `None` without such, for people, and for few reads.
pub(super) fn odd_hours(history: &ReaderHistory) -> Option<String> {
    let all = history.reads();
    if !history.is_workload || all < ENOUGH_READS {
        return None;
    }
    let mut days = Uses::default();
    history.hours.values().for_each(|uses| days.merge(uses));
    let blocks = blocks(&history.hours).into_iter();
    let mut odd = blocks.filter(|(_, _, uses)| {
        let on = uses.days.len();
        uses.reads * 4 < all && on >= DAYS && on * 100 < days.days.len() * JOB_PERCENT
    });
    let (from, to, uses) = odd.next()?;
    let (reads, to) = (uses.reads, (to + 1).rem_euclid(24));
    Some(format!(
        "{reads} of {all} reads at other hours: {from:02}:00 to {to:02}:00 UTC"
    ))
}

/// Blocks of hours between which there are some without reads: first and last hour.
fn blocks(hours: &BTreeMap<i64, Uses>) -> Vec<(i64, i64, Uses)> {
    let mut found: Vec<(i64, i64, Uses)> = Vec::new();
    for (hour, uses) in hours {
        match found.last_mut() {
            Some((_, to, block)) if hour - *to < GAP_HOURS => {
                *to = *hour;
                block.merge(uses);
            }
            _ => found.push((*hour, *hour, uses.clone())),
        }
    }
    // Midnight parts nothing.
    let goes_on = found.len() > 1
        && found
            .first()
            .zip(found.last())
            .is_some_and(|((first, _, _), (_, last, _))| first + 24 - last < GAP_HOURS);
    if goes_on
        && let Some((from, _, late)) = found.pop()
        && let Some((start, _, early)) = found.first_mut()
    {
        *start = from;
        early.merge(&late);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::EventTime;

    fn hours(reads: &[(i64, i64)]) -> BTreeMap<i64, Uses> {
        let mut hours: BTreeMap<i64, Uses> = BTreeMap::new();
        for (hour, days) in reads {
            for day in 0..*days {
                let uses = hours.entry(*hour).or_default();
                uses.add(EventTime(day * 86_400 + hour * 3_600));
            }
        }
        hours
    }

    #[test]
    fn blocks_go_over_midnight() {
        let found = blocks(&hours(&[(0, 1), (9, 2), (11, 1), (23, 3)]));
        let found: Vec<_> = found
            .iter()
            .map(|(a, b, uses)| (*a, *b, uses.reads))
            .collect();
        assert_eq!(found, [(23, 0, 4), (9, 11, 3)]);
        assert!(blocks(&hours(&[])).is_empty());
    }
}
