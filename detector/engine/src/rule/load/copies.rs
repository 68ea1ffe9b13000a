//! Copies of a rule. Collections repeat a rule in the file of each correlation that needs it.

use rsigma_parser::SigmaRule;

use crate::rule::load::{
    build::is_called,
    parsed::{ParsedCorrelation, ParsedRule},
};

/// Keeps one of several copies of a rule, and tells of the others. Other rules that share an id are
/// left, and refused later.
pub(super) fn drop_copies<'a>(
    rules: Vec<ParsedRule<'a>>,
    correlations: &[ParsedCorrelation<'_>],
) -> (Vec<ParsedRule<'a>>, Vec<String>) {
    let mut warnings = Vec::new();
    let mut kept: Vec<ParsedRule<'a>> = Vec::new();
    for rule in rules {
        let first = kept.iter_mut().find(|known| {
            known.source.says_the_same(&rule.source)
                || says_the_same(&known.rule, &rule.rule) && is_needed(known, &rule, correlations)
        });
        match first {
            Some(first) => {
                warnings.push(rule.source.is_a_copy(&rule.rule.title, &first.source));
                // The other copy is only there for its correlation.
                let is_brought = [&*first, &rule].map(|copy| is_brought(copy, correlations));
                first.stands_alone |= is_brought[0] != is_brought[1];
            }
            None => kept.push(rule),
        }
    }
    (kept, warnings)
}

/// Whether a correlation in the file of one of two copies names the rule. Only then may the texts
/// differ; anywhere else a copied id is a mistake.
fn is_needed(
    known: &ParsedRule<'_>,
    rule: &ParsedRule<'_>,
    correlations: &[ParsedCorrelation<'_>],
) -> bool {
    is_brought(known, correlations) || is_brought(rule, correlations)
}

/// Whether a correlation in its own file names the rule.
fn is_brought(rule: &ParsedRule<'_>, correlations: &[ParsedCorrelation<'_>]) -> bool {
    correlations
        .iter()
        .filter(|correlation| correlation.source.index == rule.source.index)
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
    fn a_copy_beside_a_correlation_does_not_silence_the_rule_that_stands_alone() {
        let alerting = |files: &[&str]| {
            let files = files.iter().enumerate().map(|(index, text)| {
                let name: &'static str = ["a.yml", "b.yml", "c.yml"][index];
                (name, *text)
            });
            load(files).unwrap().0.alerting().count()
        };
        let (alone, with) = (rule("denied"), rule("denied") + CORRELATION);
        assert_eq!(alerting(&[&alone, &with]), 2);
        assert_eq!(alerting(&[&with, &alone]), 2);
        assert_eq!(alerting(&[&with]), 1);
        assert_eq!(alerting(&[&with, &with]), 1);
        assert_eq!(alerting(&[&alone, CORRELATION]), 1);
        assert_eq!(alerting(&[&alone, &alone, CORRELATION]), 1);
    }

    #[test]
    fn the_same_text_in_several_files_is_read_once() {
        let with = rule("denied") + CORRELATION;
        let (rules, _) = load([("a.yml", &*with), ("b.yml", &*with)]).unwrap();
        assert_eq!((rules.detections.len(), rules.windows.len()), (1, 1));
        assert_eq!(rules.warnings.len(), 2);
    }

    #[test]
    fn what_only_shares_the_id_is_refused() {
        let (alone, with) = (rule("failed"), rule("denied") + CORRELATION);
        assert!(load([("a.yml", &*alone), ("b.yml", &*with)]).is_err());
        let other = alone.replace("title: T", "title: U");
        let errors = load([("a.yml", &*alone), ("b.yml", &*other)]).unwrap_err();
        assert!(
            errors[0]
                .message
                .contains("is also the id of a rule in a.yml")
        );
    }
}
