//! Arguments of the commands about a deployment in AWS: `doctor`, `send-test`, `prime` and
//! `incident`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::{
    input::{AwsArgs, InputArgs},
    output::OutputArgs,
    rules::GeoArgs,
    value::{account, age},
};

/// Which deployment, and how to reach it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Deployment")]
pub struct StackArgs {
    /// Name of the stack of infra/template.yaml.
    #[arg(long, value_name = "NAME", default_value = "secretrail")]
    pub stack: String,
    /// A deployment by infra/terraform in place of a stack: the file of `terraform output -json`,
    /// or - for standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "stack")]
    pub terraform: Option<PathBuf>,
    /// Profile of the AWS configuration; counts before keys in the environment.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Region of the stack; the region of the profile by default.
    #[arg(long = "aws-region", visible_alias = "region", value_name = "REGION")]
    pub aws_region: Option<String>,
    /// Endpoint of all services, for emulators; AWS_ENDPOINT_URL_SQS and the like for one.
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Which deployment.
    #[command(flatten)]
    pub stack: StackArgs,
    /// Only the last files of these account ids; of all accounts by default, up to a hundred
    /// accounts and regions.
    #[arg(
        long,
        value_name = "ACCOUNT",
        value_parser = account,
        value_delimiter = ',',
        help_heading = "Deployment"
    )]
    pub account: Vec<String>,
    /// Format and destination of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `send-test`.
#[derive(Debug, Args)]
pub struct SendTestArgs {
    /// Which deployment.
    #[command(flatten)]
    pub stack: StackArgs,
    /// How long to wait for the alert.
    #[arg(long, value_name = "AGE", value_parser = age, default_value = "5m")]
    pub wait: i64,
}

/// Arguments of `prime`.
#[derive(Debug, Args)]
pub struct PrimeArgs {
    /// The history: log files or folders, extract files, or s3://bucket/prefix.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Which deployment.
    #[command(flatten)]
    pub stack: StackArgs,
    /// Name of the function, for a deployment that is neither a stack nor described by Terraform;
    /// the function of the stack by default.
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with_all = ["stack", "terraform"],
        help_heading = "Deployment"
    )]
    pub function: Option<String>,
    /// Say what would be written, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Only events of the last 30d, 12h or 2w; of the lookback of the function by default (90d).
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub since: Option<i64>,
    /// Write although some input could not be read: what was only there will look new.
    #[arg(long)]
    pub partial: bool,
    /// Record progress in this file and resume from it after an interruption; it is removed once
    /// everything has been read.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Folder for temporary files, which a long history needs; the folder of the system (TMPDIR) by
    /// default.
    #[arg(long, value_name = "DIR")]
    pub temp_dir: Option<PathBuf>,
    /// Number of files read in parallel; the number of processors by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Databases that are in the package of the function; those in S3 are found.
    #[command(flatten)]
    pub geo: GeoArgs,
    /// Print neither the progress bar nor the run summary.
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// Hide the progress bar.
    #[arg(long, help_heading = "Output")]
    pub no_progress: bool,
}

impl PrimeArgs {
    /// What to read: everything of the last so many seconds.
    #[must_use]
    pub fn input(&self, since: i64, aws: AwsArgs) -> InputArgs {
        InputArgs {
            paths: self.paths.clone(),
            since: Some(since),
            checkpoint: self.checkpoint.clone(),
            temp_dir: self.temp_dir.clone(),
            threads: self.threads,
            aws,
            ..InputArgs::default()
        }
    }
}

/// Incidents of a deployment.
#[derive(Debug, Subcommand)]
pub enum IncidentCommand {
    /// List the incidents that nobody has closed, the latest first.
    #[command(after_help = EXIT_CODES)]
    List(IncidentListArgs),
    /// Close an incident: more of the same sends no message any more. A higher level, another rule
    /// or another secret opens it again.
    #[command(after_help = EXIT_CODES)]
    Close(IncidentDecisionArgs),
    /// Open an incident again.
    #[command(after_help = EXIT_CODES)]
    Reopen(IncidentDecisionArgs),
}

const EXIT_CODES: &str = "Exit codes: 0 done, 3 the table or the incident could not be read, \
    64 usage error, 74 output error.";

/// Arguments of `incident list`.
#[derive(Debug, Args)]
pub struct IncidentListArgs {
    /// Which deployment.
    #[command(flatten)]
    pub table: StateTableArgs,
    /// Incidents that began in the last 30d, 12h or 2w.
    #[arg(long, value_name = "AGE", value_parser = age, default_value = "30d")]
    pub since: i64,
    /// Also those that are closed, withdrawn, or parts of others.
    #[arg(long)]
    pub all: bool,
    /// Format and destination of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `incident close` and `incident reopen`.
#[derive(Debug, Args)]
pub struct IncidentDecisionArgs {
    /// Id of the incident, or the beginning of it.
    #[arg(value_name = "ID")]
    pub id: String,
    /// Why, for those who read it later.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Which deployment.
    #[command(flatten)]
    pub table: StateTableArgs,
}

/// Which state table.
#[derive(Debug, Args)]
pub struct StateTableArgs {
    /// Which deployment.
    #[command(flatten)]
    pub stack: StackArgs,
    /// Name of the state table, for a deployment without a stack (Terraform); the table of the
    /// stack by default.
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "stack",
        help_heading = "Deployment"
    )]
    pub table: Option<String>,
}
