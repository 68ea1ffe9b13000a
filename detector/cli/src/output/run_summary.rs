//! The closing words on standard error: what was read, what was not and why, and what it came to.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use secretrail_engine::access::DecryptStatus;
use secretrail_engine::neutral;
use secretrail_engine::report::Report;
use secretrail_engine::rule_meta::Level;

use crate::args::settings::Settings;
use crate::exit;
use crate::host::{Host, say};
use crate::input::object::Problem;
use crate::input::session::Found;
use crate::text::number;

/// One line for each thing that could not be read.
#[must_use]
pub fn problems(problems: &[Problem]) -> String {
    let line = |p: &Problem| {
        format!(
            "secretrail: {}: {}\n",
            neutral::line(&p.name),
            neutral::line(&p.message)
        )
    };
    problems.iter().map(line).collect()
}

/// What was read, and what was passed over.
#[must_use]
pub fn read(report: &Report, threads: usize, elapsed: Duration) -> Vec<String> {
    let secs = elapsed.as_secs_f64();
    #[expect(
        clippy::cast_precision_loss,
        reason = "a speed for people has three digits"
    )]
    let bytes = report.bytes as f64;
    let speed = bytes / 1e6 / secs.max(1e-3);
    let mut lines = vec![format!(
        "read {} files, {:.1} MB of JSON in {secs:.2} s ({speed:.0} MB/s, {threads} threads)",
        number(report.objects),
        bytes / 1e6
    )];
    if report.objects_failed > 0 {
        lines.push(format!("failed files   {}", number(report.objects_failed)));
    }
    push_counts(
        &mut lines,
        "skipped files ",
        &report.objects_skipped,
        |reason| reason.as_str(),
    );
    let repaired = if report.records_repaired > 0 {
        format!(
            ", {} with bytes that are not UTF-8",
            number(report.records_repaired)
        )
    } else {
        String::new()
    };
    lines.push(format!(
        "records        {}{repaired}",
        number(report.records)
    ));
    push_counts(
        &mut lines,
        "skipped records",
        &report.records_skipped,
        |reason| reason.as_str(),
    );
    lines
}

/// What a run came to.
#[must_use]
pub fn words(report: &Report, threads: usize, elapsed: Duration, rules: Option<usize>) -> String {
    let mut lines = read(report, threads, elapsed);
    lines.push(format!("secret reads   {}", number(report.reads)));
    lines.push(format!(
        "key uses       {} ({} explained by changes, {} key checks left out)",
        number(report.key_uses),
        number(report.explained),
        number(report.key_validations)
    ));
    lines.push(format!(
        "came again     {}, {} late",
        number(report.duplicates),
        number(report.late)
    ));
    let total: u64 = report.accesses.values().sum();
    let of = |status: DecryptStatus| number(report.accesses.get(&status).copied().unwrap_or(0));
    lines.push(format!(
        "accesses       {}: {} paired, {} absent, {} unknown, {} pending, {} not expected",
        number(total),
        of(DecryptStatus::Paired),
        of(DecryptStatus::Absent),
        of(DecryptStatus::Unknown),
        of(DecryptStatus::Pending),
        of(DecryptStatus::NotExpected)
    ));
    if let Some(rules) = rules {
        let levels = Level::ALL
            .iter()
            .rev()
            .filter_map(|level| Some((*level, *report.alerts.get(level)?)));
        let counts: Vec<String> = levels
            .map(|(level, count)| format!("{} {level}", number(count)))
            .collect();
        let counts = if counts.is_empty() {
            "none".to_owned()
        } else {
            counts.join(", ")
        };
        lines.push(format!("alerts         {counts} ({rules} rules)"));
    }
    said(&lines)
}

/// Lines as they are printed.
#[must_use]
pub fn said(lines: &[String]) -> String {
    format!("secretrail: {}\n", lines.join("\n  "))
}

/// Everything that was passed over, with its reason.
#[must_use]
pub fn passed_over(report: &Report) -> Vec<(u64, String)> {
    let objects = report
        .objects_skipped
        .iter()
        .map(|(reason, count)| (*count, format!("files: {}", reason.as_str())));
    let records = report
        .records_skipped
        .iter()
        .map(|(reason, count)| (*count, format!("records: {}", reason.as_str())));
    objects.chain(records).collect()
}

fn push_counts<K: Ord>(
    lines: &mut Vec<String>,
    title: &str,
    counts: &BTreeMap<K, u64>,
    name: impl Fn(&K) -> &'static str,
) {
    if !counts.is_empty() {
        let counts: Vec<String> = counts
            .iter()
            .map(|(reason, count)| format!("{} {}", number(*count), name(reason)))
            .collect();
        lines.push(format!("{title} {}", counts.join(", ")));
    }
}

/// Says what could not be read and what was, and gives the exit code of the input.
pub(crate) fn close(
    settings: &Settings,
    found: &Found,
    started: Instant,
    rules: Option<usize>,
    host: &mut Host,
) -> u8 {
    let code = input_code(&found.problems, host);
    if !settings.quiet {
        say(
            host,
            &words(&found.report, settings.threads, started.elapsed(), rules),
        );
    }
    code
}

/// Says what could not be read, and gives the exit code of the input.
pub(crate) fn input_code(problems: &[Problem], host: &mut Host) -> u8 {
    say(host, &self::problems(problems));
    if problems.is_empty() {
        exit::DONE
    } else {
        exit::INPUT
    }
}
