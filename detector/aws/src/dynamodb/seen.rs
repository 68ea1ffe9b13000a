//! Sightings: one item for each key, or for the profile of a principal, read before it is written,
//! and written on the condition that no other writer changed it in between.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use secretrail_engine::{
    ids::SharedStr,
    limits::SEEN_GRAINS,
    seen::{LookbackPeriods, SeenTimes, Sighting, item_of},
    state::StateError,
    time::EventTime,
};

use crate::{
    dynamodb::{
        item::{Attributes, text, text_of},
        keys,
        table::DynamoTable,
        written::REMEMBERED,
    },
    retry::{FailedAttempts, FailedCall},
};

const TIMES: &str = "times";

/// Most writes in one transaction.
const TOGETHER: usize = 100;

/// Most bytes of items in one transaction, of the four megabytes that DynamoDB takes: the condition
/// holds an item once more.
const BYTES_TOGETHER: usize = 1_500_000;

/// Event times by key.
type TimesOf = HashMap<SharedStr, Vec<EventTime>>;

/// Sightings in the table.
pub(super) struct StoredSeenTimes {
    table: Arc<DynamoTable>,
    keep_secs: i64,
    /// First times that are known to be stored, by key and grain of the lookback.
    written: Mutex<HashMap<(SharedStr, i64), EventTime>>,
}

/// Number of times kept under a key: those of the lookback, and as many again for late deliveries.
fn grains_kept() -> usize {
    usize::try_from(2 * SEEN_GRAINS).unwrap_or(usize::MAX)
}

/// The grain of the lookback that a time is in: only the first time in each grain is kept.
fn grain(time: EventTime, lookback: LookbackPeriods) -> i64 {
    time.0.div_euclid(lookback.grain_secs())
}

/// The times of an item by token; those of an item for one key have none.
type TimesByToken = BTreeMap<Option<String>, SeenTimes>;

/// The times of an item: seconds since 1970, separated by spaces; in a profile, lines that begin
/// with their token.
fn times_of(item: &Attributes) -> TimesByToken {
    let text = text_of(item, TIMES).unwrap_or_default();
    let mut all = TimesByToken::new();
    for line in text.lines() {
        let (token, times) = match line.split_once(' ') {
            Some((token, times)) if token.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                (Some(token.to_owned()), times)
            }
            _ => (None, line),
        };
        let known = all.entry(token).or_default();
        // They were reduced to grains when they were written.
        let times = times.split(' ').filter_map(|time| time.parse().ok());
        times.for_each(|time| known.add(EventTime(time), 1));
    }
    all
}

