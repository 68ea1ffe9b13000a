//! Alerts: the rule that matched, the evidence, and an id derived from the rule and the event or
//! window.

pub mod alert_digest;
pub mod chat;
pub mod json_v1;
mod merged;
pub mod ocsf;
mod reduced;
mod summary;
pub mod text;
mod traits;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

pub(crate) use self::reduced::{EvidenceTotals, reduced};
use self::summary::summary;
pub use self::{merged::FormerPlace, traits::AlertTraits};
use crate::{
    access::Access,
    actor::{Actor, Origin, common::CommonTraits, shared_by_all},
    digest::digest,
    evidence::Evidence,
    ids::{SecretKey, SharedStr},
    limits::{ALERT_ACCESSES, ALERT_SECRETS},
    object::is_direct,
    rule_meta::RuleMeta,
    time::EventTime,
};

/// Identity of an alert: 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertId(pub SharedStr);

/// Identity of an incident: 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncidentId(pub SharedStr);

/// The window of event time in which a window rule matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowMatch {
    /// Fields that the rule groups by, and their values.
    pub group: Vec<(SharedStr, SharedStr)>,
    /// Event time divided by the rule's `suppress` period, rounded down: one alert per group and
    /// bucket. 0 in an alert that was read from JSON.
    pub bucket: i64,
    /// Start of the window, exclusive.
    pub start: EventTime,
    /// End of the window, inclusive.
    pub end: EventTime,
    /// What the rule counts (events or distinct values) in the window.
    pub count: u64,
}

/// An event of the evidence, to find its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertEvent {
    /// `eventID`.
    pub id: SharedStr,
    /// `eventTime`.
    pub time: EventTime,
    /// Path or key of the object that contained the record.
    pub object: SharedStr,
}

/// The result of a rule, with its evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// The same for the same facts, wherever and however often they are processed.
    pub id: AlertId,
    /// Metadata of the rule.
    pub rule: Arc<RuleMeta>,
    /// Time of the event, or the end of the window. Of a window that any one fact fills, the first
    /// time in the hour of its last fact.
    pub time: EventTime,
    /// Since when it holds: time of its first event; where a window joins several rules, of the
    /// first event by which each has one.
    pub began: EventTime,
    /// The window; `None` for an alert about a single event.
    pub window_match: Option<WindowMatch>,
    /// One sentence: who did what to which secret, from where and when.
    pub summary: String,
    /// `recipientAccountId` of the evidence; `None` where it differs.
    pub account: Option<SharedStr>,
    /// `awsRegion` of the evidence; `None` where it differs.
    pub region: Option<SharedStr>,
    /// Stable identity of the principal (an ARN or service name): of all evidence, or else of the
    /// accesses; `None` where it differs or is unknown.
    pub principal: Option<SharedStr>,
    /// The first [`ALERT_SECRETS`] secrets: the ARN where known, otherwise the name.
    pub secrets: Vec<SharedStr>,
    /// Number of distinct secrets, including those not listed.
    pub secrets_total: usize,
    /// The first [`ALERT_ACCESSES`] accesses, ordered by time.
    pub accesses: Vec<Arc<Access>>,
    /// Number of accesses, including those not listed.
    pub accesses_total: usize,
    /// The first [`ALERT_ACCESSES`] events of the evidence, accesses or not, ordered by time.
    pub events: Vec<AlertEvent>,
    /// Who or what it is about.
    pub actor: Actor,
    /// Where all its calls come from; in an alert that was read from JSON, those that it lists.
    pub origin: Origin,
    /// What all its evidence has in common, of a window that any one fact fills: its forms are
    /// merged. `None` for other alerts, and in one that was read from JSON.
    pub common: Option<CommonTraits>,
    /// Where it was before, if that is elsewhere; nowhere in a replay.
    pub former: Vec<FormerPlace>,
    /// What its calls have been made with and from; in an alert that was read from JSON, those that
    /// it lists.
    pub traits: AlertTraits,
    /// The incident that it belongs to; `None` while that is not decided.
    pub incident: Option<IncidentId>,
    /// Whether the final evaluation has refuted it: what it calls new was seen before, in a record
    /// that came late.
    pub withdrawn: bool,
}

impl Alert {
    /// The id of an alert about a single event: a digest of rule id and event key.
    #[must_use]
    pub fn single_id(rule: &RuleMeta, event_key: &str) -> AlertId {
        AlertId(digest(&["event", &rule.id, event_key]).into())
    }

