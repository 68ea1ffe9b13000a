//! Creates alerts: writes the pending facts, reads the windows that they have touched, and creates
//! an alert for each match.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    BatchOutcome, Pipeline,
    pending_alerts::{
        PendingAlerts, Singles, TouchedGroups, TouchedTimes, TouchedWindow, most_telling, touched,
    },
};
use crate::{
    actor::common::CommonTraits,
    alert::{Alert, AlertId, WindowMatch},
    fact::{Fact, RuleRange, WindowRange},
    rule::WindowRule,
    state::{StateError, StateStore, memory::MemoryStore},
    time::EventTime,
    window::{self, held_back},
};

/// Number of windows that are read at a time.
const WINDOWS: usize = 256;

/// Alerts that are not created yet, each once, however many rules and windows produced it.
pub(super) type AlertsById = BTreeMap<AlertId, Alert>;

impl Pipeline<'_> {
    /// Creates the alerts of matches.
    pub(super) async fn create<S: StateStore>(
        &self,
        store: &S,
        pending_alerts: PendingAlerts,
        now: EventTime,
        outcome: &mut BatchOutcome,
    ) -> Result<(), StateError> {
        let mut touched = TouchedGroups::default();
        let alerts = self
            .alerts_of_part(store, pending_alerts, &mut touched)
            .await?;
        self.create_of(store, touched, alerts, now, outcome).await
    }

    /// Reads the windows that facts have touched, and creates their alerts with others.
    pub(super) async fn create_of<S: StateStore>(
        &self,
        store: &S,
        touched: TouchedGroups,
        alerts: AlertsById,
        now: EventTime,
        outcome: &mut BatchOutcome,
    ) -> Result<(), StateError> {
        let TouchedGroups { windows, covers } = touched;
        let mut alerts = self.alerts_of_windows(store, windows, alerts).await?;
        let ranges = self.ranges_around(covers);
        let verdict = self.uncovered(store, &ranges).await?;
        alerts.extend(verdict.raised.clone());
        self.create_alerts(store, alerts, now, outcome).await?;
        if ranges.is_empty() {
            return Ok(());
        }
        self.keep_uncovered(store, &ranges, verdict, now, outcome)
            .await
    }

    /// Creates alerts, and lists those that this call has created.
    pub(super) async fn create_alerts<S: StateStore>(
        &self,
        store: &S,
        alerts: AlertsById,
        now: EventTime,
        outcome: &mut BatchOutcome,
    ) -> Result<(), StateError> {
        let alerts = by_time(alerts);
        let created = store.create_alerts(alerts.clone(), now).await?;
        outcome.list_created(alerts, &created);
        Ok(())
    }

    /// Writes the remaining facts of a part of a batch, and returns the alerts for which no window
    /// must be read. The windows to read are added to `open`.
    pub(super) async fn alerts_of_part<S: StateStore>(
        &self,
        store: &S,
        mut pending_alerts: PendingAlerts,
        open: &mut TouchedGroups,
    ) -> Result<AlertsById, StateError> {
        let mut alerts = AlertsById::new();
        // Before any window is read: of several writers that complete a window together, the last
        // to write reads all of it.
        pending_alerts.write(store, 0).await?;
        self.single_alerts(pending_alerts.singles, &mut alerts);
        let mut lone = TouchedTimes::default();
        for (place, times) in pending_alerts.touched.into_entries() {
            if self.is_filled_by_one(place.0) {
                lone.add(place, times);
            } else {
                open.windows.add(place, times);
            }
        }
        for (place, times) in pending_alerts.covers.into_entries() {
            open.covers.add(place, times);
        }
        // These windows fire by any one fact, and the facts are at hand: the store is not read.
        for touched in touched(lone, self.rules).chunks(WINDOWS) {
            self.evaluate_windows(&pending_alerts.lone, touched, &mut alerts)
                .await?;
        }
        Ok(alerts)
    }

    /// Reads windows, and adds their alerts to others.
    pub(super) async fn alerts_of_windows<S: StateStore>(
        &self,
        store: &S,
        open: TouchedTimes,
        mut alerts: AlertsById,
    ) -> Result<AlertsById, StateError> {
        let touched = self.that_may_fire(store, touched(open, self.rules)).await?;
        for touched in touched.chunks(WINDOWS) {
            self.evaluate_windows(store, touched, &mut alerts).await?;
        }
        Ok(alerts)
    }

    fn is_filled_by_one(&self, window: usize) -> bool {
        let window = self.rules.windows.get(window);
        window.is_some_and(WindowRule::is_filled_by_one)
    }

    /// Adds the alerts about single events.
    pub(super) fn single_alerts(&self, singles: Singles, alerts: &mut AlertsById) {
        for (id, (rule, evidence)) in singles {
            if let Some(meta) = self.rules.single(rule) {
                let evidence = most_telling(evidence);
                let alert = Alert::new(id.clone(), meta.clone(), None, evidence);
                alerts.insert(id, alert);
            }
        }
    }

    /// Adds the alerts of windows: those that one fact fills are read from `own`, the others from
    /// `store`.
    pub(super) async fn window_alerts<S: StateStore>(
        &self,
        store: &S,
        own: &MemoryStore,
        touched: Vec<TouchedWindow>,
        alerts: &mut AlertsById,
    ) -> Result<(), StateError> {
        let (lone, shared): (Vec<_>, Vec<_>) = touched
            .into_iter()
            .partition(|touched| self.is_filled_by_one(touched.window));
        // These windows fire by any one fact, and the facts are at hand: the store is not read.
        for touched in lone.chunks(WINDOWS) {
            self.evaluate_windows(own, touched, alerts).await?;
        }
        let shared = self.that_may_fire(store, shared).await?;
        for touched in shared.chunks(WINDOWS) {
            self.evaluate_windows(store, touched, alerts).await?;
        }
        Ok(())
    }

    /// Drops the windows that need facts of several rules, if one of the rules has no facts at all.
    /// Every writer writes its facts first, so that the last one sees them all.
    async fn that_may_fire<S: StateStore>(
        &self,
        store: &S,
        mut touched: Vec<TouchedWindow>,
    ) -> Result<Vec<TouchedWindow>, StateError> {
        let spans = self.spans_of_joins(&touched);
        let asked: Vec<_> = spans.values().cloned().collect();
        let slots = store.slots(&asked).await?;
        let slots: BTreeMap<usize, BTreeSet<usize>> = spans.into_keys().zip(slots).collect();
        touched.retain(|touch| {
            let window = self.rules.windows.get(touch.window);
            let present = slots.get(&touch.window).zip(window);
            present.is_none_or(|(slots, window)| window::may_fire(window, slots))
        });
        Ok(touched)
    }

    /// The touched times, in any group, of each window that cannot fire by facts of one rule alone.
    fn spans_of_joins(&self, touched: &[TouchedWindow]) -> BTreeMap<usize, RuleRange> {
        let mut spans = BTreeMap::new();
        for TouchedWindow { window, range, .. } in touched {
            let rule = self.rules.windows.get(*window);
            // Only the first slot is tried: a rule that another one alone would satisfy costs one
            // more query.
            if rule.is_some_and(|rule| !window::may_fire(rule, &BTreeSet::from([0]))) {
                let span = spans.entry(*window).or_insert_with(|| RuleRange {
                    rule: range.key.rule.clone(),
                    from: range.from,
                    to: range.to,
                });
                span.from = span.from.min(range.from);
                span.to = span.to.max(range.to);
            }
        }
        spans
    }

    /// Reads windows, and adds an alert for each match.
    async fn evaluate_windows<S: StateStore>(
        &self,
        store: &S,
        touched: &[TouchedWindow],
        alerts: &mut AlertsById,
    ) -> Result<(), StateError> {
        let ranges: Vec<WindowRange> = touched.iter().map(|t| t.range.clone()).collect();
        let found = store.facts_up_to(&ranges, self.facts_at_once).await?;
        let mut large = Vec::new();
        for (touch, facts) in touched.iter().zip(found) {
            let window = self.rules.windows.get(touch.window);
            match (window, facts) {
                (Some(window), Some(facts)) => {
                    let group = &touch.range.key.group;
                    for (window_match, facts) in window::evaluate(window, group, &facts, touch.ends)
                    {
                        let alert = window_alert(window, window_match, facts);
                        alerts.insert(alert.id.clone(), alert);
                    }
                }
                (Some(_), None) => large.push(touch),
                (None, _) => {}
            }
        }
        // Sorted by rule: the facts of one rule at a time.
        for touched in large.chunk_by(|a, b| a.window == b.window) {
            self.evaluate_large(store, touched, alerts).await?;
        }
        Ok(())
    }
}

