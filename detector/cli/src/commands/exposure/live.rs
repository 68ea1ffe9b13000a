//! `exposure --live`: what the services say of the revealed versions now. Reads only, and no
//! values: of a parameter its description, for its history would be a read of old values.
//!
//! Sources: AWS Secrets Manager API reference (`DescribeSecret`, `ListSecretVersionIds`), AWS
//! Systems Manager API reference (`DescribeParameters`).

use std::collections::BTreeMap;

use secretrail_engine::{
    exposure::{Exposure, live::LiveSecret},
    ids::{ArnParts, SecretRef, SecretStore, SharedStr},
    sanitize,
    time::EventTime,
};
use serde_json::{Value, json};

use crate::{
    args::settings::RunSettings,
    aws_api::{AwsApi, SECRETS_MANAGER, SSM, STS},
    host::{ProcessHost, say},
    input::aws,
    text::plural,
};

/// Most failures that are said.
const SAID: usize = 5;

/// Asks the services about the secrets of exposures; returns whether all of them answered. What
/// cannot be asked stays as the logs have it.
pub(super) fn look(
    exposures: &mut [Exposure],
    settings: &RunSettings,
    host: &mut ProcessHost,
) -> bool {
    if exposures.is_empty() {
        return true;
    }
    let services = match LiveServices::new(settings) {
        Ok(services) => services,
        Err(why) => {
            report(&[format!("nothing was asked: {why}")], host);
            return false;
        }
    };
    let mut asked: BTreeMap<AskedSecret, Result<LiveSecret, String>> = BTreeMap::new();
    for row in exposures.iter_mut() {
        let answer = asked.entry(AskedSecret::of(&row.secret));
        let answer = answer.or_insert_with(|| services.ask(&row.secret));
        if let Ok(secret) = answer {
            row.see_live(secret.clone(), host.now);
        }
    }
    Exposure::sort(exposures);
    let failures = asked.iter().filter_map(|(secret, answer)| {
        let why = answer.as_ref().err()?;
        let AskedSecret { name, place, .. } = secret;
        Some(format!("{name} in {place}: {why}"))
    });
    let failures: Vec<String> = failures.collect();
    report(&failures, host);
    failures.is_empty()
}

/// A secret that is asked about once, however many of its versions were revealed. Two of one name,
/// of which one was deleted, have different ARNs.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct AskedSecret {
    name: String,
    place: String,
    arn: Option<SharedStr>,
    store: SecretStore,
}

impl AskedSecret {
    fn of(secret: &SecretRef) -> Self {
        Self {
            name: secret.label(),
            place: format!("{} {}", secret.account, secret.region),
            arn: secret.arn.clone(),
            store: secret.store,
        }
    }
}

fn report(failures: &[String], host: &mut ProcessHost) {
    for failure in failures.iter().take(SAID) {
        let failure = sanitize::line(failure);
        say(host, &format!("secretrail: --live: {failure}\n"));
    }
    let more = failures.len().saturating_sub(SAID);
    if more > 0 {
        let more = plural(more as u64, "more secret");
        let text = format!("secretrail: --live: no answer about {more} either\n");
        say(host, &text);
    }
}

/// The services, with the credentials of the caller.
struct LiveServices {
    api: AwsApi,
    /// Account of the caller.
    account: String,
}

impl LiveServices {
    /// The error says why nothing can be asked.
    fn new(settings: &RunSettings) -> Result<Self, String> {
        let connection = aws::connect_to(&settings.aws).map_err(|failure| failure.to_string())?;
        let api = AwsApi::new(connection).map_err(|error| error.to_string())?;
        let identity = api.query(&STS, "GetCallerIdentity", &[]);
        let identity = identity.map_err(|error| error.to_string())?;
        Ok(Self {
            account: identity.text("Account").unwrap_or_default().to_owned(),
            api,
        })
    }

    /// What the service says of a secret; the error says why it says nothing.
    fn ask(&self, secret: &SecretRef) -> Result<LiveSecret, String> {
        let api = self.api.in_region(&secret.region);
        match secret.store {
            SecretStore::SecretsManager => self.secret(&api, secret),
            SecretStore::Ssm => self.parameter(&api, secret),
        }
    }

    /// A name, which means a secret of the caller's account.
    fn own_name(&self, secret: &SecretRef) -> Result<SharedStr, String> {
        if *secret.account != *self.account {
            return Err(format!(
                "it belongs to account {}, and the credentials to {}; use some of that account",
                secret.account, self.account
            ));
        }
        secret
            .name
            .clone()
            .ok_or_else(|| "its name is not known".to_owned())
    }

