//! What is said about a memory: what it holds, what was written, and what it cannot tell.

use std::{collections::BTreeMap, fmt::Write};

use secretrail_engine::{
    ids::SharedStr,
    limits::DAY_SECS,
    sanitize,
    seen::{SeenTimes, is_since_key, item_of},
    time::EventTime,
};

use super::memory::{AccountLogs, MergeCounts};
use crate::text::{number, plural};

/// Most accounts that are named.
const NAMED: usize = 10;

/// What is remembered, by the first line of the key of its item, in words for one of it.
const KINDS: [(&str, &str); 8] = [
    ("principal", "principal"),
    ("pair", "secret of a principal"),
    ("source", "network of a principal"),
    ("profile", "profile"),
    ("person", "person"),
    ("region", "region of an account"),
    ("network", "network of an account"),
    ("secret", "changed secret"),
];

/// What is said about a run.
pub(super) struct PrimedText<'t> {
    pub(super) table: &'t str,
    pub(super) is_dry: bool,
    pub(super) now: EventTime,
    pub(super) warm_up_secs: i64,
    /// First and last event of the history.
    pub(super) span: Option<(EventTime, EventTime)>,
    pub(super) accounts: Vec<AccountLogs>,
}

impl PrimedText<'_> {
    /// What the history cannot tell: the time between its end and the beginning of what the
    /// function has seen.
    pub(super) fn warnings(&self) -> Vec<String> {
        let Some((_, last)) = self.span else {
            return Vec::new();
        };
        let accounts = self.accounts.iter();
        let begins = accounts.map(|one| (one, one.before.unwrap_or(self.now)));
        let late: Vec<(&AccountLogs, EventTime)> = begins
            .filter(|(_, begins)| *begins > last.plus(DAY_SECS))
            .collect();
        let named = late.iter().take(NAMED).map(|(one, begins)| {
            let account = sanitize::line(&one.account);
            format!(
                "the history ends at {last}, and of account {account} the function remembers only \
                 what came after {begins}: what was used only in between will look new; read the \
                 logs up to then too"
            )
        });
        let mut lines: Vec<String> = named.collect();
        if late.len() > NAMED {
            let more = plural((late.len() - NAMED) as u64, "more account");
            lines.push(format!("the same is true of {more}"));
        }
        lines
    }

    /// What was done, or would be.
    pub(super) fn lines(&self, memory: &[(SharedStr, SeenTimes)], counts: MergeCounts) -> String {
        let mut text = String::new();
        if let Some((first, last)) = self.span {
            writeln!(text, "history     {first} to {last}").ok();
        }
        for (index, line) in remembered(memory).iter().enumerate() {
            let head = if index == 0 { "remembered" } else { "" };
            writeln!(text, "{head:<12}{line}").ok();
        }
        let MergeCounts {
            new,
            extended,
            same,
            units,
        } = counts;
        let all = plural(counts.all(), "item");
        let parts = [(new, "new"), (extended, "extended"), (same, "unchanged")];
        let parts = parts.map(|(count, what)| format!("{} {what}", number(count)));
        writeln!(text, "table       {all}: {}", parts.join(", ")).ok();
        writeln!(text, "cost        about {}", plural(units, "write unit")).ok();
        self.accounts_in(&mut text);
        let table = sanitize::line(self.table);
        match self.is_dry {
            true => writeln!(text, "nothing was written to {table}: --dry-run").ok(),
            false => writeln!(text, "{table} remembers this history").ok(),
        };
        text
    }

    fn accounts_in(&self, text: &mut String) {
        for one in self.accounts.iter().take(NAMED) {
            let account = sanitize::line(&one.account);
            let since = one.after.unwrap_or(self.now);
            let judged = since.plus(self.warm_up_secs);
            let judged = match judged > self.now {
                true => format!("novelty is judged from {judged} on"),
                false => "novelty is judged".to_owned(),
            };
            let before = match one.before {
                None => "not seen before".to_owned(),
                Some(before) => format!("before: {before}"),
            };
            writeln!(text, "account     {account}: logs since {since} ({before})").ok();
            writeln!(text, "            {judged}").ok();
        }
        if self.accounts.len() > NAMED {
            let more = plural((self.accounts.len() - NAMED) as u64, "more account");
            writeln!(text, "            {more}").ok();
        }
    }
}

