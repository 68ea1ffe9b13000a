//! One small situation each: what the ledger says about it.

use secretrail_engine::{access::Access, rule::RuleSet};
use serde_json::{Value, json};
use test_support::{
    at, decrypt, decrypt_parameter, decrypt_secret, denied_by_key, key_arn, parameter_arn, read,
    record, role, run, secret_arn,
};

/// One line for each access: event, method, outcome, secret, status of the key use, key use.
fn check(records: &[Value], expected: &[&str]) {
    let line = |a: &Access| {
        let secret = a.secret.name.as_deref().unwrap_or("?");
        let kms_decrypt = a.decrypt.event_id.as_deref().unwrap_or("-");
        format!(
            "{} {} {} {secret} {} {kms_decrypt}",
            a.head.event_id,
            a.method.as_str(),
            a.head.outcome.as_str(),
            a.decrypt.status.as_str()
        )
    };
    let mut lines: Vec<String> = run(records, &RuleSet::default(), None)
        .accesses
        .iter()
        .map(|a| line(a))
        .collect();
    lines.sort();
    assert_eq!(lines, expected);
}

fn ssm(id: &str, api: &str, params: Value) -> Value {
    record(id, &role("app"), 0, "ssm", api, params)
}

fn failed(mut record: Value, code: &str, message: &str) -> Value {
    record["errorCode"] = json!(code);
    record["errorMessage"] = json!(message);
    record["requestParameters"] = Value::Null;
    record
}

#[test]
fn a_read_and_its_decrypt_are_one_access_whatever_the_secret_is_called() {
    let arn = secret_arn("prod/db");
    for id in ["prod/db", &arn, &arn[..arn.len() - 7]] {
        let rows = run(
            &[
                read("r", "app", 0, id),
                decrypt_secret("k", "app", 0, "prod/db"),
            ],
            &RuleSet::default(),
            None,
        )
        .accesses;
        let [row] = rows.as_slice() else {
            panic!("{rows:?}")
        };
        assert_eq!(row.secret.arn.as_deref(), Some(arn.as_str()), "{id}");
        assert_eq!(row.decrypt.event_id.as_deref(), Some("k"), "{id}");
    }
}

#[test]
fn an_arn_that_ends_in_a_word_of_six_letters_may_lack_its_suffix() {
    let partial = secret_arn("prod/oauth-client");
    let partial = &partial[..partial.len() - 7];
    check(
        &[
            read("r", "app", 0, partial),
            decrypt_secret("k", "app", 0, "prod/oauth-client"),
        ],
        &["r api success prod/oauth-client paired k"],
    );
}

#[test]
fn only_the_same_session_secret_and_version_pair() {
    let other_session = decrypt_secret("k1", "other", 0, "prod/db");
    let other_secret = decrypt_secret("k2", "app", 0, "prod/db2");
    let too_late = decrypt_secret("k3", "app", 6, "prod/db");
    check(
        &[
            read("r", "app", 0, "prod/db"),
            other_session,
            other_secret,
            too_late,
        ],
        &[
            "k1 decrypt_only success prod/db not_expected -",
            "k2 decrypt_only success prod/db2 not_expected -",
            "k3 decrypt_only success prod/db not_expected -",
            "r api success prod/db absent -",
        ],
    );
    let versioned = record(
        "r",
        &role("app"),
        0,
        "secretsmanager",
        "GetSecretValue",
        json!({"secretId": "prod/db", "versionId": "v2"}),
    );
    let second = decrypt(
        "k2",
        "app",
        2,
        json!({"SecretARN": secret_arn("prod/db"), "SecretVersionId": "v2"}),
    );
    check(
        &[versioned, decrypt_secret("k1", "app", 0, "prod/db"), second],
        &[
            "k1 decrypt_only success prod/db not_expected -",
            "r api success prod/db paired k2",
        ],
    );
}

#[test]
fn the_nearest_pair_wins() {
    let reads = [
        read("r1", "app", 0, "prod/db"),
        read("r2", "app", 3, "prod/db"),
    ];
    let uses = [
        decrypt_secret("k2", "app", 3, "prod/db"),
        decrypt_secret("k1", "app", 0, "prod/db"),
    ];
    check(
        &[reads.as_slice(), &uses].concat(),
        &[
            "r1 api success prod/db paired k1",
            "r2 api success prod/db paired k2",
        ],
    );
}

