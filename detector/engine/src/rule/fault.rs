//! What is wrong in a rule file: where it stands, and how to correct it.

use std::fmt;

use crate::sanitize;

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoadError {
    /// File name, as the caller gave it.
    pub file: String,
    /// Line of the file, from 1.
    pub line: usize,
    /// Title of the rule; `None` where it has none.
    pub rule: Option<String>,
    /// Key or field with the error, as a path: `detection.condition`.
    pub field: String,
    /// What is wrong and how to correct it; one line.
    pub message: String,
}

impl LoadError {
    /// The title of the rule, the field and the message, as one line.
    #[must_use]
    pub fn text(&self) -> String {
        let title = self.rule.as_ref().map(|title| format!("\"{title}\": "));
        let title = title.unwrap_or_default();
        sanitize::line(&format!("{title}{}: {}", self.field, self.message)).into_owned()
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text())
    }
}

/// A message as one line. Faults of regular expressions and of conditions are drawings of several
/// lines with a caret in them; what they say is kept, and the drawing is not.
fn one_line(text: &str) -> String {
    let text = text.trim_start_matches("Invalid correlation rule: ");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let [first, rest @ ..] = lines.as_slice() else {
        return String::new();
    };
    if rest.is_empty() {
        return (*first).to_owned();
    }
    let start = first.split(" at ").next().unwrap_or(first);
    let start = start
        .trim_end_matches("regex parse error:")
        .trim_end_matches(": ");
    let what = rest.iter().find_map(|line| {
        line.strip_prefix("error: ")
            .or_else(|| line.strip_prefix("= "))
    });
    let drawn = rest.iter().find_map(|line| {
        let is_drawing = line.is_empty() || line.chars().all(|c| " ^-|>:0123456789".contains(c));
        let line = line
            .split_once(" | ")
            .map_or(*line, |(_, condition)| condition);
        (!is_drawing && !line.starts_with("-->")).then_some(line)
    });
    match (what, drawn) {
        (Some(what), Some(drawn)) => format!("{start} `{drawn}`: {what}"),
        _ => lines.join(" "),
    }
}

/// The word that a message is about: in quotes or backticks, or what stands after its last colon.
pub(super) fn named_word(message: &str) -> &str {
    let quoted = message.split(['`', '\'', '"']).nth(1);
    let last = message.rsplit(": ").next().filter(|word| *word != message);
    quoted.or(last).unwrap_or_default()
}

