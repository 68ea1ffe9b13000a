//! What the user typed and what the process is, to what to do. The only place that looks at terminals.

use std::path::PathBuf;

use secretrail_engine::glob::Glob;
use secretrail_engine::seen::Memory;
use secretrail_engine::selection::{Filter, Selection};
use secretrail_engine::time::EventTime;

use super::path::is_stdin;
use super::{Aws, Color, Destination, Format, Input, Output};
use crate::host::{Failure, Host};

/// Everything that a run needs to know.
#[derive(Debug)]
pub struct Settings {
    /// Files, folders, `s3://…` and `-`.
    pub paths: Vec<PathBuf>,
    /// How to reach S3.
    pub aws: Aws,
    /// Which part of the logs.
    pub selection: Selection,
    /// Files read at the same time.
    pub threads: usize,
    /// Form of the output.
    pub format: Format,
    /// File to write; standard output without one.
    pub output: Option<PathBuf>,
    /// Where to note what was read.
    pub checkpoint: Option<PathBuf>,
    /// How long `seen.*` remembers.
    pub memory: Memory,
    /// No progress bar and no summary.
    pub quiet: bool,
    /// Whether the output is coloured.
    pub color: bool,
    /// Whether a progress bar is shown: somebody looks at standard error, and did not ask for silence.
    pub show_progress: bool,
}

impl Settings {
    /// Resolves the arguments.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] when they contradict each other.
    pub fn new(input: &Input, output: &Output, host: &Host) -> Result<Self, Failure> {
        let settings = Self::plain(input, &output.destination, host)?;
        let color = match output.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => settings.output.is_none() && host.stdout_is_terminal && !host.no_color,
        };
        Ok(Self {
            format: output.format,
            color,
            ..settings
        })
    }

    /// Resolves the arguments of commands with one form of output, without colours.
    ///
    /// # Errors
    ///
    /// See [`Self::new`].
    pub fn plain(input: &Input, destination: &Destination, host: &Host) -> Result<Self, Failure> {
        let from = input
            .from
            .or_else(|| input.since.map(|secs| host.now.plus(secs.saturating_neg())));
        if let Some((from, to)) = from.zip(input.to).filter(|(from, to)| from >= to) {
            return Err(Failure::Usage(format!(
                "--from {from} is not before --to {to}; swap them"
            )));
        }
        if input.paths.iter().filter(|path| is_stdin(path)).count() > 1 {
            return Err(Failure::Usage(
                "`-` was given twice; standard input can be read only once".to_owned(),
            ));
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            paths: input.paths.clone(),
            aws: input.aws.clone(),
            selection: selection(input, from),
            threads: input.threads.map_or(processors, usize::from),
            format: Format::Table,
            output: destination.output.clone(),
            checkpoint: input.checkpoint.clone(),
            memory: Memory::default(),
            quiet: destination.quiet,
            color: false,
            show_progress: !destination.quiet
                && !destination.no_progress
                && host.stderr_is_terminal,
        })
    }

    /// Whether standard input is among the paths.
    #[must_use]
    pub fn reads_stdin(&self) -> bool {
        self.paths.iter().any(|path| is_stdin(path))
    }

    /// Says at once that the output asked for is not one of rows, for commands that have no other.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`].
    pub fn must_be_rows(&self, what: &str) -> Result<(), Failure> {
        match self.format {
            Format::Table | Format::Json | Format::Jsonl | Format::Csv => Ok(()),
            Format::Ocsf | Format::Html | Format::Parquet => Err(only_rows(what)),
        }
    }
}

fn selection(input: &Input, from: Option<EventTime>) -> Selection {
    let globs = |list: &[String]| list.iter().map(|pattern| Glob::new(pattern)).collect();
    let filter = Filter {
        principals: globs(&input.principal),
        secrets: globs(&input.secret),
        sources: input.source.clone(),
        outcomes: input.outcome.clone(),
        methods: input.method.clone(),
        access_keys: input.access_key.clone(),
    };
    Selection {
        from,
        to: input.to,
        accounts: input.account.clone(),
        regions: input.region.clone(),
        filter,
    }
}

/// Some forms of output are of alerts alone, or of the ledger alone.
#[must_use]
pub fn only_rows(what: &str) -> Failure {
    Failure::Usage(format!(
        "{what} has no such form; ocsf and html are for replay, parquet is for accesses: choose -f table, json, jsonl or csv"
    ))
}
