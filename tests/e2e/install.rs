//! What tests need from elsewhere: every package is pinned by its hash, and a client that is
//! missing is named.

use std::path::{Path, PathBuf};

use e2e::install::{InstallError, Installer};
use serde_json::Value;

const PACKAGES: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/packages"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../.ci/packages"),
];

/// The lock files with this end.
fn locks(end: &str) -> Vec<PathBuf> {
    let files = PACKAGES
        .iter()
        .flat_map(|folder| e2e::cases::files(Path::new(folder)));
    files
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect()
}

#[test]
fn a_missing_client_is_named_with_what_brings_it() {
    let empty = tempfile::tempdir().unwrap();
    let here = Installer {
        path: Some(empty.path().into()),
    };
    let place = empty.path().join("place");
    let said = |result: Result<(), InstallError>| result.unwrap_err().to_string();
    assert_eq!(
        said(here.npm(&Path::new(PACKAGES[0]).join("dynoxide"), &place)),
        "npm was not found; install Node.js with npm"
    );
    assert_eq!(
        said(here.python(&Path::new(PACKAGES[0]).join("duckdb.txt"), &place)),
        "python3 was not found; install Python 3.11 or newer with venv and pip"
    );
}

#[test]
fn a_client_that_fails_is_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("package-lock.json");
    std::fs::write(folder.path().join("package.json"), "{}").unwrap();
    std::fs::write(&lock, "no lock file").unwrap();
    let failed = Installer::default().npm(folder.path(), &folder.path().join("place"));
    let error = failed.unwrap_err().to_string();
    assert!(error.starts_with("`npm ci --ignore-scripts"), "{error}");
    assert!(
        error.contains("npm error") && error.contains("needs Node.js with npm"),
        "{error}"
    );
}

#[test]
fn every_package_has_a_version_and_a_hash_and_no_address() {
    let requirements = locks(".txt");
    assert!(requirements.len() >= 7, "{requirements:?}");
    for path in requirements {
        let text = std::fs::read_to_string(&path)
            .unwrap()
            .replace(" \\\n", " ");
        assert!(!text.contains("://"), "{}", path.display());
        for line in text.lines() {
            assert!(
                line.contains("==") && line.contains("--hash=sha256:"),
                "{line}"
            );
        }
    }
    let npm = locks("package-lock.json");
    assert_eq!(npm.len(), 3, "{npm:?}");
    for path in npm {
        let text = std::fs::read_to_string(&path).unwrap();
        let lock: Value = serde_json::from_str(&text).unwrap();
        for (name, package) in lock["packages"].as_object().unwrap() {
            let of_registry = !name.is_empty();
            assert_eq!(package["integrity"].is_string(), of_registry, "{name}");
            assert!(package["resolved"].is_null(), "{name}");
        }
    }
}
