//! `rules list` and `rules fields`: lists for people and for programs.

use secretrail_engine::{
    rule::fields::{DERIVED, DerivedField},
    rule_meta::RuleMeta,
};
use secretrail_pack::RulePack;
use serde_json::{Value, json};

use crate::{
    args::{ListFormat, RulesFieldsArgs, RulesListArgs},
    exit,
    host::{ProcessHost, RunFailure, print},
    input::rules_and_policy,
    output::{json::pretty, table},
    text::plural,
};

/// The note about raw fields, below the table of derived fields.
const RAW_FIELDS: &str = "\nRules may also use every field of the CloudTrail record under its own \
    name, as in requestParameters.secretId.\n";

pub(super) fn run(args: &RulesListArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let loaded = rules_and_policy::rules_alone(&args.files, host)?;
    let mut metas = metas(&loaded);
    // Sorted by file, not in the order of loading.
    metas.sort_by(|a, b| (&a.file, &a.title).cmp(&(&b.file, &b.title)));
    let text = match args.format {
        ListFormat::Table => {
            let rows: Vec<_> = metas.iter().map(|meta| rule_row(meta, &loaded)).collect();
            table::columns(["LEVEL", "TITLE", "ID", "FILE"], &rows) + &idle_notes(&loaded)
        }
        ListFormat::Json => pretty(&rule_values(&metas, &loaded))?,
    };
    print(host, &text)?;
    Ok(exit::DONE)
}

/// Every distinct rule that was named: a rule with `suppress` is loaded as a detection and a
/// window.
pub(super) fn metas(loaded: &RulePack) -> Vec<&RuleMeta> {
    let mut metas: Vec<&RuleMeta> = Vec::new();
    for meta in loaded.set.metas() {
        if loaded.holds(meta) && !metas.iter().any(|known| known.id == meta.id) {
            metas.push(meta);
        }
    }
    metas
}

/// Whether a rule raises no alerts itself but is referenced by a correlation.
fn feeds_another(meta: &RuleMeta, loaded: &RulePack) -> bool {
    !loaded.set.alerting().any(|known| known.id == meta.id)
}

/// Which rules never fire without an access policy, a list of networks or a database.
fn idle_notes(loaded: &RulePack) -> String {
    let set = &loaded.set;
    let policy = set.needing_policy().map(|meta| &*meta.title).collect();
    let networks = set.needing_networks().map(|meta| &*meta.title).collect();
    let geo = set.needing_geo().map(|meta| &*meta.title).collect();
    [
        idle_note(set.len(), policy, "--policy"),
        idle_note(set.len(), networks, "--networks"),
        idle_note(set.len(), geo, "--geoip"),
    ]
    .concat()
}

/// Which of the rules can fire only with an argument; nothing if all can without it.
fn idle_note(all: usize, mut needing: Vec<&str>, argument: &str) -> String {
    needing.sort_unstable();
    if needing.is_empty() {
        return String::new();
    }
    let rules = plural(needing.len() as u64, "rule");
    let titles = needing.join("\n  ");
    format!("\n{rules} of {all} can fire only with {argument}:\n  {titles}\n")
}

fn rule_row(meta: &RuleMeta, loaded: &RulePack) -> [String; 4] {
    let level = if feeds_another(meta, loaded) {
        "(feeds another)"
    } else {
        meta.level.as_str()
    };
    [
        level.to_owned(),
        meta.title.clone(),
        meta.id.clone(),
        meta.file.clone(),
    ]
}

fn rule_values(metas: &[&RuleMeta], loaded: &RulePack) -> Value {
    metas.iter().map(|meta| rule_value(meta, loaded)).collect()
}

fn rule_value(meta: &RuleMeta, loaded: &RulePack) -> Value {
    json!({
        "id": meta.id,
        "title": meta.title,
        "level": meta.level.as_str(),
        "alerts": !feeds_another(meta, loaded),
        "needs_policy": loaded.set.needing_policy().any(|needing| needing.id == meta.id),
        "needs_networks": loaded.set.needing_networks().any(|needing| needing.id == meta.id),
        "needs_geoip": loaded.set.needing_geo().any(|needing| needing.id == meta.id),
        "tags": meta.tags,
        "references": meta.references,
        "false_positives": meta.false_positives,
        "file": meta.file,
    })
}

pub(super) fn fields(args: &RulesFieldsArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let text = match args.format {
        ListFormat::Table => {
            let rows: Vec<_> = DERIVED.iter().map(field_row).collect();
            table::columns(["FIELD", "APPLIES TO", "MEANING"], &rows) + RAW_FIELDS
        }
        ListFormat::Json => pretty(&DERIVED.iter().map(field_value).collect::<Value>())?,
    };
    print(host, &text)?;
    Ok(exit::DONE)
}

fn field_row(field: &DerivedField) -> [String; 3] {
    let of = if field.access_only {
        "accesses"
    } else {
        "accesses, changes"
    };
    // The meanings are Markdown, with code between backticks.
    let meaning = field.meaning.replace('`', "");
    [field.name.to_owned(), of.to_owned(), meaning]
}

fn field_value(field: &DerivedField) -> Value {
    json!({
        "name": field.name,
        "access_only": field.access_only,
        "meaning": field.meaning,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{args::RuleFilesArgs, commands::tests::ran, host::for_tests::in_memory};

    fn values(args: &[&str]) -> Vec<Value> {
        serde_json::from_str(&ran(args).out).unwrap()
    }

    #[test]
    fn rules_are_listed_by_file_with_those_that_only_feed_others_marked() {
        let table = ran(&["rules", "list"]);
        let values = values(&["rules", "list", "-f", "json"]);
        assert_eq!(table.code, exit::DONE);
        let rows = table.out.lines().take_while(|line| !line.is_empty());
        assert_eq!(rows.count(), values.len() + 1);
        assert!(table.out.contains("can fire only with --policy"));
        let files: Vec<&str> = values.iter().filter_map(|v| v["file"].as_str()).collect();
        assert!(files.is_sorted() && files.len() == values.len());
        let feeding = values.iter().filter(|v| v["alerts"] == false).count();
        assert!(feeding > 0);
        assert_eq!(table.out.matches("(feeds another)").count(), feeding);
    }

    #[test]
    fn every_field_is_listed_in_both_forms() {
        let table = ran(&["rules", "fields"]).out;
        let values = values(&["rules", "fields", "-f", "json"]);
        assert_eq!(values.len(), DERIVED.len());
        for value in &values {
            let name = value["name"].as_str().unwrap();
            assert!(table.lines().any(|line| line.starts_with(name)), "{name}");
        }
        assert!(table.ends_with("as in requestParameters.secretId.\n"));
        assert!(!table.contains('`'));
    }

    #[test]
    fn every_rule_is_named_once_although_some_are_two_inside() {
        let pack = rules_and_policy::rules(
            &RuleFilesArgs::default(),
            &mut in_memory("2026-03-03T12:00:00Z"),
        )
        .unwrap();
        let metas = metas(&pack);
        let ids: BTreeSet<&str> = metas.iter().map(|meta| meta.id.as_str()).collect();
        assert_eq!(ids.len(), metas.len());
        // Otherwise the test would prove nothing.
        assert!(pack.set.metas().count() > metas.len());
    }
}
