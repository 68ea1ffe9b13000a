//! S3, behind the feature of that name: a runtime of its own, and calls that wait.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use secretrail_engine::time::EventTime;

use crate::Failure;
use crate::args::Aws;
use crate::fleet::job;
use crate::fleet::progress::Progress;
use crate::settings::Settings;
use crate::walk::{self, Objects, Opens, Place, Remote, bucket_and_prefix};

#[cfg(feature = "s3")]
pub use self::with_sdk::Client;
#[cfg(not(feature = "s3"))]
pub use self::without_sdk::Client;

/// Fingerprint and PKCS #1 in DER.
pub type PublicKey = (String, Vec<u8>);

/// A folder in S3 that a command writes to.
pub struct Prefix {
    /// Bucket.
    pub bucket: String,
    /// With its slash; empty for none.
    pub prefix: String,
}

impl Prefix {
    /// `s3://bucket/prefix/`, with or without the last slash; `None` for any other path.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let (bucket, mut prefix) = bucket_and_prefix(path)?;
        if !prefix.is_empty() && !prefix.ends_with('/') {
            prefix.push('/');
        }
        Some(Self { bucket, prefix })
    }

    /// The key of an object in it.
    #[must_use]
    pub fn key(&self, object: &str) -> String {
        format!("{}{object}", self.prefix)
    }

    /// The name of an object in it.
    #[must_use]
    pub fn name(&self, object: &str) -> String {
        format!("s3://{}/{}", self.bucket, self.key(object))
    }

    /// The objects in it, without its prefix.
    ///
    /// # Errors
    ///
    /// [`Failure::Input`]: it could not be listed.
    pub fn there(&self, reach: &Reach) -> Result<BTreeSet<String>, Failure> {
        let listed = reach.list(&self.bucket, &self.prefix, None);
        let listed =
            listed.map_err(|error| Failure::Input(format!("{}: {error}", self.name(""))))?;
        Ok(listed
            .into_iter()
            .filter_map(|object| object.key.strip_prefix(&self.prefix).map(str::to_owned))
            .collect())
    }

    /// Writes an object into it.
    ///
    /// # Errors
    ///
    /// Why it could not be written.
    pub fn put(&self, reach: &Reach, object: &str, bytes: Vec<u8>) -> Result<(), String> {
        reach.put(&self.bucket, &self.key(object), bytes)
    }
}

/// S3 as far as a run needs it: nothing where no path is there.
pub struct Reach(Option<Client>);

impl Reach {
    /// A client, if a path asks for one, or anything else does.
    ///
    /// # Errors
    ///
    /// [`Failure::Input`] when there is none to be had.
    pub fn new(settings: &Settings, needed: bool) -> Result<Self, Failure> {
        let is_needed = needed
            || settings
                .paths
                .iter()
                .any(|path| bucket_and_prefix(path).is_some());
        let client = is_needed.then(|| Client::new(&settings.aws)).transpose();
        client.map(Self).map_err(Failure::Input)
    }

    /// A client for these settings.
    ///
    /// # Errors
    ///
    /// There is none to be had.
    pub fn to(aws: &Aws) -> Result<Self, String> {
        Client::new(aws).map(|client| Self(Some(client)))
    }

    /// See [`Client::start`].
    ///
    /// # Errors
    ///
    /// Why it could not be started.
    pub fn start(&self, machine: &str, name: &str, input: &str) -> Result<String, String> {
        self.client()?.start(machine, name, input)
    }

    /// See [`Client::execution`].
    ///
    /// # Errors
    ///
    /// Why it could not be looked up.
    pub fn execution(&self, arn: &str) -> Result<Option<Progress>, String> {
        self.client()?.execution(arn)
    }

    fn client(&self) -> Result<&Client, String> {
        self.0
            .as_ref()
            .ok_or_else(|| "no path in S3 was named".to_owned())
    }

