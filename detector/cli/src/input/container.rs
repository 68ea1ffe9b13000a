//! Files that hold logs in their own way: Parquet, whose rows are read as JSON, and zip archives,
//! whose members are read one after the other.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use secretrail_engine::limits::{MAX_INFLATE_RATIO, MAX_INFLATED_BYTES};
use zip::ZipArchive;

use crate::input::object::ObjectReadError;

/// A container, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    /// A Parquet file.
    Parquet,
    /// A zip archive.
    Zip,
}

/// A container in a file or in memory.
pub(crate) enum ContainerBytes {
    /// A file.
    File(std::fs::File),
    /// All its bytes.
    Bytes(Vec<u8>),
}

impl ContainerBytes {
    /// Their number.
    fn len(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
        }
    }
}

/// Reads a member of a container: its name, if it has one, and its content.
pub(crate) type ReadMember<'m> =
    dyn FnMut(Option<&str>, &mut dyn Read) -> Result<(), ObjectReadError> + 'm;

impl Container {
    /// The container that begins with these bytes; `None` for any other content.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"PAR1") {
            return Some(Self::Parquet);
        }
        // The second is an archive without members.
        let is_zip = bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06");
        is_zip.then_some(Self::Zip)
    }

    /// The container in a file, which is then at its start again.
    pub(crate) fn of_file(file: &mut std::fs::File) -> io::Result<Option<Self>> {
        let mut first = Vec::new();
        file.by_ref().take(4).read_to_end(&mut first)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Self::of(&first))
    }

    /// Passes on the content, member by member.
    ///
    /// # Errors
    ///
    /// [`ObjectReadError`]: it is damaged, a member is encrypted, or this build cannot read it.
    pub(crate) fn read(
        self,
        bytes: ContainerBytes,
        member: &mut ReadMember<'_>,
    ) -> Result<(), ObjectReadError> {
        self.read_nested(bytes, NESTED, member)
    }

    /// As [`Container::read`], of containers within each other down to this depth.
    fn read_nested(
        self,
        bytes: ContainerBytes,
        depth: usize,
        member: &mut ReadMember<'_>,
    ) -> Result<(), ObjectReadError> {
        let member: &mut ReadMember<'_> =
            &mut |name, content| pass_on(name, content, depth, member);
        // Most bytes that it may hold, as for compressed logs.
        let left = MAX_INFLATED_BYTES.max(bytes.len()?.saturating_mul(MAX_INFLATE_RATIO));
        match (self, bytes) {
            (Self::Parquet, bytes) => {
                let of = parquet::rows(bytes)?;
                member(None, &mut Limited { of, left })
            }
            (Self::Zip, ContainerBytes::File(file)) => {
                members(io::BufReader::new(file), left, member)
            }
            (Self::Zip, ContainerBytes::Bytes(bytes)) => members(Cursor::new(bytes), left, member),
        }
    }
}

/// Containers within each other that are opened.
const NESTED: usize = 3;

/// Most bytes of a container within another one, or on standard input: it is held in memory.
const HELD_BYTES: u64 = 256 * 1024 * 1024;

/// Passes on content that is read once from start to end. Of a container, that of its members.
///
/// # Errors
///
/// As [`Container::read`].
pub(crate) fn pass_on_stream(
    content: &mut dyn Read,
    member: &mut ReadMember<'_>,
) -> Result<(), ObjectReadError> {
    pass_on(None, content, NESTED, member)
}

fn pass_on(
    name: Option<&str>,
    content: &mut dyn Read,
    depth: usize,
    member: &mut ReadMember<'_>,
) -> Result<(), ObjectReadError> {
    let mut first = Vec::new();
    content.take(4).read_to_end(&mut first)?;
    let container = Container::of(&first);
    let mut whole = first.chain(content);
    let Some(container) = container else {
        return member(name, &mut whole);
    };
    let Some(depth) = depth.checked_sub(1) else {
        let why = "holds archives within archives; unpack the outer ones first";
        return Err(ObjectReadError::Content(why.to_owned()));
    };
    let mut bytes = Vec::new();
    whole.take(HELD_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > HELD_BYTES {
        let why = "holds an archive of more than 256 MiB; write it to a file and name that";
        return Err(ObjectReadError::Content(why.to_owned()));
    }
    container.read_nested(ContainerBytes::Bytes(bytes), depth, member)
}

/// Passes on the members of an archive. One that cannot be read does not keep the others from being
/// read; the last such error is returned, with its name.
fn members(
    mut archive: impl Read + Seek,
    mut left: u64,
    member: &mut ReadMember<'_>,
) -> Result<(), ObjectReadError> {
    let entries = entries(&mut archive)?;
    let mut archive = ZipArchive::new(archive).map_err(|error| {
        ObjectReadError::Content(format!(
            "is no zip archive, or one that is cut off: {error}"
        ))
    })?;
    // The total counts: members may lie within each other.
    let mut failed = Ok(());
    for index in 0..archive.len() {
        let read = match archive.by_index(index) {
            Err(error) => Err(format!("member {}: {error}", index + 1)),
            // A name with a slash at its end makes a folder of it, whatever it holds.
            Ok(file) if file.is_symlink() || (file.is_dir() && file.size() == 0) => Ok(()),
            Ok(file) => {
                let name = file.name().unwrap_or_default().into_owned();
                let mut file = Limited { of: file, left };
                let read = member(Some(&name), &mut file);
                left = file.left;
                read.map_err(|error| format!("{name}: {error}"))
            }
        };
        if let Err(error) = read {
            failed = Err(ObjectReadError::Content(error));
        }
    }
    // What the library passes over must not be lost in silence.
    let passed_over = match entries {
        None => Some("holds more behind its archive"),
        Some(_) if archive.offset() > 0 => Some("holds more before its archive"),
        Some(entries) if entries != ZIP64 && usize::from(entries) != archive.len() => {
            Some("holds several members of one name, of which only the last is read")
        }
        Some(_) => None,
    };
    match passed_over {
        Some(why) => Err(ObjectReadError::Content(format!("{why}; unpack it first"))),
        None => failed,
    }
}

/// Number of members where the directory is too long for two bytes and says so elsewhere.
const ZIP64: u16 = u16::MAX;

/// Number of members that the end of an archive tells (APPNOTE.TXT §4.3.16); `None` where the file
/// does not end with it.
fn entries(archive: &mut (impl Read + Seek)) -> io::Result<Option<u16>> {
    const END: usize = 22;
    let longest = (END + usize::from(u16::MAX)) as u64;
    let size = archive.seek(SeekFrom::End(0))?;
    // The end of the file is enough: behind the record is a comment of at most 64 KiB.
    archive.seek(SeekFrom::Start(size.saturating_sub(longest)))?;
    let mut tail = Vec::new();
    archive.by_ref().take(longest).read_to_end(&mut tail)?;
    archive.seek(SeekFrom::Start(0))?;
    let number = |record: &[u8], at: usize| {
        let bytes = record.get(at..at + 2)?.try_into().ok()?;
        Some(u16::from_le_bytes(bytes))
    };
    let mut ends = memchr::memmem::rfind_iter(&tail, b"PK\x05\x06").filter_map(|at| {
        let record = tail.get(at..)?;
        // The comment reaches up to the end of the file.
        let is_last = record.len() == END + usize::from(number(record, 20)?);
        number(record, 10).filter(|_| is_last)
    });
    Ok(ends.next())
}

/// A reader that fails after so many bytes.
struct Limited<R> {
    of: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.of.read(out)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::other("holds more than such a file may: is it meant to fill the memory?")
        })?;
        Ok(read)
    }
}

