//! Invented records, and short ways to send them through the path.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that panics is a test that fails"
)]

pub mod cases;
pub mod lakes;
pub mod mmdb;
pub mod steps;

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use proptest::prelude::*;
use secretrail_engine::{
    access::{Access, json_v1::AccessV1},
    object::origin,
    pipeline::{BatchOutcome, Pipeline},
    policy::AccessPolicy,
    rule::{RuleSet, load::load},
    scan::{ObjectScanner, ScanInput, ScanResult},
    seen::LookbackPeriods,
    selection::Selection,
    state::memory::MemoryStore,
    time::EventTime,
};
use serde_json::{Value, json};

/// The account of the tests.
pub const ACCOUNT: &str = "111122223333";
/// Their region.
pub const REGION: &str = "eu-west-1";

/// A point in time, in seconds after 2026-03-02T10:00:00Z.
#[must_use]
pub fn at(secs: i64) -> EventTime {
    EventTime(1_772_445_600 + secs)
}

/// The identity of a role session.
#[must_use]
pub fn role(name: &str) -> Value {
    let issuer = format!("arn:aws:iam::{ACCOUNT}:role/{name}");
    json!({
        "type": "AssumedRole",
        "principalId": format!("AROA{name}:s"),
        "accountId": ACCOUNT,
        "arn": format!("arn:aws:sts::{ACCOUNT}:assumed-role/{name}/s"),
        "accessKeyId": "ASIAEXAMPLE",
        "sessionContext": {"sessionIssuer": {"type": "Role", "arn": issuer, "userName": name}},
    })
}

/// A record with an identity.
#[must_use]
pub fn record(
    id: &str,
    identity: &Value,
    secs: i64,
    service: &str,
    api: &str,
    params: Value,
) -> Value {
    json!({
        "eventVersion": "1.11",
        "userIdentity": identity,
        "eventTime": at(secs).to_string(),
        "eventSource": format!("{service}.amazonaws.com"),
        "eventName": api,
        "awsRegion": REGION,
        "sourceIPAddress": "10.0.0.1",
        "userAgent": "test",
        "requestParameters": params,
        "eventID": id,
        "recipientAccountId": ACCOUNT,
        "eventType": "AwsApiCall",
    })
}

/// The full ARN of a secret.
#[must_use]
pub fn secret_arn(name: &str) -> String {
    format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-AbC123")
}

/// The ARN of a parameter.
#[must_use]
pub fn parameter_arn(name: &str) -> String {
    format!("arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{name}")
}

/// A read of a secret by whatever it is called.
#[must_use]
pub fn read(id: &str, who: &str, secs: i64, secret_id: &str) -> Value {
    record(
        id,
        &role(who),
        secs,
        "secretsmanager",
        "GetSecretValue",
        json!({"secretId": secret_id}),
    )
}

