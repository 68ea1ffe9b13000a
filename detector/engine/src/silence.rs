//! Silence: an account and region without log files for longer than it ever was before.
//!
//! Each is judged against its own pauses: a busy region delivers in every hour, an office account
//! pauses each night and each weekend. What has never delivered is not judged.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use crate::{
    alert::{Alert, AlertId},
    digest::digest,
    ids::SharedStr,
    rule_meta::{RuleLevel, RuleMeta, texts},
    time::EventTime,
};

/// Id of what the alerts are raised by.
const SILENT: &str = "logs-silent";

/// Length in seconds of the periods in which deliveries are remembered.
const HOUR_SECS: i64 = 3_600;

/// Hours that are remembered: a week and the weekend before it.
const HOURS: u32 = 256;

/// Hours between the first delivery that is remembered and the last, below which the pauses of a
/// place are not known.
const KNOWN_HOURS: i64 = 24;

/// Hours with deliveries below which they are not known either.
const ENOUGH_HOURS: usize = 12;

/// Shortest silence in hours. CloudTrail delivers about every five minutes, and was hours late.
const SHORTEST_HOURS: i64 = 3;

/// The hours in which log files of an account and region were delivered, up to ten days before the
/// last. Stored as `LAST:BITS`: hours since 1970 in UTC, and in hexadecimal digits the hours before
/// the last and itself, the last as the lowest bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryHours {
    last: i64,
    /// The last hour is the lowest bit of the first word.
    bits: [u64; 4],
}

/// An account and region, and the hours in which it delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveringPlace {
    /// Account id.
    pub account: SharedStr,
    /// Region, e.g. `eu-west-1`.
    pub region: SharedStr,
    /// When it delivered.
    pub hours: DeliveryHours,
}

/// Why a stored text is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hours of deliveries are not `LAST:BITS`")]
pub struct NotHours;

impl DeliveryHours {
    /// The hour of a delivery.
    #[must_use]
    pub fn at(time: EventTime) -> Self {
        Self {
            last: time.0.div_euclid(HOUR_SECS),
            bits: [1, 0, 0, 0],
        }
    }

    /// The hours of both. Neither the order nor repetition changes the result.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        let (later, earlier) = if self.last >= other.last {
            (self, other)
        } else {
            (other, self)
        };
        let mut bits = later.bits;
        let age = later.last.saturating_sub(earlier.last);
        for hours_before in earlier.before_last() {
            let before = age.saturating_add(hours_before.into());
            if let Some(word) = word_of(before, &mut bits) {
                *word |= 1 << (before % 64);
            }
        }
        Self {
            last: later.last,
            bits,
        }
    }

    /// Whether all hours of another are among these, or too old for them.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.with(other) == self
    }

    /// How many hours before the last each is, the last first.
    fn before_last(self) -> impl Iterator<Item = u32> {
        (0..HOURS).filter(move |hour| {
            let word = self.bits.get(*hour as usize / 64);
            word.is_some_and(|word| word >> (hour % 64) & 1 == 1)
        })
    }

    /// The longest pause in hours from one delivery to the next; `None` when too little is known.
    fn longest_pause(self) -> Option<i64> {
        let hours: Vec<u32> = self.before_last().collect();
        let known = i64::from(*hours.last()?);
        if known < KNOWN_HOURS || hours.len() < ENOUGH_HOURS {
            return None;
        }
        let next = hours.iter().skip(1);
        let pauses = hours
            .iter()
            .zip(next)
            .map(|(later, earlier)| earlier - later);
        pauses.max().map(i64::from)
    }

    /// Since when nothing was delivered: the end of the last hour, if it is silent at `now`.
    #[must_use]
    pub fn silent_since(self, now: EventTime) -> Option<EventTime> {
        let longest = self.longest_pause()?;
        // Half as long again as ever before.
        let long = (longest + longest / 2).max(SHORTEST_HOURS);
        let pause = now.0.div_euclid(HOUR_SECS).saturating_sub(self.last);
        (pause > long).then(|| self.end())
    }

    /// The end of the last hour.
    fn end(self) -> EventTime {
        EventTime(self.last.saturating_add(1).saturating_mul(HOUR_SECS))
    }
}

/// The word with the bit of the hour that is so many before the last.
fn word_of(before: i64, bits: &mut [u64; 4]) -> Option<&mut u64> {
    usize::try_from(before / 64)
        .ok()
        .and_then(|word| bits.get_mut(word))
}

