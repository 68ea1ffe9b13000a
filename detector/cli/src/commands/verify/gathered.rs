//! Reads digests and logs once; of logs only the hash is kept.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use flate2::bufread::GzDecoder;
use indicatif::ProgressBar;
use secretrail_engine::{
    inflate::{Compression, InflateError, inflate_stream},
    limits::{MAX_INFLATED_BYTES, STREAM_CHUNK_BYTES},
    object::{self, ObjectKind},
    parallel,
    trail_digest::{DigestFile, tree_key},
};
use sha2::{Digest, Sha256};

use crate::{
    commands::verify::files::{ChainFiles, DigestRead, LogCopy},
    input::{
        object::{InputObject, InputProblem, ObjectPlace},
        store::{FetchedBytes, ObjectStore},
        walk,
    },
    text::hex,
};

/// How names of compressed files end.
const COMPRESSED: [&str; 4] = [".gz", ".bz2", ".zst", ".zstd"];

/// Reads all objects, and returns what cannot be read as problems. These objects are also in
/// `unread`: they exist, so they are not missing.
pub(super) fn gathered(
    objects: &[InputObject],
    threads: usize,
    store: &dyn ObjectStore,
    progress: &ProgressBar,
) -> (ChainFiles, Vec<InputProblem>) {
    let read = parallel::map(threads, objects, |object| {
        object.place.fetch(store).map(|fetched| {
            progress.inc(fetched.bytes.len() as u64);
            content(&tree_key_of(object), &fetched)
        })
    });
    let (mut gathering, mut problems) = (Gathering::default(), Vec::new());
    let mut read: Vec<_> = objects.iter().zip(read).collect();
    // Which of two files in one place comes first does not depend on the order of the paths.
    read.sort_by_key(|(object, _)| &*object.name);
    for (object, result) in read {
        let key = tree_key_of(object);
        match result {
            Ok(content) => gathering.add(content, key, &object.name),
            Err(error) => {
                problems.push(InputProblem::new(&*object.name, error));
                gathering.evidence.unread.insert(key);
            }
        }
    }
    (gathering.gathered(), problems)
}

/// Reads objects by their keys, as [`gathered`] does.
#[cfg(test)]
pub(super) fn gather<'o>(
    objects: impl IntoIterator<Item = (&'o String, &'o FetchedBytes)>,
) -> ChainFiles {
    let mut gathering = Gathering::default();
    for (key, fetched) in objects {
        gathering.add(content(key, fetched), key.clone(), key);
    }
    gathering.gathered()
}

/// Files that were read, while more may come.
#[derive(Default)]
struct Gathering {
    /// All but the digests.
    evidence: ChainFiles,
    /// Digests with other content under one key, with the names of their files.
    digests: BTreeMap<String, Vec<(String, DigestRead)>>,
}

impl Gathering {
    fn add(&mut self, content: GatheredContent, key: String, name: &str) {
        // Without its compression, or with another one, a file has the same hash, and is the same
        // file.
        let plain = COMPRESSED.iter().find_map(|end| key.strip_suffix(end));
        let key = format!("{}.gz", plain.unwrap_or(&key));
        match content {
            GatheredContent::Log(hash) => self.add_log(key, name, hash),
            GatheredContent::Digest(read) => {
                let rivals = self.digests.entry(key).or_default();
                if rivals.iter().all(|(_, rival)| rival.hash != read.hash) {
                    rivals.push((name.to_owned(), *read));
                }
            }
            GatheredContent::Spoiled(why) => {
                self.evidence.spoiled.insert(key, why);
            }
        }
    }

    /// Adds a log; a second one in its place with other content is judged on its own.
    fn add_log(&mut self, key: String, name: &str, hash: String) {
        match self.evidence.logs.get(&key) {
            Some(first) if *first != hash => self.evidence.copies.push(LogCopy {
                key,
                name: name.to_owned(),
                hash,
            }),
            Some(_) => {}
            None => drop(self.evidence.logs.insert(key, hash)),
        }
    }

    /// All files; where digests with other contents have one key, it is still to be decided which
    /// of them it is.
    fn gathered(mut self) -> ChainFiles {
        for (key, mut contents) in self.digests {
            match contents.pop() {
                Some((_, read)) if contents.is_empty() => {
                    self.evidence.digests.insert(key, read);
                }
                Some(last) => {
                    contents.push(last);
                    self.evidence.rivals.insert(key, contents);
                }
                None => {}
            }
        }
        self.evidence
    }
}

