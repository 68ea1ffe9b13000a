//! The law for incidents: in the end there are the same ones online as in a replay, with the same
//! alerts, whatever the order, the split, the repetition and the delay of the input. In worlds of
//! several days, with rules that hold back alerts for an hour, a day and a month, by principals and
//! by what many of them share.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*, sample::Index};
use secretrail_engine::{
    actor::ActorKey,
    alert::Alert,
    incident::{IncidentPeriods, grouping::IncidentGrouping},
    outbox::{DeliveredKinds, Destination, GROUPING},
    pipeline::Pipeline,
    regroup::regroup,
    rule::{RuleSet, load::load},
    rule_meta::RuleLevel,
    selection::Selection,
    state::{ActorRange, IncidentStore, OutboxStore, memory::MemoryStore},
    time::EventTime,
};
use serde_json::{Value, json};
use test_support::{at, denied, direct_decrypt, read, record, role, run, scan_result};

/// Rules about reads, denied reads and direct calls: level, selection, and what is held back.
const HELD_BACK: [(&str, &str, &str); 9] = [
    ("medium", "success", "1h, group-by: [principal.arn]"),
    ("high", "success", "1d, group-by: [principal.arn]"),
    ("medium", "denied", "30d, group-by: [principal.arn]"),
    ("low", "denied", "1d, group-by: [principal.arn]"),
    ("medium", "success", "1d, group-by: [secret.account]"),
    ("medium", "denied", "1d, group-by: [source.network]"),
    ("low", "success", "1h, group-by: [secret.name]"),
    (
        "high",
        "success",
        "30d, group-by: [secret.account, secret.region]",
    ),
    ("low", "denied", "7h, group-by: [secret.account]"),
];

/// A correlation that asks for one event, and one that asks for more.
const CORRELATED: &str = "
title: calls
id: calls
name: calls
logsource: {product: aws, category: secret_access}
detection: {this: {access.outcome: [success, denied]}, condition: this}
---
title: at least one
id: at-least-one
level: medium
correlation:
  type: event_count
  rules: [calls]
  group-by: [secret.name]
  timespan: 10m
  condition: {gte: 1}
secretrail: {suppress: 1d}
---
title: at least three
id: at-least-three
level: medium
correlation:
  type: event_count
  rules: [calls]
  group-by: [principal.arn]
  timespan: 1h
  condition: {gte: 3}
";

fn rules() -> RuleSet {
    let held_back = HELD_BACK.iter().enumerate();
    let mut files: Vec<String> = held_back
        .map(|(index, (level, outcome, suppress))| {
            format!(
                "title: rule {index}
id: rule-{index}
level: {level}
logsource: {{product: aws, category: secret_access}}
detection: {{this: {{access.outcome: {outcome}}}, condition: this}}
secretrail: {{suppress: {suppress}}}
"
            )
        })
        .collect();
    files.push(CORRELATED.to_owned());
    // About single events, at no level that makes an incident and at one that does.
    files.push(
        "title: direct
id: direct
level: high
logsource: {product: aws, category: secret_access}
detection: {this: {access.method: direct_decrypt}, condition: this}
---
title: replaced
id: replaced
level: low
logsource: {product: aws, category: secret_change}
detection: {this: {eventName: PutSecretValue}, condition: this}
"
        .to_owned(),
    );
    let names: Vec<String> = (0..files.len())
        .map(|index| format!("{index}.yml"))
        .collect();
    let texts = names
        .iter()
        .map(String::as_str)
        .zip(files.iter().map(String::as_str));
    load(texts).expect("the rules load").0
}

/// Times of day, in seconds, of which some are in one hour, some near, and some hours apart.
const TIMES: [i64; 8] = [0, 40, 3_000, 3_700, 20_000, 36_000, 50_300, 50_500];

const ADDRESSES: [&str; 4] = ["198.51.100.7", "198.51.100.8", "203.0.113.9", "192.0.2.1"];

