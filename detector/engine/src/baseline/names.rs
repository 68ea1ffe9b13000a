//! Generalises names of secrets to patterns: a folder becomes `folder/*` where enough of its
//! contents was read.

use std::collections::{BTreeMap, BTreeSet};

use crate::baseline::pairs::SecretTarget;
use crate::ids::SecretStore;

/// Siblings that must have been seen before a pattern replaces them.
pub(super) const SIBLINGS: usize = 3;

/// A name of a secret or parameter, or a pattern that ends in `*`, with its store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StoredName {
    pub(super) store: SecretStore,
    pub(super) pattern: String,
}

/// Names that any principal was seen to read in one account, by store.
pub(super) type KnownNames<'p> = BTreeMap<SecretStore, BTreeSet<&'p str>>;

/// Names and patterns in both stores. A folder that becomes a pattern in one store becomes one in
/// the other too, if nobody else reads there: applications use the same folders in both.
pub(super) fn patterns<'p>(
    targets: impl Iterator<Item = &'p SecretTarget>,
    siblings: bool,
    known: &KnownNames<'p>,
) -> Vec<StoredName> {
    let mut read: KnownNames<'p> = BTreeMap::new();
    for target in targets {
        read.entry(target.store).or_default().insert(&target.name);
    }
    let none = BTreeSet::new();
    let foldings = read.iter().map(|(store, read)| NameFolding {
        store: *store,
        read,
        known: known.get(store).unwrap_or(&none),
        siblings,
    });
    // Two passes: the patterns of both stores must be known before either is final.
    let folders = foldings
        .clone()
        .flat_map(|folding| folding.names(&BTreeSet::new()));
    let alike: BTreeSet<String> = folders
        .filter_map(|name| Some(name.strip_suffix('*')?.trim_start_matches('/').to_owned()))
        .collect();
    foldings
        .flat_map(|folding| folding.stored_names(&alike))
        .collect()
}

/// What a group reads in one store of an account.
#[derive(Clone, Copy)]
struct NameFolding<'s, 'p> {
    store: SecretStore,
    /// Names that the group reads.
    read: &'s BTreeSet<&'p str>,
    /// Names that any principal reads, including those of the group.
    known: &'s BTreeSet<&'p str>,
    /// Whether the group has several principals.
    siblings: bool,
}

impl NameFolding<'_, '_> {
    /// Names, and patterns for folders of which enough was read; the widest such folder wins.
    fn names(self, alike: &BTreeSet<String>) -> Vec<String> {
        let folders: BTreeSet<&str> = self.read.iter().flat_map(|name| parents(name)).collect();
        let mut patterns: Vec<String> = Vec::new();
        // In sorted order, a folder comes before its subfolders.
        for folder in folders {
            let in_wider = patterns
                .iter()
                .any(|wider| folder.starts_with(folder_of(wider)));
            if !in_wider && self.may_stand_for_all(folder, alike) {
                patterns.push(format!("{folder}*"));
            }
        }
        let rest = self.read.iter().filter(|name| !is_covered(name, &patterns));
        let rest: Vec<String> = rest.map(ToString::to_string).collect();
        patterns.extend(rest);
        patterns.sort();
        patterns
    }

    fn stored_names(self, alike: &BTreeSet<String>) -> impl Iterator<Item = StoredName> {
        let names = self.names(alike).into_iter();
        names.map(move |pattern| StoredName {
            store: self.store,
            pattern,
        })
    }

    /// Whether enough of a folder was read: three children, and half of all names that any
    /// principal reads there. If the group reads all of them, two children are enough for several
    /// principals, and one if the folder is a pattern in the other store.
    fn may_stand_for_all(self, folder: &str, alike: &BTreeSet<String>) -> bool {
        let (mine, all) = (below(self.read, folder), below(self.known, folder));
        let enough = if mine < all {
            SIBLINGS
        } else if alike.contains(folder.trim_start_matches('/')) {
            1
        } else if self.siblings {
            SIBLINGS - 1
        } else {
            SIBLINGS
        };
        // Counts children, not names: many names in one subfolder say nothing about the others.
        let children: BTreeSet<&str> = self
            .read
            .iter()
            .filter_map(|name| name.strip_prefix(folder)?.split('/').next())
            .collect();
        children.len() >= enough && mine * 2 >= all
    }
}

/// The number of names in a folder.
fn below(names: &BTreeSet<&str>, folder: &str) -> usize {
    names.iter().filter(|name| name.starts_with(folder)).count()
}

/// Whether one of these patterns matches a name.
fn is_covered(name: &str, patterns: &[String]) -> bool {
    // With a slash, so that a path that is read as a whole matches the pattern of its folder.
    let path = format!("{name}/");
    patterns
        .iter()
        .any(|pattern| path.starts_with(folder_of(pattern)))
}

fn folder_of(pattern: &str) -> &str {
    pattern.trim_end_matches('*')
}

