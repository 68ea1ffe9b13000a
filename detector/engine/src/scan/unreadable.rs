//! Records that cannot be read although they name one of our services. Whoever can make a record
//! unreadable can hide what it says, so this is a finding of its own.

use std::sync::Arc;

use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};

use super::{ScanResult, UnitSink, prefilter::may_be_ours, unparsed::values_of};
use crate::{
    digest::digest,
    document::LazyDocument,
    evidence::Evidence,
    extract::{self, RawFields},
    object::RecordOrigin,
    observation::Interner,
    rule::UNREADABLE_RECORD,
    selection::Selection,
    shallow::text_of,
    time::EventTime,
    wire::{CloudTrailRecord, LenientScalar},
};

fn scalar(text: Option<&String>) -> LenientScalar<'_> {
    LenientScalar(text.map(|text| text.as_str().into()))
}

/// What can be seen in the bytes of a record that cannot be read. Texts are as in the record, each
/// the first under its key; `None` where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnreadableRecord {
    /// `eventSource`.
    pub service: Option<String>,
    /// `eventName`.
    pub api: Option<String>,
    /// `eventTime`.
    pub time: Option<String>,
    /// `awsRegion`.
    pub region: Option<String>,
    /// `recipientAccountId`.
    pub account: Option<String>,
    /// `arn`, which is that of `userIdentity` in CloudTrail's order of fields.
    pub actor: Option<String>,
}

/// Whether the text between quotes names one of our services. An odd byte or an escape in it is
/// what may hide it.
fn is_ours(service: &[u8]) -> bool {
    let quoted = [b"\"", service, b"\""].concat();
    text_of(&quoted).is_some_and(|service| may_be_ours(&service))
}

impl UnreadableRecord {
    /// `None` for bytes that do not name Secrets Manager, Parameter Store or KMS as their service.
    pub(super) fn of(unit: &[u8]) -> Option<Self> {
        // As text in an envelope, a record has its quotes escaped.
        Self::of_plain(unit).or_else(|| {
            memchr::memmem::find(unit, b"\\\"eventSource")?;
            let plain: Vec<u8> = unit.iter().copied().filter(|byte| *byte != b'\\').collect();
            Self::of_plain(&plain)
        })
    }

    fn of_plain(unit: &[u8]) -> Option<Self> {
        let first = |key: &str| {
            let quoted = format!("\"{key}\"");
            let value = values_of(unit, &Finder::new(&quoted)).next()?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        let services = Finder::new("\"eventSource\"");
        let service = values_of(unit, &services).find(|service| is_ours(service))?;
        Some(Self {
            service: Some(String::from_utf8_lossy(service).into_owned()),
            api: first("eventName"),
            time: first("eventTime"),
            region: first("awsRegion"),
            account: first("recipientAccountId"),
            actor: first("arn"),
        })
    }

    /// Adds the match of the built-in rule: one for each object, whatever is in it.
    pub fn add_match(
        &self,
        origin: &RecordOrigin,
        selection: &Selection,
        scan_result: &mut ScanResult,
    ) {
        let mut record = CloudTrailRecord {
            event_source: scalar(self.service.as_ref()),
            event_name: scalar(self.api.as_ref()),
            aws_region: scalar(self.region.as_ref()),
            recipient_account_id: scalar(self.account.as_ref()),
            ..CloudTrailRecord::default()
        };
        record.user_identity.0.arn = scalar(self.actor.as_ref());
        // An unreadable time must not lose the alert: the delivery comes close to it.
        let time = self.time.as_deref().and_then(EventTime::parse);
        let time = time
            .or(origin.delivered)
            .unwrap_or(EventTime(0))
            .to_string();
        record.event_time = LenientScalar(Some(time.as_str().into()));
        let (document, none) = (LazyDocument::new("null"), RawFields::default());
        let mut interner = Interner::default();
        let head = extract::head(&record, &document, origin, &none, &mut interner);
        let Some(mut head) = head else {
            return;
        };
        // By object: a redelivery, or many such records in one file, must not be many alerts.
        head.event_id = digest(&["unreadable", &origin.object]).into();
        (head.event, head.content) = (0, 0);
        if selection.takes_other(&head, None) {
            let evidence = Evidence::event(Arc::new(head), None);
            scan_result
                .matches
                .singles
                .push((UNREADABLE_RECORD, evidence));
        }
    }
}

impl UnitSink<'_, '_> {
    /// Looks whether a unit that cannot be read is a finding.
    pub(super) fn look_at_unreadable(&mut self, unit: &[u8]) {
        if let Some(unreadable) = UnreadableRecord::of(unit) {
            let selection = self.scanner.selection;
            unreadable.add_match(self.origin, selection, self.scan_result);
            if self.scanner.keeps && self.scan_result.unreadable.is_none() {
                self.scan_result.unreadable = Some(unreadable);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(unit: &str) -> Option<UnreadableRecord> {
        UnreadableRecord::of(unit.as_bytes())
    }

    #[test]
    fn only_the_key_with_one_of_our_services_counts() {
        for service in ["secretsmanager", "ssm", "kms"] {
            let unit = format!(r#"{{"a" "b","eventSource" : "{service}.amazonaws.com"}}"#);
            assert!(of(&unit).is_some(), "{unit}");
        }
        for other in [
            r#"{"eventSource":"s3.amazonaws.com"}"#,
            r#"{"note":"eventSource of kms.amazonaws.com"}"#,
            r#"{"eventSource":null,"a":"kms.amazonaws.com"}"#,
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn an_object_has_one_alert_and_its_time_is_that_of_the_record_or_the_delivery() {
        let unit = r#"{"userIdentity":{"arn":"arn:aws:iam::111122223333:user/eve"} "eventTime":
            "2026-03-02T10:00:00Z","eventSource":"ssm.amazonaws.com","awsRegion":"eu-west-1"}"#;
        let unreadable = of(unit).unwrap();
        let origin = RecordOrigin {
            object: "a.json".into(),
            delivered: Some(EventTime(7)),
        };
        let mut found = ScanResult::default();
        let selection = Selection::default();
        unreadable.add_match(&origin, &selection, &mut found);
        let timeless = UnreadableRecord {
            time: None,
            ..unreadable
        };
        timeless.add_match(&origin, &selection, &mut found);
        let [(_, one), (_, other)] = found.matches.singles.as_slice() else {
            panic!("two matches")
        };
        assert_eq!(one.head.event_id, other.head.event_id);
        assert_eq!(
            one.head.time,
            EventTime::parse("2026-03-02T10:00:00Z").unwrap()
        );
        assert_eq!(
            (other.head.time, &*one.head.region),
            (EventTime(7), "eu-west-1")
        );
    }
}
