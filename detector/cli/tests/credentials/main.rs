//! Credentials as analysts have them, and what the command says when they or S3 refuse: the real
//! executable, with a home directory and an environment of its own, against stand-ins for AWS.

#![cfg(feature = "s3")]
#![allow(missing_docs, reason = "a test crate has no users")]

mod refusals;
#[path = "../support/request.rs"]
mod request;
mod roles;
mod sessions;
mod stand_in;

use std::process::Command;

use self::stand_in::{Analyst, run};

const KEYS: &str = "aws_access_key_id = AKIATEST0001\naws_secret_access_key = s\n";

const ROLE: &str = "role_arn = arn:aws:iam::111122223333:role/reader\n";

fn reads(command: &mut Command) {
    let (code, stderr) = run(command);
    assert_eq!(code, 0, "{stderr}");
}

/// The one line of a command that fails.
fn fails(command: &mut Command) -> String {
    let (code, stderr) = run(command);
    assert_eq!(code, 3, "{stderr}");
    let errors = stderr.lines().filter(|line| line.contains("s3://"));
    let lines: Vec<&str> = errors.collect();
    let [line] = lines.as_slice() else {
        panic!("not one line: {stderr}")
    };
    for of_rust in [
        "{",
        "Some(",
        "Error(",
        "DispatchFailure",
        "cargo",
        "SdkError",
    ] {
        assert!(!stderr.contains(of_rust), "{of_rust}: {stderr}");
    }
    (*line).to_owned()
}

/// Runs with credentials that expire before the second request, which has to carry new ones.
fn refreshes(analyst: &Analyst, command: &mut Command) {
    reads(command);
    assert_eq!(analyst.keys(), ["ASIATEST0001", "ASIATEST0002"]);
}

fn keys_in_environment(command: &mut Command) -> &mut Command {
    command
        .env("AWS_ACCESS_KEY_ID", "AKIAENVIRON1")
        .env("AWS_SECRET_ACCESS_KEY", "s")
}
