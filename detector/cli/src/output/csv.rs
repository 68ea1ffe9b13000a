//! CSV: a header, then one row for each result. Every cell is sanitised, so that no spreadsheet
//! evaluates it as a formula.

use std::sync::Arc;

use csv::Writer;
use secretrail_engine::{access::Access, alert::Alert, sanitize};

use crate::{
    host::RunFailure,
    output::columns::{ACCESS, CellValue},
};

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
    "incident_id",
];

/// Longest cell of a spreadsheet, in UTF-16 units.
///
/// Source: Microsoft, "Excel specifications and limits".
const CELL: usize = 32_767;

/// Why rows could not be written; all of these are internal errors.
#[derive(Debug, thiserror::Error)]
pub enum CsvError {
    /// A row whose number of cells differs from that of the header.
    #[error("{0}")]
    Rows(#[from] csv::Error),
    /// The buffer of the writer could not be returned.
    #[error("{0}")]
    Buffer(#[from] std::io::Error),
    /// A cell that is not UTF-8.
    #[error("{0}")]
    Text(#[from] std::string::FromUtf8Error),
}

impl From<CsvError> for RunFailure {
    fn from(error: CsvError) -> Self {
        Self::Internal(error.to_string())
    }
}

/// Accesses as CSV, with the columns of the ledger.
///
/// # Errors
///
/// [`CsvError`]: an internal error; writing to memory does not fail.
pub fn accesses(accesses: &[Arc<Access>]) -> Result<String, CsvError> {
    let header: Vec<&'static str> = ACCESS.iter().map(|(name, _)| *name).collect();
    rows(header, accesses.iter().map(|a| access(a)))
}

/// Alerts as CSV.
///
/// # Errors
///
/// [`CsvError`]: an internal error; writing to memory does not fail.
pub fn alerts(alerts: &[Alert]) -> Result<String, CsvError> {
    rows(ALERT, alerts.iter().map(alert))
}

/// A header and rows as CSV, with every cell sanitised.
///
/// # Errors
///
/// [`CsvError`]: an internal error; writing to memory does not fail.
pub fn rows<H: AsRef<[&'static str]>, R: AsRef<[String]>>(
    header: H,
    rows: impl Iterator<Item = R>,
) -> Result<String, CsvError> {
    let mut writer = Writer::from_writer(Vec::new());
    writer.write_record(header.as_ref())?;
    for row in rows {
        let cells = row.as_ref().iter();
        writer.write_record(cells.map(|text| cell(text)))?;
    }
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    Ok(String::from_utf8(bytes)?)
}

/// A sanitised cell that a spreadsheet takes whole; a longer one ends in `…`.
fn cell(text: &str) -> String {
    let mut cell = sanitize::cell(text).into_owned();
    // Nearly all are shorter in bytes, and so in every other unit.
    if cell.len() <= CELL || cell.encode_utf16().count() <= CELL {
        return cell;
    }
    // One less: the ellipsis takes a unit, too.
    let mut left = CELL - 1;
    let end = cell.char_indices().find(|(_, c)| {
        let fits = left.checked_sub(c.len_utf16());
        left = fits.unwrap_or(left);
        fits.is_none()
    });
    if let Some((end, _)) = end {
        cell.truncate(end);
    }
    cell.push('…');
    cell
}

fn or_empty<T: ToString + ?Sized>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn access(access: &Access) -> Vec<String> {
    let columns = ACCESS.iter();
    columns.map(|(_, of)| text(&of(access))).collect()
}

fn text(cell: &CellValue<'_>) -> String {
    match cell {
        CellValue::Time(time) => time.to_string(),
        CellValue::Text(text) => or_empty(text.as_ref()),
        CellValue::Flag(flag) => flag.to_string(),
        CellValue::Number(number) => or_empty(number.as_ref()),
    }
}

fn alert(alert: &Alert) -> Vec<String> {
    // Only alerts of window rules have a count and the times of the window.
    let window_match = alert.window_match.as_ref();
    vec![
        alert.time.to_string(),
        alert.rule.level.to_string(),
        alert.rule.title.clone(),
        or_empty(alert.principal.as_ref()),
        alert.summary.clone(),
        or_empty(alert.account.as_ref()),
        or_empty(alert.region.as_ref()),
        or_empty(window_match.map(|window| &window.count)),
        or_empty(window_match.map(|window| &window.start)),
        or_empty(window_match.map(|window| &window.end)),
        alert.secrets.join(" "),
        alert.secrets_total.to_string(),
        alert.accesses_total.to_string(),
        alert.rule.id.clone(),
        alert.id.0.to_string(),
        or_empty(alert.incident.as_ref().map(|id| &id.0)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_a_spreadsheet_would_run_is_made_a_text() {
        let row = ["=cmd()".to_owned(), "a,b".to_owned()];
        let text = rows(["one", "two"], std::iter::once(row)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "one,two");
        assert!(!lines[1].starts_with('='), "{text}");
        assert!(lines[1].ends_with("\"a,b\""), "{text}");
    }

    #[test]
    fn a_cell_ends_where_those_of_a_spreadsheet_end() {
        let whole = "a".repeat(CELL);
        assert_eq!(cell(&whole), whole);
        let long = cell(&"a".repeat(CELL + 1));
        assert_eq!((long.chars().count(), long.ends_with("a…")), (CELL, true));
        // A pair of surrogates is not divided.
        let emoji = cell(&"👩".repeat(20_000));
        assert_eq!(emoji.encode_utf16().count(), CELL);
        // Escapes count as they are written, and so does the quote before a formula.
        assert_eq!(cell(&"\u{202e}".repeat(CELL)).chars().count(), CELL);
        assert_eq!(cell(&"=".repeat(CELL)).chars().count(), CELL);
    }

    #[test]
    fn a_row_of_another_width_is_an_error() {
        let row = ["alone".to_owned()];
        let error = rows(["one", "two"], std::iter::once(row)).unwrap_err();
        assert!(matches!(error, CsvError::Rows(_)));
    }

    #[test]
    fn what_is_not_known_is_empty() {
        let cells = [
            CellValue::Text(None),
            CellValue::Number(None),
            CellValue::Flag(false),
        ];
        assert_eq!(cells.map(|cell| text(&cell)), ["", "", "false"]);
    }
}
