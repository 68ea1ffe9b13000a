//! Which API calls are relevant, and the role of each.

use crate::ids::SecretStore;

/// The kind of observation that a call gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallRole {
    /// A read from this store.
    Read(SecretStore),
    /// A KMS `Decrypt`.
    KmsDecrypt,
    /// A secret change.
    Change {
        /// Whether the call decrypts the secret itself.
        decrypts: bool,
    },
}

/// The role of a call by `eventSource` and `eventName`; `None` when it is not relevant. `decrypts`
/// marks changes that decrypt the secret themselves (Secrets Manager user guide, "Secret encryption
/// and decryption").
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
            | "AssociateCrossAccountReplica"
            | "DisassociateCrossAccountReplica"
            | "RotateSecret"
            | "RotationStarted"
            | "RotationSucceeded"
            | "RotationFailed"
            | "RotationAbandoned"
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
        | (
            "kms",
            "PutKeyPolicy"
            | "CreateKey"
            | "CreateGrant"
            | "DisableKey"
            | "ScheduleKeyDeletion"
            | "DeleteImportedKeyMaterial",
        )
        | ("ram", "CreateResourceShare" | "AssociateResourceShare")
        | (
            "cloudtrail",
            "PutEventSelectors"
            | "StopLogging"
            | "DeleteTrail"
            | "UpdateTrail"
            | "UpdateEventDataStore"
            | "StopEventDataStoreIngestion"
            | "DeleteEventDataStore",
        ) => Some(CallRole::Change { decrypts: false }),
        _ => None,
    }
}

/// The store of an `eventSource`; `None` for other services.
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
