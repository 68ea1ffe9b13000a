//! Why a rule did or did not fire: selection by selection for each event, and count by group for
//! windows.

use std::collections::BTreeMap;
use std::sync::Arc;

use rsigma_eval::explain::{ConditionTrace, DetectionTrace, ItemTrace, MatchReason, explain_rule};
use rsigma_eval::{Event, result::MatcherKind};

use crate::access::Access;
use crate::document::Document;
use crate::evidence::Evidence;
use crate::extract::{self, RawFields};
use crate::fact::{Fact, WindowKey};
use crate::limits::HORIZON_SECS;
use crate::object::origin;
use crate::observation::{Interner, Observation, SecretChange};
use crate::pipeline::{self, Pipeline};
use crate::policy::Policy;
use crate::rule::event::{OwnEvent, RecordEvent};
use crate::rule::{Detection, RuleSet, Target, Window, WindowCondition};
use crate::rule_meta::RuleMeta;
use crate::scan::{self, Harvest, Input, Scanner};
use crate::seen::{self, Memory};
use crate::selection::Selection;
use crate::state::memory::MemoryStore;
use crate::time::EventTime;
use crate::window;

/// One line of an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How deep it stands under the event.
    pub depth: usize,
    /// Whether what it says holds.
    pub holds: bool,
    /// Text; parts of it come from the log.
    pub text: String,
}

/// What a rule makes of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTrace {
    /// Title of the rule, when a correlation asks several.
    pub rule: String,
    /// Time, API, secret and event id.
    pub event: String,
    /// Whether the rule matches.
    pub matched: bool,
    /// The condition, from the outside in.
    pub lines: Vec<Line>,
}

impl EventTrace {
    /// The selections that the condition names, each with whether it matched: what decided.
    #[must_use]
    pub fn decided(&self) -> String {
        let named = self.lines.iter().filter_map(|line| {
            let name = line.text.strip_prefix(SELECTION)?;
            Some(if line.holds {
                name.to_owned()
            } else {
                format!("not {name}")
            })
        });
        named.collect::<Vec<_>>().join(", ")
    }
}

/// What a window counts in one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupTrace {
    /// Fields and values of the group.
    pub group: String,
    /// Whether it fires.
    pub fired: bool,
    /// What was counted, and what is asked for.
    pub count: String,
}

/// Why a rule did or did not fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The rule.
    pub rule: Arc<RuleMeta>,
    /// Whether it raises an alert.
    pub fires: bool,
    /// What it, or the rules that it names, make of each event.
    pub events: Vec<EventTrace>,
    /// What it counts, for rules about many events.
    pub groups: Vec<GroupTrace>,
}

/// Why there is nothing to explain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No rule of that id, name of a file or title.
    #[error("there is no rule `{0}`; `secretrail rules list` shows ids, titles and files")]
    NoSuchRule(String),
    /// The events cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

const SELECTION: &str = "selection ";

/// Explains a rule over the records in `text`, in any form that CloudTrail records come in, long
/// after their time.
///
/// # Errors
///
/// [`Trouble`].
pub async fn explain(
    rules: &RuleSet,
    name: &str,
    text: &[u8],
    policy: Option<&Policy>,
) -> Result<Explanation, Trouble> {
    let world = World::read(rules, text, policy).await?;
    // A window goes before the rule whose suppression it is.
    if let Some(window) = rules.windows.iter().find(|w| is_named(&w.meta, name)) {
        return Ok(world.window(rules, window));
    }
    let detection = rules.detections.iter().find(|d| is_named(&d.meta, name));
    let detection = detection.ok_or_else(|| Trouble::NoSuchRule(name.to_owned()))?;
    let events: Vec<EventTrace> = world
        .traces(detection, None)
        .into_iter()
        .map(|(trace, _)| trace)
        .collect();
    Ok(Explanation {
        rule: detection.meta.clone(),
        fires: detection.alerts && events.iter().any(|e| e.matched),
        events,
        groups: Vec::new(),
    })
}

