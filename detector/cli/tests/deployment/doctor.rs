//! `doctor` on a healthy deployment and on broken ones: each names its fault and the remedy.

use serde_json::{Value, json};

use crate::{
    healthy::{
        ALERTS, DEAD, alarms, expiry, function, head, healthy, ledger, listing, mapping, metric,
        queue, rule, stack, subscriptions, table, version,
    },
    stand_in::{Answer, Cloud, output},
};

/// Exit code, and the lines that are not ok: verdict, part, what, remedy.
fn report(cloud: &Cloud) -> (i32, Vec<[String; 4]>) {
    let (code, stdout, stderr) = cloud.run("doctor -f jsonl -q");
    let lines = stdout.lines().map(|line| {
        let value: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(value["schema"], "secretrail.doctor/1");
        assert_eq!(value["stack"], "secretrail");
        ["verdict", "part", "what", "remedy"]
            .map(|name| value[name].as_str().unwrap_or_default().to_owned())
    });
    let lines: Vec<[String; 4]> = lines.collect();
    assert!(!lines.is_empty(), "{stderr}");
    let bad = lines.into_iter().filter(|[verdict, ..]| verdict != "ok");
    (code, bad.collect())
}

/// A broken deployment has these lines beside those of a healthy one, with these words.
fn has(cloud: &Cloud, expected: &[(&str, &str, &str, &str)]) {
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

#[test]
fn rules_in_s3_that_the_function_has_not_loaded() {
    let cloud = healthy();
    let in_s3 = function(|found| {
        let variables = &mut found["Environment"]["Variables"];
        variables["SECRETRAIL_RULES"] = json!("s3://rules/own/");
        variables["SECRETRAIL_POLICY"] = json!("s3://rules/policy.yaml");
    });
    let kept = json!({"version": "own/a.yml=e1", "rules": [["own/a.yml", OWN]], "policy": null,
        "vars": null, "networks": []});
    let kept = secretrail_engine::state::item_v1::squeezed(kept.to_string().as_bytes());
    let kept = base64(&kept);
    let item =
        json!({"Item": {"pk": {"S": "kept#rules"}, "sk": {"S": "-"}, "content": {"B": kept}}});
    cloud
        .answer("lambda GET /2015-03-31/functions/", "", in_s3)
        .answer(
            "s3 GET /rules/?",
            "own",
            listing(&[], &["own/a.yml", "own/b.yml", "own/readme"]),
        )
        .answer(
            "s3 GET /rules/?",
            "policy.yaml",
            listing(&[], &["policy.yaml.old"]),
        )
        .answer("dynamodb GetItem", "kept#rules", Answer::json(&item));
    let (code, lines) = report(&cloud);
    let found: Vec<String> = lines.iter().map(|line| line.join("|")).collect();
    assert_eq!((code, found.len()), (1, 2), "{found:#?}");
    assert!(found[0].starts_with("fail|policy|s3://rules/policy.yaml does not exist|upload it"));
    assert!(
        found[1].starts_with("warn|rules|the function has not loaded own/b.yml=e1|changes are")
    );
    // As they were loaded, all of them: nothing to report.
    cloud
        .answer("s3 GET /rules/?", "own", listing(&[], &["own/a.yml"]))
        .answer(
            "lambda GET /2015-03-31/functions/",
            "",
            function(|found| {
                found["Environment"]["Variables"]["SECRETRAIL_RULES"] = json!("s3://rules/own/");
            }),
        );
    assert_eq!(report(&cloud), (0, Vec::new()));
}

const OWN: &str = "title: Mine\nid: own-1\nlevel: low\n\
    logsource: {product: aws, category: secret_access}\n\
    detection:\n  direct:\n    access.method: direct_decrypt\n  condition: direct\n";

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn keys_that_do_not_work() {
    let cloud = healthy();
    let (trail, own) = (
        "arn:aws:kms:eu-central-1:444455556666:key/trail",
        "arn:aws:kms:eu-west-1:111122223333:key/own",
    );
    let parameters = [("TrailKeyArn", trail), ("KeyArn", own)];
    let policy = |statements: Value| {
        Answer::json(&json!({"Policy": json!({"Statement": statements}).to_string()}))
    };
    let described = |arn: &str, state: &str| {
        Answer::json(&json!({"KeyMetadata": {"Arn": arn, "KeyState": state}}))
    };
    let elsewhere = json!([{"Effect": "Allow", "Action": "kms:*",
        "Principal": {"AWS": "arn:aws:iam::444455556666:root"}}]);
    let here = json!([
        {"Effect": "Allow", "Action": "kms:*", "Resource": "*",
         "Principal": {"AWS": "arn:aws:iam::111122223333:root"}},
        {"Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
         "Principal": {"Service": ["cloudwatch.amazonaws.com", "logs.eu-west-1.amazonaws.com"]}},
    ]);
    cloud
        .answer(
            "cloudformation DescribeStacks",
            "",
            stack(&parameters, version()),
        )
        .answer(
            "kms DescribeKey",
            "trail",
            described(trail, "PendingDeletion"),
        )
        .answer("kms GetKeyPolicy", "trail", policy(elsewhere))
        .answer("kms DescribeKey", "own", described(own, "Enabled"))
        .answer("kms GetKeyPolicy", "own", policy(here));
    has(
        &cloud,
        &[
            ("fail", "key", "will be deleted", "cancel-key-deletion"),
            (
                "fail",
                "key",
                "does not let the role secretrail-Role-1 decrypt",
                "allow kms:Decrypt",
            ),
            (
                "fail",
                "key",
                "does not admit events.amazonaws.com",
                "kms:GenerateDataKey*",
            ),
        ],
    );
    // Each key is asked in its own region.
    let regions: Vec<String> = cloud
        .asked("kms DescribeKey")
        .iter()
        .map(|request| request.scope(1).to_owned())
        .collect();
    assert_eq!(regions, ["eu-central-1", "eu-west-1"]);
}

#[test]
fn a_stack_of_another_version_or_in_trouble() {
    let cloud = healthy();
    cloud.answer("cloudformation DescribeStacks", "", stack(&[], "0.0.9"));
    let what = "template version 0.0.9, and this command is";
    has(&cloud, &[("warn", "stack", what, "one version")]);
    let Answer(_, text) = stack(&[], version());
    let text = text.replace("CREATE_COMPLETE", "UPDATE_ROLLBACK_FAILED");
    cloud.answer("cloudformation DescribeStacks", "", Answer(200, text));
    has(
        &cloud,
        &[("fail", "stack", "is UPDATE_ROLLBACK_FAILED", "deploy again")],
    );
}

#[test]
fn what_may_not_be_looked_at_is_named_with_its_permission() {
    let cloud = healthy();
    let denied = Answer::json_error(400, "AccessDeniedException", "User: x is not authorized");
    let xml = Answer::xml_error(
        403,
        "AccessDenied",
        "User: x is not authorized to perform: it",
    );
    let Answer(_, s3) = Answer::xml_error(403, "AccessDenied", "no");
    let s3 = s3
        .replace("<ErrorResponse>", "")
        .replace("</ErrorResponse>", "");
    for service in ["dynamodb", "sqs", "events", "lambda"] {
        cloud.answer(service, "", denied.clone());
    }
    for service in ["sns", "monitoring"] {
        cloud.answer(service, "", xml.clone());
    }
    cloud.answer("s3", "", Answer(403, s3));
    let (code, lines) = report(&cloud);
    assert_eq!(code, 0, "{lines:#?}");
    let text = lines
        .iter()
        .map(|line| line.join(" "))
        .collect::<Vec<_>>()
        .join("\n");
    for action in [
        "lambda:GetFunctionConfiguration",
        "lambda:GetEventSourceMapping",
        "s3:GetBucketNotification",
        "events:DescribeRule",
        "sqs:GetQueueAttributes",
        "dynamodb:DescribeTable",
        "dynamodb:Query",
        "s3:ListBucket",
    ] {
        assert!(
            text.contains(&format!("allow {action} in your policy")),
            "{action}: {text}"
        );
    }
}

#[test]
fn without_a_stack_there_is_nothing_to_check() {
    let cloud = Cloud::new();
    let gone = Answer::xml_error(400, "ValidationError", "Stack with id other does not exist");
    cloud
        .answer("cloudformation DescribeStacks", "", stack(&[], version()))
        .answer("cloudformation DescribeStacks", "StackName=other", gone);
    let (code, stdout, stderr) = cloud.run("doctor --stack other --region eu-west-1");
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert_eq!(
        stderr,
        "secretrail: there is no stack `other` in eu-west-1; use --stack and --aws-region; \
         there is: secretrail\n"
    );
    let none = Answer::xml("ListStackResources", "<StackResourceSummaries/>");
    cloud.answer("cloudformation ListStackResources", "", none);
    let (code, _, stderr) = cloud.run("doctor");
    assert!(
        code == 2 && stderr.contains("is no stack of infra/template.yaml"),
        "{stderr}"
    );
    let mut command = cloud.secretrail("doctor");
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY");
    let (code, _, stderr) = output(&mut command);
    assert!(code == 2 && stderr.contains("credentials"), "{stderr}");
    let mut command = cloud.secretrail("doctor");
    command.env_remove("AWS_REGION");
    let (code, _, stderr) = output(&mut command);
    assert!(code == 2 && stderr.contains("use --aws-region"), "{stderr}");
}