#[cfg(feature = "parquet")]
mod parquet {
    //! Rows of a Parquet file as lines of JSON.

    use secretrail_engine::parquet_rows::{ParquetRows, UnreadableParquet, rows as lines};

    use super::ContainerBytes;
    use crate::input::object::ObjectReadError;

    /// The rows of a file.
    pub(super) fn rows(bytes: ContainerBytes) -> Result<ParquetRows, ObjectReadError> {
        let rows: Result<ParquetRows, UnreadableParquet> = match bytes {
            ContainerBytes::File(file) => lines(file),
            ContainerBytes::Bytes(bytes) => lines(bytes::Bytes::from(bytes)),
        };
        rows.map_err(|error| ObjectReadError::Content(error.to_string()))
    }
}

#[cfg(not(feature = "parquet"))]
mod parquet {
    //! Stands in for a build without Parquet.

    use super::ContainerBytes;
    use crate::input::object::ObjectReadError;

    /// Fails.
    pub(super) fn rows(_: ContainerBytes) -> Result<std::io::Empty, ObjectReadError> {
        Err(ObjectReadError::Content(
            "is a Parquet file, and this build cannot read any: build with the feature `parquet`"
                .to_owned(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        archive
            .add_directory("logs", SimpleFileOptions::default())
            .unwrap();
        for (name, content) in members {
            archive
                .start_file(*name, SimpleFileOptions::default())
                .unwrap();
            archive.write_all(content).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    #[test]
    fn members_of_an_archive_are_read_in_their_order() {
        let bytes = archive(&[("logs/a.json", b"{}"), ("b.csv", b"x,y\n")]);
        assert_eq!(Container::of(&bytes), Some(Container::Zip));
        let mut found = Vec::new();
        Container::Zip
            .read(ContainerBytes::Bytes(bytes), &mut |name, content| {
                let mut text = String::new();
                content.read_to_string(&mut text)?;
                found.push(format!("{} {text}", name.unwrap_or("-")));
                Ok(())
            })
            .unwrap();
        assert_eq!(found, ["logs/a.json {}", "b.csv x,y\n"]);
    }

    #[test]
    fn what_an_archive_passes_over_is_told() {
        let whole = archive(&[("a.json", b"{}"), ("b.json", b"[]")]);
        let mut same = whole.clone();
        let names = memchr::memmem::find_iter(&whole, b"b.json");
        names.for_each(|at| same[at] = b'a');
        for bytes in [
            same,
            [archive(&[("c.json", b"1")]), whole.clone()].concat(),
            [&whole[..], b"\n{}"].concat(),
        ] {
            let mut found = 0;
            let error = Container::Zip
                .read(ContainerBytes::Bytes(bytes), &mut |_, _| {
                    found += 1;
                    Ok(())
                })
                .unwrap_err();
            assert!(error.to_string().contains("unpack it first"), "{error}");
            assert!(found > 0);
        }
    }

    #[test]
    fn what_is_damaged_says_so() {
        for (container, bytes) in [
            (Container::Zip, &b"PK\x03\x04 and no more"[..]),
            (Container::Parquet, b"PAR1 and no more"),
        ] {
            assert_eq!(Container::of(bytes), Some(container));
            let bytes = ContainerBytes::Bytes(bytes.to_vec());
            let error = container.read(bytes, &mut |_, _| Ok(())).unwrap_err();
            assert!(matches!(error, ObjectReadError::Content(_)), "{error}");
        }
        assert_eq!(Container::of(b"{\"PAR1\"}"), None);
    }
}
