//! What belongs to an incident: the reads behind its alerts, and what else the same sessions got
//! from the same sources while it lasted.

use std::net::IpAddr;

use ahash::{HashMap, HashSet};
use ipnet::IpNet;

use super::facts::ReadKind;
use crate::{
    actor::ActorKind,
    alert::Alert,
    ids::{ArnParts, RecordHome, SecretRef, SharedStr},
    incident::{Incident, IncidentPeriods, LEAST, Listed},
    limits::{ALERT_SECRETS, ALERT_TRAITS, INCIDENT_TRAITS},
    time::EventTime,
};

/// Values that an alert or an incident lists; `None` if there may be more than it lists.
type ListedValues = Option<HashSet<SharedStr>>;

/// The reads of an alert, or of an incident.
#[derive(Debug)]
struct ReadScope {
    /// Id of the incident, or of the alert without one.
    id: SharedStr,
    from: EventTime,
    to: EventTime,
    principal: Option<SharedStr>,
    /// Region of all its calls; `None` where it differs.
    region: Option<SharedStr>,
    sessions: ListedValues,
    sources: ListedValues,
    /// An address or network that all reads come from.
    network: Option<IpNet>,
}

/// The incidents whose exposure is asked for.
#[derive(Debug, Default)]
pub struct ExposureScopes {
    scopes: Vec<ReadScope>,
    /// Scopes of alerts, by the names of the secrets that these list.
    by_secret: HashMap<SharedStr, Vec<usize>>,
    /// Scopes that are not about listed secrets, by session.
    by_session: HashMap<SharedStr, Vec<usize>>,
    /// Other scopes.
    others: Vec<usize>,
    /// Whether only reads of incidents are exposures.
    is_limited: bool,
}

impl ExposureScopes {
    /// The scopes of these incidents and alerts. `is_limited`: only their reads are exposures;
    /// otherwise all that the selection takes are, and the scopes only name the incidents.
    #[must_use]
    pub fn new(incidents: &[&Incident], alerts: &[&Alert], is_limited: bool) -> Self {
        let mut scopes = Self {
            is_limited,
            ..Self::default()
        };
        for alert in alerts {
            scopes.add_alert(alert);
        }
        for incident in incidents.iter().filter(|incident| incident.level >= LEAST) {
            scopes.add_incident(incident);
        }
        scopes
    }

    /// Whether only reads of incidents are exposures.
    pub(super) fn is_limited(&self) -> bool {
        self.is_limited
    }

    fn add_alert(&mut self, alert: &Alert) {
        let id = alert.incident.as_ref().map_or(&alert.id.0, |id| &id.0);
        let scope = ReadScope {
            id: id.clone(),
            // A window may hold back what it began with: its first event says when that was.
            from: alert
                .events
                .first()
                .map_or(alert.began, |first| first.time.min(alert.began)),
            to: alert.last(),
            principal: alert.principal.clone(),
            region: alert.region.clone(),
            sessions: listed(&alert.traits.sessions, ALERT_TRAITS),
            sources: listed(&alert.traits.sources, ALERT_TRAITS),
            network: None,
        };
        let index = self.scopes.len();
        if alert.secrets_total < ALERT_SECRETS {
            for secret in &alert.secrets {
                let known = self.by_secret.entry(name_of(secret)).or_default();
                known.push(index);
            }
            self.scopes.push(scope);
        } else {
            self.add(scope);
        }
    }

    fn add_incident(&mut self, incident: &Incident) {
        let network = match incident.actor.kind {
            ActorKind::Address => network(&incident.actor.name),
            ActorKind::Principal | ActorKind::Secret | ActorKind::Log => None,
        };
        let is_principal = incident.actor.kind == ActorKind::Principal;
        let scope = ReadScope {
            id: incident.id.0.clone(),
            from: incident.first,
            to: incident.last.plus(IncidentPeriods::default().gap_secs),
            principal: is_principal.then(|| incident.actor.name.clone()),
            region: None,
            sessions: of_incident(&incident.sessions),
            sources: of_incident(&incident.sources),
            network,
        };
        // Where many sessions from many addresses act, nothing keeps the reads of the incident
        // apart from others: only the alerts do.
        let is_narrow = match (&scope.sessions, &scope.sources, network) {
            (Some(_), Some(_), _) | (_, _, Some(_)) => true,
            (None, Some(_), None) => scope.principal.is_some(),
            (_, None, None) => false,
        };
        if is_narrow {
            self.add(scope);
        }
    }

