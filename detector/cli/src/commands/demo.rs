//! `demo`: example logs from the binary, and what the other commands say about them.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use clap::Parser;
use include_dir::{Dir, include_dir};
use serde_json::Value;

use crate::{
    args::{CommandArgs, CommandLine, DemoArgs},
    exit,
    host::{ProcessHost, RunFailure, print},
    output::target,
    text::shell_quoted,
};

/// Runs a command; commands do not import each other.
pub type Execute = fn(CommandArgs, &mut ProcessHost) -> Result<u8, RunFailure>;

static LOGS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../tests/examples/logs");
static AFTERNOON: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../tests/examples/afternoon");
const POLICY: &[u8] = include_bytes!("../../../../tests/examples/access-policy.yaml");

/// The file by which a folder is known as one of ours, and its first line.
const NOTE: &str = "README.txt";
const MADE_BY: &str = "Made by `secretrail demo`.";

/// The rest of the note.
const ABOUT: &str = "

logs/               a morning of an invented account, as CloudTrail delivers it
afternoon/          what its owners did afterwards
access-policy.yaml  who is expected to read what
incidents.json      what `secretrail replay` found, for programs
report.html         the same for people, in a browser

Nobody in these files exists. Delete the folder whenever you like.
";

/// Runs the command and returns its exit code.
///
/// # Errors
///
/// [`RunFailure::Usage`]: the folder holds files of somebody else. [`RunFailure::Output`]: a file
/// could not be written.
pub fn run(args: &DemoArgs, execute: Execute, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let demo = Demo::new(&args.folder);
    demo.write()?;
    print(host, &demo.opening())?;
    let replay = [OsStr::new("replay"), demo.logs.as_os_str()];
    demo.show(&replay, execute, host)?;
    let id = demo.worst(execute, host)?;
    print(host, "\nOne of them, for whoever is on call:\n")?;
    let id = OsStr::new(&id);
    demo.show(
        &[OsStr::new("explain"), id, demo.logs.as_os_str()],
        execute,
        host,
    )?;
    demo.run(&replay, "html", &demo.report, execute, host)?;
    print(host, &demo.closing(&id.to_string_lossy()))?;
    Ok(exit::DONE)
}

/// The folder, and what is in it.
struct Demo {
    folder: PathBuf,
    logs: PathBuf,
    afternoon: PathBuf,
    policy: PathBuf,
    incidents: PathBuf,
    report: PathBuf,
}

