//! Faults of style in rule files: those that the Sigma specification's linter knows, and those that
//! only this engine can see.

use std::collections::BTreeSet;
use std::fmt;

use rsigma_parser::lint::{Severity as Weight, lint_yaml_str};
use rsigma_parser::{ConditionExpr, Quantifier, SelectorPattern, SigmaRule, parse_sigma_yaml};

use crate::glob::Glob;
use crate::rule::Target;
use crate::rule::fields;
use crate::rule::load::{LoadError, load_with, target};
use crate::rule::needs::Uses;
use crate::rule::vars::Vars;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A hint of style.
    Info,
    /// Worth mending: the rule works, and is not what its author thinks or what its reader needs.
    Warning,
    /// The rule cannot be used.
    Error,
}

impl Severity {
    /// The name in output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something to mend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// File.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// How much it matters.
    pub severity: Severity,
    /// Name of the check.
    pub check: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}: {} [{}]",
            self.file,
            self.line,
            self.severity.as_str(),
            self.message,
            self.check
        )
    }
}

impl From<LoadError> for Finding {
    fn from(error: LoadError) -> Self {
        let message = format!("{}: {}", error.field, error.message);
        Self {
            file: error.file,
            line: error.line,
            severity: Severity::Error,
            check: "load".to_owned(),
            message,
        }
    }
}

/// Every finding in the files, by file and line.
#[must_use]
pub fn lint<'a>(files: &[(&'a str, &'a str)], vars: &Vars) -> Vec<Finding> {
    let mut findings: Vec<Finding> = match load_with(files.iter().copied(), vars) {
        Ok((rules, _)) => rules
            .warnings
            .iter()
            .map(|warning| {
                let (file, message) = warning.split_once(": ").unwrap_or(("", warning));
                finding(file, 1, Severity::Warning, "copy", message.to_owned())
            })
            .collect(),
        Err(errors) => errors.into_iter().map(Finding::from).collect(),
    };
    for (file, text) in files {
        findings.extend(by_specification(file, text));
        findings.extend(by_engine(file, text));
    }
    findings.sort();
    findings.dedup();
    findings
}

fn finding(file: &str, line: usize, severity: Severity, check: &str, message: String) -> Finding {
    Finding {
        file: file.to_owned(),
        line,
        severity,
        check: check.to_owned(),
        message,
    }
}

fn by_specification(file: &str, text: &str) -> Vec<Finding> {
    let found = lint_yaml_str(text).into_iter().map(|warning| {
        let severity = match warning.severity {
            Weight::Error => Severity::Error,
            Weight::Warning => Severity::Warning,
            Weight::Info | Weight::Hint => Severity::Info,
        };
        let line = warning.span.map_or(1, |span| span.start_line as usize + 1);
        finding(
            file,
            line,
            severity,
            &warning.rule.to_string(),
            warning.message,
        )
    });
    found.collect()
}

fn by_engine(file: &str, text: &str) -> Vec<Finding> {
    let Ok(parsed) = parse_sigma_yaml(text) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let line_of = |title: &str, word: &str| {
        let mut lines = text.lines().enumerate();
        let start = lines
            .find(|(_, l)| l.contains(title))
            .map_or(0, |(index, _)| index);
        let mut after = text.lines().enumerate().skip(start);
        after
            .find(|(_, l)| l.contains(word))
            .map_or(start, |(index, _)| index)
            + 1
    };
    for rule in &parsed.rules {
        for name in unreachable(rule) {
            let message = format!(
                "no condition asks for the selection `{name}`; name it in `condition` or remove it"
            );
            findings.push(finding(
                file,
                line_of(&rule.title, &format!("{name}:")),
                Severity::Warning,
                "unreachable_selection",
                message,
            ));
        }
        if target(rule) == Ok(Target::Record) {
            let mut uses = Uses::default();
            rule.detection
                .named
                .values()
                .for_each(|selection| uses.selection(selection));
            for field in uses.fields.iter().filter(|field| !fields::is_raw(field)) {
                let remedy = fields::check(field, Target::Access)
                    .err()
                    .unwrap_or_else(|| {
                        "it is a field of accesses: use `category: secret_access`".to_owned()
                    });
                let message = format!("CloudTrail records have no field `{field}`; {remedy}");
                findings.push(finding(
                    file,
                    line_of(&rule.title, field),
                    Severity::Warning,
                    "no_such_field",
                    message,
                ));
            }
        }
    }
    let feeding: BTreeSet<&String> = parsed
        .correlations
        .iter()
        .filter(|c| !c.generate)
        .flat_map(|c| &c.rules)
        .collect();
    let alone = parsed
        .rules
        .iter()
        .filter(|r| !r.id.iter().chain(&r.name).any(|n| feeding.contains(n)));
    let rules = alone.map(|r| (&r.title, &r.custom_attributes, r.falsepositives.is_empty()));
    let correlations = parsed
        .correlations
        .iter()
        .map(|c| (&c.title, &c.custom_attributes, c.falsepositives.is_empty()));
    for (title, attributes, no_false_positives) in rules.chain(correlations) {
        let examples = attributes
            .get("secretrail")
            .and_then(|block| block.get("examples"));
        let has = |fires: bool| {
            let all = examples.and_then(|e| e.as_sequence()).into_iter().flatten();
            all.filter_map(|e| e.get("fires")?.as_bool())
                .any(|f| f == fires)
        };
        let missing = match (has(true), has(false)) {
            (true, true) => None,
            (true, false) => Some("an example that stays quiet"),
            (false, true) => Some("an example that fires"),
            (false, false) => Some("examples, one that fires and one that stays quiet"),
        };
        if let Some(missing) = missing {
            let message = format!("`{title}` lacks {missing}; add it under `secretrail.examples`");
            findings.push(finding(
                file,
                line_of(title, "title:"),
                Severity::Info,
                "no_example",
                message,
            ));
        }
        if no_false_positives {
            let message =
                format!("`{title}` does not say what else may trigger it; add `falsepositives`");
            findings.push(finding(
                file,
                line_of(title, "title:"),
                Severity::Info,
                "no_false_positives",
                message,
            ));
        }
    }
    findings
}

/// Selections that no condition asks for.
fn unreachable(rule: &SigmaRule) -> Vec<&String> {
    let mut asked = BTreeSet::new();
    for condition in &rule.detection.conditions {
        asked_by(condition, rule, &mut asked);
    }
    let mut unreachable: Vec<&String> = rule
        .detection
        .named
        .keys()
        .filter(|name| !asked.contains(*name))
        .collect();
    unreachable.sort();
    unreachable
}

fn asked_by<'r>(condition: &ConditionExpr, rule: &'r SigmaRule, asked: &mut BTreeSet<&'r String>) {
    let names = rule.detection.named.keys();
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            parts.iter().for_each(|p| asked_by(p, rule, asked))
        }
        ConditionExpr::Not(part) => asked_by(part, rule, asked),
        ConditionExpr::Identifier(name) => asked.extend(names.filter(|n| *n == name)),
        ConditionExpr::Selector {
            quantifier: Quantifier::All | Quantifier::Any | Quantifier::Count(_),
            pattern,
        } => match pattern {
            SelectorPattern::Them => asked.extend(names.filter(|n| !n.starts_with('_'))),
            SelectorPattern::Pattern(pattern) => {
                let glob = Glob::new(pattern);
                asked.extend(names.filter(|n| glob.matches(n)));
            }
        },
    }
}
