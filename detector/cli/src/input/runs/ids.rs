//! Event ids that different events claim, counted over the whole history: in memory up to a budget,
//! and beyond it in temporary files, one for each part of the ids.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    path::Path,
};

use secretrail_engine::{
    copies::{claimed_event, conflicting},
    digest::short_digest,
    observation::EventHeader,
};

use crate::temp_file;

/// Number of files: the ids of one file are sorted in memory.
const PARTS: usize = 64;

/// Number of ids that are held in memory: 16 MB.
const HELD: usize = 1 << 20;

/// Digest of an event id, and [`claimed_event`].
type IdAndEvent = (u64, u64);

/// Ids of all events of a history.
#[derive(Default)]
pub(super) struct EventIds {
    held: Vec<IdAndEvent>,
    parts: Vec<BufWriter<File>>,
}

impl EventIds {
    /// Adds the events of these records.
    ///
    /// # Errors
    ///
    /// A temporary file in this folder could not be written.
    pub(super) fn add<'h>(
        &mut self,
        heads: impl Iterator<Item = &'h EventHeader>,
        folder: &Path,
    ) -> io::Result<()> {
        self.held
            .extend(heads.map(|head| (short_digest(&[&head.event_id]), claimed_event(head))));
        if self.held.len() < HELD {
            return Ok(());
        }
        self.write(folder)
    }

    fn write(&mut self, folder: &Path) -> io::Result<()> {
        while self.parts.len() < PARTS {
            self.parts.push(BufWriter::new(temp_file::create(folder)?));
        }
        for (id, event) in self.held.drain(..) {
            let part = usize::try_from(id % PARTS as u64).unwrap_or_default();
            if let Some(part) = self.parts.get_mut(part) {
                part.write_all(&id.to_le_bytes())?;
                part.write_all(&event.to_le_bytes())?;
            }
        }
        Ok(())
    }

    /// Number of events whose id stands on another event too.
    ///
    /// # Errors
    ///
    /// A temporary file in this folder could not be written or read.
    pub(super) fn conflicts(mut self, folder: &Path) -> io::Result<u64> {
        if self.parts.is_empty() {
            return Ok(conflicts_of(self.held));
        }
        self.write(folder)?;
        let mut conflicts = 0;
        for part in self.parts {
            let file = part.into_inner().map_err(io::IntoInnerError::into_error)?;
            conflicts += conflicts_of(read(file)?);
        }
        Ok(conflicts)
    }
}

fn conflicts_of(mut ids: Vec<IdAndEvent>) -> u64 {
    ids.sort_unstable();
    conflicting(ids)
}

fn read(mut file: File) -> io::Result<Vec<IdAndEvent>> {
    file.rewind()?;
    let length = file.metadata()?.len() / 16;
    let mut reader = BufReader::new(file);
    let mut number = || {
        let mut bytes = [0; 8];
        reader.read_exact(&mut bytes)?;
        io::Result::Ok(u64::from_le_bytes(bytes))
    };
    (0..length).map(|_| Ok((number()?, number()?))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::for_tests::scanned_examples;
    use super::*;

    #[test]
    fn conflicts_are_the_same_in_memory_and_in_files() {
        let mut heads: Vec<Arc<EventHeader>> = scanned_examples()
            .observations
            .iter()
            .map(|event| event.observation.head().clone())
            .collect();
        // Redelivered, and two of them under the ids of others.
        heads.extend(heads.clone());
        for index in [3, 5] {
            let mut forged = (*heads[index]).clone();
            forged.event += 1;
            heads.push(Arc::new(forged));
        }
        let folder = tempfile::tempdir().unwrap();
        let conflicts = |written: bool| {
            let mut ids = EventIds::default();
            for head in &heads {
                ids.add([&**head].into_iter(), folder.path()).unwrap();
                if written {
                    ids.write(folder.path()).unwrap();
                }
            }
            ids.conflicts(folder.path()).unwrap()
        };
        assert_eq!((conflicts(false), conflicts(true)), (2, 2));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error() {
        let mut ids = EventIds::default();
        assert!(ids.write(Path::new("/nowhere/at/all")).is_err());
    }
}
