//! `explain`: one alert with its evidence. The alert comes from a file of alerts, or from the logs,
//! which are then read twice: once for the alerts, once for the raw records.

mod records;
mod text;
mod written;

use std::{sync::Arc, time::Instant};

use secretrail_engine::{alert::Alert, rule::RuleSet, rule_meta::RuleMeta, selection::Selection};

use self::{
    records::records,
    text::{AROUND, explained},
    written::ExplainPaths,
};
use crate::{
    args::{self, settings::RunSettings},
    host::{ProcessHost, RunFailure, say},
    input::{
        rules_and_policy,
        session::{OpenedInput, find},
    },
    output::{
        ending::RunReading,
        out::OpenOutput,
        run_summary::{self, RulesInUse, close, end, input_code},
    },
    text::plural,
};

/// Runs the command and returns its exit code.
///
/// # Errors
///
/// [`RunFailure`]: the run ended early.
pub fn run(args: &args::ExplainArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let started = Instant::now();
    let mut settings = RunSettings::plain(&args.input, &args.destination, host)?;
    rules_and_policy::refuse_as_output(&settings, &args.files, &args.policy)?;
    let rules = rules_and_policy::rules(&args.files, host)?.set;
    let paths = ExplainPaths::sort(&settings.paths, &mut *host.stdin)?;
    settings.paths = paths.logs;
    match paths.alerts {
        Some(alerts) => from_file(&alerts, args, settings, &rules, host),
        None => from_logs(args, &settings, rules, started, host),
    }
}

/// Explains an alert that the rules raise for these logs.
fn from_logs(
    args: &args::ExplainArgs,
    settings: &RunSettings,
    rules: RuleSet,
    started: Instant,
    host: &mut ProcessHost,
) -> Result<u8, RunFailure> {
    let policy = rules_and_policy::policy(&args.policy)?;
    let rules = &rules.with_decoys(policy.as_ref());
    let mut out = OpenOutput::open(settings)?;
    let found = find(settings, rules, policy.as_ref(), host)?;
    let alert = match one(&found.alerts, &args.alert) {
        Ok(alert) => alert,
        Err(failure) => {
            // Input that could not be read may be the cause.
            say(host, &run_summary::problems(&found.problems));
            let reading = RunReading::of(&found, &settings.selection);
            if reading.is_nothing() {
                say(host, &format!("secretrail: {failure}\n"));
                return Ok(end(reading, host));
            }
            return Err(failure);
        }
    };
    // The first reading has already reported what cannot be read.
    let (records, _) = records(alert, &found.objects, settings.threads, &*found.store);
    out.raw(&explained(alert, &settings.paths, &records))?;
    out.finish(host)?;
    let in_use = RulesInUse::of(rules, policy.as_ref());
    Ok(close(settings, &found, started, Some(in_use), host))
}

/// Explains an alert from a file. Logs are only searched for its records; the rules and the policy
/// that raised it are not needed.
fn from_file(
    alerts: &[Alert],
    args: &args::ExplainArgs,
    mut settings: RunSettings,
    rules: &RuleSet,
    host: &mut ProcessHost,
) -> Result<u8, RunFailure> {
    let mut alert = one(alerts, &args.alert)?.clone();
    alert.rule = Arc::new(with_file(&alert.rule, rules));
    // Before the walk: in an `AWSLogs` tree, folders of other days are not opened.
    narrow(&mut settings.selection, &alert);
    let mut out = OpenOutput::open(&settings)?;
    let OpenedInput { store, objects } = OpenedInput::new(&settings)?;
    let (records, mut problems) = records(&alert, &objects.objects, settings.threads, &*store);
    problems.extend(objects.problems);
    problems.sort();
    out.raw(&explained(&alert, &settings.paths, &records))?;
    out.finish(host)?;
    Ok(input_code(&problems, host))
}

/// The rule of an alert from a file, with the path of the rule: the published formats do not have
/// it, so it is looked up in the rules in use.
fn with_file(rule: &RuleMeta, rules: &RuleSet) -> RuleMeta {
    let known = rules.by_id(&rule.id);
    let file = known.map_or_else(
        || "not among the rules in use; name it with -r".to_owned(),
        |meta| meta.file.clone(),
    );
    RuleMeta {
        file,
        ..rule.clone()
    }
}

