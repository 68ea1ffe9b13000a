//! The access policy: who is expected to read what. Parses the YAML and judges accesses.

mod file;
mod index;
mod matching;
pub mod pattern;
mod people;
mod replicas;
pub mod review;
mod source;

use std::{
    collections::BTreeSet,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ahash::HashMap;

use self::{
    file::PolicyContent,
    index::GrantIndex,
    matching::{any_covers, any_matches, any_names, listed, names, subjects_read, yes_or_no},
    people::PersonGrant,
    replicas::ReplicaGrant,
    source::{GrantSource, OwnSources},
};

pub(crate) use self::matching::subjects;
pub use self::{
    file::{GrantFault, PolicyError, PolicyFault},
    replicas::ReplicaPlace,
    source::{InvalidSource, MissingList, SourcePattern},
};
use crate::{
    access::{Access, AccessMethod},
    glob::GlobPattern,
    ids::{SecretKey, SecretRef, SharedStr},
    network::NetworkLists,
    observation::SourceKind,
    principal::PrincipalKind,
};

/// Whether the policy expects something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyVerdict {
    /// A grant allows it.
    Yes,
    /// Grants cover it, and none allows it.
    No,
    /// No grant covers it.
    Undeclared,
}

impl PolicyVerdict {
    /// The value in rules: `yes`, `no` or `undeclared`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Undeclared => "undeclared",
        }
    }
}

/// The verdicts of the policy about an access: `expected.*` in rules.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expectation {
    /// Whether a grant that covers the secret names the principal, or `people` expects the person.
    pub principal: PolicyVerdict,
    /// Whether an entry of `people` that covers the secret names the person at this time;
    /// `Undeclared` for software, and where no entry covers the secret.
    pub person: PolicyVerdict,
    /// Whether the grants that cover secret and principal allow the region (`awsRegion`).
    pub region: PolicyVerdict,
    /// Whether these grants allow the source; `Undeclared` when the record has only the service.
    pub source: PolicyVerdict,
    /// Whether these grants allow the KMS key; `Undeclared` while the key is not known.
    pub key: PolicyVerdict,
    /// Whether any grant for the secret's account covers the region at all; `Yes` for a person who
    /// is expected.
    pub account_region: PolicyVerdict,
    /// `baseline_per_hour` of the grants that cover secret and principal, the highest; `None` when
    /// none has one.
    pub baseline_per_hour: Option<f64>,
    /// Whether the secret is a decoy.
    pub decoy: bool,
}

#[derive(Debug)]
struct PolicyGrant {
    secrets: Vec<GlobPattern>,
    /// Empty for secrets that nobody may read.
    principals: Vec<GlobPattern>,
    regions: Option<Vec<GlobPattern>>,
    sources: Option<Vec<GrantSource>>,
    keys: Option<Vec<GlobPattern>>,
    baseline_per_hour: Option<f64>,
}

/// Indices of the grants that cover a secret.
type Covering = Arc<[usize]>;

/// Cache key: what determines which grants cover a secret.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CoveringGrants {
    secret: SecretKey,
    arn: Option<SharedStr>,
    /// Whether it is the path of a `GetParametersByPath` whose parameters are not known.
    folder: bool,
}

/// A parsed and validated access policy.
#[derive(Debug)]
pub struct AccessPolicy {
    grants: Vec<PolicyGrant>,
    trusted_accounts: BTreeSet<String>,
    /// Secrets that nobody has a reason to touch.
    decoys: Vec<GlobPattern>,
    /// Who may read by hand, and when.
    people: Vec<PersonGrant>,
    /// Where secrets may be replicated to.
    replicas: Vec<ReplicaGrant>,
    /// Finds grants by secret; `None` if all of them must be asked.
    index: Option<GrantIndex>,
    /// Cache of the grants that cover a secret: policies are large and secrets are few.
    covering: Mutex<HashMap<CoveringGrants, Covering>>,
    /// Cache of the verdicts about regions, by account and region: each asks all grants.
    account_regions: Mutex<HashMap<(SharedStr, SharedStr), PolicyVerdict>>,
    strict: bool,
    /// What `sources` may mean: lists of networks, and VPC endpoints of ours.
    own: OwnSources,
}

