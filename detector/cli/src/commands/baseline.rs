//! The `baseline` command: history to a proposed access policy.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use secretrail_engine::baseline::{LeftOut, Options, Proposal, propose};
use secretrail_engine::rule::RuleSet;

use crate::args;
use crate::args::settings::Settings;
use crate::host::{Failure, Host, say};
use crate::input::rules_and_policy;
use crate::input::session::find;
use crate::output::out::Out;
use crate::output::run_summary::close;

/// Runs the command and gives its exit code.
///
/// # Errors
///
/// [`Failure`].
pub fn run(args: &args::Baseline, host: &mut Host) -> Result<u8, Failure> {
    let started = std::time::Instant::now();
    let settings = Settings::plain(&args.input, &args.destination, host)?;
    let earlier = args
        .merge
        .as_deref()
        .map(rules_and_policy::policy_text)
        .transpose()?;
    let mut out = Out::open(&settings)?;
    let found = find(&settings, &RuleSet::default(), None, host)?;
    let options = Options {
        min_reads: args.min_reads,
        min_days: args.min_days,
    };
    let proposal = propose(
        &found.accesses,
        earlier.as_ref().map(|(policy, _)| policy),
        options,
    );
    let name = args
        .merge
        .as_ref()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let text = proposal.to_yaml(earlier.as_ref().map(|(_, text)| text.as_str()));
    let text = text.map_err(|error| Failure::Rules(format!("{name}: {error}")))?;
    out.raw(&text)?;
    out.finish(host)?;
    let code = close(&settings, &found, started, None, host);
    if !settings.quiet {
        say(host, &summary(&proposal));
    }
    Ok(code)
}

fn summary(proposal: &Proposal) -> String {
    let mut text = String::new();
    let expected = match proposal.expected {
        0 => String::new(),
        n => format!(", {n} accesses were expected already"),
    };
    writeln!(
        text,
        "  grants         {} from {} accesses{expected}",
        proposal.grants.len(),
        proposal.learned
    )
    .ok();
    let mut by_reason: BTreeMap<LeftOut, (u64, usize)> = BTreeMap::new();
    for omission in &proposal.left_out {
        let entry = by_reason.entry(omission.why).or_default();
        entry.0 += omission.accesses;
        entry.1 += 1;
    }
    for (why, (accesses, principals)) in by_reason {
        writeln!(
            text,
            "  left out       {accesses} {} (principals: {principals})",
            why.as_str()
        )
        .ok();
    }
    text
}
