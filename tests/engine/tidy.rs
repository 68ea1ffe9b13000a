//! The house rules that a compiler does not check.

mod imports;

use std::fs;
use std::path::{Path, PathBuf};

/// Crates whose `lib.rs` states the order of their modules, and modules whose children are kept
/// apart.
const ORDERED: [(&str, &[&str]); 2] = [
    ("detector/engine/src", &[]),
    ("detector/cli/src", &["commands"]),
];

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, out: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                out.push((path, text));
            }
        }
    }
    let mut out = Vec::new();
    walk(&Path::new(ROOT).join(folder), &mut out);
    out
}

#[test]
fn every_file_says_what_it_is_for_and_stays_readable() {
    for (path, text) in ["detector", "tests"].iter().flat_map(|f| sources(f)) {
        assert!(
            text.starts_with("//! "),
            "{}: opens with a doc comment",
            path.display()
        );
        let lines = text
            .lines()
            .take_while(|l| !l.starts_with("#[cfg(test)]"))
            .count();
        assert!(
            lines <= 760,
            "{}: {lines} lines before its tests",
            path.display()
        );
        for (number, line) in text.lines().enumerate() {
            assert!(
                line.trim_end() == line,
                "{}:{}: white space at the end",
                path.display(),
                number + 1
            );
        }
    }
}

#[test]
fn the_engine_knows_nothing_of_the_world() {
    let manifest = fs::read_to_string(Path::new(ROOT).join("detector/engine/Cargo.toml")).unwrap();
    let dependencies = manifest
        .split("[dependencies]")
        .nth(1)
        .and_then(|m| m.split("\n[").next())
        .unwrap();
    let names: Vec<&str> = dependencies
        .lines()
        .filter_map(|l| l.split('.').next())
        .filter(|n| !n.is_empty())
        .collect();
    let allowed = [
        "ahash",
        "aho-corasick",
        "chrono",
        "flate2",
        "hashbrown",
        "ipnet",
        "libdeflater",
        "memchr",
        "rsigma-eval",
        "rsigma-parser",
        "serde",
        "serde_json",
        "sha2",
        "simdutf8",
        "strsim",
        "thiserror",
        "wide",
        "yaml_serde",
    ];
    assert_eq!(names, allowed);
    for (path, text) in sources("detector/engine/src") {
        for banned in [
            "std::fs",
            "std::env",
            "SystemTime",
            "Instant::",
            "println!",
            "std::process",
            "TcpStream",
            "serde_json::Value::",
        ] {
            let code = text
                .lines()
                .filter(|l| !l.trim_start().starts_with("//"))
                .collect::<Vec<_>>()
                .join("\n");
            assert!(!code.contains(banned), "{}: {banned}", path.display());
        }
    }
}

#[test]
fn imports_point_one_way() {
    let mut wrong = Vec::new();
    for (folder, apart) in ORDERED {
        let base = Path::new(ROOT).join(folder);
        let sources = sources(folder);
        let files = sources.iter().map(|(path, text)| {
            let below = path.strip_prefix(&base).unwrap();
            (below.to_str().unwrap(), text.as_str())
        });
        let files = files.collect();
        let found = imports::wrong_imports(&imports::Sources { files, apart });
        wrong.extend(found.iter().map(|import| format!("{folder}/{import}")));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
