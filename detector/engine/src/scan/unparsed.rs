//! Reads fields from the bytes of a record before it is parsed. AWS always writes its fields in one
//! order; a record in any other order is examined more closely.

use aho_corasick::{Span, packed::Searcher};
use memchr::memmem::Finder;
use wide::i8x16;

use crate::{coverage::CoverageMark, time::EventTime};

/// Length of a time as AWS writes it: `2026-03-02T10:00:00Z`.
const TIME: usize = 20;

/// Number of bytes at the end of a record in which AWS writes `recipientAccountId`.
const ENDING: usize = 512;

/// A coverage mark, in the form that records have.
pub(super) struct LastMark {
    pub(super) mark: CoverageMark,
    /// `eventTime` up to the hour.
    hour: String,
    /// What follows `eventName`: the `awsRegion` field.
    region: String,
    /// Searches for the account with its key: account ids occur in many fields.
    account: Finder<'static>,
}

impl LastMark {
    pub(super) fn new(mark: CoverageMark, time: EventTime) -> Self {
        let mut hour = time.to_string();
        hour.truncate("2026-03-02T10:".len());
        let account =
            Finder::new(&format!("\"recipientAccountId\":\"{}\"", mark.account)).into_owned();
        Self {
            hour,
            region: format!("\",\"awsRegion\":\"{}\"", mark.region),
            account,
            mark,
        }
    }

    /// Whether a record with these fields has the same hour, account and region.
    pub(super) fn is_at(
        &self,
        account: Option<&str>,
        region: Option<&str>,
        time: Option<&str>,
    ) -> bool {
        account == Some(&*self.mark.account)
            && region == Some(&*self.mark.region)
            // In any other form the hour may be in another time zone.
            && time.is_some_and(|time| {
                time.len() == TIME && time.ends_with('Z') && time.starts_with(&self.hour)
            })
    }

    /// Whether an unparsed record with these fields has the same hour, account and region.
    pub(super) fn is_on(&self, front: &FrontFields<'_>) -> bool {
        // The account is near the end: searching the whole record for it would take longer than all
        // the rest.
        let ending = front.rest.len().saturating_sub(ENDING);
        front.time.starts_with(self.hour.as_bytes())
            && front.rest.starts_with(self.region.as_bytes())
            && front
                .rest
                .get(ending..)
                .is_some_and(|ending| self.account.find(ending).is_some())
    }
}

/// Keys of a KMS Decrypt for a secret, or of a denied one; and the key that follows them.
const MARKS: [&str; 7] = [
    "\"SecretARN\"",
    "\"PARAMETER_ARN\"",
    // In parameters that are written as text, or as text in text.
    "SecretARN\\",
    "PARAMETER_ARN\\",
    // A letter of a key may be written as an escape.
    "\\u00",
    "\"errorCode\"",
    RESPONSE,
];
const RESPONSE: &str = "\"responseElements\"";

/// Searches for the keys of a KMS Decrypt for a secret. Without a searcher, as on unsupported
/// processors, every candidate is parsed.
pub(super) struct DecryptMarks {
    marks: Option<Searcher>,
    parameters: Finder<'static>,
}

impl DecryptMarks {
    pub(super) fn new() -> Self {
        Self {
            marks: Searcher::new(MARKS),
            parameters: Finder::new("\"requestParameters\""),
        }
    }

    /// Whether one of the keys precedes the response, which follows the parameters.
    pub(super) fn are_asked_for(&self, rest: &[u8]) -> bool {
        self.marks.as_ref().is_none_or(|marks| {
            marks.find(rest).is_some_and(|found| {
                let before = rest.get(..found.start()).unwrap_or_default();
                is_mark(rest, found.span()) || self.parameters.find(before).is_none()
            })
        })
    }

    /// Whether one of the keys occurs anywhere.
    pub(super) fn are_in(&self, unit: &[u8]) -> bool {
        self.marks.as_ref().is_none_or(|marks| {
            marks
                .find_iter(unit)
                .any(|found| is_mark(unit, found.span()))
        })
    }
}

