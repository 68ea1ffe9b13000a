//! What stores keep of an incident: what was published of it, and what is new. People are notified
//! of an incident at once, of news in it at most once a minute, and of more of the same at most
//! once an hour.

mod news;

use std::collections::BTreeSet;

pub use self::news::{EarlierMessage, ExposureNews, IncidentNews, NewsKind};

use super::{Incident, IncidentPeriods, LEAST};
use crate::{
    actor::Actor,
    alert::{Alert, AlertId, IncidentId},
    ids::SharedStr,
    rule_meta::RuleLevel,
    time::EventTime,
};

/// Shortest time in seconds between two messages about news in an incident.
pub const NEWS_SECS: i64 = 60;

/// Shortest time in seconds between two messages about more of the same.
pub const SAME_SECS: i64 = 3_600;

/// What is due within so many seconds is published at once. Each message is due a second after the
/// one before, so that their notes are different, however many there are in one second.
const AT_ONCE_SECS: i64 = 10;

/// Most ids of other incidents that became parts of one; of more, the first.
const MERGED: usize = 50;

/// Why an incident stands no longer for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IncidentEnd {
    /// Its alerts belong to another incident.
    MergedInto(IncidentId),
    /// All of its alerts were withdrawn.
    Withdrawn,
}

/// Values that were published as parts of an incident.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnnouncedValues {
    /// Ids of its rules.
    pub rules: BTreeSet<SharedStr>,
    /// Secrets that it lists.
    pub secrets: BTreeSet<SharedStr>,
    /// Secrets that it lists as read.
    pub revealed: BTreeSet<SharedStr>,
    /// Sources that it lists.
    pub sources: BTreeSet<SharedStr>,
    /// Regions that it lists.
    pub regions: BTreeSet<SharedStr>,
}

impl AnnouncedValues {
    fn of(incident: &Incident) -> Self {
        let rules = incident.rules.iter();
        Self {
            rules: rules.map(|rule| rule.rule.id.as_str().into()).collect(),
            secrets: incident.secrets.first.iter().cloned().collect(),
            revealed: incident.revealed.first.iter().cloned().collect(),
            sources: incident.sources.first.iter().cloned().collect(),
            regions: incident.regions.first.iter().cloned().collect(),
        }
    }

    /// Adds values; returns those that are new.
    fn take(&mut self, other: Self) -> IncidentNews {
        self.revealed.extend(other.revealed);
        IncidentNews {
            rules: take(&mut self.rules, other.rules),
            secrets: take(&mut self.secrets, other.secrets),
            sources: take(&mut self.sources, other.sources),
            regions: take(&mut self.regions, other.regions),
            ..IncidentNews::of(NewsKind::Updated)
        }
    }
}

fn is_known(values: &[SharedStr], known: &BTreeSet<SharedStr>) -> bool {
    values.iter().all(|value| known.contains(value))
}

fn take(known: &mut BTreeSet<SharedStr>, values: BTreeSet<SharedStr>) -> Vec<SharedStr> {
    let new = values
        .into_iter()
        .filter(|value| known.insert(value.clone()));
    new.collect()
}

/// Whether what an incident revealed may still work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnnouncedExposure {
    /// Since when: the first read.
    pub since: EventTime,
    /// Whether a version may still work.
    pub is_open: bool,
}

impl AnnouncedExposure {
    fn of(incident: &Incident) -> Option<Self> {
        let exposure = incident.exposure.as_ref()?;
        let since = exposure.versions.iter().map(|version| version.first).min();
        Some(Self {
            since: since.unwrap_or(incident.first),
            is_open: exposure.is_open(),
        })
    }

    /// What became of it since before.
    fn news(before: Option<Self>, after: Option<Self>) -> Option<ExposureNews> {
        match (before?.is_open, after?.is_open) {
            (true, false) => Some(ExposureNews::Closed),
            (false, true) => Some(ExposureNews::Reopened),
            _ => None,
        }
    }
}

