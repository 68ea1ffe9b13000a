//! From stored bytes to bytes of JSON: gzip, zstd and bzip2 are recognised by their magic numbers,
//! whatever the name of the object, and inflated within limits; everything else passes through. All
//! files written by others are inflated here; extract files, which Secretrail writes itself, are
//! not.
//!
//! Compressed data may hold compressed data: Firehose delivers messages of CloudWatch Logs as gzip
//! inside gzip. A small gzip object in memory is inflated in one call with libdeflate, which is
//! twice as fast; everything else is streamed in chunks of bounded size. Everything before an error
//! has been passed on, so that a truncated object is not lost completely.

use std::{
    cell::{Cell, RefCell},
    fmt,
    io::{self, Read},
};

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use libdeflater::Decompressor;
use memchr::memmem;

use crate::limits::{
    MAX_INFLATE_RATIO, MAX_INFLATED_BYTES, STREAM_CHUNK_BYTES, WHOLE_OBJECT_BYTES,
};

const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 0x08];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Frames of zstd without data, which may come first (RFC 8878 §3.1.2), but for their lowest bits.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
const BZIP2_MAGIC: &[u8] = b"BZh";
/// The number pi, with which every block of bzip2 begins.
const BZIP2_BLOCK: &[u8] = &[0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
/// Number of bytes that are enough to recognise each of them.
const MAGIC_BYTES: u64 = 10;
/// Compressed data in compressed data.
const MAX_LAYERS: usize = 3;
const UTF8_BOM: &[u8] = &[0xef, 0xbb, 0xbf];
/// Bytes that a decoder is asked for at a time. What the failing step of damaged data has produced
/// is lost: less than a record. Smaller steps cost time.
const STEP: usize = 1_024;
/// The same, when data in memory is inflated again because it is damaged.
const LAST_STEP: usize = 16;

/// How data is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952, with any number of members.
    Gzip,
    /// RFC 8878, with any number of frames.
    Zstd,
    /// bzip2, with any number of streams.
    Bzip2,
}

impl Compression {
    /// The compression of data that begins so; `None` for anything else.
    #[must_use]
    pub fn of(data: &[u8]) -> Option<Self> {
        let is_bzip2 = data.strip_prefix(BZIP2_MAGIC).is_some_and(|rest| {
            rest.first()
                .is_some_and(|size| (b'1'..=b'9').contains(size))
                && rest
                    .get(1..)
                    .is_some_and(|rest| rest.starts_with(BZIP2_BLOCK))
        });
        let is_skippable = data.first().is_some_and(|first| first & 0xf0 == 0x50)
            && data.get(1..4) == Some(&ZSTD_SKIPPABLE);
        if data.starts_with(&GZIP_MAGIC) {
            Some(Self::Gzip)
        } else if data.starts_with(&ZSTD_MAGIC) || is_skippable {
            Some(Self::Zstd)
        } else {
            is_bzip2.then_some(Self::Bzip2)
        }
    }

    fn decoder<'r>(self, reader: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
        Ok(match self {
            // Every member: concatenated files are valid gzip, and hiding records in a second one
            // must not work.
            Self::Gzip => Box::new(MultiGzDecoder::new(reader)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::new(reader)?),
            Self::Bzip2 => Box::new(MultiBzDecoder::new(reader)),
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
        })
    }
}

/// Why the rest of an object could not be read.
#[derive(Debug, thiserror::Error)]
pub enum InflateError {
    /// The reader failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The compressed data is truncated or damaged.
    #[error("the {0} data is truncated or damaged ({1}); the records before that were read")]
    Damaged(Compression, io::Error),
    /// The object inflates beyond the limits, as a bomb does.
    #[error(
        "the compressed data inflates to more than {limit} bytes; the limit is {} bytes, or \
         {MAX_INFLATE_RATIO} times the compressed size if that is more",
        MAX_INFLATED_BYTES
    )]
    Bomb {
        /// The limit in bytes that applied to this object.
        limit: u64,
    },
    /// The text is UTF-16, which CloudTrail never writes.
    #[error("the text is encoded as UTF-16; convert it to UTF-8")]
    Utf16,
    /// The data has a form that is known and cannot be read: logs may be in it.
    #[error("is {0}, which cannot be read; unpack it first")]
    Foreign(&'static str),
}

