//! Arguments of `exposure`.

use clap::Args;

use crate::args::{InputArgs, OutputArgs, PolicyArgs, RuleFilesArgs};

/// Arguments of `exposure`.
#[derive(Debug, Args)]
pub struct ExposureArgs {
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// Only what this incident revealed: its id, or a unique prefix of it.
    #[arg(
        long,
        value_name = "ID",
        conflicts_with = "alert",
        help_heading = "Selection"
    )]
    pub incident: Option<String>,
    /// Only what the reads of this alert revealed: its id, or a unique prefix of it.
    #[arg(long, value_name = "ID", help_heading = "Selection")]
    pub alert: Option<String>,
    /// Secret hygiene, for the weekly meeting: what incidents revealed and nobody has rotated,
    /// versions read after their retirement, secrets that nobody reads, grants that nobody uses.
    #[arg(long, conflicts_with_all = ["incident", "alert"], help_heading = "Selection")]
    pub all: bool,
    /// With --all, name secrets that were not read and grants that were not used in so many days
    /// before the logs end.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 90,
        requires = "all",
        help_heading = "Selection"
    )]
    pub days: u32,
    /// Ask Secrets Manager and Parameter Store which versions are current now, with your
    /// credentials. Reads descriptions only (secretsmanager:DescribeSecret,
    /// secretsmanager:ListSecretVersionIds, ssm:DescribeParameters), never values.
    #[cfg(feature = "s3")]
    #[arg(long, conflicts_with = "all", help_heading = "Selection")]
    pub live: bool,
    /// Only these sessions: the full ARN (arn:aws:sts::111122223333:assumed-role/app/i-0abc); `*`
    /// matches any text, `?` any character.
    #[arg(long, value_name = "ARN", help_heading = "Selection")]
    pub session: Vec<String>,
    /// The rules to use.
    #[command(flatten)]
    pub files: RuleFilesArgs,
    /// The access policy to use.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Exit with code 1 if a version was revealed that nothing is known to have superseded.
    #[arg(long, help_heading = "Output")]
    pub fail_on_open: bool,
    /// Format and destination of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}
