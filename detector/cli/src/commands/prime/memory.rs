//! Merges a memory into the state table. Times are only added, as the function itself does: the
//! result does not depend on who comes first, and what is there already is not written again. Each
//! item is written on the condition that nobody has changed it since it was read.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use indicatif::ProgressBar;
use secretrail_aws::{
    names::{ALONE, TTL, seen},
    sightings::{KEY, StoredTimes, TIMES, kept_secs},
};
use secretrail_engine::{
    ids::SharedStr,
    seen::{LookbackPeriods, SeenTimes, item_of},
    time::EventTime,
};
use serde_json::{Value, json};

use crate::{
    deployment::table::{ItemPlace, StateTable, place},
    host::RunFailure,
    text::number,
};

/// Items that are read with one call.
const BATCH: usize = 100;

/// Calls at the same time.
const AT_ONCE: usize = 16;

/// How often an item is merged again after somebody else has changed it.
const ROUNDS: usize = 10;

/// Bytes that are written for one write unit.
const UNIT: usize = 1_024;

/// What is remembered in one item of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct MemoryItem<'m> {
    /// The part of the keys that the item is about.
    pub(super) name: &'m str,
    keys: &'m [(SharedStr, SeenTimes)],
}

/// The items of a memory that is sorted by key.
pub(super) fn items(memory: &[(SharedStr, SeenTimes)]) -> impl Iterator<Item = MemoryItem<'_>> {
    let by_item = memory.chunk_by(|(a, _), (b, _)| item_of(a).0 == item_of(b).0);
    by_item.filter_map(|keys| {
        let (first, _) = keys.first()?;
        let name = item_of(first).0;
        Some(MemoryItem { name, keys })
    })
}

/// What became of the items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MergeCounts {
    /// Items that were not there.
    pub(super) new: u64,
    /// Items that got more times.
    pub(super) extended: u64,
    /// Items that have all times already.
    pub(super) same: u64,
    /// Write units of DynamoDB, about.
    pub(super) units: u64,
}

impl MergeCounts {
    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            new: self.new + other.new,
            extended: self.extended + other.extended,
            same: self.same + other.same,
            units: self.units + other.units,
        }
    }

    /// All items.
    pub(super) fn all(self) -> u64 {
        self.new + self.extended + self.same
    }
}

/// When the logs of an account begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AccountLogs {
    /// Id of the account, as a log gave it.
    pub(super) account: String,
    /// As the function knows it; `None` if it has seen nothing of the account.
    pub(super) before: Option<EventTime>,
    /// With the history.
    pub(super) after: Option<EventTime>,
}

/// Merges a memory into a table.
pub(super) struct MemoryMerge<'m> {
    pub(super) table: &'m StateTable<'m>,
    pub(super) lookback: LookbackPeriods,
    pub(super) now: EventTime,
    /// Whether nothing is written.
    pub(super) is_dry: bool,
}

