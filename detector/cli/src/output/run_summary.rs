//! The closing words on standard error: what was read, what was not and why, and what it came to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use secretrail_engine::access::DecryptStatus;
use secretrail_engine::report::ReadReport;
use secretrail_engine::rule_meta::RuleLevel;
use secretrail_engine::sanitize;

use crate::args::settings::RunSettings;
use crate::exit;
use crate::host::{ProcessHost, say};
use crate::input::object::InputProblem;
use crate::input::session::SessionResult;
use crate::text::number;

/// One line for each thing that could not be read.
#[must_use]
pub fn problems(problems: &[InputProblem]) -> String {
    let mut lines = String::new();
    for InputProblem { name, message } in problems {
        let (name, message) = (sanitize::line(name), sanitize::line(message));
        // Writing to a string cannot fail.
        writeln!(lines, "secretrail: {name}: {message}").ok();
    }
    lines
}

/// What was read, and what was passed over.
#[must_use]
pub fn read(report: &ReadReport, threads: usize, elapsed: Duration) -> Vec<String> {
    let mut lines = vec![pace(report, threads, elapsed)];
    if report.objects_failed > 0 {
        lines.push(format!("failed files   {}", number(report.objects_failed)));
    }
    let skipped = counts(&report.objects_skipped, |reason| reason.as_str());
    lines.extend(skipped.map(|skipped| format!("skipped files  {skipped}")));
    let repaired = match report.records_repaired {
        0 => String::new(),
        count => format!(", {} with bytes that are not UTF-8", number(count)),
    };
    lines.push(format!(
        "records        {}{repaired}",
        number(report.records)
    ));
    let skipped = counts(&report.records_skipped, |reason| reason.as_str());
    lines.extend(skipped.map(|skipped| format!("skipped records {skipped}")));
    lines
}

fn pace(report: &ReadReport, threads: usize, elapsed: Duration) -> String {
    let secs = elapsed.as_secs_f64();
    #[expect(
        clippy::cast_precision_loss,
        reason = "a speed for people has three digits"
    )]
    let megabytes = report.bytes as f64 / 1e6;
    let speed = megabytes / secs.max(1e-3);
    format!(
        "read {} files, {megabytes:.1} MB of JSON in {secs:.2} s \
         ({speed:.0} MB/s, {threads} threads)",
        number(report.objects),
    )
}

/// What a run came to.
#[must_use]
pub fn words(
    report: &ReadReport,
    threads: usize,
    elapsed: Duration,
    rules: Option<usize>,
) -> String {
    let mut lines = read(report, threads, elapsed);
    lines.push(format!("secret reads   {}", number(report.reads)));
    lines.push(format!(
        "key uses       {} ({} explained by changes, {} key checks left out)",
        number(report.kms_decrypts),
        number(report.explained),
        number(report.key_validations)
    ));
    lines.push(format!(
        "came again     {}, {} late",
        number(report.duplicates),
        number(report.late)
    ));
    lines.push(accesses(report));
    lines.extend(rules.map(|rules| alerts(report, rules)));
    said(&lines)
}

fn accesses(report: &ReadReport) -> String {
    let total: u64 = report.accesses.values().sum();
    // Every status is named, those without an access too: a zero is an answer here.
    let [paired, absent, unknown, pending, not_expected] = [
        DecryptStatus::Paired,
        DecryptStatus::Absent,
        DecryptStatus::Unknown,
        DecryptStatus::Pending,
        DecryptStatus::NotExpected,
    ]
    .map(|status| number(report.accesses.get(&status).copied().unwrap_or(0)));
    format!(
        "accesses       {}: {paired} paired, {absent} absent, {unknown} unknown, \
         {pending} pending, {not_expected} not expected",
        number(total)
    )
}

/// The alerts by level, the most urgent first.
fn alerts(report: &ReadReport, rules: usize) -> String {
    let mut counts = Vec::new();
    for level in RuleLevel::ALL.iter().rev() {
        if let Some(count) = report.alerts.get(level) {
            counts.push(format!("{} {level}", number(*count)));
        }
    }
    if counts.is_empty() {
        counts.push("none".to_owned());
    }
    format!("alerts         {} ({rules} rules)", counts.join(", "))
}

/// Lines as they are printed.
#[must_use]
pub fn said(lines: &[String]) -> String {
    format!("secretrail: {}\n", lines.join("\n  "))
}

/// Everything that was passed over, with its reason.
#[must_use]
pub fn passed_over(report: &ReadReport) -> Vec<(u64, String)> {
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

/// Counts with their reasons; `None` where nothing was counted.
fn counts<K: Ord>(counts: &BTreeMap<K, u64>, name: fn(&K) -> &'static str) -> Option<String> {
    let mut texts = Vec::new();
    for (reason, count) in counts {
        texts.push(format!("{} {}", number(*count), name(reason)));
    }
    (!texts.is_empty()).then(|| texts.join(", "))
}

/// Says what could not be read and what was, and gives the exit code of the input.
pub(crate) fn close(
    settings: &RunSettings,
    found: &SessionResult,
    started: Instant,
    rules: Option<usize>,
    host: &mut ProcessHost,
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
pub(crate) fn input_code(problems: &[InputProblem], host: &mut ProcessHost) -> u8 {
    say(host, &self::problems(problems));
    if problems.is_empty() {
        exit::DONE
    } else {
        exit::INPUT
    }
}

#[cfg(test)]
mod tests {
    use secretrail_engine::report::SkippedObject;

    use super::*;

    fn lines(report: &ReadReport, rules: Option<usize>) -> Vec<String> {
        let text = words(report, 2, Duration::from_secs(2), rules);
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn nothing_read_is_said_in_zeros() {
        let lines = lines(&ReadReport::default(), None);
        let pace = "secretrail: read 0 files, 0.0 MB of JSON in 2.00 s (0 MB/s, 2 threads)";
        assert_eq!(lines[0], pace);
        assert!(!lines.iter().any(|line| line.starts_with("skipped")));
        assert!(!lines.iter().any(|line| line.starts_with("alerts")));
    }

    #[test]
    fn alerts_are_counted_by_level_the_most_urgent_first() {
        let mut report = ReadReport::default();
        report.alerts.insert(RuleLevel::Low, 1_200);
        report.alerts.insert(RuleLevel::Critical, 1);
        let last = lines(&report, Some(37)).pop().unwrap();
        assert_eq!(last, "alerts         1 critical, 1,200 low (37 rules)");
        let none = lines(&ReadReport::default(), Some(37)).pop().unwrap();
        assert_eq!(none, "alerts         none (37 rules)");
    }

    #[test]
    fn what_was_passed_over_is_named_with_its_reason() {
        let mut report = ReadReport::default();
        report.skip_object(SkippedObject::Digest);
        report.skip_object(SkippedObject::Digest);
        let reason = SkippedObject::Digest.as_str();
        let line = format!("skipped files  2 {reason}");
        assert!(lines(&report, None).contains(&line));
        assert_eq!(passed_over(&report), [(2, format!("files: {reason}"))]);
    }

    #[test]
    fn a_name_from_a_log_cannot_break_the_line() {
        let text = problems(&[InputProblem::new("a\nb", "gone")]);
        assert_eq!(text.lines().count(), 1, "{text:?}");
    }
}
