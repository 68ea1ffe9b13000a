//! Publishes alerts to SNS topics: in the format of each topic, in batches, with a result for each
//! entry.
//!
//! Limits: 256 KiB for a message with its attributes, and for a batch, which has ten messages at
//! most; fewer than 100 characters of ASCII for a subject. Source: Amazon SNS API reference,
//! `Publish` and `PublishBatch`, checked 2026-11.

mod batch;
mod message;

use std::collections::HashMap;

use aws_sdk_sns::{
    Client, operation::publish_batch::PublishBatchOutput, types::PublishBatchRequestEntry,
};
use secretrail_engine::{alert::Alert, rule_meta::RuleLevel};

use self::batch::{OutgoingMessage, PublishBatch, batches};
pub use self::{
    batch::EntryError,
    message::{MessageFormat, SnsMessage},
};
use crate::retry::{FailedCall, RetryPolicy};

/// A topic, and which alerts are published to it in which format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDestination {
    /// ARN of the topic; that of a FIFO topic ends in `.fifo`.
    pub topic_arn: String,
    /// Alerts below this level are not published to the topic.
    pub min_level: RuleLevel,
    /// Format of the messages.
    pub format: MessageFormat,
}

impl TopicDestination {
    /// The messages for the alerts that reach the minimum level.
    fn messages<'a>(&self, alerts: &'a [Alert]) -> Vec<OutgoingMessage<'a>> {
        alerts
            .iter()
            .enumerate()
            .filter(|(_, alert)| alert.rule.level >= self.min_level)
            .map(|(index, alert)| OutgoingMessage {
                index,
                alert,
                message: SnsMessage::of(alert, self.format),
            })
            .collect()
    }
}

/// Why an alert was not published.
#[derive(Debug, thiserror::Error)]
#[error("publishing to {topic_arn}: {why}")]
pub struct PublishError {
    /// The topic that failed; of several, the last.
    pub topic_arn: String,
    /// The error.
    pub why: EntryError,
}

/// Publishes alerts to topics.
#[derive(Debug, Clone)]
pub struct SnsSink {
    client: Client,
    retry: RetryPolicy,
    destinations: Vec<TopicDestination>,
}

impl SnsSink {
    /// A sink that publishes to these topics.
    #[must_use]
    pub fn new(client: Client, retry: RetryPolicy, destinations: Vec<TopicDestination>) -> Self {
        Self {
            client,
            retry,
            destinations,
        }
    }

    /// Publishes each alert to every topic whose minimum level it reaches; for each alert, whether
    /// all of them accepted it, or why not. After a lost response, or when only some topics failed,
    /// a retry publishes the alert again, with the same id.
    pub async fn publish(&self, alerts: &[Alert]) -> Vec<Result<(), PublishError>> {
        // `Ok` also where no topic takes the level: such an alert must leave the outbox as well.
        let mut results: Vec<_> = alerts.iter().map(|_| Ok(())).collect();
        for destination in &self.destinations {
            let topic_arn = &destination.topic_arn;
            for messages in batches(destination.messages(alerts)) {
                for (index, why) in self.send(topic_arn, messages).await {
                    if let Some(result) = results.get_mut(index) {
                        // The alert counts as published only when every topic has accepted it.
                        let topic_arn = topic_arn.clone();
                        *result = Err(PublishError { topic_arn, why });
                    }
                }
            }
        }
        results
    }

    /// Sends a batch until every entry was accepted or failed for good; returns those that were not
    /// accepted.
    async fn send(
        &self,
        topic_arn: &str,
        messages: Vec<OutgoingMessage<'_>>,
    ) -> HashMap<usize, EntryError> {
        let mut batch = PublishBatch::of(topic_arn, messages);
        let mut tries = self.retry.tries();
        while !batch.is_finalized() {
            match self.publish_batch(topic_arn, batch.entries()).await {
                Ok(answer) => batch.answered(answer),
                Err(why) => batch.not_answered(&why),
            }
            if !batch.is_finalized() {
                if !tries.again() {
                    break;
                }
                tries.wait().await;
            }
        }
        batch.given_up()
    }

    async fn publish_batch(
        &self,
        topic_arn: &str,
        entries: Vec<PublishBatchRequestEntry>,
    ) -> Result<PublishBatchOutput, FailedCall> {
        self.client
            .publish_batch()
            .topic_arn(topic_arn)
            .set_publish_batch_request_entries(Some(entries))
            .send()
            .await
            .map_err(|error| FailedCall::of(&error))
    }
}