/// Alerts in the order of their times and ids.
pub(super) fn by_time(alerts: AlertsById) -> Vec<Alert> {
    let mut alerts: Vec<Alert> = alerts.into_values().collect();
    alerts.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
    alerts
}

pub(super) fn window_alert(
    window: &WindowRule,
    window_match: WindowMatch,
    facts: Vec<&Fact>,
) -> Alert {
    let id = Alert::window_id(&window.meta, &window_match.group, window_match.bucket);
    let lasts = AlertTimes::of(window, &window_match, &facts);
    let evidence = facts.into_iter().map(|fact| fact.evidence.clone());
    let evidence = most_telling(evidence.collect());
    let common = window.holds_back().then(|| CommonTraits::of(&evidence));
    let alert = Alert::new(id, window.meta.clone(), Some(window_match), evidence);
    lasts.apply(Alert { common, ..alert })
}

/// From when to when the alert of a window lasts.
#[derive(Clone, Copy)]
pub(super) struct AlertTimes {
    began: Option<EventTime>,
    time: EventTime,
}

impl AlertTimes {
    /// The times of an alert that rests on these facts, which are in order of time.
    pub(super) fn of(window: &WindowRule, window_match: &WindowMatch, facts: &[&Fact]) -> Self {
        if let Some((began, time)) = held_back::lasts(facts).filter(|_| window.holds_back()) {
            return Self {
                began: Some(began),
                time,
            };
        }
        Self {
            began: began(facts),
            time: window_match.end,
        }
    }

