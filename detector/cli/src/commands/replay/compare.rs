//! `replay --compare`: what a change of rules does to the alerts over the same logs, before it ships.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use secretrail_engine::alert::{Alert, AlertId};
use secretrail_engine::neutral;
use secretrail_engine::rule_meta::RuleMeta;

use crate::args::Format;
use crate::args::settings::only_rows;
use crate::host::Failure;
use crate::output::out::Out;
use crate::output::{csv, table};

/// Alerts that are shown one by one, of each kind.
const SHOWN: usize = 20;

/// What happened to the alerts of one rule.
#[derive(Default)]
struct Change<'a> {
    meta: Option<&'a RuleMeta>,
    kept: Vec<&'a Alert>,
    gained: Vec<&'a Alert>,
    lost: Vec<&'a Alert>,
}

/// Writes the comparison in the form of output that is asked for.
///
/// # Errors
///
/// [`Failure::Output`].
pub(super) fn write(
    before: &[Alert],
    after: &[Alert],
    format: Format,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let changes = changes(before, after);
    match format {
        Format::Table => out.raw(&text(&changes)),
        Format::Json | Format::Jsonl => {
            let ids = |alerts: &[&Alert]| {
                alerts
                    .iter()
                    .map(|a| a.id.0.to_string())
                    .collect::<Vec<_>>()
            };
            let value = |(id, change): (&&str, &Change<'_>)| {
                let rule = change.meta.map(
                    |m| serde_json::json!({"id": id, "title": m.title, "level": m.level.as_str()}),
                );
                serde_json::json!({"schema": "secretrail.comparison/1", "rule": rule, "kept": change.kept.len(),
                    "gained": ids(&change.gained), "lost": ids(&change.lost)})
            };
            out.values(&changes.iter().map(value).collect::<Vec<_>>())
        }
        Format::Ocsf | Format::Html | Format::Parquet => Err(only_rows("--compare")),
        Format::Csv => {
            let header = ["rule_id", "title", "level", "kept", "gained", "lost"];
            let rows = csv::rows(header, changes.iter().map(|(id, change)| row(id, change)));
            out.raw(&rows?)
        }
    }
}

fn changes<'a>(before: &'a [Alert], after: &'a [Alert]) -> BTreeMap<&'a str, Change<'a>> {
    let ids = |alerts: &'a [Alert]| alerts.iter().map(|a| &a.id).collect::<BTreeSet<&AlertId>>();
    let (old, new) = (ids(before), ids(after));
    let mut changes: BTreeMap<&str, Change<'_>> = BTreeMap::new();
    for alert in after {
        let change = changes.entry(&alert.rule.id).or_default();
        change.meta = Some(&alert.rule);
        if old.contains(&alert.id) {
            change.kept.push(alert)
        } else {
            change.gained.push(alert)
        }
    }
    for alert in before.iter().filter(|a| !new.contains(&a.id)) {
        let change = changes.entry(&alert.rule.id).or_default();
        change.meta = change.meta.or(Some(&alert.rule));
        change.lost.push(alert);
    }
    changes
}

fn row(id: &str, change: &Change<'_>) -> [String; 6] {
    let (title, level) = change
        .meta
        .map_or(("", ""), |m| (m.title.as_str(), m.level.as_str()));
    let count = |alerts: &[&Alert]| alerts.len().to_string();
    [
        id.to_owned(),
        title.to_owned(),
        level.to_owned(),
        count(&change.kept),
        count(&change.gained),
        count(&change.lost),
    ]
}

fn text(changes: &BTreeMap<&str, Change<'_>>) -> String {
    // What changed comes first.
    let mut sorted: Vec<_> = changes.iter().collect();
    sorted.sort_by_key(|(_, c)| {
        (
            std::cmp::Reverse(c.gained.len() + c.lost.len()),
            c.meta.map(|m| &m.title),
        )
    });
    let rows: Vec<[String; 5]> = sorted
        .into_iter()
        .map(|(id, change)| {
            let [_, title, level, kept, gained, lost] = row(id, change);
            [kept, gained, lost, level, title]
        })
        .collect();
    let mut out = table::columns(["KEPT", "GAINED", "LOST", "LEVEL", "RULE"], &rows);
    let gained = changes
        .values()
        .flat_map(|change| change.gained.iter().copied());
    let lost = changes
        .values()
        .flat_map(|change| change.lost.iter().copied());
    for (mark, all) in [
        ("gained", gained.collect::<Vec<&Alert>>()),
        ("lost", lost.collect()),
    ] {
        for alert in all.iter().take(SHOWN) {
            let (title, summary) = (
                neutral::line(&alert.rule.title),
                neutral::line(&alert.summary),
            );
            write!(
                out,
                "\n{mark}: {title}\n  {summary}\n  alert {}\n",
                alert.id.0
            )
            .ok();
        }
        if let Some(more) = all.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            write!(out, "\n{mark}: {more} more; -f jsonl lists them all\n").ok();
        }
    }
    out
}
