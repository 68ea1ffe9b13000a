//! What the command reads: formats, places, times; what it says when it cannot, and how it ends.

use std::{fs, path::Path};

use e2e::{
    ACCOUNT, LOGS, Printed, REGION, afterwards, decrypt_secret, read, record, role, secretrail,
    secretrail_with, write_gz,
};
use secretrail_engine::time::EventTime;
use serde_json::{Value, json};

fn events(printed: &Printed) -> Vec<String> {
    let id = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap()["event_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    printed.stdout.lines().map(id).collect()
}

fn accesses(paths: &[&str], more: &[&str]) -> Printed {
    secretrail(&[&["accesses", "-q", "-f", "jsonl"], paths, more].concat())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn every_form_of_input_gives_the_same() {
    let rows = [
        read("r1", "app", 0, "x"),
        read("r2", "app", 1, "y"),
        decrypt_secret("k", "app", 0, "x"),
    ];
    let lookup: Vec<Value> = rows
        .iter()
        .map(|r| json!({"EventId": "z", "CloudTrailEvent": r.to_string()}))
        .collect();
    let lines = |rows: &[Value]| rows.iter().map(|r| format!("{r}\n")).collect::<String>();
    let forms = [
        json!({"Records": rows}).to_string(),
        serde_json::to_string_pretty(&json!({"Records": rows})).unwrap(),
        format!("\u{feff}{}", json!({"Records": rows})),
        json!(rows).to_string(),
        serde_json::to_string_pretty(&json!(rows)).unwrap(),
        lines(&rows),
        rows.iter()
            .map(|r| serde_json::to_string_pretty(r).unwrap() + "\r\n")
            .collect(),
        json!({"Events": lookup, "NextToken": "t"}).to_string(),
        serde_json::to_string_pretty(&json!({"Events": lookup})).unwrap(),
        lines(&lookup),
    ];
    let folder = tempfile::tempdir().unwrap();
    for form in forms {
        let plain = folder.path().join("plain.json");
        fs::write(&plain, &form).unwrap();
        let zipped = folder.path().join("zipped.json.gz");
        write_gz(&zipped, form.as_bytes());
        for printed in [
            accesses(&[text(&plain)], &[]),
            accesses(&[text(&zipped)], &[]),
            secretrail_with(&["accesses", "-", "-q", "-f", "jsonl"], form.as_bytes()),
        ] {
            assert_eq!(
                (events(&printed), printed.code),
                (vec!["r1".to_owned(), "r2".to_owned()], 0),
                "{form}\n{}",
                printed.stderr
            );
        }
    }
}

#[test]
fn a_tree_is_pruned_by_date_account_and_region() {
    let folder = tempfile::tempdir().unwrap();
    let put = |account: &str, region: &str, kind: &str, day: u32, id: &str| {
        let file = format!(
            "AWSLogs/{account}/{kind}/{region}/2026/03/{day:02}/{account}_{kind}_{region}_202603{day:02}T1005Z_{id}.json.gz"
        );
        let mut row = read(id, "app", 0, "x");
        row["eventTime"] = json!(format!("2026-03-{day:02}T10:00:00Z"));
        write_gz(
            &folder.path().join(file),
            json!({"Records": [row]}).to_string().as_bytes(),
        );
    };
    for day in [1, 5, 9] {
        put(ACCOUNT, REGION, "CloudTrail", day, &format!("home-{day}"));
    }
    put(ACCOUNT, "us-east-1", "CloudTrail", 5, "elsewhere");
    put("222233334444", REGION, "CloudTrail", 5, "other");
    for kind in [
        "CloudTrail-Digest",
        "CloudTrail-Insight",
        "CloudTrail-NetworkActivity",
        "CloudTrail-Aggregated",
        "Config",
    ] {
        put(ACCOUNT, REGION, kind, 5, "never");
    }
    let check = |more: &[&str], expected: &[&str]| {
        let printed = accesses(&[text(folder.path())], more);
        assert_eq!(
            (events(&printed), printed.code),
            (expected.iter().map(|e| (*e).to_owned()).collect(), 0),
            "{more:?} {}",
            printed.stderr
        );
    };
    check(&[], &["home-1", "elsewhere", "home-5", "other", "home-9"]);
    check(
        &["--from", "2026-03-05", "--to", "2026-03-05"],
        &["elsewhere", "home-5", "other"],
    );
    check(&["--from", "2026-03-05T10:00:01Z"], &["home-9"]);
    check(&["--region", "us-east-1"], &["elsewhere"]);
    check(&["--account", "222233334444"], &["other"]);
    check(
        &[
            "--account",
            ACCOUNT,
            "--region",
            REGION,
            "--to",
            "2026-03-01",
        ],
        &["home-1"],
    );
    // Folders outside the selection are not even opened: what is broken in them costs nothing.
    fs::write(
        folder.path().join(format!(
            "AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/03/09/broken.json.gz"
        )),
        b"\x1f\x8b\x08broken",
    )
    .unwrap();
    check(
        &["--to", "2026-03-05"],
        &["home-1", "elsewhere", "home-5", "other"],
    );
    let printed = secretrail(&["accesses", text(folder.path())]);
    assert!(
        printed.stderr.contains(
            "skipped files  1 digest, 1 insight, 1 network activity, 1 aggregated, 1 other service"
        ),
        "{}",
        printed.stderr
    );
    assert!(
        printed
            .stderr
            .contains("broken.json.gz: the gzip data is truncated or damaged"),
        "{}",
        printed.stderr
    );
    assert_eq!(printed.code, 3);
}

#[test]
fn outside_a_tree_records_are_selected_by_their_own_account_and_region() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.json");
    let mut other = read("other", "app", 0, "x");
    other["awsRegion"] = json!("us-east-1");
    fs::write(
        &file,
        json!([read("home", "app", 0, "x"), other]).to_string(),
    )
    .unwrap();
    assert_eq!(
        events(&accesses(&[text(&file)], &["--region", "us-east-1"])),
        ["other"]
    );
    assert_eq!(
        events(&accesses(&[text(&file)], &["--account", "999999999999"])),
        Vec::<String>::new()
    );
}

#[test]
fn the_other_half_is_found_beyond_the_edge_of_the_selection() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.json");
    fs::write(
        &file,
        json!([read("r", "app", 0, "x"), decrypt_secret("k", "app", 1, "x")]).to_string(),
    )
    .unwrap();
    let printed = accesses(&[text(&file)], &["--to", "2026-03-02T10:00:01Z"]);
    assert!(
        printed
            .stdout
            .contains(r#""status":"paired","event_id":"k""#),
        "{}",
        printed.stdout
    );
    assert_eq!(
        events(&accesses(
            &[text(&file)],
            &["--from", "2026-03-02T10:00:01Z"]
        )),
        Vec::<String>::new()
    );
}

#[test]
fn what_cannot_be_read_is_named_and_costs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    put(
        "good.json",
        json!([read("good", "app", 0, "x")]).to_string().as_bytes(),
    );
    let one = read("kept", "app", 0, "x").to_string();
    put(
        "half.json",
        format!(r#"{{"Records":[{one},{{"eventSource":"kms.amaz"#).as_bytes(),
    );
    put("words.json", b"no JSON at all");
    put("other.json", br#"{"name":"package","version":"1"}"#);
    put("empty.json", b"");
    put("notes.txt", b"notes");
    put(
        "bad.json",
        format!(
            r#"{{"Records":[{{"eventSource":"secretsmanager.amazonaws.com","eventName":"GetSecretValue",}},{}]}}"#,
            one.replace("kept", "beside")
        )
        .as_bytes(),
    );
    let name = |end: &[u8]| [b"name-".as_slice(), end].concat();
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let odd = folder
            .path()
            .join(std::ffi::OsStr::from_bytes(&name(b"\xff\xfe.json")));
        fs::write(odd, json!([read("odd", "app", 0, "x")]).to_string()).unwrap();
    }
    let printed = secretrail(&["accesses", text(folder.path()), "-f", "jsonl"]);
    assert_eq!(
        (events(&printed), printed.code),
        (
            ["beside", "good", "kept", "odd"]
                .map(str::to_owned)
                .to_vec(),
            3
        ),
        "{}",
        printed.stderr
    );
    for words in [
        "half.json: 1 record skipped (truncated)",
        "bad.json: 1 record skipped (broken JSON)",
        "no CloudTrail records",
    ] {
        assert!(
            printed.stderr.contains(words),
            "{words}: {}",
            printed.stderr
        );
    }
}

#[test]
fn each_fault_has_its_words_and_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.json");
    fs::write(&good, json!([read("good", "app", 0, "x")]).to_string()).unwrap();
    let good = text(&good);
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let rule = folder.path().join("bad.yml");
    fs::write(&rule, "title: x\nlogsource: {product: aws, category: secret_access}\ndetection:\n  s: {secret.nam: x}\n  condition: s\n").unwrap();
    let policy = folder.path().join("bad.yaml");
    fs::write(&policy, "version: 3\ngrants: []\n").unwrap();
    let check = |args: &[&str], code: u8, words: &str| {
        let printed = secretrail(args);
        assert_eq!(printed.code, code, "{args:?}: {}", printed.stderr);
        assert!(
            printed.stderr.contains(words),
            "{args:?}: {}",
            printed.stderr
        );
    };
    check(&["accesses", good], 0, "1 unknown");
    check(
        &["accesses", "/no/such/folder"],
        3,
        "/no/such/folder: No such file or directory",
    );
    check(
        &["accesses", text(&empty)],
        3,
        "no log files for this selection",
    );
    check(&["accesses"], 64, "<PATH>");
    check(
        &["accesses", good, "--from", "yesterday"],
        64,
        "'yesterday' for '--from <TIME>': write 2026-03-02, 2026-03-02 11:00 or 2026-03-02T11:00:00Z",
    );
    check(
        &["accesses", good, "--since", "5 parsecs"],
        64,
        "write a number and s, m, h, d or w",
    );
    check(
        &[
            "accesses",
            good,
            "--from",
            "2026-03-02",
            "--to",
            "2026-03-01",
        ],
        64,
        "swap them",
    );
    check(&["accesses", good, "--threads", "0"], 64, "--threads");
    check(
        &["accesses", good, "-f", "ocsf"],
        64,
        "ocsf and html are for replay",
    );
    check(
        &["accesses", "s3:///prefix"],
        3,
        "names no bucket; write s3://bucket/prefix",
    );
    check(
        &["replay", good, "-r", text(&rule)],
        2,
        "bad.yml:4: \"x\": secret.nam: there is no such field",
    );
    check(&["replay", good, "-r", "/no/rules"], 2, "/no/rules");
    check(&["replay", good, "-r", text(&empty)], 2, "holds no rules");
    check(
        &["replay", good, "--policy", text(&policy)],
        2,
        "bad.yaml: line 1: version 3 is not supported",
    );
    check(
        &["replay", good, "--min-level", "urgent"],
        64,
        "[possible values: informational, low, medium, high, critical]",
    );
    check(
        &["accesses", good, "-o", "/no/such/folder/out"],
        74,
        "cannot write /no/such/folder/out",
    );
}

