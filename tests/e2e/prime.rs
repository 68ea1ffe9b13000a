//! A function that is primed from history raises the same alerts as one that has seen it.

use std::{collections::BTreeMap, path::Path, process::Command, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use base64::{Engine, engine::general_purpose::STANDARD};
use e2e::{
    cloud::{LOCAL_REGION, config, runtime},
    decrypt_secret,
    deployment::{Cloud, Deployment, rest},
    function::{Ended, Function},
    packed, read, write_gz,
};
use serde_json::{Value, json};

const BOOTSTRAP: &str = env!("CARGO_BIN_EXE_bootstrap-under-test");
const DAY: i64 = 86_400;
/// Days of the history.
const DAYS: i64 = 20;

/// A read and its Decrypt, from an address.
fn access(id: &str, who: &str, secs: i64, secret: &str, from: &str) -> [Value; 2] {
    let mut read = read(&format!("r-{id}"), who, secs, secret);
    read["sourceIPAddress"] = json!(from);
    read["userAgent"] = json!("Boto3/1.36.2 md/Botocore#1.36.2");
    [read, decrypt_secret(&format!("k-{id}"), who, secs, secret)]
}

/// The reads of two workloads, a file a day.
fn history() -> Vec<(String, Vec<u8>)> {
    let day = |day: i64| {
        let at = day * DAY;
        let records: Vec<Value> = [
            access(
                &format!("a{day}"),
                "search-app",
                at,
                "prod/a",
                "198.51.100.10",
            ),
            access(
                &format!("b{day}"),
                "search-app",
                at + 60,
                "prod/b",
                "198.51.100.10",
            ),
            access(
                &format!("c{day}"),
                "billing",
                at + 600,
                "prod/c",
                "10.0.4.17",
            ),
        ]
        .into_iter()
        .flatten()
        .collect();
        (format!("history-{day:02}.json.gz"), of(&records))
    };
    (0..DAYS).map(day).collect()
}

/// What is new a day later: a network, a reader of a secret, and a principal; and what is not.
fn later() -> Vec<u8> {
    let at = DAYS * DAY + 7_200;
    let records: Vec<Value> = [
        access("usual", "search-app", at, "prod/a", "198.51.100.10"),
        access("network", "search-app", at + 60, "prod/b", "203.0.113.77"),
        access("reader", "billing", at + 120, "prod/a", "10.0.4.17"),
        access("stranger", "stranger", at + 180, "prod/c", "192.0.2.9"),
    ]
    .into_iter()
    .flatten()
    .collect();
    of(&records)
}

fn of(records: &[Value]) -> Vec<u8> {
    json!({"Records": records}).to_string().into_bytes()
}

/// A function on a deployment.
fn start(cloud: &Cloud, deployment: &Deployment) -> Function {
    let mut settings = deployment.settings(&cloud.stack.url);
    settings.push(("AWS_ENDPOINT_URL_DYNAMODB", cloud.dynamodb.url.clone()));
    Function::start(BOOTSTRAP, &settings).unwrap()
}

fn answered(function: &Function, event: &Value) {
    match function.invoke(event, Duration::from_secs(60)) {
        Ended::Answer(_) => {}
        other => panic!("{other:?}"),
    }
}

/// Sends an object through the function, and sweeps until it is final.
fn send(deployment: &Deployment, function: &Function, files: &[(String, Vec<u8>)]) {
    for (key, text) in files {
        deployment.put(key, &packed(text));
        let message = deployment.message("m", &[key]);
        answered(function, &json!({"Records": [message]}));
    }
    // Until the allowed lateness of the tests is over; the second takes what the first left.
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(2_100));
        answered(function, &json!({"secretrail": "sweep"}));
    }
}

/// The alerts that were published since the last time: titles by ids.
fn alerts(deployment: &Deployment) -> BTreeMap<String, String> {
    let published = deployment.published();
    let alerts = Deployment::of_schema(&published, "secretrail.alert/1");
    let titles = alerts.into_iter().map(|(id, bodies)| {
        let title = bodies[0]["rule"]["title"].as_str().unwrap().to_owned();
        (id, title)
    });
    titles.collect()
}