/// Whether a rule is meant by its id, title, or the name of its file with or without folder and
/// ending.
#[must_use]
pub fn is_named(meta: &RuleMeta, name: &str) -> bool {
    let file = meta.file.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = file
        .strip_suffix(".yml")
        .or_else(|| file.strip_suffix(".yaml"))
        .unwrap_or(file);
    meta.id == name || meta.title == name || [meta.file.as_str(), file, stem].contains(&name)
}

/// Everything that rules can look at.
struct World<'a> {
    accesses: Vec<(Arc<Access>, seen::Seen)>,
    changes: Vec<Arc<SecretChange>>,
    records: Vec<String>,
    policy: Option<&'a Policy>,
}

impl<'a> World<'a> {
    async fn read(
        rules: &RuleSet,
        text: &[u8],
        policy: Option<&'a Policy>,
    ) -> Result<Self, Trouble> {
        let unreadable = |error: &dyn std::fmt::Display| Trouble::Unreadable(error.to_string());
        let selection = Selection::default();
        let mut harvest = Harvest::default();
        let mut scanner = Scanner::new(rules, &selection);
        scanner
            .read(Input::Bytes(text), &origin("events"), false, &mut harvest)
            .map_err(|error| unreadable(&error))?;
        if harvest.report.records == 0 {
            return Err(Trouble::Unreadable(
                "there are no CloudTrail records in it".to_owned(),
            ));
        }
        let records = scan::records(text).map_err(|error| unreadable(&error))?;
        let since = pipeline::since(&harvest.observations, &harvest.coverage);
        let observations = || harvest.observations.iter().map(|end| &end.observation);
        let change = |observation: &Observation| match observation {
            Observation::Change(change) => Some(change.clone()),
            _ => None,
        };
        let changes = observations().filter_map(change).collect();
        let newest = observations()
            .map(|o| o.head().time)
            .max()
            .unwrap_or(EventTime(0));
        let quiet = RuleSet::default();
        let pipeline = Pipeline::new(&quiet, policy, &selection);
        let now = newest.plus(2 * HORIZON_SECS);
        let outcome = pipeline
            .run(&MemoryStore::default(), harvest, now)
            .await
            .map_err(|error| unreadable(&error))?;
        let judge = seen::Judge::of(
            Memory::default(),
            since,
            outcome.accesses.iter().map(|access| &**access),
        );
        let accesses = outcome.accesses.into_iter().map(|access| {
            let seen = judge.judge(&access);
            (access, seen)
        });
        Ok(Self {
            accesses: accesses.collect(),
            changes,
            records,
            policy,
        })
    }

    /// What a rule makes of everything that it sees, and what each match adds to a window in one of
    /// its slots.
    fn traces(
        &self,
        detection: &Detection,
        into: Option<(&Window, usize)>,
    ) -> Vec<(EventTrace, Counted)> {
        let look = Look { detection, into };
        match detection.target {
            Target::Access => {
                let of = |(access, seen): &(Arc<Access>, seen::Seen)| {
                    let event =
                        OwnEvent::access(access, self.policy.map(|p| p.judge(access)), Some(*seen));
                    look.at(&event, Some(&Evidence::access(access.clone())))
                };
                self.accesses.iter().map(of).collect()
            }
            Target::Change => {
                let of = |change: &Arc<SecretChange>| {
                    let event = OwnEvent::change(&change.head, change.secret.as_ref());
                    let evidence = Evidence {
                        head: change.head.clone(),
                        secret: change.secret.clone(),
                        access: None,
                    };
                    look.at(&event, Some(&evidence))
                };
                self.changes.iter().map(of).collect()
            }
            Target::Record => {
                let of = |text: &String| {
                    let document = Document::new(text);
                    look.at(&RecordEvent(&document), record_evidence(&document).as_ref())
                };
                self.records.iter().map(of).collect()
            }
        }
    }

