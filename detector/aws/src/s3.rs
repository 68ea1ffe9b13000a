//! Objects in S3: whole, as they were when their notification was sent, and never larger than a limit.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, ResponseChecksumValidation, StalledStreamProtectionConfig};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::types::RequestPayer;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::retry::{Failed, Retry};

/// How long a body may give nothing before it is asked for again.
const STALLED: Duration = Duration::from_secs(20);

/// Folders that are listed at the same time.
const LISTINGS: usize = 16;

/// Where an object is, and which version of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectRef<'a> {
    /// Bucket.
    pub bucket: &'a str,
    /// Key, decoded.
    pub key: &'a str,
    /// Version id, in buckets that keep versions.
    pub version_id: Option<&'a str>,
    /// ETag, without quotes.
    pub etag: Option<&'a str>,
    /// Size in bytes, as the notification or a listing says.
    pub size: Option<u64>,
}

/// Why there are no bytes.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no such bucket, key or version.
    #[error("there is no such object: {0}")]
    Missing(String),
    /// We may not read it.
    #[error(
        "access denied; reading needs s3:GetObject on it (for a listing s3:ListBucket), and kms:Decrypt where it has a key: {0}"
    )]
    Denied(String),
    /// It is too large; nothing was read.
    #[error("it has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The most that is read.
        limit: u64,
    },
    /// Anything else, or the same again and again.
    #[error("{0}")]
    Failed(String),
}

impl FetchError {
    fn of(status: Option<u16>, message: String) -> Self {
        match status {
            Some(404) => Self::Missing(message),
            Some(403) => Self::Denied(message),
            Some(301 | 400)
                if message.contains("egion") || message.contains("PermanentRedirect") =>
            {
                Self::Failed(format!(
                    "the bucket is in another region; name that region: {message}"
                ))
            }
            _ => Self::Failed(message),
        }
    }
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Key.
    pub key: String,
    /// ETag, without quotes.
    pub etag: String,
    /// Size in bytes.
    pub size: u64,
}

/// Reads objects.
#[derive(Debug, Clone)]
pub struct S3Source {
    client: Client,
    retry: Retry,
    max_bytes: u64,
    stalled: Duration,
    payer: Option<RequestPayer>,
}

impl S3Source {
    /// The same source, paying for requests to buckets whose owner asks for that.
    #[must_use]
    pub fn paying(self) -> Self {
        Self {
            payer: Some(RequestPayer::Requester),
            ..self
        }
    }

    /// A source that refuses objects of more than so many bytes as they are stored. Downloads are watched here and not
    /// by the SDK, whose watch for stalls and whose second checksum cost a tenth of a replay: gzip has a checksum of its own,
    /// and a body that is too short or gives nothing is asked for again.
    #[must_use]
    pub fn new(config: Builder, retry: Retry, max_bytes: u64) -> Self {
        let watched = StalledStreamProtectionConfig::enabled()
            .download_enabled(false)
            .build();
        let client = Client::from_conf(
            config
                .stalled_stream_protection(watched)
                .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
                .build(),
        );
        Self {
            client,
            retry,
            max_bytes,
            stalled: STALLED,
            payer: None,
        }
    }

    /// The same source, with another time that a body may give nothing; 20 seconds without this.
    #[must_use]
    pub fn stalled_after(self, stalled: Duration) -> Self {
        Self { stalled, ..self }
    }

    /// The bytes of an object. A body that breaks off or stalls is asked for again: the SDK does not do
    /// that.
    ///
    /// # Errors
    ///
    /// See [`FetchError`].
    pub async fn fetch(&self, object: ObjectRef<'_>) -> Result<Vec<u8>, FetchError> {
        self.fetch_with_metadata(object)
            .await
            .map(|(bytes, _)| bytes)
    }

    /// The bytes of an object, and its metadata (`x-amz-meta-…`, by what follows).
    ///
    /// # Errors
    ///
    /// See [`FetchError`].
    pub async fn fetch_with_metadata(
        &self,
        object: ObjectRef<'_>,
    ) -> Result<(Vec<u8>, HashMap<String, String>), FetchError> {
        self.get(object, None).await
    }

    /// Some of the bytes of an object, from an offset on; fewer at its end.
    ///
    /// # Errors
    ///
    /// See [`FetchError`].
    pub async fn fetch_piece(
        &self,
        object: ObjectRef<'_>,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, FetchError> {
        let range = format!(
            "bytes={offset}-{}",
            offset.saturating_add(length).saturating_sub(1)
        );
        self.get(object, Some(range)).await.map(|(bytes, _)| bytes)
    }

