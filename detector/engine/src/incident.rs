//! Incidents: the alerts about one actor that follow each other without a long quiet time. People
//! are notified of incidents; alerts are their parts.
//!
//! An alert lasts from its first event to its time, a day at most: the alerts of a day's window
//! and those about single events of that day are neighbours. Incidents are cut from alerts of
//! medium or higher, which alone make the id and the span. A lower alert joins the incident of its
//! actor whose span is nearest, within the gap; of two, the earlier. Lower alerts that join none
//! make incidents of their own. The alerts about one address and several principals also take in
//! the alerts of principals that come from that address in their window. The set of incidents,
//! their ids and their members depend on the set of alerts alone ([`grouping`]).

pub mod announced;
pub mod asff;
pub mod chat;
pub mod decision;
pub mod finding;
pub mod grouping;
pub mod json_v1;
mod mail;
pub mod message;
mod origins;
pub(crate) mod response;
pub mod story;
pub mod usual;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use self::usual::UsualFacts;
use crate::{
    actor::{Actor, ActorKind},
    alert::{Alert, AlertId, IncidentId},
    digest::digest,
    ids::SharedStr,
    limits::{
        HELD_BACK_SECS, INCIDENT_ALERTS, INCIDENT_GAP_SECS, INCIDENT_MAX_SECS, INCIDENT_REACH_SECS,
        INCIDENT_RULES, INCIDENT_SECRETS, INCIDENT_TRAITS, INCIDENT_VERSIONS,
    },
    lineage::origin::SessionOrigins,
    revealed::{IncidentExposure, RevealedVersion, RevealedVersions},
    rule_meta::{RuleLevel, RuleMeta},
    time::EventTime,
};

/// The lowest level of alerts that make an incident; lower ones only join.
pub const LEAST: RuleLevel = RuleLevel::Medium;

/// How alerts are cut into incidents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IncidentPeriods {
    /// Longest quiet time in seconds between neighbouring alerts.
    pub gap_secs: i64,
    /// Longest time in seconds from the first to the last alert.
    pub max_secs: i64,
    /// Longest time in seconds that one alert lasts, whatever the window of its rule.
    pub reach_secs: i64,
}

impl IncidentPeriods {
    /// Time of the first event of an alert, at most its reach ago.
    pub(crate) fn begin(self, alert: &Alert) -> EventTime {
        let first = alert.events.first().map_or(alert.time, |event| event.time);
        self.within_reach(alert, first)
    }

    /// The times, the first exclusive, in which an alert about an address takes in others: those of
    /// its window. One that holds back others may have events until the end of its last hour.
    fn takes_in(self, alert: &Alert) -> (EventTime, EventTime) {
        let window = alert.window_match.as_ref();
        let earliest = alert.time.plus(-self.reach_secs);
        if alert.common.is_none() {
            let start = window.map_or(alert.time.plus(-1), |window| window.start);
            return (start.max(earliest), alert.time);
        }
        let hour = alert.time.start_of(HELD_BACK_SECS);
        let secs = window.map_or(1, |window| window.end.0.saturating_sub(window.start.0));
        let start = hour.plus(-secs).max(earliest);
        (start, hour.plus(HELD_BACK_SECS - 1))
    }

    fn within_reach(self, alert: &Alert, time: EventTime) -> EventTime {
        time.min(alert.time).max(alert.time.plus(-self.reach_secs))
    }
}

impl Default for IncidentPeriods {
    fn default() -> Self {
        Self {
            gap_secs: INCIDENT_GAP_SECS,
            max_secs: INCIDENT_MAX_SECS,
            reach_secs: INCIDENT_REACH_SECS,
        }
    }
}

/// Distinct values: the first of them, and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// The first ones, in the order in which they were met.
    pub first: Vec<SharedStr>,
    /// Number of all of them; at least so many where alerts do not list all of theirs.
    pub total: usize,
}

/// A rule of an incident, with its first alert.
#[derive(Debug, Clone, PartialEq)]
pub struct IncidentRule {
    /// The rule.
    pub rule: Arc<RuleMeta>,
    /// Number of its alerts.
    pub alerts: usize,
    /// Time of the first of them.
    pub first: EventTime,
    /// Summary of the first of them.
    pub summary: String,
}