    fn window(&self, rules: &RuleSet, window: &Window) -> Explanation {
        let index = rules
            .windows
            .iter()
            .position(|w| std::ptr::eq(w, window))
            .unwrap_or(usize::MAX);
        let mut events = Vec::new();
        let mut groups: BTreeMap<WindowKey, Vec<Fact>> = BTreeMap::new();
        for detection in &rules.detections {
            for (_, slot) in detection.feeds.iter().filter(|(fed, _)| *fed == index) {
                let own = Arc::ptr_eq(&detection.meta, &window.meta);
                for (mut trace, counted) in self.traces(detection, Some((window, *slot))) {
                    if !own {
                        trace.rule.clone_from(&detection.meta.title);
                    }
                    if let Some((key, fact)) = counted {
                        groups.entry(key).or_default().push(fact);
                    }
                    events.push(trace);
                }
            }
        }
        let groups: Vec<GroupTrace> = groups
            .iter()
            .map(|(key, facts)| group(window, key, facts))
            .collect();
        Explanation {
            rule: window.meta.clone(),
            fires: window.alerts && groups.iter().any(|g| g.fired),
            events,
            groups,
        }
    }
}

/// What a match adds to a window.
type Counted = Option<(WindowKey, Fact)>;

/// A rule that looks at events, and the window that it feeds.
struct Look<'l> {
    detection: &'l Detection,
    into: Option<(&'l Window, usize)>,
}

impl Look<'_> {
    fn at(&self, event: &impl Event, evidence: Option<&Evidence>) -> (EventTrace, Counted) {
        let label = evidence.map_or_else(|| "a record without a time".to_owned(), label);
        let trace = trace(self.detection, event, label);
        let into = self.into.filter(|_| trace.matched).zip(evidence);
        let counted = into.and_then(|((window, slot), evidence)| {
            window.fact(slot, event, evidence, || evidence.fact_key())
        });
        (trace, counted)
    }
}

fn record_evidence(document: &Document<'_>) -> Option<Evidence> {
    let record = serde_json::from_str(document.text()).ok()?;
    let none = RawFields::default();
    let head = extract::head(
        &record,
        document,
        &origin("events"),
        &none,
        &mut Interner::default(),
    )?;
    Some(Evidence {
        head: head.into(),
        secret: None,
        access: None,
    })
}

fn label(evidence: &Evidence) -> String {
    let head = &evidence.head;
    let secret = evidence
        .secret
        .as_ref()
        .map(|s| format!(" {}", s.label()))
        .unwrap_or_default();
    format!("{} {}{secret} ({})", head.time, head.api, head.event_id)
}

fn group(window: &Window, key: &WindowKey, facts: &[Fact]) -> GroupTrace {
    let ends = (EventTime(i64::MIN), EventTime(i64::MAX));
    let firings = window::evaluate(window, &key.group, facts, ends);
    let asked = match &window.condition {
        WindowCondition::Events(least) => format!("{least} events"),
        WindowCondition::Values(least) => format!("{least} different values"),
        WindowCondition::Rules(least) => format!("events of {least} rules"),
        WindowCondition::Ordered(least) => format!("events of {least} rules in this order"),
        WindowCondition::Expression(..) => "events of the rules in the condition".to_owned(),
    };
    let usual = facts.iter().filter_map(|f| f.least).max();
    let usual = usual
        .map(|least| format!(", and {least} by the usual rate"))
        .unwrap_or_default();
    let most = match firings.iter().map(|(firing, _)| firing.count).max() {
        Some(count) => format!("{count} in its fullest window"),
        None => format!("{} in all, never enough within one window", facts.len()),
    };
    GroupTrace {
        group: key
            .group
            .iter()
            .map(|(field, value)| format!("{field}={value}"))
            .collect::<Vec<_>>()
            .join(", "),
        fired: !firings.is_empty(),
        count: format!(
            "{most}; asks for {asked} within {} s{usual}",
            window.span_secs
        ),
    }
}

fn trace(detection: &Detection, event: &impl Event, label: String) -> EventTrace {
    let explanation = explain_rule(&detection.compiled, event);
    let mut lines = Vec::new();
    for condition in &explanation.conditions {
        self::condition(condition, 0, &mut lines);
    }
    EventTrace {
        rule: String::new(),
        event: label,
        matched: explanation.matched,
        lines,
    }
}

