//! What an incident says to a person: who did what, why it matters, what to do, and when it is
//! harmless. The content of every form: terminal, mail, chat and JSON. Text from logs in it is not
//! sanitised.

use std::collections::{BTreeMap, HashSet};

pub use super::origins::{behind, who_is_behind};
use super::{Incident, IncidentRule, Listed, response, usual::UsualFacts};
use crate::{
    ids::{ArnParts, last_segment, secret_name},
    revealed::span_text,
    rule_meta::RuleLevel,
    time::EventTime,
};

/// Most rules whose description, steps and benign causes are given.
const RULES: usize = 3;

/// Most values that are named in one line.
const NAMED: usize = 5;

/// What an incident says to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentStory {
    /// The actor and the size: `role/app in 111122223333: 3 secrets, 5 rules`.
    pub headline: String,
    /// What is known, each with its label.
    pub facts: Vec<(&'static str, String)>,
    /// What is usual for the principal, beside what it does now; `None` as in [`Incident::usual`].
    pub usual: Option<UsualFacts>,
    /// What happened, by time.
    pub steps: Vec<StoryStep>,
    /// Descriptions of the most serious rules.
    pub why: Vec<String>,
    /// What to check first: steps of the most serious rules.
    pub checks: Vec<String>,
    /// What contains it, in this order.
    pub actions: Vec<StoryAction>,
    /// Known benign causes of the most serious rules.
    pub harmless_if: Vec<String>,
}

/// What rules have found first at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoryStep {
    /// Time of the alerts.
    pub time: EventTime,
    /// What was done, without the actor.
    pub what: String,
    /// Levels and titles of the rules, and how many alerts each has in all, the most serious first.
    pub rules: Vec<(RuleLevel, String, usize)>,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoryAction {
    /// What is to be done, in a sentence.
    pub text: String,
    /// The command of the AWS CLI; `None` where there is none.
    pub command: Option<String>,
    /// The page of the AWS console; `None` where there is none.
    pub link: Option<String>,
}

impl StoryAction {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            command: None,
            link: None,
        }
    }

    pub(crate) fn command(text: String, command: String) -> Self {
        Self {
            text,
            command: Some(command),
            link: None,
        }
    }
}

impl IncidentStory {
    /// The story of an incident.
    #[must_use]
    pub fn of(incident: &Incident) -> Self {
        let serious = most_serious(incident);
        let texts =
            |of: fn(&IncidentRule) -> &[String]| distinct(serious.iter().flat_map(|rule| of(rule)));
        let why: Vec<String> = serious.iter().map(|rule| rule.rule.gist()).collect();
        Self {
            headline: headline(incident),
            facts: facts(incident),
            usual: incident.usual.clone(),
            steps: steps(incident),
            why: distinct(why.iter()),
            checks: texts(|rule| &rule.rule.next_steps),
            actions: response::actions(incident),
            harmless_if: texts(|rule| &rule.rule.false_positives),
        }
    }
}

/// The rules of the highest levels; of one level, those with the first alerts.
fn most_serious(incident: &Incident) -> Vec<&IncidentRule> {
    let mut rules: Vec<&IncidentRule> = incident.rules.iter().collect();
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.rule.level));
    rules.truncate(RULES);
    rules
}

fn distinct<'t>(texts: impl Iterator<Item = &'t String>) -> Vec<String> {
    let mut met = HashSet::new();
    let texts = texts.filter(|text| !text.is_empty() && met.insert(*text));
    texts.cloned().collect()
}

/// An actor without what everybody knows: `role/app in 111122223333`.
pub fn short_name(name: &str) -> String {
    match ArnParts::parse(name) {
        Some(arn) if !arn.account.is_empty() => {
            let resource = arn.resource.strip_prefix("secret:").unwrap_or(arn.resource);
            format!("{resource} in {}", arn.account)
        }
        _ => name.to_owned(),
    }
}

fn headline(incident: &Incident) -> String {
    let name = short_name(&incident.actor.name);
    let rules = counted(incident.rules_total, "rule");
    match incident.secrets.total {
        0 => format!("{name}: {rules}"),
        secrets => format!("{name}: {}, {rules}", counted(secrets, "secret")),
    }
}

