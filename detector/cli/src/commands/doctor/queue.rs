//! The queue of new files: what reads it, how full it is, and what failed again and again.

use secretrail_engine::ids::ArnParts;
use serde_json::{Value, json};

use super::{Checkup, findings::span, function::KnownFunction};
use crate::{
    aws_api::{CLOUDWATCH, LAMBDA, SQS, rest::segment},
    deployment::logical,
    text::plural,
};

const MAPPING: &str = "mapping";
const QUEUE: &str = "queue";
const DEAD: &str = "dead letters";

/// Ages of the oldest message in seconds, from which alerts are late, and are very late.
const LATE: i64 = 600;
const VERY_LATE: i64 = 3_600;

/// Checks what reads the queue; returns the ARN of the queue.
pub(super) fn mapping(checkup: &mut Checkup<'_>, function: &KnownFunction) -> Option<String> {
    let Some(id) = checkup.stack.physical(logical::FROM_QUEUE) else {
        let remedy = "deploy the stack again";
        checkup
            .findings
            .fail(MAPPING, "nothing reads the queue", remedy);
        return None;
    };
    let path = format!("/2015-03-31/event-source-mappings/{}", segment(id));
    let answer = checkup.api.get(&LAMBDA, "GetEventSourceMapping", &path);
    let what = format!("event source mapping {id}");
    let found = checkup.findings.known(MAPPING, &what, answer)?;
    let text = [
        "State",
        "EventSourceArn",
        "FunctionArn",
        "StateTransitionReason",
    ]
    .map(|name| found.get(name).and_then(Value::as_str).unwrap_or_default());
    let [state, queue, target, reason] = text;
    let responses = found.get("FunctionResponseTypes").and_then(Value::as_array);
    let reports_failures = responses.is_some_and(|all| {
        let mut names = all.iter().filter_map(Value::as_str);
        names.any(|name| name == "ReportBatchItemFailures")
    });
    let findings = &mut checkup.findings;
    let enable = format!("aws lambda update-event-source-mapping --uuid {id} --enabled");
    let is_ours = function
        .arn
        .as_deref()
        .is_none_or(|arn| target.starts_with(arn));
    if !is_ours {
        let what = format!("it starts {target}, not the function of the stack");
        findings.fail(MAPPING, what, "deploy the stack again");
    } else if !reports_failures {
        findings.fail(
            MAPPING,
            "it does not report failures by message: one bad file repeats nine good ones",
            "set FunctionResponseTypes to ReportBatchItemFailures: deploy the stack again",
        );
    } else {
        match state {
            "Enabled" => findings.ok(MAPPING, format!("enabled, reads {queue}")),
            "Disabled" | "Disabling" => {
                findings.fail(
                    MAPPING,
                    format!("{state} ({reason}): no file is read"),
                    enable,
                );
            }
            _ => findings.warn(
                MAPPING,
                format!("{state} ({reason})"),
                "wait, and run this again",
            ),
        }
    }
    Some(queue.to_owned()).filter(|queue| !queue.is_empty())
}

pub(super) fn check(checkup: &mut Checkup<'_>, queue: Option<&str>) {
    let own = checkup.stack.physical(logical::FILES).map(str::to_owned);
    let place = own.clone().zip(queue.map(str::to_owned));
    let (url, arn) = match (place, queue) {
        (Some((url, arn)), _) => (url, arn),
        (None, Some(arn)) => match url_of(checkup, QUEUE, arn) {
            Some(url) => (url, arn.to_owned()),
            None => return,
        },
        // The mapping may not be looked at, but the queue of the stack may.
        (None, None) => match own {
            Some(url) => (url, String::new()),
            None => return,
        },
    };
    let Some(attributes) = attributes(checkup, QUEUE, &url) else {
        return;
    };
    depth(checkup, &url, &attributes);
    dead_letters(checkup, &arn, &attributes);
}

/// The URL of a queue with an ARN.
fn url_of(checkup: &mut Checkup<'_>, part: &'static str, arn: &str) -> Option<String> {
    let parts = ArnParts::parse(arn)?;
    let input = json!({
        "QueueName": parts.resource,
        "QueueOwnerAWSAccountId": parts.account,
    });
    let answer = checkup.api.json(&SQS, "GetQueueUrl", &input);
    let found = checkup
        .findings
        .known(part, &format!("queue {arn}"), answer)?;
    found.get("QueueUrl")?.as_str().map(str::to_owned)
}

