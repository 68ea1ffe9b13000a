//! Pairs reads that KMS denied with the Decrypts that KMS denied.
//!
//! Both are logged within the same second. Most denied Decrypts are logged without encryption
//! context, so that they do not name the secret. What is left is compared instead: the store that
//! called KMS, and the key, if both messages name it.

use crate::{
    correlate::{
        correlation_group::named,
        join::{JoinState, PairAssignment},
        nearest::{VersionKey, ask_spellings},
        queues::Queues,
        spelling::{SpellingIds, filed},
    },
    ids::{ArnParts, SecretRef, SecretStore, SharedStr},
    observation::{CallOutcome, KmsDecrypt, SecretRead},
    time::EventTime,
};

/// What must be equal in a denied Decrypt and what a read asks for.
#[derive(PartialEq, Eq, Hash)]
struct Bucket<'s> {
    time: EventTime,
    /// The store that called KMS. `None` for `AWS Internal`, which is nearly always Parameter
    /// Store.
    store: Option<SecretStore>,
    key: KeyMatch<'s>,
    names_secret: bool,
}

/// What is known about the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum KeyMatch<'s> {
    Is(&'s str),
    Unknown,
    /// Any key, known or not.
    Any,
}

/// How a denied read looks for its Decrypt. Each search is done for all reads before the next, so
/// that a read never takes what another one fits better.
#[derive(Clone, Copy)]
struct Search {
    /// Whether both must name the same key.
    same_key: bool,
    /// Whether only what is left of `AWS Internal` is considered.
    internal: bool,
}

const SEARCHES: [Search; 4] = [
    Search {
        same_key: true,
        internal: false,
    },
    Search {
        same_key: false,
        internal: false,
    },
    Search {
        same_key: true,
        internal: true,
    },
    Search {
        same_key: false,
        internal: true,
    },
];

impl<'s> JoinState<'s> {
    /// Pairs denied reads with denied Decrypts of the same second, each once.
    pub(super) fn match_denied(&mut self) {
        let reads = self.reads_denied_by_kms();
        if reads.is_empty() {
            return;
        }
        // First, or a read without a name could take the Decrypt of a read that names its secret.
        self.match_denied_secrets(&reads);
        let mut free = self.denied_by_bucket();
        for search in SEARCHES {
            for (index, read) in &reads {
                self.match_denied_read(*index, read, search, &mut free);
            }
        }
    }

    fn reads_denied_by_kms(&self) -> Vec<(usize, &'s SecretRead)> {
        self.reads()
            .filter(|(index, read)| read.denied_by_kms && !self.is_pass_through(*index))
            .map(|(index, read)| (index, &**read))
            .collect()
    }

