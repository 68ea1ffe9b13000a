//! Observation parts in place of the logs they were made of: the same bytes out of every command,
//! and clear words about parts that cannot stand for their logs. And checkpoints, which are parts.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use e2e::{LOGS, POLICY, Printed, read, secretrail, silent_pipe, unasked_rule, write_gz};
use serde_json::{Value, json};

fn extract(logs: &str, parts: &Path, more: &[&str]) -> Printed {
    secretrail(&[&["extract", logs, "-o", parts.to_str().unwrap()], more].concat())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// The closing words without the time that it took.
fn counts(printed: &Printed) -> String {
    let lines = printed
        .stderr
        .lines()
        .map(|line| line.split(" in ").next().unwrap());
    // Files that are skipped by name are not in extract files, and of the records outside of a
    // selection only those that matter.
    lines
        .filter(|line| !line.contains("skipped files") && !line.contains("left out"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn every_command_reads_parts_as_it_reads_logs() {
    let folder = tempfile::tempdir().unwrap();
    let parts = folder.path().join("parts");
    let printed = extract(LOGS, &parts, &["--part-size", "4K"]);
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    assert!(files(&parts).len() > 2, "{:?}", files(&parts));
    let parts = parts.to_str().unwrap();
    for args in [
        &["accesses", "-f", "jsonl"][..],
        &["replay", "--policy", POLICY, "-f", "jsonl"],
        &[
            "replay",
            "--policy",
            POLICY,
            "--from",
            "2026-03-02T10:00:00Z",
            "--to",
            "2026-03-02T10:45:00Z",
            "-f",
            "jsonl",
        ],
        &[
            "replay",
            "--policy",
            POLICY,
            "--account",
            "111122223333",
            "--region",
            "eu-west-1",
            "-f",
            "jsonl",
        ],
        &["accesses", "--principal", "*search-app*", "-f", "csv"],
        &["gaps", "-f", "jsonl"],
        &["baseline"],
        &["summary"],
    ] {
        let of = |path: &str| secretrail(&[&args[..1], &[path], &args[1..]].concat());
        let (logs, parts) = (of(LOGS), of(parts));
        assert!(args[0] == "gaps" || !logs.stdout.is_empty(), "{args:?}");
        assert_eq!(
            (&parts.stdout, parts.code),
            (&logs.stdout, logs.code),
            "{args:?}"
        );
        assert_eq!(counts(&parts), counts(&logs), "{args:?}");
    }
    // Beside the logs they come from: every event came twice, and is told once.
    let ledger =
        |paths: &[&str]| secretrail(&[&["accesses", "-f", "jsonl", "-q"], paths].concat()).stdout;
    assert_eq!(ledger(&[LOGS, parts]), ledger(&[LOGS]));
    // An alert is explained from parts with the same records.
    let alerts = secretrail(&["replay", parts, "-f", "jsonl", "-q"]).stdout;
    let alert: Value = serde_json::from_str(alerts.lines().next().unwrap()).unwrap();
    let explained = |path: &str| {
        let text = secretrail(&["explain", alert["id"].as_str().unwrap(), path, "-q"]).stdout;
        text.split("look next:").next().unwrap().to_owned()
    };
    assert_eq!(explained(parts), explained(LOGS));
}

#[test]
fn the_same_logs_give_the_same_parts_and_a_second_run_makes_only_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    extract(LOGS, &one, &["--part-size", "4K", "--threads", "1"]);
    extract(LOGS, &two, &["--part-size", "4K", "--threads", "4"]);
    let read = |folder: &Path| {
        let read = |path: PathBuf| {
            (
                path.file_name().unwrap().to_owned(),
                std::fs::read(path).unwrap(),
            )
        };
        files(folder).into_iter().map(read).collect::<Vec<_>>()
    };
    let first = read(&one);
    assert_eq!(first, read(&two));
    std::fs::remove_file(&files(&one)[1]).unwrap();
    let printed = extract(LOGS, &one, &["--part-size", "4K"]);
    assert!(
        printed.stderr.contains("1 written")
            && printed
                .stderr
                .contains(&format!("{} already existed", first.len() - 1))
    );
    assert_eq!(read(&one), first);
    // Two jobs with other batches over the same logs, together.
    extract(LOGS, &one, &["--part-size", "9K"]);
    let ledger = |path: &str| secretrail(&["accesses", path, "-f", "jsonl"]);
    let (both, logs) = (ledger(one.to_str().unwrap()), ledger(LOGS));
    assert_eq!(
        (both.stdout.as_str(), counts(&both)),
        (logs.stdout.as_str(), counts(&logs))
    );
}

#[test]
fn what_could_not_be_read_is_named_by_the_replay_too() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    write_gz(
        &logs.join("a.json.gz"),
        json!({"Records": [read("r1", "app", 0, "prod/db")]})
            .to_string()
            .as_bytes(),
    );
    std::fs::write(logs.join("poison.json.gz"), poison()).unwrap();
    std::fs::write(
        logs.join("cut.json"),
        format!(
            "{{\"Records\":[{},{{\"eventTi",
            read("r2", "app", 1, "prod/db")
        ),
    )
    .unwrap();
    let parts = folder.path().join("parts");
    let printed = extract(logs.to_str().unwrap(), &parts, &[]);
    assert!(
        printed.code == 3 && printed.stderr.contains("poison.json.gz"),
        "{}",
        printed.stderr
    );
    let (direct, replayed) = (
        secretrail(&["replay", logs.to_str().unwrap(), "-f", "jsonl", "-q"]),
        secretrail(&["replay", parts.to_str().unwrap(), "-f", "jsonl", "-q"]),
    );
    assert_eq!(replayed, direct);
    assert_eq!(replayed.code, 3);
    assert!(
        replayed.stderr.contains("poison.json.gz")
            && replayed
                .stderr
                .contains("cut.json: 1 record skipped (truncated)")
    );
}

#[test]
fn parts_that_cannot_stand_for_their_logs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let parts = folder.path().join("parts");
    extract(LOGS, &parts, &["--from", "2026-03-02T10:00:00Z"]);
    let path = parts.to_str().unwrap();
    let less = secretrail(&["replay", path]);
    assert!(
        less.code == 3 && less.stderr.contains("use the same --since"),
        "{}",
        less.stderr
    );
    let later = secretrail(&["replay", path, "--from", "2026-03-02T10:30:00Z", "-q"]);
    assert_eq!((later.code, later.stderr.as_str()), (0, ""));
    // A rule about records that nobody has asked for before.
    let rule = unasked_rule(folder.path());
    let replay = [
        "replay",
        path,
        "--from",
        "2026-03-02T10:00:00Z",
        "-r",
        &rule,
    ];
    let refused = secretrail(&replay);
    assert_eq!(refused.code, 3);
    assert!(
        refused.stderr.contains("\"Mail Identity Deleted\"")
            && refused.stderr.contains("extract again"),
        "{}",
        refused.stderr
    );
    // A part that was cut off in its way, and one of another version.
    let part = &files(&parts)[0];
    let bytes = std::fs::read(part).unwrap();
    std::fs::write(part, &bytes[..bytes.len() - 20]).unwrap();
    let cut = secretrail(&["accesses", path, "--from", "2026-03-02T10:00:00Z", "-q"]);
    assert!(
        cut.code == 3 && cut.stderr.contains("truncated or damaged"),
        "{}",
        cut.stderr
    );
    write_gz(part, b"{\"schema\":\"secretrail.extract/9\"}\n");
    let other = secretrail(&["accesses", path, "-q"]);
    assert!(
        other.code == 3 && other.stderr.contains("it reads secretrail.extract/1"),
        "{}",
        other.stderr
    );
}

#[test]
fn parts_in_one_file_and_parts_in_another_order_are_read_like_any() {
    let folder = tempfile::tempdir().unwrap();
    let parts = folder.path().join("parts");
    extract(LOGS, &parts, &["--part-size", "4K"]);
    let path = parts.to_str().unwrap();
    let ledger = || secretrail(&["accesses", path, "-f", "jsonl", "-q"]);
    let whole = ledger();
    assert!(whole.stdout.lines().count() > 100);
    // Two parts in one file, as `cat` makes them.
    let [first, second] = [0, 1].map(|index| files(&parts)[index].clone());
    let [bytes, more] = [&first, &second].map(|path| std::fs::read(path).unwrap());
    std::fs::write(&first, [bytes.clone(), more.clone()].concat()).unwrap();
    std::fs::remove_file(&second).unwrap();
    assert_eq!(ledger(), whole);
    std::fs::write(&second, more).unwrap();
    // Records in another order than that of their times.
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[..])
        .read_to_string(&mut text)
        .unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    let is_record = |line: &&str| line.starts_with("{\"of\"");
    let (start, end) = (
        lines.iter().position(is_record).unwrap(),
        lines.iter().rposition(is_record).unwrap(),
    );
    assert!(end > start);
    lines[start..=end].reverse();
    write_gz(&first, (lines.join("\n") + "\n").as_bytes());
    assert_eq!(ledger(), whole);
}

