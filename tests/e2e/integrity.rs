//! `verify`, on chains of digests that are made and signed here, with a key of our own: whatever
//! was done to them is named.

use std::{
    collections::BTreeSet,
    io::Read as _,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use e2e::{
    Printed,
    cloud::{config, runtime},
    deployment::Cloud,
    http::Exchange,
    packed, secretrail, write_gz,
};
use rsa::{
    PrivateKey,
    pkcs1::EncodeRsaPublicKey,
    pkcs1v15::SigningKey,
    rand_core::{TryCryptoRng, TryRng},
    signature::{SignatureEncoding, Signer},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::with_endpoint;

const ACCOUNT: &str = "111122223333";
const REGION: &str = "eu-west-1";
const BUCKET: &str = "trail-bucket";
const FINGERPRINT: &str = "0123456789abcdef0123456789abcdef";

/// Numbers for a key that protects nothing.
struct Numbers(u64);

impl TryRng for Numbers {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.try_next_u64().map(|n| u32::try_from(n >> 32).unwrap())
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(z ^ (z >> 31))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in bytes.chunks_mut(8) {
            let number = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Numbers {}

static KEY: LazyLock<PrivateKey> =
    LazyLock::new(|| PrivateKey::new(&mut Numbers(7), 2048).unwrap());

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn der() -> Vec<u8> {
    KEY.to_public_key()
        .to_pkcs1_der()
        .unwrap()
        .as_bytes()
        .to_vec()
}

/// An object of the trail: key, text before it is packed, and the signature of a digest.
#[derive(Clone)]
struct Made {
    key: String,
    text: Vec<u8>,
    signature: Option<String>,
}

/// So many hours of a trail, each with two logs and the digest of the hour. Chains start at these
/// hours.
fn trail(hours: i64, starts: &[i64]) -> Vec<Made> {
    let signer = SigningKey::<Sha256>::new(KEY.clone());
    let mut objects = Vec::new();
    let mut before: Option<Made> = None;
    for hour in 0..hours {
        let stamp = |minute: i64| format!("20260302T{hour:02}{minute:02}Z");
        let logs: Vec<Made> = [10, 40]
            .map(|minute| {
                let name = format!("{ACCOUNT}_CloudTrail_{REGION}_{}_Ab{hour}{minute}.json.gz", stamp(minute));
                let key = format!("logs/AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/03/02/{name}");
                let text =
                    json!({"Records": [e2e::read(&format!("r{hour}-{minute}"), "app", 0, "prod/db")]}).to_string();
                Made { key, text: text.into_bytes(), signature: None }
            })
            .to_vec();
        let time = |hour: i64| format!("2026-03-02T{hour:02}:00:00Z");
        let end = time(hour + 1);
        let name = format!(
            "{ACCOUNT}_CloudTrail-Digest_{REGION}_main_{REGION}_20260302T{:02}0000Z.json.gz",
            hour + 1
        );
        let key = format!("logs/AWSLogs/{ACCOUNT}/CloudTrail-Digest/{REGION}/2026/03/02/{name}");
        let previous = before.take().filter(|_| !starts.contains(&hour));
        let of = |value: &dyn Fn(&Made) -> String| previous.as_ref().map(value);
        let text = json!({
            "awsAccountId": ACCOUNT, "digestStartTime": time(hour), "digestEndTime": end,
            "digestS3Bucket": BUCKET, "digestS3Object": key, "digestPublicKeyFingerprint": FINGERPRINT,
            "digestSignatureAlgorithm": "SHA256withRSA", "newestEventTime": end, "oldestEventTime": end,
            "previousDigestS3Bucket": of(&|_| BUCKET.to_owned()), "previousDigestS3Object": of(&|p| p.key.clone()),
            "previousDigestHashValue": of(&|p| hex(&Sha256::digest(&p.text))),
            "previousDigestHashAlgorithm": of(&|_| "SHA-256".to_owned()),
            "previousDigestSignature": of(&|p| p.signature.clone().unwrap()),
            "logFiles": logs.iter().map(|log| json!({"s3Bucket": BUCKET, "s3Object": log.key,
                "hashValue": hex(&Sha256::digest(&log.text)), "hashAlgorithm": "SHA-256"})).collect::<Vec<_>>(),
        })
        .to_string();
        let last = previous
            .as_ref()
            .and_then(|p| p.signature.clone())
            .unwrap_or_else(|| "null".to_owned());
        let signed = format!(
            "{end}\n{BUCKET}/{key}\n{}\n{last}",
            hex(&Sha256::digest(text.as_bytes()))
        );
        let signature = hex(&signer.sign(signed.as_bytes()).to_bytes());
        let digest = Made {
            key,
            text: text.into_bytes(),
            signature: Some(signature),
        };
        objects.extend(logs);
        objects.push(digest.clone());
        before = Some(digest);
    }
    objects
}

/// A folder with these objects, and the file of the public keys in it.
fn copied(objects: &[Made]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for object in objects {
        write_gz(&folder.path().join(&object.key), &object.text);
    }
    let keys = keys(folder.path());
    (folder, keys)
}

/// What a tree with these objects is told to be: verdict, kind and the end of the name, without
/// what is intact.
fn verified(objects: &[Made], more: &[&str]) -> (BTreeSet<(String, String, String)>, Printed) {
    let (folder, keys) = copied(objects);
    let path = folder.path().to_str().unwrap();
    let printed = secretrail(
        &[
            &[
                "verify",
                path,
                "-f",
                "jsonl",
                "--public-keys",
                keys.to_str().unwrap(),
            ],
            more,
        ]
        .concat(),
    );
    (findings(&printed.stdout), printed)
}

fn findings(lines: &str) -> BTreeSet<(String, String, String)> {
    let finding = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["schema"], "secretrail.verification/1");
        let text = |key: &str| value[key].as_str().unwrap().to_owned();
        // The stamp tells which.
        let stamp = text("object")
            .split('_')
            .find(|part| part.contains("T") && part.starts_with("2026"))
            .unwrap()
            .to_owned();
        (
            text("verdict"),
            text("kind"),
            stamp.trim_end_matches(".json.gz").to_owned(),
        )
    };
    lines.lines().map(finding).collect()
}

fn keys(folder: &Path) -> PathBuf {
    let path = folder.join("keys.json");
    let key = json!({"Value": STANDARD.encode(der()), "Fingerprint": FINGERPRINT, "ValidityStartTime": 1.7e9});
    std::fs::write(&path, json!({"PublicKeyList": [key]}).to_string()).unwrap();
    path
}

fn set(expected: &[(&str, &str, &str)]) -> BTreeSet<(String, String, String)> {
    expected
        .iter()
        .map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned()))
        .collect()
}

