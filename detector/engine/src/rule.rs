//! Rules: what to look for, in standard Sigma files, behind our own types. The Sigma engine parses
//! and matches single events; windows, joins and alerts are ours.

mod correlation;
pub mod event;
pub mod example;
pub mod fields;
pub mod load;
pub mod needs;
pub mod vars;

use std::cell::OnceCell;
use std::sync::Arc;

use rsigma_eval::{CompiledRule, Event, compiler::eval_condition};
use rsigma_parser::ConditionExpr;

use crate::document::scalar_text;
use crate::evidence::Evidence;
use crate::extract::{RawFields, Wanted};
use crate::fact::{Fact, WindowKey};
use crate::ids::Text;
use crate::rule::needs::NeededCalls;
use crate::rule_meta::RuleMeta;

/// What kind of event a rule sees, by its `logsource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// `category: secret_access`.
    Access,
    /// `category: secret_change`.
    Change,
    /// `service: cloudtrail`: the record as it is.
    Record,
}

/// A rule about single events.
#[derive(Debug)]
pub struct Detection {
    /// What the rule says of itself.
    pub meta: Arc<RuleMeta>,
    /// What it sees.
    pub target: Target,
    /// Whether it raises alerts of its own: not when it only feeds a correlation.
    pub alerts: bool,
    /// Whether it asks for what is known only once the key use has been found or given up.
    pub late: bool,
    pub(crate) compiled: CompiledRule,
    /// Calls of which a matching record must be one; `None` when it may be any.
    calls: Option<Vec<NeededCalls>>,
    /// Windows that it feeds: index of the window, and which of its rules this is.
    pub(crate) feeds: Vec<(usize, usize)>,
}

/// A rule about many events: a Sigma correlation, or the suppression of a rule about single events.
#[derive(Debug)]
pub struct Window {
    /// What the rule says of itself.
    pub meta: Arc<RuleMeta>,
    /// Its id, which every fact of it has.
    id: Text,
    /// Whether it raises alerts: not when it belongs to a rule that only feeds a correlation.
    pub alerts: bool,
    /// When it fires.
    pub condition: WindowCondition,
    /// Length in seconds.
    pub span_secs: i64,
    /// At most one alert for each group in each bucket of this many seconds.
    pub suppress_secs: i64,
    /// Fires at so many times the usual rate of the access policy, if that is more than the
    /// condition asks for. Events without a usual rate do not count.
    pub times_usual: Option<f64>,
    /// Names of the group's fields in alerts.
    group: Vec<Text>,
    members: Vec<Member>,
}

/// The field that holds the usual rate.
const USUAL: &str = "expected.usual_per_hour";

/// What a window reads from the events of one of its rules.
#[derive(Debug)]
struct Member {
    group: Vec<String>,
    value: Vec<String>,
    /// Whether an event without a group field still counts, in a group of its own.
    lenient: bool,
}

/// When a window fires. Every condition stays true when facts are added.
#[derive(Debug, Clone, PartialEq)]
pub enum WindowCondition {
    /// At least so many facts.
    Events(u64),
    /// At least so many distinct values.
    Values(u64),
    /// So many of the rules have a fact.
    Rules(u64),
    /// The expression over the rules holds.
    Expression(ConditionExpr, Vec<String>),
    /// Every rule has a fact, in this order; facts of one second have any order.
    Ordered(u64),
}

impl WindowCondition {
    /// Facts that it needs at least.
    pub(crate) fn least(&self) -> u64 {
        match self {
            Self::Events(least)
            | Self::Values(least)
            | Self::Rules(least)
            | Self::Ordered(least) => *least,
            Self::Expression(..) => 0,
        }
    }
}

/// Rules that have been read and checked.
#[derive(Debug, Default)]
pub struct RuleSet {
    /// Rules about single events.
    pub detections: Vec<Detection>,
    /// Rules about many events.
    pub windows: Vec<Window>,
    /// What is worth knowing about rules that loaded nevertheless.
    pub warnings: Vec<String>,
    wanted: Wanted,
    asks_for_seen: bool,
}

impl Wanted {
    /// What rules about such events ask for; nothing of records, which they see whole.
    fn of(&mut self, target: Target) -> Option<&mut RawFields> {
        match target {
            Target::Access => Some(&mut self.of_accesses),
            Target::Change => Some(&mut self.of_changes),
            Target::Record => None,
        }
    }