pub(crate) fn counted(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

fn facts(incident: &Incident) -> Vec<(&'static str, String)> {
    let mut facts = vec![("who", incident.actor.name.to_string())];
    let sessions = &incident.sessions;
    let own = sessions
        .first
        .iter()
        .any(|session| *session != incident.actor.name);
    facts.extend(behind(incident).map(|text| ("behind", text)));
    let names = [
        ("session", sessions, last_segment as fn(&str) -> &str),
        ("key", &incident.access_keys, whole),
        ("client", &incident.clients, whole),
        ("from", &incident.sources, whole),
        ("region", &incident.regions, whole),
        ("read", &incident.revealed, secret_name),
        ("secret", &incident.secrets, secret_name),
    ];
    for (label, listed, short) in names {
        // Where all secrets were read, they are named once.
        let all_read = incident.revealed.first == incident.secrets.first;
        let is_known = (label == "session" && !own) || (label == "secret" && all_read);
        if let Some(text) = named(listed, short).filter(|_| !is_known) {
            facts.push((label, text));
        }
    }
    facts.extend(exposed(incident).map(|text| ("exposed", text)));
    facts
}

/// Which of the revealed versions may still work.
fn exposed(incident: &Incident) -> Option<String> {
    let exposure = incident.exposure.as_ref()?;
    let all = counted(exposure.versions.len(), "version");
    if exposure.is_open() {
        let open = exposure.versions.iter().filter(|version| version.is_open);
        let mut names: Vec<&str> = Vec::new();
        for name in open.map(|version| secret_name(&version.secret)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let named = first_and_rest(&names, NAMED, 0);
        let more = match exposure.are_more {
            true => "; more were revealed than are listed",
            false => "",
        };
        let named = named.map_or_else(String::new, |names| format!(": {names}"));
        return Some(format!(
            "{} of {all} not superseded yet{named}{more}",
            exposure.open()
        ));
    }
    Some(match exposure.lasted() {
        Some(secs) => format!("closed after {}: {all} superseded", span_text(secs)),
        None => format!("closed: {all} superseded"),
    })
}

/// The first values, and the number of the others; `None` if there are none.
fn named(listed: &Listed, short: fn(&str) -> &str) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for name in listed.first.iter().map(|value| short(value)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let hidden = listed.total.saturating_sub(listed.first.len());
    first_and_rest(&names, NAMED, hidden)
}

/// `a, b and 3 more`: at most so many values, and the number of the others and of those that are
/// not listed; `None` without values.
pub(crate) fn first_and_rest(values: &[&str], most: usize, hidden: usize) -> Option<String> {
    let shown: Vec<&str> = values.iter().take(most).copied().collect();
    let text = shown.join(", ");
    match (values.is_empty(), values.len() - shown.len() + hidden) {
        (true, _) => None,
        (false, 0) => Some(text),
        (false, more) => Some(format!("{text} and {more} more")),
    }
}

fn whole(text: &str) -> &str {
    text
}

/// The summary of a rule's first alert without what stands beside it: the actor and the time.
fn deed(rule: &IncidentRule, actor: &str) -> String {
    let summary = rule.summary.strip_prefix(actor);
    let what = summary.unwrap_or(&rule.summary).trim_start();
    // The time, and after it the id of an event that is no access.
    let at = format!(" at {}", rule.first);
    let end = what.rfind(&at).unwrap_or(what.len());
    what.get(..end).unwrap_or(what).to_owned()
}

/// The first alert of each rule, those about the same together.
fn steps(incident: &Incident) -> Vec<StoryStep> {
    let mut steps: BTreeMap<(EventTime, String), StoryStep> = BTreeMap::new();
    for rule in &incident.rules {
        let what = deed(rule, &incident.actor.name);
        let step = steps.entry((rule.first, what.clone()));
        let step = step.or_insert_with(|| StoryStep {
            time: rule.first,
            what,
            rules: Vec::new(),
        });
        let title = rule.rule.title.clone();
        step.rules.push((rule.rule.level, title, rule.alerts));
    }
    let mut steps: Vec<StoryStep> = steps.into_values().collect();
    for step in &mut steps {
        step.rules
            .sort_by_key(|(level, ..)| std::cmp::Reverse(*level));
    }
    steps
}

/// The steps with the rules of the highest levels, in order of time: a cut must not hide what makes
/// the incident serious.
#[must_use]
pub fn most_serious_steps(steps: &[StoryStep], most: usize) -> Vec<&StoryStep> {
    let mut sorted: Vec<(usize, &StoryStep)> = steps.iter().enumerate().collect();
    sorted.sort_by_key(|(_, step)| {
        let levels = step.rules.iter().map(|(level, ..)| *level);
        std::cmp::Reverse(levels.max())
    });
    sorted.truncate(most);
    sorted.sort_by_key(|(index, _)| *index);
    sorted.into_iter().map(|(_, step)| step).collect()
}
