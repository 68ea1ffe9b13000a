//! Incidents: the alerts of each actor, where principals come from, and what was announced.
//!
//! An alert of an actor is written and deleted with the alert itself. The other references are only
//! added, before what they lead to; one that leads to nothing is ignored.

use std::{collections::HashMap, sync::Arc};

use aws_sdk_dynamodb::types::TransactWriteItem;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use secretrail_engine::{
    actor::{Actor, ActorKind},
    alert::{Alert, IncidentId},
    exposure::changes::{SecretName, VersionChange},
    incident::{announced::AnnouncedIncident, decision::IncidentDecision},
    state::{ActorRange, ExposedMark, IncidentStore, StateError, item_v1},
    time::EventTime,
};

use super::{
    DynamoStore,
    alerts::{WRITES_TOGETHER, attempt},
    item::{Attributes, CONTENT, ItemKey, SK, bytes_of, number, number_of, text, text_of},
    keys,
    outbox::{CREATED, StoredOutbox, unpacked_incident, write_all},
    table::{AT_ONCE, DynamoTable, PutResult},
};
use crate::names::{DECIDED, VERSION};

/// Who wrote it: a writer whose response was lost knows its own write.
const WRITER: &str = "writer";
/// Of a principal: its key and its name.
const KEY: &str = "key";
const NAME: &str = "name";

/// Incidents in the table.
pub(super) struct StoredIncidents {
    table: Arc<DynamoTable>,
    keep_secs: i64,
    outbox: Arc<StoredOutbox>,
}

/// The place of what incidents need of an alert.
pub(super) fn place_of(alert: &Alert) -> ItemKey {
    keys::alert_of_actor(&alert.actor.identity(), alert.time, &alert.id)
}

/// Notes from where the alerts of principals come.
pub(super) async fn mark_places(
    table: &DynamoTable,
    alerts: &[&Alert],
    keep_secs: i64,
) -> Result<(), StateError> {
    let principals = alerts
        .iter()
        .filter(|alert| alert.actor.kind == ActorKind::Principal);
    let marks = principals.flat_map(|alert| {
        alert.origin.places().map(|place| {
            let key = keys::principal_from(place, alert.time, &alert.actor.key);
            let item = Attributes::from([
                (KEY.to_owned(), text(&alert.actor.key)),
                (NAME.to_owned(), text(&alert.actor.name)),
                table.expiry(keep_secs),
            ]);
            (key, item)
        })
    });
    table.put(marks.collect()).await
}

impl StoredIncidents {
    pub(super) fn new(table: Arc<DynamoTable>, keep_secs: i64, outbox: Arc<StoredOutbox>) -> Self {
        Self {
            table,
            keep_secs,
            outbox,
        }
    }

    pub(super) async fn alerts(
        &self,
        ranges: &[ActorRange],
    ) -> Result<Vec<Vec<Alert>>, StateError> {
        let asked = ranges.iter().map(keys::alerts_of_actor).collect();
        let found = self.table.query_all(asked).await?.into_iter();
        Ok(found.map(|items| self.readable(&items)).collect())
    }

    /// The alerts of items. One that cannot be read is in no incident.
    fn readable(&self, items: &[Attributes]) -> Vec<Alert> {
        let mut alerts = Vec::with_capacity(items.len());
        for item in items {
            let bytes = bytes_of(item, CONTENT).unwrap_or_default();
            match item_v1::unpack_alert(bytes) {
                Ok(alert) => alerts.push(alert),
                Err(error) => {
                    let error = self.table.unreadable(item, &error);
                    self.table.note_set_aside(error);
                }
            }
        }
        alerts
    }

    pub(super) async fn principals_from(
        &self,
        ranges: &[ActorRange],
    ) -> Result<Vec<Vec<Actor>>, StateError> {
        let asked = ranges.iter().map(keys::principals_from).collect();
        let found = self.table.query_all(asked).await?.into_iter();
        Ok(found
            .map(|marks| marks.iter().filter_map(principal_of).collect())
            .collect())
    }

    pub(super) async fn announced(
        &self,
        ranges: &[ActorRange],
    ) -> Result<Vec<Vec<AnnouncedIncident>>, StateError> {
        let asked = ranges.iter().map(keys::incidents_of_actor).collect();
        let references = self.table.query_all(asked).await?;
        let ids: Vec<Vec<IncidentId>> = references.iter().map(|found| ids(found)).collect();
        let all: Vec<&IncidentId> = ids.iter().flatten().collect();
        let known = self.of_ids(&all).await?.into_iter();
        let known: HashMap<_, _> = known.map(|known| (known.id.clone(), known)).collect();
        let found = ids.iter().map(|ids| {
            let own = ids.iter().filter_map(|id| known.get(id));
            own.cloned().collect()
        });
        Ok(found.collect())
    }

