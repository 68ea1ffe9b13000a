//! `completions`: shell completions.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{
    args::CommandLine,
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
    clap_complete::generate(shell, &mut CommandLine::command(), "secretrail", &mut text);
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
}
