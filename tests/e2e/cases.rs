//! The cases of `tests/cases` through the command.

use e2e::{
    cases::{self, Case},
    secretrail,
};
use serde_json::Value;

/// Every line as JSON, with files named relative to the case.
fn lines(case: &Case, command: &str) -> Vec<Value> {
    let (input, policy) = (case.input(), case.policy());
    let mut args = vec![command, input.to_str().unwrap(), "-q", "-f", "jsonl"];
    if command == "replay" {
        args.push("--alerts");
    }
    if let ("replay", Some(policy)) = (command, &policy) {
        args.extend(["--policy", policy.to_str().unwrap()]);
    }
    let printed = secretrail(&args);
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""), "{case:?}");
    let base = format!("{}/", case.folder.display());
    printed
        .stdout
        .lines()
        .map(|line| serde_json::from_str(&line.replace(&base, "")).unwrap())
        .collect()
}

#[test]
fn every_case_gives_its_ledger_and_its_alerts() {
    let faults = |case: &Case| {
        let ledger = case.faults_of_ledger(&lines(case, "accesses"));
        ledger
            .into_iter()
            .chain(case.faults_of_alerts(&lines(case, "replay")))
    };
    cases::none(&cases::all().iter().flat_map(faults).collect::<Vec<_>>());
}
