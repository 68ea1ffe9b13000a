//! `summary`: one screen with the worst incidents, who read what, what was denied, what is new, and
//! the alerts.

mod json;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
    time::Instant,
};

use secretrail_engine::{
    access::Access,
    alert::Alert,
    incident::{
        Incident, IncidentPeriods,
        grouping::{GroupedAlerts, IncidentGrouping},
    },
    observation::CallOutcome,
    rule_meta::RuleLevel,
    seen::{LookbackPeriods, Novelty, NoveltyJudge, Sighting, since_key},
    time::EventTime,
};

use crate::{
    args::{self, OutputFormat, settings::RunSettings},
    host::{ProcessHost, RunFailure},
    input::{
        rules_and_policy,
        session::{SessionResult, find},
        subject::add_exposure,
    },
    output::{
        ending::RunReading,
        incident_tally::IncidentTally,
        incidents,
        json::line,
        out::OpenOutput,
        run_summary::{RulesInUse, close},
        table,
    },
    text::{number, plural},
};

const DAY: i64 = 86_400;

/// Most marks of a sparkline; in longer histories, a mark covers several days.
const MARKS: usize = 60;

/// Runs the command and returns its exit code.
///
/// # Errors
///
/// [`RunFailure`]: the run ended early.
pub fn run(args: &args::SummaryArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let started = Instant::now();
    let settings = settings(args, host)?;
    let rules = rules_and_policy::rules_with_warnings(&args.files, host)?;
    let policy = rules_and_policy::policy(&args.policy, rules.networks())?;
    let rules = rules.with_decoys(policy.as_ref());
    let mut out = OpenOutput::open(&settings)?;
    let mut found = find(&settings, &rules, policy.as_ref(), host)?;
    let grouped = grouped(&mut found);
    let is_nothing = RunReading::of(&found, &settings.selection).is_nothing();
    if !is_nothing {
        let found = SummaryContent {
            accesses: &found.accesses,
            alerts: &grouped.alerts,
            incidents: &grouped.incidents,
        };
        write(&found, args, &settings, host.now, &mut out)?;
    } else if settings.format == OutputFormat::Table {
        out.raw("nothing was read\n")?;
    }
    out.finish_reading(is_nothing, host)?;
    let in_use = RulesInUse::of(&rules, policy.as_ref());
    Ok(close(&settings, &found, started, Some(in_use), host))
}

/// Groups the alerts that were found; the most suspicious incident comes first.
fn grouped(found: &mut SessionResult) -> GroupedAlerts {
    let alerts = std::mem::take(&mut found.alerts);
    let mut grouped = IncidentGrouping::all(IncidentPeriods::default(), alerts);
    add_exposure(&mut grouped.incidents, &found.changes);
    grouped.incidents.sort_by_cached_key(Incident::order);
    found.about_incidents = IncidentTally::of(&grouped).lines();
    grouped
}

fn settings(args: &args::SummaryArgs, host: &ProcessHost) -> Result<RunSettings, RunFailure> {
    let settings = RunSettings::new(&args.input, &args.output, host)?;
    match settings.format {
        OutputFormat::Table | OutputFormat::Json => Ok(settings),
        _ => Err(RunFailure::Usage("summary is for -f table and json".into())),
    }
}

/// Successful and denied accesses. Accesses that failed for another reason count as neither.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct OutcomeCounts {
    reads: u64,
    denied: u64,
}

impl OutcomeCounts {
    fn add(&mut self, outcome: CallOutcome) {
        match outcome {
            CallOutcome::Success => self.reads += 1,
            CallOutcome::Denied => self.denied += 1,
            CallOutcome::Failed => {}
        }
    }
}

/// The counts of a principal or of a secret.
#[derive(Default)]
struct ReadTally {
    counts: OutcomeCounts,
    /// The distinct secrets of a principal, or principals of a secret.
    others: BTreeSet<String>,
    last: Option<EventTime>,
}

/// What a summary is about. Accesses are ordered by time, incidents by their suspicion.
struct SummaryContent<'a> {
    accesses: &'a [Arc<Access>],
    alerts: &'a [Alert],
    incidents: &'a [Incident],
}

