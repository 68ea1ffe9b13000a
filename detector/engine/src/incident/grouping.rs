//! Groups alerts into incidents, as they come in order of time. Held are the alerts whose incident
//! is not decided, and the incidents that may still grow.
//!
//! An alert lasts from its first event to its time, a day at most. It goes through two queues. In
//! the first it waits until no alert that began earlier can come: then alerts about addresses have
//! taken it in, and in the order of their beginnings alerts make the spans of incidents. In the
//! second it waits until all spans that a lower alert could join are known; then it is added to its
//! incident, in order of time, so that what an incident lists depends on nothing but its alerts.

use std::collections::BTreeMap;

use ahash::HashMap;

use super::{GrowingIncident, Incident, IncidentPeriods, LEAST, incident_id};
use crate::{
    actor::{Actor, ActorKey, ActorKind},
    alert::{Alert, AlertId, IncidentId},
    ids::SharedStr,
    time::EventTime,
};

/// Later than any alert.
const END_OF_TIME: EventTime = EventTime(i64::MAX);

/// What can no longer change.
#[derive(Debug, Default)]
pub struct GroupedAlerts {
    /// Alerts with their incidents, by time and id.
    pub alerts: Vec<Alert>,
    /// Incidents that nothing can join any more.
    pub incidents: Vec<Incident>,
}

/// Groups alerts that come in order of time.
#[derive(Debug)]
pub struct IncidentGrouping {
    periods: IncidentPeriods,
    /// Windows of alerts about addresses, by the address or network.
    addresses: HashMap<SharedStr, AddressWindows>,
    /// Alerts that an earlier one may still precede, by their beginning.
    waiting: BTreeMap<(EventTime, EventTime, AlertId), Alert>,
    spans: HashMap<ActorKey, ActorSpans>,
    /// Alerts whose incidents are not decided, by their time.
    undecided: BTreeMap<(EventTime, AlertId), UndecidedAlert>,
    growing: HashMap<IncidentId, GrowingIncident>,
}

/// The windows of the alerts about one address.
#[derive(Debug)]
struct AddressWindows {
    actor: Actor,
    /// Of alerts that take in all others.
    taking_all: JoinedWindows,
    /// Of alerts that take in only lower ones that would stand alone: a lower alert makes no story
    /// of others, and behind a VPC endpoint is a whole VPC.
    taking_lower: JoinedWindows,
}

/// Windows that do not touch, in order of time: however many alerts there are about one address,
/// few windows are searched.
#[derive(Debug, Default)]
struct JoinedWindows(Vec<(EventTime, EventTime)>);

impl JoinedWindows {
    /// Adds a window by its start, exclusive, and its end, which is not before the starts of those
    /// that were added earlier.
    fn add(&mut self, mut start: EventTime, mut end: EventTime) {
        while let Some((before, last)) = self.0.pop_if(|(_, last)| *last >= start) {
            start = start.min(before);
            end = end.max(last);
        }
        self.0.push((start, end));
    }

    /// Whether what lasts from one time to another has a part in a window.
    fn touch(&self, begin: EventTime, end: EventTime) -> bool {
        let first = self.0.partition_point(|(_, last)| *last < begin);
        self.0.get(first).is_some_and(|(start, _)| *start < end)
    }

    /// Drops windows that end before a time; returns whether any remain.
    fn forget(&mut self, before: EventTime) -> bool {
        self.0.retain(|(_, end)| *end >= before);
        !self.0.is_empty()
    }
}

/// An alert whose incident is not decided.
#[derive(Debug)]
struct UndecidedAlert {
    actor: Actor,
    alert: Alert,
    /// Beginning of the incident that it makes; `None` for lower alerts.
    makes: Option<EventTime>,
    /// The address that takes it in if its own actor has no incident for it.
    otherwise: Option<Actor>,
}

impl IncidentGrouping {
    /// Groups alerts with these periods.
    #[must_use]
    pub fn new(periods: IncidentPeriods) -> Self {
        Self {
            periods,
            addresses: HashMap::default(),
            waiting: BTreeMap::new(),
            spans: HashMap::default(),
            undecided: BTreeMap::new(),
            growing: HashMap::default(),
        }
    }

    /// Groups all alerts of a history, in any order.
    #[must_use]
    pub fn all(periods: IncidentPeriods, mut alerts: Vec<Alert>) -> GroupedAlerts {
        alerts.sort_by_key(|alert| alert.time);
        let mut grouping = Self::new(periods);
        alerts.into_iter().for_each(|alert| grouping.add(alert));
        grouping.finish()
    }

