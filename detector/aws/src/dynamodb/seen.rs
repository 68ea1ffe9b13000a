//! Sightings: one item for each key, or for the profile of a principal, read before it is written,
//! and written on the condition that no other writer changed it in between. Each item is written,
//! and tried again, by itself: in a transaction, one that another writer changes would fail all.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use secretrail_engine::{
    ids::SharedStr,
    seen::{LookbackPeriods, SeenTimes, Sighting, item_of},
    state::StateError,
    time::EventTime,
};

use crate::{
    dynamodb::{
        item::{Attributes, text, text_of},
        keys,
        table::{AT_ONCE, ConditionalPut, DynamoTable, PutResult},
        written::REMEMBERED,
    },
    sightings::{KEY, StoredTimes, TIMES},
};

/// Event times by key.
type TimesOf = HashMap<SharedStr, Vec<EventTime>>;

/// Sightings in the table.
pub(super) struct StoredSeenTimes {
    table: Arc<DynamoTable>,
    keep_secs: i64,
    /// First times that are known to be stored, by key and grain of the lookback.
    written: Mutex<HashMap<(SharedStr, i64), EventTime>>,
}

/// The grain of the lookback that a time is in: only the first time in each grain is kept.
fn grain(time: EventTime, lookback: LookbackPeriods) -> i64 {
    time.0.div_euclid(lookback.grain_secs())
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
        let mut known: HashMap<&str, StoredTimes> = HashMap::new();
        for item in distinct {
            let times = items.get(&keys::seen(item)).map(times_of);
            known.insert(item, times.unwrap_or_default());
        }
        let times = keys.iter().map(|key| {
            let times = known.get(item_of(key).0);
            times.map(|times| times.of(key))
        });
        Ok(times.map(Option::unwrap_or_default).collect())
    }

    pub(super) async fn put(
        &self,
        times: Vec<Sighting>,
        lookback: LookbackPeriods,
    ) -> Result<(), StateError> {
        let new = self.missing(times, lookback);
        let by_item = by_item(&new);
        let asked = by_item.keys().map(|item| keys::seen(item)).collect();
        let mut items = self.table.get(asked, None).await?;
        let writes = by_item.into_iter().map(|(key, times)| NewTimes {
            item: items.remove(&keys::seen(&key)),
            key,
            times,
        });
        let writes: Vec<NewTimes> = writes.collect();
        stream::iter(writes)
            .map(|new| self.write(new, lookback))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        self.remember(new, lookback);
        Ok(())
    }

    /// Adds times to an item, however many others do.
    async fn write(&self, mut new: NewTimes, lookback: LookbackPeriods) -> Result<(), StateError> {
        let mut tries = self.table.tries();
        while let Some(put) = self.outstanding(&new, lookback) {
            match self.table.put_if(&put).await? {
                PutResult::Written => break,
                // With what another writer has stored in the meantime.
                PutResult::Kept(item) => new.item = item,
            }
            if !tries.again() {
                return Err(self.table.contended(&keys::seen(&new.key)));
            }
            tries.wait().await;
        }
        Ok(())
    }

    /// The write that is still needed so that an item has its times. Most have them already: a
    /// principal reads the same secret all day.
    fn outstanding(
        &self,
        new: &NewTimes,
        lookback: LookbackPeriods,
    ) -> Option<ConditionalPut<'static>> {
        let before = new.item.as_ref().and_then(|item| text_of(item, TIMES));
        let after = with_times(new.item.as_ref(), &new.times, lookback);
        if before == Some(&*after) {
            return None;
        }
        let mut item = keys::seen(&new.key).attributes();
        item.extend([
            (KEY.to_owned(), text(&new.key)),
            (TIMES.to_owned(), text(&after)),
            self.table.expiry(self.keep_secs),
        ]);
        // The times serve as the version: equal times are an equal item.
        let version = before.map(|before| (TIMES, text(before)));
        Some(ConditionalPut { item, version })
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

/// Times that an item lacks, and the item as it was read; `None` when there was none.
struct NewTimes {
    key: String,
    times: Vec<(SharedStr, Vec<EventTime>)>,
    item: Option<Attributes>,
}

/// Keys and their times, by item.
fn by_item(new: &TimesOf) -> BTreeMap<String, Vec<(SharedStr, Vec<EventTime>)>> {
    let mut by_item: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for (key, times) in new {
        let keys = by_item.entry(item_of(key).0.to_owned()).or_default();
        keys.push((key.clone(), times.clone()));
    }
    by_item
}

fn times_of(item: &Attributes) -> StoredTimes {
    StoredTimes::parse(text_of(item, TIMES).unwrap_or_default())
}

/// The times of an item, if there is one, merged with these, as they are stored.
fn with_times(
    item: Option<&Attributes>,
    times: &[(SharedStr, Vec<EventTime>)],
    lookback: LookbackPeriods,
) -> String {
    let mut all = item.map(times_of).unwrap_or_default();
    for (key, times) in times {
        all.add(key, times.iter().copied(), lookback);
    }
    all.to_string()
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
    fn of_each_grain_the_first_time_is_kept_in_any_order() {
        let grain = LOOKBACK.grain_secs();
        let (first, later, next) = (grain, grain + 1, 2 * grain);
        let expected = format!("{first} {next}");
        let item = item(&later.to_string());
        let key: SharedStr = "k".into();
        for times in [at(&[first, next]), at(&[next, later, first])] {
            assert_eq!(
                with_times(Some(&item), &[(key.clone(), times)], LOOKBACK),
                expected
            );
        }
        assert_eq!(
            with_times(None, &[(key, at(&[next, first, later]))], LOOKBACK),
            expected
        );
    }

    #[test]
    fn the_keys_of_a_profile_are_one_item() {
        let (client, secret): (SharedStr, SharedStr) =
            ("profile\np\tc7".into(), "profile\np\ts3".into());
        assert_eq!(item_of(&client).0, item_of(&secret).0);
        let grain = LOOKBACK.grain_secs();
        let old = item("c7 5");
        let (later, secrets) = (at(&[6, grain]), at(&[grain]));
        let written = with_times(
            Some(&old),
            &[(client.clone(), later), (secret, secrets)],
            LOOKBACK,
        );
        assert_eq!(written, format!("c7 5 {grain}\ns3 {grain}"));
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
        let grain = LOOKBACK.grain_secs();
        let new = TimesOf::from([("k".into(), at(&[grain]))]);
        let put = |item: Option<Attributes>| {
            let (key, times) = by_item(&new).into_iter().next().unwrap();
            seen.outstanding(&NewTimes { key, times, item }, LOOKBACK)
        };
        let first = put(None).unwrap();
        assert_eq!(first.version, None);
        assert_eq!(text_of(&first.item, TIMES), Some(&*grain.to_string()));
        let later = put(Some(item("1"))).unwrap();
        assert_eq!(later.version, Some((TIMES, text("1"))));
        let both = format!("1 {grain}");
        assert_eq!(text_of(&later.item, TIMES), Some(&*both));
        assert!(put(Some(item(&both))).is_none(), "nothing is missing");
    }
}
