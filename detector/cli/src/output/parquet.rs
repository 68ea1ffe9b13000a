//! The ledger as Apache Parquet: typed columns for DuckDB, Athena and other readers of tables.
//! Only with the feature `parquet`.
//!
//! One column for each path of the ledger's JSON, with `_` for `.`; times in microseconds, UTC;
//! unknown values are null.

#[cfg(feature = "parquet")]
pub use self::with_arrow::ParquetRows;

#[cfg(not(feature = "parquet"))]
pub use self::without_arrow::UnsupportedRows as ParquetRows;

#[cfg(not(feature = "parquet"))]
mod without_arrow {
    /// The ledger as Parquet, in a build that does not support it.
    pub struct UnsupportedRows;

    impl UnsupportedRows {
        /// Fails: this build does not support Parquet.
        ///
        /// # Errors
        ///
        /// [`RunFailure::Usage`](crate::host::RunFailure::Usage), always.
        pub fn new() -> Result<Self, crate::host::RunFailure> {
            Err(crate::host::RunFailure::Usage(
                "this build does not support Parquet; build with the feature `parquet`, or choose \
             -f csv"
                    .to_owned(),
            ))
        }

        /// Adds nothing.
        ///
        /// # Errors
        ///
        /// None.
        pub fn rows(
            &mut self,
            _: &[std::sync::Arc<secretrail_engine::access::Access>],
        ) -> Result<Vec<u8>, crate::host::RunFailure> {
            Ok(Vec::new())
        }

        /// Ends nothing.
        ///
        /// # Errors
        ///
        /// None.
        pub fn finish(self) -> Result<Vec<u8>, crate::host::RunFailure> {
            Ok(Vec::new())
        }
    }
}

#[cfg(feature = "parquet")]
mod with_arrow {
    use std::sync::Arc;

    use arrow_array::{
        ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    };
    use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
    use parquet::{
        arrow::ArrowWriter,
        basic::Compression,
        file::{metadata::KeyValue, properties::WriterProperties},
    };
    use secretrail_engine::access::{Access, json_v1::SCHEMA};

    use crate::{
        host::RunFailure,
        output::columns::{ACCESS, CellValue, Column},
    };

    /// Rows of a row group.
    const ROWS: usize = 65_536;

    /// A Parquet file that grows; only its open row group is in memory.
    pub struct ParquetRows {
        writer: ArrowWriter<Vec<u8>>,
        schema: Arc<Schema>,
    }

    impl ParquetRows {
        /// A file with all columns and no rows.
        ///
        /// # Errors
        ///
        /// [`RunFailure::Internal`]: a bug in Secretrail.
        pub fn new() -> Result<Self, RunFailure> {
            let fields: Vec<Field> = ACCESS.iter().map(field).collect();
            let schema = Arc::new(Schema::new(fields));
            let metadata = KeyValue::new("schema".to_owned(), SCHEMA.to_owned());
            let properties = WriterProperties::builder()
                // Every reader of Parquet supports Snappy.
                .set_compression(Compression::SNAPPY)
                .set_key_value_metadata(Some(vec![metadata]))
                .set_max_row_group_row_count(Some(ROWS))
                .build();
            let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties));
            Ok(Self {
                writer: writer.map_err(internal)?,
                schema,
            })
        }

        /// Adds accesses, and returns the next bytes of the file.
        ///
        /// # Errors
        ///
        /// [`RunFailure::Internal`]: a bug in Secretrail.
        pub fn rows(&mut self, accesses: &[Arc<Access>]) -> Result<Vec<u8>, RunFailure> {
            for rows in accesses.chunks(ROWS) {
                let batch = batch(rows, &self.schema).map_err(internal)?;
                self.writer.write(&batch).map_err(internal)?;
            }
            // The writer counts what it has written, and does not look at it again.
            Ok(std::mem::take(self.writer.inner_mut()))
        }

        /// Ends the file, and returns its last bytes.
        ///
        /// # Errors
        ///
        /// [`RunFailure::Internal`]: a bug in Secretrail.
        pub fn finish(self) -> Result<Vec<u8>, RunFailure> {
            self.writer.into_inner().map_err(internal)
        }
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

    fn internal(error: impl ToString) -> RunFailure {
        RunFailure::Internal(error.to_string())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// The file of these accesses, added in slices.
        fn file<'a>(slices: impl IntoIterator<Item = &'a [Arc<Access>]>) -> Vec<u8> {
            let mut rows = ParquetRows::new().unwrap();
            let mut bytes = Vec::new();
            for slice in slices {
                bytes.extend(rows.rows(slice).unwrap());
            }
            bytes.extend(rows.finish().unwrap());
            bytes
        }

        #[test]
        fn a_ledger_without_rows_is_a_whole_file_with_all_columns() {
            let bytes = file([]);
            assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
            let text = String::from_utf8_lossy(&bytes).into_owned();
            for (name, _) in ACCESS {
                assert!(text.contains(&name.replace('.', "_")), "{name}");
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
