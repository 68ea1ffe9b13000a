//! An alert as an OCSF Detection Finding: class 2004 of version 1.5.0, with the cloud profile.
//!
//! Source: <https://schema.ocsf.io/1.5.0/classes/detection_finding>. Times are milliseconds since 1970 in UTC.

use serde::Serialize;

use super::Alert;
use crate::access::Access;
use crate::ids::Text;
use crate::observation::Outcome;
use crate::principal::PrincipalKind;
use crate::rule_meta::Level;

/// Version of the schema.
pub const VERSION: &str = "1.5.0";

#[derive(Debug, Serialize)]
struct DetectionFinding<'a> {
    activity_id: u8,
    activity_name: &'static str,
    category_name: &'static str,
    category_uid: u8,
    class_name: &'static str,
    class_uid: u16,
    cloud: Cloud<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<i64>,
    evidences: Vec<Evidence<'a>>,
    finding_info: FindingInfo<'a>,
    is_alert: bool,
    message: &'a str,
    metadata: Metadata<'a>,
    resources: Vec<Resource<'a>>,
    severity: &'static str,
    severity_id: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<i64>,
    status: &'static str,
    status_id: u8,
    time: i64,
    type_name: &'static str,
    type_uid: u32,
    unmapped: Unmapped,
}

#[derive(Debug, Serialize)]
struct Cloud<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<Account<'a>>,
    provider: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Account<'a> {
    uid: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    type_id: u8,
}

#[derive(Debug, Serialize)]
struct Evidence<'a> {
    actor: Actor<'a>,
    api: Api<'a>,
    resources: Vec<Resource<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_endpoint: Option<Endpoint<'a>>,
}

#[derive(Debug, Serialize)]
struct Actor<'a> {
    user: User<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invoked_by: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct User<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<Account<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_uid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'static str,
    type_id: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid_alt: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Api<'a> {
    operation: &'a str,
    request: Request<'a>,
    response: Response<'a>,
    service: Named<'static>,
}

#[derive(Debug, Serialize)]
struct Request<'a> {
    uid: &'a str,
}

#[derive(Debug, Serialize)]
struct Response<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Debug, Serialize)]
struct Endpoint<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<&'a str>,
    /// The name of an AWS service.
    #[serde(skip_serializing_if = "Option::is_none")]
    svc_name: Option<&'a str>,
    /// The VPC endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Resource<'a> {
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
struct FindingInfo<'a> {
    analytic: Analytic<'a>,
    attacks: Vec<Attack>,
    created_time: i64,
    desc: &'a str,
    first_seen_time: i64,
    last_seen_time: i64,
    title: &'a str,
    types: [&'static str; 1],
    uid: &'a str,
}

#[derive(Debug, Serialize)]
struct Analytic<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    type_id: u8,
    uid: &'a str,
}

