//! Rule files and the access policy from disk.

use std::path::{Path, PathBuf};

use secretrail_engine::policy::Policy;
use secretrail_engine::rule::RuleSet;
use secretrail_engine::rule::vars::{self, Vars};
use secretrail_pack::{Files, Rules, complete, is_rule};
use walkdir::WalkDir;

use crate::args::{PolicyFile, RuleFiles};
use crate::host::{Failure, Host, say};

/// Rules from files and folders, or the built-in pack when none are named.
///
/// # Errors
///
/// [`Failure::Rules`] lists everything that is wrong.
pub fn rules(named: &RuleFiles) -> Result<Rules, Failure> {
    let (files, vars) = (files(&named.rules)?, vars(named.vars.as_deref())?);
    Rules::load(complete(files), &vars).map_err(Failure::Rules)
}

/// The same rules, with their warnings on standard error.
///
/// # Errors
///
/// See [`rules`].
pub fn rules_with_warnings(named: &RuleFiles, host: &mut Host) -> Result<RuleSet, Failure> {
    let rules = rules(named)?.set;
    rules
        .warnings
        .iter()
        .for_each(|warning| say(host, &format!("secretrail: warning: {warning}\n")));
    Ok(rules)
}

/// The files that are named, by name; none when none are.
///
/// # Errors
///
/// [`Failure::Rules`] when one cannot be read.
pub fn files(paths: &[PathBuf]) -> Result<Files, Failure> {
    if paths.is_empty() {
        Ok(Files::new())
    } else {
        from_disk(paths)
    }
}

/// Values of placeholders.
///
/// # Errors
///
/// [`Failure::Rules`] with the name of the file and the remedy.
pub fn vars(path: Option<&Path>) -> Result<Vars, Failure> {
    let Some(path) = path else {
        return Ok(Vars::new());
    };
    let failure = |message: String| Failure::Rules(format!("{}: {message}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failure(error.to_string()))?;
    vars::read(&text).map_err(failure)
}

fn from_disk(paths: &[PathBuf]) -> Result<Files, Failure> {
    let mut files = Vec::new();
    for path in paths {
        let before = files.len();
        for entry in WalkDir::new(path).follow_links(true).sort_by_file_name() {
            let entry =
                entry.map_err(|error| Failure::Rules(format!("{}: {error}", path.display())))?;
            if entry.file_type().is_dir()
                || (entry.depth() > 0 && !is_rule(&entry.path().to_string_lossy()))
            {
                continue;
            }
            let name = entry.path().display().to_string();
            let text = std::fs::read_to_string(entry.path())
                .map_err(|error| Failure::Rules(format!("{name}: {error}")))?;
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
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::Rules(format!("{name}: {error}")))?;
    let policy = text
        .parse()
        .map_err(|error| Failure::Rules(format!("{name}: {error}")))?;
    Ok((policy, text))
}
