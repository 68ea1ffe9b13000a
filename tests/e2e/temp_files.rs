//! A history that does not fit into memory: the same results through temporary files, nothing left
//! of them, and clear words when they cannot be written.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use e2e::{
    ACCOUNT, LOGS, POLICY, Printed, REGION, any_record, at, secretrail, secretrail_with, siblings,
    silent_pipe, write_gz,
};
use proptest::strategy::{Strategy, ValueTree};
use serde_json::{Value, json};

/// Records of three days: many in one second, and each day's in any order.
fn records() -> Vec<Value> {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut records = siblings();
    for index in 0..3_000 {
        let mut record = any_record().new_tree(&mut runner).unwrap().current();
        let (hour, secs) = (index % 40, index / 40 % 30);
        record["eventTime"] = at(hour * 7_200 + secs).to_string().into();
        records.push(record);
    }
    records
}

/// A tree of log files with these records.
fn tree(folder: &Path, records: &[Value]) -> String {
    for (index, part) in records.chunks(40).enumerate() {
        let stamp = format!("{:02}{:02}", 10 + index / 60, index % 60);
        let name = format!("{ACCOUNT}_CloudTrail_{REGION}_20260302T{stamp}Z_x{index}.json.gz");
        let day = format!("AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/03/02");
        let path = folder.join(day).join(name);
        write_gz(&path, json!({"Records": part}).to_string().as_bytes());
    }
    folder.to_str().unwrap().to_owned()
}

/// The run summary without the time that it took.
fn without_pace(printed: Printed) -> (String, String, u8) {
    let lines = printed.stderr.lines().skip(1);
    (
        printed.stdout,
        lines.collect::<Vec<_>>().join("\n"),
        printed.code,
    )
}

const COMMANDS: [&[&str]; 13] = [
    &["accesses", "-f", "jsonl"],
    &["accesses", "-f", "json"],
    &["accesses", "-f", "csv"],
    &["accesses", "-f", "table"],
    &["replay", "-f", "jsonl"],
    &["replay", "-f", "json"],
    &["replay", "-f", "csv"],
    &["replay", "-f", "table"],
    &["replay", "-f", "ocsf"],
    &["replay", "-f", "html"],
    &["summary"],
    &["gaps"],
    &["baseline"],
];

#[test]
fn results_do_not_depend_on_what_fits_into_memory() {
    let folder = tempfile::tempdir().unwrap();
    let generated = tree(folder.path(), &records());
    let temp = tempfile::tempdir().unwrap();
    let temp_dir = temp.path().to_str().unwrap();
    for logs in [LOGS, &generated] {
        for command in COMMANDS {
            let with = |more: &[&str]| without_pace(secretrail(&[command, &[logs], more].concat()));
            // What fits needs no folder.
            let whole = with(&["--temp-dir", "/nowhere/at/all", "--threads", "2"]);
            assert!(whole.2 == 0 && !whole.0.is_empty(), "{}", whole.1);
            for [bytes, threads] in [["1", "1"], ["1", "2"], ["300K", "2"]] {
                let spare = [
                    "--temp-dir",
                    temp_dir,
                    "--held-bytes",
                    bytes,
                    "--threads",
                    threads,
                ];
                let through_files = with(&spare);
                let summary = |text: &str| text.replace("1 thread)", "2 threads)");
                assert!(
                    through_files.0 == whole.0 && summary(&through_files.1) == summary(&whole.1),
                    "{command:?} with {bytes} bytes, {threads} threads: {}",
                    through_files.1
                );
            }
        }
    }
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[test]
fn one_object_of_any_size_does_not_have_to_fit_either() {
    let lines: Vec<String> = records().iter().map(ToString::to_string).collect();
    let text = lines.join("\n");
    let of = |more: &[&str]| {
        let args = [&["replay", "-", "-f", "jsonl", "-q"], more].concat();
        secretrail_with(&args, text.as_bytes())
    };
    let whole = of(&[]);
    assert!(whole.stdout.lines().count() > 10, "{}", whole.stderr);
    assert_eq!(of(&["--held-bytes", "1"]), whole);
    // Standard input is one object, and has more events than are passed on at a time.
    let failed = of(&["--held-bytes", "1", "--temp-dir", "/nowhere/at/all"]);
    assert_eq!((failed.code, failed.stdout.as_str()), (74, ""));
}

#[test]
fn a_folder_that_cannot_be_written_is_named_and_nothing_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.jsonl");
    let printed = secretrail(&[
        "replay",
        LOGS,
        "--policy",
        POLICY,
        "-f",
        "jsonl",
        "-o",
        output.to_str().unwrap(),
        "--held-bytes",
        "1",
        "--temp-dir",
        "/nowhere/at/all",
    ]);
    assert_eq!((printed.code, printed.stdout.as_str()), (74, ""));
    assert!(
        printed.stderr.contains("/nowhere/at/all: ") && printed.stderr.contains("--temp-dir"),
        "{}",
        printed.stderr
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "no output"
    );
}

/// The command in a process of its own, with a budget that nothing fits into.
fn process(before: &str, temp: &Path, more: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{before} exec \"$0\" \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_secretrail-under-test"))
        .args(["accesses", "-q", "-f", "jsonl", "--held-bytes", "1"])
        .args(["--threads", "2", "--temp-dir", temp.to_str().unwrap()])
        .args(more);
    command
}

#[test]
fn a_full_disk_is_an_output_error_that_names_the_folder() {
    let (folder, temp) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let logs = tree(folder.path(), &records());
    // A limit on the size of files, whose signal is ignored, refuses writes as a full disk does.
    let output = process("trap '' XFSZ; ulimit -f 1;", temp.path(), &[&logs])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(74), "{stderr}");
    assert!(output.stdout.is_empty());
    let named = format!("temporary files in {}: ", temp.path().display());
    assert!(
        stderr.contains(&named) && stderr.contains("--temp-dir"),
        "{stderr}"
    );
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
}

/// Whether a process has a file open that is, or was, in this folder.
#[cfg(target_os = "linux")]
fn has_open(process: u32, folder: &Path) -> bool {
    let Ok(files) = std::fs::read_dir(format!("/proc/{process}/fd")) else {
        return false;
    };
    files
        .flatten()
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .any(|target| target.starts_with(folder))
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_that_is_stopped_leaves_nothing() {
    let (folder, temp) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let logs = tree(folder.path(), &records());
    // A reader that never gets to its end: the last path is a pipe that nobody writes to.
    let pipe = silent_pipe(folder.path());
    for signal in ["-TERM", "-KILL"] {
        let mut run = process("", temp.path(), &[&logs, pipe.to_str().unwrap()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while !has_open(run.id(), temp.path()) {
            assert!(Instant::now() < until, "no temporary file");
            std::thread::sleep(Duration::from_millis(5));
        }
        let names = || std::fs::read_dir(temp.path()).unwrap().count();
        assert_eq!(names(), 0, "no names");
        let mut kill = Command::new("kill");
        kill.args([signal, &run.id().to_string()]);
        assert!(kill.status().unwrap().success());
        run.wait().unwrap();
        assert_eq!(names(), 0);
    }
}
