//! Covered hours in an extract file: written one by one, held as stretches of hours in a row.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};

use crate::limits::EXTRACTED_STRETCHES;

/// How the error about too many stretches begins.
pub(super) const TOO_MANY: &str = "too many stretches of hours";

/// Hours, as first hours and numbers of hours: a file of some megabytes can list millions of hours,
/// and those of a year without a pause take one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HourStretches(Vec<(i64, i64)>);

impl HourStretches {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.0.iter().copied()
    }

    fn add(&mut self, hour: i64) {
        match self.0.last_mut() {
            Some((first, hours)) if first.checked_add(*hours) == Some(hour) => *hours += 1,
            _ => self.0.push((hour, 1)),
        }
    }
}

impl FromIterator<i64> for HourStretches {
    fn from_iter<I: IntoIterator<Item = i64>>(hours: I) -> Self {
        let mut stretches = Self::default();
        hours.into_iter().for_each(|hour| stretches.add(hour));
        stretches
    }
}

impl Serialize for HourStretches {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stretches = self.iter();
        let hours = stretches.flat_map(|(first, hours)| first..first.saturating_add(hours));
        serializer.collect_seq(hours)
    }
}

impl<'de> Deserialize<'de> for HourStretches {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(HoursVisitor)
    }
}

struct HoursVisitor;

impl<'de> Visitor<'de> for HoursVisitor {
    type Value = HourStretches;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of hours since 1970")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut hours: A) -> Result<Self::Value, A::Error> {
        let mut stretches = HourStretches::default();
        while let Some(hour) = hours.next_element()? {
            stretches.add(hour);
            // Here, and not only when the line was read: a line may hold a hundred million hours.
            if stretches.len() > EXTRACTED_STRETCHES {
                return Err(A::Error::custom(TOO_MANY));
            }
        }
        Ok(stretches)
    }
}