#[derive(Debug, Serialize)]
struct Attack {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_technique: Option<Technique>,
    technique: Technique,
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct Technique {
    uid: String,
}

#[derive(Debug, Serialize)]
struct Metadata<'a> {
    product: Product,
    profiles: [&'static str; 1],
    uid: &'a str,
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct Product {
    name: &'static str,
    vendor_name: &'static str,
    version: &'static str,
}

/// What OCSF has no word for.
#[derive(Debug, Serialize)]
struct Unmapped {
    secrets_total: usize,
    accesses_total: usize,
}

/// The finding as JSON.
#[must_use]
pub fn detection_finding(alert: &Alert) -> String {
    let rule = &*alert.rule;
    let ms = |secs: i64| secs.saturating_mul(1_000);
    let firing = alert.firing.as_ref();
    let (severity, severity_id) = severity(rule.level);
    let earliest = alert.accesses.iter().map(|access| access.head.time).min();
    let technique = |tag: &String| tag.strip_prefix("attack.t").map(|uid| format!("T{uid}"));
    let techniques = rule.tags.iter().filter_map(technique);
    let finding = DetectionFinding {
        activity_id: 1,
        activity_name: "Create",
        category_name: "Findings",
        category_uid: 2,
        class_name: "Detection Finding",
        class_uid: 2004,
        cloud: Cloud {
            account: alert.account.as_deref().map(Account::of),
            provider: "AWS",
            region: alert.region.as_deref(),
        },
        count: firing.map(|firing| firing.count),
        end_time: firing.map(|firing| ms(firing.end.0)),
        evidences: alert
            .accesses
            .iter()
            .map(|access| Evidence::of(access))
            .collect(),
        finding_info: FindingInfo {
            analytic: Analytic {
                name: &rule.title,
                kind: "Rule",
                type_id: 1,
                uid: &rule.id,
            },
            attacks: techniques.map(Attack::of).collect(),
            created_time: ms(alert.time.0),
            desc: &alert.summary,
            first_seen_time: ms(earliest.unwrap_or(alert.time).0),
            last_seen_time: ms(alert.time.0),
            title: &rule.title,
            types: ["Secret access"],
            uid: &alert.id.0,
        },
        is_alert: true,
        message: &alert.summary,
        metadata: Metadata {
            product: Product {
                name: "Secretrail",
                vendor_name: "Secretrail",
                version: env!("CARGO_PKG_VERSION"),
            },
            profiles: ["cloud"],
            uid: &alert.id.0,
            version: VERSION,
        },
        resources: alert.secrets.iter().map(Resource::of).collect(),
        severity,
        severity_id,
        start_time: firing.map(|firing| ms(firing.start.0)),
        status: "New",
        status_id: 1,
        time: ms(alert.time.0),
        type_name: "Detection Finding: Create",
        type_uid: 200_401,
        unmapped: Unmapped {
            secrets_total: alert.secrets_total,
            accesses_total: alert.accesses_total,
        },
    };
    // Cannot fail: every key is text.
    serde_json::to_string(&finding).unwrap_or_default()
}

fn severity(level: Level) -> (&'static str, u8) {
    match level {
        Level::Informational => ("Informational", 1),
        Level::Low => ("Low", 2),
        Level::Medium => ("Medium", 3),
        Level::High => ("High", 4),
        Level::Critical => ("Critical", 5),
    }
}

impl Attack {
    /// `T1555.006` is a part of `T1555`.
    fn of(uid: String) -> Self {
        let whole = uid.split('.').next().unwrap_or_default().to_owned();
        let sub_technique = uid.contains('.').then_some(Technique { uid });
        Self {
            sub_technique,
            technique: Technique { uid: whole },
            version: "17.1",
        }
    }
}

impl<'a> Account<'a> {
    fn of(uid: &'a str) -> Self {
        Self {
            uid,
            kind: "AWS Account",
            type_id: 10,
        }
    }
}

impl<'a> Resource<'a> {
    fn of(secret: &'a Text) -> Self {
        let arn = Some(&**secret).filter(|text| text.starts_with("arn:"));
        let kind = match arn {
            Some(arn) if arn.contains(":ssm:") => "AWS::SSM::Parameter",
            _ => "AWS::SecretsManager::Secret",
        };
        Self {
            kind,
            name: Some(&**secret).filter(|_| arn.is_none()),
            region: None,
            uid: arn,
        }
    }
}

impl<'a> Evidence<'a> {
    fn of(access: &'a Access) -> Self {
        let head = &access.head;
        let principal = &*head.principal;
        let (kind, type_id) = match principal.kind {
            PrincipalKind::Human => ("User", 1),
            PrincipalKind::Root => ("Admin", 2),
            PrincipalKind::Workload => ("System", 3),
            PrincipalKind::Service => ("Service", 4),
            PrincipalKind::Unknown => ("Unknown", 0),
        };
        let source = &*head.source;
        let is_address = source.kind == crate::observation::SourceKind::Ip;
        let secret = &access.secret;
        let service = if head.api.starts_with("Decrypt") {
            "kms"
        } else {
            secret.store.as_str()
        };
        let resource = Resource {
            kind: match secret.store {
                crate::ids::Store::SecretsManager => "AWS::SecretsManager::Secret",
                crate::ids::Store::Ssm => "AWS::SSM::Parameter",
            },
            name: secret.name.as_deref(),
            region: Some(&secret.region),
            uid: secret.arn.as_deref(),
        };
        Self {
            actor: Actor {
                user: User {
                    account: principal.account.as_deref().map(Account::of),
                    credential_uid: head.access_key_id.as_deref(),
                    name: principal.name.as_deref(),
                    kind,
                    type_id,
                    uid: principal.id.as_deref(),
                    uid_alt: principal.actor.as_deref(),
                },
                invoked_by: principal.via.as_deref(),
            },
            api: Api {
                operation: &head.api,
                request: Request {
                    uid: &head.event_id,
                },
                response: Response {
                    error: head.error_code.as_deref(),
                    message: Some(head.outcome.as_str())
                        .filter(|_| head.outcome != Outcome::Success),
                },
                service: Named { name: service },
            },
            resources: vec![resource],
            src_endpoint: source.ip.as_deref().map(|ip| Endpoint {
                ip: Some(ip).filter(|_| is_address),
                svc_name: Some(ip).filter(|_| !is_address),
                uid: source.vpc_endpoint.as_deref(),
            }),
        }
    }
}
