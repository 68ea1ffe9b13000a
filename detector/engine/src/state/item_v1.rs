//! The form in which a store outside memory keeps loose ends, facts and alerts: JSON, deflated.
//! Version 1.
//!
//! What many things have in common (callers, sources, secrets, records) is written once and
//! referred to by its index. Equal content gives equal bytes, whose digest names the item: writing
//! it again changes nothing.

mod read;
mod write;

use std::io::{Read, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Deserializer, Serialize};

use self::read::Reader;
use self::write::Writer;
use crate::alert::Alert;
use crate::digest::digest;
use crate::document::Node;
use crate::fact::Fact;
use crate::ids::Text;
use crate::loose_end::LooseEnd;

/// Version of this form, written into every item.
pub const VERSION: u32 = 1;

/// Size in bytes beyond which items are split: DynamoDB takes 400 KB, names included.
pub const MAX_ITEM_BYTES: usize = 300 * 1024;

/// Bytes that an item may inflate to; a larger one is not ours.
const MAX_INFLATED_BYTES: u64 = 256 * 1024 * 1024;

/// Fields of a window's group and their values.
pub type Group = Vec<(Text, Text)>;

/// An item in its stored form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Digest of the content: 32 hexadecimal digits.
    pub digest: String,
    /// The content.
    pub bytes: Vec<u8>,
}

/// Why a stored item could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    /// Its bytes are not deflated.
    #[error("a stored item is not readable: {0}; {FOREIGN}")]
    Bytes(#[from] std::io::Error),
    /// Its text is not of this form.
    #[error("a stored item is not readable: {0}; {FOREIGN}")]
    Json(#[from] serde_json::Error),
    /// It is of another version.
    #[error(
        "a stored item is not readable: it is of version {0}, this is version {VERSION}; {FOREIGN}"
    )]
    Version(u32),
    /// It refers to what is not in its tables.
    #[error("a stored item is not readable: it refers to entry {index} of {entries}; {FOREIGN}")]
    Entry {
        /// Which entry it refers to, from 0.
        index: usize,
        /// How many there are.
        entries: usize,
    },
    /// It has a word that is none of a closed set.
    #[error("a stored item is not readable: `{0}` is not known; {FOREIGN}")]
    Word(Text),
    /// It is of loose ends or facts, where an alert was expected.
    #[error("a stored item is not readable: it holds no alert; {FOREIGN}")]
    NoAlert,
}

/// Who else may have written an item.
const FOREIGN: &str = "it was written by another version, or by somebody else";