/// Narrows the selection to the time of an alert, unless the user gave one: its records span
/// minutes, the logs perhaps years.
fn narrow(selection: &mut Selection, alert: &Alert) {
    // The time of an alert of a window rule is the end of the window.
    let first = alert
        .accesses
        .first()
        .map_or(alert.time, |access| access.head.time);
    selection.from.get_or_insert(first.plus(-AROUND));
    selection.to.get_or_insert(alert.time.plus(AROUND));
}

/// The one alert whose id starts with `id`.
fn one<'a>(alerts: &'a [Alert], id: &str) -> Result<&'a Alert, RunFailure> {
    let mut fitting = alerts.iter().filter(|alert| alert.id.0.starts_with(id));
    match (fitting.next(), fitting.count()) {
        (Some(alert), 0) => Ok(alert),
        (Some(_), more) => Err(RunFailure::Usage(format!(
            "{id}: {} alert ids start with this; give more of the id",
            more + 1
        ))),
        (None, _) => Err(RunFailure::Input(format!(
            "{id}: not among the {} found; to explain an alert from logs, use the rules and the \
             policy that raised it",
            plural(alerts.len() as u64, "alert")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use secretrail_engine::time::EventTime;
    use serde_json::json;

    use super::*;
    use crate::{
        commands::tests::{LOGS, access, alert, ran, ran_with, rule},
        exit,
    };

    #[test]
    fn the_first_characters_of_an_id_are_enough_while_they_fit_one_alert() {
        let rule = rule("r", "R");
        let alerts = [alert(&rule, "a"), alert(&rule, "b")];
        let id = alerts[1].id.0.to_string();
        assert_eq!(one(&alerts, &id).unwrap().id, alerts[1].id);
        let several = one(&alerts, "").unwrap_err();
        assert_eq!(
            several.to_string(),
            ": 2 alert ids start with this; give more of the id"
        );
        assert_eq!(several.exit_code(), exit::USAGE);
        // Other rules may not raise the alert: that is not a usage error.
        let none = one(&alerts, "xyz").unwrap_err();
        assert!(none.to_string().starts_with("xyz: not among the 2 alerts"));
        assert_eq!(none.exit_code(), exit::INPUT);
    }

    #[test]
    fn logs_are_searched_around_the_alert_unless_the_user_says_where() {
        let mut alert = alert(&rule("r", "R"), "a");
        alert.time = EventTime(100_000);
        alert.accesses = vec![access(&[("/time", json!(EventTime(90_000).to_string()))])];
        let mut selection = Selection::default();
        narrow(&mut selection, &alert);
        assert_eq!(
            (selection.from, selection.to),
            (Some(EventTime(86_400)), Some(EventTime(103_600)))
        );
        selection.from = Some(EventTime(5));
        narrow(&mut selection, &alert);
        assert_eq!(selection.from, Some(EventTime(5)));
    }

    #[test]
    fn an_alert_is_explained_the_same_from_logs_and_from_its_file() {
        let alerts = ran(&["replay", LOGS, "-f", "jsonl", "-q"]).out;
        let first: serde_json::Value =
            serde_json::from_str(alerts.lines().next().unwrap()).unwrap();
        let id = first["id"].as_str().unwrap();
        let of_logs = ran(&["explain", id, LOGS, "-q"]);
        let of_file = ran_with(&["explain", id, "-", LOGS, "-q"], &alerts);
        assert_eq!((of_logs.code, of_file.code), (exit::DONE, exit::DONE));
        assert!(of_logs.out.contains("\nrecords:\n  "), "{}", of_logs.out);
        assert_eq!(of_logs.out, of_file.out);
    }

    #[test]
    fn what_could_not_be_read_is_reported_if_the_alert_is_not_found() {
        let missing = ran(&["explain", "xyz", LOGS, "/nowhere", "-q"]);
        assert_eq!(missing.code, exit::INPUT);
        assert!(missing.err.starts_with("secretrail: /nowhere: "));
        assert!(missing.err.contains("xyz: not among the "));
    }
}