    /// Notes a field that rules about such events ask for, if it is kept from the record.
    fn take(&mut self, target: Target, field: &str) {
        if let Some(wanted) = self.of(target).filter(|_| fields::is_kept(field)) {
            wanted.names.insert(field.into());
        }
    }
}

/// Where rules have hit: alerts of single events, and facts for windows.
#[derive(Debug, Default)]
pub struct Hits {
    /// Index of the rule, and the event.
    pub singles: Vec<(usize, Evidence)>,
    /// Index of the window, its group, and the fact.
    pub facts: Vec<(usize, WindowKey, Fact)>,
}

impl Hits {
    /// Takes over the hits of another.
    pub fn append(&mut self, mut other: Self) {
        self.singles.append(&mut other.singles);
        self.facts.append(&mut other.facts);
    }

    /// Whether nothing hit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.singles.is_empty() && self.facts.is_empty()
    }
}

/// Which rules to ask about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// What kind of event it is.
    pub target: Target,
    /// Whether its key use has been settled.
    pub settled: bool,
    /// Whether it counts in windows.
    pub counts: bool,
}

impl Ask {
    /// Every rule about events of this kind, when nothing more will be known of them.
    #[must_use]
    pub fn settled(target: Target) -> Self {
        Self {
            target,
            settled: true,
            counts: true,
        }
    }
}

impl RuleSet {
    /// Raw record fields that the rules about accesses and changes ask for.
    #[must_use]
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Whether a rule asks for `seen.*`, so that it must be remembered.
    #[must_use]
    pub fn asks_for_seen(&self) -> bool {
        self.asks_for_seen
    }

    /// The number of rules that can raise alerts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.detections.iter().filter(|d| d.alerts).count()
            + self.windows.iter().filter(|w| w.alerts).count()
    }

    /// What every rule says of itself. A rule about single events that is suppressed is there
    /// twice.
    pub fn metas(&self) -> impl Iterator<Item = &Arc<RuleMeta>> {
        self.detections
            .iter()
            .map(|d| &d.meta)
            .chain(self.windows.iter().map(|w| &w.meta))
    }

    /// What the rules that can raise alerts say of themselves.
    pub fn alerting(&self) -> impl Iterator<Item = &Arc<RuleMeta>> {
        let single = self.detections.iter().filter(|d| d.alerts).map(|d| &d.meta);
        single.chain(self.windows.iter().filter(|w| w.alerts).map(|w| &w.meta))
    }

    /// Whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.detections.is_empty() && self.windows.is_empty()
    }

    /// Whether a rule sees events of this kind.
    #[must_use]
    pub fn sees(&self, target: Target) -> bool {
        self.detections.iter().any(|d| d.target == target)
    }

    /// Calls that rules about records ask for; `None` when one of them may match any record.
    #[must_use]
    pub fn record_calls(&self) -> Option<Vec<NeededCalls>> {
        let mut all: Vec<NeededCalls> = Vec::new();
        for detection in self
            .detections
            .iter()
            .filter(|d| d.target == Target::Record)
        {
            for calls in detection.calls.as_ref()? {
                match all
                    .iter_mut()
                    .find(|known| known.source.eq_ignore_ascii_case(&calls.source))
                {
                    None => all.push(calls.clone()),
                    Some(known) => {
                        known.names =
                            known
                                .names
                                .take()
                                .zip(calls.names.as_ref())
                                .map(|(known, more)| {
                                    let new = |name: &&String| !known.contains(name);
                                    let new: Vec<String> =
                                        more.iter().filter(new).cloned().collect();
                                    [known, new].concat()
                                });
                    }
                }
            }
        }
        Some(all)
    }

    /// The rules about records that ask for other calls than these; `None` are all calls.
    pub fn needing_beyond<'r>(
        &'r self,
        calls: Option<&'r [NeededCalls]>,
    ) -> impl Iterator<Item = &'r RuleMeta> {
        let records = self
            .detections
            .iter()
            .filter(|detection| detection.target == Target::Record);
        let lacks = move |needed: &Option<Vec<NeededCalls>>| match (needed, calls) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(needed), Some(calls)) => !needed.iter().all(|needed| needed.are_in(calls)),
        };
        records
            .filter(move |detection| lacks(&detection.calls))
            .map(|detection| &*detection.meta)
    }

    /// Whether any rule of the kind matches an event.
    #[must_use]
    pub fn any_hit(&self, ask: Ask, event: &impl Event) -> bool {
        self.matching(ask, event).next().is_some()
    }

    fn matching<'s, E: Event>(
        &'s self,
        ask: Ask,
        event: &'s E,
    ) -> impl Iterator<Item = (usize, &'s Detection)> {
        let source = event.get_field("eventSource").and_then(|v| scalar_text(&v));
        self.detections
            .iter()
            .enumerate()
            .filter(move |(_, detection)| {
                let asked = detection.target == ask.target && (ask.settled || !detection.late);
                asked && detection.may_match(source.as_deref()) && detection.matches(event)
            })
    }

    /// Asks every rule of the kind about an event.
    #[must_use]
    pub fn hits(&self, ask: Ask, event: &impl Event, evidence: &Evidence) -> Hits {
        let mut hits = Hits::default();
        // Many windows have a fact about one event.
        let about = OnceCell::new();
        for (index, detection) in self.matching(ask, event) {
            if detection.alerts {
                hits.singles.push((index, evidence.clone()));
            }
            for (window, slot) in detection.feeds.iter().filter(|_| ask.counts) {
                let about = || about.get_or_init(|| evidence.fact_key()).clone();
                let fact = self
                    .windows
                    .get(*window)
                    .and_then(|window| window.fact(*slot, event, evidence, about));
                hits.facts
                    .extend(fact.map(|(key, fact)| (*window, key, fact)));
            }
        }
        hits
    }
}

