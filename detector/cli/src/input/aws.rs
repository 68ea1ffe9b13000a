//! The connection to AWS: configuration and threads, shared by the clients of S3, Step Functions
//! and CloudTrail. In a build without the feature `s3` there is none, and the type says so: no
//! value of it can be made.

use std::sync::Arc;

use super::store::StoreError;
use crate::args::AwsArgs;
use crate::args::path::bucket_and_prefix;
use crate::args::settings::RunSettings;
use crate::host::RunFailure;

#[cfg(feature = "s3")]
pub use self::with_sdk::Connection;
#[cfg(not(feature = "s3"))]
pub use self::without_sdk::Connection;

/// The connection of a run: only where a path asks for one, or the command does anyway.
///
/// # Errors
///
/// [`Failure::Input`]: there is none to be had.
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

/// A connection by the options of the command line.
///
/// # Errors
///
/// [`Failure::Input`]: there is none to be had.
pub fn connect_to(aws: &AwsArgs) -> Result<Arc<Connection>, RunFailure> {
    let connection = Connection::new(aws).map_err(|error| RunFailure::Input(error.to_string()))?;
    Ok(Arc::new(connection))
}

#[cfg(feature = "s3")]
mod with_sdk {
    use aws_config::{BehaviorVersion, Region, SdkConfig};
    use tokio::runtime::{Builder, Runtime};

    use super::{AwsArgs, StoreError};

    /// A connection.
    pub struct Connection {
        runtime: Runtime,
        config: SdkConfig,
    }

    impl Connection {
        /// A connection by the AWS configuration. Nothing is called yet.
        ///
        /// # Errors
        ///
        /// [`StoreError::Runtime`].
        pub fn new(aws: &AwsArgs) -> Result<Self, StoreError> {
            // Calls mostly wait: two threads serve the many readers that block on them.
            let runtime = Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .map_err(StoreError::Runtime)?;
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
            Ok(Self { runtime, config })
        }

        /// The configuration for clients.
        pub(crate) fn config(&self) -> &SdkConfig {
            &self.config
        }

        /// Waits for a call.
        pub(crate) fn wait<F: Future>(&self, call: F) -> F::Output {
            self.runtime.block_on(call)
        }
    }
}

#[cfg(not(feature = "s3"))]
mod without_sdk {
    use super::{Aws, StoreError};

    /// A connection, of which there is none.
    pub enum Connection {}

    impl Connection {
        /// Says that this build has no S3.
        ///
        /// # Errors
        ///
        /// [`StoreError::NotBuilt`], always.
        pub fn new(_: &AwsArgs) -> Result<Self, StoreError> {
            Err(StoreError::NotBuilt)
        }
    }
}
