//! The published JSON form of an alert, `secretrail.alert/1`. The format is frozen; a change makes
//! a `/2`.
//!
//! Every key is always present, except `truncated`. `window`, `group` and `count` are `null` for
//! alerts about a single event. [`read`] reads the form back.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Alert, AlertEvent, AlertId, AlertTraits, IncidentId, WindowMatch};
use crate::{
    access::json_v1::{AccessV1, UnknownForm, is_of, known, lent, some, time},
    actor::{Actor, ActorKind, Origin},
    evidence::Evidence,
    ids::SharedStr,
    rule_meta::{RuleLevel, RuleMeta},
    sanitize,
};

/// Name and version of the schema.
pub const SCHEMA: &str = "secretrail.alert/1";

/// An alert as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub struct AlertV1<'a> {
    schema: Cow<'a, str>,
    /// 32 hexadecimal digits; the same for the same facts, wherever and however often they are
    /// seen.
    id: Cow<'a, str>,
    rule: RuleV1<'a>,
    /// The `id` of its `secretrail.incident/1`; `null` while that is not decided.
    #[serde(default)]
    incident_id: Option<Cow<'a, str>>,
    /// Who or what it is about; incidents are cut by it.
    #[serde(default)]
    actor: Option<ActorV1<'a>>,
    /// Time of the event, or the end of the window.
    time: String,
    /// Since when it holds: time of its first event; where a window joins several rules, of the
    /// first event by which each has one.
    #[serde(default)]
    began: Option<String>,
    window: Option<WindowV1>,
    /// Fields that the rule groups by, and their values.
    group: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
    /// What the rule counts (events or distinct values) in the window.
    count: Option<u64>,
    /// One sentence: who did what to which secret, from where and when.
    summary: Cow<'a, str>,
    /// `null` where the evidence differs; so are region and principal.
    account: Option<Cow<'a, str>>,
    region: Option<Cow<'a, str>>,
    principal: Option<Cow<'a, str>>,
    /// The first hundred: ARNs where known, otherwise names.
    secrets: Vec<Cow<'a, str>>,
    secrets_total: usize,
    /// The first ten, each a `secretrail.access/1`.
    accesses: Vec<AccessV1<'a>>,
    accesses_total: usize,
    /// The first ten events of the evidence, accesses or not.
    #[serde(default)]
    events: Vec<EventV1<'a>>,
    /// `true` where a record that came late shows that there was nothing to tell.
    #[serde(default)]
    withdrawn: bool,
    /// What the rule detects.
    #[serde(default)]
    description: Cow<'a, str>,
    /// What to check and to do, in this order.
    #[serde(default)]
    next_steps: Cow<'a, [String]>,
    false_positives: Cow<'a, [String]>,
    references: Cow<'a, [String]>,
    /// `true` where accesses, secrets or texts were omitted or truncated to fit a size limit; the
    /// key is absent otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// Limits tried in turn when an alert is too long: accesses, secrets, and characters per text.
/// Accesses are dropped first: they are the longest, and are written as accesses too.
const SHORTER: [(usize, usize, usize); 4] = [
    (3, 100, usize::MAX),
    (1, 20, usize::MAX),
    (0, 20, 2_000),
    (0, 5, 200),
];

/// The alert as JSON, shortened to `max_bytes` if possible: first fewer accesses, then fewer
/// secrets, then shorter texts. Texts of the rule file are never truncated, so that the result may
/// still be longer.
#[must_use]
pub fn within(alert: &Alert, max_bytes: usize) -> String {
    let mut written = write(alert, false);
    for (accesses, secrets, chars) in SHORTER {
        if written.len() <= max_bytes {
            break;
        }
        written = write(&alert.shortened(accesses, secrets, chars), true);
    }
    written
}

fn write(alert: &Alert, truncated: bool) -> String {
    let form = AlertV1 {
        truncated,
        ..alert.into()
    };
    // Cannot fail: every key is text.
    let text = serde_json::to_string(&form).unwrap_or_default();
    sanitize::json(&text).into_owned()
}

#[derive(Debug, Serialize, Deserialize)]
struct RuleV1<'a> {
    id: Cow<'a, str>,
    title: Cow<'a, str>,
    level: Cow<'a, str>,
    tags: Cow<'a, [String]>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ActorV1<'a> {
    /// `principal`, `address`, `secret` or `log`.
    kind: Cow<'a, str>,
    /// Equal in all forms in which CloudTrail names the actor.
    key: Cow<'a, str>,
    /// An ARN, an address, a secret, or `account region`.
    id: Cow<'a, str>,
}

