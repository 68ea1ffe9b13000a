//! Words that the project no longer uses, wherever people read: Markdown, help, messages, comments,
//! rules, templates and the report.

use std::{
    fs,
    path::{Path, PathBuf},
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Each with the word to use.
const LEFT: [(&str, &str); 33] = [
    ("loose end", "pending event"),
    ("loose ends", "pending events"),
    ("scene", "correlation group"),
    ("scenes", "correlation groups"),
    ("key use", "KMS Decrypt"),
    ("key uses", "KMS Decrypts"),
    ("horizon", "allowed lateness"),
    ("told", "reported"),
    ("at sight", "early"),
    ("settle", "finalise"),
    ("settles", "finalises"),
    ("settled", "final"),
    ("fleet", "backfill"),
    ("observation part", "extract file"),
    ("observation parts", "extract files"),
    ("times usual", "rate multiplier"),
    ("usual per hour", "baseline per hour"),
    ("handed back", "returned for retry"),
    ("poison", "failed"),
    ("harvest", "scan result"),
    ("sieve", "prefilter"),
    ("firing", "window match"),
    ("firings", "window matches"),
    ("neutralise", "sanitise"),
    ("neutralised", "sanitised"),
    ("taker", "assignment"),
    ("fate", "status"),
    ("fates", "statuses"),
    ("face", "front end"),
    ("faces", "front ends"),
    ("a fault of ours", "an internal error"),
    ("came again", "duplicates"),
    ("passed over", "skipped"),
];

/// Folders and endings of what people read. Tests may quote what they test.
const READ: [(&str, &[&str]); 6] = [
    ("", &["md"]),
    ("detector", &["rs", "md", "js", "html", "toml"]),
    ("rules", &["yml", "md"]),
    ("infra", &["yaml", "tf", "md"]),
    ("tests", &["md"]),
    (".github", &["yml", "md"]),
];

/// Files below a folder with one of these endings. Folders of tools, and of tests, are left out.
fn files(folder: &Path, endings: &[&str], deep: bool, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if deep && !["target", "node_modules", "tests"].contains(&&*name) {
                files(&path, endings, deep, found);
            }
        } else if endings.iter().any(|end| name.ends_with(&format!(".{end}"))) {
            found.push(path);
        }
    }
}

/// The words that left and stand in a line, as words of their own.
fn words_that_left(line: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let line = line.to_lowercase();
    LEFT.into_iter().filter(move |(word, _)| {
        line.match_indices(word).any(|(at, _)| {
            let around = [
                line[..at].chars().last(),
                line[at + word.len()..].chars().next(),
            ];
            !around
                .iter()
                .flatten()
                .any(|c| c.is_alphanumeric() || "_:!(".contains(*c))
        })
    })
}

#[test]
fn words_that_left_stay_away() {
    let mut read = Vec::new();
    for (folder, endings) in READ {
        files(
            &Path::new(ROOT).join(folder),
            endings,
            !folder.is_empty(),
            &mut read,
        );
    }
    assert!(read.len() > 200, "what people read is somewhere else");
    let mut wrong = Vec::new();
    for path in read {
        let text = fs::read_to_string(&path).unwrap();
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in (1..).zip(product.lines()) {
            for (word, instead) in words_that_left(line) {
                let path = path.display();
                wrong.push(format!("{path}:{number}: `{word}`: write `{instead}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn a_word_is_found_alone_and_in_any_case() {
    let found = |line| {
        words_that_left(line)
            .map(|(word, _)| word)
            .collect::<Vec<_>>()
    };
    assert_eq!(found("A Loose End, and its fate."), ["loose end", "fate"]);
    assert!(found("surface, fated, scenery, std::fate, fate(x)").is_empty());
}
