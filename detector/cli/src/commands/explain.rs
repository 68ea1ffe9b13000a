//! `explain`: one alert with everything behind it. It comes from a file of alerts, or from the logs, which are then read
//! twice: once for the alerts, once for the raw records.

mod written;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use flate2::bufread::MultiGzDecoder;
use secretrail_engine::alert::{Alert, text};
use secretrail_engine::part::{PartError, PartReader};
use secretrail_engine::rule::RuleSet;
use secretrail_engine::rule_meta::RuleMeta;
use secretrail_engine::scan::records_with;
use secretrail_engine::{neutral, parallel};
use serde_json::Value;

use self::written::Paths;
use crate::args;
use crate::args::settings::Settings;
use crate::host::{Failure, Host, say};
use crate::input::object::{Object, Problem, ReadError};
use crate::input::read::readers;
use crate::input::rules_and_policy;
use crate::input::session::{Opened, find};
use crate::input::store::ObjectStore;
use crate::output::out::Out;
use crate::output::run_summary::{self, close, input_code};

/// Seconds around an alert in which to look next.
const AROUND: i64 = 3_600;

/// Runs the command and gives its exit code.
///
/// # Errors
///
/// [`Failure`].
pub fn run(args: &args::Explain, host: &mut Host) -> Result<u8, Failure> {
    let started = Instant::now();
    let mut settings = Settings::plain(&args.input, &args.destination, host)?;
    let rules = rules_and_policy::rules(&args.files)?.set;
    let paths = Paths::sort(&settings.paths, &mut *host.stdin)?;
    settings.paths = paths.logs;
    if let Some(alerts) = paths.alerts {
        return from_file(&alerts, args, settings, &rules, host);
    }
    let policy = rules_and_policy::policy(&args.policy)?;
    let mut out = Out::open(&settings)?;
    let found = find(&settings, &rules, policy.as_ref(), host)?;
    let alert = match one(&found.alerts, &args.alert) {
        Ok(alert) => alert,
        Err(failure) => {
            // What could not be read may be why.
            say(host, &run_summary::problems(&found.problems));
            return Err(failure);
        }
    };
    // What cannot be read was told by the first reading.
    let (records, _) = records(alert, &found.objects, settings.threads, &*found.store);
    out.raw(&told(alert, &settings.paths, &records))?;
    out.finish(host)?;
    Ok(close(&settings, &found, started, Some(rules.len()), host))
}

/// Explains an alert that was written before. Logs are searched for its records only: neither rules nor policy need be those
/// of that time.
fn from_file(
    alerts: &[Alert],
    args: &args::Explain,
    mut settings: Settings,
    rules: &RuleSet,
    host: &mut Host,
) -> Result<u8, Failure> {
    let mut alert = one(alerts, &args.alert)?.clone();
    let known = rules.metas().find(|meta| meta.id == alert.rule.id);
    let file = known.map_or_else(
        || "not among the rules in use; name it with -r".to_owned(),
        |meta| meta.file.clone(),
    );
    alert.rule = Arc::new(RuleMeta {
        file,
        ..RuleMeta::clone(&alert.rule)
    });
    let first = alert
        .accesses
        .first()
        .map_or(alert.time, |access| access.head.time);
    settings.selection.from.get_or_insert(first.plus(-AROUND));
    settings.selection.to.get_or_insert(alert.time.plus(AROUND));
    let mut out = Out::open(&settings)?;
    let Opened { store, objects } = Opened::new(&settings)?;
    let (records, mut problems) = records(&alert, &objects.objects, settings.threads, &*store);
    problems.extend(objects.problems);
    problems.sort();
    out.raw(&told(&alert, &settings.paths, &records))?;
    out.finish(host)?;
    Ok(input_code(&problems, host))
}

/// The alert that is meant.
fn one<'a>(alerts: &'a [Alert], id: &str) -> Result<&'a Alert, Failure> {
    let mut fitting = alerts.iter().filter(|alert| alert.id.0.starts_with(id));
    match (fitting.next(), fitting.count()) {
        (Some(alert), 0) => Ok(alert),
        (Some(_), more) => Err(Failure::Usage(format!(
            "{id}: {} alerts begin so; give more of the id",
            more + 1
        ))),
        (None, _) => {
            let count = alerts.len();
            let message = format!(
                "{id}: not among the {count} alerts of these files; with logs, rules and policy must be those that raised it"
            );
            Err(Failure::Input(message))
        }
    }
}

/// Ids of the events behind the alert: its accesses and their key uses, and others as far as it knows them, or the one that
/// its summary names.
fn events(alert: &Alert) -> BTreeSet<String> {
    let accesses = alert.accesses.iter();
    let ids = accesses.flat_map(|access| {
        [
            Some(&access.head.event_id),
            access.decrypt.event_id.as_ref(),
        ]
    });
    let named = alert
        .summary
        .rsplit_once(", event ")
        .map(|(_, id)| id.to_owned());
    let ids = ids.flatten().chain(&alert.events).map(|id| id.to_string());
    ids.chain(named.filter(|_| alert.accesses.is_empty()))
        .collect()
}

/// The records of an alert in these objects, by time, each with the name of its object; and what could not be read.
fn records(
    alert: &Alert,
    objects: &[Object],
    threads: usize,
    store: &dyn ObjectStore,
) -> (Vec<(String, String)>, Vec<Problem>) {
    let ids = events(alert);
    let (mut records, mut problems) = (Vec::new(), Vec::new());
    let found = parallel::map(readers(threads, objects), objects, |object| {
        raw(object, &ids, store)
    });
    for (object, (found, read)) in objects.iter().zip(found) {
        records.extend(found);
        problems.extend(read.err().map(|error| Problem::new(&*object.name, error)));
    }
    records.sort_by_cached_key(|(object, record)| (time(record), object.clone(), record.clone()));
    (records, problems)
}