/// What is stored: tables of what is shared, and the things themselves. Empty ones are left out.
// Fields are written in the order in which they stand here, and the digest is made of what is
// written: to move one is to give every item another name, and so to keep it twice.
#[derive(Debug, Default, Serialize, Deserialize)]
struct PackV1 {
    v: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    principals: Vec<PrincipalV1>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sources: Vec<SourceV1>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<SecretV1>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    heads: Vec<HeadV1>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    accesses: Vec<AccessV1>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ends: Vec<EndV1>,
    /// Groups of the facts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<Group>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    facts: Vec<FactV1>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alert: Option<AlertV1>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PrincipalV1 {
    id: Option<Text>,
    actor: Option<Text>,
    #[serde(rename = "type")]
    identity_type: Option<Text>,
    kind: Text,
    account: Option<Text>,
    name: Option<Text>,
    session: Option<Text>,
    via: Option<Text>,
    console: bool,
    principal_id: Option<Text>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SourceV1 {
    ip: Option<Text>,
    kind: Text,
    user_agent: Option<Text>,
    vpc_endpoint: Option<Text>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SecretV1 {
    store: Text,
    partition: Text,
    account: Text,
    region: Text,
    name: Option<Text>,
    arn: Option<Text>,
    partial_name: Option<Text>,
    version_id: Option<Text>,
    version_stage: Option<Text>,
}

#[derive(Debug, Serialize, Deserialize)]
struct HeadV1 {
    event_id: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shared_id: Option<Text>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    updated: bool,
    /// Seconds since 1970 in UTC, like every time here.
    time: i64,
    api: Text,
    account: Text,
    region: Text,
    principal: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access_key_id: Option<Text>,
    source: usize,
    outcome: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    denied_by: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error_code: Option<Text>,
    object: Text,
    delivered: i64,
    /// Field names and values that rules ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<(Text, ValueV1)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    whole: Option<ValueV1>,
}

/// Any JSON value.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct ValueV1(Node<'static>);

impl<'de> Deserialize<'de> for ValueV1 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Node::deserialize(deserializer).map(|node| Self(node.into_owned()))
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct AccessV1 {
    head: usize,
    method: Text,
    secret: usize,
    /// The secret as it was asked for.
    asked: usize,
    status: Text,
    decrypt: Option<Text>,
    key_arn: Option<Text>,
    delta_secs: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum EndV1 {
    Read {
        head: usize,
        ask: AskV1,
        decrypts: bool,
        denied_by_kms: bool,
    },
    KeyUse {
        head: usize,
        secret: Option<usize>,
        version_id: Option<Text>,
        key_arn: Option<Text>,
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
enum AskV1 {
    Named(Vec<usize>),
    Batch(Vec<usize>),
    BatchFilters,
    Path { path: usize, recursive: bool },
    History(usize),
}

#[derive(Debug, Serialize, Deserialize)]
struct FactV1 {
    group: usize,
    slot: usize,
    key: Text,
    time: i64,
    value: Option<Text>,
    least: Option<u64>,
    head: usize,
    secret: Option<usize>,
    access: Option<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
struct AlertV1 {
    id: Text,
    rule: RuleV1,
    time: i64,
    firing: Option<FiringV1>,
    summary: String,
    account: Option<Text>,
    region: Option<Text>,
    principal: Option<Text>,
    secrets: Vec<Text>,
    secrets_total: usize,
    accesses: Vec<usize>,
    accesses_total: usize,
    /// Missing in items of versions that did not know it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    events: Vec<Text>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RuleV1 {
    id: String,
    title: String,
    level: Text,
    tags: Vec<String>,
    false_positives: Vec<String>,
    references: Vec<String>,
    file: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct FiringV1 {
    group: Vec<(Text, Text)>,
    bucket: i64,
    start: i64,
    end: i64,
    count: u64,
}

/// Packs loose ends, in as many items as they need.
#[must_use]
pub fn pack_ends(ends: &[Arc<LooseEnd>]) -> Vec<Packed> {
    let mut sorted = ends.to_vec();
    // By what an identity is made of. Its own order goes by a fingerprint, which is not the same on
    // every machine, and would give the same loose ends another digest there.
    sorted.sort_by(|a, b| a.id.parts().cmp(&b.id.parts()));
    let mut items = Vec::new();
    split(&sorted, ends_pack, &mut items);
    items
}

fn ends_pack(ends: &[Arc<LooseEnd>], keep_fields: bool) -> PackV1 {
    let mut writer = Writer::new(keep_fields);
    for end in ends {
        let end = writer.end(&end.observation);
        writer.pack.ends.push(end);
    }
    writer.pack
}

/// Reads what [`pack_ends`] wrote.
///
/// # Errors
///
/// The item was not written by it.
pub fn unpack_ends(bytes: &[u8]) -> Result<Vec<Arc<LooseEnd>>, ItemError> {
    let mut reader = Reader::new(bytes)?;
    std::mem::take(&mut reader.pack.ends)
        .into_iter()
        .map(|end| Ok(Arc::new(LooseEnd::new(reader.observation(end)?))))
        .collect()
}

/// Packs facts of one window, each with its group, in as many items as they need.
#[must_use]
pub fn pack_facts(mut facts: Vec<(Group, Fact)>) -> Vec<Packed> {
    facts.sort_by_cached_key(|(group, fact)| (group.clone(), fact.id()));
    let mut items = Vec::new();
    split(&facts, facts_pack, &mut items);
    items
}

fn facts_pack(facts: &[(Group, Fact)], keep_fields: bool) -> PackV1 {
    let mut writer = Writer::new(keep_fields);
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
pub fn unpack_facts(bytes: &[u8]) -> Result<Vec<(Group, Fact)>, ItemError> {
    let mut reader = Reader::new(bytes)?;
    std::mem::take(&mut reader.pack.facts)
        .into_iter()
        .map(|fact| reader.fact(fact))
        .collect()
}

/// Packs an alert.
#[must_use]
pub fn pack_alert(alert: &Alert) -> Packed {
    // Without raw fields: rules have looked at them, and nobody who is told of the alert does.
    let mut writer = Writer::new(false);
    let alert = writer.alert(alert);
    writer.pack.alert = Some(alert);
    deflate(writer.pack)
}

/// Reads what [`pack_alert`] wrote.
///
/// # Errors
///
/// The item was not written by it.
pub fn unpack_alert(bytes: &[u8]) -> Result<Alert, ItemError> {
    let mut reader = Reader::new(bytes)?;
    let alert = reader.pack.alert.take().ok_or(ItemError::NoAlert)?;
    reader.alert(alert)
}

/// Packs things, halving them until every item is small enough. One thing alone that is too large
/// is kept without the raw fields of its record, which only rules about those fields need.
fn split<T>(things: &[T], pack: fn(&[T], bool) -> PackV1, items: &mut Vec<Packed>) {
    if things.is_empty() {
        return;
    }
    // What it deflates to is not known before it is done, and seldom too large.
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

fn deflate(mut pack: PackV1) -> Packed {
    pack.v = VERSION;
    // The digest is of the text, because what it deflates to may differ between versions of the
    // compressor: functions of two releases that run side by side still write the same item.
    // Cannot fail: every key is text.
    let text = serde_json::to_string(&pack).unwrap_or_default();
    Packed {
        digest: digest(&[&text]),
        bytes: squeezed(text.as_bytes()),
    }
}

/// Bytes deflated, for items that are not of this module.
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
/// The bytes were not written by it, or are far too many.
pub fn unsqueezed(bytes: &[u8]) -> Result<Vec<u8>, ItemError> {
    let mut text = Vec::new();
    // The table is ours, but not what may be written into it: a few bytes can inflate to a lot.
    // What is cut here is no JSON any more, and is refused as such.
    let mut decoder = ZlibDecoder::new(bytes).take(MAX_INFLATED_BYTES);
    decoder.read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;
    use crate::extract::{RawFields, Wanted, extract};
    use crate::object::origin;
    use crate::observation::{Interner, Kept};
    use crate::state::contract::fact;
    use crate::wire::Record;

    fn end(event_id: &str, field: &str) -> Arc<LooseEnd> {
        let text = format!(
            r#"{{"eventTime":"2026-03-02T10:00:00Z","eventID":"{event_id}","x":{field},
            "eventSource":"secretsmanager.amazonaws.com","eventName":"GetSecretValue",
            "awsRegion":"eu-west-1","recipientAccountId":"111122223333",
            "userIdentity":{{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/ann"}},
            "requestParameters":{{"secretId":"prod/db"}}}}"#
        );
        let record: Record<'_> = serde_json::from_str(&text).unwrap();
        let of_accesses = RawFields {
            names: ["x".into()].into(),
            whole: true,
        };
        let wanted = Wanted {
            of_accesses,
            ..Wanted::default()
        };
        let read = extract(
            &record,
            &Document::new(&text),
            &origin("a.json"),
            &wanted,
            &mut Interner::default(),
        )
        .unwrap();
        Arc::new(LooseEnd::new(read))
    }

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        let field = r#"{"a":[1,-2.5,null,true,"\u0000\"ü"],"b":{}}"#;
        let ends = vec![end("e2", field), end("e1", field)];
        let packed = pack_ends(&ends);
        let [one] = packed.as_slice() else {
            panic!("one item")
        };
        let back = unpack_ends(&one.bytes).unwrap();
        assert_eq!(back, [ends[1].clone(), ends[0].clone()]);
        assert_eq!(pack_ends(&back), packed, "the same whatever the order");
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
        let ends: Vec<_> = (0..40)
            .map(|i| end(&format!("e{i:02}"), &noise(i, 20_000)))
            .collect();
        let packed = pack_ends(&ends);
        assert!(packed.len() > 1 && packed.iter().all(|item| item.bytes.len() <= MAX_ITEM_BYTES));
        let back: Vec<_> = packed
            .iter()
            .flat_map(|item| unpack_ends(&item.bytes).unwrap())
            .collect();
        assert!(back == ends, "nothing is lost");

        let packed = pack_ends(&[end("e1", &noise(1, 1_000_000))]);
        let back = unpack_ends(&packed[0].bytes).unwrap();
        assert_eq!(
            (packed.len(), back[0].observation.head().kept.clone()),
            (1, Kept::default())
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
        assert_eq!(pack_ends(&[]), []);
        assert_eq!(pack_facts(Vec::new()), []);
    }
}
