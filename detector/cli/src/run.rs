//! The command without its process: arguments in, exit code out.

use std::{ffi::OsString, io::ErrorKind};

use clap::{ArgMatches, FromArgMatches, error::ErrorKind as ParseFault};

use crate::{
    args::{CommandArgs, CommandLine, defaults, guide},
    commands, exit,
    host::{ConfigSource, ProcessHost, RunFailure, print, say},
    input::overwrite,
};

/// Runs the command and returns its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>, host: &mut ProcessHost) -> u8 {
    let (matches, command) = match parse(args.into_iter().collect(), host) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let config = host.config.as_ref().map(ConfigSource::path);
    let result = overwrite::refuse_named(&guide::command(), &matches, config)
        .and_then(|()| commands::execute(command, host));
    match result {
        Ok(code) => code,
        Err(failure) => failed(&failure, host),
    }
}

/// Reports why a run ended early, and returns its exit code.
fn failed(failure: &RunFailure, host: &mut ProcessHost) -> u8 {
    match failure {
        // The reader closed the pipe, as in `secretrail accesses … | head`: not an error.
        RunFailure::Output { error, .. } if error.kind() == ErrorKind::BrokenPipe => exit::DONE,
        failure => {
            say(host, &format!("secretrail: {failure}\n"));
            failure.exit_code()
        }
    }
}

/// The parsed command line, completed by the defaults of the user; or the exit code, if parsing
/// failed or only printed help or version.
fn parse(args: Vec<OsString>, host: &mut ProcessHost) -> Result<(ArgMatches, CommandArgs), u8> {
    let is_alone = args.len() < 2;
    let args = defaults::with_defaults(guide::command, args, host.config.as_ref());
    let args = args.map_err(|failure| {
        say(host, &format!("secretrail: {failure}\n"));
        exit::USAGE
    })?;
    let matches = guide::command().try_get_matches_from(args);
    matches
        .and_then(|matches| {
            let typed = CommandLine::from_arg_matches(&matches)?;
            Ok((matches, typed.command))
        })
        .map_err(|error| {
            let is_missing = error.kind() == ParseFault::DisplayHelpOnMissingArgumentOrSubcommand;
            let text = match is_alone && is_missing {
                true => guide::greeting(),
                false => error.render().to_string(),
            };
            if error.use_stderr() {
                say(host, &text);
                return exit::USAGE;
            }
            // Help and version are not errors.
            match print(host, &text) {
                Ok(()) => exit::DONE,
                Err(failure) => failed(&failure, host),
            }
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
    fn without_a_command_people_are_greeted_and_scripts_get_an_error() {
        let (code, out, err) = typed("secretrail");
        assert_eq!((code, out.as_str()), (exit::USAGE, ""));
        assert!(err.contains("\n  secretrail demo\n"), "{err}");
        assert!(err.ends_with("secretrail --help\n"), "{err}");
        assert!(err.lines().all(|line| line.len() <= 80), "{err}");
        // Commands of commands are not greeted again.
        let (code, _, err) = typed("secretrail rules");
        assert_eq!(code, exit::USAGE);
        assert!(err.contains("Usage: secretrail rules"), "{err}");
    }

    #[test]
    fn short_help_has_examples_and_long_help_everything() {
        let (_, short, _) = typed("secretrail replay -h");
        let (_, long, _) = typed("secretrail replay --help");
        for help in [&short, &long] {
            assert!(help.contains("\n  secretrail replay AWSLogs/ "), "{help}");
        }
        assert!(!short.contains("Exit codes") && long.contains("Exit codes: 0 done"));
        assert!(!short.contains("--lookback") && long.contains("--lookback"));
        let lines = short.lines().count();
        assert!(lines <= 64, "{lines} lines:\n{short}");
    }

    #[test]
    fn formats_that_a_command_refuses_are_not_offered() {
        let offered = |command: &str| {
            let (_, help, _) = typed(&format!("secretrail {command} -h"));
            let (_, rest) = help.split_once("Output format").unwrap();
            let (_, rest) = rest.split_once("possible values: ").unwrap();
            let (values, _) = rest.split_once(']').unwrap();
            values.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(offered("replay"), "table, json, jsonl, csv, ocsf, html");
        assert_eq!(offered("accesses"), "table, json, jsonl, csv, parquet");
        assert_eq!(offered("summary"), "table, json");
        assert_eq!(offered("gaps"), "table, json, jsonl, csv");
        assert_eq!(offered("exposure"), "table, json, jsonl, csv, html");
        // They are understood all the same, and the command says who has them.
        let (code, _, err) = typed("secretrail gaps /nowhere -f html");
        assert_eq!(code, exit::USAGE);
        assert!(err.contains("html are for replay"), "{err}");
    }
}
