//! What is new in the history: held back if an alert names it, or if it began near the end and has
//! not repeated on several days.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    access::Access,
    baseline::{
        held::HeldBack,
        pairs::{Uses, date, usable},
        reader::{ReaderHistory, ReaderTrait, Readers},
    },
    ids::SharedStr,
    limits::{HABIT_SECS, SEEN_WARM_UP_SECS},
    network::NetworkLists,
    time::EventTime,
};

/// The last seconds of a history, in which what is new has to repeat.
const END_SECS: i64 = SEEN_WARM_UP_SECS;

/// On so many days.
const REPEATED_DAYS: usize = 3;

/// Days with reads from which on what an alert named may be the new habit of its reader.
const MOVED_DAYS: usize = 5;

/// Why an access is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hold<'a> {
    /// An alert of this title names it, or what it shares with an access of that alert.
    Alerted(&'a str),
    /// It is new near the end of the history.
    Recent,
}

/// What is new, by reader.
#[derive(Debug, Default)]
pub(super) struct News<'a> {
    held: BTreeMap<SharedStr, BTreeMap<ReaderTrait, Hold<'a>>>,
    /// What an alert named and its reader does mostly since then: granted, with a remark.
    pub(super) moved: Vec<(SharedStr, String)>,
}

/// The begin of the history of each account, and the end of all.
struct Bounds {
    begins: BTreeMap<SharedStr, EventTime>,
    end: EventTime,
}

/// What alerts name.
#[derive(Default)]
struct Named<'a> {
    by_reader: BTreeMap<SharedStr, BTreeMap<ReaderTrait, &'a str>>,
    /// Networks and regions, whoever uses them: there is one alert for all readers.
    places: BTreeMap<ReaderTrait, &'a str>,
}

impl<'a> News<'a> {
    pub(super) fn of(
        accesses: &[&Access],
        held: &HeldBack<'a>,
        roaming: &BTreeSet<SharedStr>,
        networks: &NetworkLists,
    ) -> Self {
        let readers = Readers::of(accesses.iter().copied(), roaming, networks);
        let Some(bounds) = Bounds::of(accesses) else {
            return Self::default();
        };
        let mut named = Named::default();
        for access in accesses {
            let Some((title, (reader, target))) = held.title(access).zip(usable(access).ok())
            else {
                continue;
            };
            let Some(history) = readers.0.get(&reader) else {
                continue;
            };
            let traits = ReaderTrait::of(access, &target, roaming.contains(&reader), networks);
            let new = traits
                .into_iter()
                .filter(|one| bounds.began_by(one, history, access.head.time));
            named.add(&reader, new, title);
        }
        let mut found = Self::default();
        for (reader, history) in &readers.0 {
            found.judge(reader, history, &bounds, &named);
        }
        found
    }

    fn judge(
        &mut self,
        reader: &SharedStr,
        history: &ReaderHistory,
        bounds: &Bounds,
        named: &Named<'a>,
    ) {
        for (one, uses) in &history.traits {
            let Some(first) = bounds.news(one, history) else {
                continue;
            };
            let hold = match named.title(reader, one) {
                Some(title) if has_moved(uses, first, history) => {
                    self.moved.push((reader.clone(), moved(one, first, title)));
                    continue;
                }
                Some(title) => Hold::Alerted(title),
                // Neighbours come and go.
                None if matches!(one, ReaderTrait::Host(_) | ReaderTrait::Session(_)) => continue,
                None if bounds.is_recent(first) && uses.days.len() < REPEATED_DAYS => Hold::Recent,
                None => continue,
            };
            let held = self.held.entry(reader.clone()).or_default();
            held.insert(one.clone(), hold);
        }
    }

    /// Why an access is held back; `None` if it is not.
    pub(super) fn hold(
        &self,
        access: &Access,
        held: &HeldBack<'a>,
        roaming: &BTreeSet<SharedStr>,
        networks: &NetworkLists,
    ) -> Option<Hold<'a>> {
        if let Some(title) = held.title(access) {
            return Some(Hold::Alerted(title));
        }
        let (reader, target) = usable(access).ok()?;
        let news = self.held.get(&reader)?;
        let traits = ReaderTrait::of(access, &target, roaming.contains(&reader), networks);
        let holds: Vec<&Hold<'a>> = traits.iter().filter_map(|one| news.get(one)).collect();
        let alerted = holds.iter().find(|hold| ***hold != Hold::Recent);
        alerted.or(holds.first()).map(|hold| (*hold).clone())
    }
}

/// Whether most reads since then have it, on several days: then it is no second user beside the
/// first one.
fn has_moved(uses: &Uses, first: EventTime, history: &ReaderHistory) -> bool {
    uses.days.len() >= MOVED_DAYS && uses.reads * 2 > history.reads_since(first)
}

/// The remark about what an alert named.
fn moved(one: &ReaderTrait, first: EventTime, title: &str) -> String {
    let what = match one {
        ReaderTrait::Reader => "the reader".to_owned(),
        ReaderTrait::Session(name) => format!("session {name}"),
        other => other.name().to_owned(),
    };
    format!("{what} is new since {}: {title}", date(first))
}

impl Bounds {
    /// `None` without accesses.
    fn of(accesses: &[&Access]) -> Option<Self> {
        let mut begins: BTreeMap<SharedStr, EventTime> = BTreeMap::new();
        for access in accesses {
            let time = access.head.time;
            let begin = begins.entry(access.head.account.clone()).or_insert(time);
            *begin = time.min(*begin);
        }
        let end = accesses.iter().map(|access| access.head.time).max()?;
        Some(Self { begins, end })
    }

    /// When a trait began, if the log of the account covers some days without it, and the reader
    /// was known before.
    fn news(&self, one: &ReaderTrait, history: &ReaderHistory) -> Option<EventTime> {
        let (first, _) = history.traits.get(one)?.span?;
        let begin = *self.begins.get(&history.account)?;
        let is_reader = *one == ReaderTrait::Reader;
        let known = history.first()?.plus(HABIT_SECS);
        let is_turn =
            history.takes_turns && matches!(one, ReaderTrait::Secret(_) | ReaderTrait::Key(..));
        let is_new =
            !is_turn && first >= begin.plus(SEEN_WARM_UP_SECS) && (is_reader || first >= known);
        is_new.then_some(first)
    }

    /// Whether a trait is new and began with an access, or shortly before it.
    fn began_by(&self, one: &ReaderTrait, history: &ReaderHistory, time: EventTime) -> bool {
        let first = self.news(one, history);
        first.is_some_and(|first| time <= first.plus(HABIT_SECS))
    }

    fn is_recent(&self, first: EventTime) -> bool {
        first > self.end.plus(-END_SECS)
    }
}

impl<'a> Named<'a> {
    fn add(&mut self, reader: &SharedStr, new: impl Iterator<Item = ReaderTrait>, title: &'a str) {
        for one in new {
            if matches!(one, ReaderTrait::Network(_) | ReaderTrait::Region(_)) {
                self.places.insert(one.clone(), title);
            }
            let named = self.by_reader.entry(reader.clone()).or_default();
            named.insert(one, title);
        }
    }

    fn title(&self, reader: &SharedStr, one: &ReaderTrait) -> Option<&'a str> {
        let mine = self.by_reader.get(reader).and_then(|named| named.get(one));
        mine.or_else(|| self.places.get(one)).copied()
    }
}
