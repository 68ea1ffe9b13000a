//! Arguments of `backfill`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::input::{AwsArgs, InputArgs};
use crate::args::rules::RuleFilesArgs;
use crate::args::value::bytes;

/// Extract on many machines.
#[derive(Debug, Subcommand)]
pub enum BackfillCommand {
    /// List the logs, write the manifest of a job, and say what it will take.
    #[command(after_help = EXIT_CODES)]
    Plan(Box<BackfillPlanArgs>),
    /// Start what is missing of a job, watch it to its end, and check that it is complete.
    #[command(after_help = EXIT_CODES)]
    Run(BackfillRunArgs),
    /// Say how far a job is.
    #[command(after_help = EXIT_CODES)]
    Status(BackfillJobArgs),
    /// The same as run: start only what is missing.
    #[command(after_help = EXIT_CODES)]
    Resume(BackfillRunArgs),
}

const EXIT_CODES: &str = "Exit codes: 0 done, 2 rule error, \
    3 input error or the job is incomplete, 64 usage, 74 output.";

/// Arguments of `backfill plan`.
#[derive(Debug, Args)]
pub struct BackfillPlanArgs {
    /// What to read, in S3.
    #[command(flatten)]
    pub input: InputArgs,
    /// Which rules the records are kept for: those that the replay will use.
    #[command(flatten)]
    pub files: RuleFilesArgs,
    /// Place of the job: s3://bucket/prefix/, or the manifest in it.
    #[arg(short, long, value_name = "S3", help_heading = "Job")]
    pub output: PathBuf,
    /// Bytes of logs, as they are stored, for one invocation.
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = bytes,
        default_value = "64M",
        help_heading = "Job"
    )]
    pub part_size: u64,
    /// Invocations at the same time, for the estimate: as the state machine is set.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(1..),
        help_heading = "Job"
    )]
    pub concurrency: u64,
    /// Print nothing but faults.
    #[arg(short, long, help_heading = "Job")]
    pub quiet: bool,
}

/// A job.
#[derive(Debug, Args)]
pub struct BackfillJobArgs {
    /// Place of the job: s3://bucket/prefix/, as it was planned.
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// How to reach AWS.
    #[command(flatten)]
    pub aws: AwsArgs,
    /// Print nothing but faults.
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// Print no progress bar.
    #[arg(long, help_heading = "Output")]
    pub no_progress: bool,
}

/// Arguments of `backfill run` and `backfill resume`.
#[derive(Debug, Args)]
pub struct BackfillRunArgs {
    /// Which job.
    #[command(flatten)]
    pub job: BackfillJobArgs,
    /// ARN of the state machine: the output `StateMachine` of infra/backfill.yaml.
    #[arg(long, value_name = "ARN")]
    pub state_machine: String,
}
