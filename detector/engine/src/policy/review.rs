//! What a policy says, grant by grant, for people who keep it: who may read a secret, which grants
//! are used, and how two policies differ.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{AccessPolicy, Covering, PolicyGrant, PolicyVerdict, any_names, listed, subjects};
use crate::{
    access::{Access, AccessMethod},
    glob::GlobPattern,
    ids::{SecretKey, SecretRef, SharedStr},
    observation::CallOutcome,
    time::EventTime,
};

/// A grant as it is written, with its lists sorted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GrantText {
    /// Position in the policy, from 1.
    pub number: usize,
    /// The lists by name, without those that it does not have, and the usual rate.
    pub entries: BTreeMap<&'static str, BTreeSet<String>>,
}

/// Which grants speak of a secret, and whether one lets a principal read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyAnswer {
    /// Whether the grants expect the principal to read the secret.
    pub verdict: PolicyVerdict,
    /// The grants that cover the secret.
    pub covering: Vec<CoveringGrant>,
    /// The entries of `people` that cover the secret: they alone say whether a person is expected
    /// to read it, and when; they say nothing about software.
    pub people: Vec<CoveringPeople>,
    /// Whether the secret is a decoy: any call that names it is an alert.
    pub is_decoy: bool,
}

/// An entry of `people` that covers a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoveringPeople {
    /// What it says, with its hours and days.
    pub text: String,
    /// Whether it names the principal.
    pub names: bool,
}

/// A grant that covers a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoveringGrant {
    /// What it says.
    pub text: GrantText,
    /// Whether it names the principal.
    pub names: bool,
    /// Whether it allows reads in the region of the secret.
    pub allows_region: bool,
}

/// How reads use a grant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrantUse {
    /// Number of successful reads that it covers and whose principal it names.
    pub accesses: u64,
    /// Number of pairs of principal and secret among them.
    pub pairs: usize,
    /// Number of pairs that it covers, of all principals and secrets in the accesses.
    pub granted: usize,
    /// Event time of the last; `None` without any.
    pub last: Option<EventTime>,
    /// The first other grant, from 1, that allows every one of them too and is not needed less.
    pub covered_by: Option<usize>,
}

/// A change from one policy to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyChange {
    /// Only the new policy has the grant.
    Added(GrantText),
    /// Only the old policy has it.
    Removed(GrantText),
    /// Secrets or principals are the same, and something else is not.
    Changed {
        /// The grant in the old policy.
        from: GrantText,
        /// The grant in the new policy.
        to: GrantText,
    },
    /// An entry of a list beside the grants, with its name.
    Entry {
        /// `trusted_accounts`, `endpoints`, `decoys`, `people` or `replicas`.
        list: &'static str,
        /// The entry.
        entry: String,
        /// Whether the new policy has it.
        is_added: bool,
    },
}

fn patterns(list: &[GlobPattern]) -> BTreeSet<String> {
    list.iter().map(|one| one.as_str().to_owned()).collect()
}

impl PolicyGrant {
    fn text(&self, number: usize) -> GrantText {
        let sources = self.sources.as_ref();
        let lists = [
            ("secrets", Some(patterns(&self.secrets))),
            ("principals", Some(patterns(&self.principals))),
            ("regions", self.regions.as_deref().map(patterns)),
            (
                "sources",
                sources.map(|list| list.iter().map(ToString::to_string).collect()),
            ),
            ("keys", self.keys.as_deref().map(patterns)),
            (
                "baseline_per_hour",
                self.baseline_per_hour
                    .map(|rate| BTreeSet::from([rate.to_string()])),
            ),
        ];
        let lists = lists.into_iter();
        GrantText {
            number,
            entries: lists
                .filter_map(|(name, list)| Some((name, list?)))
                .collect(),
        }
    }
}

impl GrantText {
    /// What makes it the same grant in another policy.
    fn subject(&self) -> [Option<BTreeSet<String>>; 2] {
        ["secrets", "principals"].map(|name| self.entries.get(name).cloned())
    }
}

impl AccessPolicy {
    /// Who the policy says may read a secret, for a principal under any of its ids.
    #[must_use]
    pub fn answer(&self, secret: &SecretRef, principal: &[&str]) -> PolicyAnswer {
        let covering = self.covering(secret, false);
        let covering = covering.iter().filter_map(|index| {
            let grant = self.grants.get(*index)?;
            let regions = grant.regions.as_deref();
            Some(CoveringGrant {
                text: grant.text(index + 1),
                names: principal.iter().any(|id| any_names(&grant.principals, id)),
                allows_region: listed(regions, Some(&secret.region)) == PolicyVerdict::Yes,
            })
        });
        let covering: Vec<CoveringGrant> = covering.collect();
        let subjects = subjects(secret);
        let people = self.people.iter();
        let covered = people.filter(|one| one.covers(&subjects, secret));
        let people = covered.map(|one| CoveringPeople {
            text: one.to_string(),
            names: one.names_id(principal),
        });
        let verdict = if covering.iter().any(|one| one.names && one.allows_region) {
            PolicyVerdict::Yes
        } else if covering.is_empty() && !self.strict {
            PolicyVerdict::Undeclared
        } else {
            PolicyVerdict::No
        };
        PolicyAnswer {
            verdict,
            covering,
            people: people.collect(),
            is_decoy: self.is_decoy(secret),
        }
    }

