//! Buckets in other regions: S3 names the region of a bucket when a request was signed for another
//! one.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use aws_sdk_s3::{
    client::customize::CustomizableOperation,
    config::{Config, Region},
};

use crate::{cause::FailureCause, retry::FailedCall};

/// The regions of buckets, as far as S3 has named them.
#[derive(Debug, Default)]
pub(super) struct BucketRegions {
    known: Mutex<HashMap<String, String>>,
}

impl BucketRegions {
    /// Sends a request to a bucket, and once more to its region when that turns out to be another
    /// one. The request gets the region of the bucket; `None` where only that of the client is
    /// known.
    pub(super) async fn follow<T>(
        &self,
        bucket: &str,
        send: impl AsyncFn(Option<Region>) -> Result<T, FailedCall>,
    ) -> Result<T, FailedCall> {
        let before = self.region_of(bucket);
        let failed = match send(before.clone().map(Region::new)).await {
            Err(failed) => failed,
            sent => return sent,
        };
        match &failed.cause {
            FailureCause::OtherRegion(Some(region)) if before.as_ref() != Some(region) => {
                self.note(bucket, region);
                send(Some(Region::new(region.clone()))).await
            }
            _ => Err(failed),
        }
    }

    fn region_of(&self, bucket: &str) -> Option<String> {
        // The map is usable even after a panic.
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(bucket).cloned()
    }

    fn note(&self, bucket: &str, region: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(bucket.to_owned(), region.to_owned());
    }
}

/// A request that is sent to another region than that of its client. Settings of its own cost a
/// request time: it gets none without a region.
pub(super) fn sent_to<T, E, B>(
    request: CustomizableOperation<T, E, B>,
    region: Option<Region>,
) -> CustomizableOperation<T, E, B> {
    match region {
        Some(region) => request.config_override(Config::builder().region(region)),
        None => request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elsewhere(region: &str) -> FailedCall {
        FailedCall {
            cause: FailureCause::OtherRegion(Some(region.to_owned())),
            ..FailedCall::interrupted("wrong region".to_owned())
        }
    }

    /// Requests to a bucket in Ireland; returns the regions that they were sent to.
    async fn sent(regions: &BucketRegions, answers: &[&str]) -> (Vec<String>, bool) {
        let asked = Mutex::new(Vec::new());
        let answered = regions.follow("bucket", async |region| {
            let region = region.map(|region: Region| region.to_string());
            let mut asked = asked.lock().unwrap();
            asked.push(region.unwrap_or_default());
            match answers.get(asked.len() - 1) {
                Some(region) => Err(elsewhere(region)),
                None => Ok(()),
            }
        });
        let is_sent = answered.await.is_ok();
        (asked.into_inner().unwrap(), is_sent)
    }

    #[test]
    fn a_bucket_is_followed_to_its_region_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(followed());
    }

    async fn followed() {
        let regions = BucketRegions::default();
        let first = sent(&regions, &["eu-west-1"]).await;
        assert_eq!(first, (vec![String::new(), "eu-west-1".to_owned()], true));
        let second = sent(&regions, &[]).await;
        assert_eq!(second, (vec!["eu-west-1".to_owned()], true), "it is known");
        let (asked, is_sent) = sent(&regions, &["eu-west-1"]).await;
        assert_eq!((asked.len(), is_sent), (1, false), "it says the same again");
        let (asked, is_sent) = sent(&regions, &["us-east-1", "eu-west-1"]).await;
        assert_eq!((asked.len(), is_sent), (2, false), "no ping-pong");
    }
}
