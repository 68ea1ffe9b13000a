//! Judges what is new about an access by recorded sightings.

use std::sync::{Mutex, PoisonError};

use ahash::HashMap;

use super::{
    LookbackPeriods, Novelty, SeenTimes, SeenVerdicts, Sighting, by_key, grain,
    keys::{AccessKeys, ROAMING, SECRET_LAYERS, SECRET_SLOTS, SECRETS_OF_LAYER},
    remembered, since_key,
};
use crate::{
    access::Access,
    ids::SharedStr,
    limits::{
        ALLOWED_LATENESS_SECS, DAY_SECS, HABIT_SECS, OLD_HABIT_SECS, PROFILE_DAYS, PROFILE_QUANTILE,
    },
    time::EventTime,
};

/// Judges novelty by recorded sightings.
#[derive(Debug)]
pub struct NoveltyJudge {
    lookback: LookbackPeriods,
    known: HashMap<SharedStr, SeenTimes>,
    /// Usual numbers of secrets by principal and day: the same for all its accesses of the day.
    usual: Mutex<HashMap<(SharedStr, i64), Option<u64>>>,
}

/// A function that rotates a secret is done within this time: it runs for 15 minutes at most.
const ROTATION_SECS: i64 = 900;

/// A function that rotates a secret reads the current value first, and writes the new one within
/// this time. It is short against the allowed lateness: the write is known when the read is judged.
const WRITTEN_WITHIN_SECS: i64 = 60;

/// The judgement about one access.
struct AccessJudgement<'j> {
    known: &'j HashMap<SharedStr, SeenTimes>,
    lookback: LookbackPeriods,
    keys: &'j AccessKeys,
    time: EventTime,
    /// When the logs of the account begin.
    since: Option<EventTime>,
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
            usual: Mutex::default(),
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
            usual: Mutex::default(),
        }
    }

    /// Judges an access by what was seen before its event time. Accesses in the same second do not
    /// make each other known.
    #[must_use]
    pub fn judge(&self, access: &Access) -> SeenVerdicts {
        self.judge_by(access, &AccessKeys::of(access))
    }

    /// Like [`Self::judge`], with the keys of the access.
    #[must_use]
    pub(crate) fn judge_by(&self, access: &Access, keys: &AccessKeys) -> SeenVerdicts {
        let since = self.known.get(&since_key(&access.head.account));
        let judgement = AccessJudgement {
            known: &self.known,
            lookback: self.lookback,
            keys,
            time: access.head.time,
            since: since.and_then(SeenTimes::first),
        };
        SeenVerdicts {
            secrets_a_day: self.secrets_a_day(&judgement),
            ..judgement.verdicts()
        }
    }

    fn secrets_a_day(&self, judgement: &AccessJudgement<'_>) -> Option<u64> {
        let principal = judgement.keys.principal.clone()?;
        let place = (principal, grain(judgement.time, DAY_SECS));
        // The map is usable even after a panic.
        let mut usual = self.usual.lock().unwrap_or_else(PoisonError::into_inner);
        let known = usual.entry(place);
        *known.or_insert_with(|| judgement.secrets_a_day())
    }
}

