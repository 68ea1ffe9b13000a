//! `exposure --live` against the services.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stand_in::{Answer, Cloud};

const SECRET: &str = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db-AbC123";
const FOREIGN: &str = "arn:aws:secretsmanager:eu-west-1:444455556666:secret:prod/x-AbC123";
const PARAMETER: &str = "arn:aws:ssm:eu-west-1:111122223333:parameter/prod/token";

fn record(id: &str, service: &str, api: &str, request: Value) -> Value {
    json!({
        "eventVersion": "1.11", "eventID": id, "eventTime": "2026-03-02T10:00:00Z",
        "eventSource": format!("{service}.amazonaws.com"), "eventName": api,
        "awsRegion": "eu-west-1", "recipientAccountId": "111122223333",
        "sourceIPAddress": "198.51.100.7", "requestParameters": request,
        "userIdentity": {
            "type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/thief",
            "accountId": "111122223333", "accessKeyId": "AKIAEXAMPLE", "userName": "thief",
        },
    })
}

/// A read of a secret, and its Decrypt, which names the version.
fn read(id: &str, arn: &str, version: &str) -> [Value; 2] {
    let context = json!({"SecretARN": arn, "SecretVersionId": version});
    let mut decrypt = record(
        &format!("{id}-decrypt"),
        "kms",
        "Decrypt",
        json!({"encryptionContext": context}),
    );
    decrypt["userIdentity"]["invokedBy"] = json!("secretsmanager.amazonaws.com");
    decrypt["sourceIPAddress"] = json!("secretsmanager.amazonaws.com");
    let read = record(
        id,
        "secretsmanager",
        "GetSecretValue",
        json!({"secretId": arn}),
    );
    [read, decrypt]
}

/// Logs in which a thief reads these secrets, and a parameter.
fn logs(secrets: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let reads = secrets.iter().enumerate();
    let mut records: Vec<Value> = reads
        .flat_map(|(index, arn)| read(&format!("r{index}"), arn, "v1"))
        .collect();
    let request = json!({"name": "/prod/token", "withDecryption": true});
    records.push(record("p", "ssm", "GetParameter", request));
    let context = json!({"PARAMETER_ARN": PARAMETER});
    let mut decrypt = record("q", "kms", "Decrypt", json!({"encryptionContext": context}));
    decrypt["userIdentity"]["invokedBy"] = json!("AWS Internal");
    decrypt["sourceIPAddress"] = json!("AWS Internal");
    records.push(decrypt);
    let text = json!({"Records": records}).to_string();
    std::fs::write(folder.path().join("a.json"), text).unwrap();
    folder
}

fn cloud() -> Cloud {
    let cloud = Cloud::new();
    let caller = "<Arn>arn:aws:iam::111122223333:user/ana</Arn><Account>111122223333</Account>";
    let stages = json!({"v2": ["AWSCURRENT"], "v1": ["AWSPREVIOUS"]});
    let described = json!({"ARN": SECRET, "VersionIdsToStages": stages,
        "ReplicationStatus": [{"Region": "eu-central-1", "Status": "InSync"}]});
    let versions = json!({"ARN": SECRET, "Versions": [
        {"VersionId": "v1", "CreatedDate": 1_772_000_000.5, "VersionStages": ["AWSPREVIOUS"]},
        {"VersionId": "v2", "CreatedDate": 1_772_449_200.25, "VersionStages": ["AWSCURRENT"]},
    ]});
    let empty = json!({"Parameters": [], "NextToken": "more"});
    let found = json!({"Parameters": [
        {"Name": "/prod/token", "Version": 7, "LastModifiedDate": 1_772_000_000.0},
    ]});
    cloud
        .answer(
            "sts GetCallerIdentity",
            "",
            Answer::xml("GetCallerIdentity", caller),
        )
        .answer(
            "secretsmanager DescribeSecret",
            "",
            Answer::json(&described),
        )
        .answer(
            "secretsmanager ListSecretVersionIds",
            "",
            Answer::json(&versions),
        )
        .answer("ssm DescribeParameters", "", Answer::json(&empty))
        .answer("ssm DescribeParameters", "more", Answer::json(&found));
    cloud
}

