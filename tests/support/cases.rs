//! The cases of data in `tests/cases`: records, and what they must give. Every face runs the same ones.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// One folder of `tests/cases`.
#[derive(Debug, Clone)]
pub struct Case {
    /// Where it is.
    pub folder: PathBuf,
}

/// All cases, by name.
///
/// # Panics
///
/// When there is none, or one that does not say why it is there.
#[must_use]
pub fn all() -> Vec<Case> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../cases");
    let entries = std::fs::read_dir(folder).expect("the cases are there");
    let mut cases: Vec<Case> = entries
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|path| path.is_dir())
        .map(|folder| Case { folder })
        .collect();
    cases.sort_by(|a, b| a.folder.cmp(&b.folder));
    assert!(!cases.is_empty(), "{folder} is empty");
    for case in &cases {
        assert!(
            case.folder.join("case.md").exists(),
            "{case:?} says in case.md why it is there"
        );
    }
    cases
}

impl Case {
    /// The folder of its logs.
    #[must_use]
    pub fn input(&self) -> PathBuf {
        self.folder.join("input")
    }

    /// Its access policy, where it has one.
    #[must_use]
    pub fn policy(&self) -> Option<PathBuf> {
        let path = self.folder.join("access-policy.yaml");
        path.exists().then_some(path)
    }

    /// Compares what was found with a file of the case. A file that is missing is written, to be read by a person before it is
    /// committed.
    ///
    /// # Panics
    ///
    /// When they differ, and when the file did not exist.
    pub fn check(&self, file: &str, found: &[Value]) {
        let path = self.folder.join(file);
        let Ok(text) = std::fs::read_to_string(&path) else {
            let text: String = found.iter().map(|line| format!("{line}\n")).collect();
            std::fs::write(&path, text).expect("it can be written");
            panic!(
                "{} did not exist; it has been written: read it",
                path.display()
            );
        };
        let expected: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line is JSON"))
            .collect();
        assert_eq!(found, expected, "{}", path.display());
    }
}

/// Every file below a folder, in the order of their names.
///
/// # Panics
///
/// When a folder cannot be listed.
#[must_use]
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder can be listed");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a folder can be listed").path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
