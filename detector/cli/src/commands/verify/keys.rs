//! Fetches the public keys of CloudTrail for the signatures of digests.

use std::{collections::BTreeMap, sync::Arc};

use secretrail_engine::time::EventTime;

use crate::{
    commands::verify::{
        digest::{PublicKeyError, PublicKeys},
        files::{self, ChainFiles},
    },
    input::{aws::Connection, object::InputProblem, store::StoreError},
};

#[cfg(feature = "s3")]
pub use self::with_aws::list_public_keys;
#[cfg(not(feature = "s3"))]
pub use self::without_aws::list_public_keys;

/// A public key listed by CloudTrail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailPublicKey {
    /// Fingerprint, as in `digestPublicKeyFingerprint`.
    pub fingerprint: String,
    /// The key: PKCS #1 in DER.
    pub der: Vec<u8>,
}

/// Why the keys of a region are not available.
#[derive(Debug, thiserror::Error)]
enum FetchKeysError {
    #[error("{0}")]
    NotListed(#[from] StoreError),
    #[error("{0}")]
    NotUsable(#[from] PublicKeyError),
}

/// Fetches the keys from CloudTrail in each region of the digests, with a problem for each region
/// that failed. Without a connection there are no keys.
pub(super) fn fetched_keys(
    evidence: &ChainFiles,
    connection: Option<&Arc<Connection>>,
    now: EventTime,
) -> (PublicKeys, Vec<InputProblem>) {
    let (mut keys, mut problems) = (PublicKeys::default(), Vec::new());
    let Some(connection) = connection else {
        return (keys, problems);
    };
    for (region, span) in spans(evidence, now) {
        // A region that fails does not affect the others.
        if let Err(error) = add_listed(connection, &region, span, &mut keys) {
            let message = format!(
                "{error}; save what `aws cloudtrail list-public-keys` prints and use --public-keys"
            );
            problems.push(InputProblem::new(
                format!("public keys of {region}"),
                message,
            ));
        }
    }
    (keys, problems)
}

/// Slack in seconds around the hours of the digests. CloudTrail signs up to an hour before or after
/// a digest ends, and lists keys by the time of their use; at a rotation twice that is needed.
const SLACK_SECS: i64 = 2 * 3_600;

/// Start of the first and end of the last digest of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DigestSpan {
    from: EventTime,
    to: EventTime,
}

/// The times at which the digests of each region may have been signed.
fn spans(evidence: &ChainFiles, now: EventTime) -> BTreeMap<String, DigestSpan> {
    let mut spans: BTreeMap<String, DigestSpan> = BTreeMap::new();
    for (key, read) in evidence.all_digests() {
        if let (Some((_, region)), Some(from), Some(to)) =
            (files::place(key), read.file.start(), read.file.end())
        {
            // What is written afterwards is signed days after its hours, when is not known.
            let is_late = key.ends_with(files::BACKFILL);
            let to = if is_late { to.max(now) } else { to };
            let (from, to) = (from.plus(-SLACK_SECS), to.plus(SLACK_SECS));
            let span = spans.entry(region).or_insert(DigestSpan { from, to });
            span.from = span.from.min(from);
            span.to = span.to.max(to);
        }
    }
    spans
}

fn add_listed(
    connection: &Arc<Connection>,
    region: &str,
    span: DigestSpan,
    keys: &mut PublicKeys,
) -> Result<(), FetchKeysError> {
    for key in list_public_keys(connection, region, span.from, span.to)? {
        keys.add(&key.fingerprint, &key.der)?;
    }
    Ok(())
}

#[cfg(feature = "s3")]
mod with_aws {
    use std::sync::Arc;

    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde_json::{Value, json};

    use super::{Connection, EventTime, StoreError, TrailPublicKey};
    use crate::aws_api::{AwsApi, CLOUDTRAIL};

    /// Lists the keys with which CloudTrail signed digests in a region between two times. Keys
    /// differ by region: it is that of the digests, not that of the configuration.
    ///
    /// # Errors
    ///
    /// [`StoreError::Call`]: why they could not be listed.
    pub fn list_public_keys(
        connection: &Arc<Connection>,
        region: &str,
        from: EventTime,
        to: EventTime,
    ) -> Result<Vec<TrailPublicKey>, StoreError> {
        let api = AwsApi::of_region(connection.clone(), region);
        let mut keys = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let mut input = json!({"StartTime": from.0, "EndTime": to.0});
            if let (Some(token), Some(input)) = (next, input.as_object_mut()) {
                input.insert("NextToken".to_owned(), token.into());
            }
            let page = api
                .json(&CLOUDTRAIL, "ListPublicKeys", &input)
                .map_err(|error| StoreError::Call(error.to_string()))?;
            let list = page.get("PublicKeyList").and_then(Value::as_array);
            keys.extend(list.into_iter().flatten().filter_map(public_key));
            next = text(&page, "NextToken").map(str::to_owned);
            if next.is_none() {
                return Ok(keys);
            }
        }
    }

    /// A listed key; `None` if it has no fingerprint or no value.
    fn public_key(listed: &Value) -> Option<TrailPublicKey> {
        Some(TrailPublicKey {
            fingerprint: text(listed, "Fingerprint")?.to_owned(),
            der: STANDARD.decode(text(listed, "Value")?).ok()?,
        })
    }

    fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
        value.get(name)?.as_str().filter(|text| !text.is_empty())
    }
}

#[cfg(not(feature = "s3"))]
mod without_aws {
    use std::sync::Arc;

    use super::{Connection, EventTime, StoreError, TrailPublicKey};

    /// Never called: without the feature `s3` there is no connection.
    ///
    /// # Errors
    ///
    /// Never returns.
    pub fn list_public_keys(
        connection: &Arc<Connection>,
        _: &str,
        _: EventTime,
        _: EventTime,
    ) -> Result<Vec<TrailPublicKey>, StoreError> {
        match **connection {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{digest_key, made};
    use super::*;

    #[test]
    fn keys_are_fetched_once_a_region_over_all_its_digests() {
        let mut evidence = ChainFiles::default();
        for hour in [3, 1, 7] {
            evidence
                .digests
                .insert(digest_key(hour), made(hour, None, &[]));
        }
        // A digest with invalid times does not add its region.
        let mut broken = made(2, None, &[]);
        broken.file.digest_start_time = "yesterday".to_owned();
        let elsewhere = digest_key(2).replace("eu-west-1", "sa-east-1");
        evidence.digests.insert(elsewhere, broken);
        let span = DigestSpan {
            from: EventTime::parse("2026-03-01T22:00:00Z").unwrap(),
            to: EventTime::parse("2026-03-02T09:00:00Z").unwrap(),
        };
        let now = EventTime::parse("2026-03-20T00:00:00Z").unwrap();
        let known = |evidence: &ChainFiles| spans(evidence, now);
        assert_eq!(known(&evidence), [("eu-west-1".to_owned(), span)].into());
        let backfill = digest_key(5).replace(".json.gz", files::BACKFILL);
        evidence.digests.insert(backfill, made(5, None, &[]));
        let span = DigestSpan {
            to: now.plus(SLACK_SECS),
            ..span
        };
        assert_eq!(known(&evidence), [("eu-west-1".to_owned(), span)].into());
    }
}
