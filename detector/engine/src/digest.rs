//! Digests: short texts that identify content, the same on every machine.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use twox_hash::XxHash3_64;

/// SHA-256 of the texts, truncated to 32 hexadecimal digits. The length of each part is hashed too,
/// so that the boundaries between parts count.
#[must_use]
pub fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize()
        .iter()
        .take(16)
        .fold(String::new(), |mut hex, byte| {
            // Writing to a string cannot fail.
            write!(hex, "{byte:02x}").ok();
            hex
        })
}

/// XXH3 of the texts, 64 bits: fast enough for every record. As in [`digest`], the boundaries
/// between parts count.
#[must_use]
pub fn short_digest(parts: &[&str]) -> u64 {
    // The digest of the parts before is the seed of the next one.
    parts.iter().fold(0, |seed, part| {
        XxHash3_64::oneshot_with_seed(seed ^ part.len() as u64, part.as_bytes())
    })
}

/// XXH3 of bytes, 64 bits.
#[must_use]
pub fn short_digest_of_bytes(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_ne!(digest(&["ab"]), digest(&["ab", ""]));
        assert_ne!(digest(&[]), digest(&[""]));
    }

    #[test]
    fn a_short_digest_is_the_same_on_every_machine_and_in_every_version() {
        // Identities of stored items depend on it.
        assert_eq!(short_digest(&["event"]), 3_441_525_191_001_989_568);
        let long = "a record".repeat(100);
        assert_eq!(short_digest(&[&long, "e1"]), 2_691_354_170_429_004_890);
        assert_ne!(short_digest(&["ab", "c"]), short_digest(&["a", "bc"]));
        assert_ne!(short_digest(&["ab"]), short_digest(&["ab", ""]));
    }

    #[test]
    fn a_digest_is_the_same_on_every_machine_and_in_every_version() {
        // Alert ids and names of stored items depend on it.
        assert_eq!(
            digest(&["window", "rule"]),
            "b29398742bc8349a2ac5f5412b1c7464"
        );
    }
}
