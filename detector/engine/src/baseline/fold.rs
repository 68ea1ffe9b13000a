//! Turns pairs of principal and secret into grants: siblings become a pattern where enough of them
//! were seen.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    baseline::{
        convention::Convention,
        groups::{OwnedPair, PrincipalGroup, groups},
        names::{KnownNames, StoredName, patterns},
        networks::networks,
        pairs::{ENOUGH_READS, ReadOrigin, ReadPair, ReadPairs, SecretTarget},
        proposal::ProposedGrant,
    },
    ids::{ArnParts, SecretStore, SharedStr},
    time::EventTime,
};

/// Most KMS keys listed one by one; beyond that, all keys of their accounts are granted.
const LISTED_KEYS: usize = 3;

/// Public addresses from which on a reader may be one whose addresses never repeat.
const ROAMING: usize = 8;

/// Partition and account that own secrets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SecretOwner<'p> {
    partition: &'p SharedStr,
    account: &'p SharedStr,
}

/// Everything that any principal was seen to read, for comparison with what a group reads.
#[derive(Default)]
struct Inventory<'p> {
    names: BTreeMap<SecretOwner<'p>, KnownNames<'p>>,
    /// Regions by account.
    regions: BTreeMap<&'p SharedStr, BTreeSet<&'p SharedStr>>,
    convention: Convention,
}

/// What one group reads from one account: becomes one grant.
struct GroupShare<'g, 'p> {
    group: &'g PrincipalGroup<'p>,
    owner: SecretOwner<'p>,
    /// Never empty.
    pairs: Vec<OwnedPair<'p>>,
}

/// One grant for each group of principals and each account that the group reads from.
pub(super) fn grants(pairs: &ReadPairs) -> Vec<ProposedGrant> {
    let inventory = Inventory::of(pairs);
    let mut grants = Vec::new();
    for group in groups(pairs, &inventory.convention) {
        let mut by_owner: BTreeMap<SecretOwner<'_>, Vec<OwnedPair<'_>>> = BTreeMap::new();
        for pair in &group.pairs {
            by_owner
                .entry(SecretOwner::of(pair.target))
                .or_default()
                .push(*pair);
        }
        grants.extend(by_owner.into_iter().map(|(owner, pairs)| {
            let group = &group;
            GroupShare {
                group,
                owner,
                pairs,
            }
            .grant(&inventory)
        }));
    }
    grants.sort_by(|a, b| (&a.principals, &a.secrets).cmp(&(&b.principals, &b.secrets)));
    grants
}

impl<'p> SecretOwner<'p> {
    fn of(target: &'p SecretTarget) -> Self {
        Self {
            partition: &target.partition,
            account: &target.account,
        }
    }

    /// ARN pattern of a secret name, or of a pattern of names, in any region.
    fn resource(self, StoredName { store, pattern }: &StoredName) -> String {
        let Self { partition, account } = self;
        match store {
            SecretStore::SecretsManager => {
                format!("arn:{partition}:secretsmanager:*:{account}:secret:{pattern}")
            }
            // A parameter at the root has no slash in its name, but one in its ARN.
            SecretStore::Ssm => format!(
                "arn:{partition}:ssm:*:{account}:parameter/{}",
                pattern.trim_start_matches('/')
            ),
        }
    }
}

impl<'p> Inventory<'p> {
    fn of(pairs: &'p ReadPairs) -> Self {
        let mut found = Self {
            convention: Convention::of(pairs),
            ..Self::default()
        };
        let mut names: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (target, pair) in pairs.values().flatten() {
            let names = names.entry(SecretOwner::of(target)).or_default();
            names.push((target.store, &*target.name));
            let regions = found.regions.entry(&target.account).or_default();
            regions.extend(&pair.regions);
        }
        let names = names.into_iter();
        found.names = names
            .map(|(owner, names)| (owner, names.into_iter().collect()))
            .collect();
        found
    }
}