/// The content of an object.
enum GatheredContent {
    Digest(Box<DigestRead>),
    /// A log, by the hash of its inflated bytes.
    Log(String),
    /// Not a digest although its key is that of one, with the error.
    Spoiled(String),
}

fn content(key: &str, fetched: &FetchedBytes) -> GatheredContent {
    let is_digest = object::parse(key).kind == ObjectKind::Digest;
    let mut hash = Sha256::new();
    let mut text = Vec::new();
    let inflated = inflated(&fetched.bytes, &mut |piece| {
        hash.update(piece);
        // Only digests are kept: a log may inflate to twenty times its size.
        if is_digest {
            text.extend_from_slice(piece);
        }
    });
    let hash = hex(&hash.finalize());
    match (inflated, is_digest) {
        (Ok(()), false) => GatheredContent::Log(hash),
        // What CloudTrail did not write gets a hash that no digest lists, and so is `altered`.
        (Err(_), false) => GatheredContent::Log(hex(&Sha256::digest(&fetched.bytes))),
        (Err(error), true) => GatheredContent::Spoiled(error.to_string()),
        (Ok(()), true) => digest(&text, hash, fetched.signature.clone()),
    }
}

/// Why the content of an object is not one that CloudTrail writes.
#[derive(Debug, thiserror::Error)]
enum NotAsWritten {
    #[error("the gzip data is truncated or damaged ({0})")]
    Damaged(#[from] io::Error),
    #[error("{0}")]
    Other(#[from] InflateError),
    #[error("{0} bytes follow the gzip data")]
    Trailing(usize),
    #[error("the gzip data inflates to more than {MAX_INFLATED_BYTES} bytes")]
    TooLarge,
}

/// Passes on the content of an object, chunk by chunk. CloudTrail writes one member of gzip and
/// nothing behind it: what follows it is in no digest, and readers differ in what they make of it.
fn inflated(bytes: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<(), NotAsWritten> {
    match Compression::of(bytes) {
        Some(Compression::Gzip) => {}
        // Somebody else has compressed it: the content is compared.
        Some(Compression::Zstd | Compression::Bzip2) => return Ok(inflate_stream(bytes, sink)?),
        None => {
            sink(bytes);
            return Ok(());
        }
    }
    let mut decoder = GzDecoder::new(bytes);
    let (mut buffer, mut total) = (vec![0; STREAM_CHUNK_BYTES], 0_u64);
    loop {
        let read = decoder.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        total += read as u64;
        if total > MAX_INFLATED_BYTES {
            return Err(NotAsWritten::TooLarge);
        }
        sink(buffer.get(..read).unwrap_or_default());
    }
    match decoder.into_inner().len() {
        0 => Ok(()),
        trailing => Err(NotAsWritten::Trailing(trailing)),
    }
}

fn digest(text: &[u8], hash: String, signature: Option<String>) -> GatheredContent {
    match DigestFile::of_text(text) {
        Ok(file) => GatheredContent::Digest(Box::new(DigestRead {
            file,
            hash,
            signature,
        })),
        Err(error) => GatheredContent::Spoiled(error.to_string()),
    }
}

/// The tree key of an object.
fn tree_key_of(object: &InputObject) -> String {
    match &object.place {
        ObjectPlace::S3(remote) => tree_key(&remote.key).to_owned(),
        ObjectPlace::File(path) => {
            // A file has the place where it was found, also where a link leads to its bytes. Only
            // where no tree is above it, a link may have led into one.
            let typed = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            match tree_key(&walk::key(&typed)) {
                key if key.starts_with("AWSLogs/") => key.to_owned(),
                _ => tree_key(&walk::tree_path(path)).to_owned(),
            }
        }
        // The command rejects standard input.
        ObjectPlace::Stdin => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{
        digest::PublicKeys,
        rivals::settle,
        tests::{digest_key, gzip, json, keys, log_key, made, signature},
    };
    use super::*;
    use crate::input::store::NoObjectStore;

    fn object(root: &Path, key: &str, bytes: &[u8]) -> InputObject {
        let path = root.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        InputObject::at(ObjectPlace::File(path), key.to_owned(), key, false)
    }

    #[test]
    fn a_log_is_identified_by_the_hash_of_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let key = log_key("T1010Z");
        let log = object(folder.path(), &key, &gzip(b"{}"));
        let (evidence, problems) = gathered(&[log], 1, &NoObjectStore, &ProgressBar::hidden());
        assert_eq!(problems, []);
        // SHA-256 of `{}`, whatever gzip made of it.
        let hash = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(evidence.logs[&key], hash);
    }

    #[test]
    fn of_two_files_in_one_place_both_are_judged_in_any_order() {
        let (folder, key) = (tempfile::tempdir().unwrap(), log_key("T1010Z"));
        let at = |tree: &str, bytes: &[u8]| {
            let name = format!("{tree}/{key}");
            object(folder.path(), &name, &gzip(bytes))
        };
        let gathered = |objects: &[InputObject]| {
            let (evidence, _) = gathered(objects, 1, &NoObjectStore, &ProgressBar::hidden());
            (evidence.logs[&key].clone(), evidence.copies)
        };
        let found = gathered(&[at("a", b"{}"), at("b", b"[]")]);
        assert_eq!(found, gathered(&[at("b", b"[]"), at("a", b"{}")]));
        assert_eq!(found.1.len(), 1);
        assert_ne!(found.0, found.1[0].hash);
        assert_eq!(gathered(&[at("a", b"{}"), at("b", b"{}")]).1, []);
    }

    #[test]
    fn a_log_with_anything_behind_its_member_is_none_that_cloudtrail_wrote() {
        let whole = gzip(b"{}");
        let size = whole[whole.len() - 4..].to_vec();
        for behind in [size, b"x".to_vec(), whole.clone()] {
            let bytes = [whole.clone(), behind].concat();
            let mut text = Vec::new();
            let read = inflated(&bytes, &mut |piece| text.extend_from_slice(piece));
            assert!(matches!(read, Err(NotAsWritten::Trailing(_))), "{read:?}");
            assert_eq!(text, b"{}");
        }
        assert!(inflated(&whole, &mut |_| ()).is_ok());
    }

    #[test]
    fn of_two_digests_with_one_key_the_signed_one_is_it_whatever_their_names() {
        let text = |read: &DigestRead| json(read).to_string();
        let hashed = |mut read: DigestRead| {
            read.hash = hex(&Sha256::digest(text(&read)));
            read.signature = Some(signature(&read.file.signed_text(&read.hash)));
            read
        };
        let first = hashed(made(1, None, &[(&log_key("T0010Z"), "00")]));
        let second = hashed(made(2, Some(&first), &[]));
        // Both hours are planted anew; the second one names the first one.
        let planted_first = hashed(made(1, None, &[]));
        let mut planted_second = made(2, Some(&planted_first), &[]);
        planted_second.file.previous_digest_signature = Some("00".to_owned());
        let planted_second = hashed(planted_second);
        for (good, bad) in [("aa", "zz"), ("zz", "aa")] {
            let folder = tempfile::tempdir().unwrap();
            let at = |tree: &str, read: &DigestRead| {
                let name = format!("{tree}/{}", read.file.digest_s3_object);
                object(folder.path(), &name, &gzip(text(read).as_bytes()))
            };
            let objects = [
                at(bad, &planted_first),
                at(bad, &planted_second),
                at(good, &first),
                at(good, &second),
            ];
            let (mut evidence, _) = gathered(&objects, 1, &NoObjectStore, &ProgressBar::hidden());
            settle(&mut evidence, &keys());
            assert_eq!(evidence.digests[&digest_key(1)].hash, first.hash, "{good}");
        }
    }

    #[test]
    fn a_log_that_was_compressed_by_others_is_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let key = log_key("T1010Z");
        let zstd = zstd::encode_all(&b"{}"[..], 1).unwrap();
        let name = format!("{}.zst", key.trim_end_matches(".gz"));
        let log = object(folder.path(), &name, &zstd);
        let (evidence, _) = gathered(&[log], 1, &NoObjectStore, &ProgressBar::hidden());
        assert_eq!(evidence.logs[&key], hex(&Sha256::digest(b"{}")));
    }

    #[test]
    fn a_log_that_was_gunzipped_is_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let key = log_key("T1010Z");
        let log = object(folder.path(), key.trim_end_matches(".gz"), b"{}");
        let (evidence, _) = gathered(&[log], 1, &NoObjectStore, &ProgressBar::hidden());
        assert_eq!(evidence.logs.keys().collect::<Vec<_>>(), [&key]);
    }

    #[test]
    fn a_later_digest_decides_between_two_with_one_key_in_any_folder() {
        let text = |read: &DigestRead| json(read).to_string();
        let mut first = made(1, None, &[(&log_key("T0010Z"), "00")]);
        first.hash = hex(&Sha256::digest(text(&first)));
        let planted = made(1, None, &[]);
        let second = made(2, Some(&first), &[]);
        for (good, bad) in [("aa", "zz"), ("zz", "aa")] {
            let folder = tempfile::tempdir().unwrap();
            let at = |tree: &str, read: &DigestRead| {
                let name = format!("{tree}/{}", read.file.digest_s3_object);
                object(folder.path(), &name, &gzip(text(read).as_bytes()))
            };
            let objects = [at(bad, &planted), at(good, &first), at(good, &second)];
            let (mut evidence, _) = gathered(&objects, 1, &NoObjectStore, &ProgressBar::hidden());
            settle(&mut evidence, &PublicKeys::default());
            assert_eq!(evidence.digests[&digest_key(1)].hash, first.hash, "{good}");
            let spoiled = evidence.spoiled.keys().collect::<Vec<_>>();
            assert_eq!(spoiled, [&format!("{bad}/{}", digest_key(1))]);
        }
    }

    #[test]
    fn a_digest_that_was_gunzipped_and_one_behind_a_link_are_in_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let text = json(&made(1, None, &[])).to_string();
        let plain = digest_key(1).trim_end_matches(".gz").to_owned();
        let mut objects = vec![object(folder.path(), &plain, text.as_bytes())];
        #[cfg(unix)]
        {
            let linked = object(folder.path(), "store/object", &gzip(b"{}"));
            let ObjectPlace::File(target) = &linked.place else {
                unreachable!("it is a file")
            };
            let key = log_key("T1010Z");
            let link = object(folder.path(), &key, b"");
            std::fs::remove_file(folder.path().join(&key)).unwrap();
            std::os::unix::fs::symlink(target, folder.path().join(&key)).unwrap();
            objects.push(link);
        }
        let (evidence, _) = gathered(&objects, 1, &NoObjectStore, &ProgressBar::hidden());
        assert!(evidence.digests.contains_key(&digest_key(1)));
        #[cfg(unix)]
        assert!(evidence.logs.contains_key(&log_key("T1010Z")));
    }

