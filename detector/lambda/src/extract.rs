//! Extracts one batch of a backfill: reads its objects, writes one extract file. Needs no state, no
//! rules and no topics: the manifest says what to keep. The same batch always gives the same bytes
//! under the same name. An object that cannot be read is noted there with the reason, and in a
//! small list beside it; the batch fails when S3 itself does, or when it refuses all objects.

use std::sync::Arc;

use aws_config::SdkConfig;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use secretrail_aws::{
    retry::RetryPolicy,
    s3::{FetchError, ObjectRef, S3Source},
};
use secretrail_engine::{
    extract_file::{self, ExtractedObject},
    manifest::{
        FailedItem, ManifestBatch, ManifestError, ManifestHeader, ManifestItem, failed_list,
    },
    object::{self, RecordOrigin},
    report::ObjectStatus,
    rule::RuleSet,
    scan::{ObjectScanner, ScanInput, ScanResult},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinError;

use crate::{
    config::FunctionConfig,
    telemetry::{LogSeverity, log},
};

/// The event: the location of a job, and the lines of its manifest to process.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ExtractInvocation {
    /// Bucket of the job.
    pub bucket: String,
    /// Prefix of the job, with its slash; empty for none.
    pub prefix: String,
    /// A row of the item list.
    pub item: ManifestRow,
}

/// A row of the item list. All strings, because Step Functions makes strings of comma-separated
/// values.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ManifestRow {
    /// Key of the manifest.
    pub manifest: String,
    /// Length in bytes of the header, at the start of the manifest.
    pub head: String,
    /// Offset in bytes of the batch.
    pub offset: String,
    /// Length in bytes of the batch.
    pub length: String,
    /// Name of the extract file.
    pub part: String,
}

/// Why an extract file was not written.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The event does not come from a backfill job.
    #[error(
        "the event is not a batch of a backfill; start one with `secretrail backfill run` ({0})"
    )]
    Event(serde_json::Error),
    /// The row and the manifest do not agree.
    #[error("the manifest has {found} instead of {asked}; it was edited: plan again")]
    Edited {
        /// Name of the extract file that the manifest has there.
        found: String,
        /// Name of the extract file in the row.
        asked: String,
    },
    /// An offset or length in the row is not a number.
    #[error("`{text}` is not a number: {error}")]
    Number {
        /// The text in the row.
        text: String,
        /// The error.
        error: std::num::ParseIntError,
    },
    /// No object of the batch could be read, and S3 refused some: a permission, a key or a restore
    /// can mend that, and the batch then be tried again.
    #[error("none of its {objects} objects could be read; the first: {name}: {reason}")]
    AllFailed {
        /// Number of objects.
        objects: usize,
        /// `s3://…` URL of the first object that was refused.
        name: String,
        /// Why it was.
        reason: String,
    },
    /// An object could not be read, for now, or not be written.
    #[error("{place}: {error}")]
    S3 {
        /// Its `s3://…` URL.
        place: String,
        /// The error.
        error: FetchError,
    },
    /// A piece of the manifest is not UTF-8.
    #[error("{place}: {error}")]
    NotText {
        /// `s3://…` URL of the manifest.
        place: String,
        /// The error.
        error: std::string::FromUtf8Error,
    },
    /// The header of the manifest is invalid.
    #[error("{place}: {error}")]
    Manifest {
        /// `s3://…` URL of the manifest.
        place: String,
        /// The error.
        error: ManifestError,
    },
    /// A batch of the manifest is invalid.
    #[error("{place}: {error} (batch of {part})")]
    Batch {
        /// `s3://…` URL of the manifest.
        place: String,
        /// The error.
        error: ManifestError,
        /// Name of its extract file.
        part: String,
    },
    /// The reader panicked on an object.
    #[error("{name}: internal error (a bug in Secretrail) while reading: {error}")]
    Reader {
        /// `s3://…` URL of the object.
        name: String,
        /// The panic.
        error: JoinError,
    },
    /// The writer panicked.
    #[error("internal error (a bug in Secretrail) while writing the extract file: {0}")]
    Writer(JoinError),
}

impl ExtractError {
    fn s3(bucket: &str, key: &str, error: FetchError) -> Self {
        Self::S3 {
            place: url(bucket, key),
            error,
        }
    }

    /// The type under which Lambda and Step Functions report it. The state machine in
    /// `infra/backfill.yaml` retries the first, and goes on after the second with another batch.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::S3 { error, .. } if error.may_pass() => "Secretrail.Transient",
            Self::AllFailed { .. } => "Secretrail.AllFailed",
            _ => "Secretrail.Permanent",
        }
    }
}

