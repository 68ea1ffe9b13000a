//! The real function on stand-ins for AWS: the same alerts as the replay, in other orders and
//! batches.

mod decisions;
mod digests;
mod doors;
mod exposure;
mod large;
mod rules;
mod set_aside;
mod topics;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use e2e::{
    LOGS, POLICY, cases, decrypt_secret, denied,
    deployment::{Cloud, Deployment},
    direct_decrypt,
    function::{Ended, Function, MEMORY_MIB},
    packed,
    proxy::{Fault, Proxy},
    read, secretrail, theft,
};
use serde_json::{Value, json};

const BOOTSTRAP: &str = env!("CARGO_BIN_EXE_bootstrap-under-test");
const ENOUGH: Duration = Duration::from_secs(60);

/// Inputs of the replay: a folder of logs, and the policy beside it.
fn worlds() -> Vec<(PathBuf, Option<PathBuf>)> {
    let mut all = vec![(LOGS.into(), Some(POLICY.into()))];
    all.extend(
        cases::all()
            .iter()
            .map(|case| (case.input(), case.policy())),
    );
    all
}

/// The alerts of a replay by their ids.
fn replayed(logs: &Path, policy: Option<&Path>) -> BTreeMap<String, Value> {
    let mut args = vec![
        "replay",
        logs.to_str().unwrap(),
        "-f",
        "jsonl",
        "--alerts",
        "-q",
    ];
    if let Some(policy) = policy {
        args.extend(["--policy", policy.to_str().unwrap()]);
    }
    let printed = secretrail(&args);
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    let alerts = printed
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    alerts
        .map(|alert| (alert["id"].as_str().unwrap().to_owned(), alert))
        .collect()
}