    #[test]
    fn a_damaged_log_has_a_hash_that_no_digest_lists() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = gzip(b"{}");
        bytes.truncate(bytes.len() - 4);
        let key = log_key("T1010Z");
        let log = object(folder.path(), &key, &bytes);
        let (evidence, _) = gathered(&[log], 1, &NoObjectStore, &ProgressBar::hidden());
        assert_eq!(evidence.logs[&key], hex(&Sha256::digest(&bytes)));
    }

    #[test]
    fn what_is_no_digest_where_one_should_be_is_spoiled_and_what_is_gone_is_unread() {
        let folder = tempfile::tempdir().unwrap();
        let good = json(&made(1, None, &[])).to_string();
        let objects = [
            object(folder.path(), &digest_key(1), &gzip(good.as_bytes())),
            object(folder.path(), &digest_key(2), &gzip(b"{}")),
            object(folder.path(), &digest_key(3), b"\x1f\x8bnone"),
            object(folder.path(), &digest_key(4), b""),
        ];
        std::fs::remove_file(folder.path().join(digest_key(4))).unwrap();
        let (evidence, problems) = gathered(&objects, 2, &NoObjectStore, &ProgressBar::hidden());
        let read = evidence.digests.keys().collect::<Vec<_>>();
        assert_eq!(read, [&digest_key(1)]);
        let spoiled = evidence.spoiled.keys().collect::<Vec<_>>();
        assert_eq!(spoiled, [&digest_key(2), &digest_key(3)]);
        assert!(evidence.unread.contains(&digest_key(4)));
        assert_eq!(problems.len(), 1);
    }
}
