//! What the Markdown files say: every link leads somewhere, every file that they name is there,
//! every command is one, and those on the example logs run.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::{CommandFactory, Parser};
use secretrail_cli::args::CommandLine;

use self::markdown::{Document, Found};

mod cargo;
mod markdown;
mod shell;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Folders that are not ours.
const FOREIGN: [&str; 3] = ["target", "node_modules", ".git"];

/// The Markdown files of the repository, by their path below it.
fn documents() -> BTreeMap<PathBuf, Document> {
    fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, Document>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !FOREIGN.contains(&name) {
                walk(&path, found);
            } else if name.ends_with(".md") {
                let document = Document::read(&fs::read_to_string(&path).unwrap());
                let below = path.strip_prefix(ROOT).unwrap().to_owned();
                found.insert(below, document);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(Path::new(ROOT), &mut found);
    assert!(found.len() > 40, "the documents are somewhere else");
    found
}

/// Fails with all that is wrong, one line each.
fn nothing(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path {
        match part.to_str() {
            Some(".") => {}
            Some("..") => assert!(plain.pop(), "{}: outside", path.display()),
            _ => plain.push(part),
        }
    }
    plain
}

/// Why a link leads nowhere. What is outside of the repository is not looked for.
fn broken(documents: &BTreeMap<PathBuf, Document>, path: &Path, link: &str) -> Option<String> {
    if link.starts_with("https://") {
        return None;
    }
    if link.contains(':') {
        return Some("neither https nor a file".to_owned());
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => path.to_owned(),
        file => plain(&path.parent().unwrap().join(file)),
    };
    if !Path::new(ROOT).join(&target).exists() {
        return Some("there is no such file".to_owned());
    }
    let has = |document: &Document| document.anchors.contains(anchor);
    let known = anchor.is_empty() || documents.get(&target).is_some_and(has);
    (!known).then(|| "there is no such heading".to_owned())
}

#[test]
fn every_link_leads_somewhere() {
    let documents = documents();
    let mut wrong = Vec::new();
    let mut links = 0;
    for (path, document) in &documents {
        links += document.links.len();
        for Found { line, text } in &document.links {
            if let Some(why) = broken(&documents, path, text) {
                wrong.push(format!("{}:{line}: {text}: {why}", path.display()));
            }
        }
    }
    assert!(links > 200, "{links} links are too few to be all");
    nothing(&wrong);
    for (link, right) in [
        ("rules/README.md#fields", true),
        ("rules/", true),
        ("#try-it", true),
        ("rules/README.md#nothing", false),
        ("rules/nothing.yml", false),
        ("rules/bulk-read.yml#fields", false),
        ("http://example.com", false),
    ] {
        let broken = broken(&documents, Path::new("README.md"), link);
        assert_eq!(broken.is_none(), right, "{link}: {broken:?}");
    }
}

/// Whether a code in a sentence is a path that begins as one of the repository and does not go on.
fn lost(path: &Path, code: &str) -> bool {
    let sign = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let Some((first, _)) = code.split_once('/') else {
        return false;
    };
    if !code.chars().all(sign) || first.is_empty() || FOREIGN.contains(&first) {
        return false;
    }
    let beside = Path::new(ROOT).join(path.parent().unwrap());
    let mut bases = [beside, PathBuf::from(ROOT)].into_iter();
    bases
        .find(|base| base.join(first).exists())
        .is_some_and(|base| !base.join(code).exists())
}

#[test]
fn every_file_that_is_named_is_there() {
    let mut wrong = Vec::new();
    for (path, document) in documents() {
        for Found { line, text } in &document.code {
            if lost(&path, text) {
                wrong.push(format!("{}:{line}: {text}", path.display()));
            }
        }
    }
    nothing(&wrong);
    let readme = Path::new("detector/README.md");
    assert!(lost(readme, "engine/src/nothing.rs") && lost(readme, "tests/nothing"));
    assert!(!lost(readme, "engine/src/lib.rs") && !lost(readme, "prod/nothing"));
}

/// What is wrong with a command line, as its parser says it.
fn refused(words: &[String]) -> Option<String> {
    let error = CommandLine::try_parse_from(words).err()?;
    let text = error.render().to_string();
    error.use_stderr().then(|| text.replace('\n', " "))
}

/// What a command in a sentence names that is not there. It may leave out what it needs, and a word
/// in capitals stands for any.
fn unknown(words: &[String]) -> Option<String> {
    let mut root = CommandLine::command();
    root.build();
    let mut command = &root;
    let mut place = "secretrail".to_owned();
    for word in &words[1..] {
        let long = word
            .strip_prefix("--")
            .map(|w| w.split('=').next().unwrap());
        let short = word.strip_prefix('-').and_then(|w| w.chars().next());
        let known = match (long, short) {
            (Some(long), _) => command.get_arguments().any(|a| a.get_long() == Some(long)),
            (None, Some(short)) => command
                .get_arguments()
                .any(|a| a.get_short() == Some(short)),
            (None, None) => match command.find_subcommand(word) {
                Some(below) => {
                    command = below;
                    place = format!("{place} {word}");
                    true
                }
                None if word.chars().all(|c| c.is_ascii_uppercase()) => return None,
                None => !command.has_subcommands(),
            },
        };
        if !known {
            return Some(format!("{place} has no {word}"));
        }
    }
    None
}

/// Whether a word is the package or the name of the command.
fn names_ours(word: &str) -> bool {
    ["secretrail-cli", "secretrail"].contains(&word)
}

/// The words that a command gives to ours, which cargo may build first, from `secretrail` on.
fn ours(words: &[String]) -> Option<Vec<String>> {
    let given = match words[0].as_str() {
        "secretrail" => &words[1..],
        "cargo" if words.iter().any(|word| names_ours(word)) => {
            &words[1 + words.iter().position(|word| word == "--")?..]
        }
        _ => return None,
    };
    let name = std::iter::once("secretrail".to_owned());
    Some(name.chain(given.iter().cloned()).collect())
}

/// What is wrong with one command of a block.
fn fault(words: &[String]) -> Option<String> {
    let root = Path::new(ROOT);
    let program = words[0].as_str();
    if program == "cargo"
        && let Some(wrong) = cargo::fault(root, words)
    {
        return Some(wrong);
    }
    if let Some(ours) = ours(words) {
        return refused(&ours);
    }
    let here = program.contains('/') && !program.starts_with("target/");
    let lost = here && !root.join(program).exists();
    lost.then(|| "there is no such program".to_owned())
}

#[test]
fn every_command_is_one() {
    let mut wrong = Vec::new();
    let mut ours = 0;
    for (path, document) in documents() {
        for Found { line, text } in &document.commands {
            for words in shell::commands(text) {
                ours += usize::from(words[0] == "secretrail" || words[0] == "cargo");
                let fault = fault(&words).into_iter();
                wrong.extend(fault.map(|why| format!("{}:{line}: {text}: {why}", path.display())));
            }
        }
    }
    assert!(ours > 30, "{ours} commands are too few to be all");
    nothing(&wrong);
    let of = |line: &str| fault(&shell::commands(line)[0]);
    assert_eq!(of("secretrail replay logs --since 7d"), None);
    assert!(of("secretrail replay logs --sinse 7d").is_some());
    assert!(of("secretrail explain").is_some());
    assert!(of("cargo run -p secretrail-cli -- replay --nothing").is_some());
    assert!(of("infra/nothing").is_some());
}

#[test]
fn every_command_in_a_sentence_is_one() {
    let command = CommandLine::command();
    let names: Vec<&str> = command
        .get_subcommands()
        .map(clap::Command::get_name)
        .collect();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (path, document) in documents() {
        for Found { line, text } in &document.code {
            for mut words in shell::commands(text) {
                let with_option = words.len() > 1 && words[1].starts_with('-');
                if with_option && names.contains(&words[0].as_str()) {
                    words.insert(0, "secretrail".to_owned());
                }
                let fault = match words[0].as_str() {
                    "secretrail" => unknown(&words),
                    "cargo" => cargo::fault(Path::new(ROOT), &words),
                    _ => continue,
                };
                seen += 1;
                let fault = fault.into_iter();
                wrong.extend(fault.map(|why| format!("{}:{line}: {text}: {why}", path.display())));
            }
        }
    }
    assert!(seen > 30, "{seen} commands are too few to be all");
    nothing(&wrong);
    let of = |line: &str| unknown(&shell::commands(line)[0]);
    assert_eq!(of("secretrail replay -f html"), None);
    assert_eq!(of("secretrail rules explain X --rules=Y"), None);
    assert!(of("secretrail rules frobnicate").is_some());
    assert!(of("secretrail replay --nothing").is_some());
}

/// What is wrong with a row of numbers: what, number, when, command.
fn unproven(row: &str) -> Option<String> {
    let row = row.trim().trim_matches('|');
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    let [_, number, when, command] = cells[..] else {
        return Some(format!("{} cells in place of four", cells.len()));
    };
    if number.is_empty() {
        return Some("there is no number".to_owned());
    }
    let is_date = |c: (usize, char)| match c {
        (4 | 7, c) => c == '-',
        (_, c) => c.is_ascii_digit(),
    };
    if when.len() != 10 || !when.chars().enumerate().all(is_date) {
        return Some(format!("{when} is no date"));
    }
    let line = command.strip_prefix('`').and_then(|c| c.strip_suffix('`'));
    let commands = line.map(shell::commands).unwrap_or_default();
    let [words] = commands.as_slice() else {
        return Some(format!("{command} is not one command"));
    };
    fault(words)
}

#[test]
fn every_number_has_a_date_and_a_command_that_exists() {
    let text = fs::read_to_string(Path::new(ROOT).join("detector/MEASURED.md")).unwrap();
    let is_head = |line: &str| line.starts_with("| ---") || line.starts_with("| what |");
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let rows: Vec<&str> = rows.filter(|line| !is_head(line)).collect();
    assert!(rows.len() > 10, "{} rows", rows.len());
    let wrong = rows.iter().filter_map(|row| {
        let why = unproven(row)?;
        Some(format!("{row}: {why}"))
    });
    nothing(&wrong.collect::<Vec<_>>());
    let of = |command: &str| unproven(&format!("| a | 1 | 2026-11-28 | {command} |"));
    assert_eq!(of("`cargo test -p engine-tests bounds`"), None);
    assert!(of("`cargo test -p engine-tests no_such_test`").is_some());
    assert!(of("`secretrail rules tset`").is_some());
    assert!(of("`tests/fuzz/nothing 15`").is_some());
    assert!(of("by hand").is_some());
    assert!(unproven("| a | 1 | yesterday | `cargo test` |").is_some());
}

/// Runs the built command in the root of the repository, and gives what it printed.
fn run(words: &[String]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretrail-under-test"));
    command.args(words).current_dir(ROOT).env_clear();
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_command_on_the_example_logs_runs() {
    let mut runs = 0;
    let mut first = String::new();
    for (path, document) in documents() {
        for Found { text, .. } in &document.commands {
            for words in shell::commands(text) {
                let reads = words.iter().any(|word| word.starts_with("tests/examples/"));
                let Some(own) = ours(&words) else { continue };
                let writes = own.iter().any(|word| word == "-o") || text.contains('>');
                if reads && !writes {
                    let printed = run(&own[1..]);
                    runs += 1;
                    if path == Path::new("README.md") && words[0] == "cargo" {
                        first = printed;
                    }
                }
            }
        }
    }
    assert!(runs >= 2, "{runs} commands ran");
    let front = Document::read(&fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap());
    let [card] = front.shown.as_slice() else {
        panic!("the README shows one incident");
    };
    assert!(
        first.contains(card.text.trim_end()),
        "the first command of the README prints another incident:\n{first}"
    );
}
