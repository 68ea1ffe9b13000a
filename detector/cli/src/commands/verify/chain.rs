//! Digests and logs to verdicts. Whatever a proven digest says is proven: the hash of the digest
//! before it, and the hashes of its logs.

use std::collections::{BTreeMap, BTreeSet};

use ahash::{HashMap, HashSet};
use secretrail_engine::object;
use secretrail_engine::selection::Selection;
use secretrail_engine::time::EventTime;

use crate::commands::verify::digest::{DigestFile, DigestLogFile, PublicKeys};
use crate::input::walk;

/// What can be said of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileVerdict {
    /// It is not what CloudTrail wrote.
    Altered,
    /// CloudTrail wrote it, and it is not there.
    Missing,
    /// A chain of digests starts anew: logging was stopped, or whatever was before is gone.
    Restarted,
    /// Nothing here shows that it is what CloudTrail wrote.
    Unproven,
    /// It is what CloudTrail wrote.
    Intact,
}

impl FileVerdict {
    /// The name in every form of output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Altered => "altered",
            Self::Missing => "missing",
            Self::Restarted => "restarted",
            Self::Unproven => "unproven",
            Self::Intact => "intact",
        }
    }
}

/// A verdict about a digest or a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainFinding {
    /// The verdict.
    pub verdict: FileVerdict,
    /// Its key, from `AWSLogs/` or what stands before it on.
    pub key: String,
    /// Whether it is a digest.
    pub digest: bool,
    /// Why.
    pub why: String,
}

/// A digest that is there.
#[derive(Debug)]
pub struct DigestRead {
    /// What it says.
    pub file: DigestFile,
    /// SHA-256 of its inflated bytes, in hexadecimal digits.
    pub hash: String,
    /// Its signature, where the metadata of its object is at hand.
    pub signature: Option<String>,
}

impl DigestRead {
    /// The digest before it, by its key in any copy of the tree; `None` at the start of a chain.
    fn previous(&self) -> Option<&str> {
        let key = self.file.previous_digest_s3_object.as_deref();
        key.map(tree_key)
    }
}

/// Everything that is there.
#[derive(Debug, Default)]
pub struct ChainFiles {
    /// Digests by their tree key.
    pub digests: BTreeMap<String, DigestRead>,
    /// Hashes of logs by their tree key.
    pub logs: HashMap<String, String>,
    /// What stands where digests stand and is none, with why, by its tree key.
    pub spoiled: BTreeMap<String, String>,
    /// What is there and could not be read, by its tree key; it is told elsewhere.
    pub unread: HashSet<String>,
}

/// What a key is in any copy of the tree: what stands before `AWSLogs/` is left out.
#[must_use]
pub fn tree_key(key: &str) -> &str {
    let at = if key.starts_with("AWSLogs/") {
        Some(0)
    } else {
        key.rfind("/AWSLogs/").map(|at| at + 1)
    };
    at.and_then(|at| key.get(at..)).unwrap_or(key)
}

/// Judges everything in the selection, in the order of verdicts and keys.
#[must_use]
pub fn judge(evidence: &ChainFiles, keys: &PublicKeys, selection: &Selection) -> Vec<ChainFinding> {
    let mut judge = ChainJudge {
        evidence,
        keys,
        selection,
        findings: Vec::new(),
        followers: followers(evidence),
        proofs: HashMap::default(),
        listed: HashSet::default(),
    };
    judge.chains();
    for (key, why) in &evidence.spoiled {
        judge.find(FileVerdict::Altered, key, true, why.clone());
    }
    judge.unlisted();
    judge.findings.sort();
    judge.findings
}

/// The digest after each digest, by the key of the one before. A digest does not know who comes
/// after it.
fn followers(evidence: &ChainFiles) -> HashMap<&str, &DigestRead> {
    let digests = evidence.digests.values();
    digests
        .filter_map(|read| Some((read.previous()?, read)))
        .collect()
}

/// The digests in the order in which they are judged: whoever follows a digest comes before it,
/// since a proven digest proves those before it, and never the other way round.
fn newest_first(evidence: &ChainFiles) -> Vec<(&String, &DigestRead)> {
    let mut order: Vec<(&String, &DigestRead)> = evidence.digests.iter().collect();
    order.sort_by(|(a_key, a), (b_key, b)| (b.file.end(), b_key).cmp(&(a.file.end(), a_key)));
    order
}