fn write(
    found: &SummaryContent<'_>,
    args: &args::SummaryArgs,
    settings: &RunSettings,
    now: EventTime,
    out: &mut OpenOutput<'_>,
) -> Result<(), RunFailure> {
    if settings.format == OutputFormat::Table {
        let top = found.incidents.get(..args.top).unwrap_or(found.incidents);
        let incidents = incidents::headlines(top, settings);
        let more = found.incidents.len().saturating_sub(args.top);
        return out.raw(&text(found, args, &incidents, more));
    }
    out.raw(&line(&json::value(found, args.top, now))?)
}

/// The whole screen.
fn text(
    found: &SummaryContent<'_>,
    args: &args::SummaryArgs,
    incidents: &str,
    more: usize,
) -> String {
    let top = args.top;
    let mut out = incidents.to_owned();
    if more > 0 {
        let more = plural(more as u64, "incident");
        writeln!(out, "and {more} more; secretrail replay shows all").ok();
    }
    if !found.incidents.is_empty() {
        out.push('\n');
    }
    if found.accesses.is_empty() {
        out.push_str("no accesses to secrets in these logs\n");
        return out;
    }
    let principals = tally(found.accesses, principal, secret);
    let secrets = tally(found.accesses, secret, principal);
    push_outcomes(found.accesses, principals.len(), secrets.len(), &mut out);
    push_span(found.accesses, &mut out);
    push_marks(found.accesses, &mut out);
    // Of a chosen principal everything is shown, and not only the most.
    if !args.input.principal.is_empty() {
        push_calls(found.accesses, &mut out);
    }
    push_ranking(["SECRETS", "PRINCIPAL"], &principals, reads, top, &mut out);
    push_ranking(["PRINCIPALS", "SECRET"], &secrets, reads, top, &mut out);
    push_ranking(
        ["SECRETS", "MOST DENIED"],
        &principals,
        denied,
        top,
        &mut out,
    );
    push_new_pairs(found.accesses, top, &mut out);
    push_alerts(found.alerts, &mut out);
    out
}

/// Each call with its outcome: how often, on how many secrets and from how many sources, first and
/// last.
fn push_calls(accesses: &[Arc<Access>], out: &mut String) {
    let mut calls: BTreeMap<(&str, CallOutcome), Vec<&Access>> = BTreeMap::new();
    for access in accesses {
        let call = (&*access.head.api, access.head.outcome);
        calls.entry(call).or_default().push(access);
    }
    let rows = calls.iter().map(|((api, outcome), own)| {
        let secrets: BTreeSet<String> = own.iter().map(|access| secret(access)).collect();
        let sources: BTreeSet<_> = own.iter().map(|a| &a.head.source.ip).collect();
        let time = |access: Option<&&Access>| {
            access
                .map(|access| access.head.time.to_string())
                .unwrap_or_default()
        };
        [
            (*api).to_owned(),
            outcome.as_str().to_owned(),
            number(own.len() as u64),
            number(secrets.len() as u64),
            number(sources.len() as u64),
            time(own.first()),
            time(own.last()),
        ]
    });
    let rows: Vec<[String; 7]> = rows.collect();
    let header = [
        "CALL", "OUTCOME", "COUNT", "SECRETS", "SOURCES", "FIRST", "LAST",
    ];
    push_list(header, &rows, rows.len(), rows.len(), out);
}

/// The line of totals.
fn push_outcomes(accesses: &[Arc<Access>], principals: usize, secrets: usize, out: &mut String) {
    let mut outcomes: BTreeMap<CallOutcome, u64> = BTreeMap::new();
    for access in accesses {
        *outcomes.entry(access.head.outcome).or_default() += 1;
    }
    let [read, denied, failed] = [
        CallOutcome::Success,
        CallOutcome::Denied,
        CallOutcome::Failed,
    ]
    .map(|outcome| number(outcomes.get(&outcome).copied().unwrap_or(0)));
    let all = plural(accesses.len() as u64, "access");
    let secrets = plural(secrets as u64, "secret");
    let principals = plural(principals as u64, "principal");
    writeln!(
        out,
        "{all} to {secrets} by {principals}: {read} successful, {denied} denied, {failed} failed"
    )
    .ok();
}

