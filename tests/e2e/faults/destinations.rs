//! Several destinations, of which some fail: every alert reaches every other destination, once, and
//! the failing one when it is well again.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use e2e::{
    cloud::{config, runtime},
    direct_decrypt, packed,
    proxy::Call,
};
use secretrail_aws::{
    dynamodb::{DynamoStore, Retention},
    retry::RetryPolicy,
};
use secretrail_engine::{
    alert::Alert,
    rule_meta::RuleLevel,
    state::{StateStore, contract},
    time::EventTime,
};

use super::*;

/// Of several deployments with a topic each, the table and the bucket of the first are used.
fn start(deployments: &[&Deployment], options: &[&str], endpoint: &str) -> Function {
    let topics = deployments.iter().zip(options);
    let topics = topics.map(|(deployment, options)| format!("{}{options}", deployment.topic));
    let topics = topics.collect::<Vec<_>>().join(" ");
    let mut settings = deployments[0].settings(endpoint);
    settings.retain(|(name, _)| *name != "SECRETRAIL_TOPICS");
    settings.push(("SECRETRAIL_TOPICS", topics));
    Function::start(BOOTSTRAP, &settings).unwrap()
}

/// Functions that only publish when they sweep: nothing is due for a long time.
fn start_many<const MANY: usize>(
    deployments: &[&Deployment; 2],
    options: &str,
    lease: &str,
    endpoint: &str,
) -> [Function; MANY] {
    let [first, second] = deployments;
    let mut settings = first.settings(endpoint);
    let changed = [
        (
            "SECRETRAIL_TOPICS",
            format!("{} {}{options}", first.topic, second.topic),
        ),
        ("SECRETRAIL_LEASE", lease.to_owned()),
        ("SECRETRAIL_ALLOWED_LATENESS", "1h".to_owned()),
    ];
    settings.retain(|(name, _)| changed.iter().all(|(other, _)| other != name));
    settings.extend(changed);
    [(); MANY].map(|()| Function::start(BOOTSTRAP, &settings).unwrap())
}

fn sweep(function: &Function) {
    let ended = function.invoke(&json!({"secretrail": "sweep"}), TIME);
    assert!(matches!(ended, Ended::Answer(_)), "{ended:?}");
}

fn metric(log: &[Value], name: &str) -> f64 {
    log.iter().filter_map(|line| line[name].as_f64()).sum()
}

/// The last value of a metric.
fn last_metric(log: &[Value], name: &str) -> f64 {
    let mut values = log.iter().filter_map(|line| line[name].as_f64());
    values
        .next_back()
        .unwrap_or_else(|| panic!("no {name}: {log:?}"))
}

/// How a destination fails.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Failure {
    NotAllowed,
    Throttled,
    KeyDenied,
    Deleted,
    Down,
    Hangs,
    /// Refuses one alert, and batches with it.
    OneIsTooLarge,
}

impl Failure {
    fn fault(self, call: &Call, large: &str) -> Fault {
        match self {
            Self::NotAllowed => Fault::Failed(403, "AuthorizationError"),
            Self::Throttled => Fault::Throttled,
            Self::KeyDenied => Fault::Failed(400, "KMSAccessDenied"),
            Self::Deleted => Fault::Failed(404, "NotFound"),
            Self::Down => Fault::Refused(503),
            Self::Hangs => Fault::Hangs(1_500),
            Self::OneIsTooLarge if call.body.contains(large) => {
                Fault::Failed(400, "BatchRequestTooLong")
            }
            Self::OneIsTooLarge => Fault::None,
        }
    }
}

/// Adds what a destination got since it was last asked.
fn hear(deployment: &Deployment, heard: &mut BTreeMap<String, usize>) {
    for (id, bodies) in deployment.published() {
        *heard.entry(id).or_default() += bodies.len();
    }
}

fn each_once(ids: impl IntoIterator<Item = impl Into<String>>) -> BTreeMap<String, usize> {
    ids.into_iter().map(|id| (id.into(), 1)).collect()
}

