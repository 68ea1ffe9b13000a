//! The image of an incident on the front page: a card of the report, photographed.

use std::{ffi::OsStr, fs, path::Path};

use e2e::{LOGS, POLICY, local};
use serde_json::Value;

use super::report;

/// The image, and the incident on it.
const IMAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/incident.png");
const INCIDENT: &str = "6d06975502";

/// What the card of a report says; also writes the image.
fn card(page: &Path, image: Option<&str>) -> Value {
    let args = [page.as_os_str(), INCIDENT.as_ref()];
    let image = image.map(OsStr::new);
    let args: Vec<&OsStr> = args.into_iter().chain(image).collect();
    local::in_browser("image.py", &args)
}

/// Whether an image was made of a card that says this: its digest is in a text chunk.
fn shows(image: &[u8], digest: &str) -> bool {
    let wanted = [b"tEXtCard\0", digest.as_bytes()].concat();
    image.windows(wanted.len()).any(|bytes| bytes == wanted)
}

#[test]
fn the_front_page_shows_the_card_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let page = report(LOGS, &["--policy", POLICY], folder.path());
    let is_new = std::env::var_os("UPDATE_DOCS").is_some();
    let card = card(&page, is_new.then_some(IMAGE));
    let text = card["text"].as_str().unwrap();
    for said in [
        "role/search-app read prod/search/db-GMqGXK and 2 more",
        "read prod/payments/stripe-key (GetSecretValue) from 203.0.113.77",
    ] {
        assert!(text.contains(said), "{text}");
    }
    let image = fs::read(IMAGE).unwrap();
    assert!(image.starts_with(b"\x89PNG"));
    assert!(
        shows(&image, card["digest"].as_str().unwrap()),
        "the card says something else than on the image; renew it, and look at it: \
         UPDATE_DOCS=1 cargo test -p e2e report::image\n{text}"
    );
    assert!(!shows(&image, "another digest"));
}
