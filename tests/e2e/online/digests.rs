//! Digests of CloudTrail: what they name and was not processed is fetched, or reported, and what is
//! absent is decided only then.

use std::time::{SystemTime, UNIX_EPOCH};

use secretrail_engine::time::EventTime;

use super::*;

const PLACE: &str = "AWSLogs/111122223333";
const HOUR: i64 = 3_600;

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

/// A time as names of files have it, to the second.
fn stamp(secs: i64) -> String {
    EventTime(secs).to_string().replace(['-', ':'], "")
}

fn day(secs: i64) -> String {
    EventTime(secs).to_string()[..10].replace('-', "/")
}

/// The key of a log file that was delivered at a time.
fn log_key(secs: i64, name: &str) -> String {
    let minute = stamp(secs);
    format!(
        "{PLACE}/CloudTrail/eu-west-1/{}/111122223333_CloudTrail_eu-west-1_{}Z_{name}.json.gz",
        day(secs),
        &minute[..13]
    )
}

/// A digest of an hour: its key and its bytes.
fn digest(start: i64, end: i64, files: &[&str]) -> (String, Vec<u8>) {
    let key = format!(
        "{PLACE}/CloudTrail-Digest/eu-west-1/{}/\
         111122223333_CloudTrail-Digest_eu-west-1_trail_eu-west-1_{}.json.gz",
        day(end),
        stamp(end)
    );
    let files = files
        .iter()
        .map(|key| json!({"s3Bucket": "trail", "s3Object": key, "hashValue": "00"}));
    let text = json!({"awsAccountId": "111122223333",
        "digestStartTime": EventTime(start).to_string(),
        "digestEndTime": EventTime(end).to_string(),
        "digestS3Bucket": "trail", "digestS3Object": key, "digestPublicKeyFingerprint": "f",
        "digestSignatureAlgorithm": "SHA256withRSA", "previousDigestS3Object": null,
        "previousDigestHashValue": null, "previousDigestSignature": null,
        "logFiles": files.collect::<Vec<_>>()});
    (key, packed(text.to_string().as_bytes()))
}

/// A file with a record that has happened just now.
fn file(mut record: Value, secs: i64) -> Vec<u8> {
    record["eventTime"] = json!(EventTime(secs).to_string());
    packed(json!({"Records": [record]}).to_string().as_bytes())
}

fn send(function: &Function, messages: Vec<Value>) {
    assert_eq!(back(&answered(function, &batch(messages))), [""; 0]);
}

/// The alerts that were published since the last question, by their titles.
fn titles(shop: &Shop) -> Vec<String> {
    let published = shop.deployment.published();
    let alerts = Deployment::of_schema(&published, "secretrail.alert/1");
    let alerts = alerts.into_values().flatten();
    alerts
        .map(|body| text(&body["rule"]["title"]).to_owned())
        .collect()
}

const LONE: &str = "Secret Decrypted Without A Logged Read";
const LOST: &str = "Log File Missing";

/// A function that has compared a digest of the hour before, and read the Decrypt of a read that is
/// in another file.
fn with_a_decrypt(shop: &Shop, at: i64, decrypt: &str) -> Function {
    let function = shop.start(&[("SECRETRAIL_DIGESTS", "true")]);
    let (key, bytes) = digest(at - 2 * HOUR, at - HOUR, &[]);
    let record = decrypt_secret("k1", "app", 0, "prod/db");
    // Nothing is proven at the very beginning of the logs.
    let early = at - 3 * HOUR;
    let earlier = file(read("r0", "app", 0, "prod/db"), early);
    let messages = vec![
        shop.put(&key, &bytes),
        shop.put(&log_key(early, "earlier"), &earlier),
        shop.put(decrypt, &file(record, at)),
    ];
    send(&function, messages);
    sweep(&function);
    assert!(
        !titles(shop).contains(&LONE.to_owned()),
        "the digest is to come"
    );
    function
}

