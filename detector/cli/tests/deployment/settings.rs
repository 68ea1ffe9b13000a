//! `doctor` on what people configure: rules in S3, keys, stacks, permissions.

use serde_json::{Value, json};

use crate::{
    doctor::{has, report},
    healthy::{function, healthy, listing, stack, version},
    stand_in::{Answer, Cloud, output},
};

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
