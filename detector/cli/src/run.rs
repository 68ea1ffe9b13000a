//! The command without its process: arguments in, exit code out.

use std::{ffi::OsString, io::ErrorKind};

use clap::{CommandFactory, Parser};

use crate::{
    args::{CommandArgs, CommandLine, defaults},
    commands, exit,
    host::{ProcessHost, RunFailure, say},
};

/// Runs the command and returns its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>, host: &mut ProcessHost) -> u8 {
    let result = match parse(args.into_iter().collect(), host) {
        Ok(command) => commands::execute(command, host),
        Err(code) => return code,
    };
    match result {
        Ok(code) => code,
        // The reader closed the pipe, as in `secretrail accesses … | head`: not an error.
        Err(RunFailure::Output { error, .. }) if error.kind() == ErrorKind::BrokenPipe => {
            exit::DONE
        }
        Err(failure) => {
            say(host, &format!("secretrail: {failure}\n"));
            failure.exit_code()
        }
    }
}

/// The parsed command line, completed by the defaults of the user; or the exit code, if parsing
/// failed or only printed help or version.
fn parse(args: Vec<OsString>, host: &mut ProcessHost) -> Result<CommandArgs, u8> {
    let args = defaults::with_defaults(CommandLine::command, args, host.config.as_ref());
    let args = args.map_err(|failure| {
        say(host, &format!("secretrail: {failure}\n"));
        exit::USAGE
    })?;
    CommandLine::try_parse_from(args)
        .map(|cli| cli.command)
        .map_err(|error| {
            let text = error.render().to_string();
            if error.use_stderr() {
                say(host, &text);
                return exit::USAGE;
            }
            // Help and version are not errors; if they cannot be printed, there is nowhere to
            // report that.
            host.stdout.write_all(text.as_bytes()).ok();
            exit::DONE
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::for_tests::{Written, in_memory};

    /// Exit code, standard output and standard error.
    fn typed(words: &str) -> (u8, String, String) {
        let (out, err) = (Written::default(), Written::default());
        let mut host = ProcessHost {
            stdout: Box::new(out.clone()),
            stderr: Box::new(err.clone()),
            ..in_memory("1970-01-01T00:00:00Z")
        };
        let code = run(words.split(' ').map(OsString::from), &mut host);
        (code, out.text(), err.text())
    }

    #[test]
    fn help_is_data_and_a_wrong_option_is_not() {
        let (code, out, err) = typed("secretrail --help");
        assert_eq!((code, err.as_str()), (exit::DONE, ""));
        assert!(out.contains("Exit codes: 0 done"), "{out}");
        let (code, out, err) = typed("secretrail accesses --no-such-option x");
        assert_eq!((code, out.as_str()), (exit::USAGE, ""));
        assert!(err.contains("--no-such-option"), "{err}");
    }

    #[test]
    fn a_failure_is_one_line_with_the_code_of_its_kind() {
        let (code, out, err) = typed("secretrail accesses - -");
        assert_eq!((code, out.as_str()), (exit::USAGE, ""));
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(err.starts_with("secretrail: `-` was given twice"), "{err}");
    }

    #[test]
    fn every_command_has_a_page_in_the_manual() {
        let (code, page, _) = typed("secretrail man");
        assert_eq!(code, exit::DONE);
        let command = CommandLine::command();
        for command in command.get_subcommands() {
            assert!(page.contains(command.get_name()), "{}", command.get_name());
        }
    }
}
