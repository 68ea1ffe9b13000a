//! How records are spread over files, and how many threads read them, changes nothing.

use e2e::{ACCOUNT, REGION, any_record, secretrail, write_gz};
use proptest::strategy::{Strategy, ValueTree};
use serde_json::{Value, json};

#[test]
fn files_and_threads_change_nothing() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    // But for updates: of several, the one in the file that was delivered last is kept.
    let records: Vec<Value> = (0..400)
        .map(|_| any_record().new_tree(&mut runner).unwrap().current())
        .filter(|record| record.get("addendum").is_none())
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, parts: Vec<Vec<&Value>>| {
        for (index, part) in parts.iter().enumerate() {
            let stamp = format!("{:02}{:02}", 10 + index / 60, index % 60);
            let file = format!(
                "{name}/AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/03/02/{ACCOUNT}_CloudTrail_{REGION}_20260302T{stamp}Z_x{index}.json.gz"
            );
            write_gz(
                &folder.path().join(file),
                json!({"Records": part}).to_string().as_bytes(),
            );
        }
        folder.path().join(name).to_string_lossy().into_owned()
    };
    let one = write("one", vec![records.iter().collect()]);
    let many = write(
        "many",
        records
            .chunks(7)
            .map(|c| c.iter().rev().collect())
            .collect(),
    );
    let print = |path: &str, command: &str, threads: &str| {
        let printed = secretrail(&[command, path, "-f", "jsonl", "-q", "--threads", threads]);
        assert_eq!((printed.code, printed.stderr.as_str()), (0, ""));
        let lines = printed
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let without_file = |mut line: Value| {
            line["object"] = Value::Null;
            line["accesses"] = Value::Null;
            line["events"] = Value::Null;
            line.to_string()
        };
        (
            printed.stdout.clone(),
            lines.map(without_file).collect::<Vec<_>>(),
        )
    };
    for command in ["accesses", "replay"] {
        let (bytes, lines) = print(&many, command, "1");
        assert!(lines.len() > 3, "{command}: {}", lines.len());
        assert_eq!(
            print(&many, command, "4").0,
            bytes,
            "{command}: the same bytes on four threads"
        );
        assert_eq!(
            print(&one, command, "2").1,
            lines,
            "{command}: the same from one file"
        );
    }
}
