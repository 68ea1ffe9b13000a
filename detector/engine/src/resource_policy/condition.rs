//! Condition keys that confine who may call.

use std::borrow::Cow;

use super::{Callers, OwnAccounts, PolicyOpens, by_arn, element, principals, texts};
use crate::{
    document::JsonNode,
    ids::{ArnParts, is_account},
};

/// A condition that confines.
pub(super) struct Confinement {
    /// The condition key as it was written.
    pub(super) key: String,
    /// Whom it leaves of everyone; `None` when it does not say who calls, as `kms:ViaService`.
    pub(super) callers: Option<Callers>,
}

/// The conditions of a statement that allows.
pub(super) fn confinements(statement: &JsonNode<'_>, ours: &OwnAccounts<'_>) -> Vec<Confinement> {
    let blocks = blocks(statement);
    let confining = blocks
        .into_iter()
        .filter(|(operator, ..)| confines(operator));
    confining
        .filter_map(|(_, key, values)| confinement(key, &values, ours))
        .collect()
}

/// What a statement that denies leaves, if it denies everyone but some; `None` when it does not
/// say.
pub(super) fn confines_by_denial(
    denial: &JsonNode<'_>,
    ours: &OwnAccounts<'_>,
) -> Option<Confinement> {
    let conditions = blocks(denial);
    if let (Some(named), []) = (element(denial, "NotPrincipal"), conditions.as_slice()) {
        let callers = principals(named, ours);
        return Some(Confinement {
            key: "NotPrincipal".to_owned(),
            callers: Some(callers),
        });
    }
    let everyone = principals(element(denial, "Principal")?, ours);
    let (services, rest): (Vec<_>, Vec<_>) = conditions.into_iter().partition(is_no_service);
    if everyone.opens != PolicyOpens::Public {
        return None;
    }
    // Several conditions deny only where all of them hold: each leaves its own callers.
    let left: Option<Vec<Confinement>> = rest
        .iter()
        .map(|(operator, key, values)| {
            let negated = is_negated(operator).then(|| confinement(key, values, ours));
            negated.flatten().filter(|left| left.callers.is_some())
        })
        .collect();
    let left = left?;
    let keys: Vec<&str> = left.iter().map(|left| left.key.as_str()).collect();
    let key = match keys.as_slice() {
        [] => "Deny".to_owned(),
        keys => keys.join(" or "),
    };
    let callers = Callers::all(left.iter().filter_map(|left| left.callers.clone()));
    let callers = match services.as_slice() {
        [] => callers,
        // AWS services are not denied.
        _ => callers.join(Callers::only(PolicyOpens::Service)),
    };
    Some(Confinement {
        key,
        callers: Some(callers),
    })
}

/// Whether a condition only spares AWS services, as in the data perimeters of AWS.
fn is_no_service((operator, key, values): &(&str, &str, Vec<Cow<'_, str>>)) -> bool {
    let operator = operator.to_ascii_lowercase();
    let spares = ["aws:principalisawsservice", "aws:viaawsservice"];
    ["bool", "boolifexists"].contains(&&*operator)
        && spares.iter().any(|spared| key.eq_ignore_ascii_case(spared))
        && values
            .iter()
            .all(|value| value.eq_ignore_ascii_case("false"))
}

/// The conditions of a statement: operator, key and values.
fn blocks<'n>(statement: &'n JsonNode<'_>) -> Vec<(&'n str, &'n str, Vec<Cow<'n, str>>)> {
    let map = |node: Option<&'n JsonNode<'_>>| match node {
        Some(JsonNode::Map(entries)) => entries.as_slice(),
        _ => &[],
    };
    let operators = map(element(statement, "Condition")).iter();
    operators
        .flat_map(|(operator, keys)| {
            let keys: &[(Cow<'_, str>, JsonNode<'_>)] = map(Some(keys));
            keys.iter()
                .map(move |(key, values)| (&**operator, &**key, texts(values)))
        })
        .collect()
}

