//! The command line as clap parses it; nothing is read or resolved here.

pub mod backfill;
pub mod defaults;
pub mod deployment;
pub mod exposure;
pub mod guide;
pub mod input;
pub mod output;
pub mod path;
pub mod policy;
pub mod rules;
pub mod settings;
pub mod value;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use secretrail_engine::rule_meta::RuleLevel;

use self::value::{age, bytes, levels, ratio};
pub use self::{
    exposure::ExposureArgs,
    input::{AwsArgs, InputArgs},
    output::{ColorChoice, ListFormat, OutputArgs, OutputDestination, OutputFormat},
    rules::{
        GeoArgs, NetworkArgs, NetworkFile, PolicyArgs, RuleFilesArgs, RulesCommand,
        RulesCoverageArgs, RulesExplainArgs, RulesFieldsArgs, RulesLintArgs, RulesListArgs,
        RulesTestArgs,
    },
};

/// Who read which AWS secret, with whose key, and whether they should have.
#[derive(Debug, Parser)]
#[command(name = "secretrail", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct CommandLine {
    /// The command to run.
    #[command(subcommand)]
    pub command: CommandArgs,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 findings at or above --fail-on, \
    2 rule or policy error, 3 input error or nothing read (what could be read is still reported), \
    64 usage error, 74 output error.";

const EXIT_CODES_OF_EXPOSURE: &str = "Exit codes: 0 done, 1 open exposures with --fail-on-open, \
    2 rule or policy error, 3 input error or nothing read (what could be read is still reported), \
    64 usage error, 74 output error.";

/// One variant for each command; the doc comments are the help texts.
#[derive(Debug, Subcommand)]
pub enum CommandArgs {
    /// Try it without logs of your own: write example logs to a folder, find their incidents,
    /// explain one, and make the report.
    Demo(DemoArgs),
    /// Replay CloudTrail logs through the rules and print the incidents, most suspicious first.
    #[command(after_help = EXIT_CODES)]
    Replay(ReplayArgs),
    /// List every access to a secret, with the evidence of its KMS Decrypt (the ledger).
    #[command(after_help = EXIT_CODES)]
    Accesses(AccessesArgs),
    /// Print one screen: who read what, what was denied, what is new, and the alerts.
    #[command(after_help = EXIT_CODES)]
    Summary(SummaryArgs),
    /// List what the logs cannot show: missing deliveries, KMS events and records, and trails that
    /// were stopped or narrowed.
    #[command(after_help = EXIT_CODES)]
    Gaps(GapsArgs),
    /// Check digests and logs against what CloudTrail wrote: intact, altered, missing or unproven.
    #[command(
        after_help = "Exit codes: 0 nothing altered or missing, 1 something altered or missing, \
            or logs without any digest, 3 input error, 64 usage error, 74 output error."
    )]
    Verify(VerifyArgs),
    /// Explain one incident or alert: what happened, what to check first, what contains it, with
    /// its evidence.
    ///
    /// A path may also be a file of alerts, as `replay -f jsonl` writes them, or `-` for alerts on
    /// standard input. The incident or alert is then taken from that file: the rules and the policy
    /// that raised it are not needed, and logs are only searched for its records.
    #[command(after_help = EXIT_CODES)]
    Explain(ExplainArgs),
    /// List which versions of which secrets were revealed, to whom, whether they still work, and
    /// what closes it.
    ///
    /// Without a selector, of all incidents. --from, --to and --since bound when values were
    /// revealed; versions and readers come from all logs.
    #[command(after_help = EXIT_CODES_OF_EXPOSURE)]
    Exposure(Box<ExposureArgs>),
    /// Write the records that concern secrets to extract files, far smaller than the logs, that
    /// every command reads in place of the logs.
    #[command(after_help = EXIT_CODES)]
    Extract(ExtractArgs),
    /// Extract years of an organisation's logs in parallel inside AWS, with Step Functions and
    /// Lambda.
    #[command(subcommand)]
    Backfill(backfill::BackfillCommand),
    /// Propose an access policy from history, for a person to review.
    #[command(after_help = EXIT_CODES)]
    Baseline(BaselineArgs),
    /// Say who may read a secret, which grants are not needed, and what another policy changes.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Test, lint, list and explain rules.
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Check a deployment in AWS from outside, with your own permissions: each line is ok, warn or
    /// fail, with the remedy.
    #[command(
        after_help = "Exit codes: 0 nothing fails, 1 something fails, 2 it could not be checked, \
            64 usage error, 74 output error."
    )]
    Doctor(deployment::DoctorArgs),
    /// Send a made-up read of a secret, marked TEST, through a deployment in AWS, and wait for
    /// the alert on each destination. Whoever is on call is called.
    #[command(
        after_help = "Exit codes: 0 every destination got the alert, 1 some did not in time, \
            2 it could not be tested, 64 usage error, 74 output error."
    )]
    SendTest(deployment::SendTestArgs),
    /// Teach a deployment what is usual from the logs before it: novelty is judged at once, and not
    /// only after the warm-up. No alerts are sent.
    ///
    /// The history is replayed here, and what is remembered of it is merged into the state table,
    /// beside a running function. It can be interrupted and repeated.
    #[command(
        after_help = "Exit codes: 0 done, 2 the rules of the function cannot be used, \
            3 some input or the deployment could not be read, or the table not be written, \
            64 usage error, 74 temporary files could not be written."
    )]
    Prime(deployment::PrimeArgs),
    /// List the incidents of a deployment, close them, and open them again.
    #[command(subcommand)]
    Incident(deployment::IncidentCommand),
    /// Print shell completions: of commands, options, and the values of options.
    Completions {
        /// The shell to print completions for.
        shell: clap_complete::Shell,
    },
    /// Print the manual page of a command, or write those of all.
    Man(ManArgs),
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Folder for the example logs and the report: a new one, an empty one, or one that `demo` has
    /// made.
    #[arg(value_name = "DIR", default_value = "secretrail-demo")]
    pub folder: PathBuf,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The command, as in `secretrail man rules test`; `secretrail` itself by default.
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Write the pages of all commands to this folder, as secretrail-rules-test.1.
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub all: Option<PathBuf>,
}

