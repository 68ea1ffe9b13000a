//! What a person has decided about an incident: that it is closed, or open again. It is kept beside
//! the incident, which goes on as before: the decision says for how long it holds against what
//! comes later.

use std::{
    collections::{BTreeSet, HashMap},
    hash::BuildHasher,
};

use serde::{Deserialize, Serialize};

use super::announced::{AnnouncedIncident, NewsKind};
use crate::{alert::IncidentId, ids::SharedStr, rule_meta::RuleLevel, time::EventTime};

/// Most earlier decisions that are kept with the last one.
const EARLIER: usize = 20;

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecidedStatus {
    /// Nothing is left to do.
    Closed,
    /// It is open again.
    Reopened,
}

impl DecidedStatus {
    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Reopened => "reopened",
        }
    }
}

/// Who decided what, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// What was decided.
    pub status: DecidedStatus,
    /// Why, in the words of the person.
    pub reason: String,
    /// ARN of the caller.
    pub by: String,
    /// When, in seconds since 1970, UTC.
    pub at: i64,
}

impl Decided {
    /// When it was decided.
    #[must_use]
    pub fn time(&self) -> EventTime {
        EventTime(self.at)
    }
}

/// The last decision about an incident, what the incident was then, and the decisions before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentDecision {
    /// The last decision.
    pub last: Decided,
    /// Level of the incident then, as in alerts.
    level: String,
    /// Ids of its rules then.
    rules: BTreeSet<SharedStr>,
    /// Secrets that it listed then.
    secrets: BTreeSet<SharedStr>,
    /// The decisions before, the latest first; at most twenty.
    pub earlier: Vec<Decided>,
}

impl IncidentDecision {
    /// A decision about an incident as it is now, after those before.
    #[must_use]
    pub fn new(decided: Decided, about: &AnnouncedIncident, before: Option<&Self>) -> Self {
        let before = before.into_iter();
        let earlier =
            before.flat_map(|before| std::iter::once(&before.last).chain(&before.earlier));
        Self {
            last: decided,
            level: about.level.as_str().to_owned(),
            rules: about.values.rules.clone(),
            secrets: about.values.secrets.clone(),
            earlier: earlier.take(EARLIER).cloned().collect(),
        }
    }

    /// Whether the next message about an incident is not sent, because it is closed and the message
    /// reports no more than more of the same. What was never published is published, and so is what
    /// became of it.
    #[must_use]
    pub fn silences(&self, incident: &AnnouncedIncident) -> bool {
        let news = &incident.news;
        let is_update = news.kind == NewsKind::Updated && news.merged.is_empty();
        is_update && self.is_closed(incident)
    }

    /// The decisions that the next message about an incident names, the last first: that somebody
    /// had closed it, where what the message reports opens it again; and that somebody reopened it,
    /// in the first message since then, with who had closed it.
    #[must_use]
    pub fn named_in(&self, incident: &AnnouncedIncident) -> Vec<Decided> {
        match self.last.status {
            DecidedStatus::Closed if self.is_opened_by_news(incident) => vec![self.last.clone()],
            DecidedStatus::Reopened if is_first_since(incident, self.last.time()) => {
                let mut before = self.earlier.iter();
                let closed = before.find(|before| before.status == DecidedStatus::Closed);
                std::iter::once(&self.last).chain(closed).cloned().collect()
            }
            DecidedStatus::Closed | DecidedStatus::Reopened => Vec::new(),
        }
    }

    /// Whether the next message about an incident reports what opens it again.
    fn is_opened_by_news(&self, incident: &AnnouncedIncident) -> bool {
        let (news, level) = (&incident.news, self.level());
        let has_risen =
            incident.level > level && news.level_before.is_some_and(|before| before <= level);
        let is_unknown = |values: &[SharedStr], known: &BTreeSet<SharedStr>| {
            values.iter().any(|value| !known.contains(value))
        };
        news.kind == NewsKind::Updated
            && !self.is_closed(incident)
            && (has_risen
                || is_unknown(&news.rules, &self.rules)
                || is_unknown(&news.secrets, &self.secrets))
    }