/// The first bytes of what data holds, compressed or not: at most so many, and fewer where it is
/// damaged.
pub(crate) fn beginning(data: &[u8], most: u64) -> Vec<u8> {
    let mut first = Vec::new();
    let reader: io::Result<Box<dyn Read + '_>> = match Compression::of(data) {
        Some(compression) => compression.decoder(data),
        None => Ok(Box::new(data)),
    };
    if let Ok(reader) = reader {
        // What was read before an error stays.
        reader.take(most).read_to_end(&mut first).ok();
    }
    first
}

/// Forms of data that may hold logs and are not read here, by what they begin with. A zip archive
/// is opened by whoever has the file, before its bytes come here.
const FOREIGN: [(&[u8], &str); 6] = [
    (b"\xfd7zXZ\0", "xz data"),
    (b"\x04\x22\x4d\x18", "LZ4 data"),
    (b"\xff\x06\0\0sNaPpY", "Snappy data"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"PK\x03\x04", "a zip archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
];
/// What a header of a tar archive has at this place (POSIX ustar, GNU tar). The word alone may
/// stand in any text; a zero byte does not.
const TAR: [&[u8]; 2] = [b"ustar\0", b"ustar  \0"];
const TAR_AT: usize = 257;

/// Buffer that objects are inflated into.
pub type InflateBuffer = Box<dyn AsMut<[u8]> + Send>;

/// Decoder and buffer, reused from one object to the next.
pub struct InflateScratch {
    inflater: Decompressor,
    room: InflateBuffer,
}

impl Default for InflateScratch {
    fn default() -> Self {
        Self::with_room(Box::new([]))
    }
}

impl InflateScratch {
    /// Starts with this buffer, and allocates a larger one when an object needs it.
    #[must_use]
    pub fn with_room(room: InflateBuffer) -> Self {
        Self {
            inflater: Decompressor::new(),
            room,
        }
    }
}

/// Passes the JSON bytes of an object in memory to `sink`, chunk by chunk.
///
/// # Errors
///
/// [`InflateError`] is why the rest could not be read; `sink` has received the chunks before it.
pub fn inflate(
    bytes: &[u8],
    scratch: &mut InflateScratch,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), InflateError> {
    match Compression::of(bytes) {
        None => sink(readable(bytes)?),
        Some(Compression::Gzip) => match inflate_whole(bytes, scratch) {
            Some(inner) if Compression::of(inner).is_some() => {
                return inflate_again(inner, Some(bytes.len() as u64), sink);
            }
            Some(text) => sink(readable(text)?),
            None => return inflate_again(bytes, None, sink),
        },
        Some(_) => return inflate_again(bytes, None, sink),
    }
    Ok(())
}

/// Inflates data in memory. Where it is damaged, what lies just before the damage is inflated again
/// in small steps: a decoder drops what the failing step has produced.
fn inflate_again(
    bytes: &[u8],
    stored: Option<u64>,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), InflateError> {
    let mut passed = 0;
    let result = inflate_layers(bytes, stored, STEP, &mut |text| {
        passed += text.len();
        sink(text);
    });
    if !matches!(result, Err(InflateError::Damaged(..))) {
        return result;
    }
    inflate_layers(bytes, stored, LAST_STEP, &mut |text| {
        let known = passed.min(text.len());
        passed -= known;
        sink(text.get(known..).unwrap_or_default());
    })
}

/// The text of a small, valid object with one member; `None` for any other. Those are streamed,
/// which reports the error and yields the text before it.
fn inflate_whole<'s>(bytes: &[u8], scratch: &'s mut InflateScratch) -> Option<&'s [u8]> {
    let size = whole_size(bytes)?;
    let InflateScratch { inflater, room } = scratch;
    // Only ever grown: clearing a megabyte per object would cost a tenth of the time for inflating.
    if (**room).as_mut().len() < size {
        *room = Box::new(vec![0; size]);
    }
    let out = (**room).as_mut().get_mut(..size)?;
    let inflated = inflater.gzip_decompress(bytes, out).ok()?;
    (inflated == size).then_some(out)
}

/// Like [`inflate`], for objects that are too large for memory, and for standard input.
///
/// # Errors
///
/// See [`inflate`].
pub fn inflate_stream(reader: impl Read, sink: &mut dyn FnMut(&[u8])) -> Result<(), InflateError> {
    inflate_layers(reader, None, STEP, sink)
}

