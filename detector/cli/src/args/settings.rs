//! The settings of a run, resolved from the arguments and the process. The only place that asks
//! whether there is a terminal.

use std::path::{Path, PathBuf};

use secretrail_engine::{
    glob::GlobPattern,
    seen::LookbackPeriods,
    selection::{AccessFilter, Selection},
    time::EventTime,
};

use crate::{
    args::{
        input::{AwsArgs, InputArgs},
        output::{ColorChoice, OutputArgs, OutputDestination, OutputFormat},
        path::{is_stdin, is_stdout},
    },
    host::{ProcessHost, RunFailure},
    text::shell_quoted,
};

/// Bytes of events held in memory by default before temporary files are written.
const HELD_BYTES: u64 = 96 * 1024 * 1024;

/// The settings of a run.
#[derive(Debug)]
pub struct RunSettings {
    /// Paths as typed: files, folders, `s3://…` and `-`.
    pub paths: Vec<PathBuf>,
    /// How to reach AWS.
    pub aws: AwsArgs,
    /// Which events of the logs to use.
    pub selection: Selection,
    /// Options for rules, policy and lists as typed, for commands that the output suggests.
    pub judged_by: Vec<String>,
    /// Number of files read in parallel.
    pub threads: usize,
    /// Output format.
    pub format: OutputFormat,
    /// File to write; `None` for standard output.
    pub output: Option<PathBuf>,
    /// Files to write beside the output, each with its option.
    pub also_written: Vec<(&'static str, PathBuf)>,
    /// File in which to record progress.
    pub checkpoint: Option<PathBuf>,
    /// Folder for temporary files.
    pub temp_dir: PathBuf,
    /// Bytes of events to hold in memory before temporary files are written.
    pub held_bytes: u64,
    /// Lookback and warm-up of `seen.*`.
    pub lookback: LookbackPeriods,
    /// Whether to print neither progress bar nor run summary.
    pub quiet: bool,
    /// Whether the output is coloured.
    pub color: bool,
    /// Width of text for people, in cells of the terminal.
    pub width: usize,
    /// Whether to show a progress bar: standard error is a terminal, and neither `--quiet` nor
    /// `--no-progress` is given.
    pub show_progress: bool,
}

impl RunSettings {
    /// Resolves the arguments.
    ///
    /// # Errors
    ///
    /// [`RunFailure::Usage`] when they contradict each other.
    pub fn new(
        input: &InputArgs,
        output: &OutputArgs,
        host: &ProcessHost,
    ) -> Result<Self, RunFailure> {
        let settings = Self::plain(input, &output.destination, host)?;
        let is_terminal = settings.output.is_none() && host.stdout_is_terminal;
        if is_terminal && !output.format.is_for_terminals() {
            return Err(RunFailure::Usage(format!(
                "-f {format} is not for a terminal; write it to a file with -o report.{format}",
                format = output.format.as_str()
            )));
        }
        let color = match output.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => is_terminal && !host.no_color,
        };
        Ok(Self {
            format: output.format,
            color,
            ..settings
        })
    }

    /// Resolves the arguments of commands that read no logs.
    ///
    /// # Errors
    ///
    /// See [`Self::new`].
    pub fn without_input(
        aws: &AwsArgs,
        output: &OutputArgs,
        host: &ProcessHost,
    ) -> Result<Self, RunFailure> {
        let input = InputArgs {
            aws: aws.clone(),
            ..InputArgs::default()
        };
        Self::new(&input, output, host)
    }

