//! Results that are a list, in the forms that every such command has: a table for people, JSON, and
//! comma-separated values.

use serde_json::Value;

use super::csv;
use super::out::OpenOutput;
use crate::args::OutputFormat;
use crate::args::settings::only_rows;
use crate::host::RunFailure;

/// A list of results, one row of so many cells for each. Whoever has one says how it looks;
/// [`write()`] knows the forms.
pub trait RowListing<const CELLS: usize> {
    /// What the user asked for, as it is named when the form of the output does not fit it.
    const NAME: &'static str;

    /// Names of the cells, for programs.
    const HEADER: [&'static str; CELLS];

    /// The whole list for people: it may say more or less than the rows, and says so when there are
    /// none.
    fn table(&self) -> String;

    /// One JSON object for each result.
    fn values(&self) -> Vec<Value>;

    /// One row for each result.
    fn rows(&self) -> Vec<[String; CELLS]>;
}

/// Writes a list in the form that was asked for.
///
/// # Errors
///
/// [`Failure::Usage`]: a list has no such form. [`Failure::Output`].
pub fn write<const CELLS: usize, L: RowListing<CELLS>>(
    list: &L,
    format: OutputFormat,
    out: &mut OpenOutput<'_>,
) -> Result<(), RunFailure> {
    match format {
        OutputFormat::Table => out.raw(&list.table()),
        OutputFormat::Json | OutputFormat::Jsonl => out.values(&list.values()),
        OutputFormat::Csv => out.raw(&csv::rows(L::HEADER, list.rows().into_iter())?),
        // Commands ask for rows before they read anything; this is for one that forgot to.
        OutputFormat::Ocsf | OutputFormat::Html | OutputFormat::Parquet => Err(only_rows(L::NAME)),
    }
}