impl Detection {
    fn may_match(&self, source: Option<&str>) -> bool {
        match (&self.calls, source) {
            (Some(calls), Some(source)) => {
                calls.iter().any(|c| c.source.eq_ignore_ascii_case(source))
            }
            _ => true,
        }
    }

    fn matches(&self, event: &impl Event) -> bool {
        let holds = |condition| {
            eval_condition(condition, &self.compiled.detections, event, &mut Vec::new())
        };
        self.compiled.conditions.iter().any(holds)
    }
}

impl Window {
    /// Whether any one fact makes the window fire, so that no other needs to be known.
    #[must_use]
    pub fn is_filled_by_one(&self) -> bool {
        self.times_usual.is_none()
            && matches!(
                self.condition,
                WindowCondition::Events(0 | 1)
                    | WindowCondition::Values(0 | 1)
                    | WindowCondition::Rules(0 | 1)
            )
    }

    /// The fact that an event is for this window; `None` when it lacks a field of the group or the
    /// value.
    pub(crate) fn fact(
        &self,
        slot: usize,
        event: &impl Event,
        evidence: &Evidence,
        about: impl FnOnce() -> Text,
    ) -> Option<(WindowKey, Fact)> {
        let member = self.members.get(slot)?;
        let text = |field: &str| event.get_field(field).and_then(|v| scalar_text(&v));
        let mut group = Vec::with_capacity(self.group.len());
        for (name, field) in self.group.iter().zip(&member.group) {
            let value = text(field).or_else(|| member.lenient.then(String::new))?;
            group.push((name.clone(), Text::from(value)));
        }
        let values = member
            .value
            .iter()
            .map(|field| text(field))
            .collect::<Option<Vec<_>>>()?;
        let value = (!values.is_empty()).then(|| values.join("\n").into());
        let least = match self.times_usual {
            None => None,
            Some(times) => Some(self.too_many(times, text(USUAL)?.parse().ok()?)),
        };
        let key = WindowKey {
            rule: self.id.clone(),
            group,
        };
        Some((
            key,
            Fact {
                slot,
                key: about(),
                time: evidence.head.time,
                value,
                least,
                evidence: evidence.clone(),
            },
        ))
    }

    /// The count in a window that is `times` the usual rate.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count beyond u64 is never reached"
    )]
    #[expect(
        clippy::cast_precision_loss,
        reason = "spans are far below 2^52 seconds"
    )]
    fn too_many(&self, times: f64, usual_per_hour: f64) -> u64 {
        (times * usual_per_hour * self.span_secs as f64 / 3_600.0).ceil() as u64
    }
}
