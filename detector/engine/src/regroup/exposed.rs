//! What incidents revealed, and which of them a change of a secret concerns.

use std::collections::BTreeSet;

use super::{
    Picture,
    neighbourhood::{ActorSpans, widen},
};
use crate::{
    exposure::changes::{SecretName, VersionChanges, exposed_names},
    incident::IncidentPeriods,
    state::{ActorRange, ExposedMark, IncidentStore, StateError},
};

/// Where the incidents are that revealed some secrets. One that is not announced yet is looked at
/// by who announces it, who has marked its secrets before, and reads their changes afterwards.
pub(super) async fn exposing<S: IncidentStore>(
    store: &S,
    secrets: &[SecretName],
    periods: IncidentPeriods,
) -> Result<ActorSpans, StateError> {
    let mut marked = ActorSpans::new();
    for mark in store.exposed_by(secrets).await? {
        widen(&mut marked, mark.actor, (mark.first, mark.first));
    }
    let ranges = marked.into_iter().map(|(actor, (from, to))| ActorRange {
        actor,
        // Alerts that came late may have moved the beginning.
        from: from.plus(-periods.max_secs),
        to: to.plus(periods.max_secs),
    });
    let ranges: Vec<ActorRange> = ranges.collect();
    let mut spans = ActorSpans::new();
    if ranges.is_empty() {
        return Ok(spans);
    }
    for known in store.announced(&ranges).await?.into_iter().flatten() {
        if known.end.is_none() {
            let span = (known.first, known.last);
            widen(&mut spans, known.actor.identity(), span);
        }
    }
    Ok(spans)
}

impl Picture {
    /// Marks for the secrets that were revealed, without those of incidents that were announced
    /// with them.
    pub(super) fn marks(&self) -> Vec<ExposedMark> {
        let mut marks = BTreeSet::new();
        for (id, incident) in &self.computed {
            let known = self.announced.get(id).map(|known| &known.values.revealed);
            let new = incident.versions.first.iter().filter(|version| {
                let secret = &version.secret;
                let name = secret.arn.as_ref().or(secret.name.as_ref());
                !name.is_some_and(|name| known.is_some_and(|known| known.contains(name)))
            });
            let secrets = new.filter_map(|version| SecretName::of(&version.secret));
            marks.extend(secrets.map(|secret| ExposedMark {
                secret,
                actor: incident.actor.identity(),
                first: incident.first,
            }));
        }
        marks.into_iter().collect()
    }

    /// Adds what became of the versions that the incidents revealed.
    pub(super) async fn look_at_versions<S: IncidentStore>(
        &mut self,
        store: &S,
    ) -> Result<(), StateError> {
        let incidents = self.computed.values();
        let secrets: BTreeSet<SecretName> = incidents
            .flat_map(|incident| exposed_names(&incident.versions))
            .collect();
        let mut changes = VersionChanges::default();
        if !secrets.is_empty() {
            let secrets: Vec<SecretName> = secrets.into_iter().collect();
            changes.extend(store.version_changes(&secrets).await?);
        }
        for incident in self.computed.values_mut() {
            incident.exposure = changes.exposure(&incident.versions);
        }
        Ok(())
    }
}
