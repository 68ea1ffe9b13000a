//! `doctor` on a healthy deployment and on broken ones: each names its fault and the remedy.

use serde_json::{Value, json};

use crate::{
    healthy::{
        ALERTS, DEAD, alarms, described_by_terraform, expiry, function, head, healthy, ledger,
        mapping, metric, queue, rule, subscriptions, table,
    },
    stand_in::{Answer, Cloud},
};

/// Exit code, and the lines that are not ok: verdict, part, what, remedy.
pub(crate) fn report(cloud: &Cloud) -> (i32, Vec<[String; 4]>) {
    let (code, stdout, stderr) = cloud.run("doctor -f jsonl -q");
    let lines = stdout.lines().map(|line| {
        let value: Value = serde_json::from_str(line).expect("JSON");
        let about = ["schema", "stack"].map(|name| text(&value, name));
        assert_eq!(about, ["secretrail.doctor/1", "secretrail"]);
        ["verdict", "part", "what", "remedy"].map(|name| text(&value, name))
    });
    let lines: Vec<[String; 4]> = lines.collect();
    assert!(!lines.is_empty(), "{stderr}");
    let bad = lines.into_iter().filter(|[verdict, ..]| verdict != "ok");
    (code, bad.collect())
}

fn text(value: &Value, name: &str) -> String {
    let text = value.get(name).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// A broken deployment has these lines beside those of a healthy one, with these words.
pub(crate) fn has(cloud: &Cloud, expected: &[(&str, &str, &str, &str)]) {
    let (code, mut lines) = report(cloud);
    let (_, usual) = report(&healthy());
    lines.retain(|line| !usual.contains(line));
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, (verdict, part, what, remedy)) in lines.iter().zip(expected) {
        assert_eq!((line[0].as_str(), line[1].as_str()), (*verdict, *part));
        assert!(line[2].contains(what), "{line:?}");
        assert!(line[3].contains(remedy), "{line:?}");
    }
    let fails = expected.iter().any(|(verdict, ..)| *verdict == "fail");
    assert_eq!(code, i32::from(fails));
}

#[test]
fn a_healthy_deployment_has_no_failures() {
    let cloud = healthy();
    let (code, lines) = report(&cloud);
    // What an access policy, lists and databases would add is no fault.
    let parts: Vec<&str> = lines.iter().map(|line| line[1].as_str()).collect();
    assert_eq!(
        (code, parts),
        (0, vec!["policy", "rules", "rules"]),
        "{lines:#?}"
    );
    let (_, text, closing) = cloud.run("doctor");
    assert!(
        text.lines()
            .all(|line| line.starts_with("ok ") || line.starts_with("warn "))
    );
    assert!(closing.ends_with("3 warnings, 0 failures\n"), "{closing}");
    for part in [
        "mapping",
        "sweep",
        "table",
        "dead letters",
        "alarm",
        "last file",
        "111122223333 eu-west-1 at",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_deployment_by_terraform_is_checked_as_one_by_a_stack_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("deployment.json");
    let write = |outputs: &Value| std::fs::write(&file, outputs.to_string()).expect("written");
    let words = format!("doctor -f jsonl -q --terraform {}", file.display());
    // Without the times of the last files.
    let lines = |out: &str| -> Vec<String> {
        let lines = out.lines().filter(|line| !line.contains("last file"));
        lines.map(str::to_owned).collect()
    };
    let by_stack = healthy();
    let (_, expected, _) = by_stack.run("doctor -f jsonl -q");
    let outputs = described_by_terraform();
    // All outputs, and that of `terraform output -json deployment`.
    for written in [&outputs, &outputs["deployment"]["value"]] {
        write(written);
        let cloud = healthy();
        let (code, found, said) = cloud.run(&words);
        assert_eq!(code, 0, "{found}{said}");
        let (found, expected) = (lines(&found), lines(&expected));
        assert!(
            found[0].contains("as Terraform describes it"),
            "{}",
            found[0]
        );
        assert_eq!(found[1..], expected[1..]);
        let asked = cloud.requests();
        assert!(
            asked
                .iter()
                .all(|request| request.scope(2) != "cloudformation")
        );
    }
    // A fault is found as behind a stack.
    write(&outputs);
    let cloud = healthy();
    cloud.answer("monitoring DescribeAlarms", "", alarms("ALARM"));
    let (code, found, _) = cloud.run(&words);
    assert_eq!(code, 1);
    assert!(found.contains("AlarmRules"), "{found}");
}

#[test]
fn outputs_that_describe_nothing_are_refused_with_the_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("deployment.json");
    let cloud = healthy();
    let mut without = described_by_terraform();
    without["deployment"]["value"]["resources"]["Detector"] = Value::Null;
    let mut elsewhere = described_by_terraform();
    elsewhere["deployment"]["value"]["region"] = json!("us-east-1");
    for (text, remedy) in [
        ("", "write it anew"),
        (
            "\u{feff}{\"version\": {\"value\": \"0.1.0\"}}",
            "no output `deployment`",
        ),
        ("{}", "apply the current infra/terraform"),
        (&*without.to_string(), "has no Detector"),
    ] {
        std::fs::write(&file, text).expect("written");
        let (code, out, said) = cloud.run(&format!("doctor --terraform {}", file.display()));
        assert_eq!((code, out.as_str()), (2, ""), "{said}");
        assert!(said.contains(remedy), "{said}");
    }
    std::fs::write(&file, elsewhere.to_string()).expect("written");
    let words = format!("doctor --region eu-west-1 --terraform {}", file.display());
    let (code, _, said) = cloud.run(&words);
    assert!(
        code == 2 && said.contains("use --aws-region us-east-1"),
        "{said}"
    );
    let (code, _, said) = cloud.run("doctor --terraform /nowhere/outputs.json");
    assert!(
        code == 2 && said.contains("/nowhere/outputs.json"),
        "{said}"
    );
    let both = cloud.run("doctor --terraform x --stack y");
    assert_eq!(both.0, 64, "{}", both.2);
}

