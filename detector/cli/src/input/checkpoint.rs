//! `--checkpoint FILE`: what was read is appended to a file, so that an interrupted run can resume.
//!
//! The file begins with a line of its own and one with the paths of the run; entries in the format
//! of extract files follow. A file without the first line is never written, shortened or deleted.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ahash::HashSet;
use flate2::bufread::GzDecoder;
use secretrail_engine::{
    extract_file::{self, ExtractFileError, ExtractFileReader, ExtractHeader, ExtractedObject},
    rule::RuleSet,
    selection::Selection,
};

use crate::host::RunFailure;

/// First line of a checkpoint: no log and no extract file begins with it.
const FIRST_LINE: &[u8] = b"secretrail checkpoint 2\n";

/// Both lines before the first entry.
fn preamble(paths: &[PathBuf]) -> Vec<u8> {
    let paths: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
    // An array of texts, which ends where its line does.
    let line = serde_json::Value::from(paths).to_string();
    [FIRST_LINE, line.as_bytes(), b"\n"].concat()
}

/// Objects collected before they are appended to the file.
const OBJECTS: usize = 64;

/// The checkpoint file of a run.
pub struct Checkpoint {
    path: PathBuf,
    name: String,
    header: ExtractHeader,
    /// Names and tags of the objects that an earlier run recorded.
    known: HashSet<(String, String)>,
    /// Length in bytes of what stands before the first entry.
    preamble: u64,
    /// Length in bytes of what an earlier run recorded, after that.
    earlier: u64,
    file: Mutex<File>,
    /// The last write error; the run continues without recording.
    failed: Mutex<Option<String>>,
}

impl Checkpoint {
    /// Opens or creates the file. An incomplete entry at its end, left by a killed run, is removed.
    ///
    /// # Errors
    ///
    /// [`RunFailure::Usage`]: the file cannot be opened, is not a checkpoint, or belongs to a run
    /// with other paths, other rules or another selection.
    pub fn open(
        path: &Path,
        rules: &RuleSet,
        selection: &Selection,
        paths: &[PathBuf],
    ) -> Result<Self, RunFailure> {
        let name = path.display().to_string();
        let header = ExtractHeader::new(rules, selection);
        let preamble = preamble(paths);
        let mut known = HashSet::default();
        let (file, earlier) = reopen(path, &preamble, &header, &mut known)
            .map_err(|error| RunFailure::Usage(format!("--checkpoint {name}: {error}")))?;
        Ok(Self {
            path: path.to_owned(),
            name,
            header,
            known,
            preamble: preamble.len() as u64,
            earlier,
            file: Mutex::new(file),
            failed: Mutex::default(),
        })
    }

    /// Path of the file, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of objects that an earlier run recorded.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether no earlier run recorded any object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether an earlier run recorded this version of an object.
    #[must_use]
    pub fn has(&self, name: &str, tag: &str) -> bool {
        self.known.contains(&(name.to_owned(), tag.to_owned()))
    }

    /// Appends what was read if enough has been collected, or in any case with `now`.
    pub fn note(&self, read: &mut Vec<ExtractedObject>, now: bool) {
        if read.is_empty() || (read.len() < OBJECTS && !now) {
            return;
        }
        let bytes = extract_file::write(&self.header, std::mem::take(read));
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(&bytes).and_then(|()| file.flush()) {
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        }
    }

    /// What an earlier run recorded; `None` if there is nothing.
    ///
    /// # Errors
    ///
    /// [`io::Error`]: the file cannot be read.
    pub fn earlier(&self) -> io::Result<Option<impl Read + use<>>> {
        if self.earlier == 0 {
            return Ok(None);
        }
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.preamble))?;
        // This run appends behind it.
        Ok(Some(file.take(self.earlier)))
    }

    /// Removes the file if everything was read; otherwise it stays for the next run. Returns a
    /// message if recording failed.
    #[must_use]
    pub fn close(self, everything: bool) -> Option<String> {
        if everything {
            // A file that cannot be removed changes nothing in the next run.
            std::fs::remove_file(&self.path).ok();
        }
        let failed = self
            .failed
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        failed.map(|error| {
            format!(
                "--checkpoint {}: {error}; files read after this error were not recorded",
                self.name
            )
        })
    }
}

/// Why a file cannot be a checkpoint of this run.
#[derive(Debug, thiserror::Error)]
enum NoCheckpoint {
    #[error("{0}")]
    File(#[from] io::Error),
    #[error(
        "belongs to a run with other paths, another selection or other rules; choose another file"
    )]
    OtherRun,
    #[error("is not a checkpoint; choose a file that does not exist yet")]
    Foreign,
}