/// An event, to find its record.
#[derive(Debug, Serialize, Deserialize)]
struct EventV1<'a> {
    event_id: Cow<'a, str>,
    /// `eventTime`.
    time: String,
    /// Path or key of the object that contained the record.
    object: Cow<'a, str>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WindowV1 {
    start: String,
    end: String,
}

impl<'a> From<&'a Alert> for AlertV1<'a> {
    fn from(alert: &'a Alert) -> Self {
        let window_match = alert.window_match.as_ref();
        let rule = &*alert.rule;
        let accesses = alert.accesses.iter();
        Self {
            schema: SCHEMA.into(),
            id: (&*alert.id.0).into(),
            rule: RuleV1::of(rule),
            incident_id: alert.incident.as_ref().map(|id| (&*id.0).into()),
            actor: Some(ActorV1::of(&alert.actor)),
            time: alert.time.to_string(),
            began: Some(alert.began.to_string()),
            window: window_match.map(WindowV1::of),
            group: window_match.map(group),
            count: window_match.map(|f| f.count),
            summary: (&*alert.summary).into(),
            account: lent(&alert.account),
            region: lent(&alert.region),
            principal: lent(&alert.principal),
            secrets: alert.secrets.iter().map(|s| Cow::Borrowed(&**s)).collect(),
            secrets_total: alert.secrets_total,
            accesses: accesses.map(|a| AccessV1::from(&**a)).collect(),
            accesses_total: alert.accesses_total,
            events: alert.events.iter().map(EventV1::of).collect(),
            withdrawn: alert.withdrawn,
            description: (&*rule.description).into(),
            next_steps: (&*rule.next_steps).into(),
            false_positives: (&*rule.false_positives).into(),
            references: (&*rule.references).into(),
            truncated: false,
        }
    }
}

impl<'a> RuleV1<'a> {
    fn of(rule: &'a RuleMeta) -> Self {
        Self {
            id: (&*rule.id).into(),
            title: (&*rule.title).into(),
            level: rule.level.as_str().into(),
            tags: (&*rule.tags).into(),
        }
    }
}

impl<'a> EventV1<'a> {
    fn of(event: &'a AlertEvent) -> Self {
        Self {
            event_id: (&*event.id).into(),
            time: event.time.to_string(),
            object: (&*event.object).into(),
        }
    }

    fn read(&self) -> Result<AlertEvent, UnknownForm> {
        Ok(AlertEvent {
            id: (&*self.event_id).into(),
            time: time(&self.time)?,
            object: (&*self.object).into(),
        })
    }
}

impl WindowV1 {
    fn of(window_match: &WindowMatch) -> Self {
        Self {
            start: window_match.start.to_string(),
            end: window_match.end.to_string(),
        }
    }
}

/// Group values by field name.
fn group(window_match: &WindowMatch) -> BTreeMap<Cow<'_, str>, Cow<'_, str>> {
    let group = window_match.group.iter();
    group
        .map(|(field, value)| ((&**field).into(), (&**value).into()))
        .collect()
}

/// Reads an alert back from this form. The form lacks the file of the rule (read as empty), the
/// bucket of the window (read as 0) and what [`AccessV1::read`] lists.
///
/// # Errors
///
/// The JSON has another form, or was edited.
pub fn read(value: Value) -> Result<Alert, UnknownForm> {
    let alert: AlertV1<'_> = serde_json::from_value(value)
        .map_err(|error| UnknownForm(format!("not an alert: {error}")))?;
    is_of(&alert.schema, SCHEMA)?;
    let accesses = alert.accesses.iter();
    let accesses: Vec<_> = accesses
        .map(|access| access.read().map(Arc::new))
        .collect::<Result<_, _>>()?;
    let evidence: Vec<_> = accesses.iter().cloned().map(Evidence::access).collect();
    Ok(Alert {
        id: alert_id(&alert.id)?,
        rule: Arc::new(alert.rule_meta()?),
        time: time(&alert.time)?,
        began: time(alert.began.as_deref().unwrap_or(&alert.time))?,
        window_match: alert.window_match()?,
        summary: alert.summary.to_string(),
        account: some(&alert.account),
        region: some(&alert.region),
        principal: some(&alert.principal),
        secrets: alert
            .secrets
            .iter()
            .map(|s| SharedStr::from(&**s))
            .collect(),
        secrets_total: alert.secrets_total,
        accesses,
        accesses_total: alert.accesses_total,
        events: alert.events()?,
        actor: alert.actor()?,
        origin: Origin::of(&evidence),
        common: None,
        former: Vec::new(),
        traits: AlertTraits::of(&evidence),
        incident: alert.incident_id.as_deref().map(incident_id).transpose()?,
        withdrawn: alert.withdrawn,
    })
}

