//! Helpers to run commands in tests, and tests of behaviour common to all commands.

use std::{
    io::{Cursor, Write},
    sync::Arc,
};

use clap::FromArgMatches;
use secretrail_engine::{
    access::{Access, json_v1::AccessV1},
    actor::{Actor, Origin},
    alert::{Alert, AlertTraits},
    rule_meta::{RuleLevel, RuleMeta},
    time::EventTime,
};
use serde_json::{Value, json};

use super::execute;
use crate::{
    args::{CommandLine, guide},
    exit,
    host::{
        ProcessHost,
        for_tests::{Written, in_memory},
    },
    input::overwrite,
};

/// Invented logs of a morning, described in `tests/examples/README.md`.
pub(super) const LOGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/examples/logs");

/// The access policy for these logs.
pub(super) const POLICY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/examples/access-policy.yaml"
);

/// The folder with the rules of the pack.
pub(super) const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../rules");

/// A log with one read of a secret by a user.
pub(super) const READ: &str = r#"{"Records": [{"eventVersion": "1.11", "eventID": "r1",
    "eventSource": "secretsmanager.amazonaws.com", "eventName": "GetSecretValue",
    "eventTime": "2026-03-02T10:00:00Z", "awsRegion": "eu-west-1",
    "recipientAccountId": "111122223333", "sourceIPAddress": "10.0.0.1",
    "userIdentity": {"type": "IAMUser", "accountId": "111122223333",
        "arn": "arn:aws:iam::111122223333:user/kim", "userName": "kim"},
    "requestParameters": {"secretId": "prod/db"}}]}"#;

/// Output and exit code of a command; the text of a failure is at the end of `err`.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: u8,
    pub(super) out: String,
    pub(super) err: String,
}

/// Runs a command line without its process.
pub(super) fn ran(args: &[&str]) -> Ran {
    ran_with(args, "")
}

/// Runs a command line with this standard input.
pub(super) fn ran_with(args: &[&str], stdin: &str) -> Ran {
    let (out, err) = (Written::default(), Written::default());
    let mut host = host(stdin, &out, &err);
    let args = std::iter::once("secretrail").chain(args.iter().copied());
    let matches = guide::command().try_get_matches_from(args);
    let matches = matches.expect("a test types what clap understands");
    let cli = CommandLine::from_arg_matches(&matches).expect("they match");
    let result = overwrite::refuse_named(&guide::command(), &matches, None)
        .and_then(|()| execute(cli.command, &mut host));
    let code = result.unwrap_or_else(|failure| {
        writeln!(host.stderr, "{failure}").expect("memory takes it");
        failure.exit_code()
    });
    Ran {
        code,
        out: out.text(),
        err: err.text(),
    }
}

fn host(stdin: &str, out: &Written, err: &Written) -> ProcessHost {
    ProcessHost {
        stdin: Box::new(Cursor::new(stdin.to_owned())),
        stdout: Box::new(out.clone()),
        stderr: Box::new(err.clone()),
        // The day after the example logs: the allowed lateness is over.
        ..in_memory("2026-03-03T12:00:00Z")
    }
}

/// A rule of level high.
pub(crate) fn rule(id: &str, title: &str) -> Arc<RuleMeta> {
    Arc::new(RuleMeta {
        id: id.to_owned(),
        title: title.to_owned(),
        level: RuleLevel::High,
        ..RuleMeta::default()
    })
}

/// A minimal alert of a rule about an event; tests set the fields that they need.
pub(crate) fn alert(rule: &Arc<RuleMeta>, event: &str) -> Alert {
    Alert {
        id: Alert::single_id(rule, event),
        rule: Arc::clone(rule),
        time: EventTime(0),
        began: EventTime(0),
        window_match: None,
        summary: format!("about {event}"),
        account: None,
        region: None,
        principal: None,
        secrets: Vec::new(),
        secrets_total: 0,
        accesses: Vec::new(),
        accesses_total: 0,
        events: Vec::new(),
        actor: Actor::by_names(None, None, None),
        origin: Origin::default(),
        common: None,
        former: Vec::new(),
        traits: AlertTraits::default(),
        incident: None,
        withdrawn: false,
    }
}

