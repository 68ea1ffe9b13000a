//! Everything that can go wrong between the function and AWS: the alerts are those of the replay,
//! none is missing, and none comes twice unless nobody could know that it had gone out.

mod destinations;
mod doors;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use e2e::{
    decrypt_secret, denied,
    deployment::{Cloud, Deployment},
    function::{Ended, Function},
    proxy::{Call, Fault, Proxy},
    read, secretrail, write_gz,
};
use serde_json::{Value, json};

const BOOTSTRAP: &str = env!("CARGO_BIN_EXE_bootstrap-under-test");
const TIME: Duration = Duration::from_secs(60);

const POLICY: &str = "
version: 1
grants:
  - secrets: ['arn:aws:secretsmanager:*:111122223333:secret:prod/*']
    principals: ['arn:aws:iam::111122223333:role/app']
    keys: ['arn:aws:kms:*:111122223333:key/other']
";

/// Reads, key uses and a denial in three objects, so that pairs are split and alerts come at sight
/// and when settled.
struct World {
    objects: Vec<(String, Vec<u8>)>,
    policy: String,
    expected: BTreeSet<String>,
    /// Ids of the incidents of the replay.
    incidents: BTreeSet<String>,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let parts = [
            vec![
                read("r1", "thief", 0, "prod/db"),
                read("r2", "app", 1, "prod/db"),
                denied("n1", "thief", 3, "prod/a"),
            ],
            vec![
                decrypt_secret("d2", "app", 1, "prod/db"),
                denied("n2", "thief", 4, "prod/b"),
                denied("n3", "thief", 5, "prod/c"),
            ],
            vec![
                decrypt_secret("d1", "thief", 0, "prod/db"),
                denied("n4", "thief", 6, "prod/d"),
                denied("n5", "thief", 7, "prod/e"),
            ],
        ];
        let folder = tempfile::tempdir().unwrap();
        let mut objects = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let key = format!(
                "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/02/111122223333_CloudTrail_eu-west-1_20260302T10{:02}Z_x{index}.json.gz",
                5 * index
            );
            let path = folder.path().join("logs").join(&key);
            write_gz(&path, json!({"Records": part}).to_string().as_bytes());
            objects.push((key, std::fs::read(&path).unwrap()));
        }
        let policy = folder
            .path()
            .join("access-policy.yaml")
            .to_string_lossy()
            .into_owned();
        std::fs::write(&policy, POLICY).unwrap();
        let logs = folder.path().join("logs").to_string_lossy().into_owned();
        let printed = secretrail(&[
            "replay", &logs, "-f", "jsonl", "--alerts", "-q", "--policy", &policy,
        ]);
        assert_eq!(printed.code, 0, "{}", printed.stderr);
        let id = |line: &str| {
            serde_json::from_str::<Value>(line).unwrap()["id"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let expected: BTreeSet<String> = printed.stdout.lines().map(id).collect();
        assert!(expected.len() >= 4, "{}", printed.stdout);
        let printed = secretrail(&[
            "replay",
            &logs,
            "-f",
            "jsonl",
            "--incidents",
            "-q",
            "--policy",
            &policy,
        ]);
        let incidents: BTreeSet<String> = printed.stdout.lines().map(id).collect();
        assert!(incidents.len() >= 2, "{}", printed.stdout);
        Self {
            objects,
            policy,
            expected,
            incidents,
            _folder: folder,
        }
    }

    /// A deployment with the objects in its bucket, and the messages about them.
    fn deploy(&self, cloud: &Cloud) -> (Deployment, Vec<Value>) {
        let deployment = cloud.deploy();
        self.objects
            .iter()
            .for_each(|(key, bytes)| deployment.put(key, bytes));
        let message = |(index, (key, _)): (usize, &(String, Vec<u8>))| {
            deployment.message(&format!("m{index}"), &[key])
        };
        let messages = self.objects.iter().enumerate().map(message).collect();
        (deployment, messages)
    }

    fn start(&self, deployment: &Deployment, endpoint: &str) -> Function {
        self.start_with(deployment, endpoint, "1s")
    }

    /// A function that leaves alerts to others for so long.
    fn start_with(&self, deployment: &Deployment, endpoint: &str, lease: &str) -> Function {
        let mut settings = deployment.settings(endpoint);
        settings.retain(|(name, _)| *name != "SECRETRAIL_LEASE");
        settings.retain(|(name, _)| *name != "SECRETRAIL_TOPICS");
        let both = format!("{}?deliver=both", deployment.topic);
        settings.push(("SECRETRAIL_TOPICS", both));
        settings.push(("SECRETRAIL_LEASE", lease.to_owned()));
        settings.push(("SECRETRAIL_POLICY", self.policy.clone()));
        Function::start(BOOTSTRAP, &settings).unwrap()
    }

    /// Every alert and incident was published, and no message more often than allowed: once, and
    /// once more for each publication of which the function does not know that it is out.
    fn check(
        &self,
        published: &BTreeMap<String, Vec<Value>>,
        proxy: &Proxy,
        unknown: usize,
        what: &str,
    ) {
        let most = 1 + unknown + proxy.take_late_publications();
        let alerts = Deployment::of_schema(published, "secretrail.alert/1");
        assert_eq!(
            alerts.keys().cloned().collect::<BTreeSet<_>>(),
            self.expected,
            "{what}"
        );
        let incidents = Deployment::of_schema(published, "secretrail.incident/1");
        assert_eq!(
            Deployment::standing(published),
            self.incidents,
            "{what}: {incidents:#?}"
        );
        let mut messages: BTreeMap<(&str, String), usize> = BTreeMap::new();
        for (id, bodies) in published {
            for body in bodies {
                let number = body["news"]["message"].to_string();
                *messages.entry((id, number)).or_default() += 1;
            }
        }
        for (message, times) in messages {
            assert!(
                times <= most,
                "{what}: {message:?} was published {times} times"
            );
        }
    }

    /// Whether everything was published.
    fn is_complete(&self, published: &BTreeMap<String, Vec<Value>>) -> bool {
        let ids = self.expected.iter().chain(&self.incidents);
        ids.into_iter().all(|id| published.contains_key(id))
    }
}

