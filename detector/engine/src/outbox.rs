//! The outbox: which alerts and incidents are still to be published to which destination, and how
//! each destination does: whether it fails, what it was sent in the last minute, and who is
//! publishing to it.
//!
//! Pure: a store keeps what is described here, and the front end acts on it.

use crate::{
    alert::{Alert, AlertId, IncidentId},
    ids::SharedStr,
    incident::announced::{AnnouncedIncident, EarlierMessage},
    rule_meta::RuleLevel,
    time::EventTime,
};

/// Id of the destination whose notes say which alerts are still to be grouped into incidents.
/// Nothing is published to it.
pub const GROUPING: &str = "incidents";

/// Each wait after a failure is twice as long as the one before, and at most `2^DOUBLINGS` times as
/// long as the first: about an hour when the first is a minute.
const DOUBLINGS: u32 = 6;

/// Length in seconds of the span in which the messages to a destination are counted.
const RATE_SECS: i64 = 60;

/// What is published to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveredKinds {
    /// Alerts.
    Alerts,
    /// Incidents.
    Incidents,
    /// Alerts and incidents.
    Both,
}

impl DeliveredKinds {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::Alerts, Self::Incidents, Self::Both];

    /// The name in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alerts => "alerts",
            Self::Incidents => "incidents",
            Self::Both => "both",
        }
    }
}

/// Where alerts and incidents are published to, as a store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Identity: stays the same when the other settings of the destination change.
    pub id: SharedStr,
    /// Alerts and incidents below this level are not published to it.
    pub min_level: RuleLevel,
    /// What is published to it.
    pub kinds: DeliveredKinds,
    /// What is below this level waits for one digest a day; `None` when nothing does.
    pub digest_below: Option<RuleLevel>,
}

/// Length in seconds of the span for which there is one digest, after midnight in UTC.
const DIGEST_SECS: i64 = 86_400;

/// When the digest of the day is due that has a time.
fn end_of_day(time: EventTime) -> EventTime {
    time.start_of(DIGEST_SECS).plus(DIGEST_SECS)
}

impl Destination {
    /// The destination of alerts that are still to be grouped into incidents.
    #[must_use]
    pub fn grouping() -> Self {
        Self {
            id: GROUPING.into(),
            min_level: RuleLevel::Informational,
            kinds: DeliveredKinds::Alerts,
            digest_below: None,
        }
    }

    /// Whether what has this level waits for the digest of the day.
    #[must_use]
    pub fn digests(&self, level: RuleLevel) -> bool {
        self.digest_below.is_some_and(|below| level < below)
    }

    /// The note about an alert that was created or withdrawn at a time; `None` if it does not take
    /// the alert.
    #[must_use]
    pub fn note_of_alert(&self, alert: &Alert, created: EventTime) -> Option<OutboxNote> {
        let note = OutboxNote::new(self.id.clone(), NoteTopic::of_alert(alert), created);
        let due = self.due(alert.rule.level, created);
        self.takes(alert).then_some(OutboxNote { due, ..note })
    }

    /// The note about an incident that has changed; `None` if it does not take the incident. It
    /// says from which message on the destination lacks news: what waits for the digest of the day
    /// was not published to it.
    #[must_use]
    pub fn note_of_incident(&self, incident: &AnnouncedIncident) -> Option<OutboxNote> {
        let waits = |message: &&EarlierMessage| {
            self.digests(message.level) && end_of_day(message.due) > incident.due
        };
        let digested = incident.earlier.iter().rev().take_while(waits).last();
        let since = digested.map_or(incident.due, |message| message.due);
        let note = OutboxNote::new(self.id.clone(), NoteTopic::of_incident(incident), since);
        let due = self.due(incident.level, incident.due);
        self.takes_incident(incident)
            .then_some(OutboxNote { due, ..note })
    }

    /// The notes that there may be of a message about an incident, from when it was due: whatever
    /// level the incident had then.
    pub fn notes_due(
        &self,
        incident: &AnnouncedIncident,
        due: EventTime,
    ) -> impl Iterator<Item = OutboxNote> + use<> {
        let note = OutboxNote::new(self.id.clone(), NoteTopic::of_incident(incident), due);
        let digest = self.digest_below.map(|_| OutboxNote {
            due: end_of_day(due),
            ..note.clone()
        });
        std::iter::once(note).chain(digest)
    }

    /// Whether a note about an incident means nothing any more: it waits for the digest of the day,
    /// and the incident was published on its own since.
    #[must_use]
    pub fn was_published(&self, note: &OutboxNote, incident: &AnnouncedIncident) -> bool {
        let was_digested = note.refusals == 0 && note.due != incident.due;
        was_digested && note.created < note.due && !self.digests(incident.level)
    }

    /// From when on a message of a level is to be published.
    fn due(&self, level: RuleLevel, created: EventTime) -> EventTime {
        match self.digests(level) {
            true => end_of_day(created),
            false => created,
        }
    }

