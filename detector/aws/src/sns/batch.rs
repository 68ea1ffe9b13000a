//! Batches of messages: as many as fit into one call, and the result of each.
//!
//! SNS reports a result for each entry of a batch: some may be accepted when others fail.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_sns::{
    error::BuildError,
    operation::publish_batch::PublishBatchOutput,
    types::{BatchResultErrorEntry, MessageAttributeValue, PublishBatchRequestEntry},
};

use crate::{
    retry::FailedCall,
    sns::{
        Publication,
        message::{MessageFormat, SnsMessage, plain},
    },
};

/// Most bytes of a message and of a batch.
const MAX_BYTES: usize = 256 * 1024;
/// Most entries of a batch.
const MAX_ENTRIES: usize = 10;

/// Why a destination did not accept a message.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// The request could not be built.
    #[error("{0}")]
    Invalid(BuildError),
    /// The service rejected the message.
    #[error("{code}: {message}")]
    Refused {
        /// Error code of the service.
        code: String,
        /// Error message of the service; may be empty.
        message: String,
    },
    /// The call failed, and with it every message of the batch.
    #[error("{message}")]
    Call {
        /// Error code of the service; `None` without a response.
        code: Option<String>,
        /// The error with its causes.
        message: String,
    },
    /// The response has no result for the message, or none came in time.
    #[error("the service returned no result for it")]
    Unsaid,
}

/// Codes of errors that are about a message, not about its topic.
/// Source: Amazon SNS API reference, `PublishBatch` and `Publish`; AWS Security Hub API reference,
/// `BatchImportFindings`; checked 2026-11.
const ABOUT_MESSAGE: [&str; 7] = [
    "BatchRequestTooLong",
    "InvalidBatchEntryId",
    "InvalidInput",
    "InvalidParameter",
    "ParameterValueInvalid",
    "InvalidMessageContents",
    "ValidationError",
];

impl EntryError {
    /// Whether the message is the reason: the topic may accept others.
    #[must_use]
    pub fn is_about_message(&self) -> bool {
        let (code, message) = match self {
            Self::Invalid(_) => return true,
            Self::Refused { code, message } => (code.as_str(), message),
            Self::Call { code, message } => (code.as_deref().unwrap_or_default(), message),
            Self::Unsaid => return false,
        };
        // An ARN that is none is an invalid parameter too.
        ABOUT_MESSAGE.iter().any(|about| code.contains(about)) && !message.contains("TopicArn")
    }
}

/// A message to be published.
#[derive(Debug)]
pub(super) struct OutgoingMessage {
    /// Index in the caller's list.
    pub(super) index: usize,
    /// Group on a FIFO topic.
    pub(super) group: String,
    /// By which a FIFO topic knows the message again.
    pub(super) deduplication_id: String,
    pub(super) message: SnsMessage,
}

impl OutgoingMessage {
    pub(super) fn of(index: usize, what: &Publication<'_>, format: MessageFormat) -> Self {
        match what {
            Publication::Alert(alert) => Self {
                index,
                group: plain(&alert.rule.id),
                deduplication_id: alert.message_id(),
                message: SnsMessage::of(alert, format),
            },
            Publication::Incident(incident) => Self {
                index,
                group: plain(&incident.announced.thread.0),
                deduplication_id: incident.id(),
                message: SnsMessage::of_incident(incident, format),
            },
            Publication::Digest(digest) => Self {
                index,
                group: "digest".to_owned(),
                deduplication_id: digest.id(),
                message: SnsMessage::of_digest(digest, format),
            },
        }
    }
}