/// Delivers messages as a queue does: what comes back is delivered again. A function that died is
/// started again.
fn deliver(messages: &[Value], function: &mut Option<Function>, start: &dyn Fn() -> Function) {
    let mut left: Vec<Value> = messages.to_vec();
    for _ in 0..30 {
        let running = function.get_or_insert_with(start);
        match running.invoke(&json!({"Records": left}), TIME) {
            Ended::Answer(answer) => {
                let back: Vec<&Value> = answer["batchItemFailures"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|item| &item["itemIdentifier"])
                    .collect();
                left.retain(|message| back.contains(&&message["messageId"]));
                if left.is_empty() {
                    return;
                }
            }
            Ended::Error(_) => {}
            Ended::Died => *function = None,
        }
    }
    panic!("messages keep coming back: {left:?}");
}

/// Sweeps, after the horizon and the lease, until everything that is expected was published, or for
/// long enough to say that it never will be; gives what was published.
fn finalize(
    world: &World,
    deployment: &Deployment,
    function: &mut Option<Function>,
    start: &dyn Fn() -> Function,
) -> BTreeMap<String, Vec<Value>> {
    let mut published: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for _ in 0..4 {
        // The horizon and the lease of the tests are a second, told in whole seconds.
        std::thread::sleep(Duration::from_millis(2_050));
        for _ in 0..30 {
            match function
                .get_or_insert_with(start)
                .invoke(&json!({"secretrail": "sweep"}), TIME)
            {
                Ended::Answer(_) => break,
                Ended::Error(_) => {}
                Ended::Died => *function = None,
            }
        }
        for (id, bodies) in deployment.published() {
            published.entry(id).or_default().extend(bodies);
        }
        if world.is_complete(&published) {
            break;
        }
    }
    published
}

/// Does work on several threads, each with a proxy of its own: most of it is waiting.
fn side_by_side<T: Send + Sync>(cloud: &Cloud, work: &[T], each: impl Fn(&T, &Proxy) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let proxy = Proxy::start(&cloud.stack.url, &cloud.dynamodb.url);
                while let Some(item) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    each(item, &proxy);
                }
            });
        }
    });
}