    /// How accesses use each grant, in the order of the policy.
    #[must_use]
    pub fn uses<'a>(&self, accesses: impl Iterator<Item = &'a Access>) -> Vec<GrantUse> {
        let mut tally = UseTally {
            policy: self,
            grants: self.grants.iter().map(|_| GrantTally::default()).collect(),
            principals: BTreeSet::new(),
            secrets: BTreeMap::new(),
        };
        for access in accesses.filter(|access| is_read(access)) {
            if let Some(principal) = &access.head.principal.id {
                tally.add(principal, access);
            }
        }
        tally.finish()
    }

    /// The grants as they are written.
    pub fn grant_texts(&self) -> impl Iterator<Item = GrantText> + '_ {
        let grants = self.grants.iter();
        grants.zip(1..).map(|(grant, number)| grant.text(number))
    }

    /// What another policy changes: grants, then the lists beside them.
    #[must_use]
    pub fn changes(&self, new: &Self) -> Vec<PolicyChange> {
        let mut left = Unpaired {
            old: self.grant_texts().collect(),
            new: new.grant_texts().collect(),
        };
        // What is the same in everything is paired before what has the same subject.
        left.pair(|grant| grant.entries.clone());
        let mut pairs = left.pair(GrantText::subject);
        pairs.extend(left.pair(|grant| grant.entries.get("secrets").cloned()));
        pairs.extend(left.pair(|grant| grant.entries.get("principals").cloned()));
        pairs.sort();
        let pairs = pairs.into_iter();
        let mut changes: Vec<PolicyChange> = pairs
            .map(|(from, to)| PolicyChange::Changed { from, to })
            .collect();
        changes.extend(left.old.into_iter().map(PolicyChange::Removed));
        changes.extend(left.new.into_iter().map(PolicyChange::Added));
        let (from, to) = (self.entries(), new.entries());
        for (is_added, these, those) in [(false, &from, &to), (true, &to, &from)] {
            let only = these.difference(those).cloned();
            changes.extend(only.map(|(list, entry)| PolicyChange::Entry {
                list,
                entry,
                is_added,
            }));
        }
        changes
    }

    /// The entries of the lists beside the grants.
    fn entries(&self) -> BTreeSet<(&'static str, String)> {
        let accounts = self.trusted_accounts.iter();
        let accounts = accounts.map(|account| ("trusted_accounts", account.clone()));
        let decoys = self.decoys().map(|decoy| ("decoys", decoy.to_owned()));
        let replicas = self.replicas.iter();
        let replicas = replicas.map(|replica| ("replicas", replica.to_string()));
        let people = self.people.iter();
        let people = people.map(|person| ("people", person.to_string()));
        let endpoints = self.own.endpoints.iter();
        let endpoints = endpoints.map(|one| ("endpoints", one.as_str().to_owned()));
        let lists = accounts.chain(decoys).chain(replicas);
        lists.chain(people).chain(endpoints).collect()
    }
}

/// Grants of two policies that are not yet known to be the same.
struct Unpaired {
    old: Vec<GrantText>,
    new: Vec<GrantText>,
}

impl Unpaired {
    /// Takes pairs with the same key out, in the order of the policies.
    fn pair<K: Ord>(&mut self, key: impl Fn(&GrantText) -> K) -> Vec<(GrantText, GrantText)> {
        let mut by_key: BTreeMap<K, VecDeque<GrantText>> = BTreeMap::new();
        for grant in std::mem::take(&mut self.new) {
            by_key.entry(key(&grant)).or_default().push_back(grant);
        }
        let mut pairs = Vec::new();
        for from in std::mem::take(&mut self.old) {
            let same = by_key.get_mut(&key(&from));
            match same.and_then(VecDeque::pop_front) {
                Some(to) => pairs.push((from, to)),
                None => self.old.push(from),
            }
        }
        self.new = by_key.into_values().flatten().collect();
        self.new.sort();
        pairs
    }
}

