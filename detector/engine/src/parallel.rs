//! Work on several threads whose result does not depend on how many there are: items in, results out, in their order.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// Times that a thread comes back for more, so that none is left with all the long ones.
const ROUNDS: usize = 16;

/// `work` on so many threads, one of which is the caller's own.
fn on(threads: usize, work: impl Fn() + Copy + Send) {
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
}

/// `f` of every block of up to `block` items, in order. With one thread, or one block, on the caller's own.
fn blocks<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    block: usize,
    f: impl Fn(&[T]) -> R + Sync,
) -> Vec<R> {
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
        done.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .append(&mut mine);
    };
    on(threads.min(parts.len()), work);
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// What `make` writes of every block of up to `block` items, given to `take` in order, while others are made: each thread
/// has one buffer, which is filled anew. `make` is also told the place of its first item.
///
/// # Errors
///
/// The first one of either, in the order of the items; what was before it has been taken.
///
/// # Panics
///
/// With what `make` or `take` panics with.
pub fn in_order<T: Sync, E: Send>(
    threads: usize,
    items: &[T],
    block: usize,
    make: impl Fn(usize, &[T], &mut Vec<u8>) -> Result<(), E> + Sync,
    take: impl FnMut(&[u8]) -> Result<(), E> + Send,
) -> Result<(), E> {
    let block = block.max(1);
    let parts: Vec<&[T]> = items.chunks(block).collect();
    let next = AtomicUsize::new(0);
    let turn = Mutex::new(Turn {
        now: 0,
        take,
        result: Ok(()),
        stopped: false,
    });
    let over = Condvar::new();
    let work = || {
        let mut bytes = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = parts.get(index) else { break };
            bytes.clear();
            let made = catch_unwind(AssertUnwindSafe(|| make(index * block, part, &mut bytes)));
            let turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            let waits = |turn: &mut Turn<_, _>| turn.now != index && !turn.stopped;
            let mut turn = over
                .wait_while(turn, waits)
                .unwrap_or_else(PoisonError::into_inner);
            if turn.stopped {
                break;
            }
            let done = match made {
                Ok(Ok(())) => catch_unwind(AssertUnwindSafe(|| (turn.take)(&bytes))),
                failed => failed,
            };
            turn.now += 1;
            turn.stopped = !matches!(done, Ok(Ok(())));
            let panic = done.map(|result| turn.result = result).err();
            drop(turn);
            over.notify_all();
            if let Some(panic) = panic {
                resume_unwind(panic);
            }
        }
    };
    on(threads.min(parts.len()), work);
    turn.into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .result
}

/// Whose bytes are taken next.
struct Turn<F, E> {
    now: usize,
    take: F,
    /// The first error.
    result: Result<(), E>,
    /// Nothing more is taken: there was an error, or somebody panicked for whom the others must not wait.
    stopped: bool,
}

/// `f` of every item, in order.
///
/// # Panics
///
/// With what `f` panics with.
pub fn map<T: Sync, R: Send>(threads: usize, items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let block = items.len().div_ceil(threads.max(1) * ROUNDS);
    blocks(threads, items, block, |part| {
        part.iter().map(&f).collect::<Vec<R>>()
    })
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_the_order_of_the_items() {
        let items: Vec<u32> = (0..1_000).collect();
        for threads in [1, 2, 7] {
            assert_eq!(
                map(threads, &items, |n| n * 2),
                items.iter().map(|n| n * 2).collect::<Vec<_>>()
            );
            assert_eq!(
                blocks(threads, &items, 300, <[u32]>::len),
                [300, 300, 300, 100]
            );
            assert_eq!(map(threads, &[0_u32; 0], |n| *n), Vec::<u32>::new());
        }
    }

    #[test]
    fn nobody_waits_for_a_thread_that_panics() {
        for threads in [1, 2, 7] {
            let bad = |first: usize, _: &[u8], _: &mut Vec<u8>| {
                if first == 21 {
                    panic!("bad")
                } else {
                    Ok::<_, ()>(())
                }
            };
            assert!(catch_unwind(|| in_order(threads, &[0; 200], 7, bad, |_| Ok(()))).is_err());
            let fine = |_: usize, _: &[u8], _: &mut Vec<u8>| Ok::<_, ()>(());
            assert!(
                catch_unwind(|| in_order(threads, &[0; 200], 7, fine, |_| panic!("bad"))).is_err()
            );
        }
    }

    #[test]
    fn bytes_are_taken_in_the_order_of_the_items_up_to_the_first_error() {
        let items: Vec<u8> = (0..200).collect();
        let told = |threads, bad: usize| {
            let mut taken = Vec::new();
            let make = |first: usize, items: &[u8], bytes: &mut Vec<u8>| {
                bytes.extend_from_slice(items);
                if (first..first + items.len()).contains(&bad) {
                    Err(bad)
                } else {
                    Ok(())
                }
            };
            let result = in_order(threads, &items, 7, make, |bytes| {
                taken.extend_from_slice(bytes);
                Ok(())
            });
            (taken, result)
        };
        for threads in [1, 2, 7] {
            assert_eq!(told(threads, 500), (items.clone(), Ok(())));
            assert_eq!(told(threads, 100), (items[..98].to_vec(), Err(100)));
            assert_eq!(
                in_order(threads, &[0_u8; 0], 7, |_, _, _| Err(()), |_| Err(())),
                Ok(())
            );
        }
    }
}