/// Inflates data, and what is compressed in it. `stored`: the number of compressed bytes, where the
/// reader has been inflated once already; `step`: how many bytes a decoder is asked for at a time.
fn inflate_layers(
    reader: impl Read,
    stored: Option<u64>,
    step: usize,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), InflateError> {
    let source = SourceState {
        taken: Cell::new(0),
        error: RefCell::new(None),
    };
    let mut layer: Box<dyn Read + '_> = Box::new(WatchedReader {
        inner: reader,
        state: &source,
    });
    let mut compression = None;
    // Limited: data can be built that inflates to itself, and would never end.
    for _ in 0..=MAX_LAYERS {
        let mut head = Vec::with_capacity(MAGIC_BYTES as usize);
        let read = layer.by_ref().take(MAGIC_BYTES).read_to_end(&mut head);
        if let Err(error) = read {
            sink(&head);
            return Err(source.error(compression, error));
        }
        let inner = Compression::of(&head);
        let whole = io::Cursor::new(head).chain(layer);
        let Some(found) = inner else {
            layer = Box::new(whole);
            break;
        };
        layer = found.decoder(whole)?;
        compression = Some(found);
    }
    let taken = |_: &_| compression.map(|_| stored.unwrap_or(0).max(source.taken.get()));
    let step = compression.map_or(STREAM_CHUNK_BYTES, |_| step);
    pump(layer, taken, step, sink).map_err(|error| source.error(compression, error))?
}

/// What is known of a reader below its decoders.
struct SourceState {
    /// Number of bytes read from it.
    taken: Cell<u64>,
    /// Its own error, which decoders pass on like one of theirs.
    error: RefCell<Option<io::Error>>,
}

impl SourceState {
    /// An error of the reader, or of the data.
    fn error(&self, compression: Option<Compression>, error: io::Error) -> InflateError {
        match (self.error.borrow_mut().take(), compression) {
            (Some(own), _) => InflateError::Io(own),
            (None, Some(compression)) => InflateError::Damaged(compression, error),
            (None, None) => InflateError::Io(error),
        }
    }
}

/// Reads to the end in chunks. `taken` returns the number of compressed bytes read so far, or
/// `None` where nothing is inflated. The outer error is that of the reader.
fn pump<R: Read>(
    mut reader: R,
    taken: impl Fn(&R) -> Option<u64>,
    step: usize,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<Result<(), InflateError>, io::Error> {
    let mut buffer = vec![0; STREAM_CHUNK_BYTES];
    let mut total = 0_u64;
    loop {
        let (filled, error) = fill(&mut reader, &mut buffer, step);
        let piece = buffer.get(..filled).unwrap_or_default();
        // A byte order mark is in the first bytes; later bytes that look like one are text.
        let piece = match total {
            0 => match readable(piece) {
                Ok(piece) => piece,
                Err(error) => return Ok(Err(error)),
            },
            _ => piece,
        };
        sink(piece);
        total += filled as u64;
        if let Some(taken) = taken(&reader)
            && let Err(error) = refuse_bomb(taken, total)
        {
            return Ok(Err(error));
        }
        match error {
            Some(error) => return Err(error),
            // Without an error, the buffer is only partly filled at the end.
            None if filled < buffer.len() => return Ok(Ok(())),
            None => {}
        }
    }
}

/// Rejects output that is larger than any genuine log of so many compressed bytes.
fn refuse_bomb(taken: u64, total: u64) -> Result<(), InflateError> {
    let limit = MAX_INFLATED_BYTES.max(taken.saturating_mul(MAX_INFLATE_RATIO));
    if total > limit {
        return Err(InflateError::Bomb { limit });
    }
    Ok(())
}

/// Fills the buffer as far as possible, in steps. An error is returned with what was read before
/// it.
fn fill(reader: &mut impl Read, buffer: &mut [u8], step: usize) -> (usize, Option<io::Error>) {
    let mut filled = 0;
    while filled < buffer.len() {
        let end = buffer.len().min(filled + step);
        let space = buffer.get_mut(filled..end).unwrap_or_default();
        match reader.read(space) {
            Ok(0) => break,
            // A pipe returns whatever is in it: the chunks should not depend on that.
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Some(error)),
        }
    }
    (filled, None)
}

