//! `replay`: logs to incidents and alerts, or to a comparison of the alerts of two rule sets.

mod compare;

use std::time::Instant;

use secretrail_engine::{
    alert::Alert,
    exposure::changes::VersionChanges,
    incident::{
        Incident, IncidentPeriods,
        grouping::{GroupedAlerts, IncidentGrouping},
    },
    policy::AccessPolicy,
    report::ReadReport,
    rule::RuleSet,
    selection::Selection,
};

use self::compare::Comparison;
use crate::{
    args::{
        self, OutputFormat,
        rules::NetworkFile,
        settings::{RunSettings, only_rows},
    },
    exit,
    host::{ProcessHost, RunFailure, say},
    input::{
        issues::{KeyUsers, add_origins, grouped},
        rules_and_policy,
        session::{self, EvaluationTask, OpenedInput, SessionResult, find},
        subject::add_exposure,
        usual::add_usual,
    },
    output::{
        ending::RunReading,
        incident_tally::IncidentTally,
        listing,
        out::OpenOutput,
        report,
        run_summary::{RulesInUse, close},
    },
};

/// The error about `--compare` with standard input, which cannot be read twice.
const COMPARE_READS_TWICE: &str = "--compare reads the logs twice, and standard input can be read \
    only once; write it to a file first";

/// Runs the command and returns its exit code.
///
/// # Errors
///
/// [`RunFailure`]: the run ended early.
pub fn run(args: &args::ReplayArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let started = Instant::now();
    let settings = settings(args, host)?;
    let loaded = LoadedRules::of(args, host)?;
    let mut out = OpenOutput::open(&settings)?;
    let mut replaying = Replaying {
        args,
        settings: &settings,
        policy: loaded.policy.as_ref(),
        out: &mut out,
    };
    let mut found = match &loaded.replacing {
        None => replaying.alerts(&loaded.rules, host)?,
        Some(after) => replaying.comparison(&loaded.rules, after, host)?,
    };
    let is_nothing = RunReading::of(&found, &settings.selection).is_nothing();
    out.finish_reading(is_nothing, host)?;
    // The run summary counts only what was printed, at or above `--min-level`.
    let alerts = &mut found.report.alerts;
    alerts.retain(|level, _| *level >= args.min_level);
    let code = close(&settings, &found, started, Some(loaded.in_force()), host);
    Ok(code.max(findings_code(args, &found.report)))
}

/// The exit code by the alerts alone.
fn findings_code(args: &args::ReplayArgs, report: &ReadReport) -> u8 {
    let mut levels = report.alerts.keys();
    match args.fail_on {
        Some(least) if levels.any(|level| *level >= least) => exit::FINDINGS,
        _ => exit::DONE,
    }
}

/// The settings of the run; rejects options that cannot be combined.
fn settings(args: &args::ReplayArgs, host: &ProcessHost) -> Result<RunSettings, RunFailure> {
    let mut settings = RunSettings::new(&args.input, &args.output, host)?;
    settings.judged_by = [args.files.typed(), args.policy.typed()].concat();
    settings.lookback.lookback_secs = args.lookback.unwrap_or(settings.lookback.lookback_secs);
    settings.lookback.warm_up_secs = args.warm_up.unwrap_or(settings.lookback.warm_up_secs);
    if !args.compare.is_empty() {
        if settings.reads_stdin() {
            return Err(RunFailure::Usage(COMPARE_READS_TWICE.to_owned()));
        }
        settings.must_be_rows("--compare")?;
    }
    if settings.format == OutputFormat::Parquet {
        return Err(only_rows("replay"));
    }
    if args.incidents {
        must_show_incidents(settings.format)?;
    }
    Ok(settings)
}

/// Refuses formats that have no incidents.
fn must_show_incidents(format: OutputFormat) -> Result<(), RunFailure> {
    match format {
        OutputFormat::Table | OutputFormat::Json | OutputFormat::Jsonl => Ok(()),
        _ => Err(RunFailure::Usage(format!(
            "--incidents is for -f table, json and jsonl; -f {} has the alerts, with their \
             incident ids",
            format.as_str()
        ))),
    }
}

