//! Copies of a rule. Collections repeat a rule in the file of each correlation that needs it.

use rsigma_parser::SigmaRule;

use crate::rule::load::build::is_called;
use crate::rule::load::parsed::{ParsedCorrelation, ParsedRule};

/// Keeps one of several copies of a rule, and tells of the others. Other rules that share an id are
/// left, and refused later.
pub(super) fn drop_copies<'a>(
    rules: Vec<ParsedRule<'a>>,
    correlations: &[ParsedCorrelation<'_>],
) -> (Vec<ParsedRule<'a>>, Vec<String>) {
    let mut warnings = Vec::new();
    let mut kept: Vec<ParsedRule<'a>> = Vec::new();
    for rule in rules {
        let first = kept.iter().find(|known| {
            says_the_same(&known.rule, &rule.rule) && is_needed(known, &rule, correlations)
        });
        match first {
            Some(first) => warnings.push(format!(
                "{}: `{}` is a copy of the rule in {}, and is read once",
                rule.source.file, rule.rule.title, first.source.file
            )),
            None => kept.push(rule),
        }
    }
    (kept, warnings)
}

/// Whether a correlation in the file of one of two copies names the rule. Only then is it repeated
/// on purpose; anywhere else a copied id is a mistake.
fn is_needed(
    known: &ParsedRule<'_>,
    rule: &ParsedRule<'_>,
    correlations: &[ParsedCorrelation<'_>],
) -> bool {
    let files = [known.source.index, rule.source.index];
    correlations
        .iter()
        .filter(|correlation| files.contains(&correlation.source.index))
        .flat_map(|correlation| &correlation.rule.rules)
        .any(|name| is_called(&rule.rule, name))
}

fn says_the_same(one: &SigmaRule, other: &SigmaRule) -> bool {
    one.id.is_some()
        && (&one.id, &one.title, &one.level) == (&other.id, &other.title, &other.level)
        && one.detection.named == other.detection.named
        // These types of the parser cannot be compared, but they can be written.
        && format!("{:?}", (&one.logsource, &one.detection.conditions))
            == format!("{:?}", (&other.logsource, &other.detection.conditions))
}

#[cfg(test)]
mod tests {
    use crate::rule::load::load;

    fn rule(outcome: &str) -> String {
        format!(
            "title: T
id: t
logsource: {{product: aws, category: secret_access}}
detection: {{sel: {{access.outcome: {outcome}}}, condition: sel}}
"
        )
    }

    const CORRELATION: &str = "---
title: C
id: c
correlation:
    type: event_count
    rules: [t]
    group-by: [principal.arn]
    timespan: 1h
    condition: {gte: 2}
";

    #[test]
    fn a_copy_that_a_correlation_brings_along_is_read_once() {
        let (alone, with) = (rule("denied"), rule("denied") + CORRELATION);
        let (rules, _) = load([("a.yml", &*alone), ("b.yml", &*with)]).unwrap();
        assert_eq!(rules.detections.len(), 1);
        assert_eq!(
            rules.warnings,
            ["b.yml: `T` is a copy of the rule in a.yml, and is read once"]
        );
    }

    #[test]
    fn what_only_shares_the_id_or_was_copied_by_mistake_is_refused() {
        let (alone, with) = (rule("failed"), rule("denied") + CORRELATION);
        assert!(load([("a.yml", &*alone), ("b.yml", &*with)]).is_err());
        let errors = load([("a.yml", &*alone), ("b.yml", &*alone)]).unwrap_err();
        assert!(
            errors[0]
                .message
                .contains("is also the id of a rule in a.yml")
        );
    }
}
