//! Rows of a Parquet file as lines of JSON: what Security Lake and other lakes make of CloudTrail
//! records. A row group is decoded page by page, so that memory does not grow with the file.

use std::{
    io::{self, Read},
    sync::Arc,
};

use parquet::{
    errors::ParquetError,
    file::reader::{ChunkReader, FileReader, SerializedFileReader},
    record::reader::RowIter,
    schema::types::Type,
};

use crate::limits::{MAX_INFLATE_RATIO, MAX_INFLATED_BYTES};

/// What a Parquet file begins with.
const MAGIC: &[u8] = b"PAR1";

/// Columns of OCSF events that tell of a record. The others repeat them.
const OCSF: [&str; 14] = [
    "class_uid",
    "metadata",
    "time",
    "time_dt",
    "cloud",
    "api",
    "actor",
    "src_endpoint",
    "http_request",
    "resources",
    "unmapped",
    "region",
    "accountid",
    "accountId",
];

/// Why a Parquet file could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UnreadableParquet(String);

/// Whether bytes are those of a Parquet file.
#[must_use]
pub fn is_parquet(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// The rows of a file, as lines of JSON.
///
/// # Errors
///
/// The file is damaged, or has a form that cannot be read.
pub fn rows<R: ChunkReader + 'static>(source: R) -> Result<ParquetRows, UnreadableParquet> {
    // As for compressed logs.
    let left = MAX_INFLATED_BYTES.max(source.len().saturating_mul(MAX_INFLATE_RATIO));
    let rows = guarded(|| of(source)).map_err(|error| UnreadableParquet(error.to_string()))?;
    Ok(ParquetRows {
        rows,
        line: Vec::new(),
        at: 0,
        left,
    })
}

/// The library panics at schemas that it does not expect.
fn guarded<T>(read: impl FnOnce() -> parquet::errors::Result<T>) -> parquet::errors::Result<T> {
    let general = |text: &str| ParquetError::General(text.to_owned());
    // Nothing of what panicked is used again.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(general("the Parquet file has a form that cannot be read")))
}

fn of<R: ChunkReader + 'static>(source: R) -> parquet::errors::Result<RowIter<'static>> {
    let reader = SerializedFileReader::new(source)?;
    let schema = reader.metadata().file_metadata().schema();
    let wanted = wanted(schema)?;
    RowIter::from_file_into(Box::new(reader)).project(wanted)
}

/// The columns to read; `None` for all.
fn wanted(schema: &Type) -> parquet::errors::Result<Option<Type>> {
    let columns = schema.get_fields();
    let has = |name: &str| columns.iter().any(|column| column.name() == name);
    if !(has("class_uid") && has("metadata")) {
        return Ok(None);
    }
    let wanted = columns
        .iter()
        .filter(|column| OCSF.contains(&column.name()));
    let wanted = wanted.map(Arc::clone).collect();
    let schema = Type::group_type_builder(schema.name()).with_fields(wanted);
    Ok(Some(schema.build()?))
}

/// Lines of JSON, one for each row.
pub struct ParquetRows {
    rows: RowIter<'static>,
    line: Vec<u8>,
    at: usize,
    /// Bytes that the lines may still have.
    left: u64,
}

impl ParquetRows {
    /// Writes the next line; returns whether there was one.
    fn next_line(&mut self) -> io::Result<bool> {
        let next = guarded(|| self.rows.next().transpose());
        let Some(row) = next.map_err(io::Error::other)? else {
            return Ok(false);
        };
        self.line.clear();
        self.at = 0;
        serde_json::to_writer(&mut self.line, &row.to_json_value())?;
        self.line.push(b'\n');
        let length = self.line.len() as u64;
        self.left = self.left.checked_sub(length).ok_or_else(|| {
            io::Error::other("holds more than such a file may: is it meant to fill the memory?")
        })?;
        Ok(true)
    }
}

impl Read for ParquetRows {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.line.len() && !self.next_line()? {
            return Ok(0);
        }
        let read = self.line.get(self.at..).unwrap_or_default().read(out)?;
        self.at += read;
        Ok(read)
    }
}
