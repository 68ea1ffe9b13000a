//! Refuses to write over what is read, and to write two results to one file. [`refuse_named`] looks
//! at every option of every command, before the command starts.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command};
use same_file::Handle;
use secretrail_engine::{object, report::SkippedObject};
use secretrail_pack::is_rule;
use walkdir::WalkDir;

use crate::{
    args::{
        NetworkFile,
        path::{is_stdin, is_stdout},
    },
    host::RunFailure,
    input::object::{InputObject, ObjectPlace},
};

/// What a command does with the path of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PathRole {
    /// Reads the file, or the logs of the folder.
    Input,
    /// Reads the file, or the rules of the folder.
    Rules,
    /// Writes the file, which replaces what is there.
    Output,
    /// A folder for files whose names the program makes.
    Folder,
}

/// What commands do with the path of the argument of this name; `None` for a name that is not
/// known, which is taken for an input.
fn known_role(id: &str) -> Option<PathRole> {
    match id {
        "paths" | "events" | "policy" | "old" | "new" | "merge" | "vars" | "networks" | "geoip"
        | "public_keys" | "checkpoint" | "failed_of" | "inventory" | "job" | "terraform" => {
            Some(PathRole::Input)
        }
        "rules" | "compare" => Some(PathRole::Rules),
        "output" | "draft_iam" | "review" | "junit" => Some(PathRole::Output),
        // `all` of `man`, and `folder` of `demo`.
        "all" | "folder" | "temp_dir" => Some(PathRole::Folder),
        _ => None,
    }
}

/// The paths of a command line.
#[derive(Debug, Default)]
struct NamedPaths {
    inputs: Vec<(PathRole, PathBuf)>,
    /// With the option, as in `--output`.
    outputs: Vec<(String, PathBuf)>,
}

impl NamedPaths {
    /// The paths of the command that was typed.
    fn of(mut command: &Command, mut matches: &ArgMatches) -> Self {
        while let Some((name, below)) = matches.subcommand() {
            let Some(typed) = command.find_subcommand(name) else {
                break;
            };
            (command, matches) = (typed, below);
        }
        let mut named = Self::default();
        for arg in command.get_arguments() {
            let id = arg.get_id().as_str();
            let role = known_role(id).unwrap_or(PathRole::Input);
            for path in paths(matches, id) {
                match role {
                    PathRole::Output => {
                        let option = arg.get_long().unwrap_or(id);
                        named.outputs.push((format!("--{option}"), path));
                    }
                    PathRole::Input | PathRole::Rules => named.inputs.push((role, path)),
                    PathRole::Folder => {}
                }
            }
        }
        named
    }
}

/// The paths that an argument has; none if it takes something else.
fn paths(matches: &ArgMatches, id: &str) -> Vec<PathBuf> {
    if let Ok(Some(paths)) = matches.try_get_many::<PathBuf>(id) {
        return paths.cloned().collect();
    }
    let lists = matches.try_get_many::<NetworkFile>(id).ok().flatten();
    let lists = lists.into_iter().flatten();
    lists.map(|list| list.path.clone()).collect()
}

/// Checks that no output of a command line is one of its inputs or another output. `config` is the
/// file with the defaults of options.
///
/// # Errors
///
/// [`RunFailure::Usage`]: an output is one of them.
pub fn refuse_named(
    command: &Command,
    matches: &ArgMatches,
    config: Option<&Path>,
) -> Result<(), RunFailure> {
    let NamedPaths {
        mut inputs,
        outputs,
    } = NamedPaths::of(command, matches);
    inputs.extend(config.map(|config| (PathRole::Input, config.to_owned())));
    let mut earlier: Vec<(&str, WrittenFile)> = Vec::new();
    for (option, path) in outputs.iter().filter(|(_, path)| !is_stdout(path)) {
        let Some(written) = WrittenFile::of(path) else {
            continue;
        };
        if let Some((other, _)) = earlier.iter().find(|(_, other)| other.is(&written)) {
            return Err(RunFailure::Usage(format!(
                "{other} and {option} name the same file; choose another one"
            )));
        }
        let lost = inputs.iter().find_map(|(role, input)| match role {
            PathRole::Rules => written.lost_rule(input),
            _ => written.lost(input),
        });
        if let Some(name) = lost {
            return Err(refusal(option, path, &name));
        }
        earlier.push((option, written));
    }
    Ok(())
}

/// Checks that the files to write, each with its option, are none of these, by any of their names:
/// what was found under the paths of a run.
///
/// # Errors
///
/// [`RunFailure::Usage`]: one is.
pub fn refuse_found<'p>(
    outputs: impl Iterator<Item = (&'static str, &'p Path)>,
    inputs: &[InputObject],
) -> Result<(), RunFailure> {
    for (option, path) in outputs {
        // A file that does not exist yet was not found.
        let Some(written) = WrittenFile::of(path).filter(|written| written.handle.is_some()) else {
            continue;
        };
        let lost = files(inputs).find_map(|input| written.lost(input));
        if let Some(name) = lost {
            return Err(refusal(option, path, &name));
        }
    }
    Ok(())
}

