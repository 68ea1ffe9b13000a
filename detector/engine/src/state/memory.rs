//! The store of a replay and of tests: in memory.

mod completeness;
mod incidents;
mod outbox;
mod pending;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ahash::HashMap;

use self::{
    completeness::CompletenessTables,
    outbox::OutboxTable,
    pending::{PendingPlace, PendingTable, WaitingEvent},
};
use crate::{
    alert::{Alert, AlertId, IncidentId},
    coverage::{CoverageHours, CoverageMark},
    evidence::Evidence,
    exposure::changes::{SecretName, VersionChange},
    fact::{Fact, FactSet, RuleRange, WindowKey, WindowRange},
    ids::SharedStr,
    incident::announced::AnnouncedIncident,
    outbox::Destination,
    pending_event::{CorrelationRange, PendingEvent},
    seen::{self, LookbackPeriods, SeenTimes, Sighting},
    state::{DueDirectEvents, DueEvents, ExposedMark, SetAside, StateError, StateStore},
    time::EventTime,
};

#[derive(Default)]
struct MemoryTables {
    facts: HashMap<WindowKey, FactSet>,
    /// Slots that have facts, at any time, by id of the rule.
    slots: HashMap<SharedStr, BTreeSet<usize>>,
    pending: PendingTable,
    shared: HashMap<SharedStr, Vec<Arc<PendingEvent>>>,
    coverage: CoverageHours,
    /// By time of arrival and identity.
    direct: BTreeMap<SharedStr, (EventTime, Evidence)>,
    seen: HashMap<SharedStr, SeenTimes>,
    alerts: HashMap<AlertId, CreatedAlert>,
    incidents: HashMap<IncidentId, AnnouncedIncident>,
    version_changes: HashMap<SecretName, BTreeSet<VersionChange>>,
    exposed: HashMap<SecretName, BTreeSet<ExposedMark>>,
    outbox: OutboxTable,
    completeness: CompletenessTables,
}

/// An alert that was created.
struct CreatedAlert {
    alert: Alert,
    /// Since when the event of a provisional alert waits to be finalised; `None` once it is
    /// confirmed or withdrawn.
    provisional: Option<EventTime>,
}

/// A store that keeps everything in memory, until it is dropped.
#[derive(Default)]
pub struct MemoryStore {
    tables: Mutex<MemoryTables>,
}

impl MemoryTables {
    fn facts_of(&self, range: &WindowRange) -> impl Iterator<Item = &Fact> {
        let set = self.facts.get(&range.key).into_iter();
        set.flat_map(|set| set.between(range.from, range.to))
    }

    /// Adds an alert that is created or withdrawn at `now`, or replaces it.
    fn add_alert(&mut self, alert: Alert, now: EventTime, provisional: Option<EventTime>) {
        self.outbox.add(&alert, now);
        let created = CreatedAlert { alert, provisional };
        self.alerts.insert(created.alert.id.clone(), created);
    }

    /// Withdraws those of some alerts that may be.
    fn withdraw(
        &mut self,
        ids: &[AlertId],
        now: EventTime,
        may_be: impl Fn(&CreatedAlert) -> bool,
    ) -> Vec<Alert> {
        let mut withdrawn = Vec::new();
        for id in ids {
            if let Some(known) = self.alerts.get(id).filter(|known| may_be(known)) {
                let mut alert = known.alert.clone();
                alert.withdrawn = true;
                withdrawn.push(alert.clone());
                self.add_alert(alert, now, None);
            }
        }
        withdrawn
    }
}

impl MemoryStore {
    /// An empty store that writes notes for these destinations.
    #[must_use]
    pub fn with_destinations(destinations: Vec<Destination>) -> Self {
        let store = Self::default();
        store.tables().outbox = OutboxTable::new(destinations);
        store
    }

    fn tables(&self) -> MutexGuard<'_, MemoryTables> {
        // The maps are usable even after a panic.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryStore {
    /// Adds one fact.
    pub(crate) fn add_fact(&self, key: WindowKey, fact: Fact) {
        let mut tables = self.tables();
        match tables.slots.get_mut(&key.rule) {
            Some(slots) => _ = slots.insert(fact.slot),
            // Once for each rule: for all other facts the id is not cloned.
            None => {
                let slots = BTreeSet::from([fact.slot]);
                tables.slots.insert(key.rule.clone(), slots);
            }
        }
        tables.facts.entry(key).or_default().add(fact);
    }

