//! Reads rule files, placeholder values and the access policy from disk.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use secretrail_engine::{
    geo::GeoDatabases,
    network::NetworkLists,
    policy::{AccessPolicy, MissingList},
    report::SkippedObject,
    rule::{
        RuleSet,
        load::is_foreign,
        vars::{self, Placeholders},
    },
    sanitize,
};
use secretrail_pack::{
    FileTexts, MissingNetworks, RulePack, complete, complete_with_examples, is_rule,
};
use walkdir::{DirEntry, WalkDir};

use crate::{
    args::{GeoArgs, NetworkArgs, NetworkFile, PolicyArgs, RuleFilesArgs},
    host::{ProcessHost, RunFailure, say},
    text::plural,
};

/// Rules from files and folders; the built-in pack if none are named. What is skipped in folders is
/// reported on standard error.
///
/// # Errors
///
/// [`RunFailure::Rules`] with all errors in the rules, and of a rule that names a list of networks
/// which is not there: it would never match, and nobody would know.
pub fn rules(named: &RuleFilesArgs, host: &mut ProcessHost) -> Result<RulePack, RunFailure> {
    loaded(named, host, complete, RulePack::with_networks)
}

/// Like [`rules`], for commands that are about the rules alone: lists of networks may be missing.
///
/// # Errors
///
/// See [`rules`].
pub fn rules_alone(named: &RuleFilesArgs, host: &mut ProcessHost) -> Result<RulePack, RunFailure> {
    loaded(named, host, complete, with_any_networks)
}

/// Like [`rules_alone`], with the examples of the pack too.
///
/// # Errors
///
/// See [`rules`].
pub fn rules_with_examples(
    named: &RuleFilesArgs,
    host: &mut ProcessHost,
) -> Result<RulePack, RunFailure> {
    loaded(named, host, complete_with_examples, with_any_networks)
}

#[expect(clippy::unnecessary_wraps, reason = "for loaded")]
fn with_any_networks(mut pack: RulePack, lists: NetworkLists) -> Result<RulePack, MissingNetworks> {
    pack.set = pack.set.with_networks(lists);
    Ok(pack)
}

fn loaded(
    named: &RuleFilesArgs,
    host: &mut ProcessHost,
    complete: impl Fn(FileTexts) -> (FileTexts, BTreeSet<String>),
    with_networks: impl Fn(RulePack, NetworkLists) -> Result<RulePack, MissingNetworks>,
) -> Result<RulePack, RunFailure> {
    let (lists, geo) = (networks(&named.lists)?, geo(&named.geo)?);
    let (files, vars) = (files(&named.rules)?, vars(named.vars.as_deref())?);
    files.say_skipped(host);
    let mut texts = files.texts;
    loop {
        let (faulty, why) = match RulePack::load(complete(texts.clone()), &vars) {
            Ok(pack) => match with_networks(pack, lists.clone()) {
                Ok(mut pack) => {
                    pack.set = pack.set.with_geo(geo);
                    return Ok(pack);
                }
                Err(missing) => (BTreeSet::from([missing.file.clone()]), remedy(&missing)),
            },
            Err(faults) => {
                let files = faults.files().into_iter().map(str::to_owned);
                (files.collect(), faults.to_string())
            }
        };
        let known = texts.len();
        texts.retain(|(name, _)| !faulty.contains(name));
        // Without any file the pack would take their place.
        if !named.skip_invalid || texts.is_empty() || texts.len() == known {
            return Err(RunFailure::Rules(why));
        }
        let skipped = plural((known - texts.len()) as u64, "rule file");
        say(host, &format!("secretrail: {skipped} left out: {why}\n"));
    }
}

/// What to do about a missing list.
fn remedy(missing: &MissingNetworks) -> String {
    let label = &missing.label;
    format!("a rule cannot be used\n  {missing}; name its file with --networks {label}=FILE")
}

/// The lists of networks that were named.
fn networks(named: &NetworkArgs) -> Result<NetworkLists, RunFailure> {
    let mut lists = NetworkLists::default();
    for NetworkFile { label, path } in &named.networks {
        lists
            .add(label, &text(path)?)
            .map_err(|fault| unreadable(path, format!("--networks {label}: {fault}")))?;
    }
    Ok(lists)
}

/// The databases that were named.
///
/// # Errors
///
/// [`RunFailure::Rules`]: a file cannot be read, or is none.
pub fn geo(named: &GeoArgs) -> Result<GeoDatabases, RunFailure> {
    let mut databases = GeoDatabases::default();
    for path in &named.geoip {
        let bytes = std::fs::read(path).map_err(|error| unreadable(path, error.to_string()))?;
        let added = databases.add(bytes);
        added.map_err(|fault| unreadable(path, format!("--geoip: {fault}")))?;
    }
    Ok(databases)
}

