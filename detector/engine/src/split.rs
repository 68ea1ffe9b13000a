//! Splits the bytes of a log object, in pieces of any size, into the JSON objects that may be
//! records.
//!
//! It accepts `{"Records":[…]}` and lists under other known keys, bare arrays, arrays of texts, and
//! concatenated objects (JSON lines, pretty-printed or not). It tracks strings, escapes and depth
//! exactly, so that text inside a record can never pass for a record, and processes 64 bytes at a
//! time. It does not parse: only braces delimit a unit. After a broken document, the splitter
//! starts again at the next line that begins a document.
//!
//! `simd` finds the relevant characters, `blocks` drops those in strings and skips what is nested
//! inside a unit, `units` acts on the rest, `gaps` on what is between units, and `lines` on line
//! breaks.

mod blocks;
mod gaps;
pub(crate) mod lines;
mod simd;
mod units;

use self::units::FieldSearch;
use crate::{envelope::copies::names_a_record, limits::MAX_RECORD_BYTES};

/// A result of the splitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitPiece<'a> {
    /// A whole JSON object, from its opening to its closing brace, or a row of `QueryResultRows`.
    Unit {
        /// Its bytes.
        bytes: &'a [u8],
        /// Offset of the first byte after the first object or array in it: the text there is not
        /// nested. 0 when there is none. With an empty list of records it may be a later one, or 0.
        after_first: usize,
        /// Whether it is an element of a list named `Records`.
        in_records: bool,
    },
    /// A whole JSON string in the place of an object, with its quotes.
    Text(&'a [u8]),
    /// Skipped bytes that are not a unit.
    Bad {
        /// Why.
        why: MalformedUnit,
        /// The beginning of the unit, as far as it was kept; empty where the input ends in it.
        bytes: &'a [u8],
    },
}

/// Why bytes are not a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MalformedUnit {
    /// Text between records that is not a JSON object.
    NotAnObject,
    /// The object is longer than [`MAX_RECORD_BYTES`].
    TooLarge,
    /// The object ends before its closing brace.
    Truncated,
}

/// Position of the splitter in the envelope of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EnvelopePlace {
    /// Between units: white space and commas are expected.
    Between,
    /// Inside a unit.
    Unit,
    /// Inside `{"Records": …}` but outside its array.
    Envelope,
}

/// Splits one object. Feed it every piece in order, then call [`RecordSplitter::finish`].
#[derive(Debug)]
pub struct RecordSplitter {
    place: EnvelopePlace,
    depth: usize,
    /// Depth of a unit's opening brace: 0 at the top, 1 in a bare array, 2 in the list of an
    /// envelope, more in arrays in these.
    base: usize,
    /// Number of arrays around the place of units inside the list or bare array.
    nested: usize,
    /// Whether the list is named `Records`.
    in_records: bool,
    /// Whether the list holds rows, each of which is an array: these are units.
    in_rows: bool,
    /// Whether the object that is open at depth 1 is the value of `hits`.
    in_hits: bool,
    in_string: bool,
    escape_next: bool,
    /// The object up to the list that is or was open in it; empty where it is not kept.
    before_list: Vec<u8>,
    /// Whether nothing was in that list so far.
    list_is_empty: bool,
    /// Whether a line break has ended a string, at this line break.
    string_is_cut: bool,
    /// Whether nothing but white space has come since a line break has ended a string.
    ends_in_string: bool,
    /// Bytes of the current unit from earlier pieces.
    carry: Vec<u8>,
    /// Offset in the current unit of the first byte after the first object or array in it; 0 until
    /// that was seen.
    after_first: usize,
    /// The search for a field of records in it.
    field: FieldSearch,
    /// Whether the current unit is too long; its bytes are then no longer kept.
    oversize: bool,
    /// Offset in the current unit of the last line that may begin a document of its own.
    candidate: Option<usize>,
    /// Text between units that may go on: the beginning of a string.
    stray: Vec<u8>,
    /// Whether that string is too long for a record, and its text is no longer kept.
    long_text: bool,
    /// Whether anything but white space, commas and strings was seen since the last unit.
    dirty: bool,
    /// A line break at the end of the last piece, and what follows it: whether a document begins
    /// there is not known yet.
    held: Vec<u8>,
    /// The last bytes of earlier pieces, to recognise the key of an envelope across a boundary of
    /// pieces.
    tail: Vec<u8>,
    max_record: usize,
}

