//! The versions of one secret in one region: which was current from when, and what took its place.
//! A function of the set of facts; late ones correct it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Supersession,
    facts::{ChangeFact, place},
    supersession::LAG_SECS,
};
use crate::{
    ids::SharedStr,
    observation::{
        VersionStep,
        change::{CURRENT, PREVIOUS},
    },
    time::EventTime,
};

/// Seconds that a rotation takes at most, where its start is not in the logs: four steps of a
/// function that runs a quarter of an hour at most.
const ROTATION_SECS: i64 = 3_600;

/// Whose versions these are.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimelinePlace<'a> {
    pub(super) account: &'a str,
    pub(super) region: &'a str,
}

/// Reads that show what was current.
#[derive(Debug, Default)]
pub(super) struct SeenVersions {
    /// Versions that reads of the current one got.
    pub(super) current: Vec<(EventTime, SharedStr)>,
    /// Versions that reads of the previous one got.
    pub(super) previous: Vec<(EventTime, SharedStr)>,
    /// Every version that any read got.
    pub(super) any: BTreeSet<SharedStr>,
}

/// A time in which one version was current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VersionEpoch {
    /// `None` where the logs do not name it.
    pub(super) version_id: Option<SharedStr>,
    /// What made it current; `None` if it was before the logs begin.
    pub(super) since: Option<Supersession>,
    /// Number of times that the secret was deleted before: version numbers begin anew.
    generation: u32,
}

impl VersionEpoch {
    fn has(&self, version_id: &SharedStr) -> bool {
        self.version_id.as_ref() == Some(version_id)
    }

    /// Whether both are times of one version.
    fn is_version_of(&self, other: &Self) -> bool {
        self.version_id.is_some()
            && (&self.version_id, self.generation) == (&other.version_id, other.generation)
    }

    fn has_begun(&self, now: EventTime) -> bool {
        let since = self.since.as_ref().and_then(|since| since.time);
        since.is_none_or(|since| since <= now)
    }
}

/// The versions of one secret in one region.
#[derive(Debug)]
pub(super) struct Timeline {
    /// By time; never empty.
    pub(super) epochs: Vec<VersionEpoch>,
    labels: BTreeMap<SharedStr, Vec<(EventTime, Option<SharedStr>)>>,
    pub(super) deleted: Option<Supersession>,
    /// A change that may have made a new version current.
    pub(super) doubt: Option<Supersession>,
    /// The last rotation that failed, if none succeeded afterwards.
    pub(super) failed: Option<EventTime>,
}

/// A version: the last epoch in which it was current, or one that never was as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum VersionKey {
    Epoch(usize),
    Loose(Option<SharedStr>),
}

impl Timeline {
    /// The timeline of sorted changes and sightings.
    pub(super) fn of(
        place: TimelinePlace<'_>,
        changes: &[&ChangeFact],
        seen: &SeenVersions,
    ) -> Self {
        let mut walk = TimelineWalk::new(place, changes, &seen.any);
        let mut sightings = seen.current.iter().peekable();
        let mut changes = changes.iter().peekable();
        // Second by second: within one, what fits the version before was read before the change.
        loop {
            let times = [
                sightings.peek().map(|(time, _)| *time),
                changes.peek().map(|change| change.time),
            ];
            let Some(now) = times.into_iter().flatten().min() else {
                break;
            };
            let mut later = BTreeSet::new();
            while let Some((_, version)) = sightings.next_if(|(time, _)| *time == now) {
                if walk.is_current(version) {
                    walk.saw(now, version);
                } else {
                    later.insert(version);
                }
            }
            while let Some(change) = changes.next_if(|change| change.time == now) {
                walk.step(change);
            }
            later.into_iter().for_each(|version| walk.saw(now, version));
        }
        for (time, version) in &seen.previous {
            walk.timeline.saw_previous(*time, version);
        }
        walk.timeline
    }

    /// Index of the epoch at a time.
    fn at(&self, time: EventTime) -> usize {
        let begun = self.epochs.iter().rposition(|epoch| epoch.has_begun(time));
        begun.unwrap_or(0)
    }

    /// The last epoch of the version of an epoch.
    fn canonical(&self, index: usize) -> VersionKey {
        let last = self.epochs.get(index).and_then(|epoch| {
            let mut epochs = self.epochs.iter();
            epochs.rposition(|other| epoch.is_version_of(other))
        });
        VersionKey::Epoch(last.unwrap_or(index))
    }

