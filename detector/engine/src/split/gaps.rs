//! Handles what is between units: white space and commas, texts that may hold records, and stray
//! text.

use memchr::memchr3;

use super::{MalformedUnit, RecordSplitter, SplitPiece, SplitWalk};
use crate::envelope::copies::names_a_record;

impl RecordSplitter {
    /// Ends the gap between units. Stray text in it is reported once, however much there is.
    #[inline]
    pub(super) fn end_gap(&mut self, at: usize, walk: &mut SplitWalk<'_>) {
        let gap = walk.gap_before(at);
        // As between nearly all records.
        if gap == b"," && self.stray.is_empty() && !self.dirty {
            return;
        }
        self.end_other_gap(gap, walk);
    }

    fn end_other_gap(&mut self, gap: &[u8], walk: &mut SplitWalk<'_>) {
        self.look_at_gap(gap, walk);
        let is_cut = !std::mem::take(&mut self.stray).is_empty();
        if std::mem::take(&mut self.dirty) || is_cut {
            walk.bad(MalformedUnit::NotAnObject, &[]);
        }
    }

    /// Passes on the strings in a gap, and notes whether there is other stray text.
    pub(super) fn look_at_gap(&mut self, gap: &[u8], walk: &mut SplitWalk<'_>) {
        if self.stray.is_empty() && gap.iter().all(|b| is_between(*b)) {
            return;
        }
        self.list_is_empty = false;
        let mut stray = std::mem::take(&mut self.stray);
        stray.extend_from_slice(gap);
        let mut rest = stray.as_slice();
        loop {
            let start = rest.iter().position(|b| !is_between(*b));
            rest = start
                .and_then(|start| rest.get(start..))
                .unwrap_or_default();
            match rest.first() {
                None => return,
                Some(b'"') => match string_length(rest) {
                    Some(StringLength::Whole(length)) => {
                        let (text, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                        self.pass_text(text, walk);
                        rest = after;
                    }
                    Some(StringLength::Cut(length)) => {
                        let (text, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                        self.pass_cut_text(text, walk);
                        rest = after;
                    }
                    None => return self.keep_stray(rest),
                },
                // The splitter takes a quote after a backslash for text, in strings and outside.
                Some(b'\\') if rest.len() == 1 => return self.keep_stray(rest),
                Some(b'\\') => {
                    self.dirty = true;
                    rest = rest.get(2..).unwrap_or_default();
                }
                Some(_) => {
                    self.dirty = true;
                    rest = rest.get(1..).unwrap_or_default();
                }
            }
        }
    }

    /// Passes on a whole string.
    fn pass_text(&mut self, text: &[u8], walk: &mut SplitWalk<'_>) {
        let is_too_long = std::mem::take(&mut self.long_text);
        if is_too_long || text.len() > self.max_record {
            // It may hold thousands of records: it is not mere stray text.
            walk.bad(MalformedUnit::TooLarge, text);
        } else {
            (walk.sink)(SplitPiece::Text(text));
        }
    }

    /// Handles a string that a line break has cut. With a record in it, it is one that is cut.
    fn pass_cut_text(&mut self, text: &[u8], walk: &mut SplitWalk<'_>) {
        let is_too_long = std::mem::take(&mut self.long_text);
        if is_too_long || text.len() > self.max_record {
            walk.bad(MalformedUnit::TooLarge, text);
        } else if names_a_record(text) {
            walk.bad(MalformedUnit::Truncated, text);
        } else {
            self.dirty = true;
        }
    }

    /// Keeps text that goes on in the next piece; of a string that is too long for a record only
    /// that it is open.
    fn keep_stray(&mut self, rest: &[u8]) {
        if rest.len() <= self.max_record {
            self.stray = rest.to_vec();
            return;
        }
        self.long_text = true;
        self.stray = vec![b'"'];
        // Whether the next byte is escaped must survive, or a quote in the text would end it.
        let backslashes = rest.iter().rev().take_while(|b| **b == b'\\').count();
        if backslashes % 2 == 1 {
            self.stray.push(b'\\');
        }
    }
}

/// How long the string at the beginning of a text is.
enum StringLength {
    /// With both quotes.
    Whole(usize),
    /// Up to the line break that ends it.
    Cut(usize),
}

/// `None` for a string that does not end in the text.
fn string_length(text: &[u8]) -> Option<StringLength> {
    let mut at = 1;
    loop {
        at += memchr3(b'"', b'\\', b'\n', text.get(at..)?)?;
        match text.get(at) {
            Some(b'"') => return Some(StringLength::Whole(at + 1)),
            Some(b'\n') => return Some(StringLength::Cut(at)),
            // The byte after a backslash may be a line break, which ends the string all the same.
            _ if text.get(at + 1) == Some(&b'\n') => return Some(StringLength::Cut(at + 1)),
            _ => at += 2,
        }
    }
}

/// Whether a byte may stand between units.
fn is_between(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b','
}
