//! Alerts that were written before, by a replay or for SNS, among the paths of `explain`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use secretrail_engine::alert::{Alert, AlertId, json_v1};
use secretrail_engine::gunzip::{self, Scratch};
use serde_json::{Deserializer, Value};

use crate::args::path::is_stdin;
use crate::host::Failure;

/// Bytes from which a file is known.
const HEAD: u64 = 512;

/// What the paths of `explain` are.
pub(super) struct Paths {
    /// Alerts in files of theirs, each once; `None` when there is no such file.
    pub(super) alerts: Option<Vec<Alert>>,
    /// Everything else.
    pub(super) logs: Vec<PathBuf>,
}

impl Paths {
    /// Tells files of alerts, and alerts on standard input, from logs.
    ///
    /// # Errors
    ///
    /// [`Failure::Input`]: such a file cannot be read to its end. [`Failure::Usage`]: standard input holds no alerts.
    pub(super) fn sort(paths: &[PathBuf], stdin: &mut dyn Read) -> Result<Self, Failure> {
        let (mut alerts, mut logs): (Option<BTreeMap<AlertId, Alert>>, _) = (None, Vec::new());
        for path in paths {
            let bytes = if is_stdin(path) {
                Some(piped(stdin)?)
            } else if is_alerts(path) {
                Some(
                    std::fs::read(path)
                        .map_err(|error| Failure::Input(format!("{}: {error}", path.display())))?,
                )
            } else {
                None
            };
            match bytes {
                Some(bytes) => read(path, &bytes, alerts.get_or_insert_default())?,
                None => logs.push(path.clone()),
            }
        }
        Ok(Self {
            alerts: alerts.map(|alerts| alerts.into_values().collect()),
            logs,
        })
    }
}

fn piped(stdin: &mut dyn Read) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::Input(format!("standard input: {error}"));
    let mut bytes = Vec::new();
    stdin.take(HEAD).read_to_end(&mut bytes).map_err(failed)?;
    if !begins_with_alert(&bytes) {
        let message = "explain takes alerts from standard input, as `replay -f jsonl` writes them; it reads logs twice, and \
                       standard input can be read only once: write them to a file first";
        return Err(Failure::Usage(message.to_owned()));
    }
    stdin.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Whether a path is a file of alerts, packed or not. What cannot be opened is left to those who read logs.
fn is_alerts(path: &Path) -> bool {
    if !path.is_file() {
        return false;
    }
    let Ok(file) = File::open(path) else {
        return false;
    };
    let mut text = Vec::new();
    // It breaks off, and what comes before that is all that is asked for.
    gunzip::inflate_stream(file.take(HEAD), &mut |piece| text.extend_from_slice(piece)).ok();
    begins_with_alert(&text)
}

/// The schema comes first in every alert; in logs it does not.
fn begins_with_alert(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches(['\u{feff}', '[', '{', ' ', '\t', '\r', '\n']);
    let value = text
        .strip_prefix("\"schema\"")
        .and_then(|rest| rest.trim_start().strip_prefix(':'));
    value.is_some_and(|value| value.trim_start().starts_with("\"secretrail.alert/"))
}

/// Reads alerts; of copies of one, that which shows most.
fn read(path: &Path, bytes: &[u8], alerts: &mut BTreeMap<AlertId, Alert>) -> Result<(), Failure> {
    let failed = |message: String| Failure::Input(format!("{}: {message}", path.display()));
    let mut text = Vec::new();
    let inflated = gunzip::inflate(bytes, &mut Scratch::default(), &mut |piece| {
        text.extend_from_slice(piece)
    });
    inflated.map_err(|error| failed(error.to_string()))?;
    let mut values = Vec::new();
    for value in Deserializer::from_slice(&text).into_iter() {
        match value.map_err(|error| failed(error.to_string()))? {
            Value::Array(list) => values.extend(list),
            value => values.push(value),
        }
    }
    for value in values {
        let alert = json_v1::read(value).map_err(|error| failed(error.to_string()))?;
        let shows_less = |known: &Alert| known.accesses.len() < alert.accesses.len();
        if alerts.get(&alert.id).is_none_or(shows_less) {
            alerts.insert(alert.id.clone(), alert);
        }
    }
    Ok(())
}
