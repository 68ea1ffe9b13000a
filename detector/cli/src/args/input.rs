//! What to read, and which part of it.

use std::path::PathBuf;

use clap::Args;
use secretrail_engine::access::AccessMethod;
use secretrail_engine::observation::CallOutcome;
use secretrail_engine::policy::SourcePattern;
use secretrail_engine::time::EventTime;

use crate::args::value::{age, time};

/// What to read.
#[derive(Debug, Args)]
pub struct InputArgs {
    /// Log files or folders (.json, .jsonl, .ndjson, .gz, at any depth), s3://bucket/prefix, or `-`
    /// for standard input.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// First event time: RFC 3339 (2026-03-02T10:00:00Z) or a date (2026-03-02), in UTC.
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Selection")]
    pub from: Option<EventTime>,
    /// First event time after the selection, in the same forms. Deliveries up to a day later are
    /// read.
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Selection")]
    pub to: Option<EventTime>,
    /// Only the last 30d, 12h, 90m or 2w.
    #[arg(
        long,
        value_name = "AGE",
        value_parser = age,
        conflicts_with_all = ["from", "to"],
        help_heading = "Selection"
    )]
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
    /// Only these principals: ARN, session ARN, or name of the role or user; `*` and `?` stand for
    /// any text and character.
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
    pub outcome: Vec<CallOutcome>,
    /// Only secrets that were reached so: api, batch, by_path, history, direct_decrypt,
    /// decrypt_only.
    #[arg(
        long,
        value_name = "METHOD",
        value_delimiter = ',',
        help_heading = "Selection"
    )]
    pub method: Vec<AccessMethod>,
    /// Only calls with these access keys.
    #[arg(
        long,
        value_name = "KEY",
        value_delimiter = ',',
        help_heading = "Selection"
    )]
    pub access_key: Vec<String>,
    /// Note in this file what was read, and go on from there after an interruption; it is removed
    /// when everything was read.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// How to reach S3.
    #[command(flatten)]
    pub aws: AwsArgs,
    /// Files read at the same time; all processors by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
}

/// How to reach S3, beside what the AWS configuration says.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "S3")]
pub struct AwsArgs {
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
