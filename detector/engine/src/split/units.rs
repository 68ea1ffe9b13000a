//! Handles a bracket or a line break where it may begin or end something: a unit, the array of an
//! envelope, the envelope itself.

use super::{EnvelopePlace, MalformedUnit, RecordSplitter, SplitPiece, SplitWalk, TAIL};

impl RecordSplitter {
    /// Handles the byte at `at`, which is a bracket outside strings or a line break.
    pub(super) fn event(&mut self, at: usize, walk: &mut SplitWalk<'_>) {
        match walk.bytes.get(at) {
            Some(b'{') => {
                if self.place == EnvelopePlace::Between && self.depth == self.base {
                    self.open_unit(at, walk);
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
        self.carry.clear();
        self.after_first = 0;
        self.oversize = false;
        walk.unit_start = at;
    }

    /// Begins an array of records: bare, or in an envelope. Any other array is part of a unit.
    fn open_array(&mut self, at: usize, walk: &mut SplitWalk<'_>) {
        if self.place == EnvelopePlace::Between && self.depth == 0 {
            self.look_at_gap(walk.gap_before(at));
            self.base = 1;
            walk.gap_start = at + 1;
        } else if self.depth == 1
            && self.base == 0
            && self.place != EnvelopePlace::Between
            && self.names_records(at, walk)
        {
            // The supposed unit was the envelope: drop what was kept of it.
            self.place = EnvelopePlace::Between;
            self.base = 2;
            self.carry.clear();
            self.oversize = false;
            walk.gap_start = at + 1;
        }
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
                self.place = EnvelopePlace::Between;
                walk.gap_start = at + 1;
            }
            _ => {}
        }
    }

    /// Ends a unit, and passes it on.
    fn close_unit(&mut self, at: usize, walk: &mut SplitWalk<'_>) {
        let here = walk.bytes.get(walk.unit_start..=at).unwrap_or_default();
        let after_first = self.after_first;
        // Nearly every unit lies in one piece: then its bytes are not copied.
        let is_whole = self.carry.is_empty() && !self.oversize && here.len() <= self.max_record;
        if !is_whole {
            self.keep(here);
        }
        if self.oversize {
            walk.bad(MalformedUnit::TooLarge);
        } else {
            let bytes = if is_whole { here } else { &self.carry };
            (walk.sink)(SplitPiece::Unit { bytes, after_first });
        }
        self.carry.clear();
        self.oversize = false;
        self.place = EnvelopePlace::Between;
        walk.gap_start = at + 1;
    }

    /// Ends an array of records: back to the envelope, or to the top after a bare array.
    fn close_records(&mut self, at: usize, walk: &mut SplitWalk<'_>) {
        self.end_gap(at, walk);
        self.place = if self.base == 2 {
            EnvelopePlace::Envelope
        } else {
            EnvelopePlace::Between
        };
        self.base = 0;
        walk.gap_start = at + 1;
    }

    /// Handles a line that begins with `{"` while a unit is open: that unit was truncated, and this
    /// line is the next one.
    ///
    /// CloudTrail writes no line breaks at all, and a pretty-printer breaks the line after each
    /// brace, so that such a line can only come from JSON lines.
    fn line_break(&mut self, at: usize, walk: &mut SplitWalk<'_>) {
        if self.place == EnvelopePlace::Unit
            && self.depth > self.base
            && walk.bytes.get(at + 1..at + 3) == Some(b"{\"")
        {
            walk.bad(if self.oversize {
                MalformedUnit::TooLarge
            } else {
                MalformedUnit::Truncated
            });
            self.depth = self.base;
            self.place = EnvelopePlace::Between;
            self.carry.clear();
            self.oversize = false;
            walk.gap_start = at + 1;
        }
    }

    /// Whether the bracket at `at` opens the value of a key that holds records: `Records` in what
    /// CloudTrail delivers, `Events` in what `aws cloudtrail lookup-events` prints.
    fn names_records(&self, at: usize, walk: &SplitWalk<'_>) -> bool {
        // Far from the beginning of these bytes, the tail of the earlier ones is not adjacent. It
        // does no harm: enough of these bytes then follow it.
        let mut before = self.tail.clone();
        let here = walk.bytes.get(at.saturating_sub(TAIL)..at);
        before.extend_from_slice(here.unwrap_or_default());
        let text = before.trim_ascii_end();
        let Some(text) = text.strip_suffix(b":") else {
            return false;
        };
        let text = text.trim_ascii_end();
        text.ends_with(b"\"Records\"") || text.ends_with(b"\"Events\"")
    }

    /// Ends the gap between units. Stray text in it is reported once, however much there is.
    fn end_gap(&mut self, at: usize, walk: &mut SplitWalk<'_>) {
        self.look_at_gap(walk.gap_before(at));
        if std::mem::take(&mut self.dirty) {
            walk.bad(MalformedUnit::NotAnObject);
        }
    }

    /// Notes whether there is stray text between units.
    pub(super) fn look_at_gap(&mut self, gap: &[u8]) {
        self.dirty |= gap.iter().any(|b| !b.is_ascii_whitespace() && *b != b',');
    }

    /// Keeps bytes of a unit that continues in the next piece, unless it is already too long.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        if self.oversize || self.carry.len() + bytes.len() > self.max_record {
            self.oversize = true;
            // Not only emptied: one giant unit must not hold its memory until the end of the
            // object.
            self.carry = Vec::new();
        } else {
            self.carry.extend_from_slice(bytes);
        }
    }
}
