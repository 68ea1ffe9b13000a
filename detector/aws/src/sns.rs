//! Alerts to SNS topics: in the form that the topic's readers understand, in batches, each entry checked.
//!
//! Limits: a message with its attributes has at most 256 KiB, and so has a batch, of ten at most; a subject has fewer than
//! 100 characters of ASCII. Source: Amazon SNS API reference, `Publish` and `PublishBatch`, checked 2026-11.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_sns::Client;
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};
use secretrail_engine::alert::{Alert, chat, json_v1, ocsf, text};
use secretrail_engine::rule_meta::Level;
use serde::Serialize;

use crate::retry::{Failed, Retry};

/// Bytes of a message and of a batch.
const MAX_BYTES: usize = 256 * 1024;
/// Bytes that the standard object may take of it: the rest is for the text beside it, for attributes, and for quotes.
const BODY_BYTES: usize = 96 * 1024;
/// Bytes of the text for people.
const TEXT_BYTES: usize = 24 * 1024;
/// Entries of a batch.
const BATCH: usize = 10;
/// Characters of an attribute, a group id.
const SHORT: usize = 128;

/// What the readers of a topic understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `secretrail.alert/1`, and plain text for e-mail.
    Standard,
    /// Amazon Q Developer in chat applications.
    Chat,
    /// OCSF Detection Finding.
    Ocsf,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Standard, Self::Chat, Self::Ocsf];

    /// The name in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Chat => "chat",
            Self::Ocsf => "ocsf",
        }
    }
}

/// A topic, and what goes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// ARN of the topic; that of a FIFO topic ends in `.fifo`.
    pub topic_arn: String,
    /// Alerts below it do not go there.
    pub min_level: Level,
    /// In which form.
    pub format: Format,
}

impl Destination {
    fn is_fifo(&self) -> bool {
        self.topic_arn.ends_with(".fifo")
    }
}

/// A message as SNS takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// JSON with a body for each protocol.
    pub body: String,
    /// Subject.
    pub subject: String,
    /// Attributes, all of them strings, none of them empty.
    pub attributes: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Bodies<'a> {
    default: &'a str,
    email: &'a str,
    sms: &'a str,
}

impl Message {
    /// The message of an alert.
    #[must_use]
    pub fn of(alert: &Alert, format: Format) -> Self {
        let subject = text::subject(alert);
        let body = match format {
            Format::Standard => json_v1::within(alert, BODY_BYTES),
            Format::Chat => chat::notification(&alert.shortened(0, 20, 2_000)),
            Format::Ocsf => {
                let whole = ocsf::detection_finding(alert);
                if whole.len() <= BODY_BYTES {
                    whole
                } else {
                    ocsf::detection_finding(&alert.shortened(0, 5, 200))
                }
            }
        };
        let mut email = text::body(alert);
        if email.len() > TEXT_BYTES {
            email.truncate(email.floor_char_boundary(TEXT_BYTES));
            email.push_str("\n(cut)\n");
        }
        let bodies = Bodies {
            default: &body,
            email: &email,
            sms: &subject,
        };
        // Cannot fail: every key is text.
        let body = serde_json::to_string(&bodies).unwrap_or_default();
        Self {
            body,
            subject,
            attributes: attributes(alert),
        }
    }

    fn bytes(&self) -> usize {
        let attributes = self
            .attributes
            .iter()
            .map(|(name, value)| name.len() + value.len() + "String".len());
        self.body.len() + self.subject.len() + attributes.sum::<usize>()
    }
}

/// What subscriptions filter by.
fn attributes(alert: &Alert) -> BTreeMap<&'static str, String> {
    let stores: BTreeSet<&str> = alert
        .accesses
        .iter()
        .map(|access| access.secret.store.as_str())
        .collect();
    let store = stores
        .first()
        .filter(|_| stores.len() == 1)
        .map(|store| (*store).to_owned());
    let all = [
        ("schema", Some(json_v1::SCHEMA.to_owned())),
        ("severity", Some(alert.rule.level.to_string())),
        ("rule_id", Some(plain(&alert.rule.id))),
        ("account_id", alert.account.as_deref().map(plain)),
        ("region", alert.region.as_deref().map(plain)),
        ("secret_store", store),
    ];
    all.into_iter()
        .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)))
        .collect()
}

/// Printable ASCII, not long.
fn plain(text: &str) -> String {
    text.chars()
        .take(SHORT)
        .map(|c| if c.is_ascii_graphic() { c } else { '_' })
        .collect()
}

/// Publishes alerts.
#[derive(Debug, Clone)]
pub struct SnsSink {
    client: Client,
    retry: Retry,
    destinations: Vec<Destination>,
}