#[test]
fn findings_at_the_level_fail_the_run() {
    assert_eq!(
        secretrail(&["replay", LOGS, "-q", "--fail-on", "critical"]).code,
        1
    );
    assert_eq!(
        secretrail(&[
            "replay",
            LOGS,
            "-q",
            "--fail-on",
            "critical",
            "--to",
            "2026-03-02T11:00:00Z"
        ])
        .code,
        0
    );
    let printed = secretrail(&["replay", LOGS, "-q", "--min-level", "critical", "-f", "csv"]);
    assert_eq!(printed.stdout.lines().count(), 2, "{}", printed.stdout);
}

#[test]
fn a_file_appears_only_when_it_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.json");
    fs::write(&good, json!([read("good", "app", 0, "x")]).to_string()).unwrap();
    let out = folder.path().join("out.csv");
    fs::write(&out, "old").unwrap();
    assert_eq!(
        secretrail(&["accesses", text(&good), "-f", "csv", "-q", "-o", text(&out)]).code,
        0
    );
    assert!(
        fs::read_to_string(&out)
            .unwrap()
            .starts_with("time,event_id,")
    );
    let names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn text_from_logs_is_harmless_in_tables_and_cells() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.json");
    let mut hostile = read("=1+1", "app", 0, "@SUM(A1)\u{1b}[2J\u{202e}");
    hostile["userAgent"] = json!("=cmd|' /C calc'!A0");
    hostile["sourceIPAddress"] = json!("-2+3\r\nx");
    fs::write(&file, json!([hostile]).to_string()).unwrap();
    for format in ["table", "csv"] {
        let printed = secretrail(&["accesses", text(&file), "-q", "-f", format]);
        assert!(
            !printed.stdout.contains(['\u{1b}', '\u{202e}', '\r']),
            "{}",
            printed.stdout
        );
        assert_eq!(printed.stdout.lines().count(), 2, "{}", printed.stdout);
    }
    let cells = secretrail(&["accesses", text(&file), "-q", "-f", "csv"]).stdout;
    for cell in ["'=1+1", "'@SUM(A1)", "'=cmd|", "'-2+3"] {
        assert!(cells.contains(cell), "{cell}: {cells}");
    }
}

