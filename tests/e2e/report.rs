//! The report, opened in a browser: it draws itself without a network, finds what is looked for,
//! and runs nothing that came from a log. And the ledger as Parquet, read by DuckDB.

mod cards;
mod image;
mod review;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use e2e::{LOGS, POLICY, local, secretrail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn report(logs: &str, more: &[&str], folder: &Path) -> PathBuf {
    let page = folder.join("report.html");
    let args = [
        &[
            "replay",
            logs,
            "-f",
            "html",
            "-q",
            "-o",
            page.to_str().unwrap(),
        ],
        more,
    ]
    .concat();
    let printed = secretrail(&args);
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""));
    page
}

fn browsed(page: &Path, story: &str, screenshots: &Path) -> Value {
    let args = [page.as_os_str(), story.as_ref(), screenshots.as_ref()];
    local::in_browser("browser.py", &args)
}

#[test]
fn an_analyst_brushes_filters_and_finds_the_story() {
    let folder = tempfile::tempdir().unwrap();
    let page = report(LOGS, &["--policy", POLICY], folder.path());
    let seen = browsed(&page, "search-app", Path::new(env!("CARGO_TARGET_TMPDIR")));
    let replay = secretrail(&[
        "replay", LOGS, "--policy", POLICY, "-f", "jsonl", "--alerts", "-q",
    ]);
    let ledger = secretrail(&["accesses", LOGS, "-f", "jsonl", "-q"]);
    let counts = |key: &str| {
        let pair: Vec<usize> = serde_json::from_value(seen[key].clone()).unwrap();
        (pair[0], pair[1])
    };
    let all = (replay.stdout.lines().count(), ledger.stdout.lines().count());
    assert_eq!((counts("all"), counts("unbrushed")), (all, all));
    assert_eq!(
        (&seen["requests"], &seen["errors"]),
        (&json!(["report.html"]), &json!([]))
    );
    // The right half: fewer, and exactly those of the ledger from then on.
    let from = seen["from"].as_str().unwrap();
    let time = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap()["time"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let later = ledger
        .stdout
        .lines()
        .filter(|line| time(line).as_str() >= from)
        .count();
    assert!(
        from > "2026" && counts("brushed").1 == later && later > 0 && later < all.1,
        "{from} {seen:#}"
    );
    let moved: Vec<String> = serde_json::from_value(seen["moved"].clone()).unwrap();
    assert!(!moved[0].is_empty() && moved[1] < moved[0], "{moved:?}");
    // The story of the stolen credentials.
    let stories = seen["stories"].to_string();
    assert!(
        stories.contains("role/search-app read prod/payments/stripe-key"),
        "{stories}"
    );
    assert!(
        counts("searched").0 > 0
            && counts("searched").0 < all.0
            && seen["evidence"].as_u64() > Some(0)
    );
    let denied = ledger
        .stdout
        .lines()
        .filter(|line| line.contains("\"outcome\":\"denied\""))
        .count();
    assert_eq!(
        (counts("denied").1, &seen["denied_outcomes"]),
        (denied, &json!(["denied"]))
    );
    let principal = seen["principal"]
        .as_str()
        .unwrap()
        .strip_prefix("Show only ")
        .unwrap();
    let of = ledger
        .stdout
        .lines()
        .filter(|line| line.contains(&format!("\"arn\":\"{principal}\"")))
        .count();
    assert_eq!(counts("clicked").1, of);
    assert!(
        seen["chip"].as_str().unwrap().contains(principal)
            && seen["row"].as_str().unwrap().contains("Decrypt")
    );
    assert_eq!(seen["injected"], "undefined");
    // On paper: dark on white, everything open, and a chart that is not wider than the paper.
    // Afterwards as before.
    let print = &seen["print"];
    assert_eq!(
        (&print["theme"], &print["closed"], &print["ink"]),
        (&json!("light"), &json!(0), &json!("rgb(27, 35, 48)"))
    );
    assert!(
        print["evidence"].as_u64() > Some(20) && print["chart"].as_u64() < Some(700),
        "{print}"
    );
    assert!(
        seen["printed"][0] == seen["printed"][1] && seen["printed"][0][0] == "",
        "{}",
        seen["printed"]
    );
    for (name, width) in seen["overflow"].as_object().unwrap() {
        assert!(
            name.starts_with(&width.to_string()),
            "no sideways scrolling at {name}: {width}"
        );
    }
}

#[test]
fn nothing_from_a_log_runs_in_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let page = report(&hostile(folder.path()), &[], folder.path());
    let text = std::fs::read_to_string(&page).unwrap();
    assert_eq!(
        text.matches("</script>").count(),
        2,
        "no text ends a script"
    );
    assert!(!text.contains("<img"));
    let seen = browsed(&page, "pwned", folder.path());
    assert_eq!(
        (&seen["pwned"], &seen["scripts"]),
        (&json!("undefined"), &json!(2))
    );
    assert_eq!(
        (&seen["errors"], &seen["requests"]),
        (&json!([]), &json!(["report.html"]))
    );
    let shown = seen["text"].as_str().unwrap();
    assert!(
        shown.contains("<script>window.pwned=1</script>"),
        "it is shown as text"
    );
    assert!(!shown.contains('\u{202e}') && !shown.contains('\u{1b}'));
}

