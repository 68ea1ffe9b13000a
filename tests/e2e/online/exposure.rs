//! What an incident revealed, and when it is superseded: in whatever order the records come.

use e2e::{record, role, secret_arn};

use super::{
    decisions::{logs, messages, open, send},
    *,
};

/// The theft of a version of a secret, as the pack alerts about it at sight.
fn stolen() -> Vec<u8> {
    let mut theft = read("r1", "thief", 0, &secret_arn("prod/db"));
    theft["userAgent"] = json!("pacu/1.0");
    theft["sourceIPAddress"] = json!("198.51.100.7");
    logs(&[theft, decrypt_secret("k1", "thief", 0, "prod/db")])
}

/// A step of a rotation, some seconds after the theft.
fn step(id: &str, secs: i64, api: &str, request: Value) -> Value {
    record(id, &role("rotator"), secs, "secretsmanager", api, request)
}

/// A rotation that begins, and makes a pending version.
fn begun(secs: i64, version: &str) -> [Value; 2] {
    let secret = secret_arn("prod/db");
    let rotate = json!({"secretId": secret, "clientRequestToken": version});
    let put = json!({"secretId": secret, "clientRequestToken": version,
        "versionStages": ["AWSPENDING"]});
    [
        step(&format!("rotate {version}"), secs, "RotateSecret", rotate),
        step(&format!("put {version}"), secs + 5, "PutSecretValue", put),
    ]
}

/// A rotation that fails.
fn failed(secs: i64) -> Vec<u8> {
    let mut end = step("failed", secs + 9, "RotationFailed", Value::Null);
    end["eventType"] = json!("AwsServiceEvent");
    end["additionalEventData"] = json!({"SecretId": secret_arn("prod/db")});
    let [rotate, put] = begun(secs, "v2");
    logs(&[rotate, put, end])
}

/// A rotation that succeeds: the stage moves.
fn rotated(secs: i64) -> Vec<u8> {
    let moved = json!({"secretId": secret_arn("prod/db"), "versionStage": "AWSCURRENT",
        "moveToVersionId": "v3", "removeFromVersionId": "v1"});
    let end = step("moved", secs + 9, "UpdateSecretVersionStage", moved);
    let [rotate, put] = begun(secs, "v3");
    logs(&[rotate, put, end])
}

fn status(message: &Value) -> (&str, &str) {
    (
        text(&message["exposure_status"]),
        text(&message["news"]["exposure"]),
    )
}

#[test]
fn an_exposure_closes_when_the_records_of_the_rotation_arrive_whatever_comes_first() {
    let cloud = Cloud::start();
    let (deployment, function) = open(&cloud);
    send(&deployment, &function, "a.json.gz", &stolen());
    let opened = messages(&deployment);
    let [one] = opened.as_slice() else {
        panic!("{opened:#?}")
    };
    assert_eq!(status(one), ("open", ""));
    let id = one["id"].clone();
    // The KMS Decrypt is known when it is final, and says which version it was.
    sweep(&function);
    // A rotation that fails closes nothing.
    send(&deployment, &function, "b.json.gz", &failed(600));
    assert_eq!(messages(&deployment), [] as [Value; 0]);
    send(&deployment, &function, "c.json.gz", &rotated(15_111));
    send(&deployment, &function, "c.json.gz", &rotated(15_111));
    // A minute after the message before.
    std::thread::sleep(Duration::from_secs(62));
    sweep(&function);
    let closed = messages(&deployment);
    let [one] = closed.as_slice() else {
        panic!("{closed:#?}")
    };
    assert_eq!((&one["id"], status(one)), (&id, ("closed", "closed")));
    let version = &one["exposure"][0];
    assert_eq!(
        (
            &version["version_id"],
            &version["certainty"],
            &version["open"]
        ),
        (&json!("v1"), &json!("paired"), &json!(false)),
        "{one:#}"
    );
    assert_eq!(version["status"], "previous");
    assert_eq!(one["exposure_closed"], version["superseded"]);
    let mail = one.to_string();
    assert!(!mail.contains("reopened"), "{mail}");
    // It is published once.
    std::thread::sleep(Duration::from_secs(62));
    sweep(&function);
    assert_eq!(messages(&deployment), [] as [Value; 0]);

    // The other way round: the rotation first. It was never open.
    let (deployment, function) = open(&cloud);
    send(&deployment, &function, "c.json.gz", &rotated(15_111));
    send(&deployment, &function, "b.json.gz", &failed(600));
    send(&deployment, &function, "a.json.gz", &stolen());
    let opened = messages(&deployment);
    let [one] = opened.as_slice() else {
        panic!("{opened:#?}")
    };
    assert_eq!((&one["id"], status(one)), (&id, ("closed", "")));
}
