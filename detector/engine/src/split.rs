//! Bytes of a log object, in pieces of any size, to the JSON objects that may be records.
//!
//! Takes `{"Records":[…]}`, `{"Events":[…]}`, bare arrays, and objects one after the other (JSON
//! lines, pretty-printed or not). It follows strings, escapes and depth exactly, so that text
//! inside a record can never pass for a record, and looks at 64 bytes at a time. It does not parse:
//! a unit is an object by its braces only. A broken unit does not cost the ones after it wherever a
//! line break lets the splitter find its feet again.
//!
//! `simd` finds the characters that matter, `blocks` leaves out those in strings and passes over
//! what lies deep inside a unit, `units` acts on the rest.

mod blocks;
mod simd;
mod units;

use crate::limits::MAX_RECORD_BYTES;

/// What the splitter found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitPiece<'a> {
    /// A whole JSON object, from its opening to its closing brace.
    Unit {
        /// Its bytes.
        bytes: &'a [u8],
        /// Offset of the first byte after the first object or array in it: what stands there is
        /// its own, not nested. 0 when there is none.
        after_first: usize,
    },
    /// Something that is not one; it was passed over.
    Bad(MalformedUnit),
}

/// Why a stretch of bytes is not a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MalformedUnit {
    /// Text between records that is not a JSON object.
    NotAnObject,
    /// The object is longer than [`MAX_RECORD_BYTES`].
    TooLarge,
    /// The object ends before its closing brace.
    Truncated,
}

/// Where in an object's envelope the splitter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EnvelopePlace {
    /// Between units: white space and commas are expected.
    Between,
    /// Inside a unit.
    Unit,
    /// Inside `{"Records": …}` but outside its array.
    Envelope,
}

/// Splits one object. Feed it every piece in order, then call [`Splitter::finish`].
#[derive(Debug)]
pub struct RecordSplitter {
    place: EnvelopePlace,
    depth: usize,
    /// Depth at which a unit's opening brace stands: 0 at the top, 1 in a bare array, 2 in the
    /// array of an envelope.
    base: usize,
    in_string: bool,
    escape_next: bool,
    /// Bytes of the current unit that came with earlier pieces.
    carry: Vec<u8>,
    /// Offset in the current unit of the first byte after the first object or array in it; 0 before
    /// it has been seen.
    after_first: usize,
    /// The current unit is too long and its bytes are no longer kept.
    oversize: bool,
    /// Something other than white space and commas was seen since the last unit.
    dirty: bool,
    /// The last bytes of the earlier pieces, to recognise an envelope key across a cut.
    tail: Vec<u8>,
    max_record: usize,
}

impl Default for RecordSplitter {
    fn default() -> Self {
        Self::with_limit(MAX_RECORD_BYTES)
    }
}

/// Bytes before an array that are looked at for the key that names it: the longest key, and room
/// for the white space of a pretty-printer.
const TAIL: usize = 64;

impl RecordSplitter {
    /// A splitter that refuses units longer than `max_record` bytes.
    #[must_use]
    pub fn with_limit(max_record: usize) -> Self {
        Self {
            place: EnvelopePlace::Between,
            depth: 0,
            base: 0,
            in_string: false,
            escape_next: false,
            carry: Vec::new(),
            after_first: 0,
            oversize: false,
            dirty: false,
            tail: Vec::new(),
            max_record,
        }
    }

    /// Takes the next bytes and gives each unit that ends in them to `sink`.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut dyn FnMut(SplitPiece<'_>)) {
        let mut walk = SplitWalk {
            bytes,
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
        // These bytes are gone when the next ones come: what may still be needed of them is kept.
        match self.place {
            EnvelopePlace::Unit => self.keep(bytes.get(walk.unit_start..).unwrap_or_default()),
            EnvelopePlace::Between => self.look_at_gap(walk.gap_before(bytes.len())),
            EnvelopePlace::Envelope => {}
        }
        self.keep_tail(bytes);
    }