impl fmt::Display for DeliveryHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.bits;
        write!(f, "{}:{d:016x}{c:016x}{b:016x}{a:016x}", self.last)
    }
}

impl FromStr for DeliveryHours {
    type Err = NotHours;

    fn from_str(text: &str) -> Result<Self, NotHours> {
        let (last, digits) = text.split_once(':').ok_or(NotHours)?;
        let word = |from: usize| {
            let digits = digits.get(from..from + 16).ok_or(NotHours)?;
            u64::from_str_radix(digits, 16).map_err(|_| NotHours)
        };
        let is_whole = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_whole {
            return Err(NotHours);
        }
        Ok(Self {
            last: last.parse().map_err(|_| NotHours)?,
            bits: [word(48)?, word(32)?, word(16)?, word(0)?],
        })
    }
}

/// Places that deliver, from any number of deliveries in any order; memory does not grow with them.
#[derive(Debug, Default)]
pub struct DeliveringPlaces(BTreeMap<(SharedStr, SharedStr), DeliveryHours>);

impl DeliveringPlaces {
    /// Adds a delivery of an account and region.
    pub fn add(&mut self, account: &str, region: &str, time: EventTime) {
        self.with((account.into(), region.into()), DeliveryHours::at(time));
    }

    /// Adds all deliveries of others.
    pub fn append(&mut self, others: Self) {
        for (place, hours) in others.0 {
            self.with(place, hours);
        }
    }

    fn with(&mut self, place: (SharedStr, SharedStr), hours: DeliveryHours) {
        let known = self.0.entry(place).or_insert(hours);
        *known = known.with(hours);
    }

    /// The alerts about those that are silent, see [`silences`].
    #[must_use]
    pub fn silences(self) -> Vec<Alert> {
        let places = self.0.into_iter();
        let places = places.map(|((account, region), hours)| DeliveringPlace {
            account,
            region,
            hours,
        });
        silences(&places.collect::<Vec<_>>())
    }
}

/// Whether an alert is one of [`silences`].
#[must_use]
pub fn is_silence(alert: &Alert) -> bool {
    alert.rule.id == SILENT
}

/// The alerts about places that are silent, beside others that are not: measured against the latest
/// delivery of all, so that a backlog or a stop of everything is no silence of each. An alert is
/// the same until the place delivers again.
#[must_use]
pub fn silences(places: &[DeliveringPlace]) -> Vec<Alert> {
    let latest = places.iter().map(|place| place.hours.last).max();
    let Some(latest) = latest else {
        return Vec::new();
    };
    let now = EventTime(latest.saturating_mul(HOUR_SECS));
    let rule = Arc::new(rule());
    let silent = places
        .iter()
        .filter_map(|place| Some((place, place.hours.silent_since(now)?)));
    let mut alerts: Vec<Alert> = silent
        .map(|(place, since)| alert(&rule, place, since))
        .collect();
    alerts.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
    alerts
}

fn alert(rule: &Arc<RuleMeta>, place: &DeliveringPlace, since: EventTime) -> Alert {
    let DeliveringPlace {
        account, region, ..
    } = place;
    let id = digest(&["silence", account, region, &since.to_string()]);
    let summary = format!("No logs from {account} in {region} since {since}");
    let id = AlertId(id.into());
    Alert::of_log(id, rule.clone(), since, summary, (account, region))
}

