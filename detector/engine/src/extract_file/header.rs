//! Header of an extract file: its purpose, and whether it can replace the logs in a run.

use serde::{Deserialize, Serialize};

use crate::{
    rule::{RuleSet, needs::NeededCalls},
    selection::Selection,
    time::EventTime,
};

/// Name and version of the schema.
pub const SCHEMA: &str = "secretrail.extract/1";

/// The purpose of an extract file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtractHeader {
    pub(super) schema: String,
    /// Calls whose records were kept, besides reads, KMS Decrypts and changes; `None` for every
    /// record.
    pub calls: Option<Vec<NeededCalls>>,
    /// First selected event time, in seconds since 1970, UTC; `None` for no limit.
    pub from: Option<i64>,
    /// First event time after the selection, in seconds since 1970, UTC; `None` for no limit.
    pub to: Option<i64>,
    /// Selected accounts; empty for all.
    pub accounts: Vec<String>,
    /// Selected regions; empty for all.
    pub regions: Vec<String>,
    /// Event times of the first and the last record, in seconds since 1970, UTC; `None` without
    /// records.
    pub span: Option<(i64, i64)>,
}

impl ExtractHeader {
    /// The header for these rules and this selection. The replay applies the filter of the
    /// selection.
    #[must_use]
    pub fn new(rules: &RuleSet, selection: &Selection) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            calls: rules.extracted_calls().map(sorted),
            from: selection.from.map(|time| time.0),
            to: selection.to.map(|time| time.0),
            accounts: selection.accounts.clone(),
            regions: selection.regions.clone(),
            span: None,
        }
    }

    /// The header without the fields that depend on the records: equal for all files of one run.
    #[must_use]
    pub fn purpose(&self) -> Self {
        Self {
            span: None,
            ..self.clone()
        }
    }

    /// The selection of the extraction, without its filter.
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

    /// Why the extract file cannot replace its logs in a run with these rules and this selection;
    /// `None` when it can.
    #[must_use]
    pub fn lacks(&self, rules: &RuleSet, selection: &Selection) -> Option<ExtractShortfall> {
        // First, because no flag of this run can fix it.
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

    /// Whether the extraction covers this selection.
    fn covers(&self, selection: &Selection) -> bool {
        // The filter does not matter: it chooses among records that are all in the file.
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

/// Calls in canonical order. The order in the rules depends on the order of their files, and the
/// name of an extract file depends on its header: the same rules must give the same file.
fn sorted(mut calls: Vec<NeededCalls>) -> Vec<NeededCalls> {
    let names = calls.iter_mut().filter_map(|calls| calls.names.as_mut());
    names.for_each(|names| names.sort());
    calls.sort();
    calls
}

/// Why an extract file cannot replace its logs in a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtractShortfall {
    /// Rules need records that were not extracted.
    #[error(
        "records needed by the rule \"{title}\" ({file}){} were omitted when the logs were \
         extracted; extract again with these rules",
        if *more > 0 { format!(" and {more} more") } else { String::new() }
    )]
    Records {
        /// Title of the first such rule.
        title: String,
        /// Its file.
        file: String,
        /// Number of further rules that need such records.
        more: usize,
    },
    /// The run selects more of the logs than was extracted.
    #[error(
        "this run selects more of the logs than was extracted; use the same --since, --from, \
         --to, --account and --region, or extract again"
    )]
    Selection,
}

/// Whether a list contains all of another, where an empty list means all.
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
    fn an_extract_file_replaces_the_logs_for_what_was_extracted_and_for_less() {
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
