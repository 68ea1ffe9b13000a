//! Exposures in the formats of people and programs. Text from logs is sanitised.

mod page;

use std::{collections::BTreeSet, fmt::Write as _};

use anstyle::{AnsiColor, Style};
use secretrail_engine::{
    exposure::{
        Certainty, Exposure, LIMIT, SecretReader, VersionStatus,
        checklist::{checklist, of_one},
        json_v1::ExposureV1,
    },
    ids::{SecretStore, SharedStr},
    incident::story::{StoryAction, short_name, who_is_behind},
    lineage::origin::SessionOrigin,
    policy::PolicyVerdict,
    sanitize,
};
use serde_json::Value;

pub(crate) use self::page::page;
pub(super) use self::page::{page_of, text, tiles};
use super::{
    incidents::{push_action, push_more, push_wrapped, span},
    listing::RowListing,
    table::sentence,
};
use crate::{
    args::settings::RunSettings,
    text::{number, plural},
};
pub(super) use secretrail_engine::incident::story::short_name as short_principal;

/// Width of the first column, in characters.
const STATE: usize = 8;

/// Characters of a version id that are shown to people.
const ID: usize = 8;

/// Most values that are named in one line.
const NAMED: usize = 3;

/// Most actions on a terminal.
const ACTIONS: usize = 24;

const INDENT: &str = "        ";

/// Exposures as a list.
pub(crate) struct ExposureListing<'e> {
    exposures: &'e [Exposure],
    settings: &'e RunSettings,
}

impl<'e> ExposureListing<'e> {
    pub(crate) fn new(exposures: &'e [Exposure], settings: &'e RunSettings) -> Self {
        Self {
            exposures,
            settings,
        }
    }
}

impl RowListing<27> for ExposureListing<'_> {
    const NAME: &'static str = "exposure";

    const HEADER: [&'static str; 27] = [
        "secret.store",
        "secret.arn",
        "secret.name",
        "secret.account",
        "secret.region",
        "version_id",
        "certainty",
        "status",
        "open",
        "first",
        "last",
        "principals",
        "sources",
        "origin.principal",
        "origin.source",
        "incidents",
        "superseded.time",
        "superseded.by",
        "superseded.version_id",
        "replicas",
        "readers",
        "as_of",
        "live.asked",
        "live.status",
        "live.current",
        "actions",
        "limit",
    ];

    fn table(&self) -> String {
        let (exposures, settings) = (self.exposures, self.settings);
        let mut out = String::new();
        if exposures.is_empty() {
            out.push_str("no exposed versions: nothing that was asked for revealed a secret\n");
            return out;
        }
        for row in exposures {
            push_row(row, settings, &mut out);
        }
        out.push('\n');
        push_wrapped("", "", &headline(exposures), settings, &mut out);
        push_actions(&checklist(exposures), settings, &mut out);
        out.push('\n');
        push_wrapped("limit: ", "  ", LIMIT, settings, &mut out);
        out
    }

    fn values(&self) -> Vec<Value> {
        let rows = self.exposures.iter().map(ExposureV1::from);
        // Cannot fail: every key is text.
        rows.map(|row| serde_json::to_value(row).unwrap_or_default())
            .collect()
    }

    fn rows(&self) -> Vec<[String; 27]> {
        self.exposures.iter().map(cells).collect()
    }
}

fn or_empty<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn joined<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> String {
    let mut out = String::new();
    for value in values {
        let separator = if out.is_empty() { "" } else { "; " };
        out.push_str(separator);
        out.push_str(value.as_ref());
    }
    out
}

/// A value of each origin that has it.
fn of_origins(
    row: &Exposure,
    of: fn(&SessionOrigin) -> Option<&SharedStr>,
) -> impl Iterator<Item = &SharedStr> {
    row.origins.first.iter().filter_map(of)
}

/// What is said of a reader that the policy does not expect.
const OUTSIDE: &str = ", outside the policy";

/// Whether the policy has grants for the secret, and none for this reader.
fn is_outside(reader: &SecretReader) -> bool {
    reader.expected == Some(PolicyVerdict::No)
}

/// The replicas and the readers of CSV.
fn others(row: &Exposure) -> [String; 2] {
    let replicas = row.replicas.iter();
    let replicas = replicas.map(|home| format!("{} {}", home.account, home.region));
    let readers = row.readers.iter();
    let readers = readers.map(|reader| {
        let outside = if is_outside(reader) { OUTSIDE } else { "" };
        format!("{} ({}{outside})", reader.principal, reader.reads)
    });
    [joined(replicas), joined(readers)]
}

