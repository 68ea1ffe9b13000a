//! Rules: what they match, and how fields, verdicts and placeholders behave.

use secretrail_engine::{
    pipeline::Pipeline,
    policy::AccessPolicy,
    rule::{
        RuleSet,
        load::{load, load_with},
        vars,
    },
    selection::Selection,
    state::memory::MemoryStore,
};
use serde_json::{Value, json};
use test_support::{afterwards, decrypt_secret, read, record, role, run, scan_result_text};

mod faults;
mod windows;

fn rule(logsource: &str, detection: &str) -> String {
    format!(
        "title: t
id: a
logsource:
  product: aws
  {logsource}
detection:
{detection}
  condition: selection
"
    )
}

fn access(selection: &str) -> String {
    rule(
        "category: secret_access",
        &format!("  selection:\n    {selection}"),
    )
}

fn rules(text: &str) -> RuleSet {
    load([("r.yml", text)])
        .unwrap_or_else(|e| panic!("{}", e[0]))
        .0
}

fn fires(text: &str, records: &[Value]) -> usize {
    run(records, &rules(text), None).alerts.len()
}

/// The same for a record as text: values of JSON are sorted by their fields, what CloudTrail writes
/// is not.
fn alerts_of_text(text: &str, record: &str) -> usize {
    let (rules, selection) = (rules(text), Selection::default());
    let pipeline = Pipeline::new(&rules, None, &selection);
    let batch = scan_result_text(record, &rules);
    let store = MemoryStore::default();
    let ran = pipeline.run(&store, batch, afterwards());
    pollster::block_on(ran).unwrap().alerts.len()
}

fn correlation(body: &str) -> String {
    let base = access("access.outcome: success").replace("id: a", "id: a\nname: base");
    format!("{base}---\ntitle: c\nid: c\ncorrelation:\n  rules: [base]\n{body}")
}

/// A correlation that counts.
fn counting(kind: &str, group: &str, timespan: &str, condition: &str) -> String {
    correlation(&format!(
        "  type: {kind}
  group-by: [{group}]
  timespan: {timespan}
  condition: {{{condition}}}
"
    ))
}

#[test]
fn absent_fields_are_null_and_booleans_are_words() {
    let records = [read("r", "app", 0, "prod/db")];
    for matching in [
        "errorCode: null",
        "secret.arn: null",
        "access.cross_account: false",
        "access.cross_account: 'false'",
        "requestParameters.secretId: PROD/DB",
        "errorCode|exists: false",
        "secret.name|endswith: [x, /db]",
        "secret.name|re: ^prod/",
        "source.ip|cidr: 10.0.0.0/8",
        "principal.name|cased: app",
    ] {
        assert_eq!(fires(&access(matching), &records), 1, "{matching}");
    }
    for other in [
        "eventName: null",
        "secret.name|cased: PROD/DB",
        "source.ip|cidr: 192.0.2.0/24",
        "expected.principal: 'no'",
        "errorCode|exists: true",
    ] {
        assert_eq!(fires(&access(other), &records), 0, "{other}");
    }
    let keywords = rule("category: secret_access", "  selection: [PROD/d*]");
    assert_eq!(
        fires(&keywords, &records),
        1,
        "a keyword is looked for in the whole record"
    );
}

#[test]
fn rules_about_records_see_every_service_and_are_one_alert_an_event() {
    let text = rule(
        "service: cloudtrail",
        "  selection: {eventSource: s3.amazonaws.com, requestParameters.keys.name: b}",
    );
    let call = |id: &str, name: &str| {
        record(
            id,
            &role("app"),
            0,
            "s3",
            "PutThing",
            json!({"keys": [{"name": "a"}, {"name": name}]}),
        )
    };
    assert_eq!(
        fires(&text, &[call("e1", "b"), call("e1", "b"), call("e2", "c")]),
        1
    );
    let any_service = rule("service: cloudtrail", "  selection: {eventName: PutThing}");
    assert_eq!(fires(&any_service, &[call("e1", "b"), call("e2", "c")]), 2);
}

#[test]
fn rules_that_ask_for_the_key_wait_until_it_is_known() {
    let text = access("decrypt.status: paired");
    assert_eq!(fires(&text, &[read("r", "app", 0, "x")]), 0);
    let outcome = run(
        &[read("r", "app", 0, "x"), decrypt_secret("k", "app", 0, "x")],
        &rules(&text),
        None,
    );
    let [alert] = outcome.alerts.as_slice() else {
        panic!("{:?}", outcome.alerts)
    };
    assert_eq!(alert.accesses[0].decrypt.event_id.as_deref(), Some("k"));
}

