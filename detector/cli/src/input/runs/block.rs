//! Entries of a sorted run as bytes, block by block. Principals, sources and texts are written once
//! in each block and referenced by number.
//!
//! The format is private to one process: it has no version, and no field can be absent.

mod read;
mod write;

use secretrail_engine::observation::VersionStep;
use serde::{Deserialize, Serialize};

pub(super) use self::{read::decode, write::encode};

/// Number of a text among those of its block.
type TextNumber = u32;

/// Why a block cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BlockError {
    /// The bytes are not a block.
    #[error("{0}")]
    Bytes(#[from] postcard::Error),
    /// A raw field of a record is not JSON.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A number points outside its table.
    #[error("entry {0} of a table is missing")]
    Entry(usize),
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct StoredBlock<'b> {
    #[serde(borrow)]
    texts: Vec<&'b str>,
    principals: Vec<StoredPrincipal>,
    sources: Vec<StoredSource>,
    entries: Vec<StoredEntry<'b>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredPrincipal {
    id: Option<TextNumber>,
    actor: Option<TextNumber>,
    identity_type: Option<TextNumber>,
    kind: u8,
    account: Option<TextNumber>,
    name: Option<TextNumber>,
    session: Option<TextNumber>,
    via: Option<TextNumber>,
    console: bool,
    principal_id: Option<TextNumber>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredSource {
    ip: Option<TextNumber>,
    user_agent: Option<TextNumber>,
    vpc_endpoint: Option<TextNumber>,
    country: Option<TextNumber>,
    asn: Option<u32>,
    as_org: Option<TextNumber>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredSecret {
    store: u8,
    partition: TextNumber,
    account: TextNumber,
    region: TextNumber,
    name: Option<TextNumber>,
    arn: Option<TextNumber>,
    partial_name: Option<TextNumber>,
    version_id: Option<TextNumber>,
    version_stage: Option<TextNumber>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredHeader<'b> {
    /// Not in the table of texts: nearly every event has its own.
    event_id: &'b str,
    event: u64,
    unshared_event: Option<u64>,
    content: u64,
    shared_id: Option<&'b str>,
    updated: bool,
    time: i64,
    api: TextNumber,
    account: TextNumber,
    region: TextNumber,
    principal: u32,
    access_key_id: Option<TextNumber>,
    source: u32,
    outcome: u8,
    denied_by: Option<TextNumber>,
    error_code: Option<TextNumber>,
    object: TextNumber,
    delivered: i64,
    /// Raw fields that rules need, and their values as JSON.
    fields: Vec<(TextNumber, String)>,
    whole: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
enum StoredRequest {
    Named(Vec<StoredSecret>),
    Batch(Vec<StoredSecret>),
    BatchFilters,
    Path { path: StoredSecret, recursive: bool },
    History(StoredSecret),
}

/// Evidence of a record: the events that a scan matches are no accesses.
#[derive(Debug, Serialize, Deserialize)]
struct StoredEvidence<'b> {
    #[serde(borrow)]
    head: StoredHeader<'b>,
    secret: Option<StoredSecret>,
}

/// A match that a window counts.
#[derive(Debug, Serialize, Deserialize)]
struct StoredFact<'b> {
    window: usize,
    rule: TextNumber,
    group: Vec<(TextNumber, TextNumber)>,
    slot: usize,
    key: &'b str,
    time: i64,
    value: Option<TextNumber>,
    least: Option<u64>,
    evidence: StoredEvidence<'b>,
}

#[derive(Debug, Serialize, Deserialize)]
enum StoredObservation<'b> {
    Read {
        #[serde(borrow)]
        head: StoredHeader<'b>,
        request: StoredRequest,
        decrypts: bool,
        denied_by_kms: bool,
        denied_key: Option<TextNumber>,
    },
    KmsDecrypt {
        #[serde(borrow)]
        head: StoredHeader<'b>,
        secret: Option<StoredSecret>,
        version_id: Option<TextNumber>,
        key_arn: Option<TextNumber>,
        direct: bool,
    },
    Change {
        #[serde(borrow)]
        head: StoredHeader<'b>,
        secret: Option<StoredSecret>,
        others: Vec<StoredSecret>,
        decrypts: bool,
        steps: Vec<VersionStep>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
enum StoredEntry<'b> {
    Observation(#[serde(borrow)] StoredObservation<'b>),
    /// Index of the rule, and the event.
    Single(usize, #[serde(borrow)] StoredEvidence<'b>),
    Fact(#[serde(borrow)] StoredFact<'b>),
}

#[cfg(test)]
mod tests {
    use secretrail_engine::observation::Interner;

    use super::*;
    use crate::input::runs::{entry::TimedEntry, for_tests::scanned_examples};

    #[test]
    fn what_is_read_is_what_was_written() {
        let entries = TimedEntry::take_from(&mut scanned_examples());
        let kinds = |entries: &[TimedEntry]| {
            entries
                .iter()
                .map(|entry| std::mem::discriminant(&entry.entry))
                .collect::<ahash::HashSet<_>>()
                .len()
        };
        assert_eq!(kinds(&entries), 3, "observations, matches and facts");
        let bytes = encode(&entries).unwrap();
        let mut interner = Interner::default();
        assert_eq!(decode(&bytes, &mut interner).unwrap(), entries);
        let each: usize = bytes.len() / entries.len();
        assert!(each < 200, "{each} bytes each");
    }

    #[test]
    fn bytes_that_are_no_block_are_an_error() {
        let entries = TimedEntry::take_from(&mut scanned_examples());
        let bytes = encode(&entries).unwrap();
        let mut interner = Interner::default();
        for end in (0..bytes.len()).step_by(97) {
            assert!(decode(&bytes[..end], &mut interner).is_err(), "{end}");
        }
    }
}
