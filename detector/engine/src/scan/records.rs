//! Records of an object as they are, without evaluation.

use crate::{
    envelope::{is_record_itself, record_of_row, unwrapped},
    inflate::{self, InflateError, InflateScratch},
    scan::table::{ObjectPiece, PieceReader},
    shallow::TopLevel,
    split::SplitPiece,
};

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
/// that error: see [`ObjectScanner::read`](super::ObjectScanner::read). `wanted` also sees the
/// envelopes of records.
pub fn records_with(
    bytes: &[u8],
    wanted: impl Fn(&[u8]) -> bool,
) -> (Vec<String>, Result<(), InflateError>) {
    let mut records = Vec::new();
    let mut pieces = PieceReader::default();
    let read = inflate::inflate(bytes, &mut InflateScratch::default(), &mut |bytes| {
        pieces.feed(bytes, &mut |piece| records.extend(texts_of(piece, &wanted)));
    });
    pieces.finish(&mut |piece| records.extend(texts_of(piece, &wanted)));
    (records, read)
}

/// The wanted records in a piece of an object. What is no record and holds none stays as it is.
fn texts_of(piece: ObjectPiece<'_>, wanted: impl Fn(&[u8]) -> bool) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let value = match piece {
        ObjectPiece::Json(SplitPiece::Unit { bytes, .. } | SplitPiece::Text(bytes))
        | ObjectPiece::Row(bytes)
            if wanted(bytes) =>
        {
            bytes
        }
        _ => return Vec::new(),
    };
    if let ObjectPiece::Row(row) = piece
        && let Some(record) = record_of_row(row)
    {
        return vec![text(&record.bytes)];
    }
    if is_record_itself(&TopLevel::of(value)) {
        return vec![text(value)];
    }
    match unwrapped(value) {
        Ok(found) => found
            .records
            .iter()
            .map(|record| text(&record.bytes))
            .collect(),
        Err(_) => vec![text(value)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_of_envelopes_as_they_went_in() {
        let one =
            r#"{"eventTime":"t","eventName":"x","eventSource":"s3.amazonaws.com", "n": 1.50}"#;
        let quoted = serde_json::to_string(one).unwrap();
        let envelopes = [
            format!(r#"{{"Records":[{one},{one}]}}"#),
            format!("{one}\n{one}\n"),
            format!("[{one},{one}]"),
            format!("[{quoted},{quoted}]"),
            format!(r#"{{"Events":[{{"CloudTrailEvent":{quoted}}},{{"CloudTrailEvent":{one}}}]}}"#),
        ];
        for text in envelopes {
            assert_eq!(records(text.as_bytes()).unwrap(), [one, one], "{text}");
        }
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
