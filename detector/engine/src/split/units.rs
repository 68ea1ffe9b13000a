//! Handles a bracket where it may begin or end something: a unit, the list of an envelope, the
//! envelope itself.

use memchr::memmem;

use super::{EnvelopePlace, MalformedUnit, RecordSplitter, SplitPiece, SplitWalk};
use crate::envelope::{LISTS, copies::names_a_record};

/// A key that only records have.
const FIELD: &[u8] = b"\"eventSource\"";

impl RecordSplitter {
    /// Handles the byte at `at`, which is a bracket outside strings or a line break.
    pub(super) fn event(&mut self, at: usize, walk: &mut SplitWalk<'_>) {
        match walk.bytes.get(at) {
            Some(b'{') => {
                if self.place == EnvelopePlace::Between && self.depth == self.base {
                    self.open_unit(at, walk);
                } else if self.depth == 1 && self.base == 0 {
                    // Each object at this depth decides anew: only the open one may hold the list.
                    self.in_hits = key_at_end(&self.bytes_before(at, walk)) == Some(b"hits");
                }
                self.depth += 1;
            }
            Some(b'[') => {
                self.open_array(at, walk);
                self.depth += 1;
            }
            Some(b'}' | b']') => self.close(at, walk),
            Some(b'\n') => self.line_break(at, walk),
            _ => {}
        }
    }

    fn open_unit(&mut self, at: usize, walk: &mut SplitWalk<'_>) {
        self.end_gap(at, walk);
        self.place = EnvelopePlace::Unit;
        self.list_is_empty = false;
        if self.base == 0 {
            self.before_list.clear();
        }
        self.drop_unit();
        walk.unit_start = at;
    }

    /// Forgets the current unit.
    pub(super) fn drop_unit(&mut self) {
        self.carry.clear();
        self.after_first = 0;
        self.oversize = false;
        self.candidate = None;
        self.field = FieldSearch::default();
    }

    /// Begins an array of records: bare, in an envelope, or in another such array. Any other array
    /// is part of a unit.
    fn open_array(&mut self, at: usize, walk: &mut SplitWalk<'_>) {
        if self.place == EnvelopePlace::Between && self.depth == self.base && self.in_rows {
            // The columns of a row are kept apart from those of the next one only in their array.
            self.open_unit(at, walk);
        } else if self.place == EnvelopePlace::Between && self.depth == self.base {
            self.look_at_gap(walk.gap_before(at), walk);
            // Rows of results are arrays in the list.
            self.nested += usize::from(self.base > 0);
            self.base += 1;
            walk.gap_start = at + 1;
        } else if self.base == 0
            && self.place != EnvelopePlace::Between
            && let Some(in_records) = self.names_records(at, walk)
            && !self.is_record_so_far(at, walk)
        {
            // The supposed unit was the envelope: drop what was kept of it, unless the list turns
            // out to be empty.
            self.before_list = self.unit_before(at, walk);
            self.list_is_empty = true;
            self.place = EnvelopePlace::Between;
            self.in_records = in_records;
            self.in_rows = self.names_rows(at, walk);
            self.base = self.depth + 1;
            self.drop_unit();
            walk.gap_start = at + 1;
        }
    }

    /// Ends an envelope. With fields of a record behind its list it is a record itself, without the
    /// list.
    fn close_envelope(&mut self, at: usize, walk: &mut SplitWalk<'_>) {
        let here = walk.bytes.get(walk.unit_start..=at).unwrap_or_default();
        self.keep(here);
        let head = std::mem::take(&mut self.before_list);
        if names_a_record(&self.carry) {
            if self.oversize {
                walk.bad(MalformedUnit::TooLarge, &self.carry);
            } else if head.is_empty() {
                walk.bad(MalformedUnit::NotAnObject, &[]);
            } else {
                let bytes = [&head, &b"null"[..], &self.carry].concat();
                (walk.sink)(SplitPiece::Unit {
                    bytes: &bytes,
                    after_first: 0,
                    in_records: false,
                });
            }
        }
        self.drop_unit();
    }

    /// Whether the open object already has a field of records, itself or in a text: then a list in
    /// it is none of records, whatever its name.
    fn is_record_so_far(&mut self, at: usize, walk: &SplitWalk<'_>) -> bool {
        // An object may hold any number of lists: it is not searched from its beginning for each.
        if self.field.is_found {
            return true;
        }
        let here = walk.bytes.get(walk.unit_start..at).unwrap_or_default();
        let known = self.field.searched.saturating_sub(2 * FIELD.len());
        let carried = self.carry.get(known..).unwrap_or_default();
        // The key may lie in both.
        let end = carried.len().saturating_sub(2 * FIELD.len());
        let seam = [
            carried.get(end..).unwrap_or_default(),
            here.get(..2 * FIELD.len()).unwrap_or(here),
        ];
        self.field.is_found = has_field(here) || has_field(carried) || has_field(&seam.concat());
        self.field.is_found
    }

    /// The open object up to its list; empty where it is none or too long.
    fn unit_before(&mut self, at: usize, walk: &SplitWalk<'_>) -> Vec<u8> {
        let here = walk.bytes.get(walk.unit_start..at).unwrap_or_default();
        let is_kept = self.depth == 1
            && !self.oversize
            && self.before_list.len() + self.carry.len() + here.len() <= self.max_record;
        if !is_kept {
            return Vec::new();
        }
        // What was kept is moved and not copied: after it there may be any number of lists.
        let mut before = if self.place == EnvelopePlace::Unit {
            std::mem::take(&mut self.carry)
        } else {
            // What follows an earlier list, which is left out.
            let mut before = std::mem::take(&mut self.before_list);
            if before.is_empty() {
                return before;
            }
            before.extend_from_slice(b"null");
            before.append(&mut self.carry);
            before
        };
        before.extend_from_slice(here);
        before
    }

