//! Every line of every condition in the pack matters: without it, some example of the rule, or of
//! one that builds on it, does not hold any more.

use secretrail_engine::{authoring::examples, rule::load::load};

/// Blocks in which every line is a condition, and the line elsewhere that is one.
const BLOCKS: [&str; 2] = ["detection:", "correlation:"];
const LINE: &str = "  rate_multiplier:";

#[test]
fn no_condition_can_be_left_out() {
    let files = secretrail_pack::files();
    let mut survivors = Vec::new();
    let mut mutants = 0;
    for (file, text) in &files {
        let lines: Vec<&str> = text.lines().collect();
        let others = related(&files, file);
        for (from, to) in conditions(text) {
            mutants += 1;
            let mutant = [&lines[..from], &lines[to..]].concat().join("\n");
            let mut mutated = others.clone();
            mutated.push((file.clone(), mutant));
            if all_hold(&mutated, text) {
                survivors.push(format!("{file}:{}: {}", from + 1, lines[from].trim()));
            }
        }
    }
    assert!(mutants > 200, "{mutants} conditions");
    assert!(
        survivors.is_empty(),
        "examples hold without these lines:\n{}",
        survivors.join("\n")
    );
}

/// The other files that build on this one or on which it builds, directly or through others. The
/// rest cannot notice a change, and is not loaded hundreds of times.
fn related(files: &[(String, String)], file: &str) -> Vec<(String, String)> {
    let mut found: Vec<&(String, String)> = files.iter().filter(|(name, _)| name == file).collect();
    assert_eq!(found.len(), 1, "{file}");
    loop {
        let more: Vec<_> = files
            .iter()
            .filter(|one| !found.contains(one))
            .filter(|(_, one)| {
                found
                    .iter()
                    .any(|(_, all)| builds(one, all) || builds(all, one))
            })
            .collect();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    found
        .into_iter()
        .filter(|(name, _)| name != file)
        .cloned()
        .collect()
}

/// Whether a rule of the first text builds on one of the second.
fn builds(text: &str, on: &str) -> bool {
    let mut names = on.lines().filter_map(|line| line.strip_prefix("name: "));
    names.any(|name| text.contains(&format!("    - {name}\n")))
}

/// First and last line, with what is nested below, of every condition.
fn conditions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut found = Vec::new();
    let mut inside = false;
    for (index, line) in lines.iter().enumerate() {
        if depth(line) == 0 {
            inside = BLOCKS.iter().any(|block| line.starts_with(block));
        }
        if (inside && depth(line) > 0) || line.starts_with(LINE) {
            let below = lines[index + 1..]
                .iter()
                .take_while(|l| depth(l) > depth(line))
                .count();
            found.push((index, index + 1 + below));
        }
    }
    found
}

/// Whether the rules load and the examples hold of every rule in the original text, and of those
/// that build on one.
fn all_hold(files: &[(String, String)], original: &str) -> bool {
    let Ok((rules, all)) = load(files.iter().map(|(n, t)| (n.as_str(), t.as_str()))) else {
        return false;
    };
    let dependent = files.iter().filter(|(_, text)| builds(text, original));
    let mut concerned = ids(original);
    concerned.extend(dependent.flat_map(|(_, text)| ids(text)));
    all.iter()
        .filter(|example| concerned.contains(&example.rule.as_str()))
        .all(|example| pollster::block_on(examples::run(&rules, example)).is_ok())
}

/// The ids of the rules in a text.
fn ids(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .collect()
}
