//! `replay -f html`: one file that a browser opens without a network, for whoever must be told.
//!
//! The page draws itself from its data: the ledger in columns, alerts that refer to its rows, gaps, and what could not be
//! read. Every text is made harmless here and set as text there; a Content-Security-Policy lets nothing but the script and
//! the style of this build run (<https://www.w3.org/TR/CSP3/>).

use ahash::{HashMap, HashMapExt};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secretrail_engine::access::{Access, DecryptStatus};
use secretrail_engine::alert::Alert;
use secretrail_engine::neutral;
use secretrail_engine::observation::Outcome;
use secretrail_engine::rule_meta::RuleMeta;
use secretrail_engine::seen::{Judge, Memory, Novelty, Sighting, since_key};
use secretrail_engine::time::EventTime;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::host::Failure;
use crate::input::session::Found;
use crate::output::gaps;
use crate::output::run_summary;

const PAGE: &str = include_str!("report/page.html");
const STYLES: [&str; 2] = [
    include_str!("report/vendor/uPlot.min.css"),
    include_str!("report/page.css"),
];
const SCRIPTS: [&str; 3] = [
    include_str!("report/before.js"),
    include_str!("report/vendor/uPlot.iife.min.js"),
    include_str!("report/page.js"),
];

/// Characters of a text beyond which it is cut: CloudTrail cuts at 1 KB, and other texts are names.
const MAX_CHARS: usize = 1024;

/// What the report says of the run.
pub(crate) struct About<'a> {
    /// What was read.
    pub(crate) paths: Vec<String>,
    /// Rules that can raise alerts.
    pub(crate) rules: usize,
    /// Whether there was an access policy.
    pub(crate) policy: bool,
    /// What is new, and what is known.
    pub(crate) memory: Memory,
    /// When the report was made.
    pub(crate) now: EventTime,
    /// What was found.
    pub(crate) found: &'a Found,
}

/// The whole page.
///
/// # Errors
///
/// [`Failure::Internal`]: a fault of ours.
pub(crate) fn page(about: &About<'_>) -> Result<String, Failure> {
    let data = serde_json::to_string(&Data::of(about))
        .map_err(|error| Failure::Internal(error.to_string()))?;
    // Inside of a script element, only `<` can end it; U+2028 and U+2029 have been made harmless.
    let data = data.replace('<', "\\u003c");
    let (style, script) = (STYLES.concat(), SCRIPTS.concat());
    let csp = format!(
        "default-src 'none'; script-src {}; style-src {}; base-uri 'none'; form-action 'none'",
        allowed(&script),
        allowed(&style)
    );
    let mut page = String::with_capacity(PAGE.len() + data.len() + style.len() + script.len());
    let mut rest = PAGE;
    for (mark, text) in [
        ("<!--CSP-->", &csp),
        ("<!--STYLE-->", &style),
        ("<!--DATA-->", &data),
        ("<!--SCRIPT-->", &script),
    ] {
        let (before, after) = rest
            .split_once(mark)
            .ok_or_else(|| Failure::Internal(format!("no {mark} in the page")))?;
        page.push_str(before);
        page.push_str(text);
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}

/// The source expression that allows exactly this text.
fn allowed(text: &str) -> String {
    format!(
        "'sha256-{}'",
        STANDARD.encode(Sha256::digest(text.as_bytes()))
    )
}

#[derive(Serialize)]
struct Data {
    meta: Meta,
    /// Every text once; the columns refer to them by index, -1 for none.
    texts: Vec<String>,
    accesses: Columns,
    rules: Vec<Rule>,
    alerts: Vec<AlertRow>,
    gaps: Vec<GapRow>,
    unread: Vec<Unread>,
    passed: Vec<Passed>,
}

#[derive(Serialize)]
struct Meta {
    made: i64,
    version: &'static str,
    paths: Vec<String>,
    files: u64,
    records: u64,
    rules: usize,
    policy: bool,
    /// Whether any account's logs go back far enough to call something new.
    learned: bool,
}

/// The ledger, in its order, one list for each column.
#[derive(Default, Serialize)]
struct Columns {
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
    outcome: Vec<u8>,
    denied: Vec<i32>,
    error: Vec<i32>,
    decrypt: Vec<u8>,
    decrypted: Vec<Option<String>>,
    kms: Vec<i32>,
    object: Vec<i32>,
    /// 1 where principal and secret were new to each other.
    first: Vec<u8>,
}

#[derive(Serialize)]
struct Rule {
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
    /// Index into the rules.
    rule: usize,
    time: i64,
    start: Option<i64>,
    count: Option<u64>,
    summary: String,
    principal: Option<String>,
    secrets: Vec<String>,
    secrets_total: usize,
    /// Rows of the ledger.
    rows: Vec<usize>,
    accesses_total: usize,
}

#[derive(Serialize)]
struct GapRow {
    from: i64,
    to: i64,
    account: String,
    region: String,
    what: String,
}

#[derive(Serialize)]
struct Unread {
    name: String,
    message: String,
}

#[derive(Serialize)]
struct Passed {
    count: u64,
    reason: String,
}

/// A text as the page may have it.
fn harmless(text: &str) -> String {
    let text = neutral::line(text);
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.into_owned(),
    }
}

/// Texts by their index.
#[derive(Default)]
struct Texts<'t> {
    known: HashMap<&'t str, i32>,
    all: Vec<String>,
}