impl AccessJudgement<'_> {
    fn verdicts(&self) -> SeenVerdicts {
        let keys = self.keys;
        let profile = &keys.profile;
        SeenVerdicts {
            principal_secret: self.novelty(keys.principal_secret.as_ref()),
            principal: self.novelty(keys.principal.as_ref()),
            region: self.novelty(keys.region.as_ref()),
            usual: self.habit(keys.principal_secret.as_ref()),
            network: self.own_habit(keys.source.as_ref()),
            source: match self.own_habit(keys.source.as_ref()) {
                Novelty::First if self.roams() => Novelty::Known,
                novelty => novelty,
            },
            account_source: self.habit(keys.account_source.as_ref()),
            class: self.own_habit(profile.class.as_ref()),
            country: self.own_habit(profile.country.as_ref()),
            asn: self.own_habit(profile.asn.as_ref()),
            client: self.own_habit(profile.client.as_ref()),
            access_key: self.own_habit(profile.access_key.as_ref()),
            method: self.own_habit(profile.method.as_ref()),
            folder: self.folder(),
            person: self.habit(profile.person.as_ref()),
            hour: self.hour(),
            is_at_start: self.is_at_start(),
            is_fresh: self.is_fresh(),
            is_rotated: self.is_rotated(),
            rotates: profile
                .rotates
                .as_ref()
                .is_some_and(|key| self.is_habit(key)),
            secrets_a_day: None,
        }
    }

    /// Whether something was seen before; one sighting is enough.
    fn novelty(&self, key: Option<&SharedStr>) -> Novelty {
        match key {
            // Known needs no warm-up: one sighting proves it, however short the logs are.
            Some(key) if self.is_known_before(key, self.time) => Novelty::Known,
            Some(_) => self.unseen(),
            None => Novelty::Unknown,
        }
    }

    /// Whether something is a habit.
    fn habit(&self, key: Option<&SharedStr>) -> Novelty {
        match key {
            Some(key) if self.is_habit(key) => Novelty::Known,
            Some(_) => self.unseen(),
            None => Novelty::Unknown,
        }
    }

    /// Whether something is a habit of the principal, who may have none yet: a job that runs every
    /// fourth day has nothing that could be new at its second run.
    fn own_habit(&self, key: Option<&SharedStr>) -> Novelty {
        match self.habit(key) {
            Novelty::First if !self.has_habits() => Novelty::Unknown,
            novelty => novelty,
        }
    }

    fn has_habits(&self) -> bool {
        let mut classes = self.keys.profile.classes.iter();
        classes.any(|class| self.is_habit(class))
    }

    /// The verdict about what was not seen.
    fn unseen(&self) -> Novelty {
        let warm = self.before(self.lookback.warm_up_secs);
        if self.since.is_some_and(|since| since <= warm) {
            Novelty::First
        } else {
            Novelty::Unknown
        }
    }

    /// Whether the networks of the principal never repeat. Each of them is seen once: for a habit
    /// of each, the logs would have to reach back for weeks.
    fn roams(&self) -> bool {
        let slots = self.keys.profile.roam_slots();
        let known = slots.filter(|slot| self.was_seen_for(slot, HABIT_SECS));
        known.count() >= ROAMING
    }

    /// One read the day before is enough: it was judged by itself then.
    fn folder(&self) -> Novelty {
        match &self.keys.profile.folder {
            Some(key) if self.was_seen_for(key, DAY_SECS) => Novelty::Known,
            Some(_) => self.unseen(),
            None => Novelty::Unknown,
        }
    }

    fn hour(&self) -> Novelty {
        let hours = &self.keys.profile.hours;
        if hours.iter().any(|hour| self.is_habit(hour)) {
            Novelty::Known
        } else if !hours.is_empty() && self.principal_is_known_for(PROFILE_DAYS * DAY_SECS) {
            Novelty::First
        } else {
            Novelty::Unknown
        }
    }

    fn is_at_start(&self) -> bool {
        let reached = self.before(ALLOWED_LATENESS_SECS);
        self.since.is_none_or(|since| since >= reached)
    }

    fn is_fresh(&self) -> bool {
        let created = self
            .keys
            .created
            .as_ref()
            .and_then(|key| self.known.get(key));
        let (day, now) = (self.before(DAY_SECS), self.time.plus(1));
        created.is_some_and(|times| times.any_from(day, now))
    }

    /// Whether the access is a step of a rotation: it began shortly before, and the principal wrote
    /// a value of the secret.
    fn is_rotated(&self) -> bool {
        let from = self.before(ROTATION_SECS);
        let happened = |key: &Option<SharedStr>, until: EventTime| {
            let times = key.as_ref().and_then(|key| self.known.get(key));
            times.is_some_and(|times| times.any_from(from, until))
        };
        happened(&self.keys.rotation, self.time.plus(1))
            && happened(&self.keys.writer, self.time.plus(WRITTEN_WITHIN_SECS))
    }

    fn before(&self, secs: i64) -> EventTime {
        self.time.plus(-secs)
    }

    /// Whether the principal was seen so long ago.
    fn principal_is_known_for(&self, secs: i64) -> bool {
        let principal = self.keys.principal.as_ref();
        principal.is_some_and(|principal| self.was_seen_for(principal, secs))
    }

    /// Whether something was seen within the lookback of the access, and before a time.
    fn is_known_before(&self, key: &SharedStr, before: EventTime) -> bool {
        let oldest = self.before(self.lookback.lookback_secs);
        let times = self.known.get(key);
        times.is_some_and(|times| times.any_between(oldest, before, self.lookback.grain_secs()))
    }

    /// Whether something was seen some days before, and on more than one day, or long before. An
    /// intruder must not become known by his first reads.
    fn is_habit(&self, key: &SharedStr) -> bool {
        self.was_seen_for(key, HABIT_SECS)
            && (self.was_seen_for(key, OLD_HABIT_SECS) || self.was_seen_often(key))
    }

    /// Whether something was seen so long ago, or before the warm-up.
    fn was_seen_for(&self, key: &SharedStr, secs: i64) -> bool {
        self.is_known_before(key, self.before(secs.min(self.lookback.warm_up_secs)))
    }

    fn was_seen_often(&self, key: &SharedStr) -> bool {
        let oldest = self.before(self.lookback.lookback_secs);
        // Not today: a second use some days later must not be known by itself.
        let today = EventTime(grain(self.time, DAY_SECS) * DAY_SECS);
        let times = self.known.get(key);
        times.is_some_and(|times| times.days_between(oldest, today) > 1)
    }

    /// A high quantile of the number of different secrets on the days before that of the access;
    /// `None` where too few days are known.
    fn secrets_a_day(&self) -> Option<u64> {
        let today = grain(self.time, DAY_SECS);
        let oldest = grain(self.before(self.lookback.lookback_secs), DAY_SECS);
        let mut days: HashMap<i64, TakenSlots> = HashMap::default();
        for (layer, slot) in self.keys.profile.secret_slots() {
            let seen = self.known.get(&slot).into_iter().flat_map(SeenTimes::days);
            for day in seen.filter(|day| (oldest..today).contains(day)) {
                if let Some(taken) = days.entry(day).or_default().get_mut(layer) {
                    *taken += 1;
                }
            }
        }
        let mut read: Vec<u64> = days.into_values().map(counted).collect();
        if (read.len() as i64) < PROFILE_DAYS {
            return None;
        }
        read.sort_unstable();
        let busy = read.len() * PROFILE_QUANTILE / 100;
        read.get(busy.min(read.len() - 1)).copied()
    }
}

