//! The bucket of the trail: whom it notifies, and what was delivered last.

use std::sync::Arc;

use aws_config::Region;
use aws_sdk_s3::{
    Client,
    config::Builder,
    error::{ProvideErrorMetadata, SdkError},
    operation::get_bucket_notification_configuration::GetBucketNotificationConfigurationOutput,
    primitives::ByteStream,
    types::Event,
};
use secretrail_aws::{cause::FailureCause, retry::FailedCall};
use secretrail_engine::time::EventTime;

use crate::{aws_api::ApiError, input::aws::Connection};

/// A bucket. Its region is found out by the first call.
pub struct TrailBucket {
    connection: Arc<Connection>,
    client: Client,
    /// Name of the bucket.
    pub name: String,
}

/// Whom a bucket notifies of new objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BucketNotifications {
    /// Whether all events go to EventBridge.
    pub event_bridge: bool,
    /// Topics and queues that are notified of new objects, each with the prefix of their keys.
    pub targets: Vec<(String, String)>,
}

/// An object as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailObject {
    /// Key.
    pub key: String,
    /// When it was written.
    pub modified: EventTime,
    /// ETag without quotes.
    pub etag: String,
    /// Version id; `None` in buckets without versioning.
    pub version: Option<String>,
}

/// One page of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BucketListing {
    /// Folders: prefixes that end in a slash.
    pub folders: Vec<String>,
    /// Keys of objects, in order.
    pub keys: Vec<String>,
    /// Whether there are more.
    pub more: bool,
}

impl TrailBucket {
    /// A bucket; makes no calls yet.
    #[must_use]
    pub fn new(connection: Arc<Connection>, name: &str) -> Self {
        let client = client(&connection, None);
        Self {
            connection,
            client,
            name: name.to_owned(),
        }
    }

    /// Calls S3, and again in the region of the bucket if that is another one.
    fn call<T, E>(
        &mut self,
        action: &str,
        call: impl AsyncFn(&Client) -> Result<T, SdkError<E>>,
    ) -> Result<T, ApiError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let first = self.connection.wait(call(&self.client));
        let failed = match first {
            Ok(answer) => return Ok(answer),
            Err(error) => FailedCall::of(&error),
        };
        let FailureCause::OtherRegion(Some(region)) = &failed.cause else {
            return Err(ApiError::of(failed, action));
        };
        self.client = client(&self.connection, Some(region));
        let second = self.connection.wait(call(&self.client));
        second.map_err(|error| ApiError::of(FailedCall::of(&error), action))
    }

    /// Whom the bucket notifies.
    ///
    /// # Errors
    ///
    /// [`ApiError`]: it could not be read.
    pub fn notifications(&mut self) -> Result<BucketNotifications, ApiError> {
        let name = self.name.clone();
        let found = self.call("s3:GetBucketNotification", async |client: &Client| {
            let asked = client.get_bucket_notification_configuration();
            asked.bucket(&name).send().await
        })?;
        Ok(BucketNotifications {
            event_bridge: found.event_bridge_configuration().is_some(),
            targets: targets(&found),
        })
    }

    /// The first page of what lies below a prefix and after a key, with its folders apart.
    ///
    /// # Errors
    ///
    /// [`ApiError`]: it could not be listed.
    pub fn list(&mut self, prefix: &str, after: Option<&str>) -> Result<BucketListing, ApiError> {
        let name = self.name.clone();
        let found = self.call("s3:ListBucket", async |client: &Client| {
            let asked = client.list_objects_v2().bucket(&name).prefix(prefix);
            let after = after.map(str::to_owned);
            asked.delimiter("/").set_start_after(after).send().await
        })?;
        let folders = found.common_prefixes().iter();
        let folders = folders.filter_map(|folder| folder.prefix().map(str::to_owned));
        let keys = found.contents().iter();
        let keys = keys.filter_map(|object| object.key().map(str::to_owned));
        Ok(BucketListing {
            folders: folders.collect(),
            keys: keys.collect(),
            more: found.is_truncated().unwrap_or_default(),
        })
    }

    /// An object as it is now.
    ///
    /// # Errors
    ///
    /// [`ApiError`]: it could not be looked at.
    pub fn object(&mut self, key: &str) -> Result<TrailObject, ApiError> {
        let name = self.name.clone();
        let found = self.call("s3:GetObject", async |client: &Client| {
            client.head_object().bucket(&name).key(key).send().await
        })?;
        let modified = EventTime(found.last_modified().map_or(0, |time| time.secs()));
        Ok(described(key, modified, found.e_tag(), found.version_id()))
    }

    /// Writes an object.
    ///
    /// # Errors
    ///
    /// [`ApiError`]: it could not be written.
    pub fn put(
        &mut self,
        key: &str,
        bytes: &[u8],
        now: EventTime,
    ) -> Result<TrailObject, ApiError> {
        let name = self.name.clone();
        let put = self.call("s3:PutObject", async |client: &Client| {
            let body = ByteStream::from(bytes.to_vec());
            let asked = client.put_object().bucket(&name).key(key);
            asked.body(body).send().await
        })?;
        Ok(described(key, now, put.e_tag(), put.version_id()))
    }

    /// Deletes an object; with a version, that version and nothing else.
    ///
    /// # Errors
    ///
    /// [`ApiError`]: it could not be deleted.
    pub fn delete(&mut self, key: &str, version: Option<&str>) -> Result<(), ApiError> {
        let name = self.name.clone();
        let action = match version {
            Some(_) => "s3:DeleteObjectVersion",
            None => "s3:DeleteObject",
        };
        self.call(action, async |client: &Client| {
            let version = version.map(str::to_owned);
            let asked = client.delete_object().bucket(&name).key(key);
            asked.set_version_id(version).send().await
        })?;
        Ok(())
    }
}

