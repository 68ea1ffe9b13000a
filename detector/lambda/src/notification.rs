//! What the function is invoked with, in every envelope that S3, SQS, SNS, EventBridge and CloudTrail make, to objects.
//! Lenient about everything but what is needed; what is not understood is said, not dropped.
//!
//! Keys in notifications of S3 itself are form-encoded and decoded here, once; those of EventBridge and of a trail are plain.
//! Source: Amazon S3 user guide, "Event message structure"; AWS CloudTrail user guide, "Configuring Amazon SNS
//! notifications for CloudTrail"; checked 2026-11.

use percent_encoding::percent_decode_str;
use secretrail_aws::dynamodb::ObjectKey;
use serde_json::Value;

/// Envelopes in envelopes beyond which nobody is honest.
const DEEPEST: usize = 5;

/// An object that was delivered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Delivered {
    /// Bucket, key and version: the version id, or the ETag where there is none.
    pub key: ObjectKey,
    /// Version id, in buckets that keep versions.
    pub version_id: Option<String>,
    /// ETag, without quotes.
    pub etag: Option<String>,
    /// Size in bytes.
    pub size: Option<u64>,
}

/// One message of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `messageId`, to be handed back by.
    pub id: String,
    /// The objects, none for a test; or why the message is not understood.
    pub objects: Result<Vec<Delivered>, String>,
}

/// What the function is invoked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// Messages of an SQS queue, each of which can be handed back.
    Queue(Vec<Message>),
    /// Objects from S3, SNS or EventBridge without a queue between: all of it can only succeed or fail.
    Direct(Vec<Delivered>),
    /// The schedule of the sweep.
    Sweep,
}

/// Reads an event.
///
/// # Errors
///
/// It is none of the known ones; the text tells what it looks like.
pub fn read(event: &Value) -> Result<Invocation, String> {
    let records = event.get("Records").and_then(Value::as_array);
    let from_queue =
        |record: &Value| record.get("eventSource").and_then(Value::as_str) == Some("aws:sqs");
    if let Some(records) = records.filter(|records| records.iter().any(from_queue)) {
        let message = |record: &Value| Message {
            id: text(record, "messageId").unwrap_or_default().to_owned(),
            objects: text(record, "body")
                .ok_or_else(|| "the message has no body".to_owned())
                .and_then(body),
        };
        return Ok(Invocation::Queue(records.iter().map(message).collect()));
    }
    let scheduled = text(event, "source") == Some("aws.events")
        || text(event, "source") == Some("aws.scheduler");
    if scheduled || text(event, "secretrail") == Some("sweep") {
        return Ok(Invocation::Sweep);
    }
    objects(event, 0).map(Invocation::Direct)
}

fn body(body: &str) -> Result<Vec<Delivered>, String> {
    nested(body, 0)
}

fn nested(message: &str, depth: usize) -> Result<Vec<Delivered>, String> {
    if depth > DEEPEST {
        return Err("the message is wrapped too often".to_owned());
    }
    // What CloudTrail sends when a topic is configured.
    if message.trim() == "CloudTrail validation message." {
        return Ok(Vec::new());
    }
    let value: Value = serde_json::from_str(message)
        .map_err(|error| format!("the message is not JSON: {error}"))?;
    objects(&value, depth + 1)
}

fn objects(value: &Value, depth: usize) -> Result<Vec<Delivered>, String> {
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
        Some("Notification") => {
            let message = text(value, "Message").ok_or("the notification of SNS has no message")?;
            return nested(message, depth);
        }
        Some("SubscriptionConfirmation" | "UnsubscribeConfirmation") => return Ok(Vec::new()),
        _ => {}
    }
    if let Some(keys) = value.get("s3ObjectKey").and_then(Value::as_array) {
        let bucket =
            text(value, "s3Bucket").ok_or("the notification of CloudTrail names no bucket")?;
        let key = |key: &Value| {
            key.as_str()
                .map(|key| Delivered::new(bucket, key.to_owned()))
        };
        let all: Option<Vec<Delivered>> = keys.iter().map(key).collect();
        return all
            .ok_or_else(|| "the notification of CloudTrail has a key that is not text".to_owned());
    }
    if text(value, "source") == Some("aws.s3") {
        if text(value, "detail-type") != Some("Object Created") {
            return Ok(Vec::new());
        }
        let detail = value
            .get("detail")
            .ok_or("the event of EventBridge has no detail")?;
        let bucket = detail.get("bucket").and_then(|bucket| text(bucket, "name"));
        let object = detail
            .get("object")
            .ok_or("the event of EventBridge names no object")?;
        let (Some(bucket), Some(key)) = (bucket, text(object, "key")) else {
            return Err("the event of EventBridge names no bucket or no key".to_owned());
        };
        return Ok(vec![Delivered::new(bucket, key.to_owned()).described(
            text(object, "version-id"),
            text(object, "etag"),
            object.get("size"),
        )]);
    }
    let names: Vec<&str> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .take(5)
        .collect();
    Err(format!(
        "it is no notification of S3, SNS, EventBridge or CloudTrail about an object; it has the fields {}",
        if names.is_empty() {
            "of no object".to_owned()
        } else {
            names.join(", ")
        }
    ))
}

