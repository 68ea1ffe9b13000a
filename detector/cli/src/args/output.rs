//! Format and destination of the output.

use std::path::PathBuf;

use clap::{
    Args, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};

/// Format, destination and colours of the output.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table, help_heading = "Output")]
    pub format: OutputFormat,
    /// Where the output goes, and what else is printed.
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

/// Where the output goes, and what is printed on standard error.
#[derive(Debug, Args)]
pub struct OutputDestination {
    /// Write to this file (`-` is standard output); it appears only once it is complete.
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// Print neither the progress bar nor the run summary.
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// Hide the progress bar.
    #[arg(long, help_heading = "Output")]
    pub no_progress: bool,
}

/// Output formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Text for people.
    Table,
    /// One JSON array, with an object on each line.
    Json,
    /// One JSON object on each line, for programs.
    Jsonl,
    /// CSV, for spreadsheets; text that would be a formula is quoted.
    Csv,
    /// OCSF Detection Findings (class 2004, version 1.5.0), one on each line.
    Ocsf,
    /// A self-contained page for a browser, without network access.
    Html,
    /// Apache Parquet, for DuckDB and Athena.
    Parquet,
}

impl OutputFormat {
    /// The formats of lists.
    pub(super) const ROWS: [Self; 4] = [Self::Table, Self::Json, Self::Jsonl, Self::Csv];

    /// A parser that offers only these formats to people and shells. The others are parsed, too:
    /// their command refuses them, and says which command has them.
    pub(super) fn offered(formats: &'static [Self]) -> impl TypedValueParser<Value = Self> {
        let values = Self::value_variants().iter().filter_map(|format| {
            let value = format.to_possible_value()?;
            Some(value.hide(!formats.contains(format)))
        });
        PossibleValuesParser::new(values).try_map(|name| Self::from_str(&name, false))
    }

    /// The name on the command line, which is also the usual extension.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Ocsf => "ocsf",
            Self::Html => "html",
            Self::Parquet => "parquet",
        }
    }

    /// Whether a person can read it on a terminal, or a terminal at least survives it.
    #[must_use]
    pub fn is_for_terminals(self) -> bool {
        !matches!(self, Self::Html | Self::Parquet)
    }
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// Only on a terminal, and only if `NO_COLOR` is not set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Output formats of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// Text for people.
    Table,
    /// One JSON array.
    Json,
}
