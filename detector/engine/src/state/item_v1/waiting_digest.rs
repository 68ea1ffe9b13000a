//! Digests that wait until their files are accounted for.

use serde::{Deserialize, Serialize};

use super::{ItemError, PackedItem, VERSION, squeezed, unsqueezed};
use crate::{completeness::WaitingDigest, digest::digest};

#[derive(Debug, Serialize, Deserialize)]
struct StoredDigestV1 {
    v: u32,
    digest: WaitingDigest,
}

/// Packs a digest.
#[must_use]
pub fn pack_digest(waiting: &WaitingDigest) -> PackedItem {
    let stored = StoredDigestV1 {
        v: VERSION,
        digest: waiting.clone(),
    };
    // Cannot fail: every key is text.
    let text = serde_json::to_string(&stored).unwrap_or_default();
    PackedItem {
        digest: digest(&[&text]),
        bytes: squeezed(text.as_bytes()),
    }
}

/// Reads what [`pack_digest`] wrote.
///
/// # Errors
///
/// The item was not written by it.
pub fn unpack_digest(bytes: &[u8]) -> Result<WaitingDigest, ItemError> {
    let stored: StoredDigestV1 = serde_json::from_slice(&unsqueezed(bytes)?)?;
    match stored.v {
        VERSION => Ok(stored.digest),
        other => Err(ItemError::Version(other)),
    }
}
