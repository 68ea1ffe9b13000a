//! Reads digests and logs once; of logs only the hash is kept.

use indicatif::ProgressBar;
use secretrail_engine::inflate::{self, InflateScratch};
use secretrail_engine::object::{self, ObjectKind};
use secretrail_engine::parallel;
use sha2::{Digest, Sha256};

use crate::commands::verify::chain::{ChainFiles, DigestRead, tree_key};
use crate::commands::verify::digest::DigestFile;
use crate::input::object::{InputObject, InputProblem, ObjectPlace};
use crate::input::store::{FetchedBytes, ObjectStore};
use crate::input::walk;

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
            content(object, fetched)
        })
    });
    let (mut evidence, mut problems) = (ChainFiles::default(), Vec::new());
    for (object, result) in objects.iter().zip(read) {
        let key = tree_key_of(object);
        match result {
            Ok(content) => add(content, key, &mut evidence),
            Err(error) => {
                problems.push(InputProblem::new(&*object.name, error));
                evidence.unread.insert(key);
            }
        }
    }
    (evidence, problems)
}

fn add(content: GatheredContent, key: String, evidence: &mut ChainFiles) {
    match content {
        GatheredContent::Digest(read) => {
            evidence.digests.insert(key, *read);
        }
        GatheredContent::Log(hash) => {
            evidence.logs.insert(key, hash);
        }
        GatheredContent::Spoiled(why) => {
            evidence.spoiled.insert(key, why);
        }
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

fn content(object: &InputObject, fetched: FetchedBytes) -> GatheredContent {
    let is_digest = object::parse(&tree_key_of(object)).kind == ObjectKind::Digest;
    let mut hash = Sha256::new();
    let mut text = Vec::new();
    let inflated = inflate::inflate(
        &fetched.bytes,
        &mut InflateScratch::default(),
        &mut |piece| {
            hash.update(piece);
            // Only digests are kept: a log may inflate to twenty times its size.
            if is_digest {
                text.extend_from_slice(piece);
            }
        },
    );
    let hash = hex(&hash.finalize());
    match (inflated, is_digest) {
        (Ok(()), false) => GatheredContent::Log(hash),
        // A damaged gzip gets a hash that no digest lists, and so is `altered`.
        (Err(_), false) => GatheredContent::Log(hex(&Sha256::digest(&fetched.bytes))),
        (Err(error), true) => GatheredContent::Spoiled(error.to_string()),
        (Ok(()), true) => digest(&text, hash, fetched.signature),
    }
}

fn digest(text: &[u8], hash: String, signature: Option<String>) -> GatheredContent {
    match serde_json::from_slice::<DigestFile>(text) {
        Ok(file) => GatheredContent::Digest(Box::new(DigestRead {
            file,
            hash,
            signature,
        })),
        Err(error) => GatheredContent::Spoiled(format!("it is not a digest: {error}")),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The tree key of an object.
fn tree_key_of(object: &InputObject) -> String {
    match &object.place {
        ObjectPlace::S3(remote) => tree_key(&remote.key).to_owned(),
        ObjectPlace::File(path) => tree_key(&walk::tree_path(path)).to_owned(),
        // The command rejects standard input.
        ObjectPlace::Stdin => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::{digest_key, gzip, json, log_key, made};
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