impl Default for RecordSplitter {
    fn default() -> Self {
        Self::with_limit(MAX_RECORD_BYTES)
    }
}

/// Number of bytes before an array in which its key is searched: the longest key, and room for the
/// white space of a pretty-printer.
const TAIL: usize = 64;

impl RecordSplitter {
    /// A splitter that rejects units longer than `max_record` bytes.
    #[must_use]
    pub fn with_limit(max_record: usize) -> Self {
        Self {
            place: EnvelopePlace::Between,
            depth: 0,
            base: 0,
            nested: 0,
            in_records: false,
            in_rows: false,
            in_hits: false,
            before_list: Vec::new(),
            list_is_empty: false,
            in_string: false,
            escape_next: false,
            string_is_cut: false,
            ends_in_string: false,
            carry: Vec::new(),
            after_first: 0,
            field: FieldSearch::default(),
            oversize: false,
            candidate: None,
            stray: Vec::new(),
            long_text: false,
            dirty: false,
            held: Vec::new(),
            tail: Vec::new(),
            max_record,
        }
    }

    /// Takes the next bytes and passes each unit that ends in them to `sink`.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut dyn FnMut(SplitPiece<'_>)) {
        // Joined only where a line break is at the end of a piece, which is rare.
        let joined = (!self.held.is_empty()).then(|| {
            let mut joined = std::mem::take(&mut self.held);
            joined.extend_from_slice(bytes);
            joined
        });
        let bytes = joined.as_deref().unwrap_or(bytes);
        let end = lines::known_up_to(bytes);
        self.held = bytes.get(end..).unwrap_or_default().to_vec();
        self.feed_lines(bytes, end, sink);
    }

    /// Takes the bytes before `end`. Those from there on only show how their lines begin.
    fn feed_lines(&mut self, all: &[u8], end: usize, sink: &mut dyn FnMut(SplitPiece<'_>)) {
        let bytes = all.get(..end).unwrap_or(all);
        self.ends_in_string &= bytes.trim_ascii().is_empty();
        let mut walk = SplitWalk {
            bytes: all,
            sink,
            unit_start: 0,
            gap_start: 0,
            block: 0,
        };
        let (blocks, rest) = bytes.as_chunks::<64>();
        self.whole_blocks(blocks, &mut walk);
        if !rest.is_empty() {
            self.last_block(rest, &mut walk);
        }
        // The caller drops these bytes before the next ones come: keep what is still needed of
        // them.
        match self.place {
            EnvelopePlace::Unit => self.keep(bytes.get(walk.unit_start..).unwrap_or_default()),
            EnvelopePlace::Between => {
                let gap = walk.gap_before(bytes.len());
                self.look_at_gap(gap, &mut walk);
            }
            // What follows a list may be a record.
            EnvelopePlace::Envelope => self.keep(bytes.get(walk.unit_start..).unwrap_or_default()),
        }
        self.keep_tail(bytes);
    }

    /// Ends the input. Afterwards the splitter can be used for another object.
    pub fn finish(&mut self, sink: &mut dyn FnMut(SplitPiece<'_>)) {
        let held = std::mem::take(&mut self.held);
        self.feed_lines(&held, held.len(), sink);
        // Report one error, not each of its consequences: after a missing brace, all text was taken
        // for the inside of the unit.
        if self.place == EnvelopePlace::Unit {
            self.abandon_unit(&[], sink);
        } else if self.depth > 0 {
            let why = MalformedUnit::Truncated;
            sink(SplitPiece::Bad { why, bytes: &[] });
        } else if names_a_record(&self.stray) {
            // A text with a record, cut off at its end.
            let why = MalformedUnit::Truncated;
            sink(SplitPiece::Bad { why, bytes: &[] });
        } else if self.dirty || !self.stray.is_empty() {
            let why = MalformedUnit::NotAnObject;
            sink(SplitPiece::Bad { why, bytes: &[] });
        }
        *self = Self::with_limit(self.max_record);
    }

    /// The last [`TAIL`] bytes before `at`, also those of earlier pieces: as many whatever the
    /// pieces.
    fn bytes_before(&self, at: usize, walk: &SplitWalk<'_>) -> Vec<u8> {
        let here = walk.bytes.get(at.saturating_sub(TAIL)..at);
        let here = here.unwrap_or_default();
        let earlier = self.tail.len().saturating_sub(TAIL - here.len());
        [self.tail.get(earlier..).unwrap_or_default(), here].concat()
    }

    /// Keeps the last bytes, for the key of an array that begins in the next piece.
    fn keep_tail(&mut self, bytes: &[u8]) {
        let end = bytes.get(bytes.len().saturating_sub(TAIL)..);
        self.tail.extend_from_slice(end.unwrap_or_default());
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
    }
}

/// The current bytes, the offsets in them, and the receiver of the units.
struct SplitWalk<'a> {
    bytes: &'a [u8],
    sink: &'a mut dyn FnMut(SplitPiece<'_>),
    /// Start of the current unit in these bytes; 0 when it began in an earlier piece.
    unit_start: usize,
    /// The first byte after the last unit or bracket of an envelope.
    gap_start: usize,
    /// The first byte of the current block.
    block: usize,
}

