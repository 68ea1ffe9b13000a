//! Bytes of a log object, in pieces of any size, to the JSON objects that may be records.
//!
//! Takes `{"Records":[…]}`, `{"Events":[…]}`, bare arrays, and objects one after the other (JSON lines, pretty-printed
//! or not). It follows strings, escapes and depth exactly, so that text inside a record can never pass for a record, and
//! looks at 64 bytes at a time. It does not parse: a unit is an object by its braces only. A broken unit does not cost
//! the ones after it wherever a line break lets the splitter find its feet again.

mod simd;

use crate::limits::MAX_RECORD_BYTES;
#[cfg(target_arch = "x86_64")]
use simd::Registers;
use simd::{Masks, Rare, prefix_xor};

/// What the splitter found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A whole JSON object, from its opening to its closing brace.
    Unit {
        /// Its bytes.
        bytes: &'a [u8],
        /// Offset of the first byte after the first object or array in it: what stands there is its own, not nested. 0 when
        /// there is none.
        after_first: usize,
    },
    /// Something that is not one; it was passed over.
    Bad(BadPiece),
}

/// Why a stretch of bytes is not a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BadPiece {
    /// Text between records that is not a JSON object.
    NotAnObject,
    /// The object is longer than [`MAX_RECORD_BYTES`].
    TooLarge,
    /// The object ends before its closing brace.
    Truncated,
}

/// Where in an object's envelope the splitter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Between units: white space and commas are expected.
    Between,
    /// Inside a unit.
    Unit,
    /// Inside `{"Records": …}` but outside its array.
    Envelope,
}

/// Splits one object. Feed it every piece in order, then call [`Splitter::finish`].
#[derive(Debug)]
pub struct Splitter {
    place: Place,
    depth: usize,
    /// Depth at which a unit's opening brace stands.
    base: usize,
    in_string: bool,
    escape_next: bool,
    /// Bytes of the current unit that came with earlier pieces.
    carry: Vec<u8>,
    /// Offset in the current unit of the first byte after the first object or array in it; 0 before it has been seen.
    after_first: usize,
    /// The current unit is too long and its bytes are no longer kept.
    oversize: bool,
    /// Something other than white space and commas was seen since the last unit.
    dirty: bool,
    /// The last bytes of the earlier pieces, to recognise an envelope key across a cut.
    tail: Vec<u8>,
    max_record: usize,
}

impl Default for Splitter {
    fn default() -> Self {
        Self::with_limit(MAX_RECORD_BYTES)
    }
}

const TAIL: usize = 64;

/// Blocks that are looked at together.
const GROUP: usize = 4;

/// Brackets and braces of a block outside strings, one bit a byte.
#[derive(Debug, Clone, Copy, Default)]
struct Brackets {
    opens: u64,
    closes: u64,
}

