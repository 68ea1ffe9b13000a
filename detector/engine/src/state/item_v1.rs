//! The form in which stores other than memory keep pending events, facts, alerts and incidents:
//! JSON, compressed with zlib. Version 1.
//!
//! Shared values (principals, sources, secrets, record headers) are written once and referenced by
//! index. Equal content has an equal digest, which names the item: writing it again changes
//! nothing.

mod common;
mod incident;
mod read;
mod write;

use std::{
    io::{Read, Write},
    sync::Arc,
};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use serde::{Deserialize, Deserializer, Serialize};

use self::common::{StoredCommonV1, StoredPlaceV1};
pub use self::incident::{pack_incident, unpack_incident};
use self::{read::ItemReader, write::ItemWriter};
use crate::{
    alert::Alert, digest::digest, document::JsonNode, fact::Fact, geo::SourceGeo, ids::SharedStr,
    pending_event::PendingEvent,
};

/// Version of the format, written into every item.
pub const VERSION: u32 = 1;

/// Size in bytes beyond which items are split: DynamoDB accepts 400 KB, names of attributes
/// included.
pub const MAX_ITEM_BYTES: usize = 300 * 1024;

/// Most bytes that an item may inflate to; Secretrail writes no larger ones.
const MAX_INFLATED_BYTES: u64 = 256 * 1024 * 1024;

/// Fields of a window's group and their values.
pub type StoredGroup = Vec<(SharedStr, SharedStr)>;

/// An item in its stored form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedItem {
    /// Digest of the content: 32 hexadecimal digits.
    pub digest: String,
    /// The content: compressed JSON.
    pub bytes: Vec<u8>,
}

