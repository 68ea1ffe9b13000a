//! Benchmarks of each pipeline stage, on a synthetic corpus: `cargo bench -p secretrail-engine`.
//!
//! decode → split → scan (with extraction) → correlate → rules. Throughput is in bytes of JSON, or
//! in observations. The last group runs a history of reads (`examples/ledger`) without rules and
//! with those of the pack.

use std::{fmt::Write as _, fs, hint::black_box, io::Write as _};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use secretrail_engine::{
    inflate::{InflateScratch, inflate},
    object::origin,
    pipeline::Pipeline,
    rule::{RuleSet, load::load},
    scan::{ObjectScanner, ScanInput, ScanResult},
    selection::Selection,
    split::RecordSplitter,
    state::memory::MemoryStore,
    time::EventTime,
};

#[expect(dead_code, reason = "the tool beside it names objects")]
#[path = "../examples/ledger/history.rs"]
mod history;

const RECORDS: usize = 4_000;

/// Reads of the history.
const READS: u64 = 4_000;

/// An object as CloudTrail delivers it: one record in a hundred is a read, another its Decrypt,
/// seven other KMS calls.
fn object() -> String {
    let records: Vec<String> = (0..RECORDS).map(record).collect();
    format!("{{\"Records\":[{}]}}", records.join(","))
}

