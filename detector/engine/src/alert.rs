//! An alert: what a rule says, with its evidence. Its id is a pure function of what it says.

pub mod chat;
pub mod json_v1;
pub mod ocsf;
pub mod text;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::access::{Access, Method};
use crate::digest::digest;
use crate::evidence::Evidence;
use crate::ids::Text;
use crate::limits::{ALERT_ACCESSES, ALERT_SECRETS};
use crate::observation::Outcome;
use crate::rule_meta::RuleMeta;
use crate::time::EventTime;

/// Identity of an alert: 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertId(pub Text);

/// When and over what a window fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// Fields of the group and their values.
    pub group: Vec<(Text, Text)>,
    /// Number of the bucket: event time divided by the suppression time.
    pub bucket: i64,
    /// The window reaches from after this time …
    pub start: EventTime,
    /// … up to and including this one.
    pub end: EventTime,
    /// What the rule counts, in this window.
    pub count: u64,
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Identity.
    pub id: AlertId,
    /// The rule.
    pub rule: Arc<RuleMeta>,
    /// Time of the event, or the end of the window.
    pub time: EventTime,
    /// The window; `None` for an alert about a single event.
    pub firing: Option<Firing>,
    /// One sentence that a person can act on.
    pub summary: String,
    /// Account of the trail, where the evidence has only one.
    pub account: Option<Text>,
    /// Region, where the evidence has only one.
    pub region: Option<Text>,
    /// Principal, where the evidence has only one.
    pub principal: Option<Text>,
    /// The first secrets, by name or ARN.
    pub secrets: Vec<Text>,
    /// How many distinct secrets there are.
    pub secrets_total: usize,
    /// The first accesses, in the order of the ledger.
    pub accesses: Vec<Arc<Access>>,
    /// How many accesses there are.
    pub accesses_total: usize,
    /// `eventID`s of the first events that it rests on, accesses or not. In none of the published forms: empty for an alert
    /// that was read from one.
    pub events: Vec<Text>,
}

impl Alert {
    /// The identity of an alert about a single event.
    #[must_use]
    pub fn single_id(rule: &RuleMeta, event_key: &str) -> AlertId {
        AlertId(digest(&["event", &rule.id, event_key]).into())
    }

    /// The identity of an alert of a window.
    #[must_use]
    pub fn window_id(rule: &RuleMeta, group: &[(Text, Text)], bucket: i64) -> AlertId {
        let bucket = bucket.to_string();
        let mut parts = vec!["window", &rule.id, &bucket];
        parts.extend(group.iter().flat_map(|(field, value)| [&**field, &**value]));
        AlertId(digest(&parts).into())
    }

    /// The same alert in fewer bytes: so many accesses and secrets, and no text longer than so many characters. The totals
    /// stay.
    #[must_use]
    pub fn shortened(&self, accesses: usize, secrets: usize, chars: usize) -> Self {
        let short = |text: &str| -> String {
            match text.char_indices().nth(chars) {
                Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
                None => text.to_owned(),
            }
        };
        let short_text = |text: &Option<Text>| text.as_deref().map(|text| Text::from(short(text)));
        let group = |(field, value): &(Text, Text)| (field.clone(), Text::from(short(value)));
        Self {
            firing: self.firing.as_ref().map(|firing| Firing {
                group: firing.group.iter().map(group).collect(),
                ..firing.clone()
            }),
            summary: short(&self.summary),
            account: short_text(&self.account),
            region: short_text(&self.region),
            principal: short_text(&self.principal),
            secrets: self
                .secrets
                .iter()
                .take(secrets)
                .map(|secret| short(secret).into())
                .collect(),
            accesses: self.accesses.iter().take(accesses).cloned().collect(),
            ..self.clone()
        }
    }

    /// Makes the alert of a rule from its evidence, which must not be empty, in any order.
    #[must_use]
    pub fn new(
        id: AlertId,
        rule: Arc<RuleMeta>,
        firing: Option<Firing>,
        mut evidence: Vec<Evidence>,
    ) -> Self {
        evidence.sort_by(|a, b| a.order().cmp(&b.order()));
        evidence.dedup_by(|a, b| a.order() == b.order());
        let time = firing
            .as_ref()
            .map(|f| f.end)
            .or_else(|| evidence.first().map(|e| e.head.time))
            .unwrap_or(EventTime(0));
        let one = |of: fn(&Evidence) -> Option<&Text>| {
            let values: BTreeSet<Option<&Text>> = evidence.iter().map(of).collect();
            values
                .first()
                .filter(|_| values.len() == 1)
                .copied()
                .flatten()
                .cloned()
        };
        let named = |e: &Evidence| {
            e.secret
                .as_ref()
                .filter(|s| s.name.is_some())
                .map(|s| (s.key(), s.arn.clone().or_else(|| s.name.clone())))
        };
        let mut keys = std::collections::HashMap::new();
        let mut order = Vec::new();
        for (key, name) in evidence.iter().filter_map(named) {
            // One secret may come by its name here and by its ARN there; the ARN tells more.
            let known = keys.entry(key.clone()).or_insert_with(|| {
                order.push(key);
                None::<Text>
            });
            if known.as_ref().is_none_or(|k| !k.starts_with("arn:")) {
                *known = name;
            }
        }
        let secrets = order
            .iter()
            .take(ALERT_SECRETS)
            .filter_map(|key| keys.get(key).cloned().flatten())
            .collect();
        let accesses: Vec<_> = evidence.iter().filter_map(|e| e.access.clone()).collect();
        Self {
            summary: summary(&rule, firing.as_ref(), &evidence, order.len()),
            account: one(|e| Some(&e.head.account)),
            region: one(|e| Some(&e.head.region)),
            principal: one(|e| e.head.principal.id.as_ref()),
            secrets,
            secrets_total: order.len(),
            accesses_total: accesses.len(),
            events: evidence
                .iter()
                .take(ALERT_ACCESSES)
                .map(|e| e.head.event_id.clone())
                .collect(),
            accesses: accesses.into_iter().take(ALERT_ACCESSES).collect(),
            id,
            rule,
            time,
            firing,
        }
    }
}

