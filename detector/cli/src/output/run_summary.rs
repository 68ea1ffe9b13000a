//! The run summary on standard error: what was read, what was not and why, and the results.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::{self, Write as _},
    sync::Arc,
    time::{Duration, Instant},
};

use secretrail_engine::{
    access::DecryptStatus,
    policy::AccessPolicy,
    record_shape::RecordShape,
    report::ReadReport,
    rule::RuleSet,
    rule_meta::RuleMeta,
    sanitize,
    selection::{Selection, SelectionTally},
};

use crate::{
    args::settings::RunSettings,
    exit,
    host::{ProcessHost, RunFailure, say},
    input::{object::InputProblem, session::SessionResult},
    output::{
        ending::{RunReading, hint_about_named_files},
        incident_tally::levels,
    },
    text::{number, plural},
};

/// One line for each input that could not be read.
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

/// The lines about files and records: read, failed, skipped.
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
        count => format!(", {} repaired", number(count)),
    };
    lines.push(format!(
        "records        {}{repaired}",
        number(report.records)
    ));
    let span = report.events.span();
    lines.extend(span.map(|(first, last)| format!("events         {first} to {last}")));
    let shapes: BTreeMap<RecordShape, u64> = report.shapes.iter().collect();
    let shapes = counts(&shapes, |shape| shape.as_str());
    lines.extend(shapes.map(|shapes| format!("read as: {shapes}")));
    lines.extend(assumed(report));
    lines.extend(lacking(report));
    let skipped = counts(&report.records_skipped, |reason| reason.as_str());
    lines.extend(skipped.map(|skipped| format!("skipped records {skipped}")));
    lines
}

/// What the rows of lakes and query results cannot tell: a line for each form.
fn lacking(report: &ReadReport) -> impl Iterator<Item = String> {
    let lacking = report.form_fields.lacking().into_iter();
    lacking
        .map(|(form, fields)| format!("{form} has no {}: unknown, not absent", fields.join(", ")))
}

/// The line about values that were not as documented; `None` if all were.
fn assumed(report: &ReadReport) -> Option<String> {
    let counted = [
        (
            report.times_without_zone,
            "without a time zone (UTC assumed)",
        ),
        (report.fields_mistyped, "fields of a wrong type"),
        (report.times_ahead, "dated after their delivery"),
    ];
    let texts: Vec<String> = counted
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", number(*count)))
        .collect();
    (!texts.is_empty()).then(|| format!("odd values     {}", texts.join(", ")))
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
        "read {}, {megabytes:.1} MB of JSON in {secs:.2} s ({speed:.0} MB/s, {})",
        plural(report.objects, "file"),
        plural(threads as u64, "thread")
    )
}

/// The line about what the selection by time, account and region left out; `None` for nothing.
#[must_use]
pub fn left_out(selected: &SelectionTally) -> Option<String> {
    let SelectionTally {
        left_out, unopened, ..
    } = selected;
    if left_out + unopened == 0 {
        return None;
    }
    let unopened = match unopened {
        0 => String::new(),
        count => format!(", {} not opened", plural(*count, "path")),
    };
    let records = plural(*left_out, "record");
    Some(format!(
        "left out       {records} by the selection{unopened}"
    ))
}

/// How many rules a run has, and how many of them cannot fire as it stands.
#[derive(Debug, Clone, Copy)]
pub struct RulesInUse {
    all: usize,
    needing_policy: usize,
    needing_networks: usize,
    needing_geo: usize,
}

impl RulesInUse {
    /// The rules of a run, with an access policy or without one.
    pub(crate) fn of(rules: &RuleSet, policy: Option<&AccessPolicy>) -> Self {
        // A rule that needs several things is counted once.
        let mut counted = HashSet::new();
        let mut count = |needing: Vec<&Arc<RuleMeta>>| {
            let needing = needing.into_iter();
            needing
                .filter(|rule| counted.insert(rule.id.clone()))
                .count()
        };
        let needing_policy = match policy {
            Some(_) => 0,
            None => count(rules.needing_policy().collect()),
        };
        Self {
            all: rules.len(),
            needing_policy,
            needing_networks: count(rules.needing_networks().collect()),
            needing_geo: count(rules.needing_geo().collect()),
        }
    }
}

impl fmt::Display for RulesInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = plural(self.all as u64, "rule");
        let needing = [
            (self.needing_policy, "no --policy"),
            (self.needing_networks, "a list of networks is missing"),
            (self.needing_geo, "no --geoip"),
        ];
        let idle = needing.iter().map(|(count, _)| count).sum();
        let active = self.all.saturating_sub(idle);
        let absent = needing.iter().filter(|(count, _)| *count > 0);
        let absent: Vec<&str> = absent.map(|(_, absent)| *absent).collect();
        if absent.is_empty() {
            return f.write_str(&rules);
        }
        write!(f, "{active} of {rules} active: {}", absent.join(", "))
    }
}

