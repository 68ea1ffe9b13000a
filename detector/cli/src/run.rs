//! The whole command without its process: arguments in, exit code out.

use std::ffi::OsString;

use clap::{CommandFactory, Parser};

use crate::args::{Cli, defaults};
use crate::host::{Failure, Host, say};
use crate::{commands, exit};

/// Runs the command and gives its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>, host: &mut Host) -> u8 {
    let args = match defaults::with_defaults(
        Cli::command,
        args.into_iter().collect(),
        host.config.as_ref(),
    ) {
        Ok(args) => args,
        Err(failure) => {
            say(host, &format!("secretrail: {failure}\n"));
            return exit::USAGE;
        }
    };
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            say(host, &error.render().to_string());
            return exit::USAGE;
        }
        Err(help) => {
            // Nobody is left to be told that help could not be printed.
            host.stdout
                .write_all(help.render().to_string().as_bytes())
                .ok();
            return exit::DONE;
        }
    };
    match commands::execute(cli.command, host) {
        Ok(code) => code,
        // Whoever closed the pipe has seen enough: `secretrail accesses … | head`.
        Err(Failure::Output { error, .. }) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            exit::DONE
        }
        Err(failure) => {
            say(host, &format!("secretrail: {failure}\n"));
            failure.exit_code()
        }
    }
}