impl FromStr for AccessPolicy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let PolicyContent {
            grants,
            trusted_accounts,
            decoys,
            people,
            replicas,
            endpoints,
        } = file::read(text)?;
        Ok(Self {
            trusted_accounts,
            decoys,
            people,
            replicas,
            index: GrantIndex::new(&grants),
            grants,
            covering: Mutex::default(),
            account_regions: Mutex::default(),
            strict: false,
            own: OwnSources {
                networks: NetworkLists::default(),
                endpoints,
            },
        })
    }
}

impl PolicyGrant {
    fn covers(&self, subjects: &[String], secret: &SecretRef) -> bool {
        any_covers(&self.secrets, subjects, secret)
    }

    fn names(&self, access: &Access) -> bool {
        names(&self.principals, access)
    }

    /// Whether the grant refuses nothing about the access: region, source and key.
    fn allows(&self, access: &Access, own: &OwnSources) -> bool {
        let (region, key) = (&*access.head.region, access.decrypt.key_arn.as_deref());
        let verdicts = [
            listed(self.regions.as_deref(), Some(region)),
            self.allows_source(access, own),
            listed(self.keys.as_deref(), key),
        ];
        !verdicts.contains(&PolicyVerdict::No)
    }

    /// Whether the grant allows the source of the access.
    fn allows_source(&self, access: &Access, own: &OwnSources) -> PolicyVerdict {
        let Some(list) = &self.sources else {
            return PolicyVerdict::Yes;
        };
        let source = &access.head.source;
        // The source of a KMS Decrypt made by a service is that service, not the caller.
        if access.method == AccessMethod::DecryptOnly || source.kind == SourceKind::Internal {
            return PolicyVerdict::Undeclared;
        }
        let address = own.as_address(source);
        let seen = (&**source, address.as_deref());
        let mut patterns = list.iter();
        yes_or_no(patterns.any(|pattern| pattern.matches(seen, &own.networks)))
    }

    /// Whether the grant covers secrets of an account in a region; `None` when it covers none of
    /// the account's secrets.
    fn mentions(&self, account: &str, region: &str) -> Option<bool> {
        let mut speaks = false;
        for pattern in &self.secrets {
            // A pattern that ends before its account, as `*` does, covers every account.
            let mut parts = pattern.as_str().split(':').skip(3);
            let (in_region, in_account) =
                (parts.next().unwrap_or("*"), parts.next().unwrap_or("*"));
            if !GlobPattern::new(in_account).matches(account) {
                continue;
            }
            speaks = true;
            let declared = self
                .regions
                .as_ref()
                .is_none_or(|list| any_matches(list, region));
            if declared && GlobPattern::new(in_region).matches(region) {
                return Some(true);
            }
        }
        speaks.then_some(false)
    }
}

impl AccessPolicy {
    /// Whether an account, twelve digits, is under `trusted_accounts`.
    #[must_use]
    pub fn trusts(&self, account: &str) -> bool {
        self.trusted_accounts.contains(account)
    }

    /// Whether a secret is under `decoys`.
    #[must_use]
    pub fn is_decoy(&self, secret: &SecretRef) -> bool {
        // Most policies have none, and this runs for every access.
        !self.decoys.is_empty() && any_covers(&self.decoys, &subjects(secret), secret)
    }

    /// Whether a secret may be replicated to a place, by an entry under `replicas`.
    #[must_use]
    pub fn allows_replica(&self, secret: &SecretRef, place: ReplicaPlace<'_>) -> bool {
        self.replicas
            .iter()
            .any(|grant| grant.covers(secret, place))
    }

    /// The patterns under `decoys`.
    pub fn decoys(&self) -> impl Iterator<Item = &str> {
        self.decoys.iter().map(GlobPattern::as_str)
    }

    /// The number of grants.
    #[must_use]
    pub fn len(&self) -> usize {
        self.grants.len()
    }

    /// Whether there are no grants.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }

    /// With `strict`, `expected.principal` is `no` instead of `undeclared` for a secret that no
    /// grant covers. The verdicts about regions, sources and keys do not change.
    #[must_use]
    pub fn strict(self, strict: bool) -> Self {
        Self { strict, ..self }
    }