/// First and last event time, and the numbers of accounts and regions.
fn push_span(accesses: &[Arc<Access>], out: &mut String) {
    let (Some(first), Some(last)) = (accesses.first(), accesses.last()) else {
        return;
    };
    let secrets = accesses.iter().map(|access| &access.secret);
    let accounts: BTreeSet<_> = secrets.clone().map(|secret| &secret.account).collect();
    let regions: BTreeSet<_> = secrets.map(|secret| &secret.region).collect();
    let (from, to) = (first.head.time, last.head.time);
    let accounts = plural(accounts.len() as u64, "account");
    let regions = plural(regions.len() as u64, "region");
    writeln!(out, "{from} to {to}, {accounts}, {regions}\n").ok();
}

fn principal(access: &Access) -> String {
    access
        .head
        .principal
        .id
        .as_deref()
        .map_or_else(|| "(principal unknown)".to_owned(), table::principal)
}

/// Account and name, without the region: replicas of a secret are one line.
fn secret(access: &Access) -> String {
    let name = access.secret.name.as_deref().unwrap_or("(name unknown)");
    format!("{} {name}", access.secret.account)
}

fn tally(
    accesses: &[Arc<Access>],
    of: fn(&Access) -> String,
    other: fn(&Access) -> String,
) -> BTreeMap<String, ReadTally> {
    let mut all: BTreeMap<String, ReadTally> = BTreeMap::new();
    for access in accesses {
        let tally = all.entry(of(access)).or_default();
        // Also for failed accesses: they still count for `others` and `last`.
        tally.counts.add(access.head.outcome);
        tally.others.insert(other(access));
        tally.last = tally.last.max(Some(access.head.time));
    }
    all
}

fn reads(tally: &ReadTally) -> u64 {
    tally.counts.reads
}

fn denied(tally: &ReadTally) -> u64 {
    tally.counts.denied
}

/// The top of a ranking; `others` and `title` are the headings of the columns that differ.
fn push_ranking(
    [others, title]: [&str; 2],
    all: &BTreeMap<String, ReadTally>,
    by: fn(&ReadTally) -> u64,
    top: usize,
    out: &mut String,
) {
    let ranked = ranked(all, by);
    let rows: Vec<[String; 5]> = ranked.iter().take(top).map(tally_row).collect();
    let header = ["SUCCESS", "DENIED", others, "LAST", title];
    push_list(header, &rows, ranked.len(), top, out);
}

/// The entries with a count, highest first, then by name: equal logs give equal screens.
fn ranked(
    all: &BTreeMap<String, ReadTally>,
    by: fn(&ReadTally) -> u64,
) -> Vec<(&String, &ReadTally)> {
    let mut ranked: Vec<_> = all.iter().filter(|(_, tally)| by(tally) > 0).collect();
    ranked.sort_by_key(|(name, tally)| (Reverse(by(tally)), *name));
    ranked
}

fn tally_row((name, tally): &(&String, &ReadTally)) -> [String; 5] {
    [
        number(tally.counts.reads),
        number(tally.counts.denied),
        number(tally.others.len() as u64),
        tally.last.map(|time| time.to_string()).unwrap_or_default(),
        (*name).clone(),
    ]
}

/// A table of rows, and the number of those beyond `top`; nothing without rows.
fn push_list<const N: usize>(
    header: [&str; N],
    rows: &[[String; N]],
    all: usize,
    top: usize,
    out: &mut String,
) {
    if rows.is_empty() {
        return;
    }
    out.push_str(&table::columns(header, rows));
    match all.checked_sub(top).filter(|more| *more > 0) {
        Some(more) => writeln!(out, "and {} more\n", number(more as u64)).ok(),
        None => writeln!(out).ok(),
    };
}

/// Lengths of a mark in seconds, and how they are called; longer ones are whole days.
const LENGTHS: [(i64, &str); 10] = [
    (60, "minute"),
    (5 * 60, "5 minutes"),
    (15 * 60, "15 minutes"),
    (30 * 60, "30 minutes"),
    (3_600, "hour"),
    (2 * 3_600, "2 hours"),
    (4 * 3_600, "4 hours"),
    (8 * 3_600, "8 hours"),
    (12 * 3_600, "12 hours"),
    (DAY, "day"),
];

