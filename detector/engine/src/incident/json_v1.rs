//! The published JSON form of an incident, `secretrail.incident/1`. Every key is always present.

mod exposure;

use std::borrow::Cow;

use serde::Serialize;

use self::exposure::ExposureSummaryV1;
pub use self::exposure::exposure_of;
use super::{
    Incident, IncidentPeriods, IncidentRule, Listed,
    announced::{AnnouncedIncident, ExposureNews, IncidentEnd},
    decision::Decided,
    story::{IncidentStory, StoryAction},
    usual::{UsualFacts, UsualTrait},
};
use crate::{
    actor::Actor, alert::AlertId, ids::SharedStr, lineage::json_v1::OriginsV1,
    rule_meta::RuleLevel, time::EventTime,
};

/// Name and version of the schema.
pub const SCHEMA: &str = "secretrail.incident/1";

/// An incident as JSON.
#[derive(Debug, Serialize)]
pub struct IncidentV1<'a> {
    schema: &'a str,
    /// 32 hexadecimal digits; the same for the same set of alerts.
    id: &'a str,
    /// `active` while more alerts may join, `ended` afterwards.
    status: &'a str,
    actor: ActorV1<'a>,
    /// Highest level of the alerts.
    level: &'a str,
    /// How suspicious it is, from 0 to 100.
    score: u32,
    /// Times of the first and the last alert that make it.
    first: String,
    last: String,
    /// By their first alerts; the first fifty.
    rules: Vec<RuleV1<'a>>,
    rules_total: usize,
    /// The first fifty: ARNs where known, otherwise names.
    secrets: Vec<&'a str>,
    secrets_total: usize,
    /// Those whose values were read; the first fifty.
    revealed: Vec<&'a str>,
    revealed_total: usize,
    /// What became of it, as far as the logs go.
    #[serde(flatten)]
    exposure: ExposureSummaryV1<'a>,
    /// The first twenty, as of the lists that follow.
    sources: Vec<&'a str>,
    sources_total: usize,
    regions: Vec<&'a str>,
    regions_total: usize,
    /// `userIdentity.arn`.
    sessions: Vec<&'a str>,
    sessions_total: usize,
    access_keys: Vec<&'a str>,
    access_keys_total: usize,
    clients: Vec<&'a str>,
    clients_total: usize,
    /// Who is behind the access keys.
    #[serde(flatten)]
    origins: OriginsV1<'a>,
    /// What is usual for the principal, beside what it does now; `null` for other actors, and where
    /// nobody has looked for it: in a list of incidents of a replay.
    usual: Option<UsualV1<'a>>,
    /// The first two hundred, by time.
    alert_ids: Vec<&'a str>,
    alerts_total: usize,
    /// The incident that took it in; `null` while it stands for itself.
    merged_into: Option<&'a str>,
    /// Incidents that were published before and are parts of it now; the first fifty.
    merged: Vec<&'a str>,
    /// What is new since the message before; `null` in a replay.
    news: Option<NewsV1<'a>>,
    /// One line: the actor and the size.
    headline: String,
    /// Descriptions of the most serious rules.
    why: Vec<String>,
    /// What to check first.
    checks: Vec<String>,
    /// What contains it, in this order.
    actions: Vec<ActionV1>,
    /// Known benign causes.
    harmless_if: Vec<String>,
}

impl<'a> From<&'a Actor> for ActorV1<'a> {
    fn from(actor: &'a Actor) -> Self {
        Self {
            kind: actor.kind.as_str(),
            id: &actor.name,
        }
    }
}

#[derive(Debug, Serialize)]
struct ActorV1<'a> {
    /// `principal`, `address`, `secret` or `log`.
    kind: &'a str,
    /// An ARN, an address, a secret, or `account region`.
    id: &'a str,
}

/// What is usual for a principal, as JSON.
#[derive(Debug, Serialize)]
struct UsualV1<'a> {
    /// Number of days (UTC) with a successful read over the lookback before `first`.
    days: usize,
    /// Time of the first of these reads that is known, in UTC; `null` if there was none.
    since: Option<String>,
    /// Each `kind`: `source`, `client`, `region` and `secret`, in this order; none without reads
    /// before.
    habits: Vec<HabitsV1<'a>>,
}

