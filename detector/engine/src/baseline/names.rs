//! Names of secrets to patterns: a folder stands for what is in it where enough of that was read.

use std::collections::{BTreeMap, BTreeSet};

use crate::baseline::pairs::SecretTarget;
use crate::ids::SecretStore;

/// Siblings that must have been seen before a pattern stands for the rest of them.
pub(super) const SIBLINGS: usize = 3;

/// A name of a secret or parameter, or a pattern that ends in `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StoredName {
    pub(super) store: SecretStore,
    pub(super) pattern: String,
}

/// The names that anybody was seen to read in one account, by store.
pub(super) type KnownNames<'p> = BTreeMap<SecretStore, BTreeSet<&'p str>>;

/// Names and patterns of both stores. A folder that is a pattern in one of them is one in the other
/// too, if nobody else reads there: applications call their folders alike.
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
    // Twice: what one store shows must be known before the other is folded, and either may come
    // first.
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
    /// What the group reads.
    read: &'s BTreeSet<&'p str>,
    /// What anybody reads; all that the group does is in it.
    known: &'s BTreeSet<&'p str>,
    /// Whether the group is of several principals.
    siblings: bool,
}

impl NameFolding<'_, '_> {
    /// Names, and patterns for folders of which enough was read. The widest such folder is taken.
    fn names(self, alike: &BTreeSet<String>) -> Vec<String> {
        let folders: BTreeSet<&str> = self.read.iter().flat_map(|name| parents(name)).collect();
        let mut patterns: Vec<String> = Vec::new();
        // In the order of a set, a folder comes before those in it.
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

    /// Whether enough of a folder was read: three things in it and half of all that anybody reads
    /// there; two, where siblings read all there is; one, where the folder is known from the other
    /// store.
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
        // Children and not names are counted: many names in one subfolder say nothing of the
        // others.
        let children: BTreeSet<&str> = self
            .read
            .iter()
            .filter_map(|name| name.strip_prefix(folder)?.split('/').next())
            .collect();
        children.len() >= enough && mine * 2 >= all
    }
}

/// How many of the names lie in a folder.
fn below(names: &BTreeSet<&str>, folder: &str) -> usize {
    names.iter().filter(|name| name.starts_with(folder)).count()
}

/// Whether one of these patterns stands for a name.
fn is_covered(name: &str, patterns: &[String]) -> bool {
    // With a slash: a path that is read as a whole is the folder itself, and is covered with it.
    let path = format!("{name}/");
    patterns
        .iter()
        .any(|pattern| path.starts_with(folder_of(pattern)))
}

fn folder_of(pattern: &str) -> &str {
    pattern.trim_end_matches('*')
}

/// Every folder on the way to a name, with its slash; of a flat name, the part up to its last
/// hyphen.
fn parents(name: &str) -> Vec<&str> {
    // The slash that a name begins with makes no folder: `/*` would be everything.
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