    /// Pairs the Decrypts that were logged with their encryption context: only with a read of that
    /// secret.
    fn match_denied_secrets(&mut self, reads: &[(usize, &'s SecretRead)]) {
        let mut spellings = SpellingIds::default();
        let mut searches = Vec::new();
        for (index, read) in reads {
            for (target, secret) in named(read).iter().enumerate() {
                searches.push(SecretSearch {
                    assignment: PairAssignment {
                        read: *index,
                        target,
                    },
                    read,
                    secret,
                    spellings: ask_spellings(&mut spellings, secret),
                });
            }
        }
        let mut free = self.denied_by_secret(&spellings);
        for search in searches {
            if let Some(kms_decrypt) = search.first(&mut free, self) {
                self.give(kms_decrypt, search.assignment);
            }
        }
    }

    /// The denied Decrypts that name a secret which a denied read may mean.
    fn denied_by_secret(&self, spellings: &SpellingIds<'_>) -> Queues<DeniedKey<'s>> {
        let mut free = Queues::default();
        for (index, kms_decrypt) in self.kms_decrypts() {
            let Some(secret) = kms_decrypt
                .secret
                .as_ref()
                .filter(|_| is_denied(kms_decrypt))
            else {
                continue;
            };
            let key = KeyMatch::of(kms_decrypt);
            let found = filed(secret).into_iter();
            for spelling in found.filter_map(|spelling| spellings.known(&spelling)) {
                for version in [VersionKey::Any, VersionKey::of(kms_decrypt)] {
                    for key in [KeyMatch::Any, key] {
                        free.push((spelling, version, key, kms_decrypt.head.time), index);
                    }
                }
            }
        }
        free
    }

    /// The denied Decrypts without a read, in every bucket in which a search may find them.
    fn denied_by_bucket(&self) -> Queues<Bucket<'s>> {
        let mut free = Queues::default();
        // A Decrypt that failed for another reason is taken only if no denied one is left.
        for outcome in [CallOutcome::Denied, CallOutcome::Failed] {
            for (index, kms_decrypt) in self.kms_decrypts() {
                let is_one = is_denied(kms_decrypt) && kms_decrypt.head.outcome == outcome;
                if is_one && self.is_free(index) {
                    buckets(kms_decrypt).for_each(|bucket| free.push(bucket, index));
                }
            }
        }
        free
    }

    fn match_denied_read(
        &mut self,
        index: usize,
        read: &'s SecretRead,
        search: Search,
        free: &mut Queues<Bucket<'s>>,
    ) {
        // The first denied Decrypt ends the call, so that a read of several secrets has one.
        if self.has_taken_any(index) {
            return;
        }
        let Some(secret) = named(read).first() else {
            return;
        };
        let mut buckets = search.buckets(read, secret);
        let found = buckets.find_map(|bucket| free.first(&bucket, |used| self.is_free(used)));
        if let Some(kms_decrypt) = found {
            let assignment = PairAssignment {
                read: index,
                target: 0,
            };
            self.give(kms_decrypt, assignment);
        }
    }
}

/// Where a denied Decrypt that names its secret is filed: spelling, version, key, time.
type DeniedKey<'s> = (usize, VersionKey<'s>, KeyMatch<'s>, EventTime);

/// A secret that a denied read names.
struct SecretSearch<'s> {
    assignment: PairAssignment,
    read: &'s SecretRead,
    secret: &'s SecretRef,
    spellings: [Option<usize>; 3],
}

impl<'s> SecretSearch<'s> {
    /// The first free Decrypt of its second that fits.
    fn first(&self, free: &mut Queues<DeniedKey<'s>>, join: &JoinState<'_>) -> Option<usize> {
        let time = self.read.head.time;
        let keys = match known_key(self.read.denied_key.as_ref()) {
            Some(key) => [Some(KeyMatch::Is(key)), Some(KeyMatch::Unknown)],
            None => [Some(KeyMatch::Any), None],
        };
        let version = self.secret.version_id.as_deref();
        let keys = self.spellings.into_iter().flatten().flat_map(|spelling| {
            VersionKey::fitting(version).flat_map(move |version| {
                let keys = keys.into_iter().flatten();
                keys.map(move |key| (spelling, version, key, time))
            })
        });
        free.first_of(keys, |used| join.is_free(used))
    }
}

impl<'s> KeyMatch<'s> {
    /// What a Decrypt says about its key.
    fn of(kms_decrypt: &'s KmsDecrypt) -> Self {
        known_key(kms_decrypt.key_arn.as_ref()).map_or(Self::Unknown, Self::Is)
    }
}

impl Search {
    /// Where the denied Decrypt of a read would be, the best place first.
    fn buckets<'s>(
        self,
        read: &'s SecretRead,
        secret: &SecretRef,
    ) -> impl Iterator<Item = Bucket<'s>> + use<'s> {
        let key = match (known_key(read.denied_key.as_ref()), self.same_key) {
            (Some(key), true) => Some(KeyMatch::Is(key)),
            (None, true) => None,
            (Some(_), false) => Some(KeyMatch::Unknown),
            (None, false) => Some(KeyMatch::Any),
        };
        // A Decrypt that names a secret completes a read that does not. For a read that names one,
        // it would have been found by that secret.
        let named: &[bool] = if secret.name.is_none() {
            &[true, false]
        } else {
            &[false]
        };
        let store = (!self.internal).then_some(secret.store);
        let time = read.head.time;
        named.iter().filter_map(move |names_secret| {
            Some(Bucket {
                time,
                store,
                key: key?,
                names_secret: *names_secret,
            })
        })
    }
}

/// The buckets of a denied Decrypt.
fn buckets(kms_decrypt: &KmsDecrypt) -> impl Iterator<Item = Bucket<'_>> {
    let key = KeyMatch::of(kms_decrypt);
    let stores = stores(kms_decrypt).iter();
    stores.flat_map(move |store| {
        [key, KeyMatch::Any].map(|key| Bucket {
            time: kms_decrypt.head.time,
            store: *store,
            key,
            names_secret: kms_decrypt.secret.is_some(),
        })
    })
}

