//! What the user typed: clap only, nothing is looked up here.

pub mod defaults;
pub mod fleet;
pub mod path;
pub mod settings;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use secretrail_engine::access::Method;
use secretrail_engine::observation::Outcome;
use secretrail_engine::policy::SourcePattern;
use secretrail_engine::rule_meta::Level;
use secretrail_engine::time::EventTime;

/// Who read which AWS secret, with whose key, and whether they should have.
#[derive(Debug, Parser)]
#[command(name = "secretrail", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 findings at or above --fail-on, 2 rule or policy error, \
3 input error (what could be read is still reported), 64 usage, 74 the output could not be written.";

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
    /// What the logs cannot show: missing deliveries, KMS events and records, and trails that were blinded.
    #[command(after_help = EXIT_CODES)]
    Gaps(Gaps),
    /// Whether digests and logs are what CloudTrail wrote: intact, altered, missing or unproven.
    #[command(
        after_help = "Exit codes: 0 nothing is altered or missing, 1 something is, 3 input error, 64 usage, 74 output."
    )]
    Verify(Verify),
    /// One alert with everything behind it: what was counted, the raw records, and where to look next.
    ///
    /// A path may also be a file of alerts, as `replay -f jsonl` writes them, or `-` for alerts on standard input. Then the
    /// alert is what stands there, rules and policy of that time are not needed, and logs are only searched for its records.
    #[command(after_help = EXIT_CODES)]
    Explain(Explain),
    /// Keep what concerns secrets, a hundredth of the bytes, as observation parts that every command reads in place of the logs.
    #[command(after_help = EXIT_CODES)]
    Extract(Extract),
    /// Extract years of an organisation on many machines: Step Functions and Lambda, where the logs are.
    #[command(subcommand)]
    Fleet(fleet::FleetCommand),
    /// Propose an access policy from history, for a person to review.
    #[command(after_help = EXIT_CODES)]
    Baseline(Baseline),
    /// Work on rules: run their examples, lint, list, explain.
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Print the completions of a shell: `secretrail completions bash > /etc/bash_completion.d/secretrail`.
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
    /// Ask CloudTrail for its public keys, for digests on this machine too; those in S3 always do without --public-keys.
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
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "64M", help_heading = "Output")]
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

/// Work on rules.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Run the examples that rules carry.
    #[command(
        after_help = "Exit codes: 0 every example holds, 1 some do not, 2 a rule cannot be used, 64 usage."
    )]
    Test(RulesTest),
    /// Check rules for faults and style.
    #[command(after_help = "Exit codes: 0 clean, or hints only; 1 warnings; 2 errors; 64 usage.")]
    Lint(RulesLint),
    /// List rules.
    List(RulesList),
    /// Say, selection by selection, why a rule does or does not fire for the records in a file.
    Explain(RulesExplain),
    /// List the fields that a rule may use beside CloudTrail's own.
    Fields(RulesFields),
}

/// Which rules.
#[derive(Debug, Default, Args)]
pub struct RuleFiles {
    /// Sigma file or folder; may be given several times. Replaces the built-in pack.
    #[arg(
        short,
        long,
        alias = "path",
        value_name = "RULES",
        help_heading = "Rules"
    )]
    pub rules: Vec<PathBuf>,
    /// Values of the placeholders of rules with `|expand`: YAML, a name with a value or a list of values.
    #[arg(long, value_name = "FILE", help_heading = "Rules")]
    pub vars: Option<PathBuf>,
}

/// Who is expected to read what.
#[derive(Debug, Args)]
pub struct PolicyFile {
    /// Access policy: who is expected to read what.
    #[arg(long, value_name = "FILE", help_heading = "Rules")]
    pub policy: Option<PathBuf>,
    /// Count secrets that no grant of the policy covers as unexpected.
    #[arg(long, requires = "policy", help_heading = "Rules")]
    pub strict: bool,
}

/// Arguments of `rules test`.
#[derive(Debug, Args)]
pub struct RulesTest {
    /// Which rules.
    #[command(flatten)]
    pub files: RuleFiles,
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
pub struct RulesLint {
    /// Which rules.
    #[command(flatten)]
    pub files: RuleFiles,
}

/// Arguments of `rules list`.
#[derive(Debug, Args)]
pub struct RulesList {
    /// Which rules.
    #[command(flatten)]
    pub files: RuleFiles,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
}

/// Arguments of `rules explain`.
#[derive(Debug, Args)]
pub struct RulesExplain {
    /// Id, title or file name of the rule.
    #[arg(value_name = "RULE")]
    pub rule: String,
    /// File with CloudTrail records, in any form that `replay` reads; `-` for standard input.
    #[arg(value_name = "EVENT-FILE")]
    pub events: PathBuf,
    /// Which rules.
    #[command(flatten)]
    pub files: RuleFiles,
    /// Who is expected to read what.
    #[command(flatten)]
    pub policy: PolicyFile,
}

/// Arguments of `rules fields`.
#[derive(Debug, Args)]
pub struct RulesFields {
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = ListFormat::Table)]
    pub format: ListFormat,
}

