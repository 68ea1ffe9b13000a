//! Our own block in a rule, `secretrail:`, which other tools ignore.

use std::collections::HashMap;

use serde::Deserialize;

use crate::{
    rule::{
        example::{ExampleFile, RuleExample},
        fault::{LoadError, named_word},
        judged::AskedJudgement,
        source::RuleDocument,
    },
    rule_meta::timespan_secs,
};

/// A rule that is in the set.
pub(super) struct AddedRule {
    pub(super) id: String,
    pub(super) block: ExtensionBlock,
}

/// What Sigma has no word for. Every key may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct ExtensionBlock {
    #[serde(rename = "next_steps")]
    pub(super) next_steps: Vec<String>,
    suppress: Option<String>,
    pub(super) group_by: Vec<String>,
    /// Id or name of a correlation over the rule: its alert says what those of the rule would.
    pub(super) covered_by: Option<String>,
    #[serde(rename = "rate_multiplier")]
    pub(super) rate_multiplier: Option<f64>,
    pub(super) judge: Option<AskedJudgement>,
    examples: Vec<ExampleFile>,
}

impl ExtensionBlock {
    /// The block among the attributes of a rule that the Sigma parser left alone.
    pub(super) fn read(
        source: &RuleDocument<'_>,
        attributes: &HashMap<String, yaml_serde::Value>,
    ) -> Result<Self, LoadError> {
        let Some(value) = attributes.get("secretrail") else {
            return Ok(Self::default());
        };
        let block = Self::deserialize(value).map_err(|error: yaml_serde::Error| {
            let text = error.to_string();
            source.error(named_word(&text), "secretrail", text.as_str())
        })?;
        let is_rate = |times: f64| times.is_finite() && times > 0.0;
        if block.rate_multiplier.is_some_and(|times| !is_rate(times)) {
            let message = "is not a positive number; \
                           write how many times `baseline_per_hour` is too much, \
                           as in `rate_multiplier: 5`";
            return Err(source.error("rate_multiplier", "secretrail.rate_multiplier", message));
        }
        Ok(block)
    }

    /// `suppress` in seconds; `None` where alerts are not held back.
    pub(super) fn suppress_secs(
        &self,
        source: &RuleDocument<'_>,
    ) -> Result<Option<i64>, LoadError> {
        let Some(text) = self.suppress.as_deref() else {
            return Ok(None);
        };
        let secs = timespan_secs(text).ok_or_else(|| {
            let message =
                format!("`{text}` is not a timespan; write a number and s, m, h or d, as in `1h`");
            source.error("suppress", "secretrail.suppress", message)
        })?;
        Ok(Some(secs))
    }

    /// The examples of the rule with this id, and what is wrong with some of them.
    pub(super) fn examples(
        &self,
        source: &RuleDocument<'_>,
        rule: &str,
    ) -> (Vec<RuleExample>, Vec<LoadError>) {
        let mut examples = Vec::new();
        let mut errors = Vec::new();
        for example in &self.examples {
            match example.read(rule) {
                Ok(example) => examples.push(example),
                Err(fault) => errors.push(source.error(
                    &example.name,
                    "secretrail.examples",
                    format!("`{}`: {fault}", example.name),
                )),
            }
        }
        (examples, errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(block: &str) -> Result<ExtensionBlock, LoadError> {
        let text = format!("title: T\nsecretrail:\n{block}\n");
        let attributes: HashMap<String, yaml_serde::Value> = yaml_serde::from_str(&text).unwrap();
        let source = RuleDocument::all("r.yml", &text, 0)[0];
        let block = ExtensionBlock::read(&source, &attributes)?;
        block.suppress_secs(&source)?;
        Ok(block)
    }

    #[test]
    fn an_unknown_key_is_refused_at_its_line() {
        let error = read("  suppress: 1h\n  supress: 2h").unwrap_err();
        assert_eq!((error.line, &*error.field), (4, "secretrail"));
        assert!(
            error.message.contains("expected one of `next_steps`"),
            "{error}"
        );
    }

    #[test]
    fn a_rate_is_a_positive_number_and_a_span_is_one_of_sigma() {
        assert_eq!(
            read("  rate_multiplier: 2.5").unwrap().rate_multiplier,
            Some(2.5)
        );
        for wrong in ["0", "-1", ".nan", ".inf"] {
            let error = read(&format!("  rate_multiplier: {wrong}")).unwrap_err();
            assert_eq!(error.field, "secretrail.rate_multiplier", "{wrong}");
        }
        let error = read("  suppress: soon").unwrap_err();
        assert_eq!((error.line, &*error.field), (3, "secretrail.suppress"));
    }
}
