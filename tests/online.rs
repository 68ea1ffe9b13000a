//! The real function on stand-ins for AWS: the same alerts as the replay, in other orders and batches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::deployment::{Cloud, Deployment};
use e2e::function::{Ended, Function};
use e2e::secretrail;
use serde_json::{Value, json};

const BOOTSTRAP: &str = env!("CARGO_BIN_EXE_bootstrap-under-test");
const ENOUGH: Duration = Duration::from_secs(60);

/// Inputs of the replay: a folder of logs, and the policy beside it.
fn worlds() -> Vec<(PathBuf, Option<PathBuf>)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = vec![(here.join("examples/logs"), Some(here.join("examples/access-policy.yaml")))];
    let mut cases: Vec<PathBuf> = std::fs::read_dir(here.join("cases")).unwrap().map(|e| e.unwrap().path()).collect();
    cases.sort();
    for case in cases.into_iter().filter(|path| path.is_dir()) {
        let policy = case.join("access-policy.yaml");
        all.push((case.join("input"), policy.exists().then_some(policy)));
    }
    all
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// The alerts of a replay by their ids.
fn replayed(logs: &Path, policy: Option<&Path>) -> BTreeMap<String, Value> {
    let mut args = vec!["replay", logs.to_str().unwrap(), "-f", "jsonl", "-q"];
    if let Some(policy) = policy {
        args.extend(["--policy", policy.to_str().unwrap()]);
    }
    let printed = secretrail(&args);
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    let alerts = printed.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    alerts.map(|alert| (alert["id"].as_str().unwrap().to_owned(), alert)).collect()
}

/// Puts files into the bucket; gives their keys.
fn upload(deployment: &Deployment, logs: &Path) -> Vec<String> {
    let mut all = Vec::new();
    files(logs, &mut all);
    let key = |path: &PathBuf| path.strip_prefix(logs).unwrap().to_string_lossy().into_owned();
    all.iter().for_each(|path| deployment.put(&key(path), &std::fs::read(path).unwrap()));
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
    let access = |a: &Value| (a["event_id"].as_str().unwrap().to_owned(), a["secret"]["name"].to_string());
    let mut all: Vec<_> = alert["accesses"].as_array().unwrap().iter().map(access).collect();
    all.sort();
    all.dedup();
    all
}

#[test]
fn every_world_gives_the_alerts_of_the_replay_in_any_order() {
    let cloud = Cloud::start();
    for (logs, policy) in worlds() {
        let expected = replayed(&logs, policy.as_deref());
        for (round, size) in [(0_usize, usize::MAX), (1, 1), (2, 3)] {
            let deployment = cloud.deploy();
            let mut keys = upload(&deployment, &logs);
            if round > 0 {
                keys.reverse();
                let middle = keys.len() / 2;
                keys.rotate_left(middle);
            }
            let mut settings = deployment.settings(&cloud.stack.url);
            settings.push(("AWS_ENDPOINT_URL_DYNAMODB", cloud.dynamodb.url.clone()));
            if let Some(policy) = &policy {
                settings.push(("SECRETRAIL_POLICY", policy.to_str().unwrap().to_owned()));
            }
            let function = Function::start(BOOTSTRAP, &settings).unwrap();
            for chunk in keys.chunks(size.min(keys.len().max(1))) {
                let messages = chunk.iter().enumerate().map(|(i, key)| deployment.message(&format!("m{i}"), &[key]));
                let answer = answered(&function, &batch(messages.collect()));
                assert_eq!(answer, json!({"batchItemFailures": []}));
            }
            sweep(&function);
            let published = deployment.published();
            let name = logs.display();
            assert_eq!(
                published.keys().collect::<Vec<_>>(),
                expected.keys().collect::<Vec<_>>(),
                "{name} round {round}"
            );
            for (id, bodies) in &published {
                let [body] = bodies.as_slice() else { panic!("{id} was published {} times", bodies.len()) };
                let whole = &expected[id];
                assert_eq!((&body["rule"], &body["schema"]), (&whole["rule"], &whole["schema"]), "{name} {id}");
                if body["window"].is_null() || size == usize::MAX {
                    assert_eq!(evidence(body), evidence(whole), "{name} round {round} {id} {}", body["summary"]);
                }
            }
        }
    }
}
