//! Which rules to ask about an event, without asking each of them.
//!
//! Accesses repeat: outcome, network class, client and verdicts recur by the thousand. The
//! conditions of rules about accesses are therefore judged once for each distinct combination of
//! the fields that they read, and looked up after that. Fields that hardly repeat, such as ids,
//! session names and messages, stay outside of the combination: of a rule that reads one, what
//! must hold regardless of it is looked up, and the rule is asked only where that holds. Rules
//! about records are found by the call that they need.
//!
//! The Sigma engine stays the reference: it judges every combination, and an event watches that it
//! looks at no other field than those of the combination.

mod cache;
mod calls;
mod combination;
mod repeated;

use std::sync::OnceLock;

pub use self::combination::{CombinationField, RepeatingEvent};
pub(super) use self::repeated::RepeatedConditions;
use self::{
    calls::CallIndex,
    combination::{Candidate, RuleGroup},
};
use crate::rule::{
    DetectionRule, EvalScope, RuleSet, RuleTarget,
    judged::JudgedAt,
    values::{ListedEvent, ValueLists},
};

/// The plan of a set of rules, made when it is first needed.
#[derive(Debug, Default)]
pub(super) struct PlanCell(OnceLock<EvalPlan>);

impl Clone for PlanCell {
    /// A copy of a set may be changed: it makes its own plan.
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[cfg(test)]
impl PlanCell {
    /// Puts another plan in the place of the one for final evaluations.
    fn set_final(&self, finally: AccessPlan) {
        let plan = EvalPlan {
            finally,
            ..EvalPlan::new(&[])
        };
        self.0.set(plan).expect("no plan yet");
    }
}

/// How the rules of a set are evaluated.
#[derive(Debug)]
struct EvalPlan {
    early: AccessPlan,
    provisional: AccessPlan,
    finally: AccessPlan,
    /// Rules about changes: these are few.
    changes: Vec<usize>,
    records: CallIndex,
}

/// How the rules of one evaluation of accesses are found.
#[derive(Debug, Default)]
struct AccessPlan {
    groups: Vec<RuleGroup>,
    /// Rules that are asked about every access.
    others: Vec<usize>,
}

impl EvalPlan {
    fn new(detections: &[DetectionRule]) -> Self {
        let of = |target: RuleTarget| {
            let all = detections.iter().enumerate();
            all.filter(move |(_, detection)| detection.target == target)
        };
        let accesses = |at: JudgedAt| {
            let scope = EvalScope {
                target: RuleTarget::Access,
                at,
                counts: true,
            };
            AccessPlan::new(of(RuleTarget::Access).filter(|(_, rule)| scope.asks(rule.judged)))
        };
        Self {
            early: accesses(JudgedAt::Early),
            provisional: accesses(JudgedAt::Provisional),
            finally: accesses(JudgedAt::Final),
            changes: of(RuleTarget::Change).map(|(index, _)| index).collect(),
            records: CallIndex::new(of(RuleTarget::Record)),
        }
    }

    fn of_accesses(&self, at: JudgedAt) -> &AccessPlan {
        match at {
            JudgedAt::Early => &self.early,
            JudgedAt::Provisional => &self.provisional,
            JudgedAt::Final => &self.finally,
        }
    }
}

impl AccessPlan {
    fn new<'r>(rules: impl Iterator<Item = (usize, &'r DetectionRule)>) -> Self {
        let mut plan = Self::default();
        for (index, rule) in rules {
            match &rule.repeated {
                Some(repeated) => RuleGroup::add(&mut plan.groups, index, repeated),
                None => plan.others.push(index),
            }
        }
        plan
    }

    fn candidates(
        &self,
        (detections, lists): (&[DetectionRule], &ValueLists),
        event: &impl RepeatingEvent,
    ) -> Vec<Candidate> {
        let mut found: Vec<Candidate> = self.others.iter().map(|index| index.asked()).collect();
        for group in &self.groups {
            group.candidates((detections, lists), event, &mut found);
        }
        // Alerts and facts are listed in the order of the rules.
        found.sort_unstable();
        found
    }
}

/// A rule to be asked.
trait Asked {
    fn asked(&self) -> Candidate;
}

impl Asked for usize {
    fn asked(&self) -> Candidate {
        Candidate {
            rule: *self,
            is_certain: false,
        }
    }
}

impl RuleSet {
    /// The rules of the kind that match an event: indices of rules about single events, ascending.
    #[must_use]
    pub fn matching(&self, scope: EvalScope, event: &impl RepeatingEvent) -> Vec<usize> {
        let plan = self.plan.0.get_or_init(|| EvalPlan::new(&self.detections));
        let candidates = match scope.target {
            RuleTarget::Access => {
                let rules = (self.detections.as_slice(), &self.lists);
                plan.of_accesses(scope.at).candidates(rules, event)
            }
            RuleTarget::Change => plan.changes.iter().map(Asked::asked).collect(),
            RuleTarget::Record => plan.records.candidates(event),
        };
        let event = ListedEvent {
            event,
            lists: &self.lists,
        };
        let matching = candidates.into_iter().filter(|candidate| {
            let rule = self.detections.get(candidate.rule);
            rule.is_some_and(|rule| {
                candidate.is_certain || (scope.asks(rule.judged) && rule.matches(&event))
            })
        });
        matching.map(|candidate| candidate.rule).collect()
    }

    /// The same, asking the Sigma engine about every rule: the meaning of [`Self::matching`], and
    /// how tests compare it.
    #[must_use]
    pub fn matching_one_by_one(&self, scope: EvalScope, event: &impl RepeatingEvent) -> Vec<usize> {
        let event = ListedEvent {
            event,
            lists: &self.lists,
        };
        let all = self.detections.iter().enumerate();
        let matching = all.filter(|(_, detection)| {
            let asked = detection.target == scope.target && scope.asks(detection.judged);
            asked && detection.matches(&event)
        });
        matching.map(|(index, _)| index).collect()
    }
}