/// Inflated size of a gzip object that is small and certainly has only one member; `None` means
/// that it must be streamed.
///
/// The size is in the last four bytes (RFC 1952 §2.3.1). libdeflate stops silently after the first
/// member, so anything that could be the head of a second one, even by chance, rules out the fast
/// path.
fn whole_size(bytes: &[u8]) -> Option<usize> {
    let body = bytes.strip_prefix(&GZIP_MAGIC)?;
    let size = usize::try_from(u32::from_le_bytes(*body.last_chunk::<4>()?)).ok()?;
    // The size is untrusted input: allocate no more memory than any valid object needs, and none
    // for an object that claims to be empty.
    let is_plausible = (1..=WHOLE_OBJECT_BYTES).contains(&size);
    let mut heads = memmem::find_iter(body, &GZIP_MAGIC);
    (is_plausible && !heads.any(|at| may_be_head(body, at))).then_some(size)
}

/// Whether the magic number at `at` may begin a member. The reserved bits of a member's flags are
/// zero, which leaves one in eight chance occurrences.
fn may_be_head(body: &[u8], at: usize) -> bool {
    body.get(at + GZIP_MAGIC.len())
        .is_some_and(|flags| flags & 0xe0 == 0)
}

/// The first bytes without the byte order mark of UTF-8, which JSON parsers do not accept. UTF-16
/// comes from Windows shells, when downloaded logs are redirected to a file as text.
fn readable(text: &[u8]) -> Result<&[u8], InflateError> {
    let is_utf_16 = match text {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => true,
        // Without the mark, as JSON begins.
        [first, 0, _, 0, ..] | [0, first, 0, _, ..] => b"{[\"".contains(first),
        _ => false,
    };
    if is_utf_16 {
        return Err(InflateError::Utf16);
    }
    let foreign = FOREIGN.iter().find(|(magic, _)| text.starts_with(magic));
    let header = text.get(TAR_AT..).unwrap_or_default();
    let is_tar = TAR.iter().any(|magic| header.starts_with(magic));
    match foreign {
        Some((_, name)) => Err(InflateError::Foreign(name)),
        None if is_tar => Err(InflateError::Foreign("a tar archive")),
        None => Ok(text.strip_prefix(UTF8_BOM).unwrap_or(text)),
    }
}

/// Notes what happens to a reader, for those who see only its decoder.
struct WatchedReader<'s, R> {
    inner: R,
    state: &'s SourceState,
}

impl<R: Read> Read for WatchedReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(count) => {
                self.state.taken.set(self.state.taken.get() + count as u64);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                // The decoder wraps what it gets. The original is kept apart, so that its text is
                // not lost.
                let same = io::Error::from(error.kind());
                *self.state.error.borrow_mut() = Some(error);
                Err(same)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> (Vec<u8>, Result<(), InflateError>) {
        let mut out = Vec::new();
        let result = inflate(bytes, &mut InflateScratch::default(), &mut |piece| {
            out.extend_from_slice(piece)
        });
        let mut streamed = Vec::new();
        let other = inflate_stream(bytes, &mut |piece| streamed.extend_from_slice(piece));
        assert_eq!(out, streamed, "both ways give the same bytes");
        assert_eq!(result.is_ok(), other.is_ok());
        (out, result)
    }

    #[test]
    fn reads_plain_text_and_every_member() {
        assert_eq!(read(b"{}").0, b"{}");
        assert_eq!(read(b"\xef\xbb\xbf{}").0, b"{}");
        assert_eq!(read(&gzip(b"\xef\xbb\xbf{}")).0, b"{}");
        assert_eq!(read(b"").0, b"");
        let members = [gzip(b"one "), gzip(b"two "), gzip(b"one ")].concat();
        assert_eq!(read(&members).0, b"one two one ");
    }

