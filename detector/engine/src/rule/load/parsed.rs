//! The rules, correlations and filters that files hold, as the Sigma engine reads them.

use rsigma_eval::{CompiledRule, EvalError, compile_rule};
use rsigma_parser::{CorrelationRule, FilterRule, SigmaCollection, SigmaRule};

use crate::rule::{
    fault::LoadError,
    load::{lists::without_long_lists, meaning::as_specified},
    source::{self, ParsedDocument, RuleDocument},
    values::ValueLists,
    vars::{Placeholders, expand},
};

/// A rule about single events.
pub(super) struct ParsedRule<'a> {
    pub(super) source: RuleDocument<'a>,
    pub(super) rule: SigmaRule,
    pub(super) compiled: CompiledRule,
    /// Whether it raises alerts of its own although a correlation names it: one of its copies
    /// stands in a file without the correlation.
    pub(super) stands_alone: bool,
}

/// A rule about many events.
pub(super) struct ParsedCorrelation<'a> {
    pub(super) source: RuleDocument<'a>,
    pub(super) rule: CorrelationRule,
}

/// A filter: what other rules are not to match.
pub(super) struct ParsedFilter<'a> {
    pub(super) source: RuleDocument<'a>,
    pub(super) rule: FilterRule,
}

/// What was read, file by file.
#[derive(Default)]
pub(super) struct ParsedFiles<'a> {
    pub(super) rules: Vec<ParsedRule<'a>>,
    pub(super) correlations: Vec<ParsedCorrelation<'a>>,
    pub(super) filters: Vec<ParsedFilter<'a>>,
    /// The files that could be parsed.
    pub(super) sources: Vec<RuleDocument<'a>>,
    /// The long lists of the rules.
    pub(super) lists: ValueLists,
    pub(super) errors: Vec<LoadError>,
}

impl<'a> ParsedFiles<'a> {
    /// Adds what a file holds. Errors are noted and the rest of the file is read nevertheless, so
    /// that one run reports all errors.
    pub(super) fn read(&mut self, file: &'a str, text: &'a str, index: usize, vars: &Placeholders) {
        for ParsedDocument { source, parsed } in source::parse(file, text, index) {
            if source.is_empty() {
                let message = "holds no Sigma rule; write one, or remove the file";
                self.errors.push(source.error("", "file", message));
                continue;
            }
            for text in &parsed.errors {
                self.errors.push(source.sigma_error(text, "rule"));
            }
            self.add(parsed, source, vars);
            self.sources.push(source);
        }
    }

    /// Drops correlations and filters whose text has stood in a file before, and tells of them.
    pub(super) fn drop_repeated(&mut self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut known: Vec<RuleDocument<'_>> = Vec::new();
        let mut is_new = |source: RuleDocument<'a>, title: &str| {
            let first = known.iter().find(|known| known.says_the_same(&source));
            if let Some(first) = first {
                warnings.push(source.is_a_copy(title, first));
                return false;
            }
            known.push(source);
            true
        };
        self.correlations
            .retain(|parsed| is_new(parsed.source, &parsed.rule.title));
        self.filters
            .retain(|parsed| is_new(parsed.source, &parsed.rule.title));
        warnings
    }

    fn add(&mut self, parsed: SigmaCollection, source: RuleDocument<'a>, vars: &Placeholders) {
        for rule in parsed.rules {
            match compiled(rule, source, vars, &mut self.lists) {
                Ok(rule) => self.rules.push(rule),
                Err(error) => self.errors.push(error),
            }
        }
        for rule in parsed.correlations {
            self.correlations.push(ParsedCorrelation { source, rule });
        }
        for rule in parsed.filters {
            self.filters.push(ParsedFilter { source, rule });
        }
    }
}

/// A rule with the values of its placeholders, ready to match.
fn compiled<'a>(
    mut rule: SigmaRule,
    source: RuleDocument<'a>,
    vars: &Placeholders,
    lists: &mut ValueLists,
) -> Result<ParsedRule<'a>, LoadError> {
    // Placeholders are the concern of Sigma pipelines, which work on rules before they are
    // compiled.
    expand(&mut rule, vars).map_err(|missing| {
        let placeholder = format!("%{}%", missing.name);
        source.error(&placeholder, "detection", missing.to_string())
    })?;
    as_specified(&mut rule.detection)
        .map_err(|(word, message)| source.error(&word, "detection", message))?;
    match compiled_with_lists(&rule, lists) {
        Ok(compiled) => Ok(ParsedRule {
            source,
            rule,
            compiled,
            stands_alone: false,
        }),
        Err(error) => Err(source.sigma_error(&error.to_string(), "detection")),
    }
}

/// A rule for the Sigma engine, and its long lists beside it.
fn compiled_with_lists(
    rule: &SigmaRule,
    lists: &mut ValueLists,
) -> Result<CompiledRule, EvalError> {
    match without_long_lists(&rule.detection, lists)? {
        None => compile_rule(rule),
        Some(detection) => compile_rule(&SigmaRule {
            detection,
            ..rule.clone()
        }),
    }
}