fn any_event() -> impl Strategy<Value = (u8, u8, usize, u8, i64, usize)> {
    let kind = prop_oneof![4 => Just(0_u8), 3 => Just(1), 1 => Just(2), 1 => Just(3)];
    (
        kind,
        0_u8..3,
        0..ADDRESSES.len(),
        0_u8..2,
        0_i64..6,
        0..TIMES.len(),
    )
}

fn records(events: &[(u8, u8, usize, u8, i64, usize)]) -> Vec<Value> {
    let records = events.iter().enumerate().map(|(number, event)| {
        let (kind, who, place, what, day, time) = *event;
        let (id, who, what) = (
            format!("e{number}"),
            format!("app{who}"),
            format!("s{what}"),
        );
        let secs = day * 86_400 + TIMES[time];
        let mut record = match kind {
            0 => read(&id, &who, secs, &what),
            1 => denied(&id, &who, secs, &what),
            2 => direct_decrypt(&id, &who, secs, &what),
            _ => {
                let params = json!({"secretId": what});
                record(
                    &id,
                    &role(&who),
                    secs,
                    "secretsmanager",
                    "PutSecretValue",
                    params,
                )
            }
        };
        record["sourceIPAddress"] = json!(ADDRESSES[place]);
        record
    });
    records.collect()
}

/// Where an incident begins and ends, and its alerts.
type Span = (EventTime, EventTime, BTreeSet<String>);

fn of_replay(records: &[Value], rules: &RuleSet) -> (BTreeMap<String, Span>, Vec<Alert>) {
    let alerts = run(records, rules, None).alerts;
    let grouped = IncidentGrouping::all(IncidentPeriods::default(), alerts.clone());
    let incidents = grouped.incidents.iter().map(|incident| {
        let members = incident.alert_ids.iter().map(|id| id.0.to_string());
        let span = (incident.first, incident.last, members.collect());
        (incident.id.0.to_string(), span)
    });
    (incidents.collect(), alerts)
}

/// A function with its table.
struct Online<'p> {
    pipeline: Pipeline<'p>,
    store: MemoryStore,
    now: EventTime,
}

/// A destination whose notes stay: what it has are the alerts of the store.
const KEPT: &str = "kept";

impl<'p> Online<'p> {
    fn new(rules: &'p RuleSet, selection: &'p Selection) -> Self {
        let kept = Destination {
            id: KEPT.into(),
            min_level: RuleLevel::Informational,
            kinds: DeliveredKinds::Alerts,
            digest_below: None,
        };
        Self {
            pipeline: Pipeline::new(rules, None, selection),
            store: MemoryStore::with_destinations(vec![Destination::grouping(), kept]),
            now: at(700_000),
        }
    }

    async fn deliver(&mut self, records: &[Value]) {
        let batch = scan_result(records, self.pipeline.rules);
        self.now = self.now.plus(60);
        let ingested = self.pipeline.ingest(&self.store, batch, self.now);
        ingested.await.unwrap();
    }

    /// Finalises what is due, so many events at a time.
    async fn sweep(&mut self, most: usize) {
        self.now = self.now.plus(1_000);
        let mut some = true;
        while some {
            let swept = self.pipeline.sweep(&self.store, self.now, most);
            some = swept.await.unwrap().1;
        }
    }

    /// Groups the alerts that are new or have changed.
    async fn group(&mut self) {
        let end = EventTime(i64::MAX);
        let waiting = self.store.outbox(GROUPING, end, usize::MAX).await.unwrap();
        let alerts = waiting.iter().filter_map(|waiting| waiting.alert());
        let alerts: Vec<Alert> = alerts.cloned().collect();
        self.regroup(&alerts).await;
        let notes: Vec<_> = waiting.into_iter().map(|waiting| waiting.note).collect();
        self.store.remove_notes(&notes).await.unwrap();
    }

    async fn regroup(&self, alerts: &[Alert]) {
        let periods = IncidentPeriods::default();
        regroup(&self.store, alerts, periods, self.now)
            .await
            .unwrap();
    }

