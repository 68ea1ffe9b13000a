//! The text of `explain`: the alert or incident, its records, and where to look next.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use secretrail_engine::{
    actor::ActorKind,
    alert::{Alert, text},
    incident::usual::UsualFacts,
    sanitize,
};
use serde_json::Value;

use crate::{
    args::settings::RunSettings,
    input::{records::RawRecord, subject::FoundSubject},
    output::incidents,
    text::{plural, shell_quoted},
};

/// Seconds before and after an alert in which to search for records and to look next.
pub(super) const AROUND: i64 = 3_600;

/// How much of an alert is shown, at most: entries of each list.
#[derive(Debug, Clone, Copy)]
struct AlertExtent {
    steps: usize,
    accesses: usize,
    secrets: usize,
    benign: usize,
    records: usize,
    hints: usize,
    usual: usize,
}

impl AlertExtent {
    const ALL: Self = Self::of([usize::MAX; 7]);

    /// Tried in turn until the text fits one screen.
    const SHORTER: [Self; 6] = [
        Self::of([4, 5, 5, 3, 5, 2, 4]),
        Self::of([3, 2, 3, 2, 3, 1, 4]),
        Self::of([2, 1, 3, 1, 3, 1, 4]),
        Self::of([2, 1, 0, 0, 2, 1, 4]),
        Self::of([1, 0, 0, 0, 2, 1, 3]),
        Self::of([1, 0, 0, 0, 2, 1, 1]),
    ];

    const fn of([steps, accesses, secrets, benign, records, hints, usual]: [usize; 7]) -> Self {
        Self {
            steps,
            accesses,
            secrets,
            benign,
            records,
            hints,
            usual,
        }
    }
}

/// Most events whose places are named.
const PLACES: usize = 3;

/// Most lines of one screen.
const SCREEN: usize = 40;

/// An alert with its evidence from these logs and what is usual for its principal, or an incident;
/// with `raw`, whole records.
pub(super) fn explained(
    subject: &FoundSubject<'_>,
    usual: Option<&UsualFacts>,
    settings: &RunSettings,
    records: &[RawRecord],
    raw: bool,
) -> String {
    let explanation = Explanation {
        subject,
        usual,
        settings,
        records,
        raw,
    };
    if let Some(incident) = subject.incident {
        let mut text = incidents::whole(incident, settings, raw);
        if raw {
            explanation.push_records(usize::MAX, &mut text);
        }
        explanation.push_next(usize::MAX, &mut text);
        return text;
    }
    let mut text = explanation.alert(AlertExtent::ALL);
    if !raw {
        for shorter in AlertExtent::SHORTER {
            text = explanation.alert(shorter);
            if text.lines().count() <= SCREEN {
                break;
            }
        }
    }
    text
}

/// What is explained, and with what.
struct Explanation<'e, 'a> {
    subject: &'e FoundSubject<'a>,
    /// Of the alert.
    usual: Option<&'e UsualFacts>,
    settings: &'e RunSettings,
    records: &'e [RawRecord],
    raw: bool,
}

impl Explanation<'_, '_> {
    fn alert(&self, shown: AlertExtent) -> String {
        let mut text = String::new();
        for alert in &self.subject.alerts {
            let mut body = text::body(&self.shortened(alert, shown));
            writeln!(body, "rule file  {}", sanitize::line(&alert.rule.file)).ok();
            if let Some(incident) = &alert.incident {
                writeln!(body, "incident   {}", incident.0).ok();
            }
            if !self.raw {
                body = incidents::fitted(&body, self.settings.width);
            }
            text.push_str(&body);
        }
        if let Some(usual) = self.usual {
            incidents::push_usual(usual, shown.usual, self.settings, &mut text);
        }
        self.push_records(shown.records, &mut text);
        self.push_next(shown.hints, &mut text);
        text
    }

    fn shortened(&self, alert: &Alert, shown: AlertExtent) -> Alert {
        let mut short = alert.shortened(shown.accesses, shown.secrets, usize::MAX);
        if self.raw {
            return short;
        }
        // The access names the secret.
        if short.secrets_total == short.accesses.len() {
            short.secrets.clear();
        }
        let rule = Arc::make_mut(&mut short.rule);
        rule.references.clear();
        if let Some((first, _)) = rule.description.split_once(". ") {
            rule.description = format!("{first}.");
        }
        rule.next_steps.truncate(shown.steps);
        rule.false_positives.truncate(shown.benign);
        short
    }