#[test]
fn a_sigma_filter_is_woven_into_the_rules_it_names() {
    let base = access("access.outcome: success").replace("id: a", "id: a\nname: base");
    let filter = "---
title: f
id: f
logsource:
  product: aws
  category: secret_access
filter:
  rules: [base]
  selection:
    secret.name|startswith: test/
  condition: not selection
";
    let text = format!("{base}{filter}");
    assert_eq!(
        fires(
            &text,
            &[
                read("r1", "app", 0, "test/x"),
                read("r2", "app", 0, "prod/x")
            ]
        ),
        1
    );
    let errors = load([("r.yml", text.replace("[base]", "[nobody]").as_str())])
        .err()
        .unwrap_or_default();
    assert!(
        errors[0].to_string().contains("`nobody` is no loaded rule"),
        "{}",
        errors[0]
    );
}

#[test]
fn rules_about_changes_see_secrets_keys_and_trails() {
    let text = |api: &str| {
        rule(
            "category: secret_change",
            &format!("  selection: {{eventName: {api}, principal.name: app}}"),
        )
    };
    let call = |service: &str, api: &str, params: Value| {
        record("e", &role("app"), 0, service, api, params)
    };
    for (service, api, params) in [
        (
            "secretsmanager",
            "PutResourcePolicy",
            json!({"secretId": "x", "resourcePolicy": "{}"}),
        ),
        (
            "secretsmanager",
            "DeleteSecret",
            json!({"secretId": "x", "forceDeleteWithoutRecovery": true}),
        ),
        ("ssm", "PutParameter", json!({"name": "/x"})),
        ("kms", "PutKeyPolicy", json!({"keyId": "k"})),
        ("cloudtrail", "StopLogging", json!({"name": "main"})),
        (
            "cloudtrail",
            "PutEventSelectors",
            json!({"trailName": "main"}),
        ),
    ] {
        assert_eq!(fires(&text(api), &[call(service, api, params)]), 1, "{api}");
    }
    let named = rule(
        "category: secret_change",
        "  selection: {secret.name: prod/x, requestParameters.forceDeleteWithoutRecovery: true}",
    );
    let delete = call(
        "secretsmanager",
        "DeleteSecret",
        json!({"secretId": "prod/x", "forceDeleteWithoutRecovery": true}),
    );
    assert_eq!(fires(&named, &[delete]), 1);
    assert_eq!(
        fires(
            &text("DescribeKey"),
            &[call("kms", "DescribeKey", json!({}))]
        ),
        0,
        "that changes nothing"
    );
}

#[test]
fn the_access_policy_is_judged_grant_by_grant() {
    let policy = |more: &str| {
        let text = format!(
            "version: 1
grants:
  - secrets: ['arn:aws:secretsmanager:*:111122223333:secret:prod/*']
    principals: ['arn:aws:iam::111122223333:role/app*']
{more}"
        );
        text.parse::<secretrail_engine::policy::AccessPolicy>()
            .unwrap()
    };
    let check = |more: &str, records: &[Value], field: &str, verdict: &str| {
        for other in ["yes", "no", "undeclared"] {
            let alerts = run(
                records,
                &rules(&access(&format!("{field}: '{other}'"))),
                Some(&policy(more)),
            )
            .alerts
            .len();
            assert_eq!(
                alerts == 1,
                other == verdict,
                "{field} is not {verdict} for {more}"
            );
        }
    };
    let by_name = [read("r", "app1", 0, "prod/db")];
    check("", &by_name, "expected.principal", "yes");
    check(
        "",
        &[read("r", "other", 0, "prod/db")],
        "expected.principal",
        "no",
    );
    check(
        "",
        &[read("r", "other", 0, "test/db")],
        "expected.principal",
        "undeclared",
    );
    check("    regions: [eu-*]\n", &by_name, "expected.region", "yes");
    check(
        "    regions: [us-east-1]\n",
        &by_name,
        "expected.region",
        "no",
    );
    check(
        "    regions: [us-east-1]\n",
        &[read("r", "app1", 0, "test/db")],
        "expected.region",
        "undeclared",
    );
    check(
        "    regions: [us-east-1]\n",
        &[read("r", "app1", 0, "test/db")],
        "expected.account_region",
        "no",
    );
    check(
        "    sources: [10.0.0.0/24, '2001:db8::/32']\n",
        &by_name,
        "expected.source",
        "yes",
    );
    check(
        "    sources: [192.0.2.0/24, vpce-1]\n",
        &by_name,
        "expected.source",
        "no",
    );
    let mut inside = by_name.clone();
    inside[0]["vpcEndpointId"] = json!("vpce-1");
    check(
        "    sources: [192.0.2.0/24, vpce-1]\n",
        &inside,
        "expected.source",
        "yes",
    );
    let with_key = [
        by_name[0].clone(),
        decrypt_secret("k", "app1", 0, "prod/db"),
    ];
    check(
        "    keys: ['arn:aws:kms:*:*:key/k']\n",
        &with_key,
        "expected.key",
        "yes",
    );
    check(
        "    keys: ['arn:aws:kms:*:*:key/other']\n",
        &with_key,
        "expected.key",
        "no",
    );
    check(
        "    keys: ['arn:aws:kms:*:*:key/other']\n",
        &by_name,
        "expected.key",
        "undeclared",
    );
    // One grant that allows is enough, and a secret is covered whatever it is called.
    let second = "    regions: [us-east-1]
  - secrets: ['arn:aws:secretsmanager:*:*:secret:prod/db-AbC123']
    principals: ['arn:aws:sts::*:assumed-role/app1/s']
    regions: [eu-west-1]
";
    check(second, &by_name, "expected.region", "yes");
    assert_eq!(
        run(
            &by_name,
            &rules(&access("expected.principal|exists: true")),
            None
        )
        .alerts
        .len(),
        0,
        "without a policy there is no verdict"
    );
}