impl MemoryMerge<'_> {
    /// When the logs of accounts begin, before and after.
    pub(super) fn accounts(
        &self,
        since: &[MemoryItem<'_>],
    ) -> Result<Vec<AccountLogs>, RunFailure> {
        let places: Vec<ItemPlace> = since.iter().map(MemoryItem::place).collect();
        let found = self.table.items(&places).map_err(failed)?;
        let accounts = since.iter().zip(&places).map(|(item, place)| {
            let stored = found.get(place).and_then(|stored| stored.text(TIMES));
            let before = StoredTimes::parse(stored.unwrap_or_default())
                .of(item.name)
                .first();
            let own = item.keys.iter().filter_map(|(_, times)| times.first());
            AccountLogs {
                account: item.name.lines().last().unwrap_or_default().to_owned(),
                before,
                after: own.chain(before).min(),
            }
        });
        Ok(accounts.collect())
    }

    /// Merges items, many at the same time.
    pub(super) fn all(
        &self,
        items: &[MemoryItem<'_>],
        bar: &ProgressBar,
    ) -> Result<MergeCounts, RunFailure> {
        let batches: Vec<&[MemoryItem<'_>]> = items.chunks(BATCH).collect();
        let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
        let work = || {
            let mut counts = MergeCounts::default();
            while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                match self.batch(batch, bar) {
                    Ok(batch) => counts = counts.and(batch),
                    Err(why) => {
                        // The others end after their batches.
                        next.store(batches.len(), Ordering::Relaxed);
                        let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                        failure.get_or_insert(why);
                    }
                }
            }
            counts
        };
        let counts = thread::scope(|scope| {
            let workers = (0..AT_ONCE.min(batches.len())).map(|_| scope.spawn(work));
            let workers: Vec<_> = workers.collect();
            let counts = workers.into_iter().map(|worker| {
                // A panic is a bug; it is propagated.
                let counts = worker.join();
                counts.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            counts.fold(MergeCounts::default(), MergeCounts::and)
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(counts),
            Some(why) => Err(self.interrupted(&why, counts)),
        }
    }

    /// A failure, with what was done before it.
    fn interrupted(&self, why: &str, counts: MergeCounts) -> RunFailure {
        let written = number(counts.new + counts.extended);
        let state = match self.is_dry {
            true => "nothing was written".to_owned(),
            false => format!(
                "at least {written} items were written; run this again, what is there stays"
            ),
        };
        failed(format!("table {}: {why}; {state}", self.table.name))
    }

    fn batch(&self, batch: &[MemoryItem<'_>], bar: &ProgressBar) -> Result<MergeCounts, String> {
        let places: Vec<ItemPlace> = batch.iter().map(MemoryItem::place).collect();
        let found = self.table.items(&places);
        let mut found = found.map_err(|error| error.to_string())?;
        let mut counts = MergeCounts::default();
        for (item, place) in batch.iter().zip(&places) {
            let stored = found.remove(place);
            let stored = stored.and_then(|item| item.text(TIMES).map(str::to_owned));
            counts = counts.and(self.item(item, stored)?);
            bar.inc(item.keys.len() as u64);
        }
        Ok(counts)
    }

    /// Merges one item with the times that are stored, however often others change it.
    fn item(
        &self,
        item: &MemoryItem<'_>,
        mut stored: Option<String>,
    ) -> Result<MergeCounts, String> {
        for _ in 0..ROUNDS {
            let mut times = StoredTimes::parse(stored.as_deref().unwrap_or_default());
            for (key, added) in item.keys {
                times.add(key, added.iter(), self.lookback);
            }
            let times = times.to_string();
            if stored.as_deref() == Some(&times) {
                return Ok(MergeCounts {
                    same: 1,
                    ..MergeCounts::default()
                });
            }
            let (new, extended) = match stored {
                None => (1, 0),
                Some(_) => (0, 1),
            };
            let bytes = times.len() + item.name.len() + seen(item.name).len();
            let merged = MergeCounts {
                new,
                extended,
                same: 0,
                units: bytes.div_ceil(UNIT) as u64,
            };
            if self.is_dry {
                return Ok(merged);
            }
            let version = stored.as_deref().map(|stored| (TIMES, stored));
            let put = self.table.put_if(&self.stored(item, &times), version);
            if put.map_err(|error| error.to_string())? {
                return Ok(merged);
            }
            // The function has changed it: merge with what is there now.
            let (pk, sk) = item.place();
            let found = self
                .table
                .item(&pk, &sk)
                .map_err(|error| error.to_string())?;
            stored = found.and_then(|item| item.text(TIMES).map(str::to_owned));
        }
        Err(format!("item {} changes all the time", seen(item.name)))
    }

    fn stored(&self, item: &MemoryItem<'_>, times: &str) -> Value {
        let expiry = self.now.plus(kept_secs(self.lookback)).0;
        let mut stored = place(&seen(item.name), ALONE);
        if let Some(stored) = stored.as_object_mut() {
            stored.insert(KEY.to_owned(), json!({"S": item.name}));
            stored.insert(TIMES.to_owned(), json!({"S": times}));
            stored.insert(TTL.to_owned(), json!({"N": expiry.to_string()}));
        }
        stored
    }
}

impl MemoryItem<'_> {
    fn place(&self) -> ItemPlace {
        (seen(self.name), ALONE.to_owned())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(why: impl ToString) -> RunFailure {
    RunFailure::Input(why.to_string())
}
