//! The ledger as Apache Parquet: typed columns for DuckDB, Athena and other readers of tables.
//! Only with the feature `parquet`.
//!
//! One column for each path of the ledger's JSON, with `_` for `.`; times in microseconds, UTC;
//! unknown values are null.

#[cfg(feature = "parquet")]
pub use self::with_arrow::accesses;

/// Fails: this build does not support Parquet.
///
/// # Errors
///
/// [`RunFailure::Usage`](crate::host::RunFailure::Usage), always.
#[cfg(not(feature = "parquet"))]
pub fn accesses(
    _: &[std::sync::Arc<secretrail_engine::access::Access>],
    _: &mut (impl std::io::Write + Send),
) -> Result<(), crate::host::RunFailure> {
    Err(crate::host::RunFailure::Usage(
        "this build does not support Parquet; build with the feature `parquet`, or choose -f csv"
            .to_owned(),
    ))
}

#[cfg(feature = "parquet")]
mod with_arrow {
    use std::io::{self, Write};
    use std::sync::Arc;

    use arrow_array::{
        ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    };
    use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::Compression;
    use parquet::errors::ParquetError;
    use parquet::file::metadata::KeyValue;
    use parquet::file::properties::WriterProperties;
    use secretrail_engine::access::Access;
    use secretrail_engine::access::json_v1::SCHEMA;

    use crate::host::RunFailure;
    use crate::output::columns::{ACCESS, CellValue, Column};

    /// Rows of a row group.
    const ROWS: usize = 65_536;

    /// Writes accesses as a Parquet file.
    ///
    /// # Errors
    ///
    /// [`RunFailure::Output`], without the name of the output: it could not be written.
    /// [`RunFailure::Internal`]: a bug in Secretrail.
    pub fn accesses(
        accesses: &[Arc<Access>],
        out: &mut (impl Write + Send),
    ) -> Result<(), RunFailure> {
        let schema = Arc::new(Schema::new(ACCESS.iter().map(field).collect::<Vec<_>>()));
        let metadata = KeyValue::new("schema".to_owned(), SCHEMA.to_owned());
        let properties = WriterProperties::builder()
            // Every reader of Parquet supports Snappy.
            .set_compression(Compression::SNAPPY)
            .set_key_value_metadata(Some(vec![metadata]))
            .build();
        let mut writer =
            ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties)).map_err(failure)?;
        for rows in accesses.chunks(ROWS) {
            let batch = batch(rows, &schema).map_err(internal)?;
            writer.write(&batch).map_err(failure)?;
            // One row group for each batch, so that only one is in memory.
            writer.flush().map_err(failure)?;
        }
        writer.close().map(|_| ()).map_err(failure)
    }

    /// The Arrow field of a column. Types follow from names and not from values: an empty ledger
    /// has the same schema as any other, and files of several runs can be read as one table.
    fn field((name, _): &Column) -> Field {
        let (kind, nullable) = match *name {
            "time" => (
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                false,
            ),
            "cross_account" | "principal.console" => (DataType::Boolean, false),
            "decrypt.delta_secs" => (DataType::Int64, true),
            _ => (DataType::Utf8, true),
        };
        // Readers would take a dot as a path into a nested column.
        Field::new(name.replace('.', "_"), kind, nullable)
    }

    fn batch(rows: &[Arc<Access>], schema: &Arc<Schema>) -> Result<RecordBatch, ArrowError> {
        let columns = ACCESS.iter().zip(schema.fields());
        let arrays = columns.map(|(column, field)| array(rows, column, field.data_type()));
        RecordBatch::try_new(Arc::clone(schema), arrays.collect())
    }

    /// The values of a column, as an Arrow array.
    fn array(rows: &[Arc<Access>], (_, of): &Column, kind: &DataType) -> ArrayRef {
        let cells = rows.iter().map(|access| of(access));
        match kind {
            DataType::Timestamp(..) => {
                let times = TimestampMicrosecondArray::from_iter_values(cells.map(micros));
                Arc::new(times.with_timezone("UTC"))
            }
            DataType::Boolean => Arc::new(cells.map(flag).collect::<BooleanArray>()),
            DataType::Int64 => Arc::new(cells.map(number).collect::<Int64Array>()),
            _ => Arc::new(cells.map(text).collect::<StringArray>()),
        }
    }

    /// Microseconds since 1970, UTC. The column is not nullable: times out of range become 1970.
    fn micros(cell: CellValue<'_>) -> i64 {
        match cell {
            CellValue::Time(time) => time.0.checked_mul(1_000_000).unwrap_or_default(),
            _ => 0,
        }
    }

    fn flag(cell: CellValue<'_>) -> Option<bool> {
        Some(matches!(cell, CellValue::Flag(true)))
    }

    fn number(cell: CellValue<'_>) -> Option<i64> {
        match cell {
            CellValue::Number(number) => number,
            _ => None,
        }
    }

    fn text(cell: CellValue<'_>) -> Option<&str> {
        match cell {
            CellValue::Text(text) => text,
            _ => None,
        }
    }

    /// Recovers the I/O error of the output from the error of the Parquet writer, so that a closed
    /// pipe is recognised.
    fn failure(error: ParquetError) -> RunFailure {
        let ParquetError::External(error) = error else {
            return RunFailure::Internal(error.to_string());
        };
        match error.downcast::<io::Error>() {
            Ok(error) => RunFailure::Output {
                name: "parquet".to_owned(),
                error: *error,
            },
            Err(error) => RunFailure::Internal(error.to_string()),
        }
    }

    fn internal(error: ArrowError) -> RunFailure {
        RunFailure::Internal(error.to_string())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        struct Full;

        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        #[test]
        fn a_ledger_without_rows_is_a_whole_file_with_all_columns() {
            let mut bytes = Vec::new();
            accesses(&[], &mut bytes).unwrap();
            assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
            let text = String::from_utf8_lossy(&bytes).into_owned();
            for (name, _) in ACCESS {
                assert!(text.contains(&name.replace('.', "_")), "{name}");
            }
        }

        #[test]
        fn what_the_output_says_is_not_lost_in_the_writer() {
            let error = accesses(&[], &mut Full).unwrap_err();
            match error {
                RunFailure::Output { error, .. } => {
                    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
                }
                other => panic!("{other}"),
            }
        }

        #[test]
        fn every_value_has_the_kind_of_its_column() {
            let kinds: Vec<_> = ACCESS.iter().map(field).collect();
            let nullable = kinds.iter().filter(|field| !field.is_nullable()).count();
            assert_eq!(nullable, 3, "time and the two flags");
            assert_eq!(micros(CellValue::Number(None)), 0);
            assert_eq!(
                (
                    number(CellValue::Flag(true)),
                    text(CellValue::Number(Some(1)))
                ),
                (None, None)
            );
        }
    }
}