    /// Whether an alert is published to it.
    #[must_use]
    pub fn takes(&self, alert: &Alert) -> bool {
        self.kinds != DeliveredKinds::Incidents && alert.rule.level >= self.min_level
    }

    /// Whether an incident is published to it.
    #[must_use]
    pub fn takes_incident(&self, incident: &AnnouncedIncident) -> bool {
        let takes = self.kinds != DeliveredKinds::Alerts && incident.highest >= self.min_level;
        takes && incident.is_published()
    }
}

/// What a note is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteTopic {
    /// An alert.
    Alert(AlertId),
    /// An incident.
    Incident(IncidentId),
}

impl NoteTopic {
    /// An alert.
    #[must_use]
    pub fn of_alert(alert: &Alert) -> Self {
        Self::Alert(alert.id.clone())
    }

    /// An incident.
    #[must_use]
    pub fn of_incident(incident: &AnnouncedIncident) -> Self {
        Self::Incident(incident.id.clone())
    }
}

/// A note in the outbox: an alert or incident is to be published to a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxNote {
    /// Id of the destination.
    pub destination: SharedStr,
    /// What is to be published.
    pub topic: NoteTopic,
    /// When the alert was created or withdrawn: when that has happened again since, another note
    /// says so, and this one means nothing. Of an incident, when the first message was due that
    /// the destination lacks; whether it means something then is
    /// [`AnnouncedIncident::is_current`].
    pub created: EventTime,
    /// From when on it is to be published.
    pub due: EventTime,
    /// How often it was refused, although the destination accepted others.
    pub refusals: u32,
}

impl OutboxNote {
    /// The note that is written with an alert or incident.
    #[must_use]
    pub fn new(destination: SharedStr, topic: NoteTopic, created: EventTime) -> Self {
        Self {
            destination,
            topic,
            created,
            due: created,
            refusals: 0,
        }
    }

    /// An incident with all the news that the destination lacks; without those that are still to
    /// come.
    #[must_use]
    pub fn reported(&self, incident: &AnnouncedIncident, now: EventTime) -> AnnouncedIncident {
        incident.reporting(self.created, now.max(self.due))
    }

    /// The notes that there may be about news of an incident that its message reports too.
    #[must_use]
    pub fn also_reported(&self, incident: &AnnouncedIncident, now: EventTime) -> Vec<Self> {
        let dues = incident.reported_dues(self.created, now.max(self.due));
        let notes = dues
            .into_iter()
            .map(|due| Self::new(self.destination.clone(), self.topic.clone(), due));
        notes.filter(|note| note.due != self.due).collect()
    }

    /// Since when it waits, for a measure of delays: a digest that is not due yet is not late.
    #[must_use]
    pub fn waits_since(&self) -> EventTime {
        match self.refusals {
            0 => self.due,
            _ => self.created,
        }
    }

    /// The note that replaces it when it was refused: it is due later, so that it is not in the
    /// way of others. `first_secs` is the wait after the first refusal.
    #[must_use]
    pub fn put_off(&self, now: EventTime, first_secs: i64) -> Self {
        Self {
            due: now.plus(wait_secs(self.refusals, first_secs)),
            refusals: self.refusals.saturating_add(1),
            ..self.clone()
        }
    }
}

/// An alert or incident that is to be published to a destination.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitingMessage {
    /// Its note.
    pub note: OutboxNote,
    /// What is to be published, as it is now.
    pub content: WaitingContent,
}

/// What is to be published.
#[derive(Debug, Clone, PartialEq)]
pub enum WaitingContent {
    /// An alert.
    Alert(Box<Alert>),
    /// An incident: what stores keep of it.
    Incident(Box<AnnouncedIncident>),
}

impl WaitingMessage {
    /// The alert; `None` when it is about an incident.
    #[must_use]
    pub fn alert(&self) -> Option<&Alert> {
        match &self.content {
            WaitingContent::Alert(alert) => Some(alert),
            WaitingContent::Incident(_) => None,
        }
    }

    /// What stores keep of the incident; `None` when it is about an alert.
    #[must_use]
    pub fn incident(&self) -> Option<&AnnouncedIncident> {
        match &self.content {
            WaitingContent::Alert(_) => None,
            WaitingContent::Incident(incident) => Some(incident),
        }
    }
}

/// How a destination does. Changed by comparing versions ([`crate::state::StateStore`]), so that
/// all who publish to it agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationState {
    /// Id of the destination.
    pub id: SharedStr,
    /// Failed attempts since the last success.
    pub failures: u32,
    /// Nothing is sent before this time; `None` when the last attempt did not fail.
    pub retry_at: Option<EventTime>,
    /// Until when a sweep has reserved the destination for itself; `None` when none has.
    pub busy_until: Option<EventTime>,
    /// When messages were sent in the last minute; empty without a rate.
    pub sent: Vec<EventTime>,
    /// Since when it is missing in the settings; `None` when it is there.
    pub removed: Option<EventTime>,
    /// Number of changes so far.
    pub version: u64,
}

