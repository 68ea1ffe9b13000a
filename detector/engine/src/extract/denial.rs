//! The outcome of a call, and what an access-denied message contains.
//!
//! The parameters of a denied call are often not logged: then only `errorMessage` has the resource
//! and what denied it. The action that the message names decides what both mean. Sources: IAM user
//! guide, "Troubleshoot access denied error messages"; KMS API reference, "Decrypt".

use std::borrow::Cow;

use crate::{
    ids::{ArnParts, RecordHome, SecretRef, SecretStore},
    observation::CallOutcome,
};

/// Value of [`denied_by`] when the caller may not use the key of the secret.
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

/// What the names of the KMS actions that use a key begin with. All others manage keys.
const KEY_USES: [&str; 4] = ["decrypt", "encrypt", "generatedatakey", "reencrypt"];

/// Messages about a key that the caller may not use, without action and resource: the first is from
/// Secrets Manager, the second from KMS, which does not say whether the key exists.
const KEY_MESSAGES: [&str; 2] = [
    "Access to KMS is not allowed",
    "The ciphertext refers to a ",
];

/// How a service marks the error of a call to KMS that it has passed on, in the two versions of its
/// SDK.
const FROM_KMS: [&str; 2] = ["(Service: AWSKMS;", "(Service: Kms,"];

/// The outcome by `errorCode` and `errorMessage`.
pub(super) fn outcome(error_code: Option<&str>, message: Option<&str>) -> CallOutcome {
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
        // A store may report the denial by KMS under a code of its own, such as `InvalidKeyId`.
        Some(_) if message.is_some_and(is_about_key) => CallOutcome::Denied,
        Some(_) => CallOutcome::Failed,
    }
}

/// What denied the call, by the message: the key, or the kind of policy that it names. `None` when
/// it names neither.
pub(super) fn denied_by(message: &str) -> Option<Cow<'static, str>> {
    let denial = AccessDenial::read(message);
    let from_kms = FROM_KMS.iter().any(|mark| message.contains(mark));
    // Whatever policy is named next to a use of the key: it is the key that could not be used.
    if is_about_key(message) || (denial.is_none() && from_kms) {
        return Some(KMS_KEY.into());
    }
    let gate = denial?.gate?;
    let known = GATES.iter().find(|(words, _)| gate.contains(words));
    Some(match known {
        Some((_, name)) => (*name).into(),
        // AWS adds kinds of policies: an unknown one is still reported.
        None => gate.replace([' ', '-'], "_").to_lowercase().into(),
    })
}

/// Whether a message says that the caller may not use a key.
fn is_about_key(message: &str) -> bool {
    match AccessDenial::read(message) {
        // What the caller typed comes after the action, and may be any text.
        Some(denial) => denial.is_of("kms", &KEY_USES),
        None => KEY_MESSAGES.iter().any(|text| message.contains(text)),
    }
}

/// ARN of the key that an access-denied message names.
pub(super) fn denied_key(message: &str) -> Option<&str> {
    let denial = AccessDenial::read(message).filter(|denial| denial.is_of("kms", &KEY_USES))?;
    denial.resource.filter(|resource| is_key(resource))
}

/// Whether an ARN is that of a key, or of an alias of one.
pub(super) fn is_key(arn: &str) -> bool {
    ArnParts::parse(arn).is_some_and(|arn| arn.service == "kms")
}

/// The parts of an access-denied message.
struct AccessDenial<'a> {
    /// The denied action, e.g. `kms:Decrypt`.
    action: &'a str,
    /// The requested resource: an ARN, or what the caller typed.
    resource: Option<&'a str>,
    /// The kind of policy that denied it, in AWS's words.
    gate: Option<&'a str>,
}

impl<'a> AccessDenial<'a> {
    /// Reads `… is not authorized to perform: ACTION on resource: RESOURCE because no GATE allows
    /// …` and `… with an explicit deny in a GATE`. All parts but the action may be missing:
    /// messages are truncated at 1 KB. `None` for any other message.
    fn read(message: &'a str) -> Option<Self> {
        let (_, rest) = message.split_once("not authorized to perform")?;
        let rest = rest.trim_start_matches([':', ' ']);
        let action = rest.split([' ', ',']).next().unwrap_or_default();
        let action = action.trim_end_matches('.');
        // "… to perform this operation" names no action.
        let (service, operation) = action.split_once(':')?;
        if service.is_empty() || operation.is_empty() {
            return None;
        }
        let resource = rest
            .split_once(" on resource: ")
            .and_then(|(_, after)| after.split_ascii_whitespace().next())
            .map(|resource| resource.trim_matches(['"', '\'', '.', ',']))
            .filter(|resource| !resource.is_empty());
        Some(Self {
            action,
            resource,
            gate: last_gate(rest),
        })
    }

