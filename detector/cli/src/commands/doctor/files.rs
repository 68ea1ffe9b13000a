//! How new files are announced: from the bucket, over EventBridge or a topic, to the queue.

use serde_json::Value;

use super::{
    Checkup,
    schedule::{EventRule, rule},
};
use crate::{
    aws_api::SNS,
    deployment::{bucket::BucketNotifications, logical},
};

const BUCKET: &str = "bucket";
const NEW_FILES: &str = "new files";

pub(super) fn check(checkup: &mut Checkup<'_>, queue: Option<&str>) {
    let name = checkup.bucket.name.clone();
    let answer = match name.as_str() {
        "" => return,
        _ => checkup.bucket.notifications(),
    };
    let what = format!("notifications of {name}");
    let found = checkup.findings.known(BUCKET, &what, answer);
    match checkup.stack.parameter("Trigger") {
        "SNS" => {
            if let Some(found) = found {
                by_topic(checkup, &name, &found);
            }
            subscription(checkup);
        }
        "Queue" => {
            if let Some(found) = found {
                by_queue(checkup, &name, &found, queue);
            }
        }
        _ => {
            if let Some(found) = found {
                by_event_bridge(checkup, &name, &found);
            }
            event_rule(checkup, &name, queue);
        }
    }
}

fn by_event_bridge(checkup: &mut Checkup<'_>, bucket: &str, found: &BucketNotifications) {
    let findings = &mut checkup.findings;
    if found.event_bridge {
        findings.ok(BUCKET, format!("{bucket} sends its events to EventBridge"));
        return;
    }
    findings.fail(
        BUCKET,
        format!("{bucket} does not send its events to EventBridge: no new file is announced"),
        "switch on Amazon EventBridge in the properties of the bucket; the API call replaces all \
         notifications of the bucket, so read them first and add to them (infra/README.md)",
    );
}

/// The prefix of all log files.
fn prefix(checkup: &Checkup<'_>) -> String {
    format!("{}AWSLogs/", checkup.stack.parameter("TrailPrefix"))
}

/// Whether one of the targets is this one, for all log files.
fn reaches(found: &BucketNotifications, arn: &str, prefix: &str) -> Option<bool> {
    let mut same = found.targets.iter().filter(|(target, _)| target == arn);
    let first = same.next()?;
    let mut prefixes = std::iter::once(first).chain(same);
    Some(prefixes.any(|(_, own)| prefix.starts_with(own)))
}

fn by_topic(checkup: &mut Checkup<'_>, bucket: &str, found: &BucketNotifications) {
    let topic = checkup.stack.parameter("TriggerTopicArn");
    let is_reached = reaches(found, topic, &prefix(checkup));
    narrowed(checkup, bucket, topic, is_reached);
    if is_reached.is_none() {
        checkup.findings.warn(
            BUCKET,
            format!("{bucket} does not notify {topic}; right if the trail itself does"),
            "see SnsTopicARN in aws cloudtrail describe-trails, or let the bucket notify the topic",
        );
    }
}

fn by_queue(
    checkup: &mut Checkup<'_>,
    bucket: &str,
    found: &BucketNotifications,
    queue: Option<&str>,
) {
    let queue = queue.unwrap_or_else(|| checkup.stack.parameter("TriggerQueueArn"));
    let is_reached = reaches(found, queue, &prefix(checkup));
    narrowed(checkup, bucket, queue, is_reached);
    if is_reached.is_none() {
        checkup.findings.warn(
            BUCKET,
            format!("{bucket} does not notify {queue}; right if a topic in between does"),
            "see what sends to the queue, or let the bucket notify it",
        );
    }
}

fn narrowed(checkup: &mut Checkup<'_>, bucket: &str, arn: &str, is_reached: Option<bool>) {
    let prefix = prefix(checkup);
    match is_reached {
        Some(true) => checkup
            .findings
            .ok(BUCKET, format!("{bucket} notifies {arn} of new objects")),
        Some(false) => checkup.findings.fail(
            BUCKET,
            format!("{bucket} notifies {arn}, but only of some objects below {prefix}"),
            format!("set the prefix of the notification to {prefix}"),
        ),
        None => {}
    }
}

/// The subscription of the queue to the topic of new files.
fn subscription(checkup: &mut Checkup<'_>) {
    let Some(arn) = checkup.stack.physical(logical::NOTIFICATIONS) else {
        let remedy = "deploy the stack again";
        checkup.findings.fail(
            NEW_FILES,
            "the queue is not subscribed to the topic",
            remedy,
        );
        return;
    };
    let input = [("SubscriptionArn", arn)];
    let answer = checkup.api.query(&SNS, "GetSubscriptionAttributes", &input);
    let what = format!("subscription {arn}");
    let Some(found) = checkup.findings.known(NEW_FILES, &what, answer) else {
        return;
    };
    let is_pending = found.members("Attributes").iter().any(|entry| {
        entry.text("key") == Some("PendingConfirmation") && entry.text("value") == Some("true")
    });
    let findings = &mut checkup.findings;
    if is_pending {
        findings.fail(
            NEW_FILES,
            "the subscription of the queue to the topic of new files is not confirmed",
            "allow sqs:SendMessage to the topic in the policy of the queue, and deploy again",
        );
    } else {
        findings.ok(
            NEW_FILES,
            "the queue is subscribed to the topic of new files",
        );
    }
}

/// The rule that sends new files to the queue.
fn event_rule(checkup: &mut Checkup<'_>, bucket: &str, queue: Option<&str>) {
    if checkup.stack.physical(logical::NEW_FILES).is_none() {
        let what = "no EventBridge rule sends new files to the queue";
        checkup
            .findings
            .fail(NEW_FILES, what, "deploy the stack again");
        return;
    }
    let Some(rule) = rule(checkup, NEW_FILES, logical::NEW_FILES) else {
        return;
    };
    let findings = &mut checkup.findings;
    let name = &rule.name;
    let sends = rule.targets.as_ref().zip(queue);
    let sends = sends.is_none_or(|(targets, queue)| targets.iter().any(|arn| arn == queue));
    if !rule.is_enabled {
        findings.fail(
            NEW_FILES,
            format!("the EventBridge rule {name} is disabled: no new file is announced"),
            format!("aws events enable-rule --name {name}"),
        );
    } else if !names(&rule, bucket) {
        findings.fail(
            NEW_FILES,
            format!("the pattern of the EventBridge rule {name} does not name {bucket}"),
            "deploy the stack again, with the right TrailBucket",
        );
    } else if !sends {
        findings.fail(
            NEW_FILES,
            format!("the EventBridge rule {name} does not send to the queue"),
            "deploy the stack again",
        );
    } else {
        findings.ok(
            NEW_FILES,
            format!("the EventBridge rule {name} sends them to the queue"),
        );
    }
}

/// Whether the pattern of a rule names a bucket, or has no list of names to look into.
fn names(rule: &EventRule, bucket: &str) -> bool {
    let detail = rule.pattern.get("detail");
    let listed = detail.and_then(|detail| detail.get("bucket")?.get("name")?.as_array());
    let Some(listed) = listed else { return true };
    // A prefix or a wildcard is not judged.
    listed.iter().any(|name| match name {
        Value::String(name) => name == bucket,
        _ => true,
    })
}
