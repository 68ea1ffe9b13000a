//! From the splitter's pieces to records: recognises records, unwraps envelopes, and counts the
//! rest.

use std::borrow::Cow;

use super::{
    UnitSink,
    prefilter::{ServiceInterest, has_odd_name},
    selected::account,
    table::{ObjectPiece, PieceReader},
    unparsed::FrontFields,
};
use crate::{
    document::LazyDocument,
    envelope::{
        FoundRecord, NoRecord, Unwrapped, copies::names_a_service, is_record_itself, record_of_row,
        row_shape, unwrapped,
    },
    normalize::{NormalRecord, normalized, time_of},
    record_shape::RecordShape,
    repair::loses_text,
    report::SkippedRecord,
    row::nested,
    shallow::{TopLevel, values},
    split::{MalformedUnit, SplitPiece},
    wire::CloudTrailRecord,
};

impl UnitSink<'_, '_> {
    pub(super) fn feed(&mut self, pieces: &mut PieceReader, bytes: &[u8]) {
        // Programs and pictures would be counted as thousands of damaged records. They are one
        // thing that is no record; a log whose beginning was overwritten is read all the same.
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        // White space alone is as empty as nothing.
        let report = &mut self.scan_result.report;
        if report.bytes > 0 || !bytes.trim_ascii_start().is_empty() {
            report.bytes += bytes.len() as u64;
        }
        if is_first && is_binary(bytes) {
            self.is_binary = true;
            let report = &mut self.scan_result.report;
            report.skip_record(SkippedRecord::NotARecord);
        }
        if is_first && self.is_binary {
            pieces.read_as_json();
        }
        pieces.feed(bytes, &mut |piece| self.object_piece(piece));
    }

    pub(super) fn object_piece(&mut self, piece: ObjectPiece<'_>) {
        match piece {
            ObjectPiece::Json(piece) => self.piece(piece),
            ObjectPiece::Row(row) => self.row(row),
            ObjectPiece::TooLarge => {
                let report = &mut self.scan_result.report;
                report.skip_record(SkippedRecord::TooLarge);
            }
            ObjectPiece::Cut => {
                let report = &mut self.scan_result.report;
                report.skip_record(SkippedRecord::Truncated);
            }
        }
    }

    fn row(&mut self, row: &[u8]) {
        match record_of_row(row) {
            Some(record) => {
                self.count_repaired(record.repaired);
                self.unwrapped(&record.bytes, record.shape);
            }
            None => self.envelope(row),
        }
    }

    fn piece(&mut self, piece: SplitPiece<'_>) {
        match piece {
            SplitPiece::Unit {
                bytes,
                after_first,
                in_records,
            } => {
                self.is_fragment = false;
                self.unit(bytes, after_first, in_records);
            }
            SplitPiece::Text(text) => self.text(text),
            // Of no text, only what names a service is worth a word.
            SplitPiece::Bad { why, bytes }
                if self.is_binary && why != MalformedUnit::TooLarge && !names_a_service(bytes) => {}
            SplitPiece::Bad { why, bytes } => {
                let reason = match why {
                    MalformedUnit::NotAnObject => SkippedRecord::NotARecord,
                    MalformedUnit::TooLarge => SkippedRecord::TooLarge,
                    MalformedUnit::Truncated => SkippedRecord::Truncated,
                };
                self.scan_result.report.skip_record(reason);
                // A record beyond the limit may be an evasion, and one that is broken while others
                // follow it.
                if why != MalformedUnit::NotAnObject {
                    self.look_at_unreadable(bytes);
                }
            }
        }
    }

    /// Handles a text between units: a record, or a fragment of one, as after a closing brace too
    /// many.
    fn text(&mut self, text: &[u8]) {
        let is_key = text == b"\"eventSource\"";
        if std::mem::replace(&mut self.is_fragment, is_key) {
            self.malformed(&[b"\"eventSource\":", text].concat());
        } else if !is_key {
            self.envelope(text);
        }
    }

    /// Handles an object: a record, or an envelope.
    fn unit(&mut self, unit: &[u8], after_first: usize, in_records: bool) {
        let shape = if in_records {
            RecordShape::Records
        } else {
            RecordShape::Plain
        };
        // Nearly all units are records with their fields in the order of AWS.
        if let Some(front) = FrontFields::of(unit, after_first)
            .filter(|front| self.scanner.prefilter.is_sound(front))
        {
            self.scan_result.report.count_record(shape);
            self.select(unit);
            match self.scanner.prefilter.front_interest(&front) {
                ServiceInterest::None => {}
                // There may be millions of KMS events, and the first of an hour proves as much as
                // all of them.
                ServiceInterest::Kms if self.scanner.is_last_mark_on(&front) => {}
                ServiceInterest::Kms => self.presence(&TopLevel::of(unit)),
                ServiceInterest::Full => self.record(unit, shape),
            }
            return;
        }
        let top = TopLevel::of(unit);
        if is_record_itself(&top) {
            self.found(unit, &top, row_shape(&top).unwrap_or(shape));
        } else {
            self.envelope(unit);
        }
    }