    /// Adds the next alerts by time and id, none of them earlier than one that was added before.
    /// Returns what can no longer change.
    pub fn advance(&mut self, alerts: Vec<Alert>) -> GroupedAlerts {
        let last = alerts.last().map(|alert| alert.time);
        alerts.into_iter().for_each(|alert| self.add(alert));
        match last {
            // What began before this has its time before the last, and so have the alerts about
            // addresses that may take it in. More alerts of the last second may follow.
            Some(last) => self.settle(last.plus(self.periods.reach_secs.saturating_mul(-2))),
            None => GroupedAlerts::default(),
        }
    }

    /// Ends the grouping.
    #[must_use]
    pub fn finish(mut self) -> GroupedAlerts {
        self.settle(END_OF_TIME)
    }

    fn add(&mut self, alert: Alert) {
        if alert.actor.kind == ActorKind::Address {
            let (start, end) = self.periods.takes_in(&alert);
            let known = self.addresses.entry(alert.actor.key.clone());
            let known = known.or_insert_with(|| AddressWindows {
                actor: alert.actor.clone(),
                taking_all: JoinedWindows::default(),
                taking_lower: JoinedWindows::default(),
            });
            let takes_all = alert.rule.level >= LEAST && !alert.actor.key.starts_with("vpce-");
            let windows = match takes_all {
                true => &mut known.taking_all,
                false => &mut known.taking_lower,
            };
            windows.add(start, end);
        }
        let place = (self.periods.begin(&alert), alert.time, alert.id.clone());
        self.waiting.insert(place, alert);
    }

    /// Decides what depends on nothing that begins at or after a time.
    fn settle(&mut self, until: EventTime) -> GroupedAlerts {
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 < until
        {
            let alert = first.remove();
            self.begin_or_extend(alert);
        }
        let oldest = until.plus(-self.periods.reach_secs);
        self.addresses.retain(|_, known| {
            let remain = known.taking_all.forget(oldest);
            known.taking_lower.forget(oldest) || remain
        });
        let mut grouped = GroupedAlerts::default();
        while let Some(first) = self.undecided.first_entry()
            && first.key().0.plus(self.periods.gap_secs) < until
        {
            let undecided = first.remove();
            grouped.alerts.push(self.decided(undecided));
        }
        grouped.incidents = self.ended(until);
        grouped
    }

    /// Gives an alert its actor, and where it makes an incident, extends its span.
    fn begin_or_extend(&mut self, alert: Alert) {
        let actor = self.taken_in(&alert, false);
        let actor = actor.unwrap_or_else(|| alert.actor.clone());
        let is_lower = alert.rule.level < LEAST;
        let otherwise = is_lower.then(|| self.taken_in(&alert, true)).flatten();
        let begin = self.periods.begin(&alert);
        let makes = (!is_lower).then(|| {
            let spans = self.spans.entry(actor.identity());
            let made = &mut spans.or_default().made;
            extend(made, (begin, alert.time), self.periods).first
        });
        let place = (alert.time, alert.id.clone());
        let undecided = UndecidedAlert {
            actor,
            alert,
            makes,
            otherwise,
        };
        self.undecided.insert(place, undecided);
    }

    /// The address whose alerts take in this one: those that take in all, or also those that take
    /// in only lower ones. `None` if there is none.
    fn taken_in(&self, alert: &Alert, as_lower: bool) -> Option<Actor> {
        if alert.actor.kind != ActorKind::Principal {
            return None;
        }
        let (begin, end) = (self.periods.begin(alert), alert.time);
        // Addresses before their networks.
        let mut known = alert
            .origin
            .places()
            .filter_map(|place| self.addresses.get(place));
        let taking = known.find(|known| {
            known.taking_all.touch(begin, end) || (as_lower && known.taking_lower.touch(begin, end))
        });
        taking.map(|known| known.actor.clone())
    }

