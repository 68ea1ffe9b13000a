//! Manifests of backfill jobs among the objects of a run: which of their extract files are missing.

use std::collections::BTreeSet;

use secretrail_engine::{
    manifest::{self, BackfillIndex, IndexedBatch, ManifestError},
    selection::{Selection, SelectionTally},
};

use super::{
    object::{InputObject, InputProblem},
    store::ObjectStore,
    walk::WalkedObjects,
};
use crate::text::plural;

/// Most missing extract files to name one by one.
const NAMED: usize = 10;

/// The batches whose extract files do not exist.
pub(crate) fn missing<'m>(
    index: &'m BackfillIndex,
    there: &BTreeSet<String>,
) -> Vec<&'m IndexedBatch> {
    index
        .batches
        .iter()
        .filter(|batch| !there.contains(&batch.part))
        .collect()
}

/// The missing extract files as problems of the input.
pub(crate) fn reported(folder: &str, missing: &[&IndexedBatch]) -> Vec<InputProblem> {
    let named = missing.iter().take(NAMED);
    let mut problems: Vec<InputProblem> = named.map(|batch| missing_part(folder, batch)).collect();
    if let Some(more) = missing.len().checked_sub(NAMED).filter(|more| *more > 0) {
        let message = format!("{} missing", plural(more as u64, "more extract file"));
        problems.push(InputProblem::new(folder, message));
    }
    problems
}

fn missing_part(folder: &str, batch: &IndexedBatch) -> InputProblem {
    let objects = plural(batch.objects, "object");
    let message = format!(
        "is missing: it covers {objects} starting with {}; `secretrail backfill resume` creates it",
        batch.first
    );
    InputProblem::new(format!("{folder}{}", batch.part), message)
}

/// Checks the indexes of jobs among the objects of a run against the extract files beside them.
/// What else a job has written is taken out: it is no log; so are extract files of accounts outside
/// of the selection, which are not read at all. An object that only has the name of an index is
/// treated as a log.
pub(crate) fn check(objects: &mut WalkedObjects, selection: &Selection, store: &dyn ObjectStore) {
    let is_manifest = |object: &mut InputObject| file_name(&object.name) == manifest::NAME;
    // Taken out first: a manifest is no log, and must not be counted as one.
    let mut manifests: Vec<InputObject> = objects.objects.extract_if(.., is_manifest).collect();
    // The index of a job before the manifests below it.
    manifests.sort_by_key(|object| object.name.len());
    let mut folders: Vec<String> = Vec::new();
    for object in manifests {
        if folders.iter().any(|folder| object.name.starts_with(folder)) {
            continue;
        }
        match read(&object, store) {
            Ok(index) => {
                let folder = object.name.strip_suffix(manifest::NAME).unwrap_or_default();
                let left_out = leave_out(&index, selection, &mut objects.selected);
                let missing = missing_beside(folder, &index, &left_out, &objects.objects);
                objects.problems.extend(missing);
                objects.objects.retain(|other| {
                    let below = other.name.strip_prefix(folder);
                    !below
                        .is_some_and(|below| manifest::is_of_job(below) || left_out.contains(below))
                });
                folders.push(format!("{folder}{}", manifest::SHARDS));
            }
            Err(NoManifest::Log) => objects.objects.push(object),
            Err(NoManifest::Spoiled(why)) => {
                objects.problems.push(InputProblem::new(object.name, why))
            }
        }
    }
}

/// Why an object with the name of a manifest is not one.
enum NoManifest {
    /// It has other content.
    Log,
    /// It cannot be read, or was edited; with the error.
    Spoiled(String),
}

fn read(object: &InputObject, store: &dyn ObjectStore) -> Result<BackfillIndex, NoManifest> {
    let fetched = object.place.fetch(store);
    let bytes = fetched.map_err(NoManifest::spoiled)?.bytes;
    let text = String::from_utf8(bytes).map_err(NoManifest::spoiled)?;
    BackfillIndex::read(&text).map_err(|error| match error {
        ManifestError::Foreign(_) => NoManifest::Log,
        edited => NoManifest::spoiled(edited),
    })
}

impl NoManifest {
    fn spoiled(why: impl ToString) -> Self {
        Self::Spoiled(why.to_string())
    }
}

/// Extract files of which no object is of a selected account; their objects are counted.
fn leave_out<'i>(
    index: &'i BackfillIndex,
    selection: &Selection,
    selected: &mut SelectionTally,
) -> BTreeSet<&'i str> {
    let mut left_out = BTreeSet::new();
    for batch in &index.batches {
        let Some(account) = &batch.account else {
            continue;
        };
        if !selection.accounts.is_empty() && !selection.accounts.contains(account) {
            selected.unopened += batch.objects;
            selected.place(Some(account), None);
            left_out.insert(batch.part.as_str());
        }
    }
    left_out
}

