//! Changes to the versions of secrets, and which incidents revealed these. Both are only added: a
//! change under the digest of its content, a mark under what it says.

use std::{collections::BTreeMap, sync::Arc};

use secretrail_engine::{
    actor::ActorKind,
    alert::IncidentId,
    exposure::changes::{SecretName, VersionChange},
    state::{ExposedMark, StateError, item_v1},
    time::EventTime,
};

use super::{
    item::{Attributes, SK, number, number_of, text, text_of},
    keys,
    table::DynamoTable,
};

/// Of a mark: kind and key of the actor, and when the incident began.
const KIND: &str = "kind";
const ACTOR: &str = "actor";
const FIRST: &str = "first";

/// Exposed secrets in the table.
pub(super) struct StoredExposures {
    table: Arc<DynamoTable>,
    keep_secs: i64,
}

impl StoredExposures {
    pub(super) fn new(table: Arc<DynamoTable>, keep_secs: i64) -> Self {
        Self { table, keep_secs }
    }

    pub(super) async fn put_changes(&self, changes: Vec<VersionChange>) -> Result<(), StateError> {
        let mut by_secret: BTreeMap<SecretName, Vec<VersionChange>> = BTreeMap::new();
        for change in changes {
            by_secret
                .entry(change.secret.clone())
                .or_default()
                .push(change);
        }
        let items = by_secret.into_iter().map(|(secret, mut changes)| {
            // Equal content has an equal digest.
            changes.sort();
            changes.dedup();
            let packed = item_v1::pack_changes(&changes);
            let key = keys::version_changes(&secret, &packed.digest);
            (key, self.table.packed(packed, self.keep_secs))
        });
        self.table.put(items.collect()).await
    }

    pub(super) async fn changes(
        &self,
        secrets: &[SecretName],
    ) -> Result<Vec<VersionChange>, StateError> {
        let asked = secrets.iter().map(keys::all_version_changes).collect();
        let found = self.table.query_all(asked).await?;
        // One that cannot be read closes nothing.
        let items = found.concat();
        Ok(self.table.readable(&items, item_v1::unpack_changes))
    }

    pub(super) async fn mark(&self, marks: Vec<ExposedMark>) -> Result<(), StateError> {
        let items = marks.into_iter().map(|mark| {
            let (kind, key) = &mark.actor;
            let item = Attributes::from([
                (KIND.to_owned(), text(kind.as_str())),
                (ACTOR.to_owned(), text(key)),
                (FIRST.to_owned(), number(mark.first.0)),
                self.table.expiry(self.keep_secs),
            ]);
            (keys::exposed_by(&mark), item)
        });
        self.table.put(items.collect()).await
    }

    pub(super) async fn marks(
        &self,
        secrets: &[SecretName],
    ) -> Result<Vec<ExposedMark>, StateError> {
        let asked = secrets.iter().map(keys::all_exposed_by).collect();
        let found = self.table.query_all(asked).await?;
        let marks = secrets
            .iter()
            .zip(&found)
            .flat_map(|(secret, items)| items.iter().filter_map(|item| mark_of(secret, item)));
        Ok(marks.collect())
    }

    /// Incidents whose exposure is open since a time or longer, the oldest first.
    pub(super) async fn open_since(
        &self,
        since: EventTime,
        most: usize,
    ) -> Result<Vec<IncidentId>, StateError> {
        let asked = keys::open_exposures(since);
        let items = self.table.query(asked, most).await?;
        let keys = items.iter().filter_map(|item| text_of(item, SK));
        let ids = keys.filter_map(keys::incident_of_reference);
        Ok(ids.take(most).collect())
    }
}

/// What an item says of an incident; `None` when it is no mark.
fn mark_of(secret: &SecretName, item: &Attributes) -> Option<ExposedMark> {
    let name = text_of(item, KIND)?;
    let mut kinds = ActorKind::ALL.into_iter();
    let kind = kinds.find(|kind| kind.as_str() == name)?;
    Some(ExposedMark {
        secret: secret.clone(),
        actor: (kind, text_of(item, ACTOR)?.into()),
        first: EventTime(number_of(item, FIRST)?),
    })
}
