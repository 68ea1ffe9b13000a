//! Objects to read: files, objects in S3 and standard input, and how to open them.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use secretrail_engine::{
    extract_file,
    object::{self as key, ObjectPath},
};
use sha2::{Digest, Sha256};

use super::store::{FetchedBytes, ObjectStore, RemoteObject, StoreError};
use crate::text::hex;

/// An object to read.
#[derive(Debug)]
pub struct InputObject {
    /// Where its bytes are.
    pub place: ObjectPlace,
    /// Name in the ledger: the path as typed, with `/`, or the `s3://` URL; invalid UTF-8 replaced.
    pub name: String,
    /// Whether its path in an `AWSLogs` tree determines account and region.
    pub in_tree: bool,
    /// Account and region from its path; `None` outside of an `AWSLogs` tree.
    pub home: Option<(String, String)>,
    /// Time of delivery in UTC, from its name; `None` if the name has none.
    pub delivered: Option<secretrail_engine::time::EventTime>,
    /// Whether the user named it; it must then hold records.
    pub explicit: bool,
    /// Whether it is an extract file, by its name.
    pub is_extract_file: bool,
}

/// Where the bytes of an object are.
#[derive(Debug)]
pub enum ObjectPlace {
    /// A local file.
    File(PathBuf),
    /// An object in S3.
    S3(RemoteObject),
    /// Standard input.
    Stdin,
}

/// The content of an opened object.
pub enum OpenedContent {
    /// A file or device, positioned at its start.
    File(File),
    /// All bytes of an object in S3.
    Bytes(Vec<u8>),
}

/// Why an object could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectReadError {
    /// A file could not be opened or read.
    #[error("{0}")]
    File(#[from] io::Error),
    /// An object in S3 could not be fetched.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Standard input cannot be opened: it is read once, by the thread that finds it.
    #[error("standard input cannot be opened like a file")]
    Stdin,
    /// The content is not that of a log, or is truncated.
    #[error("{0}")]
    Content(String),
}

/// An input that could not be read.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InputProblem {
    /// Name of the object or path.
    pub name: String,
    /// The error, and what to do about it.
    pub message: String,
}

impl InputProblem {
    /// A problem with the input of this name.
    pub fn new(name: impl Into<String>, message: impl ToString) -> Self {
        Self {
            name: name.into(),
            message: message.to_string(),
        }
    }
}

impl InputObject {
    /// Standard input.
    #[must_use]
    pub fn stdin() -> Self {
        Self {
            place: ObjectPlace::Stdin,
            name: "standard input".to_owned(),
            in_tree: false,
            home: None,
            delivered: None,
            explicit: true,
            is_extract_file: false,
        }
    }

    /// An object, with account, region and delivery parsed from its key.
    #[must_use]
    pub fn at(place: ObjectPlace, name: String, key: &str, explicit: bool) -> Self {
        Self::parsed(place, name, key, &key::parse(key), explicit)
    }

    /// Like [`Self::at`], for a key that is already parsed.
    #[must_use]
    pub fn parsed(
        place: ObjectPlace,
        name: String,
        key: &str,
        parsed: &ObjectPath<'_>,
        explicit: bool,
    ) -> Self {
        Self {
            place,
            name,
            in_tree: parsed.account.is_some(),
            home: home(parsed),
            delivered: parsed.delivered,
            explicit,
            is_extract_file: extract_file::is_extract_file(key),
        }
    }