    fn secret(&self, api: &AwsApi, secret: &SecretRef) -> Result<LiveSecret, String> {
        let id = match &secret.arn {
            Some(arn) => arn.clone(),
            None => self.own_name(secret)?,
        };
        let asked = json!({"SecretId": &*id});
        let described = match api.json(&SECRETS_MANAGER, "DescribeSecret", &asked) {
            Ok(described) => described,
            Err(error) if error.code() == "ResourceNotFoundException" => return Ok(deleted()),
            Err(error) => return Err(error.to_string()),
        };
        let current = staged(&described, "AWSCURRENT");
        let versions = api.json(&SECRETS_MANAGER, "ListSecretVersionIds", &asked);
        let versions = versions.map_err(|error| error.to_string())?;
        Ok(LiveSecret {
            since: current.as_deref().and_then(|id| created(&versions, id)),
            current,
            previous: staged(&described, "AWSPREVIOUS"),
            is_deleted: described
                .get("DeletedDate")
                .is_some_and(|date| !date.is_null()),
            replicas: replicas(&described),
        })
    }

    fn parameter(&self, api: &AwsApi, secret: &SecretRef) -> Result<LiveSecret, String> {
        let name = self.own_name(secret)?;
        let filter = json!({"Key": "Name", "Option": "Equals", "Values": [&*name]});
        let mut asked = json!({"ParameterFilters": [filter]});
        loop {
            let found = api.json(&SSM, "DescribeParameters", &asked);
            let found = found.map_err(|error| error.to_string())?;
            let list = found.get("Parameters").and_then(Value::as_array);
            let own = list.into_iter().flatten().find(|parameter| {
                let named = parameter.get("Name").and_then(Value::as_str);
                named.is_some_and(|named| is_one_name(named, &name))
            });
            if let Some(own) = own {
                let version = own.get("Version").and_then(Value::as_i64);
                return Ok(LiveSecret {
                    current: version.map(|version| version.to_string().into()),
                    since: own.get("LastModifiedDate").and_then(date),
                    ..LiveSecret::default()
                });
            }
            // A page may be empty, and others follow.
            match found.get("NextToken").and_then(Value::as_str) {
                Some(token) if !token.is_empty() => {
                    if let Some(asked) = asked.as_object_mut() {
                        asked.insert("NextToken".to_owned(), json!(token));
                    }
                }
                _ => return Ok(deleted()),
            }
        }
    }
}

/// A root parameter may be written with and without its slash.
fn is_one_name(one: &str, other: &str) -> bool {
    one.trim_start_matches('/') == other.trim_start_matches('/')
}

fn deleted() -> LiveSecret {
    LiveSecret {
        is_deleted: true,
        ..LiveSecret::default()
    }
}

/// The version with a stage.
fn staged(described: &Value, stage: &str) -> Option<SharedStr> {
    let versions = described.get("VersionIdsToStages")?.as_object()?;
    let mut versions = versions.iter();
    let found = versions.find(|(_, stages)| {
        let stages = stages.as_array().into_iter().flatten();
        stages.filter_map(Value::as_str).any(|known| known == stage)
    });
    found.map(|(id, _)| id.as_str().into())
}

/// When a version was created.
fn created(versions: &Value, id: &str) -> Option<EventTime> {
    let versions = versions.get("Versions")?.as_array()?;
    let mut versions = versions.iter();
    let own = versions.find(|version| version.get("VersionId").and_then(Value::as_str) == Some(id));
    own?.get("CreatedDate").and_then(date)
}

/// Regions of the copies that are in use.
fn replicas(described: &Value) -> Vec<SharedStr> {
    let status = described.get("ReplicationStatus").and_then(Value::as_array);
    let regions = status.into_iter().flatten();
    let regions = regions.filter_map(|status| status.get("Region")?.as_str());
    let mut regions: Vec<SharedStr> = regions.map(SharedStr::from).collect();
    regions.extend(primary(described));
    regions.sort();
    regions
}

/// The region of the primary, of which the asked one is a copy.
fn primary(described: &Value) -> Option<SharedStr> {
    let primary = described.get("PrimaryRegion")?.as_str()?;
    let own = described.get("ARN").and_then(Value::as_str);
    let own = own.and_then(ArnParts::parse).map(|arn| arn.region);
    (own != Some(primary)).then(|| primary.into())
}

/// A time in seconds since 1970, as the JSON protocols write it.
fn date(value: &Value) -> Option<EventTime> {
    let text = value.to_string();
    let whole = text.split('.').next()?;
    whole.parse().ok().map(EventTime)
}
