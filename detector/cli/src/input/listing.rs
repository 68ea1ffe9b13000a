//! Lists the logs of an organisation as a stream: descends to accounts and regions, lists each flat
//! from the first day of the selection to its last, and gives the objects by account and month. At
//! one request for a thousand objects, with many requests at the same time, and in memory only some
//! pages.

mod folders;

use std::{
    collections::VecDeque,
    iter::Peekable,
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread::Scope,
    vec::IntoIter,
};

use secretrail_engine::{
    extract_file,
    object::{self, ObjectPath},
    report::SkippedObject,
    selection::Selection,
    time::EventTime,
};

use super::{
    store::{ListedItem, ListedPage, ObjectStore, PageRequest, RemoteObject, StoreError},
    walk::{LATE_DELIVERY_SECS, may_hold},
};

/// Requests at the same time. S3 answers 5,500 a second for each prefix.
const REQUESTS: usize = 64;

/// A prefix that is listed flat.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ListingShard {
    /// Account in the prefix; empty if there is none.
    account: String,
    prefix: String,
    /// Key after which the selection begins; `None` for the whole prefix.
    start_after: Option<String>,
}

/// A log that was found.
#[derive(Debug)]
pub struct FoundLog {
    /// The object.
    pub listed: ListedItem,
    /// Month of delivery by its path, in UTC: months since year 0; 0 if the path has no date.
    pub month: i32,
}

impl FoundLog {
    /// An object that can be read.
    #[must_use]
    pub fn new(item: RemoteObject) -> Self {
        Self::of(ListedItem {
            item,
            archived: None,
        })
    }

    fn of(listed: ListedItem) -> Self {
        let days = object::parse(&listed.item.key).days;
        Self {
            month: days.map_or(0, |(start, _)| month(start)),
            listed,
        }
    }

    /// Account in its path; empty if there is none.
    #[must_use]
    pub fn account(&self) -> &str {
        let path = object::parse(&self.listed.item.key);
        path.account.unwrap_or_default()
    }
}

/// Why a listing ended early.
#[derive(Debug)]
pub enum ListingEnd<E> {
    /// The bucket could not be listed.
    Store(StoreError),
    /// The receiver of the objects failed.
    Receiver(E),
}

/// Receives the objects of a listing: by account, then by month, then by prefix and key.
pub type ReceiveLog<'r, E> = dyn FnMut(&str, FoundLog) -> Result<(), E> + 'r;

/// A listing of one bucket.
pub struct LogListing<'l> {
    store: &'l dyn ObjectStore,
    bucket: &'l str,
    selection: &'l Selection,
    permits: RequestPermits,
    requests: AtomicU64,
    skipped: AtomicU64,
}

impl<'l> LogListing<'l> {
    /// A listing with this selection; makes no request yet.
    #[must_use]
    pub fn new(store: &'l dyn ObjectStore, bucket: &'l str, selection: &'l Selection) -> Self {
        Self {
            store,
            bucket,
            selection,
            permits: RequestPermits::new(REQUESTS),
            requests: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
        }
    }

    /// Number of requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Number of objects so far that are no logs of the selection.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Lists everything with a prefix.
    ///
    /// # Errors
    ///
    /// [`ListingEnd`]: the bucket could not be listed, or the receiver failed.
    pub fn list<E>(
        &self,
        prefix: &str,
        receive: &mut ReceiveLog<'_, E>,
    ) -> Result<(), ListingEnd<E>> {
        let found = self.shards(prefix).map_err(ListingEnd::Store)?;
        for log in self.logs(found.beside) {
            receive("", log).map_err(ListingEnd::Receiver)?;
        }
        let mut shards = found.shards;
        // In one order, whatever the order of the answers: the same logs give the same batches.
        shards.sort_by(|a, b| (&a.account, &a.prefix).cmp(&(&b.account, &b.prefix)));
        let accounts: Vec<&[ListingShard]> =
            shards.chunk_by(|a, b| a.account == b.account).collect();
        std::thread::scope(|scope| {
            let mut waiting = accounts.into_iter();
            let mut started: VecDeque<(&str, Vec<ShardReader>)> = VecDeque::new();
            let mut listers = 0;
            loop {
                // Enough accounts ahead to keep all requests in use; the pages of each wait.
                while listers < REQUESTS
                    && let Some(shards) = waiting.next()
                    && let Some(first) = shards.first()
                {
                    listers += shards.len();
                    let readers = shards.iter().map(|shard| self.start(scope, shard));
                    started.push_back((&first.account, readers.collect()));
                }
                let Some((account, readers)) = started.pop_front() else {
                    return Ok(());
                };
                listers -= readers.len();
                by_month(account, readers, receive)?;
            }
        })
    }

