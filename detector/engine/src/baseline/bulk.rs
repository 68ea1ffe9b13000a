//! Bulk reads: one principal reads many secrets in a short time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    access::Access,
    baseline::pairs::{SecretTarget, usable},
    ids::SharedStr,
    limits::DAY_SECS,
    time::EventTime,
};

/// Distinct secrets read by one principal within [`BULK_SECS`] that make a bulk read, as in the
/// built-in rule.
const BULK_SECRETS: usize = 20;

/// Length of the window in seconds.
const BULK_SECS: i64 = 600;

/// A read of one principal. Ordered by time; secret and event id make the order deterministic.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TimedRead {
    time: EventTime,
    target: SecretTarget,
    event: SharedStr,
}

/// Keys ([`EventHeader::event_key`](crate::observation::EventHeader::event_key)) of bulk reads by
/// principals that did so on one day only. Bulk reads on several days are taken for a job.
pub(super) fn bulk_reads(accesses: &[Arc<Access>]) -> BTreeSet<SharedStr> {
    let mut bulk = BTreeSet::new();
    for reads in by_principal(accesses).into_values() {
        let matches = in_full_windows(&reads);
        let times = matches.iter().map(|read| read.time.0);
        let span = times.clone().max().zip(times.min());
        // Any 24 hours: what goes over midnight is no job of two days.
        if span.is_some_and(|(last, first)| last - first < DAY_SECS) {
            bulk.extend(matches.into_iter().map(|read| read.event.clone()));
        }
    }
    bulk
}

/// The reads of each principal, sorted by time.
fn by_principal(accesses: &[Arc<Access>]) -> BTreeMap<SharedStr, Vec<TimedRead>> {
    let mut by_principal: BTreeMap<SharedStr, Vec<TimedRead>> = BTreeMap::new();
    for access in accesses {
        // Accesses omitted for another reason are reported under that reason and do not count here.
        if let Ok((principal, target)) = usable(access) {
            by_principal.entry(principal).or_default().push(TimedRead {
                time: access.head.time,
                target,
                event: access.head.event_key(),
            });
        }
    }
    by_principal.values_mut().for_each(|reads| reads.sort());
    by_principal
}

/// Of reads sorted by time, those in any window with at least [`BULK_SECRETS`] secrets.
fn in_full_windows(reads: &[TimedRead]) -> Vec<&TimedRead> {
    let (mut hit, mut marked) = (Vec::new(), 0);
    let mut window = BulkWindow::default();
    for (end, read) in reads.iter().enumerate() {
        window.slide_to(read, reads);
        // Takes the whole window, not only its last read, but no read again: windows that follow
        // each other share nearly all of their reads.
        if window.counts.len() >= BULK_SECRETS {
            let first = window.start.max(marked);
            hit.extend(reads.get(first..=end).unwrap_or_default());
            marked = end + 1;
        }
    }
    hit
}

/// A sliding window that ends at the current read.
#[derive(Default)]
struct BulkWindow<'r> {
    /// Index of the first read in the window.
    start: usize,
    /// Reads of each secret in the window, without zeros.
    counts: BTreeMap<&'r SecretTarget, usize>,
}

impl<'r> BulkWindow<'r> {
    fn slide_to(&mut self, read: &'r TimedRead, reads: &'r [TimedRead]) {
        *self.counts.entry(&read.target).or_default() += 1;
        // The start is exclusive, as in the windows of rules.
        let before = read.time.0 - BULK_SECS;
        let rest = reads.iter().skip(self.start);
        for old in rest.take_while(|old| old.time.0 <= before) {
            self.start += 1;
            if let Some(count) = self.counts.get_mut(&old.target) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&old.target);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pairs::read_by;
    use super::*;

    /// Reads of so many secrets, `step` seconds apart.
    fn burst(secrets: i64, start: i64, step: i64) -> Vec<Arc<Access>> {
        let read = |n| Arc::new(read_by("role", &format!("secret{n:03}"), start + n * step));
        (0..secrets).map(read).collect()
    }

    #[test]
    fn twenty_secrets_within_ten_minutes_are_a_bulk_read() {
        assert_eq!(bulk_reads(&burst(20, 0, 31)).len(), 20);
        assert_eq!(bulk_reads(&burst(19, 0, 31)).len(), 0);
        assert_eq!(
            bulk_reads(&burst(20, 0, 32)).len(),
            0,
            "the last is 608 s after the first"
        );
    }

    #[test]
    fn one_secret_read_often_is_none() {
        let read = |n| Arc::new(read_by("role", "db", n));
        let reads: Vec<_> = (0..100).map(read).collect();
        assert!(bulk_reads(&reads).is_empty());
    }

    #[test]
    fn only_the_reads_in_the_window_are_of_it() {
        let mut reads = burst(20, 5_000, 1);
        reads.push(Arc::new(read_by("role", "secret000", 100)));
        reads.push(Arc::new(read_by("another role", "secret001", 5_001)));
        let bulk = bulk_reads(&reads);
        assert_eq!(bulk.len(), 20);
        assert!(!bulk.contains("secret000@100"));
    }

    #[test]
    fn what_happens_on_two_days_is_a_job() {
        let reads = [burst(30, 0, 1), burst(30, 86_400, 1)].concat();
        assert!(bulk_reads(&reads).is_empty());
    }
}