#[test]
fn one_of_three_destinations_fails_and_the_others_get_every_alert_once() {
    let (cloud, world) = (Cloud::start(), World::new());
    // The second fails in one way, the third in another, and for a shorter time.
    let failures = [
        (Failure::NotAllowed, Failure::Down),
        (Failure::Throttled, Failure::NotAllowed),
        (Failure::KeyDenied, Failure::Deleted),
        (Failure::Deleted, Failure::Throttled),
        (Failure::Hangs, Failure::KeyDenied),
        (Failure::OneIsTooLarge, Failure::Down),
        (Failure::Down, Failure::OneIsTooLarge),
    ];
    side_by_side(&cloud, &failures, |&(long, short), proxy| {
        let (deployment, messages) = world.deploy(&cloud);
        let (second, third) = (cloud.deploy(), cloud.deploy());
        let all = [&deployment, &second, &third];
        let large = world.expected.first().unwrap().clone();
        let is_well = [false, false].map(|is_well| Arc::new(AtomicBool::new(is_well)));
        let asked = Arc::new(AtomicUsize::new(0));
        let (topics, well) = ([second.topic.clone(), third.topic.clone()], is_well.clone());
        let (asking, poison) = (asked.clone(), large.clone());
        proxy.plan(move |call| {
            for (index, failure) in [long, short].into_iter().enumerate() {
                if call.publishes_to(&topics[index]) {
                    asking.fetch_add(usize::from(index == 0), Ordering::Relaxed);
                    if !well[index].load(Ordering::Relaxed) {
                        return failure.fault(call, &poison);
                    }
                }
            }
            Fault::None
        });
        let restart = || {
            let topics = all.map(|deployment| deployment.topic.clone()).join(" ");
            let mut settings = deployment.settings(&proxy.url);
            settings.retain(|(name, _)| *name != "SECRETRAIL_TOPICS");
            settings.push(("SECRETRAIL_TOPICS", topics));
            settings.push(("SECRETRAIL_POLICY", world.policy.clone()));
            Function::start(BOOTSTRAP, &settings).unwrap()
        };
        let mut function = Some(restart());
        deliver(&messages, &mut function, &restart);
        let function = function.unwrap();
        let mut heard: [BTreeMap<String, usize>; 3] = Default::default();
        let reported = format!("{long:?} and {short:?}");
        let mut sweeps_that_asked = 0;
        for round in 0..6 {
            std::thread::sleep(Duration::from_millis(1_100));
            is_well[1].store(round > 1, Ordering::Relaxed);
            let before = asked.load(Ordering::Relaxed);
            sweep(&function);
            sweeps_that_asked += usize::from(asked.load(Ordering::Relaxed) > before);
        }
        assert!(sweeps_that_asked < 5, "{reported}: it is asked each time");
        let log = function.log();
        assert!(metric(&log, "PublishFailures") > 0.0, "{reported}: {log:?}");
        assert!(last_metric(&log, "OutboxAge") >= 4.0, "{reported}: {log:?}");
        let mut early = BTreeMap::new();
        hear(&second, &mut early);
        heard[1].clone_from(&early);
        is_well[0].store(true, Ordering::Relaxed);
        let until = Instant::now() + Duration::from_secs(40);
        while last_metric(&function.log(), "OutboxAge") > 0.0 {
            assert!(Instant::now() < until, "{reported}: {:?}", function.log());
            std::thread::sleep(Duration::from_millis(1_100));
            sweep(&function);
        }
        let listening = heard.iter_mut().zip(all);
        listening.for_each(|(heard, deployment)| hear(deployment, heard));
        let expected = each_once(&world.expected);
        let names = ["the healthy one", "the one that failed longer", "the third"];
        let late = proxy.take_late_publications();
        for (name, heard) in names.into_iter().zip(&mut heard) {
            assert!(
                heard.values().all(|times| *times <= 1 + late),
                "{reported}: {name}: {heard:?}"
            );
            heard.values_mut().for_each(|times| *times = 1);
            assert_eq!(heard, &expected, "{reported}: {name}");
        }
        early.values_mut().for_each(|times| *times = 1);
        // While it failed, it got what it did not refuse.
        let others = world.expected.iter().filter(|id| **id != large);
        let expected = match long {
            Failure::OneIsTooLarge => each_once(others),
            _ => BTreeMap::new(),
        };
        assert_eq!(early, expected, "{reported}");
    });
}

