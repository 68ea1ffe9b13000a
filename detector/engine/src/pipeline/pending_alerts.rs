//! Pending alerts: rule matches that have not become alerts yet.

use std::{cmp::Ordering, collections::BTreeMap};

use ahash::{HashMap, HashSet};

use crate::{
    alert::{Alert, AlertId},
    evidence::Evidence,
    fact::{Fact, WindowKey, WindowRange},
    ids::SharedStr,
    rule::{Matches, RuleSet},
    state::{StateError, StateStore, memory::MemoryStore},
    time::EventTime,
};

/// Evidence of alerts about single events, each with the index of its rule.
pub(super) type Singles = BTreeMap<AlertId, (usize, Vec<Evidence>)>;

/// Pending alerts: evidence by rule and event, facts that are not written yet, and the times that
/// facts have touched.
#[derive(Default)]
pub(super) struct PendingAlerts {
    pub(super) singles: Singles,
    facts: Vec<(WindowKey, Fact)>,
    /// Facts of windows that one of them fills: such a window fires whatever else is in it, so that
    /// its facts need not be stored or read back.
    pub(super) lone: MemoryStore,
    pub(super) touched: TouchedTimes,
    /// The same for the alerts of rules that a correlation covers: by the window that raises them,
    /// and the group of the correlation.
    pub(super) covers: TouchedTimes,
}

/// What parts of a batch have touched.
#[derive(Default)]
pub(super) struct TouchedGroups {
    /// Windows.
    pub(super) windows: TouchedTimes,
    /// See [`PendingAlerts::covers`].
    pub(super) covers: TouchedTimes,
}

impl TouchedGroups {
    /// Number of groups.
    pub(super) fn len(&self) -> usize {
        self.windows.len() + self.covers.len()
    }
}

/// The times that facts have touched, by window rule and group.
#[derive(Default)]
pub(super) struct TouchedTimes(HashMap<(usize, WindowKey), (EventTime, EventTime)>);

impl TouchedTimes {
    /// Adds times of a group.
    pub(super) fn add(&mut self, place: (usize, WindowKey), times: (EventTime, EventTime)) {
        let span = self.0.entry(place).or_insert(times);
        *span = (span.0.min(times.0), span.1.max(times.1));
    }

    fn touch(&mut self, place: &(usize, WindowKey), time: EventTime) {
        match self.0.get_mut(place) {
            Some(span) => *span = (span.0.min(time), span.1.max(time)),
            // Most facts belong to a group that was touched before, and then its key is not copied.
            None => drop(self.0.insert(place.clone(), (time, time))),
        }
    }

    /// Number of groups.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The earliest time.
    pub(super) fn first(&self) -> Option<EventTime> {
        self.0.values().map(|(first, _)| *first).min()
    }

    /// Keeps groups, and may change their times.
    pub(super) fn retain(
        &mut self,
        mut keep: impl FnMut(&(usize, WindowKey), &mut (EventTime, EventTime)) -> bool,
    ) {
        self.0.retain(|place, times| keep(place, times));
    }

    pub(super) fn into_entries(
        self,
    ) -> impl Iterator<Item = ((usize, WindowKey), (EventTime, EventTime))> {
        self.0.into_iter()
    }
}

impl PendingAlerts {
    pub(super) fn add(&mut self, rules: &RuleSet, matches: Matches) {
        for (rule, evidence) in matches.singles {
            self.add_single(rules, rule, evidence);
        }
        for (window, key, fact) in matches.facts {
            // Windows that only feed others have facts that nobody reads.
            if let Some(rule) = rules.windows.get(window).filter(|rule| rule.alerts) {
                for covered in &rule.cover.covers {
                    self.covers.touch(&(covered.window, key.clone()), fact.time);
                }
                let place = (window, key);
                self.touched.touch(&place, fact.time);
                if rule.is_filled_by_one() {
                    self.lone.add_fact(place.1, fact);
                } else {
                    self.facts.push((place.1, fact));
                }
            }
        }
    }

    fn add_single(&mut self, rules: &RuleSet, rule: usize, evidence: Evidence) {
        if let Some(meta) = rules.single(rule) {
            // Copies of an event, and its early and its final evidence, are one alert.
            let id = Alert::single_id(meta, &evidence.head.event_key());
            let pending_alert = self.singles.entry(id).or_insert_with(|| (rule, Vec::new()));
            pending_alert.1.push(evidence);
        }
    }

    /// Takes out the pending single alerts about events before a time.
    pub(super) fn singles_before(&mut self, before: EventTime) -> Singles {
        let (now, later) = std::mem::take(&mut self.singles)
            .into_iter()
            .partition(|(_, (_, said))| said.iter().any(|evidence| evidence.head.time < before));
        self.singles = later;
        now
    }

    /// Writes the facts if there are more than `more_than`. In the store, the final evidence of a
    /// read replaces the early one, so that both need not be held.
    pub(super) async fn write<S: StateStore>(
        &mut self,
        store: &S,
        more_than: usize,
    ) -> Result<(), StateError> {
        if self.facts.len() > more_than {
            store.put_facts(std::mem::take(&mut self.facts)).await?;
        }
        Ok(())
    }
}