impl<'t> Texts<'t> {
    fn index(&mut self, text: Option<&'t str>) -> i32 {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return -1;
        };
        *self.known.entry(text).or_insert_with(|| {
            self.all.push(harmless(text));
            i32::try_from(self.all.len() - 1).unwrap_or(-1)
        })
    }
}

impl Data {
    fn of(about: &About<'_>) -> Self {
        let Found {
            accesses,
            alerts,
            report,
            problems,
            ..
        } = about.found;
        let since = accesses.iter().map(|access| Sighting {
            key: since_key(&access.head.account),
            time: access.head.time,
        });
        let judge = Judge::of(about.memory, since, accesses.iter().map(|access| &**access));
        let mut texts = Texts::default();
        let mut columns = Columns::default();
        let mut rows = HashMap::with_capacity(accesses.len());
        let mut earliest = HashMap::new();
        let mut learned = false;
        for (row, access) in accesses.iter().enumerate() {
            let novelty = judge.judge(access).principal_secret;
            let since = *earliest
                .entry(&access.head.account)
                .or_insert(access.head.time);
            learned |= access.head.time.0.saturating_sub(since.0) >= about.memory.learning_secs;
            columns.push(
                access,
                novelty == Novelty::First && access.head.outcome == Outcome::Success,
                &mut texts,
            );
            rows.entry(access.fact_key()).or_insert(row);
        }
        let mut rules = Vec::new();
        let mut rule_rows: HashMap<&str, usize> = HashMap::new();
        let mut shown = Vec::with_capacity(alerts.len());
        for alert in alerts {
            let rule = *rule_rows.entry(&alert.rule.id).or_insert_with(|| {
                rules.push(Rule::of(&alert.rule));
                rules.len() - 1
            });
            let rows = alert
                .accesses
                .iter()
                .filter_map(|access| rows.get(&access.fact_key()).copied())
                .collect();
            shown.push(AlertRow::of(alert, rule, rows));
        }
        Self {
            meta: Meta {
                made: about.now.0,
                version: env!("CARGO_PKG_VERSION"),
                paths: about.paths.iter().map(|path| harmless(path)).collect(),
                files: report.objects,
                records: report.records,
                rules: about.rules,
                policy: about.policy,
                learned,
            },
            texts: texts.all,
            accesses: columns,
            rules,
            alerts: shown,
            gaps: gaps::lines(about.found).iter().map(GapRow::of).collect(),
            unread: problems
                .iter()
                .map(|problem| Unread {
                    name: harmless(&problem.name),
                    message: harmless(&problem.message),
                })
                .collect(),
            passed: run_summary::passed_over(report)
                .into_iter()
                .map(|(count, reason)| Passed { count, reason })
                .collect(),
        }
    }
}

impl Columns {
    fn push<'a>(&mut self, access: &'a Access, first: bool, texts: &mut Texts<'a>) {
        let Access {
            head,
            secret,
            decrypt,
            method,
            ..
        } = access;
        let principal = &head.principal;
        self.time.push(head.time.0);
        self.event.push(harmless(&head.event_id));
        self.api.push(texts.index(Some(&head.api)));
        self.method.push(texts.index(Some(method.as_str())));
        self.account.push(texts.index(Some(&head.account)));
        self.region.push(texts.index(Some(&head.region)));
        self.secret.push(texts.index(secret.name.as_deref()));
        self.arn.push(texts.index(secret.arn.as_deref()));
        self.principal.push(texts.index(principal.id.as_deref()));
        self.actor.push(texts.index(principal.actor.as_deref()));
        self.key.push(texts.index(head.access_key_id.as_deref()));
        self.ip.push(texts.index(head.source.ip.as_deref()));
        self.agent
            .push(texts.index(head.source.user_agent.as_deref()));
        self.outcome.push(match head.outcome {
            Outcome::Success => 0,
            Outcome::Denied => 1,
            Outcome::Failed => 2,
        });
        self.denied.push(texts.index(head.denied_by.as_deref()));
        self.error.push(texts.index(head.error_code.as_deref()));
        self.decrypt.push(match decrypt.status {
            DecryptStatus::Paired => 0,
            DecryptStatus::Absent => 1,
            DecryptStatus::Unknown => 2,
            DecryptStatus::Pending => 3,
            DecryptStatus::NotExpected => 4,
        });
        self.decrypted
            .push(decrypt.event_id.as_deref().map(harmless));
        self.kms.push(texts.index(decrypt.key_arn.as_deref()));
        self.object.push(texts.index(Some(&head.object)));
        self.first.push(u8::from(first));
    }
}

impl Rule {
    fn of(meta: &RuleMeta) -> Self {
        let all = |texts: &[String]| texts.iter().map(|text| harmless(text)).collect();
        Self {
            id: harmless(&meta.id),
            title: harmless(&meta.title),
            level: meta.level.as_str(),
            tags: all(&meta.tags),
            false_positives: all(&meta.false_positives),
            references: all(&meta.references),
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
            start: alert.firing.as_ref().map(|firing| firing.start.0),
            count: alert.firing.as_ref().map(|firing| firing.count),
            summary: harmless(&alert.summary),
            principal: alert.principal.as_deref().map(harmless),
            secrets: alert
                .secrets
                .iter()
                .map(|secret| harmless(secret))
                .collect(),
            secrets_total: alert.secrets_total,
            rows,
            accesses_total: alert.accesses_total,
        }
    }
}

impl GapRow {
    fn of(line: &gaps::Line) -> Self {
        let gaps::Line {
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