#[test]
fn a_missing_decrypt_is_absent_only_where_kms_events_are_seen() {
    check(
        &[read("r", "app", 0, "prod/db")],
        &["r api success prod/db unknown -"],
    );
    let kms = record("x", &role("app"), 600, "kms", "GenerateDataKey", json!({}));
    check(
        &[read("r", "app", 0, "prod/db"), kms],
        &["r api success prod/db absent -"],
    );
    let kms = record(
        "x",
        &role("app"),
        4 * 3600,
        "kms",
        "GenerateDataKey",
        json!({}),
    );
    check(
        &[read("r", "app", 0, "prod/db"), kms],
        &["r api success prod/db unknown -"],
    );
}

#[test]
fn a_session_opened_in_another_hour_proves_the_hour_of_its_event() {
    let hour = 3600;
    let kms = |id: &str, secs: i64| {
        let mut record = record(id, &role("app"), secs, "kms", "GenerateDataKey", json!({}));
        // The session is of the first hour, whenever it is used.
        record["userIdentity"]["sessionContext"]["attributes"] =
            json!({"creationDate": at(1).to_string()});
        record
    };
    let late_read = read("r", "app", 5 * hour, "prod/db");
    for records in [
        [kms("x", 0), kms("y", 5 * hour)],
        [kms("y", 5 * hour), kms("x", 0)],
    ] {
        check(
            &[records.as_slice(), std::slice::from_ref(&late_read)].concat(),
            &["r api success prod/db absent -"],
        );
    }
}

#[test]
fn ten_parameters_are_ten_accesses() {
    let get = ssm(
        "r",
        "GetParameters",
        json!({"names": ["/a/x", "/a/y:3", parameter_arn("/a/z")], "withDecryption": true}),
    );
    check(
        &[get, decrypt_parameter("k", "app", 1, "/a/y")],
        &[
            "r api success /a/x unknown -",
            "r api success /a/y paired k",
            "r api success /a/z unknown -",
        ],
    );
    check(
        &[ssm(
            "r",
            "GetParameter",
            json!({"name": "/a/x", "withDecryption": false}),
        )],
        &["r api success /a/x not_expected -"],
    );
}

#[test]
fn a_path_gives_what_its_kms_decrypts_tell() {
    let path = |recursive| {
        ssm(
            "r",
            "GetParametersByPath",
            json!({"path": "/a/", "recursive": recursive, "withDecryption": true}),
        )
    };
    let uses = [
        decrypt_parameter("k1", "app", 0, "/a/x"),
        decrypt_parameter("k2", "app", 0, "/a/b/y"),
        decrypt_parameter("k3", "app", 0, "/ab/z"),
    ];
    check(
        &[&[path(true)], uses.as_slice()].concat(),
        &[
            "k3 decrypt_only success /ab/z not_expected -",
            "r by_path success /a/b/y paired k2",
            "r by_path success /a/x paired k1",
        ],
    );
    check(
        &[&[path(false)], uses.as_slice()].concat(),
        &[
            "k2 decrypt_only success /a/b/y not_expected -",
            "k3 decrypt_only success /ab/z not_expected -",
            "r by_path success /a/x paired k1",
        ],
    );
    check(&[path(true)], &["r by_path success /a/ unknown -"]);
}

#[test]
fn a_history_gives_an_access_for_each_kms_decrypt() {
    let history = ssm(
        "r",
        "GetParameterHistory",
        json!({"name": "/a/x", "withDecryption": true}),
    );
    check(
        &[
            history.clone(),
            decrypt_parameter("k1", "app", 0, "/a/x"),
            decrypt_parameter("k2", "app", 0, "/a/x"),
        ],
        &[
            "r history success /a/x paired k1",
            "r history success /a/x paired k2",
        ],
    );
    check(&[history], &["r history success /a/x unknown -"]);
}

#[test]
fn a_batch_counts_each_secret_once() {
    let batch = |params| {
        record(
            "b",
            &role("app"),
            0,
            "secretsmanager",
            "BatchGetSecretValue",
            params,
        )
    };
    let list = batch(json!({"secretIdList": ["x", "y"]}));
    let child = read("c", "app", 1, &secret_arn("x"));
    check(
        &[
            list.clone(),
            child.clone(),
            decrypt_secret("k", "app", 0, "x"),
        ],
        &["b batch success y unknown -", "c batch success x paired k"],
    );
    check(
        &[list, decrypt_secret("k", "app", 0, "y")],
        &["b batch success x unknown -", "b batch success y paired k"],
    );
    let filters = batch(json!({"filters": [{"key": "tag-key", "values": ["!none"]}]}));
    check(
        std::slice::from_ref(&filters),
        &["b batch success ? unknown -"],
    );
    check(
        &[filters.clone(), child, decrypt_secret("k", "app", 0, "x")],
        &["c batch success x paired k"],
    );
    check(
        &[filters, decrypt_secret("k", "app", 0, "x")],
        &["b batch success x paired k"],
    );
}

