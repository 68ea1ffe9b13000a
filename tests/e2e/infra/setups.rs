//! The set-ups of organisations, rendered: what is made, what is allowed, and what is refused.

use serde_json::{Value, json};

use super::{
    rendering::{
        backfills, forwards, of_role, parameters, plain, property, refusals, rendered, setups, with,
    },
    root,
};

const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/";

/// Renders set-ups, none of which may be refused.
fn made(template: &str, setups: Vec<(&'static str, Value)>) -> Vec<(&'static str, Value)> {
    let (names, sets): (Vec<_>, Vec<_>) = setups.into_iter().unzip();
    let all = rendered(template, &sets);
    for (name, one) in names.iter().zip(&all) {
        assert_eq!(one["refused"], Value::Null, "{name}");
    }
    names.into_iter().zip(all).collect()
}

/// Other values of parameters that cannot be left out of their set-ups.
const OTHERS: [(&str, &str); 14] = [
    ("TrailBucket", "other"),
    (
        "TriggerTopicArn",
        "arn:aws:sns:eu-west-1:111122223333:other",
    ),
    (
        "TriggerQueueArn",
        "arn:aws:sqs:eu-west-1:111122223333:other",
    ),
    ("AlertEmail", "other@example.com"),
    ("MoreTopics", "arn:aws:sns:eu-west-1:111122223333:other"),
    ("RulesBucket", "other"),
    ("RulesPrefix", "other/"),
    ("PolicyKey", "other.yaml"),
    ("ExistingTable", "other"),
    ("SubnetIds", "subnet-0f"),
    ("SecurityGroupIds", "sg-0f"),
    ("LogsBucket", "other"),
    ("JobBucket", "other"),
    (
        "BusArn",
        "arn:aws:events:eu-west-1:111122223333:event-bus/other",
    ),
];

/// Parameters that decide what is refused: the first of them nothing else, and of the second, other
/// tests compare what each value makes.
const DECIDING: [&str; 2] = ["OwnSubscriptions", "Trigger"];

#[test]
fn every_parameter_changes_what_is_made() {
    for (template, setups) in [
        ("template.yaml", setups()),
        ("backfill.yaml", backfills()),
        ("forward.yaml", forwards()),
    ] {
        let mut sets = Vec::new();
        let names = parameters(template);
        for name in &names {
            let mut having = setups.iter().map(|(_, set)| set);
            let set = having.find(|set| set[name].is_string());
            let set = set.unwrap_or_else(|| panic!("no set-up of {template} has {name}"));
            let mut changed = set.as_object().unwrap().clone();
            match OTHERS.iter().find(|(other, _)| other == name) {
                Some((_, value)) => changed.insert(name.clone(), json!(value)),
                None => changed.remove(name),
            };
            sets.extend([set.clone(), Value::Object(changed)]);
        }
        let all = rendered(template, &sets);
        for (name, pair) in names.iter().zip(all.chunks(2)) {
            assert_eq!(pair[0]["refused"], Value::Null, "{name}");
            let is_refused = !pair[1]["refused"].is_null();
            assert_eq!(is_refused, DECIDING.contains(&name.as_str()), "{name}");
            assert_ne!(pair[0], pair[1], "{template} ignores {name}");
        }
    }
}

#[test]
fn what_would_be_ignored_is_refused() {
    let rows = refusals();
    let sets: Vec<Value> = rows.iter().map(|(set, _)| set.clone()).collect();
    let mut hit = std::collections::BTreeSet::new();
    for ((set, why), found) in rows.iter().zip(rendered("template.yaml", &sets)) {
        let reasons = found["refused"]
            .as_array()
            .unwrap_or_else(|| panic!("accepted: {set}"));
        let first = reasons[0].as_str().unwrap();
        assert!(
            reasons.len() == 1 && first.starts_with(why),
            "{set}: {why}: {reasons:?}"
        );
        hit.insert(first.to_owned());
    }
    // No assertion is without such a row. A value of `VarsKey` needs a bucket and a prefix: without
    // both, it is refused for two reasons.
    let both =
        json!({"TrailBucket": "logs", "AlertEmail": "a@example.com", "VarsKey": "vars.yaml"});
    let found = rendered("template.yaml", &[both]);
    let reasons = found[0]["refused"].as_array().unwrap();
    hit.extend(
        reasons
            .iter()
            .map(|reason| reason.as_str().unwrap().to_owned()),
    );
    let text = std::fs::read_to_string(root().join("infra/template.yaml")).unwrap();
    let asserted = text.matches("AssertDescription:").count();
    let by_assertion = hit.iter().filter(|reason| !reason.contains(": ")).count();
    assert_eq!(by_assertion, asserted, "{hit:#?}");

    let twice = json!({"LogsBucket": "logs", "JobBucket": "logs"});
    let subnets = json!({"LogsBucket": "logs", "JobBucket": "jobs", "SubnetIds": "subnet-0a"});
    let groups = json!({"LogsBucket": "logs", "JobBucket": "jobs", "SecurityGroupIds": "sg-0a"});
    for found in rendered("backfill.yaml", &[twice, subnets, groups]) {
        assert_eq!(
            found["refused"].as_array().map(Vec::len),
            Some(1),
            "{found}"
        );
    }
}

/// A statement of the function's role that a set-up needs, and where AWS says so.
struct Needed {
    setup: &'static str,
    sid: &'static str,
    actions: Value,
    resources: Value,
    condition: Value,
}

impl Needed {
    fn new(setup: &'static str, sid: &'static str, actions: Value, resources: Value) -> Self {
        Self {
            setup,
            sid,
            actions,
            resources,
            condition: Value::Null,
        }
    }

    fn on(self, condition: Value) -> Self {
        Self { condition, ..self }
    }
}

/// The list of what the statements were checked against (November 2026).
fn needed() -> Vec<Needed> {
    let buckets = "several buckets, with keys, digests, and one of another account";
    let queue = "an own queue and topics of other names and accounts, with keys";
    let subnets = "private subnets, a boundary, one key and other numbers";
    let interfaces = json!([
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
    ]);
    let of_function = "arn:aws:lambda:eu-west-1:111122223333:function:secretrail-detector";
    let through = |service: &str| json!({"StringEquals": {"kms:ViaService": service}});
    let through_s3 = || json!({"StringLike": {"kms:ViaService": "s3.*.amazonaws.com"}});
    vec![
        // Amazon S3 API Reference, GetObject, Permissions: with a versionId in the request,
        // s3:GetObjectVersion.
        Needed::new(
            buckets,
            "ReadFiles",
            json!(["s3:GetObject", "s3:GetObjectVersion"]),
            json!([
                "arn:aws:s3:::logs/o-example/AWSLogs/*/CloudTrail-Digest/*",
                "arn:aws:s3:::logs/o-example/AWSLogs/*/CloudTrail/*",
            ]),
        ),
        // The same: 404 for a missing key with s3:ListBucket, 403 without. The condition s3:prefix
        // is compared with the key.
        Needed::new(
            buckets,
            "ListFiles",
            json!("s3:ListBucket"),
            json!("arn:aws:s3:::logs"),
        )
        .on(json!({"StringLike": {"s3:prefix": "o-example/AWSLogs/*"}})),
        Needed::new(
            buckets,
            "ReadMoreFiles",
            json!(["s3:GetObject", "s3:GetObjectVersion"]),
            json!([
                "arn:aws:s3:::logs-three/*AWSLogs/*/CloudTrail/*",
                "arn:aws:s3:::logs-two/*AWSLogs/*/CloudTrail/*",
            ]),
        ),
        Needed::new(
            buckets,
            "ReadMoreDigests",
            json!(["s3:GetObject", "s3:GetObjectVersion"]),
            json!([
                "arn:aws:s3:::logs-three/*AWSLogs/*/CloudTrail-Digest/*",
                "arn:aws:s3:::logs-two/*AWSLogs/*/CloudTrail-Digest/*",
            ]),
        ),
        Needed::new(
            buckets,
            "ListMoreFiles",
            json!("s3:ListBucket"),
            json!(["arn:aws:s3:::logs-three", "arn:aws:s3:::logs-two"]),
        )
        .on(json!({"StringLike": {"s3:prefix": "*AWSLogs/*"}})),
        // AWS CloudTrail User Guide, "Granting decrypt permissions": kms:Decrypt for whoever reads.
        Needed::new(
            buckets,
            "DecryptFiles",
            json!("kms:Decrypt"),
            json!([format!("{KEY}trail-1"), format!("{KEY}trail-2")]),
        )
        .on(through_s3()),
        // AWS Lambda Developer Guide, "Using Lambda with Amazon SQS", permissions of the role: the
        // three actions on the queue, and kms:Decrypt for a queue with a customer managed key.
        Needed::new(
            queue,
            "ReadQueue",
            json!([
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:ReceiveMessage"
            ]),
            json!("arn:aws:sqs:eu-west-1:111122223333:new-logs"),
        ),
        Needed::new(
            queue,
            "DecryptQueue",
            json!("kms:Decrypt"),
            json!(format!("{KEY}queue")),
        )
        .on(through("sqs.eu-west-1.amazonaws.com")),
        // Amazon SNS Developer Guide, "Key management": a publisher to an encrypted topic needs
        // kms:GenerateDataKey and kms:Decrypt.
        Needed::new(
            queue,
            "PublishMore",
            json!("sns:Publish"),
            json!([
                "arn:aws:sns:eu-west-1:111122223333:siem",
                "arn:aws:sns:eu-west-1:444455556666:chat",
            ]),
        ),
        Needed::new(
            queue,
            "EncryptForTopics",
            json!(["kms:Decrypt", "kms:GenerateDataKey"]),
            json!([format!("{KEY}chat"), format!("{KEY}siem")]),
        )
        .on(through("sns.eu-west-1.amazonaws.com")),
        // Service Authorization Reference, "Actions, resources, and condition keys for AWS Security
        // Hub": the resource is the product.
        Needed::new(
            queue,
            "ImportFindings",
            json!("securityhub:BatchImportFindings"),
            json!("arn:aws:securityhub:eu-west-1:111122223333:product/111122223333/default"),
        ),
        // Amazon S3 User Guide, "Using server-side encryption with AWS KMS keys": kms:Decrypt to
        // read.
        Needed::new(
            "own rules with their key",
            "DecryptRules",
            json!("kms:Decrypt"),
            json!(format!("{KEY}rules")),
        )
        .on(through_s3()),
        Needed::new(
            "own rules with their key",
            "ListRules",
            json!("s3:ListBucket"),
            json!("arn:aws:s3:::config"),
        )
        .on(json!({"StringLike": {"s3:prefix":
            ["access-policy.yaml", "networks/*", "rules/*", "vars.yaml"]}})),
        // Amazon DynamoDB Developer Guide, "How DynamoDB uses AWS KMS": a customer managed key must
        // allow those who use the table, through DynamoDB.
        Needed::new(
            "the state of an earlier deployment",
            "UseTableKey",
            json!([
                "kms:Decrypt",
                "kms:DescribeKey",
                "kms:Encrypt",
                "kms:GenerateDataKey"
            ]),
            json!(format!("{KEY}table")),
        )
        .on(through("dynamodb.eu-west-1.amazonaws.com")),
        Needed::new(
            "the state of an earlier deployment",
            "KeepState",
            json!([
                "dynamodb:BatchGetItem",
                "dynamodb:BatchWriteItem",
                "dynamodb:DeleteItem",
                "dynamodb:PutItem",
                "dynamodb:Query",
            ]),
            json!("arn:aws:dynamodb:eu-west-1:111122223333:table/secretrail-Table-1"),
        ),
        // The managed policy AWSLambdaVPCAccessExecutionRole: the actions. AWS Lambda Developer
        // Guide, "Using source function ARN to control function access behavior": calls of the
        // function's code have the key, and those by which Lambda makes interfaces do not.
        Needed::new(subnets, "JoinSubnets", interfaces.clone(), json!("*")),
        Needed::new(subnets, "NotByTheCode", interfaces, json!("*"))
            .on(json!({"ArnEquals": {"lambda:SourceFunctionArn": of_function}})),
    ]
}

#[test]
fn set_ups_have_the_permissions_that_aws_documents() {
    let made = made("template.yaml", setups());
    for Needed {
        setup,
        sid,
        actions,
        resources,
        condition,
    } in needed()
    {
        let (_, found) = made.iter().find(|(name, _)| *name == setup).unwrap();
        let statement = of_role(found, "Role").remove(sid);
        let statement = statement.unwrap_or_else(|| panic!("no {sid} in {setup}"));
        let effect = if sid == "NotByTheCode" {
            "Deny"
        } else {
            "Allow"
        };
        assert_eq!(statement["Effect"], effect, "{sid}");
        assert_eq!(statement["Action"], actions, "{sid}");
        assert_eq!(statement["Resource"], resources, "{sid}");
        assert_eq!(statement["Condition"], condition, "{sid}");
    }
    // Every statement is in one of the set-ups, so that Terraform is compared with it.
    let text = std::fs::read_to_string(root().join("infra/template.yaml")).unwrap();
    let (_, role) = text.split_once("\n  Role:\n").unwrap();
    let (role, _) = role.split_once("\n  Detector:\n").unwrap();
    let all = role.lines().filter_map(|line| line.split_once("Sid: "));
    for (_, sid) in all {
        let found = made
            .iter()
            .any(|(_, one)| of_role(one, "Role").contains_key(sid));
        assert!(found, "no set-up has {sid}");
    }
    // What a set-up does not need, its role may not do.
    let (_, smallest) = &made[0];
    let sids: Vec<String> = of_role(smallest, "Role").into_keys().collect();
    assert_eq!(
        sids,
        [
            "KeepState",
            "ListFiles",
            "Publish",
            "ReadFiles",
            "ReadQueue",
            "WriteLog"
        ]
    );
}

#[test]
fn other_properties_follow_their_parameters() {
    let made = made("template.yaml", setups());
    let of = |setup: &str, resource: &str, name: &str| {
        let (_, found) = made.iter().find(|(known, _)| *known == setup).unwrap();
        property(found, resource, name).clone()
    };
    let buckets = "several buckets, with keys, digests, and one of another account";
    // Amazon EventBridge User Guide, "Permissions for event buses": an account may be confined to
    // events of a source and a type.
    let statement = of(buckets, "TrailEvents", "Statement");
    assert_eq!(
        statement["Principal"]["AWS"],
        "arn:aws:iam::444455556666:root"
    );
    assert_eq!(
        statement["Condition"]["ForAllValues:StringEquals"]["events:source"],
        "aws.s3"
    );
    assert_eq!(
        of(buckets, "AlarmsByEmail", "Endpoint"),
        "platform@example.com"
    );
    assert_eq!(of(buckets, "AlertsByEmail", "Endpoint"), Value::Null);
    let topic = "a topic of another account and region";
    // AWS CloudFormation, AWS::SNS::Subscription: Region is that of the topic.
    assert_eq!(of(topic, "Notifications", "Region"), "us-east-1");
    let policy = of(topic, "FilesPolicy", "PolicyDocument");
    assert_eq!(
        policy["Statement"][0]["Condition"]["ArnEquals"]["aws:SourceArn"],
        "arn:aws:sns:us-east-1:444455556666:trail"
    );
    assert_eq!(
        of(topic, "AlarmsByEmail", "Endpoint"),
        "security@example.com"
    );
    let variables = of(topic, "Detector", "Environment")["Variables"].clone();
    assert!(
        variables["SECRETRAIL_TOPICS"]
            .as_str()
            .unwrap()
            .contains("?deliver=incidents&digest-below=high&max-per-minute=9 "),
        "{variables}"
    );
    let subnets = "private subnets, a boundary, one key and other numbers";
    assert_eq!(
        of(subnets, "Detector", "VpcConfig"),
        json!({"SubnetIds": ["subnet-0a", "subnet-0b"], "SecurityGroupIds": ["sg-0c"]})
    );
    assert_eq!(
        of(subnets, "Role", "PermissionsBoundary"),
        "arn:aws:iam::111122223333:policy/boundary"
    );
    assert_eq!(of("the smallest", "Detector", "VpcConfig"), Value::Null);
    let state = "the state of an earlier deployment";
    assert_eq!(
        of(state, "Table", "BillingMode"),
        Value::Null,
        "no new table"
    );
    let variables = of(state, "Detector", "Environment")["Variables"].clone();
    assert_eq!(variables["SECRETRAIL_TABLE"], "secretrail-Table-1");
}

/// Whether a pattern of EventBridge with asterisks matches a key.
fn matches(pattern: &str, key: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = key.strip_prefix(parts.next().unwrap()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.split_once(*part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(*last)
}

/// Whether an event about a new object is sent.
fn is_sent(detail: &Value, bucket: &str, key: &str) -> bool {
    let either = detail["$or"].as_array().cloned();
    either
        .unwrap_or_else(|| vec![detail.clone()])
        .iter()
        .any(|one| {
            let names = one["bucket"]["name"].as_array().unwrap();
            let keys = one["object"]["key"].as_array().unwrap();
            names.iter().any(|name| name == bucket)
                && keys
                    .iter()
                    .any(|found| matches(found["wildcard"].as_str().unwrap(), key))
        })
}

#[test]
fn only_files_of_cloudtrail_are_sent() {
    let usual = json!({"TrailBucket": "logs", "AlertEmail": "security@example.com"});
    let more = json!({"MoreTrailBuckets": "two", "TrailPrefix": "p/"});
    let digests = json!({"Digests": "true"});
    let sets = [usual.clone(), with(&usual, &more), with(&usual, &digests)];
    let all = rendered("template.yaml", &sets);
    let detail = |index: usize| property(&all[index], "NewFiles", "EventPattern")["detail"].clone();
    let file = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/02/f.json.gz";
    let of_organization = "AWSLogs/o-example/111122223333/CloudTrail/eu-west-1/2026/f.json.gz";
    let digest = "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/03/02/d.json.gz";
    let others = [
        digest,
        "AWSLogs/111122223333/CloudTrail-Insight/eu-west-1/2026/03/02/i.json.gz",
        "AWSLogs/111122223333/Config/eu-west-1/2026/3/2/ConfigSnapshot/c.json.gz",
        "AWSLogs/111122223333/vpcflowlogs/eu-west-1/2026/03/02/v.log.gz",
        "other/AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/02/f.json.gz",
    ];
    assert!(is_sent(&detail(0), "logs", file) && is_sent(&detail(0), "logs", of_organization));
    assert!(!is_sent(&detail(0), "two", file));
    for other in others {
        assert!(!is_sent(&detail(0), "logs", other), "{other}");
    }
    assert!(is_sent(&detail(1), "logs", &format!("p/{file}")));
    assert!(!is_sent(&detail(1), "logs", file));
    assert!(is_sent(&detail(1), "two", file) && is_sent(&detail(1), "two", &format!("q/{file}")));
    assert!(!is_sent(&detail(1), "two", digest));
    assert!(is_sent(&detail(2), "logs", file) && is_sent(&detail(2), "logs", digest));
    assert!(!is_sent(&detail(2), "logs", others[1]));
    let forwarded = made("forward.yaml", forwards());
    let pattern = property(&forwarded[0].1, "NewFiles", "EventPattern");
    assert_eq!(pattern, property(&all[0], "NewFiles", "EventPattern"));
}

#[test]
fn the_largest_set_up_stays_within_the_quotas() {
    let bucket = |index: usize| format!("{}-{index}", "b".repeat(61));
    let key = |index: usize| format!("{KEY}11111111-2222-3333-4444-{index:012}");
    let listed = |count: usize, one: &dyn Fn(usize) -> String| {
        let all: Vec<String> = (0..count).map(one).collect();
        all.join(",")
    };
    let topic = "arn:aws:sns:eu-west-1:444455556666:security-alerts-of-one-team?format=chat";
    let topics = [topic; 10].join(" ");
    let largest = json!({
        "TrailBucket": bucket(9),
        "TrailPrefix": format!("{}/", "p".repeat(100)),
        "MoreTrailBuckets": listed(5, &bucket),
        "TrailKeyArn": listed(6, &key),
        "Digests": "true",
        "AlarmEmail": "platform@example.com",
        "MoreTopics": topics,
        "MoreTopicKeyArns": listed(6, &key),
        "ExistingTable": "t".repeat(100),
        "ExistingTableKeyArn": key(0),
        "SubnetIds": "subnet-0a",
        "SecurityGroupIds": "sg-0a",
        "KeyArn": key(0),
    });
    let (_, mut rules) = setups().swap_remove(4);
    rules
        .as_object_mut()
        .unwrap()
        .retain(|name, _| !["TrailBucket", "AlertEmail"].contains(&name.as_str()));
    let all = rendered("template.yaml", &[with(&largest, &rules)]);
    assert_eq!(all[0]["refused"], Value::Null);
    let size = |value: &Value| value.to_string().len();
    // IAM: 10,240 characters without white space for all inline policies of a role.
    let policy = &property(&all[0], "Role", "Policies")[0]["PolicyDocument"];
    assert!(size(policy) < 10_240, "{}", size(policy));
    // EventBridge: 2,048 characters for a pattern.
    let pattern = property(&all[0], "NewFiles", "EventPattern");
    assert!(size(pattern) < 2_048, "{}", size(pattern));
}

#[test]
fn what_is_kept_is_kept_and_what_failed_is_not() {
    let made = made("template.yaml", setups());
    let (_, largest) = made.last().unwrap();
    for name in ["Table", "Log"] {
        let resource = &largest["resources"][name];
        assert_eq!(resource["DeletionPolicy"], "RetainExceptOnCreate", "{name}");
        assert_eq!(resource["UpdateReplacePolicy"], "Retain", "{name}");
    }
    // The end of the stack's id: no name of a log that was kept is in the way.
    let name = property(largest, "Log", "LogGroupName").as_str().unwrap();
    assert_eq!(name, "/aws/lambda/secretrail-detector-0a1b2c3d4e5f");
    assert_eq!(largest["outputs"]["LogGroup"], name);
    // What is imported is what the template then finds.
    let set = json!({"TableDeletionProtection": "true", "KeyArn": format!("{KEY}own")});
    let imported = rendered("import.yaml", &[set, json!({})]);
    assert_eq!(
        imported[0]["resources"]["Table"],
        largest["resources"]["Table"]
    );
    let (_, smallest) = &made[0];
    assert_eq!(
        imported[1]["resources"]["Table"],
        smallest["resources"]["Table"]
    );
    assert_eq!(largest["outputs"]["Version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_backfill_may_list_what_it_reads_and_nothing_writes_to_logs() {
    let made = made("backfill.yaml", backfills());
    let (_, largest) = made.last().unwrap();
    let role = of_role(largest, "Role");
    assert_eq!(role["ListLogs"]["Resource"], "arn:aws:s3:::logs");
    let prefix = plain(&json!({"StringLike": {"s3:prefix": "o-example/*"}}));
    assert_eq!(role["ListLogs"]["Condition"], prefix);
    for (sid, statement) in role.iter().chain(&of_role(largest, "MachineRole")) {
        let writes = statement["Action"].to_string().contains("Put");
        let logs = statement["Resource"].to_string().contains(":::logs");
        assert!(!(writes && logs), "{sid}");
    }
    for role in ["Role", "MachineRole"] {
        assert_eq!(
            property(largest, role, "PermissionsBoundary"),
            "arn:aws:iam::111122223333:policy/boundary"
        );
    }
    let log = &largest["resources"]["Log"];
    assert_eq!(log["DeletionPolicy"], "RetainExceptOnCreate");
}
