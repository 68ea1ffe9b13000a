//! Novelty (`seen.*` in rules): whether a principal is new to a secret, new to all secrets, or a
//! region new to an account.
//!
//! Judged once, at final evaluation, by the sightings recorded until then. Only successful reads
//! are recorded, with their event times, so that the order of arrival does not matter. An access is
//! `first` when nothing of its kind was seen within the lookback before it and the logs of the
//! account cover the warm-up; when they do not, it is `unknown`, so that the first days of a log
//! raise no alerts.
//!
//! The same memory holds the profile of each principal: its networks, clients and methods, and how
//! many different secrets it reads in a day.

mod judge;
mod keys;
pub mod usual;

use std::sync::Arc;

use ahash::HashMap;

use self::keys::needed_for;
pub(crate) use self::keys::{AccessKeys, remembered_by};
pub use self::{
    judge::NoveltyJudge,
    keys::{item_of, remembered, remembered_change, remembered_early},
};
use crate::{
    access::Access,
    ids::SharedStr,
    limits::{DAY_SECS, SEEN_GRAINS, SEEN_LOOKBACK_SECS, SEEN_WARM_UP_SECS},
    time::EventTime,
};

/// Whether something was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Novelty {
    /// Not seen within the lookback, and the logs cover the warm-up.
    First,
    /// Seen within the lookback.
    Known,
    /// The logs of the account do not cover the warm-up, or the record names no principal or no
    /// secret.
    Unknown,
}

impl Novelty {
    /// The name in rules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Known => "known",
            Self::Unknown => "unknown",
        }
    }
}

/// Novelty of an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenVerdicts {
    /// The principal with this secret.
    pub principal_secret: Novelty,
    /// The principal with any secret.
    pub principal: Novelty,
    /// The region, among the reads of the secret's account.
    pub region: Novelty,
    /// The principal with this secret, as a habit.
    pub usual: Novelty,
    /// The principal with this network.
    pub network: Novelty,
    /// The same; `known` too for a principal whose networks never repeat.
    pub source: Novelty,
    /// The network, among the reads of the secret's account.
    pub account_source: Novelty,
    /// The principal with a network of this kind: private, VPC endpoint or public.
    pub class: Novelty,
    /// The principal with the country of this address; `unknown` without `--geoip`.
    pub country: Novelty,
    /// The principal with the autonomous system of this address; `unknown` without `--geoip`.
    pub asn: Novelty,
    /// The principal with this program.
    pub client: Novelty,
    /// The principal with this long-term access key; `unknown` for credentials of sessions.
    pub access_key: Novelty,
    /// The principal with this method.
    pub method: Novelty,
    /// The principal with any secret in the folder of this one, a day before; `unknown` for a
    /// secret in no folder of an application.
    pub folder: Novelty,
    /// The person behind the session, with whatever role; `unknown` for others.
    pub person: Novelty,
    /// The person with this hour of the day, give or take one; `unknown` for others.
    pub hour: Novelty,
    /// Whether the logs of the account begin at most the allowed lateness before, so that the other
    /// half of the read may lie before their beginning.
    pub is_at_start: bool,
    /// Whether the log has the creation of the secret within the day before.
    pub is_fresh: bool,
    /// Whether the access is a step of a rotation of the secret, by who writes the new value.
    pub is_rotated: bool,
    /// Whether the principal rotates secrets: it reads pending versions.
    pub rotates: bool,
    /// About how many different secrets the principal reads on a busy day; `None` where too few
    /// days are known.
    pub secrets_a_day: Option<u64>,
}

/// When something was seen: the first event time in each grain of the lookback
/// ([`LookbackPeriods::grain_secs`]). Adding times gives the same in any order and any number of
/// times.
///
/// Shared: a store in memory gives all times of a profile for each access.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenTimes(Arc<Vec<EventTime>>);

impl SeenTimes {
    /// Adds an event time.
    pub fn add(&mut self, time: EventTime, grain_secs: i64) {
        let grain = grain(time, grain_secs);
        let place = self.first_from(grain, grain_secs);
        // The earliest time of a grain shows whether there was any before a given time. The latest
        // does not: each new read would make earlier accesses look new.
        match self.0.get(place) {
            Some(known) if self::grain(*known, grain_secs) != grain => {
                Arc::make_mut(&mut self.0).insert(place, time);
            }
            Some(known) if *known <= time => {}
            Some(_) => {
                if let Some(known) = Arc::make_mut(&mut self.0).get_mut(place) {
                    *known = time;
                }
            }
            None => Arc::make_mut(&mut self.0).push(time),
        }
    }

    /// The earliest time; `None` when nothing was seen.
    #[must_use]
    pub fn first(&self) -> Option<EventTime> {
        self.0.first().copied()
    }

