//! Separates files of alerts, written by `replay` or received from SNS, from logs.

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use secretrail_engine::{
    alert::{Alert, AlertId, IncidentId, json_v1},
    incident::json_v1::exposure_of,
    inflate::{self, InflateError, InflateScratch},
    revealed::IncidentExposure,
};
use serde_json::{Deserializer, Value};

use crate::{args::path::is_stdin, host::RunFailure};

/// Bytes read to recognise a file of alerts.
const HEAD: u64 = 512;

/// The error about logs on standard input.
const ONLY_ALERTS: &str = "explain reads only alerts from standard input, as `replay -f jsonl` \
    writes them; logs are read twice: write them to a file first";

/// The error about incidents alone.
const WITHOUT_ALERTS: &str = "holds incidents without their alerts; write both with \
    `replay -f jsonl`, without --incidents";

/// What files of alerts hold.
pub(super) struct WrittenAlerts {
    /// Distinct alerts.
    pub(super) alerts: Vec<Alert>,
    /// What became of the versions that incidents revealed.
    pub(super) exposures: BTreeMap<IncidentId, IncidentExposure>,
    /// How many alerts each incident has, in the file or not.
    pub(super) totals: BTreeMap<IncidentId, u64>,
}

/// The paths of `explain`, separated.
pub(super) struct ExplainPaths {
    /// What all files of alerts hold; `None` if there is no such file.
    pub(super) written: Option<WrittenAlerts>,
    /// All other paths.
    pub(super) logs: Vec<PathBuf>,
}

impl ExplainPaths {
    /// Separates files of alerts, and alerts on standard input, from logs.
    ///
    /// # Errors
    ///
    /// [`RunFailure::Input`]: a file of alerts cannot be read to its end. [`RunFailure::Usage`]:
    /// standard input holds no alerts.
    pub(super) fn sort(paths: &[PathBuf], stdin: &mut dyn Read) -> Result<Self, RunFailure> {
        // By id: a file and an excerpt of it may both be given.
        let mut alerts: Option<BTreeMap<AlertId, Alert>> = None;
        let mut incidents = Vec::new();
        let mut logs = Vec::new();
        for path in paths {
            let bytes = if is_stdin(path) {
                piped(stdin)?
            } else if is_alerts(path) {
                std::fs::read(path).map_err(|error| unreadable(path, error))?
            } else {
                logs.push(path.clone());
                continue;
            };
            let alerts = alerts.get_or_insert_default();
            incidents.extend(read(path, &bytes, alerts)?);
        }
        // What they revealed also depends on records that the file does not have.
        let written = alerts.map(|alerts| WrittenAlerts {
            alerts: alerts.into_values().collect(),
            exposures: incidents.iter().filter_map(exposure_of).collect(),
            totals: incidents.iter().filter_map(total_of).collect(),
        });
        Ok(Self { written, logs })
    }
}

/// The alerts on standard input. Logs are rejected after their first bytes: the stream may be
/// endless.
fn piped(stdin: &mut dyn Read) -> Result<Vec<u8>, RunFailure> {
    let mut bytes = Vec::new();
    stdin
        .take(HEAD)
        .read_to_end(&mut bytes)
        .map_err(unreadable_stdin)?;
    if !begins_with_alert(&bytes) {
        return Err(RunFailure::Usage(ONLY_ALERTS.to_owned()));
    }
    stdin.read_to_end(&mut bytes).map_err(unreadable_stdin)?;
    Ok(bytes)
}

fn unreadable_stdin(error: io::Error) -> RunFailure {
    RunFailure::Input(format!("standard input: {error}"))
}

fn unreadable(path: &Path, error: impl Display) -> RunFailure {
    RunFailure::Input(format!("{}: {error}", path.display()))
}

/// Whether a path is a file of alerts, compressed or not. A path that cannot be opened counts as
/// logs, whose readers report the error.
fn is_alerts(path: &Path) -> bool {
    if !path.is_file() {
        return false;
    }
    let Ok(file) = File::open(path) else {
        return false;
    };
    let mut text = Vec::new();
    // Only the head is inflated; the error at its end does not matter.
    inflate::inflate_stream(file.take(HEAD), &mut |piece| text.extend_from_slice(piece)).ok();
    begins_with_alert(&text)
}

/// Whether a text starts like an alert: `schema` is its first key, which logs do not have. Not
/// parsed, because the head is truncated anywhere.
fn begins_with_alert(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head);
    // JSON lines, an array, or JSON indented by another tool.
    let text = text.trim_start_matches(['\u{feff}', '[', '{', ' ', '\t', '\r', '\n']);
    let value = text
        .strip_prefix("\"schema\"")
        .and_then(|rest| rest.trim_start().strip_prefix(':'));
    let schema = value.unwrap_or_default().trim_start();
    schema.starts_with("\"secretrail.alert/") || schema.starts_with("\"secretrail.incident/")
}

/// Reads alerts; of several copies, keeps the one with the most accesses: notifications truncate
/// them. Returns the incidents beside them.
fn read(
    path: &Path,
    bytes: &[u8],
    alerts: &mut BTreeMap<AlertId, Alert>,
) -> Result<Vec<Value>, RunFailure> {
    let values = values(bytes).map_err(|error| unreadable(path, error))?;
    // Incidents are made again from their alerts, which name them.
    let (incidents, values): (Vec<_>, Vec<_>) = values.into_iter().partition(is_incident);
    if values.is_empty() && !incidents.is_empty() {
        return Err(unreadable(path, WITHOUT_ALERTS));
    }
    for value in values {
        let alert = json_v1::read(value).map_err(|error| unreadable(path, error))?;
        let shown = alerts.get(&alert.id).map(|known| known.accesses.len());
        if shown.is_none_or(|shown| shown < alert.accesses.len()) {
            alerts.insert(alert.id.clone(), alert);
        }
    }
    Ok(incidents)
}