    fn add(&mut self, scope: ReadScope) {
        let index = self.scopes.len();
        match scope.sessions.as_ref().filter(|_| scope.network.is_none()) {
            Some(sessions) if !sessions.is_empty() => {
                for session in sessions {
                    let known = self.by_session.entry(session.clone()).or_default();
                    known.push(index);
                }
            }
            _ => self.others.push(index),
        }
        self.scopes.push(scope);
    }

    /// The scopes that take reads of a kind of a secret, whatever their time.
    pub(super) fn of_kind(&self, name: &str, kind: &ReadKind) -> KindScopes<'_> {
        let mut found = Vec::new();
        let source = kind.source.described();
        let by_secret = self.by_secret.get(name).into_iter().flatten();
        let session = kind.principal.actor.as_ref();
        let by_session = session.and_then(|session| self.by_session.get(session));
        let all = by_secret.chain(by_session.into_iter().flatten());
        for index in all.chain(&self.others) {
            if let Some(scope) = self.scopes.get(*index)
                && scope.takes(kind, source.as_deref())
            {
                found.push(scope);
            }
        }
        KindScopes(found)
    }
}

/// Scopes that take reads of one kind.
#[derive(Debug)]
pub(super) struct KindScopes<'s>(Vec<&'s ReadScope>);

impl<'s> KindScopes<'s> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ids of the incidents that a read at a time belongs to.
    pub(super) fn at(&self, time: EventTime) -> impl Iterator<Item = &'s SharedStr> + '_ {
        let now = self.0.iter();
        now.filter(move |scope| (scope.from..=scope.to).contains(&time))
            .map(|scope| &scope.id)
    }
}

impl ReadScope {
    fn takes(&self, kind: &ReadKind, source: Option<&str>) -> bool {
        let sources = self.sources.as_ref();
        if !source.is_none_or(|source| sources.is_none_or(|all| all.contains(source))) {
            return false;
        }
        if let Some(network) = self.network {
            let address = kind.source.ip.as_deref();
            let address = address.and_then(|address| address.parse::<IpAddr>().ok());
            return address.is_some_and(|address| network.contains(&address.to_canonical()));
        }
        if self
            .region
            .as_ref()
            .is_some_and(|region| *region != kind.region)
        {
            return false;
        }
        match (&self.sessions, &kind.principal.actor, &self.principal) {
            (Some(sessions), Some(session), _) => sessions.contains(session),
            // Of an unlisted session, or a caller without one, the principal decides.
            (_, _, Some(principal)) => kind.principal.id.as_ref() == Some(principal),
            // Many principals: what else they share must decide.
            (None, _, None) => self.sources.is_some() || self.region.is_some(),
            (Some(sessions), None, None) => sessions.is_empty(),
        }
    }
}

fn listed(values: &[SharedStr], most: usize) -> ListedValues {
    (values.len() < most).then(|| values.iter().cloned().collect())
}

fn of_incident(values: &Listed) -> ListedValues {
    let is_whole = values.total <= values.first.len();
    listed(&values.first, INCIDENT_TRAITS).filter(|_| is_whole)
}

/// An address, or a network.
fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok();
    network.or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?.to_canonical())))
}

/// The name of a secret that an alert lists by its ARN or name, as reads of it have it.
fn name_of(listed: &str) -> SharedStr {
    let elsewhere = RecordHome {
        partition: "",
        account: "",
        region: "",
    };
    let secret = match ArnParts::parse(listed) {
        Some(arn) if arn.service == "ssm" => SecretRef::parameter(listed, elsewhere),
        _ => SecretRef::secret(listed, elsewhere),
    };
    secret.name.unwrap_or_else(|| listed.into())
}
