//! Windows that any one fact fills: rules about single events with a `suppress` period, and
//! correlations that ask for one event. The first event raises the alert of its bucket, and those
//! that follow are held back.
//!
//! Nobody has all facts of such a window: online, each part of a batch is evaluated for itself, and
//! the store merges the alerts ([`Alert::merged`]). So that this is the alert of all facts, such a
//! window contains only facts of its own bucket, and of a long bucket only those of the first day
//! that has any: an incident does not grow for a month because a rule holds back for so long.
//!
//! [`Alert::merged`]: crate::alert::Alert::merged

use super::WindowTally;
use crate::{
    alert::WindowMatch,
    fact::Fact,
    ids::SharedStr,
    limits::{DAY_SECS, HELD_BACK_SECS},
    rule::WindowRule,
    time::EventTime,
};

/// The match of each bucket that has a fact between two times, both inclusive, with its facts.
pub(super) fn evaluate<'f>(
    window: &WindowRule,
    group: &[(SharedStr, SharedStr)],
    sorted: &[&'f Fact],
    ends: (EventTime, EventTime),
) -> Vec<(WindowMatch, Vec<&'f Fact>)> {
    let secs = window.suppress_secs;
    let buckets = sorted.chunk_by(|a, b| a.time.start_of(secs) == b.time.start_of(secs));
    let touched = buckets.filter(|facts| {
        let mut times = facts.iter().map(|fact| fact.time);
        times.any(|time| (ends.0..=ends.1).contains(&time))
    });
    touched
        .filter_map(|facts| of_bucket(window, group, facts))
        .collect()
}

fn of_bucket<'f>(
    window: &WindowRule,
    group: &[(SharedStr, SharedStr)],
    facts: &[&'f Fact],
) -> Option<(WindowMatch, Vec<&'f Fact>)> {
    let first = facts.first()?.time;
    let bucket = first.0.div_euclid(window.suppress_secs);
    let start = first.start_of(window.suppress_secs);
    let day = (first.0 - start.0).div_euclid(DAY_SECS);
    let over = start.plus((day + 1) * DAY_SECS);
    let facts = facts.iter().take_while(|fact| fact.time < over);
    let facts: Vec<&Fact> = facts.copied().collect();
    let mut tally = WindowTally::default();
    facts.iter().for_each(|fact| tally.add(fact));
    let count = tally.meets(&window.condition)?;
    let end = facts.last()?.time;
    let window_match = WindowMatch {
        group: group.to_vec(),
        bucket,
        start: end.plus(-window.suppress_secs),
        end,
        count,
    };
    Some((window_match, facts))
}

/// First and last time of an alert that rests on such facts, in order of time. It lasts until the
/// first of them in the hour of the last: online, an alert that is raised again with every file is
/// written again only when an hour begins.
pub(crate) fn lasts(facts: &[&Fact]) -> Option<(EventTime, EventTime)> {
    let (first, last) = (facts.first()?.time, facts.last()?.time);
    let hour = last.start_of(HELD_BACK_SECS);
    let time = facts
        .iter()
        .map(|fact| fact.time)
        .find(|time| *time >= hour);
    Some((first, time.unwrap_or(last)))
}