/// Numbers of what is remembered, one line for each kind.
fn remembered(memory: &[(SharedStr, SeenTimes)]) -> Vec<String> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let items = memory.chunk_by(|(a, _), (b, _)| item_of(a).0 == item_of(b).0);
    for (key, _) in items.filter_map(<[_]>::first) {
        if !is_since_key(key) {
            let kind = key.lines().next().unwrap_or_default();
            *counts.entry(kind).or_default() += 1;
        }
    }
    let kinds = KINDS.iter().filter_map(|(kind, one)| {
        let count = counts.remove(kind)?;
        Some(match *one {
            "person" if count != 1 => format!("{} people", number(count)),
            one => match one.split_once(' ') {
                // The first word is what is counted.
                Some((noun, rest)) if noun != "changed" => {
                    format!("{} {rest}", plural(count, noun))
                }
                _ => plural(count, one),
            },
        })
    });
    let mut lines: Vec<String> = kinds.collect();
    let others = counts.iter();
    lines.extend(others.map(|(kind, count)| format!("{} {kind}", number(*count))));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(accounts: Vec<AccountLogs>) -> PrimedText<'static> {
        let at = |text: &str| EventTime::parse(text).unwrap();
        PrimedText {
            table: "state",
            is_dry: true,
            now: at("2026-03-20T00:00:00Z"),
            warm_up_secs: 7 * DAY_SECS,
            span: Some((at("2026-03-01T00:00:00Z"), at("2026-03-10T12:00:00Z"))),
            accounts,
        }
    }

    fn account(before: Option<&str>, after: &str) -> AccountLogs {
        AccountLogs {
            account: "111122223333".to_owned(),
            before: before.and_then(EventTime::parse),
            after: EventTime::parse(after),
        }
    }

    #[test]
    fn a_hole_between_the_history_and_the_function_is_named() {
        let warnings = |before| text(vec![account(before, "2026-03-01T00:00:00Z")]).warnings();
        let hole = warnings(Some("2026-03-15T00:00:00Z"));
        assert!(
            hole.len() == 1 && hole[0].contains("only what came after 2026-03-15T00:00:00Z"),
            "{hole:?}"
        );
        assert_eq!(warnings(Some("2026-03-11T00:00:00Z")), [""; 0]);
        // It has seen nothing, and begins now.
        assert!(warnings(None)[0].contains("2026-03-20T00:00:00Z"));
    }

    #[test]
    fn what_is_remembered_is_counted_by_kind() {
        let keys = [
            "secret\nx\tcreated",
            "pair\na\nx",
            "pair\na\ny",
            "person\n111122223333\nana",
            "principal\na",
            "profile\na\tc1",
            "profile\na\tkpublic",
            "since\n111122223333",
        ];
        let memory: Vec<_> = keys
            .iter()
            .map(|key| (SharedStr::from(*key), SeenTimes::default()))
            .collect();
        let expected = [
            "1 principal",
            "2 secrets of a principal",
            "1 profile",
            "1 person",
            "1 changed secret",
        ];
        assert_eq!(remembered(&memory), expected);
        let text = text(vec![account(None, "2026-03-15T00:00:00Z")]);
        let lines = text.lines(&memory, MergeCounts::default());
        assert!(
            lines.contains("novelty is judged from 2026-03-22T00:00:00Z on"),
            "{lines}"
        );
        assert!(
            lines.ends_with("nothing was written to state: --dry-run\n"),
            "{lines}"
        );
        assert!(lines.lines().all(|line| line.len() <= 80), "{lines}");
    }
}
