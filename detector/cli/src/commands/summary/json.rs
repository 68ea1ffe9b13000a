//! `summary -f json`: the same as the screen, as one object of the schema `secretrail.summary/1`.

use std::sync::Arc;

use secretrail_engine::{
    access::Access,
    incident::{IncidentPeriods, json_v1::IncidentV1},
    time::EventTime,
};
use serde_json::{Value, json};

use super::{
    ReadTally, SummaryContent, by_rule, denied, new_pairs, principal, ranked, reads, secret, tally,
};

/// The summary as it stands at `now`, with `top` entries in each list.
pub(super) fn value(found: &SummaryContent<'_>, top: usize, now: EventTime) -> Value {
    let principals = tally(found.accesses, principal, secret);
    let secrets = tally(found.accesses, secret, principal);
    let periods = IncidentPeriods::default();
    let incidents = found.incidents.iter().take(top);
    json!({
        "schema": "secretrail.summary/1",
        "first": found.accesses.first().map(time),
        "last": found.accesses.last().map(time),
        "accesses_total": found.accesses.len(),
        "principals_total": principals.len(),
        "secrets_total": secrets.len(),
        "incidents": incidents
            .map(|incident| IncidentV1::new(incident, now, periods))
            .collect::<Vec<_>>(),
        "incidents_total": found.incidents.len(),
        "principals": entries(&ranked(&principals, reads), top),
        "secrets": entries(&ranked(&secrets, reads), top),
        "most_denied": entries(&ranked(&principals, denied), top),
        "new_pairs": new(found, top),
        "rules": rules(found),
    })
}

/// First reads of a secret by a principal, newest first.
fn new(found: &SummaryContent<'_>, top: usize) -> Vec<Value> {
    let pairs = new_pairs(found.accesses);
    let newest = pairs.iter().rev().take(top);
    newest
        .map(|access| {
            json!({
                "time": access.head.time.to_string(),
                "principal": access.head.principal.id.as_deref(),
                "secret": access.secret.arn.as_ref().or(access.secret.name.as_ref()),
            })
        })
        .collect()
}

/// The rules that raised alerts, most severe first.
fn rules(found: &SummaryContent<'_>) -> Vec<Value> {
    let rules = by_rule(found.alerts);
    rules
        .iter()
        .map(|((level, title), of_rule)| {
            json!({
                "title": title,
                "level": level.0.as_str(),
                "alerts": of_rule.count,
                "last": of_rule.last.to_string(),
            })
        })
        .collect()
}

fn time(access: &Arc<Access>) -> String {
    access.head.time.to_string()
}

/// The first entries of a ranking.
fn entries(ranked: &[(&String, &ReadTally)], top: usize) -> Vec<Value> {
    let first = ranked.iter().take(top);
    first
        .map(|(name, tally)| {
            json!({
                "name": name,
                "success": tally.counts.reads,
                "denied": tally.counts.denied,
                "others_total": tally.others.len(),
                "last": tally.last.map(|last| last.to_string()),
            })
        })
        .collect()
}
