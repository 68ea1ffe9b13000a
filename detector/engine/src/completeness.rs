//! Whether all log files were processed that CloudTrail has delivered: its digests name them.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use serde::{Deserialize, Serialize};

use crate::{
    alert::{Alert, AlertId},
    digest::digest,
    ids::SharedStr,
    incident::story::first_and_rest,
    object,
    rule_meta::{RuleLevel, RuleMeta, texts},
    time::EventTime,
    trail_digest::DigestHour,
};

/// Length in seconds of the periods for which lost files are one alert.
const HOUR_SECS: i64 = 3_600;

/// Most files that an alert names.
const NAMED: usize = 3;

/// A digest that names files which are not processed yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WaitingDigest {
    /// Bucket of the digest, and of the files that it names.
    pub bucket: String,
    /// Key of the digest.
    pub key: String,
    /// Version id of the digest; `None` in buckets without versioning.
    pub version_id: Option<String>,
    /// Start of its hour, inclusive, in seconds since 1970.
    pub start: i64,
    /// End of its hour, exclusive, in seconds since 1970.
    pub end: i64,
    /// When it arrived, in seconds since 1970.
    pub arrived: i64,
}

impl WaitingDigest {
    /// Account and region of a digest; `None` when its key is not in a tree of CloudTrail.
    #[must_use]
    pub fn place(&self) -> Option<(SharedStr, SharedStr)> {
        let path = object::parse(&self.key);
        Some((path.account?.into(), path.region?.into()))
    }

    /// That all files of its hour are accounted for; `None` when its key is not in a tree of
    /// CloudTrail.
    #[must_use]
    pub fn compared(&self) -> Option<ComparedDigest> {
        let (account, region) = self.place()?;
        let (start, end) = (EventTime(self.start), EventTime(self.end));
        Some(ComparedDigest {
            account,
            region,
            hour: DigestHour { start, end },
        })
    }
}

/// A digest all of whose files were processed, or reported as lost.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ComparedDigest {
    /// 12-digit account id.
    pub account: SharedStr,
    /// Region, e.g. `eu-west-1`.
    pub region: SharedStr,
    /// The hour that it is about.
    pub hour: DigestHour,
}

/// The digests of an account and region whose hours end in a time span, both ends inclusive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DigestRange {
    /// 12-digit account id.
    pub account: SharedStr,
    /// Region, e.g. `eu-west-1`.
    pub region: SharedStr,
    /// The first end.
    pub from: EventTime,
    /// The last end.
    pub to: EventTime,
}

/// The alerts about files that a digest names and that cannot be read: one for each hour in which
/// they were delivered, by the keys of the files. None for a digest outside of a tree of
/// CloudTrail.
#[must_use]
pub fn lost_files(digest: &WaitingDigest, lost: &[String]) -> Vec<Alert> {
    let Some((account, region)) = digest.place() else {
        return Vec::new();
    };
    let mut hours: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
    for key in lost {
        // The digest itself has no time of delivery in its name.
        let delivered = object::parse(key).delivered;
        let delivered = delivered.unwrap_or(EventTime(digest.start));
        let hour = delivered.0.div_euclid(HOUR_SECS);
        hours.entry(hour).or_default().push(key);
    }
    let hours = hours.into_iter();
    hours
        .map(|(hour, mut keys)| {
            keys.sort_unstable();
            let id = digest_id(&account, &region, hour);
            let since = EventTime(hour.saturating_mul(HOUR_SECS));
            let summary = summary(&account, &region, since, &keys);
            Alert::of_log(id, LOST.clone(), since, summary, (&account, &region))
        })
        .collect()
}

fn digest_id(account: &str, region: &str, hour: i64) -> AlertId {
    AlertId(digest(&["log-file-missing", account, region, &hour.to_string()]).into())
}

fn summary(account: &str, region: &str, hour: EventTime, keys: &[&str]) -> String {
    let files = match keys.len() {
        1 => "1 log file".to_owned(),
        count => format!("{count} log files"),
    };
    let names = keys.iter();
    let names: Vec<&str> = names
        .map(|key| key.rsplit('/').next().unwrap_or(key))
        .collect();
    let named = first_and_rest(&names, NAMED, 0).unwrap_or_default();
    format!(
        "{files} of {account} in {region}, delivered in the hour from {hour}, cannot be read: \
         {named}"
    )
}