#[test]
fn a_dead_destination_does_not_delay_the_others() {
    let (cloud, world) = (Cloud::start(), World::new());
    let proxy = Proxy::start(&cloud.stack.url, &cloud.dynamodb.url);
    let (deployment, messages) = world.deploy(&cloud);
    let dead = cloud.deploy();
    let topic = dead.topic.clone();
    proxy.plan(move |call| {
        if call.publishes_to(&topic) {
            Fault::Hangs(60_000)
        } else {
            Fault::None
        }
    });
    // The dead one is listed first.
    let mut settings = deployment.settings(&proxy.url);
    settings.retain(|(name, _)| *name != "SECRETRAIL_TOPICS");
    let topics = format!("{} {}", dead.topic, deployment.topic);
    settings.push(("SECRETRAIL_TOPICS", topics));
    let function = Function::start(BOOTSTRAP, &settings).unwrap();
    let began = Instant::now();
    std::thread::scope(|scope| {
        let invoked = scope.spawn(|| function.invoke(&json!({"Records": messages}), TIME));
        let mut heard = BTreeMap::new();
        while heard.is_empty() {
            assert!(began.elapsed() < Duration::from_secs(5), "it waits");
            hear(&deployment, &mut heard);
        }
        let answered = Ended::Answer(json!({"batchItemFailures": []}));
        assert_eq!(invoked.join().unwrap(), answered);
    });
    assert!(began.elapsed() < Duration::from_secs(20));
    // Once it is known, nobody waits for it.
    let began = Instant::now();
    let more = direct_decrypt("more", "another", 0, "prod/db");
    let key = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/02/111122223333_CloudTrail_eu-west-1_20260302T1030Z_more.json.gz";
    deployment.put(
        key,
        &packed(json!({"Records": [more]}).to_string().as_bytes()),
    );
    let message = deployment.message("more", &[key]);
    let ended = function.invoke(&json!({"Records": [message]}), TIME);
    assert!(matches!(ended, Ended::Answer(_)));
    assert!(began.elapsed() < Duration::from_secs(3), "it waits again");
}

#[test]
fn notes_of_a_removed_destination_are_dropped_and_counted() {
    let (cloud, world) = (Cloud::start(), World::new());
    let proxy = Proxy::start(&cloud.stack.url, &cloud.dynamodb.url);
    let (deployment, messages) = world.deploy(&cloud);
    let removed = cloud.deploy();
    let topic = removed.topic.clone();
    proxy.plan(move |call| {
        if call.publishes_to(&topic) {
            Fault::Failed(404, "NotFound")
        } else {
            Fault::None
        }
    });
    let both = [&deployment, &removed];
    let first = start(&both, &["", ""], &proxy.url);
    let ended = first.invoke(&json!({"Records": messages}), TIME);
    assert_eq!(ended, Ended::Answer(json!({"batchItemFailures": []})));
    let waiting = deployment.published().len();
    assert!(waiting > 0);
    drop(first);
    let second = start(&both[..1], &[""], &proxy.url);
    sweep(&second);
    assert_eq!(metric(&second.log(), "NotesDropped"), 0.0, "not at once");
    std::thread::sleep(Duration::from_millis(4_100));
    sweep(&second);
    let log = second.log();
    let dropped = metric(&log, "NotesDropped");
    assert!(dropped >= waiting as f64, "{log:?}");
    let names_it = |line: &Value| line["destination"] == json!(removed.topic);
    assert!(log.iter().any(names_it), "{log:?}");
    sweep(&second);
    assert_eq!(metric(&second.log(), "NotesDropped"), dropped, "once");
    // Listed again, it gets what is new, and nothing of the past.
    proxy.plan(|_| Fault::None);
    drop(second);
    let third = start(&both, &["", ""], &proxy.url);
    std::thread::sleep(Duration::from_millis(2_100));
    sweep(&third);
    let late = removed.published();
    assert_eq!(late.len(), 0, "{late:?}");
    let more = direct_decrypt("more", "another", 0, "prod/db");
    deployment.put(
        "more",
        &packed(json!({"Records": [more]}).to_string().as_bytes()),
    );
    let message = deployment.message("more", &["more"]);
    let ended = third.invoke(&json!({"Records": [message]}), TIME);
    assert!(matches!(ended, Ended::Answer(_)));
    // It had failed, and is left to the sweep.
    std::thread::sleep(Duration::from_millis(2_100));
    sweep(&third);
    assert_eq!(removed.published().len(), 1);
}

