//! Digest files of CloudTrail: each names the log files that were delivered in an hour of one
//! account and region.
//!
//! Source: AWS CloudTrail user guide, "CloudTrail digest file structure" and "Custom
//! implementations of CloudTrail log file integrity validation".

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::{
    inflate,
    object::{self, ObjectKind},
    time::EventTime,
};

/// Most bytes of a digest after it is inflated: the names of some 45,000 log files.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The content of a digest file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DigestFile {
    /// `awsAccountId`: 12 digits.
    pub aws_account_id: String,
    /// `digestStartTime`: RFC 3339, UTC, as written.
    pub digest_start_time: String,
    /// `digestEndTime`: RFC 3339, UTC, as written, because it is part of the signed text.
    pub digest_end_time: String,
    /// `digestS3Bucket`: the bucket to which it was delivered.
    pub digest_s3_bucket: String,
    /// `digestS3Object`: its own key.
    pub digest_s3_object: String,
    /// `digestPublicKeyFingerprint`: the key that signs it, in hexadecimal digits.
    pub digest_public_key_fingerprint: String,
    /// `digestSignatureAlgorithm`: `SHA256withRSA`.
    pub digest_signature_algorithm: String,
    /// `previousDigestS3Object`; `None` in a digest that starts a chain.
    pub previous_digest_s3_object: Option<String>,
    /// `previousDigestHashValue`, in hexadecimal digits.
    pub previous_digest_hash_value: Option<String>,
    /// `previousDigestSignature`, in hexadecimal digits.
    pub previous_digest_signature: Option<String>,
    /// `logFiles`; empty for an hour without log files.
    pub log_files: Vec<DigestLogFile>,
}

/// A log file in a digest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DigestLogFile {
    /// `s3Object`: its key.
    pub s3_object: String,
    /// `hashValue`: SHA-256 of its inflated bytes, in hexadecimal digits.
    pub hash_value: String,
}

/// Why bytes are no digest file.
#[derive(Debug, thiserror::Error)]
pub enum NotADigest {
    /// It is too large.
    #[error("the digest inflates to {MAX_BYTES} bytes or more")]
    TooLarge,
    /// The JSON is not that of a digest, or it is damaged.
    #[error("it is not a digest: {0}")]
    Json(#[from] serde_json::Error),
    /// A time of the digest is none.
    #[error("it is not a digest: `{0}` is not a time of RFC 3339")]
    Time(String),
}

impl DigestFile {
    /// Reads the JSON of a digest, without its compression.
    ///
    /// # Errors
    ///
    /// [`NotADigest::Json`]: it is not the JSON of a digest.
    pub fn of_text(text: &[u8]) -> Result<Self, NotADigest> {
        Ok(serde_json::from_slice(text)?)
    }

    /// Reads a digest as it is stored, compressed or not, and its times.
    ///
    /// # Errors
    ///
    /// [`NotADigest`]: it cannot be read, or says no hour.
    pub fn of_stored(bytes: &[u8]) -> Result<(Self, DigestHour), NotADigest> {
        let text = inflate::beginning(bytes, MAX_BYTES);
        if text.len() as u64 >= MAX_BYTES {
            return Err(NotADigest::TooLarge);
        }
        let file = Self::of_text(&text)?;
        let [start, end] = [
            (file.start(), &file.digest_start_time),
            (file.end(), &file.digest_end_time),
        ];
        let hour = DigestHour {
            start: start.0.ok_or_else(|| NotADigest::Time(start.1.clone()))?,
            end: end.0.ok_or_else(|| NotADigest::Time(end.1.clone()))?,
        };
        Ok((file, hour))
    }

    /// The text that is signed, in four lines: end time, bucket and key, hash of the inflated
    /// digest, signature of the previous digest. Without a previous digest, the last line is
    /// `null`.
    #[must_use]
    pub fn signed_text(&self, hash: &str) -> String {
        let Self {
            digest_end_time,
            digest_s3_bucket,
            digest_s3_object,
            previous_digest_signature,
            ..
        } = self;
        // As written: the same time or key in another notation would be another text.
        let previous = previous_digest_signature.as_deref().unwrap_or("null");
        format!("{digest_end_time}\n{digest_s3_bucket}/{digest_s3_object}\n{hash}\n{previous}")
    }

    /// End of its hour, in UTC; `None` if it is not a valid time.
    #[must_use]
    pub fn end(&self) -> Option<EventTime> {
        EventTime::parse(&self.digest_end_time)
    }

    /// Start of its hour, in UTC; `None` if it is not a valid time.
    #[must_use]
    pub fn start(&self) -> Option<EventTime> {
        EventTime::parse(&self.digest_start_time)
    }

