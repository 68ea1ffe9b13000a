//! Whole objects: no bytes panic, counts add up, the same bytes give the same result, and nothing
//! that comes before a whole document hides it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use secretrail_fuzz::{good_line, is_encoded, scan};

fuzz_target!(|bytes: &[u8]| {
    let alone = scan(bytes);
    assert_eq!(scan(bytes), alone, "the same again");
    if is_encoded(bytes) {
        return;
    }
    assert!(alone.is_whole);
    let good = good_line();
    let after = [good.as_bytes(), b"\n", bytes].concat();
    assert!(scan(&after).has_good(), "what follows hides it");
    let before = [bytes, b"\n", good.as_bytes(), b"\n"].concat();
    let both = scan(&before);
    assert!(both.has_good(), "what precedes hides it");
    assert!(
        alone.found().is_subset(&both.found()),
        "it hides what precedes"
    );
});
