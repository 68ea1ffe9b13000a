//! `exposure`: which versions of which secrets were revealed, to whom, and whether they still work.

#[cfg(feature = "s3")]
mod live;

use std::time::Instant;

use secretrail_engine::{
    access::Access,
    alert::Alert,
    exposure::{Exposure, ExposureLedger, scope::ExposureScopes},
    glob::GlobPattern,
    incident::{
        Incident, IncidentPeriods,
        grouping::{GroupedAlerts, IncidentGrouping},
    },
    observation::CallOutcome,
    policy::{
        AccessPolicy,
        review::{GrantText, GrantUse},
    },
    rule::RuleSet,
    selection::Selection,
};

use crate::{
    args::{self, OutputFormat, settings::RunSettings},
    exit,
    host::{ProcessHost, RunFailure},
    input::{
        issues::add_origins_of_reads,
        rules_and_policy,
        session::{self, EvaluationTask, OpenedInput, SessionResult},
        subject::FoundSubject,
    },
    output::{
        ending::RunReading,
        exposures::{self, ExposureListing},
        hygiene::HygieneListing,
        incident_tally::IncidentTally,
        listing::{self, RowListing},
        out::OpenOutput,
        run_summary::{RulesInUse, close, not_found},
    },
};

const DAY_SECS: i64 = 86_400;

/// Runs the command and returns its exit code.
///
/// # Errors
///
/// [`RunFailure`]: the run ended early.
pub fn run(args: &args::ExposureArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let started = Instant::now();
    let mut settings = settings(args, host)?;
    let asked = AskedReads::of(args, &mut settings)?;
    let (rules, policy) = rules(args, host)?;
    let policy = policy.as_ref();
    let mut out = OpenOutput::open(&settings)?;
    let task = EvaluationTask::new(&settings, &rules, policy).asked(&asked.selection);
    let (mut ledger, mut found) = read(&settings, &asked, (task, args), host)?;
    let grouped = grouped(&mut found);
    let is_nothing = RunReading::of(&found, &asked.selection).is_nothing();
    let scopes = match asked.scopes(args, &grouped) {
        Ok(scopes) => scopes,
        Err(failure) => return not_found(failure, &found, &asked.selection, host),
    };
    let mut exposures = ledger.exposures(&scopes);
    complete(&mut exposures, &found, policy)?;
    let live_code = see_live(args, &mut exposures, &settings, host);
    if !is_nothing {
        let result = ExposureResult {
            args,
            settings: &settings,
            policy,
            found: &found,
        };
        result.write(&exposures, &mut ledger, host, &mut out)?;
    }
    out.finish_reading(is_nothing, host)?;
    asked.say_with(&mut settings, &mut found, is_nothing);
    let in_use = Some(RulesInUse::of(&rules, policy));
    let code = close(&settings, &found, started, in_use, host);
    Ok(code.max(live_code).max(findings_code(args, &exposures)))
}

/// Adds who is behind the reads, and which readers the policy expects.
fn complete(
    exposures: &mut [Exposure],
    found: &SessionResult,
    policy: Option<&AccessPolicy>,
) -> Result<(), RunFailure> {
    add_origins_of_reads(exposures, &found.issues)?;
    if let Some(policy) = policy {
        exposures.iter_mut().for_each(|row| row.see_policy(policy));
    }
    Ok(())
}

/// Asks the services what is current now; returns the exit code of that.
#[cfg(feature = "s3")]
fn see_live(
    args: &args::ExposureArgs,
    exposures: &mut [Exposure],
    settings: &RunSettings,
    host: &mut ProcessHost,
) -> u8 {
    match !args.live || live::look(exposures, settings, host) {
        true => exit::DONE,
        false => exit::INPUT,
    }
}

/// This build cannot ask.
#[cfg(not(feature = "s3"))]
fn see_live(
    _: &args::ExposureArgs,
    _: &mut [Exposure],
    _: &RunSettings,
    _: &mut ProcessHost,
) -> u8 {
    exit::DONE
}

