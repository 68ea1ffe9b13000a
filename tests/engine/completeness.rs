//! Absence and digests: where digests are compared with the files that were processed, whether a
//! half is missing is decided when the files of its time are accounted for. Whatever the order in
//! which files, digests and sweeps come, the verdicts are those of a replay of all files.

use std::{collections::BTreeSet, sync::LazyLock};

use proptest::{collection::vec, prelude::*, sample::Index};
use secretrail_engine::{
    alert::Alert,
    completeness::ComparedDigest,
    object::origin,
    pipeline::Pipeline,
    rule::RuleSet,
    scan::{ObjectScanner, ScanInput, ScanResult},
    selection::Selection,
    state::{ActorRange, IncidentStore, completeness::CompletenessStore, memory::MemoryStore},
    time::EventTime,
    trail_digest::DigestHour,
};
use serde_json::{Value, json};
use test_support::{ACCOUNT, LOOKBACK, REGION, afterwards, at, decrypt_secret, pack, read};

const HOUR: i64 = 3_600;

static PACK: LazyLock<RuleSet> = LazyLock::new(pack);

/// The rules whose alerts rest on absence.
const ABSENCE: [&str; 3] = [
    "Secret Decrypted Without A Logged Read",
    "Secret Read Without A Logged KMS Decrypt",
    "Part Of The Log Is Missing",
];

fn scanned(records: &[Value], rules: &RuleSet) -> ScanResult {
    let key = format!(
        "AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/03/02/\
         {ACCOUNT}_CloudTrail_{REGION}_20260302T1005Z_abcdefghijklmnop.json.gz"
    );
    let text = json!({"Records": records}).to_string();
    let (selection, mut found) = (Selection::default(), ScanResult::default());
    let mut scanner = ObjectScanner::new(rules, &selection);
    let input = ScanInput::Bytes(text.as_bytes());
    scanner
        .read(input, &origin(&key), true, &mut found)
        .unwrap();
    found
}

/// A digest whose hour begins so many seconds after ten, and a minute and a half.
fn digest(start: i64) -> ComparedDigest {
    ComparedDigest {
        account: ACCOUNT.into(),
        region: REGION.into(),
        hour: DigestHour {
            start: at(start + 90),
            end: at(start + 90 + HOUR),
        },
    }
}

struct World<'r> {
    rules: &'r RuleSet,
    store: MemoryStore,
    alerts: Vec<Alert>,
}

impl<'r> World<'r> {
    /// A place with KMS events and a digest two hours before.
    fn new(rules: &'r RuleSet) -> Self {
        let mut world = Self {
            rules,
            store: MemoryStore::default(),
            alerts: Vec::new(),
        };
        let before = [
            read("r0", "old", -2 * HOUR, "other"),
            decrypt_secret("k0", "old", -2 * HOUR, "other"),
        ];
        world.bring(&before, -2 * HOUR);
        world.compare(&[digest(-3 * HOUR)]);
        world
    }

    fn with_pipeline<T>(&self, work: impl AsyncFnOnce(&Pipeline<'_>) -> T) -> T {
        let selection = Selection::default();
        let pipeline = Pipeline {
            lookback: LOOKBACK,
            waits_for_digests: true,
            ..Pipeline::new(self.rules, None, &selection)
        };
        pollster::block_on(work(&pipeline))
    }

    fn bring(&mut self, records: &[Value], secs: i64) {
        let found = scanned(records, self.rules);
        let outcome = self.with_pipeline(async |pipeline| {
            pipeline.ingest(&self.store, found, at(secs)).await.unwrap()
        });
        self.alerts.extend(outcome.alerts);
    }

    fn compare(&self, digests: &[ComparedDigest]) {
        pollster::block_on(self.store.put_compared(digests.to_vec())).unwrap();
    }

    fn sweep(&mut self, now: EventTime) {
        loop {
            let (outcome, some) = self.with_pipeline(async |pipeline| {
                pipeline.sweep(&self.store, now, usize::MAX).await.unwrap()
            });
            self.alerts.extend(outcome.alerts);
            if !some {
                break;
            }
        }
    }

    /// The ids of the alerts about absence that stand.
    fn absences(&self) -> BTreeSet<String> {
        let ranges = self.alerts.iter().map(|alert| ActorRange {
            actor: alert.actor.identity(),
            from: EventTime(i64::MIN),
            to: EventTime(i64::MAX),
        });
        let ranges: BTreeSet<_> = ranges.collect();
        let ranges: Vec<_> = ranges.into_iter().collect();
        let found = pollster::block_on(self.store.alerts_about(&ranges)).unwrap();
        absences(found.concat().iter())
    }
}

fn absences<'a>(alerts: impl Iterator<Item = &'a Alert>) -> BTreeSet<String> {
    let of_absence = alerts.filter(|alert| ABSENCE.contains(&&*alert.rule.title));
    of_absence.map(|alert| alert.id.0.to_string()).collect()
}

/// The alerts about absence of a replay of all records, and of what every world begins with.
fn replayed(records: &[Value], rules: &RuleSet) -> BTreeSet<String> {
    let selection = Selection::default();
    let pipeline = Pipeline {
        lookback: LOOKBACK,
        ..Pipeline::new(rules, None, &selection)
    };
    let mut all = vec![
        read("r0", "old", -2 * HOUR, "other"),
        decrypt_secret("k0", "old", -2 * HOUR, "other"),
    ];
    all.extend_from_slice(records);
    let store = MemoryStore::default();
    let run = pipeline.run(&store, scanned(&all, rules), afterwards());
    let outcome = pollster::block_on(run).unwrap();
    let withdrawn: BTreeSet<_> = outcome.withdrawn.iter().map(|alert| &alert.id).collect();
    let standing = outcome.alerts.iter();
    absences(standing.filter(|alert| !withdrawn.contains(&alert.id)))
}

