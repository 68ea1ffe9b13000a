//! `send-test`: what it creates, what it waits for, and that it removes all of it.

use serde_json::{Value, json};

use crate::{
    healthy::{ALERTS, function, healthy},
    stand_in::{Answer, Cloud, ID},
};

const QUEUE_URL: &str = "https://sqs.eu-west-1.amazonaws.com/111122223333/secretrail-send-test";
const MORE: &str = "arn:aws:sns:eu-central-1:111122223333:secretrail-chat";

/// A message of a topic about the test, as SNS wraps it.
fn message(topic: &str, about: &str) -> Value {
    let text = json!({"secrets": [format!("[TEST]-secretrail-send-test-{about}")]}).to_string();
    let body = json!({"Type": "Notification", "TopicArn": topic, "Message": text,
        "Subject": format!("[critical] Root User Requested A Secret: {about}")});
    json!({"MessageId": "1", "ReceiptHandle": "r", "Body": body.to_string()})
}

/// A healthy deployment with two topics, one of them in another region.
fn cloud(messages: &[Value]) -> Cloud {
    let cloud = healthy();
    let topics = function(|found| {
        let topics = format!("{ALERTS}?deliver=both {MORE}?format=chat {ALERTS}?deliver=alerts");
        let setting = found.pointer_mut("/Environment/Variables/SECRETRAIL_TOPICS");
        *setting.expect("a setting") = json!(topics);
    });
    let put = "HEAD content-length: 0\r\netag: \"e9\"\r\nx-amz-version-id: v9\r\n".to_owned();
    let subscribed = "<SubscriptionArn>arn:aws:sns:eu-west-1:111122223333:t:s9</SubscriptionArn>";
    cloud
        .answer("lambda GET /2015-03-31/functions/", "", topics)
        .answer(
            "sqs CreateQueue",
            "",
            Answer::json(&json!({"QueueUrl": QUEUE_URL})),
        )
        .answer(
            "sqs ReceiveMessage",
            "",
            Answer::json(&json!({"Messages": messages})),
        )
        .answer("sqs DeleteQueue", QUEUE_URL, Answer(200, String::new()))
        .answer("sns Subscribe", "", Answer::xml("Subscribe", subscribed))
        .answer("sns Unsubscribe", "s9", Answer::xml("Unsubscribe", ""))
        .answer(
            "s3 PUT /trail-logs/AWSLogs/000000",
            "CloudTrail",
            Answer(200, put),
        )
        .answer(
            "s3 DELETE /trail-logs/AWSLogs/000000",
            "versionId=v9",
            Answer(204, String::new()),
        );
    cloud
}

/// What was created is removed: the object, two subscriptions and the queue.
fn leaves_nothing(cloud: &Cloud) {
    assert_eq!(cloud.asked("sns Unsubscribe").len(), 2);
    assert_eq!(cloud.asked("sqs DeleteQueue").len(), 1);
    let requests = cloud.requests();
    let deleted = requests.iter().filter(|request| request.method == "DELETE");
    assert_eq!(deleted.count(), 1);
}

#[test]
fn each_step_is_timed_and_nothing_is_left() {
    let other = json!({"MessageId": "2", "Body": "{\"TopicArn\": \"x\"}"});
    let cloud = cloud(&[other, message(ALERTS, ID), message(MORE, ID)]);
    let (code, stdout, stderr) = cloud.run("send-test");
    assert_eq!(code, 0, "{stderr}");
    let steps: Vec<&str> = stdout
        .lines()
        .filter_map(|line| Some(line.split_once(" s  ")?.1))
        .collect();
    let [object, noted, first, second, removed] = steps.as_slice() else {
        panic!("{stdout}")
    };
    assert!(
        object.starts_with("object   s3://trail-logs/AWSLogs/000000"),
        "{object}"
    );
    assert!(
        noted.starts_with("noted    by the function as processed"),
        "{noted}"
    );
    assert!(
        first.starts_with("alert    secretrail-Alerts-1: [critical] Root"),
        "{first}"
    );
    assert!(
        second.starts_with("alert    secretrail-chat: [critical] Root"),
        "{second}"
    );
    assert_eq!(*removed, "removed  object, queue and subscriptions");
    leaves_nothing(&cloud);
    // The queue admits these topics and nobody else, and each topic is asked in its region.
    let created: Value = serde_json::from_str(&cloud.asked("sqs CreateQueue")[0].body).unwrap();
    let policy = created["Attributes"]["Policy"].as_str().unwrap();
    let policy: Value = serde_json::from_str(policy).unwrap();
    let condition = &policy["Statement"][0]["Condition"]["ArnEquals"]["aws:SourceArn"];
    assert_eq!(condition, &json!([MORE, ALERTS]));
    let subscribed = cloud.asked("sns Subscribe");
    let regions: Vec<&str> = subscribed.iter().map(|request| request.scope(1)).collect();
    assert_eq!(regions, ["eu-central-1", "eu-west-1"]);
}

#[test]
fn a_destination_without_the_alert_is_named_and_nothing_is_left() {
    let cloud = cloud(&[message(ALERTS, ID)]);
    let (code, stdout, stderr) = cloud.run("send-test --wait 1s");
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(stderr.contains("no alert within 1 s on secretrail-chat: the function has read"));
    leaves_nothing(&cloud);
    let nothing = json!({"Responses": {"secretrail-Table-1": []}});
    cloud.answer("dynamodb BatchGetItem", "object#", Answer::json(&nothing));
    let (code, _, stderr) = cloud.run("send-test --wait 1s");
    assert_eq!(code, 1);
    assert!(stderr.contains("the function has not read the object; see secretrail doctor"));
}

#[test]
fn what_may_not_be_tested_is_said_and_nothing_is_left() {
    let denied = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>".to_owned();
    let cloud = cloud(&[]);
    cloud.answer("s3 PUT /trail-logs/", "", Answer(403, denied));
    let (code, stdout, stderr) = cloud.run("send-test");
    assert_eq!(code, 2, "{stdout}{stderr}");
    assert!(stderr.contains("allow s3:PutObject"), "{stderr}");
    assert_eq!(cloud.asked("sqs DeleteQueue").len(), 1);
    let no_queue = Answer::json_error(400, "AccessDeniedException", "no");
    cloud.answer("sqs CreateQueue", "", no_queue);
    let (code, stdout, stderr) = cloud.run("send-test");
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("allow sqs:CreateQueue"), "{stderr}");
}

#[test]
fn what_cannot_be_removed_is_named() {
    let cloud = cloud(&[message(ALERTS, ID), message(MORE, ID)]);
    let failed = Answer::xml_error(403, "AuthorizationError", "no");
    cloud.answer("sns Unsubscribe", "", failed);
    let (code, stdout, stderr) = cloud.run("send-test");
    assert_eq!(code, 0, "the alert has come");
    assert!(!stdout.contains("removed"), "{stdout}");
    let left = "not removed, delete it: subscription arn:aws:sns:eu-west-1:111122223333:t:s9";
    assert_eq!(stderr.matches(left).count(), 2, "{stderr}");
}
