//! Reads what an event holds: objects, in every envelope of S3, SQS, SNS, EventBridge and
//! CloudTrail; events of CloudTrail itself, in those of EventBridge; log payloads of CloudWatch
//! Logs and Kinesis.
//! Lenient about everything but what is needed; what cannot be parsed is an error, and never
//! dropped.
//!
//! Keys in notifications of S3 itself are form-encoded and decoded here, once; keys from
//! EventBridge and from a trail are plain. Source: Amazon S3 user guide, "Event message structure";
//! AWS CloudTrail user guide, "Configuring Amazon SNS notifications for CloudTrail"; checked
//! 2026-11.

mod payload;

use std::borrow::Cow;

pub use self::payload::{DirectEvent, LogPayload, StreamRecord};

use percent_encoding::percent_decode_str;
use secretrail_aws::dynamodb::ObjectKey;
use serde_json::Value;

/// Most nested envelopes that are unwrapped.
const DEEPEST: usize = 5;

/// An object that a notification names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveredObject {
    /// Bucket, key and version: the version id, or the ETag where there is none.
    pub key: ObjectKey,
    /// Version id; `None` in buckets without versioning.
    pub version_id: Option<String>,
    /// ETag, without quotes; `None` when the notification has none.
    pub etag: Option<String>,
    /// Size in bytes; `None` when the notification has none.
    pub size: Option<u64>,
}

/// One SQS message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueMessage {
    /// `messageId`, for the partial batch response.
    pub id: String,
    /// The objects, none for a test or a direct event; or why the message cannot be parsed.
    pub objects: Result<Vec<DeliveredObject>, UnparseableMessage>,
    /// The event of CloudTrail that it is; `None` for all other messages.
    pub direct: Option<DirectEvent>,
}

/// The event of an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FunctionInvocation {
    /// Messages of an SQS queue, each of which can be retried by itself.
    Queue(Vec<QueueMessage>),
    /// Objects from S3, SNS or EventBridge without a queue: all of them succeed or fail together.
    Direct(Vec<DeliveredObject>),
    /// An event of CloudTrail from EventBridge without a queue.
    DirectEvent(DirectEvent),
    /// A payload of a subscription of CloudWatch Logs.
    Subscription(LogPayload),
    /// Records of a Kinesis stream, each of which can be retried with all that follow it.
    Stream(Vec<StreamRecord>),
    /// The scheduled sweep.
    Sweep,
}

/// Why an event or a message cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnparseableMessage {
    /// An SQS message has no body.
    #[error("the message has no body")]
    NoBody,
    /// There are too many nested envelopes.
    #[error("the message has too many nested envelopes")]
    TooDeep,
    /// A message is not JSON.
    #[error("the message is not JSON: {0}")]
    NotJson(String),
    /// An SNS notification has no message.
    #[error("the SNS notification has no `Message`")]
    NoMessage,
    /// A CloudTrail notification has no bucket.
    #[error("the CloudTrail notification has no `s3Bucket`")]
    TrailBucket,
    /// A CloudTrail notification has a key that is not a string.
    #[error("the CloudTrail notification has an `s3ObjectKey` that is not a string")]
    TrailKey,
    /// An EventBridge event has no detail.
    #[error("the EventBridge event has no `detail`")]
    NoDetail,
    /// An EventBridge event is not about an object.
    #[error("the EventBridge event has no `detail.object`")]
    NoObject,
    /// An EventBridge event has no bucket or no key.
    #[error("the EventBridge event has no bucket name or no object key")]
    EventName,
    /// An S3 record has no bucket or no key.
    #[error("an S3 record has no bucket name or no object key")]
    RecordName,
    /// A record comes from another service, or has no `eventSource`.
    #[error("a record comes from {0}, not from S3 or SNS")]
    OtherService(String),
    /// A payload is not base64.
    #[error("the payload of the log subscription or stream is not base64: {0}")]
    Payload(String),
    /// A key is not valid UTF-8 after decoding.
    #[error("the key `{0}` is not UTF-8 after URL decoding")]
    KeyEncoding(String),
    /// None of the known envelopes; with the names of the first fields.
    #[error(
        "neither a notification of S3, SNS, EventBridge or CloudTrail about an object nor log \
         events from EventBridge, CloudWatch Logs or Kinesis; its fields: {0}"
    )]
    Unknown(String),
}

