//! What is usual for a principal, beside what it does now: its own networks, programs, regions and
//! secrets over the lookback before an incident or alert. The content of every form; where the
//! facts come from is a matter of `seen::usual`.
//!
//! Usual is what was read successfully. What is done now counts whatever came of it.

use std::collections::HashSet;

use super::{
    Incident, IncidentPeriods,
    story::{counted, first_and_rest},
};
use crate::{
    access::{Access, AccessMethod},
    actor::{Actor, ActorKind},
    alert::Alert,
    client::ClientProgram,
    ids::{SecretRef, SharedStr, secret_name},
    limits::INCIDENT_TRAITS,
    network::network_of,
    time::EventTime,
};

/// Most values that are named in a line.
const NAMED: usize = 3;

/// Kinds of habits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UsualKind {
    /// Networks and VPC endpoints.
    Source,
    /// Programs.
    Client,
    /// `awsRegion`.
    Region,
    /// Names of secrets.
    Secret,
}

impl UsualKind {
    /// Every kind, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Source, Self::Client, Self::Region, Self::Secret];

    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Client => "client",
            Self::Region => "region",
            Self::Secret => "secret",
        }
    }

    /// The label in text: that of the facts of an incident.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Source => "from",
            other => other.as_str(),
        }
    }
}

/// What is usual for a principal, and what it does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsualFacts {
    /// Number of days (UTC) with a successful read over the lookback before.
    pub days: usize,
    /// Time of the first of these reads that is known; `None` if there were none.
    pub since: Option<EventTime>,
    /// In the order of [`UsualKind::ALL`]; empty without reads before.
    pub traits: Vec<UsualTrait>,
}

/// What is usual of one kind, and what there is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsualTrait {
    /// The kind.
    pub kind: UsualKind,
    /// Values over the lookback, those of most days first; at most [`INCIDENT_TRAITS`].
    pub usual: Vec<UsualValue>,
    /// Number of these values.
    pub usual_total: usize,
    /// Values now, new ones first; at most [`INCIDENT_TRAITS`].
    pub now: Vec<CurrentValue>,
    /// Number of these values; at least so many where incidents do not list all of theirs.
    pub now_total: usize,
}

/// A value over the lookback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsualValue {
    /// The value.
    pub value: SharedStr,
    /// Number of days (UTC) with it.
    pub days: usize,
}

/// A value of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentValue {
    /// The value.
    pub value: SharedStr,
    /// Whether the principal did not have it over the lookback; `None` where that is not known.
    pub is_new: Option<bool>,
}

impl UsualFacts {
    /// Without reads before, nothing is usual, and nothing can be called new.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            days: 0,
            since: None,
            traits: Vec::new(),
        }
    }

    /// One line: how much is known of the time before.
    #[must_use]
    pub fn heading(&self) -> String {
        match self.since {
            None => "usual: nothing is known, it had no successful read before".to_owned(),
            Some(since) => {
                let (since, days) = (since.to_string(), counted(self.days, "day"));
                let date = since.split('T').next().unwrap_or_default();
                format!("usual (reads on {days} since {date}), and now")
            }
        }
    }

    /// A line for each kind with anything to say: its label, what is usual, and what is now. Of
    /// more than `most`, those with anything new.
    #[must_use]
    pub fn lines(&self, most: usize) -> Vec<(&'static str, String)> {
        let said = self.traits.iter().enumerate();
        let said = said.filter_map(|(place, habits)| Some((place, habits, habits.line()?)));
        let mut said: Vec<_> = said.collect();
        said.sort_by_key(|(_, habits, _)| !habits.has_new());
        said.truncate(most);
        said.sort_by_key(|(place, ..)| *place);
        said.into_iter().map(|(.., line)| line).collect()
    }

    /// The heading and the lines, each for itself.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let lines = self.lines(usize::MAX).into_iter();
        let lines = lines.map(|(label, text)| format!("{label}: {text}"));
        std::iter::once(self.heading()).chain(lines).collect()
    }

    /// All texts in it.
    pub(super) fn values(&mut self) -> impl Iterator<Item = &mut SharedStr> {
        self.traits.iter_mut().flat_map(|habits| {
            let usual = habits.usual.iter_mut().map(|usual| &mut usual.value);
            usual.chain(habits.now.iter_mut().map(|now| &mut now.value))
        })
    }

    /// Leaves so many values of each list.
    pub(super) fn truncate(&mut self, most: usize) {
        for habits in &mut self.traits {
            habits.usual.truncate(most);
            habits.now.truncate(most);
        }
    }
}

