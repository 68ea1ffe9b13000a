//! The commands for people who write rules: `rules test`, `lint`, `list`, `explain`, `fields`, and
//! `replay --compare`.

use std::path::{Path, PathBuf};

use e2e::{LOGS, POLICY, decrypt_secret, read, secretrail, secretrail_with};
use serde_json::{Value, json};

const RULE: &str = "title: Denied Or Dear
id: 5f0b0a3e-5f0e-4c37-9d0a-8f3a51c1e0aa
logsource: {product: aws, category: secret_access}
detection:
  dear:
    secret.name|startswith: prod/
    access.outcome: success
  granted:
    expected.principal: 'yes'
  condition: dear and not granted
level: high
secretrail:
  examples:
    - name: a read of something dear
      fires: true
      events:
        - {eventSource: secretsmanager.amazonaws.com, eventName: GetSecretValue, eventTime: '2026-03-02T10:00:00Z', requestParameters: {secretId: prod/db}}
    - name: a read of something cheap & <odd>
      fires: false
      events:
        - {eventSource: secretsmanager.amazonaws.com, eventName: GetSecretValue, eventTime: '2026-03-02T10:00:00Z', requestParameters: {secretId: test/db}}
";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.0.path()).join(name)
    }
}

#[test]
fn test_runs_examples_and_says_what_decided() {
    let folder = Folder::new();
    let good = folder.write("good.yml", RULE);
    let junit = folder.path("junit.xml");
    let run = secretrail(&[
        "rules",
        "test",
        "--path",
        &good,
        "--junit",
        junit.to_str().unwrap(),
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stdout.contains(
            "[PASS] Denied Or Dear: a read of something dear (fires)\n       dear, not granted"
        ),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout
            .contains("2 examples of 1 rule: 2 passed, 0 failed"),
        "{}",
        run.stdout
    );
    let xml = std::fs::read_to_string(&junit).unwrap();
    assert!(
        xml.contains("tests=\"2\" skipped=\"0\" failures=\"0\"")
            && xml.contains("cheap &amp; &lt;odd&gt;"),
        "{xml}"
    );

    let bad = folder.write("bad.yml", &RULE.replace("test/db", "prod/other"));
    let run = secretrail(&[
        "rules",
        "test",
        "-r",
        &bad,
        "--show-failures-only",
        "--rule",
        "bad",
        "--junit",
        junit.to_str().unwrap(),
    ]);
    assert_eq!(run.code, 1);
    assert!(
        run.stdout
            .starts_with("[FAIL] Denied Or Dear: a read of something cheap"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.contains("the rule should stay quiet, and fires"),
        "{}",
        run.stdout
    );
    assert!(
        std::fs::read_to_string(&junit)
            .unwrap()
            .contains("failures=\"1\"")
    );

    let unknown = secretrail(&["rules", "test", "--rule", "nothing"]);
    assert_eq!(unknown.code, 64, "{}", unknown.stderr);
    let pack = secretrail(&["rules", "test"]);
    assert_eq!(pack.code, 0, "{}", pack.stdout);
}

#[test]
fn lint_has_an_exit_code_for_each_severity() {
    let folder = Folder::new();
    let check = |text: &str, code: u8, words: &str| {
        let file = folder.write("r.yml", text);
        let run = secretrail(&["rules", "lint", "-r", &file]);
        assert_eq!(run.code, code, "{}{}", run.stdout, run.stderr);
        assert!(run.stdout.contains(words), "{}", run.stdout);
    };
    let pack = secretrail(&["rules", "lint"]);
    assert_eq!(
        (pack.code, pack.stdout.as_str()),
        (0, ""),
        "the pack is clean, hints too"
    );
    check(RULE, 0, "missing_author");
    check(
        &RULE.replace("  condition", "  spare:\n    secret.name: x\n  condition"),
        1,
        "r.yml:10: warning: no condition asks for the selection `spare`",
    );
    check(
        &RULE.replace("secret.name", "secret.nmae"),
        2,
        "r.yml:6: error: \"Denied Or Dear\": secret.nmae: there is no such field; did you mean `secret.name`?",
    );
    check(
        &RULE.replace("startswith", "beginswith"),
        2,
        "detection: Unknown modifier 'beginswith'",
    );
    check(
        &format!("{RULE}---\n{RULE}"),
        2,
        "is also the id of a rule in",
    );
    check("title: x\n\tid: y\n", 2, "r.yml:2: error");
}

#[test]
fn a_rule_that_cannot_be_used_ends_the_replay_before_it_reads() {
    let folder = Folder::new();
    let duplicate = format!("{RULE}---\n{}", RULE.replace("success", "denied"));
    for (text, words) in [
        (
            RULE.replace("secret.name", "secret.nmae"),
            "did you mean `secret.name`?",
        ),
        (RULE.replace("startswith", "beginswith"), "Unknown modifier"),
        (duplicate, "is also the id of a rule in"),
        ("title: x\n\tid: y\n".to_owned(), "indent with spaces"),
    ] {
        let file = folder.write("r.yml", &text);
        let run = secretrail(&["replay", "nowhere", "-r", &file]);
        assert_eq!(run.code, 2, "{}", run.stderr);
        assert!(
            run.stderr.contains(words) && run.stderr.contains("r.yml:"),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn list_and_fields_are_tables_or_json() {
    let run = secretrail(&["rules", "list"]);
    assert!(run.stdout.starts_with("LEVEL "), "{}", run.stdout);
    assert!(run.stdout.contains("critical") && run.stdout.contains("(feeds another)"));
    let rules: Value =
        serde_json::from_str(&secretrail(&["rules", "list", "-f", "json"]).stdout).unwrap();
    assert!(
        rules
            .as_array()
            .unwrap()
            .iter()
            .any(|r| r["file"] == "rules/bulk-read.yml" && r["alerts"] == true)
    );
    let fields: Value =
        serde_json::from_str(&secretrail(&["rules", "fields", "-f", "json"]).stdout).unwrap();
    assert!(
        fields
            .as_array()
            .unwrap()
            .iter()
            .any(|f| f["name"] == "seen.principal_secret")
    );
    assert!(
        secretrail(&["rules", "fields"])
            .stdout
            .contains("expected.baseline_per_hour")
    );
}

#[test]
fn explain_goes_selection_by_selection() {
    let folder = Folder::new();
    let rule = folder.write("dear.yml", RULE);
    let events = json!([
        read("r", "app", 0, "prod/\u{1b}[31mdb"),
        decrypt_secret("k", "app", 0, "other")
    ])
    .to_string();
    let run = secretrail_with(
        &["rules", "explain", "dear", "-", "-r", &rule],
        events.as_bytes(),
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let expected = "2026-03-02T10:00:00Z GetSecretValue prod/\\u{1b}[31mdb (r): matched\n  yes all of these\n  yes   selection dear\n  yes     secret.name starts with prod/\n  yes     access.outcome is success\n  yes   not this\n  no      selection granted\n  no        expected.principal is yes; it is absent\n";
    assert!(
        run.stdout.starts_with("Denied Or Dear: fires\n\n"),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains(expected), "{}", run.stdout);
    let events = json!([read("r", "app", 0, "test/db")]).to_string();
    let run = secretrail_with(
        &["rules", "explain", "Denied Or Dear", "-", "-r", &rule],
        events.as_bytes(),
    );
    assert!(
        run.stdout.contains("stays quiet")
            && run
                .stdout
                .contains("no      secret.name starts with prod/; it is \"test/db\""),
        "{}",
        run.stdout
    );
    let many: Vec<Value> = (0..3)
        .map(|n| read(&format!("r{n}"), "app", n, &format!("s{n}")))
        .collect();
    let run = secretrail_with(
        &["rules", "explain", "bulk-read", "-"],
        json!(many).to_string().as_bytes(),
    );
    assert!(run.stdout.contains("no  principal.arn=arn:aws:iam::111122223333:role/app: 3 in all, never enough within one window; asks for 20 different values within 600 s"), "{}", run.stdout);
    let batch = json!([e2e::record(
        "b",
        &e2e::role("app"),
        0,
        "secretsmanager",
        "BatchGetSecretValue",
        json!({"filters": [{"key": "name", "values": [""]}]})
    )]);
    let run = secretrail_with(
        &["rules", "explain", "batch-catch-all.yml", "-"],
        batch.to_string().as_bytes(),
    );
    assert!(run.stdout.contains("fires"), "{}", run.stdout);
    for (args, code) in [
        (["rules", "explain", "nothing", "-"], 64),
        (["rules", "explain", "bulk-read", "nowhere.json"], 3),
    ] {
        let run = secretrail_with(&args, events.as_bytes());
        assert_eq!(run.code, code, "{}", run.stderr);
    }
    assert_eq!(
        secretrail_with(&["rules", "explain", "bulk-read", "-"], b"nothing").code,
        3
    );
}

#[test]
fn compare_shows_what_a_change_of_rules_does() {
    let folder = Folder::new();
    let before = folder.write("before.yml", RULE);
    let after = folder.write("after.yml", &RULE.replace("prod/\n", "prod/pay\n"));
    let more = folder.write(
        "more.yml",
        &RULE
            .replace("Denied Or Dear", "Test")
            .replace("5f0b0a3e", "6f0b0a3e")
            .replace("prod/\n", "test/\n"),
    );
    let events = json!([
        read("a", "app", 0, "prod/pay"),
        read("b", "app", 5, "prod/x"),
        read("c", "app", 9, "test/x")
    ]);
    let logs = folder.write("logs.json", &events.to_string());
    let run = secretrail(&[
        "replay",
        &logs,
        "-r",
        &before,
        "--compare",
        &after,
        "--compare",
        &more,
        "-q",
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let rows: Vec<Vec<&str>> = run
        .stdout
        .lines()
        .take(3)
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[0],
        ["KEPT", "CHANGED", "GAINED", "LOST", "LEVEL", "RULE"]
    );
    assert_eq!(
        rows[1],
        ["1", "0", "0", "1", "high", "Denied", "Or", "Dear"]
    );
    assert_eq!(rows[2], ["0", "0", "1", "0", "high", "Test"]);
    assert!(
        run.stdout.contains("lost: Denied Or Dear\n") && run.stdout.contains("gained: Test\n"),
        "{}",
        run.stdout
    );
    let lines = secretrail(&[
        "replay",
        &logs,
        "-r",
        &before,
        "--compare",
        &after,
        "-q",
        "-f",
        "jsonl",
    ])
    .stdout;
    let line: Value = serde_json::from_str(lines.trim()).unwrap();
    assert_eq!(
        (&line["kept"], line["lost"].as_array().unwrap().len()),
        (&json!(1), 1)
    );
    assert!(
        secretrail(&[
            "replay",
            &logs,
            "-r",
            &before,
            "--compare",
            &after,
            "-q",
            "-f",
            "csv"
        ])
        .stdout
        .contains("Denied Or Dear,high,1,0,0,1")
    );
    assert_eq!(
        secretrail(&["replay", "-", "-r", &before, "--compare", &after]).code,
        64
    );
    assert_eq!(
        secretrail(&["replay", &logs, "--strict"]).code,
        64,
        "strict without a policy means nothing"
    );
}

#[test]
fn each_file_of_the_pack_can_be_worked_on_alone() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../rules")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "yml") {
            continue;
        }
        let path = path.to_str().unwrap();
        let tested = secretrail(&["rules", "test", "--path", path, "--show-failures-only"]);
        assert_eq!(tested.code, 0, "{}{}", tested.stdout, tested.stderr);
        assert!(
            !tested.stdout.contains("\n0 examples"),
            "{path}: {}",
            tested.stdout
        );
        let linted = secretrail(&["rules", "lint", "-r", path]);
        assert_eq!(
            (linted.code, linted.stdout.as_str(), linted.stderr.as_str()),
            (0, "", "1 file: 0 errors, 0 warnings, 0 hints\n")
        );
    }
    let listed = secretrail(&[
        "rules",
        "list",
        "-r",
        concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../rules/denied-probing.yml"
        ),
    ]);
    assert_eq!(
        listed.stdout.lines().count(),
        2,
        "what it needs is not listed: {}",
        listed.stdout
    );
    // A correlation of one's own may name rules of the pack, which then raise nothing by
    // themselves.
    let folder = Folder::new();
    let own = folder.write("own.yml", "title: Twice\nid: 7f0b0a3e-5f0e-4c37-9d0a-8f3a51c1e0aa\ncorrelation: {type: event_count, rules: [secret_read], group-by: [principal.arn], timespan: 5m, condition: {gte: 2}}\n");
    let logs = folder.write(
        "logs.json",
        &json!([read("a", "app", 0, "x"), read("b", "app", 5, "y")]).to_string(),
    );
    let replayed = secretrail(&["replay", &logs, "-r", &own, "-q", "-f", "csv"]);
    assert_eq!(
        (replayed.code, replayed.stdout.lines().count()),
        (0, 2),
        "{}{}",
        replayed.stdout,
        replayed.stderr
    );
}

#[test]
fn a_correlation_of_the_pack_covers_a_rule_of_another_file() {
    let folder = Folder::new();
    let moved = json!({"secretId": "prod/db", "versionStage": "AWSCURRENT",
        "moveToVersionId": "00000000-1111-4222-8333-444444444441"});
    let (service, api) = ("secretsmanager", "UpdateSecretVersionStage");
    let rotated = e2e::record("r", &e2e::role("rotate"), 0, service, api, moved);
    let mut previous = read("p", "app", 600, "prod/db");
    previous["requestParameters"]["versionStage"] = json!("AWSPREVIOUS");
    let logs = folder.write("logs.json", &json!([rotated, previous]).to_string());
    let titles = |rules: &[&str]| {
        let asked = [&["replay", &logs, "--alerts", "-q", "-f", "csv"], rules].concat();
        let text = secretrail(&asked).stdout;
        ["Old Version Of A Secret Read", "Soon After Its Rotation"]
            .map(|title| text.contains(title))
    };
    assert_eq!(titles(&[]), [false, true]);
    let alone = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../rules/old-version-read.yml"
    );
    assert_eq!(titles(&["-r", alone]), [true, false]);
}

#[test]
fn summary_is_one_screen() {
    let run = secretrail(&["summary", LOGS, "--policy", POLICY, "--top", "3", "-q"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(
        lines.len() <= 45 && lines.iter().all(|l| l.chars().count() <= 120),
        "{}",
        run.stdout
    );
    for words in [
        "146 accesses to 29 secrets by 11 principals: 137 successful, 9 denied, 0 failed",
        "2026-03-02T08:00:00Z to 2026-03-02T11:51:00Z, 1 account, 2 regions",
        "24       0       24       2026-03-02T09:30:07Z  111122223333 role/ci-terraform\n",
        "and 8 more",
        "1        9       10       2026-03-02T11:20:50Z  111122223333 role/web-frontend",
        "1       critical  2026-03-02T11:31:09Z  Secret Decrypted By Calling KMS Directly",
    ] {
        assert!(run.stdout.contains(words), "{words}\n{}", run.stdout);
    }
    // New after more than a week, and two days with nothing between.
    let folder = Folder::new();
    let day = 86_400;
    let records = json!([
        read("a", "app", 0, "x\u{1b}[31m"),
        read("b", "app", 9 * day, "y"),
        read("c", "app", 9 * day + 5, "y")
    ]);
    let logs = folder.write("logs.json", &records.to_string());
    let run = secretrail(&["summary", &logs, "-q"]);
    assert!(run.stdout.contains("FIRST READ            PRINCIPAL              SECRET\n2026-03-11T10:00:00Z  111122223333 role/app  111122223333 y\n"), "{}", run.stdout);
    let marks = format!(
        "success ▄{}█  one mark per 4 hours, highest 2",
        "·".repeat(53)
    );
    assert!(run.stdout.contains(&marks), "{}", run.stdout);
    assert!(!run.stdout.contains('\u{1b}'));
    let nothing = folder.write(
        "none.json",
        &json!([e2e::record(
            "z",
            &e2e::role("a"),
            0,
            "s3",
            "ListBuckets",
            Value::Null
        )])
        .to_string(),
    );
    assert_eq!(
        secretrail(&["summary", &nothing, "-q"]).stdout,
        "no accesses to secrets in these logs\n"
    );
}

#[test]
fn shells_and_man_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let run = secretrail(&["completions", shell]);
        assert!(
            run.code == 0 && run.stdout.contains("baseline") && run.stdout.contains("min-level"),
            "{shell}"
        );
    }
    let run = secretrail(&["man"]);
    assert!(
        run.code == 0
            && run.stdout.contains(".TH secretrail 1")
            && run.stdout.contains("fail\\-on"),
        "{}",
        run.stdout
    );
    let wrong = secretrail(&["accesess", "x"]);
    assert!(
        wrong.code == 64 && wrong.stderr.contains("'accesses'"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn gaps_say_what_the_logs_cannot_show() {
    let folder = Folder::new();
    let file = |minute: i64, records: Vec<Value>| {
        let stamp = e2e::at(minute * 60).to_string().replace(['-', ':'], "");
        let account = e2e::ACCOUNT;
        let name = format!(
            "AWSLogs/{account}/CloudTrail/eu-west-1/2026/03/02/{account}_CloudTrail_eu-west-1_{}Z_abc.json.gz",
            &stamp[..13]
        );
        e2e::write_gz(
            &folder.path(&name),
            json!({"Records": records}).to_string().as_bytes(),
        );
    };
    // Every five minutes for five hours, but for one; KMS events in the first hour only.
    for n in (0..60).filter(|n| !(30..42).contains(n)) {
        let at = n * 300 - 60;
        let mut records = vec![read(&format!("r{n}"), "app", at, "prod/db")];
        if n < 12 && n != 5 {
            records.push(decrypt_secret(&format!("k{n}"), "app", at, "prod/db"));
        }
        if n == 7 {
            records.push(decrypt_secret("alone", "other", at, "prod/key"));
        }
        if n == 50 {
            records.push(e2e::record(
                "stop",
                &e2e::role("ops"),
                at,
                "cloudtrail",
                "StopLogging",
                json!({"name": "main"}),
            ));
        }
        file(n * 5, records);
    }
    let logs = folder.path("AWSLogs");
    let run = secretrail(&["gaps", logs.to_str().unwrap(), "-q", "-f", "jsonl"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let lines: Vec<Value> = run
        .stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let reported: Vec<String> = lines
        .iter()
        .map(|l| {
            format!(
                "{} {} {}",
                l["kind"].as_str().unwrap(),
                l["from"].as_str().unwrap(),
                l["to"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        reported,
        [
            "records 2026-03-02T10:00:00Z 2026-03-02T11:00:00Z",
            // KMS events of the hour before still prove that they are logged, until they end.
            "kms_events 2026-03-02T10:59:00Z 2026-03-02T12:00:00Z",
            "kms_events 2026-03-02T12:00:00Z 2026-03-02T15:00:00Z",
            "deliveries 2026-03-02T12:25:00Z 2026-03-02T13:30:00Z",
            "trail_changed 2026-03-02T14:09:00Z 2026-03-02T14:09:00Z",
        ],
        "{}",
        run.stdout
    );
    let table = secretrail(&["gaps", logs.to_str().unwrap(), "-q"]).stdout;
    assert!(
        table.contains("no log file for 65 minutes (usual interval: 5 minutes or less)"),
        "{table}"
    );
    assert!(table.contains("1 Decrypt without a secret read"), "{table}");
}