/// Extracts batches.
pub struct Extractor {
    s3: S3Source,
    parallel: usize,
}

impl Extractor {
    /// Makes the S3 client for these settings; calls nothing yet.
    #[must_use]
    pub fn new(config: &FunctionConfig, aws: &SdkConfig, retry: RetryPolicy) -> Self {
        let s3 = aws_sdk_s3::config::Builder::from(aws).force_path_style(config.path_style);
        Self {
            s3: S3Source::new(s3, retry, config.max_object_bytes),
            parallel: config.parallel,
        }
    }

    /// Extracts a batch, and returns its totals.
    ///
    /// # Errors
    ///
    /// The extract file was not written; the caller retries, or reports the batch as missing.
    pub async fn handle(&self, event: &Value) -> Result<Value, ExtractError> {
        let answer = self.extract(event).await;
        match &answer {
            Ok(reported) => log(LogSeverity::Info, "extract file written", reported.clone()),
            Err(why) => log(
                LogSeverity::Error,
                "extract file not written",
                json!({"why": why.to_string(), "event": event}),
            ),
        }
        answer
    }

    async fn extract(&self, event: &Value) -> Result<Value, ExtractError> {
        let ExtractInvocation {
            bucket,
            prefix,
            item,
        } = ExtractInvocation::deserialize(event).map_err(ExtractError::Event)?;
        let (head, batch) = self.batch(&bucket, &item).await?;
        let bytes_in = batch.bytes();
        let head = Arc::new(head);
        let read: Vec<ReadItem> = stream::iter(batch.objects)
            .map(|item| self.object(item, head.clone()))
            // In any order: the writer sorts objects and records.
            .buffer_unordered(self.parallel)
            .try_collect()
            .await?;
        refuse_if_all_failed(&read)?;
        let failed: Vec<FailedItem> = read.iter().filter_map(ReadItem::failed).collect();
        let extracted: Vec<ExtractedObject> = read.into_iter().map(|item| item.object).collect();
        let mut totals = BatchTotals::of(&extracted, failed.len());
        let bytes = written(head, extracted).await?;
        totals.bytes_in = bytes_in;
        totals.bytes_out = bytes.len();
        // The list first: an extract file without it would hide what was not read.
        let list = format!("{prefix}{}", failed_list(&item.part));
        self.list_failed(&bucket, &list, failed).await?;
        let key = format!("{prefix}{}", item.part);
        totals.part = item.part;
        let put = self.s3.put(&bucket, &key, bytes).await;
        put.map_err(|error| ExtractError::s3(&bucket, &key, error))?;
        Ok(json!(totals))
    }

    /// Writes the list of what could not be read; removes that of an earlier try if all was read.
    async fn list_failed(
        &self,
        bucket: &str,
        key: &str,
        failed: Vec<FailedItem>,
    ) -> Result<(), ExtractError> {
        let written = if failed.is_empty() {
            self.s3.delete(bucket, key).await
        } else {
            let text = FailedItem::write(failed);
            self.s3.put(bucket, key, text.into_bytes()).await
        };
        written.map_err(|error| ExtractError::s3(bucket, key, error))
    }

    /// The header of the manifest, and one of its batches.
    async fn batch(
        &self,
        bucket: &str,
        item: &ManifestRow,
    ) -> Result<(ManifestHeader, ManifestBatch), ExtractError> {
        let manifest = ManifestFile {
            s3: &self.s3,
            bucket,
            key: &item.manifest,
        };
        let head = manifest.piece(0, number(&item.head)?).await?;
        let head = ManifestHeader::read(&head).map_err(|error| ExtractError::Manifest {
            place: manifest.place(),
            error,
        })?;
        let batch = manifest
            .piece(number(&item.offset)?, number(&item.length)?)
            .await?;
        // The line number is not known; the name of the extract file identifies the batch.
        let batch = ManifestBatch::read(&head, 0, &batch).map_err(|error| ExtractError::Batch {
            place: manifest.place(),
            error,
            part: item.part.clone(),
        })?;
        // In an edited manifest the offset may be that of another batch, whose objects would be
        // written under this name.
        if batch.part != item.part {
            return Err(ExtractError::Edited {
                found: batch.part,
                asked: item.part.clone(),
            });
        }
        Ok((head, batch))
    }

