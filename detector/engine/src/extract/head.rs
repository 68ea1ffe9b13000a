//! The fields that all observations have.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{
    denial::{denied_by, outcome},
    raw_fields::{RawFields, kept},
};
use crate::{
    digest::{digest, short_digest, short_digest_of_bytes},
    document::{JsonNode, LazyDocument},
    ids::{ArnParts, RecordHome, SharedStr},
    object::RecordOrigin,
    observation::{CallOutcome, CallSource, EventHeader, Interner, KeptFields},
    principal::Principal,
    time::EventTime,
    wire::CloudTrailRecord,
};

/// Makes the fields that all observations have. `None` when `eventTime` is missing or is not a
/// time.
pub fn head(
    record: &CloudTrailRecord<'_>,
    document: &LazyDocument<'_>,
    origin: &RecordOrigin,
    wanted: &RawFields,
    interner: &mut Interner,
) -> Option<EventHeader> {
    let time = EventTime::parse(record.event_time.get()?)?;
    let updated = updated_event(record);
    let outcome = outcome(record.error_code.get(), record.error_message.get());
    let home = home(record);
    let event_id = event_id(updated.or(record.event_id.get()), document);
    let principal = interner.principal(record);
    let kept = kept(document, wanted);
    let (shared, unshared) = event_digests(record, &event_id, time, &principal);
    Some(EventHeader {
        event: shared.unwrap_or(unshared),
        unshared_event: shared.map(|_| unshared),
        content: content_digest(record, &kept),
        event_id,
        shared_id: record.shared_event_id.get().map(SharedStr::from),
        updated: updated.is_some(),
        time,
        api: interner.text(record.event_name.get().unwrap_or_default()),
        account: interner.text(home.account),
        region: interner.text(home.region),
        principal,
        access_key_id: record
            .user_identity
            .access_key_id
            .get()
            .map(SharedStr::from),
        source: source(record, interner),
        outcome,
        denied_by: gate(record, outcome, interner),
        error_code: record.error_code.get().map(|code| interner.text(code)),
        object: origin.object.clone(),
        delivered: origin.delivered.unwrap_or(time),
        kept,
    })
}

/// The id of the event that an `UPDATED_DATA` addendum replaces. Records with another addendum are
/// the event itself, delivered late.
fn updated_event<'r>(record: &'r CloudTrailRecord<'_>) -> Option<&'r str> {
    let addendum = &record.addendum;
    let original = addendum.original_event_id.get()?;
    (addendum.reason.get() == Some("UPDATED_DATA")).then_some(original)
}

fn event_id(id: Option<&str>, document: &LazyDocument<'_>) -> SharedStr {
    // Without an id, a digest of the record identifies its redeliveries. Of its values, not of its
    // text: the same record may be written with other spaces, or another order of keys.
    id.map_or_else(
        || digest(&[&document.node().canonical()]).into(),
        SharedStr::from,
    )
}

/// The event by its `sharedEventID`, `None` without one; and by its own id. See
/// [`EventHeader::event`] and [`EventHeader::unshared_event`].
fn event_digests(
    record: &CloudTrailRecord<'_>,
    event_id: &str,
    time: EventTime,
    principal: &Principal,
) -> (Option<u64>, u64) {
    let source = record.event_source.get().unwrap_or_default();
    let api = record.event_name.get().unwrap_or_default();
    let time = time.0.to_string();
    // Without the caller: the owner of a secret logs another one than the caller's own account.
    let shared = record.shared_event_id.get();
    let shared = shared.map(|id| short_digest(&[id, source, api, &time]));
    // The caller and the region are the correlation group: copies are always found in it.
    let actor = principal.actor_key().unwrap_or_else(|| "".into());
    let region = record.aws_region.get().unwrap_or_default();
    let unshared = short_digest(&[event_id, source, api, &time, &actor, region]);
    (shared, unshared)
}

/// See [`EventHeader::content`].
fn content_digest(record: &CloudTrailRecord<'_>, kept: &KeptFields) -> u64 {
    // Of the values, not of the text: the same record may be written with other spaces, or another
    // order of keys.
    let mut values = HashedValues(Vec::with_capacity(HASHED));
    record.hash(&mut values);
    for (name, value) in &kept.fields {
        (name, value.canonical()).hash(&mut values);
    }
    kept.whole
        .as_deref()
        .map(JsonNode::canonical)
        .hash(&mut values);
    values.finish()
}

/// Bytes of the values of most records: room for them is made once.
const HASHED: usize = 4_096;

/// The bytes of values, hashed at once: the same on every machine, unlike the hashers of maps.
struct HashedValues(Vec<u8>);

impl Hasher for HashedValues {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        short_digest_of_bytes(&self.0)
    }
}

fn source(record: &CloudTrailRecord<'_>, interner: &mut Interner) -> Arc<CallSource> {
    // The VPC endpoint of a Decrypt is AWS's own, never the caller's.
    let is_own = record.event_name.get() != Some("Decrypt");
    interner.source(
        record.source_ip_address.get(),
        record.user_agent.get(),
        record.vpc_endpoint_id.get().filter(|_| is_own),
    )
}

