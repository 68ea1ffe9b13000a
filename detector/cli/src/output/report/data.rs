//! The data of the report, in the form that its script (`page.js`) reads.

use std::sync::Arc;

use ahash::{HashMap, HashMapExt};
use secretrail_engine::{
    access::{Access, DecryptStatus},
    alert::Alert,
    ids::SharedStr,
    observation::{CallOutcome, EventHeader},
    rule_meta::RuleMeta,
    sanitize,
    seen::{LookbackPeriods, Novelty, NoveltyJudge, Sighting, since_key},
};
use serde::Serialize;

use super::ReportAbout;
use crate::{
    input::{object::InputProblem, session::SessionResult},
    output::{ending::RunReading, gaps, run_summary},
};

/// Longest text in characters; longer ones are truncated. CloudTrail itself truncates at 1 KB.
const MAX_CHARS: usize = 1024;

/// The data of the page; `page.js` uses these field names.
#[derive(Serialize)]
pub(super) struct ReportData {
    meta: ReportMeta,
    /// Every distinct text; columns refer to them by index, -1 for none.
    texts: Vec<String>,
    accesses: LedgerColumns,
    rules: Vec<ReportRule>,
    alerts: Vec<AlertRow>,
    gaps: Vec<GapTableRow>,
    unread: Vec<UnreadObject>,
    skipped: Vec<SkippedFiles>,
}

#[derive(Serialize)]
struct ReportMeta {
    made: i64,
    version: &'static str,
    paths: Vec<String>,
    files: u64,
    records: u64,
    rules: usize,
    policy: bool,
    /// Whether the logs of any account reach back beyond the warm-up.
    learned: bool,
    /// Whether no record of the selection was read.
    nothing: bool,
}

/// The ledger in its own order, as one list for each column.
#[derive(Default, Serialize)]
struct LedgerColumns {
    time: Vec<i64>,
    event: Vec<String>,
    api: Vec<i32>,
    method: Vec<i32>,
    account: Vec<i32>,
    region: Vec<i32>,
    secret: Vec<i32>,
    arn: Vec<i32>,
    principal: Vec<i32>,
    actor: Vec<i32>,
    key: Vec<i32>,
    ip: Vec<i32>,
    agent: Vec<i32>,
    country: Vec<i32>,
    org: Vec<i32>,
    outcome: Vec<u8>,
    denied: Vec<i32>,
    error: Vec<i32>,
    decrypt: Vec<u8>,
    decrypted: Vec<Option<String>>,
    kms: Vec<i32>,
    object: Vec<i32>,
    /// 1 for the first read of the secret by the principal.
    first: Vec<u8>,
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

/// Distinct texts and their indices.
#[derive(Default)]
struct TextTable<'t> {
    known: HashMap<&'t str, i32>,
    all: Vec<String>,
}

impl<'t> TextTable<'t> {
    fn index(&mut self, text: Option<&'t str>) -> i32 {
        // The page shows an empty text like a missing one.
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return -1;
        };
        *self.known.entry(text).or_insert_with(|| {
            self.all.push(harmless(text));
            i32::try_from(self.all.len() - 1).unwrap_or(-1)
        })
    }
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
        let ledger = ReportLedger::of(accesses, about.lookback);
        let (rules, alerts) = alert_rows(alerts, &ledger.rows);
        Self {
            meta: ReportMeta {
                made: about.now.0,
                version: env!("CARGO_PKG_VERSION"),
                paths: about.paths.iter().map(|path| harmless(path)).collect(),
                files: report.objects,
                records: report.records,
                rules: about.rules,
                policy: about.policy,
                learned: ledger.learned,
                nothing: RunReading::of(about.found, about.selection).is_nothing(),
            },
            texts: ledger.texts.all,
            accesses: ledger.columns,
            rules,
            alerts,
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

/// The accesses as columns, and the row of each access.
struct ReportLedger<'a> {
    columns: LedgerColumns,
    texts: TextTable<'a>,
    /// Rows by fact key, by which alerts refer to accesses.
    rows: HashMap<SharedStr, usize>,
    /// Whether the logs of any account reach back beyond the warm-up.
    learned: bool,
}

impl<'a> ReportLedger<'a> {
    fn of(accesses: &'a [Arc<Access>], lookback: LookbackPeriods) -> Self {
        let since = accesses.iter().map(|access| Sighting {
            key: since_key(&access.head.account),
            time: access.head.time,
        });
        let judge = NoveltyJudge::of(lookback, since, accesses.iter().map(|access| &**access));
        let mut ledger = Self {
            columns: LedgerColumns::default(),
            texts: TextTable::default(),
            rows: HashMap::with_capacity(accesses.len()),
            learned: false,
        };
        let mut earliest = HashMap::new();
        for (row, access) in accesses.iter().enumerate() {
            let head = &access.head;
            // The ledger is ordered by time: the first access of an account is its earliest.
            let since = *earliest.entry(&head.account).or_insert(head.time);
            ledger.learned |= head.time.0.saturating_sub(since.0) >= lookback.warm_up_secs;
            // A denied read of a secret does not make the principal a reader.
            let first = judge.judge(access).principal_secret == Novelty::First
                && head.outcome == CallOutcome::Success;
            ledger.columns.push(access, first, &mut ledger.texts);
            ledger.rows.entry(access.fact_key()).or_insert(row);
        }
        ledger
    }
}

