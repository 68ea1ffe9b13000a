//! A deployment without faults, in the documented forms of each service: AWS API references of
//! CloudFormation, Lambda, Amazon S3, EventBridge, SQS, SNS, CloudWatch, DynamoDB and KMS.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::stand_in::{Answer, Cloud};

pub(crate) const FUNCTION: &str =
    "arn:aws:lambda:eu-west-1:111122223333:function:secretrail-detector";
pub(crate) const QUEUE: &str = "arn:aws:sqs:eu-west-1:111122223333:secretrail-Files-1";
pub(crate) const DEAD: &str = "arn:aws:sqs:eu-west-1:111122223333:secretrail-DeadLetters-1";
pub(crate) const ALERTS: &str = "arn:aws:sns:eu-west-1:111122223333:secretrail-Alerts-1";
pub(crate) const ALARMS: &str = "arn:aws:sns:eu-west-1:111122223333:secretrail-Alarms-1";
pub(crate) const MAPPING: &str = "14e0db71-5d35-4eb5-b481-8945cf9d10c2";
pub(crate) const FILE: &str =
    "111122223333_CloudTrail_eu-west-1_20260302T0920Z_VrZomN3i5eSKEXvV.json.gz";

/// Sixty seconds ago and so on, as the services write it.
pub(crate) fn ago(minutes: i64) -> String {
    (Utc::now() - Duration::minutes(minutes)).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Parameters of the stack that differ from case to case.
pub(crate) fn stack(parameters: &[(&str, &str)], version: &str) -> Answer {
    let mut all = vec![
        ("TrailBucket", "trail-logs"),
        ("TrailPrefix", ""),
        ("Trigger", "EventBridge"),
        ("Architecture", "x86_64"),
        ("QuietMinutes", "60"),
        ("TrailKeyArn", ""),
        ("KeyArn", ""),
    ];
    all.retain(|(name, _)| parameters.iter().all(|(own, _)| own != name));
    let member = |key: &str, value: &str, kind: &str| {
        format!("<member><{kind}Key>{key}</{kind}Key><{kind}Value>{value}</{kind}Value></member>")
    };
    let parameters: String = all
        .iter()
        .chain(parameters)
        .map(|(key, value)| member(key, value, "Parameter"))
        .collect();
    let outputs = [
        ("TemplateVersion", version),
        ("StateTable", "secretrail-Table-1"),
        ("AlertTopic", ALERTS),
    ];
    let outputs: String = outputs
        .iter()
        .map(|(key, value)| member(key, value, "Output"))
        .collect();
    let created = ago(60 * 24 * 30);
    Answer::xml(
        "DescribeStacks",
        &format!(
            "<Stacks><member><StackName>secretrail</StackName>\
             <StackId>arn:aws:cloudformation:eu-west-1:111122223333:stack/secretrail/1</StackId>\
             <CreationTime>{created}</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus>\
             <Parameters>{parameters}</Parameters><Outputs>{outputs}</Outputs></member></Stacks>"
        ),
    )
}

pub(crate) fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

const URL: &str = "https://sqs.eu-west-1.amazonaws.com/111122223333";

/// Logical id, type and physical id of each resource.
fn all_resources() -> Vec<(&'static str, &'static str, String)> {
    let queue = |name: &str| format!("{URL}/secretrail-{name}-1");
    let named = |name: &str| format!("secretrail-{name}-1");
    vec![
        ("Table", "AWS::DynamoDB::Table", named("Table")),
        ("Files", "AWS::SQS::Queue", queue("Files")),
        ("DeadLetters", "AWS::SQS::Queue", queue("DeadLetters")),
        ("NewFiles", "AWS::Events::Rule", named("NewFiles")),
        ("Alerts", "AWS::SNS::Topic", ALERTS.to_owned()),
        ("Alarms", "AWS::SNS::Topic", ALARMS.to_owned()),
        ("Role", "AWS::IAM::Role", named("Role")),
        (
            "Detector",
            "AWS::Lambda::Function",
            "secretrail-detector".to_owned(),
        ),
        (
            "FromQueue",
            "AWS::Lambda::EventSourceMapping",
            MAPPING.to_owned(),
        ),
        ("EveryMinute", "AWS::Events::Rule", named("EveryMinute")),
        ("AlarmRules", "AWS::CloudWatch::Alarm", named("AlarmRules")),
        (
            "AlarmNoData",
            "AWS::CloudWatch::Alarm",
            named("AlarmNoData"),
        ),
    ]
}

/// The same deployment as `infra/terraform` describes it in its outputs.
pub(crate) fn described_by_terraform() -> Value {
    let (alarms, resources): (Vec<_>, Vec<_>) = all_resources()
        .into_iter()
        .partition(|(_, kind, _)| kind.ends_with("Alarm"));
    let map = |all: Vec<(&str, &str, String)>| -> Value {
        let all = all.into_iter();
        let all = all.map(|(id, _, physical)| (id.to_owned(), Value::String(physical)));
        Value::Object(all.collect())
    };
    let (mut resources, alarms) = (map(resources), map(alarms));
    // What is not made.
    resources["Notifications"] = Value::Null;
    json!({
        "alert_topic": {"sensitive": false, "type": "string", "value": ALERTS},
        "deployment": {"sensitive": false, "type": "dynamic", "value": {
            "name": "secretrail", "region": "eu-west-1", "account": "111122223333",
            "partition": "aws", "version": version(), "alert_topic": ALERTS,
            "parameters": {
                "TrailBucket": "trail-logs", "TrailPrefix": "", "Trigger": "EventBridge",
                "Architecture": "x86_64", "QuietMinutes": "60", "TrailKeyArn": "", "KeyArn": "",
                "TriggerTopicArn": "", "TriggerQueueArn": Value::Null,
            },
            "resources": resources, "alarms": alarms,
        }},
    })
}

fn resources() -> Answer {
    let all = all_resources();
    let members: String = all
        .iter()
        .map(|(logical, kind, physical)| {
            format!(
                "<member><LogicalResourceId>{logical}</LogicalResourceId>\
                 <PhysicalResourceId>{physical}</PhysicalResourceId>\
                 <ResourceType>{kind}</ResourceType>\
                 <ResourceStatus>CREATE_COMPLETE</ResourceStatus></member>"
            )
        })
        .collect();
    let list = format!("<StackResourceSummaries>{members}</StackResourceSummaries>");
    Answer::xml("ListStackResources", &list)
}

/// Settings of the function beside its table and topics.
pub(crate) fn function(change: impl Fn(&mut Value)) -> Answer {
    let mut found = json!({
        "FunctionName": "secretrail-detector", "FunctionArn": FUNCTION,
        "Runtime": "provided.al2023", "Handler": "bootstrap", "MemorySize": 512, "Timeout": 60,
        "LastModified": "2026-11-01T09:00:00.000+0000", "State": "Active",
        "LastUpdateStatus": "Successful", "Architectures": ["x86_64"],
        "Environment": {"Variables": {
            "SECRETRAIL_TABLE": "secretrail-Table-1",
            "SECRETRAIL_TOPICS": format!("{ALERTS}?deliver=incidents {ALERTS}?deliver=alerts"),
            "SECRETRAIL_RULES": "", "SECRETRAIL_POLICY": "", "SECRETRAIL_STRICT": "false",
        }},
    });
    change(&mut found);
    Answer::json(&found)
}

pub(crate) fn mapping(state: &str) -> Answer {
    Answer::json(&json!({
        "UUID": MAPPING, "EventSourceArn": QUEUE, "FunctionArn": FUNCTION, "State": state,
        "StateTransitionReason": "USER_INITIATED",
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
    }))
}

pub(crate) fn rule(state: &str) -> Answer {
    Answer::json(&json!({"Name": "x", "State": state, "ScheduleExpression": "rate(1 minute)"}))
}

pub(crate) fn queue(waiting: &str) -> Answer {
    let redrive = json!({"deadLetterTargetArn": DEAD, "maxReceiveCount": 5}).to_string();
    Answer::json(&json!({"Attributes": {
        "ApproximateNumberOfMessages": waiting, "ApproximateNumberOfMessagesNotVisible": "0",
        "RedrivePolicy": redrive,
    }}))
}

pub(crate) fn subscriptions(arns: &[&str]) -> Answer {
    let members: String = arns
        .iter()
        .map(|arn| {
            format!(
                "<member><TopicArn>{ALERTS}</TopicArn><Protocol>email</Protocol>\
                 <SubscriptionArn>{arn}</SubscriptionArn><Owner>111122223333</Owner>\
                 <Endpoint>security@example.com</Endpoint></member>"
            )
        })
        .collect();
    let list = format!("<Subscriptions>{members}</Subscriptions>");
    Answer::xml("ListSubscriptionsByTopic", &list)
}

pub(crate) fn alarms(state: &str) -> Answer {
    let one = |name: &str, state: &str| {
        format!(
            "<member><AlarmName>{name}</AlarmName><AlarmDescription>About {name}.\
             </AlarmDescription><ActionsEnabled>true</ActionsEnabled>\
             <StateUpdatedTimestamp>2026-11-01T09:00:00.000Z</StateUpdatedTimestamp>\
             <StateValue>{state}</StateValue><StateReason>Threshold Crossed</StateReason></member>"
        )
    };
    let members = [
        one("secretrail-AlarmRules-1", state),
        one("secretrail-AlarmNoData-1", "OK"),
    ];
    let list = format!("<MetricAlarms>{}</MetricAlarms>", members.concat());
    Answer::xml("DescribeAlarms", &list)
}

pub(crate) fn metric(seconds: &str) -> Answer {
    let time = ago(5);
    Answer::xml(
        "GetMetricStatistics",
        &format!(
            "<Label>x</Label><Datapoints><member><Timestamp>{time}</Timestamp>\
             <Maximum>{seconds}</Maximum><Unit>Seconds</Unit></member></Datapoints>"
        ),
    )
}

pub(crate) fn listing(folders: &[&str], keys: &[&str]) -> Answer {
    let folders = folders
        .iter()
        .map(|folder| format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"));
    let keys = keys.iter().map(|key| {
        format!("<Contents><Key>{key}</Key><Size>9</Size><ETag>\"e1\"</ETag></Contents>")
    });
    let all: String = folders.chain(keys).collect();
    let body = format!(
        "<ListBucketResult><Name>x</Name><IsTruncated>false</IsTruncated>{all}</ListBucketResult>"
    );
    Answer(200, body)
}

/// The answer of a HEAD request about an object that was delivered so long ago.
pub(crate) fn head(minutes: i64) -> Answer {
    let modified: DateTime<Utc> = Utc::now() - Duration::minutes(minutes);
    let modified = modified.format("%a, %d %b %Y %H:%M:%S GMT");
    let headers = format!(
        "HEAD content-length: 9\r\nlast-modified: {modified}\r\netag: \"e1\"\r\n\
         x-amz-version-id: v1\r\n"
    );
    Answer(200, headers)
}

/// An entry of the object ledger.
pub(crate) fn ledger(state: &str) -> Answer {
    Answer::json(&json!({"Responses": {"secretrail-Table-1": [{
        "pk": {"S": "object#1"}, "sk": {"S": "-"}, "state": {"S": state},
        "details": {"S": "the object is not gzip"},
    }]}, "UnprocessedKeys": {}}))
}

/// A deployment without faults and without an access policy.
pub(crate) fn healthy() -> Cloud {
    let cloud = Cloud::new();
    let notifications = "<NotificationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
        <EventBridgeConfiguration></EventBridgeConfiguration></NotificationConfiguration>";
    let pattern = json!({
        "source": ["aws.s3"], "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": ["trail-logs"]}, "object": {"key": [{"prefix": "AWSLogs/"}]}},
    });
    let new_files = json!({"Name": "n", "State": "ENABLED", "EventPattern": pattern.to_string()});
    let last = Utc::now().timestamp() - 120;
    cloud
        .answer("cloudformation DescribeStacks", "", stack(&[], version()))
        .answer("cloudformation ListStackResources", "", resources())
        .answer(
            "lambda GET /2015-03-31/functions/secretrail-detector",
            "",
            function(|_| {}),
        )
        .answer(
            "lambda GET /2019-09-30/functions/secretrail-detector",
            "",
            Answer(200, "{}".into()),
        )
        .answer(
            "lambda GET /2015-03-31/event-source-mappings/",
            MAPPING,
            mapping("Enabled"),
        )
        .answer(
            "s3 GET /trail-logs",
            "?notification",
            Answer(200, notifications.into()),
        )
        .answer("events DescribeRule", "NewFiles", Answer::json(&new_files))
        .answer(
            "events ListTargetsByRule",
            "NewFiles",
            Answer::json(&json!({"Targets": [{"Id": "files", "Arn": QUEUE}]})),
        )
        .answer("events DescribeRule", "EveryMinute", rule("ENABLED"))
        .answer(
            "events ListTargetsByRule",
            "EveryMinute",
            Answer::json(&json!({"Targets": [{"Id": "sweep", "Arn": FUNCTION}]})),
        )
        .answer("sqs GetQueueAttributes", "secretrail-Files-1", queue("0"))
        .answer(
            "sqs GetQueueAttributes",
            "secretrail-DeadLetters-1",
            queue("0"),
        )
        .answer("monitoring GetMetricStatistics", "", metric("4.0"))
        .answer("monitoring DescribeAlarms", "", alarms("OK"))
        .answer(
            "sns ListSubscriptionsByTopic",
            "",
            subscriptions(&[&format!("{ALERTS}:1")]),
        );
    state(&cloud, last);
    trail(&cloud);
    cloud
}

