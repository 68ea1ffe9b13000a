//! What is known of combinations, in bounded memory.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use ahash::RandomState;
use hashbrown::HashTable;

use super::combination::Candidate;

/// Parts of a cache, so that threads seldom wait for each other. A power of two.
const SHARDS: usize = 16;

/// Combinations that a part holds.
const MOST: usize = 1_024;

/// Combinations and the rules that may match them.
#[derive(Debug, Default)]
pub(super) struct CombinationCache {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    is_given_up: AtomicBool,
}

#[derive(Debug, Default)]
struct Shard {
    known: HashTable<KnownCombination>,
    /// Events that had a known combination since the part was last empty.
    hits: usize,
}

#[derive(Debug)]
struct KnownCombination {
    hash: u64,
    key: Box<[u8]>,
    candidates: Box<[Candidate]>,
}

impl CombinationCache {
    /// Whether combinations repeat so seldom that looking them up does not pay.
    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }

    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Adds the rules that may match a combination, and returns whether it is known.
    pub(super) fn find(&self, hash: u64, key: &[u8], found: &mut Vec<Candidate>) -> bool {
        let mut shard = self.shard(hash);
        let Shard { known, hits } = &mut *shard;
        let entry = known.find(hash, |known| known.hash == hash && *known.key == *key);
        let Some(entry) = entry else {
            return false;
        };
        found.extend(&entry.candidates);
        *hits += 1;
        true
    }

    pub(super) fn add(&self, hash: u64, key: Vec<u8>, candidates: Vec<Candidate>) {
        let mut shard = self.shard(hash);
        let Shard { known, hits } = &mut *shard;
        if known.len() >= MOST {
            if *hits < MOST {
                self.is_given_up.store(true, Ordering::Relaxed);
            }
            known.clear();
            *hits = 0;
        }
        // Another thread may have added it: two of the same do no harm.
        let combination = KnownCombination {
            hash,
            key: key.into(),
            candidates: candidates.into(),
        };
        known.insert_unique(hash, combination, |known| known.hash);
    }

    /// Entries are complete or absent, so that a part is usable even after a panic.
    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The table itself uses the highest and the lowest bits.
        let [first, ..] = &self.shards;
        let place = usize::from((hash >> 32) as u8) % SHARDS;
        let shard = self.shards.get(place).unwrap_or(first);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(cache: &CombinationCache, number: usize) {
        let key = number.to_le_bytes().to_vec();
        cache.add(cache.hash(&key), key, Vec::new());
    }

    fn knows(cache: &CombinationCache, number: usize) -> bool {
        let key = number.to_le_bytes();
        cache.find(cache.hash(&key), &key, &mut Vec::new())
    }

    fn len(cache: &CombinationCache) -> usize {
        cache
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap().known.len())
            .sum()
    }

    #[test]
    fn what_never_repeats_is_held_in_bounded_memory_and_given_up() {
        let cache = CombinationCache::default();
        for number in 0..SHARDS * MOST * 3 {
            assert!(!knows(&cache, number));
            add(&cache, number);
        }
        assert!(len(&cache) <= SHARDS * MOST && cache.is_given_up());
    }

    #[test]
    fn what_repeats_is_known_again_after_a_part_was_full() {
        let cache = CombinationCache::default();
        for number in 0..SHARDS * MOST * 3 {
            add(&cache, number);
            assert!(knows(&cache, number) && knows(&cache, number));
        }
        assert!(!cache.is_given_up());
        let known = (0..SHARDS * MOST * 3).filter(|number| knows(&cache, *number));
        assert!((1..=SHARDS * MOST).contains(&known.count()));
    }
}
