//! The built-in rule about events that EventBridge has shown and no file of the trail has.

use std::sync::{Arc, LazyLock};

use crate::rule_meta::{RuleLevel, RuleMeta, texts};

/// The built-in rule about events that no file has.
pub(crate) static MISSING: LazyLock<Arc<RuleMeta>> = LazyLock::new(|| {
    Arc::new(RuleMeta {
        id: "5c1c7d0e-4f0b-4c55-8d63-6f8e1b7a2d90".to_owned(),
        title: "Event Missing From The Trail".to_owned(),
        level: RuleLevel::High,
        tags: texts(&["attack.defense-evasion", "attack.t1562.008"]),
        false_positives: texts(&[
            "A trail that does not log this account, region or service, while EventBridge passes \
             its events on",
            "Files that are late by more than a day, or still in the queue of the function",
        ]),
        references: texts(&[
            "https://attack.mitre.org/techniques/T1562/008/",
            "https://docs.aws.amazon.com/awscloudtrail/latest/userguide/\
             how-cloudtrail-works.html",
        ]),
        description: "Detects events that came directly, through EventBridge, and that no log \
                      file has brought within a day: files are lost, the trail was stopped or \
                      narrowed, or somebody deleted files before they were read. Until the file \
                      is there, no Decrypt is paired with these events, and what is new about \
                      them is not judged. One alert for each account, region and day."
            .to_owned(),
        next_steps: texts(&[
            "Look for StopLogging, DeleteTrail, UpdateTrail and PutEventSelectors in the account \
             before the first of the events.",
            "Look for the file of that minute in the bucket of the trail, and for deletions in \
             its access logs; run secretrail verify over the hour, which shows missing files.",
            "Look for the events in the CloudTrail event history: it keeps 90 days, whatever the \
             trail logs.",
            "If the dead-letter queue of the function holds messages, send them back to its \
             queue: the files may only not have been read.",
        ]),
        asks_for_seen: false,
        file: "built in".to_owned(),
    })
});