/// The alerts, and the distinct rules that they refer to.
fn alert_rows(
    alerts: &[Alert],
    ledger: &HashMap<SharedStr, usize>,
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
        shown.push(AlertRow::of(alert, rule, rows));
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

impl LedgerColumns {
    fn push<'a>(&mut self, access: &'a Access, first: bool, texts: &mut TextTable<'a>) {
        self.time.push(access.head.time.0);
        self.event.push(harmless(&access.head.event_id));
        self.outcome.push(outcome_code(access.head.outcome));
        self.decrypt.push(decrypt_code(access.decrypt.status));
        self.decrypted
            .push(access.decrypt.event_id.as_deref().map(harmless));
        self.first.push(u8::from(first));
        self.push_call(access, texts);
        self.push_caller(&access.head, texts);
        self.push_result(access, texts);
    }

    // Indices follow the order in which texts are first pushed: keep the order of the columns
    // below, so that equal runs give equal pages.

    fn push_call<'a>(&mut self, access: &'a Access, texts: &mut TextTable<'a>) {
        let (head, secret) = (&access.head, &access.secret);
        self.api.push(texts.index(Some(&head.api)));
        self.method.push(texts.index(Some(access.method.as_str())));
        self.account.push(texts.index(Some(&head.account)));
        self.region.push(texts.index(Some(&head.region)));
        self.secret.push(texts.index(secret.name.as_deref()));
        self.arn.push(texts.index(secret.arn.as_deref()));
    }

    fn push_caller<'a>(&mut self, head: &'a EventHeader, texts: &mut TextTable<'a>) {
        let (principal, source) = (&head.principal, &head.source);
        self.principal.push(texts.index(principal.id.as_deref()));
        self.actor.push(texts.index(principal.actor.as_deref()));
        self.key.push(texts.index(head.access_key_id.as_deref()));
        self.ip.push(texts.index(source.ip.as_deref()));
        self.agent.push(texts.index(source.user_agent.as_deref()));
        let geo = &source.geo;
        self.country.push(texts.index(geo.country.as_deref()));
        self.org.push(texts.index(geo.as_org.as_deref()));
    }

    fn push_result<'a>(&mut self, access: &'a Access, texts: &mut TextTable<'a>) {
        let (head, decrypt) = (&access.head, &access.decrypt);
        self.denied.push(texts.index(head.denied_by.as_deref()));
        self.error.push(texts.index(head.error_code.as_deref()));
        self.kms.push(texts.index(decrypt.key_arn.as_deref()));
        self.object.push(texts.index(Some(&head.object)));
    }
}

/// The code of an outcome in page.js.
fn outcome_code(outcome: CallOutcome) -> u8 {
    match outcome {
        CallOutcome::Success => 0,
        CallOutcome::Denied => 1,
        CallOutcome::Failed => 2,
    }
}

/// The code of a decrypt status in page.js.
fn decrypt_code(status: DecryptStatus) -> u8 {
    match status {
        DecryptStatus::Paired => 0,
        DecryptStatus::Absent => 1,
        DecryptStatus::Unknown => 2,
        DecryptStatus::Pending => 3,
        DecryptStatus::NotExpected => 4,
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
    fn of(alert: &Alert, rule: usize, rows: Vec<usize>) -> Self {
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

/// A text, sanitised and truncated for the page.
fn harmless(text: &str) -> String {
    let text = sanitize::line(text);
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.into_owned(),
    }
}

fn all_harmless(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| harmless(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once_and_nothing_is_minus_one() {
        let mut texts = TextTable::default();
        let indices = [Some("a"), None, Some(""), Some("b"), Some("a")].map(|t| texts.index(t));
        assert_eq!(indices, [0, -1, -1, 1, 0]);
        assert_eq!(texts.all, ["a", "b"]);
    }

    #[test]
    fn a_long_text_is_truncated_between_characters() {
        let text = harmless(&"é".repeat(MAX_CHARS + 1));
        assert_eq!(text.chars().count(), MAX_CHARS + 1);
        assert!(text.ends_with("é…"));
        assert_eq!(harmless(&"é".repeat(MAX_CHARS)).chars().count(), MAX_CHARS);
    }

    #[test]
    fn a_text_from_a_log_cannot_steer_a_terminal_or_a_page() {
        assert!(!harmless("a\u{1b}[31mb\u{2028}c").contains(['\u{1b}', '\u{2028}']));
    }
}
