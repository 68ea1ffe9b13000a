//! Objects in S3: complete, in the version that their notification names, and not above a size
//! limit.

mod listing;
mod regions;

use std::{collections::HashMap, sync::Arc, time::Duration};

use aws_sdk_s3::{
    Client,
    config::{Builder, ResponseChecksumValidation, StalledStreamProtectionConfig},
    operation::get_object::GetObjectOutput,
    primitives::ByteStreamError,
    types::RequestPayer,
};
use bytes::Bytes;

pub use self::listing::{ListedObject, ListedPage, ListingPage};
use self::regions::{BucketRegions, sent_to};
use crate::{
    cause::FailureCause,
    retry::{FailedCall, RetryPolicy},
};

/// Longest time without data before a download is retried.
const STALLED: Duration = Duration::from_secs(20);

/// Location and version of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectRef<'a> {
    /// Name of the bucket.
    pub bucket: &'a str,
    /// Key, decoded.
    pub key: &'a str,
    /// Version id; `None` in buckets without versioning.
    pub version_id: Option<&'a str>,
    /// ETag, without quotes; `None` when it is not known.
    pub etag: Option<&'a str>,
    /// Size in bytes, as the notification or a listing says; `None` when it is not known.
    pub size: Option<u64>,
}

/// Why a request to S3 failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no such bucket, key or version.
    #[error("{0}")]
    Missing(Box<FailedCall>),
    /// The object is too large; nothing was read.
    #[error("it has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The size limit in bytes.
        limit: u64,
    },
    /// Any other error, or a temporary one after all retries.
    #[error("{0}")]
    Failed(Box<FailedCall>),
}

impl FetchError {
    fn of(why: FailedCall) -> Self {
        match why.cause {
            FailureCause::NoBucket | FailureCause::NoObject => Self::Missing(Box::new(why)),
            _ => Self::Failed(Box::new(why)),
        }
    }

    /// The failed call; `None` if nothing was asked for.
    #[must_use]
    pub fn call(&self) -> Option<&FailedCall> {
        match self {
            Self::Missing(call) | Self::Failed(call) => Some(call),
            Self::TooLarge { .. } => None,
        }
    }

    /// Whether the same request may succeed later without anybody's doing.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.call().is_some_and(|call| {
            call.retry
                || matches!(
                    call.cause,
                    FailureCause::NoCredentials | FailureCause::Expired | FailureCause::Unreachable
                )
        })
    }

    /// Whether it is about this one object, whose bucket answers otherwise: it is missing,
    /// archived, denied by its own policy or key, or too large.
    #[must_use]
    pub fn is_of_object(&self) -> bool {
        let Some(call) = self.call() else {
            return true;
        };
        match call.cause {
            FailureCause::NoObject | FailureCause::Archived | FailureCause::Denied => !call.retry,
            // Such as the state of a KMS key, which has many codes.
            FailureCause::Other => {
                !call.retry
                    && call
                        .status
                        .is_none_or(|status| (400..500).contains(&status))
            }
            _ => false,
        }
    }
}

/// Why a download is incomplete.
#[derive(Debug, thiserror::Error)]
enum BodyError {
    #[error("the download stalled: no data for {0:?}")]
    Stalled(Duration),
    #[error("the download was interrupted: {0}")]
    Broken(ByteStreamError),
    #[error("the download was interrupted after {found} of {promised} bytes")]
    Short { found: usize, promised: usize },
}

/// What to do after a failed download.
#[derive(Debug)]
enum EmptyBodyAction {
    /// Request the current version, without the ETag.
    Unpinned,
    /// Retry after a wait.
    Again(FailedCall),
    /// A retry would not help.
    GiveUp(FetchError),
}

impl EmptyBodyAction {
    /// `is_pinned` when the request named an ETag, `is_piece` when it requested a range of bytes.
    fn after(why: FailedCall, is_pinned: bool, is_piece: bool) -> Self {
        match why.status {
            // The object was overwritten. Its current content is read; reading it twice changes
            // nothing. A piece of other content would not fit what the caller has.
            Some(412) if is_pinned && !is_piece => Self::Unpinned,
            _ if why.retry => Self::Again(why),
            _ => Self::GiveUp(FetchError::of(why)),
        }
    }
}

/// Reads, lists and writes objects.
#[derive(Debug, Clone)]
pub struct S3Source {
    client: Client,
    retry: RetryPolicy,
    max_bytes: u64,
    stalled: Duration,
    payer: Option<RequestPayer>,
    regions: Arc<BucketRegions>,
}

impl S3Source {
    /// The same source with requester pays, for buckets that require it.
    #[must_use]
    pub fn paying(self) -> Self {
        Self {
            payer: Some(RequestPayer::Requester),
            ..self
        }
    }

