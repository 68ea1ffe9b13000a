//! Items of sightings (`seen.*`), for the function and for programs that look at the table without
//! the SDK: a stored format. One item holds the times of one key, or of the profile of a principal.

use std::{collections::BTreeMap, fmt};

use secretrail_engine::{
    limits::SEEN_GRAINS,
    seen::{LookbackPeriods, SeenTimes, item_of},
    time::EventTime,
};

/// The part of the keys that an item is about.
pub const KEY: &str = "key";
/// The times of an item: see [`StoredTimes`]. Equal times are an equal item, so that they serve as
/// its version.
pub const TIMES: &str = "times";

/// Sightings are kept for so many seconds longer than the lookback.
const KEPT_LONGER: i64 = 10 * 86_400;

/// How long an item is kept after it was written, in seconds.
#[must_use]
pub fn kept_secs(lookback: LookbackPeriods) -> i64 {
    lookback.lookback_secs.saturating_add(KEPT_LONGER)
}

/// Number of times kept under a key: those of the lookback, and as many again for late deliveries.
fn grains_kept() -> usize {
    usize::try_from(2 * SEEN_GRAINS).unwrap_or(usize::MAX)
}

/// The times of an item by token; those of an item for one key have none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredTimes(BTreeMap<Option<String>, SeenTimes>);

impl StoredTimes {
    /// Reads the times of an item: seconds since 1970, separated by spaces; in a profile, lines
    /// that begin with their token.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut all = Self::default();
        for line in text.lines() {
            let (token, times) = match line.split_once(' ') {
                Some((token, times)) if token.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                    (Some(token.to_owned()), times)
                }
                _ => (None, line),
            };
            let known = all.0.entry(token).or_default();
            // They were reduced to grains when they were written.
            let times = times.split(' ').filter_map(|time| time.parse().ok());
            times.for_each(|time| known.add(EventTime(time), 1));
        }
        all
    }

    /// The times of a key of this item; none if it is not known.
    #[must_use]
    pub fn of(&self, key: &str) -> SeenTimes {
        let token = item_of(key).1.map(str::to_owned);
        self.0.get(&token).cloned().unwrap_or_default()
    }

    /// Adds times of a key of this item: the earliest of each grain stay, in whatever order they
    /// are added, and however often.
    pub fn add(
        &mut self,
        key: &str,
        times: impl IntoIterator<Item = EventTime>,
        lookback: LookbackPeriods,
    ) {
        let token = item_of(key).1.map(str::to_owned);
        let known = self.0.entry(token).or_default();
        for time in times {
            known.add(time, lookback.grain_secs());
        }
        known.keep(grains_kept());
    }
}

impl fmt::Display for StoredTimes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (token, times)) in self.0.iter().enumerate() {
            let before = if index == 0 { "" } else { "\n" };
            let times = times.iter().map(|time| time.0.to_string());
            let words: Vec<String> = token.iter().cloned().chain(times).collect();
            write!(out, "{before}{}", words.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Grains of ten seconds.
    const LOOKBACK: LookbackPeriods = LookbackPeriods {
        lookback_secs: 900,
        warm_up_secs: 0,
    };

    fn at(secs: &[i64]) -> Vec<EventTime> {
        secs.iter().copied().map(EventTime).collect()
    }

    #[test]
    fn stored_times_are_read_back() {
        let all = StoredTimes::parse("-5 7 12");
        assert!(all.of("k").iter().eq(at(&[-5, 7, 12])));
        assert_eq!(all.to_string(), "-5 7 12");
        assert_eq!(StoredTimes::parse(""), StoredTimes::default());
        let profile = "c7 5\nkpublic 7 12\ns3 -1";
        assert_eq!(StoredTimes::parse(profile).to_string(), profile);
        let client = StoredTimes::parse(profile).of("profile\np\tc7");
        assert!(client.iter().eq(at(&[5])));
    }

    #[test]
    fn a_merge_is_the_same_in_any_order_and_number_and_keeps_the_first_time_of_a_grain() {
        let grain = LOOKBACK.grain_secs();
        let (first, later, next) = (grain, grain + 1, 2 * grain);
        let merged = |before: &str, added: &[&[i64]]| {
            let mut all = StoredTimes::parse(before);
            added
                .iter()
                .for_each(|times| all.add("k", at(times), LOOKBACK));
            all.to_string()
        };
        let expected = format!("{first} {next}");
        assert_eq!(merged("", &[&[first, later], &[next]]), expected);
        assert_eq!(merged("", &[&[next], &[later, first], &[first]]), expected);
        assert_eq!(merged(&later.to_string(), &[&[next, first]]), expected);
        assert_eq!(merged(&expected, &[&[later]]), expected);
    }

    #[test]
    fn items_are_of_a_bounded_size_and_outlast_the_lookback() {
        let grain = LOOKBACK.grain_secs();
        let many: Vec<EventTime> = (0..1_000).map(|n| EventTime(n * grain)).collect();
        let mut all = StoredTimes::default();
        all.add("k", many, LOOKBACK);
        assert_eq!(all.of("k").iter().count(), 1 + grains_kept());
        assert_eq!(all.of("k").first(), Some(EventTime(0)));
        assert!(kept_secs(LOOKBACK) > LOOKBACK.lookback_secs);
    }
}
