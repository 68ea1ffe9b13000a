//! Digest files as CloudTrail writes them, and the keys that sign them.
//!
//! Source: AWS CloudTrail user guide, "Custom implementations of CloudTrail log file integrity validation".

use ahash::HashMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rsa::PublicKey;
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::pkcs1v15::{Signature, VerifyingKey};
use rsa::signature::Verifier;
use secretrail_engine::time::EventTime;
use serde::Deserialize;
use sha2::Sha256;

/// What a digest file says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DigestFile {
    /// `awsAccountId`.
    pub aws_account_id: String,
    /// `digestStartTime`, as it is written.
    pub digest_start_time: String,
    /// `digestEndTime`, as it is written: it is signed.
    pub digest_end_time: String,
    /// `digestS3Bucket`.
    pub digest_s3_bucket: String,
    /// `digestS3Object`: its own key.
    pub digest_s3_object: String,
    /// `digestPublicKeyFingerprint`: which key signs it.
    pub digest_public_key_fingerprint: String,
    /// `digestSignatureAlgorithm`.
    pub digest_signature_algorithm: String,
    /// `previousDigestS3Object`; `None` in a digest that starts a chain.
    pub previous_digest_s3_object: Option<String>,
    /// `previousDigestHashValue`, in hexadecimal digits.
    pub previous_digest_hash_value: Option<String>,
    /// `previousDigestSignature`, in hexadecimal digits.
    pub previous_digest_signature: Option<String>,
    /// `logFiles`; empty for an hour without any.
    pub log_files: Vec<LogFile>,
}

/// A log file in a digest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogFile {
    /// `s3Object`: its key.
    pub s3_object: String,
    /// `hashValue`: SHA-256 of its inflated bytes, in hexadecimal digits.
    pub hash_value: String,
}

impl DigestFile {
    /// What is signed: end time, place, hash of the inflated digest, and the signature before it, on four lines. Without
    /// a digest before it, the last is `null`.
    #[must_use]
    pub fn signed_text(&self, hash: &str) -> String {
        let Self {
            digest_end_time,
            digest_s3_bucket,
            digest_s3_object,
            previous_digest_signature,
            ..
        } = self;
        let previous = previous_digest_signature.as_deref().unwrap_or("null");
        format!("{digest_end_time}\n{digest_s3_bucket}/{digest_s3_object}\n{hash}\n{previous}")
    }

    /// The end of its hour.
    #[must_use]
    pub fn end(&self) -> Option<EventTime> {
        EventTime::parse(&self.digest_end_time)
    }

    /// The start of its hour.
    #[must_use]
    pub fn start(&self) -> Option<EventTime> {
        EventTime::parse(&self.digest_start_time)
    }
}

/// Public keys by their fingerprints.
#[derive(Debug, Default)]
pub struct Keys(HashMap<String, VerifyingKey<Sha256>>);

/// The answer of `ListPublicKeys`, as `aws cloudtrail list-public-keys` prints it.
#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "PublicKeyList")]
    keys: Vec<ListedKey>,
}

#[derive(Deserialize)]
struct ListedKey {
    /// PKCS #1 in DER, as base64.
    #[serde(rename = "Value")]
    value: String,
    #[serde(rename = "Fingerprint")]
    fingerprint: String,
}

impl Keys {
    /// Reads what `aws cloudtrail list-public-keys` printed.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let listed: Listed = serde_json::from_str(text).map_err(|error| {
            format!("is not what `aws cloudtrail list-public-keys` prints ({{\"PublicKeyList\": […]}}): {error}")
        })?;
        let mut keys = Self::default();
        for key in listed.keys {
            let der = STANDARD
                .decode(&key.value)
                .map_err(|error| format!("key {}: {error}", key.fingerprint))?;
            keys.add(&key.fingerprint, &der)?;
        }
        Ok(keys)
    }

    /// Adds a key: its fingerprint, and PKCS #1 in DER.
    ///
    /// # Errors
    ///
    /// It is not an RSA public key.
    pub fn add(&mut self, fingerprint: &str, der: &[u8]) -> Result<(), String> {
        let key = PublicKey::from_pkcs1_der(der)
            .map_err(|error| format!("key {fingerprint}: {error}"))?;
        self.0
            .insert(fingerprint.to_ascii_lowercase(), VerifyingKey::new(key));
        Ok(())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the key with this fingerprint made the signature; `None` when that key is not known.
    #[must_use]
    pub fn signed(&self, fingerprint: &str, text: &str, signature: &str) -> Option<bool> {
        let key = self.0.get(&fingerprint.to_ascii_lowercase())?;
        let signature =
            unhex(signature).and_then(|bytes| Signature::try_from(bytes.as_slice()).ok());
        Some(signature.is_some_and(|signature| key.verify(text.as_bytes(), &signature).is_ok()))
    }
}

/// Bytes of hexadecimal digits.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}