    fn close(&mut self, at: usize, walk: &mut SplitWalk<'_>) {
        // A surplus closing bracket counts as stray text between units.
        if self.depth == 0 {
            self.dirty = true;
            return;
        }
        self.depth -= 1;
        match self.place {
            EnvelopePlace::Unit if self.depth == self.base => self.close_unit(at, walk),
            // In a record this is the end of `userIdentity`: whatever is nested in there, the
            // record's own `eventSource` comes after it.
            EnvelopePlace::Unit if self.depth == self.base + 1 && self.after_first == 0 => {
                self.after_first = self.carry.len() + at + 1 - walk.unit_start;
            }
            EnvelopePlace::Between if self.depth < self.base => self.close_records(at, walk),
            // Another envelope may follow: people concatenate log files.
            EnvelopePlace::Envelope if self.depth == 0 => {
                self.close_envelope(at, walk);
                self.place = EnvelopePlace::Between;
                walk.gap_start = at + 1;
            }
            _ => {}
        }
    }

    /// Ends a unit, and passes it on.
    fn close_unit(&mut self, at: usize, walk: &mut SplitWalk<'_>) {
        let here = walk.bytes.get(walk.unit_start..=at).unwrap_or_default();
        let (after_first, in_records) = (self.after_first, self.in_records);
        // Nearly every unit lies in one piece: then its bytes are not copied.
        let is_whole = self.carry.is_empty() && !self.oversize && here.len() <= self.max_record;
        if !is_whole {
            self.keep(here);
        }
        if self.oversize {
            walk.bad(MalformedUnit::TooLarge, &self.carry);
        } else {
            let bytes = if is_whole { here } else { &self.carry };
            (walk.sink)(SplitPiece::Unit {
                bytes,
                after_first,
                in_records,
            });
        }
        self.drop_unit();
        self.place = EnvelopePlace::Between;
        walk.gap_start = at + 1;
    }

    /// Ends an array of records: back to the array around it, to the envelope, or to the top after
    /// a bare array.
    fn close_records(&mut self, at: usize, walk: &mut SplitWalk<'_>) {
        self.end_gap(at, walk);
        walk.gap_start = at + 1;
        if self.nested > 0 {
            self.nested -= 1;
            self.base -= 1;
            return;
        }
        if self.list_is_empty && !self.before_list.is_empty() {
            let object = std::mem::take(&mut self.before_list);
            // Nothing was in the list, so that the object may be a record or another envelope.
            self.base = 0;
            (self.in_records, self.in_rows) = (false, false);
            self.place = EnvelopePlace::Unit;
            self.drop_unit();
            self.carry = object;
            // A list was looked for in it only because it had no field of a record so far.
            self.field.searched = self.carry.len();
            self.carry.extend_from_slice(b"[");
            walk.unit_start = at;
            return;
        }
        self.place = if self.base > 1 {
            self.drop_unit();
            walk.unit_start = at + 1;
            EnvelopePlace::Envelope
        } else {
            EnvelopePlace::Between
        };
        self.base = 0;
        (self.in_records, self.in_rows) = (false, false);
    }

    /// Whether the bracket at `at` opens a list of records: the value of a known key of the
    /// outermost object, or of `hits.hits`. `Some(true)` for `Records`, as CloudTrail writes it.
    fn names_records(&self, at: usize, walk: &SplitWalk<'_>) -> Option<bool> {
        let before = self.bytes_before(at, walk);
        let key = key_at_end(&before)?;
        let is_list = LISTS
            .iter()
            .any(|list| list.as_bytes().eq_ignore_ascii_case(key));
        match self.depth {
            1 if is_list => Some(key.eq_ignore_ascii_case(b"records")),
            2 if key == b"hits" && self.in_hits => Some(false),
            _ => None,
        }
    }

    /// Whether the bracket at `at` opens the rows of a result of CloudTrail Lake.
    fn names_rows(&self, at: usize, walk: &SplitWalk<'_>) -> bool {
        let before = self.bytes_before(at, walk);
        key_at_end(&before).is_some_and(|key| key.eq_ignore_ascii_case(b"queryresultrows"))
    }

    /// Keeps bytes of a unit that continues in the next piece, unless it is already too long.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        if self.oversize {
            return;
        }
        let room = self.max_record - self.carry.len().min(self.max_record);
        self.oversize = bytes.len() > room;
        // The beginning of a unit that is too long stays: it may name the service.
        self.carry
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }
}

/// How far the open unit was searched for a field of records.
#[derive(Debug, Default)]
pub(super) struct FieldSearch {
    /// Number of its first bytes that have none.
    searched: usize,
    is_found: bool,
}

/// Whether an object has a field of records: its key, or the key in a text.
fn has_field(bytes: &[u8]) -> bool {
    memmem::find_iter(bytes, FIELD).any(|at| {
        let after = bytes.get(at + FIELD.len()..).unwrap_or_default();
        after.trim_ascii_start().starts_with(b":")
    }) || memmem::find(bytes, b"eventSource\\").is_some()
}

/// The key at the end of text, before the value that it is of.
fn key_at_end(text: &[u8]) -> Option<&[u8]> {
    let text = text.trim_ascii_end().strip_suffix(b":")?;
    let text = text.trim_ascii_end().strip_suffix(b"\"")?;
    text.rsplit(|b| *b == b'"').next()
}