/// Why a stored item could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    /// The bytes are not zlib data.
    #[error("a stored item is not readable: {0}; {FOREIGN}")]
    Bytes(#[from] std::io::Error),
    /// The JSON does not have this format.
    #[error("a stored item is not readable: {0}; {FOREIGN}")]
    Json(#[from] serde_json::Error),
    /// The item has another version.
    #[error("a stored item is not readable: it has version {0}, expected {VERSION}; {FOREIGN}")]
    Version(u32),
    /// A reference points outside its table.
    #[error("a stored item is not readable: entry {index} of {entries} is missing; {FOREIGN}")]
    Entry {
        /// Index of the entry, from 0.
        index: usize,
        /// Number of entries in the table.
        entries: usize,
    },
    /// The name of an enum value is not known.
    #[error("a stored item is not readable: `{0}` is not a known value; {FOREIGN}")]
    Word(SharedStr),
    /// The item holds pending events or facts instead of an alert.
    #[error("a stored item is not readable: it holds no alert; {FOREIGN}")]
    NoAlert,
}

/// Possible cause of an unreadable item.
const FOREIGN: &str = "it was written by another version of Secretrail, or by another program";

/// An item: tables of shared values, and the pending events, facts or alert. Empty ones are
/// omitted.
// The digest depends on the order of these fields: moving one renames every item, and so stores it
// twice.
#[derive(Debug, Default, Serialize, Deserialize)]
struct StoredPackV1 {
    v: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    principals: Vec<StoredPrincipalV1>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sources: Vec<StoredSourceV1>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<StoredSecretV1>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    heads: Vec<StoredHeaderV1>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    accesses: Vec<StoredAccessV1>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pending: Vec<StoredPendingEventV1>,
    /// Groups of the facts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<StoredGroup>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    facts: Vec<StoredFactV1>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alert: Option<StoredAlertV1>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredPrincipalV1 {
    id: Option<SharedStr>,
    actor: Option<SharedStr>,
    #[serde(rename = "type")]
    identity_type: Option<SharedStr>,
    kind: SharedStr,
    account: Option<SharedStr>,
    name: Option<SharedStr>,
    session: Option<SharedStr>,
    via: Option<SharedStr>,
    console: bool,
    principal_id: Option<SharedStr>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredSourceV1 {
    ip: Option<SharedStr>,
    kind: SharedStr,
    user_agent: Option<SharedStr>,
    vpc_endpoint: Option<SharedStr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    geo: Option<SourceGeo>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredSecretV1 {
    store: SharedStr,
    partition: SharedStr,
    account: SharedStr,
    region: SharedStr,
    name: Option<SharedStr>,
    arn: Option<SharedStr>,
    partial_name: Option<SharedStr>,
    version_id: Option<SharedStr>,
    version_stage: Option<SharedStr>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredHeaderV1 {
    event_id: SharedStr,
    #[serde(default)]
    event: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unshared_event: Option<u64>,
    #[serde(default)]
    content: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shared_id: Option<SharedStr>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    updated: bool,
    /// Seconds since 1970 in UTC, like every time here.
    time: i64,
    api: SharedStr,
    account: SharedStr,
    region: SharedStr,
    principal: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access_key_id: Option<SharedStr>,
    source: usize,
    outcome: SharedStr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    denied_by: Option<SharedStr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error_code: Option<SharedStr>,
    object: SharedStr,
    delivered: i64,
    /// Raw fields that rules need, and their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<(SharedStr, StoredValueV1)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    whole: Option<StoredValueV1>,
}

/// Any JSON value.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct StoredValueV1(JsonNode<'static>);

impl<'de> Deserialize<'de> for StoredValueV1 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        JsonNode::deserialize(deserializer).map(|node| Self(node.into_owned()))
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredAccessV1 {
    head: usize,
    method: SharedStr,
    secret: usize,
    /// The secret as the request named it.
    asked: usize,
    status: SharedStr,
    decrypt: Option<SharedStr>,
    key_arn: Option<SharedStr>,
    delta_secs: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum StoredPendingEventV1 {
    Read {
        head: usize,
        request: StoredRequestV1,
        decrypts: bool,
        denied_by_kms: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        denied_key: Option<SharedStr>,
    },
    KmsDecrypt {
        head: usize,
        secret: Option<usize>,
        version_id: Option<SharedStr>,
        key_arn: Option<SharedStr>,
        direct: bool,
    },
    Change {
        head: usize,
        secret: Option<usize>,
        decrypts: bool,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredRequestV1 {
    Named(Vec<usize>),
    Batch(Vec<usize>),
    BatchFilters,
    Path { path: usize, recursive: bool },
    History(usize),
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredFactV1 {
    group: usize,
    slot: usize,
    key: SharedStr,
    time: i64,
    value: Option<SharedStr>,
    least: Option<u64>,
    head: usize,
    secret: Option<usize>,
    access: Option<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredAlertV1 {
    id: SharedStr,
    rule: StoredRuleV1,
    time: i64,
    window_match: Option<StoredWindowMatchV1>,
    summary: String,
    account: Option<SharedStr>,
    region: Option<SharedStr>,
    principal: Option<SharedStr>,
    secrets: Vec<SharedStr>,
    secrets_total: usize,
    accesses: Vec<usize>,
    accesses_total: usize,
    /// Absent in items of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    events: Vec<StoredAlertEventV1>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    withdrawn: bool,
    /// Absent in items of earlier versions, as what follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    began: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<StoredActorV1>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<SharedStr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    networks: Vec<SharedStr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    revealed: Vec<SharedStr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sources: Vec<SharedStr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    regions: Vec<SharedStr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sessions: Vec<SharedStr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    access_keys: Vec<SharedStr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    clients: Vec<SharedStr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    common: Option<StoredCommonV1>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<StoredPlaceV1>,
}

/// An event of an alert; only its id in items of earlier versions.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum StoredAlertEventV1 {
    Id(SharedStr),
    Event(SharedStr, i64, SharedStr),
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredActorV1 {
    kind: SharedStr,
    key: SharedStr,
    name: SharedStr,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredRuleV1 {
    id: String,
    title: String,
    level: SharedStr,
    tags: Vec<String>,
    false_positives: Vec<String>,
    references: Vec<String>,
    file: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    next_steps: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    asks_for_seen: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredWindowMatchV1 {
    group: Vec<(SharedStr, SharedStr)>,
    bucket: i64,
    start: i64,
    end: i64,
    count: u64,
}

/// Packs pending events, in as many items as they need.
#[must_use]
pub fn pack_pending(pending: &[Arc<PendingEvent>]) -> Vec<PackedItem> {
    let mut sorted = pending.to_vec();
    // By the parts of the identity. Its own order uses a fingerprint, which differs between
    // machines and would change the digest.
    sorted.sort_by(|a, b| a.id.parts().cmp(&b.id.parts()));
    let mut items = Vec::new();
    split(&sorted, pending_pack, &mut items);
    items
}

fn pending_pack(pending: &[Arc<PendingEvent>], keep_fields: bool) -> StoredPackV1 {
    let mut writer = ItemWriter::new(keep_fields);
    for end in pending {
        let end = writer.end(&end.observation);
        writer.pack.pending.push(end);
    }
    writer.pack
}

/// Reads what [`pack_pending`] wrote.
///
/// # Errors
///
/// The item was not written by it.
pub fn unpack_pending(bytes: &[u8]) -> Result<Vec<Arc<PendingEvent>>, ItemError> {
    let mut reader = ItemReader::new(bytes)?;
    std::mem::take(&mut reader.pack.pending)
        .into_iter()
        .map(|end| Ok(Arc::new(PendingEvent::new(reader.observation(end)?))))
        .collect()
}

/// Packs facts of one window, each with its group, in as many items as they need.
#[must_use]
pub fn pack_facts(mut facts: Vec<(StoredGroup, Fact)>) -> Vec<PackedItem> {
    // The digest names the item: the same facts in another order must give the same bytes. Groups
    // must be adjacent as well.
    facts.sort_by_cached_key(|(group, fact)| (group.clone(), fact.id()));
    let mut items = Vec::new();
    split(&facts, facts_pack, &mut items);
    items
}

fn facts_pack(facts: &[(StoredGroup, Fact)], keep_fields: bool) -> StoredPackV1 {
    let mut writer = ItemWriter::new(keep_fields);
    for (group, fact) in facts {
        let fact = writer.fact(group, fact);
        writer.pack.facts.push(fact);
    }
    writer.pack
}

/// Reads what [`pack_facts`] wrote.
///
/// # Errors
///
/// The item was not written by it.
pub fn unpack_facts(bytes: &[u8]) -> Result<Vec<(StoredGroup, Fact)>, ItemError> {
    let mut reader = ItemReader::new(bytes)?;
    std::mem::take(&mut reader.pack.facts)
        .into_iter()
        .map(|fact| reader.fact(fact))
        .collect()
}

/// Packs an alert.
#[must_use]
pub fn pack_alert(alert: &Alert) -> PackedItem {
    // Without raw fields: rules have used them already, and no form of an alert shows them.
    let mut writer = ItemWriter::new(false);
    let alert = writer.alert(alert);
    writer.pack.alert = Some(alert);
    deflate(writer.pack)
}

/// Packs what groups of alerts need of an alert: without its accesses, and with one event.
#[must_use]
pub fn pack_short_alert(alert: &Alert) -> PackedItem {
    let short = Alert {
        accesses: Vec::new(),
        events: alert.events.iter().take(1).cloned().collect(),
        ..alert.clone()
    };
    pack_alert(&short)
}

/// Reads what [`pack_alert`] and [`pack_short_alert`] wrote.
///
/// # Errors
///
/// The item was not written by it.
pub fn unpack_alert(bytes: &[u8]) -> Result<Alert, ItemError> {
    let mut reader = ItemReader::new(bytes)?;
    let alert = reader.pack.alert.take().ok_or(ItemError::NoAlert)?;
    reader.alert(alert)
}

/// Packs things, halving them until every item is small enough. A single thing that is too large is
/// stored without the raw fields of its record, which only rules about those fields need.
fn split<T>(things: &[T], pack: fn(&[T], bool) -> StoredPackV1, items: &mut Vec<PackedItem>) {
    if things.is_empty() {
        return;
    }
    // The compressed size is known only afterwards, and seldom too large.
    let packed = deflate(pack(things, true));
    if packed.bytes.len() <= MAX_ITEM_BYTES {
        items.push(packed);
        return;
    }
    let (first, rest) = things.split_at(things.len() / 2);
    if first.is_empty() {
        items.push(deflate(pack(things, false)));
    } else {
        split(first, pack, items);
        split(rest, pack, items);
    }
}

fn deflate(mut pack: StoredPackV1) -> PackedItem {
    pack.v = VERSION;
    // The digest is of the text: compressed bytes may differ between versions of the compressor,
    // and two releases that run side by side must write the same item. Cannot fail: every key is
    // text.
    let text = serde_json::to_string(&pack).unwrap_or_default();
    PackedItem {
        digest: digest(&[&text]),
        bytes: squeezed(text.as_bytes()),
    }
}

/// Compresses bytes, also for items of other modules.
#[must_use]
pub fn squeezed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(3));
    // Cannot fail: the bytes go to memory.
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .unwrap_or_default()
}

/// Reads what [`squeezed`] wrote.
///
/// # Errors
///
/// The bytes are not zlib data. What inflates to too many bytes is truncated, and so is no JSON.
pub fn unsqueezed(bytes: &[u8]) -> Result<Vec<u8>, ItemError> {
    let mut text = Vec::new();
    // Content of the table is not trusted: a few bytes can inflate to gigabytes. Truncated text is
    // invalid JSON, and rejected as such.
    let mut decoder = ZlibDecoder::new(bytes).take(MAX_INFLATED_BYTES);
    decoder.read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        document::LazyDocument,
        extract::{RawFields, WantedFields, extract},
        object::origin,
        observation::{Interner, KeptFields},
        state::contract::fact,
        wire::CloudTrailRecord,
    };

    fn end(event_id: &str, field: &str) -> Arc<PendingEvent> {
        let text = format!(
            r#"{{"eventTime":"2026-03-02T10:00:00Z","eventID":"{event_id}","x":{field},
            "eventSource":"secretsmanager.amazonaws.com","eventName":"GetSecretValue",
            "awsRegion":"eu-west-1","recipientAccountId":"111122223333",
            "userIdentity":{{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/ann"}},
            "requestParameters":{{"secretId":"prod/db"}}}}"#
        );
        let record: CloudTrailRecord<'_> = serde_json::from_str(&text).unwrap();
        let of_accesses = RawFields {
            names: ["x".into()].into(),
            whole: true,
        };
        let wanted = WantedFields {
            of_accesses,
            ..WantedFields::default()
        };
        let read = extract(
            &record,
            &LazyDocument::new(&text),
            &origin("a.json"),
            &wanted,
            &mut Interner::default(),
        )
        .unwrap();
        Arc::new(PendingEvent::new(read))
    }

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        let field = r#"{"a":[1,-2.5,null,true,"\u0000\"ü"],"b":{}}"#;
        let pending = vec![end("e2", field), end("e1", field)];
        let packed = pack_pending(&pending);
        let [one] = packed.as_slice() else {
            panic!("one item")
        };
        let back = unpack_pending(&one.bytes).unwrap();
        assert_eq!(back, [pending[1].clone(), pending[0].clone()]);
        assert_eq!(pack_pending(&back), packed, "the same whatever the order");
    }

    #[test]
    fn large_sets_are_split_and_a_large_record_loses_its_raw_fields() {
        let noise = |seed: u64, bytes: usize| {
            let mut state = seed;
            let step = move || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap())
            };
            format!(
                "\"{}\"",
                std::iter::repeat_with(step).take(bytes).collect::<String>()
            )
        };
        let pending: Vec<_> = (0..40)
            .map(|i| end(&format!("e{i:02}"), &noise(i, 20_000)))
            .collect();
        let packed = pack_pending(&pending);
        assert!(packed.len() > 1 && packed.iter().all(|item| item.bytes.len() <= MAX_ITEM_BYTES));
        let back: Vec<_> = packed
            .iter()
            .flat_map(|item| unpack_pending(&item.bytes).unwrap())
            .collect();
        assert!(back == pending, "nothing is lost");

        let packed = pack_pending(&[end("e1", &noise(1, 1_000_000))]);
        let back = unpack_pending(&packed[0].bytes).unwrap();
        assert_eq!(
            (packed.len(), back[0].observation.head().kept.clone()),
            (1, KeptFields::default())
        );
    }

    #[test]
    fn facts_come_back_with_their_groups() {
        let group = |name: &str| vec![("principal.arn".into(), name.into())];
        let least = Fact {
            value: None,
            least: Some(7),
            ..fact("e3", 3, "")
        };
        let facts = vec![
            (group("bob"), fact("e1", 2, "x")),
            (group("ann"), fact("e2", 1, "y")),
            (group("ann"), least),
        ];
        let packed = pack_facts(facts.clone());
        let [one] = packed.as_slice() else {
            panic!("one item")
        };
        let back = unpack_facts(&one.bytes).unwrap();
        assert_eq!(back, [1, 2, 0].map(|index| facts[index].clone()));
        assert_eq!(pack_facts(back), packed, "the same whatever the order");
    }

    #[test]
    fn nothing_needs_no_item() {
        assert_eq!(pack_pending(&[]), []);
        assert_eq!(pack_facts(Vec::new()), []);
    }
}