/// Parses an event.
///
/// # Errors
///
/// The event has none of the known forms; the message names its first fields.
pub fn read(event: &Value) -> Result<FunctionInvocation, UnparseableMessage> {
    let records = event.get("Records").and_then(Value::as_array);
    // Queue first: only SQS takes a partial response, and its bodies hold every other form.
    if let Some(records) = records.filter(|records| records.iter().any(is_from_queue)) {
        return Ok(FunctionInvocation::Queue(
            records.iter().map(message).collect(),
        ));
    }
    if let Some(records) = records.filter(|records| records.iter().any(payload::is_of_stream)) {
        let records = records.iter().map(StreamRecord::of);
        return Ok(FunctionInvocation::Stream(records.collect()));
    }
    if let Some(logs) = event.get("awslogs") {
        let data = text(logs, "data").unwrap_or_default();
        return LogPayload::of(data).map(FunctionInvocation::Subscription);
    }
    // Before the schedule: calls to EventBridge itself have its source, too.
    if let Some(direct) = DirectEvent::of(event) {
        return Ok(FunctionInvocation::DirectEvent(direct));
    }
    let scheduled = text(event, "source") == Some("aws.events")
        || text(event, "source") == Some("aws.scheduler");
    if scheduled || text(event, "secretrail") == Some("sweep") {
        return Ok(FunctionInvocation::Sweep);
    }
    objects(event, 0).map(FunctionInvocation::Direct)
}

fn is_from_queue(record: &Value) -> bool {
    text(record, "eventSource") == Some("aws:sqs")
}

/// Parses an SQS message. An unparseable one is retried alone, and ends in the dead-letter queue.
fn message(record: &Value) -> QueueMessage {
    let body = text(record, "body");
    let direct = body.and_then(DirectEvent::in_message);
    QueueMessage {
        id: text(record, "messageId").unwrap_or_default().to_owned(),
        objects: match (body, &direct) {
            (None, _) => Err(UnparseableMessage::NoBody),
            (_, Some(_)) => Ok(Vec::new()),
            (Some(body), None) => nested(body, 0),
        },
        direct,
    }
}

/// Parses a message that is nested in another, as text.
fn nested(message: &str, depth: usize) -> Result<Vec<DeliveredObject>, UnparseableMessage> {
    if depth > DEEPEST {
        return Err(UnparseableMessage::TooDeep);
    }
    // What CloudTrail sends when a topic is configured.
    if message.trim() == "CloudTrail validation message." {
        return Ok(Vec::new());
    }
    let value: Value = serde_json::from_str(message)
        .map_err(|error| UnparseableMessage::NotJson(error.to_string()))?;
    objects(&value, depth + 1)
}

fn objects(value: &Value, depth: usize) -> Result<Vec<DeliveredObject>, UnparseableMessage> {
    // S3 sends this once when a notification is configured; it has no records.
    if text(value, "Event") == Some("s3:TestEvent") {
        return Ok(Vec::new());
    }
    if let Some(records) = value.get("Records").and_then(Value::as_array) {
        let mut found = Vec::new();
        for record in records {
            found.extend(record_objects(record, depth)?);
        }
        return Ok(found);
    }
    match text(value, "Type") {
        Some("Notification") => return nested(sns_message(value)?, depth),
        // Requests and confirmations of subscriptions: the function confirms nothing by itself.
        Some("SubscriptionConfirmation" | "UnsubscribeConfirmation") => return Ok(Vec::new()),
        _ => {}
    }
    if let Some(keys) = value.get("s3ObjectKey").and_then(Value::as_array) {
        return trail_objects(value, keys);
    }
    if text(value, "source") == Some("aws.s3") {
        return event_objects(value);
    }
    Err(UnparseableMessage::Unknown(first_fields(value)))
}

