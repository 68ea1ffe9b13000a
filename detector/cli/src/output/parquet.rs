//! The ledger as Apache Parquet: typed columns for DuckDB, Athena and whatever else reads tables. Behind the feature of that
//! name.
//!
//! One column for each path of the ledger's JSON, with `_` for `.`; times in microseconds of UTC; what is not known is null.

use std::io::Write;
use std::sync::Arc;

use secretrail_engine::access::Access;

use crate::host::Failure;

/// Rows that are gathered before they are written.
#[cfg(feature = "parquet")]
const ROWS: usize = 65_536;

/// Writes accesses.
///
/// # Errors
///
/// The output took no more, as [`Failure::Output`] without its name; or a fault of ours.
#[cfg(feature = "parquet")]
pub fn accesses(accesses: &[Arc<Access>], out: &mut (impl Write + Send)) -> Result<(), Failure> {
    use arrow_array::RecordBatch;
    use arrow_schema::{DataType, Field, Schema, TimeUnit};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::Compression;
    use parquet::errors::ParquetError;
    use parquet::file::metadata::KeyValue;
    use parquet::file::properties::WriterProperties;

    use secretrail_engine::access::json_v1::SCHEMA;

    use super::columns::{ACCESS, Cell, Column};

    let failure = |error: ParquetError| match error {
        ParquetError::External(error) => match error.downcast::<std::io::Error>() {
            Ok(error) => Failure::Output {
                name: "parquet".to_owned(),
                error: *error,
            },
            Err(error) => Failure::Internal(error.to_string()),
        },
        error => Failure::Internal(error.to_string()),
    };
    let internal = |error: arrow_schema::ArrowError| Failure::Internal(error.to_string());
    // Every column has a value of one kind; a ledger without rows has the kinds of the columns that are not text by name.
    let field = |(name, _): &Column| {
        let (kind, nullable) = match *name {
            "time" => (
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                false,
            ),
            "cross_account" | "principal.console" => (DataType::Boolean, false),
            "decrypt.delta_secs" => (DataType::Int64, true),
            _ => (DataType::Utf8, true),
        };
        Field::new(name.replace('.', "_"), kind, nullable)
    };
    let schema = Arc::new(Schema::new(ACCESS.iter().map(field).collect::<Vec<_>>()));
    let metadata = KeyValue::new("schema".to_owned(), SCHEMA.to_owned());
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(vec![metadata]))
        .build();
    let mut writer =
        ArrowWriter::try_new(out, schema.clone(), Some(properties)).map_err(failure)?;
    for rows in accesses.chunks(ROWS) {
        let column = |(_, of): &Column, kind: &DataType| -> arrow_array::ArrayRef {
            use arrow_array::{BooleanArray, Int64Array, StringArray, TimestampMicrosecondArray};
            let cells = rows.iter().map(|access| of(access));
            match kind {
                DataType::Timestamp(..) => {
                    let micros = cells.map(|cell| match cell {
                        Cell::Time(time) => time.0.checked_mul(1_000_000).unwrap_or_default(),
                        _ => 0,
                    });
                    Arc::new(
                        TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"),
                    )
                }
                DataType::Boolean => Arc::new(
                    cells
                        .map(|cell| Some(matches!(cell, Cell::Flag(true))))
                        .collect::<BooleanArray>(),
                ),
                DataType::Int64 => Arc::new(
                    cells
                        .map(|cell| match cell {
                            Cell::Number(number) => number,
                            _ => None,
                        })
                        .collect::<Int64Array>(),
                ),
                _ => Arc::new(
                    cells
                        .map(|cell| match cell {
                            Cell::Text(text) => text,
                            _ => None,
                        })
                        .collect::<StringArray>(),
                ),
            }
        };
        let arrays = ACCESS
            .iter()
            .zip(schema.fields())
            .map(|(of, field)| column(of, field.data_type()))
            .collect();
        let batch = RecordBatch::try_new(schema.clone(), arrays).map_err(internal)?;
        writer.write(&batch).map_err(failure)?;
        writer.flush().map_err(failure)?;
    }
    writer.close().map(|_| ()).map_err(failure)
}

/// Says that there is no Parquet in this build.
///
/// # Errors
///
/// Always.
#[cfg(not(feature = "parquet"))]
pub fn accesses(_: &[Arc<Access>], _: &mut (impl Write + Send)) -> Result<(), Failure> {
    Err(Failure::Usage(
        "this build has no Parquet; install it with the feature `parquet`, or choose -f csv"
            .to_owned(),
    ))
}