/// Messages in their order, in batches as large as SNS accepts.
pub(super) fn batches(messages: Vec<OutgoingMessage>) -> Vec<Vec<OutgoingMessage>> {
    let mut batches: Vec<Vec<OutgoingMessage>> = Vec::new();
    let mut bytes = 0;
    for outgoing in messages {
        let own = outgoing.message.bytes();
        match batches.last_mut() {
            Some(batch) if batch.len() < MAX_ENTRIES && bytes + own <= MAX_BYTES => {
                bytes += own;
                batch.push(outgoing);
            }
            // A message that is too large for any batch is sent alone: SNS rejects it, and nothing
            // else with it.
            _ => {
                bytes = own;
                batches.push(vec![outgoing]);
            }
        }
    }
    batches
}

/// A batch, until every entry was accepted or failed for good. Entries are identified by the
/// indices of their alerts.
#[derive(Debug, Default)]
pub(super) struct PublishBatch {
    /// Entries that are still to be accepted.
    left: BTreeMap<usize, PublishBatchRequestEntry>,
    /// The errors that the last try reported for them.
    why_left: HashMap<usize, EntryError>,
    /// Entries that failed for good.
    refused: HashMap<usize, EntryError>,
}

impl PublishBatch {
    pub(super) fn of(topic_arn: &str, messages: &[OutgoingMessage]) -> Self {
        let mut batch = Self::default();
        for outgoing in messages {
            match entry(topic_arn, outgoing) {
                Ok(entry) => drop(batch.left.insert(outgoing.index, entry)),
                Err(why) => drop(
                    batch
                        .refused
                        .insert(outgoing.index, EntryError::Invalid(why)),
                ),
            }
        }
        batch
    }

    /// Whether nothing is left to be sent.
    pub(super) fn is_finalized(&self) -> bool {
        self.left.is_empty()
    }

    /// Entries still to be sent, in the order of the alerts, which a FIFO topic keeps.
    pub(super) fn entries(&self) -> Vec<PublishBatchRequestEntry> {
        self.left.values().cloned().collect()
    }

    /// Applies a response.
    pub(super) fn answered(&mut self, answer: PublishBatchOutput) {
        // An entry that this response does not mention must not keep the reason of an earlier one.
        self.why_left.clear();
        for done in answer.successful.unwrap_or_default() {
            if let Some(index) = done.id.and_then(|id| index_of(&id)) {
                self.left.remove(&index);
            }
        }
        for error in answer.failed.unwrap_or_default() {
            self.not_taken(error);
        }
    }

    fn not_taken(&mut self, error: BatchResultErrorEntry) {
        let Some(index) = index_of(&error.id) else {
            return;
        };
        let why = EntryError::Refused {
            code: error.code,
            message: error.message.unwrap_or_default(),
        };
        if !error.sender_fault {
            self.why_left.insert(index, why);
        } else if self.left.remove(&index).is_some() {
            // The sender's fault: the same message would be rejected again.
            self.refused.insert(index, why);
        }
    }

    /// Applies the failure of a call. SNS may have accepted the messages all the same: a duplicate
    /// has the same alert id.
    pub(super) fn not_answered(&mut self, why: &FailedCall) {
        let all = self.left.keys().map(|index| {
            let error = EntryError::Call {
                code: why.code.clone(),
                message: why.message.clone(),
            };
            (*index, error)
        });
        if why.retry {
            self.why_left = all.collect();
        } else {
            self.refused.extend(all);
            self.left.clear();
        }
    }

    /// The entries that were not accepted, by index, and why.
    pub(super) fn given_up(mut self) -> HashMap<usize, EntryError> {
        for index in self.left.into_keys() {
            let why = self.why_left.remove(&index).unwrap_or(EntryError::Unsaid);
            self.refused.insert(index, why);
        }
        self.refused
    }
}

fn index_of(id: &str) -> Option<usize> {
    id.parse().ok()
}

