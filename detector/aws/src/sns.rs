//! Alerts to SNS topics: in the form that the topic's readers understand, in batches, each entry
//! checked.
//!
//! Limits: a message with its attributes has at most 256 KiB, and so has a batch, of ten at most; a
//! subject has fewer than 100 characters of ASCII. Source: Amazon SNS API reference, `Publish` and
//! `PublishBatch`, checked 2026-11.

mod batch;
mod message;

use std::collections::HashMap;

use aws_sdk_sns::Client;
use aws_sdk_sns::operation::publish_batch::PublishBatchOutput;
use aws_sdk_sns::types::PublishBatchRequestEntry;
use secretrail_engine::alert::Alert;
use secretrail_engine::rule_meta::RuleLevel;

pub use self::batch::EntryError;
use self::batch::{OutgoingMessage, PublishBatch, batches};
pub use self::message::{MessageFormat, SnsMessage};
use crate::retry::{FailedCall, RetryPolicy};

/// A topic, and what goes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDestination {
    /// ARN of the topic; that of a FIFO topic ends in `.fifo`.
    pub topic_arn: String,
    /// Alerts below it do not go there.
    pub min_level: RuleLevel,
    /// In which form.
    pub format: MessageFormat,
}

impl TopicDestination {
    /// The messages of the alerts that go there.
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
    /// The topic that does not have it; of several, the last.
    pub topic_arn: String,
    /// Why it does not.
    pub why: EntryError,
}

/// Publishes alerts.
#[derive(Debug, Clone)]
pub struct SnsSink {
    client: Client,
    retry: RetryPolicy,
    destinations: Vec<TopicDestination>,
}

impl SnsSink {
    /// A sink to these topics.
    #[must_use]
    pub fn new(client: Client, retry: RetryPolicy, destinations: Vec<TopicDestination>) -> Self {
        Self {
            client,
            retry,
            destinations,
        }
    }

    /// Publishes each alert to every topic that takes its level; for each, whether all of them have
    /// it, or why not. An answer that was lost, or a topic that failed beside another, means that
    /// an alert is published twice: its id tells.
    pub async fn publish(&self, alerts: &[Alert]) -> Vec<Result<(), PublishError>> {
        let mut results: Vec<_> = alerts.iter().map(|_| Ok(())).collect();
        for destination in &self.destinations {
            let topic_arn = &destination.topic_arn;
            for messages in batches(destination.messages(alerts)) {
                for (index, why) in self.send(topic_arn, messages).await {
                    if let Some(result) = results.get_mut(index) {
                        // The alert counts as published only when every topic has it.
                        let topic_arn = topic_arn.clone();
                        *result = Err(PublishError { topic_arn, why });
                    }
                }
            }
        }
        results
    }

    /// Sends a batch until every entry went through or failed for good; gives those that did not go
    /// through.
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
