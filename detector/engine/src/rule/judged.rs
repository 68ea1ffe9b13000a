//! When a rule is judged: early, finally, or early with what is known of the past so far.

use rsigma_parser::{ConditionExpr, Detection as Selection, SigmaRule};
use serde::Deserialize;

use crate::rule::{
    fields,
    needs::{DetectionNeeds, is_meant},
    target::RuleTarget,
};

/// `secretrail.judge` of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AskedJudgement {
    /// As soon as the record is delivered.
    Early,
    /// When the allowed lateness has passed.
    Final,
}

/// Evaluations in which a rule is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JudgedAt {
    /// Early, and again finally.
    Early,
    /// Early by the sightings so far, and again finally. An alert that the final evaluation does
    /// not confirm is withdrawn.
    Provisional,
    /// Only when the allowed lateness has passed.
    Final,
}

impl JudgedAt {
    /// Where a rule that is asked for so far can be asked when it also needs a field.
    pub(crate) fn needing(self, field: &str) -> Self {
        match self {
            Self::Provisional if fields::is_seen(field) => self,
            _ if fields::is_late(field) => Self::Final,
            _ => self,
        }
    }

    /// Where a rule with these needs is asked.
    pub(crate) fn of(judge: Option<AskedJudgement>, needs: &DetectionNeeds) -> Self {
        let asked = match judge {
            Some(AskedJudgement::Final) => Self::Final,
            Some(AskedJudgement::Early) if needs.fields.iter().any(|f| fields::is_seen(f)) => {
                Self::Provisional
            }
            _ => Self::Early,
        };
        let fields = needs.fields.iter();
        fields.fold(asked, |judged, field| judged.needing(field))
    }
}

/// Which rules to ask about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvalScope {
    /// What kind of event it is.
    pub target: RuleTarget,
    /// Which evaluation this is: the rules of a later one are not asked.
    pub at: JudgedAt,
    /// Whether it counts in windows.
    pub counts: bool,
}

impl EvalScope {
    /// Every rule about events of this kind, when nothing more will be known of them.
    #[must_use]
    pub fn finalized(target: RuleTarget) -> Self {
        Self {
            target,
            at: JudgedAt::Final,
            counts: true,
        }
    }
}

impl EvalScope {
    pub(super) fn asks(self, judged: JudgedAt) -> bool {
        self.at == JudgedAt::Final || self.at == judged
    }

    /// Whether a match counts in a window. A provisional one does only where it is reported at
    /// once: facts are never removed.
    pub(super) fn counts_in(self, is_filled_by_one: bool) -> bool {
        self.counts && (self.at != JudgedAt::Provisional || is_filled_by_one)
    }
}

/// What must hold of an event whatever was seen before it, one for each condition of a rule; `None`
/// where that depends on what was seen.
///
/// Of `read and new` it is `read`, if only `new` looks at `seen.*`. The store is asked about an
/// event only where this holds, so that a rule costs nothing for the events it is not about. It may
/// let an event through that the rule does not match, and never stops one that it may match.
pub(crate) fn regardless_of_seen(
    conditions: &[ConditionExpr],
    rule: &SigmaRule,
) -> Vec<Option<ConditionExpr>> {
    regardless_of(conditions, rule, &asks_for_seen)
}

/// What must hold of an event whatever some selections say, one for each condition of a rule;
/// `None` where that depends on them.
pub(super) fn regardless_of(
    conditions: &[ConditionExpr],
    rule: &SigmaRule,
    depends: &impl Fn(&Selection) -> bool,
) -> Vec<Option<ConditionExpr>> {
    let conditions = conditions.iter();
    conditions
        .map(|condition| certain(condition, rule, depends))
        .collect()
}

fn certain(
    condition: &ConditionExpr,
    rule: &SigmaRule,
    depends: &impl Fn(&Selection) -> bool,
) -> Option<ConditionExpr> {
    let certain = |part: &ConditionExpr| certain(part, rule, depends);
    match condition {
        ConditionExpr::And(parts) => {
            let parts: Vec<_> = parts.iter().filter_map(certain).collect();
            (!parts.is_empty()).then_some(ConditionExpr::And(parts))
        }
        ConditionExpr::Or(parts) => {
            let parts: Option<Vec<_>> = parts.iter().map(certain).collect();
            parts.map(ConditionExpr::Or)
        }
        other => (!any_depends(other, rule, depends)).then(|| other.clone()),
    }
}

/// Whether a selection looks at what was seen.
fn asks_for_seen(selection: &Selection) -> bool {
    let fields = DetectionNeeds::of_selection(selection).fields;
    fields.iter().any(|field| fields::is_seen(field))
}

/// Whether a condition names a selection of a kind, or one that is not in the rule.
fn any_depends(
    condition: &ConditionExpr,
    rule: &SigmaRule,
    depends: &impl Fn(&Selection) -> bool,
) -> bool {
    let of = |name: &str| rule.detection.named.get(name).is_none_or(depends);
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            parts.iter().any(|part| any_depends(part, rule, depends))
        }
        ConditionExpr::Not(part) => any_depends(part, rule, depends),
        ConditionExpr::Identifier(name) => of(name),
        ConditionExpr::Selector { pattern, .. } => {
            let mut names = rule.detection.named.keys();
            names.any(|name| is_meant(pattern, name) && of(name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(condition: &str) -> Option<String> {
        let text = format!(
            "title: T
logsource: {{product: aws, category: secret_access}}
detection:
    success: {{access.outcome: success}}
    public: {{source.scope: public}}
    new_source: {{seen.source: first}}
    new_client: {{seen.client: first, access.outcome: success}}
    condition: {condition}
"
        );
        let rules = rsigma_parser::parse_sigma_yaml(&text).unwrap().rules;
        let left = regardless_of_seen(&rules[0].detection.conditions, &rules[0]);
        left[0].as_ref().map(|condition| format!("{condition}"))
    }

    #[test]
    fn what_was_seen_is_left_out_of_a_condition_where_the_rest_must_hold() {
        for (condition, expected) in [
            ("success and public", Some("success and public")),
            ("success and new_source", Some("success")),
            ("success and not new_source", Some("success")),
            (
                "success and not public and 1 of new_*",
                Some("success and not public"),
            ),
            ("success and (public or new_source)", Some("success")),
            ("success or new_source", None),
            ("new_client", None),
            ("all of them", None),
            ("not (success and new_source)", None),
            ("1 of new_* or public", None),
            ("1 of pub*", Some("1 of pub*")),
        ] {
            let left = left(condition).map(|text| text.replace(['(', ')'], ""));
            assert_eq!(left.as_deref(), expected, "{condition}");
        }
    }

    #[test]
    fn a_field_of_the_past_lets_only_a_rule_that_asks_for_it_be_early() {
        let early = JudgedAt::Early;
        assert_eq!(early.needing("secret.name"), JudgedAt::Early);
        assert_eq!(early.needing("seen.source"), JudgedAt::Final);
        let provisional = JudgedAt::Provisional;
        assert_eq!(provisional.needing("seen.source"), JudgedAt::Provisional);
        assert_eq!(provisional.needing("decrypt.status"), JudgedAt::Final);
    }
}
