//! Every line of every condition in the pack matters: without it, some example of the rule, or of one that builds on it,
//! does not hold any more.

use secretrail_engine::authoring::examples;
use secretrail_engine::rule::load::load;

/// Blocks in which every line is a condition, and the line elsewhere that is one.
const BLOCKS: [&str; 2] = ["detection:", "correlation:"];
const LINE: &str = "  times_usual:";

#[test]
fn no_condition_can_be_left_out() {
    let files = secretrail_pack::files();
    let mut survivors = Vec::new();
    let mut mutants = 0;
    for (index, (file, text)) in files.iter().enumerate() {
        for (from, to) in conditions(text) {
            mutants += 1;
            let lines: Vec<&str> = text.lines().collect();
            let mutant = [&lines[..from], &lines[to..]].concat().join("\n");
            let mut mutated = files.clone();
            mutated[index].1 = mutant;
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

/// Whether the rules load and the examples hold of every rule in the original text, and of those that build on one.
fn all_hold(files: &[(String, String)], original: &str) -> bool {
    let Ok((rules, all)) = load(files.iter().map(|(n, t)| (n.as_str(), t.as_str()))) else {
        return false;
    };
    let words = |key: &str| -> Vec<&str> {
        original
            .lines()
            .filter_map(|l| l.strip_prefix(key))
            .collect()
    };
    let (ids, names) = (words("id: "), words("name: "));
    let builds_on = |text: &str| {
        names
            .iter()
            .any(|name| text.contains(&format!("    - {name}\n")))
    };
    let dependent: Vec<&str> = files
        .iter()
        .filter(|(_, text)| builds_on(text))
        .flat_map(|(_, text)| text.lines().filter_map(|l| l.strip_prefix("id: ")))
        .collect();
    let concerned = all
        .iter()
        .filter(|e| ids.contains(&e.rule.as_str()) || dependent.contains(&e.rule.as_str()));
    concerned
        .into_iter()
        .all(|example| pollster::block_on(examples::run(&rules, example)).is_ok())
}