struct ChainJudge<'e> {
    evidence: &'e ChainFiles,
    keys: &'e PublicKeys,
    selection: &'e Selection,
    findings: Vec<ChainFinding>,
    /// The digest after each digest.
    followers: HashMap<&'e str, &'e DigestRead>,
    /// What is known of digests that were judged, by what they say that they are.
    proofs: HashMap<&'e str, DigestProof>,
    /// Logs that digests list.
    listed: HashSet<&'e str>,
}

/// What is known of a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
enum DigestProof {
    Proven,
    Broken(String),
    Unproven(String),
}

impl<'e> ChainJudge<'e> {
    fn find(&mut self, verdict: FileVerdict, key: &str, digest: bool, why: impl Into<String>) {
        self.findings.push(ChainFinding {
            verdict,
            key: key.to_owned(),
            digest,
            why: why.into(),
        });
    }

    /// From the newest digest of each chain back to its start.
    fn chains(&mut self) {
        // By their own keys: several digests may name the same one as the one before.
        let mut missing: BTreeMap<&str, &str> = BTreeMap::new();
        for (key, read) in newest_first(self.evidence) {
            let proof = self.proof(key, read);
            self.found(key, &proof);
            self.logs(read, &proof);
            match read.previous() {
                Some(previous) if !self.evidence.digests.contains_key(previous) => {
                    missing.insert(previous, key);
                }
                Some(_) => {}
                None => self.started(key, read),
            }
            self.proofs.insert(key, proof);
        }
        for (key, follower) in missing {
            self.missing(key, follower);
        }
    }

    fn found(&mut self, key: &str, proof: &DigestProof) {
        match proof {
            DigestProof::Proven => {
                self.find(FileVerdict::Intact, key, true, "signed, and in the chain")
            }
            DigestProof::Broken(why) => self.find(FileVerdict::Altered, key, true, why.clone()),
            DigestProof::Unproven(why) => self.find(FileVerdict::Unproven, key, true, why.clone()),
        }
    }

    /// A digest that another one names as the one before it.
    fn missing(&mut self, key: &str, follower: &str) {
        let is_there =
            self.evidence.unread.contains(key) || self.evidence.spoiled.contains_key(key);
        if !is_there && !self.is_outside(key) {
            let why = format!("{follower} follows it, and it is not there");
            self.find(FileVerdict::Missing, key, true, why);
        }
    }

    /// Whether nobody looked for an object.
    fn is_outside(&self, key: &str) -> bool {
        !walk::may_hold(&object::parse(key), self.selection)
    }

    /// A digest without one before it starts a chain. That is news where the same trail has an
    /// older one.
    fn started(&mut self, key: &str, read: &DigestRead) {
        let chain = chain_of(key);
        let older = self
            .evidence
            .digests
            .iter()
            .filter(|(other, _)| other.as_str() < key && chain_of(other) == chain);
        let last = older
            .filter_map(|(_, other)| other.file.end())
            .filter(|end| Some(*end) <= read.file.start())
            .max();
        if let Some(last) = last {
            let start = &read.file.digest_start_time;
            let why = format!(
                "the chain starts anew at {start}; the one before it ends at {last}: logging was \
                 stopped, or digests are gone"
            );
            self.find(FileVerdict::Restarted, key, true, why);
        }
    }

    /// Whether a digest is what CloudTrail wrote: by what a proven one after it says, or by its own
    /// signature.
    fn proof(&self, key: &str, read: &DigestRead) -> DigestProof {
        // A digest that was copied over another one is signed all the same.
        if tree_key(&read.file.digest_s3_object) != key {
            return DigestProof::Broken(format!(
                "it says that it is {}",
                read.file.digest_s3_object
            ));
        }
        let follower = self.followers.get(key).copied();
        let fits = follower
            .and_then(|follower| follower.file.previous_digest_hash_value.as_deref())
            .map(|expected| expected.eq_ignore_ascii_case(&read.hash));
        let follower_is_proven = follower
            .and_then(|follower| self.proofs.get(tree_key(&follower.file.digest_s3_object)))
            .is_some_and(|proof| *proof == DigestProof::Proven);
        match (fits, follower_is_proven) {
            // Hash and signature of what is before stand in a digest that is proven.
            (Some(true), true) => DigestProof::Proven,
            (Some(false), true) => {
                DigestProof::Broken("it has another hash than the digest after it says".to_owned())
            }
            (fits, _) => self.proof_by_signature(read, follower, fits == Some(false)),
        }
    }

