//! The summary of an alert, one sentence: who did what to which secret, from where and when.

use std::collections::BTreeSet;

use super::{EvidenceTotals, WindowMatch};
use crate::{
    access::AccessMethod, actor::is_from_caller, evidence::Evidence, observation::CallOutcome,
    rule_meta::RuleMeta,
};

/// The summary of sorted evidence that names `secrets` distinct secrets.
pub(super) fn summary(
    rule: &RuleMeta,
    window_match: Option<&WindowMatch>,
    evidence: &[Evidence],
    secrets: usize,
    totals: EvidenceTotals,
) -> String {
    let Some(first) = evidence.first() else {
        return rule.title.clone();
    };
    let what = format!("{} {}", subject(evidence), deed(evidence, secrets));
    let place = format!("from {} in {}", source(evidence), region(evidence));
    match window_match {
        // A rule with only `suppress` has windows too, most of them with a single event, which is
        // summarised like an alert without a window.
        Some(window_match) if window_match.count > 1 || evidence.len() > 1 => {
            let from = evidence.iter().map(|e| e.head.time).min();
            let from = from.unwrap_or(window_match.start);
            let calls = calls(totals.calls);
            format!(
                "{what}, {calls} {place} between {from} and {}",
                window_match.end
            )
        }
        _ => about_one(first, &what, &place),
    }
}

/// The summary of a single event.
fn about_one(evidence: &Evidence, what: &str, place: &str) -> String {
    let head = &evidence.head;
    match evidence.access {
        Some(_) => format!("{what} ({}) {place} at {}", head.api, head.time),
        // Alerts list the event ids of accesses. Other records appear only here, so the summary
        // names their event id.
        None => format!("{what} {place} at {}, event {}", head.time, head.event_id),
    }
}

/// The principal, or the number of principals.
fn subject(evidence: &[Evidence]) -> String {
    let principals = evidence.iter().map(|e| {
        let id = e.head.principal.id.as_deref();
        id.unwrap_or("an unnamed principal")
    });
    one_or_number(principals, "principals").unwrap_or_default()
}

/// The region, or the number of regions.
fn region(evidence: &[Evidence]) -> String {
    one_or_number(evidence.iter().map(|e| &*e.head.region), "regions").unwrap_or_default()
}

/// Sources that are named; of more, only the number is given.
const NAMED_SOURCES: usize = 5;

/// The source address or service, or the number of sources and their names if they are few.
fn source(evidence: &[Evidence]) -> String {
    let own = evidence.iter().filter(|e| is_from_caller(e));
    let mut distinct: BTreeSet<String> = own.filter_map(|e| e.head.source.described()).collect();
    if distinct.is_empty() {
        let all = evidence.iter();
        distinct = all.filter_map(|e| e.head.source.described()).collect();
    }
    let names: Vec<String> = distinct.into_iter().collect();
    match names.as_slice() {
        [] => "an unknown source".to_owned(),
        [one] => one.clone(),
        few if few.len() <= NAMED_SOURCES => format!("{} sources ({})", few.len(), few.join(", ")),
        many => format!("{} sources", many.len()),
    }
}

/// The value if there is only one, otherwise the number of distinct values; `None` if there are
/// none.
fn one_or_number<'v>(values: impl Iterator<Item = &'v str>, many: &str) -> Option<String> {
    let distinct: BTreeSet<&str> = values.collect();
    match distinct.len() {
        0 | 1 => distinct.first().map(|value| (*value).to_owned()),
        n => Some(format!("{n} {many}")),
    }
}

fn calls(number: usize) -> String {
    match number {
        1 => "1 call".to_owned(),
        n => format!("{n} calls"),
    }
}

/// Verb and object.
fn deed(evidence: &[Evidence], secrets: usize) -> String {
    let done = done(evidence);
    let object = match evidence.iter().find_map(|e| e.secret.as_ref()) {
        _ if secrets > 1 => format!("{secrets} secrets"),
        Some(secret) => secret.label(),
        None => String::new(),
    };
    // The secret in a request may be an empty string.
    if object.is_empty() {
        done
    } else {
        format!("{done} {object}")
    }
}

/// The verb: calls that are no accesses by API name, in order, then what was done to the secrets.
fn done(evidence: &[Evidence]) -> String {
    let (accesses, others): (Vec<&Evidence>, Vec<&Evidence>) =
        evidence.iter().partition(|e| e.access.is_some());
    let mut apis = BTreeSet::new();
    let others = others.iter().map(|e| &*e.head.api);
    let mut deeds: Vec<String> = others
        .filter(|api| apis.insert(*api))
        .map(|api| format!("called {api}"))
        .collect();
    deeds.extend(verb_for_all(&accesses).map(str::to_owned));
    deeds.join(" and ")
}