/// What stores keep of an incident. Changed by comparing versions, so that all who publish it
/// agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncedIncident {
    /// Its id.
    pub id: IncidentId,
    /// Who or what it is about.
    pub actor: Actor,
    /// The id that it was first published with: when an earlier alert comes late, the id changes,
    /// and the thread in a chat does not.
    pub thread: IncidentId,
    /// As [`Incident::first`].
    pub first: EventTime,
    /// As [`Incident::last`].
    pub last: EventTime,
    /// Highest level of its alerts.
    pub level: RuleLevel,
    /// Highest level that it ever had: who was notified of it is notified of what became of it.
    pub highest: RuleLevel,
    /// As [`Incident::score`].
    pub score: u32,
    /// What was published of it.
    pub values: AnnouncedValues,
    /// What is known of the versions that it revealed; `None` if it revealed none.
    pub exposure: Option<AnnouncedExposure>,
    /// As [`Incident::alert_ids`].
    pub alert_ids: Vec<AlertId>,
    /// As [`Incident::alerts_total`].
    pub alerts_total: usize,
    /// What the next message reports, or the last one if none is due.
    pub news: IncidentNews,
    /// When the next message is due, or the last one was.
    pub due: EventTime,
    /// The messages before that one, in order of time; the first stands for all that were before
    /// it.
    pub earlier: Vec<EarlierMessage>,
    /// When the message before that was due; `None` if there was none.
    pub due_before: Option<EventTime>,
    /// When the next message was due before this change has brought it forward; `None` if it did
    /// not.
    pub replaces: Option<EventTime>,
    /// Number of messages, that which is due included.
    pub messages: u32,
    /// Incidents that became parts of it.
    pub merged: Vec<IncidentId>,
    /// What became of it; `None` while it stands for itself.
    pub end: Option<IncidentEnd>,
    /// Number of changes so far.
    pub version: u64,
}

impl AnnouncedIncident {
    /// An incident that is published for the first time.
    #[must_use]
    pub fn opened(incident: &Incident, now: EventTime) -> Self {
        Self {
            id: incident.id.clone(),
            actor: incident.actor.clone(),
            thread: incident.id.clone(),
            first: incident.first,
            last: incident.last,
            level: incident.level,
            highest: incident.level,
            score: incident.score,
            values: AnnouncedValues::of(incident),
            exposure: AnnouncedExposure::of(incident),
            alert_ids: incident.alert_ids.clone(),
            alerts_total: incident.alerts_total,
            news: IncidentNews::of(NewsKind::Opened),
            due: now,
            earlier: Vec::new(),
            due_before: None,
            replaces: None,
            messages: 1,
            merged: Vec::new(),
            end: None,
            version: 0,
        }
    }

    /// The incident as it is now, which `others` have become parts of; `None` when that is no
    /// change.
    #[must_use]
    pub fn updated(&self, incident: &Incident, others: &[&Self], now: EventTime) -> Option<Self> {
        let mut after = Self {
            first: incident.first,
            last: incident.last,
            level: incident.level,
            highest: self.highest.max(incident.level),
            score: incident.score,
            exposure: AnnouncedExposure::of(incident),
            alert_ids: incident.alert_ids.clone(),
            alerts_total: incident.alerts_total,
            end: None,
            ..self.clone()
        };
        let mut news = after.values.take(AnnouncedValues::of(incident));
        for other in others {
            after.take_in(other, &mut news);
        }
        // What is new is a part of what is published. Since when it is exposed stays as it was.
        let since = after
            .exposure
            .zip(self.exposure)
            .map(|(_, before)| before.since);
        if let (Some(exposure), Some(since)) = (&mut after.exposure, since) {
            exposure.since = since;
        }
        let is_changed = after != *self;
        if self.end.is_some() {
            news.kind = NewsKind::Opened;
        }
        news.level_before = (self.level != after.level).then_some(self.level);
        news.exposure = AnnouncedExposure::news(self.exposure, after.exposure);
        news.alerts = after.alerts_total.saturating_sub(self.alerts_total);
        is_changed.then(|| after.with_news(news, self.level, now))
    }

    /// Notes another incident that became a part of this one.
    fn take_in(&mut self, other: &Self, news: &mut IncidentNews) {
        for id in std::iter::once(&other.id).chain(&other.merged) {
            if !self.merged.contains(id) && self.merged.len() < MERGED && *id != self.id {
                self.merged.push(id.clone());
                news.merged.push(id.clone());
            }
        }
        self.highest = self.highest.max(other.highest);
    }