/// What the alert says of itself, as rules do: it is about what is not in the logs, so that no rule
/// can raise it.
fn rule() -> RuleMeta {
    RuleMeta {
        id: SILENT.to_owned(),
        title: "No Logs From An Account And Region".to_owned(),
        level: RuleLevel::High,
        tags: texts(&["attack.defense-evasion", "attack.t1562.008"]),
        description: "Detects an account and region whose log files stay away for half as long \
            again as ever in the last ten days, while others arrive. Secretrail cannot detect what \
            is not logged."
            .to_owned(),
        false_positives: texts(&[
            "An account that was closed, or a region that is no longer used",
            "A delay of CloudTrail",
        ]),
        next_steps: texts(&[
            "Check in the account that the trail logs, and covers this region",
            "Look for StopLogging, DeleteTrail, PutEventSelectors and changes of the bucket policy",
            "List the files of the account and region: `secretrail gaps`",
        ]),
        ..RuleMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const START: i64 = 492_000;

    fn hours(of: impl IntoIterator<Item = i64>) -> DeliveryHours {
        let each = of.into_iter();
        let each = each.map(|hour| DeliveryHours::at(EventTime((START + hour) * HOUR_SECS + 7)));
        each.reduce(DeliveryHours::with).unwrap()
    }

    fn is_silent(known: DeliveryHours, hour: i64) -> bool {
        let now = EventTime((START + hour) * HOUR_SECS);
        known.silent_since(now).is_some()
    }

    #[test]
    fn a_busy_place_is_silent_after_hours() {
        let busy = hours(0..48);
        assert!(!is_silent(busy, 50) && is_silent(busy, 51));
        let since = busy.silent_since(EventTime((START + 51) * HOUR_SECS));
        assert_eq!(since, Some(EventTime((START + 48) * HOUR_SECS)));
    }

    #[test]
    fn an_office_is_silent_neither_at_night_nor_at_the_weekend() {
        let office = (0..14_i64).filter(|day| day % 7 < 5);
        let office = office.flat_map(|day| (9..18).map(move |hour| day * 24 + hour));
        let known = hours(office);
        // Two weekends have passed: the last Friday ended at 11 days and 18 hours.
        assert!(!is_silent(known, 14 * 24 + 9), "Monday morning");
        assert!(is_silent(known, 17 * 24), "Wednesday night");
    }

    #[test]
    fn what_is_not_known_is_not_judged() {
        assert!(!is_silent(hours([0]), 1_000));
        assert!(!is_silent(hours(0..20), 1_000), "not a day");
        assert!(!is_silent(hours([0, 10, 20, 30]), 1_000), "few files");
    }

    #[test]
    fn a_silence_is_one_alert_until_it_ends_and_a_stop_of_all_is_none() {
        let place = |region: &str, known| DeliveringPlace {
            account: "111122223333".into(),
            region: region.into(),
            hours: known,
        };
        let quiet = place("eu-west-1", hours(0..48));
        let found = |until| silences(&[quiet.clone(), place("us-east-1", hours(0..until))]);
        assert!(found(48).is_empty() && found(51).is_empty());
        let later = found(60);
        let [first] = later.as_slice() else {
            panic!("{later:?}")
        };
        let since = EventTime((START + 48) * HOUR_SECS);
        let expected = format!("No logs from 111122223333 in eu-west-1 since {since}");
        assert_eq!(first.summary, expected);
        assert_eq!(found(90), std::slice::from_ref(first));
        assert!(silences(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn hours_are_the_same_in_any_order_and_as_text(
            of in vec(0..600_i64, 1..30),
            turn in 0..30_usize,
        ) {
            let known = hours(of.clone());
            let mut again = of.clone();
            again.rotate_left(turn % of.len());
            again.push(*of.first().unwrap());
            prop_assert_eq!(hours(again), known);
            prop_assert_eq!(known.to_string().parse(), Ok(known));
            let last = *of.iter().max().unwrap();
            let kept: Vec<i64> = known.before_last().map(|b| last - i64::from(b)).collect();
            let mut expected: Vec<i64> =
                of.iter().copied().filter(|hour| last - hour < HOURS.into()).collect();
            expected.sort_unstable_by(|a, b| b.cmp(a));
            expected.dedup();
            prop_assert_eq!(kept, expected);
        }
    }

    #[test]
    fn places_are_judged_whatever_the_order_of_their_deliveries() {
        let delivered = |hours: &mut dyn Iterator<Item = i64>| {
            let mut places = DeliveringPlaces::default();
            for hour in hours {
                let time = EventTime((START + hour) * HOUR_SECS);
                places.add("111122223333", "us-east-1", time);
                if hour < 48 {
                    places.add("111122223333", "eu-west-1", time);
                }
            }
            places
        };
        let alerts = delivered(&mut (0..60)).silences();
        let [alert] = alerts.as_slice() else {
            panic!("{alerts:?}")
        };
        assert!(is_silence(alert) && alert.summary.contains("eu-west-1"));
        assert_eq!(delivered(&mut (0..60).rev()).silences(), alerts);
        let mut parts = delivered(&mut (30..60));
        parts.append(delivered(&mut (0..40)));
        assert_eq!(parts.silences(), alerts);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "1", "x:0", "1:zz", &format!("1:{}", "g".repeat(64))] {
            assert_eq!(text.parse::<DeliveryHours>(), Err(NotHours), "{text}");
        }
    }
}
