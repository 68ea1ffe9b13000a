//! Turns pairs of principal and secret into grants: siblings become a pattern where enough of them
//! were seen.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    baseline::{
        convention::Convention,
        evidence::Evidence,
        groups::{Grantees, OwnedPair, groups},
        names::{FOLD_DAYS, KnownNames, StoredName, literal, patterns},
        networks::networks,
        pairs::{ENOUGH_READS, ReadOrigin, ReadPair, ReadPairs, SecretTarget},
        proposal::{ItemEvidence, ProposedGrant},
        roaming::is_roaming,
    },
    ids::{ArnParts, SecretStore, SharedStr},
    time::EventTime,
};

/// Most KMS keys listed one by one; beyond that, all keys of their accounts are granted.
const LISTED_KEYS: usize = 3;

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
    /// Sorted.
    principals: Vec<&'p str>,
    /// Regions by account.
    regions: BTreeMap<&'p SharedStr, BTreeSet<&'p SharedStr>>,
    convention: Convention,
    /// Principals whose public addresses hardly ever repeat.
    roaming: BTreeSet<&'p SharedStr>,
}

/// What one group reads from one account: becomes one grant.
struct GroupShare<'g, 'p> {
    grantees: &'g Grantees,
    owner: SecretOwner<'p>,
    /// Never empty.
    pairs: Vec<OwnedPair<'p>>,
    /// Whether names may become patterns.
    folds_names: bool,
}