/// Number of taken slots in each layer.
type TakenSlots = [u64; SECRET_LAYERS];

/// Stands for more secrets than can be counted.
const MANY_SECRETS: u64 = 100_000;

/// A layer that takes fewer of the secrets which fill the layer before is not believed: a state
/// that was written before there were layers has none.
const LEAST_OF_LAYER: u64 = 4;

/// The number of secrets that take so many slots.
///
/// Each secret falls into one of a few slots: of `n` secrets in `m` slots, `m * (1 - 1/e^(n/m))`
/// are taken (linear counting). A layer that is nearly full stands for any number: then the next
/// one counts, which takes a part of the secrets only: that part may be small by chance, so that
/// one standard deviation is added to it.
fn counted(taken: TakenSlots) -> u64 {
    let mut secrets_of_one = 1;
    for (layer, taken) in taken.into_iter().enumerate() {
        if layer > 0 && taken < LEAST_OF_LAYER {
            break;
        }
        if let Some(free) = SECRET_SLOTS.checked_sub(taken).filter(|free| *free > 1) {
            let slots = SECRET_SLOTS as f64;
            let in_layer = slots * (slots / free as f64).ln();
            let by_chance = if layer > 0 { in_layer.sqrt() } else { 0.0 };
            let in_layer = in_layer + by_chance;
            return (in_layer * secrets_of_one as f64).round() as u64;
        }
        secrets_of_one *= SECRETS_OF_LAYER;
    }
    MANY_SECRETS
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{access::sample, principal::PrincipalKind};

    /// A read of [`sample`]'s secret by its principal at a time.
    fn at(secs: i64, change: impl FnOnce(&mut Access)) -> Access {
        let mut access = sample();
        Arc::make_mut(&mut access.head).time = EventTime(secs);
        change(&mut access);
        access
    }

    fn from(ip: &str) -> impl FnOnce(&mut Access) {
        let ip = SharedStr::from(ip);
        move |access: &mut Access| {
            let head = Arc::make_mut(&mut access.head);
            Arc::make_mut(&mut head.source).ip = Some(ip);
        }
    }

    fn judged(history: &[Access], access: &Access) -> SeenVerdicts {
        let since = Sighting {
            key: since_key(&access.head.account),
            time: EventTime(0),
        };
        NoveltyJudge::of(LookbackPeriods::default(), [since], history).judge(access)
    }

    fn day(day: i64) -> i64 {
        day * DAY_SECS + 36_000
    }

    #[test]
    fn an_intruder_does_not_become_known_by_the_first_reads() {
        let mut history: Vec<Access> = (0..20).map(|n| at(day(n), from("10.0.0.1"))).collect();
        let source =
            |history: &[Access], on: i64| judged(history, &at(day(on), from("203.0.113.7"))).source;
        assert_eq!(source(&history, 20), Novelty::First);
        history.push(at(day(20), from("203.0.113.7")));
        assert_eq!(source(&history, 21), Novelty::First);
        // After some days one day is not enough, and long after it is.
        assert_eq!(source(&history, 24), Novelty::First);
        assert_eq!(source(&history, 31), Novelty::Known);
        history.push(at(day(22), from("203.0.113.7")));
        assert_eq!(source(&history, 22), Novelty::First);
        assert_eq!(source(&history, 24), Novelty::Known);
        // A job that runs every fourth day has no habits at its second run.
        let rare = [at(day(10), from("203.0.113.7"))];
        assert_eq!(source(&rare, 14), Novelty::Unknown);
    }

    #[test]
    fn a_folder_is_known_from_the_day_after_its_first_secret_in_either_store() {
        let named = |name: &str| {
            let name = SharedStr::from(name);
            move |access: &mut Access| access.secret.name = Some(name)
        };
        let history = [at(day(20), named("prod/payments/db"))];
        let folder = |secs, name| judged(&history, &at(secs, named(name))).folder;
        let first = "/prod/payments/keys/1";
        assert_eq!(folder(day(21) + 1, first), Novelty::Known);
        assert_eq!(folder(day(21), first), Novelty::First);
        assert_eq!(folder(day(21), "prod/search/db"), Novelty::First);
        // Everybody's secrets are in such a folder.
        assert_eq!(folder(day(21), "prod/db"), Novelty::Unknown);
    }

    #[test]
    fn the_other_half_may_lie_before_the_logs_for_the_allowed_lateness() {
        let history = [at(day(20), |_| {})];
        let start = |secs| judged(&history, &at(secs, |_| {})).is_at_start;
        let account_since = EventTime(0);
        let at_start = |secs| {
            let judge = NoveltyJudge::of(
                LookbackPeriods::default(),
                [Sighting {
                    key: since_key(&sample().head.account),
                    time: account_since,
                }],
                [],
            );
            judge.judge(&at(secs, |_| {})).is_at_start
        };
        assert!(at_start(0) && at_start(ALLOWED_LATENESS_SECS));
        assert!(!at_start(ALLOWED_LATENESS_SECS + 1) && !start(day(20)));
    }

    #[test]
    fn a_new_principal_has_no_habits_that_could_be_broken() {
        let history = [at(day(20), from("10.0.0.1"))];
        let seen = judged(&history, &at(day(21), from("203.0.113.7")));
        assert_eq!(
            (seen.source, seen.class),
            (Novelty::Unknown, Novelty::Unknown)
        );
        assert_eq!(seen.account_source, Novelty::First);
    }

    #[test]
    fn a_long_term_key_is_new_and_those_of_sessions_always_are() {
        let with = |key: &str| {
            let key = SharedStr::from(key);
            move |access: &mut Access| Arc::make_mut(&mut access.head).access_key_id = Some(key)
        };
        let history: Vec<Access> = (0..20)
            .map(|n| at(day(n), with("AKIAEXAMPLEONE")))
            .collect();
        let seen = |key: &str| judged(&history, &at(day(20), with(key))).access_key;
        assert_eq!(seen("AKIAEXAMPLEONE"), Novelty::Known);
        assert_eq!(seen("AKIAEXAMPLETWO"), Novelty::First);
        assert_eq!(seen("ASIAEXAMPLETWO"), Novelty::Unknown);
    }

    #[test]
    fn networks_that_never_repeat_are_no_news() {
        let runner = |n: i64| at(day(n), from(&format!("198.51.{n}.7")));
        let history: Vec<Access> = (0..40).map(runner).collect();
        let seen = judged(&history, &runner(60));
        assert_eq!(seen.source, Novelty::Known);
        // Another kind of network is.
        assert_eq!(seen.network, Novelty::First);
        let inside = judged(&history, &at(day(60), from("10.0.0.1")));
        assert_eq!(inside.source, Novelty::First);
        // Four networks that are always the same do repeat.
        let four = (0..40).map(|n| at(day(n), from(&format!("198.51.{}.7", n % 4))));
        let four = judged(&four.collect::<Vec<_>>(), &runner(60));
        assert_eq!(four.source, Novelty::First);
    }

    #[test]
    fn the_hours_of_a_person_are_known_give_or_take_one() {
        let person = |secs: i64| {
            at(secs, |access| {
                let head = Arc::make_mut(&mut access.head);
                Arc::make_mut(&mut head.principal).kind = PrincipalKind::Human;
            })
        };
        let history: Vec<Access> = (0..10).map(|n| person(day(n))).collect();
        let hour = |secs: i64| judged(&history, &person(secs)).hour;
        assert_eq!(hour(day(11) + 3_600), Novelty::Known);
        assert_eq!(hour(day(11) - 7 * 3_600), Novelty::First);
        assert_eq!(
            judged(&history, &at(day(11), |_| {})).hour,
            Novelty::Unknown
        );
    }

    #[test]
    fn the_usual_number_of_secrets_is_that_of_busy_days_and_not_of_the_busiest() {
        let read = |on: i64, n: usize| {
            let name = SharedStr::from(format!("/s/{n}"));
            at(day(on), move |access| access.secret.name = Some(name))
        };
        let history: Vec<Access> = (0..20)
            .flat_map(|on| (0..if on == 3 { 200 } else { 10 }).map(move |n| read(on, n)))
            .collect();
        let usual = judged(&history, &read(25, 0)).secrets_a_day.unwrap();
        assert!((8..=12).contains(&usual), "{usual}");
        let short: Vec<Access> = (0..4).map(|on| read(on, 0)).collect();
        assert_eq!(judged(&short, &read(25, 0)).secrets_a_day, None);
    }

    #[test]
    fn slots_stand_for_about_as_many_secrets() {
        assert_eq!(counted([0, 0, 0]), 0);
        assert_eq!(counted([1, 0, 0]), 1);
        assert_eq!(counted([5, 1, 0]), 5);
        assert!((180..240).contains(&counted([SECRET_SLOTS - 2, 9, 1])));
        assert!((1_400..1_800).contains(&counted([SECRET_SLOTS, SECRET_SLOTS - 3, 7])));
        assert_eq!(counted([SECRET_SLOTS; SECRET_LAYERS]), MANY_SECRETS);
        // A state from before there were layers.
        assert_eq!(counted([SECRET_SLOTS, 0, 0]), MANY_SECRETS);
    }

    #[test]
    fn hundreds_of_secrets_a_day_are_counted() {
        for number in [60, 150, 250, 600, 1_500] {
            let read = |on: i64, n: usize| {
                let name = SharedStr::from(format!("/team/{n}/of/{number}"));
                at(day(on), move |access| access.secret.name = Some(name))
            };
            let history: Vec<Access> = (0..8)
                .flat_map(|on| (0..number).map(move |n| read(on, n)))
                .collect();
            let usual = judged(&history, &read(12, 0)).secrets_a_day.unwrap() as f64;
            let times = usual / number as f64;
            assert!((0.7..1.5).contains(&times), "{usual} for {number}");
        }
    }
}
