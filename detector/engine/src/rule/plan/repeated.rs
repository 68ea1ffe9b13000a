//! What of a rule is the same for all events with the same values.

use std::collections::BTreeSet;

use rsigma_parser::{ConditionExpr, Detection as Selection, SigmaRule};

use crate::rule::{
    fields::spread::{FieldSpread, spread_of},
    judged::regardless_of,
    needs::DetectionNeeds,
};

/// What of a rule is the same for all events with the same values of some fields.
#[derive(Debug, Clone)]
pub(in crate::rule) struct RepeatedConditions {
    /// The fields.
    pub(super) fields: BTreeSet<String>,
    /// One of these must hold, or the rule does not match; `None` where the rule reads no other
    /// fields, and all of it is the same.
    pub(super) necessary: Option<Vec<ConditionExpr>>,
}

impl RepeatedConditions {
    /// `None` where a rule may match whatever the values are, by what does not repeat.
    pub(in crate::rule) fn of(conditions: &[ConditionExpr], rule: &SigmaRule) -> Option<Self> {
        let left = regardless_of(conditions, rule, &does_not_repeat);
        let left: Vec<ConditionExpr> = left.into_iter().collect::<Option<_>>()?;
        let selections = rule.detection.named.values();
        let fields = selections
            .filter(|selection| !does_not_repeat(selection))
            .flat_map(|selection| DetectionNeeds::of_selection(selection).fields);
        Some(Self {
            fields: fields.collect(),
            necessary: (left != conditions).then_some(left),
        })
    }

    /// The fields with many values, by which rules are grouped: others would multiply the
    /// combinations of the group.
    pub(super) fn many(&self) -> impl Iterator<Item = &str> {
        let fields = self.fields.iter().map(String::as_str);
        fields.filter(|field| spread_of(field) == FieldSpread::Many)
    }
}

/// Whether a selection looks at what hardly repeats, or at fields that its text does not name.
fn does_not_repeat(selection: &Selection) -> bool {
    let is_plain = match selection {
        Selection::AllOf(_) => true,
        Selection::AnyOf(many) | Selection::And(many) => !many.iter().any(does_not_repeat),
        _ => false,
    };
    let needs = DetectionNeeds::of_selection(selection);
    let mut fields = needs.fields.iter();
    !is_plain || needs.keywords || fields.any(|field| spread_of(field) == FieldSpread::Open)
}
