//! Rows of a table: its columns are as wide as their widest cell, which is known only at the end.
//! Until then the rows are in memory, and many of them in a temporary file.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Seek, Write},
    path::{Path, PathBuf},
};

use super::{line, shown, widen};
use crate::{host::RunFailure, temp_file};

/// Bytes of rows in memory before they go to a file.
const HELD: usize = 16 * 1024 * 1024;

/// Bytes written to the file at a time.
const BUFFER: usize = 64 * 1024;

/// The separator of cells: shown cells have no control characters.
const SEPARATOR: char = '\u{1f}';

/// A table of any length, with a header.
pub(crate) struct TableSpool<const N: usize> {
    folder: PathBuf,
    rows: SpooledBytes,
    buffer: String,
    widths: [usize; N],
}

impl<const N: usize> TableSpool<N> {
    /// A table with its header; `folder` is for the temporary file.
    pub(crate) fn new(folder: &Path, header: [&str; N]) -> Self {
        let mut table = Self {
            folder: folder.to_owned(),
            rows: SpooledBytes::Memory(Vec::new()),
            buffer: String::new(),
            widths: [0; N],
        };
        // The header is a row: it takes part in the widths.
        table.add(&header.map(Cow::Borrowed));
        table
    }

    /// Adds rows.
    ///
    /// # Errors
    ///
    /// [`RunFailure::TempDir`]: the temporary file could not be written.
    pub(crate) fn rows(
        &mut self,
        rows: impl Iterator<Item = [String; N]>,
    ) -> Result<(), RunFailure> {
        for row in rows {
            self.add(&shown(&row));
            if self.buffer.len() >= BUFFER {
                self.write()?;
            }
        }
        Ok(())
    }

    fn add(&mut self, cells: &[Cow<'_, str>; N]) {
        widen(&mut self.widths, cells);
        for cell in cells {
            self.buffer.push_str(cell);
            self.buffer.push(SEPARATOR);
        }
        self.buffer.push('\n');
    }

    fn write(&mut self) -> Result<(), RunFailure> {
        let written = self.rows.write(&self.folder, self.buffer.as_bytes());
        self.buffer.clear();
        written.map_err(|error| temp_file::failure(&self.folder, &error))
    }

    /// Passes on the lines of the table.
    ///
    /// # Errors
    ///
    /// [`RunFailure::TempDir`]: the temporary file could not be written or read. An error of
    /// `take`.
    pub(crate) fn lines(
        mut self,
        mut take: impl FnMut(&str) -> Result<(), RunFailure>,
    ) -> Result<(), RunFailure> {
        self.write()?;
        let folder = self.folder;
        let rows = self.rows.read();
        let rows = rows.map_err(|error| temp_file::failure(&folder, &error))?;
        for row in rows.lines() {
            let row = row.map_err(|error| temp_file::failure(&folder, &error))?;
            // Cells were made fit for the terminal before: no line break is in one.
            let mut cells = row.split(SEPARATOR);
            let cells = [(); N].map(|()| Cow::Borrowed(cells.next().unwrap_or_default()));
            take(&line(&cells, self.widths))?;
        }
        Ok(())
    }
}

/// Bytes in memory, or in a file once they are many.
enum SpooledBytes {
    Memory(Vec<u8>),
    File(File),
}

impl SpooledBytes {
    fn write(&mut self, folder: &Path, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Memory(held) if held.len() + bytes.len() <= HELD => {
                held.extend_from_slice(bytes);
                Ok(())
            }
            Self::Memory(held) => {
                // From here on memory does not grow with the rows.
                let mut file = temp_file::create(folder)?;
                file.write_all(held)?;
                file.write_all(bytes)?;
                *self = Self::File(file);
                Ok(())
            }
            Self::File(file) => file.write_all(bytes),
        }
    }

    /// Everything that was written.
    fn read(self) -> io::Result<Box<dyn BufRead>> {
        Ok(match self {
            Self::Memory(held) => Box::new(Cursor::new(held)),
            Self::File(mut file) => {
                file.rewind()?;
                Box::new(BufReader::with_capacity(BUFFER, file))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::columns;
    use super::*;

    /// The lines of a table with many rows.
    fn written(folder: &Path, rows: &[[String; 2]]) -> Result<String, RunFailure> {
        let mut table = TableSpool::new(folder, ["A", "B"]);
        for some in rows.chunks(1_000) {
            table.rows(some.iter().cloned())?;
        }
        let mut text = String::new();
        table.lines(|line| {
            text.push_str(line);
            Ok(())
        })?;
        Ok(text)
    }

    #[test]
    fn a_long_table_is_like_a_short_one() {
        let folder = tempfile::tempdir().unwrap();
        let rows: Vec<[String; 2]> = (0..500_000)
            .map(|n| [format!("{n}\u{1f}\n"), "x".repeat(n % 90)])
            .collect();
        for rows in [&rows[..0], &rows[..9], &rows] {
            assert!(written(folder.path(), rows).unwrap() == columns(["A", "B"], rows));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_a_long_table_needs_the_folder() {
        let nowhere = Path::new("/nowhere/at/all");
        let row = [String::new(), "x".repeat(150)];
        assert!(written(nowhere, &vec![row.clone(); 9]).is_ok());
        let failure = written(nowhere, &vec![row; 200_000]).unwrap_err();
        let text = failure.to_string();
        assert!(
            text.contains("/nowhere/at/all: ") && text.contains("--temp-dir"),
            "{text}"
        );
    }
}