/// Alerts about one actor that follow each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// The same for the same set of alerts.
    pub id: IncidentId,
    /// Who or what it is about.
    pub actor: Actor,
    /// Highest level of its alerts.
    pub level: RuleLevel,
    /// How suspicious it is, from 0 to 100: by level, then by number of rules, novelty and size.
    pub score: u32,
    /// Since when the first of the alerts that make it holds ([`Alert::began`]).
    pub first: EventTime,
    /// Time of the last alert that makes it.
    pub last: EventTime,
    /// Its rules, by their first alerts; at most [`INCIDENT_RULES`].
    pub rules: Vec<IncidentRule>,
    /// Number of its rules.
    pub rules_total: usize,
    /// Secrets: ARNs where known, otherwise names; at most [`INCIDENT_SECRETS`].
    pub secrets: Listed,
    /// Those of them whose values were read; at most [`INCIDENT_SECRETS`].
    pub revealed: Listed,
    /// The versions of these that were read; at most [`INCIDENT_VERSIONS`].
    pub versions: RevealedVersions,
    /// What became of these versions; `None` where nobody has looked at the changes of their
    /// secrets, and where none was revealed.
    pub exposure: Option<IncidentExposure>,
    /// Addresses of the callers, and where these are registered; at most [`INCIDENT_TRAITS`], as
    /// what follows.
    pub sources: Listed,
    /// `awsRegion`.
    pub regions: Listed,
    /// `userIdentity.arn`: full sessions.
    pub sessions: Listed,
    /// `userIdentity.accessKeyId`.
    pub access_keys: Listed,
    /// Programs, by their user agents.
    pub clients: Listed,
    /// Networks and VPC endpoints of the callers ([`Origin::networks`](crate::actor::Origin)).
    pub networks: Listed,
    /// What is usual for the principal; `None` where nobody has looked for it, as in a replay, or
    /// where the actor is no principal.
    pub usual: Option<UsualFacts>,
    /// Who is behind its access keys; nobody where nobody has looked for them, as online.
    pub origins: SessionOrigins,
    /// Ids of its alerts by time; at most [`INCIDENT_ALERTS`].
    pub alert_ids: Vec<AlertId>,
    /// Number of its alerts.
    pub alerts_total: usize,
}

/// The id of the incident of an actor that begins at a time.
#[must_use]
pub fn incident_id(actor: &Actor, first: EventTime) -> IncidentId {
    let first = first.0.to_string();
    let parts = ["incident", actor.kind.as_str(), &actor.key, &first];
    IncidentId(digest(&parts).into())
}

impl Incident {
    /// An incident without alerts.
    fn empty(actor: Actor, first: EventTime) -> Self {
        Self {
            id: incident_id(&actor, first),
            actor,
            level: RuleLevel::Informational,
            score: 0,
            first,
            last: first,
            rules: Vec::new(),
            rules_total: 0,
            secrets: Listed::default(),
            revealed: Listed::default(),
            versions: RevealedVersions::default(),
            exposure: None,
            sources: Listed::default(),
            regions: Listed::default(),
            sessions: Listed::default(),
            access_keys: Listed::default(),
            clients: Listed::default(),
            networks: Listed::default(),
            usual: None,
            origins: SessionOrigins::default(),
            alert_ids: Vec::new(),
            alerts_total: 0,
        }
    }

    /// Whether more alerts may still join it at a time, if none comes late.
    #[must_use]
    pub fn is_active(&self, now: EventTime, periods: IncidentPeriods) -> bool {
        now.0.saturating_sub(self.last.0) <= periods.gap_secs
    }

    /// Sort key: the most suspicious first.
    #[must_use]
    pub fn order(&self) -> impl Ord + use<> {
        let by_score = std::cmp::Reverse((self.score, self.alerts_total));
        (by_score, self.first, self.id.clone())
    }
}

impl Incident {
    /// The incident of alerts that carry its id, as those in a file do; `None` without alerts.
    #[must_use]
    pub fn of_file(id: &IncidentId, mut own: Vec<&Alert>) -> Option<Self> {
        own.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        let is_made = own.iter().any(|alert| alert.rule.level >= LEAST);
        let makes = |alert: &Alert| !is_made || alert.rule.level >= LEAST;
        let begins = own.iter().filter(|alert| makes(alert)).map(|alert| {
            let began = IncidentPeriods::default().begin(alert);
            if is_made { began } else { alert.time }
        });
        // An address takes in alerts of principals, and not the other way round.
        let mut actors = own.iter().map(|alert| &alert.actor);
        let address = actors
            .clone()
            .find(|actor| actor.kind == ActorKind::Address);
        let actor = address.or_else(|| actors.next())?.clone();
        let mut growing = GrowingIncident::new(actor, begins.min()?);
        for alert in &own {
            let began = IncidentPeriods::default().within_reach(alert, alert.began);
            growing.add(alert, makes(alert).then_some(began));
        }
        growing.incident.id = id.clone();
        Some(growing.incident)
    }
}

/// An incident that grows by alerts in order of time.
#[derive(Debug)]
struct GrowingIncident {
    incident: Incident,
    met: MetValues,
}

/// Values that were counted, for each list of an incident.
#[derive(Debug, Default)]
struct MetValues {
    rules: HashSet<SharedStr>,
    secrets: HashSet<SharedStr>,
    revealed: HashSet<SharedStr>,
    /// Versions without their time, and their first time.
    versions: HashMap<RevealedVersion, EventTime>,
    /// Most secrets of one alert, listed or not.
    most_secrets: usize,
    sources: HashSet<SharedStr>,
    regions: HashSet<SharedStr>,
    sessions: HashSet<SharedStr>,
    access_keys: HashSet<SharedStr>,
    clients: HashSet<SharedStr>,
    networks: HashSet<SharedStr>,
    novelty: bool,
}

impl GrowingIncident {
    /// An incident without alerts, of an actor, that begins at a time.
    fn new(actor: Actor, first: EventTime) -> Self {
        Self {
            incident: Incident::empty(actor, first),
            met: MetValues::default(),
        }
    }