/// What the service says, in CSV; empty where it was not asked.
fn live_cells(row: &Exposure) -> [String; 3] {
    let Some(live) = &row.live else {
        return [const { String::new() }; 3];
    };
    [
        live.asked.to_string(),
        live.status.as_str().to_owned(),
        or_empty(live.current.as_ref()),
    ]
}

/// The row of CSV.
fn cells(row: &Exposure) -> [String; 27] {
    let secret = &row.secret;
    let superseded = row.superseded.as_ref();
    let [replicas, readers] = others(row);
    let [asked, status, current] = live_cells(row);
    let actions = of_one(row).into_iter();
    let actions = actions.map(|action| action.command.unwrap_or(action.text));
    [
        secret.store.to_string(),
        or_empty(secret.arn.as_ref()),
        or_empty(secret.name.as_ref()),
        secret.account.to_string(),
        secret.region.to_string(),
        or_empty(secret.version_id.as_ref()),
        row.certainty.as_str().to_owned(),
        row.status.as_str().to_owned(),
        row.is_open().to_string(),
        row.first.to_string(),
        row.last.to_string(),
        joined(&row.principals),
        joined(&row.sources),
        joined(of_origins(row, |origin| origin.principal.as_ref())),
        joined(of_origins(row, |origin| origin.source.as_ref())),
        joined(&row.incidents),
        or_empty(superseded.and_then(|by| by.time.as_ref())),
        or_empty(superseded.and_then(|by| by.by.as_ref())),
        or_empty(superseded.and_then(|by| by.version_id.as_ref())),
        replicas,
        readers,
        or_empty(row.as_of.as_ref()),
        asked,
        status,
        current,
        joined(actions),
        LIMIT.to_owned(),
    ]
}

/// How many versions are open, and until when the logs go.
fn headline(exposures: &[Exposure]) -> String {
    let secrets: BTreeSet<_> = exposures.iter().map(|row| row.secret.key()).collect();
    let open = exposures.iter().filter(|row| row.is_open()).count();
    let closed = exposures.len() - open;
    let until = exposures.iter().filter_map(|row| row.as_of).max();
    let mut until = until.map_or_else(String::new, |until| format!("; the logs end at {until}"));
    let live = exposures.iter().filter_map(|row| row.live.as_ref());
    if let Some(asked) = live.map(|live| live.asked).max() {
        write!(until, ", the services were asked at {asked}").ok();
    }
    format!(
        "{} of {}: {} open, {} superseded{until}",
        plural(exposures.len() as u64, "version"),
        plural(secrets.len() as u64, "secret"),
        number(open as u64),
        number(closed as u64)
    )
}

/// A status in the words of its store, as far as is known: now, or when the logs end.
fn status(row: &Exposure) -> &'static str {
    worded(row.status_now(), row)
}

/// What the service said; nothing where nobody has asked it.
fn live(row: &Exposure) -> Option<String> {
    let live = row.live.as_ref()?;
    let mut text = match live.status {
        VersionStatus::Unknown => format!("asked {}: the service does not say", live.asked),
        _ => format!("asked {}", live.asked),
    };
    let current = live.current.as_deref();
    if let Some(id) = current.filter(|id| row.secret.version_id.as_deref() != Some(*id)) {
        let id: String = id.chars().take(ID).collect();
        write!(text, "; now version {id} is current").ok();
        if let Some(since) = live.since {
            write!(text, ", made {since}").ok();
        }
    }
    if row.status_now() != row.status {
        let before = worded(row.status, row);
        write!(text, "; when the logs end it was {before}").ok();
    }
    Some(text)
}

/// A status in the words of the store of a secret.
fn worded(status: VersionStatus, row: &Exposure) -> &'static str {
    let is_secret = row.secret.store == SecretStore::SecretsManager;
    match status {
        VersionStatus::Current if is_secret => "AWSCURRENT",
        VersionStatus::Current => "latest",
        VersionStatus::Previous => "AWSPREVIOUS",
        VersionStatus::Superseded => "superseded",
        VersionStatus::Deleted => "deleted",
        VersionStatus::Unknown => "status unknown",
    }
}

/// The name of a secret, and its region: replicas have the same name.
pub(super) fn placed(row: &Exposure) -> String {
    match (row.secret.label(), &*row.secret.region) {
        (name, "") => name,
        (name, region) => format!("{name} in {region}"),
    }
}

/// `version 3c2f1d0e`, as far as it is known.
pub(super) fn version(row: &Exposure) -> String {
    match row.secret.version_id.as_deref() {
        Some(id) => format!("version {}", id.chars().take(ID).collect::<String>()),
        None => "version not known".to_owned(),
    }
}

/// What took the place of a version.
fn superseded(row: &Exposure) -> Option<String> {
    let superseded = row.superseded.as_ref()?;
    let time = match superseded.time {
        Some(time) => format!("superseded {time}"),
        None => "superseded before the logs begin".to_owned(),
    };
    Some(match &superseded.by {
        Some(by) => format!("{time} by {}", short_name(by)),
        None => format!("{time}; who did it is not in the logs"),
    })
}

