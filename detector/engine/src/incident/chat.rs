//! An incident for Amazon Q Developer in chat applications: all messages about it are one thread.

use std::collections::BTreeMap;

use super::{
    Incident,
    announced::NewsKind,
    message::IncidentMessage,
    story::{IncidentStory, StoryAction, most_serious_steps},
    usual::UsualFacts,
};
use crate::{
    actor::ActorKind,
    alert::chat::{ChatContent, ChatMetadata, ChatNotification, of_rule, plain},
};

/// Most steps that are described, and most lines of what is to be done.
const STEPS: usize = 4;
const CHECKS: usize = 3;
const ACTIONS: usize = 4;

/// The incident as a custom notification in JSON.
#[must_use]
pub fn notification(message: &IncidentMessage) -> String {
    let story = IncidentStory::of(&message.incident);
    let alert = message.as_alert();
    let title = message.prefix() + &plain(&story.headline);
    let content = ChatContent {
        title,
        description: description(message, &story),
        next_steps: next_steps(message, &story),
        ..ChatContent::of(&alert)
    };
    let of_alert = ChatMetadata::of(&alert);
    let mut context = of_alert.additional_context;
    context.remove("rule_id");
    context.extend(for_actions(message));
    let mut resources = actor_resource(&message.incident);
    resources.extend(of_alert.related_resources);
    let metadata = ChatMetadata {
        related_resources: resources,
        thread_id: message.announced.thread.0.to_string(),
        summary: plain(&story.headline),
        event_type: "secretrail.incident",
        additional_context: context,
    };
    ChatNotification::new(message.id(), content, metadata).json()
}

/// What custom actions can use, as variables of the commands that they run: ids, times and counts;
/// names only where every shell takes them as they are.
fn for_actions(message: &IncidentMessage) -> BTreeMap<&'static str, String> {
    let incident = &message.incident;
    let only_key = match incident.access_keys.first.as_slice() {
        [key] if incident.access_keys.total == 1 => exact(key),
        _ => None,
    };
    let regions = incident.regions.first.join(",");
    let all = [
        ("incident_id", Some(incident.id.0.to_string())),
        ("actor", exact(&incident.actor.name)),
        ("actor_kind", Some(incident.actor.kind.as_str().to_owned())),
        ("access_key", only_key),
        ("regions", exact(&regions)),
        ("began", Some(incident.first.to_string())),
        ("alerts", Some(incident.alerts_total.to_string())),
        ("secrets", Some(incident.secrets.total.to_string())),
    ];
    let known = all.into_iter();
    known
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// A name that means nothing to a shell or a chat; `None` for any other.
fn exact(name: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,".contains(c);
    let is_exact = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    (is_exact && name.chars().all(is_plain)).then(|| name.to_owned())
}

/// The ARN of the principal that the incident is about.
fn actor_resource(incident: &Incident) -> Vec<String> {
    let actor = &incident.actor;
    let arn = exact(&actor.name).filter(|name| name.starts_with("arn:"));
    let arn = arn.filter(|_| actor.kind == ActorKind::Principal);
    arn.into_iter().collect()
}

/// What is new, and for the first message what is known and what happened.
fn description(message: &IncidentMessage, story: &IncidentStory) -> String {
    let mut lines: Vec<String> = message.news().iter().map(|news| plain(news)).collect();
    if message.announced.news.kind == NewsKind::Opened {
        lines.extend(story.why.first().map(|why| of_rule(why)));
    }
    if message.announced.end.is_none() {
        let facts = story.facts.iter();
        lines.extend(facts.map(|(label, text)| format!("*{label}:* {}", plain(text))));
        if !is_in_thread(message) {
            lines.extend(story.usual.iter().flat_map(usual));
        }
        let steps = most_serious_steps(&story.steps, STEPS);
        lines.extend(
            steps
                .iter()
                .map(|step| format!("{} {}", step.time, plain(&step.what))),
        );
        let harmless = story.harmless_if.first();
        lines.extend(harmless.map(|text| format!("*Harmless if:* {}", of_rule(text))));
    }
    lines.join("\n")
}

/// What is usual beside what is now, as a list.
fn usual(usual: &UsualFacts) -> Vec<String> {
    let heading = format!("*{}*", plain(&usual.heading()));
    let lines = usual.lines(usize::MAX).into_iter();
    let lines = lines.map(|(label, text)| format!("- {label}: {}", plain(&text)));
    std::iter::once(heading).chain(lines).collect()
}

/// Whether the thread has what is usual, and what is to be done, from its first message. It is said
/// again when the level has changed.
fn is_in_thread(message: &IncidentMessage) -> bool {
    let news = &message.announced.news;
    news.kind == NewsKind::Updated && news.level_before.is_none()
}

/// What is to be done, in this order.
fn next_steps(message: &IncidentMessage, story: &IncidentStory) -> Vec<String> {
    if is_in_thread(message) || message.announced.end.is_some() {
        return Vec::new();
    }
    let checks = story.checks.iter().take(CHECKS).map(|check| of_rule(check));
    let actions = story.actions.iter().take(ACTIONS).map(action);
    checks.chain(actions).collect()
}

/// An action; its command as code, which is for the clipboard. Commands hold no text that a chat
/// would interpret: a name with other characters than AWS allows makes no command.
fn action(action: &StoryAction) -> String {
    let text = plain(&action.text);
    match (&action.command, &action.link) {
        (Some(command), _) if !command.contains('`') => format!("{text} `{command}`"),
        (None, Some(link)) => format!("{text} {link}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_without_meaning_to_a_shell_are_given_to_actions() {
        for name in [
            "arn:aws:iam::111122223333:role/my_app",
            "AKIAEXAMPLE",
            "eu-west-1,sa-east-1",
        ] {
            assert_eq!(exact(name).as_deref(), Some(name));
        }
        for name in [
            "", "-x", "a b", "$(id)", "a;b", "`a`", "a\nb", "it's", "@here", "<!here>", "é",
        ] {
            assert_eq!(exact(name), None, "{name}");
        }
    }
}
