//! Digests and logs to verdicts. A proven digest proves the hash of the previous digest and the
//! hashes of its logs.

use std::collections::{BTreeMap, BTreeSet};

use ahash::{HashMap, HashSet};
use secretrail_engine::{
    object::{self, ObjectKind},
    selection::Selection,
    trail_digest::{DigestFile, DigestLogFile, tree_key},
};

use crate::{
    commands::verify::{
        digest::PublicKeys,
        files::{ChainFiles, ChainFinding, DigestRead, FileVerdict, LogCopy, chain_of, place},
        unlisted::{DigestHours, Unlisted},
    },
    input::walk,
};

/// Judges all files in the selection; findings are sorted by verdict and key.
#[must_use]
pub fn judge(evidence: &ChainFiles, keys: &PublicKeys, selection: &Selection) -> Vec<ChainFinding> {
    let mut judge = ChainJudge {
        evidence,
        keys,
        selection,
        findings: Vec::new(),
        followers: followers(evidence),
        proofs: HashMap::default(),
        listings: BTreeMap::new(),
    };
    judge.chains();
    judge.logs();
    for (key, why) in &evidence.spoiled {
        judge.find(FileVerdict::Unreadable, key, true, why.clone());
    }
    // Last: which logs are unlisted, and which digests are altered, is known only after all chains.
    judge.unlisted();
    judge.findings.sort();
    judge.findings
}

/// The digests that name each digest as the previous one, by its tree key, with their own keys.
/// There is one, unless somebody has planted others.
fn followers(evidence: &ChainFiles) -> HashMap<&str, Vec<(&str, &DigestRead)>> {
    let mut followers: HashMap<&str, Vec<(&str, &DigestRead)>> = HashMap::default();
    for (key, read) in &evidence.digests {
        if let Some(previous) = read.previous() {
            followers.entry(previous).or_default().push((key, read));
        }
    }
    followers
}

/// The digests, newest first: a proven digest proves the previous one, never the next one.
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
    /// What names each digest as the previous one.
    followers: HashMap<&'e str, Vec<(&'e str, &'e DigestRead)>>,
    /// Proofs of the digests judged so far, by tree key.
    proofs: HashMap<&'e str, DigestProof>,
    /// For each log, what lists it.
    listings: BTreeMap<&'e str, Vec<LogListing<'e>>>,
}

/// A log in a digest.
struct LogListing<'e> {
    log: &'e DigestLogFile,
    digest: &'e str,
    proof: DigestProof,
}

/// The proof of a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
enum DigestProof {
    Proven,
    Broken(String),
    Unproven(String),
}

impl DigestProof {
    /// The lower, the more certain is what the digest says.
    fn rank(&self) -> u8 {
        match self {
            Self::Proven => 0,
            Self::Unproven(_) => 1,
            Self::Broken(_) => 2,
        }
    }
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

    /// Judges each chain from its newest digest back to its start.
    fn chains(&mut self) {
        // A map: several digests may name the same previous digest.
        let mut missing: BTreeMap<&str, &str> = BTreeMap::new();
        for (key, read) in newest_first(self.evidence) {
            let proof = self.proof(key, read);
            self.found(key, &proof);
            self.list(key, read, &proof);
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
            DigestProof::Proven => self.find(
                FileVerdict::Intact,
                key,
                true,
                "signed, and part of the chain",
            ),
            DigestProof::Broken(why) => self.find(FileVerdict::Altered, key, true, why.clone()),
            DigestProof::Unproven(why) => self.find(FileVerdict::Unproven, key, true, why.clone()),
        }
    }

    /// A previous digest that does not exist.
    fn missing(&mut self, key: &str, follower: &str) {
        let is_there =
            self.evidence.unread.contains(key) || self.evidence.spoiled.contains_key(key);
        if !is_there && !self.is_outside(key) {
            // Anybody can plant a digest: only one that is proven tells that another is missing.
            if self.proofs.get(follower) == Some(&DigestProof::Proven) {
                let why = format!("not found, although {follower} names it as the previous digest");
                return self.find(FileVerdict::Missing, key, true, why);
            }
            let why = format!(
                "not found; {follower}, which is unproven, names it as the previous digest"
            );
            self.find(FileVerdict::Contradicted, key, true, why);
        }
    }

    /// Whether an object is outside of the selection, so that it was not searched for.
    fn is_outside(&self, key: &str) -> bool {
        !walk::may_hold(&object::parse(key), self.selection)
    }

