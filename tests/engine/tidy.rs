//! The house rules that a compiler does not check.

mod imports;
mod shape;
mod tokens;
mod words;

use std::{
    fs,
    path::{Path, PathBuf},
};

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

/// Lines of a file before its tests: of the product, and of the tests.
const LINES: [(&str, usize); 2] = [("detector", 500), ("tests", 700)];

/// Words and signs in any function of the product, and in nine of ten.
const LONGEST_FUNCTION: usize = 400;
const LONG_FUNCTION: usize = 220;

/// Closures that are given a name, in a thousand lines of the product.
const NAMED_CLOSURES: usize = 1;

/// Columns of a line of the product.
const COLUMNS: usize = 100;

#[test]
fn every_file_says_what_it_is_for_and_stays_readable() {
    let files = LINES.iter().flat_map(|(folder, most)| {
        let files = sources(folder).into_iter();
        files.map(move |(path, text)| (path, text, *most))
    });
    for (path, text, most) in files {
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
            lines <= most,
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
fn functions_are_short_lines_fit_and_few_closures_have_names() {
    let (mut all, mut wrong, mut named, mut lines) = (Vec::new(), Vec::new(), Vec::new(), 0);
    // Tests and benches of a crate are read by those who change them, not by its users.
    let crates = fs::read_dir(Path::new(ROOT).join("detector")).unwrap();
    let crates = crates.map(|entry| entry.unwrap().path().join("src"));
    let product = crates.filter(|folder| folder.is_dir());
    let product: Vec<_> = product
        .flat_map(|folder| sources(folder.to_str().unwrap()))
        .collect();
    assert!(product.len() > 100, "the product is somewhere else");
    for (path, text) in product {
        let path = path.display();
        for function in shape::functions(&text) {
            let shape::Function { name, line, length } = function;
            if length > LONGEST_FUNCTION {
                wrong.push(format!(
                    "{path}:{line}: {name} has {length} words and signs"
                ));
            }
            all.push(length);
        }
        let closures = shape::named_closures(&text).into_iter();
        named.extend(closures.map(|line| format!("{path}:{line}")));
        lines += text.lines().count();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in (1..).zip(code.lines()) {
            if line.chars().count() > COLUMNS {
                wrong.push(format!("{path}:{number}: over {COLUMNS} columns"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert!(
        named.len() * 1_000 <= NAMED_CLOSURES * lines,
        "make some of these closures functions:\n{}\n",
        named.join("\n")
    );
    let long = all.iter().filter(|length| **length > LONG_FUNCTION).count();
    let functions = all.len();
    assert!(
        long * 10 <= functions,
        "{long} of {functions} functions have over {LONG_FUNCTION} words and signs: one in ten may"
    );
}

/// Where unsafe code may be; SECURITY.md names the same files.
const UNSAFE: [&str; 3] = [
    "detector/cli/src/main.rs",
    "detector/engine/src/split/blocks.rs",
    "detector/engine/src/split/simd.rs",
];

#[test]
fn unsafe_code_is_in_the_files_that_are_named() {
    let root = Path::new(ROOT);
    let is_unsafe = |text: &str| tokens::tokens(text).iter().any(|t| t.text == "unsafe");
    let mut found: Vec<_> = sources("detector")
        .into_iter()
        .filter(|(_, text)| is_unsafe(text))
        .map(|(path, _)| path.strip_prefix(root).unwrap().to_owned())
        .collect();
    found.sort();
    assert_eq!(found, UNSAFE.map(PathBuf::from));
    let security = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    for file in UNSAFE {
        assert!(security.contains(file), "SECURITY.md: {file}");
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
        .filter_map(|l| l.split(['.', ' ']).next())
        .filter(|n| !n.is_empty())
        .collect();
    let allowed = [
        "ahash",
        "aho-corasick",
        "bzip2",
        "chrono",
        "csv-core",
        "flate2",
        "hashbrown",
        "ipnet",
        "libdeflater",
        "maxminddb",
        "memchr",
        "parquet",
        "regex-syntax",
        "rsigma-eval",
        "rsigma-parser",
        "serde",
        "serde_json",
        "sha2",
        "simdutf8",
        "strsim",
        "thiserror",
        "tld",
        "twox-hash",
        "wide",
        "yaml_serde",
        "zstd",
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