/// All parent folders of a name, with their slash; for a flat name, the part up to its last hyphen.
fn parents(name: &str) -> Vec<&str> {
    // A leading slash is no folder: `/*` would match everything.
    let path: Vec<&str> = name
        .match_indices('/')
        .filter(|(at, _)| *at > 0)
        .filter_map(|(at, _)| name.get(..=at))
        .collect();
    if !path.is_empty() {
        return path;
    }
    let stem = name.rfind('-').and_then(|at| name.get(..=at));
    stem.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case<'a> {
        read: &'a [&'a str],
        /// What others read there.
        others: &'a [&'a str],
        siblings: bool,
        alike: &'a [&'a str],
    }

    const ALONE: Case<'_> = Case {
        read: &[],
        others: &[],
        siblings: false,
        alike: &[],
    };

    fn check(case: &Case<'_>, expected: &[&str]) {
        let read: BTreeSet<&str> = case.read.iter().copied().collect();
        let known: BTreeSet<&str> = case.read.iter().chain(case.others).copied().collect();
        let alike = case.alike.iter().map(ToString::to_string).collect();
        let folding = NameFolding {
            store: SecretStore::Ssm,
            read: &read,
            known: &known,
            siblings: case.siblings,
        };
        assert_eq!(folding.names(&alike), expected, "{read:?}");
    }

    fn check_alone(read: &[&str], expected: &[&str]) {
        check(&Case { read, ..ALONE }, expected);
    }

    #[test]
    fn names_fold_only_with_enough_siblings() {
        let two = ["prod/pay/a", "prod/pay/b"];
        check_alone(&two, &two);
        let three = ["prod/pay/a", "prod/pay/b", "prod/pay/c"];
        check_alone(&three, &["prod/pay/*"]);
        let others = ["prod/pay/w", "prod/pay/x", "prod/pay/y", "prod/pay/z"];
        let most = Case {
            read: &three,
            others: &others,
            ..ALONE
        };
        check(&most, &three);
        let half = Case {
            others: others.get(..3).unwrap(),
            ..most
        };
        check(&half, &["prod/pay/*"]);
    }

    #[test]
    fn the_widest_folder_with_enough_children_is_taken() {
        check_alone(&["prod/a/1", "prod/b/1", "prod/c/1"], &["prod/*"]);
        check_alone(
            &["prod/a/1", "prod/a/2", "prod/a/3", "prod/b/1", "prod/c/1"],
            &["prod/*"],
        );
        let many_in_one = ["/p/a/1", "/p/a/2", "/p/b/1", "x"];
        check_alone(&many_in_one, &many_in_one);
    }

    #[test]
    fn flat_names_fold_at_their_last_hyphen() {
        check_alone(&["key-1", "key-2", "key-3"], &["key-*"]);
        check_alone(&["alone", "other"], &["alone", "other"]);
        check_alone(&["/a", "/b", "/c"], &["/a", "/b", "/c"]);
    }

    #[test]
    fn a_path_that_is_read_as_a_whole_is_covered_by_its_folder() {
        check_alone(&["/p/a", "/p/a/1", "/p/a/2", "/p/a/3"], &["/p/a/*"]);
    }

    #[test]
    fn fewer_are_enough_where_nobody_else_reads() {
        let read = ["/p/a/1", "/p/a/2"];
        let siblings = Case {
            read: &read,
            siblings: true,
            ..ALONE
        };
        check(&siblings, &["/p/a/*"]);
        let one = Case {
            read: read.get(..1).unwrap(),
            alike: &["p/a/"],
            ..ALONE
        };
        check(&one, &["/p/a/*"]);
        check(
            &Case {
                others: &read,
                ..one
            },
            &["/p/a/1"],
        );
    }

    #[test]
    fn a_folder_of_one_store_is_one_in_the_other() {
        let target = |store, name: &str| SecretTarget {
            partition: "aws".into(),
            account: "1".into(),
            store,
            name: name.into(),
        };
        let mut targets = vec![target(SecretStore::SecretsManager, "pay/key")];
        targets.extend(["a", "b", "c"].map(|n| target(SecretStore::Ssm, &format!("/pay/{n}"))));
        let mut known = KnownNames::new();
        for SecretTarget { store, name, .. } in &targets {
            known.entry(*store).or_default().insert(name);
        }
        let found = patterns(targets.iter(), false, &known);
        let found: Vec<(SecretStore, &str)> =
            found.iter().map(|n| (n.store, &*n.pattern)).collect();
        assert_eq!(
            found,
            [
                (SecretStore::SecretsManager, "pay/*"),
                (SecretStore::Ssm, "/pay/*")
            ]
        );
        known
            .entry(SecretStore::SecretsManager)
            .or_default()
            .insert("pay/of-somebody-else");
        assert_eq!(
            patterns(targets.iter(), false, &known)[0].pattern,
            "pay/key"
        );
    }
}
