//! Alerts that no event raises, put between those of a run, which come in order of time.

use std::{collections::VecDeque, mem};

use secretrail_engine::{alert::Alert, pipeline::BatchOutcome};

/// Alerts that are still to come, by time and id.
pub(crate) struct AlertsBetween(VecDeque<Alert>);

impl AlertsBetween {
    /// Alerts by time and id.
    pub(crate) fn new(alerts: Vec<Alert>) -> Self {
        Self(alerts.into())
    }

    /// Puts those into a result that are not later than its last alert.
    pub(crate) fn put_into(&mut self, outcome: &mut BatchOutcome) {
        let Some(last) = outcome.alerts.last().map(|alert| alert.time) else {
            return;
        };
        let later = self.0.partition_point(|alert| alert.time <= last);
        if later == 0 {
            return;
        }
        let rest = self.0.split_off(later);
        for alert in mem::replace(&mut self.0, rest) {
            outcome.report.count_alert(&alert);
            outcome.alerts.push(alert);
        }
        let alerts = &mut outcome.alerts;
        alerts.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
    }

    /// Those that are later than all others; `None` when there are none.
    pub(crate) fn rest(self) -> Option<BatchOutcome> {
        let mut outcome = BatchOutcome {
            alerts: self.0.into(),
            ..BatchOutcome::default()
        };
        for alert in &outcome.alerts {
            outcome.report.count_alert(alert);
        }
        (!outcome.alerts.is_empty()).then_some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use secretrail_engine::{silence::DeliveringPlaces, time::EventTime};

    use super::*;

    const HOUR: i64 = 3_600;

    /// Alerts about places that deliver until some hours.
    fn alerts(until: &[i64]) -> Vec<Alert> {
        let mut places = DeliveringPlaces::default();
        for (number, until) in until.iter().chain(&[500]).enumerate() {
            for hour in 0..*until {
                let region = format!("region-{number}");
                places.add("111122223333", &region, EventTime(hour * HOUR));
            }
        }
        places.silences()
    }

    fn times(outcome: &BatchOutcome) -> Vec<i64> {
        let alerts = outcome.alerts.iter();
        alerts.map(|alert| alert.time.0 / HOUR).collect()
    }

    #[test]
    fn alerts_come_in_order_of_time_and_each_is_counted() {
        let mut between = AlertsBetween::new(alerts(&[100, 200, 300]));
        let mut outcome = BatchOutcome::default();
        between.put_into(&mut outcome);
        assert!(outcome.alerts.is_empty(), "there is nothing to come before");
        outcome.alerts = alerts(&[50, 200]);
        between.put_into(&mut outcome);
        assert_eq!(times(&outcome), [50, 100, 200, 200]);
        assert_eq!(outcome.report.alerts.values().sum::<u64>(), 2);
        let rest = between.rest().unwrap();
        assert_eq!((times(&rest), rest.report.alerts.len()), (vec![300], 1));
        assert!(AlertsBetween::new(Vec::new()).rest().is_none());
    }
}