    fn level(&self) -> RuleLevel {
        // A level of another version compares as the lowest: what is unclear is open.
        RuleLevel::ALL
            .into_iter()
            .find(|level| level.as_str() == self.level)
            .unwrap_or(RuleLevel::Informational)
    }

    /// Whether an incident is still closed: it was, and since then nothing has come but more of the
    /// same. A higher level, another rule or another secret opens it again.
    #[must_use]
    pub fn is_closed(&self, incident: &AnnouncedIncident) -> bool {
        self.last.status == DecidedStatus::Closed
            && incident.level <= self.level()
            && incident.values.rules.is_subset(&self.rules)
            && incident.values.secrets.is_subset(&self.secrets)
    }
}

/// What was decided last about an incident: under its id, or under the id of its thread, which it
/// had before an alert came late that is earlier.
#[must_use]
pub fn decided_about<'d, S: BuildHasher>(
    decisions: &'d HashMap<IncidentId, IncidentDecision, S>,
    incident: &AnnouncedIncident,
) -> Option<&'d IncidentDecision> {
    let ids = [&incident.id, &incident.thread].into_iter();
    let decided = ids.filter_map(|id| decisions.get(id));
    decided.max_by_key(|decision| decision.last.at)
}

/// Whether no message about an incident was due between a time and the next one. One that was due
/// in the same second may have been before it: what was decided is rather named twice than never.
fn is_first_since(incident: &AnnouncedIncident, time: EventTime) -> bool {
    let before = incident.earlier.last();
    incident.news.kind == NewsKind::Updated
        && incident.due >= time
        && before.is_none_or(|before| before.due <= time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        incident::announced::{EarlierMessage, IncidentNews},
        state::contract::announced,
    };

    fn decided(status: DecidedStatus, at: i64) -> Decided {
        Decided {
            status,
            reason: "a drill".to_owned(),
            by: "arn:aws:iam::111122223333:user/ana".to_owned(),
            at,
        }
    }

    #[test]
    fn a_decision_holds_under_the_id_that_an_earlier_alert_has_changed() {
        let id = |text: &str| IncidentId(text.into());
        let mut incident = announced("new", 0);
        (incident.id, incident.thread) = (id("new"), id("old"));
        let about = |at| IncidentDecision::new(decided(DecidedStatus::Closed, at), &incident, None);
        let mut decisions = HashMap::from([(id("old"), about(10)), (id("other"), about(99))]);
        let at = |decisions: &HashMap<_, _>| {
            decided_about(decisions, &incident).map(|decision| decision.last.at)
        };
        assert_eq!(at(&decisions), Some(10));
        decisions.insert(id("new"), about(20));
        assert_eq!(at(&decisions), Some(20), "the last one");
        decisions.insert(id("old"), about(30));
        assert_eq!(at(&decisions), Some(30));
        assert_eq!(at(&HashMap::new()), None);
    }

    #[test]
    fn more_of_the_same_leaves_an_incident_closed_and_news_open_it() {
        let incident = announced("ann", 100);
        let closed = decided(DecidedStatus::Closed, 200);
        let decision = IncidentDecision::new(closed, &incident, None);
        assert!(decision.is_closed(&incident));
        let mut later = incident.clone();
        (later.last, later.alerts_total) = (EventTime(300), 9);
        later.values.sources.insert("192.0.2.1".into());
        assert!(decision.is_closed(&later), "more of the same");
        let news: [fn(&mut AnnouncedIncident); 3] = [
            |incident| incident.level = RuleLevel::Critical,
            |incident| incident.values.rules.extend(["another".into()]),
            |incident| incident.values.secrets.extend(["another".into()]),
        ];
        for add in news {
            let mut later = incident.clone();
            later.level = RuleLevel::Medium;
            let decision = IncidentDecision::new(decision.last.clone(), &later, None);
            assert!(decision.is_closed(&later));
            add(&mut later);
            assert!(!decision.is_closed(&later));
        }
    }

    #[test]
    fn only_more_of_the_same_is_not_sent() {
        let mut incident = announced("ann", 100);
        let closed = decided(DecidedStatus::Closed, 200);
        let decision = IncidentDecision::new(closed, &incident, None);
        for (kind, is_silent) in [
            (NewsKind::Updated, true),
            (NewsKind::Opened, false),
            (NewsKind::Merged, false),
            (NewsKind::Withdrawn, false),
        ] {
            incident.news = IncidentNews::of(kind);
            assert_eq!(decision.silences(&incident), is_silent, "{kind:?}");
        }
        incident.news = IncidentNews::of(NewsKind::Updated);
        incident.news.merged.push(IncidentId("another".into()));
        assert!(!decision.silences(&incident), "it is known by another id");
        incident.news.merged.clear();
        incident.values.secrets.insert("another".into());
        assert!(!decision.silences(&incident));
    }

    #[test]
    fn the_message_that_opens_it_again_names_who_closed_it() {
        let mut incident = announced("ann", 100);
        let closed = decided(DecidedStatus::Closed, 200);
        let decision = IncidentDecision::new(closed.clone(), &incident, None);
        incident.news = IncidentNews::of(NewsKind::Updated);
        (incident.due, incident.news.alerts) = (EventTime(300), 1);
        assert_eq!(decision.named_in(&incident), [], "more of the same");
        incident.values.secrets.insert("another".into());
        incident.news.secrets = vec!["another".into()];
        assert_eq!(decision.named_in(&incident), std::slice::from_ref(&closed));
        // The message after it reports nothing that opens it.
        incident.news.secrets.clear();
        assert_eq!(decision.named_in(&incident), []);
        let mut lower = announced("ann", 100);
        lower.level = RuleLevel::Medium;
        let decision = IncidentDecision::new(closed.clone(), &lower, None);
        incident.level = RuleLevel::Critical;
        incident.news.level_before = Some(RuleLevel::Medium);
        assert_eq!(decision.named_in(&incident), std::slice::from_ref(&closed));
        incident.news.kind = NewsKind::Withdrawn;
        assert_eq!(decision.named_in(&incident), []);

        let mut incident = announced("ann", 100);
        incident.news = IncidentNews::of(NewsKind::Updated);
        let reopened = decided(DecidedStatus::Reopened, 400);
        let decision = IncidentDecision::new(reopened.clone(), &incident, Some(&decision));
        incident.due = EventTime(390);
        assert_eq!(decision.named_in(&incident), [], "it was sent before");
        incident.due = EventTime(500);
        assert_eq!(decision.named_in(&incident), [reopened, closed]);
        let message = EarlierMessage {
            due: EventTime(500),
            level: incident.level,
            news: IncidentNews::of(NewsKind::Updated),
        };
        incident.earlier.push(message);
        incident.due = EventTime(600);
        assert_eq!(decision.named_in(&incident), [], "it was said");
        // That message may have been sent in the same second, and before.
        incident
            .earlier
            .iter_mut()
            .for_each(|message| message.due = EventTime(400));
        assert_eq!(decision.named_in(&incident).len(), 2);
    }

    #[test]
    fn a_decision_is_read_back_and_keeps_those_before() {
        let incident = announced("ann", 100);
        let mut decision = None;
        for at in 0..30 {
            let status = [DecidedStatus::Closed, DecidedStatus::Reopened][at % 2];
            let decided = decided(status, i64::try_from(at).unwrap());
            decision = Some(IncidentDecision::new(decided, &incident, decision.as_ref()));
        }
        let decision = decision.unwrap();
        assert!(!decision.is_closed(&incident), "it was opened again");
        let times: Vec<i64> = decision.earlier.iter().map(|before| before.at).collect();
        assert_eq!((times.len(), times[0], times[19]), (20, 28, 9));
        let text = serde_json::to_string(&decision).unwrap();
        let read: IncidentDecision = serde_json::from_str(&text).unwrap();
        assert_eq!(read, decision);
    }
}
