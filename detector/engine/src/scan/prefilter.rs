//! What a record is worth before it is parsed: by the bytes of its service and its call.
//!
//! Most records of a trail are of services that nobody asks for. They are not parsed, and so the
//! time of a scan is the time of inflating and of what stands here.

use memchr::memmem::Finder;

use super::unparsed::{DecryptMarks, FrontFields, after, values_of};
use crate::extract::{self, CallRole};
use crate::rule::needs::NeededCalls;
use crate::rule::{RuleSet, RuleTarget};
use crate::wire::CloudTrailRecord;

/// What the services of a unit's `eventSource` fields call for. More is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ServiceInterest {
    /// It has no such field: it may be a lookup event.
    Unnamed,
    /// Nothing: it is counted.
    None,
    /// A KMS event: at least a coverage mark.
    Kms,
    /// It is parsed.
    Full,
}

/// What the rules ask for, and how to find it in bytes.
pub(super) struct Prefilter {
    /// Calls that rules about records ask for; `None` for any.
    calls: Option<Vec<NeededCalls>>,
    /// Whether rules ask for records themselves.
    matches_records: bool,
    /// Whether rules ask for changes; those of trails and keys are read for them alone.
    matches_changes: bool,
    event_source: Finder<'static>,
    event_name: Finder<'static>,
    marks: DecryptMarks,
}

impl Prefilter {
    pub(super) fn new(rules: &RuleSet) -> Self {
        Self {
            calls: rules.record_calls(),
            matches_records: rules.sees(RuleTarget::Record),
            matches_changes: rules.sees(RuleTarget::Change),
            event_source: Finder::new(b"\"eventSource\""),
            event_name: Finder::new(b"\"eventName\""),
            marks: DecryptMarks::new(),
        }
    }

    /// Lets through all changes and these calls, or every record.
    pub(super) fn let_through(&mut self, calls: Option<Vec<NeededCalls>>) {
        self.matches_changes = true;
        self.matches_records |= calls.is_none();
        self.calls = calls;
    }

    /// Whether records that are asked for are matched by rules.
    pub(super) fn matches_records(&self) -> bool {
        self.matches_records
    }

    /// What a unit is worth. In the order of AWS, `eventTime`, `eventSource` and `eventName` follow
    /// the first object, `userIdentity`. In any other order every `"eventSource": "…"` is looked
    /// at: nested ones only make the unit more interesting, never less.
    pub(super) fn interest(&self, unit: &[u8], after_first: usize) -> ServiceInterest {
        if let Some(FrontFields {
            service,
            name,
            rest,
            ..
        }) = FrontFields::of(unit, after_first)
        {
            // What matters stands before the response.
            return self.service(service, &[name], || self.marks.are_asked_for(rest));
        }
        let names: Vec<&[u8]> = values_of(unit, &self.event_name).collect();
        let services = values_of(unit, &self.event_source);
        services
            .map(|service| self.service(service, &names, || self.marks.are_in(unit)))
            .max()
            .unwrap_or(ServiceInterest::Unnamed)
    }

    /// What a record of a service is worth whose call may be any of these.
    fn service(
        &self,
        service: &[u8],
        names: &[&[u8]],
        is_marked: impl Fn() -> bool,
    ) -> ServiceInterest {
        if self.is_asked_for(service, names) {
            return ServiceInterest::Full;
        }
        // Nine records of ten end here, and so the name is only looked at as text behind it.
        let Some(least) = least_interest(service) else {
            return ServiceInterest::None;
        };
        let Ok(service) = std::str::from_utf8(service) else {
            return ServiceInterest::None;
        };
        names
            .iter()
            .map(|name| self.called(service, name, &is_marked))
            .max()
            .unwrap_or(least)
            .max(least)
    }

    /// Whether a rule about records asks for the call of a record.
    pub(super) fn is_asked_for_by(&self, record: &CloudTrailRecord<'_>) -> bool {
        let source = record.event_source.get().unwrap_or_default();
        let name = record.event_name.get().unwrap_or_default();
        self.is_asked_for(source.as_bytes(), &[name.as_bytes()])
    }

    /// Whether a rule about records asks for such a call.
    fn is_asked_for(&self, service: &[u8], names: &[&[u8]]) -> bool {
        let Some(calls) = &self.calls else {
            return self.matches_records;
        };
        calls.iter().any(|calls| {
            service.eq_ignore_ascii_case(calls.source.as_bytes())
                && calls
                    .names
                    .as_ref()
                    .is_none_or(|wanted| wanted.iter().any(|wanted| is_among(names, wanted)))
        })
    }

    /// What a call is worth. `is_marked` says whether a record may be a key use for a secret.
    fn called(&self, service: &str, name: &[u8], is_marked: impl Fn() -> bool) -> ServiceInterest {
        let name = std::str::from_utf8(name).ok();
        match name.and_then(|name| extract::role(service, name)) {
            Some(CallRole::Read(_)) => ServiceInterest::Full,
            // A change that decrypts explains key uses, whether or not a rule asks for it.
            Some(CallRole::Change { decrypts }) if decrypts || self.matches_changes => {
                ServiceInterest::Full
            }
            Some(CallRole::KmsDecrypt) if is_marked() => ServiceInterest::Full,
            _ => ServiceInterest::None,
        }
    }
}

/// What a record of a service is worth whatever its call is; `None` when no call of it concerns us.
/// Compared as bytes, which need not be text.
#[inline]
fn least_interest(service: &[u8]) -> Option<ServiceInterest> {
    if after(service, b"kms.").is_some() {
        return Some(ServiceInterest::Kms);
    }
    let is_ours = after(service, b"ssm.").is_some()
        || after(service, b"secretsmanager.").is_some()
        || after(service, b"cloudtrail.").is_some();
    is_ours.then_some(ServiceInterest::None)
}

fn is_among(names: &[&[u8]], wanted: &str) -> bool {
    let wanted = wanted.as_bytes();
    names.iter().any(|name| name.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::{RecordSplitter, SplitPiece};

    /// What the splitter makes of a record, and what that is worth.
    fn interest(prefilter: &Prefilter, record: &str) -> ServiceInterest {
        let mut found = None;
        let mut splitter = RecordSplitter::default();
        splitter.feed(record.as_bytes(), &mut |piece| {
            if let SplitPiece::Unit { bytes, after_first } = piece {
                found = Some(prefilter.interest(bytes, after_first));
            }
        });
        found.unwrap()
    }

    /// A record as AWS writes it, and the same in another order.
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
            // No rule asks for changes.
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
    fn what_is_nested_makes_a_record_more_interesting_never_less() {
        let prefilter = Prefilter::new(&RuleSet::default());
        let nested = r#"{"a":{"eventSource":"s3.amazonaws.com","eventName":"PutObject"}}"#;
        let [_, read] = both_orders("secretsmanager", "GetSecretValue", nested);
        assert_eq!(interest(&prefilter, &read), ServiceInterest::Full);
        let nested = r#"{"a":{"eventSource":"ssm.amazonaws.com","eventName":"GetParameter"}}"#;
        let [_, other] = both_orders("s3", "PutObject", nested);
        assert_eq!(interest(&prefilter, &other), ServiceInterest::Full);
        assert_eq!(
            interest(&prefilter, r#"{"eventName":"PutObject"}"#),
            ServiceInterest::Unnamed
        );
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