impl DestinationState {
    /// A destination to which nothing was published yet.
    #[must_use]
    pub fn new(id: SharedStr) -> Self {
        Self {
            id,
            failures: 0,
            retry_at: None,
            busy_until: None,
            sent: Vec::new(),
            removed: None,
            version: 0,
        }
    }

    /// Whether to try again a destination that has failed; `true` for one that has not.
    #[must_use]
    pub fn may_be_tried(&self, now: EventTime) -> bool {
        self.retry_at.is_none_or(|at| at <= now)
    }

    /// Whether a sweep publishes to it.
    #[must_use]
    pub fn is_busy(&self, now: EventTime) -> bool {
        self.busy_until.is_some_and(|until| until > now)
    }

    /// Notes a failed attempt. `first_secs` is the wait after the first one. Of attempts that fail
    /// together one counts.
    pub fn fail(&mut self, now: EventTime, first_secs: i64) {
        if self.may_be_tried(now) {
            self.retry_at = Some(now.plus(wait_secs(self.failures, first_secs)));
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// Notes a success.
    pub fn succeed(&mut self) {
        self.failures = 0;
        self.retry_at = None;
    }

    /// How many messages may be sent now, so that no 60 seconds have more than `per_minute`.
    #[must_use]
    pub fn room(&self, per_minute: usize, now: EventTime) -> usize {
        let recent = self.sent.iter().filter(|sent| is_recent(**sent, now));
        per_minute.saturating_sub(recent.count())
    }

    /// Takes up to `wanted` of the messages that may be sent now; returns how many.
    pub fn take(&mut self, per_minute: usize, wanted: usize, now: EventTime) -> usize {
        let granted = self.room(per_minute, now).min(wanted);
        self.sent.retain(|sent| is_recent(*sent, now));
        self.sent.extend(std::iter::repeat_n(now, granted));
        granted
    }
}

/// Whether a message still counts.
fn is_recent(sent: EventTime, now: EventTime) -> bool {
    now.0.saturating_sub(sent.0) < RATE_SECS
}

/// The wait after one more failure than these.
fn wait_secs(failures: u32, first_secs: i64) -> i64 {
    first_secs.saturating_mul(1 << failures.min(DOUBLINGS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> DestinationState {
        DestinationState::new("d".into())
    }

    #[test]
    fn a_failing_destination_is_asked_less_and_less_often() {
        let mut state = state();
        let mut now = EventTime(1_000);
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert!(state.may_be_tried(now));
            state.fail(now, 60);
            let at = state.retry_at.unwrap();
            assert!(!state.may_be_tried(at.plus(-1)));
            waits.push((at.0 - now.0) / 60);
            now = at;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        state.succeed();
        assert_eq!(state, super::DestinationState::new("d".into()));
    }

    #[test]
    fn of_attempts_that_fail_together_one_counts() {
        let mut state = state();
        state.fail(EventTime(10), 60);
        state.fail(EventTime(11), 60);
        assert_eq!((state.failures, state.retry_at), (1, Some(EventTime(70))));
    }

    #[test]
    fn no_minute_has_more_messages_than_the_rate() {
        let mut state = state();
        let granted: Vec<usize> = [(0, 3), (30, 3), (30, 1), (59, 9), (60, 9), (89, 1), (90, 9)]
            .map(|(secs, wanted)| state.take(5, wanted, EventTime(secs)))
            .into();
        assert_eq!(granted, [3, 2, 0, 0, 3, 0, 2]);
        assert!(state.sent.len() <= 5);
    }

    #[test]
    fn a_refused_alert_is_due_later_each_time() {
        let topic = NoteTopic::Alert(AlertId("a".into()));
        let first = OutboxNote::new("d".into(), topic, EventTime(5));
        assert_eq!(first.due, EventTime(5));
        let second = first.put_off(EventTime(100), 60);
        let third = second.put_off(EventTime(200), 60);
        assert_eq!((second.due.0, third.due.0), (160, 320));
        assert_eq!((third.created, third.refusals), (EventTime(5), 2));
    }

    #[test]
    fn what_is_below_a_level_waits_for_the_end_of_the_day() {
        let destination = Destination {
            digest_below: Some(RuleLevel::Medium),
            ..Destination::grouping()
        };
        let mut alert = crate::state::contract::alert("e1");
        let due = |alert: &Alert| {
            let note = destination
                .note_of_alert(alert, EventTime(100_000))
                .unwrap();
            assert_eq!(
                (note.created, note.waits_since()),
                (EventTime(100_000), note.due)
            );
            note.due.0
        };
        assert_eq!(due(&alert), 100_000);
        std::sync::Arc::make_mut(&mut alert.rule).level = RuleLevel::Low;
        assert_eq!(due(&alert), 172_800);
    }

    #[test]
    fn a_sweep_has_a_destination_for_itself_until_its_time_is_over() {
        let mut state = state();
        assert!(!state.is_busy(EventTime(0)));
        state.busy_until = Some(EventTime(10));
        assert!(state.is_busy(EventTime(9)) && !state.is_busy(EventTime(10)));
    }
}