impl UsualTrait {
    /// Values of one kind, in any order.
    pub(crate) fn new(
        kind: UsualKind,
        mut usual: Vec<UsualValue>,
        mut now: Vec<CurrentValue>,
        hidden: usize,
    ) -> Self {
        usual.sort_by(|a, b| b.days.cmp(&a.days).then_with(|| a.value.cmp(&b.value)));
        // Stable: those of one sort stay in the order of their first call.
        now.sort_by_key(|now| now.is_new != Some(true));
        let (usual_total, now_total) = (usual.len(), now.len() + hidden);
        usual.truncate(INCIDENT_TRAITS);
        now.truncate(INCIDENT_TRAITS);
        Self {
            kind,
            usual,
            usual_total,
            now,
            now_total,
        }
    }

    fn has_new(&self) -> bool {
        self.now.iter().any(|now| now.is_new == Some(true))
    }

    fn line(&self) -> Option<(&'static str, String)> {
        if self.now.is_empty() && self.usual.is_empty() {
            return None;
        }
        let usual = self.usual.iter();
        let usual = usual.map(|usual| format!("{} ({})", usual.value, counted(usual.days, "day")));
        let now = self.now.iter().map(|now| match now.is_new {
            Some(true) => format!("{} (new)", now.value),
            _ => now.value.to_string(),
        });
        let usual = joined(usual.collect(), self.usual_total);
        let now = joined(now.collect(), self.now_total);
        Some((self.kind.label(), format!("{usual}; now {now}")))
    }
}

fn joined(values: Vec<String>, total: usize) -> String {
    let hidden = total.saturating_sub(values.len());
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    first_and_rest(&values, NAMED, hidden).unwrap_or_else(|| "none".to_owned())
}

/// What the actor of an incident or alert does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentTraits {
    pub(crate) actor: Actor,
    /// Since when: what was before may be usual.
    pub(crate) first: EventTime,
    /// In the order of [`UsualKind::ALL`].
    pub(crate) values: [CurrentValues; 4],
}

/// Values of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CurrentValues {
    pub(crate) known: Vec<TraitValue>,
    /// Number of further ones, which are not listed.
    pub(crate) hidden: usize,
}

/// A value of a kind, and what it is compared by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TraitValue {
    pub(crate) shown: SharedStr,
    /// A network, the name of a program, a region, or the key of a secret as text; `None` where
    /// that cannot be said.
    pub(crate) identity: Option<SharedStr>,
}

impl CurrentTraits {
    /// Those of an incident; `None` for actors other than principals, which have no habits of their
    /// own.
    #[must_use]
    pub fn of_incident(incident: &Incident) -> Option<Self> {
        let lists = [
            &incident.networks,
            &incident.clients,
            &incident.regions,
            &incident.secrets,
        ];
        let lists = lists.map(|listed| (listed.first.as_slice(), listed.total));
        Self::new(&incident.actor, incident.first, lists)
    }

    /// Those of an alert; `None` as for incidents.
    #[must_use]
    pub fn of_alert(alert: &Alert) -> Option<Self> {
        // What a window counts may be usual until the alert began to hold.
        let first = IncidentPeriods::default().within_reach(alert, alert.began);
        let traits = &alert.traits;
        let networks = &alert.origin.networks;
        let lists = [networks, &traits.clients, &traits.regions];
        let [networks, clients, regions] = lists.map(|values| (values.as_slice(), values.len()));
        let secrets = (alert.secrets.as_slice(), alert.secrets_total);
        Self::new(&alert.actor, first, [networks, clients, regions, secrets])
    }

    /// Since when it is now: what was before may be usual.
    #[must_use]
    pub fn since(&self) -> EventTime {
        self.first
    }

    fn new(
        actor: &Actor,
        first: EventTime,
        [networks, clients, regions, secrets]: [(&[SharedStr], usize); 4],
    ) -> Option<Self> {
        (actor.kind == ActorKind::Principal).then(|| Self {
            actor: actor.clone(),
            first,
            values: [
                CurrentValues::of(networks, itself),
                CurrentValues::of(clients, client),
                CurrentValues::of(regions, itself),
                CurrentValues::of(secrets, secret),
            ],
        })
    }
}