    /// A digest without a previous one starts a chain. This is a finding if the trail has an older
    /// chain.
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
                "a new chain starts at {start}; the previous one ends at {last}: logging was \
                 stopped, or digests are missing"
            );
            self.find(FileVerdict::Restarted, key, true, why);
        }
    }

    /// Whether a digest is what CloudTrail wrote, proven by the next digest or by its own
    /// signature.
    fn proof(&self, key: &str, read: &DigestRead) -> DigestProof {
        // A digest copied over another one has a valid signature.
        if tree_key(&read.file.digest_s3_object) != key {
            return DigestProof::Broken(format!(
                "its digestS3Object is another key: {}",
                read.file.digest_s3_object
            ));
        }
        // Newest first, so that what follows it has been judged. What a proven digest says about it
        // is certain, whatever others say that name it too.
        let followers = self.followers.get(key).map(Vec::as_slice);
        let followers = followers.unwrap_or_default();
        // By the key under which a follower was found: what it says of itself may be borrowed.
        let mut proven = followers
            .iter()
            .filter(|(key, _)| self.proofs.get(key) == Some(&DigestProof::Proven));
        match proven
            .next()
            .map(|(_, follower)| follower.names(&read.hash))
        {
            Some(true) => DigestProof::Proven,
            Some(false) => {
                DigestProof::Broken("its hash differs from that in the next digest".to_owned())
            }
            None => self.proof_by_signature(read, followers),
        }
    }

    /// Proof by the signature in the metadata of its object, or by one that another digest has of
    /// it.
    fn proof_by_signature(
        &self,
        read: &DigestRead,
        followers: &[(&str, &DigestRead)],
    ) -> DigestProof {
        let file = &read.file;
        let algorithm = &file.digest_signature_algorithm;
        if !algorithm.eq_ignore_ascii_case("SHA256withRSA") {
            return DigestProof::Unproven(format!(
                "signed with {algorithm}, which is not supported"
            ));
        }
        // A digest that is not proven itself may say anything, but nobody can sign in the name of
        // CloudTrail: the hash that such a signature is of is the one that CloudTrail wrote.
        let mut claims = followers
            .iter()
            .filter_map(|(_, follower)| follower.claim());
        let signed =
            claims.find(|(hash, signature)| self.is_signed(file, hash, signature) == Some(true));
        match signed {
            Some((hash, _)) if hash.eq_ignore_ascii_case(&read.hash) => DigestProof::Proven,
            Some(_) => DigestProof::Broken(
                "its hash differs from the one that CloudTrail signed, in the next digest"
                    .to_owned(),
            ),
            None => self.proof_by_metadata(read, !followers.is_empty()),
        }
    }

    fn proof_by_metadata(&self, read: &DigestRead, is_named: bool) -> DigestProof {
        let file = &read.file;
        let fingerprint = &file.digest_public_key_fingerprint;
        let known = match read.signature.as_deref() {
            Some(signature) => self.is_signed(file, &read.hash, signature),
            None if is_named && self.keys.has(fingerprint) => {
                return DigestProof::Unproven(
                    "the signature in the next digest, which is unproven too, does not match it"
                        .to_owned(),
                );
            }
            None if is_named => None,
            None => {
                return DigestProof::Unproven(
                    "no signature available: it is in the next digest, and in the metadata of \
                     the object in S3"
                        .to_owned(),
                );
            }
        };
        match known {
            Some(true) => DigestProof::Proven,
            Some(false) => {
                DigestProof::Broken("its signature does not match its content".to_owned())
            }
            None => DigestProof::Unproven(format!("the public key {fingerprint} is not available")),
        }
    }

    /// Whether a signature is CloudTrail's for a digest with this hash; `None` if its key is not
    /// available.
    fn is_signed(&self, file: &DigestFile, hash: &str, signature: &str) -> Option<bool> {
        let fingerprint = &file.digest_public_key_fingerprint;
        self.keys
            .signed(fingerprint, &file.signed_text(hash), signature)
    }

    /// Notes the logs that a digest lists.
    fn list(&mut self, key: &'e str, read: &'e DigestRead, proof: &DigestProof) {
        for log in &read.file.log_files {
            let listings = self.listings.entry(tree_key(&log.s3_object)).or_default();
            listings.push(LogListing {
                log,
                digest: key,
                proof: proof.clone(),
            });
        }
    }

    /// Judges the logs that digests list: by a proven one, if there is any.
    fn logs(&mut self) {
        let mut findings = Vec::new();
        let mut copies: HashMap<&str, Vec<&LogCopy>> = HashMap::default();
        for copy in &self.evidence.copies {
            copies.entry(&copy.key).or_default().push(copy);
        }
        for (key, listings) in &self.listings {
            if self.evidence.unread.contains(*key) || self.is_outside(key) {
                continue;
            }
            let hash = self.evidence.logs.get(*key).map(String::as_str);
            if let Some(listing) = listings.iter().min_by_key(|listing| listing.proof.rank()) {
                findings.push((*key, log_verdict(listing, hash)));
                for copy in copies.get(key).into_iter().flatten() {
                    findings.push((&*copy.name, log_verdict(listing, Some(&copy.hash))));
                }
            }
        }
        for (key, (verdict, why)) in findings {
            self.find(verdict, key, false, why);
        }
    }

    /// Accounts and regions of which a digest is missing, altered or not read.
    fn holes(&self) -> HashSet<(String, String)> {
        let mut holes = self.places_of_digests(&[
            FileVerdict::Altered,
            FileVerdict::Missing,
            FileVerdict::Unreadable,
        ]);
        // One that could not be read may have listed anything, too.
        let unread = self.evidence.unread.iter();
        let unread = unread.filter(|key| is_digest(key));
        holes.extend(unread.filter_map(|key| place(key)));
        holes
    }

    /// Accounts and regions that have digests with one of these verdicts.
    fn places_of_digests(&self, verdicts: &[FileVerdict]) -> HashSet<(String, String)> {
        let findings = self.findings.iter();
        let digests = findings.filter(|f| f.digest && verdicts.contains(&f.verdict));
        digests.filter_map(|f| place(&f.key)).collect()
    }

    /// Judges the logs that no digest lists.
    fn unlisted(&mut self) {
        let hours = DigestHours::of(self.evidence);
        let holes = self.holes();
        let proven = self.places_of_digests(&[FileVerdict::Intact]);
        // All logs that were read: the walk has applied the selection.
        let unlisted: BTreeSet<&String> = self
            .evidence
            .logs
            .keys()
            .filter(|key| !self.listings.contains_key(key.as_str()))
            .collect();
        for copy in &self.evidence.copies {
            if !self.listings.contains_key(&*copy.key) {
                let why = "no digest lists it, and another log is in its place";
                self.find(FileVerdict::Unproven, &copy.name, false, why);
            }
        }
        for key in unlisted {
            let place = place(key);
            let hours = place.as_ref().and_then(|place| hours.get(place));
            let is_in = |places: &HashSet<_>| place.as_ref().is_some_and(|at| places.contains(at));
            let why = Unlisted::of(key, hours, is_in(&holes));
            // Without a proven digest there, nothing says that any is what CloudTrail wrote.
            let verdict = match why {
                Unlisted::Foreign | Unlisted::MuchNewer(_) if is_in(&proven) => {
                    FileVerdict::Contradicted
                }
                _ => FileVerdict::Unproven,
            };
            self.find(verdict, key, false, why.to_string());
        }
    }
}

