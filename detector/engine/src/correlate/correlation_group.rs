//! Correlation groups: the events of one actor in one region, found by time and secret.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use ahash::HashMap;

use crate::ids::{SecretPlace, SecretRef, SecretStore};
use crate::limits::PAIRING_TOLERANCE_SECS;
use crate::observation::{
    CallOutcome, EventHeader, KmsDecrypt, ReadRequest, SecretChange, SecretRead,
};
use crate::time::EventTime;

/// The events of one actor in one region. Each event is listed once, in any order.
#[derive(Debug, Default)]
pub struct CorrelationGroup {
    /// Secret reads.
    pub reads: Vec<Arc<SecretRead>>,
    /// KMS Decrypts.
    pub kms_decrypts: Vec<Arc<KmsDecrypt>>,
    /// Changes that decrypt secrets themselves.
    pub changes: Vec<Arc<SecretChange>>,
}

impl CorrelationGroup {
    /// Sorts the events by time, then event id.
    pub(super) fn sort(&mut self) {
        self.reads.sort_by(|a, b| by_time(&a.head, &b.head));
        self.kms_decrypts.sort_by(|a, b| by_time(&a.head, &b.head));
        self.changes.sort_by(|a, b| by_time(&a.head, &b.head));
    }
}

fn by_time(a: &EventHeader, b: &EventHeader) -> Ordering {
    (a.time, &a.event_id).cmp(&(b.time, &b.event_id))
}

/// A KMS Decrypt and its index in the group.
pub(super) type IndexedDecrypt<'s> = (usize, &'s Arc<KmsDecrypt>);

/// A sorted group in which events are found by time and secret.
pub(super) struct CorrelationIndex<'s> {
    pub(super) correlation_group: &'s CorrelationGroup,
    /// KMS Decrypts that a read may expect, by secret, in time order.
    uses_by_secret: HashMap<SecretPlace<'s>, Vec<usize>>,
}

impl<'s> CorrelationIndex<'s> {
    pub(super) fn new(correlation_group: &'s CorrelationGroup) -> Self {
        let mut uses_by_secret: HashMap<SecretPlace<'s>, Vec<usize>> = HashMap::default();
        for (index, kms_decrypt) in correlation_group.kms_decrypts.iter().enumerate() {
            if let (Some(secret), true) = (&kms_decrypt.secret, is_plain(kms_decrypt)) {
                uses_by_secret
                    .entry(secret.place())
                    .or_default()
                    .push(index);
            }
        }
        Self {
            correlation_group,
            uses_by_secret,
        }
    }

    /// KMS Decrypts within the tolerance for any secret that a reference may mean, whatever their
    /// version.
    pub(super) fn uses_of<'t>(
        &'t self,
        secret: &'t SecretRef,
        time: EventTime,
    ) -> impl Iterator<Item = IndexedDecrypt<'s>> + use<'t, 's> {
        // The typed name and the name in the ARN may differ: `oauth-client` looks like `oauth` with
        // a random suffix. Both are looked up, and `fits` compares the ARNs.
        secret.places().flat_map(move |place| {
            let all = self.uses_by_secret.get(&place);
            let all = all.map(Vec::as_slice).unwrap_or_default();
            let near = near(all, time, |index| self.use_time(*index));
            let near = all.get(near).unwrap_or_default().iter();
            near.filter_map(|index| {
                Some((*index, self.correlation_group.kms_decrypts.get(*index)?))
            })
        })
    }

    fn use_time(&self, index: usize) -> EventTime {
        let kms_decrypt = self.correlation_group.kms_decrypts.get(index);
        kms_decrypt.map_or(EventTime(0), |kms_decrypt| kms_decrypt.head.time)
    }

    /// KMS Decrypts within the tolerance for any secret.
    pub(super) fn uses_near(
        &self,
        time: EventTime,
    ) -> impl Iterator<Item = IndexedDecrypt<'s>> + use<'s> {
        indexed_near(&self.correlation_group.kms_decrypts, time, |kms_decrypt| {
            kms_decrypt.head.time
        })
        .filter(|(_, kms_decrypt)| is_plain(kms_decrypt) && kms_decrypt.secret.is_some())
    }

    /// Reads within the tolerance, with their index in the group.
    pub(super) fn reads_near(
        &self,
        time: EventTime,
    ) -> impl Iterator<Item = (usize, &'s Arc<SecretRead>)> + use<'s> {
        indexed_near(&self.correlation_group.reads, time, |read| read.head.time)
    }

    /// Whether a change of the same secret explains a KMS Decrypt: `PutSecretValue` compares with
    /// an existing version, `UpdateSecret` re-encrypts, and neither returns the value.
    pub(super) fn is_explained(&self, kms_decrypt: &KmsDecrypt, secret: &SecretRef) -> bool {
        // In both directions: the clocks of two services differ, so a change may be dated after its
        // Decrypt.
        indexed_near(
            &self.correlation_group.changes,
            kms_decrypt.head.time,
            |c| c.head.time,
        )
        .any(|(_, change)| {
            let changed = change.secret.as_ref().filter(|_| change.decrypts);
            changed.is_some_and(|changed| changed.agrees_with(secret))
        })
    }

    /// Whether this is a `GetSecretValue` that Parameter Store made for a `GetParameter` of the
    /// same secret: one read, logged twice.
    pub(super) fn is_pass_through(&self, read: &SecretRead) -> bool {
        // Parameter Store calls on behalf of its caller, so that the record has an `invokedBy`.
        let Some(secret) = get_secret_value(read).filter(|_| read.head.principal.via.is_some())
        else {
            return false;
        };
        self.reads_near(read.head.time).any(|(_, other)| {
            let refers = match &other.request {
                ReadRequest::Named(named) => named.iter().any(|s| s.agrees_with(secret)),
                _ => false,
            };
            refers && other.head.api.starts_with("GetParameter")
        })
    }
}