    /// Adds an alert to its incident.
    fn decided(&mut self, undecided: UndecidedAlert) -> Alert {
        let UndecidedAlert {
            mut actor,
            mut alert,
            makes,
            otherwise,
        } = undecided;
        let lasts = (self.periods.begin(&alert), alert.time);
        if let Some(address) = otherwise {
            let own = self.spans.get(&actor.identity());
            let own = own.and_then(|own| nearest(&own.made, lasts, self.periods));
            actor = if own.is_some() { actor } else { address };
        }
        let spans = self.spans.entry(actor.identity());
        let ActorSpans { made, rest } = spans.or_default();
        let joined = makes.or_else(|| nearest(made, lasts, self.periods));
        let first = match joined {
            Some(first) => first,
            // The time of an alert that holds back others moves on, and its incident stays.
            None if alert.common.is_some() => extend(rest, lasts, self.periods).first,
            // A lower alert has the time that it is shown with.
            None => extend(rest, (alert.time, alert.time), self.periods).first,
        };
        let id = incident_id(&actor, first);
        let growing = self.growing.entry(id.clone());
        let growing = growing.or_insert_with(|| GrowingIncident::new(actor, first));
        let makes = makes.is_some() || joined.is_none();
        let began = self.periods.within_reach(&alert, alert.began);
        growing.add(&alert, makes.then_some(began));
        alert.incident = Some(id);
        alert
    }

    /// Takes out the incidents that nothing can join any more.
    fn ended(&mut self, until: EventTime) -> Vec<Incident> {
        // A lower alert that begins within the gap after the last one is decided when the gap
        // after its own end is known.
        let before = until.plus(-2 * self.periods.gap_secs - self.periods.reach_secs);
        self.spans.retain(|_, spans| {
            spans.made.retain(|span| span.last >= before);
            spans.rest.retain(|span| span.last >= before);
            !spans.made.is_empty() || !spans.rest.is_empty()
        });
        let over = self
            .growing
            .extract_if(|_, growing| growing.incident.last < before);
        let mut ended: Vec<Incident> = over.map(|(_, growing)| growing.incident).collect();
        ended.sort_by(|a, b| (a.first, &a.id).cmp(&(b.first, &b.id)));
        ended
    }
}

/// The spans of an actor's incidents that may still grow or be joined, in order of time.
#[derive(Debug, Default)]
struct ActorSpans {
    /// Made by alerts of medium or higher.
    made: Vec<IncidentSpan>,
    /// Made by lower alerts that join no other.
    rest: Vec<IncidentSpan>,
}

/// First and last event of the alerts that make an incident.
#[derive(Debug, Clone, Copy)]
struct IncidentSpan {
    first: EventTime,
    last: EventTime,
}

/// Extends the last span by an alert, or begins a new one if that is too long ago or too long.
fn extend(
    spans: &mut Vec<IncidentSpan>,
    (begin, end): (EventTime, EventTime),
    periods: IncidentPeriods,
) -> IncidentSpan {
    match spans.last_mut() {
        Some(span)
            if begin.0.saturating_sub(span.last.0) <= periods.gap_secs
                && end.0.saturating_sub(span.first.0) <= periods.max_secs =>
        {
            span.last = span.last.max(end);
            *span
        }
        _ => {
            let span = IncidentSpan {
                first: begin,
                last: end,
            };
            spans.push(span);
            span
        }
    }
}

