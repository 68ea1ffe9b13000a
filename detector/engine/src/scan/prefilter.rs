//! The prefilter: judges a record by the bytes of its service and its call, before it is parsed.
//!
//! Most records of a trail belong to services that nothing needs. They are not parsed, so that a
//! scan takes the time for inflating and for this prefilter.

use super::unparsed::{DecryptMarks, FrontFields, RepeatedKeys, after, is_name};
use crate::{
    extract::{self, CallRole},
    lineage::issue::issues,
    rule::{RuleSet, RuleTarget, needs::NeededCalls},
    shallow::TopLevel,
    wire::CloudTrailRecord,
};

/// What a unit needs, judged by its `eventSource` and `eventName` fields. Greater values need more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ServiceInterest {
    /// Not relevant: only counted.
    None,
    /// A KMS event: needs at least a coverage mark.
    Kms,
    /// Must be parsed.
    Full,
}

/// What the rules need, and how to find it in bytes.
pub(super) struct Prefilter {
    /// Calls that rules about records need; `None` for any call.
    calls: Option<Vec<NeededCalls>>,
    /// Whether there are rules about records.
    matches_records: bool,
    /// Whether changes are read that explain no KMS Decrypt: for rules about them, or for the
    /// versions of secrets.
    matches_changes: bool,
    /// Whether calls that issue credentials are read.
    reads_issues: bool,
    marks: DecryptMarks,
    repeated: RepeatedKeys,
}

impl Prefilter {
    pub(super) fn new(rules: &RuleSet) -> Self {
        Self {
            calls: rules.record_calls(),
            matches_records: rules.sees(RuleTarget::Record),
            matches_changes: rules.keeps_changes(),
            reads_issues: rules.keeps_issues(),
            marks: DecryptMarks::new(),
            repeated: RepeatedKeys::new(),
        }
    }

    /// Lets all changes, calls that issue credentials, and these calls pass; with `None`, every
    /// record.
    pub(super) fn let_through(&mut self, calls: Option<Vec<NeededCalls>>) {
        self.matches_changes = true;
        self.reads_issues = true;
        self.matches_records |= calls.is_none();
        self.calls = calls;
    }

    /// Whether a record is read for the credentials that its call may have issued.
    pub(super) fn may_issue(&self, record: &CloudTrailRecord<'_>) -> bool {
        let source = record.event_source.get().unwrap_or_default();
        self.reads_issues && issues(source, record.event_name.get().unwrap_or_default())
    }

    /// Whether there are rules about records to match.
    pub(super) fn matches_records(&self) -> bool {
        self.matches_records
    }

    /// Whether the fields at the front of a record say what it is.
    #[inline]
    pub(super) fn is_sound(&self, front: &FrontFields<'_>) -> bool {
        self.repeated.are_sound(front)
    }

    /// Judges a record with its fields in the order of AWS.
    pub(super) fn front_interest(&self, front: &FrontFields<'_>) -> ServiceInterest {
        let FrontFields {
            service,
            name,
            rest,
            ..
        } = front;
        // The relevant fields precede the response.
        self.service(service, name, || self.marks.are_asked_for(rest))
    }

    /// Judges a record in any order of fields, by its own top level.
    pub(super) fn interest(&self, unit: &[u8], top: &TopLevel<'_>) -> ServiceInterest {
        let service = top.text("eventSource").unwrap_or_default();
        let name = top.text("eventName").unwrap_or_default();
        self.service(service.as_bytes(), name.as_bytes(), || {
            self.marks.are_in(unit)
        })
    }

    /// Judges a record of this service and call.
    fn service(
        &self,
        service: &[u8],
        name: &[u8],
        is_marked: impl Fn() -> bool,
    ) -> ServiceInterest {
        if self.is_asked_for(service, name) {
            return ServiceInterest::Full;
        }
        if after(service, b"sts.").is_some() {
            return self.credentials(service, name);
        }
        // Nine of ten records end here, so the name is decoded only after this.
        let Some(least) = least_interest(service) else {
            return ServiceInterest::None;
        };
        let Ok(service) = std::str::from_utf8(service) else {
            return ServiceInterest::None;
        };
        // Any KMS event proves that KMS events are logged, even one that no rule asks for.
        self.called(service, name, &is_marked).max(least)
    }

    /// Whether a rule about records needs the call of this record.
    pub(super) fn is_asked_for_by(&self, record: &CloudTrailRecord<'_>) -> bool {
        let source = record.event_source.get().unwrap_or_default();
        let name = record.event_name.get().unwrap_or_default();
        self.is_asked_for(source.as_bytes(), name.as_bytes())
    }

    /// Whether a rule about records needs such a call.
    fn is_asked_for(&self, service: &[u8], name: &[u8]) -> bool {
        let Some(calls) = &self.calls else {
            return self.matches_records;
        };
        // Without regard to case, as Sigma compares: a record that is left out here reaches no
        // rule.
        calls.iter().any(|calls| {
            service.eq_ignore_ascii_case(calls.source.as_bytes())
                && calls.names.as_ref().is_none_or(|wanted| {
                    wanted
                        .iter()
                        .any(|w| name.eq_ignore_ascii_case(w.as_bytes()))
                })
        })
    }