fn record_objects(record: &Value, depth: usize) -> Result<Vec<Delivered>, String> {
    if let Some(sns) = record.get("Sns") {
        return nested(
            text(sns, "Message").ok_or("the notification of SNS has no message")?,
            depth,
        );
    }
    let Some(s3) = record.get("s3") else {
        return Err(format!(
            "a record is of {}, not of S3 or SNS",
            text(record, "eventSource").unwrap_or("nobody")
        ));
    };
    // Removals and such are none of ours.
    if text(record, "eventName")
        .is_some_and(|name| !name.trim_start_matches("s3:").starts_with("ObjectCreated"))
    {
        return Ok(Vec::new());
    }
    let bucket = s3.get("bucket").and_then(|bucket| text(bucket, "name"));
    let object = s3.get("object");
    let (Some(bucket), Some(object), Some(key)) = (
        bucket,
        object,
        object.and_then(|object| text(object, "key")),
    ) else {
        return Err("a record of S3 names no bucket or no key".to_owned());
    };
    let delivered = Delivered::new(bucket, decoded(key)?);
    Ok(vec![delivered.described(
        text(object, "versionId"),
        text(object, "eTag"),
        object.get("size"),
    )])
}

/// `+` is a space, then `%xx` are bytes of UTF-8.
fn decoded(key: &str) -> Result<String, String> {
    let spaced = key.replace('+', " ");
    let bytes = percent_decode_str(&spaced).decode_utf8();
    bytes
        .map(|key| key.into_owned())
        .map_err(|_| format!("the key `{key}` is not UTF-8 once it is decoded"))
}

fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str)
}

impl Delivered {
    fn new(bucket: &str, key: String) -> Self {
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
        let filled = |text: Option<&str>| {
            text.map(|t| t.trim_matches('"').to_owned())
                .filter(|t| !t.is_empty())
        };
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn s3(key: &str) -> Value {
        json!({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
               "s3": {"bucket": {"name": "b"}, "object": {"key": key, "size": 7, "eTag": "e1"}}})
    }

    fn queue(bodies: &[String]) -> Value {
        let record = |(index, body): (usize, &String)| json!({"eventSource": "aws:sqs", "messageId": format!("m{index}"), "body": body});
        json!({"Records": bodies.iter().enumerate().map(record).collect::<Vec<_>>()})
    }

    fn keys(event: &Value) -> Vec<Result<Vec<String>, String>> {
        let names = |objects: Vec<Delivered>| {
            objects
                .into_iter()
                .map(|o| format!("{}/{}", o.key.bucket, o.key.key))
                .collect()
        };
        match read(event).unwrap() {
            Invocation::Queue(messages) => {
                messages.into_iter().map(|m| m.objects.map(names)).collect()
            }
            Invocation::Direct(objects) => vec![Ok(names(objects))],
            Invocation::Sweep => Vec::new(),
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
        let removed = json!({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectRemoved:Delete", "s3": {}}]});
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
        assert!(found[0].as_ref().unwrap_err().contains("not JSON"));
        assert_eq!(found[1], Ok(vec!["b/k".to_owned()]));
        assert!(found[2].as_ref().unwrap_err().contains("hello"));
        assert!(
            found[3]
                .as_ref()
                .unwrap_err()
                .contains("no bucket or no key")
        );
        assert!(read(&json!({"what": "ever"})).is_err());
        assert_eq!(
            read(&json!({"source": "aws.events", "detail-type": "Scheduled Event"})).unwrap(),
            Invocation::Sweep
        );
        assert_eq!(
            read(&json!({"secretrail": "sweep"})).unwrap(),
            Invocation::Sweep
        );
    }

    #[test]
    fn versions_identify_an_object() {
        let mut record = s3("k");
        record["s3"]["object"]["versionId"] = json!("v1");
        let Invocation::Direct(found) = read(&json!({"Records": [record, s3("k")]})).unwrap()
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
}
