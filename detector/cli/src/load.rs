//! Rule files and the access policy from disk, and the pack that the binary carries.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use include_dir::{Dir, include_dir};
use secretrail_engine::policy::Policy;
use secretrail_engine::rule::examples::Example;
use secretrail_engine::rule::load::{LoadError, defines, load_with, unresolved};
use secretrail_engine::rule::vars::{self, Vars};
use secretrail_engine::rule::{RuleMeta, RuleSet};
use walkdir::WalkDir;

use crate::Failure;
use crate::args::{PolicyFile, RuleFiles};

/// Names and texts of files.
type Files = Vec<(String, String)>;

static PACK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../rules");

/// Rules from files and folders, or the built-in pack when none are named, with what they need from that pack: rules about
/// single events that a correlation names and that are not in the files. Those raise no alerts of their own.
pub struct Rules {
    /// Every rule.
    pub set: RuleSet,
    /// Examples of the rules that were named, not of those they need.
    pub examples: Vec<Example>,
    /// Files of the pack that are there only because a correlation names a rule in them.
    needed: BTreeSet<String>,
}

impl Rules {
    /// Loads them.
    ///
    /// # Errors
    ///
    /// [`Failure::Rules`] lists everything that is wrong.
    pub fn open(named: &RuleFiles) -> Result<Self, Failure> {
        let ((files, needed), vars) = (files(&named.rules)?, vars(named.vars.as_deref())?);
        let loaded = load_with(files.iter().map(|(name, text)| (name.as_str(), text.as_str())), &vars);
        let (rules, mut examples) = loaded.map_err(|errors| Failure::Rules(list(&errors)))?;
        let is_needed = |meta: &&Arc<RuleMeta>| needed.contains(&meta.file);
        let hidden: BTreeSet<&str> = rules.metas().filter(is_needed).map(|meta| meta.id.as_str()).collect();
        examples.retain(|example| !hidden.contains(example.rule.as_str()));
        Ok(Self { set: rules, examples, needed })
    }

    /// Whether a rule was named, and is not only needed by another.
    #[must_use]
    pub fn holds(&self, meta: &RuleMeta) -> bool {
        !self.needed.contains(&meta.file)
    }
}

/// The rules about single events of a file: its correlations may need more, and nobody asked for them.
fn only_single((name, text): (String, String)) -> (String, String) {
    let single = text.split("\n---\n").filter(|rule| !rule.contains("\ncorrelation:"));
    (format!("{name} (built in)"), single.collect::<Vec<_>>().join("\n---\n"))
}

/// The files that rules are read from, by name: the built-in pack when none are named; otherwise those on disk, and the files
/// of the pack that hold rules which their correlations name. The names of the latter come with them.
///
/// # Errors
///
/// [`Failure::Rules`] when one cannot be read.
pub fn files(paths: &[PathBuf]) -> Result<(Files, BTreeSet<String>), Failure> {
    if paths.is_empty() {
        return Ok((pack(), BTreeSet::new()));
    }
    let mut files = from_disk(paths)?;
    let wanted = unresolved(&files);
    if wanted.is_empty() {
        return Ok((files, BTreeSet::new()));
    }
    let needed: Files = pack().into_iter().filter(|(_, text)| defines(text, &wanted)).map(only_single).collect();
    let names = needed.iter().map(|(name, _)| name.clone()).collect();
    files.extend(needed);
    Ok((files, names))
}

/// Values of placeholders.
///
/// # Errors
///
/// [`Failure::Rules`] with the name of the file and the remedy.
pub fn vars(path: Option<&Path>) -> Result<Vars, Failure> {
    let Some(path) = path else { return Ok(Vars::new()) };
    let failure = |message: String| Failure::Rules(format!("{}: {message}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failure(error.to_string()))?;
    vars::read(&text).map_err(failure)
}

/// The files of the built-in pack, by name.
#[must_use]
pub fn pack() -> Vec<(String, String)> {
    let files = PACK.files().filter(|f| is_rule(f.path()));
    files.filter_map(|f| Some((format!("rules/{}", f.path().display()), f.contents_utf8()?.to_owned()))).collect()
}

fn from_disk(paths: &[PathBuf]) -> Result<Vec<(String, String)>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        let before = files.len();
        for entry in WalkDir::new(path).follow_links(true).sort_by_file_name() {
            let entry = entry.map_err(|error| Failure::Rules(format!("{}: {error}", path.display())))?;
            if entry.file_type().is_dir() || (entry.depth() > 0 && !is_rule(entry.path())) {
                continue;
            }
            let name = entry.path().display().to_string();
            let text =
                std::fs::read_to_string(entry.path()).map_err(|error| Failure::Rules(format!("{name}: {error}")))?;
            files.push((name, text));
        }
        if files.len() == before {
            return Err(Failure::Rules(format!(
                "{}: holds no rules; Sigma files end in .yml or .yaml",
                path.display()
            )));
        }
    }
    Ok(files)
}

/// Loads the access policy, if one is named.
///
/// # Errors
///
/// [`Failure::Rules`] with the name of the file, the line and the remedy.
pub fn policy(named: &PolicyFile) -> Result<Option<Policy>, Failure> {
    let read = |path: &PathBuf| policy_text(path).map(|(policy, _)| policy.strict(named.strict));
    named.policy.as_ref().map(read).transpose()
}

/// Loads an access policy, and its text.
///
/// # Errors
///
/// See [`policy`].
pub fn policy_text(path: &Path) -> Result<(Policy, String), Failure> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| Failure::Rules(format!("{name}: {error}")))?;
    let policy = text.parse().map_err(|error| Failure::Rules(format!("{name}: {error}")))?;
    Ok((policy, text))
}

fn is_rule(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "yml" || e == "yaml")
}

fn list(errors: &[LoadError]) -> String {
    let mut text = match errors.len() {
        1 => "a rule cannot be used\n".to_owned(),
        n => format!("{n} faults in the rules\n"),
    };
    errors.iter().for_each(|error| text.push_str(&format!("  {error}\n")));
    text.trim_end().to_owned()
}