    /// This incident under another id: alerts that came late have moved its beginning.
    #[must_use]
    pub fn renamed(&self, incident: &Incident) -> Self {
        Self {
            id: incident.id.clone(),
            actor: incident.actor.clone(),
            version: 0,
            ..self.clone()
        }
    }

    /// The incident after it has ended in this way. It is published, unless another message does.
    #[must_use]
    pub fn ended(&self, end: IncidentEnd, is_published: bool, now: EventTime) -> Self {
        let kind = match end {
            IncidentEnd::MergedInto(_) => NewsKind::Merged,
            IncidentEnd::Withdrawn => NewsKind::Withdrawn,
        };
        let after = Self {
            end: Some(end),
            ..self.clone()
        };
        match is_published {
            true => after.with_news(IncidentNews::of(kind), self.level, now),
            // Whatever was due is published with the other one, and notes about it mean nothing.
            false => Self {
                due: EventTime(0),
                ..after
            },
        }
    }

    /// Whether it has messages of its own: after it became a part of another one, only if a message
    /// says so.
    #[must_use]
    pub fn is_published(&self) -> bool {
        let is_merged = matches!(self.end, Some(IncidentEnd::MergedInto(_)));
        !is_merged || self.news.kind == NewsKind::Merged
    }

    /// Whether an alert is no more than more of the same, to be published with what is due later:
    /// it lies within the incident, and all of it is known.
    #[must_use]
    pub fn covers(&self, alert: &Alert, periods: IncidentPeriods, now: EventTime) -> bool {
        let values = &self.values;
        let known = [
            (&alert.secrets, &values.secrets),
            (&alert.traits.revealed, &values.revealed),
            (&alert.traits.sources, &values.sources),
            (&alert.traits.regions, &values.regions),
        ];
        let is_near = self.first <= periods.begin(alert)
            && periods.begin(alert) <= self.last.plus(periods.gap_secs)
            && alert.time <= self.first.plus(periods.max_secs);
        // What is read after all was superseded may be a version that still works.
        let reveals_more = !alert.traits.versions.is_empty()
            && self.exposure.is_none_or(|exposure| !exposure.is_open);
        self.is_pending(now)
            && self.end.is_none()
            && is_near
            && !reveals_more
            && (LEAST..=self.level).contains(&alert.rule.level)
            && values.rules.contains(alert.rule.id.as_str())
            && known.iter().all(|(own, known)| is_known(own, known))
    }

    /// The incident with all the news of messages from one time to another: what a destination
    /// lacks that has taken the messages before.
    #[must_use]
    pub fn reporting(&self, since: EventTime, until: EventTime) -> Self {
        let all = self.messages_due();
        let mut lacked = all.filter(|(due, _)| (since..=until).contains(due));
        let mut after = self.clone();
        if let Some((_, first)) = lacked.next() {
            after.news = first.clone();
            lacked.for_each(|(_, later)| after.news.append(later.clone()));
        }
        after
    }

    /// When the messages were due whose news [`AnnouncedIncident::reporting`] adds to those of the
    /// first.
    #[must_use]
    pub fn reported_dues(&self, since: EventTime, until: EventTime) -> Vec<EventTime> {
        let dues = self.messages_due().map(|(due, _)| due);
        dues.filter(|due| since < *due && *due <= until).collect()
    }

    /// Since when what it revealed may still work; `None` where all of it is superseded, nothing
    /// was revealed, or the incident stands no longer for itself.
    #[must_use]
    pub fn open_since(&self) -> Option<EventTime> {
        let exposure = self.exposure.filter(|exposure| exposure.is_open);
        let exposure = exposure.filter(|_| self.end.is_none())?;
        Some(exposure.since)
    }

    /// Its messages, by when they are due.
    fn messages_due(&self) -> impl Iterator<Item = (EventTime, &IncidentNews)> {
        let earlier = self.earlier.iter();
        let earlier = earlier.map(|message| (message.due, &message.news));
        earlier.chain([(self.due, &self.news)])
    }

