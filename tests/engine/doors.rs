//! The doors of the function: whatever mix of files, subscriptions and direct events brings the
//! records, in whatever order, the alerts are those of the replay of the files; and a direct event
//! that no file has is found.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*, sample::Index};
use secretrail_engine::{
    alert::Alert,
    object::{direct_origin, is_direct, origin, payload_origin},
    pipeline::{BatchOutcome, Pipeline},
    rule::RuleSet,
    scan::{ObjectScanner, ScanInput, ScanResult},
    selection::Selection,
    state::{ActorRange, IncidentStore, memory::MemoryStore},
    time::EventTime,
};
use serde_json::{Value, json};
use test_support::{
    LOOKBACK, afterwards, alert_ids, any_record, at, decrypt_secret, direct_decrypt, ledger, pack,
    read, record, role, run,
};

use crate::invariance::{POLICY, RULES};

/// How a record comes in.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Door {
    File,
    Subscription,
    Direct,
}

const DOORS: [Door; 3] = [Door::File, Door::Subscription, Door::Direct];

/// What a door makes of records.
fn scanned(door: Door, records: &[Value], rules: &RuleSet) -> ScanResult {
    let selection = Selection::default();
    let mut scanner = ObjectScanner::new(rules, &selection);
    let mut found = ScanResult::default();
    let mut scan = |text: Value, origin| {
        let text = text.to_string();
        let input = ScanInput::Bytes(text.as_bytes());
        scanner.read(input, &origin, false, &mut found).unwrap();
    };
    match door {
        Door::File => scan(json!({"Records": records}), origin("test.json")),
        Door::Subscription => {
            let events = records.iter().enumerate().map(|(index, record)| {
                json!({"id": index.to_string(), "timestamp": 1, "message": record.to_string()})
            });
            let events: Vec<Value> = events.collect();
            let payload = json!({"messageType": "DATA_MESSAGE", "owner": "111122223333",
                "logGroup": "trail", "logStream": "s", "subscriptionFilters": ["f"],
                "logEvents": events});
            let name = payload_origin(payload.to_string().as_bytes());
            scan(payload, name);
        }
        Door::Direct => {
            for (index, record) in records.iter().enumerate() {
                let event = json!({"version": "0", "id": format!("b{index}"),
                    "detail-type": "AWS API Call via CloudTrail", "source": "aws.kms",
                    "account": "111122223333", "region": "eu-west-1", "detail": record});
                scan(event, direct_origin(&format!("b{index}")));
            }
        }
    }
    found
}

/// A store, and what became of what came in.
struct World<'r> {
    rules: &'r RuleSet,
    store: MemoryStore,
    outcomes: Vec<BatchOutcome>,
}

impl<'r> World<'r> {
    fn new(rules: &'r RuleSet) -> Self {
        Self {
            rules,
            store: MemoryStore::default(),
            outcomes: Vec::new(),
        }
    }

