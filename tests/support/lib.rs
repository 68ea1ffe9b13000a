//! Invented records, and short ways to send them through the path.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that panics is a test that fails"
)]

pub mod cloud;
pub mod deployment;
pub mod function;
pub mod http;
pub mod local;
pub mod proxy;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use secretrail_cli::Host;
use secretrail_engine::access::Access;
use secretrail_engine::access::json_v1::AccessV1;
use secretrail_engine::pipeline::{Outcome, Pipeline};
use secretrail_engine::policy::Policy;
use secretrail_engine::rule::RuleSet;
use secretrail_engine::scan::{Harvest, Input, Scanner, Selection, origin};
use secretrail_engine::seen::Memory;
use secretrail_engine::state::memory::MemoryStore;
use secretrail_engine::time::EventTime;
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
    json!({"type": "AssumedRole", "principalId": format!("AROA{name}:s"), "accountId": ACCOUNT,
           "arn": format!("arn:aws:sts::{ACCOUNT}:assumed-role/{name}/s"), "accessKeyId": "ASIAEXAMPLE",
           "sessionContext": {"sessionIssuer": {"type": "Role", "arn": format!("arn:aws:iam::{ACCOUNT}:role/{name}"), "userName": name}}})
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
    json!({"eventVersion": "1.11", "userIdentity": identity, "eventTime": at(secs).to_string(),
           "eventSource": format!("{service}.amazonaws.com"), "eventName": api, "awsRegion": REGION,
           "sourceIPAddress": "10.0.0.1", "userAgent": "test", "requestParameters": params, "eventID": id,
           "recipientAccountId": ACCOUNT, "eventType": "AwsApiCall"})
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
        "User: u is not authorized to perform: secretsmanager:GetSecretValue on resource: {name} because no \
         identity-based policy allows the secretsmanager:GetSecretValue action"
    ));
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

/// What records hold.
#[must_use]
pub fn harvest(records: &[Value], rules: &RuleSet) -> Harvest {
    let selection = Selection::default();
    let mut harvest = Harvest::default();
    let text = json!({"Records": records}).to_string();
    let mut scanner = Scanner::new(rules, &selection);
    scanner
        .read(
            Input::Bytes(text.as_bytes()),
            &origin("test.json"),
            false,
            &mut harvest,
        )
        .expect("text is read");
    harvest
}

/// A memory short enough for small worlds.
pub const MEMORY: Memory = Memory {
    memory_secs: 20,
    learning_secs: 5,
};

/// Long after everything.
#[must_use]
pub fn afterwards() -> EventTime {
    at(1_000_000)
}

/// Takes records through the path as one batch, long after their time.
#[must_use]
pub fn run(records: &[Value], rules: &RuleSet, policy: Option<&Policy>) -> Outcome {
    run_on(1, records, rules, policy)
}

/// Like [`run`], on several threads.
#[must_use]
pub fn run_on(
    threads: usize,
    records: &[Value],
    rules: &RuleSet,
    policy: Option<&Policy>,
) -> Outcome {
    let selection = Selection::default();
    let pipeline = Pipeline {
        threads,
        memory: MEMORY,
        ..Pipeline::new(rules, policy, &selection)
    };
    let batch = harvest(records, rules);
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

/// The ids of alerts.
#[must_use]
pub fn alert_ids(outcomes: &[Outcome]) -> BTreeSet<String> {
    outcomes
        .iter()
        .flat_map(|o| &o.alerts)
        .map(|alert| alert.id.0.to_string())
        .collect()
}

/// What the command printed, and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Printed {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code.
    pub code: u8,
}

/// Runs the command in this process.
#[must_use]
pub fn secretrail(args: &[&str]) -> Printed {
    secretrail_with(args, b"")
}

/// Runs the command in this process with standard input.
#[must_use]
pub fn secretrail_with(args: &[&str], stdin: &[u8]) -> Printed {
    let (out, err) = (Shared::default(), Shared::default());
    let mut host = Host {
        stdin: Box::new(std::io::Cursor::new(stdin.to_vec())),
        stdout: Box::new(out.clone()),
        stderr: Box::new(err.clone()),
        stdout_is_terminal: false,
        stderr_is_terminal: false,
        no_color: false,
        config: None,
        now: afterwards(),
    };
    let args = std::iter::once("secretrail")
        .chain(args.iter().copied())
        .map(Into::into);
    let code = secretrail_cli::run(args, &mut host);
    Printed {
        stdout: out.text(),
        stderr: err.text(),
        code,
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<std::sync::Mutex<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no writer panicked")).into_owned()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .expect("no writer panicked")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes a gzip file, and the folders above it.
pub fn write_gz(path: &Path, text: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a file is in a folder"))
        .expect("folders are made");
    std::fs::write(path, packed(text)).expect("a file is written");
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
pub fn bucket_rule(folder: &Path) -> String {
    let path = folder.join("rule.yml");
    let text = "title: Bucket Deleted\nid: 0b1d6c0e-6a55-4c8b-9c47-0d0f6a1d2f11\nlevel: low\nlogsource: {product: aws, service: cloudtrail}\n\
        detection:\n  selection: {eventSource: s3.amazonaws.com, eventName: DeleteBucket}\n  condition: selection\n";
    std::fs::write(&path, text).expect("a rule is written");
    path.to_string_lossy().into_owned()
}
