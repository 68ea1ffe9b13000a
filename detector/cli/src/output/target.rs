//! Files that a command writes. A file gets its name only once it is complete; until then it has a
//! temporary one.

use std::{
    fs::{self, DirEntry, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

#[cfg(unix)]
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
#[cfg(unix)]
use signal_hook::iterator::Signals;
use tempfile::NamedTempFile;

use crate::host::RunFailure;

/// The incomplete output file, so that an interrupted run can remove it.
static PARTIAL: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Installs a handler for SIGHUP, SIGINT (Ctrl-C) and SIGTERM that removes the incomplete output
/// and exits with 128 and the number of the signal, as shells report it.
pub fn remove_partial_on_interrupt() {
    // Without a handler the run still ends; the incomplete file keeps its temporary name.
    #[cfg(unix)]
    if let Ok(mut signals) = Signals::new([SIGHUP, SIGINT, SIGTERM]) {
        std::thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                end_interrupted(128 + signal);
            }
        });
    }
}

#[cfg(unix)]
fn end_interrupted(exit_code: i32) {
    let partial = PARTIAL
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(path) = partial {
        // A file that cannot be removed keeps its `.partial` name.
        fs::remove_file(path).ok();
    }
    #[expect(clippy::exit, reason = "the process was asked to end")]
    std::process::exit(exit_code);
}

/// What is written to.
pub(super) enum OutputTarget {
    /// Standard output, written at the end.
    Stdout,
    /// A device or pipe, written directly.
    Device(BufWriter<File>, PathBuf),
    /// A temporary file, and the name that it gets once complete.
    Partial(BufWriter<NamedTempFile>, PathBuf),
}

/// Bytes buffered before they are written.
pub(super) const BUFFER: usize = 64 * 1024;

/// Writes another file than the output; it appears only once it is complete.
///
/// # Errors
///
/// [`RunFailure::Output`]; no file remains.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), RunFailure> {
    written(OutputTarget::open(path)?, bytes)
}

/// Writes a file whose name the program has made. A link of this name is replaced: nobody has asked
/// for the file behind it.
///
/// # Errors
///
/// [`RunFailure::Output`]; no file remains.
pub fn write_made_file(path: &Path, bytes: &[u8]) -> Result<(), RunFailure> {
    let target = open_partial(path).map_err(|error| failure(path, error))?;
    written(target, bytes)
}

fn written(mut target: OutputTarget, bytes: &[u8]) -> Result<(), RunFailure> {
    target.write(bytes)?;
    target.complete()
}

impl OutputTarget {
    /// Opens a file for writing. A link leads to the file behind it.
    ///
    /// # Errors
    ///
    /// [`RunFailure::Output`]: it cannot be created.
    pub(super) fn open(path: &Path) -> Result<Self, RunFailure> {
        open_file(path).map_err(|error| failure(path, error))
    }

    /// Writes to a file; standard output is written by its owner.
    ///
    /// # Errors
    ///
    /// [`RunFailure::Output`].
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), RunFailure> {
        let (written, path) = match self {
            Self::Stdout => return Ok(()),
            Self::Device(file, path) => (file.write_all(bytes), path),
            Self::Partial(file, path) => (file.write_all(bytes), path),
        };
        written.map_err(|error| failure(path, error))
    }

    /// The file with content that completing this one would replace.
    pub(super) fn replaces(&self) -> Option<&Path> {
        match self {
            Self::Stdout | Self::Device(..) => None,
            Self::Partial(_, path) => {
                let there = fs::metadata(path).is_ok_and(|meta| meta.len() > 0);
                there.then_some(path)
            }
        }
    }

    /// Removes an incomplete file; what it would have replaced stays.
    pub(super) fn discard(self) {
        drop(self);
        *PARTIAL.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Completes a file: it now gets its name, and keeps the mode of the file that had it.
    ///
    /// # Errors
    ///
    /// [`RunFailure::Output`]; no incomplete file remains.
    pub(super) fn complete(self) -> Result<(), RunFailure> {
        match self {
            Self::Stdout => Ok(()),
            Self::Device(mut file, path) => file.flush().map_err(|error| failure(&path, error)),
            Self::Partial(file, path) => {
                let complete = file
                    .into_inner()
                    .map_err(io::IntoInnerError::into_error)
                    .and_then(|file| {
                        // Before the rename: after a power loss the name must not stand for an
                        // empty file.
                        file.as_file().sync_all()?;
                        if let Ok(replaced) = fs::metadata(&path) {
                            file.as_file().set_permissions(replaced.permissions())?;
                        }
                        file.persist(&path).map_err(|error| error.error)
                    });
                *PARTIAL.lock().unwrap_or_else(PoisonError::into_inner) = None;
                complete.map(|_| ()).map_err(|error| failure(&path, error))
            }
        }
    }
}

fn open_file(path: &Path) -> io::Result<OutputTarget> {
    // `/dev/null` or a pipe must not be replaced by a file. The link to a pipe leads to no path.
    let is_special = fs::metadata(path).is_ok_and(|meta| !meta.is_file());
    if is_special {
        let file = File::options().write(true).open(path)?;
        let file = BufWriter::with_capacity(BUFFER, file);
        return Ok(OutputTarget::Device(file, path.to_owned()));
    }
    open_partial(&behind_links(path)?)
}

