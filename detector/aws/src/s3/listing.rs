//! Listings: page by page, all pages of a prefix, or folder by folder.

use aws_sdk_s3::{
    operation::list_objects_v2::ListObjectsV2Output,
    types::{Object, ObjectStorageClass, OptionalObjectAttributes},
};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{FetchError, S3Source, regions::sent_to, unsigned};
use crate::retry::FailedCall;

/// Folders that are listed at the same time.
const LISTINGS: usize = 16;

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Key of the object.
    pub key: String,
    /// ETag, without quotes.
    pub etag: String,
    /// Size in bytes.
    pub size: u64,
    /// Storage class of the archive from which it must be restored first, as in `DEEP_ARCHIVE`;
    /// `None` if it can be read. Archive tiers of Intelligent-Tiering are not in listings.
    pub archived: Option<String>,
}

/// A page of a listing that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct ListingPage<'a> {
    /// Name of the bucket.
    pub bucket: &'a str,
    /// What all keys start with.
    pub prefix: &'a str,
    /// Keys with this text after the prefix are summed up as folders; `None` for all keys.
    pub delimiter: Option<&'a str>,
    /// Only keys after this one; `None` for all.
    pub start_after: Option<&'a str>,
    /// What the page before named as next; `None` for the first page.
    pub token: Option<&'a str>,
}

/// The content of a page.
#[derive(Debug, Default)]
pub struct ListedPage {
    /// Objects, sorted by key.
    pub objects: Vec<ListedObject>,
    /// Prefixes up to and including the delimiter.
    pub folders: Vec<String>,
    /// The token of the next page; `None` for the last.
    pub next: Option<String>,
}

impl S3Source {
    /// The objects with a prefix, sorted by key.
    ///
    /// # Errors
    ///
    /// The listing failed; the message says why.
    pub async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<ListedObject>, FetchError> {
        let folder = ListingScope {
            bucket,
            prefix,
            delimiter: None,
        };
        self.page_through(folder)
            .await
            .map(|listing| listing.objects)
    }

    /// The objects below a prefix, sorted by key. Lists folder by folder, and only folders for
    /// which `opens` is true, so that a week of five years costs a week.
    ///
    /// # Errors
    ///
    /// A listing failed; the message says why.
    pub async fn list_below(
        &self,
        bucket: &str,
        prefix: &str,
        opens: impl Fn(&str) -> bool,
    ) -> Result<Vec<ListedObject>, FetchError> {
        let mut found = Vec::new();
        let mut folders = vec![prefix.to_owned()];
        // Level by level, so that the folders of a level are listed at the same time.
        while !folders.is_empty() {
            let level: Vec<ListingPages> = stream::iter(folders)
                .map(|folder| self.list_folder(bucket, folder))
                .buffer_unordered(LISTINGS)
                .try_collect()
                .await?;
            folders = Vec::new();
            for listing in level {
                found.extend(listing.objects);
                folders.extend(listing.folders.into_iter().filter(|folder| opens(folder)));
            }
        }
        // Folders of a level were listed in any order.
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    async fn list_folder(&self, bucket: &str, prefix: String) -> Result<ListingPages, FetchError> {
        self.page_through(ListingScope {
            bucket,
            prefix: &prefix,
            delimiter: Some("/"),
        })
        .await
    }

    async fn page_through(&self, folder: ListingScope<'_>) -> Result<ListingPages, FetchError> {
        let mut listing = ListingPages::default();
        let mut token = None;
        loop {
            let asked = ListingPage {
                bucket: folder.bucket,
                prefix: folder.prefix,
                delimiter: folder.delimiter,
                start_after: None,
                token: token.as_deref(),
            };
            let page = self.page(&asked).await?;
            token = listing.add(page);
            if token.is_none() {
                return Ok(listing);
            }
        }
    }

    /// One page of a listing.
    ///
    /// # Errors
    ///
    /// The listing failed; the message says why.
    pub async fn list_page(&self, asked: &ListingPage<'_>) -> Result<ListedPage, FetchError> {
        let mut listing = ListingPages::default();
        let next = listing.add(self.page(asked).await?);
        Ok(ListedPage {
            objects: listing.objects,
            folders: listing.folders,
            next,
        })
    }

    async fn page(&self, asked: &ListingPage<'_>) -> Result<ListObjectsV2Output, FetchError> {
        let request = self
            .client
            .list_objects_v2()
            .bucket(asked.bucket)
            .prefix(asked.prefix)
            .set_delimiter(asked.delimiter.map(str::to_owned))
            .set_start_after(asked.start_after.map(str::to_owned))
            .set_request_payer(self.payer.clone())
            // Archived objects that were restored can be read.
            .optional_object_attributes(OptionalObjectAttributes::RestoreStatus)
            .set_continuation_token(asked.token.map(str::to_owned));
        let sent = self.regions.follow(asked.bucket, async |region| {
            let sent = sent_to(request.clone().customize(), region).send().await;
            sent.map_err(|error| FailedCall::of(&error).during("s3:ListBucket"))
        });
        sent.await.map_err(FetchError::of)
    }
}

/// What is listed: everything with a prefix, or what is between it and the next delimiter.
#[derive(Debug, Clone, Copy)]
struct ListingScope<'a> {
    bucket: &'a str,
    prefix: &'a str,
    delimiter: Option<&'a str>,
}