/// Rules and policy of the run.
struct LoadedRules {
    rules: RuleSet,
    /// The rules of `--compare`; `None` without it.
    replacing: Option<RuleSet>,
    policy: Option<AccessPolicy>,
}

impl LoadedRules {
    fn of(args: &args::ReplayArgs, host: &mut ProcessHost) -> Result<Self, RunFailure> {
        let rules = rules_and_policy::rules_with_warnings(&args.files, host)?;
        let replacing = replacing(args, host)?;
        let policy = rules_and_policy::policy(&args.policy, rules.networks())?;
        Ok(Self {
            rules: rules
                .with_decoys(policy.as_ref())
                .with_issues()
                .with_changes(),
            replacing: replacing.map(|rules| rules.with_decoys(policy.as_ref())),
            policy,
        })
    }

    /// The rules for the run summary.
    fn in_force(&self) -> RulesInUse {
        let rules = self.replacing.as_ref().unwrap_or(&self.rules);
        RulesInUse::of(rules, self.policy.as_ref())
    }
}

/// The rules that the alerts are compared with; `None` without `--compare`.
fn replacing(
    args: &args::ReplayArgs,
    host: &mut ProcessHost,
) -> Result<Option<RuleSet>, RunFailure> {
    if args.compare.is_empty() {
        return Ok(None);
    }
    // Placeholders have the same values in both sets.
    let files = args::RuleFilesArgs {
        rules: args.compare.clone(),
        vars: args.files.vars.clone(),
        skip_invalid: args.files.skip_invalid,
        lists: args.files.lists.clone(),
        geo: args.files.geo.clone(),
    };
    rules_and_policy::rules_with_warnings(&files, host).map(Some)
}

/// Incidents that nothing can join any more.
#[derive(Default)]
struct EndedIncidents {
    incidents: Vec<Incident>,
    tally: IncidentTally,
}

/// A replay in progress.
struct Replaying<'r, 'o> {
    args: &'r args::ReplayArgs,
    settings: &'r RunSettings,
    policy: Option<&'r AccessPolicy>,
    out: &'r mut OpenOutput<'o>,
}

impl Replaying<'_, '_> {
    /// Finds the alerts and writes them.
    fn alerts(
        &mut self,
        rules: &RuleSet,
        host: &mut ProcessHost,
    ) -> Result<SessionResult, RunFailure> {
        // The HTML report needs all results at once.
        if self.settings.format == OutputFormat::Html {
            return self.page(rules, host);
        }
        let task = EvaluationTask::new(self.settings, rules, self.policy);
        let opened = OpenedInput::new(self.settings)?;
        let mut grouping = IncidentGrouping::new(IncidentPeriods::default());
        let mut ended = EndedIncidents::default();
        let mut users = KeyUsers::default();
        let mut changes = VersionChanges::default();
        let mut found = session::run(opened, task, host, &mut |outcome, host| {
            users.add(&outcome.alerts);
            changes.add(&outcome.changes);
            self.grouped(grouping.advance(outcome.alerts), &mut ended)?;
            self.out.pass_on(host)
        })?;
        self.grouped(grouping.finish(), &mut ended)?;
        found.about_incidents = ended.tally.lines();
        if self.lists_incidents() {
            add_origins(&mut ended.incidents, &users, &found.issues)?;
            add_exposure(&mut ended.incidents, &changes);
            self.out.incidents(&mut ended.incidents, host.now)?;
        }
        if self.settings.format == OutputFormat::Table && !self.settings.quiet {
            let hint = ended.tally.hint();
            hint.into_iter().for_each(|hint| say(host, &hint));
        }
        Ok(found)
    }

    /// Writes the alerts whose incidents are known, and keeps the incidents that have ended.
    fn grouped(
        &mut self,
        mut grouped: GroupedAlerts,
        ended: &mut EndedIncidents,
    ) -> Result<(), RunFailure> {
        // Filtered after the grouping: a lower alert may belong to a serious incident.
        grouped.alerts.retain(|alert| self.is_asked_for(alert));
        let alerts = grouped.alerts.iter();
        alerts.for_each(|alert| ended.tally.add_alert(alert));
        if self.lists_alerts() {
            self.out.alerts(&grouped.alerts)?;
        }
        let incidents = grouped.incidents.into_iter();
        for incident in incidents.filter(|incident| incident.level >= self.args.min_level) {
            ended.tally.add_incident(&incident);
            ended.incidents.push(incident);
        }
        Ok(())
    }