#[test]
fn a_bucket_that_announces_nothing() {
    let cloud = healthy();
    let none = "<NotificationConfiguration/>".to_owned();
    cloud.answer("s3 GET /trail-logs", "?notification", Answer(200, none));
    has(
        &cloud,
        &[(
            "fail",
            "bucket",
            "does not send its events",
            "switch on Amazon EventBridge",
        )],
    );
}

#[test]
fn security_hub_that_is_not_enabled() {
    let product = "arn:aws:securityhub:eu-west-1:111122223333:product/111122223333/default";
    let with_hub = || {
        let cloud = healthy();
        let get = "lambda GET /2015-03-31/functions/";
        let function = function(|found| {
            found["Environment"]["Variables"]["SECRETRAIL_TOPICS"] =
                json!(format!("{ALERTS} {product}?min-level=high"));
        });
        cloud.answer(get, "", function);
        cloud
    };
    let enabled = with_hub();
    let hub =
        Answer::json(&json!({"HubArn": "arn:aws:securityhub:eu-west-1:111122223333:hub/default"}));
    enabled.answer("securityhub GET /accounts", "", hub);
    has(&enabled, &[]);
    let disabled = with_hub();
    let refused = Answer::json_error(401, "InvalidAccessException", "not subscribed");
    disabled.answer("securityhub GET /accounts", "", refused);
    has(
        &disabled,
        &[(
            "fail",
            "subscribers",
            "Security Hub is not enabled in eu-west-1",
            "aws securityhub enable-security-hub --region eu-west-1",
        )],
    );
}

#[test]
fn rules_of_eventbridge_that_are_off() {
    let cloud = healthy();
    cloud
        .answer("events DescribeRule", "NewFiles", rule("DISABLED"))
        .answer("events DescribeRule", "EveryMinute", rule("DISABLED"));
    let enable = "aws events enable-rule --name secretrail-";
    has(
        &cloud,
        &[
            ("fail", "new files", "no new file is announced", enable),
            ("fail", "sweep", "disabled", enable),
        ],
    );
}

#[test]
fn a_queue_that_nobody_reads() {
    let cloud = healthy();
    cloud
        .answer(
            "lambda GET /2015-03-31/event-source-mappings/",
            "",
            mapping("Disabled"),
        )
        .answer(
            "sqs GetQueueAttributes",
            "secretrail-Files-1",
            queue("1204"),
        )
        .answer("monitoring GetMetricStatistics", "", metric("7300.0"));
    has(
        &cloud,
        &[
            (
                "fail",
                "mapping",
                "no file is read",
                "update-event-source-mapping --uuid 14e0",
            ),
            (
                "fail",
                "queue",
                "1,204 messages waiting, 0 being read, the oldest for 2 hours",
                "Max",
            ),
        ],
    );
}

#[test]
fn files_that_cannot_be_read() {
    let cloud = healthy();
    cloud
        .answer(
            "sqs GetQueueAttributes",
            "secretrail-DeadLetters-1",
            queue("3"),
        )
        .answer("dynamodb BatchGetItem", "object#", ledger("failed"));
    let remedy = format!("start-message-move-task --source-arn {DEAD} --destination-arn arn:");
    has(
        &cloud,
        &[
            (
                "fail",
                "dead letters",
                "3 notifications of new files",
                &remedy,
            ),
            ("fail", "last file", "the object is not gzip", "mend"),
        ],
    );
}