    /// With the lists of networks that `sources` names as `class:…` and `list:…`.
    ///
    /// # Errors
    ///
    /// [`MissingList`]: one of them is not there. Its grant would allow nothing, and nobody would
    /// know why.
    pub fn with_networks(self, networks: &NetworkLists) -> Result<Self, MissingList> {
        let sources = self
            .grants
            .iter()
            .flat_map(|grant| &grant.sources)
            .flatten();
        let mut labels = sources.filter_map(GrantSource::label);
        match labels.find(|label| !networks.has(label)) {
            Some(missing) => Err(MissingList(missing.to_owned())),
            None => Ok(Self {
                own: OwnSources {
                    networks: networks.clone(),
                    ..self.own
                },
                ..self
            }),
        }
    }

    /// Judges an access by the grants that cover its secret.
    #[must_use]
    pub fn judge(&self, access: &Access) -> Expectation {
        let covering = self.covering_of(access);
        let granted = self.granted(&covering, access);
        let person = self.person(access);
        let (region, key) = (&*access.head.region, access.decrypt.key_arn.as_deref());
        Expectation {
            principal: self.principal(&covering, &granted, person),
            person,
            region: over(&granted, |g| listed(g.regions.as_deref(), Some(region))),
            source: over(&granted, |g| g.allows_source(access, &self.own)),
            key: over(&granted, |g| listed(g.keys.as_deref(), key)),
            account_region: match person {
                PolicyVerdict::Yes => PolicyVerdict::Yes,
                _ => self.account_region(access),
            },
            baseline_per_hour: highest_baseline(&granted),
            decoy: self.is_decoy(&access.secret),
        }
    }

    /// The grants, among those that cover the secret, that name the principal.
    fn granted(&self, covering: &[usize], access: &Access) -> Vec<&PolicyGrant> {
        let covering = covering.iter().filter_map(|index| self.grants.get(*index));
        covering.filter(|grant| grant.names(access)).collect()
    }

    /// Whether the principal is expected, by the grants that cover the secret and those that also
    /// name the principal.
    fn principal(
        &self,
        covering: &[usize],
        granted: &[&PolicyGrant],
        person: PolicyVerdict,
    ) -> PolicyVerdict {
        if !granted.is_empty() || person == PolicyVerdict::Yes {
            PolicyVerdict::Yes
        } else if covering.is_empty() && person == PolicyVerdict::Undeclared && !self.strict {
            PolicyVerdict::Undeclared
        } else {
            PolicyVerdict::No
        }
    }

    /// Whether a person is expected to read the secret by hand at this time.
    fn person(&self, access: &Access) -> PolicyVerdict {
        // Most policies have no people, and this runs for every access.
        if self.people.is_empty() || access.head.principal.kind != PrincipalKind::Human {
            return PolicyVerdict::Undeclared;
        }
        let subjects = subjects_read(&access.secret, is_of_folder(access));
        let covering = self.people.iter();
        let mut covering = covering.filter(|one| one.covers(&subjects, &access.secret));
        match covering.next() {
            None => PolicyVerdict::Undeclared,
            Some(first) => {
                yes_or_no(first.allows(access) || covering.any(|one| one.allows(access)))
            }
        }
    }

    fn account_region(&self, access: &Access) -> PolicyVerdict {
        let place = (access.secret.account.clone(), access.head.region.clone());
        let mut known = usable(&self.account_regions);
        let verdict = known.get(&place).copied();
        verdict.unwrap_or_else(|| {
            let verdict = self.find_account_region(&place.0, &place.1);
            known.insert(place, verdict);
            verdict
        })
    }

    fn find_account_region(&self, account: &str, region: &str) -> PolicyVerdict {
        let mut verdict = PolicyVerdict::Undeclared;
        for mentioned in self
            .grants
            .iter()
            .filter_map(|g| g.mentions(account, region))
        {
            if mentioned {
                return PolicyVerdict::Yes;
            }
            verdict = PolicyVerdict::No;
        }
        verdict
    }

    fn covering_of(&self, access: &Access) -> Covering {
        self.covering(&access.secret, is_of_folder(access))
    }

    fn covering(&self, secret: &SecretRef, folder: bool) -> Covering {
        let key = CoveringGrants {
            secret: secret.key(),
            arn: secret.arn.clone(),
            folder,
        };
        let mut known = usable(&self.covering);
        let found = known
            .entry(key)
            .or_insert_with(|| self.find_covering(secret, folder));
        found.clone()
    }

