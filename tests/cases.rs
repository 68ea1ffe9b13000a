//! Records in `tests/cases/<name>/`, with the ledger and the alerts that they must give. Later faces run the same cases.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::secretrail;
use serde_json::Value;

fn cases() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/cases");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_dir())
        .collect();
    cases.sort();
    cases
}

/// Every line as JSON, with files named relative to the case.
fn lines(case: &Path, command: &str) -> Vec<Value> {
    let input = case.join("input");
    let mut args = vec![command, input.to_str().unwrap(), "-q", "-f", "jsonl"];
    let policy = case.join("access-policy.yaml");
    if command == "replay" && policy.exists() {
        args.extend(["--policy", policy.to_str().unwrap()]);
    }
    let printed = secretrail(&args);
    assert_eq!(
        (printed.code, printed.stderr.as_str()),
        (0, ""),
        "{}",
        case.display()
    );
    let base = format!("{}/", case.display());
    printed
        .stdout
        .lines()
        .map(|line| serde_json::from_str(&line.replace(&base, "")).unwrap())
        .collect()
}

#[test]
fn every_case_gives_its_ledger_and_its_alerts() {
    assert!(!cases().is_empty());
    for case in cases() {
        assert!(
            case.join("case.md").exists(),
            "{}: says why it is there",
            case.display()
        );
        for (command, file) in [("accesses", "ledger.jsonl"), ("replay", "alerts.jsonl")] {
            let found = lines(&case, command);
            let path = case.join(file);
            let Ok(text) = fs::read_to_string(&path) else {
                // A new case: what it gives is written down, to be read by a person before it is committed.
                let text: String = found.iter().map(|line| format!("{line}\n")).collect();
                fs::write(&path, text).unwrap();
                panic!(
                    "{} did not exist; it has been written: read it",
                    path.display()
                );
            };
            let expected: Vec<Value> = text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            assert_eq!(found, expected, "{}", path.display());
        }
    }
}
