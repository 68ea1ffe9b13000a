//! Secret hygiene in the formats of people and programs. Text from logs is sanitised.

use std::fmt::Write as _;

use secretrail_engine::{
    exposure::{
        Exposure, LIMIT,
        hygiene::{HygieneFinding, HygieneProblem},
    },
    ids::{SecretRef, SharedStr},
    policy::review::{GrantText, GrantUse},
    sanitize,
    time::EventTime,
};
use serde_json::{Value, json};

use super::{
    exposures::{named, page_of, placed, revealed, short_principal, text, tiles, version},
    incidents::push_wrapped,
    listing::RowListing,
};
use crate::{
    args::settings::RunSettings,
    text::{number, plural},
};

/// Name and version of the schema of a finding.
const SCHEMA: &str = "secretrail.hygiene/1";

const DAY_SECS: i64 = 86_400;

/// Most findings of one kind on a terminal.
const SHOWN: usize = 20;

/// Kind of finding: its name in JSON, and its heading.
type FindingKind = (&'static str, &'static str);

const OPEN: FindingKind = (
    "open_exposure",
    "Revealed by an incident, and not rotated since",
);
const RETIRED: FindingKind = (
    "retired_read",
    "Read more than an hour after their retirement",
);
const UNREAD: FindingKind = ("unread", "Read by nobody");
const UNUSED: FindingKind = (
    "unused_grant",
    "Grants of the access policy that nobody uses",
);

const KINDS: [FindingKind; 4] = [OPEN, RETIRED, UNREAD, UNUSED];

/// A finding in the words of all formats.
struct HygieneRow {
    kind: &'static str,
    secret: Option<SecretRef>,
    /// What it is about, for people.
    title: String,
    text: String,
    /// Since when it is so.
    since: Option<EventTime>,
    /// When it was seen last.
    last: Option<EventTime>,
    principals: Vec<SharedStr>,
    /// Number of the grant, from 1.
    grant: Option<usize>,
}

/// Findings as a list.
pub(crate) struct HygieneListing<'s> {
    rows: Vec<HygieneRow>,
    settings: &'s RunSettings,
}

impl<'s> HygieneListing<'s> {
    /// The findings of these exposures, secrets and grants. `days`: without a read or use.
    pub(crate) fn new(
        exposures: &[Exposure],
        findings: &[HygieneFinding],
        grants: &[(GrantText, GrantUse)],
        days: u32,
        settings: &'s RunSettings,
    ) -> Self {
        let open = exposures.iter().filter(|row| row.is_open()).map(open_row);
        let newest = exposures.iter().filter_map(|row| row.as_of).max();
        let unused = grants
            .iter()
            .filter_map(|(grant, one)| unused_row(grant, one, days, newest));
        Self {
            rows: open
                .chain(findings.iter().map(finding_row))
                .chain(unused)
                .collect(),
            settings,
        }
    }

    fn of_kind(&self, kind: FindingKind) -> impl Iterator<Item = &HygieneRow> {
        self.rows.iter().filter(move |row| row.kind == kind.0)
    }

    /// The findings as a page for a browser.
    pub(crate) fn page(&self, now: EventTime) -> String {
        let counts = KINDS.map(|kind| (self.of_kind(kind).count(), kind.1));
        let mut body = tiles(&counts);
        for kind in KINDS {
            let count = self.of_kind(kind).count();
            write!(
                body,
                "<section><h2>{} <span class=\"count\">{}</span></h2>\n<ul class=\"steps\">\n",
                kind.1,
                number(count as u64)
            )
            .ok();
            for row in self.of_kind(kind) {
                let (title, what) = (text(&row.title), text(&row.text));
                writeln!(body, "<li><b>{title}</b><br>{what}</li>").ok();
            }
            body.push_str("</ul></section>\n");
        }
        page_of("secret hygiene", self.settings, now, &body)
    }
}

fn open_row(row: &Exposure) -> HygieneRow {
    HygieneRow {
        kind: OPEN.0,
        secret: Some(row.secret.clone()),
        title: format!("{}, {}", placed(row), version(row)),
        text: revealed(row),
        since: Some(row.first),
        last: Some(row.last),
        principals: row.principals.clone(),
        grant: None,
    }
}

