//! Inflating: damaged data neither panics nor takes too much memory, a stream gives what memory
//! gives, and what was compressed comes out as it went in.

#![no_main]

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use libfuzzer_sys::fuzz_target;
use secretrail_fuzz::{cut, is_encoded, scan, scan_stream, seed_of};

/// A reader that returns little at a time.
struct Slow<'a>(&'a [u8], u64);

impl std::io::Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.1 = self
            .1
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let most = (self.1 >> 33) as usize % 600 + 1;
        let length = most.min(out.len()).min(self.0.len());
        let (piece, rest) = self.0.split_at(length);
        out[..length].copy_from_slice(piece);
        self.0 = rest;
        Ok(length)
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

fuzz_target!(|bytes: &[u8]| {
    let plain = scan(bytes);
    let seed = seed_of(bytes);
    let streamed = scan_stream(&mut Slow(bytes, seed));
    if is_encoded(bytes) && !plain.is_whole {
        // A stream cannot be read again, and may lack what lies just before the damage.
        assert!(!streamed.is_whole && streamed.found().is_subset(&plain.found()));
        return;
    }
    assert_eq!(streamed, plain, "as a stream");
    if is_encoded(bytes) {
        return;
    }
    assert_eq!(scan(&gzip(bytes)), plain, "compressed");
    // Any number of members, as concatenation makes them.
    let members: Vec<u8> = cut(bytes, seed, 4_000).into_iter().flat_map(gzip).collect();
    if !members.is_empty() {
        assert_eq!(scan(&members), plain, "in members");
        assert_eq!(
            scan_stream(&mut Slow(&members, seed)),
            plain,
            "in members, as a stream"
        );
    }
});
