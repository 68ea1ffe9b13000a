//! `replay --compare`: how a change of rules changes the alerts over the same logs.

use std::{cmp::Reverse, collections::BTreeMap, fmt::Write as _};

use secretrail_engine::{
    alert::{Alert, AlertId},
    rule_meta::RuleMeta,
    sanitize,
};
use serde_json::{Value, json};

use crate::output::{listing::RowListing, table};

/// Most alerts to show one by one, of those gained and of those lost.
const SHOWN: usize = 20;

/// The alerts of one rule: kept, gained and lost.
#[derive(Default)]
struct RuleChange<'a> {
    meta: Option<&'a RuleMeta>,
    kept: Vec<&'a Alert>,
    /// Of those kept, the ones whose level changes: before and after.
    changed: Vec<[&'a Alert; 2]>,
    gained: Vec<&'a Alert>,
    lost: Vec<&'a Alert>,
}

/// The changes of every rule that raised an alert before or after, by rule id.
pub(super) struct Comparison<'a>(BTreeMap<&'a str, RuleChange<'a>>);

impl<'a> Comparison<'a> {
    /// Compares the alerts of the rules in use with those of the rules of `--compare`.
    pub(super) fn of(before: &'a [Alert], after: &'a [Alert]) -> Self {
        let (old, new) = (by_id(before), by_id(after));
        let mut changes: BTreeMap<&str, RuleChange<'_>> = BTreeMap::new();
        for alert in after {
            let change = changes.entry(&alert.rule.id).or_default();
            change.meta = Some(&alert.rule);
            // The id does not depend on title and level: a rule that only changes these keeps its
            // alerts. But who is woken depends on the level.
            match old.get(&alert.id) {
                Some(earlier) => {
                    change.kept.push(alert);
                    if earlier.rule.level != alert.rule.level {
                        change.changed.push([earlier, alert]);
                    }
                }
                None => change.gained.push(alert),
            }
        }
        for alert in before.iter().filter(|alert| !new.contains_key(&alert.id)) {
            let change = changes.entry(&alert.rule.id).or_default();
            // A rule in both sets has its new title.
            change.meta = change.meta.or(Some(&alert.rule));
            change.lost.push(alert);
        }
        Self(changes)
    }

    /// The table of counts, largest changes first.
    fn counts(&self) -> String {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_by_key(|(_, change)| {
            (
                Reverse(change.gained.len() + change.lost.len() + change.changed.len()),
                change.meta.map(|meta| &meta.title),
            )
        });
        let rows: Vec<[String; 6]> = sorted
            .into_iter()
            .map(|(id, change)| {
                let [_, title, level, kept, changed, gained, lost] = row(id, change);
                [kept, changed, gained, lost, level, title]
            })
            .collect();
        let header = ["KEPT", "CHANGED", "GAINED", "LOST", "LEVEL", "RULE"];
        table::columns(header, &rows)
    }
}

impl RowListing<7> for Comparison<'_> {
    const NAME: &'static str = "--compare";
    const HEADER: [&'static str; 7] = [
        "rule_id", "title", "level", "kept", "changed", "gained", "lost",
    ];

    fn table(&self) -> String {
        let mut text = self.counts();
        let changes = self.0.values();
        let changed = changes.clone().flat_map(|change| &change.changed);
        push_shown("changed", changed.map(level_change), &mut text);
        let gained = changes.clone().flat_map(|change| &change.gained);
        push_shown(
            "gained",
            gained.map(|alert| (*alert, String::new())),
            &mut text,
        );
        let lost = changes.flat_map(|change| &change.lost);
        push_shown("lost", lost.map(|alert| (*alert, String::new())), &mut text);
        text
    }

    fn values(&self) -> Vec<Value> {
        self.0
            .iter()
            .map(|(id, change)| value(id, change))
            .collect()
    }

    fn rows(&self) -> Vec<[String; 7]> {
        self.0.iter().map(|(id, change)| row(id, change)).collect()
    }
}

fn by_id(alerts: &[Alert]) -> BTreeMap<&AlertId, &Alert> {
    alerts.iter().map(|alert| (&alert.id, alert)).collect()
}

