//! Sigma files to rules. Strict: what would never match, or could take back an alert, is refused
//! with file, line, field and remedy.

mod block;
mod build;
mod copies;
mod correlation;
mod cover;
mod filters;
mod lists;
mod meaning;
mod meta;
mod parsed;
mod single;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use self::{
    block::AddedRule,
    build::{RuleSetBuild, names},
    copies::drop_copies,
    cover::AskedCover,
    parsed::{ParsedCorrelation, ParsedFiles},
};
pub use crate::rule::source::is_foreign;
use crate::rule::{
    RuleSet, WindowRule,
    example::RuleExample,
    fault::LoadError,
    source::{self, RuleDocument},
    vars::Placeholders,
};

/// Loads rules from Sigma files, given as pairs of name and text, with their examples.
///
/// # Errors
///
/// Everything that is wrong, in the order of the files.
pub fn load<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(RuleSet, Vec<RuleExample>), Vec<LoadError>> {
    load_with(files, &Placeholders::new())
}

/// Like [`load`], with values for `|expand`.
///
/// # Errors
///
/// Everything that is wrong, in the order of the files.
pub fn load_with<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
    vars: &Placeholders,
) -> Result<(RuleSet, Vec<RuleExample>), Vec<LoadError>> {
    let mut parsed = ParsedFiles::default();
    for (index, (file, text)) in files.into_iter().enumerate() {
        parsed.read(file, text, index, vars);
    }
    let mut loading = RuleLoading::default();
    // Copies are dropped first: two rules with one id would be refused.
    (parsed.rules, loading.build.set.warnings) = drop_copies(parsed.rules, &parsed.correlations);
    let repeated = parsed.drop_repeated();
    loading.build.set.warnings.extend(repeated);
    let faults = filters::apply(parsed.filters, &mut parsed.rules, &mut parsed.lists);
    parsed.errors.extend(faults);
    loading.errors = parsed.errors;
    loading.build.set.lists = parsed.lists;
    for rule in parsed.rules {
        let source = rule.source;
        let added = single::add(rule, &mut loading.build);
        loading.take(&source, added);
    }
    // After every rule about single events, whichever file they are in: correlations name them.
    for correlation in &parsed.correlations {
        let added = correlation::add(correlation, &parsed.correlations, &mut loading.build);
        loading.take(&correlation.source, added);
    }
    // After every correlation.
    loading.cover(&parsed.correlations);
    loading.finish(&parsed.sources)
}

/// Rules, examples and errors so far.
#[derive(Default)]
struct RuleLoading<'a> {
    build: RuleSetBuild,
    examples: Vec<RuleExample>,
    errors: Vec<LoadError>,
    /// Rules that name a correlation that covers their alerts.
    covered: Vec<AskedCover<'a>>,
}

impl<'a> RuleLoading<'a> {
    /// Takes the examples of a rule that was added, or notes why it was not.
    fn take(&mut self, source: &RuleDocument<'a>, added: Result<AddedRule, LoadError>) {
        match added {
            Ok(AddedRule { id, block }) => {
                self.covered
                    .extend(block.covered_by.clone().map(|by| AskedCover {
                        source: *source,
                        rule: id.clone(),
                        by,
                    }));
                let (examples, errors) = block.examples(source, &id);
                self.examples.extend(examples);
                self.errors.extend(errors);
            }
            Err(error) => self.errors.push(error),
        }
    }

