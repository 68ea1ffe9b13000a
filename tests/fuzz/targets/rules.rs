//! The rule loader: no file panics, an error is one line that names the file, and rules that load
//! can be asked about records.

#![no_main]

use libfuzzer_sys::fuzz_target;
use secretrail_engine::rule::load::load;
use secretrail_fuzz::{good_line, scan_for};

fuzz_target!(|text: &str| {
    match load([("fuzz.yml", text)]) {
        Ok((rules, _)) => scan_for(&rules, good_line().as_bytes()),
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                let line = error.to_string();
                assert!(line.starts_with("fuzz.yml:"), "{line}");
                assert!(!line.contains(['\n', '\r']), "{line:?}");
            }
        }
    }
});