    /// Handles a record whose fields are in another order, or that was unwrapped.
    fn found(&mut self, unit: &[u8], top: &TopLevel<'_>, shape: RecordShape) {
        if let Some(nested) = nested(top) {
            return self.record_found(&nested, &TopLevel::of(&nested), shape);
        }
        self.record_found(unit, top, shape);
    }

    fn record_found(&mut self, unit: &[u8], top: &TopLevel<'_>, shape: RecordShape) {
        self.scan_result.report.count_record(shape);
        self.select_top(top);
        if has_odd_name(top) {
            self.scan_result.report.uncount_record(shape);
            return self.malformed(unit);
        }
        match self.scanner.prefilter.interest(unit, top) {
            ServiceInterest::None => {}
            ServiceInterest::Kms => self.presence(top),
            ServiceInterest::Full => self.record(unit, shape),
        }
    }

    /// Handles a value that is no record itself: the records in it, or none.
    fn envelope(&mut self, value: &[u8]) {
        match unwrapped(value) {
            Ok(Unwrapped {
                records,
                lost,
                cut_rows,
            }) => {
                for FoundRecord {
                    bytes,
                    shape,
                    repaired,
                } in records
                {
                    self.count_repaired(repaired);
                    self.unwrapped(&bytes, shape.unwrap_or(RecordShape::Plain));
                }
                lost.iter().for_each(|value| self.lost(value, &[]));
                let report = &mut self.scan_result.report;
                (0..cut_rows).for_each(|_| report.skip_record(SkippedRecord::Truncated));
            }
            Err(NoRecord::Empty) => {}
            Err(NoRecord::Other) if self.is_binary => {}
            Err(NoRecord::Other) => {
                let report = &mut self.scan_result.report;
                report.skip_record(SkippedRecord::NotARecord);
            }
            Err(NoRecord::UnknownEnvelope { keys, lost }) => {
                if normalized(value).is_none() || is_broken_record(value) {
                    self.malformed(value);
                } else if lost.is_empty() {
                    self.scan_result.report.skip_unknown_envelope(&keys);
                } else {
                    lost.iter().for_each(|value| self.lost(value, &keys));
                }
            }
        }
    }

    /// Handles a value in a known envelope that names a service and gave no record. `keys` are
    /// those of the envelope if it gave none at all.
    fn lost(&mut self, value: &[u8], keys: &[String]) {
        let is_broken = value.starts_with(b"{") && normalized(value).is_none();
        if is_broken {
            return self.malformed(value);
        }
        // Of a list, its first element has the keys.
        let first = value.starts_with(b"[").then(|| values(value));
        let own = first.and_then(|values| values.first().copied());
        let own = TopLevel::of(own.unwrap_or(value));
        let own: Vec<String> = own.iter().map(|(key, _)| key.to_owned()).collect();
        let keys = if own.is_empty() { keys } else { &own };
        self.scan_result.report.skip_unknown_envelope(keys);
    }

    /// Handles a record that was unwrapped, or that a row tells of.
    fn unwrapped(&mut self, record: &[u8], shape: RecordShape) {
        self.scan_result.report.form_fields.note(shape, record);
        self.is_row = shape.is_row();
        self.found(record, &TopLevel::of(record), shape);
        self.is_row = false;
    }

    /// Counts a record that was repaired before it was found.
    fn count_repaired(&mut self, loses: Option<bool>) {
        if let Some(loses) = loses {
            self.scan_result.report.count_repaired(loses);
        }
    }

    fn malformed(&mut self, unit: &[u8]) {
        let report = &mut self.scan_result.report;
        report.skip_record(SkippedRecord::Malformed);
        self.look_at_unreadable(unit);
    }

    /// Parses a record, and evaluates it. Nearly all are as documented and need one parse; the
    /// others are brought into the documented form first.
    pub(super) fn record(&mut self, unit: &[u8], shape: RecordShape) {
        if !self.parse(unit) {
            self.scan_result.report.uncount_record(shape);
        }
    }

