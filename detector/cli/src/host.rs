//! What a run has from its process, and why it ends early: the ground on which everything else
//! stands.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use secretrail_engine::time::EventTime;

use crate::exit;

/// What the command has from its process.
pub struct ProcessHost {
    /// Standard input.
    pub stdin: Box<dyn Read + Send>,
    /// Standard output: data only.
    pub stdout: Box<dyn Write>,
    /// Standard error: everything else.
    pub stderr: Box<dyn Write>,
    /// Whether standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether standard error is a terminal.
    pub stderr_is_terminal: bool,
    /// Whether `NO_COLOR` is set.
    pub no_color: bool,
    /// Where defaults of options are.
    pub config: Option<ConfigSource>,
    /// The time now.
    pub now: EventTime,
}

/// Why a run ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum RunFailure {
    /// Rules or policy.
    #[error("{0}")]
    Rules(String),
    /// Input without which there is nothing to do.
    #[error("{0}")]
    Input(String),
    /// Arguments that clap cannot judge.
    #[error("{0}")]
    Usage(String),
    /// The output.
    #[error("cannot write {name}: {error}")]
    Output {
        /// Where to.
        name: String,
        /// Why not.
        error: io::Error,
    },
    /// A fault of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

impl RunFailure {
    /// The exit code of a run that ends so.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Rules(_) => exit::RULES,
            Self::Input(_) => exit::INPUT,
            Self::Usage(_) => exit::USAGE,
            Self::Output { .. } | Self::Internal(_) => exit::OUTPUT,
        }
    }
}

/// Where defaults are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigSource {
    /// A file that was named, and must be there.
    Named(PathBuf),
    /// The file of the user, if there is one.
    Usual(PathBuf),
}

impl ConfigSource {
    /// From the environment: `SECRETRAIL_CONFIG`, then
    /// `$XDG_CONFIG_HOME/secretrail/secretrail.toml`, then the same below `~/.config`. `None` where
    /// there is no home.
    #[must_use]
    pub fn of(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        if let Some(named) = set(&variable, "SECRETRAIL_CONFIG") {
            return Some(Self::Named(named));
        }
        let folder = set(&variable, "XDG_CONFIG_HOME")
            .or_else(|| set(&variable, "HOME").map(|home| home.join(".config")))?;
        Some(Self::Usual(folder.join("secretrail/secretrail.toml")))
    }
}

/// The value of a variable. One that is set to nothing counts as not set, as in the XDG
/// specification.
fn set(variable: &impl Fn(&str) -> Option<OsString>, name: &str) -> Option<PathBuf> {
    variable(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// Standard error may be closed, and then nobody wants to know.
pub(crate) fn say(host: &mut ProcessHost, text: &str) {
    host.stderr
        .write_all(text.as_bytes())
        .and_then(|()| host.stderr.flush())
        .ok();
}

/// Data to standard output.
pub(crate) fn print(host: &mut ProcessHost, text: &str) -> Result<(), RunFailure> {
    let written = host
        .stdout
        .write_all(text.as_bytes())
        .and_then(|()| host.stdout.flush());
    written.map_err(|error| RunFailure::Output {
        name: "standard output".to_owned(),
        error,
    })
}

#[cfg(test)]
pub(crate) mod for_tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    /// A process without anything: no input, nobody who looks, no defaults.
    pub(crate) fn in_memory(now: &str) -> ProcessHost {
        ProcessHost {
            stdin: Box::new(io::empty()),
            stdout: Box::new(io::sink()),
            stderr: Box::new(io::sink()),
            stdout_is_terminal: false,
            stderr_is_terminal: false,
            no_color: false,
            config: None,
            now: EventTime::parse(now).expect("a time"),
        }
    }

    /// Bytes that are still there when their writer is gone.
    #[derive(Clone, Default)]
    pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        pub(crate) fn text(&self) -> String {
            let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            String::from_utf8(bytes.clone()).expect("commands write UTF-8")
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