    /// Says that there are no more bytes. The splitter is as new afterwards.
    pub fn finish(&mut self, sink: &mut dyn FnMut(SplitPiece<'_>)) {
        // One fault is told, not each of its consequences: the text after a brace that is missing
        // has been taken for the inside of the unit.
        if self.oversize {
            sink(SplitPiece::Bad(MalformedUnit::TooLarge));
        } else if self.place == EnvelopePlace::Unit || self.depth > 0 {
            sink(SplitPiece::Bad(MalformedUnit::Truncated));
        } else if self.dirty {
            sink(SplitPiece::Bad(MalformedUnit::NotAnObject));
        }
        *self = Self::with_limit(self.max_record);
    }

    /// Keeps the end of what has been read, for the key of an array that begins in the next piece.
    fn keep_tail(&mut self, bytes: &[u8]) {
        let end = bytes.get(bytes.len().saturating_sub(TAIL)..);
        self.tail.extend_from_slice(end.unwrap_or_default());
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
    }
}

/// The bytes at hand, the offsets in them, and who gets the units.
struct SplitWalk<'a> {
    bytes: &'a [u8],
    sink: &'a mut dyn FnMut(SplitPiece<'_>),
    /// Where the current unit begins in these bytes; 0 when it began in an earlier piece.
    unit_start: usize,
    /// The first byte after the last unit or bracket of an envelope.
    gap_start: usize,
    /// The first byte of the block that is looked at.
    block: usize,
}

impl<'a> SplitWalk<'a> {
    /// What stands between the last unit and the byte at `at`.
    fn gap_before(&self, at: usize) -> &'a [u8] {
        self.bytes.get(self.gap_start..at).unwrap_or_default()
    }

    fn bad(&mut self, why: MalformedUnit) {
        (self.sink)(SplitPiece::Bad(why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    /// What is found in a text that comes in pieces: units with the offset behind their first
    /// object, and faults by their name.
    fn found(text: &str, piece: usize, limit: usize) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        let mut splitter = RecordSplitter::with_limit(limit);
        let mut sink = |p: SplitPiece<'_>| match p {
            SplitPiece::Unit { bytes, after_first } => {
                found.push((String::from_utf8_lossy(bytes).into_owned(), after_first));
            }
            SplitPiece::Bad(b) => found.push((format!("{b:?}"), 0)),
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
        check(r#"{"Records":[]}"#, &[]);
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
            &["NotAnObject", r#"{"a":1}"#, "NotAnObject", "{}"],
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
    fn a_cut_line_does_not_cost_the_next_one() {
        let expected = ["Truncated", r#"{"b":2}"#];
        for text in [
            "{\"a\":\"cut in a str\n{\"b\":2}\n",
            "{\"a\":{\"x\":1\n{\"b\":2}\n",
        ] {
            assert_eq!(split(text, 1 << 20, 1 << 20), expected, "{text}");
        }
    }

    #[test]
    fn a_string_ends_with_its_line_and_no_later() {
        // Behind the break, the quote opens a string again, and the brace in it is text.
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
    fn brackets_too_many_cost_one_fault_and_no_record() {
        check(
            "]}}\n{\"a\":1}\n}\n{\"b\":2}",
            &["NotAnObject", r#"{"a":1}"#, "NotAnObject", r#"{"b":2}"#],
        );
        check(r#"{"Records":[{"a":1}]}}"#, &[r#"{"a":1}"#, "NotAnObject"]);
    }

    #[test]
    fn a_unit_of_just_the_limit_is_taken_however_it_is_cut() {
        for piece in [1, 3, 7, 8, 100] {
            assert_eq!(
                split(r#"[{"a":12},{"a":123},{}]"#, piece, 8),
                [r#"{"a":12}"#, "TooLarge", "{}"],
                "in pieces of {piece}"
            );
        }
    }

    #[test]
    fn an_oversize_line_that_is_cut_does_not_cost_the_next_one() {
        let text = "{\"a\":\"0123456789\n{\"b\":2}\n";
        assert_eq!(split(text, 16, 8), ["TooLarge", r#"{"b":2}"#]);
    }

    #[test]
    fn what_stands_after_the_first_object_is_told_by_its_place() {
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
        fn the_cut_into_pieces_does_not_matter(
            values in vec("[a-z\"\\\\{}\\[\\],:é]{0,300}", 0..8),
            piece in 1_usize..4_000,
        ) {
            let units: Vec<String> = values
                .iter()
                .map(|v| serde_json::json!({"k": v, "n": [{"x": v}]}).to_string())
                .collect();
            let text = format!("{{\"Records\":[{}]}}", units.join(","));
            prop_assert_eq!(split(&text, piece, 1 << 20), units);
        }

        // Single bytes take none of the ways that pass over whole blocks.
        #[test]
        fn nonsense_is_split_in_the_same_way_however_it_is_cut(
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
