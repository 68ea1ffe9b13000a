//! How patterns of a policy match secrets, principals and other texts.

use std::collections::BTreeSet;

use super::PolicyVerdict;
use crate::{
    access::Access,
    glob::{GlobPattern, UNKNOWN},
    ids::{SecretRef, SecretStore},
};

/// Whether one of the patterns covers a secret with these ARNs.
pub(super) fn any_covers(
    patterns: &[GlobPattern],
    subjects: &[String],
    secret: &SecretRef,
) -> bool {
    let name = secret.name.as_deref().unwrap_or_default();
    let is_secret = secret.store == SecretStore::SecretsManager;
    let bare = is_secret.then(|| bare_arn(secret, name));
    patterns.iter().any(|pattern| {
        let mut subjects = subjects.iter();
        // AWS's way to write one secret: the marks stand for its random suffix, not for the end of
        // a longer name.
        let is_suffix = pattern.as_str().ends_with('?');
        subjects.any(|subject| {
            let is_bare = bare.as_ref() == Some(subject);
            !(is_suffix && is_bare) && pattern.matches(subject)
        })
    })
}

/// Whether patterns name who made an access: the stable identity, the full session, or the role of
/// a person, which is everybody on it.
pub(super) fn names(patterns: &[GlobPattern], access: &Access) -> bool {
    let principal = &access.head.principal;
    let identities = [principal.id.as_deref(), principal.actor.as_deref()];
    let mut subjects = identities.into_iter().chain([principal.role_of_person()]);
    subjects.any(|subject| subject.is_some_and(|id| any_names(patterns, id)))
}

/// Whether patterns name a principal. A session of IAM Identity Center does not always show the
/// path of its role, which AWS has chosen: such a role is known by its name.
pub(super) fn any_names(patterns: &[GlobPattern], id: &str) -> bool {
    any_matches(patterns, id) || id.contains(":role/AWSReservedSSO_") && any_ends(patterns, id)
}

/// Whether patterns of roles of IAM Identity Center name one by account and name.
fn any_ends(patterns: &[GlobPattern], id: &str) -> bool {
    let Some((home, name)) = id.split_once(":role/") else {
        return false;
    };
    patterns.iter().any(|pattern| {
        let parts = pattern.as_str().split_once(":role/aws-reserved/");
        parts.is_some_and(|(own, path)| {
            let end = path.rsplit('/').next().unwrap_or(path);
            GlobPattern::new(own).matches(home) && GlobPattern::new(end).matches(name)
        })
    })
}

pub(super) fn any_matches(patterns: &[GlobPattern], subject: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(subject))
}

pub(super) fn yes_or_no(allowed: bool) -> PolicyVerdict {
    if allowed {
        PolicyVerdict::Yes
    } else {
        PolicyVerdict::No
    }
}

/// Whether a list of patterns allows a subject. Without a list any subject is allowed; a subject
/// that is not known is `Undeclared`.
pub(super) fn listed(list: Option<&[GlobPattern]>, subject: Option<&str>) -> PolicyVerdict {
    match (list, subject) {
        (None, _) => PolicyVerdict::Yes,
        (Some(_), None) => PolicyVerdict::Undeclared,
        (Some(list), Some(subject)) => yes_or_no(any_matches(list, subject)),
    }
}

/// The ARNs of a secret that a grant may match: the full one, the one without suffix, and one with
/// an unknown suffix.
pub(crate) fn subjects(secret: &SecretRef) -> Vec<String> {
    let Some(name) = &secret.name else {
        return Vec::new();
    };
    let mut subjects: Vec<String> = secret.arn.iter().map(ToString::to_string).collect();
    // The ARN of a parameter has no suffix, and is always known.
    if secret.store == SecretStore::SecretsManager {
        // While the suffix is not known, a grant with any suffix matches: the Decrypt will show the
        // full ARN.
        let unfinished = secret
            .partial_name
            .as_deref()
            .or(secret.arn.is_none().then_some(&**name));
        let suffix = UNKNOWN.to_string().repeat(6);
        subjects.extend(unfinished.map(|name| format!("{}-{suffix}", bare_arn(secret, name))));
        subjects.push(bare_arn(secret, name));
    }
    subjects
}

fn bare_arn(secret: &SecretRef, name: &str) -> String {
    let SecretRef {
        partition,
        account,
        region,
        ..
    } = secret;
    format!("arn:{partition}:secretsmanager:{region}:{account}:secret:{name}")
}

/// The same of a read; `folder` for the path of one whose parameters are not known: a principal
/// that may read everything below a path may read by that path.
pub(super) fn subjects_read(secret: &SecretRef, folder: bool) -> Vec<String> {
    let mut subjects = subjects(secret);
    if !folder {
        return subjects;
    }
    let below: Vec<String> = subjects
        .iter()
        .map(|subject| format!("{}/", subject.trim_end_matches('/')))
        .collect();
    subjects.extend(below);
    subjects
}

/// Patterns as text. In another order, it is the same.
pub(super) fn patterns_text(list: &[GlobPattern]) -> String {
    let list: BTreeSet<&str> = list.iter().map(GlobPattern::as_str).collect();
    list.into_iter().collect::<Vec<_>>().join(", ")
}
