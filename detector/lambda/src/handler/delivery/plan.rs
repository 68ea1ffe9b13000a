//! Which alerts and incidents are published in which message.

use secretrail_aws::sns::Publication;
use secretrail_engine::{
    alert::{
        Alert,
        alert_digest::{AlertDigest, MOST_ALERTS, rank},
    },
    incident::message::IncidentMessage,
    outbox::{Destination, OutboxNote},
};

/// An alert or incident that is to be published to a destination.
#[derive(Debug, PartialEq)]
pub(super) struct Outgoing {
    pub(super) note: OutboxNote,
    /// The alert; of an incident, its form as an alert.
    pub(super) alert: Alert,
    /// The incident; `None` for an alert.
    pub(super) incident: Option<IncidentMessage>,
}

impl Outgoing {
    pub(super) fn alert(note: OutboxNote, alert: Alert) -> Self {
        Self {
            note,
            alert,
            incident: None,
        }
    }

    pub(super) fn incident(note: OutboxNote, incident: IncidentMessage) -> Self {
        Self {
            note,
            alert: incident.as_alert(),
            incident: Some(incident),
        }
    }

    /// The notes that there may be about news that this message reports too.
    pub(super) fn also_reported(&self) -> Vec<OutboxNote> {
        let message = self.incident.as_ref();
        let notes = message.map(|message| self.note.also_reported(&message.announced, message.now));
        notes.unwrap_or_default()
    }
}

/// A message that is to be sent: one alert or incident, or a digest of several.
#[derive(Debug)]
pub(super) struct PlannedMessage<'a> {
    pub(super) parts: Vec<&'a Outgoing>,
}

impl PlannedMessage<'_> {
    pub(super) fn publication(&self) -> Publication<'_> {
        match self.parts.as_slice() {
            [one] => match &one.incident {
                Some(incident) => Publication::Incident(incident),
                None => Publication::Alert(&one.alert),
            },
            several => {
                let alerts = several.iter().map(|part| &part.alert);
                Publication::Digest(AlertDigest::new(alerts.collect()))
            }
        }
    }
}

/// A message for each.
fn each(waiting: Vec<&Outgoing>) -> Vec<PlannedMessage<'_>> {
    let alone = waiting
        .into_iter()
        .map(|one| PlannedMessage { parts: vec![one] });
    alone.collect()
}

/// What is sent to a destination: at most so many messages if its rate is limited. What waits for
/// the digest of the day is in as few messages as possible, after the others.
pub(super) fn of<'a>(
    destination: &Destination,
    waiting: &'a [Outgoing],
    most: Option<usize>,
) -> Vec<PlannedMessage<'a>> {
    let (digested, alone): (Vec<&Outgoing>, Vec<&Outgoing>) = waiting
        .iter()
        .partition(|one| destination.digests(one.alert.rule.level));
    let mut planned = match most {
        None => each(alone),
        Some(most) => within(alone, most),
    };
    let room = most.map_or(usize::MAX, |most| most.saturating_sub(planned.len()));
    let digests = digested.chunks(MOST_ALERTS).take(room);
    planned.extend(digests.map(|parts| PlannedMessage {
        parts: parts.to_vec(),
    }));
    planned
}

/// At most so many messages: the worst alone, the others together. As many are together as
/// necessary; what fits into no message waits.
fn within(mut all: Vec<&Outgoing>, messages: usize) -> Vec<PlannedMessage<'_>> {
    if all.len() <= messages {
        return each(all);
    }
    let mut enough =
        (1..=messages).skip_while(|digests| messages - digests + digests * MOST_ALERTS < all.len());
    let digests = enough.next().unwrap_or(messages);
    // Stable: of a level, those that have waited longest come first.
    all.sort_by_key(|one| rank(&one.alert));
    let together = all.split_off(messages - digests);
    let mut planned = each(all);
    let size = together.len().div_ceil(digests.max(1)).min(MOST_ALERTS);
    let digests = together.chunks(size.max(1)).take(digests);
    planned.extend(digests.map(|parts| PlannedMessage {
        parts: parts.to_vec(),
    }));
    planned
}

#[cfg(test)]
mod tests {
    use super::*;
    use secretrail_engine::{
        outbox::{Destination, NoteTopic, OutboxNote},
        rule_meta::RuleLevel,
        state::contract,
        time::EventTime,
    };
    use std::{collections::BTreeSet, sync::Arc};

    /// So many alerts, of which the last is the worst.
    fn waiting(count: usize) -> Vec<Outgoing> {
        let waiting = (0..count).map(|n| {
            let mut alert = contract::alert(&format!("e{n}"));
            if n + 1 == count {
                Arc::make_mut(&mut alert.rule).level = RuleLevel::Critical;
            }
            let topic = NoteTopic::Alert(alert.id.clone());
            Outgoing::alert(OutboxNote::new("t".into(), topic, EventTime(0)), alert)
        });
        waiting.collect()
    }

    fn sizes(count: usize, messages: usize) -> Vec<usize> {
        let waiting = waiting(count);
        let planned = within(waiting.iter().collect(), messages);
        let all: BTreeSet<_> = planned
            .iter()
            .flat_map(|message| &message.parts)
            .map(|waiting| &waiting.alert.id)
            .collect();
        let sizes: Vec<usize> = planned.iter().map(|message| message.parts.len()).collect();
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
    fn what_waits_for_the_digest_of_the_day_is_in_one_message() {
        let waiting = waiting(12);
        let destination = Destination {
            digest_below: Some(RuleLevel::Critical),
            ..Destination::grouping()
        };
        let sizes = |most: Option<usize>| {
            let planned = of(&destination, &waiting, most);
            let sizes = planned.iter().map(|message| message.parts.len());
            sizes.collect::<Vec<usize>>()
        };
        assert_eq!(sizes(None), [1, 11]);
        assert_eq!(sizes(Some(5)), [1, 11]);
        assert_eq!(sizes(Some(1)), [1], "the digest waits");
        assert_eq!(sizes(Some(0)), [0; 0]);
    }

    #[test]
    fn the_worst_goes_alone() {
        let waiting = waiting(12);
        let planned = within(waiting.iter().collect(), 3);
        assert_eq!(planned[0].parts, [&waiting[11]]);
        assert_eq!(planned[1].parts, [&waiting[0]]);
        let kind =
            |message: &PlannedMessage<'_>| matches!(message.publication(), Publication::Digest(_));
        assert_eq!(
            planned.iter().map(kind).collect::<Vec<_>>(),
            [false, false, true]
        );
    }
}
