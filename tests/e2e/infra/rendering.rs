//! Templates, rendered as a deployment would render them, and the set-ups that are rendered.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    process::{Command, Stdio},
};

use e2e::local;
use serde_json::{Map, Value, json};

use super::root;

/// What each set of parameters makes of a template: `refused`, or `resources` and `outputs`.
pub(crate) fn rendered(template: &str, sets: &[Value]) -> Vec<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/support/cloudformation.py");
    let mut python = Command::new(local::yaml())
        .arg(script)
        .arg(root().join("infra").join(template))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let sets = serde_json::to_vec(sets).unwrap();
    python.stdin.take().unwrap().write_all(&sets).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{template}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The names of the parameters of a template.
pub(crate) fn parameters(template: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("infra").join(template)).unwrap();
    let (_, rest) = text.split_once("\nParameters:\n").unwrap();
    let lines = rest
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with([' ', '#']));
    lines
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
        .filter(|name| !name.starts_with(' '))
        .map(str::to_owned)
        .collect()
}

/// A property of a rendered resource.
pub(crate) fn property<'a>(rendered: &'a Value, resource: &str, name: &str) -> &'a Value {
    &rendered["resources"][resource]["Properties"][name]
}

/// The statements of a policy document by their `Sid`, in plain form.
pub(crate) fn statements(document: &Value) -> BTreeMap<String, Value> {
    let all = document["Statement"].as_array().unwrap();
    let named = all.iter().map(|statement| {
        let sid = statement["Sid"].as_str().unwrap().to_owned();
        (sid, plain(statement))
    });
    let by_sid: BTreeMap<String, Value> = named.collect();
    assert_eq!(by_sid.len(), all.len(), "a Sid is there twice: {document}");
    by_sid
}

/// The statements of the first policy of a rendered role.
pub(crate) fn of_role(rendered: &Value, role: &str) -> BTreeMap<String, Value> {
    statements(&property(rendered, role, "Policies")[0]["PolicyDocument"])
}

/// A value without what makes no difference in a policy: the order of texts, what is there twice,
/// a list around one text, and what CloudFormation writes where a list has ended.
pub(crate) fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| (name.clone(), plain(value)));
            Value::Object(fields.collect::<Map<String, Value>>())
        }
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_string) => {
            let texts: BTreeSet<&str> = items.iter().filter_map(Value::as_str).collect();
            let own = texts.iter().filter(|text| is_own_topic(text)).count();
            let kept = texts.iter().copied().filter(|text| {
                let is_end = is_own_topic(text) && own < texts.len();
                !is_end && !text.starts_with("arn:aws:s3:::-")
            });
            match kept.collect::<Vec<&str>>().as_slice() {
                [one] => json!(one),
                more => json!(more),
            }
        }
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        other => other.clone(),
    }
}

fn is_own_topic(text: &str) -> bool {
    text.contains(":sns:") && text.contains(":secretrail-alerts")
}

const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/";