    /// Connects rules with the correlations that cover their alerts.
    fn cover(&mut self, correlations: &[ParsedCorrelation<'_>]) {
        for asked in &self.covered {
            let connected = asked.connect(correlations, &mut self.build);
            self.errors.extend(connected.err());
        }
    }

    /// The rules and their examples, if nothing is wrong.
    fn finish(
        self,
        sources: &[RuleDocument<'_>],
    ) -> Result<(RuleSet, Vec<RuleExample>), Vec<LoadError>> {
        let Self {
            build,
            examples,
            mut errors,
            covered: _,
        } = self;
        let set = build.finish();
        errors.extend(shared_ids(&set, sources));
        if errors.is_empty() {
            Ok((set, examples))
        } else {
            Err(errors)
        }
    }
}

/// An error for each rule whose id another has: ids of alerts are made of them.
fn shared_ids(set: &RuleSet, sources: &[RuleDocument<'_>]) -> Vec<LoadError> {
    let mut errors = Vec::new();
    let mut seen: HashMap<&str, &str> = HashMap::new();
    let correlations = set.windows.iter().filter(|w| !is_suppression(w, set));
    let single = set.detections.iter().map(|d| &d.meta);
    for meta in single.chain(correlations.map(|w| &w.meta)) {
        let Some(other) = seen.insert(&meta.id, &meta.file) else {
            continue;
        };
        // In one file the second rule of the two has the error.
        let mut documents = sources.iter().rev();
        let source = documents.find(|d| d.file == meta.file && d.text.contains(&*meta.id));
        let message = format!(
            "`{}` is also the id of a rule in {other}; every rule needs its own, a new UUID",
            meta.id
        );
        errors.extend(source.map(|source| source.error(&meta.id, "id", message)));
    }
    errors
}

/// Whether a window holds back the alerts of a rule about single events, whose id it has.
fn is_suppression(window: &WindowRule, set: &RuleSet) -> bool {
    let mut metas = set.detections.iter().map(|d| &d.meta);
    metas.any(|meta| Arc::ptr_eq(meta, &window.meta))
}

/// Names by which correlations in the files mean rules that are not in the files.
#[must_use]
pub fn unresolved(files: &[(String, String)]) -> BTreeSet<String> {
    // Parse errors are reported by loading.
    let parsed: Vec<_> = files
        .iter()
        .flat_map(|(file, text)| source::parse(file, text, 0))
        .collect();
    let rules = parsed.iter().flat_map(|p| &p.parsed.rules);
    let correlations = || parsed.iter().flat_map(|p| &p.parsed.correlations);
    let own = correlations().flat_map(|c| c.id.iter().chain(&c.name));
    let defined: BTreeSet<&String> = rules.flat_map(names).chain(own).collect();
    let wanted = correlations().flat_map(|c| &c.rules);
    wanted
        .filter(|name| !defined.contains(name))
        .cloned()
        .collect()
}

/// Whether a file holds a rule about single events of one of these names.
#[must_use]
pub fn defines(text: &str, wanted: &BTreeSet<String>) -> bool {
    let parsed = source::parse("", text, 0);
    let mut names = parsed.iter().flat_map(|p| &p.parsed.rules).flat_map(names);
    names.any(|name| wanted.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "title: One
id: one-id
name: one
logsource: {product: aws, category: secret_access}
detection: {sel: {access.outcome: success}, condition: sel}
";
    const CORRELATION: &str = "title: C
id: c
correlation:
    type: event_count
    rules: [one]
    group-by: [principal.arn]
    timespan: 1h
    condition: {gte: 2}
";

    #[test]
    fn a_rule_nested_100_000_deep_is_refused_at_once_and_hides_no_other() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let hostile = format!("{RULE}---\ntitle: Deep\ndetection: {{s: {{a: {deep}}}}}\n");
        let errors = load([("a.yml", &*hostile), ("b.yml", RULE)]).unwrap_err();
        let deep = errors.iter().find(|error| error.message.contains("deep"));
        let deep = deep.expect("it is refused");
        assert_eq!((&*deep.file, deep.line), ("a.yml", 8));
        assert!(
            deep.message.contains("are nested more than 500 deep"),
            "{deep:?}"
        );
        assert!(!is_foreign(&hostile));
        let list = "x, ".repeat(5_000);
        let aliases = "*a, ".repeat(5_000);
        let large = format!("title: L\na: &a [{list}]\nlogsource: {{x: [{aliases}]}}\n");
        let errors = load([("c.yml", &*large)]).unwrap_err();
        assert!(errors[0].message.contains("its aliases"), "{errors:?}");
    }

    #[test]
    fn a_correlation_may_stand_in_a_file_before_its_rule() {
        let (rules, _) = load([("a.yml", CORRELATION), ("b.yml", RULE)]).unwrap();
        assert_eq!((rules.detections.len(), rules.windows.len()), (1, 1));
        assert_eq!(rules.len(), 1);
    }

    #[test]
    fn all_faults_are_told_in_the_order_of_the_files() {
        let broken = RULE.replace("success}", "success");
        let wrong = RULE.replace("access.outcome", "access.outcmoe");
        let errors = load([("a.yml", &*broken), ("b.yml", &*wrong), ("c.yml", "x: 1")]);
        let mut files: Vec<String> = errors.unwrap_err().into_iter().map(|e| e.file).collect();
        files.dedup();
        assert_eq!(files.first().map(String::as_str), Some("a.yml"));
        assert!(files.contains(&"b.yml".to_owned()) && files.contains(&"c.yml".to_owned()));
    }

    #[test]
    fn what_correlations_name_elsewhere_is_known_before_anything_is_loaded() {
        let file = |text: &str| ("f.yml".to_owned(), text.to_owned());
        let wanted = unresolved(&[file(CORRELATION)]);
        assert_eq!(wanted, BTreeSet::from(["one".to_owned()]));
        assert!(defines(RULE, &wanted) && !defines(CORRELATION, &wanted));
        assert!(unresolved(&[file(CORRELATION), file(RULE)]).is_empty());
        // A file that cannot be parsed defines nothing; loading it tells why.
        assert!(!defines("title: [", &wanted));
    }
}
