//! Reads an object piece by piece.

use std::io::{self, BufRead, Read};

use indicatif::ProgressBar;

use crate::input::{
    object::{InputObject, ObjectReadError},
    store::ObjectStore,
};

/// Bytes fetched at a time: a large extract file in S3 does not fit into memory, and nearly all of
/// them are one piece.
pub(crate) const PIECE: u64 = 8 * 1024 * 1024;

/// Reads an object piece by piece.
pub(crate) struct ObjectPieces<'r> {
    store: &'r dyn ObjectStore,
    object: &'r InputObject,
    size: u64,
    /// Most bytes of a piece.
    most: u64,
    offset: u64,
    piece: Vec<u8>,
    read: usize,
    progress: &'r ProgressBar,
}

impl<'r> ObjectPieces<'r> {
    /// Starts at the beginning of the object; fetches `most` bytes at a time.
    pub(crate) fn new(
        object: &'r InputObject,
        store: &'r dyn ObjectStore,
        most: u64,
        progress: &'r ProgressBar,
    ) -> Self {
        Self {
            store,
            object,
            size: object.size(),
            most,
            offset: 0,
            piece: Vec::new(),
            read: 0,
            progress,
        }
    }

    /// Fetches the first piece, so that an object that cannot be opened is not taken for a damaged
    /// one.
    ///
    /// # Errors
    ///
    /// [`ObjectReadError`]: why it cannot be opened.
    pub(crate) fn opened(mut self) -> Result<Self, ObjectReadError> {
        if self.size > 0 {
            self.fetch()?;
        }
        Ok(self)
    }

    fn fetch(&mut self) -> Result<(), ObjectReadError> {
        let length = self.most.min(self.size - self.offset);
        let place = &self.object.place;
        self.piece = place.piece(self.store, self.offset, length)?;
        self.offset += self.piece.len() as u64;
        self.read = 0;
        self.progress.inc(self.piece.len() as u64);
        Ok(())
    }
}

impl BufRead for ObjectPieces<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read >= self.piece.len() && self.offset < self.size {
            self.fetch()
                .map_err(|error| io::Error::other(error.to_string()))?;
            // The object has shrunk since it was listed.
            if self.piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.piece.get(self.read..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.read += amount;
    }
}

impl Read for ObjectPieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{object::ObjectPlace, store::NoObjectStore};

    #[test]
    fn pieces_of_any_size_make_the_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"0123456789").unwrap();
        let place = ObjectPlace::File(file.path().to_owned());
        let object = InputObject::at(place, String::new(), "a.part", true);
        let hidden = ProgressBar::hidden();
        for most in [1, 3, 10, 100] {
            let mut text = String::new();
            let mut pieces = ObjectPieces::new(&object, &NoObjectStore, most, &hidden);
            pieces.read_to_string(&mut text).unwrap();
            assert_eq!(text, "0123456789", "{most}");
        }
    }

    #[test]
    fn an_object_that_cannot_be_opened_says_so() {
        let remote = crate::input::store::RemoteObject {
            bucket: "b".to_owned(),
            key: "a.part".to_owned(),
            etag: String::new(),
            size: 10,
        };
        let object = InputObject::at(ObjectPlace::S3(remote), String::new(), "a.part", true);
        let hidden = ProgressBar::hidden();
        let pieces = ObjectPieces::new(&object, &NoObjectStore, PIECE, &hidden);
        let error = pieces.opened().map(|_| ()).unwrap_err();
        assert!(matches!(error, ObjectReadError::Store(_)), "{error}");
    }

    #[test]
    fn an_object_that_has_shrunk_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"0123456789").unwrap();
        let place = ObjectPlace::File(file.path().to_owned());
        let object = InputObject::at(place, String::new(), "a.part", true);
        let hidden = ProgressBar::hidden();
        let mut pieces = ObjectPieces::new(&object, &NoObjectStore, 4, &hidden);
        std::fs::write(file.path(), b"01").unwrap();
        let error = pieces.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
