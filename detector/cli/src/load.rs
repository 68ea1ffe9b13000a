//! Rule files and the access policy from disk, and the pack that the binary carries.

use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use secretrail_engine::policy::Policy;
use secretrail_engine::rule::RuleSet;
use secretrail_engine::rule::examples::Example;
use secretrail_engine::rule::load::{LoadError, load_with};
use secretrail_engine::rule::vars::{self, Vars};
use walkdir::WalkDir;

use crate::Failure;

static PACK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../rules");

/// Loads rules from files and folders; the built-in pack when none are named. With them come their examples.
///
/// # Errors
///
/// [`Failure::Rules`] lists everything that is wrong.
pub fn rules(paths: &[PathBuf], vars: Option<&Path>) -> Result<(RuleSet, Vec<Example>), Failure> {
    let (files, vars) = (files(paths)?, self::vars(vars)?);
    let loaded = load_with(files.iter().map(|(name, text)| (name.as_str(), text.as_str())), &vars);
    loaded.map_err(|errors| Failure::Rules(list(&errors)))
}

/// The files that rules are read from, by name: those on disk, or the built-in pack when none are named.
///
/// # Errors
///
/// [`Failure::Rules`] when one cannot be read.
pub fn files(paths: &[PathBuf]) -> Result<Vec<(String, String)>, Failure> {
    if paths.is_empty() { Ok(pack()) } else { from_disk(paths) }
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

/// Loads an access policy; with `strict`, what it does not speak of counts as unexpected.
///
/// # Errors
///
/// [`Failure::Rules`] with the name of the file, the line and the remedy.
pub fn policy(path: &Path, strict: bool) -> Result<Policy, Failure> {
    policy_text(path).map(|(policy, _)| policy.strict(strict))
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
