//! S3, behind the feature of that name: a runtime of its own, and calls that wait.

use crate::Failure;
use crate::args::Aws;
use crate::settings::Settings;
use crate::walk::{Opens, Remote, bucket_and_prefix};

#[cfg(feature = "s3")]
pub use self::with_sdk::Client;
#[cfg(not(feature = "s3"))]
pub use self::without_sdk::Client;

/// S3 as far as a run needs it: nothing where no path is there.
pub struct Reach(Option<Client>);

impl Reach {
    /// A client, if a path asks for one.
    ///
    /// # Errors
    ///
    /// [`Failure::Input`] when there is none to be had.
    pub fn new(settings: &Settings) -> Result<Self, Failure> {
        let is_needed = settings.paths.iter().any(|path| bucket_and_prefix(path).is_some());
        let client = is_needed.then(|| Client::new(&settings.aws)).transpose();
        client.map(Self).map_err(Failure::Input)
    }

    fn client(&self) -> Result<&Client, String> {
        self.0.as_ref().ok_or_else(|| "no path in S3 was named".to_owned())
    }

    /// See [`Client::list`].
    ///
    /// # Errors
    ///
    /// Why the bucket could not be listed.
    pub fn list(&self, bucket: &str, prefix: &str, opens: Option<&Opens<'_>>) -> Result<Vec<Remote>, String> {
        self.client()?.list(bucket, prefix, opens)
    }

    /// See [`Client::fetch`].
    ///
    /// # Errors
    ///
    /// Why it could not be read.
    pub fn fetch(&self, object: &Remote) -> Result<Vec<u8>, String> {
        self.client()?.fetch(object)
    }
}

#[cfg(feature = "s3")]
mod with_sdk {
    use aws_config::{BehaviorVersion, Region};
    use aws_sdk_s3::config::Builder;
    use secretrail_aws::retry::Retry;
    use secretrail_aws::s3::{ObjectRef, S3Source};
    use tokio::runtime::{Builder as RuntimeBuilder, Runtime};

    use super::{Aws, Opens, Remote};

    /// Bytes of the largest object that is read: CloudTrail writes 50 MB at most, other tools join files.
    const MAX_OBJECT_BYTES: u64 = 1024 * 1024 * 1024;

    /// Reads buckets.
    pub struct Client {
        runtime: Runtime,
        source: S3Source,
    }

    impl Client {
        /// A client by the AWS configuration. Nothing is called yet.
        ///
        /// # Errors
        ///
        /// There is no runtime to be had.
        pub fn new(aws: &Aws) -> Result<Self, String> {
            let runtime = RuntimeBuilder::new_multi_thread().worker_threads(2).enable_all().build();
            let runtime = runtime.map_err(|error| format!("no runtime for S3: {error}"))?;
            let mut loader = aws_config::defaults(BehaviorVersion::latest());
            if let Some(profile) = &aws.profile {
                loader = loader.profile_name(profile);
            }
            if let Some(region) = &aws.aws_region {
                loader = loader.region(Region::new(region.clone()));
            }
            if let Some(url) = &aws.endpoint_url {
                loader = loader.endpoint_url(url);
            }
            let config = runtime.block_on(loader.load());
            // Stand-ins and private endpoints have no host for each bucket.
            let by_path = config.endpoint_url().is_some();
            // Without any region, that of the global endpoint; a bucket elsewhere answers where it is.
            let region = config.region().cloned().unwrap_or(Region::from_static("us-east-1"));
            let config = Builder::from(&config).force_path_style(by_path).region(region).build();
            let source = S3Source::new(aws_sdk_s3::Client::from_conf(config), Retry::default(), MAX_OBJECT_BYTES);
            Ok(Self { runtime, source: if aws.requester_pays { source.paying() } else { source } })
        }

        /// The objects below a prefix, without folders that are not to be opened, or all at once.
        ///
        /// # Errors
        ///
        /// Why the bucket could not be listed.
        pub fn list(&self, bucket: &str, prefix: &str, opens: Option<&Opens<'_>>) -> Result<Vec<Remote>, String> {
            let listed = match opens {
                Some(opens) => self.runtime.block_on(self.source.list_below(bucket, prefix, opens)),
                None => self.runtime.block_on(self.source.list(bucket, prefix)),
            };
            let remote = |listed: secretrail_aws::s3::Listed| Remote {
                bucket: bucket.to_owned(),
                key: listed.key,
                etag: listed.etag,
                size: listed.size,
            };
            Ok(listed.map_err(|error| error.to_string())?.into_iter().map(remote).collect())
        }

        /// The bytes of an object, as it was listed.
        ///
        /// # Errors
        ///
        /// Why it could not be read.
        pub fn fetch(&self, object: &Remote) -> Result<Vec<u8>, String> {
            let Remote { bucket, key, etag, size } = object;
            let etag = Some(etag.as_str()).filter(|etag| !etag.is_empty());
            let place = ObjectRef { bucket, key, version_id: None, etag, size: Some(*size) };
            self.runtime.block_on(self.source.fetch(place)).map_err(|error| error.to_string())
        }
    }
}

#[cfg(not(feature = "s3"))]
mod without_sdk {
    use super::{Aws, Opens, Remote};

    /// Says that there is no S3 in this build.
    pub struct Client;

    const MISSING: &str = "this build has no S3; install it with the feature `s3`, or copy the objects to a folder";

    impl Client {
        /// A client that reads nothing.
        ///
        /// # Errors
        ///
        /// Always.
        pub fn new(_: &Aws) -> Result<Self, String> {
            Err(MISSING.to_owned())
        }

        /// Never called.
        ///
        /// # Errors
        ///
        /// Always.
        pub fn list(&self, _: &str, _: &str, _: Option<&Opens<'_>>) -> Result<Vec<Remote>, String> {
            Err(MISSING.to_owned())
        }

        /// Never called.
        ///
        /// # Errors
        ///
        /// Always.
        pub fn fetch(&self, _: &Remote) -> Result<Vec<u8>, String> {
            Err(MISSING.to_owned())
        }
    }
}