/// Creates alerts as an earlier version did so many seconds ago, with one note for all
/// destinations.
fn create_as_before(cloud: &Cloud, table: &str, alerts: &[Alert], secs: i64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = EventTime(now.as_secs() as i64 - secs);
    let config = config(&cloud.dynamodb.url);
    let client = aws_sdk_dynamodb::Client::new(&config);
    let (kept, retry) = (Retention::default(), RetryPolicy::default());
    let clock = Arc::new(move || now);
    let store = DynamoStore::new(
        client.clone(),
        table.to_owned(),
        kept,
        retry,
        clock,
        Vec::new(),
    );
    runtime().block_on(async {
        use aws_sdk_dynamodb::types::AttributeValue;
        store.create_alerts(alerts.to_vec(), now).await.unwrap();
        for alert in alerts {
            let created = AttributeValue::N(now.0.to_string());
            client
                .put_item()
                .table_name(table)
                .item("pk", AttributeValue::S("outbox".to_owned()))
                .item("sk", AttributeValue::S(alert.id.0.to_string()))
                .item("created", created)
                .send()
                .await
                .unwrap();
        }
    });
}

#[test]
fn notes_of_an_earlier_version_are_published_to_every_destination() {
    let cloud = Cloud::start();
    let (deployment, other, worst) = (cloud.deploy(), cloud.deploy(), cloud.deploy());
    let proxy = Proxy::start(&cloud.stack.url, &cloud.dynamodb.url);
    let mut alerts: Vec<Alert> = (0..120)
        .map(|n| contract::alert(&format!("e{n}")))
        .collect();
    Arc::make_mut(&mut alerts[7].rule).level = RuleLevel::Critical;
    create_as_before(&cloud, &deployment.table, &alerts, 10);
    let all = [&deployment, &other, &worst];
    let function = start(&all, &["", "", "?min-level=critical"], &proxy.url);
    sweep(&function);
    let mut heard: [BTreeMap<String, usize>; 3] = Default::default();
    let both = heard.iter_mut().zip(all);
    both.for_each(|(heard, deployment)| hear(deployment, heard));
    let ids = || alerts.iter().map(|alert| alert.id.0.to_string());
    assert_eq!(heard[0], each_once(ids()));
    assert_eq!(heard[1], each_once(ids()));
    assert_eq!(heard[2], each_once([alerts[7].id.0.to_string()]));
    sweep(&function);
    assert!(
        all.iter()
            .all(|deployment| deployment.published().is_empty())
    );
    assert_eq!(last_metric(&function.log(), "OutboxAge"), 0.0);
}

#[test]
fn sweeps_that_overlap_publish_nothing_twice() {
    let cloud = Cloud::start();
    let (deployment, other) = (cloud.deploy(), cloud.deploy());
    let proxy = Proxy::start(&cloud.stack.url, &cloud.dynamodb.url);
    let alerts: Vec<Alert> = (0..300)
        .map(|n| contract::alert(&format!("e{n}")))
        .collect();
    create_as_before(&cloud, &deployment.table, &alerts, 100);
    let functions: [Function; 5] = start_many(&[&deployment, &other], "", "60s", &proxy.url);
    for _ in 0..2 {
        std::thread::scope(|scope| {
            functions.iter().for_each(|function| {
                scope.spawn(|| sweep(function));
            });
        });
    }
    let expected = each_once(alerts.iter().map(|alert| alert.id.0.to_string()));
    for deployment in [&deployment, &other] {
        let mut heard = BTreeMap::new();
        hear(deployment, &mut heard);
        assert_eq!(heard, expected);
    }
}

