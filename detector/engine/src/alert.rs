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
use crate::ids::{SecretKey, SharedStr};
use crate::limits::{ALERT_ACCESSES, ALERT_SECRETS};
use crate::rule_meta::RuleMeta;
use crate::time::EventTime;

/// Identity of an alert: 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertId(pub SharedStr);

/// When and over what a window fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowMatch {
    /// Fields of the group and their values.
    pub group: Vec<(SharedStr, SharedStr)>,
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
    pub window_match: Option<WindowMatch>,
    /// One sentence that a person can act on.
    pub summary: String,
    /// Account of the trail, where the evidence has only one.
    pub account: Option<SharedStr>,
    /// Region, where the evidence has only one.
    pub region: Option<SharedStr>,
    /// Principal, where the evidence has only one.
    pub principal: Option<SharedStr>,
    /// The first secrets, by name or ARN.
    pub secrets: Vec<SharedStr>,
    /// How many distinct secrets there are.
    pub secrets_total: usize,
    /// The first accesses, in the order of the ledger.
    pub accesses: Vec<Arc<Access>>,
    /// How many accesses there are.
    pub accesses_total: usize,
    /// `eventID`s of the first events that it rests on, accesses or not. In none of the published
    /// forms: empty for an alert that was read from one.
    pub events: Vec<SharedStr>,
}

impl Alert {
    /// The identity of an alert about a single event.
    #[must_use]
    pub fn single_id(rule: &RuleMeta, event_key: &str) -> AlertId {
        AlertId(digest(&["event", &rule.id, event_key]).into())
    }

    /// The identity of an alert of a window.
    #[must_use]
    pub fn window_id(rule: &RuleMeta, group: &[(SharedStr, SharedStr)], bucket: i64) -> AlertId {
        let bucket = bucket.to_string();
        let mut parts = vec!["window", &rule.id, &bucket];
        parts.extend(group.iter().flat_map(|(field, value)| [&**field, &**value]));
        AlertId(digest(&parts).into())
    }

    /// The same alert in fewer bytes: so many accesses and secrets, and no text longer than so many
    /// characters. The totals stay.
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
            ..self.clone()
        }
    }

    /// Makes the alert of a rule from its evidence, which must not be empty, in any order.
    #[must_use]
    pub fn new(
        id: AlertId,
        rule: Arc<RuleMeta>,
        window_match: Option<WindowMatch>,
        evidence: Vec<Evidence>,
    ) -> Self {
        let evidence = in_order(evidence);
        let secrets = NamedSecrets::of(&evidence);
        let accesses: Vec<_> = evidence.iter().filter_map(|e| e.access.clone()).collect();
        Self {
            time: time_of(window_match.as_ref(), &evidence),
            summary: summary(&rule, window_match.as_ref(), &evidence, secrets.total),
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
            window_match,
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
fn event_ids(evidence: &[Evidence], most: usize) -> Vec<SharedStr> {
    let first = evidence.iter().take(most);
    first.map(|e| e.head.event_id.clone()).collect()
}

/// The end of the window, or the time of the event.
fn time_of(window_match: Option<&WindowMatch>, evidence: &[Evidence]) -> EventTime {
    window_match
        .map(|f| f.end)
        .or_else(|| evidence.first().map(|e| e.head.time))
        .unwrap_or(EventTime(0))
}

/// The value that all have; `None` where they differ, or where none has any.
fn shared_by_all<'e>(values: impl Iterator<Item = Option<&'e SharedStr>>) -> Option<SharedStr> {
    let distinct: BTreeSet<Option<&SharedStr>> = values.collect();
    match distinct.len() {
        1 => distinct.first().copied().flatten().cloned(),
        _ => None,
    }
}

/// The secrets that evidence names, in its order.
struct NamedSecrets {
    /// Names or ARNs of the first.
    first: Vec<SharedStr>,
    total: usize,
}

impl NamedSecrets {
    fn of(evidence: &[Evidence]) -> Self {
        let mut places: HashMap<SecretKey, usize> = HashMap::new();
        let mut names: Vec<SharedStr> = Vec::new();
        for secret in evidence.iter().filter_map(|e| e.secret.as_ref()) {
            // Denied reads and filtered batches may tell the store only, which is nothing to count.
            let Some(name) = &secret.name else { continue };
            let reported = secret.arn.as_ref().unwrap_or(name);
            match places.entry(secret.key()) {
                Entry::Vacant(place) => {
                    place.insert(names.len());
                    names.push(reported.clone());
                }
                // One secret may come by its name here and by its ARN there; the ARN tells more.
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
fn cut_known(text: Option<&SharedStr>, chars: usize) -> Option<SharedStr> {
    text.map(|text| cut(text, chars).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access;
    use crate::rule_meta::RuleLevel;

    fn rule() -> Arc<RuleMeta> {
        Arc::new(RuleMeta {
            id: "rule".to_owned(),
            title: "Title".to_owned(),
            level: RuleLevel::High,
            tags: Vec::new(),
            false_positives: Vec::new(),
            references: Vec::new(),
            file: "rule.yml".to_owned(),
        })
    }

    /// Evidence of a read at a second.
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
    fn a_secret_is_listed_once_by_what_tells_most_of_it() {
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
        // An event whose key reads like a window's is still another thing.
        assert_ne!(
            Alert::single_id(&rule, "7"),
            Alert::window_id(&rule, &[], 7)
        );
    }
}
