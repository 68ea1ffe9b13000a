//! What an incident revealed, in its JSON.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    alert::IncidentId,
    limits::INCIDENT_SECRETS,
    revealed::{Certainty, ExposedVersion, IncidentExposure, VersionStatus},
    time::EventTime,
};

/// What became of the versions that an incident revealed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ExposureSummaryV1<'a> {
    /// The first fifty, open ones first; none where nobody has looked.
    #[serde(borrow)]
    exposure: Vec<ExposedV1<'a>>,
    /// Number of versions, at most two hundred.
    exposure_total: usize,
    /// Number of those that nothing is known to have superseded.
    exposure_open: usize,
    /// `closed` when every version is superseded, `open` otherwise; `null` where nothing was
    /// revealed, or nobody has looked.
    exposure_status: Option<Cow<'a, str>>,
    /// When the last of them was superseded; `null` while one is open, and where that was before
    /// the logs begin.
    exposure_closed: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ExposedV1<'a> {
    /// The ARN where it is known, otherwise the name.
    #[serde(borrow)]
    secret: Cow<'a, str>,
    account: Cow<'a, str>,
    region: Cow<'a, str>,
    /// `null` where the logs do not name it.
    version_id: Option<Cow<'a, str>>,
    /// `paired`, `requested`, `by_time` or `unknown`, as in `secretrail.exposure/1`.
    certainty: Cow<'a, str>,
    /// When it was revealed first.
    first: Cow<'a, str>,
    /// `current`, `previous`, `superseded`, `deleted` or `unknown`.
    status: Cow<'a, str>,
    /// Whether nothing is known to have taken its place.
    open: bool,
    /// When another version took its place; `null` while none did.
    superseded: Option<Cow<'a, str>>,
}

impl<'a> ExposureSummaryV1<'a> {
    pub(super) fn of(exposure: Option<&'a IncidentExposure>) -> Self {
        let Some(exposure) = exposure else {
            return Self::default();
        };
        let status = if exposure.is_open() { "open" } else { "closed" };
        let versions = exposure.versions.iter().take(INCIDENT_SECRETS);
        Self {
            exposure: versions.map(ExposedV1::of).collect(),
            exposure_total: exposure.versions.len(),
            exposure_open: exposure.open(),
            exposure_status: Some(status.into()),
            exposure_closed: exposure.closed().map(|time| time.to_string().into()),
        }
    }
}

impl<'a> ExposedV1<'a> {
    fn of(version: &'a ExposedVersion) -> Self {
        let superseded = version.superseded;
        Self {
            secret: (&*version.secret).into(),
            account: (&*version.account).into(),
            region: (&*version.region).into(),
            version_id: version.version_id.as_deref().map(Cow::from),
            certainty: version.certainty.as_str().into(),
            first: version.first.to_string().into(),
            status: version.status.as_str().into(),
            open: version.is_open,
            superseded: superseded.map(|time| time.to_string().into()),
        }
    }

    fn read(&self) -> Option<ExposedVersion> {
        let superseded = match &self.superseded {
            Some(time) => Some(EventTime::parse(time)?),
            None => None,
        };
        Some(ExposedVersion {
            secret: (&*self.secret).into(),
            account: (&*self.account).into(),
            region: (&*self.region).into(),
            version_id: self.version_id.as_deref().map(Into::into),
            certainty: Certainty::of_name(&self.certainty)?,
            first: EventTime::parse(&self.first)?,
            status: VersionStatus::of(&self.status)?,
            is_open: self.open,
            superseded,
        })
    }
}

/// What an incident in JSON revealed, and its id. The versions that it does not list are not known
/// to be superseded. `None` where it does not say.
#[must_use]
pub fn exposure_of(incident: &Value) -> Option<(IncidentId, IncidentExposure)> {
    let id = incident.get("id")?.as_str()?;
    let summary = ExposureSummaryV1::deserialize(incident).ok()?;
    summary.exposure_status.as_ref()?;
    let versions: Option<Vec<ExposedVersion>> =
        summary.exposure.iter().map(ExposedV1::read).collect();
    let versions = versions?;
    let exposure = IncidentExposure {
        are_more: summary.exposure_total > versions.len(),
        versions,
    };
    Some((IncidentId(id.into()), exposure))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_read_is_what_was_written() {
        let version = |secs: Option<i64>| ExposedVersion {
            secret: "prod/db".into(),
            account: "111122223333".into(),
            region: "eu-west-1".into(),
            version_id: secs.map(|_| "v1".into()),
            certainty: Certainty::Paired,
            first: EventTime(100),
            status: VersionStatus::Previous,
            is_open: secs.is_none(),
            superseded: secs.map(EventTime),
        };
        let exposure = IncidentExposure {
            versions: vec![version(None), version(Some(300))],
            are_more: false,
        };
        let summary = ExposureSummaryV1::of(Some(&exposure));
        let mut value = serde_json::to_value(summary).unwrap();
        assert_eq!(value["exposure_status"], "open");
        assert_eq!(
            (&value["exposure_total"], &value["exposure_open"]),
            (&json!(2), &json!(1))
        );
        value["id"] = json!("i1");
        assert_eq!(
            exposure_of(&value),
            Some((IncidentId("i1".into()), exposure))
        );
        let mut unknown = serde_json::to_value(ExposureSummaryV1::of(None)).unwrap();
        unknown["id"] = json!("i1");
        assert_eq!(exposure_of(&unknown), None);
    }
}
