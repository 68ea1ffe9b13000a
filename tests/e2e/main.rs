//! End-to-end tests: everything that spans crates, in one binary.

#![allow(
    clippy::too_many_lines,
    reason = "a test tells what happens from its beginning to its end"
)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that panics is a test that fails"
)]

use std::process::Command;

use e2e::{Printed, cloud::LOCAL_REGION};

/// The built command against a stand-in for AWS.
fn command(url: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretrail-under-test"));
    command.args(args).args(["--endpoint-url", url]).env_clear();
    command.envs([
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", LOCAL_REGION),
    ]);
    command
}

/// Runs it.
fn with_endpoint(url: &str, args: &[&str]) -> Printed {
    let output = command(url, args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = output
        .status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap();
    Printed {
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        code,
    }
}

mod backfill; // an extraction on many machines: planned, run, broken, resumed, replayed
mod baseline; // history to an access policy and back
mod cases; // the cases of tests/cases, through the command
mod cost; // what an object costs in the table never grows
mod documents; // links and commands of the Markdown files
mod examples; // the example logs of the README
mod extract_files; // observation parts and checkpoints in place of logs
mod faults; // whatever fails between the function and AWS, no alert is lost
mod files; // how records are spread over files, and threads, change nothing
mod infra; // the template, deployed to a stand-in
mod install; // what tests need is pinned by hash, and a missing client is named
mod integrity; // chains of digests: what was altered, what is missing
mod lakes; // Parquet of Security Lake, archives
mod messages; // what is published: hostile text, and the schema of OCSF
mod online; // the function, fed as AWS feeds it
mod remote; // logs in S3
mod report; // the report in a browser, the ledger in DuckDB, hostile text in every form
mod selection; // formats of input, time, place, exit codes
mod sigma; // rules mean what pySigma says
mod state; // the stores: one contract for all
mod temp_files; // a history that does not fit into memory
mod workshop; // the commands for people who write rules
