//! The rules that the binaries carry, for both faces: by themselves, or to complete rules of one's
//! own, whose correlations may name rules of the pack. Reading files is for the faces.

use std::collections::BTreeSet;
use std::sync::Arc;

use include_dir::{Dir, include_dir};
use secretrail_engine::rule::RuleSet;
use secretrail_engine::rule::example::Example;
use secretrail_engine::rule::load::{LoadError, defines, load_with, unresolved};
use secretrail_engine::rule::vars::Vars;
use secretrail_engine::rule_meta::RuleMeta;

/// Names and texts of files.
pub type Files = Vec<(String, String)>;

static PACK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../rules");

/// The files of the pack, by name.
#[must_use]
pub fn files() -> Files {
    let files = PACK
        .files()
        .filter(|f| f.path().to_str().is_some_and(is_rule));
    files
        .filter_map(|f| {
            Some((
                format!("rules/{}", f.path().display()),
                f.contents_utf8()?.to_owned(),
            ))
        })
        .collect()
}

/// Whether a file with this name holds rules.
#[must_use]
pub fn is_rule(name: &str) -> bool {
    name.ends_with(".yml") || name.ends_with(".yaml")
}

/// Rules, and what is known of where they came from.
#[derive(Debug)]
pub struct Rules {
    /// Every rule.
    pub set: RuleSet,
    /// Examples of the rules that were named, not of those they need.
    pub examples: Vec<Example>,
    /// Files of the pack that are there only because a correlation names a rule in them.
    needed: BTreeSet<String>,
}

impl Rules {
    /// Loads files that [`complete`] gave.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, in a text of several lines.
    pub fn load((files, needed): (Files, BTreeSet<String>), vars: &Vars) -> Result<Self, String> {
        let loaded = load_with(
            files
                .iter()
                .map(|(name, text)| (name.as_str(), text.as_str())),
            vars,
        );
        let (rules, mut examples) = loaded.map_err(|errors| list(&errors))?;
        let is_needed = |meta: &&Arc<RuleMeta>| needed.contains(&meta.file);
        let hidden: BTreeSet<&str> = rules
            .metas()
            .filter(is_needed)
            .map(|meta| meta.id.as_str())
            .collect();
        examples.retain(|example| !hidden.contains(example.rule.as_str()));
        Ok(Self {
            set: rules,
            examples,
            needed,
        })
    }

    /// Whether a rule was named, and is not only needed by another.
    #[must_use]
    pub fn holds(&self, meta: &RuleMeta) -> bool {
        !self.needed.contains(&meta.file)
    }
}

/// Files of rules with what they need from the pack: rules about single events that a correlation
/// names and that are not in the files. Those raise no alerts of their own, and their names come
/// beside. Without any files, the pack.
#[must_use]
pub fn complete(mut own: Files) -> (Files, BTreeSet<String>) {
    if own.is_empty() {
        return (files(), BTreeSet::new());
    }
    let wanted = unresolved(&own);
    if wanted.is_empty() {
        return (own, BTreeSet::new());
    }
    let needed: Files = files()
        .into_iter()
        .filter(|(_, text)| defines(text, &wanted))
        .map(only_single)
        .collect();
    let names = needed.iter().map(|(name, _)| name.clone()).collect();
    own.extend(needed);
    (own, names)
}

/// The rules about single events of a file: its correlations may need more, and nobody asked for
/// them.
fn only_single((name, text): (String, String)) -> (String, String) {
    let single = text
        .split("\n---\n")
        .filter(|rule| !rule.contains("\ncorrelation:"));
    (
        format!("{name} (built in)"),
        single.collect::<Vec<_>>().join("\n---\n"),
    )
}

fn list(errors: &[LoadError]) -> String {
    let mut text = match errors.len() {
        1 => "a rule cannot be used\n".to_owned(),
        n => format!("{n} faults in the rules\n"),
    };
    errors
        .iter()
        .for_each(|error| text.push_str(&format!("  {error}\n")));
    text.trim_end().to_owned()
}
