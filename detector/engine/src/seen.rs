//! What has been seen before: whether a principal is new to a secret, new to all secrets, or a region new to an account.
//!
//! Judged once, when an access is settled, by what is remembered at that time. Only successful reads are remembered, with
//! their times, so that it does not matter in which order they came. An access is `first` when nothing of its kind was seen
//! in the memory before it and the logs of the account go back far enough to say so; when they do not, that is `unknown`,
//! so that the first days of a log raise nothing.

use ahash::{HashMap, HashSet};

use crate::access::Access;
use crate::ids::Text;
use crate::limits::{SEEN_GRAINS, SEEN_LEARNING_SECS, SEEN_MEMORY_SECS};
use crate::observation::Outcome;
use crate::time::EventTime;

/// Whether something was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Novelty {
    /// Not within the memory, and the logs would show it.
    First,
    /// Within the memory.
    Known,
    /// The logs of the account do not go back far enough, or the record names nobody.
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

/// What is new about an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// This principal and this secret.
    pub principal_secret: Novelty,
    /// This principal and any secret.
    pub principal: Novelty,
    /// The region, among the reads of the secret's account.
    pub region: Novelty,
}

/// When something was seen: the first event time of each grain of the memory in which it was. Adding times gives the same
/// in any order and any number of times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times(Vec<EventTime>);

impl Times {
    /// Adds a time.
    pub fn add(&mut self, time: EventTime, grain_secs: i64) {
        let grain = |time: EventTime| time.0.div_euclid(grain_secs);
        let place = self.0.partition_point(|known| grain(*known) < grain(time));
        match self
            .0
            .get_mut(place)
            .filter(|known| grain(**known) == grain(time))
        {
            Some(known) => *known = (*known).min(time),
            None => self.0.insert(place, time),
        }
    }

    /// The first time ever.
    #[must_use]
    pub fn first(&self) -> Option<EventTime> {
        self.0.first().copied()
    }

    /// Every time, in order.
    pub fn iter(&self) -> impl Iterator<Item = EventTime> + '_ {
        self.0.iter().copied()
    }

    /// Forgets all but the first time ever and the latest so many.
    pub fn keep(&mut self, latest: usize) {
        let end = self.0.len().saturating_sub(latest).max(1).min(self.0.len());
        self.0.drain(self.0.len().min(1)..end);
    }

    /// Forgets the grains before that of a time, and says whether any are left.
    pub(crate) fn forget(&mut self, before: EventTime, grain_secs: i64) -> bool {
        let grain = |time: EventTime| time.0.div_euclid(grain_secs);
        self.0.drain(
            ..self
                .0
                .partition_point(|known| grain(*known) < grain(before)),
        );
        !self.0.is_empty()
    }

    /// Whether any is before a time, and not before the grain of another.
    fn any_between(&self, oldest: EventTime, before: EventTime, grain_secs: i64) -> bool {
        let grain = |time: EventTime| time.0.div_euclid(grain_secs);
        let place = self
            .0
            .partition_point(|known| grain(*known) < grain(oldest));
        self.0.get(place).is_some_and(|known| *known < before)
    }
}

/// A time at which something was seen, to be remembered under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// What was seen: see [`remembered`] and [`since_key`].
    pub key: Text,
    /// Event time.
    pub time: EventTime,
}

/// How long to remember, and how long to watch before calling something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What was last seen so many seconds ago is new again.
    pub memory_secs: i64,
    /// Nothing is new in the first so many seconds of an account's logs.
    pub learning_secs: i64,
}

impl Memory {
    /// The unit in seconds in which times are remembered and forgotten, so that what is seen all the time need not be
    /// written down each time: a day, of the default memory.
    #[must_use]
    pub fn grain_secs(&self) -> i64 {
        (self.memory_secs / SEEN_GRAINS).max(1)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            memory_secs: SEEN_MEMORY_SECS,
            learning_secs: SEEN_LEARNING_SECS,
        }
    }
}

/// How the keys of accounts begin.
const SINCE: &str = "since\n";

/// The key under which a store remembers since when it has logs of an account.
#[must_use]
pub fn since_key(account: &str) -> Text {
    format!("{SINCE}{account}").into()
}