impl<'p> GroupShare<'_, 'p> {
    fn grant(&self, inventory: &Inventory<'p>) -> ProposedGrant {
        let names = self.names(inventory);
        let folded = names.iter().any(|name| name.pattern.ends_with('*'));
        let reads = self.all().map(|pair| pair.reads).sum();
        let enough = reads >= ENOUGH_READS;
        ProposedGrant {
            principals: self.group.patterns.clone(),
            secrets: names.iter().map(|name| self.owner.resource(name)).collect(),
            regions: self.regions(inventory),
            // With few reads, a list would make the next address or key an alert.
            sources: if enough && !self.roams() {
                self.sources()
            } else {
                Vec::new()
            },
            keys: if enough {
                self.keys(folded)
            } else {
                Vec::new()
            },
            baseline_per_hour: self
                .all()
                .map(ReadPair::baseline_per_hour)
                .max()
                .unwrap_or(0),
            reads,
            days: self.days(),
            last: self.last(),
            seen_principals: self.distinct(|pair| pair.principal),
            seen_secrets: self.distinct(|pair| (pair.target.store, &pair.target.name)),
            doubts: if self.roams() {
                vec!["its public addresses hardly ever repeat, so that any is allowed".to_owned()]
            } else {
                Vec::new()
            },
        }
    }

    fn all(&self) -> impl Iterator<Item = &'p ReadPair> {
        self.pairs.iter().map(|pair| pair.pair)
    }

    fn days(&self) -> usize {
        let days: BTreeSet<&i64> = self.all().flat_map(|pair| &pair.days).collect();
        days.len()
    }

    /// Whether most days have a public address that was not seen before, as of hosted runners.
    fn roams(&self) -> bool {
        let origins: BTreeSet<&ReadOrigin> = self.all().flat_map(|pair| &pair.origins).collect();
        let public = origins.iter().filter(|origin| origin.is_public()).count();
        public >= ROAMING && public * 4 >= self.days() * 3
    }

    fn last(&self) -> EventTime {
        let last = self.all().filter_map(|pair| pair.last).max();
        last.unwrap_or(EventTime(0))
    }

    fn distinct<T: Ord>(&self, of: impl Fn(&OwnedPair<'p>) -> T) -> usize {
        self.pairs.iter().map(of).collect::<BTreeSet<T>>().len()
    }

    fn names(&self, inventory: &Inventory<'p>) -> Vec<StoredName> {
        if let Some(folder) = &self.group.folder {
            // In every store where the convention holds: secrets that are not read yet will be in
            // the same folder.
            let stores = inventory.convention.stores.iter();
            let named = stores.map(|store| StoredName {
                store: *store,
                pattern: format!("{folder}/*"),
            });
            return named.collect();
        }
        let (none, targets) = (
            KnownNames::default(),
            self.pairs.iter().map(|pair| pair.target),
        );
        let known = inventory.names.get(&self.owner).unwrap_or(&none);
        patterns(targets, self.group.folded, known)
    }

    fn regions(&self, inventory: &Inventory<'p>) -> Vec<String> {
        let seen: BTreeSet<&SharedStr> = self.all().flat_map(|pair| &pair.regions).collect();
        let by_convention = self.group.folder.is_some() && inventory.convention.everywhere;
        // A group that reads in several regions is granted all regions seen in the account.
        let regions = match inventory.regions.get(self.owner.account) {
            Some(all) if seen.len() > 1 || by_convention => all,
            _ => &seen,
        };
        regions.iter().map(ToString::to_string).collect()
    }

    fn sources(&self) -> Vec<String> {
        let networks = networks(self.all().flat_map(|pair| &pair.origins));
        // Siblings that were not seen yet may use other networks, unless all that were seen share
        // one.
        if self.group.folded && networks.len() != 1 {
            return Vec::new();
        }
        networks
    }

    /// Up to [`LISTED_KEYS`] keys as they are; with more, or if names of secrets became a pattern,
    /// all keys of their accounts.
    fn keys(&self, folded: bool) -> Vec<String> {
        let seen: BTreeSet<&SharedStr> = self.all().flat_map(|pair| &pair.keys).collect();
        if seen.len() <= LISTED_KEYS && !folded {
            return seen.iter().map(ToString::to_string).collect();
        }
        // By account, because a secret may be encrypted with a key of another account.
        let accounts = seen.iter().filter_map(|key| {
            let ArnParts {
                partition, account, ..
            } = ArnParts::parse(key)?;
            Some(format!("arn:{partition}:kms:*:{account}:key/*"))
        });
        accounts.collect::<BTreeSet<String>>().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READER: &str = "arn:aws:iam::1:role/reader";

    fn target(store: SecretStore, name: &str) -> SecretTarget {
        SecretTarget {
            partition: "aws".into(),
            account: "1".into(),
            store,
            name: name.into(),
        }
    }

    fn pair(reads: u64, region: &str, keys: &[&str]) -> ReadPair {
        ReadPair {
            reads,
            regions: BTreeSet::from([region.into()]),
            keys: keys.iter().map(|key| SharedStr::from(*key)).collect(),
            origins: BTreeSet::from([ReadOrigin::Name("vpce-1".into())]),
            ..ReadPair::default()
        }
    }

    fn pairs(of: Vec<(&str, SecretTarget, ReadPair)>) -> ReadPairs {
        let mut pairs = ReadPairs::new();
        for (principal, target, pair) in of {
            pairs
                .entry(principal.into())
                .or_default()
                .insert(target, pair);
        }
        pairs
    }

    #[test]
    fn each_account_that_is_read_from_has_its_own_grant() {
        let elsewhere = SecretTarget {
            account: "2".into(),
            ..target(SecretStore::Ssm, "key")
        };
        let pairs = pairs(vec![
            (
                READER,
                target(SecretStore::SecretsManager, "db"),
                pair(1, "a", &[]),
            ),
            (READER, elsewhere, pair(2, "a", &[])),
        ]);
        let grants = grants(&pairs);
        let reported: Vec<_> = grants.iter().map(|g| (&*g.secrets[0], g.reads)).collect();
        let secret = "arn:aws:secretsmanager:*:1:secret:db";
        assert_eq!(
            reported,
            [(secret, 1), ("arn:aws:ssm:*:2:parameter/key", 2)]
        );
    }

    #[test]
    fn little_history_says_nothing_of_sources_and_keys() {
        let grant_of = |reads| {
            let pair = pair(reads, "a", &["arn:aws:kms:a:1:key/k"]);
            grants(&pairs(vec![(
                READER,
                target(SecretStore::Ssm, "key"),
                pair,
            )]))
            .remove(0)
        };
        let (little, enough) = (grant_of(ENOUGH_READS - 1), grant_of(ENOUGH_READS));
        assert!(little.sources.is_empty() && little.keys.is_empty());
        assert_eq!(enough.sources, ["vpce-1"]);
        assert_eq!(enough.keys, ["arn:aws:kms:a:1:key/k"]);
    }

    #[test]
    fn of_many_keys_those_of_their_accounts_are_granted() {
        let keys = [1, 1, 2, 2].iter().enumerate();
        let keys: Vec<String> = keys
            .map(|(n, a)| format!("arn:aws:kms:a:{a}:key/{n}"))
            .collect();
        let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
        let of = |keys: &[&str]| {
            let pair = pair(ENOUGH_READS, "a", keys);
            grants(&pairs(vec![(
                READER,
                target(SecretStore::Ssm, "key"),
                pair,
            )]))
            .remove(0)
            .keys
        };
        assert_eq!(of(&keys[..3]), keys[..3]);
        assert_eq!(
            of(&keys),
            ["arn:aws:kms:*:1:key/*", "arn:aws:kms:*:2:key/*"]
        );
    }

    #[test]
    fn who_reads_in_several_regions_may_read_in_all_that_the_account_has() {
        let other = "arn:aws:iam::1:role/other";
        let pairs = pairs(vec![
            (READER, target(SecretStore::Ssm, "x"), pair(1, "a", &[])),
            (READER, target(SecretStore::Ssm, "y"), pair(1, "b", &[])),
            (other, target(SecretStore::Ssm, "x"), pair(1, "c", &[])),
        ]);
        let regions: Vec<Vec<String>> = grants(&pairs).into_iter().map(|g| g.regions).collect();
        assert_eq!(regions, [vec!["c"], vec!["a", "b", "c"]]);
    }
}
