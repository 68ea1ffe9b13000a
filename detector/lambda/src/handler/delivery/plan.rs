//! Which alerts are published in which message.

use secretrail_aws::sns::Publication;
use secretrail_engine::{
    alert::alert_digest::{AlertDigest, MOST_ALERTS, rank},
    outbox::WaitingAlert,
};

/// A message that is to be sent: one alert, or a digest of several.
#[derive(Debug)]
pub(super) struct PlannedMessage<'a> {
    pub(super) alerts: Vec<&'a WaitingAlert>,
}

impl PlannedMessage<'_> {
    pub(super) fn publication(&self) -> Publication<'_> {
        match self.alerts.as_slice() {
            [one] => Publication::Alert(&one.alert),
            several => {
                let alerts = several.iter().map(|waiting| &waiting.alert);
                Publication::Digest(AlertDigest::new(alerts.collect()))
            }
        }
    }
}

/// A message for each alert.
pub(super) fn each(waiting: &[WaitingAlert]) -> Vec<PlannedMessage<'_>> {
    let alone = waiting.iter().map(|alert| PlannedMessage {
        alerts: vec![alert],
    });
    alone.collect()
}

/// At most so many messages: the worst alerts alone, the others together. As many alerts are
/// together as necessary; what fits into no message waits.
pub(super) fn within(waiting: &[WaitingAlert], messages: usize) -> Vec<PlannedMessage<'_>> {
    if waiting.len() <= messages {
        return each(waiting);
    }
    let mut enough = (1..=messages)
        .skip_while(|digests| messages - digests + digests * MOST_ALERTS < waiting.len());
    let digests = enough.next().unwrap_or(messages);
    let mut alerts: Vec<&WaitingAlert> = waiting.iter().collect();
    // Stable: of a level, those that have waited longest come first.
    alerts.sort_by_key(|waiting| rank(&waiting.alert));
    let together = alerts.split_off(messages - digests);
    let mut planned: Vec<PlannedMessage<'_>> = alerts
        .into_iter()
        .map(|alert| PlannedMessage {
            alerts: vec![alert],
        })
        .collect();
    let size = together.len().div_ceil(digests.max(1)).min(MOST_ALERTS);
    let digests = together.chunks(size.max(1)).take(digests);
    planned.extend(digests.map(|alerts| PlannedMessage {
        alerts: alerts.to_vec(),
    }));
    planned
}

#[cfg(test)]
mod tests {
    use super::*;
    use secretrail_engine::{
        outbox::OutboxNote, rule_meta::RuleLevel, state::contract, time::EventTime,
    };
    use std::{collections::BTreeSet, sync::Arc};

    /// So many alerts, of which the last is the worst.
    fn waiting(count: usize) -> Vec<WaitingAlert> {
        let waiting = (0..count).map(|n| {
            let mut alert = contract::alert(&format!("e{n}"));
            if n + 1 == count {
                Arc::make_mut(&mut alert.rule).level = RuleLevel::Critical;
            }
            let note = OutboxNote::new("t".into(), alert.id.clone(), EventTime(0));
            WaitingAlert { note, alert }
        });
        waiting.collect()
    }

    fn sizes(count: usize, messages: usize) -> Vec<usize> {
        let waiting = waiting(count);
        let planned = within(&waiting, messages);
        let all: BTreeSet<_> = planned
            .iter()
            .flat_map(|message| &message.alerts)
            .map(|waiting| &waiting.alert.id)
            .collect();
        let sizes: Vec<usize> = planned.iter().map(|message| message.alerts.len()).collect();
        assert_eq!(all.len(), sizes.iter().sum::<usize>(), "each once");
        sizes
    }

    #[test]
    fn beyond_the_messages_one_digest_has_the_rest() {
        assert_eq!(sizes(0, 5), [0; 0]);
        assert_eq!(sizes(5, 5), [1; 5]);
        assert_eq!(sizes(6, 5), [1, 1, 1, 1, 2]);
        assert_eq!(sizes(30, 5), [1, 1, 1, 1, 26]);
        assert_eq!(sizes(30, 1), [30]);
        assert_eq!(sizes(30, 0), [0; 0], "all of them wait");
    }

    #[test]
    fn more_than_a_digest_holds_is_in_several_and_the_rest_waits() {
        assert_eq!(sizes(1_000, 5), [1, 1, 333, 333, 332]);
        assert_eq!(sizes(MOST_ALERTS + 4, 5), [1, 1, 1, 1, MOST_ALERTS]);
        assert_eq!(sizes(1_000, 2), [MOST_ALERTS, MOST_ALERTS]);
    }

    #[test]
    fn the_worst_goes_alone() {
        let waiting = waiting(12);
        let planned = within(&waiting, 3);
        assert_eq!(planned[0].alerts, [&waiting[11]]);
        assert_eq!(planned[1].alerts, [&waiting[0]]);
        let kind =
            |message: &PlannedMessage<'_>| matches!(message.publication(), Publication::Digest(_));
        assert_eq!(
            planned.iter().map(kind).collect::<Vec<_>>(),
            [false, false, true]
        );
    }
}
