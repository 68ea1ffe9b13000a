//! What has been seen before: whether a principal is new to a secret, new to all secrets, or a region new to an account.
//!
//! Judged once, when an access is settled, in the order of event times. Only successful reads are remembered. An access is
//! `first` when nothing of its kind was seen in the memory before it and the logs of the account go back far enough to
//! say so; when they do not, that is `unknown`, so that the first days of a log raise nothing.

use ahash::{HashMap, HashMapExt};

use crate::access::Access;
use crate::ids::Text;
use crate::limits::{SEEN_LEARNING_SECS, SEEN_MEMORY_SECS};
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

/// First and last event time of something. Merging two is the same in any order and any number of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First event time.
    pub first: EventTime,
    /// Last event time.
    pub last: EventTime,
}

impl Span {
    /// A span of one moment.
    #[must_use]
    pub fn at(time: EventTime) -> Self {
        Self { first: time, last: time }
    }

    /// The span over both.
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// How long to remember, and how long to watch before calling something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What was last seen so many seconds ago is new again.
    pub memory_secs: i64,
    /// Nothing is new in the first so many seconds of an account's logs.
    pub learning_secs: i64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { memory_secs: SEEN_MEMORY_SECS, learning_secs: SEEN_LEARNING_SECS }
    }
}

/// The key under which a store remembers since when it has logs of an account.
#[must_use]
pub fn since_key(account: &str) -> Text {
    format!("since\n{account}").into()
}

/// The keys of an access: principal and secret, principal, region. `None` where the record names nobody or no secret.
fn keys(access: &Access) -> [Option<Text>; 3] {
    let principal = access.head.principal.id.as_deref();
    let named = access.secret.name.is_some();
    [
        principal.filter(|_| named).map(|p| format!("pair\n{p}\n{}", access.secret.key().to_text()).into()),
        principal.map(|p| format!("principal\n{p}").into()),
        Some(format!("region\n{}\n{}", access.secret.account, access.secret.region).into()),
    ]
}

/// Every key that is needed to judge the accesses.
#[must_use]
pub fn needed<'a>(accesses: impl Iterator<Item = &'a Access>) -> Vec<Text> {
    let of = |a: &Access| keys(a).into_iter().flatten().chain([since_key(&a.head.account)]);
    let mut all: Vec<Text> = accesses.flat_map(of).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What was known before a batch, and what the batch adds.
#[derive(Debug)]
pub struct Judge {
    memory: Memory,
    known: HashMap<Text, Span>,
    added: HashMap<Text, Span>,
}

impl Judge {
    /// Starts from what a store remembers.
    #[must_use]
    pub fn new(memory: Memory, known: impl IntoIterator<Item = (Text, Span)>) -> Self {
        Self { memory, known: known.into_iter().collect(), added: HashMap::new() }
    }

    /// Judges an access and remembers it. Accesses come in the order of event times; those of one second do not make each
    /// other known, so that the result does not depend on their order.
    pub fn judge(&mut self, access: &Access) -> Seen {
        let time = access.head.time;
        let since = self.known.get(&since_key(&access.head.account)).map(|span| span.first);
        let keys = keys(access);
        let [principal_secret, principal, region] = keys.each_ref().map(|key| match key {
            Some(key) => self.novelty(key, since, time),
            None => Novelty::Unknown,
        });
        if access.head.outcome == Outcome::Success {
            for key in keys.into_iter().flatten() {
                let span = Span::at(time);
                let known = self.known.entry(key.clone()).or_insert(span);
                *known = known.merged(span);
                let added = self.added.entry(key).or_insert(span);
                *added = added.merged(span);
            }
        }
        Seen { principal_secret, principal, region }
    }

    fn novelty(&self, key: &Text, since: Option<EventTime>, time: EventTime) -> Novelty {
        let oldest = time.plus(-self.memory.memory_secs);
        let before = self.known.get(key).filter(|span| span.first < time && span.last >= oldest);
        if before.is_some() {
            Novelty::Known
        } else if since.is_some_and(|since| since <= time.plus(-self.memory.learning_secs)) {
            Novelty::First
        } else {
            Novelty::Unknown
        }
    }

    /// What is to be remembered.
    #[must_use]
    pub fn into_added(self) -> Vec<(Text, Span)> {
        self.added.into_iter().collect()
    }
}
