//! Everything that rules can look at, and what they make of each piece of it.

use std::sync::Arc;

use rsigma_eval::Event;

use super::{EventTrace, ExplainError, lines::trace};
use crate::{
    access::Access,
    authoring::offline,
    document::LazyDocument,
    evidence::Evidence,
    extract::{self, RawFields},
    fact::{Fact, WindowKey},
    network::NetworkLists,
    object::origin,
    observation::{Interner, Observation, SecretChange},
    pipeline,
    policy::AccessPolicy,
    rule::{
        DetectionRule, RuleSet, RuleTarget, WindowRule,
        event::{DerivedEvent, RecordEvent},
        values::ValueLists,
    },
    scan::{self, ScanResult},
    seen::{LookbackPeriods, NoveltyJudge, SeenVerdicts},
};

/// The events of a text, joined and judged.
pub(super) struct JudgedEvents<'a> {
    accesses: Vec<JudgedAccess>,
    changes: Vec<Arc<SecretChange>>,
    records: Vec<String>,
    policy: Option<&'a AccessPolicy>,
    /// The long lists of the rules.
    lists: &'a ValueLists,
    networks: &'a NetworkLists,
}

/// An access, and what is new about it.
struct JudgedAccess {
    access: Arc<Access>,
    seen: SeenVerdicts,
}

/// What a rule makes of one event, and what that adds to the window that it feeds.
pub(super) struct RuleTrace {
    pub(super) trace: EventTrace,
    pub(super) counted: Option<(WindowKey, Fact)>,
}

impl<'a> JudgedEvents<'a> {
    pub(super) async fn read(
        rules: &'a RuleSet,
        text: &[u8],
        policy: Option<&'a AccessPolicy>,
    ) -> Result<Self, ExplainError> {
        let scan_result = offline::read(rules, text, "events")?;
        if scan_result.report.records == 0 {
            return Err(ExplainError::NoRecords);
        }
        let records = scan::records(text)?;
        let mut since = pipeline::since(&scan_result.observations, &scan_result.coverage);
        let observations = scan_result.observations.iter();
        since.extend(observations.filter_map(|end| pipeline::created(end)));
        let changes = changes(&scan_result);
        // The rules are asked one by one below; here only the accesses are wanted, all of them.
        let outcome = offline::finalize(&RuleSet::default(), policy, scan_result).await?;
        let known = outcome.accesses.iter().map(|access| &**access);
        let judge = NoveltyJudge::of(LookbackPeriods::default(), since, known);
        let judged = outcome.accesses.into_iter().map(|access| JudgedAccess {
            seen: judge.judge(&access),
            access,
        });
        Ok(Self {
            accesses: judged.collect(),
            changes,
            records,
            policy,
            lists: &rules.lists,
            networks: rules.networks(),
        })
    }

    /// What a rule makes of everything that it sees, and what each match adds to a window in one of
    /// its slots.
    pub(super) fn traces(
        &self,
        detection: &DetectionRule,
        into: Option<(&WindowRule, usize)>,
    ) -> Vec<RuleTrace> {
        let look = FeedingRule {
            detection,
            lists: self.lists,
            networks: self.networks,
            into,
        };
        match detection.target {
            RuleTarget::Access => {
                let judged = self.accesses.iter();
                judged.map(|j| look.at_access(j, self.policy)).collect()
            }
            RuleTarget::Change => {
                let changes = self.changes.iter();
                changes.map(|c| look.at_change(c, self.policy)).collect()
            }
            RuleTarget::Record => self.records.iter().map(|r| look.at_record(r)).collect(),
        }
    }
}

fn changes(scan_result: &ScanResult) -> Vec<Arc<SecretChange>> {
    let observations = scan_result.observations.iter().map(|end| &end.observation);
    observations
        .filter_map(|observation| match observation {
            Observation::Change(change) => Some(change.clone()),
            _ => None,
        })
        .collect()
}

/// A rule that looks at events, and the window that it feeds.
struct FeedingRule<'l> {
    detection: &'l DetectionRule,
    lists: &'l ValueLists,
    networks: &'l NetworkLists,
    into: Option<(&'l WindowRule, usize)>,
}

impl FeedingRule<'_> {
    fn at_access(&self, judged: &JudgedAccess, policy: Option<&AccessPolicy>) -> RuleTrace {
        let JudgedAccess { access, seen } = judged;
        let expected = policy.map(|policy| policy.judge(access));
        let event = DerivedEvent::access(access, expected, Some(*seen), self.networks);
        self.at(&event, Some(&Evidence::access(access.clone())))
    }

    fn at_change(&self, change: &SecretChange, policy: Option<&AccessPolicy>) -> RuleTrace {
        let SecretChange {
            head,
            secret,
            others,
            ..
        } = change;
        let event = DerivedEvent::change(head, secret.as_ref(), others, policy, self.networks);
        let evidence = Evidence::event(change.head.clone(), change.secret.clone());
        self.at(&event, Some(&evidence))
    }

    fn at_record(&self, text: &str) -> RuleTrace {
        let document = LazyDocument::new(text);
        self.at(&RecordEvent(&document), evidence_of(&document).as_ref())
    }

    /// Looks at an event with its evidence, which a record without a time has not.
    fn at(&self, event: &impl Event, evidence: Option<&Evidence>) -> RuleTrace {
        let label = evidence.map_or_else(|| "a record without a time".to_owned(), label);
        let trace = trace(self.detection, self.lists, event, label);
        let into = self.into.filter(|_| trace.matched).zip(evidence);
        let counted = into.and_then(|((window, slot), evidence)| {
            window.fact(slot, event, evidence, || evidence.fact_key())
        });
        RuleTrace { trace, counted }
    }
}

/// The evidence of a record as it is; `None` for one without a time.
fn evidence_of(document: &LazyDocument<'_>) -> Option<Evidence> {
    let record = serde_json::from_str(document.text()).ok()?;
    let (origin, none) = (origin("events"), RawFields::default());
    let head = extract::head(&record, document, &origin, &none, &mut Interner::default());
    Some(Evidence::event(head?.into(), None))
}

/// Time, API, secret and event id.
fn label(evidence: &Evidence) -> String {
    let head = &evidence.head;
    let secret = evidence.secret.as_ref();
    let secret = secret.map_or_else(String::new, |secret| format!(" {}", secret.label()));
    format!("{} {}{secret} ({})", head.time, head.api, head.event_id)
}
