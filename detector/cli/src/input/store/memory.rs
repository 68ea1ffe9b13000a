//! A store in memory, for tests: pages like S3, and counts its listing requests.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    FetchedBytes, FolderPredicate, ListedItem, ListedPage, ObjectStore, PageRequest, RemoteObject,
    StoreError,
};

/// Most objects and folders of a page, as in S3.
const PAGE: usize = 1_000;

/// Objects by bucket and key.
#[derive(Default)]
pub(crate) struct MemoryStore {
    pub(crate) objects: Mutex<BTreeMap<(String, String), Vec<u8>>>,
    /// Keys of objects in an archive, with its storage class.
    pub(crate) archived: Mutex<BTreeMap<String, String>>,
    /// Number of listing requests.
    pub(crate) pages: AtomicUsize,
}

impl MemoryStore {
    fn remote(bucket: &str, key: &str, bytes: &[u8]) -> RemoteObject {
        RemoteObject {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            etag: String::new(),
            size: bytes.len() as u64,
        }
    }
}

impl ObjectStore for MemoryStore {
    fn list(
        &self,
        bucket: &str,
        prefix: &str,
        _: Option<&FolderPredicate<'_>>,
    ) -> Result<Vec<RemoteObject>, StoreError> {
        let objects = self.objects.lock().unwrap();
        let listed = objects
            .iter()
            .filter(|((of, key), _)| of == bucket && key.starts_with(prefix))
            .map(|((_, key), bytes)| Self::remote(bucket, key, bytes));
        Ok(listed.collect())
    }

    fn page(&self, request: &PageRequest<'_>) -> Result<ListedPage, StoreError> {
        self.pages.fetch_add(1, Ordering::Relaxed);
        let objects = self.objects.lock().unwrap();
        let archived = self.archived.lock().unwrap();
        let after = request.token.or(request.start_after).unwrap_or_default();
        let mut page = ListedPage::default();
        let mut folders = BTreeSet::new();
        let from = (
            request.bucket.to_owned(),
            after.max(request.prefix).to_owned(),
        );
        for ((bucket, key), bytes) in objects.range(from..) {
            let below = key.strip_prefix(request.prefix);
            let Some(below) = below.filter(|_| bucket == request.bucket) else {
                break;
            };
            let folder = folder(request, below);
            if folder.as_deref().unwrap_or(key) <= after {
                continue;
            }
            if page.objects.len() + folders.len() == PAGE
                && folder
                    .as_ref()
                    .is_none_or(|folder| !folders.contains(folder))
            {
                let last = page.objects.last().map(|last| last.item.key.clone());
                page.next = folders.last().cloned().max(last);
                break;
            }
            match folder {
                Some(folder) => drop(folders.insert(folder)),
                None => page.objects.push(ListedItem {
                    item: Self::remote(bucket, key, bytes),
                    archived: archived.get(key).cloned(),
                }),
            }
        }
        page.folders = folders.into_iter().collect();
        Ok(page)
    }

    fn fetch(&self, object: &RemoteObject) -> Result<FetchedBytes, StoreError> {
        let objects = self.objects.lock().unwrap();
        let bytes = objects.get(&(object.bucket.clone(), object.key.clone()));
        let bytes = bytes.ok_or_else(|| StoreError::Call("NoSuchKey".to_owned()))?;
        Ok(FetchedBytes {
            bytes: bytes.clone(),
            signature: None,
        })
    }

    fn piece(&self, _: &RemoteObject, _: u64, _: u64) -> Result<Vec<u8>, StoreError> {
        Err(StoreError::NotNamed)
    }

    fn put(&self, bucket: &str, key: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        let place = (bucket.to_owned(), key.to_owned());
        self.objects.lock().unwrap().insert(place, bytes);
        Ok(())
    }

    fn delete(&self, bucket: &str, key: &str) -> Result<(), StoreError> {
        let place = (bucket.to_owned(), key.to_owned());
        self.objects.lock().unwrap().remove(&place);
        Ok(())
    }
}

/// The folder of a key, by what follows the prefix; `None` for an object.
fn folder(request: &PageRequest<'_>, below: &str) -> Option<String> {
    let (folder, _) = below.split_once('/').filter(|_| request.by_folder)?;
    Some(format!("{}{folder}/", request.prefix))
}
