//! What to read, and which records of it to use.

use std::path::PathBuf;

use clap::Args;
use secretrail_engine::{
    access::AccessMethod, observation::CallOutcome, policy::SourcePattern, time::EventTime,
};

use crate::args::value::{EndTime, account, age, bytes, end_time, methods, outcomes, time};

/// What to read.
#[derive(Debug, Default, Args)]
pub struct InputArgs {
    /// Log files or folders (at any depth, packed or not), s3://bucket/prefix, or `-`
    /// for standard input.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Only events from this time on: a date (2026-03-02), or a time (2026-03-02 10:00,
    /// 2026-03-02T10:00:00Z); UTC without a zone.
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Selection")]
    pub from: Option<EventTime>,
    /// Only events before this time, in the same formats. A date means its end: `--from 2026-03-02
    /// --to 2026-03-02` is that day. Log files delivered up to a day later are read too.
    #[arg(long, value_name = "TIME", value_parser = end_time, help_heading = "Selection")]
    pub to: Option<EndTime>,
    /// Only events of the last 30d, 12h, 90m or 2w; of two days or more, from midnight in UTC on,
    /// so that the same command can be resumed.
    #[arg(
        long,
        value_name = "AGE",
        value_parser = age,
        conflicts_with_all = ["from", "to"],
        help_heading = "Selection"
    )]
    pub since: Option<i64>,
    /// Only these account ids, of 12 digits; in an AWSLogs tree, folders of other accounts are not
    /// opened.
    #[arg(
        long,
        value_name = "ACCOUNT",
        value_parser = account,
        value_delimiter = ',',
        help_heading = "Selection"
    )]
    pub account: Vec<String>,
    /// Only these regions; in an AWSLogs tree, folders of other regions are not opened.
    #[arg(
        long,
        value_name = "REGION",
        value_delimiter = ',',
        help_heading = "Selection"
    )]
    pub region: Vec<String>,
    /// Only these principals: ARN, session ARN, or name of the role or user; `*` matches any text,
    /// `?` any character.
    #[arg(long, value_name = "GLOB", help_heading = "Selection")]
    pub principal: Vec<String>,
    /// Only these secrets: name, or ARN with or without its random suffix; may contain `*` and `?`.
    #[arg(long, value_name = "GLOB", help_heading = "Selection")]
    pub secret: Vec<String>,
    /// Only calls from these networks (10.0.0.0/8), addresses, VPC endpoints (vpce-…) or services.
    #[arg(long, value_name = "CIDR", help_heading = "Selection")]
    pub source: Vec<SourcePattern>,
    /// Only calls with these outcomes.
    #[arg(
        long,
        value_name = "OUTCOME",
        value_parser = outcomes(),
        value_delimiter = ',',
        help_heading = "Selection"
    )]
    pub outcome: Vec<CallOutcome>,
    /// Only accesses by these methods.
    #[arg(
        long,
        value_name = "METHOD",
        value_parser = methods(),
        value_delimiter = ',',
        help_heading = "Selection"
    )]
    pub method: Vec<AccessMethod>,
    /// Only calls with these access key ids.
    #[arg(
        long,
        value_name = "KEY",
        value_delimiter = ',',
        help_heading = "Selection"
    )]
    pub access_key: Vec<String>,
    /// Record progress in this file and resume from it after an interruption; it is removed once
    /// everything has been read.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Folder for temporary files, which a long history needs; the folder of the system (TMPDIR) by
    /// default. They have no names and are gone when the run ends.
    #[arg(long, value_name = "DIR")]
    pub temp_dir: Option<PathBuf>,
    /// Bytes of events to hold in memory before temporary files are written, for tests.
    #[arg(long, value_name = "BYTES", value_parser = bytes, hide = true)]
    pub held_bytes: Option<u64>,
    /// Number of files read in parallel; the number of processors by default.
    // Before the options of S3: their help heading would otherwise apply to this one too.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// How to reach S3.
    #[command(flatten)]
    pub aws: AwsArgs,
}

/// How to reach AWS; what is not given comes from the AWS configuration.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "S3")]
pub struct AwsArgs {
    /// Profile of the AWS configuration; counts before keys in the environment.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Region of the bucket; the region of the profile by default.
    #[arg(long = "aws-region", value_name = "REGION")]
    pub aws_region: Option<String>,
    /// Endpoint of S3, for emulators and private endpoints.
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// Agree to pay for requests to a Requester Pays bucket.
    #[arg(long)]
    pub requester_pays: bool,
}