/// What the alert says of itself, as rules do: it is about what is not in the logs, so that no rule
/// can raise it.
static LOST: LazyLock<Arc<RuleMeta>> = LazyLock::new(|| {
    Arc::new(RuleMeta {
        id: "log-file-missing".to_owned(),
        title: "Log File Missing".to_owned(),
        level: RuleLevel::High,
        tags: texts(&["attack.defense-evasion", "attack.t1562.008"]),
        description: "Detects log files that CloudTrail has delivered, as its digest says, and \
            that are deleted, denied or damaged before they were processed. What they say is not \
            known to Secretrail. One alert for each account, region and hour."
            .to_owned(),
        false_positives: texts(&[
            "A lifecycle rule of the bucket that deletes files within hours",
            "A digest that somebody has written by hand: secretrail verify proves who signed it",
        ]),
        next_steps: texts(&[
            "Run secretrail verify over that hour: it proves which files are missing or altered",
            "Find who deleted or overwrote the files: data events or access logs of the bucket",
            "If they exist and access is denied, mend the bucket policy or the key policy, then \
             announce the files again",
            "Restore deleted versions of the files, and look at the event history of the account \
             for that hour",
        ]),
        references: texts(&[
            "https://attack.mitre.org/techniques/T1562/008/",
            "https://docs.aws.amazon.com/awscloudtrail/latest/userguide/\
             cloudtrail-log-file-validation-intro.html",
        ]),
        file: "built in".to_owned(),
        ..RuleMeta::default()
    })
});

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting() -> WaitingDigest {
        WaitingDigest {
            bucket: "b".to_owned(),
            key: "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/03/02/d.json.gz".to_owned(),
            version_id: None,
            // 2026-03-02, a minute and a half after ten.
            start: 1_772_445_690,
            end: 1_772_449_290,
            arrived: 1_772_450_000,
        }
    }

    fn file(time: &str, name: &str) -> String {
        format!(
            "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/02/\
             111122223333_CloudTrail_eu-west-1_20260302T{time}Z_{name}.json.gz"
        )
    }

    #[test]
    fn lost_files_are_one_alert_for_each_hour_in_any_order() {
        let files = [
            file("1005", "a"),
            file("1050", "b"),
            file("1101", "c"),
            file("1006", "d"),
            file("1007", "e"),
        ];
        let alerts = lost_files(&waiting(), &files);
        let mut turned = files.to_vec();
        turned.reverse();
        assert_eq!(lost_files(&waiting(), &turned), alerts);
        let [first, second] = alerts.as_slice() else {
            panic!("{alerts:?}")
        };
        assert_eq!(
            first.summary,
            "4 log files of 111122223333 in eu-west-1, delivered in the hour from \
             2026-03-02T10:00:00Z, cannot be read: \
             111122223333_CloudTrail_eu-west-1_20260302T1005Z_a.json.gz, \
             111122223333_CloudTrail_eu-west-1_20260302T1006Z_d.json.gz, \
             111122223333_CloudTrail_eu-west-1_20260302T1007Z_e.json.gz and 1 more"
        );
        assert!(second.summary.starts_with("1 log file of 111122223333"));
        assert_ne!(first.id, second.id);
        // More files of the hour are the same alert.
        assert_eq!(lost_files(&waiting(), &files[..1])[0].id, first.id);
        assert!(lost_files(&waiting(), &[]).is_empty());
    }

    #[test]
    fn a_digest_that_is_lost_itself_is_an_alert_of_its_hour() {
        let digest = waiting();
        let alerts = lost_files(&digest, std::slice::from_ref(&digest.key));
        assert_eq!(alerts[0].time.to_string(), "2026-03-02T10:00:00Z");
        assert!(alerts[0].summary.ends_with(": d.json.gz"));
        let outside = WaitingDigest {
            key: "d.json.gz".to_owned(),
            ..digest
        };
        assert!(lost_files(&outside, std::slice::from_ref(&outside.key)).is_empty());
        assert_eq!(outside.compared(), None);
    }
}
