//! One batch of a job: its objects in, one observation part out. No state, no rules, no topics:
//! what to keep stands in the manifest. The same batch gives the same bytes under the same name,
//! however often it is invoked.

use std::sync::Arc;

use aws_config::SdkConfig;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use secretrail_aws::retry::RetryPolicy;
use secretrail_aws::s3::{FetchError, ObjectRef, S3Source};
use secretrail_engine::extract_file::{self, ExtractedObject};
use secretrail_engine::manifest::{ManifestBatch, ManifestError, ManifestHeader, ManifestItem};
use secretrail_engine::object::{self, RecordOrigin};
use secretrail_engine::report::ObjectStatus;
use secretrail_engine::rule::RuleSet;
use secretrail_engine::scan::{ObjectScanner, ScanInput, ScanResult};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinError;

use crate::config::FunctionConfig;
use crate::telemetry::{LogSeverity, log};

/// What the function is invoked with: where a job is, and which lines of its manifest are meant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ExtractInvocation {
    /// Bucket of the job.
    pub bucket: String,
    /// Prefix of the job, with its slash; empty for none.
    pub prefix: String,
    /// A row of the list of items.
    pub item: ManifestRow,
}

/// A row of the list of items: text, because that is what Step Functions makes of comma-separated
/// values.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ManifestRow {
    /// Key of the manifest.
    pub manifest: String,
    /// Bytes of its head, which begins it.
    pub head: String,
    /// Bytes before the batch.
    pub offset: String,
    /// Bytes of the batch.
    pub length: String,
    /// Name of the part.
    pub part: String,
}

/// Why a part was not written.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The function was invoked by something else than a job.
    #[error("this function extracts batches of a job: `secretrail backfill run` starts one ({0})")]
    Event(serde_json::Error),
    /// The row and the manifest do not agree.
    #[error("the manifest has {found} where {asked} is asked for; it was edited: plan again")]
    Edited {
        /// Name of the part that the manifest has there.
        found: String,
        /// Name of the part in the row.
        asked: String,
    },
    /// A place or a length in the row is none.
    #[error("`{text}` is no number: {error}")]
    Number {
        /// What stands there.
        text: String,
        /// What is wrong with it.
        error: std::num::ParseIntError,
    },
    /// An object could not be read for now, or not be written.
    #[error("{place}: {error}")]
    S3 {
        /// `s3://…` of it.
        place: String,
        /// Why not.
        error: FetchError,
    },
    /// A piece of the manifest is no text.
    #[error("{place}: {error}")]
    NotText {
        /// `s3://…` of the manifest.
        place: String,
        /// What is wrong with it.
        error: std::string::FromUtf8Error,
    },
    /// The head of the manifest cannot be used.
    #[error("{place}: {error}")]
    Manifest {
        /// `s3://…` of the manifest.
        place: String,
        /// What is wrong with it.
        error: ManifestError,
    },
    /// A batch of the manifest cannot be used.
    #[error("{place}: {error}: the batch of {part}")]
    Batch {
        /// `s3://…` of the manifest.
        place: String,
        /// What is wrong with it.
        error: ManifestError,
        /// Name of the part that it would become.
        part: String,
    },
    /// An object made the reader panic.
    #[error("{name}: it broke the reader: {error}")]
    Reader {
        /// `s3://…` of the object.
        name: String,
        /// What happened.
        error: JoinError,
    },
    /// What was read made the writer panic.
    #[error("the part broke the writer: {0}")]
    Writer(JoinError),
}

impl ExtractError {
    fn s3(bucket: &str, key: &str, error: FetchError) -> Self {
        Self::S3 {
            place: url(bucket, key),
            error,
        }
    }
}

/// Extracts batches.
pub struct Extractor {
    s3: S3Source,
    parallel: usize,
}

impl Extractor {
    /// Clients for these settings. Nothing is called yet.
    #[must_use]
    pub fn new(config: &FunctionConfig, aws: &SdkConfig, retry: RetryPolicy) -> Self {
        let s3 = aws_sdk_s3::config::Builder::from(aws).force_path_style(config.path_style);
        Self {
            s3: S3Source::new(s3, retry, config.max_object_bytes),
            parallel: config.parallel,
        }
    }

