//! Where results go and in which form. A file appears only when it is complete: until then it has
//! another name.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use secretrail_engine::access::Access;
use secretrail_engine::access::json_v1::AccessV1;
use secretrail_engine::alert::json_v1::AlertV1;
use secretrail_engine::alert::{Alert, ocsf};
use secretrail_engine::parallel;
use tempfile::NamedTempFile;

use crate::args::OutputFormat;
use crate::args::settings::{RunSettings, only_rows};
use crate::host::{ProcessHost, RunFailure};
use crate::output::{csv, parquet, table};

/// The file that is not complete yet, so that an interrupted run can take it away.
static PARTIAL: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Exit code of a run that was interrupted, as shells know it.
const INTERRUPTED: i32 = 130;

/// On Ctrl-C or a request to end, removes the incomplete output and ends.
pub fn remove_partial_on_interrupt() {
    // Without a handler the run still ends, and the incomplete file stays under its own name.
    ctrlc::set_handler(end_interrupted).ok();
}

fn end_interrupted() {
    let partial = PARTIAL
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(path) = partial {
        // What cannot be removed keeps a name that says what it is.
        std::fs::remove_file(path).ok();
    }
    #[expect(clippy::exit, reason = "the process was asked to end")]
    std::process::exit(INTERRUPTED);
}

/// An output that was opened.
pub struct OpenOutput<'s> {
    settings: &'s RunSettings,
    target: OutputTarget,
    buffer: Vec<u8>,
    /// Whether the header of a table of values was written.
    headed: bool,
}

enum OutputTarget {
    /// Standard output, at the end.
    Stdout,
    /// A device or pipe: there is nothing to protect.
    Device(BufWriter<File>, PathBuf),
    /// A file under another name.
    Partial(BufWriter<NamedTempFile>, PathBuf),
}

/// Lines that a thread makes at a time: what they come to stays in its own cache.
const LINES: usize = 128;

/// Bytes gathered before they are passed on.
const BUFFER: usize = 64 * 1024;

impl<'s> OpenOutput<'s> {
    /// Opens the output before anything is read, so that a wrong path is known at once.
    ///
    /// # Errors
    ///
    /// [`Failure::Output`] when the file cannot be made.
    pub fn open(settings: &'s RunSettings) -> Result<Self, RunFailure> {
        let target = match &settings.output {
            None => OutputTarget::Stdout,
            Some(path) => open_file(path).map_err(|error| failure(path, error))?,
        };
        Ok(Self {
            settings,
            target,
            buffer: Vec::with_capacity(BUFFER),
            headed: false,
        })
    }

    /// Writes alerts.
    ///
    /// # Errors
    ///
    /// [`Failure::Output`].
    pub fn alerts(&mut self, alerts: &[Alert]) -> Result<(), RunFailure> {
        match self.settings.format {
            OutputFormat::Json | OutputFormat::Jsonl => self.lines(alerts, |alert, out| {
                serde_json::to_writer(out, &AlertV1::from(alert))
            }),
            OutputFormat::Csv => self.rows(&csv::alerts(alerts)?),
            OutputFormat::Ocsf => self.lines(alerts, |alert, out| {
                out.extend_from_slice(ocsf::detection_finding(alert).as_bytes());
                Ok(())
            }),
            // The report needs more than alerts: whoever runs the replay writes it.
            OutputFormat::Html | OutputFormat::Parquet => Err(only_rows("alerts")),
            OutputFormat::Table => self.raw(&table::alerts(alerts, self.settings)),
        }
    }

    /// Writes accesses.
    ///
    /// # Errors
    ///
    /// [`Failure::Output`].
    pub fn accesses(&mut self, accesses: &[Arc<Access>]) -> Result<(), RunFailure> {
        match self.settings.format {
            OutputFormat::Json | OutputFormat::Jsonl => self.lines(accesses, |access, out| {
                serde_json::to_writer(out, &AccessV1::from(&**access))
            }),
            OutputFormat::Csv => self.rows(&csv::accesses(accesses)?),
            OutputFormat::Parquet => self.parquet(accesses),
            OutputFormat::Ocsf | OutputFormat::Html => Err(only_rows("accesses")),
            OutputFormat::Table => self.raw(&table::accesses(accesses)),
        }
    }

    fn parquet(&mut self, accesses: &[Arc<Access>]) -> Result<(), RunFailure> {
        let name = self.name();
        // The writer of Parquet knows only that something under it failed.
        parquet::accesses(accesses, &mut OutputWriter(self)).map_err(|failure| match failure {
            RunFailure::Output { error, .. } => RunFailure::Output { name, error },
            other => other,
        })
    }

    /// Writes text as it is.
    ///
    /// # Errors
    ///
    /// [`Failure::Output`].
    pub fn raw(&mut self, text: &str) -> Result<(), RunFailure> {
        self.write(text.as_bytes())
    }

    /// One line of JSON for each value.
    ///
    /// # Errors
    ///
    /// [`Failure::Output`].
    pub fn values(&mut self, values: &[serde_json::Value]) -> Result<(), RunFailure> {
        self.lines(values, |value, out| serde_json::to_writer(out, value))
    }

    /// One line of JSON for each item, made on as many threads as there are and written in order;
    /// all in one array, if that is asked for.
    fn lines<T: Sync>(
        &mut self,
        items: &[T],
        line: impl Fn(&T, &mut Vec<u8>) -> serde_json::Result<()> + Sync,
    ) -> Result<(), RunFailure> {
        let is_array = self.settings.format == OutputFormat::Json;
        parallel::in_order(
            self.settings.threads,
            items,
            LINES,
            |first, items, bytes| {
                for (index, item) in (first..).zip(items) {
                    if is_array {
                        bytes.extend_from_slice(if index == 0 { b"[\n" } else { b",\n" });
                    }
                    line(item, bytes).map_err(|error| RunFailure::Internal(error.to_string()))?;
                    if !is_array {
                        bytes.push(b'\n');
                    }
                }
                Ok(())
            },
            |bytes| self.write(bytes),
        )?;
        match (is_array, items.is_empty()) {
            (true, true) => self.write(b"[\n]\n"),
            (true, false) => self.write(b"\n]\n"),
            (false, _) => Ok(()),
        }
    }

