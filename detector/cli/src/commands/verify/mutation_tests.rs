//! A signed chain of digests and their logs, damaged in ten thousand ways: what was changed is
//! never intact, and what was not is never altered.

use std::{collections::BTreeMap, io::Read};

use flate2::bufread::GzDecoder;
use secretrail_engine::selection::Selection;
use sha2::{Digest, Sha256};

use super::{
    chain::judge,
    files::{DigestRead, FileVerdict},
    gathered::gather,
    rivals::settle,
    tests::{digest_key, gzip, json, keys, log_key, made, signature},
};
use crate::{input::store::FetchedBytes, text::hex};

const MUTATIONS: u64 = 10_000;

/// Objects by their keys.
type Tree = BTreeMap<String, FetchedBytes>;

fn stored(bytes: Vec<u8>, signature: Option<String>) -> FetchedBytes {
    FetchedBytes { bytes, signature }
}

fn hash_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Three hours of a trail, each with two logs.
fn trail() -> Tree {
    let mut tree = Tree::new();
    let mut previous: Option<DigestRead> = None;
    for hour in 1..=3 {
        let mut logs = Vec::new();
        for minute in [10, 30] {
            let key = log_key(&format!("T{:02}{minute}Z", hour - 1));
            let text = format!("{{\"Records\":[{{\"hour\":{hour},\"minute\":{minute}}}]}}");
            logs.push((key.clone(), hash_of(text.as_bytes())));
            tree.insert(key, stored(gzip(text.as_bytes()), None));
        }
        let listed: Vec<(&str, &str)> = logs.iter().map(|(key, hash)| (&**key, &**hash)).collect();
        let mut digest = made(hour, previous.as_ref(), &listed);
        let text = json(&digest).to_string();
        digest.hash = hash_of(text.as_bytes());
        digest.signature = Some(signature(&digest.file.signed_text(&digest.hash)));
        let object = stored(gzip(text.as_bytes()), digest.signature.clone());
        tree.insert(digest_key(hour), object);
        previous = Some(digest);
    }
    tree
}

/// What an object holds, if it is one member of gzip and nothing else, or not compressed.
fn content(bytes: &[u8]) -> Option<Vec<u8>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Some(bytes.to_vec());
    }
    let (mut decoder, mut content) = (GzDecoder::new(bytes), Vec::new());
    decoder.read_to_end(&mut content).ok()?;
    decoder.into_inner().is_empty().then_some(content)
}

/// Changes bytes in one of many ways.
fn changed(bytes: &[u8], other: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let at = random
        .usize(..bytes.len().max(1))
        .min(bytes.len().saturating_sub(1));
    let mut changed = bytes.to_vec();
    match random.u8(..9) {
        0 => changed[at] ^= 1 << random.u8(..8),
        1 => changed[at] = random.u8(..),
        2 => changed.insert(at, random.u8(..)),
        3 => drop(changed.remove(at)),
        4 => changed.truncate(at),
        5 => changed.push(random.u8(..)),
        6 => changed.extend(gzip(b"{\"Records\":[]}")),
        7 => changed = other.to_vec(),
        // Inside, and compressed anew.
        _ => {
            if let Some(mut inner) = content(bytes).filter(|inner| !inner.is_empty()) {
                let at = random.usize(..inner.len());
                inner[at] ^= 1 << random.u8(..7);
                changed = gzip(&inner);
            }
        }
    }
    changed
}

/// Whether an object holds what it held, as CloudTrail would write it.
fn is_genuine(object: &FetchedBytes, original: &FetchedBytes) -> bool {
    content(&object.bytes).is_some_and(|held| Some(held) == content(&original.bytes))
}

/// Plants a digest under a key of its own, or in another tree, which says of itself what a genuine
/// one says, or names another hash of the previous one; nobody can sign it.
fn plant(tree: &mut Tree, original: &Tree, random: &mut fastrand::Rng) {
    let hour = random.u32(1..=3);
    let genuine = digest_key(hour);
    let Some(held) = content(&original[&genuine].bytes) else {
        return;
    };
    let mut text = String::from_utf8(held).unwrap();
    let earlier = tree.get(&digest_key(hour.max(2) - 1));
    let named = earlier.and_then(|earlier| content(&earlier.bytes));
    let hash = named.map_or_else(|| "00".repeat(32), |named| hash_of(&named));
    if let Some((before, after)) = text.split_once("\"previousDigestHashValue\":\"") {
        let after = after.split_once('"').map_or("", |(_, after)| after);
        text = format!("{before}\"previousDigestHashValue\":\"{hash}\"{after}");
    }
    let key = match random.bool() {
        true => genuine.replace("0000Z", "5900Z"),
        false => genuine.replace("0000Z", "0001Z"),
    };
    if random.bool() {
        text = text.replace(&genuine, &key);
    }
    tree.insert(key, stored(gzip(text.as_bytes()), None));
}

/// Changes, removes or replaces one object.
fn change(tree: &mut Tree, original: &Tree, random: &mut fastrand::Rng) {
    let names: Vec<&String> = original.keys().collect();
    let (key, other) = (names[random.usize(..9)], names[random.usize(..9)]);
    let other = &original[other].bytes;
    match (tree.get_mut(key), random.u8(..20)) {
        (Some(_), 0) => drop(tree.remove(key)),
        (Some(object), 1) => object.signature = None,
        (Some(object), _) => object.bytes = changed(&object.bytes, other, random),
        (None, _) => {}
    }
}

#[test]
fn what_was_changed_is_never_intact_and_what_was_not_is_never_altered() {
    let original = trail();
    let keys = keys();
    let mut random = fastrand::Rng::with_seed(20);
    let (mut altered, mut intact) = (0, 0);
    for number in 0..MUTATIONS {
        let mut tree = original.clone();
        for _ in 0..random.u8(1..=2) {
            change(&mut tree, &original, &mut random);
        }
        if random.u8(..4) == 0 {
            plant(&mut tree, &original, &mut random);
        }
        let mut evidence = gather(&tree);
        settle(&mut evidence, &keys);
        for finding in judge(&evidence, &keys, &Selection::default()) {
            let (now, before) = (tree.get(&finding.key), original.get(&finding.key));
            let is_genuine = now
                .zip(before)
                .is_some_and(|(now, before)| is_genuine(now, before));
            let said = format!("{number}: {finding:?}");
            match finding.verdict {
                FileVerdict::Intact => assert!(is_genuine, "{said}"),
                FileVerdict::Altered => assert!(!is_genuine, "{said}"),
                _ => continue,
            }
            altered += u64::from(finding.verdict == FileVerdict::Altered);
            intact += u64::from(finding.verdict == FileVerdict::Intact);
        }
    }
    assert!(
        altered > MUTATIONS / 4 && intact > MUTATIONS,
        "{altered} {intact}"
    );
}
