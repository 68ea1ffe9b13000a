//! `prime`: what it writes, in which order, beside others, and when it writes nothing.

use std::{fs, io::Write};

use chrono::{TimeDelta, Utc};
use flate2::{Compression, write::GzEncoder};
use secretrail_aws::names;
use serde_json::{Value, json};

use crate::{
    healthy::{function, healthy},
    stand_in::{Answer, Cloud},
};

const PUT: &str = "dynamodb PutItem";
const APP: &str = "arn:aws:iam::111122223333:role/app";

/// A read of a secret so many days ago.
fn read(days: i64) -> Value {
    let time = (Utc::now() - TimeDelta::days(days)).format("%Y-%m-%dT%H:%M:%SZ");
    json!({
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole", "principalId": "AROAAPP:s", "accountId": "111122223333",
            "arn": "arn:aws:sts::111122223333:assumed-role/app/s",
            "sessionContext": {"sessionIssuer": {"type": "Role", "arn": APP, "userName": "app"}},
        },
        "eventTime": time.to_string(), "eventSource": "secretsmanager.amazonaws.com",
        "eventName": "GetSecretValue", "awsRegion": "eu-west-1",
        "sourceIPAddress": "198.51.100.7", "userAgent": "Boto3/1.36.2 md/Botocore#1.36.2",
        "requestParameters": {"secretId": "prod/db"}, "eventID": format!("read-{days}"),
        "eventType": "AwsApiCall", "recipientAccountId": "111122223333",
    })
}

/// A folder of logs with reads so many days ago.
fn logs(days: &[i64]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let records: Vec<Value> = days.iter().map(|days| read(*days)).collect();
    let text = json!({"Records": records}).to_string();
    fs::write(folder.path().join("logs.json"), text).expect("a file");
    folder
}

/// A deployment that remembers nothing, and takes everything.
fn empty() -> Cloud {
    let cloud = healthy();
    let none = json!({"Responses": {}, "UnprocessedKeys": {}});
    cloud
        .answer("dynamodb BatchGetItem", "seen#", Answer::json(&none))
        .answer(PUT, "seen#", Answer::json(&json!({})));
    cloud
}

fn prime(cloud: &Cloud, folder: &tempfile::TempDir, options: &str) -> (i32, String, String) {
    let folder = folder.path().to_string_lossy();
    cloud.run(&format!("prime {folder} {options}"))
}

/// The items of all writes, in their order.
fn puts(cloud: &Cloud) -> Vec<Value> {
    let puts = cloud.asked(PUT).into_iter();
    puts.map(|put| serde_json::from_str(&put.body).expect("JSON"))
        .collect()
}

/// The key that an item is about.
fn key(put: &Value) -> &str {
    put.pointer("/Item/key/S")
        .and_then(Value::as_str)
        .expect("a key")
}

#[test]
fn the_memory_is_written_and_when_the_logs_begin_comes_last() {
    let (cloud, folder) = (empty(), logs(&[20, 10, 1]));
    let (code, stdout, stderr) = prime(&cloud, &folder, "");
    assert_eq!(code, 0, "{stderr}");
    let puts = puts(&cloud);
    let keys: Vec<&str> = puts.iter().map(key).collect();
    assert_eq!(keys.last(), Some(&"since\n111122223333"));
    let principal = format!("principal\n{APP}");
    let of_principal = puts.iter().find(|put| key(put) == principal);
    let of_principal = of_principal.expect("the principal is remembered");
    let item = &of_principal["Item"];
    assert_eq!(item["pk"]["S"], names::seen(&principal));
    assert_eq!(
        of_principal["ConditionExpression"],
        "attribute_not_exists(#pk)"
    );
    let times = item["times"]["S"].as_str().expect("times");
    assert_eq!(times.split(' ').count(), 3, "{times}");
    // Kept ten days longer than the lookback of 90 days.
    let ttl: i64 = item["ttl"]["N"]
        .as_str()
        .expect("a number")
        .parse()
        .expect("a time");
    let days = (ttl - Utc::now().timestamp()) / 86_400;
    assert!((99..=100).contains(&days), "{days}");
    assert!(stdout.contains("1 secret of a principal\n"), "{stdout}");
    assert!(
        stdout.contains(&format!("{} items: {0} new, 0 ext", keys.len())),
        "{stdout}"
    );
    assert!(stdout.contains("novelty is judged\n"), "{stdout}");
    assert!(
        stdout.ends_with("secretrail-Table-1 remembers this history\n"),
        "{stdout}"
    );
    // The history ends yesterday, and the function has seen nothing yet.
    assert!(!stderr.contains("warning"), "{stderr}");
}

#[test]
fn a_dry_run_writes_nothing_and_says_what_it_would() {
    let (cloud, folder) = (empty(), logs(&[20, 10]));
    let (code, stdout, stderr) = prime(&cloud, &folder, "--dry-run -q");
    assert_eq!((code, puts(&cloud).len()), (0, 0), "{stderr}");
    assert!(stdout.ends_with("nothing was written to secretrail-Table-1: --dry-run\n"));
    assert!(
        stdout.contains(" new, 0 extended, 0 unchanged\n"),
        "{stdout}"
    );
    assert!(stderr.contains("warning: the history ends at"), "{stderr}");
}

