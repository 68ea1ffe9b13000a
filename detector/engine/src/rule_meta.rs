//! What a rule says of itself, for whoever shows or stores its alerts and need not know how it is
//! evaluated.

use std::fmt;
use std::str::FromStr;

use crate::named::named;

/// How serious a rule's alerts are, in Sigma's words, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleLevel {
    /// For the record.
    Informational,
    /// Worth a look in bulk.
    Low,
    /// Worth a look; also the level of rules that name none.
    Medium,
    /// Look today.
    High,
    /// Look now.
    Critical,
}

impl RuleLevel {
    /// Every level, from the least to the most.
    pub const ALL: [Self; 5] = [
        Self::Informational,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::Critical,
    ];

    /// The name in rules and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for RuleLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RuleLevel {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        named(&Self::ALL, Self::as_str, text).ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}

/// A word that is the name of no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a level; use informational, low, medium, high or critical")]
pub struct UnknownLevel(String);

/// The seconds of a timespan as Sigma writes it, as in `10m`; `None` for anything else, and for
/// nothing.
#[must_use]
pub fn timespan_secs(text: &str) -> Option<i64> {
    let parsed = rsigma_parser::Timespan::parse(text).ok()?;
    i64::try_from(parsed.seconds).ok().filter(|secs| *secs > 0)
}

/// What a rule says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleMeta {
    /// `id`; the name or title where it has none.
    pub id: String,
    /// `title`.
    pub title: String,
    /// `level`.
    pub level: RuleLevel,
    /// `tags`.
    pub tags: Vec<String>,
    /// `falsepositives`.
    pub false_positives: Vec<String>,
    /// `references`.
    pub references: Vec<String>,
    /// File that it came from.
    pub file: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_in_order_and_are_read_by_their_names() {
        assert!(RuleLevel::ALL.is_sorted());
        for level in RuleLevel::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        let error = "High".parse::<RuleLevel>().unwrap_err().to_string();
        assert!(error.starts_with("`High` is not a level; use informational, "));
    }

    #[test]
    fn a_timespan_is_a_number_and_a_unit() {
        assert_eq!(timespan_secs("90s"), Some(90));
        assert_eq!(timespan_secs("2h"), Some(7_200));
        for wrong in ["", "0s", "10", "soon", "-1m"] {
            assert_eq!(timespan_secs(wrong), None, "{wrong}");
        }
    }
}