    /// Finds the objects under the paths of a run: logs, and digests where they are asked for. What is missing of a job is
    /// among the problems.
    #[must_use]
    pub fn walk(&self, settings: &Settings, digests: bool) -> Objects {
        let list = |bucket: &str, prefix: &str, opens: Option<&Opens<'_>>| {
            self.list(bucket, prefix, opens)
        };
        let mut objects = walk::walk(&settings.paths, &settings.selection, &list, digests);
        job::check(&mut objects, self);
        objects
    }

    /// The bytes of an object as they are stored, and the signature of a digest where its metadata is at hand: in S3.
    ///
    /// # Errors
    ///
    /// Why it could not be read.
    pub fn bytes(&self, place: &Place) -> Result<(Vec<u8>, Option<String>), String> {
        match place {
            Place::File(path) => std::fs::read(path)
                .map(|bytes| (bytes, None))
                .map_err(|error| error.to_string()),
            Place::S3(remote) => self.client()?.fetch(remote),
            Place::Stdin => Err("standard input is read elsewhere".to_owned()),
        }
    }

    /// Some of the bytes of an object as they are stored, from an offset on; fewer at its end.
    ///
    /// # Errors
    ///
    /// Why they could not be read.
    pub fn piece(&self, place: &Place, offset: u64, length: u64) -> Result<Vec<u8>, String> {
        match place {
            Place::File(path) => {
                let read = || {
                    let mut file = File::open(path)?;
                    file.seek(SeekFrom::Start(offset))?;
                    let mut bytes = Vec::new();
                    file.take(length).read_to_end(&mut bytes).map(|_| bytes)
                };
                read().map_err(|error| error.to_string())
            }
            Place::S3(remote) => self.client()?.piece(remote, offset, length),
            Place::Stdin => Err("standard input is read elsewhere".to_owned()),
        }
    }

    /// See [`Client::list`].
    ///
    /// # Errors
    ///
    /// Why the bucket could not be listed.
    pub fn list(
        &self,
        bucket: &str,
        prefix: &str,
        opens: Option<&Opens<'_>>,
    ) -> Result<Vec<Remote>, String> {
        self.client()?.list(bucket, prefix, opens)
    }

    /// See [`Client::fetch`].
    ///
    /// # Errors
    ///
    /// Why it could not be read.
    pub fn fetch(&self, object: &Remote) -> Result<Vec<u8>, String> {
        self.client()?.fetch(object).map(|(bytes, _)| bytes)
    }

    /// See [`Client::put`].
    ///
    /// # Errors
    ///
    /// Why it could not be written.
    pub fn put(&self, bucket: &str, key: &str, bytes: Vec<u8>) -> Result<(), String> {
        self.client()?.put(bucket, key, bytes)
    }

    /// Whether there is a client.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// See [`Client::public_keys`].
    ///
    /// # Errors
    ///
    /// Why they could not be listed.
    pub fn public_keys(
        &self,
        region: &str,
        from: EventTime,
        to: EventTime,
    ) -> Result<Vec<PublicKey>, String> {
        self.client()?.public_keys(region, from, to)
    }
}

#[cfg(feature = "s3")]
mod with_sdk {
    use std::collections::HashMap;
    use std::sync::OnceLock;

    use aws_config::{BehaviorVersion, Region, SdkConfig};
    use aws_sdk_s3::config::Builder;
    use aws_sdk_s3::error::DisplayErrorContext;
    use aws_sdk_sfn::types::ExecutionStatus;
    use secretrail_aws::retry::Retry;
    use secretrail_aws::s3::{ObjectRef, S3Source};
    use tokio::runtime::{Builder as RuntimeBuilder, Runtime};

    use super::{Aws, EventTime, Opens, Progress, PublicKey, Remote};
    use crate::fleet::progress::State;

    /// Bytes of the largest object that is read: CloudTrail writes 50 MB at most, other tools join files.
    const MAX_OBJECT_BYTES: u64 = 1024 * 1024 * 1024;

    /// Reads buckets.
    pub struct Client {
        runtime: Runtime,
        source: S3Source,
        /// For a fleet only.
        machines: OnceLock<aws_sdk_sfn::Client>,
        config: SdkConfig,
    }

    impl Client {
        /// A client by the AWS configuration. Nothing is called yet.
        ///
        /// # Errors
        ///
        /// There is no runtime to be had.
        pub fn new(aws: &Aws) -> Result<Self, String> {
            let runtime = RuntimeBuilder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build();
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
            let region = config
                .region()
                .cloned()
                .unwrap_or(Region::from_static("us-east-1"));
            let of_s3 = Builder::from(&config)
                .force_path_style(by_path)
                .region(region);
            let source = S3Source::new(of_s3, Retry::default(), MAX_OBJECT_BYTES);
            let source = if aws.requester_pays {
                source.paying()
            } else {
                source
            };
            Ok(Self {
                runtime,
                source,
                machines: OnceLock::new(),
                config,
            })
        }