/// What denied the call. Only for denied calls: messages of other errors may contain the same
/// words.
fn gate(
    record: &CloudTrailRecord<'_>,
    outcome: CallOutcome,
    interner: &mut Interner,
) -> Option<SharedStr> {
    if outcome != CallOutcome::Denied {
        return None;
    }
    let gate = denied_by(record.error_message.get()?)?;
    Some(interner.text(&gate))
}

/// What bare names are relative to: `recipientAccountId`, or the caller's account if that is
/// missing, and `awsRegion`.
pub(super) fn home<'r>(record: &'r CloudTrailRecord<'_>) -> RecordHome<'r> {
    let identity = &record.user_identity;
    let account = record.recipient_account_id.get();
    let account = account.or(identity.account_id.get()).unwrap_or_default();
    let region = record.aws_region.get().unwrap_or_default();
    // Caller and secret are in one partition; the name of the region is only a hint.
    let partition = identity
        .arn
        .get()
        .and_then(ArnParts::parse)
        .map_or_else(|| partition_of(region), |arn| arn.partition);
    RecordHome {
        partition,
        account,
        region,
    }
}

fn partition_of(region: &str) -> &'static str {
    match region.split_once('-') {
        Some(("cn", _)) => "aws-cn",
        Some(("us", rest)) if rest.starts_with("gov-") => "aws-us-gov",
        _ => "aws",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_of(fields: &str) -> Option<EventHeader> {
        let text = format!(
            r#"{{"eventID":"e1","awsRegion":"cn-north-1","recipientAccountId":"111122223333",
            {fields}}}"#
        );
        head(
            &serde_json::from_str(&text).unwrap(),
            &LazyDocument::new(&text),
            &crate::object::origin("a.json"),
            &RawFields::default(),
            &mut Interner::default(),
        )
    }

    #[test]
    fn an_update_is_the_event_that_it_updates_and_a_late_event_is_itself() {
        let with = |addendum: &str| {
            let time = r#""eventTime":"2026-03-02T10:00:00Z""#;
            let head = head_of(&format!(r#"{time},"addendum":{addendum}"#)).unwrap();
            (head.event_id.to_string(), head.updated)
        };
        let updated = with(r#"{"reason":"UPDATED_DATA","originalEventID":"e0"}"#);
        assert_eq!(updated, ("e0".to_owned(), true));
        let late = with(r#"{"reason":"DELIVERY_DELAY","originalEventID":"e0"}"#);
        assert_eq!(late, ("e1".to_owned(), false));
        assert_eq!(
            with(r#"{"reason":"UPDATED_DATA"}"#),
            ("e1".to_owned(), false)
        );
    }

    #[test]
    fn a_record_without_an_id_is_known_by_what_it_says() {
        let id = |time: &str| {
            let fields = format!(r#""eventID":null,"eventTime":"{time}""#);
            let text = format!("{{{fields}}}");
            let record = serde_json::from_str(&text).unwrap();
            let (origin, interner) = (crate::object::origin("a.json"), &mut Interner::default());
            let document = LazyDocument::new(&text);
            head(&record, &document, &origin, &RawFields::default(), interner)
                .unwrap()
                .event_id
        };
        assert_eq!(id("2026-03-02T10:00:00Z"), id("2026-03-02T10:00:00Z"));
        assert_ne!(id("2026-03-02T10:00:00Z"), id("2026-03-02T10:00:01Z"));
    }

    #[test]
    fn no_head_without_a_time() {
        for time in ["null", "\"\"", "\"yesterday\"", "17"] {
            assert_eq!(head_of(&format!(r#""eventTime":{time}"#)), None, "{time}");
        }
    }

    #[test]
    fn the_endpoint_of_a_decrypt_is_not_the_callers() {
        let endpoint = |api: &str| {
            let fields = r#""eventTime":"2026-03-02T10:00:00Z","vpcEndpointId":"vpce-1""#;
            let head = head_of(&format!(r#"{fields},"eventName":"{api}""#)).unwrap();
            head.source.vpc_endpoint.clone()
        };
        assert_eq!(endpoint("GetSecretValue").as_deref(), Some("vpce-1"));
        assert_eq!(endpoint("Decrypt"), None);
    }

    #[test]
    fn the_partition_is_the_callers_and_else_that_of_the_region() {
        let partition = |identity: &str, region: &str| {
            let text = format!(r#"{{"userIdentity":{identity},"awsRegion":"{region}"}}"#);
            let record: CloudTrailRecord<'_> = serde_json::from_str(&text).unwrap();
            home(&record).partition.to_owned()
        };
        let caller = r#"{"arn":"arn:aws-iso:iam::111122223333:user/ann"}"#;
        assert_eq!(partition(caller, "us-iso-east-1"), "aws-iso");
        assert_eq!(partition("{}", "cn-north-1"), "aws-cn");
        assert_eq!(partition("{}", "us-gov-west-1"), "aws-us-gov");
        assert_eq!(partition("{}", "us-west-1"), "aws");
    }
}