    /// Values with their header, which is written once: a replay in slices comes here for each of
    /// them.
    fn rows(&mut self, text: &str) -> Result<(), RunFailure> {
        let start = if self.headed {
            text.find('\n').map_or(0, |end| end + 1)
        } else {
            0
        };
        self.headed = true;
        self.raw(text.get(start..).unwrap_or_default())
    }

    /// Where the output goes, for messages.
    fn name(&self) -> String {
        match &self.target {
            OutputTarget::Stdout => "standard output".to_owned(),
            OutputTarget::Device(_, path) | OutputTarget::Partial(_, path) => {
                path.display().to_string()
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RunFailure> {
        let written = match &mut self.target {
            OutputTarget::Stdout => {
                self.buffer.extend_from_slice(bytes);
                return Ok(());
            }
            OutputTarget::Device(file, path) => (file.write_all(bytes), path),
            OutputTarget::Partial(file, path) => (file.write_all(bytes), path),
        };
        written.0.map_err(|error| failure(written.1, error))
    }

    /// Passes on what was written to standard output so far, so that it need not be held.
    ///
    /// # Errors
    ///
    /// [`Failure::Output`].
    pub fn pass_on(&mut self, host: &mut ProcessHost) -> Result<(), RunFailure> {
        if self.buffer.len() >= BUFFER {
            let written = host.stdout.write_all(&self.buffer);
            self.buffer.clear();
            return written.map_err(|error| failure(Path::new("standard output"), error));
        }
        Ok(())
    }

    /// Completes the output: only now does a file have its name.
    ///
    /// # Errors
    ///
    /// [`Failure::Output`]; an incomplete file has been removed.
    pub fn finish(self, host: &mut ProcessHost) -> Result<(), RunFailure> {
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

/// An output for writers that know nothing of it.
struct OutputWriter<'o, 's>(&'o mut OpenOutput<'s>);

impl Write for OutputWriter<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(RunFailure::Output { error, .. }) => Err(error),
            Err(other) => Err(io::Error::other(other)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a file beside the output; it appears only when it is complete.
///
/// # Errors
///
/// [`Failure::Output`]; no file was left.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), RunFailure> {
    let mut target = open_file(path).map_err(|error| failure(path, error))?;
    let written = match &mut target {
        OutputTarget::Stdout => Ok(()),
        OutputTarget::Device(file, _) => file.write_all(bytes),
        OutputTarget::Partial(file, _) => file.write_all(bytes),
    };
    written.map_err(|error| failure(path, error))?;
    target.complete()
}

impl OutputTarget {
    fn complete(self) -> Result<(), RunFailure> {
        match self {
            Self::Stdout => Ok(()),
            Self::Device(mut file, path) => file.flush().map_err(|error| failure(&path, error)),
            Self::Partial(file, path) => {
                let complete = file
                    .into_inner()
                    .map_err(io::IntoInnerError::into_error)
                    .and_then(|file| {
                        file.as_file().sync_all()?;
                        file.persist(&path).map_err(|error| error.error)
                    });
                *PARTIAL.lock().unwrap_or_else(PoisonError::into_inner) = None;
                complete.map(|_| ()).map_err(|error| failure(&path, error))
            }
        }
    }
}

fn open_file(path: &Path) -> io::Result<OutputTarget> {
    let is_special = std::fs::metadata(path).is_ok_and(|meta| !meta.is_file());
    if is_special {
        let file = File::options().write(true).open(path)?;
        let file = BufWriter::with_capacity(BUFFER, file);
        return Ok(OutputTarget::Device(file, path.to_owned()));
    }
    let file = partial_file(path)?;
    *PARTIAL.lock().unwrap_or_else(PoisonError::into_inner) = Some(file.path().to_owned());
    let file = BufWriter::with_capacity(BUFFER, file);
    Ok(OutputTarget::Partial(file, path.to_owned()))
}

/// A file beside the output, so that giving it the name of the output is one step of the file
/// system.
fn partial_file(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let prefix = format!(".{}.", name.to_string_lossy());
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".partial");
    // Temporary files are for their owner only; an output is as open as the umask says.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder.unwrap_or(Path::new(".")))
}

fn failure(path: &Path, error: io::Error) -> RunFailure {
    RunFailure::Output {
        name: path.display().to_string(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_only_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        let OutputTarget::Partial(mut file, _) = open_file(&path).unwrap() else {
            panic!("a file that is not there yet is no device");
        };
        file.write_all(b"a,b\n").unwrap();
        let there = names(folder.path());
        assert_eq!(there.len(), 1);
        assert!(there[0].starts_with(".out.csv.") && there[0].ends_with(".partial"));
        OutputTarget::Partial(file, path.clone())
            .complete()
            .unwrap();
        assert_eq!(names(folder.path()), ["out.csv"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"a,b\n");
    }

    #[test]
    fn an_output_that_is_not_completed_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(open_file(&folder.path().join("out.csv")).unwrap());
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn a_device_is_written_as_it_is() {
        let target = open_file(Path::new("/dev/null")).unwrap();
        assert!(matches!(target, OutputTarget::Device(..)));
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = write_file(Path::new("/nowhere/at/all.csv"), b"").unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("cannot write /nowhere/at/all.csv: "),
            "{text}"
        );
    }
}