/// Beginning of the span nearest to an alert, within the gap; of two, the earlier.
fn nearest(
    spans: &[IncidentSpan],
    (begin, end): (EventTime, EventTime),
    periods: IncidentPeriods,
) -> Option<EventTime> {
    let near = spans.iter().filter_map(|span| {
        let before = span.first.0.saturating_sub(end.0);
        let distance = before.max(begin.0.saturating_sub(span.last.0)).max(0);
        (distance <= periods.gap_secs).then_some((distance, span.first))
    });
    near.min().map(|(_, first)| first)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        alert::{AlertId, WindowMatch},
        rule_meta::{RuleLevel, RuleMeta},
        state::contract,
    };

    pub(crate) const PERIODS: IncidentPeriods = IncidentPeriods {
        gap_secs: 10,
        max_secs: 40,
        reach_secs: REACH,
    };

    const REACH: i64 = 15;

    fn level(medium: bool) -> RuleLevel {
        if medium {
            RuleLevel::Medium
        } else {
            RuleLevel::Low
        }
    }

    fn of_actor(kind: ActorKind, name: &str) -> Actor {
        Actor {
            kind,
            key: name.into(),
            name: name.into(),
        }
    }

    /// An alert of a principal from an address.
    pub(crate) fn alert(secs: i64, medium: bool, who: &str, address: &str, index: usize) -> Alert {
        let mut alert = contract::alert(&format!("e{index}"));
        alert.rule = Arc::new(RuleMeta {
            id: format!("rule {}", index % 3),
            level: level(medium),
            ..RuleMeta::default()
        });
        alert.time = EventTime(secs);
        alert.actor = of_actor(ActorKind::Principal, who);
        alert.origin.addresses = vec![address.into()];
        alert.began = alert.time;
        alert.events[0].time = alert.time;
        alert
    }

    /// An alert about an address and several principals.
    fn about(secs: i64, medium: bool, address: &str, span: i64, index: usize) -> Alert {
        let mut alert = alert(secs, medium, "", address, index);
        alert.actor = of_actor(ActorKind::Address, address);
        alert.window_match = Some(WindowMatch {
            group: Vec::new(),
            bucket: 0,
            start: EventTime(secs - span),
            end: EventTime(secs),
            count: 2,
        });
        alert
    }

    pub(crate) fn world() -> impl Strategy<Value = Vec<Alert>> {
        let one = (
            0..200_i64,
            any::<bool>(),
            0..3_usize,
            0..2_usize,
            0..9_u8,
            1..=REACH,
        );
        prop::collection::vec(one, 0..40).prop_map(|all| {
            let alerts = all.into_iter().enumerate();
            let alerts = alerts.map(|(index, (secs, medium, who, address, kind, span))| {
                let address = ["198.51.100.1", "203.0.113.2"][address];
                let mut alert = match kind {
                    0 => about(secs, medium, address, span, index),
                    _ => alert(secs, medium, ["a", "b", "c"][who], address, index),
                };
                // Every third alert is of a window.
                if kind % 3 == 0 {
                    alert.events[0].time = EventTime(secs - span + 1);
                }
                alert
            });
            let mut alerts: Vec<Alert> = alerts.collect();
            alerts.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
            alerts
        })
    }

    fn begin(alert: &Alert) -> i64 {
        alert.events[0].time.0
    }

    /// The members of each incident, by the definition, looking at everything at once.
    fn reference(alerts: &[Alert]) -> BTreeMap<IncidentId, Vec<AlertId>> {
        let taker = |alert: &Alert, all: bool| {
            let mut takers = alerts.iter().filter(|other| {
                let window = other.window_match.as_ref();
                let is_in = window
                    .is_some_and(|w| w.start < alert.time && EventTime(begin(alert)) <= w.end);
                other.actor.kind == ActorKind::Address
                    && (other.rule.level >= LEAST || !all)
                    && is_in
                    && *alert.origin.addresses[0] == *other.actor.key
            });
            takers
                .next()
                .filter(|_| alert.actor.kind == ActorKind::Principal)
                .map(|taker| taker.actor.clone())
        };
        // Spans of the actors that alerts of medium or higher make.
        let made = |actor: &Actor| {
            let own = alerts.iter().filter(|a| {
                a.rule.level >= LEAST && taker(a, true).as_ref().unwrap_or(&a.actor) == actor
            });
            cut(own.map(|a| (begin(a), a.time.0, None)).collect())
        };
        let actor = |alert: &Alert| {
            let own = taker(alert, true).unwrap_or_else(|| alert.actor.clone());
            let is_near = made(&own).iter().any(|(first, last, _)| {
                let distance = (first - alert.time.0).max(begin(alert) - last);
                distance <= PERIODS.gap_secs
            });
            match taker(alert, false) {
                Some(address) if alert.rule.level < LEAST && !is_near => address,
                _ => own,
            }
        };
        let mut by_actor: BTreeMap<Actor, Vec<&Alert>> = BTreeMap::new();
        for alert in alerts {
            by_actor.entry(actor(alert)).or_default().push(alert);
        }
        let mut members: BTreeMap<IncidentId, Vec<AlertId>> = BTreeMap::new();
        for (actor, own) in by_actor {
            let made = own.iter().filter(|a| a.rule.level >= LEAST);
            let made = cut(made.map(|a| (begin(a), a.time.0, Some(&a.id))).collect());
            let near = |alert: &Alert| {
                if alert.rule.level >= LEAST {
                    let mut made = made.iter();
                    return made
                        .find(|cut| cut.2.contains(&Some(&alert.id)))
                        .map(|cut| cut.0);
                }
                let distance =
                    |first: i64, last: i64| (first - alert.time.0).max(begin(alert) - last).max(0);
                let made = made.iter();
                let near = made.map(|(first, last, _)| (distance(*first, *last), *first));
                near.filter(|(d, _)| *d <= PERIODS.gap_secs)
                    .min()
                    .map(|(_, first)| first)
            };
            let rest = own.iter().filter(|a| near(a).is_none());
            let rest = cut(rest.map(|a| (a.time.0, a.time.0, None)).collect());
            for alert in own {
                let within = |cut: &&Cut<'_>| (cut.0..=cut.1).contains(&alert.time.0);
                let first = near(alert).or_else(|| rest.iter().find(within).map(|cut| cut.0));
                let id = incident_id(&actor, EventTime(first.unwrap()));
                members.entry(id).or_default().push(alert.id.clone());
            }
        }
        members
    }

    /// First, last and members.
    type Cut<'a> = (i64, i64, Vec<Option<&'a AlertId>>);

    /// Spans without long gaps, of limited length.
    fn cut(mut alerts: Vec<(i64, i64, Option<&AlertId>)>) -> Vec<Cut<'_>> {
        alerts.sort();
        let mut cuts: Vec<Cut<'_>> = Vec::new();
        for (begin, end, id) in alerts {
            match cuts.last_mut() {
                Some((first, last, members))
                    if begin - *last <= PERIODS.gap_secs && end - *first <= PERIODS.max_secs =>
                {
                    *last = (*last).max(end);
                    members.push(id);
                }
                _ => cuts.push((begin, end, vec![id])),
            }
        }
        cuts
    }

    fn members(grouped: &GroupedAlerts) -> BTreeMap<IncidentId, Vec<AlertId>> {
        let mut members: BTreeMap<IncidentId, Vec<AlertId>> = BTreeMap::new();
        for alert in &grouped.alerts {
            let id = alert.incident.clone().unwrap();
            members.entry(id).or_default().push(alert.id.clone());
        }
        members
    }

    /// Groups alerts that come in pieces.
    fn in_pieces(alerts: &[Alert], pieces: &[usize]) -> GroupedAlerts {
        let mut grouping = IncidentGrouping::new(PERIODS);
        let mut all = GroupedAlerts::default();
        let mut rest = alerts;
        for most in pieces.iter().copied().cycle().take(alerts.len()) {
            let (piece, later) = rest.split_at(most.min(rest.len()));
            rest = later;
            let mut grouped = grouping.advance(piece.to_vec());
            all.alerts.append(&mut grouped.alerts);
            all.incidents.append(&mut grouped.incidents);
        }
        let mut grouped = grouping.finish();
        all.alerts.append(&mut grouped.alerts);
        all.incidents.append(&mut grouped.incidents);
        all.incidents
            .sort_by(|a, b| (a.first, &a.id).cmp(&(b.first, &b.id)));
        all
    }

    proptest! {
        #[test]
        fn incidents_are_those_of_the_definition_in_any_pieces(
            alerts in world(),
            pieces in prop::collection::vec(1..9_usize, 1..9),
            turn in 0..40_usize,
        ) {
            let whole = IncidentGrouping::all(PERIODS, alerts.clone());
            prop_assert_eq!(members(&whole), reference(&alerts));
            let mut shuffled = alerts.clone();
            shuffled.rotate_left(turn.min(alerts.len()));
            let again = IncidentGrouping::all(PERIODS, shuffled);
            prop_assert_eq!(&again.incidents, &whole.incidents);
            let pieces = in_pieces(&alerts, &pieces);
            prop_assert_eq!(&pieces.incidents, &whole.incidents);
            prop_assert_eq!(&pieces.alerts, &whole.alerts);
            for incident in &whole.incidents {
                let listed = &members(&whole)[&incident.id];
                prop_assert_eq!(&incident.alert_ids, listed);
                let own = whole.alerts.iter();
                let own = own.filter(|a| a.incident.as_ref() == Some(&incident.id));
                let of_file = Incident::of_file(&incident.id, own.collect());
                prop_assert_eq!(of_file.map(|known| known.alert_ids), Some(listed.clone()));
            }
        }
    }

    #[test]
    fn what_has_ended_is_not_held() {
        let mut grouping = IncidentGrouping::new(PERIODS);
        let mut ended = 0;
        for round in 0..1_000 {
            let alert = alert(round * 100, round % 2 == 0, &round.to_string(), "a", 0);
            ended += grouping.advance(vec![alert]).incidents.len();
            assert!(grouping.growing.len() < 5 && grouping.spans.len() < 5);
            assert!(grouping.waiting.len() + grouping.undecided.len() < 5);
        }
        assert!(ended > 990);
    }
}
