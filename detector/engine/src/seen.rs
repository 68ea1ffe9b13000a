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

mod keys;

use ahash::{HashMap, HashSet};

use self::keys::{AccessKeys, SECRET_SLOTS, needed_for};
pub use self::keys::{item_of, remembered, remembered_change};
use crate::access::Access;
use crate::ids::SharedStr;
use crate::limits::{
    DAY_SECS, HABIT_SECS, OLD_HABIT_SECS, PROFILE_DAYS, PROFILE_QUANTILE, SEEN_GRAINS,
    SEEN_LOOKBACK_SECS, SEEN_WARM_UP_SECS,
};
use crate::time::EventTime;

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
    /// The principal with this network. `known` too for a principal whose networks never repeat.
    pub source: Novelty,
    /// The network, among the reads of the secret's account.
    pub account_source: Novelty,
    /// The principal with a network of this kind: private, VPC endpoint or public.
    pub class: Novelty,
    /// The principal with this program.
    pub client: Novelty,
    /// The principal with this method.
    pub method: Novelty,
    /// The person behind the session, with whatever role; `unknown` for others.
    pub person: Novelty,
    /// The person with this hour of the day, give or take one; `unknown` for others.
    pub hour: Novelty,
    /// Whether the log has the creation of the secret within the day before.
    pub is_fresh: bool,
    /// Whether the principal rotates secrets: it reads pending versions.
    pub rotates: bool,
    /// About how many different secrets the principal reads on a busy day; `None` where too few
    /// days are known.
    pub secrets_a_day: Option<u64>,
}

/// When something was seen: the first event time in each grain of the lookback
/// ([`LookbackPeriods::grain_secs`]). Adding times gives the same in any order and any number of
/// times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenTimes(Vec<EventTime>);