fn entry(
    topic_arn: &str,
    outgoing: &OutgoingMessage,
) -> Result<PublishBatchRequestEntry, BuildError> {
    let OutgoingMessage {
        index,
        group,
        deduplication_id,
        message,
    } = outgoing;
    let mut attributes = HashMap::new();
    for (name, value) in &message.attributes {
        attributes.insert((*name).to_owned(), attribute(value)?);
    }
    let is_fifo = topic_arn.ends_with(".fifo");
    PublishBatchRequestEntry::builder()
        .id(index.to_string())
        .message(&message.body)
        .message_structure("json")
        .subject(&message.subject)
        .set_message_attributes(Some(attributes))
        // In groups by rule: a FIFO topic keeps the order within a group, and one group waits for
        // no other.
        .set_message_group_id(is_fifo.then(|| group.clone()))
        .set_message_deduplication_id(is_fifo.then(|| deduplication_id.clone()))
        .build()
}

fn attribute(value: &str) -> Result<MessageAttributeValue, BuildError> {
    MessageAttributeValue::builder()
        .data_type("String")
        .string_value(value)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::FailureCause;
    use aws_sdk_sns::types::PublishBatchResultEntry;
    use secretrail_engine::{
        alert::{Alert, alert_digest::AlertDigest},
        state::contract::alert,
    };

    const TOPIC: &str = "arn:aws:sns:eu-west-1:111122223333:alerts";

    fn alerts(count: usize) -> Vec<Alert> {
        (0..count).map(|n| alert(&format!("e{n}"))).collect()
    }

    /// Messages with bodies of so many bytes.
    fn outgoing(alerts: &[Alert], bytes: &[usize]) -> Vec<OutgoingMessage> {
        let mut all = Vec::new();
        for ((index, alert), bytes) in alerts.iter().enumerate().zip(bytes) {
            let what = Publication::Alert(alert);
            let mut outgoing = OutgoingMessage::of(index, &what, MessageFormat::Standard);
            outgoing.message.body = "x".repeat(*bytes);
            all.push(outgoing);
        }
        all
    }

    fn batch(count: usize) -> PublishBatch {
        PublishBatch::of(TOPIC, &outgoing(&alerts(count), &vec![1; count]))
    }

    fn done(id: &str) -> PublishBatchResultEntry {
        PublishBatchResultEntry::builder().id(id).build()
    }

    fn error(id: &str, code: &str, sender_fault: bool) -> BatchResultErrorEntry {
        BatchResultErrorEntry::builder()
            .id(id)
            .code(code)
            .sender_fault(sender_fault)
            .build()
            .unwrap()
    }

    fn reported(batch: PublishBatch) -> BTreeMap<usize, String> {
        let given_up = batch.given_up().into_iter();
        given_up
            .map(|(index, why)| (index, why.to_string()))
            .collect()
    }

    fn ids(batch: &PublishBatch) -> Vec<String> {
        batch.entries().into_iter().map(|entry| entry.id).collect()
    }

    fn call(retry: bool) -> FailedCall {
        FailedCall {
            code: None,
            status: None,
            retry,
            cause: FailureCause::Other,
            action: None,
            message: "no route".to_owned(),
        }
    }

    #[test]
    fn a_batch_has_ten_entries_and_256_kib_at_most() {
        let sizes = |bytes: &[usize]| -> Vec<usize> {
            let alerts = alerts(bytes.len());
            let batches = batches(outgoing(&alerts, bytes));
            assert!(batches.iter().flatten().map(|o| o.index).eq(0..bytes.len()));
            batches.iter().map(Vec::len).collect()
        };
        assert!(sizes(&[]).is_empty());
        assert_eq!(sizes(&[10; 21]), [10, 10, 1]);
        assert_eq!(sizes(&[100_000, 100_000, 100_000]), [2, 1]);
        assert_eq!(
            sizes(&[300_000, 10, 300_000]),
            [1, 1, 1],
            "what is too large goes alone"
        );
    }

    #[test]
    fn what_a_batch_holds_counts_with_subject_and_attributes() {
        let alerts = alerts(2);
        let beside = outgoing(&alerts, &[0])[0].message.bytes();
        assert!(beside > 0);
        let half = MAX_BYTES / 2 - beside;
        assert_eq!(batches(outgoing(&alerts, &[half, half])).len(), 1);
        assert_eq!(batches(outgoing(&alerts, &[half, half + 1])).len(), 2);
    }

    #[test]
    fn only_what_did_not_go_through_is_sent_again() {
        let mut batch = batch(12);
        let in_order: Vec<String> = (0..12).map(|n| n.to_string()).collect();
        assert_eq!(ids(&batch), in_order, "by number, not by text");
        batch.answered(
            PublishBatchOutput::builder()
                .set_successful(Some((0..9).map(|n| done(&n.to_string())).collect()))
                .failed(error("9", "InvalidParameter", true))
                .failed(error("10", "InternalError", false))
                .failed(error("99", "InvalidParameter", true))
                .build(),
        );
        assert_eq!(ids(&batch), ["10", "11"]);
        let expected = [
            (9, "InvalidParameter: ".to_owned()),
            (10, "InternalError: ".to_owned()),
            (11, "the service returned no result for it".to_owned()),
        ];
        assert_eq!(reported(batch), expected.into());
    }

    #[test]
    fn a_call_that_may_succeed_later_leaves_everything_to_be_sent() {
        let mut batch = batch(2);
        batch.not_answered(&call(true));
        assert_eq!(ids(&batch), ["0", "1"]);
        let answer = PublishBatchOutput::builder()
            .successful(done("0"))
            .successful(done("1"));
        batch.answered(answer.build());
        assert!(batch.is_finalized());
        assert!(batch.given_up().is_empty());
    }

    #[test]
    fn a_call_that_is_refused_for_good_ends_the_batch() {
        let mut batch = batch(2);
        batch.not_answered(&call(false));
        assert!(batch.is_finalized());
        let why = "no route".to_owned();
        assert_eq!(reported(batch), [(0, why.clone()), (1, why)].into());
    }

    #[test]
    fn a_message_is_refused_and_a_topic_fails() {
        let refused = |code: &str, message: &str| EntryError::Refused {
            code: code.to_owned(),
            message: message.to_owned(),
        };
        let call = |code: Option<&str>| EntryError::Call {
            code: code.map(str::to_owned),
            message: String::new(),
        };
        assert!(
            refused("InvalidParameter", "Invalid parameter: Message too long").is_about_message()
        );
        assert!(call(Some("BatchRequestTooLongException")).is_about_message());
        for error in [
            refused("InvalidParameter", "Invalid parameter: TopicArn"),
            refused("KMSAccessDenied", ""),
            call(Some("NotFound")),
            call(Some("AuthorizationError")),
            call(None),
            EntryError::Unsaid,
        ] {
            assert!(!error.is_about_message(), "{error:?}");
        }
    }

    #[test]
    fn a_digest_has_a_group_and_an_id_of_its_own() {
        let alerts = alerts(2);
        let digest = AlertDigest::new(alerts.iter().collect());
        let id = digest.id();
        let what = Publication::Digest(digest);
        let outgoing = OutgoingMessage::of(0, &what, MessageFormat::Standard);
        assert_eq!(
            (outgoing.group, outgoing.deduplication_id),
            ("digest".to_owned(), id)
        );
    }

    #[test]
    fn fifo_topics_group_by_rule_and_know_an_alert_again() {
        let alerts = alerts(1);
        let outgoing = outgoing(&alerts, &[1]).pop().unwrap();
        let plain = entry(TOPIC, &outgoing).unwrap();
        assert_eq!(
            (plain.message_group_id, plain.message_deduplication_id),
            (None, None)
        );
        let fifo = entry(&format!("{TOPIC}.fifo"), &outgoing).unwrap();
        assert_eq!(fifo.message_group_id.as_deref(), Some("rule"));
        assert_eq!(
            fifo.message_deduplication_id.as_deref(),
            Some(&*alerts[0].id.0)
        );
    }
}
