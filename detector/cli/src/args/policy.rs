//! Arguments of `policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{InputArgs, NetworkArgs, OutputDestination, value::ratio};

/// The commands about an access policy.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Say whether the policy lets a principal read a secret, and by which grant.
    #[command(
        after_help = "Exit codes: 0 expected, 1 not expected or undeclared, 2 policy error, \
            64 usage error."
    )]
    Explain(PolicyExplainArgs),
    /// Name grants that the logs do not need: not used, far wider than what is read, or covered by
    /// another.
    #[command(
        after_help = "Exit codes: 0 no findings, 1 findings, 2 policy error, 3 input error or \
            nothing read, 64 usage error, 74 output error."
    )]
    Lint(Box<PolicyLintArgs>),
    /// Print what another policy changes: grants, and the lists beside them.
    #[command(
        after_help = "Exit codes: 0 no differences, 1 differences, 2 policy error, \
            64 usage error."
    )]
    Diff(PolicyDiffArgs),
    /// Print a pattern for EventBridge that sends events ahead of the log files, without the reads
    /// of workloads that the policy expects to read often (baseline_per_hour).
    #[command(after_help = "Exit codes: 0 done, 2 policy error, 64 usage error.")]
    Pattern(PolicyPatternArgs),
}

/// Arguments of `policy explain`.
#[derive(Debug, Args)]
pub struct PolicyExplainArgs {
    /// ARN of a role, a user or a session, or name of a service.
    #[arg(value_name = "PRINCIPAL")]
    pub principal: String,
    /// ARN of a secret or parameter.
    #[arg(value_name = "SECRET")]
    pub secret: String,
    /// Access policy: who may read what.
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// Treat secrets that no grant covers as unexpected.
    #[arg(long)]
    pub strict: bool,
}

/// Arguments of `policy lint`.
#[derive(Debug, Args)]
pub struct PolicyLintArgs {
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// Access policy: who may read what.
    #[arg(long, value_name = "FILE", help_heading = "Rules")]
    pub policy: PathBuf,
    /// Lists of networks.
    #[command(flatten)]
    pub lists: NetworkArgs,
    /// Name grants that were not used in so many days before the logs end.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 90,
        help_heading = "Findings"
    )]
    pub days: u32,
    /// Name grants that cover more pairs of principal and secret than this, for each pair that was
    /// read.
    #[arg(
        long,
        value_name = "RATIO",
        default_value_t = 3.0,
        value_parser = ratio,
        help_heading = "Findings"
    )]
    pub max_fold: f64,
    /// Where the output goes, and what else is printed.
    #[command(flatten)]
    pub destination: OutputDestination,
}

/// Arguments of `policy diff`.
#[derive(Debug, Args)]
pub struct PolicyDiffArgs {
    /// The old policy.
    #[arg(value_name = "OLD")]
    pub old: PathBuf,
    /// The new policy.
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
}

/// Arguments of `policy pattern`.
#[derive(Debug, Args)]
pub struct PolicyPatternArgs {
    /// Access policy: who may read what.
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// Leave roles to the log files that a grant expects to read a secret at least so many times an
    /// hour.
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = ratio)]
    pub min_per_hour: f64,
    /// The pattern as JSON for a rule, or the roles for the parameter Workloads of
    /// infra/direct.yaml.
    #[arg(short, long, value_name = "FORMAT", default_value = "json")]
    pub format: PatternFormat,
}

/// Formats of `policy pattern`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PatternFormat {
    /// The whole pattern.
    Json,
    /// The roles, separated by commas.
    Parameter,
}
