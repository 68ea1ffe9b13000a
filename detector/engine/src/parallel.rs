//! Work on several threads with a deterministic result: results come in the order of the items,
//! whatever the number of threads.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Condvar, LockResult, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Blocks of items per thread, so that no thread is left with all the slow ones.
const ROUNDS: usize = 16;

/// Runs `work` on this many threads, one of which is the caller's own.
fn on(threads: usize, work: impl Fn() + Copy + Send) {
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        // The caller would only wait otherwise.
        work();
    });
}

/// Blocks of items, which threads take one after the other.
struct BlockQueue<'i, T> {
    blocks: Vec<&'i [T]>,
    /// Items in each block but the last.
    size: usize,
    next: AtomicUsize,
}

impl<'i, T> BlockQueue<'i, T> {
    fn new(items: &'i [T], size: usize) -> Self {
        let size = size.max(1);
        Self {
            blocks: items.chunks(size).collect(),
            size,
            next: AtomicUsize::new(0),
        }
    }

    /// The next block, and its index.
    fn take(&self) -> Option<(usize, &'i [T])> {
        // Relaxed: only this counter is shared without a lock.
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        self.blocks.get(index).map(|block| (index, *block))
    }
}

/// Results of `f` for every block of up to `size` items, in order. With one thread, or one block,
/// it runs on the caller's thread.
fn blocks<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    size: usize,
    f: impl Fn(&[T]) -> R + Sync,
) -> Vec<R> {
    let queue = BlockQueue::new(items, size);
    let count = queue.blocks.len();
    if threads <= 1 || count <= 1 {
        return queue.blocks.into_iter().map(f).collect();
    }
    let done = Mutex::new(Vec::with_capacity(count));
    on(threads.min(count), || {
        // Each thread collects its results until no block is left, and takes the lock once.
        let mut mine = Vec::new();
        while let Some((index, block)) = queue.take() {
            mine.push((index, f(block)));
        }
        held(done.lock()).append(&mut mine);
    });
    in_place(held(done.into_inner()))
}

/// Results in the order of their indices, whichever was done first.
fn in_place<R>(mut results: Vec<(usize, R)>) -> Vec<R> {
    results.sort_unstable_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Passes the bytes that `make` writes for each block of up to `block` items to `take`, in order,
/// while other threads make the next ones. Each thread reuses one buffer. `make` also receives the
/// index of its first item.
///
/// # Errors
///
/// The first error of either, in the order of the items; `take` has received everything before it.
///
/// # Panics
///
/// When `make` or `take` panics.
pub fn in_order<T: Sync, E: Send>(
    threads: usize,
    items: &[T],
    block: usize,
    make: impl Fn(usize, &[T], &mut Vec<u8>) -> Result<(), E> + Sync,
    take: impl FnMut(&[u8]) -> Result<(), E> + Send,
) -> Result<(), E> {
    let queue = BlockQueue::new(items, block);
    let turns = OrderedTurns::new(take);
    on(threads.min(queue.blocks.len()), || {
        let mut bytes = Vec::new();
        while let Some((index, block)) = queue.take() {
            bytes.clear();
            let first = index * queue.size;
            // A panic must not end this thread before its turn: the others would wait forever.
            let made = catch_unwind(AssertUnwindSafe(|| make(first, block, &mut bytes)));
            if !turns.take(index, made, &bytes) {
                break;
            }
        }
    });
    held(turns.turn.into_inner()).result
}

/// Lets threads take turns in the order of the blocks.
struct OrderedTurns<F, E> {
    turn: Mutex<BlockTurn<F, E>>,
    /// Signals the end of a turn.
    over: Condvar,
}

/// Whose turn it is, and the result so far.
struct BlockTurn<F, E> {
    now: usize,
    take: F,
    /// The first error.
    result: Result<(), E>,
    /// Set after an error or a panic: nothing more is taken, and no thread waits any longer.
    stopped: bool,
}

impl<F: FnMut(&[u8]) -> Result<(), E>, E> OrderedTurns<F, E> {
    fn new(take: F) -> Self {
        Self {
            turn: Mutex::new(BlockTurn {
                now: 0,
                take,
                result: Ok(()),
                stopped: false,
            }),
            over: Condvar::new(),
        }
    }

    /// Waits for the turn of a block; `None` when nothing more is taken.
    fn wait(&self, index: usize) -> Option<MutexGuard<'_, BlockTurn<F, E>>> {
        let turn = held(self.turn.lock());
        let turn = self
            .over
            .wait_while(turn, |turn| turn.now != index && !turn.stopped);
        Some(held(turn)).filter(|turn| !turn.stopped)
    }

    /// Takes the bytes of a block in its turn. Returns `false` when nothing more is taken.
    fn take(&self, index: usize, made: std::thread::Result<Result<(), E>>, bytes: &[u8]) -> bool {
        let Some(mut turn) = self.wait(index) else {
            return false;
        };
        // An error of `make` counts in its turn, not when it occurs: otherwise each run could
        // report another one.
        let done = match made {
            Ok(Ok(())) => catch_unwind(AssertUnwindSafe(|| (turn.take)(bytes))),
            failed => failed,
        };
        let goes_on = matches!(done, Ok(Ok(())));
        turn.now += 1;
        turn.stopped = !goes_on;
        let panic = done.map(|result| turn.result = result).err();
        // Wake the others before the panic continues, or they would wait for this thread.
        drop(turn);
        self.over.notify_all();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        goes_on
    }
}