    /// The version of an id, as of a time.
    pub(super) fn named(&self, version_id: &SharedStr, time: EventTime) -> VersionKey {
        let until = self.at(time);
        let epochs = self.epochs.get(..=until).unwrap_or_default();
        let before = epochs.iter().rposition(|epoch| epoch.has(version_id));
        let found = before.or_else(|| self.epochs.iter().position(|epoch| epoch.has(version_id)));
        found.map_or_else(
            || VersionKey::Loose(Some(version_id.clone())),
            |index| self.canonical(index),
        )
    }

    /// The version that a stage or label had at a time; without one, the current version.
    pub(super) fn staged(&self, stage: Option<&str>, time: EventTime) -> VersionKey {
        match stage {
            None | Some(CURRENT) => self.canonical(self.at(time)),
            Some(PREVIOUS) => {
                let before = self.at(time).checked_sub(1);
                before.map_or(VersionKey::Loose(None), |index| self.canonical(index))
            }
            Some(label) => {
                let mut given = self.labels.get(label).into_iter().flatten();
                let last = given.rfind(|(since, _)| *since <= time);
                match last {
                    Some((_, Some(version_id))) => self.named(version_id, time),
                    Some((since, None)) => self.canonical(self.at(*since)),
                    None => VersionKey::Loose(None),
                }
            }
        }
    }

    /// What took the place of a version that was never seen as the current one, at the latest:
    /// another version became current after it was revealed.
    pub(super) fn replaced_after(&self, revealed: EventTime) -> Option<Supersession> {
        let named = self
            .epochs
            .iter()
            .filter(|epoch| epoch.version_id.is_some());
        let mut later = named.filter_map(|epoch| epoch.since.as_ref());
        let found = later.find(|since| since.time.is_some_and(|time| time > revealed));
        found.cloned()
    }

    /// All versions up to a time.
    pub(super) fn until(&self, time: EventTime) -> BTreeSet<VersionKey> {
        (0..=self.at(time))
            .map(|index| self.canonical(index))
            .collect()
    }

    /// Whether the version of an epoch is the one that was current before the last.
    pub(super) fn is_previous(&self, index: usize) -> bool {
        let Some((last, before)) = self.epochs.split_last() else {
            return false;
        };
        // The stage may have been moved by itself afterwards, or taken away.
        let since = last.since.as_ref().and_then(|since| since.time);
        let moved = self.labels.get(PREVIOUS).and_then(|given| given.last());
        if let Some((_, to)) = moved.filter(|(time, _)| Some(*time) > since) {
            let epoch = self.epochs.get(index);
            return epoch.is_some_and(|epoch| to.is_some() && epoch.version_id == *to);
        }
        let previous = before
            .iter()
            .rposition(|epoch| epoch.version_id.is_none() || epoch.version_id != last.version_id);
        previous.is_some_and(|previous| self.canonical(previous) == self.canonical(index))
    }

    /// Whether the version of an epoch is that of a secret which was deleted, and made again later.
    pub(super) fn was_deleted(&self, index: usize) -> bool {
        let of = |epoch: Option<&VersionEpoch>| epoch.map(|epoch| epoch.generation);
        of(self.epochs.get(index)) < of(self.epochs.last())
    }

    fn saw_previous(&mut self, time: EventTime, version_id: &SharedStr) {
        if self.epochs.iter().any(|epoch| epoch.has(version_id)) {
            return;
        }
        let now = self.at(time);
        let before = now
            .checked_sub(1)
            .and_then(|index| self.epochs.get_mut(index));
        match before {
            Some(epoch) if epoch.version_id.is_none() => {
                epoch.version_id = Some(version_id.clone());
            }
            Some(_) => {}
            None => {
                if let Some(first) = self
                    .epochs
                    .first_mut()
                    .filter(|first| first.since.is_none())
                {
                    first.since = Some(Supersession::unseen(None, first.version_id.clone()));
                }
                let before = VersionEpoch {
                    version_id: Some(version_id.clone()),
                    since: None,
                    generation: 0,
                };
                self.epochs.insert(0, before);
            }
        }
    }
}