#[derive(Debug, Serialize)]
struct HabitsV1<'a> {
    /// `source` (networks and VPC endpoints), `client`, `region` or `secret`.
    kind: &'static str,
    /// Values over the lookback, those of most days first; the first twenty. Online, a source may
    /// be a class of addresses (`private addresses`), and secrets are those of now only.
    usual: Vec<UsualValueV1<'a>>,
    usual_total: usize,
    /// Values now, new ones first; the first twenty.
    now: Vec<CurrentValueV1<'a>>,
    now_total: usize,
}

#[derive(Debug, Serialize)]
struct UsualValueV1<'a> {
    value: &'a str,
    /// Number of days (UTC) with it.
    days: usize,
}

#[derive(Debug, Serialize)]
struct CurrentValueV1<'a> {
    value: &'a str,
    /// Whether the principal did not have it over the lookback; `null` where that is not known.
    new: Option<bool>,
}

#[derive(Debug, Serialize)]
struct NewsV1<'a> {
    /// `opened`, `updated`, `merged` or `withdrawn`.
    kind: &'static str,
    /// Number of the message, from 1.
    message: u32,
    /// The id that the incident was first published with.
    thread: &'a str,
    /// The level before; `null` if it is the same.
    level_before: Option<&'static str>,
    /// Ids of rules.
    rules: Vec<&'a str>,
    secrets: Vec<&'a str>,
    sources: Vec<&'a str>,
    regions: Vec<&'a str>,
    /// Number of alerts more than before.
    alerts: usize,
    /// Incidents that became parts of it.
    merged: Vec<&'a str>,
    /// `closed` when all that it revealed was superseded, `reopened` when that is no longer so;
    /// `null` otherwise.
    exposure: Option<&'static str>,
    /// What people had decided that this message opens again, or who reopened it; the last first.
    decisions: Vec<DecidedV1<'a>>,
}

#[derive(Debug, Serialize)]
struct DecidedV1<'a> {
    /// `closed` or `reopened`.
    status: &'static str,
    /// When, in UTC.
    at: String,
    /// ARN of who decided.
    by: &'a str,
    /// Why, in the words of the person.
    reason: &'a str,
}

#[derive(Debug, Serialize)]
struct RuleV1<'a> {
    id: &'a str,
    title: &'a str,
    level: &'a str,
    alerts: usize,
    /// Time and summary of the first alert.
    first: String,
    summary: Cow<'a, str>,
}

/// Something to do, as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct ActionV1 {
    text: String,
    /// A command of the AWS CLI; `null` where there is none.
    command: Option<String>,
    /// A page of the AWS console; `null` where there is none.
    link: Option<String>,
}

/// Longest summary in characters.
const SUMMARY: usize = 300;

impl<'a> IncidentV1<'a> {
    /// The form of an incident as it stands at `now`.
    #[must_use]
    pub fn new(incident: &'a Incident, now: EventTime, periods: IncidentPeriods) -> Self {
        let story = IncidentStory::of(incident);
        Self {
            schema: SCHEMA,
            id: &incident.id.0,
            status: status(incident.is_active(now, periods)),
            actor: ActorV1::from(&incident.actor),
            level: incident.level.as_str(),
            score: incident.score,
            first: incident.first.to_string(),
            last: incident.last.to_string(),
            rules: incident.rules.iter().map(RuleV1::of).collect(),
            rules_total: incident.rules_total,
            secrets: texts(&incident.secrets),
            secrets_total: incident.secrets.total,
            revealed: texts(&incident.revealed),
            revealed_total: incident.revealed.total,
            exposure: ExposureSummaryV1::of(incident.exposure.as_ref()),
            sources: texts(&incident.sources),
            sources_total: incident.sources.total,
            regions: texts(&incident.regions),
            regions_total: incident.regions.total,
            sessions: texts(&incident.sessions),
            sessions_total: incident.sessions.total,
            access_keys: texts(&incident.access_keys),
            access_keys_total: incident.access_keys.total,
            clients: texts(&incident.clients),
            clients_total: incident.clients.total,
            origins: OriginsV1::from(&incident.origins),
            usual: incident.usual.as_ref().map(UsualV1::from),
            alert_ids: ids(&incident.alert_ids),
            alerts_total: incident.alerts_total,
            merged_into: None,
            merged: Vec::new(),
            news: None,
            headline: story.headline,
            why: story.why,
            checks: story.checks,
            actions: actions(story.actions),
            harmless_if: story.harmless_if,
        }
    }
}

