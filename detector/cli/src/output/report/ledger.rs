//! The ledger of the report as columns, and the texts that they refer to.

use std::{borrow::Cow, sync::Arc};

use ahash::{HashMap, HashMapExt};
use secretrail_engine::{
    access::{Access, DecryptStatus},
    client::ClientProgram,
    ids::SharedStr,
    observation::{CallOutcome, EventHeader},
    policy::{AccessPolicy, Expectation, PolicyVerdict},
    sanitize,
    seen::{LookbackPeriods, Novelty, NoveltyJudge, SeenVerdicts, Sighting, since_key},
};
use serde::{Serialize, Serializer};

/// Longest text in characters; longer ones are truncated. CloudTrail itself truncates at 1 KB.
const MAX_CHARS: usize = 1024;

/// The ledger in its own order, as one list for each column.
#[derive(Default, Serialize)]
pub(super) struct LedgerColumns {
    time: Vec<i64>,
    event: Vec<String>,
    api: Column<i32>,
    method: Column<i32>,
    account: Column<i32>,
    region: Column<i32>,
    secret: Column<i32>,
    arn: Column<i32>,
    principal: Column<i32>,
    actor: Column<i32>,
    key: Column<i32>,
    ip: Column<i32>,
    agent: Column<i32>,
    country: Column<i32>,
    org: Column<i32>,
    outcome: Column<u8>,
    denied: Column<i32>,
    error: Column<i32>,
    decrypt: Column<u8>,
    decrypted: Vec<Option<String>>,
    kms: Column<i32>,
    object: Column<i32>,
    marks: RowMarks,
    /// Pairs of user agents and the programs behind them.
    programs: Vec<(i32, i32)>,
}

/// The values of a column; in JSON one value, if all are the same.
#[derive(Debug, Default)]
struct Column<T>(Vec<T>);

impl<T> Column<T> {
    fn push(&mut self, value: T) {
        self.0.push(value);
    }
}

impl<T: PartialEq + Serialize> Serialize for Column<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.first() {
            Some(first) if self.0.iter().all(|value| value == first) => first.serialize(serializer),
            _ => self.0.serialize(serializer),
        }
    }
}

/// What is new or outside the policy, for the few rows of which that is so.
#[derive(Default, Serialize)]
struct RowMarks {
    row: Vec<usize>,
    /// Sum of [`NEW_SECRET`] and the others.
    new: Vec<u8>,
    /// Sum of [`OUTSIDE_PRINCIPAL`] and the others.
    outside: Vec<u8>,
}

/// The first read of the secret by the principal.
const NEW_SECRET: u8 = 1;
/// A network that is new to the principal, or a country or provider.
const NEW_SOURCE: u8 = 2;
/// A region that is new to the account of the secret.
const NEW_REGION: u8 = 4;
/// A program that is new to the principal.
const NEW_CLIENT: u8 = 8;

/// The policy does not name the principal.
const OUTSIDE_PRINCIPAL: u8 = 1;
/// It does not allow the source.
const OUTSIDE_SOURCE: u8 = 2;
/// It does not allow the region.
const OUTSIDE_REGION: u8 = 4;
/// It does not allow the KMS key.
const OUTSIDE_KEY: u8 = 8;
/// The secret is a decoy.
const DECOY: u8 = 16;

/// Distinct texts and their indices.
#[derive(Default)]
pub(super) struct TextTable<'t> {
    known: HashMap<Cow<'t, str>, i32>,
    pub(super) all: Vec<String>,
}

impl<'t> TextTable<'t> {
    /// The index of a text; -1 for none.
    pub(super) fn index(&mut self, text: Option<&'t str>) -> i32 {
        self.insert(text.unwrap_or_default().into())
    }

    /// The index of a text that nothing else holds.
    pub(super) fn own(&mut self, text: String) -> i32 {
        self.insert(text.into())
    }

    fn insert(&mut self, text: Cow<'t, str>) -> i32 {
        // The page shows an empty text like a missing one.
        if text.is_empty() {
            return -1;
        }
        if let Some(known) = self.known.get(&text) {
            return *known;
        }
        let index = i32::try_from(self.all.len()).unwrap_or(-1);
        self.all.push(harmless(&text));
        self.known.insert(text, index);
        index
    }
}

/// The accesses as columns, and the row of each access.
pub(super) struct ReportLedger<'a> {
    pub(super) columns: LedgerColumns,
    pub(super) texts: TextTable<'a>,
    /// Rows by fact key, by which alerts refer to accesses.
    pub(super) rows: HashMap<SharedStr, usize>,
    /// Whether the logs of any account reach back beyond the warm-up.
    pub(super) learned: bool,
}