    /// Starts to list a prefix on a thread of its own.
    fn start<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        shard: &'env ListingShard,
    ) -> ShardReader {
        // One page waits while the next is asked for.
        let (sender, pages) = mpsc::sync_channel(1);
        scope.spawn(move || {
            if let Err(error) = self.send(shard, &sender) {
                // The receiver is gone when the run has failed.
                sender.send(Err(error)).ok();
            }
        });
        ShardReader {
            pages,
            page: Vec::new().into_iter().peekable(),
        }
    }

    fn send(&self, shard: &ListingShard, sender: &SyncSender<FoundPage>) -> Result<(), StoreError> {
        let mut token = None;
        loop {
            let page = self.page(&PageRequest {
                bucket: self.bucket,
                prefix: &shard.prefix,
                by_folder: false,
                start_after: shard.start_after.as_deref().filter(|_| token.is_none()),
                token: token.as_deref(),
            })?;
            let last = page.objects.last();
            let is_over = last.is_some_and(|last| self.ends(&object::parse(&last.item.key)));
            let logs = self.logs(page.objects);
            if sender.send(Ok(logs)).is_err() || is_over || page.next.is_none() {
                return Ok(());
            }
            token = page.next;
        }
    }

    /// The logs among objects; what is none is counted.
    pub(crate) fn logs(&self, objects: Vec<ListedItem>) -> Vec<FoundLog> {
        let mut logs = Vec::with_capacity(objects.len());
        for listed in objects {
            if self.takes(&object::parse(&listed.item.key), &listed.item.key) {
                logs.push(FoundLog::of(listed));
            } else {
                self.skipped.fetch_add(1, Ordering::Relaxed);
            }
        }
        logs
    }

    fn page(&self, request: &PageRequest<'_>) -> Result<ListedPage, StoreError> {
        let _permit = self.permits.take();
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.store.page(request)
    }

    /// Whether a log may hold events of the selection.
    fn takes(&self, path: &ObjectPath<'_>, key: &str) -> bool {
        SkippedObject::by_name(path, key).is_none()
            && !extract_file::is_extract_file(key)
            && may_hold(path, self.selection)
    }

    /// Whether all later keys of this prefix are after the selection: those of a tree are in the
    /// order of their days.
    fn ends(&self, path: &ObjectPath<'_>) -> bool {
        let in_tree = path.account.is_some() && path.region.is_some();
        let to = self.selection.to.filter(|_| in_tree);
        to.zip(path.days)
            .is_some_and(|(to, (start, _))| start >= to.plus(LATE_DELIVERY_SECS))
    }
}

/// The logs of one page, or why it could not be listed.
type FoundPage = Result<Vec<FoundLog>, StoreError>;

/// The logs of one shard, as they come.
struct ShardReader {
    pages: Receiver<FoundPage>,
    page: Peekable<IntoIter<FoundLog>>,
}

impl ShardReader {
    /// The month of the next log; `None` after the last.
    fn month(&mut self) -> Result<Option<i32>, StoreError> {
        while self.page.peek().is_none() {
            // The sender is gone after the last page.
            let Ok(page) = self.pages.recv() else {
                return Ok(None);
            };
            self.page = page?.into_iter().peekable();
        }
        Ok(self.page.peek().map(|log| log.month))
    }
}

/// Gives the logs of one account month by month: each shard is in order of time already.
fn by_month<E>(
    account: &str,
    mut readers: Vec<ShardReader>,
    receive: &mut ReceiveLog<'_, E>,
) -> Result<(), ListingEnd<E>> {
    loop {
        let mut first = None;
        for reader in &mut readers {
            let month = reader.month().map_err(ListingEnd::Store)?;
            first = first.into_iter().chain(month).min();
        }
        let Some(first) = first else {
            return Ok(());
        };
        for reader in &mut readers {
            // Keys outside of a tree are in any order: what is earlier is taken with this month.
            while reader
                .month()
                .map_err(ListingEnd::Store)?
                .is_some_and(|month| month <= first)
            {
                if let Some(log) = reader.page.next() {
                    receive(account, log).map_err(ListingEnd::Receiver)?;
                }
            }
        }
    }
}

/// Months since year 0 of a time.
fn month(time: EventTime) -> i32 {
    let text = time.to_string();
    let mut parts = text.splitn(3, '-').map(|part| part.parse().unwrap_or(0));
    let (year, month): (i32, i32) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    year * 12 + month
}

/// Limits the requests at the same time.
struct RequestPermits {
    left: Mutex<usize>,
    returned: Condvar,
}

/// Returned when it is dropped.
struct RequestPermit<'p>(&'p RequestPermits);

impl RequestPermits {
    fn new(most: usize) -> Self {
        Self {
            left: Mutex::new(most),
            returned: Condvar::new(),
        }
    }

    fn take(&self) -> RequestPermit<'_> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.returned.wait_while(left, |left| *left == 0);
        *left.unwrap_or_else(PoisonError::into_inner) -= 1;
        RequestPermit(self)
    }
}

impl Drop for RequestPermit<'_> {
    fn drop(&mut self) {
        let left = self.0.left.lock();
        *left.unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.returned.notify_one();
    }
}

#[cfg(test)]
mod tests;