#[test]
fn a_lost_notification_is_made_up_for_and_a_deleted_file_is_reported_once() {
    let shop = Shop::open();
    let at = now();
    let keys = ["decrypt", "read", "gone"].map(|name| log_key(at, name));
    let [decrypt, unannounced, gone] = keys.each_ref().map(String::as_str);
    let function = with_a_decrypt(&shop, at, decrypt);
    let record = read("r1", "app", 0, "prod/db");
    shop.deployment.put(unannounced, &file(record, at));
    // One of another account is not read, whoever names it.
    let elsewhere = gone.replace("111122223333", "999999999999");
    let files = [decrypt, unannounced, gone, &elsewhere];
    let (key, bytes) = digest(at - HOUR, at + HOUR, &files);
    send(&function, vec![shop.put(&key, &bytes)]);
    let before = function.log().len();
    sweep(&function);
    let log = function.log().split_off(before);
    assert_eq!(metric(&log, "FilesFetched"), 1.0, "{log:?}");
    assert_eq!(metric(&log, "FilesMissing"), 1.0, "{log:?}");
    let raised = titles(&shop);
    assert_eq!(raised.iter().filter(|title| *title == LOST).count(), 1);
    assert!(!raised.contains(&LONE.to_owned()), "{raised:?}");
    // The read that was fetched is joined, and nothing is told twice.
    sweep(&function);
    sweep(&function);
    send(&function, vec![shop.deployment.message("again", &[&key])]);
    sweep(&function);
    let raised = titles(&shop);
    assert!(!raised.contains(&LONE.to_owned()), "{raised:?}");
    assert!(!raised.contains(&LOST.to_owned()), "{raised:?}");
    assert_eq!(metric(&function.log(), "FilesFetched"), 1.0);
}

#[test]
fn what_was_in_a_deleted_file_is_absent_when_the_file_is_reported() {
    let shop = Shop::open();
    let at = now();
    let [decrypt, gone] = ["decrypt", "gone"].map(|name| log_key(at, name));
    let function = with_a_decrypt(&shop, at, &decrypt);
    let (key, bytes) = digest(at - HOUR, at + HOUR, &[&decrypt, &gone]);
    send(&function, vec![shop.put(&key, &bytes)]);
    sweep(&function);
    sweep(&function);
    let published = shop.deployment.published();
    let alerts = Deployment::of_schema(&published, "secretrail.alert/1");
    let alerts: Vec<&Value> = alerts.values().flatten().collect();
    let titled = |title: &str| alerts.iter().find(|body| body["rule"]["title"] == title);
    let lost = titled(LOST).unwrap_or_else(|| panic!("{alerts:#?}"));
    let name = gone.rsplit('/').next().unwrap();
    assert!(text(&lost["summary"]).ends_with(name), "{lost}");
    assert_eq!(
        (&lost["account"], &lost["region"]),
        (&json!("111122223333"), &json!("eu-west-1"))
    );
    assert!(titled(LONE).is_some(), "{alerts:#?}");
}

#[test]
fn a_digest_that_is_here_before_its_files_fetches_nothing_and_one_that_is_deleted_is_reported() {
    let shop = Shop::open();
    let function = shop.start(&[("SECRETRAIL_DIGESTS", "true")]);
    let at = now();
    let [first, second] = ["first", "second"].map(|name| log_key(at, name));
    let record = read("r1", "app", 0, "prod/db");
    let (key, bytes) = digest(at - HOUR, at + HOUR, &[&first, &second]);
    // One file in the same batch, one after it.
    let messages = vec![
        shop.put(&key, &bytes),
        shop.put(&first, &file(record.clone(), at)),
    ];
    send(&function, messages);
    send(&function, vec![shop.put(&second, &file(record, at))]);
    sweep(&function);
    let log = function.log();
    assert_eq!(metric(&log, "DigestsCompared"), 1.0);
    assert_eq!(metric(&log, "FilesFetched"), 0.0, "{log:?}");
    assert!(!titles(&shop).contains(&LOST.to_owned()));
    // Who deletes a file may delete its digest.
    let third = log_key(at, "third");
    let (key, bytes) = digest(at - HOUR, at + HOUR + 60, &[&third]);
    send(&function, vec![shop.put(&key, &bytes)]);
    shop.deployment.delete(&key);
    sweep(&function);
    let name = key.rsplit('/').next().unwrap();
    assert!(has(&function.log(), "digest cannot be read again", name));
    assert!(titles(&shop).contains(&LOST.to_owned()));
}