    /// Drops the facts of each rule before the time given for it.
    pub(crate) fn forget_facts(&self, oldest: &HashMap<SharedStr, EventTime>) {
        self.tables().facts.retain(|key, set| {
            let oldest = oldest.get(&key.rule);
            oldest.is_none_or(|oldest| set.forget(*oldest))
        });
    }

    /// All recorded times, by the order of their keys.
    pub(crate) fn all_seen(&self) -> Vec<(SharedStr, SeenTimes)> {
        let tables = self.tables();
        let seen = tables.seen.iter();
        let mut all: Vec<_> = seen
            .map(|(key, times)| (key.clone(), times.clone()))
            .collect();
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Drops what was last seen before a time, but not when an account's logs begin.
    pub(crate) fn forget_seen(&self, oldest: EventTime, lookback: LookbackPeriods) {
        self.tables().seen.retain(|key, times| {
            seen::is_since_key(key) || times.forget(oldest, lookback.grain_secs())
        });
    }
}

fn due_events(due: Vec<(&WaitingEvent, PendingPlace)>) -> DueEvents<Vec<PendingPlace>> {
    let due = due.into_iter();
    let (ends, receipt) = due
        .map(|(waiting, place)| (waiting.end.clone(), place))
        .unzip();
    DueEvents { ends, receipt }
}

impl StateStore for MemoryStore {
    type Receipt = Vec<PendingPlace>;

    async fn put_facts(&self, facts: Vec<(WindowKey, Fact)>) -> Result<(), StateError> {
        facts
            .into_iter()
            .for_each(|(key, fact)| self.add_fact(key, fact));
        Ok(())
    }

    async fn facts_up_to(
        &self,
        ranges: &[WindowRange],
        most: usize,
    ) -> Result<Vec<Option<Vec<Fact>>>, StateError> {
        let tables = self.tables();
        let mut left = most;
        let found = ranges.iter().map(|range| {
            let facts = tables.facts_of(range).take(left.saturating_add(1));
            let facts: Vec<Fact> = facts.cloned().collect();
            left = left.checked_sub(facts.len())?;
            Some(facts)
        });
        Ok(found.collect())
    }

    async fn facts_in_parts(
        &self,
        ranges: &[WindowRange],
        take: &mut (dyn FnMut(usize, Fact) + Send),
    ) -> Result<(), StateError> {
        let tables = self.tables();
        for (index, range) in ranges.iter().enumerate() {
            let facts = tables.facts_of(range).cloned();
            facts.for_each(|fact| take(index, fact));
        }
        Ok(())
    }

    async fn slots(&self, windows: &[RuleRange]) -> Result<Vec<BTreeSet<usize>>, StateError> {
        // The range is ignored: reporting too many slots is allowed.
        let tables = self.tables();
        let slots = windows.iter().map(|range| tables.slots.get(&range.rule));
        Ok(slots
            .map(|slots| slots.cloned().unwrap_or_default())
            .collect())
    }

    async fn put_pending_events(
        &self,
        mut ends: Vec<Arc<PendingEvent>>,
        arrived: EventTime,
    ) -> Result<(), StateError> {
        // Sorted by correlation group, so that each group is looked up in memory once.
        ends.sort_by_cached_key(|end| end.correlation_group.fingerprint());
        let mut tables = self.tables();
        let MemoryTables {
            pending, shared, ..
        } = &mut *tables;
        pending.reserve(ends.len());
        for end in ends {
            if pending.add(&end, arrived)
                && end.may_have_copies
                && let Some(id) = end.observation.head().shared_id.clone()
            {
                shared.entry(id).or_default().push(end);
            }
        }
        Ok(())
    }