/// Delivers and settles under a plan; gives what was published, and the calls that were made.
fn run(
    world: &World,
    cloud: &Cloud,
    proxy: &Proxy,
    plan: impl FnMut(&Call) -> Fault + Send + 'static,
) -> (BTreeMap<String, Vec<Value>>, Vec<Call>) {
    let (deployment, messages) = world.deploy(cloud);
    let start = || world.start(&deployment, &proxy.url);
    let mut function = Some(start());
    proxy.plan(plan);
    deliver(&messages, &mut function, &start);
    let published = finalize(world, &deployment, &mut function, &start);
    (published, proxy.plan(|_| Fault::None))
}

/// Whether every fault is tried, and not a part of them that shows most: once a week.
fn all_faults() -> bool {
    std::env::var_os("SECRETRAIL_TEST_ALL_FAULTS").is_some()
}

#[test]
fn any_one_call_may_fail_lose_its_answer_or_hang() {
    let (cloud, world) = (Cloud::start(), World::new());
    let proxy = Proxy::start(&cloud.stack.url, &cloud.dynamodb.url);
    let (published, calls) = run(&world, &cloud, &proxy, |_| Fault::None);
    world.check(&published, &proxy, 0, "nothing spoiled");
    let operations: BTreeSet<&str> = calls.iter().map(|call| call.operation.as_str()).collect();
    for operation in [
        "GetObject",
        "BatchGetItem",
        "BatchWriteItem",
        "TransactWriteItems",
        "PutItem",
        "Query",
        "PublishBatch",
    ] {
        assert!(
            operations.contains(operation),
            "{operation} is not on the happy path: {operations:?}"
        );
    }
    let faults = [
        Fault::Refused(500),
        Fault::AnswerLost,
        Fault::Hangs(1_500),
        Fault::Truncated,
    ];
    let mut plans: Vec<(usize, Fault)> = (0..calls.len())
        .flat_map(|i| faults.map(|fault| (i, fault)))
        .collect();
    // A call that hangs is refused by the client in the end, and a read whose answer is lost has
    // changed nothing: of those, some.
    plans.retain(|(i, fault)| {
        let operation = calls[*i].operation.as_str();
        let reads = ["GetObject", "BatchGetItem", "GetItem", "Query"].contains(&operation);
        match fault {
            Fault::Truncated => operation == "GetObject",
            Fault::Hangs(_) => all_faults() || i % 10 == 0,
            Fault::AnswerLost => all_faults() || !reads || i % 2 == 0,
            _ => all_faults() || !reads || i % 2 == 1,
        }
    });
    side_by_side(&cloud, &plans, |&(place, fault), proxy| {
        let spoiled = Arc::new(Mutex::new(String::new()));
        let operation = spoiled.clone();
        let spoil = move |call: &Call| {
            if call.index != place {
                return Fault::None;
            }
            call.operation.clone_into(&mut operation.lock().unwrap());
            fault
        };
        let (published, _) = run(&world, &cloud, proxy, spoil);
        let operation = spoiled.lock().unwrap().clone();
        // A publication whose answer is lost has gone out, and goes out again.
        let is_unknown = operation == "PublishBatch" && fault == Fault::AnswerLost;
        world.check(
            &published,
            proxy,
            usize::from(is_unknown),
            &format!("{fault:?} of call {place}, {operation}"),
        );
    });
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[test]
fn a_topic_that_is_down_for_a_while_gets_every_alert_once() {
    let (cloud, world) = (Cloud::start(), World::new());
    let proxy = Proxy::start(&cloud.stack.url, &cloud.dynamodb.url);
    let down = Arc::new(AtomicBool::new(true));
    let (deployment, messages) = world.deploy(&cloud);
    let start = || world.start(&deployment, &proxy.url);
    let mut function = Some(start());
    let is_down = down.clone();
    proxy.plan(move |call| match call.operation.as_str() {
        "PublishBatch" if is_down.load(Ordering::Relaxed) => Fault::Refused(503),
        _ => Fault::None,
    });
    deliver(&messages, &mut function, &start);
    std::thread::sleep(Duration::from_millis(2_050));
    assert!(matches!(
        function
            .as_ref()
            .unwrap()
            .invoke(&json!({"secretrail": "sweep"}), TIME),
        Ended::Answer(_)
    ));
    assert_eq!(
        deployment.published().len(),
        0,
        "the messages are acknowledged, and the alerts wait in the outbox"
    );
    down.store(false, Ordering::Relaxed);
    let published = finalize(&world, &deployment, &mut function, &start);
    world.check(&published, &proxy, 0, "after the topic came back");
}

#[test]
fn storms_of_throttling_pass() {
    let (cloud, world) = (Cloud::start(), World::new());
    let seeds: Vec<u64> = (0..8).collect();
    side_by_side(&cloud, &seeds, |seed, proxy| {
        let mut dice = Dice(*seed);
        let (published, calls) = run(&world, &cloud, proxy, move |_| {
            if dice.roll(3) == 0 {
                Fault::Throttled
            } else {
                Fault::None
            }
        });
        world.check(
            &published,
            proxy,
            0,
            &format!("storm {seed} over {} calls", calls.len()),
        );
    });
}

#[test]
fn a_function_that_is_killed_anywhere_loses_nothing() {
    let (cloud, world) = (Cloud::start(), World::new());
    let seeds: Vec<u64> = (0..if all_faults() { 1_000 } else { 100 }).collect();
    side_by_side(&cloud, &seeds, |seed, proxy| {
        let mut dice = Dice(*seed);
        let (deployment, messages) = world.deploy(&cloud);
        let start = || world.start(&deployment, &proxy.url);
        let mut function = Some(start());
        // Up to two kills, each at any call and before or after it is done.
        let deaths: Vec<(usize, bool)> = (0..=dice.roll(2))
            .map(|_| (dice.roll(30) as usize, dice.roll(2) == 0))
            .collect();
        let reported = format!("seed {seed}, killed at {deaths:?}");
        let kill: Arc<Mutex<Box<dyn Fn() + Send + Sync>>> = Arc::new(Mutex::new(Box::new(|| {})));
        let excused = Arc::new(AtomicUsize::new(0));
        let (killing, excusing, plan) = (kill.clone(), excused.clone(), deaths.clone());
        let mut is_out = false;
        proxy.plan(move |call| {
            let publishes = call.operation == "PublishBatch";
            let Some((_, before)) = plan.iter().find(|(place, _)| *place == call.index) else {
                is_out = publishes || (is_out && call.operation != "BatchWriteItem");
                return Fault::None;
            };
            // Killed between a publication and the note that it is out: nobody can know of it.
            if is_out || (publishes && !before) {
                excusing.fetch_add(1, Ordering::Relaxed);
            }
            is_out = false;
            killing.lock().unwrap()();
            // A killed function does not hear the answer, whether or not there is one.
            if *before {
                Fault::Refused(500)
            } else {
                Fault::AnswerLost
            }
        });
        let start = || {
            let function = start();
            *kill.lock().unwrap() = Box::new(function.killer());
            function
        };
        function = function.inspect(|function| *kill.lock().unwrap() = Box::new(function.killer()));
        deliver(&messages, &mut function, &start);
        let published = finalize(&world, &deployment, &mut function, &start);
        world.check(
            &published,
            proxy,
            excused.load(Ordering::Relaxed),
            &reported,
        );
    });
}

#[test]
fn eight_workers_get_everything_three_times_in_any_order() {
    let (cloud, world) = (Cloud::start(), World::new());
    let proxy = Proxy::start(&cloud.stack.url, &cloud.dynamodb.url);
    for seed in 0..4 {
        let mut dice = Dice(seed);
        let (deployment, messages) = world.deploy(&cloud);
        let mut all: Vec<Value> = (0..3).flat_map(|_| messages.clone()).collect();
        for place in (1..all.len()).rev() {
            all.swap(place, dice.roll(place as u64 + 1) as usize);
        }
        let functions: Vec<Function> = (0..8)
            .map(|_| world.start_with(&deployment, &proxy.url, "60s"))
            .collect();
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for function in &functions {
                let (next, all) = (&next, &all);
                scope.spawn(move || {
                    while let Some(message) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let ended = function.invoke(&json!({"Records": [message]}), TIME);
                        assert_eq!(ended, Ended::Answer(json!({"batchItemFailures": []})));
                    }
                });
            }
        });
        // All of them sweep at once, too.
        std::thread::sleep(Duration::from_millis(2_050));
        std::thread::scope(|scope| {
            for function in &functions {
                scope.spawn(|| {
                    assert!(matches!(
                        function.invoke(&json!({"secretrail": "sweep"}), TIME),
                        Ended::Answer(_)
                    ))
                });
            }
        });
        let published = deployment.published();
        world.check(&published, &proxy, 0, &format!("seed {seed}"));
    }
}
