//! An alert as an OCSF Detection Finding: class 2004 of version 1.5.0, with the cloud profile.
//!
//! Source: <https://schema.ocsf.io/1.5.0/classes/detection_finding>. Times are milliseconds since
//! 1970 in UTC.

mod stage;
mod unmapped;

use std::borrow::Cow;

use serde::Serialize;

pub use self::stage::FindingStage;
use self::unmapped::OcsfUnmapped;
use super::{Alert, alert_digest::AlertDigest};
use crate::{
    access::Access,
    ids::{SecretRef, SecretStore, SharedStr},
    observation::{CallOutcome, CallSource, EventHeader, SourceKind},
    principal::PrincipalKind,
    rule_meta::RuleLevel,
    time::EventTime,
};

/// Version of the OCSF schema.
pub const VERSION: &str = "1.5.0";

#[derive(Debug, Serialize)]
struct DetectionFinding<'a> {
    activity_id: u8,
    activity_name: &'static str,
    category_name: &'static str,
    category_uid: u8,
    class_name: &'static str,
    class_uid: u16,
    cloud: OcsfCloud<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<i64>,
    evidences: Vec<OcsfEvidence<'a>>,
    finding_info: OcsfFindingInfo<'a>,
    is_alert: bool,
    message: &'a str,
    metadata: OcsfMetadata<'a>,
    resources: Vec<OcsfResource<'a>>,
    severity: &'static str,
    severity_id: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<i64>,
    status: &'static str,
    status_id: u8,
    time: i64,
    type_name: &'static str,
    type_uid: u32,
    unmapped: OcsfUnmapped,
}

#[derive(Debug, Serialize)]
struct OcsfCloud<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<OcsfAccount<'a>>,
    provider: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct OcsfAccount<'a> {
    uid: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    type_id: u8,
}

#[derive(Debug, Serialize)]
struct OcsfEvidence<'a> {
    actor: OcsfActor<'a>,
    api: OcsfApi<'a>,
    resources: Vec<OcsfResource<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_endpoint: Option<OcsfEndpoint<'a>>,
}

#[derive(Debug, Serialize)]
struct OcsfActor<'a> {
    user: OcsfUser<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invoked_by: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct OcsfUser<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<OcsfAccount<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_uid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'static str,
    type_id: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    /// ARN of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid_alt: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct OcsfApi<'a> {
    operation: &'a str,
    request: OcsfRequest<'a>,
    response: OcsfResponse<'a>,
    service: OcsfNamed<'static>,
}

#[derive(Debug, Serialize)]
struct OcsfRequest<'a> {
    uid: &'a str,
}

#[derive(Debug, Serialize)]
struct OcsfResponse<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct OcsfNamed<'a> {
    name: &'a str,
}

#[derive(Debug, Serialize)]
struct OcsfEndpoint<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<&'a str>,
    /// The name of an AWS service.
    #[serde(skip_serializing_if = "Option::is_none")]
    svc_name: Option<&'a str>,
    /// Id of the VPC endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct OcsfResource<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct OcsfFindingInfo<'a> {
    analytic: OcsfAnalytic<'a>,
    attacks: Vec<OcsfAttack>,
    created_time: i64,
    desc: Cow<'a, str>,
    first_seen_time: i64,
    last_seen_time: i64,
    /// The alerts of a digest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related_events: Vec<OcsfRelatedEvent<'a>>,
    title: &'a str,
    types: [&'static str; 1],
    uid: &'a str,
}

#[derive(Debug, Serialize)]
struct OcsfRelatedEvent<'a> {
    uid: &'a str,
}

#[derive(Debug, Serialize)]
struct OcsfAnalytic<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    type_id: u8,
    uid: &'a str,
}

