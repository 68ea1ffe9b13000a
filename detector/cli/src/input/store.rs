//! Objects in S3, behind one trait: the bucket itself where a path names one and the build has the
//! SDK, and nothing else.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use crate::args::path::bucket_and_prefix;
use crate::host::RunFailure;

/// An object in S3, as a listing has it.
pub type RemoteObject = secretrail_engine::manifest::ManifestItem;

/// The bytes of an object as they are stored.
#[derive(Debug)]
pub struct FetchedBytes {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The signature that CloudTrail puts into the metadata of a digest in S3; `None` for files and
    /// for other objects.
    pub signature: Option<String>,
}

/// Says which folders are to be opened.
pub type FolderPredicate<'o> = dyn Fn(&str) -> bool + Sync + 'o;

/// What is asked of a store of objects. Calls wait for their answer.
pub trait ObjectStore: Send + Sync {
    /// The objects below a prefix, without folders that are not to be opened; without `opens`, all
    /// at once, which costs one request for a thousand objects instead of one for each folder.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: why the bucket could not be listed.
    fn list(
        &self,
        bucket: &str,
        prefix: &str,
        opens: Option<&FolderPredicate<'_>>,
    ) -> Result<Vec<RemoteObject>, StoreError>;

    /// The bytes of an object, as it was listed, and the signature of a digest.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: why it could not be read.
    fn fetch(&self, object: &RemoteObject) -> Result<FetchedBytes, StoreError>;

    /// Some of the bytes of an object, as it was listed; fewer at its end.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: why they could not be read.
    fn piece(&self, object: &RemoteObject, offset: u64, length: u64)
    -> Result<Vec<u8>, StoreError>;

    /// Writes an object.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: why it could not be written.
    fn put(&self, bucket: &str, key: &str, bytes: Vec<u8>) -> Result<(), StoreError>;
}

/// Why AWS could not be asked, or what it answered.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A run without a path in S3 has no client.
    #[error("no path in S3 was named")]
    NotNamed,
    /// The feature `s3` was left out of the build.
    #[error(
        "this build has no S3; install it with the feature `s3`, or copy the objects to a folder"
    )]
    NotBuilt,
    /// The threads for its calls could not be started.
    #[error("no runtime for S3: {0}")]
    Runtime(io::Error),
    /// The call failed, with what AWS said.
    #[error("{0}")]
    Call(String),
}

/// The store of a run that names no path in S3.
#[derive(Debug, Clone, Copy)]
pub struct NoObjectStore;

impl ObjectStore for NoObjectStore {
    fn list(
        &self,
        _: &str,
        _: &str,
        _: Option<&FolderPredicate<'_>>,
    ) -> Result<Vec<RemoteObject>, StoreError> {
        Err(StoreError::NotNamed)
    }

    fn fetch(&self, _: &RemoteObject) -> Result<FetchedBytes, StoreError> {
        Err(StoreError::NotNamed)
    }

    fn piece(&self, _: &RemoteObject, _: u64, _: u64) -> Result<Vec<u8>, StoreError> {
        Err(StoreError::NotNamed)
    }

    fn put(&self, _: &str, _: &str, _: Vec<u8>) -> Result<(), StoreError> {
        Err(StoreError::NotNamed)
    }
}

/// A folder in S3 that a command writes to.
pub struct WritablePrefix {
    /// Bucket.
    pub bucket: String,
    /// With its slash; empty for none.
    pub prefix: String,
}

impl WritablePrefix {
    /// `s3://bucket/prefix/`, with or without the last slash; `None` for any other path.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let (bucket, mut prefix) = bucket_and_prefix(path)?;
        // Without the slash `job` would also be the beginning of `job-2`.
        if !prefix.is_empty() && !prefix.ends_with('/') {
            prefix.push('/');
        }
        Some(Self { bucket, prefix })
    }

    /// The key of an object in it.
    #[must_use]
    pub fn key(&self, object: &str) -> String {
        format!("{}{object}", self.prefix)
    }

    /// The name of an object in it.
    #[must_use]
    pub fn name(&self, object: &str) -> String {
        format!("s3://{}/{}", self.bucket, self.key(object))
    }

    /// The objects in it, without its prefix.
    ///
    /// # Errors
    ///
    /// [`Failure::Input`]: it could not be listed.
    pub fn there(&self, store: &dyn ObjectStore) -> Result<BTreeSet<String>, RunFailure> {
        let listed = store
            .list(&self.bucket, &self.prefix, None)
            .map_err(|error| RunFailure::Input(format!("{}: {error}", self.name(""))))?;
        Ok(listed
            .into_iter()
            .filter_map(|object| object.key.strip_prefix(&self.prefix).map(str::to_owned))
            .collect())
    }

    /// Writes an object into it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: why it could not be written.
    pub fn put(
        &self,
        store: &dyn ObjectStore,
        object: &str,
        bytes: Vec<u8>,
    ) -> Result<(), StoreError> {
        store.put(&self.bucket, &self.key(object), bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_folder_with_or_without_its_last_slash() {
        for path in ["s3://bucket/jobs/2026", "s3://bucket/jobs/2026/"] {
            let prefix = WritablePrefix::of(Path::new(path)).unwrap();
            assert_eq!(prefix.name("part"), "s3://bucket/jobs/2026/part");
        }
        let whole = WritablePrefix::of(Path::new("s3://bucket")).unwrap();
        assert_eq!(whole.key("part"), "part");
        assert!(WritablePrefix::of(Path::new("jobs/2026")).is_none());
    }
}