    pub(super) fn apply(self, alert: Alert) -> Alert {
        Alert {
            began: self.began.unwrap_or(alert.began),
            time: self.time,
            ..alert
        }
    }
}

/// The first time by which each of the rules that have facts has one: what an instance reads every
/// day is no part of the story before somebody else reads with its credentials.
fn began(facts: &[&Fact]) -> Option<EventTime> {
    let mut firsts: BTreeMap<usize, EventTime> = BTreeMap::new();
    for fact in facts {
        let first = firsts.entry(fact.slot).or_insert(fact.time);
        *first = fact.time.min(*first);
    }
    firsts.into_values().max()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;
    use crate::{
        actor::{Actor, Origin},
        events_for_tests::head,
        evidence::Evidence,
        limits::DAY_SECS,
        observation::SourceKind,
        rule::load::load,
    };

    /// An event: half hour, principal, address, secret or none.
    type Said = (i64, u8, u8, Option<u8>);

    fn window(suppress: &str) -> WindowRule {
        let text = format!(
            "title: one
id: one
logsource: {{product: aws, category: secret_access}}
detection: {{read: {{access.outcome: success}}, condition: read}}
secretrail: {{suppress: {suppress}, group-by: [secret.account]}}
"
        );
        let (mut rules, _) = load([("rules.yml", text.as_str())]).unwrap();
        rules.windows.remove(0)
    }

    fn fact(number: usize, (half_hours, who, address, secret): Said) -> Fact {
        let id = format!("e{number}");
        let mut head = head(&id, "GetSecretValue", half_hours * 1_800);
        let principal = Arc::make_mut(&mut head.principal);
        principal.principal_id = Some(format!("AROA{who}:s").into());
        let source = Arc::make_mut(&mut head.source);
        (source.ip, source.kind) = (Some(format!("10.{address}.0.1").into()), SourceKind::Ip);
        let secret = secret.map(|name| crate::events_for_tests::full_secret(&format!("s{name}")));
        Fact {
            slot: 0,
            key: id.into(),
            time: head.time,
            value: None,
            least: None,
            evidence: Evidence::event(Arc::new(head), secret),
        }
    }

    /// The alerts of facts, by their ids.
    fn alerts(window: &WindowRule, facts: &[Fact]) -> AlertsById {
        let ever = (EventTime(i64::MIN), EventTime(i64::MAX));
        let matches = window::evaluate(window, &[], facts, ever).into_iter();
        let alerts = matches.map(|(found, facts)| window_alert(window, found, facts));
        alerts.map(|alert| (alert.id.clone(), alert)).collect()
    }

    /// What incidents need of an alert.
    fn needs(alert: &Alert) -> (Option<EventTime>, EventTime, EventTime, &Actor, &Origin) {
        let first = alert.events.first().map(|event| event.time);
        (first, alert.began, alert.time, &alert.actor, &alert.origin)
    }

    fn add(kept: &mut AlertsById, alert: Alert) {
        let known = kept.get(&alert.id);
        let alert = known.map_or(alert.clone(), |known| known.merged(&alert));
        kept.insert(alert.id.clone(), alert);
    }

    proptest! {
        #[test]
        fn the_merged_forms_of_parts_of_any_kind_are_the_alert_of_all(
            said in vec((0_i64..150, 0_u8..3, 0_u8..40, prop::option::of(0_u8..2)), 1..40),
            parts in vec(vec(any::<Index>(), 1..9), 0..12),
            suppress in prop_oneof![Just("1h"), Just("7h"), Just("1d"), Just("40h"), Just("30d")],
        ) {
            let window = window(suppress);
            let facts: Vec<Fact> = said.iter().enumerate().map(|(n, said)| fact(n, *said)).collect();
            let whole = alerts(&window, &facts);
            let mut kept = AlertsById::new();
            // Some in several parts, and each in one at least, the last ones first.
            let parts = parts.iter().map(|part| part.iter().map(|at| at.get(&facts).clone()));
            let parts = parts.map(Iterator::collect::<Vec<Fact>>);
            let rest = facts.iter().rev().map(|fact| vec![fact.clone()]);
            for part in parts.chain(rest) {
                for alert in alerts(&window, &part).into_values() {
                    add(&mut kept, alert);
                }
            }
            prop_assert!(kept.keys().eq(whole.keys()));
            for (merged, whole) in kept.values().zip(whole.values()) {
                prop_assert_eq!(needs(merged), needs(whole));
                prop_assert_eq!(&merged.common, &whole.common);
                prop_assert!(merged.time.0 - merged.began.0 < DAY_SECS);
                // What is known already changes nothing, and is not written again.
                prop_assert_eq!(&merged.merged(merged), merged);
                let again = merged.merged(whole);
                prop_assert_eq!(needs(&again), needs(whole));
                prop_assert_eq!(again.merged(merged), again.clone());
                prop_assert_eq!(again.merged(whole), again);
            }
        }
    }
}