    /// Extracts a batch, and tells what it came to.
    ///
    /// # Errors
    ///
    /// The part was not written; the caller tries again, or leaves the batch as missing.
    pub async fn handle(&self, event: &Value) -> Result<Value, ExtractError> {
        let answer = self.extract(event).await;
        match &answer {
            Ok(reported) => log(LogSeverity::Info, "part written", reported.clone()),
            Err(why) => log(
                LogSeverity::Error,
                "part not written",
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
        let extracted: Vec<ExtractedObject> = stream::iter(batch.objects)
            .map(|item| self.object(item, head.clone()))
            // In any order: the writer puts objects and records into theirs.
            .buffer_unordered(self.parallel)
            .try_collect()
            .await?;
        let mut totals = BatchTotals::of(&extracted);
        let bytes = written(head, extracted).await?;
        totals.bytes_in = bytes_in;
        totals.bytes_out = bytes.len();
        let key = format!("{prefix}{}", item.part);
        totals.part = item.part;
        let put = self.s3.put(&bucket, &key, bytes).await;
        put.map_err(|error| ExtractError::s3(&bucket, &key, error))?;
        Ok(json!(totals))
    }

    /// The head of the manifest, and one of its batches.
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
        // Which line it is, nobody has counted; its part says it as well.
        let batch = ManifestBatch::read(&head, 0, &batch).map_err(|error| ExtractError::Batch {
            place: manifest.place(),
            error,
            part: item.part.clone(),
        })?;
        // Offsets of an edited manifest may point at another batch, whose objects would be written
        // under this name.
        if batch.part != item.part {
            return Err(ExtractError::Edited {
                found: batch.part,
                asked: item.part.clone(),
            });
        }
        Ok((head, batch))
    }

    /// What one object came to. What will never be read is noted in the part; what may be read
    /// later fails the batch.
    async fn object(
        &self,
        item: ManifestItem,
        head: Arc<ManifestHeader>,
    ) -> Result<ExtractedObject, ExtractError> {
        let name = item.name();
        let bytes = match self.s3.fetch(place(&item)).await {
            Err(error) if !is_final(&error) => {
                return Err(ExtractError::S3 { place: name, error });
            }
            bytes => bytes,
        };
        tokio::task::spawn_blocking(move || scan(&item, bytes, &head))
            .await
            .map_err(|error| ExtractError::Reader { name, error })
    }
}

/// What a batch came to, as the function answers.
#[derive(Debug, Default, Serialize)]
struct BatchTotals {
    part: String,
    objects: usize,
    /// Objects that could not be read.
    failed: usize,
    records: usize,
    /// Bytes of the objects as they are stored.
    bytes_in: u64,
    /// Bytes of the part as it is stored.
    bytes_out: usize,
}

impl BatchTotals {
    fn of(extracted: &[ExtractedObject]) -> Self {
        let failed = extracted
            .iter()
            .filter(|object| matches!(object.entry.object_status, ObjectStatus::Failed(_)));
        Self {
            objects: extracted.len(),
            failed: failed.count(),
            records: extracted.iter().map(|object| object.records.len()).sum(),
            ..Self::default()
        }
    }
}

/// The part as it is stored. On a thread of its own: to sort and deflate it takes long.
async fn written(
    head: Arc<ManifestHeader>,
    extracted: Vec<ExtractedObject>,
) -> Result<Vec<u8>, ExtractError> {
    tokio::task::spawn_blocking(move || extract_file::write(&head.header, extracted))
        .await
        .map_err(ExtractError::Writer)
}

/// A manifest in S3, of which only some bytes are read: it lists every object of a job.
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
            // The row has none; that it is another manifest shows in the name of the part.
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

/// Whether an object will not be read another time either: then it must not hold up the rest of its
/// batch. Denied is not final: a key policy or a role may be mended, and the batch tried again.
fn is_final(error: &FetchError) -> bool {
    matches!(error, FetchError::Missing(_) | FetchError::TooLarge { .. })
}

/// Reads an object, or notes why it has no bytes.
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
    use super::*;

    #[test]
    fn a_row_of_the_list_is_text() {
        let event = json!({"bucket": "b", "prefix": "jobs/", "item": {
            "manifest": "m", "head": "120", "offset": "121", "length": "80", "part": "p"}});
        let read = ExtractInvocation::deserialize(&event).unwrap();
        assert_eq!(number(&read.item.offset).unwrap(), 121);
        let fault = number("-1").unwrap_err().to_string();
        assert!(fault.starts_with("`-1` is no number: "), "{fault}");
        let error =
            ExtractInvocation::deserialize(&json!({"Records": []})).map_err(ExtractError::Event);
        let reported = error.unwrap_err().to_string();
        assert!(
            reported.contains("`secretrail backfill run` starts one (missing field"),
            "{reported}"
        );
    }

    #[test]
    fn only_what_will_never_be_read_is_noted_in_the_part() {
        assert!(is_final(&FetchError::Missing("gone".to_owned())));
        assert!(is_final(&FetchError::TooLarge { size: 9, limit: 1 }));
        assert!(!is_final(&FetchError::Denied("no".to_owned())));
        assert!(!is_final(&FetchError::Failed("slow".to_owned())));
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
