//! Faults of style in rule files: those that the Sigma specification's linter knows, and those that
//! only this engine can see.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use rsigma_parser::{
    ConditionExpr, SigmaRule,
    lint::{Severity as Weight, lint_yaml_str},
};

use crate::rule::{
    RuleTarget,
    fault::LoadError,
    fields,
    load::load_with,
    needs::{DetectionNeeds, is_meant},
    source::{self, ParsedDocument, RuleDocument},
    vars::Placeholders,
};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LintSeverity {
    /// A hint of style.
    Info,
    /// Worth mending: the rule works, and is not what its author thinks or what its reader needs.
    Warning,
    /// The rule cannot be used.
    Error,
}

impl LintSeverity {
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
pub struct LintFinding {
    /// File.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// How much it matters.
    pub severity: LintSeverity,
    /// Name of the check.
    pub check: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl fmt::Display for LintFinding {
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

impl From<LoadError> for LintFinding {
    fn from(error: LoadError) -> Self {
        let message = error.text();
        Self {
            file: error.file,
            line: error.line,
            severity: LintSeverity::Error,
            check: "load".to_owned(),
            message,
        }
    }
}

/// Every finding in the files, by file and line.
#[must_use]
pub fn lint<'a>(files: &[(&'a str, &'a str)], vars: &Placeholders) -> Vec<LintFinding> {
    let (refused, mut findings) = by_loading(files, vars);
    for (index, (file, text)) in files.iter().enumerate() {
        let documents = source::parse(file, text, index);
        for document in &documents {
            let source = &document.source;
            let errors: Vec<&LoadError> = refused
                .iter()
                .filter(|error| error.file == *file && source.has_line(error.line))
                .collect();
            let of_style = by_specification(source).into_iter();
            findings.extend(of_style.filter(|finding| !errors.iter().any(|e| says(e, finding))));
            // The engine's own checks are about rules that load.
            if errors.is_empty() {
                findings.extend(by_engine(document, &documents));
            }
        }
    }
    findings.extend(refused.into_iter().map(LintFinding::from));
    findings.sort();
    findings.dedup();
    findings
}

/// What loading the files refuses, and what it warns of.
fn by_loading<'a>(
    files: &[(&'a str, &'a str)],
    vars: &Placeholders,
) -> (Vec<LoadError>, Vec<LintFinding>) {
    let rules = match load_with(files.iter().copied(), vars) {
        Ok((rules, _)) => rules,
        Err(errors) => return (errors, Vec::new()),
    };
    let warnings = rules.warnings.iter().map(|warning| {
        // Warnings begin with the file, as errors do.
        let (file, message) = warning.split_once(": ").unwrap_or(("", warning));
        LintFinding {
            file: file.to_owned(),
            line: 1,
            severity: LintSeverity::Warning,
            check: "copy".to_owned(),
            message: message.to_owned(),
        }
    });
    (Vec::new(), warnings.collect())
}

/// Whether a finding of the specification's linter repeats an error of loading: both are errors,
/// and the name of the check has the key with the error in it (`missing_condition`).
fn says(error: &LoadError, finding: &LintFinding) -> bool {
    let mut keys = error.field.split('.');
    finding.severity == LintSeverity::Error
        && keys.any(|key| finding.check.contains(&key.replace('-', "_")))
}

fn by_specification(source: &RuleDocument<'_>) -> Vec<LintFinding> {
    let found = lint_yaml_str(source.text).into_iter();
    let found = found.map(|warning| LintFinding {
        file: source.file.to_owned(),
        line: match warning.span {
            Some(span) => source.lines_before + span.start_line as usize + 1,
            None => source.line_of("title", "title"),
        },
        severity: match warning.severity {
            Weight::Error => LintSeverity::Error,
            Weight::Warning => LintSeverity::Warning,
            Weight::Info | Weight::Hint => LintSeverity::Info,
        },
        check: warning.rule.to_string(),
        message: warning.message,
    });
    found.collect()
}

fn by_engine(document: &ParsedDocument<'_>, file: &[ParsedDocument<'_>]) -> Vec<LintFinding> {
    let ParsedDocument { source, parsed } = document;
    let mut check = FileCheck {
        source: *source,
        findings: Vec::new(),
    };
    for rule in &parsed.rules {
        check.selections(rule);
        check.fields(rule);
    }
    let feeding: BTreeSet<&String> = file
        .iter()
        .flat_map(|document| &document.parsed.correlations)
        .filter(|c| !c.generate)
        .flat_map(|c| &c.rules)
        .collect();
    for rule in &parsed.rules {
        // A rule that only feeds a correlation is explained and shown there.
        if !rule
            .id
            .iter()
            .chain(&rule.name)
            .any(|n| feeding.contains(n))
        {
            let has_false_positives = !rule.falsepositives.is_empty();
            check.examples(&rule.title, &rule.custom_attributes);
            check.false_positives(&rule.title, has_false_positives);
        }
    }
    for rule in &parsed.correlations {
        let has_false_positives = !rule.falsepositives.is_empty();
        check.examples(&rule.title, &rule.custom_attributes);
        check.false_positives(&rule.title, has_false_positives);
    }
    check.findings
}

/// What only this engine can see in a file.
struct FileCheck<'a> {
    source: RuleDocument<'a>,
    findings: Vec<LintFinding>,
}

