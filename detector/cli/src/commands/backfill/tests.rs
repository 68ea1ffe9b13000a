//! A job without AWS, for the tests of planning and status.

use std::{collections::BTreeMap, sync::Mutex};

use secretrail_engine::{
    extract_file::ExtractHeader,
    manifest::{BackfillManifest, ManifestBatch},
};

use crate::{
    commands::tests::ran,
    exit,
    input::store::{FetchedBytes, FolderPredicate, ObjectStore, RemoteObject, StoreError},
};

/// A manifest with one batch of one object for each of these sizes.
pub(super) fn manifest(sizes: &[u64]) -> BackfillManifest {
    let header = ExtractHeader::default();
    let object = |size: &u64| RemoteObject {
        bucket: "b".to_owned(),
        key: format!("logs/{size}.json.gz"),
        etag: "e".to_owned(),
        size: *size,
    };
    let batches = sizes
        .iter()
        .map(|size| ManifestBatch::new(&header, vec![object(size)]));
    let batches = batches.collect();
    BackfillManifest::new(header, batches)
}

/// One bucket in memory.
#[derive(Default)]
pub(super) struct MemoryBucket(Mutex<BTreeMap<String, Vec<u8>>>);

impl ObjectStore for MemoryBucket {
    fn list(
        &self,
        bucket: &str,
        prefix: &str,
        _: Option<&FolderPredicate<'_>>,
    ) -> Result<Vec<RemoteObject>, StoreError> {
        let objects = self.0.lock().unwrap();
        let listed = objects.iter().filter(|(key, _)| key.starts_with(prefix));
        let listed = listed.map(|(key, bytes)| RemoteObject {
            bucket: bucket.to_owned(),
            key: key.clone(),
            etag: String::new(),
            size: bytes.len() as u64,
        });
        Ok(listed.collect())
    }

    fn fetch(&self, object: &RemoteObject) -> Result<FetchedBytes, StoreError> {
        let objects = self.0.lock().unwrap();
        let bytes = objects.get(&object.key).cloned();
        let bytes = bytes.ok_or_else(|| StoreError::Call("NoSuchKey".to_owned()))?;
        Ok(FetchedBytes {
            bytes,
            signature: None,
        })
    }

    fn piece(&self, _: &RemoteObject, _: u64, _: u64) -> Result<Vec<u8>, StoreError> {
        Err(StoreError::NotNamed)
    }

    fn put(&self, _: &str, key: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.0.lock().unwrap().insert(key.to_owned(), bytes);
        Ok(())
    }
}

#[test]
fn a_job_outside_of_s3_is_refused_before_any_call() {
    for args in [
        &["backfill", "status", "job"][..],
        &["backfill", "run", "job", "--state-machine", "arn"],
        &["backfill", "resume", "s3://", "--state-machine", "arn"],
    ] {
        let refused = ran(args);
        assert_eq!(refused.code, exit::USAGE);
        assert!(refused.err.contains("a job is in S3"), "{}", refused.err);
    }
}
