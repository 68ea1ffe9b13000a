//! What the reviewer of a grant should look at.

use std::collections::BTreeSet;

use super::{
    habits::Habits,
    proposal::{Omission, ProposedGrant},
};
use crate::{glob::GlobPattern, ids::is_account};

/// Most remarks about the habits of readers in one grant.
const REMARKS: usize = 6;

/// Warnings for the reviewer of a grant. The omissions are sorted by principal.
pub(super) fn doubts(
    grant: &ProposedGrant,
    left_out: &[&Omission],
    habits: &Habits,
) -> Vec<String> {
    let mut doubts = Vec::new();
    let owner = grant.secrets.first().map(|arn| account_of(arn));
    let others: BTreeSet<&str> = grant
        .principals
        .iter()
        .filter_map(|name| account_of_principal(name))
        .filter(|account| Some(*account) != owner)
        .collect();
    if !others.is_empty() {
        let others: Vec<&str> = others.into_iter().collect();
        doubts.push(format!("reads from another account: {}", others.join(", ")));
    }
    doubts.extend(remarks(grant, habits));
    let secrets = grant.secrets.iter();
    let once = secrets.filter(|item| grant.evidence.get(*item).is_some_and(|one| one.days == 1));
    if grant.days == 1 {
        doubts.push("on one day only".to_owned());
    } else if once.clone().next().is_some() {
        let (once, all) = (once.count(), grant.secrets.len());
        doubts.push(format!("{once} of {all} secrets on one day only"));
    }
    if grant.by_person {
        doubts.push("read by a person".to_owned());
    }
    let wide = grant.secrets.iter().filter_map(|arn| wide_prefix(arn));
    doubts.extend(wide.map(|prefix| {
        format!("look twice: every secret whose name begins with {prefix} is granted")
    }));
    let reasons = reasons_left_out(grant, left_out).into_iter();
    let reported =
        reasons.map(|why| format!("other accesses of its principals were omitted: {why}"));
    doubts.extend(reported);
    doubts
}

/// What the readers do beside what they do mostly.
fn remarks(grant: &ProposedGrant, habits: &Habits) -> Vec<String> {
    let mut found = Vec::new();
    for pattern in &grant.principals {
        let literal = pattern.split(['*', '?']).next().unwrap_or_default();
        let is_whole = literal == pattern;
        let pattern = GlobPattern::new(pattern);
        found.extend(habits.about(literal, |reader| {
            reader == literal || (!is_whole && pattern.matches(reader))
        }));
    }
    let more = found.len().saturating_sub(REMARKS);
    found.truncate(REMARKS);
    if more > 0 {
        found.push(format!("{more} more such remarks"));
    }
    found
}

/// The beginning of the names that a pattern covers, where that is a first folder, or the first
/// part of flat names: secrets of many applications begin so.
fn wide_prefix(arn: &str) -> Option<&str> {
    let name = arn
        .split_once(":secret:")
        .or_else(|| arn.split_once(":parameter/"));
    let name = name?.1.strip_suffix('*')?;
    let inner = name.trim_end_matches(['/', '-']);
    (!inner.contains(['/', '-'])).then_some(name)
}

/// Why accesses of a grant's principals were omitted. Matched by pattern, because a pattern may
/// also cover a principal all of whose accesses were omitted.
fn reasons_left_out(grant: &ProposedGrant, left_out: &[&Omission]) -> BTreeSet<&'static str> {
    let mut reasons = BTreeSet::new();
    for pattern in &grant.principals {
        // Only those that begin as the pattern does: there are as many omissions as principals.
        let literal = pattern.split(['*', '?']).next().unwrap_or_default();
        let start = left_out.partition_point(|omission| *omission.principal < *literal);
        let pattern = GlobPattern::new(pattern);
        let rest = left_out.get(start..).unwrap_or_default().iter();
        let near = rest.take_while(|omission| omission.principal.starts_with(literal));
        let omitted = near.filter(|omission| pattern.matches(&omission.principal));
        reasons.extend(omitted.map(|omission| omission.why.as_str()));
    }
    reasons
}

/// The account of a principal: of its ARN, or before the principal id of a caller without one.
/// `None` for services.
fn account_of_principal(name: &str) -> Option<&str> {
    if name.starts_with("arn:") {
        return Some(account_of(name));
    }
    let account = name.split(':').next().unwrap_or(name);
    is_account(account).then_some(account)
}

/// The account in an ARN or in a pattern of one.
fn account_of(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_at_the_first_folder_is_wide() {
        let secret = |name: &str| format!("arn:aws:secretsmanager:*:1:secret:{name}");
        assert_eq!(wide_prefix(&secret("prod/*")), Some("prod/"));
        assert_eq!(wide_prefix(&secret("prod-*")), Some("prod-"));
        assert_eq!(wide_prefix(&secret("prod/pay/*")), None);
        assert_eq!(wide_prefix(&secret("prod-pay-*")), None);
        assert_eq!(wide_prefix(&secret("prod/db")), None);
        let parameter = "arn:aws:ssm:*:1:parameter/prod/*";
        assert_eq!(wide_prefix(parameter), Some("prod/"));
    }
}