/// What an attacker may write wherever a record takes text.
const HOSTILE: [&str; 8] = [
    "</script><script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "\u{1b}]0;pwned\u{7}\u{1b}[31m",
    "=cmd|'/c calc'!A0",
    "abc\u{202e}gpj.exe\u{2066}",
    "' onmouseover='window.pwned=1",
    "javascript:window.pwned=1",
    "https://pwned.example/?a=<b>&c=d",
];

/// What no terminal may be given.
const HARMFUL: [char; 4] = ['\u{1b}', '\u{7}', '\u{202e}', '\u{2066}'];

/// A file with such texts in every field of a record, and a user agent of a megabyte.
fn hostile(folder: &Path) -> String {
    let long = "A".repeat(1_000_000);
    let records = HOSTILE.iter().enumerate().flat_map(|(index, text)| {
        let mut read = e2e::read(&format!("{text}{index}"), "app", 0, &format!("prod/{text}"));
        read["userAgent"] = json!(if index == 0 { &long } else { *text });
        read["sourceIPAddress"] = json!(text);
        read["userIdentity"]["arn"] = json!(format!(
            "arn:aws:sts::111122223333:assumed-role/{text}/{text}"
        ));
        read["userIdentity"]["accessKeyId"] = json!(text);
        read["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] =
            json!(format!("arn:aws:iam::111122223333:role/{text}"));
        let mut denied = e2e::denied(
            &format!("{text}d{index}"),
            "app",
            1,
            &format!("prod/{text}"),
        );
        denied["errorCode"] = json!(format!("AccessDenied{text}"));
        denied["errorMessage"] = json!(format!(
            "not authorized to perform: x on resource: {text} because no {text}"
        ));
        denied["userAgent"] = json!(text);
        let direct = e2e::direct_decrypt(&format!("{text}k{index}"), text, 2, text);
        [read, denied, direct]
    });
    let path = folder.join("hostile.json");
    std::fs::write(
        &path,
        json!({"Records": records.collect::<Vec<_>>()}).to_string(),
    )
    .unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn no_form_of_output_passes_on_what_could_do_harm() {
    let folder = tempfile::tempdir().unwrap();
    let logs = hostile(folder.path());
    for command in ["replay", "accesses", "summary", "gaps", "baseline"] {
        let forms: &[&str] = match command {
            "replay" => &["table", "csv", "json", "jsonl", "ocsf"],
            "accesses" | "gaps" => &["table", "csv", "json", "jsonl"],
            _ => &[""],
        };
        for form in forms {
            let args = [
                vec![command, &logs],
                if form.is_empty() {
                    vec![]
                } else {
                    vec!["-f", form]
                },
            ]
            .concat();
            let printed = secretrail(&args);
            assert_eq!(printed.code, 0, "{command} {form}: {}", printed.stderr);
            let text = printed.stdout + &printed.stderr;
            assert!(
                !text.contains('\u{1b}') && !text.contains('\u{7}'),
                "{command} {form} passes on escapes"
            );
            if ["table", "csv", ""].contains(form) {
                assert!(
                    !text.contains('\u{202e}') && !text.contains('\u{2066}'),
                    "{command} {form} turns text"
                );
            }
            match *form {
                "csv" => {
                    // Read back as a spreadsheet would: no cell begins a formula.
                    let mut cells = text
                        .lines()
                        .flat_map(|line| line.split(','))
                        .map(|cell| cell.trim_matches('"'));
                    assert!(
                        cells.all(|cell| !cell.starts_with(['=', '@', '+'])),
                        "{command}: a formula"
                    );
                }
                "json" => assert!(serde_json::from_str::<Value>(&printed_json(&text)).is_ok()),
                "jsonl" | "ocsf" => {
                    let lines = text.lines().filter(|line| line.starts_with('{'));
                    assert!(
                        lines
                            .into_iter()
                            .all(|line| serde_json::from_str::<Value>(line).is_ok())
                    );
                }
                _ => {}
            }
        }
    }
}

#[test]
fn an_alert_is_explained_without_what_could_do_harm() {
    let folder = tempfile::tempdir().unwrap();
    let logs = hostile(folder.path());
    let alerts = secretrail(&["replay", &logs, "-f", "jsonl", "-q"]).stdout;
    let file = folder.path().join("alerts.jsonl");
    std::fs::write(&file, &alerts).unwrap();
    let ids = alerts.lines().map(|line| {
        serde_json::from_str::<Value>(line).unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned()
    });
    let ids: Vec<String> = ids.collect();
    assert!(ids.len() >= HOSTILE.len(), "{alerts}");
    let mut reported = String::new();
    for id in &ids {
        for source in [&logs, file.to_str().unwrap()] {
            let printed = secretrail(&["explain", id, source]);
            assert_eq!(printed.code, 0, "{}", printed.stderr);
            let text = printed.stdout + &printed.stderr;
            assert!(!text.contains(HARMFUL), "{id} in {source}: {text:?}");
            reported.push_str(&text);
        }
    }
    assert!(
        reported.contains("<script>window.pwned=1</script>"),
        "it is shown, as text"
    );
}

#[test]
fn parquet_holds_hostile_text_as_it_was_and_in_its_columns() {
    let folder = tempfile::tempdir().unwrap();
    let logs = hostile(folder.path());
    let table = folder.path().join("ledger.parquet");
    let printed = secretrail(&[
        "accesses",
        &logs,
        "-f",
        "parquet",
        "-q",
        "-o",
        table.to_str().unwrap(),
    ]);
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""));
    let script = "import duckdb, json, sys\n\
        print(json.dumps(duckdb.sql(f\"select event_id, secret_name, principal_arn, source_ip, source_user_agent from '{sys.argv[1]}' order by all\").fetchall()))";
    let output = Command::new(local::duckdb())
        .args(["-c", script, table.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let read: Vec<Vec<Value>> = serde_json::from_slice(&output.stdout).unwrap();
    let lines = secretrail(&["accesses", &logs, "-f", "jsonl", "-q"]).stdout;
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        [
            "/event_id",
            "/secret/name",
            "/principal/arn",
            "/source/ip",
            "/source/user_agent",
        ]
        .map(|path| row.pointer(path).cloned().unwrap_or_default())
        .to_vec()
    };
    let in_order = |mut rows: Vec<Vec<Value>>| {
        rows.sort_by_key(|row| row[0].to_string());
        rows
    };
    let (read, rows) = (in_order(read), in_order(lines.lines().map(row).collect()));
    assert!(
        rows.len() >= HOSTILE.len()
            && rows
                .iter()
                .any(|row| row[4].as_str().is_some_and(|agent| agent.len() > 9_999))
    );
    assert!(read == rows, "{} and {} rows", read.len(), rows.len());
}

#[test]
fn names_of_files_are_harmless_too() {
    let folder = tempfile::tempdir().unwrap();
    for text in HOSTILE {
        let name = text.replace('/', "\u{2215}");
        std::fs::write(
            folder.path().join(format!("{name}.json")),
            "{\"Records\":[{\"eventTi",
        )
        .unwrap();
    }
    let path = folder.path().to_str().unwrap();
    for args in [
        &["accesses"][..],
        &["replay"],
        &["gaps"],
        &["summary"],
        &["verify"],
        &["explain", "0123456789"],
    ] {
        let printed = secretrail(&[args, &[path]].concat());
        let text = printed.stdout + &printed.stderr;
        assert!(!text.contains(HARMFUL), "{args:?}: {text:?}");
        assert!(
            args == ["verify"] || text.contains("pwned"),
            "{args:?} names them: {text}"
        );
    }
}

/// The array in a text, without the closing words.
fn printed_json(text: &str) -> String {
    text.split_once("secretrail: read")
        .map_or(text, |(array, _)| array)
        .to_owned()
}

#[test]
fn duckdb_reads_from_parquet_what_the_lines_say() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (table, lines) = (path("ledger.parquet"), path("ledger.jsonl"));
    for (form, file) in [("parquet", &table), ("jsonl", &lines)] {
        let printed = secretrail(&["accesses", LOGS, "-f", form, "-q", "-o", file]);
        assert_eq!((printed.code, printed.stderr.as_str()), (0, ""));
    }
    let script = r#"
import duckdb, json, sys
table, lines = sys.argv[1:]
connection = duckdb.connect()
connection.execute("set timezone = 'UTC'")
of = lambda text: [list(map(str, row)) for row in connection.sql(text).fetchall()]
rows = of(f"""select outcome, decrypt_status, count(*), count(distinct secret_arn), count(distinct principal_arn), min(time), max(time),
    sum(decrypt_delta_secs), count(source_vpc_endpoint), count(*) filter (cross_account) from '{table}' group by all order by all""")
kinds = dict((name, kind) for name, kind, *_ in connection.sql(f"describe select * from '{table}'").fetchall())
meta = [[bytes(key).decode(), bytes(value).decode()] for _, key, value in connection.sql(f"select * from parquet_kv_metadata('{table}')").fetchall()]
same = of(f"""select outcome, decrypt.status, count(*), count(distinct secret.arn), count(distinct principal.arn), min(time::timestamptz), max(time::timestamptz),
    sum(decrypt.delta_secs), count(source.vpc_endpoint), count(*) filter (cross_account) from read_json('{lines}', format='newline_delimited',
    columns={{time: 'VARCHAR', outcome: 'VARCHAR', cross_account: 'BOOLEAN', decrypt: 'STRUCT(status VARCHAR, delta_secs BIGINT)', secret: 'STRUCT(arn VARCHAR)',
    principal: 'STRUCT(arn VARCHAR)', source: 'STRUCT(vpc_endpoint VARCHAR)'}}) group by all order by all""")
print(json.dumps({"rows": rows, "same": same, "kinds": kinds, "meta": [m for m in meta if m[0] == "schema"]}))
"#;
    let output = Command::new(local::duckdb())
        .args(["-c", script, &table, &lines])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(read["rows"].as_array().unwrap().len() > 2);
    assert_eq!(read["rows"], read["same"]);
    assert_eq!(read["kinds"]["time"], "TIMESTAMP WITH TIME ZONE");
    assert_eq!(
        (
            &read["kinds"]["cross_account"],
            &read["kinds"]["decrypt_delta_secs"]
        ),
        (&json!("BOOLEAN"), &json!("BIGINT"))
    );
    assert_eq!(read["meta"], json!([["schema", "secretrail.access/1"]]));
    let columns = secretrail(&["accesses", LOGS, "-f", "csv", "-q"]).stdout;
    let columns = columns.lines().next().unwrap().replace('.', "_");
    let mut names: Vec<&str> = columns.split(',').collect();
    names.sort_unstable();
    let kinds: Vec<&String> = read["kinds"].as_object().unwrap().keys().collect();
    let mut kinds: Vec<&str> = kinds.into_iter().map(String::as_str).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, names, "the columns of Parquet and CSV are the same");
}

