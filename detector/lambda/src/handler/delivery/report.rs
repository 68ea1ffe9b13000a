//! What became of the messages for one destination.

use secretrail_aws::sns::{EntryError, Published, TopicDestination};
use secretrail_engine::outbox::OutboxNote;
use serde_json::json;

use super::plan::{Outgoing, PlannedMessage};
use crate::telemetry::{FunctionMetrics, LogSeverity, log};

/// What became of alerts for one destination.
#[derive(Debug, Default)]
pub(super) struct DeliveryReport {
    /// Notes of accepted alerts and incidents.
    pub(super) accepted: Vec<OutboxNote>,
    /// Other notes about what the accepted messages report too.
    pub(super) reported: Vec<OutboxNote>,
    /// Notes of alerts that the destination refused.
    pub(super) refused: Vec<OutboxNote>,
    /// Number of alerts that could not be sent because the destination failed.
    pub(super) failed: usize,
    /// Why it failed; `None` when it did not.
    pub(super) why: Option<EntryError>,
}

impl DeliveryReport {
    pub(super) fn add(
        &mut self,
        topic: &TopicDestination,
        message: PlannedMessage<'_>,
        result: Published,
    ) {
        let notes = message.parts.iter().map(|waiting| waiting.note.clone());
        match result {
            Published::Accepted => {
                for waiting in &message.parts {
                    tell(topic, waiting, LogSeverity::Info, "published", None);
                    self.reported.extend(waiting.also_reported());
                }
                self.accepted.extend(notes);
            }
            Published::Refused(why) => {
                let (severity, why) = (LogSeverity::Error, Some(why.to_string()));
                message.parts.iter().for_each(|waiting| {
                    tell(topic, waiting, severity, "refused", why.as_deref());
                });
                self.refused.extend(notes);
            }
            Published::Failed(why) => {
                self.failed += message.parts.len();
                self.why = Some(why);
            }
            Published::NotSent => self.failed += message.parts.len(),
        }
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.accepted.append(&mut other.accepted);
        self.refused.append(&mut other.refused);
        self.failed += other.failed;
        self.why = other.why.or(self.why.take());
    }

    /// Each alert counts once for each destination.
    pub(super) fn count(&self, metrics: &mut FunctionMetrics) {
        metrics.add("AlertsPublished", self.accepted.len() as u64);
        let failures = self.failed + self.refused.len();
        if failures > 0 {
            metrics.add("PublishFailures", failures as u64);
        }
    }

    /// Logs why a destination failed.
    pub(super) fn tell_failure(&self, topic: &TopicDestination) {
        if let Some(why) = &self.why {
            log(
                LogSeverity::Error,
                "destination failed, its alerts are kept in the outbox",
                json!({"topic": topic.topic_arn, "alerts": self.failed, "why": why.to_string()}),
            );
        }
    }
}

fn tell(
    topic: &TopicDestination,
    waiting: &Outgoing,
    severity: LogSeverity,
    what: &str,
    why: Option<&str>,
) {
    let alert = &waiting.alert;
    let level = alert.rule.level.as_str();
    let (message, about) = match &waiting.incident {
        Some(incident) => {
            let news = incident.announced.news.kind.as_str();
            let about = json!({"incident_id": &*incident.incident.id.0, "news": news, "why": why,
                "severity": level, "topic": topic.topic_arn});
            (format!("incident {what}"), about)
        }
        None => {
            let about = json!({"alert_id": &*alert.id.0, "rule_id": alert.rule.id, "why": why,
                "severity": level, "topic": topic.topic_arn});
            (format!("alert {what}"), about)
        }
    };
    log(severity, &message, about);
}