fn stored(times: &TimesByToken) -> String {
    let lines = times.iter().map(|(token, times)| {
        let times = times.iter().map(|time| time.0.to_string());
        let words = token.iter().cloned().chain(times);
        words.collect::<Vec<_>>().join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

impl StoredSeenTimes {
    pub(super) fn new(table: Arc<DynamoTable>, keep_secs: i64) -> Self {
        Self {
            table,
            keep_secs,
            written: Mutex::default(),
        }
    }

    pub(super) async fn times(&self, keys: &[SharedStr]) -> Result<Vec<SeenTimes>, StateError> {
        let distinct: HashSet<&str> = keys.iter().map(|key| item_of(key).0).collect();
        let asked = distinct.iter().map(|item| keys::seen(item)).collect();
        let items = self.table.get(asked, None).await?;
        let mut known: HashMap<&str, TimesByToken> = HashMap::new();
        for item in distinct {
            let times = items.get(&keys::seen(item)).map(times_of);
            known.insert(item, times.unwrap_or_default());
        }
        let times = keys.iter().map(|key| {
            let (item, token) = item_of(key);
            let token = token.map(str::to_owned);
            known.get(item).and_then(|times| times.get(&token)).cloned()
        });
        Ok(times.map(Option::unwrap_or_default).collect())
    }

    pub(super) async fn put(
        &self,
        times: Vec<Sighting>,
        lookback: LookbackPeriods,
    ) -> Result<(), StateError> {
        let new = self.missing(times, lookback);
        let mut tries = self.table.tries();
        // What failed is read again, with what another writer has stored in the meantime.
        while !new.is_empty() && !self.write_outstanding(&new, lookback, &mut tries).await? {
            tries.wait().await;
        }
        self.remember(new, lookback);
        Ok(())
    }

    /// Writes what is missing in the table; returns whether all of it was written.
    async fn write_outstanding(
        &self,
        new: &TimesOf,
        lookback: LookbackPeriods,
        tries: &mut FailedAttempts,
    ) -> Result<bool, StateError> {
        let mut is_done = true;
        // In transactions only for their conditions: batch writes take none.
        let outstanding = self.outstanding(new, lookback).await?;
        for writes in chunks(outstanding) {
            if let Err(error) = self.table.transact(writes).await {
                is_done = false;
                let why = FailedCall::of(&error);
                // Canceled: another writer changed one of the items after it was read here. The
                // next read shows the change.
                let retry =
                    why.retry || why.code.as_deref() == Some("TransactionCanceledException");
                if !retry || !tries.again() {
                    return Err(self.table.failed("TransactWriteItems", &why));
                }
            }
        }
        Ok(is_done)
    }

    /// The writes that are still needed so that every key has its times, with their bytes.
    async fn outstanding(
        &self,
        new: &TimesOf,
        lookback: LookbackPeriods,
    ) -> Result<Vec<(TransactWriteItem, usize)>, StateError> {
        let mut by_item: BTreeMap<&str, Vec<(&SharedStr, &Vec<EventTime>)>> = BTreeMap::new();
        for (key, times) in new {
            by_item
                .entry(item_of(key).0)
                .or_default()
                .push((key, times));
        }
        let asked = by_item.keys().map(|item| keys::seen(item)).collect();
        let items = self.table.get(asked, None).await?;
        let writes = by_item.into_iter().filter_map(|(key, times)| {
            let item = items.get(&keys::seen(key));
            let before = item.and_then(|item| text_of(item, TIMES));
            let after = with_times(item, &times, lookback);
            // Most keys have their times already: a principal reads the same secret all day.
            let write = (before != Some(&*after)).then(|| self.on_condition(key, before, &after));
            Some((write.flatten()?, key.len() + after.len()))
        });
        Ok(writes.collect())
    }

    /// A write that succeeds only if the item has not changed since it was read.
    fn on_condition(
        &self,
        key: &str,
        before: Option<&str>,
        after: &str,
    ) -> Option<TransactWriteItem> {
        let mut item = keys::seen(key).attributes();
        item.extend([
            ("key".to_owned(), text(key)),
            (TIMES.to_owned(), text(after)),
            self.table.expiry(self.keep_secs),
        ]);
        let put = Put::builder()
            .table_name(self.table.name())
            .set_item(Some(item));
        let put = match before {
            None => put.condition_expression("attribute_not_exists(pk)"),
            // The times serve as the version: equal times are an equal item.
            Some(before) => put
                .condition_expression("#times = :before")
                .expression_attribute_names("#times", TIMES)
                .expression_attribute_values(":before", text(before)),
        };
        Some(TransactWriteItem::builder().put(put.build().ok()?).build())
    }

    fn written(&self) -> MutexGuard<'_, HashMap<(SharedStr, i64), EventTime>> {
        // The map is usable even after a panic.
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The times that this process does not know to be stored. An earlier time in a known grain is
    /// missing: it becomes the first of the grain.
    fn missing(&self, times: Vec<Sighting>, lookback: LookbackPeriods) -> TimesOf {
        let written = self.written();
        let mut missing = TimesOf::new();
        for Sighting { key, time } in times {
            let grain = grain(time, lookback);
            let place = (key, grain);
            if written.get(&place).is_none_or(|first| *first > time) {
                missing.entry(place.0).or_default().push(time);
            }
        }
        missing
    }

    /// Notes that times are stored.
    fn remember(&self, times: TimesOf, lookback: LookbackPeriods) {
        let mut written = self.written();
        if written.len() > REMEMBERED {
            written.clear();
        }
        for (key, times) in times {
            for time in times {
                let first = written
                    .entry((key.clone(), grain(time, lookback)))
                    .or_insert(time);
                *first = (*first).min(time);
            }
        }
    }
}

/// Writes in transactions that DynamoDB takes.
fn chunks(writes: Vec<(TransactWriteItem, usize)>) -> Vec<Vec<TransactWriteItem>> {
    let mut chunks: Vec<Vec<TransactWriteItem>> = Vec::new();
    let mut room = 0;
    for (write, bytes) in writes {
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < TOGETHER && bytes <= room => {
                room -= bytes;
                chunk.push(write);
            }
            _ => {
                room = BYTES_TOGETHER.saturating_sub(bytes);
                chunks.push(vec![write]);
            }
        }
    }
    chunks
}

/// The times of an item, if there is one, merged with these, as they are stored.
fn with_times(
    item: Option<&Attributes>,
    times: &[(&SharedStr, &Vec<EventTime>)],
    lookback: LookbackPeriods,
) -> String {
    let mut all = item.map(times_of).unwrap_or_default();
    for (key, times) in times {
        let token = item_of(key).1.map(str::to_owned);
        let known = all.entry(token).or_default();
        times
            .iter()
            .for_each(|time| known.add(*time, lookback.grain_secs()));
        known.keep(grains_kept());
    }
    stored(&all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamodb::table::tests::uncalled;

    /// Grains of ten seconds.
    const LOOKBACK: LookbackPeriods = LookbackPeriods {
        lookback_secs: 900,
        warm_up_secs: 0,
    };

    fn item(times: &str) -> Attributes {
        HashMap::from([(TIMES.to_owned(), text(times))])
    }

    fn at(secs: &[i64]) -> Vec<EventTime> {
        secs.iter().copied().map(EventTime).collect()
    }

    #[test]
    fn stored_times_are_read_back() {
        let all = times_of(&item("-5 7 12"));
        assert!(all[&None].iter().eq(at(&[-5, 7, 12])));
        assert_eq!(stored(&all), "-5 7 12");
        assert_eq!(times_of(&item("")), TimesByToken::new());
        let profile = "c7 5\nkpublic 7 12\ns3 -1";
        assert_eq!(stored(&times_of(&item(profile))), profile);
    }

    #[test]
    fn of_each_grain_the_first_time_is_kept_in_any_order() {
        let grain = LOOKBACK.grain_secs();
        let (first, later, next) = (grain, grain + 1, 2 * grain);
        let expected = format!("{first} {next}");
        let item = item(&later.to_string());
        let key: SharedStr = "k".into();
        for times in [at(&[first, next]), at(&[next, later, first])] {
            assert_eq!(
                with_times(Some(&item), &[(&key, &times)], LOOKBACK),
                expected
            );
        }
        assert_eq!(
            with_times(None, &[(&key, &at(&[next, first, later]))], LOOKBACK),
            expected
        );
    }

    #[test]
    fn the_keys_of_a_profile_are_one_item_of_a_bounded_size() {
        let (client, secret): (SharedStr, SharedStr) =
            ("profile\np\tc7".into(), "profile\np\ts3".into());
        assert_eq!(item_of(&client).0, item_of(&secret).0);
        let grain = LOOKBACK.grain_secs();
        let old = item("c7 5");
        let (later, secrets) = (at(&[6, grain]), at(&[grain]));
        let written = with_times(
            Some(&old),
            &[(&client, &later), (&secret, &secrets)],
            LOOKBACK,
        );
        assert_eq!(written, format!("c7 5 {grain}\ns3 {grain}"));
        let many: Vec<EventTime> = (0..1_000).map(|n| EventTime(n * grain)).collect();
        let written = with_times(None, &[(&client, &many)], LOOKBACK);
        assert_eq!(written.split(' ').count(), 2 + grains_kept());
    }

    #[test]
    fn a_transaction_has_few_items_and_few_bytes() {
        let sizes = |sizes: &[usize]| -> Vec<usize> {
            let writes = sizes
                .iter()
                .map(|bytes| (TransactWriteItem::builder().build(), *bytes));
            chunks(writes.collect()).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[10; 250]), [100, 100, 50]);
        let large = BYTES_TOGETHER / 3;
        assert_eq!(sizes(&[large; 7]), [3, 3, 1]);
        assert_eq!(sizes(&[1, BYTES_TOGETHER + 1, 1]), [1, 1, 1]);
    }

    #[test]
    fn only_times_that_change_the_item_are_missing() {
        let seen = StoredSeenTimes::new(Arc::new(uncalled()), 60);
        let key: SharedStr = "k".into();
        let grain = LOOKBACK.grain_secs();
        seen.remember(TimesOf::from([(key.clone(), at(&[grain + 5]))]), LOOKBACK);
        let asked = [grain + 6, grain + 5, grain + 4, 0];
        let asked = asked.map(|time| Sighting {
            key: key.clone(),
            time: EventTime(time),
        });
        let missing = seen.missing(asked.into(), LOOKBACK);
        assert_eq!(missing, TimesOf::from([(key, at(&[grain + 4, 0]))]));
    }

    #[test]
    fn a_write_holds_only_if_the_item_is_as_it_was_read() {
        let seen = StoredSeenTimes::new(Arc::new(uncalled()), 60);
        let condition = |before| {
            let write = seen.on_condition("k", before, "1 2").unwrap();
            write.put.unwrap().condition_expression.unwrap()
        };
        assert_eq!(condition(None), "attribute_not_exists(pk)");
        assert_eq!(condition(Some("1")), "#times = :before");
    }
}
