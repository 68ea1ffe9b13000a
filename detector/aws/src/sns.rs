//! Publishes alerts and incidents to SNS topics: in the format of each topic, in batches, with a
//! result for each entry.
//!
//! Limits: 256 KiB for a message with its attributes, and for a batch, which has ten messages at
//! most; fewer than 100 characters of ASCII for a subject. Source: Amazon SNS API reference,
//! `Publish` and `PublishBatch`, checked 2026-11.

mod batch;
mod message;

use std::{collections::HashMap, time::Duration};

use aws_sdk_sns::{
    Client, operation::publish_batch::PublishBatchOutput, types::PublishBatchRequestEntry,
};
use secretrail_engine::{
    alert::{Alert, alert_digest::AlertDigest},
    ids::SharedStr,
    incident::message::IncidentMessage,
    outbox::{DeliveredKinds, Destination},
    rule_meta::RuleLevel,
};

use self::batch::{OutgoingMessage, PublishBatch, batches};
pub use self::{
    batch::EntryError,
    message::{MessageFormat, SnsMessage},
};
use crate::retry::{FailedCall, RetryPolicy};

/// How long a batch is tried before the topic counts as failing.
const PATIENCE: Duration = Duration::from_secs(10);

/// A topic, and which alerts and incidents are published to it in which format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDestination {
    /// Identity in the outbox: the ARN; of a topic that is listed several times, all but the first
    /// have a number behind it.
    pub id: SharedStr,
    /// ARN of the topic; that of a FIFO topic ends in `.fifo`.
    pub topic_arn: String,
    /// Alerts and incidents below this level are not published to the topic.
    pub min_level: RuleLevel,
    /// What is published to the topic.
    pub kinds: DeliveredKinds,
    /// What is below this level waits for one digest a day; `None` when nothing does.
    pub digest_below: Option<RuleLevel>,
    /// Format of the messages.
    pub format: MessageFormat,
    /// Most messages in a minute; `None` for no limit.
    pub max_per_minute: Option<usize>,
}

impl TopicDestination {
    /// What a store knows of it.
    #[must_use]
    pub fn destination(&self) -> Destination {
        Destination {
            id: self.id.clone(),
            min_level: self.min_level,
            kinds: self.kinds,
            digest_below: self.digest_below,
        }
    }
}

/// What is published in one message.
#[derive(Debug)]
pub enum Publication<'a> {
    /// An alert.
    Alert(&'a Alert),
    /// An incident.
    Incident(&'a IncidentMessage),
    /// Many of them.
    Digest(AlertDigest<'a>),
}

/// What became of a message.
#[derive(Debug)]
pub enum Published {
    /// The topic accepted it.
    Accepted,
    /// The topic refuses this message, whatever becomes of others.
    Refused(EntryError),
    /// The topic does not accept messages, or not now.
    Failed(EntryError),
    /// It was not sent: the topic failed before.
    NotSent,
}

/// Publishes alerts to topics.
#[derive(Debug, Clone)]
pub struct SnsSink {
    client: Client,
    retry: RetryPolicy,
}

impl SnsSink {
    /// A sink.
    #[must_use]
    pub fn new(client: Client, retry: RetryPolicy) -> Self {
        Self { client, retry }
    }

    /// Publishes messages to a topic, in their order, until the topic fails; the result of each.
    /// After a lost response a retry publishes a message again, with the same id.
    pub async fn publish(
        &self,
        topic: &TopicDestination,
        publications: &[Publication<'_>],
    ) -> Vec<Published> {
        let mut results: Vec<_> = publications.iter().map(|_| Published::NotSent).collect();
        let messages = publications.iter().enumerate();
        let messages = messages.map(|(index, what)| OutgoingMessage::of(index, what, topic.format));
        for messages in batches(messages.collect()) {
            let sent: Vec<usize> = messages.iter().map(|message| message.index).collect();
            let mut errors = self.send(&topic.topic_arn, messages).await;
            let mut is_failing = false;
            for index in sent {
                let result = match errors.remove(&index) {
                    None => Published::Accepted,
                    Some(error) if error.is_about_message() => Published::Refused(error),
                    Some(error) => {
                        is_failing = true;
                        Published::Failed(error)
                    }
                };
                if let Some(place) = results.get_mut(index) {
                    *place = result;
                }
            }
            if is_failing {
                break;
            }
        }
        results
    }

    /// Sends a batch; returns the messages that were not accepted. When the call is refused because
    /// of its messages, each is sent alone, so that one does not take the others with it.
    async fn send(
        &self,
        topic_arn: &str,
        messages: Vec<OutgoingMessage>,
    ) -> HashMap<usize, EntryError> {
        let errors = self.try_to_send(topic_arn, &messages).await;
        let alone = messages.len() > 1
            && errors.len() == messages.len()
            && errors.values().all(EntryError::is_about_message);
        if !alone {
            return errors;
        }
        let mut errors = HashMap::new();
        for message in messages {
            errors.extend(self.try_to_send(topic_arn, &[message]).await);
        }
        errors
    }

    /// Sends a batch until every entry was accepted or failed for good, or the time is over;
    /// returns those that were not accepted.
    async fn try_to_send(
        &self,
        topic_arn: &str,
        messages: &[OutgoingMessage],
    ) -> HashMap<usize, EntryError> {
        let mut batch = PublishBatch::of(topic_arn, messages);
        let trying = self.try_batch(topic_arn, &mut batch);
        // What the last try reported remains.
        tokio::time::timeout(PATIENCE, trying).await.ok();
        batch.given_up()
    }

    async fn try_batch(&self, topic_arn: &str, batch: &mut PublishBatch) {
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