fn value(id: &str, change: &RuleChange<'_>) -> Value {
    let rule = change
        .meta
        .map(|meta| json!({"id": id, "title": meta.title, "level": meta.level.as_str()}));
    json!({
        "schema": "secretrail.comparison/1",
        "rule": rule,
        "kept": change.kept.len(),
        "changed": change.changed.iter().map(|[before, after]| json!({
            "id": after.id.0.to_string(),
            "before": before.rule.level.as_str(),
            "after": after.rule.level.as_str(),
        })).collect::<Vec<_>>(),
        "gained": id_texts(&change.gained),
        "lost": id_texts(&change.lost),
    })
}

fn id_texts(alerts: &[&Alert]) -> Vec<String> {
    alerts.iter().map(|alert| alert.id.0.to_string()).collect()
}

fn row(id: &str, change: &RuleChange<'_>) -> [String; 7] {
    let (title, level) = change
        .meta
        .map_or(("", ""), |m| (m.title.as_str(), m.level.as_str()));
    [
        id.to_owned(),
        title.to_owned(),
        level.to_owned(),
        change.kept.len().to_string(),
        change.changed.len().to_string(),
        change.gained.len().to_string(),
        change.lost.len().to_string(),
    ]
}

/// An alert whose level changes, and both levels.
fn level_change<'a>([before, after]: &[&'a Alert; 2]) -> (&'a Alert, String) {
    let levels = format!(" ({} → {})", before.rule.level, after.rule.level);
    (after, levels)
}

/// The first of these alerts, each with what is said of it, and the number of the others.
fn push_shown<'a>(
    mark: &str,
    alerts: impl Iterator<Item = (&'a Alert, String)>,
    text: &mut String,
) {
    let mut more = 0;
    for (index, (alert, said)) in alerts.enumerate() {
        if index >= SHOWN {
            more += 1;
            continue;
        }
        let title = sanitize::line(&alert.rule.title);
        let summary = sanitize::line(&alert.summary);
        let id = &alert.id.0;
        write!(text, "\n{mark}: {title}{said}\n  {summary}\n  alert {id}\n").ok();
    }
    if more > 0 {
        write!(text, "\n{mark}: {more} more; -f jsonl lists them all\n").ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::tests::{alert, rule};

    #[test]
    fn an_alert_is_kept_when_both_rules_say_the_same_and_named_as_afterwards() {
        let (old, new) = (rule("r", "Old title"), rule("r", "New title"));
        let before = [alert(&old, "a"), alert(&old, "b")];
        let after = [alert(&new, "b"), alert(&new, "c")];
        let rows = Comparison::of(&before, &after).rows();
        let expected = ["r", "New title", "high", "1", "0", "1", "1"];
        assert_eq!(rows, [expected.map(str::to_owned)]);
    }

    #[test]
    fn an_alert_that_is_kept_at_another_level_is_changed() {
        let (old, mut new) = (rule("r", "T"), (*rule("r", "T")).clone());
        new.level = secretrail_engine::rule_meta::RuleLevel::Informational;
        let (before, after) = ([alert(&old, "a")], [alert(&new.into(), "a")]);
        let comparison = Comparison::of(&before, &after);
        assert!(
            comparison
                .table()
                .contains("changed: T (high → informational)")
        );
        let changed = &comparison.values()[0]["changed"][0];
        assert_eq!(
            (&changed["before"], &changed["after"]),
            (&json!("high"), &json!("informational"))
        );
    }

    #[test]
    fn a_rule_that_goes_takes_its_alerts_with_it() {
        let before = [alert(&rule("r", "Gone"), "a")];
        let comparison = Comparison::of(&before, &[]);
        let value = &comparison.values()[0];
        assert_eq!(value["rule"]["title"], "Gone");
        assert_eq!(value["lost"], json!([before[0].id.0.to_string()]));
        assert_eq!((&value["kept"], &value["gained"]), (&json!(0), &json!([])));
    }

    #[test]
    fn what_changed_most_comes_first_and_a_flood_is_counted() {
        let (quiet, loud) = (rule("a", "Quiet"), rule("b", "Loud"));
        let flood = (0..SHOWN + 3).map(|number| alert(&loud, &number.to_string()));
        let mut after: Vec<Alert> = flood.collect();
        after.push(alert(&quiet, "q"));
        let before = [alert(&quiet, "q")];
        let text = Comparison::of(&before, &after).table();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].ends_with("Loud") && lines[2].ends_with("Quiet"));
        assert_eq!(text.matches("\ngained: Loud\n").count(), SHOWN);
        assert!(text.ends_with("\ngained: 3 more; -f jsonl lists them all\n"));
        assert!(!text.contains("lost:"));
    }
}
