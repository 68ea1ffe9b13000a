//! The public keys that CloudTrail signs digests with, as CloudTrail itself lists them.

use secretrail_engine::time::EventTime;

use crate::input::aws::Connection;
use crate::input::store::StoreError;

/// A public key of CloudTrail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Fingerprint, as digests name it.
    pub fingerprint: String,
    /// The key: PKCS #1 in DER.
    pub der: Vec<u8>,
}

/// The keys that CloudTrail signs digests with in a region, between two times.
///
/// # Errors
///
/// [`StoreError::Call`]: why they could not be listed.
#[cfg(feature = "s3")]
pub fn list_public_keys(
    connection: &Connection,
    region: &str,
    from: EventTime,
    to: EventTime,
) -> Result<Vec<PublicKey>, StoreError> {
    use aws_config::Region;
    use aws_sdk_cloudtrail::Client;
    use aws_sdk_cloudtrail::config::Builder;
    use aws_sdk_cloudtrail::error::DisplayErrorContext;
    use aws_sdk_cloudtrail::primitives::DateTime;

    // Each region has keys of its own, so the region of the digests decides, not that of the configuration.
    let config = Builder::from(connection.config()).region(Region::new(region.to_owned()));
    let pages = Client::from_conf(config.build())
        .list_public_keys()
        .start_time(DateTime::from_secs(from.0))
        .end_time(DateTime::from_secs(to.0))
        .into_paginator();
    let listed = connection.wait(async {
        let keys: Result<Vec<_>, _> = pages.items().send().try_collect().await;
        keys
    });
    let listed = listed.map_err(|error| {
        let error = DisplayErrorContext(error);
        StoreError::Call(format!("cloudtrail:ListPublicKeys: {error}"))
    })?;
    let mut keys = Vec::new();
    for key in listed {
        if let (Some(fingerprint), Some(value)) = (key.fingerprint, key.value) {
            let der = value.into_inner();
            keys.push(PublicKey { fingerprint, der });
        }
    }
    Ok(keys)
}

/// Never called: without the feature `s3` there is no connection.
///
/// # Errors
///
/// None.
#[cfg(not(feature = "s3"))]
pub fn list_public_keys(
    connection: &Connection,
    _: &str,
    _: EventTime,
    _: EventTime,
) -> Result<Vec<PublicKey>, StoreError> {
    match *connection {}
}