impl Demo {
    fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            logs: folder.join("logs"),
            afternoon: folder.join("afternoon"),
            policy: folder.join("access-policy.yaml"),
            incidents: folder.join("incidents.json"),
            report: folder.join("report.html"),
        }
    }

    /// Writes the examples; nothing, if the folder is not ours.
    fn write(&self) -> Result<(), RunFailure> {
        self.must_be_ours()?;
        let note = format!("{MADE_BY}{ABOUT}");
        let mut files = vec![(self.policy.clone(), POLICY)];
        add_files(&LOGS, &self.logs, &mut files);
        add_files(&AFTERNOON, &self.afternoon, &mut files);
        let mut missing = Vec::new();
        for (path, bytes) in files {
            match fs::read(&path) {
                Ok(present) if present == bytes => {}
                Ok(_) => return Err(changed(&path)),
                Err(_) => missing.push((path, bytes)),
            }
        }
        // The note comes first: the folder is ours even if this run is interrupted.
        missing.insert(0, (self.folder.join(NOTE), note.as_bytes()));
        missing.into_iter().try_for_each(|(path, bytes)| {
            let parent = path.parent().unwrap_or(&self.folder);
            fs::create_dir_all(parent).map_err(|error| unwritten(parent, error))?;
            target::write_made_file(&path, bytes)
        })
    }

    /// Fails if there are files of somebody else.
    fn must_be_ours(&self) -> Result<(), RunFailure> {
        let mut entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unwritten(&self.folder, error)),
        };
        let note = fs::read_to_string(self.folder.join(NOTE)).unwrap_or_default();
        if entries.next().is_none() || note.starts_with(MADE_BY) {
            return Ok(());
        }
        Err(RunFailure::Usage(format!(
            "{} has files that `secretrail demo` has not written; name a new folder, as in \
             secretrail demo my-demo",
            shell_quoted(&self.folder.to_string_lossy())
        )))
    }

    fn opening(&self) -> String {
        format!(
            "{} now holds a morning of an invented account, as CloudTrail logs\n\
             it, and an access policy. Who read secrets, and should not have?\n",
            shell_quoted(&self.folder.to_string_lossy())
        )
    }

    /// Prints a command with the policy, runs it, and prints what it says.
    fn show(
        &self,
        words: &[&OsStr],
        execute: Execute,
        host: &mut ProcessHost,
    ) -> Result<(), RunFailure> {
        let words = self.with_policy(words);
        print(host, &format!("\n$ {}\n\n", typed(&words)))?;
        run_words(words, execute, host)
    }

    /// Runs a command with the policy that writes a file.
    fn run(
        &self,
        words: &[&OsStr],
        format: &str,
        output: &Path,
        execute: Execute,
        host: &mut ProcessHost,
    ) -> Result<(), RunFailure> {
        let mut words = self.with_policy(words);
        words.extend(["-q", "-f", format, "-o"].map(OsString::from));
        words.push(output.as_os_str().to_owned());
        run_words(words, execute, host)
    }

    /// Id of the most suspicious incident, shortened as people see it.
    fn worst(&self, execute: Execute, host: &mut ProcessHost) -> Result<String, RunFailure> {
        let words = ["replay", "--incidents"].map(OsStr::new);
        let words = [&words[..], &[self.logs.as_os_str()]].concat();
        self.run(&words, "json", &self.incidents, execute, host)?;
        let text = fs::read(&self.incidents).map_err(|error| unwritten(&self.incidents, error))?;
        let incidents: Value = serde_json::from_slice(&text).unwrap_or_default();
        let id = incidents.pointer("/0/id").and_then(Value::as_str);
        let id = id
            .and_then(|id| id.get(..10))
            .ok_or_else(|| RunFailure::Internal("the example logs have no incident".to_owned()))?;
        Ok(id.to_owned())
    }

    fn with_policy(&self, words: &[&OsStr]) -> Vec<OsString> {
        let policy = [OsStr::new("--policy"), self.policy.as_os_str()];
        let words = words.iter().chain(&policy);
        words.map(|word| (*word).to_owned()).collect()
    }

    /// What to do next.
    fn closing(&self, id: &str) -> String {
        let [logs, afternoon, policy, report, folder] = [
            &self.logs,
            &self.afternoon,
            &self.policy,
            &self.report,
            &self.folder,
        ]
        .map(|path| shell_quoted(&path.to_string_lossy()));
        format!(
            "
What to do next:
  Open {report} in a browser: the same incidents, with evidence.

  Which values got out, and do they still work after the afternoon?
    secretrail exposure {logs} {afternoon} --policy {policy} --incident {id}

  The same with logs of yours: a folder, an archive, or s3://bucket/prefix
    secretrail summary AWSLogs/ --since 7d
    secretrail replay AWSLogs/ --since 30d

  Everything in {folder} is invented; delete it whenever you like.
"
        )
    }
}

/// Adds the files of an embedded folder, with their paths below another.
fn add_files(dir: &Dir<'static>, folder: &Path, files: &mut Vec<(PathBuf, &'static [u8])>) {
    for file in dir.files() {
        files.push((folder.join(file.path()), file.contents()));
    }
    dir.dirs().for_each(|dir| add_files(dir, folder, files));
}

/// Runs a command line.
fn run_words(
    words: Vec<OsString>,
    execute: Execute,
    host: &mut ProcessHost,
) -> Result<(), RunFailure> {
    let words = std::iter::once(OsString::from("secretrail")).chain(words);
    let parsed = CommandLine::try_parse_from(words)
        .map_err(|error| RunFailure::Internal(error.to_string()))?;
    match execute(parsed.command, host)? {
        exit::DONE => Ok(()),
        code => Err(RunFailure::Internal(format!(
            "a command of the demo ended with exit code {code}"
        ))),
    }
}