    async fn due_pending_events(
        &self,
        since: EventTime,
        most: usize,
    ) -> Result<DueEvents<Self::Receipt>, StateError> {
        let tables = self.tables();
        let mut due = tables.pending.due(since);
        // A replay asks for all of them, and needs no order.
        if due.len() > most {
            due.sort_by_key(|(waiting, place)| (waiting.since, *place));
            due.truncate(most);
        }
        Ok(due_events(due))
    }

    async fn due_pending_events_after(
        &self,
        since: EventTime,
        most: usize,
        receipt: &Self::Receipt,
    ) -> Result<DueEvents<Self::Receipt>, StateError> {
        let tables = self.tables();
        let mut due = tables.pending.due(since);
        due.sort_by_key(|(waiting, place)| (waiting.since, *place));
        let known: BTreeSet<&PendingPlace> = receipt.iter().collect();
        let last = due.iter().rposition(|(_, place)| known.contains(place));
        due.drain(..last.map_or(0, |last| last + 1));
        due.truncate(most);
        Ok(due_events(due))
    }

    async fn pending_events_in(
        &self,
        correlation_groups: &[CorrelationRange],
    ) -> Result<Vec<Vec<Arc<PendingEvent>>>, StateError> {
        let mut tables = self.tables();
        let mut found = Vec::with_capacity(correlation_groups.len());
        for range in correlation_groups {
            let times = range.from..=range.to;
            let events = tables.pending.between(&range.correlation_group, times);
            found.push(events.map(|waiting| waiting.end.clone()).collect());
        }
        Ok(found)
    }

    async fn pending_events_sharing(
        &self,
        shared_ids: &[SharedStr],
    ) -> Result<Vec<Arc<PendingEvent>>, StateError> {
        let tables = self.tables();
        // Every copy of an event asks for it: with repetitions, the answer would grow with the
        // square of the number of copies.
        let asked: BTreeSet<&SharedStr> = shared_ids.iter().collect();
        let found = asked.into_iter().filter_map(|id| tables.shared.get(id));
        Ok(found.flatten().cloned().collect())
    }

    async fn close_pending_events(&self, receipt: Self::Receipt) -> Result<(), StateError> {
        let mut tables = self.tables();
        receipt
            .into_iter()
            .for_each(|place| tables.pending.close(place));
        Ok(())
    }

    async fn set_aside_pending_events(
        &self,
        receipt: Self::Receipt,
        since: EventTime,
    ) -> Result<SetAside, StateError> {
        let mut tables = self.tables();
        let count = receipt.len();
        receipt
            .into_iter()
            .for_each(|place| tables.pending.wait_since(place, since));
        Ok(SetAside::Later(count))
    }

    async fn pending_since(&self) -> Result<Option<EventTime>, StateError> {
        let tables = self.tables();
        let open = tables.pending.due(EventTime(i64::MAX));
        Ok(open.iter().map(|(waiting, _)| waiting.since).min())
    }

    async fn put_direct_events(
        &self,
        events: Vec<Evidence>,
        arrived: EventTime,
    ) -> Result<(), StateError> {
        let mut tables = self.tables();
        for event in events {
            // Padded with zeros: names compare as text.
            let (at, key, content) = (arrived.0.max(0), event.fact_key(), event.head.content);
            let name = format!("{at:012}#{key}#{content:016x}");
            tables.direct.insert(name.into(), (arrived, event));
        }
        Ok(())
    }

    async fn due_direct_events(
        &self,
        until: EventTime,
        most: usize,
    ) -> Result<DueDirectEvents, StateError> {
        let tables = self.tables();
        let due = tables
            .direct
            .iter()
            .filter(|(_, (arrived, _))| *arrived <= until);
        let due = due.map(|(name, (_, event))| (event.clone(), name.clone()));
        let (events, receipt) = due.take(most).unzip();
        Ok(DueDirectEvents { events, receipt })
    }

    async fn close_direct_events(&self, receipt: Vec<SharedStr>) -> Result<(), StateError> {
        let mut tables = self.tables();
        for name in receipt {
            tables.direct.remove(&name);
        }
        Ok(())
    }

    async fn put_version_changes(&self, changes: Vec<VersionChange>) -> Result<(), StateError> {
        let known = &mut self.tables().version_changes;
        for change in changes {
            known
                .entry(change.secret.clone())
                .or_default()
                .insert(change);
        }
        Ok(())
    }

