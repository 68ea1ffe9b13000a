//! The output of a run, in the chosen format.

use std::{io::Write, path::Path, sync::Arc};

use secretrail_engine::{
    access::{Access, json_v1::AccessV1},
    alert::{Alert, json_v1::AlertV1, ocsf},
    incident::{Incident, IncidentPeriods, json_v1::IncidentV1},
    parallel, sanitize,
    time::EventTime,
};

use crate::{
    args::{
        OutputFormat,
        settings::{RunSettings, only_rows},
    },
    host::{ProcessHost, RunFailure, say},
    output::{
        csv, incidents, json,
        parquet::ParquetRows,
        table::{self, TableSpool},
        target::{BUFFER, OutputTarget, failure},
    },
};

/// The opened output of a run.
pub struct OpenOutput<'s> {
    settings: &'s RunSettings,
    target: OutputTarget,
    buffer: Vec<u8>,
    /// Whether the CSV header was written.
    headed: bool,
    /// Number of items in the JSON array; `None` before it is opened.
    items: Option<usize>,
    rows: WaitingRows,
}

/// Rows that are written when all are known.
enum WaitingRows {
    /// The format needs none.
    None,
    /// A table of accesses: its columns are as wide as their widest cell.
    Table(TableSpool<8>),
    /// A row group.
    Parquet(Box<ParquetRows>),
}

/// Lines that a thread formats at a time; their bytes fit into its cache.
const LINES: usize = 128;

impl<'s> OpenOutput<'s> {
    /// Opens the output; called before anything is read, so that a wrong path fails at once.
    ///
    /// # Errors
    ///
    /// [`RunFailure::Output`] if the file cannot be created. [`RunFailure::Usage`]: this build does
    /// not support the format.
    pub fn open(settings: &'s RunSettings) -> Result<Self, RunFailure> {
        let target = match &settings.output {
            None => OutputTarget::Stdout,
            Some(path) => OutputTarget::open(path)?,
        };
        let rows = match settings.format {
            OutputFormat::Parquet => WaitingRows::Parquet(Box::new(ParquetRows::new()?)),
            _ => WaitingRows::None,
        };
        Ok(Self {
            settings,
            target,
            buffer: Vec::with_capacity(BUFFER),
            headed: false,
            items: None,
            rows,
        })
    }

    /// Writes alerts in the chosen format. May be called for one slice of them after the other.
    ///
    /// # Errors
    ///
    /// [`RunFailure::Output`]: they could not be written. [`RunFailure::Usage`]: alerts do not
    /// support the format.
    pub fn alerts(&mut self, alerts: &[Alert]) -> Result<(), RunFailure> {
        match self.settings.format {
            OutputFormat::Json | OutputFormat::Jsonl => {
                self.lines(alerts, |alert, out| json::push(&AlertV1::from(alert), out))
            }
            OutputFormat::Csv => self.rows(&csv::alerts(alerts)?),
            OutputFormat::Ocsf => self.lines(alerts, |alert, out| {
                let start = out.len();
                out.extend_from_slice(ocsf::detection_finding(alert).as_bytes());
                json::escape(out, start);
                Ok(())
            }),
            // The HTML report needs more than alerts: `replay` writes it.
            OutputFormat::Html | OutputFormat::Parquet => Err(only_rows("alerts")),
            OutputFormat::Table => self.raw(&table::alerts(alerts, self.settings)),
        }
    }

    /// Writes incidents as they stand at `now`, the most suspicious first.
    ///
    /// # Errors
    ///
    /// [`RunFailure::Output`]: they could not be written. [`RunFailure::Usage`]: incidents do not
    /// support the format.
    pub(crate) fn incidents(
        &mut self,
        incidents: &mut [Incident],
        now: EventTime,
    ) -> Result<(), RunFailure> {
        incidents.sort_by_cached_key(|incident| incident.order());
        let periods = IncidentPeriods::default();
        match self.settings.format {
            OutputFormat::Json | OutputFormat::Jsonl => self.lines(incidents, |incident, out| {
                json::push(&IncidentV1::new(incident, now, periods), out)
            }),
            OutputFormat::Table => self.raw(&incidents::list(incidents, self.settings)),
            OutputFormat::Csv | OutputFormat::Ocsf | OutputFormat::Html | OutputFormat::Parquet => {
                Err(only_rows("incidents"))
            }
        }
    }

    /// Writes accesses in the chosen format. May be called for one slice of them after the other.
    ///
    /// # Errors
    ///
    /// [`RunFailure::Output`]: they could not be written. [`RunFailure::Usage`]: accesses do not
    /// support the format.
    pub fn accesses(&mut self, accesses: &[Arc<Access>]) -> Result<(), RunFailure> {
        match self.settings.format {
            OutputFormat::Json | OutputFormat::Jsonl => self.lines(accesses, |access, out| {
                json::push(&AccessV1::from(&**access), out)
            }),
            OutputFormat::Csv => self.rows(&csv::accesses(accesses)?),
            OutputFormat::Parquet => self.parquet(accesses),
            OutputFormat::Ocsf | OutputFormat::Html => Err(only_rows("accesses")),
            OutputFormat::Table => self.table(accesses),
        }
    }

