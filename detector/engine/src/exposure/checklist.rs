//! What closes an exposure: stop who has the values, replace the values where this breaks least,
//! and check. Commands of the AWS CLI, ready to paste; none is run.

use std::collections::{BTreeMap, BTreeSet};

use super::{Exposure, VersionStatus};
use crate::{
    ids::{ArnParts, SecretStore, SharedStr, last_segment, secret_name},
    incident::{
        response::{self, Conduct, is_plain},
        story::{StoryAction, counted, first_and_rest, short_name},
    },
};

/// Most principals that get commands of their own.
const EACH: usize = 5;

/// Most readers that are named.
const NAMED: usize = 3;

/// Ends the sessions that began before now, as the console does.
const SESSIONS: &str = concat!(
    r#"'{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*","#,
    r#""Condition":{"DateLessThan":{"aws:TokenIssueTime":"#,
    r#""'"$(date -u +%Y-%m-%dT%H:%M:%SZ)"'"}}}]}'"#,
);

/// Denies all reads of secrets, and the way around them by ciphertext in hand.
const READS: &str = concat!(
    r#"'{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"#,
    r#"["secretsmanager:GetSecretValue","secretsmanager:BatchGetSecretValue","#,
    r#""ssm:GetParameter*","kms:Decrypt"],"Resource":"*"}]}'"#,
);

/// What closes these exposures, in the order in which it is done: those who have the values first,
/// then the secrets with the fewest other readers.
#[must_use]
pub fn checklist(exposures: &[Exposure]) -> Vec<StoryAction> {
    let mut actions = contain(exposures);
    let mut rows: Vec<&Exposure> = exposures.iter().collect();
    rows.sort_by_key(|row| (!row.is_open(), row.readers.len(), row.first));
    let mut met = BTreeSet::new();
    for row in rows {
        let steps = replace(row).into_iter();
        // Versions and replicas of one secret need one rotation.
        actions.extend(steps.filter(|step| met.insert((step.text.clone(), step.command.clone()))));
    }
    let open = exposures.iter().filter(|row| row.is_open());
    actions.extend(open.filter_map(check).next());
    actions
}

/// What stops those who have the values.
fn contain(exposures: &[Exposure]) -> Vec<StoryAction> {
    let mut acting: BTreeMap<&SharedStr, Vec<&Exposure>> = BTreeMap::new();
    for row in exposures {
        for principal in &row.principals {
            acting.entry(principal).or_default().push(row);
        }
    }
    let mut actions = Vec::new();
    for (principal, rows) in acting.iter().take(EACH) {
        stop(principal, rows, &mut actions);
    }
    let more = acting.len().saturating_sub(EACH);
    if more > 0 {
        let more = counted(more, "principal");
        actions.push(StoryAction::text(format!(
            "Stop the other {more} in the same way."
        )));
    }
    actions
}

fn stop(principal: &str, rows: &[&Exposure], actions: &mut Vec<StoryAction>) {
    let sessions = distinct(rows.iter().flat_map(|row| &row.sessions));
    let access_keys = distinct(rows.iter().flat_map(|row| keys_of(row, principal)));
    let secrets = distinct(rows.iter().filter_map(|row| row.secret.arn.as_ref()));
    let conduct = Conduct {
        sessions: &sessions,
        access_keys: &access_keys,
        secrets: &secrets,
    };
    let mut own = Vec::new();
    response::stop(conduct, principal, &mut own);
    let arn = ArnParts::parse(principal).filter(|arn| !own.is_empty() && is_ours(&secrets, arn));
    let subject = arn.and_then(|arn| {
        let role = arn.resource.strip_prefix("role/");
        let role = role.map(|role| ("role", response::role_name(conduct, role)));
        let user = arn.resource.strip_prefix("user/");
        role.or_else(|| Some(("user", last_segment(user?))))
    });
    // Only what has a page in the console has policies of its own.
    if let Some((kind, name)) = subject.filter(|(_, name)| is_plain(name))
        && own.iter().any(|action| action.link.is_some())
    {
        for end in own.iter_mut().filter(|action| action.link.is_some()) {
            end.command = Some(policy(kind, name, "AWSRevokeOlderSessions", SESSIONS));
        }
        own.push(deny(kind, name));
    }
    actions.append(&mut own);
}

/// The keys with which a principal got a version; all of them where no use is known.
fn keys_of<'r>(row: &'r Exposure, principal: &str) -> Vec<&'r SharedStr> {
    if row.key_uses.is_empty() {
        return row.access_keys.iter().collect();
    }
    let uses = row.key_uses.iter();
    let own = uses.filter(|used| {
        let user = used.principal.as_ref().and_then(|user| user.id.as_deref());
        user.is_none_or(|user| user == principal)
    });
    own.map(|used| &used.key).collect()
}

/// Whether a principal is of the account of any of the secrets.
fn is_ours(secrets: &[SharedStr], principal: &ArnParts<'_>) -> bool {
    let mut accounts = secrets
        .iter()
        .filter_map(|secret| Some(ArnParts::parse(secret)?.account));
    secrets.is_empty() || accounts.any(|account| account == principal.account)
}

