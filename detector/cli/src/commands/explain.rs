//! `explain`: one incident, or one alert with its evidence. It comes from a file of alerts, or from
//! the logs, which are then read twice: once for the alerts, once for the raw records.

mod text;
mod written;

use std::{sync::Arc, time::Instant};

use secretrail_engine::{
    alert::Alert, incident::grouping::GroupedAlerts, rule::RuleSet, rule_meta::RuleMeta,
    selection::Selection,
};

use self::{
    text::{AROUND, explained},
    written::{ExplainPaths, WrittenAlerts},
};
use crate::{
    args::{self, settings::RunSettings},
    host::{ProcessHost, RunFailure, say},
    input::{
        issues::grouped,
        records::{RawRecord, records},
        rules_and_policy,
        session::{OpenedInput, SessionResult, find},
        subject::{FoundSubject, add_exposure, incidents_of},
        usual,
    },
    output::{
        out::OpenOutput,
        run_summary::{RulesInUse, close, input_code, not_found},
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
    let rules = rules_and_policy::rules(&args.files, host)?.set;
    let paths = ExplainPaths::sort(&settings.paths, &mut *host.stdin)?;
    settings.paths = paths.logs;
    match paths.written {
        Some(written) => from_file(written, args, settings, &rules, host),
        None => from_logs(args, &settings, rules, started, host),
    }
}

/// Explains what the rules find in these logs.
fn from_logs(
    args: &args::ExplainArgs,
    settings: &RunSettings,
    rules: RuleSet,
    started: Instant,
    host: &mut ProcessHost,
) -> Result<u8, RunFailure> {
    let policy = rules_and_policy::policy(&args.policy, rules.networks())?;
    let rules = rules.with_decoys(policy.as_ref());
    let rules = &rules.with_issues().with_changes();
    let mut out = OpenOutput::open(settings)?;
    let mut found = find(settings, rules, policy.as_ref(), host)?;
    let alerts = std::mem::take(&mut found.alerts);
    let mut grouped = exposed(alerts, &found)?;
    let lookback = settings.lookback.lookback_secs;
    usual::add_usual(&mut grouped.incidents, &found.accesses, lookback);
    let subject = match FoundSubject::find(&grouped.alerts, &grouped.incidents, &args.id) {
        Ok(subject) => subject,
        Err(failure) => return not_found(failure, &found, &settings.selection, host),
    };
    // The first reading has already reported what cannot be read.
    let records = records_of(&subject, &found, settings, args.raw);
    let usual = match (subject.incident, subject.alerts.first()) {
        (None, Some(alert)) => usual::of_alert(alert, &found.accesses, lookback),
        _ => None,
    };
    let usual = usual.as_ref();
    out.raw(&explained(&subject, usual, settings, &records, args.raw))?;
    out.finish(host)?;
    let in_use = RulesInUse::of(rules, policy.as_ref());
    Ok(close(settings, &found, started, Some(in_use), host))
}

/// The records that are shown.
fn records_of(
    subject: &FoundSubject<'_>,
    found: &SessionResult,
    settings: &RunSettings,
    raw: bool,
) -> Vec<RawRecord> {
    if !subject.shows_records(raw) {
        return Vec::new();
    }
    let (ids, threads) = (subject.event_ids(), settings.threads);
    records(&ids, &found.objects, threads, &*found.store).0
}

/// The incidents of alerts, with what became of the versions that they revealed.
fn exposed(alerts: Vec<Alert>, found: &SessionResult) -> Result<GroupedAlerts, RunFailure> {
    let mut grouped = grouped(alerts, &found.issues)?;
    add_exposure(&mut grouped.incidents, &found.changes);
    Ok(grouped)
}

/// Explains what is in a file. Logs are only searched for records; the rules and the policy that
/// raised the alerts are not needed.
fn from_file(
    written: WrittenAlerts,
    args: &args::ExplainArgs,
    mut settings: RunSettings,
    rules: &RuleSet,
    host: &mut ProcessHost,
) -> Result<u8, RunFailure> {
    let WrittenAlerts {
        mut alerts,
        mut exposures,
        totals,
    } = written;
    for alert in &mut alerts {
        alert.rule = Arc::new(with_file(&alert.rule, rules));
    }
    let mut incidents = incidents_of(&alerts);
    for incident in &mut incidents {
        incident.exposure = exposures.remove(&incident.id);
    }
    let subject = FoundSubject::find(&alerts, &incidents, &args.id)?;
    if let Some(incident) = subject.incident {
        let known = incident.alerts_total as u64;
        let all = totals.get(&incident.id).copied().unwrap_or(known);
        if all > known {
            say(host, &missing(all - known, all));
        }
    }
    // Before the walk: in an `AWSLogs` tree, folders of other days are not opened.
    narrow(&mut settings.selection, &subject);
    let mut out = OpenOutput::open(&settings)?;
    let OpenedInput { store, objects } = OpenedInput::new(&settings)?;
    let (records, mut problems) = match subject.shows_records(args.raw) {
        true => records(
            &subject.event_ids(),
            &objects.objects,
            settings.threads,
            &*store,
        ),
        false => (Vec::new(), Vec::new()),
    };
    problems.extend(objects.problems);
    problems.sort();
    out.raw(&explained(&subject, None, &settings, &records, args.raw))?;
    out.finish(host)?;
    Ok(input_code(&problems, host))
}

/// That a file lacks alerts of an incident.
fn missing(lacking: u64, all: u64) -> String {
    let all = plural(all, "alert");
    format!(
        "warning: the file lacks {lacking} of the {all} of this incident, which may be more \
         serious than is shown; name the logs, or write it again without --min-level\n"
    )
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

/// Narrows the selection to the time of an alert or incident, unless the user gave one: its records
/// span minutes, the logs perhaps years.
fn narrow(selection: &mut Selection, subject: &FoundSubject<'_>) {
    let (first, last) = subject.span();
    selection.from.get_or_insert(first.plus(-AROUND));
    selection.to.get_or_insert(last.plus(AROUND));
}

#[cfg(test)]
mod tests {
    use secretrail_engine::time::EventTime;
    use serde_json::json;

    use super::*;
    use crate::{
        commands::tests::{LOGS, POLICY, access, alert, ran, ran_with, rule},
        exit,
    };

    #[test]
    fn the_first_characters_of_an_id_are_enough_while_they_fit_one_alert() {
        let rule = rule("r", "R");
        let alerts = [alert(&rule, "a"), alert(&rule, "b")];
        let id = alerts[1].id.0.to_string();
        let found = FoundSubject::find(&alerts, &[], &id).unwrap();
        assert_eq!(found.alerts[0].id, alerts[1].id);
        let twins = [alerts[1].clone(), alerts[1].clone()];
        let beginning = id.get(..5).unwrap();
        let several = FoundSubject::find(&twins, &[], beginning).unwrap_err();
        let text = several.to_string();
        let start = format!("{beginning}: 2 ids of alerts and incidents start with this");
        assert!(text.starts_with(&start), "{text}");
        assert!(text.contains(&format!("\n  {id} alert: R")), "{text}");
        assert_eq!(several.exit_code(), exit::USAGE);
        let empty = FoundSubject::find(&alerts, &[], "").unwrap_err();
        assert_eq!(empty.exit_code(), exit::USAGE);
        // Other rules may not raise the alert: that is not a usage error.
        let none = FoundSubject::find(&alerts, &[], "xyz").unwrap_err();
        assert!(
            none.to_string()
                .starts_with("xyz: not among the 2 alerts and 0 incidents")
        );
        assert_eq!(none.exit_code(), exit::INPUT);
    }

    #[test]
    fn logs_are_searched_around_the_alert_unless_the_user_says_where() {
        let mut alert = alert(&rule("r", "R"), "a");
        alert.time = EventTime(100_000);
        alert.accesses = vec![access(&[("/time", json!(EventTime(90_000).to_string()))])];
        let subject = FoundSubject {
            incident: None,
            alerts: vec![&alert],
        };
        let mut selection = Selection::default();
        narrow(&mut selection, &subject);
        assert_eq!(
            (selection.from, selection.to),
            (Some(EventTime(86_400)), Some(EventTime(103_600)))
        );
        selection.from = Some(EventTime(5));
        narrow(&mut selection, &subject);
        assert_eq!(selection.from, Some(EventTime(5)));
    }

    /// Every id of a replay over the example logs, and what was written.
    fn replayed() -> (String, Vec<String>) {
        let written = ran(&["replay", LOGS, "--policy", POLICY, "-f", "jsonl", "-q"]).out;
        let ids = written.lines().map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            value["id"].as_str().unwrap().to_owned()
        });
        let ids = ids.collect();
        (written, ids)
    }

    #[test]
    fn alerts_and_incidents_are_explained_the_same_from_logs_and_from_their_file() {
        let (written, ids) = replayed();
        for id in [&ids[0], ids.last().unwrap()] {
            let of_logs = ran(&["explain", id, LOGS, "--policy", POLICY, "-q", "--raw"]);
            let of_file = ran_with(&["explain", id, "-", LOGS, "-q", "--raw"], &written);
            assert_eq!((of_logs.code, of_file.code), (exit::DONE, exit::DONE));
            assert_eq!(without_usual(&of_logs.out), of_file.out);
        }
    }

    /// A text without what only logs show.
    fn without_usual(text: &str) -> String {
        let Some((before, rest)) = text.split_once("\nusual") else {
            return text.to_owned();
        };
        let (_, after) = rest.split_once("\n\n").unwrap();
        format!("{before}\n{after}")
    }

    #[test]
    fn what_is_usual_is_beside_what_is_now_and_fits_the_screen() {
        let (_, ids) = replayed();
        let mut shown = 0;
        for id in ids {
            let text = ran(&["explain", &id, LOGS, "--policy", POLICY, "-q"]).out;
            assert!(text.lines().count() <= 40, "{text}");
            let Some((_, usual)) = text.split_once("\nusual (reads on ") else {
                continue;
            };
            let (basis, rest) = usual.split_once("), and now:\n").unwrap();
            assert!(basis.contains(" since 2"), "{text}");
            let lines = rest.split("\n\n").next().unwrap();
            assert!(lines.contains("; now "), "{text}");
            shown += 1;
        }
        assert!(shown > 0);
    }

    #[test]
    fn what_is_explained_fits_one_screen_and_raw_shows_it_all() {
        let (written, ids) = replayed();
        for id in ids {
            let short = ran_with(&["explain", &id, "-", LOGS, "-q"], &written).out;
            let lines = short.lines().count();
            assert!(lines <= 40, "{lines} lines:\n{short}");
            let raw = ran_with(&["explain", &id, "-", LOGS, "-q", "--raw"], &written).out;
            assert!(raw.contains("\"eventSource\":"), "{raw}");
        }
    }

    #[test]
    fn what_could_not_be_read_is_reported_if_the_alert_is_not_found() {
        let missing = ran(&["explain", "xyz", LOGS, "/nowhere", "-q"]);
        assert_eq!(missing.code, exit::INPUT);
        assert!(missing.err.starts_with("secretrail: /nowhere: "));
        assert!(missing.err.contains("xyz: not among the "));
    }
}