    async fn alerts(&self) -> Vec<Alert> {
        let end = EventTime(i64::MAX);
        let kept = self.store.outbox(KEPT, end, usize::MAX).await.unwrap();
        kept.iter()
            .filter_map(|kept| kept.alert())
            .cloned()
            .collect()
    }

    /// The incidents that stand.
    async fn incidents(&self, alerts: &[Alert]) -> BTreeMap<String, Span> {
        let known = alerts.iter().flat_map(|alert| {
            let former = alert.former.iter().map(|former| former.actor.identity());
            former.chain([alert.actor.identity()])
        });
        let actors: BTreeSet<ActorKey> = known.collect();
        let ranges = actors.into_iter().map(|actor| ActorRange {
            actor,
            from: EventTime(i64::MIN),
            to: EventTime(i64::MAX),
        });
        let ranges: Vec<ActorRange> = ranges.collect();
        let announced = self.store.announced(&ranges).await.unwrap();
        let standing = announced.into_iter().flatten();
        let standing = standing.filter(|known| known.end.is_none());
        standing
            .map(|known| {
                let members = known.alert_ids.iter().map(|id| id.0.to_string());
                let span = (known.first, known.last, members.collect());
                (known.id.0.to_string(), span)
            })
            .collect()
    }
}

/// What incidents need of alerts, by their ids.
fn needs(alerts: &[Alert]) -> BTreeMap<&str, String> {
    let needs = alerts.iter().map(|alert| {
        let first = alert.events.first().map(|event| event.time);
        let times = (first, alert.began, alert.time);
        (
            &*alert.id.0,
            format!("{times:?} {:?} {:?}", alert.actor, alert.origin),
        )
    });
    needs.collect()
}

/// Runs deliveries, and returns the incidents and the alerts in the end. Now and then nobody
/// sweeps, or groups, before the next.
fn online(
    deliveries: &[(Vec<Value>, bool, bool)],
    most: usize,
    rules: &RuleSet,
) -> (BTreeMap<String, Span>, Vec<Alert>) {
    let selection = Selection::default();
    let mut online = Online::new(rules, &selection);
    pollster::block_on(async {
        for (records, sweeps, groups) in deliveries {
            online.deliver(records).await;
            if *sweeps {
                online.sweep(most).await;
            }
            if *groups {
                online.group().await;
            }
        }
        online.sweep(most).await;
        online.group().await;
        // When no message is due any more, more of the same is looked at again.
        online.now = online.now.plus(1_000_000);
        let alerts = online.alerts().await;
        online.regroup(&alerts).await;
        (online.incidents(&alerts).await, alerts)
    })
}

proptest! {
    #![proptest_config(crate::worlds(150))]

    #[test]
    fn there_are_the_incidents_of_a_replay_with_the_same_alerts(
        events in vec(any_event(), 1..30),
        order in vec(any::<Index>(), 40),
        cuts in vec((any::<Index>(), any::<bool>(), any::<bool>()), 0..12),
        most in prop_oneof![Just(usize::MAX), Just(3)],
    ) {
        let rules = rules();
        let records = records(&events);
        let (expected, of_replay) = of_replay(&records, &rules);
        let mixed = crate::invariance::mixed(&records, &order);
        let mut cuts: Vec<_> = cuts
            .into_iter()
            .map(|(cut, sweeps, groups)| (cut.index(mixed.len()), sweeps, groups))
            .collect();
        cuts.push((mixed.len(), true, true));
        cuts.sort_unstable();
        let mut begin = 0;
        let deliveries: Vec<_> = cuts
            .into_iter()
            .map(|(end, sweeps, groups)| {
                let part = mixed[begin..end].to_vec();
                begin = end;
                (part, sweeps, groups)
            })
            .collect();
        let (incidents, alerts) = online(&deliveries, most, &rules);
        prop_assert_eq!(needs(&alerts), needs(&of_replay));
        prop_assert_eq!(incidents, expected);
    }
}

