//! Compression of stored items.

use std::io::{Read, Write};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};

use super::ItemError;

/// Most bytes that an item may inflate to; Secretrail writes no larger ones.
const MAX_INFLATED_BYTES: u64 = 256 * 1024 * 1024;

/// Compresses bytes, also for items of other modules.
#[must_use]
pub fn squeezed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(3));
    // Cannot fail: the bytes go to memory.
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .unwrap_or_default()
}

/// Reads what [`squeezed`] wrote.
///
/// # Errors
///
/// The bytes are not zlib data. What inflates to too many bytes is truncated, and so is no JSON.
pub fn unsqueezed(bytes: &[u8]) -> Result<Vec<u8>, ItemError> {
    let mut text = Vec::new();
    // Content of the table is not trusted: a few bytes can inflate to gigabytes. Truncated text is
    // invalid JSON, and rejected as such.
    let mut decoder = ZlibDecoder::new(bytes).take(MAX_INFLATED_BYTES);
    decoder.read_to_end(&mut text)?;
    Ok(text)
}
