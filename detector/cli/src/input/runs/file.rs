//! One sorted run on disk, in a temporary file.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    mem::size_of,
    path::Path,
    vec,
};

use secretrail_engine::observation::Interner;
use zstd::bulk::{Compressor, Decompressor};

use super::{
    block::{self, BlockError},
    entry::TimedEntry,
};
use crate::temp_file;

/// Entries of a block: what a merge holds of each run.
const BLOCK: usize = 256;

/// Level of zstd: the fastest, which leaves a third of the bytes.
const LEVEL: i32 = 1;

/// Why a run cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunFileError {
    /// The file system refused.
    #[error("{0}")]
    File(#[from] io::Error),
    /// A block is damaged.
    #[error("a temporary file is damaged: {0}")]
    Block(#[from] BlockError),
}

/// Writes entries in the order in which they come.
pub(super) struct RunWriter {
    file: File,
    block: Vec<TimedEntry>,
    compressor: Compressor<'static>,
}

impl RunWriter {
    /// A new run in a folder.
    pub(super) fn new(folder: &Path) -> Result<Self, RunFileError> {
        Self::to(temp_file::create(folder)?)
    }

    fn to(file: File) -> Result<Self, RunFileError> {
        Ok(Self {
            file,
            block: Vec::with_capacity(BLOCK),
            compressor: Compressor::new(LEVEL)?,
        })
    }

    pub(super) fn push(&mut self, entry: TimedEntry) -> Result<(), RunFileError> {
        self.block.push(entry);
        if self.block.len() >= BLOCK {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), RunFileError> {
        let bytes = block::encode(&self.block)?;
        self.block.clear();
        let stored = self.compressor.compress(&bytes)?;
        let lengths = BlockLengths {
            stored: stored.len() as u64,
            inflated: bytes.len() as u64,
        };
        // One system call for each block.
        let block = [lengths.to_bytes(), stored].concat();
        self.file.write_all(&block)?;
        Ok(())
    }

    /// Writes the rest, and begins to read.
    pub(super) fn finish(mut self) -> Result<RunReader, RunFileError> {
        if !self.block.is_empty() {
            self.write()?;
        }
        self.file.rewind()?;
        Ok(RunReader {
            file: self.file,
            block: Vec::new().into_iter(),
        })
    }
}

/// The first bytes of a block.
struct BlockLengths {
    stored: u64,
    inflated: u64,
}

impl BlockLengths {
    const BYTES: u64 = 2 * size_of::<u64>() as u64;

    fn to_bytes(&self) -> Vec<u8> {
        [self.stored.to_le_bytes(), self.inflated.to_le_bytes()].concat()
    }

    /// Reads them; `None` at the end of the file.
    fn read(file: &mut File) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        file.take(Self::BYTES).read_to_end(&mut bytes)?;
        let Some((stored, inflated)) = bytes.split_first_chunk() else {
            return Ok(None);
        };
        let inflated = inflated.first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Some(Self {
            stored: u64::from_le_bytes(*stored),
            inflated: u64::from_le_bytes(*inflated),
        }))
    }
}

/// What the runs of a merge share.
pub(super) struct BlockDecoder {
    interner: Interner,
    decompressor: Decompressor<'static>,
    stored: Vec<u8>,
}

impl BlockDecoder {
    pub(super) fn new() -> Result<Self, RunFileError> {
        Ok(Self {
            interner: Interner::default(),
            decompressor: Decompressor::new()?,
            stored: Vec::new(),
        })
    }

    /// The next block of a file; empty at its end.
    fn next(&mut self, file: &mut File) -> Result<Vec<TimedEntry>, RunFileError> {
        let Some(lengths) = BlockLengths::read(file)? else {
            return Ok(Vec::new());
        };
        self.stored.clear();
        file.take(lengths.stored).read_to_end(&mut self.stored)?;
        let inflated = usize::try_from(lengths.inflated).map_err(io::Error::other)?;
        let bytes = self.decompressor.decompress(&self.stored, inflated)?;
        Ok(block::decode(&bytes, &mut self.interner)?)
    }
}

/// Reads a run, block by block.
pub(super) struct RunReader {
    file: File,
    block: vec::IntoIter<TimedEntry>,
}

impl RunReader {
    /// The next entry; `None` at the end.
    pub(super) fn next(
        &mut self,
        decoder: &mut BlockDecoder,
    ) -> Result<Option<TimedEntry>, RunFileError> {
        if let Some(entry) = self.block.next() {
            return Ok(Some(entry));
        }
        self.block = decoder.next(&mut self.file)?.into_iter();
        Ok(self.block.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::runs::for_tests::scanned_examples;

    #[test]
    fn a_run_of_several_blocks_is_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let some = TimedEntry::take_from(&mut scanned_examples());
        let all: Vec<_> = some.iter().cycle().take(3 * BLOCK + 7).cloned().collect();
        let mut writer = RunWriter::new(folder.path()).unwrap();
        for entry in all.clone() {
            writer.push(entry).unwrap();
        }
        let mut run = writer.finish().unwrap();
        let mut decoder = BlockDecoder::new().unwrap();
        for entry in all {
            assert_eq!(run.next(&mut decoder).unwrap(), Some(entry));
        }
        assert_eq!(run.next(&mut decoder).unwrap(), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_and_not_a_short_run() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut writer = RunWriter::to(full).unwrap();
        let mut entries = TimedEntry::take_from(&mut scanned_examples()).into_iter();
        let failed = entries.find_map(|entry| writer.push(entry).err());
        let error = failed.unwrap_or_else(|| writer.finish().map(|_| ()).unwrap_err());
        assert!(error.to_string().starts_with("No space left"), "{error}");
    }
}
