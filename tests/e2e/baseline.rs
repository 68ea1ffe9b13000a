//! History to an access policy and back, through the command.

use e2e::{secretrail, siblings, write_gz};
use secretrail_engine::policy::AccessPolicy;
use serde_json::json;

#[test]
fn the_command_writes_a_policy_that_replay_reads() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs.json.gz");
    write_gz(&logs, json!({"Records": siblings()}).to_string().as_bytes());
    let (logs, policy) = (logs.to_str().unwrap(), folder.path().join("policy.yaml"));
    let policy = policy.to_str().unwrap();
    let learned = secretrail(&["baseline", logs, "-o", policy]);
    assert_eq!(
        (learned.code, learned.stdout.as_str()),
        (0, ""),
        "{}",
        learned.stderr
    );
    assert!(
        learned.stderr.contains("grants         1 from 27 accesses"),
        "{}",
        learned.stderr
    );
    let replayed = secretrail(&[
        "replay", logs, "--policy", policy, "--strict", "-q", "-f", "jsonl",
    ]);
    assert_eq!((replayed.code, replayed.stdout.as_str()), (0, ""));
    let merged = secretrail(&["baseline", logs, "--merge", policy, "-q"]);
    assert_eq!(merged.stdout.parse::<AccessPolicy>().unwrap().len(), 1);
    let missing = secretrail(&["baseline", logs, "--merge", "nowhere.yaml"]);
    assert_eq!(missing.code, 2, "{}", missing.stderr);
}