/// The records of an object with these event ids, with the name of the object, up to where it cannot be read further.
fn raw(
    object: &Object,
    ids: &BTreeSet<String>,
    store: &dyn ObjectStore,
) -> (Vec<(String, String)>, Result<(), ReadError>) {
    let bytes = match object.place.fetch(store) {
        Ok(fetched) => fetched.bytes,
        Err(error) => return (Vec::new(), Err(error)),
    };
    if object.is_part {
        let mut found = Vec::new();
        let read = in_parts(&bytes, ids, &mut found);
        return (
            found,
            read.map_err(|error| ReadError::Content(error.to_string())),
        );
    }
    let finders: Vec<memchr::memmem::Finder<'_>> =
        ids.iter().map(memchr::memmem::Finder::new).collect();
    let wanted = |unit: &[u8]| finders.iter().any(|finder| finder.find(unit).is_some());
    let (records, read) = records_with(&bytes, wanted);
    let records = records.into_iter().filter(|record| is_one(record, ids));
    (
        records
            .map(|record| (object.name.clone(), record))
            .collect(),
        read.map_err(|error| ReadError::Content(error.to_string())),
    )
}

/// `eventTime` as it is written, which sorts as it should.
fn time(record: &str) -> Option<String> {
    let value: Value = serde_json::from_str(record).ok()?;
    value.get("eventTime")?.as_str().map(str::to_owned)
}

/// Whether a record is one of these events. An id may stand elsewhere in it: only its own `eventID` counts.
fn is_one(record: &str, ids: &BTreeSet<String>) -> bool {
    let value: Option<Value> = serde_json::from_str(record).ok();
    value
        .and_then(|v| Some(ids.contains(v.get("eventID")?.as_str()?)))
        .unwrap_or(false)
}

/// The records of parts with these event ids, with the names of the objects that they came from.
fn in_parts(
    bytes: &[u8],
    ids: &BTreeSet<String>,
    found: &mut Vec<(String, String)>,
) -> Result<(), PartError> {
    let mut next = PartReader::new(BufReader::new(MultiGzDecoder::new(bytes)))?;
    while let Some(mut part) = next {
        let names: Vec<String> = part
            .entries
            .iter()
            .map(|entry| entry.name.to_string())
            .collect();
        while let Some(record) = part.next_record()? {
            if is_one(record.text, ids) {
                found.push((
                    names.get(record.object).cloned().unwrap_or_default(),
                    record.text.to_owned(),
                ));
            }
        }
        next = part.next_part()?;
    }
    Ok(())
}

fn told(alert: &Alert, logs: &[PathBuf], records: &[(String, String)]) -> String {
    let mut text = text::body(alert);
    writeln!(text, "rule file  {}", neutral::line(&alert.rule.file)).ok();
    text.push_str("\nrecords:\n");
    for (object, record) in records {
        writeln!(text, "  {}", neutral::line(object)).ok();
        let pretty = serde_json::from_str::<Value>(record).map(|value| format!("{value:#}"));
        for line in pretty.unwrap_or_else(|_| record.clone()).lines() {
            writeln!(text, "    {}", neutral::line(line)).ok();
        }
    }
    if logs.is_empty() {
        for access in &alert.accesses {
            let (event, object) = (
                neutral::line(&access.head.event_id),
                neutral::line(&access.head.object),
            );
            writeln!(text, "  event {event} in {object}").ok();
        }
        text.push_str("  name the logs beside the alerts to see them\n");
    } else if records.is_empty() {
        text.push_str("  none found by their event ids\n");
    }
    text.push_str("\nlook next:\n");
    let mut paths: Vec<String> = logs
        .iter()
        .map(|path| quoted(&path.to_string_lossy()))
        .collect();
    if paths.is_empty() {
        paths.push("LOGS".to_owned());
    }
    let span = format!(
        "--from {} --to {}",
        alert.time.plus(-AROUND),
        alert.time.plus(AROUND)
    );
    for (why, option) in next(alert) {
        writeln!(
            text,
            "  # {why}\n  secretrail accesses {} {option} {span}",
            paths.join(" ")
        )
        .ok();
    }
    text
}

/// What an analyst may want to see beside the alert: what it is for, and the option that selects it.
fn next(alert: &Alert) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    if let Some(principal) = &alert.principal {
        all.push((
            "everything that this principal read around that time",
            format!("--principal {}", quoted(principal)),
        ));
    }
    let keys: BTreeSet<&str> = alert
        .accesses
        .iter()
        .filter_map(|access| access.head.access_key_id.as_deref())
        .collect();
    if let (Some(key), 1) = (keys.first(), keys.len()) {
        all.push((
            "everything that was read with this access key",
            format!("--access-key {}", quoted(key)),
        ));
    }
    let sources: BTreeSet<&str> = alert
        .accesses
        .iter()
        .filter_map(|access| access.head.source.ip.as_deref())
        .collect();
    if let (Some(source), 1) = (sources.first(), sources.len()) {
        all.push((
            "who else came from there",
            format!("--source {}", quoted(source)),
        ));
    }
    if let ([secret], 1) = (alert.secrets.as_slice(), alert.secrets_total) {
        all.push((
            "who else read this secret",
            format!("--secret {}", quoted(secret)),
        ));
    }
    all
}

/// For a shell: in single quotes, whatever it holds.
fn quoted(text: &str) -> String {
    let text = neutral::line(text);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=+,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