/// A group, and the times that facts have touched in it.
pub(super) struct TouchedWindow {
    pub(super) window: usize,
    pub(super) range: WindowRange,
    pub(super) ends: (EventTime, EventTime),
}

/// A late fact re-opens every window that contains it: those that end up to one span after it.
pub(super) fn touched(spans: TouchedTimes, rules: &RuleSet) -> Vec<TouchedWindow> {
    let mut touched: Vec<TouchedWindow> = spans
        .into_entries()
        .filter_map(|((window, key), (first, last))| {
            let span_secs = rules.windows.get(window)?.span_secs;
            let ends = (first, last.plus(span_secs));
            Some(TouchedWindow::new(window, key, span_secs, ends))
        })
        .collect();
    // Sorted, groups that share their first field are adjacent, and a store reads them in one call.
    touched.sort_by(TouchedWindow::by_window);
    touched
}

impl TouchedWindow {
    /// The windows of a group that end between two times, and the facts that they may contain.
    pub(super) fn new(
        window: usize,
        key: WindowKey,
        span_secs: i64,
        ends: (EventTime, EventTime),
    ) -> Self {
        let range = WindowRange {
            key,
            from: ends.0.plus(-span_secs),
            to: ends.1,
        };
        Self {
            window,
            range,
            ends,
        }
    }

    pub(super) fn by_window(&self, other: &Self) -> Ordering {
        (self.window, &self.range.key).cmp(&(other.window, &other.range.key))
    }
}

/// Of the early and the final evidence of one event, keeps the final one.
pub(super) fn most_telling(evidence: Vec<Evidence>) -> Vec<Evidence> {
    let finalized: HashSet<SharedStr> = evidence
        .iter()
        .filter(|e| e.is_finalized())
        .map(|e| e.head.event_key())
        .collect();
    // Changes have no KMS Decrypt, and never count as finalised.
    evidence
        .into_iter()
        .filter(|e| {
            e.access.is_none() || e.is_finalized() || !finalized.contains(&e.head.event_key())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        access::{Access, AccessDecrypt, AccessMethod, DecryptStatus},
        correlate,
        events_for_tests::{full_secret, get_secret, head},
    };

    fn said(event_id: &str, status: DecryptStatus) -> Evidence {
        let (read, secret) = (get_secret(event_id, 0, "x"), full_secret("x"));
        let key = secret.key();
        let row = correlate::row(&read, AccessMethod::Api, secret, key, None);
        let access = Access {
            decrypt: AccessDecrypt::only(status),
            ..(*row.access).clone()
        };
        Evidence::access(Arc::new(access))
    }

    fn change(event_id: &str) -> Evidence {
        Evidence {
            head: Arc::new(head(event_id, "DeleteSecret", 5)),
            secret: None,
            access: None,
        }
    }

    #[test]
    fn final_evidence_is_reported_instead_of_early_evidence() {
        let (early, finalized) = (
            said("e1", DecryptStatus::Pending),
            said("e1", DecryptStatus::Paired),
        );
        let (other, change) = (said("e2", DecryptStatus::Pending), change("e1"));
        let all = vec![early, other.clone(), finalized.clone(), change.clone()];
        assert_eq!(most_telling(all), [other, finalized, change]);
    }

    #[test]
    fn a_pending_alert_is_due_when_any_copy_of_its_event_is() {
        let mut pending_alerts = PendingAlerts::default();
        let ids = ["a", "b"].map(|id| AlertId(id.into()));
        let (early, late) = (said("e1", DecryptStatus::Paired), change("e2"));
        pending_alerts
            .singles
            .insert(ids[0].clone(), (0, vec![late.clone(), early]));
        pending_alerts
            .singles
            .insert(ids[1].clone(), (0, vec![late]));
        let due = pending_alerts.singles_before(EventTime(5));
        assert!(due.keys().eq(&ids[..1]) && pending_alerts.singles.keys().eq(&ids[1..]));
    }

    #[test]
    fn what_was_touched_grows_at_both_ends() {
        let mut touched = TouchedTimes::default();
        let key = WindowKey {
            rule: "rule".into(),
            group: Vec::new(),
        };
        let place = (0, key.clone());
        for secs in [50, 70, 40, 60] {
            touched.touch(&place, EventTime(secs));
        }
        touched.add(place.clone(), (EventTime(45), EventTime(75)));
        assert_eq!((touched.len(), touched.first()), (1, Some(EventTime(40))));
        let times = touched.into_entries().collect::<Vec<_>>();
        assert_eq!(times, [(place, (EventTime(40), EventTime(75)))]);
        // A window that ends at 40 contains facts from up to a span before it.
        let touched = TouchedWindow::new(0, key, 10, (EventTime(40), EventTime(80)));
        assert_eq!((touched.range.from.0, touched.range.to.0), (30, 80));
    }
}
