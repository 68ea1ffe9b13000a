//! The alerts that decide to which incidents some alerts belong: those of the same actors without a
//! long quiet time, and where addresses take in alerts of principals, those of both.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    actor::{Actor, ActorKey, ActorKind},
    alert::{Alert, AlertId},
    incident::IncidentPeriods,
    limits::HELD_BACK_SECS,
    state::{ActorRange, IncidentStore, StateError},
    time::EventTime,
};

/// How often a time span is widened that ends in the middle of an incident. It grows by the longest
/// time of an incident, and each time by twice as much as before: what is read again and again is
/// no more than what is read at last. With three days, it reaches 48 days in both directions:
/// longer than alerts are kept. Of activity that goes on without a pause for longer, incidents are
/// cut anew.
const WIDENED: u32 = 4;

/// Most principals behind one address whose alerts are looked at, besides those that are asked for:
/// an incident of an address may lack those of further ones.
const PRINCIPALS: usize = 100;

/// A time span for each of some actors.
pub(super) type ActorSpans = BTreeMap<ActorKey, (EventTime, EventTime)>;

/// Widens the time span of an actor, so that it contains another.
pub(super) fn widen(spans: &mut ActorSpans, actor: ActorKey, (from, to): (EventTime, EventTime)) {
    let span = spans.entry(actor).or_insert((from, to));
    *span = (span.0.min(from), span.1.max(to));
}

/// The alerts around some others.
pub(super) struct Neighbourhood {
    periods: IncidentPeriods,
    alerts: BTreeMap<AlertId, Alert>,
    /// Actors whose incidents in a time span are known from these alerts.
    complete: BTreeMap<ActorKey, ActorRange>,
    /// Addresses that were asked for what takes in alerts.
    asked: BTreeSet<ActorRange>,
    /// Addresses with more principals than are looked at.
    crowded: BTreeSet<ActorKey>,
}

impl Neighbourhood {
    /// The neighbourhood of the alerts of some actors in a time span of each.
    pub(super) async fn of<S: IncidentStore>(
        store: &S,
        spans: ActorSpans,
        periods: IncidentPeriods,
    ) -> Result<Self, StateError> {
        let mut known = Self {
            periods,
            alerts: BTreeMap::new(),
            complete: BTreeMap::new(),
            asked: BTreeSet::new(),
            crowded: BTreeSet::new(),
        };
        known.load(store, spans).await?;
        let taking = known.load_taking(store).await?;
        known.load(store, taking).await?;
        let principals = known.principals(store).await?;
        known.load(store, principals).await?;
        known.load_taking(store).await?;
        Ok(known)
    }

