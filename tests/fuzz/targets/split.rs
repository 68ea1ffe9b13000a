//! The splitter: pieces of any size give what one piece gives, and registers of any width give what
//! single bytes give.
//!
//! A piece of one byte never fills a block, so that the `unsafe` code for whole blocks does not see
//! it: that is the safe path through the same rules. What both give is then compared with code that
//! shares nothing with it.

#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use secretrail_engine::split::{RecordSplitter, SplitPiece};
use secretrail_fuzz::{
    cut,
    reference::{Documents, after_first, is_after_value, is_one_object},
    seed_of,
};

/// A unit, or an error as text.
type Found = (Option<(Vec<u8>, usize)>, String);

fn split<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> Vec<Found> {
    let mut found = Vec::new();
    let mut sink = |piece: SplitPiece<'_>| {
        found.push(match piece {
            SplitPiece::Unit {
                bytes, after_first, ..
            } => (Some((bytes.to_vec(), after_first)), format!("{piece:?}")),
            // How much of a broken unit was kept may depend on the pieces.
            SplitPiece::Bad { why, .. } => (None, format!("{why:?}")),
            SplitPiece::Text(_) => (None, format!("{piece:?}")),
        });
    };
    let mut splitter = RecordSplitter::with_limit(limit);
    for piece in pieces {
        splitter.feed(piece, &mut sink);
    }
    splitter.finish(&mut sink);
    found
}

/// Where a unit ends in a text, with others in the place of each `null`, and white space in lists
/// that are empty.
fn end_of_parts(text: &[u8], unit: &[u8]) -> Option<usize> {
    let (mut at, mut unit) = (0, unit);
    while !unit.is_empty() {
        let list = unit.iter().position(|byte| *byte == b'[').map(|at| at + 1);
        let end = position(unit, b"null").into_iter().chain(list).min();
        let (part, rest) = unit.split_at(end.unwrap_or(unit.len()));
        at += position(&text[at..], part)? + part.len();
        unit = rest.strip_prefix(b"null").unwrap_or(rest);
    }
    Some(at)
}

/// Where a part begins in a text.
fn position(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    text.windows(part.len()).position(|other| other == part)
}

fn check(bytes: &[u8], limit: usize) -> Vec<Found> {
    let whole = split([bytes], limit);
    let seed = seed_of(bytes);
    assert_eq!(split(bytes.chunks(1), limit), whole, "byte by byte");
    for most in [3, 70, 300] {
        assert_eq!(split(cut(bytes, seed, most), limit), whole, "below {most}");
    }
    for size in [63, 64, 65, 256] {
        assert_eq!(
            split(bytes.chunks(size), limit),
            whole,
            "in pieces of {size}"
        );
    }
    let mut from = 0;
    for (unit, after) in whole.iter().filter_map(|(unit, _)| unit.as_ref()) {
        assert!(unit.len() <= limit && is_one_object(unit), "{unit:?}");
        // Where an empty list was looked into, a later value or none may be told.
        if unit.contains(&b'[') {
            assert!(
                *after == 0 || is_after_value(unit, *after),
                "{after} {unit:?}"
            );
        } else {
            assert_eq!(*after, after_first(unit), "{unit:?}");
        }
        // Units are parts of the text, in its order, and none is in another. An object around
        // lists is without what they hold, and comes behind it.
        let rest = &bytes[from..];
        let end = position(rest, unit).map(|at| from + at + unit.len());
        let end = end.or_else(|| end_of_parts(bytes, unit).filter(|_| unit.contains(&b'[')));
        let Some(end) = end else {
            panic!("{unit:?} is no part of {rest:?}");
        };
        from = from.max(end);
    }
    whole
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes, 1 << 20);
    check(bytes, 48);
    if let Ok(documents) = Documents::of(&mut Unstructured::new(bytes)) {
        let found = check(&documents.text, 1 << 20);
        let units = found
            .into_iter()
            .map(|(unit, text)| unit.unwrap_or_else(|| panic!("{text}")));
        let units: Vec<_> = units.map(|(unit, _)| unit).collect();
        assert_eq!(units, documents.units);
    }
});
