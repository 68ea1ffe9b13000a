//! Tests: whatever the order and the batches, what is announced in the end is what the definition
//! says of the alerts that stand.

mod exposed;

use std::{
    collections::{BTreeMap, BTreeSet},
    slice::from_ref,
    sync::Arc,
};

use proptest::prelude::*;

use super::*;
use crate::{
    incident::{announced::NewsKind, grouping::tests as worlds},
    outbox::{DeliveredKinds, Destination, WaitingContent, WaitingMessage},
    rule_meta::RuleLevel,
    state::{OutboxStore, StateStore, memory::MemoryStore},
};

const ALL: &str = "all";

fn store() -> MemoryStore {
    MemoryStore::with_destinations(vec![Destination {
        id: ALL.into(),
        min_level: RuleLevel::Informational,
        kinds: DeliveredKinds::Incidents,
        digest_below: None,
    }])
}

/// What was announced.
fn all_announced(store: &MemoryStore, alerts: &[Alert]) -> Vec<AnnouncedIncident> {
    let actors: BTreeSet<ActorKey> = alerts.iter().map(|alert| alert.actor.identity()).collect();
    let ranges: Vec<ActorRange> = actors
        .into_iter()
        .map(|actor| ActorRange {
            actor,
            from: EventTime(i64::MIN),
            to: EventTime(i64::MAX),
        })
        .collect();
    let known = pollster::block_on(store.announced(&ranges)).unwrap();
    known.into_iter().flatten().collect()
}

/// What stands of what was announced.
fn standing(store: &MemoryStore, alerts: &[Alert]) -> BTreeMap<IncidentId, AnnouncedIncident> {
    let known = all_announced(store, alerts).into_iter();
    known
        .filter(|known| known.end.is_none())
        .map(|known| (known.id.clone(), known))
        .collect()
}

/// Creates, or withdraws, alerts at a time and groups them.
fn write(store: &MemoryStore, alerts: &[Alert], now: i64) -> RegroupedAlerts {
    let now = EventTime(now);
    pollster::block_on(async {
        let (gone, new): (Vec<Alert>, Vec<Alert>) =
            alerts.iter().cloned().partition(|alert| alert.withdrawn);
        let since = new.into_iter().map(|alert| (alert, now)).collect();
        store.create_provisional_alerts(since, now).await.unwrap();
        let gone: Vec<AlertId> = gone.into_iter().map(|alert| alert.id).collect();
        store.withdraw_alerts(&gone, now).await.unwrap();
        regroup(store, alerts, worlds::PERIODS, now).await.unwrap()
    })
}

fn withdrawn(alert: &Alert) -> Alert {
    Alert {
        withdrawn: true,
        ..alert.clone()
    }
}

fn compare(store: &MemoryStore, all: &[Alert], left: &[Alert]) -> Result<(), TestCaseError> {
    let expected = IncidentGrouping::all(worlds::PERIODS, left.to_vec());
    let found = standing(store, all);
    let ids: Vec<&IncidentId> = found.keys().collect();
    let mut wanted: Vec<&IncidentId> = expected.incidents.iter().map(|i| &i.id).collect();
    wanted.sort();
    prop_assert_eq!(ids, wanted);
    for incident in &expected.incidents {
        let found = &found[&incident.id];
        prop_assert_eq!(&found.alert_ids, &incident.alert_ids);
        prop_assert_eq!(
            (found.first, found.last, found.level, found.score),
            (
                incident.first,
                incident.last,
                incident.level,
                incident.score
            )
        );
    }
    Ok(())
}

fn in_order(alerts: &[Alert], order: Vec<u32>) -> Vec<Alert> {
    let mut shuffled: Vec<(u32, &Alert)> = order.into_iter().zip(alerts).collect();
    shuffled.sort_by_key(|(place, alert)| (*place, &alert.id));
    let shuffled = shuffled.into_iter();
    shuffled.map(|(_, alert)| alert.clone()).collect()
}

