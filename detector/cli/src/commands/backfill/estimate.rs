//! Estimates the time and the cost of a job.

use std::fmt::Write as _;

use secretrail_engine::manifest::{self, BackfillIndex};

use crate::{commands::backfill::job::JobLocation, text::number};

/// Assumptions about an invocation, not measured on AWS: seconds to start, stored bytes per second,
/// seconds per object with 16 concurrent requests, and gigabytes of memory.
mod assumed {
    pub(super) const START_SECS: f64 = 0.5;
    pub(super) const BYTES_A_SEC: f64 = 40e6;
    pub(super) const OBJECT_SECS: f64 = 0.04 / 16.0;
    pub(super) const MEMORY_GB: f64 = 1.769;
}

/// Prices in dollars, us-east-1: approximate, check them against the AWS price list.
mod price {
    pub(super) const LAMBDA_GB_SEC: f64 = 0.000_016_666_7;
    pub(super) const LAMBDA_REQUEST: f64 = 0.2e-6;
    pub(super) const S3_GET: f64 = 0.4e-6;
    pub(super) const S3_PUT: f64 = 5e-6;
    /// State transitions of the child execution of a batch, without retries.
    pub(super) const CHILD: f64 = 3.0 * 25e-6;
}

/// The estimate of a job.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    /// Duration of the longest invocation, in seconds.
    longest: f64,
    /// Duration of the job, in minutes.
    minutes: f64,
    /// Cost, in dollars.
    cost: f64,
}

impl Estimate {
    /// Estimates a job with this many concurrent invocations.
    fn of(index: &BackfillIndex, concurrency: u64) -> Self {
        let head = &index.head;
        let (invocations, objects) = (float(head.batches), float(head.objects));
        let all = secs(float(head.bytes), objects, invocations);
        let longest = index
            .batches
            .iter()
            .map(|batch| secs(float(batch.bytes), float(batch.objects), 1.0))
            .fold(0.0, f64::max);
        // The job takes at least as long as its longest invocation.
        let at_once = float(concurrency.min(head.batches));
        let minutes = (all / at_once).max(longest) / 60.0;
        // Each invocation reads two ranges of the manifest and writes one extract file.
        let requests = price::LAMBDA_REQUEST + price::CHILD + price::S3_PUT + 2.0 * price::S3_GET;
        let cost = all * assumed::MEMORY_GB * price::LAMBDA_GB_SEC
            + invocations * requests
            + objects * price::S3_GET;
        Self {
            longest,
            minutes,
            cost,
        }
    }
}

/// Total seconds of these invocations.
fn secs(bytes: f64, objects: f64, invocations: f64) -> f64 {
    invocations * assumed::START_SECS
        + bytes / assumed::BYTES_A_SEC
        + objects * assumed::OBJECT_SECS
}

#[expect(clippy::cast_precision_loss, reason = "an estimate has two digits")]
fn float(number: u64) -> f64 {
    number as f64
}

/// The plan as text.
pub(super) fn text(index: &BackfillIndex, place: &JobLocation, concurrency: u64) -> String {
    let Estimate {
        longest,
        minutes,
        cost,
    } = Estimate::of(index, concurrency);
    let head = &index.head;
    let (objects, batches) = (number(head.objects), number(head.batches));
    let (megabytes, at_a_time) = (float(head.bytes) / 1e6, number(concurrency));
    let (name, folder) = (place.0.name(manifest::NAME), place.0.name(""));
    let lines = [
        format!("manifest       {name}"),
        format!("objects        {objects}, {megabytes:.1} MB as stored"),
        format!("invocations    {batches}, the longest about {longest:.0} s"),
        format!("time           about {minutes:.1} minutes with {at_a_time} in parallel"),
        format!("cost           about {cost:.2} dollars (us-east-1, without KMS and transfer)"),
        format!("next           secretrail backfill run {folder} --state-machine ARN"),
    ];
    let mut text = String::new();
    for line in lines {
        writeln!(text, "{line}").ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::index;
    use super::*;

    #[test]
    fn more_concurrency_helps_until_only_the_longest_invocation_counts() {
        let index = index(&[40_000_000, 40_000_000, 4_000_000_000]);
        let alone = Estimate::of(&index, 1);
        let wide = Estimate::of(&index, 3);
        assert!(alone.minutes > wide.minutes);
        assert!((wide.minutes - wide.longest / 60.0).abs() < 1e-9);
        // More concurrency than batches changes nothing.
        let wider = Estimate::of(&index, 1_000);
        assert!((wider.minutes - wide.minutes).abs() < 1e-9);
        assert!((alone.cost - wide.cost).abs() < 1e-9);
    }

    #[test]
    fn the_plan_says_what_to_do_next() {
        let place = JobLocation::of(Path::new("s3://b/job")).unwrap();
        let text = text(&index(&[40_000_000]), &place, 1_000);
        assert_eq!(
            text,
            "manifest       s3://b/job/manifest.jsonl\n\
             objects        1, 40.0 MB as stored\n\
             invocations    1, the longest about 2 s\n\
             time           about 0.0 minutes with 1,000 in parallel\n\
             cost           about 0.00 dollars (us-east-1, without KMS and transfer)\n\
             next           secretrail backfill run s3://b/job/ --state-machine ARN\n"
        );
    }
}