    /// The keys of the files with events that it names, each once, in the tree of the digest's own
    /// key: there they are, also in a copy of the bucket. What belongs to another account or region
    /// is left out: whoever can put a digest into the bucket must not have other places read.
    #[must_use]
    pub fn log_keys(&self, digest_key: &str) -> BTreeSet<String> {
        let own = object::parse(digest_key);
        let tree = tree_key(digest_key);
        let prefix = digest_key.strip_suffix(tree).unwrap_or_default();
        let names = self.log_files.iter().map(|file| tree_key(&file.s3_object));
        let of_place = names.filter(|name| {
            let path = object::parse(name);
            let is_there = path.account == own.account && path.region == own.region;
            is_there && path.account.is_some() && path.kind == ObjectKind::Events
        });
        of_place.map(|name| format!("{prefix}{name}")).collect()
    }
}

/// The time that a digest is about: files that were delivered in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DigestHour {
    /// Its start, inclusive, in UTC. Digests begin at any minute of an hour.
    pub start: EventTime,
    /// Its end, exclusive, in UTC.
    pub end: EventTime,
}

/// The tree key of an object: its key from the last `AWSLogs/` on, the same in every copy of the
/// tree.
#[must_use]
pub fn tree_key(key: &str) -> &str {
    let at = if key.starts_with("AWSLogs/") {
        Some(0)
    } else {
        key.rfind("/AWSLogs/").map(|at| at + 1)
    };
    at.and_then(|at| key.get(at..)).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use serde_json::json;

    use super::*;

    const DIGEST: &str = "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/03/02/\
        111122223333_CloudTrail-Digest_eu-west-1_trail_eu-west-1_20260302T110130Z.json.gz";

    fn log(account: &str, kind: &str, region: &str) -> String {
        format!(
            "AWSLogs/{account}/{kind}/{region}/2026/03/02/\
             {account}_{kind}_{region}_20260302T1005Z_AbCdEfGh12345678.json.gz"
        )
    }

    fn text(start: &str, files: &[String]) -> String {
        let files = files
            .iter()
            .map(|key| json!({"s3Bucket": "b", "s3Object": key, "hashValue": "00"}));
        let digest = json!({"awsAccountId": "111122223333", "digestStartTime": start,
            "digestEndTime": "2026-03-02T11:01:30Z", "digestS3Bucket": "b",
            "digestS3Object": DIGEST, "digestPublicKeyFingerprint": "f",
            "digestSignatureAlgorithm": "SHA256withRSA", "newestEventTime": null,
            "oldestEventTime": null, "previousDigestS3Bucket": null,
            "previousDigestS3Object": null, "previousDigestHashValue": null,
            "previousDigestHashAlgorithm": null, "previousDigestSignature": null,
            "logFiles": files.collect::<Vec<_>>()});
        digest.to_string()
    }

    fn packed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_digest_names_the_files_of_its_own_account_and_region_in_its_own_tree() {
        let own = log("111122223333", "CloudTrail", "eu-west-1");
        let files = [
            own.clone(),
            own.clone(),
            format!("elsewhere/{own}").replace("AbCd", "Copy"),
            log("999999999999", "CloudTrail", "eu-west-1"),
            log("111122223333", "CloudTrail", "us-east-1"),
            log("111122223333", "CloudTrail-Insight", "eu-west-1"),
            "rules/secret.txt".to_owned(),
        ];
        let stored = packed(&text("2026-03-02T10:01:30Z", &files));
        let (file, hour) = DigestFile::of_stored(&stored).unwrap();
        let second = own.replace("AbCd", "Copy");
        let expected: BTreeSet<_> = [own.clone(), second.clone()].into();
        assert_eq!(file.log_keys(DIGEST), expected);
        let copied = [format!("copy/{own}"), format!("copy/{second}")];
        assert_eq!(file.log_keys(&format!("copy/{DIGEST}")), copied.into());
        assert!(file.log_keys("not-in-a-tree").is_empty());
        assert_eq!(hour.end.0 - hour.start.0, 3_600);
    }

    #[test]
    fn what_is_no_digest_says_why() {
        let says = |bytes: &[u8]| DigestFile::of_stored(bytes).unwrap_err().to_string();
        assert!(says(b"{}").starts_with("it is not a digest: missing field"));
        let whole = packed(&text("2026-03-02T10:01:30Z", &[]));
        assert!(says(&whole[..whole.len() / 2]).starts_with("it is not a digest"));
        let untimed = says(text("yesterday", &[]).as_bytes());
        assert!(untimed.contains("`yesterday` is not a time"), "{untimed}");
        let bomb = packed(&" ".repeat(usize::try_from(MAX_BYTES).unwrap()));
        assert!(says(&bomb).contains("inflates to"));
    }

    #[test]
    fn a_tree_key_excludes_what_precedes_the_tree() {
        let key = "AWSLogs/1/CloudTrail/x.json.gz";
        for copy in [key.to_owned(), format!("a/AWSLogs/b/{key}")] {
            assert_eq!(tree_key(&copy), key);
        }
        assert_eq!(tree_key("MyAWSLogs/x"), "MyAWSLogs/x");
    }
}
