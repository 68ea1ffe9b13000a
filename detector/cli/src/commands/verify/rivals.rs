//! Digests with other contents under one key: which of them CloudTrail wrote. Anybody who can write
//! to the bucket can plant one, or a digest that names one; nobody else can sign.

use std::collections::BTreeMap;

use ahash::HashSet;
use secretrail_engine::trail_digest::DigestFile;

use super::{
    digest::PublicKeys,
    files::{ChainFiles, DigestRead},
};

/// Leaves one digest under each key: the one that is signed, by its own object or by any digest
/// that names it; without such, the one that a later digest names; without such, the first by name.
/// The others are spoiled.
pub(super) fn settle(evidence: &mut ChainFiles, keys: &PublicKeys) {
    let rivals = std::mem::take(&mut evidence.rivals);
    let signed = signed_hashes(&rivals, evidence, keys);
    let mut named: HashSet<(String, String)> = HashSet::default();
    for read in evidence.digests.values() {
        named.extend(names(read));
    }
    // The newest first: which digest an older one is depends on them.
    for (key, mut contents) in rivals.into_iter().rev() {
        let at = [&signed, &named].into_iter().find_map(|hashes| {
            let mut contents = contents.iter();
            contents.position(|(_, read)| {
                hashes.contains(&(key.clone(), read.hash.to_ascii_lowercase()))
            })
        });
        let (_, read) = contents.remove(at.unwrap_or(0));
        let why = format!("another digest with other content has its key, {key}");
        let losers = contents.into_iter().map(|(name, _)| (name, why.clone()));
        evidence.spoiled.extend(losers);
        named.extend(names(&read));
        evidence.digests.insert(key, read);
    }
}

/// Key and hash of the previous digest, as a digest names it.
fn names(read: &DigestRead) -> Option<(String, String)> {
    let hash = read.file.previous_digest_hash_value.as_deref()?;
    Some((read.previous()?.to_owned(), hash.to_ascii_lowercase()))
}

/// Keys and hashes of the contents that CloudTrail has signed.
fn signed_hashes(
    rivals: &BTreeMap<String, Vec<(String, DigestRead)>>,
    evidence: &ChainFiles,
    keys: &PublicKeys,
) -> HashSet<(String, String)> {
    let mut claims: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    let all = rivals.values().flatten().map(|(_, read)| read);
    for read in all.chain(evidence.digests.values()) {
        if let Some(previous) = read.previous().filter(|key| rivals.contains_key(*key)) {
            claims.entry(previous).or_default().extend(read.claim());
        }
    }
    let mut signed = HashSet::default();
    for (key, contents) in rivals {
        for (_, read) in contents {
            let own = read.signature.as_deref().map(|own| (&*read.hash, own));
            let others = claims.get(key.as_str()).into_iter().flatten().copied();
            let mut fitting = others
                .chain(own)
                .filter(|(hash, _)| hash.eq_ignore_ascii_case(&read.hash));
            if fitting.any(|(hash, signature)| is_signed(keys, &read.file, hash, signature)) {
                signed.insert((key.clone(), read.hash.to_ascii_lowercase()));
            }
        }
    }
    signed
}

fn is_signed(keys: &PublicKeys, file: &DigestFile, hash: &str, signature: &str) -> bool {
    let fingerprint = &file.digest_public_key_fingerprint;
    keys.signed(fingerprint, &file.signed_text(hash), signature) == Some(true)
}