    /// Returns whether the record could be read.
    fn parse(&mut self, unit: &[u8]) -> bool {
        if let Ok(text) = simdutf8::basic::from_utf8(unit)
            && let Ok(record) = serde_json::from_str::<CloudTrailRecord<'_>>(text)
            && !record.is_odd()
        {
            return self.evaluate(&record, text);
        }
        let Some(record) = normalized(unit) else {
            self.malformed(unit);
            return false;
        };
        let NormalRecord {
            text,
            is_repaired,
            mistyped,
            assumes_utc,
        } = record;
        let report = &mut self.scan_result.report;
        if is_repaired {
            report.count_repaired(loses_text(unit));
        }
        report.fields_mistyped += mistyped;
        report.times_without_zone += u64::from(assumes_utc);
        match serde_json::from_str::<CloudTrailRecord<'_>>(&text) {
            Ok(record) => self.evaluate(&record, &text),
            Err(_) => {
                self.malformed(unit);
                false
            }
        }
    }

    /// A KMS record that is not a Decrypt for a secret at least proves that KMS events are logged.
    fn presence(&mut self, top: &TopLevel<'_>) {
        if is_of_kms(top.text("eventSource").as_deref()) && self.proves_coverage(top) {
            let time = top.get("eventTime").and_then(time_of);
            self.mark(
                account(top).as_deref(),
                top.text("awsRegion").as_deref(),
                time.map(|time| time.to_string()).as_deref(),
            );
        }
    }

    /// Whether a KMS event proves that a Decrypt for a secret would have been seen. A log has all
    /// of a record; of a row only Decrypts with their parameters show that these were kept.
    fn proves_coverage(&self, top: &TopLevel<'_>) -> bool {
        let has_parameters = top
            .get("requestParameters")
            .is_some_and(|parameters| parameters.starts_with(b"{"));
        !self.is_row || (has_parameters && top.text("eventName").as_deref() == Some("Decrypt"))
    }

    /// Returns whether the record has a time, if it needs one.
    fn evaluate(&mut self, record: &CloudTrailRecord<'_>, text: &str) -> bool {
        if !self.is_selected(record) {
            return true;
        }
        let document = &LazyDocument::new(text);
        if is_of_kms(record.event_source.get())
            && (!self.is_row || self.proves_coverage(&TopLevel::of(text.as_bytes())))
        {
            self.mark(
                record.recipient_account_id.get(),
                record.aws_region.get(),
                record.event_time.get(),
            );
        }
        let observed = self.observe(record, document);
        let is_observed = observed == Some(true);
        let is_asked_for = self.scanner.prefilter.is_asked_for_by(record);
        let has_issued = self.scanner.prefilter.may_issue(record) && self.issue(record, document);
        if self.scanner.keeps && (is_observed || is_asked_for) {
            self.keep(record, text);
        } else if self.scanner.keeps && has_issued {
            self.keep(record, &without_token(text));
        }
        if self.scanner.prefilter.matches_records() && is_asked_for {
            self.match_record(record, document);
        }
        if document.is_repaired() {
            let loses = loses_text(text.as_bytes());
            self.scan_result.report.count_repaired(loses);
        }
        if observed.is_none() {
            // Whoever can make its time unreadable can hide the call.
            self.look_at_unreadable(text.as_bytes());
        }
        if self.scan_result.is_part() {
            (self.take_part)(self.scan_result);
        }
        observed.is_some()
    }
}

/// Whether a value has the fields of a record and one of those without which it is none cannot be
/// read: no envelope has them at its top.
fn is_broken_record(value: &[u8]) -> bool {
    let top = TopLevel::of(value);
    top.get("eventSource").is_some()
        && (top.get("userIdentity").is_some() || top.get("eventVersion").is_some())
}

/// A record without the session token that its call has issued, by far the longest value in it: no
/// rule asks for the record, and the token is of no use. A quote within a value is escaped, so that
/// no value can pass for the key.
fn without_token(text: &str) -> Cow<'_, str> {
    const KEY: &str = "\"sessionToken\":\"";
    let found = text.find(KEY).map(|at| at + KEY.len());
    let cut = found.and_then(|start| {
        let value = text.get(start..)?;
        let end = value.find('"')?;
        // An escape may hide a quote.
        let is_plain = !value.get(..end)?.contains('\\');
        let rest = value.get(end..)?;
        is_plain.then(|| format!("{}{rest}", text.get(..start).unwrap_or_default()))
    });
    cut.map_or(Cow::Borrowed(text), Cow::Owned)
}

fn is_of_kms(event_source: Option<&str>) -> bool {
    event_source.is_some_and(|source| source.starts_with("kms."))
}

/// Whether bytes at the beginning of an object are no text: one in ten of them is a control
/// character other than white space. An odd byte or a few in a record are far fewer.
fn is_binary(bytes: &[u8]) -> bool {
    const LOOKED_AT: usize = 1_024;
    let start = bytes.get(..LOOKED_AT).unwrap_or(bytes);
    // Without branches: this runs for every object, and compares many bytes at once.
    let controls = start.iter().map(|byte| usize::from(is_control(*byte)));
    controls.sum::<usize>() * 10 > start.len()
}

/// Whether a byte is a control character other than white space.
fn is_control(byte: u8) -> bool {
    let is_low = (byte < b' ') & (byte != b'\t') & (byte != b'\n');
    (is_low & (byte != b'\x0c') & (byte != b'\r')) | (byte == 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_character_is_none_that_is_white_space() {
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_control() && !byte.is_ascii_whitespace();
            assert_eq!(is_control(byte), expected, "{byte}");
        }
    }

    #[test]
    fn binaries_are_recognised_and_text_with_odd_bytes_is_none() {
        assert!(is_binary(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0>\0"));
        assert!(is_binary(&[0; 2_000]));
        for text in [
            &b"{\"a\":\"x\x00y\x01\", \"b\": 1}\n"[..],
            b"",
            "東京 é".as_bytes(),
            b"\t\r\n \n",
        ] {
            assert!(!is_binary(text), "{text:?}");
        }
    }
}