fn finding_row(finding: &HygieneFinding) -> HygieneRow {
    let secret = &finding.secret;
    let place = format!("{} in {} {}", secret.label(), secret.account, secret.region);
    let row = HygieneRow {
        kind: UNREAD.0,
        secret: Some(secret.clone()),
        title: place,
        text: String::new(),
        since: None,
        last: None,
        principals: Vec::new(),
        grant: None,
    };
    match &finding.problem {
        HygieneProblem::Unread { last, as_of } => HygieneRow {
            text: match last {
                Some(last) => {
                    let days = as_of.0.saturating_sub(last.0) / DAY_SECS;
                    format!("last read {last}, {days} days before the logs end")
                }
                None => "no read in these logs".to_owned(),
            },
            last: *last,
            ..row
        },
        HygieneProblem::RetiredRead {
            since,
            reads,
            last,
            principals,
        } => {
            let by = named(principals, short_principal).unwrap_or_default();
            let which = secret.version_id.as_deref().unwrap_or("not known");
            HygieneRow {
                kind: RETIRED.0,
                text: format!(
                    "version {which}, superseded {since}: {} since, the last {last} by {by}",
                    plural(*reads, "read")
                ),
                since: Some(*since),
                last: Some(*last),
                principals: principals.clone(),
                ..row
            }
        }
    }
}

/// The finding about a grant; `None` if it is used.
fn unused_row(
    grant: &GrantText,
    one: &GrantUse,
    days: u32,
    newest: Option<EventTime>,
) -> Option<HygieneRow> {
    let old = one.last.zip(newest);
    let is_old = old.is_some_and(|(last, end)| end.0 - last.0 > i64::from(days) * DAY_SECS);
    if one.last.is_some() && !is_old {
        return None;
    }
    let when = match one.last {
        Some(last) => format!("last used {last}"),
        None => "not used in these logs".to_owned(),
    };
    Some(HygieneRow {
        kind: UNUSED.0,
        secret: None,
        title: format!("grant {}: {}", grant.number, entries(grant, "secrets")),
        text: format!("for {}; {when}", entries(grant, "principals")),
        since: None,
        last: one.last,
        principals: Vec::new(),
        grant: Some(grant.number),
    })
}

/// The first entries of a list of a grant.
fn entries(grant: &GrantText, list: &str) -> String {
    let entries = grant.entries.get(list).into_iter().flatten();
    let entries: Vec<SharedStr> = entries.map(|entry| entry.as_str().into()).collect();
    named(&entries, str::to_owned).unwrap_or_default()
}

fn written(time: Option<EventTime>) -> Option<String> {
    time.map(|time| time.to_string())
}

impl RowListing<9> for HygieneListing<'_> {
    const NAME: &'static str = "exposure --all";

    const HEADER: [&'static str; 9] = [
        "finding",
        "secret",
        "version_id",
        "since",
        "last",
        "principals",
        "grant",
        "text",
        "limit",
    ];

    fn table(&self) -> String {
        let mut out = String::new();
        for kind in KINDS {
            let count = self.of_kind(kind).count();
            writeln!(out, "{}: {}", kind.1, number(count as u64)).ok();
            for row in self.of_kind(kind).take(SHOWN) {
                let title = sanitize::line(&row.title);
                push_wrapped("  ", "    ", &title, self.settings, &mut out);
                push_wrapped("    ", "    ", &row.text, self.settings, &mut out);
            }
            if count > SHOWN {
                let more = number((count - SHOWN) as u64);
                writeln!(out, "  and {more} more; -f html or json has all").ok();
            }
            out.push('\n');
        }
        push_wrapped("limit: ", "  ", LIMIT, self.settings, &mut out);
        out
    }

    fn values(&self) -> Vec<Value> {
        let rows = self.rows.iter().map(|row| {
            let secret = row.secret.as_ref();
            json!({
                "schema": SCHEMA,
                "finding": row.kind,
                "secret": secret.map(|secret| json!({
                    "store": secret.store.as_str(),
                    "arn": secret.arn,
                    "name": secret.name,
                    "account": secret.account,
                    "region": secret.region,
                })),
                "version_id": secret.and_then(|secret| secret.version_id.clone()),
                "since": written(row.since),
                "last": written(row.last),
                "principals": row.principals,
                "grant": row.grant,
                "text": row.text,
                "limit": LIMIT,
            })
        });
        rows.collect()
    }

    fn rows(&self) -> Vec<[String; 9]> {
        let rows = self.rows.iter().map(|row| {
            let secret = row.secret.as_ref();
            let version = secret.and_then(|secret| secret.version_id.as_deref());
            let principals: Vec<&str> = row.principals.iter().map(|id| &**id).collect();
            [
                row.kind.to_owned(),
                secret
                    .and_then(|secret| secret.arn.as_deref().or(secret.name.as_deref()))
                    .unwrap_or(&row.title)
                    .to_owned(),
                version.unwrap_or_default().to_owned(),
                written(row.since).unwrap_or_default(),
                written(row.last).unwrap_or_default(),
                principals.join("; "),
                row.grant.map(|grant| grant.to_string()).unwrap_or_default(),
                row.text.clone(),
                LIMIT.to_owned(),
            ]
        });
        rows.collect()
    }
}
