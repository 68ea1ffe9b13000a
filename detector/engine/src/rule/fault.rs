//! What is wrong in a rule file: where it stands, and how to mend it.

use std::fmt;

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoadError {
    /// File it is in.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Key or field that is at fault.
    pub field: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}: {}",
            self.file, self.line, self.field, self.message
        )
    }
}

/// A rule file and its text.
///
/// The parser keeps no positions, so a fault is found again in the text, by words that stand near
/// it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RuleFileText<'a> {
    /// Name, as the caller gave it.
    pub(crate) file: &'a str,
    /// Content.
    pub(crate) text: &'a str,
    /// Which of the files it is. Names need not be different.
    pub(crate) index: usize,
}

impl RuleFileText<'_> {
    /// An error at the first line that holds `needle`, from the one that holds `from` on: files
    /// hold several rules, and the title tells which. At the line of `from` where nothing does.
    pub(super) fn error(
        &self,
        needle: &str,
        from: &str,
        field: &str,
        message: impl Into<String>,
    ) -> LoadError {
        let start = self.first_line_with(from, 0).unwrap_or(0);
        let line = self
            .first_line_with(needle, start)
            // Keys may stand in any order: the needle may come before the title.
            .or_else(|| self.first_line_with(needle, 0))
            .unwrap_or(start);
        LoadError {
            file: self.file.to_owned(),
            line: line + 1,
            field: field.to_owned(),
            message: message.into(),
        }
    }

    /// The first line, from 1, that holds a word, from the one that holds the title of its rule on;
    /// the line of the title where none does.
    pub(crate) fn line_below(&self, title: &str, word: &str) -> usize {
        let start = self.first_line_with(title, 0).unwrap_or(0);
        self.first_line_with(word, start).unwrap_or(start) + 1
    }

    /// The first line, from 0, that holds a word, from one on. Nothing holds the empty word.
    fn first_line_with(&self, word: &str, start: usize) -> Option<usize> {
        let mut lines = self.text.lines().enumerate().skip(start);
        lines
            .find(|(_, line)| !word.is_empty() && line.contains(word))
            .map(|(index, _)| index)
    }

    /// An error of the parser, at the line that it names or that holds the word it quotes.
    pub(super) fn parser_error(&self, text: &str) -> LoadError {
        let word = quoted(text);
        let unknown = text.rsplit(": ").next().unwrap_or_default();
        let FaultRemedy { field, how } = FaultRemedy::of(text, word);
        let found = self.error(word, unknown, field, format!("{text}; {how}"));
        LoadError {
            line: named_line(text).unwrap_or(found.line),
            ..found
        }
    }
}

/// The first word in quotes or backticks of a message, to find its line by.
pub(super) fn quoted(message: &str) -> &str {
    let mut parts = message.split(['`', '\'', '"']);
    parts.nth(1).unwrap_or_default()
}

/// The number of the line that a message of the parser names, as in `at line 3 column 5`.
fn named_line(message: &str) -> Option<usize> {
    let rest = message.split("line ").nth(1)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Where to look, and what to do, for an error of the parser, which says neither.
struct FaultRemedy<'m> {
    field: &'m str,
    how: &'static str,
}

impl<'m> FaultRemedy<'m> {
    /// The remedy for a message that quotes a word. The messages come from two crates and are not
    /// typed, so they are told apart by the words in them; the order of the arms matters.
    fn of(message: &str, word: &'m str) -> Self {
        let (field, how) = match message {
            m if m.contains("odifier") => (
                "detection",
                "the specification lists the modifiers (contains, startswith, re, cidr, exists …)",
            ),
            m if m.contains("orrelation") => (
                "correlation",
                "use type, rules, group-by, timespan and condition \
                 as in the Sigma correlation specification",
            ),
            m if m.contains("timespan") || m.contains("timeframe") => (
                "correlation.timespan",
                "write a number and s, m, h or d, as in `10m`",
            ),
            m if m.contains("ondition") => (
                "condition",
                "combine names of selections with and, or, not, `1 of x*`, `all of x*`",
            ),
            m if m.contains("issing required field") => (word, "add it"),
            m if m.contains("tab") || m.contains("YAML") => (
                "yaml",
                "indent with spaces, \
                 and quote text that holds `: ` or begins with a special character",
            ),
            _ => ("rule", "see the Sigma specification"),
        };
        Self { field, how }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_RULES: &str = "title: One\nlevel: low\n---\nlevel: high\ntitle: Two\nid: x\n";

    fn source(text: &str) -> RuleFileText<'_> {
        RuleFileText {
            file: "r.yml",
            text,
            index: 0,
        }
    }

    #[test]
    fn a_fault_is_looked_for_below_the_title_of_its_rule_first() {
        let line = |needle, from| source(TWO_RULES).error(needle, from, "f", "m").line;
        assert_eq!(line("level", "title: One"), 2);
        assert_eq!(line("id:", "title: Two"), 6);
        // Above the title, where nothing below it has the word.
        assert_eq!(line("level", "title: Two"), 2);
        assert_eq!(line("absent", "title: Two"), 5);
        assert_eq!(line("", ""), 1);
    }

    #[test]
    fn what_is_found_below_a_title_is_never_above_it() {
        assert_eq!(source(TWO_RULES).line_below("Two", "level"), 5);
        assert_eq!(source(TWO_RULES).line_below("One", "level"), 2);
    }

    #[test]
    fn an_error_of_the_parser_is_told_where_and_how() {
        let error = |text| source(TWO_RULES).parser_error(text).to_string();
        assert_eq!(
            error("YAML: bad indentation at line 5 column 1"),
            "r.yml:5: yaml: YAML: bad indentation at line 5 column 1; indent with spaces, \
             and quote text that holds `: ` or begins with a special character"
        );
        assert_eq!(
            error("Missing required field 'id'"),
            "r.yml:6: id: Missing required field 'id'; add it"
        );
    }
}