impl<'a> SplitWalk<'a> {
    /// The bytes between the last unit and the byte at `at`.
    fn gap_before(&self, at: usize) -> &'a [u8] {
        self.bytes.get(self.gap_start..at).unwrap_or_default()
    }

    fn bad(&mut self, why: MalformedUnit, bytes: &[u8]) {
        (self.sink)(SplitPiece::Bad { why, bytes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::{collection::vec, sample::select};

    /// The result for a text that comes in pieces: units with the offset after their first object,
    /// and errors by their names.
    fn found(text: &str, piece: usize, limit: usize) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        let mut splitter = RecordSplitter::with_limit(limit);
        let mut sink = |p: SplitPiece<'_>| match p {
            SplitPiece::Unit {
                bytes, after_first, ..
            } => {
                found.push((String::from_utf8_lossy(bytes).into_owned(), after_first));
            }
            SplitPiece::Text(text) => found.push((String::from_utf8_lossy(text).into_owned(), 0)),
            SplitPiece::Bad { why, .. } => found.push((format!("{why:?}"), 0)),
        };
        for chunk in text.as_bytes().chunks(piece.max(1)) {
            splitter.feed(chunk, &mut sink);
        }
        splitter.finish(&mut sink);
        found
    }

    fn split(text: &str, piece: usize, limit: usize) -> Vec<String> {
        let found = found(text, piece, limit);
        found.into_iter().map(|(what, _)| what).collect()
    }

    fn check(text: &str, expected: &[&str]) {
        for piece in [1, 2, 3, 7, 63, 64, 65, 1 << 20] {
            assert_eq!(
                split(text, piece, 1 << 20),
                expected,
                "in pieces of {piece}"
            );
        }
    }

    #[test]
    fn a_raw_line_break_in_a_value_ends_nothing_and_one_that_cuts_a_line_does() {
        let one = "{\"a\":\"x\ny\",\"b\":{}}";
        let text = format!("{{\"Records\":[{one},{{\"c\":1}}]}}");
        check(&text, &[one, "{\"c\":1}"]);
        check(
            &text.replace('\n', "\r\n"),
            &[&one.replace('\n', "\r\n"), "{\"c\":1}"],
        );
        check("{\"a\":\"x\n{\"c\":1}\n", &["Truncated", "{\"c\":1}"]);
        let pretty = "{\n  \"a\": \"x,\n  \"b\": 1\n}";
        check(&format!("{pretty}\n{{\"c\":1}}\n"), &[pretty, "{\"c\":1}"]);
    }

    #[test]
    fn a_text_that_is_cut_tells_of_the_record_in_it() {
        let cut = r#""{\"event\u0053ource\":\"kms"#;
        let text = format!("{{\"a\":1}}\n{cut}\n{{\"b\":2}}");
        check(&text, &["{\"a\":1}", "Truncated", "{\"b\":2}"]);
        check(&format!("{{\"a\":1}}\n{cut}"), &["{\"a\":1}", "Truncated"]);
        check("\"{\\\"x\n{\"b\":2}", &["NotAnObject", "{\"b\":2}"]);
        let long = format!("\"{}\n{{\"b\":2}}", "x".repeat(100));
        for piece in [1, 7, 1 << 20] {
            assert_eq!(split(&long, piece, 48), ["TooLarge", "{\"b\":2}"]);
        }
    }

    /// With work for each list that grows with the object, this takes minutes.
    #[test]
    fn any_number_of_lists_in_one_object_is_read_in_time() {
        for list in ["\"data\":[],", "\"data\":[{}],"] {
            let object = format!("{{{}\"eventSource\":\"x\"}}", list.repeat(100_000));
            let record = format!("{{\"eventSource\":\"x\",{}", object.get(1..).unwrap());
            for text in [object, record] {
                assert!(!split(&text, 1 << 16, 1 << 22).is_empty());
            }
        }
    }

    #[test]
    fn short_lines_in_damaged_text_are_seen_in_pieces_of_any_size() {
        let inner = "{\n   \": 1.\n   \"b\": {\n      \"c\": [\n     }\n\" ]\n}";
        let text = format!("{{\n   \"x\":      [\n{inner}");
        check(&text, &["Truncated", "Truncated"]);
    }

    #[test]
    fn what_precedes_a_line_is_seen_as_far_whatever_the_pieces() {
        let text = format!("{{\"a\":x{}{{\"b\":{{\"c\":3}}]}}\n", "\n".repeat(120));
        let whole = split(&text, 1 << 20, 48);
        for piece in 1..300 {
            assert_eq!(split(&text, piece, 48), whole, "in pieces of {piece}");
        }
    }

    #[test]
    fn finds_units_in_every_envelope() {
        let two = [r#"{"a":1}"#, r#"{"b":{"c":[{}]}}"#];
        check(r#"{"Records":[{"a":1},{"b":{"c":[{}]}}]}"#, &two);
        check(
            "{ \"Records\" : [ {\"a\":1} ,\n {\"b\":{\"c\":[{}]}} ] }\n",
            &two,
        );
        check(
            r#"{"NextToken":"x","Events":[{"a":1},{"b":{"c":[{}]}}],"more":{"d":[1]}}"#,
            &two,
        );
        check(r#"[{"a":1},{"b":{"c":[{}]}}]"#, &two);
        check("{\"a\":1}\n{\"b\":{\"c\":[{}]}}\n", &two);
        check(
            r#"{"QueryResultRows":[[{"a":1},{"b":"]"}], [{"a":2}]],"x":[[1]]}"#,
            &[r#"[{"a":1},{"b":"]"}]"#, r#"[{"a":2}]"#],
        );
        check(r#"{"Records":[]}"#, &[r#"{"Records":[]}"#]);
        check("", &[]);
        check(
            "{\"Records\":[{\"a\":1}]}\n{\"Records\":[{\"b\":{\"c\":[{}]}}]}",
            &two,
        );
    }

    #[test]
    fn text_inside_a_record_never_passes_for_a_record() {
        let nested =
            r#"{"requestParameters":{"items":[{"x":1},{"eventVersion":"1"},{"Records":[{}]}]}}"#;
        check(&format!(r#"{{"Records":[{nested}]}}"#), &[nested]);
        let quoted = r#"{"a":"}],{\"Records\":[{\\\"b\\\":\"","c":"\\"}"#;
        check(
            &format!(r#"{{"Records":[{quoted},{{}}]}}"#),
            &[quoted, "{}"],
        );
    }

    #[test]
    fn names_what_is_not_a_unit() {
        check(
            r#"{"Records":[1,{"a":1},"x",{}]}"#,
            &["NotAnObject", r#"{"a":1}"#, r#""x""#, "{}"],
        );
        check("not json at all", &["NotAnObject"]);
        check(r#"{"Records":[{"a":1},{"b":"#, &[r#"{"a":1}"#, "Truncated"]);
        check(r#"{"Records":[{"a":1},"#, &[r#"{"a":1}"#, "Truncated"]);
        assert_eq!(
            split(r#"{"Records":[{"a":"0123456789"},{"b":1}]}"#, 5, 12),
            ["TooLarge", r#"{"b":1}"#]
        );
        assert_eq!(
            split(r#"{"Records":[{"a":"0123456789"},{"b":1}]}"#, 500, 12),
            ["TooLarge", r#"{"b":1}"#]
        );
    }

    #[test]
    fn a_truncated_line_does_not_cost_the_next_one() {
        let expected = ["Truncated", r#"{"b":2}"#];
        for text in [
            "{\"a\":\"cut in a str\n{\"b\":2}\n",
            "{\"a\":{\"x\":1\n{\"b\":2}\n",
            "{\"a\":\"cut in a str\n \t{\"b\":2}\n",
            "{\"a\":{\"x\":1\n  {\"b\":2}\n",
            "{\"a\":{\"x\":1,\n  {\"b\":2}\n",
        ] {
            check(text, &expected);
        }
    }

    #[test]
    fn a_truncated_line_does_not_cost_the_next_one_behind_a_prefix() {
        for prefix in [
            "Mar  2 11:00:00 host app[17]: ",
            "<134>1 2026-03-02T11:00:00,123Z host app - - - ",
            "2026-03-02 11:00:00 ",
            "[2026-03-02T11:00:00Z] ",
            "2026-03-02T11:00:00Z,",
            "trail:",
        ] {
            for cut in [
                "{\"a\":\"cut in a str",
                "{\"a\":{\"x\":1",
                "{\"a\":{\"x\":1,",
            ] {
                let text = format!("{prefix}{cut}\n{prefix}{{\"b\":2}}\n{prefix}{{\"b\":3}}\n");
                for piece in [1, 7, 64, 1 << 20] {
                    let mut found = split(&text, piece, 1 << 20);
                    found.retain(|what| what != "NotAnObject");
                    assert_eq!(found, ["Truncated", "{\"b\":2}", "{\"b\":3}"], "{text}");
                }
            }
        }
        // Values of a list, and of an object, that a line begins with.
        for one in [
            "{\"a\":[\n1, {\"b\":2}\n, {\"b\":2}\n, true, {}]}",
            "{\"a\":\n[1, [2], {\"b\":2}], \"c\":\n  {\"d\":1}}",
            "{\"a\":\"one\ntwo {b: 2}\"}",
        ] {
            check(one, &[one]);
        }
    }

    #[test]
    fn a_string_ends_with_its_line_and_no_later() {
        // After the break, the quote opens a string again, and the brace in it is text.
        let text = "{\"a\":\"cut}\n,\"b\":\"}{\"}";
        check(text, &[text]);
    }

    #[test]
    fn only_a_key_of_the_outermost_object_names_records() {
        for one in [
            r#"{"a":{"Records":[{"x":1}]}}"#,
            r#"{"a":["Records",[{"x":1}]]}"#,
            r#"{"Record":[{"x":1}]}"#,
            r#"{"Records":{"x":[1]}}"#,
        ] {
            check(one, &[one]);
        }
        check(
            r#"{"a":[{}],"Records":[{"x":1}],"b":[{}],"Events":[{"y":2}]}"#,
            &[r#"{"x":1}"#, r#"{"y":2}"#],
        );
    }

    #[test]
    fn an_object_with_the_fields_of_a_record_is_a_unit_whatever_lists_are_in_it() {
        for one in [
            r#"{"eventSource":"x","data":[{"y":1}],"a":[]}"#,
            r#"{"data":[],"eventSource":"x"}"#,
            r#"{"message":"{\"eventSource\":1}","events":[{"y":1}]}"#,
            r#"{"a":{"b":[1]},"messages":[],"result":{"eventSource":"x"}}"#,
        ] {
            check(one, &[one]);
        }
        check(
            r#"{"z":2,"data":[{"y":1}],"eventSource":"x","n":{"m":[]}}"#,
            &[
                r#"{"y":1}"#,
                r#"{"z":2,"data":null,"eventSource":"x","n":{"m":[]}}"#,
            ],
        );
        check(
            r#"{"data":[{"y":1}],"eventSource":"x","events":[{"y":2}]}"#,
            &[
                r#"{"y":1}"#,
                r#"{"data":null,"eventSource":"x","events":[{"y":2}]}"#,
            ],
        );
        check(
            r#"{"data":[{"y":1}],"events":[{"y":2}],"eventSource":"x"}"#,
            &[
                r#"{"y":1}"#,
                r#"{"y":2}"#,
                r#"{"data":null,"events":null,"eventSource":"x"}"#,
            ],
        );
        check(
            r#"{"Records":[{"y":1}],"message":"{\"eventSource\":1}"}"#,
            &[
                r#"{"y":1}"#,
                r#"{"Records":null,"message":"{\"eventSource\":1}"}"#,
            ],
        );
        check(
            r#"{"fields":["eventSource"],"records":[{"x":1}]}"#,
            &[r#"{"x":1}"#],
        );
        check(
            r#"{"a":1,"events":[ ],"records":[{"x":1}]}"#,
            &[r#"{"x":1}"#],
        );
    }

    #[test]
    fn surplus_brackets_cost_one_error_and_no_record() {
        check(
            "]}}\n{\"a\":1}\n}\n{\"b\":2}",
            &["NotAnObject", r#"{"a":1}"#, "NotAnObject", r#"{"b":2}"#],
        );
        check(r#"{"Records":[{"a":1}]}}"#, &[r#"{"a":1}"#, "NotAnObject"]);
    }

    #[test]
    fn a_unit_of_just_the_limit_is_taken_whatever_the_pieces() {
        for piece in [1, 3, 7, 8, 100] {
            assert_eq!(
                split(r#"[{"a":12},{"a":123},{}]"#, piece, 8),
                [r#"{"a":12}"#, "TooLarge", "{}"],
                "in pieces of {piece}"
            );
        }
    }

    #[test]
    fn a_truncated_oversize_line_does_not_cost_the_next_one() {
        let text = "{\"a\":\"0123456789\n{\"b\":2}\n";
        assert_eq!(split(text, 16, 8), ["TooLarge", r#"{"b":2}"#]);
    }

    #[test]
    fn the_offset_after_the_first_object_is_reported() {
        let rest = r#","eventSource":"kms.amazonaws.com","requestParameters":{"a":[]}}"#;
        let identity = "x".repeat(100);
        for first in [
            format!(r#"{{"userIdentity":{{"arn":"}}]{identity}","sessionContext":{{}}}}"#),
            format!(r#"{{"resources":[{{"ARN":"{identity}"}},{{}}]"#),
        ] {
            let text = format!(r#"{{"Records":[{first}{rest},{{"flat":"{{"}}]}}"#);
            for piece in [1, 5, 64, 100, 500] {
                let reported = found(&text, piece, 1 << 20).into_iter();
                let offsets: Vec<_> = reported.map(|(_, after_first)| after_first).collect();
                assert_eq!(offsets, [first.len(), 0], "in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_splitter_that_has_finished_is_as_new() {
        let mut splitter = RecordSplitter::with_limit(8);
        for broken in [
            r#"{"Records":[{"a":"\"#,
            r#"{"a":"0123456789"#,
            "?",
            "[{}",
            "]",
        ] {
            splitter.feed(broken.as_bytes(), &mut |_| {});
            splitter.finish(&mut |_| {});
            let mut found = Vec::new();
            splitter.feed(br#"{"b":1}"#, &mut |piece| found.push(format!("{piece:?}")));
            splitter.finish(&mut |piece| found.push(format!("{piece:?}")));
            assert_eq!(found.len(), 1, "{broken}: {found:?}");
            assert!(found[0].starts_with("Unit"), "{broken}: {found:?}");
        }
    }

    proptest! {
        #[test]
        fn the_division_into_pieces_does_not_matter(
            values in vec("[a-z\"\\\\{}\\[\\],:é]{0,300}", 0..8),
            piece in 1_usize..4_000,
        ) {
            let units: Vec<String> = values
                .iter()
                .map(|v| serde_json::json!({"k": v, "n": [{"x": v}]}).to_string())
                .collect();
            let text = format!("{{\"Records\":[{}]}}", units.join(","));
            let empty = vec![text.clone()];
            let expected = if units.is_empty() { empty } else { units };
            prop_assert_eq!(split(&text, piece, 1 << 20), expected);
        }

        // Single bytes never take the paths that skip whole blocks.
        #[test]
        fn nonsense_is_split_in_the_same_way_whatever_the_pieces(
            words in vec(select(WORDS.to_vec()), 0..200),
            piece in 2_usize..600,
        ) {
            let text = words.concat();
            prop_assert_eq!(found(&text, piece, 200), found(&text, 1, 200));
        }
    }

    const WORDS: [&str; 14] = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        "\\",
        ",",
        ":",
        "\"Records\":[",
        "{\"a\":",
        "\"b\"}",
        "]}",
        "{}",
        "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz",
    ];
}