    /// Resolves the arguments of commands with one output format, without colours.
    ///
    /// # Errors
    ///
    /// See [`Self::new`].
    pub fn plain(
        input: &InputArgs,
        destination: &OutputDestination,
        host: &ProcessHost,
    ) -> Result<Self, RunFailure> {
        let from = first_time(input, host.now)?;
        if input.paths.iter().filter(|path| is_stdin(path)).count() > 1 {
            return Err(RunFailure::Usage(
                "`-` was given twice; standard input can be read only once".to_owned(),
            ));
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            paths: input.paths.clone(),
            aws: input.aws.clone(),
            selection: selection(input, from),
            judged_by: Vec::new(),
            threads: input.threads.map_or(processors, usize::from),
            format: OutputFormat::Table,
            output: destination.output.clone().filter(|path| !is_stdout(path)),
            also_written: Vec::new(),
            checkpoint: input.checkpoint.clone(),
            temp_dir: input.temp_dir.clone().unwrap_or_else(std::env::temp_dir),
            held_bytes: input.held_bytes.unwrap_or(HELD_BYTES),
            lookback: LookbackPeriods::default(),
            quiet: destination.quiet,
            color: false,
            width: width(host),
            show_progress: !destination.quiet
                && !destination.no_progress
                && host.stderr_is_terminal,
        })
    }

    /// The paths, ready for a shell; empty without any.
    pub(crate) fn quoted_paths(&self) -> String {
        let paths = self.paths.iter();
        let paths: Vec<String> = paths
            .map(|path| shell_quoted(&path.to_string_lossy()))
            .collect();
        paths.join(" ")
    }

    /// The end of a command that reads the same logs with the same rules and policy, ready for a
    /// shell: with a space before it; empty where standard input was read.
    pub(crate) fn same_logs(&self) -> String {
        if self.reads_stdin() {
            return String::new();
        }
        let options = self.judged_by.iter();
        let words: Vec<String> = std::iter::once(self.quoted_paths())
            .chain(options.map(|option| shell_quoted(option)))
            .map(|word| format!(" {word}"))
            .collect();
        words.concat()
    }

    /// The files to write, each with its option.
    pub(crate) fn written(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let output = self.output.iter().map(|path| ("--output", path.as_path()));
        let others = self.also_written.iter();
        output.chain(others.map(|(option, path)| (*option, path.as_path())))
    }

    /// Whether standard input is among the paths.
    #[must_use]
    pub fn reads_stdin(&self) -> bool {
        self.paths.iter().any(|path| is_stdin(path))
    }

    /// Rejects formats other than table, JSON, JSON lines and CSV, before anything is read.
    ///
    /// # Errors
    ///
    /// [`RunFailure::Usage`]: another format was chosen.
    pub fn must_be_rows(&self, what: &str) -> Result<(), RunFailure> {
        match self.format {
            OutputFormat::Table | OutputFormat::Json | OutputFormat::Jsonl | OutputFormat::Csv => {
                Ok(())
            }
            OutputFormat::Ocsf | OutputFormat::Html | OutputFormat::Parquet => Err(only_rows(what)),
        }
    }
}

/// Width of text that is not in a terminal.
const PLAIN_WIDTH: usize = 80;

/// Narrowest and widest text: beyond these, lines are hard to read.
const WIDTHS: (usize, usize) = (40, 120);

fn width(host: &ProcessHost) -> usize {
    let width = host.width.unwrap_or(PLAIN_WIDTH);
    width.clamp(WIDTHS.0, WIDTHS.1)
}

/// The first event time of the selection; `None` for no lower bound.
fn first_time(input: &InputArgs, now: EventTime) -> Result<Option<EventTime>, RunFailure> {
    let since = input.since.map(|secs| since(now, secs));
    let from = input.from.or(since);
    match (from, input.to) {
        (Some(from), Some(to)) if from > to.typed => Err(RunFailure::Usage(format!(
            "--from {from} is after --to {}; swap them",
            to.typed
        ))),
        (Some(from), Some(to)) if from == to.end => Err(RunFailure::Usage(format!(
            "--from and --to are both {from}, and nothing is between them: --to is the first time \
             after the selection; give a later one, or a date for its whole day"
        ))),
        _ => Ok(from),
    }
}

/// The first time of the last `secs` seconds. Of several days it is the beginning of the first one,
/// so that a run can be resumed: the same command means the same selection until midnight in UTC.
fn since(now: EventTime, secs: i64) -> EventTime {
    const DAY: i64 = 86_400;
    let from = now.plus(secs.saturating_neg());
    if secs < 2 * DAY {
        from
    } else {
        from.start_of(DAY)
    }
}

fn selection(input: &InputArgs, from: Option<EventTime>) -> Selection {
    let filter = AccessFilter {
        principals: globs(&input.principal),
        secrets: globs(&input.secret),
        sources: input.source.clone(),
        outcomes: input.outcome.clone(),
        methods: input.method.clone(),
        access_keys: input.access_key.clone(),
    };
    Selection {
        from,
        to: input.to.map(|to| to.end),
        accounts: input.account.clone(),
        regions: input.region.clone(),
        filter,
    }
}