/// What is known of the uses of a policy so far.
struct UseTally<'p> {
    policy: &'p AccessPolicy,
    grants: Vec<GrantTally>,
    /// The principals seen.
    principals: BTreeSet<SharedStr>,
    /// The grants that cover each secret.
    secrets: BTreeMap<SecretKey, Covering>,
}

/// What is known of the uses of a grant so far.
#[derive(Default)]
struct GrantTally {
    accesses: u64,
    last: Option<EventTime>,
    pairs: BTreeSet<(SharedStr, SecretKey)>,
    /// Number of principals seen that it names.
    principals: usize,
    /// The grants that also allow every use of it, itself among them; `None` before the first.
    also: Option<BTreeSet<usize>>,
}

impl UseTally<'_> {
    fn add(&mut self, principal: &SharedStr, access: &Access) {
        if !self.principals.contains(principal) {
            self.principals.insert(principal.clone());
            for (tally, grant) in self.grants.iter_mut().zip(&self.policy.grants) {
                tally.principals += usize::from(grant.names(access));
            }
        }
        let covering = self.policy.covering_of(access);
        let (mut named, mut allowing) = (Vec::new(), BTreeSet::new());
        for index in covering.iter() {
            let grant = self.policy.grants.get(*index);
            if let Some(grant) = grant.filter(|grant| grant.names(access)) {
                named.push(*index);
                if grant.allows(access, &self.policy.own) {
                    allowing.insert(*index);
                }
            }
        }
        let key = access.secret.key();
        for index in named {
            if let Some(grant) = self.grants.get_mut(index) {
                grant.accesses += 1;
                grant.last = grant.last.max(Some(access.head.time));
                grant.pairs.insert((principal.clone(), key.clone()));
                grant.also = Some(match grant.also.take() {
                    Some(known) => known.intersection(&allowing).copied().collect(),
                    None => allowing.clone(),
                });
            }
        }
        self.secrets.entry(key).or_insert(covering);
    }

    fn finish(self) -> Vec<GrantUse> {
        let mut covered: Vec<usize> = vec![0; self.grants.len()];
        for index in self.secrets.values().flat_map(|grants| grants.iter()) {
            if let Some(secrets) = covered.get_mut(*index) {
                *secrets += 1;
            }
        }
        // Of two that allow the same, one is needed.
        let mut spare: BTreeSet<usize> = BTreeSet::new();
        let grants = self.grants.iter().zip(covered).enumerate();
        grants
            .map(|(index, (grant, secrets))| {
                let mut also = grant.also.iter().flatten();
                let other = also.find(|other| **other != index && !spare.contains(other));
                spare.extend(other.map(|_| index));
                GrantUse {
                    accesses: grant.accesses,
                    pairs: grant.pairs.len(),
                    granted: (grant.principals * secrets).max(grant.pairs.len()),
                    last: grant.last,
                    covered_by: other.map(|other| other + 1),
                }
            })
            .collect()
    }
}