    async fn mark_coverage(&self, marks: Vec<CoverageMark>) -> Result<(), StateError> {
        let mut tables = self.tables();
        marks.iter().for_each(|mark| tables.coverage.add(mark));
        Ok(())
    }

    async fn covered(&self, marks: &[CoverageMark]) -> Result<Vec<bool>, StateError> {
        let tables = self.tables();
        let found = marks.iter().map(|mark| tables.coverage.contains(mark));
        Ok(found.collect())
    }

    async fn seen(&self, keys: &[SharedStr]) -> Result<Vec<SeenTimes>, StateError> {
        let tables = self.tables();
        let found = keys.iter().map(|key| tables.seen.get(key));
        Ok(found
            .map(|times| times.cloned().unwrap_or_default())
            .collect())
    }

    async fn put_seen(
        &self,
        times: Vec<Sighting>,
        lookback: LookbackPeriods,
    ) -> Result<(), StateError> {
        let mut tables = self.tables();
        for Sighting { key, time } in times {
            let times = tables.seen.entry(key).or_default();
            times.add(time, lookback.grain_secs());
        }
        Ok(())
    }

    async fn create_alerts(
        &self,
        alerts: Vec<Alert>,
        now: EventTime,
    ) -> Result<Vec<bool>, StateError> {
        let mut tables = self.tables();
        let mut created = Vec::with_capacity(alerts.len());
        for alert in alerts {
            let known = tables.alerts.get_mut(&alert.id);
            let standing = known.filter(|known| !known.alert.withdrawn);
            created.push(standing.is_none());
            match standing {
                Some(known) => {
                    let is_confirmed = known.provisional.take().is_some();
                    let kept = known.alert.followed_by(&alert, is_confirmed);
                    if kept != known.alert {
                        known.alert = kept.clone();
                        tables.outbox.add_grouping(&kept, now);
                    }
                }
                None => tables.add_alert(alert, now, None),
            }
        }
        Ok(created)
    }

    async fn create_provisional_alerts(
        &self,
        alerts: Vec<(Alert, EventTime)>,
        now: EventTime,
    ) -> Result<Vec<bool>, StateError> {
        let mut tables = self.tables();
        let mut created = Vec::with_capacity(alerts.len());
        for (alert, since) in alerts {
            let new = !tables.alerts.contains_key(&alert.id);
            created.push(new);
            if new {
                tables.add_alert(alert, now, Some(since));
            }
        }
        Ok(created)
    }

    async fn provisional_alerts(&self, since: EventTime) -> Result<Vec<AlertId>, StateError> {
        let tables = self.tables();
        let alerts = tables.alerts.values();
        let open = alerts.filter(|known| known.provisional.is_some_and(|began| began <= since));
        Ok(open.map(|known| known.alert.id.clone()).collect())
    }

    async fn withdraw_alerts(
        &self,
        ids: &[AlertId],
        now: EventTime,
    ) -> Result<Vec<Alert>, StateError> {
        let mut tables = self.tables();
        Ok(tables.withdraw(ids, now, |known| known.provisional.is_some()))
    }