/// Who did what to which secret, from where and when: enough to act on without opening anything.
fn summary(
    rule: &RuleMeta,
    firing: Option<&Firing>,
    evidence: &[Evidence],
    secrets: usize,
) -> String {
    let Some(first) = evidence.first() else {
        return rule.title.clone();
    };
    let head = &first.head;
    let who = |e: &Evidence| {
        e.head
            .principal
            .id
            .clone()
            .unwrap_or_else(|| "an unnamed principal".into())
    };
    let principals: BTreeSet<Text> = evidence.iter().map(who).collect();
    let subject = match principals.len() {
        1 => who(first).to_string(),
        n => format!("{n} principals"),
    };
    let places: BTreeSet<&Text> = evidence.iter().map(|e| &e.head.region).collect();
    let region = if places.len() == 1 {
        head.region.to_string()
    } else {
        format!("{} regions", places.len())
    };
    let sources: BTreeSet<&str> = evidence
        .iter()
        .filter_map(|e| e.head.source.ip.as_deref())
        .collect();
    let source = match sources.first() {
        Some(ip) if sources.len() == 1 => (*ip).to_owned(),
        Some(_) => format!("{} sources", sources.len()),
        None => "an unknown source".to_owned(),
    };
    let object = match (evidence.iter().find_map(|e| e.secret.as_ref()), secrets) {
        (_, 2..) => format!("{secrets} secrets"),
        (Some(secret), _) => secret.label(),
        (None, _) => String::new(),
    };
    let done = done(evidence);
    let how = if first.access.is_some() {
        format!(" ({})", head.api)
    } else {
        String::new()
    };
    let space = if object.is_empty() { "" } else { " " };
    match firing {
        Some(firing) if firing.count > 1 || evidence.len() > 1 => {
            let from = evidence
                .iter()
                .map(|e| e.head.time)
                .min()
                .unwrap_or(firing.start);
            // Ten parameters in one call are ten accesses and one call.
            let calls: BTreeSet<&Text> = evidence.iter().map(|e| e.head.event_key()).collect();
            let calls = if calls.len() == 1 {
                "1 call".to_owned()
            } else {
                format!("{} calls", calls.len())
            };
            let until = firing.end;
            format!(
                "{subject} {done}{space}{object}, {calls} from {source} in {region} between {from} and {until}"
            )
        }
        _ => {
            let event = if first.access.is_none() {
                format!(", event {}", head.event_id)
            } else {
                String::new()
            };
            format!(
                "{subject} {done}{space}{object}{how} from {source} in {region} at {}{event}",
                head.time
            )
        }
    }
}

/// What was done, in the order in which it was: calls that are no accesses by their names, then what happened to secrets.
fn done(evidence: &[Evidence]) -> String {
    let mut calls: Vec<String> = Vec::new();
    for call in evidence
        .iter()
        .filter(|e| e.access.is_none())
        .map(|e| format!("called {}", e.head.api))
    {
        if !calls.contains(&call) {
            calls.push(call);
        }
    }
    let accesses = || evidence.iter().filter(|e| e.access.is_some());
    let verbs: BTreeSet<&str> = accesses().map(verb).collect();
    let verb = match verbs.len() {
        0 | 1 => verbs.first().copied(),
        _ if accesses().all(|e| e.head.outcome == Outcome::Success) => Some("read"),
        _ => Some("read or tried to read"),
    };
    calls.extend(verb.map(str::to_owned));
    calls.join(" and ")
}

fn verb(evidence: &Evidence) -> &'static str {
    match (
        evidence.access.as_ref().map(|access| access.method),
        evidence.head.outcome,
    ) {
        (_, Outcome::Denied) => "was denied reading",
        (_, Outcome::Failed) => "failed to read",
        (Some(Method::DirectDecrypt), Outcome::Success) => "decrypted, calling KMS directly,",
        (Some(Method::DecryptOnly), Outcome::Success) => "used the key of",
        (_, Outcome::Success) => "read",
    }
}
