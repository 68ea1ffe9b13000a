//! The text of `explain`: the alert, its records, and where to look next.

use std::{collections::BTreeSet, fmt::Write as _, path::PathBuf};

use secretrail_engine::{
    alert::{Alert, text},
    sanitize,
};
use serde_json::Value;

use super::records::RawRecord;

/// Seconds before and after an alert in which to search for records and to look next.
pub(super) const AROUND: i64 = 3_600;

/// An alert with its evidence from these logs.
pub(super) fn explained(alert: &Alert, logs: &[PathBuf], records: &[RawRecord]) -> String {
    let mut text = text::body(alert);
    writeln!(text, "rule file  {}", sanitize::line(&alert.rule.file)).ok();
    text.push_str("\nrecords:\n");
    for record in records {
        push_record(record, &mut text);
    }
    if logs.is_empty() {
        push_places(alert, &mut text);
    } else if records.is_empty() {
        text.push_str("  none found by their event ids\n");
    }
    push_next(alert, logs, &mut text);
    text
}

fn push_record(record: &RawRecord, text: &mut String) {
    writeln!(text, "  {}", sanitize::line(&record.object)).ok();
    let pretty = serde_json::from_str::<Value>(&record.json)
        .map_or_else(|_| record.json.clone(), |value| format!("{value:#}"));
    // Sanitised line by line: a record may hold terminal escapes.
    for line in pretty.lines() {
        writeln!(text, "    {}", sanitize::line(line)).ok();
    }
}

/// The objects that hold the records, if no logs are given.
fn push_places(alert: &Alert, text: &mut String) {
    for access in &alert.accesses {
        let event = sanitize::line(&access.head.event_id);
        let object = sanitize::line(&access.head.object);
        writeln!(text, "  event {event} in {object}").ok();
    }
    text.push_str("  name the logs beside the alerts to see them\n");
}

/// Commands for the next steps, ready to paste into a shell.
fn push_next(alert: &Alert, logs: &[PathBuf], text: &mut String) {
    let paths: Vec<String> = logs
        .iter()
        .map(|path| quoted(&path.to_string_lossy()))
        .collect();
    let paths = if paths.is_empty() {
        "LOGS".to_owned()
    } else {
        paths.join(" ")
    };
    let (from, to) = (alert.time.plus(-AROUND), alert.time.plus(AROUND));
    text.push_str("\nlook next:\n");
    for AnalystHint { why, option, value } in clues(alert) {
        let value = quoted(value);
        writeln!(
            text,
            "  # {why}\n  secretrail accesses {paths} {option} {value} --from {from} --to {to}"
        )
        .ok();
    }
}

/// A suggested command.
#[derive(Debug, PartialEq, Eq)]
struct AnalystHint<'a> {
    /// What it shows.
    why: &'static str,
    /// The option of `accesses` to use.
    option: &'static str,
    /// The value of the option.
    value: &'a str,
}

/// Suggestions for each property of which the alert has exactly one value.
fn clues(alert: &Alert) -> Vec<AnalystHint<'_>> {
    let heads = alert.accesses.iter().map(|access| &access.head);
    let key = only(heads.clone().filter_map(|h| h.access_key_id.as_deref()));
    let source = only(heads.filter_map(|h| h.source.ip.as_deref()));
    // The list is limited: a single entry need not be the only secret.
    let secret =
        only(alert.secrets.iter().map(|secret| &**secret)).filter(|_| alert.secrets_total == 1);
    let all = [
        (
            "all accesses by this principal around that time",
            "--principal",
            alert.principal.as_deref(),
        ),
        ("all accesses with this access key", "--access-key", key),
        ("all accesses from this source", "--source", source),
        ("all accesses to this secret", "--secret", secret),
    ];
    all.into_iter()
        .filter_map(|(why, option, value)| value.map(|value| AnalystHint { why, option, value }))
        .collect()
}

/// The value, if all are equal.
fn only<'a>(values: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let values: BTreeSet<&str> = values.collect();
    values.first().filter(|_| values.len() == 1).copied()
}

/// The text quoted for a shell, if necessary.
fn quoted(text: &str) -> String {
    let text = sanitize::line(text);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.into_owned();
    }
    // A single quote is written as end of quotes, escaped quote, start of quotes.
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Whether a character has no special meaning in any shell.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_./:@=+,".contains(c)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::tests::{access, alert, rule};

    #[test]
    fn what_a_log_holds_cannot_become_a_command() {
        assert_eq!(quoted("arn:aws:iam::1:role/a"), "arn:aws:iam::1:role/a");
        assert_eq!(quoted("a'; rm -rf ~"), r"'a'\''; rm -rf ~'");
        assert_eq!(quoted("$(id)"), "'$(id)'");
        assert_eq!(quoted(""), "''");
        assert!(!quoted("a\nb").contains('\n'));
    }

    #[test]
    fn only_properties_with_one_value_are_suggested() {
        let mut alert = alert(&rule("r", "R"), "a");
        alert.principal = Some("kim".into());
        alert.secrets = vec!["prod/db".into()];
        alert.secrets_total = 2;
        let key = |key: &str| ("/principal/access_key_id", json!(key));
        alert.accesses = vec![access(&[key("AKIA1")]), access(&[key("AKIA2")])];
        let found = clues(&alert);
        let options: Vec<_> = found.iter().map(|clue| (clue.option, clue.value)).collect();
        assert_eq!(options, [("--principal", "kim"), ("--source", "10.0.0.1")]);
        alert.secrets_total = 1;
        alert.accesses.pop();
        let found = clues(&alert);
        let options: Vec<_> = found.iter().map(|clue| clue.option).collect();
        let all = ["--principal", "--access-key", "--source", "--secret"];
        assert_eq!(options, all);
    }

    #[test]
    fn without_logs_the_places_of_the_records_are_named() {
        let mut alert = alert(&rule("r", "R"), "a");
        alert.accesses = vec![access(&[("/object", json!("x\u{1b}[2J.json"))])];
        let text = explained(&alert, &[], &[]);
        assert!(text.contains("  name the logs beside the alerts to see them\n"));
        assert!(text.contains("  event e1 in x") && !text.contains('\u{1b}'));
        assert!(text.contains("  secretrail accesses LOGS --source 10.0.0.1 --from "));
        let with_logs = explained(&alert, &["my logs".into()], &[]);
        assert!(with_logs.contains("  none found by their event ids\n"));
        assert!(with_logs.contains("  secretrail accesses 'my logs' --source"));
    }

    #[test]
    fn a_record_that_is_no_json_is_shown_as_it_is() {
        let mut text = String::new();
        let record = RawRecord {
            object: "a.json".to_owned(),
            json: "{\"a\":".to_owned(),
        };
        push_record(&record, &mut text);
        assert_eq!(text, "  a.json\n    {\"a\":\n");
    }
}