    /// All times, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = EventTime> + '_ {
        self.0.iter().copied()
    }

    /// Drops all times but the earliest and the `latest` most recent ones.
    pub fn keep(&mut self, latest: usize) {
        // The earliest time shows when the logs of an account begin.
        let end = self.0.len().saturating_sub(latest).max(1).min(self.0.len());
        let start = self.0.len().min(1);
        if start < end {
            Arc::make_mut(&mut self.0).drain(start..end);
        }
    }

    /// Drops the grains before that of a time, and returns whether any are left.
    pub(crate) fn forget(&mut self, before: EventTime, grain_secs: i64) -> bool {
        let end = self.first_from(grain(before, grain_secs), grain_secs);
        if end > 0 {
            Arc::make_mut(&mut self.0).drain(..end);
        }
        !self.0.is_empty()
    }

    /// Whether any time is before `before` and not before the grain of `oldest`.
    fn any_between(&self, oldest: EventTime, before: EventTime, grain_secs: i64) -> bool {
        let place = self.first_from(grain(oldest, grain_secs), grain_secs);
        self.0.get(place).is_some_and(|known| *known < before)
    }

    /// Number of days (UTC) with a time from the first time on and before the second.
    fn days_between(&self, first: EventTime, before: EventTime) -> usize {
        let start = self.0.partition_point(|known| *known < first);
        let end = self.0.partition_point(|known| *known < before);
        let times = self.0.get(start..end).unwrap_or_default();
        times.chunk_by(|a, b| day(*a) == day(*b)).count()
    }

    /// The days (UTC) with a time, in ascending order.
    fn days(&self) -> impl Iterator<Item = i64> + '_ {
        let days = self.0.chunk_by(|a, b| day(*a) == day(*b));
        days.filter_map(|times| times.first().map(|time| day(*time)))
    }

    /// Whether any time is from `first` on and before `before`.
    fn any_from(&self, first: EventTime, before: EventTime) -> bool {
        self.iter().any(|time| first <= time && time < before)
    }

    /// Index of the first time in this grain or a later one.
    fn first_from(&self, first: i64, grain_secs: i64) -> usize {
        self.0
            .partition_point(|known| grain(*known, grain_secs) < first)
    }
}

/// The day that a time is in.
fn day(time: EventTime) -> i64 {
    grain(time, DAY_SECS)
}

/// The number of the grain that a time is in.
fn grain(time: EventTime, grain_secs: i64) -> i64 {
    time.0.div_euclid(grain_secs)
}

/// A time at which something was seen, to be recorded under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// What was seen: see [`remembered`] and [`since_key`].
    pub key: SharedStr,
    /// Event time.
    pub time: EventTime,
}

/// Lookback and warm-up, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookbackPeriods {
    /// Something that was not seen for this long is new again.
    pub lookback_secs: i64,
    /// Nothing is new until the logs of an account reach back this far.
    pub warm_up_secs: i64,
}

impl LookbackPeriods {
    /// Length of a grain in seconds: the unit in which times are recorded and dropped, so that what
    /// is seen all the time is not written each time. A day, with the default lookback.
    #[must_use]
    pub fn grain_secs(&self) -> i64 {
        (self.lookback_secs / SEEN_GRAINS).max(1)
    }
}

impl Default for LookbackPeriods {
    fn default() -> Self {
        Self {
            lookback_secs: SEEN_LOOKBACK_SECS,
            warm_up_secs: SEEN_WARM_UP_SECS,
        }
    }
}

/// Prefix of the keys of accounts.
const SINCE: &str = "since\n";

/// The key under which a store records when its logs of an account begin.
#[must_use]
pub fn since_key(account: &str) -> SharedStr {
    format!("{SINCE}{account}").into()
}

/// Whether a key is one of [`since_key`].
#[must_use]
pub fn is_since_key(key: &str) -> bool {
    key.starts_with(SINCE)
}

/// All keys needed to judge the accesses, sorted.
#[must_use]
pub(crate) fn needed<'a>(
    accesses: impl Iterator<Item = (&'a Access, &'a AccessKeys)>,
) -> Vec<SharedStr> {
    let mut all: Vec<SharedStr> = needed_for(accesses).into_iter().collect();
    all.sort_unstable();
    all
}

/// Reduces sightings to the earliest time of each key and grain.
#[must_use]
pub fn condensed(
    sightings: impl IntoIterator<Item = Sighting>,
    lookback: LookbackPeriods,
) -> Vec<Sighting> {
    let known = by_key(sightings, lookback).into_iter();
    known
        .flat_map(|(key, times)| {
            let times: Vec<EventTime> = times.iter().collect();
            times.into_iter().map(move |time| Sighting {
                key: key.clone(),
                time,
            })
        })
        .collect()
}

