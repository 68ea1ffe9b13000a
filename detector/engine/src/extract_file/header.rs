//! The first line of a part: what it was made for, and whether it can stand for its logs in a run.

use serde::{Deserialize, Serialize};

use crate::rule::RuleSet;
use crate::rule::needs::NeededCalls;
use crate::selection::Selection;
use crate::time::EventTime;

/// Name and version of this form.
pub const SCHEMA: &str = "secretrail.extract/1";

/// What a part was made for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtractHeader {
    pub(super) schema: String,
    /// Calls of which other records than reads, key uses and changes were kept; `None` for every
    /// record.
    pub calls: Option<Vec<NeededCalls>>,
    /// First event time asked for.
    pub from: Option<i64>,
    /// First event time after those asked for.
    pub to: Option<i64>,
    /// Accounts asked for; empty for all.
    pub accounts: Vec<String>,
    /// Regions asked for; empty for all.
    pub regions: Vec<String>,
    /// Event times of the first record and of the last; `None` without records.
    pub span: Option<(i64, i64)>,
}

impl ExtractHeader {
    /// The header of parts for these rules and this part of the logs. What else is selected is left
    /// to the replay.
    #[must_use]
    pub fn new(rules: &RuleSet, selection: &Selection) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            calls: rules.record_calls().map(sorted),
            from: selection.from.map(|time| time.0),
            to: selection.to.map(|time| time.0),
            accounts: selection.accounts.clone(),
            regions: selection.regions.clone(),
            span: None,
        }
    }

    /// The header without what its records decide: equal for parts of one run.
    #[must_use]
    pub fn purpose(&self) -> Self {
        Self {
            span: None,
            ..self.clone()
        }
    }

    /// The part of the logs that was asked for.
    #[must_use]
    pub fn selection(&self) -> Selection {
        Selection {
            from: self.from.map(EventTime),
            to: self.to.map(EventTime),
            accounts: self.accounts.clone(),
            regions: self.regions.clone(),
            ..Selection::default()
        }
    }

    /// Why the part cannot stand for its logs in a run with these rules and this selection; `None`
    /// when it can.
    #[must_use]
    pub fn lacks(&self, rules: &RuleSet, selection: &Selection) -> Option<ExtractShortfall> {
        // First, because no flag of this run can mend it.
        let mut needs = rules.needing_beyond(self.calls.as_deref());
        if let Some(first) = needs.next() {
            return Some(ExtractShortfall::Records {
                title: first.title.clone(),
                file: first.file.clone(),
                more: needs.count(),
            });
        }
        (!self.covers(selection)).then_some(ExtractShortfall::Selection)
    }

    /// Whether everything that a selection takes was extracted.
    fn covers(&self, selection: &Selection) -> bool {
        // Its filter is not asked: it chooses among records that are all in the part.
        let from = self
            .from
            .is_none_or(|from| selection.from.is_some_and(|asked| asked.0 >= from));
        let to = self
            .to
            .is_none_or(|to| selection.to.is_some_and(|asked| asked.0 <= to));
        from && to
            && includes(&self.accounts, &selection.accounts)
            && includes(&self.regions, &selection.regions)
    }
}

/// Calls in an order of their own. That of the rules depends on the order of their files, and the
/// name of a part is made of its header: the same rules must give the same part.
fn sorted(mut calls: Vec<NeededCalls>) -> Vec<NeededCalls> {
    let names = calls.iter_mut().filter_map(|calls| calls.names.as_mut());
    names.for_each(|names| names.sort());
    calls.sort();
    calls
}

/// Why a part cannot stand for its logs in a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtractShortfall {
    /// Rules ask for records that were left out.
    #[error(
        "the rule \"{title}\" ({file}){} asks for records that were left out when the logs were \
         extracted; extract again with these rules",
        if *more > 0 { format!(" and {more} more") } else { String::new() }
    )]
    Records {
        /// Title of the first such rule.
        title: String,
        /// Its file.
        file: String,
        /// How many other rules do too.
        more: usize,
    },
    /// More of the logs is selected than was extracted.
    #[error(
        "the logs were extracted for less than is asked for now; use the same --from, --to, \
         --account and --region, or extract again"
    )]
    Selection,
}

/// Whether a list holds all of another, where an empty one stands for everything there is.
fn includes(list: &[String], asked: &[String]) -> bool {
    list.is_empty() || (!asked.is_empty() && asked.iter().all(|one| list.contains(one)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortfall(header: &ExtractHeader, selection: &Selection) -> Option<ExtractShortfall> {
        header.lacks(&RuleSet::default(), selection)
    }

    fn selection(from: Option<i64>, to: Option<i64>, accounts: &[&str]) -> Selection {
        Selection {
            from: from.map(EventTime),
            to: to.map(EventTime),
            accounts: accounts.iter().map(ToString::to_string).collect(),
            ..Selection::default()
        }
    }

    #[test]
    fn a_part_stands_for_what_was_extracted_and_for_less() {
        let header = |extracted: &Selection| ExtractHeader::new(&RuleSet::default(), extracted);
        let all = header(&Selection::default());
        let some = header(&selection(Some(10), Some(20), &["1", "2"]));
        for (from, to, accounts, fits) in [
            (Some(10), Some(20), &["1", "2"][..], true),
            (Some(11), Some(19), &["2"], true),
            (Some(9), Some(20), &["1"], false),
            (Some(10), Some(21), &["1"], false),
            (None, Some(20), &["1"], false),
            (Some(10), None, &["1"], false),
            (Some(10), Some(20), &["1", "3"], false),
            (Some(10), Some(20), &[], false),
        ] {
            let asked = selection(from, to, accounts);
            assert_eq!(shortfall(&all, &asked), None, "everything was extracted");
            let expected = (!fits).then_some(ExtractShortfall::Selection);
            assert_eq!(shortfall(&some, &asked), expected, "{asked:?}");
        }
    }

    #[test]
    fn what_was_selected_is_read_back() {
        let extracted = selection(Some(10), None, &["1"]);
        let header = ExtractHeader::new(&RuleSet::default(), &extracted);
        let back = header.selection();
        assert_eq!((back.from, back.to), (extracted.from, None));
        assert_eq!(
            (back.accounts, back.regions),
            (extracted.accounts, Vec::new())
        );
    }

    #[test]
    fn rules_in_another_order_are_the_same_purpose() {
        let calls = |source: &str, names: &[&str]| NeededCalls {
            source: source.to_owned(),
            names: Some(names.iter().map(ToString::to_string).collect()),
        };
        let one = sorted(vec![calls("b", &["y", "x"]), calls("a", &["z"])]);
        assert_eq!(
            one,
            sorted(vec![calls("a", &["z"]), calls("b", &["x", "y"])])
        );
    }
}
