//! `backfill plan`: divides the logs into batches and writes the manifests of the job.

use std::path::PathBuf;

use indicatif::ProgressBar;
use secretrail_engine::extract_file::ExtractHeader;

use crate::{
    args::{self, backfill::BackfillPlanArgs, path::bucket_and_prefix, settings::RunSettings},
    commands::backfill::{
        estimate,
        failed::FailedObjects,
        job::JobLocation,
        planner::{JobPlanner, PlannedJob},
    },
    exit,
    host::{ProcessHost, RunFailure, print, say},
    input::{
        aws,
        listing::{FoundLog, ListingEnd, LogListing},
        object::InputProblem,
        progress::listing_bar,
        rules_and_policy,
        s3::store,
        store::ObjectStore,
        walk::nothing_below,
    },
    output::{ending::NOTHING_READ, run_summary::input_code},
};

pub(super) fn run(args: &BackfillPlanArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let place = JobLocation::of(&args.output)?;
    let settings = settings(args, host)?;
    let connection = aws::connect_to(&settings.aws);
    let (planned, mut problems) = match &args.failed_of {
        Some(job) => {
            let job = JobLocation::of(job)?;
            if job.0.name("") == place.0.name("") {
                let name = job.0.name("");
                let message = format!("{name}: choose another place; the job itself stays");
                return Err(RunFailure::Usage(message));
            }
            let store = store(Some(&connection?), &settings.aws);
            (of_failed(args, &*store, &job, &place)?, Vec::new())
        }
        None => {
            refuse_local(&settings.paths)?;
            let rules = rules_and_policy::rules_alone(&args.files, host)?.set;
            let store = store(Some(&connection?), &settings.aws);
            let header = ExtractHeader::new(&rules, &settings.selection);
            let planner = JobPlanner::new(&*store, &place, header, args.part_size);
            let bar = listing_bar(!args.quiet && host.stderr_is_terminal);
            of_logs(&settings, &*store, planner, &bar)?
        }
    };
    problems.extend(planned.problems);
    let code = input_code(&problems, host);
    // An empty manifest would count as a complete job. The problems say why there are no logs.
    if planned.index.batches.is_empty() {
        say(host, &format!("secretrail: {NOTHING_READ}\n"));
        return Ok(exit::INPUT);
    }
    if !args.quiet {
        print(
            host,
            &estimate::text(&planned.index, &place, args.concurrency),
        )?;
    }
    Ok(code)
}

fn settings(args: &BackfillPlanArgs, host: &ProcessHost) -> Result<RunSettings, RunFailure> {
    let destination = args::OutputDestination {
        output: None,
        quiet: args.quiet,
        no_progress: true,
    };
    RunSettings::plain(&args.input, &destination, host)
}

/// Rejects local files: the function in AWS cannot read them.
fn refuse_local(paths: &[PathBuf]) -> Result<(), RunFailure> {
    match paths.iter().find(|path| bucket_and_prefix(path).is_none()) {
        None => Ok(()),
        Some(local) => Err(RunFailure::Usage(format!(
            "{}: a backfill reads logs in S3; use `secretrail extract` for local files",
            local.display()
        ))),
    }
}

/// Plans the logs below the paths; also what is wrong with the paths.
fn of_logs(
    settings: &RunSettings,
    store: &dyn ObjectStore,
    mut planner: JobPlanner<'_>,
    bar: &ProgressBar,
) -> Result<(PlannedJob, Vec<InputProblem>), RunFailure> {
    let mut problems = Vec::new();
    let paths = settings.paths.iter();
    for (bucket, prefix) in paths.filter_map(|path| bucket_and_prefix(path)) {
        let named = format!("s3://{bucket}/{prefix}");
        if bucket.is_empty() {
            let message = "names no bucket; write s3://bucket/prefix";
            return Err(RunFailure::Usage(format!("{named}: {message}")));
        }
        let (before, listing) = (
            planner.objects(),
            LogListing::new(store, &bucket, &settings.selection),
        );
        let listed = listing.list(&prefix, &mut |account, log| {
            bar.inc(1);
            planner.add(account, log)
        });
        // A plan of half of the logs would look like one of all: there is none.
        listed.map_err(|end| match end {
            ListingEnd::Store(error) => RunFailure::Input(format!("{named}: {error}")),
            ListingEnd::Receiver(failure) => failure,
        })?;
        if planner.objects() == before && listing.skipped() == 0 {
            problems.push(InputProblem::new(named, nothing_below(&prefix)));
        }
    }
    bar.finish_and_clear();
    Ok((planner.finish()?, problems))
}

/// Plans what another job could not read, for the same purpose.
fn of_failed(
    args: &BackfillPlanArgs,
    store: &dyn ObjectStore,
    job: &JobLocation,
    place: &JobLocation,
) -> Result<PlannedJob, RunFailure> {
    let header = job.index(store)?.head.header;
    let mut planner = JobPlanner::new(store, place, header, args.part_size);
    let there = job.0.there(store)?;
    let failed = FailedObjects::of(job, &there).read(store)?.0.into_iter();
    let mut logs: Vec<FoundLog> = failed.map(|failed| FoundLog::new(failed.item)).collect();
    // As a listing gives them.
    logs.sort_by(|a, b| (a.account(), a.month).cmp(&(b.account(), b.month)));
    for log in logs {
        let account = log.account().to_owned();
        planner.add(&account, log)?;
    }
    planner.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::tests::{LOGS, ran};

    #[test]
    fn what_is_on_this_machine_is_refused_by_name() {
        assert!(refuse_local(&["s3://b/a".into()]).is_ok());
        let refused = refuse_local(&["s3://b/a".into(), "x".into()]).unwrap_err();
        assert_eq!(refused.exit_code(), exit::USAGE);
        assert!(
            refused
                .to_string()
                .starts_with("x: a backfill reads logs in S3")
        );
    }

    #[test]
    fn a_job_is_in_s3_and_so_is_that_whose_failures_are_planned() {
        let folder = ran(&["backfill", "plan", LOGS, "-o", "job"]);
        assert_eq!(folder.code, exit::USAGE);
        assert!(
            folder.err.starts_with("job: a job is in S3"),
            "{}",
            folder.err
        );
        let same = ["--failed-of", "s3://b/job", "-o", "s3://b/job/"];
        let same = ran(&[&["backfill", "plan"], &same[..]].concat());
        assert_eq!(same.code, exit::USAGE, "{}", same.err);
        assert!(same.err.contains("choose another place"), "{}", same.err);
        let nothing = ran(&["backfill", "plan", "-o", "s3://b/job/"]);
        assert_eq!(nothing.code, exit::USAGE, "{}", nothing.err);
    }
}