/// One verb for all these accesses; `None` if there are none.
fn verb_for_all(accesses: &[&Evidence]) -> Option<&'static str> {
    let verbs: BTreeSet<&str> = accesses.iter().map(|e| verb(e)).collect();
    match verbs.len() {
        0 | 1 => verbs.first().copied(),
        _ if accesses
            .iter()
            .all(|e| e.head.outcome == CallOutcome::Success) =>
        {
            Some("read")
        }
        _ => Some("read or tried to read"),
    }
}

fn verb(access: &Evidence) -> &'static str {
    let method = access.access.as_ref().map(|access| access.method);
    match (method, access.head.outcome) {
        (_, CallOutcome::Denied) => "was denied reading",
        (_, CallOutcome::Failed) => "failed to read",
        (Some(AccessMethod::DirectDecrypt), CallOutcome::Success) => {
            "called KMS directly to decrypt"
        }
        (Some(AccessMethod::DecryptOnly), CallOutcome::Success) => {
            "made a KMS Decrypt without a logged read of"
        }
        (_, CallOutcome::Success) => "read",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::{self, Access},
        rule_meta::RuleLevel,
        time::EventTime,
    };
    use std::sync::Arc;

    fn read(event_id: &str, change: impl FnOnce(&mut Access)) -> Evidence {
        let mut access = access::sample();
        Arc::make_mut(&mut access.head).event_id = event_id.into();
        change(&mut access);
        Evidence::access(Arc::new(access))
    }

    fn said(evidence: &[Evidence], secrets: usize, count: Option<u64>) -> String {
        let rule = RuleMeta {
            id: "rule".to_owned(),
            title: "Title".to_owned(),
            level: RuleLevel::High,
            ..RuleMeta::default()
        };
        let window_match = count.map(|count| WindowMatch {
            group: Vec::new(),
            bucket: 0,
            start: EventTime(0),
            end: EventTime::parse("2026-03-02T11:00:00Z").unwrap(),
            count,
        });
        let totals = EvidenceTotals::of(evidence);
        summary(&rule, window_match.as_ref(), evidence, secrets, totals)
    }

    const ROLE: &str = "arn:aws:iam::111122223333:role/app";

    #[test]
    fn a_single_read_is_reported_with_its_call() {
        let reported = format!(
            "{ROLE} read /db (GetParameter) from 198.51.100.7 in eu-west-1 \
             at 2026-03-02T10:00:00Z"
        );
        let one = [read("e1", |_| {})];
        assert_eq!(said(&one, 1, None), reported);
        // A rule with `suppress` has a window, which is not mentioned for a single event.
        assert_eq!(said(&one, 1, Some(1)), reported);
    }

    #[test]
    fn a_record_that_is_no_access_is_reported_with_its_id() {
        let head = access::sample().head;
        assert_eq!(
            said(&[Evidence::event(head, None)], 0, None),
            format!(
                "{ROLE} called GetParameter from 198.51.100.7 in eu-west-1 \
                 at 2026-03-02T10:00:00Z, event e1"
            )
        );
    }

    #[test]
    fn accesses_of_one_call_are_one_call() {
        let two = [read("e1", |_| {}), read("e1", |_| {})];
        assert_eq!(
            said(&two, 2, Some(2)),
            format!(
                "{ROLE} read 2 secrets, 1 call from 198.51.100.7 in eu-west-1 \
                 between 2026-03-02T10:00:00Z and 2026-03-02T11:00:00Z"
            )
        );
    }

    #[test]
    fn what_differs_is_counted() {
        let elsewhere = read("e2", |access| {
            let head = Arc::make_mut(&mut access.head);
            head.region = "us-east-1".into();
            head.outcome = CallOutcome::Denied;
            let source = Arc::make_mut(&mut head.source);
            source.ip = Some("203.0.113.9".into());
            Arc::make_mut(&mut head.principal).id = None;
        });
        let reported = said(&[read("e1", |_| {}), elsewhere.clone()], 1, Some(2));
        assert!(
            reported.starts_with(
                "2 principals read or tried to read /db, 2 calls from 2 sources \
                 (198.51.100.7, 203.0.113.9) in 2 regions "
            ),
            "{reported}"
        );
        let reported = said(&[elsewhere], 1, None);
        assert!(
            reported.starts_with("an unnamed principal was denied reading /db "),
            "{reported}"
        );
    }

    #[test]
    fn how_secrets_were_read_is_reported_where_it_was_one_way() {
        let by = |method| read("e1", |access| access.method = method);
        let reported = |evidence: &[Evidence]| done(evidence);
        assert_eq!(
            reported(&[by(AccessMethod::DirectDecrypt)]),
            "called KMS directly to decrypt"
        );
        assert_eq!(
            reported(&[by(AccessMethod::DecryptOnly)]),
            "made a KMS Decrypt without a logged read of"
        );
        assert_eq!(
            reported(&[by(AccessMethod::DecryptOnly), by(AccessMethod::Api)]),
            "read"
        );
    }
}