#[test]
fn decrypts_that_are_not_reads_are_left_out() {
    let validation = decrypt(
        "k",
        "app",
        0,
        json!({"SecretARN": secret_arn("x"), "SecretVersionId": "RequestToValidateKeyAccess"}),
    );
    check(&[validation], &[]);
    let put = |secs| {
        record(
            "p",
            &role("app"),
            secs,
            "secretsmanager",
            "PutSecretValue",
            json!({"secretId": "x"}),
        )
    };
    check(&[put(1), decrypt_secret("k", "app", 0, "x")], &[]);
    check(
        &[put(9), decrypt_secret("k", "app", 0, "x")],
        &["k decrypt_only success x not_expected -"],
    );
    let elsewhere = decrypt("k", "app", 0, json!({"aws:s3:arn": "arn:aws:s3:::b/x"}));
    check(&[elsewhere], &[]);
    let mut dry = decrypt_secret("k", "app", 0, "x");
    dry["errorCode"] = json!("DryRunOperationException");
    check(&[dry], &[]);
}

#[test]
fn kms_called_without_a_service_is_a_direct_decrypt() {
    let direct = |id: &str| {
        record(
            id,
            &role("app"),
            0,
            "kms",
            "Decrypt",
            json!({"encryptionContext": {"PARAMETER_ARN": parameter_arn("/a/x")}}),
        )
    };
    check(
        &[direct("k")],
        &["k direct_decrypt success /a/x not_expected -"],
    );
    // It is not the key use of a read, however near.
    let get = ssm(
        "r",
        "GetParameter",
        json!({"name": "/a/x", "withDecryption": true}),
    );
    check(
        &[direct("k"), get],
        &[
            "k direct_decrypt success /a/x not_expected -",
            "r api success /a/x unknown -",
        ],
    );
}

#[test]
fn denied_reads_are_named_by_their_message() {
    let message = |resource: &str, why: &str| {
        format!(
            "User: arn:aws:sts::1:assumed-role/app/s is not authorized to perform: \
             secretsmanager:GetSecretValue on resource: {resource} {why}"
        )
    };
    let why = "because no identity-based policy allows the secretsmanager:GetSecretValue action";
    let get = |id: &str, code: &str, text: &str| failed(read(id, "app", 0, "x"), code, text);
    check(
        &[get("r", "AccessDenied", &message("prod/db", why))],
        &["r api denied prod/db not_expected -"],
    );
    check(
        &[get(
            "r",
            "AccessDeniedException",
            &message(
                &secret_arn("prod/db"),
                "with an explicit deny in a service control policy",
            ),
        )],
        &["r api denied prod/db not_expected -"],
    );
    check(
        &[get("r", "AccessDenied", "no words that we know")],
        &["r api denied ? not_expected -"],
    );
    check(
        &[get(
            "r",
            "ResourceNotFoundException",
            "Secrets Manager can't find the specified secret.",
        )],
        &["r api failed ? not_expected -"],
    );
    let gate = |why: &str| {
        run(
            &[get("r", "AccessDenied", &message("x", why))],
            &RuleSet::default(),
            None,
        )
        .accesses[0]
            .head
            .denied_by
            .clone()
    };
    assert_eq!(gate(why).as_deref(), Some("identity_policy"));
    assert_eq!(
        gate("with an explicit deny in a service control policy").as_deref(),
        Some("service_control_policy")
    );
    assert_eq!(
        gate("because no VPC endpoint policy allows the action").as_deref(),
        Some("vpc_endpoint_policy")
    );
    assert_eq!(gate("").as_deref(), None);
    let wild = failed(
        ssm("r", "GetParameter", json!({})),
        "AccessDeniedException",
        "User: x is not authorized to perform: ssm:GetParameter on resource: \
         arn:aws:ssm:eu-west-1:111122223333:* because no identity-based policy allows the \
         ssm:GetParameter action",
    );
    check(&[wild], &["r api denied ? not_expected -"]);
}