/// The ids of the incidents of a replay.
fn replayed_incidents(logs: &Path, policy: Option<&Path>) -> BTreeSet<String> {
    let mut args = vec!["replay", logs.to_str().unwrap(), "-f", "jsonl"];
    args.extend(["--incidents", "-q"]);
    if let Some(policy) = policy {
        args.extend(["--policy", policy.to_str().unwrap()]);
    }
    let printed = secretrail(&args);
    let incidents = printed.stdout.lines();
    let incidents = incidents.map(|line| serde_json::from_str::<Value>(line).unwrap());
    incidents
        .map(|incident| incident["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Puts files into the bucket; gives their keys.
fn upload(deployment: &Deployment, logs: &Path) -> Vec<String> {
    let all = cases::files(logs);
    let key = |path: &PathBuf| {
        path.strip_prefix(logs)
            .unwrap()
            .to_string_lossy()
            .into_owned()
    };
    all.iter()
        .for_each(|path| deployment.put(&key(path), &std::fs::read(path).unwrap()));
    all.iter().map(key).collect()
}

fn answered(function: &Function, event: &Value) -> Value {
    match function.invoke(event, ENOUGH) {
        Ended::Answer(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn batch(messages: Vec<Value>) -> Value {
    json!({"Records": messages})
}

/// Waits until the horizon of the tests is over, then sweeps.
fn sweep(function: &Function) {
    std::thread::sleep(Duration::from_millis(2_100));
    answered(function, &json!({"secretrail": "sweep"}));
}

/// What an alert rests on, whatever was known of the key uses when it was told.
fn evidence(alert: &Value) -> Vec<(String, String)> {
    let access = |a: &Value| {
        (
            a["event_id"].as_str().unwrap().to_owned(),
            a["secret"]["name"].to_string(),
        )
    };
    let mut all: Vec<_> = alert["accesses"]
        .as_array()
        .unwrap()
        .iter()
        .map(access)
        .collect();
    all.sort();
    all.dedup();
    all
}

/// Worlds that are tried at once. Most of their time is spent in waiting for the horizon.
const AT_ONCE: usize = 8;

#[test]
fn every_world_gives_the_alerts_of_the_replay_in_any_order() {
    let cloud = Cloud::start();
    let worlds = worlds();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((logs, policy)) = worlds.get(next.fetch_add(1, Ordering::Relaxed)) {
            let expected = replayed(logs, policy.as_deref());
            let incidents = replayed_incidents(logs, policy.as_deref());
            for (round, size) in [(0, usize::MAX), (1, 1), (2, 3)] {
                let published = delivered(&cloud, logs, policy.as_deref(), round > 0, size);
                let reported = format!("{} round {round}", logs.display());
                let alerts = Deployment::of_schema(&published, "secretrail.alert/1");
                same_alerts(&alerts, &expected, size == usize::MAX, &reported);
                assert_eq!(Deployment::standing(&published), incidents, "{reported}");
                let known = Deployment::incident_ids(&published);
                for alert in alerts.values().flatten() {
                    let incident = text(&alert["incident_id"]);
                    assert!(known.contains(incident), "{reported}: {alert}");
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What the function publishes when it gets the files of a world, so many in a message batch, in
/// the order of their names or in another one.
fn delivered(
    cloud: &Cloud,
    logs: &Path,
    policy: Option<&Path>,
    mixed: bool,
    size: usize,
) -> BTreeMap<String, Vec<Value>> {
    let deployment = cloud.deploy();
    let mut keys = upload(&deployment, logs);
    if mixed {
        keys.reverse();
        let middle = keys.len() / 2;
        keys.rotate_left(middle);
    }
    let mut settings = deployment.settings(&cloud.stack.url);
    settings.retain(|(name, _)| *name != "SECRETRAIL_TOPICS");
    let both = format!("{}?deliver=both", deployment.topic);
    settings.push(("SECRETRAIL_TOPICS", both));
    settings.push(("AWS_ENDPOINT_URL_DYNAMODB", cloud.dynamodb.url.clone()));
    if let Some(policy) = policy {
        settings.push(("SECRETRAIL_POLICY", policy.to_str().unwrap().to_owned()));
    }
    let function = Function::start(BOOTSTRAP, &settings).unwrap();
    for chunk in keys.chunks(size.min(keys.len().max(1))) {
        let messages = chunk
            .iter()
            .enumerate()
            .map(|(i, key)| deployment.message(&format!("m{i}"), &[key]));
        let answer = answered(&function, &batch(messages.collect()));
        assert_eq!(answer, json!({"batchItemFailures": []}));
    }
    // The second groups the alerts of which the first has found out more.
    sweep(&function);
    sweep(&function);
    deployment.published()
}

/// Each alert of the replay is published once, with its rule; and with its evidence, where that
/// does not depend on what had come before: in an alert about one event, and when everything came
/// at once.
fn same_alerts(
    published: &BTreeMap<String, Vec<Value>>,
    expected: &BTreeMap<String, Value>,
    at_once: bool,
    reported: &str,
) {
    let published = &not_withdrawn(published);
    assert!(
        published.keys().eq(expected.keys()),
        "{reported}: {published:#?}\nand not\n{expected:#?}"
    );
    for (id, bodies) in published {
        let [body] = bodies.as_slice() else {
            panic!("{reported}: {id} was published {} times", bodies.len())
        };
        let whole = &expected[id];
        let rule = |alert: &Value| (alert["rule"].clone(), alert["schema"].clone());
        assert_eq!(rule(body), rule(whole), "{reported}: {id}");
        let (found, all) = (evidence(body), evidence(whole));
        let why = format!("{reported}: {id} {}", body["summary"]);
        if body["window"].is_null() {
            assert_eq!(found, all, "{why}");
        } else if at_once {
            // An alert that does not wait for the final evaluation lacks what is known only then.
            let is_part = found.iter().all(|event| all.contains(event));
            let is_some = !found.is_empty() || all.is_empty();
            assert!(is_part && is_some, "{why}: {found:?} {all:?}");
        }
    }
}

/// The alerts that were not withdrawn. What was withdrawn may have been raised again.
fn not_withdrawn(published: &BTreeMap<String, Vec<Value>>) -> BTreeMap<String, Vec<Value>> {
    let mut left = BTreeMap::new();
    for (id, bodies) in published {
        let is_withdrawn = |body: &&Value| body["withdrawn"] == json!(true);
        let withdrawn = bodies.iter().filter(is_withdrawn).count();
        let raised = bodies.iter().filter(|body| !is_withdrawn(body));
        let standing: Vec<Value> = raised.skip(withdrawn).cloned().collect();
        if withdrawn == 0 || !standing.is_empty() {
            left.insert(id.clone(), standing);
        }
    }
    left
}

/// One deployment with the records of a theft in an object, and what the function needs to work on
/// it.
struct Shop {
    cloud: Cloud,
    deployment: Deployment,
    proxy: Proxy,
}

const KEY: &str = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/02/111122223333_CloudTrail_eu-west-1_20260302T1005Z_a+b =c.json.gz";

impl Shop {
    fn open() -> Self {
        let cloud = Cloud::start();
        let deployment = cloud.deploy();
        let proxy = Proxy::start(&cloud.stack.url, &cloud.dynamodb.url);
        Self {
            cloud,
            deployment,
            proxy,
        }
    }

    fn start(&self, more: &[(&'static str, &str)]) -> Function {
        let mut settings = self.deployment.settings(&self.proxy.url);
        settings.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        settings.extend(
            more.iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        Function::start(BOOTSTRAP, &settings).unwrap()
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Value {
        self.deployment.put(key, bytes);
        self.deployment.message(key, &[key])
    }
}

fn back(answer: &Value) -> Vec<&str> {
    answer["batchItemFailures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["itemIdentifier"].as_str().unwrap())
        .collect()
}

fn has(log: &[Value], message: &str, part: &str) -> bool {
    log.iter()
        .any(|line| line["message"] == message && line.to_string().contains(part))
}

fn metric(log: &[Value], name: &str) -> f64 {
    log.iter().filter_map(|line| line[name].as_f64()).sum()
}

#[test]
fn what_is_bad_comes_back_and_what_is_good_beside_it_goes_through() {
    let shop = Shop::open();
    let function = shop.start(&[("SECRETRAIL_MAX_OBJECT_BYTES", "4000")]);
    let whole = theft("e1");
    let two = [
        direct_decrypt("e2", "thief", 0, "prod/db"),
        read("r1", "app", 0, &"x".repeat(3_000)),
    ];
    let two = packed(json!({"Records": two}).to_string().as_bytes());
    let mut noise = Vec::new();
    let mut state = 1_u32;
    noise.resize_with(6_000, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let message =
        |id: &str, body: &str| json!({"eventSource": "aws:sqs", "messageId": id, "body": body});
    let answer = answered(
        &function,
        &batch(vec![
            shop.put(KEY, &whole),
            shop.put("cut.json.gz", &two[..two.len() - 9]),
            shop.put("large.json.gz", &noise),
            shop.put("broken.json.gz", b"not gzip and not JSON"),
            shop.deployment.message("missing", &["missing.json.gz"]),
            message("garbage", "{"),
            message("strange", "{\"hello\":1}"),
            message("test", "{\"Event\":\"s3:TestEvent\"}"),
            shop.deployment.message(
                "digest",
                &[&KEY.replace("/CloudTrail/", "/CloudTrail-Digest/")],
            ),
            shop.put("note.txt", b"hello"),
        ]),
    );
    assert_eq!(
        back(&answer),
        [
            "cut.json.gz",
            "garbage",
            "large.json.gz",
            "missing",
            "strange"
        ]
    );
    let log = function.log();
    for part in [
        "more than the limit of 4000",
        "there is no such object",
        "cut.json.gz",
    ] {
        assert!(has(&log, "object result", part), "{part}: {log:?}");
    }
    assert!(
        has(&log, "unparseable message returned for retry", "not JSON")
            && has(&log, "unparseable message returned for retry", "hello")
    );
    assert_eq!(
        (
            metric(&log, "MessagesRetried"),
            metric(&log, "ObjectsSkipped")
        ),
        (5.0, 3.0)
    );
    let reported = log
        .iter()
        .find_map(|line| line.get("SkippedByReason"))
        .expect("what was skipped is counted by reason");
    assert_eq!(
        (&reported["digest"], &reported["no CloudTrail records"]),
        (&json!(1), &json!(2))
    );
    // What stood before the cut is told all the same.
    assert_eq!(
        shop.deployment.published().len(),
        1,
        "both thefts are of one principal in one hour"
    );
    assert!(
        !log.iter().any(|line| line.to_string().contains("prod/db")),
        "no secret is named in the log"
    );
    // The objects that are done cost nothing when they come again.
    let before = shop.proxy.plan(|_| Fault::None).len();
    assert_eq!(
        back(&answered(
            &function,
            &batch(vec![shop.deployment.message("again", &[KEY])])
        )),
        Vec::<&str>::new()
    );
    let calls = shop.proxy.plan(|_| Fault::None);
    assert!(before > 3 && calls.len() == 1, "{calls:?}");
    let Ended::Error(error) = function.invoke(&json!({"what": "is this"}), ENOUGH) else {
        panic!("an error is told")
    };
    assert!(error.to_string().contains("its fields: what"), "{error}");
}

#[test]
fn an_excuse_that_comes_late_withdraws_the_alert() {
    let shop = Shop::open();
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.json");
    let grants =
        json!([{"secrets": ["*"], "principals": ["arn:aws:iam::111122223333:role/owner"]}]);
    let text = json!({"version": 1, "grants": grants}).to_string();
    std::fs::write(&policy, text).unwrap();
    let function = shop.start(&[("SECRETRAIL_POLICY", policy.to_str().unwrap())]);
    let logs = |records: &[Value]| packed(json!({"Records": records}).to_string().as_bytes());
    let reads = [
        read("r1", "deployer", 60, "prod/new"),
        read("r2", "stranger", 60, "prod/old"),
    ];
    let messages = vec![shop.put("reads.json.gz", &logs(&reads))];
    assert_eq!(back(&answered(&function, &batch(messages))), [""; 0]);
    let unexpected = |published: &BTreeMap<String, Vec<Value>>| {
        let bodies = published.values().flatten();
        let bodies =
            bodies.filter(|body| body["rule"]["title"] == "Secret Read By An Unexpected Principal");
        let mut said: Vec<(String, bool)> = bodies
            .map(|body| {
                let principal = body["principal"].as_str().unwrap();
                let name = principal.rsplit('/').next().unwrap();
                (name.to_owned(), body["withdrawn"].as_bool().unwrap())
            })
            .collect();
        said.sort();
        said
    };
    let raised = |name: &str| (name.to_owned(), false);
    let at_once = unexpected(&shop.deployment.published());
    assert_eq!(at_once, [raised("deployer"), raised("stranger")]);
    // The secret was made a minute before; the record comes in a later file.
    let mut made = read("c1", "pipeline", 0, "prod/new");
    made["eventName"] = json!("CreateSecret");
    made["requestParameters"] = json!({"name": "prod/new"});
    let arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/new-AbC123";
    made["responseElements"] = json!({"arn": arn, "name": "prod/new"});
    let messages = vec![shop.put("made.json.gz", &logs(&[made]))];
    assert_eq!(back(&answered(&function, &batch(messages))), [""; 0]);
    sweep(&function);
    sweep(&function);
    let later = unexpected(&shop.deployment.published());
    assert_eq!(later, [("deployer".to_owned(), true)]);
    assert_eq!(metric(&function.log(), "AlertsWithdrawn"), 1.0);
}

#[test]
fn every_envelope_becomes_its_alert_and_an_unknown_one_fails() {
    let shop = Shop::open();
    let function = shop.start(&[]);
    let kind = "AWS API Call via CloudTrail";
    let text = |record: &Value| json!(record.to_string());
    let wraps: [(&str, &dyn Fn(Value) -> Value); 10] = [
        (
            "eventbridge",
            &|r| json!({"detail-type": kind, "resources": [], "detail": r}),
        ),
        (
            "search",
            &|r| json!({"took": 1, "hits": {"hits": [{"_source": r}]}}),
        ),
        (
            "shipper.log",
            &|r| json!({"@timestamp": "t", "message": text(&r)}),
        ),
        ("hec", &|r| json!({"time": 1, "event": r})),
        ("export.json", &|r| json!({"result": {"_raw": text(&r)}})),
        (
            "datadog",
            &|r| json!({"data": [{"content": {"attributes": r}}]}),
        ),
        (
            "subscription",
            &|r| json!({"messageType": "DATA_MESSAGE", "logEvents": [{"timestamp": 1, "message": text(&r)}]}),
        ),
        (
            "lookup.txt",
            &|r| json!({"Events": [{"CloudTrailEvent": text(&r)}]}),
        ),
        (
            "lake",
            &|r| json!({"QueryResultRows": [[{"eventJson": text(&r)}]]}),
        ),
        ("queue", &|r| {
            let event = json!({"detail-type": kind, "detail": r});
            json!({"Body": json!({"Type": "Notification", "Message": text(&event)}).to_string()})
        }),
    ];
    let mut messages = Vec::new();
    for (index, (name, wrap)) in wraps.iter().enumerate() {
        let record = direct_decrypt(&format!("e{index}"), &format!("thief{index}"), 0, "prod/db");
        let once = packed(wrap(record).to_string().as_bytes());
        // Firehose packs again what CloudWatch Logs has packed.
        let twice = packed(&once);
        let is_firehose = *name == "subscription";
        messages.push(shop.put(name, if is_firehose { &twice } else { &once }));
    }
    let hidden = direct_decrypt("hidden", "thief", 0, "prod/db");
    messages.push(shop.put(
        "unknown",
        json!({"a": {"b": hidden}}).to_string().as_bytes(),
    ));
    let other = "AWSLogs/111122223333/Config/eu-west-1/2026/3/2/ConfigSnapshot/x.json.gz";
    messages.push(shop.put(other, &packed(b"{\"configurationItems\":[]}")));
    let answer = answered(&function, &batch(messages));
    assert_eq!(back(&answer), ["unknown"]);
    let log = function.log();
    assert!(
        has(&log, "object result", "unknown envelope with the keys a"),
        "{log:?}"
    );
    assert_eq!(metric(&log, "ObjectsFailed"), 1.0);
    let published = format!("{:?}", shop.deployment.published());
    for (index, (name, _)) in wraps.iter().enumerate() {
        assert!(
            published.contains(&format!("role/thief{index}")),
            "{name}: {published}"
        );
    }
}

#[test]
fn access_denied_no_table_no_topic_and_no_time_hand_back_or_wait() {
    let shop = Shop::open();
    let message = shop.put(KEY, &theft("e1"));
    let function = shop.start(&[]);
    shop.proxy.plan(|call| {
        if call.service == "s3" {
            Fault::Refused(403)
        } else {
            Fault::None
        }
    });
    assert_eq!(
        back(&answered(&function, &batch(vec![message.clone()]))),
        [KEY]
    );
    assert!(has(
        &function.log(),
        "object result",
        "access denied: s3:GetObject"
    ));
    shop.proxy.plan(|_| Fault::None);

    let Ended::Answer(answer) =
        function.invoke(&batch(vec![message.clone()]), Duration::from_secs(3))
    else {
        panic!()
    };
    assert_eq!(
        back(&answer),
        [KEY],
        "nothing is begun that cannot be finished"
    );
    assert!(has(
        &function.log(),
        "object result",
        "not started: too little time left in the invocation"
    ));

    let without_table = shop.start(&[("SECRETRAIL_TABLE", "no-such-table")]);
    assert_eq!(
        back(&answered(&without_table, &batch(vec![message.clone()]))),
        [KEY]
    );
    assert!(has(&without_table.log(), "batch failed", "no-such-table"));

    shop.proxy.plan(|call| match call.operation.as_str() {
        "PublishBatch" => Fault::Failed(404, "NotFound"),
        _ => Fault::None,
    });
    assert_eq!(
        back(&answered(&function, &batch(vec![message.clone()]))),
        Vec::<&str>::new()
    );
    let kept = "destination failed, its alerts are kept in the outbox";
    assert!(has(&function.log(), kept, &shop.deployment.topic));
    assert_eq!(shop.deployment.published().len(), 0);
    // Once the topic is there, the sweep publishes what waits.
    shop.proxy.plan(|_| Fault::None);
    sweep(&function);
    assert_eq!(shop.deployment.published().len(), 1);
    assert_eq!(metric(&function.log(), "MinutesSinceLastObject"), 0.0);
}

#[test]
fn every_fault_of_the_settings_is_told_at_the_start() {
    let Err(printed) = Function::start(
        BOOTSTRAP,
        &[("SECRETRAIL_ALLOWED_LATENESS", "soon".to_owned())],
    ) else {
        panic!()
    };
    for part in [
        "SECRETRAIL_TABLE is not set",
        "SECRETRAIL_TOPICS is not set",
        "`soon`",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
}

#[test]
fn one_busy_actor_is_swept_in_parts_within_the_memory_of_the_function() {
    let shop = Shop::open();
    let function = shop.start(&[]);
    // All instances of a Lambda function share a session name: one actor, sixty reads a second, for
    // five minutes.
    for minute in 0..5 {
        let mut records = Vec::new();
        for secs in 60 * minute..60 * (minute + 1) {
            for number in 0..60 {
                let id = format!("{secs}-{number}");
                let name = format!("s{}", number % 7);
                records.push(read(&format!("r{id}"), "app", secs, &name));
                records.push(decrypt_secret(&format!("d{id}"), "app", secs, &name));
            }
        }
        let text = json!({"Records": records}).to_string();
        let message = shop.put(&format!("minute-{minute}"), &packed(text.as_bytes()));
        assert_eq!(back(&answered(&function, &batch(vec![message]))), [""; 0]);
    }
    // As often as the schedule does it, until nothing is due.
    let mut finalised = 0.0;
    for _ in 0..30 {
        let before = function.log().len();
        sweep(&function);
        let some = metric(&function.log()[before..], "Pairs");
        finalised += some;
        if some == 0.0 {
            break;
        }
    }
    assert_eq!(finalised, 18_000.0);
    let peak = function.peak_bytes() / 1024 / 1024;
    assert!(peak < MEMORY_MIB, "{peak} MiB");
}