    /// The time spans in which all incidents of an actor are known.
    pub(super) fn ranges(&self) -> impl Iterator<Item = ActorRange> + '_ {
        self.complete.values().cloned()
    }

    /// The addresses whose incidents may lack alerts.
    pub(super) fn take_crowded(&mut self) -> BTreeSet<ActorKey> {
        std::mem::take(&mut self.crowded)
    }

    /// Whether all of these alerts are known.
    pub(super) fn has(&self, alerts: &[AlertId]) -> bool {
        alerts.iter().all(|id| self.alerts.contains_key(id))
    }

    pub(super) fn into_alerts(self) -> Vec<Alert> {
        self.alerts.into_values().collect()
    }

    /// Loads the alerts of actors around time spans, until none of these ends in the middle of an
    /// incident.
    async fn load<S: IncidentStore>(
        &mut self,
        store: &S,
        spans: ActorSpans,
    ) -> Result<(), StateError> {
        let margin = self.periods.max_secs;
        let ranges = spans.into_iter().map(|(actor, (from, to))| {
            let known = self.complete.get(&actor);
            let from = known.map_or(from, |known| known.from.min(from));
            let to = known.map_or(to, |known| known.to.max(to));
            wider(&ActorRange { actor, from, to }, margin, margin)
        });
        let mut open: Vec<ActorRange> = ranges.collect();
        for round in 0..=WIDENED {
            if open.is_empty() {
                break;
            }
            let found = store.alerts_about(&open).await?;
            let mut cut = Vec::new();
            for (range, alerts) in open.into_iter().zip(found) {
                let (down, up) = self.cut_ends(&range, &alerts);
                if down || up {
                    let step = margin << round;
                    let more = |cut: bool| if cut { step } else { 0 };
                    cut.push(wider(&range, more(down), more(up)));
                }
                self.add(alerts);
                self.complete.insert(range.actor.clone(), range);
            }
            open = cut;
        }
        Ok(())
    }

    /// Whether an alert before, or after, a time span may belong together with those in it.
    fn cut_ends(&self, range: &ActorRange, alerts: &[Alert]) -> (bool, bool) {
        let quiet = self.periods.gap_secs + self.periods.reach_secs;
        let begins = alerts.iter().map(|alert| self.periods.begin(alert));
        let first = begins.min();
        let last = alerts.iter().map(|alert| alert.time).max();
        (
            first.is_some_and(|first| first <= range.from.plus(quiet)),
            last.is_some_and(|last| last >= range.to.plus(-quiet)),
        )
    }

    fn add(&mut self, alerts: Vec<Alert>) {
        let alerts = alerts.into_iter();
        self.alerts
            .extend(alerts.map(|alert| (alert.id.clone(), alert)));
    }

    /// Loads the alerts about addresses from which alerts of principals come that they may take in;
    /// returns the time spans of these addresses.
    async fn load_taking<S: IncidentStore>(&mut self, store: &S) -> Result<ActorSpans, StateError> {
        let reach = self.periods.reach_secs;
        let mut places = ActorSpans::new();
        let principals = self.alerts.values();
        for alert in principals.filter(|alert| alert.actor.kind == ActorKind::Principal) {
            // The hour of an alert that holds back others takes in what comes after its time.
            let from = self.periods.begin(alert).plus(-HELD_BACK_SECS);
            let to = alert.time.plus(reach);
            for place in alert.origin.places() {
                let place = (ActorKind::Address, place.clone());
                widen(&mut places, place, (from, to));
            }
        }
        let ranges = places
            .into_iter()
            .map(|(actor, (from, to))| ActorRange { actor, from, to });
        let ranges: Vec<ActorRange> = ranges.filter(|range| !self.asked.contains(range)).collect();
        self.asked.extend(ranges.iter().cloned());
        let found = store.alerts_about(&ranges).await?;
        let mut taking = ActorSpans::new();
        for (range, alerts) in ranges.into_iter().zip(found) {
            let times = alerts.iter().map(|alert| alert.time);
            if let (Some(first), Some(last)) = (times.clone().min(), times.max()) {
                taking.insert(range.actor, (first, last));
            }
            self.add(alerts);
        }
        Ok(taking)
    }

    /// The principals whose alerts the known addresses may take in, with the time spans of these.
    async fn principals<S: IncidentStore>(&mut self, store: &S) -> Result<ActorSpans, StateError> {
        let reach = self.periods.reach_secs;
        let addresses = self.complete.values();
        let addresses = addresses.filter(|range| range.actor.0 == ActorKind::Address);
        let ranges: Vec<ActorRange> = addresses.map(|range| wider(range, reach, reach)).collect();
        let mut spans = ActorSpans::new();
        for (range, actors) in ranges.iter().zip(store.principals_from(&ranges).await?) {
            let distinct: BTreeSet<ActorKey> = actors.iter().map(Actor::identity).collect();
            let distinct = distinct.into_iter();
            // One that was asked for may be known in a shorter time only.
            let mut others = distinct.filter(|actor| {
                let known = self.complete.get(actor);
                !known.is_some_and(|known| known.from <= range.from && range.to <= known.to)
            });
            let looked_at: Vec<ActorKey> = others.by_ref().take(PRINCIPALS).collect();
            if others.next().is_some() {
                self.crowded.insert(range.actor.clone());
            }
            for actor in looked_at {
                widen(&mut spans, actor, (range.from, range.to));
            }
        }
        Ok(spans)
    }
}

/// A range that begins so many seconds earlier, and ends so many later.
fn wider(range: &ActorRange, before: i64, after: i64) -> ActorRange {
    ActorRange {
        actor: range.actor.clone(),
        from: range.from.plus(-before),
        to: range.to.plus(after),
    }
}
