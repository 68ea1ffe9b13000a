//! Records of an object as they are, without evaluation.

use crate::gunzip::{self, InflateError, InflateScratch};
use crate::split::{RecordSplitter, SplitPiece};
use crate::wire::LookupEvent;

/// Every record of an object as it is, in any form that
/// [`ObjectScanner::read`](super::ObjectScanner::read) accepts.
///
/// # Errors
///
/// See [`ObjectScanner::read`](super::ObjectScanner::read).
pub fn records(bytes: &[u8]) -> Result<Vec<String>, InflateError> {
    let (records, read) = records_with(bytes, |_| true);
    read.map(|()| records)
}

/// The records of an object whose bytes satisfy `wanted`, as they are, up to the first error, and
/// that error: see [`ObjectScanner::read`](super::ObjectScanner::read).
pub fn records_with(
    bytes: &[u8],
    wanted: impl Fn(&[u8]) -> bool,
) -> (Vec<String>, Result<(), InflateError>) {
    let mut records = Vec::new();
    let mut splitter = RecordSplitter::default();
    let read = gunzip::inflate(bytes, &mut InflateScratch::default(), &mut |bytes| {
        splitter.feed(bytes, &mut |piece| records.extend(text_of(piece, &wanted)));
    });
    splitter.finish(&mut |piece| records.extend(text_of(piece, &wanted)));
    (records, read)
}

/// The record in a piece of an object, if it is wanted.
fn text_of(piece: SplitPiece<'_>, wanted: impl Fn(&[u8]) -> bool) -> Option<String> {
    match piece {
        SplitPiece::Unit { bytes, .. } if wanted(bytes) => {
            Some(looked_up(bytes).unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned()))
        }
        SplitPiece::Unit { .. } | SplitPiece::Bad(_) => None,
    }
}

/// The record inside an element of `aws cloudtrail lookup-events`; `None` for anything else.
pub(super) fn looked_up(unit: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(unit);
    let event = serde_json::from_str::<LookupEvent<'_>>(&text).ok()?;
    event.cloud_trail_event.get().map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_of_envelopes_as_they_went_in() {
        let one = r#"{"eventSource":"s3.amazonaws.com", "n": 1.50}"#;
        let envelopes = [
            format!(r#"{{"Records":[{one},{one}]}}"#),
            format!("{one}\n{one}\n"),
            format!("[{one},{one}]"),
        ];
        for text in envelopes {
            assert_eq!(records(text.as_bytes()).unwrap(), [one, one], "{text}");
        }
        let looked_up = r#"{"Events":[{"CloudTrailEvent":"{\"eventID\":\"e1\"}"}]}"#;
        assert_eq!(
            records(looked_up.as_bytes()).unwrap(),
            [r#"{"eventID":"e1"}"#]
        );
    }

    #[test]
    fn what_came_before_the_truncation_is_returned() {
        let text = br#"{"Records":[{"eventID":"e1"},{"eventID":"e2"},{"eventID":"#;
        let is_second = |bytes: &[u8]| bytes.ends_with(br#""e2"}"#);
        let (found, read) = records_with(text, is_second);
        assert_eq!(found, [r#"{"eventID":"e2"}"#]);
        assert!(read.is_ok(), "the bytes could be read to their end");
    }
}