fn sns_message(envelope: &Value) -> Result<&str, UnparseableMessage> {
    text(envelope, "Message").ok_or(UnparseableMessage::NoMessage)
}

/// The objects of a notification that a trail sends to its own topic: several keys in one bucket,
/// not encoded.
fn trail_objects(
    value: &Value,
    keys: &[Value],
) -> Result<Vec<DeliveredObject>, UnparseableMessage> {
    let bucket = text(value, "s3Bucket").ok_or(UnparseableMessage::TrailBucket)?;
    keys.iter()
        .map(|key| {
            key.as_str()
                .map(|key| DeliveredObject::new(bucket, key.to_owned()))
                .ok_or(UnparseableMessage::TrailKey)
        })
        .collect()
}

/// The object of an event that S3 sends to EventBridge. Its fields are spelled differently from
/// those in notifications (`version-id`, `etag`), and its key is not encoded.
fn event_objects(value: &Value) -> Result<Vec<DeliveredObject>, UnparseableMessage> {
    // A rule may also match deletions and other events.
    if text(value, "detail-type") != Some("Object Created") {
        return Ok(Vec::new());
    }
    let detail = value.get("detail").ok_or(UnparseableMessage::NoDetail)?;
    let object = detail.get("object").ok_or(UnparseableMessage::NoObject)?;
    let (bucket, key) = bucket_and_key(detail, object).ok_or(UnparseableMessage::EventName)?;
    Ok(vec![
        DeliveredObject::new(bucket, key.to_owned()).described(
            text(object, "version-id"),
            text(object, "etag"),
            object.get("size"),
        ),
    ])
}

fn bucket_and_key<'v>(holder: &'v Value, object: &'v Value) -> Option<(&'v str, &'v str)> {
    Some((text(holder.get("bucket")?, "name")?, text(object, "key")?))
}

/// The names of its first fields, without values, to find out where it came from.
fn first_fields(value: &Value) -> String {
    let names: Vec<&str> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .take(5)
        .collect();
    if names.is_empty() {
        "none (not a JSON object)".to_owned()
    } else {
        names.join(", ")
    }
}

/// The objects of an S3 record, or of an SNS record when SNS invokes the function itself.
fn record_objects(
    record: &Value,
    depth: usize,
) -> Result<Vec<DeliveredObject>, UnparseableMessage> {
    if let Some(sns) = record.get("Sns") {
        return nested(sns_message(sns)?, depth);
    }
    let Some(s3) = record.get("s3") else {
        let service = text(record, "eventSource").unwrap_or("an unnamed service");
        return Err(UnparseableMessage::OtherService(service.to_owned()));
    };
    // Removals and other events are ignored. A record without `eventName` is read: it names an
    // object.
    if text(record, "eventName").is_some_and(|name| !is_creation(name)) {
        return Ok(Vec::new());
    }
    let object = s3.get("object").unwrap_or(&Value::Null);
    let (bucket, key) = bucket_and_key(s3, object).ok_or(UnparseableMessage::RecordName)?;
    Ok(vec![DeliveredObject::new(bucket, decoded(key)?).described(
        text(object, "versionId"),
        text(object, "eTag"),
        object.get("size"),
    )])
}

/// Some emulators of S3 write the `s3:` of the configuration into the event.
fn is_creation(event_name: &str) -> bool {
    event_name
        .trim_start_matches("s3:")
        .starts_with("ObjectCreated")
}

/// Decodes a key: `+` is a space, then `%xx` are bytes of UTF-8.
fn decoded(key: &str) -> Result<String, UnparseableMessage> {
    // In this order: a plus in the key itself arrives as %2B.
    let spaced = key.replace('+', " ");
    percent_decode_str(&spaced)
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_| UnparseableMessage::KeyEncoding(key.to_owned()))
}

fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str)
}

impl DeliveredObject {
    /// An object without version id, ETag and size.
    pub(crate) fn new(bucket: &str, key: String) -> Self {
        let key = ObjectKey {
            bucket: bucket.to_owned(),
            key,
            version: String::new(),
        };
        Self {
            key,
            version_id: None,
            etag: None,
            size: None,
        }
    }

    fn described(
        mut self,
        version_id: Option<&str>,
        etag: Option<&str>,
        size: Option<&Value>,
    ) -> Self {
        // `null` is the version id of objects written without versioning; it is not unique.
        self.version_id = filled(version_id).filter(|version| version != "null");
        self.etag = filled(etag);
        self.size = size.and_then(Value::as_u64);
        self.key.version = self
            .version_id
            .clone()
            .or_else(|| self.etag.clone())
            .unwrap_or_default();
        self
    }
}

/// Text without surrounding quotes; `None` when it is empty.
fn filled(text: Option<&str>) -> Option<String> {
    text.map(|text| text.trim_matches('"').to_owned())
        .filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn s3(key: &str) -> Value {
        json!({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
               "s3": {"bucket": {"name": "b"}, "object": {"key": key, "size": 7, "eTag": "e1"}}})
    }

    fn queue(bodies: &[String]) -> Value {
        let records: Vec<Value> = bodies
            .iter()
            .enumerate()
            .map(|(index, body)| {
                let id = format!("m{index}");
                json!({"eventSource": "aws:sqs", "messageId": id, "body": body})
            })
            .collect();
        json!({"Records": records})
    }

    fn keys(event: &Value) -> Vec<Result<Vec<String>, UnparseableMessage>> {
        let names = |objects: Vec<DeliveredObject>| {
            objects
                .into_iter()
                .map(|o| format!("{}/{}", o.key.bucket, o.key.key))
                .collect()
        };
        match read(event).unwrap() {
            FunctionInvocation::Queue(messages) => {
                messages.into_iter().map(|m| m.objects.map(names)).collect()
            }
            FunctionInvocation::Direct(objects) => vec![Ok(names(objects))],
            _ => Vec::new(),
        }
    }

    #[test]
    fn every_envelope_gives_its_objects() {
        let plain = json!({"Records": [s3("a%2Bb+c%C3%A9.json.gz"), s3("d")]}).to_string();
        let decoded = vec!["b/a+b cé.json.gz".to_owned(), "b/d".to_owned()];
        let sns = json!({"Type": "Notification", "Message": plain}).to_string();
        let trail = json!({"s3Bucket": "b", "s3ObjectKey": ["x+y%20", "z"]}).to_string();
        let bridge = json!({"source": "aws.s3", "detail-type": "Object Created", "detail":
            {"bucket": {"name": "b"}, "object": {"key": "x+y", "etag": "e", "size": 3}}});
        let trail_in_sns = json!({"Type": "Notification", "Message": trail}).to_string();
        let found = keys(&queue(&[
            plain.clone(),
            sns,
            trail,
            bridge.to_string(),
            trail_in_sns,
        ]));
        let kept = vec!["b/x+y%20".to_owned(), "b/z".to_owned()];
        assert_eq!(
            found,
            [
                Ok(decoded.clone()),
                Ok(decoded.clone()),
                Ok(kept.clone()),
                Ok(vec!["b/x+y".to_owned()]),
                Ok(kept)
            ]
        );
        let direct = serde_json::from_str(&plain).unwrap();
        assert_eq!(keys(&direct), [Ok(decoded.clone())]);
        let by_sns = json!({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": plain}}]});
        assert_eq!(keys(&by_sns), [Ok(decoded)]);
        assert_eq!(keys(&bridge), [Ok(vec!["b/x+y".to_owned()])]);
    }

    #[test]
    fn tests_confirmations_and_removals_are_nothing() {
        let removal = json!({"eventSource": "aws:s3", "eventName": "ObjectRemoved:Delete",
            "s3": {}});
        let removed = json!({"Records": [removal]});
        for body in [
            json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}).to_string(),
            json!({"Type": "SubscriptionConfirmation", "Token": "t"}).to_string(),
            json!({"Type": "Notification", "Message": "CloudTrail validation message."})
                .to_string(),
            removed.to_string(),
            json!({"source": "aws.s3", "detail-type": "Object Deleted"}).to_string(),
        ] {
            assert_eq!(
                keys(&queue(std::slice::from_ref(&body))),
                [Ok(vec![])],
                "{body}"
            );
        }
    }

    #[test]
    fn what_is_not_understood_fails_alone_and_says_why() {
        let good = json!({"Records": [s3("k")]}).to_string();
        let found = keys(&queue(&[
            "{".to_owned(),
            good,
            json!({"hello": 1}).to_string(),
            json!({"Records": [{"eventSource": "aws:s3", "s3": {"object": {}}}]}).to_string(),
        ]));
        assert!(matches!(found[0], Err(UnparseableMessage::NotJson(_))));
        assert_eq!(found[1], Ok(vec!["b/k".to_owned()]));
        assert_eq!(
            found[2],
            Err(UnparseableMessage::Unknown("hello".to_owned()))
        );
        assert_eq!(found[3], Err(UnparseableMessage::RecordName));
        assert!(read(&json!({"what": "ever"})).is_err());
        assert_eq!(
            read(&json!({"source": "aws.events", "detail-type": "Scheduled Event"})).unwrap(),
            FunctionInvocation::Sweep
        );
        assert_eq!(
            read(&json!({"secretrail": "sweep"})).unwrap(),
            FunctionInvocation::Sweep
        );
    }

    #[test]
    fn versions_identify_an_object() {
        let mut record = s3("k");
        record["s3"]["object"]["versionId"] = json!("v1");
        let FunctionInvocation::Direct(found) =
            read(&json!({"Records": [record, s3("k")]})).unwrap()
        else {
            panic!()
        };
        let versions: Vec<_> = found
            .iter()
            .map(|o| (o.key.version.as_str(), o.version_id.as_deref(), o.size))
            .collect();
        assert_eq!(
            versions,
            [("v1", Some("v1"), Some(7)), ("e1", None, Some(7))]
        );
    }

    #[test]
    fn envelopes_in_envelopes_come_to_an_end() {
        let wrapped = |times: usize| {
            let mut body = json!({"Records": [s3("k")]}).to_string();
            for _ in 0..times {
                body = json!({"Type": "Notification", "Message": body}).to_string();
            }
            keys(&queue(&[body])).pop().unwrap()
        };
        assert_eq!(wrapped(DEEPEST), Ok(vec!["b/k".to_owned()]));
        assert_eq!(wrapped(DEEPEST + 1), Err(UnparseableMessage::TooDeep));
    }

    #[test]
    fn keys_are_decoded_once() {
        assert_eq!(decoded("a%2520b"), Ok("a%20b".to_owned()));
        assert_eq!(decoded("a+b%2Bc"), Ok("a b+c".to_owned()));
        assert_eq!(decoded("100%"), Ok("100%".to_owned()));
        assert_eq!(
            decoded("%FF"),
            Err(UnparseableMessage::KeyEncoding("%FF".to_owned()))
        );
    }

    #[test]
    fn a_bucket_without_versions_is_known_by_etags() {
        let described = |version| {
            DeliveredObject::new("b", "k".to_owned()).described(version, Some("\"e1\""), None)
        };
        for none in [None, Some(""), Some("null")] {
            let delivered = described(none);
            assert_eq!(delivered.version_id, None);
            assert_eq!(delivered.key.version, "e1");
        }
        assert_eq!(described(Some("v1")).key.version, "v1");
    }
}