fn rows(out: &str) -> Vec<Value> {
    out.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn words(folder: &TempDir, more: &str) -> String {
    let path = folder.path().display();
    format!("exposure {path} --principal *thief -q --live {more}")
}

#[test]
fn what_the_services_say_now_counts_more_than_logs_that_have_ended() {
    let (cloud, logs) = (cloud(), logs(&[SECRET]));
    let (code, out, stderr) = cloud.run(&words(&logs, "-f jsonl"));
    assert_eq!(code, 0, "{stderr}");
    let rows = rows(&out);
    assert_eq!(rows.len(), 2);
    // Open ones come first: the parameter was not changed since it was read.
    let [parameter, secret] = &rows[..] else {
        panic!("{rows:#?}");
    };
    assert_eq!(parameter["secret"]["name"], "/prod/token");
    assert_eq!(
        (&secret["status"], &secret["open"]),
        (&json!("current"), &json!(false))
    );
    let live = &secret["live"];
    assert_eq!(
        (&live["status"], &live["current"]),
        (&json!("previous"), &json!("v2"))
    );
    assert_eq!(live["since"], "2026-03-02T11:00:00Z");
    assert_eq!(live["replicas"], json!(["eu-central-1"]));
    assert!(live["asked"].as_str().unwrap().ends_with('Z'));
    assert_eq!(parameter["live"]["current"], "7");
    assert_eq!(parameter["open"], true);
    // Nothing is read but what describes them.
    let asked: Vec<String> = cloud.requests().iter().map(|r| r.operation()).collect();
    let expected = [
        "sts GetCallerIdentity",
        "secretsmanager DescribeSecret",
        "secretsmanager ListSecretVersionIds",
        "ssm DescribeParameters",
        "ssm DescribeParameters",
    ];
    let mut sorted = asked.clone();
    sorted.sort();
    let mut all = expected.map(str::to_owned).to_vec();
    all.sort();
    assert_eq!(sorted, all);
    let (_, table, _) = cloud.run(&words(&logs, ""));
    assert!(
        table.contains("closed  prod/db in eu-west-1, version v1, AWSPREVIOUS"),
        "{table}"
    );
    let table = table.split_whitespace().collect::<Vec<_>>().join(" ");
    for said in [
        "now version v2 is current, made 2026-03-02T11:00:00Z; when the logs end it was AWSCURRENT",
        "copies in eu-central-1",
        ", the services were asked at ",
    ] {
        assert!(table.contains(said), "{said}: {table}");
    }
    let (_, csv, _) = cloud.run(&words(&logs, "-f csv"));
    assert!(csv.contains(",previous,v2,"), "{csv}");
    let (_, page, _) = cloud.run(&words(&logs, "-f html"));
    assert!(page.contains("now version v2 is current"), "{page}");
}

#[test]
fn what_may_not_be_asked_is_named_and_stays_as_the_logs_have_it() {
    let (cloud, logs) = (cloud(), logs(&[SECRET, FOREIGN]));
    let denied = Answer::json_error(400, "AccessDeniedException", "not authorized");
    cloud.answer("secretsmanager DescribeSecret", FOREIGN, denied);
    let gone = Answer::json_error(400, "ResourceNotFoundException", "none");
    cloud.answer("secretsmanager DescribeSecret", SECRET, gone);
    let (code, out, stderr) = cloud.run(&words(&logs, "-f jsonl"));
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("secretsmanager:DescribeSecret"), "{stderr}");
    assert!(stderr.contains("prod/x"), "{stderr}");
    let rows = rows(&out);
    let of = |name: &str| {
        rows.iter()
            .find(|row| row["secret"]["name"] == name)
            .unwrap()
    };
    assert_eq!(
        (&of("prod/x")["live"], &of("prod/x")["open"]),
        (&Value::Null, &json!(true))
    );
    assert_eq!(of("prod/db")["live"]["status"], "deleted");
    assert_eq!(of("prod/db")["open"], true, "its value may still be valid");
}

#[test]
fn without_credentials_the_logs_are_shown() {
    let (cloud, logs) = (cloud(), logs(&[SECRET]));
    let expired = Answer::xml_error(403, "ExpiredToken", "the token has expired");
    cloud.answer("sts GetCallerIdentity", "", expired);
    let (code, out, stderr) = cloud.run(&words(&logs, "-f jsonl"));
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("--live: nothing was asked: "), "{stderr}");
    let rows = rows(&out);
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["live"].is_null()), "{out}");
}