impl SnsSink {
    /// A sink to these topics.
    #[must_use]
    pub fn new(client: Client, retry: Retry, destinations: Vec<Destination>) -> Self {
        Self {
            client,
            retry,
            destinations,
        }
    }

    /// Publishes each alert to every topic that takes its level; for each, whether all of them have it, or why not. An
    /// answer that was lost, or a topic that failed beside another, means that an alert is published twice: its id tells.
    pub async fn publish(&self, alerts: &[Alert]) -> Vec<Result<(), String>> {
        let mut results = vec![Ok(()); alerts.len()];
        for destination in &self.destinations {
            let taken = |(_, alert): &(usize, &Alert)| alert.rule.level >= destination.min_level;
            let messages = alerts.iter().enumerate().filter(taken);
            let mut messages: Vec<_> = messages
                .map(|(index, alert)| (index, alert, Message::of(alert, destination.format)))
                .collect();
            while !messages.is_empty() {
                let mut bytes = 0;
                let fits = messages.iter().take(BATCH).take_while(|(_, _, message)| {
                    bytes += message.bytes();
                    bytes <= MAX_BYTES
                });
                let count = fits.count().max(1);
                let rest = messages.split_off(count.min(messages.len()));
                for (index, why) in self.batch(destination, messages).await {
                    if let Some(result) = results.get_mut(index) {
                        *result = Err(format!("publishing to {}: {why}", destination.topic_arn));
                    }
                }
                messages = rest;
            }
        }
        results
    }

    /// Publishes a batch until every entry went through or failed for good; gives those that did not go through.
    async fn batch(
        &self,
        destination: &Destination,
        messages: Vec<(usize, &Alert, Message)>,
    ) -> HashMap<usize, String> {
        let mut given_up = HashMap::new();
        let mut left: HashMap<String, (usize, PublishBatchRequestEntry)> = HashMap::new();
        for (index, alert, message) in messages {
            match entry(destination, alert, &message, index) {
                Ok(entry) => drop(left.insert(index.to_string(), (index, entry))),
                Err(why) => drop(given_up.insert(index, why)),
            }
        }
        let mut failed = 0;
        while !left.is_empty() {
            let mut entries: Vec<_> = left.values().map(|(_, entry)| entry.clone()).collect();
            entries.sort_by(|a, b| a.id.len().cmp(&b.id.len()).then_with(|| a.id.cmp(&b.id)));
            let request = self
                .client
                .publish_batch()
                .topic_arn(&destination.topic_arn);
            let mut why_left: HashMap<String, String> = HashMap::new();
            match request
                .set_publish_batch_request_entries(Some(entries))
                .send()
                .await
            {
                Ok(answer) => {
                    for done in answer.successful.unwrap_or_default() {
                        left.remove(&done.id.unwrap_or_default());
                    }
                    for error in answer.failed.unwrap_or_default() {
                        let why = format!("{}: {}", error.code, error.message.unwrap_or_default());
                        if error.sender_fault {
                            given_up.extend(left.remove(&error.id).map(|(index, _)| (index, why)));
                        } else {
                            why_left.insert(error.id, why);
                        }
                    }
                }
                Err(error) => {
                    let why = Failed::of(&error);
                    if !why.retry {
                        given_up.extend(
                            left.drain()
                                .map(|(_, (index, _))| (index, why.message.clone())),
                        );
                    }
                    why_left.extend(left.keys().map(|id| (id.clone(), why.message.clone())));
                }
            }
            failed += 1;
            if !left.is_empty() && !self.retry.again(failed) {
                let why = |id: &String| {
                    why_left
                        .get(id)
                        .cloned()
                        .unwrap_or_else(|| "the topic did not say".to_owned())
                };
                given_up.extend(left.drain().map(|(id, (index, _))| (index, why(&id))));
            } else if !left.is_empty() {
                self.retry.wait(failed).await;
            }
        }
        given_up
    }
}

fn entry(
    destination: &Destination,
    alert: &Alert,
    message: &Message,
    index: usize,
) -> Result<PublishBatchRequestEntry, String> {
    let attribute = |value: &String| {
        MessageAttributeValue::builder()
            .data_type("String")
            .string_value(value)
            .build()
    };
    let mut attributes = HashMap::new();
    for (name, value) in &message.attributes {
        attributes.insert(
            (*name).to_owned(),
            attribute(value).map_err(|error| error.to_string())?,
        );
    }
    let fifo = destination.is_fifo();
    PublishBatchRequestEntry::builder()
        .id(index.to_string())
        .message(&message.body)
        .message_structure("json")
        .subject(&message.subject)
        .set_message_attributes(Some(attributes))
        .set_message_group_id(fifo.then(|| plain(&alert.rule.id)))
        .set_message_deduplication_id(fifo.then(|| alert.id.0.to_string()))
        .build()
        .map_err(|error| error.to_string())
}
