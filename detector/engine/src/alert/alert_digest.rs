//! Many alerts and incidents in one message, for a destination that takes few messages: how many
//! there are, the worst, and the ids of all. In JSON it is `secretrail.digest/1`. An incident takes
//! part in the form of an alert.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use serde::Serialize;

use super::{Alert, AlertId, AlertTraits, cut};
use crate::{
    actor::{Actor, Origin, shared_by_all},
    digest::digest,
    rule_meta::{RuleLevel, RuleMeta},
    sanitize,
    time::EventTime,
};

/// Name and version of the schema.
pub const SCHEMA: &str = "secretrail.digest/1";

/// Most alerts in one digest: the ids of more do not fit into every form of the message.
pub const MOST_ALERTS: usize = 400;

/// Alerts that are described; of the others only the id is given.
const DESCRIBED: usize = 10;

/// Most characters of a text of an alert.
const CHARS: usize = 1_000;

/// Id of the rule that stands for incidents in the form of an alert.
pub const INCIDENT_RULE: &str = "secretrail-incident";

/// Many alerts in one message.
#[derive(Debug)]
pub struct AlertDigest<'a> {
    /// The worst first; those that were withdrawn last.
    alerts: Vec<&'a Alert>,
}

/// Whether an alert stands for an incident, whose id it has.
fn is_incident(alert: &Alert) -> bool {
    alert.rule.id == INCIDENT_RULE
}

#[derive(Serialize)]
struct DigestV1<'a> {
    schema: &'static str,
    /// 32 hexadecimal digits: the same for the same alerts.
    id: String,
    count: usize,
    /// Number of alerts by level; those that were withdrawn count too.
    levels: BTreeMap<&'static str, usize>,
    /// Time of the first and of the last alert.
    from: String,
    to: String,
    /// The ten worst.
    worst: Vec<DescribedAlert<'a>>,
    /// All of them, in the same order.
    alerts: Vec<ListedAlert<'a>>,
}

#[derive(Serialize)]
struct DescribedAlert<'a> {
    /// `alert` or `incident`.
    kind: &'static str,
    id: &'a str,
    level: &'static str,
    withdrawn: bool,
    rule_id: &'a str,
    title: &'a str,
    time: String,
    account: Option<String>,
    region: Option<String>,
    principal: Option<String>,
    summary: String,
}

#[derive(Serialize)]
struct ListedAlert<'a> {
    kind: &'static str,
    id: &'a str,
    level: &'static str,
    withdrawn: bool,
}

impl<'a> AlertDigest<'a> {
    /// A digest of alerts, [`MOST_ALERTS`] at most, in any order.
    #[must_use]
    pub fn new(mut alerts: Vec<&'a Alert>) -> Self {
        alerts.sort_by_key(|alert| (rank(alert), alert.time, &alert.id));
        Self { alerts }
    }

    /// The worst alerts.
    pub(super) fn worst(&self) -> impl Iterator<Item = &'a Alert> + '_ {
        self.alerts.iter().take(DESCRIBED).copied()
    }

    /// Every alert, the worst first.
    pub(super) fn alerts(&self) -> &[&'a Alert] {
        &self.alerts
    }

    /// Identity: the same for the same alerts, in any order.
    #[must_use]
    pub fn id(&self) -> String {
        let mut ids: Vec<String> = self.alerts.iter().map(|alert| alert.message_id()).collect();
        ids.sort();
        let parts: Vec<&str> = ids.iter().map(String::as_str).collect();
        digest(&parts)
    }

