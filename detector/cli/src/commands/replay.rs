//! The `replay` command: logs to alerts, or to what a change of rules would do to them.

mod compare;

use std::time::Instant;

use secretrail_engine::alert::Alert;
use secretrail_engine::policy::Policy;
use secretrail_engine::rule::RuleSet;

use crate::args::settings::{Settings, only_rows};
use crate::args::{self, Format};
use crate::exit;
use crate::host::{Failure, Host};
use crate::input::session::{Found, Opened, find, find_in};
use crate::input::{merge, rules_and_policy};
use crate::output::out::Out;
use crate::output::report;
use crate::output::run_summary::close;

/// Runs the command and gives its exit code.
///
/// # Errors
///
/// [`Failure`].
pub fn run(args: &args::Replay, host: &mut Host) -> Result<u8, Failure> {
    let started = Instant::now();
    let mut settings = Settings::new(&args.input, &args.output, host)?;
    settings.memory.memory_secs = args.memory.unwrap_or(settings.memory.memory_secs);
    settings.memory.learning_secs = args.learning.unwrap_or(settings.memory.learning_secs);
    if !args.compare.is_empty() && settings.reads_stdin() {
        let message = "--compare reads the logs twice, and standard input can be read only once; write it to a file first";
        return Err(Failure::Usage(message.to_owned()));
    }
    if !args.compare.is_empty() {
        settings.must_be_rows("--compare")?;
    }
    if settings.format == Format::Parquet {
        return Err(only_rows("replay"));
    }
    let rules = rules_and_policy::rules_with_warnings(&args.files, host)?;
    let other = if args.compare.is_empty() {
        None
    } else {
        let files = args::RuleFiles {
            rules: args.compare.clone(),
            vars: args.files.vars.clone(),
        };
        Some(rules_and_policy::rules_with_warnings(&files, host)?)
    };
    let policy = rules_and_policy::policy(&args.policy)?;
    let mut out = Out::open(&settings)?;
    let (mut found, mut in_force) = (
        alerts(args, &settings, &rules, policy.as_ref(), &mut out, host)?,
        rules.len(),
    );
    if let Some(other) = &other {
        let mut after = find(&settings, other, policy.as_ref(), host)?;
        after.alerts.retain(|alert| is_asked_for(args, alert));
        compare::write(&found.alerts, &after.alerts, settings.format, &mut out)?;
        (found, in_force) = (after, other.len());
    }
    out.finish(host)?;
    found
        .report
        .alerts
        .retain(|level, _| *level >= args.min_level);
    let failing = args
        .fail_on
        .is_some_and(|fail_on| found.report.alerts.keys().any(|level| *level >= fail_on));
    let code = close(&settings, &found, started, Some(in_force), host);
    Ok(code.max(if failing { exit::FINDINGS } else { exit::DONE }))
}

/// Finds the alerts and writes them, unless they are to be compared.
fn alerts(
    args: &args::Replay,
    settings: &Settings,
    rules: &RuleSet,
    policy: Option<&Policy>,
    out: &mut Out<'_>,
    host: &mut Host,
) -> Result<Found, Failure> {
    let opened = Opened::new(settings)?;
    if args.compare.is_empty() && merge::fits(&opened, settings) {
        return merge::run(
            opened,
            settings,
            rules,
            policy,
            host.now,
            &mut |mut outcome| {
                outcome.alerts.retain(|alert| is_asked_for(args, alert));
                out.alerts(&outcome.alerts)?;
                out.pass_on(host)
            },
        );
    }
    let mut found = find_in(opened, settings, rules, policy, host)?;
    found.alerts.retain(|alert| is_asked_for(args, alert));
    if !args.compare.is_empty() {
        return Ok(found);
    }
    if settings.format != Format::Html {
        out.alerts(&found.alerts)?;
        return Ok(found);
    }
    let about = report::About {
        paths: settings
            .paths
            .iter()
            .map(|path| path.to_string_lossy().into_owned())
            .collect(),
        rules: rules.len(),
        policy: policy.is_some(),
        memory: settings.memory,
        now: host.now,
        found: &found,
    };
    out.raw(&report::page(&about)?)?;
    Ok(found)
}

fn is_asked_for(args: &args::Replay, alert: &Alert) -> bool {
    alert.rule.level >= args.min_level
}