/// The content of the pages of a listing.
#[derive(Debug, Default)]
struct ListingPages {
    objects: Vec<ListedObject>,
    /// Prefixes up to and including the delimiter.
    folders: Vec<String>,
}

impl ListingPages {
    /// Adds a page, and returns the token of the next one.
    fn add(&mut self, page: ListObjectsV2Output) -> Option<String> {
        let objects = page.contents.unwrap_or_default();
        self.objects
            .extend(objects.into_iter().filter_map(ListedObject::of));
        let folders = page.common_prefixes.unwrap_or_default();
        self.folders
            .extend(folders.into_iter().filter_map(|folder| folder.prefix));
        page.next_continuation_token
    }
}

impl ListedObject {
    /// `None` for an object without a key, which could not be read.
    fn of(object: Object) -> Option<Self> {
        let archived = archived(&object);
        let etag = object.e_tag.unwrap_or_default();
        Some(Self {
            archived,
            key: object.key?,
            etag: etag.trim_matches('"').to_owned(),
            size: unsigned(object.size).unwrap_or(0),
        })
    }
}

/// The archive of an object that cannot be read now. A restored copy has an expiry; while it is
/// being restored there is none.
fn archived(object: &Object) -> Option<String> {
    let restored = object.restore_status.as_ref();
    let is_restored = restored.is_some_and(|status| status.restore_expiry_date.is_some());
    match &object.storage_class {
        Some(class @ (ObjectStorageClass::Glacier | ObjectStorageClass::DeepArchive))
            if !is_restored =>
        {
            Some(class.as_str().to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::{
        primitives::DateTime,
        types::{CommonPrefix, RestoreStatus},
    };

    use super::*;

    #[test]
    fn pages_are_put_together_until_there_is_no_token() {
        let object = |key: &str, etag: &str| Object::builder().key(key).e_tag(etag).size(7).build();
        let page = ListObjectsV2Output::builder()
            .contents(object("a/1", "\"e1\""))
            .contents(Object::builder().size(1).build())
            .common_prefixes(CommonPrefix::builder().prefix("a/b/").build())
            .next_continuation_token("more")
            .build();
        let mut listing = ListingPages::default();
        assert_eq!(listing.add(page).as_deref(), Some("more"));
        let last = ListObjectsV2Output::builder()
            .contents(object("a/2", "e2"))
            .contents(Object::builder().key("a/3").size(-1).build())
            .build();
        assert_eq!(listing.add(last), None);
        let objects: Vec<(&str, &str, u64)> = listing
            .objects
            .iter()
            .map(|object| (&*object.key, &*object.etag, object.size))
            .collect();
        assert_eq!(
            objects,
            [("a/1", "e1", 7), ("a/2", "e2", 7), ("a/3", "", 0)]
        );
        assert_eq!(listing.folders, ["a/b/"]);
    }

    #[test]
    fn an_archived_object_can_be_read_once_it_is_restored() {
        let object = |class| Object::builder().key("k").storage_class(class);
        let of = |object: Object| ListedObject::of(object).unwrap().archived;
        assert_eq!(of(object(ObjectStorageClass::Standard).build()), None);
        // Instant retrieval is an archive only by its price.
        assert_eq!(of(object(ObjectStorageClass::GlacierIr).build()), None);
        let deep = object(ObjectStorageClass::DeepArchive);
        assert_eq!(of(deep.clone().build()).as_deref(), Some("DEEP_ARCHIVE"));
        let restoring = RestoreStatus::builder().is_restore_in_progress(true);
        let wait = deep.clone().restore_status(restoring.build()).build();
        assert!(of(wait).is_some());
        let until = RestoreStatus::builder().restore_expiry_date(DateTime::from_secs(1));
        assert_eq!(of(deep.restore_status(until.build()).build()), None);
    }
}