    fn push_records(&self, most: usize, text: &mut String) {
        text.push_str("\nrecords:\n");
        for record in self.records.iter().take(most) {
            if self.raw {
                push_record(record, text);
            } else {
                push_line(record, text);
            }
        }
        let more = self.records.len().saturating_sub(most);
        if more > 0 {
            let more = plural(more as u64, "more record");
            writeln!(text, "  and {more}; --raw shows all, with their JSON").ok();
        }
        if self.settings.paths.is_empty() {
            push_places(self.subject, if self.raw { most } else { PLACES }, text);
        } else if self.records.is_empty() {
            text.push_str("  none found by their event ids\n");
        }
    }

    /// Commands for the next steps, ready to paste into a shell.
    fn push_next(&self, most: usize, text: &mut String) {
        let paths = match self.settings.quoted_paths() {
            none if none.is_empty() => "LOGS".to_owned(),
            paths => paths,
        };
        let (first, last) = self.subject.span();
        let (from, to) = (first.plus(-AROUND), last.plus(AROUND));
        text.push_str("\nlook next:\n");
        for AnalystHint { why, option, value } in hints(self.subject).into_iter().take(most) {
            let value = shell_quoted(value);
            if self.raw {
                writeln!(text, "  # {why}").ok();
            }
            writeln!(
                text,
                "  secretrail accesses {paths} {option} {value} --from {from} --to {to}"
            )
            .ok();
        }
    }
}

/// A record in one line: when, what, by whom, from where, with which result, and where it is.
fn push_line(record: &RawRecord, text: &mut String) {
    let value: Value = serde_json::from_str(&record.json).unwrap_or_default();
    let of = |place: &str| value.pointer(place).and_then(Value::as_str).unwrap_or("-");
    let result = match value.get("errorCode").and_then(Value::as_str) {
        Some(error) => format!(", {error}"),
        None => String::new(),
    };
    let line = format!(
        "{} {} from {}{result}, event {} in {}",
        of("/eventTime"),
        of("/eventName"),
        of("/sourceIPAddress"),
        of("/eventID"),
        record.object
    );
    writeln!(text, "  {}", sanitize::line(&line)).ok();
}

fn push_record(record: &RawRecord, text: &mut String) {
    writeln!(text, "  {}", sanitize::line(&record.object)).ok();
    let pretty = serde_json::from_str::<Value>(&record.json)
        .map_or_else(|_| record.json.clone(), |value| format!("{value:#}"));
    // The same JSON; then line by line, because what is no JSON may hold terminal escapes.
    for line in sanitize::json(&pretty).lines() {
        writeln!(text, "    {}", sanitize::line(line)).ok();
    }
}

/// The objects that hold the records, if no logs are given.
fn push_places(subject: &FoundSubject<'_>, most: usize, text: &mut String) {
    let events = subject.alerts.iter().flat_map(|alert| &alert.events);
    for event in events.take(most) {
        let id = sanitize::line(&event.id);
        let object = sanitize::line(&event.object);
        writeln!(text, "  event {id} in {object}").ok();
    }
    text.push_str("  name the logs beside the alerts to see them\n");
}

/// Suggestions for an alert; of an incident, for its actor.
fn hints<'a>(subject: &FoundSubject<'a>) -> Vec<AnalystHint<'a>> {
    let Some(incident) = subject.incident else {
        let alerts = subject.alerts.iter();
        return alerts.flat_map(|alert| clues(alert)).collect();
    };
    let (why, option) = match incident.actor.kind {
        ActorKind::Principal => (
            "all accesses by this principal around that time",
            "--principal",
        ),
        ActorKind::Address => ("all accesses from this source", "--source"),
        ActorKind::Secret => ("all accesses to this secret", "--secret"),
        ActorKind::Log => return Vec::new(),
    };
    let value = &*incident.actor.name;
    vec![AnalystHint { why, option, value }]
}

/// A suggested command.
#[derive(Debug, PartialEq, Eq)]
struct AnalystHint<'a> {
    /// What it shows.
    why: &'static str,
    /// The option of `accesses` to use.
    option: &'static str,
    /// The value of the option.
    value: &'a str,
}