    /// Extracts one object. An error of this object is noted in the extract file; one of S3 itself
    /// fails the batch.
    async fn object(
        &self,
        item: ManifestItem,
        head: Arc<ManifestHeader>,
    ) -> Result<ReadItem, ExtractError> {
        let name = item.name();
        let bytes = match self.s3.fetch(place(&item)).await {
            Err(error) if !error.is_of_object() => {
                return Err(ExtractError::S3 { place: name, error });
            }
            bytes => bytes,
        };
        // What is gone or too large stays so.
        let is_refused = matches!(&bytes, Err(FetchError::Failed(_)));
        let read = move || ReadItem {
            object: scan(&item, bytes, &head),
            item,
            is_refused,
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|error| ExtractError::Reader { name, error })
    }
}

/// An object of the batch, read or not.
struct ReadItem {
    item: ManifestItem,
    object: ExtractedObject,
    /// Whether S3 refused it, for a reason that somebody can mend.
    is_refused: bool,
}

impl ReadItem {
    /// The object with the reason; `None` if it was read.
    fn failed(&self) -> Option<FailedItem> {
        match &self.object.entry.object_status {
            ObjectStatus::Failed(reason) => Some(FailedItem {
                item: self.item.clone(),
                reason: reason.clone(),
            }),
            ObjectStatus::Read | ObjectStatus::Skipped(_) => None,
        }
    }
}

/// Fails if nothing was read and S3 refused some of it: an extract file without any content would
/// look like a batch that is done.
fn refuse_if_all_failed(read: &[ReadItem]) -> Result<(), ExtractError> {
    let refused = read.iter().find(|item| item.is_refused);
    let failed: Option<Vec<FailedItem>> = read.iter().map(ReadItem::failed).collect();
    match (failed, refused.and_then(ReadItem::failed)) {
        (Some(all), Some(first)) => Err(ExtractError::AllFailed {
            objects: all.len(),
            name: first.item.name(),
            reason: first.reason,
        }),
        _ => Ok(()),
    }
}

/// Totals of a batch: the response of the function.
#[derive(Debug, Default, Serialize)]
struct BatchTotals {
    part: String,
    objects: usize,
    /// Objects that could not be read.
    failed: usize,
    records: usize,
    /// Size of the objects as they are stored, in bytes.
    bytes_in: u64,
    /// Size of the extract file as it is stored, in bytes.
    bytes_out: usize,
}

impl BatchTotals {
    fn of(extracted: &[ExtractedObject], failed: usize) -> Self {
        Self {
            objects: extracted.len(),
            failed,
            records: extracted.iter().map(|object| object.records.len()).sum(),
            ..Self::default()
        }
    }
}

/// The extract file as it is stored. On a blocking thread: sorting and compressing take long.
async fn written(
    head: Arc<ManifestHeader>,
    extracted: Vec<ExtractedObject>,
) -> Result<Vec<u8>, ExtractError> {
    tokio::task::spawn_blocking(move || extract_file::write(&head.header, extracted))
        .await
        .map_err(ExtractError::Writer)
}

/// A manifest in S3, of which only some bytes are read: it lists all objects of a job.
struct ManifestFile<'a> {
    s3: &'a S3Source,
    bucket: &'a str,
    key: &'a str,
}

impl ManifestFile<'_> {
    fn place(&self) -> String {
        url(self.bucket, self.key)
    }

    async fn piece(&self, offset: u64, length: u64) -> Result<String, ExtractError> {
        let object = ObjectRef {
            bucket: self.bucket,
            key: self.key,
            version_id: None,
            // The row has none; another manifest is detected by the name of the extract file.
            etag: None,
            size: None,
        };
        let bytes = self.s3.fetch_piece(object, offset, length).await;
        let bytes = bytes.map_err(|error| ExtractError::s3(self.bucket, self.key, error))?;
        String::from_utf8(bytes).map_err(|error| ExtractError::NotText {
            place: self.place(),
            error,
        })
    }
}

fn url(bucket: &str, key: &str) -> String {
    format!("s3://{bucket}/{key}")
}

fn number(text: &str) -> Result<u64, ExtractError> {
    text.parse().map_err(|error| ExtractError::Number {
        text: text.to_owned(),
        error,
    })
}

fn place(item: &ManifestItem) -> ObjectRef<'_> {
    ObjectRef {
        bucket: &item.bucket,
        key: &item.key,
        version_id: None,
        etag: Some(item.etag.as_str()).filter(|etag| !etag.is_empty()),
        size: Some(item.size),
    }
}