/// Whether a key is one of [`since_key`].
pub(crate) fn is_since_key(key: &str) -> bool {
    key.starts_with(SINCE)
}

/// The keys of an access: principal and secret, principal, region. `None` where the record names nobody or no secret.
fn keys(access: &Access) -> [Option<Text>; 3] {
    let principal = access.head.principal.id.as_deref();
    let named = access.secret.name.is_some();
    [
        principal
            .filter(|_| named)
            .map(|p| format!("pair\n{p}\n{}", access.secret.key().to_text()).into()),
        principal.map(|p| format!("principal\n{p}").into()),
        Some(
            format!(
                "region\n{}\n{}",
                access.secret.account, access.secret.region
            )
            .into(),
        ),
    ]
}

/// Every key that is needed to judge the accesses.
#[must_use]
pub fn needed<'a>(accesses: impl Iterator<Item = &'a Access>) -> Vec<Text> {
    let of = |a: &Access| {
        keys(a)
            .into_iter()
            .flatten()
            .chain([since_key(&a.head.account)])
    };
    let distinct: HashSet<Text> = accesses.flat_map(of).collect();
    let mut all: Vec<Text> = distinct.into_iter().collect();
    all.sort_unstable();
    all
}

/// What is to be remembered of an access: its keys at its time. Nothing unless it succeeded.
pub fn remembered(access: &Access) -> impl Iterator<Item = Sighting> + use<> {
    let time = access.head.time;
    let keys = if access.head.outcome == Outcome::Success {
        keys(access)
    } else {
        [None, None, None]
    };
    keys.into_iter()
        .flatten()
        .map(move |key| Sighting { key, time })
}

/// The earliest time of each grain for each key, in place of all of them.
#[must_use]
pub fn condensed(times: impl IntoIterator<Item = Sighting>, memory: Memory) -> Vec<Sighting> {
    let mut known: HashMap<Text, Times> = HashMap::default();
    for Sighting { key, time } in times {
        known.entry(key).or_default().add(time, memory.grain_secs());
    }
    known
        .into_iter()
        .flat_map(|(key, times)| {
            let sighting = move |time| Sighting {
                key: key.clone(),
                time,
            };
            times.0.into_iter().map(sighting)
        })
        .collect()
}

/// Judges by what is remembered.
#[derive(Debug)]
pub struct Judge {
    memory: Memory,
    known: HashMap<Text, Times>,
}

impl Judge {
    /// Starts from what a store remembers.
    #[must_use]
    pub fn new(memory: Memory, known: impl IntoIterator<Item = (Text, Times)>) -> Self {
        Self {
            memory,
            known: known.into_iter().collect(),
        }
    }

    /// Remembers all the accesses, and the times since when there are logs.
    #[must_use]
    pub fn of<'a>(
        memory: Memory,
        since: impl IntoIterator<Item = Sighting>,
        accesses: impl IntoIterator<Item = &'a Access>,
    ) -> Self {
        let mut known: HashMap<Text, Times> = HashMap::default();
        for Sighting { key, time } in since
            .into_iter()
            .chain(accesses.into_iter().flat_map(remembered))
        {
            known.entry(key).or_default().add(time, memory.grain_secs());
        }
        Self { memory, known }
    }

    /// Judges an access by what was seen before its time. Accesses of one second do not make each other known.
    #[must_use]
    pub fn judge(&self, access: &Access) -> Seen {
        let time = access.head.time;
        let since = self
            .known
            .get(&since_key(&access.head.account))
            .and_then(Times::first);
        let [principal_secret, principal, region] = keys(access).map(|key| match key {
            Some(key) => self.novelty(&key, since, time),
            None => Novelty::Unknown,
        });
        Seen {
            principal_secret,
            principal,
            region,
        }
    }

    fn novelty(&self, key: &Text, since: Option<EventTime>, time: EventTime) -> Novelty {
        let oldest = time.plus(-self.memory.memory_secs);
        if self
            .known
            .get(key)
            .is_some_and(|times| times.any_between(oldest, time, self.memory.grain_secs()))
        {
            Novelty::Known
        } else if since.is_some_and(|since| since <= time.plus(-self.memory.learning_secs)) {
            Novelty::First
        } else {
            Novelty::Unknown
        }
    }
}
