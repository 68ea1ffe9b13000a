//! Events and log payloads that bring records themselves, instead of the names of objects.
//!
//! Sources: Amazon EventBridge user guide, "AWS service events delivered via AWS CloudTrail";
//! Amazon CloudWatch Logs user guide, "Using subscription filters"; AWS Lambda developer guide,
//! "Process Amazon Kinesis Data Streams records with Lambda"; checked 2026-11.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{UnparseableMessage, text};

/// An event of CloudTrail that EventBridge has sent, ahead of its log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectEvent {
    /// `id` of the event of EventBridge; empty when it has none.
    pub id: String,
    /// The event of EventBridge as JSON, with the record in `detail`.
    pub json: String,
}

/// Records of a log group, as a subscription sends them: compressed, as CloudWatch Logs or Firehose
/// would write them into a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPayload {
    /// The bytes as sent: gzip of `{"messageType", "logGroup", "logStream", "logEvents"}`; in a
    /// stream that something else fills, whatever that is.
    pub bytes: Vec<u8>,
}

/// A record of a Kinesis stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRecord {
    /// `kinesis.sequenceNumber`, for the partial batch response.
    pub id: String,
    /// Its content, or why it cannot be parsed.
    pub payload: Result<LogPayload, UnparseableMessage>,
}

/// What the `detail-type` of all events of CloudTrail ends in: `AWS API Call via CloudTrail`, `AWS
/// Service Event via CloudTrail`, `AWS Console Sign In via CloudTrail`.
const VIA_CLOUDTRAIL: &str = " via CloudTrail";

impl DirectEvent {
    /// The event that this is; `None` for any other.
    pub(super) fn of(event: &Value) -> Option<Self> {
        let is_direct = text(event, "detail-type")?.ends_with(VIA_CLOUDTRAIL)
            // Nobody but AWS can send events of such a source.
            && text(event, "source")?.starts_with("aws.")
            && event.get("detail").is_some_and(Value::is_object);
        is_direct.then(|| Self {
            id: text(event, "id").unwrap_or_default().to_owned(),
            json: event.to_string(),
        })
    }

    /// The event in a message of a queue, also when a topic has sent it there; `None` for any other
    /// message.
    pub(super) fn in_message(body: &str) -> Option<Self> {
        // Most messages are about objects: these are not parsed twice.
        if !body.contains(VIA_CLOUDTRAIL) {
            return None;
        }
        let value: Value = serde_json::from_str(body).ok()?;
        match text(&value, "Message") {
            Some(message) => Self::of(&serde_json::from_str(message).ok()?),
            None => Self::of(&value),
        }
    }
}

impl LogPayload {
    /// The payload in base64.
    pub(super) fn of(data: &str) -> Result<Self, UnparseableMessage> {
        let bytes = STANDARD
            .decode(data)
            .map_err(|error| UnparseableMessage::Payload(error.to_string()))?;
        Ok(Self { bytes })
    }
}

pub(super) fn is_of_stream(record: &Value) -> bool {
    text(record, "eventSource") == Some("aws:kinesis")
}

impl StreamRecord {
    pub(super) fn of(record: &Value) -> Self {
        let kinesis = record.get("kinesis").unwrap_or(&Value::Null);
        Self {
            id: text(kinesis, "sequenceNumber")
                .unwrap_or_default()
                .to_owned(),
            payload: LogPayload::of(text(kinesis, "data").unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{FunctionInvocation, read};
    use super::*;

    fn event(source: &str, kind: &str) -> Value {
        json!({"version": "0", "id": "b1", "detail-type": kind, "source": source,
            "account": "111122223333", "region": "eu-west-1",
            "detail": {"eventName": "GetSecretValue"}})
    }

    #[test]
    fn events_of_cloudtrail_are_neither_notifications_nor_schedules() {
        let call = "AWS API Call via CloudTrail";
        for (source, kind, expected) in [
            ("aws.secretsmanager", call, true),
            ("aws.kms", "AWS Service Event via CloudTrail", true),
            ("aws.s3", call, true),
            // A rule of EventBridge is deleted: no schedule.
            ("aws.events", call, true),
            ("my.app", call, false),
        ] {
            let event = event(source, kind);
            let direct = DirectEvent::in_message(&event.to_string());
            assert_eq!(direct.is_some(), expected, "{source} {kind}");
            let invocation = read(&event);
            let is_direct = matches!(&invocation, Ok(FunctionInvocation::DirectEvent(found))
                if found.id == "b1" && found.json.contains("GetSecretValue"));
            assert_eq!(is_direct, expected, "{invocation:?}");
        }
        let schedule = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
        assert_eq!(read(&schedule), Ok(FunctionInvocation::Sweep));
    }

    #[test]
    fn a_queue_may_hold_objects_and_events() {
        let direct = event("aws.ssm", "AWS API Call via CloudTrail").to_string();
        let by_topic = json!({"Type": "Notification", "Message": direct}).to_string();
        let object = json!({"s3Bucket": "b", "s3ObjectKey": ["k"]}).to_string();
        let broken = direct.replace("\"detail\"", "\"else\"");
        let records: Vec<Value> = [direct, by_topic, object, broken]
            .iter()
            .map(|body| json!({"eventSource": "aws:sqs", "messageId": "m", "body": body}))
            .collect();
        let Ok(FunctionInvocation::Queue(messages)) = read(&json!({"Records": records})) else {
            panic!("it is from a queue")
        };
        let found: Vec<_> = messages
            .iter()
            .map(|m| (m.direct.is_some(), m.objects.as_ref().map(Vec::len).ok()))
            .collect();
        let expected = [
            (true, Some(0)),
            (true, Some(0)),
            (false, Some(1)),
            (false, None),
        ];
        assert_eq!(found, expected, "what is none is returned for retry");
    }

    #[test]
    fn payloads_of_logs_and_streams_are_decoded() {
        let data = STANDARD.encode("payload");
        let subscription = read(&json!({"awslogs": {"data": data}}));
        let payload = LogPayload {
            bytes: b"payload".to_vec(),
        };
        assert_eq!(
            subscription,
            Ok(FunctionInvocation::Subscription(payload.clone()))
        );
        let record = |id: &str, data: &str| {
            json!({"eventSource": "aws:kinesis",
                "kinesis": {"sequenceNumber": id, "data": data}})
        };
        let records = [record("1", &data), record("2", "?")];
        let Ok(FunctionInvocation::Stream(records)) = read(&json!({"Records": records})) else {
            panic!("it is from a stream")
        };
        assert_eq!(records[0].payload, Ok(payload));
        assert_eq!(records[1].id, "2");
        assert!(records[1].payload.is_err());
        let broken = read(&json!({"awslogs": {"data": "?"}}));
        assert!(broken.unwrap_err().to_string().contains("not base64"));
    }
}