/// Set-ups of organisations: together, every parameter has a value that is not its default.
pub(crate) fn setups() -> Vec<(&'static str, Value)> {
    vec![
        (
            "the smallest",
            json!({"TrailBucket": "logs", "AlertEmail": "security@example.com"}),
        ),
        (
            "several buckets, with keys, digests, and one of another account",
            json!({
                "TrailBucket": "logs",
                "TrailPrefix": "o-example/",
                "MoreTrailBuckets": "logs-two,logs-three",
                "TrailKeyArn": format!("{KEY}trail-1,{KEY}trail-2"),
                "Digests": "true",
                "TrailAccount": "444455556666",
                "AlarmEmail": "platform@example.com",
                "OwnSubscriptions": "true",
            }),
        ),
        (
            "a topic of another account and region",
            json!({
                "TrailBucket": "logs",
                "Trigger": "SNS",
                "TriggerTopicArn": "arn:aws:sns:us-east-1:444455556666:trail",
                "AlertEmail": "security@example.com",
                "AlertMinLevel": "high",
                "EmailsPerMinute": "9",
            }),
        ),
        (
            "an own queue and topics of other names and accounts, with keys",
            json!({
                "TrailBucket": "logs",
                "Trigger": "Queue",
                "TriggerQueueArn": "arn:aws:sqs:eu-west-1:111122223333:new-logs",
                "TriggerQueueKeyArn": format!("{KEY}queue"),
                "AlertFifo": "true",
                "AlarmEmail": "platform@example.com",
                "MoreTopics": "arn:aws:sns:eu-west-1:444455556666:chat?format=chat&min-level=high \
                    arn:aws:sns:eu-west-1:111122223333:siem",
                "MoreTopicKeyArns": format!("{KEY}chat,{KEY}siem"),
                "SecurityHub": "true",
            }),
        ),
        (
            "own rules with their key",
            json!({
                "TrailBucket": "logs",
                "AlertEmail": "security@example.com",
                "RulesBucket": "config",
                "RulesPrefix": "rules/",
                "PolicyKey": "access-policy.yaml",
                "Strict": "true",
                "VarsKey": "vars.yaml",
                "NetworksPrefix": "networks/",
                "RulesKeyArn": format!("{KEY}rules"),
            }),
        ),
        (
            "the state of an earlier deployment",
            json!({
                "TrailBucket": "logs",
                "AlertEmail": "security@example.com",
                "ExistingTable": "secretrail-Table-1",
                "ExistingTableKeyArn": format!("{KEY}table"),
            }),
        ),
        (
            "private subnets, a boundary, one key and other numbers",
            json!({
                "TrailBucket": "logs",
                "AlertEmail": "security@example.com",
                "TableDeletionProtection": "true",
                "SubnetIds": "subnet-0a,subnet-0b",
                "SecurityGroupIds": "sg-0c",
                "PermissionsBoundaryArn": "arn:aws:iam::111122223333:policy/boundary",
                "KeyArn": format!("{KEY}own"),
                "Architecture": "arm64",
                "MemorySize": "1024",
                "MaxConcurrency": "20",
                "BatchWindowSeconds": "30",
                "AllowedLateness": "30m",
                "Lookback": "60d",
                "WarmUp": "14d",
                "LogRetentionDays": "365",
                "QuietMinutes": "120",
                "ExposureHours": "48",
            }),
        ),
    ]
}

/// Set-ups of a backfill.
pub(crate) fn backfills() -> Vec<(&'static str, Value)> {
    vec![
        (
            "the smallest",
            json!({"LogsBucket": "logs", "JobBucket": "jobs"}),
        ),
        (
            "everything",
            json!({
                "LogsBucket": "logs",
                "LogsPrefix": "o-example/",
                "LogsKeyArn": format!("{KEY}trail-1,{KEY}trail-2"),
                "JobBucket": "jobs",
                "JobPrefix": "backfill/",
                "JobKeyArn": format!("{KEY}jobs"),
                "SubnetIds": "subnet-0a,subnet-0b",
                "SecurityGroupIds": "sg-0c",
                "PermissionsBoundaryArn": "arn:aws:iam::111122223333:policy/boundary",
                "Architecture": "arm64",
                "MemorySize": "2048",
                "MaxConcurrency": "50",
                "ToleratedFailurePercentage": "1",
                "LogRetentionDays": "365",
            }),
        ),
    ]
}

/// Set-ups of what forwards events.
pub(crate) fn forwards() -> Vec<(&'static str, Value)> {
    let bus = "arn:aws:events:eu-west-1:111122223333:event-bus/default";
    vec![
        (
            "the smallest",
            json!({"TrailBucket": "logs", "BusArn": bus}),
        ),
        (
            "everything",
            json!({
                "TrailBucket": "logs",
                "TrailPrefix": "o-example/",
                "Digests": "true",
                "BusArn": bus,
                "PermissionsBoundaryArn": "arn:aws:iam::444455556666:policy/boundary",
            }),
        ),
    ]
}