/// A read and a Decrypt of others: the Decrypt shows that KMS events are logged.
fn lone() -> [Value; 3] {
    [
        read("r1", "app", 0, "prod/db"),
        read("r2", "payments", 60, "prod/other"),
        decrypt_secret("k2", "payments", 60, "prod/other"),
    ]
}

const LATENESS: i64 = 900;
/// The files are delivered five minutes after ten.
const ARRIVED: i64 = 300;

#[test]
fn absence_waits_for_the_digests_of_its_time() {
    let rules = &PACK;
    let mut world = World::new(rules);
    world.bring(&lone(), ARRIVED);
    world.sweep(at(ARRIVED + LATENESS));
    assert!(world.absences().is_empty(), "the digest is still to come");
    world.compare(&[digest(-HOUR)]);
    world.sweep(at(ARRIVED + 3 * LATENESS));
    assert!(
        world.absences().is_empty(),
        "only half of its time is known"
    );
    world.compare(&[digest(0)]);
    world.sweep(at(ARRIVED + 5 * LATENESS));
    let found = world.absences();
    assert_eq!((found.len(), &found), (1, &replayed(&lone(), rules)));
    let before = world.alerts.len();
    world.sweep(at(ARRIVED + 9 * LATENESS));
    assert_eq!(world.alerts.len(), before, "it is judged once");
}

#[test]
fn a_file_that_is_fetched_leaves_nothing_absent() {
    let rules = &PACK;
    for late in [
        decrypt_secret("k1", "app", 0, "prod/db"),
        read("r1", "app", 0, "prod/db"),
    ] {
        let is_read = late["eventID"] == "r1";
        let mut first = lone().to_vec();
        if is_read {
            first[0] = decrypt_secret("k1", "app", 0, "prod/db");
        }
        let mut world = World::new(rules);
        world.bring(&first, ARRIVED);
        world.sweep(at(ARRIVED + LATENESS));
        // The digest names a file whose notification was lost.
        world.bring(&[late], HOUR);
        world.compare(&[digest(-HOUR), digest(0)]);
        world.sweep(at(HOUR + 1));
        world.sweep(at(HOUR + 2 * LATENESS));
        assert!(world.absences().is_empty(), "{is_read}");
    }
}

#[test]
fn without_digests_nothing_waits_and_none_waits_for_ever() {
    let rules = &PACK;
    // No digest came for a day: the trail has none.
    let mut world = World::new(rules);
    world.store = MemoryStore::default();
    // Nothing is proven at the very beginning of the logs.
    world.bring(
        &[read("r0", "app", -2 * HOUR, "prod/db")],
        ARRIVED - 2 * HOUR,
    );
    world.bring(&lone(), ARRIVED);
    world.sweep(at(ARRIVED + LATENESS));
    assert_eq!(world.absences().len(), 1);
    // One that stays away is waited for four hours.
    let mut world = World::new(rules);
    world.bring(&lone(), ARRIVED);
    for hours in 1..4 {
        world.sweep(at(ARRIVED + hours * HOUR));
        assert!(world.absences().is_empty(), "{hours}");
    }
    world.sweep(at(ARRIVED + 4 * HOUR));
    assert_eq!(world.absences().len(), 1);
}

/// A read, its Decrypt, or both, by one of some principals.
fn any_half() -> impl Strategy<Value = Vec<Value>> {
    (0..6_usize, 0..40_i64, 0..4_usize).prop_map(|(who, minute, kind)| {
        let (app, secs) = (format!("app{who}"), minute * 20);
        let id = format!("{who}-{minute}");
        let read = read(&format!("r{id}"), &app, secs, "prod/db");
        let decrypt = decrypt_secret(&format!("k{id}"), &app, secs, "prod/db");
        match kind {
            0 => vec![read],
            1 => vec![decrypt],
            _ => vec![read, decrypt],
        }
    })
}

proptest! {
    #![proptest_config(crate::worlds(40))]

    #[test]
    fn any_order_of_files_and_sweeps_gives_the_verdicts_of_the_replay(
        halves in vec(any_half(), 1..8),
        order in vec(any::<Index>(), 16),
        sizes in vec(2_usize..6, 8),
        sweeps in vec(any::<bool>(), 8),
    ) {
        let rules = &PACK;
        let mut records = halves.concat();
        let expected = replayed(&records, rules);
        for (index, swap) in order.iter().take(records.len()).enumerate() {
            let other = swap.index(records.len());
            records.swap(index, other);
        }
        let mut world = World::new(rules);
        let (mut rest, mut now) = (records.as_slice(), ARRIVED + LATENESS);
        for (size, sweeps) in sizes.into_iter().zip(sweeps) {
            let (file, later) = rest.split_at(size.min(rest.len()));
            if !file.is_empty() {
                world.bring(file, now);
            }
            // Within the hours for which a digest is waited for.
            now += 300;
            if sweeps {
                world.sweep(at(now));
            }
            rest = later;
        }
        prop_assert!(rest.is_empty());
        // All files are accounted for.
        world.compare(&[digest(-HOUR), digest(0)]);
        world.sweep(at(now + LATENESS));
        world.sweep(at(now + 3 * LATENESS));
        prop_assert_eq!(world.absences(), expected);
    }
}
