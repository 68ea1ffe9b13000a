//! Changes to the versions of secrets, online: stored before anything else of a batch, so that
//! whoever looks at an incident afterwards knows them.

use std::collections::BTreeSet;

use super::Pipeline;
use crate::{
    exposure::changes::{SecretName, VersionChange},
    observation::Observation,
    scan::ScanResult,
    state::{StateError, StateStore},
};

impl Pipeline<'_> {
    /// Stores the changes of a batch; returns the secrets that they are about.
    pub(super) async fn note_version_changes<S: StateStore>(
        &self,
        store: &S,
        scan_result: &ScanResult,
    ) -> Result<BTreeSet<SecretName>, StateError> {
        let mut changes: BTreeSet<VersionChange> = BTreeSet::new();
        for end in &scan_result.observations {
            if let Observation::Change(change) = &end.observation {
                changes.extend(VersionChange::of(change));
            }
        }
        let secrets = changes.iter().map(|change| change.secret.clone()).collect();
        if !changes.is_empty() {
            let changes = changes.into_iter().collect();
            store.put_version_changes(changes).await?;
        }
        Ok(secrets)
    }
}