        /// The objects below a prefix, without folders that are not to be opened, or all at once.
        ///
        /// # Errors
        ///
        /// Why the bucket could not be listed.
        pub fn list(
            &self,
            bucket: &str,
            prefix: &str,
            opens: Option<&Opens<'_>>,
        ) -> Result<Vec<Remote>, String> {
            let listed = match opens {
                Some(opens) => self
                    .runtime
                    .block_on(self.source.list_below(bucket, prefix, opens)),
                None => self.runtime.block_on(self.source.list(bucket, prefix)),
            };
            let remote = |listed: secretrail_aws::s3::Listed| Remote {
                bucket: bucket.to_owned(),
                key: listed.key,
                etag: listed.etag,
                size: listed.size,
            };
            Ok(listed
                .map_err(|error| error.to_string())?
                .into_iter()
                .map(remote)
                .collect())
        }

        /// Some of the bytes of an object, as it was listed.
        ///
        /// # Errors
        ///
        /// Why they could not be read.
        pub fn piece(&self, object: &Remote, offset: u64, length: u64) -> Result<Vec<u8>, String> {
            let fetched =
                self.runtime
                    .block_on(self.source.fetch_piece(listed(object), offset, length));
            fetched.map_err(|error| error.to_string())
        }

        /// Writes an object.
        ///
        /// # Errors
        ///
        /// Why it could not be written.
        pub fn put(&self, bucket: &str, key: &str, bytes: Vec<u8>) -> Result<(), String> {
            self.runtime
                .block_on(self.source.put(bucket, key, bytes))
                .map_err(|error| error.to_string())
        }

        /// The keys that CloudTrail signs digests with in a region, between two times.
        ///
        /// # Errors
        ///
        /// Why they could not be listed.
        pub fn public_keys(
            &self,
            region: &str,
            from: EventTime,
            to: EventTime,
        ) -> Result<Vec<PublicKey>, String> {
            let config = aws_sdk_cloudtrail::config::Builder::from(&self.config)
                .region(Region::new(region.to_owned()));
            let client = aws_sdk_cloudtrail::Client::from_conf(config.build());
            let list = async {
                let time =
                    |time: EventTime| aws_sdk_cloudtrail::primitives::DateTime::from_secs(time.0);
                let pages = client
                    .list_public_keys()
                    .start_time(time(from))
                    .end_time(time(to))
                    .into_paginator();
                let keys = pages.items().send().try_collect().await;
                keys.map_err(|error| {
                    format!("cloudtrail:ListPublicKeys: {}", DisplayErrorContext(error))
                })
            };
            let key = |key: aws_sdk_cloudtrail::types::PublicKey| {
                Some((key.fingerprint?, key.value?.into_inner()))
            };
            Ok(self
                .runtime
                .block_on(list)?
                .into_iter()
                .filter_map(key)
                .collect())
        }

        fn machines(&self) -> &aws_sdk_sfn::Client {
            self.machines
                .get_or_init(|| aws_sdk_sfn::Client::new(&self.config))
        }

        /// Starts an execution of a state machine, and gives its ARN.
        ///
        /// # Errors
        ///
        /// Why it could not be started.
        pub fn start(&self, machine: &str, name: &str, input: &str) -> Result<String, String> {
            let started = self
                .machines()
                .start_execution()
                .state_machine_arn(machine)
                .name(name)
                .input(input)
                .send();
            let started = self.runtime.block_on(started);
            let started =
                started.map_err(|error| format!("{machine}: {}", DisplayErrorContext(error)))?;
            Ok(started.execution_arn)
        }

