//! The last lines of a run that found nothing to judge: it must not look like a clean log.

use std::{collections::BTreeSet, path::Path};

use secretrail_engine::{
    report::ReadReport,
    sanitize,
    selection::{Selection, SelectionTally},
};

use crate::{
    input::{
        object::{InputObject, InputProblem, ObjectPlace},
        session::SessionResult,
    },
    output::run_summary,
    text::{close, number, plural},
};

/// The last line of a run that read nothing, whatever else is printed.
pub(crate) const NOTHING_READ: &str = "nothing was read; this says nothing about your secrets";

/// Most accounts or regions named in a line.
const NAMED: usize = 10;

/// What a run read, judged by its counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunReading<'r> {
    pub(crate) report: &'r ReadReport,
    pub(crate) selection: &'r Selection,
    pub(crate) selected: &'r SelectionTally,
}

impl<'r> RunReading<'r> {
    pub(crate) fn of(found: &'r SessionResult, selection: &'r Selection) -> Self {
        Self {
            report: &found.report,
            selection,
            selected: &found.selected,
        }
    }

    /// Whether no record of the selection was read.
    pub(crate) fn is_nothing(&self) -> bool {
        self.report.records == 0 || (self.selection.is_limited() && self.selected.taken == 0)
    }

    /// Why no record was read, and the last line; without lines if some were.
    pub(crate) fn lines(&self) -> Vec<String> {
        if !self.is_nothing() {
            // A mistyped region beside a right one would otherwise look like a region without
            // reads.
            return self.unknown_places();
        }
        let why = if self.is_elsewhere() {
            Some(self.empty_selection())
        } else {
            self.without_records()
        };
        let mut lines: Vec<String> = why.into_iter().collect();
        lines.push(NOTHING_READ.to_owned());
        lines
    }

    /// Whether there are records or logs, but all outside of the selection.
    fn is_elsewhere(&self) -> bool {
        let SelectionTally {
            left_out, unopened, ..
        } = self.selected;
        self.selection.is_limited() && left_out + unopened > 0
    }

    /// The selection, and what there is instead.
    fn empty_selection(&self) -> String {
        let Selection {
            from,
            to,
            accounts,
            regions,
            ..
        } = self.selection;
        let mut asked = Vec::new();
        asked.extend(
            accounts
                .iter()
                .map(|account| format!("--account {account}")),
        );
        asked.extend(regions.iter().map(|region| format!("--region {region}")));
        asked.extend(from.map(|from| format!("from {from}")));
        asked.extend(to.map(|to| format!("before {to}")));
        let mut there = Vec::new();
        there.extend(named("account", &self.selected.accounts));
        there.extend(named("region", &self.selected.regions));
        let span = self.selected.span;
        there.extend(span.map(|(first, last)| format!("times from {first} to {last}")));
        let meant = self.meant();
        let line = format!(
            "no records of the selection ({}); the logs have {}{meant}",
            asked.join(", "),
            there.join("; ")
        );
        sanitize::line(&line).into_owned()
    }

    /// Close names of the accounts and regions that were not seen.
    fn meant(&self) -> String {
        let mut names = Vec::new();
        for (_, asked, seen) in self.places() {
            for name in asked.iter().filter(|name| !seen.contains(*name)) {
                names.extend(close(name, seen.iter().map(String::as_str)));
            }
        }
        if names.is_empty() {
            String::new()
        } else {
            format!("; did you mean {}?", names.join(", "))
        }
    }

    fn places(&self) -> [(&'static str, &[String], &BTreeSet<String>); 2] {
        let (selection, selected) = (self.selection, self.selected);
        [
            ("account", &selection.accounts, &selected.accounts),
            ("region", &selection.regions, &selected.regions),
        ]
    }

    /// One line for each account and region without records, where others have some.
    fn unknown_places(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (noun, asked, seen) in self.places() {
            let Some(there) = named(noun, seen) else {
                continue;
            };
            for name in asked.iter().filter(|name| !seen.contains(*name)) {
                let line = format!("--{noun} {name}: no records; the logs have {there}");
                lines.push(sanitize::line(&line).into_owned());
            }
        }
        lines
    }

    /// What was found, although none of it gave a record; `None` if nothing was found.
    fn without_records(&self) -> Option<String> {
        let skipped = self.report.objects_skipped.values().sum::<u64>();
        let found = self.report.objects + self.report.objects_failed + skipped;
        if found == 0 {
            return None;
        }
        let reasons: Vec<String> = run_summary::skipped(self.report)
            .into_iter()
            .map(|(count, reason)| format!("{} {reason}", number(count)))
            .collect();
        let reasons = match reasons.join(", ") {
            reasons if reasons.is_empty() => reasons,
            reasons => format!(" (skipped: {reasons})"),
        };
        let files = plural(found, "file");
        Some(format!(
            "{files} found, without a CloudTrail record{reasons}"
        ))
    }
}

/// The names of a set, as in `accounts 1, 2 and 3 more`; `None` if it is empty.
fn named(noun: &str, names: &BTreeSet<String>) -> Option<String> {
    let first: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {} more", number(more as u64)),
    };
    let ending = if names.len() == 1 { "" } else { "s" };
    (!first.is_empty()).then(|| format!("{noun}{ending} {}{more}", first.join(", ")))
}