/// What a table remembers: times by key. Of the beginning of the logs only the first time counts:
/// the others depend on how the records are spread over files.
fn memory(cloud: &Cloud, deployment: &Deployment) -> BTreeMap<String, String> {
    let client = aws_sdk_dynamodb::Client::new(&config(&cloud.dynamodb.url));
    let pages = client.scan().table_name(&deployment.table).into_paginator();
    let items = runtime().block_on(async {
        let mut found = Vec::new();
        let mut items = pages.items().send();
        while let Some(item) = items.next().await {
            found.push(item.unwrap());
        }
        found
    });
    let text = |value: &AttributeValue| value.as_s().unwrap().clone();
    let seen = items
        .iter()
        .filter(|item| text(&item["pk"]).starts_with("seen#"));
    seen.map(|item| {
        let (key, times) = (text(&item["key"]), text(&item["times"]));
        let first = times.split(' ').next().unwrap_or_default().to_owned();
        match key.starts_with("since") {
            true => (key, first),
            false => (key, times),
        }
    })
    .collect()
}

/// Makes the function known to Lambda, which the command asks for its settings.
fn register(cloud: &Cloud, deployment: &Deployment) -> String {
    let name = format!("detector-{}", deployment.bucket);
    let settings = deployment.settings(&cloud.stack.url);
    let variables: BTreeMap<&str, String> = settings.into_iter().collect();
    let function = json!({
        "FunctionName": name, "Runtime": "provided.al2023", "Handler": "bootstrap",
        "Role": "arn:aws:iam::000000000000:role/detector",
        "Code": {"ZipFile": STANDARD.encode(zipped())},
        "Environment": {"Variables": variables},
    });
    rest(
        &cloud.stack.url,
        "lambda",
        "POST",
        "/2015-03-31/functions",
        &function,
    );
    name
}

fn zipped() -> Vec<u8> {
    use std::io::Write;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("bootstrap", options).unwrap();
    zip.write_all(b"#!/bin/sh\n").unwrap();
    zip.finish().unwrap().into_inner()
}

/// Runs `prime` on a deployment; gives what it prints.
fn prime(cloud: &Cloud, name: &str, path: &str, options: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretrail-under-test"));
    command.env_clear().envs([
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", LOCAL_REGION),
        ("AWS_ENDPOINT_URL", &cloud.stack.url),
        ("AWS_ENDPOINT_URL_DYNAMODB", &cloud.dynamodb.url),
    ]);
    // The records of the tests are old.
    let own = ["prime", path, "--function", name, "--since", "4000d", "-q"];
    let output = command.args(own).args(options).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn write(folder: &Path, files: &[(String, Vec<u8>)]) {
    for (name, text) in files {
        write_gz(&folder.join(name), text);
    }
}

#[test]
fn a_primed_function_raises_the_alerts_of_one_that_has_seen_the_history() {
    let cloud = Cloud::start();
    let history = history();
    let later = [("later.json.gz".to_owned(), later())];

    let witness = cloud.deploy();
    let function = start(&cloud, &witness);
    send(&witness, &function, &history);
    let remembered = memory(&cloud, &witness);
    alerts(&witness);
    send(&witness, &function, &later);
    let expected = alerts(&witness);

    let primed = cloud.deploy();
    let name = register(&cloud, &primed);
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &history);
    let path = folder.path().to_str().unwrap();
    let printed = prime(&cloud, &name, path, &["--dry-run"]);
    assert!(printed.ends_with("--dry-run\n"), "{printed}");
    assert_eq!(memory(&cloud, &primed), BTreeMap::new());
    // While the function runs.
    let function = start(&cloud, &primed);
    prime(&cloud, &name, path, &[]);
    assert_eq!(memory(&cloud, &primed), remembered);
    assert_eq!(
        alerts(&primed),
        BTreeMap::new(),
        "nothing of the history is published"
    );
    send(&primed, &function, &later);
    assert_eq!(alerts(&primed), expected);

    // A function that has seen nothing takes nothing for new.
    let fresh = cloud.deploy();
    let function = start(&cloud, &fresh);
    send(&fresh, &function, &later);
    let without = alerts(&fresh);
    let new: Vec<&String> = expected
        .iter()
        .filter(|(id, _)| !without.contains_key(*id))
        .map(|(_, title)| title)
        .collect();
    assert!(new.len() >= 2, "{expected:#?}\n{without:#?}");

    // Again, of the objects in S3, beside what the first function has seen itself: nothing is
    // missing there.
    let name = register(&cloud, &witness);
    let place = format!("s3://{}/history-", witness.bucket);
    let before = memory(&cloud, &witness);
    let printed = prime(&cloud, &name, &place, &[]);
    assert!(printed.contains(": 0 new, "), "{printed}");
    assert_eq!(memory(&cloud, &witness), before);
}
