//! Secret changes, and what they do to the versions of their secrets: which value is current from
//! then on.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::EventHeader;
use crate::ids::{SecretRef, SharedStr};

/// The staging label of the version that reads get by default.
pub const CURRENT: &str = "AWSCURRENT";

/// The staging label of the version that was current before.
pub const PREVIOUS: &str = "AWSPREVIOUS";

/// A call that changes who can read a secret, which value is current, or whether we can see it.
#[derive(Debug, Clone, PartialEq)]
pub struct SecretChange {
    /// Common fields.
    pub head: Arc<EventHeader>,
    /// The secret concerned; `None` for trails, keys and denied calls.
    pub secret: Option<SecretRef>,
    /// The other secrets concerned: `DeleteParameters` names up to ten. Empty otherwise.
    pub others: Vec<SecretRef>,
    /// Whether the call itself decrypts the secret, so that KMS Decrypts near it are not reads.
    pub decrypts: bool,
    /// What it does to the versions of its secrets; empty for other changes, and for calls that
    /// were denied or failed.
    pub steps: Vec<VersionStep>,
}

/// A step in the life of a secret's versions. A version id is a UUID in Secrets Manager and a
/// number in Parameter Store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum VersionStep {
    /// A version becomes the current one: `PutSecretValue`, `CreateSecret`, `UpdateSecret`,
    /// `UpdateSecretVersionStage`, `PutParameter`.
    Current {
        /// `requestParameters.clientRequestToken` or `.moveToVersionId`, or
        /// `responseElements.version`; `None` where the record does not name it.
        version_id: Option<SharedStr>,
        /// `requestParameters.removeFromVersionId`: the version that was current before; `None`
        /// where the record does not name it.
        instead_of: Option<SharedStr>,
    },
    /// `UpdateSecret` with other changes beside, such as a description: CloudTrail leaves the
    /// value out of the record, so that it may or may not have made a new version.
    MayBeCurrent {
        /// `requestParameters.clientRequestToken`: the id that a new version has.
        version_id: Option<SharedStr>,
    },
    /// A version gets labels other than `AWSCURRENT`: `PutSecretValue` with `versionStages`,
    /// `UpdateSecretVersionStage`, `LabelParameterVersion`.
    Labelled {
        /// As above; of `LabelParameterVersion` `parameterVersion`, `None` for the latest.
        version_id: Option<SharedStr>,
        /// `versionStages`, `versionStage` or `labels`.
        labels: Vec<SharedStr>,
    },
    /// A rotation is under way, which changes nothing yet: `RotateSecret`, `RotationStarted`.
    RotationStarted {
        /// `requestParameters.clientRequestToken`: the id that the new version gets.
        version_id: Option<SharedStr>,
    },
    /// The service event `RotationSucceeded`.
    Rotated,
    /// The service events `RotationFailed` and `RotationAbandoned`: nothing has changed.
    RotationFailed,
    /// `DeleteSecret`, `DeleteParameter`, `DeleteParameters`.
    Deleted,
    /// `RestoreSecret`.
    Restored,
    /// The secret is copied to other regions, or to another account.
    Replicated {
        /// Regions, or the ARN of a replica in another account.
        places: Vec<SharedStr>,
    },
    /// Replicas are removed.
    Unreplicated {
        /// As above.
        places: Vec<SharedStr>,
    },
    /// `StopReplicationToReplica`, called where the replica is: it is a secret of its own from
    /// then on, with the values that it has.
    Detached,
}