fn attributes(checkup: &mut Checkup<'_>, part: &'static str, url: &str) -> Option<Value> {
    let input = json!({"QueueUrl": url, "AttributeNames": ["All"]});
    let answer = checkup.api.json(&SQS, "GetQueueAttributes", &input);
    let what = format!("queue {}", name_of(url));
    let found = checkup.findings.known(part, &what, answer)?;
    found.get("Attributes").cloned()
}

fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

/// A number, which SQS writes as text.
fn number(attributes: &Value, name: &str) -> u64 {
    let text = attributes.get(name).and_then(Value::as_str);
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn depth(checkup: &mut Checkup<'_>, url: &str, attributes: &Value) {
    let waiting = number(attributes, "ApproximateNumberOfMessages");
    let read = number(attributes, "ApproximateNumberOfMessagesNotVisible");
    let age = oldest(checkup, name_of(url));
    let oldest = match age {
        Some(age) if waiting + read > 0 => format!(", the oldest for {}", span(age)),
        _ => String::new(),
    };
    let what = format!(
        "{} waiting, {read} being read{oldest}",
        plural(waiting, "message")
    );
    let remedy = "see the lines about the function and the mapping; if they are ok, raise \
                  MaxConcurrency, or the concurrency limit of the account";
    let findings = &mut checkup.findings;
    match age.unwrap_or(0) {
        // The metric is minutes old: an empty queue has been worked off since.
        VERY_LATE.. if waiting > 0 => findings.fail(QUEUE, what, remedy),
        LATE.. if waiting > 0 => findings.warn(QUEUE, what, remedy),
        _ => findings.ok(QUEUE, what),
    }
}

/// Age of the oldest message in seconds in the last quarter of an hour; `None` without data.
fn oldest(checkup: &mut Checkup<'_>, queue: &str) -> Option<i64> {
    let (from, to) = (checkup.now.plus(-900).to_string(), checkup.now.to_string());
    let input = [
        ("Namespace", "AWS/SQS"),
        ("MetricName", "ApproximateAgeOfOldestMessage"),
        ("Dimensions.member.1.Name", "QueueName"),
        ("Dimensions.member.1.Value", queue),
        ("StartTime", &from),
        ("EndTime", &to),
        ("Period", "300"),
        ("Statistics.member.1", "Maximum"),
    ];
    let answer = checkup
        .api
        .query(&CLOUDWATCH, "GetMetricStatistics", &input);
    let what = "age of the oldest message";
    let found = checkup.findings.known(QUEUE, what, answer)?;
    let points = found.members("Datapoints").iter();
    let latest = points.max_by_key(|point| point.text_or_empty("Timestamp"))?;
    let seconds: f64 = latest.text("Maximum")?.parse().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a message is kept for 14 days at most"
    )]
    Some(seconds as i64)
}

fn dead_letters(checkup: &mut Checkup<'_>, source: &str, attributes: &Value) {
    let policy = attributes.get("RedrivePolicy").and_then(Value::as_str);
    let policy: Option<Value> = policy.and_then(|text| serde_json::from_str(text).ok());
    let arn = policy
        .as_ref()
        .and_then(|policy| policy.get("deadLetterTargetArn")?.as_str());
    let Some(arn) = arn else {
        checkup.findings.fail(
            DEAD,
            "the queue has no dead-letter queue: what cannot be read is lost after its retention",
            "give it one, or deploy the stack again",
        );
        return;
    };
    let own = checkup.stack.physical(logical::DEAD_LETTERS);
    let own = own.filter(|url| arn.ends_with(&format!(":{}", name_of(url))));
    let url = match own.map(str::to_owned) {
        Some(url) => url,
        None => match url_of(checkup, DEAD, arn) {
            Some(url) => url,
            None => return,
        },
    };
    let Some(attributes) = self::attributes(checkup, DEAD, &url) else {
        return;
    };
    let kept = number(&attributes, "ApproximateNumberOfMessages");
    let findings = &mut checkup.findings;
    if kept == 0 {
        findings.ok(DEAD, "none");
        return;
    }
    let destination = match source {
        "" => String::new(),
        arn => format!(" --destination-arn {arn}"),
    };
    findings.fail(
        DEAD,
        format!(
            "{} of new files failed again and again",
            plural(kept, "notification")
        ),
        format!(
            "find the reason in the log ({}), mend it, then: aws sqs start-message-move-task \
             --source-arn {arn}{destination}",
            "{ $.state = \"failed\" }"
        ),
    );
}