/// The lines of the run summary; `rules` is the number of rules, `None` for commands without
/// alerts, and for runs that read nothing: no alerts would say too much.
#[must_use]
pub fn words(
    report: &ReadReport,
    threads: usize,
    elapsed: Duration,
    rules: Option<RulesInUse>,
    selected: &SelectionTally,
) -> Vec<String> {
    let mut lines = read(report, threads, elapsed);
    lines.extend(left_out(selected));
    lines.push(format!("secret reads   {}", number(report.reads)));
    lines.push(format!(
        "KMS Decrypts   {} ({} from secret changes, {} ignored)",
        number(report.kms_decrypts),
        number(report.explained),
        plural(report.key_validations, "key-validation Decrypt")
    ));
    lines.push(format!(
        "duplicates     {} ignored",
        number(report.duplicates)
    ));
    lines.extend(conflicting(report));
    lines.push(format!(
        "late pairs     {} joined after the allowed lateness",
        number(report.late)
    ));
    lines.push(accesses(report));
    lines.extend(rules.map(|rules| alerts(report, rules)));
    lines
}

/// The line about different events with one id; `None` if there are none.
fn conflicting(report: &ReadReport) -> Option<String> {
    let count = match report.conflicting_copies {
        0 => return None,
        count => number(count),
    };
    Some(format!(
        "conflicting copies {count} (other events under an eventID that was used; all kept)"
    ))
}