impl Splitter {
    /// A splitter that refuses units longer than `max_record` bytes.
    #[must_use]
    pub fn with_limit(max_record: usize) -> Self {
        Self {
            place: Place::Between,
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
    pub fn feed(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Piece<'_>)) {
        let mut walk = Walk {
            bytes,
            unit_start: 0,
            gap_start: 0,
            block: 0,
        };
        let (blocks, rest) = bytes.as_chunks::<64>();
        self.whole_blocks(blocks, &mut walk, sink);
        if !rest.is_empty() {
            let mut last = [b' '; 64];
            if let Some(space) = last.get_mut(..rest.len()) {
                space.copy_from_slice(rest);
            }
            let escape_next = self.escape_next;
            self.block(&Masks::of(&last), prefix_xor, &last, &mut walk, sink);
            // The padding must not swallow an escape that belongs to the next piece.
            self.escape_next = ends_in_escape(rest, escape_next);
        }
        match self.place {
            Place::Unit => self.keep(bytes.get(walk.unit_start..).unwrap_or_default()),
            Place::Between => self.look_at_gap(bytes.get(walk.gap_start..).unwrap_or_default()),
            Place::Envelope => {}
        }
        self.tail.extend_from_slice(
            bytes
                .get(bytes.len().saturating_sub(TAIL)..)
                .unwrap_or_default(),
        );
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
    }

    /// Says that there are no more bytes. The splitter is as new afterwards.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Piece<'_>)) {
        if self.oversize {
            sink(Piece::Bad(BadPiece::TooLarge));
        } else if self.place == Place::Unit || self.depth > 0 {
            sink(Piece::Bad(BadPiece::Truncated));
        } else if self.dirty {
            sink(Piece::Bad(BadPiece::NotAnObject));
        }
        *self = Self::with_limit(self.max_record);
    }

    /// Every block of 64 bytes, with the widest registers that this processor has.
    #[cfg_attr(
        target_arch = "x86_64",
        expect(unsafe_code, reason = "measured: see the commit")
    )]
    fn whole_blocks(
        &mut self,
        blocks: &[[u8; 64]],
        walk: &mut Walk<'_>,
        sink: &mut dyn FnMut(Piece<'_>),
    ) {
        #[cfg(target_arch = "x86_64")]
        match Registers::of_this_processor() {
            // SAFETY: the processor has just said that it has the features that the function needs.
            Registers::Bits512 => return unsafe { self.blocks_512(blocks, walk, sink) },
            // SAFETY: as above.
            Registers::Bits256 => return unsafe { self.blocks_256(blocks, walk, sink) },
            Registers::Bits128 => {}
        }
        self.blocks(blocks, walk, sink, (Masks::of, prefix_xor));
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,pclmulqdq,popcnt,bmi1")]
    fn blocks_512(
        &mut self,
        blocks: &[[u8; 64]],
        walk: &mut Walk<'_>,
        sink: &mut dyn FnMut(Piece<'_>),
    ) {
        self.blocks(
            blocks,
            walk,
            sink,
            (
                |block| simd::masks_512(block),
                |bits| simd::prefix_xor_clmul(bits),
            ),
        );
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,popcnt")]
    fn blocks_256(
        &mut self,
        blocks: &[[u8; 64]],
        walk: &mut Walk<'_>,
        sink: &mut dyn FnMut(Piece<'_>),
    ) {
        self.blocks(
            blocks,
            walk,
            sink,
            (|block| simd::masks_256(block), prefix_xor),
        );
    }

    #[inline(always)]
    fn blocks(
        &mut self,
        blocks: &[[u8; 64]],
        walk: &mut Walk<'_>,
        sink: &mut dyn FnMut(Piece<'_>),
        (masks, prefix): (impl Fn(&[u8; 64]) -> Masks, impl Fn(u64) -> u64),
    ) {
        let (groups, rest) = blocks.as_chunks::<GROUP>();
        for group in groups {
            self.group(group, walk, sink, (&masks, &prefix));
        }
        for block in rest {
            self.block(&masks(block), &prefix, block, walk, sink);
            walk.block += 64;
        }
    }

    /// Several blocks without a branch between them: in most, nothing happens but a change of depth, and a processor that
    /// need not guess at every block goes through them twice as fast.
    #[inline(always)]
    fn group(
        &mut self,
        group: &[[u8; 64]; GROUP],
        walk: &mut Walk<'_>,
        sink: &mut dyn FnMut(Piece<'_>),
        (masks, prefix): (impl Fn(&[u8; 64]) -> Masks, impl Fn(u64) -> u64),
    ) {
        let mut brackets = [Brackets::default(); GROUP];
        let mut carried = if self.in_string { u64::MAX } else { 0 };
        let mut rare = self.escape_next;
        // Below zero where brackets do not match; then no block is passed over.
        let (mut depth, mut lowest) = (self.depth.cast_signed(), isize::MAX);
        for (block, brackets) in group.iter().zip(&mut brackets) {
            let masks = masks(block);
            rare |= masks.rare;
            let strings = prefix(masks.quote) ^ carried;
            carried = if strings >> 63 == 1 { u64::MAX } else { 0 };
            *brackets = Brackets {
                opens: masks.open & !strings,
                closes: masks.close & !strings,
            };
            depth -= brackets.closes.count_ones() as isize;
            lowest = lowest.min(depth);
            depth += brackets.opens.count_ones() as isize;
        }
        if rare {
            for block in group {
                self.block(&masks(block), &prefix, block, walk, sink);
                walk.block += 64;
            }
            return;
        }
        self.in_string = carried != 0;
        if self.place == Place::Unit && lowest >= self.deep().cast_signed() {
            self.depth = depth.cast_unsigned();
            walk.block += 64 * GROUP;
            return;
        }
        for brackets in brackets {
            self.brackets(brackets, walk, sink);
            walk.block += 64;
        }
    }

    #[inline(always)]
    fn block(
        &mut self,
        masks: &Masks,
        prefix: impl Fn(u64) -> u64,
        block: &[u8; 64],
        walk: &mut Walk<'_>,
        sink: &mut dyn FnMut(Piece<'_>),
    ) {
        if masks.rare || self.escape_next {
            return self.rare_block(masks, &Rare::of(block), walk, sink);
        }
        let strings = prefix(masks.quote) ^ if self.in_string { u64::MAX } else { 0 };
        self.in_string = strings >> 63 == 1;
        self.brackets(
            Brackets {
                opens: masks.open & !strings,
                closes: masks.close & !strings,
            },
            walk,
            sink,
        );
    }

    /// The brackets of a block, one by one where something may happen.
    #[inline(always)]
    fn brackets(
        &mut self,
        brackets: Brackets,
        walk: &mut Walk<'_>,
        sink: &mut dyn FnMut(Piece<'_>),
    ) {
        let Brackets { opens, closes } = brackets;
        if self.is_deep(closes) {
            self.depth = (self.depth + opens.count_ones() as usize)
                .saturating_sub(closes.count_ones() as usize);
            return;
        }
        let mut bits = opens | closes;
        while bits != 0 {
            let bit = bits & bits.wrapping_neg();
            bits ^= bit;
            // Nothing but the depth changes deep inside a unit.
            if self.place == Place::Unit && self.depth > self.deep() {
                if opens & bit != 0 {
                    self.depth += 1
                } else {
                    self.depth -= 1
                }
            } else {
                self.event(walk.block + bit.trailing_zeros() as usize, walk, sink);
            }
        }
    }

    /// A block with backslashes or line breaks.
    #[inline(never)]
    fn rare_block(
        &mut self,
        masks: &Masks,
        rare: &Rare,
        walk: &mut Walk<'_>,
        sink: &mut dyn FnMut(Piece<'_>),
    ) {
        let escaped = self.escaped(rare.backslash);
        let strings =
            prefix_xor(masks.quote & !escaped) ^ if self.in_string { u64::MAX } else { 0 };
        if rare.newline & strings != 0 {
            return self.broken_string(masks, rare, escaped, walk, sink);
        }
        self.in_string = strings >> 63 == 1;
        let (opens, closes) = (masks.open & !strings, masks.close & !strings);
        if rare.newline == 0 && self.is_deep(closes) {
            self.depth = (self.depth + opens.count_ones() as usize)
                .saturating_sub(closes.count_ones() as usize);
        } else {
            self.events(opens | closes | rare.newline, walk, sink);
        }
    }

    /// Whether nothing can happen in a block but a change of depth.
    #[inline(always)]
    fn is_deep(&self, closes: u64) -> bool {
        self.place == Place::Unit && self.depth >= self.deep() + closes.count_ones() as usize
    }

    /// The depth down to which a closing bracket in a unit is of no importance: no unit ends, its first object does not end,
    /// and no array of records begins, as it may at depth 1 of a top-level object.
    #[inline(always)]
    fn deep(&self) -> usize {
        self.base
            + if self.base == 0 || self.after_first == 0 {
                2
            } else {
                1
            }
    }

    fn events(&mut self, mut bits: u64, walk: &mut Walk<'_>, sink: &mut dyn FnMut(Piece<'_>)) {
        while bits != 0 {
            let at = walk.block + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            self.event(at, walk, sink);
        }
    }

    /// A block with a raw line break inside a string, which JSON forbids: the string ends at the line break.
    fn broken_string(
        &mut self,
        masks: &Masks,
        rare: &Rare,
        escaped: u64,
        walk: &mut Walk<'_>,
        sink: &mut dyn FnMut(Piece<'_>),
    ) {
        for bit in 0..64 {
            let here = 1_u64 << bit;
            if masks.quote & !escaped & here != 0 {
                self.in_string = !self.in_string;
            } else if rare.newline & here != 0 {
                self.in_string = false;
                self.event(walk.block + bit, walk, sink);
            } else if (masks.open | masks.close) & here != 0 && !self.in_string {
                self.event(walk.block + bit, walk, sink);
            }
        }
    }

    /// Which bytes of the block are preceded by an odd run of backslashes.
    fn escaped(&mut self, backslash: u64) -> u64 {
        let mut escaped = u64::from(self.escape_next);
        self.escape_next = false;
        let mut bits = backslash;
        while bits != 0 {
            let at = bits.trailing_zeros();
            bits &= bits - 1;
            if escaped >> at & 1 == 0 {
                if at == 63 {
                    self.escape_next = true;
                } else {
                    escaped |= 1 << (at + 1);
                }
            }
        }
        escaped
    }

    fn event(&mut self, at: usize, walk: &mut Walk<'_>, sink: &mut dyn FnMut(Piece<'_>)) {
        match walk.bytes.get(at) {
            Some(b'{') => {
                if self.place == Place::Between && self.depth == self.base {
                    self.open_unit(at, walk, sink);
                }
                self.depth += 1;
            }
            Some(b'[') => {
                if self.place == Place::Between && self.depth == 0 {
                    self.look_at_gap(walk.bytes.get(walk.gap_start..at).unwrap_or_default());
                    self.base = 1;
                    walk.gap_start = at + 1;
                } else if self.depth == 1
                    && self.base == 0
                    && self.place != Place::Between
                    && self.names_records(at, walk)
                {
                    self.place = Place::Between;
                    self.base = 2;
                    self.carry.clear();
                    self.oversize = false;
                    walk.gap_start = at + 1;
                }
                self.depth += 1;
            }
            Some(b'}' | b']') => self.close(at, walk, sink),
            Some(b'\n') => self.line_break(at, walk, sink),
            _ => {}
        }
    }

    fn open_unit(&mut self, at: usize, walk: &mut Walk<'_>, sink: &mut dyn FnMut(Piece<'_>)) {
        self.look_at_gap(walk.bytes.get(walk.gap_start..at).unwrap_or_default());
        if std::mem::take(&mut self.dirty) {
            sink(Piece::Bad(BadPiece::NotAnObject));
        }
        self.place = Place::Unit;
        self.carry.clear();
        self.after_first = 0;
        self.oversize = false;
        walk.unit_start = at;
    }

    fn close(&mut self, at: usize, walk: &mut Walk<'_>, sink: &mut dyn FnMut(Piece<'_>)) {
        if self.depth == 0 {
            self.dirty = true;
            return;
        }
        self.depth -= 1;
        match self.place {
            Place::Unit if self.depth == self.base => {
                let here = walk.bytes.get(walk.unit_start..=at).unwrap_or_default();
                let after_first = self.after_first;
                if self.carry.is_empty() && !self.oversize && here.len() <= self.max_record {
                    sink(Piece::Unit {
                        bytes: here,
                        after_first,
                    });
                } else {
                    self.keep(here);
                    let whole = Piece::Unit {
                        bytes: &self.carry,
                        after_first,
                    };
                    sink(if self.oversize {
                        Piece::Bad(BadPiece::TooLarge)
                    } else {
                        whole
                    });
                }
                self.carry.clear();
                self.oversize = false;
                self.place = Place::Between;
                walk.gap_start = at + 1;
            }
            Place::Unit if self.depth == self.base + 1 && self.after_first == 0 => {
                self.after_first = self.carry.len() + at + 1 - walk.unit_start;
            }
            Place::Between if self.depth < self.base => {
                self.look_at_gap(walk.bytes.get(walk.gap_start..at).unwrap_or_default());
                if std::mem::take(&mut self.dirty) {
                    sink(Piece::Bad(BadPiece::NotAnObject));
                }
                // The end of an array of records: back in the envelope, or at the top after a bare array.
                self.place = if self.base == 2 {
                    Place::Envelope
                } else {
                    Place::Between
                };
                self.base = 0;
                walk.gap_start = at + 1;
            }
            Place::Envelope if self.depth == 0 => {
                self.place = Place::Between;
                walk.gap_start = at + 1;
            }
            _ => {}
        }
    }

    /// A line that begins with `{"` while a unit is open: the unit before it was cut off, and this is the next one.
    fn line_break(&mut self, at: usize, walk: &mut Walk<'_>, sink: &mut dyn FnMut(Piece<'_>)) {
        if self.place == Place::Unit
            && self.depth > self.base
            && walk.bytes.get(at + 1..at + 3) == Some(b"{\"")
        {
            sink(Piece::Bad(if self.oversize {
                BadPiece::TooLarge
            } else {
                BadPiece::Truncated
            }));
            self.depth = self.base;
            self.place = Place::Between;
            self.carry.clear();
            self.oversize = false;
            walk.gap_start = at + 1;
        }
    }

    /// Whether the bracket at `at` opens the value of a key that holds records.
    fn names_records(&self, at: usize, walk: &Walk<'_>) -> bool {
        let mut before = self.tail.clone();
        before.extend_from_slice(
            walk.bytes
                .get(at.saturating_sub(TAIL)..at)
                .unwrap_or_default(),
        );
        let text = before.trim_ascii_end();
        let Some(text) = text.strip_suffix(b":") else {
            return false;
        };
        let text = text.trim_ascii_end();
        text.ends_with(b"\"Records\"") || text.ends_with(b"\"Events\"")
    }

    fn look_at_gap(&mut self, gap: &[u8]) {
        self.dirty |= gap.iter().any(|b| !b.is_ascii_whitespace() && *b != b',');
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.oversize || self.carry.len() + bytes.len() > self.max_record {
            self.oversize = true;
            self.carry = Vec::new();
        } else {
            self.carry.extend_from_slice(bytes);
        }
    }
}

/// The bytes at hand and the offsets in them.
struct Walk<'a> {
    bytes: &'a [u8],
    unit_start: usize,
    gap_start: usize,
    block: usize,
}

fn ends_in_escape(bytes: &[u8], escape_before: bool) -> bool {
    let run = bytes.iter().rev().take_while(|b| **b == b'\\').count();
    if run == bytes.len() && escape_before {
        run % 2 == 0
    } else {
        run % 2 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(text: &str, piece: usize, limit: usize) -> Vec<String> {
        let mut found = Vec::new();
        let mut splitter = Splitter::with_limit(limit);
        let mut sink = |p: Piece<'_>| match p {
            Piece::Unit { bytes, after_first } => {
                let rest = &bytes[after_first..];
                assert!(
                    after_first == 0 || [b',', b'}', b' ', b'\n'].contains(&rest[0]),
                    "{:?}",
                    String::from_utf8_lossy(bytes)
                );
                found.push(String::from_utf8_lossy(bytes).into_owned());
            }
            Piece::Bad(b) => found.push(format!("{b:?}")),
        };
        for chunk in text.as_bytes().chunks(piece.max(1)) {
            splitter.feed(chunk, &mut sink);
        }
        splitter.finish(&mut sink);
        found
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
        let nested = r#"{"requestParameters":{"items":[{"x":1},{"eventVersion":"1"},{"eventVersion":"2"}]}}"#;
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

    proptest! {
        #[test]
        fn the_cut_into_pieces_does_not_matter(values in proptest::collection::vec("[a-z\"\\\\{}\\[\\],:é]{0,300}", 0..8), piece in 1_usize..4_000) {
            let units: Vec<String> = values.iter().map(|v| serde_json::json!({"k": v, "n": [{"x": v}]}).to_string()).collect();
            let text = format!("{{\"Records\":[{}]}}", units.join(","));
            prop_assert_eq!(split(&text, piece, 1 << 20), units);
        }
    }
}
