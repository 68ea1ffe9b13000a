//! The object store of a run: S3 with the feature `s3`, otherwise none.

use std::sync::Arc;

use super::{
    aws::Connection,
    store::{NoObjectStore, ObjectStore},
};
use crate::args::AwsArgs;

/// S3 through a connection; without one, a store that fails every call.
#[must_use]
#[cfg_attr(
    not(feature = "s3"),
    expect(
        unused_variables,
        reason = "options of S3, which this build does not support"
    )
)]
pub fn store(connection: Option<&Arc<Connection>>, aws: &AwsArgs) -> Box<dyn ObjectStore> {
    match connection {
        #[cfg(feature = "s3")]
        Some(connection) => Box::new(with_sdk::S3Store::new(Arc::clone(connection), aws)),
        #[cfg(not(feature = "s3"))]
        Some(connection) => match **connection {},
        None => Box::new(NoObjectStore),
    }
}

#[cfg(feature = "s3")]
mod with_sdk {
    use aws_config::Region;
    use aws_sdk_s3::config::Builder;
    use secretrail_aws::{
        retry::RetryPolicy,
        s3::{FetchError, ListedObject, ListingPage, ObjectRef, S3Source},
    };

    use super::{Arc, AwsArgs, Connection};
    use crate::input::{
        aws::{GLOBAL_REGION, explained},
        store::{
            FetchedBytes, FolderPredicate, ListedItem, ListedPage, ObjectStore, PageRequest,
            RemoteObject, StoreError,
        },
    };

    /// Largest object to read, in bytes: CloudTrail writes at most 50 MB, but other tools join
    /// files.
    const MAX_OBJECT_BYTES: u64 = 1024 * 1024 * 1024;

    /// Metadata key of a digest's signature, set by CloudTrail.
    const SIGNATURE: &str = "signature";

    /// Reads and writes objects in S3.
    pub(super) struct S3Store {
        connection: Arc<Connection>,
        source: S3Source,
    }

    impl S3Store {
        /// A client; makes no calls yet.
        #[must_use]
        pub(super) fn new(connection: Arc<Connection>, aws: &AwsArgs) -> Self {
            let config = connection.config();
            // Emulators and private endpoints do not support virtual-hosted buckets.
            let by_path = config.endpoint_url().is_some();
            // Without a region, that of the global endpoint; buckets elsewhere answer with their
            // own.
            let region = config
                .region()
                .cloned()
                .unwrap_or(Region::from_static(GLOBAL_REGION));
            let of_s3 = Builder::from(config)
                .force_path_style(by_path)
                .region(region);
            let source = S3Source::new(of_s3, RetryPolicy::default(), MAX_OBJECT_BYTES);
            let source = if aws.requester_pays {
                source.paying()
            } else {
                source
            };
            Self { connection, source }
        }
    }

    impl ObjectStore for S3Store {
        fn list(
            &self,
            bucket: &str,
            prefix: &str,
            opens: Option<&FolderPredicate<'_>>,
        ) -> Result<Vec<RemoteObject>, StoreError> {
            let listed = match opens {
                Some(opens) => {
                    let below = self.source.list_below(bucket, prefix, opens);
                    self.connection.wait(below)
                }
                None => self.connection.wait(self.source.list(bucket, prefix)),
            };
            let listed = listed.map_err(call)?;
            Ok(listed
                .into_iter()
                .map(|object| remote(bucket, object))
                .collect())
        }

        fn page(&self, request: &PageRequest<'_>) -> Result<ListedPage, StoreError> {
            let asked = ListingPage {
                bucket: request.bucket,
                prefix: request.prefix,
                delimiter: request.by_folder.then_some("/"),
                start_after: request.start_after,
                token: request.token,
            };
            let listed = self.connection.wait(self.source.list_page(&asked));
            let listed = listed.map_err(call)?;
            let objects = listed.objects.into_iter().map(|mut object| ListedItem {
                archived: object.archived.take(),
                item: remote(request.bucket, object),
            });
            Ok(ListedPage {
                objects: objects.collect(),
                folders: listed.folders,
                next: listed.next,
            })
        }

        fn fetch(&self, object: &RemoteObject) -> Result<FetchedBytes, StoreError> {
            let fetched = self.source.fetch_with_metadata(version(object));
            let (bytes, mut metadata) = self.connection.wait(fetched).map_err(call)?;
            Ok(FetchedBytes {
                bytes,
                signature: metadata.remove(SIGNATURE),
            })
        }

        fn piece(
            &self,
            object: &RemoteObject,
            offset: u64,
            length: u64,
        ) -> Result<Vec<u8>, StoreError> {
            let fetched = self.source.fetch_piece(version(object), offset, length);
            self.connection.wait(fetched).map_err(call)
        }

        fn put(&self, bucket: &str, key: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
            let put = self.source.put(bucket, key, bytes);
            self.connection.wait(put).map_err(call)
        }

        fn delete(&self, bucket: &str, key: &str) -> Result<(), StoreError> {
            let deleted = self.source.delete(bucket, key);
            self.connection.wait(deleted).map_err(call)
        }
    }

    fn call(error: FetchError) -> StoreError {
        StoreError::Call(match error {
            FetchError::Missing(failed) | FetchError::Failed(failed) => explained(&failed),
            FetchError::TooLarge { .. } => error.to_string(),
        })
    }

    fn remote(bucket: &str, listed: ListedObject) -> RemoteObject {
        RemoteObject {
            bucket: bucket.to_owned(),
            key: listed.key,
            etag: listed.etag,
            size: listed.size,
        }
    }

    /// The version of an object, as listed.
    fn version(object: &RemoteObject) -> ObjectRef<'_> {
        let RemoteObject {
            bucket,
            key,
            etag,
            size,
        } = object;
        // An empty ETag means the current version: manifests are read by name, without a listing.
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
