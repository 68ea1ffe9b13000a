//! Commands of cargo, compared with the packages of the workspace.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What is asked of cargo in this repository.
const SUBCOMMANDS: [&str; 11] = [
    "bench", "build", "check", "clippy", "deny", "doc", "fmt", "install", "run", "test", "tree",
];
/// Options with a value.
const VALUED: [&str; 12] = [
    "-p",
    "--package",
    "--exclude",
    "--bin",
    "--test",
    "--example",
    "--features",
    "--path",
    "-e",
    "--depth",
    "-i",
    "--invert",
];
/// Options without.
const FLAGS: [&str; 14] = [
    "--release",
    "--locked",
    "--offline",
    "--workspace",
    "--lib",
    "--tests",
    "--all-targets",
    "--all-features",
    "--no-default-features",
    "--no-deps",
    "--check",
    "--no-run",
    "-q",
    "-d",
];

/// A package of the workspace.
struct Package {
    folder: PathBuf,
    manifest: String,
}

/// The packages that the workspace names.
fn packages(root: &Path) -> Vec<Package> {
    let workspace = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let (_, members) = workspace.split_once("members = [").unwrap();
    let (members, _) = members.split_once(']').unwrap();
    let folders = members.split('"').skip(1).step_by(2);
    let packages = folders.map(|folder| {
        let folder = root.join(folder);
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        Package { folder, manifest }
    });
    packages.collect()
}

impl Package {
    fn is(&self, name: &str) -> bool {
        let (_, head) = self.manifest.split_once("[package]").unwrap();
        head.lines().nth(1) == Some(&format!("name = \"{name}\""))
    }

    /// Whether there is an example of this name.
    fn has_example(&self, name: &str) -> bool {
        let examples = self.folder.join("examples");
        examples.join(format!("{name}.rs")).exists() || examples.join(name).exists()
    }

    /// Whether a section such as `[[bin]]` has this name.
    fn has(&self, section: &str, name: &str) -> bool {
        let name = format!("name = \"{name}\"");
        let sections = self.manifest.split(section).skip(1);
        let mut names = sections.filter_map(|text| text.trim_start().lines().next());
        names.any(|line| line == name)
    }

    /// Whether a module or a function of the package has the name that a filter of tests ends with.
    fn tests(&self, filter: &str) -> bool {
        let last = filter.rsplit("::").next().unwrap_or(filter);
        let marks = [
            format!("mod {last};"),
            format!("mod {last} "),
            format!("fn {last}("),
        ];
        fn any(folder: &Path, marks: &[String]) -> bool {
            fs::read_dir(folder).unwrap().any(|entry| {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    return any(&path, marks);
                }
                let rust = path.extension().is_some_and(|e| e == "rs");
                rust && fs::read_to_string(&path)
                    .is_ok_and(|text| marks.iter().any(|mark| text.contains(mark)))
            })
        }
        any(&self.folder, &marks)
    }
}

/// What is wrong with the words of a command, from `cargo` on; nothing is built.
pub(super) fn fault(root: &Path, words: &[String]) -> Option<String> {
    let packages = packages(root);
    let mut words = words.iter().skip(1).map(String::as_str);
    let subcommand = words.next()?;
    if !SUBCOMMANDS.contains(&subcommand) {
        return Some(format!("cargo {subcommand} is not known here"));
    }
    let mut package: Option<&Package> = None;
    while let Some(word) = words.next() {
        if word == "--" {
            return None;
        }
        if VALUED.contains(&word) {
            let Some(value) = words.next() else {
                return Some(format!("{word} has no value"));
            };
            let known = match (word, package) {
                ("-p" | "--package", _) => {
                    package = packages.iter().find(|package| package.is(value));
                    package.is_some()
                }
                ("--exclude", _) => packages.iter().any(|package| package.is(value)),
                ("--path", _) => root.join(value).join("Cargo.toml").exists(),
                ("--bin", Some(package)) => package.has("[[bin]]", value),
                ("--test", Some(package)) => package.has("[[test]]", value),
                ("--example", Some(package)) => package.has_example(value),
                ("--features", Some(package)) => {
                    package.manifest.contains(&format!("\n{value} = ["))
                }
                _ => true,
            };
            if !known {
                return Some(format!("{word} {value}: there is no such thing"));
            }
        } else if word.starts_with('-') {
            if !FLAGS.contains(&word) {
                return Some(format!("{word} is not known here"));
            }
        } else if subcommand == "test" {
            let named = match package {
                Some(package) => package.tests(word),
                None => packages.iter().any(|package| package.tests(word)),
            };
            if !named {
                return Some(format!("no test is named {word}"));
            }
        }
    }
    None
}

#[test]
fn a_wrong_word_is_named() {
    let root = Path::new(super::ROOT);
    let fault = |line: &str| {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        fault(root, &words)
    };
    for right in [
        "cargo test",
        "cargo fmt --check",
        "cargo test -p e2e --test e2e a_wrong_word_is_named",
        "cargo run --release -p secretrail-cli --no-default-features -- no matter",
        "cargo run -p e2e --bin measure -- x",
        "cargo install --path detector/cli",
    ] {
        assert_eq!(fault(right), None, "{right}");
    }
    for wrong in [
        "cargo frobnicate",
        "cargo test -p secretrail",
        "cargo test --exclude nothing",
        "cargo run -p e2e --bin nothing",
        "cargo install --path detector/nothing",
        "cargo test -p e2e no_test_has_this_name",
        "cargo build --features nothing -p secretrail-cli --frobnicate",
    ] {
        assert!(fault(wrong).is_some(), "{wrong}");
    }
}
