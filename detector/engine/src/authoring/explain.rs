//! Why a rule did or did not fire: selection by selection for each event, and count by group for
//! windows.

mod lines;
mod world;

use std::{collections::BTreeMap, sync::Arc};

use self::{
    lines::SELECTION,
    world::{JudgedEvents, RuleTrace},
};
use crate::{
    fact::{Fact, WindowKey},
    inflate::InflateError,
    policy::AccessPolicy,
    rule::{RuleSet, WindowCondition, WindowRule},
    rule_meta::RuleMeta,
    state::StateError,
    time::EventTime,
    window,
};

/// One line of an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainLine {
    /// How deep it stands under the event.
    pub depth: usize,
    /// Whether what it says holds.
    pub holds: bool,
    /// Text; parts of it come from the log.
    pub text: String,
}

/// What a rule makes of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTrace {
    /// Title of the rule, when a correlation asks several.
    pub rule: String,
    /// Time, API, secret and event id.
    pub event: String,
    /// Whether the rule matches.
    pub matched: bool,
    /// The condition, from the outside in.
    pub lines: Vec<ExplainLine>,
}

impl EventTrace {
    /// The selections that the condition names, each with whether it matched: what decided.
    #[must_use]
    pub fn decided(&self) -> String {
        let mut decided = Vec::new();
        for line in &self.lines {
            match line.text.strip_prefix(SELECTION) {
                Some(name) if line.holds => decided.push(name.to_owned()),
                Some(name) => decided.push(format!("not {name}")),
                None => {}
            }
        }
        decided.join(", ")
    }
}

/// What a window counts in one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupTrace {
    /// Fields and values of the group.
    pub group: String,
    /// Whether it fires.
    pub fired: bool,
    /// What was counted, and what is asked for.
    pub count: String,
}

/// Why a rule did or did not fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The rule.
    pub rule: Arc<RuleMeta>,
    /// Whether it raises an alert.
    pub fires: bool,
    /// What it, or the rules that it names, make of each event.
    pub events: Vec<EventTrace>,
    /// What it counts, for rules about many events.
    pub groups: Vec<GroupTrace>,
}