fn missing_beside(
    folder: &str,
    index: &BackfillIndex,
    left_out: &BTreeSet<&str>,
    all: &[InputObject],
) -> Vec<InputProblem> {
    let there: BTreeSet<String> = all
        .iter()
        .filter_map(|object| object.name.strip_prefix(folder).map(str::to_owned))
        .collect();
    let mut missing = missing(index, &there);
    missing.retain(|batch| !left_out.contains(batch.part.as_str()));
    reported(folder, &missing)
}

fn file_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use secretrail_engine::{extract_file::ExtractHeader, manifest::ShardWriter};

    use super::super::{
        object::ObjectPlace,
        store::{MemoryStore, RemoteObject},
    };
    use super::*;

    fn object(key: &str) -> RemoteObject {
        RemoteObject {
            bucket: "b".to_owned(),
            key: key.to_owned(),
            etag: String::new(),
            size: 1,
        }
    }

    fn index(batches: usize) -> BackfillIndex {
        let mut writer = ShardWriter::new(ExtractHeader::default(), 10);
        for number in 0..batches {
            drop(writer.add(vec![object(&format!("logs/{number}.json.gz"))]));
        }
        writer.finish().1
    }

    #[test]
    fn a_few_missing_files_are_named_and_the_rest_counted() {
        let index = index(NAMED + 2);
        let missing = missing(&index, &BTreeSet::new());
        let problems = reported("s3://b/job/", &missing);
        assert_eq!(problems.len(), NAMED + 1);
        let part = &index.batches[0].part;
        assert_eq!(problems[0].name, format!("s3://b/job/{part}"));
        assert_eq!(
            problems[0].message,
            "is missing: it covers 1 object starting with s3://b/logs/0.json.gz; `secretrail backfill resume` creates it"
        );
        assert_eq!(problems[NAMED].message, "2 more extract files missing");
        assert_eq!(reported("s3://b/job/", &missing[..NAMED]).len(), NAMED);
    }

    #[test]
    fn of_a_job_only_its_extract_files_are_read() {
        let store = MemoryStore::default();
        let index = index(2);
        store
            .put("b", "job/manifest.jsonl", index.write().into_bytes())
            .unwrap();
        let part = &index.batches[0].part;
        let names = [
            "manifest.jsonl",
            "objects/00000.manifest.jsonl",
            "results/1/SUCCEEDED_0.json",
            "items-1.csv",
            "secretrail-1.failed.jsonl",
            "own.json",
            part,
        ];
        let mut walked = WalkedObjects::default();
        for name in names {
            let remote = object(&format!("job/{name}"));
            let (url, key) = (remote.name(), remote.key.clone());
            walked
                .objects
                .push(InputObject::at(ObjectPlace::S3(remote), url, &key, false));
        }
        check(&mut walked, &Selection::default(), &store);
        let left: Vec<&str> = walked.objects.iter().map(|object| &*object.name).collect();
        assert_eq!(left, ["s3://b/job/own.json", &format!("s3://b/job/{part}")]);
        assert_eq!(
            walked.problems.len(),
            1,
            "the other extract file is missing"
        );
    }

    #[test]
    fn of_other_accounts_no_extract_file_is_read_or_missed() {
        let accounts = ["111122223333", "444455556666", "777788889999"];
        let mut writer = ShardWriter::new(ExtractHeader::default(), 10);
        for account in accounts {
            let key = format!("AWSLogs/{account}/CloudTrail/eu-west-1/a.json.gz");
            drop(writer.add(vec![object(&key)]));
        }
        drop(writer.add(vec![object("a.json")]));
        let index = writer.finish().1;
        let store = MemoryStore::default();
        let text = index.write().into_bytes();
        store.put("b", "job/manifest.jsonl", text).unwrap();
        // The last of the other accounts is missing, which does not matter.
        let parts = index.batches.iter().enumerate();
        let names = parts.filter(|(number, _)| *number != 2);
        let names = names.map(|(_, batch)| batch.part.as_str());
        let mut walked = WalkedObjects::default();
        for name in std::iter::once("manifest.jsonl").chain(names) {
            let remote = object(&format!("job/{name}"));
            let (url, key) = (remote.name(), remote.key.clone());
            let place = ObjectPlace::S3(remote);
            walked
                .objects
                .push(InputObject::at(place, url, &key, false));
        }
        let only = Selection {
            accounts: vec!["444455556666".to_owned()],
            ..Selection::default()
        };
        check(&mut walked, &only, &store);
        let left: Vec<&str> = walked.objects.iter().map(|one| &*one.name).collect();
        let part = |number: usize| format!("s3://b/job/{}", index.batches[number].part);
        assert_eq!(left, [part(1), part(3)], "one names no account");
        assert_eq!(walked.problems, []);
        assert_eq!(walked.selected.unopened, 2);
        assert!(walked.selected.accounts.contains("777788889999"));
    }
}