/// Counts for each mark of a sparkline.
#[derive(Debug, PartialEq, Eq)]
struct SpanCounts {
    /// What a mark covers.
    unit: String,
    marks: Vec<OutcomeCounts>,
}

impl SpanCounts {
    fn of(accesses: &[Arc<Access>]) -> Self {
        // Ordered by time: the first and the last access give the span.
        let (first, last) = match (accesses.first(), accesses.last()) {
            (Some(first), Some(last)) => (first.head.time, last.head.time),
            _ => (EventTime(0), EventTime(0)),
        };
        let marks = |secs: i64| index(last, first.start_of(secs), secs) + 1;
        let short = LENGTHS.iter().find(|(secs, _)| marks(*secs) <= MARKS);
        let (secs, unit) = short.map_or_else(
            || {
                let days = i64::try_from(marks(DAY).div_ceil(MARKS)).unwrap_or(i64::MAX / DAY);
                (days * DAY, format!("{days} days"))
            },
            |(secs, unit)| (*secs, (*unit).to_owned()),
        );
        // Days are counted from the first one: marks of several days begin nowhere else.
        let start = first.start_of(secs.min(DAY));
        let mut marks = vec![OutcomeCounts::default(); index(last, start, secs) + 1];
        for access in accesses {
            if let Some(mark) = marks.get_mut(index(access.head.time, start, secs)) {
                mark.add(access.head.outcome);
            }
        }
        Self { unit, marks }
    }
}

/// Number of spans of `secs` seconds after a start.
fn index(time: EventTime, start: EventTime, secs: i64) -> usize {
    let spans = time.0.saturating_sub(start.0).div_euclid(secs);
    usize::try_from(spans).unwrap_or(0)
}

/// Two sparklines: successful and denied accesses over time.
fn push_marks(accesses: &[Arc<Access>], out: &mut String) {
    let SpanCounts { unit, marks } = SpanCounts::of(accesses);
    let reads: Vec<u64> = marks.iter().map(|mark| mark.reads).collect();
    let denied: Vec<u64> = marks.iter().map(|mark| mark.denied).collect();
    for (name, counts) in [("success", reads), ("denied", denied)] {
        // Each line has its own scale: a few denied accesses would vanish beside the others.
        let most = counts.iter().copied().max().unwrap_or(0);
        let line: String = counts.into_iter().map(|count| bar(count, most)).collect();
        let most = number(most);
        writeln!(out, "{name:<8}{line}  one mark per {unit}, highest {most}").ok();
    }
    out.push('\n');
}

/// A bar of the sparkline. Rounded up: a single access is visible beside a million.
fn bar(count: u64, most: u64) -> char {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let height = (count * 8).div_ceil(most.max(1));
    height
        .checked_sub(1)
        .and_then(|index| BARS.get(usize::try_from(index).ok()?))
        .copied()
        .unwrap_or('·')
}

/// First reads of a secret by a principal, newest first.
fn push_new_pairs(accesses: &[Arc<Access>], top: usize, out: &mut String) {
    // The newest may be part of an attack in progress.
    let new = new_pairs(accesses);
    let rows: Vec<[String; 3]> = new
        .iter()
        .rev()
        .take(top)
        .map(|a| [a.head.time.to_string(), principal(a), secret(a)])
        .collect();
    let header = ["FIRST READ", "PRINCIPAL", "SECRET"];
    push_list(header, &rows, new.len(), top, out);
}

/// First reads of a secret by a principal, in accounts whose logs reach back beyond the warm-up.
fn new_pairs(accesses: &[Arc<Access>]) -> Vec<&Access> {
    let accesses = accesses.iter().map(|access| &**access);
    let since = accesses.clone().map(|access| Sighting {
        key: since_key(&access.head.account),
        time: access.head.time,
    });
    let judge = NoveltyJudge::of(LookbackPeriods::default(), since, accesses.clone());
    accesses
        // Denied accesses revealed nothing; they are ranked above.
        .filter(|access| access.head.outcome == CallOutcome::Success)
        .filter(|access| judge.judge(access).principal_secret == Novelty::First)
        .collect()
}