/// Suggestions for each property of which the alert has exactly one value.
fn clues(alert: &Alert) -> Vec<AnalystHint<'_>> {
    let heads = alert.accesses.iter().map(|access| &access.head);
    let key = only(heads.clone().filter_map(|h| h.access_key_id.as_deref()));
    let source = only(heads.filter_map(|h| h.source.ip.as_deref()));
    // The list is limited: a single entry need not be the only secret.
    let secret =
        only(alert.secrets.iter().map(|secret| &**secret)).filter(|_| alert.secrets_total == 1);
    let all = [
        (
            "all accesses by this principal around that time",
            "--principal",
            alert.principal.as_deref(),
        ),
        ("all accesses with this access key", "--access-key", key),
        ("all accesses from this source", "--source", source),
        ("all accesses to this secret", "--secret", secret),
    ];
    all.into_iter()
        .filter_map(|(why, option, value)| value.map(|value| AnalystHint { why, option, value }))
        .collect()
}

/// The value, if all are equal.
fn only<'a>(values: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let values: BTreeSet<&str> = values.collect();
    values.first().filter(|_| values.len() == 1).copied()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use secretrail_engine::{alert::AlertEvent, time::EventTime};
    use serde_json::json;

    use super::*;
    use crate::{
        args::{CommandArgs, CommandLine},
        commands::tests::{access, alert, rule},
        host::for_tests::in_memory,
    };

    fn of(alert: &Alert, paths: &[&str]) -> String {
        let typed = ["secretrail", "explain", "x", "logs"];
        let CommandArgs::Explain(args) = CommandLine::parse_from(typed).command else {
            unreachable!("explain was typed");
        };
        let host = in_memory("2026-03-02T12:00:00Z");
        let mut settings = RunSettings::plain(&args.input, &args.destination, &host).unwrap();
        settings.paths = paths.iter().map(Into::into).collect();
        let subject = FoundSubject {
            incident: None,
            alerts: vec![alert],
        };
        explained(&subject, None, &settings, &[], false)
    }

    #[test]
    fn what_a_log_holds_cannot_become_a_command() {
        assert_eq!(
            shell_quoted("arn:aws:iam::1:role/a"),
            "arn:aws:iam::1:role/a"
        );
        assert_eq!(shell_quoted("a'; rm -rf ~"), r"'a'\''; rm -rf ~'");
        assert_eq!(shell_quoted("$(id)"), "'$(id)'");
        assert_eq!(shell_quoted(""), "''");
        assert!(!shell_quoted("a\nb").contains('\n'));
    }

    #[test]
    fn only_properties_with_one_value_are_suggested() {
        let mut alert = alert(&rule("r", "R"), "a");
        alert.principal = Some("kim".into());
        alert.secrets = vec!["prod/db".into()];
        alert.secrets_total = 2;
        let key = |key: &str| ("/principal/access_key_id", json!(key));
        alert.accesses = vec![access(&[key("AKIA1")]), access(&[key("AKIA2")])];
        let found = clues(&alert);
        let options: Vec<_> = found.iter().map(|clue| (clue.option, clue.value)).collect();
        assert_eq!(options, [("--principal", "kim"), ("--source", "10.0.0.1")]);
        alert.secrets_total = 1;
        alert.accesses.pop();
        let found = clues(&alert);
        let options: Vec<_> = found.iter().map(|clue| clue.option).collect();
        let all = ["--principal", "--access-key", "--source", "--secret"];
        assert_eq!(options, all);
    }

    #[test]
    fn without_logs_the_places_of_the_records_are_named() {
        let mut alert = alert(&rule("r", "R"), "a");
        alert.accesses = vec![access(&[])];
        alert.events = vec![AlertEvent {
            id: "e1".into(),
            time: EventTime(0),
            object: "x\u{1b}[2J.json".into(),
        }];
        let text = of(&alert, &[]);
        assert!(text.contains("  name the logs beside the alerts to see them\n"));
        assert!(text.contains("  event e1 in x") && !text.contains('\u{1b}'));
        assert!(text.contains("  secretrail accesses LOGS --source 10.0.0.1 --from "));
        let with_logs = of(&alert, &["my logs"]);
        assert!(with_logs.contains("  none found by their event ids\n"));
        assert!(with_logs.contains("  secretrail accesses 'my logs' --source"));
    }

    #[test]
    fn a_record_that_is_no_json_is_shown_as_it_is() {
        let mut text = String::new();
        let record = RawRecord {
            object: "a.json".to_owned(),
            json: "{\"a\":".to_owned(),
        };
        push_record(&record, &mut text);
        assert_eq!(text, "  a.json\n    {\"a\":\n");
    }
}
