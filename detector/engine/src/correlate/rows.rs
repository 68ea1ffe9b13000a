//! The result of correlation: accesses, each with its source records.

use std::{ops::Range, sync::Arc};

use crate::{
    access::{Access, AccessDecrypt, AccessMethod, DecryptStatus},
    correlate::{
        correlation_group::CorrelationGroup,
        join::{JoinState, PairAssignment},
        near::SecretTimes,
    },
    ids::{ArnParts, RecordHome, SecretKey, SecretRef, SecretStore},
    observation::{CallOutcome, EventHeader, KmsDecrypt, ReadRequest, SecretRead},
    time::EventTime,
};

/// An access and its source records.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessRow {
    /// The access.
    pub access: Arc<Access>,
    /// Header of the read; `None` for a lone KMS Decrypt.
    pub read: Option<Arc<EventHeader>>,
    /// Header of the KMS Decrypt, if there is one.
    pub kms_decrypt: Option<Arc<EventHeader>>,
    /// Whether a missing KMS Decrypt would prove anything, given KMS coverage.
    pub absence_proves: bool,
}

/// The result for one correlation group.
#[derive(Debug, Default)]
pub struct CorrelationResult {
    /// The accesses.
    pub rows: Vec<AccessRow>,
    /// KMS Decrypts that a change of the same secret explains: not reads.
    pub explained: Vec<Arc<EventHeader>>,
}

impl JoinState<'_> {
    /// Creates an access for each secret of each read, and for each KMS Decrypt without a read,
    /// of these times.
    pub(super) fn into_rows(self, times: &Range<EventTime>) -> CorrelationResult {
        let mut paired = CorrelationResult::default();
        for (index, read) in self.reads() {
            if times.contains(&read.head.time) && !self.is_pass_through(index) {
                self.add_rows(index, read, &mut paired.rows);
            }
        }
        let changed = changed(self.group);
        for (index, kms_decrypt) in self.kms_decrypts() {
            if times.contains(&kms_decrypt.head.time) && self.is_free(index) {
                add_lone(kms_decrypt, &changed, &mut paired);
            }
        }
        paired
    }

    fn add_rows(&self, index: usize, read: &SecretRead, rows: &mut Vec<AccessRow>) {
        match &read.request {
            ReadRequest::Named(secrets) => {
                let method = self.method_of(index);
                self.add_named_rows(index, read, method, secrets, rows);
            }
            ReadRequest::Batch(secrets) => {
                self.add_named_rows(index, read, AccessMethod::Batch, secrets, rows)
            }
            ReadRequest::BatchFilters => {
                // The children are its accesses: it has none of its own unless it has a KMS
                // Decrypt.
                if self.uses_given_to(index).is_empty() && self.has_children(index) {
                    return;
                }
                let unnamed = somewhere(&read.head);
                self.add_reported_rows(index, read, AccessMethod::Batch, &unnamed, rows);
            }
            ReadRequest::Path { path, .. } => {
                self.add_reported_rows(index, read, AccessMethod::ByPath, path, rows)
            }
            ReadRequest::History(secret) => {
                self.add_reported_rows(index, read, AccessMethod::History, secret, rows);
            }
        }
    }

    /// A read that a batch caused looks like any other; only the join distinguishes them.
    fn method_of(&self, read: usize) -> AccessMethod {
        if self.batch_of(read).is_some() {
            AccessMethod::Batch
        } else {
            AccessMethod::Api
        }
    }

    /// One row for each secret that the read names.
    fn add_named_rows(
        &self,
        index: usize,
        read: &SecretRead,
        method: AccessMethod,
        secrets: &[SecretRef],
        rows: &mut Vec<AccessRow>,
    ) {
        for (target, secret) in secrets.iter().enumerate() {
            let assignment = PairAssignment {
                read: index,
                target,
            };
            // The child has a row of its own, and each secret is counted once.
            if self.is_claimed(assignment) {
                continue;
            }
            let kms_decrypt = self.use_taken_by(assignment);
            let kms_decrypt = kms_decrypt.and_then(|index| self.group.kms_decrypts.get(index));
            let full = kms_decrypt.and_then(|kms_decrypt| kms_decrypt.secret.as_ref());
            let mut known = full.map_or_else(|| secret.clone(), |full| secret.completed(full));
            // The version that was revealed, where the request does not say which it wants.
            let revealed = kms_decrypt.and_then(|kms_decrypt| kms_decrypt.version_id.as_ref());
            known.version_id = known.version_id.or_else(|| revealed.cloned());
            let mut row = row(read, method, known, secret.key(), kms_decrypt);
            if secret.version_id.is_some() {
                Arc::make_mut(&mut row.access).asked_version = true;
            }
            rows.push(row);
        }
    }

    /// One row for each KMS Decrypt, which shows a returned secret; without any, one row for the
    /// request.
    fn add_reported_rows(
        &self,
        index: usize,
        read: &SecretRead,
        method: AccessMethod,
        asked: &SecretRef,
        rows: &mut Vec<AccessRow>,
    ) {
        let uses = self.uses_given_to(index);
        if uses.is_empty() {
            rows.push(row(read, method, asked.clone(), asked.key(), None));
        }
        let uses = uses.iter();
        for kms_decrypt in uses.filter_map(|index| self.group.kms_decrypts.get(*index)) {
            let mut secret = kms_decrypt.secret.as_ref().unwrap_or(asked).clone();
            secret.version_id = kms_decrypt.version_id.clone().or(secret.version_id);
            let key = secret.key();
            rows.push(row(read, method, secret, key, Some(kms_decrypt)));
        }
    }
}