#[test]
fn what_is_younger_than_the_allowed_lateness_is_pending_and_nothing_is_told_twice() {
    let folder = tempfile::tempdir().unwrap();
    let put = |minutes_ago: i64, rows: &[Value]| {
        let stamp = EventTime(afterwards().0 - 60 * minutes_ago).to_string();
        let digits: String = stamp
            .chars()
            .filter(char::is_ascii_digit)
            .take(12)
            .collect();
        let name = format!(
            "{ACCOUNT}_CloudTrail_{REGION}_{}T{}Z_x.json.gz",
            &digits[..8],
            &digits[8..]
        );
        write_gz(
            &folder.path().join(name),
            json!({"Records": rows}).to_string().as_bytes(),
        );
    };
    put(20, &[read("old", "app", 0, "x")]);
    put(
        5,
        &[
            decrypt_secret("k", "app", 0, "x"),
            read("young", "app", 60, "y"),
            decrypt_secret("alone", "app", 120, "z"),
        ],
    );
    let printed = accesses(&[text(folder.path())], &[]);
    assert_eq!(events(&printed), ["old", "young"], "{}", printed.stdout);
    let status = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap()["decrypt"]["status"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        printed.stdout.lines().map(status).collect::<Vec<_>>(),
        ["paired", "pending"]
    );
}