    async fn get(
        &self,
        object: ObjectRef<'_>,
        range: Option<String>,
    ) -> Result<(Vec<u8>, HashMap<String, String>), FetchError> {
        self.check(object.size)?;
        let mut pinned = object.version_id.is_none().then_some(object.etag).flatten();
        let mut failed = 0;
        loop {
            let answer = self
                .client
                .get_object()
                .bucket(object.bucket)
                .key(object.key)
                .set_version_id(object.version_id.map(str::to_owned))
                .set_if_match(pinned.map(str::to_owned))
                .set_range(range.clone())
                .set_request_payer(self.payer.clone())
                .send()
                .await;
            let why = match answer {
                Ok(mut answer) => {
                    let metadata = answer.metadata.take().unwrap_or_default();
                    self.check(
                        answer
                            .content_length
                            .and_then(|length| u64::try_from(length).ok()),
                    )?;
                    match body(answer, self.stalled).await {
                        Ok(bytes) => return Ok((bytes, metadata)),
                        Err(why) => why,
                    }
                }
                Err(error) => {
                    let why = Failed::of(&error);
                    match why.status {
                        // It was written again. What it holds now is read; reading it twice changes nothing.
                        Some(412) if pinned.is_some() && range.is_none() => {
                            pinned = None;
                            continue;
                        }
                        _ if !why.retry => return Err(FetchError::of(why.status, why.message)),
                        _ => why.message,
                    }
                }
            };
            failed += 1;
            if !self.retry.again(failed) {
                return Err(FetchError::Failed(why));
            }
            self.retry.wait(failed).await;
        }
    }

    /// Writes an object. The SDK repeats what fails for a moment.
    ///
    /// # Errors
    ///
    /// See [`FetchError`].
    pub async fn put(&self, bucket: &str, key: &str, bytes: Vec<u8>) -> Result<(), FetchError> {
        let sent = self
            .client
            .put_object()
            .bucket(bucket)
            .key(key)
            .body(bytes.into())
            .send()
            .await;
        sent.map(|_| ()).map_err(|error| {
            let why = Failed::of(&error);
            FetchError::of(why.status, why.message)
        })
    }

    fn check(&self, size: Option<u64>) -> Result<(), FetchError> {
        match size {
            Some(size) if size > self.max_bytes => Err(FetchError::TooLarge {
                size,
                limit: self.max_bytes,
            }),
            _ => Ok(()),
        }
    }

    /// The objects with a prefix, in the order of their keys.
    ///
    /// # Errors
    ///
    /// The listing failed; the message tells why.
    pub async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<Listed>, FetchError> {
        self.page_through(bucket, prefix, None)
            .await
            .map(|(objects, _)| objects)
    }

    /// The objects below a prefix, in the order of their keys, folder by folder: a folder that is not to be opened is not
    /// listed, so that a week of five years costs a week.
    ///
    /// # Errors
    ///
    /// A listing failed; the message tells why.
    pub async fn list_below(
        &self,
        bucket: &str,
        prefix: &str,
        opens: impl Fn(&str) -> bool,
    ) -> Result<Vec<Listed>, FetchError> {
        let mut found = Vec::new();
        let mut folders = vec![prefix.to_owned()];
        while !folders.is_empty() {
            let level: Vec<(Vec<Listed>, Vec<String>)> = stream::iter(folders)
                .map(|folder| async move { self.page_through(bucket, &folder, Some("/")).await })
                .buffer_unordered(LISTINGS)
                .try_collect()
                .await?;
            folders = Vec::new();
            for (objects, below) in level {
                found.extend(objects);
                folders.extend(below.into_iter().filter(|folder| opens(folder)));
            }
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    /// Every object with a prefix, or up to the delimiter, and then what is beyond it.
    async fn page_through(
        &self,
        bucket: &str,
        prefix: &str,
        delimiter: Option<&str>,
    ) -> Result<(Vec<Listed>, Vec<String>), FetchError> {
        let (mut found, mut below) = (Vec::new(), Vec::new());
        let mut token = None;
        loop {
            let request = self
                .client
                .list_objects_v2()
                .bucket(bucket)
                .prefix(prefix)
                .set_delimiter(delimiter.map(str::to_owned))
                .set_request_payer(self.payer.clone())
                .set_continuation_token(token);
            let page = request.send().await.map_err(|error| {
                let why = Failed::of(&error);
                FetchError::of(why.status, why.message)
            })?;
            found.extend(
                page.contents
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|object| {
                        let etag = object
                            .e_tag
                            .unwrap_or_default()
                            .trim_matches('"')
                            .to_owned();
                        let size = object
                            .size
                            .and_then(|size| u64::try_from(size).ok())
                            .unwrap_or(0);
                        Some(Listed {
                            key: object.key?,
                            etag,
                            size,
                        })
                    }),
            );
            below.extend(
                page.common_prefixes
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|folder| folder.prefix),
            );
            token = page.next_continuation_token;
            if token.is_none() {
                return Ok((found, below));
            }
        }
    }
}

/// The whole body, or why it is not whole. Piece by piece into one buffer: `AggregatedBytes::to_vec` copies byte by byte.
async fn body(mut answer: GetObjectOutput, stalled: Duration) -> Result<Vec<u8>, String> {
    let promised = answer
        .content_length
        .and_then(|length| usize::try_from(length).ok());
    let mut bytes = Vec::with_capacity(promised.unwrap_or_default());
    let nothing = |_| format!("its body gave nothing for {stalled:?}");
    while let Some(piece) = tokio::time::timeout(stalled, answer.body.next())
        .await
        .map_err(nothing)?
    {
        bytes.extend_from_slice(&piece.map_err(|error| format!("its body broke off: {error}"))?);
    }
    match promised {
        Some(promised) if promised != bytes.len() => Err(format!(
            "its body broke off after {} of {promised} bytes",
            bytes.len()
        )),
        _ => Ok(bytes),
    }
}