fn deny(kind: &str, name: &str) -> StoryAction {
    StoryAction::command(
        format!("Deny {kind} {name} all secrets until this is over; it stops its own work, too."),
        policy(kind, name, "DenySecrets", READS),
    )
}

fn policy(kind: &str, name: &str, policy: &str, document: &str) -> String {
    format!(
        "aws iam put-{kind}-policy --{kind}-name {name} --policy-name {policy} \
         --policy-document {document}"
    )
}

fn distinct<'t>(texts: impl Iterator<Item = &'t SharedStr>) -> Vec<SharedStr> {
    let all: BTreeSet<&SharedStr> = texts.collect();
    all.into_iter().cloned().collect()
}

/// What closes one exposure: those who have the value, and the value.
#[must_use]
pub fn of_one(row: &Exposure) -> Vec<StoryAction> {
    let mut actions = contain(std::slice::from_ref(row));
    actions.extend(replace(row));
    actions.extend(check(row).filter(|_| row.is_open()));
    actions
}

/// What replaces the value, or checks that it was replaced.
fn replace(row: &Exposure) -> Vec<StoryAction> {
    let name = row.secret.label();
    match (row.status_now(), row.is_open()) {
        (VersionStatus::Deleted, true) => vec![StoryAction::text(format!(
            "{name} was deleted, which does not end its value: revoke it where it is used."
        ))],
        (_, true) => vec![rotate(row)],
        (VersionStatus::Previous, false) => unstage(row).into_iter().collect(),
        (_, false) => Vec::new(),
    }
}

fn rotate(row: &Exposure) -> StoryAction {
    let readers = readers(row).unwrap_or_default();
    let region = row.primary.as_ref().unwrap_or(&row.secret.region);
    let arn = row.secret.arn.as_deref().map(|arn| moved(arn, region));
    let regions: Vec<&str> = match row.primary {
        Some(_) => vec![region],
        None => {
            let own = [region].into_iter();
            let account = &row.secret.account;
            let other = row.replicas.iter().filter(|home| home.account == *account);
            own.chain(other.map(|home| &home.region))
                .map(|region| &**region)
                .collect()
        }
    };
    let parts = arn.as_deref().filter(|arn| is_plain(arn));
    let known = parts.and_then(|arn| response::rotation(ArnParts::parse(arn)?, arn, &regions));
    let mut action = known.unwrap_or_else(|| {
        StoryAction::text(format!(
            "Rotate {}, or store a new value.",
            row.secret.label()
        ))
    });
    if let Some(failed) = row.failed_rotation {
        action.text = format!("{} A rotation failed at {failed}.", action.text);
    }
    action.text += &readers;
    action
}

/// An ARN in another region.
fn moved(arn: &str, region: &str) -> String {
    match ArnParts::parse(arn) {
        Some(parts) => format!(
            "arn:{}:{}:{region}:{}:{}",
            parts.partition, parts.service, parts.account, parts.resource
        ),
        None => arn.to_owned(),
    }
}

/// ` 3 others read it: role/a, role/b and 1 more.`
fn readers(row: &Exposure) -> Option<String> {
    let names: Vec<String> = row
        .readers
        .iter()
        .map(|reader| short_name(&reader.principal))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let named = first_and_rest(&names, NAMED, 0)?;
    let verb = if names.len() == 1 { "reads" } else { "read" };
    let others = counted(names.len(), "other");
    Some(format!(
        " {others} {verb} it and must get the new value: {named}."
    ))
}

/// How the labels of all versions are seen.
fn check(row: &Exposure) -> Option<StoryAction> {
    let (secret, region) = target(row)?;
    if row.secret.store == SecretStore::Ssm {
        return None;
    }
    let name = secret_name(secret);
    let which = match row.secret.version_id.as_deref().filter(|id| is_plain(id)) {
        Some(version_id) => format!("version {version_id} of {name}"),
        None => format!("the version of {name} at {}", row.first),
    };
    Some(StoryAction::command(
        format!("Check afterwards that what was revealed is not AWSCURRENT, as {which}."),
        format!(
            "aws secretsmanager list-secret-version-ids --include-deprecated --secret-id {secret} \
             --region {region}"
        ),
    ))
}

/// How the stage is taken off the version that was current before.
fn unstage(row: &Exposure) -> Option<StoryAction> {
    let (secret, region) = target(row)?;
    let version_id = row.secret.version_id.as_deref().filter(|id| is_plain(id))?;
    let region = row.primary.as_deref().unwrap_or(region);
    let secret = moved(secret, region);
    Some(StoryAction::command(
        format!(
            "Once nobody needs it, take AWSPREVIOUS off version {version_id} of {}: it can still \
             be read.",
            secret_name(&secret)
        ),
        format!(
            "aws secretsmanager update-secret-version-stage --secret-id {secret} \
             --version-stage AWSPREVIOUS --remove-from-version-id {version_id} --region {region}"
        ),
    ))
}

/// ARN or name, and region, if a shell takes them for nothing else.
fn target(row: &Exposure) -> Option<(&str, &str)> {
    let secret = row.secret.arn.as_deref().or(row.secret.name.as_deref())?;
    let region = &*row.secret.region;
    (is_plain(secret) && is_plain(region)).then_some((secret, region))
}
