//! The sentence of an alert: who did what to which secret, from where and when. Enough to act on
//! without opening anything.

use std::collections::BTreeSet;

use super::Firing;
use crate::access::Method;
use crate::evidence::Evidence;
use crate::observation::Outcome;
use crate::rule_meta::RuleMeta;

/// The sentence about evidence, in its order, that names so many different secrets.
pub(super) fn summary(
    rule: &RuleMeta,
    firing: Option<&Firing>,
    evidence: &[Evidence],
    secrets: usize,
) -> String {
    let Some(first) = evidence.first() else {
        return rule.title.clone();
    };
    let what = format!("{} {}", subject(evidence), deed(evidence, secrets));
    let place = format!("from {} in {}", source(evidence), region(evidence));
    match firing {
        // A rule that is only suppressed has windows too, with a single event in most of them; that
        // one is told like any other, with its call or its id.
        Some(firing) if firing.count > 1 || evidence.len() > 1 => {
            let from = evidence.iter().map(|e| e.head.time).min();
            let from = from.unwrap_or(firing.start);
            let calls = calls(evidence);
            format!("{what}, {calls} {place} between {from} and {}", firing.end)
        }
        _ => {
            let head = &first.head;
            // The forms of an alert list its accesses with their event ids. A record that is none
            // stands nowhere else, so the sentence has to name it.
            let (how, which) = match first.access {
                Some(_) => (format!(" ({})", head.api), String::new()),
                None => (String::new(), format!(", event {}", head.event_id)),
            };
            format!("{what}{how} {place} at {}{which}", head.time)
        }
    }
}

/// Who did it.
fn subject(evidence: &[Evidence]) -> String {
    let principals = evidence.iter().map(|e| {
        let id = e.head.principal.id.as_deref();
        id.unwrap_or("an unnamed principal")
    });
    one_or_number(principals, "principals").unwrap_or_default()
}

/// The region in which it was done.
fn region(evidence: &[Evidence]) -> String {
    one_or_number(evidence.iter().map(|e| &*e.head.region), "regions").unwrap_or_default()
}

/// Where the calls came from, as far as they tell.
fn source(evidence: &[Evidence]) -> String {
    let addresses = evidence.iter().filter_map(|e| e.head.source.ip.as_deref());
    one_or_number(addresses, "sources").unwrap_or_else(|| "an unknown source".to_owned())
}

/// The value where there is only one, or how many different ones there are; `None` for none.
fn one_or_number<'v>(values: impl Iterator<Item = &'v str>, many: &str) -> Option<String> {
    let distinct: BTreeSet<&str> = values.collect();
    match distinct.len() {
        0 | 1 => distinct.first().map(|value| (*value).to_owned()),
        n => Some(format!("{n} {many}")),
    }
}

/// How many calls there were: ten parameters in one call are ten accesses and one call.
fn calls(evidence: &[Evidence]) -> String {
    let calls: BTreeSet<_> = evidence.iter().map(|e| e.head.event_key()).collect();
    match calls.len() {
        1 => "1 call".to_owned(),
        n => format!("{n} calls"),
    }
}

/// What was done to what.
fn deed(evidence: &[Evidence], secrets: usize) -> String {
    let done = done(evidence);
    let object = match evidence.iter().find_map(|e| e.secret.as_ref()) {
        _ if secrets > 1 => format!("{secrets} secrets"),
        Some(secret) => secret.label(),
        None => String::new(),
    };
    // A request may name the empty string as its secret.
    if object.is_empty() {
        done
    } else {
        format!("{done} {object}")
    }
}

/// What was done: calls that are no accesses by their names, in the order in which they were made,
/// then what happened to secrets.
fn done(evidence: &[Evidence]) -> String {
    let (accesses, others): (Vec<&Evidence>, Vec<&Evidence>) =
        evidence.iter().partition(|e| e.access.is_some());
    let mut deeds: Vec<String> = Vec::new();
    for call in others.iter().map(|e| format!("called {}", e.head.api)) {
        if !deeds.contains(&call) {
            deeds.push(call);
        }
    }
    let verbs: BTreeSet<&str> = accesses.iter().map(|e| verb(e)).collect();
    let verb = match verbs.len() {
        0 | 1 => verbs.first().copied(),
        _ if accesses.iter().all(|e| e.head.outcome == Outcome::Success) => Some("read"),
        _ => Some("read or tried to read"),
    };
    deeds.extend(verb.map(str::to_owned));
    deeds.join(" and ")
}

fn verb(access: &Evidence) -> &'static str {
    let method = access.access.as_ref().map(|access| access.method);
    match (method, access.head.outcome) {
        (_, Outcome::Denied) => "was denied reading",
        (_, Outcome::Failed) => "failed to read",
        (Some(Method::DirectDecrypt), Outcome::Success) => "decrypted, calling KMS directly,",
        (Some(Method::DecryptOnly), Outcome::Success) => "used the key of",
        (_, Outcome::Success) => "read",
    }
}
