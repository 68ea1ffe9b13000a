//! Two forms of one alert, of which a store keeps one.
//!
//! A window is read by whoever adds a fact to it, and the form that rests on most of its facts
//! replaces the others. Where any one fact fills the window, its facts are not stored: each form
//! rests on those of a part of a batch, and nobody has them all. Then the two are merged. What
//! incidents need of an alert is that of all its facts, whatever their parts, their order and how
//! often they come: when it began, its time, actor and origin. What is shown is that of the larger
//! form.

use super::{Alert, AlertEvent};
use crate::{
    actor::Actor,
    limits::{ALERT_ACCESSES, DAY_SECS, HELD_BACK_SECS},
    object::is_direct,
    time::EventTime,
};

/// Where an alert was, by its actor and time, before more was known of it: an incident there may
/// still list it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FormerPlace {
    /// Its actor.
    pub actor: Actor,
    /// Its time.
    pub time: EventTime,
}

impl Alert {
    /// What a store keeps of an alert when this form of it is there and a final one comes.
    /// `is_confirmed` if this one was provisional until now: of those that are merged, it rests on
    /// events that may have been refuted, and gives way.
    #[must_use]
    pub fn followed_by(&self, other: &Self, is_confirmed: bool) -> Self {
        match is_confirmed && other.common.is_some() {
            true => other.instead_of(self),
            false => self.merged(other),
        }
    }

    /// What a store keeps of an alert when this form of it is there and another comes. Associative,
    /// commutative and idempotent in all that incidents need; the same as this one where the other
    /// adds nothing.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let Some(common) = self.common.as_ref().zip(other.common.as_ref()) else {
            return match self.extent() < other.extent() {
                true => other.instead_of(self),
                false => self.clone(),
            };
        };
        // Events of a later day of the bucket are held back.
        match self.day().cmp(&other.day()) {
            std::cmp::Ordering::Less => return self.clone(),
            std::cmp::Ordering::Greater => return other.instead_of(self),
            std::cmp::Ordering::Equal => {}
        }
        let shown = match self.shown_rank() < other.shown_rank() {
            true => other,
            false => self,
        };
        let common = common.0.and(common.1);
        Self {
            time: self.later_hour(other),
            began: self.began.min(other.began),
            events: shown.events_after(self.first_event(other)),
            actor: common.actor(),
            origin: self.origin.and(&other.origin),
            common: Some(common),
            ..shown.clone()
        }
        .instead_of(self)
    }

    /// This form of an alert in the place of another one, of which it knows where it was.
    #[must_use]
    pub fn instead_of(&self, before: &Self) -> Self {
        let mut former = before.former.clone();
        let is_elsewhere = before.actor.identity() != self.actor.identity()
            || before.time.0.abs_diff(self.time.0) >= DAY_SECS.unsigned_abs();
        if is_elsewhere {
            former.push(FormerPlace {
                actor: before.actor.clone(),
                time: before.time,
            });
        }
        former.sort();
        former.dedup();
        Self {
            former,
            ..self.clone()
        }
    }

    /// The hour of its time.
    fn hour(&self) -> EventTime {
        self.time.start_of(HELD_BACK_SECS)
    }

    /// The time of the form whose last event is in the later hour; of one hour, the first time.
    fn later_hour(&self, other: &Self) -> EventTime {
        match self.hour().cmp(&other.hour()) {
            std::cmp::Ordering::Less => other.time,
            std::cmp::Ordering::Equal => self.time.min(other.time),
            std::cmp::Ordering::Greater => self.time,
        }
    }

    /// Which day of its bucket its events are on.
    fn day(&self) -> i64 {
        self.window_match.as_ref().map_or(0, |window| {
            // Such a window is as long as its bucket.
            let bucket_secs = window.end.0.saturating_sub(window.start.0);
            let start = window.bucket.saturating_mul(bucket_secs);
            self.time.0.saturating_sub(start).div_euclid(DAY_SECS)
        })
    }

    /// Of two forms of a day, that with the greater rank is shown: it has more events; of equals,
    /// it ends first; what a file says takes the place of what came directly.
    fn shown_rank(&self) -> impl Ord + use<> {
        let window = self.window_match.as_ref();
        let is_of_file = !self.events.iter().any(|event| is_direct(&event.object));
        (
            window.map_or(0, |window| window.count),
            std::cmp::Reverse(window.map(|window| window.end)),
            is_of_file,
            self.accesses_total,
            // The final evaluation knows the versions that were read.
            self.traits.versions.with_decrypt(),
        )
    }

    /// The first event of two forms.
    fn first_event<'a>(&'a self, other: &'a Self) -> Option<&'a AlertEvent> {
        let firsts = [self.events.first(), other.events.first()];
        firsts.into_iter().flatten().min_by_key(|event| {
            let is_direct = is_direct(&event.object);
            (event.time, &event.id, is_direct, &event.object)
        })
    }

    /// Its events, after an event that is not later than the first of them.
    fn events_after(&self, first: Option<&AlertEvent>) -> Vec<AlertEvent> {
        let Some(first) = first.filter(|first| self.events.first() != Some(first)) else {
            return self.events.clone();
        };
        let is_other = |event: &&AlertEvent| (&event.id, event.time) != (&first.id, first.time);
        let rest = self.events.iter().filter(is_other);
        std::iter::once(first)
            .chain(rest)
            .take(ALERT_ACCESSES)
            .cloned()
            .collect()
    }
}