    /// Whether a note says what is still to be published, from when the message was due that it is
    /// about. A message that was not sent in time is replaced by one with all that is known.
    #[must_use]
    pub fn is_current(&self, due: EventTime) -> bool {
        due <= self.due
    }

    /// Whether a message waits that is not published at once.
    #[must_use]
    pub fn is_pending(&self, now: EventTime) -> bool {
        self.due > now.plus(AT_ONCE_SECS)
    }

    /// The incident after something new, which had a level before.
    fn with_news(mut self, news: IncidentNews, level: RuleLevel, now: EventTime) -> Self {
        let is_pending = self.is_pending(now);
        let before = match is_pending {
            true => self.due_before,
            false => Some(self.due),
        };
        let wait = match (news.is_urgent(), news.is_news()) {
            (true, _) => 0,
            (false, true) => NEWS_SECS,
            (false, false) => SAME_SECS,
        };
        let due = now.max(before.map_or(now, |before| before.plus(wait)));
        self.replaces = None;
        if is_pending {
            self.replaces = (due < self.due).then_some(self.due);
            self.due = self.due.min(due);
            self.news.append(news);
        } else {
            // A message that was due is out: the next one is another.
            let message = EarlierMessage {
                due: self.due,
                level,
                news: std::mem::replace(&mut self.news, news),
            };
            self.due = due.max(self.due.plus(1));
            news::keep(&mut self.earlier, message);
            self.messages += 1;
        }
        self.due_before = before;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        alert::Alert,
        incident::{IncidentPeriods, grouping::IncidentGrouping},
        rule_meta::RuleMeta,
        state::contract,
    };

    fn alert(index: usize, level: RuleLevel, secret: &str) -> Alert {
        let mut alert = contract::alert(&format!("e{index}"));
        alert.rule = Arc::new(RuleMeta {
            id: format!("rule of {level}"),
            level,
            ..RuleMeta::default()
        });
        alert.secrets = vec![secret.into()];
        alert
    }

    fn incident(alerts: &[Alert]) -> Incident {
        let periods = IncidentPeriods::default();
        let mut grouped = IncidentGrouping::all(periods, alerts.to_vec());
        grouped.incidents.pop().unwrap()
    }

    #[test]
    fn what_is_new_is_published_soon_and_more_of_the_same_within_an_hour() {
        let mut alerts = vec![alert(0, RuleLevel::Medium, "a")];
        let opened = AnnouncedIncident::opened(&incident(&alerts), EventTime(1_000));
        assert_eq!((opened.due.0, opened.news.kind), (1_000, NewsKind::Opened));
        let same = opened.updated(&incident(&alerts), &[], EventTime(1_010));
        assert_eq!(same, None, "nothing has changed");
        alerts.push(alert(1, RuleLevel::Medium, "a"));
        let more = opened.updated(&incident(&alerts), &[], EventTime(1_020));
        let more = more.unwrap();
        assert_eq!((more.due.0, more.news.alerts, more.messages), (4_600, 1, 2));
        alerts.push(alert(2, RuleLevel::Medium, "b"));
        let secret = more.updated(&incident(&alerts), &[], EventTime(1_030));
        let secret = secret.unwrap();
        assert_eq!((secret.due.0, secret.news.alerts), (1_060, 2));
        assert_eq!(*secret.news.secrets[0], *"b");
        alerts.push(alert(3, RuleLevel::High, "b"));
        let high = secret.updated(&incident(&alerts), &[], EventTime(1_040));
        let high = high.unwrap();
        assert_eq!((high.due.0, high.messages), (1_040, 2));
        assert_eq!(high.news.level_before, Some(RuleLevel::Medium));
        assert_eq!(*high.news.secrets[0], *"b", "it was not published yet");
        alerts.push(alert(4, RuleLevel::High, "c"));
        let last = high.updated(&incident(&alerts), &[], EventTime(1_040));
        let last = last.unwrap();
        assert_eq!((last.due.0, last.messages), (1_100, 3), "it is another one");
        assert!(last.is_pending(EventTime(1_040)) && !high.is_pending(EventTime(1_040)));
        assert_eq!(last.news.secrets.len(), 1);
    }

