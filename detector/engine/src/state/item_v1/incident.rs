//! Incidents as stores keep them: compressed JSON, version 1.

use serde::{Deserialize, Serialize};

use super::{
    ItemError, PackedItem, StoredActorV1, VERSION,
    read::{actor, each, known},
    squeezed, unsqueezed,
    write::actor_v1,
};
use crate::{
    alert::{AlertId, IncidentId},
    digest::digest,
    ids::SharedStr,
    incident::announced::{
        AnnouncedExposure, AnnouncedIncident, AnnouncedValues, EarlierMessage, ExposureNews,
        IncidentEnd, IncidentNews, NewsKind,
    },
    rule_meta::RuleLevel,
    time::EventTime,
};

#[derive(Debug, Serialize, Deserialize)]
struct StoredIncidentV1 {
    v: u32,
    id: SharedStr,
    actor: StoredActorV1,
    thread: SharedStr,
    first: i64,
    last: i64,
    level: SharedStr,
    highest: SharedStr,
    score: u32,
    values: StoredValuesV1,
    alert_ids: Vec<SharedStr>,
    alerts_total: usize,
    news: StoredNewsV1,
    due: i64,
    #[serde(default)]
    earlier: Vec<StoredMessageV1>,
    due_before: Option<i64>,
    replaces: Option<i64>,
    messages: u32,
    merged: Vec<SharedStr>,
    end: Option<StoredEndV1>,
    version: u64,
    /// Since when, and whether it is open; absent in items of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exposure: Option<(i64, bool)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredValuesV1 {
    rules: Vec<SharedStr>,
    secrets: Vec<SharedStr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    revealed: Vec<SharedStr>,
    sources: Vec<SharedStr>,
    regions: Vec<SharedStr>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredNewsV1 {
    kind: SharedStr,
    level_before: Option<SharedStr>,
    values: StoredValuesV1,
    alerts: usize,
    merged: Vec<SharedStr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exposure: Option<SharedStr>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredMessageV1 {
    due: i64,
    level: SharedStr,
    news: StoredNewsV1,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredEndV1 {
    MergedInto(SharedStr),
    Withdrawn,
}

/// Packs an incident.
#[must_use]
pub fn pack_incident(incident: &AnnouncedIncident) -> PackedItem {
    let stored = StoredIncidentV1 {
        v: VERSION,
        id: incident.id.0.clone(),
        actor: actor_v1(&incident.actor),
        thread: incident.thread.0.clone(),
        first: incident.first.0,
        last: incident.last.0,
        level: incident.level.as_str().into(),
        highest: incident.highest.as_str().into(),
        score: incident.score,
        values: values_v1(&incident.values),
        alert_ids: incident.alert_ids.iter().map(|id| id.0.clone()).collect(),
        alerts_total: incident.alerts_total,
        news: news_v1(&incident.news),
        due: incident.due.0,
        earlier: incident.earlier.iter().map(message_v1).collect(),
        due_before: incident.due_before.map(|before| before.0),
        replaces: incident.replaces.map(|replaced| replaced.0),
        messages: incident.messages,
        merged: texts(&incident.merged),
        end: incident.end.as_ref().map(end_v1),
        version: incident.version,
        exposure: incident
            .exposure
            .map(|exposure| (exposure.since.0, exposure.is_open)),
    };
    // Cannot fail: every key is text.
    let text = serde_json::to_string(&stored).unwrap_or_default();
    PackedItem {
        digest: digest(&[&text]),
        bytes: squeezed(text.as_bytes()),
    }
}

fn texts(ids: &[IncidentId]) -> Vec<SharedStr> {
    ids.iter().map(|id| id.0.clone()).collect()
}

fn values_v1(values: &AnnouncedValues) -> StoredValuesV1 {
    let AnnouncedValues {
        rules,
        secrets,
        revealed,
        sources,
        regions,
    } = values.clone();
    StoredValuesV1 {
        rules: rules.into_iter().collect(),
        secrets: secrets.into_iter().collect(),
        revealed: revealed.into_iter().collect(),
        sources: sources.into_iter().collect(),
        regions: regions.into_iter().collect(),
    }
}

fn news_v1(news: &IncidentNews) -> StoredNewsV1 {
    StoredNewsV1 {
        kind: news.kind.as_str().into(),
        level_before: news.level_before.map(|level| level.as_str().into()),
        values: StoredValuesV1 {
            rules: news.rules.clone(),
            secrets: news.secrets.clone(),
            revealed: Vec::new(),
            sources: news.sources.clone(),
            regions: news.regions.clone(),
        },
        alerts: news.alerts,
        merged: texts(&news.merged),
        exposure: news.exposure.map(|exposure| exposure.as_str().into()),
    }
}

fn message_v1(message: &EarlierMessage) -> StoredMessageV1 {
    StoredMessageV1 {
        due: message.due.0,
        level: message.level.as_str().into(),
        news: news_v1(&message.news),
    }
}

fn end_v1(end: &IncidentEnd) -> StoredEndV1 {
    match end {
        IncidentEnd::MergedInto(id) => StoredEndV1::MergedInto(id.0.clone()),
        IncidentEnd::Withdrawn => StoredEndV1::Withdrawn,
    }
}

/// Reads what [`pack_incident`] wrote.
///
/// # Errors
///
/// The item was not written by it.
pub fn unpack_incident(bytes: &[u8]) -> Result<AnnouncedIncident, ItemError> {
    let stored: StoredIncidentV1 = serde_json::from_slice(&unsqueezed(bytes)?)?;
    if stored.v != VERSION {
        return Err(ItemError::Version(stored.v));
    }
    let values = stored.values;
    Ok(AnnouncedIncident {
        id: IncidentId(stored.id),
        actor: actor(stored.actor)?,
        thread: IncidentId(stored.thread),
        first: EventTime(stored.first),
        last: EventTime(stored.last),
        level: level(&stored.level)?,
        highest: level(&stored.highest)?,
        score: stored.score,
        values: AnnouncedValues {
            rules: values.rules.into_iter().collect(),
            secrets: values.secrets.into_iter().collect(),
            revealed: values.revealed.into_iter().collect(),
            sources: values.sources.into_iter().collect(),
            regions: values.regions.into_iter().collect(),
        },
        alert_ids: stored.alert_ids.into_iter().map(AlertId).collect(),
        alerts_total: stored.alerts_total,
        news: news(stored.news)?,
        due: EventTime(stored.due),
        earlier: each(stored.earlier, message)?,
        due_before: stored.due_before.map(EventTime),
        replaces: stored.replaces.map(EventTime),
        messages: stored.messages,
        merged: ids(stored.merged),
        end: stored.end.map(end),
        version: stored.version,
        exposure: stored.exposure.map(|(since, is_open)| AnnouncedExposure {
            since: EventTime(since),
            is_open,
        }),
    })
}

fn level(text: &str) -> Result<RuleLevel, ItemError> {
    known(&RuleLevel::ALL, RuleLevel::as_str, text)
}

fn ids(texts: Vec<SharedStr>) -> Vec<IncidentId> {
    texts.into_iter().map(IncidentId).collect()
}

fn news(stored: StoredNewsV1) -> Result<IncidentNews, ItemError> {
    let before = each(stored.level_before.into_iter().collect(), |text| {
        level(&text)
    })?;
    let exposure = each(stored.exposure.into_iter().collect(), |text: SharedStr| {
        known(&ExposureNews::ALL, ExposureNews::as_str, &text)
    })?;
    Ok(IncidentNews {
        exposure: exposure.first().copied(),
        kind: known(&NewsKind::ALL, NewsKind::as_str, &stored.kind)?,
        level_before: before.first().copied(),
        rules: stored.values.rules,
        secrets: stored.values.secrets,
        sources: stored.values.sources,
        regions: stored.values.regions,
        alerts: stored.alerts,
        merged: ids(stored.merged),
    })
}

fn message(stored: StoredMessageV1) -> Result<EarlierMessage, ItemError> {
    Ok(EarlierMessage {
        due: EventTime(stored.due),
        level: level(&stored.level)?,
        news: news(stored.news)?,
    })
}

fn end(stored: StoredEndV1) -> IncidentEnd {
    match stored {
        StoredEndV1::MergedInto(id) => IncidentEnd::MergedInto(IncidentId(id)),
        StoredEndV1::Withdrawn => IncidentEnd::Withdrawn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::contract::announced;

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        let opened = announced("ann", 100);
        let mut merged = opened.ended(
            IncidentEnd::MergedInto(IncidentId("other".into())),
            true,
            EventTime(200),
        );
        merged.news.level_before = Some(RuleLevel::Low);
        merged.merged = vec![opened.id.clone()];
        let withdrawn = opened.ended(IncidentEnd::Withdrawn, true, EventTime(200));
        for incident in [opened, merged, withdrawn] {
            let packed = pack_incident(&incident);
            assert_eq!(unpack_incident(&packed.bytes).unwrap(), incident);
        }
    }

    #[test]
    fn what_is_no_incident_is_refused() {
        let refused = unpack_incident(&squeezed(br#"{"v":1}"#)).unwrap_err();
        assert!(matches!(refused, ItemError::Json(_)), "{refused}");
        let later = pack_incident(&announced("ann", 100)).bytes;
        let text = String::from_utf8(unsqueezed(&later).unwrap()).unwrap();
        let later = squeezed(text.replace(r#"{"v":1"#, r#"{"v":2"#).as_bytes());
        let refused = unpack_incident(&later).unwrap_err();
        assert!(matches!(refused, ItemError::Version(2)), "{refused}");
    }
}