    /// By the signature in the metadata of its object, or in the digest after it.
    fn proof_by_signature(
        &self,
        read: &DigestRead,
        follower: Option<&DigestRead>,
        is_contradicted: bool,
    ) -> DigestProof {
        let DigestRead {
            file,
            hash,
            signature,
        } = read;
        let signature = signature
            .as_deref()
            .or_else(|| follower.and_then(|f| f.file.previous_digest_signature.as_deref()));
        let Some(signature) = signature else {
            return DigestProof::Unproven(
                "no signature is at hand: it stands in the digest after it, and in the metadata \
                 of its object in S3"
                    .to_owned(),
            );
        };
        let algorithm = &file.digest_signature_algorithm;
        if !algorithm.eq_ignore_ascii_case("SHA256withRSA") {
            return DigestProof::Unproven(format!("signed with {algorithm}, which is not known"));
        }
        let fingerprint = &file.digest_public_key_fingerprint;
        let text = file.signed_text(hash);
        match self.keys.signed(fingerprint, &text, signature) {
            Some(true) => DigestProof::Proven,
            Some(false) => DigestProof::Broken(
                "its signature is not that of its key over these bytes".to_owned(),
            ),
            None if is_contradicted => DigestProof::Unproven(
                "it has another hash than the digest after it says, which is not proven either"
                    .to_owned(),
            ),
            None => DigestProof::Unproven(format!("the public key {fingerprint} is not at hand")),
        }
    }

    /// The logs that a digest lists.
    fn logs(&mut self, read: &'e DigestRead, proof: &DigestProof) {
        let digest = tree_key(&read.file.digest_s3_object);
        for log in &read.file.log_files {
            let key = tree_key(&log.s3_object);
            self.listed.insert(key);
            if self.evidence.unread.contains(key) || self.is_outside(key) {
                continue;
            }
            let hash = self.evidence.logs.get(key).map(String::as_str);
            let (verdict, why) = log_verdict(log, hash, digest, proof);
            self.find(verdict, key, false, why);
        }
    }

    /// Logs that no digest lists.
    fn unlisted(&mut self) {
        let newest = newest_ends(self.evidence);
        let holes: HashSet<_> = self
            .findings
            .iter()
            .filter(|f| {
                f.digest && matches!(f.verdict, FileVerdict::Altered | FileVerdict::Missing)
            })
            .filter_map(|f| place(&f.key))
            .collect();
        // Of all logs: the selection has decided already which of them were read.
        let unlisted: BTreeSet<&String> = self
            .evidence
            .logs
            .keys()
            .filter(|key| !self.listed.contains(key.as_str()))
            .collect();
        for key in unlisted {
            let place = place(key);
            let end = place.as_ref().and_then(|place| newest.get(place).copied());
            let has_hole = place.is_some_and(|place| holes.contains(&place));
            let why = why_unlisted(key, end, has_hole);
            self.find(FileVerdict::Unproven, key, false, why);
        }
    }
}

/// What a digest says of a log with this hash; without one, the log is not there.
fn log_verdict(
    log: &DigestLogFile,
    hash: Option<&str>,
    digest: &str,
    proof: &DigestProof,
) -> (FileVerdict, String) {
    match (hash, proof) {
        // Whoever altered the digest may have listed whatever they liked.
        (None, DigestProof::Broken(_)) => (
            FileVerdict::Unproven,
            format!("not there; {digest}, which was altered, lists it"),
        ),
        (None, _) => (
            FileVerdict::Missing,
            format!("{digest} lists it, and it is not there"),
        ),
        (Some(_), DigestProof::Broken(_)) => (
            FileVerdict::Unproven,
            format!("{digest}, which lists it, was altered"),
        ),
        (Some(hash), _) if !hash.eq_ignore_ascii_case(&log.hash_value) => (
            FileVerdict::Altered,
            format!("it has another hash than {digest} says"),
        ),
        (Some(_), DigestProof::Proven) => (FileVerdict::Intact, "as its digest says".to_owned()),
        (Some(_), DigestProof::Unproven(_)) => (
            FileVerdict::Unproven,
            format!("as {digest} says, which is not proven itself"),
        ),
    }
}

