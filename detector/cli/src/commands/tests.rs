//! Helpers to run commands in tests, and tests of behaviour common to all commands.

use std::io::{Cursor, Write};
use std::sync::Arc;

use clap::Parser;
use secretrail_engine::access::Access;
use secretrail_engine::access::json_v1::AccessV1;
use secretrail_engine::alert::Alert;
use secretrail_engine::rule_meta::{RuleLevel, RuleMeta};
use secretrail_engine::time::EventTime;
use serde_json::{Value, json};

use super::execute;
use crate::args::CommandLine;
use crate::exit;
use crate::host::ProcessHost;
use crate::host::for_tests::{Written, in_memory};

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
    let cli = CommandLine::try_parse_from(args).expect("a test types what clap understands");
    let code = execute(cli.command, &mut host).unwrap_or_else(|failure| {
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
pub(super) fn rule(id: &str, title: &str) -> Arc<RuleMeta> {
    Arc::new(RuleMeta {
        id: id.to_owned(),
        title: title.to_owned(),
        level: RuleLevel::High,
        tags: Vec::new(),
        false_positives: Vec::new(),
        references: Vec::new(),
        file: String::new(),
    })
}

/// A minimal alert of a rule about an event; tests set the fields that they need.
pub(super) fn alert(rule: &Arc<RuleMeta>, event: &str) -> Alert {
    Alert {
        id: Alert::single_id(rule, event),
        rule: Arc::clone(rule),
        time: EventTime(0),
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
    }
}

/// A read of `prod/db` by a role, in the JSON of the ledger, with the values at these JSON pointers
/// replaced.
pub(super) fn access(changes: &[(&str, Value)]) -> Arc<Access> {
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