    /// Whether it is standard input, a pipe or a device: what is read from it once is not there
    /// again under its name.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        match &self.place {
            ObjectPlace::File(path) => std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()),
            ObjectPlace::S3(_) => false,
            ObjectPlace::Stdin => true,
        }
    }

    /// Size in bytes as stored; 0 if unknown.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.place {
            // A file that has vanished is reported when it is opened.
            ObjectPlace::File(path) => std::fs::metadata(path).map_or(0, |meta| meta.len()),
            ObjectPlace::S3(remote) => remote.size,
            ObjectPlace::Stdin => 0,
        }
    }

    /// Tag of its version: the ETag in S3; of a file its size, its time of modification, and a
    /// digest of its first and last bytes. Taken before it is read: a file that changes meanwhile
    /// must be read again.
    #[must_use]
    pub fn tag(&self) -> String {
        match &self.place {
            ObjectPlace::S3(remote) if !remote.etag.is_empty() => remote.etag.clone(),
            ObjectPlace::S3(_) | ObjectPlace::Stdin => self.size().to_string(),
            // A file that has vanished is reported when it is opened.
            ObjectPlace::File(path) => tag_of_file(path).unwrap_or_default(),
        }
    }

    /// The object in S3; `None` for files and standard input.
    #[must_use]
    pub fn remote(&self) -> Option<&RemoteObject> {
        match &self.place {
            ObjectPlace::S3(remote) => Some(remote),
            ObjectPlace::File(_) | ObjectPlace::Stdin => None,
        }
    }
}

/// Bytes at each end of a file that its tag depends on.
const TAGGED: u64 = 4_096;

fn tag_of_file(path: &Path) -> io::Result<String> {
    // A pipe must not be opened twice.
    if !std::fs::metadata(path)?.is_file() {
        return Ok(String::new());
    }
    let mut file = File::open(path)?;
    let meta = file.metadata()?;
    let size = meta.len();
    let mut digest = Sha256::new();
    for from in [0, size.saturating_sub(TAGGED)] {
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        (&file).take(TAGGED).read_to_end(&mut bytes)?;
        digest.update(&bytes);
    }
    let modified = meta.modified()?.duration_since(UNIX_EPOCH);
    // Before 1970 only if somebody has set it so.
    let modified = modified.unwrap_or_default().as_nanos();
    let digest = digest.finalize();
    let ends = hex(digest.get(..8).unwrap_or(&digest));
    Ok(format!("{size}-{modified}-{ends}"))
}

impl ObjectPlace {
    /// Opens the object. A file is read by the caller, which knows whether it fits into memory; an
    /// object in S3 is downloaded whole, because S3 closes downloads that are read too slowly.
    ///
    /// # Errors
    ///
    /// [`ObjectReadError`]: why it could not be opened.
    pub fn open(&self, store: &dyn ObjectStore) -> Result<OpenedContent, ObjectReadError> {
        match self {
            Self::File(path) => Ok(OpenedContent::File(File::open(path)?)),
            Self::S3(remote) => Ok(OpenedContent::Bytes(store.fetch(remote)?.bytes)),
            Self::Stdin => Err(ObjectReadError::Stdin),
        }
    }

    /// All bytes of the object, as stored.
    ///
    /// # Errors
    ///
    /// [`ObjectReadError`]: why it could not be read.
    pub fn fetch(&self, store: &dyn ObjectStore) -> Result<FetchedBytes, ObjectReadError> {
        match self {
            Self::S3(remote) => Ok(store.fetch(remote)?),
            _ => Ok(FetchedBytes {
                bytes: self.open(store)?.into_bytes()?,
                signature: None,
            }),
        }
    }

    /// `length` bytes of the object, as stored, from an offset; fewer at its end.
    ///
    /// # Errors
    ///
    /// [`ObjectReadError`]: why they could not be read.
    pub fn piece(
        &self,
        store: &dyn ObjectStore,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, ObjectReadError> {
        match self {
            Self::File(path) => Ok(piece_of_file(path, offset, length)?),
            Self::S3(remote) => Ok(store.piece(remote, offset, length)?),
            Self::Stdin => Err(ObjectReadError::Stdin),
        }
    }
}

impl OpenedContent {
    /// All bytes.
    ///
    /// # Errors
    ///
    /// [`ObjectReadError::File`]: the file could not be read to its end.
    pub fn into_bytes(self) -> Result<Vec<u8>, ObjectReadError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::File(mut file) => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                Ok(bytes)
            }
        }
    }
}

