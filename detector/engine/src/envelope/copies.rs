//! What bytes name, and which records are copies of others: how an envelope is accounted for to its
//! last part.

use std::borrow::Cow;

use ahash::HashSet;
use memchr::memmem;

use super::FoundRecord;
use crate::shallow::TopLevel;

/// The key that every record has.
const SERVICE: &[u8] = b"eventSource";

/// Whether bytes have a field of CloudTrail records and the name of an AWS service, as JSON or as
/// text in JSON.
pub(crate) fn names_a_service(bytes: &[u8]) -> bool {
    let bytes = unescaped(bytes);
    memmem::find(&bytes, SERVICE).is_some() && memmem::find(&bytes, b".amazonaws.com").is_some()
}

/// Fields of nearly all records, of which other documents have few.
const FIELDS: [&str; 8] = [
    "eventVersion",
    "userIdentity",
    "eventTime",
    "eventSource",
    "eventName",
    "awsRegion",
    "requestParameters",
    "recipientAccountId",
];

/// Whether an object that is no record was one before it was damaged: it is cut or broken and has
/// two of a record's fields, or it is whole and has half of them. Notifications of S3 and others
/// have some, too, and a source of their own.
pub(super) fn was_a_record(value: &[u8], top: &TopLevel<'_>) -> bool {
    if !value.starts_with(b"{") || memmem::find(value, b"\"aws:").is_some() {
        return false;
    }
    let fields = FIELDS.iter();
    if top.is_whole() {
        return fields.filter(|field| top.get(field).is_some()).count() * 2 >= FIELDS.len();
    }
    let named = fields.filter(|field| memmem::find(value, field.as_bytes()).is_some());
    named.count() > 1
}

/// Whether a text may hold a record: it has the key that all of them have.
pub(crate) fn names_a_record(text: &[u8]) -> bool {
    memmem::find(&unescaped(text), SERVICE).is_some()
}

/// Number of services that bytes name: keys of records whose value is a text.
pub(super) fn services_named(bytes: &[u8]) -> usize {
    let bytes = unescaped(bytes);
    let named = memmem::find_iter(&bytes, SERVICE).filter(|at| {
        let after = bytes.get(at + SERVICE.len()..).unwrap_or_default();
        text_after_key(after).is_some()
    });
    named.count()
}

/// Whether all the services that bytes name are those that Insights events name.
pub(super) fn is_explained(bytes: &[u8], insights: usize) -> bool {
    insights > 0 && services_named(bytes) <= insights
}

/// Whether every record in a value has the `eventID` of one that was found: a shipper holds it once
/// more, in some form of its own.
pub(super) fn is_copy(value: &[u8], known: &HashSet<String>) -> bool {
    const ID: &[u8] = b"eventID";
    let value = unescaped(value);
    let mut copies = 0;
    for at in memmem::find_iter(&value, ID) {
        let after = value.get(at + ID.len()..).unwrap_or_default();
        let Some(text) = text_after_key(after) else {
            continue;
        };
        let end = text.iter().position(|byte| b"\"\\".contains(byte));
        let id = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
        if !known.contains(&*String::from_utf8_lossy(id)) {
            // One stranger is enough: the value is no mere copy.
            return false;
        }
        copies += 1;
    }
    // A record without an id beside them is none of them.
    copies >= services_named(&value)
}

/// The text that follows a key, from its first letter on; `None` if the value is no text. In a text
/// in a text, quotes are escaped.
fn text_after_key(after: &[u8]) -> Option<&[u8]> {
    let after = quote(after)?.trim_ascii_start().strip_prefix(b":")?;
    quote(after.trim_ascii_start())
}

/// What follows a quote, escaped or not.
fn quote(text: &[u8]) -> Option<&[u8]> {
    let backslashes = text.iter().take_while(|byte| **byte == b'\\').count();
    text.get(backslashes..)?.strip_prefix(b"\"")
}

/// The same bytes with letters for their escapes, however often the text was quoted: `\u0053` and
/// `\\u0053` are `S`. A key with escapes is read as any other, and must not hide anything.
fn unescaped(bytes: &[u8]) -> Cow<'_, [u8]> {
    const ESCAPE: &[u8] = b"\\u00";
    if memmem::find(bytes, ESCAPE).is_none() {
        return Cow::Borrowed(bytes);
    }
    let mut plain = Vec::with_capacity(bytes.len());
    let mut done = 0;
    for at in memmem::find_iter(bytes, ESCAPE) {
        let digits = bytes.get(at + ESCAPE.len()..at + ESCAPE.len() + 2);
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let letter = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        // Control characters stay escaped: they are no part of a key, and would make other text.
        let Some(letter) = letter.filter(u8::is_ascii_graphic) else {
            continue;
        };
        plain.extend_from_slice(bytes.get(done..at).unwrap_or_default());
        // A text in a text in a text has three of them before the `u`.
        while plain.last() == Some(&b'\\') {
            plain.pop();
        }
        plain.push(letter);
        done = at + ESCAPE.len() + 2;
    }
    plain.extend_from_slice(bytes.get(done..).unwrap_or_default());
    Cow::Owned(plain)
}

/// The `eventID`s of records.
pub(super) fn event_ids(found: Option<&[FoundRecord]>) -> HashSet<String> {
    let found = found.unwrap_or_default().iter();
    let ids = found.filter_map(|found| {
        let id = TopLevel::of(&found.bytes).text("eventID")?;
        Some(id.into_owned())
    });
    ids.collect()
}

/// The records of an envelope by what two copies of one share.
#[derive(Default)]
pub(super) struct KnownRecords(HashSet<Vec<String>>);

impl KnownRecords {
    pub(super) fn of(found: Option<&[FoundRecord]>) -> Self {
        let mut known = Self::default();
        known.add(found);
        known
    }

    pub(super) fn add(&mut self, found: Option<&[FoundRecord]>) {
        let found = found.unwrap_or_default().iter();
        self.0.extend(found.map(|found| identity(&found.bytes)));
    }

    pub(super) fn has(&self, found: &FoundRecord) -> bool {
        self.0.contains(&identity(&found.bytes))
    }
}

/// What two copies of a record in one envelope share; without an `eventID`, all of it.
fn identity(record: &[u8]) -> Vec<String> {
    let top = TopLevel::of(record);
    let keys = ["eventID", "eventSource", "eventName", "eventTime"];
    let texts = keys.iter().filter_map(|key| top.text(key));
    let known: Vec<String> = texts.map(Cow::into_owned).collect();
    // Of a record without an id only the whole tells whether it is the same.
    if known.len() == keys.len() {
        known
    } else {
        vec![String::from_utf8_lossy(record).into_owned()]
    }
}