/// Parses the id of an alert. The id is printed and becomes part of keys, so anything but
/// hexadecimal digits is rejected.
fn alert_id(text: &str) -> Result<AlertId, UnknownForm> {
    id(text, "alert").map(AlertId)
}

/// Parses the id of an incident, as [`alert_id`] does.
pub(crate) fn incident_id(text: &str) -> Result<IncidentId, UnknownForm> {
    id(text, "incident").map(IncidentId)
}

fn id(text: &str, of: &str) -> Result<SharedStr, UnknownForm> {
    if text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.into())
    } else {
        let message = format!("the {of} id is not 32 hexadecimal digits");
        Err(UnknownForm(message))
    }
}

impl AlertV1<'_> {
    fn events(&self) -> Result<Vec<AlertEvent>, UnknownForm> {
        self.events.iter().map(EventV1::read).collect()
    }
}

impl<'a> ActorV1<'a> {
    fn of(actor: &'a Actor) -> Self {
        Self {
            kind: actor.kind.as_str().into(),
            key: (&*actor.key).into(),
            id: (&*actor.name).into(),
        }
    }
}

impl AlertV1<'_> {
    /// The actor; of an alert of an earlier version, as far as its other keys show it.
    fn actor(&self) -> Result<Actor, UnknownForm> {
        let Some(actor) = &self.actor else {
            let principal = self.principal.as_deref();
            let (account, region) = (self.account.as_deref(), self.region.as_deref());
            return Ok(Actor::by_names(principal, account, region));
        };
        Ok(Actor {
            kind: known(&ActorKind::ALL, ActorKind::as_str, &actor.kind)?,
            key: (&*actor.key).into(),
            name: (&*actor.id).into(),
        })
    }

    fn rule_meta(&self) -> Result<RuleMeta, UnknownForm> {
        Ok(RuleMeta {
            id: self.rule.id.to_string(),
            title: self.rule.title.to_string(),
            level: known(&RuleLevel::ALL, RuleLevel::as_str, &self.rule.level)?,
            tags: self.rule.tags.to_vec(),
            description: self.description.to_string(),
            next_steps: self.next_steps.to_vec(),
            asks_for_seen: false,
            false_positives: self.false_positives.to_vec(),
            references: self.references.to_vec(),
            file: String::new(),
        })
    }

    /// The window; `None` for an alert about a single event, where `window`, `group` and `count`
    /// are `null`.
    fn window_match(&self) -> Result<Option<WindowMatch>, UnknownForm> {
        let Some(((window, group), count)) = self
            .window
            .as_ref()
            .zip(self.group.as_ref())
            .zip(self.count)
        else {
            return Ok(None);
        };
        let group = group
            .iter()
            .map(|(field, value)| ((&**field).into(), (&**value).into()))
            .collect();
        Ok(Some(WindowMatch {
            group,
            bucket: 0,
            start: time(&window.start)?,
            end: time(&window.end)?,
            count,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_refused() {
        let reported = |text: &str| {
            read(serde_json::from_str(text).unwrap())
                .unwrap_err()
                .to_string()
        };
        assert!(reported("{}").contains("not an alert"));
        let alert = r#"{"schema":"secretrail.alert/1","id":"0123456789abcdef0123456789abcdef","rule":{"id":"r","title":"t",
            "level":"high","tags":[]},"time":"2026-03-02T10:00:00Z","window":null,"group":null,"count":null,"summary":"s",
            "account":null,"region":null,"principal":null,"secrets":[],"secrets_total":0,"accesses":[],"accesses_total":0,
            "false_positives":[],"references":[]}"#;
        assert_eq!(
            read(serde_json::from_str(alert).unwrap())
                .unwrap()
                .rule
                .level,
            RuleLevel::High
        );
        assert!(
            reported(&alert.replace("alert/1", "alert/2"))
                .contains("`secretrail.alert/2` is not secretrail.alert/1")
        );
        assert!(
            reported(&alert.replace("89abcdef0", "89abcdef\\u001b"))
                .contains("32 hexadecimal digits")
        );
        assert!(
            reported(&alert.replace("\"high\"", "\"huge\""))
                .contains("`huge` is not a known value")
        );
        assert!(reported(&alert.replace("T10:00:00Z", "")).contains("`2026-03-02` is not a time"));
    }
}
