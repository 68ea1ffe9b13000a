//! Logs in S3: the same result as from a folder, no more requests than the question needs, and
//! clear words when it fails.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use e2e::{
    LOGS, cases,
    cloud::{config, runtime},
    deployment::{Cloud, Deployment},
    proxy::{Fault, Proxy},
    secretrail,
};
use secretrail_aws::{
    retry::RetryPolicy,
    s3::{ObjectRef, S3Source},
};
use serde_json::{Value, json};

use crate::with_endpoint;

/// Without the names of objects, which differ.
fn lines(text: &str) -> Vec<Value> {
    let line = |line: &str| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        value["object"] = Value::Null;
        for list in ["accesses", "events"] {
            let entries = value[list].as_array_mut().into_iter().flatten();
            entries.for_each(|entry| entry["object"] = Value::Null);
        }
        value
    };
    text.lines().map(line).collect()
}

/// The example logs below `trail/`.
fn put_logs(deployment: &Deployment) {
    for file in cases::files(Path::new(LOGS)) {
        let key = file.strip_prefix(LOGS).unwrap().to_string_lossy();
        deployment.put(&format!("trail/{key}"), &std::fs::read(&file).unwrap());
    }
}

#[test]
fn a_bucket_gives_what_a_folder_gives() {
    let cloud = Cloud::start();
    let deployment = cloud.deploy();
    put_logs(&deployment);
    for command in ["accesses", "replay"] {
        let bucket = format!("s3://{}/trail/", deployment.bucket);
        let remote = with_endpoint(&cloud.stack.url, &[command, &bucket, "-f", "jsonl", "-q"]);
        let local = secretrail(&[command, LOGS, "-f", "jsonl", "-q"]);
        assert_eq!((remote.code, remote.stderr.as_str()), (0, ""));
        assert_eq!(lines(&remote.stdout), lines(&local.stdout), "{command}");
        assert!(
            remote
                .stdout
                .contains(&format!("s3://{}/trail/AWSLogs/", deployment.bucket))
        );
    }
}