    /// Whether the denied action is one of a service, and its name begins with one of these. Names
    /// of actions are written in any case.
    fn is_of(&self, service: &str, operations: &[&str]) -> bool {
        let (of, operation) = self.action.split_once(':').unwrap_or_default();
        let operation = operation.to_ascii_lowercase();
        of.eq_ignore_ascii_case(service) && operations.iter().any(|o| operation.starts_with(o))
    }
}

/// The kind of policy that a message ends with. The last one counts: before it stands what the
/// caller typed, which may read like one.
fn last_gate(message: &str) -> Option<&str> {
    let (missing, deny) = (message.rfind(MISSING), message.rfind(DENY));
    if deny > missing {
        return gate_with_deny(message);
    }
    gate_without_allow(message).or_else(|| gate_with_deny(message))
}

const MISSING: &str = "because no ";
const DENY: &str = "with an explicit deny in ";

/// `identity-based policy` of `because no identity-based policy allows …`.
fn gate_without_allow(message: &str) -> Option<&str> {
    let (_, after) = message.rsplit_once(MISSING)?;
    Some(after.split_once(" allows")?.0)
}

/// `service control policy` of `with an explicit deny in a service control policy`.
fn gate_with_deny(message: &str) -> Option<&str> {
    let (_, gate) = message.rsplit_once(DENY)?;
    let gate = gate
        .strip_prefix("an ")
        .or(gate.strip_prefix("a "))
        .unwrap_or(gate);
    Some(gate.trim_end_matches('.'))
}