fn condition(trace: &ConditionTrace, depth: usize, lines: &mut Vec<Line>) {
    let mut push = |text: String| {
        lines.push(Line {
            depth,
            holds: trace.matched(),
            text,
        })
    };
    match trace {
        ConditionTrace::Selection {
            name, detection, ..
        } => {
            push(format!("{SELECTION}{name}"));
            self::detection(detection, depth + 1, lines);
        }
        ConditionTrace::And { children, .. } => {
            push("all of these".to_owned());
            children
                .iter()
                .for_each(|child| condition(child, depth + 1, lines));
        }
        ConditionTrace::Or { children, .. } => {
            push("any of these".to_owned());
            children
                .iter()
                .for_each(|child| condition(child, depth + 1, lines));
        }
        ConditionTrace::Not { child, .. } => {
            push("not this".to_owned());
            condition(child, depth + 1, lines);
        }
        ConditionTrace::Quantified {
            quantifier,
            need,
            got,
            branches,
            ..
        } => {
            push(format!(
                "{quantifier} of {} selections: {got} of the {need} that are needed",
                branches.len()
            ));
            for branch in branches {
                let text = format!("{SELECTION}{}", branch.name);
                lines.push(Line {
                    depth: depth + 1,
                    holds: branch.matched,
                    text,
                });
                detection(&branch.detection, depth + 2, lines);
            }
        }
    }
}

fn detection(trace: &DetectionTrace, depth: usize, lines: &mut Vec<Line>) {
    let mut push = |text: &str| {
        lines.push(Line {
            depth,
            holds: trace.matched(),
            text: text.to_owned(),
        })
    };
    match trace {
        DetectionTrace::AllOf { items, .. } => lines.extend(items.iter().map(|i| item(i, depth))),
        DetectionTrace::AnyOf { branches, .. } => {
            push("any of these");
            branches
                .iter()
                .for_each(|branch| detection(branch, depth + 1, lines));
        }
        DetectionTrace::And { branches, .. } => branches
            .iter()
            .for_each(|branch| detection(branch, depth, lines)),
        DetectionTrace::Keywords { item: keyword, .. } => lines.push(item(keyword, depth)),
        DetectionTrace::ArrayMatch {
            field,
            quantifier,
            member_count,
            matched_count,
            members,
            ..
        } => {
            push(&format!(
                "{quantifier} of the {member_count} members of {field}: {matched_count} match"
            ));
            members
                .iter()
                .for_each(|member| detection(&member.detection, depth + 1, lines));
        }
        DetectionTrace::Conditional {
            condition: inner, ..
        } => condition(inner, depth, lines),
        DetectionTrace::Other { kind, .. } => push(kind),
    }
}

fn item(trace: &ItemTrace, depth: usize) -> Line {
    let field = trace.field.as_deref().unwrap_or("any text");
    let pattern = trace
        .pattern
        .as_deref()
        .map(|pattern| format!(" {pattern}"))
        .unwrap_or_default();
    let asked = format!("{}{pattern}", word(trace.matcher));
    let actual = match (&trace.actual, trace.reason) {
        (_, MatchReason::FieldAbsent) => "; it is absent".to_owned(),
        (_, MatchReason::CaseMismatch) => "; only upper and lower case differ".to_owned(),
        (Some(actual), _) if !trace.matched => format!("; it is {actual}"),
        _ => String::new(),
    };
    Line {
        depth,
        holds: trace.matched,
        text: format!("{field} {asked}{actual}"),
    }
}

fn word(kind: MatcherKind) -> &'static str {
    match kind {
        MatcherKind::Exact => "is",
        MatcherKind::Contains => "contains",
        MatcherKind::StartsWith => "starts with",
        MatcherKind::EndsWith => "ends with",
        MatcherKind::Regex => "matches",
        MatcherKind::OneOf => "is one of",
        MatcherKind::Cidr => "is in",
        MatcherKind::Numeric => "compares to",
        MatcherKind::Exists => "exists",
        MatcherKind::FieldRef => "equals the field",
        MatcherKind::Null => "is absent",
        MatcherKind::Bool => "is",
        MatcherKind::Expand => "is",
        MatcherKind::Timestamp => "has the time",
        MatcherKind::Keyword => "contains the word",
    }
}
