//! `rules coverage`: the ATT&CK techniques of the rules, as a layer for the ATT&CK Navigator.
//!
//! Source: ATT&CK Navigator, "Layer file format", version 4.5.

use std::collections::BTreeMap;

use secretrail_engine::rule_meta::RuleMeta;
use secretrail_engine::sanitize;
use serde_json::{Value, json};

use crate::args::RulesCoverageArgs;
use crate::exit;
use crate::host::{ProcessHost, RunFailure, print};
use crate::input::rules_and_policy;

pub(super) fn run(args: &RulesCoverageArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let loaded = rules_and_policy::rules(&args.files, host)?;
    let layer = layer(loaded.set.alerting().map(|meta| &**meta));
    let text = serde_json::to_string_pretty(&layer)
        .map_err(|error| RunFailure::Internal(error.to_string()))?;
    print(host, &(sanitize::json(&text).into_owned() + "\n"))?;
    Ok(exit::DONE)
}

/// The layer: each technique with the number of its rules as its score, and their titles.
fn layer<'m>(metas: impl Iterator<Item = &'m RuleMeta>) -> Value {
    let mut techniques: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for meta in metas {
        for technique in meta.tags.iter().filter_map(|tag| technique(tag)) {
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

/// `T1555.006` of the tag `attack.t1555.006`; `None` for other tags.
fn technique(tag: &str) -> Option<String> {
    let name = tag.strip_prefix("attack.")?;
    let number = name.strip_prefix('t')?;
    let is_number = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    (is_number && !number.is_empty()).then(|| name.to_uppercase())
}

#[cfg(test)]
mod tests {
    use crate::commands::tests::ran;
    use crate::exit;

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
            assert_eq!(super::technique(tag).as_deref(), expected, "{tag}");
        }
    }
}