fn is_mark(text: &[u8], found: Span) -> bool {
    text.get(found.range()) != Some(RESPONSE.as_bytes())
}

/// The fields that AWS writes directly after `userIdentity`.
pub(super) struct FrontFields<'u> {
    /// Value of `eventTime`.
    time: &'u [u8; TIME],
    /// Value of `eventSource`.
    pub(super) service: &'u [u8],
    /// Value of `eventName`.
    pub(super) name: &'u [u8],
    /// The rest, from the closing quote of `eventName` on.
    pub(super) rest: &'u [u8],
}

/// Number of bytes at the end of a record in which the keys of its front are looked for once more.
/// To search more would take longer than all the rest of an ordinary record.
const REPEATED: usize = 96;

/// Searches for a second `eventSource` or `eventName`.
pub(super) struct RepeatedKeys(Option<Searcher>);

impl RepeatedKeys {
    pub(super) fn new() -> Self {
        Self(Searcher::new(["\"eventSource\"", "\"eventName\""]))
    }

    /// Whether service and call are not written once more at the end, where they would count
    /// instead.
    #[inline]
    pub(super) fn are_sound(&self, front: &FrontFields<'_>) -> bool {
        let end = front.rest.len().saturating_sub(REPEATED);
        let end = front.rest.get(end..).unwrap_or_default();
        // Nearly all records end as AWS ends them, and then no key was added behind.
        let is_usual = end.ends_with(b"\"Management\"}") || end.ends_with(b"}}");
        let is_repeated = !is_usual && self.0.as_ref().is_some_and(|keys| keys.find(end).is_some());
        !is_repeated
    }
}

impl<'u> FrontFields<'u> {
    /// `None` in any other layout.
    #[inline]
    pub(super) fn of(unit: &'u [u8], after_first: usize) -> Option<Self> {
        if after_first == 0 {
            return None;
        }
        let rest = after(unit.get(after_first..)?, b",\"eventTime\":\"")?;
        let (time, rest) = rest.split_first_chunk::<TIME>()?;
        let (service, rest) = name(after(rest, b"\",\"eventSource\":\"")?)?;
        let (name, rest) = name(after(rest, b"\",\"eventName\":\"")?)?;
        Some(Self {
            time,
            service,
            name,
            rest,
        })
    }
}

/// Whether bytes may be the name of a service or call: others hide what it is.
pub(super) fn is_name(text: &[u8]) -> bool {
    text.iter().all(|byte| is_of_name(*byte))
}

/// The name of a service or call, and the text from the quote behind it on; `None` for any other
/// text, which is examined more closely, and for the last bytes of a record.
#[inline]
fn name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    // Sixteen bytes at once, since this runs for every record: most names end within two steps.
    let mut at = 0;
    loop {
        let odd = odd_bytes(text.get(at..)?.first_chunk()?);
        if odd != 0 {
            at += odd.trailing_zeros() as usize;
            break;
        }
        at += LANE;
    }
    text.split_at_checked(at)
        .filter(|(_, rest)| rest.starts_with(b"\""))
}

/// Number of bytes that are examined at once.
const LANE: usize = 16;

/// Which bytes are no part of a name; one bit for each.
#[inline]
fn odd_bytes(bytes: &[u8; LANE]) -> u32 {
    let bytes = i8x16::new(bytes.map(u8::cast_signed));
    let is = |byte: u8| bytes.simd_eq(i8x16::splat(byte.cast_signed()));
    // Bytes beyond ASCII are negative.
    let below = bytes.simd_lt(i8x16::splat(b'!'.cast_signed()));
    (below | is(b'"') | is(b'\\') | is(0x7f)).to_bitmask()
}

#[inline]
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'
}

/// The values of a key at any position, if they are strings without escapes.
pub(super) fn values_of<'u>(unit: &'u [u8], key: &Finder<'_>) -> impl Iterator<Item = &'u [u8]> {
    key.find_iter(unit).filter_map(|at| {
        let rest = unit.get(at + key.needle().len()..)?.trim_ascii_start();
        let value = rest
            .strip_prefix(b":")?
            .trim_ascii_start()
            .strip_prefix(b"\"")?;
        value.get(..memchr::memchr(b'"', value)?)
    })
}

