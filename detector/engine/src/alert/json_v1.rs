//! The published form of an alert: `secretrail.alert/1`. Frozen; a change makes a `/2`.
//!
//! Every key is always there. `window`, `group` and `count` are `null` for alerts about a single event.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Alert;
use crate::access::json_v1::AccessV1;

/// Name and version of this form.
pub const SCHEMA: &str = "secretrail.alert/1";

/// One alert.
#[derive(Debug, Serialize)]
pub struct AlertV1<'a> {
    schema: &'static str,
    /// 32 hexadecimal digits; the same for the same facts, wherever and however often they are seen.
    id: &'a str,
    rule: RuleV1<'a>,
    /// Time of the event, or the end of the window.
    time: String,
    window: Option<WindowV1>,
    /// Fields that the rule groups by, and their values.
    group: Option<BTreeMap<&'a str, &'a str>>,
    /// What the rule counts in the window.
    count: Option<u64>,
    /// One sentence that a person can act on.
    summary: &'a str,
    /// `null` when the evidence comes from several.
    account: Option<&'a str>,
    region: Option<&'a str>,
    principal: Option<&'a str>,
    /// The first hundred, ARNs where they are known.
    secrets: Vec<&'a str>,
    secrets_total: usize,
    /// The first ten, in the form of the ledger.
    accesses: Vec<AccessV1<'a>>,
    accesses_total: usize,
    false_positives: &'a [String],
    references: &'a [String],
}

#[derive(Debug, Serialize)]
struct RuleV1<'a> {
    id: &'a str,
    title: &'a str,
    level: &'static str,
    tags: &'a [String],
}

#[derive(Debug, Serialize)]
struct WindowV1 {
    start: String,
    end: String,
}

impl<'a> From<&'a Alert> for AlertV1<'a> {
    fn from(alert: &'a Alert) -> Self {
        let firing = alert.firing.as_ref();
        let rule = &*alert.rule;
        Self {
            schema: SCHEMA,
            id: &alert.id.0,
            rule: RuleV1 { id: &rule.id, title: &rule.title, level: rule.level.as_str(), tags: &rule.tags },
            time: alert.time.to_string(),
            window: firing.map(|f| WindowV1 { start: f.start.to_string(), end: f.end.to_string() }),
            group: firing.map(|f| f.group.iter().map(|(field, value)| (&**field, &**value)).collect()),
            count: firing.map(|f| f.count),
            summary: &alert.summary,
            account: alert.account.as_deref(),
            region: alert.region.as_deref(),
            principal: alert.principal.as_deref(),
            secrets: alert.secrets.iter().map(|s| &**s).collect(),
            secrets_total: alert.secrets_total,
            accesses: alert.accesses.iter().map(|a| AccessV1::from(&**a)).collect(),
            accesses_total: alert.accesses_total,
            false_positives: &rule.false_positives,
            references: &rule.references,
        }
    }
}