    /// Judges a call of the service that issues credentials.
    fn credentials(&self, service: &[u8], name: &[u8]) -> ServiceInterest {
        let [service, name] = [service, name].map(|text| std::str::from_utf8(text).ok());
        match service.zip(name) {
            Some((service, name)) if self.reads_issues && issues(service, name) => {
                ServiceInterest::Full
            }
            _ => ServiceInterest::None,
        }
    }

    /// Judges a call. `is_marked` returns whether the record may be a KMS Decrypt for a secret.
    fn called(&self, service: &str, name: &[u8], is_marked: impl Fn() -> bool) -> ServiceInterest {
        let name = std::str::from_utf8(name).ok();
        match name.and_then(|name| extract::role(service, name)) {
            Some(CallRole::Read(_)) => ServiceInterest::Full,
            // A change that decrypts explains KMS Decrypts, whether or not a rule needs it.
            Some(CallRole::Change { decrypts }) if decrypts || self.matches_changes => {
                ServiceInterest::Full
            }
            Some(CallRole::KmsDecrypt) if is_marked() => ServiceInterest::Full,
            _ => ServiceInterest::None,
        }
    }
}

/// Least interest in a record of a service, whatever its call; `None` when no call of the service
/// is relevant. Compares bytes, which need not be text.
#[inline]
fn least_interest(service: &[u8]) -> Option<ServiceInterest> {
    if after(service, b"kms.").is_some() {
        return Some(ServiceInterest::Kms);
    }
    let is_ours = after(service, b"ssm.").is_some()
        || after(service, b"secretsmanager.").is_some()
        || after(service, b"cloudtrail.").is_some()
        || after(service, b"ram.").is_some();
    is_ours.then_some(ServiceInterest::None)
}

/// Whether an odd character in its service or call hides that a record is of one of our services:
/// without it, it would be.
pub(super) fn has_odd_name(top: &TopLevel<'_>) -> bool {
    let [service, name] = ["eventSource", "eventName"].map(|key| top.text(key).unwrap_or_default());
    if is_name(service.as_bytes()) && is_name(name.as_bytes()) {
        return false;
    }
    may_be_ours(&service)
}

/// Whether a service may be one of ours, if odd characters hide its name.
pub(super) fn may_be_ours(service: &str) -> bool {
    let service: Vec<char> = service.chars().take(64).collect();
    ["kms.", "ssm.", "secretsmanager."]
        .iter()
        .any(|own| may_begin(&service, own))
}