/// Arguments of `gaps`.
#[derive(Debug, Args)]
pub struct GapsArgs {
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// Exit with code 1 if there are gaps.
    #[arg(long, help_heading = "Output")]
    pub fail_on_gaps: bool,
    /// Format and destination of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// What to read: digests and logs.
    #[command(flatten)]
    pub input: InputArgs,
    /// File with CloudTrail's public keys, as `aws cloudtrail list-public-keys` prints them.
    #[arg(long, value_name = "FILE", help_heading = "Keys")]
    pub public_keys: Option<PathBuf>,
    /// Fetch the public keys from CloudTrail for digests on this machine; for digests in S3 this is
    /// the default without --public-keys.
    #[arg(long, conflicts_with = "public_keys", help_heading = "Keys")]
    pub fetch_keys: bool,
    /// Also list what is intact.
    #[arg(long, help_heading = "Output")]
    pub all: bool,
    /// Format and destination of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `summary`.
#[derive(Debug, Args)]
pub struct SummaryArgs {
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// The rules to use.
    #[command(flatten)]
    pub files: RuleFilesArgs,
    /// The access policy to use.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Number of lines in each list.
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = "Output")]
    pub top: usize,
    /// Format and destination of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Id of an incident or alert, or a unique prefix of it.
    #[arg(value_name = "ID")]
    pub id: String,
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// Show everything, with the JSON of the records; without it, one screen.
    #[arg(long)]
    pub raw: bool,
    /// The rules that raised the alerts.
    #[command(flatten)]
    pub files: RuleFilesArgs,
    /// The access policy to use.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Where the output goes, and what else is printed.
    #[command(flatten)]
    pub destination: OutputDestination,
}

