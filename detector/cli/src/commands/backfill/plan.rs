//! `backfill plan`: divides the logs into batches and writes the manifest of the job.

use secretrail_engine::{
    extract_file::ExtractHeader,
    manifest::{self, BackfillManifest, ManifestBatch},
};

use crate::{
    args::{self, backfill::BackfillPlanArgs, settings::RunSettings},
    commands::backfill::{estimate, job::JobLocation},
    exit,
    host::{ProcessHost, RunFailure, print, say},
    input::{aws, batches, object::InputObject, rules_and_policy, s3::store, session},
    output::{ending::NOTHING_READ, run_summary::input_code},
};

pub(super) fn run(args: &BackfillPlanArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let settings = settings(args, host)?;
    let place = JobLocation::of(&args.output)?;
    let rules = rules_and_policy::rules_alone(&args.files, host)?.set;
    let connection = aws::connect(&settings, true)?;
    let store = store(connection.as_ref(), &settings.aws);
    let found = session::logs(&settings, &*store)?;
    refuse_local(&found.objects)?;
    let manifest = planned(
        ExtractHeader::new(&rules, &settings.selection),
        &found.objects,
        args.part_size,
    );
    let code = input_code(&found.problems, host);
    // An empty manifest would count as a complete job. The problems say why there are no logs.
    if manifest.batches.is_empty() {
        say(host, &format!("secretrail: {NOTHING_READ}\n"));
        return Ok(exit::INPUT);
    }
    place.put(&*store, manifest::NAME, manifest.write().text)?;
    if !args.quiet {
        print(host, &estimate::text(&manifest, &place, args.concurrency))?;
    }
    Ok(code)
}

fn settings(args: &BackfillPlanArgs, host: &ProcessHost) -> Result<RunSettings, RunFailure> {
    let destination = args::OutputDestination {
        output: None,
        quiet: args.quiet,
        // Only listings, whose length is not known in advance.
        no_progress: true,
    };
    RunSettings::plain(&args.input, &destination, host)
}

/// Rejects local files: the function in AWS cannot read them.
fn refuse_local(objects: &[InputObject]) -> Result<(), RunFailure> {
    match objects.iter().find(|object| object.remote().is_none()) {
        None => Ok(()),
        Some(local) => Err(RunFailure::Usage(format!(
            "{}: a backfill reads logs in S3; use `secretrail extract` for local files",
            local.name
        ))),
    }
}

fn planned(header: ExtractHeader, objects: &[InputObject], part_size: u64) -> BackfillManifest {
    let batches = batches::by_delivery(objects, part_size, manifest::MOST_OBJECTS);
    let batches = batches.into_iter().map(|objects| {
        let remote = objects.into_iter().filter_map(InputObject::remote);
        ManifestBatch::new(&header, remote.cloned().collect())
    });
    let batches = batches.collect();
    BackfillManifest::new(header, batches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::tests::{LOGS, ran},
        input::{object::ObjectPlace, store::RemoteObject},
    };

    fn remote(key: &str, size: u64) -> InputObject {
        let remote = RemoteObject {
            bucket: "b".to_owned(),
            key: key.to_owned(),
            etag: "e".to_owned(),
            size,
        };
        InputObject::at(ObjectPlace::S3(remote), format!("s3://b/{key}"), key, false)
    }

    #[test]
    fn batches_keep_to_the_size_of_a_part_and_miss_no_object() {
        let objects = [
            remote("a.json", 6),
            remote("b.json", 6),
            remote("c.json", 1),
        ];
        let manifest = planned(ExtractHeader::default(), &objects, 10);
        assert_eq!((manifest.head.objects, manifest.head.bytes), (3, 13));
        let keys = |batch: &ManifestBatch| {
            let keys = batch.objects.iter().map(|item| item.key.clone());
            keys.collect::<Vec<_>>()
        };
        let batches: Vec<_> = manifest.batches.iter().map(keys).collect();
        assert_eq!(batches, [vec!["a.json"], vec!["b.json", "c.json"]]);
    }

    #[test]
    fn what_is_on_this_machine_is_refused_by_name() {
        assert!(refuse_local(&[remote("a.json", 1)]).is_ok());
        let here = InputObject::at(ObjectPlace::File("x".into()), "x".to_owned(), "x", true);
        let refused = refuse_local(&[remote("a.json", 1), here]).unwrap_err();
        assert_eq!(refused.exit_code(), exit::USAGE);
        assert!(
            refused
                .to_string()
                .starts_with("x: a backfill reads logs in S3")
        );
    }

    #[test]
    fn a_job_is_in_s3() {
        let folder = ran(&["backfill", "plan", LOGS, "-o", "job"]);
        assert_eq!(folder.code, exit::USAGE);
        assert!(
            folder.err.starts_with("job: a job is in S3"),
            "{}",
            folder.err
        );
    }
}