#[derive(Debug, Serialize)]
struct OcsfAttack {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_technique: Option<OcsfTechnique>,
    technique: OcsfTechnique,
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct OcsfTechnique {
    uid: String,
}

#[derive(Debug, Serialize)]
struct OcsfMetadata<'a> {
    /// The incident; absent while it is not decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_uid: Option<&'a str>,
    product: OcsfProduct,
    profiles: [&'static str; 1],
    uid: &'a str,
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct OcsfProduct {
    name: &'static str,
    vendor_name: &'static str,
    version: &'static str,
}

/// The alert as a Detection Finding in JSON.
#[must_use]
pub fn detection_finding(alert: &Alert) -> String {
    // Cannot fail: every key is text.
    serde_json::to_string(&DetectionFinding::of(alert)).unwrap_or_default()
}

/// A digest as one Detection Finding in JSON, which names the findings of its alerts.
#[must_use]
pub fn digest_finding(digest: &AlertDigest<'_>) -> String {
    let alert = digest.as_alert();
    let ids = digest.alerts().iter().map(|alert| &alert.id.0);
    finding_of_several(&alert, FindingStage::New, ids, Vec::new())
}

/// What stands for several alerts as one Detection Finding in JSON, which names their findings, and
/// what is usual for the principal, in lines.
#[must_use]
pub fn finding_of_several<'i>(
    whole: &'i Alert,
    stage: FindingStage,
    ids: impl Iterator<Item = &'i SharedStr>,
    usual: Vec<String>,
) -> String {
    let mut finding = DetectionFinding::at(whole, stage);
    if !usual.is_empty() {
        let desc = [finding.finding_info.desc.as_ref(), &usual.join("\n")].join("\n");
        finding.finding_info.desc = desc.into();
        finding.unmapped.usual = usual;
    }
    let related = ids.map(|uid| OcsfRelatedEvent { uid });
    finding.finding_info.related_events = related.collect();
    serde_json::to_string(&finding).unwrap_or_default()
}

impl<'a> DetectionFinding<'a> {
    fn of(alert: &'a Alert) -> Self {
        let stage = match alert.withdrawn {
            true => FindingStage::Resolved,
            false => FindingStage::New,
        };
        Self::at(alert, stage)
    }

    fn at(alert: &'a Alert, stage: FindingStage) -> Self {
        let window_match = alert.window_match.as_ref();
        let (severity, severity_id) = severity(alert.rule.level);
        let evidences = alert.accesses.iter();
        let stage = stage.words();
        Self {
            activity_id: stage.activity_id,
            activity_name: stage.activity,
            category_name: "Findings",
            category_uid: 2,
            class_name: "Detection Finding",
            class_uid: 2004,
            cloud: OcsfCloud::of(alert),
            count: window_match.map(|window_match| window_match.count),
            end_time: window_match.map(|window_match| milliseconds(window_match.end)),
            evidences: evidences.map(|access| OcsfEvidence::of(access)).collect(),
            finding_info: OcsfFindingInfo::of(alert),
            is_alert: true,
            message: &alert.summary,
            metadata: OcsfMetadata::of(alert),
            resources: alert.secrets.iter().map(OcsfResource::listed).collect(),
            severity,
            severity_id,
            start_time: window_match.map(|window_match| milliseconds(window_match.start)),
            status: stage.status,
            status_id: stage.status_id,
            time: milliseconds(alert.time),
            type_name: stage.type_name,
            // Defined by the schema as class × 100 + activity.
            type_uid: 200_400 + u32::from(stage.activity_id),
            unmapped: OcsfUnmapped {
                secrets_total: alert.secrets_total,
                accesses_total: alert.accesses_total,
                usual: Vec::new(),
            },
        }
    }
}

impl<'a> OcsfCloud<'a> {
    fn of(alert: &'a Alert) -> Self {
        Self {
            account: alert.account.as_deref().map(OcsfAccount::of),
            provider: "AWS",
            region: alert.region.as_deref(),
        }
    }
}

impl<'a> OcsfFindingInfo<'a> {
    fn of(alert: &'a Alert) -> Self {
        let rule = &*alert.rule;
        let earliest = alert.accesses.iter().map(|access| access.head.time).min();
        Self {
            analytic: OcsfAnalytic {
                name: &rule.title,
                kind: "Rule",
                type_id: 1,
                uid: &rule.id,
            },
            attacks: rule.techniques().map(OcsfAttack::of).collect(),
            created_time: milliseconds(alert.time),
            desc: alert.summary.as_str().into(),
            // Alerts about changes and other records have no accesses.
            first_seen_time: milliseconds(earliest.unwrap_or(alert.time)),
            last_seen_time: milliseconds(alert.last()),
            related_events: Vec::new(),
            title: &rule.title,
            types: ["Secret access"],
            uid: &alert.id.0,
        }
    }
}

impl<'a> OcsfMetadata<'a> {
    fn of(alert: &'a Alert) -> Self {
        Self {
            correlation_uid: alert.incident.as_ref().map(|id| &*id.0),
            product: OcsfProduct {
                name: "Secretrail",
                vendor_name: "Secretrail",
                version: env!("CARGO_PKG_VERSION"),
            },
            profiles: ["cloud"],
            uid: &alert.id.0,
            version: VERSION,
        }
    }
}

fn milliseconds(time: EventTime) -> i64 {
    time.0.saturating_mul(1_000)
}

fn severity(level: RuleLevel) -> (&'static str, u8) {
    match level {
        RuleLevel::Informational => ("Informational", 1),
        RuleLevel::Low => ("Low", 2),
        RuleLevel::Medium => ("Medium", 3),
        RuleLevel::High => ("High", 4),
        RuleLevel::Critical => ("Critical", 5),
    }
}

impl OcsfAttack {
    /// The technique of a Sigma tag: `1555.006` is sub-technique `T1555.006` of `T1555`.
    fn of(number: &str) -> Self {
        let uid = format!("T{number}");
        let whole = uid.split('.').next().unwrap_or_default().to_owned();
        let sub_technique = uid.contains('.').then_some(OcsfTechnique { uid });
        Self {
            sub_technique,
            technique: OcsfTechnique { uid: whole },
            version: "17.1",
        }
    }
}

impl<'a> OcsfAccount<'a> {
    fn of(uid: &'a str) -> Self {
        Self {
            uid,
            kind: "AWS Account",
            type_id: 10,
        }
    }
}

impl<'a> OcsfResource<'a> {
    /// A secret as an alert lists it: by ARN, or by name. The store of a bare name is unknown and
    /// reported as Secrets Manager.
    fn listed(secret: &'a SharedStr) -> Self {
        let arn = Some(&**secret).filter(|text| text.starts_with("arn:"));
        let store = match arn {
            Some(arn) if arn.contains(":ssm:") => SecretStore::Ssm,
            _ => SecretStore::SecretsManager,
        };
        Self {
            kind: resource_type(store),
            name: Some(&**secret).filter(|_| arn.is_none()),
            region: None,
            uid: arn,
        }
    }

