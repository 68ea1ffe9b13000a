//! Tests of the real executable: standard streams, exit codes, signals.

#![allow(
    clippy::too_many_lines,
    reason = "a test shows a whole story in one place"
)]

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

const LOGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/examples/logs");

fn secretrail() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretrail"));
    command.env_clear();
    command
}

/// Sorted names of the files in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("folder")
        .map(|e| e.expect("entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn data_goes_to_standard_output_and_the_rest_to_standard_error() {
    let run = secretrail()
        .args(["replay", LOGS, "-f", "jsonl"])
        .output()
        .expect("runs");
    assert_eq!(run.status.code(), Some(0));
    let out = String::from_utf8(run.stdout).expect("UTF-8");
    let (alerts, incidents): (Vec<&str>, Vec<&str>) = out
        .lines()
        .partition(|line| line.starts_with(r#"{"schema":"secretrail.alert/1","#));
    assert!(alerts.len() > 3 && incidents.len() > 1);
    let schema = r#"{"schema":"secretrail.incident/1","#;
    assert!(incidents.iter().all(|line| line.starts_with(schema)));
    assert!(String::from_utf8_lossy(&run.stderr).contains("secret reads   122"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = secretrail()
        .args(["accesses", LOGS, "-f", "jsonl", "-q"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    drop(child.stdout.take());
    let mut said = String::new();
    child
        .stderr
        .take()
        .expect("piped")
        .read_to_string(&mut said)
        .expect("reads");
    assert_eq!(
        (child.wait().expect("ends").code(), said.as_str()),
        (Some(0), "")
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_said_and_leaves_no_file() {
    let run = secretrail()
        .args(["accesses", LOGS, "-o", "/dev/full", "-q"])
        .output()
        .expect("runs");
    assert_eq!(run.status.code(), Some(74));
    assert!(
        String::from_utf8_lossy(&run.stderr)
            .contains("cannot write /dev/full: No space left on device")
    );
    let run = secretrail()
        .args(["accesses", LOGS, "-q"])
        .stdout(
            fs::File::options()
                .write(true)
                .open("/dev/full")
                .expect("opens"),
        )
        .output()
        .expect("runs");
    assert_eq!(run.status.code(), Some(74));
}

#[cfg(target_os = "linux")]
#[test]
fn a_closed_output_is_a_failure() {
    let run = Command::new("sh")
        .args(["-c", "exec \"$0\" accesses \"$1\" -q >&-"])
        .args([env!("CARGO_BIN_EXE_secretrail"), LOGS])
        .env_clear()
        .output()
        .expect("runs");
    assert_eq!(run.status.code(), Some(74));
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(said.contains("cannot write standard output"), "{said}");
}

#[cfg(unix)]
#[test]
fn a_pipe_among_the_logs_is_skipped_and_the_run_ends() {
    let folder = tempfile::tempdir().expect("folder");
    let pipe = folder.path().join("x.json");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("runs");
    assert!(made.success());
    std::os::unix::fs::symlink(&pipe, folder.path().join("y.json")).expect("links");
    let record = r#"{"eventSource":"s3.amazonaws.com","eventName":"ListBuckets",
        "eventTime":"2026-03-02T10:00:00Z"}"#;
    fs::write(folder.path().join("a.json"), record).expect("writes");
    let run = secretrail().arg("accesses").arg(folder.path()).output();
    let run = run.expect("runs");
    assert_eq!(run.status.code(), Some(0));
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(
        said.contains("skipped files  2 pipe, socket or device"),
        "{said}"
    );
}

/// A run that waits for its standard input, with its output opened.
fn waiting(folder: &Path) -> (std::process::Child, PathBuf) {
    let out = folder.join("out.jsonl");
    let mut command = secretrail();
    command
        .args(["accesses", "-", "-f", "jsonl", "-o"])
        .arg(&out);
    let mut child = command
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let stdin = child.stdin.as_mut().expect("piped");
    stdin
        .write_all(br#"{"Records":["#)
        .and_then(|()| stdin.flush())
        .expect("writes");
    for _ in 0..500 {
        if names(folder).iter().any(|n| n.ends_with(".partial")) {
            return (child, out);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().and_then(|()| child.wait()).expect("ends");
    panic!("no output was opened: {:?}", names(folder));
}

#[cfg(unix)]
fn signal(child: &std::process::Child, name: &str) {
    let sent = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(sent.success());
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_nothing_and_a_killed_one_nothing_that_looks_whole() {
    let folder = tempfile::tempdir().expect("folder");
    let (mut child, out) = waiting(folder.path());
    signal(&child, "-INT");
    assert_eq!(child.wait().expect("ends").code(), Some(130));
    assert_eq!(names(folder.path()), Vec::<String>::new());
    let (mut child, _) = waiting(folder.path());
    signal(&child, "-KILL");
    assert_eq!(child.wait().expect("ends").code(), None);
    assert!(!out.exists());
    assert!(
        names(folder.path())
            .iter()
            .all(|n| n.starts_with('.') && n.ends_with(".partial"))
    );
}

#[test]
fn help_and_version_work_and_name_the_exit_codes() {
    let help = secretrail()
        .args(["replay", "--help"])
        .output()
        .expect("runs");
    let text = String::from_utf8(help.stdout).expect("UTF-8");
    assert_eq!(help.status.code(), Some(0));
    for words in ["--policy", "--from", "--fail-on", "64 usage", "UTC without"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(
        secretrail()
            .arg("--version")
            .output()
            .expect("runs")
            .status
            .code(),
        Some(0)
    );
    assert_eq!(
        secretrail()
            .arg("--nonsense")
            .output()
            .expect("runs")
            .status
            .code(),
        Some(64)
    );
}

#[test]
fn a_file_gives_defaults_and_what_is_typed_takes_precedence() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("secretrail.toml");
    let printed = |text: &str, args: &[&str]| {
        std::fs::write(&config, text).unwrap();
        let output = secretrail()
            .env("SECRETRAIL_CONFIG", &config)
            .args(args)
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            text(output.stdout),
            text(output.stderr),
            output.status.code(),
        )
    };
    let (out, err, code) = printed(
        "quiet = true\n[accesses]\nformat = \"jsonl\"\nthreads = 1\n",
        &["accesses", LOGS],
    );
    assert_eq!(
        (out.starts_with("{\"schema\""), err.as_str(), code),
        (true, "", Some(0))
    );
    let (out, ..) = printed(
        "[accesses]\nformat = \"jsonl\"\n",
        &["accesses", LOGS, "-q", "--format", "csv"],
    );
    assert!(out.starts_with("time,"), "{out}");
    // Options of another command, and an option that conflicts with a typed one.
    let text = "since = \"1h\"\nquiet = true\n[accesses]\nformat = \"csv\"\n[replay]\npolicy = \"nowhere.yaml\"\n";
    let (out, err, code) = printed(
        text,
        &["accesses", LOGS, "--from", "2026-03-02", "-f", "jsonl"],
    );
    assert!(
        code == Some(0) && err.is_empty() && out.contains("prod/"),
        "{out}{err}"
    );
    let (_, err, code) = printed(text, &["replay", LOGS]);
    assert!(code == Some(2) && err.contains("nowhere.yaml"), "{err}");
    // Lists, and flags beside them.
    let text = "principal = [\"*search-app*\", \"*nobody*\"]\nquiet = true";
    let (out, ..) = printed(text, &["accesses", LOGS, "-f", "csv"]);
    assert!(
        out.lines().count() > 1 && out.lines().skip(1).all(|line| line.contains("search-app")),
        "{out}"
    );
    for (text, said) in [
        (
            "qiet = true",
            "`qiet` is not an option; did you mean `quiet`?",
        ),
        (
            "[acceses]",
            "`acceses` is not a command; did you mean `accesses`?",
        ),
        ("[accesses]\npolicy = \"p\"", "`policy` is not an option"),
        ("quiet = \"yes\"", "`quiet` must be true or false"),
        ("format = true", "`format` must be a string or a number"),
        ("quiet = ", "secretrail.toml: TOML parse error at line 1"),
    ] {
        let (_, err, code) = printed(text, &["accesses", LOGS]);
        assert!(code == Some(64) && err.contains(said), "{text}: {err}");
    }
    std::fs::remove_file(&config).unwrap();
    let missing = secretrail()
        .env("SECRETRAIL_CONFIG", &config)
        .args(["accesses", LOGS])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(64));
    // A file in the working directory is evidence, and is never read.
    std::fs::write(folder.path().join("secretrail.toml"), "format = \"csv\"").unwrap();
    let here = secretrail()
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .args(["accesses", LOGS, "-q"])
        .output();
    assert!(here.unwrap().stdout.starts_with(b"TIME"));
    let home = folder.path().join(".config/secretrail");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("secretrail.toml"), "format = \"csv\"").unwrap();
    let usual = secretrail()
        .env("HOME", folder.path())
        .args(["accesses", LOGS, "-q"])
        .output();
    assert!(usual.unwrap().stdout.starts_with(b"time,"));
}
