//! `man`: the manual pages of the command and of each of its commands.

use std::{fs, path::Path};

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use crate::{
    args::{ManArgs, guide},
    exit,
    host::{ProcessHost, RunFailure, print},
    output::target,
};

/// Prints a page, or writes all of them, and returns the exit code.
///
/// # Errors
///
/// [`RunFailure::Usage`]: there is no such command. [`RunFailure::Output`]: a page could not be
/// written.
pub fn run(args: &ManArgs, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let mut command = guide::command().disable_help_subcommand(true);
    // Names and inherited options of commands exist only after `build`.
    command.build();
    match &args.all {
        Some(folder) => write_all(&command, folder)?,
        None => print(host, &page(named(&command, &args.command)?)?)?,
    }
    Ok(exit::DONE)
}

/// The command with this name, a word for each level.
fn named<'c>(root: &'c Command, words: &[String]) -> Result<&'c Command, RunFailure> {
    words.iter().try_fold(root, |command, word| {
        command.find_subcommand(word).ok_or_else(|| {
            let known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            let name = guide::name(command);
            RunFailure::Usage(match known.as_slice() {
                [] => format!("{name} has no command `{word}`; write secretrail man COMMAND"),
                known => format!(
                    "{name} has no command `{word}`; its commands are {}",
                    known.join(", ")
                ),
            })
        })
    })
}

/// Writes the page of a command and of those below it.
fn write_all(command: &Command, folder: &Path) -> Result<(), RunFailure> {
    let failure = |error| RunFailure::Output {
        name: folder.to_string_lossy().into_owned(),
        error,
    };
    fs::create_dir_all(folder).map_err(failure)?;
    let path = folder.join(format!("{}.1", title(command)));
    target::write_made_file(&path, page(command)?.as_bytes())?;
    let mut below = command.get_subcommands();
    below.try_for_each(|below| write_all(below, folder))
}

/// The name of a page: `secretrail-rules-test`.
fn title(command: &Command) -> String {
    guide::name(command).replace(' ', "-")
}

/// The page of a command.
fn page(command: &Command) -> Result<String, RunFailure> {
    let source = format!("secretrail {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone())
        .title(title(command))
        .source(source);
    let mut page = Vec::new();
    let rendered = render(&man, command, &mut page);
    rendered.map_err(|error| RunFailure::Internal(error.to_string()))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn render(man: &Man, command: &Command, page: &mut Vec<u8>) -> Result<(), std::io::Error> {
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(page)?;
    }
    let mut roff = Roff::new();
    examples(command, &mut roff);
    entries("FILES", &guide::files(command), &mut roff);
    entries("ENVIRONMENT", &guide::environment(command), &mut roff);
    if let Some(codes) = guide::exit_codes(command) {
        roff.control("SH", ["EXIT STATUS"]);
        roff.text([roman(codes)]);
    }
    see_also(command, &mut roff);
    roff.to_writer(page)
}

fn examples(command: &Command, roff: &mut Roff) {
    let examples = guide::examples(command);
    if examples.is_empty() {
        return;
    }
    roff.control("SH", ["EXAMPLES"]);
    for (does, line) in examples {
        roff.control("PP", []);
        roff.text([roman(does)]);
        roff.control("RS", ["4"]);
        roff.control("nf", []);
        roff.text([bold(line)]);
        roff.control("fi", []);
        roff.control("RE", []);
    }
}

/// A section of names and what they are.
fn entries(heading: &str, entries: &[guide::Entry], roff: &mut Roff) {
    if entries.is_empty() {
        return;
    }
    roff.control("SH", [heading]);
    for (name, what) in entries {
        roff.control("TP", []);
        roff.text([bold(*name)]);
        roff.text([roman(*what)]);
    }
}

/// The page above, which lists the others.
fn see_also(command: &Command, roff: &mut Roff) {
    if let Some((above, _)) = guide::name(command).rsplit_once(' ') {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold(above.replace(' ', "-")), roman("(1)")]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::tests::ran;

    /// Every command at every level, by its words.
    fn all(command: &Command, words: &[String], found: &mut Vec<Vec<String>>) {
        found.push(words.to_vec());
        for below in command.get_subcommands() {
            let words = [words, &[below.get_name().to_owned()]].concat();
            all(below, &words, found);
        }
    }

    #[test]
    fn every_command_has_a_page_with_examples() {
        let mut commands = Vec::new();
        all(&guide::command(), &[], &mut commands);
        assert!(commands.len() > 30, "{commands:?}");
        for words in commands {
            let typed: Vec<&str> = words.iter().map(String::as_str).collect();
            let page = ran(&[&["man"], &typed[..]].concat());
            assert_eq!((page.code, page.err.as_str()), (exit::DONE, ""));
            let name = [&["secretrail"], &typed[..]].concat().join("-");
            let title = format!(".TH {name} 1");
            assert!(page.out.contains(&title), "{name}: {}", page.out);
            assert!(page.out.contains(".SH EXAMPLES"), "{name}");
            assert!(!page.out.contains(".SH EXTRA"), "{name}");
        }
    }

    #[test]
    fn a_page_names_the_files_and_variables_that_its_command_uses() {
        let replay = ran(&["man", "replay"]).out;
        for text in [
            "FILES",
            "secretrail.toml",
            "ENVIRONMENT",
            "TMPDIR",
            "EXIT STATUS",
        ] {
            assert!(replay.contains(text), "{text}: {replay}");
        }
        assert!(replay.contains("AWS_PROFILE") && replay.contains("NO_COLOR"));
        let diff = ran(&["man", "policy", "diff"]).out;
        assert!(!diff.contains("AWS_PROFILE") && !diff.contains("TMPDIR"));
        assert!(diff.contains("secretrail\\-policy"), "{diff}");
    }

    #[test]
    fn all_pages_are_written_and_a_wrong_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pages = folder.path().join("man1");
        assert_eq!(
            ran(&["man", "--all", pages.to_str().unwrap()]).code,
            exit::DONE
        );
        for name in ["secretrail", "secretrail-replay", "secretrail-rules-test"] {
            assert!(pages.join(format!("{name}.1")).exists(), "{name}");
        }
        let wrong = ran(&["man", "rules", "tset"]);
        assert_eq!(wrong.code, exit::USAGE);
        assert!(
            wrong.err.contains("its commands are test, lint"),
            "{}",
            wrong.err
        );
        assert_eq!(ran(&["man", "replay", "x"]).code, exit::USAGE);
    }
}
