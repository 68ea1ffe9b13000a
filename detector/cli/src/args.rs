//! What the user typed: clap only, nothing is looked up here.

pub mod backfill;
pub mod defaults;
pub mod input;
pub mod output;
pub mod path;
pub mod rules;
pub mod settings;
pub mod value;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use secretrail_engine::rule_meta::RuleLevel;

pub use self::input::{AwsArgs, InputArgs};
pub use self::output::{ColorChoice, ListFormat, OutputArgs, OutputDestination, OutputFormat};
pub use self::rules::{
    PolicyArgs, RuleFilesArgs, RulesCommand, RulesExplainArgs, RulesFieldsArgs, RulesLintArgs,
    RulesListArgs, RulesTestArgs,
};
use self::value::{age, bytes};

/// Who read which AWS secret, with whose key, and whether they should have.
#[derive(Debug, Parser)]
#[command(name = "secretrail", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: CommandArgs,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 findings at or above --fail-on, \
    2 rule or policy error, 3 input error (what could be read is still reported), 64 usage, \
    74 the output could not be written.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum CommandArgs {
    /// Replay CloudTrail logs through the rules and print the alerts.
    #[command(after_help = EXIT_CODES)]
    Replay(ReplayArgs),
    /// Print the ledger: every access to a secret, with the evidence of its decryption.
    #[command(after_help = EXIT_CODES)]
    Accesses(AccessesArgs),
    /// One screen: who read what, what was denied, what is new, and the alerts.
    #[command(after_help = EXIT_CODES)]
    Summary(SummaryArgs),
    /// What the logs cannot show: missing deliveries, KMS events and records, and trails that were
    /// blinded.
    #[command(after_help = EXIT_CODES)]
    Gaps(GapsArgs),
    /// Whether digests and logs are what CloudTrail wrote: intact, altered, missing or unproven.
    #[command(
        after_help = "Exit codes: 0 nothing is altered or missing, 1 something is, \
            3 input error, 64 usage, 74 output."
    )]
    Verify(VerifyArgs),
    /// One alert with everything behind it: what was counted, the raw records, and where to look
    /// next.
    ///
    /// A path may also be a file of alerts, as `replay -f jsonl` writes them, or `-` for alerts on
    /// standard input. Then the alert is what stands there, rules and policy of that time are not
    /// needed, and logs are only searched for its records.
    #[command(after_help = EXIT_CODES)]
    Explain(ExplainArgs),
    /// Keep what concerns secrets, a hundredth of the bytes, as observation parts that every
    /// command reads in place of the logs.
    #[command(after_help = EXIT_CODES)]
    Extract(ExtractArgs),
    /// Extract years of an organisation on many machines: Step Functions and Lambda, where the logs
    /// are.
    #[command(subcommand)]
    Backfill(backfill::BackfillCommand),
    /// Propose an access policy from history, for a person to review.
    #[command(after_help = EXIT_CODES)]
    Baseline(BaselineArgs),
    /// Work on rules: run their examples, lint, list, explain.
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Print the completions of a shell: `secretrail completions bash >
    /// /etc/bash_completion.d/secretrail`.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page: `secretrail man | man -l -`.
    Man,
}

/// Arguments of `gaps`.
#[derive(Debug, Args)]
pub struct GapsArgs {
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// What to read: digests and logs together.
    #[command(flatten)]
    pub input: InputArgs,
    /// Public keys of CloudTrail, as `aws cloudtrail list-public-keys` prints them.
    #[arg(long, value_name = "FILE", help_heading = "Keys")]
    pub public_keys: Option<PathBuf>,
    /// Ask CloudTrail for its public keys, for digests on this machine too; those in S3 always do
    /// without --public-keys.
    #[arg(long, conflicts_with = "public_keys", help_heading = "Keys")]
    pub fetch_keys: bool,
    /// List what is intact, too.
    #[arg(long, help_heading = "Output")]
    pub all: bool,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `summary`.
#[derive(Debug, Args)]
pub struct SummaryArgs {
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// Which rules.
    #[command(flatten)]
    pub files: RuleFilesArgs,
    /// Who is expected to read what.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Lines of each list.
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = "Output")]
    pub top: usize,
    /// Where to, and how loudly.
    #[command(flatten)]
    pub destination: OutputDestination,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Id of the alert, or its first characters.
    #[arg(value_name = "ALERT-ID")]
    pub alert: String,
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// Which rules: those that raised the alert.
    #[command(flatten)]
    pub files: RuleFilesArgs,
    /// Who is expected to read what.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Where to, and how loudly.
    #[command(flatten)]
    pub destination: OutputDestination,
}

/// Arguments of `extract`.
#[derive(Debug, Args)]
pub struct ExtractArgs {
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// Which rules the records are kept for: those that the replay will use.
    #[command(flatten)]
    pub files: RuleFilesArgs,
    /// Folder or s3://bucket/prefix for the parts; what is there already is not made again.
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    pub output: PathBuf,
    /// Bytes of logs, as they are stored, for one part.
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = bytes,
        default_value = "64M",
        help_heading = "Output"
    )]
    pub part_size: u64,
    /// Make parts again that are there: after objects that could not be read.
    #[arg(long, help_heading = "Output")]
    pub force: bool,
    /// Print neither the progress bar nor the closing summary.
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// Print no progress bar.
    #[arg(long, help_heading = "Output")]
    pub no_progress: bool,
}

/// Arguments of `baseline`.
#[derive(Debug, Args)]
pub struct BaselineArgs {
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// Keep the grants and the text of this policy, and propose only what it does not expect yet.
    #[arg(long, value_name = "FILE", help_heading = "Learning")]
    pub merge: Option<PathBuf>,
    /// Leave out pairs of principal and secret with fewer reads.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Learning")]
    pub min_reads: u64,
    /// Leave out pairs that were read on fewer days.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Learning")]
    pub min_days: usize,
    /// Where to, and how loudly.
    #[command(flatten)]
    pub destination: OutputDestination,
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// Which rules.
    #[command(flatten)]
    pub files: RuleFilesArgs,
    /// Who is expected to read what.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// How long `seen.*` remembers: 90d, 12w.
    #[arg(long, value_name = "AGE", value_parser = age, help_heading = "Rules")]
    pub lookback: Option<i64>,
    /// How far the logs of an account must go back before `seen.*` calls anything new; 7d by
    /// default.
    #[arg(long, value_name = "AGE", value_parser = age, help_heading = "Rules")]
    pub warm_up: Option<i64>,
    /// Instead of alerts, print for each rule those gained, lost and kept when these rules replace
    /// the others.
    #[arg(long, value_name = "RULES", help_heading = "Rules")]
    pub compare: Vec<PathBuf>,
    /// Leave out alerts below this level.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "informational",
        help_heading = "Rules"
    )]
    pub min_level: RuleLevel,
    /// Exit with 1 when there are alerts at or above this level.
    #[arg(long, value_name = "LEVEL", help_heading = "Rules")]
    pub fail_on: Option<RuleLevel>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `accesses`.
#[derive(Debug, Args)]
pub struct AccessesArgs {
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}