impl CurrentValues {
    fn of((texts, total): (&[SharedStr], usize), value: fn(&SharedStr) -> TraitValue) -> Self {
        let mut met = HashSet::new();
        let known = texts.iter().map(value);
        Self {
            known: known
                .filter(|value| met.insert(value.shown.clone()))
                .collect(),
            hidden: total.saturating_sub(texts.len()),
        }
    }
}

/// `aws-cli 2.15.0`.
fn client(text: &SharedStr) -> TraitValue {
    let family = text.split(' ').next().unwrap_or_default();
    TraitValue {
        shown: text.clone(),
        identity: Some(family.into()),
    }
}

fn itself(text: &SharedStr) -> TraitValue {
    TraitValue {
        shown: text.clone(),
        identity: Some(text.clone()),
    }
}

/// An ARN, or a name, which does not say whose it is.
fn secret(text: &SharedStr) -> TraitValue {
    match SecretRef::of_arn(text) {
        Some(secret) => of_secret(&secret),
        None => TraitValue {
            shown: secret_name(text).into(),
            identity: None,
        },
    }
}

fn of_secret(secret: &SecretRef) -> TraitValue {
    TraitValue {
        shown: secret.name.clone().unwrap_or_default(),
        identity: Some(secret.key().to_text().into()),
    }
}

/// The habits that an access shows, in the order of [`UsualKind::ALL`]. The source and the program
/// of a KMS Decrypt are those of the service that made it.
pub(crate) fn habits(access: &Access) -> [Option<TraitValue>; 4] {
    let is_own = access.method != AccessMethod::DecryptOnly;
    let source = &access.head.source;
    let network = network_of(source).filter(|_| is_own);
    let program = source.user_agent.as_deref().and_then(ClientProgram::of);
    let program = program.filter(|_| is_own).map(|program| program.family);
    [
        network.map(|network| itself(&network.into())),
        program.map(|family| itself(&family.as_ref().into())),
        Some(itself(&access.head.region)),
        access
            .secret
            .name
            .as_ref()
            .map(|_| of_secret(&access.secret)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> UsualFacts {
        let usual = |value: &str, days| UsualValue {
            value: value.into(),
            days,
        };
        let now = |value: &str, is_new| CurrentValue {
            value: value.into(),
            is_new,
        };
        UsualFacts {
            days: 40,
            since: Some(EventTime(1_767_312_000)),
            traits: vec![
                UsualTrait::new(
                    UsualKind::Source,
                    vec![usual("10.0.9.0/24", 1), usual("10.0.0.0/24", 40)],
                    vec![
                        now("10.0.0.0/24", Some(false)),
                        now("203.0.113.0/24", Some(true)),
                        now("vpce-1", None),
                    ],
                    0,
                ),
                UsualTrait::new(UsualKind::Client, Vec::new(), Vec::new(), 0),
                UsualTrait::new(
                    UsualKind::Secret,
                    Vec::new(),
                    ["a", "b", "c", "d"]
                        .map(|name| now(name, Some(true)))
                        .into(),
                    50,
                ),
            ],
        }
    }

    #[test]
    fn what_is_new_and_what_is_most_usual_comes_first_and_the_rest_is_counted() {
        assert_eq!(
            facts().texts(),
            [
                "usual (reads on 40 days since 2026-01-02), and now",
                "from: 10.0.0.0/24 (40 days), 10.0.9.0/24 (1 day); now 203.0.113.0/24 (new), \
                 10.0.0.0/24, vpce-1",
                "secret: none; now a (new), b (new), c (new) and 51 more",
            ]
        );
        let lines = facts().lines(1);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].0, "from");
        assert_eq!(
            UsualFacts::nothing().texts(),
            ["usual: nothing is known, it had no successful read before"]
        );
    }

    #[test]
    fn values_of_now_are_compared_by_what_identifies_them() {
        let identity = |value: TraitValue| value.identity;
        assert_eq!(
            identity(client(&"aws-cli 2.15.0".into())).as_deref(),
            Some("aws-cli")
        );
        let arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db-AbCdEf";
        let full = secret(&arn.into());
        assert_eq!(&*full.shown, "prod/db");
        assert!(full.identity.is_some());
        assert_eq!(identity(secret(&"prod/db".into())), None);
    }
}