/// The first names, and the number of the others.
pub(super) fn named(values: &[SharedStr], short: fn(&str) -> String) -> Option<String> {
    let first: Vec<String> = values
        .iter()
        .take(NAMED)
        .map(|value| short(value))
        .collect();
    let more = match values.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {} more", number(more as u64)),
    };
    (!first.is_empty()).then(|| format!("{}{more}", first.join(", ")))
}

/// When, to whom and from where it was revealed.
pub(super) fn revealed(row: &Exposure) -> String {
    let mut parts = vec![format!("revealed {}", span(row.first, row.last))];
    parts.extend(named(&row.principals, short_name).map(|to| format!("to {to}")));
    parts.extend(named(&row.sources, str::to_owned).map(|from| format!("from {from}")));
    let text = parts.join(", ");
    match row.certainty {
        Certainty::Paired | Certainty::Requested => text,
        Certainty::ByTime => format!("{text}; which version, by the time of the read"),
        Certainty::Unknown => format!("{text}; the log cannot say whether it was this version"),
    }
}

/// Who is behind those to whom it was revealed; `None` where that says nothing new.
fn behind(row: &Exposure) -> Option<String> {
    let mut origins = row.origins.first.iter();
    let is_more = origins.any(|origin| !origin.chain.is_empty());
    let text = who_is_behind(&row.origins).filter(|_| is_more)?;
    Some(format!("behind it: {text}"))
}

/// Where the secret has copies: as the logs have them, or the service says.
fn copies(row: &Exposure) -> Vec<String> {
    let (account, region) = (&row.secret.account, &row.secret.region);
    let known = row.replicas.iter().map(|home| {
        if home.account == *account {
            home.region.to_string()
        } else {
            format!("{} in {}", home.region, home.account)
        }
    });
    let live = row.live.iter().flat_map(|live| &live.replicas);
    let live = live.filter(|home| *home != region);
    let all: BTreeSet<String> = known.chain(live.map(ToString::to_string)).collect();
    all.into_iter().collect()
}

/// Other readers, those outside the policy or the others.
fn readers(row: &Exposure, outside: bool) -> Vec<SharedStr> {
    let readers = row.readers.iter();
    let readers = readers.filter(|reader| is_outside(reader) == outside);
    readers.map(|reader| reader.principal.clone()).collect()
}

/// Copies and other readers.
fn around(row: &Exposure) -> Option<String> {
    let mut parts = Vec::new();
    let copies = copies(row);
    if !copies.is_empty() {
        parts.push(format!("copies in {}", copies.join(", ")));
    }
    let own = named(&readers(row, false), short_name);
    parts.extend(own.map(|names| format!("also read by {names}")));
    let outside = named(&readers(row, true), short_name);
    parts.extend(outside.map(|names| format!("also read, outside the policy, by {names}")));
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn push_row(row: &Exposure, settings: &RunSettings, out: &mut String) {
    let (state, color) = match row.is_open() {
        true => ("OPEN", AnsiColor::Red),
        false => ("closed", AnsiColor::Green),
    };
    let style = match settings.color {
        true => Style::new().bold().fg_color(Some(color.into())),
        false => Style::new(),
    };
    let name = placed(row);
    let title = format!(
        "{}, {}, {}",
        sanitize::line(&name),
        version(row),
        status(row)
    );
    writeln!(out, "{style}{state:<STATE$}{style:#}{}", sentence(&title)).ok();
    push_wrapped(INDENT, INDENT, &revealed(row), settings, out);
    if let Some(text) = behind(row) {
        push_wrapped(INDENT, INDENT, &text, settings, out);
    }
    let later = superseded(row).into_iter().chain(live(row));
    for text in later.chain(around(row)) {
        push_wrapped(INDENT, INDENT, &text, settings, out);
    }
    if !row.incidents.is_empty() {
        let ids = named(&row.incidents, short_id).unwrap_or_default();
        push_wrapped(INDENT, INDENT, &format!("incident {ids}"), settings, out);
    }
}

fn short_id(id: &str) -> String {
    id.get(..10).unwrap_or(id).to_owned()
}

fn push_actions(actions: &[StoryAction], settings: &RunSettings, out: &mut String) {
    if actions.is_empty() {
        return;
    }
    out.push_str("\nto close it, in this order (nothing was run):\n");
    for action in actions.iter().take(ACTIONS) {
        push_action(action, settings, out);
    }
    let hint = "; -f html or json has all";
    push_more("  ", actions.len(), ACTIONS, "action", hint, out);
}
