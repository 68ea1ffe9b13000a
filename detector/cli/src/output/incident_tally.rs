//! What the run summary says of alerts and incidents: how many, of which rules, and when most.

use std::collections::{BTreeMap, BTreeSet};

use secretrail_engine::{
    alert::Alert,
    ids::SharedStr,
    incident::{Incident, grouping::GroupedAlerts},
    rule_meta::RuleLevel,
    time::EventTime,
};

use crate::text::{number, plural};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// Hours with alerts beyond which days are compared.
const MANY_HOURS: i64 = 72;

/// Incidents that are more than a few screens.
const MANY_INCIDENTS: u64 = 30;

/// Counts of alerts and incidents.
#[derive(Debug, Default)]
pub(crate) struct IncidentTally {
    incidents: BTreeMap<RuleLevel, u64>,
    rules: BTreeMap<RuleLevel, BTreeSet<SharedStr>>,
    /// Number of alerts by the beginning of their hour.
    hours: BTreeMap<EventTime, u64>,
}

impl IncidentTally {
    /// The counts of a whole run.
    pub(crate) fn of(grouped: &GroupedAlerts) -> Self {
        let mut tally = Self::default();
        grouped
            .alerts
            .iter()
            .for_each(|alert| tally.add_alert(alert));
        let incidents = grouped.incidents.iter();
        incidents.for_each(|incident| tally.add_incident(incident));
        tally
    }

    pub(crate) fn add_alert(&mut self, alert: &Alert) {
        let rules = self.rules.entry(alert.rule.level).or_default();
        rules.insert(alert.rule.id.as_str().into());
        *self.hours.entry(alert.time.start_of(HOUR)).or_default() += 1;
    }

    pub(crate) fn add_incident(&mut self, incident: &Incident) {
        *self.incidents.entry(incident.level).or_default() += 1;
    }

    /// The lines of the run summary.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let rules = self.rules.iter();
        let rules: BTreeMap<RuleLevel, u64> = rules
            .map(|(level, rules)| (*level, rules.len() as u64))
            .collect();
        if !rules.is_empty() {
            lines.push(format!("rules fired    {}", levels(&rules)));
        }
        lines.push(format!("incidents      {}", levels(&self.incidents)));
        lines.extend(self.busiest());
        lines
    }

    /// The hour with most alerts, or the day where they are spread over many.
    fn busiest(&self) -> Option<String> {
        let (first, _) = self.hours.first_key_value()?;
        let (last, _) = self.hours.last_key_value()?;
        let (name, secs) = match last.0.saturating_sub(first.0) {
            span if span > MANY_HOURS * HOUR => ("day", DAY),
            _ => ("hour", HOUR),
        };
        let mut counts: BTreeMap<EventTime, u64> = BTreeMap::new();
        for (hour, count) in &self.hours {
            *counts.entry(hour.start_of(secs)).or_default() += count;
        }
        // Of several, the first.
        let (time, count) = counts.iter().rev().max_by_key(|(_, count)| **count)?;
        let time = time.to_string();
        let (day, clock) = time.split_once('T').unwrap_or((&time, ""));
        let when = match secs {
            DAY => day.to_owned(),
            _ => format!("{day} {} UTC", clock.get(..5).unwrap_or(clock)),
        };
        let label = format!("busiest {name}");
        Some(format!("{label:<15}{when}, {}", plural(*count, "alert")))
    }

    /// What to do with a list that nobody reads; `None` where it is short.
    pub(crate) fn hint(&self) -> Option<String> {
        let all: u64 = self.incidents.values().sum();
        let high = self.incidents.range(RuleLevel::High..);
        let high: u64 = high.map(|(_, count)| count).sum();
        (all > MANY_INCIDENTS).then(|| {
            format!(
                "secretrail: of {} incidents, --min-level high lists {}; `secretrail summary` \
                 shows the worst on one screen\n",
                number(all),
                number(high)
            )
        })
    }
}

/// Counts by level, the most severe first.
pub(crate) fn levels(counts: &BTreeMap<RuleLevel, u64>) -> String {
    let counts = counts.iter().rev();
    let texts: Vec<String> = counts
        .map(|(level, count)| format!("{} {level}", number(*count)))
        .collect();
    if texts.is_empty() {
        return "none".to_owned();
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(hours: &[(i64, u64)]) -> IncidentTally {
        IncidentTally {
            hours: hours
                .iter()
                .map(|(hour, count)| (EventTime(hour * HOUR), *count))
                .collect(),
            ..IncidentTally::default()
        }
    }

    #[test]
    fn the_busiest_hour_is_named_or_the_day() {
        assert_eq!(tally(&[]).busiest(), None);
        let hour = tally(&[(0, 1), (5, 3), (7, 3)]).busiest();
        let expected = "busiest hour   1970-01-01 05:00 UTC, 3 alerts";
        assert_eq!(hour.as_deref(), Some(expected));
        let day = tally(&[(0, 1), (5, 3), (30, 2), (31, 3), (200, 1)]).busiest();
        assert_eq!(day.as_deref(), Some("busiest day    1970-01-02, 5 alerts"));
    }

    #[test]
    fn a_long_list_has_a_hint() {
        let mut tally = tally(&[]);
        tally.incidents.insert(RuleLevel::Low, MANY_INCIDENTS);
        assert_eq!(tally.hint(), None);
        tally.incidents.insert(RuleLevel::Critical, 2);
        let hint = tally.hint().unwrap();
        assert!(
            hint.contains("of 32 incidents") && hint.contains("lists 2;"),
            "{hint}"
        );
    }
}
