//! Results that are a list, in the formats of every such command: a table for people, JSON, and
//! CSV.

use serde_json::Value;

use super::{csv, out::OpenOutput};
use crate::{
    args::{OutputFormat, settings::only_rows},
    host::RunFailure,
};

/// A list of results, with a row of `CELLS` cells for each; [`write()`] writes it in any format.
pub trait RowListing<const CELLS: usize> {
    /// The command or option, as named in the error about an unsupported format.
    const NAME: &'static str;

    /// Header of the CSV.
    const HEADER: [&'static str; CELLS];

    /// The whole list for people; it may differ from the rows, and says so if the list is empty.
    fn table(&self) -> String;

    /// One JSON object for each result.
    fn values(&self) -> Vec<Value>;

    /// One row of CSV for each result.
    fn rows(&self) -> Vec<[String; CELLS]>;
}

/// Writes a list in the chosen format.
///
/// # Errors
///
/// [`RunFailure::Usage`]: lists do not support the format. [`RunFailure::Output`]: the output could
/// not be written.
pub fn write<const CELLS: usize, L: RowListing<CELLS>>(
    list: &L,
    format: OutputFormat,
    out: &mut OpenOutput<'_>,
) -> Result<(), RunFailure> {
    match format {
        OutputFormat::Table => out.raw(&list.table()),
        OutputFormat::Json | OutputFormat::Jsonl => out.values(&list.values()),
        OutputFormat::Csv => out.raw(&csv::rows(L::HEADER, list.rows().into_iter())?),
        // Commands reject these before they read anything; this is for one that does not.
        OutputFormat::Ocsf | OutputFormat::Html | OutputFormat::Parquet => Err(only_rows(L::NAME)),
    }
}