#[test]
fn placeholders_take_their_values_from_a_file() {
    let text = access("source.ip|expand: '%networks%'\n    secret.name|expand: 'prod/%name%'");
    let fires = |file: &str| {
        let rules = load_with([("r.yml", text.as_str())], &vars::read(file).unwrap())
            .unwrap_or_else(|e| panic!("{}", e[0]))
            .0;
        run(&[read("r", "app", 0, "prod/db")], &rules, None)
            .alerts
            .len()
    };
    assert_eq!(fires("networks: [10.0.0.1, 10.0.0.2]\nname: db"), 1);
    assert_eq!(fires("vars:\n  networks: 10.0.0.9\n  name: db"), 0);
    assert_eq!(
        fires("networks: [10.0.0.*]\nname: [a, db]"),
        1,
        "values may hold wildcards"
    );
    for (file, word) in [
        ("- a", "is not a mapping"),
        ("a: []", "has no usable value"),
        ("a: {b: c}", "has no usable value"),
    ] {
        assert!(
            vars::read(file).unwrap_err().to_string().contains(word),
            "{file}"
        );
    }
}

#[test]
fn a_copy_of_a_rule_is_read_once_and_told() {
    let rule = access("access.outcome: success");
    let other = correlation(
        "  type: event_count\n  group-by: [principal.arn]\n  timespan: 5m\n  condition: {gte: 1}\n",
    );
    let with_copy = other.replace("id: a", "id: b");
    let copy = with_copy.split("---\n").next().unwrap().to_owned();
    let (rules, _) = load([
        ("a.yml", rule.as_str()),
        ("b.yml", &copy),
        ("c.yml", &with_copy),
    ])
    .unwrap_or_else(|e| panic!("{}", e[0]));
    assert_eq!(
        rules.warnings,
        ["c.yml: `t` is a copy of the rule in b.yml, and is read once"]
    );
    assert_eq!(
        run(&[read("r", "app", 0, "x")], &rules, None).alerts.len(),
        3,
        "the rule, its copy's that stands alone, and the correlation"
    );
}

#[test]
fn a_strict_policy_expects_nothing_that_it_does_not_speak_of() {
    let policy: AccessPolicy = "version: 1\ngrants: []".parse().unwrap();
    let text = access("expected.principal: 'no'");
    let reads = [read("r", "app", 0, "x")];
    assert_eq!(run(&reads, &rules(&text), Some(&policy)).alerts.len(), 0);
    assert_eq!(
        run(&reads, &rules(&text), Some(&policy.strict(true)))
            .alerts
            .len(),
        1
    );
}