#[test]
fn what_is_embedded_is_what_was_published() {
    let vendor =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../detector/cli/src/output/report/vendor");
    let about = std::fs::read_to_string(vendor.join("README.md")).unwrap();
    for entry in std::fs::read_dir(&vendor).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name == "README.md" {
            continue;
        }
        let hash = Sha256::digest(std::fs::read(&path).unwrap());
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut rows = about.lines();
        assert!(
            rows.any(|row| row.starts_with(&format!("| `{name}` |")) && row.contains(&hash)),
            "{name} has another checksum than the README says: {hash}"
        );
    }
    // The page names the version, too.
    let row = about.lines().find(|row| row.starts_with("| uPlot |"));
    let version = row.unwrap().split('|').nth(2).unwrap().trim();
    let code = std::fs::read_to_string(vendor.join("uPlot.iife.min.js")).unwrap();
    assert!(code.contains(&format!("(v{version})")), "{version}");
    let script = std::fs::read_to_string(vendor.join("../page.js")).unwrap();
    assert!(script.contains(&format!("uPlot {version},")));
}

#[test]
fn forms_that_a_command_does_not_have_are_refused_with_those_it_has() {
    for args in [
        ["replay", LOGS, "-f", "parquet"],
        ["accesses", LOGS, "-f", "html"],
        ["accesses", LOGS, "-f", "ocsf"],
        ["gaps", LOGS, "-f", "html"],
    ] {
        let printed = secretrail(&args);
        assert_eq!(printed.code, 64, "{args:?}");
        assert!(
            printed.stderr.contains("choose -f table"),
            "{}",
            printed.stderr
        );
    }
}