/// The newest digest: its signature is in the metadata of its object, which no copy on disk has.
const NEWEST: [(&str, &str, &str); 3] = [
    ("unproven", "digest", "20260302T060000Z"),
    ("unproven", "log", "20260302T0510Z"),
    ("unproven", "log", "20260302T0540Z"),
];

/// The digest before the one of the third hour, without it.
const BEFORE: [(&str, &str, &str); 3] = [
    ("unproven", "digest", "20260302T020000Z"),
    ("unproven", "log", "20260302T0110Z"),
    ("unproven", "log", "20260302T0140Z"),
];

fn position(objects: &[Made], stamp: &str, kind: &str) -> usize {
    objects
        .iter()
        .position(|o| o.key.contains(&format!("/{kind}/")) && o.key.contains(&format!("_{stamp}")))
        .unwrap()
}

#[test]
fn a_whole_chain_is_intact_but_for_what_a_copy_cannot_prove() {
    let objects = trail(6, &[]);
    let (found, printed) = verified(&objects, &[]);
    assert_eq!(
        (found, printed.code),
        (set(&NEWEST), 0),
        "{}",
        printed.stderr
    );
    assert!(
        printed
            .stderr
            .contains("digests 5 intact, 0 altered, 0 missing, 1 unproven"),
        "{}",
        printed.stderr
    );
    assert!(
        printed
            .stderr
            .contains("logs    10 intact, 0 altered, 0 missing, 2 unproven"),
        "{}",
        printed.stderr
    );
    let (all, _) = verified(&objects, &["--all"]);
    assert_eq!(all.len(), objects.len());
}