impl SeenTimes {
    /// Adds an event time.
    pub fn add(&mut self, time: EventTime, grain_secs: i64) {
        let grain = grain(time, grain_secs);
        let place = self.first_from(grain, grain_secs);
        let known = self.0.get_mut(place);
        match known.filter(|known| self::grain(**known, grain_secs) == grain) {
            // The earliest time of a grain shows whether there was any before a given time. The
            // latest does not: each new read would make earlier accesses look new.
            Some(known) => *known = (*known).min(time),
            None => self.0.insert(place, time),
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
        self.0.drain(self.0.len().min(1)..end);
    }

    /// Drops the grains before that of a time, and returns whether any are left.
    pub(crate) fn forget(&mut self, before: EventTime, grain_secs: i64) -> bool {
        let end = self.first_from(grain(before, grain_secs), grain_secs);
        self.0.drain(..end);
        !self.0.is_empty()
    }

    /// Whether any time is before `before` and not before the grain of `oldest`.
    fn any_between(&self, oldest: EventTime, before: EventTime, grain_secs: i64) -> bool {
        let place = self.first_from(grain(oldest, grain_secs), grain_secs);
        self.0.get(place).is_some_and(|known| *known < before)
    }

    /// Number of grains with a time before `before`, from the grain of `oldest` on.
    fn count_between(&self, oldest: EventTime, before: EventTime, grain_secs: i64) -> usize {
        let first = self.first_from(grain(oldest, grain_secs), grain_secs);
        let end = self.0.partition_point(|known| *known < before);
        end.saturating_sub(first)
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
pub(crate) fn is_since_key(key: &str) -> bool {
    key.starts_with(SINCE)
}

/// All keys needed to judge the accesses, sorted.
#[must_use]
pub fn needed<'a>(accesses: impl Iterator<Item = &'a Access>) -> Vec<SharedStr> {
    let distinct: HashSet<SharedStr> = accesses.flat_map(needed_for).collect();
    let mut all: Vec<SharedStr> = distinct.into_iter().collect();
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
            times.0.into_iter().map(move |time| Sighting {
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

/// Judges novelty by recorded sightings.
#[derive(Debug)]
pub struct NoveltyJudge {
    lookback: LookbackPeriods,
    known: HashMap<SharedStr, SeenTimes>,
}

impl NoveltyJudge {
    /// Starts from the times that a store has recorded.
    #[must_use]
    pub fn new(
        lookback: LookbackPeriods,
        known: impl IntoIterator<Item = (SharedStr, SeenTimes)>,
    ) -> Self {
        Self {
            lookback,
            known: known.into_iter().collect(),
        }
    }

    /// Starts from accesses, and the times at which the logs of accounts begin.
    #[must_use]
    pub fn of<'a>(
        lookback: LookbackPeriods,
        since: impl IntoIterator<Item = Sighting>,
        accesses: impl IntoIterator<Item = &'a Access>,
    ) -> Self {
        let sightings = accesses.into_iter().flat_map(remembered);
        Self {
            lookback,
            known: by_key(since.into_iter().chain(sightings), lookback),
        }
    }

    /// Judges an access by what was seen before its event time. Accesses in the same second do not
    /// make each other known.
    #[must_use]
    pub fn judge(&self, access: &Access) -> SeenVerdicts {
        let time = access.head.time;
        let since = self
            .known
            .get(&since_key(&access.head.account))
            .and_then(SeenTimes::first);
        let keys = AccessKeys::of(access);
        let novelty = |key: &Option<SharedStr>| match key {
            Some(key) => self.novelty(key, since, time),
            None => Novelty::Unknown,
        };
        let was_settled = |key: &SharedStr| self.is_habit(key, time);
        let is_known_for = |secs: i64| {
            let before = time.plus(-secs.min(self.lookback.warm_up_secs));
            let principal = keys.principal.as_ref();
            principal.is_some_and(|principal| self.is_known_from(principal, time, before))
        };
        let is_settled = is_known_for(HABIT_SECS);
        let new = |since: Option<EventTime>| match since {
            Some(since) if since <= time.plus(-self.lookback.warm_up_secs) => Novelty::First,
            _ => Novelty::Unknown,
        };
        let settled_novelty = |key: &Option<SharedStr>| match key {
            Some(key) if was_settled(key) => Novelty::Known,
            Some(_) => new(since),
            None => Novelty::Unknown,
        };
        let habit = |key: &Option<SharedStr>| match settled_novelty(key) {
            Novelty::First if !is_settled => Novelty::Unknown,
            novelty => novelty,
        };
        let profile = &keys.profile;
        let mut slots = profile.roam_slots().peekable();
        let roams = slots.peek().is_some() && slots.all(|slot| was_settled(&slot));
        let day = time.plus(-DAY_SECS);
        SeenVerdicts {
            principal_secret: novelty(&keys.principal_secret),
            principal: novelty(&keys.principal),
            region: novelty(&keys.region),
            source: match habit(&keys.source) {
                Novelty::First if roams => Novelty::Known,
                novelty => novelty,
            },
            account_source: settled_novelty(&keys.account_source),
            class: habit(&profile.class),
            client: habit(&profile.client),
            method: habit(&profile.method),
            person: novelty(&profile.person),
            hour: match profile.hours.first() {
                Some(_) if profile.hours.iter().any(was_settled) => Novelty::Known,
                // Hours are a habit only after a week of work.
                Some(_) if is_known_for(PROFILE_DAYS as i64 * DAY_SECS) => Novelty::First,
                _ => Novelty::Unknown,
            },
            is_fresh: keys.created.is_some_and(|key| {
                let created = self.known.get(&key);
                created.is_some_and(|times| times.any_from(day, time.plus(1)))
            }),
            rotates: profile.rotates.as_ref().is_some_and(was_settled),
            secrets_a_day: self.secrets_a_day(profile.secret_slots(), time),
        }
    }

    /// Whether something was seen within the lookback before a time.
    fn is_known(&self, key: &SharedStr, time: EventTime) -> bool {
        self.is_known_from(key, time, time)
    }

    /// Whether something was seen within the lookback of a time, and before another one.
    fn is_known_from(&self, key: &SharedStr, time: EventTime, before: EventTime) -> bool {
        let oldest = time.plus(-self.lookback.lookback_secs);
        let grain_secs = self.lookback.grain_secs();
        let times = self.known.get(key);
        times.is_some_and(|times| times.any_between(oldest, before, grain_secs))
    }

    /// Whether something is a habit at a time: it was seen some days before, and on more than one
    /// day, or long before. An intruder must not become known by his first reads.
    fn is_habit(&self, key: &SharedStr, time: EventTime) -> bool {
        let before = |secs: i64| time.plus(-secs.min(self.lookback.warm_up_secs));
        let often = || {
            let oldest = time.plus(-self.lookback.lookback_secs);
            let grain_secs = self.lookback.grain_secs();
            let times = self.known.get(key);
            times.is_some_and(|times| times.count_between(oldest, time, grain_secs) > 1)
        };
        self.is_known_from(key, time, before(HABIT_SECS))
            && (self.is_known_from(key, time, before(OLD_HABIT_SECS)) || often())
    }

    fn novelty(&self, key: &SharedStr, since: Option<EventTime>, time: EventTime) -> Novelty {
        // Known needs no warm-up: one sighting proves it, however short the logs are.
        if self.is_known(key, time) {
            Novelty::Known
        } else if since.is_some_and(|since| since <= time.plus(-self.lookback.warm_up_secs)) {
            Novelty::First
        } else {
            Novelty::Unknown
        }
    }

    /// A high quantile of the number of different secrets on the days before that of a time.
    ///
    /// Each secret falls into one of a few slots, and the slots of a day are counted: of `n` secrets
    /// in `m` slots, `m * (1 - 1/e^(n/m))` are taken (linear counting).
    fn secrets_a_day(
        &self,
        slots: impl Iterator<Item = SharedStr>,
        time: EventTime,
    ) -> Option<u64> {
        let today = grain(time, DAY_SECS);
        let oldest = grain(time.plus(-self.lookback.lookback_secs), DAY_SECS);
        let mut days: HashMap<i64, u64> = HashMap::default();
        for slot in slots {
            let times = self.known.get(&slot).into_iter().flat_map(SeenTimes::iter);
            let seen: HashSet<i64> = times.map(|time| grain(time, DAY_SECS)).collect();
            for day in seen {
                if oldest <= day && day < today {
                    *days.entry(day).or_default() += 1;
                }
            }
        }
        let mut taken: Vec<u64> = days.into_values().collect();
        if taken.len() < PROFILE_DAYS {
            return None;
        }
        taken.sort_unstable();
        let busy = taken.len() * PROFILE_QUANTILE / 100;
        let busy = taken.get(busy.min(taken.len() - 1)).copied()?;
        let slots = SECRET_SLOTS as f64;
        // A full table would stand for any number.
        let free = (slots - busy as f64).max(0.5);
        Some((slots * (slots / free).ln()).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::access::sample;
    use crate::observation::CallOutcome;

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
            let mut times = SeenTimes((0..5).map(EventTime).collect());
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
        expected.extend(["profile"; 4]);
        assert_eq!(kinds(&denied), expected);
        Arc::make_mut(&mut denied.head).outcome = CallOutcome::Denied;
        assert_eq!(remembered(&denied).count(), 0);
        // It is judged nonetheless.
        assert!(needed([&denied].into_iter()).len() > 4);
    }
}