    /// Whether alerts are listed: in formats for people only on request.
    fn lists_alerts(&self) -> bool {
        match self.settings.format {
            OutputFormat::Table => self.args.alerts,
            _ => !self.args.incidents,
        }
    }

    fn lists_incidents(&self) -> bool {
        match self.settings.format {
            OutputFormat::Table | OutputFormat::Json | OutputFormat::Jsonl => !self.args.alerts,
            _ => self.args.incidents,
        }
    }

    /// Finds the alerts of both rule sets in the same logs and writes the comparison. The result,
    /// and so the exit code, is that of a run with the new rules.
    fn comparison(
        &mut self,
        rules: &RuleSet,
        replacing: &RuleSet,
        host: &mut ProcessHost,
    ) -> Result<SessionResult, RunFailure> {
        // Filtered before the comparison: an alert that falls below `--min-level` counts as lost.
        let mut before = find(self.settings, rules, self.policy, host)?;
        before.alerts.retain(|alert| self.is_asked_for(alert));
        let mut after = find(self.settings, replacing, self.policy, host)?;
        after.alerts.retain(|alert| self.is_asked_for(alert));
        let comparison = Comparison::of(&before.alerts, &after.alerts);
        listing::write(&comparison, self.settings.format, self.out)?;
        Ok(after)
    }

    /// Finds the incidents and writes the HTML report.
    fn page(
        &mut self,
        rules: &RuleSet,
        host: &mut ProcessHost,
    ) -> Result<SessionResult, RunFailure> {
        let mut found = find(self.settings, rules, self.policy, host)?;
        let alerts = std::mem::take(&mut found.alerts);
        let mut grouped = grouped(alerts, &found.issues)?;
        add_exposure(&mut grouped.incidents, &found.changes);
        // Filtered after the grouping: a lower alert may belong to a serious incident.
        grouped.alerts.retain(|alert| self.is_asked_for(alert));
        let incidents = &mut grouped.incidents;
        incidents.retain(|incident| incident.level >= self.args.min_level);
        incidents.sort_by_cached_key(Incident::order);
        let lookback = self.settings.lookback.lookback_secs;
        add_usual(&mut grouped.incidents, &found.accesses, lookback);
        found.about_incidents = IncidentTally::of(&grouped).lines();
        let GroupedAlerts { alerts, incidents } = grouped;
        let records = report::of_incidents(&incidents, &alerts, &found, self.settings);
        found.alerts = alerts;
        let paths = self.settings.paths.iter();
        let page = report::page(&report::ReportAbout {
            paths: paths
                .map(|path| path.to_string_lossy().into_owned())
                .collect(),
            options: explain_options(self.args, &self.settings.selection),
            rules: rules.len(),
            policy: self.policy,
            lookback: self.settings.lookback,
            now: host.now,
            selection: &self.settings.selection,
            found: &found,
            incidents: &incidents,
            records: &records,
        })?;
        self.out.raw(&page)?;
        Ok(found)
    }

    fn is_asked_for(&self, alert: &Alert) -> bool {
        alert.rule.level >= self.args.min_level
    }
}

/// The options of this run without which `explain` would not find its alerts.
fn explain_options(args: &args::ReplayArgs, selection: &Selection) -> Vec<String> {
    let files = &args.files;
    let rules = files.rules.iter().map(|path| ("--rules", path));
    let vars = files.vars.iter().map(|path| ("--vars", path));
    let policy = args.policy.policy.iter().map(|path| ("--policy", path));
    let geo = files.geo.geoip.iter().map(|path| ("--geoip", path));
    let mut options = Vec::new();
    for (option, path) in rules.chain(vars).chain(policy).chain(geo) {
        options.extend([option.to_owned(), path.to_string_lossy().into_owned()]);
    }
    for NetworkFile { label, path } in &files.lists.networks {
        let networks = format!("{label}={}", path.to_string_lossy());
        options.extend(["--networks".to_owned(), networks]);
    }
    if args.policy.strict {
        options.push("--strict".to_owned());
    }
    options.extend(selection_options(args, selection));
    options
}

