//! What an id stands for: one alert, or one incident with its alerts, found by its beginning.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use secretrail_engine::{
    alert::{Alert, IncidentId},
    exposure::changes::VersionChanges,
    incident::Incident,
    sanitize,
    time::EventTime,
};

use crate::{host::RunFailure, text::plural};

/// Most ids that are listed when the beginning of an id is not enough.
const LISTED: usize = 10;

/// One alert, or one incident with its alerts.
#[derive(Debug)]
pub(crate) struct FoundSubject<'a> {
    /// The incident; `None` for one alert.
    pub(crate) incident: Option<&'a Incident>,
    /// The alert, or the alerts of the incident.
    pub(crate) alerts: Vec<&'a Alert>,
}

/// Adds what became of the versions that incidents revealed.
pub(crate) fn add_exposure(incidents: &mut [Incident], changes: &VersionChanges) {
    for incident in incidents {
        incident.exposure = changes.exposure(&incident.versions);
    }
}

/// The incidents that alerts of a file name.
pub(crate) fn incidents_of(alerts: &[Alert]) -> Vec<Incident> {
    let mut members: BTreeMap<&IncidentId, Vec<&Alert>> = BTreeMap::new();
    for alert in alerts {
        if let Some(id) = &alert.incident {
            members.entry(id).or_default().push(alert);
        }
    }
    let incidents = members.into_iter();
    incidents
        .filter_map(|(id, own)| Incident::of_file(id, own))
        .collect()
}

impl<'a> FoundSubject<'a> {
    /// The one alert or incident whose id begins with a text.
    ///
    /// # Errors
    ///
    /// [`RunFailure::Usage`]: several do; they are listed. [`RunFailure::Input`]: none does.
    pub(crate) fn find(
        alerts: &'a [Alert],
        incidents: &'a [Incident],
        id: &str,
    ) -> Result<Self, RunFailure> {
        if id.is_empty() {
            let message = "the id is empty; name an incident or alert".to_owned();
            return Err(RunFailure::Usage(message));
        }
        let fitting_alerts = alerts.iter().filter(|alert| alert.id.0.starts_with(id));
        let fitting = incidents.iter();
        let fitting = fitting.filter(|incident| incident.id.0.starts_with(id));
        let found: Vec<Self> = fitting
            .map(|incident| Self {
                incident: Some(incident),
                alerts: members(alerts, &incident.id),
            })
            .chain(fitting_alerts.map(|alert| Self {
                incident: None,
                alerts: vec![alert],
            }))
            .collect();
        match found.len() {
            0 => Err(RunFailure::Input(format!(
                "{id}: not among the {} and {} found; from logs, use the rules and the policy that \
                 raised it",
                plural(alerts.len() as u64, "alert"),
                plural(incidents.len() as u64, "incident")
            ))),
            1 => found.into_iter().next().ok_or_else(|| ambiguous(id, &[])),
            _ => Err(ambiguous(id, &found)),
        }
    }

    /// The one incident whose id begins with a text.
    ///
    /// # Errors
    ///
    /// As [`Self::find`].
    pub(crate) fn find_incident(
        alerts: &'a [Alert],
        incidents: &'a [Incident],
        id: &str,
    ) -> Result<Self, RunFailure> {
        let found = Self::find(&[], incidents, id)?;
        let own = found.incident.map(|incident| members(alerts, &incident.id));
        Ok(Self {
            alerts: own.unwrap_or_default(),
            ..found
        })
    }

    /// First and last time of its events.
    pub(crate) fn span(&self) -> (EventTime, EventTime) {
        let times = self.alerts.iter().flat_map(|alert| {
            // The last event of an alert of a window rule is at the end of the window.
            let first = alert.accesses.first().map(|access| access.head.time);
            let events = alert.events.iter().map(|event| event.time);
            events.chain(first).chain([alert.last()])
        });
        let first = times.clone().min().unwrap_or(EventTime(0));
        (first, times.max().unwrap_or(first))
    }

    /// Ids of the events of its alerts.
    pub(crate) fn event_ids(&self) -> BTreeSet<String> {
        self.alerts
            .iter()
            .flat_map(|alert| event_ids(alert))
            .collect()
    }

    /// Whether raw records are searched for: those of an incident are many.
    pub(crate) fn shows_records(&self, raw: bool) -> bool {
        raw || self.incident.is_none()
    }
}

/// Ids of the events of an alert: its accesses and their KMS Decrypts, its other events if known,
/// or the event that its summary names.
fn event_ids(alert: &Alert) -> BTreeSet<String> {
    let of_accesses = alert.accesses.iter().flat_map(|access| {
        let read = Some(&access.head.event_id);
        [read, access.decrypt.event_id.as_ref()]
    });
    // An alert about another record than an access, read from a file, names its event only in the
    // summary.
    let of_summary = alert
        .summary
        .rsplit_once(", event ")
        .filter(|_| alert.accesses.is_empty())
        .map(|(_, id)| id.to_owned());
    of_accesses
        .flatten()
        .chain(alert.events.iter().map(|event| &event.id))
        .map(ToString::to_string)
        .chain(of_summary)
        .collect()
}

fn members<'a>(alerts: &'a [Alert], id: &IncidentId) -> Vec<&'a Alert> {
    let alerts = alerts.iter();
    alerts
        .filter(|alert| alert.incident.as_ref() == Some(id))
        .collect()
}

fn ambiguous(id: &str, found: &[FoundSubject<'_>]) -> RunFailure {
    let mut text = format!(
        "{id}: {} ids of alerts and incidents start with this; give more of one:",
        found.len()
    );
    for subject in found.iter().take(LISTED) {
        match (subject.incident, subject.alerts.first()) {
            (Some(incident), _) => {
                let name = sanitize::line(&incident.actor.name);
                write!(text, "\n  {} incident of {name}", incident.id.0).ok();
            }
            (None, Some(alert)) => {
                let title = sanitize::line(&alert.rule.title);
                write!(text, "\n  {} alert: {title}", alert.id.0).ok();
            }
            (None, None) => {}
        }
    }
    RunFailure::Usage(text)
}

#[cfg(test)]
mod tests {
    use secretrail_engine::alert::AlertEvent;
    use serde_json::json;

    use super::*;
    use crate::commands::tests::{access, alert, rule};

    #[test]
    fn the_summary_names_the_event_only_where_nothing_else_does() {
        let mut alert = alert(&rule("r", "R"), "a");
        alert.summary = "kim did it, event e-1".to_owned();
        assert_eq!(event_ids(&alert), ["e-1".to_owned()].into());
        alert.accesses = vec![access(&[
            ("/event_id", json!("read")),
            ("/decrypt/event_id", json!("decrypt")),
        ])];
        alert.events = vec![AlertEvent {
            id: "other".into(),
            time: EventTime(0),
            object: "".into(),
        }];
        let expected = ["read", "decrypt", "other"].map(str::to_owned);
        assert_eq!(event_ids(&alert), expected.into());
    }
}