/// The secret that an access-denied message names; unnamed when it names none, as when the caller
/// may not use its key.
pub(super) fn denied_target(
    message: Option<&str>,
    store: SecretStore,
    home: RecordHome<'_>,
) -> SecretRef {
    let named = message.and_then(AccessDenial::read).and_then(|denial| {
        // Parameter Store writes `arn:aws:ssm:…:*` when it did not identify the parameter.
        let resource = denial.resource.filter(|r| !r.ends_with('*'))?;
        // What the caller typed is a name of the service whose action was denied. Parameter Store
        // also reads secrets, and both use keys.
        let arn = ArnParts::parse(resource);
        if denial.is_of("secretsmanager", &[""]) {
            let is_secret = arn.is_none_or(|arn| arn.service == "secretsmanager");
            is_secret.then(|| SecretRef::secret(resource, home))
        } else if denial.is_of("ssm", &[""]) {
            let is_parameter = arn.is_none_or(|arn| arn.resource.starts_with("parameter"));
            is_parameter.then(|| SecretRef::parameter(resource, home))
        } else {
            None
        }
    });
    named.unwrap_or_else(|| SecretRef::unnamed(store, home))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events_for_tests::HOME;

    const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/k";

    fn denial(action: &str, rest: &str) -> String {
        format!("User: x is not authorized to perform: {action} {rest}")
    }

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
            assert_eq!(outcome(code, Some("x")), expected, "{code:?}");
            assert_eq!(outcome(code, None), expected, "{code:?}");
        }
    }

    #[test]
    fn a_key_that_may_not_be_used_denies_under_any_code() {
        let about_key = denial("kms:Decrypt", &format!("on resource: {KEY}"));
        for message in [
            &*about_key,
            "The ciphertext refers to a customer master key that does",
        ] {
            let code = Some("InvalidKeyId");
            assert_eq!(outcome(code, Some(message)), CallOutcome::Denied);
            assert_eq!(outcome(None, Some(message)), CallOutcome::Success);
        }
        let disabled = "Secrets Manager can't decrypt the protected secret text";
        let code = Some("DecryptionFailure");
        assert_eq!(outcome(code, Some(disabled)), CallOutcome::Failed);
    }

    #[test]
    fn every_gate_is_reported_and_an_unknown_one_in_its_own_words() {
        let gate = |rest: &str| denied_by(&denial("ssm:GetParameter", rest));
        for (words, name) in GATES {
            let missing = format!("on resource: y because no {words} allows the action");
            assert_eq!(gate(&missing).as_deref(), Some(name));
            let deny = format!("on resource: y with an explicit deny in a {words}");
            assert_eq!(gate(&deny).as_deref(), Some(name));
        }
        let typed = "on resource: x because no resource-based policy allows the \
            ssm:GetParameter action with an explicit deny in a service control policy";
        assert_eq!(gate(typed).as_deref(), Some("service_control_policy"));
        let new = gate("with an explicit deny in a Resource control-policy.");
        assert_eq!(new.as_deref(), Some("resource_control_policy"));
        assert_eq!(
            gate("on resource: y because no identity-based po"),
            None,
            "truncated"
        );
        assert_eq!(denied_by("Rate exceeded"), None);
    }

    #[test]
    fn the_key_is_the_gate_whatever_policy_its_message_names() {
        let on_key = format!("on resource: {KEY}");
        for action in ["kms:Decrypt", "KMS:decrypt", "kms:GenerateDataKey"] {
            for (words, _) in GATES {
                let missing = format!("{on_key} because no {words} allows the {action} action");
                let deny = format!("with an explicit deny in a {words}");
                let unnamed = "on this resource because the resource does not exist in this \
                               Region, no resource-based policies allow access";
                for rest in [&*missing, &*deny, unnamed, ""] {
                    let message = denial(action, rest);
                    assert_eq!(denied_by(&message).as_deref(), Some(KMS_KEY), "{message}");
                }
            }
        }
        for message in [
            "Access to KMS is not allowed",
            "Access to KMS is not allowed. This version of secret is not encrypted with it.",
            "The ciphertext refers to a customer master key that does not exist, does not exist in \
             this region, or you are not allowed to access.",
            "Something new (Service: AWSKMS; Status Code: 400; Error Code: AccessDeniedException)",
            "Something new (Service: Kms, Status Code: 400, Request ID: 1)",
            "x is not authorized to perform kms:Decrypt.",
        ] {
            assert_eq!(denied_by(message).as_deref(), Some(KMS_KEY), "{message}");
        }
    }

    #[test]
    fn what_a_caller_typed_is_no_action_and_managing_a_key_is_no_use_of_it() {
        let policy = "because no identity-based policy allows the action";
        for typed in [
            "not authorized to perform: kms:Decrypt",
            "kms:Decrypt",
            "Access to KMS is not allowed",
            "(Service: AWSKMS; x)",
        ] {
            let rest = format!("on resource: {typed} {policy}");
            let message = denial("secretsmanager:GetSecretValue", &rest);
            assert_eq!(denied_by(&message).as_deref(), Some("identity_policy"));
        }
        let managed = denial("kms:PutKeyPolicy", &format!("on resource: {KEY} {policy}"));
        assert_eq!(denied_by(&managed).as_deref(), Some("identity_policy"));
        let no_action = "User: x is not authorized to perform this operation";
        assert_eq!(denied_by(no_action), None);
    }

    #[test]
    fn a_message_names_the_key_if_the_key_is_what_it_is_about() {
        let on_key = format!("on resource: {KEY} because no");
        assert_eq!(denied_key(&denial("kms:Decrypt", &on_key)), Some(KEY));
        assert_eq!(denied_key(&denial("kms:Decrypt", "on this resource")), None);
        let other = denial("secretsmanager:GetSecretValue", &on_key);
        assert_eq!(denied_key(&other), None);
    }

    #[test]
    fn a_denied_call_names_its_secret_if_it_got_that_far() {
        use SecretStore::{SecretsManager, Ssm};
        let named = |store: SecretStore, action: &str, resource: &str| {
            let message = denial(
                action,
                &format!("on resource: {resource} because no x allows"),
            );
            let secret = denied_target(Some(&message), store, HOME);
            (secret.store, secret.name.as_deref().map(str::to_owned))
        };
        let secret = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:db-AbC123";
        let parameter = "arn:aws:ssm:eu-west-1:111122223333:parameter/a/b";
        let unclear = "arn:aws:ssm:eu-west-1:111122223333:*";
        let (get, read) = ("secretsmanager:GetSecretValue", "ssm:GetParameter");
        let cases = [
            (SecretsManager, get, "db", SecretsManager, Some("db")),
            (SecretsManager, get, secret, SecretsManager, Some("db")),
            (SecretsManager, get, KEY, SecretsManager, None),
            (SecretsManager, "kms:Decrypt", KEY, SecretsManager, None),
            (
                SecretsManager,
                "kms:Decrypt",
                "alias/x",
                SecretsManager,
                None,
            ),
            (Ssm, read, parameter, Ssm, Some("/a/b")),
            (Ssm, read, unclear, Ssm, None),
            (Ssm, "kms:Decrypt", KEY, Ssm, None),
            (Ssm, get, secret, SecretsManager, Some("db")),
        ];
        for (store, action, resource, of, name) in cases {
            let expected = (of, name.map(str::to_owned));
            assert_eq!(
                named(store, action, resource),
                expected,
                "{action} {resource}"
            );
        }
        assert_eq!(denied_target(None, Ssm, HOME).name, None);
    }
}
