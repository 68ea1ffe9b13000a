//! Which calls concern us, and what each of them is to us.

use crate::ids::SecretStore;

/// What kind of observation a call may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallRole {
    /// A read from this store.
    Read(SecretStore),
    /// A KMS `Decrypt`.
    KmsDecrypt,
    /// A change.
    Change {
        /// Whether the call decrypts the secret itself.
        decrypts: bool,
    },
}

/// The table of what concerns us, by `eventSource` and `eventName`. `decrypts` marks changes that
/// decrypt the secret themselves (Secrets Manager user guide, "Secret encryption and decryption").
#[must_use]
pub fn role(source: &str, api: &str) -> Option<CallRole> {
    match (service(source), api) {
        ("secretsmanager", "GetSecretValue" | "BatchGetSecretValue") => {
            Some(CallRole::Read(SecretStore::SecretsManager))
        }
        (
            "ssm",
            "GetParameter" | "GetParameters" | "GetParametersByPath" | "GetParameterHistory",
        ) => Some(CallRole::Read(SecretStore::Ssm)),
        ("kms", "Decrypt") => Some(CallRole::KmsDecrypt),
        (
            "secretsmanager",
            "PutSecretValue" | "UpdateSecret" | "ReplicateSecretToRegions" | "CreateSecret",
        ) => Some(CallRole::Change { decrypts: true }),
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
        ) => Some(CallRole::Change { decrypts: false }),
        _ => None,
    }
}

/// The store of secrets whose calls an `eventSource` has; `None` for other services.
pub(super) fn store(source: &str) -> Option<SecretStore> {
    match service(source) {
        "secretsmanager" => Some(SecretStore::SecretsManager),
        "ssm" => Some(SecretStore::Ssm),
        _ => None,
    }
}

/// `kms` of `kms.amazonaws.com`. What follows differs between partitions.
fn service(source: &str) -> &str {
    source.split('.').next().unwrap_or_default()
}