    /// The id of an alert of a window rule: a digest of rule id, group and bucket.
    #[must_use]
    pub fn window_id(rule: &RuleMeta, group: &[(SharedStr, SharedStr)], bucket: i64) -> AlertId {
        let bucket = bucket.to_string();
        let mut parts = vec!["window", &rule.id, &bucket];
        parts.extend(group.iter().flat_map(|(field, value)| [&**field, &**value]));
        AlertId(digest(&parts).into())
    }

    /// An alert about the log of an account and region, not about events in it.
    #[must_use]
    pub(crate) fn of_log(
        id: AlertId,
        rule: Arc<RuleMeta>,
        since: EventTime,
        summary: String,
        (account, region): (&SharedStr, &SharedStr),
    ) -> Self {
        Self {
            id,
            rule,
            time: since,
            began: since,
            window_match: None,
            summary,
            account: Some(account.clone()),
            region: Some(region.clone()),
            principal: None,
            secrets: Vec::new(),
            secrets_total: 0,
            accesses: Vec::new(),
            accesses_total: 0,
            events: Vec::new(),
            actor: Actor::by_names(None, Some(account), Some(region)),
            origin: Origin::default(),
            common: None,
            former: Vec::new(),
            traits: AlertTraits::default(),
            incident: None,
            withdrawn: false,
        }
    }

    /// Identity of the message that publishes it: its id; of a withdrawal, which is no repetition
    /// of the alert, `{id}-withdrawn`.
    #[must_use]
    pub fn message_id(&self) -> String {
        let id = &self.id.0;
        if self.withdrawn {
            format!("{id}-withdrawn")
        } else {
            id.to_string()
        }
    }

    /// How much is known of it: of two forms of one alert, that which rests on more facts has the
    /// greater text.
    #[must_use]
    pub fn extent(&self) -> String {
        let window = self.window_match.as_ref();
        let count = window.map_or(0, |window| window.count);
        // Of windows that count as many, the one that ends first is reported.
        let earliest = |time: EventTime| i64::MAX.abs_diff(time.0);
        let end = window.map_or(0, |window| earliest(window.end));
        let first = self.events.first().map_or(0, |first| earliest(first.time));
        let accesses = self.accesses_total;
        let known = format!("{count:020} {end:020} {first:020}");
        // What the file says takes the place of what came directly: only its text goes on.
        if self.events.iter().any(|event| is_direct(&event.object)) {
            return known;
        }
        // The final evaluation knows the versions that were read.
        let versions = self.traits.versions.with_decrypt();
        format!("{known} {accesses:020} {versions:020}")
    }

    /// Time of its last event, as far as it shows them: not before its time.
    #[must_use]
    pub fn last(&self) -> EventTime {
        let end = self.window_match.as_ref().map(|window| window.end);
        end.map_or(self.time, |end| end.max(self.time))
    }

    /// How its title begins: `high: `; of a withdrawal, `withdrawn: high: `.
    fn prefix(&self) -> String {
        let withdrawn = if self.withdrawn { "withdrawn: " } else { "" };
        format!("{withdrawn}{}: ", self.rule.level)
    }

    /// A copy with at most so many accesses and secrets, and no text longer than `chars`
    /// characters. The totals are unchanged.
    #[must_use]
    pub fn shortened(&self, accesses: usize, secrets: usize, chars: usize) -> Self {
        let window_match = self.window_match.as_ref().map(|window_match| WindowMatch {
            group: window_match
                .group
                .iter()
                .map(|(field, value)| (field.clone(), cut(value, chars).into()))
                .collect(),
            ..window_match.clone()
        });
        Self {
            window_match,
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
            events: self.shortened_events(accesses, chars),
            actor: Actor {
                kind: self.actor.kind,
                key: cut(&self.actor.key, chars).into(),
                name: cut(&self.actor.name, chars).into(),
            },
            ..self.clone()
        }
    }

    fn shortened_events(&self, most: usize, chars: usize) -> Vec<AlertEvent> {
        let first = self.events.iter().take(most);
        first
            .map(|event| AlertEvent {
                id: cut(&event.id, chars).into(),
                time: event.time,
                object: cut(&event.object, chars).into(),
            })
            .collect()
    }

    /// Builds an alert from its evidence, which must not be empty and may be in any order.
    #[must_use]
    pub fn new(
        id: AlertId,
        rule: Arc<RuleMeta>,
        window_match: Option<WindowMatch>,
        evidence: Vec<Evidence>,
    ) -> Self {
        let evidence = in_order(evidence);
        let totals = EvidenceTotals::of(&evidence);
        Self::of_sorted(id, rule, window_match, evidence, totals)
    }

