//! The public keys that verify digest files of CloudTrail.
//!
//! Source: AWS CloudTrail user guide, "Custom implementations of CloudTrail log file integrity
//! validation".

use ahash::HashMap;
use base64::{Engine, engine::general_purpose::STANDARD};
use rsa::{
    PublicKey,
    pkcs1::{self, DecodeRsaPublicKey},
    pkcs1v15::{Signature, VerifyingKey},
    signature::Verifier,
};
use serde::Deserialize;
use sha2::Sha256;

/// Public keys by fingerprint.
#[derive(Debug, Default)]
pub struct PublicKeys(HashMap<String, VerifyingKey<Sha256>>);

/// The answer of `ListPublicKeys`, as `aws cloudtrail list-public-keys` prints it.
#[derive(Deserialize)]
struct ListedPublicKeys {
    #[serde(rename = "PublicKeyList")]
    keys: Vec<ListedPublicKey>,
}

#[derive(Deserialize)]
struct ListedPublicKey {
    /// PKCS #1 in DER, as base64.
    #[serde(rename = "Value")]
    value: String,
    #[serde(rename = "Fingerprint")]
    fingerprint: String,
}

/// Why a public key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PublicKeyError {
    /// The text is not the output of `aws cloudtrail list-public-keys`.
    #[error(
        "is not what `aws cloudtrail list-public-keys` prints ({{\"PublicKeyList\": […]}}): {0}"
    )]
    NotListed(serde_json::Error),
    /// The value of a key is not base64.
    #[error("key {fingerprint}: {error}")]
    NotBase64 {
        /// Fingerprint of the key.
        fingerprint: String,
        /// The error of the decoder.
        error: base64::DecodeError,
    },
    /// A key is not an RSA public key.
    #[error("key {fingerprint}: {error}")]
    NotRsa {
        /// Fingerprint of the key.
        fingerprint: String,
        /// The error of the parser.
        error: pkcs1::Error,
    },
}

impl PublicKeys {
    /// Parses the output of `aws cloudtrail list-public-keys`.
    ///
    /// # Errors
    ///
    /// [`PublicKeyError`]: the text or one of its keys is invalid.
    pub fn read(text: &str) -> Result<Self, PublicKeyError> {
        let listed: ListedPublicKeys =
            serde_json::from_str(text).map_err(PublicKeyError::NotListed)?;
        let mut keys = Self::default();
        for ListedPublicKey { value, fingerprint } in listed.keys {
            match STANDARD.decode(&value) {
                Ok(der) => keys.add(&fingerprint, &der)?,
                Err(error) => return Err(PublicKeyError::NotBase64 { fingerprint, error }),
            }
        }
        Ok(keys)
    }

    /// Adds a key by its fingerprint; `der` is PKCS #1.
    ///
    /// # Errors
    ///
    /// [`PublicKeyError::NotRsa`]: it is not an RSA public key.
    pub fn add(&mut self, fingerprint: &str, der: &[u8]) -> Result<(), PublicKeyError> {
        let key = PublicKey::from_pkcs1_der(der).map_err(|error| PublicKeyError::NotRsa {
            fingerprint: fingerprint.to_owned(),
            error,
        })?;
        // Digests and key listings may use different case for hexadecimal digits.
        self.0
            .insert(fingerprint.to_ascii_lowercase(), VerifyingKey::new(key));
        Ok(())
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the key with this fingerprint is known.
    #[must_use]
    pub fn has(&self, fingerprint: &str) -> bool {
        self.0.contains_key(&fingerprint.to_ascii_lowercase())
    }

    /// Whether the key with this fingerprint made the signature; `None` if the key is unknown.
    #[must_use]
    pub fn signed(&self, fingerprint: &str, text: &str, signature: &str) -> Option<bool> {
        let key = self.0.get(&fingerprint.to_ascii_lowercase())?;
        // Text that is not a signature, or has another length, was not made by this key either.
        let signature =
            unhex(signature).and_then(|bytes| Signature::try_from(bytes.as_slice()).ok());
        Some(signature.is_some_and(|signature| key.verify(text.as_bytes(), &signature).is_ok()))
    }
}

/// Decodes hexadecimal digits; `None` if the text has anything else.
fn unhex(text: &str) -> Option<Vec<u8>> {
    text.as_bytes().chunks(2).map(byte).collect()
}

fn byte(digits: &[u8]) -> Option<u8> {
    match digits {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    }
}

fn digit(digit: u8) -> Option<u32> {
    char::from(digit).to_digit(16)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{FINGERPRINT, der, keys, made, signature};
    use super::*;

    #[test]
    fn four_lines_are_signed_and_the_last_is_null_at_the_start_of_a_chain() {
        let first = made(1, None, &[]);
        let text = first.file.signed_text("abc");
        let place = format!("trail-bucket/{}", first.file.digest_s3_object);
        assert_eq!(text, format!("2026-03-02T01:00:00Z\n{place}\nabc\nnull"));
        let second = made(2, Some(&first), &[]);
        let signature = first.signature.unwrap();
        assert!(second.file.signed_text("abc").ends_with(&signature));
    }

    #[test]
    fn a_signature_is_judged_only_by_the_key_that_is_named() {
        let keys = keys();
        let signature = signature("text");
        let upper = FINGERPRINT.to_uppercase();
        assert_eq!(keys.signed(&upper, "text", &signature), Some(true));
        assert_eq!(keys.signed(FINGERPRINT, "other", &signature), Some(false));
        assert_eq!(keys.signed(FINGERPRINT, "text", "no digits"), Some(false));
        assert_eq!(keys.signed(FINGERPRINT, "text", ""), Some(false));
        assert_eq!(keys.signed("another", "text", &signature), None);
    }

    #[test]
    fn keys_are_read_as_the_aws_command_prints_them() {
        let key = |value: &str| {
            json!({"PublicKeyList": [{"Value": value, "Fingerprint": "f1"}]}).to_string()
        };
        let read = PublicKeys::read(&key(&STANDARD.encode(der()))).unwrap();
        assert!(!read.is_empty());
        let says = |text: &str| PublicKeys::read(text).unwrap_err().to_string();
        assert!(says("{}").starts_with("is not what `aws cloudtrail list-public-keys` prints"));
        assert!(says(&key("%")).starts_with("key f1: "));
        assert!(says(&key("AAAA")).starts_with("key f1: "));
    }

    #[test]
    fn an_odd_number_of_digits_is_no_byte_string() {
        assert_eq!(unhex("00fF"), Some(vec![0, 255]));
        assert_eq!(unhex("00f"), None);
        assert_eq!(unhex("0g"), None);
    }
}
