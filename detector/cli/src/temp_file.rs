//! Temporary files without names.

use std::{fs::File, io, path::Path};

use crate::host::RunFailure;

/// A new file in a folder, only for this user. It has no name: nothing remains of it when the
/// process ends, however it ends.
pub(crate) fn create(folder: &Path) -> io::Result<File> {
    let file = tempfile::tempfile_in(folder)?;
    // The umask decides on the mode of a file that never has a name; it may let others read.
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

/// A temporary file in this folder cannot be written or read.
pub(crate) fn failure(folder: &Path, error: &impl ToString) -> RunFailure {
    RunFailure::TempDir {
        folder: folder.display().to_string(),
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_file_is_only_for_its_user_and_has_no_name() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let file = create(folder.path()).unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_named_with_the_remedy() {
        let folder = Path::new("/nowhere/at/all");
        let error = create(folder).unwrap_err();
        let failure = failure(folder, &error);
        let text = failure.to_string();
        let expected = "cannot keep temporary files in /nowhere/at/all: ";
        assert!(
            text.starts_with(expected) && text.ends_with("--temp-dir"),
            "{text}"
        );
        assert_eq!(failure.exit_code(), crate::exit::OUTPUT);
    }
}