/// Rules about records match exactly what the Sigma engine matches by itself on the same JSON.
#[test]
fn matches_are_those_of_the_sigma_engine() {
    let mut records = vec![
        read("r", "app", 0, "prod/db"),
        decrypt_secret("k", "app", 0, "prod/db"),
    ];
    let mut odd = read("o", "ops", 1, "Prod/Key");
    odd["errorCode"] = json!("AccessDenied");
    odd["requestParameters"] = Value::Null;
    odd["sourceIPAddress"] = json!("2001:db8::7");
    odd["userAgent"] = json!("ops");
    odd["additionalEventData"] = json!({
        "list": ["a", "b"],
        "empty": [],
        "n": 7,
        "f": 1.5,
        "flag": false,
        "void": null,
        "rows": [{"k": "x", "v": ["1", "2"]}, {"k": "y", "v": []}],
    });
    records.push(odd);
    let field = "additionalEventData";
    let selections = [
        "errorCode: null".to_owned(),
        "errorCode|exists: false".to_owned(),
        "errorCode|exists: true".to_owned(),
        "requestParameters: null".to_owned(),
        "requestParameters.secretId|contains|all: [prod, db]".to_owned(),
        "requestParameters.secretId|startswith: PROD".to_owned(),
        "requestParameters.secretId|cased|startswith: PROD".to_owned(),
        "requestParameters.secretId|re: ^prod/.b$".to_owned(),
        "requestParameters.secretId|re|i: ^PROD/.b$".to_owned(),
        "sourceIPAddress|cidr: [192.0.2.0/24, '2001:db8::/32']".to_owned(),
        "sourceIPAddress|cidr: 10.0.0.0/8".to_owned(),
        "userAgent|fieldref: userIdentity.sessionContext.sessionIssuer.userName".to_owned(),
        "eventName: ['Get*', Dec?ypt]".to_owned(),
        "eventName|endswith: [Value, Nothing]".to_owned(),
        "eventName|neq: Decrypt".to_owned(),
        format!("{field}.list: b"),
        format!("{field}.list|contains|all: [a, b]"),
        format!("{field}.empty: null"),
        format!("{field}.void: null"),
        format!("{field}.n|gte: 7"),
        format!("{field}.n|lt: 7"),
        format!("{field}.f: 1.5"),
        format!("{field}.flag: false"),
        format!("{field}.rows.k: y"),
        format!("{field}.rows.v: '2'"),
        format!("{field}.rows.v|startswith: '1'"),
        "resources.ARN|contains: key/k".to_owned(),
    ];
    let conditions = [
        "selection_a",
        "1 of selection_*",
        "all of them",
        "selection_a and not selection_b",
        "not 1 of selection_*",
    ];
    let mut matched = 0;
    for (n, selection) in selections.iter().enumerate() {
        let other = &selections[(n * 7 + 3) % selections.len()];
        for condition in conditions {
            let text = format!(
                "title: t
id: a
logsource: {{product: aws, service: cloudtrail}}
detection:
  selection_a:
    {selection}
  selection_b:
    {other}
  condition: {condition}
"
            );
            let ours = rules(&text);
            let mut theirs = rsigma_eval::Engine::new();
            theirs
                .add_collection(&rsigma_parser::parse_sigma_yaml(&text).unwrap())
                .unwrap();
            for record in &records {
                let here = run(std::slice::from_ref(record), &ours, None).alerts.len();
                let there = theirs
                    .evaluate(&rsigma_eval::JsonEvent::borrow(record))
                    .len();
                assert_eq!(here, there, "{}\n{text}", record["eventID"]);
                matched += here;
            }
        }
    }
    assert!(matched > 100, "{matched} matches");
}

#[test]
fn only_the_calls_that_rules_ask_for_are_looked_at_in_any_order_of_fields() {
    let text = rule(
        "service: cloudtrail",
        "  selection:
    eventSource: [S3.amazonaws.com, ec2.amazonaws.com]
    eventName: [getthing, RunInstances]",
    );
    let call = |id: &str, service: &str, api: &str| {
        record(
            id,
            &role("app"),
            0,
            service,
            api,
            json!({"a": {"eventName": "GetThing"}}),
        )
    };
    for (service, api, matches) in [
        ("s3", "GetThing", true),
        ("s3", "PutThing", false),
        ("ec2", "RunInstances", true),
        ("ec2", "StopInstances", false),
        ("kms", "GetThing", false),
    ] {
        assert_eq!(
            fires(&text, &[call("e", service, api)]) == 1,
            matches,
            "{service} {api}"
        );
        let text_of_aws = in_aws_order("e", service, api);
        let ordered: Value = serde_json::from_str(&text_of_aws).unwrap();
        assert_eq!(fires(&text, &[ordered]) == 1, matches, "{service} {api}");
        assert_eq!(
            alerts_of_text(&text, &text_of_aws) == 1,
            matches,
            "{service} {api} in the order of AWS"
        );
    }
}

/// The text of a record with its fields in the order in which CloudTrail writes them.
fn in_aws_order(id: &str, service: &str, api: &str) -> String {
    format!(
        r#"{{"eventVersion":"1.11","userIdentity":{{"type":"IAMUser"}},
        "eventTime":"2026-03-02T10:00:00Z","eventSource":"{service}.amazonaws.com",
        "eventName":"{api}","awsRegion":"eu-west-1","requestParameters":null,"eventID":"{id}"}}"#
    )
    .replace("\n        ", "")
}
