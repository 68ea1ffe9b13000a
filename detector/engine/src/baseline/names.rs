//! Generalises names of secrets to patterns: a folder becomes `folder/*` where enough of its
//! contents was read.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    baseline::{groups::OwnedPair, pairs::SecretTarget},
    ids::SecretStore,
    literals::begins_with_any,
};

/// Siblings that must have been seen before a pattern replaces them.
pub(super) const SIBLINGS: usize = 3;

/// Days with reads from which on siblings become a pattern, unless a convention stands for it.
pub(super) const FOLD_DAYS: usize = 2;

/// A name of a secret or parameter, or a pattern that ends in `*`, with its store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StoredName {
    pub(super) store: SecretStore,
    pub(super) pattern: String,
}

impl StoredName {
    /// The name of a secret as it is.
    pub(super) fn of(target: &SecretTarget) -> Self {
        Self {
            store: target.store,
            pattern: target.name.to_string(),
        }
    }
}

/// Names that any principal was seen to read in one account, by store.
#[derive(Debug, Default)]
pub(super) struct KnownNames<'p>(BTreeMap<SecretStore, SortedNames<'p>>);

/// Names, each once. Sorted, so that those in a folder are found and counted without looking at the
/// others: every group asks for the same folders.
#[derive(Debug, Default)]
struct SortedNames<'p>(Vec<&'p str>);

impl<'p> FromIterator<(SecretStore, &'p str)> for KnownNames<'p> {
    fn from_iter<I: IntoIterator<Item = (SecretStore, &'p str)>>(names: I) -> Self {
        let mut known = Self::default();
        for (store, name) in names {
            known.0.entry(store).or_default().0.push(name);
        }
        for SortedNames(names) in known.0.values_mut() {
            names.sort_unstable();
            names.dedup();
        }
        known
    }
}

impl KnownNames<'_> {
    /// How many of the names a pattern covers; one for a name.
    pub(super) fn covered(&self, StoredName { store, pattern }: &StoredName) -> usize {
        let (Some(prefix), Some(names)) = (pattern.strip_suffix('*'), self.0.get(store)) else {
            return 1;
        };
        // A parameter in a folder has a slash before it, the folder of a convention has none.
        let below = names.below(prefix).len();
        match store {
            SecretStore::Ssm if !prefix.starts_with('/') => {
                below + names.below(&format!("/{prefix}")).len()
            }
            _ => below,
        }
    }
}

impl<'p> SortedNames<'p> {
    /// The names in a folder.
    fn below(&self, folder: &str) -> &[&'p str] {
        let start = self.0.partition_point(|name| *name < folder);
        let rest = self.0.get(start..).unwrap_or_default();
        let end = rest.partition_point(|name| name.starts_with(folder));
        rest.get(..end).unwrap_or_default()
    }
}

/// The names as they are, each once.
pub(super) fn literal<'p>(targets: impl Iterator<Item = &'p SecretTarget>) -> Vec<StoredName> {
    let names: BTreeSet<StoredName> = targets.map(StoredName::of).collect();
    names.into_iter().collect()
}