fn refusal(option: &str, output: &Path, input: &str) -> RunFailure {
    RunFailure::Usage(format!(
        "{option} {} is the same file as {input}, which would be lost; choose another file",
        output.display(),
    ))
}

/// A file that is to be written.
#[derive(Debug)]
struct WrittenFile {
    /// The file of this name now; `None` if there is none, or if it cannot be opened.
    handle: Option<Handle>,
    /// Its path without links; `None` if its folder does not exist.
    place: Option<PathBuf>,
}

impl WrittenFile {
    /// `None` for what is no file: devices, and `/dev/stdout`, which may be where logs come from.
    fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path);
        if meta.as_ref().is_ok_and(|meta| !meta.is_file()) {
            return None;
        }
        Some(Self {
            handle: meta.ok().and_then(|_| Handle::from_path(path).ok()),
            place: place(path),
        })
    }

    fn is(&self, other: &Self) -> bool {
        let by_handle = self.handle.is_some() && self.handle == other.handle;
        by_handle || (self.place.is_some() && self.place == other.place)
    }

    /// The name of the input that would be lost: this one, or a file in this folder of logs that
    /// may be one. Also those that this run does not read are evidence.
    fn lost(&self, input: &Path) -> Option<String> {
        if is_stdin(input) {
            let stdin = Handle::stdin().ok();
            let is_stdin = stdin.is_some() && stdin == self.handle;
            return is_stdin.then(|| "standard input".to_owned());
        }
        // What cannot be looked at is reported when it is read.
        let is_folder = std::fs::metadata(input).is_ok_and(|meta| meta.is_dir());
        if !is_folder {
            let is_same = Self::of(input).is_some_and(|input| self.is(&input));
            return is_same.then(|| input.display().to_string());
        }
        let place = self.place.as_ref()?;
        let inside = place.strip_prefix(input.canonicalize().ok()?).ok()?;
        let name = place.to_string_lossy();
        let skipped = SkippedObject::by_name(&object::parse(&name), &name);
        // A new file takes the place of none of them.
        let is_lost = place.exists() && skipped != Some(SkippedObject::NotALog);
        is_lost.then(|| input.join(inside).display().to_string())
    }

    /// The name of the rule that would be lost: this file, or one in this folder of rules.
    fn lost_rule(&self, rules: &Path) -> Option<String> {
        if !rules.is_dir() {
            return self.lost(rules);
        }
        // A new file takes the place of none of them.
        self.handle.as_ref()?;
        let entries = WalkDir::new(rules).follow_links(true).into_iter();
        let mut files = entries.filter_map(Result::ok).filter(|entry| {
            entry.file_type().is_file() && is_rule(&entry.path().to_string_lossy())
        });
        files.find_map(|entry| self.lost(entry.path()))
    }
}

/// Links that are followed before one is taken for a circle.
const LINKS: usize = 40;

/// The path of a file without links, whether it exists or not; `None` if its folder does not exist.
fn place(path: &Path) -> Option<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        if let Ok(place) = path.canonicalize() {
            return Some(place);
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let Ok(target) = std::fs::read_link(&path) else {
            return Some(folder.canonicalize().ok()?.join(path.file_name()?));
        };
        // An absolute target replaces the whole path.
        path = folder.join(target);
    }
    None
}