/// The rules, which read all changes, and the policy.
fn rules(
    args: &args::ExposureArgs,
    host: &mut ProcessHost,
) -> Result<(RuleSet, Option<AccessPolicy>), RunFailure> {
    let rules = rules_and_policy::rules_with_warnings(&args.files, host)?;
    let policy = rules_and_policy::policy(&args.policy, rules.networks())?;
    let rules = rules.with_decoys(policy.as_ref());
    Ok((rules.with_changes().with_issues(), policy))
}

/// The exit code by the exposures alone.
fn findings_code(args: &args::ExposureArgs, exposures: &[Exposure]) -> u8 {
    match args.fail_on_open && exposures.iter().any(Exposure::is_open) {
        true => exit::FINDINGS,
        false => exit::DONE,
    }
}

/// What the output is made of, beside the exposures.
struct ExposureResult<'r> {
    args: &'r args::ExposureArgs,
    settings: &'r RunSettings,
    policy: Option<&'r AccessPolicy>,
    found: &'r SessionResult,
}

impl ExposureResult<'_> {
    fn write(
        &self,
        exposures: &[Exposure],
        ledger: &mut ExposureLedger,
        host: &ProcessHost,
        out: &mut OpenOutput<'_>,
    ) -> Result<(), RunFailure> {
        let (settings, days) = (self.settings, self.args.days);
        if self.args.all {
            let findings = ledger.hygiene(i64::from(days) * DAY_SECS);
            let grants = grants(self.policy, self.found);
            let list = HygieneListing::new(exposures, &findings, &grants, days, settings);
            return write(&list, || list.page(host.now), settings.format, out);
        }
        let list = ExposureListing::new(exposures, settings);
        let format = settings.format;
        write(
            &list,
            || exposures::page(exposures, settings, host.now),
            format,
            out,
        )
    }
}

fn settings(args: &args::ExposureArgs, host: &ProcessHost) -> Result<RunSettings, RunFailure> {
    let settings = RunSettings::new(&args.input, &args.output, host)?;
    match settings.format {
        OutputFormat::Html => {}
        _ => settings.must_be_rows("exposure")?,
    }
    Ok(settings)
}

/// Which reads are asked for. Versions, readers and incidents come from all logs.
struct AskedReads {
    selection: Selection,
    sessions: Vec<GlobPattern>,
}

impl AskedReads {
    /// Takes the times and the filter out of the selection of the run.
    fn of(args: &args::ExposureArgs, settings: &mut RunSettings) -> Result<Self, RunFailure> {
        let everything = Selection {
            accounts: settings.selection.accounts.clone(),
            regions: settings.selection.regions.clone(),
            ..Selection::default()
        };
        let selection = std::mem::replace(&mut settings.selection, everything);
        let outcomes = &selection.filter.outcomes;
        if !outcomes.is_empty() && !outcomes.contains(&CallOutcome::Success) {
            return Err(RunFailure::Usage(
                "exposure is about reads that succeeded; leave --outcome out".to_owned(),
            ));
        }
        let sessions = args.session.iter();
        Ok(Self {
            selection,
            sessions: sessions.map(|session| GlobPattern::new(session)).collect(),
        })
    }

    fn takes(&self, access: &Access) -> bool {
        let session = access.head.principal.actor.as_deref();
        let mut sessions = self.sessions.iter();
        self.selection.takes(access)
            && (self.sessions.is_empty()
                || session.is_some_and(|session| sessions.any(|glob| glob.matches(session))))
    }

    /// Gives the times that were asked for to what the run says at its end. Records beside them
    /// were read as well, and count as left out only where nothing else is said of them.
    fn say_with(&self, settings: &mut RunSettings, found: &mut SessionResult, is_nothing: bool) {
        let Selection { from, to, .. } = self.selection;
        if is_nothing {
            settings.selection = Selection {
                from,
                to,
                ..std::mem::take(&mut settings.selection)
            };
        } else if from.is_some() || to.is_some() {
            found.selected.left_out = 0;
        }
    }

