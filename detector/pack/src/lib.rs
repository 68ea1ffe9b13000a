//! The built-in rules (the pack), for both front ends: used alone, or to complete custom rules
//! whose correlations refer to built-in rules. The front ends read files themselves.

use std::{collections::BTreeSet, fmt};

use include_dir::{Dir, include_dir};
use secretrail_engine::{
    network::NetworkLists,
    rule::{
        RuleSet,
        example::RuleExample,
        fault::LoadError,
        load::{defines, load_with, unresolved},
        vars::Placeholders,
    },
    rule_meta::RuleMeta,
};

/// Names and texts of files.
pub type FileTexts = Vec<(String, String)>;

static PACK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../rules");

/// The rule files of the pack, by name: `rules/….yml`.
#[must_use]
pub fn files() -> FileTexts {
    texts(str::to_owned)
}

/// The rule files, each with what is taken of its text.
fn texts(taken: impl Fn(&str) -> String) -> FileTexts {
    let files = PACK
        .files()
        .filter(|f| f.path().to_str().is_some_and(is_rule));
    files
        .filter_map(|f| {
            let name = format!("rules/{}", f.path().display());
            Some((name, taken(f.contents_utf8()?)))
        })
        .collect()
}

/// The same files without the examples in the rules, which are most of their text and which only
/// people who work on rules need. Lines keep their numbers.
#[must_use]
pub fn rules() -> FileTexts {
    texts(without_examples)
}

/// Examples are the last of what stands under `secretrail:` in the files of the pack.
fn without_examples(text: &str) -> String {
    let mut kept = String::with_capacity(text.len() / 4);
    let mut is_example = false;
    for line in text.split_inclusive('\n') {
        let is_within = is_example && (line.starts_with("    ") || line.trim().is_empty());
        is_example = is_within || line.trim_end() == "  examples:";
        kept.push_str(if is_example { "\n" } else { line });
    }
    kept
}

/// Name of each rule file of the pack without `.yml`, and the title of its first rule.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    PACK.files().filter_map(|file| {
        let path = file.path().to_str().filter(|name| is_rule(name))?;
        let mut lines = file.contents_utf8()?.lines();
        let title = lines.find_map(|line| line.strip_prefix("title: "))?;
        Some((path.rsplit_once('.')?.0, title))
    })
}

/// Whether a file with this name holds rules: it ends in `.yml` or `.yaml`.
#[must_use]
pub fn is_rule(name: &str) -> bool {
    name.ends_with(".yml") || name.ends_with(".yaml")
}

/// A loaded rule set, with the origin of its rules.
#[derive(Debug)]
pub struct RulePack {
    /// All rules, including those that are only dependencies.
    pub set: RuleSet,
    /// Examples of the requested rules, not of their dependencies; none of the pack's rules where
    /// they were left out.
    pub examples: Vec<RuleExample>,
    /// Files of the pack that are included only because a correlation refers to a rule in them.
    needed: BTreeSet<String>,
}

impl RulePack {
    /// Loads files returned by [`complete`].
    ///
    /// # Errors
    ///
    /// All errors in the rules.
    pub fn load(
        (files, needed): (FileTexts, BTreeSet<String>),
        vars: &Placeholders,
    ) -> Result<Self, RuleFaults> {
        let texts = files.iter().map(|(name, text)| (&**name, &**text));
        let (set, mut examples) = load_with(texts, vars).map_err(RuleFaults)?;
        // Rules that are only dependencies were not requested, so their examples are not run.
        let hidden: BTreeSet<&str> = set
            .metas()
            .filter(|meta| needed.contains(&meta.file))
            .map(|meta| meta.id.as_str())
            .collect();
        examples.retain(|example| !hidden.contains(example.rule.as_str()));
        Ok(Self {
            set,
            examples,
            needed,
        })
    }

    /// The same rules with these lists of networks. A built-in rule that names another list stays,
    /// and cannot fire: a front end tells how many these are.
    ///
    /// # Errors
    ///
    /// [`MissingNetworks`]: a custom rule names another list. It would never fire, and nobody would
    /// know.
    pub fn with_networks(mut self, lists: NetworkLists) -> Result<Self, MissingNetworks> {
        self.set = self.set.with_networks(lists);
        // One is enough: whoever mends it runs again.
        let mut missing = self.set.without_networks();
        if let Some((rule, label)) = missing.find(|(rule, _)| !is_built_in(rule)) {
            return Err(MissingNetworks {
                file: rule.file.clone(),
                title: rule.title.clone(),
                label: label.to_owned(),
            });
        }
        drop(missing);
        Ok(self)
    }

    /// Whether a rule was requested, and is not only a dependency of another.
    #[must_use]
    pub fn holds(&self, meta: &RuleMeta) -> bool {
        !self.needed.contains(&meta.file)
    }
}

/// Whether a rule is one of the pack, wherever it was read from.
fn is_built_in(rule: &RuleMeta) -> bool {
    let id = BTreeSet::from([rule.id.clone()]);
    // Parsing a file costs more than searching it.
    let mut files = files().into_iter();
    files.any(|(_, text)| text.contains(&rule.id) && defines(&text, &id))
}

/// Rule files with their dependencies from the pack: rules about single events that a correlation
/// refers to and that are not in the files. Dependencies raise no alerts of their own; the names of
/// their files are returned too. Without any files, the pack, without its examples.
#[must_use]
pub fn complete(own: FileTexts) -> (FileTexts, BTreeSet<String>) {
    match own.is_empty() {
        true => (rules(), BTreeSet::new()),
        false => with_dependencies(own),
    }
}

