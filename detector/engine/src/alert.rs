//! An alert: what a rule says, with its evidence. Its id is a pure function of what it says.

pub mod chat;
pub mod json_v1;
pub mod ocsf;
mod summary;
pub mod text;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use self::summary::summary;
use crate::access::Access;
use crate::digest::digest;
use crate::evidence::Evidence;
use crate::ids::{SecretKey, Text};
use crate::limits::{ALERT_ACCESSES, ALERT_SECRETS};
use crate::rule_meta::RuleMeta;
use crate::time::EventTime;

/// Identity of an alert: 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertId(pub Text);

/// When and over what a window fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// Fields of the group and their values.
    pub group: Vec<(Text, Text)>,
    /// Number of the bucket: event time divided by the suppression time.
    pub bucket: i64,
    /// The window reaches from after this time …
    pub start: EventTime,
    /// … up to and including this one.
    pub end: EventTime,
    /// What the rule counts, in this window.
    pub count: u64,
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Identity.
    pub id: AlertId,
    /// The rule.
    pub rule: Arc<RuleMeta>,
    /// Time of the event, or the end of the window.
    pub time: EventTime,
    /// The window; `None` for an alert about a single event.
    pub firing: Option<Firing>,
    /// One sentence that a person can act on.
    pub summary: String,
    /// Account of the trail, where the evidence has only one.
    pub account: Option<Text>,
    /// Region, where the evidence has only one.
    pub region: Option<Text>,
    /// Principal, where the evidence has only one.
    pub principal: Option<Text>,
    /// The first secrets, by name or ARN.
    pub secrets: Vec<Text>,
    /// How many distinct secrets there are.
    pub secrets_total: usize,
    /// The first accesses, in the order of the ledger.
    pub accesses: Vec<Arc<Access>>,
    /// How many accesses there are.
    pub accesses_total: usize,
    /// `eventID`s of the first events that it rests on, accesses or not. In none of the published
    /// forms: empty for an alert that was read from one.
    pub events: Vec<Text>,
}

impl Alert {
    /// The identity of an alert about a single event.
    #[must_use]
    pub fn single_id(rule: &RuleMeta, event_key: &str) -> AlertId {
        AlertId(digest(&["event", &rule.id, event_key]).into())
    }

    /// The identity of an alert of a window.
    #[must_use]
    pub fn window_id(rule: &RuleMeta, group: &[(Text, Text)], bucket: i64) -> AlertId {
        let bucket = bucket.to_string();
        let mut parts = vec!["window", &rule.id, &bucket];
        parts.extend(group.iter().flat_map(|(field, value)| [&**field, &**value]));
        AlertId(digest(&parts).into())
    }

    /// The same alert in fewer bytes: so many accesses and secrets, and no text longer than so many
    /// characters. The totals stay.
    #[must_use]
    pub fn shortened(&self, accesses: usize, secrets: usize, chars: usize) -> Self {
        let firing = self.firing.as_ref().map(|firing| Firing {
            group: firing
                .group
                .iter()
                .map(|(field, value)| (field.clone(), cut(value, chars).into()))
                .collect(),
            ..firing.clone()
        });
        Self {
            firing,
            summary: cut(&self.summary, chars),
            account: cut_known(self.account.as_ref(), chars),
            region: cut_known(self.region.as_ref(), chars),
            principal: cut_known(self.principal.as_ref(), chars),
            secrets: self
                .secrets
                .iter()
                .take(secrets)
                .map(|secret| cut(secret, chars).into())
                .collect(),
            accesses: self.accesses.iter().take(accesses).cloned().collect(),
            ..self.clone()
        }
    }

    /// Makes the alert of a rule from its evidence, which must not be empty, in any order.
    #[must_use]
    pub fn new(
        id: AlertId,
        rule: Arc<RuleMeta>,
        firing: Option<Firing>,
        evidence: Vec<Evidence>,
    ) -> Self {
        let evidence = in_order(evidence);
        let secrets = NamedSecrets::of(&evidence);
        let accesses: Vec<_> = evidence.iter().filter_map(|e| e.access.clone()).collect();
        Self {
            time: time_of(firing.as_ref(), &evidence),
            summary: summary(&rule, firing.as_ref(), &evidence, secrets.total),
            account: shared_by_all(evidence.iter().map(|e| Some(&e.head.account))),
            region: shared_by_all(evidence.iter().map(|e| Some(&e.head.region))),
            principal: shared_by_all(evidence.iter().map(|e| e.head.principal.id.as_ref())),
            secrets: secrets.first,
            secrets_total: secrets.total,
            accesses_total: accesses.len(),
            events: event_ids(&evidence, ALERT_ACCESSES),
            accesses: accesses.into_iter().take(ALERT_ACCESSES).collect(),
            id,
            rule,
            firing,
        }
    }
}

/// Evidence by time, each once. It comes as batches arrived; what is said, listed and cut off at a
/// limit must be the same in any order, or one alert would be stored in several versions.
fn in_order(mut evidence: Vec<Evidence>) -> Vec<Evidence> {
    evidence.sort_by(|a, b| a.order().cmp(&b.order()));
    evidence.dedup_by(|a, b| a.order() == b.order());
    evidence
}

/// The ids of the first events.
fn event_ids(evidence: &[Evidence], most: usize) -> Vec<Text> {
    let first = evidence.iter().take(most);
    first.map(|e| e.head.event_id.clone()).collect()
}

/// The end of the window, or the time of the event.
fn time_of(firing: Option<&Firing>, evidence: &[Evidence]) -> EventTime {
    firing
        .map(|f| f.end)
        .or_else(|| evidence.first().map(|e| e.head.time))
        .unwrap_or(EventTime(0))
}

/// The value that all have; `None` where they differ, or where none has any.
fn shared_by_all<'e>(values: impl Iterator<Item = Option<&'e Text>>) -> Option<Text> {
    let distinct: BTreeSet<Option<&Text>> = values.collect();
    match distinct.len() {
        1 => distinct.first().copied().flatten().cloned(),
        _ => None,
    }
}

/// The secrets that evidence names, in its order.
struct NamedSecrets {
    /// Names or ARNs of the first.
    first: Vec<Text>,
    total: usize,
}

impl NamedSecrets {
    fn of(evidence: &[Evidence]) -> Self {
        let mut places: HashMap<SecretKey, usize> = HashMap::new();
        let mut names: Vec<Text> = Vec::new();
        for secret in evidence.iter().filter_map(|e| e.secret.as_ref()) {
            // Denied reads and filtered batches may tell the store only, which is nothing to count.
            let Some(name) = &secret.name else { continue };
            let told = secret.arn.as_ref().unwrap_or(name);
            match places.entry(secret.key()) {
                Entry::Vacant(place) => {
                    place.insert(names.len());
                    names.push(told.clone());
                }
                // One secret may come by its name here and by its ARN there; the ARN tells more.
                Entry::Occupied(place) => {
                    if let Some(known) = names.get_mut(*place.get())
                        && !known.starts_with("arn:")
                    {
                        *known = told.clone();
                    }
                }
            }
        }
        let total = names.len();
        names.truncate(ALERT_SECRETS);
        Self {
            first: names,
            total,
        }
    }
}

/// The first so many characters of a text, marked where others follow.
fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The same for what may be unknown.
fn cut_known(text: Option<&Text>, chars: usize) -> Option<Text> {
    text.map(|text| cut(text, chars).into())
}
