//! What end-to-end tests have beside invented records: the command in this process, and stand-ins
//! for AWS.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that panics is a test that fails"
)]

pub mod cloud;
pub mod deployment;
pub mod function;
pub mod http;
pub mod install;
pub mod local;
pub mod memory;
pub mod proxy;
pub mod units;

use std::{io::Write, sync::Arc};

use secretrail_cli::host::ProcessHost;
pub use test_support::*;

/// The example logs of the README.
pub const LOGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/logs");
/// The access policy beside them.
pub const POLICY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/access-policy.yaml"
);

/// What the command printed, and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Printed {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code.
    pub code: u8,
}

/// Runs the command in this process.
#[must_use]
pub fn secretrail(args: &[&str]) -> Printed {
    secretrail_with(args, b"")
}

/// Runs the command in this process with standard input.
#[must_use]
pub fn secretrail_with(args: &[&str], stdin: &[u8]) -> Printed {
    let (out, err) = (Shared::default(), Shared::default());
    let mut host = ProcessHost {
        stdin: Box::new(std::io::Cursor::new(stdin.to_vec())),
        stdout: Box::new(out.clone()),
        stderr: Box::new(err.clone()),
        stdout_is_terminal: false,
        stderr_is_terminal: false,
        width: None,
        no_color: false,
        config: None,
        now: afterwards(),
    };
    let args = std::iter::once("secretrail")
        .chain(args.iter().copied())
        .map(Into::into);
    let code = secretrail_cli::run::run(args, &mut host);
    Printed {
        stdout: out.text(),
        stderr: err.text(),
        code,
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<std::sync::Mutex<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no writer panicked")).into_owned()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .expect("no writer panicked")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