    /// The id of the rule that raised them; `None` when several did.
    #[must_use]
    pub fn rule_id(&self) -> Option<&'a str> {
        let first = self.alerts.first().map(|alert| &*alert.rule.id)?;
        let all = self.alerts.iter().all(|alert| alert.rule.id == first);
        all.then_some(first)
    }

    /// Number of alerts and incidents, as in `3 incidents` or `2 alerts and incidents`.
    pub(super) fn what(&self) -> String {
        let count = self.alerts.len();
        let incidents = self.alerts.iter().filter(|alert| is_incident(alert));
        match incidents.count() {
            0 => format!("{count} alerts"),
            incidents if incidents == count => format!("{count} incidents"),
            _ => format!("{count} alerts and incidents"),
        }
    }

    /// Number of alerts by level, as in `2 critical, 1 low`.
    pub(super) fn counted(&self) -> String {
        let levels = self.levels();
        let worst_first = RuleLevel::ALL.iter().rev();
        let counts = worst_first.filter_map(|level| {
            let count = levels.get(level.as_str())?;
            Some(format!("{count} {level}"))
        });
        counts.collect::<Vec<_>>().join(", ")
    }

    fn levels(&self) -> BTreeMap<&'static str, usize> {
        let mut levels = BTreeMap::new();
        for alert in &self.alerts {
            *levels.entry(alert.rule.level.as_str()).or_default() += 1;
        }
        levels
    }

    /// Time of the first and of the last alert.
    pub(super) fn times(&self) -> (EventTime, EventTime) {
        let times = self.alerts.iter().map(|alert| alert.time);
        let (first, last) = (times.clone().min(), times.max());
        let unknown = EventTime(0);
        (first.unwrap_or(unknown), last.unwrap_or(unknown))
    }

    /// The digest in the form of an alert, for subjects and for formats that know only alerts. It
    /// has the worst level, and what all alerts share.
    #[must_use]
    pub fn as_alert(&self) -> Alert {
        let (first, last) = self.times();
        let alerts = self.alerts.iter();
        // The first is the worst; of alerts that were all withdrawn too.
        let level = self.alerts.first().map(|alert| alert.rule.level);
        let level = level.unwrap_or(RuleLevel::Informational);
        let rule = RuleMeta {
            id: "secretrail-digest".to_owned(),
            title: format!("{} in one message", self.what()),
            level,
            ..RuleMeta::default()
        };
        let counted = self.counted();
        let account = shared_by_all(alerts.clone().map(|alert| alert.account.as_ref())).cloned();
        let region = shared_by_all(alerts.clone().map(|alert| alert.region.as_ref())).cloned();
        let principal = shared_by_all(alerts.map(|alert| alert.principal.as_ref())).cloned();
        let actor = Actor::by_names(principal.as_deref(), account.as_deref(), region.as_deref());
        Alert {
            id: AlertId(self.id().into()),
            rule: Arc::new(rule),
            time: last,
            began: first,
            window_match: None,
            summary: format!("{counted}, from {first} to {last}"),
            account,
            region,
            principal,
            secrets: Vec::new(),
            secrets_total: 0,
            accesses: Vec::new(),
            accesses_total: 0,
            events: Vec::new(),
            actor,
            origin: Origin::default(),
            common: None,
            former: Vec::new(),
            traits: AlertTraits::default(),
            incident: None,
            withdrawn: false,
        }
    }

    /// The digest as `secretrail.digest/1`.
    #[must_use]
    pub fn json(&self) -> String {
        let (from, to) = self.times();
        let form = DigestV1 {
            schema: SCHEMA,
            id: self.id(),
            count: self.alerts.len(),
            levels: self.levels(),
            from: from.to_string(),
            to: to.to_string(),
            worst: self.worst().map(DescribedAlert::of).collect(),
            alerts: self
                .alerts
                .iter()
                .map(|alert| ListedAlert::of(alert))
                .collect(),
        };
        // Cannot fail: every key is text.
        let text = serde_json::to_string(&form).unwrap_or_default();
        sanitize::json(&text).into_owned()
    }
}

/// `alert` or `incident`.
pub(super) fn kind(alert: &Alert) -> &'static str {
    if is_incident(alert) {
        "incident"
    } else {
        "alert"
    }
}

/// Sort key: the worst first, and what was withdrawn last.
#[must_use]
pub fn rank(alert: &Alert) -> (bool, Reverse<RuleLevel>) {
    (alert.withdrawn, Reverse(alert.rule.level))
}