#[test]
fn a_read_that_kms_denied_joins_the_denied_decrypt_of_its_second() {
    let refused = failed(
        read("r", "app", 0, "x"),
        "AccessDenied",
        "Access to KMS is not allowed",
    );
    let key = "arn:aws:kms:eu-west-1:111122223333:key/k";
    let denied = |secs| {
        failed(
            decrypt_secret("k", "app", secs, "x"),
            "AccessDenied",
            &format!(
                "User: x is not authorized to perform: kms:Decrypt on resource: {key} \
                 because no resource-based policy allows the kms:Decrypt action"
            ),
        )
    };
    let mut bare = denied(0);
    bare["resources"] = Value::Null;
    let rows = run(&[refused.clone(), bare], &RuleSet::default(), None).accesses;
    let [row] = rows.as_slice() else {
        panic!("{rows:?}")
    };
    assert_eq!(
        (
            row.head.denied_by.as_deref(),
            row.decrypt.event_id.as_deref(),
            row.decrypt.key_arn.as_deref()
        ),
        (Some("kms_key"), Some("k"), Some(key))
    );
    check(&[refused, denied(1)], &["r api denied ? not_expected -"]);
}

#[test]
fn the_denied_action_decides_what_denied_a_read_and_which_decrypt_joins() {
    let parameters = json!({"name": "/p/x", "withDecryption": true});
    let refused = denied_by_key(ssm("r", "GetParameter", parameters), "k");
    let mut bare = denied_by_key(decrypt_parameter("k", "app", 0, "/p/x"), "k");
    bare["userIdentity"]["invokedBy"] = json!("AWS Internal");
    bare["requestParameters"] = Value::Null;
    let joined = "r api denied /p/x paired k";
    check(&[refused.clone(), bare.clone()], &[joined]);
    let rows = run(&[refused.clone(), bare.clone()], &RuleSet::default(), None).accesses;
    assert_eq!(rows[0].head.denied_by.as_deref(), Some("kms_key"));
    assert_eq!(rows[0].decrypt.key_arn.as_deref(), Some(&*key_arn("k")));
    // Other codes, another message, another key.
    let mut unclear = refused.clone();
    unclear["errorCode"] = json!("InvalidKeyId");
    unclear["errorMessage"] =
        json!("The ciphertext refers to a customer master key that does not exist");
    check(&[unclear, bare.clone()], &[joined]);
    let other = denied_by_key(bare, "other");
    check(&[refused, other], &["r api denied /p/x not_expected -"]);
}

#[test]
fn a_denied_decrypt_that_was_logged_with_its_context_names_the_secret() {
    let mut refused = denied_by_key(read("r", "app", 0, "x"), "k");
    refused["requestParameters"] = Value::Null;
    let denied = denied_by_key(decrypt_secret("k", "app", 0, "prod/db"), "k");
    check(
        &[refused.clone(), denied],
        &["r api denied prod/db paired k"],
    );
    check(&[refused], &["r api denied ? not_expected -"]);
    let mut path = ssm("r", "GetParametersByPath", json!({"path": "/prod/"}));
    path = denied_by_key(path, "k");
    check(&[path], &["r by_path denied /prod/ not_expected -"]);
}

#[test]
fn copies_of_one_event_are_one_access_with_the_richer_identity() {
    let mut caller = read("e1", "app", 0, &secret_arn("x"));
    caller["sharedEventID"] = json!("s");
    let mut owner = caller.clone();
    owner["eventID"] = json!("e2");
    owner["userIdentity"] =
        json!({"type": "AWSAccount", "accountId": "999988887777", "principalId": "AROAapp:s"});
    check(&[owner, caller], &["e1 api success x unknown -"]);
    let original = read("e1", "app", 0, "x");
    let mut update = read("e9", "app", 0, "x");
    update["addendum"] = json!({"reason": "UPDATED_DATA", "originalEventID": "e1"});
    check(
        &[original.clone(), update, original],
        &["e1 api success x unknown -"],
    );
}

#[test]
fn a_parameter_that_refers_to_a_secret_is_a_read_of_the_secret() {
    let get = ssm(
        "r",
        "GetParameter",
        json!({"name": "/aws/reference/secretsmanager/prod/db", "withDecryption": true}),
    );
    let mut told_again = read("c", "app", 0, "prod/db");
    told_again["userIdentity"]["invokedBy"] = json!("ssm.amazonaws.com");
    check(
        &[get, told_again, decrypt_secret("k", "app", 0, "prod/db")],
        &["r api success prod/db paired k"],
    );
}

#[test]
fn what_vpc_endpoints_saw_is_not_counted_twice() {
    let mut seen = read("r", "app", 0, "x");
    seen["eventType"] = json!("AwsVpceEvent");
    check(&[seen], &[]);
}
