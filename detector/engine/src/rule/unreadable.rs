//! The built-in rule about records that could not be read.

use std::sync::{Arc, LazyLock};

use crate::rule_meta::{RuleLevel, RuleMeta, texts};

/// In [`Matches`], the index of the built-in rule about records that could not be read.
pub(crate) const UNREADABLE_RECORD: usize = usize::MAX;

/// The built-in rule about records that could not be read.
pub(super) static UNREADABLE: LazyLock<Arc<RuleMeta>> = LazyLock::new(|| {
    Arc::new(RuleMeta {
        id: "0d6cf7f1-6a52-4d38-9c07-2f1c35b8d9e4".to_owned(),
        title: "Record Could Not Be Read".to_owned(),
        level: RuleLevel::Medium,
        tags: texts(&["attack.stealth", "attack.t1562.008"]),
        false_positives: texts(&[
            "A file that was damaged on the way; fetch it again and compare its digest \
             (secretrail verify)",
        ]),
        references: texts(&["https://attack.mitre.org/techniques/T1562/008/"]),
        description: "Detects records of a secret store or of KMS so damaged that no field can be \
                      read: what they say is unknown, and somebody may have meant it."
            .to_owned(),
        next_steps: texts(&[
            "Fetch the named file again, and read the record by hand.",
            "If the file in the bucket is damaged, too, find who wrote it: CloudTrail writes no \
             such records.",
        ]),
        asks_for_seen: false,
        file: "built in".to_owned(),
    })
});