#[test]
fn a_day_of_a_month_costs_a_day() {
    let cloud = Cloud::start();
    let deployment = cloud.deploy();
    let proxy = Proxy::start(&cloud.stack.url, &cloud.dynamodb.url);
    let records = json!({"Records": []}).to_string();
    for account in ["111122223333", "444455556666"] {
        for day in 1..=28 {
            for kind in ["CloudTrail", "CloudTrail-Digest"] {
                deployment.put(
                    &format!("AWSLogs/{account}/{kind}/eu-west-1/2026/02/{day:02}/{account}_{kind}_eu-west-1_202602{day:02}T1005Z_x.json.gz"),
                    records.as_bytes(),
                );
            }
        }
    }
    let bucket = format!("s3://{}", deployment.bucket);
    let args = [
        "accesses",
        &bucket,
        "--account",
        "111122223333",
        "--from",
        "2026-02-10",
        "--to",
        "2026-02-10",
        "-f",
        "jsonl",
    ];
    let printed = with_endpoint(&proxy.url, &args);
    // The logs are read, and hold no records.
    assert_eq!(printed.code, 3, "{}", printed.stderr);
    let calls = proxy.plan(|_| Fault::None);
    let count = |operation: &str| {
        calls
            .iter()
            .filter(|call| call.operation == operation)
            .count()
    };
    // The bucket, AWSLogs, the account, CloudTrail, the region, the year, the month, and the day
    // with the one after it.
    assert_eq!(
        (count("ListObjectsV2"), count("GetObject")),
        (9, 2),
        "{calls:?}"
    );
    // Without a selection, one listing is enough, and what holds no events is passed over by its
    // name.
    let printed = with_endpoint(&proxy.url, &["accesses", &bucket, "-f", "jsonl"]);
    assert!(printed.stderr.contains("56 digest"), "{}", printed.stderr);
    let calls = proxy.plan(|_| Fault::None);
    let count = |operation: &str| {
        calls
            .iter()
            .filter(|call| call.operation == operation)
            .count()
    };
    assert_eq!((count("ListObjectsV2"), count("GetObject")), (1, 56));
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_read() {
    let cloud = Cloud::start();
    let deployment = cloud.deploy();
    let proxy = Proxy::start(&cloud.stack.url, &cloud.dynamodb.url);
    let missing = with_endpoint(
        &cloud.stack.url,
        &["accesses", "s3://no-such-bucket/logs/", "-q"],
    );
    assert_eq!(missing.code, 3, "{}", missing.stderr);
    assert!(
        missing.stderr.contains("s3://no-such-bucket/logs/")
            && missing.stderr.contains("no such bucket"),
        "{}",
        missing.stderr
    );
    let nobody = with_endpoint(&cloud.stack.url, &["accesses", "s3:///logs/", "-q"]);
    assert!(
        nobody.code == 3 && nobody.stderr.contains("names no bucket"),
        "{}",
        nobody.stderr
    );
    let empty = with_endpoint(
        &cloud.stack.url,
        &[
            "accesses",
            &format!("s3://{}/nothing/", deployment.bucket),
            "-q",
        ],
    );
    assert!(
        empty.code == 3 && empty.stderr.contains("no log files"),
        "{}",
        empty.stderr
    );

    let read = json!({"Records": [e2e::read("r1", "app", 0, "prod/db")]}).to_string();
    deployment.put("a.json", read.as_bytes());
    deployment.put("b.json", b"{\"Records\":[{");
    let bucket = format!("s3://{}/", deployment.bucket);
    // The first bodies break off, and are asked for again.
    proxy.plan(|call| {
        if call.index < 3 && call.operation == "GetObject" {
            Fault::Truncated
        } else {
            Fault::None
        }
    });
    let printed = with_endpoint(&proxy.url, &["accesses", &bucket, "-f", "jsonl", "-q"]);
    assert_eq!(
        (printed.code, printed.stdout.lines().count()),
        (3, 1),
        "{}",
        printed.stderr
    );
    assert!(printed.stderr.contains("/b.json"), "{}", printed.stderr);
}

#[test]
fn a_body_that_stalls_is_asked_for_again() {
    let cloud = Cloud::start();
    let deployment = cloud.deploy();
    let proxy = Proxy::start(&cloud.stack.url, &cloud.dynamodb.url);
    deployment.put("a.json", b"0123456789");
    proxy.plan(|call| {
        if call.index < 2 {
            Fault::Stalls(5_000)
        } else {
            Fault::None
        }
    });
    let builder = aws_sdk_s3::config::Builder::from(&config(&proxy.url)).force_path_style(true);
    let source = S3Source::new(builder, RetryPolicy::default(), 1_000)
        .stalled_after(Duration::from_millis(100));
    let object = ObjectRef {
        bucket: &deployment.bucket,
        key: "a.json",
        version_id: None,
        etag: None,
        size: None,
    };
    let started = Instant::now();
    assert_eq!(
        runtime().block_on(source.fetch(object)).unwrap(),
        b"0123456789"
    );
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(proxy.plan(|_| Fault::None).len(), 3);
}

#[test]
fn an_interrupted_run_over_a_bucket_asks_only_for_what_is_missing() {
    let cloud = Cloud::start();
    let deployment = cloud.deploy();
    let proxy = Proxy::start(&cloud.stack.url, &cloud.dynamodb.url);
    for index in 0..30 {
        let read = e2e::read(&format!("r{index}"), "app", i64::from(index), "prod/db");
        deployment.put(
            &format!("logs/{index:02}.json"),
            json!({"Records": [read]}).to_string().as_bytes(),
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join("checkpoint");
    let bucket = format!("s3://{}/logs/", deployment.bucket);
    let args = [
        "accesses",
        &bucket,
        "-f",
        "jsonl",
        "-q",
        "--checkpoint",
        checkpoint.to_str().unwrap(),
    ];
    // From the eleventh object on, S3 refuses.
    let mut asked = 0;
    proxy.plan(move |call| {
        asked += usize::from(call.operation == "GetObject");
        if asked > 10 {
            Fault::Refused(403)
        } else {
            Fault::None
        }
    });
    let first = with_endpoint(&proxy.url, &args);
    assert_eq!(
        (
            first.code,
            first.stdout.lines().count(),
            checkpoint.exists()
        ),
        (3, 10, true),
        "{}",
        first.stderr
    );
    proxy.plan(|_| Fault::None);
    let second = with_endpoint(&proxy.url, &args);
    let calls = proxy.plan(|_| Fault::None);
    let asked = calls
        .iter()
        .filter(|call| call.operation == "GetObject")
        .count();
    assert_eq!(
        (second.code, second.stdout.lines().count(), asked),
        (0, 30, 20),
        "{}",
        second.stderr
    );
    assert!(!checkpoint.exists());
    let whole = with_endpoint(
        &cloud.stack.url,
        &["accesses", &bucket, "-f", "jsonl", "-q"],
    );
    assert_eq!(second.stdout, whole.stdout);
}

#[test]
fn parts_may_lie_in_a_bucket_too() {
    let cloud = Cloud::start();
    let deployment = cloud.deploy();
    put_logs(&deployment);
    let [trail, parts] =
        ["trail/", "job/parts"].map(|prefix| format!("s3://{}/{prefix}", deployment.bucket));
    let extract = [
        "extract",
        trail.as_str(),
        "-o",
        parts.as_str(),
        "--part-size",
        "4K",
    ];
    let made = with_endpoint(&cloud.stack.url, &extract);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let again = with_endpoint(&cloud.stack.url, &extract);
    assert!(again.stderr.contains(" 0 written"), "{}", again.stderr);
    for command in ["accesses", "replay", "gaps"] {
        let of =
            |path: &str| with_endpoint(&cloud.stack.url, &[command, path, "-f", "jsonl", "-q"]);
        let (logs, parts) = (of(&trail), of(&parts));
        assert_eq!(
            (parts.stdout, parts.stderr, parts.code),
            (logs.stdout, logs.stderr, 0),
            "{command}"
        );
    }
}
