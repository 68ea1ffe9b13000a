//! Reads files and objects in S3 one after the other; one reader for each thread.

use std::{fs::File, io::Read};

use indicatif::ProgressBar;
use memmap2::MmapMut;
use secretrail_engine::{
    inflate::InflateBuffer,
    limits::WHOLE_OBJECT_BYTES,
    object::{self, RecordOrigin},
    scan::{ObjectScanner, ScanInput, ScanResult},
};

use crate::input::{
    container::{Container, ContainerBytes, pass_on_stream},
    object::{InputObject, ObjectReadError, OpenedContent},
    runs::SortedRuns,
    store::ObjectStore,
};

/// Larger files, in bytes, are streamed instead of read at once.
const WHOLE_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// The origin of the records of an object.
#[must_use]
pub fn origin(object: &InputObject) -> RecordOrigin {
    RecordOrigin {
        object: object.name.as_str().into(),
        delivered: object.delivered,
    }
}

/// Reads files and objects in S3 one after the other, with reused buffers. One for each thread.
pub struct ObjectReader<'r> {
    scanner: ObjectScanner<'r>,
    store: &'r dyn ObjectStore,
    progress: &'r ProgressBar,
    buffer: Vec<u8>,
    /// Where the parts of a large object go; `None` to keep them in its scan result.
    runs: Option<&'r SortedRuns>,
}

/// Memory to inflate any object at once; pages that no object needs are never touched. Huge pages,
/// where available, cost fewer page faults. `None` if it cannot be mapped.
fn room() -> Option<InflateBuffer> {
    let room = MmapMut::map_anon(WHOLE_OBJECT_BYTES).ok()?;
    #[cfg(target_os = "linux")]
    // Normal pages work as well.
    room.advise(memmap2::Advice::HugePage).ok();
    Some(Box::new(room))
}

impl<'r> ObjectReader<'r> {
    /// A reader with its own buffers.
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
            runs: None,
        }
    }

    /// The same reader, which passes on what it finds while it reads an object.
    #[must_use]
    pub fn passing_on_to(mut self, runs: &'r SortedRuns) -> Self {
        self.runs = Some(runs);
        self
    }

    /// The scanner, for content that was opened elsewhere.
    pub(crate) fn scanner(&mut self) -> &mut ObjectScanner<'r> {
        &mut self.scanner
    }

    /// Reads an object to its end.
    ///
    /// # Errors
    ///
    /// [`ObjectReadError`]: why it could not be read, or not to its end; records before the error
    /// are in the scan result.
    pub fn read(
        &mut self,
        object: &InputObject,
        origin: &RecordOrigin,
        scan_result: &mut ScanResult,
    ) -> Result<(), ObjectReadError> {
        match object.place.open(self.store)? {
            OpenedContent::Bytes(bytes) if Container::of(&bytes).is_some() => {
                self.progress.inc(bytes.len() as u64);
                let container = Container::of(&bytes);
                let bytes = ContainerBytes::Bytes(bytes);
                self.members(container, bytes, object, origin, scan_result)
            }
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
        if meta.is_file()
            && let container @ Some(_) = Container::of_file(&mut file)?
        {
            self.progress.inc(meta.len());
            let bytes = ContainerBytes::File(file);
            return self.members(container, bytes, object, origin, scan_result);
        }
        // The length of devices and pipes is not reliable.
        if meta.len() > WHOLE_FILE_BYTES || !meta.is_file() {
            let progress = self.progress;
            let mut stream = progress.wrap_read(&mut file);
            return self.scan(ScanInput::Stream(&mut stream), object, origin, scan_result);
        }
        // Moved out of the reader during the scan, which borrows the reader.
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        file.read_to_end(&mut buffer)?;
        let result = self.scan(ScanInput::Bytes(&buffer), object, origin, scan_result);
        self.buffer = buffer;
        self.progress.inc(meta.len());
        result
    }

    /// Reads the members of a container.
    fn members(
        &mut self,
        container: Option<Container>,
        bytes: ContainerBytes,
        object: &InputObject,
        origin: &RecordOrigin,
        scan_result: &mut ScanResult,
    ) -> Result<(), ObjectReadError> {
        let Some(container) = container else {
            return Ok(());
        };
        container.read(bytes, &mut |name, content| {
            self.member(name, content, object, origin, scan_result)
        })
    }

    /// Reads what comes once from start to end, as standard input does.
    ///
    /// # Errors
    ///
    /// As [`ObjectReader::read`].
    pub(crate) fn read_stream(
        &mut self,
        content: &mut dyn Read,
        object: &InputObject,
        origin: &RecordOrigin,
        scan_result: &mut ScanResult,
    ) -> Result<(), ObjectReadError> {
        pass_on_stream(content, &mut |name, content| {
            self.member(name, content, object, origin, scan_result)
        })
    }

    /// Scans a member of a container; it has the delivery that its own name has.
    fn member(
        &mut self,
        name: Option<&str>,
        mut content: &mut dyn Read,
        object: &InputObject,
        origin: &RecordOrigin,
        scan_result: &mut ScanResult,
    ) -> Result<(), ObjectReadError> {
        let delivered = name.and_then(|name| object::parse(name).delivered);
        let origin = RecordOrigin {
            delivered: delivered.or(origin.delivered),
            ..origin.clone()
        };
        let input = ScanInput::Stream(&mut content);
        self.scan(input, object, &origin, scan_result)
    }

    /// Scans an input for records.
    fn scan(
        &mut self,
        input: ScanInput<'_>,
        object: &InputObject,
        origin: &RecordOrigin,
        scan_result: &mut ScanResult,
    ) -> Result<(), ObjectReadError> {
        let runs = self.runs;
        let mut take_part = |part: &mut ScanResult| {
            if let Some(runs) = runs {
                runs.take(part);
            }
        };
        self.scanner
            .read_in_parts(input, origin, object.in_tree, scan_result, &mut take_part)
            .map_err(|error| ObjectReadError::Content(error.to_string()))
    }
}
