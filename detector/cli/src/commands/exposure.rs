//! `exposure`: which versions of which secrets were revealed, to whom, and whether they still work.

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
    policy::AccessPolicy,
    rule::RuleSet,
    selection::Selection,
};

use crate::{
    args::{
        self, OutputFormat,
        settings::{RunSettings, only_rows},
    },
    exit,
    host::{ProcessHost, RunFailure, say},
    input::{
        rules_and_policy,
        session::{self, EvaluationTask, OpenedInput, SessionResult},
        subject::FoundSubject,
    },
    output::{
        ending::RunReading,
        exposures::{self, ExposureListing},
        incident_tally::IncidentTally,
        listing,
        out::OpenOutput,
        run_summary::{self, RulesInUse, close, end},
    },
};

/// Runs the command and returns its exit code.
///
/// # Errors
///
/// [`RunFailure`]: the run ended early.
pub fn run(args: &args::ExposureArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let started = Instant::now();
    let mut settings = settings(args, host)?;
    let asked = AskedReads::of(args, &mut settings)?;
    let rules = rules_and_policy::rules_with_warnings(&args.files, host)?;
    let policy = rules_and_policy::policy(&args.policy)?;
    let rules = rules.with_decoys(policy.as_ref()).with_changes();
    let mut out = OpenOutput::open(&settings)?;
    let (ledger, mut found) = read(&settings, &asked, &rules, policy.as_ref(), host)?;
    let grouped = grouped(&mut found);
    let is_nothing = RunReading::of(&found, &settings.selection).is_nothing();
    let scopes = match asked.scopes(args, &grouped) {
        Ok(scopes) => scopes,
        Err(failure) => {
            // Input that could not be read may be the cause.
            say(host, &run_summary::problems(&found.problems));
            if is_nothing {
                say(host, &format!("secretrail: {failure}\n"));
                return Ok(end(RunReading::of(&found, &settings.selection), host));
            }
            return Err(failure);
        }
    };
    let exposures = ledger.exposures(&scopes);
    if !is_nothing {
        write(&exposures, &settings, host, &mut out)?;
    }
    out.finish_reading(is_nothing, host)?;
    let in_use = RulesInUse::of(&rules, policy.as_ref());
    let code = close(&settings, &found, started, Some(in_use), host);
    let is_open = args.fail_on_open && exposures.iter().any(Exposure::is_open);
    Ok(code.max(if is_open { exit::FINDINGS } else { exit::DONE }))
}

fn settings(args: &args::ExposureArgs, host: &ProcessHost) -> Result<RunSettings, RunFailure> {
    let settings = RunSettings::new(&args.input, &args.output, host)?;
    match settings.format {
        OutputFormat::Html => {}
        _ => settings.must_be_rows("exposure")?,
    }
    rules_and_policy::refuse_as_output(&settings, &args.files, &args.policy)?;
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
        let is_session = |glob: &GlobPattern| session.is_some_and(|session| glob.matches(session));
        self.selection.takes(access)
            && (self.sessions.is_empty() || self.sessions.iter().any(is_session))
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

/// Reads everything: the facts about versions, and the alerts.
fn read(
    settings: &RunSettings,
    asked: &AskedReads,
    rules: &RuleSet,
    policy: Option<&AccessPolicy>,
    host: &mut ProcessHost,
) -> Result<(ExposureLedger, SessionResult), RunFailure> {
    let mut ledger = ExposureLedger::default();
    let mut alerts = Vec::new();
    let task = EvaluationTask::new(settings, rules, policy).asked(&asked.selection);
    let opened = OpenedInput::new(settings)?;
    let mut found = session::run(opened, task, host, &mut |mut outcome, _| {
        for change in &outcome.changes {
            ledger.add_change(change);
        }
        for access in &outcome.accesses {
            ledger.add_access(access, asked.takes(access));
        }
        alerts.append(&mut outcome.alerts);
        Ok(())
    })?;
    found.alerts = alerts;
    Ok((ledger, found))
}

fn grouped(found: &mut SessionResult) -> GroupedAlerts {
    let alerts = std::mem::take(&mut found.alerts);
    let grouped = IncidentGrouping::all(IncidentPeriods::default(), alerts);
    found.about_incidents = IncidentTally::of(&grouped).lines();
    grouped
}

fn write(
    exposures: &[Exposure],
    settings: &RunSettings,
    host: &ProcessHost,
    out: &mut OpenOutput<'_>,
) -> Result<(), RunFailure> {
    match settings.format {
        OutputFormat::Html => out.raw(&exposures::page(exposures, settings, host.now)),
        OutputFormat::Ocsf | OutputFormat::Parquet => Err(only_rows("exposure")),
        format => listing::write(&ExposureListing::new(exposures, settings), format, out),
    }
}
