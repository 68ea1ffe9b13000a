//! `completions`: shell completions.

use clap_complete::Shell;

use crate::{
    args::guide,
    exit,
    host::{ProcessHost, RunFailure, print},
};

/// Prints the completions of a shell and returns the exit code.
///
/// # Errors
///
/// [`RunFailure::Output`]: standard output could not be written.
pub fn run(shell: Shell, host: &mut ProcessHost) -> Result<u8, RunFailure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut guide::command(), "secretrail", &mut text);
    print(host, &String::from_utf8_lossy(&text)).map(|()| exit::DONE)
}

#[cfg(test)]
mod tests {
    use crate::{commands::tests::ran, exit};

    #[test]
    fn a_shell_learns_every_command() {
        for shell in ["bash", "zsh", "fish"] {
            let completions = ran(&["completions", shell]);
            assert_eq!(
                (completions.code, completions.err.as_str()),
                (exit::DONE, "")
            );
            for command in ["replay", "accesses", "backfill", "man"] {
                assert!(completions.out.contains(command), "{shell}: {command}");
            }
        }
    }
    #[test]
    fn a_shell_learns_values_and_only_formats_that_the_command_has() {
        let bash = ran(&["completions", "bash"]).out;
        for values in [
            "informational low medium high critical",
            "success denied failed",
            "api batch by_path history direct_decrypt decrypt_only",
        ] {
            assert!(
                bash.contains(&format!("compgen -W \"{values}\"")),
                "{values}"
            );
        }
        let rules = bash.lines().find(|line| line.contains(" bulk-read "));
        assert!(rules.is_some_and(|line| line.contains(" root-read ")));
        let fish = ran(&["completions", "fish"]).out;
        let formats = |command: &str| {
            let wanted = format!("using_subcommand {command}\" -s f -l format");
            let (_, rest) = fish.split_once(&wanted).expect("it has formats");
            rest.split_once("'\"").expect("it ends").0.to_owned()
        };
        assert!(formats("replay").contains("html") && !formats("replay").contains("parquet"));
        assert!(!formats("summary").contains("csv") && formats("summary").contains("json"));
    }
}