    /// Adds an alert. `since` is when it began, if it makes the span and does not only join.
    fn add(&mut self, alert: &Alert, since: Option<EventTime>) {
        let incident = &mut self.incident;
        if let Some(since) = since {
            let is_first = incident.alerts_total == 0 || since < incident.first;
            incident.first = if is_first { since } else { incident.first };
            incident.last = incident.last.max(alert.time);
        }
        self.name_actor(alert);
        self.count_rule(alert);
        self.count_values(alert);
        self.count_versions(&alert.traits.versions);
        let incident = &mut self.incident;
        incident.level = incident.level.max(alert.rule.level);
        incident.alerts_total += 1;
        if incident.alert_ids.len() < INCIDENT_ALERTS {
            incident.alert_ids.push(alert.id.clone());
        }
        incident.score = score(incident, self.met.novelty);
    }

    /// Alerts may know an actor by several names; an ARN says more than a number.
    fn name_actor(&mut self, alert: &Alert) {
        let known = &mut self.incident.actor;
        let is_better = alert.actor.key == known.key
            && alert.actor.name.starts_with("arn:")
            && !known.name.starts_with("arn:");
        if known.kind == ActorKind::Principal && is_better {
            known.name = alert.actor.name.clone();
        }
    }

    fn count_rule(&mut self, alert: &Alert) {
        let rules = &mut self.incident.rules;
        if self.met.rules.insert(alert.rule.id.as_str().into()) {
            self.incident.rules_total += 1;
            self.met.novelty |= alert.rule.asks_for_seen;
            if rules.len() < INCIDENT_RULES {
                rules.push(IncidentRule {
                    rule: alert.rule.clone(),
                    alerts: 1,
                    first: alert.time,
                    summary: alert.summary.clone(),
                });
            }
            return;
        }
        let known = rules
            .iter_mut()
            .find(|known| known.rule.id == alert.rule.id);
        if let Some(known) = known {
            known.alerts += 1;
        }
    }

    fn count_versions(&mut self, revealed: &RevealedVersions) {
        let (met, versions) = (&mut self.met.versions, &mut self.incident.versions);
        for version in &revealed.first {
            let mut key = version.clone();
            key.first = EventTime(0);
            let known = met.get_mut(&key);
            match known {
                Some(first) if *first <= version.first => continue,
                Some(first) => {
                    key.first = std::mem::replace(first, version.first);
                    if let Ok(before) = versions.first.binary_search(&key) {
                        versions.first.remove(before);
                    }
                }
                None => drop(met.insert(key, version.first)),
            }
            let place = versions.first.partition_point(|other| other < version);
            versions.first.insert(place, version.clone());
            versions.first.truncate(INCIDENT_VERSIONS);
        }
        versions.are_more |= revealed.are_more || met.len() > INCIDENT_VERSIONS;
    }

    fn count_values(&mut self, alert: &Alert) {
        let (met, incident) = (&mut self.met, &mut self.incident);
        met.most_secrets = met.most_secrets.max(alert.secrets_total);
        let secrets = &mut incident.secrets;
        list(&alert.secrets, INCIDENT_SECRETS, &mut met.secrets, secrets);
        secrets.total = secrets.total.max(met.most_secrets);
        let traits = &alert.traits;
        let revealed = &mut incident.revealed;
        list(
            &traits.revealed,
            INCIDENT_SECRETS,
            &mut met.revealed,
            revealed,
        );
        for (values, met, listed) in [
            (&traits.sources, &mut met.sources, &mut incident.sources),
            (&traits.regions, &mut met.regions, &mut incident.regions),
            (&traits.sessions, &mut met.sessions, &mut incident.sessions),
            (
                &traits.access_keys,
                &mut met.access_keys,
                &mut incident.access_keys,
            ),
            (&traits.clients, &mut met.clients, &mut incident.clients),
            (
                &alert.origin.networks,
                &mut met.networks,
                &mut incident.networks,
            ),
        ] {
            list(values, INCIDENT_TRAITS, met, listed);
        }
    }
}

/// Level first: what comes after it never outweighs a higher level.
fn score(incident: &Incident, novelty: bool) -> u32 {
    let level = match incident.level {
        RuleLevel::Informational => 0,
        RuleLevel::Low => 20,
        RuleLevel::Medium => 40,
        RuleLevel::High => 60,
        RuleLevel::Critical => 80,
    };
    let more_rules = incident.rules_total.saturating_sub(1).min(4);
    let rules = 3 * u32::try_from(more_rules).unwrap_or_default();
    let novelty = if novelty { 4 } else { 0 };
    let size = match incident.secrets.total {
        0 | 1 => 0,
        2..10 => 1,
        10..100 => 2,
        _ => 3,
    };
    level + rules + novelty + size
}

/// Counts values, and lists the first of them.
fn list(values: &[SharedStr], most: usize, met: &mut HashSet<SharedStr>, listed: &mut Listed) {
    for value in values {
        if met.insert(value.clone()) && listed.first.len() < most {
            listed.first.push(value.clone());
        }
    }
    listed.total = met.len();
}
