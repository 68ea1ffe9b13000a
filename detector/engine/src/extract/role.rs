//! Which calls concern us, and what each of them is to us.

use crate::ids::Store;

/// What kind of observation a call may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A read from this store.
    Read(Store),
    /// A KMS `Decrypt`.
    KeyUse,
    /// A change.
    Change {
        /// Whether the call decrypts the secret itself.
        decrypts: bool,
    },
}

/// The table of what concerns us, by `eventSource` and `eventName`. `decrypts` marks changes that
/// decrypt the secret themselves (Secrets Manager user guide, "Secret encryption and decryption").
#[must_use]
pub fn role(source: &str, api: &str) -> Option<Role> {
    match (service(source), api) {
        ("secretsmanager", "GetSecretValue" | "BatchGetSecretValue") => {
            Some(Role::Read(Store::SecretsManager))
        }
        (
            "ssm",
            "GetParameter" | "GetParameters" | "GetParametersByPath" | "GetParameterHistory",
        ) => Some(Role::Read(Store::Ssm)),
        ("kms", "Decrypt") => Some(Role::KeyUse),
        (
            "secretsmanager",
            "PutSecretValue" | "UpdateSecret" | "ReplicateSecretToRegions" | "CreateSecret",
        ) => Some(Role::Change { decrypts: true }),
        (
            "secretsmanager",
            "PutResourcePolicy"
            | "DeleteResourcePolicy"
            | "UpdateSecretVersionStage"
            | "RemoveRegionsFromReplication"
            | "StopReplicationToReplica"
            | "RotateSecret"
            | "CancelRotateSecret"
            | "DeleteSecret"
            | "RestoreSecret"
            | "TagResource"
            | "UntagResource",
        )
        | (
            "ssm",
            "PutParameter"
            | "DeleteParameter"
            | "DeleteParameters"
            | "LabelParameterVersion"
            | "PutResourcePolicy"
            | "DeleteResourcePolicy",
        )
        | ("kms", "PutKeyPolicy" | "DisableKey" | "ScheduleKeyDeletion")
        | (
            "cloudtrail",
            "PutEventSelectors"
            | "StopLogging"
            | "DeleteTrail"
            | "UpdateTrail"
            | "StopEventDataStoreIngestion"
            | "DeleteEventDataStore",
        ) => Some(Role::Change { decrypts: false }),
        _ => None,
    }
}

/// The store of secrets whose calls an `eventSource` has; `None` for other services.
pub(super) fn store(source: &str) -> Option<Store> {
    match service(source) {
        "secretsmanager" => Some(Store::SecretsManager),
        "ssm" => Some(Store::Ssm),
        _ => None,
    }
}

/// `kms` of `kms.amazonaws.com`. What follows differs between partitions.
fn service(source: &str) -> &str {
    source.split('.').next().unwrap_or_default()
}
