//! Who is behind an incident, in words. Text from logs in it is not sanitised.

use super::{Incident, story::short_name};
use crate::{
    ids::last_segment,
    lineage::{
        issue::CredentialIssue,
        origin::{OriginEvidence, SessionOrigin, SessionOrigins},
    },
    principal::{PrincipalKind, role_of_session},
};

/// Most origins that are named.
const NAMED: usize = 2;

/// Who is behind an incident; `None` where nothing is known beyond its actor.
#[must_use]
pub fn behind(incident: &Incident) -> Option<String> {
    let origins = &incident.origins;
    // Without a call that issued credentials, it would be the actor again.
    let is_more = origins.first.iter().any(|origin| !origin.chain.is_empty());
    who_is_behind(origins).filter(|_| is_more)
}

/// The first origins in words, and the number of the others; `None` without any.
#[must_use]
pub fn who_is_behind(origins: &SessionOrigins) -> Option<String> {
    let first: Vec<String> = origins.first.iter().take(NAMED).map(described).collect();
    let more = match origins.total.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    (!first.is_empty()).then(|| format!("{}{more}", first.join("; and ")))
}

/// One origin in words.
fn described(origin: &SessionOrigin) -> String {
    let Some(principal) = &origin.principal else {
        return unknown(origin.chain.first().map(|issue| &**issue));
    };
    let mut text = short_name(principal);
    if origin.kind == PrincipalKind::Workload {
        let session = origin.session.as_deref().map(last_segment);
        text.extend(session.map(|session| format!(", session {session}")));
        text.extend(origin.source.iter().map(|source| format!(", of {source}")));
    } else {
        text.extend(origin.source.iter().map(|from| format!(" from {from}")));
    }
    text.push_str(match origin.mfa {
        Some(true) => ", with MFA",
        Some(false) if origin.kind != PrincipalKind::Workload => ", without MFA",
        _ => "",
    });
    if origin.evidence == Some(OriginEvidence::SessionName) {
        text.push_str(", by the name of the session only");
    }
    // The first call of a service made the session that is named already.
    let mut chain = origin.chain.iter();
    if chain
        .as_slice()
        .first()
        .is_some_and(|first| is_of_service(first))
    {
        chain.next();
    }
    for issue in chain {
        text.push_str(", then ");
        text.push_str(&issued(issue));
    }
    text
}

fn is_of_service(issue: &CredentialIssue) -> bool {
    issue.caller.kind == PrincipalKind::Service
}

/// What a call has issued.
fn issued(issue: &CredentialIssue) -> String {
    let session = issue.session.as_deref();
    let role = session.and_then(role_of_session);
    let to = issue.role.as_deref().or(role.as_deref()).or(session);
    to.map_or_else(|| issue.api.to_string(), short_name)
}

/// That nobody is known, and from where on it is known.
fn unknown(first: Option<&CredentialIssue>) -> String {
    let Some(first) = first else {
        return "not in the logs".to_owned();
    };
    let caller = &first.caller;
    let who = caller.principal.as_deref().map(short_name);
    let who = who.unwrap_or_else(|| "a caller without a name".to_owned());
    let source = caller.source.as_deref();
    let from = source
        .map(|from| format!(" from {from}"))
        .unwrap_or_default();
    format!(
        "not in the logs; {who} got {} at {}{from}",
        issued(first),
        first.time()
    )
}