/// Parameters that are refused, and the beginning of why: each for one reason alone.
pub(crate) fn refusals() -> Vec<(Value, &'static str)> {
    let topic = "arn:aws:sns:eu-west-1:111122223333:t";
    let queue = "arn:aws:sqs:eu-west-1:111122223333:q";
    let too_many = [topic; 11].join(" ");
    let rows = [
        (json!({"Trigger": "SNS"}), "The trigger SNS requires"),
        (
            json!({"TriggerTopicArn": topic}),
            "TriggerTopicArn is used only",
        ),
        (json!({"Trigger": "Queue"}), "The trigger Queue requires"),
        (
            json!({"TriggerQueueArn": queue}),
            "TriggerQueueArn is used only",
        ),
        (
            json!({"TriggerQueueKeyArn": format!("{KEY}k")}),
            "TriggerQueueKeyArn is used only",
        ),
        (
            json!({"Trigger": "SNS", "TriggerTopicArn": topic, "TrailAccount": "444455556666"}),
            "TrailAccount is used only",
        ),
        (
            json!({"AlertEmail": "", "AlarmEmail": "platform@example.com"}),
            "Alerts would reach nobody",
        ),
        (
            json!({"AlertEmail": "", "MoreTopics": topic}),
            "Alarms would reach nobody",
        ),
        (
            json!({"AlertFifo": "true"}),
            "A FIFO topic cannot send e-mail",
        ),
        (
            json!({"AlertEmail": "", "OwnSubscriptions": "true", "AlertMinLevel": "low"}),
            "AlertMinLevel is used only",
        ),
        (
            json!({"AlertEmail": "", "OwnSubscriptions": "true", "EmailsPerMinute": "6"}),
            "EmailsPerMinute is used only",
        ),
        (
            json!({"MoreTopicKeyArns": format!("{KEY}k")}),
            "MoreTopicKeyArns is used only",
        ),
        (
            json!({"RulesPrefix": "rules/"}),
            "RulesPrefix requires RulesBucket",
        ),
        (
            json!({"PolicyKey": "policy.yaml"}),
            "PolicyKey requires RulesBucket",
        ),
        (
            json!({"NetworksPrefix": "networks/"}),
            "NetworksPrefix requires RulesBucket",
        ),
        (
            json!({"RulesKeyArn": format!("{KEY}k")}),
            "RulesKeyArn requires RulesBucket",
        ),
        (
            json!({"RulesBucket": "config"}),
            "Nothing is read from RulesBucket",
        ),
        (
            json!({"RulesBucket": "config", "PolicyKey": "policy.yaml", "VarsKey": "vars.yaml"}),
            "VarsKey requires RulesPrefix",
        ),
        (
            json!({"RulesBucket": "config", "RulesPrefix": "rules/", "Strict": "true"}),
            "Strict requires PolicyKey",
        ),
        (
            json!({"ExistingTableKeyArn": format!("{KEY}k")}),
            "ExistingTableKeyArn is used only",
        ),
        (
            json!({"ExistingTable": "old", "TableDeletionProtection": "true"}),
            "TableDeletionProtection is for the table of this stack",
        ),
        (json!({"SubnetIds": "subnet-0a"}), "SubnetIds requires"),
        (
            json!({"SecurityGroupIds": "sg-0a"}),
            "SecurityGroupIds requires",
        ),
        // Constraints: what would be allowed or read, and is not what was meant.
        (json!({"TrailBucket": "s3://logs"}), "TrailBucket: "),
        (json!({"TrailPrefix": "o-example"}), "TrailPrefix: "),
        (json!({"TrailPrefix": "*/"}), "TrailPrefix: "),
        (
            json!({"MoreTrailBuckets": "two, three"}),
            "MoreTrailBuckets: ",
        ),
        (
            json!({"MoreTrailBuckets": "two,three,four,five,six,seven"}),
            "MoreTrailBuckets: ",
        ),
        (
            json!({"TrailKeyArn": "arn:aws:kms:eu-west-1:111122223333:alias/trail"}),
            "TrailKeyArn: ",
        ),
        (json!({"KeyArn": "alias/own"}), "KeyArn: "),
        (
            json!({"MoreTopics": format!("{topic}?format=chat,{topic}")}),
            "MoreTopics: ",
        ),
        (
            json!({"MoreTopics": "arn:aws:sns:eu-west-1:111122223333:t:0f"}),
            "MoreTopics: ",
        ),
        (json!({"MoreTopics": too_many}), "MoreTopics: "),
        (
            json!({"RulesBucket": "config", "PolicyKey": "policies/"}),
            "PolicyKey: ",
        ),
        (
            json!({"AllowedLateness": "fifteen minutes"}),
            "AllowedLateness: ",
        ),
        (json!({"Architecture": "aarch64"}), "Architecture: "),
        (
            json!({"PermissionsBoundaryArn": "arn:aws:iam::111122223333:role/boundary"}),
            "PermissionsBoundaryArn: ",
        ),
    ];
    let usual = json!({"TrailBucket": "logs", "AlertEmail": "security@example.com"});
    rows.into_iter()
        .map(|(wrong, why)| (with(&usual, &wrong), why))
        .collect()
}

/// One set of parameters over another.
pub(crate) fn with(usual: &Value, more: &Value) -> Value {
    let mut all = usual.as_object().unwrap().clone();
    all.extend(more.as_object().unwrap().clone());
    Value::Object(all)
}