/// A read of `prod/db` by a role, in the JSON of the ledger, with the values at these JSON pointers
/// replaced.
pub(crate) fn access(changes: &[(&str, Value)]) -> Arc<Access> {
    let mut access = json!({
        "schema": "secretrail.access/1",
        "time": "2026-03-02T10:00:00Z",
        "event_id": "e1",
        "api": "GetSecretValue",
        "method": "api",
        "account": "111122223333",
        "region": "eu-west-1",
        "secret": {
            "store": "secretsmanager", "arn": null, "name": "prod/db", "version_id": null,
            "version_stage": null,
        },
        "principal": {
            "arn": "arn:aws:iam::111122223333:role/app", "actor": null, "type": "AssumedRole",
            "kind": "workload", "account": "111122223333", "via": null, "console": false,
            "access_key_id": null,
        },
        "source": {"ip": "10.0.0.1", "kind": "ip", "user_agent": null, "vpc_endpoint": null},
        "outcome": "success",
        "denied_by": null,
        "error_code": null,
        "cross_account": false,
        "decrypt": {
            "status": "unknown", "event_id": null, "key_arn": null, "delta_secs": null,
        },
        "object": "log.json",
    });
    for (pointer, value) in changes {
        *access.pointer_mut(pointer).expect("a key of the ledger") = value.clone();
    }
    let access: AccessV1<'_> = serde_json::from_value(access).expect("a line of the ledger");
    Arc::new(access.read().expect("an access"))
}

#[test]
fn a_command_that_fails_says_why_and_gives_the_code_of_its_reason() {
    let nothing = ran(&["summary", "/nowhere"]);
    assert_eq!(nothing.code, exit::INPUT);
    assert!(nothing.err.starts_with("secretrail: /nowhere: "));
    let rules = ran(&["replay", LOGS, "-r", "/nowhere"]);
    assert_eq!((rules.code, rules.out.as_str()), (exit::RULES, ""));
    let output = ran(&["man"]);
    assert_eq!((output.code, output.err.as_str()), (exit::DONE, ""));
}

/// The last line of a run that read nothing.
const ENDING: &str = "secretrail: nothing was read; this says nothing about your secrets\n";

#[test]
fn every_command_that_read_nothing_says_so_last_also_in_quiet_runs() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("notes.txt.docx"), "x").unwrap();
    let out = tempfile::tempdir().unwrap();
    let (path, to) = (
        folder.path().to_str().unwrap(),
        out.path().to_str().unwrap(),
    );
    let commands: [&[&str]; 9] = [
        &["replay", path],
        &["replay", path, "-f", "html"],
        &["accesses", path],
        &["summary", path],
        &["exposure", path],
        &["gaps", path],
        &["baseline", path],
        &["verify", path],
        &["extract", path, "-o", to],
    ];
    for quiet in [&[][..], &["-q"]] {
        for command in commands {
            let run = ran(&[command, quiet].concat());
            assert_eq!(run.code, exit::INPUT, "{command:?}");
            assert!(run.err.ends_with(ENDING), "{command:?}: {}", run.err);
            assert!(!run.err.contains("alerts ") && !run.out.contains("no gaps"));
        }
        let explain = ran(&[&["explain", "abc", path], quiet].concat());
        assert_eq!(
            (explain.code, explain.err.ends_with(ENDING)),
            (exit::INPUT, true)
        );
    }
    let found = ran(&["accesses", path, "-q"]);
    assert!(
        found
            .err
            .contains("1 file found, without a CloudTrail record"),
        "{}",
        found.err
    );
}

#[test]
fn an_empty_selection_is_no_clean_log_and_says_what_there_is() {
    let of = |more: &[&str]| ran_with(&[&["replay", "-", "-q"], more].concat(), READ);
    for (more, there) in [
        (["--account", "444455556666"], "account 111122223333"),
        (["--region", "eu-wst-1"], "did you mean eu-west-1?"),
        (["--to", "2026-03-01"], "times from 2026-03-02T10:00:00Z"),
    ] {
        let run = of(&more);
        assert_eq!((run.code, run.out.as_str()), (exit::INPUT, ""));
        assert!(
            run.err.contains(there) && run.err.ends_with(ENDING),
            "{}",
            run.err
        );
    }
    let day = of(&["--from", "2026-03-02", "--to", "2026-03-02"]);
    assert_eq!((day.code, day.err.as_str()), (exit::DONE, ""));
    // The record of a service that no rule needs is in the selection, too.
    let other = READ
        .replace("secretsmanager.", "s3.")
        .replace("GetSecretValue", "ListBuckets");
    let none = ran_with(&["accesses", "-", "--region", "eu-west-1", "-q"], &other);
    assert_eq!((none.code, none.err.as_str()), (exit::DONE, ""));
    let all = ran_with(&["accesses", "-", "--region", "us-east-1"], &other);
    assert!(
        all.err.contains("left out       1 record by the selection"),
        "{}",
        all.err
    );
}

#[test]
fn a_pattern_that_matches_nothing_is_reported_with_what_is_close() {
    let of = |more: &[&str]| {
        ran_with(
            &[&["accesses", "-", "-f", "jsonl", "-q"], more].concat(),
            READ,
        )
    };
    for (more, close) in [
        (
            ["--principal", "kin"],
            "--principal kin: matches no principal; did you mean kim?",
        ),
        (
            ["--secret", "prod/bd"],
            "--secret prod/bd: matches no secret; did you mean prod/db?",
        ),
        (
            ["--access-key", "AKIA1"],
            "--access-key AKIA1: matches no access key; no access key is",
        ),
    ] {
        let run = of(&more);
        assert_eq!((run.code, run.out.as_str()), (exit::DONE, ""));
        assert!(run.err.contains(close), "{}", run.err);
    }
    let found = of(&["--principal", "k*", "--secret", "prod/*"]);
    assert_eq!((found.out.lines().count(), found.err.as_str()), (1, ""));
}