/// The ids that messages name, each as often as it is named, and the number of messages.
fn named(bodies: &BTreeMap<String, Vec<Value>>) -> (BTreeMap<String, usize>, usize) {
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    let all = bodies.values().flatten();
    for body in all.clone() {
        let one = |alert: &Value| alert["id"].as_str().unwrap().to_owned();
        let named: Vec<String> = match body["alerts"].as_array() {
            Some(alerts) => alerts.iter().map(one).collect(),
            None => vec![one(body)],
        };
        for id in named {
            *ids.entry(id).or_default() += 1;
        }
    }
    (ids, all.count())
}

#[test]
fn a_thousand_alerts_are_few_messages_a_minute_and_all_are_named() {
    const WORKERS: usize = 4;
    const EACH: usize = 250;
    let cloud = Cloud::start();
    let (deployment, mail) = (cloud.deploy(), cloud.deploy());
    let proxy = Proxy::start(&cloud.stack.url, &cloud.dynamodb.url);
    let both = [&deployment, &mail];
    let functions: [Function; WORKERS] = start_many(&both, "?max-per-minute=5", "1s", &proxy.url);
    // When messages were sent: of what a machine takes how long for, nothing else is known.
    let sent: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let (mail_topic, sent_at) = (mail.topic.clone(), Arc::clone(&sent));
    proxy.plan(move |call| {
        if call.publishes_to(&mail_topic) {
            let messages = call.body.matches(".Message=").count();
            let mut sent = sent_at.lock().unwrap();
            sent.extend(std::iter::repeat_n(Instant::now(), messages));
        }
        Fault::None
    });
    std::thread::scope(|scope| {
        for (worker, function) in functions.iter().enumerate() {
            let key = format!("object{worker}");
            let records = (0..EACH).map(|n| {
                let id = format!("{worker}-{n}");
                direct_decrypt(&format!("e{id}"), &format!("thief{id}"), 0, "prod/db")
            });
            let text = json!({"Records": records.collect::<Vec<_>>()}).to_string();
            deployment.put(&key, &packed(text.as_bytes()));
            let message = deployment.message(&key, &[&key]);
            scope.spawn(move || {
                let ended = function.invoke(&json!({"Records": [message]}), TIME);
                assert_eq!(ended, Ended::Answer(json!({"batchItemFailures": []})));
            });
        }
    });
    let published = deployment.published();
    assert!(published.len() >= WORKERS * EACH, "{}", published.len());
    let expected = each_once(published.keys());
    assert_eq!(named(&published).0, expected);
    let began = Instant::now();
    let mut bodies: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let ids = loop {
        for (id, more) in mail.published() {
            bodies.entry(id).or_default().extend(more);
        }
        let (ids, _) = named(&bodies);
        if expected.keys().all(|id| ids.contains_key(id)) {
            break ids;
        }
        assert!(began.elapsed() < Duration::from_secs(300), "{}", ids.len());
        std::thread::sleep(Duration::from_secs(2));
        // All sweep at once, before and after a minute is over.
        std::thread::scope(|scope| {
            functions.iter().for_each(|function| {
                scope.spawn(|| sweep(function));
            });
        });
    };
    assert_eq!(ids, expected, "nothing is lost, and nothing comes twice");
    let mut all = bodies.values().flatten();
    let digest = all.find(|body| body["schema"] == "secretrail.digest/1");
    let digest = digest.expect("a digest");
    assert_eq!(digest["worst"].as_array().unwrap().len(), 10);
    let (_, messages) = named(&bodies);
    let sent = sent.lock().unwrap();
    assert_eq!(sent.len(), messages, "each message was seen on its way");
    assert!((6..=15).contains(&messages), "few messages: {messages}");
    // Room is taken before a message is sent, which may take a while on a busy machine.
    for (first, sixth) in sent.iter().zip(&sent[5..]) {
        let apart = sixth.duration_since(*first);
        assert!(
            apart > Duration::from_secs(30),
            "{apart:?} for six messages"
        );
    }
}