    fn parquet(&mut self, accesses: &[Arc<Access>]) -> Result<(), RunFailure> {
        let WaitingRows::Parquet(rows) = &mut self.rows else {
            return Ok(());
        };
        let bytes = rows.rows(accesses)?;
        self.write(&bytes)
    }

    fn table(&mut self, accesses: &[Arc<Access>]) -> Result<(), RunFailure> {
        if !matches!(self.rows, WaitingRows::Table(_)) {
            self.rows = WaitingRows::Table(table::accesses(&self.settings.temp_dir));
        }
        match &mut self.rows {
            WaitingRows::Table(rows) => rows.rows(accesses.iter().map(|access| table::row(access))),
            WaitingRows::None | WaitingRows::Parquet(_) => Ok(()),
        }
    }

    /// Writes text unchanged.
    ///
    /// # Errors
    ///
    /// [`RunFailure::Output`]: it could not be written.
    pub fn raw(&mut self, text: &str) -> Result<(), RunFailure> {
        self.write(text.as_bytes())
    }

    /// Writes values as JSON lines, or as one array if `-f json` is chosen.
    ///
    /// # Errors
    ///
    /// [`RunFailure::Output`]: they could not be written.
    pub fn values(&mut self, values: &[serde_json::Value]) -> Result<(), RunFailure> {
        self.lines(values, json::push)
    }

    /// Writes one line of JSON for each item, formatted on all threads and written in order; with
    /// `-f json` as one array.
    fn lines<T: Sync>(
        &mut self,
        items: &[T],
        line: impl Fn(&T, &mut Vec<u8>) -> Result<(), RunFailure> + Sync,
    ) -> Result<(), RunFailure> {
        let is_array = self.settings.format == OutputFormat::Json;
        let before = self.items.unwrap_or_default();
        parallel::in_order(
            self.settings.threads,
            items,
            LINES,
            |first, items, bytes| {
                for (index, item) in (before + first..).zip(items) {
                    if is_array {
                        bytes.extend_from_slice(if index == 0 { b"[\n" } else { b",\n" });
                    }
                    line(item, bytes)?;
                    if !is_array {
                        bytes.push(b'\n');
                    }
                }
                Ok(())
            },
            |bytes| self.write(bytes),
        )?;
        if is_array {
            self.items = Some(before + items.len());
        }
        Ok(())
    }

    /// Writes CSV and omits its header after the first call: a run in slices calls this for each
    /// slice.
    fn rows(&mut self, text: &str) -> Result<(), RunFailure> {
        let start = if self.headed {
            text.find('\n').map_or(0, |end| end + 1)
        } else {
            0
        };
        self.headed = true;
        self.raw(text.get(start..).unwrap_or_default())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RunFailure> {
        if let OutputTarget::Stdout = self.target {
            // Held until the end, or until `pass_on`: a run that fails early prints no results.
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.target.write(bytes)
    }

    /// Flushes a full buffer to standard output, so that memory stays bounded.
    ///
    /// # Errors
    ///
    /// [`RunFailure::Output`]: it could not be written.
    pub fn pass_on(&mut self, host: &mut ProcessHost) -> Result<(), RunFailure> {
        if self.buffer.len() >= BUFFER {
            let written = host.stdout.write_all(&self.buffer);
            self.buffer.clear();
            return written.map_err(|error| failure(Path::new("standard output"), error));
        }
        Ok(())
    }

    /// Writes what waits for the end of the data.
    fn end(&mut self, host: &mut ProcessHost) -> Result<(), RunFailure> {
        match self.items {
            None => {}
            Some(0) => self.write(b"[\n]\n")?,
            Some(_) => self.write(b"\n]\n")?,
        }
        match std::mem::replace(&mut self.rows, WaitingRows::None) {
            WaitingRows::None => Ok(()),
            WaitingRows::Table(rows) => rows.lines(|line| {
                self.raw(line)?;
                self.pass_on(host)
            }),
            WaitingRows::Parquet(rows) => {
                let bytes = rows.finish()?;
                self.write(&bytes)
            }
        }
    }

    /// Completes the output of a run that read logs. A run that read nothing never takes the place
    /// of an earlier result: that file is kept, and this is said.
    ///
    /// # Errors
    ///
    /// As [`OpenOutput::finish`].
    pub(crate) fn finish_reading(
        self,
        is_nothing: bool,
        host: &mut ProcessHost,
    ) -> Result<(), RunFailure> {
        match self.target.replaces() {
            Some(path) if is_nothing => {
                let name = path.display().to_string();
                let name = sanitize::line(&name);
                say(host, &format!("secretrail: {name} is kept as it was\n"));
                self.target.discard();
                Ok(())
            }
            _ => self.finish(host),
        }
    }

    /// Completes the output: a file now gets its name.
    ///
    /// # Errors
    ///
    /// [`RunFailure::Output`]; an incomplete file has been removed. [`RunFailure::TempDir`]: rows
    /// were in a temporary file that could not be read.
    pub fn finish(mut self, host: &mut ProcessHost) -> Result<(), RunFailure> {
        self.end(host)?;
        match self.target {
            OutputTarget::Stdout => {
                let written = host
                    .stdout
                    .write_all(&self.buffer)
                    .and_then(|()| host.stdout.flush());
                written.map_err(|error| failure(Path::new("standard output"), error))
            }
            target => target.complete(),
        }
    }
}
