//! The outcome of a call, and what an access-denied message contains.
//!
//! The parameters of a denied call are not logged: only `errorMessage` has the resource and the
//! policy that denied it. Source: IAM user guide, "Troubleshoot access denied error messages".

use std::borrow::Cow;

use crate::ids::{ArnParts, RecordHome, SecretRef, SecretStore};
use crate::observation::CallOutcome;

/// Value of [`denied_by`] when the caller may read the secret but not use its key.
pub(super) const KMS_KEY: &str = "kms_key";

/// Kinds of policies: as AWS names them in messages, and as values of `denied_by`.
const GATES: [(&str, &str); 6] = [
    ("identity-based policy", "identity_policy"),
    ("resource-based policy", "resource_policy"),
    ("service control policy", "service_control_policy"),
    ("permissions boundary", "permissions_boundary"),
    ("session policy", "session_policy"),
    ("VPC endpoint policy", "vpc_endpoint_policy"),
];

/// The outcome by `errorCode`.
pub(super) fn outcome(error_code: Option<&str>) -> CallOutcome {
    match error_code {
        None => CallOutcome::Success,
        // Denials have several codes: `AccessDenied`, `AccessDeniedException`, `VpceAccessDenied`,
        // `Client.UnauthorizedOperation`.
        Some(code)
            if code.contains("AccessDenied")
                || code.ends_with("UnauthorizedOperation")
                || code.ends_with("NotAuthorized") =>
        {
            CallOutcome::Denied
        }
        Some(_) => CallOutcome::Failed,
    }
}

/// The kind of policy that an access-denied message names; `None` when it names none.
pub(super) fn denied_by(message: &str) -> Option<Cow<'static, str>> {
    // The store's own message, without action and resource.
    if message.contains("Access to KMS is not allowed") {
        return Some(KMS_KEY.into());
    }
    let gate = AccessDenial::read(message)?.gate?;
    let known = GATES.iter().find(|(words, _)| gate.contains(words));
    Some(match known {
        Some((_, name)) => (*name).into(),
        // AWS adds kinds of policies: an unknown one is still reported.
        None => gate.replace([' ', '-'], "_").to_lowercase().into(),
    })
}

/// The parts of an access-denied message.
pub(super) struct AccessDenial<'a> {
    /// The requested resource: an ARN, or what the caller typed.
    pub(super) resource: Option<&'a str>,
    /// The kind of policy that denied it, in AWS's words.
    gate: Option<&'a str>,
}

impl<'a> AccessDenial<'a> {
    /// Reads `… is not authorized to perform: ACTION on resource: RESOURCE because no GATE allows
    /// …` and `… with an explicit deny in a GATE`. Either part may be missing: messages are
    /// truncated at 1 KB. `None` for any other message.
    pub(super) fn read(message: &'a str) -> Option<Self> {
        let (_, rest) = message.split_once("is not authorized to perform: ")?;
        let resource = rest
            .split_once(" on resource: ")
            .and_then(|(_, after)| after.split_ascii_whitespace().next())
            .map(|resource| resource.trim_matches(['"', '\'', '.', ',']))
            .filter(|resource| !resource.is_empty());
        Some(Self {
            resource,
            gate: gate_without_allow(rest).or_else(|| gate_with_deny(rest)),
        })
    }
}

/// `identity-based policy` of `because no identity-based policy allows …`.
fn gate_without_allow(message: &str) -> Option<&str> {
    let (_, after) = message.split_once("because no ")?;
    Some(after.split_once(" allows")?.0)
}

/// `service control policy` of `with an explicit deny in a service control policy`.
fn gate_with_deny(message: &str) -> Option<&str> {
    let (_, gate) = message.split_once("with an explicit deny in ")?;
    let gate = gate
        .strip_prefix("an ")
        .or(gate.strip_prefix("a "))
        .unwrap_or(gate);
    Some(gate.trim_end_matches('.'))
}