    /// The same of evidence that was [`reduced`], with its totals.
    pub(crate) fn of_reduced(
        id: AlertId,
        rule: Arc<RuleMeta>,
        window_match: Option<WindowMatch>,
        evidence: Vec<Evidence>,
        totals: EvidenceTotals,
    ) -> Self {
        Self::of_sorted(id, rule, window_match, in_order(evidence), totals)
    }

    fn of_sorted(
        id: AlertId,
        rule: Arc<RuleMeta>,
        window_match: Option<WindowMatch>,
        evidence: Vec<Evidence>,
        totals: EvidenceTotals,
    ) -> Self {
        let secrets = NamedSecrets::of(&evidence);
        let accesses = evidence.iter().filter_map(|e| e.access.clone());
        let accesses: Vec<_> = accesses.take(ALERT_ACCESSES).collect();
        let summary = summary(
            &rule,
            window_match.as_ref(),
            &evidence,
            secrets.total,
            totals,
        );
        Self {
            time: time_of(window_match.as_ref(), &evidence),
            began: evidence.first().map_or(EventTime(0), |e| e.head.time),
            summary,
            account: shared_by_all(evidence.iter().map(|e| Some(&e.head.account))).cloned(),
            region: shared_by_all(evidence.iter().map(|e| Some(&e.head.region))).cloned(),
            principal: principal(&evidence),
            secrets: secrets.first,
            secrets_total: secrets.total,
            accesses_total: totals.accesses,
            events: events(&evidence, ALERT_ACCESSES),
            actor: Actor::of(&evidence),
            origin: Origin::of(&evidence),
            common: None,
            former: Vec::new(),
            traits: AlertTraits::of(&evidence),
            incident: None,
            accesses,
            withdrawn: false,
            id,
            rule,
            window_match,
        }
    }
}

/// The principal of all evidence; where some prepared what another did, the one that accessed the
/// secrets.
fn principal(evidence: &[Evidence]) -> Option<SharedStr> {
    let shared = |only_accesses: bool| {
        let some = evidence.iter();
        let some = some.filter(|e| !only_accesses || e.access.is_some());
        shared_by_all(some.map(|e| e.head.principal.id.as_ref()))
    };
    shared(false).or_else(|| shared(true)).cloned()
}

/// Evidence sorted by time and deduplicated. It arrives in batch order; summary, lists and
/// truncation must not depend on that order, or one alert would be stored in several versions.
fn in_order(mut evidence: Vec<Evidence>) -> Vec<Evidence> {
    evidence.sort_by(|a, b| a.order().cmp(&b.order()));
    evidence.dedup_by(|a, b| a.order() == b.order());
    evidence
}

fn events(evidence: &[Evidence], most: usize) -> Vec<AlertEvent> {
    let first = evidence.iter().take(most);
    first
        .map(|e| AlertEvent {
            id: e.head.event_id.clone(),
            time: e.head.time,
            object: e.head.object.clone(),
        })
        .collect()
}

/// The end of the window, or the time of the event.
fn time_of(window_match: Option<&WindowMatch>, evidence: &[Evidence]) -> EventTime {
    window_match
        .map(|f| f.end)
        .or_else(|| evidence.first().map(|e| e.head.time))
        .unwrap_or(EventTime(0))
}

/// The secrets that the evidence names, in the order of the evidence.
struct NamedSecrets {
    /// ARNs or names of the first [`ALERT_SECRETS`].
    first: Vec<SharedStr>,
    total: usize,
}

impl NamedSecrets {
    fn of(evidence: &[Evidence]) -> Self {
        let mut places: HashMap<SecretKey, usize> = HashMap::new();
        let mut names: Vec<SharedStr> = Vec::new();
        for secret in evidence.iter().filter_map(|e| e.secret.as_ref()) {
            // Denied reads and filtered batches may have only the store: no secret to count.
            let Some(name) = &secret.name else { continue };
            let reported = secret.arn.as_ref().unwrap_or(name);
            match places.entry(secret.key()) {
                Entry::Vacant(place) => {
                    place.insert(names.len());
                    names.push(reported.clone());
                }
                // The same secret may appear by name and by ARN; the ARN is kept.
                Entry::Occupied(place) => {
                    if let Some(known) = names.get_mut(*place.get())
                        && !known.starts_with("arn:")
                    {
                        *known = reported.clone();
                    }
                }
            }
        }
        let total = names.len();
        // After the loop: the total counts all, and an ARN may still replace a name.
        names.truncate(ALERT_SECRETS);
        Self {
            first: names,
            total,
        }
    }
}