/// The verdict about a log by a digest that lists it; `hash` is `None` if the log does not exist.
fn log_verdict(listing: &LogListing<'_>, hash: Option<&str>) -> (FileVerdict, String) {
    let LogListing { log, digest, proof } = listing;
    let Some(hash) = hash else {
        // An altered digest may list anything.
        return match proof {
            DigestProof::Broken(_) => (
                FileVerdict::Unproven,
                format!("not found; {digest}, which was altered, lists it"),
            ),
            DigestProof::Proven => (
                FileVerdict::Missing,
                format!("not found, although {digest} lists it"),
            ),
            // Anybody can plant a digest.
            DigestProof::Unproven(_) => (
                FileVerdict::Contradicted,
                format!("not found; {digest}, which is unproven, lists it"),
            ),
        };
    };
    let fits = hash.eq_ignore_ascii_case(&log.hash_value);
    match (proof, fits) {
        (DigestProof::Proven, true) => (
            FileVerdict::Intact,
            "its hash matches its digest".to_owned(),
        ),
        (DigestProof::Proven, false) => (
            FileVerdict::Altered,
            format!("its hash differs from that in {digest}"),
        ),
        (DigestProof::Broken(_), _) => (
            FileVerdict::Unproven,
            format!("listed in {digest}, which was altered"),
        ),
        (DigestProof::Unproven(_), true) => (
            FileVerdict::Unproven,
            // Without its name: what stands there for many logs is one row.
            "its hash matches its digest, which is unproven".to_owned(),
        ),
        (DigestProof::Unproven(_), false) => (
            FileVerdict::Contradicted,
            format!(
                "its hash differs from that in {digest}, which is unproven: one of both is not \
                 what CloudTrail wrote"
            ),
        ),
    }
}

fn is_digest(key: &str) -> bool {
    object::parse(key).kind == ObjectKind::Digest
}

#[cfg(test)]
mod tests {
    use super::super::{
        files,
        tests::{digest_key, keys, log_key, made},
    };
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

    /// All findings except `intact`.
    fn reported(evidence: &ChainFiles) -> Vec<(FileVerdict, bool, String)> {
        reported_with(evidence, &keys())
    }

