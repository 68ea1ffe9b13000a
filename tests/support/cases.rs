//! The cases of data in `tests/cases`: records, and what they must give. Every face runs the same
//! ones.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// One folder of `tests/cases`.
#[derive(Debug, Clone)]
pub struct Case {
    /// Where it is.
    pub folder: PathBuf,
}

/// All cases, by name.
///
/// # Panics
///
/// When there is none, or one that does not say why it is there.
#[must_use]
pub fn all() -> Vec<Case> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../cases");
    let entries = std::fs::read_dir(folder).expect("the cases are there");
    let mut cases: Vec<Case> = entries
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|path| path.is_dir())
        .map(|folder| Case { folder })
        .collect();
    cases.sort_by(|a, b| a.folder.cmp(&b.folder));
    assert!(!cases.is_empty(), "{folder} is empty");
    for case in &cases {
        assert!(
            case.folder.join("case.md").exists(),
            "{case:?} says in case.md why it is there"
        );
    }
    cases
}

impl Case {
    /// The folder of its logs.
    #[must_use]
    pub fn input(&self) -> PathBuf {
        self.folder.join("input")
    }

    /// Its access policy, where it has one.
    #[must_use]
    pub fn policy(&self) -> Option<PathBuf> {
        let path = self.folder.join("access-policy.yaml");
        path.exists().then_some(path)
    }

    /// What is wrong with a ledger by `ledger.jsonl`. A file that is missing is written.
    #[must_use]
    pub fn faults_of_ledger(&self, found: &[Value]) -> Option<String> {
        self.faults("ledger.jsonl", found, &LEDGER)
    }

    /// What is wrong with alerts by `alerts.jsonl`. A file that is missing is written.
    #[must_use]
    pub fn faults_of_alerts(&self, found: &[Value]) -> Option<String> {
        self.faults("alerts.jsonl", found, &ALERTS)
    }

    fn faults(&self, file: &str, found: &[Value], fields: &[&str]) -> Option<String> {
        let path = self.folder.join(file);
        let Ok(text) = std::fs::read_to_string(&path) else {
            std::fs::write(&path, in_brief(found, fields)).expect("it can be written");
            return Some(format!(
                "{} did not exist; it has been written: read it",
                path.display()
            ));
        };
        let expected: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line is JSON"))
            .collect();
        let holds = found.len() == expected.len()
            && found
                .iter()
                .zip(&expected)
                .all(|(found, expected)| says(found, expected));
        (!holds).then(|| {
            let found = in_brief(found, fields);
            format!(
                "{} expects\n{text}and what came is, in brief,\n{found}",
                path.display()
            )
        })
    }
}

/// Fails with everything that is wrong.
///
/// # Panics
///
/// When anything is.
pub fn none(faults: &[String]) {
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// What of an access is written down for a new case.
const LEDGER: [&str; 8] = [
    "event_id",
    "method",
    "outcome",
    "denied_by",
    "principal.arn",
    "secret.arn",
    "secret.name",
    "decrypt",
];
/// What of an alert is.
const ALERTS: [&str; 5] = [
    "rule.level",
    "rule.title",
    "principal",
    "count",
    "accesses.event_id",
];

/// Whether a line holds everything that an expected one says. What it does not say may be anything.
fn says(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => expected
            .iter()
            .all(|(key, value)| found.get(key).is_some_and(|found| says(found, value))),
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| says(f, e))
        }
        _ => found == expected,
    }
}

/// Lines with some fields only, those that are not known left out.
fn in_brief(lines: &[Value], fields: &[&str]) -> String {
    let fields: Vec<Vec<&str>> = fields
        .iter()
        .map(|path| path.split('.').collect())
        .collect();
    let paths: Vec<&[&str]> = fields.iter().map(Vec::as_slice).collect();
    lines
        .iter()
        .map(|line| format!("{}\n", picked(line, &paths)))
        .collect()
}

/// What stands at these paths of a value; lists are looked into.
fn picked(value: &Value, paths: &[&[&str]]) -> Value {
    if paths.iter().any(|path| path.is_empty()) {
        return value.clone();
    }
    match value {
        Value::Array(items) => items.iter().map(|item| picked(item, paths)).collect(),
        Value::Object(fields) => {
            let below = |key: &String| -> Vec<&[&str]> {
                let of_key = paths
                    .iter()
                    .filter(|path| path.first() == Some(&key.as_str()));
                of_key.map(|path| &path[1..]).collect()
            };
            let kept = fields
                .iter()
                .map(|(key, value)| (key, value, below(key)))
                .filter(|(_, value, below)| !below.is_empty() && !value.is_null())
                .map(|(key, value, below)| (key.clone(), picked(value, &below)));
            Value::Object(kept.collect())
        }
        other => other.clone(),
    }
}

/// Every file below a folder, in the order of their names.
///
/// # Panics
///
/// When a folder cannot be listed.
#[must_use]
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder can be listed");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a folder can be listed").path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