#[test]
fn a_function_that_was_changed_by_hand() {
    let cloud = healthy();
    cloud.answer(
        "lambda GET /2015-03-31/functions/",
        "",
        function(|found| {
            found["LastUpdateStatus"] = json!("Failed");
            found["LastUpdateStatusReason"] = json!("InvalidImage");
            found["Architectures"] = json!(["arm64"]);
            found["Environment"]["Variables"]["SECRETRAIL_TABLE"] = json!("another");
            found["Environment"]["Variables"]["SECRETRAIL_TOPICS"] =
                json!(format!("{ALERTS} mail"));
        }),
    );
    let stopped = Answer::json(&json!({"ReservedConcurrentExecutions": 0}));
    cloud.answer("lambda GET /2019-09-30/functions/", "", stopped);
    let missing = Answer::xml_error(404, "NotFound", "Topic does not exist");
    cloud.answer("sns ListSubscriptionsByTopic", "TopicArn=mail", missing);
    has(
        &cloud,
        &[
            ("fail", "function", "Failed: InvalidImage", "deploy again"),
            (
                "fail",
                "function",
                "on arm64, 512 MB, and the parameter Architecture is x86_64",
                "build",
            ),
            (
                "fail",
                "function",
                "its reserved concurrency is 0",
                "delete-function-concurrency",
            ),
            (
                "fail",
                "settings",
                "SECRETRAIL_TABLE is `another`",
                "deploy",
            ),
            ("fail", "settings", "`mail` in SECRETRAIL_TOPICS", "deploy"),
            (
                "fail",
                "subscribers",
                "topic mail: does not exist",
                "deploy the stack again",
            ),
        ],
    );
}

#[test]
fn alerts_that_nobody_gets() {
    let cloud = healthy();
    cloud
        .answer(
            "sns ListSubscriptionsByTopic",
            "Alerts",
            subscriptions(&["PendingConfirmation"]),
        )
        .answer("sns ListSubscriptionsByTopic", "Alarms", subscriptions(&[]))
        .answer(
            "dynamodb Query",
            "destinations",
            Answer::json(
                &json!({"Items": [{"pk": {"S": "destinations"}, "sk": {"S": ALERTS},
                "failures": {"N": "7"}, "retry_at": {"N": "1772445600"}}]}),
            ),
        );
    has(
        &cloud,
        &[
            (
                "warn",
                "subscribers",
                "email security@example.com is not confirmed",
                "link",
            ),
            (
                "fail",
                "subscribers",
                "nobody gets what is sent to secretrail-Alerts-1",
                "subscribe",
            ),
            (
                "warn",
                "alarm mail",
                "nobody gets the alarms",
                "aws sns subscribe",
            ),
            (
                "fail",
                "destination",
                "has failed 7 times, next try 2026-03-02T10:00:00Z",
                "mend",
            ),
        ],
    );
}

#[test]
fn a_table_that_forgets_nothing_and_is_slow() {
    let cloud = healthy();
    cloud
        .answer("dynamodb DescribeTable", "", table("PROVISIONED"))
        .answer("dynamodb DescribeTimeToLive", "", expiry("DISABLED"))
        .answer("monitoring DescribeAlarms", "", alarms("ALARM"));
    has(
        &cloud,
        &[
            (
                "warn",
                "table",
                "provisioned capacity",
                "--billing-mode PAY_PER_REQUEST",
            ),
            (
                "warn",
                "table",
                "items do not expire",
                "update-time-to-live",
            ),
            (
                "fail",
                "alarm",
                "AlarmRules since 2026-11-01T09",
                "see AlarmRules",
            ),
        ],
    );
}

#[test]
fn alarms_without_data_are_one_line() {
    let cloud = healthy();
    cloud.answer("monitoring DescribeAlarms", "", alarms("INSUFFICIENT_DATA"));
    let what = "1 alarm with too little data: AlarmRules";
    has(&cloud, &[("warn", "alarm", what, "first minutes")]);
    let none = Answer::xml("DescribeAlarms", "<MetricAlarms/>");
    cloud.answer("monitoring DescribeAlarms", "", none);
    has(
        &cloud,
        &[
            (
                "fail",
                "alarm",
                "AlarmNoData does not exist",
                "deploy the stack again",
            ),
            (
                "fail",
                "alarm",
                "AlarmRules does not exist",
                "deploy the stack again",
            ),
        ],
    );
}

#[test]
fn files_that_never_arrive() {
    let cloud = healthy();
    let nothing = json!({"Responses": {"secretrail-Table-1": []}, "UnprocessedKeys": {}});
    let old =
        json!({"Item": {"pk": {"S": "last-object"}, "sk": {"S": "-"}, "at": {"N": "1772445600"}}});
    cloud
        .answer("dynamodb BatchGetItem", "object#", Answer::json(&nothing))
        .answer("dynamodb GetItem", "last-object", Answer::json(&old));
    has(
        &cloud,
        &[
            (
                "fail",
                "last file",
                "at 2026-03-02T10:00:00Z",
                "get-trail-status",
            ),
            (
                "fail",
                "last file",
                "111122223333 eu-west-1 at",
                "announce missed files again",
            ),
        ],
    );
    // Delivered a moment ago, it is on its way.
    cloud
        .answer("s3 HEAD /trail-logs/AWSLogs", "", head(1))
        .answer("dynamodb GetItem", "last-object", Answer::json(&json!({})));
    has(
        &cloud,
        &[(
            "warn",
            "last file",
            "has not read any file",
            "first minutes",
        )],
    );
}