/// When the newest digest of each account and region ends.
fn newest_ends(evidence: &ChainFiles) -> BTreeMap<(String, String), EventTime> {
    let mut newest: BTreeMap<(String, String), EventTime> = BTreeMap::new();
    for (key, read) in &evidence.digests {
        if let (Some(place), Some(end)) = (place(key), read.file.end()) {
            let known = newest.entry(place).or_insert(end);
            *known = (*known).max(end);
        }
    }
    newest
}

/// Why no digest lists a log. `end` is that of the newest digest of its account and region;
/// `has_hole` says that one of those was altered or is missing.
fn why_unlisted(key: &str, end: Option<EventTime>, has_hole: bool) -> String {
    let Some(end) = end else {
        return "there are no digests of its account and region; is log file validation on?"
            .to_owned();
    };
    // The digest of its hour may not have been delivered yet.
    if object::parse(key).delivered.is_some_and(|at| at >= end) {
        return format!("newer than the newest digest, which ends at {end}");
    }
    if has_hole {
        "no digest lists it; one that was altered or is missing may have".to_owned()
    } else {
        "no digest lists it: CloudTrail may not have written it".to_owned()
    }
}

/// Account and region.
pub(super) fn place(key: &str) -> Option<(String, String)> {
    let parsed = object::parse(key);
    Some((parsed.account?.to_owned(), parsed.region?.to_owned()))
}

