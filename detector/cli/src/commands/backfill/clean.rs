//! `backfill clean`: deletes what a job no longer needs, or all that it has written.

use std::sync::atomic::{AtomicUsize, Ordering};

use secretrail_engine::{extract_file::is_extract_file, manifest};

use crate::{
    args::backfill::BackfillCleanArgs,
    commands::backfill::reached::ReachedJob,
    exit,
    host::{ProcessHost, RunFailure, print},
    input::store::{ObjectStore, StoreError},
    text::plural,
};

/// Objects that are deleted at the same time.
const DELETERS: usize = 16;

pub(super) fn run(args: &BackfillCleanArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let job = ReachedJob::open(&args.job)?;
    let there = job.there()?;
    let folder = job.place.0.name("");
    if job.under_way(&there)?.is_some() {
        let message = "is running; end it with `secretrail backfill stop` first";
        return Err(RunFailure::Usage(format!("{folder}: {message}")));
    }
    let names: Vec<&str> = there
        .iter()
        .map(String::as_str)
        .filter(|name| is_deleted(name, args.all))
        .collect();
    delete(&*job.store, &job.place.0.bucket, &names, |name| {
        job.place.0.key(name)
    })?;
    if args.all {
        // Last: what is left of an interrupted deletion is still known as an incomplete job.
        let index = job.place.0.key(manifest::NAME);
        let deleted = job.store.delete(&job.place.0.bucket, &index);
        deleted.map_err(|error| failure(&index, &error))?;
    }
    if !args.job.quiet {
        let count = names.len() + usize::from(args.all);
        let objects = plural(count as u64, "object");
        print(host, &format!("deleted        {objects} below {folder}\n"))?;
    }
    Ok(exit::DONE)
}

/// Whether an object of the job is deleted before its index: the items and results of executions,
/// or with `all` everything that the job has written.
fn is_deleted(name: &str, all: bool) -> bool {
    if name == manifest::NAME {
        return false;
    }
    let is_of_execution = name.starts_with("results/") || name.ends_with(".csv");
    let is_of_job = manifest::is_of_job(name) || is_extract_file(name);
    is_of_job && (all || is_of_execution)
}

fn delete(
    store: &dyn ObjectStore,
    bucket: &str,
    names: &[&str],
    key: impl Fn(&str) -> String + Sync,
) -> Result<(), RunFailure> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let deleters = (0..DELETERS.min(names.len())).map(|_| {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let key = key(name);
                    let deleted = store.delete(bucket, &key);
                    deleted.map_err(|error| failure(&key, &error))?;
                }
                Ok(())
            })
        });
        let deleters: Vec<_> = deleters.collect();
        deleters.into_iter().try_for_each(|deleter| {
            // A panic is a bug; it is propagated.
            deleter
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

fn failure(key: &str, error: &StoreError) -> RunFailure {
    RunFailure::Input(format!("{key}: cannot be deleted: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::store::MemoryStore;

    const OF_JOB: [&str; 7] = [
        "execution.arn",
        "items-1.csv",
        "left-out-00000.jsonl",
        "objects/00000.manifest.jsonl",
        "results/1/SUCCEEDED_0.json",
        "secretrail-1.extract.jsonl.gz",
        "secretrail-1.failed.jsonl",
    ];

    #[test]
    fn what_a_replay_needs_stays_and_what_others_wrote_too() {
        let of = |all| OF_JOB.into_iter().filter(move |name| is_deleted(name, all));
        let of_executions = ["items-1.csv", "results/1/SUCCEEDED_0.json"];
        assert_eq!(of(false).collect::<Vec<_>>(), of_executions);
        assert_eq!(of(true).count(), OF_JOB.len());
        for name in ["manifest.jsonl", "notes.txt", "alerts.csv", "old/a.json.gz"] {
            assert!(
                !is_deleted(name, false) && !is_deleted(name, true),
                "{name}"
            );
        }
    }

    #[test]
    fn exactly_what_is_named_is_deleted() {
        let store = MemoryStore::default();
        for name in OF_JOB {
            store.put("b", &format!("job/{name}"), Vec::new()).unwrap();
        }
        delete(&store, "b", &OF_JOB[1..], |name| format!("job/{name}")).unwrap();
        let left: Vec<String> = store
            .objects
            .lock()
            .unwrap()
            .keys()
            .map(|(_, key)| key.clone())
            .collect();
        assert_eq!(left, ["job/execution.arn"]);
        let none = crate::input::store::NoObjectStore;
        let failed = delete(&none, "b", &OF_JOB[..1], str::to_owned).unwrap_err();
        assert!(
            failed
                .to_string()
                .starts_with("execution.arn: cannot be deleted")
        );
    }
}