/// Like [`rules`], with warnings on standard error.
///
/// # Errors
///
/// See [`rules`].
pub fn rules_with_warnings(
    named: &RuleFilesArgs,
    host: &mut ProcessHost,
) -> Result<RuleSet, RunFailure> {
    let rules = rules(named, host)?.set;
    rules
        .warnings
        .iter()
        .for_each(|warning| say(host, &format!("secretrail: warning: {warning}\n")));
    Ok(rules)
}

/// The rule files that were named.
#[derive(Debug, Default)]
pub struct RuleFiles {
    /// Names and texts.
    pub texts: FileTexts,
    /// Pipes, sockets and devices in folders, and links to them, which were not opened.
    pub skipped: Vec<PathBuf>,
    /// Number of YAML files in folders that hold no rules for AWS.
    pub foreign: u64,
}

impl RuleFiles {
    /// Reports what was skipped on standard error.
    pub fn say_skipped(&self, host: &mut ProcessHost) {
        let reason = SkippedObject::NotAFile.as_str();
        for path in &self.skipped {
            let path = path.to_string_lossy();
            let path = sanitize::line(&path);
            say(host, &format!("secretrail: {path}: skipped: {reason}\n"));
        }
        if self.foreign > 0 {
            let files = plural(self.foreign, "YAML file");
            let note = format!("secretrail: skipped {files} without Sigma rules for AWS\n");
            say(host, &note);
        }
    }
}

/// The named rule files; empty if none are named.
///
/// # Errors
///
/// [`RunFailure::Rules`] if a file cannot be read or a folder has no rules.
pub fn files(paths: &[PathBuf]) -> Result<RuleFiles, RunFailure> {
    let mut files = RuleFiles::default();
    let mut read = BTreeSet::new();
    for path in paths {
        let (before, mut is_known) = (files.texts.len(), false);
        // Sorted by name: the order in which rules are loaded is the same on every machine.
        for entry in WalkDir::new(path).follow_links(true).sort_by_file_name() {
            let entry = entry.map_err(|error| unreadable(path, error))?;
            if !is_rule_file(&entry) {
                continue;
            }
            // A pipe that was named is read: the shell makes one for `<(command)`.
            if entry.depth() > 0 && !entry.file_type().is_file() {
                files.skipped.push(entry.into_path());
                continue;
            }
            // A folder may be named twice, or with a file in it.
            let file = entry
                .path()
                .canonicalize()
                .unwrap_or(entry.path().to_owned());
            if entry.file_type().is_file() && !read.insert(file) {
                is_known = true;
                continue;
            }
            let (name, text) = (entry.path().display().to_string(), text(entry.path())?);
            if entry.depth() > 0 && is_foreign(&text) {
                files.foreign += 1;
            } else {
                files.texts.push((name, text));
            }
        }
        if files.texts.len() == before && !is_known {
            let message = "holds no rules; Sigma files end in .yml or .yaml";
            return Err(unreadable(path, message));
        }
    }
    Ok(files)
}

/// Values of `|expand` placeholders; empty without a file.
///
/// # Errors
///
/// [`RunFailure::Rules`] with the name of the file and the remedy.
pub fn vars(path: Option<&Path>) -> Result<Placeholders, RunFailure> {
    let Some(path) = path else {
        return Ok(Placeholders::new());
    };
    vars::read(&text(path)?).map_err(|error| unreadable(path, error))
}

/// A file that was named is always a rule file; in folders the extension decides.
fn is_rule_file(entry: &DirEntry) -> bool {
    !entry.file_type().is_dir() && (entry.depth() == 0 || is_rule(&entry.path().to_string_lossy()))
}

fn text(path: &Path) -> Result<String, RunFailure> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, error))
}

fn unreadable(path: &Path, why: impl std::fmt::Display) -> RunFailure {
    RunFailure::Rules(format!("{}: {why}", path.display()))
}

/// Loads the access policy, with the lists of networks that it may name; `None` if none is named.
///
/// # Errors
///
/// [`RunFailure::Rules`] with the name of the file, the line and the remedy.
pub fn policy(
    named: &PolicyArgs,
    networks: &NetworkLists,
) -> Result<Option<AccessPolicy>, RunFailure> {
    let Some(path) = &named.policy else {
        return Ok(None);
    };
    let (policy, _) = policy_text(path)?;
    policy_with(policy.strict(named.strict), path, networks).map(Some)
}

/// An access policy, read from a file, with the lists of networks that it names.
fn policy_with(
    policy: AccessPolicy,
    path: &Path,
    networks: &NetworkLists,
) -> Result<AccessPolicy, RunFailure> {
    policy.with_networks(networks).map_err(|missing| {
        let MissingList(label) = &missing;
        let remedy = format!("{missing}; name its file with --networks {label}=FILE");
        unreadable(path, remedy)
    })
}

