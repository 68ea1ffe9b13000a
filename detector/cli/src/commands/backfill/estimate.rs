//! Estimates the time and the cost of a job. What was counted and what is assumed is said.

use std::fmt::Write as _;

use secretrail_engine::manifest::{self, BackfillIndex};

use crate::{commands::backfill::job::JobLocation, text::number};

/// Assumptions about an invocation, not measured on AWS: seconds to start, stored bytes per second,
/// requests at the same time and seconds for each, and gigabytes of memory.
mod assumed {
    pub(super) const START_SECS: f64 = 0.5;
    pub(super) const BYTES_A_SEC: f64 = 40e6;
    pub(super) const REQUESTS: f64 = 16.0;
    pub(super) const REQUEST_SECS: f64 = 0.04;
    pub(super) const MEMORY_GB: f64 = 1.769;
    /// Size of the extract files as a share of that of the logs.
    pub(super) const EXTRACTED: f64 = 0.02;
    /// Bytes of extract files that a replay reads in a second.
    pub(super) const REPLAYED_A_SEC: f64 = 5e6;
}

/// Prices in dollars, us-east-1: approximate, check them against the AWS price list.
mod price {
    pub(super) const LAMBDA_GB_SEC: f64 = 0.000_016_666_7;
    pub(super) const LAMBDA_REQUEST: f64 = 0.2e-6;
    pub(super) const S3_GET: f64 = 0.4e-6;
    /// Also of a LIST.
    pub(super) const S3_PUT: f64 = 5e-6;
    pub(super) const KMS_REQUEST: f64 = 3e-6;
    /// State transitions of the child execution of a batch, without retries.
    pub(super) const CHILD: f64 = 3.0 * 25e-6;
}

/// Requests that S3 answers in a second for each prefix (Amazon S3 user guide, "Optimizing Amazon
/// S3 performance").
const S3_GETS_A_SEC: f64 = 5_500.0;

/// Concurrent invocations of an account, unless its quota was raised.
const LAMBDA_CONCURRENCY: u64 = 1_000;

/// The estimate of a job.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    /// Duration of the longest invocation, in seconds.
    longest: f64,
    /// Duration of the job, in minutes.
    minutes: f64,
    /// Cost, in dollars.
    cost: f64,
    /// Objects that are read in a second.
    gets: f64,
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
        // Each invocation reads two ranges of a manifest and writes one extract file.
        let requests = price::LAMBDA_REQUEST + price::CHILD + price::S3_PUT + 2.0 * price::S3_GET;
        let cost = all * assumed::MEMORY_GB * price::LAMBDA_GB_SEC
            + invocations * requests
            + objects * price::S3_GET;
        Self {
            longest,
            minutes,
            cost,
            gets: at_once * objects / all,
        }
    }
}

/// Total seconds of these invocations.
fn secs(bytes: f64, objects: f64, invocations: f64) -> f64 {
    invocations * assumed::START_SECS
        + bytes / assumed::BYTES_A_SEC
        + objects * assumed::REQUEST_SECS / assumed::REQUESTS
}

#[expect(clippy::cast_precision_loss, reason = "an estimate has two digits")]
fn float(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate is not negative, and far from the end of 64 bits"
)]
fn rounded(value: f64) -> String {
    number(value.round() as u64)
}

/// The plan as text; `lists` is the number of requests that listed the logs.
pub(super) fn text(
    index: &BackfillIndex,
    place: &JobLocation,
    concurrency: u64,
    lists: u64,
) -> String {
    let estimate = Estimate::of(index, concurrency);
    let head = &index.head;
    let (objects, batches) = (number(head.objects), number(head.batches));
    let (megabytes, at_a_time) = (float(head.bytes) / 1e6, number(concurrency));
    let (requests, listed) = (number(lists), float(lists) * price::S3_PUT);
    let Estimate {
        longest,
        minutes,
        cost,
        ..
    } = estimate;
    let mut text = format!(
        "manifest       {}\n\
         objects        {objects}, {megabytes:.1} MB as stored (counted)\n\
         listing        {requests} requests (counted), {listed:.2} dollars\n\
         invocations    {batches} (counted), the longest about {longest:.0} s\n\
         time           about {minutes:.1} minutes with {at_a_time} in parallel\n\
         cost           about {cost:.2} dollars: Lambda, S3, Step Functions\n",
        place.0.name(manifest::NAME)
    );
    text.push_str(&limits(index, &estimate));
    text.push_str(ASSUMED);
    if concurrency >= LAMBDA_CONCURRENCY {
        text.push_str(SHARED);
    }
    let folder = place.0.name("");
    writeln!(
        text,
        "next           secretrail backfill run {folder} --state-machine ARN"
    )
    .ok();
    text
}

const ASSUMED: &str = "\
assumed        40 MB/s and 400 objects/s an invocation, 2 % of the logs are
               extracted, prices of us-east-1; none measured on your account
";

const SHARED: &str = "\
note           an account has 1,000 concurrent invocations unless raised,
               and the detector shares them; what is throttled waits
";

/// What KMS, S3 and the replay have to do.
fn limits(index: &BackfillIndex, estimate: &Estimate) -> String {
    let head = &index.head;
    let kms = float(head.objects) * price::KMS_REQUEST;
    let extracted = float(head.bytes) * assumed::EXTRACTED;
    let replay = extracted / assumed::REPLAYED_A_SEC / 60.0;
    let gets = rounded(estimate.gets);
    let many = match estimate.gets > S3_GETS_A_SEC {
        true => "; a prefix gives 5,500",
        false => "",
    };
    let (pad, megabytes) = ("", extracted / 1e6);
    format!(
        "KMS            nothing for SSE-S3 or bucket keys; else {kms:.2} dollars, and\n\
         {pad:15}{gets} a second of the quota that secrets share\n\
         S3             about {gets} objects a second{many}\n\
         replay         about {megabytes:.0} MB of extract files, {replay:.0} minutes\n"
    )
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
        assert!(wide.gets > alone.gets);
    }

    #[test]
    fn the_plan_says_what_was_counted_what_is_assumed_and_what_to_do_next() {
        let place = JobLocation::of(Path::new("s3://b/job")).unwrap();
        let text = text(&index(&[40_000_000]), &place, 1_000, 12);
        assert_eq!(
            text,
            "manifest       s3://b/job/manifest.jsonl\n\
             objects        1, 40.0 MB as stored (counted)\n\
             listing        12 requests (counted), 0.00 dollars\n\
             invocations    1 (counted), the longest about 2 s\n\
             time           about 0.0 minutes with 1,000 in parallel\n\
             cost           about 0.00 dollars: Lambda, S3, Step Functions\n\
             KMS            nothing for SSE-S3 or bucket keys; else 0.00 dollars, and\n               \
             1 a second of the quota that secrets share\n\
             S3             about 1 objects a second\n\
             replay         about 1 MB of extract files, 0 minutes\n\
             assumed        40 MB/s and 400 objects/s an invocation, 2 % of the logs are\n               \
             extracted, prices of us-east-1; none measured on your account\n\
             note           an account has 1,000 concurrent invocations unless raised,\n               \
             and the detector shares them; what is throttled waits\n\
             next           secretrail backfill run s3://b/job/ --state-machine ARN\n"
        );
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
}
