//! The steps of a join, counted in tests: its cost must grow with its events, however near to each
//! other they are.

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// Counts a step. Does nothing outside of tests.
#[inline]
pub(super) fn count() {
    #[cfg(test)]
    STEPS.with(|steps| steps.set(steps.get() + 1));
}

/// The steps that this thread has counted.
#[cfg(test)]
pub(super) fn counted() -> u64 {
    STEPS.with(Cell::get)
}