/// Number of alerts of a rule, and the time of the last one.
struct RuleAlerts {
    count: u64,
    last: EventTime,
}

/// The alerts by rule, most severe first.
fn push_alerts(alerts: &[Alert], out: &mut String) {
    if alerts.is_empty() {
        out.push_str("no alerts\n");
        return;
    }
    let rows: Vec<[String; 4]> = by_rule(alerts)
        .into_iter()
        .map(|((Reverse(level), title), RuleAlerts { count, last })| {
            let level = level.as_str().to_owned();
            [number(count), level, last.to_string(), title.to_owned()]
        })
        .collect();
    out.push_str(&table::columns(["ALERTS", "LEVEL", "LAST", "RULE"], &rows));
}

fn by_rule(alerts: &[Alert]) -> BTreeMap<(Reverse<RuleLevel>, &str), RuleAlerts> {
    // By title: rules with the same title are shown as one.
    let mut rules: BTreeMap<(Reverse<RuleLevel>, &str), RuleAlerts> = BTreeMap::new();
    for alert in alerts {
        let key = (Reverse(alert.rule.level), alert.rule.title.as_str());
        let of_rule = rules.entry(key).or_insert(RuleAlerts {
            count: 0,
            last: alert.last(),
        });
        of_rule.count += 1;
        of_rule.last = of_rule.last.max(alert.last());
    }
    rules
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::commands::tests::{LOGS, POLICY, access, alert, ran, ran_with, rule};

    #[test]
    fn the_most_suspicious_incidents_come_first_and_json_has_the_same() {
        let args = ["summary", LOGS, "--policy", POLICY, "-q", "--top", "2"];
        let screen = ran(&args).out;
        let lines: Vec<&str> = screen.lines().collect();
        assert!(
            lines[0].starts_with("CRITICAL  role/search-app in 111122223333"),
            "{screen}"
        );
        assert!(screen.contains("\nand 3 incidents more;"), "{screen}");
        let json: Value =
            serde_json::from_str(&ran(&[&args[..], &["-f", "json"]].concat()).out).unwrap();
        assert_eq!(json["schema"], "secretrail.summary/1");
        assert_eq!(json["incidents"].as_array().unwrap().len(), 2);
        assert_eq!(json["incidents_total"], 5);
        let csv = ran(&[&args[..], &["-f", "csv"]].concat());
        assert_eq!(csv.code, crate::exit::USAGE, "{}", csv.err);
    }

    #[test]
    fn of_a_principal_each_call_is_shown() {
        let screen = ran(&["summary", LOGS, "-q", "--principal", "*web-frontend"]).out;
        let calls: Vec<&str> = screen
            .lines()
            .filter(|l| l.starts_with("GetSecretValue"))
            .collect();
        assert!(calls.iter().any(|line| line.contains("denied")), "{screen}");
        assert!(
            calls.iter().any(|line| line.contains("success")),
            "{screen}"
        );
    }

    /// An access on a day in March.
    fn on(day: u32, changes: &[(&str, Value)]) -> Arc<Access> {
        let time = format!("2026-03-{day:02}T10:00:00Z");
        access(&[&[("/time", json!(time))], changes].concat())
    }

    fn of(role: &str) -> (&'static str, Value) {
        let arn = format!("arn:aws:iam::111122223333:role/{role}");
        ("/principal/arn", json!(arn))
    }

    fn denied_read() -> (&'static str, Value) {
        ("/outcome", json!("denied"))
    }

    #[test]
    fn an_empty_ledger_is_reported_in_one_line() {
        let none = ran_with(
            &["summary", "-", "-q"],
            r#"{"Records":[{"eventSource":
            "ec2.amazonaws.com","eventName":"RunInstances","eventTime":"2026-03-02T10:00:00Z"}]}"#,
        );
        assert_eq!(
            none.out, "no accesses to secrets in these logs\n",
            "{}",
            none.err
        );
    }

    #[test]
    fn the_most_come_first_and_names_decide_between_equals() {
        let accesses = [
            on(2, &[of("b")]),
            on(2, &[of("a")]),
            on(3, &[of("c")]),
            on(4, &[of("c")]),
            on(4, &[of("z"), denied_read()]),
        ];
        let tallies = tally(&accesses, principal, secret);
        let by_reads = ranked(&tallies, reads);
        let names: Vec<&str> = by_reads
            .iter()
            .filter_map(|(name, _)| name.rsplit('/').next())
            .collect();
        assert_eq!(names, ["c", "a", "b"]);
        assert_eq!(ranked(&tallies, denied).len(), 1);
        let row = tally_row(&by_reads[0]);
        assert_eq!(row[..4], ["2", "0", "1", "2026-03-04T10:00:00Z"]);
    }

    #[test]
    fn a_mark_is_as_long_as_the_span_asks_for() {
        let at = |time: &str| access(&[("/time", json!(time))]);
        let day = SpanCounts::of(&[at("2026-03-02T00:00:30Z"), at("2026-03-02T23:59:30Z")]);
        assert_eq!((&*day.unit, day.marks.len()), ("30 minutes", 48));
        let one = SpanCounts::of(&[at("2026-03-02T10:00:30Z")]);
        assert_eq!((&*one.unit, one.marks.len()), ("minute", 1));
        let month = SpanCounts::of(&[on(2, &[]), on(31, &[denied_read()])]);
        assert_eq!((&*month.unit, month.marks.len()), ("12 hours", 59));
        assert_eq!((month.marks[0].reads, month.marks[58].denied), (1, 1));
        let long = SpanCounts::of(&[on(2, &[]), at("2026-06-30T10:00:00Z")]);
        assert_eq!(long.unit, "3 days");
        assert_eq!(long.marks.last().map(|mark| mark.reads), Some(1));
        assert!(long.marks.len() <= MARKS);
    }

    #[test]
    fn a_bar_is_seen_wherever_there_is_something() {
        let bars = [0, 1, 500, 1_000].map(|count| bar(count, 1_000));
        assert_eq!(bars, ['·', '▁', '▄', '█']);
        assert_eq!(bar(0, 0), '·');
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let row = [["x".to_owned()]];
        let mut out = String::new();
        push_list(["A"], &row, 1, 1, &mut out);
        push_list(["A"], &row, 1_001, 1, &mut out);
        push_list(["A"], &[], 0, 1, &mut out);
        assert_eq!(out, "A\nx\n\nA\nx\nand 1,000 more\n\n");
    }

    #[test]
    fn the_most_serious_rules_come_first_with_their_last_alert() {
        let (high, mut low) = ((*rule("h", "High")).clone(), (*rule("l", "A low")).clone());
        low.level = RuleLevel::Low;
        let (high, low) = (Arc::new(high), Arc::new(low));
        let mut alerts = [alert(&low, "a"), alert(&high, "b"), alert(&high, "c")];
        alerts[1].time = EventTime(60);
        let mut out = String::new();
        push_alerts(&alerts, &mut out);
        let lines: Vec<Vec<&str>> = out.lines().map(|l| l.split("  ").collect()).collect();
        assert_eq!(lines[1][0].trim(), "2");
        assert!(out.lines().nth(1).unwrap().contains("1970-01-01T00:01:00Z"));
        assert!(out.lines().nth(2).unwrap().ends_with("A low"));
        push_alerts(&[], &mut out);
        assert!(out.ends_with("no alerts\n"));
    }

    #[test]
    fn a_pair_is_new_only_where_logs_go_back_far_enough_and_it_was_read() {
        let old = on(1, &[of("old")]);
        let new = on(20, &[of("new")]);
        let refused = on(20, &[of("refused"), denied_read()]);
        let mut out = String::new();
        push_new_pairs(&[Arc::clone(&old), new, refused], 5, &mut out);
        assert!(out.contains("role/new"), "{out}");
        assert!(!out.contains("role/old") && !out.contains("role/refused"));
        let mut out = String::new();
        push_new_pairs(&[old], 5, &mut out);
        assert_eq!(out, "");
    }
}