/// The secret that an access-denied message names; unnamed when it names none.
pub(super) fn denied_target(
    message: Option<&str>,
    store: SecretStore,
    home: RecordHome<'_>,
) -> SecretRef {
    let resource = message
        .and_then(AccessDenial::read)
        .and_then(|denial| denial.resource)
        // Parameter Store writes `arn:aws:ssm:…:*` when it did not identify the parameter.
        .filter(|resource| !resource.ends_with('*'));
    let Some(resource) = resource else {
        return SecretRef::unnamed(store, home);
    };
    // A bare name is what the caller typed; an ARN may be that of the KMS key.
    let arn = ArnParts::parse(resource);
    match store {
        SecretStore::SecretsManager if arn.is_none_or(|arn| arn.service == "secretsmanager") => {
            SecretRef::secret(resource, home)
        }
        SecretStore::Ssm if arn.is_none_or(|arn| arn.resource.starts_with("parameter")) => {
            SecretRef::parameter(resource, home)
        }
        _ => SecretRef::unnamed(store, home),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events_for_tests::HOME;

    #[test]
    fn a_denial_has_many_codes() {
        let cases = [
            (None, CallOutcome::Success),
            (Some("AccessDenied"), CallOutcome::Denied),
            (Some("AccessDeniedException"), CallOutcome::Denied),
            (Some("VpceAccessDenied"), CallOutcome::Denied),
            (Some("Client.UnauthorizedOperation"), CallOutcome::Denied),
            (Some("ThrottlingException"), CallOutcome::Failed),
            (Some("ResourceNotFoundException"), CallOutcome::Failed),
        ];
        for (code, expected) in cases {
            assert_eq!(outcome(code), expected, "{code:?}");
        }
    }

    #[test]
    fn every_gate_is_reported_and_an_unknown_one_in_its_own_words() {
        let gate = |rest: &str| {
            let message = format!("User: x is not authorized to perform: kms:Decrypt {rest}");
            denied_by(&message)
        };
        for (words, name) in GATES {
            let missing = format!("on resource: y because no {words} allows the action");
            assert_eq!(gate(&missing).as_deref(), Some(name));
            let deny = format!("on resource: y with an explicit deny in a {words}");
            assert_eq!(gate(&deny).as_deref(), Some(name));
        }
        let new = gate("with an explicit deny in a Resource control-policy.");
        assert_eq!(new.as_deref(), Some("resource_control_policy"));
        assert_eq!(
            gate("on resource: y because no identity-based po"),
            None,
            "truncated"
        );
        assert_eq!(denied_by("Rate exceeded"), None);
        assert_eq!(
            denied_by("Access to KMS is not allowed").as_deref(),
            Some(KMS_KEY)
        );
    }

    #[test]
    fn a_denied_call_names_its_secret_if_it_got_that_far() {
        let named = |store: SecretStore, resource: &str| {
            let message = format!(
                "User: x is not authorized to perform: a:B on resource: {resource} because no \
                 identity-based policy allows the a:B action"
            );
            denied_target(Some(&message), store, HOME).name
        };
        let cases = [
            (SecretStore::SecretsManager, "db", Some("db")),
            (
                SecretStore::SecretsManager,
                "arn:aws:secretsmanager:eu-west-1:111122223333:secret:db-AbC123",
                Some("db"),
            ),
            (
                SecretStore::SecretsManager,
                "arn:aws:kms:eu-west-1:111122223333:key/k",
                None,
            ),
            (
                SecretStore::Ssm,
                "arn:aws:ssm:eu-west-1:111122223333:parameter/a/b",
                Some("/a/b"),
            ),
            (
                SecretStore::Ssm,
                "arn:aws:ssm:eu-west-1:111122223333:*",
                None,
            ),
        ];
        for (store, resource, name) in cases {
            assert_eq!(named(store, resource).as_deref(), name, "{resource}");
        }
        assert_eq!(denied_target(None, SecretStore::Ssm, HOME).name, None);
    }
}