/// A timeline that is made step by step, in order of time.
struct TimelineWalk<'a> {
    place: TimelinePlace<'a>,
    timeline: Timeline,
    /// Times at which records say what became current.
    explicit: Vec<EventTime>,
    /// Start of a rotation, and the version that it makes.
    rotation: Option<(EventTime, Option<SharedStr>)>,
    /// Versions that reads got at any time.
    any: &'a BTreeSet<SharedStr>,
    generation: u32,
}

impl<'a> TimelineWalk<'a> {
    fn new(
        place: TimelinePlace<'a>,
        changes: &[&ChangeFact],
        any: &'a BTreeSet<SharedStr>,
    ) -> Self {
        let explicit = changes.iter().filter_map(|change| {
            matches!(change.step, VersionStep::Current { .. }).then_some(change.time)
        });
        let before = VersionEpoch {
            version_id: None,
            since: None,
            generation: 0,
        };
        Self {
            place,
            timeline: Timeline {
                epochs: vec![before],
                labels: BTreeMap::new(),
                deleted: None,
                doubt: None,
                failed: None,
            },
            explicit: explicit.collect(),
            rotation: None,
            any,
            generation: 0,
        }
    }

    fn current(&self) -> Option<&SharedStr> {
        self.timeline.epochs.last()?.version_id.as_ref()
    }

    fn is_current(&self, version_id: &SharedStr) -> bool {
        self.current() == Some(version_id)
    }

    fn step(&mut self, change: &ChangeFact) {
        let cause = Supersession::by(change);
        match &change.step {
            VersionStep::Current {
                version_id,
                instead_of,
            } => {
                self.replaces(change.time, instead_of.as_ref());
                self.become_current(change, version_id.clone());
            }
            VersionStep::MayBeCurrent { version_id } => self.doubt(version_id.as_ref(), cause),
            VersionStep::Labelled { version_id, labels } => {
                self.label(change.time, version_id.as_ref(), labels);
            }
            VersionStep::RotationStarted { version_id } => {
                self.start_rotation(change.time, version_id.clone());
            }
            VersionStep::Rotated => self.rotated(change.time, cause),
            VersionStep::RotationFailed => {
                self.rotation = None;
                self.timeline.failed = Some(change.time);
            }
            VersionStep::Deleted => self.timeline.deleted = Some(cause),
            VersionStep::Restored => self.timeline.deleted = None,
            VersionStep::Unreplicated { places } if self.is_among(places) => {
                self.timeline.deleted = Some(cause);
            }
            VersionStep::Replicated { places } if self.is_among(places) => {
                self.timeline.deleted = None;
            }
            VersionStep::Unreplicated { .. }
            | VersionStep::Replicated { .. }
            | VersionStep::Detached => {}
        }
    }

    /// A change that may have made this version current.
    fn doubt(&mut self, version_id: Option<&SharedStr>, cause: Supersession) {
        match version_id {
            // A version that somebody read exists.
            Some(version_id) if self.any.contains(version_id) => {
                self.begin(Some(version_id.clone()), cause);
            }
            _ => self.timeline.doubt = Some(cause.of(version_id.cloned())),
        }
    }

    fn label(&mut self, time: EventTime, version_id: Option<&SharedStr>, labels: &[SharedStr]) {
        for label in labels {
            let given = self.timeline.labels.entry(label.clone()).or_default();
            given.push((time, version_id.cloned()));
        }
    }

    fn start_rotation(&mut self, time: EventTime, version_id: Option<SharedStr>) {
        // The event of the service follows the call, which alone names the version.
        let before = self.rotation.take();
        let known = before.filter(|(start, _)| start.plus(ROTATION_SECS) >= time);
        let (start, known) = known.unwrap_or((time, None));
        self.rotation = Some((start, version_id.or(known)));
    }

    fn is_among(&self, places: &[SharedStr]) -> bool {
        let own = (self.place.account, self.place.region);
        places
            .iter()
            .any(|named| place(named, self.place.account) == own)
    }

    /// The version that a move of the stage replaces, if the record names it.
    fn replaces(&mut self, time: EventTime, instead_of: Option<&SharedStr>) {
        let Some(instead_of) = instead_of.filter(|replaced| !self.is_current(replaced)) else {
            return;
        };
        match self.timeline.epochs.last_mut() {
            Some(epoch) if epoch.version_id.is_none() => {
                epoch.version_id = Some(instead_of.clone());
            }
            // Another one came between that the logs do not show.
            _ => {
                let replaced = Some(instead_of.clone());
                self.begin(replaced.clone(), Supersession::unseen(Some(time), replaced));
            }
        }
    }

