//! Descends folder by folder to the prefixes that are listed flat.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use secretrail_engine::{
    object::{self, ObjectKind, ObjectPath},
    time::EventTime,
};

use super::{ListingShard, LogListing, REQUESTS};
use crate::input::{
    store::{ListedItem, PageRequest, StoreError},
    walk::may_hold,
};

/// Folders below the prefix that are opened to look for accounts; what is deeper is listed flat.
const DEEPEST: usize = 8;

/// What is below a folder.
enum FolderContent {
    /// Folders, and the objects beside them.
    Folders(Vec<String>, Vec<ListedItem>),
    /// No accounts: it is listed flat.
    Flat,
}

/// What a descent has found.
#[derive(Default)]
pub(super) struct FoundShards {
    /// The prefixes to list flat: each region of each account, and what has neither.
    pub(super) shards: Vec<ListingShard>,
    /// Objects beside folders, of which there are few.
    pub(super) beside: Vec<ListedItem>,
}

impl LogListing<'_> {
    /// Descends below a prefix.
    pub(super) fn shards(&self, prefix: &str) -> Result<FoundShards, StoreError> {
        let mut found = FoundShards::default();
        let mut level = self.opened(vec![prefix.to_owned()], &mut found.shards);
        for depth in 0.. {
            if level.is_empty() {
                break;
            }
            if depth == DEEPEST {
                let flat = level.iter().map(|folder| self.shard(folder));
                found.shards.extend(flat);
                break;
            }
            let contents = in_parallel(&level, |folder| self.folder(folder))?;
            let mut next = Vec::new();
            for (folder, content) in level.iter().zip(contents) {
                match content {
                    FolderContent::Flat => found.shards.push(self.shard(folder)),
                    FolderContent::Folders(folders, beside) => {
                        next.extend(folders);
                        found.beside.extend(beside);
                    }
                }
            }
            level = self.opened(next, &mut found.shards);
        }
        Ok(found)
    }

    /// Those of these folders in which to look for accounts. Regions of accounts are found, and
    /// what is outside of the selection is left.
    fn opened(&self, folders: Vec<String>, found: &mut Vec<ListingShard>) -> Vec<String> {
        let mut opened = Vec::new();
        for folder in folders {
            let path = object::parse(&folder);
            if path.kind != ObjectKind::Events || !may_hold(&path, self.selection) {
                continue;
            }
            if is_region(&path) {
                found.push(self.shard(&folder));
            } else {
                opened.push(folder);
            }
        }
        opened
    }

    fn shard(&self, prefix: &str) -> ListingShard {
        let path = object::parse(prefix);
        let start_after = self.selection.from.and_then(|from| before(prefix, from));
        ListingShard {
            account: path.account.unwrap_or_default().to_owned(),
            prefix: prefix.to_owned(),
            start_after: start_after.filter(|_| is_region(&path)),
        }
    }

    fn folder(&self, prefix: &str) -> Result<FolderContent, StoreError> {
        let (mut folders, mut beside, mut token) = (Vec::new(), Vec::new(), None);
        loop {
            let page = self.page(&PageRequest {
                bucket: self.bucket,
                prefix,
                by_folder: true,
                start_after: None,
                token: token.as_deref(),
            })?;
            let is_more = page.next.is_some();
            folders.extend(page.folders);
            beside.extend(page.objects);
            let is_flat = folders.is_empty() && !beside.is_empty();
            if is_flat || folders.iter().any(|folder| is_year(folder)) {
                return Ok(FolderContent::Flat);
            }
            if !is_more {
                return Ok(FolderContent::Folders(folders, beside));
            }
            token = page.next;
        }
    }
}

/// Whether a path names account and region.
fn is_region(path: &ObjectPath<'_>) -> bool {
    path.account.is_some() && path.region.is_some()
}

/// Whether a folder is named like a year: what is below is in order of time, and has no accounts.
fn is_year(folder: &str) -> bool {
    let name = folder.trim_end_matches('/').rsplit('/').next();
    name.is_some_and(|name| name.len() == 4 && name.starts_with("20") && is_number(name))
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A text before all keys of the day of this time, in a tree with this prefix, and after those of
/// all days before; `None` without a region in the prefix.
fn before(prefix: &str, time: EventTime) -> Option<String> {
    let (above, below) = prefix.rsplit_once("/CloudTrail/")?;
    let region = below.split('/').next()?;
    let day = time.to_string();
    let day = day.get(..10)?.replace('-', "/");
    Some(format!("{above}/CloudTrail/{region}/{day}"))
}

/// The results of a call for each folder, in their order.
fn in_parallel<T: Send>(
    folders: &[String],
    call: impl Fn(&str) -> Result<T, StoreError> + Sync,
) -> Result<Vec<T>, StoreError> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(folders.len()));
    std::thread::scope(|scope| {
        for _ in 0..folders.len().min(REQUESTS) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(folder) = folders.get(index) else {
                        return;
                    };
                    let result = call(folder);
                    if result.is_err() {
                        next.fetch_max(folders.len(), Ordering::Relaxed);
                    }
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