    fn find_covering(&self, secret: &SecretRef, folder: bool) -> Covering {
        let subjects = subjects_read(secret, folder);
        let index = self.index.as_ref();
        let candidates = index.and_then(|index| index.candidates(&subjects));
        let candidates = candidates.unwrap_or_else(|| (0..self.grants.len()).collect());
        candidates
            .into_iter()
            .filter(|number| {
                let grant = self.grants.get(*number);
                grant.is_some_and(|grant| grant.covers(&subjects, secret))
            })
            .collect()
    }
}

/// Whether an access is one by path: with a Decrypt the secret is a parameter under the path;
/// without one it is the path itself.
fn is_of_folder(access: &Access) -> bool {
    access.method == AccessMethod::ByPath && access.decrypt.key_arn.is_none()
}

/// A cache. Its entries are complete or absent, so that it is usable even after a panic.
fn usable<T>(cache: &Mutex<T>) -> MutexGuard<'_, T> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

fn highest_baseline(granted: &[&PolicyGrant]) -> Option<f64> {
    let rates = granted.iter().filter_map(|grant| grant.baseline_per_hour);
    rates.max_by(f64::total_cmp)
}

/// The best verdict of the grants: `Yes`, then `Undeclared`, then `No`. `Undeclared` without
/// grants.
fn over(granted: &[&PolicyGrant], judge: impl Fn(&PolicyGrant) -> PolicyVerdict) -> PolicyVerdict {
    granted
        .iter()
        .map(|grant| judge(grant))
        .min_by_key(|verdict| match verdict {
            PolicyVerdict::Yes => 0,
            PolicyVerdict::Undeclared => 1,
            PolicyVerdict::No => 2,
        })
        .unwrap_or(PolicyVerdict::Undeclared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::sample,
        ids::{RecordHome, SecretStore},
    };

    #[test]
    fn a_replica_is_allowed_by_secret_region_and_account() {
        let policy: AccessPolicy = "version: 1
replicas:
  - secrets: [\"arn:aws:secretsmanager:*:111122223333:secret:prod/*\"]
    regions: [eu-*]
    accounts: [\"222233334444\"]
  - secrets: [\"arn:aws:secretsmanager:*:111122223333:secret:shared/*\"]
grants: []
"
        .parse()
        .unwrap();
        let home = RecordHome {
            account: "111122223333",
            region: "eu-west-1",
            partition: "aws",
        };
        for (name, account, region, expected) in [
            ("prod/db", "111122223333", "eu-central-1", true),
            ("prod/db", "222233334444", "eu-central-1", true),
            ("prod/db", "111122223333", "us-east-1", false),
            ("prod/db", "999988887777", "eu-central-1", false),
            ("shared/x", "111122223333", "us-east-1", true),
            ("shared/x", "222233334444", "us-east-1", false),
            ("test/x", "111122223333", "eu-west-1", false),
        ] {
            let place = ReplicaPlace { account, region };
            let is_allowed = policy.allows_replica(&SecretRef::secret(name, home), place);
            assert_eq!(is_allowed, expected, "{name} {account} {region}");
        }
    }

    #[test]
    fn a_decoy_is_one_by_name_by_arn_and_with_its_suffix() {
        let policy: AccessPolicy = "version: 1
decoys:
  - arn:aws:ssm:*:111122223333:parameter/db
  - arn:aws:secretsmanager:*:111122223333:secret:prod/bait-??????
grants: []
"
        .parse()
        .unwrap();
        let access = sample();
        assert!(policy.is_decoy(&access.secret));
        let home = RecordHome {
            account: "111122223333",
            region: "eu-west-1",
            partition: "aws",
        };
        let arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/bait-AbC123";
        for (id, expected) in [
            ("prod/bait", true),
            (arn, true),
            ("prod/bait-other", false),
            ("prod/db", false),
        ] {
            assert_eq!(
                policy.is_decoy(&SecretRef::secret(id, home)),
                expected,
                "{id}"
            );
        }
        let none: AccessPolicy = "version: 1\ngrants: []\n".parse().unwrap();
        assert!(!none.is_decoy(&access.secret));
    }

    /// The verdicts about a read of `/db` by the role `app` in eu-west-1.
    fn judged(grants: &str, change: impl FnOnce(&mut Access)) -> Expectation {
        let text = format!("version: 1\ngrants:\n{grants}");
        let mut access = sample();
        change(&mut access);
        text.parse::<AccessPolicy>().unwrap().judge(&access)
    }

    /// A grant for a parameter and the role `app`, with more lines.
    fn grant(secret: &str, more: &str) -> String {
        let secret = format!("arn:aws:ssm:*:111122223333:parameter/{secret}");
        let role = "arn:aws:iam::111122223333:role/app";
        format!("  - secrets: ['{secret}']\n    principals: ['{role}']\n{more}")
    }

    #[test]
    fn marks_at_the_end_of_a_secret_stand_for_its_suffix_alone() {
        let arn =
            |name: &str| format!("arn:aws:secretsmanager:eu-west-1:111122223333:secret:{name}");
        let covered = |pattern: &str, id: &str| {
            let home = RecordHome {
                partition: "aws",
                account: "111122223333",
                region: "eu-west-1",
            };
            let secret = SecretRef::secret(id, home);
            let grants = format!("  - secrets: ['{}']\n    principals: ['*']\n", arn(pattern));
            judged(&grants, |access| access.secret = secret).principal == PolicyVerdict::Yes
        };
        for (pattern, id, expected) in [
            ("prod/db-??????", "prod/db", true),
            ("prod/db-??????", &*arn("prod/db"), true),
            ("prod/db-??????", &*arn("prod/db-AbCdEf"), true),
            ("prod/db-??????", "prod/db-master", false),
            ("prod/db-??????", &*arn("prod/db-master-AbCdEf"), false),
            ("prod/db-master-??????", "prod/db-master", true),
            ("prod/db-*", "prod/db-master", true),
            ("prod/db-??ster-??????", "prod/db-master", true),
            ("prod/*-??????", "prod/db-master", true),
        ] {
            assert_eq!(covered(pattern, id), expected, "{pattern} {id}");
        }
    }

    #[test]
    fn grants_that_do_not_name_the_principal_decide_nothing_but_that() {
        let grants = grant("db", "    regions: [us-east-1]\n").replace("role/app", "role/other");
        let expected = judged(&grants, |_| {});
        assert_eq!(expected.principal, PolicyVerdict::No);
        assert_eq!(expected.region, PolicyVerdict::Undeclared);
        assert_eq!(expected.source, PolicyVerdict::Undeclared);
        assert_eq!(expected.baseline_per_hour, None);
    }

    #[test]
    fn what_one_grant_forbids_another_may_allow_or_leave_open() {
        let key = "arn:aws:kms:eu-west-1:111122223333:key";
        let with_key = |keys: &str| grant("*", &format!("    keys: ['{key}/{keys}']\n"));
        let of = |grants: &str| {
            judged(grants, |a| {
                a.decrypt.key_arn = Some(format!("{key}/k").into())
            })
        };
        assert_eq!(of(&with_key("other")).key, PolicyVerdict::No);
        assert_eq!(
            of(&(with_key("other") + &with_key("k"))).key,
            PolicyVerdict::Yes
        );
        assert_eq!(
            of(&(with_key("other") + &grant("*", ""))).key,
            PolicyVerdict::Yes
        );
        // No key is known yet.
        assert_eq!(
            judged(&with_key("k"), |_| {}).key,
            PolicyVerdict::Undeclared
        );
    }

    #[test]
    fn a_secret_that_nobody_may_read_is_one_without_principals() {
        let nobody = grant("db", "").replace("principals: [", "principals: [] # [");
        assert_eq!(judged(&nobody, |_| {}).principal, PolicyVerdict::No);
        // Another grant may name somebody.
        let both = nobody + &grant("db", "");
        assert_eq!(judged(&both, |_| {}).principal, PolicyVerdict::Yes);
    }

    #[test]
    fn a_list_of_networks_that_a_grant_names_must_be_there() {
        let text = |source: &str| {
            let grants = grant("db", &format!("    sources: [\"{source}\"]\n"));
            format!("version: 1\ngrants:\n{grants}")
        };
        let read = |source: &str| text(source).parse::<AccessPolicy>().unwrap();
        let mut lists = NetworkLists::default();
        lists.add("office", "10.0.0.0/8").unwrap();
        let verdict = |source: &str, lists: &NetworkLists| {
            let policy = read(source).with_networks(lists)?;
            Ok(policy.judge(&sample()).source)
        };
        let source = sample().head.source.ip.clone().unwrap();
        lists.add("own", &source).unwrap();
        assert_eq!(verdict("list:office", &lists), Ok(PolicyVerdict::No));
        assert_eq!(verdict("list:own", &lists), Ok(PolicyVerdict::Yes));
        assert_eq!(verdict("class:own", &lists), Ok(PolicyVerdict::Yes));
        let missing = MissingList("hosted_ci".to_owned());
        assert_eq!(verdict("class:hosted_ci", &lists), Err(missing));
        let vpn = MissingList("vpn".to_owned());
        assert_eq!(verdict("list:vpn", &lists), Err(vpn));
    }

    #[test]
    fn a_source_that_is_not_the_callers_is_not_judged() {
        let grants = grant("db", "    sources: [10.0.0.0/8]\n");
        assert_eq!(judged(&grants, |_| {}).source, PolicyVerdict::No);
        let alone = judged(&grants, |access| access.method = AccessMethod::DecryptOnly);
        assert_eq!(alone.source, PolicyVerdict::Undeclared);
    }

    #[test]
    fn whoever_may_read_all_below_a_path_may_ask_for_it() {
        let by_path = |access: &mut Access| access.method = AccessMethod::ByPath;
        assert_eq!(
            judged(&grant("db/*", ""), by_path).principal,
            PolicyVerdict::Yes
        );
        assert_eq!(
            judged(&grant("db/*", ""), |_| {}).principal,
            PolicyVerdict::Undeclared
        );
        // A returned parameter is known by its KMS Decrypt, and is not a path.
        let parameter = |access: &mut Access| {
            by_path(access);
            access.decrypt.key_arn = Some("arn:aws:kms:eu-west-1:111122223333:key/k".into());
        };
        assert_eq!(
            judged(&grant("db/*", ""), parameter).principal,
            PolicyVerdict::Undeclared
        );
    }

    #[test]
    fn a_region_is_declared_for_an_account_by_any_of_its_secrets() {
        let account_region = |grants: &str| judged(grants, |_| {}).account_region;
        assert_eq!(account_region(&grant("else", "")), PolicyVerdict::Yes);
        assert_eq!(
            account_region(&grant("else", "    regions: [us-*]\n")),
            PolicyVerdict::No
        );
        let elsewhere = grant("else", "").replace(":*:", ":us-east-1:");
        assert_eq!(account_region(&elsewhere), PolicyVerdict::No);
        let other_account = grant("else", "").replace("111122223333", "444455556666");
        assert_eq!(account_region(&other_account), PolicyVerdict::Undeclared);
        assert_eq!(
            account_region(&(elsewhere + &grant("else", ""))),
            PolicyVerdict::Yes
        );
    }

    #[test]
    fn the_highest_baseline_counts() {
        let rate = |per_hour: &str| grant("db", &format!("    baseline_per_hour: {per_hour}\n"));
        let expected = judged(&(rate("12") + &rate("0.5") + &grant("db", "")), |_| {});
        assert_eq!(expected.baseline_per_hour, Some(12.0));
    }

    #[test]
    fn a_secret_is_covered_by_the_same_grants_whatever_it_is_called() {
        let home = crate::ids::RecordHome {
            partition: "aws",
            account: "111122223333",
            region: "eu-west-1",
        };
        let bare = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db";
        let full = format!("{bare}-AbC123");
        for pattern in [bare, &full, &format!("{bare}-??????")] {
            let pattern = GlobPattern::new(pattern);
            for id in ["prod/db", bare, &full] {
                let subjects = subjects(&SecretRef::secret(id, home));
                assert!(
                    subjects.iter().any(|s| pattern.matches(s)),
                    "{pattern:?} and {id}"
                );
            }
        }
        let other = subjects(&SecretRef::secret(&format!("{bare}-ZZZ999"), home));
        assert!(!other.contains(&full));
        assert!(subjects(&SecretRef::unnamed(SecretStore::SecretsManager, home)).is_empty());
    }
}
