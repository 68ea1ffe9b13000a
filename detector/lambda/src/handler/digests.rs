//! The completeness check: CloudTrail names every file that it has delivered in the digest of its
//! hour. What was not processed by then is fetched like an object that a notification names; what
//! cannot be read is an alert.
//!
//! A digest is compared when it arrives. If files are left, they are looked for once more after the
//! allowed lateness, because their notifications may still be in the queue, and then fetched.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use secretrail_aws::s3::ObjectRef;
use secretrail_engine::{
    completeness::{WaitingDigest, lost_files},
    limits::DAY_SECS,
    state::{StateError, completeness::CompletenessStore},
    time::EventTime,
    trail_digest::{DigestFile, DigestHour, NotADigest},
};
use serde_json::json;

use super::{FunctionContext, batch::BatchProgress, deadline::has_time};
use crate::{
    notification::DeliveredObject,
    rules::ActiveRules,
    telemetry::{FunctionMetrics, LogSeverity, log},
};

/// Digests that a sweep takes together.
const AT_A_TIME: usize = 20;

/// Age in seconds of the hour of a digest beyond which it is not compared: its files were processed
/// before the function was deployed, or are no news.
const OLDEST_SECS: i64 = 7 * DAY_SECS;

/// Seconds after the arrival of a digest after which a file is given up that could not be read for
/// a reason that may pass.
const GIVE_UP_SECS: i64 = DAY_SECS;

/// A digest that was read.
pub(super) struct ReadDigest {
    object: DeliveredObject,
    hour: DigestHour,
    /// Keys of the files that it names.
    files: Vec<String>,
}

/// What is known of the files of a digest that were not processed.
#[derive(Debug, Default)]
struct UnreadFiles {
    /// Keys of those that cannot be read, now or later.
    lost: Vec<String>,
    /// Whether some may be read later.
    more: bool,
}

impl ReadDigest {
    pub(super) fn of(object: &DeliveredObject, bytes: &[u8]) -> Result<Self, NotADigest> {
        let (file, hour) = DigestFile::of_stored(bytes)?;
        let files = file.log_keys(&object.key.key).into_iter().collect();
        Ok(Self {
            object: object.clone(),
            hour,
            files,
        })
    }

    /// Number of files that it names.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    fn waiting(&self, now: EventTime) -> WaitingDigest {
        WaitingDigest {
            bucket: self.object.key.bucket.clone(),
            key: self.object.key.key.clone(),
            version_id: self.object.version_id.clone(),
            start: self.hour.start.0,
            end: self.hour.end.0,
            arrived: now.0,
        }
    }
}

impl FunctionContext {
    /// Compares a digest that has arrived with the files that were processed.
    pub(super) async fn compare_digest(
        &self,
        digest: &ReadDigest,
        metrics: &mut FunctionMetrics,
    ) -> Result<(), StateError> {
        let now = (self.clock)();
        if now.0.saturating_sub(digest.hour.end.0) > OLDEST_SECS {
            return Ok(());
        }
        metrics.add("DigestsCompared", 1);
        let waiting = digest.waiting(now);
        if self.unread(&waiting, &digest.files).await?.is_empty() {
            return self.finish_digest(&waiting).await;
        }
        let look_at = now.plus(self.config.allowed_lateness_secs);
        self.store.put_digests(vec![waiting], look_at).await
    }

    /// All files of a digest are accounted for.
    async fn finish_digest(&self, digest: &WaitingDigest) -> Result<(), StateError> {
        let compared = digest.compared().into_iter().collect();
        self.store.put_compared(compared).await
    }

    /// Those of the files that were not processed.
    async fn unread(
        &self,
        digest: &WaitingDigest,
        files: &[String],
    ) -> Result<Vec<String>, StateError> {
        let known = self.store.are_known(&digest.bucket, files).await?;
        let unread = files.iter().zip(known).filter(|(_, known)| !known);
        Ok(unread.map(|(key, _)| key.clone()).collect())
    }

    /// Looks again at digests of which files are left, as long as there is time.
    pub(super) async fn check_digests(
        &self,
        active: &Arc<ActiveRules>,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Result<(), StateError> {
        if !self.config.checks_digests {
            return Ok(());
        }
        loop {
            let due = self.store.due_digests((self.clock)(), AT_A_TIME).await?;
            if due.receipt.is_empty() {
                return Ok(());
            }
            for digest in due.digests {
                // Those that are left are still due.
                if !has_time(until) {
                    return Ok(());
                }
                self.check_digest(digest, active, until, metrics).await?;
            }
            self.store.close_digests(due.receipt).await?;
        }
    }

    async fn check_digest(
        &self,
        digest: WaitingDigest,
        active: &Arc<ActiveRules>,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> Result<(), StateError> {
        let UnreadFiles { lost, more } = match self.files_of(&digest).await {
            Ok(files) => {
                let unread = self.unread(&digest, &files).await?;
                self.fetch_files(&digest, unread, active, until, metrics)
                    .await
            }
            Err(unread) => unread,
        };
        self.raise(lost_files(&digest, &lost), metrics).await?;
        if more {
            let look_at = (self.clock)().plus(self.config.allowed_lateness_secs.max(1));
            return self.store.put_digests(vec![digest], look_at).await;
        }
        metrics.add("FilesMissing", lost.len() as u64);
        self.finish_digest(&digest).await
    }

    /// The keys of the files of a digest, which is read once more; or that it cannot be read. Who
    /// deletes a file may delete the digest that names it.
    async fn files_of(&self, digest: &WaitingDigest) -> Result<Vec<String>, UnreadFiles> {
        let place = ObjectRef {
            bucket: &digest.bucket,
            key: &digest.key,
            version_id: digest.version_id.as_deref(),
            etag: None,
            size: None,
        };
        let (why, may_pass) = match self.s3.fetch(place).await {
            Ok(bytes) => match DigestFile::of_stored(&bytes) {
                Ok((file, _)) => return Ok(file.log_keys(&digest.key).into_iter().collect()),
                Err(error) => (error.to_string(), false),
            },
            Err(error) => (error.to_string(), !error.is_of_object()),
        };
        log(
            LogSeverity::Error,
            "digest cannot be read again",
            json!({"bucket": digest.bucket, "key": digest.key, "why": why}),
        );
        let more = may_pass && !self.is_over(digest);
        let lost = (!more).then(|| digest.key.clone());
        Err(UnreadFiles {
            lost: lost.into_iter().collect(),
            more,
        })
    }

    fn is_over(&self, digest: &WaitingDigest) -> bool {
        (self.clock)().0.saturating_sub(digest.arrived) > GIVE_UP_SECS
    }

    /// Fetches files as if their notifications had come.
    async fn fetch_files(
        &self,
        digest: &WaitingDigest,
        keys: Vec<String>,
        active: &Arc<ActiveRules>,
        until: Instant,
        metrics: &mut FunctionMetrics,
    ) -> UnreadFiles {
        let count = keys.len();
        let objects = keys.into_iter();
        let objects = objects.map(|key| DeliveredObject::new(&digest.bucket, key));
        let mut progress = BatchProgress::default();
        let not_done = self
            .process(objects.collect(), active, until, metrics, &mut progress)
            .await;
        metrics.add("FilesFetched", (count - not_done.len()) as u64);
        let is_over = self.is_over(digest);
        let lost: BTreeSet<_> = not_done
            .keys()
            .filter(|object| is_over || progress.lasting.contains(object))
            .collect();
        UnreadFiles {
            more: lost.len() < not_done.len(),
            lost: lost.iter().map(|object| object.key.key.clone()).collect(),
        }
    }
}