/// Operators that let only some values through, and those that hold for all others.
const OPERATORS: [(&str, &str); 6] = [
    ("stringequals", "stringnotequals"),
    ("stringequalsignorecase", "stringnotequalsignorecase"),
    ("stringlike", "stringnotlike"),
    ("arnequals", "arnnotequals"),
    ("arnlike", "arnnotlike"),
    ("ipaddress", "notipaddress"),
];

/// Whether an operator lets only some values through. `…IfExists` and `ForAllValues:` also hold
/// where the key is absent.
fn confines(operator: &str) -> bool {
    let operator = operator.to_ascii_lowercase();
    let operator = operator.strip_prefix("foranyvalue:").unwrap_or(&operator);
    OPERATORS
        .iter()
        .any(|(confining, _)| *confining == operator)
}

/// Whether an operator holds for all values but some, also where the key is absent, as it is not
/// with `ForAnyValue:`.
fn is_negated(operator: &str) -> bool {
    let operator = operator.to_ascii_lowercase();
    let operator = operator.strip_prefix("forallvalues:").unwrap_or(&operator);
    let operator = operator.strip_suffix("ifexists").unwrap_or(operator);
    OPERATORS.iter().any(|(_, negated)| *negated == operator)
}

/// What a key confines to with these values; `None` when any value confines nothing, or the key
/// does not say who calls.
fn confinement(key: &str, values: &[Cow<'_, str>], ours: &OwnAccounts<'_>) -> Option<Confinement> {
    let lower = key.to_ascii_lowercase();
    let of_value: fn(&str, &OwnAccounts<'_>) -> Option<Callers> = match &*lower {
        "aws:principalorgid" | "aws:sourceorgid" | "aws:vpceorgid" => {
            |id, _| specific(id, PolicyOpens::Organization)
        }
        "aws:principalorgpaths" | "aws:sourceorgpaths" | "aws:vpceorgpaths" => {
            |path, _| organization_path(path)
        }
        "aws:principalaccount" | "aws:sourceaccount" | "aws:vpceaccount" | "kms:calleraccount" => {
            account
        }
        "aws:principalarn" | "aws:sourcearn" => arn,
        "aws:sourcevpc" | "aws:sourcevpce" | "aws:userid" => {
            |id, _| specific(id, PolicyOpens::Unknown)
        }
        "aws:sourceip" => |range, _| network(range),
        "kms:viaservice" => {
            return Some(Confinement {
                key: key.to_owned(),
                callers: None,
            });
        }
        _ => return None,
    };
    if values.is_empty() {
        return None;
    }
    let callers: Option<Vec<Callers>> = values.iter().map(|value| of_value(value, ours)).collect();
    let callers = Callers::all(callers?.into_iter());
    Some(Confinement {
        key: key.to_owned(),
        callers: Some(callers),
    })
}

/// A value without wildcards.
fn specific(value: &str, opens: PolicyOpens) -> Option<Callers> {
    (!value.is_empty() && !value.contains(['*', '?'])).then(|| Callers::only(opens))
}

/// `o-…/r-…/ou-…/*`: what follows the organization may be a wildcard.
fn organization_path(path: &str) -> Option<Callers> {
    let (organization, _) = path.split_once('/')?;
    specific(organization, PolicyOpens::Organization)
}

fn account(id: &str, ours: &OwnAccounts<'_>) -> Option<Callers> {
    is_account(id).then(|| Callers::account(id, ours))
}

/// A pattern of ARNs of one account.
fn arn(pattern: &str, ours: &OwnAccounts<'_>) -> Option<Callers> {
    let parts = ArnParts::parse(pattern)?;
    is_account(parts.account).then(|| by_arn(pattern, ours))
}

/// A network that is not nearly the whole internet.
fn network(range: &str) -> Option<Callers> {
    let (address, length) = range
        .split_once('/')
        .map_or((range, None), |(a, l)| (a, Some(l)));
    let address: std::net::IpAddr = address.parse().ok()?;
    let length: u8 = length.map_or(Ok(128), str::parse).ok()?;
    let least = if address.is_ipv4() { 16 } else { 32 };
    (length >= least).then(|| Callers::only(PolicyOpens::Unknown))
}
