//! Handles line breaks: where a document is damaged, the next line that begins a document starts
//! the splitter again.
//!
//! CloudTrail writes no line breaks at all, and a pretty-printer puts an object with more than one
//! line behind its brace. A line that begins with an object, behind white space or behind what a
//! collector of logs writes before it, therefore begins a document, unless a value may stand there:
//! then it is a document only if nothing else explains what follows it.

use memchr::memmem;

use super::{EnvelopePlace, MalformedUnit, RecordSplitter, SplitPiece, SplitWalk};

/// How documents of CloudTrail begin. Nothing else begins a line so.
const RECORDS: &[u8] = b"{\"Records\":";

/// How far a line is looked at: room for indentation, or for the time, host and name before a
/// message.
const LINE_START: usize = 160;

/// How a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineBegin {
    /// With an object or array that is not indented.
    Document,
    /// With an object behind white space.
    Indented,
    /// With an object behind text that is not JSON.
    Prefixed,
    /// With anything else.
    Other,
}

/// The first line break whose line is not known far enough; the end of the bytes if there is none.
pub(crate) fn known_up_to(bytes: &[u8]) -> usize {
    let end = bytes.len().saturating_sub(LINE_START);
    let last = bytes.get(end..).unwrap_or_default();
    memchr::memchr(b'\n', last).map_or(bytes.len(), |at| end + at)
}

impl RecordSplitter {
    /// Handles a line break: starts again if a document begins after it although another is open.
    pub(super) fn line_break(&mut self, at: usize, walk: &mut SplitWalk<'_>) {
        let is_open = match self.place {
            EnvelopePlace::Between => false,
            EnvelopePlace::Envelope => true,
            EnvelopePlace::Unit => self.depth > self.base,
        };
        if !is_open {
            return;
        }
        let line = walk.bytes.get(at + 1..).unwrap_or_default();
        let begin = LineBegin::of(line);
        if begin == LineBegin::Other {
            return;
        }
        let is_list = line.trim_ascii_start().starts_with(RECORDS);
        // None of them is an element of the list that is open.
        let is_log = is_list || line.starts_with(b"[") || begin == LineBegin::Prefixed;
        // What follows the list of an envelope is not kept, so that nothing could be split later.
        let is_certain = is_list
            || self.string_is_cut
            || begin == LineBegin::Prefixed
            || (self.place == EnvelopePlace::Envelope && begin == LineBegin::Document);
        if is_certain || !self.may_precede_a_value(at, walk) {
            self.start_again(at, is_log, walk);
        } else if self.place == EnvelopePlace::Unit {
            self.candidate = Some(self.carry.len() + at + 1 - walk.unit_start);
        }
    }

    /// Whether a string of a unit goes on behind a raw line break in it. Where the next line begins
    /// as a line of JSON does, or with a document of its own, the string was cut at the end of its
    /// own.
    pub(super) fn string_goes_on(&self, at: usize, walk: &SplitWalk<'_>) -> bool {
        let line = walk.bytes.get(at + 1..).unwrap_or_default();
        let known = line.get(..RECORDS.len()).unwrap_or(line);
        let first = known.iter().find(|byte| !byte.is_ascii_whitespace());
        self.place == EnvelopePlace::Unit
            && first.is_some_and(|byte| !b"\"{}[],".contains(byte))
            && LineBegin::of(line) != LineBegin::Prefixed
    }

    /// Whether the last byte before a line break lets a value follow. White space before it may be
    /// long only in damaged or strange text.
    fn may_precede_a_value(&self, at: usize, walk: &SplitWalk<'_>) -> bool {
        let before = self.bytes_before(at, walk);
        let last = before.trim_ascii_end().last();
        last.is_none_or(|last| b",[:".contains(last))
    }

    /// Gives up the open document; the next one begins after the line break at `at`.
    fn start_again(&mut self, at: usize, is_log: bool, walk: &mut SplitWalk<'_>) {
        let is_envelope = self.place == EnvelopePlace::Envelope;
        if is_envelope {
            walk.bad(MalformedUnit::Truncated, &[]);
        } else {
            let here = walk.bytes.get(walk.unit_start..=at).unwrap_or_default();
            self.abandon_unit(here, walk.sink);
        }
        // An element of a list may be damaged alone.
        if is_log || is_envelope {
            self.base = 0;
            self.nested = 0;
            (self.in_records, self.in_rows) = (false, false);
        }
        self.depth = self.base;
        self.place = EnvelopePlace::Between;
        self.before_list.clear();
        self.drop_unit();
        walk.gap_start = at + 1;
    }

    /// Reports the open unit as truncated or too large; `here` are its last bytes. A document that
    /// seems to have begun in it is split on its own.
    pub(super) fn abandon_unit(&mut self, here: &[u8], sink: &mut dyn FnMut(SplitPiece<'_>)) {
        self.keep(here);
        let why = if self.oversize {
            MalformedUnit::TooLarge
        } else {
            MalformedUnit::Truncated
        };
        // Of a unit that is too large only the beginning was kept, and the document may not be in
        // it.
        let candidate = self.candidate.take().filter(|_| !self.oversize);
        let (bytes, document) = match candidate {
            Some(at) => self
                .carry
                .split_at_checked(at)
                .unwrap_or((&self.carry, &[])),
            None => (self.carry.as_slice(), &[][..]),
        };
        // A download that broke off has nothing behind it, and is no evasion. One that ends as a
        // whole document does, in what is taken for a string, has a quote too many.
        let is_open = self.in_string || self.ends_in_string;
        let is_whole = is_open && bytes.trim_ascii_end().ends_with(b"}");
        let is_cut_off =
            why == MalformedUnit::Truncated && here.is_empty() && document.is_empty() && !is_whole;
        let bytes = if is_cut_off { &[][..] } else { bytes };
        sink(SplitPiece::Bad { why, bytes });
        if !document.is_empty() {
            let mut splitter = Self::with_limit(self.max_record);
            splitter.feed(document, sink);
            splitter.finish(sink);
        }
    }
}

impl LineBegin {
    fn of(line: &[u8]) -> Self {
        match line {
            [b'{', next, ..] if b"\"\n\r".contains(next) => return Self::Document,
            [b'[', next, ..] if b"{\"\n\r".contains(next) => return Self::Document,
            _ => {}
        }
        let line = known_part(line);
        let Some((before, _)) = memmem::find(line, b"{\"").and_then(|at| line.split_at_checked(at))
        else {
            return Self::Other;
        };
        let before = before.trim_ascii();
        let is_text = match before {
            [] => return Self::Indented,
            // What a list begins with, if it does not end before the object.
            [b'[', rest @ ..] => rest.contains(&b']'),
            [b'{' | b'}' | b']' | b',', ..] => false,
            _ => true,
        };
        // Numbers and the like may stand before an object in a list.
        let is_scalars = before.last().is_some_and(|last| b",[".contains(last))
            && before
                .iter()
                .all(|byte| b"0123456789.+-eE,[] \ttrufalsn".contains(byte));
        if is_text && !is_scalars && !before.contains(&b'"') {
            Self::Prefixed
        } else {
            Self::Other
        }
    }
}

/// The part of a line that is looked at.
fn known_part(line: &[u8]) -> &[u8] {
    let known = line.get(..LINE_START).unwrap_or(line);
    memchr::memchr(b'\n', known).map_or(known, |end| known.get(..end).unwrap_or(known))
}
