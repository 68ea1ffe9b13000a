//! `verify`: checks digests and logs against what CloudTrail wrote.

pub mod chain;
pub mod digest;
pub mod files;
pub mod keys;

mod gathered;
#[cfg(test)]
mod mutation_tests;
mod reported;
mod rivals;
mod unlisted;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Instant};

use secretrail_engine::{
    report::ReadReport,
    selection::{Selection, SelectionTally},
};

use self::{
    digest::PublicKeys,
    files::{ChainFiles, ChainFinding, FileVerdict},
    gathered::gathered,
    keys::fetched_keys,
    reported::{ListedFindings, words},
};
use crate::{
    args::{self, settings::RunSettings},
    exit,
    host::{ProcessHost, RunFailure, say},
    input::{
        aws::{self, Connection},
        object::InputProblem,
        progress::bytes_bar,
        s3::store,
        session,
    },
    output::{
        ending::RunReading,
        listing,
        out::OpenOutput,
        run_summary::{self, input_code},
    },
    text::plural,
};

/// Runs the command and returns its exit code.
///
/// # Errors
///
/// [`RunFailure`]: the run ended early.
pub fn run(args: &args::VerifyArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let started = Instant::now();
    let settings = settings(args, host)?;
    let connection = aws::connect(&settings, args.fetch_keys)?;
    let named = named_keys(args)?;
    let mut out = OpenOutput::open(&settings)?;
    let ReadFiles {
        mut evidence,
        mut problems,
        outside,
        selected,
    } = read_all(&settings, connection.as_ref())?;
    if outside > 0 && !settings.quiet {
        let files = plural(outside, "file");
        let why = "outside of an AWSLogs tree not verified: no digest names them";
        say(host, &format!("secretrail: {files} {why}\n"));
    }
    // With `--public-keys`, CloudTrail is not called: there may be no access to it.
    let keys = named.unwrap_or_else(|| {
        let (keys, unlisted) = fetched_keys(&evidence, connection.as_ref(), host.now);
        problems.extend(unlisted);
        keys
    });
    rivals::settle(&mut evidence, &keys);
    let findings = chain::judge(&evidence, &keys, &settings.selection);
    let shown = ListedFindings::of(&findings, args.all);
    listing::write(&shown, settings.format, &mut out)?;
    out.finish_reading(findings.is_empty(), host)?;
    let code = input_code(&problems, host);
    if !settings.quiet {
        say(host, &words(&findings, &evidence, &keys, started.elapsed()));
    }
    let selection = &settings.selection;
    Ok(match findings.is_empty() {
        true => end_without_files(selection, &selected, host),
        false => end(&findings, &evidence, code, host),
    })
}

/// The last lines and the exit code where there was nothing to verify: what there is, if the
/// selection has none of it.
fn end_without_files(
    selection: &Selection,
    selected: &SelectionTally,
    host: &mut ProcessHost,
) -> u8 {
    say(host, &format!("secretrail: {NO_TREE}\n"));
    let reading = RunReading {
        report: &ReadReport::default(),
        selection,
        selected,
    };
    run_summary::end(reading, host)
}

/// The exit code, and the last line where a run could not do what it is for. `code` is that of the
/// problems of the input.
fn end(findings: &[ChainFinding], evidence: &ChainFiles, code: u8, host: &mut ProcessHost) -> u8 {
    let by_findings = findings_code(findings, evidence);
    let is_proven = |finding: &ChainFinding| finding.verdict == FileVerdict::Intact;
    if by_findings == exit::DONE && !findings.iter().any(is_proven) {
        say(host, &format!("secretrail: {NOTHING_PROVEN}\n"));
        return exit::INPUT;
    }
    code.max(by_findings)
}

/// The last line of a run that found no fault and could not prove anything either, as without keys.
const NOTHING_PROVEN: &str = "nothing was proven; this says nothing about the logs";

/// Why there was nothing to verify.
const NO_TREE: &str = "no digests or logs of this selection in an AWSLogs tree";

/// The exit code by the findings alone. Unproven files beside proven ones do not fail the run: the
/// newest digest of a copy is always unproven. Logs without any digest do: who removes all of them
/// leaves nothing that could be found wrong.
fn findings_code(findings: &[ChainFinding], evidence: &ChainFiles) -> u8 {
    let has = |verdict| findings.iter().any(|finding| finding.verdict == verdict);
    if has(FileVerdict::Unreadable) {
        exit::INPUT
    } else if has(FileVerdict::Altered)
        || has(FileVerdict::Missing)
        || has(FileVerdict::Contradicted)
        || !files::without_digests(evidence).is_empty()
    {
        exit::FINDINGS
    } else {
        exit::DONE
    }
}

/// What was read.
struct ReadFiles {
    evidence: ChainFiles,
    /// What could not be read, sorted by name.
    problems: Vec<InputProblem>,
    /// Number of files that no digest can name. Other commands read them.
    outside: u64,
    /// What the selection leaves out, by the paths of the files.
    selected: SelectionTally,
}

/// Reads all digests and logs.
fn read_all(
    settings: &RunSettings,
    connection: Option<&Arc<Connection>>,
) -> Result<ReadFiles, RunFailure> {
    let store = store(connection, &settings.aws);
    let mut found = session::walk(settings, &*store, true)?;
    // Digests cover only files in an `AWSLogs` tree.
    let all = found.objects.len();
    found.objects.retain(|object| object.in_tree);
    let outside = (all - found.objects.len()) as u64;
    let mut selected = found.selected;
    for object in &found.objects {
        let home = object.home.as_ref();
        selected.place(
            home.map(|(account, _)| account.as_str()),
            home.map(|(_, region)| region.as_str()),
        );
        selected.times(object.delivered.map(|at| (at, at)));
        // Said only of a selection that takes none of them.
        selected.left_out += 1;
    }
    let progress = bytes_bar(settings, &found.objects);
    let (evidence, unreadable) = gathered(&found.objects, settings.threads, &*store, &progress);
    progress.finish_and_clear();
    let mut problems = found.problems;
    problems.extend(unreadable);
    problems.sort();
    Ok(ReadFiles {
        evidence,
        problems,
        outside,
        selected,
    })
}

fn settings(args: &args::VerifyArgs, host: &ProcessHost) -> Result<RunSettings, RunFailure> {
    let settings = RunSettings::new(&args.input, &args.output, host)?;
    settings.must_be_rows("verify")?;
    if settings.reads_stdin() {
        return Err(RunFailure::Usage(
            "verify reads trees of digests and logs, not standard input".to_owned(),
        ));
    }
    Ok(settings)
}

/// The keys of `--public-keys`; `None` without it.
fn named_keys(args: &args::VerifyArgs) -> Result<Option<PublicKeys>, RunFailure> {
    let Some(path) = &args.public_keys else {
        return Ok(None);
    };
    let named = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| RunFailure::Usage(format!("--public-keys {named}: {error}")))?;
    match PublicKeys::read(&text) {
        Ok(keys) => Ok(Some(keys)),
        Err(error) => Err(RunFailure::Usage(format!("--public-keys {named}: {error}"))),
    }
}
