//! Work on several threads whose result does not depend on how many there are: items in, results out, in their order.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Times that a thread comes back for more, so that none is left with all the long ones.
const ROUNDS: usize = 16;

/// `f` of every block of up to `block` items, in order. With one thread, or one block, on the caller's own.
///
/// # Panics
///
/// With what `f` panics with.
pub fn blocks<T: Sync, R: Send>(threads: usize, items: &[T], block: usize, f: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    let parts: Vec<&[T]> = items.chunks(block.max(1)).collect();
    if threads <= 1 || parts.len() <= 1 {
        return parts.into_iter().map(f).collect();
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(parts.len()));
    let work = || {
        let mut mine = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = parts.get(index) else { break };
            mine.push((index, f(part)));
        }
        done.lock().unwrap_or_else(PoisonError::into_inner).append(&mut mine);
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(parts.len()) {
            scope.spawn(work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// `f` of every item, in order.
///
/// # Panics
///
/// With what `f` panics with.
pub fn map<T: Sync, R: Send>(threads: usize, items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let block = items.len().div_ceil(threads.max(1) * ROUNDS);
    blocks(threads, items, block, |part| part.iter().map(&f).collect::<Vec<R>>()).into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_the_order_of_the_items() {
        let items: Vec<u32> = (0..1_000).collect();
        for threads in [1, 2, 7] {
            assert_eq!(map(threads, &items, |n| n * 2), items.iter().map(|n| n * 2).collect::<Vec<_>>());
            assert_eq!(blocks(threads, &items, 300, <[u32]>::len), [300, 300, 300, 100]);
            assert_eq!(map(threads, &[0_u32; 0], |n| *n), Vec::<u32>::new());
        }
    }
}