/// Loads an access policy that is about logs, with lists of networks, and its text.
///
/// # Errors
///
/// See [`policy`].
pub fn policy_and_text(
    path: &Path,
    lists: &NetworkArgs,
) -> Result<(AccessPolicy, String), RunFailure> {
    let (policy, text) = policy_text(path)?;
    Ok((policy_with(policy, path, &networks(lists)?)?, text))
}

/// Loads an access policy and its text; it knows no lists of networks.
///
/// # Errors
///
/// See [`policy`].
pub fn policy_text(path: &Path) -> Result<(AccessPolicy, String), RunFailure> {
    let text = text(path)?;
    let policy = text.parse().map_err(|error| unreadable(path, error))?;
    Ok((policy, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::for_tests::in_memory;

    #[test]
    fn lists_of_networks_are_named_by_the_rules_that_need_them() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let rule = |field: &str, value: &str| {
            let text = format!(
                "title: t\nid: t\nlogsource: {{product: aws, category: secret_access}}\n\
                 detection: {{a: {{{field}: {value}}}, condition: a}}\nlevel: low\n"
            );
            at(&format!("{field}-{value}.yml"), &text)
        };
        let load = |rule: &Path, lists: &[(&str, &Path)]| {
            let networks = lists.iter().map(|(label, path)| NetworkFile {
                label: (*label).to_owned(),
                path: (*path).to_owned(),
            });
            let named = RuleFilesArgs {
                rules: vec![rule.to_owned()],
                lists: NetworkArgs {
                    networks: networks.collect(),
                },
                ..RuleFilesArgs::default()
            };
            let mut host = in_memory("2026-03-02T00:00:00Z");
            let pack = super::rules(&named, &mut host);
            pack.map(|pack| pack.set.networks().has("own"))
        };
        let own = at("own.txt", "192.0.2.0/24\n");
        let (class, list) = (rule("source.class", "own"), rule("source.lists", "vpn"));
        assert!(load(&class, &[("own", &own)]).unwrap());
        let error = |rule: &Path, lists: &[(&str, &Path)]| {
            let error = load(rule, lists).unwrap_err();
            assert!(matches!(error, RunFailure::Rules(_)));
            error.to_string()
        };
        assert!(error(&class, &[]).contains("--networks own=FILE"));
        assert!(error(&list, &[("own", &own)]).contains("--networks vpn=FILE"));
        let odd = rule("source.class", "office");
        assert!(error(&odd, &[]).contains("`office` is no class of sources"));
        let broken = at("broken.txt", "ten\n");
        assert!(error(&class, &[("own", &broken)]).contains("line 1: `ten` is no network"));
        // A class that the address shows needs no list.
        assert!(!load(&rule("source.class", "private"), &[]).unwrap());
    }

    #[test]
    fn in_folders_only_sigma_files_count_but_a_named_file_always() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            std::fs::write(folder.path().join(name), "title: x\nlevel: low\n").unwrap();
        };
        ["b.yml", "a.yaml", "notes.txt"].into_iter().for_each(write);
        let names = |paths: &[PathBuf]| -> Vec<String> {
            let files = files(paths).unwrap().texts.into_iter();
            files
                .map(|(name, _)| name.rsplit('/').next().unwrap().to_owned())
                .collect()
        };
        assert_eq!(names(&[folder.path().to_owned()]), ["a.yaml", "b.yml"]);
        assert_eq!(names(&[folder.path().join("notes.txt")]), ["notes.txt"]);
        assert_eq!(files(&[]).unwrap().texts.len(), 0, "the pack, then");
        let twice = [folder.path().to_owned(), folder.path().join("b.yml")];
        assert_eq!(names(&twice), ["a.yaml", "b.yml"]);
        std::fs::write(folder.path().join("c.yml"), "services: {}\n").unwrap();
        let found = files(&[folder.path().to_owned()]).unwrap();
        assert_eq!((found.texts.len(), found.foreign), (2, 1));
    }

    #[cfg(unix)]
    #[test]
    fn sockets_and_devices_among_rules_are_skipped_without_being_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a.yml"), "title: x\nlevel: low\n").unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("b.yml")).unwrap();
        let files = files(&[folder.path().to_owned()]).unwrap();
        assert_eq!((files.texts.len(), files.skipped), (1, vec![path("b.yml")]));
    }

    #[test]
    fn a_folder_without_rules_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = files(&[folder.path().to_owned()]).unwrap_err().to_string();
        assert!(
            error.ends_with("holds no rules; Sigma files end in .yml or .yaml"),
            "{error}"
        );
    }
}