/// Opens or creates the file, and returns the length of its complete entries. The rest, left by a
/// killed run, is removed; appending starts there.
fn reopen(
    path: &Path,
    preamble: &[u8],
    header: &ExtractHeader,
    known: &mut HashSet<(String, String)>,
) -> Result<(File, u64), NoCheckpoint> {
    match create(path, preamble) {
        Ok(file) => return Ok((file, 0)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    // Opened for writing only once it is known to be ours.
    let found = File::open(path)?;
    if !found.metadata()?.is_file() || !begins_with(&found, FIRST_LINE)? {
        return Err(NoCheckpoint::Foreign);
    }
    let paths = preamble.get(FIRST_LINE.len()..).unwrap_or_default();
    if !begins_with(&found, paths)? {
        return Err(NoCheckpoint::OtherRun);
    }
    let start = preamble.len() as u64;
    let earlier = noted(&found, start, known, header)?;
    let mut file = File::options().read(true).write(true).open(path)?;
    file.set_len(start + earlier)?;
    file.seek(SeekFrom::End(0))?;
    Ok((file, earlier))
}

/// A new checkpoint, only for its user: it holds records.
fn create(path: &Path, preamble: &[u8]) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(preamble)?;
    Ok(file)
}

/// Whether these bytes come next in a file; it is then read up to what follows them.
fn begins_with(file: &File, expected: &[u8]) -> io::Result<bool> {
    let mut found = Vec::new();
    file.take(expected.len() as u64).read_to_end(&mut found)?;
    Ok(found == expected)
}

/// Reads the recorded objects, and returns the length in bytes of all complete entries.
fn noted(
    file: &File,
    start: u64,
    known: &mut HashSet<(String, String)>,
    header: &ExtractHeader,
) -> Result<u64, NoCheckpoint> {
    let mut whole = 0;
    let mut source = BufReader::new(file);
    while !source.fill_buf()?.is_empty() {
        match one(&mut source) {
            Ok((theirs, found)) if theirs == *header => known.extend(found),
            // Other rules keep other records: resuming would mix them with those of this run.
            Ok(_) => return Err(NoCheckpoint::OtherRun),
            // The run was killed while it wrote this entry.
            Err(_) => break,
        }
        whole = source.stream_position()? - start;
    }
    Ok(whole)
}

/// Header and objects of one entry, which is read to its end.
fn one(source: impl BufRead) -> Result<(ExtractHeader, Vec<(String, String)>), ExtractFileError> {
    let broken = || ExtractFileError::Broken("it is empty".to_owned());
    let mut reader =
        ExtractFileReader::new(BufReader::new(GzDecoder::new(source)))?.ok_or_else(broken)?;
    while reader.next_record()?.is_some() {}
    let found = reader
        .entries
        .iter()
        .map(|entry| (entry.name.to_string(), entry.tag.clone()))
        .collect();
    let header = reader.header.purpose();
    // Consumes the compressed bytes to their end, so that the next entry starts after them.
    reader.next_extract_file().map(|_| (header, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Result<Checkpoint, String> {
        open_for(path, "logs")
    }

    fn open_for(path: &Path, logs: &str) -> Result<Checkpoint, String> {
        let (rules, selection) = (RuleSet::default(), Selection::default());
        let checkpoint = Checkpoint::open(path, &rules, &selection, &[logs.into()]);
        checkpoint.map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_new_file_is_created_and_removed_once_everything_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.checkpoint");
        let checkpoint = open(&path).unwrap();
        assert!(checkpoint.is_empty() && checkpoint.earlier().unwrap().is_none());
        assert!(path.exists());
        assert_eq!(checkpoint.close(true), None);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_something_else_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        let extract_file = extract_file::write(&ExtractHeader::default(), Vec::new());
        let cut = extract_file[..extract_file.len() - 9].to_vec();
        let gzip = b"\x1f\x8b\x08\0\0\0".to_vec();
        let begun = FIRST_LINE[..9].to_vec();
        for content in [
            b"my notes".to_vec(),
            extract_file,
            cut,
            gzip,
            begun,
            Vec::new(),
        ] {
            std::fs::write(&path, &content).unwrap();
            let error = open(&path).map(|_| ()).unwrap_err();
            assert!(error.starts_with("--checkpoint "), "{error}");
            assert!(error.ends_with("choose a file that does not exist yet"));
            assert_eq!(std::fs::read(&path).unwrap(), content);
        }
        let error = open(folder.path()).map(|_| ()).unwrap_err();
        assert!(error.contains("is not a checkpoint"), "{error}");
    }

    #[test]
    fn an_entry_that_was_not_completed_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.checkpoint");
        drop(open(&path).unwrap());
        let header = ExtractHeader::new(&RuleSet::default(), &Selection::default());
        let entry = extract_file::write(&header, Vec::new());
        let whole = [&preamble(&["logs".into()])[..], &entry].concat();
        std::fs::write(&path, [&whole[..], &entry[..entry.len() / 2]].concat()).unwrap();
        let checkpoint = open(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        let mut earlier = Vec::new();
        let mut source = checkpoint.earlier().unwrap().unwrap();
        source.read_to_end(&mut earlier).unwrap();
        assert_eq!(earlier, entry);
        assert_eq!(checkpoint.close(false), None);
        assert!(path.exists());
        // A line end in a path is escaped: the line of paths is one line.
        for other in ["log", "logs\n", "logs2"] {
            let error = open_for(&path, other).map(|_| ()).unwrap_err();
            assert!(error.contains("other paths"), "{error}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
}