/// The first `chars` characters of a text, with an ellipsis if it was truncated.
pub(crate) fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn cut_known(text: Option<&SharedStr>, chars: usize) -> Option<SharedStr> {
    text.map(|text| cut(text, chars).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access, rule_meta::RuleLevel};

    fn rule() -> Arc<RuleMeta> {
        Arc::new(RuleMeta {
            id: "rule".to_owned(),
            title: "Title".to_owned(),
            level: RuleLevel::High,
            file: "rule.yml".to_owned(),
            ..RuleMeta::default()
        })
    }

    /// Evidence of a read at `secs`.
    fn read(secs: i64, change: impl FnOnce(&mut Access)) -> Evidence {
        let mut access = access::sample();
        let head = Arc::make_mut(&mut access.head);
        head.time = EventTime(secs);
        head.event_id = format!("e{secs}").into();
        change(&mut access);
        Evidence::access(Arc::new(access))
    }

    fn alert(evidence: Vec<Evidence>) -> Alert {
        let rule = rule();
        Alert::new(Alert::single_id(&rule, "e"), rule, None, evidence)
    }

    #[test]
    fn an_alert_is_the_same_in_any_order_of_its_evidence_and_with_copies_in_it() {
        let evidence: Vec<Evidence> = (1..4).map(|secs| read(secs, |_| {})).collect();
        let mut shuffled = evidence.clone();
        shuffled.rotate_left(2);
        shuffled.push(evidence[0].clone());
        assert_eq!(alert(shuffled), alert(evidence));
    }

    #[test]
    fn what_evidence_does_not_share_is_not_said_of_all() {
        let one = alert(vec![read(1, |_| {}), read(2, |_| {})]);
        assert_eq!(one.account.as_deref(), Some("111122223333"));
        let moved = read(2, |access| {
            Arc::make_mut(&mut access.head).region = "us-east-1".into();
        });
        let two = alert(vec![read(1, |_| {}), moved]);
        assert_eq!((two.account, two.region), (one.account, None));
        assert_eq!(two.time, EventTime(1));
    }

    #[test]
    fn a_secret_is_listed_once_by_its_arn_if_that_is_known() {
        let bare = read(1, |access| access.secret.arn = None);
        let full = read(2, |_| {});
        let unnamed = read(3, |access| {
            access.secret.name = None;
            access.secret.arn = None;
        });
        let alert = alert(vec![bare, full, unnamed]);
        let arn = "arn:aws:ssm:eu-west-1:111122223333:parameter/db";
        assert_eq!(alert.secrets, [SharedStr::from(arn)]);
        assert_eq!((alert.secrets_total, alert.accesses_total), (1, 3));
    }

    #[test]
    fn lists_end_at_their_limits_and_totals_do_not() {
        let many = (1..=150).map(|secs| {
            read(secs, |access| {
                access.secret.name = Some(format!("/s{secs}").into());
                access.secret.arn = None;
            })
        });
        let alert = alert(many.collect());
        assert_eq!((alert.secrets.len(), alert.secrets_total), (100, 150));
        assert_eq!((alert.accesses.len(), alert.accesses_total), (10, 150));
        assert_eq!(alert.events.len(), 10);
        let short = alert.shortened(1, 2, 3);
        assert_eq!((short.accesses.len(), short.secrets.len()), (1, 2));
        assert_eq!((short.secrets_total, short.accesses_total), (150, 150));
        assert_eq!(short.account.as_deref(), Some("111…"));
    }

    #[test]
    fn a_cut_falls_between_characters() {
        assert_eq!(cut("Zoë東京", 3), "Zoë…");
        assert_eq!(cut("Zoë東京", 5), "Zoë東京");
        assert_eq!(cut("", 0), "");
    }

    #[test]
    fn ids_are_of_rule_and_event_or_of_rule_group_and_bucket() {
        let rule = rule();
        let group = |value: &str| [(SharedStr::from("field"), SharedStr::from(value))];
        let window = Alert::window_id(&rule, &group("a"), 7);
        assert_eq!(window, Alert::window_id(&rule, &group("a"), 7));
        assert_ne!(window, Alert::window_id(&rule, &group("b"), 7));
        assert_ne!(window, Alert::window_id(&rule, &group("a"), 8));
        // The ids differ even if an event key equals the bucket of a window.
        assert_ne!(
            Alert::single_id(&rule, "7"),
            Alert::window_id(&rule, &[], 7)
        );
    }
}