    #[test]
    fn keeps_what_came_before_the_truncation() {
        let text: Vec<u8> = (0..40_000_u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        let whole = gzip(&text);
        let (out, result) = read(&whole[..whole.len() / 2]);
        assert!(matches!(
            result,
            Err(InflateError::Damaged(Compression::Gzip, _))
        ));
        assert!(!out.is_empty() && text.starts_with(&out));
    }

    #[test]
    fn what_lies_before_a_damage_is_not_lost_with_it() {
        let text: Vec<u8> = (0..200_000_u32)
            .flat_map(|n| n.wrapping_mul(n).to_be_bytes())
            .collect();
        let mut bytes = gzip(&text);
        let damaged = bytes.len() / 2;
        bytes[damaged..].fill(0xff);
        let mut members = gzip(b"first");
        members.extend(&bytes);
        let (whole, result) = read(&members);
        assert!(matches!(result, Err(InflateError::Damaged(..))));
        let mut streamed = Vec::new();
        let result = inflate_stream(&*members, &mut |text| streamed.extend_from_slice(text));
        assert!(matches!(result, Err(InflateError::Damaged(..))));
        assert!(whole.starts_with(&streamed));
        let lacks = whole.len() - streamed.len();
        assert!(lacks < STEP, "{lacks}");
        // What is damaged may have been inflated to something before it was noticed.
        let text = [b"first", &*text].concat();
        let good = whole.len() / 3;
        assert!(good > STEP && whole[..good] == text[..good]);
    }

    #[test]
    fn truncation_anywhere_is_reported() {
        let text = br#"{"Records":[{"eventName":"GetSecretValue"}]}"#;
        let one = gzip(text);
        let both = [one.as_slice(), &one].concat();
        for cut in GZIP_MAGIC.len()..both.len() {
            let (out, result) = read(&both[..cut]);
            assert!(text.repeat(2).starts_with(&out), "truncated at {cut}");
            // Truncation between two members cannot be detected.
            assert_eq!(result.is_ok(), cut == one.len(), "truncated at {cut}");
        }
    }

    #[test]
    fn a_wrong_checksum_or_size_is_reported_after_the_text() {
        let text = br#"{"Records":[]}"#;
        let sound = gzip(text);
        for from_end in [8, 4, 1] {
            let mut damaged = sound.clone();
            let at = damaged.len() - from_end;
            damaged[at] ^= 1;
            let (out, result) = read(&damaged);
            assert_eq!(out, text, "{from_end} bytes before the end");
            assert!(
                matches!(result, Err(InflateError::Damaged(Compression::Gzip, _))),
                "{from_end}"
            );
        }
    }

    #[test]
    fn what_follows_the_last_member_is_an_error() {
        let mut bytes = gzip(b"{}");
        bytes.extend_from_slice(b"appended");
        let (out, result) = read(&bytes);
        assert_eq!(out, b"{}");
        assert!(matches!(
            result,
            Err(InflateError::Damaged(Compression::Gzip, _))
        ));
    }

    #[test]
    fn a_second_head_in_the_data_rules_out_the_short_way_only() {
        for (flags, is_short) in [(0, false), (0x1f, false), (0x20, true), (0xff, true)] {
            let text = [b'x', 0x1f, 0x8b, 0x08, flags, b'y'];
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::none());
            encoder.write_all(&text).unwrap();
            let stored = encoder.finish().unwrap();
            assert_eq!(whole_size(&stored).is_some(), is_short, "{flags:#x}");
            assert_eq!(read(&stored).0, text);
        }
    }