#[test]
fn one_byte_of_a_log_or_of_a_digest_is_seen() {
    let mut objects = trail(6, &[]);
    let log = position(&objects, "20260302T0210Z", "CloudTrail");
    let at = objects[log].text.len() / 2;
    objects[log].text[at] ^= 1;
    let (found, printed) = verified(&objects, &[]);
    let expected = [&NEWEST[..], &[("altered", "log", "20260302T0210Z")]].concat();
    assert_eq!((found, printed.code), (set(&expected), 1));

    // A digest in which one log's hash was changed, together with the log.
    let mut objects = trail(6, &[]);
    let digest = position(&objects, "20260302T030000Z", "CloudTrail-Digest");
    let at = objects[digest]
        .text
        .windows(9)
        .position(|w| w == b"hashValue")
        .unwrap()
        + 14;
    objects[digest].text[at] = if objects[digest].text[at] == b'0' {
        b'1'
    } else {
        b'0'
    };
    let (found, printed) = verified(&objects, &[]);
    let altered = [
        ("altered", "digest", "20260302T030000Z"),
        ("unproven", "log", "20260302T0210Z"),
        ("unproven", "log", "20260302T0240Z"),
    ];
    assert_eq!(
        (found, printed.code),
        (set(&[&NEWEST[..], &altered].concat()), 1)
    );

    // A digest that is none any more: the signature of the one before it stood in it.
    objects[digest].text = b"{}".to_vec();
    let (found, printed) = verified(&objects, &[]);
    let mut unreadable = altered;
    unreadable[0].0 = "unreadable";
    assert_eq!(
        (found, printed.code),
        (set(&[&NEWEST[..], &unreadable, &BEFORE].concat()), 3),
        "{}",
        printed.stdout
    );
}

#[test]
fn what_is_missing_and_what_was_added_is_named() {
    let mut objects = trail(6, &[]);
    objects.remove(position(&objects, "20260302T0340Z", "CloudTrail"));
    let (found, printed) = verified(&objects, &[]);
    assert_eq!(
        (found, printed.code),
        (
            set(&[&NEWEST[..], &[("missing", "log", "20260302T0340Z")]].concat()),
            1
        )
    );

    let mut objects = trail(6, &[]);
    objects.remove(position(&objects, "20260302T030000Z", "CloudTrail-Digest"));
    let (found, printed) = verified(&objects, &[]);
    let expected = [
        ("missing", "digest", "20260302T030000Z"),
        ("unproven", "log", "20260302T0210Z"),
        ("unproven", "log", "20260302T0240Z"),
    ];
    assert_eq!(
        (found, printed.code),
        (set(&[&NEWEST[..], &expected, &BEFORE].concat()), 1)
    );

    let mut objects = trail(6, &[]);
    let mut added = objects[position(&objects, "20260302T0340Z", "CloudTrail")].clone();
    added.key = added.key.replace("T0340Z", "T0345Z");
    objects.push(added);
    let (found, printed) = verified(&objects, &[]);
    assert_eq!(
        (found, printed.code),
        (
            set(&[&NEWEST[..], &[("unproven", "log", "20260302T0345Z")]].concat()),
            1
        )
    );
    assert!(
        printed
            .stdout
            .contains("no digest lists it: CloudTrail may not have written it"),
        "{}",
        printed.stdout
    );
}

