//! Groups principals: sibling roles share a grant, every other principal has its own.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    baseline::{
        convention::{Convention, stem, topic},
        pairs::{ReadPair, ReadPairs, SecretTarget},
    },
    ids::{SecretStore, SharedStr},
};

/// Principals that share a grant, and what they read.
pub(super) struct PrincipalGroup<'p> {
    pub(super) grantees: Grantees,
    pub(super) pairs: Vec<OwnedPair<'p>>,
}

/// Whom a grant names.
pub(super) struct Grantees {
    pub(super) patterns: Vec<String>,
    /// Whether the pattern may match principals that were not seen.
    pub(super) folded: bool,
    /// The folder by naming convention; `None` if they follow none.
    pub(super) folder: Option<String>,
}

impl Grantees {
    /// One principal.
    pub(super) fn alone(principal: &SharedStr) -> Self {
        Self {
            patterns: vec![principal.to_string()],
            folded: false,
            folder: None,
        }
    }
}

/// A pair with its principal and secret.
#[derive(Clone, Copy)]
pub(super) struct OwnedPair<'p> {
    pub(super) principal: &'p SharedStr,
    pub(super) target: &'p SecretTarget,
    pub(super) pair: &'p ReadPair,
}

/// One group for each principal, except that roles with the same name stem that read the same
/// folders form one.
pub(super) fn groups<'p>(pairs: &'p ReadPairs, convention: &Convention) -> Vec<PrincipalGroup<'p>> {
    let mut by_stem: BTreeMap<String, Vec<&'p SharedStr>> = BTreeMap::new();
    for principal in pairs.keys() {
        let stem = stem(principal).unwrap_or_else(|| principal.to_string());
        by_stem.entry(stem).or_default().push(principal);
    }
    let mut groups = Vec::new();
    for (stem, principals) in by_stem {
        let folder = convention.folder(&principals, pairs);
        // With a convention a single role is enough: it predicts what siblings would read.
        if folder.is_some() || (principals.len() > 1 && are_siblings(&principals, pairs)) {
            groups.push(PrincipalGroup {
                grantees: Grantees {
                    patterns: vec![format!("{stem}*")],
                    folded: true,
                    folder,
                },
                pairs: pairs_of(&principals, pairs),
            });
        } else {
            let alone = principals.into_iter();
            groups.extend(alone.map(|one| PrincipalGroup {
                grantees: Grantees::alone(one),
                pairs: pairs_of(&[one], pairs),
            }));
        }
    }
    groups
}

fn pairs_of<'p>(principals: &[&'p SharedStr], pairs: &'p ReadPairs) -> Vec<OwnedPair<'p>> {
    let mut found = Vec::new();
    for principal in principals.iter().copied() {
        let targets = pairs.get(principal).into_iter().flatten();
        found.extend(targets.map(|(target, pair)| OwnedPair {
            principal,
            target,
            pair,
        }));
    }
    found
}

/// Account, store and folder, which distinguish the secrets of applications.
type NameFolder<'p> = (&'p SharedStr, SecretStore, &'p str);

/// Whether each of them reads mostly from folders that the others read too. A common name stem is
/// not enough: `prod-payments-app` and `prod-payments-ci` may have nothing else in common.
fn are_siblings(principals: &[&SharedStr], pairs: &ReadPairs) -> bool {
    let all: Vec<BTreeSet<NameFolder<'_>>> = principals
        .iter()
        .map(|principal| folders(principal, pairs))
        .collect();
    // How many of them read each folder. Whether others read it is known from that, without a union
    // of the others for each.
    let mut readers: BTreeMap<NameFolder<'_>, usize> = BTreeMap::new();
    for folder in all.iter().flatten() {
        *readers.entry(*folder).or_default() += 1;
    }
    all.iter().all(|mine| {
        let shared = mine
            .iter()
            .filter(|folder| readers.get(folder).is_some_and(|readers| *readers > 1))
            .count();
        // Compared with the folders of all and not with its own: otherwise a role that reads few of
        // the folders would be granted all of them.
        shared > 0 && shared * 2 >= readers.len()
    })
}

fn folders<'p>(principal: &SharedStr, pairs: &'p ReadPairs) -> BTreeSet<NameFolder<'p>> {
    let targets = pairs.get(principal).into_iter().flatten();
    targets
        .map(|(target, _)| (&target.account, target.store, topic(&target.name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> SharedStr {
        format!("arn:aws:iam::1:role/{name}").into()
    }

    fn pairs(reads: &[(&str, &str)]) -> ReadPairs {
        let mut pairs = ReadPairs::new();
        for (who, secret) in reads {
            let target = SecretTarget {
                partition: "aws".into(),
                account: "1".into(),
                store: SecretStore::SecretsManager,
                name: (*secret).into(),
            };
            let targets = pairs.entry(role(who)).or_default();
            targets.insert(target, ReadPair::default());
        }
        pairs
    }

    /// Patterns of the groups, without their common prefix.
    fn grouped(reads: &[(&str, &str)]) -> Vec<String> {
        let pairs = pairs(reads);
        let groups = groups(&pairs, &Convention::default());
        let total: usize = groups.iter().map(|group| group.pairs.len()).sum();
        assert_eq!(total, reads.len(), "every pair is in one group");
        let patterns = groups.into_iter().flat_map(|group| group.grantees.patterns);
        let prefix = role("");
        patterns
            .map(|pattern| pattern.strip_prefix(&*prefix).unwrap().to_owned())
            .collect()
    }

    #[test]
    fn roles_with_a_stem_and_folders_in_common_are_one_group() {
        assert_eq!(
            grouped(&[("pay-app", "prod/pay/a"), ("pay-job", "prod/pay/b")]),
            ["pay-*"]
        );
        assert_eq!(
            grouped(&[("pay-app", "prod/pay/a"), ("pay-ci", "prod/ci/b")]),
            ["pay-app", "pay-ci"],
            "nothing but the name in common"
        );
        assert_eq!(
            grouped(&[("pay-app", "prod/pay/a"), ("shop-app", "prod/pay/b")]),
            ["pay-app", "shop-app"],
            "everything but the name in common"
        );
    }

    #[test]
    fn a_role_that_reads_little_of_what_its_siblings_do_parts_them() {
        let most = [
            ("pay-app", "prod/a/k"),
            ("pay-job", "prod/a/k"),
            ("pay-app", "prod/b/k"),
        ];
        assert_eq!(grouped(&most), ["pay-*"]);
        let more = [&most[..], &[("pay-app", "prod/c/k")]].concat();
        assert_eq!(grouped(&more), ["pay-app", "pay-job"]);
    }
}
