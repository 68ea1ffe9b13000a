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
    /// `true` where accesses, secrets or texts were left out or cut to keep within a limit; the key is missing otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

/// The alert as JSON of at most so many bytes, with fewer accesses, then fewer secrets, then shorter texts where it is too
/// long. What a rule file says of itself is never cut.
#[must_use]
pub fn within(alert: &Alert, max_bytes: usize) -> String {
    // Cannot fail: every key is text.
    let write = |alert: &Alert, cut| serde_json::to_string(&AlertV1 { cut, ..alert.into() }).unwrap_or_default();
    let whole = write(alert, false);
    let steps = [(3, 100, usize::MAX), (1, 20, usize::MAX), (0, 20, 2_000), (0, 5, 200)];
    let shorter =
        steps.iter().map(|(accesses, secrets, chars)| write(&alert.shortened(*accesses, *secrets, *chars), true));
    std::iter::once(whole)
        .chain(shorter)
        .reduce(|kept, next| if kept.len() <= max_bytes { kept } else { next })
        .unwrap_or_default()
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
            cut: false,
        }
    }
}
