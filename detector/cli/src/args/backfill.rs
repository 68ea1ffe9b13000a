//! Arguments of `backfill`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::{
    input::{AwsArgs, InputArgs},
    rules::RuleFilesArgs,
    value::bytes,
};

/// Extraction in parallel inside AWS.
#[derive(Debug, Subcommand)]
pub enum BackfillCommand {
    /// List the logs, write the manifest of a job, and estimate its time and cost.
    #[command(after_help = EXIT_CODES)]
    Plan(Box<BackfillPlanArgs>),
    /// Start the missing batches of a job, wait for its end, and check that it is complete.
    #[command(after_help = EXIT_CODES)]
    Run(BackfillRunArgs),
    /// Show the progress of a job.
    #[command(after_help = EXIT_CODES)]
    Status(BackfillJobArgs),
    /// Same as run: start only the missing batches.
    #[command(after_help = EXIT_CODES)]
    Resume(BackfillRunArgs),
    /// Stop the execution of a job; what it has extracted stays, and resume goes on from there.
    #[command(after_help = EXIT_CODES)]
    Stop(BackfillJobArgs),
    /// Delete the item lists and results of the executions of a job, which a replay does not need;
    /// with --all, everything that the job has written.
    #[command(after_help = EXIT_CODES)]
    Clean(BackfillCleanArgs),
}

const EXIT_CODES: &str = "Exit codes: 0 done, 2 rule error, \
    3 input error, incomplete job, or objects that could not be read, 64 usage error, \
    74 output error.";

/// Arguments of `backfill plan`.
#[derive(Debug, Args)]
#[command(mut_arg("paths", |paths| {
    paths
        .required(false)
        .required_unless_present_any(["failed_of", "inventory"])
        .conflicts_with_all(["failed_of", "inventory"])
}))]
pub struct BackfillPlanArgs {
    /// What to read; only objects in S3.
    #[command(flatten)]
    pub input: InputArgs,
    /// The rules of the later replay: the records that they need are kept.
    #[command(flatten)]
    pub files: RuleFilesArgs,
    /// Location of the job: s3://bucket/prefix/, or its manifest.
    #[arg(short, long, value_name = "S3", help_heading = "Job")]
    pub output: PathBuf,
    /// Plan only what this job could not read, in place of paths: a new job at another place,
    /// for the same events. A replay takes both.
    #[arg(long, value_name = "JOB", help_heading = "Job")]
    pub failed_of: Option<PathBuf>,
    /// Plan the objects of an S3 Inventory in CSV, in place of paths: its manifest.json in S3. For
    /// more than ten million objects; the selection applies.
    #[arg(
        long,
        value_name = "S3",
        conflicts_with = "failed_of",
        help_heading = "Job"
    )]
    pub inventory: Option<PathBuf>,
    /// Bytes of gzip logs, as stored, for each invocation; of plain ones twelve times as many. An
    /// invocation has logs of one account and one month.
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = bytes,
        default_value = "64M",
        help_heading = "Job"
    )]
    pub part_size: u64,
    /// Concurrent invocations, for the estimate only: the concurrency of the state machine.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(1..),
        help_heading = "Job"
    )]
    pub concurrency: u64,
    /// Print only errors.
    #[arg(short, long, help_heading = "Job")]
    pub quiet: bool,
}

/// Which job, and how to reach it.
#[derive(Debug, Args)]
pub struct BackfillJobArgs {
    /// Location of the job: s3://bucket/prefix/, as given to `backfill plan`.
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// AWS profile, region and endpoint.
    #[command(flatten)]
    pub aws: AwsArgs,
    /// Print only errors.
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// Hide the progress bar.
    #[arg(long, help_heading = "Output")]
    pub no_progress: bool,
}

/// Arguments of `backfill clean`.
#[derive(Debug, Args)]
pub struct BackfillCleanArgs {
    /// The job to clean.
    #[command(flatten)]
    pub job: BackfillJobArgs,
    /// Delete the extract files and manifests too: the job is gone.
    #[arg(long, help_heading = "Job")]
    pub all: bool,
}

/// Arguments of `backfill run` and `backfill resume`.
#[derive(Debug, Args)]
pub struct BackfillRunArgs {
    /// The job to run.
    #[command(flatten)]
    pub job: BackfillJobArgs,
    /// ARN of the state machine: output `StateMachine` of the stack of infra/backfill.yaml.
    #[arg(long, value_name = "ARN", help_heading = "Job")]
    pub state_machine: String,
}