#[test]
fn a_chain_that_starts_anew_is_told_from_one_that_is_whole() {
    let (found, printed) = verified(&trail(6, &[3]), &[]);
    // The last digest before the stop has no follower, and so no signature in a copy.
    let expected = [
        ("restarted", "digest", "20260302T040000Z"),
        ("unproven", "digest", "20260302T030000Z"),
        ("unproven", "log", "20260302T0210Z"),
        ("unproven", "log", "20260302T0240Z"),
    ];
    assert_eq!(
        (found, printed.code),
        (set(&[&NEWEST[..], &expected].concat()), 0),
        "{}",
        printed.stdout
    );
    assert!(
        printed
            .stdout
            .contains("a new chain starts at 2026-03-02T03:00:00Z"),
        "{}",
        printed.stdout
    );
}

#[test]
fn what_stands_in_a_digest_is_harmless_wherever_it_is_shown() {
    let text = "\u{1b}]0;pwned\u{7}=cmd()<script>\u{202e}\u{2066}";
    let mut objects = trail(2, &[]);
    let digest = position(&objects, "20260302T010000Z", "CloudTrail-Digest");
    let mut value: Value = serde_json::from_slice(&objects[digest].text).unwrap();
    value["digestPublicKeyFingerprint"] = json!(text);
    value["logFiles"][0]["s3Object"] = json!(text.repeat(20_000));
    value["logFiles"][1]["hashValue"] = json!(text);
    value["logFiles"][1]["hashAlgorithm"] = json!(text);
    objects[digest].text = value.to_string().into_bytes();
    let spoiled = position(&objects, "20260302T020000Z", "CloudTrail-Digest");
    let mut other = objects[spoiled].clone();
    other.key = other
        .key
        .replace("_main_", &format!("_{text}_").replace('/', ""));
    other.text = format!("{{\"awsAccountId\": {text:?}}}").into_bytes();
    objects.push(other);
    let (folder, keys) = copied(&objects);
    let path = folder.path().to_str().unwrap();
    for form in ["table", "csv", "json", "jsonl"] {
        let printed = secretrail(&[
            "verify",
            path,
            "-f",
            form,
            "--all",
            "--public-keys",
            keys.to_str().unwrap(),
        ]);
        let shown = printed.stdout + &printed.stderr;
        assert!(
            !shown.contains(['\u{1b}', '\u{7}']),
            "{form} passes on escapes"
        );
        // JSON keeps text; what shows it has to know how.
        assert!(
            form.starts_with("json") || !shown.contains(['\u{202e}', '\u{2066}']),
            "{form} turns text"
        );
        assert!(
            form != "csv"
                || !shown
                    .lines()
                    .flat_map(|line| line.split(','))
                    .any(|cell| cell.starts_with('='))
        );
        assert_eq!(printed.code, 3, "{form}: {shown}");
        assert!(
            shown.contains("unreadable") && shown.contains("pwned"),
            "{form}: {shown}"
        );
    }
}

#[test]
fn without_the_key_nothing_is_proven_and_the_remedy_is_said() {
    let folder = tempfile::tempdir().unwrap();
    for object in trail(3, &[]) {
        write_gz(&folder.path().join(&object.key), &object.text);
    }
    let path = folder.path().to_str().unwrap();
    let printed = secretrail(&["verify", path, "-f", "jsonl"]);
    assert!(
        findings(&printed.stdout)
            .iter()
            .all(|(verdict, ..)| verdict == "unproven")
    );
    assert_eq!(printed.code, 3);
    assert!(
        printed.stderr.contains("list-public-keys")
            && printed.stderr.contains("nothing was proven"),
        "{}",
        printed.stderr
    );
    let wrong = folder.path().join("wrong.json");
    std::fs::write(&wrong, "[]").unwrap();
    let printed = secretrail(&["verify", path, "--public-keys", wrong.to_str().unwrap()]);
    assert!(
        printed.code == 64 && printed.stderr.contains("PublicKeyList"),
        "{}",
        printed.stderr
    );
    // A week of months: the digest before the first one asked for is not missing.
    let keys = keys(folder.path());
    let args = [
        "verify",
        path,
        "--from",
        "2026-03-02T01:30:00Z",
        "-f",
        "jsonl",
        "--public-keys",
        keys.to_str().unwrap(),
    ];
    let printed = secretrail(&args);
    assert!(!printed.stdout.contains("missing"), "{}", printed.stdout);
}