    fn of(secret: &'a SecretRef) -> Self {
        Self {
            kind: resource_type(secret.store),
            name: secret.name.as_deref(),
            region: Some(&secret.region),
            uid: secret.arn.as_deref(),
        }
    }
}

/// CloudFormation resource type, which OCSF uses too.
fn resource_type(store: SecretStore) -> &'static str {
    match store {
        SecretStore::SecretsManager => "AWS::SecretsManager::Secret",
        SecretStore::Ssm => "AWS::SSM::Parameter",
    }
}

impl<'a> OcsfEvidence<'a> {
    fn of(access: &'a Access) -> Self {
        let source = &*access.head.source;
        Self {
            actor: OcsfActor::of(&access.head),
            api: OcsfApi::of(access),
            resources: vec![OcsfResource::of(&access.secret)],
            src_endpoint: source.ip.as_deref().map(|ip| OcsfEndpoint::of(ip, source)),
        }
    }
}

impl<'a> OcsfActor<'a> {
    fn of(head: &'a EventHeader) -> Self {
        let principal = &*head.principal;
        let (kind, type_id) = match principal.kind {
            PrincipalKind::Human => ("User", 1),
            PrincipalKind::Root => ("Admin", 2),
            PrincipalKind::Workload => ("System", 3),
            PrincipalKind::Service => ("Service", 4),
            PrincipalKind::Unknown => ("Unknown", 0),
        };
        Self {
            user: OcsfUser {
                account: principal.account.as_deref().map(OcsfAccount::of),
                credential_uid: head.access_key_id.as_deref(),
                name: principal.name.as_deref(),
                kind,
                type_id,
                uid: principal.id.as_deref(),
                uid_alt: principal.actor.as_deref(),
            },
            invoked_by: principal.via.as_deref(),
        }
    }
}

impl<'a> OcsfApi<'a> {
    fn of(access: &'a Access) -> Self {
        let head = &access.head;
        // An access without a read is a KMS Decrypt: the call went to KMS, not to the store.
        let service = match head.api.starts_with("Decrypt") {
            true => "kms",
            false => access.secret.store.as_str(),
        };
        let is_success = head.outcome == CallOutcome::Success;
        Self {
            operation: &head.api,
            request: OcsfRequest {
                uid: &head.event_id,
            },
            response: OcsfResponse {
                error: head.error_code.as_deref(),
                message: Some(head.outcome.as_str()).filter(|_| !is_success),
            },
            service: OcsfNamed { name: service },
        }
    }
}