#[test]
fn extract_files_answer_a_selection_as_their_logs_do() {
    let folder = tempfile::tempdir().unwrap();
    let parts = folder.path().to_str().unwrap();
    assert_eq!(ran(&["extract", LOGS, "-o", parts, "-q"]).code, exit::DONE);
    for path in [LOGS, parts] {
        let of = |more: &[&str]| ran(&[&["accesses", path, "-f", "jsonl", "-q"], more].concat());
        let elsewhere = of(&["--account", "999999999999"]);
        assert_eq!(elsewhere.code, exit::INPUT, "{path}: {}", elsewhere.err);
        assert!(elsewhere.err.ends_with(ENDING));
        let nobody = of(&["--principal", "nobody-at-all"]);
        assert_eq!(nobody.code, exit::DONE, "{path}: {}", nobody.err);
        assert!(
            nobody
                .err
                .contains("--principal nobody-at-all: matches no principal")
        );
    }
}

#[test]
fn a_log_without_bytes_in_a_tree_fails_also_beside_good_ones() {
    let folder = tempfile::tempdir().unwrap();
    let day = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/02";
    let day = folder.path().join(day);
    std::fs::create_dir_all(&day).unwrap();
    std::fs::write(day.join("a.json"), READ).unwrap();
    let path = folder.path().to_str().unwrap();
    assert_eq!(ran(&["accesses", path, "-q"]).code, exit::DONE);
    std::fs::write(day.join("b.json.gz"), "").unwrap();
    let run = ran(&["accesses", path, "-f", "jsonl", "-q"]);
    assert_eq!((run.code, run.out.lines().count()), (exit::INPUT, 1));
    assert!(
        run.err.contains("b.json.gz: is empty (0 bytes)"),
        "{}",
        run.err
    );
}

#[test]
fn json_escapes_what_hides_or_ends_lines_in_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let drafts = folder.path().join("drafts.json");
    let drafts = drafts.to_str().unwrap();
    let hostile = [
        "\u{85}",
        "\u{9b}",
        "\u{202e}",
        "\u{2028}",
        "\u{e0041}",
        "\u{200b}",
    ];
    let by_person = READ.replace("prod/db", &format!("prod/{}", hostile.concat()));
    // What an alert names is not proposed.
    let mut by_role: Value = serde_json::from_str(&by_person).unwrap();
    by_role["Records"][0]["userIdentity"] = json!({
        "type": "AssumedRole", "accountId": "111122223333",
        "arn": "arn:aws:sts::111122223333:assumed-role/app/s1",
        "sessionContext": {"sessionIssuer": {
            "type": "Role", "accountId": "111122223333",
            "arn": "arn:aws:iam::111122223333:role/app", "userName": "app",
        }},
    });
    let by_role = by_role.to_string();
    for args in [
        &["summary", "-", "-f", "json"][..],
        &["accesses", "-", "-f", "json"],
        &["replay", "-", "-f", "json"],
        &["replay", "-", "-f", "ocsf"],
        &["exposure", "-", "-f", "jsonl", "--principal", "*"],
        &["baseline", "-", "-o", "/dev/null", "--draft-iam", drafts],
    ] {
        let log = match args.contains(&drafts) {
            true => &by_role,
            false => &by_person,
        };
        let run = ran_with(&[args, &["-q"]].concat(), log);
        assert_eq!(run.code, exit::DONE, "{args:?}: {}", run.err);
        let written = match args.contains(&drafts) {
            true => std::fs::read_to_string(drafts).unwrap(),
            false => run.out,
        };
        assert!(written.contains("\\u202e"), "{args:?}: {written}");
        for one in hostile {
            assert!(!written.contains(one), "{args:?}: {one:?}");
        }
    }
}

#[test]
fn a_long_name_does_not_fill_the_terminal() {
    let name = format!("prod/{}/db", "x".repeat(1_500));
    let log = READ.replace("prod/db", &name);
    for args in [
        &["replay", "-"][..],
        &["replay", "-", "--alerts"],
        &["summary", "-"],
        &["accesses", "-"],
    ] {
        let run = ran_with(&[args, &["-q"]].concat(), &log);
        assert_eq!(run.code, exit::DONE, "{}", run.err);
        let longest = run.out.lines().map(|line| line.chars().count()).max();
        assert!(longest.unwrap() < 400, "{args:?}: {}", run.out);
        assert!(
            run.out.contains("xx/db") || args[0] == "summary",
            "{}",
            run.out
        );
    }
}
