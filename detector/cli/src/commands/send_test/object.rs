//! The log file of a test: one read of a secret that never was, by the root user of an account that
//! does not exist, which is always an alert.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use secretrail_engine::{digest::digest, time::EventTime};
use serde_json::json;

use crate::deployment::Deployment;

/// What stands in the region and in the name of the secret, for those who read the alert.
pub(super) const MARK: &str = "[TEST]";

/// A log file with one event.
pub(super) struct TestFile {
    /// Part of the secret's name that no other alert has.
    pub(super) id: String,
    pub(super) key: String,
    /// Gzip data, as CloudTrail writes it.
    pub(super) bytes: Vec<u8>,
}

impl TestFile {
    /// A file for a deployment; `seed` makes it different from those of other tests.
    pub(super) fn new(stack: &Deployment, now: EventTime, seed: &str) -> Self {
        let id = digest(&["send-test", seed]);
        let id: String = id.chars().take(12).collect();
        // Each test has an account of its own, so that its alert is none that was sent before. AWS
        // gives no account ids that begin with six zeros.
        let number = u64::from_str_radix(&id, 16).unwrap_or(1) % 1_000_000;
        let account = format!("{number:012}");
        let region = &stack.region;
        let time = now.to_string();
        let minute: String = time.chars().filter(|c| !"-:".contains(*c)).collect();
        let minute: String = minute.chars().take("20260302T1000".len()).collect();
        let day: String = time.chars().take("2026-03-02".len()).collect();
        let day = day.replace('-', "/");
        let prefix = stack.parameter("TrailPrefix");
        let key = format!(
            "{prefix}AWSLogs/{account}/CloudTrail/{region}/{day}/{account}_CloudTrail_{region}_\
             {minute}Z_TEST{id}.json.gz"
        );
        let arn = format!("arn:{}:iam::{account}:root", stack.partition);
        let record = json!({
            "eventVersion": "1.11",
            "userIdentity": {"type": "Root", "principalId": account, "arn": arn,
                "accountId": account},
            "eventTime": time,
            "eventSource": "secretsmanager.amazonaws.com",
            "eventName": "GetSecretValue",
            // Subjects name title, account and region.
            "awsRegion": format!("{MARK}-{region}"),
            // Reserved for documentation (RFC 5737).
            "sourceIPAddress": "192.0.2.1",
            "userAgent": "secretrail-send-test/1",
            "requestParameters": {"secretId": format!("{MARK}-secretrail-send-test-{id}")},
            "responseElements": null,
            "requestID": format!("{id}-request"),
            "eventID": format!("{id}-event"),
            "readOnly": true,
            "eventType": "AwsApiCall",
            "managementEvent": true,
            "recipientAccountId": account,
            "eventCategory": "Management",
        });
        Self {
            bytes: packed(&json!({"Records": [record]}).to_string()),
            id,
            key,
        }
    }
}

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Cannot fail: the bytes go to memory.
    encoder
        .write_all(text.as_bytes())
        .and_then(|()| encoder.finish())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::tests::ran;

    /// A file in the folders of its key, and the account in it.
    fn written(seed: &str) -> (tempfile::TempDir, TestFile) {
        let stack = Deployment {
            region: "eu-west-1".to_owned(),
            partition: "aws".to_owned(),
            ..Deployment::default()
        };
        let now = EventTime::parse("2026-03-02T10:00:00Z").unwrap();
        let file = TestFile::new(&stack, now, seed);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(&file.key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &file.bytes).unwrap();
        (folder, file)
    }

    #[test]
    fn the_built_in_rules_report_it_at_once_with_the_mark() {
        let (folder, file) = written("one");
        let path = folder.path().to_str().unwrap();
        let replayed = ran(&["replay", path, "-f", "jsonl", "--alerts", "-q"]);
        let alerts: Vec<&str> = replayed.out.lines().collect();
        assert_eq!(alerts.len(), 1, "{}", replayed.out);
        assert!(
            alerts[0].contains("\"level\":\"critical\""),
            "{}",
            alerts[0]
        );
        let secret = format!("{MARK}-secretrail-send-test-{}", file.id);
        assert!(alerts[0].contains(&secret), "{}", alerts[0]);
        let region = format!("\"region\":\"{MARK}-eu-west-1\"");
        assert!(alerts[0].contains(&region), "{}", alerts[0]);
    }

    #[test]
    fn each_test_is_another_account_that_cannot_exist() {
        let (one, other) = (written("one").1, written("other").1);
        assert_ne!(one.id, other.id);
        let account = |file: &TestFile| file.key.split('/').nth(1).unwrap().to_owned();
        assert_ne!(account(&one), account(&other));
        for file in [one, other] {
            let account = account(&file);
            assert!(
                account.starts_with("000000") && account.len() == 12,
                "{account}"
            );
            assert!(file.key.contains("/2026/03/02/") && file.key.contains("_20260302T1000Z_"));
        }
    }
}