impl<'a> DescribedAlert<'a> {
    fn of(alert: &'a Alert) -> Self {
        Self {
            kind: kind(alert),
            id: &alert.id.0,
            level: alert.rule.level.as_str(),
            withdrawn: alert.withdrawn,
            rule_id: &alert.rule.id,
            title: &alert.rule.title,
            time: alert.time.to_string(),
            account: alert.account.as_deref().map(|text| cut(text, CHARS)),
            region: alert.region.as_deref().map(|text| cut(text, CHARS)),
            principal: alert.principal.as_deref().map(|text| cut(text, CHARS)),
            summary: cut(&alert.summary, CHARS),
        }
    }
}

impl<'a> ListedAlert<'a> {
    fn of(alert: &'a Alert) -> Self {
        Self {
            kind: kind(alert),
            id: &alert.id.0,
            level: alert.rule.level.as_str(),
            withdrawn: alert.withdrawn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::contract;
    use serde_json::{Value, json};

    /// Alerts of these levels, of which the first is withdrawn.
    fn alerts(levels: &[RuleLevel]) -> Vec<Alert> {
        let mut alerts: Vec<Alert> = levels
            .iter()
            .enumerate()
            .map(|(index, level)| {
                let mut alert = contract::alert(&format!("e{index}"));
                Arc::make_mut(&mut alert.rule).level = *level;
                alert
            })
            .collect();
        alerts[0].withdrawn = true;
        alerts
    }

    fn parsed(alerts: &[Alert]) -> Value {
        serde_json::from_str(&AlertDigest::new(alerts.iter().collect()).json()).unwrap()
    }

    #[test]
    fn the_worst_come_first_and_all_are_named() {
        use RuleLevel::{Critical, High, Low};
        let alerts = alerts(&[Critical, Low, High, Critical]);
        let found = parsed(&alerts);
        let ids = |list: &str| -> Vec<String> {
            let list = found[list].as_array().unwrap().iter();
            list.map(|alert| alert["id"].as_str().unwrap().to_owned())
                .collect()
        };
        let expected = [3, 2, 1, 0].map(|index: usize| alerts[index].id.0.to_string());
        assert_eq!(ids("worst"), expected);
        assert_eq!(ids("alerts"), expected);
        assert_eq!(found["alerts"][3]["withdrawn"], json!(true));
        let levels = json!({"critical": 2, "high": 1, "low": 1});
        assert_eq!((&found["count"], &found["levels"]), (&json!(4), &levels));
    }

    #[test]
    fn ten_are_described_and_the_id_does_not_depend_on_the_order() {
        let mut alerts = alerts(&[RuleLevel::High; 30]);
        let found = parsed(&alerts);
        assert_eq!(found["worst"].as_array().unwrap().len(), 10);
        assert_eq!(found["alerts"].as_array().unwrap().len(), 30);
        alerts.reverse();
        assert_eq!(parsed(&alerts), found);
        alerts.pop();
        assert_ne!(parsed(&alerts)["id"], found["id"]);
    }

    #[test]
    fn in_the_form_of_an_alert_it_has_what_all_share() {
        let mut alerts = alerts(&[RuleLevel::Critical, RuleLevel::Medium]);
        alerts[1].region = Some("us-east-1".into());
        let digest = AlertDigest::new(alerts.iter().collect());
        let alert = digest.as_alert();
        assert_eq!(
            alert.rule.level,
            RuleLevel::Medium,
            "the other is withdrawn"
        );
        assert_eq!(alert.account.as_deref(), Some("111122223333"));
        assert_eq!(alert.region, None);
        assert_eq!(digest.counted(), "1 critical, 1 medium");
        assert_eq!(digest.rule_id(), Some("rule"));
        Arc::make_mut(&mut alerts[0].rule).id = "other".to_owned();
        assert_eq!(AlertDigest::new(alerts.iter().collect()).rule_id(), None);
    }
}