    /// The incidents of ids, as far as there are any that can be read.
    pub(super) async fn of_ids(
        &self,
        ids: &[&IncidentId],
    ) -> Result<Vec<AnnouncedIncident>, StateError> {
        let asked = ids.iter().map(|id| keys::incident(id)).collect();
        let items = self.table.get(asked, None).await?;
        let mut known = Vec::with_capacity(items.len());
        for item in items.values() {
            match unpacked_incident(&self.table, item) {
                Ok(incident) => known.push(incident),
                // It is announced again.
                Err(error) => self.table.note_set_aside(error),
            }
        }
        Ok(known)
    }

    /// For each incident, whether a person has closed it, so that its next message is not sent.
    pub(super) async fn decisions(
        &self,
        ids: &[&IncidentId],
    ) -> Result<HashMap<IncidentId, IncidentDecision>, StateError> {
        let asked = ids.iter().map(|id| keys::decision(id));
        let items = self.table.get(asked.collect(), None).await?;
        let decisions = ids.iter().filter_map(|id| {
            let text = text_of(items.get(&keys::decision(id))?, DECIDED)?;
            // One of another version decides nothing.
            let decision = serde_json::from_str(text).ok()?;
            Some(((*id).clone(), decision))
        });
        Ok(decisions.collect())
    }

    pub(super) async fn announce(
        &self,
        incidents: &[AnnouncedIncident],
    ) -> Result<Vec<bool>, StateError> {
        // Before the first note: a sweep finds the notes of the destinations that are known.
        self.outbox.register().await?;
        let new = incidents.iter().filter(|incident| incident.version == 0);
        let references = new.flat_map(|incident| self.references(incident));
        self.table.put(references.collect()).await?;
        stream::iter(incidents.to_vec())
            .map(|incident| self.announce_one(incident))
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn announce_one(&self, incident: AnnouncedIncident) -> Result<bool, StateError> {
        let mut incident = incident;
        let mut tries = self.table.tries();
        loop {
            let writer = attempt();
            let writes = self.writes(&incident, &writer);
            let PutResult::Kept(item) = write_all(&self.table, writes).await? else {
                return Ok(true);
            };
            let Some(item) = item else {
                return Ok(false);
            };
            if text_of(&item, WRITER) == Some(&*writer) {
                return Ok(true);
            }
            let Some(version) = self.unreadable_version(&item).filter(|_| tries.again()) else {
                return Ok(false);
            };
            // It is announced as if there were none.
            incident.version = version;
        }
    }

    /// The version of a stored incident that cannot be read; `None` of one that can.
    fn unreadable_version(&self, item: &Attributes) -> Option<u64> {
        unpacked_incident(&self.table, item).err()?;
        u64::try_from(number_of(item, VERSION)?).ok()
    }

    /// The write of an incident and of its notes, and the deletion of those that they replace.
    fn writes(&self, incident: &AnnouncedIncident, writer: &str) -> Vec<TransactWriteItem> {
        let notes = self.outbox.incident_notes(incident);
        let mut replaced = self.outbox.replaced_notes(incident);
        // Two of one day's digest have one place, and a transaction has one write for each.
        replaced.retain(|key| {
            notes
                .iter()
                .all(|note| ItemKey::of(note).as_ref() != Some(key))
        });
        // One that stays leads to a message without news.
        replaced.truncate(WRITES_TOGETHER.saturating_sub(2 + notes.len()));
        let deleted = replaced.iter().filter_map(|key| self.table.delete_any(key));
        let notes = notes
            .into_iter()
            .filter_map(|note| self.table.put_any(note));
        let write = self.write(incident, writer).into_iter();
        let open = self.open_exposure(incident);
        write.chain(deleted).chain(notes).chain(open).collect()
    }

    /// The write or the deletion of the reference to an incident whose exposure is open; `None` if
    /// it revealed nothing.
    fn open_exposure(&self, incident: &AnnouncedIncident) -> Option<TransactWriteItem> {
        let since = incident.exposure?.since;
        let key = keys::open_exposure(since, &incident.id);
        if incident.open_since().is_none() {
            return self.table.delete_any(&key);
        }
        let mut item = key.attributes();
        item.extend([self.table.expiry(self.keep_secs)]);
        self.table.put_any(item)
    }

    fn references(&self, incident: &AnnouncedIncident) -> Vec<(ItemKey, Attributes)> {
        let AnnouncedIncident {
            id, actor, first, ..
        } = incident;
        let references = [
            keys::incident_of_actor(&actor.identity(), *first, id),
            keys::incident_by_time(*first, id),
        ];
        let expiry = || Attributes::from([self.table.expiry(self.keep_secs)]);
        references.into_iter().map(|key| (key, expiry())).collect()
    }

    /// The write of an incident, unless it was changed since it was read.
    fn write(&self, incident: &AnnouncedIncident, writer: &str) -> Option<TransactWriteItem> {
        let after = AnnouncedIncident {
            version: incident.version + 1,
            ..incident.clone()
        };
        let packed = item_v1::pack_incident(&after);
        let mut item = keys::incident(&incident.id).attributes();
        item.extend(self.table.packed(packed, self.keep_secs));
        item.extend([
            (VERSION.to_owned(), number(after.version)),
            (CREATED.to_owned(), number(after.due.0)),
            (WRITER.to_owned(), text(writer)),
        ]);
        self.table.put_version(item, VERSION, incident.version)
    }
}

impl IncidentStore for DynamoStore {
    async fn alerts_about(&self, ranges: &[ActorRange]) -> Result<Vec<Vec<Alert>>, StateError> {
        self.incidents.alerts(ranges).await
    }

