//! What contains an incident: commands of the AWS CLI and pages of the console, ready to paste.
//!
//! Names in them come from logs, and a shell would execute what is hidden in one: a name with other
//! characters than AWS allows in ARNs makes no command.

use std::collections::BTreeSet;

use super::{
    Incident, LEAST,
    story::{StoryAction, counted},
};
use crate::{
    actor::ActorKind,
    ids::{ArnParts, SharedStr, is_account, is_long_term_key, last_segment},
    principal::role_of_session,
    time::EventTime,
};

/// Most secrets, keys, users and roles that get a command of their own.
const EACH: usize = 5;

/// Seconds before the first alert at which the search for other calls of a key begins.
const BEFORE_SECS: i64 = 24 * 3_600;

/// With what somebody acted, and on what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conduct<'a> {
    /// `userIdentity.arn`: full sessions.
    pub(crate) sessions: &'a [SharedStr],
    /// `userIdentity.accessKeyId`.
    pub(crate) access_keys: &'a [SharedStr],
    /// ARNs where known, otherwise names.
    pub(crate) secrets: &'a [SharedStr],
}

impl<'a> From<&'a Incident> for Conduct<'a> {
    fn from(incident: &'a Incident) -> Self {
        Self {
            sessions: &incident.sessions.first,
            access_keys: &incident.access_keys.first,
            secrets: &incident.secrets.first,
        }
    }
}

/// The actions for an incident, in the order in which they are done.
pub(super) fn actions(incident: &Incident) -> Vec<StoryAction> {
    let mut actions = Vec::new();
    let conduct = Conduct::from(incident);
    // To end the sessions of a job that was denied one secret is the outage.
    if incident.level >= LEAST {
        match incident.actor.kind {
            ActorKind::Principal => stop(conduct, &incident.actor.name, &mut actions),
            ActorKind::Address => stop_all(incident, &mut actions),
            ActorKind::Secret | ActorKind::Log => {}
        }
    }
    rotate(incident, &mut actions);
    if incident.level >= LEAST {
        isolate(&incident.sessions.first, &mut actions);
    }
    search(incident, &mut actions);
    actions
}

/// What stops everybody behind an address: users before roles, since their keys do not end by
/// themselves.
fn stop_all(incident: &Incident, actions: &mut Vec<StoryAction>) {
    let conduct = Conduct::from(incident);
    let everybody = principals(incident);
    let (users, others): (Vec<&String>, Vec<&String>) =
        everybody.iter().partition(|arn| arn.contains(":user/"));
    let is_alone = users.len() == 1;
    if !is_alone {
        deactivate(conduct, actions);
    }
    let own = Conduct {
        // Whose key each is, the incident does not say.
        access_keys: if is_alone { conduct.access_keys } else { &[] },
        ..conduct
    };
    let listed = users.iter().take(EACH).chain(others.iter().take(EACH));
    let listed: Vec<&&String> = listed.collect();
    listed.iter().for_each(|arn| stop(own, arn, actions));
    // Sessions may be more than are listed.
    let sessions = &incident.sessions;
    let hidden = sessions.total.saturating_sub(sessions.first.len());
    let more = everybody.len() - listed.len();
    if more + hidden > 0 {
        let who = if hidden > 0 {
            "everybody else behind this address".to_owned()
        } else {
            format!("the other {}", counted(more, "principal"))
        };
        actions.push(StoryAction::text(format!("Stop {who} in the same way.")));
    }
}

/// Deactivates keys of users of which only the ids are known.
fn deactivate(conduct: Conduct<'_>, actions: &mut Vec<StoryAction>) {
    for key in long_term_keys(conduct).take(EACH) {
        actions.push(StoryAction::command(
            format!("Deactivate access key {key}, whosever it is."),
            format!(
                "aws iam update-access-key --access-key-id {key} --status Inactive --user-name \
                 \"$(aws iam get-access-key-last-used --access-key-id {key} --query UserName \
                 --output text)\""
            ),
        ));
    }
    let more = long_term_keys(conduct).count().saturating_sub(EACH);
    if more > 0 {
        let more = counted(more, "key");
        let text = format!("Deactivate the other {more} of users in the same way.");
        actions.push(StoryAction::text(text));
    }
}

/// Keys of users. Keys of sessions (ASIA…) end by themselves, and cannot be set inactive.
fn long_term_keys<'c>(conduct: Conduct<'c>) -> impl Iterator<Item = &'c SharedStr> {
    let keys = conduct.access_keys.iter();
    keys.filter(|key| is_long_term_key(key) && is_plain(key))
}