/// Gzip that breaks off.
fn poison() -> Vec<u8> {
    let mut bytes = e2e::packed(
        json!({"Records": [read("r9", "app", 9, "prod/db")]})
            .to_string()
            .as_bytes(),
    );
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// A tree of so many small files.
fn tree(folder: &Path, count: usize) -> String {
    for index in 0..count {
        let records: Vec<Value> = (0..20)
            .map(|n| {
                read(
                    &format!("r{index}-{n}"),
                    "app",
                    i64::try_from(index).unwrap(),
                    "prod/db",
                )
            })
            .collect();
        let path = folder.join(format!("logs/{index:04}.json.gz"));
        write_gz(&path, json!({"Records": records}).to_string().as_bytes());
    }
    folder.join("logs").to_str().unwrap().to_owned()
}

#[test]
fn a_run_that_was_killed_goes_on_from_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let logs = tree(folder.path(), 400);
    let checkpoint = folder.path().join("checkpoint");
    let name = checkpoint.to_str().unwrap();
    let whole = secretrail(&["accesses", &logs, "-f", "jsonl", "-q"]);
    // A reader that never gets to its end: the last path is a pipe that nobody writes to.
    let pipe = silent_pipe(folder.path());
    let mut killed = Command::new(env!("CARGO_BIN_EXE_secretrail-under-test"))
        .args([
            "accesses",
            &logs,
            pipe.to_str().unwrap(),
            "-q",
            "--threads",
            "2",
            "--checkpoint",
            name,
        ])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while std::fs::metadata(&checkpoint).map_or(0, |meta| meta.len()) < 1_000
        && Instant::now() < until
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(300));
    killed.kill().unwrap();
    killed.wait().unwrap();
    // As if it had been killed while it wrote.
    let mut bytes = std::fs::read(&checkpoint).unwrap();
    let noted = bytes.len();
    bytes.extend_from_within(..500);
    std::fs::write(&checkpoint, &bytes).unwrap();
    let other = secretrail(&[
        "accesses",
        &logs,
        pipe.to_str().unwrap(),
        "--from",
        "2026-03-02",
        "-q",
        "--checkpoint",
        name,
    ]);
    assert!(
        other.code == 64 && other.stderr.contains("another selection"),
        "{}",
        other.stderr
    );
    let elsewhere = secretrail(&["accesses", &logs, "-q", "--checkpoint", name]);
    assert!(
        elsewhere.code == 64 && elsewhere.stderr.contains("other paths"),
        "{}",
        elsewhere.stderr
    );
    std::fs::remove_file(&pipe).unwrap();
    std::fs::write(&pipe, r#"{"Records":[]}"#).unwrap();
    let paths = [&*logs, pipe.to_str().unwrap()];
    let run = |more: &[&str]| secretrail(&[&["accesses"], &paths[..], more].concat());
    // What was noted is not opened again: it is gone.
    let again = run(&["-f", "jsonl", "--checkpoint", name]);
    assert!(
        noted > 1_000 && again.stderr.contains("already read"),
        "{}",
        again.stderr
    );
    assert!(
        (again.stdout == whole.stdout) && again.code == 0,
        "{}",
        again.stderr
    );
    assert!(!checkpoint.exists(), "everything was read");
    // With something that could not be read, it stays.
    std::fs::write(Path::new(&logs).join("9999.json.gz"), poison()).unwrap();
    let failed = run(&["-f", "jsonl", "-q", "--checkpoint", name]);
    assert!(
        failed.stdout == whole.stdout && failed.code == 3 && checkpoint.exists(),
        "{}",
        failed.stderr
    );
    let foreign = secretrail(&["accesses", &logs, "--checkpoint", POLICY]);
    assert!(
        foreign.code == 64 && foreign.stderr.contains("--checkpoint"),
        "{}",
        foreign.stderr
    );
    assert!(
        std::fs::metadata(POLICY).unwrap().len() > 100,
        "and is left alone"
    );
}