/// Like [`complete`], for people who work on rules: the pack has its examples.
#[must_use]
pub fn complete_with_examples(own: FileTexts) -> (FileTexts, BTreeSet<String>) {
    match own.is_empty() {
        true => (files(), BTreeSet::new()),
        false => with_dependencies(own),
    }
}

fn with_dependencies(mut own: FileTexts) -> (FileTexts, BTreeSet<String>) {
    let wanted = unresolved(&own);
    if wanted.is_empty() {
        return (own, BTreeSet::new());
    }
    let needed: FileTexts = rules()
        .into_iter()
        .filter(|(_, text)| defines(text, &wanted))
        .map(only_single)
        .collect();
    let names = needed.iter().map(|(name, _)| name.clone()).collect();
    own.extend(needed);
    (own, names)
}

/// The rules of a file about single events: its correlations may have more dependencies, and were
/// not requested.
fn only_single((name, text): (String, String)) -> (String, String) {
    let single = text
        .split("\n---\n")
        .filter(|rule| !rule.contains("\ncorrelation:"));
    (
        // A custom file may have the same name, and its rules would count as dependencies.
        format!("{name} (built in)"),
        single.collect::<Vec<_>>().join("\n---\n"),
    )
}

/// A rule that names a list of networks which no file defines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: \"{title}\": no list of networks has the label `{label}`")]
pub struct MissingNetworks {
    /// The file of the rule.
    pub file: String,
    /// The title of the rule.
    pub title: String,
    /// The label.
    pub label: String,
}

/// All errors in rule files; as text, several lines.
#[derive(Debug)]
pub struct RuleFaults(Vec<LoadError>);

impl RuleFaults {
    /// The files with errors, by name.
    #[must_use]
    pub fn files(&self) -> BTreeSet<&str> {
        self.0.iter().map(|error| &*error.file).collect()
    }
}

impl fmt::Display for RuleFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("a rule cannot be used")?,
            n => write!(f, "{n} errors in the rules")?,
        }
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl std::error::Error for RuleFaults {}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "title: Own
id: own
correlation:
    type: event_count
    rules: [NAMED]
    group-by: [principal.arn]
    timespan: 1h
    condition: {gte: 2}
";

    fn own(named: &str) -> FileTexts {
        vec![("own.yml".to_owned(), OWN.replace("NAMED", named))]
    }

    #[test]
    fn the_pack_loads_and_every_rule_of_it_was_asked_for() {
        let whole = complete_with_examples(FileTexts::new());
        let whole = RulePack::load(whole, &Placeholders::new()).unwrap();
        assert!(!whole.set.is_empty() && !whole.examples.is_empty());
        assert!(whole.set.metas().all(|meta| whole.holds(meta)));
        // The same rules without the examples.
        let rules = RulePack::load(complete(FileTexts::new()), &Placeholders::new()).unwrap();
        assert!(rules.examples.is_empty());
        let metas = |pack: &RulePack| -> Vec<String> {
            pack.set.metas().map(|meta| format!("{meta:?}")).collect()
        };
        assert_eq!(metas(&rules), metas(&whole));
        assert_eq!(rules.set.detections.len(), whole.set.detections.len());
        assert_eq!(rules.set.windows.len(), whole.set.windows.len());
    }

    #[test]
    fn only_examples_are_left_out_and_lines_keep_their_numbers() {
        for ((name, whole), (_, rules)) in files().into_iter().zip(super::rules()) {
            assert_eq!(whole.lines().count(), rules.lines().count(), "{name}");
            let mut above = "";
            for (line, kept) in whole.lines().zip(rules.lines()) {
                if !line.starts_with(' ') {
                    above = line;
                }
                let is_left_out = line != kept;
                assert!(!is_left_out || kept.is_empty(), "{name}: {kept}");
                assert!(!is_left_out || above == "secretrail:", "{name}: {line}");
                assert!(kept.trim_end() != "  examples:", "{name}");
            }
        }
        let two = "a: 1\nsecretrail:\n  examples:\n    - {x: 1}\n\n      y: 2\n---\nb: 2\n";
        let left = "a: 1\nsecretrail:\n\n\n\n\n---\nb: 2\n";
        assert_eq!(without_examples(two), left);
        let last = "secretrail:\n  examples:\n    - {x: 1}\n  suppress: 1h\n";
        assert_eq!(without_examples(last), "secretrail:\n\n\n  suppress: 1h\n");
    }

    #[test]
    fn what_a_correlation_needs_of_the_pack_comes_with_it_and_stays_silent() {
        let pack = RulePack::load(complete(FileTexts::new()), &Placeholders::new()).unwrap();
        let single = pack.set.detections.first().unwrap();
        let rules = RulePack::load(complete(own(&single.meta.id)), &Placeholders::new()).unwrap();
        let alerting: Vec<&str> = rules.set.alerting().map(|meta| &*meta.id).collect();
        assert_eq!(alerting, ["own"]);
        let needed = rules.set.detections.first().unwrap();
        assert!(!rules.holds(&needed.meta));
        assert!(rules.examples.iter().all(|example| example.rule == "own"));
    }

    #[test]
    fn errors_are_listed_below_a_heading_without_an_extra_line() {
        let reported = |files| {
            let rules = RulePack::load(complete(files), &Placeholders::new());
            rules.map(|_| ()).unwrap_err().to_string()
        };
        let one = reported(own("nothing"));
        assert!(
            one.starts_with("a rule cannot be used\n  own.yml:5: "),
            "{one}"
        );
        let two = reported([own("nothing"), own("neither")].concat());
        assert!(two.starts_with("2 errors in the rules\n  "), "{two}");
        assert_eq!(two.lines().count(), 3);
    }
}