/// Forms of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    Table,
    /// One JSON array.
    Json,
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
    /// How far the logs of an account must go back before `seen.*` calls anything new; 7d by default.
    #[arg(long, value_name = "AGE", value_parser = age, help_heading = "Rules")]
    pub learning: Option<i64>,
    /// Instead of alerts, print for each rule those gained, lost and kept when these rules replace the others.
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

/// What to read.
#[derive(Debug, Args)]
pub struct Input {
    /// Log files or folders (.json, .jsonl, .ndjson, .gz, at any depth), s3://bucket/prefix, or `-` for standard input.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// First event time: RFC 3339 (2026-03-02T10:00:00Z) or a date (2026-03-02), in UTC.
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Selection")]
    pub from: Option<EventTime>,
    /// First event time after the selection, in the same forms. Deliveries up to a day later are read.
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Selection")]
    pub to: Option<EventTime>,
    /// Only the last 30d, 12h, 90m or 2w.
    #[arg(long, value_name = "AGE", value_parser = age, conflicts_with_all = ["from", "to"], help_heading = "Selection")]
    pub since: Option<i64>,
    /// Only these account ids; folders of others in an AWSLogs tree are not opened.
    #[arg(
        long,
        value_name = "ACCOUNT",
        value_delimiter = ',',
        help_heading = "Selection"
    )]
    pub account: Vec<String>,
    /// Only these regions; folders of others in an AWSLogs tree are not opened.
    #[arg(
        long,
        value_name = "REGION",
        value_delimiter = ',',
        help_heading = "Selection"
    )]
    pub region: Vec<String>,
    /// Only these principals: ARN, session ARN, or name of the role or user; `*` and `?` stand for any text and character.
    #[arg(long, value_name = "GLOB", help_heading = "Selection")]
    pub principal: Vec<String>,
    /// Only these secrets: name, or ARN with or without its suffix; with `*` and `?`.
    #[arg(long, value_name = "GLOB", help_heading = "Selection")]
    pub secret: Vec<String>,
    /// Only calls from these networks (10.0.0.0/8), addresses, VPC endpoints (vpce-…) or services.
    #[arg(long, value_name = "CIDR", help_heading = "Selection")]
    pub source: Vec<SourcePattern>,
    /// Only calls that ended so: success, denied, failed.
    #[arg(
        long,
        value_name = "OUTCOME",
        value_delimiter = ',',
        help_heading = "Selection"
    )]
    pub outcome: Vec<Outcome>,
    /// Only secrets that were reached so: api, batch, by_path, history, direct_decrypt, decrypt_only.
    #[arg(
        long,
        value_name = "METHOD",
        value_delimiter = ',',
        help_heading = "Selection"
    )]
    pub method: Vec<Method>,
    /// Only calls with these access keys.
    #[arg(
        long,
        value_name = "KEY",
        value_delimiter = ',',
        help_heading = "Selection"
    )]
    pub access_key: Vec<String>,
    /// Note in this file what was read, and go on from there after an interruption; it is removed when everything was read.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// How to reach S3.
    #[command(flatten)]
    pub aws: Aws,
    /// Files read at the same time; all processors by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
}

/// How to reach S3, beside what the AWS configuration says.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "S3")]
pub struct Aws {
    /// Profile of the AWS configuration.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Region of the bucket, if not that of the profile.
    #[arg(long = "aws-region", value_name = "REGION")]
    pub aws_region: Option<String>,
    /// Where S3 is, for stand-ins and private endpoints.
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// Pay for requests to a bucket whose owner asks for that.
    #[arg(long)]
    pub requester_pays: bool,
}

/// How to print.
#[derive(Debug, Args)]
pub struct Output {
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t = Format::Table, help_heading = "Output")]
    pub format: Format,
    /// Where to, and how loudly.
    #[command(flatten)]
    pub destination: Destination,
    /// When to use colours.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Color::Auto, help_heading = "Output")]
    pub color: Color,
}

/// Where the output goes, and how loudly.
#[derive(Debug, Args)]
pub struct Destination {
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
pub enum Format {
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
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

fn time(text: &str) -> Result<EventTime, String> {
    let date = || {
        chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()?
            .and_hms_opt(0, 0, 0)
    };
    let parsed =
        EventTime::parse(text).or_else(|| date().map(|d| EventTime(d.and_utc().timestamp())));
    parsed.ok_or_else(|| "write 2026-03-02T10:00:00Z or 2026-03-02".to_owned())
}

fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.strip_suffix(['K', 'M', 'G']) {
        Some(number) if text.ends_with('K') => (number, 1 << 10),
        Some(number) if text.ends_with('M') => (number, 1 << 20),
        Some(number) => (number, 1 << 30),
        None => (text, 1),
    };
    let number: Option<u64> = number.parse().ok().filter(|number| *number > 0);
    number
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| "write a number of bytes, as in 64M or 1G".to_owned())
}

fn age(text: &str) -> Result<i64, String> {
    let remedy = || "write a number and s, m, h, d or w, as in 30d".to_owned();
    let unit = text.chars().next_back().ok_or_else(remedy)?;
    let secs = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(remedy()),
    };
    let number: i64 = text
        .strip_suffix(unit)
        .and_then(|n| n.parse().ok())
        .filter(|n| *n >= 0)
        .ok_or_else(remedy)?;
    number.checked_mul(secs).ok_or_else(remedy)
}
