//! How to print, and where to.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// How to print.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table, help_heading = "Output")]
    pub format: OutputFormat,
    /// Where to, and how loudly.
    #[command(flatten)]
    pub destination: OutputDestination,
    /// When to use colours.
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value_t = ColorChoice::Auto,
        help_heading = "Output"
    )]
    pub color: ColorChoice,
}

/// Where the output goes, and how loudly.
#[derive(Debug, Args)]
pub struct OutputDestination {
    /// Write to a file, which appears only when it is complete.
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// Print neither the progress bar nor the closing summary.
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// Print no progress bar.
    #[arg(long, help_heading = "Output")]
    pub no_progress: bool,
}

/// Forms of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Table,
    /// One JSON array, with an object on each line.
    Json,
    /// One JSON object a line, for programs.
    Jsonl,
    /// For spreadsheets; text that would be a formula is quoted.
    Csv,
    /// OCSF Detection Findings (class 2004, version 1.5.0), one on each line; for replay only.
    Ocsf,
    /// A report in one file, for a browser without a network; for replay only.
    Html,
    /// Apache Parquet, for DuckDB and Athena; for accesses only.
    Parquet,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Forms of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    Table,
    /// One JSON array.
    Json,
}