/// A command line as people type it.
fn typed(words: &[OsString]) -> String {
    let words = words
        .iter()
        .map(|word| shell_quoted(&word.to_string_lossy()));
    let words: Vec<String> = std::iter::once("secretrail".to_owned())
        .chain(words)
        .collect();
    words.join(" ")
}

fn changed(path: &Path) -> RunFailure {
    RunFailure::Usage(format!(
        "{} is not as `secretrail demo` writes it, and would be overwritten; delete it, or name a \
         new folder, as in secretrail demo my-demo",
        shell_quoted(&path.to_string_lossy())
    ))
}

fn unwritten(path: &Path, error: std::io::Error) -> RunFailure {
    RunFailure::Output {
        name: path.to_string_lossy().into_owned(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::tests::{LOGS as EXAMPLES, ran};

    #[test]
    fn a_folder_is_made_and_its_incidents_are_found_explained_and_reported() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("my demo");
        let first = ran(&["demo", folder.to_str().unwrap()]);
        assert_eq!(first.code, exit::DONE, "{}", first.err);
        let lines = first.out.lines();
        let heads = lines.filter(|line| line.starts_with("CRITICAL ") || line.starts_with("HIGH "));
        // Five in the list, and one that is explained.
        assert_eq!(heads.count(), 6, "{}", first.out);
        assert!(first.out.contains("\ncheck first:\n"), "{}", first.out);
        let logs = folder.join("logs");
        let quoted = format!("$ secretrail replay '{}' --policy", logs.display());
        assert!(first.out.contains(&quoted), "{}", first.out);
        let report = fs::read_to_string(folder.join("report.html")).unwrap();
        assert!(report.starts_with("<!doctype html>"), "{report:.100}");
        let files = |folder: &Path| {
            let all = walkdir::WalkDir::new(folder).into_iter();
            all.filter(|entry| entry.as_ref().unwrap().file_type().is_file())
                .count()
        };
        assert_eq!(files(&logs), files(Path::new(EXAMPLES)));
        // Again: what is missing is written, and the same is said.
        fs::remove_dir_all(&logs).unwrap();
        let again = ran(&["demo", folder.to_str().unwrap()]);
        assert_eq!((again.code, again.out), (first.code, first.out));
    }

    #[test]
    fn the_commands_at_the_end_run() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("demo");
        let out = ran(&["demo", folder.to_str().unwrap()]).out;
        let lines = out.lines().map(str::trim);
        let next = lines.filter_map(|line| line.strip_prefix("secretrail exposure "));
        let next: Vec<&str> = next.collect();
        let [next] = next.as_slice() else {
            panic!("{out}");
        };
        let words: Vec<&str> = std::iter::once("exposure").chain(next.split(' ')).collect();
        let shown = ran(&words);
        assert_eq!(shown.code, exit::DONE, "{}", shown.err);
        assert!(shown.out.starts_with("OPEN "), "{}", shown.out);
    }

    #[test]
    fn files_of_somebody_else_are_left_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let evidence = folder.path().join("evidence");
        fs::write(&evidence, "x").unwrap();
        let refused = ran(&["demo", path]);
        assert_eq!(refused.code, exit::USAGE);
        assert!(refused.err.contains("name a new folder"), "{}", refused.err);
        assert_eq!(fs::read_dir(path).unwrap().count(), 1);
        // An empty folder is taken, and what was changed in it later is not overwritten.
        fs::remove_file(&evidence).unwrap();
        assert_eq!(ran(&["demo", path]).code, exit::DONE);
        let policy = folder.path().join("access-policy.yaml");
        fs::write(&policy, "version: 1\ngrants: []\n").unwrap();
        let refused = ran(&["demo", path]);
        assert_eq!(refused.code, exit::USAGE);
        assert!(
            refused.err.contains("would be overwritten"),
            "{}",
            refused.err
        );
        assert_eq!(fs::read(&policy).unwrap(), b"version: 1\ngrants: []\n");
        // A file in place of a folder.
        let file = ran(&["demo", policy.to_str().unwrap()]);
        assert_eq!(file.code, exit::OUTPUT, "{}", file.err);
    }
}