/// The options that select times, places, principals and secrets; a `--since` as a time.
fn selection_options(args: &args::ReplayArgs, selection: &Selection) -> Vec<String> {
    let times = [("--from", selection.from), ("--to", selection.to)];
    let times = times
        .into_iter()
        .filter_map(|(option, time)| Some((option, time?.to_string())));
    let input = &args.input;
    let lists = [
        ("--account", &selection.accounts),
        ("--region", &selection.regions),
        ("--principal", &input.principal),
        ("--secret", &input.secret),
    ];
    let values = lists
        .into_iter()
        .flat_map(|(option, values)| values.iter().map(move |value| (option, value.clone())));
    let options = times.chain(values);
    options
        .flat_map(|(option, value)| [option.to_owned(), value])
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::{
        commands::tests::{LOGS, POLICY, RULES, ran, ran_with},
        exit,
    };

    /// A rule of a lower level than any that would fail a run.
    const LOW_RULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../rules/access-denied.yml");

    #[test]
    fn options_that_conflict_are_refused_before_anything_is_read() {
        let twice = ran(&["replay", "-", "--compare", RULES]);
        assert_eq!(twice.code, exit::USAGE);
        assert!(twice.err.starts_with("--compare reads the logs twice"));
        for (args, named) in [
            (
                ["replay", "/nowhere", "-f", "parquet"].as_slice(),
                "replay ",
            ),
            (
                &["replay", "/nowhere", "-f", "html", "--compare", RULES],
                "--compare ",
            ),
        ] {
            let refused = ran(args);
            assert_eq!(refused.code, exit::USAGE);
            assert!(refused.err.starts_with(named), "{}", refused.err);
            assert!(!refused.err.contains("/nowhere"));
        }
    }

    #[test]
    fn alerts_below_the_least_level_are_neither_printed_nor_counted_nor_failed_on() {
        let args = ["replay", LOGS, "--policy", POLICY, "-f", "jsonl"];
        let all = ran(&args);
        assert!(all.err.contains(" low (") && all.out.contains(r#""level":"low""#));
        let critical = ["--min-level", "critical", "--fail-on", "low"];
        let some = ran(&[&args[..], &critical].concat());
        assert!(!some.err.contains(" low") && !some.out.contains(r#""level":"low""#));
        assert_eq!(some.code, exit::FINDINGS);
        let low = ran(&[&args[..], &["--fail-on", "critical", "-r", LOW_RULE]].concat());
        assert_eq!(
            (low.code, low.out.is_empty()),
            (exit::DONE, false),
            "{}",
            low.err
        );
    }

    #[test]
    fn extract_files_give_the_same_alerts_as_their_logs() {
        let folder = tempfile::tempdir().unwrap();
        let parts = folder.path().to_str().unwrap();
        ran(&["extract", LOGS, "-o", parts, "--part-size", "8K", "-q"]);
        for format in ["jsonl", "table"] {
            let of = |path| {
                let printed = ran(&["replay", path, "-f", format, "--policy", POLICY, "-q"]).out;
                // The command that shows more names the path.
                match format {
                    "table" => printed.replace(path, "LOGS"),
                    _ => printed,
                }
            };
            assert!(of(parts) == of(LOGS), "{format}");
        }
    }

    #[test]
    fn rules_compared_with_themselves_keep_everything() {
        let same = ran(&[
            "replay",
            LOGS,
            "-f",
            "csv",
            "-q",
            "--compare",
            RULES,
            "-r",
            RULES,
        ]);
        let rows: Vec<&str> = same.out.lines().skip(1).collect();
        assert!(!rows.is_empty() && rows.iter().all(|row| row.ends_with(",0,0")));
    }

    #[test]
    fn nothing_read_is_an_input_error_even_where_alerts_would_fail_the_run() {
        let none = ran_with(&["replay", "-", "--fail-on", "low"], "no JSON");
        assert_eq!(none.code, exit::INPUT, "{}", none.err);
    }
}
