//! Every rule of the pack: it loads, it has both kinds of example, and they hold.

use secretrail_engine::{authoring::examples, rule::load::load};

#[test]
fn every_example_holds_and_every_alerting_rule_has_both_kinds() {
    let files = secretrail_pack::files();
    assert!(files.len() >= 10, "{} files", files.len());
    let (rules, all) =
        load(files.iter().map(|(n, t)| (n.as_str(), t.as_str()))).expect("the pack loads");
    for example in &all {
        let result = pollster::block_on(examples::run(&rules, example));
        let name = format!("{}: {}", example.rule, example.name);
        assert!(result.is_ok(), "{name}: {result:?}");
    }
    let alerting = rules
        .detections
        .iter()
        .filter(|d| d.alerts)
        .map(|d| &d.meta);
    for meta in alerting.chain(rules.windows.iter().map(|w| &w.meta)) {
        for fires in [true, false] {
            assert!(
                all.iter().any(|e| e.rule == meta.id && e.fires == fires),
                "{}: no example with fires: {fires}",
                meta.file
            );
        }
        assert!(
            !meta.false_positives.is_empty() && !meta.references.is_empty(),
            "{}",
            meta.file
        );
        assert!(
            meta.tags.iter().any(|t| t.starts_with("attack.t")),
            "{}",
            meta.file
        );
    }
}

/// The tables of rules/README.md are made from the rule files and from the fields of the engine.
/// `UPDATE_DOCS=1 cargo test -p engine-tests pack` writes them.
#[test]
fn the_readme_is_what_the_files_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../rules/README.md");
    let written = std::fs::read_to_string(path).unwrap();
    let files = secretrail_pack::files();
    let (rules, _) = load(files.iter().map(|(n, t)| (n.as_str(), t.as_str()))).unwrap();
    let mut metas: Vec<_> = rules.alerting().collect();
    metas.sort_by_key(|meta| (&meta.file, std::cmp::Reverse(meta.level)));
    let mut table = "| file | title | level | ATT&CK |\n| --- | --- | --- | --- |\n".to_owned();
    for meta in metas {
        let name = meta.file.trim_start_matches("rules/");
        let techniques = meta.techniques().map(|t| format!("T{t}"));
        let techniques = techniques.collect::<Vec<_>>().join(", ");
        table += &format!(
            "| [{name}]({name}) | {} | {} | {techniques} |\n",
            meta.title, meta.level
        );
    }
    let mut fields = "| field | meaning | only accesses |\n| --- | --- | --- |\n".to_owned();
    for field in secretrail_engine::rule::fields::DERIVED {
        let only = if field.access_only { "yes" } else { "" };
        fields += &format!("| `{}` | {} | {only} |\n", field.name, field.meaning);
    }
    let made = between(&between(&written, "rules", &table), "fields", &fields);
    let made = between(&made, "public detections", &public_detections(&files));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return std::fs::write(path, &made).unwrap();
    }
    assert_eq!(
        written, made,
        "rules/README.md is out of date: UPDATE_DOCS=1 cargo test -p engine-tests pack"
    );
}

/// Public detections on this theme, and the rules of the pack that cover them.
fn public_detections(files: &[(String, String)]) -> String {
    let mut table = "| source | detection | rules | note |\n| --- | --- | --- | --- |\n".to_owned();
    let lines = include_str!("public_detections.csv").lines().skip(1);
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let [source, detection, rules, note] = cells[..] else {
            panic!("not four cells: {line}");
        };
        let linked = rules.split_whitespace().map(|rule| {
            let is_rule = files
                .iter()
                .any(|(name, _)| *name == format!("rules/{rule}"));
            assert!(is_rule, "{rule} of {detection} is no rule");
            format!("[{rule}]({rule})")
        });
        let linked: Vec<String> = linked.collect();
        let linked = if linked.is_empty() {
            "none".to_owned()
        } else {
            linked.join(", ")
        };
        table += &format!("| {source} | {detection} | {linked} | {note} |\n");
    }
    table
}

/// The text with what stands between the marks of that name replaced.
fn between(text: &str, name: &str, with: &str) -> String {
    let (start, end) = (
        format!("<!-- {name} -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let (before, rest) = text
        .split_once(&start)
        .unwrap_or_else(|| panic!("rules/README.md lacks {start}"));
    let (_, after) = rest
        .split_once(&end)
        .unwrap_or_else(|| panic!("rules/README.md lacks {end}"));
    format!("{before}{start}\n{with}\n{end}{after}")
}