/// What the digests of one trail in one region have in common: their names up to the time.
fn chain_of(key: &str) -> Option<(&str, &str)> {
    let (folder, file) = key.rsplit_once('/')?;
    let (name, _) = file.rsplit_once('_')?;
    // The folder without its day.
    let tree = folder
        .match_indices('/')
        .rev()
        .nth(2)
        .and_then(|(at, _)| folder.get(..at))
        .unwrap_or(folder);
    Some((tree, name))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{digest_key, keys, log_key, made};
    use super::*;

    const HASH: &str = "aa";

    /// Three hours of a trail, each with a log.
    fn trail() -> ChainFiles {
        let mut evidence = ChainFiles::default();
        let mut digests: Vec<DigestRead> = Vec::new();
        for hour in 1..=3 {
            let log = log_at(hour);
            digests.push(made(hour, digests.last(), &[(&log, HASH)]));
            evidence.logs.insert(log, HASH.to_owned());
        }
        let keyed = (1..=3).map(digest_key).zip(digests);
        evidence.digests = keyed.collect();
        evidence
    }

    fn log_at(hour: u32) -> String {
        log_key(&format!("T{:02}30Z", hour - 1))
    }

    /// What is told of the digests and logs of these hours, but for what is intact.
    fn reported(evidence: &ChainFiles) -> Vec<(FileVerdict, bool, String)> {
        told_with(evidence, &keys())
    }

    fn told_with(evidence: &ChainFiles, keys: &PublicKeys) -> Vec<(FileVerdict, bool, String)> {
        let findings = judge(evidence, keys, &Selection::default());
        let reported = findings
            .into_iter()
            .filter(|f| f.verdict != FileVerdict::Intact);
        reported.map(|f| (f.verdict, f.digest, f.key)).collect()
    }

    fn digest(verdict: FileVerdict, hour: u32) -> (FileVerdict, bool, String) {
        (verdict, true, digest_key(hour))
    }

    fn log(verdict: FileVerdict, hour: u32) -> (FileVerdict, bool, String) {
        (verdict, false, log_at(hour))
    }

    #[test]
    fn a_chain_is_proven_from_its_newest_digest_back() {
        let mut evidence = trail();
        assert_eq!(reported(&evidence), []);
        // Older digests need no signature of their own once the newest is proven.
        for hour in [1, 2] {
            evidence
                .digests
                .get_mut(&digest_key(hour))
                .unwrap()
                .signature = None;
        }
        assert_eq!(reported(&evidence), []);
        // Without it, the signature of each stands in the one after it, but not that of the newest.
        evidence.digests.get_mut(&digest_key(3)).unwrap().signature = None;
        let newest = [
            digest(FileVerdict::Unproven, 3),
            log(FileVerdict::Unproven, 3),
        ];
        assert_eq!(reported(&evidence), newest);
        let all = told_with(&evidence, &PublicKeys::default());
        assert_eq!(all.len(), 6);
        assert!(
            all.iter()
                .all(|reported| reported.0 == FileVerdict::Unproven)
        );
    }

    #[test]
    fn an_altered_log_and_an_altered_digest_are_told_apart() {
        let mut evidence = trail();
        evidence.logs.insert(log_at(2), "bb".to_owned());
        assert_eq!(reported(&evidence), [log(FileVerdict::Altered, 2)]);
        // Together with the log, the digest that lists it was changed.
        let changed = evidence.digests.get_mut(&digest_key(2)).unwrap();
        changed.hash = "other".to_owned();
        changed.file.log_files[0].hash_value = "bb".to_owned();
        let expected = [
            digest(FileVerdict::Altered, 2),
            log(FileVerdict::Unproven, 2),
        ];
        assert_eq!(reported(&evidence), expected);
    }

    #[test]
    fn a_digest_in_the_place_of_another_is_altered_however_well_it_is_signed() {
        let mut evidence = trail();
        let copy = made(3, None, &[]);
        evidence.digests.insert(digest_key(4), copy);
        let reported = reported(&evidence);
        assert!(
            reported.contains(&digest(FileVerdict::Altered, 4)),
            "{reported:?}"
        );
    }

    #[test]
    fn what_is_listed_and_not_there_is_missing_unless_it_only_could_not_be_read() {
        let mut evidence = trail();
        evidence.logs.remove(&log_at(1));
        assert_eq!(reported(&evidence), [log(FileVerdict::Missing, 1)]);
        evidence.unread.insert(log_at(1));
        assert_eq!(reported(&evidence), []);
        evidence.digests.remove(&digest_key(2));
        let expected = [
            digest(FileVerdict::Missing, 2),
            // Signed itself, so that it is proven without the one after it; nobody lists this log.
            log(FileVerdict::Unproven, 2),
        ];
        assert_eq!(reported(&evidence), expected);
        evidence.unread.insert(digest_key(2));
        assert_eq!(reported(&evidence), [log(FileVerdict::Unproven, 2)]);
    }

    #[test]
    fn a_chain_that_starts_anew_is_news_only_after_an_older_one() {
        let mut evidence = trail();
        evidence.digests.insert(digest_key(6), made(6, None, &[]));
        assert_eq!(reported(&evidence), [digest(FileVerdict::Restarted, 6)]);
    }

    #[test]
    fn why_no_digest_lists_a_log_depends_on_the_digests_around_it() {
        let end = EventTime::parse("2026-03-02T03:00:00Z");
        let (during, after) = (log_key("T0215Z"), log_key("T0305Z"));
        assert!(why_unlisted(&during, None, true).contains("is log file validation on?"));
        assert!(why_unlisted(&after, end, true).starts_with("newer than the newest digest"));
        assert!(why_unlisted(&during, end, true).ends_with("may have"));
        assert!(why_unlisted(&during, end, false).ends_with("may not have written it"));
    }

    #[test]
    fn what_stands_before_the_tree_is_no_part_of_a_key() {
        let key = "AWSLogs/1/CloudTrail/x.json.gz";
        for copy in [key.to_owned(), format!("a/AWSLogs/b/{key}")] {
            assert_eq!(tree_key(&copy), key);
        }
        assert_eq!(tree_key("MyAWSLogs/x"), "MyAWSLogs/x");
        let days = [digest_key(1), digest_key(2).replace("03/02", "04/11")];
        assert_eq!(chain_of(&days[0]), chain_of(&days[1]));
    }
}
