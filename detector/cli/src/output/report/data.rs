//! The data of the report, in the form that its script (`page.js`) reads.

use ahash::{HashMap, HashMapExt};
use secretrail_engine::{alert::Alert, ids::SharedStr, rule_meta::RuleMeta};
use serde::Serialize;

use super::{
    ReportAbout,
    incidents::{IncidentCard, cards},
    ledger::{LedgerColumns, ReportLedger, TextTable, all_harmless, harmless},
    records::EmbeddedRecord,
};
use crate::{
    input::{object::InputProblem, session::SessionResult},
    output::{ending::RunReading, gaps, run_summary},
};

/// The data of the page; `page.js` uses these field names.
#[derive(Serialize)]
pub(super) struct ReportData {
    meta: ReportMeta,
    /// Every distinct text; columns refer to them by index, -1 for none.
    texts: Vec<String>,
    accesses: LedgerColumns,
    rules: Vec<ReportRule>,
    alerts: Vec<AlertRow>,
    /// The most suspicious first.
    incidents: Vec<IncidentCard>,
    records: Vec<EmbeddedRecord>,
    gaps: Vec<GapTableRow>,
    unread: Vec<UnreadObject>,
    skipped: Vec<SkippedFiles>,
}

#[derive(Serialize)]
struct ReportMeta {
    made: i64,
    version: &'static str,
    paths: Vec<String>,
    /// Options of `explain` that give the same alerts.
    options: Vec<String>,
    files: u64,
    records: u64,
    rules: usize,
    policy: bool,
    /// Whether the logs of any account reach back beyond the warm-up.
    learned: bool,
    /// Whether no record of the selection was read.
    nothing: bool,
}

#[derive(Serialize)]
struct ReportRule {
    id: String,
    title: String,
    level: &'static str,
    tags: Vec<String>,
    false_positives: Vec<String>,
    references: Vec<String>,
    file: String,
}

#[derive(Serialize)]
struct AlertRow {
    id: String,
    /// Index into `rules`.
    rule: usize,
    time: i64,
    start: Option<i64>,
    count: Option<u64>,
    summary: String,
    principal: Option<String>,
    secrets: Vec<String>,
    secrets_total: usize,
    /// Indices of the accesses in the ledger.
    rows: Vec<usize>,
    accesses_total: usize,
    /// Its events, where it has no access.
    events: Vec<AlertEventRow>,
}

#[derive(Serialize)]
struct AlertEventRow {
    id: String,
    time: i64,
    /// Index into `texts`.
    object: i32,
}

#[derive(Serialize)]
struct GapTableRow {
    from: i64,
    to: i64,
    account: String,
    region: String,
    what: String,
}

#[derive(Serialize)]
struct UnreadObject {
    name: String,
    message: String,
}

#[derive(Serialize)]
struct SkippedFiles {
    count: u64,
    reason: String,
}

impl ReportData {
    /// The data about a run.
    pub(super) fn of(about: &ReportAbout<'_>) -> Self {
        let SessionResult {
            accesses,
            alerts,
            report,
            problems,
            ..
        } = about.found;
        let mut ledger = ReportLedger::of(accesses, about.lookback, about.policy);
        let texts = &mut ledger.texts;
        let incidents = cards(about.incidents, alerts, about.now, texts);
        let (rules, alerts) = alert_rows(alerts, &ledger.rows, texts);
        Self {
            meta: ReportMeta {
                made: about.now.0,
                version: env!("CARGO_PKG_VERSION"),
                paths: all_harmless(&about.paths),
                options: all_harmless(&about.options),
                files: report.objects,
                records: report.records,
                rules: about.rules,
                policy: about.policy.is_some(),
                learned: ledger.learned,
                nothing: RunReading::of(about.found, about.selection).is_nothing(),
            },
            texts: ledger.texts.all,
            accesses: ledger.columns,
            rules,
            alerts,
            incidents,
            records: about.records.iter().map(EmbeddedRecord::of).collect(),
            gaps: gaps::lines(about.found, about.selection)
                .iter()
                .map(GapTableRow::of)
                .collect(),
            unread: problems.iter().map(UnreadObject::of).collect(),
            skipped: run_summary::skipped(report)
                .into_iter()
                .map(|(count, reason)| SkippedFiles { count, reason })
                .collect(),
        }
    }
}

/// The alerts, and the distinct rules that they refer to.
fn alert_rows<'a>(
    alerts: &'a [Alert],
    ledger: &HashMap<SharedStr, usize>,
    texts: &mut TextTable<'a>,
) -> (Vec<ReportRule>, Vec<AlertRow>) {
    let mut rules = Vec::new();
    let mut by_id: HashMap<&str, usize> = HashMap::new();
    let mut shown = Vec::with_capacity(alerts.len());
    for alert in alerts {
        let rule = *by_id.entry(&alert.rule.id).or_insert_with(|| {
            rules.push(ReportRule::of(&alert.rule));
            rules.len() - 1
        });
        let rows = alert
            .accesses
            .iter()
            .filter_map(|access| ledger.get(&access.fact_key()).copied())
            .collect();
        shown.push(AlertRow::of(alert, rule, rows, texts));
    }
    (rules, shown)
}

impl UnreadObject {
    fn of(problem: &InputProblem) -> Self {
        Self {
            name: harmless(&problem.name),
            message: harmless(&problem.message),
        }
    }
}

impl ReportRule {
    fn of(meta: &RuleMeta) -> Self {
        Self {
            id: harmless(&meta.id),
            title: harmless(&meta.title),
            level: meta.level.as_str(),
            tags: all_harmless(&meta.tags),
            false_positives: all_harmless(&meta.false_positives),
            references: all_harmless(&meta.references),
            file: harmless(&meta.file),
        }
    }
}

impl AlertRow {
    fn of<'a>(alert: &'a Alert, rule: usize, rows: Vec<usize>, texts: &mut TextTable<'a>) -> Self {
        let events = alert.events.iter().filter(|_| rows.is_empty());
        let events = events.map(|event| AlertEventRow {
            id: harmless(&event.id),
            time: event.time.0,
            object: texts.index(Some(&event.object)),
        });
        let events = events.collect();
        Self {
            id: alert.id.0.to_string(),
            rule,
            time: alert.time.0,
            start: alert
                .window_match
                .as_ref()
                .map(|window_match| window_match.start.0),
            count: alert
                .window_match
                .as_ref()
                .map(|window_match| window_match.count),
            summary: harmless(&alert.summary),
            principal: alert.principal.as_deref().map(harmless),
            secrets: alert.secrets.iter().map(|name| harmless(name)).collect(),
            secrets_total: alert.secrets_total,
            rows,
            accesses_total: alert.accesses_total,
            events,
        }
    }
}

impl GapTableRow {
    fn of(line: &gaps::GapLine) -> Self {
        let gaps::GapLine {
            account,
            region,
            from,
            to,
            what,
            ..
        } = line;
        Self {
            from: from.0,
            to: to.0,
            account: harmless(account),
            region: harmless(region),
            what: harmless(what),
        }
    }
}