    async fn retract_alerts(
        &self,
        ids: &[AlertId],
        now: EventTime,
    ) -> Result<Vec<Alert>, StateError> {
        let mut tables = self.tables();
        Ok(tables.withdraw(ids, now, |known| !known.alert.withdrawn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{events_for_tests::head, state::contract};

    #[test]
    fn keeps_the_contract() {
        pollster::block_on(contract::run(MemoryStore::with_destinations));
    }

    #[test]
    fn pending_events_with_one_fingerprint_are_distinguished() {
        let ends: Vec<Arc<PendingEvent>> = [("e1", "ann"), ("e2", "ann"), ("e3", "bob")]
            .into_iter()
            .map(|(id, actor)| {
                let end = (*contract::end(id, 100, actor)).clone();
                Arc::new(end.colliding())
            })
            .collect();
        pollster::block_on(async {
            let store = MemoryStore::default();
            for _ in 0..2 {
                store
                    .put_pending_events(ends.clone(), EventTime(0))
                    .await
                    .unwrap();
            }
            let due = async || store.due_pending_events(EventTime(100), 10).await.unwrap();
            let first = due().await;
            assert_eq!(first.ends, ends);
            let correlation_groups = [1, 2].map(|index| CorrelationRange {
                correlation_group: ends[index].correlation_group.clone(),
                from: EventTime(100),
                to: EventTime(100),
            });
            assert_eq!(
                store.pending_events_in(&correlation_groups).await.unwrap(),
                [ends[..2].to_vec(), ends[2..].to_vec()]
            );
            let receipt = vec![first.receipt[1]];
            store.close_pending_events(receipt).await.unwrap();
            assert_eq!(due().await.ends, [ends[0].clone(), ends[2].clone()]);
        });
    }

    #[test]
    fn those_that_have_waited_longest_are_given_first() {
        let end = |id, delivered| {
            let mut end = (*contract::end(id, 100, id)).clone();
            end.delivered = EventTime(delivered);
            Arc::new(end)
        };
        let ends = vec![end("e1", 130), end("e2", 110), end("e3", 120)];
        pollster::block_on(async {
            let store = MemoryStore::default();
            store
                .put_pending_events(ends, EventTime(115))
                .await
                .unwrap();
            let most = async |most| {
                let due = store
                    .due_pending_events(EventTime(200), most)
                    .await
                    .unwrap();
                due.ends
                    .iter()
                    .map(|end| end.id.parts().1.to_owned())
                    .collect::<Vec<_>>()
            };
            assert_eq!(most(1).await, ["e2"]);
            assert_eq!(most(2).await, ["e2", "e3"]);
            assert_eq!(most(3).await.len(), 3);
        });
    }

    fn fact(secs: i64) -> Fact {
        let head = head(&format!("e{secs}"), "GetSecretValue", secs);
        Fact {
            slot: 0,
            key: head.event_id.clone(),
            time: head.time,
            value: None,
            least: None,
            evidence: Evidence {
                head: Arc::new(head),
                secret: None,
                access: None,
            },
        }
    }

    #[test]
    fn facts_are_forgotten_by_rule_and_those_from_the_time_on_stay() {
        let window = |rule: &str| WindowKey {
            rule: rule.into(),
            group: Vec::new(),
        };
        let store = MemoryStore::default();
        for rule in ["short", "long", "other"] {
            (1..4).for_each(|secs| store.add_fact(window(rule), fact(secs)));
        }
        let oldest = [("short", 3), ("long", 4)];
        let oldest = oldest.map(|(rule, secs)| (SharedStr::from(rule), EventTime(secs)));
        store.forget_facts(&oldest.into_iter().collect());
        let ranges = ["short", "long", "other"].map(|rule| WindowRange {
            key: window(rule),
            from: EventTime(0),
            to: EventTime(9),
        });
        let left = pollster::block_on(store.facts(&ranges)).unwrap();
        assert_eq!(
            left,
            [vec![fact(3)], vec![], vec![fact(1), fact(2), fact(3)]]
        );
        assert_eq!(
            store.tables().facts.len(),
            2,
            "nothing is left of an empty group"
        );
    }

    #[test]
    fn what_was_seen_is_forgotten_but_not_since_when_there_are_logs() {
        let lookback = LookbackPeriods {
            lookback_secs: 900,
            warm_up_secs: 0,
        };
        let since = seen::since_key("111122223333");
        let sighting = |key: &SharedStr, secs| Sighting {
            key: key.clone(),
            time: EventTime(secs),
        };
        let pair = SharedStr::from("pair");
        let store = MemoryStore::default();
        let found = pollster::block_on(async {
            let times = vec![
                sighting(&since, 5),
                sighting(&pair, 5),
                sighting(&pair, 500),
            ];
            store.put_seen(times, lookback).await.unwrap();
            store.forget_seen(EventTime(400), lookback);
            store.seen(&[since, pair]).await.unwrap()
        });
        let found = found
            .iter()
            .map(|times| times.iter().map(|time| time.0).collect());
        assert_eq!(found.collect::<Vec<Vec<i64>>>(), [vec![5], vec![500]]);
    }
}
