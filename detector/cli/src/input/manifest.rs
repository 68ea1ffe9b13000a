//! Manifests of backfill jobs among the objects of a run: which of their extract files are missing.

use std::{collections::BTreeSet, fmt::Write as _};

use secretrail_engine::manifest::{self, BackfillManifest, ManifestBatch, ManifestError};

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
    manifest: &'m BackfillManifest,
    there: &BTreeSet<String>,
) -> Vec<&'m ManifestBatch> {
    manifest
        .batches
        .iter()
        .filter(|batch| !there.contains(&batch.part))
        .collect()
}

/// The missing extract files as problems of the input.
pub(crate) fn reported(folder: &str, missing: &[&ManifestBatch]) -> Vec<InputProblem> {
    let named = missing.iter().take(NAMED);
    let mut problems: Vec<InputProblem> = named.map(|batch| missing_part(folder, batch)).collect();
    if let Some(more) = missing.len().checked_sub(NAMED).filter(|more| *more > 0) {
        let message = format!("{} missing", plural(more as u64, "more extract file"));
        problems.push(InputProblem::new(folder, message));
    }
    problems
}

fn missing_part(folder: &str, batch: &ManifestBatch) -> InputProblem {
    let objects = plural(batch.objects.len() as u64, "object");
    let mut message = format!("is missing: it covers {objects}");
    if let Some(first) = batch.objects.first() {
        write!(message, " starting with {}", first.name()).ok();
    }
    message.push_str("; `secretrail backfill resume` creates it");
    InputProblem::new(format!("{folder}{}", batch.part), message)
}

/// Checks manifests among the objects of a run against the extract files beside them. An object
/// that only has the name of a manifest is treated as a log.
pub(crate) fn check(objects: &mut WalkedObjects, store: &dyn ObjectStore) {
    let is_manifest = |object: &mut InputObject| file_name(&object.name) == manifest::NAME;
    // Taken out first: a manifest is no log, and must not be counted as one.
    let manifests: Vec<InputObject> = objects.objects.extract_if(.., is_manifest).collect();
    for object in manifests {
        match read(&object, store) {
            Ok(manifest) => {
                let missing = missing_beside(&object, &manifest, &objects.objects);
                objects.problems.extend(missing);
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

fn read(object: &InputObject, store: &dyn ObjectStore) -> Result<BackfillManifest, NoManifest> {
    let fetched = object.place.fetch(store);
    let bytes = fetched.map_err(NoManifest::spoiled)?.bytes;
    let text = String::from_utf8(bytes).map_err(NoManifest::spoiled)?;
    BackfillManifest::read(&text).map_err(|error| match error {
        ManifestError::Foreign(_) => NoManifest::Log,
        edited => NoManifest::spoiled(edited),
    })
}

impl NoManifest {
    fn spoiled(why: impl ToString) -> Self {
        Self::Spoiled(why.to_string())
    }
}

fn missing_beside(
    object: &InputObject,
    manifest: &BackfillManifest,
    all: &[InputObject],
) -> Vec<InputProblem> {
    let folder = object.name.strip_suffix(manifest::NAME).unwrap_or_default();
    let there: BTreeSet<String> = all
        .iter()
        .filter_map(|object| object.name.strip_prefix(folder).map(str::to_owned))
        .collect();
    reported(folder, &missing(manifest, &there))
}

fn file_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::super::store::RemoteObject;
    use super::*;

    fn batches(count: usize) -> Vec<ManifestBatch> {
        let object = |number: usize| RemoteObject {
            bucket: "b".to_owned(),
            key: format!("logs/{number}.json.gz"),
            etag: String::new(),
            size: 1,
        };
        let batch = |number: usize| ManifestBatch {
            part: format!("part-{number}"),
            objects: vec![object(number)],
        };
        (0..count).map(batch).collect()
    }

    #[test]
    fn a_few_missing_files_are_named_and_the_rest_counted() {
        let batches = batches(NAMED + 2);
        let missing: Vec<&ManifestBatch> = batches.iter().collect();
        let problems = reported("s3://b/job/", &missing);
        assert_eq!(problems.len(), NAMED + 1);
        assert_eq!(problems[0].name, "s3://b/job/part-0");
        assert_eq!(
            problems[0].message,
            "is missing: it covers 1 object starting with s3://b/logs/0.json.gz; `secretrail backfill resume` creates it"
        );
        assert_eq!(problems[NAMED].message, "2 more extract files missing");
        assert_eq!(reported("s3://b/job/", &missing[..NAMED]).len(), NAMED);
    }
}
