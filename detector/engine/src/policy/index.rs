//! Finds the grants that may cover a secret without asking each of them.

use std::collections::BTreeSet;

use ahash::{HashMap, HashSet};

use super::PolicyGrant;
use crate::{
    glob::{GlobPattern, UNKNOWN},
    literals::LiteralIndex,
};

/// Length of the random suffix of a secret, without its hyphen.
const SUFFIX: usize = 6;

/// The grants of a policy by the texts in their patterns of secrets.
#[derive(Debug)]
pub(super) struct GrantIndex {
    /// The grant of each pattern.
    grants: Vec<usize>,
    /// Patterns by one of their literals.
    literals: LiteralIndex,
    /// Patterns with a literal whose end may be part of a random suffix, by what is before that.
    before_suffix: HashMap<Vec<u8>, Vec<usize>>,
    /// The lengths of these.
    lengths: HashSet<usize>,
}

impl GrantIndex {
    /// `None` if there are too many patterns for an automaton.
    pub(super) fn new(grants: &[PolicyGrant]) -> Option<Self> {
        let (mut owners, mut patterns) = (Vec::new(), Vec::new());
        let mut before: HashMap<Vec<u8>, Vec<usize>> = HashMap::default();
        for (grant, pattern) in (0..).zip(grants).flat_map(|(number, grant)| {
            let secrets = grant.secrets.iter();
            secrets.map(move |pattern| (number, pattern))
        }) {
            let literals = literals(pattern);
            for start in literals.iter().filter_map(|literal| before_suffix(literal)) {
                before.entry(start.to_vec()).or_default().push(owners.len());
            }
            owners.push(grant);
            patterns.push(literals);
        }
        Some(Self {
            grants: owners,
            literals: LiteralIndex::new(&patterns)?,
            lengths: before.keys().map(Vec::len).collect(),
            before_suffix: before,
        })
    }

    /// The grants that may cover one of these ARNs, in order; `None` when any may.
    pub(super) fn candidates(&self, subjects: &[String]) -> Option<BTreeSet<usize>> {
        let mut patterns = BTreeSet::new();
        for subject in subjects {
            let known = subject.trim_end_matches(UNKNOWN);
            patterns.extend(self.literals.candidates(known.as_bytes()));
            match subject.len() - known.len() {
                // A name from a log may hold the sign itself.
                _ if known.contains(UNKNOWN) => return None,
                0 => {}
                SUFFIX if known.ends_with('-') => patterns.extend(self.ending_in_suffix(known)),
                _ => return None,
            }
        }
        let grants = patterns
            .iter()
            .filter_map(|number| self.grants.get(*number));
        Some(grants.copied().collect())
    }

    /// The patterns whose literal may begin at the end of an ARN and go on in its unknown suffix.
    fn ending_in_suffix(&self, known: &str) -> impl Iterator<Item = usize> {
        let known = known.as_bytes();
        let ends = self.lengths.iter().filter_map(move |length| {
            let start = known.len().checked_sub(*length)?;
            self.before_suffix.get(known.get(start..)?)
        });
        ends.flatten().copied()
    }
}

/// The texts between the wildcards of a pattern.
fn literals(pattern: &GlobPattern) -> Vec<&[u8]> {
    let parts = pattern.as_str().split(['*', '?']);
    parts.map(str::as_bytes).collect()
}

/// What of a literal is before the random suffix of an ARN, if its end may be part of that: a
/// hyphen comes before the suffix, and only letters and digits match it.
fn before_suffix(literal: &[u8]) -> Option<&[u8]> {
    let end = literal.iter().rev();
    let end = end.take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let before = literal.get(..literal.len() - end)?;
    let fits = (1..=SUFFIX).contains(&end) && before.last().is_none_or(|byte| *byte == b'-');
    fits.then_some(before)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{
        events_for_tests::HOME,
        ids::{SecretRef, SecretStore},
        policy::AccessPolicy,
    };

    proptest! {
        #[test]
        fn the_index_finds_all_grants_that_cover_a_secret(
            patterns in proptest::collection::vec("[ab:*?-]{0,8}", 1..8),
            known in "[ab:-]{0,6}",
            end in prop_oneof![
                Just(""), Just("-\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}"), Just("\u{1}"), Just("/"),
            ],
        ) {
            let mut policy = String::from("version: 1\ngrants:\n");
            for pattern in &patterns {
                let arn = format!("arn:aws:ssm:*:1:parameter/{pattern}");
                policy += &format!("  - secrets: ['{arn}']\n    principals: ['*']\n");
            }
            let policy: AccessPolicy = policy.parse().unwrap();
            let subjects = [format!("arn:aws:ssm:r:1:parameter/{known}{end}")];
            let parameter = SecretRef::unnamed(SecretStore::Ssm, HOME);
            let all = 0..policy.grants.len();
            let covering: Vec<usize> =
                all.filter(|n| policy.grants[*n].covers(&subjects, &parameter)).collect();
            if let Some(found) = policy.index.as_ref().unwrap().candidates(&subjects) {
                prop_assert!(covering.iter().all(|grant| found.contains(grant)));
            }
        }
    }
}
