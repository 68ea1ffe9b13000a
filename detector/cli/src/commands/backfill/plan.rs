//! `backfill plan`: divides the logs into batches and writes the manifests of the job.

use std::path::{Path, PathBuf};

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
        inventory::Inventory,
        listing::{FoundLog, ListingEnd, LogListing},
        object::InputProblem,
        progress::listing_bar,
        rules_and_policy,
        s3::store,
        store::{ObjectStore, RemoteObject},
        walk::nothing_below,
    },
    output::{ending::NOTHING_READ, run_summary::input_code},
};

pub(super) fn run(args: &BackfillPlanArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let place = JobLocation::of(&args.output)?;
    let plan = match &args.failed_of {
        Some(job) => of_failed(args, &JobLocation::of(job)?, &place)?,
        None => of_logs(args, &place, host)?,
    };
    let code = input_code(&plan.problems, host);
    // An empty manifest would count as a complete job. The problems say why there are no logs.
    if plan.index.batches.is_empty() {
        say(host, &format!("secretrail: {NOTHING_READ}\n"));
        return Ok(exit::INPUT);
    }
    if !args.quiet {
        let text = estimate::text(&plan.index, &place, args.concurrency, plan.lists);
        print(host, &text)?;
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

/// Plans the logs below the paths.
fn of_logs(
    args: &BackfillPlanArgs,
    place: &JobLocation,
    host: &mut ProcessHost,
) -> Result<PlannedJob, RunFailure> {
    let settings = settings(args, host)?;
    refuse_local(&settings.paths)?;
    let inventory = args.inventory.as_deref().map(inventory_at).transpose()?;
    let rules = rules_and_policy::rules_alone(&args.files, host)?.set;
    let store = store(Some(&aws::connect_to(&settings.aws)?), &settings.aws);
    let header = ExtractHeader::new(&rules, &settings.selection);
    let mut planner = JobPlanner::new(&*store, place, header, args.part_size);
    let bar = listing_bar(!args.quiet && host.stderr_is_terminal);
    let listed = match &inventory {
        Some(manifest) => inventoried(manifest, &settings, &*store, &mut planner, &bar),
        None => listed(&settings, &*store, &mut planner, &bar),
    };
    bar.finish_and_clear();
    let (problems, lists) = listed?;
    let mut planned = planner.finish()?;
    planned.problems.extend(problems);
    planned.lists = lists;
    Ok(planned)
}

/// Lists the logs below the paths; returns what is wrong with the paths, and the number of
/// requests.
fn listed(
    settings: &RunSettings,
    store: &dyn ObjectStore,
    planner: &mut JobPlanner<'_>,
    bar: &ProgressBar,
) -> Result<(Vec<InputProblem>, u64), RunFailure> {
    let (mut problems, mut lists) = (Vec::new(), 0);
    let paths = settings.paths.iter();
    for (bucket, prefix) in paths.filter_map(|path| bucket_and_prefix(path)) {
        let named = format!("s3://{bucket}/{prefix}");
        if bucket.is_empty() {
            let message = "names no bucket; write s3://bucket/prefix";
            return Err(RunFailure::Usage(format!("{named}: {message}")));
        }
        let before = planner.objects();
        let listing = LogListing::new(store, &bucket, &settings.selection);
        let end = listing.list(&prefix, &mut |account, log| {
            bar.inc(1);
            planner.add(account, log)
        });
        // A plan of half of the logs would look like one of all: there is none.
        end.map_err(|end| match end {
            ListingEnd::Store(error) => RunFailure::Input(format!("{named}: {error}")),
            ListingEnd::Receiver(failure) => failure,
        })?;
        lists += listing.requests();
        if planner.objects() == before && listing.skipped() == 0 {
            problems.push(InputProblem::new(named, nothing_below(&prefix)));
        }
    }
    Ok((problems, lists))
}

/// The manifest of an inventory.
fn inventory_at(path: &Path) -> Result<RemoteObject, RunFailure> {
    let named = path.display();
    let Some((bucket, key)) = bucket_and_prefix(path) else {
        let message = "an inventory is in S3; write s3://bucket/…/manifest.json";
        return Err(RunFailure::Usage(format!("{named}: {message}")));
    };
    Ok(RemoteObject {
        bucket,
        key,
        etag: String::new(),
        size: 0,
    })
}

/// Takes the logs from an inventory.
fn inventoried(
    manifest: &RemoteObject,
    settings: &RunSettings,
    store: &dyn ObjectStore,
    planner: &mut JobPlanner<'_>,
    bar: &ProgressBar,
) -> Result<(Vec<InputProblem>, u64), RunFailure> {
    let unreadable = |error| RunFailure::Input(format!("{}: {error}", manifest.name()));
    let text = store.fetch(manifest).map_err(unreadable)?.bytes;
    let inventory = Inventory::read(&text).map_err(unreadable)?;
    let listing = LogListing::new(store, inventory.source(), &settings.selection);
    let end = inventory.logs(store, &listing, &mut |account, log| {
        bar.inc(1);
        planner.add(account, log)
    });
    end.map_err(|end| match end {
        ListingEnd::Store(error) => unreadable(error),
        ListingEnd::Receiver(failure) => failure,
    })?;
    Ok((Vec::new(), 0))
}

/// Plans what another job could not read, for the same purpose.
fn of_failed(
    args: &BackfillPlanArgs,
    job: &JobLocation,
    place: &JobLocation,
) -> Result<PlannedJob, RunFailure> {
    let name = job.0.name("");
    if name == place.0.name("") {
        let message = format!("{name}: choose another place; the job itself stays");
        return Err(RunFailure::Usage(message));
    }
    let aws = &args.input.aws;
    let store = store(Some(&aws::connect_to(aws)?), aws);
    let header = job.index(&*store)?.head.header;
    let mut planner = JobPlanner::new(&*store, place, header, args.part_size);
    let there = job.0.there(&*store)?;
    let failed = FailedObjects::of(job, &there).read(&*store)?.0;
    if failed.is_empty() {
        let message = "its extract files name no object that could not be read";
        return Err(RunFailure::Input(format!("{name}: {message}")));
    }
    let failed = failed.into_iter().map(|failed| FoundLog::new(failed.item));
    let mut logs: Vec<FoundLog> = failed.collect();
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
    use clap::Parser;

    use super::*;
    use crate::{
        args::CommandLine,
        commands::tests::{LOGS, ran},
    };

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
    }

    #[test]
    fn a_plan_is_of_paths_of_an_inventory_or_of_the_failures_of_a_job() {
        let parses = |of: &[&str]| {
            let args = [&["secretrail", "backfill", "plan", "-o", "s3://b/job"], of].concat();
            CommandLine::try_parse_from(args).is_ok()
        };
        let (failed, listed) = (
            ["--failed-of", "s3://b/a"],
            ["--inventory", "s3://b/m.json"],
        );
        assert!(parses(&["s3://logs/"]) && parses(&failed) && parses(&listed));
        assert!(!parses(&[]), "nothing to plan");
        assert!(!parses(&[failed, listed].concat()));
        for other in [failed, listed] {
            assert!(
                !parses(&[&["s3://logs/"], &other[..]].concat()),
                "{other:?}"
            );
        }
        let here = ran(&[
            "backfill",
            "plan",
            "--inventory",
            "m.json",
            "-o",
            "s3://b/job",
        ]);
        assert_eq!(here.code, exit::USAGE, "{}", here.err);
        assert!(
            here.err.starts_with("m.json: an inventory is in S3"),
            "{}",
            here.err
        );
    }
}
