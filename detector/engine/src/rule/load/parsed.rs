//! The rules, correlations and filters that files hold, as the Sigma engine reads them.

use rsigma_eval::{CompiledRule, compile_rule};
use rsigma_parser::{CorrelationRule, FilterRule, SigmaCollection, SigmaRule, parse_sigma_yaml};

use crate::rule::fault::{LoadError, RuleFileText, quoted};
use crate::rule::vars::{Placeholders, expand};

/// A rule about single events.
pub(super) struct ParsedRule<'a> {
    pub(super) source: RuleFileText<'a>,
    pub(super) rule: SigmaRule,
    pub(super) compiled: CompiledRule,
}

/// A rule about many events.
pub(super) struct ParsedCorrelation<'a> {
    pub(super) source: RuleFileText<'a>,
    pub(super) rule: CorrelationRule,
}

/// A filter: what other rules are not to match.
pub(super) struct ParsedFilter<'a> {
    pub(super) source: RuleFileText<'a>,
    pub(super) rule: FilterRule,
}

/// What was read, file by file.
#[derive(Default)]
pub(super) struct ParsedFiles<'a> {
    pub(super) rules: Vec<ParsedRule<'a>>,
    pub(super) correlations: Vec<ParsedCorrelation<'a>>,
    pub(super) filters: Vec<ParsedFilter<'a>>,
    /// The files that could be parsed.
    pub(super) sources: Vec<RuleFileText<'a>>,
    pub(super) errors: Vec<LoadError>,
}

impl<'a> ParsedFiles<'a> {
    /// Adds what a file holds. What is wrong in it is noted; the rest of it is read nevertheless,
    /// so that one run tells all the faults.
    pub(super) fn read(&mut self, source: RuleFileText<'a>, vars: &Placeholders) {
        let parsed = match parse_sigma_yaml(source.text) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.errors.push(source.parser_error(&error.to_string()));
                return;
            }
        };
        if parsed.is_empty() && parsed.errors.is_empty() {
            let message = "holds no Sigma rule; remove it or write one";
            self.errors.push(source.error("", "", "file", message));
        }
        for text in &parsed.errors {
            self.errors.push(source.parser_error(text));
        }
        self.add(parsed, source, vars);
        self.sources.push(source);
    }

    fn add(&mut self, parsed: SigmaCollection, source: RuleFileText<'a>, vars: &Placeholders) {
        for rule in parsed.rules {
            match compiled(rule, source, vars) {
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
    source: RuleFileText<'a>,
    vars: &Placeholders,
) -> Result<ParsedRule<'a>, LoadError> {
    // Placeholders are the concern of Sigma pipelines, which work on rules before they are
    // compiled.
    expand(&mut rule, vars).map_err(|missing| {
        let placeholder = format!("%{}%", missing.name);
        source.error(&placeholder, &rule.title, "detection", missing.to_string())
    })?;
    match compile_rule(&rule) {
        Ok(compiled) => Ok(ParsedRule {
            source,
            rule,
            compiled,
        }),
        Err(error) => {
            let text = error.to_string();
            let message = format!("{text}; see the Sigma specification, rules");
            Err(source.error(quoted(&text), &rule.title, "detection", message))
        }
    }
}