/// One grant for each group of principals and each account that the group reads from; where its
/// patterns would cover more than `max_fold` allows, one for each principal.
pub(super) fn grants(
    pairs: &ReadPairs,
    roaming: &BTreeSet<SharedStr>,
    max_fold: f64,
) -> Vec<ProposedGrant> {
    let inventory = Inventory::of(pairs, roaming);
    let mut grants = Vec::new();
    for group in groups(pairs, &inventory.convention) {
        let mut by_owner: BTreeMap<SecretOwner<'_>, Vec<OwnedPair<'_>>> = BTreeMap::new();
        for pair in &group.pairs {
            by_owner
                .entry(SecretOwner::of(pair.target))
                .or_default()
                .push(*pair);
        }
        grants.extend(by_owner.into_iter().flat_map(|(owner, pairs)| {
            let grantees = &group.grantees;
            let share = GroupShare {
                grantees,
                owner,
                pairs,
                folds_names: true,
            };
            share.supported(&inventory, max_fold)
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
    fn of(pairs: &'p ReadPairs, roaming: &'p BTreeSet<SharedStr>) -> Self {
        let mut found = Self {
            roaming: roaming.iter().collect(),
            convention: Convention::of(pairs),
            principals: pairs.keys().map(|principal| &**principal).collect(),
            ..Self::default()
        };
        let mut names: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (target, pair) in pairs.values().flatten() {
            let names = names.entry(SecretOwner::of(target)).or_default();
            names.push((target.store, &*target.name));
            let regions = found.regions.entry(&target.account).or_default();
            regions.extend(pair.regions.keys());
        }
        let names = names.into_iter();
        found.names = names
            .map(|(owner, names)| (owner, names.into_iter().collect()))
            .collect();
        found
    }
}

impl<'p> Inventory<'p> {
    /// How many of the principals a pattern covers; one for a principal.
    fn covered(&self, pattern: &str) -> usize {
        let Some(prefix) = pattern.strip_suffix('*') else {
            return 1;
        };
        let start = self.principals.partition_point(|name| *name < prefix);
        let rest = self.principals.get(start..).unwrap_or_default();
        rest.partition_point(|name| name.starts_with(prefix))
    }
}

impl<'p> GroupShare<'_, 'p> {
    /// The grant of the group if the history supports its patterns, otherwise narrower ones.
    fn supported(self, inventory: &Inventory<'p>, max_fold: f64) -> Vec<ProposedGrant> {
        let mut grant = self.grant(inventory);
        let has_days =
            !self.grantees.folded || self.grantees.folder.is_some() || self.all_have_days();
        // Far below the integers that a float cannot hold.
        #[expect(clippy::cast_precision_loss, reason = "numbers of pairs")]
        let fits = grant.granted_pairs as f64 <= grant.seen_pairs as f64 * max_fold;
        let is_literal = !self.grantees.folded && !self.folds_names;
        if is_literal || (fits && has_days) {
            grant.evidence = self.evidence(&grant);
            return vec![grant];
        }
        if !self.grantees.folded {
            let literal = Self {
                folds_names: false,
                ..self
            };
            return literal.supported(inventory, max_fold);
        }
        let mut by_principal: BTreeMap<&SharedStr, Vec<OwnedPair<'p>>> = BTreeMap::new();
        for pair in &self.pairs {
            by_principal.entry(pair.principal).or_default().push(*pair);
        }
        let alone = by_principal.into_iter().flat_map(|(principal, pairs)| {
            let share = GroupShare {
                grantees: &Grantees::alone(principal),
                owner: self.owner,
                pairs,
                folds_names: true,
            };
            share.supported(inventory, max_fold)
        });
        alone.collect()
    }

    fn grant(&self, inventory: &Inventory<'p>) -> ProposedGrant {
        let names = self.names(inventory);
        let folded = names.iter().any(|name| name.pattern.ends_with('*'));
        let reads = self.all().map(|pair| pair.uses.reads).sum();
        let enough = reads >= ENOUGH_READS;
        // With few reads, a list would make the next address or key an alert.
        let (sources, other_sources) = if enough && !self.roams(inventory) {
            self.sources()
        } else {
            (Vec::new(), Vec::new())
        };
        ProposedGrant {
            principals: self.grantees.patterns.clone(),
            secrets: names.iter().map(|name| self.owner.resource(name)).collect(),
            regions: self.regions(inventory),
            sources,
            other_sources,
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
            seen_pairs: self.pairs.len(),
            granted_pairs: self.granted_pairs(&names, inventory),
            by_person: self.all().any(|pair| pair.by_person),
            evidence: BTreeMap::new(),
            doubts: if self.roams(inventory) {
                vec!["its public addresses hardly ever repeat, so that any is allowed".to_owned()]
            } else {
                Vec::new()
            },
        }
    }

    /// Whether each of its principals reads on enough days to stand for others.
    fn all_have_days(&self) -> bool {
        let mut days: BTreeMap<&SharedStr, BTreeSet<&i64>> = BTreeMap::new();
        for pair in &self.pairs {
            let days = days.entry(pair.principal).or_default();
            days.extend(&pair.pair.uses.days);
        }
        days.values().all(|days| days.len() >= FOLD_DAYS)
    }

    /// How many pairs that the history knows the grant covers.
    fn granted_pairs(&self, names: &[StoredName], inventory: &Inventory<'p>) -> usize {
        let patterns = self.grantees.patterns.iter();
        let principals: usize = patterns.map(|pattern| inventory.covered(pattern)).sum();
        let known = inventory.names.get(&self.owner);
        let names = names.iter();
        let secrets: usize = names
            .map(|name| known.map_or(1, |known| known.covered(name)))
            .sum();
        (principals * secrets).max(self.pairs.len())
    }

    /// The reads behind each entry of the lists of the grant.
    fn evidence(&self, grant: &ProposedGrant) -> BTreeMap<String, ItemEvidence> {
        let mut found = Evidence::of(grant);
        for OwnedPair { target, pair, .. } in &self.pairs {
            found.add(&self.owner.resource(&StoredName::of(target)), pair);
        }
        found.finish()
    }

    fn all(&self) -> impl Iterator<Item = &'p ReadPair> {
        self.pairs.iter().map(|pair| pair.pair)
    }

    fn days(&self) -> usize {
        let days: BTreeSet<&i64> = self.all().flat_map(|pair| &pair.uses.days).collect();
        days.len()
    }

    /// Whether its public addresses hardly ever repeat, as those of hosted runners.
    fn roams(&self, inventory: &Inventory<'p>) -> bool {
        let origins: BTreeSet<&ReadOrigin> =
            self.all().flat_map(|pair| pair.origins.keys()).collect();
        let mut readers = self.pairs.iter().map(|pair| pair.principal);
        let all_roam = readers.all(|reader| inventory.roaming.contains(reader));
        all_roam || is_roaming(origins.into_iter(), self.days())
    }

    fn last(&self) -> EventTime {
        let last = self
            .all()
            .filter_map(|pair| pair.uses.span)
            .map(|(_, last)| last)
            .max();
        last.unwrap_or(EventTime(0))
    }

    fn distinct<T: Ord>(&self, of: impl Fn(&OwnedPair<'p>) -> T) -> usize {
        self.pairs.iter().map(of).collect::<BTreeSet<T>>().len()
    }

    fn names(&self, inventory: &Inventory<'p>) -> Vec<StoredName> {
        if let Some(folder) = &self.grantees.folder {
            // In every store where the convention holds: secrets that are not read yet will be in
            // the same folder.
            let stores = inventory.convention.stores.iter();
            let named = stores.map(|store| StoredName {
                store: *store,
                pattern: format!("{folder}/*"),
            });
            return named.collect();
        }
        if !self.folds_names {
            return literal(self.pairs.iter().map(|pair| pair.target));
        }
        let none = KnownNames::default();
        let known = inventory.names.get(&self.owner).unwrap_or(&none);
        patterns(&self.pairs, self.grantees.folded, known)
    }

    fn regions(&self, inventory: &Inventory<'p>) -> Vec<String> {
        let seen: BTreeSet<&SharedStr> = self.all().flat_map(|pair| pair.regions.keys()).collect();
        let by_convention = self.grantees.folder.is_some() && inventory.convention.everywhere;
        // A group that reads in several regions is granted all regions seen in the account.
        let regions = match inventory.regions.get(self.owner.account) {
            Some(all) if seen.len() > 1 || by_convention => all,
            _ => &seen,
        };
        regions.iter().map(ToString::to_string).collect()
    }

    /// The sources to list, and those that were seen beside them.
    fn sources(&self) -> (Vec<String>, Vec<String>) {
        let mut seen = networks(self.all().flat_map(|pair| pair.origins.keys()));
        // Siblings that were not seen yet may use other networks, unless all that were seen share
        // one. What was seen on one day only does not show that they differ.
        if !self.grantees.folded || seen.len() == 1 {
            return (seen, Vec::new());
        }
        let origins = self.all().flat_map(|pair| &pair.origins);
        let repeated = origins.filter(|(_, uses)| uses.days.len() > 1);
        let shared = networks(repeated.map(|(origin, _)| origin));
        if shared.len() != 1 {
            return (Vec::new(), seen);
        }
        seen.retain(|network| !shared.contains(network));
        (shared, seen)
    }

    /// Up to [`LISTED_KEYS`] keys as they are; with more, or if names of secrets became a pattern,
    /// all keys of the account. Keys of another account are always listed.
    fn keys(&self, folded: bool) -> Vec<String> {
        let seen: BTreeSet<&SharedStr> = self.all().flat_map(|pair| pair.keys.keys()).collect();
        if seen.len() <= LISTED_KEYS && !folded {
            return seen.iter().map(ToString::to_string).collect();
        }
        let listed = seen.into_iter().map(|key| match ArnParts::parse(key) {
            Some(arn) if arn.account == &**self.owner.account => {
                format!("arn:{}:kms:*:{}:key/*", arn.partition, arn.account)
            }
            _ => key.to_string(),
        });
        listed.collect::<BTreeSet<String>>().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::pairs::Uses;

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
        let uses = Uses {
            reads,
            days: BTreeSet::from([1, 2]),
            span: Some((EventTime(86_400), EventTime(172_800))),
        };
        let keys = keys.iter().map(|key| (SharedStr::from(*key), uses.clone()));
        ReadPair {
            regions: BTreeMap::from([(region.into(), uses.clone())]),
            keys: keys.collect(),
            origins: BTreeMap::from([(ReadOrigin::Name("vpce-1".into()), uses.clone())]),
            uses,
            ..ReadPair::default()
        }
    }

    fn grants(pairs: &ReadPairs) -> Vec<ProposedGrant> {
        super::grants(pairs, &BTreeSet::new(), 3.0)
    }

    /// Reads of each of these secrets by each of these roles, on so many days.
    fn read(roles: &[&str], names: &[&str], days: i64) -> Vec<(String, SecretTarget, ReadPair)> {
        let mut found = Vec::new();
        for role in roles {
            for name in names {
                let mut pair = pair(2, "a", &[]);
                pair.uses.days = (0..days).collect();
                let target = target(SecretStore::SecretsManager, name);
                found.push((format!("arn:aws:iam::1:role/{role}"), target, pair));
            }
        }
        found
    }

    fn secrets(reads: &[(String, SecretTarget, ReadPair)]) -> Vec<Vec<String>> {
        let mut pairs = ReadPairs::new();
        for (principal, target, pair) in reads {
            let pair = ReadPair {
                uses: pair.uses.clone(),
                ..ReadPair::default()
            };
            let targets = pairs.entry(principal.as_str().into()).or_default();
            targets.insert(target.clone(), pair);
        }
        let mut all = Vec::new();
        for grant in grants(&pairs) {
            assert!(
                grant.granted_pairs <= 3 * grant.seen_pairs,
                "{grant:?} covers too much"
            );
            let names = grant.secrets.iter().filter_map(|arn| arn.split(':').nth(6));
            all.push(names.map(str::to_owned).collect());
        }
        all
    }

    #[test]
    fn what_is_read_on_one_day_only_becomes_no_pattern() {
        let names = ["prod/pay/a", "prod/pay/b", "prod/pay/c"];
        assert_eq!(secrets(&read(&["app"], &names, 2)), [vec!["prod/pay/*"]]);
        assert_eq!(secrets(&read(&["app"], &names, 1)), [names]);
    }

    #[test]
    fn patterns_that_would_cover_far_more_than_was_read_are_not_proposed() {
        // Two siblings, of which each reads its own half of a folder that is read by nobody else.
        let mut reads = read(&["x-app-1"], &["p/a", "p/b", "q/1"], 2);
        reads.extend(read(&["x-app-2"], &["p/c", "p/d", "q/1"], 2));
        assert_eq!(secrets(&reads), [vec!["p/*", "q/1"]]);
        // Eight of them, each with one secret of it.
        let names = ["1", "2", "3", "4", "5", "6", "7", "8"];
        let reads: Vec<_> = names
            .iter()
            .flat_map(|n| read(&[&format!("x-app-{n}")], &[&format!("p/{n}")], 2))
            .collect();
        let own: Vec<Vec<String>> = names.iter().map(|n| vec![format!("p/{n}")]).collect();
        assert_eq!(secrets(&reads), own);
    }

    #[test]
    fn each_entry_has_the_reads_behind_it() {
        let pair = pair(ENOUGH_READS, "eu-west-1", &["arn:aws:kms:a:1:key/k"]);
        let target = target(SecretStore::SecretsManager, "db");
        let grant = grants(&pairs(vec![(READER, target, pair)])).remove(0);
        let items = [
            "arn:aws:secretsmanager:*:1:secret:db",
            "eu-west-1",
            "vpce-1",
            "arn:aws:kms:a:1:key/k",
        ];
        for item in items {
            let found = grant.evidence.get(item).unwrap_or_else(|| panic!("{item}"));
            assert_eq!((found.reads, found.days), (ENOUGH_READS, 2), "{item}");
        }
        assert_eq!((grant.seen_pairs, grant.granted_pairs), (1, 1));
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
    fn of_many_keys_those_of_the_account_are_granted_and_others_are_listed() {
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
            [
                "arn:aws:kms:*:1:key/*",
                "arn:aws:kms:a:2:key/2",
                "arn:aws:kms:a:2:key/3"
            ]
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