/// Names and patterns in both stores. A folder that becomes a pattern in one store becomes one in
/// the other too, if nobody else reads there: applications use the same folders in both.
pub(super) fn patterns<'p>(
    pairs: &[OwnedPair<'p>],
    siblings: bool,
    known: &KnownNames<'p>,
) -> Vec<StoredName> {
    let targets = pairs.iter().map(|pair| pair.target);
    let read: KnownNames<'p> = targets.map(|t| (t.store, &*t.name)).collect();
    let mut days = NameDays::new();
    for OwnedPair { target, pair, .. } in pairs {
        let days = days.entry((target.store, &target.name)).or_default();
        days.extend(&pair.uses.days);
    }
    let none = SortedNames::default();
    let foldings = read.0.iter().map(|(store, read)| NameFolding {
        store: *store,
        read,
        known: known.0.get(store).unwrap_or(&none),
        days: &days,
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

/// The days with reads of each name that a group reads.
type NameDays<'p> = BTreeMap<(SecretStore, &'p str), BTreeSet<i64>>;

/// What a group reads in one store of an account.
#[derive(Clone, Copy)]
struct NameFolding<'s, 'p> {
    store: SecretStore,
    /// Names that the group reads.
    read: &'s SortedNames<'p>,
    /// Names that any principal reads, including those of the group.
    known: &'s SortedNames<'p>,
    days: &'s NameDays<'p>,
    /// Whether the group has several principals.
    siblings: bool,
}

impl NameFolding<'_, '_> {
    /// Names, and patterns for folders of which enough was read; the widest such folder wins.
    fn names(self, alike: &BTreeSet<String>) -> Vec<String> {
        let all = self.read.0.iter();
        let folders: BTreeSet<&str> = all.clone().flat_map(|name| parents(name)).collect();
        let mut taken: Vec<&str> = Vec::new();
        // In sorted order, a folder comes directly before everything in it: of the folders taken so
        // far, only the last can contain the next.
        for folder in folders {
            let in_wider = taken.last().is_some_and(|wider| folder.starts_with(wider));
            if !in_wider && self.may_stand_for_all(folder, alike) {
                taken.push(folder);
            }
        }
        let rest = all.filter(|name| !is_covered(name, &taken));
        let mut patterns: Vec<String> = rest.map(ToString::to_string).collect();
        patterns.extend(taken.iter().map(|folder| format!("{folder}*")));
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

    /// Whether these names were read on enough days: what was done once is no habit.
    fn has_days(self, names: &[&str]) -> bool {
        let days = names.iter();
        let days = days.filter_map(|name| self.days.get(&(self.store, *name)));
        let days: BTreeSet<&i64> = days.flatten().collect();
        days.len() >= FOLD_DAYS
    }

    /// Whether enough of a folder was read: three children, and half of all names that any
    /// principal reads there. If the group reads all of them, two children are enough for several
    /// principals, and one if the folder is a pattern in the other store.
    fn may_stand_for_all(self, folder: &str, alike: &BTreeSet<String>) -> bool {
        let read = self.read.below(folder);
        let (mine, all) = (read.len(), self.known.below(folder).len());
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
        let children: BTreeSet<&str> = read
            .iter()
            .filter_map(|name| name.strip_prefix(folder)?.split('/').next())
            .collect();
        children.len() >= enough && mine * 2 >= all && self.has_days(read)
    }
}

/// Whether a name is in one of these folders, which are sorted and not in each other.
fn is_covered(name: &str, folders: &[&str]) -> bool {
    // With a slash, so that a path that is read as a whole is in its folder.
    let path = format!("{name}/");
    begins_with_any(folders, path.as_bytes())
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
    use crate::baseline::pairs::ReadPair;

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

    fn sorted<'a>(names: &[&'a str]) -> SortedNames<'a> {
        let names: BTreeSet<&str> = names.iter().copied().collect();
        SortedNames(names.into_iter().collect())
    }

    fn check(case: &Case<'_>, expected: &[&str]) {
        let read = sorted(case.read);
        let names = case.read.iter();
        let days = names.map(|name| ((SecretStore::Ssm, *name), BTreeSet::from([1, 2])));
        let days: NameDays<'_> = days.collect();
        let known = sorted(&[case.read, case.others].concat());
        let alike = case.alike.iter().map(ToString::to_string).collect();
        let folding = NameFolding {
            store: SecretStore::Ssm,
            read: &read,
            known: &known,
            days: &days,
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

    /// The patterns for what one principal reads on two days.
    fn of_one_reader(targets: &[SecretTarget], known: &KnownNames<'_>) -> Vec<StoredName> {
        let mut pair = ReadPair::default();
        pair.uses.days = BTreeSet::from([1, 2]);
        let principal = "reader".into();
        let pairs = targets.iter().map(|target| OwnedPair {
            principal: &principal,
            target,
            pair: &pair,
        });
        patterns(&pairs.collect::<Vec<_>>(), false, known)
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
        let names = |targets: &[SecretTarget]| -> Vec<(SecretStore, String)> {
            let names = targets.iter().map(|t| (t.store, t.name.to_string()));
            names.collect()
        };
        let mut all = names(&targets);
        let known = all.iter().map(|(s, n)| (*s, &**n)).collect();
        let found = of_one_reader(&targets, &known);
        let found: Vec<(SecretStore, &str)> =
            found.iter().map(|n| (n.store, &*n.pattern)).collect();
        assert_eq!(
            found,
            [
                (SecretStore::SecretsManager, "pay/*"),
                (SecretStore::Ssm, "/pay/*")
            ]
        );
        let other = "pay/of-somebody-else".to_owned();
        all.push((SecretStore::SecretsManager, other));
        let known = all.iter().map(|(s, n)| (*s, &**n)).collect();
        assert_eq!(of_one_reader(&targets, &known)[0].pattern, "pay/key");
    }
}
