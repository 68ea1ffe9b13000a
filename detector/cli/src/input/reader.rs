//! Files and objects in S3, read one after the other by one thread.

use std::fs::File;
use std::io::Read;

use indicatif::ProgressBar;
use memmap2::MmapMut;
use secretrail_engine::gunzip::InflateBuffer;
use secretrail_engine::limits::WHOLE_OBJECT_BYTES;
use secretrail_engine::object::RecordOrigin;
use secretrail_engine::scan::{ObjectScanner, ScanInput, ScanResult};

use crate::input::object::{InputObject, ObjectReadError, OpenedContent};
use crate::input::store::ObjectStore;

/// Files beyond this size in bytes are streamed instead of being read in one go.
const WHOLE_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Where the records of an object come from.
#[must_use]
pub fn origin(object: &InputObject) -> RecordOrigin {
    RecordOrigin {
        object: object.name.as_str().into(),
        delivered: object.delivered,
    }
}

/// Reads files and objects in S3, one after the other, with buffers that are kept. One for each
/// thread.
pub struct ObjectReader<'r> {
    scanner: ObjectScanner<'r>,
    store: &'r dyn ObjectStore,
    progress: &'r ProgressBar,
    buffer: Vec<u8>,
}

/// Memory for any object that is inflated in one go: what no object needs of it is never touched.
/// In large pages, where there are such, it is ready sooner and found faster. `None` where there is
/// none to be had in this way.
fn room() -> Option<InflateBuffer> {
    let room = MmapMut::map_anon(WHOLE_OBJECT_BYTES).ok()?;
    #[cfg(target_os = "linux")]
    // Small pages do as well.
    room.advise(memmap2::Advice::HugePage).ok();
    Some(Box::new(room))
}

impl<'r> ObjectReader<'r> {
    /// A reader.
    #[must_use]
    pub fn new(
        scanner: ObjectScanner<'r>,
        store: &'r dyn ObjectStore,
        progress: &'r ProgressBar,
    ) -> Self {
        let scanner = match room() {
            Some(room) => scanner.inflating_into(room),
            None => scanner,
        };
        Self {
            scanner,
            store,
            progress,
            buffer: Vec::new(),
        }
    }

    /// Finds records in what others have opened.
    pub(crate) fn scanner(&mut self) -> &mut ObjectScanner<'r> {
        &mut self.scanner
    }

    /// Reads an object to its end.
    ///
    /// # Errors
    ///
    /// [`ReadError`]: why it could not be read, or not whole; what came before is in the harvest.
    pub fn read(
        &mut self,
        object: &InputObject,
        origin: &RecordOrigin,
        scan_result: &mut ScanResult,
    ) -> Result<(), ObjectReadError> {
        match object.place.open(self.store)? {
            OpenedContent::Bytes(bytes) => {
                let result = self.scan(ScanInput::Bytes(&bytes), object, origin, scan_result);
                self.progress.inc(bytes.len() as u64);
                result
            }
            OpenedContent::File(file) => self.read_file(file, object, origin, scan_result),
        }
    }

    fn read_file(
        &mut self,
        mut file: File,
        object: &InputObject,
        origin: &RecordOrigin,
        scan_result: &mut ScanResult,
    ) -> Result<(), ObjectReadError> {
        let meta = file.metadata()?;
        // Devices and pipes have no length that could be trusted.
        if meta.len() > WHOLE_FILE_BYTES || !meta.is_file() {
            let progress = self.progress;
            let mut stream = progress.wrap_read(&mut file);
            return self.scan(ScanInput::Stream(&mut stream), object, origin, scan_result);
        }
        // Taken out of the reader for the time of the scan, and put back for the next file.
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        file.read_to_end(&mut buffer)?;
        let result = self.scan(ScanInput::Bytes(&buffer), object, origin, scan_result);
        self.buffer = buffer;
        self.progress.inc(meta.len());
        result
    }

    /// Finds the records of an input.
    pub(crate) fn scan(
        &mut self,
        input: ScanInput<'_>,
        object: &InputObject,
        origin: &RecordOrigin,
        scan_result: &mut ScanResult,
    ) -> Result<(), ObjectReadError> {
        self.scanner
            .read(input, origin, object.in_tree, scan_result)
            .map_err(|error| ObjectReadError::Content(error.to_string()))
    }
}
