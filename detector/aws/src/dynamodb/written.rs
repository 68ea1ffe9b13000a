//! What a process remembers to have written, so as not to write it again: most of what a batch says
//! about coverage, windows and what was seen, the batch before it has said already.
//!
//! Only a hint. What is forgotten is written once more, which changes nothing; what is remembered
//! was written, and what is written stays for days, longer than a process of the function lives.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Things that are remembered at most.
pub(super) const REMEMBERED: usize = 100_000;

/// Things that were written.
#[derive(Debug)]
pub(super) struct RecentlyWritten<T>(Mutex<HashSet<T>>);

impl<T> Default for RecentlyWritten<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Hash + Eq> RecentlyWritten<T> {
    fn known(&self) -> MutexGuard<'_, HashSet<T>> {
        // A thread that panicked left a set that is still one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of the things that are not known to be written.
    pub(super) fn missing<C: FromIterator<T>>(&self, things: impl IntoIterator<Item = T>) -> C {
        let known = self.known();
        things
            .into_iter()
            .filter(|thing| !known.contains(thing))
            .collect()
    }

    /// Remembers things. To be called when their write has returned: what failed must be written by
    /// whoever retries.
    pub(super) fn add(&self, things: impl IntoIterator<Item = T>) {
        let mut known = self.known();
        // To begin anew now and then is cheaper than to know which were used last.
        if known.len() > REMEMBERED {
            known.clear();
        }
        known.extend(things);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_added_is_known() {
        let written = RecentlyWritten::default();
        let missing: Vec<u32> = written.missing([1, 2]);
        assert_eq!(missing, [1, 2], "asking does not remember");
        written.add([1]);
        let missing: Vec<u32> = written.missing([1, 2]);
        assert_eq!(missing, [2]);
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let written = RecentlyWritten::default();
        written.add(0..=REMEMBERED);
        written.add([usize::MAX]);
        let missing: Vec<usize> = written.missing([0, usize::MAX]);
        assert_eq!(
            missing,
            [0],
            "the old ones are forgotten, the new one is not"
        );
    }
}