fn record(n: usize) -> String {
    let time = EventTime(1_772_445_600 + i64::try_from(n / 10).unwrap_or(0));
    let (source, api, params) = call(n);
    // As services write it: on one line, with fields that the engine does not need.
    let mut text = String::new();
    let parts = [
        write!(
            text,
            r#"{{"eventVersion":"1.11","userIdentity":{},"#,
            identity(n, api)
        ),
        write!(
            text,
            r#""eventTime":"{time}","eventSource":"{source}.amazonaws.com","#
        ),
        write!(text, r#""eventName":"{api}","awsRegion":"eu-west-1","#),
        write!(text, r#""sourceIPAddress":"10.0.0.1","#),
        write!(
            text,
            r#""userAgent":"aws-sdk-go-v2/1.32.6 os/linux lang/go#1.23.4 md/GOOS#linux","#
        ),
        write!(
            text,
            r#""requestParameters":{params},"responseElements":null,"#
        ),
        write!(
            text,
            r#""requestID":"{n:032x}","eventID":"{n:036x}","readOnly":true,"#
        ),
        write!(text, r#""eventType":"AwsApiCall","managementEvent":true,"#),
        write!(
            text,
            r#""recipientAccountId":"111122223333","eventCategory":"Management","#
        ),
        write!(text, r#""tlsDetails":{{"tlsVersion":"TLSv1.3","#),
        write!(text, r#""cipherSuite":"TLS_AES_128_GCM_SHA256"}}}}"#),
    ];
    assert!(
        parts.iter().all(Result::is_ok),
        "writing to a string does not fail"
    );
    text
}

/// Service, API and request parameters.
fn call(n: usize) -> (&'static str, &'static str, String) {
    match n % 100 {
        0 => (
            "secretsmanager",
            "GetSecretValue",
            format!(r#"{{"secretId":"prod/app{}/db"}}"#, n % 700),
        ),
        1 => (
            "kms",
            "Decrypt",
            format!(
                "{{\"encryptionContext\":{{\"SecretARN\":\"arn:aws:secretsmanager:eu-west-1:\
                 111122223333:secret:prod/app{}/db-AbC123\",\"SecretVersionId\":\"v\"}}}}",
                (n - 1) % 700
            ),
        ),
        2..9 => (
            "kms",
            "Decrypt",
            format!(r#"{{"encryptionContext":{{"aws:s3:arn":"arn:aws:s3:::data/{n}.parquet"}}}}"#),
        ),
        _ => (
            "ec2",
            "DescribeInstances",
            format!(
                "{{\"instancesSet\":{{\"items\":[{{\"instanceId\":\"i-{n:017x}\"}}]}},\
                 \"filterSet\":{{}}}}"
            ),
        ),
    }
}

fn identity(n: usize, api: &str) -> String {
    let via = if api == "Decrypt" {
        r#","invokedBy":"secretsmanager.amazonaws.com""#
    } else {
        ""
    };
    let app = n % 7;
    [
        format!(r#"{{"type":"AssumedRole","principalId":"AROAEXAMPLE{app}:s","#),
        format!(r#""arn":"arn:aws:sts::111122223333:assumed-role/app{app}/s","#),
        format!(r#""accountId":"111122223333","accessKeyId":"ASIAEXAMPLE{n:08}","#),
        r#""sessionContext":{"sessionIssuer":{"type":"Role","#.to_owned(),
        format!(r#""principalId":"AROAEXAMPLE{app}","#),
        format!(r#""arn":"arn:aws:iam::111122223333:role/app{app}","#),
        format!(r#""accountId":"111122223333","userName":"app{app}"}},"#),
        r#""webIdFederationData":{},"attributes":{"creationDate":"2026-03-02T08:00:00Z","#
            .to_owned(),
        format!(r#""mfaAuthenticated":"false"}}}}{via}}}"#),
    ]
    .concat()
}

const RULES: &str = "
title: many
id: many
correlation:
  type: value_count
  rules: [read]
  group-by: [principal.arn]
  timespan: 10m
  condition: {field: secret.name, gte: 20}
---
title: read
id: read
logsource: {product: aws, category: secret_access}
detection: {selection: {access.outcome: success}, condition: selection}
";

fn scan(text: &str, rules: &RuleSet, selection: &Selection) -> ScanResult {
    let mut scan_result = ScanResult::default();
    let read = ObjectScanner::new(rules, selection).read(
        ScanInput::Bytes(text.as_bytes()),
        &origin("o"),
        false,
        &mut scan_result,
    );
    assert!(read.is_ok());
    scan_result
}

fn run(rules: &RuleSet, selection: &Selection, scan_result: ScanResult) -> usize {
    let pipeline = Pipeline::new(rules, None, selection);
    let now = EventTime(2_000_000_000);
    let outcome = pollster::block_on(pipeline.run(&MemoryStore::default(), scan_result, now));
    outcome.map_or(0, |o| o.accesses.len() + o.alerts.len())
}

fn stages(criterion: &mut Criterion) {
    let text = object();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let gzip = encoder
        .write_all(text.as_bytes())
        .and_then(|()| encoder.finish())
        .expect("memory does not fail");
    let selection = Selection::default();
    let none = RuleSet::default();
    let (rules, _) = load([("rules.yml", RULES)]).expect("the rules load");
    let mut group = criterion.benchmark_group("stages");
    group.throughput(Throughput::Bytes(text.len() as u64));
    let mut scratch = InflateScratch::default();
    group.bench_function("decode", |b| {
        b.iter(|| inflate(&gzip, &mut scratch, &mut |bytes| _ = black_box(bytes.len())))
    });
    group.bench_function("split", |b| {
        b.iter(|| {
            let mut units = 0_usize;
            RecordSplitter::default().feed(text.as_bytes(), &mut |_| units += 1);
            units
        });
    });
    group.bench_function("scan and extract", |b| {
        b.iter(|| scan(&text, &none, &selection).observations.len())
    });
    let found = scan(&text, &none, &selection).observations.len();
    group.throughput(Throughput::Elements(found as u64));
    for (name, rules) in [("correlate", &none), ("correlate and rules", &rules)] {
        group.bench_function(name, |b| {
            b.iter_batched(
                || scan(&text, rules, &selection),
                |scan_result| run(rules, &selection, scan_result),
                BatchSize::LargeInput,
            )
        });
    }
    group.finish();
}

/// The rules of the pack.
#[expect(
    clippy::disallowed_methods,
    reason = "a bench, and not the engine, reads files"
)]
fn pack() -> RuleSet {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../rules");
    let files = fs::read_dir(folder).expect("the folder is there");
    let paths = files.map(|file| file.expect("the folder can be read").path());
    let texts = paths.filter(|path| path.extension().is_some_and(|end| end == "yml"));
    let texts: Vec<(String, String)> = texts
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a rule can be read");
            (path.display().to_string(), text)
        })
        .collect();
    let texts = texts
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    load(texts).expect("the pack loads").0
}

/// Reads with their KMS Decrypts over 90 days: what the ledger costs, and what rules add to it.
fn ledger(criterion: &mut Criterion) {
    let records: Vec<String> = (0..READS).flat_map(|n| history::read(n, READS)).collect();
    let text = format!("{{\"Records\":[{}]}}", records.join(","));
    let selection = Selection::default();
    let mut group = criterion.benchmark_group("ledger");
    group.throughput(Throughput::Elements(READS));
    for (name, rules) in [("no rules", RuleSet::default()), ("the pack", pack())] {
        group.bench_function(name, |b| {
            b.iter_batched(
                || scan(&text, &rules, &selection),
                |scan_result| run(&rules, &selection, scan_result),
                BatchSize::LargeInput,
            )
        });
    }
    group.finish();
}

criterion_group!(benches, stages, ledger);
criterion_main!(benches);
