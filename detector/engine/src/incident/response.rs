//! What contains an incident: commands of the AWS CLI and pages of the console, ready to paste.
//!
//! Names in them come from logs, and a shell would execute what is hidden in one: a name with other
//! characters than AWS allows in ARNs makes no command.

use super::{Incident, story::StoryAction};
use crate::{
    actor::ActorKind,
    ids::{ArnParts, SharedStr},
    time::EventTime,
};

/// Most secrets and keys that get a command of their own.
const EACH: usize = 5;

/// Seconds before the first alert at which the search for other calls of a key begins.
const BEFORE_SECS: i64 = 24 * 3_600;

/// The actions for an incident, in the order in which they are done.
pub(super) fn actions(incident: &Incident) -> Vec<StoryAction> {
    let mut actions = Vec::new();
    if incident.actor.kind == ActorKind::Principal {
        stop_principal(incident, &mut actions);
    }
    rotate(incident, &mut actions);
    if incident.actor.kind == ActorKind::Principal {
        isolate(&incident.sessions.first, &mut actions);
    }
    search(incident, &mut actions);
    actions
}

fn stop_principal(incident: &Incident, actions: &mut Vec<StoryAction>) {
    let Some(arn) = ArnParts::parse(&incident.actor.name) else {
        return;
    };
    if let Some(role) = arn.resource.strip_prefix("role/") {
        stop_role(incident, arn, role, actions);
    } else if let Some(user) = arn.resource.strip_prefix("user/") {
        stop_user(incident, arn, last_part(user), actions);
    } else if arn.resource == "root" {
        actions.push(StoryAction::text(
            "Change the password of the root user, delete its access keys, and check who can read \
             its mail.",
        ));
    }
}

fn stop_role(incident: &Incident, arn: ArnParts<'_>, role: &str, actions: &mut Vec<StoryAction>) {
    if is_foreign(incident, arn.account) {
        actions.push(StoryAction::text(format!(
            "Take account {} out of the resource policies of these secrets and of their keys; \
             only its owner can revoke the role.",
            arn.account
        )));
        return;
    }
    if role.starts_with("aws-service-role/") {
        actions.push(StoryAction::text(
            "This is a service-linked role, whose sessions cannot be revoked: find what made the \
             service act.",
        ));
        return;
    }
    if let Some(rest) = role.split_once("AWSReservedSSO_").map(|(_, rest)| rest) {
        let person = rest
            .split_once('/')
            .map_or("the person", |(_, person)| person);
        actions.push(StoryAction::text(format!(
            "Disable {person} in IAM Identity Center, and end the active sessions there."
        )));
        return;
    }
    // The name of a person may follow the role.
    let mut parts = role.rsplit('/');
    let last = parts.next().unwrap_or_default();
    let name = match parts.next() {
        Some(before) if last.contains('@') => before,
        _ => last,
    };
    if !is_plain(name) {
        return;
    }
    let console = console(arn.partition);
    actions.push(StoryAction {
        text: format!(
            "Revoke the sessions of role {name} in account {}.",
            arn.account
        ),
        command: None,
        link: Some(format!(
            "https://{console}/iam/home#/roles/details/{name}?section=revoke_sessions"
        )),
    });
}

fn stop_user(incident: &Incident, arn: ArnParts<'_>, user: &str, actions: &mut Vec<StoryAction>) {
    // Keys of sessions (ASIA…) end by themselves, and cannot be set inactive.
    let keys = incident.access_keys.first.iter();
    let keys = keys.filter(|key| key.starts_with("AKIA") && is_plain(key));
    if !is_plain(user) {
        return;
    }
    for key in keys.take(EACH) {
        actions.push(StoryAction::command(
            format!("Deactivate access key {key} of user {user}."),
            format!(
                "aws iam update-access-key --user-name {user} --access-key-id {key} \
                 --status Inactive"
            ),
        ));
    }
    // A key that is inactive does not end the sessions that were made with it.
    let console = console(arn.partition);
    actions.push(StoryAction {
        text: format!(
            "End the sessions of user {user}: attach a policy that denies everything where \
             aws:TokenIssueTime is before now."
        ),
        command: None,
        link: Some(format!("https://{console}/iam/home#/users/details/{user}")),
    });
}

/// Whether an account is not that of any of the secrets; `false` where no ARN is known.
fn is_foreign(incident: &Incident, account: &str) -> bool {
    let secrets = incident.secrets.first.iter();
    let mut accounts = secrets.filter_map(|secret| Some(ArnParts::parse(secret)?.account));
    match accounts.next() {
        Some(first) => first != account && accounts.all(|other| other != account),
        None => false,
    }
}

/// Instances by the names of their sessions.
fn isolate(sessions: &[SharedStr], actions: &mut Vec<StoryAction>) {
    let instances = sessions.iter().map(|session| last_part(session));
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
    for secret in incident.revealed.first.iter().take(EACH) {
        let Some(arn) = ArnParts::parse(secret).filter(|_| is_plain(secret)) else {
            continue;
        };
        let region = arn.region;
        if let Some(name) = arn.resource.strip_prefix("secret:") {
            actions.push(StoryAction::command(
                format!("Rotate {name}."),
                format!("aws secretsmanager rotate-secret --secret-id {secret} --region {region}"),
            ));
        } else if let Some(name) = arn.resource.strip_prefix("parameter") {
            actions.push(StoryAction::command(
                format!("Issue a new value for {name}, and store it."),
                format!(
                    "aws ssm put-parameter --name {name} --overwrite --value NEW_VALUE \
                     --region {region}"
                ),
            ));
        }
    }
    let more = incident.revealed.total.saturating_sub(EACH);
    if more > 0 {
        let text = format!("Rotate the other {more} secrets that were read, too.");
        actions.push(StoryAction::text(text));
    }
}

/// What else the credentials did.
fn search(incident: &Incident, actions: &mut Vec<StoryAction>) {
    let from = EventTime(incident.first.0.saturating_sub(BEFORE_SECS));
    let keys = incident.access_keys.first.iter();
    let key = keys.clone().find(|key| is_plain(key));
    let region = incident
        .regions
        .first
        .iter()
        .find(|region| is_plain(region));
    if let Some((key, region)) = key.zip(region) {
        actions.push(StoryAction::command(
            format!("See what else access key {key} did, here and in other regions."),
            format!(
                "aws cloudtrail lookup-events --lookup-attributes \
                 AttributeKey=AccessKeyId,AttributeValue={key} --start-time {from} \
                 --region {region}"
            ),
        ));
    }
}

/// Host of the console of a partition.
fn console(partition: &str) -> &'static str {
    match partition {
        "aws-cn" => "console.amazonaws.cn",
        "aws-us-gov" => "console.amazonaws-us-gov.com",
        _ => "console.aws.amazon.com",
    }
}

fn last_part(text: &str) -> &str {
    text.rsplit('/').next().unwrap_or(text)
}

/// Whether a shell and a console take a name for nothing but a name.
fn is_plain(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_/:-".contains(&byte);
    !name.is_empty() && !name.starts_with('-') && name.bytes().all(is_plain)
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
        change(&mut incident);
        incident
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
            (
                "arn:aws:iam::111122223333:role/Admin/kim@example.com",
                "Admin",
            ),
        ] {
            let text = text(&incident(role, |_| {}));
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
            let session = |name: &str| format!("arn:aws:sts::111122223333:assumed-role/app/{name}");
            incident.sessions.first = ["i-0abc0abc0abc0abc0", "i-am-no-instance"]
                .map(|name| session(name).into())
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
}
