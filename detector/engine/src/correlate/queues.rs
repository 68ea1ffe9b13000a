//! Queues of events, each found by a key: the first that is still free.

use std::hash::Hash;

use ahash::HashMap;

use crate::correlate::steps;

/// Queues by key. An event may stand in several; what was taken from one is dropped from the others
/// when it comes to their head. As nothing that is taken becomes free again, each entry is passed
/// over once, however often the queues are asked.
pub(super) struct Queues<K>(HashMap<K, Queue>);

/// Events in the order in which they are taken.
#[derive(Default)]
struct Queue {
    events: Vec<usize>,
    head: usize,
}

impl<K> Default for Queues<K> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K: Hash + Eq> Queues<K> {
    /// Adds an event to the end of a queue.
    pub(super) fn push(&mut self, key: K, event: usize) {
        steps::count();
        self.0.entry(key).or_default().events.push(event);
    }

    /// The first event of a queue that is free. It stays in the queue.
    pub(super) fn first(&mut self, key: &K, is_free: impl Fn(usize) -> bool) -> Option<usize> {
        let queue = self.0.get_mut(key)?;
        loop {
            steps::count();
            let event = *queue.events.get(queue.head)?;
            if is_free(event) {
                return Some(event);
            }
            queue.head += 1;
        }
    }

    /// The first event of several queues that is free: that with the lowest number.
    pub(super) fn first_of(
        &mut self,
        keys: impl Iterator<Item = K>,
        is_free: impl Fn(usize) -> bool + Copy,
    ) -> Option<usize> {
        keys.filter_map(|key| self.first(&key, is_free)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_elsewhere_is_passed_over_once() {
        let mut queues = Queues::default();
        for event in 0..1_000 {
            queues.push("all", event);
            queues.push("odd", event | 1);
        }
        let before = steps::counted();
        assert_eq!(queues.first(&"all", |event| event >= 900), Some(900));
        for _ in 0..100 {
            assert_eq!(queues.first(&"all", |event| event >= 900), Some(900));
        }
        assert_eq!(steps::counted() - before, 1_001);
        assert_eq!(queues.first(&"none", |_| true), None);
    }
}