/// Answers `ListPublicKeys` until it is dropped.
fn key_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().take(4) {
            let mut stream = stream.unwrap();
            let Some(request) = Exchange::read(&mut stream).unwrap() else {
                continue;
            };
            assert!(
                request
                    .header("x-amz-target")
                    .unwrap()
                    .ends_with("ListPublicKeys"),
                "{request:?}"
            );
            let key = json!({"Value": STANDARD.encode(der()), "Fingerprint": FINGERPRINT});
            let body = json!({"PublicKeyList": [key]}).to_string().into_bytes();
            let headers = vec![
                (
                    "content-type".to_owned(),
                    "application/x-amz-json-1.1".to_owned(),
                ),
                ("content-length".to_owned(), body.len().to_string()),
                ("connection".to_owned(), "close".to_owned()),
            ];
            let answer = Exchange {
                start: "HTTP/1.1 200 OK".to_owned(),
                headers,
                body,
            };
            std::io::Write::write_all(&mut stream, &answer.bytes()).unwrap();
            stream.read_to_end(&mut Vec::new()).ok();
        }
    });
    url
}

#[test]
fn cloudtrail_is_asked_for_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    for object in trail(6, &[]) {
        write_gz(&folder.path().join(&object.key), &object.text);
    }
    let args = [
        "verify",
        folder.path().to_str().unwrap(),
        "-f",
        "jsonl",
        "--fetch-keys",
    ];
    let printed = with_endpoint(&key_server(), &args);
    assert_eq!(
        (findings(&printed.stdout), printed.code),
        (set(&NEWEST), 0),
        "{}",
        printed.stderr
    );
}

#[test]
fn in_s3_the_newest_digest_is_proven_too() {
    let cloud = Cloud::start();
    let deployment = cloud.deploy();
    let folder = tempfile::tempdir().unwrap();
    let keys = keys(folder.path());
    let client = aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(&config(&cloud.stack.url))
            .force_path_style(true)
            .build(),
    );
    let put = |object: &Made| {
        let body = packed(&object.text);
        let request = client
            .put_object()
            .bucket(&deployment.bucket)
            .key(&object.key)
            .body(body.into());
        let request = match &object.signature {
            Some(signature) => request
                .metadata("signature", signature)
                .metadata("signature-algorithm", "SHA256withRSA"),
            None => request,
        };
        runtime().block_on(request.send()).unwrap();
    };
    let mut objects = trail(3, &[]);
    objects.iter().for_each(&put);
    let bucket = format!("s3://{}/logs/", deployment.bucket);
    let args = [
        "verify",
        &bucket,
        "--public-keys",
        keys.to_str().unwrap(),
        "-f",
        "jsonl",
    ];
    let printed = with_endpoint(&cloud.stack.url, &args);
    assert_eq!(
        (printed.stdout.as_str(), printed.code),
        ("", 0),
        "{}",
        printed.stderr
    );
    assert!(
        printed
            .stderr
            .contains("digests 3 intact, 0 altered, 0 missing, 0 unproven"),
        "{}",
        printed.stderr
    );
    // The newest digest, rewritten without a log: only its signature can tell.
    let last = objects.len() - 1;
    let mut digest: Value = serde_json::from_slice(&objects[last].text).unwrap();
    digest["logFiles"].as_array_mut().unwrap().pop();
    objects[last].text = digest.to_string().into_bytes();
    put(&objects[last]);
    let printed = with_endpoint(&cloud.stack.url, &args);
    let altered = findings(&printed.stdout)
        .into_iter()
        .filter(|(verdict, ..)| verdict == "altered")
        .collect();
    assert_eq!(
        (altered, printed.code),
        (set(&[("altered", "digest", "20260302T030000Z")]), 1),
        "{}",
        printed.stdout
    );
}
