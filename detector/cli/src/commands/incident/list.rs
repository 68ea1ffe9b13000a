//! `incident list`.

use std::fmt::Write as _;

use secretrail_engine::{
    incident::{announced::IncidentEnd, decision::DecidedStatus},
    sanitize,
    time::EventTime,
};
use serde_json::{Value, json};

use super::{
    failure, reached,
    stored::{self, IncidentStatus, MOST, StoredIncident, StoredIncidents},
};
use crate::{
    args::{deployment::IncidentListArgs, settings::RunSettings},
    deployment::{aws_of, table::StateTable},
    exit,
    host::{ProcessHost, RunFailure, say},
    output::{
        incidents::wrapped,
        listing::{self, RowListing},
        out::OpenOutput,
        style::level_style,
    },
    text::plural,
};

/// Cells before the text of an incident.
const INDENT: usize = 15;

pub(super) fn run(args: &IncidentListArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let settings = RunSettings::without_input(&aws_of(&args.table.stack), &args.output, host)?;
    settings.must_be_rows("incident list")?;
    let (api, name) = reached(&args.table)?;
    let mut out = OpenOutput::open(&settings)?;
    let table = StateTable::new(&api, &name);
    let ids = stored::ids(&table, host.now.plus(-args.since)).map_err(failure)?;
    let mut found = stored::incidents(&table, &ids).map_err(failure)?;
    let all = found.incidents.len();
    let now = host.now;
    found
        .incidents
        .retain(|one| args.all || one.status(now).is_open());
    let list = IncidentList {
        incidents: &found.incidents,
        settings: &settings,
        now,
    };
    listing::write(&list, settings.format, &mut out)?;
    out.finish(host)?;
    let hidden = all - found.incidents.len();
    let text = closing(&found, &name, ids.len() == MOST, hidden);
    if !settings.quiet || !found.unreadable.is_empty() {
        say(host, &text);
    }
    Ok(match found.unreadable.is_empty() {
        true => exit::DONE,
        false => exit::INPUT,
    })
}

/// What is said after the list.
fn closing(found: &StoredIncidents, table: &str, is_cut: bool, hidden: usize) -> String {
    let mut text = String::new();
    for why in &found.unreadable {
        let why = sanitize::line(why);
        let remedy = "use the command of the version of the function";
        writeln!(text, "secretrail: {why}; {remedy}").ok();
    }
    if is_cut {
        writeln!(text, "only the latest {MOST}; use a shorter --since").ok();
    }
    let listed = plural(found.incidents.len() as u64, "incident");
    match hidden {
        0 => writeln!(text, "{listed} of table {table}").ok(),
        hidden => writeln!(text, "{listed} of table {table}, {hidden} more with --all").ok(),
    };
    text
}

/// Incidents in every format.
struct IncidentList<'l> {
    incidents: &'l [StoredIncident],
    settings: &'l RunSettings,
    now: EventTime,
}

impl RowListing<11> for IncidentList<'_> {
    const NAME: &'static str = "incident list";
    const HEADER: [&'static str; 11] = [
        "id",
        "level",
        "status",
        "actor",
        "first",
        "last",
        "alerts",
        "messages",
        "last_message",
        "decision",
        "exposure_status",
    ];

    fn table(&self) -> String {
        let mut out = String::new();
        for one in self.incidents {
            self.paragraph(one, &mut out);
        }
        out
    }

    fn values(&self) -> Vec<Value> {
        let incidents = self.incidents.iter();
        incidents.map(|one| value(one, self.now)).collect()
    }

    fn rows(&self) -> Vec<[String; 11]> {
        let incidents = self.incidents.iter();
        incidents.map(|one| row(one, self.now)).collect()
    }
}

/// When the last message was due that has been sent, or the next is; `None` if there is none, as
/// for one that became a part of another.
fn message(one: &StoredIncident) -> Option<EventTime> {
    Some(one.incident.due).filter(|due| due.0 > 0)
}

