//! Every rule of the pack: it loads, it has both kinds of example, and they hold.

use secretrail_engine::rule::examples;
use secretrail_engine::rule::load::load;

#[test]
fn every_example_holds_and_every_alerting_rule_has_both_kinds() {
    let files = secretrail_cli::load::pack();
    assert!(files.len() >= 10, "{} files", files.len());
    let (rules, all) = load(files.iter().map(|(n, t)| (n.as_str(), t.as_str()))).expect("the pack loads");
    for example in &all {
        let result = pollster::block_on(examples::run(&rules, example));
        assert_eq!(result, Ok(()), "{}: {}", example.rule, example.name);
    }
    let alerting = rules.detections.iter().filter(|d| d.alerts).map(|d| &d.meta);
    for meta in alerting.chain(rules.windows.iter().map(|w| &w.meta)) {
        for fires in [true, false] {
            assert!(
                all.iter().any(|e| e.rule == meta.id && e.fires == fires),
                "{}: no example with fires: {fires}",
                meta.file
            );
        }
        assert!(!meta.false_positives.is_empty() && !meta.references.is_empty(), "{}", meta.file);
        assert!(meta.tags.iter().any(|t| t.starts_with("attack.t")), "{}", meta.file);
    }
}

#[test]
fn the_readme_lists_every_rule_and_every_field() {
    let readme = include_str!("../rules/README.md");
    for (file, text) in secretrail_cli::load::pack() {
        let name = file.trim_start_matches("rules/");
        let title = text.lines().find_map(|l| l.strip_prefix("title: ")).unwrap();
        let level = text.lines().find_map(|l| l.strip_prefix("level: ")).unwrap();
        let row = format!("| [{name}]({name}) | {title} | {level} |");
        assert!(readme.contains(&row), "rules/README.md lacks the row\n{row}");
    }
    for field in secretrail_engine::rule::fields::DERIVED {
        let only = if field.access_only { "yes" } else { "" };
        let row = format!("| `{}` | {} | {only} |", field.name, field.meaning);
        assert!(readme.contains(&row), "rules/README.md lacks the row\n{row}");
    }
}