/// The state table, with a last file at a time.
fn state(cloud: &Cloud, last: i64) {
    cloud
        .answer("dynamodb DescribeTable", "", table("PAY_PER_REQUEST"))
        .answer("dynamodb DescribeTimeToLive", "", expiry("ENABLED"))
        .answer(
            "dynamodb DescribeContinuousBackups",
            "",
            Answer::json(&json!({"ContinuousBackupsDescription": {
            "ContinuousBackupsStatus": "ENABLED",
            "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "ENABLED"}}})),
        )
        .answer(
            "dynamodb Query",
            "destinations",
            Answer::json(&json!({"Count": 1, "Items": [
            {"pk": {"S": "destinations"}, "sk": {"S": ALERTS}, "failures": {"N": "0"}}]})),
        )
        .answer(
            "dynamodb GetItem",
            "last-object",
            Answer::json(&json!({"Item": {
            "pk": {"S": "last-object"}, "sk": {"S": "-"}, "at": {"N": last.to_string()}}})),
        )
        .answer("dynamodb BatchGetItem", "object#", ledger("processed"));
}

/// The bucket of the trail: one account and region with a file of today.
fn trail(cloud: &Cloud) {
    let account = "AWSLogs/111122223333/";
    let region = format!("{account}CloudTrail/eu-west-1/");
    let key = format!("{region}{}/{FILE}", Utc::now().format("%Y/%m/%d"));
    cloud
        .answer(
            "s3 GET /trail-logs/?",
            "list-type=2",
            listing(&[account], &[]),
        )
        .answer(
            "s3 GET /trail-logs/?",
            "CloudTrail%2F",
            listing(&[&region], &[]),
        )
        .answer(
            "s3 GET /trail-logs/?",
            "eu-west-1%2F20",
            listing(&[], &[&key]),
        )
        .answer("s3 HEAD /trail-logs/AWSLogs", "", head(20));
}

pub(crate) fn table(billing: &str) -> Answer {
    Answer::json(&json!({"Table": {
        "TableName": "secretrail-Table-1", "TableStatus": "ACTIVE",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"},
                      {"AttributeName": "sk", "KeyType": "RANGE"}],
        "BillingModeSummary": {"BillingMode": billing}, "DeletionProtectionEnabled": true,
    }}))
}

pub(crate) fn expiry(status: &str) -> Answer {
    Answer::json(&json!({"TimeToLiveDescription": {
        "TimeToLiveStatus": status, "AttributeName": "ttl"}}))
}