/// The number of the line that a message of the parser names, as in `at line 3 column 5`.
fn named_line(message: &str) -> Option<usize> {
    let rest = message.split("line ").nth(1)?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// An error of the Sigma parser or compiler, with what its message lacks: where it belongs and what
/// to do about it.
pub(super) struct SigmaFault {
    /// Key or field with the error, as a path.
    pub(super) field: String,
    /// What is wrong and how to correct it, as one line.
    pub(super) message: String,
    /// A word to find the line by; empty where the message has none.
    pub(super) word: String,
    /// The line that the message names, from 1.
    pub(super) line: Option<usize>,
}

impl SigmaFault {
    /// Reads a message. `default` is the field where the message names none.
    pub(super) fn read(text: &str, default: &str) -> Self {
        let text = one_line(text);
        let word = named_word(&text);
        let (field, remedy) = Self::remedy(&text, word, default);
        Self {
            field: field.to_owned(),
            message: format!("{text}; {remedy}"),
            word: word.to_owned(),
            line: named_line(&text),
        }
    }

    /// The messages come from two crates and are not typed, so they are distinguished by the words
    /// in them; the order of the arms matters.
    fn remedy<'a>(message: &str, word: &'a str, default: &'a str) -> (&'a str, &'static str) {
        match message {
            m if m.contains("not a YAML mapping") => {
                ("rule", "write `title:`, `logsource:` and `detection:`")
            }
            m if m.contains("are nested more than") || m.contains("its aliases") => {
                ("yaml", "the rule was not read")
            }
            m if m.contains("YAML") => (
                "yaml",
                "indent with spaces, \
                 and quote text that holds `: ` or begins with a special character",
            ),
            m if m.contains("odifier") => (
                "detection",
                "the specification lists the modifiers (contains, startswith, re, cidr, exists …)",
            ),
            m if m.contains("issing required field") => match word {
                "condition" => ("detection.condition", CONDITION),
                "timespan" => ("correlation.timespan", TIMESPAN),
                _ => (word, "add it"),
            },
            m if m.contains("nvalid level") => {
                ("level", "use informational, low, medium, high or critical")
            }
            m if m.contains("nvalid status") => (
                "status",
                "use stable, test, experimental, deprecated or unsupported",
            ),
            m if m.contains("nvalid logsource") => {
                ("logsource", "write `product`, `category` or `service`")
            }
            m if m.contains("timespan") || m.contains("timeframe") => {
                ("correlation.timespan", TIMESPAN)
            }
            m if m.contains("orrelation type") => (
                "correlation.type",
                "use event_count, value_count, temporal or temporal_ordered",
            ),
            m if m.contains("orrelation") => (
                "correlation",
                "use type, rules, group-by, timespan and condition \
                 as in the Sigma correlation specification",
            ),
            m if m.contains("egex") => (
                "detection",
                "write a regular expression as RE2 and Rust know it, without look-around",
            ),
            m if m.contains("CIDR") => ("detection", "write a network as in `10.0.0.0/8`"),
            m if m.contains("ondition") || m.contains("detection identifier") => {
                ("detection.condition", CONDITION)
            }
            m if m.contains("etection") => (
                "detection",
                "write a mapping of named selections with a `condition`",
            ),
            _ => (default, "see the Sigma specification"),
        }
    }
}

const CONDITION: &str = "combine names of selections with and, or, not, `1 of x*`, `all of x*`";
const TIMESPAN: &str = "write a number and s, m, h or d, as in `10m`";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, String) {
        let SigmaFault { field, message, .. } = SigmaFault::read(text, "rule");
        (field, message)
    }

    fn check(text: &str, field: &str, message: &str) {
        assert_eq!(read(text), (field.to_owned(), message.to_owned()));
    }

    #[test]
    fn an_error_of_the_parser_gets_a_field_and_a_remedy() {
        let yaml = "YAML: bad indentation at line 5 column 1";
        check(
            yaml,
            "yaml",
            "YAML: bad indentation at line 5 column 1; indent with spaces, \
             and quote text that holds `: ` or begins with a special character",
        );
        assert_eq!(SigmaFault::read(yaml, "rule").line, Some(5));
        check(
            "Missing required field 'author'",
            "author",
            "Missing required field 'author'; add it",
        );
        check(
            "Missing required field 'condition'",
            "detection.condition",
            &format!("Missing required field 'condition'; {CONDITION}"),
        );
        check(
            "never heard of",
            "rule",
            "never heard of; see the Sigma specification",
        );
    }

    #[test]
    fn drawings_of_several_lines_become_one_line() {
        check(
            "invalid regex pattern: regex parse error:\n    a(b\n     ^\nerror: unclosed group",
            "detection",
            "invalid regex pattern `a(b`: unclosed group; write a regular expression as RE2 and \
             Rust know it, without look-around",
        );
        check(
            "Condition parse error at 1:7:  --> 1:7\n  |\n1 | s and and\n  |       ^---\n  |\n  = \
             expected quantifier, ident, or not_op",
            "detection.condition",
            &format!(
                "Condition parse error `s and and`: expected quantifier, ident, or not_op; \
                 {CONDITION}"
            ),
        );
        assert_eq!(one_line("a\n  b\nc"), "a b c");
        assert_eq!(one_line(""), "");
    }

    #[test]
    fn a_title_cannot_write_to_the_terminal() {
        let error = LoadError {
            file: "r.yml".to_owned(),
            line: 1,
            rule: Some("a\u{1b}[2J".to_owned()),
            field: "f".to_owned(),
            message: "m".to_owned(),
        };
        assert!(!error.to_string().contains('\u{1b}'));
    }
}
