//! Comma-separated values: a header, then a row for each. Every cell is neutralised, so that no spreadsheet runs it.

use std::sync::Arc;

use csv::Writer;
use secretrail_engine::access::Access;
use secretrail_engine::alert::Alert;
use secretrail_engine::neutral;

use super::columns::{ACCESS, Cell, Column};

const ALERT: &[&str] = &[
    "time",
    "level",
    "title",
    "principal",
    "summary",
    "account",
    "region",
    "count",
    "window.start",
    "window.end",
    "secrets",
    "secrets_total",
    "accesses_total",
    "rule_id",
    "id",
];

/// Accesses.
///
/// # Errors
///
/// A fault of ours; writing to memory does not fail.
pub fn accesses(accesses: &[Arc<Access>]) -> Result<String, String> {
    let header: Vec<&'static str> = ACCESS.iter().map(|(name, _)| *name).collect();
    rows(header, accesses.iter().map(|a| access(a)))
}

/// Alerts.
///
/// # Errors
///
/// A fault of ours; writing to memory does not fail.
pub fn alerts(alerts: &[Alert]) -> Result<String, String> {
    rows(ALERT, alerts.iter().map(alert))
}

/// A header and rows, every cell made harmless.
///
/// # Errors
///
/// A fault of ours; writing to memory does not fail.
pub fn rows<H: AsRef<[&'static str]>, R: AsRef<[String]>>(
    header: H,
    rows: impl Iterator<Item = R>,
) -> Result<String, String> {
    let mut writer = Writer::from_writer(Vec::new());
    writer
        .write_record(header.as_ref())
        .map_err(|error| error.to_string())?;
    for row in rows {
        let cells = row
            .as_ref()
            .iter()
            .map(|cell| neutral::cell(cell).into_owned());
        writer
            .write_record(cells)
            .map_err(|error| error.to_string())?;
    }
    let bytes = writer.into_inner().map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

fn or_empty<T: ToString + ?Sized>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn access(access: &Access) -> Vec<String> {
    let cell = |(_, of): &Column| match of(access) {
        Cell::Time(time) => time.to_string(),
        Cell::Text(text) => or_empty(text),
        Cell::Flag(flag) => flag.to_string(),
        Cell::Number(number) => or_empty(number.as_ref()),
    };
    ACCESS.iter().map(cell).collect()
}

fn alert(alert: &Alert) -> Vec<String> {
    let firing = alert.firing.as_ref();
    vec![
        alert.time.to_string(),
        alert.rule.level.to_string(),
        alert.rule.title.clone(),
        or_empty(alert.principal.as_ref()),
        alert.summary.clone(),
        or_empty(alert.account.as_ref()),
        or_empty(alert.region.as_ref()),
        firing.map(|f| f.count.to_string()).unwrap_or_default(),
        firing.map(|f| f.start.to_string()).unwrap_or_default(),
        firing.map(|f| f.end.to_string()).unwrap_or_default(),
        alert.secrets.join(" "),
        alert.secrets_total.to_string(),
        alert.accesses_total.to_string(),
        alert.rule.id.clone(),
        alert.id.0.to_string(),
    ]
}
