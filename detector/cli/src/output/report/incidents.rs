//! The incidents of the report, in the form that its script (`incidents.js`) reads. What they say
//! is the story of the engine, as in every other form.

use ahash::{HashMap, HashMapExt};
use secretrail_engine::{
    alert::{Alert, IncidentId},
    ids::ArnParts,
    incident::{
        Incident, IncidentPeriods, Listed,
        message::title,
        story::{IncidentStory, StoryAction, StoryStep, behind, most_serious_steps},
        usual::UsualFacts,
    },
    sanitize,
    time::EventTime,
};
use serde::Serialize;

use super::ledger::{TextTable, harmless};

/// An incident of the page. Numbers that stand for a text are indices into `texts`.
#[derive(Serialize)]
pub(super) struct IncidentCard {
    id: String,
    level: &'static str,
    score: u32,
    /// Whether more alerts may still join it.
    active: bool,
    /// `principal`, `address`, `secret` or `log`.
    kind: &'static str,
    actor: i32,
    /// One sentence: who did what.
    sentence: String,
    /// The actor in short, and the size.
    headline: String,
    first: i64,
    last: i64,
    steps: Vec<CardStep>,
    why: Vec<i32>,
    checks: Vec<i32>,
    actions: Vec<CardAction>,
    harmless_if: Vec<i32>,
    secrets: CardList,
    revealed: CardList,
    sources: CardList,
    regions: CardList,
    sessions: CardList,
    keys: CardList,
    /// Who is behind the sessions; `null` where nothing is known beyond the actor.
    behind: Option<String>,
    clients: CardList,
    /// What is usual for the principal; `null` for other actors.
    usual: Option<CardUsual>,
    /// Indices into `alerts`.
    alerts: Vec<usize>,
    alerts_total: usize,
}

#[derive(Serialize)]
struct CardStep {
    time: i64,
    what: String,
    rules: Vec<CardRule>,
}

#[derive(Serialize)]
struct CardRule {
    level: &'static str,
    title: i32,
    /// Number of its alerts.
    alerts: usize,
}

#[derive(Serialize)]
struct CardAction {
    text: String,
    command: Option<String>,
    link: Option<String>,
}

/// What is usual for the principal, beside what it does now.
#[derive(Serialize)]
struct CardUsual {
    /// How much is known of the time before, in one line.
    heading: String,
    habits: Vec<CardHabits>,
}

#[derive(Serialize)]
struct CardHabits {
    /// `source`, `client`, `region` or `secret`.
    kind: &'static str,
    /// Values with the number of their days.
    usual: Vec<(i32, usize)>,
    usual_total: usize,
    /// Values, each with whether it is new; `null` where that is not known.
    now: Vec<(i32, Option<bool>)>,
    now_total: usize,
}

/// The first values of a list, and how many there are.
#[derive(Serialize)]
struct CardList {
    first: Vec<i32>,
    total: usize,
}

/// The incidents in their order, with their alerts among these.
pub(super) fn cards<'a>(
    incidents: &'a [Incident],
    alerts: &'a [Alert],
    now: EventTime,
    texts: &mut TextTable<'a>,
) -> Vec<IncidentCard> {
    let mut members: HashMap<&IncidentId, Vec<usize>> = HashMap::with_capacity(incidents.len());
    for (index, alert) in alerts.iter().enumerate() {
        if let Some(id) = &alert.incident {
            members.entry(id).or_default().push(index);
        }
    }
    let cards = incidents.iter().map(|incident| IncidentCard {
        alerts: members.remove(&incident.id).unwrap_or_default(),
        ..IncidentCard::of(incident, now, texts)
    });
    cards.collect()
}