impl<'a> OcsfEndpoint<'a> {
    /// The source of a call; `sourceIPAddress` is an address or the name of a service.
    fn of(ip: &'a str, source: &'a CallSource) -> Self {
        let is_address = source.kind == SourceKind::Ip;
        Self {
            ip: Some(ip).filter(|_| is_address),
            svc_name: Some(ip).filter(|_| !is_address),
            uid: source.vpc_endpoint.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access, state::contract};
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn found(change: impl FnOnce(&mut Alert)) -> Value {
        let mut alert = contract::alert("e1");
        change(&mut alert);
        serde_json::from_str(&detection_finding(&alert)).unwrap()
    }

    #[test]
    fn a_part_of_a_technique_names_the_whole_too() {
        let found = found(|alert| {
            let tags = [
                "attack.credential-access",
                "attack.t1555.006",
                "attack.t1078",
            ];
            Arc::make_mut(&mut alert.rule).tags = tags.map(str::to_owned).to_vec();
        });
        assert_eq!(
            found["finding_info"]["attacks"],
            json!([
                {
                    "sub_technique": {"uid": "T1555.006"},
                    "technique": {"uid": "T1555"},
                    "version": "17.1"
                },
                {"technique": {"uid": "T1078"}, "version": "17.1"},
            ])
        );
    }

    #[test]
    fn a_digest_is_one_finding_that_names_the_others() {
        let alerts = ["e1", "e2"].map(contract::alert);
        let digest = AlertDigest::new(alerts.iter().collect());
        let found: Value = serde_json::from_str(&digest_finding(&digest)).unwrap();
        let related = found["finding_info"]["related_events"].as_array().unwrap();
        assert_eq!(related.len(), 2);
        assert!(related.contains(&json!({"uid": &*alerts[0].id.0})));
        assert_eq!(found["finding_info"]["uid"], digest.id());
        assert_eq!(found["severity"], "High");
    }

    #[test]
    fn what_was_withdrawn_is_a_closed_finding() {
        let raised = found(|_| {});
        let withdrawn = found(|alert| alert.withdrawn = true);
        let stage = |finding: &serde_json::Value| {
            let keys = ["activity_name", "type_uid", "status", "status_id"];
            keys.map(|key| finding[key].clone())
        };
        let expected = [json!("Create"), json!(200_401), json!("New"), json!(1)];
        assert_eq!(stage(&raised), expected);
        let expected = [json!("Close"), json!(200_403), json!("Resolved"), json!(4)];
        assert_eq!(stage(&withdrawn), expected);
        assert_eq!(raised["finding_info"], withdrawn["finding_info"]);
    }

    #[test]
    fn the_resource_of_a_listed_secret_is_its_arn_or_its_name() {
        let found = found(|alert| {
            alert.secrets = vec!["arn:aws:ssm:eu-west-1:1:parameter/db".into(), "db".into()];
        });
        assert_eq!(
            found["resources"],
            json!([
                {"type": "AWS::SSM::Parameter", "uid": "arn:aws:ssm:eu-west-1:1:parameter/db"},
                {"type": "AWS::SecretsManager::Secret", "name": "db"},
            ])
        );
    }

    #[test]
    fn a_caller_that_is_a_service_has_a_name_and_no_address() {
        let mut access = access::sample();
        let head = Arc::make_mut(&mut access.head);
        let source = Arc::make_mut(&mut head.source);
        assert_eq!(
            OcsfEndpoint::of("198.51.100.7", source).ip,
            Some("198.51.100.7")
        );
        source.kind = SourceKind::Service;
        let endpoint = OcsfEndpoint::of("lambda.amazonaws.com", source);
        assert_eq!(
            (endpoint.ip, endpoint.svc_name),
            (None, Some("lambda.amazonaws.com"))
        );
    }

    #[test]
    fn a_kms_decrypt_is_a_call_of_kms() {
        let mut access = access::sample();
        assert_eq!(OcsfApi::of(&access).service.name, "ssm");
        Arc::make_mut(&mut access.head).api = "Decrypt".into();
        let api = OcsfApi::of(&access);
        assert_eq!((api.service.name, api.response.message), ("kms", None));
    }
}
