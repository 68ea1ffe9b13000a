//! Incidents in memory.

use super::MemoryStore;
use crate::{
    actor::{Actor, ActorKind},
    alert::{Alert, IncidentId},
    exposure::changes::{SecretName, VersionChange},
    incident::announced::AnnouncedIncident,
    state::{ActorRange, ExposedMark, IncidentStore, StateError},
    time::EventTime,
};

impl ActorRange {
    /// Whether a time is in it.
    fn contains(&self, time: EventTime) -> bool {
        self.from <= time && time <= self.to
    }

    fn is_of(&self, actor: &Actor) -> bool {
        self.actor == actor.identity()
    }
}

impl IncidentStore for MemoryStore {
    async fn alerts_about(&self, ranges: &[ActorRange]) -> Result<Vec<Vec<Alert>>, StateError> {
        let tables = self.tables();
        let found = ranges.iter().map(|range| {
            let alerts = tables.alerts.values().map(|known| &known.alert);
            let own = alerts.filter(|alert| !alert.withdrawn && range.is_of(&alert.actor));
            own.filter(|alert| range.contains(alert.time))
                .cloned()
                .collect()
        });
        Ok(found.collect())
    }

    async fn principals_from(&self, ranges: &[ActorRange]) -> Result<Vec<Vec<Actor>>, StateError> {
        let tables = self.tables();
        let found = ranges.iter().map(|range| {
            let alerts = tables.alerts.values().map(|known| &known.alert);
            let own = alerts.filter(|alert| {
                let is_there = alert.origin.places().any(|place| *place == range.actor.1);
                alert.actor.kind == ActorKind::Principal && is_there && range.contains(alert.time)
            });
            own.map(|alert| alert.actor.clone()).collect()
        });
        Ok(found.collect())
    }

    async fn announced(
        &self,
        ranges: &[ActorRange],
    ) -> Result<Vec<Vec<AnnouncedIncident>>, StateError> {
        let tables = self.tables();
        let found = ranges.iter().map(|range| {
            let known = tables.incidents.values();
            let own =
                known.filter(|known| range.is_of(&known.actor) && range.contains(known.first));
            own.cloned().collect()
        });
        Ok(found.collect())
    }

    async fn announce(&self, incidents: &[AnnouncedIncident]) -> Result<Vec<bool>, StateError> {
        let mut tables = self.tables();
        let mut written = Vec::with_capacity(incidents.len());
        for incident in incidents {
            let known = tables.incidents.get(&incident.id);
            let is_current = known.map_or(0, |known| known.version) == incident.version;
            if is_current {
                tables.outbox.add_incident(incident);
                let changed = AnnouncedIncident {
                    version: incident.version + 1,
                    ..incident.clone()
                };
                tables.incidents.insert(incident.id.clone(), changed);
            }
            written.push(is_current);
        }
        Ok(written)
    }

    async fn version_changes(
        &self,
        secrets: &[SecretName],
    ) -> Result<Vec<VersionChange>, StateError> {
        let tables = self.tables();
        let found = secrets
            .iter()
            .filter_map(|secret| tables.version_changes.get(secret));
        Ok(found.flatten().cloned().collect())
    }

    async fn mark_exposed(&self, marks: Vec<ExposedMark>) -> Result<(), StateError> {
        let known = &mut self.tables().exposed;
        for mark in marks {
            known.entry(mark.secret.clone()).or_default().insert(mark);
        }
        Ok(())
    }

    async fn exposed_by(&self, secrets: &[SecretName]) -> Result<Vec<ExposedMark>, StateError> {
        let tables = self.tables();
        let found = secrets
            .iter()
            .filter_map(|secret| tables.exposed.get(secret));
        Ok(found.flatten().cloned().collect())
    }

    async fn open_exposures(
        &self,
        since: EventTime,
        most: usize,
    ) -> Result<Vec<IncidentId>, StateError> {
        let tables = self.tables();
        let open = tables.incidents.values().filter_map(|known| {
            let open_since = known.open_since().filter(|open| *open <= since)?;
            Some((open_since, known.id.clone()))
        });
        let mut open: Vec<(EventTime, IncidentId)> = open.collect();
        open.sort();
        Ok(open.into_iter().take(most).map(|(_, id)| id).collect())
    }
}