    /// Whether reads are asked for by who made them, and not by incidents.
    fn names_callers(&self) -> bool {
        let filter = &self.selection.filter;
        !(filter.principals.is_empty()
            && filter.sources.is_empty()
            && filter.access_keys.is_empty()
            && self.sessions.is_empty())
    }

    /// The incidents and alerts whose reads are asked for.
    fn scopes(
        &self,
        args: &args::ExposureArgs,
        grouped: &GroupedAlerts,
    ) -> Result<ExposureScopes, RunFailure> {
        let GroupedAlerts { alerts, incidents } = grouped;
        if let Some(id) = &args.alert {
            let subject = FoundSubject::find(alerts, &[], id)?;
            return Ok(ExposureScopes::new(&[], &subject.alerts, true));
        }
        if let Some(id) = &args.incident {
            let subject = FoundSubject::find_incident(alerts, incidents, id)?;
            let incident: Vec<&Incident> = subject.incident.into_iter().collect();
            return Ok(ExposureScopes::new(&incident, &subject.alerts, true));
        }
        let incidents: Vec<&Incident> = incidents.iter().collect();
        let alerts: Vec<&Alert> = alerts.iter().collect();
        Ok(ExposureScopes::new(
            &incidents,
            &alerts,
            !self.names_callers(),
        ))
    }
}