fn globs(patterns: &[String]) -> Vec<GlobPattern> {
    patterns
        .iter()
        .map(|pattern| GlobPattern::new(pattern))
        .collect()
}

/// The failure of a command for which the chosen format does not exist.
#[must_use]
pub fn only_rows(what: &str) -> RunFailure {
    RunFailure::Usage(format!(
        "{what} does not support this format (ocsf and html are for replay, parquet is for \
         accesses); choose -f table, json, jsonl or csv"
    ))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{
        args::{CommandArgs, CommandLine},
        host::for_tests::in_memory,
    };

    fn host(is_terminal: bool, no_color: bool) -> ProcessHost {
        ProcessHost {
            stdout_is_terminal: is_terminal,
            stderr_is_terminal: is_terminal,
            no_color,
            ..in_memory("2026-03-02T12:00:00Z")
        }
    }

    fn settings(typed: &str, host: &ProcessHost) -> Result<RunSettings, String> {
        let words = ["secretrail", "accesses"].into_iter();
        let cli = CommandLine::try_parse_from(words.chain(typed.split(' '))).unwrap();
        let CommandArgs::Accesses(args) = cli.command else {
            unreachable!("accesses was typed");
        };
        let settings = RunSettings::new(&args.input, &args.output, host);
        settings.map_err(|failure| failure.to_string())
    }

    #[test]
    fn colours_are_for_terminals_and_never_for_files() {
        let color = |typed, host: &ProcessHost| settings(typed, host).unwrap().color;
        let terminal = host(true, false);
        assert!(color("logs", &terminal));
        assert!(!color("logs -o out.txt", &terminal));
        assert!(!color("logs", &host(true, true)), "NO_COLOR is set");
        assert!(!color("logs", &host(false, false)));
        assert!(color("logs --color always", &host(false, true)));
    }

    #[test]
    fn an_age_counts_back_from_now() {
        let host = host(false, false);
        let from = |age: &str| {
            let settings = settings(&format!("logs --since {age}"), &host).unwrap();
            settings.selection.from
        };
        assert_eq!(from("1h"), EventTime::parse("2026-03-02T11:00:00Z"));
        assert_eq!(from("1d"), EventTime::parse("2026-03-01T12:00:00Z"));
        // Of days it is the same until midnight, so that a run can be resumed.
        assert_eq!(from("3d"), EventTime::parse("2026-02-27T00:00:00Z"));
    }

    #[test]
    fn standard_output_has_several_names() {
        let host = host(false, false);
        for name in ["-", "/dev/stdout", "/dev/fd/1"] {
            let settings = settings(&format!("logs -o {name}"), &host).unwrap();
            assert_eq!(settings.output, None);
        }
    }

    #[test]
    fn a_date_twice_is_that_day() {
        let host = host(false, false);
        let day = settings("logs --from 2026-03-02 --to 2026-03-02", &host).unwrap();
        let Selection { from, to, .. } = day.selection;
        assert_eq!(from, EventTime::parse("2026-03-02T00:00:00Z"));
        assert_eq!(to, EventTime::parse("2026-03-03T00:00:00Z"));
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_the_remedy() {
        let host = host(false, false);
        let swapped = "logs --from 2026-03-03 --to 2026-03-02";
        let error = settings(swapped, &host).unwrap_err();
        assert!(error.ends_with("swap them"), "{error}");
        let equal = "logs --from 2026-03-02T10:00:00Z --to 2026-03-02T11:00:00+01:00";
        let error = settings(equal, &host).unwrap_err();
        assert!(error.starts_with("--from and --to are both 2026-03-02T10:00:00Z"));
        assert!(!error.contains("swap"), "{error}");
        let error = settings("- -", &host).unwrap_err();
        assert!(error.starts_with("`-` was given twice"), "{error}");
    }

    #[test]
    fn a_bar_is_shown_only_where_somebody_looks() {
        let shown = |typed, host: &ProcessHost| settings(typed, host).unwrap().show_progress;
        assert!(shown("logs", &host(true, false)));
        assert!(!shown("logs", &host(false, false)));
        assert!(!shown("logs -q", &host(true, false)));
        assert!(!shown("logs --no-progress", &host(true, false)));
    }
}