/// Writes alerts in pieces, so many seconds after each other; returns the time at the end.
fn in_pieces(store: &MemoryStore, alerts: &[Alert], pieces: &[usize], step: i64) -> i64 {
    let (mut now, mut rest) = (10_000, alerts);
    for most in pieces.iter().copied().cycle().take(alerts.len()) {
        let (piece, later) = rest.split_at(most.min(rest.len()));
        rest = later;
        write(store, piece, now);
        now += step;
    }
    now
}

proptest! {
    #[test]
    fn what_stands_in_the_end_is_what_the_definition_says(
        alerts in worlds::world(),
        order in prop::collection::vec(any::<u32>(), 40),
        pieces in prop::collection::vec(1..6_usize, 1..9),
        gone in prop::collection::vec(0..40_usize, 0..6),
        step in prop_oneof![Just(0_i64), Just(1), Just(1_000), Just(10_000)],
    ) {
        let shuffled = in_order(&alerts, order);
        let store = store();
        let now = in_pieces(&store, &shuffled, &pieces, step);
        let gone: BTreeSet<usize> = gone.into_iter().filter(|at| *at < shuffled.len()).collect();
        let taken: Vec<Alert> = gone.iter().map(|at| withdrawn(&shuffled[*at])).collect();
        write(&store, &taken, now);
        let left = shuffled.iter().enumerate().filter(|(at, _)| !gone.contains(at));
        let left: Vec<Alert> = left.map(|(_, alert)| alert.clone()).collect();
        // When no message is due any more, everything is looked at again.
        let late = now + 1_000_000;
        let regrouped = write(&store, &left, late);
        compare(&store, &alerts, &left)?;
        for alert in &left {
            prop_assert!(regrouped.incidents.contains_key(&alert.id));
        }
        prop_assert!(write(&store, &left, late + 1_000_000).changed.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn activity_without_a_pause_is_cut_as_the_definition_says_however_it_comes(
        gaps in prop::collection::vec(1..=10_i64, 1..90),
        lower in prop::collection::vec(0..8_u8, 90),
        order in prop::collection::vec(any::<u32>(), 90),
        pieces in prop::collection::vec(1..6_usize, 1..9),
        is_shuffled in any::<bool>(),
    ) {
        // As long as is looked back: sixteen times the longest incident.
        let most = 16 * worlds::PERIODS.max_secs - worlds::PERIODS.reach_secs;
        let times = gaps.iter().scan(0, |time, gap| {
            *time += gap;
            Some(*time)
        });
        let times = times.take_while(|time| *time < most).enumerate();
        let alerts: Vec<Alert> = times
            .map(|(index, time)| worlds::alert(time, lower[index] > 0, "ann", "a", index))
            .collect();
        let order = if is_shuffled { order } else { (0..90).collect() };
        let arriving = in_order(&alerts, order);
        let store = store();
        let mut now = in_pieces(&store, &arriving, &pieces, 1_000);
        // When no message is due any more, each is looked at again for itself.
        for alert in &arriving {
            now += 1_000_000;
            write(&store, from_ref(alert), now);
        }
        compare(&store, &alerts, &alerts)?;
    }
}

/// Publishes what is due before a time, as a sweep does.
fn publish(store: &MemoryStore, now: i64) -> Vec<AnnouncedIncident> {
    pollster::block_on(async {
        let waiting = store.outbox(ALL, EventTime(now), 1_000).await.unwrap();
        let (mut met, mut sent) = (BTreeSet::new(), Vec::new());
        for WaitingMessage { note, content } in waiting {
            let WaitingContent::Incident(incident) = content else {
                panic!("it takes incidents");
            };
            if met.insert(incident.id.clone()) {
                sent.push(note.reported(&incident, EventTime(now)));
                let others = note.also_reported(&incident, EventTime(now));
                store.remove_notes(&others).await.unwrap();
            }
            store.remove_notes(&[note]).await.unwrap();
        }
        sent
    })
}

proptest! {
    #[test]
    fn whatever_was_not_sent_in_time_each_incident_is_opened_once(
        alerts in worlds::world(),
        pieces in prop::collection::vec(1..6_usize, 1..9),
        up in prop::collection::vec(any::<bool>(), 40),
        step in prop_oneof![Just(1_i64), Just(100), Just(1_000), Just(10_000)],
    ) {
        let store = store();
        let (mut now, mut rest) = (10_000, alerts.as_slice());
        let (mut sent, mut over) = (Vec::new(), BTreeMap::new());
        let mut ended: BTreeSet<IncidentId> = BTreeSet::new();
        let sizes = pieces.into_iter().cycle();
        for (most, is_up) in sizes.zip(up.into_iter().cycle()).take(alerts.len()) {
            let (piece, later) = rest.split_at(most.min(rest.len()));
            rest = later;
            write(&store, piece, now);
            ended = count_ended(&all_announced(&store, &alerts), &ended, &mut over);
            now += step;
            if is_up {
                sent.extend(publish(&store, now));
            }
        }
        sent.extend(publish(&store, now + 1_000_000));
        prop_assert!(publish(&store, now + 2_000_000).is_empty());
        opened_once(&all_announced(&store, &alerts), &sent, &over)?;
    }
}

/// Counts the incidents that have ended since they were looked at before, and returns all of them
/// that are over.
fn count_ended(
    all: &[AnnouncedIncident],
    before: &BTreeSet<IncidentId>,
    over: &mut BTreeMap<IncidentId, usize>,
) -> BTreeSet<IncidentId> {
    let ended = all.iter().filter(|known| known.end.is_some());
    let ended: BTreeSet<IncidentId> = ended.map(|known| known.id.clone()).collect();
    for id in ended.difference(before) {
        *over.entry(id.clone()).or_default() += 1;
    }
    ended
}

/// Whether what stands was opened once, and the last message about it has all of its alerts. `over`
/// says how often each has become a part of another one in between.
fn opened_once(
    all: &[AnnouncedIncident],
    sent: &[AnnouncedIncident],
    over: &BTreeMap<IncidentId, usize>,
) -> Result<(), TestCaseError> {
    for known in all.iter().filter(|known| known.end.is_none()) {
        let own: Vec<&AnnouncedIncident> = sent
            .iter()
            .filter(|message| message.thread == known.thread)
            .collect();
        let kinds: Vec<NewsKind> = own.iter().map(|message| message.news.kind).collect();
        let same = all.iter().filter(|other| other.thread == known.thread);
        if same.count() > 1 {
            // A beginning that moves goes on with what was published of it.
            continue;
        }
        let opened = kinds.iter().filter(|kind| **kind == NewsKind::Opened);
        let again = over.get(&known.id).copied().unwrap_or_default();
        prop_assert!((1..=1 + again).contains(&opened.count()), "{:?}", kinds);
        if again == 0 {
            prop_assert_eq!(kinds.first(), Some(&NewsKind::Opened));
            let last = own.last().map(|message| message.alerts_total);
            prop_assert_eq!(last, Some(known.alerts_total));
        }
    }
    Ok(())
}

/// The messages that are due before a time; they are removed.
fn messages(store: &MemoryStore, before: i64) -> Vec<AnnouncedIncident> {
    pollster::block_on(async {
        let waiting = store.outbox(ALL, EventTime(before), 100).await.unwrap();
        let notes: Vec<_> = waiting.iter().map(|waiting| waiting.note.clone()).collect();
        store.remove_notes(&notes).await.unwrap();
        let incidents = waiting.into_iter().map(|waiting| match waiting.content {
            WaitingContent::Incident(incident) => *incident,
            WaitingContent::Alert(_) => panic!("it takes incidents"),
        });
        incidents.collect()
    })
}

fn kinds(store: &MemoryStore, before: i64) -> Vec<NewsKind> {
    let messages = messages(store, before).into_iter();
    messages.map(|message| message.news.kind).collect()
}

#[test]
fn an_incident_is_opened_once_and_more_of_the_same_waits_an_hour() {
    let store = store();
    let alerts: Vec<Alert> = (0..9)
        .map(|n| worlds::alert(n, true, "ann", "a", 3 * usize::try_from(n).unwrap()))
        .collect();
    write(&store, &alerts[..1], 1_000);
    write(&store, &alerts[..1], 1_000);
    assert_eq!(kinds(&store, 1_001), [NewsKind::Opened]);
    for alert in &alerts[1..] {
        write(&store, from_ref(alert), 2_000);
    }
    assert_eq!(kinds(&store, 4_600), []);
    let [hourly] = messages(&store, 4_601).try_into().unwrap();
    assert_eq!(hourly.news.kind, NewsKind::Updated);
    let contents = pollster::block_on(contents(&store, &[&hourly], worlds::PERIODS));
    assert_eq!(contents.unwrap()[&hourly.id].alerts_total, 9);
    assert_eq!(kinds(&store, 1_000_000), []);
}

#[test]
fn an_earlier_alert_that_comes_late_goes_on_in_the_same_thread() {
    let store = store();
    let late = worlds::alert(5, true, "ann", "a", 0);
    let early = worlds::alert(1, true, "ann", "a", 3);
    write(&store, &[late], 100);
    let [opened] = messages(&store, 101).try_into().unwrap();
    write(&store, &[early], 200);
    let [renamed] = messages(&store, 201).try_into().unwrap();
    assert_eq!(renamed.news.merged, from_ref(&opened.id));
    assert_eq!(renamed.thread, opened.id);
    assert_ne!(renamed.id, opened.id);
    assert_eq!(kinds(&store, 1_000_000), []);
}

#[test]
fn of_two_incidents_that_are_joined_the_later_says_where_it_went() {
    let store = store();
    let at = |secs, index| worlds::alert(secs, true, "ann", "a", index);
    write(&store, &[at(0, 0), at(18, 3)], 100);
    let opened = messages(&store, 101);
    assert_eq!(opened.len(), 2, "they are too far apart");
    write(&store, &[at(9, 6)], 200);
    let mut joined = messages(&store, 100_000);
    joined.sort_by_key(|message| message.first);
    let [first, later] = joined.try_into().unwrap();
    assert_eq!(first.news.merged, from_ref(&later.id));
    assert_eq!(later.news.kind, NewsKind::Merged);
    assert_eq!(later.end, Some(IncidentEnd::MergedInto(first.id)));
}

#[test]
fn an_incident_whose_alerts_were_withdrawn_is_withdrawn() {
    let store = store();
    let one = worlds::alert(0, true, "ann", "a", 0);
    write(&store, from_ref(&one), 100);
    assert_eq!(kinds(&store, 101), [NewsKind::Opened]);
    let regrouped = write(&store, &[withdrawn(&one)], 200);
    assert_eq!(kinds(&store, 201), [NewsKind::Withdrawn]);
    assert_eq!(regrouped.incidents.len(), 1, "its alert names it");
    // It comes back.
    pollster::block_on(store.create_alerts(vec![one.clone()], EventTime(300))).unwrap();
    write(&store, &[one], 300);
    assert_eq!(kinds(&store, 301), [NewsKind::Opened]);
}

#[test]
fn who_was_notified_of_a_level_is_notified_when_it_sinks() {
    let store = MemoryStore::with_destinations(vec![Destination {
        id: ALL.into(),
        min_level: RuleLevel::High,
        kinds: DeliveredKinds::Both,
        digest_below: None,
    }]);
    let medium = worlds::alert(0, true, "ann", "a", 0);
    let mut high = worlds::alert(1, true, "ann", "a", 3);
    Arc::make_mut(&mut high.rule).level = RuleLevel::High;
    write(&store, &[medium], 100);
    assert_eq!(kinds(&store, 101), []);
    write(&store, from_ref(&high), 200);
    let about = |store: &MemoryStore| {
        pollster::block_on(store.outbox(ALL, EventTime(1_000_000), 100))
            .unwrap()
            .into_iter()
            .filter_map(|waiting| match waiting.content {
                WaitingContent::Incident(incident) => Some(incident),
                WaitingContent::Alert(_) => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(about(&store)[0].news.level_before, Some(RuleLevel::Medium));
    write(&store, &[withdrawn(&high)], 300);
    let sunk = about(&store);
    assert_eq!(sunk[0].level, RuleLevel::Medium);
    assert_eq!(sunk[0].news.level_before, Some(RuleLevel::High));
}