/// One delivery for each of these reads, by principal, address and second.
fn deliveries(reads: &[&[(&str, &str, i64)]]) -> Vec<(Vec<Value>, bool, bool)> {
    let deliveries = reads.iter().map(|reads| {
        let reads = reads.iter().map(|(who, address, secs)| {
            let mut read = read(&format!("{who}-{secs}"), who, *secs, "s");
            read["sourceIPAddress"] = json!(address);
            read
        });
        (reads.collect(), true, true)
    });
    deliveries.collect()
}

/// Reads of one file: id, role and seconds.
type FileReads<'r> = &'r [(&'r str, &'r str, i64)];

/// The same incidents in the end, whatever the deliveries; returns how many.
fn incidents_of(held_back: &str, splits: &[&[FileReads<'_>]]) -> usize {
    let text = format!(
        "title: read
id: read
level: medium
logsource: {{product: aws, category: secret_access}}
detection: {{this: {{access.outcome: success}}, condition: this}}
secretrail: {{suppress: {held_back}}}
"
    );
    let (rules, _) = load([("read.yml", text.as_str())]).unwrap();
    let (mut all, mut count) = (BTreeSet::new(), 0);
    for split in splits {
        let deliveries = deliveries(split);
        let records: Vec<Value> = deliveries
            .iter()
            .flat_map(|(all, ..)| all.clone())
            .collect();
        let (of_replay, _) = of_replay(&records, &rules);
        let (of_function, _) = online(&deliveries, usize::MAX, &rules);
        assert_eq!(of_function, of_replay, "{split:?}");
        count = of_replay.len();
        all.insert(format!("{of_replay:?}"));
    }
    assert_eq!(all.len(), 1, "the split says nothing");
    count
}

const HOUR: i64 = 3_600;

#[test]
fn an_alert_of_a_day_begins_on_it() {
    // At 20:00, and at 10:00 of the next day.
    let reads = [
        ("app", "192.0.2.1", 10 * HOUR),
        ("app", "192.0.2.1", 24 * HOUR),
    ];
    let splits: [&[&[_]]; 2] = [&[&reads], &[&reads[..1], &reads[1..]]];
    assert_eq!(incidents_of("1d, group-by: [principal.arn]", &splits), 2);
}

#[test]
fn an_incident_begins_with_the_first_event_whatever_is_shown() {
    let reads = [0, 4 * HOUR, 4 * HOUR + 60].map(|secs| ("app", "192.0.2.1", secs));
    let splits: [&[&[_]]; 4] = [
        &[&reads],
        &[&reads[..1], &reads[1..]],
        &[&reads[..2], &reads[2..]],
        &[&reads[1..], &reads[..1]],
    ];
    assert_eq!(incidents_of("1d, group-by: [principal.arn]", &splits), 1);
}

#[test]
fn what_several_principals_share_is_about_none_of_them() {
    let reads = [
        ("a", "192.0.2.1", 0),
        ("b", "192.0.2.1", 60),
        ("c", "203.0.113.9", 120),
    ];
    let splits: [&[&[_]]; 4] = [
        &[&reads],
        &[&reads[..1], &reads[1..2], &reads[2..]],
        &[&reads[2..], &reads[..2]],
        &[&reads[1..2], &reads[..1], &reads[2..], &reads],
    ];
    assert_eq!(incidents_of("1d, group-by: [secret.account]", &splits), 1);
}

#[test]
fn what_a_month_holds_back_moves_no_incident() {
    let days = [20, 1, 12, 2].map(|day| ("app", "192.0.2.1", day * 24 * HOUR));
    let splits: [&[&[_]]; 3] = [
        &[&days],
        &[&days[..1], &days[1..2], &days[2..3], &days[3..]],
        &[&days[3..], &days[..3]],
    ];
    // A new month begins between the first two days and the others.
    assert_eq!(incidents_of("30d, group-by: [principal.arn]", &splits), 2);
}