    async fn principals_from(&self, ranges: &[ActorRange]) -> Result<Vec<Vec<Actor>>, StateError> {
        self.incidents.principals_from(ranges).await
    }

    async fn announced(
        &self,
        ranges: &[ActorRange],
    ) -> Result<Vec<Vec<AnnouncedIncident>>, StateError> {
        self.incidents.announced(ranges).await
    }

    async fn announce(&self, incidents: &[AnnouncedIncident]) -> Result<Vec<bool>, StateError> {
        self.incidents.announce(incidents).await
    }

    async fn version_changes(
        &self,
        secrets: &[SecretName],
    ) -> Result<Vec<VersionChange>, StateError> {
        self.exposures.changes(secrets).await
    }

    async fn mark_exposed(&self, marks: Vec<ExposedMark>) -> Result<(), StateError> {
        self.exposures.mark(marks).await
    }

    async fn exposed_by(&self, secrets: &[SecretName]) -> Result<Vec<ExposedMark>, StateError> {
        self.exposures.marks(secrets).await
    }

    async fn open_exposures(
        &self,
        since: EventTime,
        most: usize,
    ) -> Result<Vec<IncidentId>, StateError> {
        self.exposures.open_since(since, most).await
    }
}

/// The principal of a mark; `None` when it is none.
fn principal_of(mark: &Attributes) -> Option<Actor> {
    Some(Actor {
        kind: ActorKind::Principal,
        key: text_of(mark, KEY)?.into(),
        name: text_of(mark, NAME)?.into(),
    })
}

fn ids(references: &[Attributes]) -> Vec<IncidentId> {
    let keys = references.iter().filter_map(|item| text_of(item, SK));
    keys.filter_map(keys::incident_of_reference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamodb::table::tests::uncalled;
    use secretrail_engine::{
        outbox::{DeliveredKinds, Destination},
        rule_meta::RuleLevel,
        state::contract::announced,
        time::EventTime,
    };

    #[test]
    fn no_item_is_written_twice_in_one_transaction() {
        let table = Arc::new(uncalled());
        let destination = |id: &str, digest_below| Destination {
            id: id.into(),
            min_level: RuleLevel::Informational,
            kinds: DeliveredKinds::Incidents,
            digest_below,
        };
        let destinations = vec![
            destination("at once", None),
            destination("in a digest", Some(RuleLevel::Critical)),
        ];
        let outbox = Arc::new(StoredOutbox::new(table.clone(), 60, destinations));
        let incidents = StoredIncidents::new(table, 60, outbox);
        let mut incident = announced("ann", 100);
        (incident.due, incident.replaces) = (EventTime(160), Some(EventTime(3_700)));
        let writes = incidents.writes(&incident, "me");
        let places = writes.iter().map(|write| {
            let put = write.put().map(|put| put.item());
            let place = put.or_else(|| write.delete().map(|delete| delete.key()));
            ItemKey::of(place.unwrap()).unwrap()
        });
        let mut places: Vec<ItemKey> = places.collect();
        assert_eq!(
            places.len(),
            5,
            "incident, two notes, and the replaced ones"
        );
        places.sort();
        places.dedup();
        assert_eq!(places.len(), 5);
    }
}
