//! What `verify` reads and what it finds: digests, hashes of logs, verdicts, and the keys of S3
//! that name them.

use std::collections::{BTreeMap, BTreeSet};

use ahash::{HashMap, HashSet};
use secretrail_engine::{
    object,
    trail_digest::{DigestFile, tree_key},
};

/// The verdict about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileVerdict {
    /// It is not what CloudTrail wrote.
    Altered,
    /// CloudTrail wrote it, and it does not exist.
    Missing,
    /// It starts a new chain of digests: logging was stopped, or earlier digests are missing.
    Restarted,
    /// It stands in the place of a digest and cannot be read as one.
    Unreadable,
    /// It differs from what a digest says that is unproven itself: one of both is not what
    /// CloudTrail wrote. Or proven digests of its time do not list it. Reported as unproven.
    Contradicted,
    /// Nothing proves that it is what CloudTrail wrote.
    Unproven,
    /// It is what CloudTrail wrote.
    Intact,
}

impl FileVerdict {
    /// The name in all output formats.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Altered => "altered",
            Self::Missing => "missing",
            Self::Restarted => "restarted",
            Self::Unreadable => "unreadable",
            Self::Contradicted | Self::Unproven => "unproven",
            Self::Intact => "intact",
        }
    }
}

/// A verdict about a digest or a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainFinding {
    /// The verdict about the file.
    pub verdict: FileVerdict,
    /// Its key in the tree, from `AWSLogs/` on.
    pub key: String,
    /// Whether it is a digest; otherwise it is a log.
    pub digest: bool,
    /// The reason, in words.
    pub why: String,
}

/// A digest that was read.
#[derive(Debug)]
pub struct DigestRead {
    /// Its content.
    pub file: DigestFile,
    /// SHA-256 of its inflated bytes, in hexadecimal digits.
    pub hash: String,
    /// Its signature, from the metadata of its object in S3; `None` for copies on disk.
    pub signature: Option<String>,
}

impl DigestRead {
    /// Whether it names this hash as that of the previous digest.
    pub(super) fn names(&self, hash: &str) -> bool {
        let named = self.file.previous_digest_hash_value.as_deref();
        named.is_some_and(|named| named.eq_ignore_ascii_case(hash))
    }

    /// Hash and signature of the previous digest, as it names them.
    pub(super) fn claim(&self) -> Option<(&str, &str)> {
        let hash = self.file.previous_digest_hash_value.as_deref()?;
        Some((hash, self.file.previous_digest_signature.as_deref()?))
    }

    /// Tree key of the previous digest; `None` at the start of a chain.
    pub(super) fn previous(&self) -> Option<&str> {
        let key = self.file.previous_digest_s3_object.as_deref();
        key.map(tree_key)
    }
}

/// A second file in the place of a log, as where a tree holds a copy of another tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogCopy {
    /// The tree key of both.
    pub key: String,
    /// Name of the file.
    pub name: String,
    /// Hash of its content, which differs from that of the first.
    pub hash: String,
}

/// All files to verify.
#[derive(Debug, Default)]
pub struct ChainFiles {
    /// Digests by their tree key.
    pub digests: BTreeMap<String, DigestRead>,
    /// Digests with other contents under one key, with the names of their files, until it is
    /// decided which of them is in `digests`.
    pub rivals: BTreeMap<String, Vec<(String, DigestRead)>>,
    /// Hashes of logs by their tree key.
    pub logs: HashMap<String, String>,
    /// Other files in the place of a log, with other contents: each is judged.
    pub copies: Vec<LogCopy>,
    /// Objects in place of digests that are not digests, with the error, by tree key.
    pub spoiled: BTreeMap<String, String>,
    /// Tree keys of files that exist and could not be read; reported as problems of the input.
    pub unread: HashSet<String>,
}

impl ChainFiles {
    /// All digests by their keys, those that are not decided between included.
    pub(super) fn all_digests(&self) -> impl Iterator<Item = (&String, &DigestRead)> {
        let rivals = self.rivals.iter();
        let rivals = rivals.flat_map(|(key, all)| all.iter().map(move |(_, read)| (key, read)));
        self.digests.iter().chain(rivals)
    }
}

/// Accounts and regions that have logs and no digest.
pub(super) fn without_digests(evidence: &ChainFiles) -> BTreeSet<(String, String)> {
    let digests = evidence.digests.keys().chain(evidence.spoiled.keys());
    let known: HashSet<_> = digests.filter_map(|key| place(key)).collect();
    let places = evidence.logs.keys().filter_map(|key| place(key));
    places.filter(|place| !known.contains(place)).collect()
}

/// How the key of a digest ends that CloudTrail has written days after its hours.
pub(super) const BACKFILL: &str = "_backfill.json.gz";

/// Account and region of a key; `None` outside of an `AWSLogs` tree.
pub(super) fn place(key: &str) -> Option<(String, String)> {
    let parsed = object::parse(key);
    Some((parsed.account?.to_owned(), parsed.region?.to_owned()))
}

/// The chain of a digest: the parts of its key that all digests of one trail in one region share.
pub(super) fn chain_of(key: &str) -> Option<(&str, &str, &str)> {
    let (folder, file) = key.rsplit_once('/')?;
    // Digests that were written later have a chain of their own.
    let (file, tail) = match file.strip_suffix(BACKFILL) {
        Some(file) => (file, BACKFILL),
        None => (file, ""),
    };
    let (name, _) = file.rsplit_once('_')?;
    // The folder without its day.
    let tree = folder
        .match_indices('/')
        .rev()
        .nth(2)
        .and_then(|(at, _)| folder.get(..at))
        .unwrap_or(folder);
    Some((tree, name, tail))
}

#[cfg(test)]
mod tests {
    use super::super::tests::digest_key;
    use super::*;

    #[test]
    fn the_digests_of_all_days_are_one_chain() {
        let days = [digest_key(1), digest_key(2).replace("03/02", "04/11")];
        assert_eq!(chain_of(&days[0]), chain_of(&days[1]));
    }
}