/// ARNs of the roles and users behind the sessions of an incident.
fn principals(incident: &Incident) -> BTreeSet<String> {
    let sessions = incident.sessions.first.iter();
    sessions
        .map(|session| role_of_session(session).unwrap_or_else(|| session.to_string()))
        .collect()
}

/// What stops a principal.
pub(crate) fn stop(conduct: Conduct<'_>, principal: &str, actions: &mut Vec<StoryAction>) {
    let Some(arn) = ArnParts::parse(principal) else {
        // The copy of the owner names a caller of another account by account and id only.
        let account = principal.get(..12).filter(|account| is_account(account));
        actions.extend(
            account
                .filter(|account| is_foreign(conduct, account))
                .map(shut_out),
        );
        return;
    };
    if is_foreign(conduct, arn.account) {
        actions.push(shut_out(arn.account));
    } else if let Some(role) = arn.resource.strip_prefix("role/") {
        stop_role(conduct, arn, role, actions);
    } else if let Some(user) = arn.resource.strip_prefix("user/") {
        stop_user(conduct, arn, last_segment(user), actions);
    } else if arn.resource == "root" {
        actions.push(StoryAction::text(
            "Change the password of the root user, delete its access keys, and check who can read \
             its mail.",
        ));
    }
}

fn shut_out(account: &str) -> StoryAction {
    StoryAction::text(format!(
        "Take account {account} out of the resource policies of these secrets and of their keys; \
         only its owner can stop the caller."
    ))
}

fn stop_role(conduct: Conduct<'_>, arn: ArnParts<'_>, role: &str, actions: &mut Vec<StoryAction>) {
    if role.starts_with("aws-service-role/") {
        actions.push(StoryAction::text(
            "This is a service-linked role, whose sessions cannot be revoked: find what made the \
             service act.",
        ));
        return;
    }
    if let Some((_, rest)) = role.split_once("AWSReservedSSO_") {
        let person = rest
            .split_once('/')
            .map_or("the person", |(_, person)| person);
        actions.push(StoryAction::text(format!(
            "Disable {person} in IAM Identity Center, and end the active sessions there."
        )));
        return;
    }
    let name = role_name(conduct, role);
    if !is_plain(name) {
        return;
    }
    let page = format!("/iam/home#/roles/details/{name}?section=revoke_sessions");
    actions.push(StoryAction {
        text: format!(
            "Revoke the sessions of role {name} in account {}.",
            arn.account
        ),
        command: None,
        link: console(arn.partition).map(|console| format!("https://{console}{page}")),
    });
}

/// The name of a role without its path, and without the person that may follow it: the person is
/// the name of the session, too.
pub(crate) fn role_name<'r>(conduct: Conduct<'_>, role: &'r str) -> &'r str {
    let (before, last) = role.rsplit_once('/').unwrap_or(("", role));
    let mut sessions = conduct.sessions.iter();
    let is_person = sessions.any(|session| last_segment(session) == last);
    if is_person && !before.is_empty() {
        last_segment(before)
    } else {
        last
    }
}

fn stop_user(conduct: Conduct<'_>, arn: ArnParts<'_>, user: &str, actions: &mut Vec<StoryAction>) {
    if !is_plain(user) {
        return;
    }
    for key in long_term_keys(conduct).take(EACH) {
        actions.push(StoryAction::command(
            format!("Deactivate access key {key} of user {user}."),
            format!(
                "aws iam update-access-key --user-name {user} --access-key-id {key} \
                 --status Inactive"
            ),
        ));
    }
    // A key that is inactive does not end the sessions that were made with it.
    let page = format!("/iam/home#/users/details/{user}");
    actions.push(StoryAction {
        text: format!(
            "End the sessions of user {user}: attach a policy that denies everything where \
             aws:TokenIssueTime is before now."
        ),
        command: None,
        link: console(arn.partition).map(|console| format!("https://{console}{page}")),
    });
}

/// Whether an account is not that of any of the secrets; `false` where no ARN is known.
fn is_foreign(conduct: Conduct<'_>, account: &str) -> bool {
    let secrets = conduct.secrets.iter();
    let mut accounts = secrets.filter_map(|secret| Some(ArnParts::parse(secret)?.account));
    match accounts.next() {
        Some(first) => first != account && accounts.all(|other| other != account),
        None => false,
    }
}

