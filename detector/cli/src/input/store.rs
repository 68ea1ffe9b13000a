//! The trait behind which objects in S3 are read and written, and its implementation without S3.

#[cfg(test)]
mod memory;

use std::{collections::BTreeSet, io, path::Path};

#[cfg(test)]
pub(crate) use self::memory::MemoryStore;

use crate::{args::path::bucket_and_prefix, host::RunFailure};

/// An object in S3, as listed.
pub type RemoteObject = secretrail_engine::manifest::ManifestItem;

/// A fetched object.
#[derive(Debug, Clone)]
pub struct FetchedBytes {
    /// Its bytes, as stored.
    pub bytes: Vec<u8>,
    /// Signature of a digest, from the metadata of its object in S3, in hexadecimal digits; `None`
    /// for files and for other objects.
    pub signature: Option<String>,
}

/// One page of a listing: at most a thousand objects and folders.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest<'r> {
    /// Name of the bucket.
    pub bucket: &'r str,
    /// What all keys start with.
    pub prefix: &'r str,
    /// Whether keys with a `/` after the prefix are summed up as folders.
    pub by_folder: bool,
    /// Only keys after this one; `None` for all.
    pub start_after: Option<&'r str>,
    /// What the page before named as next; `None` for the first page.
    pub token: Option<&'r str>,
}

/// The answer to a [`PageRequest`].
#[derive(Debug, Clone, Default)]
pub struct ListedPage {
    /// Objects, by key.
    pub objects: Vec<ListedItem>,
    /// Prefixes of folders, each with its last `/`.
    pub folders: Vec<String>,
    /// The token of the next page; `None` for the last.
    pub next: Option<String>,
}

/// An object of a page.
#[derive(Debug, Clone)]
pub struct ListedItem {
    /// The object.
    pub item: RemoteObject,
    /// Storage class of the archive from which it must be restored first, as in `DEEP_ARCHIVE`;
    /// `None` if it can be read.
    pub archived: Option<String>,
}

/// Whether the folder with this prefix is to be listed.
pub type FolderPredicate<'o> = dyn Fn(&str) -> bool + Sync + 'o;

/// A store of objects. Calls block until they complete.
pub trait ObjectStore: Send + Sync {
    /// Lists the objects below a prefix. With `opens`, only in folders that it accepts, at one
    /// request for each folder; without, all of them, at one request for a thousand objects.
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

    /// One page of a listing.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: why the bucket could not be listed.
    fn page(&self, request: &PageRequest<'_>) -> Result<ListedPage, StoreError>;

    /// Fetches an object in its listed version.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: why it could not be read.
    fn fetch(&self, object: &RemoteObject) -> Result<FetchedBytes, StoreError>;

    /// Fetches `length` bytes of an object in its listed version, from an offset; fewer at its end.
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

    /// Deletes an object; one that is not there is no error.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: why it could not be deleted.
    fn delete(&self, bucket: &str, key: &str) -> Result<(), StoreError>;
}

/// Why a call failed or could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The run has no path in S3, and so no client.
    #[error("no path in S3 was named")]
    NotNamed,
    /// The build does not have the feature `s3`.
    #[error(
        "this build does not support S3; build with the feature `s3`, or copy the objects to disk"
    )]
    NotBuilt,
    /// The threads for calls could not be started.
    #[error("cannot start the threads for AWS calls: {0}")]
    Runtime(io::Error),
    /// The call failed, with the error of AWS.
    #[error("{0}")]
    Call(String),
}

/// The store of a run without paths in S3: every call fails.
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

    fn page(&self, _: &PageRequest<'_>) -> Result<ListedPage, StoreError> {
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

    fn delete(&self, _: &str, _: &str) -> Result<(), StoreError> {
        Err(StoreError::NotNamed)
    }
}

/// A prefix in S3 to which a command writes.
pub struct WritablePrefix {
    /// Name of the bucket.
    pub bucket: String,
    /// Prefix of all keys, ending in `/`; empty for the whole bucket.
    pub prefix: String,
}

impl WritablePrefix {
    /// Parses `s3://bucket/prefix/`, with or without the last slash; `None` for any other path.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let (bucket, mut prefix) = bucket_and_prefix(path)?;
        // Without the slash, `job` would also be a prefix of `job-2`.
        if !prefix.is_empty() && !prefix.ends_with('/') {
            prefix.push('/');
        }
        Some(Self { bucket, prefix })
    }

    /// The key of an object below the prefix.
    #[must_use]
    pub fn key(&self, object: &str) -> String {
        format!("{}{object}", self.prefix)
    }

    /// The `s3://` URL of an object below the prefix.
    #[must_use]
    pub fn name(&self, object: &str) -> String {
        format!("s3://{}/{}", self.bucket, self.key(object))
    }

    /// The keys of the existing objects, without the prefix.
    ///
    /// # Errors
    ///
    /// [`RunFailure::Input`]: the prefix could not be listed.
    pub fn there(&self, store: &dyn ObjectStore) -> Result<BTreeSet<String>, RunFailure> {
        let listed = store
            .list(&self.bucket, &self.prefix, None)
            .map_err(|error| RunFailure::Input(format!("{}: {error}", self.name(""))))?;
        Ok(listed
            .into_iter()
            .filter_map(|object| object.key.strip_prefix(&self.prefix).map(str::to_owned))
            .collect())
    }

    /// Writes an object below the prefix.
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