/// The Decrypt that a store makes for a caller.
#[must_use]
pub fn decrypt(id: &str, who: &str, secs: i64, context: Value) -> Value {
    let mut identity = role(who);
    identity["invokedBy"] = json!("secretsmanager.amazonaws.com");
    let mut record = record(
        id,
        &identity,
        secs,
        "kms",
        "Decrypt",
        json!({"encryptionContext": context}),
    );
    record["sourceIPAddress"] = json!("secretsmanager.amazonaws.com");
    record["resources"] =
        json!([{"type": "AWS::KMS::Key", "ARN": format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/k")}]);
    record
}

/// A read that was denied.
#[must_use]
pub fn denied(id: &str, who: &str, secs: i64, name: &str) -> Value {
    let mut record = record(
        id,
        &role(who),
        secs,
        "secretsmanager",
        "GetSecretValue",
        Value::Null,
    );
    record["errorCode"] = json!("AccessDenied");
    record["errorMessage"] = json!(format!(
        "User: u is not authorized to perform: secretsmanager:GetSecretValue on resource: {name} \
         because no identity-based policy allows the secretsmanager:GetSecretValue action"
    ));
    record
}

/// The ARN of a key.
#[must_use]
pub fn key_arn(name: &str) -> String {
    format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/{name}")
}

/// The same record as a call that was denied for want of a key. Its parameters are as they were.
#[must_use]
pub fn denied_by_key(mut record: Value, key: &str) -> Value {
    record["errorCode"] = json!("AccessDenied");
    record["errorMessage"] = json!(format!(
        "User: u is not authorized to perform: kms:Decrypt on resource: {} because no \
         identity-based policy allows the kms:Decrypt action",
        key_arn(key)
    ));
    record["resources"] = Value::Null;
    record
}

/// The Decrypt of a secret.
#[must_use]
pub fn decrypt_secret(id: &str, who: &str, secs: i64, name: &str) -> Value {
    decrypt(
        id,
        who,
        secs,
        json!({"SecretARN": secret_arn(name), "SecretVersionId": "v1"}),
    )
}

/// A Decrypt of a secret without a service in between, which the pack alerts about at sight.
#[must_use]
pub fn direct_decrypt(id: &str, who: &str, secs: i64, name: &str) -> Value {
    let mut decrypt = decrypt_secret(id, who, secs, name);
    decrypt["userIdentity"]
        .as_object_mut()
        .expect("an identity is an object")
        .remove("invokedBy");
    decrypt["sourceIPAddress"] = json!("198.51.100.7");
    decrypt
}

/// A log object with nothing but a theft in it.
#[must_use]
pub fn theft(id: &str) -> Vec<u8> {
    packed(
        json!({"Records": [direct_decrypt(id, "thief", 0, "prod/db")]})
            .to_string()
            .as_bytes(),
    )
}

/// The Decrypt of a parameter.
#[must_use]
pub fn decrypt_parameter(id: &str, who: &str, secs: i64, name: &str) -> Value {
    decrypt(id, who, secs, json!({"PARAMETER_ARN": parameter_arn(name)}))
}

/// The rules of the pack.
#[must_use]
pub fn pack() -> RuleSet {
    let files = secretrail_pack::rules();
    let texts = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    load(texts).expect("the pack loads").0
}

/// What records hold.
#[must_use]
pub fn scan_result(records: &[Value], rules: &RuleSet) -> ScanResult {
    scan_result_text(&json!({"Records": records}).to_string(), rules)
}

/// What a text holds, with its fields in the order that they are in.
#[must_use]
pub fn scan_result_text(text: &str, rules: &RuleSet) -> ScanResult {
    let selection = Selection::default();
    let mut scan_result = ScanResult::default();
    let mut scanner = ObjectScanner::new(rules, &selection);
    scanner
        .read(
            ScanInput::Bytes(text.as_bytes()),
            &origin("test.json"),
            false,
            &mut scan_result,
        )
        .expect("text is read");
    scan_result
}

/// A memory short enough for small worlds.
pub const LOOKBACK: LookbackPeriods = LookbackPeriods {
    lookback_secs: 20,
    warm_up_secs: 5,
};

/// Long after everything.
#[must_use]
pub fn afterwards() -> EventTime {
    at(1_000_000)
}

/// Takes records through the path as one batch, long after their time.
#[must_use]
pub fn run(records: &[Value], rules: &RuleSet, policy: Option<&AccessPolicy>) -> BatchOutcome {
    run_on(1, records, rules, policy)
}

/// Like [`run`], on several threads.
#[must_use]
pub fn run_on(
    threads: usize,
    records: &[Value],
    rules: &RuleSet,
    policy: Option<&AccessPolicy>,
) -> BatchOutcome {
    let selection = Selection::default();
    let pipeline = Pipeline {
        threads,
        lookback: LOOKBACK,
        ..Pipeline::new(rules, policy, &selection)
    };
    let batch = scan_result(records, rules);
    on_memory(&pipeline, batch)
}

/// What was scanned gives this, with one thread and without a policy.
#[must_use]
pub fn run_scanned(batch: ScanResult, rules: &RuleSet) -> BatchOutcome {
    let selection = Selection::default();
    let pipeline = Pipeline {
        lookback: LOOKBACK,
        ..Pipeline::new(rules, None, &selection)
    };
    on_memory(&pipeline, batch)
}

fn on_memory(pipeline: &Pipeline<'_>, batch: ScanResult) -> BatchOutcome {
    pollster::block_on(pipeline.run(&MemoryStore::default(), batch, afterwards()))
        .expect("memory does not fail")
}

/// The ledger as lines of JSON, without the names of files.
#[must_use]
pub fn ledger(accesses: &[Arc<Access>]) -> BTreeSet<String> {
    let line = |access: &Arc<Access>| {
        let mut value = serde_json::to_value(AccessV1::from(&**access)).expect("an access is JSON");
        value["object"] = Value::Null;
        value.to_string()
    };
    accesses.iter().map(line).collect()
}

/// The ids of the alerts that were raised and not withdrawn, by outcomes in their order.
#[must_use]
pub fn alert_ids(outcomes: &[BatchOutcome]) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for outcome in outcomes {
        ids.extend(outcome.alerts.iter().map(|alert| alert.id.0.to_string()));
        for alert in &outcome.withdrawn {
            ids.remove(&*alert.id.0);
        }
    }
    ids
}

/// Writes a gzip file, and the folders above it.
pub fn write_gz(path: &Path, text: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a file is in a folder"))
        .expect("folders are made");
    std::fs::write(path, packed(text)).expect("a file is written");
}

/// A pipe in a folder that nobody writes to: a reader of it never gets to its end.
#[cfg(unix)]
pub fn silent_pipe(folder: &Path) -> PathBuf {
    let pipe = folder.join("pipe.json");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    pipe
}

/// Bytes as gzip.
#[must_use]
pub fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

/// A rule about records that nothing else asks for; gives its path.
#[must_use]
pub fn unasked_rule(folder: &Path) -> String {
    let path = folder.join("rule.yml");
    let text = "
title: Mail Identity Deleted
id: 0b1d6c0e-6a55-4c8b-9c47-0d0f6a1d2f11
level: low
logsource: {product: aws, service: cloudtrail}
detection:
  selection: {eventSource: ses.amazonaws.com, eventName: DeleteIdentity}
  condition: selection
";
    std::fs::write(&path, text).expect("a rule is written");
    path.to_string_lossy().into_owned()
}

/// A day in seconds.
pub const DAY: i64 = 86_400;

/// Three siblings that read their application's secrets on three days, with their Decrypts.
#[must_use]
pub fn siblings() -> Vec<Value> {
    let mut records = Vec::new();
    for day in 0..3 {
        for (r, who) in ["pay-app", "pay-worker", "pay-task"]
            .into_iter()
            .enumerate()
        {
            for (s, secret) in ["prod/pay/a", "prod/pay/b", "prod/pay/c"]
                .into_iter()
                .enumerate()
            {
                let at = day * DAY + i64::try_from(r * 600 + s * 60).unwrap();
                records.push(read(&format!("r{day}{r}{s}"), who, at, secret));
                records.push(decrypt_secret(&format!("k{day}{r}{s}"), who, at, secret));
            }
        }
    }
    records
}

/// Any record that concerns the engine, from a world small enough for them to meet.
pub fn any_record() -> impl Strategy<Value = Value> {
    let parts = (
        0_u8..15,
        0_u8..2,
        0_u8..3,
        0_i64..40,
        any::<u32>(),
        0_u8..12,
    );
    parts.prop_map(|(kind, who, what, secs, id, twist)| {
        let (who, what) = (format!("app{who}"), format!("s{what}"));
        match twist {
            0 => without_id(record_of(kind, "-", &who, &what, secs)),
            1 => record_of(kind, &format!("c{}", id % 3), &who, &what, secs),
            2 | 3 => copy(id, &what),
            _ => record_of(kind, &format!("e{id}"), &who, &what, secs),
        }
    })
}

fn without_id(mut record: Value) -> Value {
    if let Some(record) = record.as_object_mut() {
        record.remove("eventID");
    }
    record
}

/// A copy of one of three events: of this secret, some poorer, and some an update.
fn copy(which: u32, name: &str) -> Value {
    let id = format!("c{}", which % 3);
    let mut copy = read(&id, "app0", i64::from(which % 3), name);
    if which.is_multiple_of(5) {
        copy["userIdentity"]["accessKeyId"] = Value::Null;
    }
    if which.is_multiple_of(4) {
        copy["eventID"] = json!(format!("u{}", which % 7));
        copy["addendum"] = json!({"reason": "UPDATED_DATA", "originalEventID": id});
    }
    copy
}

/// A record of one of fifteen kinds.
fn record_of(kind: u8, id: &str, who: &str, name: &str, secs: i64) -> Value {
    let path = format!("/p/{name}");
    let call = |service: &str, api: &str, params: Value| {
        record(id, &role(who), secs, service, api, params)
    };
    match kind {
        0 => read(id, who, secs, name),
        1 => read(id, who, secs, &secret_arn(name)),
        2 | 3 => decrypt_secret(id, who, secs, name),
        4 => call(
            "ssm",
            "GetParameters",
            json!({"names": [path, "/p/s0"], "withDecryption": true}),
        ),
        5 => decrypt_parameter(id, who, secs, &path),
        6 => call(
            "ssm",
            "GetParametersByPath",
            json!({"path": "/p", "withDecryption": true}),
        ),
        7 => {
            let params = json!({"secretIdList": ["s0", name]});
            call("secretsmanager", "BatchGetSecretValue", params)
        }
        8 => call(
            "secretsmanager",
            "PutSecretValue",
            json!({"secretId": name}),
        ),
        9 => denied(id, who, secs, name),
        10 => copy_of_a_shared_event(id, who, secs, name),
        11 => denied_half(read(id, who, secs, name), secs),
        12 => denied_half(decrypt_secret(id, who, secs, name), secs),
        13 => denied_half(decrypt_parameter(id, who, secs, &path), secs),
        _ => {
            let context = json!({"PARAMETER_ARN": parameter_arn(&path)});
            call("kms", "Decrypt", json!({"encryptionContext": context}))
        }
    }
}

/// Half of what a key denied; in every third second it has lost its parameters, and in every other
/// the message does not name the key.
fn denied_half(record: Value, secs: i64) -> Value {
    let mut half = denied_by_key(record, if secs % 4 == 0 { "k" } else { "other" });
    if secs % 3 != 0 {
        half["requestParameters"] = Value::Null;
    }
    if secs % 2 == 1 {
        half["errorMessage"] = json!("Access to KMS is not allowed");
    }
    half
}

/// A copy of a read that two accounts know of; in every other second it is the owner's.
fn copy_of_a_shared_event(id: &str, who: &str, secs: i64, name: &str) -> Value {
    let mut copy = read(&format!("{id}-copy"), who, secs, &secret_arn(name));
    copy["sharedEventID"] = json!(format!("shared-{name}-{secs}"));
    if secs % 2 == 0 {
        copy["userIdentity"] = json!({
            "type": "AWSAccount",
            "accountId": "999988887777",
            "principalId": format!("AROA{who}:s"),
        });
    }
    copy
}
