//! Incidents as the table has them, each with what was decided about it.

use std::collections::BTreeMap;

use secretrail_aws::names::{
    ALONE, CONTENT, DECIDED, DECISION, INCIDENTS, SK, TTL, VERSION, incident, second,
};
use secretrail_engine::{
    incident::{
        IncidentPeriods,
        announced::{AnnouncedIncident, IncidentEnd},
        decision::IncidentDecision,
    },
    state::item_v1,
    time::EventTime,
};

use crate::{
    aws_api::ApiError,
    deployment::table::{ItemPlace, StateTable, TableItem},
};

/// Most incidents that are listed.
pub(super) const MOST: usize = 10_000;

/// What an incident is to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IncidentStatus {
    /// More may belong to it.
    Active,
    /// It has been quiet for longer than an incident may be; nobody has closed it.
    Ended,
    /// A person has closed it, and nothing new has come since.
    Closed,
    /// It is a part of another one.
    Merged,
    /// All its alerts were withdrawn.
    Withdrawn,
}

impl IncidentStatus {
    /// The name in every format.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Ended => "ended",
            Self::Closed => "closed",
            Self::Merged => "merged",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Whether somebody should look at it.
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Active | Self::Ended)
    }
}

/// An incident of the table.
#[derive(Debug, Clone)]
pub(super) struct StoredIncident {
    pub(super) incident: AnnouncedIncident,
    /// When its item expires, in seconds since 1970.
    pub(super) expiry: i64,
    /// The version of its item.
    pub(super) version: i64,
    pub(super) decision: Option<IncidentDecision>,
    /// Number of decisions so far.
    pub(super) decisions: i64,
}

impl StoredIncident {
    /// What it is now.
    pub(super) fn status(&self, now: EventTime) -> IncidentStatus {
        let gap = IncidentPeriods::default().gap_secs;
        match &self.incident.end {
            Some(IncidentEnd::MergedInto(_)) => IncidentStatus::Merged,
            Some(IncidentEnd::Withdrawn) => IncidentStatus::Withdrawn,
            None if self.is_closed() => IncidentStatus::Closed,
            None if now.0.saturating_sub(self.incident.last.0) <= gap => IncidentStatus::Active,
            None => IncidentStatus::Ended,
        }
    }

    /// Whether what it revealed may still work: `open`, or `closed` when every version is
    /// superseded or a person has closed the incident; `None` if it revealed nothing.
    pub(super) fn exposure(&self) -> Option<&'static str> {
        let exposure = self.incident.exposure?;
        Some(match exposure.is_open && !self.is_closed() {
            true => "open",
            false => "closed",
        })
    }

    fn is_closed(&self) -> bool {
        let decision = self.decision.as_ref();
        decision.is_some_and(|decision| decision.is_closed(&self.incident))
    }
}

/// Incidents, the latest first, and why some cannot be read.
#[derive(Debug, Default)]
pub(super) struct StoredIncidents {
    pub(super) incidents: Vec<StoredIncident>,
    pub(super) unreadable: Vec<String>,
}

/// The ids of the incidents that began at a time or later, the latest first.
pub(super) fn ids(table: &StateTable<'_>, from: EventTime) -> Result<Vec<String>, ApiError> {
    let references = table.partition(INCIDENTS, &second(from), MOST, true)?;
    let keys = references.iter().filter_map(|reference| reference.text(SK));
    Ok(keys
        .filter_map(|key| key.split_once('#').map(|(_, id)| id.to_owned()))
        .collect())
}

/// The incidents of these ids that are in the table, in this order.
pub(super) fn incidents(
    table: &StateTable<'_>,
    ids: &[String],
) -> Result<StoredIncidents, ApiError> {
    let places = ids
        .iter()
        .flat_map(|id| [ALONE, DECISION].map(|sort_key| (incident(id), sort_key.to_owned())));
    let places: Vec<ItemPlace> = places.collect();
    let items = table.items(&places)?;
    let mut found = StoredIncidents::default();
    for id in ids {
        // A reference is written before its incident, and may lead to nothing.
        let Some(item) = items.get(&(incident(id), ALONE.to_owned())) else {
            continue;
        };
        match stored(id, item, &items) {
            Ok(stored) => found.incidents.push(stored),
            Err(why) => found.unreadable.push(format!("incident {id}: {why}")),
        }
    }
    add_earlier_decisions(table, &mut found.incidents)?;
    Ok(found)
}

/// Adds what was decided about incidents under the ids that they had before an earlier alert came
/// late.
fn add_earlier_decisions(
    table: &StateTable<'_>,
    incidents: &mut [StoredIncident],
) -> Result<(), ApiError> {
    let renamed = incidents
        .iter_mut()
        .filter(|one| one.decision.is_none() && one.incident.thread != one.incident.id);
    let renamed: Vec<&mut StoredIncident> = renamed.collect();
    let places = renamed
        .iter()
        .map(|one| decision_place(&one.incident.thread.0));
    let items = table.items(&places.collect::<Vec<_>>())?;
    for one in renamed {
        let item = items.get(&decision_place(&one.incident.thread.0));
        let text = item.and_then(|item| item.text(DECIDED));
        // One that cannot be read was decided under another id: it holds nothing against this one.
        one.decision = text.and_then(|text| serde_json::from_str(text).ok());
    }
    Ok(())
}

fn decision_place(id: &str) -> ItemPlace {
    (incident(id), DECISION.to_owned())
}

fn stored(
    id: &str,
    item: &TableItem,
    items: &BTreeMap<ItemPlace, TableItem>,
) -> Result<StoredIncident, String> {
    let bytes = item.bytes(CONTENT).unwrap_or_default();
    let announced = item_v1::unpack_incident(&bytes).map_err(|error| error.to_string())?;
    let beside = items.get(&(incident(id), DECISION.to_owned()));
    let decision = beside.and_then(|item| item.text(DECIDED));
    let decision = decision.map(serde_json::from_str).transpose();
    Ok(StoredIncident {
        incident: announced,
        expiry: item.number(TTL).unwrap_or_default(),
        version: item.number(VERSION).unwrap_or_default(),
        decision: decision.map_err(|error| format!("its decision cannot be read: {error}"))?,
        decisions: beside
            .and_then(|item| item.number(VERSION))
            .unwrap_or_default(),
    })
}
