//! A job in S3: its manifest, its extract files, and the ARN of its last execution.

use std::{collections::BTreeSet, fmt::Display, path::Path};

use secretrail_engine::manifest::{self, BackfillIndex};

use crate::{
    host::RunFailure,
    input::store::{ObjectStore, RemoteObject, WritablePrefix},
};

/// Object with the ARN of the last execution; its extension keeps it from being read as a log.
const EXECUTION: &str = "execution.arn";

/// The prefix of a job in S3.
pub(crate) struct JobLocation(pub(crate) WritablePrefix);

impl JobLocation {
    /// Parses `s3://bucket/prefix/`, or the URL of the manifest below it.
    pub(crate) fn of(path: &Path) -> Result<Self, RunFailure> {
        // `backfill plan` prints the URL of the manifest, which users paste.
        let is_manifest = path.file_name().is_some_and(|name| name == manifest::NAME);
        let folder = path
            .to_str()
            .filter(|_| is_manifest)
            .and_then(|path| path.strip_suffix(manifest::NAME));
        let prefix = WritablePrefix::of(folder.map_or(path, Path::new))
            .filter(|prefix| !prefix.bucket.is_empty());
        prefix.map(Self).ok_or_else(|| {
            let path = path.display();
            RunFailure::Usage(format!(
                "{path}: a job is in S3; write it as s3://bucket/prefix/"
            ))
        })
    }

    /// Writes an object of the job.
    pub(crate) fn put(
        &self,
        store: &dyn ObjectStore,
        object: &str,
        text: String,
    ) -> Result<(), RunFailure> {
        let put = self.0.put(store, object, text.into_bytes());
        put.map_err(|message| RunFailure::Output {
            name: self.0.name(object),
            error: std::io::Error::other(message.to_string()),
        })
    }

    /// The text of the current version of an object.
    pub(super) fn text(&self, store: &dyn ObjectStore, object: &str) -> Result<String, RunFailure> {
        let remote = RemoteObject {
            bucket: self.0.bucket.clone(),
            key: self.0.key(object),
            // Any version: the ARN of the last execution may have been written since the listing.
            etag: String::new(),
            size: 0,
        };
        let fetched = store
            .fetch(&remote)
            .map_err(|error| self.unreadable(object, error))?;
        String::from_utf8(fetched.bytes).map_err(|error| self.unreadable(object, error))
    }

    /// Why an object of the job cannot be used.
    pub(super) fn unreadable(&self, object: &str, error: impl Display) -> RunFailure {
        RunFailure::Input(format!("{}: {error}", self.0.name(object)))
    }

    /// Reads the index of the job.
    pub(crate) fn index(&self, store: &dyn ObjectStore) -> Result<BackfillIndex, RunFailure> {
        let text = self.text(store, manifest::NAME)?;
        BackfillIndex::read(&text).map_err(|error| self.unreadable(manifest::NAME, error))
    }

    /// ARN of the last execution; `None` before the first.
    pub(crate) fn execution(
        &self,
        store: &dyn ObjectStore,
        there: &BTreeSet<String>,
    ) -> Result<Option<String>, RunFailure> {
        // A job that was never run has no such object, which is not an error.
        if !there.contains(EXECUTION) {
            return Ok(None);
        }
        self.text(store, EXECUTION)
            .map(|text| Some(text.trim().to_owned()))
    }

    /// Records the ARN of the last execution, or of one that is about to start.
    pub(crate) fn put_execution(
        &self,
        store: &dyn ObjectStore,
        arn: &str,
    ) -> Result<(), RunFailure> {
        self.put(store, EXECUTION, format!("{arn}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::index;
    use super::*;
    use crate::{exit, input::store::MemoryStore};

    fn place(path: &str) -> Result<JobLocation, RunFailure> {
        JobLocation::of(Path::new(path))
    }

    #[test]
    fn a_job_is_named_by_its_folder_or_its_manifest() {
        for path in ["s3://b/job", "s3://b/job/", "s3://b/job/manifest.jsonl"] {
            assert_eq!(place(path).unwrap().0.name("x"), "s3://b/job/x");
        }
        for path in ["job", "s3://", "job/manifest.jsonl"] {
            let refused = place(path).err().unwrap();
            assert_eq!(refused.exit_code(), exit::USAGE);
            assert!(refused.to_string().starts_with(path));
        }
    }

    #[test]
    fn what_is_written_of_a_job_is_read_again() {
        let (store, place) = (MemoryStore::default(), place("s3://b/job").unwrap());
        let plan = index(&[1, 2]);
        place.put(&store, manifest::NAME, plan.write()).unwrap();
        assert_eq!(place.index(&store).unwrap(), plan);
        let there = place.0.there(&store).unwrap();
        assert_eq!(place.execution(&store, &there).unwrap(), None);
        place.put_execution(&store, "arn:a").unwrap();
        place.put_execution(&store, "arn:b").unwrap();
        let there = place.0.there(&store).unwrap();
        let last = place.execution(&store, &there).unwrap();
        assert_eq!(last.as_deref(), Some("arn:b"));
    }

    #[test]
    fn an_edited_plan_is_reported_with_its_name() {
        let (store, place) = (MemoryStore::default(), place("s3://b/job").unwrap());
        let mut text = index(&[1, 2]).write();
        text.truncate(text.trim_end().rfind('\n').unwrap());
        place.put(&store, manifest::NAME, text).unwrap();
        let refused = place.index(&store).unwrap_err();
        assert_eq!(refused.exit_code(), exit::INPUT);
        assert!(
            refused
                .to_string()
                .starts_with("s3://b/job/manifest.jsonl: line 1: ")
        );
    }
}