/// Why there is nothing to explain.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// No rule of that id, name of a file or title.
    #[error("there is no rule `{0}`; `secretrail rules list` shows ids, titles and files")]
    NoSuchRule(String),
    /// The events cannot be read.
    #[error(transparent)]
    Unreadable(#[from] InflateError),
    /// The events are something else.
    #[error("there are no CloudTrail records in it")]
    NoRecords,
    /// The store in memory failed.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Explains a rule over the records in `text`, in any form that CloudTrail records come in, long
/// after their time.
///
/// # Errors
///
/// [`ExplainError`].
pub async fn explain(
    rules: &RuleSet,
    name: &str,
    text: &[u8],
    policy: Option<&AccessPolicy>,
) -> Result<Explanation, ExplainError> {
    let world = JudgedEvents::read(rules, text, policy).await?;
    // A window goes before the rule whose suppression it is.
    let mut windows = rules.windows.iter().enumerate();
    if let Some((index, window)) = windows.find(|(_, w)| is_named(&w.meta, name)) {
        return Ok(explain_window(&world, rules, window, index));
    }
    let detection = rules.detections.iter().find(|d| is_named(&d.meta, name));
    let detection = detection.ok_or_else(|| ExplainError::NoSuchRule(name.to_owned()))?;
    let traced = world.traces(detection, None).into_iter();
    let events: Vec<EventTrace> = traced.map(|traced| traced.trace).collect();
    Ok(Explanation {
        rule: detection.meta.clone(),
        fires: detection.alerts && events.iter().any(|e| e.matched),
        events,
        groups: Vec::new(),
    })
}

/// Whether a rule is meant by its id, title, or the name of its file with or without folder and
/// ending.
#[must_use]
pub fn is_named(meta: &RuleMeta, name: &str) -> bool {
    let file = meta.file.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = file
        .strip_suffix(".yml")
        .or_else(|| file.strip_suffix(".yaml"))
        .unwrap_or(file);
    meta.id == name || meta.title == name || [meta.file.as_str(), file, stem].contains(&name)
}

/// Why the window that has this index among the rules did or did not fire.
fn explain_window(
    world: &JudgedEvents<'_>,
    rules: &RuleSet,
    window: &WindowRule,
    index: usize,
) -> Explanation {
    let mut events = Vec::new();
    let mut groups: BTreeMap<WindowKey, Vec<Fact>> = BTreeMap::new();
    for detection in &rules.detections {
        let own = Arc::ptr_eq(&detection.meta, &window.meta);
        // One rule may stand in a correlation twice, in two slots.
        for (_, slot) in detection.feeds.iter().filter(|(fed, _)| *fed == index) {
            for RuleTrace { mut trace, counted } in world.traces(detection, Some((window, *slot))) {
                if !own {
                    trace.rule.clone_from(&detection.meta.title);
                }
                if let Some((key, fact)) = counted {
                    groups.entry(key).or_default().push(fact);
                }
                events.push(trace);
            }
        }
    }
    let groups: Vec<GroupTrace> = groups
        .iter()
        .map(|(key, facts)| GroupTrace::of(window, key, facts))
        .collect();
    Explanation {
        rule: window.meta.clone(),
        fires: window.alerts && groups.iter().any(|g| g.fired),
        events,
        groups,
    }
}

impl GroupTrace {
    fn of(window: &WindowRule, key: &WindowKey, facts: &[Fact]) -> Self {
        let ends = (EventTime(i64::MIN), EventTime(i64::MAX));
        let window_matches = window::evaluate(window, &key.group, facts, ends);
        let most = match window_matches
            .iter()
            .map(|(window_match, _)| window_match.count)
            .max()
        {
            Some(count) => format!("{count} in its fullest window"),
            None => format!("{} in all, never enough within one window", facts.len()),
        };
        let asked = asked(&window.condition);
        let usual = facts.iter().filter_map(|fact| fact.least).max();
        let usual = usual.map_or_else(String::new, |n| format!(", and {n} by the usual rate"));
        let group = key.group.iter();
        let group = group.map(|(field, value)| format!("{field}={value}"));
        Self {
            group: group.collect::<Vec<_>>().join(", "),
            fired: !window_matches.is_empty(),
            count: format!(
                "{most}; asks for {asked} within {} s{usual}",
                window.span_secs
            ),
        }
    }
}

/// What a window asks for.
fn asked(condition: &WindowCondition) -> String {
    match condition {
        WindowCondition::Events(least) => format!("{least} events"),
        WindowCondition::Values(least) => format!("{least} different values"),
        WindowCondition::Rules(least) => format!("events of {least} rules"),
        WindowCondition::Ordered(least) => format!("events of {least} rules in this order"),
        WindowCondition::Expression(..) => "events of the rules in the condition".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::load::load;

    const RULES: &str = "title: Reads
id: reads
logsource: {product: aws, category: secret_access}
detection:
    api: {access.api: GetSecretValue}
    other: {secret.name: other}
    condition: api and not other
---
title: Many
id: many
correlation:
    type: event_count
    rules: [reads]
    group-by: [principal.arn]
    timespan: 1h
    condition: {gte: 2}
";

    fn read(id: &str, secret: &str) -> String {
        format!(
            r#"{{"eventTime":"2026-03-02T10:00:00Z","eventID":"{id}",
            "eventSource":"secretsmanager.amazonaws.com","eventName":"GetSecretValue",
            "awsRegion":"eu-west-1","recipientAccountId":"111122223333",
            "userIdentity":{{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/ann"}},
            "requestParameters":{{"secretId":"{secret}"}}}}"#
        )
    }

    fn explained(name: &str, records: &[String]) -> Result<Explanation, ExplainError> {
        let (rules, _) = load([("rules/many.yml", RULES)]).unwrap();
        let text = format!("[{}]", records.join(","));
        pollster::block_on(explain(&rules, name, text.as_bytes(), None))
    }

    #[test]
    fn what_decided_is_told_selection_by_selection() {
        let found = explained("reads", &[read("e1", "db"), read("e2", "other")]).unwrap();
        let decided = found.events.iter().map(|e| (e.matched, e.decided()));
        assert_eq!(
            decided.collect::<Vec<_>>(),
            [
                (true, "api, not other".to_owned()),
                (false, "api, other".to_owned())
            ]
        );
        assert!(!found.fires, "it only feeds the correlation");
        assert_eq!(
            found.events[0].event,
            "2026-03-02T10:00:00Z GetSecretValue db (e1)"
        );
    }

    #[test]
    fn a_long_list_is_told_by_its_length() {
        let names: Vec<String> = (0..100).map(|n| format!("db{n}*")).collect();
        let rule = RULES.replace(
            "{secret.name: other}",
            &format!("{{secret.name: {names:?}}}"),
        );
        let (rules, _) = load([("rules/many.yml", &*rule)]).unwrap();
        let text = format!("[{},{}]", read("e1", "db7x"), read("e2", "other"));
        let found = pollster::block_on(explain(&rules, "reads", text.as_bytes(), None)).unwrap();
        let lines = found.events.iter().map(|event| {
            let line = event.lines.iter().find(|line| line.text.contains("100"));
            line.map(|line| (line.holds, &*line.text)).unwrap()
        });
        let asked = "secret.name is one of 100 values";
        let other = format!("{asked}; it is \"other\"");
        assert_eq!(lines.collect::<Vec<_>>(), [(true, asked), (false, &*other)]);
    }

    #[test]
    fn a_window_tells_what_it_counted_in_each_group() {
        let one = explained("many", &[read("e1", "db")]).unwrap();
        assert!(!one.fires);
        assert_eq!(
            one.groups[0].count,
            "1 in all, never enough within one window; asks for 2 events within 3600 s"
        );
        let two = explained("many", &[read("e1", "db"), read("e2", "dc")]).unwrap();
        assert!(two.fires && two.groups[0].count.starts_with("2 in its fullest window; "));
        assert_eq!(two.events[0].rule, "Reads");
    }

    #[test]
    fn a_rule_is_meant_by_id_title_or_file() {
        let (rules, _) = load([("rules/many.yml", RULES)]).unwrap();
        let meta = &rules.windows[0].meta;
        for name in ["many", "Many", "rules/many.yml", "many.yml"] {
            assert!(is_named(meta, name), "{name}");
        }
        assert!(!is_named(meta, "rules/many") && !is_named(meta, ""));
    }

    #[test]
    fn there_is_nothing_to_explain_without_rule_or_records() {
        let no_rule = explained("none", &[read("e1", "db")]);
        assert!(matches!(no_rule, Err(ExplainError::NoSuchRule(_))));
        assert!(matches!(
            explained("reads", &[]),
            Err(ExplainError::NoRecords)
        ));
    }
}
