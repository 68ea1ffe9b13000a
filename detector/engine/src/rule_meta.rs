//! Descriptive data of a rule, for code that shows or stores alerts without evaluating rules.

use std::{fmt, str::FromStr};

use crate::parse_enum::parse_enum;

/// Severity of a rule's alerts: the levels of Sigma, from lowest to highest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleLevel {
    /// For information only.
    Informational,
    /// Worth a look in bulk.
    Low,
    /// Worth a look; also the level of rules without one.
    #[default]
    Medium,
    /// Investigate today.
    High,
    /// Investigate now.
    Critical,
}

impl RuleLevel {
    /// Every level, from lowest to highest.
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
        parse_enum(&Self::ALL, Self::as_str, text).ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}

/// Error: the text is not the name of a level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a level; use informational, low, medium, high or critical")]
pub struct UnknownLevel(String);

/// Seconds of a Sigma timespan such as `10m`; `None` when it is invalid or zero.
#[must_use]
pub fn timespan_secs(text: &str) -> Option<i64> {
    let parsed = rsigma_parser::Timespan::parse(text).ok()?;
    i64::try_from(parsed.seconds).ok().filter(|secs| *secs > 0)
}

/// Most characters of [`RuleMeta::gist`], unless the first sentence alone is longer.
const GIST: usize = 260;

/// Descriptive data of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleMeta {
    /// `id` of the rule; its name or title if it has none.
    pub id: String,
    /// `title` of the rule.
    pub title: String,
    /// `level`; [`RuleLevel::Medium`] if it is missing.
    pub level: RuleLevel,
    /// `tags`, e.g. `attack.t1555.006`.
    pub tags: Vec<String>,
    /// `description`; empty if it has none.
    pub description: String,
    /// `falsepositives`: known benign causes.
    pub false_positives: Vec<String>,
    /// `secretrail.next_steps`: what to check and to do, in this order.
    pub next_steps: Vec<String>,
    /// Whether it asks what was seen before (`seen.*`): its alerts are about something new.
    pub asks_for_seen: bool,
    /// `references`: links to sources.
    pub references: Vec<String>,
    /// The file that contains the rule.
    pub file: String,
}

impl RuleMeta {
    /// The first sentences of its description, on one line: what it detects, and why that matters.
    #[must_use]
    pub fn gist(&self) -> String {
        let words: Vec<&str> = self.description.split_whitespace().collect();
        let text = words.join(" ");
        let mut end = 0;
        for sentence in text.split_inclusive(". ") {
            if end > 0 && end + sentence.len() > GIST {
                break;
            }
            end += sentence.len();
        }
        text.get(..end).unwrap_or(&text).trim_end().to_owned()
    }

    /// The ATT&CK techniques among its tags as Sigma writes them, without their `t`: `1555.006`.
    pub fn techniques(&self) -> impl Iterator<Item = &str> {
        let tags = self.tags.iter();
        tags.filter_map(|tag| tag.strip_prefix("attack.t"))
    }
}

/// Texts of a built-in rule.
pub(crate) fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
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
    fn a_gist_is_of_whole_sentences_and_one_line() {
        let gist = |description: &str| {
            let description = description.to_owned();
            RuleMeta {
                description,
                ..RuleMeta::default()
            }
            .gist()
        };
        assert_eq!(gist("Detects a.\n  Or b.\n"), "Detects a. Or b.");
        let long = "x".repeat(300);
        assert_eq!(gist(&format!("{long}. More.")), format!("{long}."));
        assert_eq!(gist(&format!("First. {long}.")), "First.");
        assert_eq!(gist(""), "");
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
