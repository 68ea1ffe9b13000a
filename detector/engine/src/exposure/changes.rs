//! The changes to the versions of secrets, and what became of the versions that an incident
//! revealed: a function of its alerts and of these changes alone, so that it is the same online,
//! where reads are not kept, and in a replay. Only changes close it.

use std::{borrow::Borrow, collections::BTreeSet};

use ahash::HashMap;

pub use super::facts::{ChangeFact, SecretName};
use super::{Exposure, ExposureLedger, scope::ExposureScopes};
use crate::{
    ids::SharedStr,
    observation::SecretChange,
    revealed::{ExposedVersion, IncidentExposure, RevealedVersions},
};

/// A change to the versions of a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionChange {
    /// The secret, as far as its name goes.
    pub secret: SecretName,
    /// What was changed, when and by whom.
    pub fact: ChangeFact,
}

impl VersionChange {
    /// The changes of a record; none where it does not change versions, or does not name its
    /// secret.
    #[must_use]
    pub fn of(change: &SecretChange) -> Vec<Self> {
        let mut all = Vec::new();
        for secret in change.secret.iter().chain(&change.others) {
            if let Some(name) = SecretName::of(secret) {
                let facts = ChangeFact::of(change, secret);
                all.extend(facts.map(|fact| Self {
                    secret: name.clone(),
                    fact,
                }));
            }
        }
        all
    }
}

/// The changes to the versions of secrets. A set, to which changes are added in any order, any
/// number of times.
#[derive(Debug, Clone, Default)]
pub struct VersionChanges {
    by_secret: HashMap<SecretName, Vec<ChangeFact>>,
}

impl VersionChanges {
    /// Adds the changes of records.
    pub fn add<C: Borrow<SecretChange>>(&mut self, changes: &[C]) {
        let changes = changes.iter();
        self.extend(changes.flat_map(|change| VersionChange::of(change.borrow())));
    }

    /// What became of the versions that an incident revealed; `None` if it revealed none.
    #[must_use]
    pub fn exposure(&self, versions: &RevealedVersions) -> Option<IncidentExposure> {
        if versions.is_empty() {
            return None;
        }
        let mut ledger = ExposureLedger::default();
        for version in &versions.first {
            ledger.add_revealed(version);
        }
        for name in exposed_names(versions) {
            if let Some(changes) = self.by_secret.get(&name) {
                ledger.add_facts(name, changes);
            }
        }
        let rows = ledger.exposures(&ExposureScopes::default());
        Some(IncidentExposure {
            versions: rows.iter().map(exposed).collect(),
            are_more: versions.are_more,
        })
    }
}

impl Extend<VersionChange> for VersionChanges {
    fn extend<I: IntoIterator<Item = VersionChange>>(&mut self, changes: I) {
        for change in changes {
            let known = self.by_secret.entry(change.secret).or_default();
            known.push(change.fact);
        }
    }
}

/// The secrets whose versions were revealed, each once.
#[must_use]
pub fn exposed_names(versions: &RevealedVersions) -> BTreeSet<SecretName> {
    let versions = versions.first.iter();
    versions
        .filter_map(|version| SecretName::of(&version.secret))
        .collect()
}

fn exposed(row: &Exposure) -> ExposedVersion {
    let secret = &row.secret;
    let name = secret.arn.clone().or_else(|| secret.name.clone());
    ExposedVersion {
        secret: name.unwrap_or_else(|| SharedStr::from("")),
        account: secret.account.clone(),
        region: secret.region.clone(),
        version_id: secret.version_id.clone(),
        certainty: row.certainty,
        first: row.first,
        status: row.status,
        is_open: row.is_open(),
        superseded: row.superseded.as_ref().and_then(|by| by.time),
    }
}