/// The bytes after a prefix. Its length is known to the compiler, so that the comparison needs no
/// function call.
pub(super) fn after<'u, const N: usize>(bytes: &'u [u8], prefix: &[u8; N]) -> Option<&'u [u8]> {
    bytes
        .split_first_chunk::<N>()
        .filter(|(first, _)| *first == prefix)
        .map(|(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_another_zone_is_another_hour() {
        let time = EventTime::parse("2026-03-02T10:20:00Z").unwrap();
        let last = LastMark::new(
            CoverageMark::at("111122223333".into(), "eu-west-1".into(), time),
            time,
        );
        let is_at = |account, time| last.is_at(Some(account), Some("eu-west-1"), Some(time));
        assert!(is_at("111122223333", "2026-03-02T10:59:59Z"));
        assert!(!is_at("111122223333", "2026-03-02T11:00:00Z"));
        assert!(!is_at("444455556666", "2026-03-02T10:59:59Z"));
        assert!(!is_at("111122223333", "2026-03-02T10:59:59+02:00"));
        assert!(!is_at("111122223333", "2026-03-02T10:59:59.5Z"));
    }

    #[test]
    fn a_mark_counts_where_it_stands() {
        let marks = DecryptMarks::new();
        let asked = br#""requestParameters":{"encryptionContext":{"SecretARN":"x"}},
            "responseElements":null"#;
        let other = br#""requestParameters":{"encryptionContext":{"app":"x"}},
            "responseElements":{"errorCode":1}"#;
        assert!(marks.are_asked_for(asked) && marks.are_in(asked));
        assert!(!marks.are_asked_for(other) && marks.are_in(other));
        assert!(!marks.are_in(br#""requestParameters":null,"responseElements":null"#));
    }

    #[test]
    fn a_name_ends_at_its_quote_and_holds_nothing_odd_wherever_that_stands() {
        let end = br#"","awsRegion":"eu-west-1""#;
        for length in 0..40 {
            let plain = vec![b'a'; length];
            let whole = [&plain, &end[..]].concat();
            assert_eq!(name(&whole), Some((&plain[..], &end[..])), "{length}");
            assert_eq!(name(&plain), None, "no quote");
            for (at, odd) in (0..length).zip((0..=u8::MAX).cycle()) {
                for odd in [odd, 0, 0x1f, b' ', b'\\', 0x7f, 0x80, 0xff] {
                    let mut text = whole.clone();
                    text[at] = odd;
                    let expected = is_of_name(odd) || odd == b'"';
                    assert_eq!(name(&text).is_some(), expected, "{odd} at {at}");
                }
            }
        }
    }

    #[test]
    fn the_front_of_a_record_is_read_in_the_order_of_aws_alone() {
        let ordered = concat!(
            r#"{"userIdentity":{},"eventTime":"2026-03-02T10:00:00Z","#,
            r#""eventSource":"kms.amazonaws.com","eventName":"Decrypt","awsRegion":"x"}"#
        );
        let after_first = br#"{"userIdentity":{}"#.len();
        let front = FrontFields::of(ordered.as_bytes(), after_first).unwrap();
        assert_eq!(
            (front.service, front.name),
            (&b"kms.amazonaws.com"[..], &b"Decrypt"[..])
        );
        assert_eq!(front.rest, br#"","awsRegion":"x"}"#);
        for (from, to) in [
            // A space, a time with a fraction, and a field in between.
            (r#"","eventSource""#, r#"", "eventSource""#),
            ("10:00:00Z", "10:00:00.0Z"),
            (r#","eventName""#, r#","a":1,"eventName""#),
        ] {
            let other = ordered.replacen(from, to, 1);
            assert!(
                FrontFields::of(other.as_bytes(), after_first).is_none(),
                "{other}"
            );
        }
        assert!(
            FrontFields::of(ordered.as_bytes(), 0).is_none(),
            "no object in it"
        );
        assert!(
            FrontFields::of(&ordered.as_bytes()[..60], after_first).is_none(),
            "truncated"
        );
    }
}