impl<'a> IncidentV1<'a> {
    /// With what is known of an incident that is published.
    #[must_use]
    pub fn published(mut self, announced: &'a AnnouncedIncident, decisions: &'a [Decided]) -> Self {
        let news = &announced.news;
        if let Some(end) = &announced.end {
            self.status = "ended";
            self.merged_into = match end {
                IncidentEnd::MergedInto(id) => Some(&id.0),
                IncidentEnd::Withdrawn => None,
            };
        }
        self.merged = announced.merged.iter().map(|id| &*id.0).collect();
        self.news = Some(NewsV1 {
            kind: news.kind.as_str(),
            message: announced.messages,
            thread: &announced.thread.0,
            level_before: news.level_before.map(RuleLevel::as_str),
            rules: each(&news.rules),
            secrets: each(&news.secrets),
            sources: each(&news.sources),
            regions: each(&news.regions),
            alerts: news.alerts,
            merged: news.merged.iter().map(|id| &*id.0).collect(),
            exposure: news.exposure.map(ExposureNews::as_str),
            decisions: decisions.iter().map(DecidedV1::from).collect(),
        });
        self
    }
}

impl<'a> From<&'a UsualFacts> for UsualV1<'a> {
    fn from(facts: &'a UsualFacts) -> Self {
        Self {
            days: facts.days,
            since: facts.since.map(|since| since.to_string()),
            habits: facts.traits.iter().map(HabitsV1::from).collect(),
        }
    }
}

impl<'a> From<&'a UsualTrait> for HabitsV1<'a> {
    fn from(habits: &'a UsualTrait) -> Self {
        let usual = habits.usual.iter().map(|usual| UsualValueV1 {
            value: &usual.value,
            days: usual.days,
        });
        let now = habits.now.iter().map(|now| CurrentValueV1 {
            value: &now.value,
            new: now.is_new,
        });
        Self {
            kind: habits.kind.as_str(),
            usual: usual.collect(),
            usual_total: habits.usual_total,
            now: now.collect(),
            now_total: habits.now_total,
        }
    }
}

impl<'a> From<&'a Decided> for DecidedV1<'a> {
    fn from(decided: &'a Decided) -> Self {
        Self {
            status: decided.status.as_str(),
            at: decided.time().to_string(),
            by: &decided.by,
            reason: &decided.reason,
        }
    }
}

fn status(is_active: bool) -> &'static str {
    if is_active { "active" } else { "ended" }
}

fn actions(actions: Vec<StoryAction>) -> Vec<ActionV1> {
    actions.into_iter().map(ActionV1::from).collect()
}

fn ids(alerts: &[AlertId]) -> Vec<&str> {
    alerts.iter().map(|id| &*id.0).collect()
}

fn each(values: &[SharedStr]) -> Vec<&str> {
    values.iter().map(|value| &**value).collect()
}

fn texts(listed: &Listed) -> Vec<&str> {
    listed.first.iter().map(|text| &**text).collect()
}

impl<'a> RuleV1<'a> {
    fn of(rule: &'a IncidentRule) -> Self {
        let summary = &rule.summary;
        let cut = summary.char_indices().nth(SUMMARY);
        Self {
            id: &rule.rule.id,
            title: &rule.rule.title,
            level: rule.rule.level.as_str(),
            alerts: rule.alerts,
            first: rule.first.to_string(),
            summary: match cut {
                Some((end, _)) => format!("{}…", summary.get(..end).unwrap_or_default()).into(),
                None => summary.into(),
            },
        }
    }
}

impl From<StoryAction> for ActionV1 {
    fn from(action: StoryAction) -> Self {
        Self {
            text: action.text,
            command: action.command,
            link: action.link,
        }
    }
}