    fn become_current(&mut self, change: &ChangeFact, version_id: Option<SharedStr>) {
        let cause = Supersession::by(change);
        let is_first = &*change.api == "CreateSecret"
            || (&*change.api == "PutParameter" && version_id.as_deref() == Some("1"));
        let is_again = self.timeline.deleted.take().is_some() && is_first;
        self.generation += u32::from(is_again);
        match self.timeline.epochs.as_mut_slice() {
            // The secret begins here: nothing was before.
            [only]
                if is_first && !is_again && only.version_id.is_none() && only.since.is_none() =>
            {
                only.version_id = version_id.clone();
                only.since = Some(cause.of(version_id));
            }
            _ => self.begin(version_id, cause),
        }
    }

    /// A version becomes current. A repeated call changes nothing.
    fn begin(&mut self, version_id: Option<SharedStr>, cause: Supersession) {
        self.timeline.doubt = None;
        let generation = self.generation;
        let last = self.timeline.epochs.last();
        let is_repeated = last.is_some_and(|last| {
            version_id.is_some() && last.version_id == version_id && last.generation == generation
        });
        if !is_repeated {
            self.timeline.epochs.push(VersionEpoch {
                since: Some(cause.of(version_id.clone())),
                version_id,
                generation,
            });
        }
    }

    /// The event of a rotation that succeeded. Rotation functions move the stage themselves, which
    /// is in the logs; of other rotations this event is all that is logged.
    fn rotated(&mut self, time: EventTime, cause: Supersession) {
        self.timeline.failed = None;
        let started = self.rotation.take();
        let (since, version_id) = started.unwrap_or((time.plus(-ROTATION_SECS), None));
        let until = time.plus(LAG_SECS);
        let mut moves = self.explicit.iter();
        if !moves.any(|moved| (since..=until).contains(moved)) {
            self.begin(version_id, cause);
        }
    }

    /// A read of the current version got this one.
    fn saw(&mut self, time: EventTime, version_id: &SharedStr) {
        let doubt = self.timeline.doubt.take();
        if self.is_current(version_id) {
            // The change in doubt has made no new version, unless it is a moment ago.
            self.timeline.doubt = doubt.filter(|doubt| !doubt.is_over(time));
            return;
        }
        let is_old = self.was_just_replaced(version_id, time);
        match self.timeline.epochs.last_mut() {
            _ if is_old => self.timeline.doubt = doubt,
            Some(epoch) if epoch.version_id.is_none() => {
                epoch.version_id = Some(version_id.clone());
                if let Some(since) = &mut epoch.since {
                    since.version_id = Some(version_id.clone());
                }
            }
            // What replaced the version before is not in the logs, or is the change in doubt.
            _ => {
                let known = doubt.filter(|doubt| {
                    doubt.version_id.is_none() || doubt.version_id.as_ref() == Some(version_id)
                });
                let cause = known.unwrap_or_else(|| Supersession::unseen(Some(time), None));
                self.begin(Some(version_id.clone()), cause);
            }
        }
    }

    /// Whether a read got the version before, as reads may for a moment after a change. Where its
    /// name is not known yet, this read says it.
    fn was_just_replaced(&mut self, version_id: &SharedStr, time: EventTime) -> bool {
        let Some((last, before)) = self.timeline.epochs.split_last_mut() else {
            return false;
        };
        let since = last.since.as_ref().filter(|since| !since.is_over(time));
        let Some(since) = since.filter(|_| last.version_id.is_some()) else {
            return false;
        };
        let is_logged = since.event_id.is_some();
        match before.last_mut() {
            Some(before) if before.version_id.as_ref() == Some(version_id) => true,
            Some(before) if before.version_id.is_none() && is_logged => {
                before.version_id = Some(version_id.clone());
                true
            }
            None if is_logged => {
                let before = VersionEpoch {
                    version_id: Some(version_id.clone()),
                    since: None,
                    generation: self.generation,
                };
                self.timeline.epochs.insert(0, before);
                true
            }
            _ => false,
        }
    }
}