/// The value behind a lock. If a thread panicked while it held the lock, the panic propagates by
/// itself, and the value is not used.
fn held<G>(lock: LockResult<G>) -> G {
    lock.unwrap_or_else(PoisonError::into_inner)
}

/// Results of `f` for every item, in order.
///
/// # Panics
///
/// When `f` panics.
pub fn map<T: Sync, R: Send>(threads: usize, items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let size = items.len().div_ceil(threads.max(1) * ROUNDS);
    blocks(threads, items, size, |block| {
        block.iter().map(&f).collect::<Vec<R>>()
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
    fn the_first_error_is_the_one_of_the_earliest_items_not_the_earliest_in_time() {
        let slow = |first: usize, _: &[u8], _: &mut Vec<u8>| {
            if first == 5 {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            if first < 5 { Ok(()) } else { Err(first) }
        };
        for threads in [1, 2, 7] {
            let mut taken = 0;
            let reported = in_order(threads, &[0; 100], 5, slow, |_| {
                taken += 1;
                Ok(())
            });
            assert_eq!((reported, taken), (Err(5), 1), "{threads} threads");
        }
    }

    #[test]
    fn nothing_is_taken_after_an_error_of_take() {
        let items: Vec<u8> = (0..100).collect();
        for threads in [1, 2, 7] {
            let mut taken = Vec::new();
            let copy = |_: usize, items: &[u8], bytes: &mut Vec<u8>| {
                bytes.extend_from_slice(items);
                Ok(())
            };
            let reported = in_order(threads, &items, 1, copy, |bytes| {
                taken.extend_from_slice(bytes);
                if bytes == [30] { Err("full") } else { Ok(()) }
            });
            assert_eq!((reported, taken), (Err("full"), (0..=30).collect()));
        }
    }

    #[test]
    fn a_block_has_at_least_one_item() {
        let mut taken = Vec::new();
        let place = |first: usize, items: &[char], bytes: &mut Vec<u8>| {
            bytes.extend(format!("{first}{}", items.len()).bytes());
            Ok::<_, ()>(())
        };
        in_order(2, &['a', 'b', 'c'], 0, place, |bytes| {
            taken.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
        assert_eq!(taken, b"011121");
        assert_eq!(blocks(0, &['a', 'b'], 0, <[char]>::len), [1, 1]);
    }

    #[test]
    fn a_panic_of_the_work_reaches_the_caller() {
        for threads in [1, 2, 7] {
            let bad = |n: &u32| assert_ne!(*n, 500, "bad");
            let items: Vec<u32> = (0..1_000).collect();
            assert!(catch_unwind(|| map(threads, &items, bad)).is_err());
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
        let reported = |threads, bad: usize| {
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
            assert_eq!(reported(threads, 500), (items.clone(), Ok(())));
            assert_eq!(reported(threads, 100), (items[..98].to_vec(), Err(100)));
            assert_eq!(
                in_order(threads, &[0_u8; 0], 7, |_, _, _| Err(()), |_| Err(())),
                Ok(())
            );
        }
    }
}
