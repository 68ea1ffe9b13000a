//! What the user typed and what the process is, to what to do. The only place that looks at
//! terminals.

use std::path::PathBuf;

use secretrail_engine::glob::Glob;
use secretrail_engine::seen::Memory;
use secretrail_engine::selection::{Filter, Selection};
use secretrail_engine::time::EventTime;

use crate::args::input::{Aws, Input};
use crate::args::output::{Color, Destination, Format, Output};
use crate::args::path::is_stdin;
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
    /// Whether a progress bar is shown: somebody looks at standard error, and did not ask for
    /// silence.
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
        let from = first_time(input, host.now)?;
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

/// The first event time that is asked for; `None` for all that came before.
fn first_time(input: &Input, now: EventTime) -> Result<Option<EventTime>, Failure> {
    let since = input.since.map(|secs| now.plus(secs.saturating_neg()));
    let from = input.from.or(since);
    match (from, input.to) {
        (Some(from), Some(to)) if from >= to => Err(Failure::Usage(format!(
            "--from {from} is not before --to {to}; swap them"
        ))),
        _ => Ok(from),
    }
}

fn selection(input: &Input, from: Option<EventTime>) -> Selection {
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

fn globs(patterns: &[String]) -> Vec<Glob> {
    patterns.iter().map(|pattern| Glob::new(pattern)).collect()
}

/// Some forms of output are of alerts alone, or of the ledger alone.
#[must_use]
pub fn only_rows(what: &str) -> Failure {
    Failure::Usage(format!(
        "{what} has no such form; ocsf and html are for replay, parquet is for accesses: \
         choose -f table, json, jsonl or csv"
    ))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};
    use crate::host::for_tests::in_memory;

    fn host(is_terminal: bool, no_color: bool) -> Host {
        Host {
            stdout_is_terminal: is_terminal,
            stderr_is_terminal: is_terminal,
            no_color,
            ..in_memory("2026-03-02T12:00:00Z")
        }
    }

    fn settings(typed: &str, host: &Host) -> Result<Settings, String> {
        let words = ["secretrail", "accesses"].into_iter();
        let cli = Cli::try_parse_from(words.chain(typed.split(' '))).unwrap();
        let Command::Accesses(args) = cli.command else {
            unreachable!("accesses was typed");
        };
        let settings = Settings::new(&args.input, &args.output, host);
        settings.map_err(|failure| failure.to_string())
    }

    #[test]
    fn colours_are_for_terminals_and_never_for_files() {
        let color = |typed, host: &Host| settings(typed, host).unwrap().color;
        let terminal = host(true, false);
        assert!(color("logs", &terminal));
        assert!(!color("logs -o out.txt", &terminal));
        assert!(!color("logs", &host(true, true)), "NO_COLOR is set");
        assert!(!color("logs", &host(false, false)));
        assert!(color("logs --color always", &host(false, true)));
    }

    #[test]
    fn an_age_counts_back_from_now() {
        let settings = settings("logs --since 1h", &host(false, false)).unwrap();
        let from = EventTime::parse("2026-03-02T11:00:00Z");
        assert_eq!(settings.selection.from, from);
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_the_remedy() {
        let host = host(false, false);
        let swapped = "logs --from 2026-03-03 --to 2026-03-02";
        let error = settings(swapped, &host).unwrap_err();
        assert!(error.ends_with("swap them"), "{error}");
        let error = settings("- -", &host).unwrap_err();
        assert!(error.starts_with("`-` was given twice"), "{error}");
    }

    #[test]
    fn a_bar_is_shown_only_where_somebody_looks() {
        let shown = |typed, host: &Host| settings(typed, host).unwrap().show_progress;
        assert!(shown("logs", &host(true, false)));
        assert!(!shown("logs", &host(false, false)));
        assert!(!shown("logs -q", &host(true, false)));
        assert!(!shown("logs --no-progress", &host(true, false)));
    }
}
