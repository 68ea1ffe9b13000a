//! Rules mean what the Sigma specification says: compared with pySigma over many forms of
//! selections, modifiers and conditions.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use e2e::{local, secretrail};
use serde_json::Value;

/// Forms that are read otherwise than by pySigma, each with the reason. The text is a part of the
/// detection.
const DIFFERENT: [(&str, &str); 3] = [
    ("{r.a: '*'}", "a wildcard ends at a line break in the value"),
    (
        "|wide:",
        "text in UTF-16 without base64 is no text of a record",
    ),
    ("2 of them", "pySigma knows no numbers above one"),
];

#[test]
fn rules_mean_what_pysigma_says() {
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/support/sigma_reference.py");
    let mut python = Command::new(local::pysigma());
    let output = python.arg(script).arg(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let expected: BTreeMap<String, Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(expected.len() >= 150, "{} forms", expected.len());

    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (logs, rules) = (path("logs"), path("rules"));
    let args = [
        "replay",
        &logs,
        "-r",
        &rules,
        "--skip-invalid",
        "--alerts",
        "-f",
        "jsonl",
    ];
    let run = secretrail(&args);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let mut matched: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in run.stdout.lines() {
        let alert: Value = serde_json::from_str(line).unwrap();
        let (rule, summary) = (&alert["rule"]["id"], alert["summary"].as_str().unwrap());
        let (_, event) = summary.rsplit_once(" event ").unwrap();
        let matched = matched.entry(rule.as_str().unwrap().to_owned());
        matched.or_default().insert(event.to_owned());
    }
    let mut unseen: BTreeSet<&str> = DIFFERENT.iter().map(|(part, _)| *part).collect();
    let mut differences = Vec::new();
    for (name, form) in &expected {
        let detection = form["detection"].as_str().unwrap();
        if let Some((part, _)) = DIFFERENT.iter().find(|(part, _)| detection.contains(part)) {
            unseen.remove(part);
            continue;
        }
        let is_refused = run.stderr.contains(&format!("{name}.yml:"));
        let ours = (!is_refused).then(|| matched.remove(name).unwrap_or_default());
        let theirs = form["matched"].as_array().map(|ids| {
            let ids = ids.iter().map(|id| id.as_str().unwrap().to_owned());
            ids.collect::<BTreeSet<_>>()
        });
        if ours != theirs {
            differences.push(format!(
                "{detection}  pySigma: {theirs:?}\n  ours: {ours:?}\n"
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(unseen.is_empty(), "no form has {unseen:?}");
}