/// The id of an incident, and how many alerts it has.
fn total_of(incident: &Value) -> Option<(IncidentId, u64)> {
    let id = incident.get("id")?.as_str()?;
    Some((
        IncidentId(id.into()),
        incident.get("alerts_total")?.as_u64()?,
    ))
}

fn is_incident(value: &Value) -> bool {
    let schema = value.get("schema").and_then(Value::as_str);
    schema.is_some_and(|schema| schema.starts_with("secretrail.incident/"))
}

/// The values of JSON lines and arrays, compressed or not.
fn values(bytes: &[u8]) -> Result<Vec<Value>, ValuesError> {
    let mut text = Vec::new();
    inflate::inflate(bytes, &mut InflateScratch::default(), &mut |piece| {
        text.extend_from_slice(piece);
    })?;
    let mut values = Vec::new();
    for value in Deserializer::from_slice(&text).into_iter() {
        match value? {
            Value::Array(list) => values.extend(list),
            value => values.push(value),
        }
    }
    Ok(values)
}

/// Why a file of alerts cannot be read to its end.
#[derive(Debug, thiserror::Error)]
enum ValuesError {
    #[error("{0}")]
    Packed(#[from] InflateError),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use secretrail_engine::alert::json_v1::AlertV1;

    use super::*;
    use crate::{
        commands::tests::{access, alert, rule},
        exit,
    };

    fn json(alert: &Alert) -> String {
        serde_json::to_string(&AlertV1::from(alert)).unwrap()
    }

    fn sorted(paths: &[PathBuf], stdin: &str) -> Result<ExplainPaths, RunFailure> {
        ExplainPaths::sort(paths, &mut stdin.as_bytes())
    }

    #[test]
    fn alerts_are_recognised_by_their_beginning_in_any_wrapping() {
        let head = r#""schema":"secretrail.alert/1","id""#;
        for begin in ["{", "[\n{", "\u{feff} [ {"] {
            assert!(begins_with_alert(format!("{begin}{head}").as_bytes()));
        }
        assert!(begins_with_alert(br#"{"schema":"secretrail.incident/1""#));
        for other in [
            r#"{"Records":[{"schema":"secretrail.alert/1"}]}"#,
            r#"{"schema":"secretrail.access/1"}"#,
            "",
        ] {
            assert!(!begins_with_alert(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn of_copies_of_an_alert_the_one_with_most_accesses_is_kept() {
        let cut = alert(&rule("r", "R"), "a");
        let whole = Alert {
            accesses: vec![access(&[])],
            ..cut.clone()
        };
        for text in [
            format!("{}\n{}\n", json(&cut), json(&whole)),
            format!("[{},{}]", json(&whole), json(&cut)),
        ] {
            let paths = sorted(&["-".into()], &text).unwrap();
            let alerts = paths.written.unwrap().alerts;
            assert_eq!(alerts.len(), 1);
            assert_eq!(alerts[0].accesses.len(), 1);
        }
    }

    #[test]
    fn files_of_alerts_are_distinguished_from_logs_packed_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let text = json(&alert(&rule("r", "R"), "a"));
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(text.as_bytes()).unwrap();
        let (plain, packed) = (folder.path().join("a"), folder.path().join("b.gz"));
        let log = folder.path().join("log.json");
        std::fs::write(&plain, text).unwrap();
        std::fs::write(&packed, gz.finish().unwrap()).unwrap();
        std::fs::write(&log, r#"{"Records":[]}"#).unwrap();
        let gone: PathBuf = "/nowhere".into();
        let paths = sorted(&[plain, log.clone(), packed, gone.clone()], "").unwrap();
        assert_eq!(paths.written.unwrap().alerts.len(), 1);
        // A path that cannot be opened counts as logs, whose readers report it.
        assert_eq!(paths.logs, [log, gone]);
    }

    #[test]
    fn incidents_beside_alerts_are_left_aside_and_alone_they_are_refused() {
        let incident = r#"{"schema":"secretrail.incident/1","id":"x"}"#;
        let both = format!("{}\n{incident}\n", json(&alert(&rule("r", "R"), "a")));
        let paths = sorted(&["-".into()], &both).unwrap();
        assert_eq!(paths.written.unwrap().alerts.len(), 1);
        let alone = sorted(&["-".into()], incident).err().unwrap();
        assert!(
            alone.to_string().contains("without their alerts"),
            "{alone}"
        );
    }

    #[test]
    fn logs_on_standard_input_are_refused_and_broken_alerts_are_reported() {
        let logs = sorted(&["-".into()], r#"{"Records":[]}"#).err().unwrap();
        assert_eq!(logs.exit_code(), exit::USAGE);
        let text = json(&alert(&rule("r", "R"), "a"));
        let cut = sorted(&["-".into()], text.get(..text.len() - 9).unwrap());
        let cut = cut.err().unwrap();
        assert_eq!(cut.exit_code(), exit::INPUT);
        assert!(cut.to_string().starts_with("-: EOF while parsing"), "{cut}");
        let foreign = r#"{"schema":"secretrail.alert/9"}"#;
        assert!(sorted(&["-".into()], foreign).is_err());
    }
}