    #[test]
    fn an_error_of_the_reader_comes_after_what_was_read() {
        struct Faulty(Vec<io::Result<u8>>);
        impl Read for Faulty {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0.pop() {
                    Some(byte) => byte.map(|byte| {
                        buffer[0] = byte;
                        1
                    }),
                    None => Ok(0),
                }
            }
        }
        let reported = |mut answers: Vec<io::Result<u8>>| {
            answers.reverse();
            let mut out = Vec::new();
            let result = inflate_stream(Faulty(answers), &mut |piece| out.extend_from_slice(piece));
            (String::from_utf8(out).unwrap(), result)
        };
        let interrupted = || Err(io::ErrorKind::Interrupted.into());
        let (out, result) = reported(
            b"{\"a\":1}"
                .iter()
                .flat_map(|b| [interrupted(), Ok(*b)])
                .collect(),
        );
        assert_eq!(out, r#"{"a":1}"#);
        assert!(result.is_ok());
        let reset = Err(io::ErrorKind::ConnectionReset.into());
        let (out, result) = reported(vec![Ok(b'{'), Ok(b'"'), Ok(b'a'), Ok(b'"'), reset]);
        assert_eq!(out, r#"{"a""#);
        assert!(matches!(result, Err(InflateError::Io(_))));
    }

    #[test]
    fn the_word_of_tar_archives_in_a_text_makes_it_none() {
        let mut text = br#"{"eventSource":"ssm.amazonaws.com","userAgent":""#.to_vec();
        text.resize(TAR_AT, b'x');
        text.extend(br#"ustar  00"}"#);
        assert!(readable(&text).is_ok());
    }

    #[test]
    fn refuses_a_bomb_and_utf_16() {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut spaces = io::repeat(b' ').take(MAX_INFLATED_BYTES + (4 << 20));
        io::copy(&mut spaces, &mut encoder).unwrap();
        let bomb = encoder.finish().unwrap();
        let result = inflate(&bomb, &mut InflateScratch::default(), &mut |_| {});
        assert!(matches!(
            result,
            Err(InflateError::Bomb {
                limit: MAX_INFLATED_BYTES
            })
        ));
        for utf_16 in [
            &b"\xff\xfe{\0}\0"[..],
            b"\xfe\xff\0{\0}",
            b"{\0\"\0",
            b"\0[\0{",
        ] {
            assert!(matches!(read(utf_16).1, Err(InflateError::Utf16)));
            assert!(matches!(read(&gzip(utf_16)).1, Err(InflateError::Utf16)));
        }
        let mut tar = vec![0; 512];
        let magic = TAR[0];
        tar.splice(TAR_AT..TAR_AT + magic.len(), magic.iter().copied());
        let forms = FOREIGN.iter().map(|(magic, _)| magic.to_vec());
        for foreign in forms.chain([tar]) {
            let is_foreign = |bytes: &[u8]| matches!(read(bytes).1, Err(InflateError::Foreign(_)));
            assert!(is_foreign(&foreign) && is_foreign(&gzip(&foreign)));
        }
    }

    #[test]
    fn a_large_object_may_inflate_further() {
        let taken = MAX_INFLATED_BYTES / 10;
        let most = taken * MAX_INFLATE_RATIO;
        assert!(refuse_bomb(taken, most).is_ok());
        assert!(refuse_bomb(taken, most + 1).is_err());
        assert!(refuse_bomb(u64::MAX, u64::MAX).is_ok());
        assert!(refuse_bomb(1, MAX_INFLATED_BYTES).is_ok());
    }

    #[test]
    fn memory_that_was_used_for_a_longer_text_does_not_show_in_the_next() {
        let mut scratch = InflateScratch::default();
        for text in [b"{\"long\":\"text\"}".as_slice(), b"{}", b"[1]"] {
            let mut out = Vec::new();
            inflate(&gzip(text), &mut scratch, &mut |piece| {
                out.extend_from_slice(piece)
            })
            .unwrap();
            assert_eq!(out, text);
        }
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(text, 1).unwrap()
    }

    fn bzip2(text: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_compression_is_recognised_by_its_bytes_and_read_to_its_end() {
        let text = br#"{"Records":[{"eventName":"GetSecretValue"}]}"#;
        for pack in [gzip, zstd, bzip2] {
            let one = pack(text);
            assert_eq!(read(&one).0, text);
            let two = [one.clone(), pack(b" "), one.clone()].concat();
            assert_eq!(read(&two).0, [&text[..], b" ", text].concat());
            let (out, result) = read(&one[..one.len() - 5]);
            assert!(text.starts_with(&out) && matches!(result, Err(InflateError::Damaged(..))));
        }
        let skippable = [&[0x5f, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9][..], &zstd(text)].concat();
        assert_eq!(read(&skippable).0, text);
        assert_eq!(read(b"BZh9 is text").0, b"BZh9 is text");
    }

    #[test]
    fn compressed_data_may_hold_compressed_data() {
        let text = br#"{"messageType":"DATA_MESSAGE"}"#;
        for (outer, inner) in [
            (gzip as fn(&[u8]) -> Vec<u8>, gzip as fn(&[u8]) -> Vec<u8>),
            (zstd, gzip),
            (gzip, bzip2),
        ] {
            let messages = [inner(text), inner(text)].concat();
            assert_eq!(read(&outer(&messages)).0, [&text[..], text].concat());
        }
        let (out, result) = read(&gzip(&gzip(&gzip(&gzip(&gzip(text))))));
        assert!(
            result.is_ok() && out.starts_with(&GZIP_MAGIC),
            "given up as it is"
        );
        let damaged = gzip(&gzip(text)[..30]);
        assert!(matches!(
            read(&damaged).1,
            Err(InflateError::Damaged(Compression::Gzip, _))
        ));
    }

    #[test]
    fn an_error_of_the_reader_is_not_one_of_the_data() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        let whole = gzip(&[b'x'; 1_000]);
        let result = inflate_stream(whole[..20].chain(Broken), &mut |_| {});
        assert!(
            matches!(result, Err(InflateError::Io(error)) if error.kind() == io::ErrorKind::ConnectionReset)
        );
    }
}
