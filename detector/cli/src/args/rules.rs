//! Arguments of `rules`, and which rules and policy a run uses.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::output::ListFormat;

/// Work on rules.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Run the examples that rules carry.
    #[command(after_help = "Exit codes: 0 every example holds, 1 some do not, \
            2 a rule cannot be used, 64 usage.")]
    Test(RulesTestArgs),
    /// Check rules for faults and style.
    #[command(after_help = "Exit codes: 0 clean, or hints only; 1 warnings; 2 errors; 64 usage.")]
    Lint(RulesLintArgs),
    /// List rules.
    List(RulesListArgs),
    /// Say, selection by selection, why a rule does or does not fire for the records in a file.
    Explain(RulesExplainArgs),
    /// List the fields that a rule may use beside CloudTrail's own.
    Fields(RulesFieldsArgs),
}

/// Which rules.
#[derive(Debug, Default, Args)]
pub struct RuleFilesArgs {
    /// Sigma file or folder; may be given several times. Replaces the built-in pack.
    #[arg(
        short,
        long,
        alias = "path",
        value_name = "RULES",
        help_heading = "Rules"
    )]
    pub rules: Vec<PathBuf>,
    /// Values of the placeholders of rules with `|expand`: YAML, a name with a value or a list of
    /// values.
    #[arg(long, value_name = "FILE", help_heading = "Rules")]
    pub vars: Option<PathBuf>,
}

/// Who is expected to read what.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// Access policy: who is expected to read what.
    #[arg(long, value_name = "FILE", help_heading = "Rules")]
    pub policy: Option<PathBuf>,
    /// Count secrets that no grant of the policy covers as unexpected.
    #[arg(long, requires = "policy", help_heading = "Rules")]
    pub strict: bool,
}

/// Arguments of `rules test`.
#[derive(Debug, Args)]
pub struct RulesTestArgs {
    /// Which rules.
    #[command(flatten)]
    pub files: RuleFilesArgs,
    /// Only the rule of this id, title or file name; may be given several times.
    #[arg(long, value_name = "RULE")]
    pub rule: Vec<String>,
    /// Print only what fails.
    #[arg(long)]
    pub show_failures_only: bool,
    /// Also write the results as JUnit XML.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// Arguments of `rules lint`.
#[derive(Debug, Args)]
pub struct RulesLintArgs {
    /// Which rules.
    #[command(flatten)]
    pub files: RuleFilesArgs,
}

/// Arguments of `rules list`.
#[derive(Debug, Args)]
pub struct RulesListArgs {
    /// Which rules.
    #[command(flatten)]
    pub files: RuleFilesArgs,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
}

/// Arguments of `rules explain`.
#[derive(Debug, Args)]
pub struct RulesExplainArgs {
    /// Id, title or file name of the rule.
    #[arg(value_name = "RULE")]
    pub rule: String,
    /// File with CloudTrail records, in any form that `replay` reads; `-` for standard input.
    #[arg(value_name = "EVENT-FILE")]
    pub events: PathBuf,
    /// Which rules.
    #[command(flatten)]
    pub files: RuleFilesArgs,
    /// Who is expected to read what.
    #[command(flatten)]
    pub policy: PolicyArgs,
}

/// Arguments of `rules fields`.
#[derive(Debug, Args)]
pub struct RulesFieldsArgs {
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
}