/// The hint about files that were named one by one, some of them no logs: most likely by a `*` that
/// the shell replaced. In a folder, other files are skipped.
pub(crate) fn hint_about_named_files(
    objects: &[InputObject],
    problems: &[InputProblem],
) -> Option<String> {
    let explicit = || objects.iter().filter(|object| object.explicit);
    let wrong = explicit().find(|object| {
        let mut problems = problems.iter();
        problems.any(|problem| problem.name == object.name && is_no_log(&problem.message))
    })?;
    let folder = folder(wrong)?;
    let beside = explicit().filter(|object| self::folder(object) == Some(folder));
    let count = beside.count();
    (count > 1).then(|| {
        let name = sanitize::line(&wrong.name);
        let folder = match folder.to_string_lossy() {
            here if here.is_empty() => ".".into(),
            folder => folder,
        };
        format!(
            "{name} was named with {} of one folder, as by a `*` that the shell replaced; \
             name the folder {} and files that are no logs are skipped",
            plural(count as u64 - 1, "other file"),
            sanitize::line(&folder)
        )
    })
}

fn is_no_log(message: &str) -> bool {
    message.starts_with("holds no ") || message.starts_with("is empty ")
}

fn folder(object: &InputObject) -> Option<&Path> {
    match &object.place {
        ObjectPlace::File(path) => path.parent(),
        ObjectPlace::S3(_) | ObjectPlace::Stdin => None,
    }
}

#[cfg(test)]
mod tests {
    use secretrail_engine::{report::SkippedObject, time::EventTime};

    use super::*;

    fn lines(report: &ReadReport, selection: &Selection, selected: &SelectionTally) -> String {
        let reading = RunReading {
            report,
            selection,
            selected,
        };
        assert_eq!(
            reading.is_nothing(),
            reading.lines().last().is_some_and(|l| l == NOTHING_READ)
        );
        reading.lines().join("\n")
    }

    fn some_records() -> ReadReport {
        ReadReport {
            records: 1,
            ..ReadReport::default()
        }
    }

    #[test]
    fn nothing_found_and_nothing_in_what_was_found_end_with_the_same_line() {
        let (all, none) = (Selection::default(), SelectionTally::default());
        assert_eq!(lines(&some_records(), &all, &none), "");
        assert_eq!(lines(&ReadReport::default(), &all, &none), NOTHING_READ);
        let mut report = ReadReport::default();
        report.skip_object(SkippedObject::Digest);
        report.skip_object(SkippedObject::NotALog);
        assert_eq!(
            lines(&report, &all, &none),
            format!(
                "2 files found, without a CloudTrail record (skipped: 1 file: digest, \
                 1 file: not a log file)\n{NOTHING_READ}"
            )
        );
    }

    #[test]
    fn an_empty_selection_says_what_there_is_and_what_is_close() {
        let selection = Selection {
            accounts: vec!["111122223333".to_owned()],
            regions: vec!["eu-wst-1".to_owned()],
            from: Some(EventTime(0)),
            ..Selection::default()
        };
        let mut tally = SelectionTally::default();
        let place = [Some("111122223333"), Some("eu-west-1")];
        tally.record(&selection, false, place, Some(EventTime(60)));
        assert_eq!(
            lines(&some_records(), &selection, &tally),
            format!(
                "no records of the selection (--account 111122223333, --region eu-wst-1, \
                 from 1970-01-01T00:00:00Z); the logs have account 111122223333; region eu-west-1; \
                 times from 1970-01-01T00:01:00Z to 1970-01-01T00:01:00Z; \
                 did you mean eu-west-1?\n{NOTHING_READ}"
            )
        );
    }

    #[test]
    fn one_account_of_several_without_records_is_named() {
        let selection = Selection {
            accounts: vec!["111122223333".to_owned(), "444455556666".to_owned()],
            ..Selection::default()
        };
        let mut tally = SelectionTally::default();
        tally.record(&selection, false, [Some("111122223333"), None], None);
        assert_eq!(
            lines(&some_records(), &selection, &tally),
            "--account 444455556666: no records; the logs have account 111122223333"
        );
    }

    #[test]
    fn files_of_a_pattern_that_the_shell_replaced_are_recognised() {
        let object = |path: &str| {
            let place = ObjectPlace::File(path.into());
            InputObject::at(place, path.to_owned(), path, true)
        };
        let problem = [InputProblem::new(
            "logs/notes.txt",
            "holds no CloudTrail records",
        )];
        let both = [object("logs/a.json"), object("logs/notes.txt")];
        let hint = hint_about_named_files(&both, &problem).unwrap();
        assert!(
            hint.starts_with("logs/notes.txt was named with 1 other file"),
            "{hint}"
        );
        assert!(hint.contains("name the folder logs "), "{hint}");
        assert_eq!(hint_about_named_files(&both[1..], &problem), None);
        assert_eq!(hint_about_named_files(&both, &[]), None);
    }
}