/// Whether an access revealed a secret by a read.
fn is_read(access: &Access) -> bool {
    access.head.outcome == CallOutcome::Success && access.method != AccessMethod::DirectDecrypt
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access::sample, ids::RecordHome};

    const ROLE: &str = "arn:aws:iam::111122223333:role/payments";

    fn policy(rest: &str) -> AccessPolicy {
        format!("version: 1\n{rest}").parse().unwrap()
    }

    fn grant(secret: &str, principal: &str, more: &str) -> String {
        format!(
            "  - secrets: [\"arn:aws:secretsmanager:*:111122223333:secret:{secret}\"]\n    \
             principals: [\"{principal}\"]\n{more}"
        )
    }

    fn secret(name: &str) -> SecretRef {
        let home = RecordHome {
            account: "111122223333",
            region: "eu-west-1",
            partition: "aws",
        };
        SecretRef::secret(name, home)
    }

    #[test]
    fn an_answer_names_the_grants_that_speak_of_the_secret() {
        let grants = [
            grant("prod/*", "arn:aws:iam::111122223333:role/other", ""),
            grant("prod/pay/*", ROLE, "    regions: [eu-west-1]\n"),
            grant("test/*", ROLE, "    regions: [us-east-1]\n"),
        ];
        let policy = policy(&format!("grants:\n{}", grants.concat()));
        let of = |name: &str, principal: &str| {
            let answer = policy.answer(&secret(name), &[principal]);
            let grants = answer.covering.iter();
            let grants = grants.map(|grant| (grant.text.number, grant.names));
            (answer.verdict, grants.collect::<Vec<_>>())
        };
        let both = vec![(1, false), (2, true)];
        assert_eq!(of("prod/pay/db", ROLE), (PolicyVerdict::Yes, both));
        assert_eq!(of("prod/x", ROLE), (PolicyVerdict::No, vec![(1, false)]));
        assert_eq!(of("dev/x", ROLE), (PolicyVerdict::Undeclared, Vec::new()));
        // It may read there, and not in the region of the secret.
        assert_eq!(of("test/x", ROLE), (PolicyVerdict::No, vec![(3, true)]));
    }

    #[test]
    fn uses_count_accesses_pairs_and_what_another_grant_covers_too() {
        let access = sample();
        let principal = access.head.principal.id.clone().unwrap();
        let arn = format!(
            "arn:aws:{}:*:{}:*",
            if access.secret.store == crate::ids::SecretStore::Ssm {
                "ssm"
            } else {
                "secretsmanager"
            },
            access.secret.account
        );
        let one = |principal: &str| {
            format!("  - secrets: [\"{arn}\"]\n    principals: [\"{principal}\"]\n")
        };
        let grants = [one(&principal), one("*"), one("arn:aws:iam::1:role/never")];
        let policy = policy(&format!("grants:\n{}", grants.concat()));
        let mut other = access.clone();
        other.head = {
            let mut head = (*other.head).clone();
            let mut principal = (*head.principal).clone();
            principal.id = Some("arn:aws:iam::111122223333:role/else".into());
            principal.actor = None;
            head.principal = principal.into();
            head.into()
        };
        let accesses = [access.clone(), access, other];
        let uses = policy.uses(accesses.iter());
        let counts: Vec<_> = uses
            .iter()
            .map(|one| (one.accesses, one.pairs, one.granted, one.covered_by))
            .collect();
        assert_eq!(
            counts,
            [(2, 1, 1, Some(2)), (3, 2, 2, None), (0, 0, 0, None)]
        );
        assert_eq!(uses[0].last, Some(accesses[0].head.time));
    }

    #[test]
    fn changes_are_those_of_grants_and_of_the_lists_beside_them() {
        let old = policy(&format!(
            "trusted_accounts: [\"444455556666\"]\ngrants:\n{}{}{}",
            grant("a", ROLE, "    regions: [eu-west-1]\n"),
            grant("b", ROLE, ""),
            grant("c", ROLE, ""),
        ));
        let new = policy(&format!(
            "decoys: [\"arn:aws:secretsmanager:*:111122223333:secret:bait\"]\ngrants:\n{}{}{}",
            grant("c", ROLE, ""),
            grant("a", ROLE, "    regions: [eu-west-1, eu-west-2]\n"),
            grant("d", ROLE, ""),
        ));
        let changes: Vec<String> = old
            .changes(&new)
            .iter()
            .map(|change| match change {
                PolicyChange::Added(grant) => format!("+{}", grant.number),
                PolicyChange::Removed(grant) => format!("-{}", grant.number),
                PolicyChange::Changed { from, to } => format!("{}>{}", from.number, to.number),
                PolicyChange::Entry { list, is_added, .. } => format!("{list} {is_added}"),
            })
            .collect();
        // Of the two that are left, the principals are the same.
        let expected = ["1>2", "2>3", "trusted_accounts false", "decoys true"];
        assert_eq!(changes, expected);
        assert_eq!(old.changes(&old), []);
        let two = policy(&format!(
            "grants:\n{}{}",
            grant("a", ROLE, "    regions: [eu-west-1]\n"),
            grant("a", ROLE, "    regions: [us-east-1]\n"),
        ));
        let second = policy(&format!(
            "grants:\n{}",
            grant("a", ROLE, "    regions: [us-east-1]\n")
        ));
        let changes = two.changes(&second);
        assert!(matches!(&*changes, [PolicyChange::Removed(first)] if first.number == 1));
    }

    #[test]
    fn a_grant_that_refuses_what_another_allows_is_no_substitute() {
        let access = sample();
        let principal = access.head.principal.id.clone().unwrap();
        let one =
            |more: &str| format!("  - secrets: [\"*\"]\n    principals: [\"{principal}\"]\n{more}");
        let covered = |grants: [String; 2]| {
            let policy = policy(&format!("grants:\n{}", grants.concat()));
            let uses = policy.uses(std::iter::once(&access));
            [uses[0].covered_by, uses[1].covered_by]
        };
        let elsewhere = "    regions: [xx-nowhere-1]\n";
        assert_eq!(covered([one(""), one(elsewhere)]), [None, Some(1)]);
        // Of two that are the same, one is needed.
        assert_eq!(covered([one(""), one("")]), [Some(2), None]);
        let mut denied = access.clone();
        let mut head = (*denied.head).clone();
        head.outcome = CallOutcome::Denied;
        denied.head = head.into();
        let policy = policy(&format!("grants:\n{}", one("")));
        assert_eq!(policy.uses(std::iter::once(&denied))[0].accesses, 0);
    }
}