impl IncidentCard {
    /// The card of an incident, without its alerts.
    fn of<'a>(incident: &'a Incident, now: EventTime, texts: &mut TextTable<'a>) -> Self {
        let story = IncidentStory::of(incident);
        Self {
            id: incident.id.0.to_string(),
            level: incident.level.as_str(),
            score: incident.score,
            active: incident.is_active(now, IncidentPeriods::default()),
            kind: incident.actor.kind.as_str(),
            actor: texts.index(Some(&incident.actor.name)),
            sentence: harmless(&sentence(incident, &story)),
            headline: harmless(&story.headline),
            first: incident.first.0,
            last: incident.last.0,
            secrets: CardList::of(&incident.secrets, texts),
            revealed: CardList::of(&incident.revealed, texts),
            sources: CardList::of(&incident.sources, texts),
            regions: CardList::of(&incident.regions, texts),
            sessions: CardList::of(&incident.sessions, texts),
            keys: CardList::of(&incident.access_keys, texts),
            behind: behind(incident).as_deref().map(harmless),
            clients: CardList::of(&incident.clients, texts),
            usual: CardUsual::of_incident(incident, texts),
            alerts: Vec::new(),
            alerts_total: incident.alerts_total,
            steps: each(story.steps, |step| CardStep::of(step, texts)),
            why: each(story.why, |text| texts.own(text)),
            checks: each(story.checks, |text| texts.own(text)),
            actions: each(story.actions, CardAction::of),
            harmless_if: each(story.harmless_if, |text| texts.own(text)),
        }
    }
}

fn each<T, U>(values: Vec<T>, of: impl FnMut(T) -> U) -> Vec<U> {
    values.into_iter().map(of).collect()
}

/// Who did what: the title of its messages, or without a secret the most serious step.
fn sentence(incident: &Incident, story: &IncidentStory) -> String {
    let title = title(incident);
    if incident.secrets.total > 0 {
        let account = ArnParts::parse(&incident.actor.name).map(|arn| arn.account);
        return match account.filter(|account| !account.is_empty()) {
            Some(account) => format!("{title}, account {account}"),
            None => title,
        };
    }
    match most_serious_steps(&story.steps, 1).first() {
        Some(step) => format!("{title}: {}", step.what),
        None => title,
    }
}

impl CardStep {
    fn of(step: StoryStep, texts: &mut TextTable<'_>) -> Self {
        Self {
            time: step.time.0,
            what: harmless(&step.what),
            rules: each(step.rules, |(level, title, alerts)| CardRule {
                level: level.as_str(),
                title: texts.own(title),
                alerts,
            }),
        }
    }
}

impl CardAction {
    fn of(action: StoryAction) -> Self {
        Self {
            text: harmless(&action.text),
            // Unbroken: they are for the clipboard.
            command: action.command.as_deref().map(whole),
            link: action.link.as_deref().map(whole),
        }
    }
}

impl CardUsual {
    fn of_incident<'a>(incident: &'a Incident, texts: &mut TextTable<'a>) -> Option<Self> {
        let usual = incident.usual.as_ref()?;
        Some(Self::of(usual, texts))
    }

    fn of<'a>(facts: &'a UsualFacts, texts: &mut TextTable<'a>) -> Self {
        let habits = facts.traits.iter().map(|habits| CardHabits {
            kind: habits.kind.as_str(),
            usual: habits
                .usual
                .iter()
                .map(|usual| (texts.index(Some(&usual.value)), usual.days))
                .collect(),
            usual_total: habits.usual_total,
            now: habits
                .now
                .iter()
                .map(|now| (texts.index(Some(&now.value)), now.is_new))
                .collect(),
            now_total: habits.now_total,
        });
        Self {
            heading: facts.heading(),
            habits: habits.collect(),
        }
    }
}

fn whole(text: &str) -> String {
    sanitize::line(text).into_owned()
}

impl CardList {
    fn of<'a>(listed: &'a Listed, texts: &mut TextTable<'a>) -> Self {
        let first = listed.first.iter();
        Self {
            first: first.map(|value| texts.index(Some(value))).collect(),
            total: listed.total,
        }
    }
}
