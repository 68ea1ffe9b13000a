//! What a run gets from its process (streams, terminals, configuration, clock), and the failures
//! that end it.

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use secretrail_engine::time::EventTime;

use crate::exit;

/// The process around a run; tests replace it by buffers in memory.
pub struct ProcessHost {
    /// Standard input.
    pub stdin: Box<dyn Read + Send>,
    /// Standard output: data only.
    pub stdout: Box<dyn Write>,
    /// Standard error: messages, progress and the run summary.
    pub stderr: Box<dyn Write>,
    /// Whether standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether standard error is a terminal.
    pub stderr_is_terminal: bool,
    /// Width of the terminal of standard output, in cells; `None` if it is no terminal.
    pub width: Option<usize>,
    /// Whether `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// File with the defaults of options; `None` if the user has no home directory.
    pub config: Option<ConfigSource>,
    /// Time of the start of the run, in UTC; it does not advance during the run.
    pub now: EventTime,
}

/// Width of the terminal of standard output, in cells; `None` if it is no terminal.
#[must_use]
pub fn terminal_width() -> Option<usize> {
    let (terminal_size::Width(width), _) = terminal_size::terminal_size_of(io::stdout())?;
    Some(usize::from(width))
}

/// Why a run ends early.
#[derive(Debug, thiserror::Error)]
pub enum RunFailure {
    /// Rules or a policy that cannot be used.
    #[error("{0}")]
    Rules(String),
    /// Input that cannot be read, and without which the run cannot continue.
    #[error("{0}")]
    Input(String),
    /// Invalid arguments, beyond what clap can check.
    #[error("{0}")]
    Usage(String),
    /// Output that cannot be written.
    #[error("cannot write {name}: {error}")]
    Output {
        /// Path or URL of the output.
        name: String,
        /// The error of the operating system or of S3.
        error: io::Error,
    },
    /// Temporary files that cannot be written or read.
    #[error(
        "cannot keep temporary files in {folder}: {message}; choose another folder with --temp-dir"
    )]
    TempDir {
        /// Path of their folder.
        folder: String,
        /// The error of the operating system.
        message: String,
    },
    /// An internal error: a bug in Secretrail.
    #[error("internal error (a bug in Secretrail): {0}")]
    Internal(String),
}

impl RunFailure {
    /// The exit code of a run with this failure.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Rules(_) => exit::RULES,
            Self::Input(_) => exit::INPUT,
            Self::Usage(_) => exit::USAGE,
            Self::Output { .. } | Self::TempDir { .. } | Self::Internal(_) => exit::OUTPUT,
        }
    }
}

/// The file with the defaults of options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigSource {
    /// A file named by `SECRETRAIL_CONFIG`; it must exist.
    Named(PathBuf),
    /// The file in the configuration directory of the user; it need not exist.
    Usual(PathBuf),
}

impl ConfigSource {
    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        let (Self::Named(path) | Self::Usual(path)) = self;
        path
    }

    /// From the environment: `SECRETRAIL_CONFIG`, then
    /// `$XDG_CONFIG_HOME/secretrail/secretrail.toml`, then the same below `~/.config`. `None` if
    /// none of the variables is set.
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

/// The value of a variable. An empty one counts as not set, as in the XDG specification.
fn set(variable: &impl Fn(&str) -> Option<OsString>, name: &str) -> Option<PathBuf> {
    variable(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// Writes to standard error. Errors are ignored: it may be closed.
pub(crate) fn say(host: &mut ProcessHost, text: &str) {
    host.stderr
        .write_all(text.as_bytes())
        .and_then(|()| host.stderr.flush())
        .ok();
}

/// Writes data to standard output.
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
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex, PoisonError},
    };

    use super::*;

    /// A process without input, terminals and defaults, at this time.
    pub(crate) fn in_memory(now: &str) -> ProcessHost {
        ProcessHost {
            stdin: Box::new(io::empty()),
            stdout: Box::new(io::sink()),
            stderr: Box::new(io::sink()),
            stdout_is_terminal: false,
            stderr_is_terminal: false,
            width: None,
            no_color: false,
            config: None,
            now: EventTime::parse(now).expect("a time"),
        }
    }

    /// A buffer that outlives its writers.
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