/// Instances by the names of their sessions.
fn isolate(sessions: &[SharedStr], actions: &mut Vec<StoryAction>) {
    let instances = sessions.iter().map(|session| last_segment(session));
    let instances = instances.filter(|name| is_instance(name));
    for instance in instances.take(EACH) {
        actions.push(StoryAction::command(
            format!("Isolate instance {instance}: give it a security group that allows nothing."),
            format!(
                "aws ec2 modify-instance-attribute --instance-id {instance} --groups SECURITY_GROUP"
            ),
        ));
    }
}

fn is_instance(name: &str) -> bool {
    let digits = name.strip_prefix("i-");
    digits.is_some_and(|digits| {
        (8..=17).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// A value that was read cannot be unread; one that was only asked for is still secret.
fn rotate(incident: &Incident, actions: &mut Vec<StoryAction>) {
    // Replicas have the ARN of their primary in another region, and cannot be rotated.
    let mut known: Vec<(ArnParts<'_>, &str, Vec<&str>)> = Vec::new();
    for secret in &incident.revealed.first {
        let Some(arn) =
            ArnParts::parse(secret).filter(|arn| is_plain(secret) && is_plain(arn.region))
        else {
            continue;
        };
        let same = known
            .iter_mut()
            .find(|(other, ..)| (other.account, other.resource) == (arn.account, arn.resource));
        match same {
            Some((_, _, regions)) => regions.push(arn.region),
            None => known.push((arn, secret, vec![arn.region])),
        }
    }
    for (arn, secret, regions) in known.iter().take(EACH) {
        actions.extend(rotation(*arn, secret, regions));
    }
    let more = known.len().saturating_sub(EACH);
    // Alerts list a part of what they rest on; the versions that they revealed may show more.
    let exposed = incident
        .exposure
        .iter()
        .flat_map(|exposure| &exposure.versions);
    let exposed: BTreeSet<_> = exposed.map(|one| (&one.account, &one.secret)).collect();
    let total = incident.revealed.total.max(exposed.len());
    let hidden = total.saturating_sub(incident.revealed.first.len());
    if more + hidden > 0 {
        let text = format!(
            "Rotate the other {} secrets that were read, too.",
            more + hidden
        );
        actions.push(StoryAction::text(text));
    }
}

/// How the value of a secret is replaced; `None` for ARNs of other services.
pub(crate) fn rotation(arn: ArnParts<'_>, secret: &str, regions: &[&str]) -> Option<StoryAction> {
    let region = arn.region;
    if let Some(name) = arn.resource.strip_prefix("secret:") {
        if regions.len() > 1 {
            let regions = regions.join(", ");
            let text = format!("Rotate {name} at its primary; it was read in {regions}.");
            return Some(StoryAction::text(text));
        }
        return Some(StoryAction::command(
            format!("Rotate {name}; without a rotation function, issue a new value and store it."),
            format!("aws secretsmanager rotate-secret --secret-id {secret} --region {region}"),
        ));
    }
    let name = arn.resource.strip_prefix("parameter")?;
    let text = format!("Issue a new value for {name}, and store it.");
    // The ARN of `db` is that of `/db`: only the names of hierarchies are certain.
    if name.matches('/').count() < 2 {
        return Some(StoryAction::text(text));
    }
    let command = format!(
        "aws ssm put-parameter --name {name} --overwrite --value file://new-value --region {region}"
    );
    Some(StoryAction::command(text, command))
}

/// What else the credentials did.
fn search(incident: &Incident, actions: &mut Vec<StoryAction>) {
    let from = EventTime(incident.first.0.saturating_sub(BEFORE_SECS));
    let mut keys = incident.access_keys.first.iter();
    let key = keys.find(|key| is_plain(key));
    let region = incident
        .regions
        .first
        .iter()
        .find(|region| is_plain(region));
    let Some((key, region)) = key.zip(region) else {
        return;
    };
    let others = match incident.access_keys.total {
        0 | 1 => "the other regions",
        _ => "the other regions and keys",
    };
    actions.push(StoryAction::command(
        format!("See what else access key {key} did in {region}; repeat it for {others}."),
        format!(
            "aws cloudtrail lookup-events --lookup-attributes \
             AttributeKey=AccessKeyId,AttributeValue={key} --start-time {from} --region {region}"
        ),
    ));
}

/// Host of the console of a partition; `None` for those whose host is not public.
fn console(partition: &str) -> Option<&'static str> {
    match partition {
        "aws" => Some("console.aws.amazon.com"),
        "aws-cn" => Some("console.amazonaws.cn"),
        "aws-us-gov" => Some("console.amazonaws-us-gov.com"),
        _ => None,
    }
}

/// Whether a shell and a console take a name for nothing but a name.
pub(crate) fn is_plain(name: &str) -> bool {
    let mut bytes = name.bytes();
    !name.is_empty()
        && !name.starts_with('-')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_/:-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{actor::Actor, incident::GrowingIncident};

    fn incident(name: &str, change: impl FnOnce(&mut Incident)) -> Incident {
        let actor = Actor {
            kind: ActorKind::Principal,
            ..Actor::by_names(Some(name), None, None)
        };
        let mut incident = GrowingIncident::new(actor, EventTime(1_772_000_000)).incident;
        incident.level = LEAST;
        change(&mut incident);
        incident
    }

    fn session(role: &str, name: &str) -> SharedStr {
        format!("arn:aws:sts::111122223333:assumed-role/{role}/{name}").into()
    }

    fn secret(region: &str) -> SharedStr {
        format!("arn:aws:secretsmanager:{region}:111122223333:secret:a-AbCdEf").into()
    }

    fn asked_for_one(incident: &mut Incident) {
        incident.secrets.first = vec![secret("eu-west-1")];
    }

    fn text(incident: &Incident) -> String {
        let actions = actions(incident).into_iter();
        let lines = actions.map(|action| {
            let more = action.command.or(action.link).unwrap_or_default();
            format!("{} {more}", action.text)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_role_is_revoked_by_its_name_without_path_and_person() {
        for (role, name) in [
            ("arn:aws:iam::111122223333:role/team/app", "app"),
            ("arn:aws:iam::111122223333:role/team/app@v2", "app@v2"),
            (
                "arn:aws:iam::111122223333:role/Admin/kim@example.com",
                "Admin",
            ),
        ] {
            let text = text(&incident(role, |incident| {
                let session = "arn:aws:sts::111122223333:assumed-role/Admin/kim@example.com";
                incident.sessions.first = vec![session.into()];
            }));
            let link = format!("console.aws.amazon.com/iam/home#/roles/details/{name}?");
            assert!(text.contains(&link), "{text}");
        }
        let china = text(&incident("arn:aws-cn:iam::111122223333:role/app", |_| {}));
        assert!(
            china.contains("https://console.amazonaws.cn/iam/"),
            "{china}"
        );
    }

    #[test]
    fn what_cannot_be_revoked_is_said() {
        let role = "arn:aws:iam::111122223333:role/aws-service-role/ecs.amazonaws.com/App";
        assert!(text(&incident(role, |_| {})).contains("cannot be revoked"));
        let person = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/\
                      AWSReservedSSO_Admin_0123456789abcdef/dana";
        let text = text(&incident(person, |_| {}));
        assert!(
            text.starts_with("Disable dana in IAM Identity Center"),
            "{text}"
        );
    }

    #[test]
    fn only_keys_of_users_are_deactivated_and_instances_are_known_by_their_sessions() {
        let user = incident("arn:aws:iam::111122223333:user/ops/jo", |incident| {
            incident.access_keys.first = ["ASIA1", "AKIA2"].map(SharedStr::from).to_vec();
        });
        let commands = text(&user);
        assert!(commands.contains("--user-name jo --access-key-id AKIA2 --status Inactive"));
        assert!(!commands.contains("ASIA1 --status"), "{commands}");
        let role = incident("arn:aws:iam::111122223333:role/app", |incident| {
            incident.sessions.first = ["i-0abc0abc0abc0abc0", "i-am-no-instance"]
                .map(|name| session("app", name))
                .to_vec();
        });
        let commands = text(&role);
        assert!(commands.contains("--instance-id i-0abc0abc0abc0abc0 "));
        assert_eq!(commands.matches("--instance-id").count(), 1);
    }

    #[test]
    fn a_name_that_a_shell_would_execute_makes_no_command() {
        let hostile = incident("arn:aws:iam::111122223333:user/a;reboot", |incident| {
            incident.access_keys.first = vec!["AKIA2;reboot".into(), "$(reboot)".into()];
            incident.regions.first = vec!["eu-west-1".into()];
            incident.revealed.first = vec![
                "arn:aws:secretsmanager:eu-west-1:111122223333:secret:a`reboot`".into(),
                "arn:aws:ssm:eu-west-1:111122223333:parameter/a b".into(),
            ];
        });
        assert_eq!(text(&hostile), "");
    }

    #[test]
    fn secrets_are_rotated_where_they_are_and_the_rest_is_counted() {
        let many = incident("arn:aws:iam::111122223333:user/jo", |incident| {
            let names = (0..7).map(|n| {
                format!("arn:aws:secretsmanager:eu-west-1:111122223333:secret:s{n}-AbCdEf").into()
            });
            incident.revealed.first = names.collect();
            incident.revealed.total = 7;
        });
        let text = text(&many);
        assert_eq!(text.matches("rotate-secret").count(), EACH);
        assert!(text.contains("Rotate the other 2 secrets"), "{text}");
    }

    #[test]
    fn a_replica_is_rotated_at_its_primary_and_parameters_without_path_have_no_command() {
        let both = incident("arn:aws:iam::111122223333:user/jo", |incident| {
            incident.revealed.first = vec![
                secret("eu-west-1"),
                secret("sa-east-1"),
                "arn:aws:ssm:eu-west-1:111122223333:parameter/db".into(),
                "arn:aws:ssm:eu-west-1:111122223333:parameter/prod/db".into(),
            ];
        });
        let text = text(&both);
        assert!(text.contains("Rotate a-AbCdEf at its primary; it was read in eu-west-1, sa"));
        assert!(
            text.contains("Issue a new value for /db, and store it. \n"),
            "{text}"
        );
        assert!(
            text.contains("--name /prod/db --overwrite --value file://"),
            "{text}"
        );
    }

    #[test]
    fn low_incidents_stop_nobody_and_foreign_callers_are_shut_out() {
        let user = "arn:aws:iam::999988887777:user/jo";
        let foreign = text(&incident(user, asked_for_one));
        assert!(
            foreign.starts_with("Take account 999988887777 out of"),
            "{foreign}"
        );
        assert!(!foreign.contains("update-access-key"), "{foreign}");
        let low = incident(user, |incident| {
            asked_for_one(incident);
            incident.level = crate::rule_meta::RuleLevel::Low;
        });
        assert_eq!(text(&low), "");
    }

    #[test]
    fn behind_an_address_every_role_is_stopped() {
        let mut address = incident("arn:aws:iam::111122223333:role/x", |incident| {
            incident.sessions.first = ["a", "b", "a"].map(|role| session(role, "s")).to_vec();
        });
        address.actor.kind = ActorKind::Address;
        let text = text(&address);
        assert_eq!(
            text.matches("Revoke the sessions of role").count(),
            2,
            "{text}"
        );
    }

    #[test]
    fn keys_of_several_users_behind_an_address_are_not_given_to_any_of_them() {
        let keys = ["AKIA1111111111111111", "AKIA2222222222222222"];
        let of = |users: &[&str]| {
            let mut address = incident("arn:aws:iam::111122223333:role/x", |incident| {
                let users = users.iter();
                let arns =
                    users.map(|user| format!("arn:aws:iam::111122223333:user/{user}").into());
                let roles = (0..9).map(|role| session(&format!("a{role}"), "s"));
                incident.sessions.first = roles.chain(arns).collect();
                incident.access_keys.first = keys.map(SharedStr::from).to_vec();
            });
            address.actor.kind = ActorKind::Address;
            text(&address)
        };
        let two = of(&["kim", "lee"]);
        for key in keys {
            let owner = format!("get-access-key-last-used --access-key-id {key}");
            assert!(two.contains(&owner), "{two}");
        }
        assert!(
            !two.contains("--user-name kim") && !two.contains("--user-name lee"),
            "{two}"
        );
        assert!(two.contains("End the sessions of user kim"), "{two}");
        assert!(
            two.contains("Stop the other 4 principals in the same way."),
            "{two}"
        );
        // All keys are of the only user.
        let one = of(&["kim"]);
        assert!(
            one.contains(&format!("--user-name kim --access-key-id {}", keys[1])),
            "{one}"
        );
    }

    #[test]
    fn a_caller_of_another_account_that_is_known_by_its_id_alone_is_shut_out() {
        let text = text(&incident("999988887777:AROAEXAMPLE:x", |incident| {
            incident.secrets.first = vec![secret_arn()];
        }));
        assert!(text.contains("Take account 999988887777 out"), "{text}");
    }

    fn secret_arn() -> SharedStr {
        "arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db-AbCdEf".into()
    }
}
