//! An incident as a finding in the AWS Security Finding Format, for `BatchImportFindings` of AWS
//! Security Hub: each message imports the same finding again.
//!
//! Source: AWS Security Hub user guide, "AWS Security Finding Format (ASFF)" and "Guidelines for
//! using the BatchImportFindings API operation", checked 2026-11. Times are RFC 3339 in UTC.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Incident,
    announced::IncidentEnd,
    message::{self, IncidentMessage},
    story::IncidentStory,
    usual::UsualFacts,
};
use crate::{
    actor::ActorKind,
    alert::{cut, text},
    ids::{ArnParts, SharedStr},
    rule_meta::RuleLevel,
    sanitize,
};

/// Most characters of texts.
const TITLE: usize = 256;
const DESCRIPTION: usize = 1_024;
const RECOMMENDATION: usize = 512;
const IDENTIFIER: usize = 512;
const FIELD: usize = 2_048;

/// Most resources of a finding, and most access keys among them.
const RESOURCES: usize = 32;
const KEYS: usize = 5;

/// Partitions that the format knows.
const PARTITIONS: [&str; 3] = ["aws", "aws-cn", "aws-us-gov"];

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SecurityFinding<'a> {
    schema_version: &'static str,
    id: String,
    product_arn: &'a str,
    company_name: &'static str,
    product_name: &'static str,
    generator_id: &'static str,
    aws_account_id: &'a str,
    created_at: String,
    updated_at: String,
    first_observed_at: String,
    last_observed_at: String,
    title: String,
    description: String,
    record_state: &'static str,
    remediation: Remediation,
    resources: Vec<FindingResource>,
    product_fields: BTreeMap<&'static str, String>,
    /// What the provider says, beside what people change in Security Hub.
    finding_provider_fields: ProviderFields,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Remediation {
    recommendation: Recommendation,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Recommendation {
    text: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct FindingResource {
    #[serde(rename = "Type")]
    kind: &'static str,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProviderFields {
    severity: FindingSeverity,
    types: [&'static str; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct FindingSeverity {
    label: &'static str,
    original: &'static str,
}

/// Id of the finding of an incident, by the id that it was first published with.
#[must_use]
pub fn finding_id(message: &IncidentMessage) -> String {
    format!("secretrail/incident/{}", message.announced.thread.0)
}

/// The incident as a finding in JSON. The ARN of the product says to which account it belongs: that
/// of the caller, which alone may import it. An incident that was merged or withdrawn is archived.
#[must_use]
pub fn security_finding(message: &IncidentMessage, product_arn: &str) -> String {
    let incident = &message.incident;
    let story = IncidentStory::of(incident);
    let account = ArnParts::parse(product_arn).map_or("", |arn| arn.account);
    let is_over = message.announced.end.is_some();
    let finding = SecurityFinding {
        schema_version: "2018-10-08",
        id: finding_id(message),
        product_arn,
        company_name: "Secretrail",
        product_name: "Secretrail",
        generator_id: "secretrail/incidents",
        aws_account_id: account,
        created_at: incident.first.to_string(),
        updated_at: message.now.to_string(),
        first_observed_at: incident.first.to_string(),
        last_observed_at: incident.last.to_string(),
        title: shown(&message::title(incident), TITLE),
        description: description(message, &story),
        record_state: if is_over { "ARCHIVED" } else { "ACTIVE" },
        remediation: Remediation {
            recommendation: Recommendation {
                text: recommendation(&story),
            },
        },
        resources: resources(incident, account),
        product_fields: fields(message, &story),
        finding_provider_fields: ProviderFields {
            severity: severity(incident.level),
            types: ["TTPs/Credential Access"],
        },
    };
    // Cannot fail: every key is text.
    let json = serde_json::to_string(&finding).unwrap_or_default();
    sanitize::json(&json).into_owned()
}

fn severity(level: RuleLevel) -> FindingSeverity {
    let label = match level {
        RuleLevel::Informational => "INFORMATIONAL",
        RuleLevel::Low => "LOW",
        RuleLevel::Medium => "MEDIUM",
        RuleLevel::High => "HIGH",
        RuleLevel::Critical => "CRITICAL",
    };
    FindingSeverity {
        label,
        original: level.as_str(),
    }
}

/// A line of at most so many characters, of which no client makes a link.
fn shown(name: &str, chars: usize) -> String {
    let line = text::line(name);
    // The sign that it was cut counts too.
    match line.chars().count() > chars {
        true => cut(&line, chars - 1),
        false => line,
    }
}

/// Lines of at most so many characters in all; where one does not fit, that and all after it are
/// left out.
fn joined(lines: impl IntoIterator<Item = String>, chars: usize) -> String {
    let mut all = String::new();
    let mut left = chars;
    for line in lines {
        let line = shown(&line, chars / 2);
        let own = line.chars().count() + usize::from(!all.is_empty());
        if own > left {
            break;
        }
        if !all.is_empty() {
            all.push('\n');
        }
        all.push_str(&line);
        left -= own;
    }
    all
}

/// What is new, what happened, and why it matters.
fn description(message: &IncidentMessage, story: &IncidentStory) -> String {
    let news = message.news().into_iter();
    let facts = story.facts.iter();
    let facts = facts.map(|(label, value)| format!("{label}: {value}"));
    let lines = news
        .chain([story.headline.clone()])
        .chain(story.why.iter().take(1).cloned())
        .chain(facts);
    joined(lines, DESCRIPTION)
}

/// What to check first, then what contains it.
fn recommendation(story: &IncidentStory) -> String {
    let actions = story.actions.iter().map(|action| action.text.clone());
    let lines = story.checks.iter().take(1).cloned().chain(actions);
    let text = joined(lines, RECOMMENDATION);
    match text.is_empty() {
        true => "See the alerts of the incident: secretrail explain".to_owned(),
        false => text,
    }
}

/// What the format has no place for. Names from logs are shortened and make no links.
fn fields(message: &IncidentMessage, story: &IncidentStory) -> BTreeMap<&'static str, String> {
    let incident = &message.incident;
    let mut all = identity(message);
    let rules = incident.rules.iter();
    let rules = rules.map(|rule| format!("{}: {}", rule.rule.level, rule.rule.title));
    let commands = story.actions.iter().filter_map(|action| {
        let command = action.command.as_deref().or(action.link.as_deref())?;
        Some(format!("{}\n  {command}", action.text))
    });
    let usual = story.usual.as_ref().map(UsualFacts::texts);
    let texts = [
        ("secretrail/actor", shown(&incident.actor.name, FIELD)),
        ("secretrail/sources", listed(&incident.sources.first)),
        ("secretrail/regions", listed(&incident.regions.first)),
        ("secretrail/rules", joined(rules, FIELD)),
        ("secretrail/check", joined(story.checks.clone(), FIELD)),
        ("secretrail/contain", in_full(commands)),
        (
            "secretrail/harmless_if",
            joined(story.harmless_if.clone(), FIELD),
        ),
        ("secretrail/usual", joined(usual.unwrap_or_default(), FIELD)),
    ];
    all.extend(texts);
    all.retain(|_, value| !value.is_empty());
    all
}

/// The first of many values.
fn listed(values: &[SharedStr]) -> String {
    joined(values.iter().take(20).map(ToString::to_string), FIELD)
}

/// Ids, counts, and which message of the incident it is.
fn identity(message: &IncidentMessage) -> BTreeMap<&'static str, String> {
    let (incident, announced) = (&message.incident, &message.announced);
    let merged_into = match &announced.end {
        Some(IncidentEnd::MergedInto(id)) => id.0.to_string(),
        _ => String::new(),
    };
    BTreeMap::from([
        ("secretrail/incident_id", incident.id.0.to_string()),
        ("secretrail/merged_into", merged_into),
        ("secretrail/news", announced.news.kind.as_str().to_owned()),
        ("secretrail/message", announced.messages.to_string()),
        ("secretrail/score", incident.score.to_string()),
        ("secretrail/alerts", incident.alerts_total.to_string()),
        ("secretrail/secrets", incident.secrets.total.to_string()),
    ])
}

/// Commands as they are, for the clipboard: a name with other characters than AWS allows makes no
/// command. One that does not fit is left out, with those after it.
fn in_full(commands: impl Iterator<Item = String>) -> String {
    let mut all = String::new();
    for command in commands {
        if all.chars().count() + command.chars().count() + 1 > FIELD {
            break;
        }
        if !all.is_empty() {
            all.push('\n');
        }
        all.push_str(&command);
    }
    all
}

/// The actor, its access keys, and the secrets; the account, if there is none of these.
fn resources(incident: &Incident, account: &str) -> Vec<FindingResource> {
    let only_region = match incident.regions.first.as_slice() {
        [region] if incident.regions.total == 1 => Some(&**region),
        _ => None,
    };
    let actor = &incident.actor;
    let mut resources = Vec::new();
    match actor.kind {
        ActorKind::Log => {
            let account = actor.name.split(' ').next().unwrap_or(&actor.name);
            resources.push(of_account(account));
        }
        ActorKind::Principal | ActorKind::Address | ActorKind::Secret => {
            resources.push(FindingResource::of(&actor.name, only_region));
        }
    }
    let keys = incident.access_keys.first.iter().take(KEYS);
    resources.extend(keys.map(|key| FindingResource {
        kind: "AwsIamAccessKey",
        ..FindingResource::of(key, None)
    }));
    let room = RESOURCES - resources.len();
    let secrets = incident.secrets.first.iter();
    let secrets = secrets.filter(|secret| **secret != actor.name).take(room);
    resources.extend(secrets.map(|secret| FindingResource::of(secret, only_region)));
    resources.retain(|resource| !resource.id.is_empty());
    if resources.is_empty() {
        resources.push(of_account(account));
    }
    resources
}

fn of_account(account: &str) -> FindingResource {
    FindingResource {
        kind: "AwsAccount",
        ..FindingResource::of(&format!("AWS::::Account:{account}"), None)
    }
}

impl FindingResource {
    /// By its ARN, or by any other name; the region of a name that has none.
    fn of(name: &str, region: Option<&str>) -> Self {
        let arn = ArnParts::parse(name);
        let kind = match arn {
            Some(arn) if arn.service == "secretsmanager" => "AwsSecretsManagerSecret",
            Some(arn) if arn.service == "iam" && arn.resource.starts_with("role/") => "AwsIamRole",
            Some(arn) if arn.service == "iam" && arn.resource.starts_with("user/") => "AwsIamUser",
            _ => "Other",
        };
        let partition = arn.map_or("", |arn| arn.partition);
        let own = arn.map(|arn| arn.region).filter(|own| !own.is_empty());
        Self {
            kind,
            id: cut_id(name),
            partition: PARTITIONS.into_iter().find(|known| *known == partition),
            region: own.or(region).map(|region| cut(region, 64)),
        }
    }
}

/// An identifier on one line, as far as the format takes it.
fn cut_id(name: &str) -> String {
    sanitize::line(name).chars().take(IDENTIFIER).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        alert::IncidentId,
        incident::{
            Listed,
            announced::{IncidentNews, NewsKind},
        },
        state::contract,
        time::EventTime,
    };

    const PRODUCT: &str = "arn:aws:securityhub:eu-west-1:999988887777:product/999988887777/default";

    fn message(change: impl FnOnce(&mut IncidentMessage)) -> Value {
        let announced = contract::announced("ann", 100);
        let mut message = IncidentMessage::new(announced, None, EventTime(1_772_445_600));
        change(&mut message);
        serde_json::from_str(&security_finding(&message, PRODUCT)).unwrap()
    }

    fn many(values: &[String]) -> Listed {
        Listed {
            first: values.iter().map(|value| value.as_str().into()).collect(),
            total: values.len(),
        }
    }

    #[test]
    fn the_finding_stays_the_same_and_belongs_to_the_account_of_the_product() {
        let first = message(|_| {});
        let later = message(|message| {
            message.incident.id = IncidentId("another".into());
            message.announced.id = IncidentId("another".into());
            message.announced.news = IncidentNews::of(NewsKind::Updated);
            message.now = EventTime(1_772_445_700);
        });
        assert_eq!(first["Id"], later["Id"]);
        assert_eq!(later["ProductFields"]["secretrail/incident_id"], "another");
        assert_eq!(first["UpdatedAt"], "2026-03-02T10:00:00Z");
        assert_eq!(later["UpdatedAt"], "2026-03-02T10:01:40Z");
        assert_eq!(first["AwsAccountId"], "999988887777");
        assert_eq!(first["RecordState"], "ACTIVE");
        // People change these in Security Hub: a provider must not.
        for theirs in ["Workflow", "Note", "Severity", "Types", "VerificationState"] {
            assert!(first.get(theirs).is_none(), "{theirs}");
        }
    }

    #[test]
    fn what_has_ended_is_archived() {
        let merged = message(|message| {
            let into = IncidentId("the-other".into());
            message.announced.end = Some(IncidentEnd::MergedInto(into));
            message.announced.news = IncidentNews::of(NewsKind::Merged);
        });
        assert_eq!(merged["RecordState"], "ARCHIVED");
        assert_eq!(
            merged["ProductFields"]["secretrail/merged_into"],
            "the-other"
        );
        let withdrawn = message(|message| {
            message.announced.end = Some(IncidentEnd::Withdrawn);
        });
        assert_eq!(withdrawn["RecordState"], "ARCHIVED");
    }

    #[test]
    fn every_resource_has_the_type_that_the_format_knows() {
        let kind = |name: &str| FindingResource::of(name, Some("eu-west-1")).kind;
        assert_eq!(kind("arn:aws:iam::111122223333:role/app"), "AwsIamRole");
        assert_eq!(kind("arn:aws:iam::111122223333:user/ann"), "AwsIamUser");
        let secret = "arn:aws-iso:secretsmanager:us-iso-east-1:111122223333:secret:db-AbCdEf";
        let found = FindingResource::of(secret, Some("eu-west-1"));
        assert_eq!(found.kind, "AwsSecretsManagerSecret");
        assert_eq!(found.region.as_deref(), Some("us-iso-east-1"));
        assert_eq!(found.partition, None, "the format does not know it");
        assert_eq!(kind("203.0.113.9"), "Other");
    }

    #[test]
    fn text_from_logs_stays_within_the_limits_and_makes_no_links() {
        let long = "https://evil.example/\u{202e}\"\u{1b}[31m".repeat(300);
        let names: Vec<String> = (0..300).map(|n| format!("{n}{long}")).collect();
        let found = message(|message| {
            message.incident.actor.name = long.as_str().into();
            for of in [
                &mut message.incident.secrets,
                &mut message.incident.sources,
                &mut message.incident.access_keys,
                &mut message.incident.regions,
            ] {
                *of = many(&names);
            }
        });
        let chars = |value: &Value| value.as_str().unwrap().chars().count();
        assert!(chars(&found["Title"]) <= TITLE);
        assert!(chars(&found["Description"]) <= DESCRIPTION);
        assert!(chars(&found["Remediation"]["Recommendation"]["Text"]) <= RECOMMENDATION);
        let resources = found["Resources"].as_array().unwrap();
        assert_eq!(resources.len(), RESOURCES);
        assert!(resources.iter().all(|one| chars(&one["Id"]) <= IDENTIFIER));
        let fields = found["ProductFields"].as_object().unwrap();
        assert!(fields.values().all(|value| chars(value) <= FIELD));
        for shown in [&found["Title"], &found["Description"], &json!(fields)] {
            let shown = shown.to_string();
            assert!(!shown.contains("https://"), "{shown}");
        }
        let whole = found.to_string();
        assert!(whole.len() < 240 * 1024, "{}", whole.len());
        assert!(!whole.contains('\u{202e}') && !whole.contains('\u{1b}'));
    }
}