fn described(
    key: &str,
    modified: EventTime,
    etag: Option<&str>,
    version: Option<&str>,
) -> TrailObject {
    // `null` is the version id of objects written without versioning.
    let version = version.filter(|version| *version != "null");
    TrailObject {
        key: key.to_owned(),
        modified,
        etag: etag.unwrap_or_default().trim_matches('"').to_owned(),
        version: version.map(str::to_owned),
    }
}

fn client(connection: &Connection, region: Option<&str>) -> Client {
    let config = connection.config();
    // Emulators and private endpoints do not support virtual-hosted buckets.
    let by_path = config.endpoint_url().is_some();
    let mut builder = Builder::from(config).force_path_style(by_path);
    if let Some(region) = region {
        builder = builder.region(Region::new(region.to_owned()));
    }
    Client::from_conf(builder.build())
}

/// The topics and queues that are notified of new objects.
fn targets(found: &GetBucketNotificationConfigurationOutput) -> Vec<(String, String)> {
    let topics = found.topic_configurations().iter();
    let topics = topics.map(|one| (one.topic_arn(), one.events(), one.filter()));
    let queues = found.queue_configurations().iter();
    let queues = queues.map(|one| (one.queue_arn(), one.events(), one.filter()));
    let new = topics
        .chain(queues)
        .filter(|(_, events, _)| creates(events));
    let targets = new.map(|(arn, _, filter)| {
        let rules = filter.and_then(|filter| filter.key());
        let mut rules = rules.map_or(&[][..], |key| key.filter_rules()).iter();
        let prefix = rules.find(|rule| {
            let name = rule.name().map(|name| name.as_str().to_ascii_lowercase());
            name.as_deref() == Some("prefix")
        });
        let prefix = prefix.and_then(|rule| rule.value()).unwrap_or_default();
        (arn.to_owned(), prefix.to_owned())
    });
    targets.collect()
}

/// Whether CloudTrail's way of writing, one `PutObject`, is among these events.
fn creates(events: &[Event]) -> bool {
    let mut names = events.iter().map(Event::as_str);
    names.any(|name| name == "s3:ObjectCreated:*" || name == "s3:ObjectCreated:Put")
}