/// The last decision, in words.
fn decision(one: &StoredIncident, status: IncidentStatus) -> Option<String> {
    let last = &one.decision.as_ref()?.last;
    let what = match last.status {
        // A higher level, another rule or another secret has come.
        DecidedStatus::Closed if status.is_open() => "open again by news, closed before",
        status => status.as_str(),
    };
    let (at, by, reason) = (last.time(), &last.by, &last.reason);
    Some(format!("{what} {at} by {by}: {reason}"))
}

fn row(one: &StoredIncident, now: EventTime) -> [String; 11] {
    let incident = &one.incident;
    let status = one.status(now);
    [
        incident.id.0.to_string(),
        incident.level.as_str().to_owned(),
        status.as_str().to_owned(),
        incident.actor.name.to_string(),
        incident.first.to_string(),
        incident.last.to_string(),
        incident.alerts_total.to_string(),
        incident.messages.to_string(),
        message(one).map_or_else(String::new, |at| at.to_string()),
        decision(one, status).unwrap_or_default(),
        one.exposure().unwrap_or_default().to_owned(),
    ]
}

fn value(one: &StoredIncident, now: EventTime) -> Value {
    let incident = &one.incident;
    let status = one.status(now);
    let decision = one.decision.as_ref().map(|decision| {
        let last = &decision.last;
        json!({
            "status": last.status.as_str(),
            "reason": last.reason,
            "by": last.by,
            "at": last.time().to_string(),
            "holds": status == IncidentStatus::Closed || last.status == DecidedStatus::Reopened,
        })
    });
    let merged_into = match &incident.end {
        Some(IncidentEnd::MergedInto(id)) => Some(&*id.0),
        Some(IncidentEnd::Withdrawn) | None => None,
    };
    json!({
        "schema": "secretrail.incident_status/1",
        "id": &*incident.id.0,
        "level": incident.level.as_str(),
        "status": status.as_str(),
        "actor": {"kind": incident.actor.kind.as_str(), "name": &*incident.actor.name},
        "first": incident.first.to_string(),
        "last": incident.last.to_string(),
        "alerts": incident.alerts_total,
        "messages": incident.messages,
        "last_message": message(one).map(|at| at.to_string()),
        "merged_into": merged_into,
        "decision": decision,
        "exposure_status": one.exposure(),
        "exposed_since": incident.exposure.map(|exposure| exposure.since.to_string()),
    })
}

impl IncidentList<'_> {
    /// An incident for people, as `replay` shows one: the level, then an indented text.
    fn paragraph(&self, one: &StoredIncident, out: &mut String) {
        let incident = &one.incident;
        let status = one.status(self.now);
        let style = level_style(incident.level, self.settings.color);
        let level = incident.level.as_str().to_uppercase();
        let head = format!("{level:<INDENT$}");
        let indent = " ".repeat(INDENT);
        let (first, last) = (incident.first, incident.last);
        let mut texts = vec![
            format!("{first} to {last}  {}", status.as_str()),
            incident.actor.name.to_string(),
            self.counts(one),
            format!("incident {}", incident.id.0),
        ];
        if let Some(IncidentEnd::MergedInto(id)) = &incident.end {
            texts.push(format!("part of incident {}", id.0));
        }
        if let (Some("open"), Some(exposure)) = (one.exposure(), incident.exposure) {
            texts.push(format!("exposure open since {}", exposure.since));
        }
        texts.extend(decision(one, status));
        for (index, text) in texts.iter().enumerate() {
            let before = if index == 0 { &head } else { &indent };
            for line in wrapped(before, &indent, text, self.settings.width) {
                let line = line.trim_end();
                match line.strip_prefix(&level).filter(|_| index == 0) {
                    Some(rest) => writeln!(out, "{style}{level}{style:#}{rest}").ok(),
                    None => writeln!(out, "{line}").ok(),
                };
            }
        }
        out.push('\n');
    }

    fn counts(&self, one: &StoredIncident) -> String {
        let incident = &one.incident;
        let alerts = plural(incident.alerts_total as u64, "alert");
        let messages = plural(u64::from(incident.messages), "message");
        match message(one) {
            Some(at) if at > self.now => format!("{alerts}, {messages}, the next at {at}"),
            Some(at) => format!("{alerts}, {messages}, the last at {at}"),
            None => format!("{alerts}, {messages}"),
        }
    }
}