fn accesses(report: &ReadReport) -> String {
    let total: u64 = report.accesses.values().sum();
    // Every status is listed, also with zero accesses: a zero is an answer here.
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

/// The alerts by level, the most severe first.
fn alerts(report: &ReadReport, rules: RulesInUse) -> String {
    format!("alerts         {} ({rules})", levels(&report.alerts))
}

/// A summary of these lines, marked with the name of the command.
#[must_use]
pub fn said(lines: &[String]) -> String {
    format!("secretrail: {}\n", lines.join("\n  "))
}

/// Counts of skipped files and records, with their reasons, as in `2` and `files: digest`.
#[must_use]
pub fn skipped(report: &ReadReport) -> Vec<(u64, String)> {
    let objects = report
        .objects_skipped
        .iter()
        .map(|(reason, count)| (*count, skip_reason("file", *count, reason.as_str())));
    let records = report
        .records_skipped
        .iter()
        .map(|(reason, count)| (*count, skip_reason("record", *count, reason.as_str())));
    objects.chain(records).collect()
}

/// A reason for skipping this many files or records, to follow their number.
fn skip_reason(noun: &str, count: u64, reason: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{noun}{ending}: {reason}")
}

/// Counts with their reasons; `None` if there are none.
fn counts<K: Ord>(counts: &BTreeMap<K, u64>, name: fn(&K) -> &'static str) -> Option<String> {
    let mut texts = Vec::new();
    for (reason, count) in counts {
        texts.push(format!("{} {}", number(*count), name(reason)));
    }
    (!texts.is_empty()).then(|| texts.join(", "))
}

/// Prints what could not be read and the run summary, and returns the exit code of the input.
pub(crate) fn close(
    settings: &RunSettings,
    found: &SessionResult,
    started: Instant,
    rules: Option<RulesInUse>,
    host: &mut ProcessHost,
) -> u8 {
    let code = input_code(&found.problems, host);
    let reading = RunReading::of(found, &settings.selection);
    let rules = rules.filter(|_| !reading.is_nothing());
    if !settings.quiet {
        let (threads, elapsed) = (settings.threads, started.elapsed());
        let mut words = words(&found.report, threads, elapsed, rules, &found.selected);
        if rules.is_some() {
            words.extend(found.about_incidents.iter().cloned());
        }
        say(host, &said(&words));
    }
    say_lines(
        hint_about_named_files(&found.objects, &found.problems),
        host,
    );
    // Nothing can match where nothing was read: the last line says that already.
    if !reading.is_nothing() {
        say_lines(found.unmatched.iter().cloned(), host);
    }
    code.max(end(reading, host))
}

/// Prints why nothing was read, also with `--quiet`, and returns the exit code for it.
pub(crate) fn end(reading: RunReading<'_>, host: &mut ProcessHost) -> u8 {
    say_lines(reading.lines(), host);
    if reading.is_nothing() {
        exit::INPUT
    } else {
        exit::DONE
    }
}

/// Ends a run in which nothing is called as was asked for. Input that could not be read may be the
/// cause.
///
/// # Errors
///
/// The failure, where there was something to read.
pub(crate) fn not_found(
    failure: RunFailure,
    found: &SessionResult,
    asked: &Selection,
    host: &mut ProcessHost,
) -> Result<u8, RunFailure> {
    say(host, &problems(&found.problems));
    let reading = RunReading::of(found, asked);
    if reading.is_nothing() {
        say(host, &format!("secretrail: {failure}\n"));
        return Ok(end(reading, host));
    }
    Err(failure)
}

fn say_lines(lines: impl IntoIterator<Item = String>, host: &mut ProcessHost) {
    for line in lines {
        say(host, &format!("secretrail: {line}\n"));
    }
}

/// Prints what could not be read, and returns the exit code of the input.
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
    use secretrail_engine::rule_meta::RuleLevel;

    use secretrail_engine::{report::SkippedObject, rule::load::load};

    use super::*;

    fn in_use(all: usize, needing_policy: usize) -> RulesInUse {
        RulesInUse {
            all,
            needing_policy,
            needing_networks: 0,
            needing_geo: 0,
        }
    }

    #[test]
    fn rules_that_cannot_fire_are_told() {
        assert_eq!(in_use(37, 0).to_string(), "37 rules");
        let idle = in_use(37, 7).to_string();
        assert_eq!(idle, "30 of 37 rules active: no --policy");
        let both = RulesInUse {
            needing_networks: 1,
            ..in_use(37, 7)
        };
        let told = "29 of 37 rules active: no --policy, a list of networks is missing";
        assert_eq!(both.to_string(), told);
    }

    #[test]
    fn a_rule_that_lacks_several_things_is_counted_once() {
        let text = "title: T
id: r
logsource: {product: aws, category: secret_access}
detection:
  sel: {expected.principal: false, source.country: NL, source.lists: own}
  condition: sel
";
        let (rules, _) = load([("r.yml", text)]).unwrap();
        let lacking = RulesInUse::of(&rules, None).to_string();
        assert_eq!(lacking, "0 of 1 rule active: no --policy");
        let policy = "version: 1\ngrants: []\n".parse().unwrap();
        let lacking = RulesInUse::of(&rules, Some(&policy)).to_string();
        assert_eq!(lacking, "0 of 1 rule active: a list of networks is missing");
    }

    fn lines(report: &ReadReport, rules: Option<RulesInUse>) -> Vec<String> {
        let none = SelectionTally::default();
        let text = said(&words(report, 2, Duration::from_secs(2), rules, &none));
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn an_empty_run_is_summarised_in_zeros() {
        let lines = lines(&ReadReport::default(), None);
        let pace = "secretrail: read 0 files, 0.0 MB of JSON in 2.00 s (0 MB/s, 2 threads)";
        assert_eq!(lines[0], pace);
        assert!(!lines.iter().any(|line| line.starts_with("skipped")));
        assert!(!lines.iter().any(|line| line.starts_with("alerts")));
    }

    #[test]
    fn counts_of_one_are_singular() {
        let report = ReadReport {
            objects: 1,
            key_validations: 1,
            ..ReadReport::default()
        };
        let none = SelectionTally::default();
        let elapsed = Duration::from_secs(1);
        let text = said(&words(&report, 1, elapsed, Some(in_use(1, 0)), &none));
        assert!(text.contains("read 1 file, ") && text.contains("1 thread)"));
        assert!(text.contains("1 key-validation Decrypt ignored)"));
        assert!(text.ends_with("alerts         none (1 rule)\n"), "{text}");
    }

    #[test]
    fn alerts_are_counted_by_level_the_most_severe_first() {
        let mut report = ReadReport::default();
        report.alerts.insert(RuleLevel::Low, 1_200);
        report.alerts.insert(RuleLevel::Critical, 1);
        let last = lines(&report, Some(in_use(37, 0))).pop().unwrap();
        assert_eq!(last, "alerts         1 critical, 1,200 low (37 rules)");
        let none = lines(&ReadReport::default(), Some(in_use(37, 0)))
            .pop()
            .unwrap();
        assert_eq!(none, "alerts         none (37 rules)");
    }

    #[test]
    fn what_was_skipped_is_named_with_its_reason() {
        let mut report = ReadReport::default();
        report.skip_object(SkippedObject::Digest);
        report.skip_object(SkippedObject::Digest);
        let reason = SkippedObject::Digest.as_str();
        let line = format!("skipped files  2 {reason}");
        assert!(lines(&report, None).contains(&line));
        assert_eq!(skipped(&report), [(2, format!("files: {reason}"))]);
    }

    #[test]
    fn the_forms_of_the_records_are_counted() {
        let mut report = ReadReport::default();
        for shape in [RecordShape::EventBridge, RecordShape::Records] {
            report.count_record(shape);
        }
        report.times_without_zone = 2;
        let lines = lines(&report, None);
        assert!(
            lines.contains(&"read as: 1 Records, 1 EventBridge".to_owned()),
            "{lines:?}"
        );
        let odd = "odd values     2 without a time zone (UTC assumed)";
        assert!(lines.iter().any(|line| line == odd), "{lines:?}");
    }

    #[test]
    fn what_the_selection_left_out_is_counted() {
        let mut tally = SelectionTally::default();
        assert_eq!(left_out(&tally), None);
        tally.left_out = 1_234;
        let line = left_out(&tally).unwrap();
        assert_eq!(line, "left out       1,234 records by the selection");
        tally.unopened = 2;
        let line = left_out(&tally).unwrap();
        assert!(line.ends_with("selection, 2 paths not opened"), "{line}");
    }

    #[test]
    fn a_name_from_a_log_cannot_break_the_line() {
        let text = problems(&[InputProblem::new("a\nb", "gone")]);
        assert_eq!(text.lines().count(), 1, "{text:?}");
    }
}
