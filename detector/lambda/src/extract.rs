//! One batch of a job: its objects in, one observation part out. No state, no rules, no topics: what to keep stands in the
//! manifest. The same batch gives the same bytes under the same name, however often it is invoked.

use std::sync::Arc;

use aws_config::SdkConfig;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use secretrail_aws::retry::Retry;
use secretrail_aws::s3::{FetchError, ObjectRef, S3Source};
use secretrail_engine::manifest::{Batch, Head, Item};
use secretrail_engine::object;
use secretrail_engine::object::Origin;
use secretrail_engine::part::{self, Extracted};
use secretrail_engine::report::Fate;
use secretrail_engine::rule::RuleSet;
use secretrail_engine::scan::{Harvest, Input, Scanner};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::Config;
use crate::telemetry::{Severity, log};

/// What the function is invoked with: where a job is, and which lines of its manifest are meant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Invocation {
    /// Bucket of the job.
    pub bucket: String,
    /// Prefix of the job, with its slash; empty for none.
    pub prefix: String,
    /// A row of the list of items.
    pub item: Row,
}

/// A row of the list of items: text, because that is what Step Functions makes of comma-separated values.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Row {
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

/// Extracts batches.
pub struct Extractor {
    s3: S3Source,
    parallel: usize,
}

impl Extractor {
    /// Clients for these settings. Nothing is called yet.
    #[must_use]
    pub fn new(config: &Config, aws: &SdkConfig, retry: Retry) -> Self {
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
    pub async fn handle(&self, event: &Value) -> Result<Value, String> {
        let answer = self.extract(event).await;
        match &answer {
            Ok(told) => log(Severity::Info, "part written", told.clone()),
            Err(why) => log(
                Severity::Error,
                "part not written",
                json!({"why": why, "event": event}),
            ),
        }
        answer
    }

    async fn extract(&self, event: &Value) -> Result<Value, String> {
        let form = "this function extracts batches of a job: `secretrail fleet run` starts one";
        let Invocation {
            bucket,
            prefix,
            item,
        } = Invocation::deserialize(event).map_err(|error| format!("{form} ({error})"))?;
        let (head, batch) = self.batch(&bucket, &item).await?;
        if batch.part != item.part {
            return Err(format!(
                "the manifest has {} where {} is asked for; it was edited: plan again",
                batch.part, item.part
            ));
        }
        let head = Arc::new(head);
        let bytes_in = batch.bytes();
        let extracted: Vec<Extracted> = stream::iter(batch.objects)
            .map(|item| self.object(item, head.clone()))
            .buffer_unordered(self.parallel)
            .try_collect()
            .await?;
        let objects = extracted.len();
        let records: usize = extracted.iter().map(|object| object.records.len()).sum();
        let failed = extracted
            .iter()
            .filter(|object| matches!(object.entry.fate, Fate::Failed(_)))
            .count();
        let written =
            tokio::task::spawn_blocking(move || part::write(&head.header, extracted)).await;
        let bytes = written.map_err(|error| format!("the part broke the writer: {error}"))?;
        let bytes_out = bytes.len();
        let key = format!("{prefix}{}", item.part);
        self.s3
            .put(&bucket, &key, bytes)
            .await
            .map_err(|error| format!("s3://{bucket}/{key}: {error}"))?;
        Ok(
            json!({"part": item.part, "objects": objects, "failed": failed, "records": records, "bytes_in": bytes_in,
            "bytes_out": bytes_out}),
        )
    }

    /// The head of the manifest, and one of its batches.
    async fn batch(&self, bucket: &str, item: &Row) -> Result<(Head, Batch), String> {
        let key = item.manifest.as_str();
        let place = ObjectRef {
            bucket,
            key,
            version_id: None,
            etag: None,
            size: None,
        };
        let number = |text: &str| {
            text.parse::<u64>()
                .map_err(|error| format!("`{text}` is no number: {error}"))
        };
        let line = async |offset: u64, length: &str| {
            let bytes = self.s3.fetch_piece(place, offset, number(length)?).await;
            let bytes = bytes.map_err(|error| format!("s3://{bucket}/{key}: {error}"))?;
            String::from_utf8(bytes).map_err(|error| format!("s3://{bucket}/{key}: {error}"))
        };
        let fault = |error: secretrail_engine::manifest::ManifestError| {
            format!("s3://{bucket}/{key}: {error}")
        };
        let head = Head::read(&line(0, &item.head).await?).map_err(fault)?;
        let batch = line(number(&item.offset)?, &item.length).await?;
        // Which line it is, nobody has counted; its part says it as well.
        let batch = Batch::read(&head, 0, &batch)
            .map_err(|error| format!("{}: the batch of {}", fault(error), item.part))?;
        Ok((head, batch))
    }

    /// What one object came to. What will never be read is noted in the part; what may be read later fails the batch.
    async fn object(&self, item: Item, head: Arc<Head>) -> Result<Extracted, String> {
        let Item {
            bucket,
            key,
            etag,
            size,
        } = &item;
        let place = ObjectRef {
            bucket,
            key,
            version_id: None,
            etag: Some(etag.as_str()).filter(|etag| !etag.is_empty()),
            size: Some(*size),
        };
        let bytes = match self.s3.fetch(place).await {
            Ok(bytes) => Ok(bytes),
            Err(error @ (FetchError::Missing(_) | FetchError::TooLarge { .. })) => {
                Err(error.to_string())
            }
            Err(error) => return Err(format!("{}: {error}", item.name())),
        };
        let name = item.name();
        let scanned = tokio::task::spawn_blocking(move || scan(&item, bytes, &head)).await;
        scanned.map_err(|error| format!("{name}: it broke the reader: {error}"))
    }
}

/// Reads an object, or notes why it has no bytes.
fn scan(item: &Item, bytes: Result<Vec<u8>, String>, head: &Head) -> Extracted {
    let path = object::parse(&item.key);
    let (selection, none) = (head.header.selection(), RuleSet::default());
    let mut scanner = Scanner::new(&none, &selection).keeping(head.header.calls.clone());
    let mut harvest = Harvest::default();
    let in_tree = path.account.is_some();
    let origin = Origin {
        object: item.name().as_str().into(),
        delivered: path.delivered,
    };
    let read = bytes.and_then(|bytes| {
        scanner
            .read(Input::Bytes(&bytes), &origin, in_tree, &mut harvest)
            .map_err(|error| error.to_string())
    });
    let fate = harvest.report.settle(read, in_tree, false);
    Extracted::of(&origin, item.etag.clone(), in_tree, &fate, &mut harvest)
}