    fn with_pipeline<T>(&self, work: impl AsyncFnOnce(&Pipeline<'_>) -> T) -> T {
        let selection = Selection::default();
        let pipeline = Pipeline {
            lookback: LOOKBACK,
            checks_direct: true,
            ..Pipeline::new(self.rules, Some(&POLICY), &selection)
        };
        pollster::block_on(work(&pipeline))
    }

    /// Records come in through a door.
    fn bring(&mut self, door: Door, records: &[Value], now: EventTime) {
        let found = scanned(door, records, self.rules);
        let outcome = self.with_pipeline(async |pipeline| match door {
            Door::Direct => pipeline.ingest_direct(&self.store, found, now).await,
            _ => pipeline.ingest(&self.store, found, now).await,
        });
        self.outcomes.push(outcome.unwrap());
    }

    fn sweep(&mut self, now: EventTime) {
        loop {
            let swept = self.with_pipeline(async |pipeline| {
                pipeline.sweep(&self.store, now, usize::MAX).await.unwrap()
            });
            self.outcomes.push(swept.0);
            if !swept.1 {
                break;
            }
        }
    }

    /// The alerts as the store has them in the end.
    fn stored(&self) -> Vec<Alert> {
        let created = self.outcomes.iter().flat_map(|outcome| &outcome.alerts);
        let ranges: BTreeSet<ActorRange> = created
            .map(|alert| ActorRange {
                actor: alert.actor.identity(),
                from: EventTime(i64::MIN),
                to: EventTime(i64::MAX),
            })
            .collect();
        let ranges: Vec<ActorRange> = ranges.into_iter().collect();
        let found = pollster::block_on(self.store.alerts_about(&ranges)).unwrap();
        found.concat()
    }

    /// The alerts about events that no file has.
    fn missing(&self) -> Vec<&Alert> {
        let created = self.outcomes.iter().flat_map(|outcome| &outcome.alerts);
        created
            .filter(|alert| alert.rule.title == "Event Missing From The Trail")
            .collect()
    }
}

proptest! {
    #![proptest_config(crate::worlds(150))]

    #[test]
    fn any_mix_of_doors_in_any_order_is_the_replay_of_the_files(
        records in vec(any_record(), 1..20),
        doors in vec(0_usize..2, 20),
        again in vec((0_usize..3, any::<Index>()), 0..25),
        order in vec(any::<Index>(), 45),
        sizes in vec(1_usize..6, 45),
    ) {
        let whole = run(&records, &RULES, Some(&POLICY));
        // Each record through a door that is sure, some of them through others, too.
        let mut coming: Vec<(Door, Value)> = records
            .iter()
            .zip(doors)
            .map(|(record, door)| (DOORS[door], record.clone()))
            .collect();
        coming.extend(again.iter().map(|(door, index)| (DOORS[*door], index.get(&records).clone())));
        for (index, swap) in order.iter().take(coming.len()).enumerate() {
            let other = swap.index(coming.len());
            coming.swap(index, other);
        }
        let mut world = World::new(&RULES);
        let (mut rest, mut step) = (coming.as_slice(), 0);
        for size in sizes {
            let (now, later) = rest.split_at(size.min(rest.len()));
            for door in DOORS {
                let through = now.iter().filter(|(through, _)| *through == door);
                let records: Vec<Value> = through.map(|(_, record)| record.clone()).collect();
                if !records.is_empty() {
                    world.bring(door, &records, at(100 + step));
                    step += 1;
                }
            }
            rest = later;
        }
        world.sweep(afterwards());
        let accesses: Vec<_> = world.outcomes.iter().flat_map(|o| o.accesses.clone()).collect();
        prop_assert_eq!(ledger(&accesses), ledger(&whole.accesses));
        prop_assert_eq!(alert_ids(&world.outcomes), alert_ids(&[whole]));
        prop_assert_eq!(world.missing().len(), 0);
        // The evidence is that of the files; of two records with one id they have only one.
        let ids: Vec<&Value> = records.iter().map(|record| &record["eventID"]).collect();
        let named: BTreeSet<String> = ids.iter().map(|id| id.to_string()).collect();
        let stored = if named.len() == ids.len() { world.stored() } else { Vec::new() };
        for alert in stored {
            prop_assert!(!alert.events.iter().any(|event| is_direct(&event.object)), "{:?}", alert);
        }
    }

    #[test]
    fn whatever_no_file_has_is_missing_and_nothing_else(
        records in vec(any_record(), 2..20),
        lost in vec(any::<bool>(), 20),
    ) {
        let of_files: Vec<Value> = records.iter().zip(&lost)
            .filter(|(_, lost)| !**lost).map(|(record, _)| record.clone()).collect();
        let mut world = World::new(&RULES);
        world.bring(Door::Direct, &records, at(50));
        world.bring(Door::File, &of_files, at(100));
        // That the account is logged at all.
        world.bring(Door::File, &[read("other", "other", -40, "other")], at(100));
        world.sweep(a_day_later());
        let keys = |records: &[Value]| -> BTreeSet<String> {
            let found = scanned(Door::File, records, &RULES).observations.into_iter();
            found.map(|end| end.observation.head().event_key().to_string()).collect()
        };
        let (all, kept) = (keys(&records), keys(&of_files));
        let expected: BTreeSet<&String> = all.difference(&kept).collect();
        let counted: u64 = world.missing().iter()
            .map(|alert| alert.window_match.as_ref().unwrap().count).sum();
        prop_assert_eq!(counted, expected.len() as u64);
    }
}

/// When files must have brought what came directly.
fn a_day_later() -> EventTime {
    at(100_000)
}

#[test]
fn after_an_outage_of_days_nothing_is_called_missing() {
    let rules = pack();
    for (now, missing) in [(a_day_later(), 1), (at(200_000), 0)] {
        let mut world = World::new(&rules);
        world.bring(Door::Direct, &[read("r", "app", 0, "prod/db")], at(60));
        world.bring(Door::File, &[read("other", "other", -40, "other")], at(100));
        // By the second time, what a file had brought would have expired.
        world.sweep(now);
        assert_eq!(world.missing().len(), missing, "{now}");
    }
}

/// A change that decrypts nothing, and so is no pending event.
fn change(id: &str, secs: i64) -> Value {
    let trail = json!({"name": "org"});
    record(id, &role("admin"), secs, "cloudtrail", "StopLogging", trail)
}

#[test]
fn a_direct_event_is_judged_early_and_finalises_nothing() {
    let rules = pack();
    let mut world = World::new(&rules);
    let events = [
        read("r", "app", 0, "prod/db"),
        decrypt_secret("d", "app", 0, "prod/db"),
        direct_decrypt("t", "thief", 1, "prod/db"),
    ];
    world.bring(Door::Direct, &events, at(60));
    let [outcome] = &world.outcomes[..] else {
        panic!("one batch")
    };
    let mut alerts = outcome.alerts.iter();
    let alert = alerts.find(|alert| alert.rule.title.contains("Directly"));
    let alert = alert.expect("a direct Decrypt is reported at once");
    assert_eq!(&*alert.events[0].object, "via:eventbridge/b2");
    // An hour later nothing is due, and nobody knows of an access.
    world.sweep(at(3_600));
    assert!(world.outcomes[1..].iter().all(|o| o.accesses.is_empty()));
    // Logs begin with the first file, not with a direct event.
    world.bring(Door::File, &events, at(3_700));
    let created = &world.outcomes.last().unwrap().alerts;
    assert!(created.is_empty(), "the file adds only what is missing");
    world.sweep(a_day_later());
    let accesses = world.outcomes.iter().map(|o| o.accesses.len());
    assert_eq!(accesses.sum::<usize>(), 2);
    assert_eq!(world.missing(), Vec::<&Alert>::new());
}

#[test]
fn events_of_all_kinds_are_found_in_the_files_whichever_came_first() {
    let rules = pack();
    let events = [
        read("r", "app", 0, "prod/db"),
        decrypt_secret("d", "app", 0, "prod/db"),
        change("c", 5),
    ];
    for file_first in [true, false] {
        let mut world = World::new(&rules);
        let mut doors = [Door::Direct, Door::File];
        if file_first {
            doors.reverse();
        }
        for (step, door) in doors.into_iter().enumerate() {
            world.bring(door, &events, at(60 * (1 + i64::try_from(step).unwrap())));
        }
        world.sweep(a_day_later());
        assert_eq!(world.missing(), Vec::<&Alert>::new(), "{file_first}");
    }
}

#[test]
fn what_is_missing_is_one_alert_for_a_region_and_day_that_grows() {
    let rules = pack();
    let mut world = World::new(&rules);
    world.bring(Door::File, &[read("other", "other", -40, "x")], at(10));
    let lost = [read("r1", "app", 0, "prod/db"), change("c", 5)];
    world.bring(Door::Direct, &lost, at(60));
    world.bring(Door::Direct, &[read("r2", "app2", 9, "prod/db")], at(9_000));
    let day = 86_400;
    world.sweep(at(day));
    assert_eq!(world.missing(), Vec::<&Alert>::new(), "a day is not over");
    world.sweep(at(day + 60));
    let first = world.missing()[0].clone();
    assert_eq!(first.window_match.as_ref().unwrap().count, 2);
    assert_eq!(first.account.as_deref(), Some("111122223333"));
    world.sweep(at(day + 9_000));
    assert_eq!(world.missing().len(), 1, "it is reported once");
    let stored = world.stored();
    let grown = stored.iter().find(|alert| alert.id == first.id).unwrap();
    assert_eq!(grown.window_match.as_ref().unwrap().count, 3);
    let ids: Vec<&str> = grown.events.iter().map(|event| &*event.id).collect();
    assert_eq!(ids, ["r1", "c", "r2"]);
}

#[test]
fn where_no_files_are_read_none_is_missed() {
    let rules = pack();
    let mut world = World::new(&rules);
    world.bring(Door::Direct, &[read("r", "app", 0, "prod/db")], at(60));
    world.sweep(a_day_later());
    assert_eq!(world.missing(), Vec::<&Alert>::new());
}