/// The range of the items within the tolerance, in a list sorted by time.
fn near<T>(sorted: &[T], time: EventTime, time_of: impl Fn(&T) -> EventTime) -> Range<usize> {
    let (from, to) = (
        time.plus(-PAIRING_TOLERANCE_SECS),
        time.plus(PAIRING_TOLERANCE_SECS),
    );
    sorted.partition_point(|item| time_of(item) < from)
        ..sorted.partition_point(|item| time_of(item) <= to)
}

fn indexed_near<T>(
    sorted: &[T],
    time: EventTime,
    time_of: impl Fn(&T) -> EventTime,
) -> impl Iterator<Item = (usize, &T)> {
    let near = near(sorted, time, time_of);
    sorted.iter().enumerate().skip(near.start).take(near.len())
}

/// The secret of a `GetSecretValue`; `None` for every other call.
pub(super) fn get_secret_value(read: &SecretRead) -> Option<&SecretRef> {
    match &read.request {
        ReadRequest::Named(secrets) if &*read.head.api == "GetSecretValue" => {
            match secrets.as_slice() {
                [secret] => Some(secret),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Whether a read may expect it: a successful KMS Decrypt by a service on behalf of its caller.
fn is_plain(kms_decrypt: &KmsDecrypt) -> bool {
    !kms_decrypt.direct && kms_decrypt.head.outcome == CallOutcome::Success
}

/// Whether a KMS Decrypt matches the ARN and the version that a read names.
pub(super) fn fits(kms_decrypt: &KmsDecrypt, secret: &SecretRef) -> bool {
    // Few reads name a version, and KMS Decrypts of parameters have none: a missing version
    // matches.
    let version = match (&secret.version_id, &kms_decrypt.version_id) {
        (Some(asked), Some(used)) => asked == used,
        _ => true,
    };
    let used = kms_decrypt.secret.as_ref();
    version && used.is_some_and(|used| secret.is_completed_by(used))
}

/// Whether a KMS Decrypt was for a secret in Secrets Manager.
pub(super) fn is_of_secrets_manager(kms_decrypt: &KmsDecrypt) -> bool {
    let secret = kms_decrypt.secret.as_ref();
    secret.is_some_and(|secret| secret.store == SecretStore::SecretsManager)
}

/// Whether a KMS Decrypt was for a parameter under a path: at any depth if `recursive`, else
/// directly.
pub(super) fn is_under(kms_decrypt: &KmsDecrypt, path: &SecretRef, recursive: bool) -> bool {
    let Some(secret) = kms_decrypt.secret.as_ref().filter(|secret| {
        secret.store == path.store && secret.account == path.account && secret.region == path.region
    }) else {
        return false;
    };
    // A parameter at the root may be written with or without its slash, and a path with or without
    // a slash at its end.
    let name = secret.name.as_deref().unwrap_or_default();
    let name = name.trim_start_matches('/');
    let folder = path.name.as_deref().unwrap_or_default().trim_matches('/');
    let below = if folder.is_empty() {
        Some(name)
    } else {
        // The slash must follow: `/app` does not contain `/apple`.
        name.strip_prefix(folder)
            .and_then(|rest| rest.strip_prefix('/'))
    };
    below.is_some_and(|rest| recursive || !rest.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events_for_tests::{HOME, decrypt_parameter, decrypt_secret, get_secret};

    #[test]
    fn both_ends_of_the_tolerance_are_near() {
        let times = [0, 5, 10, 10, 15, 20].map(EventTime);
        assert_eq!(near(&times, EventTime(10), |time| *time), 1..5);
        assert_eq!(near(&times, EventTime(-6), |time| *time), 0..0);
        assert_eq!(near(&times, EventTime(26), |time| *time), 6..6);
        // Times at the ends of the range do not wrap around.
        assert_eq!(near(&times, EventTime(i64::MAX), |time| *time), 6..6);
        assert_eq!(near(&times, EventTime(i64::MIN), |time| *time), 0..0);
    }

    #[test]
    fn a_secret_is_found_by_the_name_that_its_arn_may_have() {
        let mut correlation_group = CorrelationGroup::default();
        for (id, name) in [
            ("k1", "prod/oauth"),
            ("k2", "prod/oauth-client"),
            ("k3", "x"),
        ] {
            correlation_group
                .kms_decrypts
                .push(Arc::new(decrypt_secret(id, 0, name)));
        }
        let arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/oauth-client";
        let asked = SecretRef::secret(arn, HOME);
        let index = CorrelationIndex::new(&correlation_group);
        let mut fitting = Vec::new();
        for (_, kms_decrypt) in index.uses_of(&asked, EventTime(0)) {
            fitting.push((&*kms_decrypt.head.event_id, fits(kms_decrypt, &asked)));
        }
        assert_eq!(fitting, [("k1", false), ("k2", true)]);
    }

    #[test]
    fn kms_decrypts_that_no_read_expects_are_not_found() {
        let mut correlation_group = CorrelationGroup::default();
        let plain = decrypt_secret("k1", 0, "x");
        let mut denied = decrypt_secret("k2", 0, "x");
        Arc::make_mut(&mut denied.head).outcome = CallOutcome::Denied;
        let direct = KmsDecrypt {
            direct: true,
            ..decrypt_secret("k3", 0, "x")
        };
        correlation_group
            .kms_decrypts
            .extend([plain, denied, direct].map(Arc::new));
        let index = CorrelationIndex::new(&correlation_group);
        let asked = get_secret("r", 0, "x");
        let secret = get_secret_value(&asked).unwrap();
        assert_eq!(index.uses_of(secret, EventTime(0)).count(), 1);
        assert_eq!(index.uses_near(EventTime(0)).count(), 1);
    }

    #[test]
    fn a_path_holds_what_is_below_it_and_nothing_that_only_begins_so() {
        let cases = [
            ("/app", "/app/a", true, true),
            ("/app", "/app/a/b", true, false),
            ("/app/", "/app/a", true, true),
            ("/app", "/apple", false, false),
            ("/app", "/app", false, false),
            ("/", "root", true, true),
            ("/", "/app/a", true, false),
        ];
        for (path, name, recursive, direct) in cases {
            let path = SecretRef::parameter(path, HOME);
            let kms_decrypt = decrypt_parameter("k", 0, name);
            assert_eq!(
                is_under(&kms_decrypt, &path, true),
                recursive,
                "{path:?} {name}"
            );
            assert_eq!(
                is_under(&kms_decrypt, &path, false),
                direct,
                "{path:?} {name}"
            );
        }
        let elsewhere = SecretRef {
            region: "us-east-1".into(),
            ..SecretRef::parameter("/app", HOME)
        };
        assert!(!is_under(
            &decrypt_parameter("k", 0, "/app/a"),
            &elsewhere,
            true
        ));
        assert!(!is_under(
            &decrypt_secret("k", 0, "app/a"),
            &elsewhere,
            true
        ));
    }
}
