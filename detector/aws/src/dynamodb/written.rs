//! What this process has written, so as not to write it again: most marks and sightings of a batch
//! were in the batch before already.
//!
//! Only a hint. What is forgotten is written again, which changes nothing; what is remembered was
//! written, and stays in the table for days, longer than a process of the function lives.

use std::{
    collections::HashSet,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Most things that are remembered.
pub(super) const REMEMBERED: usize = 100_000;

/// Things that were written recently.
#[derive(Debug)]
pub(super) struct RecentlyWritten<T>(Mutex<HashSet<T>>);

impl<T> Default for RecentlyWritten<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Hash + Eq> RecentlyWritten<T> {
    fn known(&self) -> MutexGuard<'_, HashSet<T>> {
        // The set is usable even after a panic.
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

    /// Remembers things. To be called after their write has returned: a failed write must be
    /// repeated.
    pub(super) fn add(&self, things: impl IntoIterator<Item = T>) {
        let mut known = self.known();
        // Clearing the set now and then is cheaper than tracking which were used last.
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