/// Reads everything: the facts about versions, and the alerts; for the hygiene of grants the
/// accesses, too.
fn read(
    settings: &RunSettings,
    asked: &AskedReads,
    (task, args): (EvaluationTask<'_>, &args::ExposureArgs),
    host: &mut ProcessHost,
) -> Result<(ExposureLedger, SessionResult), RunFailure> {
    let mut ledger = ExposureLedger::default();
    let keeps = args.all && args.policy.policy.is_some();
    let (mut alerts, mut accesses) = (Vec::new(), Vec::new());
    let opened = OpenedInput::new(settings)?;
    let mut found = session::run(opened, task, host, &mut |mut outcome, _| {
        for change in &outcome.changes {
            ledger.add_change(change);
        }
        for access in &outcome.accesses {
            ledger.add_access(access, asked.takes(access));
        }
        alerts.append(&mut outcome.alerts);
        if keeps {
            accesses.append(&mut outcome.accesses);
        }
        Ok(())
    })?;
    found.alerts = alerts;
    found.accesses = accesses;
    Ok((ledger, found))
}

/// Grants of the policy, and how they are used.
fn grants(policy: Option<&AccessPolicy>, found: &SessionResult) -> Vec<(GrantText, GrantUse)> {
    let Some(policy) = policy else {
        return Vec::new();
    };
    let uses = policy.uses(found.accesses.iter().map(|access| &**access));
    policy.grant_texts().zip(uses).collect()
}

fn grouped(found: &mut SessionResult) -> GroupedAlerts {
    let alerts = std::mem::take(&mut found.alerts);
    let grouped = IncidentGrouping::all(IncidentPeriods::default(), alerts);
    found.about_incidents = IncidentTally::of(&grouped).lines();
    grouped
}

/// Writes a list in the chosen format, or as a page.
fn write<const CELLS: usize, L: RowListing<CELLS>>(
    list: &L,
    page: impl FnOnce() -> String,
    format: OutputFormat,
    out: &mut OpenOutput<'_>,
) -> Result<(), RunFailure> {
    match format {
        OutputFormat::Html => out.raw(&page()),
        format => listing::write(list, format, out),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use secretrail_engine::exposure::LIMIT;
    use serde_json::{Value, json};

    use crate::{
        commands::tests::{LOGS, POLICY, Ran, ran, ran_with},
        exit,
    };

    /// Logs of the same day: rotations after the second story, and a read of an old version.
    const AFTERNOON: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/examples/afternoon"
    );

    const THIEF: &str = "*user/jo.backup";

    fn exposure(more: &[&str]) -> Ran {
        let run = ran(&[&["exposure", LOGS, "--policy", POLICY, "-q"], more].concat());
        assert_eq!(run.code, exit::DONE, "{}", run.err);
        run
    }

    fn rows(more: &[&str]) -> Vec<Value> {
        let out = exposure(&[&["-f", "jsonl"], more].concat()).out;
        out.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn names(rows: &[Value]) -> BTreeSet<&str> {
        rows.iter()
            .map(|row| row["secret"]["name"].as_str().unwrap())
            .collect()
    }

    #[test]
    fn the_secrets_of_all_incidents_are_listed_and_open() {
        let rows = rows(&[]);
        assert_eq!(rows.len(), 26, "24 of a user, a replica and a parameter");
        for row in &rows {
            assert_eq!(row["schema"], "secretrail.exposure/1");
            assert_eq!(
                (&row["status"], &row["open"]),
                (&json!("current"), &json!(true))
            );
            assert_eq!(row["superseded"], Value::Null);
            assert_eq!(row["limit"], LIMIT);
            assert!(!row["incidents"].as_array().unwrap().is_empty());
            assert!(!row["actions"].as_array().unwrap().is_empty());
        }
        let replica = rows
            .iter()
            .find(|row| row["first"] == "2026-03-02T10:44:51Z")
            .unwrap();
        assert_eq!(
            replica["replicas"],
            json!([{"account": "111122223333", "region": "eu-west-1"}])
        );
        let certain = rows.iter().filter(|row| row["certainty"] == "paired");
        assert_eq!(certain.count(), 25);
    }

    #[test]
    fn a_rotation_closes_what_it_replaced_and_one_that_failed_closes_nothing() {
        let rows = rows(&[AFTERNOON]);
        let closed: Vec<&Value> = rows.iter().filter(|row| row["open"] == false).collect();
        let expected = [
            "prod/orders/api-key",
            "prod/orders/db",
            "prod/payments/db",
            "prod/payments/signing-key",
            "prod/payments/stripe-key",
        ];
        let found: Vec<&str> = closed
            .iter()
            .map(|r| r["secret"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(BTreeSet::from_iter(found), BTreeSet::from(expected));
        for row in &closed {
            assert_eq!(row["status"], "previous");
            let by = row["superseded"]["by"].as_str().unwrap();
            assert!(by.ends_with("role/ci-terraform"), "{by}");
        }
        // The key was still alive: it came back for the old version.
        let key = closed
            .iter()
            .find(|r| r["secret"]["name"] == "prod/payments/stripe-key");
        assert_eq!(key.unwrap()["last"], "2026-03-02T14:41:40Z");
        let failed = rows
            .iter()
            .find(|r| r["secret"]["name"] == "prod/orders/smtp")
            .unwrap();
        let rotate = failed["actions"].to_string();
        assert!(
            rotate.contains("A rotation failed at 2026-03-02T13:05:09Z"),
            "{rotate}"
        );
    }

    /// An ARN for any region.
    fn without_region(arn: &Value) -> String {
        let mut parts: Vec<&str> = arn.as_str().unwrap_or_default().split(':').collect();
        if let Some(region) = parts.get_mut(3) {
            *region = "";
        }
        parts.join(":")
    }

    #[test]
    fn incidents_carry_what_became_of_the_versions_that_they_revealed() {
        let replay = ["replay", LOGS, AFTERNOON, "--policy", POLICY];
        let run = ran(&[&replay[..], &["-f", "jsonl", "--incidents", "-q"]].concat());
        let (mut open, mut closed) = (0, 0);
        for line in run.out.lines() {
            let incident: Value = serde_json::from_str(line).unwrap();
            let versions = incident["exposure"].as_array().unwrap();
            assert_eq!(incident["exposure_total"], versions.len(), "{incident:#}");
            let id = incident["id"].as_str().unwrap();
            let all = rows(&[AFTERNOON, "--incident", id]);
            let is_open = |one: &&Value| one["open"] == true;
            let still = versions.iter().filter(is_open).count();
            assert_eq!(incident["exposure_open"], still);
            let status = match (versions.is_empty(), still) {
                (true, _) => Value::Null,
                (false, 0) => json!("closed"),
                (false, _) => json!("open"),
            };
            assert_eq!(incident["exposure_status"], status, "{incident:#}");
            // What the command says of these versions, which looks at more.
            for version in versions {
                // Reads of replicas are in the row of one of them.
                let same = all.iter().find(|row| {
                    without_region(&row["secret"]["arn"]) == without_region(&version["secret"])
                        && row["version_id"] == version["version_id"]
                });
                let same = same.unwrap_or_else(|| panic!("{version:#} of {id}: {all:#?}"));
                assert_eq!(
                    (&same["open"], &same["status"]),
                    (&version["open"], &version["status"])
                );
            }
            open += still;
            closed += versions.len() - still;
        }
        assert!(open > 10 && closed >= 5, "{open} open, {closed} closed");
        let table = ran(&replay).out;
        let text = table.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            text.contains("exposed: ") && text.contains("not superseded yet: "),
            "{table}"
        );
    }

    #[test]
    fn open_versions_can_fail_the_run() {
        let code = |secret: &str| {
            let args = [
                "exposure",
                LOGS,
                AFTERNOON,
                "--policy",
                POLICY,
                "-q",
                "--fail-on-open",
            ];
            ran(&[&args[..], &["--secret", secret]].concat()).code
        };
        assert_eq!(code("prod/orders/smtp"), exit::FINDINGS);
        assert_eq!(code("prod/orders/db"), exit::DONE);
    }

    #[test]
    fn callers_are_selected_by_name_key_session_and_source() {
        let all = rows(&["--principal", THIEF]);
        assert_eq!(all.len(), 24);
        for more in [
            ["--access-key", "AKIAEXAMPLEJO.BAC"],
            ["--session", "arn:aws:iam::111122223333:user/jo.backup"],
            ["--source", "198.51.100.0/27"],
        ] {
            assert_eq!(rows(&more), all, "{more:?}");
        }
        // Whoever else reads them is known from all logs.
        assert!(
            all.iter()
                .all(|row| row["readers"].to_string().contains("role/ci-terraform"))
        );
        let times = rows(&["--principal", THIEF, "--to", "2026-03-02T11:05:10Z"]);
        assert_eq!(times.len(), 2);
        // Also what no rule speaks of.
        let own = rows(&["--principal", "*role/payments-app"]);
        assert_eq!(names(&own), BTreeSet::from(["prod/payments/db"]));
        assert_eq!(own[0]["incidents"], json!([]));
    }

    #[test]
    fn a_selection_without_records_is_no_result() {
        let folder = tempfile::tempdir().unwrap();
        let parts = folder.path().to_str().unwrap();
        assert_eq!(ran(&["extract", LOGS, "-o", parts, "-q"]).code, exit::DONE);
        for logs in [LOGS, parts] {
            for more in [
                ["--from", "2027-01-01"],
                ["--to", "2026-02-01"],
                ["--account", "999999999999"],
                ["--region", "af-south-1"],
            ] {
                let run = ran(&[&["exposure", logs, "-f", "csv"][..], &more].concat());
                assert_eq!((run.code, &*run.out), (exit::INPUT, ""), "{more:?}");
                for said in [
                    "no records of the selection (",
                    "; the logs have account",
                    "nothing was read; this says nothing about your secrets\n",
                ] {
                    assert!(run.err.contains(said), "{logs} {more:?}: {}", run.err);
                }
            }
            let some = ran(&["exposure", logs, "--from", "2026-03-02T11:00:00Z"]);
            assert_eq!(some.code, exit::DONE);
            assert!(!some.err.contains("left out"), "{}", some.err);
        }
        // Between the records of one file.
        let between = [
            "--from",
            "2026-03-02T09:58:40Z",
            "--to",
            "2026-03-02T10:00:00Z",
        ];
        let run = ran(&[&["exposure", LOGS][..], &between].concat());
        assert_eq!(run.code, exit::INPUT, "{}", run.err);
    }

    #[test]
    fn an_incident_or_an_alert_is_selected_by_the_beginning_of_its_id() {
        let all = rows(&[]);
        let thief = all
            .iter()
            .find(|row| row["principals"].to_string().contains("jo.backup"));
        let incident = thief.unwrap()["incidents"][0].as_str().unwrap();
        let of_incident = rows(&["--incident", incident.get(..10).unwrap()]);
        assert_eq!(of_incident.len(), 24);
        let alerts = ran(&[
            "replay", LOGS, "--policy", POLICY, "-q", "-f", "jsonl", "--alerts",
        ])
        .out;
        let direct = alerts.lines().find(|line| line.contains("irect")).unwrap();
        let alert: Value = serde_json::from_str(direct).unwrap();
        let of_alert = rows(&["--alert", alert["id"].as_str().unwrap()]);
        assert_eq!(names(&of_alert), BTreeSet::from(["/prod/orders/token"]));
        assert_eq!(of_alert[0]["certainty"], "unknown");
        let none = ran(&["exposure", LOGS, "--incident", "fffffff", "-q"]);
        assert_eq!(none.code, exit::INPUT);
        assert!(none.err.contains("fffffff: not among the"), "{}", none.err);
    }

    #[test]
    fn the_role_of_people_covers_everybody_on_it() {
        let role = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/\
                    AWSReservedSSO_Ops_0123456789abcdef";
        let log = |person: &str| {
            json!({"eventID": person, "eventSource": "secretsmanager.amazonaws.com",
                "eventName": "GetSecretValue", "eventTime": "2026-03-02T10:00:00Z",
                "awsRegion": "eu-west-1", "recipientAccountId": "111122223333",
                "sourceIPAddress": "198.51.100.7", "requestParameters": {"secretId": person},
                "userIdentity": {"type": "AssumedRole", "accountId": "111122223333",
                    "arn": format!("arn:aws:sts::111122223333:assumed-role/\
                        AWSReservedSSO_Ops_0123456789abcdef/{person}"),
                    "sessionContext": {"sessionIssuer": {"type": "Role", "arn": role,
                        "userName": "AWSReservedSSO_Ops_0123456789abcdef"}}}})
        };
        let logs = json!({"Records": [log("ann@example.com"), log("bob@example.com")]}).to_string();
        let of = |principal: &str| {
            let args = [
                "exposure",
                "-",
                "-f",
                "jsonl",
                "-q",
                "--principal",
                principal,
            ];
            let run = ran_with(&args, &logs);
            assert_eq!(run.err, "", "{principal}");
            run.out.lines().count()
        };
        assert_eq!(of(role), 2);
        assert_eq!(of(&format!("{role}/ann@example.com")), 1);
    }

    #[test]
    fn order_and_split_do_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let parts = folder.path().to_str().unwrap();
        let made = ran(&[
            "extract",
            LOGS,
            AFTERNOON,
            "-o",
            parts,
            "--part-size",
            "8K",
            "-q",
        ]);
        assert_eq!(made.code, exit::DONE, "{}", made.err);
        let of = |paths: &[&str], more: &[&str]| {
            let args = [
                &["exposure"],
                paths,
                &["--policy", POLICY, "-q", "-f", "jsonl"],
                more,
            ];
            ran(&args.concat()).out
        };
        let logs = of(&[LOGS, AFTERNOON], &[]);
        assert_eq!(logs.lines().count(), 26);
        assert!(logs == of(&[AFTERNOON, LOGS], &[]));
        assert!(logs == of(&[parts], &[]));
        assert!(
            logs == of(&[LOGS, AFTERNOON], &["--held-bytes", "20K"]),
            "temporary files"
        );
    }

    #[test]
    fn every_form_says_what_no_log_can_show() {
        for format in ["table", "json", "jsonl", "csv", "html"] {
            let out = exposure(&["-f", format]).out;
            let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains(LIMIT), "{format}: {out}");
            assert!(
                out.contains("aws iam update-access-key --user-name jo.backup"),
                "{format}"
            );
            assert!(
                out.contains("aws secretsmanager rotate-secret --secret-id"),
                "{format}"
            );
        }
        let array: Value = serde_json::from_str(&exposure(&["-f", "json"]).out).unwrap();
        assert_eq!(array.as_array().map(Vec::len), Some(26));
        let csv = exposure(&["-f", "csv"]).out;
        assert_eq!(csv.lines().count(), 27);
        let table = exposure(&[]).out;
        assert!(
            table.contains("26 versions of 26 secrets: 26 open, 0 superseded"),
            "{table}"
        );
        let refused = ran(&["exposure", LOGS, "-f", "ocsf"]);
        assert_eq!((refused.code, refused.out.as_str()), (exit::USAGE, ""));
        let denied = ran(&["exposure", LOGS, "--outcome", "denied"]);
        assert_eq!(denied.code, exit::USAGE);
    }

    #[test]
    fn hygiene_is_one_page_of_findings() {
        let of = |format: &str| exposure(&[AFTERNOON, "--all", "-f", format]).out;
        let rows: Vec<Value> = of("jsonl")
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        let count = |finding: &str| rows.iter().filter(|row| row["finding"] == finding).count();
        assert_eq!(count("open_exposure"), 21);
        assert_eq!(count("unread"), 0, "a day of logs says nothing about 90");
        assert_eq!(count("unused_grant"), 0);
        let retired: Vec<&Value> = rows
            .iter()
            .filter(|r| r["finding"] == "retired_read")
            .collect();
        assert_eq!(retired.len(), 1, "a fallback within an hour is ordinary");
        assert_eq!(retired[0]["last"], "2026-03-02T14:41:40Z");
        for format in ["table", "html"] {
            assert!(of(format).contains("Revealed by an incident, and not rotated since"));
        }
        assert!(of("csv").starts_with("finding,secret,version_id,"));
    }

    #[test]
    fn text_of_a_log_stays_text() {
        let hostile = "<img src=x onerror=alert(1)>\u{1b}[31m; rm -rf /";
        let log = json!({"Records": [{"eventID": "a", "eventTime": "2026-03-02T10:00:00Z",
            "eventSource": "secretsmanager.amazonaws.com", "eventName": "GetSecretValue",
            "awsRegion": "eu-west-1", "recipientAccountId": "111122223333",
            "sourceIPAddress": hostile, "requestParameters": {"secretId": hostile},
            "userIdentity": {"type": "IAMUser", "accountId": "111122223333",
                "accessKeyId": "AKIA$(x)", "userName": hostile,
                "arn": format!("arn:aws:iam::111122223333:user/{hostile}")}}]});
        for format in ["table", "csv", "html"] {
            let args = ["exposure", "-", "-q", "-f", format, "--principal", "*"];
            let run = ran_with(&args, &log.to_string());
            assert_eq!(run.code, exit::DONE, "{}", run.err);
            assert!(!run.out.contains('\u{1b}'), "{}", run.out);
            assert!(format != "html" || !run.out.contains("<img"), "{}", run.out);
            // A shell would execute what is hidden in a name: no command has one.
            let commands = run.out.split("aws ").skip(1);
            assert!(
                commands.clone().all(|command| !command.contains("rm -rf")),
                "{}",
                run.out
            );
        }
    }

    #[test]
    fn who_revealed_nothing_is_said_to() {
        let none = exposure(&["--principal", "*role/search-app", "--source", "192.0.2.1"]);
        assert!(none.out.starts_with("no exposed versions"), "{}", none.out);
        let rows = exposure(&[
            "--principal",
            "*role/search-app",
            "--source",
            "192.0.2.1",
            "-f",
            "json",
        ]);
        assert_eq!(rows.out, "[\n]\n");
    }
}