        /// How far an execution is; `None` when it is not known any more: Step Functions forgets executions 90 days after
        /// their end (AWS, "Quotas for state executions").
        ///
        /// # Errors
        ///
        /// Why it could not be looked up.
        pub fn execution(&self, arn: &str) -> Result<Option<Progress>, String> {
            let client = self.machines();
            let look = async {
                let told = match client.describe_execution().execution_arn(arn).send().await {
                    Ok(told) => told,
                    Err(error)
                        if error
                            .as_service_error()
                            .is_some_and(|e| e.is_execution_does_not_exist()) =>
                    {
                        return Ok(None);
                    }
                    Err(error) => return Err(format!("{arn}: {}", DisplayErrorContext(error))),
                };
                // An execution that has not come to its map has no run of it yet.
                let runs = client.list_map_runs().execution_arn(arn).send().await;
                let runs = runs
                    .map_err(|error| format!("{arn}: {}", DisplayErrorContext(error)))?
                    .map_runs;
                let counts = match runs.first() {
                    Some(run) => {
                        let run = client
                            .describe_map_run()
                            .map_run_arn(&run.map_run_arn)
                            .send()
                            .await;
                        run.map_err(|error| format!("{arn}: {}", DisplayErrorContext(error)))?
                            .item_counts
                    }
                    None => None,
                };
                Ok(Some((told, counts)))
            };
            let Some((told, counts)) = self.runtime.block_on(look)? else {
                return Ok(None);
            };
            let state = match told.status {
                ExecutionStatus::Running | ExecutionStatus::PendingRedrive => State::Runs,
                ExecutionStatus::Succeeded => State::Succeeded,
                _ => State::Failed,
            };
            let why: Vec<String> = [told.error, told.cause].into_iter().flatten().collect();
            let of = |count: Option<i64>| {
                count
                    .and_then(|count| u64::try_from(count).ok())
                    .unwrap_or(0)
            };
            let counts = counts.as_ref();
            Ok(Some(Progress {
                state,
                started: EventTime(told.start_date.secs()),
                done: of(counts.map(|counts| counts.succeeded)),
                failed: of(counts.map(|counts| counts.failed)),
                all: of(counts.map(|counts| counts.total)),
                why: (!why.is_empty()).then(|| why.join(": ")),
            }))
        }

        /// The bytes of an object, as it was listed, and the signature that CloudTrail put into its metadata.
        ///
        /// # Errors
        ///
        /// Why it could not be read.
        pub fn fetch(&self, object: &Remote) -> Result<(Vec<u8>, Option<String>), String> {
            let fetched = self
                .runtime
                .block_on(self.source.fetch_with_metadata(listed(object)));
            let signature = |mut metadata: HashMap<String, String>| metadata.remove("signature");
            fetched
                .map(|(bytes, metadata)| (bytes, signature(metadata)))
                .map_err(|error| error.to_string())
        }
    }

    /// The version of an object that was listed.
    fn listed(object: &Remote) -> ObjectRef<'_> {
        let Remote {
            bucket,
            key,
            etag,
            size,
        } = object;
        let etag = Some(etag.as_str()).filter(|etag| !etag.is_empty());
        ObjectRef {
            bucket,
            key,
            version_id: None,
            etag,
            size: Some(*size),
        }
    }
}

#[cfg(not(feature = "s3"))]
mod without_sdk {
    use super::{Aws, EventTime, Opens, Progress, PublicKey, Remote};

    /// Says that there is no S3 in this build.
    pub struct Client;

    const MISSING: &str =
        "this build has no S3; install it with the feature `s3`, or copy the objects to a folder";

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
        pub fn fetch(&self, _: &Remote) -> Result<(Vec<u8>, Option<String>), String> {
            Err(MISSING.to_owned())
        }

        /// Never called.
        ///
        /// # Errors
        ///
        /// Always.
        pub fn piece(&self, _: &Remote, _: u64, _: u64) -> Result<Vec<u8>, String> {
            Err(MISSING.to_owned())
        }

        /// Never called.
        ///
        /// # Errors
        ///
        /// Always.
        pub fn start(&self, _: &str, _: &str, _: &str) -> Result<String, String> {
            Err(MISSING.to_owned())
        }

        /// Never called.
        ///
        /// # Errors
        ///
        /// Always.
        pub fn execution(&self, _: &str) -> Result<Option<Progress>, String> {
            Err(MISSING.to_owned())
        }

        /// Never called.
        ///
        /// # Errors
        ///
        /// Always.
        pub fn put(&self, _: &str, _: &str, _: Vec<u8>) -> Result<(), String> {
            Err(MISSING.to_owned())
        }

        /// Never called.
        ///
        /// # Errors
        ///
        /// Always.
        pub fn public_keys(
            &self,
            _: &str,
            _: EventTime,
            _: EventTime,
        ) -> Result<Vec<PublicKey>, String> {
            Err(MISSING.to_owned())
        }
    }
}
