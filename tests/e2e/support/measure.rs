//! What the function costs: time, memory and calls, printed for `infra/README.md`. Not a test:
//! `cargo run -p e2e --bin measure -- target/package/release/bootstrap`, with the binary that is to
//! be measured.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::use_debug,
    clippy::too_many_lines,
    reason = "a tool of ours, run by hand"
)]

use std::{
    collections::BTreeMap,
    io::Write,
    time::{Duration, Instant},
};

use e2e::{
    decrypt_secret,
    deployment::Cloud,
    function::{Ended, Function},
    proxy::{Call, Fault, Proxy},
    read, record, role, secret_arn,
};
use serde_json::{Value, json};

const TIME: Duration = Duration::from_secs(300);

fn packed(records: &[Value]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder
        .write_all(json!({"Records": records}).to_string().as_bytes())
        .unwrap();
    encoder.finish().unwrap()
}

/// Records that concern nobody, each different.
fn noise(count: usize) -> Vec<Value> {
    let one = |i: usize| {
        let params = json!({"key": format!("{:x}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15)), "bucketName": format!("data-{}", i % 7)});
        let mut record = record(
            &format!("noise-{i}-{:x}", i * 7919),
            &role(&format!("app{}", i % 9)),
            (i % 300) as i64,
            "s3",
            "ListObjects",
            params,
        );
        record["requestID"] = json!(format!("{:x}", i.wrapping_mul(0x2545_f491_4f6c_dd1d)));
        record
    };
    (0..count).map(one).collect()
}

/// Reads by five principals of so many secrets, each with its key use.
fn reads(count: usize, secrets: usize) -> Vec<Value> {
    let pair = |i: usize| {
        let (who, name, secs) = (
            format!("app{}", i % 5),
            format!("s{}", i % secrets),
            (i % 300) as i64,
        );
        [
            read(&format!("r{i}"), &who, secs, &secret_arn(&name)),
            decrypt_secret(&format!("d{i}"), &who, secs, &name),
        ]
    };
    (0..count).flat_map(pair).collect()
}

fn key(name: &str) -> String {
    format!(
        "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/02/111122223333_CloudTrail_eu-west-1_20260302T1005Z_{name}.json.gz"
    )
}

fn by_service(calls: &[Call]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    calls.iter().for_each(|call| {
        *counts
            .entry(format!("{} {}", call.service, call.operation))
            .or_default() += 1
    });
    let state = calls
        .iter()
        .filter(|call| call.service == "dynamodb")
        .count();
    let written = calls
        .iter()
        .filter(|call| call.operation.contains("Write"))
        .map(|call| call.bytes)
        .sum::<usize>();
    format!("{state} of DynamoDB, {written} bytes written: {counts:?}")
}

fn main() {
    let binary = std::env::args().nth(1).expect("the binary to measure");
    let cloud = Cloud::start();
    let proxy = Proxy::start(&cloud.stack.url, &cloud.dynamodb.url);
    let start = |deployment: &e2e::deployment::Deployment,
                 endpoint: &str,
                 more: &[(&'static str, String)]| {
        let mut settings = deployment.settings(endpoint);
        settings.push((
            "AWS_ENDPOINT_URL_DYNAMODB",
            if endpoint == proxy.url {
                proxy.url.clone()
            } else {
                cloud.dynamodb.url.clone()
            },
        ));
        settings.extend(more.iter().cloned());
        Function::start(&binary, &settings).unwrap()
    };
    let mut inits: Vec<Duration> = (0..20)
        .map(|_| start(&cloud.deploy(), &cloud.stack.url, &[]).init)
        .collect();
    inits.sort();
    println!(
        "init to the first poll: median {:?}, slowest {:?}",
        inits[10], inits[19]
    );

    for (name, records) in [
        ("no observation", noise(1_000)),
        ("100 reads by 5 principals of 20 secrets", reads(100, 20)),
        (
            "10,000 reads by 5 principals of 100 secrets",
            reads(10_000, 100),
        ),
    ] {
        let deployment = cloud.deploy();
        let function = start(&deployment, &proxy.url, &[]);
        let mut reported = Vec::new();
        // The first object of a process and of a day, and one after it.
        for round in ["cold", "warm"] {
            let mut records = records.clone();
            records.iter_mut().for_each(|record| {
                record["eventID"] =
                    json!(format!("{}-{round}", record["eventID"].as_str().unwrap()))
            });
            let (key, bytes) = (key(&format!("{}{round}", records.len())), packed(&records));
            deployment.put(&key, &bytes);
            proxy.plan(|_| Fault::None);
            let started = Instant::now();
            let ended = function.invoke(
                &json!({"Records": [deployment.message("m", &[&key])]}),
                TIME,
            );
            assert_eq!(
                ended,
                Ended::Answer(json!({"batchItemFailures": []})),
                "{:?}",
                function.log()
            );
            reported.push(format!(
                "  {round}: {:?}, {} bytes of gzip, {}",
                started.elapsed(),
                bytes.len(),
                by_service(&proxy.plan(|_| Fault::None))
            ));
        }
        std::thread::sleep(Duration::from_millis(2_100));
        let started = Instant::now();
        let ended = function.invoke(&json!({"secretrail": "sweep"}), TIME);
        assert!(matches!(ended, Ended::Answer(_)), "{ended:?}");
        reported.push(format!(
            "  sweep: {:?}, {}",
            started.elapsed(),
            by_service(&proxy.plan(|_| Fault::None))
        ));
        println!(
            "{name}, peak {} MB\n{}",
            function.peak_bytes() / 1_000_000,
            reported.join("\n")
        );
    }

    let deployment = cloud.deploy();
    let mut records = noise(27_000);
    records.extend(reads(100, 20));
    let bytes = packed(&records);
    let function = start(&deployment, &cloud.stack.url, &[]);
    let mut times = Vec::new();
    for round in 0..6 {
        let key = key(&format!("large{round}"));
        deployment.put(&key, &bytes);
        let started = Instant::now();
        let ended = function.invoke(
            &json!({"Records": [deployment.message("m", &[&key])]}),
            TIME,
        );
        assert_eq!(ended, Ended::Answer(json!({"batchItemFailures": []})));
        times.push(started.elapsed());
    }
    println!(
        "an object of {} bytes of gzip, {} records: first {:?}, then {:?}, peak {} MB",
        bytes.len(),
        records.len(),
        times[0],
        &times[1..],
        function.peak_bytes() / 1_000_000
    );

    let rule = "title: Each\nid: each\nlogsource: {product: aws, category: secret_access}\ndetection:\n  every:\n    access.outcome: success\n  condition: every\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("each.yml"), rule).unwrap();
    let deployment = cloud.deploy();
    let function = start(
        &deployment,
        &cloud.stack.url,
        &[(
            "SECRETRAIL_RULES",
            folder.path().to_string_lossy().into_owned(),
        )],
    );
    deployment.put(&key("alerts"), &packed(&reads(1_000, 100)));
    let started = Instant::now();
    let ended = function.invoke(
        &json!({"Records": [deployment.message("m", &[&key("alerts")])]}),
        TIME,
    );
    assert_eq!(ended, Ended::Answer(json!({"batchItemFailures": []})));
    let took = started.elapsed();
    assert_eq!(deployment.published().len(), 1_000);
    println!(
        "1,000 alerts in {took:?}: {:.0} a second",
        1_000.0 / took.as_secs_f64()
    );
}
