//! What the user typed: clap only, nothing is looked up here.

pub mod defaults;
pub mod fleet;
pub mod input;
pub mod output;
pub mod path;
pub mod rules;
pub mod settings;
pub mod value;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use secretrail_engine::rule_meta::Level;

pub use self::input::{Aws, Input};
pub use self::output::{Color, Destination, Format, ListFormat, Output};
pub use self::rules::{
    PolicyFile, RuleFiles, RulesCommand, RulesExplain, RulesFields, RulesLint, RulesList, RulesTest,
};
use self::value::{age, bytes};

/// Who read which AWS secret, with whose key, and whether they should have.
#[derive(Debug, Parser)]
#[command(name = "secretrail", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 findings at or above --fail-on, \
    2 rule or policy error, 3 input error (what could be read is still reported), 64 usage, \
    74 the output could not be written.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Replay CloudTrail logs through the rules and print the alerts.
    #[command(after_help = EXIT_CODES)]
    Replay(Replay),
    /// Print the ledger: every access to a secret, with the evidence of its decryption.
    #[command(after_help = EXIT_CODES)]
    Accesses(Accesses),
    /// One screen: who read what, what was denied, what is new, and the alerts.
    #[command(after_help = EXIT_CODES)]
    Summary(Summary),
    /// What the logs cannot show: missing deliveries, KMS events and records, and trails that were
    /// blinded.
    #[command(after_help = EXIT_CODES)]
    Gaps(Gaps),
    /// Whether digests and logs are what CloudTrail wrote: intact, altered, missing or unproven.
    #[command(
        after_help = "Exit codes: 0 nothing is altered or missing, 1 something is, \
            3 input error, 64 usage, 74 output."
    )]
    Verify(Verify),
    /// One alert with everything behind it: what was counted, the raw records, and where to look
    /// next.
    ///
    /// A path may also be a file of alerts, as `replay -f jsonl` writes them, or `-` for alerts on
    /// standard input. Then the alert is what stands there, rules and policy of that time are not
    /// needed, and logs are only searched for its records.
    #[command(after_help = EXIT_CODES)]
    Explain(Explain),
    /// Keep what concerns secrets, a hundredth of the bytes, as observation parts that every
    /// command reads in place of the logs.
    #[command(after_help = EXIT_CODES)]
    Extract(Extract),
    /// Extract years of an organisation on many machines: Step Functions and Lambda, where the logs
    /// are.
    #[command(subcommand)]
    Fleet(fleet::FleetCommand),
    /// Propose an access policy from history, for a person to review.
    #[command(after_help = EXIT_CODES)]
    Baseline(Baseline),
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
pub struct Gaps {
    /// What to read.
    #[command(flatten)]
    pub input: Input,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// What to read: digests and logs together.
    #[command(flatten)]
    pub input: Input,
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
    pub output: Output,
}

/// Arguments of `summary`.
#[derive(Debug, Args)]
pub struct Summary {
    /// What to read.
    #[command(flatten)]
    pub input: Input,
    /// Which rules.
    #[command(flatten)]
    pub files: RuleFiles,
    /// Who is expected to read what.
    #[command(flatten)]
    pub policy: PolicyFile,
    /// Lines of each list.
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = "Output")]
    pub top: usize,
    /// Where to, and how loudly.
    #[command(flatten)]
    pub destination: Destination,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// Id of the alert, or its first characters.
    #[arg(value_name = "ALERT-ID")]
    pub alert: String,
    /// What to read.
    #[command(flatten)]
    pub input: Input,
    /// Which rules: those that raised the alert.
    #[command(flatten)]
    pub files: RuleFiles,
    /// Who is expected to read what.
    #[command(flatten)]
    pub policy: PolicyFile,
    /// Where to, and how loudly.
    #[command(flatten)]
    pub destination: Destination,
}

/// Arguments of `extract`.
#[derive(Debug, Args)]
pub struct Extract {
    /// What to read.
    #[command(flatten)]
    pub input: Input,
    /// Which rules the records are kept for: those that the replay will use.
    #[command(flatten)]
    pub files: RuleFiles,
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
pub struct Baseline {
    /// What to read.
    #[command(flatten)]
    pub input: Input,
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
    pub destination: Destination,
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// What to read.
    #[command(flatten)]
    pub input: Input,
    /// Which rules.
    #[command(flatten)]
    pub files: RuleFiles,
    /// Who is expected to read what.
    #[command(flatten)]
    pub policy: PolicyFile,
    /// How long `seen.*` remembers: 90d, 12w.
    #[arg(long, value_name = "AGE", value_parser = age, help_heading = "Rules")]
    pub memory: Option<i64>,
    /// How far the logs of an account must go back before `seen.*` calls anything new; 7d by
    /// default.
    #[arg(long, value_name = "AGE", value_parser = age, help_heading = "Rules")]
    pub learning: Option<i64>,
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
    pub min_level: Level,
    /// Exit with 1 when there are alerts at or above this level.
    #[arg(long, value_name = "LEVEL", help_heading = "Rules")]
    pub fail_on: Option<Level>,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `accesses`.
#[derive(Debug, Args)]
pub struct Accesses {
    /// What to read.
    #[command(flatten)]
    pub input: Input,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}