/// Where a change of a secret explains a KMS Decrypt: `PutSecretValue` compares with an existing
/// version, `UpdateSecret` re-encrypts, and neither returns the value.
fn changed(group: &CorrelationGroup) -> SecretTimes<'_> {
    let mut changed = SecretTimes::default();
    for change in group.changes.iter().filter(|change| change.decrypts) {
        if let Some(secret) = &change.secret {
            changed.add(secret, change.head.time);
        }
    }
    changed
}

/// Adds a KMS Decrypt without a read.
fn add_lone(kms_decrypt: &KmsDecrypt, changed: &SecretTimes<'_>, paired: &mut CorrelationResult) {
    // Most denied ones are logged without a secret, and reveal nothing.
    let Some(secret) = &kms_decrypt.secret else {
        return;
    };
    // A change decrypts through its service. A direct call to KMS with the ciphertext is
    // deliberate, whatever changed around it.
    let method = if kms_decrypt.direct {
        AccessMethod::DirectDecrypt
    } else if changed.has_near(secret, kms_decrypt.head.time) {
        paired.explained.push(kms_decrypt.head.clone());
        return;
    } else {
        AccessMethod::DecryptOnly
    };
    paired.rows.push(alone(kms_decrypt, secret, method));
}

/// A secret of which only the account and region are known: those of the record.
fn somewhere(head: &EventHeader) -> SecretRef {
    let arn = head.principal.actor.as_deref().and_then(ArnParts::parse);
    let home = RecordHome {
        partition: arn.map_or("aws", |arn| arn.partition),
        account: &head.account,
        region: &head.region,
    };
    SecretRef::unnamed(SecretStore::SecretsManager, home)
}

/// The access of a KMS Decrypt without a read.
#[must_use]
pub fn alone(kms_decrypt: &KmsDecrypt, secret: &SecretRef, method: AccessMethod) -> AccessRow {
    let decrypt = AccessDecrypt {
        key_arn: kms_decrypt.key_arn.clone(),
        ..AccessDecrypt::only(DecryptStatus::NotExpected)
    };
    let secret = SecretRef {
        version_id: kms_decrypt.version_id.clone(),
        ..secret.clone()
    };
    let access = Arc::new(Access {
        head: kms_decrypt.head.clone(),
        method,
        asked: secret.key(),
        asked_version: false,
        secret,
        decrypt,
    });
    AccessRow {
        access,
        read: None,
        kms_decrypt: Some(kms_decrypt.head.clone()),
        absence_proves: false,
    }
}

/// The access of a read and its KMS Decrypt, if one was found. `asked` is the identity of the
/// secret in the request.
#[must_use]
pub fn row(
    read: &SecretRead,
    method: AccessMethod,
    secret: SecretRef,
    asked: SecretKey,
    kms_decrypt: Option<&Arc<KmsDecrypt>>,
) -> AccessRow {
    // A failed call names what it asked for, if anything; its API says how it asked.
    let is_failed = read.head.outcome != CallOutcome::Success;
    let method = match AccessMethod::of_api(&read.head.api) {
        Some(asked) if is_failed && method == AccessMethod::Api => asked,
        _ => method,
    };
    // Only a single read of Secrets Manager always decrypts: a batch may reuse a data key, and a
    // parameter may be plain text even if it was requested with decryption.
    let always_decrypts =
        method == AccessMethod::Api && secret.store == SecretStore::SecretsManager;
    let absence_proves = always_decrypts && tells_group(&read.head);
    AccessRow {
        access: Arc::new(Access {
            head: read.head.clone(),
            method,
            secret,
            asked,
            asked_version: false,
            decrypt: decrypt_of(read, kms_decrypt),
        }),
        read: Some(read.head.clone()),
        kms_decrypt: kms_decrypt.map(|k| k.head.clone()),
        absence_proves,
    }
}