    /// A source that rejects objects of more than `max_bytes` bytes as they are stored. Stalled
    /// downloads are detected here and not by the SDK, whose detection and second checksum cost a
    /// tenth of a replay: gzip has a checksum of its own, and a download that is too short or
    /// stalls is retried.
    #[must_use]
    pub fn new(config: Builder, retry: RetryPolicy, max_bytes: u64) -> Self {
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
            regions: Arc::default(),
        }
    }

    /// The same source with another limit for the time without data; the default is 20 seconds.
    #[must_use]
    pub fn stalled_after(self, stalled: Duration) -> Self {
        Self { stalled, ..self }
    }

    /// The bytes of an object. An interrupted or stalled download is retried, which the SDK does
    /// not do.
    ///
    /// # Errors
    ///
    /// See [`FetchError`].
    pub async fn fetch(&self, object: ObjectRef<'_>) -> Result<Vec<u8>, FetchError> {
        self.fetch_with_metadata(object)
            .await
            .map(|(bytes, _)| bytes)
    }

    /// The bytes of an object, and its metadata by name, without the prefix `x-amz-meta-`.
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

    /// Up to `length` bytes of an object from an offset on; fewer at its end.
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
        let range = byte_range(offset, length);
        self.get(object, Some(range)).await.map(|(bytes, _)| bytes)
    }

    async fn get(
        &self,
        object: ObjectRef<'_>,
        range: Option<String>,
    ) -> Result<(Vec<u8>, HashMap<String, String>), FetchError> {
        self.check(object.size)?;
        // The version id identifies the content; without one, the ETag has to.
        let mut etag = object.version_id.is_none().then_some(object.etag).flatten();
        let mut tries = self.retry.tries();
        loop {
            match self.attempt(object, etag, range.clone()).await {
                Ok(got) => return Ok(got),
                // Not counted as a failed try: without the ETag it cannot happen again.
                Err(EmptyBodyAction::Unpinned) => etag = None,
                Err(EmptyBodyAction::GiveUp(error)) => return Err(error),
                Err(EmptyBodyAction::Again(why)) if !tries.again() => {
                    return Err(FetchError::Failed(Box::new(why)));
                }
                Err(EmptyBodyAction::Again(_)) => tries.wait().await,
            }
        }
    }

    /// One request; reads the response to its end.
    async fn attempt(
        &self,
        object: ObjectRef<'_>,
        etag: Option<&str>,
        range: Option<String>,
    ) -> Result<(Vec<u8>, HashMap<String, String>), EmptyBodyAction> {
        let (is_pinned, is_piece) = (etag.is_some(), range.is_some());
        let mut answer = self
            .ask(object, etag, range)
            .await
            .map_err(|why| EmptyBodyAction::after(why, is_pinned, is_piece))?;
        // Notifications may lack the size, or have another one than S3.
        self.check(unsigned(answer.content_length))
            .map_err(EmptyBodyAction::GiveUp)?;
        let metadata = answer.metadata.take().unwrap_or_default();
        let bytes = body(answer, self.stalled)
            .await
            .map_err(|why| EmptyBodyAction::Again(FailedCall::interrupted(why.to_string())))?;
        Ok((bytes, metadata))
    }

    async fn ask(
        &self,
        object: ObjectRef<'_>,
        etag: Option<&str>,
        range: Option<String>,
    ) -> Result<GetObjectOutput, FailedCall> {
        let request = self
            .client
            .get_object()
            .bucket(object.bucket)
            .key(object.key)
            .set_version_id(object.version_id.map(str::to_owned))
            .set_if_match(etag.map(str::to_owned))
            .set_range(range)
            .set_request_payer(self.payer.clone());
        let sent = self.regions.follow(object.bucket, async |region| {
            let sent = sent_to(request.clone().customize(), region).send().await;
            sent.map_err(|error| FailedCall::of(&error).during("s3:GetObject"))
        });
        sent.await
    }

    /// Writes an object. The SDK retries temporary failures.
    ///
    /// # Errors
    ///
    /// See [`FetchError`].
    pub async fn put(&self, bucket: &str, key: &str, bytes: Vec<u8>) -> Result<(), FetchError> {
        let bytes = Bytes::from(bytes);
        let sent = self.regions.follow(bucket, async |region| {
            let request = self.client.put_object().bucket(bucket).key(key);
            let request = request.body(bytes.clone().into()).customize();
            let sent = sent_to(request, region).send().await;
            sent.map_err(|error| FailedCall::of(&error).during("s3:PutObject"))
        });
        sent.await.map(drop).map_err(FetchError::of)
    }

    /// Deletes an object; one that is not there is no error. The SDK retries temporary failures.
    ///
    /// # Errors
    ///
    /// See [`FetchError`].
    pub async fn delete(&self, bucket: &str, key: &str) -> Result<(), FetchError> {
        let sent = self.regions.follow(bucket, async |region| {
            let request = self.client.delete_object().bucket(bucket).key(key);
            let sent = sent_to(request.customize(), region).send().await;
            sent.map_err(|error| FailedCall::of(&error).during("s3:DeleteObject"))
        });
        sent.await.map(drop).map_err(FetchError::of)
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
}