impl<'a> ReportLedger<'a> {
    pub(super) fn of(
        accesses: &'a [Arc<Access>],
        lookback: LookbackPeriods,
        policy: Option<&AccessPolicy>,
    ) -> Self {
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
            let new = novelties(&judge.judge(access), head.outcome);
            let outside = policy.map_or(0, |policy| refusals(&policy.judge(access)));
            ledger.columns.push(access, &mut ledger.texts);
            ledger.columns.marks.push(row, new, outside);
            ledger.rows.entry(access.fact_key()).or_insert(row);
        }
        ledger.columns.name_programs(accesses, &mut ledger.texts);
        ledger
    }
}

/// What is new about an access, as a sum.
fn novelties(seen: &SeenVerdicts, outcome: CallOutcome) -> u8 {
    // A denied read of a secret does not make the principal a reader.
    let is_reader = outcome == CallOutcome::Success;
    let places = [seen.source, seen.country, seen.asn];
    let found = [
        (
            is_reader && seen.principal_secret == Novelty::First,
            NEW_SECRET,
        ),
        (places.contains(&Novelty::First), NEW_SOURCE),
        (seen.region == Novelty::First, NEW_REGION),
        (seen.client == Novelty::First, NEW_CLIENT),
    ];
    sum(found)
}

/// What the policy does not allow about an access, as a sum.
fn refusals(expected: &Expectation) -> u8 {
    let verdicts = [
        (expected.principal, OUTSIDE_PRINCIPAL),
        (expected.source, OUTSIDE_SOURCE),
        (expected.region, OUTSIDE_REGION),
        (expected.key, OUTSIDE_KEY),
    ];
    let refused = verdicts.map(|(verdict, bit)| (verdict == PolicyVerdict::No, bit));
    sum(refused) + sum([(expected.decoy, DECOY)])
}

fn sum<const N: usize>(found: [(bool, u8); N]) -> u8 {
    found.iter().filter(|(is, _)| *is).map(|(_, bit)| bit).sum()
}

impl RowMarks {
    fn push(&mut self, row: usize, new: u8, outside: u8) {
        if new + outside > 0 {
            self.row.push(row);
            self.new.push(new);
            self.outside.push(outside);
        }
    }
}

impl LedgerColumns {
    fn push<'a>(&mut self, access: &'a Access, texts: &mut TextTable<'a>) {
        self.time.push(access.head.time.0);
        self.event.push(harmless(&access.head.event_id));
        self.outcome.push(outcome_code(access.head.outcome));
        self.decrypt.push(decrypt_code(access.decrypt.status));
        self.decrypted
            .push(access.decrypt.event_id.as_deref().map(harmless));
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

    /// Finds the programs behind the user agents.
    fn name_programs<'a>(&mut self, accesses: &'a [Arc<Access>], texts: &mut TextTable<'a>) {
        let mut named = HashMap::new();
        for (access, agent) in accesses.iter().zip(&self.agent.0) {
            if *agent >= 0 {
                let text = access.head.source.user_agent.as_deref();
                named.entry(*agent).or_insert(text.unwrap_or_default());
            }
        }
        let mut named: Vec<(i32, &str)> = named.into_iter().collect();
        named.sort_unstable();
        self.programs.extend(
            named
                .into_iter()
                .filter_map(|(agent, text)| Some((agent, texts.own(program(text)?)))),
        );
    }
}

/// A program by its user agent: `aws-cli 2.15.0`, as the incidents name it.
fn program(user_agent: &str) -> Option<String> {
    let ClientProgram {
        family, version, ..
    } = ClientProgram::of(user_agent)?;
    Some(match version {
        Some(version) => format!("{family} {version}"),
        None => family.into_owned(),
    })
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

/// A text, sanitised and truncated for the page.
pub(super) fn harmless(text: &str) -> String {
    let text = sanitize::line(text);
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.into_owned(),
    }
}

pub(super) fn all_harmless(texts: &[String]) -> Vec<String> {
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
    fn a_column_of_one_value_is_that_value() {
        for (values, json) in [
            (vec![], "[]"),
            (vec![-1, -1], "-1"),
            (vec![-1, 0], "[-1,0]"),
        ] {
            assert_eq!(serde_json::to_string(&Column(values)).unwrap(), json);
        }
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