/// Whether a text may begin like this, if each odd character in it stands beside a letter or in the
/// place of one.
fn may_begin(text: &[char], own: &str) -> bool {
    let Some((first, rest)) = own.split_at_checked(1) else {
        return true;
    };
    match text.split_first() {
        None => own.is_empty(),
        Some(_) if own.is_empty() => true,
        Some((letter, after)) if letter.is_ascii_graphic() => {
            first.starts_with(*letter) && may_begin(after, rest)
        }
        // Many odd characters would be tried in ever more ways, and hide anything.
        Some((_, after)) if after.iter().filter(|c| !c.is_ascii_graphic()).count() > 4 => true,
        Some((_, after)) => may_begin(after, own) || may_begin(after, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::{RecordSplitter, SplitPiece};

    /// Splits a record, and judges the unit.
    fn interest(prefilter: &Prefilter, record: &str) -> ServiceInterest {
        let mut found = None;
        let mut splitter = RecordSplitter::default();
        let mut sink = |piece: SplitPiece<'_>| {
            if let SplitPiece::Unit {
                bytes, after_first, ..
            } = piece
            {
                let front = FrontFields::of(bytes, after_first);
                found = Some(match front {
                    Some(front) => prefilter.front_interest(&front),
                    None => prefilter.interest(bytes, &TopLevel::of(bytes)),
                });
            }
        };
        splitter.feed(record.as_bytes(), &mut sink);
        splitter.finish(&mut sink);
        found.unwrap()
    }

    /// A record with its fields in the order of AWS, and the same in another order.
    fn both_orders(service: &str, api: &str, params: &str) -> [String; 2] {
        let source = format!(r#""eventSource":"{service}.amazonaws.com""#);
        let rest = format!(
            r#""eventName":"{api}","awsRegion":"eu-west-1","requestParameters":{params},
            "responseElements":null,"eventID":"e1""#
        );
        let front = r#""userIdentity":{"type":"AWSService"},"eventTime":"2026-03-02T10:00:00Z""#;
        [
            format!(r#"{{"eventVersion":"1.11",{front},{source},{rest}}}"#),
            format!(r#"{{{rest}, {front}, {source}}}"#),
        ]
    }

    #[test]
    fn a_record_is_worth_what_its_call_is_in_any_order_of_fields() {
        let secret = r#"{"encryptionContext":{"SecretARN":"arn"}}"#;
        let other = r#"{"encryptionContext":{"app":"x"}}"#;
        let cases = [
            ("s3", "GetObject", "null", ServiceInterest::None),
            ("kms", "Decrypt", secret, ServiceInterest::Full),
            ("kms", "Decrypt", other, ServiceInterest::Kms),
            ("kms", "GenerateDataKey", secret, ServiceInterest::Kms),
            (
                "secretsmanager",
                "GetSecretValue",
                "null",
                ServiceInterest::Full,
            ),
            (
                "secretsmanager",
                "ListSecrets",
                "null",
                ServiceInterest::None,
            ),
            (
                "secretsmanager",
                "PutSecretValue",
                "null",
                ServiceInterest::Full,
            ),
            ("ssm", "GetParametersByPath", "null", ServiceInterest::Full),
            // No rule is about changes.
            ("cloudtrail", "StopLogging", "null", ServiceInterest::None),
        ];
        let prefilter = Prefilter::new(&RuleSet::default());
        for (service, api, params, expected) in cases {
            for record in both_orders(service, api, params) {
                assert_eq!(interest(&prefilter, &record), expected, "{record}");
            }
        }
    }

    #[test]
    fn calls_that_issue_credentials_are_read_where_somebody_asks_for_them() {
        let without = Prefilter::new(&RuleSet::default());
        let with = Prefilter::new(&RuleSet::default().with_issues());
        for (service, api, expected) in [
            ("sts", "AssumeRole", ServiceInterest::Full),
            ("sts", "GetSessionToken", ServiceInterest::Full),
            ("sts", "GetCallerIdentity", ServiceInterest::None),
            ("stsx", "AssumeRole", ServiceInterest::None),
        ] {
            for record in both_orders(service, api, "null") {
                assert_eq!(interest(&with, &record), expected, "{record}");
                assert_eq!(interest(&without, &record), ServiceInterest::None);
            }
        }
    }

    #[test]
    fn what_is_nested_does_not_count() {
        let prefilter = Prefilter::new(&RuleSet::default());
        let nested = r#"{"a":{"eventSource":"s3.amazonaws.com","eventName":"PutObject"}}"#;
        let [_, read] = both_orders("secretsmanager", "GetSecretValue", nested);
        assert_eq!(interest(&prefilter, &read), ServiceInterest::Full);
        let nested = r#"{"a":{"eventSource":"ssm.amazonaws.com","eventName":"GetParameter"}}"#;
        let [_, other] = both_orders("s3", "PutObject", nested);
        assert_eq!(interest(&prefilter, &other), ServiceInterest::None);
    }

    #[test]
    fn odd_characters_in_a_service_are_seen_through() {
        let may_be = |text: &str, own: &str| {
            let text: Vec<char> = text.chars().collect();
            may_begin(&text, own)
        };
        assert!(may_be("kms.amazonaws.com", "kms."));
        assert!(may_be("k\u{fffd}s.amazonaws.com", "kms."));
        assert!(may_be("k\u{1}ms.amazonaws.com", "kms."));
        assert!(may_be(
            "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
            "kms."
        ));
        assert!(!may_be("s\u{fffd}.amazonaws.com", "kms."));
        assert!(!may_be("ec2", "kms.") && !may_be("km", "kms."));
    }

    #[test]
    fn escapes_hide_no_record() {
        let prefilter = Prefilter::new(&RuleSet::default());
        for record in both_orders("secretsmanager", "GetSecretValue", "null") {
            for (plain, escaped) in [
                ("secretsmanager.", "secretsmanager\\u002e"),
                ("secretsmanager.", "\\u0073ecretsmanager."),
                ("GetSecretValue", "Get\\u0053ecretValue"),
                ("\"eventSource\"", "\"event\\u0053ource\""),
            ] {
                let record = record.replace(plain, escaped);
                assert_eq!(
                    interest(&prefilter, &record),
                    ServiceInterest::Full,
                    "{record}"
                );
            }
        }
    }

    #[test]
    fn what_is_to_be_kept_is_let_through() {
        let worth = |calls: Option<Vec<NeededCalls>>, service: &str, api: &str| {
            let mut prefilter = Prefilter::new(&RuleSet::default());
            prefilter.let_through(calls);
            let [ordered, other] = both_orders(service, api, "null");
            let worth = interest(&prefilter, &ordered);
            assert_eq!(interest(&prefilter, &other), worth, "{service} {api}");
            worth
        };
        let calls = |names: Option<&[&str]>| {
            Some(vec![NeededCalls {
                source: "S3.amazonaws.com".to_owned(),
                names: names.map(|names| names.iter().map(ToString::to_string).collect()),
            }])
        };
        assert_eq!(worth(None, "s3", "PutObject"), ServiceInterest::Full);
        assert_eq!(worth(calls(None), "s3", "PutObject"), ServiceInterest::Full);
        assert_eq!(
            worth(calls(Some(&["putobject"])), "s3", "PutObject"),
            ServiceInterest::Full
        );
        assert_eq!(
            worth(calls(Some(&["GetObject"])), "s3", "PutObject"),
            ServiceInterest::None
        );
        assert_eq!(
            worth(calls(None), "ec2", "RunInstances"),
            ServiceInterest::None
        );
        assert_eq!(
            worth(calls(None), "cloudtrail", "StopLogging"),
            ServiceInterest::Full
        );
    }
}
