//! `rules coverage`: the ATT&CK techniques of the rules, as a layer for the ATT&CK Navigator.
//!
//! Source: ATT&CK Navigator, "Layer file format", version 4.5.

use std::collections::BTreeMap;

use secretrail_engine::rule_meta::RuleMeta;
use serde_json::{Value, json};

use crate::{
    args::RulesCoverageArgs,
    exit,
    host::{ProcessHost, RunFailure, print},
    input::rules_and_policy,
    output::json::pretty,
};

pub(super) fn run(args: &RulesCoverageArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let loaded = rules_and_policy::rules_alone(&args.files, host)?;
    let layer = layer(loaded.set.alerting().map(|meta| &**meta));
    print(host, &pretty(&layer)?)?;
    Ok(exit::DONE)
}

/// The layer: each technique with the number of its rules as its score, and their titles.
fn layer<'m>(metas: impl Iterator<Item = &'m RuleMeta>) -> Value {
    let mut techniques: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for meta in metas {
        for number in meta.techniques().filter(|number| is_number(number)) {
            let technique = format!("T{number}");
            techniques.entry(technique).or_default().push(&meta.title);
        }
    }
    let most = techniques.values().map(Vec::len).max().unwrap_or(1);
    let techniques: Vec<Value> = techniques
        .into_iter()
        .map(|(technique, titles)| {
            json!({
                "techniqueID": technique,
                "score": titles.len(),
                "comment": titles.join("\n"),
                "showSubtechniques": true,
            })
        })
        .collect();
    json!({
        "name": "Secretrail",
        "versions": {"layer": "4.5"},
        "domain": "enterprise-attack",
        "description": "Techniques of the loaded rules; the score is the number of rules.",
        "techniques": techniques,
        "gradient": {"colors": ["#cfe8f5", "#1f6f9f"], "minValue": 1, "maxValue": most},
    })
}

/// Whether it is the number of a technique: a tactic may begin with the same letter.
fn is_number(text: &str) -> bool {
    let mut bytes = text.bytes();
    !text.is_empty() && bytes.all(|byte| byte.is_ascii_digit() || byte == b'.')
}

#[cfg(test)]
mod tests {
    use crate::{
        commands::tests::{ran, rule},
        exit,
    };

    #[test]
    fn every_technique_of_the_pack_has_its_rules() {
        let out = ran(&["rules", "coverage"]);
        assert_eq!(out.code, exit::DONE, "{}", out.err);
        let layer: serde_json::Value = serde_json::from_str(&out.out).unwrap();
        let techniques = layer["techniques"].as_array().unwrap();
        let one = techniques
            .iter()
            .find(|t| t["techniqueID"] == "T1555.006")
            .unwrap();
        assert!(one["score"].as_u64().unwrap() > 10);
        assert!(
            one["comment"]
                .as_str()
                .unwrap()
                .contains("Root User Requested A Secret")
        );
        assert!(
            techniques
                .iter()
                .all(|t| t["techniqueID"].as_str().unwrap().starts_with('T'))
        );
    }

    #[test]
    fn tactics_and_other_tags_are_no_techniques() {
        for (tag, expected) in [
            ("attack.t1098", Some("T1098")),
            ("attack.credential-access", None),
            ("attack.t", None),
            ("cve.2026-1", None),
        ] {
            let mut meta = (*rule("r", "T")).clone();
            meta.tags = vec![tag.to_owned()];
            let layer = super::layer(std::iter::once(&meta));
            let technique = layer["techniques"].get(0).map(|t| &t["techniqueID"]);
            assert_eq!(technique.and_then(|t| t.as_str()), expected, "{tag}");
        }
    }
}