#[test]
fn an_analyst_asks_by_who_what_from_where_and_how() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs.json");
    let mut refused = read("denied", "web", 2, "prod/db");
    refused["errorCode"] = json!("AccessDenied");
    refused["requestParameters"] = serde_json::Value::Null;
    refused["errorMessage"] = json!(
        "User: u is not authorized to perform: secretsmanager:GetSecretValue on resource: prod/db because no identity-based policy allows the x action"
    );
    let mut outside = read("outside", "app", 4, "prod/key");
    outside["sourceIPAddress"] = json!("2001:db8::7");
    outside["userIdentity"]["accessKeyId"] = json!("ASIAOTHER");
    let batch = record(
        "batch",
        &role("app"),
        60,
        "secretsmanager",
        "BatchGetSecretValue",
        json!({"secretIdList": ["prod/db"]}),
    );
    let records = [
        read("read", "app", 0, "prod/db"),
        decrypt_secret("use", "app", 0, "prod/db"),
        refused,
        outside,
        batch,
        read("child", "app", 60, "prod/db"),
    ];
    std::fs::write(&logs, json!(records).to_string()).unwrap();
    let logs = logs.to_str().unwrap();
    let check = |args: &[&str], expected: &[&str]| {
        let all = [&["accesses", logs, "-q", "-f", "jsonl"], args].concat();
        let printed = secretrail(&all);
        assert_eq!(printed.code, 0, "{}", printed.stderr);
        let lines = printed
            .stdout
            .lines()
            .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        let ids: Vec<String> = lines
            .map(|l| l["event_id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids, expected, "{args:?}");
    };
    check(&[], &["read", "denied", "outside", "child"]);
    check(&["--principal", "web"], &["denied"]);
    check(
        &["--principal", "arn:aws:iam::*:role/app"],
        &["read", "outside", "child"],
    );
    check(
        &[
            "--principal",
            "*:assumed-role/web/*",
            "--principal",
            "nobody",
        ],
        &["denied"],
    );
    check(&["--secret", "prod/k*"], &["outside"]);
    check(
        &["--secret", "arn:aws:secretsmanager:*:secret:prod/db"],
        &["read", "denied", "child"],
    );
    check(&["--source", "2001:db8::/32"], &["outside"]);
    check(
        &["--source", "10.0.0.1", "--outcome", "success"],
        &["read", "child"],
    );
    check(&["--outcome", "denied,failed"], &["denied"]);
    check(&["--method", "batch"], &["child"]);
    check(&["--access-key", "ASIAOTHER"], &["outside"]);
    check(&["--principal", "web", "--outcome", "success"], &[]);
    for (flag, value) in [
        ("--outcome", "good"),
        ("--method", "magic"),
        ("--source", "home"),
    ] {
        let printed = secretrail(&["accesses", logs, flag, value]);
        assert_eq!(printed.code, 64);
        assert!(
            printed.stderr.contains(value) && printed.stderr.contains("possible values")
                || printed.stderr.contains("write"),
            "{}",
            printed.stderr
        );
    }
    let alerts = |args: &[&str]| {
        let printed = secretrail(&[&["replay", logs, "-q", "-f", "csv"], args].concat());
        printed.stdout.lines().skip(1).count()
    };
    assert_eq!(alerts(&["--principal", "nobody"]), 0);
    assert_eq!(alerts(&["--outcome", "denied"]), 1);
}

#[test]
fn json_is_one_array_of_what_jsonl_has_a_line_of() {
    let folder = tempfile::tempdir().unwrap();
    for count in [0, 1, 3, 1_500] {
        let records: Vec<Value> = (0..count)
            .map(|n| read(&format!("r{n:05}"), "app", n, "prod/db"))
            .collect();
        let logs = folder.path().join("logs.json");
        fs::write(
            &logs,
            json!(
                [
                    records,
                    vec![record(
                        "z",
                        &role("app"),
                        0,
                        "s3",
                        "ListBuckets",
                        Value::Null
                    )]
                ]
                .concat()
            )
            .to_string(),
        )
        .unwrap();
        for command in ["accesses", "replay", "gaps"] {
            let print = |format: &str| {
                secretrail(&[command, text(&logs), "-q", "--threads", "2", "-f", format]).stdout
            };
            let array: Vec<Value> = serde_json::from_str(&print("json"))
                .unwrap_or_else(|e| panic!("{command} {count}: {e}"));
            let lines: Vec<Value> = print("jsonl")
                .lines()
                .map(|l| serde_json::from_str(l).unwrap())
                .collect();
            assert_eq!(array, lines, "{command}");
        }
    }
}
