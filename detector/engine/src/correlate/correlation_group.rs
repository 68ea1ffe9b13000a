//! Correlation groups: the events of one actor in one region, and what kind of event takes part in
//! which step.

use std::{cmp::Ordering, sync::Arc};

use crate::{
    ids::{SecretRef, SecretStore},
    observation::{CallOutcome, EventHeader, KmsDecrypt, ReadRequest, SecretChange, SecretRead},
};

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
    /// Sorts the events by time, then by what they are.
    pub(super) fn sort(&mut self) {
        self.reads.sort_by(|a, b| by_time(&a.head, &b.head));
        self.kms_decrypts.sort_by(|a, b| by_time(&a.head, &b.head));
        self.changes.sort_by(|a, b| by_time(&a.head, &b.head));
    }
}

fn by_time(a: &EventHeader, b: &EventHeader) -> Ordering {
    // Different events may claim one id.
    let key = |head: &EventHeader| (head.event, head.content);
    (a.time, &a.event_id, key(a)).cmp(&(b.time, &b.event_id, key(b)))
}

/// The secrets that a read names.
pub(super) fn named(read: &SecretRead) -> &[SecretRef] {
    match &read.request {
        ReadRequest::Named(secrets) | ReadRequest::Batch(secrets) => secrets,
        _ => &[],
    }
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
pub(super) fn is_plain(kms_decrypt: &KmsDecrypt) -> bool {
    !kms_decrypt.direct && kms_decrypt.head.outcome == CallOutcome::Success
}

/// Whether a KMS Decrypt was for a secret in Secrets Manager.
pub(super) fn is_of_secrets_manager(kms_decrypt: &KmsDecrypt) -> bool {
    let secret = kms_decrypt.secret.as_ref();
    secret.is_some_and(|secret| secret.store == SecretStore::SecretsManager)
}