/// Whether a record says who called and where: the Decrypt of a row of a query without these
/// columns may be in another correlation group.
fn tells_group(head: &EventHeader) -> bool {
    let principal = &head.principal;
    let has_caller = principal.actor.is_some() || principal.principal_id.is_some();
    has_caller && !head.region.is_empty()
}

fn decrypt_of(read: &SecretRead, kms_decrypt: Option<&Arc<KmsDecrypt>>) -> AccessDecrypt {
    match kms_decrypt {
        Some(kms_decrypt) => AccessDecrypt {
            status: DecryptStatus::Paired,
            event_id: Some(kms_decrypt.head.event_id.clone()),
            key_arn: kms_decrypt
                .key_arn
                .clone()
                .or_else(|| read.denied_key.clone()),
            delta_secs: Some(kms_decrypt.head.time.0.saturating_sub(read.head.time.0)),
        },
        None if read.decrypts || read.denied_by_kms => AccessDecrypt::only(DecryptStatus::Pending),
        None => AccessDecrypt::only(DecryptStatus::NotExpected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events_for_tests::{
        decrypt_parameter, decrypt_secret, full_secret, get_secret, head, read,
    };

    #[test]
    fn a_kms_decrypt_that_completed_first_lies_before_its_read() {
        let (read, kms_decrypt) = (get_secret("r", 10, "x"), decrypt_secret("k", 9, "x"));
        let secret = full_secret("x");
        let key = secret.key();
        let row = row(
            &read,
            AccessMethod::Api,
            secret,
            key,
            Some(&Arc::new(kms_decrypt)),
        );
        let decrypt = &row.access.decrypt;
        assert_eq!(
            (decrypt.status, decrypt.delta_secs),
            (DecryptStatus::Paired, Some(-1))
        );
        assert_eq!(decrypt.event_id.as_deref(), Some("k"));
    }

    #[test]
    fn the_key_of_a_denied_pair_is_the_one_that_either_half_names() {
        let key = |denied: Option<&str>, used: Option<&str>| {
            let mut read = get_secret("r", 0, "x");
            read.denied_key = denied.map(Into::into);
            let mut kms_decrypt = decrypt_secret("k", 0, "x");
            kms_decrypt.key_arn = used.map(Into::into);
            decrypt_of(&read, Some(&Arc::new(kms_decrypt))).key_arn
        };
        assert_eq!(key(Some("a"), None).as_deref(), Some("a"));
        assert_eq!(key(Some("alias"), Some("k")).as_deref(), Some("k"));
        assert_eq!(key(None, None), None);
    }

    #[test]
    fn only_a_single_read_of_secrets_manager_proves_anything() {
        let proves = |method, secret: SecretRef| {
            let read = read("r", "x", 0, ReadRequest::Named(vec![secret.clone()]));
            let key = secret.key();
            row(&read, method, secret, key, None).absence_proves
        };
        let parameter = decrypt_parameter("k", 0, "/app/x").secret.unwrap();
        assert!(proves(AccessMethod::Api, full_secret("x")));
        assert!(!proves(AccessMethod::Batch, full_secret("x")));
        assert!(!proves(AccessMethod::Api, parameter));
    }

    #[test]
    fn what_stands_for_itself_knows_its_version_and_expects_nothing() {
        let kms_decrypt = KmsDecrypt {
            version_id: Some("v2".into()),
            key_arn: Some("arn:aws:kms:eu-west-1:1:key/k".into()),
            ..decrypt_secret("k", 0, "x")
        };
        let row = alone(&kms_decrypt, &full_secret("x"), AccessMethod::DirectDecrypt);
        assert_eq!(row.access.secret.version_id.as_deref(), Some("v2"));
        assert_eq!(row.access.decrypt.status, DecryptStatus::NotExpected);
        assert_eq!(row.access.decrypt.key_arn, kms_decrypt.key_arn);
        assert!(row.read.is_none() && !row.absence_proves);
    }

    #[test]
    fn a_secret_without_a_name_is_where_its_record_is() {
        let mut head = head("b", "BatchGetSecretValue", 0);
        assert_eq!(&*somewhere(&head).partition, "aws");
        let actor = "arn:aws-cn:sts::111122223333:assumed-role/app/s";
        Arc::make_mut(&mut head.principal).actor = Some(actor.into());
        let secret = somewhere(&head);
        assert_eq!(
            (&*secret.partition, &secret.region),
            ("aws-cn", &head.region)
        );
        assert_eq!(secret.name, None);
    }
}
