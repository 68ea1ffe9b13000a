//! Merges sorted runs by event time, into slices.

use std::{cmp::Reverse, collections::BinaryHeap, vec};

use secretrail_engine::{scan::ScanResult, time::EventTime};

use super::{
    entry::TimedEntry,
    file::{BlockDecoder, RunFileError, RunReader, RunWriter},
};

/// Accesses evaluated at a time, about.
const SLICE: usize = 16_384;

/// Where sorted entries come from.
pub(super) enum RunSource {
    /// What was not written to a file.
    Memory(vec::IntoIter<TimedEntry>),
    /// A file.
    File(RunReader),
}

/// The entries of several runs, by time. Those of one second come in any order: nothing depends on
/// it.
pub(super) struct RunMerge {
    sources: Vec<RunSource>,
    /// The next entry of each source.
    next: Vec<Option<TimedEntry>>,
    /// Times of the next entries, and their sources.
    order: BinaryHeap<Reverse<(EventTime, usize)>>,
    decoder: BlockDecoder,
}

impl RunMerge {
    pub(super) fn new(sources: Vec<RunSource>) -> Result<Self, RunFileError> {
        let mut merge = Self {
            next: sources.iter().map(|_| None).collect(),
            sources,
            order: BinaryHeap::new(),
            decoder: BlockDecoder::new()?,
        };
        // Empty sources never enter the order.
        for index in 0..merge.sources.len() {
            merge.read(index)?;
        }
        Ok(merge)
    }

    /// Reads the next entry of a source, and returns the one before it.
    fn read(&mut self, index: usize) -> Result<Option<TimedEntry>, RunFileError> {
        let (Some(source), Some(place)) = (self.sources.get_mut(index), self.next.get_mut(index))
        else {
            return Ok(None);
        };
        let entry = match source {
            RunSource::Memory(entries) => entries.next(),
            RunSource::File(run) => run.next(&mut self.decoder)?,
        };
        if let Some(entry) = &entry {
            self.order.push(Reverse((entry.time, index)));
        }
        Ok(std::mem::replace(place, entry))
    }

    /// The time of the next entry; `None` at the end.
    fn time(&self) -> Option<EventTime> {
        self.order.peek().map(|Reverse((time, _))| *time)
    }

    /// The next entry; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<TimedEntry>, RunFileError> {
        match self.order.pop() {
            Some(Reverse((_, index))) => self.read(index),
            None => Ok(None),
        }
    }

    /// Passes on all entries in slices, each with the time up to which everything was passed on
    /// (exclusive), until `take` wants no more.
    pub(super) fn slices(
        mut self,
        mut take: impl FnMut(ScanResult, EventTime) -> bool,
    ) -> Result<(), RunFileError> {
        let (mut slice, mut taken, mut last) = (ScanResult::default(), 0, EventTime(i64::MIN));
        while let Some(time) = self.time() {
            // Only between two seconds: events of one second belong to one slice.
            if taken >= SLICE && time > last {
                if !take(std::mem::take(&mut slice), time) {
                    return Ok(());
                }
                taken = 0;
            }
            if let Some(entry) = self.next()? {
                taken += entry.rows();
                entry.put_into(&mut slice);
            }
            last = time;
        }
        // Also without entries: the caller learns that the end was reached.
        take(slice, last.plus(1));
        Ok(())
    }

    /// Writes all entries as one run.
    pub(super) fn write(mut self, mut writer: RunWriter) -> Result<RunReader, RunFileError> {
        while let Some(entry) = self.next()? {
            writer.push(entry)?;
        }
        writer.finish()
    }
}
