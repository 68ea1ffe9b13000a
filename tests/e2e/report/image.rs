//! The image of an incident on the front page: a card of the report, photographed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use e2e::{LOGS, POLICY, local};
use serde_json::Value;

use super::report;

/// The image, and the incident on it.
const IMAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/incident.png");
const INCIDENT: &str = "6d06975502";

/// What the card of a report says; also writes the image.
fn card(page: &Path, image: Option<&str>) -> Value {
    let (python, chromium, libraries) = local::browser();
    let output = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("support/image.py"))
        .args([
            chromium,
            libraries,
            page.to_owned(),
            PathBuf::from(INCIDENT),
        ])
        .args(image)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
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
    assert!(text.contains("role/search-app read prod/payments/stripe-key"));
    let image = fs::read(IMAGE).unwrap();
    assert!(image.starts_with(b"\x89PNG"));
    assert!(
        shows(&image, card["digest"].as_str().unwrap()),
        "the card says something else than on the image; renew it, and look at it: \
         UPDATE_DOCS=1 cargo test -p e2e report::image\n{text}"
    );
    assert!(!shows(&image, "0"));
}