fn piece_of_file(path: &Path, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    // Opened for each piece: thousands of files may be in use, more than the limit of open files.
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn home(path: &ObjectPath<'_>) -> Option<(String, String)> {
    Some((path.account?.to_owned(), path.region?.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::store::NoObjectStore;
    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn a_piece_ends_where_the_file_ends() {
        let file = file(b"0123456789");
        let place = ObjectPlace::File(file.path().to_owned());
        let piece = |offset, length| place.piece(&NoObjectStore, offset, length).unwrap();
        assert_eq!(piece(2, 3), b"234");
        assert_eq!(piece(8, 30), b"89");
        assert_eq!(piece(30, 1), b"");
    }

    #[test]
    fn what_cannot_be_opened_says_why() {
        let gone = ObjectPlace::File("/nowhere/at/all".into());
        assert!(matches!(
            gone.fetch(&NoObjectStore),
            Err(ObjectReadError::File(_))
        ));
        let remote = RemoteObject {
            bucket: "b".to_owned(),
            key: "k".to_owned(),
            etag: String::new(),
            size: 1,
        };
        let error = ObjectPlace::S3(remote).fetch(&NoObjectStore).unwrap_err();
        assert_eq!(error.to_string(), "no path in S3 was named");
        assert!(matches!(
            ObjectPlace::Stdin.open(&NoObjectStore),
            Err(ObjectReadError::Stdin)
        ));
    }

    #[test]
    fn versions_of_a_file_are_distinguished_by_size_time_and_ends() {
        let mut content = vec![b'a'; 3 * 4_096];
        let file = file(&content);
        let object = InputObject::at(
            ObjectPlace::File(file.path().to_owned()),
            "f".to_owned(),
            "f.json",
            true,
        );
        let time = UNIX_EPOCH + std::time::Duration::from_secs(7);
        let mut tag_of = |at: usize, time| {
            content[at] ^= 1;
            std::fs::write(file.path(), &content).unwrap();
            file.as_file().set_modified(time).unwrap();
            object.tag()
        };
        let tag = tag_of(0, time);
        assert!(tag.starts_with("12288-7000000000-"), "{tag}");
        assert_eq!(tag_of(5_000, time), tag, "the middle is not read");
        assert_ne!(tag_of(0, time), tag);
        assert_ne!(tag_of(12_287, time), tag_of(12_287, time));
        let later = time + std::time::Duration::from_nanos(1);
        assert_ne!(tag_of(5_000, later), tag_of(5_000, time));
    }

    #[test]
    fn versions_of_an_object_are_distinguished_by_etag_or_size() {
        let etags = [("", "7"), ("\"abc\"", "\"abc\"")];
        for (etag, tag) in etags {
            let remote = RemoteObject {
                bucket: "b".to_owned(),
                key: "k.json".to_owned(),
                etag: etag.to_owned(),
                size: 7,
            };
            let object = InputObject::at(ObjectPlace::S3(remote), "s3".to_owned(), "k.json", false);
            assert_eq!(object.tag(), tag);
        }
    }

    #[test]
    fn the_key_in_a_tree_tells_account_region_and_delivery() {
        let key = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/02/111122223333_CloudTrail_eu-west-1_20260302T1005Z_Ab12Cd34Ef56Gh78.json.gz";
        let object = InputObject::at(ObjectPlace::Stdin, String::new(), key, false);
        let home = object.home.as_ref().unwrap();
        assert_eq!(
            (home.0.as_str(), home.1.as_str()),
            ("111122223333", "eu-west-1")
        );
        assert!(object.in_tree && object.delivered.is_some() && !object.is_extract_file);
        assert!(!InputObject::at(ObjectPlace::Stdin, String::new(), "a.json", false).in_tree);
    }
}