/// The store that called KMS, as values of [`Bucket::store`].
fn stores(kms_decrypt: &KmsDecrypt) -> &'static [Option<SecretStore>] {
    const PARAMETER_STORE: Option<SecretStore> = Some(SecretStore::Ssm);
    let via = kms_decrypt
        .head
        .principal
        .via
        .as_deref()
        .unwrap_or_default();
    match kms_decrypt.secret.as_ref().map(|secret| secret.store) {
        Some(SecretStore::SecretsManager) => &[Some(SecretStore::SecretsManager)],
        Some(SecretStore::Ssm) => &[PARAMETER_STORE],
        None if via.starts_with("secretsmanager.") => &[Some(SecretStore::SecretsManager)],
        None if via.starts_with("ssm.") => &[PARAMETER_STORE],
        // Parameter Store calls KMS as `AWS Internal`. A read of Secrets Manager may take such a
        // Decrypt only when no parameter did.
        None => &[PARAMETER_STORE, None],
    }
}

/// Whether a service failed to use the key for its caller.
fn is_denied(kms_decrypt: &KmsDecrypt) -> bool {
    kms_decrypt.head.outcome != CallOutcome::Success && !kms_decrypt.direct
}

/// The ARN of a key. An alias says nothing about which key it stands for.
fn known_key(arn: Option<&SharedStr>) -> Option<&str> {
    let is_key = |arn: &&str| ArnParts::parse(arn).is_some_and(|a| a.resource.starts_with("key/"));
    arn.map(|arn| &**arn).filter(is_key)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        correlate::join::tests::check,
        events_for_tests::{HOME, decrypt_secret, get_secret, read},
        observation::ReadRequest,
    };

    const KEYS: [&str; 3] = [
        "arn:aws:kms:eu-west-1:111122223333:key/a",
        "arn:aws:kms:eu-west-1:111122223333:key/b",
        "arn:aws:kms:eu-west-1:111122223333:alias/a",
    ];

    fn denied(read: SecretRead, key: Option<&str>) -> SecretRead {
        let mut head = (*read.head).clone();
        head.outcome = CallOutcome::Denied;
        SecretRead {
            head: Arc::new(head),
            decrypts: false,
            denied_by_kms: true,
            denied_key: key.map(Into::into),
            ..read
        }
    }

    fn denied_read(id: &str, secs: i64, key: Option<&str>) -> SecretRead {
        denied(get_secret(id, secs, "x"), key)
    }

    fn denied_parameters(id: &str, names: &[&str]) -> SecretRead {
        let secrets = names.iter().map(|name| SecretRef::parameter(name, HOME));
        let request = ReadRequest::Named(secrets.collect());
        denied(read(id, "GetParameters", 0, request), None)
    }

    fn unnamed(id: &str) -> SecretRead {
        let secret = SecretRef::unnamed(SecretStore::SecretsManager, HOME);
        let request = ReadRequest::Named(vec![secret]);
        denied(read(id, "GetSecretValue", 0, request), None)
    }

    /// As CloudTrail logs most of them: without a secret.
    fn denied_use(id: &str, secs: i64, via: &str, key: Option<&str>) -> KmsDecrypt {
        KmsDecrypt {
            secret: None,
            ..denied_use_of("x", id, secs, via, key)
        }
    }

    fn denied_use_of(name: &str, id: &str, secs: i64, via: &str, key: Option<&str>) -> KmsDecrypt {
        let mut kms_decrypt = decrypt_secret(id, secs, name);
        let head = Arc::make_mut(&mut kms_decrypt.head);
        head.outcome = CallOutcome::Denied;
        Arc::make_mut(&mut head.principal).via = Some(via.into());
        kms_decrypt.key_arn = key.map(Into::into);
        kms_decrypt
    }

    const SECRETS: &str = "secretsmanager.amazonaws.com";
    const PARAMETERS: &str = "ssm.amazonaws.com";
    const INTERNAL: &str = "AWS Internal";

    #[test]
    fn denied_halves_join_by_their_second_each_once() {
        let reads = [
            denied_read("r1", 0, None),
            denied_read("r2", 0, None),
            denied_read("r3", 1, None),
        ];
        let direct = KmsDecrypt {
            direct: true,
            ..denied_use("k3", 1, SECRETS, None)
        };
        let uses = [
            denied_use("k1", 0, SECRETS, None),
            denied_use("k2", 0, SECRETS, None),
            direct,
            denied_use("k4", 2, SECRETS, None),
        ];
        check(&reads, &uses, &["r1+k1", "r2+k2", "r3-"]);
    }

    #[test]
    fn the_key_that_both_name_decides_and_an_alias_names_none() {
        let [a, b, alias] = KEYS.map(Some);
        let reads = [
            denied_read("r1", 0, b),
            denied_read("r2", 0, None),
            denied_read("r3", 0, a),
        ];
        let uses = [
            denied_use("k1", 0, SECRETS, a),
            denied_use("k2", 0, SECRETS, alias),
            denied_use("k3", 0, SECRETS, b),
        ];
        check(&reads, &uses, &["r1+k3", "r2+k2", "r3+k1"]);
        check(&reads[..1], &uses[..1], &["r1-"]);
        check(&reads[..1], &uses[1..2], &["r1+k2"]);
        check(&[denied_read("r", 0, alias)], &uses[..1], &["r+k1"]);
    }

    #[test]
    fn the_store_that_called_kms_decides_and_aws_internal_is_parameter_store_first() {
        let reads = [denied_read("r1", 0, None), denied_parameters("r2", &["/x"])];
        let uses = [
            denied_use("k1", 0, PARAMETERS, None),
            denied_use("k2", 0, SECRETS, None),
        ];
        check(&reads, &uses, &["r1+k2", "r2+k1"]);
        check(&reads, &uses[..1], &["r1-", "r2+k1"]);
        let internal = [
            denied_use("k1", 0, INTERNAL, None),
            denied_use("k2", 0, INTERNAL, None),
        ];
        check(&reads, &internal[..1], &["r1-", "r2+k1"]);
        check(&reads, &internal, &["r1+k2", "r2+k1"]);
    }

    #[test]
    fn a_context_that_was_logged_decides_and_names_the_secret() {
        let reads = [
            denied(get_secret("r1", 0, "x"), None),
            denied(get_secret("r2", 0, "y"), None),
            unnamed("r3"),
        ];
        let uses = [
            denied_use_of("y", "k1", 0, SECRETS, None),
            denied_use_of("z", "k2", 0, SECRETS, None),
            denied_use("k3", 0, SECRETS, None),
        ];
        check(&reads, &uses, &["r1+k3", "r2+k1", "r3+k2"]);
        // Another secret, and the same one with another key.
        let other = denied_use_of("z", "k", 0, SECRETS, Some(KEYS[1]));
        check(&reads[..1], std::slice::from_ref(&other), &["+k", "r1-"]);
        let with_key = denied(get_secret("r", 0, "z"), Some(KEYS[0]));
        check(&[with_key], std::slice::from_ref(&other), &["+k", "r-"]);
        let mut group = crate::correlate::CorrelationGroup::default();
        group.reads.push(Arc::new(unnamed("r")));
        group.kms_decrypts.push(Arc::new(other));
        let rows = crate::correlate::correlate(group).rows;
        assert_eq!(rows[0].access.secret.name.as_deref(), Some("z"));
        assert_eq!(rows[0].access.asked, named(&unnamed("r"))[0].key());
    }

    #[test]
    fn a_read_of_several_secrets_has_one_denied_kms_decrypt() {
        let reads = [
            denied_parameters("r1", &["/a", "/b"]),
            denied_parameters("r2", &["/a"]),
        ];
        let uses = [
            denied_use("k1", 0, INTERNAL, None),
            denied_use("k2", 0, INTERNAL, None),
        ];
        check(&reads, &uses, &["r1+k1", "r1-", "r2+k2"]);
    }

    #[test]
    fn a_kms_decrypt_that_failed_otherwise_is_taken_last() {
        let mut failed = denied_use("k1", 0, SECRETS, None);
        Arc::make_mut(&mut failed.head).outcome = CallOutcome::Failed;
        let denied = denied_use("k2", 0, SECRETS, None);
        let reads = [denied_read("r1", 0, None), denied_read("r2", 0, None)];
        check(&reads[..1], &[failed.clone(), denied.clone()], &["r1+k2"]);
        check(&reads, &[failed, denied], &["r1+k2", "r2+k1"]);
    }

    #[test]
    fn a_denied_read_that_parameter_store_passed_on_takes_nothing() {
        let reference = "/aws/reference/secretsmanager/x";
        let request = ReadRequest::Named(vec![SecretRef::parameter(reference, HOME)]);
        let asked = denied(read("r", "GetParameter", 0, request), None);
        let mut passed_on = denied_read("a", 0, None);
        let mut head = (*passed_on.head).clone();
        Arc::make_mut(&mut head.principal).via = Some(PARAMETERS.into());
        passed_on.head = Arc::new(head);
        let uses = [denied_use("k", 0, SECRETS, None)];
        check(&[asked, passed_on], &uses, &["r+k"]);
    }
}