    fn reported_with(evidence: &ChainFiles, keys: &PublicKeys) -> Vec<(FileVerdict, bool, String)> {
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
        // Without metadata, each signature is in the next digest; the newest has none.
        evidence.digests.get_mut(&digest_key(3)).unwrap().signature = None;
        let newest = [
            digest(FileVerdict::Unproven, 3),
            log(FileVerdict::Unproven, 3),
        ];
        assert_eq!(reported(&evidence), newest);
        let all = reported_with(&evidence, &PublicKeys::default());
        assert_eq!(all.len(), 6);
        assert!(
            all.iter()
                .all(|reported| reported.0 == FileVerdict::Unproven)
        );
    }

    #[test]
    fn an_altered_log_and_an_altered_digest_are_distinguished() {
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

    /// A digest that somebody has put beside the others: unsigned, with wrong words about the one
    /// of this hour, and with another hash of its log.
    fn planted(evidence: &mut ChainFiles, about: u32) -> String {
        let previous = &evidence.digests[&digest_key(about)];
        let mut read = made(about + 1, Some(previous), &[(&log_at(about), "cc")]);
        read.file.previous_digest_hash_value = Some("dd".to_owned());
        read.file.previous_digest_signature = Some("00ff".to_owned());
        read.signature = None;
        let key = digest_key(about + 1).replace("0000Z", "3000Z");
        read.file.digest_s3_object.clone_from(&key);
        evidence.digests.insert(key.clone(), read);
        key
    }

    #[test]
    fn what_an_unsigned_digest_says_makes_nothing_altered() {
        for hour in 1..=3 {
            let mut evidence = trail();
            let key = planted(&mut evidence, hour);
            let expected = [(FileVerdict::Unproven, true, key)];
            assert_eq!(reported(&evidence), expected, "about hour {hour}");
        }
        // Without any other word about it, nothing is certain.
        let mut evidence = trail();
        let key = planted(&mut evidence, 3);
        evidence.digests.get_mut(&digest_key(3)).unwrap().signature = None;
        let reported = reported(&evidence);
        assert!(reported.contains(&digest(FileVerdict::Unproven, 3)));
        assert!(reported.contains(&(FileVerdict::Unproven, true, key)));
        assert!(!reported.iter().any(|found| found.0 == FileVerdict::Altered));
    }

    #[test]
    fn a_signed_hash_convicts_a_digest_although_its_follower_is_unproven() {
        let mut evidence = trail();
        evidence.digests.get_mut(&digest_key(3)).unwrap().signature = None;
        evidence.digests.get_mut(&digest_key(2)).unwrap().signature = None;
        evidence.digests.get_mut(&digest_key(2)).unwrap().hash = "other".to_owned();
        let reported = reported(&evidence);
        assert!(
            reported.contains(&digest(FileVerdict::Altered, 2)),
            "{reported:?}"
        );
    }

    #[test]
    fn what_is_no_digest_is_unreadable_and_logs_without_any_digest_are_known() {
        let mut evidence = trail();
        evidence.digests.remove(&digest_key(2));
        evidence
            .spoiled
            .insert(digest_key(2), "it is not a digest".to_owned());
        let expected = [
            digest(FileVerdict::Unreadable, 2),
            log(FileVerdict::Unproven, 2),
        ];
        assert_eq!(reported(&evidence), expected);
        assert!(files::without_digests(&evidence).is_empty());
        let elsewhere = log_at(1).replace("eu-west-1", "sa-east-1");
        evidence.logs.insert(elsewhere, HASH.to_owned());
        assert_eq!(files::without_digests(&evidence).len(), 1);
    }

    #[test]
    fn what_is_listed_and_does_not_exist_is_missing_but_not_what_could_not_be_read() {
        let mut evidence = trail();
        evidence.logs.remove(&log_at(1));
        assert_eq!(reported(&evidence), [log(FileVerdict::Missing, 1)]);
        evidence.unread.insert(log_at(1));
        assert_eq!(reported(&evidence), []);
        evidence.digests.remove(&digest_key(2));
        let expected = [
            digest(FileVerdict::Missing, 2),
            // The previous digest is signed itself, so only this log loses its proof.
            log(FileVerdict::Unproven, 2),
        ];
        assert_eq!(reported(&evidence), expected);
        evidence.unread.insert(digest_key(2));
        assert_eq!(reported(&evidence), [log(FileVerdict::Unproven, 2)]);
    }

    #[test]
    fn a_new_chain_is_a_finding_only_after_an_older_one() {
        let mut evidence = trail();
        evidence.digests.insert(digest_key(6), made(6, None, &[]));
        assert_eq!(reported(&evidence), [digest(FileVerdict::Restarted, 6)]);
    }
}