    #[test]
    fn what_was_not_sent_in_time_is_reported_by_the_next_message() {
        let mut alerts = vec![alert(0, RuleLevel::Medium, "a")];
        let opened = AnnouncedIncident::opened(&incident(&alerts), EventTime(1_000));
        alerts.push(alert(1, RuleLevel::Medium, "b"));
        let second = opened.updated(&incident(&alerts), &[], EventTime(1_200));
        alerts.push(alert(2, RuleLevel::High, "c"));
        let third = second.unwrap();
        let third = third.updated(&incident(&alerts), &[], EventTime(1_400));
        let third = third.unwrap();
        assert_eq!((third.due.0, third.messages), (1_400, 3));
        let lacking = |since| third.reporting(EventTime(since), EventTime(1_500)).news;
        assert_eq!(lacking(1_000).kind, NewsKind::Opened);
        let two = lacking(1_200);
        assert_eq!((two.kind, two.alerts), (NewsKind::Updated, 2));
        assert_eq!(two.level_before, Some(RuleLevel::Medium));
        assert_eq!(two.secrets.len(), 2);
        assert_eq!(lacking(1_400), third.news);
        let dues = |until| third.reported_dues(EventTime(1_000), EventTime(until));
        assert_eq!(dues(1_400), [EventTime(1_200), EventTime(1_400)]);
        assert_eq!(dues(1_399), [EventTime(1_200)]);
        let before = third.reporting(EventTime(1_000), EventTime(1_399)).news;
        assert_eq!(before.secrets.len(), 1, "the last one is still to come");
    }

    #[test]
    fn few_messages_are_kept_and_none_of_their_news_is_lost() {
        let mut alerts = vec![alert(0, RuleLevel::Medium, "s0")];
        let mut known = AnnouncedIncident::opened(&incident(&alerts), EventTime(0));
        for index in 1..30 {
            alerts.push(alert(index, RuleLevel::Medium, &format!("s{index}")));
            let now = EventTime(i64::try_from(index).unwrap() * 100);
            known = known.updated(&incident(&alerts), &[], now).unwrap();
        }
        assert_eq!((known.messages, known.earlier.len()), (30, 8));
        let all = known.reporting(EventTime(0), known.due).news;
        assert_eq!((all.kind, all.secrets.len()), (NewsKind::Opened, 29));
        let last = known.reporting(EventTime(2_800), known.due).news;
        assert_eq!((last.kind, last.secrets.len()), (NewsKind::Updated, 2));
    }

    #[test]
    fn a_withdrawn_alert_may_lower_the_level_and_all_of_them_end_the_incident() {
        let alerts = [
            alert(0, RuleLevel::Medium, "a"),
            alert(1, RuleLevel::High, "a"),
        ];
        let opened = AnnouncedIncident::opened(&incident(&alerts), EventTime(0));
        let lower = opened.updated(&incident(&alerts[..1]), &[], EventTime(5));
        let lower = lower.unwrap();
        assert_eq!(lower.news.level_before, Some(RuleLevel::High));
        assert_eq!(
            (lower.level, lower.highest),
            (RuleLevel::Medium, RuleLevel::High)
        );
        let ended = lower.ended(IncidentEnd::Withdrawn, true, EventTime(9));
        assert_eq!((ended.due.0, ended.news.kind), (9, NewsKind::Withdrawn));
    }

    #[test]
    fn an_incident_under_a_new_id_keeps_its_thread_and_names_the_old_one() {
        let late = incident(&[alert(0, RuleLevel::High, "a")]);
        let opened = AnnouncedIncident::opened(&late, EventTime(0));
        let mut earlier = late.clone();
        earlier.id = IncidentId("earlier".into());
        let renamed = opened.renamed(&earlier);
        let updated = renamed.updated(&earlier, &[&opened], EventTime(99));
        let updated = updated.unwrap();
        assert_eq!(updated.id, earlier.id);
        assert_eq!(updated.thread, late.id);
        assert_eq!((&updated.merged[..], updated.version), (&[late.id][..], 0));
        assert_eq!(updated.news.merged, updated.merged);
    }
}
