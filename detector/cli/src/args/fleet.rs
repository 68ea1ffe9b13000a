//! Arguments of `fleet`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::input::{Aws, Input};
use crate::args::rules::RuleFiles;
use crate::args::value::bytes;

/// Extract on many machines.
#[derive(Debug, Subcommand)]
pub enum FleetCommand {
    /// List the logs, write the manifest of a job, and say what it will take.
    #[command(after_help = EXIT_CODES)]
    Plan(Box<Plan>),
    /// Start what is missing of a job, watch it to its end, and check that it is complete.
    #[command(after_help = EXIT_CODES)]
    Run(Run),
    /// Say how far a job is.
    #[command(after_help = EXIT_CODES)]
    Status(Job),
    /// The same as run: start only what is missing.
    #[command(after_help = EXIT_CODES)]
    Resume(Run),
}

const EXIT_CODES: &str = "Exit codes: 0 done, 2 rule error, \
    3 input error or the job is incomplete, 64 usage, 74 output.";

/// Arguments of `fleet plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// What to read, in S3.
    #[command(flatten)]
    pub input: Input,
    /// Which rules the records are kept for: those that the replay will use.
    #[command(flatten)]
    pub files: RuleFiles,
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
pub struct Job {
    /// Place of the job: s3://bucket/prefix/, as it was planned.
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// How to reach AWS.
    #[command(flatten)]
    pub aws: Aws,
    /// Print nothing but faults.
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// Print no progress bar.
    #[arg(long, help_heading = "Output")]
    pub no_progress: bool,
}

/// Arguments of `fleet run` and `fleet resume`.
#[derive(Debug, Args)]
pub struct Run {
    /// Which job.
    #[command(flatten)]
    pub job: Job,
    /// ARN of the state machine: the output `StateMachine` of infra/fleet.yaml.
    #[arg(long, value_name = "ARN")]
    pub state_machine: String,
}