/// Value of the header `Range`; both ends are inclusive.
fn byte_range(offset: u64, length: u64) -> String {
    let last = offset.saturating_add(length).saturating_sub(1);
    format!("bytes={offset}-{last}")
}

fn unsigned(size: Option<i64>) -> Option<u64> {
    size.and_then(|size| u64::try_from(size).ok())
}

/// The complete body, or why it is incomplete. Read in pieces into one buffer:
/// `AggregatedBytes::to_vec` copies byte by byte.
async fn body(mut answer: GetObjectOutput, stalled: Duration) -> Result<Vec<u8>, BodyError> {
    let promised = answer
        .content_length
        .and_then(|length| usize::try_from(length).ok());
    let mut bytes = Vec::with_capacity(promised.unwrap_or_default());
    while let Some(piece) = tokio::time::timeout(stalled, answer.body.next())
        .await
        .map_err(|_| BodyError::Stalled(stalled))?
    {
        bytes.extend_from_slice(&piece.map_err(BodyError::Broken)?);
    }
    match promised {
        // A connection that is closed early ends the stream like a complete body does.
        Some(promised) if promised != bytes.len() => Err(BodyError::Short {
            found: bytes.len(),
            promised,
        }),
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::primitives::ByteStream;

    fn failed(status: u16, retry: bool, message: &str) -> FailedCall {
        let cause = match status {
            404 => FailureCause::NoObject,
            _ => FailureCause::Other,
        };
        FailedCall {
            status: Some(status),
            retry,
            cause,
            ..FailedCall::interrupted(message.to_owned())
        }
    }

    fn answer(body: ByteStream, promised: i64) -> GetObjectOutput {
        GetObjectOutput::builder()
            .body(body)
            .content_length(promised)
            .build()
    }

    fn read(answer: GetObjectOutput) -> Result<Vec<u8>, BodyError> {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(body(answer, Duration::from_millis(20)))
    }

    #[test]
    fn a_body_that_is_too_short_is_not_taken() {
        let whole = answer(ByteStream::from_static(b"abc"), 3);
        assert_eq!(read(whole).unwrap(), b"abc");
        let short = answer(ByteStream::from_static(b"abc"), 4);
        let why = read(short).unwrap_err();
        assert_eq!(
            why.to_string(),
            "the download was interrupted after 3 of 4 bytes"
        );
        let problems_of = GetObjectOutput::builder()
            .body(ByteStream::from_static(b"abc"))
            .build();
        assert_eq!(read(problems_of).unwrap(), b"abc");
    }

    #[test]
    fn an_object_that_was_written_again_is_read_as_it_is_now() {
        let changed = || failed(412, false, "PreconditionFailed");
        assert!(matches!(
            EmptyBodyAction::after(changed(), true, false),
            EmptyBodyAction::Unpinned
        ));
        assert!(matches!(
            EmptyBodyAction::after(changed(), true, true),
            EmptyBodyAction::GiveUp(_)
        ));
        assert!(matches!(
            EmptyBodyAction::after(changed(), false, false),
            EmptyBodyAction::GiveUp(_)
        ));
    }

    #[test]
    fn failures_say_what_the_caller_can_do() {
        let kind =
            |status, retry| match EmptyBodyAction::after(failed(status, retry, "why"), true, false)
            {
                EmptyBodyAction::Unpinned => "unpinned",
                EmptyBodyAction::Again(_) => "again",
                EmptyBodyAction::GiveUp(FetchError::Missing(_)) => "missing",
                EmptyBodyAction::GiveUp(_) => "failed",
            };
        assert_eq!(kind(503, true), "again");
        assert_eq!(kind(404, false), "missing");
        assert_eq!(kind(403, false), "failed");
        assert_eq!(kind(400, false), "failed");
    }

    #[test]
    fn what_is_about_one_object_is_not_about_s3_itself() {
        let of = |cause: FailureCause, status, retry| {
            let call = FailedCall {
                cause,
                ..failed(status, retry, "why")
            };
            let error = FetchError::of(call);
            (error.is_of_object(), error.may_pass())
        };
        assert_eq!(of(FailureCause::NoObject, 404, false), (true, false));
        assert_eq!(of(FailureCause::Archived, 403, false), (true, false));
        assert_eq!(of(FailureCause::Denied, 403, false), (true, false));
        // A key that is disabled.
        assert_eq!(of(FailureCause::Other, 400, false), (true, false));
        assert_eq!(of(FailureCause::Other, 503, true), (false, true));
        assert_eq!(of(FailureCause::NoBucket, 404, false), (false, false));
        assert_eq!(of(FailureCause::Expired, 400, false), (false, true));
        assert_eq!(of(FailureCause::InvalidKey, 403, false), (false, false));
        let large = FetchError::TooLarge { size: 9, limit: 1 };
        assert!(large.is_of_object() && !large.may_pass());
    }

    #[test]
    fn a_piece_is_asked_for_by_its_first_and_last_byte() {
        assert_eq!(byte_range(0, 10), "bytes=0-9");
        assert_eq!(byte_range(10, 1), "bytes=10-10");
    }
}