#[test]
fn what_the_function_has_written_meanwhile_stays() {
    let (cloud, folder) = (empty(), logs(&[20, 1]));
    let principal = format!("principal\n{APP}");
    let pk = names::seen(&principal);
    let now = Utc::now().timestamp();
    let item = json!({"pk": {"S": pk}, "sk": {"S": "-"}, "times": {"S": now.to_string()}});
    let changed = Answer::json_error(400, "ConditionalCheckFailedException", "changed");
    let conflict = format!("\"key\":{{\"S\":\"principal\\n{APP}\"}}");
    // The first try finds no item, and the second what the function has written.
    cloud.answer_about_times(PUT, &conflict, changed, 1).answer(
        "dynamodb GetItem",
        &pk,
        Answer::json(&json!({"Item": item})),
    );
    let (code, _, stderr) = prime(&cloud, &folder, "");
    assert_eq!(code, 0, "{stderr}");
    let puts = puts(&cloud);
    let tries: Vec<&Value> = puts.iter().filter(|put| key(put) == principal).collect();
    assert_eq!(tries.len(), 2);
    assert_eq!(tries[1]["ConditionExpression"], "#version = :version");
    assert_eq!(
        tries[1]["ExpressionAttributeValues"][":version"]["S"],
        now.to_string()
    );
    let times = tries[1]["Item"]["times"]["S"].as_str().expect("times");
    assert!(
        times.ends_with(&format!(" {now}")) && times.split(' ').count() == 3,
        "{times}"
    );
}

#[test]
fn what_is_there_already_is_not_written_again() {
    let (first, folder) = (empty(), logs(&[20, 10, 1]));
    prime(&first, &folder, "-q");
    let items: Vec<Value> = puts(&first).iter().map(|put| put["Item"].clone()).collect();
    let again = empty();
    let all = json!({"Responses": {"secretrail-Table-1": items}, "UnprocessedKeys": {}});
    again.answer("dynamodb BatchGetItem", "seen#", Answer::json(&all));
    let (code, stdout, stderr) = prime(&again, &folder, "-q");
    assert_eq!((code, puts(&again).len()), (0, 0), "{stderr}");
    let unchanged = format!("0 new, 0 extended, {} unchanged\n", items.len());
    assert!(stdout.contains(&unchanged), "{stdout}");
}

#[test]
fn a_failure_leaves_the_beginning_of_the_logs_as_it_is() {
    let (cloud, folder) = (empty(), logs(&[20, 1]));
    let denied = Answer::json_error(400, "AccessDeniedException", "no");
    let about = format!("\"key\":{{\"S\":\"principal\\n{APP}\"}}");
    cloud.answer(PUT, &about, denied);
    let (code, stdout, stderr) = prime(&cloud, &folder, "-q");
    assert_eq!((code, &*stdout), (3, ""), "{stderr}");
    assert!(
        stderr.contains("dynamodb:PutItem") && stderr.contains("run this again"),
        "{stderr}"
    );
    assert!(
        puts(&cloud)
            .iter()
            .all(|put| !key(put).starts_with("since"))
    );
}

#[test]
fn what_cannot_be_read_is_no_history_unless_it_is_asked_for() {
    let (cloud, folder) = (empty(), logs(&[20, 1]));
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    let text = json!({"Records": [read(2)]}).to_string();
    packed.write_all(text.as_bytes()).expect("memory");
    let packed = packed.finish().expect("memory");
    let cut = &packed[..packed.len() - 9];
    fs::write(folder.path().join("broken.json.gz"), cut).expect("a file");
    let (code, stdout, stderr) = prime(&cloud, &folder, "-q");
    assert_eq!((code, &*stdout, puts(&cloud).len()), (3, "", 0));
    assert!(
        stderr.contains("broken.json.gz") && stderr.contains("nothing was written"),
        "{stderr}"
    );
    let (code, stdout, _) = prime(&cloud, &folder, "-q --partial");
    assert_eq!(code, 3);
    assert!(stdout.contains("remembers this history") && !puts(&cloud).is_empty());
}

#[test]
fn the_function_says_how_far_back_is_remembered() {
    let (cloud, folder) = (empty(), logs(&[40, 1]));
    let short = function(|found| {
        found["Environment"]["Variables"]["SECRETRAIL_LOOKBACK"] = json!("30d");
    });
    cloud.answer("lambda GET /2015-03-31/functions/", "", short);
    // Without a stack: by the name of the function alone.
    let (code, _, stderr) = prime(&cloud, &folder, "-q --function secretrail-detector");
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(cloud.asked("cloudformation DescribeStacks").len(), 0);
    let puts = puts(&cloud);
    let principal = puts.iter().find(|put| key(put).starts_with("principal"));
    let times = principal.expect("it is remembered")["Item"]["times"]["S"].clone();
    assert_eq!(
        times.as_str().map(|times| times.split(' ').count()),
        Some(1)
    );
    // No logs in the lookback: nothing was read.
    let (code, _, stderr) = prime(&cloud, &logs(&[40]), "-q");
    assert!(code == 3 && stderr.contains("nothing was read"), "{stderr}");
}