/// The files among objects.
fn files(objects: &[InputObject]) -> impl Iterator<Item = &Path> {
    objects.iter().filter_map(|object| match &object.place {
        ObjectPlace::File(path) => Some(path.as_path()),
        ObjectPlace::S3(_) | ObjectPlace::Stdin => None,
    })
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;

    use super::*;
    use crate::args::guide;

    /// The refusal of a command line, whose words may name files of a folder by `@`; empty if
    /// there is none.
    fn refusal(folder: &Path, words: &str) -> String {
        let at = format!("{}/", folder.display());
        let words = format!("secretrail {}", words.replace('@', &at));
        let command = guide::command();
        let matches = command.try_get_matches_from(words.split(' ')).unwrap();
        let refused = refuse_named(&guide::command(), &matches, Some(&folder.join("own.toml")));
        let Err(failure) = refused else {
            return String::new();
        };
        assert_eq!(failure.exit_code(), crate::exit::USAGE);
        failure.to_string().replace(&at, "@")
    }

    fn prepared() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["logs", "logs/below", "rules"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        for name in [
            "logs/a.json",
            "logs/below/b.json.gz",
            "logs/report.html",
            "rules/r.yml",
            "policy.yaml",
            "nets.txt",
            "alerts.jsonl",
            "keys.json",
            "db.mmdb",
            "own.toml",
            "run.ckpt",
            "old.csv",
        ] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        std::fs::hard_link(
            folder.path().join("policy.yaml"),
            folder.path().join("hard"),
        )
        .unwrap();
        folder
    }

    #[test]
    fn no_output_takes_the_place_of_an_input() {
        let folder = prepared();
        for (words, lost) in [
            ("accesses @logs/a.json -o @logs/a.json", "logs/a.json"),
            (
                "accesses @logs/a.json -o @logs/../logs/a.json",
                "logs/a.json",
            ),
            (
                "accesses @logs -o @logs/below/b.json.gz",
                "logs/below/b.json.gz",
            ),
            (
                "baseline @logs -o @new --draft-iam @logs/a.json",
                "logs/a.json",
            ),
            (
                "baseline @logs --networks own=@nets.txt --draft-iam @nets.txt",
                "nets.txt",
            ),
            (
                "baseline @logs --merge @policy.yaml -o @policy.yaml",
                "policy.yaml",
            ),
            (
                "policy lint @logs --policy @policy.yaml -o @hard",
                "policy.yaml",
            ),
            ("explain 0a @alerts.jsonl -o @alerts.jsonl", "alerts.jsonl"),
            ("replay @logs -r @rules -o @rules/r.yml", "rules/r.yml"),
            (
                "replay @logs --compare @rules -o @rules/r.yml",
                "rules/r.yml",
            ),
            (
                "replay @logs -r @rules/r.yml -o @rules/r.yml",
                "rules/r.yml",
            ),
            ("rules test -r @rules --junit @rules/r.yml", "rules/r.yml"),
            ("summary @logs --geoip @db.mmdb -o @db.mmdb", "db.mmdb"),
            (
                "verify @logs --public-keys @keys.json -o @keys.json",
                "keys.json",
            ),
            ("gaps @logs --checkpoint @run.ckpt -o @run.ckpt", "run.ckpt"),
            ("exposure @logs --checkpoint @none -o @none", "none"),
            ("accesses @logs -o @own.toml", "own.toml"),
            ("doctor -o @own.toml", "own.toml"),
        ] {
            let text = refusal(folder.path(), words);
            let expected = format!("is the same file as @{lost}, which would be lost");
            assert!(text.contains(&expected), "{words}: {text}");
        }
    }

    #[test]
    fn other_files_are_written() {
        let folder = prepared();
        for words in [
            "accesses @logs -o @old.csv",
            "accesses @logs -o @logs/new.json",
            "accesses @logs -o @logs/report.html",
            "accesses @logs -o /dev/null",
            "accesses @logs -o -",
            "accesses @logs -o @no/such/folder",
            "replay @logs -r @rules -o @rules/new.yml",
            "baseline @logs -o /dev/null --draft-iam /dev/null",
            "extract @logs -o @logs/below",
            "backfill plan s3://logs/AWSLogs -o s3://logs/AWSLogs",
            "man --all @logs",
        ] {
            assert_eq!(refusal(folder.path(), words), "", "{words}");
        }
    }

    #[test]
    fn two_outputs_are_two_files() {
        let folder = prepared();
        for words in [
            "baseline @logs -o @new --draft-iam @new",
            "baseline @logs -o @new --draft-iam @logs/../new",
            "baseline @logs -o @old.csv --draft-iam @old.csv",
        ] {
            let text = refusal(folder.path(), words);
            assert!(text.contains("name the same file"), "{words}: {text}");
        }
        let two = "baseline @logs -o @new --draft-iam @old.csv";
        assert_eq!(refusal(folder.path(), two), "");
    }

    #[cfg(unix)]
    #[test]
    fn links_lead_to_the_file_that_would_be_lost() {
        use std::os::unix::fs::symlink;

        let folder = prepared();
        let at = |name: &str| folder.path().join(name);
        symlink(at("logs/a.json"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        let text = refusal(folder.path(), "accesses @logs -o @link");
        assert!(text.contains("same file as @logs/a.json"), "{text}");
        let both = "baseline @logs -o @nowhere --draft-iam @dangling";
        assert!(refusal(folder.path(), both).contains("the same file"));
        // A link in a folder of rules, and objects that were found by a link in a folder of logs.
        symlink(at("old.csv"), at("rules/s.yml")).unwrap();
        let text = refusal(folder.path(), "replay @logs -r @rules -o @old.csv");
        assert!(text.contains("same file as @rules/s.yml"), "{text}");
        let place = ObjectPlace::File(at("link"));
        let found = [InputObject::at(place, "link".to_owned(), "link", false)];
        let log = at("logs/a.json");
        assert!(refuse_found([("--draft-iam", &*log)].into_iter(), &found).is_err());
        refuse_found([("--output", &*at("old.csv"))].into_iter(), &found).unwrap();
    }

    /// An option for a path that is not listed would be taken for an input.
    #[test]
    fn the_role_of_every_path_is_known() {
        fn look(command: &Command, known: &mut usize) {
            for arg in command.get_arguments() {
                let kind = arg.get_value_parser().type_id();
                if kind == TypeId::of::<PathBuf>() || kind == TypeId::of::<NetworkFile>() {
                    let id = arg.get_id().as_str();
                    let name = command.get_name();
                    assert!(known_role(id).is_some(), "{name}: say what {id} is for");
                    *known += 1;
                }
            }
            command
                .get_subcommands()
                .for_each(|below| look(below, known));
        }
        let mut known = 0;
        look(&guide::command(), &mut known);
        assert!(known > 50, "{known}");
    }
}