fn by_key(
    sightings: impl IntoIterator<Item = Sighting>,
    lookback: LookbackPeriods,
) -> HashMap<SharedStr, SeenTimes> {
    let mut known: HashMap<SharedStr, SeenTimes> = HashMap::default();
    for Sighting { key, time } in sightings {
        known
            .entry(key)
            .or_default()
            .add(time, lookback.grain_secs());
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access::sample, observation::CallOutcome};

    const DAY: i64 = 86_400;
    const LOOKBACK: LookbackPeriods = LookbackPeriods {
        lookback_secs: 90 * DAY,
        warm_up_secs: 7 * DAY,
    };

    /// A read of [`sample`]'s secret by its principal at a time.
    fn at(secs: i64) -> Access {
        let mut access = sample();
        Arc::make_mut(&mut access.head).time = EventTime(secs);
        access
    }

    fn judge(since: i64, before: &[i64]) -> NoveltyJudge {
        let since = Sighting {
            key: since_key("111122223333"),
            time: EventTime(since),
        };
        let accesses: Vec<Access> = before.iter().map(|secs| at(*secs)).collect();
        NoveltyJudge::of(LOOKBACK, [since], &accesses)
    }

    #[test]
    fn times_are_the_same_in_any_order_and_number() {
        let added = |secs: &[i64]| {
            let mut times = SeenTimes::default();
            secs.iter().for_each(|s| times.add(EventTime(*s), 10));
            times.iter().map(|time| time.0).collect::<Vec<_>>()
        };
        let expected = [-5, 3, 21];
        assert_eq!(added(&[3, 7, 21, 29, -5]), expected);
        assert_eq!(added(&[-5, 29, 7, 21, 3, 29, 7]), expected);
    }

    #[test]
    fn the_first_time_ever_outlives_all_but_the_latest() {
        let kept = |latest: usize| {
            let mut times = SeenTimes(Arc::new((0..5).map(EventTime).collect()));
            times.keep(latest);
            times.iter().map(|time| time.0).collect::<Vec<_>>()
        };
        assert_eq!(kept(0), [0]);
        assert_eq!(kept(2), [0, 3, 4]);
        assert_eq!(kept(5), [0, 1, 2, 3, 4]);
        let mut none = SeenTimes::default();
        none.keep(3);
        assert_eq!(none.first(), None);
    }

    #[test]
    fn nothing_is_new_before_the_logs_go_back_far_enough() {
        let early = judge(0, &[]).judge(&at(7 * DAY - 1));
        assert_eq!(early.principal_secret, Novelty::Unknown);
        let late = judge(0, &[]).judge(&at(7 * DAY));
        assert_eq!(late.principal_secret, Novelty::First);
        // What was seen is known from the first day on.
        let again = judge(0, &[10]).judge(&at(20));
        assert_eq!(again.principal_secret, Novelty::Known);
    }

    #[test]
    fn an_access_does_not_make_itself_or_its_second_known() {
        let now = 30 * DAY;
        let seen = judge(0, &[now, now, now + 1]).judge(&at(now));
        assert_eq!(seen.principal_secret, Novelty::First);
    }

    #[test]
    fn what_was_last_seen_before_the_lookback_is_new_again() {
        let known = |days: i64| judge(0, &[DAY]).judge(&at(days * DAY)).principal;
        assert_eq!(known(91), Novelty::Known);
        assert_eq!(known(92), Novelty::First);
    }

    #[test]
    fn who_is_not_named_is_neither_new_nor_known() {
        let mut access = at(30 * DAY);
        access.secret.name = None;
        let seen = judge(0, &[]).judge(&access);
        assert_eq!(seen.principal_secret, Novelty::Unknown);
        assert_eq!(seen.principal, Novelty::First);
    }

    #[test]
    fn only_what_succeeded_is_remembered() {
        let mut denied = at(0);
        let kinds = |access: &Access| -> Vec<String> {
            let keys = remembered(access).map(|sighting| sighting.key);
            keys.map(|key| key.split('\n').next().unwrap_or_default().to_owned())
                .collect()
        };
        let mut expected = vec!["pair", "principal", "region", "source", "network"];
        expected.extend(["profile"; 5]);
        assert_eq!(kinds(&denied), expected);
        Arc::make_mut(&mut denied.head).outcome = CallOutcome::Denied;
        assert_eq!(remembered(&denied).count(), 0);
        // It is judged nonetheless.
        let keys = AccessKeys::of(&denied);
        assert!(needed([(&denied, &keys)].into_iter()).len() > 4);
    }
}
