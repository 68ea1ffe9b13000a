//! An incident as an OCSF Detection Finding: the same finding in all its messages.

use super::{announced::NewsKind, message::IncidentMessage, usual::UsualFacts};
use crate::alert::ocsf::{FindingStage, finding_of_several};

/// The incident as a Detection Finding in JSON, which names the findings of its alerts.
#[must_use]
pub fn detection_finding(message: &IncidentMessage) -> String {
    let stage = match message.announced.news.kind {
        NewsKind::Opened => FindingStage::New,
        NewsKind::Updated => FindingStage::InProgress,
        NewsKind::Merged | NewsKind::Withdrawn => FindingStage::Resolved,
    };
    let whole = message.as_alert().shortened(0, 20, 500);
    let ids = message.incident.alert_ids.iter().map(|id| &id.0);
    let usual = message.incident.usual.as_ref();
    let usual = usual.map_or_else(Vec::new, UsualFacts::texts);
    finding_of_several(&whole, stage, ids, usual)
}
