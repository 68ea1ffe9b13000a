//! A queue that hears what the topics of a deployment send, for the time of a test.

use std::collections::BTreeSet;

use secretrail_engine::ids::ArnParts;
use serde_json::{Value, json};

use crate::{
    aws_api::{ApiError, AwsApi, SNS, SQS},
    deployment::Deployment,
};

/// Seconds that a call waits for messages.
const POLL_SECS: u64 = 3;

/// A queue with its subscriptions.
pub(super) struct TestQueue {
    url: String,
    /// Topics and the ARNs of the subscriptions.
    subscriptions: Vec<(String, String)>,
}

/// A message of a topic.
pub(super) struct HeardMessage {
    pub(super) topic: String,
    /// Subject; empty for messages without one.
    pub(super) subject: String,
}

impl TestQueue {
    /// Creates a queue that these topics may send to.
    pub(super) fn create(
        api: &AwsApi,
        stack: &Deployment,
        id: &str,
        topics: &[String],
    ) -> Result<(Self, String), ApiError> {
        let name = format!("secretrail-send-test-{id}");
        let arn = stack.arn("sqs", &name);
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": topics}},
            }],
        });
        let input = json!({
            "QueueName": name,
            "Attributes": {
                "Policy": policy.to_string(),
                "MessageRetentionPeriod": "3600",
                "SqsManagedSseEnabled": "true",
            },
        });
        let created = api.json(&SQS, "CreateQueue", &input)?;
        let url = created.get("QueueUrl").and_then(Value::as_str);
        let queue = Self {
            url: url.unwrap_or_default().to_owned(),
            subscriptions: Vec::new(),
        };
        Ok((queue, arn))
    }

    /// Subscribes the queue to a topic.
    pub(super) fn subscribe(
        &mut self,
        api: &AwsApi,
        topic: &str,
        queue_arn: &str,
    ) -> Result<(), ApiError> {
        let input = [
            ("TopicArn", topic),
            ("Protocol", "sqs"),
            ("Endpoint", queue_arn),
            ("ReturnSubscriptionArn", "true"),
        ];
        let subscribed = there(api, topic).query(&SNS, "Subscribe", &input)?;
        let arn = subscribed.text_or_empty("SubscriptionArn");
        self.subscriptions.push((topic.to_owned(), arn));
        Ok(())
    }

    /// The topics that the queue is subscribed to.
    pub(super) fn topics(&self) -> BTreeSet<String> {
        let topics = self.subscriptions.iter();
        topics.map(|(topic, _)| topic.clone()).collect()
    }

    /// The messages about a test that have come; waits for some seconds.
    pub(super) fn hear(&self, api: &AwsApi, id: &str) -> Result<Vec<HeardMessage>, ApiError> {
        let input = json!({
            "QueueUrl": self.url,
            "MaxNumberOfMessages": 10,
            "WaitTimeSeconds": POLL_SECS,
        });
        let received = api.json(&SQS, "ReceiveMessage", &input)?;
        let messages = received.get("Messages").and_then(Value::as_array);
        let bodies = messages.into_iter().flatten();
        let bodies = bodies.filter_map(|message| message.get("Body")?.as_str());
        // Other alerts come too.
        let own = bodies.filter(|body| body.contains(id));
        Ok(own.filter_map(heard).collect())
    }

    /// Removes the subscriptions and the queue; returns why some of it is left.
    pub(super) fn remove(self, api: &AwsApi) -> Vec<String> {
        let mut left = Vec::new();
        for (topic, arn) in &self.subscriptions {
            let input = [("SubscriptionArn", arn.as_str())];
            if let Err(error) = there(api, topic).query(&SNS, "Unsubscribe", &input) {
                left.push(format!("subscription {arn}: {error}"));
            }
        }
        let input = json!({"QueueUrl": self.url});
        if let Err(error) = api.json(&SQS, "DeleteQueue", &input) {
            left.push(format!("queue {}: {error}", self.url));
        }
        left
    }
}

/// The services in the region of a topic.
fn there(api: &AwsApi, topic: &str) -> AwsApi {
    let region = ArnParts::parse(topic).map_or("", |parts| parts.region);
    match region {
        "" => api.in_region(api.region()),
        region => api.in_region(region),
    }
}

fn heard(body: &str) -> Option<HeardMessage> {
    let envelope: Value = serde_json::from_str(body).ok()?;
    let subject = envelope.get("Subject").and_then(Value::as_str);
    Some(HeardMessage {
        topic: envelope.get("TopicArn")?.as_str()?.to_owned(),
        subject: subject.unwrap_or_default().to_owned(),
    })
}
