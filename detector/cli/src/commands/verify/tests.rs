//! Digests for tests, signed with a test key.

use std::{convert::Infallible, io::Write, sync::LazyLock};

use flate2::{Compression, write::GzEncoder};
use rsa::{
    PrivateKey,
    pkcs1::EncodeRsaPublicKey,
    pkcs1v15::SigningKey,
    rand_core::{TryCryptoRng, TryRng},
    signature::{SignatureEncoding, Signer},
};
use secretrail_engine::trail_digest::{DigestFile, DigestLogFile};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{
    commands::{
        tests::ran,
        verify::{digest::PublicKeys, files::DigestRead},
    },
    exit,
    text::hex,
};

/// Fingerprint of the test key.
pub(super) const FINGERPRINT: &str = "0123456789abcdef0123456789abcdef";

static KEY: LazyLock<PrivateKey> =
    LazyLock::new(|| PrivateKey::new(&mut Numbers(7), 2_048).unwrap());

/// Deterministic numbers to generate the test key (SplitMix64).
struct Numbers(u64);

impl TryRng for Numbers {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|number| (number >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(z ^ (z >> 31))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let number = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Numbers {}

/// The public key: PKCS #1 in DER.
pub(super) fn der() -> Vec<u8> {
    let public = KEY.to_public_key().to_pkcs1_der().unwrap();
    public.as_bytes().to_vec()
}

/// The public key, ready to verify.
pub(super) fn keys() -> PublicKeys {
    let mut keys = PublicKeys::default();
    keys.add(FINGERPRINT, &der()).unwrap();
    keys
}

/// The signature of a text, in hexadecimal digits.
pub(super) fn signature(text: &str) -> String {
    let signed = SigningKey::<Sha256>::new(KEY.clone()).sign(text.as_bytes());
    hex(&signed.to_bytes())
}

/// The S3 key of the digest that ends at this hour.
pub(super) fn digest_key(hour: u32) -> String {
    let name = "111122223333_CloudTrail-Digest_eu-west-1_main_eu-west-1";
    format!(
        "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/03/02/\
         {name}_20260302T{hour:02}0000Z.json.gz"
    )
}

/// The S3 key of a log that was delivered at this time.
pub(super) fn log_key(stamp: &str) -> String {
    format!(
        "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/02/\
         111122223333_CloudTrail_eu-west-1_20260302{stamp}_Ab12Cd34Ef56Gh78.json.gz"
    )
}

/// A signed digest that ends at this hour, with a previous digest and the keys and hashes of its
/// logs. Its own hash is `hash` and the hour.
pub(super) fn made(hour: u32, previous: Option<&DigestRead>, logs: &[(&str, &str)]) -> DigestRead {
    let logs = logs.iter().map(|(key, hash)| DigestLogFile {
        s3_object: (*key).to_owned(),
        hash_value: (*hash).to_owned(),
    });
    let file = DigestFile {
        aws_account_id: "111122223333".to_owned(),
        digest_start_time: format!("2026-03-02T{:02}:00:00Z", hour - 1),
        digest_end_time: format!("2026-03-02T{hour:02}:00:00Z"),
        digest_s3_bucket: "trail-bucket".to_owned(),
        digest_s3_object: digest_key(hour),
        digest_public_key_fingerprint: FINGERPRINT.to_owned(),
        digest_signature_algorithm: "SHA256withRSA".to_owned(),
        previous_digest_s3_object: previous.map(|read| read.file.digest_s3_object.clone()),
        previous_digest_hash_value: previous.map(|read| read.hash.clone()),
        previous_digest_signature: previous.and_then(|read| read.signature.clone()),
        log_files: logs.collect(),
    };
    let hash = format!("hash{hour}");
    let signature = Some(signature(&file.signed_text(&hash)));
    DigestRead {
        file,
        hash,
        signature,
    }
}

/// A digest as JSON.
pub(super) fn json(read: &DigestRead) -> Value {
    let file = &read.file;
    let logs = file.log_files.iter();
    let logs = logs.map(|log| json!({"s3Object": log.s3_object, "hashValue": log.hash_value}));
    json!({
        "awsAccountId": file.aws_account_id,
        "digestStartTime": file.digest_start_time,
        "digestEndTime": file.digest_end_time,
        "digestS3Bucket": file.digest_s3_bucket,
        "digestS3Object": file.digest_s3_object,
        "digestPublicKeyFingerprint": file.digest_public_key_fingerprint,
        "digestSignatureAlgorithm": file.digest_signature_algorithm,
        "previousDigestS3Object": file.previous_digest_s3_object,
        "previousDigestHashValue": file.previous_digest_hash_value,
        "previousDigestSignature": file.previous_digest_signature,
        "logFiles": logs.collect::<Vec<_>>(),
    })
}

/// Compressed bytes.
pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn what_cannot_be_verified_is_refused_before_anything_is_read() {
    let refused = [
        (&["verify", "-"][..], "verify reads trees of digests"),
        (
            &["verify", "/nowhere", "-f", "ocsf"],
            "verify does not support",
        ),
        (
            &["verify", "/nowhere", "--public-keys", "/gone"],
            "--public-keys /gone: No such file",
        ),
    ];
    for (args, message) in refused {
        let ran = ran(args);
        assert_eq!((ran.code, ran.out.as_str()), (exit::USAGE, ""));
        assert!(ran.err.starts_with(message), "{}", ran.err);
    }
}

#[test]
fn a_tree_without_logs_has_them_missing_and_the_run_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(digest_key(1));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let digest = made(1, None, &[(&log_key("T0010Z"), "00")]);
    std::fs::write(&path, gzip(json(&digest).to_string().as_bytes())).unwrap();
    // Files outside of an `AWSLogs` tree are ignored.
    std::fs::write(folder.path().join("stray.json"), "{}").unwrap();
    let ran = ran(&["verify", folder.path().to_str().unwrap(), "-f", "csv"]);
    assert_eq!(ran.code, exit::FINDINGS);
    let lines: Vec<&str> = ran.out.lines().collect();
    // Only a digest that is proven tells that a log is missing; the run fails all the same.
    assert!(lines[1].starts_with("unproven,log,AWSLogs/111122223333/CloudTrail/"));
    assert!(lines[2].starts_with("unproven,digest,"));
    assert_eq!(lines.len(), 3);
    assert!(
        ran.err
            .contains(" 1 digest and 0 logs of 1 account-region pair ")
    );
}

#[test]
fn an_empty_selection_says_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(digest_key(1));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let digest = made(1, None, &[]);
    std::fs::write(&path, gzip(json(&digest).to_string().as_bytes())).unwrap();
    let log = folder.path().join(log_key("T0010Z"));
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    std::fs::write(&log, gzip(b"{\"Records\": []}")).unwrap();
    let log = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/02/\
               111122223333_CloudTrail_eu-west-1_20260302T1000Z_abcdefghijklmnop.json.gz";
    let log = folder.path().join(log);
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    std::fs::write(&log, gzip(b"{\"Records\":[]}")).unwrap();
    let tree = folder.path().to_str().unwrap();
    for (more, there) in [
        (["--account", "444455556666"], "account 111122223333"),
        (["--region", "us-east-1"], "region eu-west-1"),
        (["--from", "2027-01-01"], "times from 2026-"),
    ] {
        let ran = ran(&[&["verify", tree][..], &more].concat());
        assert_eq!(ran.code, exit::INPUT, "{}", ran.err);
        assert!(
            ran.err.contains("no records of the selection ("),
            "{}",
            ran.err
        );
        assert!(ran.err.contains(there), "{more:?}: {}", ran.err);
        assert!(
            ran.err.ends_with("says nothing about your secrets\n"),
            "{}",
            ran.err
        );
    }
}