impl FileCheck<'_> {
    /// Notes a finding at the first line of the rule with a key or a word.
    fn found(&mut self, word: &str, severity: LintSeverity, check: &str, message: String) {
        self.findings.push(LintFinding {
            file: self.source.file.to_owned(),
            line: self.source.line_of(word, "title"),
            severity,
            check: check.to_owned(),
            message,
        });
    }

    /// Selections must be asked for by a condition.
    fn selections(&mut self, rule: &SigmaRule) {
        for name in unreachable(rule) {
            let message = format!(
                "no condition asks for the selection `{name}`; \
                 name it in `condition` or remove it"
            );
            self.found(
                name,
                LintSeverity::Warning,
                "unreachable_selection",
                message,
            );
        }
    }

    /// Rules about records may only ask for what records have. That is no error: another service
    /// may write such a field.
    fn fields(&mut self, rule: &SigmaRule) {
        if RuleTarget::of(&rule.logsource) != Some(RuleTarget::Record) {
            return;
        }
        let uses = DetectionNeeds::of(rule);
        for field in uses.fields.iter().filter(|field| !fields::is_raw(field)) {
            let remedy = match fields::check(field, RuleTarget::Access) {
                Err(unknown) => unknown.to_string(),
                Ok(()) => "it is a field of accesses: use `category: secret_access`".to_owned(),
            };
            let message = format!("CloudTrail records have no field `{field}`; {remedy}");
            self.found(field, LintSeverity::Warning, "no_such_field", message);
        }
    }

    /// Rules show by examples where they fire and where they stay quiet.
    fn examples(&mut self, title: &str, attributes: &HashMap<String, yaml_serde::Value>) {
        let block = attributes.get("secretrail");
        let examples = block.and_then(|block| block.get("examples")?.as_sequence());
        let fires = examples.into_iter().flatten();
        let fires: BTreeSet<bool> = fires.filter_map(|e| e.get("fires")?.as_bool()).collect();
        let missing = match (fires.contains(&true), fires.contains(&false)) {
            (true, true) => return,
            (true, false) => "an example that stays quiet",
            (false, true) => "an example that fires",
            (false, false) => "examples, one that fires and one that stays quiet",
        };
        let message = format!("`{title}` lacks {missing}; add it under `secretrail.examples`");
        self.found("title", LintSeverity::Info, "no_example", message);
    }

    /// Rules say what harmless thing may trigger them: it is what an alert tells its reader to
    /// check first.
    fn false_positives(&mut self, title: &str, has_some: bool) {
        if has_some {
            return;
        }
        let message =
            format!("`{title}` does not say what else may trigger it; add `falsepositives`");
        self.found("title", LintSeverity::Info, "no_false_positives", message);
    }
}

/// Selections that no condition asks for.
fn unreachable(rule: &SigmaRule) -> Vec<&String> {
    let mut asked = BTreeSet::new();
    for condition in &rule.detection.conditions {
        asked_by(condition, rule, &mut asked);
    }
    let names = rule.detection.named.keys();
    let mut unreachable: Vec<&String> = names.filter(|name| !asked.contains(*name)).collect();
    unreachable.sort();
    unreachable
}

/// Adds the selections that a condition asks for.
fn asked_by<'r>(condition: &ConditionExpr, rule: &'r SigmaRule, asked: &mut BTreeSet<&'r String>) {
    let mut names = rule.detection.named.keys();
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            parts.iter().for_each(|p| asked_by(p, rule, asked));
        }
        ConditionExpr::Not(part) => asked_by(part, rule, asked),
        ConditionExpr::Identifier(name) => asked.extend(names.find(|n| *n == name)),
        // Whatever the quantifier: a selection of which one is enough has been asked for as well.
        ConditionExpr::Selector { pattern, .. } => {
            asked.extend(names.filter(|name| is_meant(pattern, name)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(text: &str) -> Vec<(usize, String)> {
        let documents = source::parse("r.yml", text, 0);
        let found = documents.iter().flat_map(|d| by_engine(d, &documents));
        found.map(|f| (f.line, f.check)).collect()
    }

    const RULE: &str = "title: T
id: 0b1e2d3c-0000-4000-8000-000000000001
logsource: {product: aws, service: cloudtrail}
detection:
    sel_one:
        eventName: GetSecretValue
    other:
        secret.name: x
    condition: 1 of sel*
falsepositives: [none]
secretrail:
    examples:
        - {name: a, fires: true, events: []}
        - {name: b, fires: false, events: []}
";

    #[test]
    fn what_no_condition_asks_for_and_what_no_record_has_is_found_at_its_line() {
        let unreachable = (7, "unreachable_selection".to_owned());
        let no_field = (8, "no_such_field".to_owned());
        assert_eq!(checks(RULE), [unreachable, no_field]);
        assert!(checks(&RULE.replace("1 of sel*", "all of them")).len() == 1);
        assert!(checks(&RULE.replace("secret.name", "errorCode")).len() == 1);
    }

    #[test]
    fn a_rule_that_only_feeds_a_correlation_needs_no_examples() {
        let bare = RULE.replace("fires: true", "fires: false");
        let bare = bare
            .replace("other:", "sel_two:")
            .replace("secret.name", "errorCode");
        assert_eq!(checks(&bare), [(1, "no_example".to_owned())]);
        let correlation = "---
title: C
correlation:
    type: event_count
    rules: [0b1e2d3c-0000-4000-8000-000000000001]
    group-by: [userIdentity.arn]
    timespan: 1h
    condition: {gte: 2}
";
        let found = checks(&format!("{bare}{correlation}"));
        let title = bare.lines().count() + 2;
        let of_correlation = ["no_example", "no_false_positives"];
        assert_eq!(found, of_correlation.map(|check| (title, check.to_owned())));
    }
}
