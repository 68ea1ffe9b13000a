//! The connection to AWS: configuration and runtime, shared by the clients of S3 and of the other
//! services. Without the feature `s3`, [`Connection`] is an empty enum: no connection can
//! exist.

use std::sync::Arc;

use super::store::StoreError;
use crate::{
    args::{AwsArgs, path::bucket_and_prefix, settings::RunSettings},
    host::RunFailure,
};

#[cfg(feature = "s3")]
mod credentials;
#[cfg(feature = "s3")]
mod failure;
#[cfg(feature = "s3")]
mod profiles;

#[cfg(feature = "s3")]
pub(crate) use self::failure::explained;
#[cfg(feature = "s3")]
pub(crate) use self::with_sdk::CREDENTIALS_TIMEOUT;
#[cfg(feature = "s3")]
pub use self::with_sdk::Connection;
#[cfg(not(feature = "s3"))]
pub use self::without_sdk::NoConnection as Connection;

/// Region of the global endpoints, for calls without a region.
#[cfg(feature = "s3")]
pub(crate) const GLOBAL_REGION: &str = "us-east-1";

/// The connection of a run; `None` if no path is in S3 and the command does not need one.
///
/// # Errors
///
/// [`RunFailure::Input`]: this build does not support S3, or the runtime could not be started.
pub fn connect(
    settings: &RunSettings,
    needed: bool,
) -> Result<Option<Arc<Connection>>, RunFailure> {
    let is_named = settings
        .paths
        .iter()
        .any(|path| bucket_and_prefix(path).is_some());
    if needed || is_named {
        connect_to(&settings.aws).map(Some)
    } else {
        Ok(None)
    }
}

/// A connection with the options of the command line.
///
/// # Errors
///
/// [`RunFailure::Input`]: this build does not support S3, or the runtime could not be started.
pub fn connect_to(aws: &AwsArgs) -> Result<Arc<Connection>, RunFailure> {
    let connection = Connection::new(aws).map_err(|error| RunFailure::Input(error.to_string()))?;
    Ok(Arc::new(connection))
}

#[cfg(feature = "s3")]
mod with_sdk {
    use std::time::Duration;

    use aws_config::{BehaviorVersion, Region, SdkConfig, identity::IdentityCache};
    use aws_credential_types::provider::SharedCredentialsProvider;
    use tokio::runtime::{Builder, Runtime};

    use super::{AwsArgs, StoreError, credentials::RunCredentials};

    /// Longest wait for credentials: a `credential_process` may ask for a touch of a key.
    pub(crate) const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(120);

    /// AWS configuration and the runtime of all calls.
    pub struct Connection {
        runtime: Runtime,
        config: SdkConfig,
    }

    impl Connection {
        /// Loads the AWS configuration; makes no calls to AWS services yet.
        ///
        /// # Errors
        ///
        /// [`StoreError::Runtime`]: the threads could not be started.
        pub fn new(aws: &AwsArgs) -> Result<Self, StoreError> {
            // Calls mostly wait for the network: two threads serve all readers.
            let runtime = Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .map_err(StoreError::Runtime)?;
            let config = runtime.block_on(load(aws));
            Ok(Self { runtime, config })
        }

        /// The configuration for service clients.
        pub(crate) fn config(&self) -> &SdkConfig {
            &self.config
        }

        /// Blocks until a call completes.
        pub(crate) fn wait<F: Future>(&self, call: F) -> F::Output {
            self.runtime.block_on(call)
        }
    }

    async fn load(aws: &AwsArgs) -> SdkConfig {
        let cache = IdentityCache::lazy().load_timeout(CREDENTIALS_TIMEOUT);
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .identity_cache(cache.build())
            // Replaced below by the run's own, whose errors name the profile and the remedy.
            .no_credentials();
        if let Some(profile) = &aws.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &aws.aws_region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(url) = &aws.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let config = loader.load().await;
        let credentials = RunCredentials::new(&config, aws.profile.as_deref()).await;
        config
            .into_builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build()
    }
}

#[cfg(not(feature = "s3"))]
mod without_sdk {
    use super::{AwsArgs, StoreError};

    /// An empty enum: this build has no connection.
    pub enum NoConnection {}

    impl NoConnection {
        /// Fails: this build does not support S3.
        ///
        /// # Errors
        ///
        /// [`StoreError::NotBuilt`], always.
        pub fn new(_: &AwsArgs) -> Result<Self, StoreError> {
            Err(StoreError::NotBuilt)
        }
    }
}