/// Opens a file that will get this name, whatever has it now.
fn open_partial(path: &Path) -> io::Result<OutputTarget> {
    let file = partial_file(path)?;
    *PARTIAL.lock().unwrap_or_else(PoisonError::into_inner) = Some(file.path().to_owned());
    let file = BufWriter::with_capacity(BUFFER, file);
    Ok(OutputTarget::Partial(file, path.to_owned()))
}

/// Links that are followed before one is taken for a circle, as in Linux.
const LINKS: usize = 40;

/// The path at the end of links: a link stays, and the file behind it is written, even if it does
/// not exist yet.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let is_link = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink());
        if !is_link {
            return Ok(path);
        }
        let target = fs::read_link(&path)?;
        // An absolute target replaces the whole path.
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    Err(io::Error::other("it is a circle of links"))
}

/// Age of an incomplete file after which no run can still be writing it.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// Removes incomplete files of the same output that runs have left which were killed.
fn remove_abandoned(folder: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // `tempfile` puts six characters between both; a longer name is that of another output.
        let random = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix(PARTIAL_SUFFIX));
        let is_ours = random.is_some_and(|random| random.len() == 6 && !random.contains('.'));
        // Opened only then: the folder may hold a million logs.
        if is_ours && is_abandoned(&entry) {
            // One that cannot be removed harms nobody.
            fs::remove_file(entry.path()).ok();
        }
    }
}

fn is_abandoned(partial: &DirEntry) -> bool {
    let meta = partial.metadata().ok().filter(|meta| meta.is_file());
    let modified = meta.and_then(|meta| meta.modified().ok());
    modified
        .and_then(|modified| modified.elapsed().ok())
        .is_some_and(|age| age > ABANDONED)
}

const PARTIAL_SUFFIX: &str = ".partial";

/// A temporary file in the folder of the output, so that renaming it is atomic. Only its user may
/// read it, and the output: it names who reads which secret.
fn partial_file(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let prefix = format!(".{}.", name.to_string_lossy());
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(PARTIAL_SUFFIX);
    remove_abandoned(folder, &prefix);
    builder.tempfile_in(folder)
}

/// A file that cannot be written.
pub(super) fn failure(path: &Path, error: io::Error) -> RunFailure {
    RunFailure::Output {
        name: path.display().to_string(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    #[cfg(unix)]
    fn a_link_with_a_name_that_the_program_has_made_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let [evidence, part] = ["evidence", "part"].map(|name| folder.path().join(name));
        fs::write(&evidence, "evidence").unwrap();
        std::os::unix::fs::symlink(&evidence, &part).unwrap();
        write_made_file(&part, b"part").unwrap();
        assert_eq!(fs::read(&evidence).unwrap(), b"evidence");
        assert_eq!(fs::read(&part).unwrap(), b"part");
    }

    #[test]
    fn a_file_appears_only_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        let OutputTarget::Partial(mut file, _) = open_file(&path).unwrap() else {
            panic!("a file that does not exist yet is no device");
        };
        file.write_all(b"a,b\n").unwrap();
        let there = names(folder.path());
        assert_eq!(there.len(), 1);
        assert!(there[0].starts_with(".out.csv.") && there[0].ends_with(".partial"));
        OutputTarget::Partial(file, path.clone())
            .complete()
            .unwrap();
        assert_eq!(names(folder.path()), ["out.csv"]);
        assert_eq!(fs::read(&path).unwrap(), b"a,b\n");
    }

    #[test]
    fn an_output_that_is_not_completed_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(open_file(&folder.path().join("out.csv")).unwrap());
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_is_only_for_its_user_and_an_old_one_keeps_its_mode() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        write_file(&path, b"1").unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write_file(&path, b"2").unwrap();
        assert_eq!(mode(), 0o644);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_and_the_file_behind_it_is_written() {
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("below")).unwrap();
        symlink("below/real.csv", at("link.csv")).unwrap();
        symlink(at("link.csv"), at("far.csv")).unwrap();
        for text in ["new", "old"] {
            write_file(&at("far.csv"), text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(at("below/real.csv")).unwrap(), text);
            assert!(fs::symlink_metadata(at("link.csv")).unwrap().is_symlink());
        }
        symlink("b", at("a")).unwrap();
        symlink("a", at("b")).unwrap();
        let error = write_file(&at("a"), b"").unwrap_err().to_string();
        assert!(error.ends_with("a circle of links"), "{error}");
    }

    #[test]
    fn incomplete_files_of_killed_runs_are_removed_after_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - 2 * ABANDONED;
        let others = [
            ".out.csv.2.abcdef.partial",
            ".other.abcdef.partial",
            "out.csv.partial",
        ];
        for name in others.iter().chain(&[".out.csv.abcdef.partial"]) {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(old).unwrap();
        }
        File::create(folder.path().join(".out.csv.ghijkl.partial")).unwrap();
        write_file(&folder.path().join("out.csv"), b"").unwrap();
        let mut expected = others.to_vec();
        expected.extend([".out.csv.ghijkl.partial", "out.csv"]);
        expected.sort_unstable();
        assert_eq!(names(folder.path()), expected);
    }

    #[test]
    fn a_device_is_written_as_it_is() {
        let target = open_file(Path::new("/dev/null")).unwrap();
        assert!(matches!(target, OutputTarget::Device(..)));
    }

    #[test]
    fn a_folder_that_does_not_exist_is_named() {
        let error = write_file(Path::new("/nowhere/at/all.csv"), b"").unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("cannot write /nowhere/at/all.csv: "),
            "{text}"
        );
    }
}