/// Arguments of `extract`.
#[derive(Debug, Args)]
pub struct ExtractArgs {
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// The rules of the later replay: the records that they need are kept.
    #[command(flatten)]
    pub files: RuleFilesArgs,
    /// Folder or s3://bucket/prefix for the extract files; those that already exist are not made
    /// again.
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    pub output: PathBuf,
    /// Bytes of logs, as stored, for each extract file.
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = bytes,
        default_value = "64M",
        help_heading = "Output"
    )]
    pub part_size: u64,
    /// Overwrite existing extract files, for example after objects that could not be read.
    #[arg(long, help_heading = "Output")]
    pub force: bool,
    /// Print neither the progress bar nor the run summary.
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// Hide the progress bar.
    #[arg(long, help_heading = "Output")]
    pub no_progress: bool,
}

/// Arguments of `baseline`.
#[derive(Debug, Args)]
pub struct BaselineArgs {
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// Keep the grants and the text of this policy, and propose only what it does not cover yet.
    #[arg(long, value_name = "FILE", help_heading = "Proposal")]
    pub merge: Option<PathBuf>,
    /// Omit pairs of principal and secret with fewer reads, and their regions, sources and keys.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Proposal")]
    pub min_reads: u64,
    /// The same with reads on fewer days.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Proposal")]
    pub min_days: usize,
    /// Propose no pattern that covers more known pairs of principal and secret than this, for each
    /// pair that was read.
    #[arg(
        long,
        value_name = "RATIO",
        default_value_t = 3.0,
        value_parser = ratio,
        help_heading = "Proposal"
    )]
    pub max_fold: f64,
    /// Write drafts of IAM policies to this file as well: for each role and user what it read, and
    /// the Decrypts behind it; for each secret who read it.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "merge",
        help_heading = "Proposal"
    )]
    pub draft_iam: Option<PathBuf>,
    /// Write a page for a browser to this file as well, on which a person accepts or rejects each
    /// grant, and which gives the policy of what was accepted.
    #[arg(long, value_name = "FILE", help_heading = "Proposal")]
    pub review: Option<PathBuf>,
    /// Lists of networks.
    #[command(flatten)]
    pub lists: NetworkArgs,
    /// Where the output goes, and what else is printed.
    #[command(flatten)]
    pub destination: OutputDestination,
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// The rules to use.
    #[command(flatten)]
    pub files: RuleFilesArgs,
    /// The access policy to use.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Lookback of `seen.*`: how long a sighting is remembered, for example 90d or 12w.
    #[arg(long, value_name = "AGE", value_parser = age, help_heading = "Rules")]
    pub lookback: Option<i64>,
    /// Warm-up of `seen.*`: how far the logs of an account must reach back before anything counts
    /// as new; 7d by default.
    #[arg(long, value_name = "AGE", value_parser = age, help_heading = "Rules")]
    pub warm_up: Option<i64>,
    /// Instead of alerts, print how many each rule gains, loses and keeps when these rules replace
    /// the ones in use.
    #[arg(long, value_name = "RULES", help_heading = "Rules")]
    pub compare: Vec<PathBuf>,
    /// List the alerts one by one, instead of the incidents that they make.
    #[arg(long, conflicts_with = "incidents")]
    pub alerts: bool,
    /// Only the incidents, in JSON without the alerts.
    #[arg(long)]
    pub incidents: bool,
    /// Omit alerts and incidents below this level.
    #[arg(
        long,
        value_name = "LEVEL",
        value_parser = levels(),
        default_value = "informational",
        help_heading = "Rules"
    )]
    pub min_level: RuleLevel,
    /// Exit with code 1 if there are alerts at or above this level.
    #[arg(long, value_name = "LEVEL", value_parser = levels(), help_heading = "Rules")]
    pub fail_on: Option<RuleLevel>,
    /// Format and destination of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `accesses`.
#[derive(Debug, Args)]
pub struct AccessesArgs {
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// Format and destination of the output.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Databases of where addresses are registered.
    #[command(flatten)]
    pub geo: GeoArgs,
}