/// Scans an object, or notes why it could not be read.
fn scan(
    item: &ManifestItem,
    bytes: Result<Vec<u8>, FetchError>,
    head: &ManifestHeader,
) -> ExtractedObject {
    let path = object::parse(&item.key);
    let (selection, none) = (head.header.selection(), RuleSet::default());
    let mut scanner = ObjectScanner::new(&none, &selection).keeping(head.header.calls.clone());
    let mut scan_result = ScanResult::default();
    let in_tree = path.account.is_some();
    let origin = RecordOrigin {
        object: item.name().as_str().into(),
        delivered: path.delivered,
    };
    let read = match bytes {
        Ok(bytes) => scanner
            .read(ScanInput::Bytes(&bytes), &origin, in_tree, &mut scan_result)
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let object_result = scan_result.report.finalize(read, in_tree, false);
    ExtractedObject::of(
        &origin,
        item.etag.clone(),
        in_tree,
        &object_result,
        &mut scan_result,
    )
}

#[cfg(test)]
mod tests {
    use secretrail_aws::retry::FailedCall;
    use secretrail_engine::{extract_file::ExtractHeader, manifest::BackfillManifest};

    use super::*;

    #[test]
    fn a_row_of_the_list_is_text() {
        let event = json!({"bucket": "b", "prefix": "jobs/", "item": {
            "manifest": "m", "head": "120", "offset": "121", "length": "80", "part": "p"}});
        let read = ExtractInvocation::deserialize(&event).unwrap();
        assert_eq!(number(&read.item.offset).unwrap(), 121);
        let fault = number("-1").unwrap_err().to_string();
        assert!(fault.starts_with("`-1` is not a number: "), "{fault}");
        let error =
            ExtractInvocation::deserialize(&json!({"Records": []})).map_err(ExtractError::Event);
        let reported = error.unwrap_err().to_string();
        assert!(
            reported.contains("start one with `secretrail backfill run` (missing field"),
            "{reported}"
        );
    }

    /// An object of a batch: read, or not for a reason that somebody can mend or that stays.
    fn read_item(key: &str, bytes: Result<&[u8], FetchError>) -> ReadItem {
        let item = ManifestItem {
            bucket: "b".to_owned(),
            key: key.to_owned(),
            etag: "e".to_owned(),
            size: 7,
        };
        let head = BackfillManifest::new(ExtractHeader::default(), Vec::new()).head;
        let is_refused = matches!(&bytes, Err(FetchError::Failed(_)));
        ReadItem {
            object: scan(&item, bytes.map(<[u8]>::to_vec), &head),
            item,
            is_refused,
        }
    }

    fn denied() -> FetchError {
        let denied = FailedCall::answered(403, Some("AccessDenied"), None).during("s3:GetObject");
        FetchError::Failed(Box::new(denied))
    }

    #[test]
    fn a_batch_fails_only_if_nothing_was_read_and_something_can_be_mended() {
        let whole: &[u8] = br#"{"Records":[]}"#;
        let large = || FetchError::TooLarge { size: 9, limit: 1 };
        let some = [read_item("a", Err(denied())), read_item("c", Ok(whole))];
        assert!(refuse_if_all_failed(&some).is_ok());
        let failed: Vec<FailedItem> = some.iter().filter_map(ReadItem::failed).collect();
        assert_eq!(failed.len(), 1);
        assert!(failed[0].reason.starts_with("access denied: s3:GetObject"));
        let gone = FailedCall::answered(404, Some("NoSuchKey"), None);
        let gone = FetchError::Missing(Box::new(gone));
        let lost = [read_item("a", Err(large())), read_item("b", Err(gone))];
        assert!(
            refuse_if_all_failed(&lost).is_ok(),
            "trying again would not help"
        );
        assert_eq!(lost.iter().filter_map(ReadItem::failed).count(), 2);
        let all = [read_item("a", Err(large())), read_item("b", Err(denied()))];
        let error = refuse_if_all_failed(&all).unwrap_err();
        assert_eq!(error.kind(), "Secretrail.AllFailed");
        let text = error.to_string();
        assert!(
            text.starts_with("none of its 2 objects could be read; the first: s3://b/b: access"),
            "{text}"
        );
    }

    #[test]
    fn only_what_may_pass_by_itself_is_tried_again() {
        let of = |error| ExtractError::s3("b", "k", error).kind();
        let busy = FailedCall::answered(503, Some("SlowDown"), None);
        assert_eq!(
            of(FetchError::Failed(Box::new(busy))),
            "Secretrail.Transient"
        );
        assert_eq!(of(denied()), "Secretrail.Permanent");
        assert_eq!(number("x").unwrap_err().kind(), "Secretrail.Permanent");
    }

    #[test]
    fn an_object_without_an_etag_is_asked_for_as_it_is() {
        let mut item = ManifestItem {
            bucket: "b".to_owned(),
            key: "k".to_owned(),
            etag: String::new(),
            size: 7,
        };
        assert_eq!(place(&item).etag, None);
        item.etag = "e1".to_owned();
        assert_eq!(place(&item).etag, Some("e1"));
    }
}
